"""Whole training runs on a CUDA device: a block of threads trains a run, and many blocks as many runs.

The counterpart of ``cpu/runs.py``: the same entry, names and order, where what is one number there is one for each of R
runs here. A launch takes all runs from one evaluated step to the next; nothing leaves the device but their losses. No
sum is shared between threads and nothing is added atomically, so the bits do not depend on the launch configuration.

The kernels that train hold no float64 beside float32: the scalars of a step come from tables. Only the kernel that
evaluates adds up losses in float64, as the CPU does.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numba import from_dtype

from lookahead_nb.formulas import RULES, pull, schedule_free_average
from lookahead_nb.gpu import cuda, network
from lookahead_nb.gpu.step import _sync_slot
from lookahead_nb.jit import fma, formula, like, named
from lookahead_nb.philox import minibatch_row

THREADS = 128  # a thread takes some 180 registers: two such blocks fit on a multiprocessor of 65,536
MOST_BLOCKS = 528  # each has room of its own to work in; four on every multiprocessor of the largest cards
ROWS_AT_ONCE = 64  # rows that a block evaluates together
SHARED_BYTES = 48 * 1024  # of shared memory, which every device gives a block without being asked for more
FAST, SLOW = 0, 1

# --------------------------------------------------------------------------------- phases of every run: rule and sync


@formula
def sync_if_due(t, p, s1, s2, slow, a1, a2, period, slow_steps, turns, pulls, inner_state, me, team):
    """Sync a run if it does so at step t, as ``step.sync`` of its rows; each thread syncs what it has moved."""
    if period > 0 and t % period == 0:
        turn = (t // period - 1) % turns
        size, rest = slow_steps[turn, 0], slow_steps[turn, 1]
        for i in range(me, p.size, team):
            slow[i] = pull(slow[i], p[i], size, rest)
            p[i] = slow[i] if pulls else p[i]
            if s1.size > 0:
                _sync_slot(s1, a1, i, size, rest, inner_state)
            if s2.size > 0:
                _sync_slot(s2, a2, i, size, rest, inner_state)


def end_of_step(rule, slots):
    """Return the phase ``end(beyond, t, last, p, g, s1, s2, ..., me, team)``: a step of the rule, and its sync if due.

    It tells at which step the run freezes, or -1, and how many were taken: none here if any thread found a loss or
    gradient beyond its limit, one if a weight then is.
    """

    def end(
        beyond, t, last, p, g, s1, s2, slow, a1, a2, c, limit, period, slow_steps, turns, pulls, inner_state, me, team
    ):  # fmt: skip
        if cuda.syncthreads_or(np.int32(beyond)):
            return t, t - 1
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        beyond = False
        for i in range(me, p.size, team):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            after, first, second = rule(p[i], g[i], first, second, row)
            p[i] = after
            if slots > 0:
                s1[i] = first
            if slots > 1:
                s2[i] = second
            beyond = beyond or not (abs(after) <= limit)
        if cuda.syncthreads_or(np.int32(beyond)):
            return t, t
        if t < last:  # the last one is left to `sync_last`: before it the fast weights are evaluated
            sync_if_due(t, p, s1, s2, slow, a1, a2, period, slow_steps, turns, pulls, inner_state, me, team)
            cuda.syncthreads()
        return -1, t

    return cuda.jit(device=True)(named(f"end_of_step_{rule.__name__}", end))  # the simulator needs it to find barriers


@formula
def any_beyond(g, limit, me, team):
    """Tell whether an element of this thread is not within [-limit, limit]; NaN is not."""
    beyond = False
    for i in range(me, g.size, team):
        beyond = beyond or not (abs(g[i]) <= limit)
    return beyond


def sync_last(p, s1, s2, slow, a1, a2, sync_period, slow_steps, turns, pull_back, inner_state, diverged_at, t):
    """Kernel: sync the runs that do so at step t and are not frozen."""
    me, team = cuda.threadIdx.x, cuda.blockDim.x
    for run in range(cuda.blockIdx.x, p.shape[0], cuda.gridDim.x):
        if diverged_at[run] < 0:
            how = sync_period[run], slow_steps[run], turns[run], pull_back[run], inner_state
            sync_if_due(t, p[run], s1[run], s2[run], slow[run], a1[run], a2[run], *how, me, team)


def average(p, s1, slow, outward):
    """Kernel: write the average of Schedule-Free of each run, as ``step.average``."""
    for run in range(cuda.blockIdx.x, p.shape[0], cuda.gridDim.x):
        for i in range(cuda.threadIdx.x, p.shape[1], cuda.blockDim.x):
            slow[run, i] = schedule_free_average(p[run, i], s1[run, i], outward[run])


# -------------------------------------------------------------------------------------------- training and evaluation


@formula
def _loss_in_double(params, sizes, l2, rows, work, losses):
    """Return the loss as the CPU adds it up, where sums of finite numbers may overflow; every thread does it alone."""
    loss = like(l2, 0)
    for r in range(rows):
        loss += work[losses + r]
    loss = loss / like(l2, rows)
    if l2 > like(l2, 0):
        total = like(l2, 0)
        for layer in range(sizes.size - 1):
            weight = network.weights_before(sizes, layer)
            for i in range(weight, weight + sizes[layer] * sizes[layer + 1]):
                total = fma(params[i], params[i], total)
        loss = fma(l2, like(l2, 0.5) * total, loss)
    return loss


@formula
def _copy(source, target, me, team):
    for i in range(me, source.size, team):
        target[i] = source[i]


def _train(rule, slots, width, shared):
    """Return the kernel; shared : whether weights, gradient and state of a run lie in shared memory meanwhile."""
    end_step, number, double = end_of_step(rule, slots), from_dtype(np.dtype(width)), width == np.float64

    def kernel(
        p, g, s1, s2, slow, a1, a2, table, which, grad_limit, weight_limit,
        sync_period, slow_steps, turns, pull_back, inner_state,
        X, y, batch_size, seed, sizes, activation, l2, work, chosen, diverged_at, taken, first, last,
    ):  # fmt: skip
        me, team, layers = cuda.threadIdx.x, cuda.blockDim.x, sizes.size - 1
        space, rows = work[cuda.blockIdx.x], chosen[cuda.blockIdx.x]
        copies = network.width_of_layers(sizes, layers + 1) * batch_size
        losses = network.losses_at(sizes, batch_size)
        near = cuda.shared.array(0, number)
        for run in range(cuda.blockIdx.x, p.shape[0], cuda.gridDim.x):
            if diverged_at[run] >= 0:
                continue
            params, grad, first1, second2 = p[run], g[run], s1[run], s2[run]
            if shared:  # a thread copies what it moves: nobody waits for anybody
                n, slot = params.size, 2 * params.size + first1.size
                params, grad, first1, second2 = near[:n], near[n : 2 * n], near[2 * n : slot], near[slot:]
                _copy(p[run], params, me, team)
                _copy(s1[run], first1, me, team)
                _copy(s2[run], second2, me, team)
            how = sync_period[run], slow_steps[run], turns[run], pull_back[run], inner_state
            frozen_at, steps = -1, last
            for t in range(first + 1, last + 1):
                for i in range(me, batch_size, team):
                    rows[i] = minibatch_row(X.shape[0], batch_size, seed[run], t - 1, i)
                cuda.syncthreads()
                network.load(X, 0, rows, batch_size, sizes[0], True, space, copies, me, team)
                cuda.syncthreads()
                at, weight = 0, 0
                for layer in range(layers):
                    fan_in, fan_out = sizes[layer], sizes[layer + 1]
                    end = at + fan_in * batch_size
                    network.forward(
                        params, weight, fan_in, fan_out, layer < layers - 1, activation, batch_size, space, at, end,
                        True, copies + end, me, team,
                    )  # fmt: skip
                    cuda.syncthreads()
                    at, weight = end, weight + (fan_in + 1) * fan_out
                network.losses_and_errors(y, 0, rows, sizes[layers], batch_size, space, at, losses, True, me, team)
                cuda.syncthreads()
                for layer in range(layers - 1, -1, -1):
                    fan_in, fan_out = sizes[layer], sizes[layer + 1]
                    start = at - fan_in * batch_size
                    weight -= (fan_in + 1) * fan_out
                    network.gradient(
                        params, grad, weight, fan_in, fan_out, l2, batch_size, space, at, copies + start, me, team
                    )
                    if layer > 0:
                        network.back_to(
                            params, weight, fan_in, fan_out, activation, batch_size, space, start, at, me, team
                        )
                    cuda.syncthreads()
                    at = start
                beyond = any_beyond(grad, grad_limit, me, team)
                if double:
                    beyond = beyond or not math.isfinite(_loss_in_double(params, sizes, l2, batch_size, space, losses))
                else:  # sums of finite float32 numbers are finite in float64
                    for r in range(me, batch_size, team):
                        beyond = beyond or not math.isfinite(space[losses + r])
                frozen_at, steps = end_step(
                    beyond, t, last, params, grad, first1, second2, slow[run], a1[run], a2[run],
                    table[which[run], t - 1], weight_limit, *how, me, team,
                )  # fmt: skip
                if frozen_at >= 0:
                    break
            if shared:
                _copy(params, p[run], me, team)
                _copy(first1, s1[run], me, team)
                _copy(second2, s2[run], me, team)
            if me == 0:
                diverged_at[run], taken[run] = frozen_at, steps

    return named(f"train_{rule.__name__}", kernel)


def _evaluate(weights, X, y, bounds, sizes, activation, work, results, wanted, diverged_at, at, kind, both):
    me, team, layers, parts = cuda.threadIdx.x, cuda.blockDim.x, sizes.size - 1, bounds.size - 1
    space, everyone = work[cuda.blockIdx.x], y[:0]
    for job in range(cuda.blockIdx.x, weights.shape[0] * parts, cuda.gridDim.x):
        run, part = job // parts, job % parts
        if diverged_at[run] >= 0 or not wanted[run]:
            continue
        params, loss, hits = weights[run], np.float64(0), 0
        low, high = bounds[part], bounds[part + 1]
        for first in range(low, high, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, high - first)
            network.load(X, first, everyone, rows, sizes[0], False, space, 0, me, team)
            cuda.syncthreads()
            start, weight = 0, 0
            for layer in range(layers):
                fan_in, fan_out = sizes[layer], sizes[layer + 1]
                end = start + fan_in * rows
                hidden = layer < layers - 1
                network.forward(
                    params, weight, fan_in, fan_out, hidden, activation, rows, space, start, end, False, 0, me, team
                )
                cuda.syncthreads()
                start, weight = end, weight + (fan_in + 1) * fan_out
            losses = network.losses_at(sizes, rows)
            network.losses_and_errors(y, first, everyone, sizes[layers], rows, space, start, losses, False, me, team)
            cuda.syncthreads()
            if me == 0:
                for r in range(rows):
                    loss += np.float64(space[losses + r])
                    hits += 1 if space[losses + rows + r] > like(space[0], 0) else 0
            cuda.syncthreads()
        if me == 0:
            for column in range(kind, SLOW + 1 if both else kind + 1):
                results[run, at, column, part, 0] = loss / np.float64(high - low)
                results[run, at, column, part, 1] = np.float64(hits) / np.float64(high - low)


@lru_cache(None)
def _training(rule, width, shared):
    update, slots = RULES[rule]
    return cuda.jit(_train(update, len(slots), width, shared))


@lru_cache(None)
def single(function):
    """Return the kernel of a function that takes any rule and width."""
    return cuda.jit(function)


def room(sizes, batch_size, jobs, width):
    """Return what so many runs or parts of an evaluation work in at once, for ``advance``: numbers, and row indices."""
    blocks = min(MOST_BLOCKS, jobs)
    size = network.work_size(sizes, max(batch_size, ROWS_AT_ONCE))
    return cuda.device_array((blocks, size), width), cuda.device_array((blocks, batch_size), np.int64)


def room_bytes(sizes, batch_size, jobs, width):
    """Return how much memory ``room`` takes."""
    size = network.work_size(sizes, max(batch_size, ROWS_AT_ONCE))
    return min(MOST_BLOCKS, jobs) * (size * np.dtype(width).itemsize + 8 * batch_size)


class Course:
    """The way of R runs from one evaluated step to the next, the same for networks and surfaces."""

    def __init__(
        self, p, s1, s2, slow, a1, a2, table, limits, sync_period, slow_steps, pull_back, inner_state, outward
    ):
        (tables, which), (shares, turns) = table, slow_steps
        self.moving, self.outward, self.averages = (p, s1, s2, slow, a1, a2), cuda.to_device(outward), outward.any()
        periods, turns, pulls = map(cuda.to_device, (sync_period, turns, pull_back))
        self.syncs = periods, shares, turns, pulls, inner_state
        self.how = tables, cuda.to_device(which), *limits, *self.syncs
        self.everyone = cuda.to_device(np.ones(p.shape[0], bool))
        self.slowed = cuda.to_device((sync_period > 0) | (outward > 0))

    def follow(self, train, evaluate, eval_steps, first, last, threads):
        """Launch it all; return what ``advance`` returns.

        train : called with (diverged_at, taken, low, high), leaves the sync of step high to this. evaluate : called
        with (weights, step, of which runs, diverged_at, number of the step, FAST or SLOW, whether both are the same).
        """
        p, s1, _, slow, *_ = self.moving
        end, runs = int(last.max()), len(last)
        diverged_at, taken = cuda.to_device(np.where(last < end, 0, -1)), cuda.to_device(np.zeros(runs, np.int64))
        number = {int(t): i for i, t in enumerate(eval_steps)}
        if first == 0 and 0 in number:
            evaluate(p, 0, self.everyone, diverged_at, number[0], FAST, True)
        for low, high in pairwise(sorted({first, *(t for t in number if first < t < end), end})):
            train(diverged_at, taken, low, high)
            at = number.get(high, -1)
            if at >= 0:
                evaluate(p, high, self.everyone, diverged_at, at, FAST, False)
            if slow.size:
                single(sync_last)[runs, threads](*self.moving, *self.syncs, diverged_at, high)
            if slow.size and at >= 0:
                if self.averages:
                    single(average)[runs, threads](p, s1, slow, self.outward)
                evaluate(slow, high, self.slowed, diverged_at, at, SLOW, False)
        return diverged_at.copy_to_host(), taken.copy_to_host()


def advance(
    rule, p, g, s1, s2, slow, a1, a2, table, limits,
    sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
    X, y, batch_size, seed, sizes, activation, l2, eval_X, eval_y, bounds, eval_steps, results, work, first, last,
):  # fmt: skip
    """Train R dense networks from step ``first`` to step ``last`` and evaluate them on the way, all in place.

    Arguments as in ``cpu.runs.advance``. On the device lie p .. a2, the tables, X, y, eval_X, eval_y, results and work.

    p .. a2 : (R, n) or (R, 0).   table : pair of (tables, steps, 8) and, on the host, (R,), which of them is a run's.
    slow_steps : pair of (R, m, 2) and (R,), of which a run takes the first so many in turn.
    rates, lowest, before : None, since no slow step adapts here.   sync_period, pull_back, outward, seed : (R,).
    results : (R, m, 2, parts, 2) float64.   work : of ``room``.
    last : (R,) int64, the same step for all runs that go on, and below it for those that are frozen.
    returns : (R,) int64 each, the step at which a run stopped being finite or -1, and the steps taken, 0 if frozen.
    """
    course = Course(
        p, s1, s2, slow, a1, a2, table, limits, sync_period, slow_steps, pull_back, inner_state, outward
    )  # fmt: skip
    (numbers, chosen), seeds = work, cuda.to_device(seed)
    sizes, bounds = cuda.to_device(sizes), cuda.to_device(bounds)
    blocks, jobs = (min(count, len(numbers)) for count in (len(last), len(last) * (bounds.size - 1)))

    near = p.itemsize * (p.shape[1] + g.shape[1] + s1.shape[1] + s2.shape[1])
    near = near if near <= SHARED_BYTES else 0

    def train(diverged_at, taken, low, high):
        shape = X, y, batch_size, seeds, sizes, activation, l2, numbers, chosen
        _training(rule, p.dtype.type, near > 0)[blocks, THREADS, 0, near](
            p, g, s1, s2, slow, a1, a2, *course.how, *shape, diverged_at, taken, low, high
        )

    def evaluate(weights, _step, wanted, diverged_at, at, kind, both):
        data = eval_X, eval_y, bounds, sizes, activation, numbers, results
        single(_evaluate)[jobs, THREADS](weights, *data, wanted, diverged_at, at, kind, both)

    return course.follow(train, evaluate, eval_steps, first, last, THREADS)
