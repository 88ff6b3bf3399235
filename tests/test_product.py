"""The matrix product: every element one chain over k, the same bits in any shape, place, stack, layout and CPU."""

import hashlib
import itertools
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types
from numba.core import config
from numba.core.errors import TypingError

from lookahead_nb.kernels.compiler import FLAGS, fma
from lookahead_nb.kernels.cpu.product import product, product_for

ROOT = Path(__file__).resolve().parent.parent
JIT = not config.DISABLE_JIT
X86 = platform.machine().lower() in ("x86_64", "amd64")
WIDTHS = [np.float32, np.float64]

compiled_only = pytest.mark.skipif(not JIT, reason="looks at compiled code, and the JIT is off")
both_widths = pytest.mark.parametrize("width", WIDTHS, ids=lambda width: width.__name__)

# Every remainder of the rows by 6 and of the columns by two vectors (32 float32, 16 float64), and sizes of real layers.
SMALL = list(itertools.product(range(14), (0, 1, 2, 19), range(70)))
LAYERS = [(32, 64, 64), (10, 32, 64), (64, 784, 32), (32, 64, 784), (257, 33, 800), (640, 64, 1)]
if not JIT:
    SMALL = list(itertools.product((0, 1, 7, 12), (0, 1, 5), (0, 1, 3, 17)))
    LAYERS = [(6, 8, 33)]


@njit(**FLAGS)
def chains(A, B, C):
    """The product once more, as the plainest loop there is: one fma after the other, rounded into memory."""
    C[:, :] = 0
    for k in range(A.shape[1]):
        for i in range(C.shape[0]):
            for j in range(C.shape[1]):
                C[i, j] = fma(A[i, k], B[k, j], C[i, j])


def drawn(seed, *shape, width):
    return (np.random.default_rng(seed).random(shape) - 0.5).astype(width)


def machine(width):
    return product_for(types.float32 if width is np.float32 else types.float64)


def multiplied(A, B):
    C = np.full((A.shape[0], B.shape[1]), np.nan, A.dtype)
    machine(A.dtype.type)(A, B, C)
    return C


def expected(A, B):
    C = np.full((A.shape[0], B.shape[1]), np.nan, A.dtype)
    chains(np.ascontiguousarray(A), np.ascontiguousarray(B), C)
    return C


def assert_same_bits(got, wanted):
    """NaN is NaN, whatever its payload; everything else must agree in every bit."""
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    integer = f"u{got.itemsize}"
    here, there = (np.where(np.isnan(x), x.dtype.type(np.nan), x).view(integer) for x in (got, wanted))
    np.testing.assert_array_equal(here, there)


# ------------------------------------------------------------------------------------------------ the values


@both_widths
def test_every_element_is_one_chain_over_k(width):
    for number, (M, K, N) in enumerate([*SMALL, *LAYERS]):
        A, B = drawn(2 * number, M, K, width=width), drawn(2 * number + 1, K, N, width=width)
        assert_same_bits(multiplied(A, B), expected(A, B))


@both_widths
@pytest.mark.parametrize("shape", [(7, 5, 3), (3, 9, 37)])
def test_compiled_code_and_exact_python_give_the_same_bits(width, shape):
    M, K, N = shape
    A, B = drawn(1, M, K, width=width), drawn(2, K, N, width=width)
    C = np.empty((M, N), width)
    product(A, B, C)
    for i, j in np.ndindex(M, N):
        chain = width(0)
        for k in range(K):
            chain = fma(A[i, k], B[k, j], chain)
        assert C[i, j] == chain
    assert_same_bits(multiplied(A, B), C)


@both_widths
def test_the_product_is_the_matrix_product(width):
    for M, K, N in LAYERS:
        A, B = drawn(M, M, K, width=width), drawn(N, K, N, width=width)
        error = np.abs(multiplied(A, B) - A.astype(float) @ B.astype(float))
        bound = K * np.finfo(width).eps * (np.abs(A).astype(float) @ np.abs(B).astype(float))  # Higham 2002, (3.5)
        assert np.all(error <= bound)


@both_widths
def test_no_terms_give_plus_zero(width):
    C = multiplied(np.empty((7, 0), width), np.empty((0, 37), width))
    assert not C.any()
    assert not np.signbit(C).any()


