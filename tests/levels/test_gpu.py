"""What only a device can show, and what it shares with the simulator: guards, repeats, launches, streams, libraries.

`make test LEVEL=gpu` runs it on a device; `LEVEL=sim` in the simulator and `LEVEL=ptx` on an emulated device at small
sizes, as far as that goes.
"""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels import formulas, gpu
from lookahead_nb.kernels.cpu import step as cpu_step
from lookahead_nb.kernels.gpu import cuda
from lookahead_nb.kernels.gpu import step as gpu_step
from tests.support.cases import INNER, MODES, RULES, Buffers, picture, problem, run
from tests.support.simulated import SIMULATED, Event, Foreign

SIZES = [0, 1, 3, 4, 31, 33] if SIMULATED else [0, 1, 3, 4, 31, 32, 33, 255, 256, 257, 2**20 + 1]
LARGE = 37 if SIMULATED else 2**20 + 3
LAUNCHES = [(1, 1), (4, 5), (7, 3)] if SIMULATED else [(1, 7), (32, 1), (96, 11), (256, 1 << 16), (1024, 3)]
REPEATS = 3 if SIMULATED else 20
GUARDS = [8, 7]  # elements in front of every array: a multiple of sixteen bytes, and none
BEYOND = 2**31 + 5  # elements that 32 bits cannot count

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("device"),
    pytest.mark.filterwarnings("ignore:Grid size"),  # Numba finds the launches of some tests too small
]
real = pytest.mark.skipif(SIMULATED, reason="needs a driver, and launches that overlap")
simulated = pytest.mark.skipif(not SIMULATED, reason="a device does not tell in which order it was asked")


def both(rule, n, width, mode=MODES[0][1], guard=GUARDS[0]):
    host = Buffers(rule, n, width, mode, guard=guard)
    return host, Buffers(rule, n, width, mode, place=cuda.to_device, guard=guard)


# ------------------------------------------------------------------------------------------------------- kernels


@pytest.mark.parametrize("guard", GUARDS, ids=["sixteen bytes", "one element"])
@pytest.mark.parametrize("rule", RULES)
def test_bits_of_the_cpu_and_not_a_byte_beside(rule, guard, width):
    for n in SIZES:
        for pull_back, mode in MODES:
            host, device = both(rule, n, width, mode, guard)
            host.step_twice(cpu_step, rule, pull_back, mode)
            device.step_twice(gpu_step, rule, pull_back, mode)
            assert device.everything(gpu.to_host) == host.everything()
            assert device.guards_are_intact(gpu.to_host)


def test_wide_access_only_where_every_array_is_aligned(width):
    (_, aligned), (_, beside) = (both("adamw", 8, width, guard=guard) for guard in GUARDS)
    arrays = aligned.p, aligned.g, aligned.s1, aligned.s2
    assert gpu_step._width(*arrays) is width
    assert gpu_step._width(*arrays[:3], beside.s2) is None
    assert gpu_step._width(beside.p, *arrays[1:]) is None
    assert gpu_step._width(aligned.p, cuda.device_array(0, width)) is width


def test_the_same_bits_at_every_repeat(width):
    mode = MODES[2][1]
    host, _ = both("adamw", LARGE, width, mode)
    host.step_twice(cpu_step, "adamw", True, mode)
    for _ in range(REPEATS):
        _, device = both("adamw", LARGE, width, mode)
        device.step_twice(gpu_step, "adamw", True, mode)
        assert device.everything(gpu.to_host) == host.everything()


@pytest.mark.parametrize(("threads", "blocks"), LAUNCHES)
def test_the_same_bits_for_every_launch(threads, blocks, width, monkeypatch):
    monkeypatch.setattr(gpu_step, "THREADS", threads)
    monkeypatch.setattr(gpu_step, "MOST_BLOCKS", blocks)
    for guard in GUARDS:
        host, device = both("adam", LARGE, width, guard=guard)
        host.step_twice(cpu_step, "adam", *MODES[0])
        device.step_twice(gpu_step, "adam", *MODES[0])
        assert device.everything(gpu.to_host) == host.everything()


def test_every_output_is_written(width):
    """The average is the one output that is not read before."""
    rng = np.random.default_rng(0)
    y, z = (rng.standard_normal(LARGE).astype(width) for _ in range(2))
    outer = np.full(LARGE + 16, np.nan, width)
    there, expected = cuda.to_device(outer), np.empty_like(y)
    gpu_step.average(cuda.to_device(y), cuda.to_device(z), width(0.1), there[8:-8])
    cpu_step.average(y, z, width(0.1), expected)
    found = gpu.to_host(there)
    assert found[8:-8].tobytes() == expected.tobytes()
    assert np.isnan(found[:8]).all()
    assert np.isnan(found[-8:]).all()


