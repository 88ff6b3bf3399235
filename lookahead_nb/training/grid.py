"""Grids of optimizers, every combination of settings along named axes, and samples of them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from lookahead_nb.checks import meant, shown
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.settings_file import inside
from lookahead_nb.training.ranges import Choice, Interval, axis_range, number_of, points
from lookahead_nb.training.setup import check_optimizer

_SAME = {"retention": "slow_step_size", "window": "decay"}  # two names of one setting


def grid(base: Optimizer, **axes: Iterable) -> list[Optimizer]:
    """Return the list of optimizers that differ from base along the given axes, the last one varying fastest.

    Lists of grids can be added.

    Parameters
    ----------
    base : Optimizer
        An inner optimizer, Lookahead or EMA.
    **axes : iterable, or dict with low, high and number
        Values for a setting of base or of its inner optimizer (``lr``, ``weight_decay``, ``sync_period``, ...);
        ``retention`` replaces slow_step_size, and ``window`` the decay of EMA. Where base has a schedule, of ``lr`` or
        ``weight_decay``, a number is the peak of that schedule. ``{"low": 1e-4, "high": 0.1, "number": 13}`` are 13
        evenly spaced values, see Notes.

    Returns
    -------
    list of Optimizer

    Raises
    ------
    TypeError, ValueError
        If an axis is no setting of base, holds no values, or a value is refused by the optimizer.

    Notes
    -----
    Ranges of lr, weight_decay, eps, sync_period and window are logarithmic, all others linear; ``"scale": "linear"`` or
    ``"log"`` in the dict chooses. Values of sync_period are rounded to whole numbers, each of which is taken once: a
    range may then have fewer values than its number.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> [opt.lr for opt in lnb.grid(lnb.AdamW(), lr=[1e-3, 1e-2])]
    [0.001, 0.01]
    >>> [opt.lr for opt in lnb.grid(lnb.AdamW(), lr={"low": 1e-4, "high": 0.1, "number": 4})]
    [0.0001, 0.001, 0.01, 0.1]
    """
    values, outer = values_of(base, axes), _settings(base)[1]
    settings = itertools.product(*values.values())
    return [_changed(base, dict(zip(values, point, strict=True)), outer) for point in settings]


def sample(base: Optimizer, number: int, *, method: str = "halton", seed: int = 0, **axes: Iterable) -> list[Optimizer]:
    """Return a list of optimizers with settings drawn from ranges, for a random or quasi-random search.

    Parameters
    ----------
    base : Optimizer
        An inner optimizer, Lookahead or EMA.
    number : int
        The number of points, from 1 to 100,000; for method "sobol" a power of 2. Fewer points are the first of more.
    method : str
        "halton" or "sobol" for quasi-random points, which cover the ranges more evenly than "random" ones.
    seed : int
        In [0, 2**63). Equal seeds give equal points on every CPU.
    **axes : dict with low and high, or iterable
        Settings as in :func:`grid`. A dict is a range on the scale that grid describes; a list of values is a choice
        among them, each equally likely.

    Returns
    -------
    list of Optimizer
        Each optimizer once. Values of sync_period are rounded to whole numbers, so that there may be fewer than number.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or a setting is refused as in :func:`grid`.

    Notes
    -----
    The order of the settings matters: each has a dimension of its own. Source: Bergstra & Bengio 2012 for random
    search; :func:`lookahead_nb.training.ranges.points` for the sequences.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> opt = lnb.Lookahead(lnb.AdamW())
    >>> ranges = {"lr": {"low": 1e-4, "high": 0.1}, "sync_period": {"low": 1, "high": 50}}
    >>> len(lnb.sample(opt, 64, **ranges, inner_state=["keep", "reset"]))
    64
    """
    listed = _listed(base, axes)
    drawn = [name for name, axis in listed.items() if isinstance(axis, Interval) or len(axis) > 1]
    if not drawn:
        raise ValueError("settings must be ranges or several values to draw from, one at least, got none")
    shares = points(method, number, len(drawn), seed)
    values: dict[str, Any] = {name: axis * len(shares) for name, axis in listed.items() if name not in drawn}
    for name, share in zip(drawn, shares.T, strict=True):
        axis = listed[name]
        values[name] = (
            axis.at(share.tolist()) if isinstance(axis, Interval) else [*map(Choice(axis).at, share.tolist())]
        )
    settings = (dict(zip(values, point, strict=True)) for point in zip(*values.values(), strict=True))
    outer = _settings(base)[1]
    return list(dict.fromkeys(_changed(base, point, outer) for point in settings))


def values_of(base: Optimizer, axes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the values along the axes of a grid.

    Parameters
    ----------
    base, axes
        As in :func:`grid`.

    Returns
    -------
    dict of str to tuple

    Raises
    ------
    TypeError, ValueError
        If an axis is no setting of base or holds no values.
    """
    listed = _listed(base, axes, ("number",))
    numbers = {}
    for name, axis in listed.items():
        if isinstance(axis, Interval):
            with inside(name):
                numbers[name] = number_of(axes[name])
    return {
        name: tuple(axis.spaced(numbers[name])) if isinstance(axis, Interval) else axis for name, axis in listed.items()
    }


def _listed(base: Optimizer, axes: Mapping[str, Any], more: Collection[str] = ()) -> dict[str, Any]:
    """Return the axes as ranges and tuples; more : keys of a range besides its ends and scale."""
    check_optimizer("base", base)
    inner, outer = _settings(base)
    whole = {name for name, parameter in {**inner, **outer}.items() if parameter.annotation == "int"}
    listed: dict[str, Any] = {}
    for name, values in axes.items():
        if name not in inner | outer:
            names = sorted(inner | outer)
            raise TypeError(f"an axis must be one of {', '.join(names)} for {base!r}, got {name!r}{meant(name, names)}")
        if isinstance(values, Mapping):
            with inside(name):
                listed[name] = axis_range(name, values, whole=name in whole, more=more)
            continue
        if isinstance(values, str) or not np.iterable(values):
            raise TypeError(f"{name} must be a list of values, got {shown(values)}")
        listed[name] = tuple(values)  # an iterator can be read only once
        if not listed[name]:
            raise ValueError(f"{name} must hold at least one value, got none: the grid would be empty")
    if {"slow_step_size", "retention"} <= listed.keys():
        raise ValueError("slow_step_size and retention cannot both be given: one is 1 minus the other")
    if {"decay", "window"} <= listed.keys():
        raise ValueError("decay and window cannot both be given: window is 1/(1 - decay)")
    return listed


def _settings(base: Optimizer) -> tuple[dict[str, inspect.Parameter], dict[str, inspect.Parameter]]:
    """Return the settings of the inner optimizer and those of the one around it."""
    inner = dict(inspect.signature(type(base.inner)).parameters)
    outer = {**inspect.signature(type(base)).parameters} if base.sync else {}
    outer.pop("inner", None)
    return inner, outer


def _changed(base: Optimizer, changes: dict[str, Any], outer: Collection[str]) -> Optimizer:
    outer_changes = {name: value for name, value in changes.items() if name in outer}
    inner_changes = {name: value for name, value in changes.items() if name not in outer}
    inner: Optimizer = base.inner.with_settings(**inner_changes)
    if not base.sync:
        return inner
    changed = {_SAME.get(name, name) for name in outer_changes}
    unchanged = {name: getattr(base, name) for name in {*outer} - _SAME.keys() - changed}
    wrapper: Any = type(base)
    return wrapper(inner, **unchanged, **outer_changes)
