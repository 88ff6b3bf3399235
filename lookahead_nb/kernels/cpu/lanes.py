"""Runs side by side in SIMD lanes: a cache line holds one number of each run, and one instruction updates them all.

Elementwise operations treat the lanes as further numbers. Sums stay within a lane, in the order of a run alone. So a
run is bit-for-bit identical in any lane, next to any other runs, or alone.

In plain Python a line has one lane, and a vector of lanes is a number.
"""

import operator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, lower_builtin, models, overload, register_model, type_callable

from lookahead_nb.kernels.compiler import compiled, fma, formula, like, named, select, sqrt
from lookahead_nb.kernels.cpu.product import vector_bytes

LINE = 64  # bytes: a cache line, and the widest vector register


def lanes_of(width: Any) -> int:
    """Return how many runs fit side by side.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    int
        16 or 8; 1 in plain Python.
    """
    return 1 if config.DISABLE_JIT else LINE // np.dtype(width).itemsize


def lined_up(shape: tuple[int, ...], width: Any) -> np.ndarray:
    """Return an array of zeros whose lines begin at cache lines.

    Parameters
    ----------
    shape : tuple of int
        Without the axis of lanes.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    (..., lanes) np.ndarray
    """
    shape = (*shape, lanes_of(width))
    size = int(np.prod(shape)) * np.dtype(width).itemsize
    space = np.zeros(size + LINE, np.uint8)
    first = -space.ctypes.data % LINE
    return space[first : first + size].view(width).reshape(shape)


# ------------------------------------------------------------------------------------------------ vectors of lanes


class Lanes(types.Type):
    """The Numba type of a vector of lanes, which formulas of the update rules accept instead of a number.

    Parameters
    ----------
    dtype : numba.types.Type
        ``numba.float32`` or ``numba.float64``.
    """

    def __init__(self, dtype):
        self.dtype, self.count = dtype, LINE * 8 // dtype.bitwidth
        super().__init__(f"Lanes({dtype})")


class Mask(types.Type):
    """The Numba type of one bit for each lane.

    Parameters
    ----------
    count : int
        The number of lanes.
    """

    def __init__(self, count):
        self.count = count
        super().__init__(f"Mask({count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        number = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(number, kind.count))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), kind.count))


def _operation(symbol, instruction, arguments, result=lambda kind: kind):
    """Let Numba translate an operator on vectors of one width by one instruction."""

    def typed(context):
        def signature(*kinds):
            same = len(kinds) == arguments and all(isinstance(k, Lanes) and k == kinds[0] for k in kinds)
            return result(kinds[0]) if same else None

        return signature

    # Numba reads the number of arguments from the signature.
    typers = {1: lambda context: lambda a: typed(context)(a), 2: lambda context: lambda a, b: typed(context)(a, b)}
    type_callable(symbol)(typers[arguments])
    lower_builtin(symbol, *[Lanes] * arguments)(
        lambda context, builder, signature, values: instruction(builder, *values)
    )


for _symbol, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operation(_symbol, lambda builder, a, b, name=_name: getattr(builder, name)(a, b), 2)
for _symbol, _sign in (
    (operator.eq, "=="),
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
):
    _operation(
        _symbol,
        lambda builder, a, b, sign=_sign: builder.fcmp_ordered(sign, a, b),
        2,
        lambda kind: Mask(kind.count),
    )
_operation(operator.neg, lambda builder, a: builder.fneg(a), 1)
_operation(abs, lambda builder, a: _call(builder, "fabs", a), 1)


def _call(builder, name, *values):
    vector = values[0].type
    kind = f"v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"
    declared = ir.FunctionType(vector, [vector] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, declared, f"llvm.{name}.{kind}"), values)


@intrinsic
def _sqrt(typing_context, x):
    return x(x), lambda context, builder, signature, values: _call(builder, "sqrt", *values)


@intrinsic
def _fma(typing_context, a, b, c):
    return a(a, a, a), lambda context, builder, signature, values: _call(builder, "fma", *values)


@intrinsic
def _select(typing_context, condition, a, b):
    return a(condition, a, a), lambda context, builder, signature, values: builder.select(*values)


