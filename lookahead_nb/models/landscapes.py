"""Test functions with a known shape, on which the path of an optimizer can be plotted and derived.

A landscape is a model: a flat buffer of parameters, a start, a loss and its gradient. The buffer holds any number of
replicas of a point, one after the other. They share all settings and have independent noise. The loss is the mean over
the replicas; the gradient is that of each replica's height. The noise of a step depends only on seed, step and position
in the buffer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lookahead_nb.checks import (
    default_errors,
    float_dtype,
    named_arguments,
    plain_array,
    real_number,
    real_numbers,
    shown,
    whole_number,
    within_width,
)
from lookahead_nb.display import COLOURS, Line, curves, shades, shown_together
from lookahead_nb.kernels.cpu import surfaces
from lookahead_nb.kernels.philox import NOISE, WEIGHTS, normals
from lookahead_nb.optimizers import Optimizer, WithSlowWeights

HIGHEST_STEP = 2**32 - 1
FARTHEST = 1e50  # of what a small picture shows


class Landscape(ABC):
    """The base of landscapes: buffer layout, start, expected loss, gradient and noise.

    Parameters
    ----------
    n : int
        Coordinates of a point.
    coefficients : sequence of two numbers for each part
        Settings of the surface, in the order that the kernels read.
    noise : float or (n,) array
        At least 0; the standard deviation of the gradient in each coordinate.
    start : float or (n,) array
        The starting point.
    spread : float or (n,) array
        At least 0; the standard deviation of a normal distribution of starting points around start.
    replicas : int
        At least 1.

    Attributes
    ----------
    n, replicas : int
    coefficients : (parts, 2) float64 array
        Read-only.
    noise, start, spread : (n,) float64 array
        Read-only.
    surface : str
        The key of ``formulas.SURFACES``.
    drift : (parts,) float64 array
        Change of the second coefficient of each part per step; (0,) without drift.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.
    """

    needs_data = False  # networks need rows
    surface: str
    drift: np.ndarray = np.empty(0)

    def __init__(
        self,
        n: int,
        coefficients: Sequence[tuple[float, float]],
        noise: ArrayLike,
        start: ArrayLike,
        spread: ArrayLike,
        replicas: int,
    ) -> None:
        self.n, self.replicas = n, whole_number("replicas", replicas, 1)
        self.coefficients = np.array(coefficients, np.float64)
        self.coefficients.flags.writeable = False
        self.noise = _for_each("noise", real_numbers("noise", noise, 0), n)
        self.start = _for_each("start", real_numbers("start", start, -np.inf), n)
        self.spread = _for_each("spread", real_numbers("spread", spread, 0), n)

    @property
    def size(self) -> int:
        """The number of parameters: replicas times coordinates."""
        return self.replicas * self.n

    @abstractmethod
    def shape(self) -> dict[str, float | list[float]]:
        """Return the settings of the surface itself.

        Returns
        -------
        dict
            Numbers and lists of numbers by name.
        """

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict.

        Returns
        -------
        dict
            Strings and numbers by name; lists as strings.
        """
        motion = {name: _shortest(getattr(self, name)) for name in ("noise", "start", "spread")}
        shape = {name: value if isinstance(value, float) else str(value) for name, value in self.shape().items()}
        settings: dict[str, object] = {"model": type(self).__name__}
        return settings | shape | motion | {"replicas": self.replicas}

    def __repr__(self) -> str:
        first, *rest = self.shape().items()
        named = rest + [(name, _shortest(getattr(self, name))) for name in ("noise", "start", "spread")]
        words = [repr(first[1]), *(f"{name}={value}" for name, value in [*named, ("replicas", self.replicas)])]
        return f"{type(self).__name__}({', '.join(words)})"

    def _repr_html_(self) -> str:
        """Return the settings as a table, and the surface of one or two coordinates as a picture."""
        rows = self.settings()
        return shown_together(str(rows.pop("model")), rows, self._picture() if self.n <= 2 else "")

    def _picture(self) -> str:
        """Return the height over a line or a plane around start and origin."""
        reach = 1.5 * max(1.0, *np.abs(self.start).tolist())
        line = np.linspace(-reach, reach, 61 if self.n == 1 else 21) if reach < FARTHEST else np.empty(0)
        points = line[:, None] if self.n == 1 else np.stack(np.meshgrid(line, line), axis=-1)
        heights = np.asarray(self.heights(points))
        if not len(line) or not np.isfinite(heights).all():
            return ""
        if self.n == 1:
            about = f"The height from {-reach:g} to {reach:g}"
            return curves([Line("", line.tolist(), heights.tolist(), COLOURS["AdamW"])], "height", "coordinate", about)
        about = f"The height over both coordinates from {-reach:g} to {reach:g}, strongest where it is lowest"
        return shades(heights, "height (strong: low)", (-reach, reach), about)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Landscape) and type(self) is type(other) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash(tuple(self.settings().values()))

    @default_errors
    def init(self, seed: int = 0, dtype: DTypeLike = "float32") -> np.ndarray:
        """Return the starting points of all replicas: start, or ``start + spread*normal``.

        Parameters
        ----------
        seed : int
            In [0, 2**63); without a spread it changes nothing.
        dtype : str
            "float32" or "float64". The float32 points are the float64 ones, rounded.

        Returns
        -------
        (size,) array
            A new buffer of this dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range, or a setting overflows the dtype.
        """
        seed, width = whole_number("seed", seed, 0, 2**63 - 1), float_dtype("dtype", dtype)
        self._check_width(width)
        points = np.tile(self.start, (self.replicas, 1))
        if self.spread.any():
            points += self.spread * normals(self.size, seed, WEIGHTS).reshape(points.shape)
        return points.ravel().astype(width)

    def points(self, params: ArrayLike) -> np.ndarray:
        """Return the parameters as points.

        Parameters
        ----------
        params : (..., size) array
            Numbers; NaN and infinity stay.

        Returns
        -------
        (..., replicas, n) array
            A view, or float64 for whole numbers.

        Raises
        ------
        TypeError, ValueError
            If params holds no real numbers or has another shape.
        """
        params = self._buffers(params)
        return params.reshape(*params.shape[:-1], self.replicas, self.n)

    @default_errors
    def heights(self, points: ArrayLike) -> np.ndarray | np.float64:
        """Return the height of each point.

        Parameters
        ----------
        points : (..., n) array
            Numbers; the height of a point with NaN is NaN, and so may be that of one with infinity.

        Returns
        -------
        float64 or (...,) float64 array

        Raises
        ------
        TypeError, ValueError
            If points holds no real numbers or has another shape.

        Examples
        --------
        >>> from lookahead_nb.models.landscapes import Rosenbrock
        >>> Rosenbrock().heights([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
        array([  0.,   1., 101.])
        """
        array = plain_array("points", points)
        if not array.ndim or array.shape[-1] != self.n:
            raise ValueError(f"points must be (..., {self.n}), got {array.shape}")
        return self._mean_heights(_floats("points", array))

    @default_errors
    def loss(self, params: ArrayLike, step: int = 0) -> np.ndarray | np.float64:
        """Return the expected loss, the mean height over the replicas.

        Parameters
        ----------
        params : (..., size) array
            Numbers; the loss of NaN is NaN, and so may be that of infinity.
        step : int
            At least 0. With drift, the surface is that of this step.

        Returns
        -------
        float64 or (...,) float64 array

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or shape, or lies out of range.
        """
        return self._mean_heights(self._buffers(params), whole_number("step", step, 0, HIGHEST_STEP))

    @default_errors
    def loss_and_grad(self, params: ArrayLike, step: int = 0) -> tuple[float, np.ndarray]:
        """Return the expected loss and the slope of each replica at its point.

        The slope is that of the replica's height, not of the mean. So each replica moves as if it were alone.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            NaN and infinity pass through to loss and grad.
        step : int
            At least 0. With drift, the surface is that of this step.

        Returns
        -------
        loss : float
        grad : (size,) array
            A new array in the dtype of params.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or shape or lies out of range, or a setting overflows the dtype.

        Examples
        --------
        >>> import numpy as np
        >>> from lookahead_nb.models.landscapes import Quadratic
        >>> Quadratic([1.0, 4.0]).loss_and_grad(np.array([2.0, 1.0]))
        (4.0, array([2., 4.]))
        """
        params = self._buffer(params)
        return float(self.loss(params, step)), self._grad(params, np.empty(0), step)

    @default_errors
    def noisy_grad(self, params: ArrayLike, seed: int, step: int) -> np.ndarray:
        """Return the slope with the noise of a step, ``slope + noise*normal``: the gradient that ``train`` follows.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            NaN and infinity pass through.
        seed : int
            In [0, 2**63).
        step : int
            The number of the step, from 1.

        Returns
        -------
        (size,) array
            A new array in the dtype of params.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or shape or lies out of range, or a setting overflows the dtype.

        Notes
        -----
        The normal numbers are those of ``philox.fill_normal`` with stream NOISE, at the same position as in params,
        rounded to its dtype.
        """
        params, seed = self._buffer(params), whole_number("seed", seed, 0, 2**63 - 1)
        step = whole_number("step", step, 1, HIGHEST_STEP)
        return self._grad(params, normals(self.size if self.noise.any() else 0, seed, NOISE, step), step)

    def _check_width(self, dtype: np.dtype) -> None:
        """Refuse settings that overflow the dtype."""
        if dtype == np.float64:  # the dtype of the settings
            return
        settings = {"start": self.start, "spread": self.spread, "noise": self.noise} | self.shape()
        for name, value in settings.items():
            within_width(name, value, dtype)

    def _grad(self, params: np.ndarray, numbers: np.ndarray, step: int) -> np.ndarray:
        self._check_width(params.dtype)
        width: Any = params.dtype.type
        grad = np.empty_like(params)
        settings = self._coefficients(step, width), self.noise.astype(width)
        with np.errstate(over="ignore", invalid="ignore"):
            surfaces.noisy_grad(self.surface, width)(params, grad, *settings, numbers)
        return grad

    def _coefficients(self, step: int, width: Any) -> np.ndarray:
        """Return the coefficients of a step, in a float width."""
        moved = self.coefficients.astype(width)
        surfaces.move(self.coefficients, self.drift, step, moved)
        return moved

    def _mean_heights(self, params: np.ndarray, step: int = 0) -> np.ndarray | np.float64:
        means = np.empty(params.shape[:-1])
        width: Any = params.dtype.type
        loop = surfaces.mean_height(self.surface, width)
        if means.size:
            with np.errstate(over="ignore", invalid="ignore"):
                loop(
                    np.ascontiguousarray(params).ravel(),
                    self._coefficients(step, np.float64),
                    self.n,
                    means.reshape(-1),
                )
        return means[()]

    def _buffers(self, params: ArrayLike, name: str = "params") -> np.ndarray:
        buffers = _floats(name, plain_array(name, params))
        if not buffers.ndim or buffers.shape[-1] != self.size:
            raise ValueError(f"{name} must be (..., {self.size}), got {buffers.shape}")
        return buffers

    def _buffer(self, params: ArrayLike, name: str = "params") -> np.ndarray:
        buffer = self._buffers(params, name)
        if buffer.ndim != 1:
            raise ValueError(f"{name} must be ({self.size},), got {buffer.shape}")
        return np.ascontiguousarray(buffer)