@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # NumPy's, in the simulator
@pytest.mark.parametrize("special", [0.0, -0.0, np.inf, np.nan, 1e-44, 1e-310, 3e38])
def test_special_values_have_the_bits_of_the_cpu(special, width):
    for rule in RULES:
        host, device = both(rule, 9, width)
        for where in ("p", "s1"):
            if host.inner[where].size:
                host.inner[where][[2, 8]] = special  # one in the wide part, one in the rest
                device.outer[where].copy_to_device(host.outer[where])
        host.step_twice(cpu_step, rule, *MODES[0])
        device.step_twice(gpu_step, rule, *MODES[0])
        for name, outer in host.outer.items():
            assert np.array_equal(gpu.to_host(device.outer[name]), outer, equal_nan=True)  # NaN has many bits


@real
@pytest.mark.slow
def test_more_weights_than_32_bits_can_count():
    free = cuda.current_context().get_memory_info().free
    if free < (needed := 2 * 4 * BEYOND + 2**28):
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of free device memory, and {free / 2**30:.0f} are free")
    p, g = (cuda.device_array(BEYOND, np.float32) for _ in range(2))
    size, edges = 64, (0, 2**31 - 64, BEYOND - 64)
    rng = np.random.default_rng(0)
    values = {edge: rng.standard_normal((2, size)).astype(np.float32) for edge in edges}
    for edge, (weights, gradient) in values.items():
        p[edge : edge + size].copy_to_device(weights)
        g[edge : edge + size].copy_to_device(gradient)
    none, row = cuda.device_array(0, np.float32), Buffers("sgd", 1, np.float32).row
    gpu_step.step("sgd", p, g, none, none, row, cuda.to_device(np.zeros(1, np.int64)), 1)
    for edge, (weights, gradient) in values.items():
        cpu_step.step("sgd", weights, gradient, weights[:0], weights[:0], row, np.zeros(1, np.int64), 1)
        assert gpu.to_host(p[edge : edge + size]).tobytes() == weights.tobytes()


# ------------------------------------------------------------------------------------- arrays of other libraries


def of_numba(array):
    return cuda.to_device(array), gpu.to_host


def of_cupy(array):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    return cupy.asarray(array), cupy.asnumpy


def of_torch(array):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch cannot use CUDA")
    return torch.from_numpy(array.copy()).cuda(), lambda tensor: tensor.cpu().numpy()


def of_another(array):
    return Foreign(cuda.to_device(array)), lambda there: gpu.to_host(there.array)


@pytest.mark.parametrize("library", [of_numba, of_cupy, of_torch, of_another])
def test_step_in_place_on_arrays_of_any_library(library, rng, width):
    start, gradients = problem(rng, 7, 33, width)
    for inner in (INNER["adamw"], INNER["sgd"]):
        opt = lnb.Lookahead(inner, sync_period=3, inner_state="interpolate")
        expected, host = run(opt, start, gradients)
        params, read = library(start)
        state = opt.init(params)
        for g in gradients:
            opt.step(params, library(g)[0], state)
        assert read(params).tobytes() == expected.tobytes()
        assert picture(state) == picture(host)
        with opt.slow_weights(params, state):
            assert read(params).tobytes() == host.slow.tobytes()
        assert read(params).tobytes() == expected.tobytes()


# -------------------------------------------------------------------------------------------------------- streams


@real
def test_a_late_gradient_on_another_stream_is_waited_for():
    n, opt = 2**24, lnb.SGD(lr=0.5)
    busy, mine = cuda.stream(), cuda.stream()
    params, grad = cuda.to_device(np.zeros(n, np.float32)), cuda.to_device(np.zeros(n, np.float32))
    late = cuda.jit(_slow_fill)
    late[1, 32](params[:0], 0.0, 1)  # compiled before it counts
    state = opt.init(params.bind(mine))
    for value in (1.0, 2.0):
        late[64, 256, busy](grad, value, 2000)
        opt.step(params.bind(mine), grad.bind(busy), state, check_finite=False)
    mine.synchronize()
    assert np.unique(gpu.to_host(params)).tolist() == [-1.5]


def _slow_fill(out, value, times):
    for _ in range(times):
        for i in range(cuda.grid(1), min(out.size, 1 << 14), cuda.gridsize(1)):
            out[i] = value
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = value


@simulated
def test_the_step_comes_after_every_stream_and_every_stream_after_the_step():
    opt = lnb.Lookahead(lnb.SGD(lr=0.5), sync_period=2)
    params, grad = (Foreign(cuda.to_device(np.ones(9))) for _ in range(2))
    state = opt.init(params)
    params.stream, grad.stream = 5, 6
    Event.log.clear()
    opt.step(params, grad, state, check_finite=False)
    assert Event.log == [("wait", 5), ("record", 6), ("wait", 5), ("launch", 5), ("record", 5), ("wait", 6)]
    params.stream = grad.stream = 7
    Event.log.clear()
    opt.step(params, grad, state, check_finite=False)
    assert Event.log == [("wait", 7), ("launch", 7), ("record", 7)]
    Event.log.clear()
    assert gpu.to_host(state.slow).tolist() == [0.5] * 9
    assert Event.log == [("synchronize", None)]


