"""Lookahead: when it syncs, what a sync does, which settings are which, and what it must never touch."""

import dataclasses
import decimal
import itertools
import re

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels import formulas
from lookahead_nb.optimizers import STEPS_AHEAD, StepScalars, run_numbers, step_table
from lookahead_nb.optimizers.controls import with_controls
from tests.support.cases import INNER, INNER_STATES, WRAPPED, assert_close, problem, reference_path, run

RTOL_FLOAT64 = 1e-13  # some ten roundings per step over 60 steps; measured 5e-15
DOWNHILL = lnb.SGD(lr=1.0)  # with gradient 1 it goes down by exactly 1 per step


def trace(opt, steps, start=3.0):
    """Return (fast, slow) after every step for one weight under the gradient 1."""
    params, seen = np.array([start]), []
    state = opt.init(params)
    for _ in range(steps):
        opt.step(params, np.ones(1), state)
        seen.append((params[0], state.slow[0]))
    return seen


# ------------------------------------------------------------------------------------------------ known answers


def test_pencil_trace():
    # fast 3, 2, 1 -> sync: slow = .5*3 + .5*1 = 2 = fast; 1, 0 -> sync: slow = .5*2 + .5*0 = 1
    assert trace(lnb.Lookahead(DOWNHILL, sync_period=2), 4) == [(2, 3), (2, 2), (1, 2), (1, 1)]


def test_pencil_trace_with_an_uneven_step():
    # fast 16, 15, 14, 13 -> sync: slow = .25*16 + .75*13 = 13.75
    # 12.75, 11.75, 10.75 -> sync: slow = .25*13.75 + .75*10.75 = 11.5
    opt = lnb.Lookahead(DOWNHILL, sync_period=3, slow_step_size=0.75)
    fast, slow = zip(*trace(opt, 6, start=16.0), strict=True)
    assert fast == (15, 14, 13.75, 12.75, 11.75, 11.5)
    assert slow == (16, 16, 13.75, 13.75, 13.75, 11.5)


def test_pencil_trace_without_pull_back():
    # the fast weights run on: 2, 1, 0, -1; slow = .5*3 + .5*1 = 2, then .5*2 + .5*(-1) = .5
    opt = lnb.Lookahead(DOWNHILL, sync_period=2, pull_back=False)
    assert trace(opt, 4) == [(2, 3), (1, 2), (0, 2), (-1, 0.5)]


def test_pencil_trace_with_steps_in_turn():
    # 3, 2, 1 -> .5*3 + .5*1 = 2; 1, 0 -> .75*2 + .25*0 = 1.5; .5, -.5 -> .5*1.5 + .5*(-.5) = .5
    opt = lnb.Lookahead(DOWNHILL, sync_period=2, slow_step_size=[0.5, 0.25])
    assert [slow for _, slow in trace(opt, 6)] == [3, 2, 2, 1.5, 1.5, 0.5]


def test_pencil_trace_beyond_the_fast_weights():
    # 3, 2, 1 -> -.5*3 + 1.5*1 = 0; -1, -2 -> -.5*0 + 1.5*(-2) = -3; by 2: 3, 2, 1 -> -3 + 2 = -1
    assert [slow for _, slow in trace(lnb.Lookahead(DOWNHILL, sync_period=2, slow_step_size=1.5), 4)] == [3, 0, 0, -3]
    assert trace(lnb.Lookahead(DOWNHILL, sync_period=2, slow_step_size=2), 2)[-1] == (-1, -1)


def test_pencil_trace_with_outer_momentum():
    # 3, 2, 1 -> v = 1 - 3 = -2, 3 - .5*2 = 2; 1, 0 -> v = -.5*2 + (0 - 2) = -3, 2 - .5*3 = .5
    opt = lnb.Lookahead(DOWNHILL, sync_period=2, outer_momentum=0.5)
    assert trace(opt, 4) == [(2, 3), (2, 2), (1, 2), (0.5, 0.5)]
    params = np.array([3.0])
    state = opt.init(params)
    assert state.outer_velocity.tolist() == [0]
    for _ in range(4):
        opt.step(params, np.ones(1), state)
    assert state.outer_velocity.tolist() == [-3]
    with pytest.raises(ValueError, match="read-only"):
        state.outer_velocity[0] = 2


