"""Checks of arguments: each refuses a bad one in one sentence that names it, its value and what is allowed."""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import numbers
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

__all__ = ["DeviceError", "NoDeviceError"]  # for users to catch; the checks serve the other modules


# What other libraries and papers call an argument: the alternatives, each of one name or more.
OTHER_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "k": (("sync_period",),),
    "la_steps": (("sync_period",),),
    "alpha": (("slow_step_size",), ("retention",), ("rho",)),
    "la_alpha": (("slow_step_size",),),
    "betas": (("beta1", "beta2"),),
    "b1": (("beta1",),),
    "b2": (("beta2",),),
    "learning_rate": (("lr",),),
    "epsilon": (("eps",),),
    "decay": (("weight_decay",), ("rho",)),
    "wd": (("weight_decay",),),
    "optimizer": (("opt",), ("configs",), ("base",)),
    "solver": (("optimizer",),),
    "optimizers": (("configs",), ("opts",)),
    "opt": (("configs",), ("optimizer",)),
    "n_steps": (("steps",),),
    "epochs": (("steps",), ("max_iter",)),
    "iterations": (("steps",),),
    "random_state": (("seed",), ("split_seed",), ("seeds",)),
    "seed": (("random_state",),),
    "hidden": (("widths",), ("hidden_layer_sizes",)),
    "layers": (("widths",), ("hidden_layer_sizes",)),
    "widths": (("hidden_layer_sizes",),),
    "hidden_layer_sizes": (("widths",),),
    "target": (("y",), ("label",)),
    "labels": (("y",), ("label",)),
}
OF_OPTIMIZERS = {"lr", "sync_period", "slow_step_size", "retention", "inner_state", "pull_back", "beta1", "beta2"}
OF_OPTIMIZERS |= {"eps", "weight_decay", "momentum", "nesterov", "decay", "window", "outer_momentum", "outer_nesterov"}

# The error state of NumPy unless a program changes it.
DEFAULT_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}

Function = TypeVar("Function", bound=Callable[..., Any])  # or a class


MOST = 2**63 - 1  # of whole numbers without another limit: an int64
FROM_0 = "(counted from 0)"  # after a row in a message


class NoDeviceError(RuntimeError):
    """A GPU is requested, and none can be used."""


class DeviceError(RuntimeError):
    """A GPU failed during a computation."""


