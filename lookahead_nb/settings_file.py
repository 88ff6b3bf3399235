"""Read a TOML file and check its tables: each error names the dotted key."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lookahead_nb.checks import meant, one_of, shown

__all__: list[str] = []  # these checks are for the other modules


def toml_file(path: str | Path) -> dict[str, Any]:
    """Return the contents of a TOML file as a nested dict; raise OSError or ValueError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} must be a TOML file: {error}") from error


def table_of_keys(key: str, value: Any) -> dict[str, Any]:
    """Return the value, or refuse anything but a table of a TOML file."""
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a table, got {'nothing' if value is None else shown(value)}")
    return value


def text(key: str, value: Any) -> str:
    """Return the value, or refuse anything but a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} must be text, got {'nothing' if value is None else shown(value)}")
    return value


def names(key: str, value: Any) -> tuple[str, ...]:
    """Return a list of one or more different texts as a tuple, or refuse anything else."""
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"{key} must be a list of one name or more, got {'nothing' if value is None else shown(value)}"
        )
    checked = tuple(text(f"{key}[{i}]", name) for i, name in enumerate(value))
    if repeated := [name for name in checked if checked.count(name) > 1]:
        raise ValueError(f"{key} must hold each name once, got {repeated[0]!r} twice")
    return checked


def known_keys(prefix: str, table: Iterable[str], allowed: Collection[str]) -> None:
    """Refuse a table with an unknown key; prefix : its dotted name with a final dot, or "" for the whole file."""
    for key in table:
        if key not in allowed:
            shown = key if key.isidentifier() else repr(key)
            raise ValueError(f"{prefix}{shown} is not known{meant(key, allowed)}; allowed: {', '.join(allowed)}")


def choice(key: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return the value, or refuse a missing one and one that is not allowed."""
    if value is None:
        raise ValueError(f"{key} must be one of {', '.join(map(repr, allowed))}, got nothing")
    return one_of(key, value, tuple(allowed))


@contextmanager
def inside(table: str) -> Iterator[None]:
    """Put the name of a table in front of an error about an argument, so that it names the dotted key."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{table}.{error}") from error
