"""Gaps, intervals, tests and sizes: by hand, against SciPy, and on synthetic data whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from lookahead_nb import statistics


@pytest.fixture
def arms(rng):
    index = pd.MultiIndex.from_product([["a", "b"], [0.0, 0.5]], names=["arm", "retention"])
    return pd.DataFrame(np.exp(rng.normal(size=(4, 6))), index=index)


def test_ratios_are_geometric_means_with_the_t_interval_of_scipy(arms):
    ratios = statistics.paired_ratios(arms, arms.xs(0.0, level="retention"), level=0.9)
    test = ttest_1samp(np.log(arms.loc["b", 0.5] / arms.loc["b", 0.0]), 0)
    low, high = test.confidence_interval(0.9)
    expected = np.exp([np.log(arms.loc["b", 0.5] / arms.loc["b", 0.0]).mean(), low, high])
    np.testing.assert_allclose(ratios.loc["b", 0.5], expected, rtol=1e-12)
    assert (ratios.xs(0.0, level="retention") == 1).all(axis=None)


def test_a_reference_serves_rows_in_any_order(arms):
    reference = arms.xs("a", level="arm")
    once = statistics.paired_ratios(arms, reference)
    shuffled = statistics.paired_ratios(arms.iloc[::-1], reference.iloc[::-1])
    pd.testing.assert_frame_equal(once, shuffled.iloc[::-1])


def test_a_missing_run_makes_a_gap(arms):
    arms.loc[("b", 0.5), 3] = np.nan
    ratios = statistics.paired_ratios(arms, arms.xs(0.0, level="retention"))
    assert ratios.loc["b", 0.5].isna().all()
    assert ratios.drop(("b", 0.5)).notna().all(axis=None)


def test_other_seeds_are_refused(arms):
    with pytest.raises(ValueError, match=r"reference must have the seeds \[0, 1, 2, 3, 4, 5\], not \[0, 1\]"):
        statistics.paired_ratios(arms, arms[[0, 1]].xs(0.0, level="retention"))
