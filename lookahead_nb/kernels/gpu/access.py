"""Accesses to memory that Numba does not emit by itself; plain Python and the simulator run them as they are written.

``load`` and ``store`` move sixteen bytes at a time. That is the most a thread can move, and a pass needs the fewest
instructions; Numba only knows that an array is aligned to its elements. ``element`` omits the test whether an index
counts from the end, which is most of the instructions in an inner loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

BYTES = 16


def lanes_of(width: Any) -> int:
    """Return how many numbers one access moves.

    Parameters
    ----------
    width : type or None
        ``np.float32`` or ``np.float64``; None for an access to a single number.

    Returns
    -------
    int
        4, 2 or 1.
    """
    return BYTES // np.dtype(width).itemsize if width else 1


def load(array, i, vector):
    """Copy array[i : i + n] into an array local to the thread.

    Parameters
    ----------
    array : (n,) array
        Read.
    i : int
        The first index; array[i] must lie at a multiple of 16 bytes.
    vector : (lanes_of(width),) array
        Overwritten.
    """
    for k in range(vector.size):
        vector[k] = array[i + k]


def store(array, i, vector):
    """Copy an array local to the thread into array[i : i + n].

    Parameters
    ----------
    array : (n,) array
        Overwritten at n places.
    i : int
        The first index; array[i] must lie at a multiple of 16 bytes.
    vector : (lanes_of(width),) array
        Read.
    """
    for k in range(vector.size):
        array[i + k] = vector[k]


def element(array, i):
    """Return array[i] without the test for a negative index.

    Parameters
    ----------
    array : (n,) array
        Read.
    i : int
        At least 0.

    Returns
    -------
    number
    """
    return array[i]


class _Access:
    """The parts of one access during translation: the vector in memory, and the address of each number."""

    def __init__(self, context, builder, signature, arguments):
        self.context, self.builder = context, builder
        self.kinds, self.arguments = (signature.args[0], signature.args[2]), (arguments[0], arguments[2])
        number = context.get_value_type(signature.args[0].dtype)
        self.count = BYTES * 8 // signature.args[0].dtype.bitwidth
        self.kind = ir.VectorType(number, self.count)
        self.vector = builder.bitcast(self.pointer(0, arguments[1]), self.kind.as_pointer())

    def pointer(self, which, index):
        view = self.context.make_array(self.kinds[which])(self.context, self.builder, self.arguments[which])
        return cgutils.get_item_pointer(self.context, self.builder, self.kinds[which], view, [index])

    def lanes(self):
        for k in range(self.count):
            yield ir.Constant(ir.IntType(32), k), self.pointer(1, self.context.get_constant(types.intp, k))


def _loaded(context, builder, signature, arguments):
    access = _Access(context, builder, signature, arguments)
    vector = builder.load(access.vector, align=BYTES)
    for k, lane in access.lanes():
        builder.store(builder.extract_element(vector, k), lane)
    return context.get_dummy_value()


def _stored(context, builder, signature, arguments):
    access = _Access(context, builder, signature, arguments)
    vector = ir.Constant(access.kind, ir.Undefined)
    for k, lane in access.lanes():
        vector = builder.insert_element(vector, builder.load(lane), k)
    builder.store(vector, access.vector, align=BYTES)
    return context.get_dummy_value()


def _element_loaded(context, builder, signature, arguments):
    kind = signature.args[0]
    view = context.make_array(kind)(context, builder, arguments[0])
    return builder.load(cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]]))


@intrinsic
def _element(typing_context, array, i):
    return array.dtype(array, types.int64), _element_loaded


@overload(element, strict=False)
def _element_typed(array, i):
    return lambda array, i: _element(array, i)


@intrinsic
def _load(typing_context, array, i, vector):
    return types.none(array, types.int64, vector), _loaded


@intrinsic
def _store(typing_context, array, i, vector):
    return types.none(array, types.int64, vector), _stored


@overload(load, strict=False)
def _load_typed(array, i, vector):
    return lambda array, i, vector: _load(array, i, vector)


@overload(store, strict=False)
def _store_typed(array, i, vector):
    return lambda array, i, vector: _store(array, i, vector)
