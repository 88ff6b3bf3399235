"""Parts of the statistics: an estimate with its interval, the best of several trials, the interval of a share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb.checks import default_errors, real_number, real_numbers, whole, whole_number


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


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(whole_number("seed", seed, 0)))


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
