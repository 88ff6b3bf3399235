"""Small weight decays: in full also where the gradient is zero, in lumps whose place depends on the step alone."""

import copy
import pickle
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookahead_nb as lnb
from lookahead_nb.kernels.formulas import KEEP, MOMENTUM_PULLS, decay_lump
from lookahead_nb.optimizers import STEPS_AHEAD, StepScalars, base, coefficients, step_table
from tests.support import reference
from tests.support.cases import picture, run

LEAST = {np.float32: 2.0**-17, np.float64: 2.0**-46}
# A weight lags behind by what is pending, 2**-17 = 7.6e-6 at most.
RTOL_FLOAT32 = 1e-5
# Roundings of 1e5 decays of 1e-5 add up to as much again: measured 3.3e-5 over 400 weights, 6e-6 where one starts at 1.
RTOL_ROUNDINGS = 4e-5
# A sync rounds the eighth of a lump, 16 units in the last place of the slow weights, by half of one: measured 1.3 %.
SHARE_OF_SYNCS = 0.02
# The reference sees what is pending as a gap between two numbers near 1, with errors of 1e-16.
ATOL_LUMP = 2e-16
# Pending decays of two kinds of weights are mixed like the weights, which differ by a part in 1e5.
RTOL_MIXED = 1e-4
TINY = lnb.AdamW(lr=1e-4, weight_decay=0.03)  # 3e-6 a step: a lump in every third
STARTS = np.array([1, 1.9999, -0.7, 3e4, -1e-20, 0.0], np.float32)  # from both ends of a binade
LOOKAHEADS = {
    "half": {"sync_period": 5},
    "a tenth": {"sync_period": 7, "slow_step_size": 0.125},
    "in turn": {"sync_period": 5, "slow_step_size": (0.125, 0.875)},
    "averages": {"sync_period": 5, "pull_back": False},
    "all the way": {"sync_period": 3, "slow_step_size": 1.0},
    "beyond": {"sync_period": 5, "slow_step_size": 1.5},
    "as far again": {"sync_period": 3, "slow_step_size": 2.0},
    "beyond in turn": {"sync_period": 4, "slow_step_size": (0.25, 1.75)},
    "momentum": {"sync_period": 5, "outer_momentum": 0.5},
    "nesterov": {"sync_period": 4, "slow_step_size": (0.7, 0.1), "outer_momentum": 0.8, "outer_nesterov": True},
}


def decays_of(opt, steps, width=np.float32):
    """What the steps take off the weights, as a share, in the width of the weights."""
    table = step_table(opt, steps, width).astype(np.float64)
    return table[:, 4] * table[:, 5] if isinstance(opt, lnb.ScheduleFreeAdamW) else table[:, 7]


def without_gradient(opt, steps, start=STARTS):
    params, grad = start.copy(), np.zeros_like(start)
    state = opt.init(params)
    for _ in range(steps):
        opt.step(params, grad, state, check_finite=False)
    return params, state


def relative_error(params, expected, start=STARTS):
    moved = start != 0
    assert not params[~moved].any()
    return np.abs(params[moved].astype(np.float64) / (expected * start[moved].astype(np.float64)) - 1).max()


# -------------------------------------------------------------------------------------------------------- in full


@pytest.mark.jit
@pytest.mark.parametrize("exponents", [(2, 2), (3, 2), (2, 4), (4, 3), (4, 4), (5, 4), (5, 5), (6, 5), (6, 6)])
def test_a_weight_without_gradient_decays_in_full(exponents):
    lr, weight_decay = (10.0**-n for n in exponents)
    params, state = without_gradient(lnb.AdamW(lr=lr, weight_decay=weight_decay), 100_000)
    expected = (1 - lr * weight_decay) ** 100_000
    assert abs(params[0] / expected - 1) <= RTOL_FLOAT32
    assert relative_error(params, expected) <= RTOL_ROUNDINGS
    assert 0 <= state.pending_decay < LEAST[np.float32]


@pytest.mark.parametrize("decay", [3e-6, 1e-7, 1e-8])
def test_a_weight_never_lags_behind_by_more_than_a_lump(decay):
    params, grad, opt = np.ones(1, np.float32), np.zeros(1, np.float32), lnb.AdamW(lr=1e-3, weight_decay=decay / 1e-3)
    state = opt.init(params)
    for t in range(1, 1700):
        opt.step(params, grad, state)
        assert abs(params[0] / (1 - decay) ** t - 1) <= RTOL_FLOAT32
    assert state.pending_decay > 0


