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
from numba import prange, types

from lookahead_nb.kernels.compiler import claimed, compiled, finished, formula, like, named
from lookahead_nb.kernels.cpu import step
from lookahead_nb.kernels.formulas import KEEP, RULES, lowest_point, model_sums


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


@formula
def _fit_and_sync(before, p, g, s1, s2, c, slow, lr, lowest, slow_steps, n):
    size, rest = _fitted(before, p, slow, g, s2, c, lr, lowest)
    sync = like(c[0], size), like(c[0], rest), True, KEEP
    step._sync(p, s1, s2, slow, s1[:0], s2[:0], *sync)
    slow_steps[n] = size


def _adapting(loop):
    def adapting(p, g, s1, s2, c, slow, lr, lowest, slow_steps, n, clock, t):
        before = np.empty_like(p)  # ahead of the claim: without the memory for it nothing changes
        if not claimed(clock, t):
            return False
        for i in range(p.size):
            before[i] = p[i]
        loop(p, g, s1, s2, c)
        _fit_and_sync(before, p, g, s1, s2, c, slow, lr, lowest, slow_steps, n)
        finished(clock, t)
        return True

    return named(f"adapting_{loop.__name__}", adapting)


def _chunked_adapting(loop):
    def adapting(p, g, s1, s2, c, slow, lr, lowest, slow_steps, n, clock, t):
        before = np.empty_like(p)  # ahead of the claim: without the memory for it nothing changes
        if not claimed(clock, t):
            return False
        for chunk in prange((p.size + step.CHUNK - 1) // step.CHUNK):
            lo = chunk * step.CHUNK
            hi = min(lo + step.CHUNK, p.size)
            for i in range(lo, hi):
                before[i] = p[i]
            loop(p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], c)
        _fit_and_sync(before, p, g, s1, s2, c, slow, lr, lowest, slow_steps, n)
        finished(clock, t)
        return True

    return named(f"chunked_adapting_{loop.__name__}", adapting)


@lru_cache(None)
def _adapting_loop(rule, width, parallel):
    update, slots = RULES[rule]
    loop = formula(step._plain(update, len(slots)))
    _, vector, readonly = step.width_types(width)
    of_rule, numbers = (vector, readonly, vector, vector, readonly), types.float64[::1]
    of_fit = (vector, types.float64, types.float64, numbers, types.int64)
    signature = types.boolean(*of_rule, *of_fit, types.int64[::1], types.int64)
    function = (_chunked_adapting if parallel else _adapting)(loop)
    return compiled(signature, nogil=True, parallel=parallel)(function)


def step_fit_and_sync(
    rule: str,
    p: np.ndarray,
    g: np.ndarray,
    slots: tuple,
    slow: np.ndarray,
    fit: tuple,
    clock: np.ndarray,
    t: int,
) -> None:
    """Take one step of the rule, fit the slow step and sync with it, all in one compiled call that counts itself.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES`` with AdamW's second moment as its second slot.
    p : (n,) array
        The fast weights, float32 or float64; changed in place.
    g : (n,) array
        The gradient.
    slots : tuple
        s1, s2, c as in ``step.step``.
    slow : (n,) array
        The slow weights, changed in place.
    fit : tuple
        lr, lowest : float, the learning rate of the step and the smallest slow step, in (0, 1]; slow_steps : float64
        array, in which element n : int becomes the slow step, in [lowest, 1].
    clock, t
        As in ``step.step``.

    Raises
    ------
    RuntimeError
        As in ``step.step``.
    """
    width: Any = p.dtype.type
    if step._is_serial(p.size):
        taken = _adapting_loop(rule, width, False)(p, g, *slots, slow, *fit, clock, t)
    else:
        with step._one_launch:
            taken = _adapting_loop(rule, width, True)(p, g, *slots, slow, *fit, clock, t)
    if not taken:
        raise RuntimeError(step.AT_ONCE)


@formula
def step_of_sync(n, syncs, p, slow, g, v, c):
    """Return the slow step of a sync and 1 minus it; a fitted one is also written to the bundle.

    Parameters
    ----------
    n : int
        The number of the sync, from 0.
    syncs : bundles.SyncsOfOneRun
        The given slow steps, or the place for fitted ones.
    p : (n,) array
        The fast weights after the step that syncs.
    slow, g, v : (n,) array
        The slow weights, the gradient of the step, and AdamW's second moment after it.
    c : (8,) array
        The scalars of the step.

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
