"""exp, log, tanh, sigmoid, softplus: accurate, defined everywhere, the same bits in Python and compiled, vectorised."""

import platform
import re
from functools import cache

import mpmath
import numba
import numpy as np
import pytest
from numba import njit, types

from lookahead_nb.kernels import formulas
from lookahead_nb.kernels.compiler import FLAGS

NAMES = ["exp", "log", "tanh", "sigmoid", "softplus"]
WIDTHS = [np.float32, np.float64]
COMPILED = not numba.config.DISABLE_JIT
needs_compiler = pytest.mark.skipif(not COMPILED, reason="looks at compiled code")
each_function = pytest.mark.parametrize("name", NAMES)
each_width = pytest.mark.parametrize("width", WIDTHS)

DOUBLE = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
}
EXACT = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x)),
}


def stated_bound(name):
    return float(re.search(r"Accuracy: ([\d.]+) ulp", getattr(formulas, name).__doc__)[1])


@cache
def loop(name, width):
    function, number = getattr(formulas, name), numba.from_dtype(np.dtype(width))

    # Not jit.compiled: outside the package its disk cache would not see an edited formula.
    @njit([types.void(number[::1], number[::1])], **FLAGS)
    def run(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return run


def values(name, x):
    y = np.empty_like(x)
    loop(name, x.dtype.type)(x, y)
    return y


def from_bits(bits, width):
    return np.asarray(bits).astype(f"u{np.dtype(width).itemsize}").view(width)


def last_digit(reference, width):
    """Return one ulp of the width at the reference, the spacing of subnormal numbers below the smallest normal one."""
    exponent = np.where(reference == 0, np.finfo(width).minexp, np.frexp(reference)[1] - 1)
    return np.ldexp(1.0, np.maximum(exponent, np.finfo(width).minexp) - np.finfo(width).nmant)


def around(points, count, width):
    """Return the neighbours of each point, count of them on either side."""
    integer = f"i{np.dtype(width).itemsize}"
    bits = np.array(points, width).view(integer)[:, None] + np.arange(-count, count + 1, dtype=integer)
    return bits.ravel().view(width)


def specials(width):
    limits = np.finfo(width)
    sizes = [0, limits.smallest_subnormal, limits.tiny, limits.eps, 0.5, 1, 20, 87.5, 104, 746, 1000, limits.max]
    quiet, signalling = np.array([np.nan], width), np.array([np.inf], width)
    signalling.view(f"u{np.dtype(width).itemsize}")[0] += 1
    positive = np.concatenate([np.array([*sizes, np.inf], width), quiet, signalling])
    return np.concatenate([positive, -positive])


# Where a polynomial, a select or an exponent changes, and where results overflow, underflow or start to be 1.
CORNERS = [1e-30, 2.0**-53, 2.0**-24, 0.3465, 0.5, 0.75, 1, 1.5, 2, 9.01, 10, 17.3, 19.06, 20, 36.7, 87.33, 88.7]


@each_function
def test_float32_is_as_accurate_as_stated(name):
    count, stride = (5000, 1009) if COMPILED else (5, 4_000_037)
    all_over = from_bits(np.arange(0, 2**32, stride, dtype=np.uint64), np.float32)
    ends = around([*CORNERS, 88.72283, 103.28, 103.97], count, np.float32)
    x = np.concatenate([all_over, ends, -ends])
    y = values(name, x)
    with np.errstate(all="ignore"):
        reference = DOUBLE[name](x.astype(np.float64))
        np.testing.assert_array_equal(np.isnan(y), np.isnan(reference))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(reference.astype(np.float32)))
    finite = np.isfinite(y)
    errors = abs(y[finite] - reference[finite]) / last_digit(reference[finite], np.float32)
    assert errors.max() <= stated_bound(name), f"{errors.max()} ulp at {x[finite][errors.argmax()]!r}"


