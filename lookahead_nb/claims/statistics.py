"""The statistics that judge claims: paired gaps over tasks and seeds, with intervals, tests and sizes.

Most functions accept ``gaps``: a series of differences arm - control, indexed by ``task`` and ``seed``, as
:func:`paired` makes it. The values are losses or steps, so below 0 the arm is better. A task has at least two seeds,
and every task counts the same, however many seeds it has. Neither the order of the rows nor the names of the seeds
changes a result. A gap of inf (the arm diverged) or -inf (the control did) is never dropped: means become infinite,
intervals open and ranks extreme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb.checks import default_errors, one_of, plain_array, real_number, real_numbers, whole, whole_number

BLOCK = 1000  # resamples held at once: 6 MB for 8 tasks of 100 seeds


class Estimate(NamedTuple):
    """A value and the ends of its interval, in the unit of the data.

    Attributes
    ----------
    value, low, high : float
        The value, and the lower and upper end of its interval.
    """

    value: float
    low: float
    high: float


# ------------------------------------------------------------------------------------------------------------- gaps


@default_errors
def paired(values: pd.DataFrame, arm: str, control: str, scale: str = "difference") -> pd.Series:
    """Return the gaps ``arm - control``, or ``log(arm) - log(control)``, of runs that share task and seed.

    A run that diverged (inf or NaN) counts as +inf, so its gap is inf, or -inf if only the control diverged. If both
    did, they are tied and the gap is 0. Cap losses first (:func:`capped`) to keep means finite.

    Parameters
    ----------
    values : DataFrame
        The columns task, arm, seed and value, one row per run.
    arm, control : str
        Two names in the column arm.
    scale : {"difference", "log"}
        "log" needs positive values. Default: "difference".

    Returns
    -------
    Series of float64
        Indexed by task and seed, sorted.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or the two arms have different seeds.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = {"task": "t", "arm": ["a", "a", "b", "b"], "seed": [1, 2, 1, 2], "value": [3.0, 4.0, 1.0, 1.0]}
    >>> paired(pd.DataFrame(columns), "a", "b").tolist()
    [2.0, 3.0]
    """
    one_of("scale", scale, ("difference", "log"))
    if not isinstance(values, pd.DataFrame):
        raise TypeError(f"values must be a frame, got {type(values).__name__}")
    wanted = ["task", "arm", "seed", "value"]
    if lacking := [name for name in wanted if name not in values.columns]:
        raise ValueError(f"values must have the columns {', '.join(wanted)}, and lacks {', '.join(lacking)}")
    known = list(values["arm"].unique())
    if one_of("arm", arm, known) == one_of("control", control, known):
        raise ValueError(f"control must be another arm than {arm!r}")
    if not pd.api.types.is_numeric_dtype(values["value"]):
        raise TypeError(f"values must have numbers in the column value, got {values['value'].dtype}")
    runs = values.set_index(["arm", "task", "seed"])["value"].astype(np.float64).fillna(np.inf)
    if runs.index.has_duplicates:
        raise ValueError(f"values must hold a run once, got {runs.index[runs.index.duplicated()].tolist()[0]!r} again")
    lowest = 0.0 if scale == "log" else -np.inf
    if (runs <= lowest).any():
        raise ValueError(f"values must be above {lowest} on the scale {scale!r}, got {runs[runs <= lowest].iloc[0]}")
    runs = np.log(runs) if scale == "log" else runs
    arm_runs, control_runs = (runs.xs(name, level="arm").sort_index() for name in (arm, control))
    if len(odd := arm_runs.index.symmetric_difference(control_runs.index)):
        raise ValueError(
            f"{arm!r} and {control!r} must have the same seeds: only one has (task, seed) {odd.tolist()[0]!r}"
        )
    return (
        (arm_runs - control_runs).where(arm_runs != control_runs, 0.0).rename("gap")
    )  # the difference of two infinities is not a number


@default_errors
def capped(losses: Any, chance: Any) -> Any:
    """Return losses no higher than the chance-level loss; a diverged run (inf or NaN) is at chance level.

    The function also restricts times to a horizon, with NaN for a run that never reached the threshold.

    Parameters
    ----------
    losses : array, Series or DataFrame of float
        The losses.
    chance : float or array
        Above 0; an array has one value for each loss.

    Returns
    -------
    array, Series or DataFrame
        As losses.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> capped([0.5, 3.0, float("nan")], 2.0).tolist()
    [0.5, 2.0, 2.0]
    """
    return np.fmin(losses, real_numbers("chance", chance, 0, open_low=True)[()])


@default_errors
def chance_gap(runs: pd.DataFrame, metric: str) -> pd.Series:
    """Return the gap between the chance-level loss and the best loss, the lowest mean loss of an arm, by task.

    Parameters
    ----------
    runs : DataFrame
        With the columns ``task``, ``arm``, ``chance`` and metric, see ``measure.Measured``.
    metric : str
        The column of the losses.

    Returns
    -------
    Series of float
        By task.
    """
    best = runs.groupby(["task", "arm"])[metric].mean().groupby("task").min()
    return runs.groupby("task")["chance"].first() - best


@default_errors
def task_means(gaps: pd.Series) -> pd.Series:
    """Return the mean gap of each task, as if it were a seed of a single task.

    Every interval and test of the result then samples tasks instead of seeds, and so generalizes to further tasks.

    Parameters
    ----------
    gaps : Series of float64
        Indexed by task and seed, with at least 3 tasks.

    Returns
    -------
    Series of float64
        As gaps, with the task "all tasks" and the tasks as seeds.

    Raises
    ------
    TypeError, ValueError
        If gaps are wrong, have fewer than 3 tasks, or hold both inf and -inf in a task.
    """
    tasks = _tasks(gaps)
    if len(tasks) < 3:
        raise ValueError(f"gaps must have at least 3 tasks to generalize to further ones, got {len(tasks)}")
    means = pd.Series([_mean(task) for task in tasks], _names(gaps))
    if means.isna().any():
        raise ValueError(
            f"gaps must have a mean, got inf and -inf for {means.index[means.isna()].tolist()[0]!r}: see capped"
        )
    return pd.concat({"all tasks": means}, names=["task", "seed"]).rename("gap")


def _names(gaps: pd.Series) -> pd.Index:
    return gaps.groupby(level="task").size().index


def _tasks(gaps: Any) -> list[np.ndarray]:
    """The gaps of each task in ascending order; a list of arrays is returned unchanged."""
    if isinstance(gaps, list):
        return gaps
    if not isinstance(gaps, pd.Series) or [*gaps.index.names] != ["task", "seed"]:
        raise TypeError(f"gaps must be a series indexed by task and seed, got {type(gaps).__name__}")
    if not len(gaps):
        raise ValueError("gaps must have at least one task, got none")
    if gaps.isna().any():
        raise ValueError(f"gaps must be numbers, got NaN at {gaps.index[gaps.isna()].tolist()[0]!r}: see paired")
    if gaps.index.has_duplicates:
        raise ValueError(f"gaps must hold a seed once, got {gaps.index[gaps.index.duplicated()].tolist()[0]!r} again")
    tasks = {task: np.sort(seeds.to_numpy(np.float64)) for task, seeds in gaps.groupby(level="task")}
    if few := [task for task, seeds in tasks.items() if len(seeds) < 2]:
        raise ValueError(f"gaps must have at least 2 seeds of each task, got 1 for {few[0]!r}")
    return [*tasks.values()]


# -------------------------------------------------------------------------------------------------------- estimates


def _mean(values: np.ndarray) -> Any:
    with np.errstate(invalid="ignore"):  # inf and -inf together have no mean
        return values.mean(-1)


@default_errors
def mean_of_tasks(gaps: Any) -> Any:
    """Return the mean over tasks of the mean over seeds: inf with a gap of inf, NaN with inf and -inf.

    Parameters
    ----------
    gaps : Series of float64
        Indexed by task and seed, as :func:`paired` makes it.

    Returns
    -------
    float
        The mean.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    return _mean(np.stack([_mean(task) for task in _tasks(gaps)], axis=-1))


