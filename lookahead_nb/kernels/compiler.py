"""The compiler flags, the cache policy and the fused multiply-add, which no other module knows.

Formulas are plain Python functions marked with :func:`formula`; loops are compiled with :func:`compiled`.
"""

from __future__ import annotations

import gc
import hashlib
import math
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import _dynfunc, njit, types
from numba.core import codegen, config, cpu, typed_passes
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic, overload, register_jitable

# numpy: x/0 is inf as on CUDA, and loops vectorise without the branch that raises ZeroDivisionError.
# contract: lets a*b+c become one fma, which CUDA does anyway; the formulas write out every fma: no bit depends on it.
# No other flag: reassoc, nnan, ninf, arcp would change bits between CPUs or delete the checks for NaN.
FLAGS = {"error_model": "numpy", "fastmath": {"contract"}}

formula = register_jitable  # compiled once per caller with the caller's flags, and still callable Python

_PACKAGE = pathlib.Path(__file__).resolve().parent


def _source_stamp() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    # Switches that change the machine code but are missing in Numba's own cache key.
    digest.update(repr((config.BOUNDSCHECK, str(config.OPT), config.CPU_NAME, config.CPU_FEATURES)).encode())
    return digest.digest()


_STAMP = _source_stamp()


class _PackageStamp:
    """Stamp a cached function with all compiled sources, not with its own file only as Numba does."""

    def get_source_stamp(self) -> bytes:
        return _STAMP

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> Any:
        if _PACKAGE not in pathlib.Path(py_file).resolve().parents:
            return None
        return super().from_function(py_func, py_file)  # type: ignore[misc] # of the locator that it is mixed into


class CacheInGivenFolder(_PackageStamp, UserProvidedCacheLocator):
    """Cache in NUMBA_CACHE_DIR, where it is set."""


class CacheInTree(_PackageStamp, InTreeCacheLocator):
    """Cache next to the source, where that is writable."""


class CacheOfUser(_PackageStamp, UserWideCacheLocator):
    """Cache in the user's cache folder, for a read-only installation."""


_OWN_LOCATORS = ",".join(f"{__name__}.{c.__name__}" for c in (CacheInGivenFolder, CacheInTree, CacheOfUser))
_OTHER_LOCATORS = config.CACHE_LOCATOR_CLASSES or (
    "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator,ZipCacheLocator"
)
config.CACHE_LOCATOR_CLASSES = f"{_OWN_LOCATORS},{_OTHER_LOCATORS}"  # process-wide, so other packages keep theirs


_is_formula = [False]  # for each function that is being lowered, the innermost last


@contextmanager
def _formulas_as_bitcode() -> Iterator[None]:
    """Compile formulas to LLVM code only, for the loops that they are linked into; this halves the time of compiling.

    Numba would also optimise each formula alone and generate machine code and a C wrapper for it, which nothing calls.
    These are private names of Numba: where one is missing, formulas are compiled as Numba does it.
    """
    library, names = codegen.CPUCodeLibrary, ("_optimize_final_module", "_finalize_final_module")
    patched = [(typed_passes.NativeLowering, "run_pass"), (cpu.CPUContext, "get_executable")]
    patched += [(library, name) for name in names]
    known = all(hasattr(owner, name) for owner, name in [*patched, (library, "_finalize_dynamic_globals")])
    with global_compiler_lock:  # no other thread compiles meanwhile
        if not known or typed_passes.NativeLowering.run_pass.__module__ == __name__:  # a loop inside another
            yield
            return
        originals = [getattr(owner, name) for owner, name in patched]
        lower, executable, optimize, finish = originals

        def run_pass(self: Any, state: Any) -> Any:
            _is_formula.append(bool(state.flags.no_cpython_wrapper))
            state.flags.no_cfunc_wrapper |= _is_formula[-1]
            try:
                return lower(self, state)
            finally:
                _is_formula.pop()

        def get_executable(self: Any, library: Any, fndesc: Any, env: Any) -> Any:
            if not _is_formula[-1]:
                return executable(self, library, fndesc, env)
            library._ensure_finalized()
            module, name = fndesc.lookup_module(), fndesc.qualname.split(".")[-1]
            return _dynfunc.make_function(module, name, "a formula", 0, env, (library,))

        def optimize_module(self: Any) -> None:
            if not _is_formula[-1]:
                optimize(self)

        def finish_module(self: Any) -> None:
            if not _is_formula[-1]:
                finish(self)
                return
            self._finalize_dynamic_globals()
            self._finalized = True

        replacements = run_pass, get_executable, optimize_module, finish_module
        for (owner, name), replacement in zip(patched, replacements, strict=True):
            setattr(owner, name, replacement)
        try:
            yield
        finally:
            for (owner, name), original in zip(patched, originals, strict=True):
                setattr(owner, name, original)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Suspend the search for reference cycles: over the objects of Numba's compiler it takes a tenth of the time."""
    was_on = gc.isenabled()
    try:  # around disable too: Ctrl-C may come right after it
        gc.disable()
        yield
    finally:
        if was_on:
            gc.enable()


SILENT_SECONDS = 1.0  # of compiling in this process, after which a line says so

_spent = [0.0]  # seconds of compiling so far; negative once the line is written


@contextmanager
def _announced(function: Callable) -> Iterator[None]:
    """Write one line to a terminal if a process compiles for longer than SILENT_SECONDS; a cache is loaded faster."""

    def announce() -> None:
        _spent[0] = -math.inf
        name = function.__name__.lstrip("_")
        text = f"lookahead_nb is compiling its kernels for this CPU ({name}, ...). This takes seconds and happens once."
        print(text, file=sys.stderr, flush=True)  # noqa: T201 (the reader waits and should know why)

    start = time.monotonic()
    timer = threading.Timer(max(0.0, SILENT_SECONDS - _spent[0]), announce)
    if sys.stderr is not None and sys.stderr.isatty() and _spent[0] >= 0:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _spent[0] += time.monotonic() - start


