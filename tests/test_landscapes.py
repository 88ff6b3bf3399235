"""Surfaces with known shapes: gradients, minima, and the paths of optimizers on them."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.landscapes import Quadratic, Rosenbrock, trace

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
    "curvature 0": (lambda: Quadratic([1, 0]), ValueError, r"curvatures\[1\] must be .*above 0, not 0"),
    "curvature negative": (lambda: Quadratic([-1]), ValueError, r"curvatures\[0\] must be .*not -1"),
    "curvature NaN": (lambda: Quadratic([1, np.nan]), ValueError, r"curvatures\[1\] must be .*not nan"),
    "curvature inf": (lambda: Quadratic([np.inf]), ValueError, r"curvatures\[0\] must be .*not inf"),
    "curvature text": (lambda: Quadratic(["1"]), TypeError, r"curvatures\[0\] must be .*not '1'"),
    "curvatures 2-D": (lambda: Quadratic(np.ones((2, 2))), TypeError, r"curvatures\[0\] must be .*array"),
    "bend 0": (lambda: Rosenbrock(0), ValueError, "bend must be .*above 0, not 0"),
    "bend NaN": (lambda: Rosenbrock(np.nan), ValueError, "bend must be .*not nan"),
    "bend None": (lambda: Rosenbrock(None), TypeError, "bend must be .*not None"),
    "start of whole numbers": (lambda: trace(Rosenbrock(), SGD, [1, 2], 1), TypeError, "params must be .*int64"),
    "start 2-D": (lambda: trace(Rosenbrock(), SGD, [[1.0, 2.0]], 1), ValueError, "params must be 1-D"),
    "start NaN": (lambda: trace(Rosenbrock(), SGD, [np.nan, 1.0], 1), FloatingPointError, r"grad\[0\] = nan"),
    "slow_step_size 0": (
        lambda: trace(Rosenbrock(), lnb.Lookahead(SGD, slow_step_size=0), START, 1),
        ValueError,
        "slow_step_size must be above 0 .*not 0",
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
