"""Two declared populations of games, made from their numbers alone: games with a known equilibrium, and small GANs.

They are drawn by :func:`.landscape_tasks.drawn`, as the populations of landscapes are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lookahead_nb.checks import default_errors
from lookahead_nb.claims.population import Choice, Range, power
from lookahead_nb.kernels.philox import NOISE, ROWS, normals
from lookahead_nb.models.games import BilinearGame, Game, RingGame, WassersteinGame, matching_pennies

TERMS, BATCH = 100, 10  # of a bilinear game with noise
PAIRS = 2**20  # terms of a GAN: in a run hardly any comes twice
RATE = 0.3  # lr times strength in the middle of the grids of descent
ADAM_RATE, RING_RATE = 0.03, 0.003  # the middle of the grids of Adam in games and in GANs
DESCENT = ("SGD",)


@dataclass(frozen=True)
class GameTask:
    """A game of two players whose equilibrium is known.

    Attributes
    ----------
    number : int
        Its number in the population.
    game : str
        "bilinear", "bilinear with noise", "pennies" or "Wasserstein".
    size : int
        The weights of each player in a bilinear game.
    exponent : float
        Column j = 1, 2, ... of its matrix is normal with the standard deviation ``j**-exponent/sqrt(size)``.
    noise : float
        The standard deviation of the offsets of its terms, if it has noise.
    mean, deviation : float
        Of the data in a Wasserstein game.
    steps : int
        Gradients of both players that each arm may take, a multiple of 20.
    """

    RANGES: ClassVar[dict[str, Range | Choice]] = {
        "game": Choice(("bilinear", "bilinear with noise", "pennies", "Wasserstein")),
        "size": Range(1, 20, log=True, multiple=1),
        "exponent": Range(0, 1),
        "noise": Range(0.03, 0.3, log=True),
        "mean": Range(0, 1),
        "deviation": Range(0.5, 1.5),
        "steps": Range(100, 1000, log=True, multiple=20),
    }
    CONSTANTS: ClassVar[list[Any]] = [TERMS, BATCH, RATE, ADAM_RATE]

    number: int
    game: str
    size: int
    exponent: float
    noise: float
    mean: float
    deviation: float
    steps: int

    @property
    def kind(self) -> str:
        """The game."""
        return self.game

    @property
    def batch_size(self) -> int | None:
        """The terms of a minibatch, or None without noise."""
        return BATCH if self.game == "bilinear with noise" else None

    @default_errors
    def model(self, replicas: int) -> Game:
        """Return the game.

        Parameters
        ----------
        replicas : int
            At least 1, each with a start of its own.

        Returns
        -------
        Game
        """
        if self.game == "pennies":
            return matching_pennies(replicas=replicas)
        if self.game == "Wasserstein":
            spread = [0.2, 0.2, 0.2, 0.2]
            return WassersteinGame(mean=self.mean, deviation=self.deviation, spread=spread, replicas=replicas)
        columns = np.array([power(j, -self.exponent) for j in range(1, self.size + 1)]) / math.sqrt(self.size)
        matrix: Any = normals(self.size**2, self.number, ROWS).reshape(self.size, self.size) * columns
        offsets = np.zeros((2, 1, self.size))
        if self.batch_size:
            offsets = self.noise * normals(2 * TERMS * self.size, self.number, NOISE).reshape(2, TERMS, self.size)
            offsets -= offsets.mean(axis=1, keepdims=True)  # the equilibrium stays at 0
            matrix = np.broadcast_to(matrix, (TERMS, self.size, self.size))
        return BilinearGame(matrix, first=offsets[0], second=offsets[1], start=0.0, spread=1.0, replicas=replicas)

    def centre(self, rule: str) -> float:
        """Return the middle of the grids of learning rates.

        Parameters
        ----------
        rule : str
            The inner optimizer, a name in ``INNER_RULES``.

        Returns
        -------
        float
        """
        if rule not in DESCENT:
            return ADAM_RATE
        if self.game == "pennies":
            return RATE / 0.5
        if self.game == "Wasserstein":
            return RATE / max(1.0, 2 * self.deviation)
        model = self.model(1)
        return RATE / float(model.strengths[0]) if isinstance(model, BilinearGame) else RATE


@dataclass(frozen=True)
class RingTask:
    """A small GAN that learns points on a ring.

    Attributes
    ----------
    number : int
        Its number in the population.
    hidden : int
        The width of both hidden layers of both networks.
    activation : str
        "tanh" or "relu".
    noise : int
        The numbers that a point is made of.
    deviation : float
        Of real points around their centres.
    batch_size : int
        Pairs of a minibatch.
    steps : int
        Gradients of both players that each arm may take, a multiple of 20.
    """

    RANGES: ClassVar[dict[str, Range | Choice]] = {
        "hidden": Choice((16, 32)),
        "activation": Choice(("tanh", "relu")),
        "noise": Choice((2, 4)),
        "deviation": Range(0.03, 0.1, log=True),
        "batch_size": Range(32, 96, log=True, multiple=16),
        "steps": Range(400, 1000, log=True, multiple=20),
    }
    CONSTANTS: ClassVar[list[Any]] = [PAIRS, RING_RATE]

    number: int
    hidden: int
    activation: str
    noise: int
    deviation: float
    batch_size: int
    steps: int

    @property
    def kind(self) -> str:
        """The activation."""
        return self.activation

    @default_errors
    def model(self, seed: int) -> RingGame:
        """Return the game.

        Parameters
        ----------
        seed : int
            In [0, 2**63): of its pairs.

        Returns
        -------
        RingGame

        Raises
        ------
        TypeError, ValueError
            If seed is no such number.
        """
        widths = (self.hidden, self.hidden)
        return RingGame(
            deviation=self.deviation, noise=self.noise, generator=widths, critic=widths, activation=self.activation,
            terms=PAIRS, seed=seed,
        )  # fmt: skip

    def centre(self, rule: str) -> float:  # noqa: ARG002 (of games)
        """Return the middle of the grids of learning rates.

        Parameters
        ----------
        rule : str
            Not used.

        Returns
        -------
        float
        """
        return RING_RATE