def test_pencil_trace_with_outer_nesterov_momentum():
    # 3, 2, 1 -> d = v = -2, 3 + .5*(-2 - .5*2) = 1.5; .5, -.5 -> d = -2, v = -3, 1.5 + .5*(-2 - .5*3) = -.25
    opt = lnb.Lookahead(DOWNHILL, sync_period=2, outer_momentum=0.5, outer_nesterov=True)
    assert trace(opt, 4) == [(2, 3), (1.5, 1.5), (0.5, 1.5), (-0.25, -0.25)]


def adaptive(inner, **settings):
    return lnb.Lookahead(inner, slow_step_size="adaptive", **settings)


@pytest.mark.parametrize(
    ("g", "step"),
    [
        (0.5, 0.882353),  # m = .5, m_hat = 2/3, fast = -.05 - .1*(2/3)/1.5; (1.5*(-.05) - .05) / (1.5*fast)
        (3.0, 1.0),  # m_hat = 7/3, fast = -.05 - .1*(7/3)/4; (4*(-.05) - .3) / (4*fast) = 1.15
        (-3.0, 0.1),  # m_hat = -5/3, fast = -.05 + .1*(5/3)/4; (4*(-.05) + .3) / (4*fast) = -3
    ],
)
def test_adaptive_step_by_hand(g, step):
    # k = 2, gradients 1 and g: m = .5, m_hat = 1, before = 0 - .1*1/(1 + 1) = -.05; then v_hat = g**2
    opt = adaptive(lnb.AdamW(lr=0.1, beta1=0.5, beta2=0.0, eps=1.0, weight_decay=0.0), sync_period=2)
    params, inner = np.zeros(1), np.zeros(1)
    state, alone = opt.init(params), opt.inner.init(inner)
    for each in (1.0, g):
        opt.step(params, np.array([each]), state)
        opt.inner.step(inner, np.array([each]), alone)
    assert state.slow_steps == [step]
    assert params[0] == state.slow[0] == step * inner[0]


def test_interpolated_velocity_by_hand():
    # Momentum .9, k = 2, step .5, gradient 1; the velocity at the last sync starts at 0.
    # 1; .9*1 + 1 = 1.9 -> .5*1.9 + .5*0 = .95;
    # .9*.95 + 1 = 1.855; .9*1.855 + 1 = 2.6695 -> .5*2.6695 + .5*.95 = 1.80975
    # A copy that aliases the velocity would give 2.002 in the last place.
    opt = lnb.Lookahead(lnb.SGD(lr=0.1, momentum=0.9), sync_period=2, inner_state="interpolate")
    params, seen = np.zeros(1), []
    state = opt.init(params)
    for _ in range(4):
        opt.step(params, np.ones(1), state)
        seen.append(state.slots["velocity"][0])
    assert seen == pytest.approx([1, 0.95, 1.855, 1.80975], rel=RTOL_FLOAT64)


# --------------------------------------------------------------------------------------------------- when it syncs


@pytest.mark.parametrize("k", [1, 2, 5, 12, 13])
def test_syncs_after_k_2k_and_so_on(k):
    steps = 12
    opt = lnb.Lookahead(DOWNHILL, sync_period=k, slow_step_size=0.25)
    seen = trace(opt, steps)
    slow = [3.0, *(s for _, s in seen)]
    assert [t for t in range(1, steps + 1) if slow[t] != slow[t - 1]] == list(range(k, steps + 1, k))
    before = min(k - 1, steps)
    assert seen[:before] == [(3 - t, 3) for t in range(1, before + 1)]


def test_slow_weights_start_at_the_weights(rng, width):
    params = problem(rng, 0, 9, width)[0]
    state = lnb.Lookahead(lnb.AdamW()).init(params)
    assert state.slow.tobytes() == params.tobytes()
    assert state.slow.dtype == width
    assert not np.shares_memory(state.slow, params)


def test_first_sync_moves_the_weights():
    assert trace(lnb.Lookahead(DOWNHILL, sync_period=5), 5)[-1] == (0.5, 0.5)


def test_unfinished_cycle_is_left_unfinished():
    # syncs at 3 and 6: 3 - 1.5 - 1.5 = 0; steps 7 and 8 move the fast weights only
    assert trace(lnb.Lookahead(DOWNHILL, sync_period=3), 8)[-1] == (-2, 0)


def test_init_after_loading_other_weights_forgets_the_old_ones(rng):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=1, slow_step_size=0.0)
    params = np.zeros(9)
    opt.init(params)
    params[:] = loaded = rng.standard_normal(9)
    state = opt.init(params)
    opt.step(params, np.ones(9), state)
    assert params.tobytes() == loaded.tobytes()


