"""The only place that knows a compiler flag, the cache policy, and the fused multiply-add.

Formulas are plain Python functions marked with :func:`formula`; loops are compiled with :func:`compiled`.
"""

from __future__ import annotations

import hashlib
import math
import pathlib
import sys
from fractions import Fraction

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import config
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator
from numba.extending import intrinsic, overload, register_jitable

# numpy: x/0 is inf as on CUDA, and without the ZeroDivisionError branch loops vectorise.
# contract: lets a*b+c become one fma, which CUDA does anyway; the formulas write every fma out, so no bit hangs on it.
# Nothing else: reassoc, nnan, ninf, arcp would change bits from CPU to CPU or delete the checks for NaN.
FLAGS = {"error_model": "numpy", "fastmath": {"contract"}}

formula = register_jitable  # compiled once per caller with the caller's flags, and still callable Python

_PACKAGE = pathlib.Path(__file__).resolve().parent
_COMPILED_ROOMS = ("bundles.py", "formulas.py", "jit.py", "philox.py", "cpu/*.py", "gpu/*.py")


def _source_stamp() -> bytes:
    digest = hashlib.sha256()
    for pattern in _COMPILED_ROOMS:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    # Switches that change the machine code but are not in Numba's own cache key.
    digest.update(repr((config.BOUNDSCHECK, str(config.OPT), config.CPU_NAME, config.CPU_FEATURES)).encode())
    return digest.digest()


_STAMP = _source_stamp()


class _PackageStamp:
    """Numba stamps a cached function with its own file only; an edited formula must recompile every loop with it."""

    def get_source_stamp(self):
        return _STAMP

    @classmethod
    def from_function(cls, py_func, py_file):
        if _PACKAGE not in pathlib.Path(py_file).resolve().parents:
            return None
        return super().from_function(py_func, py_file)


class CacheInGivenFolder(_PackageStamp, UserProvidedCacheLocator):
    """Cache in NUMBA_CACHE_DIR, where it is set."""


class CacheInTree(_PackageStamp, InTreeCacheLocator):
    """Cache beside the source, where that is writable."""


class CacheOfUser(_PackageStamp, UserWideCacheLocator):
    """Cache in the user's cache folder, for a read-only installation."""


_OWN_LOCATORS = ",".join(f"{__name__}.{c.__name__}" for c in (CacheInGivenFolder, CacheInTree, CacheOfUser))
_OTHER_LOCATORS = config.CACHE_LOCATOR_CLASSES or (
    "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator,ZipCacheLocator"
)
config.CACHE_LOCATOR_CLASSES = f"{_OWN_LOCATORS},{_OTHER_LOCATORS}"  # process-wide, so others keep theirs


def compiled(signature, **options):
    """Compile a loop for the CPU with the flags of this file, from the disk cache where one can be written.

    signature : the Numba signature; explicit, so that no silent specialisation for another width can appear.
    """

    def decorate(function):
        cache = function.__module__.startswith(__package__)  # elsewhere an edited formula would not be noticed
        try:
            return njit([signature], cache=cache, **FLAGS, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return njit([signature], **FLAGS, **options)(function)  # nothing is writable: compile in memory

    return decorate


def named(name, function):
    """Return a function made in a factory under a name of its own.

    Numba tells symbols apart by name, types and a count that starts anew in every process; two loops that two processes
    left in the cache under one name could be taken for each other.
    """
    function.__name__ = function.__qualname__ = name
    return function


def by_width(single, double):
    """Join a float32 and a float64 formula into one symbol that picks by the type of its first argument."""

    def chosen(x):
        return single(x) if isinstance(x, np.float32) else double(x)

    @overload(chosen, strict=False)
    def _typed(x):
        chosen_one = single if x == types.float32 else double
        return named(f"{chosen_one.__name__}_of_{x}", lambda x: chosen_one(x))

    chosen.__doc__, chosen.__module__ = single.__doc__, single.__module__
    return named(single.__name__, chosen)


def like(x, value):
    """Return the value in the width of x: a bare 0 or 1 beside a float32 would widen it to float64."""
    return type(x)(value)


@overload(like, strict=False)
def _like_typed(x, value):
    if not isinstance(x, types.Float):
        return None
    width = np.float32 if x == types.float32 else np.float64
    return lambda x, value: width(value)  # noqa: ARG005 (an overload has the signature of its function)


def sqrt(x):
    """Return the correctly rounded square root in the width of x, NaN below 0; ``math.sqrt`` would widen and raise."""
    return type(x)(math.sqrt(x)) if x >= 0 else type(x)(math.nan)


@overload(sqrt, strict=False)
def _sqrt_typed(x):
    return (lambda x: math.sqrt(x)) if isinstance(x, types.Float) else None


def select(condition, a, b):
    """Return a where the condition holds, else b; both are worked out, so that vectors of lanes can be chosen too."""
    return a if condition else b


@overload(select, strict=False)
def _select_typed(condition, a, b):
    return (lambda condition, a, b: a if condition else b) if isinstance(condition, types.Boolean) else None


def fma(a, b, c):
    """Return a*b + c rounded once: llvm.fma on the CPU, fma.rn on CUDA, exact integer arithmetic in plain Python."""
    width = type(a)
    x, y, z = float(a), float(b), float(c)
    if not (math.isfinite(x) and math.isfinite(y)):
        return width(x * y + z)
    if not math.isfinite(z):
        return width(z)  # x*y is finite, however large
    if width is np.float32:
        return _fma32(x, y, z)
    if sys.version_info >= (3, 13):
        try:
            return width(math.fma(x, y, z))
        except OverflowError:
            return width(math.inf if Fraction(x) * Fraction(y) + Fraction(z) > 0 else -math.inf)
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:
        return width(x * y + z) if x == 0 or y == 0 else width(0.0)  # signed zeros follow IEEE
    try:
        return width(exact.numerator / exact.denominator)
    except OverflowError:
        return width(math.inf if exact > 0 else -math.inf)


def _fma32(x: float, y: float, z: float) -> np.float32:
    product = x * y  # exact: 24 + 24 bits fit in 53
    total = product + z
    back = total - product
    error = (product - (total - back)) + (z - back)
    even = not np.float64(total).view(np.int64) & 1
    if error != 0 and even:  # round to odd, so that rounding twice is rounding once
        total = math.nextafter(total, math.copysign(math.inf, error))
    with np.errstate(over="ignore", under="ignore"):
        return np.float32(total)


@intrinsic
def _fma_instruction(typing_context, a, b, c):
    def generate(context, builder, signature, arguments):
        width = context.get_value_type(signature.return_type)
        name = f"llvm.fma.{'f32' if isinstance(width, ir.FloatType) else 'f64'}"
        declared = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(width, [width] * 3), name
        )
        return builder.call(declared, arguments)

    return a(a, a, a), generate


@overload(fma, strict=False)
def _fma_typed(a, b, c):
    if a in (types.float32, types.float64) and a == b == c:  # mixed widths do not compile: no silent float64
        return lambda a, b, c: _fma_instruction(a, b, c)
    return None
