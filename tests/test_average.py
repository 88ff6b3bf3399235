"""Exponential moving averages: which average it is, that it moves nothing, its settings."""

from fractions import Fraction

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.optimizers import Sync
from lookahead_nb.optimizers.coefficients import average_steps
from tests.support.cases import INNER, WRAPPED, assert_close, problem, reference_path, run

RTOL_FLOAT64 = 1e-13  # some ten roundings per step over 60 steps; measured 1e-15
RTOL_FLOAT32 = 1e-6  # of the average alone: each step forgets a tenth of the roundings ahead of it
INNER_RULES = r"^inner must be one of SGD, Adagrad, RMSprop, Adam, AdamW, got "
DECAYS = [0.0, 0.3, 0.9, 0.99, 0.9999, 0.999999]


def averages(opt, steps, start=3.0):
    """Return the average after every step for one weight that moves by -1 a step."""
    params, seen = np.array([start]), []
    state = opt.init(params)
    for _ in range(steps):
        opt.step(params, np.ones(1), state)
        seen.append(state.slow[0])
    return seen


# ------------------------------------------------------------------------------------------------- which average


def test_average_by_hand():
    # fast 2, 1, 0, decay 1/2: 2; (2/2 + 1)/(3/2) = 4/3; (2/4 + 1/2 + 0)/(7/4) = 4/7
    assert averages(lnb.EMA(lnb.SGD(1.0), decay=0.5), 3) == pytest.approx([2, 4 / 3, 4 / 7], rel=RTOL_FLOAT64)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("rule", WRAPPED)
def test_follows_the_reference_after_every_step(rule, decay, rng):
    opt = lnb.EMA(INNER[rule], decay=decay)
    params, gradients = problem(rng, 60, 9)
    state = opt.init(params)
    for g, (fast, slow, slots, _) in zip(gradients, reference_path(opt, params, gradients), strict=True):
        opt.step(params, g, state)
        assert_close(params, fast, RTOL_FLOAT64)
        assert_close(state.slow, slow, RTOL_FLOAT64)
        for name, slot in state.slots.items():
            assert_close(slot, slots[name], RTOL_FLOAT64)


def test_float32_average_is_that_of_its_own_weights(rng):
    opt = lnb.EMA(lnb.AdamW(0.02), decay=0.9)
    params, gradients = problem(rng, 300, 9, np.float32)
    state, path = opt.init(params), []
    for g in gradients:
        opt.step(params, g, state)
        path.append(params.astype(np.float64))
    weights = 0.9 ** np.arange(299.0, -1, -1)
    assert_close(state.slow, weights @ np.array(path) / weights.sum(), RTOL_FLOAT32)


def test_start_has_no_part_in_the_average(rng, width):
    params, gradients = problem(rng, 1, 33, width)
    fast, state = run(lnb.EMA(INNER["adamw"], window=1000), params, gradients)
    assert state.slow.tobytes() == fast.tobytes()


@pytest.mark.parametrize("rule", WRAPPED)
def test_fast_weights_are_those_of_the_inner_optimizer_bit_for_bit(rule, rng, width):
    params, gradients = problem(rng, 12, 33, width)
    (fast, state), (alone, plain) = (run(opt, params, gradients) for opt in (lnb.EMA(INNER[rule]), INNER[rule]))
    assert fast.tobytes() == alone.tobytes()
    assert [s.tobytes() for s in state.slots.values()] == [s.tobytes() for s in plain.slots.values()]
    assert state.pending_decay == plain.pending_decay


def test_average_of_one_step_is_the_fast_weights_bit_for_bit(rng, width):
    opt = lnb.EMA(INNER["adamw"], window=1)
    params, gradients = problem(rng, 5, 33, width)
    for steps in range(1, 6):
        fast, state = run(opt, params, gradients[:steps])
        assert state.slow.tobytes() == fast.tobytes()


# --------------------------------------------------------------------------------------------------- slow steps


@pytest.mark.parametrize("decay", DECAYS)
def test_slow_steps_are_those_of_the_bias_correction(decay):
    steps, rest = average_steps(decay, 0, 2000, np.float64).T
    expected = [1 / sum(decay**i for i in range(t)) for t in (1, 2, 3, 10, 500, 2000)]
    assert steps[[0, 1, 2, 9, 499, 1999]] == pytest.approx(expected, rel=1e-9)
    assert (steps + rest == 1).all()
    assert (steps[0], rest[0]) == (1, 0)


