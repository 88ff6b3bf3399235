"""Is the best sync period half the period of the sharpest preconditioned mode? The experiment of the conjecture T1.

Every task is trained for the same number of steps, which is a multiple of every sync period, so the slow weights are
always read at a sync. For each beta1, AdamW is screened first, on seeds of its own, for its best rate. At that rate
:mod:`lookahead_nb.theory.curvature` measures the largest curvature along the second half of a run. The rate times this
curvature is x, and :func:`lookahead_nb.theory.half_period` predicts the sync period. Nothing is fitted.

Then Lookahead is trained on grids of sync periods, slow steps and rates. With sync period 1 it is AdamW at the rate
times the slow step, so these runs are AdamW's own grid, three times as fine as that of any other sync period.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb import provenance
from lookahead_nb.checks import whole
from lookahead_nb.claims.inference import mean_benefit
from lookahead_nb.claims.population import GeneratedTask, generated, power, ranges_sha256, seeds_of
from lookahead_nb.claims.shards import refuse_outdated
from lookahead_nb.claims.statistics import Estimate
from lookahead_nb.claims.tuning import HOPELESS_ABOVE
from lookahead_nb.optimizers import EMA, AdamW, Lookahead, Optimizer
from lookahead_nb.theory import half_period
from lookahead_nb.theory.curvature import curvature_along
from lookahead_nb.training.sweep import sweep

if TYPE_CHECKING:
    import pandas as pd

NAME = "rule_for_k"
SLOPES = (0.7, 1.3)  # outside of which the rule is falsified
MARGIN = 0.01  # of the gap: the least gain that matters
NEIGHBOURS = 2  # on each side of the lowest point, to which a parabola is fitted
CERTAIN = 0.35  # the largest standard error of a logarithm of the best sync period that counts as known
DIGITS = 6


@dataclass(frozen=True)
class Design:
    """Tasks, settings and seeds of the experiment; the defaults are the registered ones.

    Attributes
    ----------
    first : int
        The number of the first task.
    each : int
        How many tasks without and how many with hidden layers, in the order of their numbers.
    steps : int
        Of every run; a multiple of all sync periods.
    beta1s, sync_periods, slow_steps : tuple
        The settings that are crossed.
    rates, spacing : int and float
        The number of learning rates, and the ratio of two of them.
    seeds, screening_seeds : int
        Replicates of Lookahead's runs, at least 2, and of AdamW's screening.
    screened, lowest : int and float
        The number of rates of the screening, each twice the last, and the first of them.
    measured_at : tuple of int
        Steps at which the curvature is measured.
    eval_rows : int
        The most rows of validation and test part in a loss.
    shard : int
        Tasks in a table.
    """

    first: int = 70_000
    each: int = 34
    steps: int = 420
    beta1s: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95, 0.98)
    sync_periods: tuple[int, ...] = (1, 2, 3, 4, 5, 7, 10, 14, 20)
    slow_steps: tuple[float, ...] = (0.3, 0.5, 0.7)
    rates: int = 8
    spacing: float = 1.6
    seeds: int = 4
    screening_seeds: int = 2
    screened: int = 12
    lowest: float = 3e-4
    measured_at: tuple[int, ...] = (210, 280, 350, 420)
    eval_rows: int = 1000
    shard: int = 8

    @property
    def sha256(self) -> str:
        """The hash of everything that the rows depend on."""
        return hashlib.sha256(json.dumps([asdict(self), ranges_sha256()]).encode()).hexdigest()

    def numbers(self) -> list[int]:
        """Return the numbers of the tasks, without and with hidden layers in turns.

        Returns
        -------
        list of int
        """
        found: dict[bool, list[int]] = {False: [], True: []}
        for number in count(self.first):
            if len(kind := found[bool(generated(number).hidden)]) < self.each:
                kind.append(number)
            elif all(len(kind) == self.each for kind in found.values()):
                break
        return [number for pair in zip(*found.values(), strict=True) for number in pair]

    def all_seeds(self) -> tuple[list[int], list[int]]:
        """Return the seeds of the runs and those of the screening.

        Returns
        -------
        list of int, list of int
            In [2**32, 2**48), from the name of the experiment.
        """
        words = hashlib.sha256(f"{NAME} {self.first}".encode()).hexdigest()
        seeds = seeds_of(words, self.seeds + self.screening_seeds)
        return seeds[: self.seeds], seeds[self.seeds :]


class Measured(NamedTuple):
    """The rows of some tasks.

    Attributes
    ----------
    losses : frame
        A row for each task, beta1, sync period and slow step; an exponential average over a tenth of the steps has a
        sync period of 0 and no slow step. ``lr`` has the lowest mean loss, ``loss``, of all rates. ``without_0`` is
        the lowest mean loss of the other replicates, and ``other_0`` the loss of replicate 0 at their rate; and so on.
        A loss is the mean of those of validation and test part.
    curvature : frame
        A row for each task and beta1: ``chance``, the loss of guessing by class frequencies; ``adamw``, the lowest loss
        of the screening; ``lr``, where it is; ``curvature``, the largest one in units of the preconditioner, the
        geometric mean over steps and seeds; ``gradients``, what one seed took; ``predicted``, the sync period.
    """

    losses: pd.DataFrame
    curvature: pd.DataFrame


def lowest_point(x: Any, y: Any) -> float:
    """Return where a curve is lowest, by a parabola through its lowest point and up to two on each side.

    Parameters
    ----------
    x : (n,) array
        Rising.
    y : (n,) array
        Points that are not finite are left out; at least one is.

    Returns
    -------
    float
        The vertex if the parabola has a minimum, at most at the outermost of its points; else the lowest point.

    Raises
    ------
    ValueError
        If no point is finite.

    Examples
    --------
    >>> from lookahead_nb.claims.rule_for_k import lowest_point
    >>> round(lowest_point([0, 1, 2, 3], [4.0, 1.0, 0.0, 1.0]), 6)
    2.0
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    finite = np.isfinite(y)
    if not finite.any():
        raise ValueError("y must have a finite value, got none")
    x, y = x[finite], y[finite]
    lowest = int(y.argmin())
    part = slice(max(0, lowest - NEIGHBOURS), lowest + NEIGHBOURS + 1)
    x, best = x[part], float(x[lowest])
    if len(x) < 3:
        return best
    bend, slope, _ = np.polyfit(x - best, y[part], 2)
    return best if bend <= 0 else float(np.clip(best - slope / (2 * bend), x[0], x[-1]))


