"""Games of two players with gradients by hand: bilinear games, softmax policies, a Wasserstein game, a small GAN.

What a game is, and what its buffer holds, is described in :mod:`.game`; the GAN is in :mod:`.ring`.
``lookahead_nb.play`` lets an optimizer play a game.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lookahead_nb.checks import default_errors, named_arguments, real_number, real_numbers
from lookahead_nb.kernels.philox import NOISE, normals
from lookahead_nb.models.game import Game
from lookahead_nb.models.ring import RingGame

__all__ = [
    "BilinearGame",
    "Game",
    "MatrixGame",
    "RingGame",
    "WassersteinGame",
    "examples",
    "matching_pennies",
    "rock_paper_scissors",
]

_SOLVED = 1e-9  # of the offsets: what an equilibrium may leave of the mean field


@named_arguments
class BilinearGame(Game):
    """The game min_x max_y ``x'M y + a'x + b'y``, the mean of any number of terms.

    Player 1 has x and descends this loss, player 2 has y and descends its negative. The distances are the Euclidean
    ones of x and y from the equilibrium. Near it the players go round each other, in each pair of singular directions
    of M at the speed of its singular value, the strength of this direction.

    Parameters
    ----------
    matrix : (n1, n2) or (terms, n1, n2) array
        M, of one term or of each.
    first : float, (n1,) or (terms, n1) array
        a, of all terms or of each.
    second : float, (n2,) or (terms, n2) array
        b, of all terms or of each.
    start, spread, replicas
        As in :class:`Game`.

    Attributes
    ----------
    matrix : (n1, n2) float64 array
        The mean of the terms.
    strengths : (min(n1, n2),) float64 array
        Its singular values, falling.
    equilibrium : (n1 + n2,) float64 array
        That with the smallest weights, if there are several.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, lies out of range, or the game has no equilibrium.

    Notes
    -----
    Source: Chavdarova et al. 2021, section 5.1 for the finite sum.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.models.games import BilinearGame
    >>> game = BilinearGame(np.diag([1.0, 0.5]), first=[1.0, 0.0])
    >>> game.equilibrium.tolist(), game.field(np.array([1.0, 1.0, 0.0, 2.0])).tolist()
    ([0.0, 0.0, -1.0, 0.0], [1.0, 1.0, -1.0, -0.5])
    """

    def __init__(
        self,
        matrix: ArrayLike,
        *,
        first: ArrayLike = 0.0,
        second: ArrayLike = 0.0,
        start: ArrayLike = 1.0,
        spread: ArrayLike = 0.0,
        replicas: int = 1,
    ) -> None:
        matrices = real_numbers("matrix", matrix, -np.inf)
        if matrices.ndim not in (2, 3) or not matrices.size:
            shape = "an (n1, n2) or (terms, n1, n2) array, with at least one weight for each of two players"
            raise ValueError(f"matrix must be {shape}, got {matrices.shape}")
        self._matrices = matrices if matrices.ndim == 3 else matrices[None]
        self.terms, *sizes = self._matrices.shape
        super().__init__((sizes[0], sizes[1]), start, spread, replicas)
        self._first = self._offsets("first", first, sizes[0])
        self._second = self._offsets("second", second, sizes[1])
        self._means = self.matrix, a, b = tuple(part.mean(0) for part in (self._matrices, self._first, self._second))
        self.strengths = np.linalg.svd(self.matrix, compute_uv=False)
        x, y = np.linalg.lstsq(self.matrix.T, -b)[0], np.linalg.lstsq(self.matrix, -a)[0]
        left = np.concatenate([self.matrix @ y + a, self.matrix.T @ x + b])
        if np.abs(left).max() > _SOLVED * max(np.abs(a).max(), np.abs(b).max()):
            raise ValueError("matrix must let first and second be balanced, but the game has no equilibrium")
        self.equilibrium = np.concatenate([x, y])

    def _offsets(self, name: str, value: ArrayLike, n: int) -> np.ndarray:
        offsets = real_numbers(name, value, -np.inf)
        if offsets.shape not in ((), (n,), (self.terms, n)):
            shapes = f"a number, ({n},) or ({self.terms}, {n}) beside a matrix {self._matrices.shape}"
            raise ValueError(f"{name} must be {shapes}, got {offsets.shape}")
        return np.broadcast_to(offsets, (self.terms, n))

    def _fields(self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        M, a, b = self._means
        if terms is not None:
            M, a, b = (part[terms].mean(0) for part in (self._matrices, self._first, self._second))
        return second @ M.T + a, -(first @ M + b)

    def _losses(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        M, a, b = self._means
        loss = ((first @ M) * second).sum(1) + first @ a + second @ b
        return loss, -loss

    def _distances(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.split(self.equilibrium, [self.sizes[0]])
        return np.linalg.norm(first - x, axis=1), np.linalg.norm(second - y, axis=1)


@named_arguments
class MatrixGame(Game):
    """A zero-sum game of two softmax policies: player 1 pays player 2 ``p'A q``.

    The weights are the logits of both policies p and q. The distance of a player is what it could gain by its best
    reply: ``p'A q - min(A q)`` for player 1, ``max(A'p) - p'A q`` for player 2. Both are 0 at an equilibrium.

    Parameters
    ----------
    payoff : (n1, n2) array
        A: what player 1 pays if it plays its action i and player 2 its action j; at least two actions for each.
    start, spread, replicas
        As in :class:`Game`; the start are logits.

    Attributes
    ----------
    payoff : (n1, n2) float64 array
        Read-only.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.models.games import matching_pennies
    >>> game = matching_pennies()
    >>> game.policies(np.zeros(4))
    (array([[0.5, 0.5]]), array([[0.5, 0.5]]))
    >>> game.distances(np.zeros(4)).tolist()
    [[0.0, 0.0]]
    """

    def __init__(
        self, payoff: ArrayLike, *, start: ArrayLike = 0.0, spread: ArrayLike = 1.0, replicas: int = 1
    ) -> None:
        self.payoff = real_numbers("payoff", payoff, -np.inf)
        if self.payoff.ndim != 2 or min(self.payoff.shape) < 2:
            shape = "an (n1, n2) array, with at least two actions for each of two players"
            raise ValueError(f"payoff must be {shape}, got {self.payoff.shape}")
        super().__init__((self.payoff.shape[0], self.payoff.shape[1]), start, spread, replicas)

    @default_errors
    def policies(self, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the policies of both players.

        Parameters
        ----------
        params : (size,) array
            Logits; NaN passes through.

        Returns
        -------
        p : (replicas, n1) float64 array
        q : (replicas, n2) float64 array

        Raises
        ------
        TypeError, ValueError
            If params is no array of size numbers.
        """
        p, q = map(_softmax, self.players(params))
        return p, q

    def _fields(self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
        p, q = _softmax(first), _softmax(second)
        costs, gains = q @ self.payoff.T, p @ self.payoff
        paid = (p * costs).sum(1, keepdims=True)
        return p * (costs - paid), -(q * (gains - paid))

    def _losses(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        paid = ((_softmax(first) @ self.payoff) * _softmax(second)).sum(1)
        return paid, -paid

    def _distances(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q = _softmax(first), _softmax(second)
        costs, gains = q @ self.payoff.T, p @ self.payoff
        paid = (p * costs).sum(1)
        return paid - costs.min(1), gains.max(1) - paid


@named_arguments
def matching_pennies(*, start: ArrayLike = 0.0, spread: ArrayLike = 1.0, replicas: int = 1) -> MatrixGame:
    """Return matching pennies: player 1 pays 1 if both coins show the same side, and gets 1 if not.

    Parameters
    ----------
    start, spread, replicas
        As in :class:`MatrixGame`.

    Returns
    -------
    MatrixGame
        At its equilibrium all actions are equally probable.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.
    """
    return MatrixGame([[1.0, -1.0], [-1.0, 1.0]], start=start, spread=spread, replicas=replicas)


@named_arguments
def rock_paper_scissors(*, start: ArrayLike = 0.0, spread: ArrayLike = 1.0, replicas: int = 1) -> MatrixGame:
    """Return rock, paper, scissors: the loser pays 1.

    Parameters
    ----------
    start, spread, replicas
        As in :class:`MatrixGame`.

    Returns
    -------
    MatrixGame
        At its equilibrium all actions are equally probable.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.
    """
    payoff = [[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]  # of rock against rock, paper, scissors
    return MatrixGame(payoff, start=start, spread=spread, replicas=replicas)


@named_arguments
class WassersteinGame(Game):
    """A generator of normal numbers against a quadratic critic, in one dimension and with exact expectations.

    The generator makes ``g = shift + scale*z`` of a standard normal z; the data are normal with a mean and a standard
    deviation. The critic is ``D(x) = u*x + v*x**2``. Player 1, the generator (shift, scale), minimises
    ``E D(data) - E D(g)``. Player 2, the critic (u, v), maximises it. At the equilibrium the generator makes the data,
    and the critic is 0. The distance of player 1 is the 2-Wasserstein distance of g and the data; that of player 2 is
    the length of (u, v).

    Parameters
    ----------
    mean : float
        Of the data.
    deviation : float
        Above 0; the standard deviation of the data.
    start, spread, replicas
        As in :class:`Game`; the weights are (shift, scale, u, v).

    Attributes
    ----------
    mean, deviation : float

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or lies out of range.

    Notes
    -----
    ``E D(data) - E D(g) = u*(mean - shift) + v*(mean**2 + deviation**2 - shift**2 - scale**2)``. Source: the quadratic
    critic of Nagarajan & Kolter 2017, section 3, with a shift.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.models.games import WassersteinGame
    >>> game = WassersteinGame(mean=1.0, deviation=0.5)
    >>> game.distances(np.array([1.0, 0.5, 0.0, 0.0])).tolist()
    [[0.0, 0.0]]
    """

    def __init__(
        self,
        *,
        mean: float = 0.5,
        deviation: float = 1.0,
        start: ArrayLike = (0.0, 0.5, 0.0, 0.0),
        spread: ArrayLike = 0.0,
        replicas: int = 1,
    ) -> None:
        self.mean = real_number("mean", mean, -np.inf)
        self.deviation = real_number("deviation", deviation, 0, open_low=True)
        super().__init__((2, 2), start, spread, replicas)

    def _fields(self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
        (shift, scale), (u, v) = first.T, second.T
        of_generator = np.stack([-u - 2 * v * shift, -2 * v * scale], axis=1)
        return of_generator, -np.stack(self._apart(shift, scale), axis=1)

    def _losses(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means, squares = self._apart(*first.T)
        loss = second[:, 0] * means + second[:, 1] * squares
        return loss, -loss

    def _distances(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shift, scale = first.T
        return np.hypot(shift - self.mean, np.abs(scale) - self.deviation), np.hypot(*second.T)

    def _apart(self, shift: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the differences of means and of mean squares, data minus generator."""
        return self.mean - shift, self.mean**2 + self.deviation**2 - shift**2 - scale**2


@named_arguments
def examples(*, replicas: int = 1) -> dict[str, Game]:
    """Return a game of every kind, by name.

    Parameters
    ----------
    replicas : int
        At least 1.

    Returns
    -------
    dict of str to Game
        "twenty strengths": a bilinear game with strengths from 0.2 to 1. "noise": the same as a sum of 100 terms, whose
        offsets have the standard deviation 0.1. "pennies", "rock, paper, scissors" and "Wasserstein": as above, all
        with random starts.

    Raises
    ------
    TypeError, ValueError
        If replicas is no whole number of at least 1.

    Examples
    --------
    >>> from lookahead_nb.models.games import examples
    >>> [*examples()]
    ['twenty strengths', 'noise', 'pennies', 'rock, paper, scissors', 'Wasserstein']
    """
    strengths, (first, second) = np.diag(np.linspace(0.2, 1, 20)), normals(4000, 0, NOISE).reshape(2, 100, 20) / 10
    many: dict[str, Any] = {"start": 0.0, "spread": 1.0, "replicas": replicas}
    return {
        "twenty strengths": BilinearGame(strengths, **many),
        "noise": BilinearGame(np.tile(strengths, (100, 1, 1)), first=first, second=second, **many),
        "pennies": matching_pennies(replicas=replicas),
        "rock, paper, scissors": rock_paper_scissors(replicas=replicas),
        "Wasserstein": WassersteinGame(spread=0.2, replicas=replicas),
    }


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return the policies of logits, row by row, in float64."""
    logits = logits.astype(np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
