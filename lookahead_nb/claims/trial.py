"""The runs of the second trial: all arms on generated tasks, reduced to a row for each task, arm and way of tuning."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, whole
from lookahead_nb.claims.inference import MULTIPLES
from lookahead_nb.claims.population import EVALUATED, GeneratedTask, generated
from lookahead_nb.claims.real import RealTask
from lookahead_nb.claims.statistics import best_of
from lookahead_nb.claims.trial_arms import RATES, SPACING, Grid, TrialArm
from lookahead_nb.claims.tuning import LEAST_LOSS, _several, edge_shares, rate_range, tuned, tuned_by_others
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

METRICS = {  # what is reported: the column by which a replicate is tuned, and the reported one
    "test loss": ("validation_loss", "test_loss"),
    "test error": ("validation_accuracy", "test_accuracy"),
    "training loss": ("train_loss", "train_loss"),
}
RANGES = {f"rates within {percent} %": percent / 100 for percent in (1, 2, 5)}  # of the best test loss
TUNINGS = ("own", "others", "own of 24")
CURVES = ("test loss",)  # the metrics that are kept of an arm along its runs, tuned as "own"
CHOICE = ("grid", "lr")
WIDER, ROUNDS = 12, 2  # rates that are added to the grids of a task where a choice is at their end, and how often
KEYS = ["number", "arm", "multiple", "metric", "tuning"]


class Part(NamedTuple):
    """A part of the runs of a task: grids with one number of rates that are read at the same steps, in rising order.

    Attributes
    ----------
    name : str
        Unique in the task.
    of_settings : int
        The steps that schedules and shares of the steps refer to.
    read_at : tuple of int
        The steps at which weights are read.
    grids : list of Grid
        In the order of the runs.
    """

    name: str
    of_settings: int
    read_at: tuple[int, ...]
    grids: list[Grid]


def measure(
    screened: pd.DataFrame,
    arms: Mapping[str, TrialArm],
    seeds: Sequence[int],
    *,
    metrics: Collection[str] = tuple(METRICS),
    tunings: Collection[str] = TUNINGS,
    ranges_of: Collection[str] = (),
    centre: Callable[[int, Grid], float] | None = None,
    curves: Collection[str] = CURVES,
    task_of: Callable[[int], GeneratedTask | RealTask] = generated,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Train all arms on tasks, tune them inside each replicate, and return what each replicate gets.

    Parameters
    ----------
    screened : frame
        The tasks, a row each, with the columns ``number`` and ``centre`` of :func:`.screening.screen`, and optionally
        ``below`` and ``above``, the rates that are added to all grids of the task at each end.
    arms : mapping of str to TrialArm
        As :func:`.trial_arms.read` returns them. Grids that several arms share are trained once.
    seeds : sequence of int
        Those of the replicates, at least 2, the same for all tasks; none of the screening.
    metrics, tunings : collections of str, optional
        What is returned, see below. Default: all.
    ranges_of : collection of str, optional
        Names of arms with one grid, for which the ranges of good rates are returned too. Default: none.
    centre : function of a number and a Grid, optional
        The middle of a grid on a task, instead of the column ``centre``.
    curves : collection of str, optional
        Which metrics are returned of arms that are read along their runs. Default: the test loss.
    task_of : function of a number, optional
        Returns the task with this number. Default: that of the generated population.
    store, progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        A row for each task, arm, multiple of the steps, metric and way of tuning, in this order:

        - ``number`` of the task, ``arm``, ``multiple``.
        - ``metric``: "test loss", "test error" or "training loss". A replicate chooses its rate by the same metric, of
          the validation part for the first two. For the arms of ranges_of also "rates within 1 %", "2 %" and "5 %":
          :func:`.tuning.rate_range` of the test losses.
        - ``tuning``: "own" (each replicate by its own rows); for the test loss also "others" (the best mean of all
          other replicates) and, of arms with several grids, "own of 24": the expectation, over 24 of its trials, of the
          logarithm of the test loss, as a loss again. A diverged trial counts as the largest finite loss there, since
          an infinite one would hide all others however seldom it is the best of 24.
        - ``r0``, ``r1``, ...: the value of each replicate.
        - ``lowest``, ``highest``: the shares of replicates that chose the first or the last rate of a grid.
        - ``rates``: the number of rates of each grid.

        Multiples other than that of the arm have the metrics of curves only, tuned as "own".

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    seeds = _several(seeds)
    for name, chosen, known in (
        ("metrics", metrics, tuple(METRICS)),
        ("tunings", tunings, TUNINGS),
        ("curves", curves, tuple(METRICS)),
        ("ranges_of", ranges_of, tuple(name for name, arm in arms.items() if _has_a_grid(arm))),
    ):
        if unknown := [each for each in chosen if each not in known]:
            raise ValueError(f"{name} must be of {', '.join(map(repr, known))}, got {unknown[0]!r}")
    if centre is None:
        numbers, centres = _columns(screened, "number", "centre")
        of_number = dict(zip(numbers, map(float, centres), strict=True))

        def centre(number: int, grid: Grid) -> float:  # noqa: ARG001 (one for all grids)
            return of_number[number]

    tasks = [task_of(number) for number in _columns(screened, "number")[0]]
    added = {name: screened.get(name, pd.Series(0, screened.index)).astype(int).tolist() for name in ("below", "above")}
    wider = dict(zip((task.number for task in tasks), zip(*added.values(), strict=True), strict=True))
    parts = {task.number: parts_of(task, arms) for task in tasks}
    todo = [
        Task(
            f"{task.name} {part.name}",
            task.model,
            task.replicate,
            part.read_at[-1],
            task.batch_size,
            eval_at=part.read_at[:-1],
            eval_rows=EVALUATED,
            configs=[
                grid.optimizer(lr, part.of_settings)
                for grid in part.grids
                for lr in grid.rates(task.number, centre(task.number, grid), *wider[task.number])
            ],
        )
        for task in tasks
        for part in parts[task.number]
    ]
    rows = sweep(todo, None, None, seeds=seeds, store=store, progress=progress)
    of_part = dict(tuple(rows.groupby("task", sort=False)))
    found = []
    for task in tasks:
        values: dict[tuple, np.ndarray] = {}
        for part in parts[task.number]:
            values |= values_of(of_part[f"{task.name} {part.name}"], part, len(seeds))
        for arm in arms.values():
            for multiple, step in arm.lengths(task.steps).items():
                keys = {"number": task.number, "arm": arm.name, "multiple": multiple}
                rates = {"rates": 1 if arm.grids[0].fixed else RATES + sum(wider[task.number])}
                alone = arm.along and multiple != arm.length
                wanted = (row for row in reduced(arm, step, values) if row["metric"] in metrics)
                found += [
                    keys | row | rates
                    for row in wanted
                    if row["tuning"] in tunings and (not alone or (row["metric"] in curves and row["tuning"] == "own"))
                ]
                if arm.name in ranges_of and not alone:
                    found += [keys | row | rates for row in _ranges(arm, step, values)]
    return pd.DataFrame(found)


def widened(
    tasks: pd.DataFrame,
    rows: pd.DataFrame,
    measured: Callable[[pd.DataFrame], pd.DataFrame],
    metrics: Collection[str] = tuple(METRICS)[:1],
) -> pd.DataFrame:
    """Measure tasks again with wider grids where the choice of a replicate is at the end of one.

    Parameters
    ----------
    tasks : frame
        As ``screened`` in :func:`measure`.
    rows : frame
        Of :func:`measure` on these tasks.
    measured : function of a frame
        :func:`measure` on some of the tasks, with the columns ``below`` and ``above``.
    metrics : collection of str, optional
        Those that decide. Default: the test loss.

    Returns
    -------
    frame
        rows, with those of widened tasks replaced. A task is widened at most ``ROUNDS`` times, for all arms, by
        ``WIDER`` rates at an end.
    """
    pd = whole("pandas")

    tasks = tasks.assign(below=0, above=0).set_index("number", drop=False)
    for _ in range(ROUNDS):
        decides = rows[rows["metric"].isin(metrics) & (rows["tuning"] == TUNINGS[0])]
        ends = decides.groupby("number")[["lowest", "highest"]].max() > 0
        if not ends.any(axis=None):
            break
        ends = ends[ends.any(axis=1)]
        tasks.loc[ends.index, "below"] += WIDER * ends["lowest"]
        tasks.loc[ends.index, "above"] += WIDER * ends["highest"]
        again = measured(tasks.loc[ends.index].reset_index(drop=True))
        order = {number: place for place, number in enumerate(tasks.index)}
        rows = pd.concat([rows[~rows["number"].isin(ends.index)], again])
        rows = rows.sort_values("number", key=lambda numbers: numbers.map(order), kind="stable", ignore_index=True)
    return rows


def _has_a_grid(arm: TrialArm) -> bool:
    return len(arm.grids) == 1 and not arm.grids[0].fixed


def _columns(screened: pd.DataFrame, *names: str) -> list[list]:
    for name in names:
        if name not in screened:
            raise ValueError(f"screened must have the column {name!r}, got {', '.join(map(repr, screened.columns))}")
    return [screened[name].tolist() for name in names]


def parts_of(task: GeneratedTask | RealTask, arms: Mapping[str, TrialArm]) -> list[Part]:
    """Return the runs of a task, each grid once. Grids that are read at the same steps share their data.

    Parameters
    ----------
    task : GeneratedTask or RealTask
        What is trained.
    arms : mapping
        Name -> arm.

    Returns
    -------
    list of Part
    """
    read_at: dict[Grid, set[int]] = {}
    of_settings: dict[Grid, int] = {}
    for arm in arms.values():
        for grid in arm.grids:
            of_settings[grid] = arm.steps(task.steps)
            read_at.setdefault(grid, set()).update(arm.lengths(task.steps).values())
    alike: dict[tuple[int, tuple[int, ...], bool], list[Grid]] = {}
    for grid, steps in read_at.items():
        alike.setdefault((of_settings[grid], tuple(sorted(steps)), grid.fixed), []).append(grid)
    return [Part(f"part {i}", steps, at, grids) for i, ((steps, at, _), grids) in enumerate(alike.items(), 1)]


def values_of(rows: pd.DataFrame, part: Part, seeds: int) -> dict[tuple, np.ndarray]:
    """Return the losses and accuracies of a part of the runs of a task.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`.sweep`, the runs of the part in its order.
    part : Part
        Of :func:`parts_of`.
    seeds : int
        How many.

    Returns
    -------
    dict
        (grid, kind of weights, step, column) -> (seeds, rates) float64 array.
    """
    slow = rows.groupby("run")["weights"].transform("nunique") > 1
    kinds = {"slow": (rows["weights"] == "slow") | ~slow, "fast": rows["weights"] == "fast"}
    wanted = sorted({column for pair in METRICS.values() for column in pair})
    values = {}
    for weights, chosen in kinds.items():
        for step in part.read_at:
            at = rows[chosen & (rows["step"] == step)]
            for column in wanted:
                table = at[column].to_numpy(np.float64).reshape(len(part.grids), -1, seeds)
                for grid, numbers in zip(part.grids, table, strict=True):
                    values[grid, weights, step, column] = numbers.T
    return values


@default_errors
def reduced(
    arm: TrialArm, step: int, values: dict[tuple, np.ndarray], runs: Sequence[tuple[str, float]] = ()
) -> Iterator[dict[str, Any]]:
    """Yield what :func:`measure` tells of an arm, a row for each metric and way of tuning.

    Parameters
    ----------
    arm : TrialArm
        Whose grids are in values.
    step : int
        Where weights are read.
    values : dict
        Of :func:`values_of`; the lowest number of a column chooses a run.
    runs : sequence of (str, float), optional
        Grid and rate of each run, if what replicates chose is to be told.

    Yields
    ------
    dict
    """
    for metric, columns in METRICS.items():
        choose, report = (
            np.concatenate([values[grid, arm.weights, step, column] for grid in arm.grids], axis=1)
            for column in columns
        )
        if metric == "test error":
            choose, report = 1 - choose, 1 - report
        for tuning in TUNINGS if metric == "test loss" else TUNINGS[:1]:
            chosen: Any = ()
            if tuning == "own":
                chosen, taken = tuned(choose, report)
            elif tuning == "others":
                chosen, taken = tuned_by_others(choose, report)
            elif choose.shape[1] > RATES:
                finite = np.where(np.isfinite(report), report, np.max(report, where=np.isfinite(report), initial=0))
                finite = np.maximum(finite, LEAST_LOSS)
                taken = np.exp(best_of(choose, np.log(finite), RATES)[RATES].to_numpy())
            else:
                continue
            many = len(chosen) and not arm.grids[0].fixed
            rates = choose.shape[1] // len(arm.grids)
            ends = edge_shares(np.asarray(chosen) % rates, rates) if many else (np.nan, np.nan)
            told = {}
            if runs and tuning == "own":
                told = {
                    f"{key}{i}": runs[run][place] for i, run in enumerate(chosen) for place, key in enumerate(CHOICE)
                }
            shares = dict(zip(("lowest", "highest"), ends, strict=True))
            yield {"metric": metric, "tuning": tuning} | _row(taken) | shares | told


def _ranges(arm: TrialArm, step: int, values: dict[tuple, np.ndarray]) -> Iterator[dict[str, Any]]:
    losses = values[arm.grids[0], arm.weights, step, "test_loss"]
    for metric, within in RANGES.items():
        yield {"metric": metric, "tuning": "own"} | _row(rate_range(losses, within, SPACING))


def _row(of_replicates: np.ndarray) -> dict[str, float]:
    return {f"r{i}": float(f"{value:.8g}") for i, value in enumerate(of_replicates)}


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
    metric : str
        One of ``METRICS`` or ``RANGES``, the reported number. Default: "test loss".
    tuning : {"own", "others", "own of 24"}
        How rates were chosen. Default: "own". Arms with 24 trials have "own" for "own of 24".

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each replicate: ``log(control) - log(arm)`` of
        losses, ``control - arm`` of errors, ``arm - control`` of ranges of rates.

    Raises
    ------
    ValueError
        If rows have no such arm, metric or tuning.
    """
    names = _names(controls)
    control, *further = [_values_of(rows, name, metric, tuning) for name in names]
    for other in further:
        control = control + other
    benefit = control / len(names) - _values_of(rows, arm, metric, tuning)
    return -benefit if metric in RANGES else benefit


