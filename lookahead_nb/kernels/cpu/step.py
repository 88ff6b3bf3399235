"""Loops over flat buffers on the CPU: one step of any rule, plain or with a Lookahead sync in the same pass.

The mirror of ``gpu/step.py``: same names, order and arguments. Only one thread touches element i, and no element
depends on another, so the result does not depend on the number of threads. Arguments are checked in ``optimizers``.
The public functions describe them.

A step counts itself: the compiled call that moves the arrays claims its number on the clock first and sets the clock
last. So no Python instruction, at which an interrupt could arrive, lies between the two, and a second thread that takes
the same step at once is refused ahead of any change.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import prange, types

from lookahead_nb.kernels.compiler import claimed, compiled, finished, formula, named
from lookahead_nb.kernels.formulas import INTERPOLATE, KEEP, MOMENTUM_PULLS, RESET, RULES, pull, schedule_free_average

CHUNK = 4096  # five float32 slices of this size fit into the cache of a core between the step and the sync
PARALLEL_FROM = 1 << 17  # for fewer elements, waking threads costs more than the pass
AT_ONCE = (
    "two threads use one state at the same time, and this call changed nothing: guard opt.step, slow_weights and "
    "to_arrays with a lock, or give each thread a state and weights of its own"
)

_one_launch = threading.Lock()  # Numba's workqueue layer aborts the process on two launches at once
_is_forked = False


def _in_forked_child() -> None:
    """Let a forked process compute with one thread: its parent's threads are gone, and GNU OpenMP would kill it."""
    global _one_launch, _is_forked
    _one_launch, _is_forked = threading.Lock(), True  # another thread of the parent may have held the lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


def _is_serial(elements: int) -> bool:
    """Return whether one thread passes over that many elements. No bit depends on it."""
    return elements < PARALLEL_FROM or _is_forked


def width_types(width: Any) -> tuple[Any, Any, Any]:
    """Return the Numba types of a NumPy float width.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    tuple of 3 types
        A scalar, a vector and a read-only vector.
    """
    scalar = types.float32 if width == np.float32 else types.float64
    return scalar, scalar[::1], types.Array(scalar, 1, "C", readonly=True)


def _plain(rule, slots):
    def loop(p, g, s1, s2, c):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        for i in range(p.size):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            p[i], first, second = rule(p[i], g[i], first, second, row)
            if slots > 0:
                s1[i] = first
            if slots > 1:
                s2[i] = second

    return named(f"plain_{rule.__name__}", loop)


