"""Losses whose rows have weights, and squared error: values, gradients and bits of the compiled functions."""

import numpy as np
import pytest
from conftest import NO_JIT

from lookahead_nb.kernels.cpu import network
from lookahead_nb.models.dense import MLP, DenseLayers
from tests.support import reference_network as reference

AGREEMENT = 1e-13  # float64 against float64, relative to the largest element: a few hundred roundings of 1.1e-16
COMPLEX_STEP = 1e-200  # leaves no trace in the real part

CLASSIFIERS = [((5, 3), "relu"), ((4, 2), "relu"), ((5, 7, 3), "tanh"), ((4, 6, 5, 2), "sigmoid"), ((3, 4, 4), "relu")]
REGRESSORS = [((4, 1), "relu"), ((4, 2), "relu"), ((4, 5, 3), "relu"), ((3, 6, 2), "tanh"), ((3, 4, 5, 1), "sigmoid")]


def titles(networks):
    return ["-".join(map(str, widths)) for widths, _ in networks]


each_classifier = pytest.mark.parametrize(("widths", "activation"), CLASSIFIERS, ids=titles(CLASSIFIERS))
each_regressor = pytest.mark.parametrize(("widths", "activation"), REGRESSORS, ids=titles(REGRESSORS))


def drawn(layers, width, rows=9):
    """Params with biases that are not 0, X and weights; all three the same in both widths."""
    rng = np.random.default_rng(0)
    params = layers.init(0, "float32") + rng.normal(0, 0.3, layers.size).astype("f")
    X, weights = rng.normal(0, 1, (rows, layers.n_features)).astype("f"), rng.uniform(0.1, 3, rows).astype("f")
    return params.astype(width), X.astype(width), weights.astype(width)


def computed(function, layers, params, X, targets, weights, l2=0.0):
    """Loss and gradient of a compiled function."""
    width = params.dtype.type
    grad, work = np.full(layers.size, np.nan, width), np.empty(network.work_size(layers.sizes, len(X)), width)
    shares = (weights / weights.sum()).astype(width)
    code = layers.activation_code
    return function(width)(params, X, targets, shares, layers.sizes, code, width(l2), grad, work), grad


def close(got, wanted, bound=AGREEMENT):
    return np.max(np.abs(got - wanted)) <= bound * max(1, np.max(np.abs(wanted)))


@each_classifier
def test_weighted_cross_entropy_agrees_with_matrix_algebra(widths, activation):
    model = MLP(widths, activation=activation)
    params, X, weights = drawn(model, np.float64)
    y = np.arange(len(X)) % widths[-1]
    loss, grad = computed(network.weighted_loss_and_grad, model, params, X, y, weights)
    assert close(loss, reference.loss(params, X, y, widths, activation, weights=weights))
    assert close(grad, reference.gradient(params, X, y, widths, activation, weights=weights))


@pytest.mark.parametrize("l2", [0.3, 1.0])
@each_classifier
def test_the_penalty_does_not_depend_on_the_weights_of_rows(widths, activation, l2):
    model = MLP(widths, activation=activation)
    params, X, weights = drawn(model, np.float64)
    y = np.arange(len(X)) % widths[-1]
    loss, grad = computed(network.weighted_loss_and_grad, model, params, X, y, weights, l2)
    assert close(loss, reference.loss(params, X, y, widths, activation, l2, weights))
    assert close(grad, reference.gradient(params, X, y, widths, activation, l2, weights))


@pytest.mark.parametrize("rows", [3, 300])
@each_classifier
def test_weighted_evaluation_agrees_with_matrix_algebra(widths, activation, rows, width, monkeypatch):
    if NO_JIT:
        rows = min(rows, 8)
        monkeypatch.setattr(network, "ROWS_AT_ONCE", 5)
    model = MLP(widths, activation=activation)
    params, X, weights = drawn(model, np.float32, rows)
    params, X, weights = params.astype(width), X.astype(width), weights.astype(float)
    y = np.arange(rows) % widths[-1]
    work = np.empty(network.work_size(model.sizes, network.ROWS_AT_ONCE), width)
    shape = model.sizes, model.activation_code, work
    loss, accuracy = network.weighted_evaluate(width)(params, X, y, weights, *shape)
    exact = params.astype(float), X.astype(float)
    bound = AGREEMENT if width == np.float64 else 1e-5
    assert close(loss, reference.loss(*exact, y, widths, activation, weights=weights), bound)
    right = reference.probabilities(*exact, widths, activation).argmax(axis=1) == y
    assert close(accuracy, np.average(right, weights=weights))
    equal = network.weighted_evaluate(width)(params, X, y, np.ones(rows), *shape)
    assert equal == network.evaluate(width)(params, X, y, *shape)


def test_shares_of_a_minibatch_by_hand():
    shares = np.empty(3, np.float32)
    network.shares_of(np.array([5.0, 1.0, 2.0, 7.0]), np.array([2, 1, 0]), shares)
    assert shares.tolist() == [0.25, 0.125, 0.625]


