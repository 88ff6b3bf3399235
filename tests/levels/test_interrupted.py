"""Steps of all kinds, runs and sweeps, interrupted at any instruction and by signals: nothing is left half done."""

import contextlib
import shutil
import signal
import subprocess
import sys

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.cpu import step
from lookahead_nb.optimizers import base
from lookahead_nb.optimizers.groups import grouped
from lookahead_nb.training import setup
from lookahead_nb.training.store import Store
from tests.support.cases import INNER, INNER_STATES, problem
from tests.support.interrupts import assert_all_or_nothing, boundaries, everything

# ------------------------------------------------------------------------------------------------ single steps

K, SIZE, STEPS = 3, 5, 5
ADAMW = INNER["adamw"]
OPTIMIZERS = INNER | {
    "cosine": lnb.AdamW(lr=lnb.schedules.cosine(0.1, 6, warmup=2)),
    **{mode: lnb.Lookahead(ADAMW, sync_period=K, retention=0.7, inner_state=mode) for mode in INNER_STATES},
    "no pull-back": lnb.Lookahead(ADAMW, sync_period=K, pull_back=False),
    "momentum": lnb.Lookahead(ADAMW, sync_period=K, outer_momentum=0.9),
    "nesterov": lnb.Lookahead(INNER["sgd"], sync_period=K, outer_momentum=0.9, outer_nesterov=True),
    "average": lnb.EMA(ADAMW, window=K),
    "in turn": lnb.Lookahead(INNER["sgd_momentum"], sync_period=K, slow_step_size=(0.3, 0.9)),
    "adaptive": lnb.Lookahead(ADAMW, sync_period=K, slow_step_size="adaptive"),
    "groups": grouped(lnb.Lookahead(ADAMW, sync_period=K), {"b": {"lr": 0.01}}, {"b": slice(1, 3)}, SIZE),
}


@pytest.mark.parametrize("check_finite", [True, False])
@pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_kind_of_step_is_all_or_nothing(opt, check_finite, rng, monkeypatch):
    monkeypatch.setattr(base, "STEPS_AHEAD", 2)  # step 3 syncs and begins a stretch
    missed, taken = assert_all_or_nothing(opt, K - 1, *problem(rng, STEPS, SIZE, np.float32), check_finite=check_finite)
    assert missed > 300
    assert taken > 3


@pytest.mark.parametrize("name", ["adamw", "interpolate", "adaptive", "momentum", "groups"])
def test_a_step_on_several_threads_is_all_or_nothing(name, rng, monkeypatch):
    monkeypatch.setattr(step, "PARALLEL_FROM", 1)
    # A trace reaches places between a lock and its release that no signal reaches.
    monkeypatch.setattr(step, "_one_launch", contextlib.nullcontext())
    monkeypatch.setattr(base, "STEPS_AHEAD", 2)
    before = numba.get_num_threads()
    numba.set_num_threads(1)  # it is the lock and the launch that matter here
    try:
        assert assert_all_or_nothing(OPTIMIZERS[name], K - 1, *problem(rng, K + 1, SIZE))[1] > 3
    finally:
        numba.set_num_threads(before)