# ----------------------------------------------------------------------------------------------------------- measuring


def measure(design: Design, numbers: Sequence[int], *, progress: bool | Callable[[int, int], None] = True) -> Measured:
    """Train tasks and return their rows.

    Parameters
    ----------
    design : Design
    numbers : sequence of int
        Of tasks.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    Measured
    """
    pd = whole("pandas")

    seeds, own = design.all_seeds()
    tasks = [generated(number) for number in numbers]
    curvature = pd.DataFrame([row for task in tasks for row in _screened(design, task, own, progress)])
    losses = []
    for task in tasks:
        rates = curvature[curvature["number"] == task.number].set_index("beta1")["lr"]
        losses += _tuned(design, task, rates.to_dict(), seeds, progress)
    return Measured(pd.DataFrame(losses), curvature)


def _losses(
    design: Design, task: GeneratedTask, configs: list[Optimizer], seeds: list[int], progress: Any
) -> np.ndarray:
    """Return the loss of each configuration and seed at the end, of the slow weights where there are some."""
    todo = replace(task.task, steps=design.steps, eval_at=[], eval_rows=design.eval_rows, configs=configs)
    rows = sweep([todo], None, None, seeds=seeds, progress=progress)
    kind = "slow" if configs[0].has_slow_weights else "fast"
    rows = rows[(rows["step"] == design.steps) & (rows["weights"] == kind)]
    both = (rows["validation_loss"] + rows["test_loss"]).to_numpy(np.float64) / 2
    return np.where(np.isfinite(both), both, np.inf).reshape(len(configs), len(seeds))


