"""Published benchmarks that can be recomputed here: their problems, and runs that follow their protocol.

The published numbers are in ``data/published``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lookahead_nb.checks import named_arguments, shown, whole_number
from lookahead_nb.datasets import Dataset, unlabelled
from lookahead_nb.kernels.philox import MINIBATCHES, minibatches, permutation
from lookahead_nb.models import FiniteSumQuadratic
from lookahead_nb.models.game import Game
from lookahead_nb.models.games import BilinearGame
from lookahead_nb.optimizers import Lookahead, Optimizer
from lookahead_nb.provenance import published
from lookahead_nb.training.run import train
from lookahead_nb.training.setup import rising_steps

DIMENSIONS, ROWS, BATCH, EPOCHS, DEVIATION = 100, 1000, 128, 100, 0.6
STEPS_PER_EPOCH = ROWS // BATCH
PROBLEMS, MINMAX_TERMS = 5, 100  # of the stochastic games of Chavdarova et al. 2021, each term with a row of its own
GENERATOR = 42  # the seed of the problem; the rows of training, validation and test have this, 43 and 44 in some order


@named_arguments
def quadratic_deep(draw: int = 0) -> tuple[FiniteSumQuadratic, Dataset]:
    """Return the problem ``quadratic_deep`` of DeepOBS.

    Parameters
    ----------
    draw : int
        At least 0. DeepOBS draws the Hessian from a generator that lives as long as the process. So the first run of a
        process has draw 0, the problem that is meant, the second one has draw 1, and so on. The rows are always the
        same.

    Returns
    -------
    model : FiniteSumQuadratic
        Of 100 weights that start at 1. Ninety eigenvalues are uniform in [0, 1], ten in [30, 60], under a random
        rotation.
    data : Dataset
        1000 training rows from N(0, 0.36), 896 validation and test rows. DeepOBS drops the other 104, which do not
        fill a minibatch.

    Raises
    ------
    TypeError, ValueError
        If draw is no such number.

    Notes
    -----
    Source: Schneider, Balles & Hennig 2019, "DeepOBS: a deep learning optimizer benchmark suite", and its code for the
    order of the random numbers. The rotation is that of Diaconis & Shahshahani 1987, "The subgroup algorithm for
    generating uniform random variables". The weights of a minimum on the training rows have a test loss of 87.046.
    """
    return _quadratic_deep(whole_number("draw", draw, 0))


def minmax_games() -> list[BilinearGame]:
    """Return the five bilinear games of the full-batch experiment of Chavdarova et al. 2021.

    Returns
    -------
    list of 5 BilinearGame
        Of 100 weights for each player. The matrix is the identity: all directions have the strength 1.

    Notes
    -----
    Source: the notebook ``bilinear_game/batch_methods.ipynb`` of the repository Chavdarova/LAGAN-Lookahead_Minimax. It
    draws all numbers from NumPy's old generator with seed 3: two whole numbers up to 10,000 and two normal vectors,
    divided by their roots, for each start; then the same for each of the 100 terms of each game, which it adds up.
    """
    rng, d, count = np.random.RandomState(3), 100, 5  # a stream that NumPy has frozen

    def pair() -> tuple[np.ndarray, np.ndarray]:
        parts = [1 / np.sqrt(int(rng.randint(d**2, size=1)[0]) + 1) for _ in range(2)]
        return parts[0] * rng.randn(d), parts[1] * rng.randn(d)

    starts = [np.concatenate(pair()) for _ in range(count)]
    games = []
    for start in starts:
        first, second = (np.sum(terms, axis=0) for terms in zip(*(pair() for _ in range(d)), strict=True))
        games.append(BilinearGame(np.eye(d), first=first, second=second, start=start))
    return games


class StochasticMinmax(Game):
    """The five stochastic bilinear games of Chavdarova et al. 2021, side by side: ``sum of x_i y_i + a_i'x + b_i'y``.

    Each has 100 weights for each player and 100 terms, one for each direction. A step takes the sum of a minibatch of
    these terms. Minibatches of different steps are drawn independently, so that a term of this game is a whole
    minibatch: play it with ``batch_size=1``. The distances are means over the five games.

    Parameters
    ----------
    size : int
        From 1 to 100: terms of a minibatch.

    Attributes
    ----------
    terms : int
        The number of minibatches, so large that hardly any comes twice.
    equilibrium : (2, 5, 100) float64 array
        Of both players.

    Raises
    ------
    TypeError, ValueError
        If size is no such number.

    Notes
    -----
    Source: the notebook ``bilinear_game/LA-MM_stochastic_bilinear.ipynb`` of the repository
    Chavdarova/LAGAN-Lookahead_Minimax. It draws starts and offsets from NumPy's old generator with the seeds 0 to 4,
    and minibatches from a generator without a seed.
    """

    terms = 2**20

    def __init__(self, size: int) -> None:
        self.batch = whole_number("size", size, 1, MINMAX_TERMS)
        starts, offsets = np.empty((2, PROBLEMS, MINMAX_TERMS)), np.empty((PROBLEMS, MINMAX_TERMS, 2, MINMAX_TERMS))
        for problem in range(PROBLEMS):
            rng = np.random.RandomState(problem)  # a stream that NumPy has frozen
            starts[:, problem] = rng.randn(2, MINMAX_TERMS)
            offsets[problem] = rng.randn(MINMAX_TERMS, 2, MINMAX_TERMS)
        self._offsets = offsets / np.sqrt(MINMAX_TERMS)
        self._all = self._offsets.sum(axis=1).transpose(1, 0, 2)
        self.equilibrium = -self._all[::-1]
        weights = PROBLEMS * MINMAX_TERMS
        super().__init__((weights, weights), starts.ravel() / np.sqrt(MINMAX_TERMS), 0.0, 1)

    def _fields(self, first: np.ndarray, second: np.ndarray, terms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        x, y = (own.reshape(PROBLEMS, MINMAX_TERMS) for own in (first, second))
        if terms is None:  # the mean of all minibatches
            share = self.batch / MINMAX_TERMS
            of_first, of_second = share * (y + self._all[0]), share * (x + self._all[1])
        else:
            of_first, of_second = np.zeros((2, PROBLEMS, MINMAX_TERMS))
            for number in terms:
                for problem in range(PROBLEMS):
                    seed = int(number) * PROBLEMS + problem
                    rows = permutation(MINMAX_TERMS, seed, MINIBATCHES)[: self.batch]
                    summed = self._offsets[problem, rows].sum(axis=0) / len(terms)
                    of_first[problem] += summed[0]
                    of_second[problem] += summed[1]
                    of_first[problem, rows] += y[problem, rows] / len(terms)
                    of_second[problem, rows] += x[problem, rows] / len(terms)
        return of_first.reshape(1, -1), -of_second.reshape(1, -1)

    def _losses(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = (own.reshape(PROBLEMS, MINMAX_TERMS) for own in (first, second))
        share = self.batch / MINMAX_TERMS
        loss = share * np.array([(x * y + self._all[0] * x + self._all[1] * y).sum()])
        return loss, -loss

    def _distances(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = np.stack([own.reshape(PROBLEMS, MINMAX_TERMS) for own in (first, second)])
        means = np.linalg.norm(ends - self.equilibrium, axis=2).mean(axis=1)
        return means[:1], means[1:]


@lru_cache(8)
def _quadratic_deep(draw: int) -> tuple[FiniteSumQuadratic, Dataset]:
    generator = np.random.RandomState(GENERATOR)
    for _ in range(draw + 1):
        eigenvalues = np.concatenate([generator.uniform(0, 1, 90), generator.uniform(30, 60, 10)])
        rotation = _rotation(generator, DIMENSIONS)
    hessian = np.zeros((DIMENSIONS, DIMENSIONS))
    for eigenvalue, direction in zip(eigenvalues, rotation, strict=True):
        hessian += np.outer(eigenvalue * direction, direction)
    model = FiniteSumQuadratic((hessian + hessian.T) / 2, start=1.0)
    train_rows, test_rows, validation_rows = (
        np.random.RandomState(GENERATOR + i).normal(0, DEVIATION, (ROWS, DIMENSIONS)) for i in range(3)
    )
    evaluated = STEPS_PER_EPOCH * BATCH
    return model, unlabelled(train_rows, validation_rows[:evaluated], test_rows[:evaluated])


def _rotation(generator: np.random.RandomState, n: int) -> np.ndarray:
    """Return a random (n, n) rotation, uniform over all: a rotation of a plane, then a reflection for each dimension.

    Only elementwise operations and sums over the first axis, whose order NumPy keeps on every CPU.
    """
    angle = 2 * np.pi * generator.uniform()
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for d in range(3, n + 1):
        target = generator.normal(size=d)
        mirror = -target / np.sqrt(_total(target**2))
        mirror[0] += 1  # from the image of the first axis to that axis
        mirror /= np.sqrt(_total(mirror**2))
        larger = np.zeros((d, d))
        larger[0, 0], larger[1:, 1:] = 1, rotation
        rotation = larger - 2 * np.outer(mirror, (mirror[:, None] * larger).sum(axis=0))
    return -rotation


def _total(numbers: np.ndarray) -> float:
    return float(np.add.accumulate(numbers)[-1])


@named_arguments
def published_losses(name: str, metric: str = "test loss") -> pd.DataFrame:
    """Return published losses in the form of :func:`on_quadratic_deep`.

    Parameters
    ----------
    name : str
        A file of ``data/published``: "deepobs" or "crowded_valley".
    metric : str
        "test loss", "minibatch loss" of DeepOBS, or "first minibatch loss" of the epochs of Crowded Valley.

    Returns
    -------
    DataFrame
        Columns ``optimizer``, ``order``, which is "published", ``seed``, ``test_loss``, whatever the metric, and of
        ``lr``, ``step`` and ``epoch`` those that the file has.

    Raises
    ------
    OSError
        If the file is missing.
    """
    frame = published(name)
    rows = frame[frame["metric"] == metric].rename(columns={"value": "test_loss"}).assign(order="published")
    kept = ["optimizer", "lr", "order", "seed", "step", "epoch", "test_loss"]
    return rows[[column for column in kept if column in rows]].reset_index(drop=True)


@named_arguments
def on_quadratic_deep(
    opts: Iterable[Optimizer], *, seeds: Iterable[int], order: str, epochs: Iterable[int] = (EPOCHS,), draw: int = 0
) -> pd.DataFrame:
    """Train on :func:`quadratic_deep` as DeepOBS does, and return the test loss after some epochs.

    Parameters
    ----------
    opts : iterable of Optimizer
    seeds : iterable of int
        Each gives an order of minibatches; the start is always the same.
    order : str
        As in :func:`lookahead_nb.train`. DeepOBS has "repeated".
    epochs : iterable of int
        Each at least 1, rising, of 7 steps. The runs end with the last one.
    draw : int
        As in :func:`quadratic_deep`.

    Returns
    -------
    DataFrame
        Columns ``optimizer``, the class name of the inner optimizer, "Momentum" for SGD with momentum, ``lr``,
        ``order``, ``seed``, ``epoch`` and ``test_loss``. That is the loss of the weights after the step, of Lookahead
        of the fast weights after a sync. It is NaN from where a run diverged.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    return pd.concat(_runs([*opts], [*seeds], order, rising_steps("epochs", epochs), draw), ignore_index=True)


