"""Declared games and GANs: what was drawn is what is played, and equilibria lie where they are said to be."""

from dataclasses import replace

import numpy as np
import pytest

from lookahead_nb.claims.game_tasks import ADAM_RATE, PAIRS, RATE, TERMS, GameTask, RingTask
from lookahead_nb.claims.landscape_tasks import drawn

TASK = GameTask(3, "bilinear", size=12, exponent=1.0, noise=0.2, mean=0.3, deviation=0.8, steps=100)


def test_a_bilinear_game_has_columns_that_fall_and_its_equilibrium_at_zero():
    game = TASK.model(2)
    assert game.sizes == (12, 12)
    assert np.abs(game.equilibrium).max() == 0
    many = np.stack([replace(TASK, number=n).model(1).matrix for n in range(400)])
    expected = np.arange(1, 13) ** -1.0 / np.sqrt(12)
    np.testing.assert_allclose(many.std(axis=(0, 1)), expected, rtol=0.05)
    assert np.unique(game.init(0)).size == game.size


def test_noise_moves_no_equilibrium():
    still, noisy = TASK.model(1), replace(TASK, game="bilinear with noise").model(1)
    assert noisy.terms == TERMS
    np.testing.assert_allclose(noisy.matrix, still.matrix, rtol=1e-12)
    np.testing.assert_allclose(noisy.equilibrium, 0, atol=1e-12)
    fields = [noisy.field(np.zeros(24), np.array([i])) for i in range(TERMS)]
    np.testing.assert_allclose(np.std(fields), 0.2, rtol=0.05)


@pytest.mark.parametrize(("game", "strength"), [("pennies", 0.5), ("Wasserstein", 1.6), ("bilinear", None)])
def test_grids_lie_around_the_strongest_direction(game, strength):
    task = replace(TASK, game=game)
    if strength is None:
        strength = np.linalg.norm(task.model(1).matrix, 2)
    assert task.centre("SGD") == pytest.approx(RATE / strength)
    assert task.centre("Adam") == ADAM_RATE


def test_other_games_have_the_data_that_were_drawn():
    game = replace(TASK, game="Wasserstein").model(3)
    assert (game.mean, game.deviation, game.replicas) == (0.3, 0.8, 3)
    assert replace(TASK, game="pennies").model(5).replicas == 5
    assert {drawn("games", n).kind for n in range(40)} == {*GameTask.RANGES["game"].values}


def test_a_gan_has_the_shape_that_was_drawn():
    task = RingTask(0, hidden=16, activation="relu", noise=4, deviation=0.06, batch_size=48, steps=800)
    game = task.model(9)
    assert game.generator.sizes.tolist() == [4, 16, 16, 2]
    assert game.critic.sizes.tolist() == [2, 16, 16, 1]
    assert (game.terms, game.seed, game.deviation, task.kind) == (PAIRS, 9, 0.06, "relu")
    assert (
        task.model(8)._pairs(np.arange(2), np.float64)[0].tolist() != game._pairs(np.arange(2), np.float64)[0].tolist()
    )
