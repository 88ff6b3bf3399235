"""Where a measured difference between two optimizers comes from: variance components, and what they do to findings.

The value y of a design has the indices draw, split (within the draw), choice of rates and reporting seed (crossed
within the split). All components are independent, with mean 0 and a variance of their own:

``y = mean of the task + draw + split + choice + seed + choice x seed``

Each variance is a difference of two means of products of values: those that share the component and those that do not.
On such a balanced design these are the estimates of the analysis of variance. They are unbiased, and may be negative.
Source: Searle, Casella & McCulloch 1992, "Variance components", chapter 4.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, real_number, real_numbers, whole, whole_number
from lookahead_nb.claims import comparing
from lookahead_nb.claims.statistics import Estimate, _generator, clopper_pearson

if TYPE_CHECKING:
    import pandas as pd

OTHERS = [name for name in comparing.ARMS if name not in (comparing.CONTROL, comparing.AGAIN)]
SEVERAL = [n for n in comparing.FINE if n < comparing.TUNING]  # tuning seeds for which there are several choices
BENCHMARK = 8  # tasks
THIRD = 1 / 3
FARTHEST = 120  # tuning seeds, ten times the most that were compared
NORMAL = 1.959963984540054  # the 97.5 % point of the normal distribution


class Components(NamedTuple):
    """The mean of a task and the variances of what a measured value consists of.

    Attributes
    ----------
    mean : float
        Of all values.
    square : float
        The square of the mean of the task, without bias.
    draw, split, tuning, seed, interaction : float
        Variances: of a data set, of its division, of the choice of rates, of a reporting seed, and of a seed together
        with a choice. NaN for tuning, seed and interaction if there is a single choice.
    """

    mean: float
    square: float
    draw: float
    split: float
    tuning: float
    seed: float
    interaction: float


@default_errors
def components(values: Any, independent: Any = None) -> Components:
    """Return the variance components of one task.

    Parameters
    ----------
    values : (draws, splits, choices, seeds) array
        At least 2 draws, splits and seeds.
    independent : (choices, choices) bool array, optional
        Which pairs of choices share nothing. Default: all pairs of two different choices.

    Returns
    -------
    Components

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.claims.components import components
    >>> draws = np.array([-1.0, 1.0])  # and nothing else differs
    >>> round(components(np.tile(draws[:, None, None, None], (1, 2, 2, 2))).draw, 12)
    2.0
    """
    y = real_numbers("values", values, -math.inf)
    if y.ndim != 4 or min(y.shape[0], y.shape[1], y.shape[3]) < 2 or not y.size:
        raise ValueError(f"values must have at least 2 draws, 2 splits, a choice and 2 seeds, got shape {y.shape}")
    choices = y.shape[2]
    pairs = ~np.eye(choices, dtype=bool) if independent is None else np.asarray(independent, bool)
    if pairs.shape != (choices, choices) or pairs.diagonal().any() or (pairs != pairs.T).any():
        raise ValueError(f"independent must be symmetric, without the diagonal, for {choices} choices")
    mean = float(y.mean())
    y = y - mean  # differences of means of products stay the same, and are more exact
    cells = y.mean(axis=(2, 3))
    other_draw, other_split = _others(cells.mean(axis=1)), _others(cells)
    if pairs.any():
        same_seed = np.einsum("dsjr,dskr,jk->", y, y, pairs) / (pairs.sum() * y.size / choices)
        sums = y.sum(axis=3)
        both = np.einsum("dsj,dsk,jk->", sums, sums, pairs) / (pairs.sum() * y.size / choices)
        other_both = (both - same_seed) / (y.shape[3] - 1)
        other_seed, same = _others(y), float((y * y).mean())
        tuning, seed = other_seed - other_both, same_seed - other_both
        interaction = same - other_seed - seed
    else:
        other_both, tuning, seed, interaction = _others(y), math.nan, math.nan, math.nan
    split, draw = other_both - other_split, other_split - other_draw
    return Components(mean, mean * mean + other_draw, *map(float, (draw, split, tuning, seed, interaction)))


def _others(values: np.ndarray) -> float:
    """Return the mean product of two different values along the last axis."""
    n = values.shape[-1]
    return float(((values.sum(axis=-1) ** 2 - (values**2).sum(axis=-1)) / (n * (n - 1))).mean())


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the components of every task, arm, grid and number of tuning seeds.

    Parameters
    ----------
    rows : frame
        Of :func:`.comparing.measure`.

    Returns
    -------
    frame
        The columns ``number``, ``arm``, ``grid``, ``tuning_seeds``, and those of :class:`Components`, with the variance
        of one reported run for a given choice as ``run``: seed plus interaction. On fine grids a choice depends on its
        seeds; on coarse ones on the shifts of the grids too.
    """
    pd = whole("pandas")

    found = []
    for grid, numbers in (("fine", SEVERAL), ("coarse", comparing.COARSE)):
        for seeds in numbers:
            for arm in (comparing.AGAIN, *OTHERS):
                for number, values in comparing.benefits(rows, arm, seeds, grid).items():
                    pairs = None
                    if grid == "coarse":
                        blocks, grids = values.shape[2:4]
                        block, of_grid = (places.ravel() for places in np.indices((blocks, grids)))
                        pairs = (block[:, None] != block) & (of_grid[:, None] != of_grid)
                        values = values.reshape(*values.shape[:2], blocks * grids, -1)
                    keys = {"number": number, "arm": arm, "grid": grid, "tuning_seeds": seeds}
                    parts = components(values, pairs)
                    found.append(keys | parts._asdict() | {"run": parts.seed + parts.interaction})
    return pd.DataFrame(found)


