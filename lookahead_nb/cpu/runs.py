"""Whole training runs on the CPU, compiled: no Python between the steps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.cpu import network, step
from lookahead_nb.cpu.adaptive import step_of_sync, sync_types
from lookahead_nb.jit import compiled, formula, like
from lookahead_nb.philox import minibatch

FAST, SLOW = 0, 1


@formula
def _all_within(x, limit):
    beyond = 0
    for i in range(x.size):
        beyond += not (abs(x[i]) <= limit)  # a sum of integers vectorises, an early exit would not; NaN is beyond
    return beyond == 0


@formula
def gather(X, rows, batch):
    """Copy rows of X to batch; number by number, which takes a third of the time of whole slices."""
    for r in range(rows.size):
        source, target = X[rows[r]], batch[r]
        for f in range(target.size):
            target[f] = source[f]


@formula
def _evaluate_parts(evaluate, p, eval_X, eval_y, bounds, sizes, activation, work, results):
    for i in range(bounds.size - 1):
        lo, hi = bounds[i], bounds[i + 1]
        results[i, 0], results[i, 1] = evaluate(p, eval_X[lo:hi], eval_y[lo:hi], sizes, activation, work)


def _advance(
    rule, sync, loss_and_grad, evaluate,
    p, g, s1, s2, slow, a1, a2, table, limits,
    sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
    X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps, results, work, first, last,
):  # fmt: skip
    rows = np.empty(batch_size, np.int64)
    batch, labels = np.empty((batch_size, X.shape[1]), X.dtype), np.empty(batch_size, np.int64)
    due = 0
    while due < eval_steps.size and eval_steps[due] < first + (first > 0):
        due += 1
    if first == 0 and due < eval_steps.size and eval_steps[due] == 0:
        _evaluate_parts(evaluate, p, eval_X, eval_y, bounds, sizes, activation, work, results[due, FAST])
        results[due, SLOW] = results[due, FAST]
        due += 1
    for t in range(first + 1, last + 1):
        minibatch(X.shape[0], batch_size, seed, t - 1, rows)
        gather(X, rows, batch)
        for r in range(batch_size):
            labels[r] = y[rows[r]]
        loss = loss_and_grad(p, batch, labels, sizes, activation, l2, g, work)
        if not (np.isfinite(loss) and _all_within(g, limits[0])):
            return t, t - 1
        syncs = sync_period > 0 and t % sync_period == 0
        if syncs:
            before[:] = p[: before.size]
        rule(p, g, s1, s2, table[t - 1])
        if not _all_within(p, limits[1]):
            return t, t
        evaluates = due < eval_steps.size and eval_steps[due] == t
        if evaluates:
            _evaluate_parts(evaluate, p, eval_X, eval_y, bounds, sizes, activation, work, results[due, FAST])
        if syncs:
            n = t // sync_period - 1
            size, rest = step_of_sync(n, slow_steps, rates, lowest, before, p, slow, g, s2, table[t - 1])
            sync(p, s1, s2, slow, a1, a2, like(l2, size), like(l2, rest), pull_back, inner_state)
        if evaluates and slow.size > 0:
            if outward > like(outward, 0):
                step.average_all(p, s1, outward, slow)
            _evaluate_parts(evaluate, slow, eval_X, eval_y, bounds, sizes, activation, work, results[due, SLOW])
        due += evaluates
    return -1, last


@lru_cache(None)
def _advance_loop(width):
    scalar, vector, readonly = step.width_types(width)
    plain, _, sync = step.signatures(width)
    loss_and_grad, evaluate, _ = network.signatures(width)
    matrix = types.Array(scalar, 2, "C", readonly=True)
    whole = types.Array(types.int64, 1, "C", readonly=True)
    signature = types.UniTuple(types.int64, 2)(
        *(types.FunctionType(s) for s in (plain, sync, loss_and_grad, evaluate)),
        *[vector] * 7, matrix, readonly, *sync_types(width), scalar,
        matrix, whole, types.int64, types.uint64, whole, types.int64, scalar,
        matrix, whole, whole, whole, types.float64[:, :, :, ::1], vector, types.int64, types.int64,
    )  # fmt: skip
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule, p, g, s1, s2, slow, a1, a2, table, limits,
    sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
    X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps, results, work, first, last,
):  # fmt: skip
    """Train one dense network from step ``first`` to step ``last`` and evaluate it on the way.

    The bits are those of stepping by hand on ``loss_and_grad`` with the same minibatches. All arguments move in place,
    so a run may be cut anywhere and continued. At a step with a sync the fast weights are evaluated before the pull,
    the slow ones after it.

    rule, p .. a2, pull_back, inner_state : as in ``cpu.step``; slow is (0,) where there are no slow weights.
    slow_steps, rates, lowest : as in ``adaptive.step_of_sync``.   before : (n,), overwritten, or (0,) without rates.
    outward : 0, or as in ``step.average`` for Schedule-Free, whose slow weights are worked out to be evaluated.
    limits : (2,), in, the largest size of a gradient (see ``first_beyond``) and of a weight that counts as finite.
    table : (steps, 8), in, the scalars of all steps.          sync_period : int64, 0 for an inner rule.
    X, y, sizes, activation, l2, work : as in ``cpu.network``, X and y the training part; work for the larger of
        batch_size and ``network.ROWS_AT_ONCE`` rows.           batch_size, seed : as in ``philox.minibatch``.
    eval_X, eval_y : the rows to evaluate, part i from bounds[i] to bounds[i + 1].      bounds : (parts + 1,) int64.
    eval_steps : (m,) int64, rising.
    results : (m, 2, parts, 2) float64, out, by step, FAST or SLOW, part, (loss, accuracy).
    returns : the step at which the minibatch loss, the gradient or a weight stopped being finite, where the run
        freezes, or -1; and the steps taken.
    """
    width = p.dtype.type
    loops = step.plain_loop(rule, width), step.sync_loop(width), network.loss_and_grad(width), network.evaluate(width)
    return _advance_loop(width)(
        *loops, p, g, s1, s2, slow, a1, a2, table, limits,
        sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
        X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps, results, work, first, last,
    )  # fmt: skip
