"""Our numbers against published ones, which are in ``data/published``; `make test LEVEL=outside` needs no network."""

from functools import cache

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.claims.benchmarks import (
    StochasticMinmax,
    on_quadratic_deep,
    published_losses,
    quadratic_deep,
    with_syncs_for_steps,
)
from lookahead_nb.figures.games import of_figure
from lookahead_nb.provenance import published

ROUNDING = 1e-6  # the published losses are means of float32 numbers
ORDERS = 4  # standard errors between two means over random orders of minibatches
NOISE = 0.6  # of a mean distance over five games
CURVE = 0.003  # of a loss on the tuning curves: another order of minibatches changes it by up to 0.2 %
STABLE = {"SGD": 1, "Momentum": 0.012, "Adam": 0.2}  # above these rates the loss depends on the order of minibatches
BEST = {"SGD": lnb.SGD(0.015848932), "Momentum": lnb.SGD(0.0025118864, momentum=0.99), "Adam": lnb.Adam(0.039810717)}
BOUND = 87.046  # the test loss of the minimum on the training rows


@pytest.fixture(scope="module")
def deepobs():
    return published_losses("deepobs")


@pytest.fixture(scope="module")
def crowded_valley():
    return published_losses("crowded_valley")


@cache
def losses(name, order):
    """The test losses of ten orders of minibatches at the published best rate."""
    return on_quadratic_deep([BEST[name]], seeds=range(10), order=order)["test_loss"].to_numpy()


def standard_errors(ours, theirs):
    """The difference of two means in standard errors, with our spread for both: they have a single run of one rate."""
    return (ours.mean() - theirs.mean()) / (ours.std(ddof=1) * np.sqrt(1 / len(ours) + 1 / len(theirs)))


def test_the_problem_is_the_published_one(crowded_valley):
    model, data = quadratic_deep()
    first = crowded_valley.query("seed == 42 and epoch == 0")["test_loss"].iloc[0]
    assert model.loss(model.init(), data.X_test) == pytest.approx(first, rel=ROUNDING)
    assert model.loss(data.X_train.mean(axis=0), data.X_test) == pytest.approx(BOUND, rel=ROUNDING)


@pytest.mark.parametrize(("name", "momentum"), [("SGD", 0), ("Momentum", 0.99), ("Adam", None)])
def test_tuning_curves_of_all_36_rates(deepobs, name, momentum):
    rates = np.sort(deepobs.query("seed == 42")["lr"].unique())
    assert len(rates) == 36
    opts = [lnb.Adam(lr) if momentum is None else lnb.SGD(lr, momentum=momentum) for lr in rates]
    ours = on_quadratic_deep(opts, seeds=[0], order="repeated").set_index("lr")["test_loss"]
    stored = deepobs[(deepobs["optimizer"] == name) & (deepobs["seed"] == 42)]
    theirs = stored.set_index("lr")["test_loss"].reindex(rates)
    assert (ours.isna() == theirs.isna()).all()  # both diverge at the same rates
    low = rates[(rates < STABLE[name]) & theirs.notna().to_numpy()]
    assert len(low) == {"SGD": 18, "Momentum": 16, "Adam": 22}[name]
    np.testing.assert_allclose(ours[low], theirs[low], rtol=CURVE)


@pytest.mark.parametrize("name", BEST)
def test_ten_orders_at_the_best_rate(deepobs, name):
    theirs = deepobs[(deepobs["optimizer"] == name) & (deepobs["lr"] == BEST[name].lr)]["test_loss"].to_numpy()
    assert len(theirs) == 10
    assert abs(standard_errors(losses(name, "repeated"), theirs)) < ORDERS


def test_a_single_seed_of_a_small_rate(deepobs):
    theirs = deepobs.query("optimizer == 'SGD' and lr == 0.001")["test_loss"].to_numpy()
    ours = on_quadratic_deep([lnb.SGD(1e-3)], seeds=range(10), order="repeated")["test_loss"].to_numpy()
    assert len(theirs) == 1
    assert abs(standard_errors(ours, theirs)) < ORDERS


@pytest.mark.parametrize("name", BEST)
def test_the_published_minibatches_repeat_in_every_epoch(name):
    last = published_losses("deepobs", "minibatch loss").query("optimizer == @name").sort_values("step")
    values, within = last["test_loss"].to_numpy(), {"SGD": 0.002, "Momentum": 0.7, "Adam": 0.002}[name]
    assert last["step"].tolist() == [*range(687, 701)]
    assert np.abs(values[7:] - values[:7]).max() < within
    others = [np.abs(np.roll(values[7:], shift) - values[:7]).max() for shift in range(1, 7)]
    assert min(others) > 4 * within  # no other period


def test_a_fresh_shuffle_turns_the_published_ranking_around():
    excess = {order: {name: losses(name, order).mean() - BOUND for name in BEST} for order in ("repeated", "shuffled")}
    assert min(excess["repeated"], key=excess["repeated"].get) == "Momentum"
    assert max(excess["shuffled"], key=excess["shuffled"].get) == "Momentum"
    assert 0 < excess["repeated"]["Momentum"] < 0.05
    assert 1 < excess["shuffled"]["Momentum"] < 4


