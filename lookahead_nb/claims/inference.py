"""Inference from benefits on many tasks to estimates, directions and sizes.

Tasks are the random sample, and replicates only measure each of them. So the functions accept ``benefits``, an array
with a row per task and a column per replicate; a benefit above 0 means that the sentence under test is right there. It
is usually ``log(loss of the control) - log(loss of the arm)``, each tuned inside its replicate (:func:`.tuning.tuned`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, flag, plain_array, real_number, real_numbers, whole, whole_number
from lookahead_nb.claims.statistics import Estimate, _generator, clopper_pearson

special = whole("scipy.special")

DRAWS = 2000  # of a bootstrap
MULTIPLES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)  # of the steps of AdamW

BEYOND, WITHIN = 0.01, 0.1  # levels of the tests of single tasks behind the share beyond a margin


# -------------------------------------------------------------------------------------------------------- estimates


@default_errors
def mean_benefit(benefits: Any, level: float = 0.95) -> Estimate:
    """Return the unweighted mean over tasks with its Student interval, the tasks being a random sample.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
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
    ``y +- t * sd(y_i)/sqrt(N)`` with N - 1 degrees of freedom; y_i is the mean of task i. Weights by inverse variance
    would bias it where noisy tasks have larger effects. Source: Student 1908.

    Examples
    --------
    >>> from lookahead_nb.claims.inference import mean_benefit
    >>> mean_benefit([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]]).value
    3.0
    """
    y, _ = _means(benefits)
    return _student(y, level)


def _student(y: np.ndarray, level: float, variance_factor: float | None = None) -> Estimate:
    """The mean of a sample with the t interval; its variance is the sample's times the factor, 1/n by default."""
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    factor = 1 / len(y) if variance_factor is None else variance_factor
    half = float(special.stdtrit(len(y) - 1, (1 + level) / 2)) * math.sqrt(y.var(ddof=1) * factor)
    mean = float(y.mean())
    return Estimate(mean, mean - half, mean + half)


@default_errors
def variance_between(benefits: Any) -> float:
    """Return the variance of the true benefits of tasks, tau**2.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    ``tau**2 = max(0, var(y_i) - mean(s_i**2))``, with s_i**2 the variance of the replicates of task i over their
    number. Source: Hedges & Olkin 1985, chapter 9.
    """
    return float(_between(*_means(benefits)))


def _between(y: np.ndarray, squares: np.ndarray) -> Any:
    """tau**2 along the last axis."""
    return np.maximum(y.var(axis=-1, ddof=1) - squares.mean(axis=-1), 0)


@default_errors
def shrunken(benefits: Any) -> np.ndarray:
    """Return the benefit of each task, shrunk towards the mean so that their spread is that of the true benefits.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.

    Returns
    -------
    (tasks,) array
        In the order of benefits.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    ``c_i = y + sqrt(tau**2/(tau**2 + s_i**2)) * (y_i - y)``; the root, unlike Bayes' estimate, keeps the variance
    tau**2. A task without any noise is not shrunk. Source: Louis 1984; Ghosh 1992.
    """
    return _shrunken(*_means(benefits))


def _shrunken(y: np.ndarray, squares: np.ndarray) -> np.ndarray:
    between = _between(y, squares)[..., None]
    total = between + squares
    root = np.sqrt(np.divide(between, total, out=np.ones_like(total), where=squares > 0))
    middle = y.mean(axis=-1, keepdims=True)
    return middle + root * (y - middle)


@default_errors
def prediction_interval(benefits: Any, level: float = 0.95) -> Estimate:
    """Return the mean benefit with the interval that a further task falls into.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    level : float, default 0.95
        The share of tasks, in (0, 1).

    Returns
    -------
    Estimate
        The mean, and the quantiles (1 - level)/2 and (1 + level)/2 of :func:`shrunken` benefits.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Source: Louis 1984, for the distribution of effects; quantiles of type 7 of Hyndman & Fan 1996.
    """
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    values = shrunken(benefits)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


