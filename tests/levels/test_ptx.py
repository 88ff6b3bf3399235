"""Every CUDA kernel compiles for compute capability 9.0 and keeps its width, without a GPU."""

import importlib
import inspect
import re
import sys
import types as python_types
from functools import partial

import numpy as np
import pytest

from lookahead_nb.kernels import bundles, formulas, gpu, philox
from lookahead_nb.kernels.bundles import bundle_type
from lookahead_nb.kernels.gpu import cuda, network, runs, surfaces
from lookahead_nb.kernels.gpu import step as kernels
from lookahead_nb.optimizers import step_table
from tests.support.cases import INNER, RULES, how

dispatcher = pytest.importorskip("numba.cuda.dispatcher")
from numba import typeof, types  # noqa: E402

CC = (9, 0)
SCALARS = {np.float32: types.float32, np.float64: types.float64}
FUNCTIONS = ["exp", "log", "tanh", "sigmoid", "softplus"]


@pytest.fixture(autouse=True)
def pretended_device(monkeypatch):
    """Numba asks the current device for its compute capability as soon as a kernel calls a function of ours."""
    device = python_types.SimpleNamespace(compute_capability=CC, id=0)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)


def compiled(kernel, *arguments):
    return cuda.compile_ptx(kernel, types.void(*arguments), cc=CC)[0]


def assert_clean(ptx, width):
    """No call, no stack, all as IEEE rounds it, no product that could be fused with a sum; with float32 no float64."""
    assert ".visible .entry" in ptx
    assert re.findall(r"\bcall\b.*|.*\.local.*", ptx) == []
    assert re.findall(r"\.(?:ftz|approx|full|sat)\b.*", ptx) == []
    products = {*re.findall(r"\bmul(?:\.rn)?\.f\d\d\s+(%\w+)", ptx)}
    handed_on = re.findall(r"\b(?:neg|mov|selp)\.f\d\d\s+(%\w+), (\S+?)(?:, (\S+?))?(?:, %p\d+)?;", ptx)
    while more := {to for to, *given in handed_on if products & {*given}} - products:
        products |= more
    sums = re.findall(r"\b(?:add|sub)(?:\.rn)?\.f\d\d\s+%\w+, (\S+), (\S+);", ptx)
    assert [terms for terms in sums if products & {*terms}] == []
    if width == np.float32:
        assert re.findall(r".*\.f64.*", ptx) == []


def linked(ptx):
    core = pytest.importorskip("cuda.core")
    code = core.ObjectCode.from_ptx(ptx.encode())
    return core.Linker(code, options=core.LinkerOptions(arch="sm_90")).link("cubin").code


CLOCK = types.int64[::1], types.int64  # of a step: the array in which it counts itself, and its number


def arguments(width, vectors):
    scalar = SCALARS[width]
    return [scalar[::1]] * vectors, [scalar, scalar, types.boolean, types.int64]


def arguments_of_fused(width):
    vectors, (_, _, *kind) = arguments(width, 4)
    return [*vectors, types.UniTuple(SCALARS[width], 10), *vectors[:3], *kind, *CLOCK]


def plain(rule, width, accessed):
    formula, slots = formulas.RULES[rule]
    vectors, _ = arguments(width, 4)
    row = types.UniTuple(SCALARS[width], 8)
    return compiled(kernels._plain(formula, len(slots), accessed), *vectors, row, *CLOCK)


def fused(rule, width, accessed):
    formula, slots = formulas.RULES[rule]
    return compiled(kernels._fused(formula, len(slots), accessed), *arguments_of_fused(width))


def fused_with_momentum(rule, width, accessed, pull):
    formula, slots = formulas.RULES[rule]
    kernel = kernels._fused_momentum(formula, len(slots), pull, accessed)
    return compiled(kernel, *arguments_of_fused(width))