@both_widths
def test_minus_zero_is_absorbed_by_the_zero_the_chain_starts_from(width):
    C = multiplied(np.full((7, 3), -0.0, width), np.ones((3, 5), width))
    assert not np.signbit(C).any()


@both_widths
def test_special_values_follow_the_chain(width):
    info = np.finfo(width)
    values = [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, info.smallest_subnormal, -info.tiny, info.max, info.eps]
    generator = np.random.default_rng(3)
    for M, K, N in [(1, 1, 1), (7, 2, 5), (6, 3, 33)] if not JIT else [(13, K, 71) for K in range(1, 9)]:
        A, B = (generator.choice(np.array(values, width), shape) for shape in [(M, K), (K, N)])
        assert_same_bits(multiplied(A, B), expected(A, B))


@both_widths
def test_subnormal_results_are_kept(width):
    A = np.full((7, 4), np.finfo(width).tiny, width)
    B = np.full((4, 37), 0.125, width)
    assert np.all(multiplied(A, B) == np.finfo(width).tiny / 2)


# ------------------------------------------------------------------------------------------------ place and layout


@both_widths
def test_stacked_runs_have_the_bits_of_each_run_alone(width):
    generator = np.random.default_rng(5)
    for K, N in [(64, 64), (32, 50), (784, 33), (5, 1), (13, 100)] if JIT else [(3, 5)]:
        rows = [int(x) for x in generator.integers(1, 40 if JIT else 9, 60 if JIT else 4)]
        runs, B = [drawn(n, m, K, width=width) for n, m in enumerate(rows)], drawn(99, K, N, width=width)
        stacked = multiplied(np.concatenate(runs), B)
        for run, end in zip(runs, np.cumsum(rows), strict=True):
            assert_same_bits(stacked[end - len(run) : end], multiplied(run, B))


@both_widths
def test_columns_have_the_same_bits_in_any_window(width):
    M, K, N = (13, 31, 150) if JIT else (3, 4, 40)
    A, B = drawn(6, M, K, width=width), drawn(7, K, N, width=width)
    whole = multiplied(A, B)
    generator = np.random.default_rng(8)
    for _ in range(500 if JIT else 8):
        start, end = sorted(int(x) for x in generator.integers(0, N + 1, 2))
        assert_same_bits(multiplied(A, B[:, start:end]), whole[:, start:end])


VIEWS = {
    "transposed": lambda A: A.T.copy().T,
    "a block of a wider array": lambda A: np.pad(A, ((1, 2), (3, 1)), constant_values=np.nan)[1:-2, 3:-1],
    "a transposed block": lambda A: np.pad(A.T, ((1, 2), (3, 1)), constant_values=np.nan)[1:-2, 3:-1].T,
    "every second element": lambda A: np.repeat(np.repeat(A, 2, 0), 2, 1)[::2, ::2],
    "backwards": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
}


@both_widths
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_strided_view_of_a_is_read_as_it_lies(width, view):
    for M, K, N in [(1, 3, 5), (13, 1, 17), (6, 4, 2)] + JIT * [(45, 61, 67), (64, 32, 10)]:
        A, B = drawn(9, M, K, width=width), drawn(10, K, N, width=width)
        strided = view(A)
        np.testing.assert_array_equal(strided, A)
        assert_same_bits(multiplied(strided, B), expected(A, B))


@both_widths
def test_one_row_for_all_may_be_repeated_without_a_copy(width):
    row, B = drawn(11, 1, 5, width=width), drawn(12, 5, 9, width=width)
    assert_same_bits(multiplied(np.broadcast_to(row, (7, 5)), B), np.repeat(expected(row, B), 7, 0))


@both_widths
def test_blocks_of_wider_arrays_are_read_and_written_and_nothing_beside_them(width):
    poison = np.finfo(width).max
    for number, (M, K, N) in enumerate(SMALL[:: 7 if JIT else 1]):
        A, B = drawn(number, M, K, width=width), drawn(number + 1, K, N, width=width)
        around_B = np.full((K + 2, N + 80), np.nan, width)
        around_C = np.full((M + 14, N + 80), poison, width)
        around_B[1 : K + 1, 3 : N + 3] = B
        C = around_C[7 : M + 7, 5 : N + 5]
        machine(width)(A, around_B[1 : K + 1, 3 : N + 3], C)
        assert_same_bits(C.copy(), expected(A, B))
        C[:] = poison
        assert np.all(around_C == poison)


