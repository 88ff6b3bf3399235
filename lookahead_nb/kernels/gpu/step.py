"""Loops over flat buffers on a CUDA device: one step of any rule, plain or with a Lookahead sync in the same pass.

The mirror of ``cpu/step.py``: same names, order and arguments. A thread works on sixteen bytes of every array at a time
and strides over the grid; where an array is not aligned to that, it works on one element. So the result does not depend
on the launch configuration, and no float is ever added atomically.

The scalars of a step are arguments of the launch: a copy to the device would wait for it. A step sets a clock on the
device, which shows after an interrupt whether it was launched. Kernels run on the stream of the weights. They carry no
signature: an eager one would fail on import where there is no driver.
"""

from __future__ import annotations

from functools import lru_cache
from threading import get_ident
from typing import Any

import numpy as np

from lookahead_nb.kernels.compiler import formula, named
from lookahead_nb.kernels.formulas import (
    INTERPOLATE,
    MOMENTUM_PULLS,
    RESET,
    RULES,
    pull,
    schedule_free_average,
)
from lookahead_nb.kernels.gpu import cuda, to_host
from lookahead_nb.kernels.gpu.access import BYTES, lanes_of, load, store

THREADS = 256
FEWEST_BLOCKS = 128  # with fewer, Numba warns about an idle card; blocks without work end at once
MOST_BLOCKS = 1 << 16  # enough to fill any card; the stride covers the rest


def _slots(access, slots):
    """Return the function that loads, or stores, the slots that exist."""

    @formula
    def both(s1, s2, i, s1_, s2_):
        if slots > 0:
            access(s1, i, s1_)
        if slots > 1:
            access(s2, i, s2_)

    return both


def _plain(rule, slots, width=None):
    lanes = lanes_of(width)
    load_slots, store_slots = _slots(load, slots), _slots(store, slots)

    @formula
    def element(p, g, s1, s2, row, i):
        first = s1[i] if slots > 0 else p[i]
        second = s2[i] if slots > 1 else p[i]
        p[i], first, second = rule(p[i], g[i], first, second, row)
        if slots > 0:
            s1[i] = first
        if slots > 1:
            s2[i] = second

    def kernel(p, g, s1, s2, c, clock, t):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        wide = 0
        if lanes > 1:
            wide = p.size // lanes * lanes
            p_, g_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            s1_, s2_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            for i in range(cuda.grid(1) * lanes, wide, cuda.gridsize(1) * lanes):
                load(p, i, p_)
                load(g, i, g_)
                load_slots(s1, s2, i, s1_, s2_)
                for k in range(lanes):
                    element(p_, g_, s1_, s2_, row, k)
                store(p, i, p_)
                store_slots(s1, s2, i, s1_, s2_)
        for i in range(wide + cuda.grid(1), p.size, cuda.gridsize(1)):
            element(p, g, s1, s2, row, i)
        if cuda.grid(1) == 0:
            clock[0] = t

    return named(f"plain_{rule.__name__}_{lanes}", kernel)


def _fused(rule, slots, width=None):
    lanes = lanes_of(width)
    load_slots, store_slots = _slots(load, slots), _slots(store, slots)

    @formula
    def element(p, g, s1, s2, row, slow, a1, a2, sync_arguments, i):
        size, rest, pull_back, inner_state = sync_arguments
        first = s1[i] if slots > 0 else p[i]
        second = s2[i] if slots > 1 else p[i]
        fast, first, second = rule(p[i], g[i], first, second, row)
        slow[i] = pull(slow[i], fast, size, rest)
        p[i] = slow[i] if pull_back else fast
        if slots > 0:
            s1[i] = first
            sync_slot(s1, a1, i, size, rest, inner_state)
        if slots > 1:
            s2[i] = second
            sync_slot(s2, a2, i, size, rest, inner_state)

    def kernel(p, g, s1, s2, c, slow, a1, a2, pull_back, inner_state, clock, t):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        sync_arguments = c[8], c[9], pull_back, inner_state
        wide = 0
        if lanes > 1:
            wide = p.size // lanes * lanes
            p_, g_, slow_ = (
                cuda.local.array(lanes, width),
                cuda.local.array(lanes, width),
                cuda.local.array(lanes, width),
            )
            s1_, s2_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            a1_, a2_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            for i in range(cuda.grid(1) * lanes, wide, cuda.gridsize(1) * lanes):
                load(p, i, p_)
                load(g, i, g_)
                load(slow, i, slow_)
                load_slots(s1, s2, i, s1_, s2_)
                if inner_state == INTERPOLATE:
                    load_slots(a1, a2, i, a1_, a2_)
                for k in range(lanes):
                    element(p_, g_, s1_, s2_, row, slow_, a1_, a2_, sync_arguments, k)
                store(p, i, p_)
                store(slow, i, slow_)
                store_slots(s1, s2, i, s1_, s2_)
                if inner_state == INTERPOLATE:
                    store_slots(a1, a2, i, a1_, a2_)
        for i in range(wide + cuda.grid(1), p.size, cuda.gridsize(1)):
            element(p, g, s1, s2, row, slow, a1, a2, sync_arguments, i)
        if cuda.grid(1) == 0:
            clock[0] = t

    return named(f"fused_{rule.__name__}_{lanes}", kernel)