@simulated
@pytest.mark.parametrize("late", [False, True], ids=["before", "while it begins"])
def test_a_state_whose_work_another_thread_queues_is_refused(late, monkeypatch):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=2)
    start, (grad,) = problem(np.random.default_rng(0), 1, 33)
    on_device = cuda.to_device(start)
    params, g = Foreign(on_device), Foreign(cuda.to_device(grad))
    state, done = opt.init(params), threading.Event()
    before = picture(state)
    thread = threading.Thread(target=done.wait)
    thread.start()
    state._marks["under way"] = thread.ident
    with monkeypatch.context() as patch:
        if late:  # after the look for it
            patch.setattr(state, "_recover", lambda: None, raising=False)
        with pytest.raises(RuntimeError, match="two threads use one state at the same time"):
            opt.step(params, g, state)
    done.set()
    thread.join()
    assert picture(state) == before
    assert on_device.copy_to_host().tobytes() == start.tobytes()
    opt.step(params, g, state)
    assert state.t == 1


@simulated
def test_a_new_state_is_waited_for():
    """A copy from the host may still be on its way when the call returns, and no other stream would wait for it."""
    opt, params = lnb.AdamW(), Foreign(cuda.to_device(np.ones(9)), stream=5)
    state = opt.init(params)
    assert Event.log == [("record", 0), ("wait", 5), ("record", 5)]
    other = opt.restore(state.to_arrays(), like=params)
    Event.log.clear()
    opt.step(params, params if False else Foreign(cuda.to_device(np.ones(9)), stream=5), other, check_finite=False)
    assert Event.log == [("record", 0), ("wait", 5), ("launch", 5), ("record", 5)]


@simulated
def test_slow_weights_go_back_on_the_stream_of_then():
    opt = lnb.Lookahead(lnb.SGD(), sync_period=2)
    params = Foreign(cuda.to_device(np.ones(9)), stream=5)
    state = opt.init(params)
    with opt.slow_weights(params, state):
        params.stream = 8
        Event.log.clear()
    assert Event.log == [("wait", 8), ("record", 8)]


@simulated
def test_stream_of_a_tensor_is_asked_of_torch(monkeypatch):
    class Tensor(Foreign):
        device = "cuda:0"

    class Torch:
        cuda = type("", (), {"current_stream": staticmethod(lambda device: type("", (), {"cuda_stream": 11}))})

    Torch.Tensor = Tensor
    monkeypatch.setitem(sys.modules, "torch", Torch)
    tensor = Tensor(cuda.to_device(np.ones(9)), version=2)
    assert int(gpu.adopt(tensor).stream) == 11
    assert gpu.adopt(Foreign(cuda.to_device(np.ones(9)))).stream == 0


@simulated
def test_arrays_on_two_devices_are_refused(monkeypatch):
    opt = lnb.Lookahead(lnb.AdamW())
    here, there = (Foreign(cuda.to_device(np.ones(9))) for _ in range(2))
    where = {each.__cuda_array_interface__["data"][0]: number for number, each in enumerate((here, there))}
    monkeypatch.setattr(gpu, "device_of", lambda address: where[address])
    made_on = []
    monkeypatch.setattr(gpu, "on", lambda device: made_on.append(device) or cuda.gpus[0])
    state = opt.init(here)
    before = picture(gpu.to_host(here.array), state)
    with pytest.raises(ValueError, match="grad must be on CUDA device 0 like params, got device 1"):
        opt.step(here, there, state)
    with pytest.raises(ValueError, match="params must be on CUDA device 0 like the state, got device 1"):
        opt.step(there, there, state)
    assert picture(gpu.to_host(here.array), state) == before
    made_on.clear()
    moved = opt.restore(state.to_arrays(), like=there)
    assert made_on[-1] == moved._device == 1


@simulated
def test_a_thread_counts_beyond_32_bits(monkeypatch):
    """The last thread of a grid, alone on an array that has nothing but ends."""

    class Sparse(dict):
        size = BEYOND

        def __missing__(self, i):
            return np.float32(1)

    def touched(thread):
        there = type("", (), {"grid": lambda _: thread, "gridsize": lambda _: 2**29, "local": Local})
        monkeypatch.setattr(gpu_step, "cuda", there)
        p = Sparse()
        formula, slots = formulas.RULES["sgd"]
        kernel = gpu_step._plain(formula, len(slots), np.float32)
        kernel(p, Sparse(), Sparse(), Sparse(), (np.float32(0.5),) * 8, [0], 1)
        return sorted(p)

    class Local:
        array = staticmethod(lambda n, width: np.zeros(n, width))

    assert touched(2**29 - 1) == [2**31 - 4, 2**31 - 3, 2**31 - 2, 2**31 - 1]
    assert touched(0) == [*range(4), *range(2**31, BEYOND)]
    assert touched(1) == [4, 5, 6, 7]


# ------------------------------------------------------------------------------------------------------ sanitizer


@real
@pytest.mark.slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on the PATH: it comes with the CUDA toolkit, not with pip")
    here = Path(__file__)
    tests = [f"{here}::test_bits_of_the_cpu_and_not_a_byte_beside", f"{here}::test_every_output_is_written"]
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-x", *tests]
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *pytest_]
    child = subprocess.run(command, cwd=here.parents[2], env=os.environ, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
