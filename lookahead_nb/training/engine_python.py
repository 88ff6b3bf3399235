"""Training runs of your own models: step by step in Python, with the minibatches and the history of all runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lookahead_nb.kernels.philox import minibatches
from lookahead_nb.optimizers import Optimizer, State, clip_gradient
from lookahead_nb.training.setup import SPLITS, Outcome, Rows, Setup, always


def train_own_model(
    setup: Setup,
    opt: Optimizer,
    seed: int,
    rows: Rows,
    params: np.ndarray,
    state: State,
    keep_going: Callable[[], bool] = always,
) -> Outcome:
    """Train your own model from these weights up to the last step of the setup, in place.

    Parameters
    ----------
    setup, opt, seed, rows, params, state
        As in :func:`engine_cpu.train_network`.
    keep_going : function
        Called ahead of every step; returning False stops the run.

    Returns
    -------
    Outcome
        Of one run.
    """
    model: Any = setup.model
    results, diverged_at = setup.blank_results(1), -1
    evaluated = {step: i for i, step in enumerate(setup.eval_steps.tolist())}
    if state.t == 0:
        results[0, 0] = _evaluation(model, params, rows)
    period = opt.sync.period if opt.sync and opt.sync.pull_back else 0
    how = setup.training
    batches = minibatches(len(rows.y), how.batch_size, seed, state.t, order=how.order)
    for t in range(state.t + 1, setup.steps + 1):
        if not keep_going():
            break
        batch = next(batches)
        loss, grad = model.loss_and_grad(params, rows.X[batch], rows.y[batch])
        if not np.isfinite(loss):
            diverged_at = t
            break
        at = evaluated.get(t)
        fast = params
        try:
            if setup.training.clip_norm is not None:
                clip_gradient(grad, setup.training.clip_norm)
            if at is not None and period and t % period == 0:
                fast = state.ahead_of_sync(params, grad)
            opt.step(params, grad, state)
        except FloatingPointError:  # of the gradient
            diverged_at = t
            break
        if not np.isfinite(params).all():
            diverged_at = t
            break
        if at is not None:
            results[0, at, 0] = _evaluation(model, fast, rows)
            if opt.has_slow_weights:
                results[0, at, 1] = _evaluation(model, opt.slow_from(params, state), rows)
    return Outcome(results, np.array([diverged_at]), np.array([state.t]))


def _evaluation(model: Any, params: np.ndarray, rows: Rows) -> np.ndarray:
    """Return loss and accuracy on all splits, (3, 2)."""
    ends = rows.bounds.tolist()
    parts = [slice(*ends[i : i + 2]) for i in range(len(SPLITS))]
    return np.array([model.evaluate(params, rows.eval_X[part], rows.eval_y[part]) for part in parts])