@each_regressor
def test_squared_error_agrees_with_matrix_algebra(widths, activation):
    layers = DenseLayers(widths, activation)
    params, X, weights = drawn(layers, np.float64)
    targets = np.random.default_rng(1).normal(0, 2, (len(X), widths[-1]))
    loss, grad = computed(network.squared_loss_and_grad, layers, params, X, targets, weights)
    assert close(loss, reference.squared_loss(params, X, targets, widths, activation, weights))
    assert close(grad, reference.squared_gradient(params, X, targets, widths, activation, weights))


@each_regressor
def test_gradient_of_the_squared_error_agrees_with_the_complex_step(widths, activation):
    layers = DenseLayers(widths, activation)
    params, X, weights = drawn(layers, np.float64)
    targets = np.random.default_rng(1).normal(0, 2, (len(X), widths[-1]))
    ahead = params + 1j * COMPLEX_STEP * np.eye(params.size)
    slopes = [reference.squared_loss(p, X, targets, widths, activation, weights).imag / COMPLEX_STEP for p in ahead]
    assert close(computed(network.squared_loss_and_grad, layers, params, X, targets, weights)[1], slopes)


@each_classifier
def test_gradient_of_the_weighted_cross_entropy_agrees_with_the_complex_step(widths, activation):
    model = MLP(widths, activation=activation)
    params, X, weights = drawn(model, np.float64)
    y = np.arange(len(X)) % widths[-1]
    ahead = params + 1j * COMPLEX_STEP * np.eye(params.size)
    slopes = [reference.loss(p, X, y, widths, activation, weights=weights).imag / COMPLEX_STEP for p in ahead]
    assert close(computed(network.weighted_loss_and_grad, model, params, X, y, weights)[1], slopes)


def test_squared_error_by_hand():
    # One weight 3 and bias 1: outputs 7 and 10 of the inputs 2 and 3, errors 2 and -1 against 5 and 11.
    # With shares 1/4 and 3/4: loss 4/2/4 + 3*1/2/4 = 0.875, slopes 2*2/4 - 3*3/4 = -1.25 and 2/4 - 3/4 = -0.25.
    layers = DenseLayers((1, 1), "relu")
    X, targets = np.array([[2.0], [3.0]]), np.array([[5.0], [11.0]])
    arguments = layers, np.array([3.0, 1.0]), X, targets, np.array([1.0, 3.0])
    loss, grad = computed(network.squared_loss_and_grad, *arguments)
    assert (loss, grad.tolist()) == (0.875, [-1.25, -0.25])


@pytest.mark.parametrize("rows", [1, 3, 6, 7, 11])
@each_classifier
def test_equal_weights_give_the_bits_of_the_gradient_without_weights(widths, activation, rows, width):
    model = MLP(widths, activation=activation)
    params, X, _ = drawn(model, width, rows)
    y = np.arange(rows) % widths[-1]
    weighted = computed(network.weighted_loss_and_grad, model, params, X, y, np.ones(rows))
    loss, grad = model.loss_and_grad(params, X, y)
    assert weighted[1].tobytes() == grad.tobytes()
    assert abs(weighted[0] - loss) <= 10 * np.finfo(width).eps * max(1, loss)


@each_regressor
def test_float32_is_the_exact_gradient_within_its_rounding(widths, activation):
    layers = DenseLayers(widths, activation)
    params, X, weights = drawn(layers, np.float32)
    targets = np.random.default_rng(1).normal(0, 2, (len(X), widths[-1])).astype("f")
    loss, grad = computed(network.squared_loss_and_grad, layers, params, X, targets, weights)
    exact = [a.astype(float) for a in (params, X, targets)]
    assert grad.dtype == np.float32
    assert close(loss, reference.squared_loss(*exact, widths, activation, weights), 1e-5)
    assert close(grad, reference.squared_gradient(*exact, widths, activation, weights), 1e-5)


def test_outputs_agree_with_matrix_algebra(monkeypatch):
    rows = 300
    if NO_JIT:
        rows = 8
        monkeypatch.setattr(network, "ROWS_AT_ONCE", 5)
    widths = (4, 5, 2)
    layers = DenseLayers(widths, "tanh")
    params, X, _ = drawn(layers, np.float64, rows)
    got = layers.outputs(params, X)
    assert got.shape == (rows, 2)
    assert close(got, reference.passes(params, X, widths, "tanh", classes=False)[1][-1])
    assert got[:3].tobytes() == layers.outputs(params, X[:3]).tobytes()


@pytest.mark.jit
def test_same_bits_in_python_and_compiled(width):
    layers, model = DenseLayers((3, 4, 2), "tanh"), MLP((3, 4, 3))
    for network_, function, python, targets in (
        (layers, network.squared_loss_and_grad, network._squared_loss_and_grad, np.ones((9, 2), width)),
        (model, network.weighted_loss_and_grad, network._weighted_loss_and_grad, np.arange(9) % 3),
    ):
        params, X, weights = drawn(network_, width)
        loss, grad = computed(function, network_, params, X, targets, weights)
        plain = computed(lambda _, python=python: python, network_, params, X, targets, weights)
        assert plain[0] == loss
        assert plain[1].tobytes() == grad.tobytes()


def test_layers_refuse_rows_that_do_not_fit():
    layers = DenseLayers((3, 2), "relu")
    with pytest.raises(ValueError, match=r"X must be \(rows, 3\) with at least one row, got \(2, 2\)"):
        layers.outputs(layers.init(), np.ones((2, 2)))
