"""Steps in which groups of weights have their own scalars, and the clipping of gradients, on the CPU.

A group is one or more pieces of the flat buffer. The loops are those of ``step``, called piece by piece. So a weight
gets the same bits as in a step over the whole buffer with the scalars of its group.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import prange, types

from lookahead_nb.kernels.bundles import read
from lookahead_nb.kernels.compiler import claimed, compiled, finished, fma, formula, like, named, sqrt
from lookahead_nb.kernels.cpu import step
from lookahead_nb.kernels.cpu.loop import keep_before_sync, stays_finite
from lookahead_nb.kernels.formulas import KEEP, MOMENTUM_PULLS, clip_factor

# ----------------------------------------------------------------------------------------------------- steps by hand


def _plain(loop):
    def step_pieces(p, g, s1, s2, rows, pieces, clock, t):
        if not claimed(clock, t):
            return False
        for k in prange(pieces.shape[0]):
            lo, hi, group = pieces[k, 0], pieces[k, 1], pieces[k, 2]
            loop(p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], rows[group])
        finished(clock, t)
        return True

    return step_pieces


def _fused(loop):
    def step_pieces(p, g, s1, s2, rows, slow, a1, a2, pieces, kind, clock, t):
        if not claimed(clock, t):
            return False
        for k in prange(pieces.shape[0]):
            lo, hi, group = pieces[k, 0], pieces[k, 1], pieces[k, 2]
            loop(
                p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], rows[group],
                slow[lo:hi], a1[lo:hi], a2[lo:hi], kind[0] != 0, kind[1],
            )  # fmt: skip
        finished(clock, t)
        return True

    return step_pieces


def _named(kind, parallel, function):
    """Return the function with a name of its own, since Numba's cache ignores whether a loop is parallel."""
    return named(f"{kind}_by_group{'_parallel' if parallel else ''}", function)


@lru_cache(None)
def _plain_loop(rule, width, parallel):
    scalar, vector, readonly = step.width_types(width)
    counted = types.int64[::1], types.int64
    signature = types.boolean(vector, readonly, vector, vector, read(scalar, 2), read(types.int64, 2), *counted)
    function = _named(rule, parallel, _plain(step.step_formula(rule)))
    return compiled(signature, nogil=True, parallel=parallel)(function)


@lru_cache(None)
def _fused_loop(rule, width, momentum, parallel):
    scalar, vector, readonly = step.width_types(width)
    kind, counted = types.UniTuple(types.int64, 2), (types.int64[::1], types.int64)
    arrays = vector, readonly, vector, vector, read(scalar, 2), vector, vector, vector, read(types.int64, 2)
    function = _named(f"{rule}_sync_{momentum}", parallel, _fused(step.fused_formula(rule, momentum)))
    return compiled(types.boolean(*arrays, kind, *counted), nogil=True, parallel=parallel)(function)


def _taken(loop_of, elements, arguments):
    """Return whether a step was taken; loop_of : gives the serial or the parallel loop."""
    if step._is_serial(elements):
        return loop_of(False)(*arguments)
    with step._one_launch:
        return loop_of(True)(*arguments)


def step_by_group(
    rule: str,
    p: np.ndarray,
    g: np.ndarray,
    slots: tuple,
    pieces: np.ndarray,
    clock: np.ndarray,
    t: int,
) -> None:
    """Take one step of the rule, each group of weights with its own scalars.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    p, g : (n,) array
        As in ``step.step``.
    slots : tuple
        s1, s2 as in ``step.step``, and rows : (groups, 8) array, the scalars of the step.
    pieces : (pieces, 3) int64 array
        The first weight of each piece of the buffer, the one after its last, and its group. Pieces do not overlap.
    clock, t
        As in ``step.step``.

    Raises
    ------
    RuntimeError
        As in ``step.step``.
    """
    width: Any = p.dtype.type

    def loop_of(parallel: bool) -> Callable:
        return _plain_loop(rule, width, parallel)

    if not _taken(loop_of, p.size, (p, g, *slots, pieces, clock, t)):
        raise RuntimeError(step.AT_ONCE)