# -------------------------------------------------------------------------------------------------------- intervals


@default_errors
def student(gaps: Any, level: float = 0.95) -> Estimate:
    """Return the mean of tasks with the Student t interval for these very tasks; seeds are the random sample.

    Parameters
    ----------
    gaps : Series of float64
        Indexed by task and seed, as :func:`paired` makes it.
    level : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    Estimate
        The mean and its interval.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    The interval is ``mean +- t*e`` with ``e**2 = sum_i s_i**2/n_i / M**2`` over the M tasks and the degrees of freedom
    of Welch and Satterthwaite. For one task it is the usual interval of a mean. An infinite gap makes it (-inf, inf).
    Source: Student 1908; Satterthwaite 1946.
    """
    t = whole("scipy.stats").t  # imported late: it would double the import time of the package

    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    mean, error, freedom = _mean_and_error(_tasks(gaps))
    half = float(t.ppf((1 + level) / 2, freedom)) * error
    return Estimate(mean, mean - half, mean + half) if math.isfinite(mean) else Estimate(mean, -math.inf, math.inf)


def _mean_and_error(tasks: list[np.ndarray]) -> tuple[float, float, float]:
    """The mean of tasks, its standard error and the degrees of freedom of that error."""
    mean = float(mean_of_tasks(tasks))
    if not math.isfinite(mean):
        return mean, math.inf, 1.0
    parts = np.array([task.var(ddof=1) / len(task) / len(tasks) ** 2 for task in tasks])
    shares = parts / parts.sum() if parts.any() else np.full(len(parts), 1 / len(parts))
    freedom = 1 / (shares**2 / [len(task) - 1 for task in tasks]).sum()
    return mean, math.sqrt(parts.sum()), float(freedom)