def test_t_counts_steps_in_every_mode():
    for inner_state in INNER_STATES:
        opt = lnb.Lookahead(lnb.AdamW(), sync_period=2, inner_state=inner_state)
        assert run(opt, np.ones(1), np.ones((5, 1)))[1].t == 5


def test_refused_gradient_does_not_advance_the_cycle():
    opt = lnb.Lookahead(DOWNHILL, sync_period=2)
    params = np.array([3.0])
    state = opt.init(params)
    opt.step(params, np.ones(1), state)
    with pytest.raises(FloatingPointError, match="step 2"):
        opt.step(params, np.array([np.nan]), state)
    opt.step(params, np.ones(1), state)
    assert (params[0], state.slow[0], state.t) == (2, 2, 2)


# -------------------------------------------------------------------------------------------------- what a sync does


@pytest.mark.parametrize("inner_state", INNER_STATES)
@pytest.mark.parametrize("rule", WRAPPED)
def test_follows_the_reference_after_every_step(rule, inner_state, rng):
    opt = lnb.Lookahead(INNER[rule], sync_period=4, slow_step_size=0.3, inner_state=inner_state)
    params, gradients = problem(rng, 61, 9)
    state = opt.init(params)
    for g, (fast, slow, slots, power) in zip(gradients, reference_path(opt, params, gradients), strict=True):
        opt.step(params, g, state)
        assert_close(params, fast, RTOL_FLOAT64)
        assert_close(state.slow, slow, RTOL_FLOAT64)
        for name, slot in state.slots.items():
            assert_close(slot, slots[name], RTOL_FLOAT64)
        if hasattr(opt.inner, "beta1"):
            expected = power(opt.inner.beta1), power(opt.inner.beta2)
            assert (state.power1, state.power2) == pytest.approx(expected, rel=RTOL_FLOAT64)


@pytest.mark.parametrize("inner_state", INNER_STATES)
def test_steps_in_turn_follow_the_reference(inner_state, rng):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=4, slow_step_size=(0.3, 1, 0.8), inner_state=inner_state)
    params, gradients = problem(rng, 60, 9)
    path = reference_path(opt, params, gradients)
    state = opt.init(params)
    for g, (fast, slow, _, power) in zip(gradients, path, strict=True):
        opt.step(params, g, state)
        assert_close(params, fast, RTOL_FLOAT64)
        assert_close(state.slow, slow, RTOL_FLOAT64)
        assert state.power2 == pytest.approx(power(opt.inner.beta2), rel=RTOL_FLOAT64)
    assert state.slow_steps == [0.3, 1, 0.8] * 5


@pytest.mark.parametrize("step", [0.7, 1.3, (0.5, 1, 0)])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rule", WRAPPED)
def test_outer_momentum_follows_the_reference(rule, nesterov, step, rng):
    settings = {"slow_step_size": step, "outer_momentum": 0.6, "outer_nesterov": nesterov}
    opt = lnb.Lookahead(INNER[rule], sync_period=4, **settings)
    params, gradients = problem(rng, 61, 9)
    state = opt.init(params)
    for g, (fast, slow, slots, _) in zip(gradients, reference_path(opt, params, gradients), strict=True):
        opt.step(params, g, state)
        assert_close(params, fast, RTOL_FLOAT64)
        assert_close(state.slow, slow, RTOL_FLOAT64)
        for name, slot in state.slots.items():
            assert_close(slot, slots[name], RTOL_FLOAT64)


def test_sync_at_every_step_with_outer_momentum_is_sgd_with_momentum(rng):
    params, gradients = problem(rng, 60, 9)
    for nesterov in (False, True):
        opt = lnb.Lookahead(
            lnb.SGD(0.05), sync_period=1, slow_step_size=0.4, outer_momentum=0.8, outer_nesterov=nesterov
        )
        inner = lnb.SGD(0.02, momentum=0.8, nesterov=nesterov)
        assert_close(run(opt, params, gradients)[0], run(inner, params, gradients)[0], RTOL_FLOAT64)


