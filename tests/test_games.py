"""Games: fields against differences of losses, play against plain NumPy, theory against play and published numbers."""

import math

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import provenance, theory
from lookahead_nb.claims import benchmarks
from lookahead_nb.models import games
from lookahead_nb.models.games import BilinearGame, MatrixGame, WassersteinGame, matching_pennies, rock_paper_scissors
from lookahead_nb.training.play import Arm, distances_left
from tests.support.reference import play_bilinear

ROUNDING = 1e-10  # of a few hundred steps in float64
SLOPE = 1e-7  # of central differences with steps of 1e-5, whose error is near 1e-10, and of their rounding
IN_THE_LONG_RUN = 1e-3  # of a rate that is measured over some hundred steps, while directions still mix

rng = np.random.default_rng(20201126)
TERMS = {"first": rng.normal(size=(4, 3)), "second": rng.normal(size=(4, 2))}
GAMES = {
    "bilinear": BilinearGame(rng.normal(size=(3, 3)), first=1.0, spread=1.0, replicas=3),
    "finite sum": BilinearGame(np.tile(np.eye(3, 2), (4, 1, 1)) * rng.uniform(1, 2, (4, 1, 1)), second=TERMS["second"]),
    "matrix": MatrixGame(rng.normal(size=(2, 4)), replicas=2),
    "pennies": matching_pennies(),
    "rock": rock_paper_scissors(replicas=2),
    "Wasserstein": WassersteinGame(spread=0.3, replicas=3),
}


# ----------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("name", GAMES)
def test_each_player_descends_its_own_loss(name):
    game = GAMES[name]
    params, grad = game.init(5), game.field(game.init(5))
    for player, parts in enumerate(game.players(np.arange(game.size))):
        for replica, own in enumerate(parts):
            for i in own:
                step = np.zeros(game.size)
                step[i] = 1e-5
                slope = (game.losses(params + step) - game.losses(params - step))[replica, player] / 2e-5
                assert grad[i] == pytest.approx(slope, abs=SLOPE)


@pytest.mark.parametrize("name", ["matrix", "pennies", "rock", "Wasserstein", "bilinear"])
def test_these_games_are_zero_sum(name):
    assert np.abs(GAMES[name].losses(GAMES[name].init(1)).sum(1)).max() == 0


def test_a_bilinear_game_by_hand():
    game = BilinearGame([[2.0, 0.0], [1.0, 1.0]], first=[2.0, 3.0], second=[0.0, -1.0])
    params = np.array([1.0, 2.0, 3.0, 4.0])
    # x'My = 1*2*3 + 2*(3 + 4) = 20, a'x = 8, b'y = -4; My = (6, 7), M'x = (4, 2)
    assert game.losses(params).tolist() == [[24.0, -24.0]]
    assert game.field(params).tolist() == [8.0, 10.0, -4.0, -1.0]
    np.testing.assert_allclose(game.equilibrium, [-0.5, 1.0, -1.0, -2.0], atol=ROUNDING)
    np.testing.assert_allclose(game.distances(params), [[math.sqrt(1.5**2 + 1), math.sqrt(16 + 36)]])


def test_single_terms_add_up_to_the_game():
    game = GAMES["finite sum"]
    params = game.init() * np.arange(1, game.size + 1)
    mean = np.mean([game.field(params, np.array([i])) for i in range(game.terms)], axis=0)
    np.testing.assert_allclose(mean, game.field(params), atol=ROUNDING)
    assert np.abs(game.field(params, np.array([0])) - game.field(params)).max() > 0.01


def test_examples_have_the_strengths_and_the_noise_that_they_say():
    found = games.examples(replicas=2)
    assert {game.replicas for game in found.values()} == {2}
    still, noisy = found["twenty strengths"], found["noise"]
    np.testing.assert_allclose(still.strengths, np.linspace(1, 0.2, 20))
    np.testing.assert_allclose(noisy.strengths, still.strengths)
    fields = [noisy.field(np.zeros(noisy.size), np.array([i])) for i in range(noisy.terms)]
    np.testing.assert_allclose(np.std(fields), 0.1, rtol=0.05)


@pytest.mark.parametrize("name", ["bilinear", "finite sum"])
def test_nobody_moves_at_the_equilibrium(name):
    game = GAMES[name]
    there = np.tile(game.equilibrium, game.replicas)
    assert np.abs(game.field(there)).max() < ROUNDING
    assert game.distances(there).max() == 0