def _screened(design: Design, task: GeneratedTask, seeds: list[int], progress: Any) -> Iterator[dict[str, Any]]:
    """Yield for each beta1 AdamW's best rate and the curvature there."""
    rates = [design.lowest * 2**i for i in range(design.screened)]
    configs: list[Optimizer] = [AdamW(lr, beta1=beta1) for beta1 in design.beta1s for lr in rates]
    means = _losses(design, task, configs, seeds, progress).mean(axis=1).reshape(len(design.beta1s), -1)
    chance = float(np.mean([task.limits(seed).chance_loss for seed in seeds]))
    for beta1, curve in zip(design.beta1s, means, strict=True):
        lr = float(f"{math.exp(lowest_point(np.log(rates), curve)):.4g}")
        found = [_curvature(design, task, AdamW(lr, beta1=beta1), seed) for seed in seeds]
        value = float(f"{math.exp(np.mean([value for value, _ in found])):.6g}")
        yield {
            "number": task.number,
            "hidden": len(task.hidden),
            "beta1": beta1,
            "chance": chance,
            "adamw": float(curve.min()),
            "lr": lr,
            "curvature": value,
            "gradients": found[0][1],
            "predicted": float(f"{half_period(beta1, lr * value):.6g}"),
        }


def _curvature(design: Design, task: GeneratedTask, opt: AdamW, seed: int) -> tuple[float, int]:
    """Return the mean logarithm of the largest curvature along a run, and how many gradients it took."""
    along = curvature_along(
        task.model, task.replicate(seed), opt, design.measured_at, batch_size=task.batch_size, seed=seed
    )
    values = np.maximum(along["curvature"], np.finfo(np.float64).tiny)
    return float(np.log(values).mean()), int(along["gradients"].sum())


def grid_rates(design: Design, centre: float, slow_step: float) -> list[float]:
    """Return the learning rates of Lookahead, or of an average with a slow step of 1.

    Parameters
    ----------
    design : Design
    centre : float
        AdamW's best rate.
    slow_step : float
        In (0, 1].

    Returns
    -------
    list of float
        In ascending order, around ``centre/slow_step**0.75``: from below AdamW's best rate to above ``1/slow_step``
        times as much, with which a slow mode is as fast.
    """
    middle = centre * power(slow_step, -0.75)
    return [middle * power(design.spacing, i - (design.rates - 1) / 2) for i in range(design.rates)]