@intrinsic
def _everywhere(typing_context, x, value):
    """Return the vector of the type of x that holds the value in each lane."""

    def generate(context, builder, signature, values):
        number = context.cast(builder, values[1], value, x.dtype)
        return _spread(builder, number, x.count)

    return x(x, value), generate


@overload(sqrt, strict=False)
def _sqrt_of_lanes(x):
    return (lambda x: _sqrt(x)) if isinstance(x, Lanes) else None


@overload(fma, strict=False)
def _fma_of_lanes(a, b, c):
    return (lambda a, b, c: _fma(a, b, c)) if isinstance(a, Lanes) and a == b == c else None


@overload(select, strict=False)
def _select_of_lanes(condition, a, b):
    same = isinstance(condition, Mask) and isinstance(a, Lanes) and a == b
    return (lambda condition, a, b: _select(condition, a, b)) if same else None


@overload(like, strict=False)
def _like_lanes(x, value):
    return (lambda x, value: _everywhere(x, value)) if isinstance(x, Lanes) else None


def _spread(builder, number, count):
    undefined = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    lane_zero = ir.Constant(ir.VectorType(ir.IntType(32), count), None)
    return builder.shuffle_vector(first, undefined, lane_zero)


# ------------------------------------------------------------------------------------------------ lines in memory


def line(array, i):
    """Return a line of an array as a vector.

    Parameters
    ----------
    array : (n, lanes) array
        Whole lines, float32 or float64.
    i : int
        The index of the line.

    Returns
    -------
    Lanes
        In plain Python a number.
    """
    return array[i, 0]


def set_line(array, i, value):
    """Write a vector to a line of an array.

    Parameters
    ----------
    array : (n, lanes) array
        Whole lines, float32 or float64.
    i : int
        The index of the line.
    value : Lanes
        In plain Python a number.
    """
    array[i, 0] = value


def _is_lined(array, ndim):
    """Return whether the type is that of an array of whole lines."""
    return isinstance(array, types.Array) and array.ndim == ndim and array.dtype in (types.float32, types.float64)


@type_callable(line)
def _line_typed(context):
    return lambda array, i: Lanes(array.dtype) if _is_lined(array, 2) else None


