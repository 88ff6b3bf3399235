"""Surfaces with a known shape, on which the motion of an optimizer can be watched and worked out."""

from __future__ import annotations

import numpy as np

from lookahead_nb.checks import real_number, whole_number
from lookahead_nb.optimizers import Lookahead, Optimizer


class Quadratic:
    """The bowl ``sum(curvatures * params**2) / 2`` with its minimum at 0.

    curvatures : (n,) positive numbers; their ratio is the condition number. errors : TypeError, ValueError.
    """

    def __init__(self, curvatures):
        if not np.iterable(curvatures):
            raise TypeError(f"curvatures must be a sequence of positive numbers, not {curvatures!r}")
        checked = [real_number(f"curvatures[{i}]", c, 0, open_low=True) for i, c in enumerate(curvatures)]
        if not checked:
            raise ValueError("curvatures must hold at least one number, not none")
        self.curvatures = np.array(checked, np.float64)
        self.size = self.curvatures.size

    def __repr__(self):
        return f"Quadratic({self.curvatures.tolist()})"

    def loss(self, params):
        """Return the height at (..., n) points, float64."""
        with np.errstate(over="ignore"):  # far out the height is inf
            return 0.5 * (self.curvatures * np.square(_points(params, self.size))).sum(-1)

    def loss_and_grad(self, params):
        """Return the height at one point and its gradient ``curvatures * params``, in the dtype of params."""
        height = float(self.loss(params))
        with np.errstate(over="ignore"):
            return height, (self.curvatures * params).astype(params.dtype)


class Rosenbrock:
    """The curved valley ``(1 - x)**2 + bend*(y - x**2)**2`` with its minimum at (1, 1). Source: Rosenbrock 1960.

    bend : float above 0, how steep the walls are. errors : TypeError, ValueError.
    """

    size = 2

    def __init__(self, bend=100.0):
        self.bend = real_number("bend", bend, 0, open_low=True)

    def __repr__(self):
        return f"Rosenbrock({self.bend})"

    def loss(self, params):
        """Return the height at (..., 2) points, float64."""
        x, y = np.moveaxis(_points(params, 2), -1, 0)
        with np.errstate(over="ignore", invalid="ignore"):  # far out the height is inf, or NaN
            return (1 - x) ** 2 + self.bend * (y - x**2) ** 2

    def loss_and_grad(self, params):
        """Return the height at one point and its gradient, in the dtype of params."""
        height, (x, y) = float(self.loss(params)), _points(params, 2)
        with np.errstate(over="ignore", invalid="ignore"):
            rise = 2 * self.bend * (y - x**2)
            return height, np.array([-2 * (1 - x) - 2 * x * rise, rise]).astype(params.dtype)


def _points(params, size):
    points = np.asarray(params, np.float64)
    if not points.ndim or points.shape[-1] != size:
        raise ValueError(f"params must be (..., {size}), not {points.shape}")
    return points


def trace(landscape, optimizer, start, steps):
    """Step an optimizer on a landscape and return the paths (fast, slow), (steps + 1, n) each; start is not changed.

    At a step with a sync, fast is where the inner rule went before the pull, worked back from the slow weights:
    ``slow_before + (slow_after - slow_before)/slow_step_size``. slow is None for a plain optimizer.

    start : (n,) float array; steps : int, at least 0. errors : those of ``step``; ValueError at slow_step_size 0.
    """
    steps = whole_number("steps", steps, 0)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an inner rule or Lookahead, not {optimizer!r}")
    params = np.array(start)
    state = optimizer.init(params)
    lookahead = optimizer if isinstance(optimizer, Lookahead) else None
    if lookahead and not lookahead.slow_step_size:
        raise ValueError("slow_step_size must be above 0 to trace the fast weights, not 0.0")
    fast, slow = [params.copy()], [params.copy()]
    for _ in range(steps):
        optimizer.step(params, landscape.loss_and_grad(params)[1], state)
        fast.append(params.copy())
        slow.append(state.slow.copy() if lookahead else params.copy())
        if lookahead and state.t % lookahead.sync_period == 0 and lookahead.pull_back:
            fast[-1] = slow[-2] + (slow[-1] - slow[-2]) / lookahead.slow_step_size
    return np.array(fast), np.array(slow) if lookahead else None
