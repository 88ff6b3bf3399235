"""Whole training runs on a CUDA device: each block of threads trains one run at a time.

The counterpart of ``cpu/runs.py``: the same entry and the same bundles, with one number for each of R runs instead of a
single one. A launch moves all runs from one evaluated step to the next; only their losses leave the device. No sum is
shared between threads and nothing is added atomically, so results do not depend on the launch configuration.

The kernels that train float32 use no float64: the scalars of a step come from tables. Only the kernel that evaluates
adds up losses in float64, as the CPU does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numba import from_dtype

from lookahead_nb.kernels.bundles import Batches, Evaluation, Network, StepsOfRuns, Syncs, Weights, Workspace
from lookahead_nb.kernels.compiler import fma, formula, like, named
from lookahead_nb.kernels.formulas import (
    HEAVY_BALL,
    NESTEROV,
    RULES,
    STARTS_AT_WEIGHTS,
    heavy_ball_pull,
    nesterov_pull,
    pull,
    schedule_free_average,
)
from lookahead_nb.kernels.gpu import cuda, network
from lookahead_nb.kernels.gpu.network import Layer, Team
from lookahead_nb.kernels.gpu.step import sync_slot
from lookahead_nb.kernels.philox import ORDERS, minibatch_row

THREADS = 128  # a thread uses about 180 registers: two such blocks fit on a multiprocessor of 65,536
MOST_BLOCKS = 528  # each has its own scratch memory; four on every multiprocessor of the largest cards
ROWS_AT_ONCE = 64  # rows that a block evaluates together
SHARED_BYTES = 48 * 1024  # of shared memory, the default limit of a block on every device
FAST, SLOW = 0, 1

# --------------------------------------------------------------------------------- phases of every run: rule and sync


@formula
def weights_of_run(weights, run):
    """Return the weights of one run.

    Parameters
    ----------
    weights : bundles.Weights
        Those of R runs.
    run : int
        The number of the run, from 0.

    Returns
    -------
    bundles.Weights
        All (n,).
    """
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
    """Sync the weights of one run if a sync is due, as ``step.sync``; a thread syncs the weights that it has moved.

    Parameters
    ----------
    t : int
        The number of the step, from 1.
    weights : bundles.Weights
        Those of the run; changed in place.
    syncs : bundles.Syncs
        The syncs of all runs.
    run : int
        The number of the run, from 0.
    team : Team
        The threads of the block.
    """
    period = syncs.period[run]
    if period > 0 and t % period == 0:
        turn = (t // period - 1) % syncs.turns[run]
        size, rest = syncs.slow_steps[run, turn, 0], syncs.slow_steps[run, turn, 1]
        pull_back, inner_state = syncs.pull_back[run], syncs.inner_state
        p, s1, s2, slow = weights.p, weights.s1, weights.s2, weights.slow
        velocity = weights.a1  # with momentum, and then rest is the momentum
        for i in range(team.me, p.size, team.size):
            if inner_state == HEAVY_BALL:
                slow[i], velocity[i] = heavy_ball_pull(slow[i], velocity[i], p[i], size, rest)
            elif inner_state == NESTEROV:
                slow[i], velocity[i] = nesterov_pull(slow[i], velocity[i], p[i], size, rest)
            else:
                slow[i] = pull(slow[i], p[i], size, rest)
            p[i] = slow[i] if pull_back else p[i]
            if s1.size > 0:
                sync_slot(s1, weights.a1, i, size, rest, inner_state)
            if s2.size > 0:
                sync_slot(s2, weights.a2, i, size, rest, inner_state)


def end_of_step(rule, slots):
    """Return the phase that takes a step of the rule and syncs if due.

    Parameters
    ----------
    rule : function
        A formula of ``formulas.RULES``.
    slots : int
        The number of slots that it uses.

    Returns
    -------
    function
        ``end(beyond, t, weights, steps, syncs, run, team) -> (frozen_at, count)``; weights are those of one run.
        frozen_at is the step at which the run freezes, or -1. count is the number of steps taken: t - 1 if any thread
        found a loss or gradient beyond its limit, else t.
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
        if t < steps.last:  # `update_slow_weights` does the last sync, after the fast weights are evaluated
            sync_if_due(t, weights, syncs, run, team)
            cuda.syncthreads()
        return -1, t

    return cuda.jit(device=True)(named(f"end_of_step_{rule.__name__}", end))  # or the simulator misses barriers


