"""The largest curvature: known Hessians, the preconditioner of a run, and the number of gradients."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.theory.curvature import curvature_along, largest_curvature

NEAR = 1e-6  # relative: central differences, and an eigenvalue that has converged
CLOSE = 0.03  # relative: twenty products instead of one for each weight


def rows(n, features, classes, seed=0):
    generator = np.random.Generator(np.random.Philox(seed))
    X = generator.normal(size=(n, features)) * np.linspace(2, 0.3, features)
    return X, generator.integers(0, classes, n)


def softmax_hessian(X, p):
    """The Hessian of the mean cross-entropy of softmax regression, in the order of the flat buffer."""
    classes, features = p.shape[1], X.shape[1]
    size = classes * (features + 1)
    hessian = np.zeros((size, size))
    place = [[*range(k * features, (k + 1) * features), classes * features + k] for k in range(classes)]
    ones = np.hstack([X, np.ones((len(X), 1))])
    for i in range(classes):
        for j in range(classes):
            weight = p[:, i] * ((i == j) - p[:, j])
            hessian[np.ix_(place[i], place[j])] = ones.T @ (weight[:, None] * ones) / len(X)
    return hessian


@pytest.fixture
def softmax():
    """Softmax regression at a random point, its rows and its Hessian."""
    X, y = rows(60, 5, 3)
    model = lnb.LogisticRegression(5, n_classes=3)
    params = np.random.Generator(np.random.Philox(1)).normal(size=model.size) * 0.3
    return model, params, X, y, softmax_hessian(X, model.predict_proba(params, X))


def test_it_is_the_largest_eigenvalue_of_a_known_hessian(softmax):
    model, params, X, y, hessian = softmax
    found = largest_curvature(model, params, X, y, iterations=model.size)
    assert found.value == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=NEAR)


def test_the_preconditioner_scales_both_sides(softmax):
    model, params, X, y, hessian = softmax
    D = np.geomspace(0.1, 30, model.size)
    expected = np.linalg.eigvalsh(np.sqrt(D)[:, None] * hessian * np.sqrt(D))[-1]
    found = largest_curvature(model, params, X, y, preconditioner=D, iterations=model.size)
    assert found.value == pytest.approx(expected, rel=NEAR)
    assert largest_curvature(model, params, X, y, preconditioner=7.0, iterations=99).value == pytest.approx(
        7 * np.linalg.eigvalsh(hessian)[-1], rel=NEAR
    )


def test_the_penalty_adds_its_weight():
    X, y = rows(40, 1, 2)
    model = lnb.LogisticRegression(1, l2=50.0)
    p = 0.5  # at zero weights
    hessian = p * (1 - p) * np.array([[(X**2).mean(), X.mean()], [X.mean(), 1]]) + np.diag([50.0, 0])
    found = largest_curvature(model, np.zeros(2), X, y, iterations=2)
    assert found.value == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=NEAR)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_twenty_products_are_enough_for_a_network(activation):
    X, y = rows(80, 6, 4, seed=2)
    model = lnb.MLP((6, 7, 4), activation=activation)
    params = model.init(3, "float64")
    slopes = [model.loss_and_grad(params + 1e-5 * axis, X, y)[1] for axis in np.eye(model.size)]
    slopes -= np.array([model.loss_and_grad(params - 1e-5 * axis, X, y)[1] for axis in np.eye(model.size)])
    D = np.geomspace(5, 0.2, model.size)
    values = np.linalg.eigvalsh(np.sqrt(D)[:, None] * (slopes + slopes.T) / 4e-5 * np.sqrt(D))
    assert values[0] < 0  # some directions curve downwards
    found = largest_curvature(model, params, X, y, preconditioner=D)
    assert values[-1] * (1 - CLOSE) < found.value <= values[-1] * (1 + NEAR)
    assert found.gradients == 40


def test_it_ends_when_the_basis_is_complete():
    model = lnb.LogisticRegression(3)
    found = largest_curvature(model, np.zeros(4), np.ones((5, 3)), np.zeros(5, int), iterations=20)
    assert found.value == pytest.approx(0.25 * 4, rel=NEAR)  # one direction, (1, 1, 1, 1), and three flat ones
    assert found.gradients <= 2 * 4


def test_the_first_vector_follows_from_the_seed(softmax):
    model, params, X, y, _ = softmax
    values = [largest_curvature(model, params, X, y, iterations=2, seed=seed).value for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_along_a_run_it_is_that_of_the_weights_and_of_v():
    data, model, opt = lnb.datasets.load("checkerboard"), lnb.MLP((2, 6, 2)), lnb.AdamW(0.02, beta1=0.8, beta2=0.99)
    found = curvature_along(model, data, opt, [3, 10], batch_size=16, seed=5, rows=50, iterations=4)
    assert found["step"].tolist() == [3, 10]
    assert found["gradients"].tolist() == [8, 8]
    run = lnb.train(model, data, opt, steps=10, batch_size=16, seed=5)
    v = run.state.to_arrays()["v"].astype(np.float64) / (1 - 0.99**10)
    chosen = np.floor(np.arange(50) * len(data.X_train) / 50).astype(int)
    expected = largest_curvature(
        model, run.params.astype(np.float64), data.X_train[chosen], data.y_train[chosen],
        preconditioner=1 / (np.sqrt(v) + 1e-8), iterations=4, seed=5,
    )  # fmt: skip
    assert found["curvature"].iloc[-1] == pytest.approx(expected.value, rel=NEAR)


def test_few_rows_are_all_taken():
    data = lnb.datasets.load("checkerboard").subset(20, 0)
    one, other = (
        curvature_along(lnb.MLP((2, 3, 2)), data, lnb.Adam(), [2], batch_size=8, rows=rows) for rows in (20, 1000)
    )
    assert one.equals(other)


def test_lookahead_is_measured_at_its_fast_weights():
    data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 4, 2))
    wrapped = lnb.Lookahead(lnb.AdamW(0.01), sync_period=50)
    one, other = (curvature_along(model, data, opt, [7], rows=40) for opt in (lnb.AdamW(0.01), wrapped))
    assert one.equals(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 1}, "model must be a LogisticRegression or an MLP"),
        ({"params": np.zeros(3)}, "params must be"),
        ({"preconditioner": np.ones(2)}, r"preconditioner must be a number or \(4,\) like params, got \(2,\)"),
        ({"preconditioner": 0.0}, "preconditioner must be .* got 0"),
        ({"iterations": 0}, "iterations must be .* got 0"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_a_wrong_argument_is_refused(change, message):
    right = {"model": lnb.LogisticRegression(3), "params": np.zeros(4), "X": np.ones((5, 3)), "y": np.zeros(5, int)}
    with pytest.raises((TypeError, ValueError), match=message):
        largest_curvature(**right | change)


def test_a_run_that_cannot_be_measured_is_refused():
    data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 3, 2))
    with pytest.raises(TypeError, match="opt must be Adam or AdamW, or Lookahead or EMA around one, got"):
        curvature_along(model, data, lnb.SGD(0.1), [1])
    with pytest.raises(ValueError, match="at"):
        curvature_along(model, data, lnb.Adam(), [5, 3])
    with pytest.raises(ValueError, match="rows must be"):
        curvature_along(model, data, lnb.Adam(), [5], rows=0)
    with pytest.raises(FloatingPointError, match="seed 0 diverged at step"):
        curvature_along(model, data, lnb.Adam(1e30), [5])
