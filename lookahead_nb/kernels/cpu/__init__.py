"""The CPU backend, for flat buffers in host memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels.compiler import claimed, compiled

is_device = False


def _are_apart(p: Any, g: Any, taken: Any) -> Any:
    """Return whether p and g share no memory; see :func:`are_apart`."""
    at_p, at_g, size = np.int64(p.ctypes.data), np.int64(g.ctypes.data), np.int64(p.nbytes)
    apart = not (max(at_p, at_g) < min(at_p, at_g) + size)
    for k in range(taken.shape[0]):
        for at in (at_p, at_g):
            apart = apart and not (max(at, taken[k, 0]) < min(at + size, taken[k, 1]))
    return apart


@lru_cache(None)
def are_apart(width: type) -> Callable[[np.ndarray, np.ndarray, np.ndarray], bool]:
    """Return the compiled test whether two buffers share no memory, neither with each other nor with memory in use.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``test(p, g, taken) -> bool``. p, g : (n,) arrays of this width. taken : (k, 2) int64 array, the first address
        of each piece of memory in use and the address after its last.
    """
    scalar = types.float32 if width == np.float32 else types.float64
    readonly = types.Array(scalar, 1, "C", readonly=True)
    return compiled(types.boolean(readonly, readonly, types.int64[:, ::1]))(_are_apart)


def _claim(clock: Any, t: Any) -> Any:
    return claimed(clock, t)


@lru_cache(None)
def claim() -> Callable[[np.ndarray, int], bool]:
    """Return the compiled :func:`compiler.claimed`, which keeps steps of other threads off a state.

    Returns
    -------
    function
        ``claim(clock, t) -> bool``.
    """
    return compiled(types.boolean(types.int64[::1], types.int64))(_claim)


def on(device: None) -> nullcontext:
    """Return a context inside which arrays are made on the host.

    Parameters
    ----------
    device : None
        Not used: there is one host.

    Returns
    -------
    contextlib.nullcontext
    """
    return nullcontext()


def turn(device: None, arrays: Any, before: Any = None) -> nullcontext:
    """Return a context in which loops run; on the host they run one after another anyway.

    Parameters
    ----------
    device, arrays, before : object
        Not used; see ``gpu.turn``.

    Returns
    -------
    contextlib.nullcontext
    """
    return nullcontext()


def synchronize() -> None:
    """Wait for nothing: on the host all work is done when its call returns."""


def adopt(array: np.ndarray) -> np.ndarray:
    """Return the array in the form that this backend's kernels accept, without a copy.

    Parameters
    ----------
    array : np.ndarray
        Returned as it is.

    Returns
    -------
    np.ndarray
    """
    return array


def zeros(n: int, width: Any) -> np.ndarray:
    """Return n zeros.

    Parameters
    ----------
    n : int
        The number of elements.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    (n,) np.ndarray
    """
    return np.zeros(n, width)


def copy(array: np.ndarray) -> np.ndarray:
    """Return a new array with the same contents.

    Parameters
    ----------
    array : np.ndarray
        On the host.

    Returns
    -------
    np.ndarray
    """
    return array.copy()


def from_host(array: np.ndarray) -> np.ndarray:
    """Return a new array with the contents of a host array.

    Parameters
    ----------
    array : np.ndarray
        On the host.

    Returns
    -------
    np.ndarray
    """
    return array.copy()


def to_host(array: np.ndarray) -> np.ndarray:
    """Return a new host array with the same contents.

    Parameters
    ----------
    array : np.ndarray
        On the host.

    Returns
    -------
    np.ndarray
    """
    return array.copy()


def assign(target: np.ndarray, source: np.ndarray) -> None:
    """Copy the contents of source into target.

    Parameters
    ----------
    target, source : np.ndarray
        Of one shape.
    """
    target[:] = source
