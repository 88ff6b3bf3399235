"""Whole training runs of one dense network, compiled: no Python between the steps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.compiler import compiled, formula
from lookahead_nb.kernels.cpu import network, step
from lookahead_nb.kernels.cpu.loop import Phases, all_within, average_run, control_loop, gather, sync_run, update_run
from lookahead_nb.kernels.philox import minibatch


@formula
def _prepare(weights, model, batches):
    """Return the row indices, the rows and the labels of a minibatch."""
    rows, X = batches.batch_size, batches.X
    return np.empty(rows, np.int64), np.empty((rows, X.shape[1]), X.dtype), np.empty(rows, np.int64)


@formula
def _evaluate(measure, p, model, evaluation, scratch, work, t, results):
    bounds = evaluation.bounds
    for i in range(bounds.size - 1):
        lo, hi = bounds[i], bounds[i + 1]
        X, y = evaluation.X[lo:hi], evaluation.y[lo:hi]
        results[0, i, 0], results[0, i, 1] = measure(p, X, y, model.sizes, model.activation, work)


@formula
def _differentiate(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
    rows, batch, labels = scratch
    minibatch(batches.X.shape[0], batches.batch_size, batches.seed, t - 1, batches.reshuffles, rows)
    gather(batches.X, rows, batch)
    for r in range(rows.size):
        labels[r] = batches.y[rows[r]]
    loss = gradient(weights.p, batch, labels, model.sizes, model.activation, model.l2, weights.g, work)
    if np.isfinite(loss) and all_within(weights.g, steps.limits[0]):
        return True
    evaluation.diverged_at[0] = t
    return False


_advance = control_loop(
    "advance_network", Phases(_prepare, _evaluate, _differentiate, update_run, sync_run, average_run)
)


@lru_cache(None)
def _advance_loop(width):
    scalar, vector, _ = step.width_types(width)
    plain, _, sync = step.signatures(width)
    loss_and_grad, evaluate, *_ = network.signatures(width)
    signature = types.int64(
        *(types.FunctionType(s) for s in (plain, sync, loss_and_grad, evaluate)),
        bundles.weights_type(scalar, 1),
        bundles.steps_type(scalar, 1),
        bundles.syncs_of_one_run_type(scalar),
        bundles.network_type(scalar),
        bundles.batches_type(scalar),
        bundles.evaluation_type(scalar),
        vector,
    )
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule: str,
    weights: bundles.Weights,
    steps: bundles.Steps,
    syncs: bundles.SyncsOfOneRun,
    model: bundles.Network,
    batches: bundles.Batches,
    evaluation: bundles.Evaluation,
    work: np.ndarray,
) -> int:
    """Train one dense network over a stretch of steps and evaluate it on the way, all in place.

    The results are bit-for-bit those of single steps on ``loss_and_grad`` with the same minibatches.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    weights : bundles.Weights
        Arrays (n,) or (0,).
    steps : bundles.Steps
        The stretch.
    syncs : bundles.SyncsOfOneRun
        Its syncs; fitted slow steps are written to it.
    model : bundles.Network
        The network.
    batches : bundles.Batches
        The training rows.
    evaluation : bundles.Evaluation
        One run: ``diverged_at`` is (1,).
    work : (network.work_size(sizes, rows),) array
        Scratch memory for the larger of batch_size and ``network.ROWS_AT_ONCE`` rows.

    Returns
    -------
    int
        The number of steps taken in all, smaller than requested if the run diverged and froze.
    """
    width = weights.p.dtype.type
    loops = (
        step.plain_loop(rule, width),
        step.sync_loop_of(width, syncs.inner_state),
        network.loss_and_grad(width),
        network.evaluate(width),
    )
    return _advance_loop(width)(*loops, weights, steps, syncs, model, batches, evaluation, work)
