"""The controls, the steps to a loss and the lowest loss that notebooks and verdicts rest on."""

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import curves
from lookahead_nb.models.lowest_loss import lowest_loss
from lookahead_nb.optimizers.controls import with_controls


def test_controls_are_the_lower_rate_and_the_average():
    opt = lnb.Lookahead(lnb.AdamW(0.01, weight_decay=0.1), sync_period=7, retention=0.9)
    assert with_controls(opt) == {
        "Lookahead": opt,
        "AdamW at lr x step": lnb.AdamW(0.001, weight_decay=0.1),
        "averaging": lnb.Lookahead(lnb.AdamW(0.01, weight_decay=0.1), sync_period=7, retention=0.9, pull_back=False),
    }


def test_the_control_scales_a_schedule_at_its_peak():
    opt = lnb.Lookahead(lnb.SGD(lnb.schedules.cosine(0.2, 100, warmup=10)), slow_step_size=0.25)
    assert with_controls(opt)["SGD at lr x step"] == lnb.SGD(lnb.schedules.cosine(0.05, 100, warmup=10))


def test_controls_of_a_plain_rule_are_refused():
    with pytest.raises(ValueError, match=r"opt must have one slow_step_size, got Adaptive"):
        with_controls(lnb.Lookahead(lnb.AdamW(), slow_step_size="adaptive"))
    with pytest.raises(TypeError, match=r"opt must be a Lookahead, got AdamW"):
        with_controls(lnb.AdamW())


def test_an_exponential_decline_crosses_where_it_should():
    steps = np.array([0, 3, 10, 40, 100])
    losses = pd.DataFrame({"fast": np.exp(-0.1 * steps), "slow": np.exp(-0.01 * steps)}, index=steps)
    crossed = curves.first_below(losses, np.exp(-0.5))
    np.testing.assert_allclose(crossed[["fast", "slow"]], [5, 50], rtol=1e-12)


def test_the_first_crossing_counts_and_gaps_are_bridged():
    losses = pd.DataFrame({"a": [4.0, np.nan, 1.0, 8.0, 1.0]}, index=[0, 1, 2, 3, 4])
    assert curves.first_below(losses, 2.0)["a"] == 1.0


def test_what_never_gets_below_is_censored_and_what_starts_below_is_there_at_once():
    crossed = curves.first_below(pd.DataFrame({"never": [3.0, 2.0], "at once": [1.0, 3.0]}, index=[5, 6]), 2.0)
    assert np.isnan(crossed["never"])
    assert crossed["at once"] == 5


def test_a_loss_of_zero_or_less_is_below_every_threshold():
    losses = {"zero": [1.0, 0.0, 0.0], "almost zero": [1.0, 5e-324, 5e-324], "below": [1.0, -0.5, -0.5]}
    losses |= {"at once": [0.0, 0.0, 0.0], "later": [1.0, 1.0, 0.0], "from infinity": [np.inf, 0.0, 0.0]}
    losses |= {"gap": [1.0, np.nan, 0.0]}
    crossed = curves.first_below(pd.DataFrame(losses, index=[0, 100, 200]), 0.5)
    soon = 100 * np.log(2) / -np.log(5e-324)  # on a straight line down to the smallest number
    expected = {"zero": soon, "almost zero": soon, "below": soon, "at once": 0, "later": 100 + soon}
    expected |= {"from infinity": 100, "gap": 2 * soon}
    assert crossed.to_dict() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan, "0.1"])
def test_a_threshold_without_a_logarithm_is_refused(threshold):
    with pytest.raises((TypeError, ValueError), match="threshold must be a finite number above 0"):
        curves.first_below(pd.DataFrame({"a": [1.0]}), threshold)


def overlapping(n_classes):
    X = np.random.default_rng(3).normal(size=(60, 3))
    return lnb.datasets.from_arrays(X, np.arange(60) % n_classes)


@pytest.mark.jit  # thousands of steps are too many for plain Python
@pytest.mark.parametrize("n_classes", [2, 3])
def test_lowest_loss_is_where_long_gradient_descent_ends(n_classes):
    model, data = lnb.LogisticRegression(3, n_classes=n_classes), overlapping(n_classes)
    params = model.init(5, "float64")
    for _ in range(400):
        params -= model.loss_and_grad(params, data.X_train, data.y_train)[1]
    assert abs(lowest_loss(model, data) - model.loss(params, data.X_train, data.y_train)) < 1e-11
    assert lowest_loss(model, data) < model.loss(model.init(0, "float64"), data.X_train, data.y_train) - 0.01


@pytest.mark.parametrize("model", [lnb.LogisticRegression(3, l2=0.1), lnb.MLP((3, 3, 2))])
def test_lowest_loss_is_for_a_logistic_regression_without_l2(model):
    with pytest.raises(TypeError, match="model must be a LogisticRegression with l2 0"):
        lowest_loss(model, overlapping(2))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_classes_have_no_lowest_loss(n_classes):
    y = np.arange(60) % n_classes
    data = lnb.datasets.from_arrays(np.random.default_rng(3).normal(size=(60, 3)) + 9 * np.eye(3)[y], y)
    with pytest.raises(ValueError, match="data must have overlapping classes, got classes that LogisticRegression"):
        lowest_loss(lnb.LogisticRegression(3, n_classes=n_classes), data)