@default_errors
def by_task(gaps: pd.Series, level: float = 0.95) -> pd.DataFrame:
    """Return mean, Student interval and number of seeds of each task.

    Parameters
    ----------
    gaps : Series of float64
        Indexed by task and seed, as :func:`paired` makes it.
    level : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    DataFrame
        By task: ``mean``, ``low``, ``high`` and ``n``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Source: Student 1908.
    """
    tasks = _tasks(gaps)
    rows = pd.DataFrame([student([task], level) for task in tasks], _names(gaps)).rename(columns={"value": "mean"})
    return rows.assign(n=[len(task) for task in tasks])


@default_errors
def over_tasks(gaps: pd.Series, level: float = 0.95) -> Estimate:
    """Return the mean of tasks with the Student interval over the means of tasks, the task being a random effect.

    Parameters
    ----------
    gaps : Series of float64
        Indexed by task and seed, as :func:`paired` makes it. At least 3 tasks.
    level : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    Estimate
        The mean and its interval.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Source: Student 1908.
    """
    return student(task_means(gaps), level)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(whole_number("seed", seed, 0)))


@default_errors
def ratios_to(
    values: pd.DataFrame, control: str | Mapping[str, str], level: float = 0.95, over: str = "tasks"
) -> pd.DataFrame:
    """Return arms as multiples of a control on each task and, as the task "all", on all of them.

    The ratios are geometric means, paired by seed. The interval of a task is that of :func:`by_task`, for its seeds.
    The interval of "all" is that of :func:`over_tasks`, for further tasks, or of :func:`student`, for these. An arm is
    compared on the tasks it was run on.

    Parameters
    ----------
    values : DataFrame
        As for :func:`paired`, with positive values.
    control : str or dict of str to str
        One arm that every other arm is compared with, or the control of each arm.
    level : float, default 0.95
        Of the interval, in (0, 1).
    over : {"tasks", "seeds"}
        "tasks" needs at least 3 tasks of every arm. Default: "tasks".

    Returns
    -------
    DataFrame
        By arm and task, in their order: ``ratio``, ``low`` and ``high``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Source: Student 1908.
    """
    joint = {"tasks": over_tasks, "seeds": student}[one_of("over", over, ("tasks", "seeds"))]
    others = [arm for arm in values["arm"].unique() if arm != control]
    controls: dict = dict.fromkeys(others, control) if isinstance(control, str) else dict(control)
    tables = {}
    for arm, other in controls.items():
        tasks = values["task"][values["arm"] == arm].unique()
        gaps = paired(values[values["task"].isin(tasks)], arm, other, "log")
        table = by_task(gaps, level).drop(columns="n").loc[tasks]
        table.loc["all"] = joint(gaps, level)
        tables[arm] = np.exp(table)
    return pd.concat(tables, names=["arm", "task"]).rename(columns={"mean": "ratio"})


