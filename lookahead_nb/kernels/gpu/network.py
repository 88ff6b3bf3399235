"""Dense networks on a CUDA device, in phases: the threads of a block share the work of a phase, and a barrier ends it.

The counterpart of ``cpu/network.py``. Every sum has the same order, so results are bit-for-bit identical: an element of
a product is one chain over k, and sums over classes and rows go upwards. No phase reads what another thread writes in
it.

Notes
-----
Arguments of all phases:

- params, g : (n,) float32 or float64, the flat buffer and its gradient.
- work : (work_size(sizes, rows),), same width. First come the activations of all layers as (features, rows), which the
  backward pass turns into errors. Those of all layers except the last follow once more as (rows, features). Losses and
  hits are last.
- sizes, activation, l2 : as in ``bundles.Network``.
- rows : the number of rows of the batch.
- layer : Layer, one layer of the network.
- team : Team, the threads of the block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lookahead_nb.kernels.compiler import fma, formula, like
from lookahead_nb.kernels.formulas import (
    activated,
    back_through,
    biased,
    logistic_loss,
    logit_error,
    sigmoid,
    softmax_loss,
    softmax_share,
    softmax_term,
)
from lookahead_nb.kernels.gpu.access import element

# Rows and columns of a tile, with a chain for each pair: sixteen chains hide the latency of fma and share eight reads.
TALL, BROAD = 4, 4


class Team(NamedTuple):
    """The threads of a block, as one of them sees them.

    Attributes
    ----------
    me : int32
        The number of this thread.
    size : int32
        The number of threads.
    """

    me: Any
    size: Any


class Layer(NamedTuple):
    """A layer of a network and the batch that passes through it.

    Attributes
    ----------
    weight : int64
        Index in the flat buffer where its weights begin; its biases follow them.
    fan_in, fan_out : int64
        Its inputs and outputs.
    rows : int64
        The number of rows of the batch.
    """

    weight: Any
    fan_in: Any
    fan_out: Any
    rows: Any


def work_size(sizes: Any, rows: int) -> int:
    """Return how many numbers a pass over a batch needs.

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
    return int(rows * (2 * sum(sizes) - sizes[-1] + 2))


@formula
def width_of_layers(sizes, layers):
    """Return how many features the first layers have in all.

    Parameters
    ----------
    sizes : (layers + 1,) int64 array
        As in ``bundles.Network``.
    layers : int
        How many layers, the input included.

    Returns
    -------
    int
    """
    total = 0
    for layer in range(layers):
        total += sizes[layer]
    return total


@formula
def weights_before(sizes, layer):
    """Return where the weights of a layer begin in the flat buffer.

    Parameters
    ----------
    sizes : (layers + 1,) int64 array
        As in ``bundles.Network``.
    layer : int
        The number of the layer, from 0.

    Returns
    -------
    int
    """
    at = 0
    for below in range(layer):
        at += (sizes[below] + 1) * sizes[below + 1]
    return at


@formula
def losses_at(sizes, rows):
    """Return where the losses of the rows begin in work; their hits follow.

    Parameters
    ----------
    sizes : (layers + 1,) int64 array
        As in ``bundles.Network``.
    rows : int
        Rows of the batch.

    Returns
    -------
    int
    """
    features = width_of_layers(sizes, sizes.size)
    return rows * (features + features - sizes[sizes.size - 1])


@formula
def tiles(height, width):
    """Return how many tiles cover a product.

    Parameters
    ----------
    height, width : int
        Rows and columns of the product.

    Returns
    -------
    int
    """
    return (height + TALL - 1) // TALL * ((width + BROAD - 1) // BROAD)


@formula
def corner(tile, width):
    """Return the first row and column of a tile; neighbouring threads have neighbouring columns.

    Parameters
    ----------
    tile : int
        The number of the tile, from 0.
    width : int
        Columns of the product.

    Returns
    -------
    tuple of 2 ints
    """
    across = (width + BROAD - 1) // BROAD
    return tile // across * TALL, tile % across * BROAD