def shown(value: Any) -> str:
    """Return a value for a message: its repr, in one line and not too long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of more digits than Python writes
        text = f"a {type(value).__name__}"
    return text if len(text) <= 300 else f"{text[:297]}..."


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return the value as int, or refuse anything but a whole number in [low, high]; bool and 2.0 are refused."""
    allowed = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    number = int(value)
    if number < low or number > (MOST if high is None else high):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def real_number(
    name: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> float:
    """Return the value as float, or refuse anything but a finite number in the range; bool is refused."""
    allowed = f"a finite number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    if math.isinf(high):
        limit = f" {'above' if open_low else 'of at least'} {low:g}" if math.isfinite(low) else ""
        allowed = f"a finite number{limit}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    real: Any = value  # compared as it is: float(value) may round onto a limit
    inside = (low < real if open_low else low <= real) and (real < high if open_high else real <= high)
    try:
        number = float(value) + 0.0  # -0.0 becomes 0.0, so that equal settings are stored alike
    except OverflowError:
        number = math.inf
    if not (inside and math.isfinite(number)):  # this form refuses NaN too
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def real_numbers(
    name: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> np.ndarray:
    """Return a number, or an array of any shape, as read-only float64, or refuse the first number out of range."""
    array = plain_array(name, value)
    suspects: Iterable[tuple[int, ...]] = np.ndindex(array.shape)
    if array.dtype.kind != "b" and np.can_cast(array.dtype, np.float64):  # a check of one number in Python takes 1 us
        wide = array.astype(np.float64, copy=False)
        inside = (low < wide if open_low else low <= wide) & (wide < high if open_high else wide <= high)
        suspects = map(tuple, np.argwhere(~(inside & np.isfinite(wide))).tolist())
    for i in suspects:
        at = f"{name}[{', '.join(map(str, i))}]" if i else name
        real_number(at, array.item(*i), low, high, open_low=open_low, open_high=open_high)
    checked = np.array(array, np.float64)
    checked += 0.0  # -0.0 becomes 0.0
    checked.flags.writeable = False
    return checked


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return the value, or refuse one that is not allowed."""
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}")
    return value


def of_type(name: str, value: Any, kind: type, words: str) -> Any:
    """Return the value, or refuse one of another type; words : what it must be."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {words}, got {shown(value)}")
    return value


def user_path(name: str, value: Any) -> Path:
    """Return the value as a path, with ~ as the home folder, or refuse anything else."""
    try:
        return Path(value).expanduser()
    except TypeError:
        raise TypeError(f"{name} must be a path, got {shown(value)}") from None
    except RuntimeError:
        raise ValueError(f"{name} must begin with a known home folder, got {str(value)!r}") from None


def new_page(name: str, value: Any) -> Path:
    """Return the path of a .html file that can be written, or refuse one that exists or has no folder."""
    path = user_path(name, value)
    if path.suffix != ".html":
        raise ValueError(f"{name} must be the path of a file that ends in .html, got {path.name!r}")
    if path.exists():
        raise FileExistsError(f"{name} must be the path of a new file, but {path} exists: remove it or choose another")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{name} must be in a folder that exists, which {path.parent} does not")
    return path


def meant(name: str, allowed: Collection[str]) -> str:
    """Return " (did you mean X?)" for a name that is not allowed, or "" if nothing is like it."""
    others = OTHER_NAMES.get(name, ((name,),))
    if near := [" and ".join(names) for names in others if {*names} <= {*allowed}]:
        return f" (did you mean {' or '.join(near)}?)"
    if not OF_OPTIMIZERS & {*allowed} and (of_optimizers := [n for n in others if {*n} <= OF_OPTIMIZERS]):
        known = " or ".join(" and ".join(names) for names in of_optimizers)
        return f" (the optimizer has {'it' if known == name else known}: Lookahead(AdamW(lr=0.001), sync_period=5))"
    near = get_close_matches(name, allowed, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def default_errors(function: Function) -> Function:
    """Make a function compute with NumPy's default error state, except for what the user's program ignores.

    So ``np.seterr(all="raise")`` of a program stops no computation.
    """

    @functools.wraps(function)
    def computed(*values: Any, **named: Any) -> Any:
        ignored = [kind for kind, now in np.geterr().items() if now == "ignore"]
        state: dict[str, Any] = DEFAULT_ERRORS | dict.fromkeys(ignored, "ignore")
        with np.errstate(**state):
            return function(*values, **named)

    return computed  # type: ignore[return-value] # of the same signature


def _surplus(title: str, positional: list[inspect.Parameter], values: tuple[Any, ...]) -> str:
    """Return the sentence about more positional arguments than there are."""
    if len(positional) == 1 and str(positional[0].annotation).startswith("Iterable") and not np.iterable(values[0]):
        return f"{title} accepts {positional[0].name} as one tuple: {title}({values!r}), got {len(values)} arguments"
    only = f"only {', '.join(parameter.name for parameter in positional)} as positional argument"
    only = only if positional else "no positional argument"
    return f"{title} accepts {only}, got {len(values)} arguments: write the others by name"


def named_arguments(function: Function) -> Function:
    """Make a function or a class refuse arguments that it does not have in one sentence that names the right ones.

    Its signature, its docstring and its type stay what they are.
    """
    called: Any = function.__init__ if isinstance(function, type) else function  # type: ignore[misc] # replaced below
    parameters = [*inspect.signature(called).parameters.values()][isinstance(function, type) :]
    names = [parameter.name for parameter in parameters]
    positional = [parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    title = function.__name__

    @functools.wraps(called)
    def checked(*values: Any, **named: Any) -> Any:
        for name in named:
            if name not in names:
                listed = f"{meant(name, names)}; its arguments are {', '.join(names)}"
                raise TypeError(f"{title} has no argument {name}{listed}")
        given = len(values) - (called is not function)  # without self
        if given > len(positional):
            raise TypeError(_surplus(title, positional, values[len(values) - given :]))
        return called(*values, **named)

    if called is function:
        return checked  # type: ignore[return-value] # of the same signature
    function.__init__ = checked  # type: ignore[method-assign]
    return function


def flag(name: str, value: Any) -> bool:
    """Return the value as bool, or refuse anything but True and False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def float_dtype(name: str, value: Any) -> np.dtype:
    """Return the value as np.dtype, or refuse anything but float32 and float64."""
    allowed = ("float32", "float64")
    try:
        dtype = None if value is None else np.dtype(value).name  # np.dtype(None) would be float64
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}") from None
    return np.dtype(one_of(name, dtype, allowed))


def within_width(name: str, value: Any, dtype: Any) -> None:
    """Refuse a number, or an array of numbers, that overflows the dtype: above 3.4e38 in magnitude for float32."""
    largest = float(np.finfo(dtype).max)
    large = np.abs(np.ravel(value)) > largest
    if large.any():
        culprit = np.ravel(value)[large][0].item()
        raise ValueError(f"{name} must be at most {largest} in size for {np.dtype(dtype)}, got {culprit!r}")


def plain_array(name: str, value: Any) -> np.ndarray:
    """Return the value as an array, or refuse a masked array and rows of different lengths."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, not a masked one, whose mask would be lost")
    if not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__"):
        raise TypeError(f"{name} must be an array on the host, got a {type(value).__name__} on a GPU: copy it first")
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array of numbers, got {type(value).__name__}") from None


def whole(module: str) -> ModuleType:
    """Import a module; Ctrl-C waits until it is whole, since half a module stays broken as long as the process."""
    in_main = threading.current_thread() is threading.main_thread()
    before, lost = signal.getsignal(signal.SIGINT), list[Any]()
    if module in sys.modules or not in_main or not callable(before):
        return importlib.import_module(module)
    try:
        signal.signal(signal.SIGINT, lambda *interrupt: lost.append(interrupt))
        return importlib.import_module(module)
    finally:
        signal.signal(signal.SIGINT, before)
        if lost:
            before(*lost[0])


def extra(module: str, package: str, name: str, group: str = "reproduce") -> ModuleType:
    """Return a module, or raise ModuleNotFoundError that says which package and which extra, group, ``name`` needs."""
    try:
        return whole(module)
    except ModuleNotFoundError as error:
        advice = f'install the extra {group}, as in: pip install ".[{group}]" in a checkout'
        raise ModuleNotFoundError(f"{name} needs {package}: {advice}", name=error.name) from error
