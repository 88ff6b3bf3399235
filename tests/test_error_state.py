"""No result depends on the floating-point error state of the user's program, as ``np.seterr`` sets it."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.claims import curves, inference

PACKAGE = Path(lnb.__file__).parent
UNDERFLOWS = 6656  # the first step of AdamW whose power of beta1 is below all float64


@pytest.fixture(params=["raise", "ignore", "warn"])
def state(request):
    """The user's error state."""
    with np.errstate(all=request.param):
        before = np.geterr()
        yield request.param
        assert np.geterr() == before


def stepped(opt, steps, width=np.float64):
    params = np.ones(2, width)
    state = opt.init(params)
    for _ in range(steps):
        opt.step(params, np.ones(2, width), state)
    return params.tolist()


@pytest.mark.parametrize("opt", [lnb.AdamW(1e-3), lnb.Lookahead(lnb.Adam(1e-3), inner_state="interpolate")])
def test_steps_go_on_below_the_least_power(opt, state):
    with np.errstate():
        np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
        expected = stepped(opt, UNDERFLOWS + 20)
    assert stepped(opt, UNDERFLOWS + 20) == expected


def test_training_goes_on_below_the_least_power(state):
    X, y = np.array([[1.0, 1e-3], [2.0, 1.0]] * 20), np.arange(40) // 3 % 2
    data = lnb.datasets.from_arrays(X, y)
    how = {"steps": UNDERFLOWS + 20, "batch_size": 1, "eval_every": UNDERFLOWS}
    run = lnb.train(lnb.MLP((2, 2)), data, lnb.AdamW(), **how)
    rows = lnb.sweep(lnb.MLP((2, 2)), data, [lnb.AdamW()], seeds=1, progress=False, **how)
    pd.testing.assert_frame_equal(rows, run.history, check_exact=True)


def test_schedules_with_tiny_rates(state):
    assert lnb.schedules.linear(5e-324, 4).rates(4)[-1] == 0
    assert stepped(lnb.SGD(lnb.schedules.cosine(1e-308, 9)), 9) == [1, 1]


def test_slow_steps_below_the_least_float32(state):
    assert stepped(lnb.Lookahead(lnb.SGD(0.5), sync_period=2, slow_step_size=1e-46), 4, np.float32) == [1, 1]


def test_models_with_tiny_numbers(state):
    model = lnb.MLP((2, 3, 2), activation="sigmoid")
    params = model.init(0)
    X = [[1e-50, 1e-320], [1.0, 2.0]]
    loss, grad = model.loss_and_grad(params, X, [0, 1])
    assert np.isfinite(loss)
    assert np.isfinite(grad).all()
    assert model.predict(params, X).shape == (2,)
    well = lnb.landscapes.DoubleWell()
    assert np.isfinite(well.loss(np.array([1e-200])))
    assert lnb.landscapes.Quadratic([1.0]).loss(np.array([1e-200])) == 0


def test_closed_forms_far_out(state):
    mean, variance = theory.sgd_moments(10_000, 0.5, 1.0, 5, 0.5, 1.0)
    assert mean == 0
    assert variance > 0
    assert theory.sgd_rate(1.0, 1.0, 1000, 1.0) == 0
    cycle = theory.Cycle.of(lnb.Lookahead(lnb.SGD(0.5)), curvature=1.0, noise=1.0)
    assert all(np.isfinite(part).all() for part in cycle.transient(10_000))


def test_curves_and_statistics_of_zero(state):
    assert np.isfinite(curves.log_losses(pd.Series([0.0, 1.0]))).all()
    assert inference.mean_benefit([[1e-200, 3e-200], [1e-200, 3e-200]]).value == pytest.approx(2e-200)


def functions_of(path):
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


OF_THEORY = [f"theory/{file.name}" for file in sorted((PACKAGE / "theory").glob("[a-z]*.py"))]


@pytest.mark.parametrize("path", [*OF_THEORY, "claims/statistics.py", "claims/curves.py"])
def test_every_public_function_of_arithmetic_has_the_default_error_state(path):
    free = [node.name for node in functions_of(path) if "default_errors" not in map(ast.unparse, node.decorator_list)]
    assert functions_of(path)
    assert free == []
