"""Whole training runs on a GPU: the bits of the CPU, whatever the launch, the memory and the portions.

`make test LEVEL=gpu` runs it on a device; `LEVEL=sim` in the simulator, which runs kernels as plain Python: it shows
logic and bounds, not types; `LEVEL=ptx` on an emulated device, which runs the code that a real one would be given.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.checks import DeviceError
from lookahead_nb.kernels import formulas, gpu
from lookahead_nb.kernels.gpu import runs
from lookahead_nb.models.landscapes import Quadratic, Rosenbrock
from lookahead_nb.training import Setup, Training, plan
from lookahead_nb.training import engine_gpu as on_device
from lookahead_nb.training import setup as setups
from lookahead_nb.training.store import Store
from tests.support.cases import INNER, RULES, picture
from tests.support.device_runs import (
    ADAMW,
    LANDSCAPES,
    LOOKAHEADS,
    MODELS,
    NAMED,
    NESTEROV,
    TRAINING,
    launch_with,
    rows_for,
)
from tests.support.simulated import PLAIN_PYTHON, SIMULATED

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("device"),
    # The simulator warns of what is far out, in threads that no np.errstate reaches; Numba of launches that are small.
    pytest.mark.filterwarnings("ignore:.*(overflow|invalid value) encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Grid size"),
]

LAUNCHES = [(1, 1), (3, 2), (32, 9), *([] if SIMULATED else [(96, 5), (256, 1000)])]  # (threads, blocks at most)


@pytest.fixture(autouse=True)
def small_launches(monkeypatch):
    monkeypatch.setattr(runs, "ROWS_AT_ONCE", 5)  # so that a split takes several looks, the last one shorter
    if SIMULATED:
        launch_with(monkeypatch, 4, 3)  # it starts a Python thread for each


def without_id(frame):
    return frame.drop(columns="run")


def assert_same(model, data, opt, **how):
    """Train on both; parameters, slow weights, state, history and the step of divergence have to be the same bits."""
    with np.errstate(over="ignore", invalid="ignore"):
        host, device = (lnb.train(model, data, opt, **how, backend=backend) for backend in ("cpu", "cuda"))
    assert device.diverged_at == host.diverged_at
    assert picture(device.params, device.state) == picture(host.params, host.state)
    assert device.slow is None if host.slow is None else device.slow.tobytes() == host.slow.tobytes()
    assert without_id(device.history).equals(without_id(host.history))
    return device


# --------------------------------------------------------------------------------------------------------- one run


@pytest.mark.parametrize("rule", RULES)
def test_r3_a_run_of_each_rule_has_the_bits_of_the_cpu(rule, width):
    assert_same(MODELS["relu"], rows_for(MODELS["relu"]), INNER[rule], **TRAINING, dtype=width)


@pytest.mark.parametrize("opt", LOOKAHEADS.values(), ids=LOOKAHEADS)
def test_r3_a_run_of_each_lookahead_has_the_bits_of_the_cpu(opt, width):
    assert_same(MODELS["three logits"], rows_for(MODELS["three logits"]), opt, **TRAINING, dtype=width)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_r3_a_run_of_each_model_has_the_bits_of_the_cpu(model, width):
    assert_same(model, rows_for(model), LOOKAHEADS["keep"], **TRAINING, dtype=width, seed=3)


@pytest.mark.parametrize("opt", [LOOKAHEADS["one slot"], INNER["schedule_free_adamw"]], ids=["lookahead", "free"])
@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)
def test_r3_a_run_on_each_landscape_has_the_bits_of_the_cpu(landscape, opt, width):
    assert_same(landscape, None, opt, steps=5, eval_at=[2, 3], dtype=width, seed=2**40 + 1)


@pytest.mark.parametrize("batch_size", [1, 3, 18])
def test_minibatches_of_any_size(batch_size):
    model = MODELS["relu"]
    data = rows_for(model)
    assert_same(model, data, ADAMW, steps=4, batch_size=min(batch_size, len(data.y_train)), eval_at=[])


def test_minibatches_in_a_repeated_order():
    model = MODELS["one logit"]
    assert_same(model, rows_for(model), ADAMW, steps=6, batch_size=7, eval_at=[], order="repeated")


@pytest.mark.parametrize(("threads", "blocks"), LAUNCHES)
def test_r2_same_bits_for_any_launch(threads, blocks, monkeypatch):
    launch_with(monkeypatch, threads, blocks)
    assert_same(MODELS["tanh"], rows_for(MODELS["tanh"]), LOOKAHEADS["interpolate"], **TRAINING)
    assert_same(LANDSCAPES["two basins"], None, LOOKAHEADS["interpolate"], steps=5, eval_at=[2])


@pytest.mark.parametrize("rule", ["sgd", "sgd_nesterov", "adamw", "schedule_free_adamw"])
def test_r2_same_bits_where_a_run_does_not_fit_in_shared_memory(rule, width, monkeypatch):
    model, moved = MODELS["relu"], 2 + len(formulas.RULES[INNER[rule].rule][1])
    opt = lnb.Lookahead(INNER[rule], sync_period=2) if rule in ("sgd", "adamw") else INNER[rule]
    needed, asked = moved * model.size * np.dtype(width).itemsize, []
    training_kernel = runs._training
    monkeypatch.setattr(runs, "_training", lambda *which: asked.append(which[-1]) or training_kernel(*which))
    for fits in (True, False):
        monkeypatch.setattr(runs, "SHARED_BYTES", needed - (not fits))
        assert_same(model, rows_for(model), opt, **TRAINING, dtype=width)
        assert {*asked} == {fits}
        asked.clear()


@pytest.mark.slow
def test_r3_the_network_of_fashion_mnist_has_the_bits_of_the_cpu():
    model, rng = lnb.MLP((784, 128, 10)), np.random.default_rng(0)
    data = lnb.datasets.from_arrays(rng.random((40, 784)), np.arange(40) % 10, split_seed=0)
    steps, batch_size = (1, 1) if PLAIN_PYTHON else (50, 16)
    assert_same(model, data, ADAMW, steps=steps, batch_size=batch_size, eval_at=[], eval_rows=1)


@pytest.mark.slow
@pytest.mark.skipif(PLAIN_PYTHON, reason="the simulator would take hours")
@pytest.mark.parametrize("opt", [LOOKAHEADS["interpolate"], INNER["rmsprop_momentum"]], ids=["lookahead", "rmsprop"])
@pytest.mark.parametrize(("model", "name"), NAMED.values(), ids=NAMED)
def test_r3_a_trajectory_on_a_named_problem_has_the_bits_of_the_cpu(model, name, opt, monkeypatch):
    monkeypatch.setattr(runs, "ROWS_AT_ONCE", 64)
    data = name and lnb.datasets.load(name, split_seed=0)
    assert_same(model, data, opt, steps=300, batch_size=64, eval_every=50, eval_rows=200)


def test_a_run_goes_on_by_hand_on_the_host():
    opt, model = LOOKAHEADS["interpolate"], MODELS["relu"]
    ends = []
    for backend in ("cpu", "cuda"):
        run = lnb.train(model, rows_for(model), opt, **TRAINING, backend=backend)
        for _ in range(3):
            opt.step(run.params, np.full(model.size, 0.1, np.float32), run.state)
        ends.append(picture(run.params, run.state))
    assert ends[0] == ends[1]


# ------------------------------------------------------------------------------------------------------ divergence

DIVERGING = {
    "weight": (lnb.LogisticRegression(n_features=3, n_classes=3, l2=1e3), lnb.SGD(lr=1e37), "float32"),
    "weight later": (MODELS["three logits"], lnb.SGD(lr=1e30), "float32"),
    "loss": (lnb.LogisticRegression(n_features=3, n_classes=3), lnb.SGD(lr=3e38), "float32"),
    "gradient": (lnb.LogisticRegression(n_features=3, n_classes=3, l2=1e3), lnb.Adam(lr=1e18), "float32"),
    "penalty": (lnb.LogisticRegression(n_features=3, n_classes=3, l2=1.0), lnb.SGD(lr=1e160), "float64"),
}


@pytest.mark.parametrize(("model", "opt", "dtype"), DIVERGING.values(), ids=DIVERGING)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_run_that_diverges_freezes_as_on_the_cpu(model, opt, dtype, wrapped, monkeypatch):
    opt = lnb.Lookahead(opt, sync_period=1, retention=0.001) if wrapped else opt
    for operations in (1e9, 1):  # all launches of one call, and a call for every step
        monkeypatch.setattr(setups, "OPERATIONS_AT_ONCE", operations)
        run = assert_same(model, rows_for(model), opt, steps=6, batch_size=4, eval_every=1, dtype=dtype)
        assert 0 < run.diverged_at < 6
        assert (run.history.status == "diverged").any()


def test_a_landscape_that_diverges_freezes_as_on_the_cpu():
    for lr, landscape in [(1e10, Rosenbrock(replicas=2)), (3e38, Quadratic([1.0, 2.0]))]:
        run = assert_same(landscape, None, lnb.SGD(lr=lr), steps=6, eval_every=1)
        assert run.diverged_at is not None


# ----------------------------------------------------------------------------------------------------------- sweeps

CONFIGS = [ADAMW, LOOKAHEADS["keep"], LOOKAHEADS["reset"], LOOKAHEADS["averages"], lnb.SGD(lr=3e38), NESTEROV]
CONFIGS += [lnb.AdamW(lr=0.3), LOOKAHEADS["in turn"]]


def swept(model, data, configs=CONFIGS, **how):
    how = {"seeds": [0, 5], "steps": 3, "batch_size": 4, "eval_at": [2], "progress": False} | how
    with np.errstate(over="ignore", invalid="ignore"):
        return lnb.sweep(model, data, configs, **how)


def test_a_sweep_has_the_bits_of_the_cpu():
    model = MODELS["three logits"]
    host, device = (swept(model, rows_for(model), backend=backend) for backend in ("cpu", "cuda"))
    assert without_id(device).equals(without_id(host))
    assert {*device.status} == {"ok", "diverged"}


def test_a_sweep_with_data_of_each_seed_has_the_bits_of_the_cpu():
    model, configs = MODELS["one logit"], [ADAMW, LOOKAHEADS["keep"]]
    host, device = (
        swept(model, lambda seed: rows_for(model, seed), configs, backend=backend) for backend in ("cpu", "cuda")
    )
    assert without_id(device).equals(without_id(host))
    assert device.train_loss.nunique() > 4


def test_a_sweep_on_a_landscape_has_the_bits_of_the_cpu(monkeypatch):
    monkeypatch.setattr(on_device, "NUMBERS_AT_ONCE", 12)  # a stretch of normal numbers for every step
    host, device = (swept(LANDSCAPES["drift"], None, backend=backend) for backend in ("cpu", "cuda"))
    assert without_id(device).equals(without_id(host))


def test_a_run_tells_that_it_was_on_a_gpu():
    ids = [swept(LANDSCAPES["quiet"], None, [ADAMW], backend=backend).run for backend in ("cpu", "cuda")]
    assert not {*ids[0]} & {*ids[1]}


@pytest.fixture
def launched(monkeypatch):
    """How many runs each call of `runs.advance` had; an exception put in front of them is raised by the second call."""
    calls, advance = [], runs.advance

    def watched(rule, weights, *arguments):
        if calls and isinstance(calls[0], BaseException) and len(calls) == 2:
            raise calls[0]
        calls.append(weights.p.shape[0])
        return advance(rule, weights, *arguments)

    monkeypatch.setattr(runs, "advance", watched)
    return calls


def test_runs_that_do_not_fit_together_are_cut_into_launches(launched, monkeypatch):
    model, opts = MODELS["three logits"], lnb.grid(LOOKAHEADS["keep"], lr=[0.1, 0.2, 0.3, 0.4, 0.5])
    data = rows_for(model)
    expected = swept(model, data, opts, backend="cuda", seeds=1)
    assert launched == [5]
    setup = Setup(model, data, Training(steps=3, batch_size=4, eval_at=[2], backend="cuda"))
    room = on_device.needed(setup, opts[:2], setup.rows(0)) / on_device.SHARE
    monkeypatch.setattr(gpu, "free_memory", lambda: int(room) + 1)
    launched.clear()
    assert swept(model, data, opts, backend="cuda", seeds=1).equals(expected)
    assert launched == [2, 2, 1]


@pytest.mark.parametrize("model", [MODELS["relu"], LANDSCAPES["drift"]], ids=["network", "landscape"])
def test_a_run_that_does_not_fit_is_refused_before_it_starts(model, monkeypatch):
    data = None if model is LANDSCAPES["drift"] else rows_for(model)
    monkeypatch.setattr(gpu, "free_memory", lambda: 500)
    with pytest.raises(
        MemoryError, match=r"a run of .* needs about .* GB on the GPU, where 5e-07 GB are free .*: take"
    ):
        lnb.train(model, data, ADAMW, steps=2, batch_size=4, backend="cuda")


def test_progress_is_told_between_portions(monkeypatch):
    monkeypatch.setattr(on_device, "runs_at_once", lambda setup: 2)
    monkeypatch.setattr(plan, "UNIT_RUNS", 2)
    told = []
    swept(LANDSCAPES["quiet"], None, [ADAMW, NESTEROV], seeds=3, backend="cuda", progress=lambda *now: told.append(now))
    assert told == [(0, 6), (2, 6), (4, 6), (6, 6)]


class DriverError(Exception):
    """What the driver raises."""


DriverError.__module__ = "numba.cuda.cudadrv.driver"


def test_a_gpu_that_fails_ends_a_sweep_that_can_be_resumed(tmp_path, launched, monkeypatch):
    monkeypatch.setattr(on_device, "runs_at_once", lambda setup: 1)
    monkeypatch.setattr(plan, "UNIT_RUNS", 2)
    model = MODELS["three logits"]
    how = {"configs": [ADAMW, LOOKAHEADS["keep"]], "seeds": 3, "backend": "cuda", "store": tmp_path / "store"}
    expected = swept(model, rows_for(model), how["configs"], seeds=3, backend="cuda")
    launched[:] = [DriverError("[700] an illegal address\nand more")]
    with pytest.raises(DeviceError) as raised:
        swept(model, rows_for(model), **how)
    assert str(raised.value) == (
        "the GPU failed while 2 runs were trained (DriverError: [700] an illegal address); a process whose GPU failed"
        " has to be restarted; 2 of 6 runs are stored; run the same sweep again to continue"
    )
    assert Store.open(tmp_path / "store").machine["gpu"] == gpu.name()
    launched.clear()
    assert swept(model, rows_for(model), **how).equals(expected)
    assert launched == [2, 2]


def test_a_gpu_that_fails_without_a_store_is_told_in_one_sentence(launched):
    model = MODELS["relu"]
    lnb.train(model, rows_for(model), ADAMW, steps=1, batch_size=4, backend="cuda")
    launched[:] = [DriverError("[2] out of memory"), 1]
    with pytest.raises(DeviceError, match=r"the GPU failed while 1 runs were trained \(DriverError: \[2\] out of"):
        lnb.train(model, rows_for(model), ADAMW, steps=1, batch_size=4, backend="cuda")


def test_ctrl_c_between_launches_keeps_what_is_finished(tmp_path, launched, monkeypatch):
    monkeypatch.setattr(on_device, "runs_at_once", lambda setup: 1)
    monkeypatch.setattr(plan, "UNIT_RUNS", 1)
    model = MODELS["three logits"]
    how = {"configs": [ADAMW], "seeds": 3, "backend": "cuda", "store": tmp_path / "store", "frame": False}
    launched[:] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        swept(model, rows_for(model), **how)
    launched.clear()
    assert len(swept(model, rows_for(model), **how).done()) == 3
    assert launched == [1, 1]


# --------------------------------------------------------------------------------------------------------- bad input


def test_what_a_gpu_does_not_do_is_refused():
    adaptive = lnb.Lookahead(ADAMW, slow_step_size="adaptive")
    with pytest.raises(
        ValueError, match=r"opt must have numbers as slow_step_size with backend='cuda', got .*adaptive"
    ):
        lnb.train(LANDSCAPES["quiet"], None, adaptive, steps=2, backend="cuda")
    with pytest.raises(ValueError, match=r"configs\[1\] must have numbers as slow_step_size with backend='cuda'"):
        swept(LANDSCAPES["quiet"], None, [ADAMW, adaptive], backend="cuda")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="executor must be None with backend='cuda'"):
        swept(LANDSCAPES["quiet"], None, [ADAMW], backend="cuda", executor=pool)


def test_a_store_of_the_cpu_is_not_mixed_with_runs_on_a_gpu(tmp_path):
    swept(LANDSCAPES["quiet"], None, [ADAMW], store=tmp_path / "store")
    with pytest.raises(ValueError, match="store"):
        swept(LANDSCAPES["quiet"], None, [ADAMW], store=tmp_path / "store", backend="cuda")
