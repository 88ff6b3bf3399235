"""Tuning inside a replicate, as a user tunes, and what AdamW alone says about a task.

An arm with more settings than its partner is compared at equal numbers of trials by :func:`.statistics.best_of`, on the
logarithms of the test losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, plain_array, real_number, real_numbers, shown, whole_number

# Regimes of a task, by AdamW alone.
HOPELESS_ABOVE = 0.95  # of the chance-level loss
STEP_LIMITED_ABOVE, OVERFITTING_BELOW = 0.02, -0.01  # mean log-ratio of the losses at T and 2T steps
LEAST_LOSS = float(np.finfo(np.float32).tiny)  # whose logarithm is taken where float32 gives 0
REGIMES = ("hopeless", "step-limited", "saturated", "overfitting")


class Tuned(NamedTuple):
    """The choices of replicates among the settings of a grid.

    Attributes
    ----------
    chosen : int array
        The number of the chosen setting.
    test : float array
        Its test loss.
    """

    chosen: np.ndarray
    test: np.ndarray


@default_errors
def tuned(validation: Any, test: Any) -> Tuned:
    """Return what each replicate gets by its own validation loss, as a user would choose.

    Parameters
    ----------
    validation, test : (..., replicates, settings) array
        Losses at the end; NaN and inf (diverged) are never chosen as long as another setting is finite.

    Returns
    -------
    Tuned
        Arrays (..., replicates). The first of equally good settings is chosen.

    Raises
    ------
    TypeError, ValueError
        If the arrays have different shapes or none.

    Notes
    -----
    Source: Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks".

    Examples
    --------
    >>> from lookahead_nb.claims.tuning import tuned
    >>> tuned([[0.3, 0.2], [0.1, 0.4]], [[5.0, 6.0], [7.0, 8.0]]).test.tolist()
    [6.0, 7.0]
    """
    losses, test = _losses(validation, test)
    return _taken(losses.argmin(axis=-1), test)


@default_errors
def tuned_by_others(validation: Any, test: Any) -> Tuned:
    """Return what each replicate gets at the setting with the best mean validation loss of all other replicates.

    This is the limit of careful tuning. The choices of replicates depend on each other: print no interval for it on a
    single task.

    Parameters
    ----------
    validation, test : (..., replicates, settings) array
        As in :func:`tuned`, with at least 2 replicates.

    Returns
    -------
    Tuned
        Arrays (..., replicates).

    Raises
    ------
    TypeError, ValueError
        If the arrays have different shapes or a single replicate.
    """
    losses, test = _losses(validation, test)
    replicates = losses.shape[-2]
    if replicates < 2:
        raise ValueError(f"validation must have at least 2 replicates, got {replicates}")
    others = [np.delete(losses, r, axis=-2).mean(axis=-2).argmin(axis=-1) for r in range(replicates)]
    return _taken(np.stack(others, axis=-1), test)


def _several(seeds: Iterable[int]) -> list[int]:
    """Return the seeds of replicates, or refuse fewer than two ahead of any training."""
    if not np.iterable(seeds):
        raise TypeError(f"seeds must be a sequence of whole numbers, got {shown(seeds)}")
    listed = list(seeds)
    if len(listed) < 2:
        raise ValueError(f"seeds must hold at least 2 replicates, got {len(listed)}")
    return listed


def _losses(validation: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    losses, test = (
        np.asarray(plain_array(*given), np.float64) for given in (("validation", validation), ("test", test))
    )
    if losses.shape != test.shape or losses.ndim < 2 or not losses.size:
        raise ValueError(
            f"validation and test must have the same replicates and settings, got {losses.shape} and {test.shape}"
        )
    return np.where(np.isnan(losses), np.inf, losses), test


def _taken(chosen: np.ndarray, test: np.ndarray) -> Tuned:
    return Tuned(chosen, np.take_along_axis(test, chosen[..., None], axis=-1)[..., 0])


@default_errors
def edge_shares(chosen: Any, settings: int) -> tuple[float, float]:
    """Return the shares of choices at both ends of a grid; above .02 the grid is too narrow.

    Parameters
    ----------
    chosen : int array
        Of :func:`tuned`.
    settings : int
        The number of rates of the grid, at least 2.

    Returns
    -------
    lowest, highest : float
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        If settings is wrong, or chosen is empty or holds a number beyond it.
    """
    settings = whole_number("settings", settings, 2)
    numbers = real_numbers("chosen", chosen, 0, settings - 1)
    if not numbers.size:
        raise ValueError("chosen must hold at least one choice, got none")
    return float((numbers == 0).mean()), float((numbers == settings - 1).mean())


@default_errors
def rate_range(losses: Any, within: float, spacing: float) -> np.ndarray:
    """Return how wide the range of learning rates is whose loss is close to the best: robustness to a wrong rate.

    Parameters
    ----------
    losses : (..., rates) array
        At rising rates, at least 2. NaN counts as infinite.
    within : float
        Above 0: how much larger than the lowest a loss may be, as a share of it.
    spacing : float
        Above 1: the ratio of neighbouring rates.

    Returns
    -------
    (...) array
        ``log2(highest/lowest rate)`` of the range around the best rate in which no loss is above
        ``(1 + within)*best``; between rates the loss is linear in the logarithm of the rate. A range that reaches an
        end of the grid ends there.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> from lookahead_nb.claims.tuning import rate_range
    >>> float(rate_range([1.2, 1.0, 1.0, 1.4], within=0.1, spacing=2.0))
    1.75
    """
    table = np.asarray(plain_array("losses", losses), np.float64)
    if table.ndim < 1 or table.shape[-1] < 2 or not table.size:
        raise ValueError(f"losses must have at least 2 rates, got shape {table.shape}")
    within = real_number("within", within, 0, open_low=True)
    spacing = real_number("spacing", spacing, 1, open_low=True)
    table = np.where(np.isnan(table), np.inf, table)
    flat = table.reshape(-1, table.shape[-1])
    best = flat.argmin(axis=-1)
    highest = (1 + within) * flat.min(axis=-1)
    steps = [
        _steps_below(row[i:], top) + _steps_below(row[i::-1], top)
        for row, i, top in zip(flat, best, highest, strict=True)
    ]
    return np.reshape(steps, table.shape[:-1]) * math.log2(spacing)


def _steps_below(losses: np.ndarray, top: float) -> float:
    """Return how many spacings a curve that begins below the top stays below it."""
    above = np.flatnonzero(losses > top)
    if not above.size:
        return len(losses) - 1.0
    before, after = losses[above[0] - 1], losses[above[0]]
    return float(above[0] - 1 + (top - before) / (after - before))  # 0 of an infinite loss


@default_errors
def regimes(losses: Any, losses_twice: Any, chance: Any) -> np.ndarray:
    """Return the regime of each task by AdamW alone, on screening replicates that nothing else uses.

    Parameters
    ----------
    losses, losses_twice : (tasks, replicates) array
        Above 0: AdamW's tuned test losses after T and after 2T steps.
    chance : (tasks,) array
        The chance-level loss, above 0.

    Returns
    -------
    (tasks,) array of str
        Items of :data:`REGIMES`. "hopeless": the mean loss is above .95 of chance at both lengths; "step-limited": the
        mean of ``log(loss) - log(loss_twice)`` is above .02; "overfitting": it is below -.01; "saturated": the rest.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> from lookahead_nb.claims.tuning import regimes
    >>> regimes([[1.0, 1.0], [0.5, 0.5]], [[1.0, 1.0], [0.4, 0.4]], [1.0, 1.0]).tolist()
    ['hopeless', 'step-limited']
    """
    once, twice = (
        real_numbers(*given, 0, open_low=True) for given in (("losses", losses), ("losses_twice", losses_twice))
    )
    chance = real_numbers("chance", chance, 0, open_low=True)
    if once.ndim != 2 or once.shape != twice.shape or chance.shape != once.shape[:1] or not once.size:
        raise ValueError(
            "losses, losses_twice and chance must be of the same tasks and replicates, "
            f"got {once.shape}, {twice.shape} and {chance.shape}"
        )
    gain = (np.log(once) - np.log(twice)).mean(axis=1)
    hopeless = np.minimum(once.mean(axis=1), twice.mean(axis=1)) > HOPELESS_ABOVE * chance
    conditions = [hopeless, gain > STEP_LIMITED_ABOVE, gain < OVERFITTING_BELOW]
    return np.select(conditions, ["hopeless", "step-limited", "overfitting"], "saturated")
