"""Grids of optimizers: every combination of settings along named axes."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from lookahead_nb.checks import meant, shown
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.training.setup import check_optimizer

_SAME = {"retention": "slow_step_size", "window": "decay"}  # two names of one setting


def grid(base: Optimizer, **axes: Iterable) -> list[Optimizer]:
    """Return the list of optimizers that differ from base along the given axes, the last one varying fastest.

    Lists of grids can be added.

    Parameters
    ----------
    base : Optimizer
        An inner optimizer, Lookahead or EMA.
    **axes : iterable
        Values for a setting of base or of its inner optimizer (``lr``, ``weight_decay``, ``sync_period``, ...);
        ``retention`` replaces slow_step_size, and ``window`` the decay of EMA. A number for ``lr`` is the peak of the
        schedule that base has.

    Returns
    -------
    list of Optimizer

    Raises
    ------
    TypeError, ValueError
        If an axis is no setting of base, holds no values, or a value is refused by the optimizer.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> [opt.lr for opt in lnb.grid(lnb.AdamW(), lr=[1e-3, 1e-2])]
    [0.001, 0.01]
    """
    check_optimizer("base", base)
    inner = {field.name for field in fields(base.inner) if field.init}
    outer = {*inspect.signature(type(base)).parameters} - {"inner"} if base.sync else set()
    for name, values in axes.items():
        if name not in inner | outer:
            names = sorted(inner | outer)
            raise TypeError(f"an axis must be one of {', '.join(names)} for {base!r}, got {name!r}{meant(name, names)}")
        if isinstance(values, str) or not np.iterable(values):
            raise TypeError(f"{name} must be a list of values, got {shown(values)}")
        axes[name] = tuple(values)  # an iterator can be read only once
        if not axes[name]:
            raise ValueError(f"{name} must hold at least one value, got none: the grid would be empty")
    if {"slow_step_size", "retention"} <= axes.keys():
        raise ValueError("slow_step_size and retention cannot both be given: one is 1 minus the other")
    if {"decay", "window"} <= axes.keys():
        raise ValueError("decay and window cannot both be given: window is 1/(1 - decay)")
    points = itertools.product(*axes.values())
    return [_changed(base, dict(zip(axes, point, strict=True)), outer) for point in points]


def _changed(base: Optimizer, changes: dict[str, Any], outer: set[str]) -> Optimizer:
    outer_changes = {name: value for name, value in changes.items() if name in outer}
    inner_changes = {name: value for name, value in changes.items() if name not in outer}
    inner: Any = base.inner
    if isinstance(inner.lr, Schedule) and "lr" in inner_changes and not isinstance(inner_changes["lr"], Schedule):
        inner_changes["lr"] = replace(inner.lr, peak=inner_changes["lr"])
    inner = replace(inner, **inner_changes)
    if not base.sync:
        return inner
    changed = {_SAME.get(name, name) for name in outer_changes}
    unchanged = {name: getattr(base, name) for name in outer - _SAME.keys() - changed}
    wrapper: Any = type(base)
    return wrapper(inner, **unchanged, **outer_changes)
