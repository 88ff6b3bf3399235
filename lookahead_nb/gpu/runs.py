"""Whole training runs on a CUDA device: a block of threads trains a run, and many blocks as many runs.

The counterpart of ``cpu/runs.py``: the same entry and the same bundles, with one number for each of R runs where a run
on the CPU has a single one. A launch takes all runs from one evaluated step to the next; nothing leaves the device but
their losses. No sum is shared between threads and nothing is added atomically, so the bits do not depend on the launch
configuration.

The kernels that train hold no float64 beside float32: the scalars of a step come from tables. Only the kernel that
evaluates adds up losses in float64, as the CPU does.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numba import from_dtype

from lookahead_nb.bundles import Batches, Evaluation, Network, StepsOfRuns, Syncs, Weights, Workspace
from lookahead_nb.formulas import RULES, STARTS_AT_WEIGHTS, pull, schedule_free_average
from lookahead_nb.gpu import cuda, network
from lookahead_nb.gpu.network import Layer, Team
from lookahead_nb.gpu.step import sync_slot
from lookahead_nb.jit import fma, formula, like, named
from lookahead_nb.philox import minibatch_row

THREADS = 128  # a thread takes some 180 registers: two such blocks fit on a multiprocessor of 65,536
MOST_BLOCKS = 528  # each has room of its own to work in; four on every multiprocessor of the largest cards
ROWS_AT_ONCE = 64  # rows that a block evaluates together
SHARED_BYTES = 48 * 1024  # of shared memory, which every device gives a block without being asked for more
FAST, SLOW = 0, 1

# --------------------------------------------------------------------------------- phases of every run: rule and sync


@formula
def weights_of_run(weights, run):
    """Return the :class:`Weights` of one run, all (n,)."""
    return Weights(
        weights.p[run],
        weights.g[run],
        weights.s1[run],
        weights.s2[run],
        weights.slow[run],
        weights.a1[run],
        weights.a2[run],
    )


@formula
def sync_if_due(t, weights, syncs, run, team):
    """Sync the weights of one run if a sync is due at step t, as ``step.sync``; a thread syncs what it has moved."""
    period = syncs.period[run]
    if period > 0 and t % period == 0:
        turn = (t // period - 1) % syncs.turns[run]
        size, rest = syncs.slow_steps[run, turn, 0], syncs.slow_steps[run, turn, 1]
        pull_back, inner_state = syncs.pull_back[run], syncs.inner_state
        p, s1, s2, slow = weights.p, weights.s1, weights.s2, weights.slow
        for i in range(team.me, p.size, team.size):
            slow[i] = pull(slow[i], p[i], size, rest)
            p[i] = slow[i] if pull_back else p[i]
            if s1.size > 0:
                sync_slot(s1, weights.a1, i, size, rest, inner_state)
            if s2.size > 0:
                sync_slot(s2, weights.a2, i, size, rest, inner_state)


def end_of_step(rule, slots):
    """Return the phase ``end(beyond, t, weights, steps, syncs, run, team)``: a step of the rule, and its sync if due.

    weights : of one run. It returns the step at which the run freezes, or -1, and the steps taken: none here if any
    thread found a loss or gradient beyond its limit, one if a weight then is.
    """

    def end(beyond, t, weights, steps, syncs, run, team):
        if cuda.syncthreads_or(np.int32(beyond)):
            return t, t - 1
        p, g, s1, s2 = weights.p, weights.g, weights.s1, weights.s2
        c = steps.tables[steps.which[run], t - 1]
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        beyond = False
        for i in range(team.me, p.size, team.size):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            after, first, second = rule(p[i], g[i], first, second, row)
            p[i] = after
            if slots > 0:
                s1[i] = first
            if slots > 1:
                s2[i] = second
            beyond = beyond or not (abs(after) <= steps.limits[1])
        if cuda.syncthreads_or(np.int32(beyond)):
            return t, t
        if t < steps.last:  # the last sync is left to `update_slow_weights`: the fast weights are evaluated ahead of it
            sync_if_due(t, weights, syncs, run, team)
            cuda.syncthreads()
        return -1, t

    return cuda.jit(device=True)(named(f"end_of_step_{rule.__name__}", end))  # the simulator needs it to find barriers


@formula
def any_beyond(g, limit, team):
    """Tell whether an element of this thread is not within [-limit, limit]; NaN is not."""
    beyond = False
    for i in range(team.me, g.size, team.size):
        beyond = beyond or not (abs(g[i]) <= limit)
    return beyond


def update_slow_weights(weights, syncs, diverged_at, t):
    """Kernel: sync the runs that do so at step t, and average those of Schedule-Free; frozen runs stay as they are."""
    team = Team(cuda.threadIdx.x, cuda.blockDim.x)
    for run in range(cuda.blockIdx.x, weights.p.shape[0], cuda.gridDim.x):
        if diverged_at[run] < 0:
            own, outward = weights_of_run(weights, run), syncs.outward[run]
            sync_if_due(t, own, syncs, run, team)
            if outward > like(outward, 0):
                for i in range(team.me, own.p.size, team.size):
                    own.slow[i] = schedule_free_average(own.p[i], own.s1[i], outward)


# -------------------------------------------------------------------------------------------- training and evaluation


@formula
def _loss_in_double(params, model, rows, work, losses):
    """Return the loss as the CPU adds it up, where sums of finite numbers may overflow; every thread does it alone."""
    sizes, l2 = model.sizes, model.l2
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
def _copy(source, target, team):
    for i in range(team.me, source.size, team.size):
        target[i] = source[i]


def _train(rule, slots, width, shared):
    """Return the kernel; shared : whether weights, gradient and state of a run lie in shared memory meanwhile."""
    end_step, number, double = end_of_step(rule, slots), from_dtype(np.dtype(width)), width == np.float64

    def kernel(weights, steps, syncs, model, batches, work, diverged_at, taken):
        team, layers = Team(cuda.threadIdx.x, cuda.blockDim.x), model.sizes.size - 1
        sizes, l2, activation = model.sizes, model.l2, model.activation
        X, y, batch_size = batches.X, batches.y, batches.batch_size
        space, rows = work.numbers[cuda.blockIdx.x], work.rows[cuda.blockIdx.x]
        copies = network.width_of_layers(sizes, layers + 1) * batch_size
        losses = network.losses_at(sizes, batch_size)
        near = cuda.shared.array(0, number)
        for run in range(cuda.blockIdx.x, weights.p.shape[0], cuda.gridDim.x):
            if diverged_at[run] >= 0:
                continue
            far = weights_of_run(weights, run)
            own = far
            if shared:  # a thread copies what it moves: nobody waits for anybody
                n, slot = far.p.size, 2 * far.p.size + far.s1.size
                p, g, s1, s2 = near[:n], near[n : 2 * n], near[2 * n : slot], near[slot:]
                own = Weights(p, g, s1, s2, far.slow, far.a1, far.a2)
                _copy(far.p, p, team)
                _copy(far.s1, s1, team)
                _copy(far.s2, s2, team)
            params, grad = own.p, own.g
            frozen_at, count = -1, steps.last
            for t in range(steps.first + 1, steps.last + 1):
                for i in range(team.me, batch_size, team.size):
                    rows[i] = minibatch_row(X.shape[0], batch_size, batches.seed[run], t - 1, i)
                cuda.syncthreads()
                network.load(X, 0, rows, batch_size, sizes[0], True, space, copies, team)
                cuda.syncthreads()
                at, weight = 0, 0
                for i in range(layers):
                    layer = Layer(weight, sizes[i], sizes[i + 1], batch_size)
                    end = at + layer.fan_in * batch_size
                    hidden = i < layers - 1
                    network.forward(params, layer, hidden, activation, space, at, end, True, copies + end, team)
                    cuda.syncthreads()
                    at, weight = end, weight + (layer.fan_in + 1) * layer.fan_out
                network.losses_and_errors(y, 0, rows, sizes[layers], batch_size, space, at, losses, True, team)
                cuda.syncthreads()
                for i in range(layers - 1, -1, -1):
                    weight -= (sizes[i] + 1) * sizes[i + 1]
                    layer = Layer(weight, sizes[i], sizes[i + 1], batch_size)
                    start = at - layer.fan_in * batch_size
                    network.gradient(params, grad, layer, l2, space, at, copies + start, team)
                    if i > 0:
                        network.back_to(params, layer, activation, space, start, at, team)
                    cuda.syncthreads()
                    at = start
                beyond = any_beyond(grad, steps.limits[0], team)
                if double:
                    beyond = beyond or not math.isfinite(_loss_in_double(params, model, batch_size, space, losses))
                else:  # sums of finite float32 numbers are finite in float64
                    for r in range(team.me, batch_size, team.size):
                        beyond = beyond or not math.isfinite(space[losses + r])
                frozen_at, count = end_step(beyond, t, own, steps, syncs, run, team)
                if frozen_at >= 0:
                    break
            if shared:
                _copy(own.p, far.p, team)
                _copy(own.s1, far.s1, team)
                _copy(own.s2, far.s2, team)
            if team.me == 0:
                diverged_at[run], taken[run] = frozen_at, count

    return named(f"train_{rule.__name__}", kernel)


@formula
def is_evaluated(run, kind, syncs, diverged_at):
    """Tell whether a run has weights of this kind, FAST or SLOW, and is not frozen."""
    has_slow_weights = syncs.period[run] > 0 or syncs.outward[run] > like(syncs.outward[run], 0)
    return diverged_at[run] < 0 and (kind == FAST or has_slow_weights)


def _evaluate(params, model, evaluation, syncs, work, at, kind, both):
    team, layers = Team(cuda.threadIdx.x, cuda.blockDim.x), model.sizes.size - 1
    sizes, X, y, results = model.sizes, evaluation.X, evaluation.y, evaluation.results
    space, everyone, parts = work.numbers[cuda.blockIdx.x], y[:0], evaluation.bounds.size - 1
    for job in range(cuda.blockIdx.x, params.shape[0] * parts, cuda.gridDim.x):
        run, part = job // parts, job % parts
        if not is_evaluated(run, kind, syncs, evaluation.diverged_at):
            continue
        own, loss, hits = params[run], np.float64(0), 0
        low, high = evaluation.bounds[part], evaluation.bounds[part + 1]
        for first in range(low, high, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, high - first)
            network.load(X, first, everyone, rows, sizes[0], False, space, 0, team)
            cuda.syncthreads()
            start, weight = 0, 0
            for i in range(layers):
                layer = Layer(weight, sizes[i], sizes[i + 1], rows)
                end = start + layer.fan_in * rows
                network.forward(own, layer, i < layers - 1, model.activation, space, start, end, False, 0, team)
                cuda.syncthreads()
                start, weight = end, weight + (layer.fan_in + 1) * layer.fan_out
            losses = network.losses_at(sizes, rows)
            network.losses_and_errors(y, first, everyone, sizes[layers], rows, space, start, losses, False, team)
            cuda.syncthreads()
            if team.me == 0:
                for r in range(rows):
                    loss += np.float64(space[losses + r])
                    hits += 1 if space[losses + rows + r] > like(space[0], 0) else 0
            cuda.syncthreads()
        if team.me == 0:
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


# ------------------------------------------------------------------------------------------- bundles on the device


def weights_of(numbers, p):
    """Return the :class:`Weights` of R runs at their start.

    numbers : RunNumbers. p : (R, n), the weights, on the host.
    """
    arrays = {name: np.zeros((len(p), size), p.dtype) for name, size in numbers.sizes(p.shape[1]).items()}
    slots = [slot for slot, name in zip(("s1", "s2"), numbers.slots, strict=False) if name in STARTS_AT_WEIGHTS]
    copies = dict.fromkeys(["p", *slots, *(["slow"] if arrays["slow"].size else [])], p)
    return Weights(**{name: cuda.to_device(array) for name, array in (arrays | copies).items()})


def steps_of(numbers, tables):
    """Return :class:`StepsOfRuns` with all steps of R runs.

    numbers : RunNumbers. tables : (steps, 8) arrays on the host, one for each run.
    """
    index: dict[bytes, int] = {}
    distinct, which = [], []
    for table in tables:
        which.append(index.setdefault(table.tobytes(), len(index)))
        if which[-1] == len(distinct):
            distinct.append(table)
    last, limits = np.int64(len(distinct[0])), tuple(numbers.limits)
    return StepsOfRuns(np.int64(0), last, cuda.to_device(np.stack(distinct)), cuda.to_device(np.array(which)), limits)


def syncs_of(numbers, width):
    """Return the :class:`Syncs` of R runs in a NumPy float width; numbers : RunNumbers."""
    return Syncs(
        cuda.to_device(numbers.period),
        cuda.to_device(numbers.slow_steps.astype(width)),
        cuda.to_device(numbers.turns),
        cuda.to_device(numbers.pull_back),
        np.int64(numbers.inner_state),
        cuda.to_device(numbers.outward.astype(width)),
    )


def network_of(model, width):
    """Return the :class:`Network` of a dense model in a NumPy float width."""
    return Network(cuda.to_device(model.sizes), np.int64(model.activation_code), width(model.l2))


def batches_of(rows, batch_size, seeds):
    """Return the :class:`Batches` of a data set's rows for the seeds of R runs."""
    seeds = np.asarray(seeds, np.uint64)
    return Batches(cuda.to_device(rows.X), cuda.to_device(rows.y), np.int64(batch_size), cuda.to_device(seeds))