@named_arguments
class Quadratic(Landscape):
    """The bowl ``sum(curvatures * (params - drift*step)**2) / 2``, with one mode in each coordinate.

    Parameters
    ----------
    curvatures : (n,) array
        Above 0, any spectrum. The largest over the smallest is the condition number.
    drift : float or (n,) array
        The distance that the minimum moves per step; it is at 0 ahead of the first step. The loss after a step of a run
        is relative to the minimum of that step.
    noise : float or (n,) array
        At least 0; the standard deviation of the gradient in each coordinate.
    start : float or (n,) array
        The starting point.
    spread : float or (n,) array
        At least 0; the standard deviation of a normal distribution of starting points around start.
    replicas : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.

    Notes
    -----
    With ``noise=sqrt(curvatures)`` it is the noisy quadratic of Zhang et al. 2019 with sigma**2 = 1/curvature.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> bowl = lnb.landscapes.Quadratic([1.0, 100.0], noise=0.1, replicas=8)
    >>> bowl
    Quadratic([1.0, 100.0], noise=0.1, start=1.0, spread=0.0, replicas=8)
    >>> bowl.size
    16
    """

    surface = "quadratic"

    def __init__(
        self,
        curvatures: Iterable[float],
        *,
        drift: ArrayLike = 0.0,
        noise: ArrayLike = 0.0,
        start: ArrayLike = 1.0,
        spread: ArrayLike = 0.0,
        replicas: int = 1,
    ) -> None:
        if not np.iterable(curvatures) or isinstance(curvatures, str | bytes):
            raise TypeError(f"curvatures must be a sequence of positive numbers, got {shown(curvatures)}")
        checked = [real_number(f"curvatures[{i}]", c, 0, open_low=True) for i, c in enumerate(curvatures)]
        if not checked:
            raise ValueError("curvatures must hold at least one number, got none")
        super().__init__(len(checked), [(c, 0.0) for c in checked], noise, start, spread, replicas)
        drift = _for_each("drift", real_numbers("drift", drift, -np.inf), self.n)
        if drift.any():
            self.drift = np.ascontiguousarray(drift)
            self.drift.flags.writeable = False

    @property
    def curvatures(self) -> np.ndarray:
        """The curvature of each mode, (n,) float64."""
        return self.coefficients[:, 0]

    def shape(self) -> dict[str, float | list[float]]:
        """Return the settings of the surface itself.

        Returns
        -------
        dict
            "curvatures", and "drift" if there is any.
        """
        drift = {"drift": self.drift.tolist()} if self.drift.size else {}
        return {"curvatures": self.curvatures.tolist()} | drift