SIGNALS = """
import random, signal, sys
import numpy as np
import lookahead_nb as lnb

rng, chance = np.random.default_rng(0), random.Random(0)
adamw = lnb.AdamW(0.01, weight_decay=3e-4)  # its decay comes in every third step
opts = [adamw, *[lnb.Lookahead(adamw, sync_period=2, inner_state=mode) for mode in ("keep", "reset", "interpolate")]]
opts += [lnb.Lookahead(adamw, sync_period=2, slow_step_size="adaptive"), lnb.ScheduleFreeAdamW()]
opts += [lnb.Lookahead(adamw, sync_period=2, outer_momentum=0.5)]
signal.signal(signal.SIGALRM, signal.default_int_handler)
interrupts = shown = 0
for size in (10, 30_000, 200_000):
    gradients = rng.standard_normal((3, size), np.float32)
    for opt in opts:
        params = rng.standard_normal(size, np.float32)
        twin = params.copy()
        state, of_twin = opt.init(params), opt.init(twin)
        for g in gradients:  # compiles all that the steps below need
            opt.step(params, g, state)
            if opt.has_slow_weights:
                with opt.slow_weights(params, state):
                    pass
        for _ in range(20):
            check = chance.random() < 0.5
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 1e-3), 0.05)  # again if C code clears it
                while True:
                    opt.step(params, gradients[state.t % 3], state, check_finite=check)
                    if opt.has_slow_weights and state.t % 3 == 0:
                        with opt.slow_weights(params, state):
                            shown += 1
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                interrupts += 1
            if opt.has_slow_weights:
                with opt.slow_weights(params, state):
                    pass
            while of_twin.t < state.t:
                opt.step(twin, gradients[of_twin.t % 3], of_twin)
            ours, others = ([p.tobytes(), *map(np.asarray, s.to_arrays().values())] for p, s in
                            ((params, state), (twin, of_twin)))
            assert ours[0] == others[0], (opt, size, state.t)
            assert all(a.tobytes() == b.tobytes() for a, b in zip(ours[1:], others[1:])), (opt, size, state.t)
print(interrupts, shown > 100)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs the timers of Unix")
def test_steps_interrupted_by_signals_are_all_or_nothing():
    ended = subprocess.run([sys.executable, "-c", SIGNALS], capture_output=True, text=True, timeout=300)
    assert ended.stderr == ""
    assert ended.stdout == "420 True\n"


# --------------------------------------------------------------------------------------------------- whole runs


def sampled(count, size=60):
    return sorted({*np.random.default_rng(3).integers(0, count, size).tolist(), 0, count - 1})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def small(opt):
    rng = np.random.default_rng(0)
    data = lnb.datasets.from_arrays(rng.normal(0, 1, (60, 4)), np.arange(60) % 2)
    return {"model": lnb.MLP((4, 3, 2)), "data": data, "opt": opt, "steps": 12, "batch_size": 8, "eval_every": 4}


@pytest.mark.parametrize("name", ["interpolate", "adaptive", "momentum", "schedule_free_adamw"])
def test_a_run_interrupted_anywhere_leaves_no_trace(name):
    settings = small(OPTIMIZERS[name])
    expected = lnb.train(**settings)
    for at in sampled(boundaries(lambda: lnb.train(**settings))):
        assert boundaries(lambda: lnb.train(**settings), at) is None
        run = lnb.train(**settings)
        assert everything(run.params, run.state) == everything(expected.params, expected.state)
        pd.testing.assert_frame_equal(run.history, expected.history, check_exact=True)


# An interrupt between the opening of a file and its "with" leaves the closing to the garbage collector.
closed_late = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@closed_late
def test_a_sweep_interrupted_anywhere_goes_on_to_the_same_store(tmp_path, monkeypatch):
    # As above: nor does a signal reach the place between this lock and its release.
    monkeypatch.setattr(setup, "_loading", contextlib.nullcontext())
    settings = small(None)
    model, data, _ = (settings.pop(name) for name in ("model", "data", "opt"))
    opts = [OPTIMIZERS[name] for name in ("adamw", "interpolate", "adaptive")]

    def sweep(store):
        return lnb.sweep(model, data, opts, seeds=3, store=store, progress=False, **settings)

    expected = sweep(tmp_path / "undisturbed")
    for at in sampled(boundaries(lambda: sweep(tmp_path / "counted"))):
        boundaries(lambda at=at: sweep(tmp_path / str(at)), at)
        pd.testing.assert_frame_equal(sweep(tmp_path / str(at)), expected, check_exact=True)
        Store.open(tmp_path / str(at)).verify(remove=True)
        assert contents(tmp_path / str(at)) == contents(tmp_path / "undisturbed")


@closed_late
def test_a_continued_sweep_interrupted_anywhere_goes_on_to_the_same_store(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "_loading", contextlib.nullcontext())  # as above
    settings = small(None)
    model, data, _ = (settings.pop(name) for name in ("model", "data", "opt"))
    opts = [OPTIMIZERS[name] for name in ("adamw", "interpolate", "adaptive")]

    def sweep(store, steps=12):
        how = settings | {"steps": steps, "keep_states": True, "progress": False}
        return lnb.sweep(model, data, opts, seeds=3, store=store, **how)

    def begun(name):
        return shutil.copytree(tmp_path / "short", tmp_path / name)

    sweep(tmp_path / "short", 8)
    expected = sweep(begun("undisturbed"))
    for at in sampled(boundaries(lambda: sweep(begun("counted"))), 30):
        store = begun(str(at))
        boundaries(lambda store=store: sweep(store), at)
        pd.testing.assert_frame_equal(sweep(store), expected, check_exact=True)
        Store.open(store).verify(remove=True)
        assert contents(store) == contents(tmp_path / "undisturbed")
