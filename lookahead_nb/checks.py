"""The checks at the door: each refuses a bad argument in one sentence that names it, its value and what is allowed."""

from __future__ import annotations

import importlib
import math
import numbers
import tomllib
from collections.abc import Iterable
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import numpy as np

__all__ = ["DeviceError", "NoDeviceError"]  # what a user may catch; the checks are for the other modules


class NoDeviceError(RuntimeError):
    """A GPU is asked for, and there is none that can be used."""


class DeviceError(RuntimeError):
    """A GPU failed while it was at work."""


def whole_number(name, value, low, high=None):
    """Return the value as int, or refuse what is not a whole number in [low, high] (bool and 2.0 included)."""
    allowed = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {allowed}, not {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    return int(value)


def real_number(name, value, low, high=math.inf, *, open_low=False, open_high=False):
    """Return the value as float, or refuse what is not a finite number in the range (NaN, inf and bool included)."""
    allowed = f"a finite number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    if math.isinf(high):
        allowed = f"a finite number {'above' if open_low else 'of at least'} {low:g}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, not {value!r}")
    inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
    try:
        number = float(value) + 0.0  # -0.0 becomes 0.0, so that equal settings are stored alike
    except OverflowError:
        number = math.inf
    if not (inside and math.isfinite(number)):  # this form refuses NaN too
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    return number


def real_numbers(name, value, low, high=math.inf, *, open_low=False, open_high=False):
    """Return a number, or an array of any shape, as read-only float64, or refuse the first that is not in the range."""
    given = plain_array(name, value)
    suspects: Iterable[tuple[int, ...]] = np.ndindex(given.shape)
    if given.dtype.kind != "b" and np.can_cast(given.dtype, np.float64):  # one check of each in Python takes 1 us
        wide = given.astype(np.float64, copy=False)
        inside = (low < wide if open_low else low <= wide) & (wide < high if open_high else wide <= high)
        suspects = map(tuple, np.argwhere(~(inside & np.isfinite(wide))).tolist())
    for i in suspects:
        at = f"{name}[{', '.join(map(str, i))}]" if i else name
        real_number(at, given.item(*i), low, high, open_low=open_low, open_high=open_high)
    numbers = np.array(given, np.float64)
    numbers += 0.0  # -0.0 becomes 0.0
    numbers.flags.writeable = False
    return numbers


def one_of(name, value, allowed):
    """Return the value, or refuse what is not among the allowed ones."""
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def flag(name, value):
    """Return the value as bool, or refuse what is not True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def float_dtype(name, value):
    """Return the value as np.dtype, or refuse what is not float32 or float64."""
    allowed = ("float32", "float64")
    try:
        given = None if value is None else np.dtype(value).name  # np.dtype(None) would be float64
    except TypeError:
        raise TypeError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}") from None
    return np.dtype(one_of(name, given, allowed))


def within_width(name, value, dtype):
    """Refuse a number, or an array of them, that overflows the dtype, as one above 3.4e38 in size does float32."""
    largest = float(np.finfo(dtype).max)
    large = np.abs(np.ravel(value)) > largest
    if large.any():
        culprit = np.ravel(value)[large][0].item()
        raise ValueError(f"{name} must be at most {largest} in size for {np.dtype(dtype)}, not {culprit!r}")


def plain_array(name, value):
    """Return the value as an array, or refuse what is masked or has rows of different lengths."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, not a masked one, whose mask would be lost")
    if not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__"):
        raise TypeError(f"{name} must be an array on the host, not a {type(value).__name__} on a GPU: copy it first")
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array of numbers, not {type(value).__name__}") from None


def extra(module: str, package: str, name: str) -> ModuleType:
    """Return the module, or name the package and the extra that bring it to what needs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        advice = 'install the extra reproduce, as in: pip install "lookahead-nb[reproduce]"'
        raise ModuleNotFoundError(f"{name} needs {package}: {advice}", name=error.name) from error


# --------------------------------------------------------------------------------------------------- files of settings


def toml_file(path):
    """Return what a TOML file holds as a nested dict, or say why it cannot be read. errors : OSError, ValueError."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} must be a TOML file: {error}") from error


def table_of_keys(where, value):
    """Return the value, or refuse what is no table of a TOML file."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a table, not {'missing' if value is None else repr(value)}")
    return value


def text(where, value):
    """Return the value, or refuse what is no text of at least one letter."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} must be text, not {'missing' if value is None else repr(value)}")
    return value


def names(where, value):
    """Return a list of one or more different texts as a tuple, or refuse what is none."""
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"{where} must be a list of one name or more, not {'missing' if value is None else repr(value)}"
        )
    checked = tuple(text(f"{where}[{i}]", each) for i, each in enumerate(value))
    if again := [each for each in checked if checked.count(each) > 1]:
        raise ValueError(f"{where} must hold each name once, not {again[0]!r} twice")
    return checked


def known_keys(where, table, allowed):
    """Refuse a table with a key that is not allowed; where : its name with a dot, or nothing for the whole file."""
    for key in table:
        if key not in allowed:
            near = get_close_matches(key, allowed, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            shown = key if key.isidentifier() else repr(key)
            raise ValueError(f"{where}{shown} is not known{meant}; allowed: {', '.join(allowed)}")


def choice(where, value, allowed):
    """Return the value, or refuse what is missing or not among the allowed ones."""
    if value is None:
        raise ValueError(f"{where} must be one of {', '.join(map(repr, allowed))}, not missing")
    return one_of(where, value, tuple(allowed))


@contextmanager
def inside(where):
    """Put the table in front of a complaint about an argument, which makes it the dotted key."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.{error}") from error
