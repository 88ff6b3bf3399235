"""Whole training runs side by side: one dense network, with settings, a seed and a data set for every SIMD lane.

Runs of one seed and data set share their minibatches, so the first layer of all of them is one product with the shared
batch. Other runs read batches of their own, one in each lane. A lane is bit-for-bit identical to ``runs.advance``
alone. Arguments are checked in ``optimizers`` and ``training``.

Notes
-----
Arguments of all functions, with L lanes (see ``lanes``):

- params : (n, L) float32 or float64, the weights of each run along its lane, in the order of the flat buffer.
- X, sizes, activation, l2 : as in ``network``.
- inputs : (rows, features | 1, L), the rows of each lane along it, instead of X; without elements if X is shared.
- y : (pitch*L,) int64, the label of each row in every lane.
- work : (work_lines(sizes, rows), L), overwritten.

Activations have the layout (features, pitch, L). There is a line for each row and, where their number is even, one
unused line. At an odd distance the same row of all features does not map to the same few sets of the cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import types

from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.compiler import compiled, fma, formula, like, named, select
from lookahead_nb.kernels.cpu import network
from lookahead_nb.kernels.cpu.lanes import gather_lanes, lane_product, line, set_line, swapped
from lookahead_nb.kernels.cpu.loop import Phases, control_loop, gather, is_due
from lookahead_nb.kernels.cpu.step import width_types
from lookahead_nb.kernels.formulas import (
    INTERPOLATE,
    MOMENTUM_PULLS,
    RELU,
    RESET,
    RULES,
    biased,
    pull,
    relu,
    schedule_free_average,
)
from lookahead_nb.kernels.philox import minibatch

ROWS_AT_ONCE = 64  # rows evaluated together: their activations in all lanes fit into the cache


def work_lines(sizes: Any, rows: int) -> int:
    """Return how many lines of scratch memory a pass over a batch needs: activations of all layers, an error, losses.

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
    return int((rows | 1) * (sum(sizes[1:]) + max(sizes[1:]) + 3))


@formula
def _block(work, start, features, pitch):
    """Return lines of work as (features, pitch, L)."""
    return work[start : start + features * pitch].reshape((features, pitch, work.shape[1]))


@formula
def _flat(block):
    """Return a block with its columns and lanes in one axis: elementwise work treats both alike."""
    return block.reshape((block.shape[0], block.shape[1] * block.shape[2]))


@formula
def _add_bias(outputs, bias, rectifies):
    """Add the bias (out, L) to outputs (out, pitch, L), and rectify them if that is the activation."""
    for o in range(outputs.shape[0]):
        row, b = outputs[o], line(bias, o)
        if rectifies:
            for r in range(row.shape[0]):
                set_line(row, r, relu(biased(line(row, r), b)))
        else:
            for r in range(row.shape[0]):
                set_line(row, r, biased(line(row, r), b))


@formula
def _forward(params, X, inputs, sizes, activation, work):
    """Fill work with the activations (features, rows, L) of all layers; return where the logits start."""
    rows, layers, lanes = X.shape[0], sizes.size - 1, params.shape[1]
    pitch = rows | 1
    weight, at, start = 0, 0, 0
    for layer in range(layers):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        W = params[weight : weight + fan_in * fan_out].reshape((fan_out, fan_in, lanes))
        bias = params[weight + fan_in * fan_out : weight + (fan_in + 1) * fan_out]
        outputs = _block(work, at, fan_out, pitch)
        if layer == 0 and inputs.shape[0] == 0:
            lane_product(W, X.T, outputs[:, :rows])
        elif layer == 0:
            lane_product(W, swapped(inputs[:rows, :fan_in]), outputs[:, :rows])
        else:
            lane_product(W, _block(work, start, fan_in, pitch)[:, :rows], outputs[:, :rows])
        hidden = layer < layers - 1
        _add_bias(outputs, bias, hidden and activation == RELU)
        if hidden and activation != RELU:
            network.activate(_flat(outputs), activation)
        start, at, weight = at, at + fan_out * pitch, weight + (fan_in + 1) * fan_out
    return start


