"""Accesses to memory that Numba does not emit by itself. In plain Python and in the simulator they are what they say.

``load`` and ``store`` move sixteen bytes at a time, the most a thread can, and the fewest instructions for a pass:
Numba only knows an array to be aligned to its elements. ``element`` leaves out the question whether an index counts
from the end, which in an inner loop is most of the instructions.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

BYTES = 16


def lanes_of(width):
    """Return how many numbers of a NumPy float width one access moves; one where there is no width."""
    return BYTES // np.dtype(width).itemsize if width else 1


def load(array, i, lanes):
    """Copy array[i : i + n] into an array of the thread's own, lanes, (n,); the address must be a multiple of 16."""
    for k in range(lanes.size):
        lanes[k] = array[i + k]


def store(array, i, lanes):
    """Copy an array of the thread's own, lanes, (n,), into array[i : i + n]; the address must be a multiple of 16."""
    for k in range(lanes.size):
        array[i + k] = lanes[k]


def element(array, i):
    """Return array[i], where i must not be negative."""
    return array[i]


class _Access:
    """The pieces of one access while it is translated: the vector in memory, and the element of a lane."""

    def __init__(self, context, builder, signature, arguments):
        self.context, self.builder = context, builder
        self.kinds, self.arguments = (signature.args[0], signature.args[2]), (arguments[0], arguments[2])
        number = context.get_value_type(signature.args[0].dtype)
        self.count = BYTES * 8 // signature.args[0].dtype.bitwidth
        self.kind = ir.VectorType(number, self.count)
        self.vector = builder.bitcast(self.pointer(0, arguments[1]), self.kind.as_pointer())

    def pointer(self, which, index):
        made = self.context.make_array(self.kinds[which])(self.context, self.builder, self.arguments[which])
        return cgutils.get_item_pointer(self.context, self.builder, self.kinds[which], made, [index])

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
    made = context.make_array(kind)(context, builder, arguments[0])
    return builder.load(cgutils.get_item_pointer(context, builder, kind, made, [arguments[1]]))


@intrinsic
def _element(typing_context, array, i):
    return array.dtype(array, types.int64), _element_loaded


@overload(element, strict=False)
def _element_typed(array, i):
    return lambda array, i: _element(array, i)


@intrinsic
def _load(typing_context, array, i, lanes):
    return types.none(array, types.int64, lanes), _loaded


@intrinsic
def _store(typing_context, array, i, lanes):
    return types.none(array, types.int64, lanes), _stored


@overload(load, strict=False)
def _load_typed(array, i, lanes):
    return lambda array, i, lanes: _load(array, i, lanes)


@overload(store, strict=False)
def _store_typed(array, i, lanes):
    return lambda array, i, lanes: _store(array, i, lanes)
