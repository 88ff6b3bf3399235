"""The slow step of a sync: the next of a given sequence, or the one at which a quadratic model is lowest.

Notes
-----
The two sums of the model run upwards in float64, one weight after another, so the step is bit-for-bit identical
everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels.compiler import compiled, formula
from lookahead_nb.kernels.cpu.step import width_types
from lookahead_nb.kernels.formulas import lowest_point, model_sums


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


def fitted(
    before: np.ndarray,
    p: np.ndarray,
    slow: np.ndarray,
    g: np.ndarray,
    v: np.ndarray,
    c: np.ndarray,
    lr: float,
    lowest: float,
) -> tuple[float, float]:
    """Return the slow step at which the model is lowest, and 1 minus it.

    Parameters
    ----------
    before, p : (n,) array
        The fast weights ahead of the step that syncs and after it, float32 or float64.
    slow, g, v : (n,) array
        The slow weights, the gradient at ``before``, and AdamW's second moment after the step.
    c : (8,) array
        The scalars of the step.
    lr : float64
        Its learning rate.
    lowest : float64
        The smallest slow step, in (0, 1].

    Returns
    -------
    tuple of 2 float64
        The slow step, in [lowest, 1], and 1 minus it.
    """
    width: Any = p.dtype.type
    return _fitted_loop(width)(before, p, slow, g, v, c, lr, lowest)


@formula
def step_of_sync(n, syncs, p, slow, g, v, c):
    """Return the slow step of a sync and 1 minus it; a fitted one is also written to the bundle.

    Parameters
    ----------
    n : int
        The number of the sync, from 0.
    syncs : bundles.SyncsOfOneRun
        The given slow steps, or the place for fitted ones.
    p, slow, g, v, c : array
        As in :func:`fitted`.

    Returns
    -------
    tuple of 2 float64
        The slow step and 1 minus it.
    """
    slow_steps = syncs.slow_steps
    if syncs.rates.size > 0:
        slow_steps[n, 0], slow_steps[n, 1] = _fitted(syncs.before, p, slow, g, v, c, syncs.rates[n], syncs.lowest)
    turn = n % slow_steps.shape[0]
    return slow_steps[turn, 0], slow_steps[turn, 1]