# ------------------------------------------------------------------------------------------------------------ tests


@default_errors
def sign_flip(
    gaps: Any, shift: float = 0.0, alternative: str = "two-sided", n_resamples: int = 10_000, seed: int = 0
) -> float:
    """Return the p-value of "the mean of tasks is shift", by flipping the signs of ``gaps - shift``.

    Parameters
    ----------
    gaps : Series of float64
        Indexed by task and seed, as :func:`paired` makes it.
    shift : float, default 0
        The mean of tasks under the hypothesis.
    alternative : {"two-sided", "less", "greater"}
        "less" tests whether the mean is below shift. Default: "two-sided".
    n_resamples : int, default 10 000
        At least 100.
    seed : int, default 0
        Of the flips, at least 0.

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Under the hypothesis a gap is as likely to be d above shift as d below. All 2**n flips of the n gaps are used if
    they are no more than n_resamples. Otherwise ``p = (b + 1)/(n_resamples + 1)``, where b random flips are as extreme
    as the data. An infinite gap counts as 2**20 times the sum of all finite ones. Skewed gaps (30, exponential) make a
    one-sided test at .05 reject .10 of true shifts on their short side and .02 on the other; Student's test does the
    same. Source: Fisher 1935; Phipson & Smyth 2010.
    """
    shift = real_number("shift", shift, -math.inf)
    one_of("alternative", alternative, ("two-sided", "less", "greater"))
    n_resamples = whole_number("n_resamples", n_resamples, 100)
    generator, tasks = _generator(seed), _tasks(gaps)
    parts = np.concatenate([(task - shift) / (len(task) * len(tasks)) for task in tasks])  # they add up to the mean
    finite = np.isfinite(parts)
    parts[~finite] = np.copysign(2**20 * (np.abs(parts[finite]).sum() or 1), parts[~finite])
    n, extreme = len(parts), 0
    exact = 2**n <= n_resamples
    total = 2**n if exact else n_resamples
    slack = 1e-12 * np.abs(parts).sum()  # sums that are equal except for rounding
    for first in range(0, total, BLOCK):
        rows = np.arange(first, min(first + BLOCK, total))
        flips = (
            rows[:, None] >> np.arange(n) & 1 if exact else generator.integers(2, size=(len(rows), n), dtype=np.int8)
        )
        extreme += (
            _extremity(np.where(flips, -parts, parts), alternative) >= _extremity(parts, alternative) - slack
        ).sum()
    return float(extreme / total if exact else (extreme + 1) / (total + 1))


def _extremity(parts: np.ndarray, alternative: str) -> Any:
    mean = parts.sum(-1)
    return {"two-sided": abs(mean), "less": -mean, "greater": mean}[alternative]