@pytest.mark.parametrize("decay", DECAYS)
def test_both_coefficients_add_up_in_the_width_of_the_weights(decay, width):
    for steps, rest in average_steps(decay, 0, 3000, width)[1000:].tolist():
        assert Fraction(float(width(steps))) + Fraction(float(width(rest))) == 1
        assert steps > 0


def test_slow_steps_have_the_same_bits_in_any_stretch(width):
    whole = average_steps(0.99, 0, 700, width)
    pieces = [average_steps(0.99, first, last, width) for first, last in [(0, 1), (1, 256), (256, 256), (256, 700)]]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    assert average_steps(0.99, 10**9, 10**9 + 1, width)[0] == pytest.approx([0.01, 0.99], rel=1e-6)


def test_slow_steps_of_a_run_are_those_of_its_state(rng):
    opt = lnb.EMA(INNER["sgd"], window=5)
    state = run(opt, *problem(rng, 300, 2))[1]
    assert state.slow_steps == opt.sync.table(300, np.float64)[:, 0].tolist()
    assert isinstance(opt.sync, Sync)


def test_error_state_of_the_program_stops_no_average(rng):
    with np.errstate(all="raise"):
        assert run(lnb.EMA(lnb.SGD(), decay=0.1), *problem(rng, 300, 2))[1].t == 300


# ----------------------------------------------------------------------------------------------------- settings


def test_window_and_decay_are_one_setting():
    assert lnb.EMA(lnb.SGD()) == lnb.EMA(lnb.SGD(), decay=0.99) == lnb.EMA(lnb.SGD(), window=100)
    for window in (*range(1, 2000), 12_345, 99_999, 999_999, 1_000_000):
        opt = lnb.EMA(lnb.SGD(), window=window)
        assert opt.decay == 1 - 1 / window or abs(opt.decay - (1 - 1 / window)) < 2e-16
        assert opt.window == window
    assert lnb.EMA(lnb.SGD(), window=2.5).decay == 0.6
    assert lnb.EMA(lnb.SGD(), decay=0.6).window == 2.5


def test_settings_name_both():
    settings = lnb.EMA(lnb.AdamW(0.1), window=50).settings()
    assert (settings["optimizer"], settings["lr"]) == ("EMA(AdamW)", 0.1)
    assert (settings["decay"], settings["window"]) == (0.98, 50.0)


def test_printed_settings_are_the_settings():
    for inner in (INNER[rule] for rule in WRAPPED):
        opt = lnb.EMA(inner, window=7)
        assert eval(repr(opt), vars(lnb).copy()) == opt
        assert len({opt, lnb.EMA(inner, window=7), lnb.EMA(inner, window=8), inner}) == 3


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        *(({"decay": value}, ValueError) for value in (-0.1, 1.0, 0.9999999, np.nan, np.inf)),
        *(({"decay": value}, TypeError) for value in (True, "0.5", [0.5])),
        *(({"window": value}, ValueError) for value in (0, 0.5, 1_000_001, np.nan, np.inf)),
        *(({"window": value}, TypeError) for value in (True, "5", [5])),
    ],
    ids=repr,
)
def test_settings_out_of_range_are_refused(settings, error):
    ((name, value),) = settings.items()
    with pytest.raises(error, match=rf"^{name} must be .* got .*{str(value)[:3].strip('[')}"):
        lnb.EMA(lnb.AdamW(), **settings)


def test_both_at_once_and_another_wrapper_inside_are_refused():
    with pytest.raises(ValueError, match=r"decay and window cannot both be given.*got decay=0\.9 and window=10"):
        lnb.EMA(lnb.SGD(), decay=0.9, window=10)
    with pytest.raises(ValueError, match="decay and window cannot both be given"):
        lnb.grid(lnb.EMA(lnb.SGD()), decay=[0.9], window=[10])
    for inner in (lnb.Lookahead(lnb.SGD()), lnb.EMA(lnb.SGD()), lnb.ScheduleFreeAdamW(), None):
        with pytest.raises(TypeError, match=INNER_RULES):
            lnb.EMA(inner)
        with pytest.raises(TypeError, match=INNER_RULES):
            lnb.Lookahead(inner)


def test_trace_on_a_landscape_shows_the_average():
    bowl, opt = lnb.landscapes.Quadratic([1.0]), lnb.EMA(lnb.SGD(0.5), decay=0.5)
    fast, slow = lnb.landscapes.trace(bowl, opt, [1.0], steps=2)
    assert fast.ravel().tolist() == [1, 0.5, 0.25]
    assert slow.ravel() == pytest.approx([1, 0.5, 1 / 3])
