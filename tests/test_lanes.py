"""Vectors of lanes: every operation is that of numbers, lane by lane, and a product of lanes is that of each alone."""

from functools import cache

import numba
import numpy as np
import pytest
from numba import types

from lookahead_nb.kernels import formulas
from lookahead_nb.kernels.compiler import FLAGS, fma, like, named, select, sqrt
from lookahead_nb.kernels.cpu import lanes
from lookahead_nb.kernels.cpu.product import product, product_for

COMPILED = not numba.config.DISABLE_JIT
ODD = [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-40, 3e38, 2.0, -7.25, 0.1]


def number_type(width):
    return types.float32 if width == np.float32 else types.float64


def compiled(function, *signature):
    return numba.njit([types.void(*signature)], **FLAGS)(function) if COMPILED else function


def filled(shape, width, seed=0):
    array = lanes.lined_up(shape, width)
    array[:] = np.random.default_rng(seed).standard_normal(array.shape)
    return array


# ------------------------------------------------------------------------------------------------ vectors


FUNCTIONS = {
    "sum": lambda a, b, c: a + b,
    "difference": lambda a, b, c: a - b,
    "product": lambda a, b, c: a * b,
    "quotient": lambda a, b, c: a / b,
    "negative": lambda a, b, c: -a,
    "size": lambda a, b, c: abs(a),
    "root": lambda a, b, c: sqrt(abs(a)),
    "fma": lambda a, b, c: fma(a, b, c),
    "a constant": lambda a, b, c: a + like(a, 3),
    "a number everywhere": lambda a, b, c: a * like(b, 0.5),
    "where equal": lambda a, b, c: select(a == b, c, a),
    "where less": lambda a, b, c: select(a < b, c, a),
    "where not more": lambda a, b, c: select(a <= b, c, a),
    "where more": lambda a, b, c: select(a > b, c, a),
    "where not less": lambda a, b, c: select(a >= b, c, a),
    "pull": lambda a, b, c: formulas.pull(a, b, abs(c), like(c, 1) - abs(c)),
    "heavy ball": lambda a, b, c: formulas.heavy_ball_pull(a, b, c, like(c, 0.5), like(c, 0.9))[0],
    "velocity": lambda a, b, c: formulas.heavy_ball_pull(a, b, c, like(c, 0.5), like(c, 0.9))[1],
    "nesterov": lambda a, b, c: formulas.nesterov_pull(a, b, c, abs(c), like(c, 0.9))[0],
    "relu": lambda a, b, c: formulas.relu(a),
}


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, on the way to inf and NaN
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operation_is_that_of_numbers(name, width):
    function, number = FUNCTIONS[name], number_type(width)
    inline = numba.extending.register_jitable(named(f"lane_{name}".replace(" ", "_"), function))
    lines = number[:, ::1]

    def in_lanes(a, b, c, out):
        for i in range(a.shape[0]):
            lanes.set_line(out, i, inline(lanes.line(a, i), lanes.line(b, i), lanes.line(c, i)))

    def by_number(a, b, c, out):
        for i in range(a.shape[0]):
            for lane in range(a.shape[1]):
                out[i, lane] = inline(a[i, lane], b[i, lane], c[i, lane])

    pairs = np.array([(a, b, c) for a in ODD for b in ODD for c in (0.0, 1.0, 0.3, np.inf, np.nan)], width)
    count = lanes.lanes_of(width)
    a, b, c = (lanes.lined_up((len(pairs) // count,), width) for _ in range(3))
    for array, column in zip((a, b, c), pairs.T, strict=True):
        array[:] = column[: array.size].reshape(array.shape)
    found, expected = np.empty_like(a), np.empty_like(a)
    compiled(in_lanes, *[lines] * 4)(a, b, c, found)
    compiled(by_number, *[lines] * 4)(a, b, c, expected)
    assert np.array_equal(found, expected, equal_nan=True)
    there = ~np.isnan(expected)
    assert np.array_equal(np.signbit(found[there]), np.signbit(expected[there]))


def test_lines_begin_where_cache_lines_do(width):
    for shape in ((1,), (3, 5), (0,), (7, 1, 2)):
        array = lanes.lined_up(shape, width)
        assert array.shape == (*shape, lanes.lanes_of(width))
        assert array.flags.c_contiguous
        assert not array.any()
        assert not array.size or array.ctypes.data % lanes.LINE == 0


# ------------------------------------------------------------------------------------------------ products

SHAPES = [(1, 1, 1), (4, 3, 4), (5, 7, 6), (2, 0, 3), (3, 4, 0), (0, 4, 3), (9, 2, 11)]


@cache
def product_in_lanes(width, ndim):
    number = number_type(width)
    kinds = [types.Array(number, n, "A", readonly=readonly) for n, readonly in ((3, True), (ndim, True), (3, False))]

    def run(A, B, C):
        lanes.lane_product(A, B, C)

    return compiled(run, *kinds)


def lane_product(A, B, C, width):
    product_in_lanes(width, B.ndim)(A, B, C)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "each its own"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product_of_lanes_is_that_of_each_lane_alone_in_every_bit(shape, shared, width):
    M, K, N = shape
    A, C = filled((M, K), width, 1), filled((M, N), width, 2)
    B = filled((K, N), width, 3)[..., 0].copy() if shared else filled((K, N), width, 3)
    lane_product(A, B, C, width)
    single = product_for(number_type(width)) if COMPILED else product
    for lane in range(lanes.lanes_of(width)):
        alone = np.empty((M, N), width)
        single(A[..., lane], B if shared else np.ascontiguousarray(B[..., lane]), alone)
        assert np.array_equal(C[..., lane], alone)


def test_operands_may_be_transposed_and_parts_of_larger_arrays(width):
    A, B = filled((6, 5), width, 1), filled((9, 6), width, 2)
    C = filled((8, 9), width, 3)
    before = C.copy()
    lane_product(A.transpose(1, 0, 2), B[1:8].transpose(1, 0, 2), C[2:7, 1:8], width)
    whole = np.empty_like(filled((5, 7), width))
    lane_product(
        np.ascontiguousarray(A.transpose(1, 0, 2)), np.ascontiguousarray(B[1:8].transpose(1, 0, 2)), whole, width
    )
    assert np.array_equal(C[2:7, 1:8], whole)
    C[2:7, 1:8] = before[2:7, 1:8]
    assert np.array_equal(C, before)  # nothing around it was touched


def test_a_shared_operand_may_have_any_strides(width):
    A, shared = filled((5, 4), width, 1), np.random.default_rng(4).standard_normal((12, 10)).astype(width)
    view, C, expected = shared[2:9, 1::2].T[:4], filled((5, 7), width), filled((5, 7), width)
    lane_product(A, view, C, width)
    lane_product(A, np.ascontiguousarray(view), expected, width)
    assert np.array_equal(C, expected)