def test_no_outer_momentum_is_lookahead_with_its_bits_arrays_and_names(rng, width):
    plain, named = lnb.Lookahead(INNER["adamw"], sync_period=2), {"outer_momentum": 0.0, "outer_nesterov": False}
    given = lnb.Lookahead(INNER["adamw"], sync_period=2, **named)
    assert given == plain
    assert plain.settings().keys().isdisjoint(named)
    _, state = run(given, *problem(rng, 5, 9, width))
    assert state.outer_velocity.size == state._a1.size == 0
    assert "outer_velocity" not in state.to_arrays()
    told = lnb.Lookahead(INNER["adamw"], outer_momentum=0.9).settings()
    assert (told["outer_momentum"], told["outer_nesterov"], told["retention"]) == (0.9, False, 0.5)


def test_outer_momentum_goes_around_an_inner_rule_with_nesterov_momentum():
    inner = lnb.SGD(0.1, momentum=0.5, nesterov=True)
    told = lnb.Lookahead(inner, outer_momentum=0.9).settings()
    assert (told["momentum"], told["nesterov"], told["outer_nesterov"]) == (0.5, True, False)
    axes = {"outer_momentum": [0.5, 0.9], "momentum": [0.1]}
    assert [opt.outer_momentum for opt in lnb.grid(lnb.Lookahead(inner), **axes)] == [0.5, 0.9]


@pytest.mark.parametrize("nesterov", [False, True])
def test_trace_on_a_landscape_shows_the_fast_weights_ahead_of_a_pull_with_momentum(nesterov):
    opt = lnb.Lookahead(lnb.SGD(0.25), sync_period=2, outer_momentum=0.5, outer_nesterov=nesterov)
    fast, slow = (path.ravel() for path in lnb.landscapes.trace(lnb.landscapes.Quadratic([1.0]), opt, [1.0], steps=6))
    for at in (2, 4, 6):
        assert fast[at] == pytest.approx(0.75**2 * slow[at - 2], rel=RTOL_FLOAT64)


def test_controls_refuse_outer_momentum():
    opt = lnb.Lookahead(lnb.SGD(0.1), outer_momentum=0.9)
    with pytest.raises(ValueError, match=r"^opt must have no outer_momentum, got 0\.9"):
        with_controls(opt)


@pytest.mark.parametrize("step", [1.5, 2, (0.5, 1.9, 1, 1.2)])
@pytest.mark.parametrize("inner_state", ["keep", "reset"])
def test_steps_above_one_follow_the_reference(inner_state, step, rng):
    params, gradients = problem(rng, 60, 9)
    for pull_back in (True, False)[: 2 if inner_state == "keep" else 1]:
        settings = {"inner_state": inner_state, "pull_back": pull_back}
        opt = lnb.Lookahead(INNER["adamw"], sync_period=4, slow_step_size=step, **settings)
        state = opt.init(params)
        moved = params.copy()
        for g, (fast, slow, *_) in zip(gradients, reference_path(opt, params, gradients), strict=True):
            opt.step(moved, g, state)
            assert_close(moved, fast, RTOL_FLOAT64)
            assert_close(state.slow, slow, RTOL_FLOAT64)


@pytest.mark.parametrize("lowest", [0.6, 0.9])
def test_adaptive_steps_follow_the_reference(lowest, rng):
    inner = lnb.AdamW(lr=lnb.schedules.cosine(0.02, 70, warmup=9), beta1=0.8, beta2=0.98, eps=1e-3)
    opt = lnb.Lookahead(inner, sync_period=4, slow_step_size=lnb.Adaptive(lowest))
    params, gradients = problem(rng, 60, 9)
    state = opt.init(params)
    for g, (fast, slow, _, _) in zip(gradients, reference_path(opt, params, gradients), strict=True):
        opt.step(params, g, state)
        assert_close(params, fast, RTOL_FLOAT64)
        assert_close(state.slow, slow, RTOL_FLOAT64)
    assert min(state.slow_steps) == lowest
    assert max(state.slow_steps) == 1
    assert len(set(state.slow_steps)) > 3


def test_steps_once_taken_can_be_given_bit_for_bit(rng, width):
    opt = adaptive(INNER["adamw"], sync_period=3)
    params, gradients = problem(rng, 60, 33, width)
    moved, state = run(opt, params, gradients)
    given = lnb.Lookahead(INNER["adamw"], sync_period=3, slow_step_size=state.slow_steps)
    again, other = run(given, params, gradients)
    assert again.tobytes() == moved.tobytes()
    assert other.slow_steps == state.slow_steps


