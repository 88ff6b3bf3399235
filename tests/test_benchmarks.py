"""Published problems as they are stated; `make test LEVEL=outside` compares runs on them with published numbers."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims.benchmarks import (
    StochasticMinmax,
    on_quadratic_deep,
    published_losses,
    quadratic_deep,
    with_syncs_for_steps,
)
from lookahead_nb.kernels.philox import MINIBATCHES, permutation


def test_quadratic_deep_has_the_stated_spectrum_and_rows():
    model, data = quadratic_deep()
    eigenvalues = np.linalg.eigvalsh(model.hessian)
    assert ((eigenvalues > 0) & (eigenvalues < 1)).sum() == 90
    assert ((eigenvalues > 30) & (eigenvalues < 60)).sum() == 10
    assert model.init().tolist() == [1] * 100
    assert (len(data.X_train), len(data.X_validation), len(data.X_test), data.n_features) == (1000, 896, 896, 100)
    for rows in (data.X_train, data.X_validation, data.X_test):
        assert np.std(rows) == pytest.approx(0.6, rel=0.01)  # of 90,000 numbers
        assert np.abs(rows.mean(axis=0)).max() < 0.1  # five standard errors
    assert not np.isin(data.X_test[:, 0], data.X_train[:, 0]).any()


def test_the_eigenvectors_are_in_general_position():
    directions = np.linalg.eigh(quadratic_deep()[0].hessian)[1]
    assert np.abs(directions).max() < 0.6
    np.testing.assert_allclose((directions**4).sum(axis=0), 3 / 102, rtol=0.7)  # of a uniform direction, on average


def test_eigenvalues_are_the_first_numbers_of_the_generator():
    drawn = np.random.RandomState(42).uniform(size=100)
    expected = np.sort(np.concatenate([drawn[:90], 30 + 30 * drawn[90:]]))
    np.testing.assert_allclose(np.linalg.eigvalsh(quadratic_deep()[0].hessian), expected, atol=1e-12)


def test_a_later_draw_is_another_hessian_on_the_same_rows():
    (first, rows), (second, same) = quadratic_deep(), quadratic_deep(1)
    assert rows.fingerprint == same.fingerprint
    assert not np.isclose(np.linalg.eigvalsh(first.hessian), np.linalg.eigvalsh(second.hessian)).any()
    with pytest.raises(ValueError, match="draw must be a whole number of at least 0, got -1"):
        quadratic_deep(-1)


@pytest.mark.jit
def test_the_frame_holds_the_weights_after_a_step():
    model, data = quadratic_deep(2)
    opt = lnb.Lookahead(lnb.SGD(0.01, momentum=0.5), sync_period=7)
    frame = on_quadratic_deep([opt, lnb.SGD(1e3)], seeds=[4], order="repeated", epochs=[1, 6], draw=2)
    assert [*frame] == ["optimizer", "lr", "order", "seed", "epoch", "test_loss"]
    assert frame["optimizer"].tolist() == ["Momentum"] * 2 + ["SGD"] * 2
    assert frame["epoch"].tolist() == [1, 6] * 2
    for epoch, loss in zip((1, 6), frame["test_loss"], strict=False):
        run = lnb.train(model, data, opt, steps=7 * epoch, batch_size=128, seed=4, order="repeated", eval_at=[])
        assert loss == model.loss(run.slow, data.X_test)
    assert np.isnan(frame["test_loss"].iloc[3])  # diverged
    between = on_quadratic_deep([lnb.Lookahead(lnb.SGD(0.01), sync_period=5)], seeds=[4], order="shuffled", epochs=[1])
    run = lnb.train(*quadratic_deep(), lnb.Lookahead(lnb.SGD(0.01)), steps=7, batch_size=128, seed=4, eval_at=[])
    assert between["test_loss"].item() == quadratic_deep()[0].loss(run.params, data.X_test)


def test_published_losses_have_the_columns_of_runs():
    final, last = published_losses("deepobs"), published_losses("deepobs", "minibatch loss")
    assert [*final] == [*last] == ["optimizer", "lr", "order", "seed", "step", "test_loss"]
    assert {*final["step"]} == {700}
    assert last["step"].between(687, 700).all()
    assert len(last) == 3 * 14
    valley = published_losses("crowded_valley")
    assert [*valley] == ["optimizer", "lr", "order", "seed", "epoch", "test_loss"]
    assert {*valley["order"]} == {"published"}


@pytest.mark.jit
def test_a_sync_takes_the_place_of_a_step():
    model, data = quadratic_deep()
    for period in (7, 5, 2):
        opt = lnb.Lookahead(lnb.SGD(0.01, momentum=0.9), sync_period=period, slow_step_size=0.3)
        frame = with_syncs_for_steps(opt, seeds=[3], epochs=[1, 5])
        X = data.X_train.astype(np.float64)
        fast, slow, velocity = np.ones(100), np.ones(100), np.zeros(100)
        for t, rows in zip(range(35), lnb.minibatches(1000, 128, seed=3, order="repeated"), strict=False):
            if t % period == 0:
                fast = slow = slow + 0.3 * (fast - slow)
            else:
                velocity = 0.9 * velocity + model.hessian @ (fast - X[rows].mean(axis=0))
                fast = fast - 0.01 * velocity
            if t + 1 in (7, 35):
                expected = model.loss(fast, data.X_test)
                assert frame.set_index("epoch").loc[(t + 1) // 7, "test_loss"] == pytest.approx(expected, rel=1e-5)
    assert frame.drop(columns="test_loss").iloc[1].tolist() == ["Momentum", 0.01, "sync for a step", 3, 5]


def test_a_run_that_would_never_leave_its_start_is_refused():
    with pytest.raises(ValueError, match=r"opt.sync_period must be .* at least 2, got 1"):
        with_syncs_for_steps(lnb.Lookahead(lnb.SGD(), sync_period=1), seeds=[0])
    with pytest.raises(TypeError, match="opt must be a Lookahead, got SGD"):
        with_syncs_for_steps(lnb.SGD(), seeds=[0])


# ------------------------------------------------------------------------------------------------------------- games


def test_the_stochastic_games_are_those_of_the_formula():
    game = StochasticMinmax(3)
    rng = np.random.RandomState(0)
    x, y = rng.randn(100) / 10, rng.randn(100) / 10
    first, second = (own[0].reshape(5, 100) for own in game.players(game.init()))
    assert first[0].tolist() == x.tolist()
    assert second[0].tolist() == y.tolist()
    a, b = np.zeros((100, 100)), np.zeros((100, 100))
    for i in range(100):
        a[i], b[i] = rng.randn(100) / 10, rng.randn(100) / 10
    np.testing.assert_allclose(game.equilibrium[:, 0], [-b.sum(axis=0), -a.sum(axis=0)], atol=1e-12)
    of_first, of_second = (own[0].reshape(5, 100) for own in game.players(game.field(game.init(), np.array([7]))))
    chosen = permutation(100, 7 * 5, MINIBATCHES)[:3]
    mask = np.isin(np.arange(100), chosen)
    np.testing.assert_allclose(of_first[0], mask * y + a[chosen].sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(of_second[0], -(mask * x + b[chosen].sum(axis=0)), atol=1e-12)


def test_their_minibatches_have_the_mean_of_all_terms():
    game = StochasticMinmax(50)
    params = game.init()
    mean = game.field(params, np.arange(3000))
    np.testing.assert_allclose(mean, game.field(params), atol=6 * 0.1 * np.sqrt(50 / 3000))
    many = np.mean([game.field(params, np.arange(i, i + 1)) for i in range(30)], axis=0)
    np.testing.assert_allclose(many, game.field(params, np.arange(30)), atol=1e-12)


def test_nobody_moves_at_their_equilibrium():
    game = StochasticMinmax(16)
    there = game.equilibrium.reshape(-1)
    assert np.abs(game.field(there)).max() < 1e-12
    assert game.distances(there).max() == 0
    away = there.copy()
    away[0] += 5.0  # the mean over five games
    assert game.distances(away).tolist() == [[1.0, 0.0]]
    with pytest.raises(ValueError, match="size must be a whole number from 1 to 100, got 0"):
        StochasticMinmax(0)
