"""Dense networks on a CUDA device, in phases: the threads of a block share out a phase, and a barrier ends it.

The counterpart of ``cpu/network.py``, with the same order of every sum and so the same bits: an element of a product is
one chain over k, sums over classes and rows go upwards. No phase reads what another thread writes in it.

Arguments of all phases
    params, g : (n,) float32 or float64, the flat buffer and its gradient.
    work   : (work_size(sizes, rows),), same width. It holds the activations of all layers as (features, rows), which
             the way back turns into errors; those of all but the last once more as (rows, features); losses; hits.
    sizes, activation, l2 : as in ``cpu.network``.        rows : how many rows of a batch there are.
    me, team : this thread's number in its block, and how many there are.
"""

from __future__ import annotations

from lookahead_nb.formulas import (
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
from lookahead_nb.jit import fma, formula, like

TALL = 4  # rows of a tile, a chain for each: they hide the latency of fma and share what is read of B


def work_size(sizes, rows):
    """Return how many numbers a pass over this many rows needs."""
    return int(rows * (2 * sum(sizes) - sizes[-1] + 2))


@formula
def width_of_layers(sizes, layers):
    """Return how many features the first so many layers have in all."""
    total = 0
    for layer in range(layers):
        total += sizes[layer]
    return total


@formula
def weights_before(sizes, layer):
    """Return where the weights of a layer begin in the flat buffer."""
    at = 0
    for below in range(layer):
        at += (sizes[below] + 1) * sizes[below + 1]
    return at


@formula
def losses_at(sizes, rows):
    """Return where the losses of the rows begin in work; their hits follow."""
    features = width_of_layers(sizes, sizes.size)
    return rows * (features + features - sizes[sizes.size - 1])


@formula
def _tile(A, at, row_step, step, B, column, stride, row, height, count):
    """Return the chains over k of the rows row, ..., row + 3 of A and one column of B; past height, the last row's."""
    last = height - 1
    a0 = at + row * row_step
    a1 = at + min(row + 1, last) * row_step
    a2 = at + min(row + 2, last) * row_step
    a3 = at + min(row + 3, last) * row_step
    c0 = like(B[column], 0)
    c1, c2, c3 = c0, c0, c0
    for _ in range(count):
        b = B[column]
        c0 = fma(A[a0], b, c0)
        c1 = fma(A[a1], b, c1)
        c2 = fma(A[a2], b, c2)
        c3 = fma(A[a3], b, c3)
        a0 += step
        a1 += step
        a2 += step
        a3 += step
        column += stride
    return c0, c1, c2, c3


@formula
def load(X, first, chosen, rows, features, copies, work, by_row, me, team):
    """Copy rows of X to work as (features, rows) and, if there is use for it, as (rows, features) from by_row on.

    chosen : (rows,) their indices, or (0,) for the rows from ``first`` on.
    """
    for i in range(me, rows * features, team):
        r, f = i // features, i % features
        x = X[chosen[r] if chosen.size > 0 else first + r, f]
        work[f * rows + r] = x
        if copies:
            work[by_row + i] = x


@formula
def forward(params, weight, fan_in, fan_out, hidden, activation, rows, work, inputs, outputs, copies, by_row, me, team):
    """Write the outputs of one layer, activated if hidden, and their copy by rows where there is use for it."""
    bias = weight + fan_in * fan_out
    for tile in range(me, (fan_out + TALL - 1) // TALL * rows, team):
        row, r = tile // rows * TALL, tile % rows
        chains = _tile(params, weight, fan_in, 1, work, inputs + r, rows, row, fan_out, fan_in)
        for i in range(TALL):
            o = row + i
            if o < fan_out:
                a = biased(chains[i], params[bias + o])
                a = activated(a, activation) if hidden else a
                work[outputs + o * rows + r] = a
                if copies and hidden:
                    work[by_row + r * fan_out + o] = a


@formula
def losses_and_errors(y, first, chosen, classes, rows, work, logits, losses, goes_back, me, team):
    """Write the cross-entropy of each row and either turn its logits into errors or write whether its label is hit."""
    zero = like(work[logits], 0)
    one = like(zero, 1)
    share = one / like(zero, rows)
    for r in range(me, rows, team):
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
            own, total = work[logits + label * rows + r], zero
            for c in range(classes):
                term = softmax_term(work[logits + c * rows + r], peak)
                work[logits + c * rows + r] = term
                total = total + term
            work[losses + r] = softmax_loss(own, peak, total)
            if goes_back:
                for c in range(classes):
                    probability = softmax_share(work[logits + c * rows + r], total)
                    work[logits + c * rows + r] = logit_error(probability, label == c, share)
            else:
                work[losses + rows + r] = one if best == label else zero


@formula
def gradient(params, g, weight, fan_in, fan_out, l2, rows, work, errors, by_row, me, team):
    """Write the gradient by the weights and biases of one layer."""
    bias, zero = weight + fan_in * fan_out, like(l2, 0)
    for tile in range(me, (fan_out + TALL - 1) // TALL * fan_in, team):
        row, f = tile // fan_in * TALL, tile % fan_in
        chains = _tile(work, errors, rows, 1, work, by_row + f, fan_in, row, fan_out, rows)
        for i in range(TALL):
            at = weight + (row + i) * fan_in + f
            if at < bias:
                g[at] = fma(l2, params[at], chains[i]) if l2 > zero else chains[i]
    for o in range(me, fan_out, team):
        total = zero
        for r in range(rows):
            total = fma(work[errors + o * rows + r], like(zero, 1), total)
        g[bias + o] = total


@formula
def back_to(params, weight, fan_in, fan_out, activation, rows, work, inputs, errors, me, team):
    """Turn the inputs of one layer into the errors of the layer below."""
    for tile in range(me, (fan_in + TALL - 1) // TALL * rows, team):
        row, r = tile // rows * TALL, tile % rows
        chains = _tile(params, weight, 1, fan_in, work, errors + r, rows, row, fan_in, fan_out)
        for i in range(TALL):
            at = inputs + (row + i) * rows + r
            if row + i < fan_in:
                work[at] = back_through(chains[i], work[at], activation)
