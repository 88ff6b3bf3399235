"""Every inner rule: known answers, lock-step with the reference after every step, limits and symmetries."""

import dataclasses

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels import formulas
from lookahead_nb.optimizers import INNER_RULES, InnerOptimizer
from tests.support import reference
from tests.support.cases import INNER, RULES, assert_close, learning_rates, problem, reference_path, run, settings_of

STEPS = 200
# A step makes about ten roundings of 1e-16, and both sides carry theirs along for 200 steps; measured 1.1e-14.
RTOL_FLOAT64 = 1e-13
# Roundings of one float32 step, in units of eps times the sum of absolute terms: every scalar is rounded once, then
# comes one rounding per operation. Measured 1.6 over all rules.
ULPS_PER_STEP = 3


def stepped(opt, start, *gradients):
    """Return the weight after each of these gradients, for one weight in float64."""
    params, seen = np.array([float(start)]), []
    state = opt.init(params)
    for g in gradients:
        opt.step(params, np.array([float(g)]), state)
        seen.append(params[0])
    return seen


# ------------------------------------------------------------------------------------------------ known answers


def test_adamw_by_hand():
    # m = .5*4 = 2, v = .25*16 = 4; m_hat = 2/.5 = 4, v_hat = 4/.25 = 16; update 4/(4 + 4) = .5
    # p = 2 - .1*(.5 + .5*2) = 2 - .15
    opt = lnb.AdamW(lr=0.1, beta1=0.5, beta2=0.75, eps=4.0, weight_decay=0.5)
    assert stepped(opt, 2, 4) == pytest.approx([1.85], rel=RTOL_FLOAT64)


def test_adam_by_hand():
    # d = 2 + 1*2 = 4, then the numbers of AdamW: p = 2 - .1*.5
    opt = lnb.Adam(lr=0.1, beta1=0.5, beta2=0.75, eps=4.0, weight_decay=1.0)
    assert stepped(opt, 2, 2) == pytest.approx([1.95], rel=RTOL_FLOAT64)


def test_adam_second_step_by_hand():
    # m = .75, v = .25, m_hat = v_hat = 1; then m = .25*.75 + .75*3 = 2.4375, v = .75*.25 + .25*9 = 2.4375
    # m_hat = 2.4375/(1 - 1/16) = 2.6, v_hat = 2.4375/(1 - 9/16) = 39/7; p = 1 - 1/(1 + 1) - 2.6/(sqrt(39/7) + 1)
    opt = lnb.Adam(lr=1.0, beta1=0.25, beta2=0.75, eps=1.0)
    assert stepped(opt, 1, 1, 3) == pytest.approx([0.5, 0.5 - 2.6 / ((39 / 7) ** 0.5 + 1)], rel=RTOL_FLOAT64)


def test_sgd_by_hand():
    # d = 1 + .5*2 = 2; p = 2 - .25*2
    assert stepped(lnb.SGD(lr=0.25, weight_decay=0.5), 2, 1) == [1.5]


def test_momentum_by_hand():
    # velocity 1, 1.5, 1.75
    assert stepped(lnb.SGD(lr=1.0, momentum=0.5), 10, 1, 1, 1) == [9, 7.5, 5.75]


def test_momentum_keeps_lr_out_of_the_velocity():
    # velocity 1, 1.5 under lr 1, 0: a falling lr acts at once (Keras would still move by .5)
    assert stepped(lnb.SGD(lr=lnb.schedules.linear(2.0, 2), momentum=0.5), 10, 1, 1) == [9, 9]


def test_nesterov_by_hand():
    # velocity 1, 1.5; direction 1 + .5*1 = 1.5, 1 + .5*1.5 = 1.75
    assert stepped(lnb.SGD(lr=1.0, momentum=0.5, nesterov=True), 10, 1, 1) == [8.5, 6.75]


def test_adagrad_by_hand():
    # sum 9, 25; steps 3/(3 + 1) = .75, 4/(5 + 1) = 2/3
    assert stepped(lnb.Adagrad(lr=1.0, eps=1.0), 1, 3, 4) == pytest.approx([0.25, 0.25 - 2 / 3], rel=RTOL_FLOAT64)


def test_rmsprop_by_hand():
    # s = .25*16 = 4, step .5*4/(2 + 2); s = .75*4 + .25*4 = 4, step .5*2/(2 + 2)
    assert stepped(lnb.RMSprop(lr=0.5, rho=0.75, eps=2.0), 1, 4, 2) == [0.5, 0.25]


