"""How far optimizers end from the equilibrium of the games of :mod:`.game_tasks`, and how good their generators are.

Every optimizer may take the same number of gradients of both players, so that extragradient has half the steps. A
learning rate is chosen on other starts and other noise than those that are reported, by what a player can see without
the equilibrium. In bilinear games this is the length of the full gradient of both, in pennies what both policies could
gain, and of a generator the Wasserstein distance of what it makes from the data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookahead_nb.claims.game_tasks import GameTask, RingTask
from lookahead_nb.models.game import Game
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training.play import MOVES, Played, play

STARTS = 4  # of half a replicate in a game; a GAN has one run
LEAST, MOST = 1e-3, 1e3  # limits of the share of the distance that is left; a run that diverges counts as the upper one
FARTHEST = 10.0  # of a Wasserstein distance on the ring, whose radius is 1


def plays_needed(name: str, replicates: int) -> int:
    """Return how many plays, each with a seed of its own, all replicates need.

    Parameters
    ----------
    name : str
        "games" or "ring"; anything else needs none.
    replicates : int
        At least 1, of two halves each.

    Returns
    -------
    int
    """
    return 2 * replicates if name in ("games", "ring") else 0


def measured(
    task: GameTask | RingTask, opt: Optimizer, moves: str, seeds: Sequence[int], replicates: int
) -> dict[str, np.ndarray]:
    """Let an optimizer play a task, and return what it ends with.

    Parameters
    ----------
    task : GameTask or RingTask
    opt : Optimizer
        Read at its slow weights, if it has some.
    moves : str
        As in :func:`lookahead_nb.play`.
    seeds : sequence of int
        As many as :func:`plays_needed` says.
    replicates : int
        At least 1.

    Returns
    -------
    dict of (replicates, halves) array
        "seen" decides on learning rates. Of a game "distance left", the mean over starts as a share of the distance at
        the start, within ``LEAST`` and ``MOST``. Of a GAN "Wasserstein distance", "bad samples", the share of points
        that are not good, and "missed modes", the share of modes without a good point.
    """
    found = _of_game(task, opt, moves, seeds) if isinstance(task, GameTask) else _of_ring(task, opt, moves, seeds)
    with np.errstate(over="ignore"):  # of what is seen where a game has nearly diverged
        return {name: np.reshape(numbers, (replicates, 2, -1)).mean(axis=-1) for name, numbers in found.items()}


def _of_game(task: GameTask, opt: Optimizer, moves: str, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the numbers of all starts, seed by seed; without noise one play has the starts of all seeds."""
    noisy = task.batch_size is not None
    game = task.model(STARTS * (1 if noisy else len(seeds)))
    parts = []
    for seed in seeds if noisy else seeds[:1]:
        played = _played(game, task, opt, moves, seed)
        weights = _read(played, opt)
        with np.errstate(over="ignore", invalid="ignore"):
            ends = game.distances(weights).sum(axis=1)
            left = ends / game.distances(game.init(seed)).sum(axis=1)
            seen = _seen(task.game, game, weights)
        parts.append((np.nan_to_num(left, nan=MOST, posinf=MOST).clip(LEAST, MOST), np.nan_to_num(seen, nan=np.inf)))
    lefts, seens = zip(*parts, strict=True)
    return {"distance left": np.concatenate(lefts), "seen": np.concatenate(seens)}


def _of_ring(task: RingTask, opt: Optimizer, moves: str, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    rows = []
    for seed in seeds:
        game = task.model(seed)
        quality = game.quality(_read(_played(game, task, opt, moves, seed), opt))
        distance = min(float(quality.wasserstein[0]), FARTHEST)
        rows.append((distance, distance, 1 - quality.good[0], 1 - quality.modes[0] / len(game.centres)))
    return dict(zip(("seen", "Wasserstein distance", "bad samples", "missed modes"), np.array(rows).T, strict=True))


def _played(game: Game, task: GameTask | RingTask, opt: Optimizer, moves: str, seed: int) -> Played:
    steps = task.steps // MOVES[moves]
    dtype = "float32" if isinstance(task, RingTask) else "float64"
    return play(
        game, opt, steps=steps, moves=moves, seed=seed, batch_size=task.batch_size, eval_every=steps, dtype=dtype
    )


def _read(played: Played, opt: Optimizer) -> np.ndarray:
    """Return the weights that are read; NaN where the game has diverged."""
    if np.isinf(played.history["distance"].iloc[-1]):
        return np.full_like(played.params, np.nan)
    return opt.slow_from(played.params, played.state) if opt.has_slow_weights else played.params


def _seen(name: str, game: Game, weights: np.ndarray) -> np.ndarray:
    """Return what decides on learning rates, for each replica."""
    if name in ("pennies", "Wasserstein"):
        of_players = game.distances(weights)
        return of_players.sum(axis=1) if name == "pennies" else of_players[:, 0]
    return np.hypot(*(np.linalg.norm(own, axis=1) for own in game.players(game.field(weights))))