@pytest.mark.jit
@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_decay_of_a_schedule_is_applied_in_full(kind):
    steps, peak, weight_decay, warmup = 20_000, 1e-3, 1e-2, 3000  # the decay begins and ends below a lump
    schedule = lnb.schedules.Schedule(kind, peak, None if kind == "constant" else steps, warmup)
    rates = reference.schedule(kind, peak, steps, warmup, np.arange(1, steps + 1))
    params, _ = without_gradient(lnb.AdamW(lr=schedule, weight_decay=weight_decay), steps)
    assert relative_error(params, np.prod(1 - rates * weight_decay)) <= RTOL_FLOAT32


@pytest.mark.jit
@pytest.mark.parametrize("decay", [1e-6, 1e-8, 2.0**-17 / 759.5])  # at the last one lumps and every second sync meet
@pytest.mark.parametrize("how", list(LOOKAHEADS))
def test_decay_inside_lookahead_is_applied_in_full(how, decay):
    opt, steps = lnb.Lookahead(lnb.AdamW(lr=1e-4, weight_decay=decay / 1e-4), **LOOKAHEADS[how]), 35 * 2400
    params, state = without_gradient(opt, steps)
    k, sizes, momentum = opt.sync_period, np.atleast_1d(opt.slow_step_size), opt.outer_momentum
    fast, slow, velocity = 1.0, 1.0, 0.0
    for n in range(steps // k):
        fast *= (1 - decay) ** k
        velocity, d = momentum * velocity + fast - slow, fast - slow
        slow += sizes[n % len(sizes)] * (momentum * velocity + d if opt.outer_nesterov else velocity)
        fast = slow if opt.pull_back else fast
    bound = RTOL_FLOAT32 + SHARE_OF_SYNCS * (1 - slow)
    assert relative_error(params, fast) <= bound
    assert relative_error(state.slow, slow) <= bound


@pytest.mark.jit
def test_weights_of_an_absent_feature_decay_in_full():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 3))
    X[:, 1] = 0
    data, model = lnb.datasets.from_arrays(X, np.arange(60) % 2), lnb.MLP((3, 4, 2))
    start = model.init(0, "float32")
    absent = np.arange(12) % 3 == 1  # of the first 4 x 3 weights
    for opt in (TINY, lnb.Lookahead(TINY, sync_period=3), lnb.AdamW(lr=1e-4, weight_decay=1e-4)):
        trained = lnb.train(model, data, opt, steps=30_000, batch_size=4, eval_every=30_000)
        per_step = opt.inner.lr * opt.inner.weight_decay * (0.5 if opt.sync else 1)
        weights = trained.params[:12][absent] / start[:12][absent].astype(np.float64)
        expected = (1 - per_step) ** 30_000
        rtol = RTOL_ROUNDINGS + SHARE_OF_SYNCS * (1 - expected) * bool(opt.sync)
        np.testing.assert_allclose(weights, expected, rtol=rtol)


def test_float64_keeps_back_what_only_it_would_lose():
    start = np.array([1.0, 1.9999, -0.7])
    params, state = without_gradient(lnb.AdamW(lr=1e-7, weight_decay=1e-8), 1000, start)
    assert np.abs((start - params) / start + state.pending_decay - 1e-12).max() < 1e-14
    assert (decays_of(lnb.AdamW(lr=1e-7, weight_decay=1e-6), 500, np.float64) == 1e-7 * 1e-6).all()


def test_schedule_free_takes_small_decays_off_its_iterates_in_full():
    opt = lnb.ScheduleFreeAdamW(lr=1e-4, weight_decay=1e-3)
    _, state = without_gradient(opt, 3000)
    _, exact_state = without_gradient(opt, 3000, STARTS.astype(np.float64))
    moved = STARTS != 0
    np.testing.assert_allclose(state.slots["z"][moved], exact_state.slots["z"][moved], rtol=RTOL_FLOAT32)


# ---------------------------------------------------------------------------------------------------------- lumps


def test_lumps_by_hand():
    # 1 - (1 - 1/4)*(1 - 1/2) = 5/8
    assert decay_lump(0.0, 0.25, 0.5) == (0, 0.25)
    assert decay_lump(0.25, 0.5, 0.5) == (0.625, 0)
    assert decay_lump(0.0, 0.5, 0.5) == (0.5, 0)