@both_widths
def test_compiled_code_calls_it_with_slices_and_views_of_one_buffer(width):
    @njit(**FLAGS)
    def calls(W, X, work):
        m, n = W.shape[0], X.shape[1]
        contiguous = work[: m * n].reshape(m, n)
        back = work[m * n :].reshape(X.shape)
        product(W, X, contiguous)
        product(W.T, contiguous, back)
        return contiguous, back

    W, X = drawn(13, 7, 5, width=width), drawn(14, 5, 37, width=width)
    forward, back = calls(W, X, np.full(12 * 37, np.nan, width))
    assert_same_bits(forward, expected(W, X))
    assert_same_bits(back, expected(W.T, forward))


# ------------------------------------------------------------------------------------------------ refusals


@both_widths
@pytest.mark.parametrize("array", range(3), ids="ABC")
@pytest.mark.parametrize("axis", range(2))
def test_shapes_that_do_not_fit_are_refused(width, array, axis):
    shapes = [[3, 4], [4, 5], [3, 5]]
    shapes[array][axis] += 1
    with pytest.raises(ValueError, match="shapes"):
        machine(width)(*(np.zeros(shape, width) for shape in shapes))


@both_widths
def test_rows_of_b_and_c_that_are_not_contiguous_are_refused(width):
    square = np.zeros((4, 4), width)
    for arrays in [(square, square.T, square.copy()), (square, square, np.zeros((4, 4), width).T)]:
        with pytest.raises(ValueError, match="contiguous"):
            machine(width)(*arrays)


@both_widths
def test_one_column_may_lie_at_any_stride(width):
    A, B = drawn(15, 7, 5, width=width), drawn(16, 5, 4, width=width)
    C = np.full((7, 3), np.nan, width)
    machine(width)(A, B[:, 2:3], C[:, 1:2])
    assert_same_bits(C[:, 1:2].copy(), expected(A, B)[:, 2:3].copy())


@pytest.mark.jit
@compiled_only
@pytest.mark.parametrize("odd", range(3))
def test_mixed_widths_do_not_compile(odd):
    @njit
    def call(A, B, C):
        product(A, B, C)

    arrays = [np.zeros((2, 2), np.float64 if n == odd else np.float32) for n in range(3)]
    with pytest.raises(TypingError):
        call(*arrays)


# ------------------------------------------------------------------------------------------------ the machine code


@pytest.mark.jit
@compiled_only
def test_machine_code_is_packed_fma_without_float64_and_without_allocation():
    view = types.Array(types.float32, 2, "A")
    fresh = njit([types.void(view, view, view)], **FLAGS)(product)  # what comes from the cache cannot be inspected
    (llvm,) = fresh.inspect_llvm().values()
    assert not re.search(r"fpext|\bdouble\b", llvm)
    assert "NRT_Allocate" not in llvm
    assert "NRT_MemInfo_alloc" not in llvm
    if X86:
        (assembly,) = fresh.inspect_asm().values()
        assert re.search(r"vfmadd\d+ps\s.*%[yz]mm", assembly)
        assert "vfmadd" not in re.sub(r"vfmadd\d+ps", "", assembly)


def digest():
    """One hash over products of many shapes, to be compared between CPUs."""
    total = hashlib.sha256()
    for width, (M, K, N) in itertools.product(WIDTHS, [*SMALL[::37], *LAYERS]):
        total.update(multiplied(drawn(M, M, K, width=width), drawn(N, K, N, width=width)))
    return total.hexdigest()


@pytest.mark.jit
@compiled_only
@pytest.mark.skipif(not (X86 and sys.platform == "linux"), reason="the other targets are x86 CPUs under Linux")
@pytest.mark.parametrize(
    ("name", "features"), [("haswell", "+avx2,+fma"), ("znver2", "+avx2,+fma"), ("nehalem", "+sse4.2")]
)
def test_code_for_other_cpus_gives_the_same_bits(name, features, tmp_path):
    target = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "import test_product; print(test_product.digest())"]
    places = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(command, env={**os.environ, **places, **target}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()
