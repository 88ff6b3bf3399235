"""Whole training runs side by side: one seed, one data set, one dense network, and in every lane other settings.

The runs of a group share their minibatches, so the first layer of all of them is one product with the shared batch.
What a lane gives has the bits of ``runs.advance`` alone. Arguments are checked in ``optimizers`` and ``train``.

Arguments of all functions, L being the number of lanes (see ``lanes``)
    params : (n, L) float32 or float64, in, the weights of each run down its lane, in the order of the flat buffer.
    X, sizes, activation, l2 : as in ``network``.       y : (pitch*L,) int64, in, each label once for every lane.
    work : (work_lines(sizes, rows), L), overwritten.
Activations lie as (features, pitch, L), a line for each row and, where their number is even, an idle one: at an odd
distance the same row of all features does not fall into the same few sets of the cache.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.cpu import network
from lookahead_nb.cpu.lanes import lane_product, line, set_line
from lookahead_nb.cpu.runs import FAST, SLOW, gather
from lookahead_nb.cpu.step import width_types
from lookahead_nb.formulas import INTERPOLATE, RELU, RESET, RULES, biased, pull, relu, schedule_free_average
from lookahead_nb.jit import compiled, fma, formula, like, named, select
from lookahead_nb.philox import minibatch

ROWS_AT_ONCE = 64  # rows evaluated together: their activations in all lanes stay in the cache


def work_lines(sizes, rows):
    """Return how many lines a pass over this many rows needs: activations of all layers, an error, losses."""
    return int((rows | 1) * (sum(sizes[1:]) + max(sizes[1:]) + 3))


@formula
def _block(work, start, features, pitch):
    """Return lines of work as (features, pitch, L)."""
    return work[start : start + features * pitch].reshape((features, pitch, work.shape[1]))


@formula
def _flat(block):
    """Return a block with its columns and lanes in one: what is elementwise runs over them alike."""
    return block.reshape((block.shape[0], block.shape[1] * block.shape[2]))


@formula
def _add_bias(outputs, bias, rectifies):
    """Add to outputs (out, pitch, L) their bias (out, L), and rectify where that is the activation."""
    for o in range(outputs.shape[0]):
        row, b = outputs[o], line(bias, o)
        if rectifies:
            for r in range(row.shape[0]):
                set_line(row, r, relu(biased(line(row, r), b)))
        else:
            for r in range(row.shape[0]):
                set_line(row, r, biased(line(row, r), b))


@formula
def _forward(params, X, sizes, activation, work):
    """Fill work with the activations (features, rows, L) of all layers; return where the logits start."""
    rows, layers, lanes = X.shape[0], sizes.size - 1, params.shape[1]
    pitch = rows | 1
    weight, at, start = 0, 0, 0
    for layer in range(layers):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        W = params[weight : weight + fan_in * fan_out].reshape((fan_out, fan_in, lanes))
        bias = params[weight + fan_in * fan_out : weight + (fan_in + 1) * fan_out]
        outputs = _block(work, at, fan_out, pitch)
        if layer == 0:
            lane_product(W, X.T, outputs[:, :rows])
        else:
            lane_product(W, _block(work, start, fan_in, pitch)[:, :rows], outputs[:, :rows])
        hidden = layer < layers - 1
        _add_bias(outputs, bias, hidden and activation == RELU)
        if hidden and activation != RELU:
            network.activate(_flat(outputs), activation)
        start, at, weight = at, at + fan_out * pitch, weight + (fan_in + 1) * fan_out
    return start


def _loss_and_grad(params, X, y, sizes, activation, l2, grad, losses, work):
    rows, layers, lanes = X.shape[0], sizes.size - 1, params.shape[1]
    pitch = rows | 1
    at = _forward(params, X, sizes, activation, work)
    end = at + sizes[layers] * pitch
    error = _block(work, at, sizes[layers], pitch)
    each = _block(work, end, 1, pitch).reshape(pitch * lanes)
    space = _block(work, end + pitch, 2, pitch).reshape(2 * pitch * lanes)
    network.cross_entropy(_flat(error), y, 0, True, space, each)
    losses[:] = 0
    for r in range(rows):
        for lane in range(lanes):
            losses[lane] += np.float64(each[r * lanes + lane])
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
        if layer == 0:
            lane_product(error[:, :rows], X, dW)
        else:
            at -= fan_in * pitch
            inputs, below = _block(work, at, fan_in, pitch), _block(work, end, fan_in, pitch)
            lane_product(error[:, :rows], inputs[:, :rows].transpose((1, 0, 2)), dW)
            by_row = error[:, :rows].transpose((1, 0, 2)), below[:, :rows].transpose((1, 0, 2))
            lane_product(by_row[0], W, by_row[1])  # W lies in the nearest cache, error is read once
            network.slope(_flat(below), _flat(inputs), activation)
            error = inputs
        if l2 > like(l2, 0):
            network.add_penalty(l2, _flat(W), _flat(dW))


def _evaluate(params, X, y, sizes, activation, losses, accuracies, labels, work):
    rows, lanes, layers = X.shape[0], params.shape[1], sizes.size - 1
    losses[:] = 0
    accuracies[:] = 0
    for first in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        for r in range(count):
            for lane in range(lanes):
                labels[r * lanes + lane] = y[first + r]
        at, pitch = _forward(params, X[first : first + count], sizes, activation, work), count | 1
        logits = _flat(_block(work, at, sizes[layers], pitch))
        end, columns = at + sizes[layers] * pitch, pitch * lanes
        space = _block(work, end, 3, pitch).reshape(3 * columns)
        network.choose_labels(logits, space[:columns], space[columns : 2 * columns])
        for r in range(count):
            for lane in range(lanes):
                accuracies[lane] += np.int64(space[columns + r * lanes + lane]) == y[first + r]
        network.cross_entropy(logits, labels, 0, False, space[columns:], space[:columns])
        for r in range(count):
            for lane in range(lanes):
                losses[lane] += np.float64(space[r * lanes + lane])
    for lane in range(lanes):
        losses[lane] /= rows
        accuracies[lane] /= rows


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


def _sync(p, s1, s2, slow, a1, a2, how, inner_state):
    step, rest, moves, stays = line(how, 0), line(how, 1), line(how, 2), line(how, 3)
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


@formula
def _average_all(p, s1, outward, slow):
    far = line(outward, 0)
    for i in range(p.shape[0]):
        set_line(slow, i, schedule_free_average(line(p, i), line(s1, i), far))


@formula
def _look(evaluate, weights, eval_X, eval_y, bounds, sizes, activation, losses, accuracies, labels, work, results):
    """Evaluate the weights of all lanes on every part; results : (L, parts, 2), out."""
    for i in range(bounds.size - 1):
        lo, hi = bounds[i], bounds[i + 1]
        evaluate(weights, eval_X[lo:hi], eval_y[lo:hi], sizes, activation, losses, accuracies, labels, work)
        results[:, i, 0] = losses
        results[:, i, 1] = accuracies


@formula
def _due(t, periods, slow_steps, turns, pulls, how):
    """Tell whether any lane syncs at step t; write how far each pulls its slow weights, and its fast ones.

    how : (4, L), out: step and rest for the slow weights, and for the fast ones; 0 and 1 where a lane stays as it is.
    """
    syncs = False
    for lane in range(periods.size):
        now = periods[lane] > 0 and t % periods[lane] == 0
        syncs |= now
        turn = (t // periods[lane] - 1) % turns[lane] if now else 0
        how[0, lane] = slow_steps[turn, 0, lane] if now else 0
        how[1, lane] = slow_steps[turn, 1, lane] if now else 1
        how[2, lane] = 1 if now and pulls[lane] else 0
        how[3, lane] = 0 if now and pulls[lane] else 1
    return syncs


def _advance(
    rule, sync, loss_and_grad, evaluate, half_squares,
    p, g, s1, s2, slow, a1, a2, table, limits, periods, slow_steps, turns, pulls, inner_state, outward,
    X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps, results, diverged_at, work,
    first, last,
):  # fmt: skip
    lanes = p.shape[1]
    rows, batch = np.empty(batch_size, np.int64), np.empty((batch_size, X.shape[1]), X.dtype)
    labels = np.zeros(
        (max(batch_size, ROWS_AT_ONCE) + 1) * lanes, np.int64
    )  # those of idle lines have to be some label
    losses, accuracies, penalty = np.empty(lanes), np.empty(lanes), np.zeros(lanes)
    how, beyond = np.zeros((4, lanes), X.dtype), np.zeros((1, lanes), X.dtype)
    watches_penalty = l2 > like(l2, 0) and X.itemsize == 8  # squares of float32 cannot overflow in float64
    due = 0
    while due < eval_steps.size and eval_steps[due] < first + (first > 0):
        due += 1
    if first == 0 and due < eval_steps.size and eval_steps[due] == 0:
        _look(
            evaluate,
            p,
            eval_X,
            eval_y,
            bounds,
            sizes,
            activation,
            losses,
            accuracies,
            labels,
            work,
            results[:, due, FAST],
        )
        results[:, due, SLOW] = results[:, due, FAST]
        due += 1
    for t in range(first + 1, last + 1):
        minibatch(X.shape[0], batch_size, seed, t - 1, rows)
        gather(X, rows, batch)
        for r in range(batch_size):
            label = y[rows[r]]
            for i in range(r * lanes, (r + 1) * lanes):
                labels[i] = label
        loss_and_grad(p, batch, labels, sizes, activation, l2, g, losses, work)
        if watches_penalty:
            half_squares(p, sizes, penalty)
        rule(p, g, s1, s2, table[t - 1 - first], limits, beyond)
        for lane in range(lanes):
            finite = np.isfinite(losses[lane] + np.float64(l2) * penalty[lane])
            if diverged_at[lane] < 0 and not (finite and beyond[0, lane] == like(l2, 0)):
                diverged_at[lane] = t
        evaluates = due < eval_steps.size and eval_steps[due] == t
        if evaluates:
            _look(
                evaluate, p, eval_X, eval_y, bounds, sizes, activation, losses, accuracies, labels, work,
                results[:, due, FAST],
            )  # fmt: skip
        if _due(t, periods, slow_steps, turns, pulls, how):
            sync(p, s1, s2, slow, a1, a2, how, inner_state)
        if evaluates and slow.shape[0] > 0:
            if outward[0, 0] > like(l2, 0):
                _average_all(p, s1, outward, slow)
            _look(
                evaluate, slow, eval_X, eval_y, bounds, sizes, activation, losses, accuracies, labels, work,
                results[:, due, SLOW],
            )  # fmt: skip
        due += evaluates


def _signatures(width):
    scalar = width_types(width)[0]
    lines, readonly = scalar[:, ::1], types.Array(scalar, 2, "C", readonly=True)
    numbers, labels = types.float64[::1], types.int64[::1]
    whole = types.Array(types.int64, 1, "C", readonly=True)
    return (
        types.void(lines, lines, lines, lines, readonly, types.Array(scalar, 1, "C", readonly=True), lines),
        types.void(lines, lines, lines, lines, lines, lines, lines, types.int64),
        types.void(lines, readonly, labels, whole, types.int64, scalar, lines, numbers, lines),
        types.void(lines, readonly, whole, whole, types.int64, numbers, numbers, labels, lines),
        types.void(lines, whole, numbers),
    )


@lru_cache(None)
def _rule_loop(rule, width):
    update, slots = RULES[rule]
    return compiled(_signatures(width)[0], nogil=True)(_plain(update, len(slots)))


@lru_cache(None)
def _loops(width):
    loops = zip(_signatures(width)[1:], (_sync, _loss_and_grad, _evaluate, _half_squares), strict=True)
    return tuple(compiled(signature, nogil=True)(loop) for signature, loop in loops)


@lru_cache(None)
def _advance_loop(width):
    scalar, _, readonly = width_types(width)
    lines, matrix = scalar[:, ::1], types.Array(scalar, 2, "C", readonly=True)
    whole = types.Array(types.int64, 1, "C", readonly=True)
    blocks = types.Array(scalar, 3, "C", readonly=True)
    signature = types.void(
        *(types.FunctionType(s) for s in _signatures(width)),
        *[lines] * 7, blocks, readonly,
        whole, blocks, whole, types.Array(types.boolean, 1, "C", readonly=True), types.int64, lines,
        matrix, whole, types.int64, types.uint64, whole, types.int64, scalar,
        matrix, whole, whole, whole, types.float64[:, :, :, :, ::1], types.int64[::1], lines, types.int64, types.int64,
    )  # fmt: skip
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule, p, g, s1, s2, slow, a1, a2, table, limits, periods, slow_steps, turns, pulls, inner_state, outward,
    X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps, results, diverged_at, work,
    first, last,
):  # fmt: skip
    """Train the runs of a group from step ``first`` to step ``last`` and evaluate them on the way, all in place.

    A lane that diverges goes on with what numbers it has; its step is noted and its later results mean nothing.

    rule, inner_state, limits, X .. l2, eval_X .. eval_steps : as in ``runs.advance``, the same for all lanes.
    p .. a2 : as there, but (n, L), or (0, L); slow is (0, L) where no lane has slow weights.
    table : (last - first, 8, L), in, the scalars of these steps.     pulls : (L,) bool, in.
    slow_steps : (m, 2, L), in, slow_step_size and 1 - slow_step_size, of which a lane takes the first turns in turn.
    turns : (L,) int64, in, at least 1.
    outward : (1, L), in, all above 0, as there, or all 0.
    periods : (L,) int64, in, 0 for an inner rule.            results : (L, m, 2, parts, 2) float64, out.
    diverged_at : (L,) int64, inout, -1 until a lane diverges.
    work : for the larger of batch_size and ROWS_AT_ONCE rows.
    """
    width = p.dtype.type
    _advance_loop(width)(
        _rule_loop(rule, width), *_loops(width), p, g, s1, s2, slow, a1, a2, table, limits, periods, slow_steps, turns,
        pulls, inner_state, outward, X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps,
        results, diverged_at, work, first, last,
    )  # fmt: skip