def test_adaptive_step_is_one_without_momentum_and_where_nothing_moves(rng):
    params, gradients = problem(rng, 12, 9)
    opt = adaptive(lnb.AdamW(lr=0.02, beta1=0.0, weight_decay=0.0), sync_period=3)
    assert run(opt, params, gradients)[1].slow_steps == [1.0] * 4
    assert run(adaptive(lnb.AdamW(lr=0.0)), params, gradients)[1].slow_steps == [1.0] * 2
    assert run(adaptive(lnb.AdamW(weight_decay=0.0)), params, 0 * gradients)[1].slow_steps == [1.0] * 2


def test_adaptive_step_is_where_the_model_is_lowest(rng):
    for _ in range(20):
        before, fast, slow, g = rng.standard_normal((4, 9))
        v, lr = np.exp(rng.standard_normal(9)), 0.3
        sums = (0.0, 0.0)
        for each in zip(before, fast, slow, g, v, strict=True):
            sums = formulas.model_sums(*map(float, each), 1.5, 1e-3, lr, *sums)
        lowest = sums[0] / sums[1]
        a = (1.5 * np.sqrt(v) + 1e-3) / lr
        heights = [g @ x + a @ x**2 / 2 for x in (slow + s * (fast - slow) - before for s in lowest + np.r_[0, 1, -1])]
        assert heights[1:] == pytest.approx([heights[0] + a @ (fast - slow) ** 2 / 2] * 2)


@pytest.mark.parametrize("rule", WRAPPED)
def test_without_pull_back_slow_is_an_average_of_the_inner_rule(rule, rng):
    opt = lnb.Lookahead(INNER[rule], sync_period=3, slow_step_size=0.3, pull_back=False)
    params, gradients = problem(rng, 9, 9)
    fast, state = run(opt, params, gradients)
    alone = [run(INNER[rule], params, gradients[:t])[0] for t in (3, 6, 9)]
    assert fast.tobytes() == alone[-1].tobytes()
    average = 0.7**3 * params + 0.3 * (0.49 * alone[0] + 0.7 * alone[1] + alone[2])
    assert_close(state.slow, average, RTOL_FLOAT64)


@pytest.mark.parametrize("inner_state", INNER_STATES)
def test_fast_is_slow_bit_for_bit_after_a_sync(inner_state, rng, width):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=3, slow_step_size=0.3, inner_state=inner_state)
    params, gradients = problem(rng, 6, 33, width)
    for steps in (3, 6):
        fast, state = run(opt, params, gradients[:steps])
        assert fast.tobytes() == state.slow.tobytes()


@pytest.mark.parametrize("inner_state", ["keep", "interpolate"])
@pytest.mark.parametrize("rule", WRAPPED)
def test_step_one_is_the_inner_rule_bit_for_bit(rule, inner_state, rng, width):
    opt = lnb.Lookahead(INNER[rule], sync_period=3, slow_step_size=1, inner_state=inner_state)
    params, gradients = problem(rng, 10, 9, width)
    (fast, state), (alone, plain) = run(opt, params, gradients), run(INNER[rule], params, gradients)
    assert fast.tobytes() == alone.tobytes()
    assert [s.tobytes() for s in state.slots.values()] == [s.tobytes() for s in plain.slots.values()]
    assert (state.power1, state.power2) == (plain.power1, plain.power2)


@np.errstate(invalid="ignore")  # plain Python warns of inf/inf
@pytest.mark.parametrize("inner_state", INNER_STATES)
@pytest.mark.parametrize("rule", WRAPPED)
def test_step_zero_returns_to_the_start_bit_for_bit(rule, inner_state, rng, width):
    opt = lnb.Lookahead(INNER[rule], sync_period=3, slow_step_size=0, inner_state=inner_state)
    params, gradients = problem(rng, 6, 9, width)
    params[0] = -0.0
    gradients[1, 3], gradients[1, 4] = np.inf, np.nan
    assert np.isnan(run(opt, params, gradients[:2], check_finite=False)[0][4])
    for steps in (3, 6):
        fast, state = run(opt, params, gradients[:steps], check_finite=False)
        assert fast.tobytes() == params.tobytes() == state.slow.tobytes()


@pytest.mark.parametrize("rule", WRAPPED)
def test_sync_at_every_step_is_the_inner_rule_at_a_smaller_lr(rule, rng):
    opt = lnb.Lookahead(INNER[rule], sync_period=1, slow_step_size=0.3)
    smaller = dataclasses.replace(INNER[rule], lr=0.3 * INNER[rule].lr)
    params, gradients = problem(rng, 60, 9)
    assert_close(run(opt, params, gradients)[0], run(smaller, params, gradients)[0], RTOL_FLOAT64)


