"""A GAN on a ring: losses and gradients against NumPy and differences, its pairs, its measures, and a whole game."""

import math

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.cpu import adversarial
from lookahead_nb.kernels.philox import PAIRS, normals
from lookahead_nb.models.ring import Quality, RingGame
from tests.support import reference_network as reference

WIDTHS = {"deep": ((5, 4), (3, 6)), "shallow": ((), ()), "uneven": ((4,), ())}
CLOSE = 1e-11  # absolute, of sums of some products in float64
IN_FLOAT32 = 2e-5
SLOPE = 1e-7  # of central differences with steps of 1e-5, and of their rounding


def ring(name="deep", activation="tanh", **settings):
    generator, critic = WIDTHS[name]
    small = {"generator": generator, "critic": critic, "activation": activation, "noise": 3, "terms": 20}
    return RingGame(**(small | settings))


def shapes(game):
    return game.generator.sizes.tolist(), game.critic.sizes.tolist(), game.generator.activation


def away_from_kinks(game, seed=1):
    return game.init(seed) + 0.05 * np.random.default_rng(seed).normal(size=game.size)


# --------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("name", WIDTHS)
def test_losses_and_gradients_are_those_of_the_reference(name, activation):
    game = ring(name, activation, replicas=2)
    params = away_from_kinks(game)
    real, noise = game._pairs(np.arange(20), np.float64)
    expected = [
        reference.adversarial_gradients(*both, real, noise, *shapes(game))
        for both in zip(*game.players(params), strict=True)
    ]
    np.testing.assert_allclose(game.field(params), np.concatenate([*map(np.concatenate, expected)]), atol=CLOSE)
    losses = [
        reference.adversarial_losses(*both, real, noise, *shapes(game))
        for both in zip(*game.players(params), strict=True)
    ]
    np.testing.assert_allclose(game.losses(params), losses, atol=CLOSE)


@pytest.mark.parametrize("name", WIDTHS)
def test_each_player_descends_its_own_loss(name):
    game = ring(name)
    params = away_from_kinks(game)
    grad = game.field(params)
    for player, own in enumerate(game.players(np.arange(game.size))):
        for i in own[0]:
            step = np.zeros(game.size)
            step[i] = 1e-5
            slope = (game.losses(params + step) - game.losses(params - step))[0, player] / 2e-5
            assert grad[i] == pytest.approx(slope, abs=SLOPE)


def test_losses_by_hand():
    game = ring("shallow", noise=1, terms=1, deviation=1e-9)
    # G(n) = (0.5, 0) for any noise; D(x, y) = 2x - 1, real points are at (1, 0): logits 1 and 0
    params = np.array([0.0, 0.0, 0.5, 0.0, 2.0, 0.0, -1.0])
    np.testing.assert_allclose(game.losses(params), [[math.log(2), math.log(1 + math.exp(-1)) + math.log(2)]])
    # d/dG = (sigmoid(0) - 1)*2 in x; d/dD = (sigmoid(1) - 1)*(1, 0, 1) + sigmoid(0)*(0.5, 0, 1)
    right = 1 / (1 + math.exp(-1)) - 1
    grad = game.field(params)
    np.testing.assert_allclose(grad[2:4], [-1.0, 0.0], atol=1e-8)
    np.testing.assert_allclose(grad[4:], [right + 0.25, 0.0, right + 0.5], atol=1e-8)


def test_minibatches_add_up_to_the_game():
    game = ring()
    params = away_from_kinks(game)
    parts = [game.field(params, np.arange(5 * i, 5 * i + 5)) for i in range(4)]
    np.testing.assert_allclose(np.mean(parts, axis=0), game.field(params), atol=CLOSE)
    assert np.abs(parts[0] - parts[1]).max() > 0.01


def test_float32_is_the_same_game():
    game = ring(activation="relu")
    params = away_from_kinks(game).astype(np.float32)
    grad = game.field(params)
    assert grad.dtype == np.float32
    np.testing.assert_allclose(grad, game.field(params.astype(np.float64)), atol=IN_FLOAT32)
    np.testing.assert_allclose(game.losses(params), game.losses(params.astype(np.float64)), atol=IN_FLOAT32)


def test_nan_goes_through():
    game = ring()
    params = game.init()
    params[0] = np.nan
    assert np.isnan(game.field(params)).any()
    assert np.isnan(game.losses(params)).all()
    assert game.distances(params)[0, 0] == np.inf
    assert game.quality(params, 20).good.tolist() == [0.0]


# --------------------------------------------------------------------------------------------------- start and pairs