RISING, FALLING = lnb.schedules.constant(1e-3, warmup=20), lnb.schedules.cosine(2e-3, 100, warmup=9)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-4, 3e-3, 7.7e-3, 1e-2])
@pytest.mark.parametrize(
    ("rule", "lr"),
    [*((rule, lr) for rule in (lnb.AdamW, lnb.ScheduleFreeAdamW) for lr in (1e-3, RISING)), (lnb.AdamW, FALLING)],
)
def test_lumps_follow_the_reference(rule, lr, weight_decay, width):
    opt = rule(lr=lr, weight_decay=weight_decay)
    decays = opt.schedule.rates(150) * weight_decay
    expected = [applied for applied, *_ in reference.decay_in_lumps(decays, LEAST[width])]
    assert decays_of(opt, 150, width) == pytest.approx(expected, rel=1e-7, abs=ATOL_LUMP)


@pytest.mark.parametrize("how", list(LOOKAHEADS))
def test_lumps_inside_lookahead_follow_the_reference(how):
    opt = lnb.Lookahead(lnb.AdamW(lr=1e-3, weight_decay=1.3e-3), **LOOKAHEADS[how])
    applied, pending, synced = zip(
        *reference.decay_in_lumps(
            np.full(300, 1.3e-6),
            2.0**-17,
            opt.sync_period if opt.pull_back else 0,
            opt.slow_step_size,
            opt.outer_momentum,
            opt.outer_nesterov,
        ),
        strict=True,
    )
    assert decays_of(opt, 300) == pytest.approx(applied, rel=RTOL_MIXED, abs=0)
    scalars = StepScalars(opt, np.float32)
    scalars.stretch(300)
    carried = [scalars.carried_after(t) for t in range(1, 301)]
    atol = RTOL_MIXED * 2.0**-17 if opt.sync.extrapolates else 1e-15  # what is pending then passes through 0
    assert [c.pending_decay for c in carried] == pytest.approx(pending, rel=RTOL_MIXED, abs=atol)
    assert [c.synced_pending_decay for c in carried] == pytest.approx(synced, rel=RTOL_MIXED, abs=atol)


@given(
    decays=st.lists(st.floats(0, 2.0**-16, allow_subnormal=False), max_size=60),  # a lump over it must not overflow
    cuts=st.lists(st.integers(0, 60), max_size=4),
    sync_period=st.integers(1, 7),
    slow_steps=st.lists(st.floats(0, 2), min_size=1, max_size=3),
    mode=st.sampled_from([KEEP, *MOMENTUM_PULLS]),
)
@settings(max_examples=60, deadline=None)
def test_no_decay_is_lost_or_applied_twice(decays, cuts, sync_period, slow_steps, mode):
    pending, left = 0.0, 1.0
    for decay in decays:
        lump, pending = decay_lump(pending, decay, 2.0**-17)
        assert lump == 0 or lump >= 2.0**-17
        assert 0 <= pending < 2.0**-17
        assert lump == 0 or pending == 0
        left *= 1 - lump
    assert left * (1 - pending) == pytest.approx(np.prod(1 - np.array(decays)), rel=1e-14)
    # The same decays in any stretches, inside Lookahead too.
    pairs = np.array([(s, 0.5 if mode in MOMENTUM_PULLS else 1 - s) for s in slow_steps])
    least, edges, how = 2.0**-17, sorted({0, len(decays), *cuts}), (sync_period, pairs, mode)
    edges = [edge for edge in edges if edge <= len(decays)]
    decays, ones = np.array(decays, np.float64), np.ones(len(decays))
    whole, after = coefficients.decay_lumps(decays, ones, least, 0, *how, (0.0, 0.0, 0.0))
    carried, pieces = (0.0, 0.0, 0.0), [np.empty(0)]
    for low, high in pairwise(edges):
        piece, then = coefficients.decay_lumps(decays[low:high], ones[low:high], least, low, *how, carried)
        pieces.append(piece)
        carried = tuple(then[:, -1])
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    assert carried == tuple(after[:, -1])


@pytest.mark.parametrize("decay", [2.0**-17, 1e-3 * 1e-2, 0.02, 0.0])
def test_decays_of_at_least_a_lump_keep_their_bits(decay):
    assert (decays_of(lnb.AdamW(lr=1.0, weight_decay=decay), 2 * STEPS_AHEAD) == np.float32(decay)).all()
    table = step_table(lnb.ScheduleFreeAdamW(lr=1e-3, weight_decay=decay / 1e-3), 50, np.float32)
    assert (table[:, 4] == np.float32(decay / 1e-3)).all()
    just_below = decays_of(lnb.AdamW(lr=1.0, weight_decay=np.nextafter(2.0**-17, 0)), 4)
    assert just_below[::2].tolist() == [0, 0]


