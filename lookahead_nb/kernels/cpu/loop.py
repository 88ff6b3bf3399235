"""The control loop of compiled runs on the CPU: evaluate if due, differentiate, update, sync, evaluate.

One loop serves one network, networks side by side and test functions. They differ in their phases, which are formulas
compiled into the loop. ``bundles`` describes the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lookahead_nb.kernels.compiler import formula, like, named
from lookahead_nb.kernels.cpu import step
from lookahead_nb.kernels.cpu.adaptive import step_of_sync

FAST, SLOW = 0, 1  # columns of the results


class Phases(NamedTuple):
    """The functions in which one kind of runs differs from another; ``t`` is the number of the step, from 1.

    Attributes
    ----------
    prepare : function
        ``(weights, model, batches) -> scratch``, the scratch arrays of a stretch of steps.
    evaluate : function
        ``(function, p, model, evaluation, scratch, work, t, results)``, writes results (R, parts, 2).
    differentiate : function
        ``(function, weights, steps, model, batches, evaluation, scratch, work, t) -> bool``, writes the gradient. It
        returns False if the run freezes ahead of the update, and records the step in ``evaluation.diverged_at``.
    update : function
        ``(rule, weights, steps, syncs, evaluation, scratch, t) -> bool``, moves the fast weights. It returns False if
        the run freezes after the update.
    sync : function
        ``(function, weights, steps, syncs, scratch, t)``, moves the slow weights if they are due.
    average : function
        ``(weights, syncs)``, computes slow weights that are only evaluated (Schedule-Free).
    """

    prepare: Callable
    evaluate: Callable
    differentiate: Callable
    update: Callable
    sync: Callable
    average: Callable


def control_loop(name: str, phases: Phases) -> Callable:
    """Return the loop of one kind of runs, to be compiled, under its own name for Numba's cache.

    Parameters
    ----------
    name : str
        The name, unique among the compiled functions.
    phases : Phases
        The phases of this kind of runs.

    Returns
    -------
    function
        ``(rule, sync, gradient, measure, weights, steps, syncs, model, batches, evaluation, work) -> int``. It trains
        over the stretch of ``steps`` and returns how many steps were taken in all.

    Notes
    -----
    At a step with a sync the fast weights are evaluated ahead of the pull and the slow ones after it. A run may be cut
    anywhere and continued, since everything it changes is in its arguments.
    """
    prepare, evaluate, differentiate, update, sync_if_due, average = phases

    def advance(rule, sync, gradient, measure, weights, steps, syncs, model, batches, evaluation, work):
        scratch = prepare(weights, model, batches)
        eval_steps, results = evaluation.steps, evaluation.results
        first, last, due = steps.first, steps.first + steps.table.shape[0], 0
        while due < eval_steps.size and eval_steps[due] < first + (first > 0):
            due += 1
        if first == 0 and due < eval_steps.size and eval_steps[due] == 0:
            evaluate(measure, weights.p, model, evaluation, scratch, work, 0, results[:, due, FAST])
            _copy(results[:, due, FAST], results[:, due, SLOW])
            due += 1
        for t in range(first + 1, last + 1):
            if not differentiate(gradient, weights, steps, model, batches, evaluation, scratch, work, t):
                return t - 1
            if not update(rule, weights, steps, syncs, evaluation, scratch, t):
                return t
            evaluates = due < eval_steps.size and eval_steps[due] == t
            if evaluates:
                evaluate(measure, weights.p, model, evaluation, scratch, work, t, results[:, due, FAST])
            sync_if_due(sync, weights, steps, syncs, scratch, t)
            if evaluates and weights.slow.shape[0] > 0:
                average(weights, syncs)
                evaluate(measure, weights.slow, model, evaluation, scratch, work, t, results[:, due, SLOW])
            due += evaluates
        return last

    return named(name, advance)


@formula
def _copy(source, target):
    for run in range(source.shape[0]):
        for part in range(source.shape[1]):
            for column in range(source.shape[2]):
                target[run, part, column] = source[run, part, column]


# ------------------------------------------------------------------------------------------- phases of one run alone


@formula
def all_within(x, limit):
    """Return whether every element lies in [-limit, limit]; NaN does not.

    Parameters
    ----------
    x : (n,) array
        float32 or float64.
    limit : float
        Of the same width, at least 0.

    Returns
    -------
    bool
    """
    beyond = 0
    for i in range(x.size):
        beyond += not (abs(x[i]) <= limit)  # a sum of integers vectorises, an early exit would not
    return beyond == 0


@formula
def is_due(period, t):
    """Return whether a run syncs at a step.

    Parameters
    ----------
    period : int
        Steps between two syncs; 0 for a run that never syncs.
    t : int
        The number of the step, from 1.

    Returns
    -------
    bool
    """
    return period > 0 and t % period == 0


@formula
def keep_before_sync(weights, syncs, t):
    """Keep the fast weights ahead of a step with a sync whose slow step is fitted.

    Parameters
    ----------
    weights : bundles.Weights
        Read.
    syncs : bundles.SyncsOfOneRun
        ``before`` is overwritten.
    t : int
        The number of the step, from 1.
    """
    if syncs.before.size > 0 and is_due(syncs.period, t):
        for i in range(syncs.before.size):
            syncs.before[i] = weights.p[i]


@formula
def stays_finite(weights, steps, evaluation, t):
    """Return whether all weights are finite, and record the step if they are not.

    Parameters
    ----------
    weights : bundles.Weights
        Read.
    steps : bundles.Steps
        The limits.
    evaluation : bundles.Evaluation
        ``diverged_at`` is set if a weight is not finite.
    t : int
        The number of the step, from 1.

    Returns
    -------
    bool
    """
    if all_within(weights.p, steps.limits[1]):
        return True
    evaluation.diverged_at[0] = t
    return False


@formula
def may_step(is_finite, weights, steps, evaluation, t):
    """Return whether a run may take a step with its gradient.

    Parameters
    ----------
    is_finite : bool
        Whether the loss is, and the norm where gradients are clipped.
    weights : bundles.Weights
        Read: the gradient.
    steps : bundles.Steps or bundles.StepsByGroup
        The limits.
    evaluation : bundles.Evaluation
        ``diverged_at`` is set if it may not.
    t : int
        The number of the step, from 1.

    Returns
    -------
    bool
    """
    if is_finite and all_within(weights.g, steps.limits[0]):
        return True
    evaluation.diverged_at[0] = t
    return False


@formula
def update_run(rule, weights, steps, syncs, evaluation, scratch, t):
    """Take a step of the rule; see :class:`Phases`.

    Parameters
    ----------
    rule : function
        The compiled loop of the update rule.
    weights : bundles.Weights
        Changed in place.
    steps : bundles.Steps
        The scalars of the step and the limits.
    syncs : bundles.SyncsOfOneRun
        ``before`` is overwritten ahead of a sync, where slow steps are fitted.
    evaluation : bundles.Evaluation
        ``diverged_at`` is set if a weight is not finite.
    scratch : tuple
        Not used.
    t : int
        The number of the step, from 1.

    Returns
    -------
    bool
        Whether all weights are finite.
    """
    keep_before_sync(weights, syncs, t)
    rule(weights.p, weights.g, weights.s1, weights.s2, steps.table[t - 1 - steps.first])
    return stays_finite(weights, steps, evaluation, t)


@formula
def sync_run(sync, weights, steps, syncs, scratch, t):
    """Sync a run if it is due, with the next slow step or the fitted one; see :class:`Phases`.

    Parameters
    ----------
    sync : function
        The compiled loop of a sync.
    weights : bundles.Weights
        Changed in place.
    steps : bundles.Steps
        The scalars of the step.
    syncs : bundles.SyncsOfOneRun
        Gives the slow steps; a fitted one is written to it.
    scratch : tuple
        Not used.
    t : int
        The number of the step, from 1.
    """
    if is_due(syncs.period, t):
        p, g, s1, s2, slow, a1, a2 = weights
        n, row, width = t // syncs.period - 1, steps.table[t - 1 - steps.first], steps.limits[1]
        size, rest = step_of_sync(n, syncs, p, slow, g, s2, row)
        sync(p, s1, s2, slow, a1, a2, like(width, size), like(width, rest), syncs.pull_back, syncs.inner_state)


@formula
def average_run(weights, syncs):
    """Compute the average of Schedule-Free, if the run is one; see :class:`Phases`.

    Parameters
    ----------
    weights : bundles.Weights
        ``slow`` is overwritten.
    syncs : bundles.SyncsOfOneRun
        Gives ``outward``.
    """
    if syncs.outward > like(syncs.outward, 0):
        step.average_all(weights.p, weights.s1, syncs.outward, weights.slow)


@formula
def gather(X, rows, batch):
    """Copy rows of X to batch; number by number, which takes a third of the time of whole slices.

    Parameters
    ----------
    X : (all rows, features) array
        The training rows.
    rows : (batch_size,) int64 array
        The indices of the rows.
    batch : (batch_size, features) array
        Overwritten.
    """
    for r in range(rows.size):
        source, target = X[rows[r]], batch[r]
        for f in range(target.size):
            target[f] = source[f]