@default_errors
def holm(p_values: Any) -> Any:
    """Return p-values adjusted for their number by Holm's method.

    Rejecting those below a level keeps the probability of any false rejection below that level.

    Parameters
    ----------
    p_values : array or Series of float
        In [0, 1].

    Returns
    -------
    array or Series of float64
        As p_values.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    The adjusted values are ``max over j <= i of min(1, (m - j)*p_(j))``, j = 0..m-1 in ascending order. Source: Holm
    1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = real_numbers("p_values", p_values, 0, 1)
    if p.ndim != 1 or not p.size:
        raise ValueError(f"p_values must be one or more in a row, got shape {p.shape}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return pd.Series(adjusted, p_values.index) if isinstance(p_values, pd.Series) else adjusted


# ------------------------------------------------------------------------------------------------ tuning and times


@default_errors
def best_of(validation: Any, test: Any, n: int = 64) -> pd.DataFrame:
    """Return the expected test value of the best of 1 to n trials, the best being the lowest on validation.

    Parameters
    ----------
    validation, test : DataFrame or array of float
        A row per seed and a column per trial; the same labels or shape. NaN (diverged) ranks last and counts as inf.
    n : int, default 64
        From 1 to the number of trials.

    Returns
    -------
    DataFrame
        A row per seed, columns 1 to n.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    The n trials are drawn without replacement, so all n! orders count alike. With N trials ranked by their validation
    value, rank i is best of m with probability ``C(N-i, m-1)/C(N, m)``; tied trials share theirs. Source: Dodge et al.
    2019, there with replacement and without a test value.
    """
    rankdata = whole("scipy.stats").rankdata  # imported late: it would double the import time of the package

    validation, test = (pd.DataFrame(table).astype(np.float64).fillna(np.inf) for table in (validation, test))
    if validation.shape != test.shape or not (
        validation.index.equals(test.index) and validation.columns.equals(test.columns)
    ):
        raise ValueError(f"test must have the seeds and trials of validation, {validation.shape}, got {test.shape}")
    trials = validation.shape[1]
    if not trials:
        raise ValueError("validation must have at least one trial, got none")
    n = whole_number("n", n, 1, trials)
    draws = np.arange(n)[:, None]
    # later[m, i]: none of the first i trials is among m + 1 draws
    later = np.cumprod(np.maximum(trials - draws - np.arange(trials + 1), 0) / (trials - draws), axis=0)
    first, last = (rankdata(validation, method, axis=1).astype(int) for method in ("min", "max"))
    share = ((later[:, first - 1] - later[:, last]) / (last - first + 1)).swapaxes(0, 1)  # seed, draws, trial
    values = np.where(share > 0, test.to_numpy()[:, None], 0)
    return pd.DataFrame((share * values).sum(-1), validation.index, range(1, n + 1))


@default_errors
def kaplan_meier(times: Any, horizon: float, level: float = 0.95) -> pd.DataFrame:
    """Return the share of runs that have not yet reached a threshold, after each time at which one did.

    Parameters
    ----------
    times : array or Series of float
        One per run, at least 0; NaN or inf if the threshold was not reached before the horizon.
    horizon : float
        Above 0. Every run lasts until then.
    level : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    DataFrame
        By ``time``, from 0 to the horizon: ``waiting``, ``low`` and ``high``, which step down at each time.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    All runs are censored at one horizon. So the product of Kaplan and Meier is also a plain share of the n runs, and
    the interval (of each point alone) is the exact binomial one. Source: Kaplan & Meier 1958; Clopper & Pearson 1934.
    """
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    times, horizon = _checked_times(times, horizon)
    n, reached = len(times), times[times <= horizon]
    grid = np.unique([0.0, *reached, horizon])
    left = n - np.searchsorted(np.sort(reached), grid, side="right")
    low, high = clopper_pearson(left, n, level)
    return pd.DataFrame({"waiting": left / n, "low": low, "high": high}, pd.Index(grid, name="time"))


@default_errors
def clopper_pearson(count: Any, n: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Return the exact binomial interval of a share.

    Parameters
    ----------
    count : float or array
        From 0 to n. Halves are allowed: a tie counts half.
    n : float or array
        Above 0.
    level : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    low, high : float or array
        The ends, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    The quantiles (1 - level)/2 of Beta(count, n - count + 1) and (1 + level)/2 of Beta(count + 1, n - count).
    Source: Clopper & Pearson 1934.

    Examples
    --------
    >>> from lookahead_nb.claims.statistics import clopper_pearson
    >>> low, high = clopper_pearson(0, 10)
    >>> float(low), round(float(high), 4)
    (0.0, 0.3085)
    """
    special = whole("scipy.special")  # imported late: it would double the import time of the package

    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    n = real_numbers("n", n, 0, open_low=True)
    count = real_numbers("count", count, 0, float(n.max()))
    if (count > n).any():
        raise ValueError(f"count must be at most n, got {count.max()}")
    rest = n - count
    low = special.betaincinv(np.where(count > 0, count, 1), rest + 1, (1 - level) / 2)
    high = special.betaincinv(count + 1, np.where(rest > 0, rest, 1), (1 + level) / 2)
    return np.where(count > 0, low, 0.0)[()], np.where(rest > 0, high, 1.0)[()]


def _checked_times(times: Any, horizon: float) -> tuple[np.ndarray, float]:
    times = np.asarray(plain_array("times", times), np.float64)
    if times.ndim != 1 or not times.size:
        raise ValueError(f"times must be one or more in a row, got shape {times.shape}")
    if (times < 0).any():
        raise ValueError(f"times must be at least 0, got {times[times < 0][0]}")
    return times, real_number("horizon", horizon, 0, open_low=True)
