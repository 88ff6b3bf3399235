"""Learning-rate schedules: constant, linear and cosine decay, each with an optional warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lookahead_nb.checks import one_of, real_number, whole_number


@dataclass(frozen=True)
class Schedule:
    """A learning rate as a function of the step.

    ``lr(t) = peak*t/warmup`` up to t = warmup; then peak (constant), ``peak*(steps-t)/(steps-warmup)`` (linear) or
    ``peak*(1 + cos(pi*(t-warmup)/(steps-warmup)))/2`` (cosine), and 0 from t = steps on.

    kind : "constant", "linear" or "cosine"; peak : float, finite, at least 0; steps : int above warmup, None for
    constant; warmup : int, at least 0. Made by :func:`constant`, :func:`linear` and :func:`cosine`. errors : TypeError,
    ValueError.
    """

    kind: str
    peak: float
    steps: int | None = None
    warmup: int = 0

    def __post_init__(self):
        one_of("kind", self.kind, ("constant", "linear", "cosine"))
        object.__setattr__(self, "peak", real_number("peak", self.peak, 0))
        object.__setattr__(self, "warmup", whole_number("warmup", self.warmup, 0))
        if self.kind == "constant":
            one_of("steps", self.steps, (None,))
        else:
            object.__setattr__(self, "steps", whole_number("steps", self.steps, self.warmup + 1))

    def __call__(self, t):
        """Return the learning rate of step t = 1, 2, ... as float. t : int, at least 1."""
        if t < self.warmup:
            return self.peak * t / self.warmup
        return self.peak * _fall(self.kind, self.steps, self.warmup, t)

    def rates(self, n, after=0):
        """Return the learning rates of the n steps after step ``after``, (n,) float64, the same bits as one by one.

        n, after : int, at least 0.
        """
        rising = self.peak * np.arange(after + 1, min(self.warmup, after + n + 1)) / max(self.warmup, 1)
        return np.concatenate([rising, self.peak * _falls(self.kind, self.steps, self.warmup, after, n)])


def _fall(kind, steps, warmup, t):
    """Return the share of the peak at step t, from the end of the warm-up on."""
    if steps is None:
        return 1.0
    if t >= steps:
        return 0.0
    done = (t - warmup) / (steps - warmup)
    return 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2


@lru_cache(64)
def _falls(kind, steps, warmup, after, n):
    first, end = max(warmup, 1, after + 1), after + n + 1
    if steps is None:
        return np.ones(max(end - first, 0))
    return np.array([_fall(kind, steps, warmup, t) for t in range(first, end)], np.float64)


def constant(peak, warmup=0):
    """Return the schedule that rises to peak within warmup steps and stays there.

    peak : float, finite, at least 0; warmup : int, at least 0. errors : TypeError, ValueError.
    """
    return Schedule("constant", peak, None, warmup)


def linear(peak, steps, warmup=0):
    """Return the schedule that falls on a straight line from peak at t = warmup to 0 at t = steps.

    peak : float, finite, at least 0; steps : int above warmup; warmup : int, at least 0. errors : TypeError,
    ValueError.
    """
    return Schedule("linear", peak, steps, warmup)


def cosine(peak, steps, warmup=0):
    """Return the schedule that falls on half a cosine from peak at t = warmup to 0 at t = steps.

    peak : float, finite, at least 0; steps : int above warmup; warmup : int, at least 0. errors : TypeError,
    ValueError. Source: Loshchilov & Hutter 2017, equation 5, without restarts.
    """
    return Schedule("cosine", peak, steps, warmup)
