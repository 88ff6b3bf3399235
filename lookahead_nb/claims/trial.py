"""The runs of the second trial: all arms on generated tasks, reduced to a row for each task, arm and way of tuning."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, whole
from lookahead_nb.claims.inference import MULTIPLES
from lookahead_nb.claims.population import EVALUATED, GeneratedTask, generated
from lookahead_nb.claims.statistics import best_of
from lookahead_nb.claims.trial_arms import RATES, Grid, TrialArm
from lookahead_nb.claims.tuning import _several, edge_shares, tuned, tuned_by_others
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

METRICS = {  # what is reported: the column by which a replicate is tuned, and the reported one
    "test loss": ("validation_loss", "test_loss"),
    "test error": ("validation_accuracy", "test_accuracy"),
    "training loss": ("train_loss", "train_loss"),
}
TUNINGS = ("own", "others", "own of 24")
KEYS = ["number", "arm", "multiple", "metric", "tuning"]


class _Run(NamedTuple):
    """A part of the runs of a task: grids with one number of steps, and where they are read.

    ``of_settings`` are the steps that schedules and shares of the steps refer to.
    """

    name: str
    steps: int
    of_settings: int
    lengths: dict[float, int]
    grids: list[Grid]


def measure(
    screened: pd.DataFrame,
    arms: Mapping[str, TrialArm],
    seeds: Sequence[int],
    *,
    metrics: Collection[str] = tuple(METRICS),
    tunings: Collection[str] = TUNINGS,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Train all arms on tasks, tune them inside each replicate, and return what each replicate gets.

    Parameters
    ----------
    screened : frame
        The tasks, a row each, with the columns ``number`` and ``centre`` of :func:`.screening.screen`.
    arms : mapping of str to TrialArm
        As :func:`.trial_arms.read` returns them. Grids that several arms share are trained once.
    seeds : sequence of int
        Those of the replicates, at least 2, the same for all tasks; none of the screening.
    metrics, tunings : collections of str, optional
        What is returned, see below. Default: all.
    store, progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        A row for each task, arm, multiple of the steps, metric and way of tuning, in this order:

        - ``number`` of the task, ``arm``, ``multiple``.
        - ``metric``: "test loss", "test error" or "training loss". A replicate chooses its rate by the same metric, of
          the validation part for the first two.
        - ``tuning``: "own" (each replicate by its own rows), "others" (the best mean of all other replicates), or, for
          the test loss of arms with several grids, "own of 24": the expectation, over 24 of its trials, of the
          logarithm of the test loss, as a loss again.
        - ``r0``, ``r1``, ...: the value of each replicate.
        - ``lowest``, ``highest``: the shares of replicates that chose the first or the last rate of a grid.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    seeds = _several(seeds)
    for name, chosen, known in (("metrics", metrics, tuple(METRICS)), ("tunings", tunings, TUNINGS)):
        if unknown := [each for each in chosen if each not in known]:
            raise ValueError(f"{name} must be of {', '.join(map(repr, known))}, got {unknown[0]!r}")
    tasks = [(generated(number), float(centre)) for number, centre in zip(*_columns(screened), strict=True)]
    parts = {task.number: _parts(task, arms) for task, _ in tasks}
    todo = [
        Task(
            f"{task.name} {part.name}",
            task.model,
            task.replicate,
            part.steps,
            task.batch_size,
            eval_at=sorted({*part.lengths.values()} - {part.steps}),
            eval_rows=EVALUATED,
            configs=[
                grid.optimizer(lr, part.of_settings) for grid in part.grids for lr in grid.rates(task.number, centre)
            ],
        )
        for task, centre in tasks
        for part in parts[task.number]
    ]
    rows = sweep(todo, None, None, seeds=seeds, store=store, progress=progress)
    of_part = dict(tuple(rows.groupby("task", sort=False)))
    found = []
    for task, _ in tasks:
        values: dict[tuple, np.ndarray] = {}
        for part in parts[task.number]:
            values |= _values(of_part[f"{task.name} {part.name}"], part, len(seeds))
        for arm in arms.values():
            for multiple in arm.lengths(task.steps):
                keys = {"number": task.number, "arm": arm.name, "multiple": multiple}
                wanted = (row for row in _reduced(arm, multiple, values) if row["metric"] in metrics)
                found += [keys | row for row in wanted if row["tuning"] in tunings]
    return pd.DataFrame(found)


def _columns(screened: pd.DataFrame) -> tuple[list[int], list[float]]:
    for name in ("number", "centre"):
        if name not in screened:
            raise ValueError(f"screened must have the column {name!r}, got {', '.join(map(repr, screened.columns))}")
    return screened["number"].tolist(), screened["centre"].tolist()


def _parts(task: GeneratedTask, arms: Mapping[str, TrialArm]) -> list[_Run]:
    """Return the runs of a task, each grid once; grids of one length go together, so that they share their data."""
    parts: dict[str, _Run] = {}
    for arm in arms.values():
        lengths = arm.lengths(task.steps)
        trained = parts["along"].grids if arm.length == 1 and "along" in parts else []
        if grids := [grid for grid in arm.grids if grid not in trained]:
            name = "along" if arm.along else f"x {arm.length:g}"
            part = parts.setdefault(name, _Run(name, max(lengths.values()), arm.steps(task.steps), lengths, []))
            part.grids.extend(grid for grid in grids if grid not in part.grids)
    return list(parts.values())


def _values(rows: pd.DataFrame, part: _Run, seeds: int) -> dict[tuple, np.ndarray]:
    """Return a (seeds, rates) array for each grid, kind of weights, multiple and column."""
    slow = rows.groupby("run")["weights"].transform("nunique") > 1
    kinds = {"slow": (rows["weights"] == "slow") | ~slow, "fast": rows["weights"] == "fast"}
    wanted = sorted({column for pair in METRICS.values() for column in pair})
    values = {}
    for weights, chosen in kinds.items():
        for multiple, step in part.lengths.items():
            at = rows[chosen & (rows["step"] == step)]
            for column in wanted:
                table = at[column].to_numpy(np.float64).reshape(len(part.grids), RATES, seeds)
                for grid, numbers in zip(part.grids, table, strict=True):
                    values[grid, weights, multiple, column] = numbers.T
    return values


@default_errors
def _reduced(arm: TrialArm, multiple: float, values: dict[tuple, np.ndarray]) -> Iterator[dict[str, Any]]:
    for metric, columns in METRICS.items():
        choose, report = (
            np.concatenate([values[grid, arm.weights, multiple, column] for grid in arm.grids], axis=1)
            for column in columns
        )
        if metric == "test error":
            choose, report = 1 - choose, 1 - report
        for tuning in TUNINGS:
            chosen: Any = ()
            if tuning == "own":
                chosen, taken = tuned(choose, report)
            elif tuning == "others":
                chosen, taken = tuned_by_others(choose, report)
            elif metric == "test loss" and len(arm.grids) > 1:
                taken = np.exp(best_of(choose, np.log(report), RATES)[RATES].to_numpy())
            else:
                continue
            ends = edge_shares(np.asarray(chosen) % RATES, RATES) if len(chosen) else (np.nan, np.nan)
            numbers = {f"r{i}": float(f"{value:.8g}") for i, value in enumerate(taken)}
            yield {"metric": metric, "tuning": tuning} | numbers | dict(zip(("lowest", "highest"), ends, strict=True))


# ---------------------------------------------------------------------------------------------------- contrasts


def benefits(
    rows: pd.DataFrame,
    arm: str,
    controls: str | Sequence[str],
    metric: str = "test loss",
    tuning: str = "own",
) -> pd.DataFrame:
    """Return the benefit of an arm on every task and in every replicate, for :mod:`.inference`.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    arm : str
        Its name; it is read at its own length.
    controls : str or sequence of str
        The names of the arms that it is compared with; of several the mean (of logarithms) is taken.
    metric : {"test loss", "test error", "training loss"}
        The reported number. Default: "test loss".
    tuning : {"own", "others", "own of 24"}
        How rates were chosen. Default: "own".

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each replicate: ``log(control) - log(arm)`` of
        losses, ``control - arm`` of errors.

    Raises
    ------
    ValueError
        If rows have no such arm, metric or tuning.
    """
    names = _names(controls)
    control, *further = [_values_of(rows, name, metric, tuning) for name in names]
    for other in further:
        control = control + other
    return control / len(names) - _values_of(rows, arm, metric, tuning)


def shares_of_gap(rows: pd.DataFrame, chance: pd.Series, arm: str, controls: str | Sequence[str]) -> pd.DataFrame:
    """Return the benefit of an arm as a share of what can be learned: the gap between chance and the best known loss.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    chance : Series
        The chance-level loss of each task, indexed by ``number``.
    arm, controls
        As in :func:`benefits`.

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each replicate: ``(control - arm)/(chance - best)``
        of the tuned test losses. The best known loss is the lowest mean over replicates of any arm at any length.

    Raises
    ------
    ValueError
        If rows have no such arm, or no arm does better than chance on a task.
    """
    names = _names(controls)
    control = sum(np.exp(_values_of(rows, name, "test loss", "own")) for name in names) / len(names)
    own = rows[(rows["metric"] == "test loss") & (rows["tuning"] == "own")]
    best = own.assign(mean=own[_replicates(rows)].mean(axis=1)).groupby("number")["mean"].min()
    gap = chance.loc[best.index] - best
    if (gap <= 0).any():
        number = gap.index[gap <= 0][0]
        raise ValueError(f"chance must be above the best known loss of every task, got {chance[number]} on {number}")
    return (control - np.exp(_values_of(rows, arm, "test loss", "own"))).div(gap, axis=0)


def curve(rows: pd.DataFrame, arm: str = "adamw") -> pd.DataFrame:
    """Return the logarithm of an arm's tuned test loss along its runs: the scale of :func:`.inference.steps_worth`.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    arm : str, default "adamw"
        An arm that is read along its runs.

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each of ``inference.MULTIPLES``: the mean over
        replicates.

    Raises
    ------
    ValueError
        If the arm was not read along its runs.
    """
    own = rows[(rows["arm"] == arm) & (rows["metric"] == "test loss") & (rows["tuning"] == "own")]
    if not {*MULTIPLES} <= {*own["multiple"]}:
        raise ValueError(f"arm must be one that is read along its runs, got {arm!r}")
    means = np.log(own[_replicates(rows)]).mean(axis=1)
    return own.assign(mean=means).pivot(index="number", columns="multiple", values="mean")[list(MULTIPLES)]


def _values_of(rows: pd.DataFrame, arm: str, metric: str, tuning: str) -> pd.DataFrame:
    for name, value in {"arm": arm, "metric": metric, "tuning": tuning}.items():
        if value not in (known := rows[name].unique()):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    own = rows[(rows["arm"] == arm) & (rows["metric"] == metric) & (rows["tuning"] == tuning)]
    if len(own) > own["number"].nunique():
        own = own[own["multiple"] == 1]
    values = own.set_index("number")[_replicates(rows)]
    return values if metric == "test error" else np.log(values)


def _names(controls: str | Sequence[str]) -> list[str]:
    names = [controls] if isinstance(controls, str) else list(controls)
    if not names:
        raise ValueError("controls must name at least one arm, got none")
    return names


def _replicates(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows.columns if name[0] == "r" and name[1:].isdigit()]