def test_seeds_of_crowded_valley_are_runs_on_different_problems(crowded_valley):
    """In one process each run continues the generator of the problem, so it draws another Hessian."""
    for seed, draw in {44: 1, 45: 2, 46: 3, 47: 4, 50: 7}.items():
        model, data = quadratic_deep(draw)
        theirs = crowded_valley.query(f"seed == {seed} and epoch == 0")["test_loss"].item()
        assert model.loss(model.init(), data.X_test) == pytest.approx(theirs, rel=ROUNDING)


LOOKAHEADS = {  # of Crowded Valley, by the rate and the seed of a run whose problem has draw 0
    (0.01, 42): lnb.Lookahead(lnb.SGD(0.01, momentum=0.99), sync_period=5),
    (0.002023778954048507, 43): lnb.Lookahead(
        lnb.SGD(0.002023778954048507, momentum=0.9808673160454735), sync_period=8, slow_step_size=0.2388555817868857
    ),
}


def deviations(ours, theirs):
    """How many standard deviations of ours the published losses lie from our mean, by epoch."""
    by_epoch = ours.groupby("epoch")["test_loss"]
    return ((theirs.set_index("epoch")["test_loss"] - by_epoch.mean()) / by_epoch.std()).abs()


@pytest.mark.parametrize("which", LOOKAHEADS, ids=["defaults", "tuned"])
def test_a_sync_of_crowded_valley_takes_the_place_of_a_step(crowded_valley, which):
    lr, seed = which
    theirs = crowded_valley[np.isclose(crowded_valley["lr"], lr) & (crowded_valley["seed"] == seed)]
    theirs = theirs[theirs["epoch"].between(1, 12)]
    assert len(theirs) == 12
    how = {"seeds": range(40), "epochs": range(1, 13)}
    assert deviations(with_syncs_for_steps(LOOKAHEADS[which], **how), theirs).max() < 3
    assert deviations(on_quadratic_deep([LOOKAHEADS[which]], order="repeated", **how), theirs).max() > 40
    assert deviations(on_quadratic_deep([LOOKAHEADS[which]], order="shuffled", **how), theirs).max() > 10


def test_a_sync_at_every_minibatch_of_crowded_valley_never_trains(crowded_valley):
    """Its minibatches repeat too: the first one of every epoch has the same loss at the same weights."""
    never = crowded_valley[crowded_valley["lr"] < 0.001]
    assert never["epoch"].max() == 100
    assert never["test_loss"].nunique() == 1
    first = published_losses("crowded_valley", "first minibatch loss")
    assert first["epoch"].tolist() == [0, 1, 99]
    assert first["test_loss"].nunique() == 1


@pytest.mark.parametrize("k", [1, 5, 10, 20])
@pytest.mark.parametrize("size", [0.2, 0.5, 0.8, 1.0])
def test_the_noisy_quadratic_of_the_lookahead_paper_has_our_variance(k, size):
    """Proposition 2 of Zhang et al. 2019. Figure 2 prints no number, so this is all of it that can be compared."""
    lr, curvature, deviation = np.linspace(0.01, 1.9, 40)[:, None], np.array([0.3, 1.0]), 0.7  # of the noisy minimum
    left = 1 - lr * curvature
    sgd = (lr * curvature * deviation) ** 2 / (1 - left**2)
    slow = size**2 * (1 - left ** (2 * k))
    published = slow / (slow + 2 * size * (1 - size) * (1 - left**k)) * sgd
    how = {"lr": lr, "curvature": curvature, "noise": curvature * deviation}
    np.testing.assert_allclose(theory.sgd_variance(**how), sgd, rtol=1e-12)
    cycle = theory.Cycle(sync_period=k, slow_step_size=size, **how)
    np.testing.assert_allclose(cycle.covariance()[..., 1, 1], published, rtol=1e-9)
    ratio = theory.sgd_variance_ratio(lr, curvature, k, size)
    np.testing.assert_allclose(ratio * sgd, published, rtol=1e-12)


@pytest.mark.parametrize(("batch", "lr", "period"), [(64, 0.005, 450), (16, 0.01, 1500), (1, 0.05, 2450)])
def test_the_noisy_games_of_a_published_figure(batch, lr, period):
    """In the mean: their minibatches have no seed, and the figure is read to about 0.1."""
    opt = lnb.Lookahead(lnb.SGD(lr), sync_period=period, slow_step_size=0.3)
    played = lnb.play(StochasticMinmax(batch), opt, steps=20_000, batch_size=1, eval_every=25)
    distances = played.history[played.history["weights"] == "fast"].set_index("step")["distance"]
    theirs = of_figure(published("games"))
    theirs = theirs[theirs["batch"] == batch].set_index("passes")["value"]
    assert len(theirs) == 5
    np.testing.assert_allclose(distances[theirs.index], theirs, atol=NOISE)