def test_rmsprop_momentum_by_hand():
    # scaled gradients 1 and .5 as above; velocity 1, .5*1 + .5 = 1
    assert stepped(lnb.RMSprop(lr=0.5, rho=0.75, eps=2.0, momentum=0.5), 1, 4, 2) == [0.5, 0]


def test_schedule_free_by_hand():
    # v = .25*16 = 4, v_hat = 16, d = 4/(4 + 4) + .5*2 = 1.5; z = 2 - 1*1.5 = .5; c = 1: x = .5 = y
    # v = .75*4 + .25*18.2**2; d = 18.2/(sqrt(v/.4375) + 4) + .5*.5; z = .5 - d; c = 1/2: x = (.5 + z)/2
    opt = lnb.ScheduleFreeAdamW(lr=1.0, beta1=0.75, beta2=0.75, eps=4.0, weight_decay=0.5)
    d = 18.2 / (((0.75 * 4 + 0.25 * 18.2**2) / 0.4375) ** 0.5 + 4) + 0.25
    z, x = 0.5 - d, (0.5 + 0.5 - d) / 2
    assert stepped(opt, 2, 4, 18.2) == pytest.approx([0.5, 0.25 * z + 0.75 * x], rel=RTOL_FLOAT64)


def test_schedule_free_gives_a_warm_up_less_weight():
    # d = 1, 1, 1 at lr 1, 2, 2 (warm-up over 2 steps): z = 9, 7, 5; c = 1, 4/5, 4/9: x = 9, 7.4, (5*7.4 + 4*5)/9
    opt = lnb.ScheduleFreeAdamW(lr=lnb.schedules.constant(2.0, warmup=2), beta1=0.5, beta2=0.5, eps=1e-300)
    expected = [9, 0.5 * 7 + 0.5 * 7.4, 0.5 * 5 + 0.5 * (5 * 7.4 + 4 * 5) / 9]
    assert stepped(opt, 10, 1, 1, 1) == pytest.approx(expected, rel=RTOL_FLOAT64)


# ---------------------------------------------------------------------------------------------------- lock-step


@pytest.mark.parametrize("rule", RULES)
def test_float64_follows_the_reference_after_every_step(rule, rng):
    opt = INNER[rule]
    assert opt.rule == rule
    params, gradients = problem(rng, STEPS, 17)
    path = reference_path(opt, params, gradients)
    state = opt.init(params)
    for t, (g, (expected, _, slots, power)) in enumerate(zip(gradients, path, strict=True), 1):
        opt.step(params, g, state)
        assert_close(params, expected, RTOL_FLOAT64)
        for name, slot in state.slots.items():
            assert_close(slot, slots[name], RTOL_FLOAT64)
        assert state.t == t
        if hasattr(opt, "beta1"):
            assert (state.power1, state.power2) == pytest.approx((power(opt.beta1), power(opt.beta2)), rel=RTOL_FLOAT64)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_schedule_of_the_weight_decay_follows_the_reference(rule, kind, rng):
    falling = lnb.schedules.Schedule(kind, 0.3, 30, 7)  # it ends inside the run
    opt = INNER[rule].with_settings(weight_decay=falling)
    if rule != "schedule_free_adamw":
        opt = opt.with_settings(lr=lnb.schedules.cosine(0.05, 45, warmup=4))
    params, gradients = problem(rng, 40, 17)
    state = opt.init(params)
    for g, (expected, *_) in zip(gradients, reference_path(opt, params, gradients), strict=True):
        opt.step(params, g, state)
        assert_close(params, expected, RTOL_FLOAT64)


def test_a_schedule_of_the_weight_decay_by_hand():
    # decays 3, 2, 1 and 0 quarters of 1, at lr .5: the weight is multiplied by 5/8, 3/4, 7/8 and 1
    falling = lnb.schedules.linear(1.0, steps=4)
    decays = [5 / 8, 5 / 8 * 3 / 4, 5 / 8 * 3 / 4 * 7 / 8, 5 / 8 * 3 / 4 * 7 / 8]
    assert stepped(lnb.AdamW(lr=0.5, weight_decay=falling), 1, 0, 0, 0, 0) == decays
    assert stepped(lnb.SGD(lr=0.5, weight_decay=falling), 1, 0, 0, 0, 0) == decays
    # lr and weight decay fall together: 1 - 9/16, 1 - 4/16, 1 - 1/16
    both = lnb.AdamW(lr=falling, weight_decay=falling)
    assert stepped(both, 1, 0, 0, 0) == [7 / 16, 7 / 16 * 12 / 16, 7 / 16 * 12 / 16 * 15 / 16]