@formula
def any_beyond(g, limit, team):
    """Return whether an element of this thread is not within [-limit, limit]; NaN is not.

    Parameters
    ----------
    g : (n,) array
        float32 or float64.
    limit : float
        Of the same width, at least 0.
    team : Team
        The threads of the block.

    Returns
    -------
    bool
    """
    beyond = False
    for i in range(team.me, g.size, team.size):
        beyond = beyond or not (abs(g[i]) <= limit)
    return beyond


def update_slow_weights(weights, syncs, diverged_at, t):
    """Sync the runs that are due at step t, and average those of Schedule-Free; frozen runs stay as they are. A kernel.

    Parameters
    ----------
    weights : bundles.Weights
        Those of R runs; changed in place.
    syncs : bundles.Syncs
        The syncs of all runs.
    diverged_at : (R,) int64 array
        -1 for a run that is not frozen.
    t : int
        The number of the step, from 1.
    """
    team = Team(cuda.threadIdx.x, cuda.blockDim.x)
    for run in range(cuda.blockIdx.x, weights.p.shape[0], cuda.gridDim.x):
        if diverged_at[run] < 0:
            arrays, outward = weights_of_run(weights, run), syncs.outward[run]
            sync_if_due(t, arrays, syncs, run, team)
            if outward > like(outward, 0):
                for i in range(team.me, arrays.p.size, team.size):
                    arrays.slow[i] = schedule_free_average(arrays.p[i], arrays.s1[i], outward)


# -------------------------------------------------------------------------------------------- training and evaluation


@formula
def _loss_in_double(params, model, rows, work, losses):
    """Return the loss as the CPU adds it up; every thread computes all of it.

    In float64 a sum of finite numbers may overflow.
    """
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
    """Return the kernel; shared : whether weights, gradient and state of a run are in shared memory meanwhile."""
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
            arrays = far
            if shared:  # a thread copies the elements that it moves, so no barrier is needed
                n, slot = far.p.size, 2 * far.p.size + far.s1.size
                p, g, s1, s2 = near[:n], near[n : 2 * n], near[2 * n : slot], near[slot:]
                arrays = Weights(p, g, s1, s2, far.slow, far.a1, far.a2)
                _copy(far.p, p, team)
                _copy(far.s1, s1, team)
                _copy(far.s2, s2, team)
            params, grad = arrays.p, arrays.g
            frozen_at, count = -1, steps.last
            for t in range(steps.first + 1, steps.last + 1):
                for i in range(team.me, batch_size, team.size):
                    rows[i] = minibatch_row(X.shape[0], batch_size, batches.seed[run], t - 1, batches.reshuffles, i)
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
                frozen_at, count = end_step(beyond, t, arrays, steps, syncs, run, team)
                if frozen_at >= 0:
                    break
            if shared:
                _copy(arrays.p, far.p, team)
                _copy(arrays.s1, far.s1, team)
                _copy(arrays.s2, far.s2, team)
            if team.me == 0:
                diverged_at[run], taken[run] = frozen_at, count

    return named(f"train_{rule.__name__}", kernel)


@formula
def is_evaluated(run, kind, syncs, diverged_at):
    """Return whether a run has weights of a kind and is not frozen.

    Parameters
    ----------
    run : int
        The number of the run, from 0.
    kind : int
        FAST or SLOW.
    syncs : bundles.Syncs
        The syncs of all runs.
    diverged_at : (R,) int64 array
        -1 for a run that is not frozen.

    Returns
    -------
    bool
    """
    has_slow_weights = syncs.period[run] > 0 or syncs.outward[run] > like(syncs.outward[run], 0)
    return diverged_at[run] < 0 and (kind == FAST or has_slow_weights)