def _fused_momentum(rule, slots, pull_, width=None):
    """Return the fused kernel of a sync with momentum; a1 is the velocity, the last of c the momentum."""
    lanes = lanes_of(width)
    load_slots, store_slots = _slots(load, slots), _slots(store, slots)

    @formula
    def element(p, g, s1, s2, row, slow, velocity, size, momentum, i):
        first = s1[i] if slots > 0 else p[i]
        second = s2[i] if slots > 1 else p[i]
        fast, first, second = rule(p[i], g[i], first, second, row)
        slow[i], velocity[i] = pull_(slow[i], velocity[i], fast, size, momentum)
        p[i] = slow[i]
        if slots > 0:
            s1[i] = first
        if slots > 1:
            s2[i] = second

    def kernel(p, g, s1, s2, c, slow, velocity, a2, pull_back, inner_state, clock, t):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        size, momentum = c[8], c[9]
        wide = 0
        if lanes > 1:
            wide = p.size // lanes * lanes
            p_, g_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            slow_, velocity_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            s1_, s2_ = cuda.local.array(lanes, width), cuda.local.array(lanes, width)
            for i in range(cuda.grid(1) * lanes, wide, cuda.gridsize(1) * lanes):
                load(p, i, p_)
                load(g, i, g_)
                load(slow, i, slow_)
                load(velocity, i, velocity_)
                load_slots(s1, s2, i, s1_, s2_)
                for k in range(lanes):
                    element(p_, g_, s1_, s2_, row, slow_, velocity_, size, momentum, k)
                store(p, i, p_)
                store(slow, i, slow_)
                store(velocity, i, velocity_)
                store_slots(s1, s2, i, s1_, s2_)
        for i in range(wide + cuda.grid(1), p.size, cuda.gridsize(1)):
            element(p, g, s1, s2, row, slow, velocity, size, momentum, i)
        if cuda.grid(1) == 0:
            clock[0] = t

    return named(f"{pull_.__name__}_{rule.__name__}_{lanes}", kernel)


@formula
def sync_slot(s, a, i, size, rest, inner_state):
    """Treat element i of an inner state at a sync.

    Parameters
    ----------
    s, a : (n,) array
        The inner state, and the inner state at the last sync; changed in place.
    i : int
        The index of the element.
    size, rest : float
        slow_step_size and 1 - slow_step_size, of the width of s.
    inner_state : int
        KEEP, RESET or INTERPOLATE.
    """
    if inner_state == RESET:
        s[i] = 0
    elif inner_state == INTERPOLATE:
        a[i] = pull(a[i], s[i], size, rest)
        s[i] = a[i]