def test_a_coupled_decay_is_never_kept_back():
    for opt in (lnb.SGD(1e-4, weight_decay=1e-4), lnb.Adam(1e-4, weight_decay=1e-4)):
        column = 1 if isinstance(opt, lnb.SGD) else 7
        assert (step_table(opt, 5, np.float32)[:, column] == np.float32(1e-4)).all()
        assert "pending_decay" not in opt.init(np.ones(1, np.float32)).to_arrays()


FALLING_DECAY = lnb.schedules.linear(0.03, 120, warmup=10)  # at lr 1e-3 on both sides of a lump


@pytest.mark.parametrize("lr", [1e-3, FALLING])
@pytest.mark.parametrize("rule", [lnb.AdamW, lnb.ScheduleFreeAdamW])
def test_lumps_of_a_falling_decay_follow_the_reference(rule, lr, width):
    if rule is lnb.ScheduleFreeAdamW and lr is FALLING:
        lr = RISING
    opt = rule(lr=lr, weight_decay=FALLING_DECAY)
    decays = opt.schedule.rates(150) * reference.schedule("linear", 0.03, 120, 10, np.arange(1, 151))
    expected = [applied for applied, *_ in reference.decay_in_lumps(decays, LEAST[width])]
    assert decays_of(opt, 150, width) == pytest.approx(expected, rel=1e-7, abs=ATOL_LUMP)
    assert width is np.float64 or {*(decays_of(opt, 120) > 0)} == {True, False}


@pytest.mark.jit
def test_a_falling_decay_is_applied_in_full():
    steps, lr = 20_000, 1e-3
    falling = lnb.schedules.cosine(1e-2, steps, warmup=3000)
    params, state = without_gradient(lnb.AdamW(lr=lr, weight_decay=falling), steps)
    decays = lr * reference.schedule("cosine", 1e-2, steps, 3000, np.arange(1, steps + 1))
    assert relative_error(params, np.prod(1 - decays)) <= RTOL_FLOAT32
    assert 0 <= state.pending_decay < LEAST[np.float32]


def test_a_number_for_every_step_is_the_schedule_of_the_decay(rng):
    # A state that follows one number after another has the bits of the schedule.
    start, gradients = np.ones(3, np.float32), rng.standard_normal((30, 3)).astype(np.float32)
    for around in (lambda inner: inner, lambda inner: lnb.Lookahead(inner, sync_period=4)):
        expected, end = run(around(lnb.AdamW(1e-3, weight_decay=FALLING_DECAY)), start, gradients)
        params, state = start.copy(), around(lnb.AdamW(1e-3)).init(start.copy())
        for t, g in enumerate(gradients, 1):
            state.follow(around(lnb.AdamW(1e-3, weight_decay=FALLING_DECAY(t))))
            state.optimizer.step(params, g, state)
        assert params.tobytes() == expected.tobytes()
        assert state.carried == end.carried


# ----------------------------------------------------------------------------------------------- the same bits


FITTED = {"sync_period": 4, "slow_step_size": "adaptive"}


RESUMED = [
    TINY,
    *(lnb.Lookahead(TINY, **how) for how in (*LOOKAHEADS.values(), FITTED)),
    lnb.AdamW(lr=1e-4, weight_decay=lnb.schedules.linear(0.06, 40)),
]


@pytest.mark.parametrize("opt", RESUMED)
def test_resume_is_exact_between_lumps(opt, rng, monkeypatch):
    monkeypatch.setattr(base, "STEPS_AHEAD", 4)
    gradients = rng.standard_normal((25, 3)).astype(np.float32) * np.array([1, 0, 1], np.float32)
    start = np.ones(3, np.float32)
    expected, end = run(opt, start, gradients)
    for stop in range(25):
        stopped, state = run(opt, start, gradients[:stop])
        others = opt.restore(state.to_arrays()), copy.deepcopy(state), pickle.loads(pickle.dumps(state))
        for other in others:
            params = stopped.copy()
            for g in gradients[stop:]:
                opt.step(params, g, other)
            assert params.tobytes() == expected.tobytes()
            assert picture(other) == picture(end)
    assert end.pending_decay != 0