def test_the_one_who_matches_pays():
    game = matching_pennies()
    heads = np.array([40.0, 0.0])
    assert game.losses(np.concatenate([heads, heads]))[0, 0] == pytest.approx(1)
    assert game.losses(np.concatenate([heads, heads[::-1]]))[0, 0] == pytest.approx(-1)
    # With p = (3/4, 1/4) against q = (1/2, 1/2) player 1 can gain nothing, player 2 a half by showing heads.
    params = np.array([math.log(3), 0.0, 0.0, 0.0])
    np.testing.assert_allclose(game.distances(params), [[0.0, 0.5]], atol=ROUNDING)


def test_paper_beats_rock():
    game = rock_paper_scissors()
    rock, paper = np.array([40.0, 0.0, 0.0]), np.array([0.0, 40.0, 0.0])
    assert game.losses(np.concatenate([rock, paper]))[0, 0] == pytest.approx(1)
    assert game.distances(np.zeros(6)).max() == 0
    assert np.abs(game.field(np.zeros(6))).max() < ROUNDING


def test_the_wasserstein_game_is_the_difference_of_two_expectations():
    game, params = WassersteinGame(mean=0.7, deviation=1.3), np.array([0.2, -0.4, 0.9, 0.3])
    z, weights = np.polynomial.hermite_e.hermegauss(8)  # exact for polynomials
    weights = weights / weights.sum()

    def critic(x):
        return weights @ (0.9 * x + 0.3 * x**2)

    expected = critic(0.7 + 1.3 * z) - critic(0.2 - 0.4 * z)
    np.testing.assert_allclose(game.losses(params), [[expected, -expected]])
    np.testing.assert_allclose(game.distances(params), [[math.hypot(0.5, 0.9), math.hypot(0.9, 0.3)]])


def test_a_start_is_drawn_for_each_replica():
    game = matching_pennies(spread=[1.0, 0.0, 2.0, 0.0], replicas=500)
    first, second = game.players(game.init(3))
    assert np.unique(first[:, 0]).size == 500
    assert not first[:, 1].any()
    np.testing.assert_allclose([first[:, 0].std(), second[:, 0].std()], [1, 2], rtol=0.1)
    assert game.init(3, "float32").dtype == np.float32
    assert game.field(game.init(3, "float32")).dtype == np.float32


# ------------------------------------------------------------------------------------------------------------- play

LOOKAHEADS = {
    "alone": lnb.SGD(0.2),
    "momentum": lnb.SGD(0.1, momentum=0.5),
    "Lookahead": lnb.Lookahead(lnb.SGD(0.2), sync_period=4, slow_step_size=0.3),
    **{
        state: lnb.Lookahead(lnb.SGD(0.1, momentum=0.6), sync_period=3, slow_step_size=0.4, inner_state=state)
        for state in ("keep", "reset", "interpolate")
    },
}
MOVES = ["simultaneous", "alternating", "extragradient", "optimistic"]


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("name", LOOKAHEADS)
def test_play_is_what_the_equations_say(name, moves):
    opt, start = LOOKAHEADS[name], np.array([1.0, -0.5, 0.3, 2.0])
    matrix, first, second = np.array([[1.0, 0.4], [-0.2, 0.5]]), np.array([0.3, 0.1]), np.array([-0.2, 0.6])
    played = lnb.play(BilinearGame(matrix, first=first, second=second, start=start), opt, steps=25, moves=moves)
    settings = {name: opt.settings().get(name) for name in ("lr", "momentum", "sync_period", "slow_step_size")}
    expected = play_bilinear(matrix, first, second, start, steps=25, moves=moves, **settings, inner_state=name)
    np.testing.assert_allclose(played.params, expected, atol=ROUNDING)


@pytest.mark.parametrize("name", ["alone", "Lookahead", "interpolate"])
def test_play_has_the_bits_of_a_compiled_run(name):
    opt = LOOKAHEADS[name]
    run = lnb.train(lnb.landscapes.Bilinear(0.7), None, opt, steps=30, dtype="float64")
    assert lnb.play(BilinearGame([[0.7]]), opt, steps=30).params.tobytes() == run.params.tobytes()


