"""Games as tasks of an experiment: ends by a plain run, equal numbers of gradients, choices by what a player sees."""

from dataclasses import replace

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import experiments, game_trial, landscape_trial
from lookahead_nb.claims.game_tasks import GameTask, RingTask
from lookahead_nb.claims.trial_arms import RATES, arms_of

GAME = GameTask(1, "bilinear", size=3, exponent=0.5, noise=0.1, mean=0.3, deviation=0.8, steps=40)
RING = RingTask(0, hidden=16, activation="tanh", noise=2, deviation=0.1, batch_size=32, steps=40)
SEEDS = [11, 22, 33, 44]
PULLED = lnb.Lookahead(lnb.SGD(0.3), sync_period=5)


def left_of(game, weights, seed):
    return game.distances(weights).sum(axis=1) / game.distances(game.init(seed)).sum(axis=1)


def test_a_game_ends_where_a_plain_run_does():
    game = GAME.model(4 * game_trial.STARTS)
    played = lnb.play(game, PULLED, steps=40, seed=11)
    expected = left_of(game, PULLED.slow_from(played.params, played.state), 11).reshape(2, 2, -1).mean(axis=-1)
    found = game_trial.measured(GAME, PULLED, "simultaneous", SEEDS, 2)
    assert found["distance left"].tolist() == expected.tolist()
    assert found["seen"].shape == (2, 2)


def test_with_noise_every_half_of_a_replicate_has_noise_of_its_own():
    task = replace(GAME, game="bilinear with noise")
    found = game_trial.measured(task, lnb.SGD(0.1), "simultaneous", SEEDS, 2)["distance left"]
    game = task.model(game_trial.STARTS)
    for seed, value in zip(SEEDS, found.ravel(), strict=True):
        played = lnb.play(game, lnb.SGD(0.1), steps=40, seed=seed, batch_size=10)
        assert value == left_of(game, played.params, seed).mean()


def test_extragradient_takes_half_as_many_steps():
    game = GAME.model(4 * game_trial.STARTS)
    played = lnb.play(game, lnb.SGD(0.3), steps=20, seed=11, moves="extragradient")
    found = game_trial.measured(GAME, lnb.SGD(0.3), "extragradient", SEEDS, 2)
    assert found["distance left"].mean() == pytest.approx(left_of(game, played.params, 11).mean())


def test_what_a_player_sees_is_not_the_distance():
    game = GAME.model(4 * game_trial.STARTS)
    played = lnb.play(game, lnb.SGD(0.1), steps=40, seed=11)
    lengths = np.linalg.norm(game.field(played.params).reshape(game.replicas, -1), axis=1)
    found = game_trial.measured(GAME, lnb.SGD(0.1), "simultaneous", SEEDS, 2)
    np.testing.assert_allclose(found["seen"], lengths.reshape(2, 2, -1).mean(axis=-1))
    pennies = replace(GAME, game="pennies")
    found = game_trial.measured(pennies, lnb.SGD(0.1), "simultaneous", SEEDS, 2)
    game = pennies.model(4 * game_trial.STARTS)
    ends = game.distances(lnb.play(game, lnb.SGD(0.1), steps=40, seed=11).params).sum(axis=1)
    np.testing.assert_allclose(found["seen"], ends.reshape(2, 2, -1).mean(axis=-1))
    made = replace(GAME, game="Wasserstein")
    found = game_trial.measured(made, lnb.SGD(0.1), "simultaneous", SEEDS, 2)
    game = made.model(4 * game_trial.STARTS)
    ends = game.distances(lnb.play(game, lnb.SGD(0.1), steps=40, seed=11).params)[:, 0]
    np.testing.assert_allclose(found["seen"], ends.reshape(2, 2, -1).mean(axis=-1))


@pytest.mark.jit  # a GAN takes minutes in plain Python
def test_a_game_that_diverges_is_as_far_as_counts_and_is_never_chosen():
    found = game_trial.measured(GAME, lnb.SGD(1e200), "simultaneous", SEEDS, 2)
    assert (found["distance left"] == game_trial.MOST).all()
    assert np.isinf(found["seen"]).all()
    wild = game_trial.measured(RING, lnb.SGD(1e30), "simultaneous", SEEDS, 2)
    assert (wild["Wasserstein distance"] == game_trial.FARTHEST).all()
    assert (wild["bad samples"] == 1).all()


