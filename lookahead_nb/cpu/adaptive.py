"""The slow step of a sync: the next of a given sequence, or the one at which a quadratic model is lowest.

Arguments of all loops
    before, p : (n,) float32 or float64, in, the fast weights before and after the step that syncs.
    slow, g, v : (n,), in, the slow weights, the gradient at ``before``, AdamW's second moment after the step.
    c      : (8,), in, the scalars of the step.     lr : float64, its learning rate.     lowest : float64, in (0, 1].
The two sums of the model run upwards in float64, one weight after another, so the step has the same bits everywhere.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.cpu.step import width_types
from lookahead_nb.formulas import lowest_point, model_sums
from lookahead_nb.jit import compiled, formula


@formula
def _fitted(before, p, slow, g, v, c, lr, lowest):
    along, curvature = np.float64(0), np.float64(0)
    root, eps = np.float64(c[5]), np.float64(c[6])
    for i in range(p.size):
        fast, at, start = np.float64(p[i]), np.float64(before[i]), np.float64(slow[i])
        along, curvature = model_sums(
            at, fast, start, np.float64(g[i]), np.float64(v[i]), root, eps, lr, along, curvature
        )
    return lowest_point(along, curvature, lowest)


@lru_cache(None)
def _fitted_loop(width):
    _, _, readonly = width_types(width)
    number = types.float64
    return compiled(types.UniTuple(number, 2)(*[readonly] * 6, number, number), nogil=True)(_fitted)


def fitted(before, p, slow, g, v, c, lr, lowest):
    """Return the slow step at which the model is lowest, at least ``lowest`` and at most 1, and 1 minus it."""
    return _fitted_loop(p.dtype.type)(before, p, slow, g, v, c, lr, lowest)


@formula
def step_of_sync(n, syncs, p, slow, g, v, c):
    """Return the slow step of sync n = 0, 1, ... and 1 minus it, float64; a fitted one is also noted in the bundle.

    syncs : ``bundles.SyncsOfOneRun``; the other arguments as above.
    """
    slow_steps = syncs.slow_steps
    if syncs.rates.size > 0:
        slow_steps[n, 0], slow_steps[n, 1] = _fitted(syncs.before, p, slow, g, v, c, syncs.rates[n], syncs.lowest)
    turn = n % slow_steps.shape[0]
    return slow_steps[turn, 0], slow_steps[turn, 1]
