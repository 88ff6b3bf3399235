"""The quadratic over rows and its data: the stated loss, its gradient, fixed bits, training, what is refused."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.models import FiniteSumQuadratic
from tests.support import reference

CLOSE = {"float32": 1e-5, "float64": 1e-13}  # sums of a dozen numbers in another order

each_width = pytest.mark.parametrize("dtype", CLOSE)


def problem(n=4, rows=11):
    rng = np.random.default_rng(5)
    factor = rng.normal(size=(n, n))
    hessian = factor @ factor.T
    return FiniteSumQuadratic((hessian + hessian.T) / 2, start=rng.normal(size=n)), rng.normal(2, 1, (rows, n))


@each_width
def test_loss_and_gradient_follow_the_reference(dtype):
    model, X = problem()
    params = model.init(3, dtype)
    loss, grad = model.loss_and_grad(params, X)
    expected, slope = reference.finite_sum_quadratic(model.start, X, model.hessian)
    assert loss == pytest.approx(expected, rel=CLOSE[dtype])
    np.testing.assert_allclose(grad, slope, rtol=CLOSE[dtype])
    assert grad.dtype == params.dtype == dtype
    assert model.loss(params, X) == loss


def test_by_hand():
    model = FiniteSumQuadratic([[2.0, 0.0], [0.0, 1.0]], start=1.0)
    loss, grad = model.loss_and_grad(model.init(dtype="float64"), np.array([[0.0, 0.0], [1.0, 3.0]]))
    assert (loss, grad.tolist()) == ((1 + 0.5 + 0 + 2) / 2, [1.0, -0.5])


def test_off_the_diagonal_by_hand():
    model = FiniteSumQuadratic([[2.0, 1.0], [1.0, 3.0]])
    loss, grad = model.loss_and_grad(np.array([1.0, 2.0]), np.zeros((1, 2)))
    assert (loss, grad.tolist()) == (0.5 * (2 + 4 + 12), [4.0, 7.0])


@each_width
def test_a_row_counts_the_same_wherever_it_stands(dtype):
    """The bits of a product do not depend on how many rows there are."""
    model, X = problem(rows=7)
    params = model.init(0, dtype)
    alone = [model.loss_and_grad(params, row[None]) for row in X]
    loss, grad = model.loss_and_grad(params, X)
    total = np.zeros_like(grad)
    for _, of_row in alone:
        total += of_row
    assert grad.tobytes() == (total / params.dtype.type(7)).tobytes()
    assert loss == pytest.approx(np.mean([each for each, _ in alone]), rel=1e-14 if dtype == "float64" else 1e-6)


def test_the_minimum_is_the_mean_of_the_rows():
    model, X = problem()
    _, grad = model.loss_and_grad(X.mean(axis=0), X)
    np.testing.assert_allclose(grad, 0, atol=1e-14)
    at_mean = model.loss(X.mean(axis=0), X)
    assert all(model.loss(X.mean(axis=0) + step, X) > at_mean for step in np.eye(4) * 1e-3)


@each_width
def test_a_run_is_stepping_by_hand(dtype):
    model, X = problem(rows=10)
    data = lnb.datasets.unlabelled(X, X[:3], X[3:])
    opt = lnb.Lookahead(lnb.SGD(0.02, momentum=0.9), sync_period=3)
    run = lnb.train(model, data, opt, steps=8, batch_size=3, seed=1, dtype=dtype, order="repeated", eval_every=8)
    params = model.init(1, dtype)
    state = opt.init(params)
    for _, batch in zip(range(8), lnb.minibatches(10, 3, seed=1, order="repeated"), strict=False):
        opt.step(params, model.loss_and_grad(params, data.X_train[batch])[1], state)
    assert run.params.tobytes() == params.tobytes()
    losses = run.history.query("step == 8 and weights == 'fast'").iloc[0]
    assert losses["test_loss"] != losses["validation_loss"] != losses["train_loss"]
    assert np.isnan(losses["test_accuracy"])


def test_a_rate_too_large_diverges():
    model, X = problem()
    data = lnb.datasets.unlabelled(X, X, X)
    run = lnb.train(model, data, lnb.SGD(1e6), steps=40, batch_size=11, eval_every=40)
    assert 0 < run.diverged_at <= 10
    assert run.history["status"].tolist() == ["ok", "diverged"]


def test_the_arrays_given_are_copied():
    hessian, start = np.eye(2), np.ones(2)
    model = FiniteSumQuadratic(hessian, start)
    hessian[:], start[:] = 5, 5
    assert (model.hessian == np.eye(2)).all()
    assert model.init(0).tolist() == model.init(1).tolist() == [1, 1]
    model.init(0)[:] = 7
    assert model.start.tolist() == [1, 1]
    with pytest.raises(ValueError, match="read-only"):
        model.hessian[0, 0] = 2
    assert repr(model) == "FiniteSumQuadratic(size=2)"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([[1.0, 2.0]],), ValueError, r"hessian must be \(n, n\) with n at least 1, got \(1, 2\)"),
        (([],), ValueError, r"hessian must be \(n, n\) with n at least 1, got \(0,\)"),
        (([[1.0, 2.0], [2.1, 1.0]],), ValueError, "hessian must be symmetric in every bit: pass"),
        (([[np.nan]],), ValueError, "hessian must be finite, got NaN or infinity"),
        (([["one"]],), TypeError, "hessian must hold real numbers, got"),
        (([[1.0]], [1.0, 2.0]), ValueError, r"start must be a number or \(1,\), got \(2,\)"),
        (([[1.0]], np.inf), ValueError, "start must be finite, got NaN or infinity"),
    ],
)
def test_what_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        FiniteSumQuadratic(*arguments)


@pytest.mark.parametrize("shapes", [((3,), (4, 2)), ((2,), (4, 3)), ((2,), (2,)), ((2,), (0, 2))])
def test_rows_of_another_shape_are_refused(shapes):
    params, X = map(np.zeros, shapes)
    for measure in (FiniteSumQuadratic(np.eye(2)).loss, FiniteSumQuadratic(np.eye(2)).loss_and_grad):
        with pytest.raises(ValueError, match=r"params must be \(2,\) and X \(rows, 2\), with at least one row, got"):
            measure(params, X)


def test_what_overflows_is_refused_where_training_begins():
    with pytest.raises(ValueError, match=r"start must be at most .* for float32, got 1e\+39"):
        FiniteSumQuadratic([[1.0]], 1e39).init()
    with pytest.raises(ValueError, match=r"hessian must be at most .* for float32, got 1e\+39"):
        FiniteSumQuadratic([[1e39]]).init(dtype="float32")
    assert FiniteSumQuadratic([[1e39]]).init(dtype="float64").tolist() == [0]


def test_a_sweep_says_what_to_do_instead():
    model, X = problem()
    data = lnb.datasets.unlabelled(X, X, X)
    with pytest.raises(TypeError, match=r"got FiniteSumQuadratic.*: train accepts it"):
        lnb.sweep(model, data, [lnb.SGD()], seeds=1)


# ---------------------------------------------------------------------------------------------------------- its data


def test_unlabelled_rows_are_left_as_they_are():
    parts = [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]
    data = lnb.datasets.unlabelled(*parts)
    for name, rows in zip(("train", "validation", "test"), parts, strict=True):
        X = getattr(data, f"X_{name}")
        assert X.dtype == np.float32
        assert X.tolist() == rows
        assert getattr(data, f"y_{name}").tolist() == [0] * len(rows)
        assert data.scaling(rows).tobytes() == X.tobytes()
    assert [*data.rows_train, *data.rows_validation, *data.rows_test] == [*range(6)]
    assert (data.n_features, data.n_classes, data.classes.tolist()) == (2, 1, [0])
    assert "2/1/3 rows, 2 features" in repr(data)
    assert "<table" in data._repr_html_()


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        (([[1.0]], [[1.0, 2.0]], [[1.0]]), ValueError, "validation must have the 1 columns of train, got 2"),
        (([[1.0]], [[1.0]], [1.0]), ValueError, "test must be a table of numbers, but X must be a table"),
        (([["a"]], [[1.0]], [[1.0]]), TypeError, "train must be a table of numbers, but X must hold numbers"),
        (([[1.0]], [[1e50]], [[1.0]]), ValueError, "validation must be a table of numbers, but .* overflows"),
        (([[1.0]], [[1.0]], np.empty((0, 1))), ValueError, "test must be a table of numbers, but X must be a table"),
    ],
)
def test_what_is_no_table_of_rows_is_refused(parts, error, words):
    with pytest.raises(error, match=words):
        lnb.datasets.unlabelled(*parts)