def ratios(parts: pd.DataFrame, tuning_seeds: int, grid: str = "fine") -> pd.Series:
    """Return the variance of the choice of rates as a multiple of that of one run, for each task.

    Parameters
    ----------
    parts : frame
        Of :func:`table`.
    tuning_seeds : int
        For which components are there.
    grid : {"fine", "coarse"}, default "fine"

    Returns
    -------
    Series
        Indexed by ``number``: the sum over all arms but the second AdamW of the one over that of the other.
    """
    chosen = parts[(parts["grid"] == grid) & (parts["tuning_seeds"] == tuning_seeds) & parts["arm"].isin(OTHERS)]
    sums = chosen.groupby("number", sort=False)[["tuning", "run"]].sum()
    return sums["tuning"] / sums["run"]


def share_above(values: Any, limit: float) -> Estimate:
    """Return the share of values that are at least as large as a limit, and its Clopper-Pearson interval.

    Parameters
    ----------
    values : array
        At least one.
    limit : float

    Returns
    -------
    Estimate
    """
    above = real_numbers("values", values, -math.inf) >= limit
    low, high = clopper_pearson(int(above.sum()), above.size)
    return Estimate(float(above.mean()), float(low), float(high))


def forms(parts: pd.DataFrame, seeds: int = 6) -> pd.DataFrame:
    """Return on how many tasks the choice of a rate has at least a third of the variance of the reported seeds.

    Parameters
    ----------
    parts : frame
        Of :func:`table`.
    seeds : int, default 6
        Tuning seeds of each choice, and reporting seeds of a mean.

    Returns
    -------
    frame
        A row for each form of the conjecture T2: ``grid``; ``reporting_seeds``, those whose mean is compared;
        ``middle``, the median ratio of both variances; ``share``, ``low`` and ``high``, the share of tasks on which it
        is at least a third, and its 95 % interval.
    """
    pd = whole("pandas")

    found = []
    for grid, reporting in (("fine", seeds), ("coarse", 1), ("fine", 1)):
        of_tasks = reporting * ratios(parts, seeds, grid)
        share = share_above(of_tasks, THIRD)
        keys = {"grid": grid, "reporting_seeds": reporting, "middle": float(of_tasks.median())}
        found.append(keys | dict(zip(("share", "low", "high"), share, strict=True)))
    return pd.DataFrame(found)


