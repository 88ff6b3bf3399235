"""The CPU backend: where flat buffers live in host memory."""

from contextlib import nullcontext
from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.jit import compiled

is_device = False


def _are_apart(p, g, taken):
    at_p, at_g, size = np.int64(p.ctypes.data), np.int64(g.ctypes.data), np.int64(p.nbytes)
    apart = not (max(at_p, at_g) < min(at_p, at_g) + size)
    for k in range(taken.shape[0]):
        for at in (at_p, at_g):
            apart = apart and not (max(at, taken[k, 0]) < min(at + size, taken[k, 1]))
    return apart


@lru_cache(None)
def are_apart(width):
    """Return the compiled test whether two buffers share memory neither with each other nor with what is taken.

    ``test(p, g, taken)``: p, g : (n,) of this NumPy float width. taken : (k, 2) int64, where memory begins and ends.
    """
    scalar = types.float32 if width == np.float32 else types.float64
    readonly = types.Array(scalar, 1, "C", readonly=True)
    return compiled(types.boolean(readonly, readonly, types.int64[:, ::1]))(_are_apart)


def on(device):
    """Return a context inside which arrays are made on the host; there is one only."""
    return nullcontext()


def turn(device, arrays, before=None):
    """Return a context in which loops run; on the host they run one after another anyway."""
    return nullcontext()


def adopt(array):
    """Return the array as this backend's kernels take it, without a copy."""
    return array


def zeros(n, width):
    """Return n zeros of a NumPy float width."""
    return np.zeros(n, width)


def copy(array):
    """Return a new array with the same contents."""
    return array.copy()


def from_host(array):
    """Return a new array with the contents of a host array."""
    return array.copy()


def to_host(array):
    """Return a new host array with the same contents."""
    return array.copy()


def assign(target, source):
    """Copy the contents of source into target."""
    target[:] = source