@pytest.mark.parametrize("rule", RULES)
def test_float32_rounds_a_few_times_per_step(rule, rng):
    opt, steps = INNER[rule], 50
    params, gradients = problem(rng, steps, 17, np.float32)
    state, settings = opt.init(params), settings_of(opt)
    restated = reference.RULES[type(opt).__name__]
    # With all terms of one sign the reference gives the sum of absolute terms, which is what roundings are relative to.
    against = settings | {name: -value for name, value in settings.items() if name == "weight_decay"}
    signs = {"velocity": -1, "m": -1, "square_sum": 1, "square_average": 1, "v": 1, "z": 1, "x": 1, "squares": 1}
    squares = 0.0
    for t, (g, lr) in enumerate(zip(gradients, learning_rates(opt, steps), strict=True), 1):
        p, g64 = params.astype(np.float64), g.astype(np.float64)
        slots = {name: slot.astype(np.float64) for name, slot in state.slots.items()}
        if "z" in slots:  # what the library works out from y, z and t
            slots |= {"x": (p - (1 - opt.beta1) * slots["z"]) / opt.beta1, "squares": squares}
            squares += lr**2
        expected = restated(p, g64, slots, lr, lambda beta, t=t: beta**t, **settings)
        terms = {name: signs[name] * np.abs(slot) for name, slot in slots.items()}
        terms = restated(np.abs(p), -np.abs(g64), terms, lr, lambda beta, t=t: beta**t, **against)
        opt.step(params, g, state)
        found = [(params, expected[0], terms[0])]
        found += [(slot, expected[1][name], terms[1][name]) for name, slot in state.slots.items()]
        for actual, exact, size in found:
            assert np.all(np.abs(actual - exact) <= ULPS_PER_STEP * np.finfo(np.float32).eps * np.abs(size))


# ----------------------------------------------------------------------------------------- limits and symmetries


def test_every_rule_is_tested_here():
    assert set(RULES) == set(formulas.RULES)


@pytest.mark.parametrize("rule", RULES)
def test_lr_zero_moves_no_weight_but_the_state(rule, rng, width):
    opt = dataclasses.replace(INNER[rule], lr=0.0)
    params, gradients = problem(rng, 3, 9, width)
    moved, state = run(opt, params, gradients)
    assert moved.tobytes() == params.tobytes()
    assert state.t == 3
    assert all(slot.any() for slot in state.slots.values())


@pytest.mark.parametrize("rule", RULES)
def test_signs_of_weights_and_gradients_turn_together(rule, rng, width):
    params, gradients = problem(rng, 10, 9, width)
    assert run(INNER[rule], -params, -gradients)[0].tobytes() == (-run(INNER[rule], params, gradients)[0]).tobytes()


@pytest.mark.parametrize("rule", RULES)
def test_every_weight_goes_its_own_way(rule, rng, width):
    params, gradients = problem(rng, 5, 9, width)
    order = rng.permutation(9)
    shuffled = run(INNER[rule], params[order], np.ascontiguousarray(gradients[:, order]))[0]
    assert shuffled.tobytes() == run(INNER[rule], params, gradients)[0][order].tobytes()


@pytest.mark.parametrize("rule", [lnb.Adam, lnb.AdamW, lnb.RMSprop, lnb.Adagrad])
def test_scale_of_the_gradient_cancels(rule, rng, width):
    opt = rule(lr=0.01, eps=float(np.finfo(width).tiny), weight_decay=0.0)
    params, gradients = problem(rng, 10, 9, width)
    larger = gradients * width(2**20)  # a power of two, so that nothing rounds differently
    assert run(opt, params, larger)[0].tobytes() == run(opt, params, gradients)[0].tobytes()


def test_adam_without_memory_is_sign_descent(rng):
    opt = lnb.Adam(lr=0.25, beta1=0.0, beta2=0.0, eps=1e-300)
    params, gradients = problem(rng, 1, 9)
    assert_close(run(opt, params, gradients)[0], params - 0.25 * np.sign(gradients[0]), RTOL_FLOAT64)


def test_first_step_of_adam_is_lr_long(rng):
    params, gradients = problem(rng, 1, 9)
    moved = run(lnb.Adam(lr=0.25, eps=1e-300), params, gradients)[0]
    assert_close(np.abs(moved - params), np.full(9, 0.25), RTOL_FLOAT64)


def test_adam_and_adamw_coincide_without_decay(rng, width):
    params, gradients = problem(rng, 10, 9, width)
    both = [run(rule(lr=0.02, weight_decay=0.0), params, gradients)[0] for rule in (lnb.Adam, lnb.AdamW)]
    assert both[0].tobytes() == both[1].tobytes()


