"""Schedules of learning rate and weight decay: constant, linear, cosine, restarts, one after another, any function."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, real_number, real_numbers, shown, whole_number

KINDS = ("constant", "linear", "cosine", "cosine_restarts", "table", "piecewise")
MOST_KEPT = 4096  # steps of which rates and powers stay in a cache: 64 entries of at most 128 KiB


@named_arguments
@dataclass(frozen=True, repr=False)
class Schedule:
    """A learning rate, or a weight decay, as a function of the step.

    What is said of the rate here and in the functions below holds for a weight decay too.

    The rate rises as ``peak*t/warmup`` up to t = warmup. After that it is peak (constant), ``peak*(1 - done)``
    (linear) or ``peak*(1 + cos(pi*done))/2`` (cosine) with ``done = (t-warmup)/(steps-warmup)``. The last two are 0
    from t = steps on. With decay_steps the rate stays at the peak up to t = steps - decay_steps and falls only then:
    ``done = (t-steps+decay_steps)/decay_steps``. With cosine_restarts, done is the completed part of a cycle: 0 at the
    first step of each, ahead of which the rate jumps back to the peak. A table lists the rate of every step. A
    piecewise schedule consists of other ones, each for a range of steps.

    Use :func:`constant`, :func:`linear`, :func:`cosine`, :func:`cosine_restarts`, :func:`from_function` and
    :func:`piecewise` to make one.

    Parameters
    ----------
    kind : str
        "constant", "linear", "cosine", "cosine_restarts", "table" or "piecewise".
    peak : float
        Finite, at least 0. For a table, whose largest rate it is, another peak scales all rates; so it does for a
        piecewise schedule, whose highest peak it is.
    steps : int, optional
        Above warmup, for a linear or cosine schedule. Default: those of the table, or of the last part; None for the
        other kinds.
    warmup : int
        At least 0; 0 for a table and a piecewise schedule.
    decay_steps : int, optional
        From 1 to steps - warmup. Default: steps - warmup; None for other kinds than linear and cosine.
    period, factor : int, optional
        At least 1, of a schedule with restarts: the steps of the first cycle, and by how much each is longer than the
        one before. Default of factor: 1; both None for other kinds.
    table : sequence of float, optional
        The rates of steps 1, 2, ..., at least one, each finite and at least 0.
    parts : sequence of (int, Schedule), optional
        Of a piecewise schedule, at least two: the steps ahead of each part, 0 and rising, and what it follows.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedule = schedules.linear(0.1, steps=100, warmup=10)
    >>> [schedule(t) for t in (5, 10, 55, 100)]
    [0.05, 0.1, 0.05, 0.0]
    """

    kind: str
    peak: float
    steps: int | None = None
    warmup: int = 0
    decay_steps: int | None = None
    period: int | None = None
    factor: int | None = None
    table: tuple[float, ...] | None = None
    parts: tuple[tuple[int, Schedule], ...] | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        one_of("kind", self.kind, KINDS)
        set_(self, "peak", real_number("peak", self.peak, 0))
        set_(self, "warmup", whole_number("warmup", self.warmup, 0))
        if self.kind != "cosine_restarts":
            one_of("period", self.period, (None,))
            one_of("factor", self.factor, (None,))
        if self.kind == "table":
            self._check_table()
            return
        one_of("table", self.table, (None,))
        if self.kind == "piecewise":
            self._check_parts()
            return
        one_of("parts", self.parts, (None,))
        if self.kind in ("constant", "cosine_restarts"):
            one_of("steps", self.steps, (None,))
            one_of("decay_steps", self.decay_steps, (None,))
            if self.kind == "cosine_restarts":
                set_(self, "period", whole_number("period", self.period, 1))
                set_(self, "factor", 1 if self.factor is None else whole_number("factor", self.factor, 1))
            return
        steps = whole_number("steps", self.steps, self.warmup + 1)
        set_(self, "steps", steps)
        if self.decay_steps is not None:
            decay_steps = whole_number("decay_steps", self.decay_steps, 1, steps - self.warmup)
            one_form = None if decay_steps == steps - self.warmup else decay_steps
            set_(self, "decay_steps", one_form)

    def _check_table(self) -> None:
        """Check the rates of a table, and take its steps from it."""
        if self.table is None or isinstance(self.table, (str, bytes, dict, set)) or not np.iterable(self.table):
            raise TypeError(f"table must be a list of learning rates, got {shown(self.table)}")
        rates = real_numbers("table", [*self.table], 0)
        if rates.ndim != 1 or not rates.size:
            raise ValueError(f"table must be a list of at least one learning rate, got an array of shape {rates.shape}")
        one_of("parts", self.parts, (None,))
        one_of("steps", self.steps, (None, len(rates)))
        one_of("warmup", self.warmup, (0,))
        one_of("decay_steps", self.decay_steps, (None,))
        if self.peak and not rates.any():
            raise ValueError(f"peak must be 0 for a table of zeros, got {self.peak!r}")
        object.__setattr__(self, "steps", len(rates))
        object.__setattr__(self, "table", tuple(rates.tolist()))

    def _check_parts(self) -> None:
        """Check the parts of a piecewise schedule, scale them to the peak, and take its steps from the last one."""
        parts: Any = () if self.parts is None else self.parts
        if not isinstance(parts, (list, tuple)) or not all(isinstance(pair, (list, tuple)) for pair in parts):
            raise TypeError(f"parts must be a list of pairs (start, schedule), got {shown(parts)}")
        if any(len(pair) != 2 for pair in parts):
            raise ValueError(f"parts must be a list of pairs (start, schedule), got {shown(parts)}")
        parts = tuple(tuple(pair) for pair in parts)
        if len(parts) < 2 or not all(isinstance(part, Schedule) and part.kind != "piecewise" for _, part in parts):
            raise ValueError(f"parts must be two schedules or more, as in piecewise({{0: 0.1, 50: 0.01}}), got {parts}")
        starts = [whole_number(f"parts[{i}]", start, 0) for i, (start, _) in enumerate(parts)]
        if starts[0] or any(after <= before for before, after in pairwise(starts)):
            raise ValueError(f"parts must begin after step 0 and then after rising numbers of steps, got {starts}")
        for end, (start, part) in zip(starts[1:], parts, strict=False):
            if part.table is not None and len(part.table) < end:
                given = f"got a table of {len(part.table)}"
                raise ValueError(f"the part after step {start} must have a rate for each step up to {end}, {given}")
        one_of("steps", self.steps, (None, parts[-1][1].steps))
        one_of("warmup", self.warmup, (0,))
        one_of("decay_steps", self.decay_steps, (None,))
        highest = max(part.peak for _, part in parts)
        if self.peak != highest:
            if not highest:
                raise ValueError(f"peak must be 0 for parts that are all 0, got {self.peak!r}")
            times = self.peak / highest
            peaks = [self.peak if part.peak == highest else part.peak * times for _, part in parts]
            scaled = (replace(part, peak=peak) for (_, part), peak in zip(parts, peaks, strict=True))
            parts = tuple(zip(starts, scaled, strict=True))
        object.__setattr__(self, "steps", parts[-1][1].steps)
        object.__setattr__(self, "parts", parts)

    def after(self, t: int) -> Schedule:
        """Return a schedule with the same rates from step t + 1 on, without the parts that end ahead of it.

        Parameters
        ----------
        t : int
            Steps taken.

        Returns
        -------
        Schedule

        Examples
        --------
        >>> from lookahead_nb.optimizers import schedules
        >>> schedules.piecewise({0: 0.5, 20: 0.1, 50: schedules.cosine(0.1, 100)}).after(50)
        schedules.cosine(0.1, steps=100)
        """
        if self.parts is None:
            return self
        begun = max(start for start, _ in self.parts if start <= t)
        return piecewise({start if start > begun else 0: part for start, part in self.parts if start >= begun})

    @property
    def last(self) -> Schedule:
        """The schedule that the last steps follow: the last part, and without parts the schedule itself."""
        return self.parts[-1][1] if self.parts else self

    def __repr__(self) -> str:
        if self.parts is not None:
            listed = (
                f"{start}: {part.peak!r}" if part == constant(part.peak) else f"{start}: {part!r}"
                for start, part in self.parts
            )
            return f"schedules.piecewise({{{', '.join(listed)}}})"
        if self.table is not None:
            return f"<schedule of {self.steps} rates, at most {self.peak!r}>"
        settings = {"period": self.period, "factor": self.factor, "steps": self.steps, "warmup": self.warmup or None}
        settings["decay_steps"] = self.decay_steps
        words = [repr(self.peak), *(f"{name}={value}" for name, value in settings.items() if value is not None)]
        return f"schedules.{self.kind}({', '.join(words)})"

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict, in which a table or parts are the start of the hash of these.

        Settings that other kinds do not have are missing for them, so that runs keep their ids.

        Returns
        -------
        dict
        """
        settings: dict[str, object] = {"lr": self.peak, "schedule": self.kind, "schedule_steps": self.steps}
        settings["warmup"] = self.warmup
        if self.decay_steps is not None:
            settings["decay_steps"] = self.decay_steps
        if self.period is not None:
            settings |= {"schedule_period": self.period, "schedule_factor": self.factor}
        if self.table is not None:
            settings["schedule_table"] = hashlib.sha256(np.array(self.table).tobytes()).hexdigest()[:16]
        if self.parts is not None:
            listed = json.dumps([[start, part.settings()] for start, part in self.parts], sort_keys=True)
            settings["schedule_parts"] = hashlib.sha256(listed.encode()).hexdigest()[:16]
        return settings

    @property
    def _start(self) -> int:
        """The last step at the peak."""
        if self.steps is None or self.decay_steps is None:
            return self.warmup
        return self.steps - self.decay_steps

    def __call__(self, t: int) -> float:
        """Return the learning rate of a step.

        Parameters
        ----------
        t : int
            The number of the step, from 1.

        Returns
        -------
        float
        """
        t = whole_number("t", t, 0)
        if self.table is not None or self.parts is not None:
            return self.rates(1, t - 1).item() if t else 0.0
        if t < self.warmup:
            return self.peak * t / self.warmup
        return self.peak * _fall(self._shape, t)

    @property
    def _shape(self) -> _Shape:
        return _Shape(self.kind, self.steps, self._start, self.period or 1, self.factor or 1)

    @default_errors
    def rates(self, n: int, after: int = 0) -> np.ndarray:
        """Return the learning rates of consecutive steps, bit-for-bit identical to calling the schedule for each.

        Parameters
        ----------
        n : int
            The number of steps, at least 0.
        after : int
            The last step to leave out, at least 0: the first rate is that of step ``after + 1``.

        Returns
        -------
        (n,) float64 array

        Examples
        --------
        >>> from lookahead_nb.optimizers import schedules
        >>> schedules.constant(1.0, warmup=4).rates(6)
        array([0.25, 0.5 , 0.75, 1.  , 1.  , 1.  ])
        """
        n, after = whole_number("n", n, 0), whole_number("after", after, 0)
        if self.table is not None:
            rates = np.zeros(n)
            listed = np.array(self.table[after : after + n])
            highest = max(self.table)  # the rates themselves, where they are not scaled
            rates[: len(listed)] = listed if self.peak == highest else listed * (self.peak / highest)
            return rates
        if self.parts is not None:
            starts = [min(max(start, after), after + n) for start, _ in self.parts]
            ends = [*starts[1:], after + n]
            parts = zip(self.parts, starts, ends, strict=True)
            return np.concatenate([part.rates(end - start, start) for (_, part), start, end in parts])
        rising = self.peak * np.arange(after + 1, min(self.warmup, after + n + 1)) / max(self.warmup, 1)
        falls = _falls if n <= MOST_KEPT else _falls.__wrapped__
        return np.concatenate([rising, self.peak * falls(self._shape, self.warmup, after, n)])


