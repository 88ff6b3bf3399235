"""Optimizers as methods of ``scipy.optimize.minimize``: steps by hand, results at the slow weights, callbacks."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, minimize, rosen, rosen_der

import lookahead_nb as lnb
from lookahead_nb.adapters.scipy import method
from tests.support.cases import INNER

CURVATURES = np.array([1.0, 0.25])
LOOKAHEAD = lnb.Lookahead(lnb.SGD(0.5), sync_period=2, slow_step_size=0.5)
START = [3.0, -2.0]


def bowl(x):
    """A quadratic with its gradient."""
    return 0.5 * float(CURVATURES @ x**2), CURVATURES * x


def minimized(opt, fun=bowl, x0=START, **how):
    return minimize(fun, x0, jac=how.pop("jac", True), method=method(opt), **how)


def test_steps_by_hand():
    # x/2 at every step: 8, 4, 2, and halves of squares
    result = minimize(
        lambda x: (0.5 * x[0] ** 2, x), [8.0], jac=True, method=method(lnb.SGD(0.5)), options={"maxiter": 2}
    )
    assert (result.x.tolist(), result.fun, result.jac.tolist()) == ([2.0], 2.0, [2.0])
    assert (result.nit, result.nfev, result.njev, result.status, result.success) == (2, 3, 3, 1, False)
    assert result.message == "The maximum number of iterations is reached."


def test_the_result_is_at_the_slow_weights():
    # 8 -> 4 -> 2, the sync goes half of the way from 8: 5; then 2.5, ahead of the next sync
    result = minimize(lambda x: (0.5 * x[0] ** 2, x), [8.0], jac=True, method=method(LOOKAHEAD), options={"maxiter": 3})
    assert (result.x.tolist(), result.fun, result.jac.tolist()) == ([5.0], 12.5, [5.0])
    assert (result.nit, result.nfev) == (3, 5)  # four fast points, and the slow one


@pytest.mark.parametrize(
    "opt", [*INNER.values(), LOOKAHEAD, lnb.Lookahead(INNER["adamw"], pull_back=False), lnb.EMA(INNER["sgd"])], ids=str
)
def test_points_have_the_bits_of_a_manual_loop(opt):
    steps, points = 7, []
    result = minimized(opt, options={"maxiter": steps, "gtol": 0}, callback=points.append)
    params = np.array(START)
    state = opt.init(params)
    for point in points:
        opt.step(params, CURVATURES * params, state)
        assert point.tobytes() == params.tobytes()
    slow = opt.slow_from(params, state)
    assert result.x.tobytes() == (params if slow is None else slow).tobytes()
    assert (result.fun, result.jac.tolist()) == (bowl(result.x)[0], bowl(result.x)[1].tolist())
    assert len(points) == result.nit == steps


@pytest.mark.parametrize("opt", [lnb.SGD(1.0), LOOKAHEAD, lnb.Lookahead(lnb.SGD(1.0), sync_period=7, pull_back=False)])
@pytest.mark.parametrize("gtol", [1e-2, 1e-8])
def test_success_means_a_small_gradient_at_the_result(opt, gtol):
    result = minimized(opt, options={"maxiter": 5000, "gtol": gtol})
    assert (result.success, result.status, result.message) == (True, 0, "The gradient is at most gtol.")
    assert abs(result.jac).max() <= gtol
    earlier = minimized(opt, options={"maxiter": result.nit - 1, "gtol": gtol})
    assert (earlier.success, earlier.status) == (False, 1)


@pytest.mark.jit
def test_the_valley_of_rosenbrock_is_followed_to_its_end():
    opt = lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0), sync_period=5, slow_step_size=0.5)
    result = minimize(rosen, [-1, 2], jac=rosen_der, method=method(opt), tol=1e-6, options={"maxiter": 20000})
    assert result.success
    np.testing.assert_allclose(result.x, [1, 1], atol=1e-4)
    assert abs(rosen_der(result.x)).max() <= 1e-6


def test_a_start_at_the_minimum_takes_no_step():
    result = minimized(lnb.SGD(0.1), x0=[0.0, 0.0])
    assert (result.nit, result.nfev, result.success) == (0, 1, True)
    assert minimized(lnb.SGD(0.1), options={"maxiter": 0}).nit == 0


def test_arguments_are_passed_and_the_function_is_called_once_for_each_evaluation():
    calls = []

    def shifted(x, by, scale):
        calls.append(x)
        return scale * 0.5 * float((x - by) @ (x - by)), scale * (x - by)

    result = minimized(lnb.SGD(0.25), shifted, args=(np.array([1.0, 2.0]), 2.0), tol=1e-9)
    np.testing.assert_allclose(result.x, [1, 2], atol=1e-8)
    assert len(calls) == result.nfev


@pytest.mark.parametrize("jac", [True, lambda x: bowl(x)[1]], ids=["together", "apart"])
def test_the_start_is_not_changed_and_a_function_may_change_what_it_gets(jac):
    def careless(x):
        value, gradient = bowl(x)
        x[:] = np.nan
        return (value, gradient) if jac is True else value

    start = np.array(START)
    result = minimized(LOOKAHEAD, careless, start, jac=jac, options={"maxiter": 5})
    assert start.tolist() == START
    assert result.x.tolist() == minimized(LOOKAHEAD, options={"maxiter": 5}).x.tolist()


# ------------------------------------------------------------------------------------------------------- callbacks


def test_a_callback_gets_each_point_with_its_value():
    results = []

    def report(intermediate_result):
        results.append(intermediate_result)

    minimized(lnb.SGD(0.5), callback=report, options={"maxiter": 3})
    assert [type(each) for each in results] == [OptimizeResult] * 3
    assert [each.fun for each in results] == [bowl(each.x)[0] for each in results]
    np.testing.assert_array_equal(results[0].x, np.array(START) * (1 - 0.5 * CURVATURES))


def test_what_a_callback_gets_is_a_copy():
    def spoil(xk):
        xk[:] = np.nan

    kept = minimized(LOOKAHEAD, callback=spoil, options={"maxiter": 5})
    assert kept.x.tolist() == minimized(LOOKAHEAD, options={"maxiter": 5}).x.tolist()


def test_stop_iteration_ends_the_run():
    points = []

    def stop(xk):
        points.append(xk)
        if len(points) == 4:
            raise StopIteration

    result = minimized(LOOKAHEAD, callback=stop)
    assert (result.nit, result.status, result.success) == (4, 99, False)
    assert result.message == "`callback` raised `StopIteration`."
    assert result.x.tolist() == minimized(LOOKAHEAD, options={"maxiter": 4}).x.tolist()


# ------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("fun", [lambda x: (np.nan, x), lambda x: (1.0, x * np.inf)], ids=["value", "gradient"])
def test_what_is_not_finite_ends_the_run(fun):
    result = minimized(lnb.SGD(0.1), fun)
    assert (result.nit, result.status, result.success) == (0, 2, False)
    assert result.message == "The value, the gradient or the square of the gradient is not finite."


def test_a_gradient_without_a_finite_square_ends_the_run():
    result = minimized(lnb.AdamW(0.1), lambda x: (1.0, np.full(2, 1e200)))
    assert (result.nit, result.status, result.x.tolist()) == (0, 2, START)


def test_disp_prints_the_result(capsys):
    minimized(lnb.SGD(0.5), options={"maxiter": 2, "disp": True})
    assert capsys.readouterr().out == (
        "The maximum number of iterations is reached. Value: 0.574341. Iterations: 2. Evaluations: 3.\n"
    )
    minimized(lnb.SGD(0.5), options={"maxiter": 2})
    assert capsys.readouterr().out == ""


REFUSED = {
    "bounds": ({"bounds": Bounds(0, 1)}, "bounds cannot be used by this method, got Bounds.*: leave it out"),
    "pairs": ({"bounds": [(0, 1), (0, 1)]}, r"bounds cannot be used by this method, got \[\(0, 1\)"),
    "constraints": ({"constraints": LinearConstraint(np.eye(2))}, "constraints cannot be used by this method, got"),
    "a dict": ({"constraints": {"type": "eq", "fun": bowl}}, "constraints cannot be used by this method, got"),
    "hess": ({"hess": lambda x: np.eye(2)}, "hess cannot be used by this method, got"),
    "hessp": ({"hessp": lambda x, p: p}, "hessp cannot be used by this method, got"),
    "no gradient": ({"jac": None}, "jac must give the gradient, got None: pass jac=True with a fun that returns"),
    "differences": ({"jac": "2-point"}, "jac must give the gradient, got .*: pass jac=True"),
    "an option": ({"options": {"ftol": 1e-3}}, "options must be among maxiter, gtol, disp, got ftol"),
    "maxiter": ({"options": {"maxiter": -1}}, "maxiter must be a whole number of at least 0, got -1"),
    "gtol": ({"options": {"gtol": -1.0}}, "gtol must be a finite number of at least 0, got -1"),
    "tol": ({"tol": np.inf}, "gtol must be a finite number of at least 0, got inf"),
    "x0": ({"x0": [np.nan, 1.0]}, "x0 must be finite, got"),
    "a short gradient": ({"fun": lambda x: (1.0, x[:1])}, r"the gradient must have the shape \(2,\) of x0, got \(1,\)"),
    "a complex gradient": ({"fun": lambda x: (1.0, x * 1j)}, "the gradient must hold real numbers, got array"),
    "words": ({"fun": lambda x: (1.0, ["a", "b"])}, "the gradient must hold real numbers, got array"),
    "rows": ({"fun": lambda x: (1.0, [[1], [1, 2]])}, "the gradient must be a rectangular array of numbers, got list"),
    "many values": ({"fun": lambda x: (x, x)}, "fun must return one real number, got array"),
}


@pytest.mark.parametrize(("how", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused(how, sentence):
    with pytest.raises(ValueError, match=sentence):
        minimized(lnb.SGD(0.1), **how)


def test_more_that_is_refused():
    with pytest.raises(TypeError, match="opt must be an inner optimizer, Lookahead or EMA, got 'adam'"):
        method("adam")
    with pytest.raises(TypeError, match=r"maxiter must be a whole number of at least 0, got 2\.5"):
        minimized(lnb.SGD(0.1), options={"maxiter": 2.5})
    with pytest.raises(TypeError, match="disp must be True or False, got 1"):
        minimized(lnb.SGD(0.1), options={"disp": 1})
    with pytest.raises(TypeError, match="the gradient must be a plain array, not a masked one"):
        minimized(lnb.SGD(0.1), lambda x: (1.0, np.ma.masked_less(x, 0)))
    with pytest.raises(TypeError, match="x0 must hold real numbers, got complex128"):
        minimized(lnb.SGD(0.1), x0=[1j, 2])