def _tuned(
    design: Design, task: GeneratedTask, centres: dict[float, float], seeds: list[int], progress: Any
) -> list[dict[str, Any]]:
    cells = [*product(design.beta1s, design.sync_periods, design.slow_steps)]
    cells += [(beta1, 0, 1.0) for beta1 in design.beta1s]
    rates = [grid_rates(design, centres[beta1], slow_step) for beta1, _, slow_step in cells]
    configs: list[Optimizer] = [
        Lookahead(AdamW(lr, beta1=beta1), sync_period=k, slow_step_size=slow_step)
        if k
        else EMA(AdamW(lr, beta1=beta1), window=design.steps // 10)
        for (beta1, k, slow_step), own in zip(cells, rates, strict=True)
        for lr in own
    ]
    losses = _losses(design, task, configs, seeds, progress).reshape(len(cells), design.rates, len(seeds))
    rows = []
    for (beta1, k, slow_step), own, table in zip(cells, rates, losses, strict=True):
        mean = table.mean(axis=1)
        row = {"number": task.number, "beta1": beta1, "sync_period": k, "slow_step": slow_step if k else math.nan}
        row |= {"lr": own[int(mean.argmin())], "loss": mean.min()}
        for r in range(len(seeds)):
            others = np.delete(table, r, axis=1).mean(axis=1)
            row |= {f"without_{r}": others.min(), f"other_{r}": table[int(others.argmin()), r]}
        rows.append({key: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for key, v in row.items()})
    return rows


# -------------------------------------------------------------------------------------------------------------- tables


def shards(design: Design) -> dict[str, list[int]]:
    """Return the numbers of the tasks of each table.

    Parameters
    ----------
    design : Design

    Returns
    -------
    dict of str to list of int
        By the name of the table, "00" and so on.
    """
    numbers = design.numbers()
    return {f"{i:02d}": numbers[at : at + design.shard] for i, at in enumerate(range(0, len(numbers), design.shard))}


def run(
    design: Design | None = None,
    chosen: Collection[str] | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> list[Path]:
    """Measure the tables that are not there yet.

    Parameters
    ----------
    design : Design, optional
        Default: the registered one.
    chosen : collection of str, optional
        Names of :func:`shards`; default: all.
    folder : path, optional
        Default: ``data/results/rule_for_k`` of the checkout.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    list of Path
        Those of the tables of losses that were written. An interruption loses the unfinished one only.

    Raises
    ------
    OutdatedError
        If a table there was made with another design.
    """
    design = Design() if design is None else design
    folder = Path(folder) if folder else provenance.committed("data/results") / NAME
    folder.mkdir(exist_ok=True)
    written = []
    for name, numbers in shards(design).items():
        path = folder / f"{name}.csv"
        if path.is_file():
            refuse_outdated(path, design.sha256, f"the experiment {NAME!r}")
        elif chosen is None or name in chosen:
            found = measure(design, numbers, progress=progress)
            provenance.write_table(found.curvature, f"{name}_curvature", folder=folder, entry=design.sha256)
            written.append(provenance.write_table(found.losses, name, folder=folder, entry=design.sha256))
    return written


def results(design: Design | None = None, folder: str | Path | None = None) -> Measured:
    """Return the committed rows.

    Parameters
    ----------
    design, folder
        As in :func:`run`.

    Returns
    -------
    Measured

    Raises
    ------
    OSError
        If a table is missing.
    OutdatedError
        If a table was made with another design.
    """
    pd = whole("pandas")

    design = Design() if design is None else design
    folder = Path(folder) if folder else provenance.committed("data/results") / NAME
    parts = []
    for name in shards(design):
        paths = [folder / f"{name}{end}.csv" for end in ("", "_curvature")]
        for path in paths:
            refuse_outdated(path, design.sha256, f"the experiment {NAME!r}")
        parts.append([provenance.read_table(path) for path in paths])
    return Measured(*(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)))


# ------------------------------------------------------------------------------------------------------------- verdict


def _learned(measured: Measured) -> pd.DataFrame:
    """Return ``hidden`` and ``chance`` of the tasks of which AdamW learns something, at its best beta1."""
    about = measured.curvature.groupby("number", sort=False)[["hidden", "chance", "adamw"]].min()
    return about.loc[about["adamw"] <= HOPELESS_ABOVE * about["chance"], ["hidden", "chance"]]


def best_periods(measured: Measured) -> pd.DataFrame:
    """Return the best sync period of every task and beta1, next to the predicted one.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    frame
        A row for each task, hopeless ones left out, and beta1.

        - ``number``, ``hidden``, ``beta1``, ``x``, and ``predicted``, the rule, within the range of the grid.
        - ``best``: by :func:`lowest_point` of the loss against the logarithm of the sync period, at the best rate and
          slow step of each.
        - ``error``: the standard error of ``log(best)``, by leaving out each replicate in turn.
        - ``known``: whether it is at most 0.35.
        - ``spread``: the highest loss minus the lowest one of all sync periods, as a share of the gap.
    """
    pd = whole("pandas")

    losses = measured.losses[measured.losses["sync_period"] > 0]
    replicates = [name for name in losses if name.startswith("without_")]
    grid = np.sort(losses["sync_period"].unique())
    logs, n = np.log(grid), len(replicates)
    curves = losses.groupby(["number", "beta1", "sync_period"])[["loss", *replicates]].min()
    lowest, learned = measured.losses.groupby("number")["loss"].min(), _learned(measured)
    found = []
    for row in measured.curvature.itertuples():
        if row.number not in learned.index:
            continue
        table = curves.loc[row.number, row.beta1].loc[grid]
        each = np.array([lowest_point(logs, table[name]) for name in replicates])
        error = math.sqrt((n - 1) / n * ((each - each.mean()) ** 2).sum())
        curve = table["loss"].to_numpy()
        found.append(
            {
                "number": row.number,
                "hidden": row.hidden,
                "beta1": row.beta1,
                "x": row.lr * row.curvature,
                "predicted": float(np.clip(row.predicted, grid[0], grid[-1])),
                "best": math.exp(lowest_point(logs, curve)),
                "error": error,
                "known": error <= CERTAIN,
                "spread": float((curve.max() - curve.min()) / (row.chance - lowest[row.number])),
            }
        )
    return pd.DataFrame(found)


def curves(measured: Measured) -> pd.DataFrame:
    """Return by how much the loss at a sync period is above the lowest one, on average over tasks.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    frame
        A row for each ``beta1`` and ``sync_period``: ``excess``, the mean over the tasks that are not hopeless, as a
        share of the gap between chance and the lowest mean loss. Rate and slow step are the best ones of each.
    """
    losses = measured.losses[measured.losses["sync_period"] > 0]
    gap = _learned(measured)["chance"] - measured.losses.groupby("number")["loss"].min()
    table = losses.groupby(["number", "beta1", "sync_period"])["loss"].min().unstack()
    excess = table.sub(table.min(axis=1), axis=0).div(gap.reindex(table.index.get_level_values(0)).to_numpy(), axis=0)
    return excess.groupby("beta1").mean().stack().rename("excess").reset_index()


def slope(x: Any, y: Any, groups: Any) -> Estimate:
    """Return the slope of a least-squares line with its 95 % confidence interval over groups.

    Parameters
    ----------
    x, y : (n,) array
    groups : (n,) array
        The rows of a group are left out together.

    Returns
    -------
    Estimate
        By the jackknife over groups; NaN with fewer than 3 of them. Source: Efron & Stein 1981.

    Examples
    --------
    >>> from lookahead_nb.claims.rule_for_k import slope
    >>> slope([0, 1, 2, 3], [1, 3, 5, 7], [0, 1, 2, 3]).value
    2.0
    """
    x, y, groups = np.asarray(x, np.float64), np.asarray(y, np.float64), np.asarray(groups)

    def fitted(kept: np.ndarray) -> float:
        centred = x[kept] - x[kept].mean()
        return float(centred @ y[kept] / (centred @ centred))

    names = np.unique(groups)
    if len(names) < 3:
        return Estimate(math.nan, math.nan, math.nan)
    whole_sample = fitted(np.ones(len(x), bool))
    pseudo = len(names) * whole_sample - (len(names) - 1) * np.array([fitted(groups != name) for name in names])
    interval = mean_benefit(np.stack([pseudo, pseudo], axis=1))
    return Estimate(whole_sample, interval.low, interval.high)


def gains(measured: Measured, beta1: float | None = None) -> pd.DataFrame:
    """Return what Lookahead gains on AdamW, and what an average does, each with its settings tuned on other replicates.

    Parameters
    ----------
    measured : Measured
    beta1 : float, optional
        One of the grid. Default: each arm has its own best one.

    Returns
    -------
    frame
        A row for each task that is not hopeless, with the columns ``number``, ``hidden``, ``lookahead`` and
        ``average``: the mean over replicates of the loss of AdamW minus that of the arm, as a share of the gap between
        chance and the lowest mean loss of the task. Lookahead has sync periods above 1.
    """
    pd = whole("pandas")

    losses = measured.losses if beta1 is None else measured.losses[measured.losses["beta1"] == beta1]
    n = sum(name.startswith("without_") for name in losses)
    about = _learned(measured)
    found = []
    for number, (hidden, chance) in zip(about.index, about.to_numpy(), strict=True):
        rows = losses[losses["number"] == number]
        k = rows["sync_period"]
        arms = {"adamw": rows[k == 1], "lookahead": rows[k > 1], "average": rows[k == 0]}
        means = {
            arm: np.mean([part.loc[part[f"without_{r}"].idxmin(), f"other_{r}"] for r in range(n)])
            for arm, part in arms.items()
        }
        gap = chance - measured.losses.loc[measured.losses["number"] == number, "loss"].min()
        gained = {arm: float((means["adamw"] - means[arm]) / gap) for arm in ("lookahead", "average")}
        found.append({"number": number, "hidden": int(hidden)} | gained)
    return pd.DataFrame(found)


class Verdict(NamedTuple):
    """How the conjecture came out.

    Attributes
    ----------
    falsified : bool
        Whether the slope lies outside of ``SLOPES``, or the gain below ``MARGIN``.
    slope : Estimate
        Of the logarithm of the best sync period against that of the rule, over the known ones.
    slope_of_all : Estimate
        The same, over all.
    slope_where_it_matters : Estimate
        The same, over the known ones with a ``spread`` of at least ``MARGIN``.
    gain : Estimate
        Of Lookahead on AdamW, each with its best beta1, as a share of the gap; the mean over tasks.
    gain_at : Estimate
        The same, both at beta1 0.9.
    average : Estimate
        The gain of the average, with its best beta1.
    tasks, known, all, mattering : int
        The number of tasks, and that of the known, all and mattering best sync periods.
    """

    falsified: bool
    slope: Estimate
    slope_of_all: Estimate
    slope_where_it_matters: Estimate
    gain: Estimate
    gain_at: Estimate
    average: Estimate
    tasks: int
    known: int
    all: int
    mattering: int


def judge(measured: Measured) -> Verdict:
    """Judge the conjecture by its registered rule.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    Verdict
    """
    best = best_periods(measured)
    known = best[best["known"]]
    parts = (known, best, known[known["spread"] >= MARGIN])
    of_known, of_all, where = (
        slope(np.log(part["predicted"]), np.log(part["best"]), part["number"]) for part in parts
    )  # fmt: skip
    tuned, fixed = gains(measured), gains(measured, 0.9)
    gain, average, gain_at = (
        mean_benefit(np.stack([column, column], axis=1))
        for column in (tuned["lookahead"], tuned["average"], fixed["lookahead"])
    )
    falsified = not SLOPES[0] <= of_known.value <= SLOPES[1] or gain.value < MARGIN
    return Verdict(
        falsified, of_known, of_all, where, gain, gain_at, average,
        tasks=best["number"].nunique(), known=len(parts[0]), all=len(parts[1]), mattering=len(parts[2]),
    )  # fmt: skip


def outcome(verdict: Verdict) -> str:
    """Return a verdict in words, as the file of the conjecture has it.

    Parameters
    ----------
    verdict : Verdict

    Returns
    -------
    str
    """
    percent = [Estimate(*(100 * end for end in one)) for one in (verdict.gain, verdict.gain_at, verdict.average)]
    gain, gain_at, average = (f"{one.value:.2f} % of the gap [{one.low:.2f}, {one.high:.2f}]" for one in percent)
    known, of_all, matters = (f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in verdict[1:4])
    return (
        f"{'Falsified' if verdict.falsified else 'Not falsified'}. On {verdict.tasks} tasks the slope is {known} over "
        f"the {verdict.known} best sync periods that are known, {of_all} over all {verdict.all}, and {matters} over "
        f"the {verdict.mattering} known ones whose choice matters by 1 % of the gap or more. Lookahead gains {gain} "
        f"with beta1 tuned for both, and {gain_at} at beta1 0.9. An average gains {average}. Brackets hold 95 % "
        "confidence intervals over tasks."
    )