def pooled(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the components of a comparison on any task: means over tasks, and the variance between tasks.

    Parameters
    ----------
    parts : frame
        Of :func:`table`.

    Returns
    -------
    frame
        The columns ``arm``, ``grid``, ``tuning_seeds``, ``mean``, ``task``, ``draw``, ``split``, ``tuning``, ``run``.
    """
    pd = whole("pandas")

    found = []
    for keys, of_tasks in parts.groupby(["arm", "grid", "tuning_seeds"], sort=False):
        means = of_tasks["mean"].to_numpy()
        row = dict(zip(("arm", "grid", "tuning_seeds"), keys, strict=True))
        row |= {"mean": float(means.mean()), "task": float(of_tasks["square"].mean()) - _others(means)}
        found.append(row | of_tasks[["draw", "split", "tuning", "run"]].mean().to_dict())
    return pd.DataFrame(found)


# ----------------------------------------------------------------------------------------------------------- findings


def findings(rows: pd.DataFrame, arm: str, tuning_seeds: int, reporting_seeds: int, grid: str = "fine") -> pd.DataFrame:
    """Return what papers would report: each on one split, tuned once, with its own seeds.

    Parameters
    ----------
    rows, arm, grid
        As in :func:`.comparing.benefits`.
    tuning_seeds : int
        Of a paper.
    reporting_seeds : int
        Of a paper; it divides those of the design.

    Returns
    -------
    frame
        A row for each paper: ``number``, ``draw`` and ``split``; ``benefit``, its mean over the reporting seeds, and
        ``error``, their standard error (NaN of a single seed); ``truth``, the mean benefit on all other data sets of
        the task, tuned on all seeds. A paper and its truth share no run.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    best = comparing.benefits(rows, arm, comparing.TUNING)
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("draw", "split", "benefit", "error", "truth", "number")
    }
    for number, values in comparing.benefits(rows, arm, tuning_seeds, grid).items():
        draws, splits, seeds = values.shape[0], values.shape[1], values.shape[-1]
        whole_number("reporting_seeds", reporting_seeds, 1, seeds)
        if seeds % reporting_seeds:
            raise ValueError(f"reporting_seeds must divide {seeds}, got {reporting_seeds}")
        papers = values.reshape(draws, splits, -1, reporting_seeds)
        means = best[number].mean(axis=(1, 2, 3))
        truth = (means.sum() - means) / (draws - 1)
        benefit = papers.mean(axis=3)
        error = np.full(benefit.shape, np.nan)
        if reporting_seeds > 1:
            error = papers.std(axis=3, ddof=1) / math.sqrt(reporting_seeds)
        draw, split, _ = np.indices(benefit.shape)
        of_task = draw, split, benefit, error, truth[:, None, None], np.int64(number)
        for column, own in zip(columns.values(), of_task, strict=True):
            column.append(np.broadcast_to(own, benefit.shape).ravel())
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def significant(found: pd.DataFrame, reporting_seeds: int, level: float = 0.95) -> np.ndarray:
    """Return what a paired t-test over the reporting seeds says of each paper.

    Parameters
    ----------
    found : frame
        Of :func:`findings`.
    reporting_seeds : int
        Of a paper, at least 2.
    level : float, default 0.95
        Of the two-sided interval, in (0, 1).

    Returns
    -------
    (papers,) int array
        1 if the arm is significantly better, -1 if it is significantly worse, 0 otherwise.
    """
    special = whole("scipy.special")  # imported late: it would double the import time of the package

    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    limit = special.stdtrit(whole_number("reporting_seeds", reporting_seeds, 2) - 1, (1 + level) / 2)
    return np.where(np.abs(found["benefit"]) > limit * found["error"], np.sign(found["benefit"]), 0).astype(int)


class Reliability(NamedTuple):
    """What findings are worth.

    Attributes
    ----------
    share : float
        The share of papers that report a finding.
    false : float
        The share of findings whose truth has the other sign.
    false_low, false_high : float
        Its 95 % interval.
    kept : float
        The mean truth of findings over their mean reported benefit.
    """

    share: float
    false: float
    false_low: float
    false_high: float
    kept: float


@default_errors
def reliability(found: pd.DataFrame, says: Any, *, draws: int = 1000, seed: int = 0) -> Reliability:
    """Return how often findings that an arm is better are false.

    Parameters
    ----------
    found : frame
        Of :func:`findings`, of one or more arms.
    says : (papers,) bool array
        Which of them say that the arm is better.
    draws : int, default 1000
        Of the bootstrap over tasks, at least 100.
    seed : int, default 0
        Of these draws.

    Returns
    -------
    Reliability
        NaN without a finding.
    """
    says = np.asarray(says, bool)
    if not says.any():
        return Reliability(0.0, *[math.nan] * 4)
    false = share_of_papers(found, says, found["truth"].to_numpy() <= 0, draws=draws, seed=seed)
    kept = found["truth"][says].sum() / found["benefit"][says].sum()
    return Reliability(float(says.mean()), *false, float(kept))