def test_pairs_are_those_of_the_stream():
    game = ring(modes=3, deviation=0.2, seed=7)
    real, noise = game._pairs(np.array([0, 4, 2**32 - 1]), np.float64)
    for row, number in enumerate([0, 4, 2**32 - 1]):
        expected = normals(5, 7, PAIRS, step=number)
        turn = 2 * math.pi * (number % 3) / 3
        np.testing.assert_allclose(real[row], [math.cos(turn), math.sin(turn)] + 0.2 * expected[:2], rtol=1e-12)
        assert noise[row].tolist() == expected[2:].tolist()
    rounded = game._pairs(np.array([0, 4]), np.float32)
    assert rounded[0].tolist() == real[:2].astype(np.float32).tolist()
    assert rounded[1].tolist() == noise[:2].astype(np.float32).tolist()


def test_evaluation_takes_pairs_that_are_in_no_term(monkeypatch):
    game, taken = ring(terms=50), []
    pairs = RingGame._pairs
    monkeypatch.setattr(
        RingGame, "_pairs", lambda self, numbers, width: taken.append(numbers) or pairs(self, numbers, width)
    )
    game.samples(game.init(), 30)
    game.quality(game.init(), 30)
    game.distances(game.init())
    assert min(map(min, taken)) == 50


def test_a_start_has_the_variance_of_its_inputs():
    game = RingGame(generator=(60, 50), critic=(40,), noise=9, replicas=3)
    for layers, weights in zip((game.generator, game.critic), game.players(game.init(2)), strict=True):
        for replica in weights:
            for part in layers.unpack(np.ascontiguousarray(replica)).values():
                if part.ndim == 1:
                    assert not part.any()
                elif part.size > 1000:
                    assert part.std() * math.sqrt(part.shape[1]) == pytest.approx(1, rel=0.1)
    assert np.unique(game.init(2)).size > 0.9 * 3 * (game.generator.size - 112 + game.critic.size - 41)


# ---------------------------------------------------------------------------------------------------------- measures


def shifted(game, x, y):
    """Weights of a generator that makes its first two numbers of noise, times the deviation, around (x, y)."""
    weights = np.zeros(game.size)
    views = game.generator.unpack(np.ascontiguousarray(game.players(weights)[0][0]))
    views["W1"][:] = game.deviation * np.eye(2)
    views["b1"][:] = x, y
    weights[: game.generator.size] = np.concatenate([views["W1"].ravel(), views["b1"]])
    return weights


def test_the_measures_of_a_generator_whose_points_are_known():
    game = RingGame(modes=4, generator=(), critic=(), deviation=0.01)
    at_one = game.quality(shifted(game, 1.0, 0.0))
    assert at_one.modes.tolist() == [1]
    assert at_one.good[0] == pytest.approx(1 - math.exp(-4.5), abs=0.005)  # of a normal point in the plane
    # A quarter of the points stays, a half moves by the root of 2, and a quarter by 2.
    assert at_one.wasserstein[0] == pytest.approx((2 * math.sqrt(2) + 2) / 4, abs=0.01)
    nowhere = game.quality(shifted(game, 0.0, 0.0))
    assert (nowhere.modes.tolist(), nowhere.good.tolist()) == ([0], [0.0])
    assert nowhere.wasserstein[0] == pytest.approx(1, abs=0.02)
    single = RingGame(modes=1, generator=(), critic=(), deviation=0.01)
    assert single.quality(shifted(single, 1.0, 0.0)).wasserstein[0] < 0.01


def test_distances_are_zero_at_the_equilibrium_only():
    game = RingGame(modes=1, generator=(), critic=(), deviation=0.01)
    there = shifted(game, 1.0, 0.0)
    first, second = game.distances(there)[0]
    assert first == game.quality(there).wasserstein[0] < 0.01
    assert second == 0
    there[-1] = 0.5  # the bias of the critic is its logit everywhere
    assert game.distances(there)[0].tolist() == [first, 0.5]


