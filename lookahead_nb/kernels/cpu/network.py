"""Dense networks on the CPU: loss and hand-written gradient on one flat buffer, without autodiff.

A network is a chain of dense layers ``z = W a + b`` with an activation between them; logistic regression is the chain
of one layer. The flat buffer holds, layer by layer, W (out, in) row by row, then b (out,).

Every sum has one order, so that a run is bit-for-bit identical alone, stacked with others, and in any chunk. Products
are chains over k (``product``), sums over classes and over rows go upwards, and losses are added up in float64.

Notes
-----
Arguments of all functions:

- params : (n,) float32 or float64, the flat buffer.
- X : (rows, features), same width, C-contiguous.
- y : (rows,) int64, labels 0..C-1.
- sizes : (layers + 1,) int64, features, hidden units, logits.
- activation : RELU, TANH or SIGMOID.
- l2 : same width, weight of half the sum of squares of W.
- work : at least ``work_size(sizes, rows)`` numbers of the same width, overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels.compiler import compiled, fma, formula, like
from lookahead_nb.kernels.cpu.product import product
from lookahead_nb.kernels.cpu.step import width_types
from lookahead_nb.kernels.formulas import (
    RELU,
    TANH,
    back,
    biased,
    half_squared_error,
    logistic_loss,
    logit_error,
    output_error,
    relu,
    relu_slope,
    row_share,
    sigmoid,
    sigmoid_slope,
    softmax_loss,
    softmax_share,
    softmax_term,
    tanh,
    tanh_slope,
)

ROWS_AT_ONCE = 256  # rows evaluated together: their activations fit into the cache


def work_size(sizes: Any, rows: int) -> int:
    """Return how many numbers a pass over a batch needs: activations, an error, a transposed copy, losses.

    Parameters
    ----------
    sizes : sequence of int
        Features of the input and of each layer's output.
    rows : int
        Rows of the batch.

    Returns
    -------
    int
    """
    return int(rows * (sum(sizes) + 2 * max(sizes) + 3))


@formula
def _widest(sizes):
    widest = sizes[0]
    for size in sizes:
        widest = max(widest, size)
    return widest


@formula
def _block(work, start, rows, columns):
    return work[start : start + rows * columns].reshape((rows, columns))


@formula
def activate(outputs, activation):
    """Turn the pre-activations of a hidden layer into its activations.

    Parameters
    ----------
    outputs : (features, rows) array
        Changed in place.
    activation : int
        RELU, TANH or SIGMOID.
    """
    for o in range(outputs.shape[0]):
        row = outputs[o]
        if activation == RELU:
            for r in range(row.size):
                row[r] = relu(row[r])
        elif activation == TANH:
            for r in range(row.size):
                row[r] = tanh(row[r])
        else:
            for r in range(row.size):
                row[r] = sigmoid(row[r])


@formula
def _forward(params, X, first, rows, sizes, activation, work):
    """Fill work with the activations (features x rows) of rows from ``first`` on; return where the logits start."""
    inputs = _block(work, 0, sizes[0], rows)
    for f in range(sizes[0]):
        for r in range(rows):
            inputs[f, r] = X[first + r, f]
    at, weight, layers = 0, 0, sizes.size - 1
    for layer in range(layers):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        W = params[weight : weight + fan_in * fan_out].reshape((fan_out, fan_in))
        bias = params[weight + fan_in * fan_out : weight + (fan_in + 1) * fan_out]
        inputs, outputs = _block(work, at, fan_in, rows), _block(work, at + fan_in * rows, fan_out, rows)
        product(W, inputs, outputs)
        for o in range(fan_out):
            row, b = outputs[o], bias[o]
            for r in range(rows):
                row[r] = biased(row[r], b)
        if layer < layers - 1:
            activate(outputs, activation)
        at += fan_in * rows
        weight += (fan_in + 1) * fan_out
    return at


@formula
def _softmax(logits, y, first, probabilities, peak, total, losses):
    """Write the cross-entropy of each row; replace logits (classes x rows) by probabilities if requested."""
    classes, rows = logits.shape
    for r in range(rows):
        peak[r] = logits[0, r]
    for c in range(1, classes):
        row = logits[c]
        for r in range(rows):
            peak[r] = row[r] if row[r] > peak[r] else peak[r]
    for r in range(rows):
        losses[r] = logits[y[first + r], r]
        total[r] = 0
    for c in range(classes):
        row = logits[c]
        for r in range(rows):
            row[r] = softmax_term(row[r], peak[r])
            total[r] = total[r] + row[r]
    for r in range(rows):
        losses[r] = softmax_loss(losses[r], peak[r], total[r])
    if probabilities:
        for c in range(classes):
            row = logits[c]
            for r in range(rows):
                row[r] = softmax_share(row[r], total[r])


@formula
def _logistic(logits, y, first, losses):
    """Replace the logits of a single row of them by the probability of class 1 and write the cross-entropies."""
    row = logits[0]
    for r in range(row.size):
        losses[r] = logistic_loss(row[r], y[first + r])
        row[r] = sigmoid(row[r])


@formula
def _half_square(params, sizes):
    """Return half the sum of squares of all W, biases left out, in float64."""
    total, weight = 0.0, 0
    for layer in range(sizes.size - 1):
        count = sizes[layer] * sizes[layer + 1]
        for i in range(weight, weight + count):
            w = np.float64(params[i])
            total = fma(w, w, total)
        weight += count + sizes[layer + 1]
    return 0.5 * total


@formula
def choose_labels(logits, peak, label):
    """Write the class of the largest logit of each row, the first of equals; a single logit means class 1 above 0.

    Parameters
    ----------
    logits : (classes, rows) array
        float32 or float64.
    peak : (rows,) array
        Of the same width, overwritten.
    label : (rows,) array
        Of the same width, overwritten by the class.
    """
    zero, single = like(logits[0, 0], 0), logits.shape[0] == 1
    for r in range(label.size):
        peak[r] = zero if single else logits[0, r]
        label[r] = zero
    for c in range(0 if single else 1, logits.shape[0]):
        row, number = logits[c], like(zero, max(c, 1))
        for r in range(label.size):
            label[r] = number if row[r] > peak[r] else label[r]
            peak[r] = row[r] if row[r] > peak[r] else peak[r]


@formula
def cross_entropy(logits, y, first, probabilities, space, losses):
    """Write the cross-entropies of rows.

    Parameters
    ----------
    logits : (classes, rows) array
        Become probabilities if requested.
    y : int64 array
        Labels; those of the rows begin at y[first].
    first : int
        The first row.
    probabilities : bool
        Whether the logits become probabilities; a single logit always does.
    space : (2*rows,) array
        Overwritten.
    losses : (rows,) array
        Overwritten by the cross-entropies.
    """
    if logits.shape[0] == 1:
        _logistic(logits, y, first, losses)
    else:
        rows = losses.size
        _softmax(logits, y, first, probabilities, space[:rows], space[rows : 2 * rows], losses)


@formula
def logit_errors(error, y, rows):
    """Turn probabilities into the gradient of the mean loss with respect to the logits.

    Parameters
    ----------
    error : (classes, columns) array
        Changed in place.
    y : (columns,) int64 array
        The labels.
    rows : int
        The mean is over so many rows.
    """
    one = like(error[0, 0], 1)
    share = one / like(one, rows)
    for c in range(error.shape[0]):
        label = 1 if error.shape[0] == 1 else c
        row = error[c]
        for r in range(row.size):
            row[r] = logit_error(row[r], y[r] == label, share)


@formula
def weighted_logit_errors(error, y, shares):
    """Turn probabilities into the gradient of the weighted mean loss with respect to the logits.

    Parameters
    ----------
    error : (classes, rows) array
        Changed in place.
    y : (rows,) int64 array
        The labels.
    shares : (rows,) array
        The weight of each row over the sum of weights, of the same width.
    """
    for c in range(error.shape[0]):
        label = 1 if error.shape[0] == 1 else c
        row = error[c]
        for r in range(row.size):
            row[r] = logit_error(row[r], y[r] == label, shares[r])


@formula
def squared_errors(outputs, targets, shares, losses):
    """Write half the squared error of each row, and turn outputs into the gradient of the weighted mean of these.

    Parameters
    ----------
    outputs : (outputs, rows) array
        Changed in place.
    targets : (rows, outputs) array
        Of the same width.
    shares : (rows,) array
        The weight of each row over the sum of weights, of the same width.
    losses : (rows,) array
        Overwritten by the sums over the outputs.
    """
    for r in range(losses.size):
        losses[r] = like(losses[r], 0)
    for o in range(outputs.shape[0]):
        row = outputs[o]
        for r in range(row.size):
            losses[r] = losses[r] + half_squared_error(row[r], targets[r, o])
            row[r] = output_error(row[r], targets[r, o], shares[r])


@formula
def shares_of(weights, rows, shares):
    """Write the weight of each row of a minibatch over their sum.

    Parameters
    ----------
    weights : (all rows,) float64 array
        Above 0.
    rows : (batch_size,) int64 array
        The rows of the minibatch.
    shares : (batch_size,) array
        float32 or float64; overwritten.
    """
    total = 0.0
    for r in range(rows.size):
        total += weights[rows[r]]
    for r in range(rows.size):
        shares[r] = row_share(weights[rows[r]], total)


@formula
def _weighted_sum(losses, shares):
    total = 0.0
    for r in range(losses.size):
        total = fma(np.float64(shares[r]), np.float64(losses[r]), total)
    return total


@formula
def slope(below, inputs, activation):
    """Turn the outputs of an activation into the error ahead of it: ``below * slope``.

    Parameters
    ----------
    below : (features, rows) array
        The error after the activation.
    inputs : (features, rows) array
        The outputs of the activation; changed in place.
    activation : int
        RELU, TANH or SIGMOID.
    """
    for f in range(inputs.shape[0]):
        error, a = below[f], inputs[f]
        if activation == RELU:
            for r in range(a.size):
                a[r] = back(error[r], relu_slope(a[r]))
        elif activation == TANH:
            for r in range(a.size):
                a[r] = back(error[r], tanh_slope(a[r]))
        else:
            for r in range(a.size):
                a[r] = back(error[r], sigmoid_slope(a[r]))


@formula
def add_penalty(l2, W, dW):
    """Add the gradient of ``l2/2 * sum(W**2)`` to that of W.

    Parameters
    ----------
    l2 : float
        At least 0.
    W, dW : (rows, columns) array
        The weights and their gradient, which is changed in place.
    """
    for o in range(W.shape[0]):
        for f in range(W.shape[1]):
            dW[o, f] = fma(l2, W[o, f], dW[o, f])


@formula
def _penalized(loss, params, sizes, l2):
    """Return a mean loss plus the penalty on W."""
    return loss + np.float64(l2) * _half_square(params, sizes) if l2 > like(l2, 0) else loss


@formula
def _layer_gradient(error, ones, W, inputs_by_row, l2, dW, db):
    product(error, inputs_by_row, dW)
    product(error, ones, db.reshape((db.size, 1)))
    if l2 > like(l2, 0):
        add_penalty(l2, W, dW)


@formula
def _backward(params, X, sizes, activation, l2, at, grad, work):
    """Write the gradient; work holds what :func:`_forward` left, and errors where the logits were, from ``at`` on."""
    rows, layers = X.shape[0], sizes.size - 1
    end, widest = at + sizes[layers] * rows, _widest(sizes) * rows
    error = _block(work, at, sizes[layers], rows)
    ones = work[end + 2 * widest :][:rows].reshape((rows, 1))
    for r in range(rows):
        ones[r, 0] = like(l2, 1)
    weight = grad.size
    for layer in range(layers - 1, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        weight -= (fan_in + 1) * fan_out
        bias = weight + fan_in * fan_out
        W = params[weight:bias].reshape((fan_out, fan_in))
        dW, db = grad[weight:bias].reshape((fan_out, fan_in)), grad[bias : bias + fan_out]
        if layer == 0:
            _layer_gradient(error, ones, W, X, l2, dW, db)
        else:
            at -= fan_in * rows
            inputs = _block(work, at, fan_in, rows)
            by_row, below = _block(work, end, rows, fan_in), _block(work, end + widest, fan_in, rows)
            for f in range(fan_in):
                for r in range(rows):
                    by_row[r, f] = inputs[f, r]
            _layer_gradient(error, ones, W, by_row, l2, dW, db)
            product(W.T, error, below)
            slope(below, inputs, activation)
            error = inputs


def _loss_and_grad(params, X, y, sizes, activation, l2, grad, work):
    rows, logits = X.shape[0], sizes[sizes.size - 1]
    at = _forward(params, X, 0, rows, sizes, activation, work)
    error, end = _block(work, at, logits, rows), at + logits * rows
    losses = work[end : end + rows]
    cross_entropy(error, y, 0, True, work[end + rows :], losses)
    loss = 0.0
    for r in range(rows):
        loss += np.float64(losses[r])
    logit_errors(error, y, rows)
    _backward(params, X, sizes, activation, l2, at, grad, work)
    return _penalized(loss / rows, params, sizes, l2)


def _weighted_loss_and_grad(params, X, y, shares, sizes, activation, l2, grad, work):
    rows, logits = X.shape[0], sizes[sizes.size - 1]
    at = _forward(params, X, 0, rows, sizes, activation, work)
    error, end = _block(work, at, logits, rows), at + logits * rows
    losses = work[end : end + rows]
    cross_entropy(error, y, 0, True, work[end + rows :], losses)
    loss = _weighted_sum(losses, shares)
    weighted_logit_errors(error, y, shares)
    _backward(params, X, sizes, activation, l2, at, grad, work)
    return _penalized(loss, params, sizes, l2)


def _squared_loss_and_grad(params, X, targets, shares, sizes, activation, l2, grad, work):
    rows, outputs = X.shape[0], sizes[sizes.size - 1]
    at = _forward(params, X, 0, rows, sizes, activation, work)
    error, end = _block(work, at, outputs, rows), at + outputs * rows
    losses = work[end : end + rows]
    squared_errors(error, targets, shares, losses)
    loss = _weighted_sum(losses, shares)
    _backward(params, X, sizes, activation, l2, at, grad, work)
    return _penalized(loss, params, sizes, l2)


def _evaluate(params, X, y, sizes, activation, work):
    rows, layers = X.shape[0], sizes.size - 1
    loss, hits = 0.0, 0
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        end = at + sizes[layers] * count
        logits, losses = _block(work, at, sizes[layers], count), work[end : end + count]
        label = work[end + 2 * count : end + 3 * count]
        choose_labels(logits, work[end + count : end + 2 * count], label)
        for r in range(count):
            hits += np.int64(label[r]) == y[first + r]
        cross_entropy(logits, y, first, False, work[end + count :], losses)
        for r in range(count):
            loss += np.float64(losses[r])
    return loss / rows, hits / rows


def _weighted_evaluate(params, X, y, weights, sizes, activation, work):
    rows, layers = X.shape[0], sizes.size - 1
    loss, hits, total = 0.0, 0.0, 0.0
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        end = at + sizes[layers] * count
        logits, losses = _block(work, at, sizes[layers], count), work[end : end + count]
        label = work[end + 2 * count : end + 3 * count]
        choose_labels(logits, work[end + count : end + 2 * count], label)
        for r in range(count):
            if np.int64(label[r]) == y[first + r]:
                hits += weights[first + r]
            total += weights[first + r]
        cross_entropy(logits, y, first, False, work[end + count :], losses)
        for r in range(count):
            loss = fma(weights[first + r], np.float64(losses[r]), loss)
    return loss / total, hits / total


def _predict(params, X, sizes, activation, out, work):
    rows = X.shape[0]
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        logits = _block(work, at, sizes[sizes.size - 1], count)
        end = at + logits.size
        label = work[end + count : end + 2 * count]
        choose_labels(logits, work[end : end + count], label)
        for r in range(count):
            out[first + r] = np.int64(label[r])


def _probabilities(params, X, y, sizes, activation, out, work):
    rows = X.shape[0]
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        logits = _block(work, at, sizes[sizes.size - 1], count)
        end = at + logits.size
        if logits.shape[0] == 1:
            for r in range(count):
                out[first + r, 0] = sigmoid(-logits[0, r])
                out[first + r, 1] = sigmoid(logits[0, r])
        else:
            losses, space = work[end : end + count], work[end + count :]
            cross_entropy(logits, y, first, True, space, losses)
            for r in range(count):
                for c in range(logits.shape[0]):
                    out[first + r, c] = logits[c, r]


def _outputs(params, X, sizes, activation, out, work):
    rows, outputs = X.shape[0], sizes[sizes.size - 1]
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        for o in range(outputs):
            for r in range(count):
                out[first + r, o] = work[at + o * count + r]


def signatures(width: Any) -> tuple[Any, Any, Any, Any]:
    """Return the signatures of (loss_and_grad, evaluate, predict, probabilities), for other compiled code.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    tuple of 4 signatures
    """
    scalar, vector, readonly = width_types(width)
    matrix = types.Array(scalar, 2, "C", readonly=True)
    labels = types.Array(types.int64, 1, "C", readonly=True)
    shape = (labels, types.int64)
    return (
        types.float64(readonly, matrix, labels, *shape, scalar, vector, vector),
        types.UniTuple(types.float64, 2)(readonly, matrix, labels, *shape, vector),
        types.void(readonly, matrix, *shape, types.int64[::1], vector),
        types.void(readonly, matrix, labels, *shape, scalar[:, ::1], vector),
    )


@lru_cache(None)
def loss_and_grad(width: Any) -> Callable:
    """Return the compiled function that computes loss and gradient.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, y, sizes, activation, l2, grad, work) -> loss``. The loss is the mean cross-entropy plus
        ``l2/2 * sum(W**2)``, float64. grad, (n,), is overwritten by its gradient.
    """
    return compiled(signatures(width)[0], nogil=True)(_loss_and_grad)


@lru_cache(None)
def weighted_loss_and_grad(width: Any) -> Callable:
    """Return the compiled function that computes a weighted loss and its gradient.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, y, shares, sizes, activation, l2, grad, work) -> loss``. The loss is the sum over the rows of
        shares times cross-entropies plus ``l2/2 * sum(W**2)``, float64. grad, (n,), is overwritten by its gradient.
        shares, (rows,) of the same width, add up to 1; with equal ones the gradient has the bits of
        :func:`loss_and_grad`.
    """
    return compiled(weighted_signatures(width)[0], nogil=True)(_weighted_loss_and_grad)


@lru_cache(None)
def squared_loss_and_grad(width: Any) -> Callable:
    """Return the compiled function that computes a weighted squared loss and its gradient.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, targets, shares, sizes, activation, l2, grad, work) -> loss``. The loss is the sum over the rows
        of shares times half the squared distance between outputs and targets plus ``l2/2 * sum(W**2)``, float64. grad,
        (n,), is overwritten by its gradient. targets : (rows, outputs) of the same width. shares : as in
        :func:`weighted_loss_and_grad`. The last of sizes is the number of outputs.
    """
    targets = types.Array(width_types(width)[0], 2, "C", readonly=True)
    return compiled(_signature_with_shares(width, targets), nogil=True)(_squared_loss_and_grad)


def _signature_with_shares(width: Any, targets: Any) -> Any:
    """Return the signature of a loss of rows with shares, for targets of a type."""
    scalar, vector, readonly = width_types(width)
    matrix, whole = types.Array(scalar, 2, "C", readonly=True), types.Array(types.int64, 1, "C", readonly=True)
    return types.float64(readonly, matrix, targets, readonly, whole, types.int64, scalar, vector, vector)


def weighted_signatures(width: Any) -> tuple[Any, Any]:
    """Return the signatures of (weighted_loss_and_grad, weighted_evaluate), for other compiled code.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    tuple of 2 signatures
    """
    scalar, vector, readonly = width_types(width)
    matrix = types.Array(scalar, 2, "C", readonly=True)
    labels = types.Array(types.int64, 1, "C", readonly=True)
    weights = types.Array(types.float64, 1, "C", readonly=True)
    return (
        _signature_with_shares(width, labels),
        types.UniTuple(types.float64, 2)(readonly, matrix, labels, weights, labels, types.int64, vector),
    )


@lru_cache(None)
def outputs(width: Any) -> Callable:
    """Return the compiled function that computes the outputs of the last layer, which has no activation.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, sizes, activation, out, work)``; out, (rows, outputs) of the same width, is overwritten.
    """
    scalar, vector, readonly = width_types(width)
    matrix, whole = types.Array(scalar, 2, "C", readonly=True), types.Array(types.int64, 1, "C", readonly=True)
    signature = types.void(readonly, matrix, whole, types.int64, scalar[:, ::1], vector)
    return compiled(signature, nogil=True)(_outputs)


@lru_cache(None)
def evaluate(width: Any) -> Callable:
    """Return the compiled function that evaluates a network.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, y, sizes, activation, work) -> (mean cross-entropy without L2, accuracy)``.
    """
    return compiled(signatures(width)[1], nogil=True)(_evaluate)


@lru_cache(None)
def weighted_evaluate(width: Any) -> Callable:
    """Return the compiled function that evaluates a network on rows with weights.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, y, weights, sizes, activation, work) -> (weighted mean cross-entropy without L2, share of the
        weight on rows with the right label)``. weights, (rows,) float64, are above 0; with ones both results have the
        bits of :func:`evaluate`.
    """
    return compiled(weighted_signatures(width)[1], nogil=True)(_weighted_evaluate)


@lru_cache(None)
def predict(width: Any) -> Callable:
    """Return the compiled function that predicts labels.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, sizes, activation, out, work)``; out, (rows,) int64, is overwritten by the predicted labels.
    """
    return compiled(signatures(width)[2], nogil=True)(_predict)


@lru_cache(None)
def probabilities(width: Any) -> Callable:
    """Return the compiled function that computes the probability of each class.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, y, sizes, activation, out, work)``; out, (rows, classes) of the same width, is overwritten by the
        probabilities. The labels y may be any; only losses, which are dropped, depend on them.
    """
    return compiled(signatures(width)[3], nogil=True)(_probabilities)


@lru_cache(None)
def half_square(width: Any) -> Callable:
    """Return the compiled function that computes the penalty.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, sizes) -> half the sum of squares of W`` in float64.
    """
    readonly = width_types(width)[2]
    return compiled(types.float64(readonly, types.Array(types.int64, 1, "C", readonly=True)))(_half_square)