def test_what_waits_beyond_a_lump_is_not_applied_at_a_rate_of_zero():
    # 2 steps of 0.9 lumps: one is applied, 0.8 wait; the sync doubles that, and the rate of step 3 is 0
    schedule = lnb.schedules.linear(3 * 0.9 * 2.0**-17, 3)
    opt = lnb.Lookahead(lnb.AdamW(lr=schedule, weight_decay=1.0), sync_period=2, slow_step_size=2)
    params, state = without_gradient(opt, 5)
    assert np.isfinite(params).all()
    assert state.pending_decay == state.carried.synced_pending_decay > 2.0**-17
    assert np.isfinite(decays_of(opt, 50)).all()
    other = opt.restore(state.to_arrays())
    assert other.carried == state.carried


@pytest.mark.parametrize(
    "around", [lambda inner: inner, lambda inner: lnb.EMA(inner, decay=0.5)], ids=["alone", "average"]
)
def test_what_is_pending_waits_while_another_setting_decays_nothing(around):
    opts = [around(lnb.AdamW(1e-3, weight_decay=decay)) for decay in (1e-3, 0.0)]
    params, grad = np.ones(1, np.float32), np.zeros(1, np.float32)
    state = opts[0].init(params)
    for t in range(400):
        state.follow(opts[t % 2])
        state.optimizer.step(params, grad, state)
    assert params[0] == pytest.approx((1 - 1e-6) ** 200, rel=RTOL_FLOAT32)


def test_a_lump_is_extrapolated_and_made_up_for():
    opt = lnb.Lookahead(lnb.AdamW(lr=1e-3, weight_decay=1e-3), sync_period=11, slow_step_size=2)
    scalars = StepScalars(opt, np.float32)
    scalars.stretch(20_000)
    lumps = np.array([scalars.carried_after(t).pending_decay for t in range(20_001)]) / 2.0**-17
    assert -2 < lumps.min() < -1
    assert 2 < lumps.max() < 3


def test_checkpoint_of_version_1_0_0_has_nothing_pending():
    opt = lnb.Lookahead(TINY, sync_period=3)
    arrays = run(opt, np.ones(2, np.float32), np.zeros((5, 2), np.float32))[1].to_arrays()
    old = {name: value for name, value in arrays.items() if not name.endswith("pending_decay")}
    assert old.keys() != arrays.keys()
    state = opt.restore(old)
    assert state.t == 5
    assert state.pending_decay == state.carried.synced_pending_decay == 0


@pytest.mark.parametrize("value", [-1e-9, 2.0**-16, np.nan])
@pytest.mark.parametrize("name", ["pending_decay", "synced_pending_decay"])
def test_pending_decay_out_of_range_is_refused(name, value):
    opt = lnb.Lookahead(TINY, sync_period=3)
    arrays = opt.init(np.ones(2, np.float32)).to_arrays()
    with pytest.raises(ValueError, match=rf"^{name} must be .*got .*\({value}\)"):
        opt.restore(arrays | {name: value})


def test_r1_runs_in_a_sweep_alone_and_by_hand_have_the_same_lumps():
    data, model = lnb.datasets.load("iris"), lnb.MLP((4, 3, 3))
    how = {"steps": 25, "batch_size": 8, "eval_every": 6}
    falling = lnb.AdamW(lr=lnb.schedules.linear(1e-4, 30), weight_decay=0.1)
    how_of_syncs = {"sync_period": 3, "slow_step_size": (0.25, 1.0)}
    fading = lnb.AdamW(lr=1e-4, weight_decay=lnb.schedules.linear(0.1, 30))
    opts = [
        TINY,
        fading,
        lnb.AdamW(lr=1e-4, weight_decay=0.01),
        *(lnb.Lookahead(o, **how_of_syncs) for o in (TINY, falling)),
    ]
    rows = lnb.sweep(model, data, opts, seeds=range(2), progress=False, **how)
    for opt in opts:
        for seed in range(2):
            alone = lnb.train(model, data, opt, seed=seed, **how)
            (name,) = alone.history["run"].unique()
            ours = rows[rows["run"] == name]
            assert ours["train_loss"].tolist() == alone.history["train_loss"].tolist()
            params = model.init(seed, "float32")
            state = opt.init(params)
            for batch in islice(lnb.minibatches(len(data.X_train), 8, seed), 25):
                X = data.X_train[batch].astype(np.float32)
                opt.step(params, model.loss_and_grad(params, X, data.y_train[batch])[1], state)
            assert params.tobytes() == alone.params.tobytes()
            assert picture(state) == picture(alone.state)
            assert {*(decays_of(opt, 25) > 0)} == {True, False}
