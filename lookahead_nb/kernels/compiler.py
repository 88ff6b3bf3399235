"""The compiler flags, the cache policy and the fused multiply-add, which no other module knows.

Formulas are plain Python functions marked with :func:`formula`; loops are compiled with :func:`compiled`.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import getpass
import hashlib
import inspect
import math
import os
import pathlib
import pickle
import pkgutil
import stat
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from types import FunctionType
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import _dynfunc, njit, types
from numba.core import codegen, config, cpu, typed_passes
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic, overload, register_jitable

# numpy: x/0 is inf as on CUDA, and loops vectorise without the branch that raises ZeroDivisionError.
# contract: lets a*b+c become one fma, which CUDA does anyway; the formulas write out every fma: no bit depends on it.
# No other flag: reassoc, nnan, ninf, arcp would change bits between CPUs or delete the checks for NaN.
FLAGS = {"error_model": "numpy", "fastmath": {"contract"}}

formula = register_jitable  # compiled once per caller with the caller's flags, and still callable Python

# --------------------------------------------------------------------------------------------------------------- cache


def _source_stamp() -> bytes | None:
    """Return the sha256 of all that machine code is made from; None where the sources cannot be read."""
    digest = hashlib.sha256()
    files = dict(_sources(sys.modules[__package__].__path__, f"{__package__}."))
    if __name__ not in files or None in files.values():
        return None
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    # The compiler, and switches that change the machine code but are missing in Numba's own cache key.
    switches = config.BOUNDSCHECK, str(config.OPT), config.CPU_NAME, config.CPU_FEATURES
    digest.update(repr((numba.__version__, *switches)).encode())
    return digest.digest()


def _sources(path: Iterable[str], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the name of every module below a package and its file as its loader reads it, or None; import nothing."""
    for finder, name, is_package in pkgutil.iter_modules(path, prefix):
        spec = finder.find_spec(name, None)
        read = getattr(spec and spec.loader, "get_data", None)
        yield name, read(spec.origin) if spec and spec.origin and read else None
        if spec and is_package:
            yield from _sources(spec.submodule_search_locations or (), f"{name}.")


_STAMP = _source_stamp()


class _CacheFiles(IndexDataCacheFile):
    """The files of a cached function, one for each key. Each begins with the stamp of the sources and a checksum.

    The key names the file, so no index is needed. Numba's index numbers the files: two processes that compile two
    signatures at once can both take number 1, and the index then gives one of them the machine code of the other.

    A damaged file is as good as none: Numba compiles again and replaces it. A file with another stamp is out of date.
    """

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._data_name(key), data)

    def load(self, key: Any) -> Any:
        try:
            return self._load_data(self._data_name(key))
        except FileNotFoundError:
            return None

    def _data_name(self, key: Any) -> str:
        base = self._index_name.removesuffix(".nbi")
        return f"{base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        content = pathlib.Path(path).read_bytes()
        size = len(self._source_stamp)
        stamp, checksum, data = content[:size], content[size : size + 32], content[size + 32 :]
        if stamp == self._source_stamp and checksum == hashlib.sha256(data).digest():
            return pickle.loads(data)
        if stamp == self._source_stamp or len(content) < size:
            _problems.append(f"{path} is damaged and was compiled again: nothing needs to be done")
        return None

    def _dump(self, content: Any) -> bytes:
        data = super()._dump(content)
        return self._source_stamp + hashlib.sha256(data).digest() + data


class _CacheImpl(CompileResultCacheImpl):
    """Names the cached functions and their folder."""

    def __init__(self, function: Callable) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _locator(function)
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class _Cache(FunctionCache):
    """The machine code of one function on the disk. No failure of the disk is one of the function.

    Raises
    ------
    OSError
        If no folder is writable.
    """

    _impl_class = _CacheImpl

    def __init__(self, function: Callable) -> None:
        self._name, self._py_func, self._impl = repr(function), function, _CacheImpl(function)
        self._cache_path = self._impl.locator.get_cache_path()
        self._cache_file = _CacheFiles(self._cache_path, self._impl.filename_base, _STAMP)
        self.enable()

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return sig, codegen.magic_tuple(), repr(_identity(self._py_func))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a file that cannot be read, or that another build of LLVM wrote
            _problems.append(f"the cache {self.cache_path} cannot be read ({error}): {_ADVICE}")
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            reason = error.strerror or str(error)
            _problems.append(f"the cache {self.cache_path} cannot be written ({reason}): {_ADVICE}")


_ADVICE = "every process compiles for many seconds; free space there, or set NUMBA_CACHE_DIR to a writable folder"

_problems: list[str] = []  # of the cache, until the first one is reported


def _locator(function: Callable) -> Any:
    """Return Numba's locator of the first folder that is writable.

    These are NUMBA_CACHE_DIR, if it is set, the folder of the source, the user's cache folder, and one of the user
    below the temporary folder.
    """
    file = inspect.getfile(function)
    places = [InTreeCacheLocator, UserWideCacheLocator, _InTemporaryFolder]
    for place in [UserProvidedCacheLocator, *places] if config.CACHE_DIR else places:
        try:
            locator = place(function, file)
            locator.ensure_cache_path()
        except OSError as error:
            problem = error
        else:
            if config.CACHE_DIR and place is not UserProvidedCacheLocator:
                fault = f"NUMBA_CACHE_DIR, {config.CACHE_DIR}, cannot be written ({problem.strerror or problem})"
                _problems.append(
                    f"{fault}: compiled code goes to {locator.get_cache_path()}; set it to a writable folder"
                )
            return locator
    raise problem