@formula
def _tile(A, at, row_step, step, B, begin, stride, row, height, column, width, count):
    """Return the chains over k of rows row, ..., row + 3 of A and columns column, ..., column + 3 of B, row by row.

    A[i, k] lies at at + i*row_step + k*step, B[k, j] at begin + k*stride + j. Past the edge of a product its last row
    and column are read again.
    """
    low, right = height - 1, width - 1
    a0, a1 = at + row * row_step, at + min(row + 1, low) * row_step
    a2, a3 = at + min(row + 2, low) * row_step, at + min(row + 3, low) * row_step
    b0, b1 = begin + column, begin + min(column + 1, right)
    b2, b3 = begin + min(column + 2, right), begin + min(column + 3, right)
    c00 = like(B[b0], 0)
    c01, c02, c03 = c00, c00, c00
    c10, c11, c12, c13 = c00, c00, c00, c00
    c20, c21, c22, c23 = c00, c00, c00, c00
    c30, c31, c32, c33 = c00, c00, c00, c00
    for _ in range(count):
        x0, x1, x2, x3 = element(B, b0), element(B, b1), element(B, b2), element(B, b3)
        w = element(A, a0)
        c00, c01, c02, c03 = fma(w, x0, c00), fma(w, x1, c01), fma(w, x2, c02), fma(w, x3, c03)
        w = element(A, a1)
        c10, c11, c12, c13 = fma(w, x0, c10), fma(w, x1, c11), fma(w, x2, c12), fma(w, x3, c13)
        w = element(A, a2)
        c20, c21, c22, c23 = fma(w, x0, c20), fma(w, x1, c21), fma(w, x2, c22), fma(w, x3, c23)
        w = element(A, a3)
        c30, c31, c32, c33 = fma(w, x0, c30), fma(w, x1, c31), fma(w, x2, c32), fma(w, x3, c33)
        a0, a1, a2, a3 = a0 + step, a1 + step, a2 + step, a3 + step
        b0, b1, b2, b3 = b0 + stride, b1 + stride, b2 + stride, b3 + stride
    return (
        (c00, c01, c02, c03),
        (c10, c11, c12, c13),
        (c20, c21, c22, c23),
        (c30, c31, c32, c33),
    )


@formula
def load(X, first, chosen, rows, features, copies, work, by_row, team):
    """Copy rows of X to work as (features, rows) and, on request, as (rows, features).

    Parameters
    ----------
    X : (all rows, features) array
        The data.
    first : int
        The first row, if chosen is empty.
    chosen : (rows,) or (0,) int64 array
        The indices of the rows; if empty, the rows from ``first`` on.
    rows, features : int
        The shape of the batch.
    copies : bool
        Whether to write the second copy.
    work : (work_size,) array
        Overwritten from 0 on.
    by_row : int
        Index in work of the second copy.
    team : Team
        The threads of the block.
    """
    for i in range(team.me, rows * features, team.size):
        r, f = i // features, i % features
        x = X[chosen[r] if chosen.size > 0 else first + r, f]
        work[f * rows + r] = x
        if copies:
            work[by_row + i] = x


@formula
def forward(params, layer, hidden, activation, work, inputs, outputs, copies, by_row, team):
    """Write the outputs of one layer, activated if hidden, and on request a copy by rows.

    Parameters
    ----------
    params : (n,) array
        The flat buffer.
    layer : Layer
        The layer and its batch.
    hidden : bool
        Whether an activation follows.
    activation : int
        RELU, TANH or SIGMOID.
    work : (work_size,) array
        Changed in place.
    inputs, outputs : int
        Indices in work of the inputs, (fan_in, rows), and the outputs, (fan_out, rows).
    copies : bool
        Whether to write the activations as (rows, fan_out) too.
    by_row : int
        Index in work of that copy.
    team : Team
        The threads of the block.
    """
    weight, fan_in, fan_out, rows = layer
    bias = weight + fan_in * fan_out
    for tile in range(team.me, tiles(fan_out, rows), team.size):
        row, column = corner(tile, rows)
        chains = _tile(params, weight, fan_in, 1, work, inputs, rows, row, fan_out, column, rows, fan_in)
        for i in range(TALL):
            for j in range(BROAD):
                o, r = row + i, column + j
                if o < fan_out and r < rows:
                    a = biased(chains[i][j], params[bias + o])
                    a = activated(a, activation) if hidden else a
                    work[outputs + o * rows + r] = a
                    if copies and hidden:
                        work[by_row + r * fan_out + o] = a


