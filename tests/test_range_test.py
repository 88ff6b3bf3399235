"""The range test: its rates and losses by hand, the smoothed loss and the suggestion against their definitions."""

import numpy as np
import pytest

import lookahead_nb as lnb
from tests.support.runs import BATCH, OPTIMIZERS, problem

BOWL = lnb.landscapes.Quadratic([1.0])
FIND = {"low": 1e-3, "high": 10.0, "steps": 40, "dtype": "float64"}


def found(curvature=1.0, opt=None, **changes):
    return lnb.find_lr(lnb.landscapes.Quadratic([curvature]), None, opt or lnb.SGD(5.0), **FIND | changes)


def test_rates_rise_by_equal_ratios_and_losses_are_those_of_the_quadratic():
    rows = found().rows
    rates = np.geomspace(1e-3, 10, 40)
    np.testing.assert_allclose(rows["lr"], rates, rtol=1e-12)
    assert rows["lr"].iloc[[0, -1]].tolist() == [1e-3, 10]
    np.testing.assert_allclose(rows["train_loss"], np.cumprod(1 - rates) ** 2 / 2, rtol=1e-9)  # x <- (1 - lr)*x
    assert rows["step"].tolist() == [*range(1, 41)]


def test_the_smoothed_loss_is_the_weighted_mean_of_all_losses_so_far():
    rows = found().rows
    losses = rows["train_loss"].to_numpy()
    for i in (0, 1, 7, 39):
        expected = np.average(losses[: i + 1], weights=0.9 ** np.arange(i, -1, -1))
        assert rows["smoothed"][i] == pytest.approx(expected, rel=1e-12)


def test_the_suggestion_is_where_the_smoothed_loss_falls_fastest():
    result = found()
    smoothed, rates = result.rows["smoothed"].to_numpy(), result.rows["lr"].to_numpy()
    minimum = smoothed.argmin()
    falls = {i: (smoothed[i - 1] - smoothed[i + 1]) / 2 for i in range(1, minimum)}
    assert result.lr == rates[max(falls, key=falls.get)]
    assert result.lr < rates[minimum] < 10


@pytest.mark.parametrize("curvature", [0.1, 100.0])
def test_a_steeper_quadratic_gets_a_lower_rate_in_proportion(curvature):
    """The losses depend on lr*curvature alone, up to a factor."""
    scaled = found(curvature, low=1e-3 / curvature, high=10 / curvature)
    assert scaled.lr == pytest.approx(found().lr / curvature, rel=1e-9)
    assert scaled.lr < 2 / curvature  # where gradient descent is stable


@pytest.mark.jit  # plain Python warns on the way to inf
def test_rows_end_where_the_run_diverges():
    result = found(high=1e300)
    assert len(result.rows) < 40
    assert np.isfinite(result.rows).all(axis=None)


def test_rates_too_low_to_move_any_weight_have_no_suggestion():
    data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 8, 2))
    result = lnb.find_lr(model, data, lnb.AdamW(), low=1e-60, high=1e-50, steps=20)
    assert result.rows["train_loss"].nunique() == 1
    assert result.lr is None


def test_a_loss_that_never_falls_has_no_suggestion():
    result = found(low=3.0)
    assert result.lr is None
    assert "the loss never falls" in repr(result)
    assert [line.get_label() for line in result.plot().lines] == ["loss after the step", "smoothed"]


@pytest.mark.parametrize("name", ["adamw", "keep", "average", "restarts"])
def test_networks_and_optimizers_with_slow_weights(name):
    model, data = problem()
    opt = OPTIMIZERS[name]
    result = lnb.find_lr(model, data, opt, low=1e-4, high=0.1, steps=20, batch_size=BATCH)
    rising = lnb.schedules.from_function(lambda t: result.rows["lr"][t - 1], 20)
    (same,) = lnb.grid(opt, lr=[rising])
    history = lnb.train(model, data, same, steps=20, batch_size=BATCH, eval_every=1, eval_rows=1000).history
    fast = history.query("weights == 'fast' and step > 0")
    assert result.rows["train_loss"].tolist() == fast["train_loss"].tolist()


def test_the_plot_marks_the_suggestion():
    result = found()
    ax = result.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.lines[2].get_xdata()[0] == result.lr
    with pytest.raises(TypeError, match="ax must be Axes of matplotlib"):
        result.plot(ax=5)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"low": 0}, ValueError, "low must be a finite number above 0, got 0"),
        ({"high": 1e-3}, ValueError, "low must be below high, got low=0.001 and high=0.001"),
        (
            {"high": 1e300, "dtype": "float32"},
            ValueError,
            "high must be a learning rate that the weights can hold, but lr",
        ),
        ({"steps": 19}, ValueError, "steps must be a whole number of at least 20, got 19"),
        ({"opt": 5}, TypeError, "opt must be an inner optimizer, Lookahead or EMA, got 5"),
        ({"opt": lnb.ScheduleFreeAdamW()}, ValueError, "opt must accept a learning rate that rises, got ScheduleFree"),
    ],
)
def test_bad_input_is_refused_by_name(how, error, words):
    with pytest.raises(error, match=words):
        found(**how)


@pytest.mark.jit  # plain Python warns on the way to inf
def test_a_first_rate_that_diverges_is_refused():
    with pytest.raises(ValueError, match="low must be a rate at which the run does not diverge at once, got 1e"):
        found(low=1e200, high=1e201)
