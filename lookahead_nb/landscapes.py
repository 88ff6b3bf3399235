"""Surfaces with a known shape, on which the motion of an optimizer can be watched and worked out.

A landscape is a model: a flat buffer of parameters, a start, a loss and its gradient. It holds any number of replicas
of a point, replica by replica, which share all settings and have independent noise; the loss is the mean over them, the
gradient that of each replica's own height. The noise of a step is a function of seed, step and position in the buffer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any

import numpy as np

from lookahead_nb.checks import float_dtype, plain_array, real_number, real_numbers, whole_number, within_width
from lookahead_nb.cpu import surfaces
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.philox import NOISE, WEIGHTS, normals

HIGHEST_STEP = 2**32 - 1


class Landscape(ABC):
    """What all landscapes share: layout, start, expected loss, gradient and noise.

    noise : number or (n,) at least 0, the standard deviation of the gradient in each coordinate; start : number or
    (n,), the starting point; spread : number or (n,) at least 0, the standard deviation of a normal law around it;
    replicas : int, at least 1. errors : TypeError, ValueError.
    """

    needs_data = False  # unlike a network
    surface: str
    drift = np.empty(0)  # of the second coefficient of each part, by step

    def __init__(self, n, coefficients, noise, start, spread, replicas):
        self.n, self.replicas = n, whole_number("replicas", replicas, 1)
        self.coefficients = np.array(coefficients, np.float64)
        self.coefficients.flags.writeable = False
        self.noise = _for_each("noise", real_numbers("noise", noise, 0), n)
        self.start = _for_each("start", real_numbers("start", start, -np.inf), n)
        self.spread = _for_each("spread", real_numbers("spread", spread, 0), n)

    @property
    def size(self):
        """The number of parameters: replicas times coordinates."""
        return self.replicas * self.n

    @abstractmethod
    def shape(self):
        """Return the settings of the surface itself, by name."""

    def settings(self):
        """Return the settings as a flat dict of strings and numbers."""
        motion = {name: _shortest(getattr(self, name)) for name in ("noise", "start", "spread")}
        shape = {name: value if isinstance(value, float) else str(value) for name, value in self.shape().items()}
        return {"model": type(self).__name__} | shape | motion | {"replicas": self.replicas}

    def __repr__(self):
        first, *rest = self.shape().items()
        named = rest + [(name, _shortest(getattr(self, name))) for name in ("noise", "start", "spread")]
        words = [repr(first[1]), *(f"{name}={value}" for name, value in [*named, ("replicas", self.replicas)])]
        return f"{type(self).__name__}({', '.join(words)})"

    def __eq__(self, other):
        return type(self) is type(other) and self.settings() == other.settings()

    def __hash__(self):
        return hash(tuple(self.settings().values()))

    def init(self, seed=0, dtype="float32"):
        """Return the starting points of all replicas: start, or with a spread ``start + spread*normal`` in each.

        seed : int in [0, 2**63); dtype : "float32" or "float64", the float32 points being the float64 ones rounded.
        returns : (size,) array. errors : TypeError, ValueError.
        """
        seed, dtype = whole_number("seed", seed, 0, 2**63 - 1), float_dtype("dtype", dtype)
        self._check_width(dtype)
        points = np.tile(self.start, (self.replicas, 1))
        if self.spread.any():
            points += self.spread * normals(self.size, seed, WEIGHTS).reshape(points.shape)
        return points.ravel().astype(dtype)

    def points(self, params):
        """Return the parameters as (..., replicas, n) points, a view.

        params : (..., size) numbers. errors : TypeError, ValueError.
        """
        params = self._buffers(params)
        return params.reshape(*params.shape[:-1], self.replicas, self.n)

    def heights(self, points):
        """Return the height of each of (..., n) points, float64.

        points : (..., n) finite or infinite numbers. errors : TypeError, ValueError.
        """
        points = plain_array("points", points)
        if not points.ndim or points.shape[-1] != self.n:
            raise ValueError(f"points must be (..., {self.n}), not {points.shape}")
        return self._mean_heights(_floats("points", points))

    def loss(self, params, step=0):
        """Return the expected loss, the mean height over the replicas, float64.

        params : (..., size) numbers; step : int, at least 0, the step whose surface is meant, where it drifts. errors :
        TypeError, ValueError.
        """
        return self._mean_heights(self._buffers(params), whole_number("step", step, 0, HIGHEST_STEP))

    def loss_and_grad(self, params, step=0):
        """Return the expected loss and, for each replica, the slope at its point, in the dtype of params.

        params : (size,) float32 or float64; step : as in :meth:`loss`. The slope is that of the replica's own height,
        not of the mean: each moves as if alone. errors : TypeError, ValueError.
        """
        params = self._buffer(params)
        return float(self.loss(params, step)), self._grad(params, np.empty(0), step)

    def noisy_grad(self, params, seed, step):
        """Return the slope with the noise of a step: ``slope + noise*normal``, the gradient that ``train`` follows.

        params : (size,) float32 or float64; seed : int in [0, 2**63); step : int, 1 for the first. The normal numbers
        are those of ``philox.fill_normal``, stream NOISE, at the position in params, rounded to its dtype.
        errors : TypeError, ValueError.
        """
        params, seed = self._buffer(params), whole_number("seed", seed, 0, 2**63 - 1)
        step = whole_number("step", step, 1, HIGHEST_STEP)
        return self._grad(params, normals(self.size if self.noise.any() else 0, seed, NOISE, step), step)

    def _check_width(self, dtype):
        if dtype == np.float64:  # as all settings are
            return
        settings = {"start": self.start, "spread": self.spread, "noise": self.noise} | self.shape()
        for name, value in settings.items():
            within_width(name, value, dtype)

    def _grad(self, params, numbers, step):
        self._check_width(params.dtype)
        width, grad = params.dtype.type, np.empty_like(params)
        settings = self._coefficients(step, width), self.noise.astype(width)
        with np.errstate(over="ignore", invalid="ignore"):
            surfaces.noisy_grad(self.surface, width)(params, grad, *settings, numbers)
        return grad

    def _coefficients(self, step, width):
        moved = self.coefficients.astype(width)
        surfaces.move(self.coefficients, self.drift, step, moved)
        return moved

    def _mean_heights(self, params, step=0):
        means = np.empty(params.shape[:-1])
        loop = surfaces.mean_height(self.surface, params.dtype.type)
        if means.size:
            with np.errstate(over="ignore", invalid="ignore"):
                loop(
                    np.ascontiguousarray(params).ravel(),
                    self._coefficients(step, np.float64),
                    self.n,
                    means.reshape(-1),
                )
        return means[()]

    def _buffers(self, params):
        params = _floats("params", plain_array("params", params))
        if not params.ndim or params.shape[-1] != self.size:
            raise ValueError(f"params must be (..., {self.size}), not {params.shape}")
        return params

    def _buffer(self, params):
        params = self._buffers(params)
        if params.ndim != 1:
            raise ValueError(f"params must be ({self.size},), not {params.shape}")
        return np.ascontiguousarray(params)


class Quadratic(Landscape):
    """The bowl ``sum(curvatures * (params - drift*step)**2) / 2``, one mode in each coordinate.

    curvatures : (n,) positive numbers, any spectrum; the largest over the smallest is the condition number. With
    ``noise=sqrt(curvatures)`` it is the noisy quadratic of Zhang et al. 2019 with sigma**2 = 1/curvature.
    drift : number or (n,), how far the minimum goes in a step; it is at 0 before the first. A run's loss after a step
    is counted from where the minimum was in that step. noise, start, spread, replicas : as in :class:`Landscape`.
    errors : TypeError, ValueError.
    """

    surface = "quadratic"

    def __init__(self, curvatures, *, drift=0.0, noise=0.0, start=1.0, spread=0.0, replicas=1):
        if not np.iterable(curvatures):
            raise TypeError(f"curvatures must be a sequence of positive numbers, not {curvatures!r}")
        checked = [real_number(f"curvatures[{i}]", c, 0, open_low=True) for i, c in enumerate(curvatures)]
        if not checked:
            raise ValueError("curvatures must hold at least one number, not none")
        super().__init__(len(checked), [(c, 0.0) for c in checked], noise, start, spread, replicas)
        drift = _for_each("drift", real_numbers("drift", drift, -np.inf), self.n)
        if drift.any():
            self.drift = np.ascontiguousarray(drift)
            self.drift.flags.writeable = False

    @property
    def curvatures(self):
        """The curvature of each mode, (n,) float64."""
        return self.coefficients[:, 0]

    def shape(self):
        """Return the settings of the surface itself, by name."""
        drift = {"drift": self.drift.tolist()} if self.drift.size else {}
        return {"curvatures": self.curvatures.tolist()} | drift


class DoubleWell(Landscape):
    """Two basins in one coordinate, ``barrier*(x**2 - 1)**2 + tilt*x``; a positive tilt makes the left one deeper.

    tilt : float of size below ``8*barrier/sqrt(27)``, beyond which one basin is gone; barrier : float above 0, the
    height of the ridge over basins of equal depth. noise, start, spread, replicas : as in :class:`Landscape`.
    errors : TypeError, ValueError.
    """

    surface = "double_well"

    def __init__(self, tilt=0.25, *, barrier=1.0, noise=0.0, start=1.0, spread=0.0, replicas=1):
        barrier = real_number("barrier", barrier, 0, open_low=True)
        steepest = 8 * barrier / np.sqrt(27)
        tilt = real_number("tilt", tilt, -steepest, steepest, open_low=True, open_high=True)
        super().__init__(1, [(barrier, tilt)], noise, start, spread, replicas)

    @property
    def tilt(self):
        """The slope that is added to two basins of equal depth."""
        return float(self.coefficients[0, 1])

    @property
    def barrier(self):
        """The height of the ridge where there is no tilt."""
        return float(self.coefficients[0, 0])

    def _level(self, place):
        # The three roots of x**3 - x + tilt/(4*barrier) by Viète's formula, from the right to the left.
        angle = np.arccos(-np.sqrt(27) / 2 * self.tilt / (4 * self.barrier)) / 3
        return float(2 / np.sqrt(3) * np.cos(angle - 2 * np.pi * place / 3))

    @property
    def minima(self):
        """Where the basins are lowest: (left, right)."""
        return self._level(2), self._level(0)

    @property
    def ridge(self):
        """The maximum between the basins."""
        return self._level(1)

    def basin(self, params):
        """Return the basin of each replica of (..., size) parameters: -1 left, 1 right, 0 on the ridge or NaN.

        params : (..., size) numbers. errors : TypeError, ValueError.
        """
        x = self._buffers(params)
        return (x > self.ridge).astype(np.int8) - (x < self.ridge).astype(np.int8)

    def shape(self):
        """Return the settings of the surface itself, by name."""
        return {"tilt": self.tilt, "barrier": self.barrier}


class Bilinear(Landscape):
    """The game min_x max_y ``strength*x*y`` with its equilibrium at (0, 0): no loss goes down here.

    In place of a gradient it gives the field of the game, ``(strength*y, -strength*x)``: descent for x and ascent for y
    at once. In place of a loss it reports half the squared distance from the equilibrium. Gradient descent spirals out,
    Lookahead can spiral in. Source: Chavdarova et al. 2021.

    strength : float above 0. noise, start, spread, replicas : as in :class:`Landscape`. errors : TypeError, ValueError.
    """

    surface = "bilinear"

    def __init__(self, strength=1.0, *, noise=0.0, start=1.0, spread=0.0, replicas=1):
        strength = real_number("strength", strength, 0, open_low=True)
        super().__init__(2, [(strength, 0.0)], noise, start, spread, replicas)

    @property
    def strength(self):
        """How fast the players turn around each other."""
        return float(self.coefficients[0, 0])

    def shape(self):
        """Return the settings of the surface itself, by name."""
        return {"strength": self.strength}


class Rosenbrock(Landscape):
    """The curved valley ``(1 - x)**2 + bend*(y - x**2)**2`` with its minimum at (1, 1). Source: Rosenbrock 1960.

    bend : float above 0, how steep the walls are. noise, start, spread, replicas : as in :class:`Landscape`; start is
    Rosenbrock's own. errors : TypeError, ValueError.
    """

    surface = "rosenbrock"

    def __init__(self, bend=100.0, *, noise=0.0, start=(-1.2, 1.0), spread=0.0, replicas=1):
        bend = real_number("bend", bend, 0, open_low=True)
        super().__init__(2, [(bend, 0.0)], noise, start, spread, replicas)

    @property
    def bend(self):
        """How steep the walls are."""
        return float(self.coefficients[0, 0])

    def shape(self):
        """Return the settings of the surface itself, by name."""
        return {"bend": self.bend}


def _for_each(name, numbers, n):
    if numbers.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or ({n},), one for each coordinate, not {numbers.shape}")
    return np.broadcast_to(numbers, (n,))


def _shortest(numbers):
    return repr(numbers.tolist()[0] if (numbers == numbers[0]).all() else numbers.tolist())


def _floats(name, array):
    """Return an array of float32 or float64, whole numbers as float64, or refuse what holds no numbers."""
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    return array.astype(np.float64)


def trace(landscape, optimizer, start, steps):
    """Step an optimizer on a landscape and return the paths (fast, slow), (steps + 1, n) each; start is not changed.

    At a step with a sync, fast is where the inner rule went before the pull, worked back from the slow weights:
    ``slow_before + (slow_after - slow_before)/slow_step_size``. slow is the average for Schedule-Free, None where there
    are no slow weights.

    landscape : any of this module; optimizer : an inner rule or Lookahead; start : (n,) float array; steps : int, at
    least 0. errors : those of ``step``; ValueError at slow_step_size 0.
    """
    steps = whole_number("steps", steps, 0)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an inner rule or Lookahead, not {optimizer!r}")
    params = np.array(start)
    state = optimizer.init(params)
    opt: Any = optimizer
    sync, slowed = opt.sync, opt.has_slow_weights
    if sync and not all(step for step, _ in sync.slow_steps):
        raise ValueError("slow_step_size must be above 0 to trace the fast weights, not 0.0")
    fast, slow = [params.copy()], [params.copy()]
    for t in range(1, steps + 1):
        optimizer.step(params, landscape.loss_and_grad(params, t)[1], state)
        fast.append(params.copy())
        with opt.slow_weights(params, state) if slowed else nullcontext():
            slow.append(params.copy())
        if sync and state.t % sync.period == 0 and sync.pull_back:
            fast[-1] = slow[-2] + (slow[-1] - slow[-2]) / state.slow_steps[-1]
    return np.array(fast), np.array(slow) if slowed else None


def replay(optimizer, start, gradients):
    """Step an optimizer along given gradients, wherever they were taken, and return its path, (steps + 1, n).

    optimizer : an inner rule or Lookahead; start : (n,) float array, not changed; gradients : (steps, n) of its dtype.
    errors : those of ``step``.
    """
    params = np.array(start)
    state, path = optimizer.init(params), [params.copy()]
    for gradient in gradients:
        optimizer.step(params, gradient, state)
        path.append(params.copy())
    return np.array(path)
