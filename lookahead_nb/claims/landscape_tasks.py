"""Declared populations next to the generated one: landscapes, small networks and games, from their numbers alone.

- ``quadratics``: noisy quadratics whose steady state ``theory.Cycle`` solves exactly, with a fixed preconditioner.
- ``wells``: two basins, one deeper than the other, with noise that lets weights cross the ridge.
- ``moving``: noisy quadratics whose minimum moves at a constant speed.
- ``networks``: parity of the signs of two or three inputs, learned by so few hidden units that runs get stuck.
- ``games`` and ``ring``: games of two players and small GANs, see :mod:`.game_tasks`.

``drawn(name, number)`` draws the factors of a task. Numbers below 10,000 are for pilots, as in :mod:`.population`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lookahead_nb.checks import default_errors, one_of, whole, whole_number
from lookahead_nb.claims.game_tasks import GameTask, RingTask
from lookahead_nb.claims.population import Choice, Range, declared_sha256, made_dataset, power
from lookahead_nb.datasets import Dataset
from lookahead_nb.kernels.philox import LABELS, ROWS, TASKS, normals, uniforms
from lookahead_nb.models.dense import MLP
from lookahead_nb.models.landscapes import DoubleWell, Quadratic
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

BETA1 = 0.9  # of the inner optimizer, as in AdamW
LIMIT = 2 * (1 + BETA1) / (1 - BETA1)  # of lr*curvature, above which that optimizer alone is unstable
CHANCE = math.log(2)  # the loss of guessing parity
PARITY_RATE = 0.1  # the middle of the grids of a network
PARITY_ROWS = 512  # of the training part of a network's data
CHECKED_ROWS = 64  # of its validation and test part, which nothing reads


@dataclass(frozen=True)
class NoisyQuadratic:
    """A quadratic with a power-law spectrum, solved exactly.

    Attributes
    ----------
    number : int
        Its number in the population.
    modes : int
        Mode j = 1, 2, ... has the curvature ``j**-exponent``.
    exponent : float
        At least 0.
    noise_exponent : float
        The variance of the gradient of a mode is ``curvature**noise_exponent``. Its scale does not matter here.
    rate : float
        The learning rate as a share of the stability limit of the inner optimizer alone.
    """

    RANGES: ClassVar[dict[str, Range | Choice]] = {
        "modes": Range(10, 100, log=True, multiple=1),
        "exponent": Range(0, 2),
        "noise_exponent": Choice((0.0, 1.0, 2.0)),  # 1: the covariance of the noise is the Hessian
        "rate": Range(1e-4, 0.6, log=True),  # Lookahead(.9, 5) is unstable from .67 on
    }

    number: int
    modes: int
    exponent: float
    noise_exponent: float
    rate: float

    @cached_property
    def curvatures(self) -> np.ndarray:
        """The curvature of each mode, (modes,) float64, the largest 1."""
        return _spectrum(self.modes, self.exponent)

    @cached_property
    def noise(self) -> np.ndarray:
        """The standard deviation of the gradient of each mode, (modes,) float64."""
        return _spectrum(self.modes, self.exponent * self.noise_exponent / 2)

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.rate * LIMIT

    @property
    def kind(self) -> str:
        """Whether the steepest mode settles within one step of size 1/curvature: "low rate" or "high rate"."""
        return "low rate" if self.lr < 1 else "high rate"


@dataclass(frozen=True)
class Well:
    """Two basins, of which weights start in the shallower one, or anywhere around the ridge.

    Attributes
    ----------
    number : int
        Its number in the population.
    asymmetry : float
        The tilt as a share of the steepest one with two basins.
    climb : float
        The height of the ridge over the shallower minimum, in units of the temperature lr/2 of AdamW. The gradient has
        noise of standard deviation 1, by which AdamW divides.
    steepness : float
        lr times the curvature of a basin without tilt.
    steps : int
        Of a run, a multiple of 100.
    """

    RANGES: ClassVar[dict[str, Range | Choice]] = {
        "asymmetry": Range(0.05, 0.4),
        "climb": Range(0.3, 3.0, log=True),
        "steepness": Range(0.02, 1.0, log=True),
        "steps": Range(400, 4000, log=True, multiple=100),  # so that sync periods of 5, 10, 20 and 50 end on a sync
    }

    number: int
    asymmetry: float
    climb: float
    steepness: float
    steps: int

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.steepness / (8 * self._barrier)

    @property
    def middle_lr(self) -> float:
        """The middle of the grids: the learning rate at which the climb is two temperatures."""
        return self.lr * self.climb / 2

    @cached_property
    def _barrier(self) -> float:
        # climb*lr/2 = share*barrier and steepness = 8*barrier*lr
        flat = DoubleWell(self.asymmetry * 8 / math.sqrt(27))
        share = float(flat.heights([flat.ridge]) - flat.heights([flat.minima[1]]))
        return math.sqrt(self.climb * self.steepness / (16 * share))

    @default_errors
    def model(self, start: str, replicas: int) -> DoubleWell:
        """Return the landscape.

        Parameters
        ----------
        start : {"shallow", "deep", "ridge"}
            The shallower minimum, the deeper one, or a normal distribution around the ridge with the standard
            deviation 1.
        replicas : int
            At least 1.

        Returns
        -------
        DoubleWell

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        """
        one_of("start", start, ("shallow", "deep", "ridge"))
        tilt = self.asymmetry * 8 * self._barrier / math.sqrt(27)
        shape: dict[str, Any] = {"barrier": self._barrier, "noise": 1.0, "replicas": replicas}
        plain = DoubleWell(tilt, **shape)
        places = {"deep": plain.minima[0], "shallow": plain.minima[1], "ridge": plain.ridge}
        return DoubleWell(tilt, **shape, start=places[start], spread=1.0 if start == "ridge" else 0.0)

    @property
    def kind(self) -> str:
        """Whether weights settle in a basin within five steps, "sharp", or not, "gentle"."""
        return "sharp" if 5 * self.steepness > 1 else "gentle"


@dataclass(frozen=True)
class MovingQuadratic:
    """A noisy quadratic with a power-law spectrum whose minimum moves at every step.

    Attributes
    ----------
    number : int
        Its number in the population.
    modes : int
        Mode j = 1, 2, ... has the curvature ``j**-exponent``.
    exponent : float
        At least 0.
    speed : float
        The distance that the minimum moves in each coordinate per step, with alternating signs.
    noise : float
        The standard deviation of the gradient of a mode over the root of its curvature.
    steps : int
        Of a run, a multiple of 40.
    """

    RANGES: ClassVar[dict[str, Range | Choice]] = {
        "modes": Range(5, 50, log=True, multiple=1),
        "exponent": Range(0, 2),
        "speed": Range(3e-4, 0.03, log=True),
        "noise": Range(0.03, 1.0, log=True),
        "steps": Range(400, 1600, log=True, multiple=40),
    }

    number: int
    modes: int
    exponent: float
    speed: float
    noise: float
    steps: int

    @default_errors
    def model(self, replicas: int, *, moves: bool = True) -> Quadratic:
        """Return the landscape.

        Parameters
        ----------
        replicas : int
            At least 1.
        moves : bool, default True
            Whether the minimum moves.

        Returns
        -------
        Quadratic

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        """
        curvatures = _spectrum(self.modes, self.exponent)
        noise = self.noise * np.sqrt(curvatures)
        drift = [self.speed * (-1) ** j for j in range(self.modes)] if moves else 0.0
        return Quadratic(curvatures, noise=noise, drift=drift, replicas=replicas)

    @property
    def kind(self) -> str:
        """Whether curvatures fall faster than 1/j, "uneven", or not, "round"."""
        return "uneven" if self.exponent > 1 else "round"


@dataclass(frozen=True)
class ParityTask:
    """A small network that learns whether the number of negative inputs is odd.

    Attributes
    ----------
    number : int
        Its number in the population.
    inputs : int
        2 (exclusive or) or 3.
    spare : int
        Hidden units beyond the number of inputs.
    activation : str
        "relu", "tanh" or "sigmoid".
    spread : float
        A row is a corner of the cube plus normal noise of this standard deviation.
    batch_size : int
        Of the training.
    lr : float
        The learning rate of arms with a fixed one.
    steps : int
        Of a run, a multiple of 100.
    """

    RANGES: ClassVar[dict[str, Range | Choice]] = {
        "inputs": Choice((2, 3)),
        "spare": Choice((0, 1, 2)),
        "activation": Choice(("relu", "tanh", "sigmoid")),
        "spread": Range(0.1, 0.4),
        "batch_size": Range(8, 64, log=True, multiple=1),
        "lr": Range(0.01, 0.3, log=True),
        "steps": Range(200, 1000, log=True, multiple=100),
    }

    number: int
    inputs: int
    spare: int
    activation: str
    spread: float
    batch_size: int
    lr: float
    steps: int

    @property
    def model(self) -> MLP:
        """The network."""
        return MLP((self.inputs, self.inputs + self.spare, 2), activation=self.activation)

    @default_errors
    def replicate(self, r: int) -> Dataset:
        """Return fresh rows in three parts.

        Parameters
        ----------
        r : int
            The number of the replicate, in [0, 2**63). In a sweep it is the seed.

        Returns
        -------
        Dataset

        Raises
        ------
        TypeError, ValueError
            If r has another type or lies out of range.
        """
        r = whole_number("r", r, 0, 2**63 - 1)
        n = PARITY_ROWS + 2 * CHECKED_ROWS
        negative = uniforms(n * self.inputs, r, LABELS, block=self.number).reshape(n, self.inputs) < 0.5
        noise = normals(negative.size, r, ROWS, step=self.number).reshape(negative.shape)
        X = 1.0 - 2.0 * negative + self.spread * noise
        X, y = X.astype(np.float32), negative.sum(axis=1) % 2
        parts = np.split(np.arange(n), np.cumsum([PARITY_ROWS, CHECKED_ROWS]))
        return made_dataset(f"P{self.number}", X, y, parts, 2, r)

    @property
    def task(self) -> Task:
        """The task for ``sweep``: every seed has its own rows and its own start."""
        return Task(f"P{self.number}", self.model, self.replicate, self.steps, self.batch_size, eval_at=[])

    @property
    def kind(self) -> str:
        """The activation."""
        return self.activation


def _spectrum(modes: int, exponent: float) -> np.ndarray:
    return np.array([power(j, -exponent) for j in range(1, modes + 1)])


LandscapeTask = NoisyQuadratic | Well | MovingQuadratic | ParityTask | GameTask | RingTask
POPULATIONS: dict[str, Any] = {
    "quadratics": NoisyQuadratic,
    "wells": Well,
    "moving": MovingQuadratic,
    "networks": ParityTask,
    "games": GameTask,
    "ring": RingTask,
}
BLOCKS = {name: 16 + i for i, name in enumerate(POPULATIONS)}  # of the stream, apart from those of `population`


@default_errors
def drawn(name: str, number: int) -> Any:
    """Return a task of a declared population.

    Parameters
    ----------
    name : str
        A key of ``POPULATIONS``.
    number : int
        In [0, 2**32). Numbers below 10,000 are for pilots; registered results use larger ones.

    Returns
    -------
    NoisyQuadratic, Well, MovingQuadratic, ParityTask, GameTask or RingTask
        Its factors are drawn from the ``RANGES`` of its class.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> from lookahead_nb.claims.landscape_tasks import drawn
    >>> drawn("wells", 3) == drawn("wells", 3)
    True
    """
    kind = POPULATIONS[one_of("name", name, POPULATIONS)]
    number = whole_number("number", number, 0, 2**32 - 1)
    quantiles = uniforms(len(kind.RANGES), number, TASKS, block=BLOCKS[name])
    return kind(number, *(factor.at(float(u)) for factor, u in zip(kind.RANGES.values(), quantiles, strict=True)))


@default_errors
def landscape_population(name: str, numbers: Iterable[int]) -> pd.DataFrame:
    """Return the factors of tasks of a declared population.

    Parameters
    ----------
    name : str
        A key of ``POPULATIONS``.
    numbers : iterable of int
        As in :func:`drawn`.

    Returns
    -------
    frame
        A row for each task: ``number``, its factors, and ``class``, its ``kind``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    factors = [field.name for field in fields(POPULATIONS[one_of("name", name, POPULATIONS)])]
    tasks = [drawn(name, number) for number in numbers]
    return pd.DataFrame([{key: getattr(task, key) for key in factors} | {"class": task.kind} for task in tasks])


def landscape_sha256(name: str) -> str:
    """Return the hash of a declared population: results that were measured on other ranges are refused.

    Parameters
    ----------
    name : str
        A key of ``POPULATIONS``.

    Returns
    -------
    str
        SHA-256 as hex digits, of its ranges in their order and the constants of its module.
    """
    kind = POPULATIONS[one_of("name", name, POPULATIONS)]
    constants = getattr(kind, "CONSTANTS", [BETA1, PARITY_RATE, PARITY_ROWS, CHECKED_ROWS])
    return declared_sha256(kind.RANGES, [name, BLOCKS[name], *constants])
