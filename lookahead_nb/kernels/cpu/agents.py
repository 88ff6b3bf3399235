"""Agents that learn CartPole, compiled: episodes, advantages, the loss of a policy with its gradient, whole runs.

An agent is two dense networks on one flat buffer (``network``): the policy, with a logit for each action, and then the
value, which estimates the return. One iteration lets every environment take ``horizon`` steps with the present weights.
Then the optimizer goes through this experience in minibatches. The control loop is that of all runs (``loop``), so
every optimizer, sync and average means the same as elsewhere.

Every random number is a function of the seed and of its place. In training these are the number of the step, the
episode and the environment. An evaluation has numbers of its own at each evaluated step, the same for fast and slow
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.compiler import compiled, fma, formula, like, sqrt
from lookahead_nb.kernels.cpu import network, step
from lookahead_nb.kernels.cpu.by_group import clip
from lookahead_nb.kernels.cpu.loop import Phases, average_run, control_loop, gather, may_step, sync_run, update_run
from lookahead_nb.kernels.formulas import (
    advantage_before,
    cartpole_step,
    clipped_objective,
    clipped_slope,
    entropy_with,
    half_squared_error,
    has_fallen,
    output_error,
    policy_error,
    policy_loss,
    probability_ratio,
    softmax_loss,
    softmax_share,
    softmax_term,
    standardized,
)
from lookahead_nb.kernels.philox import ACTIONS, EPISODES, minibatch, philox4x32, uniform

LONGEST_EPISODE = 500  # steps of CartPole-v1
TRAINING = np.uint64(0)  # the block of random numbers; that of an evaluation is its step + 1
_NUMBERS = 4  # of a state, and of a call of philox
_u64, _LOW, _32 = np.uint64, np.uint64(0xFFFFFFFF), np.uint64(32)


# ------------------------------------------------------------------------------------------------------- environment


@formula
def start_episode(seed, episode, environment, block, state):
    """Write the first state of an episode: four uniform numbers in [-0.05, 0.05).

    Parameters
    ----------
    seed : uint64
    episode, environment : int
        Their numbers, from 0.
    block : uint64
        TRAINING, or that of an evaluation.
    state : (4,) float64 array
        Overwritten.
    """
    words = philox4x32(_u64(episode), _u64(environment), block, EPISODES, seed & _LOW, seed >> _32)
    for i in range(_NUMBERS):
        state[i] = fma(0.1, uniform(words[i]), -0.05)


@formula
def move(state, action):
    """Take one step of CartPole, and return whether the episode has failed.

    Parameters
    ----------
    state : (4,) float64 array
        Changed in place.
    action : int
        0 or 1.

    Returns
    -------
    bool
    """
    state[0], state[1], state[2], state[3] = cartpole_step(state[0], state[1], state[2], state[3], action)
    return has_fallen(state[0], state[2])


@lru_cache(None)
def start_loop() -> Callable:
    """Return :func:`start_episode`, compiled.

    Returns
    -------
    function
    """
    word, whole = types.uint64, types.int64
    return compiled(types.void(word, whole, whole, word, types.float64[::1]))(start_episode)


@lru_cache(None)
def move_loop() -> Callable:
    """Return :func:`move`, compiled.

    Returns
    -------
    function
    """
    return compiled(types.boolean(types.float64[::1], types.int64))(move)


# ------------------------------------------------------------------------------------------------------------ policy


@formula
def _weights_of(sizes):
    """Return the number of weights of a network."""
    count = 0
    for layer in range(sizes.size - 1):
        count += (sizes[layer] + 1) * sizes[layer + 1]
    return count


@formula
def _outputs(params, X, first, rows, sizes, activation, work):
    """Return the outputs (units, rows) of rows from ``first`` on, a part of ``work``."""
    at = network._forward(params, X, first, rows, sizes, activation, work)
    return network._block(work, at, sizes[sizes.size - 1], rows)


@formula
def _peak_and_total(logits, r):
    """Return the largest logit of a row, and the sum of its softmax terms."""
    peak = logits[0, r]
    for a in range(1, logits.shape[0]):
        peak = logits[a, r] if logits[a, r] > peak else peak
    total = like(peak, 0)
    for a in range(logits.shape[0]):
        total = total + softmax_term(logits[a, r], peak)
    return peak, total


@formula
def _chosen(logits, r, u):
    """Return the action that a uniform number in [0, 1) chooses, and its log-probability."""
    peak, total = _peak_and_total(logits, r)
    action = 0
    below = softmax_share(softmax_term(logits[0, r], peak), total)
    while action < logits.shape[0] - 1 and not u < np.float64(below):
        action += 1
        below = below + softmax_share(softmax_term(logits[action, r], peak), total)
    return action, -softmax_loss(logits[action, r], peak, total)


@formula
def _policy_errors(logits, actions, old, advantages, clip, entropy_weight):
    """Return the sum of the losses of actions, and turn logits (actions, rows) into the gradient of their mean."""
    share, loss = like(clip, 1) / like(clip, logits.shape[1]), 0.0
    for r in range(logits.shape[1]):
        peak, total = _peak_and_total(logits, r)
        entropy = like(clip, 0)
        for a in range(logits.shape[0]):
            probability = softmax_share(softmax_term(logits[a, r], peak), total)
            entropy = entropy_with(probability, -softmax_loss(logits[a, r], peak, total), entropy)
        ratio = probability_ratio(-softmax_loss(logits[actions[r], r], peak, total), old[r])
        slope = clipped_slope(ratio, advantages[r], clip)
        loss += np.float64(policy_loss(clipped_objective(ratio, advantages[r], clip), entropy, entropy_weight))
        for a in range(logits.shape[0]):
            log_probability = -softmax_loss(logits[a, r], peak, total)
            probability = softmax_share(softmax_term(logits[a, r], peak), total)
            logits[a, r] = policy_error(
                probability, log_probability, actions[r] == a, slope, entropy, entropy_weight, share
            )
    return loss


@formula
def _value_errors(values, targets, weight):
    """Return the weighted sum of half squared errors, and turn values (rows,) into the gradient of their mean."""
    share, loss = weight / like(weight, values.size), 0.0
    for r in range(values.size):
        loss = fma(np.float64(weight), np.float64(half_squared_error(values[r], targets[r])), loss)
        values[r] = output_error(values[r], targets[r], share)
    return loss


def _loss_and_grad(params, X, actions, old, advantages, targets, objective, sizes, value_sizes, activation, grad, work):
    rows, split, no_l2 = X.shape[0], _weights_of(sizes), like(objective[0], 0)
    logits = _outputs(params[:split], X, 0, rows, sizes, activation, work)
    loss = _policy_errors(logits, actions, old, advantages, objective[0], objective[2])
    at = rows * _inputs_of(sizes)
    network._backward(params[:split], X, sizes, activation, no_l2, at, grad[:split], work)
    values = _outputs(params[split:], X, 0, rows, value_sizes, activation, work)
    loss += _value_errors(values[0], targets, objective[1])
    at = rows * _inputs_of(value_sizes)
    network._backward(params[split:], X, value_sizes, activation, no_l2, at, grad[split:], work)
    return loss / rows


@formula
def _inputs_of(sizes):
    """Return the units of all layers except the last; the outputs of a row begin after them."""
    count = 0
    for layer in range(sizes.size - 1):
        count += sizes[layer]
    return count


@lru_cache(None)
def _loss_signature(width):
    scalar, vector, readonly = step.width_types(width)
    whole = types.Array(types.int64, 1, "C", readonly=True)
    rows = types.Array(scalar, 2, "C", readonly=True), whole, readonly, readonly, readonly
    return types.float64(readonly, *rows, readonly, whole, whole, types.int64, vector, vector)


@lru_cache(None)
def loss_and_grad(width: Any) -> Callable:
    """Return the compiled function that computes the loss of an agent and its gradient.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, X, actions, old, advantages, targets, objective, sizes, value_sizes, activation, grad, work)``
        returns the loss, float64: the mean over rows of ``formulas.policy_loss`` plus the weighted half squared error
        of the value. grad, (n,), is overwritten by its gradient. old, advantages and targets are (rows,) of the same
        width; the others as in ``bundles.Agent`` and ``network``.
    """
    return compiled(_loss_signature(width), nogil=True)(_loss_and_grad)


# --------------------------------------------------------------------------------------------------------- experience


@formula
def _observe(states, observations, first):
    """Write states, in the width of the observations, to the rows from ``first`` on."""
    for e in range(states.shape[0]):
        for i in range(_NUMBERS):
            observations[first + e, i] = like(observations[0, 0], states[e, i])


@formula
def _words_of_actions(seed, t, quarter, block):
    return philox4x32(_u64(t), _u64(quarter), block, ACTIONS, seed & _LOW, seed >> _32)


@formula
def _finish(experience, e, seed):
    """Record the return of an episode and start the next one of an environment."""
    experience.recent[experience.finished[0] % experience.recent.size] = np.float64(experience.lengths[e])
    experience.finished[0] += 1
    experience.lengths[e] = 0
    experience.episodes[e] += 1
    start_episode(seed, experience.episodes[e], e, TRAINING, experience.states[e])


@formula
def _play(p, agent, experience, iteration, work):
    """Let every environment take ``horizon`` steps."""
    states, lengths, observations = experience.states, experience.lengths, experience.observations
    sizes, activation, environments = agent.policy.sizes, agent.policy.activation, experience.states.shape[0]
    if iteration == 0:
        for e in range(environments):
            start_episode(agent.seed, 0, e, TRAINING, states[e])
    for s in range(agent.horizon):
        first = s * environments
        _observe(states, observations, first)
        logits = _outputs(p, observations, first, environments, sizes, activation, work)
        for e in range(environments):
            words = _words_of_actions(agent.seed, iteration * agent.horizon + s, e // _NUMBERS, TRAINING)
            row = first + e
            action, experience.log_probabilities[row] = _chosen(logits, e, uniform(words[e % _NUMBERS]))
            experience.actions[row] = action
            failed = move(states[e], action)
            lengths[e] += 1
            experience.ended[row] = failed or lengths[e] == LONGEST_EPISODE
            if experience.ended[row]:
                _finish(experience, e, agent.seed)


@formula
def _judge(p, agent, experience, following, work):
    """Write values and advantages of all actions, and the targets of the values; each step earns a reward of 1."""
    sizes, activation, none = agent.value_sizes, agent.policy.activation, like(agent.discount, 0)
    environments = experience.states.shape[0]
    for first in range(0, experience.values.size, environments):
        values = _outputs(p, experience.observations, first, environments, sizes, activation, work)
        for e in range(environments):
            experience.values[first + e] = values[0, e]
    _observe(experience.states, following, 0)
    values = _outputs(p, following, 0, environments, sizes, activation, work)
    for e in range(environments):
        value, later = values[0, e], none
        for s in range(agent.horizon - 1, -1, -1):
            row = s * environments + e
            if experience.ended[row]:
                value, later = none, none
            now = experience.values[row]
            later = advantage_before(like(none, 1), now, value, later, agent.discount, agent.trace)
            value = now
            experience.advantages[row], experience.targets[row] = later, later + now


@formula
def _note_progress(experience, iteration):
    count = min(experience.finished[0], experience.recent.size)
    total = 0.0
    for i in range(count):
        total += experience.recent[i]
    experience.progress[iteration, 0] = experience.finished[0]
    if count > 0:
        experience.progress[iteration, 1] = total / count


# ---------------------------------------------------------------------------------------------------------- the run


@formula
def _prepare(weights, agent, experience):
    """Return the rows of a minibatch, what belongs to them, and the observations that follow an iteration."""
    environments, features = experience.states.shape[0], experience.observations.shape[1]
    count = experience.actions.size // agent.minibatches
    observations, numbers = experience.observations, experience.values
    return (
        np.empty(count, np.int64),
        np.empty((count, features), observations.dtype),
        np.empty(count, np.int64),
        np.empty((3, count), numbers.dtype),
        np.empty((environments, features), observations.dtype),
    )


@formula
def _standardize(advantages):
    """Bring advantages to mean 0 and standard deviation 1, in place; sums run upwards in float64."""
    total, squares = 0.0, 0.0
    for r in range(advantages.size):
        total += np.float64(advantages[r])
    mean = total / advantages.size
    for r in range(advantages.size):
        away = np.float64(advantages[r]) - mean
        squares = fma(away, away, squares)
    deviation = sqrt(squares / advantages.size)
    for r in range(advantages.size):
        advantages[r] = like(advantages[r], standardized(np.float64(advantages[r]), mean, deviation))


@formula
def _differentiate(gradient, weights, steps, agent, experience, evaluation, scratch, work, t):
    rows, observations, actions, numbers, following = scratch
    old, advantages, targets = numbers[0], numbers[1], numbers[2]
    a_pass = agent.passes * agent.minibatches
    if (t - 1) % a_pass == 0:
        iteration = (t - 1) // a_pass
        split = _weights_of(agent.policy.sizes)
        _play(weights.p[:split], agent, experience, iteration, work)
        _judge(weights.p[split:], agent, experience, following, work)
        _note_progress(experience, iteration)
    minibatch(experience.actions.size, rows.size, agent.seed, t - 1, True, rows)
    gather(experience.observations, rows, observations)
    for r in range(rows.size):
        actions[r], old[r] = experience.actions[rows[r]], experience.log_probabilities[rows[r]]
        advantages[r], targets[r] = experience.advantages[rows[r]], experience.targets[rows[r]]
    if agent.standardizes:
        _standardize(advantages)
    policy, grad = agent.policy, weights.g
    loss = gradient(
        weights.p, observations, actions, old, advantages, targets, agent.objective,
        policy.sizes, agent.value_sizes, policy.activation, grad, work,
    )  # fmt: skip
    clip(grad, agent.longest)
    return may_step(np.isfinite(loss), weights, steps, evaluation, t)


@formula
def _evaluate(measure, p, agent, evaluation, scratch, work, t, results):
    """Write the mean return of episodes with these weights, and the share of them that last to the end."""
    results[0, 0, 0], results[0, 0, 1] = measure(
        p, agent.policy.sizes, agent.policy.activation, agent.seed, t, agent.episodes, work
    )


def _returns(params, sizes, activation, seed, t, episodes, work):
    """Return the mean return of episodes, and the share of them that last to the end."""
    policy, block = params[: _weights_of(sizes)], _u64(t) + _u64(1)
    states, lengths = np.empty((episodes, _NUMBERS)), np.zeros(episodes, np.int64)
    observations, failed = np.empty((episodes, _NUMBERS), params.dtype), np.zeros(episodes, np.bool_)
    for e in range(episodes):
        start_episode(seed, 0, e, block, states[e])
    total, standing = 0, episodes
    for s in range(LONGEST_EPISODE):
        _observe(states, observations, 0)
        logits = _outputs(policy, observations, 0, episodes, sizes, activation, work)
        for e in range(episodes):
            if not failed[e]:
                words = _words_of_actions(seed, s, e // _NUMBERS, block)
                action, _ = _chosen(logits, e, uniform(words[e % _NUMBERS]))
                failed[e] = move(states[e], action)
                lengths[e] += 1
                standing -= failed[e]
        if standing == 0:
            break
    for e in range(episodes):
        total += lengths[e]
    return total / episodes, standing / episodes


@lru_cache(None)
def _returns_signature(width):
    _, vector, readonly = step.width_types(width)
    whole = types.int64
    shape = types.Array(whole, 1, "C", readonly=True), whole
    return types.UniTuple(types.float64, 2)(readonly, *shape, types.uint64, whole, whole, vector)


@lru_cache(None)
def returns(width: Any) -> Callable:
    """Return the compiled function that plays the episodes of an evaluation.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(params, sizes, activation, seed, t, episodes, work) -> (mean return, share of whole episodes)``. The random
        numbers depend on seed, t and episode.
    """
    return compiled(_returns_signature(width), nogil=True)(_returns)


_advance = control_loop("advance_agent", Phases(_prepare, _evaluate, _differentiate, update_run, sync_run, average_run))


@lru_cache(None)
def _advance_loop(width):
    scalar, vector, _ = step.width_types(width)
    plain, _, sync = step.signatures(width)
    functions = plain, sync, _loss_signature(width), _returns_signature(width)
    signature = types.int64(
        *(types.FunctionType(s) for s in functions),
        bundles.weights_type(scalar, 1),
        bundles.steps_type(scalar, 1),
        bundles.syncs_of_one_run_type(scalar),
        bundles.agent_type(scalar),
        bundles.experience_type(scalar),
        bundles.evaluation_type(scalar),
        vector,
    )
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule: str,
    weights: bundles.Weights,
    steps: bundles.Steps,
    syncs: bundles.SyncsOfOneRun,
    agent: bundles.Agent,
    experience: bundles.Experience,
    evaluation: bundles.Evaluation,
    work: np.ndarray,
) -> int:
    """Train one agent over a stretch of optimizer steps and evaluate it on the way, all in place.

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
    agent : bundles.Agent
        The agent.
    experience : bundles.Experience
        As the steps so far have left it.
    evaluation : bundles.Evaluation
        One run without rows: of its results, the loss is the mean return, the accuracy the share of whole episodes.
    work : (network.work_size(sizes, rows),) array
        Scratch memory for the largest of a minibatch, the environments and the episodes of an evaluation.

    Returns
    -------
    int
        The number of steps taken in all, smaller than requested if the run diverged and froze.
    """
    width = weights.p.dtype.type
    loops = (
        step.plain_loop(rule, width),
        step.sync_loop_of(width, syncs.inner_state),
        loss_and_grad(width),
        returns(width),
    )
    return _advance_loop(width)(*loops, weights, steps, syncs, agent, experience, evaluation, work)