@named_arguments
class DoubleWell(Landscape):
    """Two basins in one coordinate, ``barrier*(x**2 - 1)**2 + tilt*x``.

    Parameters
    ----------
    tilt : float
        Above 0, the left basin is deeper. Its absolute value is below ``8*barrier/sqrt(27)``: a steeper tilt leaves
        only one basin.
    barrier : float
        Above 0; the height of the ridge if both basins have the same depth.
    noise : float or (1,) array
        At least 0; the standard deviation of the gradient in each coordinate.
    start : float or (1,) array
        The starting point.
    spread : float or (1,) array
        At least 0; the standard deviation of a normal distribution of starting points around start.
    replicas : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> well = lnb.landscapes.DoubleWell(0.0)
    >>> [round(x, 6) for x in well.minima]
    [-1.0, 1.0]
    >>> well.basin([0.5]).tolist()
    [1]
    """

    surface = "double_well"

    def __init__(
        self,
        tilt: float = 0.25,
        *,
        barrier: float = 1.0,
        noise: ArrayLike = 0.0,
        start: ArrayLike = 1.0,
        spread: ArrayLike = 0.0,
        replicas: int = 1,
    ) -> None:
        barrier = real_number("barrier", barrier, 0, open_low=True)
        steepest = float(8 * barrier / np.sqrt(27))
        try:
            tilt = real_number("tilt", tilt, -steepest, steepest, open_low=True, open_high=True)
        except ValueError as error:
            raise ValueError(f"{error} at barrier {barrier!r}") from None
        super().__init__(1, [(barrier, tilt)], noise, start, spread, replicas)

    @property
    def tilt(self) -> float:
        """The slope that is added to two basins of equal depth."""
        return float(self.coefficients[0, 1])

    @property
    def barrier(self) -> float:
        """The height of the ridge without a tilt."""
        return float(self.coefficients[0, 0])

    def _flat_point(self, place: int) -> float:
        """Return one of the points without slope: 0 for the right minimum, 1 for the ridge, 2 for the left minimum."""
        # Viète's formula for the three roots of x**3 - x + tilt/(4*barrier).
        angle = np.arccos(-np.sqrt(27) / 2 * self.tilt / (4 * self.barrier)) / 3
        return float(2 / np.sqrt(3) * np.cos(angle - 2 * np.pi * place / 3))

    @property
    def minima(self) -> tuple[float, float]:
        """The lowest points of the left and the right basin."""
        return self._flat_point(2), self._flat_point(0)

    @property
    def ridge(self) -> float:
        """The maximum between the basins."""
        return self._flat_point(1)

    @default_errors
    def basin(self, params: ArrayLike) -> np.ndarray:
        """Return the basin of each replica.

        Parameters
        ----------
        params : (..., size) array
            Numbers.

        Returns
        -------
        (..., size) int8 array
            -1 for left, 1 for right, 0 on the ridge or for NaN.

        Raises
        ------
        TypeError, ValueError
            If params holds no real numbers or has another shape.
        """
        x = self._buffers(params)
        return (x > self.ridge).astype(np.int8) - (x < self.ridge).astype(np.int8)

    def shape(self) -> dict[str, float | list[float]]:
        """Return the settings of the surface itself.

        Returns
        -------
        dict
            "tilt" and "barrier".
        """
        return {"tilt": self.tilt, "barrier": self.barrier}