@formula
def losses_and_errors(y, first, chosen, classes, rows, work, logits, losses, goes_back, team):
    """Write the cross-entropy of each row, and turn its logits into errors or write whether its label is hit.

    Parameters
    ----------
    y : int64 array
        The labels of the data.
    first : int
        The first row, if chosen is empty.
    chosen : (rows,) or (0,) int64 array
        The indices of the rows; if empty, the rows from ``first`` on.
    classes : int
        The number of logits.
    rows : int
        Rows of the batch.
    work : (work_size,) array
        Changed in place.
    logits : int
        Index in work of the logits, (classes, rows).
    losses : int
        Index in work of the losses; hits follow them.
    goes_back : bool
        Whether logits become errors; otherwise hits are written.
    team : Team
        The threads of the block.
    """
    zero = like(work[logits], 0)
    one = like(zero, 1)
    share = one / like(zero, rows)
    for r in range(team.me, rows, team.size):
        label = y[chosen[r] if chosen.size > 0 else first + r]
        if classes == 1:
            z = work[logits + r]
            work[losses + r] = logistic_loss(z, label)
            if goes_back:
                work[logits + r] = logit_error(sigmoid(z), label == 1, share)
            else:
                work[losses + rows + r] = one if (z > zero) == (label == 1) else zero
        else:
            peak, best = work[logits + r], 0
            for c in range(1, classes):
                z = work[logits + c * rows + r]
                if z > peak:
                    peak, best = z, c
            label_logit, total = work[logits + label * rows + r], zero
            for c in range(classes):
                term = softmax_term(work[logits + c * rows + r], peak)
                work[logits + c * rows + r] = term
                total = total + term
            work[losses + r] = softmax_loss(label_logit, peak, total)
            if goes_back:
                for c in range(classes):
                    probability = softmax_share(work[logits + c * rows + r], total)
                    work[logits + c * rows + r] = logit_error(probability, label == c, share)
            else:
                work[losses + rows + r] = one if best == label else zero


@formula
def gradient(params, g, layer, l2, work, errors, by_row, team):
    """Write the gradient with respect to the weights and biases of one layer.

    Parameters
    ----------
    params, g : (n,) array
        The flat buffer, and its gradient, which is overwritten at this layer.
    layer : Layer
        The layer and its batch.
    l2 : float
        The penalty on weights, of the width of params.
    work : (work_size,) array
        Read.
    errors : int
        Index in work of the errors of the outputs, (fan_out, rows).
    by_row : int
        Index in work of the inputs, (rows, fan_in).
    team : Team
        The threads of the block.
    """
    weight, fan_in, fan_out, rows = layer
    bias, zero = weight + fan_in * fan_out, like(l2, 0)
    for tile in range(team.me, tiles(fan_out, fan_in), team.size):
        row, column = corner(tile, fan_in)
        chains = _tile(work, errors, rows, 1, work, by_row, fan_in, row, fan_out, column, fan_in, rows)
        for i in range(TALL):
            for j in range(BROAD):
                at = weight + (row + i) * fan_in + column + j
                if row + i < fan_out and column + j < fan_in:
                    g[at] = fma(l2, params[at], chains[i][j]) if l2 > zero else chains[i][j]
    for o in range(team.me, fan_out, team.size):
        total = zero
        for r in range(rows):
            total = fma(work[errors + o * rows + r], like(zero, 1), total)
        g[bias + o] = total


@formula
def back_to(params, layer, activation, work, inputs, errors, team):
    """Turn the inputs of one layer into the errors of the layer below.

    Parameters
    ----------
    params : (n,) array
        The flat buffer.
    layer : Layer
        The layer and its batch.
    activation : int
        RELU, TANH or SIGMOID.
    work : (work_size,) array
        Changed in place.
    inputs : int
        Index in work of the inputs, (fan_in, rows), which become errors.
    errors : int
        Index in work of the errors of the outputs, (fan_out, rows).
    team : Team
        The threads of the block.
    """
    weight, fan_in, fan_out, rows = layer
    for tile in range(team.me, tiles(fan_in, rows), team.size):
        row, column = corner(tile, rows)
        chains = _tile(params, weight, 1, fan_in, work, errors, rows, row, fan_in, column, rows, fan_out)
        for i in range(TALL):
            for j in range(BROAD):
                at = inputs + (row + i) * rows + column + j
                if row + i < fan_in and column + j < rows:
                    work[at] = back_through(chains[i][j], work[at], activation)