def evaluation_of(rows, steps, runs):
    """Return the :class:`Evaluation` of a data set's rows at these steps, for so many runs; no result is there yet."""
    results = np.full((runs, len(steps), 2, len(rows.bounds) - 1, 2), np.nan)
    arrays = rows.eval_X, rows.eval_y, rows.bounds, steps, results, np.full(runs, -1, np.int64)
    return Evaluation(*map(cuda.to_device, arrays))


def workspace_of(sizes, batch_size, jobs, width):
    """Return the :class:`Workspace` for so many runs or parts of an evaluation, and batches of this size."""
    blocks = min(MOST_BLOCKS, jobs)
    size = network.work_size(sizes, max(batch_size, ROWS_AT_ONCE))
    return Workspace(cuda.device_array((blocks, size), width), cuda.device_array((blocks, batch_size), np.int64))


def workspace_bytes(sizes, batch_size, jobs, width):
    """Return how much memory ``workspace_of`` takes."""
    size = network.work_size(sizes, max(batch_size, ROWS_AT_ONCE))
    return min(MOST_BLOCKS, jobs) * (size * np.dtype(width).itemsize + 8 * batch_size)


# ------------------------------------------------------------------------------------------------------------- control


def control_loop(train, evaluate, weights, steps, syncs, evaluation, threads):
    """Take R runs over a stretch, from one evaluated step to the next; the same loop for networks and surfaces.

    Parameters
    ----------
    train : function
        Called with (steps, taken): steps reach from one evaluated step to the next. It writes ``taken``, (R,), of the
        runs that are not frozen, and leaves the sync of the last step to this loop.
    evaluate : function
        Called with (params, index of the step, FAST or SLOW, whether slow weights are the same): params are the fast
        or slow weights, (R, n).
    weights, steps, syncs, evaluation
        As in :func:`advance`.
    threads : int
        Of a block.

    Returns
    -------
    (R,) int64 array
        As :func:`advance`.
    """
    first, last, runs = int(steps.first), int(steps.last), weights.p.shape[0]
    taken = cuda.to_device(np.zeros(runs, np.int64))
    index = {t: i for i, t in enumerate(evaluation.steps.copy_to_host().tolist())}
    if first == 0 and 0 in index:
        evaluate(weights.p, index[0], FAST, True)
    for low, high in pairwise(sorted({first, *(t for t in index if first < t < last), last})):
        train(steps._replace(first=np.int64(low), last=np.int64(high)), taken)
        at = index.get(high, -1)
        if at >= 0:
            evaluate(weights.p, at, FAST, False)
        if weights.slow.size:
            single(update_slow_weights)[runs, threads](weights, syncs, evaluation.diverged_at, high)
            if at >= 0:
                evaluate(weights.slow, at, SLOW, False)
    return taken.copy_to_host()