def test_both_players_are_pulled_back_in_the_same_step():
    opt = lnb.Lookahead(lnb.SGD(0.5), sync_period=2, slow_step_size=0.25)
    history = lnb.play(BilinearGame([[1.0]], start=[1.0, 0.0]), opt, steps=2, moves="alternating").history
    # 1, 0 -> 1, 1/2 -> 3/4, 7/8; player 2 answers the 3/4 from ahead of the pull; slow: 1 - 1/16, 7/32
    rows = history[history.step == 2].set_index("weights")[["first", "second"]]
    assert rows.loc["fast"].tolist() == [0.75, 0.875]
    assert rows.loc["slow"].tolist() == [0.9375, 0.21875]


def test_history_counts_gradients_and_averages_the_path():
    game = BilinearGame([[1.0]], start=[1.0, 0.0])
    history = lnb.play(game, lnb.SGD(1.0), steps=3, eval_every=2).history
    # the path is (1, 0), (1, 1), (0, 2), (-2, 2), its mean (0, 5/4)
    assert history.columns.tolist() == ["step", "gradients", "weights", "replica", "first", "second", "distance"]
    assert history.set_index(["step", "weights"]).distance.to_dict() == {
        (0, "fast"): 1.0,
        (0, "average"): 1.0,
        (2, "fast"): 2.0,
        (2, "average"): pytest.approx(2 / 3 + 1),
        (3, "fast"): 4.0,
        (3, "average"): 1.25,
    }
    assert lnb.play(game, lnb.SGD(1.0), steps=3, moves="extragradient").history.gradients.max() == 6