@pytest.mark.jit  # a GAN takes minutes in plain Python
def test_a_gan_ends_where_a_plain_run_does():
    opt = lnb.Lookahead(lnb.Adam(0.01, beta1=0.5), sync_period=5)
    found = game_trial.measured(RING, opt, "simultaneous", SEEDS, 2)
    for i, seed in enumerate(SEEDS):
        game = RING.model(seed)
        played = lnb.play(game, opt, steps=40, seed=seed, batch_size=32, dtype="float32", eval_every=40)
        quality = game.quality(opt.slow_from(played.params, played.state))
        assert found["Wasserstein distance"].flat[i] == found["seen"].flat[i] == quality.wasserstein[0]
        assert found["bad samples"].flat[i] == 1 - quality.good[0]
        assert found["missed modes"].flat[i] == 1 - quality.modes[0] / 8


# ------------------------------------------------------------------------------------------------------ in experiments


def test_rates_are_chosen_by_what_is_seen_in_the_first_half():
    arms = arms_of({"descent": {"optimizer": "SGD"}, "ahead": {"optimizer": "SGD", "moves": "extragradient"}})
    grids = [grid for arm in arms.values() for grid in arm.grids]
    assert grids[0] != grids[1]
    found = landscape_trial.MEASURES["games"](GAME, grids, SEEDS, 2, {"distance left"})
    rates = grids[0].rates(1, GAME.centre("SGD"))[1::2]
    assert len(rates) == landscape_trial.rates_per_grid("games") == RATES // 2
    played = [game_trial.measured(GAME, lnb.SGD(lr), "simultaneous", SEEDS, 2) for lr in rates]
    choose, report = (found["distance left", grids[0], half] for half in ("choose", "report"))
    assert choose.tolist() == np.stack([each["seen"][:, 0] for each in played], axis=1).tolist()
    assert report.tolist() == np.stack([each["distance left"][:, 1] for each in played], axis=1).tolist()
    [row] = landscape_trial._reduced(arms["descent"], "distance left", found)
    assert row["r1"] == pytest.approx(report[1, choose[1].argmin()], rel=1e-7)
    assert row["rates"] == RATES // 2


@pytest.mark.jit  # a GAN takes minutes in plain Python
def test_both_populations_go_through_the_trial():
    arms = arms_of({"adam": {"optimizer": "Adam"}, "slow": {"optimizer": "Lookahead", "inner": "Adam"}})
    for name, number, wanted in (("games", 3, ["distance left"]), ("ring", 0, ["missed modes"])):
        seeds = [*range(landscape_trial.seeds_needed(name, 2))]
        assert len(seeds) == 4
        small = {"games": replace(GAME, number=number), "ring": RING}[name]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(landscape_trial, "drawn", lambda *_, small=small: small)
            patch.setattr(landscape_trial, "EVERY", {"games": 12, "ring": 12})
            rows = landscape_trial.measure(name, [number], arms, seeds, 2, metrics=wanted, progress=False)
        assert rows["arm"].tolist() == ["adam", "slow"]
        assert rows["rates"].tolist() == [2, 2]
        assert np.isfinite(rows[["r0", "r1"]]).all(axis=None)


def test_moves_belong_to_games_alone(tmp_path):
    moving = arms_of({"a": {"optimizer": "SGD", "times": 1.0, "moves": "optimistic"}})
    with pytest.raises(ValueError, match="a must have simultaneous moves on 'wells', got 'optimistic'"):
        landscape_trial.measure("wells", [0], moving, [1], 2, progress=False)
    entry = 'about = "x"\nreplicates = 2\nmetrics = ["test loss"]\n[tasks]\nfirst = 2\n[arms.a]\noptimizer = "SGD"\n'
    (tmp_path / "one.toml").write_text(entry + 'moves = "alternating"\n')
    with pytest.raises(ValueError, match=r"arms\.a\.moves must be left out with the population 'generated'"):
        experiments.read("one", tmp_path / "one.toml")
    with pytest.raises(ValueError, match=r"a\.moves must be one of 'simultaneous', .* got 'both'"):
        arms_of({"a": {"optimizer": "SGD", "moves": "both"}})