class _InTemporaryFolder(UserWideCacheLocator):
    """A folder that only its owner can enter, since whoever writes there chooses the machine code that runs."""

    def __init__(self, function: Callable, file: str) -> None:
        super().__init__(function, file)
        user = getpass.getuser() if not hasattr(os, "getuid") else os.getuid()
        self._root = pathlib.Path(tempfile.gettempdir(), f"lookahead_nb-{user}")
        self._cache_path = str(self._root / self.get_suitable_cache_subpath(file))

    def ensure_cache_path(self) -> None:
        with suppress(FileExistsError):
            self._root.mkdir(0o700)
        status = self._root.lstat()
        ours = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
        if not (stat.S_ISDIR(status.st_mode) and ours):
            raise PermissionError(errno.EPERM, "only its owner may be able to enter it", str(self._root))
        super().ensure_cache_path()


def _identity(value: Any) -> Any:
    """Return what tells a function, or what it encloses, from others of the same sources.

    Numba pickles what is enclosed. The bytes differ between a module that was compiled and one that a .pyc gave, so a
    second process would compile again.
    """
    function = getattr(value, "py_func", value)
    if not isinstance(function, FunctionType):
        return repr(value)
    enclosed = [_identity(cell.cell_contents) for cell in function.__closure__ or ()]
    return function.__module__, function.__qualname__, function.__code__.co_firstlineno, enclosed


def _is_cacheable(function: Callable) -> bool:
    """Return whether all sources of a loop are in the stamp: its own, and those of the formulas that it encloses."""
    enclosed = (cell.cell_contents for cell in function.__closure__ or ())
    functions = (getattr(part, "py_func", part) for part in (function, *enclosed))
    modules = [part.__module__ for part in functions if isinstance(part, FunctionType)]
    return _STAMP is not None and all(f"{module}.".startswith(f"{__package__}.") for module in modules)


# ------------------------------------------------------------------------------------------------------------- compiler


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

    The machine code comes from the disk cache if one can be written. The first problem of the cache in a process is a
    warning, after the loop is compiled.

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
    """

    def decorate(function: Callable) -> Any:
        loop = njit(**FLAGS, **options)(function)
        if config.DISABLE_JIT:
            return loop
        if _is_cacheable(function):
            try:
                loop._cache = _Cache(function)
            except OSError as error:
                _problems.append(f"no folder for compiled code can be written ({error}): {_ADVICE}")
        with _announced(function), _formulas_as_bitcode(), _without_garbage_collection():
            loop.compile(signature)
        loop.disable_compile()
        _report_problem()
        return loop

    return decorate


_reported = threading.Event()


def _report_problem() -> None:
    """Warn of the first problem of the cache in this process."""
    if _problems and not _reported.is_set():
        _reported.set()
        warnings.warn(_problems[0], RuntimeWarning, stacklevel=2)
    _problems.clear()


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


def memory_at(address: int, size: int, like: Any) -> Any:
    """Return the memory at an address as an array, without a copy; nothing keeps the memory alive.

    Parameters
    ----------
    address : int
        That of the first element.
    size : int
        The number of elements.
    like : array
        Of the dtype of the elements; not read.

    Returns
    -------
    (size,) array
    """
    if size == 0:
        return np.empty(0, like.dtype)
    bytes_there: Any = (ctypes.c_char * int(size * like.itemsize)).from_address(int(address))
    return np.frombuffer(bytes_there, like.dtype)


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> tuple[Any, Callable]:
    pointer = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, like), generate


@overload(memory_at, strict=False)
def _memory_at_typed(address: Any, size: Any, like: Any) -> Callable:
    return lambda address, size, like: numba.carray(_pointer(address, like), (size,))


def claimed(clock: Any, t: int) -> Any:
    """Return whether the caller may take step t: t - 1 steps are taken, and no other thread is taking this one.

    In compiled code the clock becomes -t, the step under way, until :func:`finished`. Plain Python only compares: an
    interrupt in the middle would leave the mark behind.

    Parameters
    ----------
    clock : (1,) int64 array
        Steps taken.
    t : int
        The number of the step, from 1.

    Returns
    -------
    bool
    """
    return clock[0] == t - 1


def finished(clock: Any, t: int) -> None:
    """Count step t, which was :func:`claimed`, after all that the step has written.

    Parameters
    ----------
    clock : (1,) int64 array
        Becomes t.
    t : int
        The number of the step.
    """
    clock[0] = t


@intrinsic
def _exchanged(typing_context: Any, clock: Any, before: Any, after: Any) -> tuple[Any, Callable]:
    """Replace the first element in one indivisible instruction if it is ``before``; return whether it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        swapped = builder.cmpxchg(array.data, arguments[1], arguments[2], "acquire", "monotonic")
        return builder.extract_value(swapped, 1)

    return types.boolean(clock, types.int64, types.int64), generate


@intrinsic
def _released(typing_context: Any, clock: Any, value: Any) -> tuple[Any, Callable]:
    """Write the first element after everything that was written before, as other threads see it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.store_atomic(arguments[1], array.data, "release", 8)
        return context.get_dummy_value()

    return types.void(clock, types.int64), generate


@overload(claimed, strict=False)
def _claimed_typed(clock: Any, t: Any) -> Callable:
    return lambda clock, t: _exchanged(clock, t - 1, -t)


@overload(finished, strict=False)
def _finished_typed(clock: Any, t: Any) -> Callable:
    return lambda clock, t: _released(clock, t)