@named_arguments
class Bilinear(Landscape):
    """The game min_x max_y ``strength*x*y``, with its equilibrium at (0, 0).

    No loss decreases in this game. Its gradient is the field ``(strength*y, -strength*x)``: descent for x and ascent
    for y at the same time. Its loss is half the squared distance from the equilibrium. Gradient descent spirals out;
    Lookahead can spiral in.

    Parameters
    ----------
    strength : float
        Above 0.
    noise : float or (2,) array
        At least 0; the standard deviation of the gradient in each coordinate.
    start : float or (2,) array
        The starting point.
    spread : float or (2,) array
        At least 0; the standard deviation of a normal distribution of starting points around start.
    replicas : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.

    Notes
    -----
    Source: Chavdarova et al. 2021.
    """

    surface = "bilinear"

    def __init__(
        self,
        strength: float = 1.0,
        *,
        noise: ArrayLike = 0.0,
        start: ArrayLike = 1.0,
        spread: ArrayLike = 0.0,
        replicas: int = 1,
    ) -> None:
        strength = real_number("strength", strength, 0, open_low=True)
        super().__init__(2, [(strength, 0.0)], noise, start, spread, replicas)

    @property
    def strength(self) -> float:
        """The angular velocity of the players around the equilibrium."""
        return float(self.coefficients[0, 0])

    def shape(self) -> dict[str, float | list[float]]:
        """Return the settings of the surface itself.

        Returns
        -------
        dict
            "strength".
        """
        return {"strength": self.strength}