def _evaluate(params, model, evaluation, syncs, work, at, kind, both):
    team, layers = Team(cuda.threadIdx.x, cuda.blockDim.x), model.sizes.size - 1
    sizes, X, y, results = model.sizes, evaluation.X, evaluation.y, evaluation.results
    space, all_rows, parts = work.numbers[cuda.blockIdx.x], y[:0], evaluation.bounds.size - 1
    for job in range(cuda.blockIdx.x, params.shape[0] * parts, cuda.gridDim.x):
        run, part = job // parts, job % parts
        if not is_evaluated(run, kind, syncs, evaluation.diverged_at):
            continue
        run_params, loss, hits = params[run], np.float64(0), 0
        low, high = evaluation.bounds[part], evaluation.bounds[part + 1]
        for first in range(low, high, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, high - first)
            network.load(X, first, all_rows, rows, sizes[0], False, space, 0, team)
            cuda.syncthreads()
            start, weight = 0, 0
            for i in range(layers):
                layer = Layer(weight, sizes[i], sizes[i + 1], rows)
                end = start + layer.fan_in * rows
                network.forward(run_params, layer, i < layers - 1, model.activation, space, start, end, False, 0, team)
                cuda.syncthreads()
                start, weight = end, weight + (layer.fan_in + 1) * layer.fan_out
            losses = network.losses_at(sizes, rows)
            network.losses_and_errors(y, first, all_rows, sizes[layers], rows, space, start, losses, False, team)
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
def single(function: Callable) -> Any:
    """Return the kernel of a function that accepts any rule and width.

    Parameters
    ----------
    function : function
        Plain Python.

    Returns
    -------
    kernel
    """
    return cuda.jit(function)


# ------------------------------------------------------------------------------------------- bundles on the device


def weights_of(numbers: Any, p: np.ndarray) -> Weights:
    """Return the :class:`Weights` of R runs at their start.

    Parameters
    ----------
    numbers : optimizers.RunNumbers
        Those of the R runs.
    p : (R, n) np.ndarray
        The weights.

    Returns
    -------
    bundles.Weights
        On the device.
    """
    arrays = {name: np.zeros((len(p), size), p.dtype) for name, size in numbers.sizes(p.shape[1]).items()}
    slots = [slot for slot, name in zip(("s1", "s2"), numbers.slots, strict=False) if name in STARTS_AT_WEIGHTS]
    copies = dict.fromkeys(["p", *slots, *(["slow"] if arrays["slow"].size else [])], p)
    return Weights(**{name: cuda.to_device(array) for name, array in (arrays | copies).items()})


def steps_of(numbers: Any, tables: Iterable[np.ndarray]) -> StepsOfRuns:
    """Return :class:`StepsOfRuns` with all steps of R runs.

    Parameters
    ----------
    numbers : optimizers.RunNumbers
        Those of the R runs.
    tables : iterable of (steps, 8) np.ndarray
        The scalars of the steps, one table for each run.

    Returns
    -------
    bundles.StepsOfRuns
        On the device, with equal tables stored once.
    """
    index: dict[bytes, int] = {}
    distinct: list[np.ndarray] = []
    which: list[int] = []
    for table in tables:
        which.append(index.setdefault(table.tobytes(), len(index)))
        if which[-1] == len(distinct):
            distinct.append(table)
    last, limits = np.int64(len(distinct[0])), tuple(numbers.limits)
    return StepsOfRuns(np.int64(0), last, cuda.to_device(np.stack(distinct)), cuda.to_device(np.array(which)), limits)


def syncs_of(numbers: Any, width: Any) -> Syncs:
    """Return the :class:`Syncs` of R runs.

    Parameters
    ----------
    numbers : optimizers.RunNumbers
        Those of the R runs.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    bundles.Syncs
        On the device.
    """
    return Syncs(
        cuda.to_device(numbers.period),
        cuda.to_device(numbers.slow_steps.astype(width)),
        cuda.to_device(numbers.turns),
        cuda.to_device(numbers.pull_back),
        np.int64(numbers.inner_state),
        cuda.to_device(numbers.outward.astype(width)),
    )


def network_of(model: Any, width: Any) -> Network:
    """Return the :class:`Network` of a dense model.

    Parameters
    ----------
    model : DenseNetwork
        An ``MLP`` or a ``LogisticRegression``.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    bundles.Network
        On the device.
    """
    return Network(cuda.to_device(model.sizes), np.int64(model.activation_code), width(model.l2))


def batches_of(rows: Any, batch_size: int, seeds: Any, order: str) -> Batches:
    """Return the :class:`Batches` of a data set's rows for R runs.

    Parameters
    ----------
    rows : training.setup.Rows
        The rows that all runs share.
    batch_size : int
        Rows of a minibatch.
    seeds : (R,) sequence of int
        One for each run.
    order : str
        One of ``philox.ORDERS``.

    Returns
    -------
    bundles.Batches
        On the device.
    """
    size, of_runs, reshuffles = np.int64(batch_size), np.asarray(seeds, np.uint64), np.int64(ORDERS[order])
    return Batches(cuda.to_device(rows.X), cuda.to_device(rows.y), size, cuda.to_device(of_runs), reshuffles)