def shares_of_gap(
    rows: pd.DataFrame,
    chance: pd.Series,
    arm: str,
    controls: str | Sequence[str],
    metric: str = "test loss",
    tuning: str = "own",
    known: pd.Series | None = None,
) -> pd.DataFrame:
    """Return the benefit of an arm as a share of what can be learned: the gap between chance and the best known loss.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    chance : Series
        The chance-level loss of each task, indexed by ``number``.
    arm, controls, tuning
        As in :func:`benefits`.
    metric : {"test loss", "training loss"}
        Default: "test loss".
    known : Series, optional
        A loss of each task that was reached elsewhere, indexed by ``number``.

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each replicate: ``(control - arm)/(chance - best)``
        of the losses. The best known loss is the lowest mean over replicates of any arm at any length, or known.

    Raises
    ------
    ValueError
        If rows have no such arm, or no arm does better than chance on a task.
    """
    names = _names(controls)
    control = sum(np.exp(_values_of(rows, name, metric, tuning)) for name in names) / len(names)
    own = rows[(rows["metric"] == metric) & (rows["tuning"] == "own")]
    best = own.assign(mean=own[_replicates(rows)].mean(axis=1)).groupby("number")["mean"].min()
    if known is not None:
        best = np.minimum(best, known.loc[best.index])
    gap = chance.loc[best.index] - best
    if (gap <= 0).any():
        number = gap.index[gap <= 0][0]
        raise ValueError(f"chance must be above the best known loss of every task, got {chance[number]} on {number}")
    return (control - np.exp(_values_of(rows, arm, metric, tuning))).div(gap, axis=0)


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
    of_arm = rows[(rows["arm"] == arm) & (rows["metric"] == metric)]
    own = of_arm[of_arm["tuning"] == tuning]
    if tuning == TUNINGS[2]:  # where there are 24 trials in all, it is the same as "own"
        others = of_arm[(of_arm["tuning"] == TUNINGS[0]) & ~of_arm["number"].isin(own["number"])]
        own = whole("pandas").concat([own, others]).sort_values("number", kind="stable")
    if len(own) > own["number"].nunique():
        own = own[own["multiple"] == 1]
    values = own.set_index("number")[_replicates(rows)]
    with np.errstate(divide="ignore"):  # a training loss of 0
        return values if metric == "test error" or metric in RANGES else np.log(values)


def _names(controls: str | Sequence[str]) -> list[str]:
    names = [controls] if isinstance(controls, str) else list(controls)
    if not names:
        raise ValueError("controls must name at least one arm, got none")
    return names


def _replicates(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows.columns if name[0] == "r" and name[1:].isdigit()]