def test_samples_of_all_replicas_are_of_the_same_noise():
    game = ring(replicas=2)
    params = game.init()
    params[game.size // 2 :] = params[: game.size // 2]
    made = game.samples(params, 7)
    assert made.shape == (2, 7, 2)
    assert made[0].tolist() == made[1].tolist()
    assert game.samples(params, 3)[0].tolist() == made[0, :3].tolist()
    assert isinstance(game.quality(params, 7), Quality)


# ------------------------------------------------------------------------------------------------------- whole games


def test_play_is_what_the_equations_say():
    game, opt = ring(terms=64), lnb.Lookahead(lnb.SGD(0.3), sync_period=3, slow_step_size=0.4)
    fast, batches = game.init(3), lnb.minibatches(64, 8, 3)
    slow = fast.copy()
    for t in range(1, 11):
        real, noise = game._pairs(next(batches), np.float64)
        both = fast[: game.sizes[0]], fast[game.sizes[0] :]
        fast = fast - 0.3 * np.concatenate(reference.adversarial_gradients(*both, real, noise, *shapes(game)))
        if t % 3 == 0:
            slow = slow + 0.4 * (fast - slow)
            fast = slow.copy()
    played = lnb.play(game, opt, steps=10, batch_size=8, seed=3, eval_every=10)
    np.testing.assert_allclose(played.params, fast, atol=CLOSE)
    np.testing.assert_allclose(opt.slow_from(played.params, played.state), slow, atol=CLOSE)


@pytest.mark.parametrize("moves", ["simultaneous", "alternating", "extragradient", "optimistic"])
def test_every_way_of_moving_plays_and_counts_its_gradients(moves):
    game = ring(terms=64)
    played = lnb.play(game, lnb.EMA(lnb.Adam(0.01, beta1=0.5)), steps=6, batch_size=8, moves=moves, dtype="float32")
    assert {*played.history["weights"]} == {"fast", "average", "slow"}
    assert np.isfinite(played.history["distance"]).all()
    assert played.history["gradients"].max() == (12 if moves == "extragradient" else 6)
    assert played.params.dtype == np.float32


def test_a_replica_plays_as_if_alone():
    game = ring(terms=64, replicas=2)
    opt = lnb.Lookahead(lnb.Adam(0.01, beta1=0.5))
    both = lnb.play(game, opt, steps=10, batch_size=8, eval_every=10).params.reshape(2, -1)
    start = game.init().reshape(2, -1)
    single = ring(terms=64)
    single.init = lambda *_: start[1].copy()
    assert lnb.play(single, opt, steps=10, batch_size=8, eval_every=10).params.tolist() == both[1].tolist()


@pytest.mark.jit  # 600 steps
def test_a_gan_learns_the_ring():
    game = RingGame(deviation=0.1)
    before = game.quality(game.init())
    played = lnb.play(
        game, lnb.Lookahead(lnb.Adam(0.005, beta1=0.5)), steps=1500, batch_size=64, eval_every=1500, dtype="float32"
    )
    after = game.quality(played.params)
    assert after.modes[0] == 8
    assert after.wasserstein[0] < before.wasserstein[0] / 2
    assert after.good[0] > 0.5


def test_kernels_have_the_bits_of_plain_python():
    game = RingGame(generator=(4,), critic=(3,), terms=6)
    first, second = (np.ascontiguousarray(own[0]) for own in game.players(game.init()))
    numbers, pairs = np.arange(6), [(np.empty((6, 2)), np.empty((6, 2))) for _ in range(2)]
    for fill, (real, noise) in zip((adversarial.pairs(np.float64), adversarial._pairs), pairs, strict=True):
        fill(np.uint64(0), numbers, game.centres, 0.05, real, noise)
    assert [each.tolist() for each in pairs[0]] == [each.tolist() for each in pairs[1]]
    shape = game.generator.sizes, game.critic.sizes, game.generator.activation_code
    found = []
    for compute in (adversarial.gradients(np.float64), adversarial._gradients):
        out = np.empty(first.size), np.empty(second.size), np.empty(2)
        compute(first, second, *pairs[0], *shape, *out, np.empty(adversarial.space_size(*shape[:2], 6)))
        found.append([each.tolist() for each in out])
    assert found[0] == found[1]


# ---------------------------------------------------------------------------------------------------------- refusals

BAD = {
    "modes": (lambda: RingGame(modes=0), ValueError, "modes must be a whole number from 1 .*got 0"),
    "deviation": (lambda: RingGame(deviation=0), ValueError, "deviation must be .*above 0, got 0"),
    "noise": (lambda: RingGame(noise=0), ValueError, "noise must be .*got 0"),
    "generator": (lambda: RingGame(generator=32), TypeError, "generator must be a sequence of hidden widths .*got 32"),
    "width": (lambda: RingGame(critic=(8, 0)), ValueError, r"critic\[1\] must be a whole number from 1 .*got 0"),
    "activation": (lambda: RingGame(activation="gelu"), ValueError, "activation must be one of .*got 'gelu'"),
    "terms": (lambda: RingGame(terms=2**31 + 1), ValueError, "terms must be a whole number from 1 to 2147483648"),
    "seed": (lambda: RingGame(seed=-1), ValueError, "seed must be .*got -1"),
    "points": (lambda: ring().samples(ring().init(), 0), ValueError, "n must be a whole number from 1 .*got 0"),
    "params": (
        lambda: ring().quality(np.zeros(3)),
        ValueError,
        r"params must be \(\d+,\), the weights of both .*\(3,\)",
    ),
    "batch": (
        lambda: lnb.play(ring(), lnb.SGD(0.1), steps=1, batch_size=21),
        ValueError,
        "batch_size must be a whole number from 1 to 20, got 21",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_a_sentence(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)
