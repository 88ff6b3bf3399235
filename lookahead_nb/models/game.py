"""The base of games of two players: both on one flat buffer, each with a loss of its own.

A game is a model on one flat buffer: the weights of player 1, then those of player 2. It may hold any number of
replicas of both, one replica after the other, with different starts. Each player has a loss of its own. The gradient
that an optimizer follows is the field

    (gradient of player 1's loss by player 1's weights, gradient of player 2's loss by player 2's weights)

which is the gradient of no function. So no loss falls on the way to an equilibrium, and games measure a distance to it
instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lookahead_nb.checks import (
    default_errors,
    float_dtype,
    plain_array,
    real_numbers,
    shown,
    whole_number,
    within_width,
)
from lookahead_nb.kernels.philox import WEIGHTS, normals

_PASSES: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}  # NaN and infinity go through a game


class Game(ABC):
    """The base of games: the layout of the buffer, the start, and the field of both players.

    Parameters
    ----------
    sizes : (int, int)
        How many weights each player has, at least 1.
    start : float or (n,) array
        The weights of both players at the start; n is the sum of sizes.
    spread : float or (n,) array
        At least 0; the standard deviation of a normal distribution of starts around start.
    replicas : int
        At least 1.

    Attributes
    ----------
    sizes : (int, int)
    terms : int
        The number of terms of a finite sum, from which minibatches are drawn; 1 for a game without.
    start, spread : (n,) float64 array
        Read-only.
    replicas : int

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.
    """

    terms = 1

    def __init__(self, sizes: tuple[int, int], start: ArrayLike, spread: ArrayLike, replicas: int) -> None:
        self.sizes, self.replicas = sizes, whole_number("replicas", replicas, 1)
        self.start = self._for_each_weight("start", real_numbers("start", start, -np.inf))
        self.spread = self._for_each_weight("spread", real_numbers("spread", spread, 0))

    def _for_each_weight(self, name: str, numbers: np.ndarray) -> np.ndarray:
        n = sum(self.sizes)
        if numbers.shape not in ((), (n,)):
            raise ValueError(f"{name} must be a number or ({n},), one for each weight, got {numbers.shape}")
        return np.broadcast_to(numbers, (n,))

    @property
    def size(self) -> int:
        """The number of weights: replicas times those of both players."""
        return self.replicas * sum(self.sizes)

    def __repr__(self) -> str:
        first, second = self.sizes
        return f"{type(self).__name__}({first} and {second} weights, replicas={self.replicas})"

    @default_errors
    def init(self, seed: int = 0, dtype: DTypeLike = "float64") -> np.ndarray:
        """Return the weights at the start of all replicas: start, or ``start + spread*normal``.

        Parameters
        ----------
        seed : int
            In [0, 2**63); without a spread it changes nothing.
        dtype : str
            "float32" or "float64".

        Returns
        -------
        (size,) array
            A new buffer of this dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range, or a start overflows the dtype.
        """
        seed, width = whole_number("seed", seed, 0, 2**63 - 1), float_dtype("dtype", dtype)
        weights = np.tile(self.start, (self.replicas, 1))
        if self.spread.any():
            weights += self.spread * normals(self.size, seed, WEIGHTS).reshape(weights.shape)
        within_width("start", weights, width)
        return weights.ravel().astype(width)

    def players(self, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of both players.

        Parameters
        ----------
        params : (size,) array
            NaN and infinity stay.

        Returns
        -------
        first : (replicas, n1) array
        second : (replicas, n2) array
            Views of params.

        Raises
        ------
        TypeError, ValueError
            If params is no array of size numbers.
        """
        params = plain_array("params", params)
        if params.dtype.kind not in "fiu":
            raise TypeError(f"params must hold real numbers, got {params.dtype}")
        if params.shape != (self.size,):
            raise ValueError(f"params must be ({self.size},), the weights of both players, got {params.shape}")
        both = params.reshape(self.replicas, sum(self.sizes))
        return both[:, : self.sizes[0]], both[:, self.sizes[0] :]

    @default_errors
    def field(self, params: np.ndarray, terms: np.ndarray | None = None) -> np.ndarray:
        """Return the gradients of both players, each of its own loss.

        Parameters
        ----------
        params : (size,) array
            NaN and infinity pass through.
        terms : (m,) int array, optional
            The minibatch, numbers of terms of a finite sum; default: all terms.

        Returns
        -------
        (size,) array
            A new array in the dtype of params, float64 for whole numbers.

        Raises
        ------
        TypeError, ValueError
            If params is no array of size numbers, or terms are not numbers of at least one term.
        """
        first, second = self.players(params)
        if terms is not None:
            terms = self._numbers_of_terms(terms)
        width = np.result_type(first.dtype, np.float32) if first.dtype.kind == "f" else np.float64
        with np.errstate(**_PASSES):
            return np.concatenate(self._fields(first, second, terms), axis=1, dtype=width, casting="same_kind").ravel()

    def _numbers_of_terms(self, terms: Any) -> np.ndarray:
        numbers = plain_array("terms", terms)
        if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu":
            raise TypeError(f"terms must be a list of at least one whole number, got {shown(terms)}")
        if numbers.min() < 0 or numbers.max() >= self.terms:
            raise ValueError(f"terms must be from 0 to {self.terms - 1}, got {numbers.min()} to {numbers.max()}")
        return numbers

    @default_errors
    def losses(self, params: np.ndarray) -> np.ndarray:
        """Return the losses of both players over all terms.

        Parameters
        ----------
        params : (size,) array
            NaN and infinity pass through.

        Returns
        -------
        (replicas, 2) float64 array

        Raises
        ------
        TypeError, ValueError
            If params is no array of size numbers.
        """
        first, second = self.players(params)
        with np.errstate(**_PASSES):
            return np.stack(self._losses(first, second), axis=1).astype(np.float64)

    @default_errors
    def distances(self, params: np.ndarray) -> np.ndarray:
        """Return how far each player is from an equilibrium; both are 0 there and only there.

        Parameters
        ----------
        params : (size,) array
            NaN and infinity pass through.

        Returns
        -------
        (replicas, 2) float64 array
            What is measured depends on the game, see its class.

        Raises
        ------
        TypeError, ValueError
            If params is no array of size numbers.
        """
        first, second = self.players(params)
        with np.errstate(**_PASSES):
            return np.stack(self._distances(first, second), axis=1).astype(np.float64)

    @abstractmethod
    def _fields(
        self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def _losses(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def _distances(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