@pytest.mark.parametrize("rule", WRAPPED)
def test_first_step_after_a_reset_is_a_fresh_first_step(rule, rng, width):
    opt = lnb.Lookahead(INNER[rule], sync_period=3, inner_state="reset")
    params, gradients = problem(rng, 4, 9, width)
    middle, state = run(opt, params, gradients[:3])
    assert not any(slot.any() for slot in state.slots.values())
    assert (state.power1, state.power2) == (1, 1)
    fresh = run(INNER[rule], middle, gradients[3:])[0]
    opt.step(middle, gradients[3], state)
    assert middle.tobytes() == fresh.tobytes()


def test_interpolating_does_not_tie_the_state_to_the_last_sync(rng):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=2, inner_state="interpolate")
    state = run(opt, *problem(rng, 2, 9))[1]
    assert not np.shares_memory(state.slots["m"], state._a1)
    assert state.slots["m"].tobytes() == state._a1.tobytes()


@np.errstate(invalid="ignore")
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_nonfinite_gradient_between_syncs_does_not_reach_slow(value, rng, width):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=5)
    params, gradients = problem(rng, 4, 9, width)
    gradients[1, 4] = value
    fast, state = run(opt, params, gradients, check_finite=False)
    assert not np.isfinite(fast[4])
    assert state.slow.tobytes() == params.tobytes()


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("a", [0.1, 0.5, 0.9])
def test_mixed_sequence_goes_on_as_if_nothing_synced(k, a, rng):
    """The sequence (1-a)*slow + a*fast moves by a times the inner step, also across a sync."""
    opt = lnb.Lookahead(lnb.SGD(lr=0.05), sync_period=k, slow_step_size=a)
    start, gradients = problem(rng, 12, 9)
    params, y = start.copy(), start.copy()
    state = opt.init(params)
    for g in gradients:
        opt.step(params, g, state)
        y = y - a * 0.05 * g
        assert_close((1 - a) * state.slow + a * params, y, RTOL_FLOAT64)


def test_negative_zero_stays_negative(width):
    for size, inner_state in itertools.product([0, 0.5, 1], INNER_STATES):
        opt = lnb.Lookahead(lnb.AdamW(), sync_period=1, slow_step_size=size, inner_state=inner_state)
        params = np.array([-0.0], width)
        state = opt.init(params)
        opt.step(params, np.zeros(1, width), state)
        assert np.signbit(params[0])
        assert np.signbit(state.slow[0])


# ------------------------------------------------------------------------------------------------------ settings


def test_neither_given_is_one_half():
    opt = lnb.Lookahead(lnb.AdamW())
    assert (opt.sync_period, opt.slow_step_size, opt.retention) == (5, 0.5, 0.5)
    assert (opt.inner_state, opt.pull_back) == ("keep", True)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_retention_is_the_complement_in_decimals(digits):
    for n in range(2 * 10**digits + 1):
        step, retention = n / 10**digits, (10**digits - n) / 10**digits
        by_step, by_retention = (
            lnb.Lookahead(lnb.SGD(), slow_step_size=step),
            lnb.Lookahead(lnb.SGD(), retention=retention),
        )
        assert by_step == by_retention
        assert hash(by_step) == hash(by_retention)
        assert (by_retention.slow_step_size, by_step.retention) == (step, retention)


def test_the_callers_decimal_context_changes_no_setting():
    with decimal.localcontext(prec=2):
        assert lnb.Lookahead(lnb.SGD(), retention=0.1234).slow_step_size == 0.8766


def test_equal_settings_are_equal_and_others_are_not():
    def make(**changed):
        return lnb.Lookahead(lnb.AdamW(lr=0.1), **changed)

    assert make() == make(sync_period=np.int64(5), slow_step_size=np.float64(0.5))
    assert hash(make()) == hash(make(retention=0.5))
    changes = [{"sync_period": 6}, {"slow_step_size": 0.6}, {"inner_state": "reset"}, {"pull_back": False}]
    changes += [{"outer_momentum": 0.9}, {"outer_momentum": 0.9, "outer_nesterov": True}]
    assert len({make(), *(make(**changed) for changed in changes), lnb.Lookahead(lnb.Adam(lr=0.1))}) == 8


