"""The statistics that claims are judged with: paired gaps over tasks and seeds, their intervals, tests and sizes.

Most take ``gaps``: a series of differences arm - control, indexed by ``task`` and ``seed``, as :func:`paired` makes it.
They are losses or steps: below 0 the arm is better. A task has at least two seeds, and every task counts the same,
however many it has. Neither the order of the rows nor the names of the seeds changes a result. A gap of inf (the arm
diverged) or -inf (the control did) is never dropped: means become infinite, intervals open, ranks extreme.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb.checks import one_of, plain_array, real_number, real_numbers, whole_number

BLOCK = 1000  # resamples held at once: 6 MB for 8 tasks of 100 seeds


class Estimate(NamedTuple):
    """A value and the ends of its interval, in the unit of what it was estimated from.

    value, low, high : float.
    """

    value: float
    low: float
    high: float


# ------------------------------------------------------------------------------------------------------------- gaps


def paired(values, arm, control, scale="difference"):
    """Return the gaps ``arm - control``, or ``log(arm) - log(control)``, of runs that share task and seed.

    A run that diverged (inf or NaN) counts as +inf, so its gap is inf, or -inf where only the control did; where both
    did they are tied and the gap is 0. Cap losses first (:func:`capped`) where means are to stay finite.

    values : frame with the columns task, arm, seed, value, one row per run. arm, control : two names in arm. scale :
    "difference" or "log", which wants positive values. returns : series of float64 indexed by task and seed, sorted.
    errors : TypeError; ValueError, also where the two have not the same seeds.
    """
    one_of("scale", scale, ("difference", "log"))
    if not isinstance(values, pd.DataFrame):
        raise TypeError(f"values must be a frame, not {type(values).__name__}")
    wanted = ["task", "arm", "seed", "value"]
    if lacking := [name for name in wanted if name not in values.columns]:
        raise ValueError(f"values must have the columns {', '.join(wanted)}, and lacks {', '.join(lacking)}")
    known = list(values["arm"].unique())
    if one_of("arm", arm, known) == one_of("control", control, known):
        raise ValueError(f"control must be another arm than {arm!r}")
    if not pd.api.types.is_numeric_dtype(values["value"]):
        raise TypeError(f"values must have numbers in the column value, not {values['value'].dtype}")
    runs = values.set_index(["arm", "task", "seed"])["value"].astype(np.float64).fillna(np.inf)
    if runs.index.has_duplicates:
        raise ValueError(f"values must hold a run once, not {runs.index[runs.index.duplicated()].tolist()[0]!r} again")
    lowest = 0.0 if scale == "log" else -np.inf
    if (runs <= lowest).any():
        raise ValueError(f"values must be above {lowest} on the scale {scale!r}, not {runs[runs <= lowest].iloc[0]}")
    runs = np.log(runs) if scale == "log" else runs
    mine, theirs = (runs.xs(name, level="arm").sort_index() for name in (arm, control))
    if len(odd := mine.index.symmetric_difference(theirs.index)):
        raise ValueError(
            f"{arm!r} and {control!r} must have the same seeds: only one has (task, seed) {odd.tolist()[0]!r}"
        )
    return (mine - theirs).where(mine != theirs, 0.0).rename("gap")  # the difference of two infinities is not a number


def capped(losses, chance):
    """Return losses no higher than chance level; a diverged one (inf or NaN) is at chance level.

    With times and a horizon: the time to a threshold restricted to the horizon, NaN where it was never reached.

    losses : array, series or frame of float. chance : float above 0, or an array with one for each loss. returns : as
    losses. errors : TypeError, ValueError.
    """
    return np.fmin(losses, real_numbers("chance", chance, 0, open_low=True)[()])


def chance_gap(runs: pd.DataFrame, metric: str) -> pd.Series:
    """Return the gap between the chance-level loss and the best loss, the lowest mean loss of an arm, by task.

    runs : frame with the columns ``task``, ``arm``, ``chance`` and metric, see ``trials.Measured``. metric : str, the
    column of the losses. returns : series of float by task.
    """
    best = runs.groupby(["task", "arm"])[metric].mean().groupby("task").min()
    return runs.groupby("task")["chance"].first() - best


def task_means(gaps):
    """Return the mean gap of each task, as the seeds of a single task: with it every interval and test takes the
    tasks, not the seeds, for the random sample, and so speaks of further tasks.

    gaps : series by task and seed, at least 3 tasks. returns : series like gaps. errors : TypeError, ValueError.
    """
    tasks = _tasks(gaps)
    if len(tasks) < 3:
        raise ValueError(f"gaps must have at least 3 tasks to say something of further ones, not {len(tasks)}")
    means = pd.Series([_mean(each) for each in tasks], _names(gaps))
    if means.isna().any():
        raise ValueError(
            f"gaps must have a mean, not inf and -inf as in {means.index[means.isna()].tolist()[0]!r}: see capped"
        )
    return pd.concat({"all tasks": means}, names=["task", "seed"]).rename("gap")


def _names(gaps):
    return gaps.groupby(level="task").size().index


def _tasks(gaps):
    """The gaps of each task in ascending order; a list of arrays is taken as it is."""
    if isinstance(gaps, list):
        return gaps
    if not isinstance(gaps, pd.Series) or [*gaps.index.names] != ["task", "seed"]:
        raise TypeError(f"gaps must be a series indexed by task and seed, not {type(gaps).__name__}")
    if not len(gaps):
        raise ValueError("gaps must have at least one task, not none")
    if gaps.isna().any():
        raise ValueError(f"gaps must be numbers, not NaN as at {gaps.index[gaps.isna()].tolist()[0]!r}: see paired")
    if gaps.index.has_duplicates:
        raise ValueError(f"gaps must hold a seed once, not {gaps.index[gaps.index.duplicated()].tolist()[0]!r} again")
    tasks = {task: np.sort(each.to_numpy(np.float64)) for task, each in gaps.groupby(level="task")}
    if few := [task for task, each in tasks.items() if len(each) < 2]:
        raise ValueError(f"gaps must have at least 2 seeds of each task, not 1 as of {few[0]!r}")
    return [*tasks.values()]


# -------------------------------------------------------------------------------------------------------- estimates


def _mean(values):
    with np.errstate(invalid="ignore"):  # inf and -inf together have no mean
        return values.mean(-1)


def mean_of_tasks(gaps):
    """Return the mean over tasks of the mean over seeds: inf with a gap of inf, NaN with inf and -inf.

    gaps : series by task and seed. returns : float. errors : TypeError, ValueError.
    """
    return _mean(np.stack([_mean(each) for each in _tasks(gaps)], axis=-1))


# -------------------------------------------------------------------------------------------------------- intervals


def student(gaps, level=0.95):
    """Return the mean of tasks with the interval of Student's t for these very tasks, seeds being the random sample.

    ``mean +- t*e``, ``e**2 = sum_i s_i**2/n_i / M**2`` over the M tasks, with the degrees of freedom of Welch and
    Satterthwaite; of one task, the usual interval of a mean. A gap that is infinite makes it (-inf, inf).

    gaps : series by task and seed. level : float in (0, 1). returns : Estimate. errors : TypeError, ValueError.
    Source: Student 1908; Satterthwaite 1946.
    """
    from scipy.stats import t  # here, since it would double the time to import the package

    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    mean, error, freedom = _mean_and_error(_tasks(gaps))
    half = float(t.ppf((1 + level) / 2, freedom)) * error
    return Estimate(mean, mean - half, mean + half) if math.isfinite(mean) else Estimate(mean, -math.inf, math.inf)


def _mean_and_error(tasks):
    """The mean of tasks, its standard error and the degrees of freedom of that."""
    mean = float(mean_of_tasks(tasks))
    if not math.isfinite(mean):
        return mean, math.inf, 1.0
    parts = np.array([each.var(ddof=1) / len(each) / len(tasks) ** 2 for each in tasks])
    shares = parts / parts.sum() if parts.any() else np.full(len(parts), 1 / len(parts))
    freedom = 1 / (shares**2 / [len(each) - 1 for each in tasks]).sum()
    return mean, math.sqrt(parts.sum()), float(freedom)


def by_task(gaps, level=0.95):
    """Return mean, Student interval and number of seeds of each task.

    gaps : series by task and seed. level : float in (0, 1). returns : frame by task with ``mean``, ``low``, ``high``,
    ``n``. errors : TypeError, ValueError. Source: Student 1908.
    """
    tasks = _tasks(gaps)
    rows = pd.DataFrame([student([each], level) for each in tasks], _names(gaps)).rename(columns={"value": "mean"})
    return rows.assign(n=[len(each) for each in tasks])


def over_tasks(gaps, level=0.95):
    """Return the mean of tasks with the Student interval over the means of tasks, the task being a random effect.

    gaps : series by task and seed, at least 3 tasks. level : float in (0, 1). returns : Estimate. errors : TypeError,
    ValueError. Source: Student 1908.
    """
    return student(task_means(gaps), level)


def _generator(seed):
    return np.random.Generator(np.random.Philox(whole_number("seed", seed, 0)))


def ratios_to(values, control, level=0.95, over="tasks"):
    """Return arms as multiples of a control, or each of its own, on each task and, as the task "all", on all of them.

    Geometric means of ratios paired by seed. The interval of a task is that of :func:`by_task`, for its seeds; that of
    "all" is that of :func:`over_tasks`, for further tasks, or of :func:`student`, for these. An arm is compared on the
    tasks it was run on.

    values : frame as for :func:`paired`, of positive values. control : one arm, which every other is compared with, or
    a dict from arms to their controls. level : float in (0, 1). over : "tasks", which takes at least 3 of every arm, or
    "seeds". returns : frame by arm and task, in their order, with ``ratio``, ``low``, ``high``. errors : TypeError,
    ValueError. Source: Student 1908.
    """
    joint = {"tasks": over_tasks, "seeds": student}[one_of("over", over, ("tasks", "seeds"))]
    others = [arm for arm in values["arm"].unique() if arm != control]
    controls = control if isinstance(control, dict) else dict.fromkeys(others, control)
    tables = {}
    for arm, other in controls.items():
        tasks = values["task"][values["arm"] == arm].unique()
        gaps = paired(values[values["task"].isin(tasks)], arm, other, "log")
        table = by_task(gaps, level).drop(columns="n").loc[tasks]
        table.loc["all"] = joint(gaps, level)
        tables[arm] = np.exp(table)
    return pd.concat(tables, names=["arm", "task"]).rename(columns={"mean": "ratio"})


# ------------------------------------------------------------------------------------------------------------ tests


def sign_flip(gaps, shift=0.0, alternative="two-sided", n_resamples=10_000, seed=0):
    """Return the p-value of "the mean of tasks is shift", by flipping the signs of ``gaps - shift``.

    Under it a gap is as likely to be d above shift as d below. All 2**n flips of the n gaps are taken where those are
    no more than n_resamples; else ``p = (b + 1)/(n_resamples + 1)``, b of the random flips being as extreme as what was
    found. "less" asks whether the mean is below shift. A gap that is infinite counts as 2**20 times all finite ones.
    Skewed gaps (30, exponential) make a one-sided test at .05 reject .10 of true shifts on their short side, and .02 on
    the other; Student's does the same.

    gaps : series by task and seed. shift : float. alternative : "two-sided", "less" or "greater". n_resamples : int of
    at least 100. seed : int of at least 0, of the flips. returns : float in (0, 1]. errors : TypeError, ValueError.
    Source: Fisher 1935; Phipson & Smyth 2010.
    """
    shift = real_number("shift", shift, -math.inf)
    one_of("alternative", alternative, ("two-sided", "less", "greater"))
    n_resamples = whole_number("n_resamples", n_resamples, 100)
    generator, tasks = _generator(seed), _tasks(gaps)
    parts = np.concatenate([(each - shift) / (len(each) * len(tasks)) for each in tasks])  # they add up to the mean
    finite = np.isfinite(parts)
    parts[~finite] = np.copysign(2**20 * (np.abs(parts[finite]).sum() or 1), parts[~finite])
    n, extreme = len(parts), 0
    exact = 2**n <= n_resamples
    total = 2**n if exact else n_resamples
    slack = 1e-12 * np.abs(parts).sum()  # sums that are equal but for their rounding
    for first in range(0, total, BLOCK):
        rows = np.arange(first, min(first + BLOCK, total))
        flips = (
            rows[:, None] >> np.arange(n) & 1 if exact else generator.integers(2, size=(len(rows), n), dtype=np.int8)
        )
        extreme += (
            _extremity(np.where(flips, -parts, parts), alternative) >= _extremity(parts, alternative) - slack
        ).sum()
    return float(extreme / total if exact else (extreme + 1) / (total + 1))


def _extremity(parts, alternative):
    mean = parts.sum(-1)
    return {"two-sided": abs(mean), "less": -mean, "greater": mean}[alternative]


def holm(p_values):
    """Return p-values adjusted for their number: ``max over j <= i of min(1, (m - j)*p_(j))``, j = 0..m-1 in ascending
    order, so that those below a level keep the chance of any false one below it.

    p_values : array or series of floats in [0, 1]. returns : as p_values. errors : TypeError, ValueError. Source: Holm
    1979.
    """
    p = real_numbers("p_values", p_values, 0, 1)
    if p.ndim != 1 or not p.size:
        raise ValueError(f"p_values must be one or more in a row, not of shape {p.shape}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return pd.Series(adjusted, p_values.index) if isinstance(p_values, pd.Series) else adjusted


# ------------------------------------------------------------------------------------------------ tuning and times


def best_of(validation, test, n=64):
    """Return the expected test value of the best of 1 to n trials, the best being the one lowest on validation.

    The n are drawn from the trials without replacement, so all n! orders count alike: with N trials ranked by their
    validation value, rank i is best of m with probability ``C(N-i, m-1)/C(N, m)``; trials that tie share theirs. NaN
    (diverged) is ranked last and counts as inf.

    validation, test : frames of the same labels, or arrays of the same shape, a row per seed, a column per trial.
    n : int from 1 to the number of trials. returns : frame, a row per seed, columns 1 to n. errors : TypeError,
    ValueError. Source: Dodge et al. 2019, there with replacement and without a test value.
    """
    from scipy.stats import rankdata  # here, since it would double the time to import the package

    validation, test = (pd.DataFrame(each).astype(np.float64).fillna(np.inf) for each in (validation, test))
    if validation.shape != test.shape or not (
        validation.index.equals(test.index) and validation.columns.equals(test.columns)
    ):
        raise ValueError(f"test must have the seeds and trials of validation, {validation.shape}, not {test.shape}")
    trials = validation.shape[1]
    if not trials:
        raise ValueError("validation must have at least one trial, not none")
    n = whole_number("n", n, 1, trials)
    draws = np.arange(n)[:, None]
    # later[m, i]: none of the first i trials is among m + 1 draws
    later = np.cumprod(np.maximum(trials - draws - np.arange(trials + 1), 0) / (trials - draws), axis=0)
    first, last = (rankdata(validation, method, axis=1).astype(int) for method in ("min", "max"))
    share = ((later[:, first - 1] - later[:, last]) / (last - first + 1)).swapaxes(0, 1)  # seed, draws, trial
    values = np.where(share > 0, test.to_numpy()[:, None], 0)
    return pd.DataFrame((share * values).sum(-1), validation.index, range(1, n + 1))


def kaplan_meier(times, horizon, level=0.95):
    """Return the share of runs that have not reached a threshold yet, after each time at which one did.

    As all runs are censored at one horizon this is the product of Kaplan and Meier and also plainly a share of the n
    runs, so the interval (of each point alone) is the exact binomial one.

    times : array or series of floats of at least 0, one per run; NaN or inf where the threshold was not reached before
    the horizon, up to which every run goes. horizon : float above 0. level : float in (0, 1). returns : frame by
    ``time``, from 0 to the horizon, with ``waiting``, ``low``, ``high``; steps down at each time. errors : TypeError,
    ValueError. Source: Kaplan & Meier 1958; Clopper & Pearson 1934.
    """
    from scipy.stats import beta  # here, since it would double the time to import the package

    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    times, horizon = _checked_times(times, horizon)
    n, reached = len(times), times[times <= horizon]
    grid = np.unique([0.0, *reached, horizon])
    left = n - np.searchsorted(np.sort(reached), grid, side="right")
    with np.errstate(invalid="ignore"):
        low = np.where(left == 0, 0, beta.ppf((1 - level) / 2, left, n - left + 1))
        high = np.where(left == n, 1, beta.ppf((1 + level) / 2, left + 1, n - left))
    return pd.DataFrame({"waiting": left / n, "low": low, "high": high}, pd.Index(grid, name="time"))


def _checked_times(times, horizon):
    times = np.asarray(plain_array("times", times), np.float64)
    if times.ndim != 1 or not times.size:
        raise ValueError(f"times must be one or more in a row, not of shape {times.shape}")
    if (times < 0).any():
        raise ValueError(f"times must be at least 0, not {times[times < 0][0]}")
    return times, real_number("horizon", horizon, 0, open_low=True)