def _sync(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        slow[i] = pull(slow[i], p[i], size, rest)
        p[i] = slow[i] if pull_back else p[i]
        if s1.size:
            sync_slot(s1, a1, i, size, rest, inner_state)
        if s2.size:
            sync_slot(s2, a2, i, size, rest, inner_state)


def _momentum_sync(pull_):
    def sync(p, s1, s2, slow, velocity, a2, size, momentum, pull_back, inner_state):
        for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
            slow[i], velocity[i] = pull_(slow[i], velocity[i], p[i], size, momentum)
            p[i] = slow[i]

    return named(f"sync_{pull_.__name__}", sync)


def _average(p, s1, outward, slow):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        slow[i] = schedule_free_average(p[i], s1[i], outward)


def _first_beyond(g, limit, first):
    for i in range(cuda.grid(1), g.size, cuda.gridsize(1)):
        if not (abs(g[i]) <= limit):
            cuda.atomic.min(first, 0, i)  # the smallest index, in any order of threads


@lru_cache(None)
def _kernel(build, rule, width):
    update, slots = RULES[rule]
    return cuda.jit(build(update, len(slots), width))


@lru_cache(None)
def _fused_kernel(rule, width, inner_state):
    if inner_state not in MOMENTUM_PULLS:
        return _kernel(_fused, rule, width)
    update, slots = RULES[rule]
    return cuda.jit(_fused_momentum(update, len(slots), MOMENTUM_PULLS[inner_state], width))


@lru_cache(None)
def _sync_kernel(inner_state):
    pull_ = MOMENTUM_PULLS.get(inner_state)
    return _single(_sync) if pull_ is None else cuda.jit(_momentum_sync(pull_))


@lru_cache(None)
def _single(function):
    return cuda.jit(function)


@lru_cache(None)
def _index_memory(device, thread):
    """Return the memory for an index, one for each device and thread: a new allocation would wait for the device."""
    return cuda.device_array(1, np.int64)


def _width(*arrays):
    """Return the width if all arrays can be read sixteen bytes at a time, else None."""
    aligned = all((array.device_ctypes_pointer.value or 0) % BYTES == 0 for array in arrays)
    return arrays[0].dtype.type if aligned else None


def _launch(kernel, size, *arguments, lanes=1):
    if size:  # an empty grid is an error on CUDA, and there is nothing to do
        blocks = max(FEWEST_BLOCKS, -(-size // (THREADS * lanes)))
        kernel[min(MOST_BLOCKS, blocks), THREADS, arguments[0].stream](*arguments)


def step(rule: str, p: Any, g: Any, s1: Any, s2: Any, c: np.ndarray, clock: Any, t: int) -> None:
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
    c : (8,) np.ndarray
        The scalars of the step.
    clock : (1,) int64 array
        Becomes t, unless there are no weights.
    t : int
        The number of the step.
    """
    width = _width(p, g, s1, s2)
    _launch(_kernel(_plain, rule, width), p.size, p, g, s1, s2, tuple(c), clock, t, lanes=lanes_of(width))


def step_and_sync(rule: str, p: Any, g: Any, slots: tuple, anchors: tuple, kind: tuple, clock: Any, t: int) -> None:
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
        s1, s2 as in :func:`step`, and c : (10,) np.ndarray, the scalars of the step followed by size and rest of
        :func:`sync`.
    anchors : tuple
        slow, a1, a2 as in :func:`sync`.
    kind : tuple
        pull_back, inner_state as in :func:`sync`.
    clock, t
        As in :func:`step`.
    """
    (s1, s2, c), (slow, a1, a2), (_, inner_state) = slots, anchors, kind
    width = _width(p, g, s1, s2, slow, a1, a2)
    arguments = (p, g, s1, s2, tuple(c), slow, a1, a2, *kind, clock, t)
    _launch(_fused_kernel(rule, width, inner_state), p.size, *arguments, lanes=lanes_of(width))


def sync(
    p: Any,
    s1: Any,
    s2: Any,
    slow: Any,
    a1: Any,
    a2: Any,
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
    _launch(_sync_kernel(inner_state), p.size, p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state)


def average(p: Any, s1: Any, outward: Any, slow: Any) -> None:
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
    _launch(_single(_average), p.size, p, s1, outward, slow)


def first_beyond(g: Any, limit: Any) -> int:
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
    index = _index_memory(cuda.current_context().device, get_ident()).bind(g.stream)
    index.copy_to_device(np.full(1, g.size, np.int64))
    _launch(_single(_first_beyond), g.size, g, limit, index)
    at = int(to_host(index)[0])
    return at if at < g.size else -1
