"""Games: an optimizer steps both players, with the gradient taken in one of four ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from lookahead_nb.checks import default_errors, named_arguments, of_type, one_of, whole, whole_number
from lookahead_nb.kernels.philox import minibatches
from lookahead_nb.models.game import Game
from lookahead_nb.optimizers import Optimizer, State
from lookahead_nb.training.grid import grid
from lookahead_nb.training.setup import check_rates

if TYPE_CHECKING:
    import pandas as pd

# Way of taking the gradient -> gradients per step, where one is that of both players.
MOVES = {"simultaneous": 1, "alternating": 1, "extragradient": 2, "optimistic": 1}


class Played(NamedTuple):
    """What :func:`play` returns.

    Attributes
    ----------
    history : frame
        One row per evaluated step, kind of weights and replica: ``step``, ``gradients`` (how many were taken so far,
        each of both players), ``weights``, ``replica``, ``first`` and ``second``, the distances of both players, and
        ``distance``, their sum.
    params : (size,) array
        The fast weights at the end.
    state : State
        That of the optimizer.
    """

    history: pd.DataFrame
    params: np.ndarray
    state: State


class Arm(NamedTuple):
    """How to play a game, and which weights to read.

    Attributes
    ----------
    opt : Optimizer
    moves : str
        As in :func:`play`.
    weights : str
        "fast", "average" or "slow".
    """

    opt: Optimizer
    moves: str = "simultaneous"
    weights: str = "fast"


@named_arguments
@default_errors
def play(
    game: Game,
    opt: Optimizer,
    *,
    steps: int,
    moves: str = "simultaneous",
    seed: int = 0,
    batch_size: int | None = None,
    eval_every: int = 1,
    dtype: DTypeLike = "float64",
) -> Played:
    """Let one optimizer play both sides of a game, and return the distances from the equilibrium on the way.

    The optimizer steps the flat buffer of both players, so that Lookahead pulls both back in the same sync. Only the
    gradient that it gets depends on moves:

    - "simultaneous": of both players at the current weights.
    - "alternating": that of player 1 at the current weights, then that of player 2 against the moved player 1. At a
      sync, player 2 still answers the weights ahead of the pull.
    - "extragradient": of both players where a step with the current gradient would take them, two gradients a step.
    - "optimistic": twice the current gradient less the previous one.

    Parameters
    ----------
    game : Game
    opt : Optimizer
        An inner optimizer, Lookahead or EMA.
    steps : int
        At least 1.
    moves : str
    seed : int
        In [0, 2**63): of the start and of the minibatches.
    batch_size : int, optional
        Terms of a finite sum in each minibatch, from 1 to ``game.terms``; default: all of them. All gradients of a step
        are taken on the same minibatch.
    eval_every : int
        At least 1; the last step is evaluated too.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    Played
        The kinds of weights in its history: "fast", at a step with a sync ahead of the pull; "average", the plain mean
        of the fast weights of all steps so far and the start; and "slow", if the optimizer has slow weights. Where they
        overflow, the game has diverged, and its distances are infinite from then on.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or opt has rates for fewer steps, or fits its slow steps
        to several replicas.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> game = lnb.games.BilinearGame([[1.0]])
    >>> for opt in (lnb.SGD(0.1), lnb.Lookahead(lnb.SGD(0.1))):
    ...     history = lnb.play(game, opt, steps=500).history
    ...     print(history[history.weights == "fast"].distance.iloc[-1].round(4))
    21.862
    0.2983
    """
    of_type("game", game, Game, "a game such as BilinearGame")
    of_type("opt", opt, Optimizer, "an inner optimizer, Lookahead or EMA")
    steps, eval_every = whole_number("steps", steps, 1), whole_number("eval_every", eval_every, 1)
    check_rates("opt", opt, steps)
    if opt.adapts and game.replicas > 1:
        reason = "an adaptive slow_step_size would couple the replicas of a game"
        raise ValueError(f"opt must have given slow steps where replicas={game.replicas}: {reason}")
    one_of("moves", moves, tuple(MOVES))
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    size = game.terms if batch_size is None else whole_number("batch_size", batch_size, 1, game.terms)
    batches = None if size == game.terms else minibatches(game.terms, size, seed)
    params = game.init(seed, dtype)
    state = opt.init(params)
    evaluated = [*range(0, steps, eval_every), steps]
    kinds = ["fast", "average", *(["slow"] if opt.has_slow_weights else [])]
    found = np.full((len(evaluated), len(kinds), game.replicas, 2), np.inf)
    mean, previous, ahead = params.astype(np.float64), None, params
    period = opt.sync.period if opt.sync and opt.sync.pull_back else steps + 1
    for t in range(steps + 1):
        if t:
            terms = None if batches is None else next(batches)
            grad, previous = _gradient(game, params, state, moves, terms, previous)
            try:
                ahead = params if t % period else state.ahead_of_sync(params, grad)
                opt.step(params, grad, state)
            except FloatingPointError:  # of the gradient
                break
            if not (np.isfinite(ahead).all() and np.isfinite(params).all()):
                break
            mean += (ahead - mean) / (t + 1)
        if t in (steps, evaluated[t // eval_every]):
            weights = [ahead, mean, *([opt.slow_from(params, state)] if opt.has_slow_weights else [])]
            found[-1 if t == steps else t // eval_every] = [game.distances(each) for each in weights]
    return Played(_history(found, evaluated, kinds, MOVES[moves]), params, state)


@named_arguments
def play_arms(
    game: Game,
    arms: dict[str, Arm],
    *,
    gradients: int,
    eval_every: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Let every arm play the same game for the same number of gradients.

    Parameters
    ----------
    game : Game
    arms : dict of str to Arm
        By name; at least one.
    gradients : int
        At least 2, of both players. Extragradient takes half as many steps.
    eval_every, seed, batch_size
        As in :func:`play`.

    Returns
    -------
    frame
        The rows of :func:`play` with the weights of each arm, and its name as the first column, ``arm``.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or an arm reads weights that it does not have.
    """
    pd = whole("pandas")

    if not arms:
        raise ValueError("arms must hold at least one arm, got none")
    gradients = whole_number("gradients", gradients, 2)
    found = []
    for name, (opt, moves, weights) in arms.items():
        of_type("arms", opt, Optimizer, "arms whose opt is an inner optimizer, Lookahead or EMA")
        one_of("weights", weights, ("fast", "average", "slow") if opt.has_slow_weights else ("fast", "average"))
        steps = gradients // MOVES[one_of("moves", moves, tuple(MOVES))]
        how: dict[str, Any] = {"moves": moves, "eval_every": eval_every, "seed": seed, "batch_size": batch_size}
        history = play(game, opt, steps=steps, **how).history
        found.append(history[history["weights"] == weights].assign(arm=name))
    rows = pd.concat(found, ignore_index=True)
    return rows[["arm", *rows.columns.drop("arm")]]


