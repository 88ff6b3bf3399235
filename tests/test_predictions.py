"""Theory beside runs, as frames: each number is the one of a direct computation, and the runs agree."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.models.landscapes import Quadratic, Rosenbrock, replay, trace
from lookahead_nb.theory import Cycle, predictions

ROUNDING = 1e-12
OPTS = lnb.grid(lnb.Lookahead(lnb.SGD(0.2, momentum=0.5)), sync_period=[2, 3], inner_state=["keep", "reset"])
NOISY, STILL = Quadratic([1.0], noise=1.0, start=0.0, replicas=2000), Quadratic([1.0])


def swept(bowl):
    return lnb.sweep(bowl, None, OPTS, seeds=1, steps=96, eval_every=1, dtype="float64", progress=False)


@pytest.mark.jit
def test_variance_and_rate_of_runs_are_the_predicted_ones():
    clouds, falls = swept(NOISY), swept(STILL)
    found = predictions.with_theory(OPTS, clouds, falls)
    assert found.inner_state.tolist() == ["keep", "reset"] * 2
    for opt, row in zip(OPTS, found.itertuples(), strict=True):
        cycle = Cycle.of(opt, noise=1.0)
        assert (row.beta1, row.lr) == (0.5, pytest.approx(0.4))
        assert row.predicted_variance == pytest.approx(cycle.covariance()[1, 1])
        assert row.predicted_rate == pytest.approx(float(cycle.rate))
        assert row.inner_variance == pytest.approx(Cycle(lr=0.4, beta1=0.5, noise=1.0).covariance()[0, 0])
        late = clouds[(clouds.weights == "slow") & (clouds.step >= 48) & (clouds.sync_period == opt.sync_period)]
        assert row.measured_variance == pytest.approx(2 * late.train_loss[late.inner_state == opt.inner_state].mean())
    assert (abs(found.measured_variance / found.predicted_variance - 1) < 0.05).all()
    assert (abs(found.measured_rate - found.predicted_rate) < 0.01).all()
    phases = predictions.by_phase(OPTS[2:3], clouds)
    assert phases.groupby("weights").phase.apply(list).to_dict() == {"fast": [0, 1, 2], "slow": [0, 1, 2]}
    assert (abs(phases.measured / phases.predicted - 1) < 0.06).all()
    expected = [Cycle.of(OPTS[2], noise=1.0).covariance(i)[0, 0] for i in range(3)]
    np.testing.assert_allclose(phases.predicted[:3], expected, rtol=ROUNDING)


def test_runs_of_other_optimizers_are_refused():
    falls = swept(STILL)
    with pytest.raises(ValueError, match="opts must be the 4 configurations of a sweep over one seed, got 3"):
        predictions.with_theory(OPTS[:3], falls, falls)
    with pytest.raises(ValueError, match="opts must be configurations of clouds, got Lookahead"):
        predictions.by_phase([lnb.Lookahead(lnb.SGD(0.7))], falls)


def test_matched_risk_is_held_against_gradient_descent_with_the_same_risk():
    a = np.array([0.1, 1.0])
    frame = predictions.at_matched_risk(40, [0.1, 0.3], a, 1.0, sync_periods=[1, 4], slow_step_sizes=[1.0, 0.5])
    np.testing.assert_allclose(frame[1.0], 1, rtol=1e-9)
    np.testing.assert_allclose(
        frame.index, [theory.expected_loss(a, 0, theory.sgd_variance(x, a, 1)) for x in (0.1, 0.3)]
    )
    lr = theory.sgd_matched_lr(0.3, a, 1.0, 4, 0.5)
    ours, theirs = (
        Cycle(lr=x, curvature=a, noise=1.0, **how).transient(40)
        for x, how in ((lr, {"sync_period": 4, "slow_step_size": 0.5}), (0.3, {}))
    )
    losses = [theory.expected_loss(a, path.slow_mean, path.slow_variance)[-1] for path in (ours, theirs)]
    assert frame.loc[frame.index[1], (0.5, 4)] == pytest.approx(losses[0] / losses[1], rel=1e-9)


def test_gaps_are_those_of_the_best_lr():
    frame = predictions.gaps_around_momentum([10.0], [2], 0.9, sync_period=5, slow_step_size=0.5)
    gaps = frame.set_index("rule").gap
    assert gaps.index.tolist() == ["momentum alone", "keep", "reset", "interpolate"]
    assert gaps["momentum alone"] == pytest.approx(1 - np.sqrt(0.9), rel=1e-3)  # under-damped, whatever the condition
    how = {"beta1": 0.9, "sync_period": 5, "slow_step_size": 0.5, "inner_state": "reset"}
    assert gaps["reset"] == 1 - theory.best_lr([0.1, 1.0], **how)[1]


def test_tuned_losses_around_no_momentum_are_those_of_the_closed_form():
    a, lrs = np.array([0.1, 1.0]), np.array([0.1, 0.5, 1.0, 50.0])  # the last one diverges
    how: dict = {"momenta": [0.0], "sync_period": 4, "slow_step_size": 0.5}
    frame = predictions.tuned_around_momentum([4, 40], lrs, a, 0.3, **how)
    assert frame[["momentum", "steps"]].to_numpy().tolist() == [[0, 4], [0, 40]]
    for steps, ratio in zip(frame["steps"], frame["ratio"], strict=True):
        ours, alone = (
            min(theory.expected_loss(a, *theory.sgd_moments(steps // k, lr, a, k, size, 0.3)) for lr in lrs[:3])
            for k, size in ((4, 0.5), (1, 1.0))
        )
        assert ratio == pytest.approx(ours / alone, rel=1e-9)
    with pytest.raises(ValueError, match="steps must be multiples of sync_period 4, got 6"):
        predictions.tuned_around_momentum([6], lrs, a, 0.3, **how)


def test_lookahead_gains_around_momentum_that_swings():
    how: dict = {"momenta": [0.9], "sync_period": 5, "slow_step_size": 0.5}
    frame = predictions.tuned_around_momentum([40], np.geomspace(0.1, 30, 60), [0.1, 1.0], 0.0, **how)
    assert frame["ratio"].item() < 0.5


def test_settings_may_be_iterators():
    how: dict = {"sync_period": 5, "slow_step_size": 0.5}
    frame = predictions.gaps_around_momentum(iter([10.0, 100.0]), iter([2, 3]), 0.9, **how)
    points = frame[["modes", "condition"]].drop_duplicates().to_numpy().tolist()
    assert points == [[2, 10.0], [2, 100.0], [3, 10.0], [3, 100.0]]
    axes = {"sync_periods": iter([1, 4]), "slow_step_sizes": iter([1.0, 0.5])}
    matched = predictions.at_matched_risk(40, [0.1], [0.1, 1.0], 1.0, **axes)
    assert matched.columns.tolist() == [(1.0, 1), (1.0, 4), (0.5, 1), (0.5, 4)]


@pytest.mark.parametrize("inner", [lnb.AdamW(0.1, weight_decay=0.0), lnb.SGD(1e-3, momentum=0.8)], ids=["AdamW", "SGD"])
def test_averaged_path_is_that_of_the_inner_rule_led_from_ahead(inner):
    valley, start = Rosenbrock(), np.array([-1.2, 1.0])
    for k in (1, 4):
        path = predictions.averaged_path(valley, lnb.Lookahead(inner, sync_period=k), start, 30)
        averaged, replayed, alone = (path.filter(like=name).to_numpy() for name in ("averaged", "replayed", "alone"))
        assert np.abs(averaged - replayed).max() <= ROUNDING
        assert (np.abs(averaged - alone).max() <= ROUNDING) == (k == 1)
        fast, slow = trace(valley, lnb.Lookahead(inner, sync_period=k), start, 30)
        assert (path.filter(like="fast").to_numpy() == fast).all()
        assert (averaged[4::4] == slow[4::4]).all()


def test_replay_of_a_run_is_the_run():
    valley, start, rule = Rosenbrock(), np.array([-1.2, 1.0]), lnb.AdamW(0.1)
    path, _ = trace(valley, rule, start, 12)
    again = replay(rule, start, [valley.loss_and_grad(point)[1] for point in path[:-1]])
    assert (again == path).all()
    assert start.tolist() == [-1.2, 1.0]
