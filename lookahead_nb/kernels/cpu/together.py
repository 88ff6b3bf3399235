"""Steps over many buffers in one compiled call, from a table of their addresses.

A call by itself costs more than the step on a few thousand weights, and a model has many small tensors. The loops are
those of ``step``, so each buffer gets the same bits as alone.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, prange, set_num_threads, types

from lookahead_nb.kernels.compiler import claimed, compiled, finished, formula, memory_at, named
from lookahead_nb.kernels.cpu import step
from lookahead_nb.kernels.cpu.step import AT_ONCE, CHUNK
from lookahead_nb.kernels.formulas import KEEP, MOMENTUM_PULLS

# Columns of a table of buffers: the addresses of weights, gradient and state, 0 for an array without elements.
P, G, S1, S2, SLOW, A1, A2 = range(7)
SIZE = 7  # the elements of the weights
COLUMNS = 8


class Table(NamedTuple):
    """Many buffers and their states by address.

    Attributes
    ----------
    rows : (buffers, 8) int64 array
        The addresses of weights, gradient and state, and the elements of the weights, in the columns P to SIZE.
    pieces : (pieces, 2) int64 array
        The row and the first element of each piece that one thread passes over at once.
    elements : int
        The elements of all buffers together.
    """

    rows: np.ndarray
    pieces: np.ndarray
    elements: int


def table_of(sizes: list[int]) -> Table:
    """Return the table of buffers, still without their addresses.

    Parameters
    ----------
    sizes : list of int
        The elements of each buffer.

    Returns
    -------
    Table
    """
    rows = np.zeros((len(sizes), COLUMNS), np.int64)
    rows[:, SIZE] = sizes
    pieces = [(row, first) for row, size in enumerate(sizes) for first in range(0, size, CHUNK)]
    return Table(rows, np.array(pieces, np.int64).reshape(-1, 2), sum(sizes))


@formula
def _part(address, lo, n, like):
    if address == 0:
        return memory_at(0, 0, like)
    return memory_at(address + lo * like.itemsize, n, like)


def _plain(loop):
    def step_all(table, pieces, c, clock, t):
        if not claimed(clock, t):
            return False
        for k in prange(pieces.shape[0]):
            at, lo = table[pieces[k, 0]], pieces[k, 1]
            n = min(CHUNK, at[SIZE] - lo)
            loop(_part(at[P], lo, n, c), _part(at[G], lo, n, c), _part(at[S1], lo, n, c), _part(at[S2], lo, n, c), c)
        finished(clock, t)
        return True

    return step_all


def _fused(loop):
    def step_all(table, pieces, c, pull_back, inner_state, clock, t):
        if not claimed(clock, t):
            return False
        for k in prange(pieces.shape[0]):
            at, lo = table[pieces[k, 0]], pieces[k, 1]
            n = min(CHUNK, at[SIZE] - lo)
            loop(
                _part(at[P], lo, n, c), _part(at[G], lo, n, c), _part(at[S1], lo, n, c), _part(at[S2], lo, n, c), c,
                _part(at[SLOW], lo, n, c), _part(at[A1], lo, n, c), _part(at[A2], lo, n, c), pull_back, inner_state,
            )  # fmt: skip
        finished(clock, t)
        return True

    return step_all


def _counting(parallel):
    def count_beyond(table, pieces, limit):
        count = 0
        for k in prange(pieces.shape[0]):
            at, lo = table[pieces[k, 0]], pieces[k, 1]
            g = _part(at[G], lo, min(CHUNK, at[SIZE] - lo), limit)
            for i in range(g.size):
                count += not (abs(g[i]) <= limit[0])  # an integer sum: no order, and NaN counts
        return count

    return _named("count_beyond", parallel, count_beyond)


def _named(kind, parallel, function):
    """Return the function with a name of its own, since Numba's cache ignores whether a loop is parallel."""
    return named(f"{kind}_together{'_parallel' if parallel else ''}", function)


def _signature(result, width, *arguments):
    _, _, readonly = step.width_types(width)
    return result(types.int64[:, ::1], types.int64[:, ::1], readonly, *arguments)


@lru_cache(None)
def _plain_loop(rule, width, parallel):
    function = _named(rule, parallel, _plain(step.step_formula(rule)))
    signature = _signature(types.boolean, width, types.int64[::1], types.int64)
    return compiled(signature, nogil=True, parallel=parallel)(function)


@lru_cache(None)
def _fused_loop(rule, width, momentum, parallel):
    function = _named(f"{rule}_sync_{momentum}", parallel, _fused(step.fused_formula(rule, momentum)))
    signature = _signature(types.boolean, width, types.boolean, types.int64, types.int64[::1], types.int64)
    return compiled(signature, nogil=True, parallel=parallel)(function)


@lru_cache(None)
def _counting_loop(width, parallel):
    return compiled(_signature(types.int64, width), nogil=True, parallel=parallel)(_counting(parallel))


def _called(loop_of, elements, threads, arguments):
    """Return what a loop returns; loop_of : gives the serial or the parallel one."""
    if threads == 1 or step._is_serial(elements):
        return loop_of(False)(*arguments)
    with step._one_launch:
        before = get_num_threads()
        set_num_threads(min(threads, before))
        try:
            return loop_of(True)(*arguments)
        finally:
            set_num_threads(before)


def step_together(
    rule: str, table: Table, c: np.ndarray, kind: tuple | None, clock: np.ndarray, t: int, threads: int
) -> None:
    """Take one step of the rule over all buffers, each with the bits of ``step.step`` or ``step.step_and_sync``.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    table : Table
        With all addresses; weights and states are changed in place.
    c : (8,) or (10,) array
        The scalars of the step, of the width of the buffers; ten with a sync, as in ``step.step_and_sync``.
    kind : tuple or None
        pull_back, inner_state as in ``step.step_and_sync``; None without a sync.
    clock, t
        As in ``step.step``, one clock for all buffers.
    threads : int
        At most so many threads share the pass, and no more than Numba has. No bit depends on it.

    Raises
    ------
    RuntimeError
        As in ``step.step``.
    """
    width: Any = c.dtype.type
    if kind is None:
        taken = _called(
            partial(_plain_loop, rule, width), table.elements, threads, (table.rows, table.pieces, c, clock, t)
        )
    else:
        momentum = kind[1] if kind[1] in MOMENTUM_PULLS else KEEP
        loop_of = partial(_fused_loop, rule, width, momentum)
        taken = _called(loop_of, table.elements, threads, (table.rows, table.pieces, c, *kind, clock, t))
    if not taken:
        raise RuntimeError(AT_ONCE)


def are_beyond(table: Table, limit: np.ndarray, threads: int) -> bool:
    """Return whether any element of a gradient is not within [-limit, limit]; NaN is not.

    Parameters
    ----------
    table : Table
        With the addresses of the gradients.
    limit : (1,) array
        At least 0, of the width of the buffers.
    threads : int
        As in :func:`step_together`.

    Returns
    -------
    bool
    """
    width: Any = limit.dtype.type
    loop_of = partial(_counting_loop, width)
    return bool(_called(loop_of, table.elements, threads, (table.rows, table.pieces, limit)))
