"""Loops over flat buffers on the CPU: one step of any rule, plain or with a Lookahead sync in the same pass.

The mirror of ``gpu/step.py``: same names, order and arguments. Element i is touched by one thread only and no element
depends on another, so the bits do not depend on the number of threads. Arguments are checked in ``optimizers``.

Arguments of all loops
    rule   : name of an update rule, a key of ``formulas.RULES``.
    p      : (n,) float32 or float64, inout, the fast weights.      g  : (n,), in, the gradient.
    s1, s2 : (n,) or, where the rule has no such slot, (0,), inout, the inner state.
    c      : (8,), in, the scalars of the step.
    slow   : (n,), inout, the slow weights.
    a1, a2 : like s1, s2 under ``inner_state`` INTERPOLATE, else (0,), inout, the inner state at the last sync.
    size, rest : numbers of the same width, slow_step_size and 1 - slow_step_size.
    pull_back  : bool, whether the fast weights become the slow ones.      inner_state : KEEP, RESET or INTERPOLATE.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
from numba import prange, types

from lookahead_nb.formulas import INTERPOLATE, RESET, RULES, pull, schedule_free_average
from lookahead_nb.jit import compiled, formula, named

CHUNK = 4096  # five float32 slices of it stay in the cache of a core between the step and the sync
PARALLEL_FROM = 1 << 17  # below, waking threads costs more than the pass

_one_launch = threading.Lock()  # Numba's workqueue layer aborts the process on two launches at once


def width_types(width):
    """Return the Numba types (scalar, vector, read-only vector) of a NumPy float width."""
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
    def loop(p, g, s1, s2, c, slow, a1, a2, size, rest, pull_back, inner_state):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
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


@formula
def _sync_slot(s, a, size, rest, inner_state):
    if inner_state == RESET:
        for i in range(s.size):
            s[i] = 0
    elif inner_state == INTERPOLATE:
        for i in range(s.size):
            a[i] = pull(a[i], s[i], size, rest)
            s[i] = a[i]


def _sync(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state):
    for i in range(p.size):
        slow[i] = pull(slow[i], p[i], size, rest)
        p[i] = slow[i] if pull_back else p[i]
    _sync_slot(s1, a1, size, rest, inner_state)
    _sync_slot(s2, a2, size, rest, inner_state)


@formula
def average_all(p, s1, outward, slow):
    """Write the average of Schedule-Free, as :func:`average`."""
    for i in range(p.size):
        slow[i] = schedule_free_average(p[i], s1[i], outward)


def signatures(width):
    """Return the signatures of the compiled loops (plain, fused, sync), as other compiled code takes them."""
    scalar, vector, readonly = width_types(width)
    rule = (vector, readonly, vector, vector, readonly)
    how = (scalar, scalar, types.boolean, types.int64)
    return (
        types.void(*rule),
        types.void(*rule, vector, vector, vector, *how),
        types.void(vector, vector, vector, vector, vector, vector, *how),
    )


@lru_cache(None)
def plain_loop(rule, width):
    """Return the compiled serial loop ``loop(p, g, s1, s2, c)`` of a rule for one width."""
    update, slots = RULES[rule]
    return compiled(signatures(width)[0], nogil=True)(_plain(update, len(slots)))


@lru_cache(None)
def fused_loop(rule, width):
    """Return the compiled serial loop of a rule and a sync, arguments as :func:`step_and_sync`."""
    update, slots = RULES[rule]
    return compiled(signatures(width)[1], nogil=True)(_fused(update, len(slots)))


@lru_cache(None)
def sync_loop(width):
    """Return the compiled serial loop of a sync alone, arguments as :func:`sync`."""
    return compiled(signatures(width)[2], nogil=True)(_sync)


@lru_cache(None)
def _average_loop(width):
    scalar, vector, readonly = width_types(width)
    return compiled(types.void(readonly, readonly, scalar, vector), nogil=True)(average_all)


def _chunked_plain(loop):
    def driver(p, g, s1, s2, c):
        for chunk in prange((p.size + CHUNK - 1) // CHUNK):
            lo = chunk * CHUNK
            hi = min(lo + CHUNK, p.size)
            loop(p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], c)

    return named(f"chunked_{loop.__name__}", driver)


def _chunked_fused(loop):
    def driver(p, g, s1, s2, c, slow, a1, a2, size, rest, pull_back, inner_state):
        for chunk in prange((p.size + CHUNK - 1) // CHUNK):
            lo = chunk * CHUNK
            hi = min(lo + CHUNK, p.size)
            loop(
                p[lo:hi], g[lo:hi], s1[lo:hi], s2[lo:hi], c,
                slow[lo:hi], a1[lo:hi], a2[lo:hi], size, rest, pull_back, inner_state,
            )  # fmt: skip

    return named(f"chunked_{loop.__name__}", driver)


# Both are built from formulas, not from the serial loops: a closure over a compiled function never hits Numba's cache.
@lru_cache(None)
def _parallel_plain_loop(rule, width):
    update, slots = RULES[rule]
    driver = _chunked_plain(formula(_plain(update, len(slots))))
    return compiled(signatures(width)[0], nogil=True, parallel=True)(driver)


@lru_cache(None)
def _parallel_fused_loop(rule, width):
    update, slots = RULES[rule]
    driver = _chunked_fused(formula(_fused(update, len(slots))))
    return compiled(signatures(width)[1], nogil=True, parallel=True)(driver)


def step(rule, p, g, s1, s2, c):
    """Take one step of the rule; the slow weights are neither read nor written."""
    width = p.dtype.type
    if p.size < PARALLEL_FROM:
        plain_loop(rule, width)(p, g, s1, s2, c)
    else:
        with _one_launch:
            _parallel_plain_loop(rule, width)(p, g, s1, s2, c)


def step_and_sync(rule, p, g, slots, anchors, how):
    """Take one step of the rule and sync in one pass over memory: the same bits as ``step`` and then ``sync``.

    slots : (s1, s2, c). anchors : (slow, a1, a2). how : (size, rest, pull_back, inner_state).
    """
    width = p.dtype.type
    if p.size < PARALLEL_FROM:
        fused_loop(rule, width)(p, g, *slots, *anchors, *how)
    else:
        with _one_launch:
            _parallel_fused_loop(rule, width)(p, g, *slots, *anchors, *how)


def sync(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state):
    """Sync alone: pull the slow weights, move the fast ones onto them, treat the inner state."""
    sync_loop(p.dtype.type)(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state)


def average(p, s1, outward, slow):
    """Write the average of Schedule-Free, (n,), from y and z; outward : number of the same width, (1-beta1)/beta1."""
    _average_loop(p.dtype.type)(p, s1, outward, slow)


def _counting(parallel):
    def loop(g, limit):
        count = 0
        for i in prange(g.size):
            count += not (abs(g[i]) <= limit)  # an integer sum: no order, and NaN counts
        return count

    # Numba's cache does not see whether a loop is parallel: each has its own name.
    return named("count_beyond_parallel" if parallel else "count_beyond", loop)


@lru_cache(None)
def _counting_loop(width, parallel):
    scalar, _, readonly = width_types(width)
    return compiled(types.int64(readonly, scalar), nogil=True, parallel=parallel)(_counting(parallel))


def first_beyond(g, limit):
    """Return the index of the first element that is not within [-limit, limit] (NaN is not), or -1."""
    width = g.dtype.type
    if g.size < PARALLEL_FROM:
        count = _counting_loop(width, False)(g, limit)
    else:
        with _one_launch:
            count = _counting_loop(width, True)(g, limit)
    return int(np.argmax(~(np.abs(g) <= limit))) if count else -1