@named_arguments
class Rosenbrock(Landscape):
    """The curved valley ``(1 - x)**2 + bend*(y - x**2)**2``, with its minimum at (1, 1).

    Parameters
    ----------
    bend : float
        Above 0; the steepness of the walls.
    noise : float or (2,) array
        At least 0; the standard deviation of the gradient in each coordinate.
    start : float or (2,) array
        The starting point; that of Rosenbrock by default.
    spread : float or (2,) array
        At least 0; the standard deviation of a normal distribution of starting points around start.
    replicas : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.

    Notes
    -----
    Source: Rosenbrock 1960.
    """

    surface = "rosenbrock"

    def __init__(
        self,
        bend: float = 100.0,
        *,
        noise: ArrayLike = 0.0,
        start: ArrayLike = (-1.2, 1.0),
        spread: ArrayLike = 0.0,
        replicas: int = 1,
    ) -> None:
        bend = real_number("bend", bend, 0, open_low=True)
        super().__init__(2, [(bend, 0.0)], noise, start, spread, replicas)

    @property
    def bend(self) -> float:
        """The steepness of the walls."""
        return float(self.coefficients[0, 0])

    def shape(self) -> dict[str, float | list[float]]:
        """Return the settings of the surface itself.

        Returns
        -------
        dict
            "bend".
        """
        return {"bend": self.bend}


def _for_each(name: str, numbers: np.ndarray, n: int) -> np.ndarray:
    """Return one number for each coordinate."""
    if numbers.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or ({n},), one for each coordinate, got {numbers.shape}")
    return np.broadcast_to(numbers, (n,))


def _shortest(numbers: np.ndarray) -> str:
    """Return numbers as text, equal ones as a single number."""
    return repr(numbers.tolist()[0] if (numbers == numbers[0]).all() else numbers.tolist())


def _start(start: ArrayLike) -> np.ndarray:
    """Return a copy of a starting point, or refuse anything but a flat array of finite floats."""
    params = np.array(plain_array("start", start))
    if params.dtype not in (np.float32, np.float64):
        raise TypeError(f"start must be float32 or float64, got {params.dtype}")
    if params.ndim != 1:
        raise ValueError(f"start must be 1-D, got {params.shape}")
    real_numbers("start", params, -np.inf)
    return params


