"""The CUDA kernels have the bits of the CPU loops, whatever the launch configuration.

LEVEL=sim runs this in Numba's simulator, which runs kernels as plain Python: it shows logic and bounds, not types.
LEVEL=ptx runs the same on an emulated device, LEVEL=gpu on a real one.
"""

import itertools

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels import gpu
from lookahead_nb.kernels.cpu import step as cpu_step
from lookahead_nb.kernels.gpu import cuda
from lookahead_nb.kernels.gpu import step as gpu_step
from lookahead_nb.optimizers import base
from tests.support.cases import INNER, INNER_STATES, MODES, RULES, WRAPPED, Buffers, how, picture, problem, run
from tests.support.interrupts import each_boundary, everything

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("device"),
    pytest.mark.filterwarnings("ignore:Grid size"),  # Numba finds the launches of some tests too small
]

SIZES = [0, 1, 31, 32, 33, 65]
LAUNCHES = [(1, 1), (4, 2), (7, 3), (32, 1), (32, 5)]  # (threads in a block, blocks at most)


def on_device(*arguments):
    return Buffers(*arguments, place=cuda.to_device)


# ------------------------------------------------------------------------------------------------------- kernels


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_step_has_the_bits_of_the_cpu(rule, n, width):
    host, device = Buffers(rule, n, width), on_device(rule, n, width)
    host.step(cpu_step, rule)
    device.step(gpu_step, rule)
    assert device.everything(gpu.to_host) == host.everything()
    assert device.guards_are_intact(gpu.to_host)


@pytest.mark.parametrize(("pull_back", "mode"), MODES)
@pytest.mark.parametrize("rule", RULES)
def test_step_and_sync_has_the_bits_of_the_cpu(rule, pull_back, mode, width):
    for n, size in itertools.product(SIZES, (0.0, 0.3, 1.0)):
        host, device = Buffers(rule, n, width, mode), on_device(rule, n, width, mode)
        host.step_and_sync(cpu_step, rule, *how(width, pull_back, mode, size))
        device.step_and_sync(gpu_step, rule, *how(width, pull_back, mode, size))
        assert device.everything(gpu.to_host) == host.everything()


@pytest.mark.parametrize(("pull_back", "mode"), MODES)
@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adamw"])  # no slot, one, two
def test_sync_alone_has_the_bits_of_the_cpu(rule, pull_back, mode, width):
    for n in SIZES:
        host, device = Buffers(rule, n, width, mode), on_device(rule, n, width, mode)
        host.sync(cpu_step, *how(width, pull_back, mode))
        device.sync(gpu_step, *how(width, pull_back, mode))
        assert device.everything(gpu.to_host) == host.everything()


@pytest.mark.parametrize(("pull_back", "mode"), MODES)
@pytest.mark.parametrize("rule", RULES)
def test_fused_is_step_then_sync(rule, pull_back, mode, width):
    fused, apart = (on_device(rule, 33, width, mode) for _ in range(2))
    fused.step_and_sync(gpu_step, rule, *how(width, pull_back, mode))
    apart.step(gpu_step, rule)
    apart.sync(gpu_step, *how(width, pull_back, mode))
    assert fused.everything(gpu.to_host) == apart.everything(gpu.to_host)


@pytest.mark.parametrize(("threads", "blocks"), LAUNCHES)
def test_r2_same_bits_for_any_launch(threads, blocks, width, monkeypatch):
    monkeypatch.setattr(gpu_step, "THREADS", threads)
    monkeypatch.setattr(gpu_step, "MOST_BLOCKS", blocks)
    mode = MODES[2][1]
    host, device = Buffers("adamw", 65, width, mode), on_device("adamw", 65, width, mode)
    host.step(cpu_step, "adamw")
    host.step_and_sync(cpu_step, "adamw", *how(width, True, mode))
    device.step(gpu_step, "adamw")
    device.step_and_sync(gpu_step, "adamw", *how(width, True, mode))
    assert device.everything(gpu.to_host) == host.everything()
    g = np.zeros(65, width)
    g[[40, 64]] = np.nan
    assert gpu_step.first_beyond(cuda.to_device(g), width(1)) == 40


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.0, -3.0])
def test_first_beyond_finds_the_first(value, width):
    for n in (1, 2, 33):
        for at in {0, n // 2, n - 1}:
            g = np.full(n, 2.0, width)
            assert gpu_step.first_beyond(cuda.to_device(g), width(2)) == -1
            g[at:] = value
            assert gpu_step.first_beyond(cuda.to_device(g), width(2)) == at
    assert gpu_step.first_beyond(cuda.to_device(np.zeros(0, width)), width(2)) == -1


# ------------------------------------------------------------------------------------------------------ optimizers


@pytest.fixture
def device_arrays(device):
    return device.to_device


def optimizers(rule):
    inner = INNER[rule]
    if rule not in WRAPPED:
        return [inner]
    wrapped = [lnb.Lookahead(inner, sync_period=3, retention=0.7, inner_state=mode) for mode in INNER_STATES]
    turns = lnb.Lookahead(inner, sync_period=2, slow_step_size=(0.3, 0.9), inner_state="interpolate")
    beyond = [lnb.Lookahead(inner, sync_period=2, slow_step_size=(1.7, 0.9))]
    beyond += [lnb.Lookahead(inner, sync_period=3, outer_momentum=0.7, outer_nesterov=n) for n in (False, True)]
    return [
        inner,
        *wrapped,
        lnb.Lookahead(inner, sync_period=3, pull_back=False),
        lnb.EMA(inner, window=4),
        turns,
        *beyond,
    ]


@pytest.mark.parametrize("rule", RULES)
def test_r3_training_on_a_device_has_the_bits_of_the_host(rule, rng, width, device_arrays):
    start, gradients = problem(rng, 7, 9, width)
    for opt in optimizers(rule):
        expected, host = run(opt, start, gradients)
        params = device_arrays(start)
        state = opt.init(params)
        for g in gradients:
            opt.step(params, device_arrays(g), state)
        assert params.copy_to_host().tobytes() == expected.tobytes()
        assert picture(state) == picture(host)


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4])
def test_state_moves_between_host_and_device(stop, rng, width, device_arrays):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=3, inner_state="interpolate")
    start, gradients = problem(rng, 7, 9, width)
    expected, end = run(opt, start, gradients)
    params, state = run(opt, start, gradients[:stop])
    params = device_arrays(params)
    state = opt.restore(state.to_arrays(), like=params)
    for g in gradients[stop:5]:
        opt.step(params, device_arrays(g), state)
    params, state = params.copy_to_host(), opt.restore(state.to_arrays())
    for g in gradients[5:]:
        opt.step(params, g, state)
    assert params.tobytes() == expected.tobytes()
    assert picture(state) == picture(end)