@pytest.mark.parametrize("rule", ["sgd_momentum", "sgd_nesterov"])
def test_momentum_zero_is_plain_descent(rule, width):
    p, g, lr, l2, zero = (width(x) for x in (0.7, -1.3, 0.1, 0.01, 0))
    row = (lr, l2, zero, zero, zero, zero, zero, zero)
    plain = formulas.RULES["sgd"][0](p, g, zero, zero, row)[0]
    assert formulas.RULES[rule][0](p, g, width(5), zero, row)[0] == plain


def test_adamw_decays_also_where_the_gradient_is_zero():
    # p = 2 - .5*.25*2, and 0/(0 + eps) is 0, not NaN
    assert stepped(lnb.AdamW(lr=0.5, weight_decay=0.25), 2, 0) == [1.75]


@pytest.mark.parametrize("rule", ["sgd_momentum", "sgd_nesterov", "rmsprop_momentum", "adam", "adamw"])
def test_momentum_goes_on_where_the_gradient_is_zero(rule):
    first, second, third = stepped(dataclasses.replace(INNER[rule], weight_decay=0.0), 2, 1, 0, 0)
    assert 2 > first > second > third


@pytest.mark.parametrize("rule", RULES)
def test_gradient_zero_from_the_start_is_no_fault(rule):
    without_decay = {name: 0.0 for name in settings_of(INNER[rule]) if name == "weight_decay"}
    assert stepped(dataclasses.replace(INNER[rule], **without_decay), 2, 0, 0) == [2, 2]


@np.errstate(invalid="ignore")  # plain Python warns of inf/inf
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", RULES)
def test_unchecked_nonfinite_gradient_stays_in_its_element(rule, value, rng, width):
    params, gradients = problem(rng, 2, 5, width)
    clean = run(INNER[rule], params, gradients)[0]
    gradients[0, 2] = value
    spoilt, state = run(INNER[rule], params, gradients, check_finite=False)
    others = [0, 1, 3, 4]
    assert spoilt[others].tobytes() == clean[others].tobytes()
    # An inf may end in the state alone, where a rule takes no more than the sign of what it adds up.
    where = [spoilt[2]] if np.isnan(value) else [spoilt[2], *(slot[2] for slot in state.slots.values())]
    assert not np.isfinite(where).all()


# -------------------------------------------------------------------------------------------------- Schedule-Free


@pytest.mark.parametrize("beta1", [0.1, 0.9, 0.999])
def test_average_is_the_mean_of_all_iterates(beta1, rng):
    opt = lnb.ScheduleFreeAdamW(lr=0.05, beta1=beta1, weight_decay=0.1)
    params, gradients = problem(rng, 50, 9)
    state, iterates = opt.init(params), []
    for g in gradients:
        opt.step(params, g, state)
        iterates.append(state.slots["z"].copy())
        with opt.slow_weights(params, state):
            # y takes part in x by 1/beta1, so that its roundings of 1e-16 per step count that much more
            assert_close(params, np.mean(iterates, axis=0), RTOL_FLOAT64 / beta1)


def test_average_in_a_warm_up_is_weighted_by_the_square_of_lr(rng):
    lr = lnb.schedules.constant(0.05, warmup=7)
    opt = lnb.ScheduleFreeAdamW(lr=lr)
    params, gradients = problem(rng, 20, 9)
    state, iterates = opt.init(params), []
    for t, g in enumerate(gradients, 1):
        opt.step(params, g, state)
        iterates.append(state.slots["z"].copy())
        with opt.slow_weights(params, state):
            weights = [lr(i) ** 2 for i in range(1, t + 1)]
            assert_close(params, np.average(iterates, axis=0, weights=weights), RTOL_FLOAT64)


def test_average_starts_at_the_weights_bit_for_bit(rng, width):
    params, _ = problem(rng, 0, 33, width)
    opt = INNER["schedule_free_adamw"]
    state, start = opt.init(params), params.tobytes()
    with opt.slow_weights(params, state):
        assert params.tobytes() == start
    assert state.slots["z"].tobytes() == start
    assert not np.shares_memory(state.slots["z"], params)


def test_average_is_shown_and_taken_back_bit_for_bit(rng, width):
    opt = INNER["schedule_free_adamw"]
    params, gradients = problem(rng, 7, 33, width)
    undisturbed, state = run(opt, params, gradients)
    fast = undisturbed.copy()
    with opt.slow_weights(fast, state):
        assert fast.tobytes() != undisturbed.tobytes()
        with pytest.raises(RuntimeError, match="slow"):
            opt.step(fast, gradients[0], state)
    assert fast.tobytes() == undisturbed.tobytes()


