"""Screening: what AdamW alone says about the tasks of the generated population, and which of them a trial uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import whole
from lookahead_nb.claims.population import GeneratedTask, generated, population, power
from lookahead_nb.claims.real import RealTask
from lookahead_nb.claims.tuning import LEAST_LOSS, Tuned, _several, edge_shares, regimes, tuned
from lookahead_nb.kernels.philox import RATES as OFFSETS
from lookahead_nb.kernels.philox import uniforms
from lookahead_nb.optimizers import AdamW, Optimizer
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

LOWEST, SPACING, RATES = 3e-5, 2.2, 12  # of the grid: up to .18, times a shift in [1, 2.2)
WIDE_RATES = 20  # up to 96, times the shift: for SGD and its like
SHORT_BELOW = 300  # steps
QUOTAS = {"step-limited, short": 100, "step-limited, long": 100, "saturated": 200, "overfitting": 100}
MOST_SCREENED = 2000


def screen(
    numbers: Iterable[int],
    seeds: Sequence[int],
    *,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Train AdamW on tasks at 12 learning rates, for T and for 2T steps, and return their regimes.

    Parameters
    ----------
    numbers : iterable of int
        Those of the tasks.
    seeds : sequence of int
        Of the replicates, at least 2; no trial may use them again, since the screened tasks look too good on them.
    store, progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        A row for each task: ``number`` and its factors as in :func:`.population.population`; ``chance`` and ``best``,
        the mean loss of guessing by class frequencies and of the true probabilities; ``loss`` and ``loss_twice``,
        AdamW's tuned mean test loss after T and 2T steps; ``gain``, the mean of ``log(loss) - log(loss_twice)``;
        ``regime``, one of ``tuning.REGIMES``; ``centre``, the geometric mean of the learning rates that the replicates
        chose at T; ``lowest`` and ``highest``, the shares of choices at both ends of the grid.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    tasks = [generated(number) for number in numbers]
    factors = population(task.number for task in tasks).reset_index()
    return factors.merge(screened(tasks, seeds, store=store, progress=progress), on="number")


def screened(
    tasks: Sequence[GeneratedTask | RealTask],
    seeds: Sequence[int],
    *,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Return what AdamW says about tasks, without their factors.

    Parameters
    ----------
    tasks : sequence of GeneratedTask or RealTask
    seeds, store, progress
        As in :func:`screen`.

    Returns
    -------
    frame
        As :func:`screen` returns it, with ``number`` and the columns from ``chance`` on.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    seeds = _several(seeds)
    todo = [replace(_twice(task), configs=[AdamW(lr) for lr in _rates(task)]) for task in tasks]
    rows = sweep(todo, None, None, seeds=seeds, store=store, progress=progress)
    of_task = dict(tuple(rows.groupby("task", sort=False)))
    found = []
    for task in tasks:
        limits = [task.limits(seed) for seed in seeds]
        chance = float(np.mean([limit.chance_loss for limit in limits]))
        once, twice = (_tuned_at(of_task[task.name], m * task.steps, len(seeds)) for m in (1, 2))
        lowest, highest = edge_shares(once.chosen, RATES)
        logs = [math.log(_rates(task)[i]) for i in once.chosen]
        found.append(
            {
                "number": task.number,
                "chance": chance,
                "best": float(np.mean([limit.best_loss for limit in limits])),
                "loss": once.test.mean(),
                "loss_twice": twice.test.mean(),
                "gain": (np.log(once.test) - np.log(twice.test)).mean(),
                "regime": regimes(once.test[None], twice.test[None], [chance])[0],
                "centre": float(f"{math.exp(sum(logs) / len(logs)):.4g}"),
                "lowest": lowest,
                "highest": highest,
            }
        )
    return pd.DataFrame(found)


def centres(
    tasks: Iterable[GeneratedTask | RealTask],
    alone: Mapping[Any, Callable[[float, int], Optimizer]],
    seeds: Sequence[int],
    *,
    progress: bool | Callable[[int, int], None] = True,
) -> dict[tuple[int, Any], float]:
    """Return the learning rates at which optimizers do best, for those whose scale of rates is not that of AdamW.

    Parameters
    ----------
    tasks : iterable of GeneratedTask or RealTask
    alone : mapping
        For each key a function of a learning rate and a number of steps that returns an optimizer.
    seeds : sequence of int
        Those of the screening, at least 2.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    dict
        By number of the task and key: the geometric mean of the rates that the replicates chose after T steps, among
        ``WIDE_RATES`` from ``LOWEST`` on at the spacing ``SPACING``, rounded to 4 digits.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    seeds, tasks = _several(seeds), [*tasks]
    todo = [
        replace(task.task, eval_at=[], configs=[make(lr, task.steps) for make in alone.values() for lr in _wide(task)])
        for task in tasks
    ]
    rows = sweep(todo, None, None, seeds=seeds, progress=progress)
    rows = rows[(rows["weights"] == "slow") | (rows.groupby(["task", "run"])["weights"].transform("nunique") == 1)]
    found = {}
    for task in tasks:
        of_task = rows[(rows["task"] == task.name) & (rows["step"] == task.steps)]
        losses = of_task["validation_loss"].to_numpy(np.float64).reshape(len(alone), WIDE_RATES, len(seeds))
        logs = np.array([math.log(lr) for lr in _wide(task)])
        for key, table in zip(alone, losses, strict=True):
            chosen = np.where(np.isnan(table), np.inf, table).argmin(axis=0)
            found[task.number, key] = float(f"{math.exp(sum(logs[chosen]) / len(seeds)):.4g}")
    return found