def _runs(opts: list[Any], seeds: list[int], order: str, epochs: list[int], draw: int) -> Iterator[pd.DataFrame]:
    model, data = quadratic_deep(draw)
    steps = [epoch * STEPS_PER_EPOCH for epoch in epochs]
    for opt in opts:
        for seed in seeds:
            run = train(model, data, opt, steps=steps[-1], batch_size=BATCH, eval_at=steps, order=order, seed=seed)
            history = run.history
            after = history[(history["weights"] == "fast") | (history["phase"] == 0)]  # the slow ones after a sync
            losses = after.drop_duplicates("step", keep="last").set_index("step")["test_loss"]
            about = {"optimizer": _name(opt), "lr": opt.inner.lr, "order": order, "seed": seed}
            yield pd.DataFrame(about | {"epoch": epochs, "test_loss": losses[steps].to_numpy()})


@named_arguments
def with_syncs_for_steps(
    opt: Lookahead, *, seeds: Iterable[int], epochs: Iterable[int] = (EPOCHS,), draw: int = 0
) -> pd.DataFrame:
    """Train on :func:`quadratic_deep` as the Lookahead of Crowded Valley does: a sync takes the place of a step.

    The first of every ``sync_period`` minibatches is not used. There the slow weights move and the fast ones are set to
    them, so ``sync_period - 1`` steps lie between two syncs. The minibatches of all epochs are those of the first.

    Parameters
    ----------
    opt : Lookahead
        With a sync period of at least 2: with 1 such a run never leaves its start.
    seeds, epochs, draw
        As in :func:`on_quadratic_deep`.

    Returns
    -------
    DataFrame
        As from :func:`on_quadratic_deep`, with "sync for a step" as ``order``.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Deduced from the stored losses of the benchmark, whose code for it is not public: Schmidt, Schneider & Hennig 2021,
    "Descending through a crowded valley".
    """
    if not isinstance(opt, Lookahead):
        raise TypeError(f"opt must be a Lookahead, got {shown(opt)}")
    whole_number("opt.sync_period", opt.sync_period, 2)
    ends = rising_steps("epochs", epochs)
    about = {"optimizer": _name(opt), "lr": opt.inner.lr, "order": "sync for a step"}
    runs = [about | {"seed": seed, "epoch": ends, "test_loss": _skipping(opt, seed, ends, draw)} for seed in seeds]
    return pd.concat(map(pd.DataFrame, runs), ignore_index=True)


def _name(opt: Any) -> str:
    name = type(opt.inner).__name__
    return "Momentum" if name == "SGD" and opt.inner.momentum else name


def _skipping(opt: Lookahead, seed: int, ends: list[int], draw: int) -> list[float]:
    """Return the test loss after each of these epochs; ours syncs behind the step ahead of the skipped minibatch."""
    model, data = quadratic_deep(draw)
    params = model.init(seed)
    state = (shorter := replace(opt, sync_period=opt.sync_period - 1)).init(params)
    losses, fast = [], params
    for t, rows in enumerate(minibatches(ROWS, BATCH, seed, order="repeated")):
        fast = params
        if t % opt.sync_period:
            _, grad = model.loss_and_grad(params, data.X_train[rows])
            if (t + 1) % opt.sync_period == 0:
                fast = state.ahead_of_sync(params, grad)
            shorter.step(params, grad, state)
        epoch, left = divmod(t + 1, STEPS_PER_EPOCH)
        if not left and epoch in ends:
            losses.append(model.loss(fast, data.X_test))
            if epoch == ends[-1]:
                break
    return losses