def compiled(signature: Any, **options: Any) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a loop for the CPU with the flags of this module.

    The machine code comes from the disk cache if one can be written.

    Parameters
    ----------
    signature : numba.core.typing.Signature
        The types of the arguments; explicit, so that no silent specialisation for another width can appear.
    **options : object
        Further options of ``numba.njit``, such as ``nogil`` or ``parallel``.

    Returns
    -------
    function
        Takes the Python function and returns the compiled one.

    Raises
    ------
    RuntimeError
        If Numba refuses the cache for any reason except a missing writable folder.
    """

    def decorate(function: Callable) -> Any:
        cache = function.__module__.startswith(__package__)  # in another package an edited formula would go unnoticed
        try:
            with _announced(function), _formulas_as_bitcode(), _without_garbage_collection():
                return njit([signature], cache=cache, **FLAGS, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return njit([signature], **FLAGS, **options)(function)  # nothing is writable: compile in memory

    return decorate


def named(name: str, function: Callable) -> Callable:
    """Return a function made in a factory, under its own name.

    Parameters
    ----------
    name : str
        The name, unique among the functions that are compiled.
    function : function
        Changed in place.

    Returns
    -------
    function
        The same function.

    Notes
    -----
    Numba distinguishes symbols by name, types and a count that starts again in every process. Two processes could leave
    two loops in the cache under one name, and one could be mistaken for the other.
    """
    function.__name__ = function.__qualname__ = name
    return function


def by_width(single: Callable, double: Callable) -> Callable:
    """Join a float32 and a float64 formula into one symbol that picks by the type of its first argument.

    Parameters
    ----------
    single, double : function
        Formulas of one argument.

    Returns
    -------
    function
        Callable from Python and from compiled code, with the name and the docstring of ``single``.
    """

    def chosen(x: Any) -> Any:
        return single(x) if isinstance(x, np.float32) else double(x)

    @overload(chosen, strict=False)
    def _typed(x: Any) -> Callable:
        chosen_one = single if x == types.float32 else double
        return named(f"{chosen_one.__name__}_of_{x}", lambda x: chosen_one(x))

    chosen.__doc__, chosen.__module__ = single.__doc__, single.__module__
    return named(single.__name__, chosen)


def like(x: Any, value: Any) -> Any:
    """Return the value in the width of x: a bare 0 or 1 next to a float32 would widen it to float64.

    Parameters
    ----------
    x : float
        float32 or float64.
    value : float or int
        The number to convert.

    Returns
    -------
    float
        Of the type of x.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.compiler import like
    >>> like(np.float32(2), 1).dtype
    dtype('float32')
    """
    return type(x)(value)


@overload(like, strict=False)
def _like_typed(x: Any, value: Any) -> Callable | None:
    if not isinstance(x, types.Float):
        return None
    width = np.float32 if x == types.float32 else np.float64
    return lambda x, value: width(value)  # noqa: ARG005 (an overload has the signature of its function)


def sqrt(x: Any) -> Any:
    """Return the correctly rounded square root in the width of x; ``math.sqrt`` would widen and raise.

    Parameters
    ----------
    x : float
        float32 or float64.

    Returns
    -------
    float
        Of the type of x, NaN below 0.
    """
    return type(x)(math.sqrt(x)) if x >= 0 else type(x)(math.nan)


@overload(sqrt, strict=False)
def _sqrt_typed(x: Any) -> Callable | None:
    return (lambda x: math.sqrt(x)) if isinstance(x, types.Float) else None


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return a if the condition holds, else b; both are computed, so that vectors of SIMD lanes can be selected too.

    Parameters
    ----------
    condition : bool
        Or, in compiled code, a mask of SIMD lanes.
    a, b : float
        Of one type.

    Returns
    -------
    float
        Of the same type.
    """
    return a if condition else b


@overload(select, strict=False)
def _select_typed(condition: Any, a: Any, b: Any) -> Callable | None:
    return (lambda condition, a, b: a if condition else b) if isinstance(condition, types.Boolean) else None


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a*b + c rounded once.

    It is llvm.fma on the CPU, fma.rn on CUDA, and exact integer arithmetic in plain Python.

    Parameters
    ----------
    a, b, c : float
        float32 or float64, all of one type.

    Returns
    -------
    float
        Of the same type.

    Examples
    --------
    >>> from lookahead_nb.kernels.compiler import fma
    >>> fma(0.1, 10.0, -1.0)  # 0.1 is not exactly 1/10
    5.551115123125783e-17
    >>> 0.1 * 10.0 - 1.0
    0.0
    """
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
def _fma_instruction(typing_context: Any, a: Any, b: Any, c: Any) -> tuple[Any, Callable]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        width = context.get_value_type(signature.return_type)
        name = f"llvm.fma.{'f32' if isinstance(width, ir.FloatType) else 'f64'}"
        declared = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(width, [width] * 3), name
        )
        return builder.call(declared, arguments)

    return a(a, a, a), generate


@overload(fma, strict=False)
def _fma_typed(a: Any, b: Any, c: Any) -> Callable | None:
    if a in (types.float32, types.float64) and a == b == c:  # mixed widths do not compile: no silent float64
        return lambda a, b, c: _fma_instruction(a, b, c)
    return None
