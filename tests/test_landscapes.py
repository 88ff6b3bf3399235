"""Surfaces with known shapes: gradients, minima, and the paths of optimizers on them."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from conftest import NO_JIT

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.kernels import philox
from lookahead_nb.kernels.compiler import fma
from lookahead_nb.models.landscapes import Bilinear, DoubleWell, Quadratic, Rosenbrock, replay, trace
from lookahead_nb.training import engine_cpu, weights_at

STEP = 6e-6  # cube root of eps, where cutting off and rounding errors of a central difference meet
DIFFERENCES = (
    1e-7  # what is then left on these surfaces: step**2 times a third derivative of up to 2400, over the slope
)
WORKED_BACK = 1e-12  # dividing by slow_step_size 0.3 brings a rounding of 1e-16 back magnified by 1/0.3, once a sync

LANDSCAPES = {
    "one dimension": Quadratic([3.0]),
    "bowl": Quadratic([1.0, 10.0, 0.1]),
    "valley": Rosenbrock(),
    "flat valley": Rosenbrock(bend=2.5),
    "two basins": DoubleWell(),
    "deeper on the right": DoubleWell(-0.4, barrier=0.3),
}
each_landscape = pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)

SGD, ADAMW = lnb.SGD(1e-3, momentum=0.5), lnb.AdamW(0.05)
OPTIMIZERS = {
    "keep": lnb.Lookahead(SGD, sync_period=3, slow_step_size=0.3),
    "reset": lnb.Lookahead(ADAMW, sync_period=4, slow_step_size=0.3, inner_state="reset"),
    "interpolate": lnb.Lookahead(ADAMW, sync_period=3, slow_step_size=0.3, inner_state="interpolate"),
    "every step": lnb.Lookahead(ADAMW, sync_period=1, slow_step_size=0.3),
    "step 1": lnb.Lookahead(SGD, sync_period=3, slow_step_size=1),
}
START, STEPS = np.array([-1.2, 1.0]), 13


# ------------------------------------------------------------------------------------------------ surfaces


@each_landscape
def test_gradient_agrees_with_central_differences(landscape, rng):
    for _ in range(5):
        point = rng.normal(0, 1, landscape.size)
        height, slope = landscape.loss_and_grad(point)
        steps = STEP * np.eye(landscape.size)
        differences = [(landscape.loss(point + h) - landscape.loss(point - h)) / (2 * STEP) for h in steps]
        assert np.abs(slope - differences).max() <= DIFFERENCES * max(1, np.abs(slope).max())
        assert height == landscape.loss(point)


@pytest.mark.parametrize(
    ("landscape", "point", "height", "slope"),
    [
        (Quadratic([1, 10, 0.5]), [2, -1, 4], 11, [2, -10, 2]),  # (4 + 10 + 8)/2
        (Rosenbrock(), [-1, 2], 104, [-4 + 400, 200]),  # 2**2 + 100*1**2; -2*2 + 4*100*1*1, 2*100*1
        (Rosenbrock(bend=1), [0, 3], 10, [-2, 6]),  # 1 + 9; -2, 2*3
        (DoubleWell(0.5, barrier=2), [2], 19, [48.5]),  # 2*3**2 + 0.5*2; 4*2*2*3 + 0.5
        (Bilinear(3), [1, -2], 2.5, [-6, -3]),  # (1 + 4)/2; 3*-2, -3*1
    ],
    ids=str,
)
def test_heights_and_slopes_worked_out_by_hand(landscape, point, height, slope):
    got = landscape.loss_and_grad(np.array(point, float))
    assert got[0] == height
    assert got[1].tolist() == slope


@pytest.mark.parametrize(
    ("landscape", "minimum"), [(Quadratic([1, 10]), [0, 0]), (Rosenbrock(7), [1, 1])], ids=["bowl", "valley"]
)
def test_minimum_is_where_it_is_said_to_be(landscape, minimum, rng):
    height, slope = landscape.loss_and_grad(np.array(minimum, float))
    assert height == 0
    assert not slope.any()
    assert (landscape.loss(rng.normal(0, 2, (100, 2))) > 0).all()


@each_landscape
def test_many_points_at_once_have_the_heights_of_each_alone(landscape, rng):
    points = rng.normal(0, 1, (4, 5, landscape.size))
    heights = landscape.loss(points)
    assert heights.shape == (4, 5)
    assert heights.dtype == np.float64
    for i in np.ndindex(4, 5):
        assert heights[i] == landscape.loss(points[i])


@each_landscape
def test_gradient_has_the_width_of_the_weights(landscape, width):
    point = np.full(landscape.size, 0.5, width)
    before = point.tobytes()
    height, slope = landscape.loss_and_grad(point)
    assert isinstance(height, float)
    assert slope.dtype == width
    assert slope.shape == point.shape
    assert point.tobytes() == before


@each_landscape
def test_a_landscape_shows_its_settings(landscape):
    assert eval(repr(landscape)).loss(np.ones(landscape.size)) == landscape.loss(np.ones(landscape.size))


def test_drifting_bowl_is_the_same_bowl_around_its_minimum(width):
    still, moving = (
        Quadratic([1.0, 8.0]),
        Quadratic([1.0, 8.0], drift=[0.25, -0.5]),
    )  # exact in binary, and so is all here
    away = np.array([2.0, 0.5], width)
    for step in (0, 1, 6):
        point = away + width(step) * np.array([0.25, -0.5], width)
        assert moving.loss(point, step) == still.loss(away)
        assert moving.loss_and_grad(point, step)[1].tolist() == still.loss_and_grad(away)[1].tolist()
        if step:
            assert moving.noisy_grad(point, 0, step).tolist() == still.noisy_grad(away, 0, step).tolist()


def test_gradient_descent_lags_behind_a_drifting_minimum_as_worked_out():
    # Where y = x - drift*t has come to rest, a step makes (y - drift)*(1 - lr*curvature) of it.
    curvature, drift, lr = np.array([0.5, 2.0]), np.array([0.01, -0.02]), 0.25
    bowl = Quadratic(curvature, drift=drift, start=0.0)
    run = lnb.train(bowl, None, lnb.SGD(lr), steps=400, dtype="float64")
    lag = -drift * (1 - lr * curvature) / (lr * curvature)
    np.testing.assert_allclose(run.params - 400 * drift, lag, rtol=1e-9)  # 400 roundings of numbers up to 8
    assert run.history.train_loss.iloc[-1] == pytest.approx((curvature * lag**2).sum() / 2, rel=1e-9)


def test_a_bowl_without_drift_is_known_by_the_settings_it_always_had():
    assert "drift" not in Quadratic([1.0, 2.0]).settings()
    assert Quadratic([1.0, 2.0], drift=[0, 0]) == Quadratic([1.0, 2.0])
    assert Quadratic([1.0, 2.0], drift=[0, 1]) != Quadratic([1.0, 2.0])


# ------------------------------------------------------------------------------------------------ two basins, a game

WELLS = [DoubleWell(), DoubleWell(-0.4, barrier=0.3), DoubleWell(0, barrier=2), DoubleWell(1.5)]


@pytest.mark.parametrize("well", WELLS, ids=repr)
def test_minima_and_ridge_are_where_the_slope_vanishes(well):
    (left, right), ridge = well.minima, well.ridge
    assert left < ridge < right
    for x, bends in ((left, 1), (ridge, -1), (right, 1)):
        slope = well.loss_and_grad(np.array([x]))[1]
        beside = well.loss_and_grad(np.array([x + STEP]))[1] - well.loss_and_grad(np.array([x - STEP]))[1]
        assert abs(slope[0]) <= 1e-14 * 8  # a rounding of x times the curvature there, at most 4*2*(3 - 1)
        assert np.sign(beside[0]) == bends


@pytest.mark.parametrize("well", WELLS, ids=repr)
def test_tilt_makes_the_basins_unequally_deep(well):
    left, right = well.heights(np.array(well.minima)[:, None])
    assert np.sign(right - left) == np.sign(well.tilt)


def test_basins_end_at_the_ridge():
    well = DoubleWell(0.25, replicas=4)
    ridge = well.ridge
    params = np.array([-5.0, np.nextafter(ridge, -1), ridge, np.nextafter(ridge, 1)])
    assert well.basin(params).tolist() == [-1, -1, 0, 1]
    assert well.basin(np.stack([params, params])).shape == (2, 4)
    assert well.basin(np.full(4, np.nan)).tolist() == [0, 0, 0, 0]


def test_each_basin_keeps_what_starts_in_it():
    well = DoubleWell(start=0.0, spread=0.7, replicas=40)
    start = well.init(3, "float64")
    end = lnb.train(well, None, lnb.SGD(0.05), steps=120, seed=3, dtype="float64").params
    assert well.basin(start).tolist() == well.basin(end).tolist()
    assert set(well.basin(end)) == {-1, 1}
    np.testing.assert_allclose(end, np.where(well.basin(start) < 0, *well.minima), atol=1e-6)


def test_game_turns_outwards_and_lookahead_turns_it_inwards():
    game, inner = Bilinear(2.0), lnb.SGD(0.15)
    alone = lnb.train(game, None, inner, steps=20, dtype="float64")
    pulled = lnb.train(game, None, lnb.Lookahead(inner, slow_step_size=0.4), steps=20, dtype="float64")
    for run, factor in (
        (alone, theory.game_multiplier(0.15, 2, 1, 1) ** 20),
        (pulled, theory.game_multiplier(0.15, 2, 5, 0.4) ** 4),
    ):
        assert run.params[0] + 1j * run.params[1] == pytest.approx((1 + 1j) * factor, rel=1e-12)
        assert run.history.train_loss.iloc[-1] == pytest.approx(abs(factor) ** 2, rel=1e-12)
    assert game.loss(alone.params) > game.loss(game.init()) > game.loss(pulled.params)


# ---------------------------------------------------------------------------------------- replicas, starts, noise

NOISY = {
    "moving bowl": Quadratic([1.0, 10.0], drift=[0.3, -0.01], noise=[0.5, 0.1], spread=0.5, replicas=3),
    "bowl": Quadratic([1.0, 10.0, 0.1], noise=[0.5, 0.0, 2.0], spread=0.5, replicas=3),
    "valley": Rosenbrock(2.0, noise=0.3, replicas=5),
    "two basins": DoubleWell(noise=0.7, start=0.0, spread=1.0, replicas=7),
    "game": Bilinear(0.5, noise=[0.1, 0.2], replicas=2),
    "alone": DoubleWell(noise=0.2),
    "without noise": Quadratic([1.0, 3.0], spread=1.0, replicas=2),
}
each_noisy = pytest.mark.parametrize("landscape", NOISY.values(), ids=NOISY)


def alone(landscape):
    """The same landscape with one replica."""
    return eval(repr(landscape).replace(f"replicas={landscape.replicas}", "replicas=1"))


@each_noisy
def test_replicas_are_each_alone(landscape, width):
    params = landscape.init(5, width) * width(1.25)
    loss, slope = landscape.loss_and_grad(params)
    noisy = landscape.noisy_grad(params, 5, 9)
    points, single = landscape.points(params), alone(landscape)
    assert points.shape == (landscape.replicas, landscape.n)
    heights = [single.loss(point) for point in points]
    assert landscape.heights(points).tolist() == heights
    assert loss == pytest.approx(np.mean(heights), rel=1e-15 * landscape.size)  # added in another order
    assert slope.tobytes() == b"".join(single.loss_and_grad(point)[1].tobytes() for point in points)
    assert noisy[: landscape.n].tobytes() == single.noisy_grad(points[0], 5, 9).tobytes()
    assert slope.dtype == noisy.dtype == width


@each_noisy
def test_noise_is_a_function_of_seed_step_and_position(landscape, width):
    params = landscape.init(0, width)
    slope = landscape.loss_and_grad(params, 3)[1]
    numbers = philox.normals(landscape.size, 11, philox.NOISE, 3).astype(width)
    noise = np.tile(landscape.noise.astype(width), landscape.replicas)
    expected = [fma(*each) for each in zip(noise, numbers, slope, strict=True)]
    got = landscape.noisy_grad(params, 11, 3)
    assert got.tolist() == expected
    assert got.tobytes() == landscape.noisy_grad(params, 11, 3).tobytes()
    for other in ((11, 4), (12, 3), (11 + 2**32, 3)):
        assert (got != landscape.noisy_grad(params, *other)).any() == landscape.noise.any()


def test_without_noise_there_is_only_the_slope(width):
    landscape = NOISY["without noise"]
    params = landscape.init(0, width)
    assert landscape.noisy_grad(params, 1, 1).tobytes() == landscape.loss_and_grad(params)[1].tobytes()


def test_noise_has_the_stated_deviation_in_each_coordinate():
    stats = pytest.importorskip("scipy.stats")
    replicas, steps, deviations = (2000, 10, np.array([0.5, 3.0])) if not NO_JIT else (20, 2, np.array([0.5, 3.0]))
    landscape = Quadratic([1.0, 1.0], noise=deviations, replicas=replicas)
    params = np.zeros(landscape.size)
    drawn = [landscape.points(landscape.noisy_grad(params, 3, t)) for t in range(1, steps + 1)]
    numbers = np.concatenate(drawn) / deviations
    count, level = len(numbers), 1e-6 / (2 + 2 + 3) / 2  # seven asserts share a false alarm of 1e-6
    assert (np.abs(numbers.mean(0)) <= stats.norm.isf(level) / np.sqrt(count)).all()
    squares = (numbers**2).sum(0)
    assert (stats.chi2.ppf(level, count) <= squares).all()
    assert (squares <= stats.chi2.isf(level, count)).all()
    first, second = np.array(drawn[:2]) / deviations
    other = landscape.points(landscape.noisy_grad(params, 4, 1)) / deviations
    for a, b in ((first, second), (first, other), (first[:, 0], first[:, 1])):  # by step, by seed, by coordinate
        # The sum of products of normal numbers; a bound by Bernstein covers small counts too.
        bound = -np.log(level)
        assert abs((a * b).sum()) <= np.sqrt(2 * bound * a.size) + 2 * bound


@each_noisy
def test_start_is_the_given_point_with_the_given_spread(landscape, width):
    points = landscape.points(landscape.init(2, width))
    numbers = philox.normals(landscape.size, 2, philox.WEIGHTS).reshape(points.shape)
    expected = landscape.start + landscape.spread * numbers if landscape.spread.any() else landscape.start
    assert points.tolist() == np.broadcast_to(expected, points.shape).astype(width).tolist()
    assert landscape.init(2, width).tobytes() == landscape.init(2, width).tobytes()
    assert (landscape.init(3, "float64") != landscape.init(2, "float64")).any() == landscape.spread.any()


@each_noisy
def test_loss_of_many_buffers_at_once(landscape):
    params = np.stack([landscape.init(seed, "float64") for seed in range(6)]).reshape(2, 3, -1)
    losses = landscape.loss(params)
    assert losses.shape == (2, 3)
    assert all(losses[i] == landscape.loss(params[i]) for i in np.ndindex(2, 3))
    assert landscape.loss(params[:0]).shape == (0, 3)
    assert landscape.loss(params[:, ::2]).tolist() == losses[:, ::2].tolist()


@each_noisy
def test_a_landscape_is_known_by_its_settings(landscape):
    same, other = eval(repr(landscape)), eval(repr(landscape).replace("replicas=", "replicas=1"))
    assert same == landscape
    assert hash(same) == hash(landscape)
    assert other != landscape
    assert all(isinstance(value, (str, int, float)) for value in landscape.settings().values())


def test_settings_cannot_be_changed_behind_its_back():
    landscape = Quadratic([1.0, 2.0], noise=[1.0, 2.0])
    for array in (landscape.curvatures, landscape.noise, landscape.start, landscape.spread):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


# ------------------------------------------------------------------------------------------------ whole runs

RULES = {
    "plain": lnb.SGD(0.02),
    "keep": lnb.Lookahead(lnb.SGD(0.02, momentum=0.5), sync_period=3, slow_step_size=0.3),
    "reset": lnb.Lookahead(lnb.AdamW(0.05), sync_period=4, slow_step_size=0.3, inner_state="reset"),
    "interpolate": lnb.Lookahead(lnb.AdamW(0.05), sync_period=2, slow_step_size=0.3, inner_state="interpolate"),
    "average": lnb.Lookahead(lnb.RMSprop(0.02), sync_period=3, slow_step_size=0.3, pull_back=False),
    "in turn": lnb.Lookahead(lnb.SGD(0.02), sync_period=2, slow_step_size=(0.3, 0.8)),
    "schedule-free": lnb.ScheduleFreeAdamW(0.05, beta1=0.7),
}
each_rule = pytest.mark.parametrize("opt", RULES.values(), ids=RULES)


@each_rule
@each_noisy
def test_run_has_the_bits_of_stepping_by_hand(landscape, opt, width):
    steps, seed = 7, 3
    run = lnb.train(landscape, None, opt, steps=steps, eval_every=1, seed=seed, dtype=width)
    params = landscape.init(seed, width)
    state = opt.init(params)
    lookahead = isinstance(opt, lnb.Lookahead)
    fast, slow = [landscape.loss(params)], [landscape.loss(params)]
    for t in range(1, steps + 1):
        before = params.copy(), state.to_arrays()
        grad = landscape.noisy_grad(params, seed, t)
        opt.step(params, grad, state)
        with opt.slow_weights(params, state) if hasattr(opt, "slow_weights") else nullcontext():
            slow.append(landscape.loss(params, t))
        if lookahead and opt.pull_back and t % opt.sync_period == 0:  # where the inner rule alone would have gone
            kept = {name: value for name, value in before[1].items() if "slow" not in name and "synced" not in name}
            kept["settings"] = opt.inner.init(before[0]).to_arrays()["settings"]
            opt.inner.step(before[0], grad, opt.inner.restore(kept))
            fast.append(landscape.loss(before[0], t))
        else:
            fast.append(landscape.loss(params, t))
    assert run.params.tobytes() == params.tobytes()
    assert run.diverged_at is None
    for name, value in state.to_arrays().items():
        assert np.array_equal(run.state.to_arrays()[name], value)
    history = run.history
    assert history[history.weights == "fast"].train_loss.tolist() == fast
    assert history[history.weights == "slow"].train_loss.tolist() == (slow if hasattr(opt, "slow_weights") else [])
    assert (history.status == "ok").all()
    others = ["validation_loss", "test_loss", "train_accuracy", "validation_accuracy", "test_accuracy"]
    assert history[others].isna().all(axis=None)


ADAPTIVE = lnb.Lookahead(lnb.AdamW(0.05), sync_period=2, slow_step_size="adaptive")


@pytest.mark.parametrize(
    ("name", "opt"),
    [
        ("bowl", RULES["interpolate"]),
        ("moving bowl", RULES["interpolate"]),
        ("bowl", RULES["in turn"]),
        ("alone", ADAPTIVE),
    ],
)
def test_run_may_be_cut_anywhere(name, opt, monkeypatch):
    landscape = NOISY[name]
    whole = lnb.train(landscape, None, opt, steps=9, eval_every=2, dtype="float64")
    monkeypatch.setattr(engine_cpu, "NUMBERS_AT_ONCE", 2 * landscape.size)
    cut = lnb.train(landscape, None, opt, steps=9, eval_every=2, dtype="float64")
    assert cut.params.tobytes() == whole.params.tobytes()
    assert cut.history.equals(whole.history)
    assert cut.state.slow_steps == whole.state.slow_steps


def test_adaptive_steps_go_as_by_hand_but_for_one_replica_only(width):
    run = lnb.train(NOISY["alone"], None, ADAPTIVE, steps=7, seed=3, dtype=width)
    params = NOISY["alone"].init(3, width)
    state = ADAPTIVE.init(params)
    for t in range(1, 8):
        ADAPTIVE.step(params, NOISY["alone"].noisy_grad(params, 3, t), state)
    assert run.params.tobytes() == params.tobytes()
    assert run.state.slow_steps == state.slow_steps
    with pytest.raises(ValueError, match="opt must have given slow steps where replicas=3"):
        lnb.train(NOISY["bowl"], None, ADAPTIVE, steps=2)
    with pytest.raises(ValueError, match=r"configs\[1\] must have given slow steps where replicas=3"):
        lnb.sweep(NOISY["bowl"], None, [lnb.AdamW(), ADAPTIVE], seeds=1, steps=2, progress=False)


@each_noisy
def test_weights_at_chosen_steps_have_the_bits_of_runs_of_that_length(landscape, width, monkeypatch):
    monkeypatch.setattr(engine_cpu, "NUMBERS_AT_ONCE", 4 * landscape.size)
    at, opts = [1, 2, 6, 9], list(RULES.values())
    found = weights_at(landscape, opts, at, seed=3, dtype=width)
    assert found.dtype == width
    assert found.shape == (len(opts), len(at), 2, landscape.size)
    for i, opt in enumerate(opts):
        for j, steps in enumerate(at):
            run = lnb.train(landscape, None, opt, steps=steps, seed=3, dtype=width)
            assert found[i, j, 0].tobytes() == run.params.tobytes()
            assert np.isnan(found[i, j, 1]).all() if run.slow is None else np.array_equal(found[i, j, 1], run.slow)


def test_weights_of_a_run_are_nan_from_where_it_diverged():
    well, opts = DoubleWell(replicas=2), [lnb.SGD(0.01), lnb.Lookahead(lnb.SGD(10.0))]
    with overflow():
        found = weights_at(well, opts, [1, 2, 20], dtype="float64")
        assert lnb.train(well, None, opts[1], steps=20, dtype="float64").diverged_at in range(3, 20)
    assert np.isfinite(found[0, :, 0]).all()
    assert np.isfinite(found[1, :2]).all()
    assert np.isnan(found[1, 2]).all()


def test_batch_size_and_rows_are_ignored():
    landscape = NOISY["valley"]
    plain, other = (
        lnb.train(landscape, None, RULES["keep"], steps=4, **how) for how in ({}, {"batch_size": 7, "eval_rows": 3})
    )
    assert plain.history.equals(other.history)


def test_sweep_has_the_bits_of_each_run_alone():
    landscape, opts = NOISY["two basins"], list(RULES.values())
    rows = lnb.sweep(landscape, None, opts, seeds=2, steps=6, eval_every=3, dtype="float64", progress=False)
    for opt in opts:
        for seed in range(2):
            history = lnb.train(landscape, None, opt, steps=6, eval_every=3, seed=seed, dtype="float64").history
            part = rows[rows.run == history.run.iloc[0]].reset_index(drop=True)
            assert len(part) == len(history)
            assert (
                part[history.columns]
                .astype(object)
                .where(part.notna(), None)
                .equals(history.astype(object).where(history.notna(), None))
            )


def test_runs_that_share_their_noise_diverge_each_alone(monkeypatch):
    landscape = Quadratic([1.0, 3.0], noise=0.5, spread=1.0, replicas=3)
    monkeypatch.setattr(engine_cpu, "NUMBERS_AT_ONCE", 4 * landscape.size)
    base = lnb.Lookahead(lnb.SGD(0.1, momentum=0.5), sync_period=3)
    opts = lnb.grid(base, lr=[0.1, 1e30, 0.2, 1e12], slow_step_size=[0.2, 0.9])
    how = {"steps": 10, "eval_every": 1, "dtype": "float32"}
    with overflow():
        rows = lnb.sweep(landscape, None, opts, seeds=[4, 9], progress=False, **how)
        alone = [lnb.train(landscape, None, opt, seed=seed, **how) for opt in opts for seed in (4, 9)]
    expected = pd.concat([run.history for run in alone], ignore_index=True)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    assert len({run.diverged_at for run in alone}) == 3  # never, at once, and somewhat later


def overflow():
    """Where plain Python warns of what compiled code passes over."""
    return np.errstate(all="ignore") if NO_JIT else nullcontext()


@pytest.mark.parametrize(
    ("landscape", "lr"), [(DoubleWell(), 10.0), (Quadratic([1.0, 2.0]), 1e30)], ids=["well", "bowl"]
)
def test_run_that_leaves_every_bound_is_frozen_there(landscape, lr, width):
    opt = lnb.Lookahead(lnb.SGD(lr), sync_period=4, slow_step_size=0.5)
    with overflow():
        run = lnb.train(landscape, None, opt, steps=40, eval_every=1, dtype=width)
        params = landscape.init(0, width)
        state = opt.init(params)
        for t in range(1, 41):
            grad = landscape.noisy_grad(params, 0, t)
            if not np.isfinite(grad).all():
                break
            opt.inner.step(before := params.copy(), grad, opt.inner.init(params))
            if not np.isfinite(before).all():
                params = before
                break
            opt.step(params, grad, state)
    assert run.diverged_at == t < 40
    assert run.params.tobytes() == params.tobytes()
    late = run.history.step >= t
    assert (run.history.status[late] == "diverged").all()
    assert run.history.train_loss[late].isna().all()
    assert (run.history.status[run.history.train_loss.notna()] == "ok").all()


# ------------------------------------------------------------------------------------------------ paths


def walk(landscape, opt, start, steps):
    """The path of the weights by hand, as they are after each step, and of the slow ones."""
    params = start.copy()
    state = opt.init(params)
    fast, slow = [params.copy()], [params.copy()]
    for _ in range(steps):
        opt.step(params, landscape.loss_and_grad(params)[1], state)
        fast.append(params.copy())
        slow.append(getattr(state, "slow", params).copy())
    return np.array(fast), np.array(slow)


def test_path_of_a_plain_optimizer_is_that_of_its_steps(width):
    start = START.astype(width)
    fast, slow = trace(Rosenbrock(), ADAMW, start, STEPS)
    assert fast.tobytes() == walk(Rosenbrock(), ADAMW, start, STEPS)[0].tobytes()
    assert fast.dtype == width
    assert slow is None


@pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_slow_path_holds_the_slow_weights_after_each_step(opt, width):
    start = START.astype(width)
    _, slow = trace(Rosenbrock(), opt, start, STEPS)
    assert slow.tobytes() == walk(Rosenbrock(), opt, start, STEPS)[1].tobytes()
    assert slow.shape == (STEPS + 1, 2)


@pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_fast_path_shows_where_the_inner_rule_went_before_each_pull(opt):
    fast, slow = trace(Rosenbrock(), opt, START, STEPS)
    after, _ = walk(Rosenbrock(), opt, START, STEPS)
    for t in range(1, STEPS + 1):
        if t % opt.sync_period:
            assert fast[t].tobytes() == after[t].tobytes()
            continue
        # One step fewer brings the same weights and state to the door of this sync; the inner rule alone goes on.
        params = START.copy()
        state = opt.init(params)
        for _ in range(t - 1):
            opt.step(params, Rosenbrock().loss_and_grad(params)[1], state)
        stored = {
            name: value for name, value in state.to_arrays().items() if "slow" not in name and "synced" not in name
        }
        stored["settings"] = opt.inner.init(params).to_arrays()["settings"]
        opt.inner.step(params, Rosenbrock().loss_and_grad(params)[1], opt.inner.restore(stored))
        assert np.abs(fast[t] - params).max() <= WORKED_BACK
        assert np.abs(slow[t] - slow[t - 1] - opt.slow_step_size * (fast[t] - slow[t - 1])).max() <= WORKED_BACK


def test_without_pull_back_the_fast_path_is_that_of_the_inner_rule():
    opt = lnb.Lookahead(ADAMW, sync_period=3, slow_step_size=0.3, pull_back=False)
    fast, slow = trace(Quadratic([1, 9]), opt, START, STEPS)
    assert fast.tobytes() == trace(Quadratic([1, 9]), ADAMW, START, STEPS)[0].tobytes()
    assert slow.tobytes() == walk(Quadratic([1, 9]), opt, START, STEPS)[1].tobytes()


def test_no_steps_leave_the_start_alone():
    fast, slow = trace(Rosenbrock(), OPTIMIZERS["keep"], START, 0)
    assert fast.tolist() == slow.tolist() == [START.tolist()]


def test_start_is_not_changed():
    start = START.copy()
    trace(Rosenbrock(), OPTIMIZERS["keep"], start, STEPS)
    assert start.tobytes() == START.tobytes()
    start.flags.writeable = False
    assert trace(Rosenbrock(), SGD, start, 2)[0].shape == (3, 2)


def test_lookahead_averages_out_what_gradient_descent_overshoots():
    # A rate of 1.5/curvature flips the sign at every step and halves the size: 1, -1/2, 1/4, and so on.
    fast, slow = trace(Quadratic([2.0]), lnb.Lookahead(lnb.SGD(0.75), sync_period=1), np.array([1.0]), 2)
    assert fast.ravel().tolist() == [1, -0.5, -0.125]
    assert slow.ravel().tolist() == [1, 0.25, 0.0625]


# ------------------------------------------------------------------------------------------------ arguments

BAD = {
    "curvature 0": (lambda: Quadratic([1, 0]), ValueError, r"curvatures\[1\] must be .*above 0, got 0"),
    "curvature negative": (lambda: Quadratic([-1]), ValueError, r"curvatures\[0\] must be .*got -1"),
    "curvature NaN": (lambda: Quadratic([1, np.nan]), ValueError, r"curvatures\[1\] must be .*got nan"),
    "curvature inf": (lambda: Quadratic([np.inf]), ValueError, r"curvatures\[0\] must be .*got inf"),
    "curvature text": (lambda: Quadratic(["1"]), TypeError, r"curvatures\[0\] must be .*got '1'"),
    "curvatures 2-D": (lambda: Quadratic(np.ones((2, 2))), TypeError, r"curvatures\[0\] must be .*array"),
    "bend 0": (lambda: Rosenbrock(0), ValueError, "bend must be .*above 0, got 0"),
    "bend NaN": (lambda: Rosenbrock(np.nan), ValueError, "bend must be .*got nan"),
    "bend None": (lambda: Rosenbrock(None), TypeError, "bend must be .*got None"),
    "noise negative": (lambda: Rosenbrock(noise=-1), ValueError, "noise must be .*at least 0, got -1"),
    "one noise NaN": (lambda: Quadratic([1, 1], noise=[1, np.nan]), ValueError, r"noise\[1\] must be .*nan"),
    "noise of another length": (lambda: Rosenbrock(noise=[1, 2, 3]), ValueError, r"noise must be .*\(2,\).*\(3,\)"),
    "noise text": (lambda: DoubleWell(noise="1"), TypeError, "noise must be .*'1'"),
    "drift inf": (lambda: Quadratic([1.0], drift=np.inf), ValueError, "drift must be .*got inf"),
    "drift of another length": (lambda: Quadratic([1.0], drift=[1, 2]), ValueError, r"drift must be .*\(1,\).*\(2,\)"),
    "loss of a step": (lambda: Quadratic([1.0]).loss(np.ones(1), -1), ValueError, "step must be .*got -1"),
    "start inf": (lambda: DoubleWell(start=np.inf), ValueError, "start must be .*inf"),
    "start of another length": (lambda: Bilinear(start=np.ones(1)), ValueError, r"start must be .*\(2,\).*\(1,\)"),
    "spread negative": (lambda: Bilinear(spread=-0.5), ValueError, r"spread must be .*got -0\.5"),
    "replicas 0": (lambda: DoubleWell(replicas=0), ValueError, "replicas must be .*at least 1, got 0"),
    "replicas 2.5": (lambda: DoubleWell(replicas=2.5), TypeError, r"replicas must be .*got 2\.5"),
    "tilt too steep": (lambda: DoubleWell(1.6), ValueError, r"tilt must be .*\(-1\.5396, 1\.5396\), got 1\.6"),
    "barrier 0": (lambda: DoubleWell(barrier=0), ValueError, "barrier must be .*above 0, got 0"),
    "strength 0": (lambda: Bilinear(0), ValueError, "strength must be .*above 0, got 0"),
    "seed": (lambda: DoubleWell().init(-1), ValueError, "seed must be .*got -1"),
    "dtype": (lambda: DoubleWell().init(0, "int8"), ValueError, "dtype must be .*'int8'"),
    "step 0": (lambda: DoubleWell().noisy_grad(np.ones(1), 0, 0), ValueError, "step must be .*got 0"),
    "step too late": (lambda: DoubleWell().noisy_grad(np.ones(1), 0, 2**32), ValueError, "step must be .*4294967296"),
    "seed of noise": (lambda: DoubleWell().noisy_grad(np.ones(1), 0.5, 1), TypeError, r"seed must be .*0\.5"),
    "many buffers": (lambda: DoubleWell().loss_and_grad(np.ones((2, 1))), ValueError, r"params must be \(1,\), got"),
    "text for weights": (lambda: DoubleWell().loss(np.array(["1"])), TypeError, "params must hold real numbers"),
    "complex weights": (lambda: DoubleWell().loss(np.array([1j])), TypeError, "params must hold real numbers"),
    "masked weights": (lambda: DoubleWell().loss(np.ma.ones(1)), TypeError, "params must be a plain array"),
    "points": (lambda: Rosenbrock(replicas=2).heights(np.ones(4)), ValueError, r"points must be .*2\), got \(4,\)"),
    "basins of points": (lambda: DoubleWell(replicas=2).basin(np.ones(3)), ValueError, r"params must be .*2\), got"),
    "data": (lambda: lnb.train(DoubleWell(), 5, SGD), TypeError, "data must be None for a landscape, got int"),
    "no model": (lambda: lnb.train(DoubleWell, None, SGD), TypeError, "model must be .*a landscape, got <class"),
    "weights of no landscape": (
        lambda: weights_at(lnb.MLP((4, 3, 2)), [SGD], [1]),
        TypeError,
        "landscape must be .*MLP",
    ),
    "weights of one optimizer": (lambda: weights_at(DoubleWell(), SGD, [1]), TypeError, r"opts must be a list .*SGD\("),
    "weights of no optimizer": (lambda: weights_at(DoubleWell(), [SGD, 5], [1]), TypeError, r"opts\[1\] must .*got 5"),
    "weights at a step": (lambda: weights_at(DoubleWell(), [SGD], 5), TypeError, "at must be a list of steps, got 5"),
    "weights at no step": (lambda: weights_at(DoubleWell(), [SGD], []), ValueError, r"at must hold .*got \[\]"),
    "weights at step 0": (lambda: weights_at(DoubleWell(), [SGD], [0, 1]), ValueError, r"at\[0\] must .*got 0"),
    "weights at falling steps": (lambda: weights_at(DoubleWell(), [SGD], [2, 1]), ValueError, r"at must .*\[2, 1\]"),
    "weights of a seed": (lambda: weights_at(DoubleWell(), [SGD], [1], seed=-1), ValueError, "seed must .*got -1"),
    "start of whole numbers": (lambda: trace(Rosenbrock(), SGD, [1, 2], 1), TypeError, "start must be .*int64"),
    "start 2-D": (lambda: trace(Rosenbrock(), SGD, [[1.0, 2.0]], 1), ValueError, "start must be 1-D"),
    "start NaN": (lambda: trace(Rosenbrock(), SGD, [np.nan, 1.0], 1), ValueError, r"start\[0\] must be .* nan"),
    "start of a replay inf": (lambda: replay(SGD, [1.0, np.inf], []), ValueError, r"start\[1\] must be .* inf"),
    "slow_step_size 0": (
        lambda: trace(Rosenbrock(), lnb.Lookahead(SGD, slow_step_size=0), START, 1),
        ValueError,
        "slow_step_size must be above 0 .*got 0",
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name_and_value(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()


FLAT = np.ones(3)
REPORTED = {
    "steps 2.5": (lambda: trace(Rosenbrock(), SGD, START, 2.5), TypeError, r"steps must .*2\.5"),
    "steps -1": (lambda: trace(Rosenbrock(), SGD, START, -1), ValueError, "steps must .*-1"),
    "no optimizer": (lambda: trace(Rosenbrock(), "sgd", START, 1), TypeError, "optimizer must .*'sgd'"),
    "curvatures a number": (lambda: Quadratic(5), TypeError, "curvatures must .*5"),
    "no curvatures": (lambda: Quadratic([]), ValueError, "curvatures must"),
    "one curvature for three weights": (lambda: Quadratic([1]).loss_and_grad(FLAT), ValueError, "params must"),
    "two curvatures for three weights": (lambda: Quadratic([1, 2]).loss(FLAT), ValueError, "params must"),
    "three weights in the plane": (lambda: Rosenbrock().loss_and_grad(FLAT), ValueError, "params must"),
}


@pytest.mark.parametrize("bad", REPORTED.values(), ids=REPORTED)
def test_more_that_is_to_be_refused_by_name_and_value(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()


def test_a_path_that_leaves_every_bound_says_so():
    with pytest.raises(FloatingPointError, match="step"):
        trace(Rosenbrock(), lnb.SGD(0.1), START, STEPS)


WIDE = {
    "start": lambda: Quadratic([1.0, 2.0], start=[0.0, -1e39]),
    "spread": lambda: Quadratic([1.0], spread=1e39),
    "noise": lambda: Quadratic([1.0], noise=1e39),
    "curvatures": lambda: Quadratic([1.0, 1e39]),
    "drift": lambda: Quadratic([1.0], drift=1e39),
    "barrier": lambda: DoubleWell(barrier=1e39),
    "strength": lambda: Bilinear(1e39),
    "bend": lambda: Rosenbrock(1e39),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WIDE)
def test_a_setting_that_overflows_float32_is_refused(name):
    landscape = WIDE[name]()
    sentence = rf"^{name} must be at most 3\.4028234663852886e\+38 in size for float32, got -?1e\+39$"
    for use in (
        landscape.init,
        lambda: landscape.loss_and_grad(np.ones(landscape.size, np.float32)),
        lambda: lnb.train(landscape, None, lnb.SGD(), steps=1),
        lambda: lnb.sweep(landscape, None, [lnb.SGD()], seeds=1, steps=1, eval_every=1, progress=False),
    ):
        with pytest.raises(ValueError, match=sentence):
            use()
    assert np.isfinite(landscape.init(0, "float64")).all()