@each_function
def test_float64_is_as_accurate_as_stated(name):
    count = 4000 if COMPILED else 40
    rng = np.random.default_rng(0)
    if name == "log":
        x = [
            rng.uniform(0.3, 3, 3 * count),
            np.exp(rng.uniform(-708, 709, count)),
            5e-324 * 2.0 ** rng.uniform(0, 52, count),
        ]
    else:
        tiny = np.exp(rng.uniform(-700, 0, count))
        x = [rng.uniform(-2, 2, count), rng.uniform(-40, 40, count), rng.uniform(-745, 709.7, count), tiny, -tiny]
    corners = around([*CORNERS, 708.39, 709.78], 10 if COMPILED else 1, np.float64)
    x = np.concatenate([*x, corners, [] if name == "log" else -corners])
    y = values(name, x)
    with mpmath.workprec(120):
        exact = [EXACT[name](mpmath.mpf(number)) for number in x.tolist()]
        # Scaled up: the error of a subnormal number is no float64.
        errors = np.array([float(abs(a - b) * 2**50) for a, b in zip(y.tolist(), exact, strict=True)])
    errors /= last_digit(np.array(exact, np.float64), np.float64) * 2.0**50
    assert errors.max() <= stated_bound(name), f"{errors.max()} ulp at {x[errors.argmax()]!r}"


@each_width
@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", 0.0, 1.0),
        ("exp", -0.0, 1.0),
        ("exp", np.inf, np.inf),
        ("exp", -np.inf, 0.0),
        ("exp", 1000.0, np.inf),
        ("exp", -1000.0, 0.0),
        ("log", 1.0, 0.0),
        ("log", 0.0, -np.inf),
        ("log", -0.0, -np.inf),
        ("log", np.inf, np.inf),
        ("log", -1.0, np.nan),
        ("log", -1e-40, np.nan),
        ("log", -np.inf, np.nan),
        ("tanh", 0.0, 0.0),
        ("tanh", -0.0, -0.0),
        ("tanh", 1e-40, 1e-40),
        ("tanh", np.inf, 1.0),
        ("tanh", -np.inf, -1.0),
        ("sigmoid", 0.0, 0.5),
        ("sigmoid", -0.0, 0.5),
        ("sigmoid", np.inf, 1.0),
        ("sigmoid", -np.inf, 0.0),
        ("sigmoid", 1000.0, 1.0),
        ("sigmoid", -1000.0, 0.0),
        ("softplus", 0.0, np.log(2)),
        ("softplus", np.inf, np.inf),
        ("softplus", -np.inf, 0.0),
        ("softplus", 1000.0, 1000.0),
        ("softplus", -1000.0, 0.0),
        *((name, np.nan, np.nan) for name in NAMES),
    ],
)
def test_singular_cases(name, x, expected, width):
    for y in (getattr(formulas, name)(width(x)), values(name, np.array([x], width))[0]):
        np.testing.assert_array_equal(y, width(expected))
        assert np.isnan(y) or np.signbit(y) == np.signbit(expected)


@pytest.mark.parametrize("last", [np.float32(88.72283), np.float64(709.782712893384)])
def test_exp_overflows_where_it_must(last):
    assert np.isfinite(formulas.exp(last))
    assert formulas.exp(np.nextafter(last, last.dtype.type(np.inf))) == np.inf


@each_width
@each_function
def test_plain_python_never_raises_or_warns_and_keeps_the_width(name, width):
    function = getattr(formulas, name)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        results = [function(x) for x in specials(width)]
        if width is np.float64:
            results += [function(x) for x in specials(width).tolist()]
    assert {type(y) for y in results} == {width}


@needs_compiler
@each_width
@each_function
def test_same_bits_in_python_and_compiled(name, width):
    rng = np.random.default_rng(1)
    any_bits = rng.integers(0, 2 ** (8 * np.dtype(width).itemsize), 500, dtype=np.uint64)
    x = np.concatenate(
        [
            specials(width),
            from_bits(any_bits, width),
            around(CORNERS, 2, width),
            rng.uniform(-3, 3, 1000).astype(width),
            rng.uniform(-110, 110, 1000).astype(width),
        ]
    )
    python = np.array([getattr(formulas, name)(number) for number in x], width)
    compiled = values(name, x)
    np.testing.assert_array_equal(python, compiled)  # which takes any NaN for any other, and -0.0 for 0.0
    np.testing.assert_array_equal(np.signbit(python[~np.isnan(x)]), np.signbit(compiled[~np.isnan(x)]))


@each_width
def test_tanh_is_odd_in_every_bit(width):
    x = np.random.default_rng(2).normal(0, 3, 10_000 if COMPILED else 100).astype(width)
    np.testing.assert_array_equal(values("tanh", -x), -values("tanh", x))


