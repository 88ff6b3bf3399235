"""Learning-rate schedules: constant, linear and cosine decay, each with an optional warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, real_number, whole_number

MOST_KEPT = 4096  # steps of which rates and powers stay in a cache: 64 entries of at most 128 KiB


@named_arguments
@dataclass(frozen=True, repr=False)
class Schedule:
    """A learning rate as a function of the step.

    The rate rises as ``peak*t/warmup`` up to t = warmup. After that it is peak (constant), ``peak*(1 - done)``
    (linear) or ``peak*(1 + cos(pi*done))/2`` (cosine) with ``done = (t-warmup)/(steps-warmup)``. The last two are 0
    from t = steps on. With decay_steps the rate stays at the peak up to t = steps - decay_steps and falls only then:
    ``done = (t-steps+decay_steps)/decay_steps``. Use :func:`constant`, :func:`linear` and :func:`cosine` to make one.

    Parameters
    ----------
    kind : str
        "constant", "linear" or "cosine".
    peak : float
        Finite, at least 0.
    steps : int, optional
        Above warmup; None for a constant schedule.
    warmup : int
        At least 0.
    decay_steps : int, optional
        From 1 to steps - warmup. Default: steps - warmup; None for a constant schedule.

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

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("constant", "linear", "cosine"))
        object.__setattr__(self, "peak", real_number("peak", self.peak, 0))
        object.__setattr__(self, "warmup", whole_number("warmup", self.warmup, 0))
        if self.kind == "constant":
            one_of("steps", self.steps, (None,))
            one_of("decay_steps", self.decay_steps, (None,))
            return
        steps = whole_number("steps", self.steps, self.warmup + 1)
        object.__setattr__(self, "steps", steps)
        if self.decay_steps is not None:
            decay_steps = whole_number("decay_steps", self.decay_steps, 1, steps - self.warmup)
            one_form = None if decay_steps == steps - self.warmup else decay_steps
            object.__setattr__(self, "decay_steps", one_form)

    def __repr__(self) -> str:
        settings = {"steps": self.steps, "warmup": self.warmup or None, "decay_steps": self.decay_steps}
        words = [repr(self.peak), *(f"{name}={value}" for name, value in settings.items() if value is not None)]
        return f"schedules.{self.kind}({', '.join(words)})"

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
        if t < self.warmup:
            return self.peak * t / self.warmup
        return self.peak * _fall(self.kind, self.steps, self._start, t)

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
        rising = self.peak * np.arange(after + 1, min(self.warmup, after + n + 1)) / max(self.warmup, 1)
        falls = _falls if n <= MOST_KEPT else _falls.__wrapped__
        return np.concatenate([rising, self.peak * falls(self.kind, self.steps, self.warmup, self._start, after, n)])


def _fall(kind: str, steps: int | None, start: int, t: int) -> float:
    """Return the rate of step t >= warmup as a fraction of the peak; it falls after the step ``start``."""
    if steps is None or t <= start:
        return 1.0
    if t >= steps:
        return 0.0
    done = (t - start) / (steps - start)
    return 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2


@lru_cache(64)
def _falls(kind: str, steps: int | None, warmup: int, start: int, after: int, n: int) -> np.ndarray:
    first, end = max(warmup, 1, after + 1), after + n + 1
    if steps is None:
        return np.ones(max(end - first, 0))
    return np.array([_fall(kind, steps, start, t) for t in range(first, end)], np.float64)


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
