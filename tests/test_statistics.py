"""The best of several trials and the interval of a share: by hand, and against SciPy."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lookahead_nb.claims import statistics

pytestmark = pytest.mark.no_kernel


def best_of_by_enumeration(validation, test, n):
    """The mean over all draws of n trials of the test value of the lowest on validation, over ties where it has any."""
    means = []
    for drawn in combinations(range(len(test)), n):
        lowest = min(validation[i] for i in drawn)
        means.append(np.mean([test[i] for i in drawn if validation[i] == lowest]))
    return np.mean(means)


@pytest.mark.parametrize("ties", [False, True])
def test_best_of_is_the_mean_over_all_draws(ties, rng):
    validation = rng.integers(3, size=(4, 7)) if ties else rng.permuted(np.tile(np.arange(7), (4, 1)), axis=1)
    test = rng.normal(size=(4, 7))
    expected = [[best_of_by_enumeration(*each, n) for n in range(1, 8)] for each in zip(validation, test, strict=True)]
    best = statistics.best_of(pd.DataFrame(validation, [*"wxyz"]), pd.DataFrame(test, [*"wxyz"]), 7)
    np.testing.assert_allclose(best, expected, rtol=1e-12)
    assert [*best.index] == [*"wxyz"]
    assert [*best.columns] == [1, 2, 3, 4, 5, 6, 7]


def test_best_of_one_is_the_mean_and_of_all_the_winner_even_where_trials_diverged():
    validation, test = [[0.3, 0.2, np.nan, 0.4]], [[5.0, 7.0, np.nan, 6.0]]
    assert statistics.best_of(validation, test, 4).loc[0].tolist() == [np.inf, pytest.approx(37 / 6), 6.5, 7.0]


def test_best_of_sixty_four_is_exact_among_many():
    values = np.arange(500.0)[None]  # the lowest of m out of N ranks 1..N has the mean (N + 1)/(m + 1)
    m = np.arange(1, 65)
    np.testing.assert_allclose(statistics.best_of(values, values + 1).loc[0], 501 / (m + 1), rtol=1e-11)


@pytest.mark.parametrize(("count", "n"), [(0, 7), (3, 7), (7, 7), (180, 200)])
def test_clopper_pearson_is_that_of_binomtest(count, n):
    exact = stats.binomtest(count, n).proportion_ci(0.9)
    np.testing.assert_allclose(statistics.clopper_pearson(count, n, 0.9), exact, rtol=1e-9)


def test_clopper_pearson_of_many_and_of_half_a_count():
    low, high = statistics.clopper_pearson([0, 2.5, 10], 10)
    np.testing.assert_allclose(low, [0, stats.beta.ppf(0.025, 2.5, 8.5), stats.beta.ppf(0.025, 10, 1)], rtol=1e-9)
    np.testing.assert_allclose(high, [stats.beta.ppf(0.975, 1, 10), stats.beta.ppf(0.975, 3.5, 7.5), 1], rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: statistics.clopper_pearson([1, 5], [6, 4]), "count must be at most n, got 5"),
        (lambda: statistics.best_of([[1, 2]], [[1, 2, 3]], 1), "test must have the seeds and trials of validation"),
        (lambda: statistics.best_of([[1, 2]], [[1, 2]]), "n must be a whole number from 1 to 2, got 64"),
        (lambda: statistics.best_of([[]], [[]]), "validation must have at least one trial, got none"),
    ],
)
def test_arguments_without_meaning_are_refused(call, told):
    with pytest.raises((TypeError, ValueError), match=told):
        call()