def test_fast_weights_are_read_ahead_of_the_pull():
    opt = lnb.Lookahead(lnb.SGD(1.0), sync_period=2, slow_step_size=0.5)
    history = lnb.play(BilinearGame([[1.0]], start=[1.0, 0.0]), opt, steps=2).history
    # the path is (1, 0), (1, 1), (0, 2), its mean (2/3, 1), and the pull ends at (1/2, 1)
    rows = history[history.step == 2].set_index("weights")[["first", "second"]]
    assert rows.loc["fast"].tolist() == [0.0, 2.0]
    assert rows.loc["slow"].tolist() == [0.5, 1.0]
    assert rows.loc["average"].tolist() == [pytest.approx(2 / 3), 1.0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("moves", MOVES)
def test_a_game_that_overflows_is_infinitely_far_from_then_on(moves):
    history = lnb.play(BilinearGame([[1.0]]), lnb.SGD(1e100), steps=10, moves=moves).history
    distance = history[history.weights == "fast"].distance.to_numpy()
    assert np.isfinite(distance[: 2 if moves in ("simultaneous", "optimistic") else 1]).all()
    assert np.isinf(distance[2:]).all()


def test_a_replica_plays_as_if_alone():
    game = rock_paper_scissors(replicas=3)
    start, opt = game.init(7), LOOKAHEADS["Lookahead"]
    together = lnb.play(game, opt, steps=20, seed=7).params.reshape(3, 6)
    for i, alone in enumerate(start.reshape(3, 6)):
        expected = lnb.play(rock_paper_scissors(start=alone, spread=0.0), opt, steps=20).params
        np.testing.assert_allclose(together[i], expected, atol=ROUNDING)


def test_arms_are_compared_at_the_same_number_of_gradients():
    game = BilinearGame([[1.0]], start=0.0, spread=1.0, replicas=4)
    pulled = lnb.Lookahead(lnb.SGD(9.0), sync_period=2)
    arms = {
        "slow": Arm(pulled, weights="slow"),
        "average": Arm(lnb.SGD(9.0), weights="average"),
        "ahead": Arm(lnb.SGD(9.0), "extragradient"),
    }
    left = distances_left(game, arms, lr=[0.1, 0.2], gradients=10, seed=3).set_index(["arm", "lr"])["left"]
    for lr in (0.1, 0.2):
        for name, opt, steps in (("slow", lnb.Lookahead(lnb.SGD(lr), sync_period=2), 10), ("ahead", lnb.SGD(lr), 5)):
            history = lnb.play(game, opt, steps=steps, moves=arms[name].moves, seed=3).history
            mean = history[history.weights == arms[name].weights].groupby("step").distance.mean()
            assert left[name, lr] == pytest.approx(mean[steps] / mean[0])
    assert len(left) == 6
    with pytest.raises(ValueError, match=r"weights must be .*'average', got 'slow'"):
        distances_left(game, {"a": Arm(lnb.SGD(0.1), weights="slow")}, lr=[0.1], gradients=4)


def test_minibatches_are_those_of_train():
    game, opt = GAMES["finite sum"], lnb.SGD(0.1)
    params, batches = game.init(), lnb.minibatches(4, 3, 11)
    for _ in range(6):
        params -= 0.1 * game.field(params, next(batches))
    np.testing.assert_allclose(lnb.play(game, opt, steps=6, batch_size=3, seed=11).params, params, atol=ROUNDING)
    full = [lnb.play(game, opt, steps=6, seed=seed).params.tolist() for seed in (0, 1)]
    assert full[0] == full[1]


# ----------------------------------------------------------------------------------------------------------- theory


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("name", LOOKAHEADS)
def test_the_rate_is_that_of_a_game(name, moves):
    opt = LOOKAHEADS[name]
    settings = {key: opt.settings()[key] for key in ("sync_period", "slow_step_size") if key in opt.settings()}
    momentum = opt.inner.momentum
    rate = theory.game_rate(
        opt.inner.lr, 0.8, **settings, momentum=momentum, moves=moves, inner_state=getattr(opt, "inner_state", "keep")
    )
    history = lnb.play(BilinearGame([[0.8]]), opt, steps=1200, moves=moves, eval_every=12).history
    fast = history[history.weights == "fast"].set_index("step")
    distance = np.hypot(fast["first"], fast["second"])
    assert (distance[1200] / distance[600]) ** (1 / 600) == pytest.approx(rate, abs=IN_THE_LONG_RUN)


@pytest.mark.parametrize("k", [1, 2, 5, 31])
def test_the_cycle_without_momentum_is_the_multiplier(k):
    lr, s = rng.uniform(0.01, 0.5, 7), np.array([0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0])
    expected = abs(theory.game_multiplier(lr, 0.9, k, s)) ** (1 / k)
    np.testing.assert_allclose(theory.game_rate(lr, 0.9, k, s), expected, rtol=1e-12)


def test_the_controls_in_closed_form():
    g = np.array([0.05, 0.3, 0.6])
    close = {"rtol": 1e-12}
    np.testing.assert_allclose(theory.game_rate(g, 1.0), np.sqrt(1 + g**2), **close)
    np.testing.assert_allclose(theory.game_rate(g, 1.0, moves="extragradient"), np.sqrt(1 - g**2 + g**4), **close)
    np.testing.assert_allclose(theory.game_rate(g, 1.0, moves="alternating"), 1.0, **close)
    optimistic = [np.abs(np.roots([1, -1 - 2j * each, 1j * each])).max() for each in g]
    np.testing.assert_allclose(theory.game_rate(g, 1.0, moves="optimistic"), optimistic, **close)
    turn = 2 * np.arcsin(g / 2)
    for k, s in ((2, 0.9), (7, 0.3)):
        expected = np.abs(1 - s + s * np.exp(1j * k * turn)) ** (1 / k)
        np.testing.assert_allclose(theory.game_rate(g, 1.0, k, s, moves="alternating"), expected, **close)


def test_small_steps_converge_exactly_above_retention_times_period_one():
    for k in range(1, 13):
        s = np.array([0.05, 0.15, 0.35, 0.55, 0.65, 0.85, 0.95])  # no (1-s)k is 1
        converges = theory.game_rate(1e-3, 1.0, k, s) < 1
        assert converges.tolist() == ((1 - s) * k > 1).tolist()
        assert converges.tolist() == (theory.small_game_rate(1e-3, 1.0, k, s) < 0).tolist()


def test_above_the_least_retention_lookahead_converges_and_below_not():
    for k, g in ((2, 0.05), (5, 0.3), (10, 0.3), (6, 0.1)):
        least = theory.least_game_retention(g, 1.0, k)
        assert 0 < least < 1
        assert theory.game_rate(g, 1.0, k, 1 - least + 1e-3) > 1 > theory.game_rate(g, 1.0, k, 1 - least - 1e-3)
    for g in (1e-3, 1e-9, 1e-300):
        least = theory.least_game_retention(g, 1.0, np.arange(1, 9))
        np.testing.assert_allclose(least, 1 / np.arange(1, 9), atol=1e-4)
    assert theory.least_game_retention(0.1, 1.0, [1, 63]).tolist() == [1.0, 1.0]  # 63 steps are a whole turn


def test_the_error_of_the_formula_falls_with_the_fourth_power():
    g = np.array([0.08, 0.04, 0.02])
    error = np.log(theory.game_rate(g, 1.0, 6, 0.3)) - theory.small_game_rate(g, 1.0, 6, 0.3)
    np.testing.assert_allclose(error[:-1] / error[1:], 16, rtol=0.1)


def test_the_rule_has_a_limit():
    assert (1 - 0.8) * 6 > 1
    assert theory.game_rate(0.3, 1.0, 6, 0.8) > 1


def test_the_best_slow_step_of_the_formula_is_its_minimum():
    s = np.linspace(0, 1, 100_001)
    for k in (2, 5, 10):
        assert s[theory.small_game_rate(0.1, 1.0, k, s).argmin()] == pytest.approx(
            theory.best_game_slow_step(k), abs=1e-5
        )


def test_the_published_rates_to_their_digits():
    published = provenance.published("games")
    published = published[published.metric == "log10 rate per step"]
    settings = [{"sync_period": 5, "slow_step_size": 0.5}, {"sync_period": 31, "slow_step_size": 0.462}]
    for value, setting in zip(published.value, [*settings, {"moves": "extragradient"}], strict=True):
        assert f"{math.log10(theory.game_rate(0.1, 1.0, **setting)):.2e}" == f"{value:.2e}", setting


def test_rates_by_hand():
    # |1/2 + (1 + 0.1i)^5/2| to the fifth root, and -(0.01/2) * (1/2) * (5/2 - 1)
    assert round(math.log(theory.game_rate(0.1, 1.0, 5, 0.5)), 6) == -3.770e-3
    assert round(float(theory.small_game_rate(0.1, 1.0, 5, 0.5)), 6) == -3.750e-3


def test_the_best_sync_is_that_of_a_search():
    strengths, s = np.linspace(0.1, 1, 10), np.linspace(0, 1, 501)
    found = theory.best_game_sync(0.1, strengths, longest=60)
    rates = {
        k: (abs(theory.game_multiplier(0.1, strengths[:, None], k, s)).max(0).min()) ** (1 / k) for k in range(1, 61)
    }
    k = min(rates, key=rates.get)
    assert found.sync_period == k == 52  # as published
    assert found.rate == pytest.approx(rates[k], abs=1e-6)
    assert found.rate == pytest.approx(theory.game_rate(0.1, strengths, k, found.slow_step_size).max())
    assert theory.best_game_sync(0.1, [1.0], longest=1) == (1, 0.0, 1.0)


@pytest.mark.parametrize(
    ("game", "there", "strength"),
    [
        (matching_pennies(spread=0.0), [0.0, 0.0, 0.0, 0.0], 0.5),
        (rock_paper_scissors(spread=0.0), np.zeros(6), math.sqrt(3) / 9),
        (WassersteinGame(mean=0.0, deviation=1.0), [0.0, 1.0, 0.0, 0.0], 2.0),
    ],
    ids=["pennies", "rock", "Wasserstein"],
)
def test_near_its_equilibrium_a_game_is_bilinear(game, there, strength):
    """The strengths by hand: P A Q with P = diag(p) - pp'; for the last, (1, 2*deviation) of shift and scale."""
    step = 1e-6
    jacobian = [(game.field(there + step * e) - game.field(there - step * e)) / (2 * step) for e in np.eye(game.size)]
    turns = np.linalg.eigvals(np.array(jacobian).T)
    np.testing.assert_allclose(turns.real, 0, atol=1e-8)
    assert turns.imag.max() == pytest.approx(strength)


# -------------------------------------------------------------------------------------------------------- published


@pytest.mark.jit  # 600,000 weights are stepped
def test_the_published_game_to_its_digits():
    problems = benchmarks.minmax_games()
    arms = {
        "LA-GDA": (lnb.Lookahead(lnb.SGD(0.3), sync_period=6, slow_step_size=0.5), "simultaneous", 480, 1),
        "ExtraGrad": (lnb.SGD(0.3), "extragradient", 160, 3),
        "GDA": (lnb.SGD(0.3), "simultaneous", 120, 1),
    }
    published = provenance.published("games")
    published = published[published.metric == "mean distance to the solution"]
    assert len(published) == 8
    for name, (opt, moves, steps, passes) in arms.items():
        played = [lnb.play(game, opt, steps=steps, moves=moves, eval_every=40).history for game in problems]
        fast = [history[history.weights == "fast"].set_index("step").distance for history in played]
        for row in published[published.optimizer == name].itertuples():
            at = int(row.setting.split()[0]) // passes
            mean = sum(distance[at] for distance in fast) / len(fast)
            assert f"{mean:.3e}" == f"{row.value:.3e}", (name, row.setting)


# -------------------------------------------------------------------------------------------------------- refusals

BAD = {
    "one player": (lambda: BilinearGame([1.0, 2.0]), ValueError, r"matrix must be .*two players, got \(2,\)"),
    "no weights": (lambda: BilinearGame(np.empty((0, 2))), ValueError, r"matrix must be .*got \(0, 2\)"),
    "offsets": (lambda: BilinearGame(np.eye(2), first=np.ones(3)), ValueError, r"first must be .*\(2,\).*got \(3,\)"),
    "no equilibrium": (lambda: BilinearGame([[0.0]], first=1.0), ValueError, "matrix must .* no equilibrium"),
    "policy without actions": (lambda: MatrixGame(np.empty((2, 0))), ValueError, r"payoff must be .*got \(2, 0\)"),
    "no choice": (lambda: MatrixGame([[1.0, 2.0]]), ValueError, r"payoff must be .*two actions.*got \(1, 2\)"),
    "no spread": (lambda: WassersteinGame(deviation=0), ValueError, "deviation must be .*above 0, got 0"),
    "start": (lambda: matching_pennies(start=[1.0]), ValueError, r"start must be .*\(4,\).*got \(1,\)"),
    "replicas": (lambda: rock_paper_scissors(replicas=0), ValueError, "replicas must be .*got 0"),
    "params": (lambda: matching_pennies().field(np.zeros(3)), ValueError, r"params must be \(4,\).*got \(3,\)"),
    "landscape": (lambda: lnb.play(lnb.landscapes.Bilinear(), lnb.SGD(1), steps=1), TypeError, "game must be a game"),
    "optimizer": (lambda: lnb.play(matching_pennies(), 0.1, steps=1), TypeError, "opt must be an inner .*got 0.1"),
    "moves": (
        lambda: lnb.play(matching_pennies(), lnb.SGD(1), steps=1, moves="both"),
        ValueError,
        "moves must .*'both'",
    ),
    "batch": (
        lambda: lnb.play(GAMES["finite sum"], lnb.SGD(1), steps=1, batch_size=5),
        ValueError,
        "batch_size must be .*from 1 to 4, got 5",
    ),
    "rates": (
        lambda: lnb.play(matching_pennies(), lnb.SGD(lnb.schedules.from_function(lambda t: 0.1, 5)), steps=6),
        ValueError,
        "opt must have a learning rate for each of the 6 steps, got a table of 5",
    ),
    "replicas together": (
        lambda: lnb.play(
            rock_paper_scissors(replicas=2), lnb.Lookahead(lnb.AdamW(), slow_step_size="adaptive"), steps=6
        ),
        ValueError,
        "opt must have given slow steps where replicas=2",
    ),
    "no such term": (
        lambda: GAMES["finite sum"].field(np.zeros(5), np.array([0, 4])),
        ValueError,
        "terms must be from 0 to 3, got 0 to 4",
    ),
    "term from the end": (
        lambda: GAMES["finite sum"].field(np.zeros(5), np.array([-1])),
        ValueError,
        "terms must be from 0 to 3, got -1 to -1",
    ),
    "no terms": (
        lambda: GAMES["finite sum"].field(np.zeros(5), np.array([], int)),
        TypeError,
        "terms must be a list of at least one whole number, got",
    ),
    "half a term": (lambda: matching_pennies().field(np.zeros(4), [0.5]), TypeError, "terms must be .*whole number"),
    "train": (lambda: lnb.train(matching_pennies(), None, lnb.SGD(1)), TypeError, r"got MatrixGame.*: lnb\.play"),
    "momentum": (lambda: theory.game_rate(0.1, 1.0, momentum=1.0), ValueError, "momentum must be .*got 1.0"),
    "periods": (lambda: theory.best_game_slow_step(2.5), ValueError, "sync_period must hold whole .*got 2.5"),
    "strengths": (lambda: theory.best_game_sync(0.1, []), ValueError, "strengths must be a list of at least one"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_a_sentence(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)
