"""Dense networks on the CPU: loss and hand-written gradient on one flat buffer, without autodiff.

A network is a chain of dense layers ``z = W a + b`` with an activation between them; logistic regression is the chain
of one layer. The flat buffer holds, layer by layer, W (out, in) row by row, then b (out,).

Every sum has one order, so that a run has the same bits alone, stacked with others, in any chunk: products are chains
over k (``product``), sums over classes and over rows go upwards, losses are added up in float64.

Arguments of all functions
    params : (n,) float32 or float64, in, the flat buffer.      X : (rows, features), in, same width, C-contiguous.
    y      : (rows,) int64, in, labels 0..C-1.                  sizes : (layers + 1,) int64, features, hidden, logits.
    activation : RELU, TANH or SIGMOID.                         l2 : same width, weight of half the sum of squares of W.
    work   : at least ``work_size(sizes, rows)`` numbers of the same width, overwritten.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.cpu.product import product
from lookahead_nb.cpu.step import width_types
from lookahead_nb.formulas import (
    RELU,
    TANH,
    exp,
    fma,
    log,
    relu,
    relu_slope,
    sigmoid,
    sigmoid_slope,
    softplus,
    tanh,
    tanh_slope,
)
from lookahead_nb.jit import compiled, formula, like

ROWS_AT_ONCE = 256  # rows evaluated together: their activations stay in the cache


def work_size(sizes, rows):
    """Return how many numbers a pass over this many rows needs: activations, an error, a transposed copy, losses."""
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
            if layer == layers - 1:
                for r in range(rows):
                    row[r] = row[r] + b
            elif activation == RELU:
                for r in range(rows):
                    row[r] = relu(row[r] + b)
            elif activation == TANH:
                for r in range(rows):
                    row[r] = tanh(row[r] + b)
            else:
                for r in range(rows):
                    row[r] = sigmoid(row[r] + b)
        at += fan_in * rows
        weight += (fan_in + 1) * fan_out
    return at


@formula
def _softmax(logits, y, first, peak, total, losses):
    """Replace logits (classes x rows) by probabilities and write the cross-entropy of each row."""
    classes, rows = logits.shape
    for r in range(rows):
        peak[r] = logits[0, r]
    for c in range(1, classes):
        row = logits[c]
        for r in range(rows):
            peak[r] = row[r] if row[r] > peak[r] else peak[r]
    for r in range(rows):
        losses[r] = peak[r] - logits[y[first + r], r]
        total[r] = 0
    for c in range(classes):
        row = logits[c]
        for r in range(rows):
            row[r] = exp(row[r] - peak[r])
            total[r] = total[r] + row[r]
    for r in range(rows):
        losses[r] = log(total[r]) + losses[r]
    for c in range(classes):
        row = logits[c]
        for r in range(rows):
            row[r] = row[r] / total[r]


@formula
def _logistic(logits, y, first, losses):
    """Replace the logits of a single row of them by the probability of class 1 and write the cross-entropies."""
    row = logits[0]
    for r in range(row.size):
        losses[r] = softplus(-row[r]) if y[first + r] == 1 else softplus(row[r])
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
def _label(logits, r):
    """Return the class of the largest logit of a row, the first of equals; a single logit means class 1 above 0."""
    if logits.shape[0] == 1:
        return np.int64(logits[0, r] > like(logits[0, r], 0))
    best = 0
    for c in range(1, logits.shape[0]):
        if logits[c, r] > logits[best, r]:
            best = c
    return best


@formula
def _cross_entropy(logits, y, first, space, losses):
    if logits.shape[0] == 1:
        _logistic(logits, y, first, losses)
    else:
        rows = losses.size
        _softmax(logits, y, first, space[:rows], space[rows : 2 * rows], losses)


@formula
def _slope(below, inputs, activation):
    """Turn inputs, the outputs of an activation, into the error before it: ``below * slope``."""
    for f in range(inputs.shape[0]):
        error, a = below[f], inputs[f]
        if activation == RELU:
            for r in range(a.size):
                a[r] = error[r] * relu_slope(a[r])
        elif activation == TANH:
            for r in range(a.size):
                a[r] = error[r] * tanh_slope(a[r])
        else:
            for r in range(a.size):
                a[r] = error[r] * sigmoid_slope(a[r])


@formula
def _layer_gradient(error, ones, W, inputs_by_row, l2, dW, db):
    product(error, inputs_by_row, dW)
    product(error, ones, db.reshape((db.size, 1)))
    if l2 > like(l2, 0):
        for o in range(db.size):
            for f in range(dW.shape[1]):
                dW[o, f] = fma(l2, W[o, f], dW[o, f])


def _loss_and_grad(params, X, y, sizes, activation, l2, grad, work):
    rows, layers = X.shape[0], sizes.size - 1
    at = _forward(params, X, 0, rows, sizes, activation, work)
    end, widest = at + sizes[layers] * rows, _widest(sizes) * rows
    error = _block(work, at, sizes[layers], rows)
    losses = work[end : end + rows]
    _cross_entropy(error, y, 0, work[end + rows :], losses)
    loss = 0.0
    for r in range(rows):
        loss += np.float64(losses[r])
    one = like(l2, 1)
    share = one / like(l2, rows)
    for c in range(sizes[layers]):
        label = 1 if sizes[layers] == 1 else c
        row = error[c]
        for r in range(rows):
            row[r] = (row[r] - (one if y[r] == label else like(l2, 0))) * share
    ones = work[end + 2 * widest :][:rows].reshape((rows, 1))
    for r in range(rows):
        ones[r, 0] = one
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
            _slope(below, inputs, activation)
            error = inputs
    if l2 > like(l2, 0):
        return loss / rows + np.float64(l2) * _half_square(params, sizes)
    return loss / rows


def _evaluate(params, X, y, sizes, activation, work):
    rows, layers = X.shape[0], sizes.size - 1
    loss, hits = 0.0, 0
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        end = at + sizes[layers] * count
        logits, losses = _block(work, at, sizes[layers], count), work[end : end + count]
        for r in range(count):
            hits += _label(logits, r) == y[first + r]
        _cross_entropy(logits, y, first, work[end + count :], losses)
        for r in range(count):
            loss += np.float64(losses[r])
    return loss / rows, hits / rows


def _predict(params, X, sizes, activation, out, work):
    rows = X.shape[0]
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        at = _forward(params, X, first, count, sizes, activation, work)
        logits = _block(work, at, sizes[sizes.size - 1], count)
        for r in range(count):
            out[first + r] = _label(logits, r)


def signatures(width):
    """Return the signatures of (loss_and_grad, evaluate, predict), as other compiled code takes them."""
    scalar, vector, readonly = width_types(width)
    matrix = types.Array(scalar, 2, "C", readonly=True)
    labels = types.Array(types.int64, 1, "C", readonly=True)
    shape = (labels, types.int64)
    return (
        types.float64(readonly, matrix, labels, *shape, scalar, vector, vector),
        types.UniTuple(types.float64, 2)(readonly, matrix, labels, *shape, vector),
        types.void(readonly, matrix, *shape, types.int64[::1], vector),
    )


@lru_cache(None)
def loss_and_grad(width):
    """Return the compiled ``(params, X, y, sizes, activation, l2, grad, work) -> loss``; grad is overwritten.

    The loss is the mean cross-entropy plus ``l2/2 * sum(W**2)``, float64; grad is its gradient, (n,), out.
    """
    return compiled(signatures(width)[0], nogil=True)(_loss_and_grad)


@lru_cache(None)
def evaluate(width):
    """Return the compiled ``(params, X, y, sizes, activation, work) -> (mean cross-entropy, accuracy)`` without L2."""
    return compiled(signatures(width)[1], nogil=True)(_evaluate)


@lru_cache(None)
def predict(width):
    """Return the compiled ``(params, X, sizes, activation, out, work)`` that writes the predicted labels to out."""
    return compiled(signatures(width)[2], nogil=True)(_predict)


@lru_cache(None)
def half_square(width):
    """Return the compiled ``(params, sizes) -> half the sum of squares of W`` in float64."""
    readonly = width_types(width)[2]
    return compiled(types.float64(readonly, types.Array(types.int64, 1, "C", readonly=True)))(_half_square)