@default_errors
def share_better(benefits: Any, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return the share of tasks with a true benefit above 0, for display; :func:`direction` tests it.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    level : float, default 0.95
        Of the interval, in (0, 1).
    draws : int, default 2000
        Of the bootstrap, at least 100.
    seed : int, default 0
        Of the draws, at least 0.

    Returns
    -------
    Estimate
        The share of :func:`shrunken` benefits above 0 and its interval.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Percentile interval over tasks drawn with replacement, each draw shrunk by its own tau**2. Source: Efron 1979.
    """
    y, squares = _means(benefits)
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    rows = _resampled(len(y), draws, seed)
    shares = (_shrunken(y[rows], squares[rows]) > 0).mean(axis=1)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float((_shrunken(y, squares) > 0).mean()), float(low), float(high))


def _resampled(n: int, draws: int, seed: int) -> np.ndarray:
    """Rows of a bootstrap, (draws, n)."""
    return _generator(seed).integers(n, size=(whole_number("draws", draws, 100), n))


def _means(benefits: Any) -> tuple[np.ndarray, np.ndarray]:
    """The mean benefit of each task, and the variance of that mean."""
    table = real_numbers("benefits", benefits, -math.inf)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(
            f"benefits must have a row per task and a column per replicate, 2 or more each, got shape {table.shape}"
        )
    return table.mean(axis=1), table.var(axis=1, ddof=1) / table.shape[1]


# -------------------------------------------------------------------------------------------------------- direction


@default_errors
def direction(benefits: Any, level: float = 0.95) -> Estimate:
    """Return the share of tasks with a mean benefit above 0 and its exact interval: the test of the direction.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    level : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    Estimate
        The share, with a tie (a mean of exactly 0) as half a task.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Raw signs, not shrunken ones: noise moves the share towards a half, never away from it. Source: Clopper & Pearson
    1934; Dixon & Mood 1946 for the sign test.
    """
    y, _ = _means(benefits)
    return _signs(y, level)


def _signs(y: np.ndarray, level: float) -> Estimate:
    """The share of numbers above 0 with its exact interval."""
    count = (y > 0).sum() + (y == 0).sum() / 2
    low, high = clopper_pearson(count, len(y), level)
    return Estimate(float(count / len(y)), float(low), float(high))


@default_errors
def benjamini_hochberg(p_values: Any) -> np.ndarray:
    """Return p-values adjusted for their number; those below a level contain at most that share of false ones.

    Parameters
    ----------
    p_values : (m,) array
        In [0, 1].

    Returns
    -------
    (m,) array
        In the order of p_values.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    ``min over j >= i of min(1, m*p_(j)/j)``, j = 1..m in ascending order. Source: Benjamini & Hochberg 1995.

    Examples
    --------
    >>> from lookahead_nb.claims.inference import benjamini_hochberg
    >>> benjamini_hochberg([0.01, 0.02, 0.9]).tolist()
    [0.03, 0.03, 0.9]
    """
    p = real_numbers("p_values", p_values, 0, 1)
    if p.ndim != 1 or not p.size:
        raise ValueError(f"p_values must be one or more in a row, got shape {p.shape}")
    order = np.argsort(-p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1)), 1)
    return adjusted


class Shown(NamedTuple):
    """The numbers of tasks on which a benefit is shown to be above 0, below 0, and neither.

    Attributes
    ----------
    better, worse, not_distinguishable : int
        They add up to the number of tasks.
    """

    better: int
    worse: int
    not_distinguishable: int


@default_errors
def shown(benefits: Any, level: float = 0.05) -> Shown:
    """Return on how many tasks the difference is shown, by a t-test per task with Benjamini and Hochberg's correction.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    level : float, default 0.05
        Of the tests, in (0, 1).

    Returns
    -------
    Shown
        If more than half of the tasks are not distinguishable, say "more often better than worse".

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    Source: Student 1908; Benjamini & Hochberg 1995.
    """
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    y, squares = _means(benefits)
    p = np.minimum(2 * _p_above(np.abs(y), squares, np.shape(benefits)[1] - 1), 1)
    clear = benjamini_hochberg(p) < level
    better, worse = int((clear & (y > 0)).sum()), int((clear & (y < 0)).sum())
    return Shown(better, worse, len(y) - better - worse)


def _p_above(excess: np.ndarray, squares: np.ndarray, freedom: int) -> np.ndarray:
    """One-sided p-values of "the excess is at most 0"; without noise 0 above 0, else 1."""
    t = np.divide(excess, np.sqrt(squares), out=np.where(excess > 0, np.inf, -np.inf), where=squares > 0)
    return special.stdtr(freedom, -t)


class Stratified(NamedTuple):
    """What decides a sentence in the declared population.

    Attributes
    ----------
    mean, share : Estimate
        As of :func:`mean_benefit` and :func:`direction`.
    """

    mean: Estimate
    share: Estimate


@default_errors
def stratified(benefits: Any, strata: Any, frequencies: Mapping[Any, float], level: float = 0.95) -> Stratified:
    """Return mean benefit and direction in a population whose strata were not sampled by their frequency.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    strata : (tasks,) array
        The stratum of each task, for example its regime. A stratum has at least 2 tasks.
    frequencies : dict
        How frequent each of these strata is in the population, above 0; counts of a draw will do.
    level : float, default 0.95
        Of the intervals, in (0, 1).

    Returns
    -------
    Stratified
        For :func:`.modality.verdict_by_mean`.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    With w_h the share of stratum h, ``y = sum_h w_h y_h`` has the variance ``sum_h w_h**2 s_h**2/n_h`` and the degrees
    of freedom of Satterthwaite. The share p of tasks above 0 has Clopper and Pearson's interval for p*n of n tasks,
    ``n = p(1 - p)/sum_h w_h**2 p_h(1 - p_h)/(n_h - 1)``, at most their number. Source: Cochran 1977, chapter 5; Korn &
    Graubard 1998.
    """
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    y, _ = _means(benefits)
    labels = plain_array("strata", strata)
    if labels.shape != y.shape:
        raise ValueError(f"strata must have one for each of the {len(y)} tasks, got shape {labels.shape}")
    names, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if {*names.tolist()} != {*frequencies} or counts.min() < 2:
        found = dict(zip(names.tolist(), counts.tolist(), strict=True))
        raise ValueError(f"strata must be those of frequencies, {[*frequencies]}, with 2 tasks or more, got {found}")
    weights = real_numbers("frequencies", [frequencies[name] for name in names.tolist()], 0, open_low=True)
    weights = weights / weights.sum()
    parts = [y[numbers == h] for h in range(len(names))]
    mean = float(sum(w * part.mean() for w, part in zip(weights, parts, strict=True)))
    variances = weights**2 * [part.var(ddof=1) for part in parts] / counts
    total = variances.sum()
    freedom = total**2 / (variances**2 / (counts - 1)).sum() if total else counts.sum() - len(counts)
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(total)
    shares = np.array([((part > 0) + (part == 0) / 2).mean() for part in parts])
    share, variance = float(weights @ shares), float((weights**2 * shares * (1 - shares) / (counts - 1)).sum())
    n = min(share * (1 - share) / variance, len(y)) if variance else len(y)
    low, high = clopper_pearson(share * n, n, level)
    return Stratified(Estimate(mean, mean - half, mean + half), Estimate(share, float(low), float(high)))


class Share(NamedTuple):
    """Bounds of the share of tasks whose true benefit is beyond a margin.

    Attributes
    ----------
    low, high : float
        In [0, 1]; each holds at the level of the interval.
    beyond, within : int
        The tasks that are shown to be beyond the margin, and those shown to be within it.
    """

    low: float
    high: float
    beyond: int
    within: int


@default_errors
def share_beyond(benefits: Any, margin: float, level: float = 0.95) -> Share:
    """Return bounds of the share of tasks whose true benefit is above a margin.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    margin : float
        At least 0, on the scale of benefits.
    level : float, default 0.95
        Of the two-sided Clopper-Pearson intervals whose lower ends are used, in (0, 1).

    Returns
    -------
    Share
        The bounds, and the counts behind them.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    With k tasks that have p < .01 in the one-sided t-test of "the benefit is at most the margin",
    ``low = max(0, (CP_low(k, N) - .01)/(1 - .01))``: at most one in a hundred of the other tasks is among them. With k'
    tasks that have p < .1 in the test of "the benefit is at least the margin", ``high = 1 - (CP_low(k', N) - .1)/(1 -
    .1)``, at most 1. Source: Rogan & Gladen 1978, with no false negatives assumed.
    """
    margin = real_number("margin", margin, 0)
    y, squares = _means(benefits)
    freedom = np.shape(benefits)[1] - 1
    return _share(_p_above(y - margin, squares, freedom), _p_above(margin - y, squares, freedom), level)


def _share(p_beyond: np.ndarray, p_within: np.ndarray, level: float) -> Share:
    """The bounds of :func:`share_beyond`, from the p-values of both tests of each task."""
    n, beyond, within = len(p_beyond), int((p_beyond < BEYOND).sum()), int((p_within < WITHIN).sum())
    low, _ = clopper_pearson(beyond, n, level)
    other, _ = clopper_pearson(within, n, level)
    low, high = max(0.0, (low - BEYOND) / (1 - BEYOND)), min(1.0, 1 - (other - WITHIN) / (1 - WITHIN))
    return Share(float(low), float(high), beyond, within)


# -------------------------------------------------------------------------------------------------- worth more steps


@default_errors
def steps_worth(
    gains: Any,
    log_losses: Any,
    multiples: Any = MULTIPLES,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return the multiple m of its steps that AdamW needs for the same gain: "worth 100(m - 1) % more steps".

    Parameters
    ----------
    gains : (tasks,) array
        ``log(loss of AdamW) - log(loss of the arm)`` after T steps, the mean over replicates.
    log_losses : (tasks, multiples) array
        The logarithm of AdamW's loss after m*T steps, each length tuned for itself, the mean over replicates.
    multiples : (multiples,) array
        Rising and above 0, with 1 among them. Default: :data:`MULTIPLES`.
    level : float, default 0.95
        Of the interval, in (0, 1).
    draws : int, default 2000
        Of the bootstrap, at least 100.
    seed : int, default 0
        Of the draws, at least 0.

    Returns
    -------
    Estimate
        The multiple and its interval. It is inf (or 0) where the gain is larger (or smaller) than that of any multiple.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    ``A(m) = sum_i [log L_i(T) - log L_i(m T)]`` is replaced by the rising curve with A(1) = 0 that is closest to it in
    the sum of squares, and is linear in log m between the multiples. m solves ``A(m) = sum_i gain_i``; where A is flat,
    it is the m closest to 1. Percentile interval over tasks drawn with replacement, the whole calculation repeated for
    each draw. Source: Barlow, Bartholomew, Bremner & Brunk 1972 for isotonic regression; Efron 1979.

    Examples
    --------
    >>> from lookahead_nb.claims.inference import MULTIPLES, steps_worth
    >>> import numpy as np
    >>> log_losses = np.tile(-0.1 * np.log2(MULTIPLES), (30, 1))
    >>> round(steps_worth(np.full(30, 0.1 * np.log2(1.2)), log_losses).value, 12)
    1.2
    """
    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    multiples = real_numbers("multiples", multiples, 0, open_low=True)
    if multiples.ndim != 1 or (np.diff(multiples) <= 0).any() or 1 not in multiples:
        raise ValueError(f"multiples must rise and contain 1, got {multiples.tolist()}")
    gains = real_numbers("gains", gains, -math.inf)
    curves = real_numbers("log_losses", log_losses, -math.inf)
    if gains.ndim != 1 or len(gains) < 2 or curves.shape != (len(gains), len(multiples)):
        raise ValueError(
            "log_losses must have a row for each of 2 or more gains and a column per multiple, "
            f"got {curves.shape} for {gains.shape} and {len(multiples)} multiples"
        )
    one = int(np.searchsorted(multiples, 1))
    curves = curves[:, [one]] - curves
    value = _multiple_of(gains.sum(keepdims=True), curves.sum(axis=0, keepdims=True), multiples, one)
    n, draws = len(gains), whole_number("draws", draws, 100)
    times = _generator(seed).multinomial(n, np.full(n, 1 / n), size=draws)  # how often each draw holds each task
    spread = np.sort(_multiple_of(times @ gains, times @ curves, multiples, one))
    # Order statistics, since an interpolation between infinite values has no meaning.
    low, high = (1 - level) / 2 * (draws - 1), (1 + level) / 2 * (draws - 1)
    return Estimate(float(value[0]), float(spread[math.floor(low)]), float(spread[math.ceil(high)]))


def _multiple_of(gains: np.ndarray, curves: np.ndarray, multiples: np.ndarray, one: int) -> np.ndarray:
    """Solve A(m) = gain for each row; multiples[one] is 1."""
    upper = np.maximum(_rising(curves[:, one + 1 :]), 0)
    lower = np.maximum(_rising(-curves[:, :one][:, ::-1]), 0)  # from 1 down, as losses
    logs = np.log(multiples)
    up = _crossing(gains, upper, logs[one + 1 :])
    down = _crossing(-gains, lower, -logs[:one][::-1])
    return np.where(gains > 0, np.exp(up), np.where(gains < 0, np.exp(-down), 1.0))


def _rising(values: np.ndarray) -> np.ndarray:
    """Return the isotonic regression of each row: at j, the maximum over i <= j of the minimum over k >= j of means."""
    n = values.shape[1]
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    rising = np.full(values.shape, -np.inf)
    for first in range(n):
        means = (sums[:, first + 1 :] - sums[:, [first]]) / np.arange(1, n - first + 1)
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]  # over all last positions from each one on
        rising[:, first:] = np.maximum(rising[:, first:], least)
    return rising


def _crossing(gains: np.ndarray, curves: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Return the first position, from 0 on, at which rising curves from 0 reach positive gains; else inf."""
    rows, n = np.arange(len(gains)), curves.shape[1]
    curves, logs = np.pad(curves, ((0, 0), (1, 0))), np.r_[0.0, logs]
    after = (curves < gains[:, None]).sum(axis=1)  # the first point that reaches it
    inside = (after <= n) & (gains > 0)
    after = np.clip(after, 1, max(n, 1)) if n else np.zeros(len(gains), np.int64)
    before = np.maximum(after - 1, 0)
    low, high = curves[rows, before], curves[rows, after]
    part = np.divide(gains - low, high - low, out=np.zeros(len(gains)), where=inside & (high > low))
    return np.where(inside, logs[before] + part * (logs[after] - logs[before]), np.inf)


# -------------------------------------------------------------------------------------------- real sets, agreement


@default_errors
def nadeau_bengio(benefits: Any, test_rows: int, other_rows: int, level: float = 0.95) -> Estimate:
    """Return the mean benefit over splits of one data set, with an interval for their overlap.

    Parameters
    ----------
    benefits : (splits,) array
        At least 2.
    test_rows, other_rows : int
        Rows of the test part, and of training and validation part together; at least 1.
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
    The variance is ``s**2 * (1/J + test_rows/other_rows)`` instead of ``s**2/J``, with J - 1 degrees of freedom.
    Source: Nadeau & Bengio 2003.
    """
    values = real_numbers("benefits", benefits, -math.inf)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"benefits must be 2 or more in a row, got shape {values.shape}")
    overlap = whole_number("test_rows", test_rows, 1) / whole_number("other_rows", other_rows, 1)
    return _student(values, level, 1 / len(values) + overlap)


class Agreement(NamedTuple):
    """The test that several estimates measure the same thing.

    Attributes
    ----------
    q : float
        Cochran's Q.
    freedom : int
        Its degrees of freedom.
    p : float
        The p-value of "they agree".
    """

    q: float
    freedom: int
    p: float


@default_errors
def agreement(estimates: Any, errors: Any) -> Agreement:
    """Return Cochran's Q of a comparison that occurs in several claims; p above .01 is agreement.

    Parameters
    ----------
    estimates : (n,) array
        Independent estimates, at least 2.
    errors : (n,) array
        Their standard errors, above 0.

    Returns
    -------
    Agreement
        Q, its degrees of freedom and its p-value.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    ``Q = sum_i w_i (y_i - y)**2`` with ``w_i = 1/se_i**2`` and y the weighted mean; chi-squared with n - 1 degrees of
    freedom. Source: Cochran 1954.

    Examples
    --------
    >>> from lookahead_nb.claims.inference import agreement
    >>> agreement([1.0, 3.0], [1.0, 1.0]).q
    2.0
    """
    values, errors = real_numbers("estimates", estimates, -math.inf), real_numbers("errors", errors, 0, open_low=True)
    if values.ndim != 1 or len(values) < 2 or errors.shape != values.shape:
        raise ValueError(f"estimates must be 2 or more, each with its error, got {values.shape} and {errors.shape}")
    weights = errors**-2
    q = float((weights * (values - (weights * values).sum() / weights.sum()) ** 2).sum())
    return Agreement(q, len(values) - 1, float(special.chdtrc(len(values) - 1, q)))


@default_errors
def changed_without(judge: Callable[[np.ndarray], str], benefits: Any) -> list[int]:
    """Return the rows of benefits without which a verdict changes.

    Parameters
    ----------
    judge : function
        Maps benefits to a verdict, for example ``partial(modality.verdict_on, modality="plain", margin=0.01)``.
    benefits : (tasks, replicates) array
        At least 3 tasks.

    Returns
    -------
    list of int
        Row numbers, in ascending order.

    Raises
    ------
    TypeError, ValueError
        If benefits are wrong, or judge refuses them.

    Notes
    -----
    Source: Quenouille 1956, leave one out.
    """
    _means(benefits)
    table = np.asarray(benefits, np.float64)
    whole = judge(table)
    return [i for i in range(len(table)) if judge(np.delete(table, i, axis=0)) != whole]


@default_errors
def pseudo_populations(
    benefits: Any, populations: int = 200, size: int | None = None, seed: int = 0, *, swap: bool = False
) -> Iterator[np.ndarray]:
    """Yield populations of tasks drawn with replacement, to check how often a procedure is wrong.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each.
    populations : int, default 200
        How many, at least 1.
    size : int, optional
        The tasks of each, at least 2. Default: as many as benefits has.
    seed : int, default 0
        Of the draws, at least 0.
    swap : bool, default False
        Whether the names of arm and control are swapped at random per task, so that nothing is true except "no
        difference"; for benefits of an arm against itself (A/A).

    Yields
    ------
    (size, replicates) array
        A population.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    _means(benefits)
    table, generator = np.asarray(benefits, np.float64), _generator(seed)
    size = len(table) if size is None else whole_number("size", size, 2)
    populations, swap = whole_number("populations", populations, 1), flag("swap", swap)
    return (
        table[generator.integers(len(table), size=size)]
        * (generator.choice([-1.0, 1.0], size=(size, 1)) if swap else 1.0)
        for _ in range(populations)
    )