@named_arguments
def distances_left(
    game: Game,
    arms: dict[str, Arm],
    *,
    lr: Sequence[float],
    gradients: int,
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Return how much of the distance is left after the same number of gradients, for arms at several learning rates.

    Parameters
    ----------
    game, arms, gradients, seed, batch_size
        As in :func:`play_arms`.
    lr : sequence of float
        The learning rates that each arm plays at.

    Returns
    -------
    frame
        One row per learning rate and arm: ``lr``, ``arm`` and ``left``, the mean distance over the replicas as a share
        of that at the start.

    Raises
    ------
    TypeError, ValueError
        As in :func:`play_arms`, or if lr holds no learning rates.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.training.play import Arm, distances_left
    >>> arms = {"descent": Arm(lnb.SGD()), "Lookahead": Arm(lnb.Lookahead(lnb.SGD()), weights="slow")}
    >>> distances_left(lnb.games.BilinearGame([[1.0]]), arms, lr=[0.1, 0.3], gradients=100).round(3).to_numpy().tolist()
    [[0.1, 'descent', 1.409], [0.1, 'Lookahead', 0.648], [0.3, 'descent', 56.898], [0.3, 'Lookahead', 0.022]]
    """
    pd = whole("pandas")

    grids = {name: grid(arm.opt, lr=lr) for name, arm in arms.items()}
    how: dict[str, Any] = {"gradients": gradients, "seed": seed, "batch_size": batch_size, "eval_every": gradients}
    found = []
    for i, rate in enumerate(lr):
        rows = play_arms(game, {name: arm._replace(opt=grids[name][i]) for name, arm in arms.items()}, **how)
        ends = rows.groupby(["arm", "step"], sort=False)["distance"].mean().groupby("arm", sort=False)
        found.append((ends.last() / ends.first()).rename("left").reset_index().assign(lr=rate))
    return pd.concat(found, ignore_index=True)[["lr", "arm", "left"]]


def _gradient(
    game: Game,
    params: np.ndarray,
    state: Any,
    moves: str,
    terms: np.ndarray | None,
    previous: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient for a step, and that at the current weights."""
    current = game.field(params, terms)
    if moves == "simultaneous":
        return current, current
    if moves == "optimistic":
        if previous is None:
            return current, current
        with np.errstate(over="ignore", invalid="ignore"):
            return 2 * current - previous, current
    ahead = state.ahead_of_sync(params, current)
    if moves == "extragradient":
        return game.field(ahead, terms), current
    met = params.copy()  # where player 1 has moved and player 2 has not
    game.players(met)[0][:] = game.players(ahead)[0]
    grad = current.copy()
    game.players(grad)[1][:] = game.players(game.field(met, terms))[1]
    return grad, current


def _history(found: np.ndarray, evaluated: list[int], kinds: list[str], per_step: int) -> pd.DataFrame:
    """Return distances, (steps, kinds, replicas, 2), as a tidy frame."""
    pd = whole("pandas")

    rows = np.indices(found.shape[:3]).reshape(3, -1)
    step = np.array(evaluated)[rows[0]]
    columns = {"step": step, "gradients": step * per_step, "weights": np.array(kinds)[rows[1]], "replica": rows[2]}
    first, second = found.reshape(-1, 2).T
    return pd.DataFrame(columns | {"first": first, "second": second, "distance": first + second})