def _floats(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array of float32 or float64, other real numbers as float64."""
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
    return array.astype(np.float64)


@overload
def trace(
    landscape: Landscape, optimizer: WithSlowWeights, start: ArrayLike, steps: int
) -> tuple[np.ndarray, np.ndarray]: ...
@overload
def trace(
    landscape: Landscape, optimizer: Optimizer, start: ArrayLike, steps: int
) -> tuple[np.ndarray, np.ndarray | None]: ...
@named_arguments
@default_errors
def trace(
    landscape: Landscape, optimizer: Optimizer, start: ArrayLike, steps: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Step an optimizer on a landscape and return the paths of its fast and slow weights.

    Parameters
    ----------
    landscape : Landscape
    optimizer : Optimizer
        An inner optimizer, Lookahead or EMA.
    start : (n,) float array
        Finite; not changed.
    steps : int
        At least 0.

    Returns
    -------
    fast : (steps + 1, n) array
        At a step with a sync: the weights ahead of the pull, derived from the slow weights as
        ``slow_before + (slow_after - slow_before)/slow_step_size``, or from their velocity.
    slow : (steps + 1, n) array or None
        For Schedule-Free the average; None without slow weights.

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        If an argument has another type or lies out of range, slow_step_size is 0, or ``step`` refuses a gradient.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.models.landscapes import Quadratic, trace
    >>> opt = lnb.Lookahead(lnb.SGD(0.5), sync_period=2, slow_step_size=0.5)
    >>> fast, slow = trace(Quadratic([1.0]), opt, [1.0], steps=2)
    >>> fast.ravel().tolist(), slow.ravel().tolist()
    ([1.0, 0.5, 0.25], [1.0, 1.0, 0.625])
    """
    steps = whole_number("steps", steps, 0)
    if not isinstance(landscape, Landscape):
        raise TypeError(f"landscape must be a landscape such as Quadratic, got {shown(landscape)}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an inner optimizer, Lookahead or EMA, got {shown(optimizer)}")
    params = _start(start)
    landscape._buffer(params, "start")
    state = optimizer.init(params)
    opt: Any = optimizer
    sync, has_slow = opt.sync, opt.has_slow_weights
    if sync and not all(step for step, _ in sync.slow_steps):
        raise ValueError("slow_step_size must be above 0 to trace the fast weights, got 0.0")
    fast, slow, velocity = [params.copy()], [params.copy()], np.zeros_like(params)
    for t in range(1, steps + 1):
        optimizer.step(params, landscape.loss_and_grad(params, t)[1], state)
        fast.append(params.copy())
        with opt.slow_weights(params, state) if has_slow else nullcontext():
            slow.append(params.copy())
        if sync and state.t % sync.period == 0 and sync.pull_back:
            fast[-1] = slow[-2] + (slow[-1] - slow[-2]) / state.slow_steps[-1]
            if sync.momentum:
                fast[-1] = slow[-2] + state.outer_velocity - opt.outer_momentum * velocity
                velocity = state.outer_velocity.copy()
    return np.array(fast), np.array(slow) if has_slow else None


@named_arguments
@default_errors
def replay(optimizer: Optimizer, start: ArrayLike, gradients: Iterable[np.ndarray]) -> np.ndarray:
    """Step an optimizer along a list of gradients and return its path.

    Parameters
    ----------
    optimizer : Optimizer
        An inner optimizer, Lookahead or EMA.
    start : (n,) float array
        Finite; not changed.
    gradients : (steps, n) array
        In the dtype of start; they may have been computed at any points.

    Returns
    -------
    (steps + 1, n) array

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        If ``step`` refuses an argument or a gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> lnb.landscapes.replay(lnb.SGD(0.5), [1.0], np.array([[1.0], [-2.0]])).ravel().tolist()
    [1.0, 0.5, 1.5]
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an inner optimizer, Lookahead or EMA, got {shown(optimizer)}")
    params = _start(start)
    if not np.iterable(gradients):
        raise TypeError(f"gradients must be a list of (n,) arrays, got {shown(gradients)}")
    state, path = optimizer.init(params), [params.copy()]
    for i, gradient in enumerate(gradients):
        try:
            optimizer.step(params, gradient, state)
        except (TypeError, ValueError) as error:
            raise type(error)(f"gradients[{i}] does not fit start: {error}") from error
        path.append(params.copy())
    return np.array(path)
