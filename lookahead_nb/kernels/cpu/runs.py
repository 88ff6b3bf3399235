"""Whole training runs of one dense network, compiled: no Python between the steps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.compiler import compiled, formula
from lookahead_nb.kernels.cpu import network, step
from lookahead_nb.kernels.cpu.by_group import clip, update_by_group
from lookahead_nb.kernels.cpu.loop import Phases, average_run, control_loop, gather, may_step, sync_run, update_run
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
def _gradient_of_batch(gradient, weights, model, batches, scratch, work, t):
    """Write the gradient of the minibatch of a step and return its loss."""
    rows, batch, labels = scratch
    minibatch(batches.X.shape[0], batches.batch_size, batches.seed, t - 1, batches.reshuffles, rows)
    gather(batches.X, rows, batch)
    for r in range(rows.size):
        labels[r] = batches.y[rows[r]]
    return gradient(weights.p, batch, labels, model.sizes, model.activation, model.l2, weights.g, work)


@formula
def _differentiate(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
    loss = _gradient_of_batch(gradient, weights, model, batches, scratch, work, t)
    return may_step(np.isfinite(loss), weights, steps, evaluation, t)


@formula
def _clip_and_check(loss, weights, steps, evaluation, t):
    """Clip the gradient, and return whether the run goes on with it."""
    norm = clip(weights.g, steps.most) if np.isfinite(steps.most) else 0.0
    return may_step(np.isfinite(loss) and np.isfinite(norm), weights, steps, evaluation, t)


@formula
def _differentiate_and_clip(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
    loss = _gradient_of_batch(gradient, weights, model, batches, scratch, work, t)
    return _clip_and_check(loss, weights, steps, evaluation, t)


@formula
def _prepare_weighted(weights, model, batches):
    """Return the row indices, the rows, the labels and the shares of a minibatch."""
    rows, X = batches.batch_size, batches.X
    shares = np.empty(rows, X.dtype)
    return np.empty(rows, np.int64), np.empty((rows, X.shape[1]), X.dtype), np.empty(rows, np.int64), shares


@formula
def _evaluate_weighted(measure, p, model, evaluation, scratch, work, t, results):
    bounds = evaluation.bounds
    for i in range(bounds.size - 1):
        lo, hi = bounds[i], bounds[i + 1]
        X, y, weights = evaluation.X[lo:hi], evaluation.y[lo:hi], evaluation.weights[lo:hi]
        results[0, i, 0], results[0, i, 1] = measure(p, X, y, weights, model.sizes, model.activation, work)


@formula
def _gradient_of_weighted_batch(gradient, weights, model, batches, scratch, work, t):
    """Write the gradient of the minibatch of a step and return its loss, both with the shares of its rows."""
    rows, batch, labels, shares = scratch
    minibatch(batches.X.shape[0], batches.batch_size, batches.seed, t - 1, batches.reshuffles, rows)
    gather(batches.X, rows, batch)
    for r in range(rows.size):
        labels[r] = batches.y[rows[r]]
    network.shares_of(batches.weights, rows, shares)
    return gradient(weights.p, batch, labels, shares, model.sizes, model.activation, model.l2, weights.g, work)


@formula
def _differentiate_weighted(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
    loss = _gradient_of_weighted_batch(gradient, weights, model, batches, scratch, work, t)
    return may_step(np.isfinite(loss), weights, steps, evaluation, t)


@formula
def _differentiate_weighted_and_clip(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
    loss = _gradient_of_weighted_batch(gradient, weights, model, batches, scratch, work, t)
    return _clip_and_check(loss, weights, steps, evaluation, t)


_PLAIN, _WEIGHTED = (_prepare, _evaluate), (_prepare_weighted, _evaluate_weighted)
_UPDATES = {False: (update_run, sync_run, average_run), True: (update_by_group, sync_run, average_run)}
_LOOPS = {  # by whether rows have weights, and whether weights have groups or gradients are clipped
    (False, False): control_loop("advance_network", Phases(*_PLAIN, _differentiate, *_UPDATES[False])),
    (False, True): control_loop("advance_network_by_group", Phases(*_PLAIN, _differentiate_and_clip, *_UPDATES[True])),
    (True, False): control_loop(
        "advance_weighted_network", Phases(*_WEIGHTED, _differentiate_weighted, *_UPDATES[False])
    ),
    (True, True): control_loop(
        "advance_weighted_network_by_group", Phases(*_WEIGHTED, _differentiate_weighted_and_clip, *_UPDATES[True])
    ),
}


@lru_cache(None)
def _advance_loop(width, weighted, by_group):
    scalar, vector, _ = step.width_types(width)
    plain, _, sync = step.signatures(width)
    loss_and_grad, evaluate = (network.weighted_signatures if weighted else network.signatures)(width)[:2]
    signature = types.int64(
        *(types.FunctionType(s) for s in (plain, sync, loss_and_grad, evaluate)),
        bundles.weights_type(scalar, 1),
        bundles.steps_by_group_type(scalar) if by_group else bundles.steps_type(scalar, 1),
        bundles.syncs_of_one_run_type(scalar),
        bundles.network_type(scalar),
        (bundles.weighted_batches_type if weighted else bundles.batches_type)(scalar),
        (bundles.weighted_evaluation_type if weighted else bundles.evaluation_type)(scalar),
        vector,
    )
    return compiled(signature, nogil=True)(_LOOPS[weighted, by_group])


def advance(
    rule: str,
    weights: bundles.Weights,
    steps: bundles.Steps | bundles.StepsByGroup,
    syncs: bundles.SyncsOfOneRun,
    model: bundles.Network,
    batches: bundles.Batches | bundles.WeightedBatches,
    evaluation: bundles.Evaluation | bundles.WeightedEvaluation,
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
    steps : bundles.Steps or bundles.StepsByGroup
        The stretch. The latter gives groups of weights their own scalars and clips gradients.
    syncs : bundles.SyncsOfOneRun
        Its syncs; fitted slow steps are written to it.
    model : bundles.Network
        The network.
    batches : bundles.Batches or bundles.WeightedBatches
        The training rows.
    evaluation : bundles.Evaluation or bundles.WeightedEvaluation
        One run: ``diverged_at`` is (1,). With weights if the training rows have them.
    work : (network.work_size(sizes, rows),) array
        Scratch memory for the larger of batch_size and ``network.ROWS_AT_ONCE`` rows.

    Returns
    -------
    int
        The number of steps taken in all, smaller than requested if the run diverged and froze.
    """
    width, weighted = weights.p.dtype.type, isinstance(batches, bundles.WeightedBatches)
    loops = (
        step.plain_loop(rule, width),
        step.sync_loop_of(width, syncs.inner_state),
        (network.weighted_loss_and_grad if weighted else network.loss_and_grad)(width),
        (network.weighted_evaluate if weighted else network.evaluate)(width),
    )
    loop = _advance_loop(width, weighted, isinstance(steps, bundles.StepsByGroup))
    return loop(*loops, weights, steps, syncs, model, batches, evaluation, work)