def advance(rule, weights, steps, syncs, model, batches, evaluation, work):
    """Train R dense networks over a stretch of steps and evaluate them on the way, all in place.

    The counterpart of ``cpu.runs.advance``; the arrays of all bundles lie on the device.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    weights : bundles.Weights
        Arrays (R, n) or (R, 0).
    steps : bundles.StepsOfRuns
    syncs : bundles.Syncs
    model : bundles.Network
    batches : bundles.Batches
    evaluation : bundles.Evaluation
        A run whose ``diverged_at`` is not -1 is frozen.
    work : bundles.Workspace

    Returns
    -------
    (R,) int64 array
        The steps taken in all: fewer than asked for where a run diverged, 0 for a run that was frozen before.
    """
    width, runs = weights.p.dtype.type, weights.p.shape[0]
    blocks = min(runs, len(work.numbers))
    jobs = min(runs * (evaluation.bounds.size - 1), len(work.numbers))
    near = sum(array.shape[1] for array in (weights.p, weights.g, weights.s1, weights.s2)) * weights.p.itemsize
    near = near if near <= SHARED_BYTES else 0

    def train(launch, taken):
        kernel = _training(rule, width, near > 0)[blocks, THREADS, 0, near]
        kernel(weights, launch, syncs, model, batches, work, evaluation.diverged_at, taken)

    def evaluate(params, at, kind, both):
        single(_evaluate)[jobs, THREADS](params, model, evaluation, syncs, work, at, kind, both)

    return control_loop(train, evaluate, weights, steps, syncs, evaluation, THREADS)