def accesses(ptx):
    """Return how often the global memory is loaded from and stored to, sixteen bytes at a time, as (loads, stores)."""
    wide = re.findall(r"\b(ld|st)\.global\.(?:v4\.f32|v2\.f64)", ptx)
    return wide.count("ld"), wide.count("st")


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_step(rule, wide, width):
    ptx = plain(rule, width, width if wide else None)
    assert_clean(ptx, width)
    slots = len(formulas.RULES[rule][1])
    loads, stores = accesses(ptx)
    times = loads // (2 + slots)  # the compiler may write the loop out several times
    assert (loads, stores) == (times * (2 + slots), times * (1 + slots))
    assert (times > 0) == wide


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_step_and_sync(rule, wide, width):
    ptx = fused(rule, width, width if wide else None)
    assert_clean(ptx, width)
    slots = len(formulas.RULES[rule][1])
    loads, stores = accesses(ptx)
    assert (loads >= 3 + 2 * slots) == (stores >= 2 + 2 * slots) == wide
    assert linked(ptx).startswith(b"\x7fELF")


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("pull", formulas.MOMENTUM_PULLS.values(), ids=lambda pull: pull.__name__)
@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adamw"])  # no slot, one, two
def test_step_and_sync_with_momentum(rule, pull, wide, width):
    ptx = fused_with_momentum(rule, width, width if wide else None, pull)
    assert_clean(ptx, width)
    slots = len(formulas.RULES[rule][1])
    loads, stores = accesses(ptx)
    times = loads // (4 + slots)
    assert (loads, stores) == (times * (4 + slots), times * (3 + slots))
    assert (times > 0) == wide
    assert linked(ptx).startswith(b"\x7fELF")


def test_more_weights_than_32_bits_can_count(width):
    """Every product and sum that makes an index has 64 bits, or gives 64 bits."""
    for accessed in (None, width):
        for ptx in (plain("adamw", width, accessed), fused("adamw", width, accessed)):
            assert re.findall(r"\b(?:mul|mad)\.wide\.[su]32\s+%rd\d+, %r\d+, %r\d+", ptx)  # block times threads
            of_special = {*re.findall(r"mov\.u32\s+(%r\d+), %(?:tid|ntid|ctaid|nctaid)\.x", ptx)}
            narrow = re.findall(r"\b(?:add|sub|shl|mul\.lo|mad\.lo)\.[sub]32\s+%r\d+, (%r\d+)", ptx)
            assert of_special & {*narrow} == set()


def test_sync(width):
    vectors, how = arguments(width, 6)
    for kernel in (kernels._sync, *map(kernels._momentum_sync, formulas.MOMENTUM_PULLS.values())):
        assert_clean(compiled(kernel, *vectors, *how), width)


def test_first_beyond(width):
    scalar = SCALARS[width]
    assert_clean(compiled(kernels._first_beyond, scalar[::1], scalar, types.int64[::1]), width)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalar_function(name, width):
    function, vector = getattr(formulas, name), SCALARS[width][::1]

    def kernel(x, out):
        i = cuda.grid(1)
        out[i] = function(x[i])

    assert_clean(compiled(kernel, vector, vector), width)


def test_random_stream():
    words, philox4x32 = types.uint64[::1], philox.philox4x32

    def kernel(given, out):
        out[0], out[1], out[2], out[3] = philox4x32(given[0], given[1], given[2], given[3], given[4], given[5])

    assert_clean(compiled(kernel, words, words), np.float64)


def test_minibatch():
    minibatch = philox.minibatch

    def kernel(n, batch_size, seed, step, reshuffles, out):
        minibatch(n, batch_size, seed, step, reshuffles, out)

    ptx = compiled(kernel, types.int64, types.int64, types.uint64, types.int64, types.int64, types.int64[::1])
    assert_clean(ptx, np.float64)


def test_a_bare_literal_would_be_seen():
    def kernel(x):
        x[0] = 0.1 * x[0]

    with pytest.raises(AssertionError, match="f64"):
        assert_clean(compiled(kernel, types.float32[::1]), np.float32)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_product_left_beside_a_sum_would_be_seen(hidden):
    def kernel(x, out):
        product = x[0] * x[1]
        out[0] = product
        out[1] = (x[3] if hidden and x[4] > x[5] else product) + x[2]

    ptx = compiled(kernel, types.float32[::1], types.float32[::1])
    with pytest.raises(AssertionError, match=r"\[\('%f"):
        assert_clean(ptx, np.float32)


# ------------------------------------------------------------------ what the host asks of Numba, and no simulator has


def test_scalars_of_a_step_are_passed_as_they_are(width):
    row = step_table(INNER["adamw"], 3, width)[2]
    kind = typeof(tuple(row))
    assert kind == types.UniTuple(SCALARS[width], 8)
    assert [typeof(value) for value in how(width)] == arguments(width, 0)[1]
    kernel, passed = python_types.SimpleNamespace(extensions=[]), []
    prepare = partial(dispatcher._Kernel._prepare_args, kernel)
    kernel._prepare_args = prepare
    prepare(kind, tuple(row), 0, [], passed)
    assert [width(getattr(value, "value", value)).tobytes() for value in passed] == [value.tobytes() for value in row]