def step_and_sync_by_group(
    rule: str,
    p: np.ndarray,
    g: np.ndarray,
    slots: tuple,
    anchors: tuple,
    kind: tuple,
    pieces: np.ndarray,
    clock: np.ndarray,
    t: int,
) -> None:
    """Take one step of the rule and sync, each group of weights with its own scalars.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    p, g : (n,) array
        As in ``step.step``.
    slots : tuple
        s1, s2 as in ``step.step``, and rows : (groups, 10) array, as c in ``step.step_and_sync``.
    anchors, kind : tuple
        As in ``step.step_and_sync``.
    pieces : (pieces, 3) int64 array
        As in :func:`step_by_group`.
    clock, t
        As in ``step.step``.

    Raises
    ------
    RuntimeError
        As in ``step.step``.
    """
    width: Any = p.dtype.type
    pull_back, inner_state = kind
    momentum = inner_state if inner_state in MOMENTUM_PULLS else KEEP

    def loop_of(parallel: bool) -> Callable:
        return _fused_loop(rule, width, momentum, parallel)

    numbers = np.int64(pull_back), np.int64(inner_state)
    if not _taken(loop_of, p.size, (p, g, *slots, *anchors, pieces, numbers, clock, t)):
        raise RuntimeError(step.AT_ONCE)


# ---------------------------------------------------------------------------------------------------------- clipping


@formula
def clip(g, most):
    """Shorten a gradient to a norm of at most ``most`` and return the norm that it had, for compiled code.

    The squares are added up in float64, from the first weight to the last.

    Parameters
    ----------
    g : (n,) array
        float32 or float64, changed in place, unless its norm is at most ``most`` or not finite.
    most : float64
        Above 0.

    Returns
    -------
    float64
    """
    total = 0.0
    for i in range(g.size):
        x = np.float64(g[i])
        total = fma(x, x, total)
    norm = sqrt(total)
    if np.isfinite(norm) and norm > most:
        factor = clip_factor(norm, most)
        for i in range(g.size):
            g[i] = like(g[i], factor * np.float64(g[i]))
    return norm


def _clip(g, most):
    return clip(g, most)


@lru_cache(None)
def _clip_loop(width):
    _, vector, _ = step.width_types(width)
    return compiled(types.float64(vector, types.float64), nogil=True)(_clip)


def clip_gradient(g: np.ndarray, most: float) -> float:
    """Shorten a gradient to a norm of at most ``most`` and return the norm that it had.

    Parameters
    ----------
    g, most
        As in :func:`clip`.

    Returns
    -------
    float
    """
    width: Any = g.dtype.type
    return float(_clip_loop(width)(g, np.float64(most)))


# ------------------------------------------------------------------------------------------------------- whole runs


@formula
def update_by_group(rule, weights, steps, syncs, evaluation, scratch, t):
    """Take a step of the rule, group by group; see ``loop.Phases``.

    Parameters
    ----------
    rule : function
        The compiled loop of the update rule.
    weights : bundles.Weights
        Changed in place.
    steps : bundles.StepsByGroup
        The scalars of the step, the limits and the groups.
    syncs, evaluation, scratch, t
        As in ``loop.update_run``.

    Returns
    -------
    bool
        Whether all weights are finite.
    """
    keep_before_sync(weights, syncs, t)
    p, g, s1, s2 = weights.p, weights.g, weights.s1, weights.s2
    for k in range(steps.pieces.shape[0]):
        lo, hi, group = steps.pieces[k, 0], steps.pieces[k, 1], steps.pieces[k, 2]
        rule(p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], steps.tables[t - 1 - steps.first, group])
    return stays_finite(weights, steps, evaluation, t)