def test_steps_in_turn_are_told_apart_and_written_in_one_way():
    def make(step):
        return lnb.Lookahead(lnb.AdamW(), slow_step_size=step)

    assert make([0.5, 0.5]) == make(0.5)
    assert make([0.5, 0.25]) == make(np.array([0.5, 0.25])) == make((0.5, 0.25))
    assert make("adaptive") == make(lnb.Adaptive()) == make(lnb.Adaptive(0.1))
    assert len({make(0.5), make([0.5, 0.25]), make([0.25, 0.5]), make("adaptive"), make(lnb.Adaptive(0.2))}) == 5
    assert np.isnan([make([0.5, 0.25]).retention, make("adaptive").retention]).all()
    for opt in (make([0.5, 0.25]), make("adaptive")):
        assert eval(repr(opt), vars(lnb).copy()) == opt


def test_settings_are_frozen():
    for opt, name in [(lnb.AdamW(), "lr"), (lnb.Lookahead(lnb.AdamW()), "sync_period")]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(opt, name, 1)


MISNAMED = {
    "k": (lambda: lnb.Lookahead(lnb.AdamW(), k=5), "Lookahead has no argument k (did you mean sync_period?); its"),
    "alpha": (
        lambda: lnb.Lookahead(lnb.AdamW(), alpha=0.5),
        "Lookahead has no argument alpha (did you mean slow_step_size or retention?); its arguments are inner, sync_p",
    ),
    "betas": (
        lambda: lnb.AdamW(1e-3, betas=(0.9, 0.999)),
        "AdamW has no argument betas (did you mean beta1 and beta2?); its arguments are lr, beta1, beta2, eps",
    ),
    "alpha of RMSprop": (lambda: lnb.RMSprop(alpha=0.9), "RMSprop has no argument alpha (did you mean rho?); its"),
    "learning_rate": (lambda: lnb.SGD(learning_rate=0.1), "SGD has no argument learning_rate (did you mean lr?); its"),
    "typo": (
        lambda: lnb.SGD(momentun=0.1),
        "SGD has no argument momentun (did you mean momentum?); its arguments are lr",
    ),
    "nothing like it": (lambda: lnb.SGD(amsgrad=True), "SGD has no argument amsgrad; its arguments are lr, momentum,"),
    "axis": (lambda: lnb.grid(lnb.Lookahead(lnb.SGD()), k=[5]), "got 'k' (did you mean sync_period?)"),
}


@pytest.mark.parametrize("case", MISNAMED)
def test_a_setting_by_another_name_is_told_its_own(case):
    make, said = MISNAMED[case]
    with pytest.raises(TypeError, match=re.escape(said)):
        make()


def test_only_the_first_argument_is_positional():
    for make in (lnb.SGD, lnb.Adagrad, lnb.RMSprop, lnb.Adam, lnb.AdamW, lnb.ScheduleFreeAdamW):
        assert make(0.5) == make(lr=0.5)
        with pytest.raises(TypeError, match="positional"):
            make(0.5, 0.5)
    with pytest.raises(TypeError, match="positional"):
        lnb.Lookahead(lnb.AdamW(), 5)


def test_defaults_are_those_of_pytorch():
    assert lnb.SGD() == lnb.SGD(1e-3, momentum=0.0, nesterov=False, weight_decay=0.0)
    assert lnb.Adagrad() == lnb.Adagrad(1e-2, eps=1e-10, weight_decay=0.0)
    assert lnb.RMSprop() == lnb.RMSprop(1e-2, rho=0.99, eps=1e-8, momentum=0.0, weight_decay=0.0)
    assert lnb.Adam() == lnb.Adam(1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0)
    assert lnb.AdamW() == lnb.AdamW(1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2)


def test_printed_settings_are_the_settings():
    names = vars(lnb) | {"Schedule": lnb.schedules.Schedule}
    inside = [*(INNER[rule] for rule in WRAPPED), lnb.AdamW(lr=lnb.schedules.cosine(0.1, 20, warmup=3))]
    for opt in (*INNER.values(), *inside, *(lnb.Lookahead(inner, sync_period=3, retention=0.9) for inner in inside)):
        assert eval(repr(opt), names) == opt


