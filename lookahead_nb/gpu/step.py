"""Loops over flat buffers on a CUDA device: one step of any rule, plain or with a Lookahead sync in the same pass.

The mirror of ``cpu/step.py``: same names, order and arguments, which are described there. One thread works on an
element at a time and strides over the grid, so the result does not depend on the launch configuration, and no float is
ever added atomically. Kernels carry no signature: an eager one would fail on import where there is no driver.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lookahead_nb.formulas import INTERPOLATE, RESET, RULES, pull, schedule_free_average
from lookahead_nb.gpu import cuda
from lookahead_nb.jit import formula, named

THREADS = 256
MOST_BLOCKS = 1 << 16  # enough to fill any card; the stride does the rest


def _plain(rule, slots):
    def kernel(p, g, s1, s2, c):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            p[i], first, second = rule(p[i], g[i], first, second, row)
            if slots > 0:
                s1[i] = first
            if slots > 1:
                s2[i] = second

    return named(f"plain_{rule.__name__}", kernel)


def _fused(rule, slots):
    def kernel(p, g, s1, s2, c, slow, a1, a2, size, rest, pull_back, inner_state):
        row = (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
        for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
            first = s1[i] if slots > 0 else p[i]
            second = s2[i] if slots > 1 else p[i]
            fast, first, second = rule(p[i], g[i], first, second, row)
            slow[i] = pull(slow[i], fast, size, rest)
            p[i] = slow[i] if pull_back else fast
            if slots > 0:
                s1[i] = first
                _sync_slot(s1, a1, i, size, rest, inner_state)
            if slots > 1:
                s2[i] = second
                _sync_slot(s2, a2, i, size, rest, inner_state)

    return named(f"fused_{rule.__name__}", kernel)


@formula
def _sync_slot(s, a, i, size, rest, inner_state):
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
            _sync_slot(s1, a1, i, size, rest, inner_state)
        if s2.size:
            _sync_slot(s2, a2, i, size, rest, inner_state)


def _average(p, s1, outward, slow):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        slow[i] = schedule_free_average(p[i], s1[i], outward)


def _first_beyond(g, limit, found):
    for i in range(cuda.grid(1), g.size, cuda.gridsize(1)):
        if not (abs(g[i]) <= limit):
            cuda.atomic.min(found, 0, i)  # the smallest index, whatever the order


@lru_cache(None)
def _kernel(build, rule):
    update, slots = RULES[rule]
    return cuda.jit(build(update, len(slots)))


@lru_cache(None)
def _single(function):
    return cuda.jit(function)


def _launch(kernel, size, *arguments):
    if size:  # an empty grid is an error on CUDA, and there is nothing to do
        kernel[min(MOST_BLOCKS, (size + THREADS - 1) // THREADS), THREADS](*arguments)


def step(rule, p, g, s1, s2, c):
    """Take one step of the rule; the slow weights are neither read nor written."""
    _launch(_kernel(_plain, rule), p.size, p, g, s1, s2, cuda.to_device(c))


def step_and_sync(rule, p, g, s1, s2, c, slow, a1, a2, size, rest, pull_back, inner_state):
    """Take one step of the rule and sync in one pass over memory: the same bits as ``step`` and then ``sync``."""
    anchors = (slow, a1, a2)
    how = (size, rest, pull_back, inner_state)
    _launch(_kernel(_fused, rule), p.size, p, g, s1, s2, cuda.to_device(c), *anchors, *how)


def sync(p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state):
    """Sync alone: pull the slow weights, move the fast ones onto them, treat the inner state."""
    _launch(_single(_sync), p.size, p, s1, s2, slow, a1, a2, size, rest, pull_back, inner_state)


def average(p, s1, outward, slow):
    """Write the average of Schedule-Free, (n,), from y and z; outward : number of the same width, (1-beta1)/beta1."""
    _launch(_single(_average), p.size, p, s1, outward, slow)


def first_beyond(g, limit):
    """Return the index of the first element that is not within [-limit, limit] (NaN is not), or -1."""
    found = cuda.to_device(np.full(1, g.size, np.int64))
    _launch(_single(_first_beyond), g.size, g, limit, found)
    at = int(found.copy_to_host()[0])
    return at if at < g.size else -1