def test_slow_weights_on_a_device(rng, device_arrays):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=3)
    start, gradients = problem(rng, 2, 9)
    params = device_arrays(start)
    state = opt.init(params)
    for g in gradients:
        opt.step(params, device_arrays(g), state)
    fast = params.copy_to_host()
    with opt.slow_weights(params, state):
        assert params.copy_to_host().tobytes() == start.tobytes()
        with pytest.raises(RuntimeError, match="slow"):
            opt.step(params, device_arrays(gradients[0]), state)
    assert params.copy_to_host().tobytes() == fast.tobytes()


def test_an_interrupted_step_on_a_device_is_all_or_nothing(rng, device_arrays, monkeypatch):
    monkeypatch.setattr(base, "STEPS_AHEAD", 2)
    opt = lnb.Lookahead(INNER["sgd_momentum"], sync_period=3, inner_state="interpolate")
    start, gradients = problem(rng, 4, 3)
    before, after, end = (everything(*run(opt, start, gradients[:n])) for n in (2, 3, None))
    gradients, counts = [device_arrays(g) for g in gradients], [0, 0]

    def attempt():
        params = device_arrays(start)
        state = opt.init(params)
        for g in gradients[:2]:
            opt.step(params, g, state)

        def compare_and_go_on():
            assert everything(params.copy_to_host(), state) in (before, after)
            counts[state.t - 2] += 1
            for g in gradients[state.t :]:
                opt.step(params, g, state)
            assert everything(params.copy_to_host(), state) == end

        return lambda: opt.step(params, gradients[2], state), compare_and_go_on

    each_boundary(attempt, every=3)
    assert min(counts) > 10


def test_fast_weights_on_a_device_outlive_an_interrupt_of_slow_weights(rng, device_arrays):
    opt = lnb.Lookahead(INNER["sgd_momentum"], sync_period=2)
    start, gradients = problem(rng, 4, 3)
    expected = everything(*run(opt, start, gradients))
    gradients = [device_arrays(g) for g in gradients]

    def attempt():
        params = device_arrays(start)
        state = opt.init(params)
        for g in gradients[:3]:
            opt.step(params, g, state)

        def look():
            with opt.slow_weights(params, state):
                pass

        def go_on():
            opt.step(params, gradients[3], state)
            assert everything(params.copy_to_host(), state) == expected

        return look, go_on

    assert each_boundary(attempt, every=3) > 300


def test_average_of_schedule_free_on_a_device(rng, width, device_arrays):
    opt = INNER["schedule_free_adamw"]
    start, gradients = problem(rng, 5, 33, width)
    expected, host = run(opt, start, gradients)
    params = device_arrays(start)
    state = opt.init(params)
    for g in gradients:
        opt.step(params, device_arrays(g), state)
    with opt.slow_weights(params, state), opt.slow_weights(expected, host):
        assert params.copy_to_host().tobytes() == expected.tobytes()


def test_adaptive_steps_are_refused_on_a_device(device_arrays):
    opt = lnb.Lookahead(lnb.AdamW(), slow_step_size="adaptive")
    with pytest.raises(ValueError, match="slow_step_size must be a number or numbers for params on a GPU"):
        opt.init(device_arrays(np.ones(9)))
    with pytest.raises(ValueError, match="slow_step_size must be a number or numbers for params on a GPU"):
        opt.restore(opt.init(np.ones(9)).to_arrays(), like=device_arrays(np.ones(9)))


def test_no_weights_on_a_device(device_arrays):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=1, inner_state="interpolate")
    params = device_arrays(np.zeros(0))
    state = opt.init(params)
    opt.step(params, device_arrays(np.zeros(0)), state)
    with opt.slow_weights(params, state):
        assert state.t == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_bad_gradient_on_a_device_is_refused_before_anything_moves(value, device_arrays):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=1)
    params, gradient = device_arrays(np.ones(9)), np.ones(9)
    state = opt.init(params)
    gradient[4] = value
    before = picture(params.copy_to_host(), state)
    with pytest.raises(FloatingPointError, match=r"grad\[4\] = .* at step 1"):
        opt.step(params, device_arrays(gradient), state)
    assert picture(params.copy_to_host(), state) == before


def test_host_and_device_are_not_mixed(device_arrays):
    opt = lnb.Lookahead(lnb.AdamW())
    host, device = np.ones(9), device_arrays(np.ones(9))
    on_host, there = opt.init(host), opt.init(device)
    for params, gradient, state in [
        (host, device, on_host),
        (device, host, there),
        (device, device_arrays(host), on_host),
    ]:
        with pytest.raises(ValueError, match="device"):
            opt.step(params, gradient, state)
    with pytest.raises(ValueError, match="overlap in memory"):
        opt.step(device, device, there)
