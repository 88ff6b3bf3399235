"""Every CUDA kernel compiles for compute capability 9.0 and keeps its width, without a GPU."""

import re
import sys
import types as python_types

import numpy as np
import pytest
from cases import RULES

from lookahead_nb import formulas, philox
from lookahead_nb.gpu import cuda, runs, surfaces
from lookahead_nb.gpu import step as kernels

dispatcher = pytest.importorskip("numba.cuda.dispatcher")
from numba import types  # noqa: E402

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
    """No call, no stack, no product left that a later stage could fuse with a sum; in a float32 kernel no float64."""
    assert ".visible .entry" in ptx
    assert re.findall(r"\bcall\b.*|.*\.local.*", ptx) == []
    products = {*re.findall(r"\bmul(?:\.rn)?\.f\d\d\s+(%\w+)", ptx)}
    sums = re.findall(r"\b(?:add|sub)(?:\.rn)?\.f\d\d\s+%\w+, (\S+), (\S+);", ptx)
    assert [terms for terms in sums if products & {*terms}] == []
    if width == np.float32:
        assert re.findall(r".*\.f64.*", ptx) == []


def linked(ptx):
    core = pytest.importorskip("cuda.core")
    code = core.ObjectCode.from_ptx(ptx.encode())
    return core.Linker(code, options=core.LinkerOptions(arch="sm_90")).link("cubin").code


def arguments(width, vectors):
    scalar = SCALARS[width]
    return [scalar[::1]] * vectors, [scalar, scalar, types.boolean, types.int64]


@pytest.mark.parametrize("rule", RULES)
def test_step(rule, width):
    formula, slots = formulas.RULES[rule]
    vectors, _ = arguments(width, 5)
    assert_clean(compiled(kernels._plain(formula, len(slots)), *vectors), width)


@pytest.mark.parametrize("rule", RULES)
def test_step_and_sync(rule, width):
    formula, slots = formulas.RULES[rule]
    vectors, how = arguments(width, 8)
    ptx = compiled(kernels._fused(formula, len(slots)), *vectors, *how)
    assert_clean(ptx, width)
    assert linked(ptx).startswith(b"\x7fELF")


def test_sync(width):
    vectors, how = arguments(width, 6)
    assert_clean(compiled(kernels._sync, *vectors, *how), width)


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

    def kernel(n, batch_size, seed, step, out):
        minibatch(n, batch_size, seed, step, out)

    ptx = compiled(kernel, types.int64, types.int64, types.uint64, types.int64, types.int64[::1])
    assert_clean(ptx, np.float64)


def test_a_bare_literal_would_be_seen():
    def kernel(x):
        x[0] = 0.1 * x[0]

    with pytest.raises(AssertionError, match="f64"):
        assert_clean(compiled(kernel, types.float32[::1]), np.float32)


def test_a_product_left_beside_a_sum_would_be_seen():
    def kernel(x, out):
        out[0] = x[0] * x[1]
        out[1] = out[0] + x[2]

    ptx = compiled(kernel, types.float32[::1], types.float32[::1])
    with pytest.raises(AssertionError):
        assert_clean(ptx, np.float32)


# ------------------------------------------------------------------------------------------------------- whole runs

TILE = 4  # chains of a thread in a product, see gpu/network.py
FUSED = [("adamw", "quadratic"), ("sgd", "rosenbrock"), ("rmsprop_momentum", "double_well"), ("adam", "bilinear")]


def array(kind, dimensions=1):
    return types.Array(kind, dimensions, "C")


def moving(width):
    """The types of what the kernels of whole runs take first, from p to inner_state."""
    scalar, whole = SCALARS[width], array(types.int64)
    syncs = [whole, array(scalar, 3), whole, array(types.boolean), types.int64]
    return [array(scalar, 2)] * 7 + [array(scalar, 3), whole, scalar, scalar, *syncs]