class _Shape(NamedTuple):
    """How the rate falls after the step ``start``."""

    kind: str
    steps: int | None
    start: int
    period: int
    factor: int


def _fall(shape: _Shape, t: int) -> float:
    """Return the rate of step t >= warmup as a fraction of the peak."""
    kind, steps, start, period, factor = shape
    if kind == "constant" or t <= start:
        return 1.0
    if kind == "cosine_restarts":
        return _half_cosine(_cycle_done(period, factor, t - start - 1))
    if steps is None or t >= steps:
        return 0.0
    done = (t - start) / (steps - start)
    return 1 - done if kind == "linear" else _half_cosine(done)


def _half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _cycle_done(period: int, factor: int, taken: int) -> float:
    """Return the completed part of the cycle under way after ``taken`` steps of cycles of period, period*factor, ..."""
    if factor == 1:
        return taken % period / period
    while taken >= period:
        taken, period = taken - period, period * factor
    return taken / period


@lru_cache(64)
def _falls(shape: _Shape, warmup: int, after: int, n: int) -> np.ndarray:
    first, end = max(warmup, 1, after + 1), after + n + 1
    if shape.kind == "constant":
        return np.ones(max(end - first, 0))
    return np.array([_fall(shape, t) for t in range(first, end)], np.float64)