def _wide(task: GeneratedTask | RealTask) -> list[float]:
    shift = float(uniforms(1, task.number, OFFSETS, block=1)[0])
    return [LOWEST * power(SPACING, i + shift) for i in range(WIDE_RATES)]


def classified(screened: pd.DataFrame) -> pd.DataFrame:
    """Return screened tasks in the order of their numbers, with their class.

    Parameters
    ----------
    screened : frame
        Of :func:`screen`.

    Returns
    -------
    frame
        The rows of screened with a further column ``class``: its regime, and of step-limited tasks whether they are
        "short" (fewer than 300 steps) or "long".
    """
    length = np.where(screened["steps"] < SHORT_BELOW, ", short", ", long")
    classes = screened["regime"] + np.where(screened["regime"] == "step-limited", length, "")
    return screened.assign(**{"class": classes}).sort_values("number", ignore_index=True)


def sample(screened: pd.DataFrame, quotas: Mapping[str, int] = QUOTAS) -> pd.DataFrame:
    """Return the rows of the tasks that a trial uses: the first of every class, in the order of their numbers.

    Parameters
    ----------
    screened : frame
        Of :func:`screen`.
    quotas : mapping of str to int, optional
        The most tasks of a class. Default: :data:`QUOTAS`.

    Returns
    -------
    frame
        As :func:`classified` returns them. Hopeless tasks have no quota and are never among them.

    Raises
    ------
    ValueError
        If quotas name a class that does not exist.

    Examples
    --------
    >>> import pandas as pd
    >>> from lookahead_nb.claims.screening import sample
    >>> frame = pd.DataFrame({"number": [3, 1], "steps": [40, 400], "regime": "step-limited"})
    >>> sample(frame)["class"].tolist()
    ['step-limited, long', 'step-limited, short']
    """
    if unknown := [name for name in quotas if name not in QUOTAS]:
        raise ValueError(f"quotas must be of {', '.join(map(repr, QUOTAS))}, got {unknown[0]!r}")
    ordered = classified(screened)
    place = ordered.groupby("class").cumcount()
    return ordered[place < ordered["class"].map(quotas).fillna(0)].reset_index(drop=True)


def _twice(task: GeneratedTask | RealTask) -> Task:
    return replace(task.task, steps=2 * task.steps, eval_at=[task.steps])


def _rates(task: GeneratedTask | RealTask) -> list[float]:
    shift = float(uniforms(1, task.number, OFFSETS)[0])
    return [LOWEST * power(SPACING, i + shift) for i in range(RATES)]


def _tuned_at(rows: pd.DataFrame, step: int, seeds: int) -> Tuned:
    """Tune each seed for itself by the rows of one step, which are in the order of rates and seeds."""
    at = rows[rows["step"] == step]
    losses = [at[f"{part}_loss"].to_numpy().reshape(RATES, seeds).T for part in ("validation", "test")]
    chosen, test = tuned(*losses)
    return Tuned(chosen, np.maximum(test, LEAST_LOSS))