def _fused(rule, slots):
    def loop(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        size, rest = c[8], c[9]
        for i in range(p.size):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            fast, first, second = rule(p[i], g[i], first, second, row)
            slow[i] = pull(slow[i], fast, size, rest)
            p[i] = slow[i] if pull_back else fast
            if slots > 0:
                s1[i] = first
            if slots > 1:
                s2[i] = second
        _sync_slot(s1, a1, size, rest, inner_state)
        _sync_slot(s2, a2, size, rest, inner_state)

    return named(f"fused_{rule.__name__}", loop)


def _fused_momentum(rule, slots, pull_):
    """Return the fused loop of a sync with momentum, apart from that of other syncs, whose machine code it leaves."""

    def loop(p, g, s1, s2, c, slow, velocity, a2, pull_back, inner_state):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        size, momentum = c[8], c[9]
        for i in range(p.size):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            fast, first, second = rule(p[i], g[i], first, second, row)
            slow[i], velocity[i] = pull_(slow[i], velocity[i], fast, size, momentum)
            p[i] = slow[i]
            if slots > 0:
                s1[i] = first
            if slots > 1:
                s2[i] = second

    return named(f"{pull_.__name__}_{rule.__name__}", loop)


def _momentum_sync(pull_):
    def sync(p, s1, s2, slow, velocity, a2, size, momentum, pull_back, inner_state):
        for i in range(p.size):
            slow[i], velocity[i] = pull_(slow[i], velocity[i], p[i], size, momentum)
            p[i] = slow[i]

    return named(f"sync_{pull_.__name__}", sync)


def _counted_plain(loop):
    def step(p, g, s1, s2, c, clock, t):
        if not claimed(clock, t):
            return False
        loop(p, g, s1, s2, c)
        finished(clock, t)
        return True

    return named(f"counted_{loop.__name__}", step)


def _counted_fused(loop):
    def step(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state, clock, t):
        if not claimed(clock, t):
            return False
        loop(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state)
        finished(clock, t)
        return True

    return named(f"counted_{loop.__name__}", step)


@formula
def _sync_slot(s, a, size, rest, inner_state):
    if inner_state == RESET:
        for i in range(s.size):
            s[i] = 0
    elif inner_state == INTERPOLATE:
        for i in range(s.size):
            a[i] = pull(a[i], s[i], size, rest)
            s[i] = a[i]


@formula
def _sync(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state):
    for i in range(p.size):
        slow[i] = pull(slow[i], p[i], size, rest)
        p[i] = slow[i] if pull_back else p[i]
    _sync_slot(s1, a1, size, rest, inner_state)
    _sync_slot(s2, a2, size, rest, inner_state)


@formula
def average_all(p, s1, outward, slow):
    """Write the average of Schedule-Free from y and z; for compiled code.

    Parameters
    ----------
    p, s1 : (n,) array
        y and z, float32 or float64.
    outward : float
        (1-beta1)/beta1, of the same width.
    slow : (n,) array
        Overwritten by the average.
    """
    for i in range(p.size):
        slow[i] = schedule_free_average(p[i], s1[i], outward)


def signatures(width: Any) -> tuple[Any, Any, Any]:
    """Return the signatures of the compiled loops (plain, fused, sync), for other compiled code.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    tuple of 3 signatures
    """
    scalar, vector, readonly = width_types(width)
    rule = (vector, readonly, vector, vector, readonly)
    kind = types.boolean, types.int64  # of a sync
    return (
        types.void(*rule),
        types.void(*rule, vector, vector, vector, *kind),
        types.void(vector, vector, vector, vector, vector, vector, scalar, scalar, *kind),
    )


def _counted(signature):
    return types.boolean(*signature.args, types.int64[::1], types.int64)


@lru_cache(None)
def plain_loop(rule: str, width: Any) -> Callable:
    """Return the compiled serial loop of a rule, for other compiled code.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``loop(p, g, s1, s2, c)``.
    """
    update, slots = RULES[rule]
    return compiled(signatures(width)[0], nogil=True)(_plain(update, len(slots)))


def step_formula(rule: str) -> Callable:
    """Return the loop of :func:`plain_loop` as a formula, for closures of other compiled code.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.

    Returns
    -------
    function
        ``loop(p, g, s1, s2, c)``.
    """
    update, slots = RULES[rule]
    return formula(_plain(update, len(slots)))


def fused_formula(rule: str, inner_state: int = KEEP) -> Callable:
    """Return the loop of a step with a sync as a formula, for closures of other compiled code.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    inner_state : int
        As in :func:`sync`. All without momentum share one loop.

    Returns
    -------
    function
        ``loop(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state)``.
    """
    update, slots = RULES[rule]
    if inner_state in MOMENTUM_PULLS:
        return formula(_fused_momentum(update, len(slots), MOMENTUM_PULLS[inner_state]))
    return formula(_fused(update, len(slots)))


# These use formulas, not the serial loops: a closure over a compiled function never hits Numba's cache.
@lru_cache(None)
def step_loop(rule: str, width: Any, parallel: bool) -> Callable:
    """Return the compiled step of a rule, which counts itself.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    width : type
        ``np.float32`` or ``np.float64``.
    parallel : bool
        Whether several threads share the loop.

    Returns
    -------
    function
        ``step(p, g, s1, s2, c, clock, t) -> bool``: whether the step was taken; see ``compiler.claimed``.
    """
    loop = step_formula(rule)
    function = _chunked_plain(loop) if parallel else _counted_plain(loop)
    return compiled(_counted(signatures(width)[0]), nogil=True, parallel=parallel)(function)


@lru_cache(None)
def fused_loop(rule: str, width: Any, parallel: bool) -> Callable:
    """Return the compiled step of a rule with a sync, which counts itself.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    width : type
        ``np.float32`` or ``np.float64``.
    parallel : bool
        Whether several threads share the loop.

    Returns
    -------
    function
        ``step(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state, clock, t) -> bool``, as :func:`step_loop`; c as in
        :func:`step_and_sync`.
    """
    loop = fused_formula(rule)
    function = _chunked_fused(loop) if parallel else _counted_fused(loop)
    return compiled(_counted(signatures(width)[1]), nogil=True, parallel=parallel)(function)


@lru_cache(None)
def fused_momentum_loop(rule: str, width: Any, parallel: bool, inner_state: int) -> Callable:
    """Return the compiled step of a rule with a sync with momentum, which counts itself.

    Parameters
    ----------
    rule, width, parallel
        As in :func:`fused_loop`.
    inner_state : int
        A key of ``formulas.MOMENTUM_PULLS``.

    Returns
    -------
    function
        With the arguments of :func:`fused_loop`: a1 is the velocity, the last of c the momentum.
    """
    loop = fused_formula(rule, inner_state)
    function = _chunked_fused(loop) if parallel else _counted_fused(loop)
    return compiled(_counted(signatures(width)[1]), nogil=True, parallel=parallel)(function)


def _fused_loop_of(rule, width, parallel, inner_state):
    if inner_state in MOMENTUM_PULLS:
        return fused_momentum_loop(rule, width, parallel, inner_state)
    return fused_loop(rule, width, parallel)


@lru_cache(None)
def sync_loop(width: Any) -> Callable:
    """Return the compiled serial loop of a sync alone, without momentum.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        With the arguments of :func:`sync`.
    """
    return compiled(signatures(width)[2], nogil=True)(_sync)


@lru_cache(None)
def _momentum_sync_loop(width, inner_state):
    return compiled(signatures(width)[2], nogil=True)(_momentum_sync(MOMENTUM_PULLS[inner_state]))


def sync_loop_of(width: Any, inner_state: int) -> Callable:
    """Return the compiled serial loop of a sync alone.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.
    inner_state : int
        As in :func:`sync`.

    Returns
    -------
    function
        With the arguments of :func:`sync`.
    """
    inner_state = int(inner_state)
    return _momentum_sync_loop(width, inner_state) if inner_state in MOMENTUM_PULLS else sync_loop(width)


@lru_cache(None)
def _average_loop(width):
    scalar, vector, readonly = width_types(width)
    return compiled(types.void(readonly, readonly, scalar, vector), nogil=True)(average_all)


def _chunked_plain(loop):
    def driver(p, g, s1, s2, c, clock, t):
        if not claimed(clock, t):
            return False
        for chunk in prange((p.size + CHUNK - 1) // CHUNK):
            lo = chunk * CHUNK
            hi = min(lo + CHUNK, p.size)
            loop(p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], c)
        finished(clock, t)
        return True

    return named(f"chunked_{loop.__name__}", driver)


def _chunked_fused(loop):
    def driver(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state, clock, t):
        if not claimed(clock, t):
            return False
        for chunk in prange((p.size + CHUNK - 1) // CHUNK):
            lo = chunk * CHUNK
            hi = min(lo + CHUNK, p.size)
            loop(
                p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], c,
                slow[lo:hi], a1[lo:hi], a2[lo:hi], pull_back, inner_state,
            )  # fmt: skip
        finished(clock, t)
        return True

    return named(f"chunked_{loop.__name__}", driver)


def step(
    rule: str,
    p: np.ndarray,
    g: np.ndarray,
    s1: np.ndarray,
    s2: np.ndarray,
    c: np.ndarray,
    clock: np.ndarray,
    t: int,
) -> None:
    """Take one step of the rule; the slow weights are neither read nor written.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    p : (n,) array
        The fast weights, float32 or float64; changed in place.
    g : (n,) array
        The gradient.
    s1, s2 : (n,) or (0,) array
        The inner state, changed in place; without elements where the rule has no such slot.
    c : (8,) array
        The scalars of the step.
    clock : (1,) int64 array
        Becomes t, after all other arrays have changed.
    t : int
        The number of the step.

    Raises
    ------
    RuntimeError
        If the clock is not at t - 1, because another thread takes or has taken this step.
    """
    width: Any = p.dtype.type
    if _is_serial(p.size):
        taken = step_loop(rule, width, False)(p, g, s1, s2, c, clock, t)
    else:
        with _one_launch:
            taken = step_loop(rule, width, True)(p, g, s1, s2, c, clock, t)
    if not taken:
        raise RuntimeError(AT_ONCE)


def step_and_sync(
    rule: str,
    p: np.ndarray,
    g: np.ndarray,
    slots: tuple,
    anchors: tuple,
    kind: tuple,
    clock: np.ndarray,
    t: int,
) -> None:
    """Take one step of the rule and sync in one pass over memory.

    The result is bit-for-bit that of :func:`step` and then :func:`sync`.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    p : (n,) array
        The fast weights, float32 or float64; changed in place.
    g : (n,) array
        The gradient.
    slots : tuple
        s1, s2 as in :func:`step`, and c : (10,) array, the scalars of the step followed by size and rest of
        :func:`sync`.
    anchors : tuple
        slow, a1, a2 as in :func:`sync`.
    kind : tuple
        pull_back, inner_state as in :func:`sync`.
    clock, t
        As in :func:`step`.

    Raises
    ------
    RuntimeError
        As in :func:`step`.
    """
    width: Any = p.dtype.type
    _, inner_state = kind
    if _is_serial(p.size):
        loop = _fused_loop_of(rule, width, False, inner_state)
        taken = loop(p, g, *slots, *anchors, *kind, clock, t)
    else:
        with _one_launch:
            loop = _fused_loop_of(rule, width, True, inner_state)
            taken = loop(p, g, *slots, *anchors, *kind, clock, t)
    if not taken:
        raise RuntimeError(AT_ONCE)


def sync(
    p: np.ndarray,
    s1: np.ndarray,
    s2: np.ndarray,
    slow: np.ndarray,
    a1: np.ndarray,
    a2: np.ndarray,
    size: Any,
    rest: Any,
    pull_back: bool,
    inner_state: int,
) -> None:
    """Sync alone: pull the slow weights, move the fast ones onto them, treat the inner state.

    Parameters
    ----------
    p : (n,) array
        The fast weights, float32 or float64; changed in place.
    s1, s2 : (n,) or (0,) array
        The inner state, changed in place; without elements where the rule has no such slot.
    slow : (n,) array
        The slow weights, changed in place.
    a1, a2 : (n,) or (0,) array
        The inner state at the last sync, like s1 and s2 under ``inner_state`` INTERPOLATE; a1 is the velocity of the
        slow weights under HEAVY_BALL and NESTEROV. Changed in place.
    size, rest : float
        slow_step_size, and 1 - slow_step_size or the momentum, of the width of p.
    pull_back : bool
        Whether the fast weights become the slow ones; True with momentum.
    inner_state : int
        KEEP, RESET, INTERPOLATE, or with momentum HEAVY_BALL or NESTEROV, which keep the inner state.
    """
    width: Any = p.dtype.type
    sync_loop_of(width, inner_state)(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state)


def average(p: np.ndarray, s1: np.ndarray, outward: Any, slow: np.ndarray) -> None:
    """Write the average of Schedule-Free from y and z.

    Parameters
    ----------
    p, s1 : (n,) array
        y and z, float32 or float64.
    outward : float
        (1-beta1)/beta1, of the same width.
    slow : (n,) array
        Overwritten by the average.
    """
    width: Any = p.dtype.type
    _average_loop(width)(p, s1, outward, slow)


def _counting(parallel):
    def loop(g, limit):
        count = 0
        for i in prange(g.size):
            count += not (abs(g[i]) <= limit)  # an integer sum: no order, and NaN counts
        return count

    # Numba's cache ignores whether a loop is parallel, so each has its own name.
    return named("count_beyond_parallel" if parallel else "count_beyond", loop)


@lru_cache(None)
def _counting_loop(width, parallel):
    scalar, _, readonly = width_types(width)
    return compiled(types.int64(readonly, scalar), nogil=True, parallel=parallel)(_counting(parallel))


def first_beyond(g: np.ndarray, limit: Any) -> int:
    """Return the index of the first element that is not within [-limit, limit]; NaN is not.

    Parameters
    ----------
    g : (n,) array
        float32 or float64.
    limit : float
        Of the same width, at least 0.

    Returns
    -------
    int
        -1 if all elements are within.
    """
    width: Any = g.dtype.type
    if _is_serial(g.size):
        count = _counting_loop(width, False)(g, limit)
    else:
        with _one_launch:
            count = _counting_loop(width, True)(g, limit)
    return int(np.argmax(~(np.abs(g) <= limit))) if count else -1