@lower_builtin(line, types.Array, types.Integer)
def _line_load(context, builder, signature, values):
    return builder.load(_line_pointer(context, builder, signature, values), align=signature.args[0].dtype.bitwidth // 8)


@type_callable(set_line)
def _set_line_typed(context):
    return lambda array, i, value: types.void if _is_lined(array, 2) and value == Lanes(array.dtype) else None


@lower_builtin(set_line, types.Array, types.Integer, Lanes)
def _line_store(context, builder, signature, values):
    pointer = _line_pointer(context, builder, signature, values)
    builder.store(values[2], pointer, align=signature.args[0].dtype.bitwidth // 8)
    return context.get_dummy_value()


def _line_pointer(context, builder, signature, values):
    array = context.make_array(signature.args[0])(context, builder, values[0])
    vector = context.get_value_type(Lanes(signature.args[0].dtype))
    at = context.cast(builder, values[1], signature.args[1], types.intp)
    return builder.gep(builder.bitcast(array.data, vector.as_pointer()), [at])


def swapped(block):
    """Return a view of a block with its first two axes swapped; ``transpose`` takes seconds to compile.

    Parameters
    ----------
    block : (M, N, lanes) array
        Whole lines, float32 or float64.

    Returns
    -------
    (N, M, lanes) array
    """
    return block.transpose(1, 0, 2)


@type_callable(swapped)
def _swapped_typed(context):
    return lambda block: block.copy(layout="A") if _is_lined(block, 3) else None


@lower_builtin(swapped, types.Array)
def _swapped_view(context, builder, signature, values):
    from numba.np import arrayobj  # Numba loads it with the first compiled function

    source = context.make_array(signature.args[0])(context, builder, values[0])
    view = context.make_array(signature.return_type)(context, builder)
    shape, strides = (cgutils.unpack_tuple(builder, x) for x in (source.shape, source.strides))
    arrayobj.populate_array(
        view,
        data=source.data,
        shape=[shape[1], shape[0], shape[2]],
        strides=[strides[1], strides[0], strides[2]],
        itemsize=source.itemsize,
        meminfo=source.meminfo,
        parent=source.parent,
    )
    return impl_ret_borrowed(context, builder, signature.return_type, view._getvalue())


# ------------------------------------------------------------------------------------------------ rows of each lane


def gather_lanes(X, sets, rows, count, inputs):
    """Copy the first rows of each lane to inputs, one run along each lane.

    Parameters
    ----------
    X : (sets, all rows, features) array
        The data sets, float32 or float64, C-contiguous.
    sets : (lanes,) int64 array
        The data set of each lane.
    rows : (lanes, at least count) int64 array
        The rows of each lane.
    count : int64
        How many of them to copy.
    inputs : (at least count, at least features, lanes) array
        Whole lines; overwritten.
    """
    numbers, features, starts = X.reshape(X.size), X.shape[2], np.empty(sets.size, np.int64)
    for r in range(count):
        for lane in range(sets.size):
            starts[lane] = (sets[lane] * X.shape[1] + rows[lane, r]) * features
        f = 0
        while features - f >= 16:
            _gather_block(numbers, starts, f, inputs, r, 16)
            f += 16
        if features - f >= 8:
            _gather_block(numbers, starts, f, inputs, r, 8)
            f += 8
        if features - f >= 4:
            _gather_block(numbers, starts, f, inputs, r, 4)
            f += 4
        while f < features:
            for lane in range(sets.size):
                inputs[r, f, lane] = numbers[starts[lane] + f]
            f += 1


def _gather_block(numbers, starts, f, inputs, r, width):
    """Copy features f, ..., f + width - 1 of a row of each lane; width is a literal, a power of 2."""
    for lane in range(starts.size):
        for i in range(f, f + width):
            inputs[r, i, lane] = numbers[starts[lane] + i]


@lru_cache(None)
def _gather_for(width):
    whole, rows = types.Array(types.int64, 1, "C", readonly=True), types.int64[:, ::1]
    read, write = types.Array(width, 3, "C", readonly=True), width[:, :, ::1]
    return compiled(types.void(read, whole, rows, types.int64, write))(gather_lanes)


@type_callable(gather_lanes)
def _gather_typed(context):
    def signature(X, sets, rows, count, inputs):
        fits = _is_lined(X, 3) and _is_lined(inputs, 3) and X.dtype == inputs.dtype
        return _gather_for(X.dtype).nopython_signatures[0] if fits else None

    return signature


@lower_builtin(gather_lanes, types.Array, types.Array, types.Array, types.Integer, types.Array)
def _gather_call(context, builder, signature, arguments):
    (whole,) = _gather_for(signature.args[0].dtype).overloads.values()
    context.add_linking_libs([whole.library])
    return context.call_internal(builder, whole.fndesc, signature, arguments)


@type_callable(_gather_block)
def _gather_block_typed(context):
    def signature(numbers, starts, f, inputs, r, width):
        return types.void if isinstance(width, types.Literal) else None

    return signature


@lower_builtin(_gather_block, types.Array, types.Array, types.Integer, types.Array, types.Integer, types.IntegerLiteral)
def _gather_block_instructions(context, builder, signature, values):
    """Emit loads of vectors along the features, transpositions, and stores of vectors along the lanes."""
    kinds, width = signature.args, signature.args[5].literal_value
    lines = context.get_value_type(Lanes(kinds[0].dtype))
    align, index = kinds[0].dtype.bitwidth // 8, ir.IntType(64)
    size = min(width, lines.count, vector_bytes(context) // align)
    vector = ir.VectorType(lines.element, size)
    numbers, starts, inputs = (context.make_array(kinds[n])(context, builder, values[n]) for n in (0, 1, 3))
    f, r = (context.cast(builder, values[n], kinds[n], types.int64) for n in (2, 4))
    row_stride, line_stride, _ = cgutils.unpack_tuple(builder, inputs.strides)
    target = builder.gep(builder.bitcast(inputs.data, ir.IntType(8).as_pointer()), [builder.mul(r, row_stride)])
    for lane in range(0, lines.count, size):
        first = [builder.load(builder.gep(starts.data, [index(lane + i)])) for i in range(size)]
        for feature in range(0, width, size):
            at = builder.add(f, index(feature))
            block = []
            for start in first:
                source = builder.gep(numbers.data, [builder.add(start, at)])
                block.append(builder.load(builder.bitcast(source, vector.as_pointer()), align=align))
            for i, line_of_lanes in enumerate(_transposed(builder, block)):
                place = builder.gep(target, [builder.mul(builder.add(at, index(i)), line_stride)])
                place = builder.gep(builder.bitcast(place, lines.element.as_pointer()), [index(lane)])
                builder.store(line_of_lanes, builder.bitcast(place, vector.as_pointer()), align=align)
    return context.get_dummy_value()


def _transposed(builder, rows):
    """Transpose a square of vectors: each pass interleaves the first half of the rows with the second."""
    size, word = len(rows), ir.IntType(32)
    mask = ir.VectorType(word, size)
    halves = [
        ir.Constant(mask, [word(first + i // 2 + size * (i % 2)) for i in range(size)]) for first in (0, size // 2)
    ]
    for _ in range(size.bit_length() - 1):
        pairs = list(zip(rows[: size // 2], rows[size // 2 :], strict=True))
        rows = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in halves]
    return rows


# ------------------------------------------------------------------------------------------------ products

TILES = (4, 2, 1)  # columns; with 4 rows, 16 chains hide the latency of fma; with 6 rows, they fit into 32 registers


def lane_product(A, B, C):
    """Write the matrix product of each lane into C, every sum in the order k = 0, 1, 2, ...

    Parameters
    ----------
    A : (M, K, lanes) array
        Whole lines, any distance apart.
    B : (K, N, lanes) or (K, N) array
        Whole lines, any distance apart; or any strides, if all lanes share B.
    C : (M, N, lanes) array
        Whole lines, any distance apart; overwritten. It must not overlap A or B. Shapes are not checked.

    Notes
    -----
    Equation, lane by lane: ``C[i, j] = c_K`` with ``c_0 = +0`` and ``c_(k+1) = fma(A[i, k], B[k, j], c_k)``. This is
    the chain of ``product``, so a lane is bit-for-bit identical to a run alone.
    """
    _all_bands(A, B, C)


@formula
def _all_bands(A, B, C):
    i = 0
    while B.ndim == 3 and A.shape[0] - i > 8:  # lines of B come from the second cache: more rows use each of them
        _lane_band(A, B, C, i, 6)
        i += 6
    while A.shape[0] - i > 6:
        _lane_band(A, B, C, i, 4)
        i += 4
    rows = A.shape[0] - i  # the last ones together: B is read once less, and there are enough chains
    if rows == 6:
        _lane_band(A, B, C, i, 6)
    elif rows == 5:
        _lane_band(A, B, C, i, 5)
    elif rows == 4:
        _lane_band(A, B, C, i, 4)
    elif rows == 3:
        _lane_band(A, B, C, i, 3)
    elif rows == 2:
        _lane_band(A, B, C, i, 2)
    elif rows == 1:
        _lane_band(A, B, C, i, 1)


@lru_cache(None)
def _product_for(width, ndim):
    read, shared, write = (types.Array(width, n, "A", readonly=readonly) for n, readonly in ((3, 1), (ndim, 1), (3, 0)))
    function = formula(named(f"lane_product_{ndim}", lambda A, B, C: _all_bands(A, B, C)))
    return compiled(types.void(read, shared, write))(function)


@type_callable(lane_product)
def _product_typed(context):
    def signature(A, B, C):
        fits = _is_lined(A, 3) and (_is_lined(B, 3) or _is_lined(B, 2)) and _is_lined(C, 3)
        return _product_for(C.dtype, B.ndim).nopython_signatures[0] if fits and A.dtype == B.dtype == C.dtype else None

    return signature


@lower_builtin(lane_product, types.Array, types.Array, types.Array)
def _product_call(context, builder, signature, arguments):
    (whole,) = _product_for(signature.args[2].dtype, signature.args[1].ndim).overloads.values()
    context.add_linking_libs([whole.library])
    return context.call_internal(builder, whole.fndesc, signature, arguments)


def _lane_band(A, B, C, i, rows):
    """Write rows i, ..., i + rows - 1 of C; rows is a literal, so that the compiled loop over it is unrolled."""
    for row in range(i, i + rows):
        for column in range(C.shape[1]):
            for lane in range(C.shape[2]):
                chain = C.dtype.type(0)
                for k in range(A.shape[1]):
                    b = B[k, column] if B.ndim == 2 else B[k, column, lane]
                    chain = fma(A[row, k, lane], b, chain)
                C[row, column, lane] = chain


@type_callable(_lane_band)
def _band_typed(context):
    def signature(A, B, C, i, rows):
        fits = _is_lined(A, 3) and (_is_lined(B, 3) or _is_lined(B, 2)) and _is_lined(C, 3)
        return types.void if fits and A.dtype == B.dtype == C.dtype and isinstance(rows, types.Literal) else None

    return signature


@lower_builtin(_lane_band, types.Array, types.Array, types.Array, types.Integer, types.IntegerLiteral)
def _band_instructions(context, builder, signature, values):
    kinds = signature.args[:3]
    A, B, C = (context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, values, strict=False))
    i, rows = values[3], signature.args[4].literal_value
    _, N, _ = cgutils.unpack_tuple(builder, C.shape)
    index = N.type
    tile = partial(
        _tile_instructions,
        context,
        builder,
        kinds,
        (A, B, C),
        context.cast(builder, i, signature.args[3], types.intp),
        rows,
    )
    start = index(0)
    for columns in TILES if vector_bytes(context) == LINE else (1,):  # lines of several registers leave room for one
        end = builder.sub(N, builder.srem(N, index(columns)))
        with cgutils.for_range_slice(builder, start, end, index(columns), index) as (j, _):
            tile(j, columns)
        start = end
    return context.get_dummy_value()


def _tile_instructions(context, builder, kinds, arrays, i, rows, j, columns):
    """Emit a tile of lines at (i, j); its accumulators stay in registers while k runs over all of K."""
    vector = context.get_value_type(Lanes(kinds[2].dtype))
    number, lanes, byte = vector.element, vector.count, ir.IntType(8).as_pointer()
    A, B, C = arrays
    shared, align = kinds[1].ndim == 2, kinds[2].dtype.bitwidth // 8
    _, K, _ = cgutils.unpack_tuple(builder, A.shape)
    index = K.type
    (A_row, A_step), (B_step, B_column), (C_row, C_column) = (
        cgutils.unpack_tuple(builder, x.strides)[:2] for x in arrays
    )

    def place(x, row, row_stride, column, column_stride):
        start = builder.gep(builder.bitcast(x.data, byte), [builder.mul(row, row_stride)])
        return builder.gep(start, [builder.mul(column, column_stride)])

    def advanced(pointer, stride):
        address = builder.load(pointer)
        builder.store(builder.gep(address, [stride]), pointer)
        return address

    variable = partial(cgutils.alloca_once_value, builder)  # LLVM turns these into registers
    row = [builder.add(i, index(r)) for r in range(rows)]
    column = [builder.add(j, index(c)) for c in range(columns)]
    at_A = [variable(place(A, r, A_row, index(0), A_step)) for r in row]
    at_B = [variable(place(B, index(0), B_step, c, B_column)) for c in column]
    zero = ir.Constant(vector, None)
    chains = [[variable(zero) for _ in column] for _ in row]
    with cgutils.for_range(builder, K):
        a = [builder.load(builder.bitcast(advanced(at, A_step), vector.as_pointer()), align=align) for at in at_A]
        for c, at in enumerate(at_B):
            source = advanced(at, B_step)
            if shared:
                b = _spread(builder, builder.load(builder.bitcast(source, number.as_pointer()), align=align), lanes)
            else:
                b = builder.load(builder.bitcast(source, vector.as_pointer()), align=align)
            for r in range(rows):
                chain = chains[r][c]
                builder.store(_call(builder, "fma", a[r], b, builder.load(chain)), chain)
    for r in range(rows):
        for c in range(columns):
            at = builder.bitcast(place(C, row[r], C_row, column[c], C_column), vector.as_pointer())
            builder.store(builder.load(chains[r][c]), at, align=align)
