"""A small generative adversarial network (GAN): two dense networks that play for points on a ring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, real_number, shown, whole, whole_number
from lookahead_nb.kernels.cpu import adversarial
from lookahead_nb.models.dense import ACTIVATIONS, DenseLayers
from lookahead_nb.models.game import Game

COORDINATES = 2
GOOD = 3.0  # standard deviations around a centre within which a point is a good one
COMPARED = 256  # points in a Wasserstein distance
JUDGED = 2048  # points for the share of good ones


class Quality(NamedTuple):
    """How good the points of generators are.

    Attributes
    ----------
    modes : (replicas,) int array
        How many modes have at least one good point.
    good : (replicas,) array
        The share of good points, those within three standard deviations of a centre.
    wasserstein : (replicas,) array
        The 1-Wasserstein distance between points that were made and fresh real ones; infinite if a generator has
        overflowed.
    """

    modes: np.ndarray
    good: np.ndarray
    wasserstein: np.ndarray


@named_arguments
class RingGame(Game):
    """A GAN on a ring: a generator makes points, a critic tells them from normal points around centres on a circle.

    Player 1 is the generator, a dense network from noise to a point. Player 2 is the critic, a dense network from a
    point to one logit z. The critic descends ``mean softplus(-z)`` over real points plus ``mean softplus(z)`` over made
    ones. The generator descends ``mean softplus(-z)`` over the points that it makes, the loss that does not saturate
    where the critic is sure. So the game is not zero-sum. At the equilibrium the generator makes the data, and the
    critic has the logit 0 for all points.

    The terms are pairs of a real point and a noise vector. With a ``batch_size`` each step of :func:`lookahead_nb.play`
    takes some of them. The distance of player 1 is the 1-Wasserstein distance between 256 made points and as many fresh
    real ones, see :meth:`quality`. That of player 2 is the root mean square of its logits on both.

    Parameters
    ----------
    modes : int
        At least 1: centres, evenly spaced on a circle of radius 1 around 0.
    deviation : float
        Above 0: the standard deviation of real points around their centre, in each coordinate.
    noise : int
        At least 1: the standard normal numbers that a point is made of.
    generator, critic : sequence of int
        Hidden widths; () has no hidden layer.
    activation : str
        "tanh", "relu" or "sigmoid", of both networks.
    terms : int
        From 1 to 2**31: the number of pairs.
    seed : int
        In [0, 2**63): of the pairs.
    replicas : int
        At least 1. All get the same pairs, and each has a start of its own.

    Attributes
    ----------
    centres : (modes, 2) float64 array
    deviation : float
    noise, terms, seed : int
    generator, critic : DenseLayers
        Both networks.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    At the start weights W are normal with the variance 1/fan_in, and biases are 0. The ring is that of Metz et al.
    2017, "Unrolled generative adversarial networks", section 3.1. The losses are those of Goodfellow et al. 2014. A
    Wasserstein GAN that clips its weights would need a projection after each step, and its clipping is one more
    setting to tune; with the losses used here a step of any optimizer is all there is.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> game = lnb.games.RingGame(modes=4, generator=(16,), critic=(16,))
    >>> game.sizes
    (82, 65)
    >>> opt = lnb.Lookahead(lnb.Adam(0.01, beta1=0.5))
    >>> played = lnb.play(game, opt, steps=300, batch_size=64, eval_every=300, dtype="float32")
    >>> game.quality(played.params).modes.tolist()
    [4]
    """

    def __init__(
        self,
        *,
        modes: int = 8,
        deviation: float = 0.05,
        noise: int = 2,
        generator: Iterable[int] = (32, 32),
        critic: Iterable[int] = (32, 32),
        activation: str = "tanh",
        terms: int = 4096,
        seed: int = 0,
        replicas: int = 1,
    ) -> None:
        turns = 2 * np.pi * np.arange(whole_number("modes", modes, 1, 2**20)) / modes
        self.centres = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        self.centres.flags.writeable = False
        self.deviation = real_number("deviation", deviation, 0, open_low=True)
        self.noise = whole_number("noise", noise, 1, 2**20)
        activation = one_of("activation", activation, tuple(ACTIVATIONS))
        self.generator = DenseLayers([self.noise, *_widths("generator", generator), COORDINATES], activation)
        self.critic = DenseLayers([COORDINATES, *_widths("critic", critic), 1], activation)
        self.terms = whole_number("terms", terms, 1, 2**31)
        self.seed = whole_number("seed", seed, 0, 2**63 - 1)
        spread = np.concatenate([_spread(self.generator), _spread(self.critic)])
        super().__init__((self.generator.size, self.critic.size), 0.0, spread, replicas)

    @default_errors
    def samples(self, params: np.ndarray, n: int = JUDGED) -> np.ndarray:
        """Return points that the generators make of fresh noise, which is in no term.

        Parameters
        ----------
        params : (size,) array
            The weights of both players; NaN and infinity pass through.
        n : int
            From 1 to 2**31: points of each replica, the same noise for all.

        Returns
        -------
        (replicas, n, 2) float64 array

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.
        """
        first, _ = self.players(params)
        n = whole_number("n", n, 1, 2**31)
        noise = self._pairs(self.terms + np.arange(n), np.float64)[1]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.stack([self.generator.computed(weights.astype(np.float64), noise) for weights in first])

    @default_errors
    def real(self, n: int = JUDGED) -> np.ndarray:
        """Return real points that are in no term.

        Parameters
        ----------
        n : int
            From 1 to 2**31. The centres take turns.

        Returns
        -------
        (n, 2) float64 array

        Raises
        ------
        TypeError, ValueError
            If n is no such number.
        """
        return self._pairs(self.terms + np.arange(whole_number("n", n, 1, 2**31)), np.float64)[0]

    @default_errors
    def quality(self, params: np.ndarray, n: int = JUDGED) -> Quality:
        """Return how good the points are that the generators make.

        Parameters
        ----------
        params : (size,) array
            The weights of both players; NaN and infinity count as points far from all modes.
        n : int
            From 1 to 2**31: points that are counted. The Wasserstein distance always takes 256.

        Returns
        -------
        Quality

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.

        Notes
        -----
        A point is good if it lies within three standard deviations of a centre, and a mode is covered if a good point
        lies at it: Srivastava et al. 2017, "VEEGAN", section 4.1. The Wasserstein distance is exact for its two
        samples, the lowest mean distance over all ways to pair them. Real points in equal numbers at all modes are
        their own sample, so two samples of the data are still apart: by 0.09 with the default ring.
        """
        made = self.samples(params, n)
        apart = np.hypot(*np.moveaxis(made[:, :, None] - self.centres, -1, 0))
        nearest, is_good = apart.argmin(axis=2), apart.min(axis=2) <= GOOD * self.deviation
        modes = [np.unique(own[good]).size for own, good in zip(nearest, is_good, strict=True)]
        distances = np.array([self._wasserstein(points) for points in self.samples(params, COMPARED)])
        return Quality(np.array(modes), is_good.mean(axis=1), distances)

    def _fields(self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        *grads, _ = self._gradients(first, second, terms)
        return grads[0], grads[1]

    def _losses(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        losses = self._gradients(first, second, None)[2]
        return losses[:, 0], losses[:, 1]

    def _distances(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        real, noise = self._pairs(self.terms + np.arange(COMPARED), np.float64)
        distances, logits = np.empty((2, len(first)))
        for i, (generator, critic) in enumerate(zip(first, second, strict=True)):
            made = self.generator.computed(generator.astype(np.float64), noise)
            distances[i] = self._wasserstein(made)
            judged = self.critic.computed(critic.astype(np.float64), np.concatenate([real, made]))
            logits[i] = np.sqrt(np.mean(judged**2))
        return distances, logits

    def _gradients(
        self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the gradients of both players, and the losses (replicas, 2)."""
        width: Any = first.dtype.type if first.dtype in (np.float32, np.float64) else np.float64
        real, noise = self._pairs(np.arange(self.terms) if terms is None else terms, width)
        shape = self.generator.sizes, self.critic.sizes, self.generator.activation_code
        space = np.empty(adversarial.space_size(*shape[:2], len(real)), width)
        grads = np.empty(first.shape, width), np.empty(second.shape, width)
        losses = np.empty((len(first), 2))
        for i, both in enumerate(zip(first, second, strict=True)):
            weights = [np.ascontiguousarray(own, width) for own in both]
            written = grads[0][i], grads[1][i], losses[i]
            adversarial.gradients(width)(*weights, real, noise, *shape, *written, space)
        return *grads, losses

    def _pairs(self, numbers: np.ndarray, width: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return real points and noise."""
        real, noise = np.empty((len(numbers), COORDINATES), width), np.empty((len(numbers), self.noise), width)
        numbers = np.ascontiguousarray(numbers, np.int64)
        adversarial.pairs(width)(np.uint64(self.seed), numbers, self.centres, self.deviation, real, noise)
        return real, noise

    def _wasserstein(self, made: np.ndarray) -> float:
        """Return the 1-Wasserstein distance of points to as many real ones."""
        optimize = whole("scipy.optimize")  # imported late: it would double the import time of the package

        with np.errstate(over="ignore", invalid="ignore"):
            costs = np.hypot(*np.moveaxis(made[:, None] - self.real(len(made)), -1, 0))
        if not np.isfinite(costs).all():
            return np.inf
        return float(costs[optimize.linear_sum_assignment(costs)].mean())


def _widths(name: str, widths: Any) -> list[int]:
    if not np.iterable(widths) or isinstance(widths, str):
        raise TypeError(f"{name} must be a sequence of hidden widths such as (32, 32), got {shown(widths)}")
    return [whole_number(f"{name}[{i}]", width, 1, 2**20) for i, width in enumerate(widths)]


def _spread(layers: DenseLayers) -> np.ndarray:
    """Return the standard deviation of each weight at the start."""
    spread = np.zeros(layers.size)
    for part in layers.unpack(spread).values():
        if part.ndim == 2:
            part[:] = 1 / np.sqrt(part.shape[1])
    return spread
