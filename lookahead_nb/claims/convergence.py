"""How many steps arms need for a loss that another one reaches half-way, at one learning rate for all, or tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lookahead_nb.checks import whole, whole_number
from lookahead_nb.claims.curves import first_below
from lookahead_nb.claims.population import GeneratedTask, generated
from lookahead_nb.claims.trial import _columns, _row
from lookahead_nb.claims.trial_arms import RATES, Grid, TrialArm
from lookahead_nb.claims.tuning import _several, tuned
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

METRIC = "steps"
TUNINGS = ("default", "base", "own")
DEFAULT = 1e-3
READINGS = 20  # at most, along a run
ROWS = 1000  # of the training part, at most, behind a loss


def measure(
    screened: pd.DataFrame,
    arms: Mapping[str, TrialArm],
    seeds: Sequence[int],
    *,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Count the steps until the training loss that the first arm reaches at half of its steps.

    Parameters
    ----------
    screened : frame
        The tasks, a row each, with the columns ``number`` and ``centre`` of :func:`.screening.screen`.
    arms : mapping of str to TrialArm
        Lookaheads with one grid each. The first one is the base; all are trained at its rates.
    seeds : sequence of int
        Those of the replicates, at least 2.
    store, progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        A row for each task, arm and way of tuning, with the columns of :func:`.trial.measure`; metric is "steps". The
        tunings:

        - "default": every arm at the rate 0.001.
        - "base": every arm at the rate at which the base arm has the lowest validation loss at its end, in the same
          replicate.
        - "own": every arm at the rate at which it gets there first, out of the same grid.

        The slow weights are read at up to ``READINGS`` evenly spaced syncs, on ``ROWS`` rows; the loss in between is
        interpolated. An arm that does not get there counts as if it did at its last step.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    seeds = _several(seeds)
    for arm in arms.values():
        if len(arm.grids) != 1 or arm.grids[0].around != "Lookahead" or arm.length != 1:
            raise ValueError(f"arms must be Lookaheads with one grid at length 1, got {arm.name!r}")
    numbers, centres = _columns(screened, "number", "centre")
    tasks = [(generated(number), float(centre)) for number, centre in zip(numbers, centres, strict=True)]
    base, *_ = arms.values()
    todo = [
        _training(task, arm, [*_rates(base.grids[0], task, centre)]) for task, centre in tasks for arm in arms.values()
    ]
    rows = sweep(todo, None, None, seeds=seeds, store=store, progress=progress)
    rows = rows[rows["weights"] == "slow"]
    of_part = dict(tuple(rows.groupby("task", sort=False)))
    found = []
    for task, _ in tasks:
        losses = {name: _along(of_part[f"{task.name} {name}"], len(seeds)) for name in arms}
        last = of_part[f"{task.name} {base.name}"].query("step == @task.steps")
        validation = last["validation_loss"].to_numpy(np.float64).reshape(-1, len(seeds)).T[:, 1:]
        chosen = tuned(validation, validation).chosen
        for tuning in TUNINGS:
            pick = np.zeros(len(seeds), np.int64) if tuning == "default" else 1 + chosen
            target = _half_way(losses[base.name], pick, task.steps)
            for name in arms:
                taken = _steps_to(losses[name], target, task.steps)  # (rates, seeds)
                steps = taken[1:].min(axis=0) if tuning == "own" else taken[pick, np.arange(len(seeds))]
                keys = {"number": task.number, "arm": name, "multiple": 1.0, "metric": METRIC, "tuning": tuning}
                found.append(keys | _row(steps) | {"lowest": np.nan, "highest": np.nan, "rates": RATES})
    return pd.DataFrame(found)


def runs_per_task(arms: Mapping[str, TrialArm], replicates: int) -> int:
    """Return the number of runs that a task takes.

    Parameters
    ----------
    arms : mapping of str to TrialArm
        As in :func:`measure`.
    replicates : int
        Of each task, at least 1.

    Returns
    -------
    int
    """
    return len(arms) * (1 + RATES) * whole_number("replicates", replicates, 1)


def _rates(grid: Grid, task: GeneratedTask, centre: float) -> list[float]:
    return [DEFAULT, *grid.rates(task.number, centre)]


def _training(task: GeneratedTask, arm: TrialArm, rates: list[float]) -> Task:
    grid = arm.grids[0]
    period = dict(grid.settings)["sync_period"]
    every = period * max(1, -(-task.steps // (period * READINGS)))
    return Task(
        f"{task.name} {arm.name}", task.model, task.replicate, task.steps, task.batch_size,
        eval_at=[*range(every, task.steps, every)], eval_rows=ROWS,
        configs=[grid.optimizer(lr, task.steps) for lr in rates],
    )  # fmt: skip


def _along(rows: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Return the training losses, a row per step and a column per (rate, seed)."""
    order = rows.assign(place=rows.groupby("step").cumcount())
    table = order.pivot(index="step", columns="place", values="train_loss")
    table.columns = whole("pandas").MultiIndex.from_product([range(table.shape[1] // seeds), range(seeds)])
    return table.astype(np.float64)


def _half_way(losses: pd.DataFrame, pick: np.ndarray, steps: int) -> np.ndarray:
    """Return the loss of each seed at half of the steps, at the picked rate; its logarithm is interpolated."""
    curves = np.log(losses.to_numpy().reshape(len(losses), -1, len(pick)))
    return np.exp([
        np.interp(steps / 2, losses.index, curves[:, rate, seed]) for seed, rate in enumerate(pick)
    ])  # fmt: skip


def _steps_to(losses: pd.DataFrame, target: np.ndarray, steps: int) -> np.ndarray:
    """Return the steps to the target of each seed, (rates, seeds)."""
    scaled = losses / np.tile(target, losses.shape[1] // len(target))
    return first_below(scaled, 1.0).fillna(steps).to_numpy().reshape(-1, len(target))