# ---------------------------------------------------------------------------------------------------- tiny decay

DECAY_STEPS, DECAY_WEIGHTS = 1000, 20_000
DECAY_RTOL = 0.02  # the mean over 20,000 weights of rounding noise after 1,000 steps is 0.3 % of the smallest decay


def _torch_form(p, update, decay):
    return p * np.float32(1 - decay) - update


def _decay_found(decay, step):
    """The relative decay of random float32 weights per step, from runs with and without it.

    step(decay) returns a function that takes a step and returns the decay that is still pending.
    """
    rng = np.random.default_rng(7)
    start = rng.uniform(1, 2, DECAY_WEIGHTS).astype(np.float32)
    with_decay, without = start.copy(), start.copy()
    with_decay_step, without_step = step(decay), step(0.0)
    for _ in range(DECAY_STEPS):
        g = rng.standard_normal(DECAY_WEIGHTS, np.float32)
        pending = with_decay_step(with_decay, g)
        without_step(without, g)
    lost = np.mean((without - with_decay * np.float64(1 - pending)) / start)
    return -np.expm1(np.log1p(-lost) / DECAY_STEPS)


def _by_adamw(decay):
    opt = lnb.AdamW(lr=1e-3, weight_decay=decay / 1e-3)
    state = opt.init(np.zeros(DECAY_WEIGHTS, np.float32))

    def step(p, g):
        opt.step(p, g, state, check_finite=False)
        return state.pending_decay

    return step


def _by_torch_form(decay):
    def step(p, g):
        p[:] = _torch_form(p, np.float32(1e-3) * g, decay)
        return 0.0

    return step


@pytest.mark.jit
@pytest.mark.parametrize("decay", [1e-6, 1e-7, 1e-8])
def test_tiny_decay_is_not_lost_in_float32(decay):
    assert _decay_found(decay, _by_adamw) == pytest.approx(decay, rel=DECAY_RTOL)


@pytest.mark.jit
@pytest.mark.parametrize("decay", [1e-7, 1e-8])
def test_the_usual_form_of_decay_would_fail_that_bound(decay):
    assert _decay_found(decay, _by_torch_form) != pytest.approx(decay, rel=DECAY_RTOL)


# ------------------------------------------------------------------------------------------------- a rule of one's own


def bare(scalars=2):
    """Return a rule without decay and without a class of settings in the package, in the form of sgd."""

    @dataclasses.dataclass(frozen=True)
    class Bare(InnerOptimizer):
        lr: float = 0.05
        family = "sgd"

        def scalars(self, lr, *_):
            return lr, *[0.0] * (scalars - 1)

    del INNER_RULES["Bare"]
    return Bare()


def test_a_rule_without_decay_passes_the_tests_of_all_rules(rng, monkeypatch):
    monkeypatch.setitem(INNER, "sgd", bare())
    monkeypatch.setitem(reference.RULES, "Bare", lambda theta, g, state, lr, power: (theta - lr * g, {}))
    test_float64_follows_the_reference_after_every_step("sgd", rng)
    test_float32_rounds_a_few_times_per_step("sgd", rng)
    test_gradient_zero_from_the_start_is_no_fault("sgd")


def test_a_rule_with_more_scalars_than_a_step_has_is_refused_by_name():
    opt, params = bare(9), np.ones(3)
    state = opt.init(params)
    with pytest.raises(ValueError, match=r"^Bare.scalars must return at most 8 numbers, got 9$"):
        opt.step(params, params.copy(), state)
    with pytest.raises(ValueError, match="at most 8 numbers, got 9"):
        lnb.train(lnb.landscapes.Quadratic([1.0]), None, opt, steps=2)
    assert (state.t, params.tolist()) == (0, [1] * 3)


def test_a_rule_without_a_formula_is_refused_by_name():
    opt = bare()
    object.__setattr__(opt, "family", "sdg")
    with pytest.raises(
        ValueError, match=r"^Bare.rule must be a name of lookahead_nb.kernels.formulas.RULES, got 'sdg'"
    ):
        opt.init(np.ones(3))


def test_a_decay_beyond_float32_is_refused_without_a_warning():
    with pytest.raises(ValueError, match=r"^weight_decay must be at most 3.4.*e\+38 for float32 params, got 1e\+300$"):
        lnb.AdamW(weight_decay=1e300).init(np.zeros(2, np.float32))