def _pass(params, X, inputs, y, sizes, activation, l2, grad, losses, hits, work):
    """Add the losses of a batch to those of each lane. Write the gradient, or add the hits if grad has no elements.

    One function does both, so that the forward pass is compiled once.
    """
    rows, layers, lanes = X.shape[0], sizes.size - 1, params.shape[1]
    pitch = rows | 1
    at = _forward(params, X, inputs, sizes, activation, work)
    end = at + sizes[layers] * pitch
    error = _block(work, at, sizes[layers], pitch)
    columns = pitch * lanes
    row_losses = _block(work, end, 1, pitch).reshape(columns)
    space = _block(work, end + pitch, 2, pitch).reshape(2 * columns)
    differentiates = grad.shape[0] > 0
    if not differentiates:
        network.choose_labels(_flat(error), space[:columns], space[columns:])
        for r in range(rows):
            for lane in range(lanes):
                hits[lane] += np.int64(space[columns + r * lanes + lane]) == y[r * lanes + lane]
    network.cross_entropy(_flat(error), y, 0, differentiates, space, row_losses)
    for r in range(rows):
        for lane in range(lanes):
            losses[lane] += np.float64(row_losses[r * lanes + lane])
    if not differentiates:
        return
    network.logit_errors(_flat(error), y, rows)
    weight = params.shape[0]
    for layer in range(layers - 1, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        weight -= (fan_in + 1) * fan_out
        bias = weight + fan_in * fan_out
        W = params[weight:bias].reshape((fan_out, fan_in, lanes))
        dW = grad[weight:bias].reshape((fan_out, fan_in, lanes))
        db = grad[bias : bias + fan_out]
        for o in range(fan_out):
            total, row = like(line(db, o), 0), error[o]
            for r in range(rows):
                total = total + line(row, r)
            set_line(db, o, total)
        if layer == 0 and inputs.shape[0] == 0:
            lane_product(error[:, :rows], X, dW)
        elif layer == 0:
            lane_product(error[:, :rows], inputs[:rows, :fan_in], dW)
        else:
            at -= fan_in * pitch
            outputs, below = _block(work, at, fan_in, pitch), _block(work, end, fan_in, pitch)
            lane_product(error[:, :rows], swapped(outputs[:, :rows]), dW)
            by_row = swapped(error[:, :rows]), swapped(below[:, :rows])
            lane_product(by_row[0], W, by_row[1])  # W stays in the nearest cache, error is read once
            network.slope(_flat(below), _flat(outputs), activation)
            error = outputs
        if l2 > like(l2, 0):
            network.add_penalty(l2, _flat(W), _flat(dW))


@formula
def _half_squares(params, sizes, out):
    """Write half the sum of squares of all W of each run, biases left out, in float64."""
    out[:] = 0
    weight = 0
    for layer in range(sizes.size - 1):
        count = sizes[layer] * sizes[layer + 1]
        for i in range(weight, weight + count):
            for lane in range(out.size):
                w = np.float64(params[i, lane])
                out[lane] = fma(w, w, out[lane])
        weight += count + sizes[layer + 1]
    for lane in range(out.size):
        out[lane] *= 0.5


def _plain(rule, slots):
    def loop(p, g, s1, s2, c, limits, beyond):
        row = (line(c, 0), line(c, 1), line(c, 2), line(c, 3), line(c, 4), line(c, 5), line(c, 6), line(c, 7))
        count = like(row[0], 0)
        none, one = like(count, 0), like(count, 1)
        of_grad, of_weight = like(count, limits[0]), like(count, limits[1])
        for i in range(p.shape[0]):
            before, grad = line(p, i), line(g, i)
            first = line(s1, i) if slots > 0 else before
            second = line(s2, i) if slots > 1 else before
            after, first, second = rule(before, grad, first, second, row)
            set_line(p, i, after)
            if slots > 0:
                set_line(s1, i, first)
            if slots > 1:
                set_line(s2, i, second)
            count = count + select(abs(grad) <= of_grad, select(abs(after) <= of_weight, none, one), one)
        set_line(beyond, 0, count)

    return named(f"lanes_{rule.__name__}", loop)


@formula
def _pull_all(slow, fast, step, rest):
    for i in range(slow.shape[0]):
        set_line(slow, i, pull(line(slow, i), line(fast, i), step, rest))


def _sync(p, s1, s2, slow, a1, a2, pulls, inner_state):
    """Sync all lanes; pulls : (4, lanes), see :func:`_due`."""
    step, rest, moves, stays = line(pulls, 0), line(pulls, 1), line(pulls, 2), line(pulls, 3)
    _pull_all(slow, p, step, rest)
    _pull_all(p, slow, moves, stays)
    if inner_state == INTERPOLATE:
        _pull_all(a1, s1, step, rest)
        _pull_all(a2, s2, step, rest)
        _pull_all(s1, a1, moves, stays)
        _pull_all(s2, a2, moves, stays)
    elif inner_state == RESET:
        for s in (s1, s2):
            for i in range(s.shape[0]):
                set_line(s, i, pull(line(s, i), like(moves, 0), moves, stays))


def _momentum_sync(pull_):
    """Return the sync with momentum of all lanes: a1 is the velocity, the second row of pulls the momentum."""

    def sync(p, s1, s2, slow, velocity, a2, pulls, inner_state):
        step, momentum, moves = line(pulls, 0), line(pulls, 1), line(pulls, 2)
        due = moves == like(moves, 1)
        for i in range(p.shape[0]):
            before, speed, fast = line(slow, i), line(velocity, i), line(p, i)
            after, faster = pull_(before, speed, fast, step, momentum)
            set_line(slow, i, after)  # a lane that is not due has step 0, at which it is itself
            set_line(velocity, i, select(due, faster, speed))
            set_line(p, i, select(due, after, fast))

    return named(f"lanes_{pull_.__name__}", sync)


@formula
def _average(weights, syncs):
    """Compute the averages of Schedule-Free if lanes have any; see ``loop.Phases``."""
    far = line(syncs.outward, 0)
    if syncs.outward[0, 0] > like(syncs.outward[0, 0], 0):
        for i in range(weights.p.shape[0]):
            average = schedule_free_average(line(weights.p, i), line(weights.s1, i), far)
            set_line(weights.slow, i, average)


class Scratch(NamedTuple):
    """What the steps of a stretch overwrite, and how the lanes find their rows.

    Attributes
    ----------
    rows : (lanes, max(batch_size, ROWS_AT_ONCE)) int64 array
        The indices of the rows of each lane.
    batch : (batch_size, features) array
        A minibatch that all lanes share.
    inputs : (rows, features | 1, lanes) array
        Rows of each lane along it; without elements if the lanes share minibatches.
    labels : int64 array
        The label of each row in every lane; those of unused lines stay valid.
    losses, hits, penalty : (lanes,) float64 array
    pulls : (4, lanes) array
        See :func:`_due`.
    beyond : (1, lanes) array
        How many numbers of a lane are not finite.
    sets : (lanes,) int64 array
        The data set of each lane.
    """

    rows: Any
    batch: Any
    inputs: Any
    labels: Any
    losses: Any
    hits: Any
    penalty: Any
    pulls: Any
    beyond: Any
    sets: Any


@formula
def _prepare(weights, model, batches):
    lanes, X, size = weights.p.shape[1], batches.X, batches.batch_size
    rows = max(size, ROWS_AT_ONCE)
    return Scratch(
        np.empty((lanes, rows), np.int64),
        np.empty((size, X.shape[2]), X.dtype),
        np.zeros((0 if batches.shared else rows, X.shape[2] | 1, lanes), X.dtype),
        np.zeros((rows + 1) * lanes, np.int64),
        np.empty(lanes),
        np.empty(lanes),
        np.zeros(lanes),
        np.zeros((4, lanes), X.dtype),
        np.zeros((1, lanes), X.dtype),
        batches.sets,
    )


@formula
def _gather_labels(y, sets, rows, count, labels):
    """Write the labels of the first rows of each lane; y : (sets, all rows)."""
    lanes = sets.size
    for lane in range(lanes):
        source, chosen = y[sets[lane]], rows[lane]
        for r in range(count):
            labels[r * lanes + lane] = source[chosen[r]]


@formula
def _evaluate_parts(measure, p, model, evaluation, scratch, work, t, results):
    """Evaluate the weights of all lanes on every part; results : (lanes, parts, 2), out."""
    rows, inputs, losses, hits, bounds = scratch.rows, scratch.inputs, scratch.losses, scratch.hits, evaluation.bounds
    one_set = evaluation.X.shape[0] == 1
    for i in range(bounds.size - 1):
        losses[:] = 0
        hits[:] = 0
        for first in range(bounds[i], bounds[i + 1], ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, bounds[i + 1] - first)
            for lane in range(losses.size):
                for r in range(count):
                    rows[lane, r] = first + r
            _gather_labels(evaluation.y, scratch.sets, rows, count, scratch.labels)
            if not one_set:
                gather_lanes(evaluation.X, scratch.sets, rows, count, inputs)
            X, own = evaluation.X[0, first : first + count], inputs[: 0 if one_set else count]
            network_ = model.sizes, model.activation, model.l2
            measure(p, X, own, scratch.labels, *network_, p[:0], losses, hits, work)
        for lane in range(losses.size):
            results[lane, i, 0] = losses[lane] / (bounds[i + 1] - bounds[i])
            results[lane, i, 1] = hits[lane] / (bounds[i + 1] - bounds[i])


@formula
def _draw(batches, t, scratch):
    """Draw the minibatches of step t; neighbours with the same seed have the same rows."""
    rows, seeds, count, size = scratch.rows, batches.seeds, batches.X.shape[1], batches.batch_size
    if batches.shared:
        minibatch(count, size, seeds[0], t - 1, batches.reshuffles, rows[0, :size])
        gather(batches.X[0], rows[0, :size], scratch.batch)
        for r in range(size):
            label = batches.y[0, rows[0, r]]
            for i in range(r * seeds.size, (r + 1) * seeds.size):
                scratch.labels[i] = label
        return
    for lane in range(seeds.size):
        if lane > 0 and seeds[lane] == seeds[lane - 1]:
            for r in range(size):
                rows[lane, r] = rows[lane - 1, r]
        else:
            minibatch(count, size, seeds[lane], t - 1, batches.reshuffles, rows[lane, :size])
    _gather_labels(batches.y, batches.sets, rows, size, scratch.labels)
    gather_lanes(batches.X, batches.sets, rows, size, scratch.inputs)


@formula
def _differentiate(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
    batch, labels, losses, penalty = scratch.batch, scratch.labels, scratch.losses, scratch.penalty
    _draw(batches, t, scratch)
    inputs, network_ = scratch.inputs[: 0 if batches.shared else batches.batch_size], (model.sizes, model.activation)
    losses[:] = 0
    gradient(weights.p, batch, inputs, labels, *network_, model.l2, weights.g, losses, scratch.hits, work)
    if model.l2 > like(model.l2, 0) and batch.itemsize == 8:  # squares of float32 cannot overflow in float64
        _half_squares(weights.p, model.sizes, penalty)
    for lane in range(losses.size):
        losses[lane] += np.float64(model.l2) * penalty[lane]
    return True  # a lane that diverged continues with the others


@formula
def _update(rule, weights, steps, syncs, evaluation, scratch, t):
    """Take a step in all lanes and record those that stopped being finite; see ``loop.Phases``."""
    losses, beyond = scratch.losses, scratch.beyond
    rule(weights.p, weights.g, weights.s1, weights.s2, steps.table[t - 1 - steps.first], steps.limits, beyond)
    for lane in range(losses.size):
        finite = np.isfinite(losses[lane]) and beyond[0, lane] == like(beyond[0, lane], 0)
        if evaluation.diverged_at[lane] < 0 and not finite:
            evaluation.diverged_at[lane] = t
    return True


@formula
def _sync_if_due(sync, weights, steps, syncs, scratch, t):
    """Sync the lanes that are due: a lane that is not is pulled by 0."""
    p, _, s1, s2, slow, a1, a2 = weights
    if _due(t, syncs, scratch.pulls):
        sync(p, s1, s2, slow, a1, a2, scratch.pulls, syncs.inner_state)


@formula
def _due(t, syncs, pulls):
    """Return whether any lane syncs at step t, and write the pulls of all lanes.

    The rows of pulls, (4, lanes), are step and rest for the slow weights, then for the fast ones. A lane that is not
    due gets 0 and 1.
    """
    due = False
    for lane in range(syncs.period.size):
        now = is_due(syncs.period[lane], t)
        due |= now
        turn = (t // syncs.period[lane] - 1) % syncs.turns[lane] if now else 0
        pulls[0, lane] = syncs.slow_steps[turn, 0, lane] if now else 0
        pulls[1, lane] = syncs.slow_steps[turn, 1, lane] if now else 1
        pulls[2, lane] = 1 if now and syncs.pull_back[lane] else 0
        pulls[3, lane] = 0 if now and syncs.pull_back[lane] else 1
    return due


_advance = control_loop(
    "advance_lanes", Phases(_prepare, _evaluate_parts, _differentiate, _update, _sync_if_due, _average)
)


def _signatures(width):
    scalar = width_types(width)[0]
    lines, readonly = scalar[:, ::1], types.Array(scalar, 2, "C", readonly=True)
    inputs, numbers, labels = scalar[:, :, ::1], types.float64[::1], types.int64[::1]
    whole = types.Array(types.int64, 1, "C", readonly=True)
    return (
        types.void(lines, lines, lines, lines, readonly, types.Array(scalar, 1, "C", readonly=True), lines),
        types.void(lines, lines, lines, lines, lines, lines, lines, types.int64),
        types.void(lines, readonly, inputs, labels, whole, types.int64, scalar, lines, numbers, numbers, lines),
    )


@lru_cache(None)
def _rule_loop(rule, width):
    update, slots = RULES[rule]
    return compiled(_signatures(width)[0], nogil=True)(_plain(update, len(slots)))


@lru_cache(None)
def _loops(width):
    loops = zip(_signatures(width)[1:], (_sync, _pass), strict=True)
    return tuple(compiled(signature, nogil=True)(loop) for signature, loop in loops)


@lru_cache(None)
def _momentum_sync_loop(width, inner_state):
    return compiled(_signatures(width)[1], nogil=True)(_momentum_sync(MOMENTUM_PULLS[inner_state]))


@lru_cache(None)
def _advance_loop(width):
    scalar = width_types(width)[0]
    signature = types.int64(
        *(types.FunctionType(s) for s in (*_signatures(width), _signatures(width)[-1])),
        bundles.weights_type(scalar, 2),
        bundles.steps_type(scalar, 2),
        bundles.syncs_type(scalar),
        bundles.network_type(scalar),
        bundles.batches_of_lanes_type(scalar),
        bundles.evaluation_type(scalar, sets=1),
        bundles.written(scalar, 2),
    )
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule: str,
    weights: bundles.Weights,
    steps: bundles.Steps,
    syncs: bundles.Syncs,
    model: bundles.Network,
    batches: bundles.BatchesOfLanes,
    evaluation: bundles.Evaluation,
    work: np.ndarray,
) -> int:
    """Train the runs of a group over a stretch of steps and evaluate them on the way, all in place.

    A lane that diverges continues with whatever numbers it has. Its step is recorded and its later results are void.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``, the same for all lanes.
    weights : bundles.Weights
        Arrays (n, lanes) or (0, lanes); slow has no elements if no lane has slow weights.
    steps : bundles.Steps
        The table is (steps, 8, lanes).
    syncs : bundles.Syncs
        ``outward`` is above 0 in all lanes or in none.
    model : bundles.Network
        The same for all lanes.
    batches : bundles.BatchesOfLanes
        The data sets of all lanes.
    evaluation : bundles.Evaluation
        The rows of each data set; one result and one ``diverged_at`` for each lane.
    work : (work_lines(sizes, rows), lanes) array
        Scratch memory for the larger of batch_size and ``ROWS_AT_ONCE`` rows.

    Returns
    -------
    int
        The number of steps taken in all.
    """
    width = weights.p.dtype.type
    sync, both = _loops(width)
    if int(syncs.inner_state) in MOMENTUM_PULLS:
        sync = _momentum_sync_loop(width, int(syncs.inner_state))
    return _advance_loop(width)(
        _rule_loop(rule, width), sync, both, both, weights, steps, syncs, model, batches, evaluation, work
    )