def test_numba_has_what_the_simulator_is_given_in_its_place():
    driver = importlib.import_module("numba.cuda.cudadrv.driver")
    array = importlib.import_module("numba.cuda.cudadrv.devicearray").DeviceNDArray
    assert cuda.implementation == "NVIDIA"
    assert "timing" in inspect.signature(cuda.event).parameters
    assert "sync" in inspect.signature(cuda.as_cuda_array).parameters
    assert callable(cuda.external_stream)
    assert {"device_ctypes_pointer", "bind", "copy_to_host", "copy_to_device"} <= {*dir(array)}
    assert {"record", "wait", "synchronize"} <= {*dir(driver.Event)}
    assert {"__int__", "synchronize"} <= {*dir(driver.Stream)}
    assert int(driver.Stream(driver.binding.CUstream(77), external=True)) == 77
    assert driver.Device.__hash__ is not None
    assert {"get_version", "list_devices"} <= {*dir(type(driver.driver))}
    assert issubclass(driver.CudaAPIError, Exception)
    assert driver.binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    assert int(driver.binding.CUdeviceptr(4096)) == 4096
    assert callable(driver.binding.cuPointerGetAttribute)
    for name in ("MULTIPROCESSOR_COUNT", "CLOCK_RATE"):  # what the benchmark asks
        assert hasattr(driver.binding.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")


@pytest.mark.parametrize("pointer", [0, 4096])
def test_number_of_the_device_is_asked_of_the_driver(pointer, monkeypatch):
    driver = importlib.import_module("numba.cuda.cudadrv.driver")
    asked = []
    answer = python_types.SimpleNamespace(cuPointerGetAttribute=lambda what, where: asked.append((what, where)) or 3)
    monkeypatch.setattr(driver, "driver", answer)
    assert gpu.device_of(pointer) == 3
    assert [(what.name, int(where)) for what, where in asked] == [("CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL", pointer)]


# ------------------------------------------------------------------------------------------------------- whole runs

TILE = network.TALL * network.BROAD  # chains of a thread in a product
DEAREST = 5  # instructions in the loop of a product for each fma; the question where an index counts from takes twelve
FUSED = [("adamw", "quadratic"), ("sgd", "rosenbrock"), ("rmsprop_momentum", "double_well"), ("adam", "bilinear")]


def array(kind, dimensions=1):
    return types.Array(kind, dimensions, "C")


WHOLE = array(types.int64)
FLAGS = array(types.boolean)


def weights(width):
    return bundle_type(bundles.Weights, *[array(SCALARS[width], 2)] * 7)


def steps(width):
    scalar = SCALARS[width]
    limits = types.UniTuple(scalar, 2)
    return bundle_type(bundles.StepsOfRuns, types.int64, types.int64, array(scalar, 3), WHOLE, limits)


def syncs(width):
    scalar = SCALARS[width]
    return bundle_type(bundles.Syncs, WHOLE, array(scalar, 3), WHOLE, FLAGS, types.int64, array(scalar))


def dense(width):
    return bundle_type(bundles.Network, WHOLE, types.int64, SCALARS[width])


def surface(width):
    scalar, exact = SCALARS[width], types.float64
    return bundle_type(bundles.Surface, array(exact, 2), array(scalar, 3), array(exact), array(scalar))


def normals(width):
    return bundle_type(bundles.Normals, types.int64, array(SCALARS[width], 3), WHOLE)


def batches(width):
    return bundle_type(bundles.Batches, array(SCALARS[width], 2), WHOLE, types.int64, array(types.uint64), types.int64)


def evaluation(width):
    results = array(types.float64, 5)
    return bundle_type(bundles.Evaluation, array(SCALARS[width], 2), WHOLE, WHOLE, WHOLE, results, WHOLE)


def workspace(width):
    return bundle_type(bundles.Workspace, array(SCALARS[width], 2), array(types.int64, 2))


SNAPSHOT = types.int64, types.int64, types.boolean  # which step, which weights, whether both are the same


def training_kernel(rule, width, shared=True):
    formula, slots = formulas.RULES[rule]
    kernel = runs._train(formula, len(slots), width, shared)
    moving = weights(width), steps(width), syncs(width)
    return compiled(kernel, *moving, dense(width), batches(width), workspace(width), WHOLE, WHOLE)


def evaluation_kernel(width):
    evaluated = array(SCALARS[width], 2), dense(width), evaluation(width), syncs(width)
    return compiled(runs._evaluate, *evaluated, workspace(width), *SNAPSHOT)


def resources(ptx):
    """Link for 9.0 and return what ptxas says of (registers, bytes of stack, of spills, of shared memory)."""
    core = pytest.importorskip("cuda.core")
    options = core.LinkerOptions(arch="sm_90", ptxas_options=["-v"])
    linker = core.Linker(core.ObjectCode.from_ptx(ptx.encode()), options=options)
    assert linker.link("cubin").code.startswith(b"\x7fELF")
    told = linker.get_info_log()
    registers, stack = (int(re.search(rf"{words}", told)[1]) for words in (r"Used (\d+) reg", r"(\d+) bytes stack"))
    spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", told))
    shared = re.search(r"(\d+) bytes smem", told)
    return registers, stack, spills, int(shared[1]) if shared else 0


@pytest.mark.parametrize("rule", RULES)
def test_whole_run(rule, width):
    ptx = training_kernel(rule, width)
    assert_clean(ptx, width)
    assert len(re.findall(rf"\bfma\.rn\.f{8 * np.dtype(width).itemsize}", ptx)) > TILE


@pytest.mark.parametrize("shared", [True, False])
def test_loops_of_the_products_are_mostly_arithmetic(shared, width):
    blocks = re.split(r"^\$\w+:|\bbra\b.*$", training_kernel("adamw", width, shared), flags=re.M)
    counts = [(block.count("fma.rn"), len(re.findall(r"^\s+\w.*;$", block, re.M))) for block in blocks]
    loops = [(fmas, all_) for fmas, all_ in counts if fmas >= TILE]
    assert len(loops) >= 3  # forward, gradient, back
    assert max(all_ / fmas for fmas, all_ in loops) < DEAREST, loops


def test_whole_run_on_a_surface(width):
    for rule, name in FUSED:
        formula, slots = formulas.RULES[rule]
        kernel = surfaces._train(*formulas.SURFACES[name], formula, len(slots))
        moving = weights(width), steps(width), syncs(width)
        assert_clean(compiled(kernel, *moving, surface(width), normals(width), WHOLE, WHOLE), width)


def test_slow_weights_at_the_end_of_a_launch(width):
    ptx = compiled(runs.update_slow_weights, weights(width), syncs(width), WHOLE, types.int64)
    assert_clean(ptx, width)


def test_evaluation_holds_float64_only_where_losses_are_added_up():
    ptx = evaluation_kernel(np.float32)
    assert_clean(ptx, np.float64)
    kinds = {*re.findall(r"\b([a-z]+)[.\w]*\.f64", ptx)} - {"ld", "st", "mov", "cvt"}
    assert kinds <= {"add", "div"}, kinds
    assert_clean(evaluation_kernel(np.float64), np.float64)


def test_what_a_surface_needs_in_float64(width):
    assert_clean(compiled(surfaces._coefficients, surface(width), types.int64), np.float64)
    drawn = array(types.uint64), types.int64, types.int64, array(SCALARS[width], 3)
    assert_clean(compiled(surfaces._normals, *drawn), np.float64)
    for formula, coordinates in formulas.SURFACES.values():
        kernel = surfaces._mean_height(formula, coordinates)
        evaluated = array(SCALARS[width], 2), surface(width), evaluation(width), syncs(width)
        assert_clean(compiled(kernel, *evaluated, *SNAPSHOT), np.float64)


def test_kernels_of_whole_runs_fit_a_multiprocessor(width, capsys):
    found = {"train adamw": training_kernel("adamw", width), "evaluate": evaluation_kernel(width)}
    for name, ptx in found.items():
        registers, stack, spills, shared = resources(ptx)
        with capsys.disabled():
            what = f"{registers} registers, {stack} B of stack, {spills} B of spills, {shared} B of shared memory"
            sys.stdout.write(f"\n{name} in {np.dtype(width).name}: {what}, {runs.THREADS} threads a block")
        assert (stack, spills) == (0, 0)
        assert registers * runs.THREADS <= 1 << 16