@named_arguments
def constant(peak: float, warmup: int = 0) -> Schedule:
    """Return the schedule that rises to peak within warmup steps and stays there.

    Parameters
    ----------
    peak : float
        Finite, at least 0.
    warmup : int
        At least 0.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedules.constant(0.1, warmup=10)(5)
    0.05
    """
    return Schedule("constant", peak, None, warmup)


@named_arguments
def linear(peak: float, steps: int, warmup: int = 0, decay_steps: int | None = None) -> Schedule:
    """Return the schedule that falls on a straight line from peak to 0 at t = steps.

    Parameters
    ----------
    peak : float
        Finite, at least 0.
    steps : int
        Above warmup.
    warmup : int
        At least 0.
    decay_steps : int, optional
        From 1 to steps - warmup: the rate stays at the peak up to t = steps - decay_steps. Default: it falls from
        t = warmup on.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedules.linear(1.0, steps=4).rates(4)
    array([0.75, 0.5 , 0.25, 0.  ])
    >>> schedules.linear(1.0, steps=6, decay_steps=2).rates(6)
    array([1. , 1. , 1. , 1. , 0.5, 0. ])
    """
    return Schedule("linear", peak, steps, warmup, decay_steps)


@named_arguments
def cosine(peak: float, steps: int, warmup: int = 0, decay_steps: int | None = None) -> Schedule:
    """Return the schedule that falls on half a cosine from peak to 0 at t = steps.

    Parameters
    ----------
    peak : float
        Finite, at least 0.
    steps : int
        Above warmup.
    warmup : int
        At least 0.
    decay_steps : int, optional
        From 1 to steps - warmup: the rate stays at the peak up to t = steps - decay_steps. Default: it falls from
        t = warmup on.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Loshchilov & Hutter 2017, equation 5, without restarts.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedules.cosine(1.0, steps=4)(2)
    0.5
    """
    return Schedule("cosine", peak, steps, warmup, decay_steps)