@each_width
def test_ranges(width):
    x = np.random.default_rng(3).normal(0, 30, 100_000 if COMPILED else 100).astype(width)
    assert values("exp", x).min() >= 0
    assert abs(values("tanh", x)).max() <= 1
    assert 0 <= values("sigmoid", x).min() <= values("sigmoid", x).max() <= 1
    assert (values("softplus", x) >= np.maximum(x, 0)).all()


@needs_compiler
@each_width
@each_function
def test_loops_vectorise_without_a_call(name, width):
    digits = 8 * np.dtype(width).itemsize
    code = next(iter(loop(name, width).inspect_llvm().values()))
    called = set(re.findall(r"call [^@\n]*(?:float|double)>? @([\w.]+)", code))
    assert f"llvm.fma.f{digits}" in {re.sub(r"\.v\d+", ".", call).replace("..", ".") for call in called}
    assert any(re.fullmatch(rf"llvm\.fma\.v\d+f{digits}", call) for call in called)
    assert all(re.match(r"llvm\.(fma|fabs|copysign)\.", call) for call in called), called
    if platform.machine() in ("x86_64", "AMD64"):
        letter = {32: "s", 64: "d"}[digits]
        assert re.search(rf"\bvfmadd\d+p{letter}\b", next(iter(loop(name, width).inspect_asm().values())))


@needs_compiler
@each_function
def test_float32_holds_no_float64(name):
    assert "double" not in next(iter(loop(name, np.float32).inspect_llvm().values()))


# ----------------------------------------------------------------------------------- the quantile of the normal law


def quantiles(u):
    x = np.empty_like(u)
    loop("normal_quantile", np.float64)(u, x)
    return x


def probabilities(count):
    rng = np.random.default_rng(2)
    sides = np.exp(rng.uniform(-25, 0, count))
    corners = around([np.exp(-25), 0.075, 0.25, 0.925], 1, np.float64)
    ends = [2.0**-33, 1 - 2.0**-33, np.nextafter(0.5, 0), np.nextafter(0.5, 1)]
    inside = np.concatenate([rng.random(count), sides, 1 - sides, corners, ends])
    return inside[(inside >= np.exp(-25)) & (1 - inside >= np.exp(-25))]


def test_normal_quantile_agrees_with_scipy():
    ndtri = pytest.importorskip("scipy.special").ndtri
    u = probabilities(200_000 if COMPILED else 100)
    np.testing.assert_allclose(quantiles(u), ndtri(u), rtol=2e-15)


def test_normal_quantile_is_as_accurate_as_stated():
    bound = float(re.search(r"Accuracy:\s+([\de.-]+) relative", formulas.normal_quantile.__doc__)[1])
    u = probabilities(300 if COMPILED else 20)
    with mpmath.workprec(120):
        for p, x in zip(u.tolist(), quantiles(u).tolist(), strict=True):
            # One step of Newton from x on the side that does not cancel leaves an error far below the bound.
            lower, q = (mpmath.mpf(x), mpmath.mpf(p)) if p < 0.5 else (-mpmath.mpf(x), 1 - mpmath.mpf(p))
            exact = lower - (mpmath.ncdf(lower) - q) / mpmath.npdf(lower)
            assert abs(lower - exact) <= bound * abs(exact), p


def test_normal_quantile_is_odd_and_nan_where_it_is_not_defined():
    u = np.arange(1, 200) / 512.0
    assert (quantiles(1 - u) == -quantiles(u)).all()
    assert quantiles(np.array([0.5]))[0] == 0
    outside = np.array([0, 1, -0.0, -0.5, 1.5, np.inf, -np.inf, np.nan, 1e-11, 5e-324])
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        plain = [formulas.normal_quantile(x) for x in outside]
    assert np.isnan(plain).all()
    assert np.isnan(quantiles(outside)).all()


@needs_compiler
def test_normal_quantile_has_the_same_bits_in_python_and_compiled():
    u = probabilities(60)
    assert [formulas.normal_quantile(x) for x in u] == quantiles(u).tolist()


@needs_compiler
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 machine code")
def test_normal_quantile_vectorises():
    (code,) = loop("normal_quantile", np.float64).inspect_asm().values()
    assert re.search(r"\bvsqrtpd\b", code)