def end_of_a_run():
    return [array(types.int64), array(types.int64), types.int64, types.int64]


def evaluation():
    return [array(types.boolean), array(types.int64), types.int64, types.int64, types.boolean]


def training_kernel(rule, width):
    formula, slots = formulas.RULES[rule]
    scalar, whole = SCALARS[width], array(types.int64)
    data = [array(scalar, 2), whole, types.int64, array(types.uint64), whole, types.int64, scalar]
    kernel = runs._train(formula, len(slots), width == np.float64)
    return compiled(kernel, *moving(width), *data, array(scalar, 2), array(types.int64, 2), *end_of_a_run())


def evaluation_kernel(width):
    scalar, whole = SCALARS[width], array(types.int64)
    data = [array(scalar, 2), whole, whole, whole, types.int64, array(scalar, 2), array(types.float64, 5)]
    return compiled(runs._evaluate, array(scalar, 2), *data, *evaluation())


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
    assert re.findall(r"\.(?:ftz|approx|full)\b", ptx) == []  # IEEE division and root, subnormal numbers kept
    assert len(re.findall(rf"\bfma\.rn\.f{8 * np.dtype(width).itemsize}", ptx)) > TILE


def test_whole_run_on_a_surface(width):
    scalar = SCALARS[width]
    for rule, name in FUSED:
        formula, slots = formulas.RULES[rule]
        shape = [array(scalar, 3), array(scalar), array(scalar, 3), array(types.int64), types.int64]
        kernel = surfaces._train(*formulas.SURFACES[name], formula, len(slots))
        assert_clean(compiled(kernel, *moving(width), *shape, *end_of_a_run()), width)


def test_sync_at_the_end_of_a_launch(width):
    scalar, whole = SCALARS[width], array(types.int64)
    syncs = [whole, array(scalar, 3), whole, array(types.boolean), types.int64]
    assert_clean(compiled(runs.sync_last, *[array(scalar, 2)] * 6, *syncs, whole, types.int64), width)
    assert_clean(compiled(runs.average, *[array(scalar, 2)] * 3, array(scalar)), width)


def test_evaluation_holds_float64_only_where_losses_are_added_up():
    ptx = evaluation_kernel(np.float32)
    assert_clean(ptx, np.float64)
    kinds = {*re.findall(r"\b([a-z]+)[.\w]*\.f64", ptx)} - {"ld", "st", "mov", "cvt"}
    assert kinds <= {"add", "div"}, kinds
    assert_clean(evaluation_kernel(np.float64), np.float64)


def test_what_a_surface_needs_in_float64(width):
    scalar, exact = SCALARS[width], types.float64
    standing = [array(exact, 2), array(exact)]
    assert_clean(compiled(surfaces._coefficients, *standing, types.int64, array(scalar, 3)), np.float64)
    normals = compiled(surfaces._normals, array(types.uint64), types.int64, types.int64, array(scalar, 3))
    assert_clean(normals, np.float64)
    for name, (surface, coordinates) in formulas.SURFACES.items():
        kernel = surfaces._mean_height(surface, coordinates)
        how = [types.int64, types.int64, array(exact, 5), *evaluation()]
        ptx = compiled(kernel, array(scalar, 2), *standing, *how)
        assert re.findall(r"\bcall\b.*|.*\.local.*", ptx) == [], name


def test_kernels_of_whole_runs_fit_a_multiprocessor(width, capsys):
    found = {"train adamw": training_kernel("adamw", width), "evaluate": evaluation_kernel(width)}
    for name, ptx in found.items():
        registers, stack, spills, shared = resources(ptx)
        with capsys.disabled():
            what = f"{registers} registers, {stack} B of stack, {spills} B of spills, {shared} B of shared memory"
            sys.stdout.write(f"\n{name} in {np.dtype(width).name}: {what}, {runs.THREADS} threads a block")
        assert (stack, spills) == (0, 0)
        assert registers * runs.THREADS <= 1 << 16
