"""The controls, the speed, the excess loss and the paired ratios that notebooks and verdicts rest on."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

import lookahead_nb as lnb
from lookahead_nb import comparisons


def test_controls_are_the_lower_rate_and_the_average():
    opt = lnb.Lookahead(lnb.AdamW(0.01, weight_decay=0.1), sync_period=7, retention=0.9)
    assert comparisons.with_controls(opt) == {
        "Lookahead": opt,
        "AdamW at lr x step": lnb.AdamW(0.001, weight_decay=0.1),
        "averaging": lnb.Lookahead(lnb.AdamW(0.01, weight_decay=0.1), sync_period=7, retention=0.9, pull_back=False),
    }


def test_the_control_scales_a_schedule_at_its_peak():
    opt = lnb.Lookahead(lnb.SGD(lnb.schedules.cosine(0.2, 100, warmup=10)), slow_step_size=0.25)
    assert comparisons.with_controls(opt)["SGD at lr x step"] == lnb.SGD(lnb.schedules.cosine(0.05, 100, warmup=10))


def test_controls_of_a_plain_rule_are_refused():
    with pytest.raises(TypeError, match=r"opt must be a Lookahead, not AdamW"):
        comparisons.with_controls(lnb.AdamW())


def test_an_exponential_decline_crosses_where_it_should():
    steps = np.array([0, 3, 10, 40, 100])
    losses = pd.DataFrame({"fast": np.exp(-0.1 * steps), "slow": np.exp(-0.01 * steps)}, index=steps)
    crossed = comparisons.first_below(losses, np.exp(-0.5))
    np.testing.assert_allclose(crossed[["fast", "slow"]], [5, 50], rtol=1e-12)


def test_the_first_crossing_counts_and_gaps_are_bridged():
    losses = pd.DataFrame({"a": [4.0, np.nan, 1.0, 8.0, 1.0]}, index=[0, 1, 2, 3, 4])
    assert comparisons.first_below(losses, 2.0)["a"] == 1.0


def test_what_never_gets_below_is_censored_and_what_starts_below_is_there_at_once():
    crossed = comparisons.first_below(pd.DataFrame({"never": [3.0, 2.0], "at once": [1.0, 3.0]}, index=[5, 6]), 2.0)
    assert np.isnan(crossed["never"])
    assert crossed["at once"] == 5


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan, "0.1"])
def test_a_threshold_without_a_logarithm_is_refused(threshold):
    with pytest.raises((TypeError, ValueError), match="threshold must be a finite number above 0"):
        comparisons.first_below(pd.DataFrame({"a": [1.0]}), threshold)


@pytest.fixture
def arms(rng):
    index = pd.MultiIndex.from_product([["a", "b"], [0.0, 0.5]], names=["arm", "retention"])
    return pd.DataFrame(np.exp(rng.normal(size=(4, 6))), index=index)


def test_ratios_are_geometric_means_with_the_t_interval_of_scipy(arms):
    ratios = comparisons.paired_ratios(arms, arms.xs(0.0, level="retention"), level=0.9)
    test = ttest_1samp(np.log(arms.loc["b", 0.5] / arms.loc["b", 0.0]), 0)
    low, high = test.confidence_interval(0.9)
    expected = np.exp([np.log(arms.loc["b", 0.5] / arms.loc["b", 0.0]).mean(), low, high])
    np.testing.assert_allclose(ratios.loc["b", 0.5], expected, rtol=1e-12)
    assert (ratios.xs(0.0, level="retention") == 1).all(axis=None)


def test_a_reference_serves_rows_in_any_order(arms):
    reference = arms.xs("a", level="arm")
    once = comparisons.paired_ratios(arms, reference)
    shuffled = comparisons.paired_ratios(arms.iloc[::-1], reference.iloc[::-1])
    pd.testing.assert_frame_equal(once, shuffled.iloc[::-1])


def test_a_missing_run_makes_a_gap(arms):
    arms.loc[("b", 0.5), 3] = np.nan
    ratios = comparisons.paired_ratios(arms, arms.xs(0.0, level="retention"))
    assert ratios.loc["b", 0.5].isna().all()
    assert ratios.drop(("b", 0.5)).notna().all(axis=None)


def test_other_seeds_are_refused(arms):
    with pytest.raises(ValueError, match=r"reference must have the seeds \[0, 1, 2, 3, 4, 5\], not \[0, 1\]"):
        comparisons.paired_ratios(arms, arms[[0, 1]].xs(0.0, level="retention"))


@pytest.fixture(scope="module")
def problem():
    X = np.random.default_rng(3).normal(size=(30, 4))
    data = lnb.datasets.from_arrays(X, (X[:, 0] + X[:, 1] > 0).astype(int))
    return lnb.LogisticRegression(4, l2=0.1), data


def test_excess_is_zero_at_a_minimum_of_gradient_descent_and_positive_elsewhere(problem):
    model, data = problem
    params = model.init(5, "float64")
    for _ in range(200):
        params -= 2 * model.loss_and_grad(params, data.X_train, data.y_train)[1]
    assert abs(comparisons.excess(model, data, params)) < 1e-10  # what the search for the minimum promises
    assert comparisons.excess(model, data, model.init(0)) > 0.01


@pytest.mark.parametrize("model", [lnb.LogisticRegression(4), lnb.MLP((4, 3, 2))])
def test_excess_needs_one_minimum(model, problem):
    with pytest.raises(TypeError, match="model must be a LogisticRegression with l2 above 0"):
        comparisons.excess(model, problem[1], model.init(0))