@pytest.mark.parametrize("inner_state", INNER_STATES)
def test_table_of_scalars_holds_what_steps_use(inner_state):
    inner = lnb.AdamW(lr=lnb.schedules.cosine(0.1, 20, warmup=3))
    opt = lnb.Lookahead(inner, sync_period=3, retention=0.7, inner_state=inner_state)
    steps = STEPS_AHEAD + 8
    rows, scalars = step_table(opt, steps, np.float64), StepScalars(opt, np.float64)
    pieces = [scalars.stretch(5), scalars.stretch(7), scalars.stretch(steps - 12)]
    assert np.array_equal(np.concatenate(pieces), rows)  # in any stretches
    whole = StepScalars(opt, np.float64)
    whole.stretch(steps)
    params = np.ones(1)
    state = opt.init(params)
    for t, row in enumerate(rows, 1):
        one = inner.scalars(inner.schedule(t), 0.01, state.power1 * inner.beta1, state.power2 * inner.beta2, t)
        pair = [opt.slow_step_size, opt.retention] if t % opt.sync_period == 0 else []
        assert row.tolist() == [*one]
        assert state._next_step().row.tolist() == [*one, *pair]
        opt.step(params, np.ones(1), state)
        assert whole.carried_after(t) == state.carried


def test_numbers_of_runs_are_those_of_each_run_alone():
    opts = [
        lnb.Lookahead(lnb.AdamW(), sync_period=2, slow_step_size=0.25),
        lnb.Lookahead(lnb.AdamW(), sync_period=7, slow_step_size=(0.5, 0.9, 1)),
        lnb.Lookahead(lnb.AdamW(), sync_period=3, pull_back=False),
        lnb.AdamW(),
    ]
    for order in itertools.permutations(opts):
        together = run_numbers([*order], np.dtype("float32"), 60)
        for i, opt in enumerate(order):
            alone = run_numbers([opt], np.dtype("float32"), 60)
            for name in ("period", "turns", "pull_back", "outward", "has_slow_weights"):
                assert getattr(together, name)[i] == getattr(alone, name)[0]
            assert together.slow_steps[i, : together.turns[i]].tolist() == alone.slow_steps[0].tolist()
    numbers = run_numbers(opts, np.dtype("float32"), 60)
    assert numbers.turns.tolist() == [1, 3, 1, 1]
    assert numbers.slow_steps[1].tolist() == [[0.5, 0.5], [0.9, 0.1], [1, 0]]
    assert numbers.period.tolist() == [2, 7, 3, 0]


# --------------------------------------------------------------------------------------------------- slow weights


def test_slow_is_a_view_that_cannot_be_written():
    state = lnb.Lookahead(lnb.AdamW()).init(np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        state.slow[0] = 2


def test_slow_weights_are_shown_and_taken_back_bit_for_bit(rng, width):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=5)
    params, gradients = problem(rng, 7, 33, width)
    params, state = run(opt, params, gradients)
    fast, slow = params.tobytes(), state.slow.tobytes()
    assert fast != slow
    with opt.slow_weights(params, state):
        assert params.tobytes() == slow
        params[:] = 7  # whatever happens inside
    assert (params.tobytes(), state.slow.tobytes()) == (fast, slow)
    opt.step(params, gradients[0], state)


def test_evaluating_the_slow_weights_changes_no_trajectory(rng):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=3, inner_state="interpolate")
    params, gradients = problem(rng, 8, 9)
    undisturbed = run(opt, params, gradients)[0]
    state = opt.init(params)
    for g in gradients:
        with opt.slow_weights(params, state):
            pass
        opt.step(params, g, state)
    assert params.tobytes() == undisturbed.tobytes()


# ------------------------------------------------------------------------------------------------------- schedules


def test_schedule_reaches_a_wrapped_rule(rng):
    params, gradients = problem(rng, 12, 9)
    inner = lnb.AdamW(lr=lnb.schedules.linear(0.1, 10, warmup=3))
    for opt in (inner, lnb.Lookahead(inner, sync_period=4)):
        *_, (expected, *_) = reference_path(opt, params, gradients)
        assert_close(run(opt, params, gradients)[0], expected, RTOL_FLOAT64)


@pytest.mark.parametrize("inner_state", INNER_STATES)
def test_schedule_goes_on_counting_across_syncs(inner_state):
    # linear from 4 at t = 0 to 0 at t = 4: steps of 3, 2, 1, 0 and no more, synced at every second with step 1
    inner = lnb.SGD(lr=lnb.schedules.linear(4.0, 4))
    opt = lnb.Lookahead(inner, sync_period=2, slow_step_size=1, inner_state=inner_state)
    assert [fast for fast, _ in trace(opt, 5, start=6.0)] == [3, 1, 0, 0, 0]