def evaluation_of(rows: Any, steps: np.ndarray, runs: int) -> Evaluation:
    """Return the :class:`Evaluation` of a data set's rows, with all results NaN.

    Parameters
    ----------
    rows : training.setup.Rows
        The rows that all runs share.
    steps : (m,) int64 array
        The evaluated steps, rising.
    runs : int
        The number R of runs.

    Returns
    -------
    bundles.Evaluation
        On the device.
    """
    results = np.full((runs, len(steps), 2, len(rows.bounds) - 1, 2), np.nan)
    arrays = rows.eval_X, rows.eval_y, rows.bounds, steps, results, np.full(runs, -1, np.int64)
    return Evaluation(*map(cuda.to_device, arrays))


def workspace_of(sizes: Any, batch_size: int, jobs: int, width: Any) -> Workspace:
    """Return the :class:`Workspace` for some runs or parts of an evaluation.

    Parameters
    ----------
    sizes : sequence of int
        Features of the input and of each layer's output.
    batch_size : int
        Rows of a minibatch.
    jobs : int
        The number of runs or of parts of an evaluation.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    bundles.Workspace
        On the device.
    """
    blocks = min(MOST_BLOCKS, jobs)
    size = network.work_size(sizes, max(batch_size, ROWS_AT_ONCE))
    return Workspace(cuda.device_array((blocks, size), width), cuda.device_array((blocks, batch_size), np.int64))


def workspace_bytes(sizes: Any, batch_size: int, jobs: int, width: Any) -> int:
    """Return how much memory :func:`workspace_of` needs.

    Parameters
    ----------
    sizes, batch_size, jobs, width
        As in :func:`workspace_of`.

    Returns
    -------
    int
        Bytes.
    """
    size = network.work_size(sizes, max(batch_size, ROWS_AT_ONCE))
    return min(MOST_BLOCKS, jobs) * (size * np.dtype(width).itemsize + 8 * batch_size)


# ------------------------------------------------------------------------------------------------------------- control


def control_loop(
    train: Callable,
    evaluate: Callable,
    weights: Weights,
    steps: StepsOfRuns,
    syncs: Syncs,
    evaluation: Evaluation,
    threads: int,
) -> np.ndarray:
    """Move R runs over a stretch, from one evaluated step to the next; the same loop for networks and surfaces.

    Parameters
    ----------
    train : function
        Called with (steps, taken): steps reach from one evaluated step to the next. It writes ``taken``, (R,), of the
        runs that are not frozen, and leaves the sync of the last step to this loop.
    evaluate : function
        Called with (params, index of the step, FAST or SLOW, whether slow weights are the same): params are the fast or
        slow weights, (R, n).
    weights : bundles.Weights
        As in :func:`advance`.
    steps : bundles.StepsOfRuns
        As in :func:`advance`.
    syncs : bundles.Syncs
        As in :func:`advance`.
    evaluation : bundles.Evaluation
        As in :func:`advance`.
    threads : int
        Threads of a block.

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


def advance(
    rule: str,
    weights: Weights,
    steps: StepsOfRuns,
    syncs: Syncs,
    model: Network,
    batches: Batches,
    evaluation: Evaluation,
    work: Workspace,
) -> np.ndarray:
    """Train R dense networks over a stretch of steps and evaluate them on the way, all in place.

    The counterpart of ``cpu.runs.advance``; the arrays of all bundles are in device memory.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    weights : bundles.Weights
        Arrays (R, n) or (R, 0).
    steps : bundles.StepsOfRuns
        The stretch.
    syncs : bundles.Syncs
        The syncs of the R runs.
    model : bundles.Network
        The network.
    batches : bundles.Batches
        The training rows.
    evaluation : bundles.Evaluation
        A run whose ``diverged_at`` is not -1 is frozen.
    work : bundles.Workspace
        Scratch memory.

    Returns
    -------
    (R,) int64 array
        The number of steps taken in all: fewer than requested where a run diverged, 0 for a run that was already
        frozen.
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