def share_of_papers(found: pd.DataFrame, of: Any, are: Any, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """Return which share of some papers has a property, with a 95 % interval from a bootstrap over tasks.

    Parameters
    ----------
    found : frame
        Of :func:`findings`.
    of, are : (papers,) bool array
        The papers in question, at least one, and those with the property.
    draws : int, default 1000
        At least 100.
    seed : int, default 0
        Of these draws.

    Returns
    -------
    Estimate
    """
    pd = whole("pandas")

    of, draws = np.asarray(of, bool), whole_number("draws", draws, 100)
    task = pd.factorize(found["number"])[0]
    both = of & np.asarray(are, bool)
    counts = np.stack([np.bincount(task[papers], minlength=task.max() + 1) for papers in (of, both)], axis=1)
    drawn = counts[_generator(seed).integers(len(counts), size=(draws, len(counts)))].sum(axis=1)
    some = drawn[drawn[:, 0] > 0]
    low, high = np.quantile(some[:, 1] / some[:, 0], [0.025, 0.975])
    return Estimate(float(counts[:, 1].sum() / counts[:, 0].sum()), float(low), float(high))


def benchmarks(found: pd.DataFrame, *, tasks: int = BENCHMARK, number: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Return what papers with several tasks would report, with one row of :func:`findings` for each of their tasks.

    Parameters
    ----------
    found : frame
        Of :func:`findings`, of one arm.
    tasks : int, default 8
        Of a paper, drawn without replacement; at least 2.
    number : int, default 4000
        Of papers.
    seed : int, default 0
        Of the draws.

    Returns
    -------
    frame
        A row for each paper: ``benefit``, its mean over tasks; ``error``, the standard error from its tasks;
        ``error_seeds``, the one from the reporting seeds of every task, as if all else were certain; ``truth``, the
        mean truth of all tasks.
    """
    pd = whole("pandas")

    generator, number = _generator(seed), whole_number("number", number, 1)
    of_task = [own[["benefit", "error"]].to_numpy() for _, own in found.groupby("number", sort=False)]
    tasks = whole_number("tasks", tasks, 2, len(of_task))
    firsts = np.cumsum([0, *map(len, of_task)])
    chosen = generator.random((number, len(of_task))).argsort(axis=1)[:, :tasks]
    papers = firsts[chosen] + generator.integers(np.diff(firsts)[chosen])
    benefit, error = np.moveaxis(np.concatenate(of_task)[papers], -1, 0)
    return pd.DataFrame(
        {
            "benefit": benefit.mean(axis=1),
            "error": benefit.std(axis=1, ddof=1) / math.sqrt(tasks),
            "error_seeds": np.sqrt((error**2).sum(axis=1)) / tasks,
            "truth": float(found.groupby("number")["truth"].mean().mean()),
        }
    )


# ------------------------------------------------------------------------------------------------- what a claim needs


def power_law(seeds: Any, variances: Any) -> tuple[float, float]:
    """Return c and g of ``variance = c * seeds**-g``, by least squares of logarithms.

    Parameters
    ----------
    seeds, variances : (n,) array
        Above 0, at least 2.

    Returns
    -------
    c, g : float

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> from lookahead_nb.claims.components import power_law
    >>> [round(float(x), 6) for x in power_law([1, 4], [8.0, 2.0])]
    [8.0, 1.0]
    """
    x, y = (np.log(real_numbers(*given, 0, open_low=True)) for given in (("seeds", seeds), ("variances", variances)))
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(f"seeds and variances must be alike and at least 2, got shapes {x.shape} and {y.shape}")
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(np.exp(y.mean() - slope * x.mean())), float(-slope)


def seeds_needed(
    difference: float, c: float, g: float, *, run: float = 0.0, reporting_seeds: float = math.inf
) -> float:
    """Return how many tuning seeds each optimizer needs for a difference on one split to exceed its own luck.

    Parameters
    ----------
    difference : float
        Of logarithms of losses, above 0.
    c, g : float
        Of :func:`power_law`, above 0.
    run : float, default 0
        The variance of one reported run, at least 0.
    reporting_seeds : float, default inf
        How many runs are reported.

    Returns
    -------
    float
        The lowest n with ``1.96*sqrt(c*n**-g + run/reporting_seeds) <= difference``, at least 1, not rounded; inf if
        the reporting seeds alone are too few.
    """
    difference = real_number("difference", difference, 0, open_low=True)
    left = (difference / NORMAL) ** 2 - run / reporting_seeds
    return math.inf if left <= 0 else max(1.0, (c / left) ** (1 / g))


# ------------------------------------------------------------------------------------------------------------- tables


def sources(whole_table: pd.DataFrame, numbers: Any = SEVERAL) -> pd.DataFrame:
    """Return what the variance of one reported difference consists of, with as many reporting as tuning seeds.

    Parameters
    ----------
    whole_table : frame
        Of :func:`pooled`.
    numbers : sequence of int, optional
        Numbers of seeds. Default: ``SEVERAL``.

    Returns
    -------
    frame
        The columns ``seeds``, ``source`` ("choice of the rate", "reporting seeds", "split" or "data set") and
        ``variance``, the mean over the arms.
    """
    pd = whole("pandas")

    fine = whole_table[(whole_table["grid"] == "fine") & whole_table["arm"].isin(OTHERS)]
    means = fine.groupby("tuning_seeds")[["tuning", "run", "split", "draw"]].mean()
    found = []
    for n in numbers:
        tuning, run, split, draw = means.loc[n]
        parts = {"choice of the rate": tuning, "reporting seeds": run / n, "split": split, "data set": draw}
        found += [{"seeds": int(n), "source": name, "variance": float(value)} for name, value in parts.items()]
    return pd.DataFrame(found)


def against_itself(rows: pd.DataFrame, reporting_seeds: int = 4) -> pd.DataFrame:
    """Return how often AdamW differs significantly from AdamW, by a paired t-test over reporting seeds.

    Parameters
    ----------
    rows : frame
        Of :func:`.comparing.measure`.
    reporting_seeds : int, default 4
        Of a paper.

    Returns
    -------
    frame
        The columns ``grid``, ``tuning_seeds``; ``share``, ``low`` and ``high``, the share of papers with a difference
        at the 5 % level, and its 95 % interval; ``large``, the share of papers in which it is above 1 % too.
    """
    pd = whole("pandas")

    found = []
    for grid, numbers in (("fine", comparing.FINE), ("coarse", comparing.COARSE)):
        for seeds in numbers:
            papers = findings(rows, comparing.AGAIN, seeds, reporting_seeds, grid)
            differs = significant(papers, reporting_seeds) != 0
            share = share_of_papers(papers, np.ones(len(papers), bool), differs)
            large = float((differs & (papers["benefit"].abs() > 0.01)).mean())
            keys = {"grid": grid, "tuning_seeds": seeds}
            found.append(keys | dict(zip(("share", "low", "high"), share, strict=True)) | {"large": large})
    return pd.DataFrame(found)


def false_findings(rows: pd.DataFrame, above: Any = (0.0, 0.01, 0.02, 0.05)) -> pd.DataFrame:
    """Return how often findings that an arm beats AdamW are false, over all arms.

    Parameters
    ----------
    rows : frame
        Of :func:`.comparing.measure`.
    above : sequence of float, optional
        A finding is a reported benefit above it. Default: 0, 1, 2 and 5 %.

    Returns
    -------
    frame
        The columns ``grid``, ``tuning_seeds``, ``reporting_seeds`` (1 and 4), ``above`` and those of
        :class:`Reliability`. The row with ``above`` NaN counts significant benefits, by a paired t-test at the 5 %
        level.
    """
    pd = whole("pandas")

    found = []
    for grid, numbers in (("fine", comparing.FINE), ("coarse", comparing.COARSE)):
        for seeds in numbers:
            for reporting in (1, 4):
                papers = pd.concat([findings(rows, arm, seeds, reporting, grid) for arm in OTHERS], ignore_index=True)
                keys = {"grid": grid, "tuning_seeds": seeds, "reporting_seeds": reporting}
                says = {float(limit): papers["benefit"] > limit for limit in above}
                if reporting > 1:
                    says[math.nan] = significant(papers, reporting) > 0
                found += [
                    keys | {"above": limit} | reliability(papers, papers_that_say)._asdict()
                    for limit, papers_that_say in says.items()
                ]
    return pd.DataFrame(found)


def of_benchmarks(rows: pd.DataFrame, reporting_seeds: int = 4) -> pd.DataFrame:
    """Return how reliable papers with ``BENCHMARK`` tasks are.

    Parameters
    ----------
    rows : frame
        Of :func:`.comparing.measure`.
    reporting_seeds : int, default 4
        Of each task.

    Returns
    -------
    frame
        A row for each arm and number of tuning seeds, on fine grids: ``mean``, the true benefit over all tasks;
        ``spread``, the standard deviation of a reported mean; ``wrong``, the share of papers with the other sign;
        ``by_seeds`` and ``by_tasks``, the shares of papers with a benefit that differs significantly from zero, by the
        errors of :func:`benchmarks` and at the 5 % level.
    """
    pd, special = whole("pandas"), whole("scipy.special")

    limit, found = special.stdtrit(BENCHMARK - 1, 0.975), []
    for arm in (comparing.AGAIN, *OTHERS):
        for seeds in comparing.FINE:
            papers = benchmarks(findings(rows, arm, seeds, reporting_seeds))
            benefit, truth = papers["benefit"], float(papers["truth"].iloc[0])
            found.append(
                {
                    "arm": arm, "tuning_seeds": seeds, "mean": truth, "spread": float(benefit.std()),
                    "wrong": float((np.sign(benefit) != np.sign(truth)).mean()),
                    "by_seeds": float((benefit.abs() > NORMAL * papers["error_seeds"]).mean()),
                    "by_tasks": float((benefit.abs() > limit * papers["error"]).mean()),
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def luck(parts: pd.DataFrame) -> pd.DataFrame:
    """Return which difference on one split the choice of rates alone can make.

    Parameters
    ----------
    parts : frame
        Of :func:`table`.

    Returns
    -------
    frame
        The columns ``grid``, ``tuning_seeds``; ``mean``, ``lower``, ``middle`` and ``upper``: 1.96 times the root of
        the variance of the choice, averaged over the arms, for the mean over tasks and the quartiles of tasks.
    """
    pd = whole("pandas")

    chosen, found = parts[parts["arm"].isin(OTHERS)], []
    for keys, of in chosen.groupby(["grid", "tuning_seeds"], sort=False):
        of_tasks = of.groupby("number")["tuning"].mean().clip(lower=0)
        ends = [of_tasks.mean(), *of_tasks.quantile([0.25, 0.5, 0.75])]
        sizes = {
            name: NORMAL * math.sqrt(end) for name, end in zip(("mean", "lower", "middle", "upper"), ends, strict=True)
        }
        found.append(dict(zip(("grid", "tuning_seeds"), keys, strict=True)) | sizes)
    return pd.DataFrame(found)


def needed(whole_table: pd.DataFrame, differences: Any = (0.01, 0.02, 0.05)) -> pd.DataFrame:
    """Return what it takes to resolve a difference, at the mean variances over tasks and arms.

    Parameters
    ----------
    whole_table : frame
        Of :func:`pooled`.
    differences : sequence of float, optional
        Of logarithms of losses. Default: 1, 2 and 5 %.

    Returns
    -------
    frame
        Indexed by ``difference``:

        - ``fine``, ``coarse``: the tuning seeds of each optimizer at which the choice of a rate makes no such
          difference, by the :func:`power_law` of each grid. It is inf beyond ``FARTHEST``, since the shift of a coarse
          grid stays however many seeds choose.
        - ``reporting``: the reporting seeds at which a mean of runs makes none.
        - ``repeats``: the repetitions of everything whose mean makes none, each with its own data set and with rates
          tuned on one seed of a fine grid.
    """
    pd = whole("pandas")

    means = whole_table[whole_table["arm"].isin(OTHERS)].groupby(["grid", "tuning_seeds"])
    means = means[["tuning", "run", "split", "draw"]].mean()
    run = float(means.loc[("fine", SEVERAL[-1]), "run"])
    laws = {
        grid: power_law(own.index.get_level_values("tuning_seeds"), own["tuning"])
        for grid, own in means.groupby("grid", sort=False)
    }
    once = float(means.loc[("fine", 1)].clip(lower=0).sum())
    found = []
    for difference in differences:
        seeds = {grid: seeds_needed(difference, *laws[grid]) for grid in ("fine", "coarse")}
        row: dict[str, float] = {grid: math.ceil(n) if n <= FARTHEST else math.inf for grid, n in seeds.items()}
        row |= {"reporting": math.ceil(run * (NORMAL / difference) ** 2)}
        found.append({"difference": difference} | row | {"repeats": math.ceil(once * (NORMAL / difference) ** 2)})
    return pd.DataFrame(found).set_index("difference")