@named_arguments
def cosine_restarts(peak: float, period: int, factor: int = 1, warmup: int = 0) -> Schedule:
    """Return the schedule that falls on half a cosine in each of many cycles, and starts each again from peak.

    Parameters
    ----------
    peak : float
        Finite, at least 0.
    period : int
        The steps of the first cycle, at least 1.
    factor : int
        At least 1: each cycle is this many times as long as the one before.
    warmup : int
        At least 0: the steps ahead of the first cycle, within which the rate rises to peak.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    The first step of a cycle has the rate peak, the last one of c steps ``peak*(1 + cos(pi*(c-1)/c))/2``: done counts
    the steps since the restart, as in the source. :func:`cosine` is one step further on, and ends at 0.
    Source: Loshchilov & Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts", equation 5.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedules.cosine_restarts(1.0, period=2, factor=2).rates(7).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """
    return Schedule("cosine_restarts", peak, warmup=warmup, period=period, factor=whole_number("factor", factor, 1))


@named_arguments
def from_function(rate: Callable[[int], float], steps: int) -> Schedule:
    """Return the schedule with the rates ``rate(1), ..., rate(steps)`` of any function.

    Parameters
    ----------
    rate : function
        Of the number of a step, from 1. It is called once for each step, here. Every rate is finite and at least 0.
    steps : int
        At least 1. A training run must not be longer; in steps by hand the rate is 0 after them.

    Returns
    -------
    Schedule
        With a table of the rates. Runs of equal tables have equal ids.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or the function returns something else for a step.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedules.from_function(lambda t: 0.1 / t, steps=4).rates(4)
    array([0.1       , 0.05      , 0.03333333, 0.025     ])
    """
    if not callable(rate):
        raise TypeError(f"rate must be a function of the step, got {shown(rate)}")
    table = [real_number(f"rate({t})", rate(t), 0) for t in range(1, whole_number("steps", steps, 1) + 1)]
    return Schedule("table", max(table), table=tuple(table))


@named_arguments
def piecewise(parts: Mapping[int, float | Schedule]) -> Schedule:
    """Return the schedule that follows one number or schedule after another.

    Parameters
    ----------
    parts : mapping of int to float or Schedule
        By the number of steps taken ahead of each part, 0 among them: ``{0: 0.1, 500: 0.01}`` has the rate 0.1 in steps
        1 to 500 and 0.01 from step 501 on. A schedule in it counts all steps, not those of its part. Parts of a
        piecewise one stay where they are.

    Returns
    -------
    Schedule
        With parts; that of a single part is this part itself.

    Raises
    ------
    TypeError, ValueError
        If parts is no such mapping, or a table has no rate for a step of its part.

    Examples
    --------
    >>> from lookahead_nb.optimizers import schedules
    >>> schedules.piecewise({0: 0.5, 2: schedules.linear(1.0, steps=4)}).rates(4)
    array([0.5 , 0.5 , 0.25, 0.  ])
    """
    if not isinstance(parts, Mapping) or 0 not in parts:
        raise TypeError(
            f"parts must be a dict such as {{0: 0.1, 500: 0.01}} with a part after step 0, got {shown(parts)}"
        )
    starts = sorted(whole_number(f"parts[{start!r}]", start, 0) for start in parts)
    listed: list[tuple[int, Schedule]] = []
    for start, end in zip(starts, [*starts[1:], math.inf], strict=True):
        part = parts[start]
        part = part if isinstance(part, Schedule) else constant(real_number(f"parts[{start}]", part, 0))
        inside = part.after(start)
        listed += [(max(at, start), own) for at, own in inside.parts or ((0, inside),) if at < end]
    different = [listed[0], *(after for before, after in pairwise(listed) if after[1] != before[1])]
    if len(different) == 1:
        return different[0][1]
    return Schedule("piecewise", max(part.peak for _, part in different), parts=tuple(different))
