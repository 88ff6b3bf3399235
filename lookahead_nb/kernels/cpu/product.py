"""The matrix product with one fixed order of summation, compiled once per width and called from every training run.

BLAS chooses its order by shape, threads and CPU: in 454 of 1279 shapes a run alone differed from the same run stacked
with others. In this product every element is one chain of fused multiply-adds. So splitting the elements over tiles,
runs, threads or CPUs changes no bit. Tiles may even overlap, and each CPU can have the tile that suits its registers.
"""

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from lookahead_nb.kernels.compiler import compiled, fma


def product(A: Any, B: Any, C: Any) -> None:
    """Write the matrix product A @ B into C, every sum in the order k = 0, 1, 2, ...

    Parameters
    ----------
    A : (M, K) array
        float32 or float64, any strides: a transposed view is read in place, without a copy.
    B : (K, N) array
        Of the same width, contiguous rows any distance apart: a block of columns of a wider array is accepted.
    C : (M, N) array
        Of the same width, laid out like B, overwritten. It must not overlap A or B, which is not checked.

    Raises
    ------
    ValueError
        If shapes do not fit or rows of B or C are not contiguous. Other dtypes do not compile.

    Notes
    -----
    Equation: ``C[i, j] = c_K`` with ``c_0 = +0`` and ``c_(k+1) = fma(A[i, k], B[k, j], c_k)``, each fma rounded once.
    An element depends bit for bit on its row of A and its column of B alone. It does not depend on the shapes, the
    place in C, the neighbours, the thread or the CPU.

    K = 0 writes +0; M = 0 or N = 0 writes nothing. inf, NaN, -0 and subnormal numbers follow the chain, but sign and
    payload of a NaN are not guaranteed.

    Compiled code calls machine code, which allocates nothing. Python calls the same loop over the exact
    ``compiler.fma``.

    Source: register tiles as in Goto & van de Geijn 2008, ACM TOMS 34(3), without packing and without cutting K.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.cpu.product import product
    >>> C = np.empty((1, 1))
    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), C)
    >>> C.tolist()
    [[11.0]]
    """
    (M, K), N = A.shape, B.shape[1]
    if B.shape[0] != K or C.shape[0] != M or C.shape[1] != N:
        raise ValueError("product: the shapes must be (M, K), (K, N) and (M, N)")
    if (K > 0 and N > 1 and B.strides[1] != B.itemsize) or (M > 0 and N > 1 and C.strides[1] != C.itemsize):
        raise ValueError("product: the rows of B and C must be contiguous; only A may be a transposed view")
    i = 0
    while M - i >= 6:  # 6 rows by 2 vectors: 12 chains hide the latency of fma and fit into 16 registers
        _band(A, B, C, i, 6)
        i += 6
    if M - i >= 4:
        _band(A, B, C, i, 4)
        i += 4
    if M - i >= 2:
        _band(A, B, C, i, 2)
        i += 2
    if M - i >= 1:
        _band(A, B, C, i, 1)


@functools.lru_cache
def product_for(width: Any) -> Any:
    """Return :func:`product` compiled for one width and any layout.

    Parameters
    ----------
    width : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    function
        With the arguments of :func:`product`.
    """
    read, write = (types.Array(width, 2, "A", readonly=readonly) for readonly in (True, False))
    return compiled(types.void(read, read, write))(product)


@type_callable(product)
def _product_typed(context):
    def signature(A, B, C):
        views = all(isinstance(x, types.Array) and x.ndim == 2 and x.dtype == C.dtype for x in (C, A, B))
        if views and C.dtype in (types.float32, types.float64):  # mixed widths do not compile: no silent float64
            return product_for(C.dtype).nopython_signatures[0]
        return None

    return signature


@lower_builtin(product, types.Array, types.Array, types.Array)
def _product_call(context, builder, signature, arguments):
    # An @overload would double the compile time of every caller: it optimises the linked product once more.
    (whole,) = product_for(signature.args[2].dtype).overloads.values()
    context.add_linking_libs([whole.library])
    return context.call_internal(builder, whole.fndesc, signature, arguments)


def _band(A, B, C, i, rows):
    """Write rows i, ..., i + rows - 1 of C; rows is a literal, so that the compiled loop over it is unrolled."""
    for row in range(i, i + rows):
        for column in range(C.shape[1]):
            chain = C.dtype.type(0)
            for k in range(A.shape[1]):
                chain = fma(A[row, k], B[k, column], chain)
            C[row, column] = chain


@type_callable(_band)
def _band_typed(context):
    def signature(A, B, C, i, rows):
        return types.void if isinstance(rows, types.Literal) else None

    return signature


@lower_builtin(_band, types.Array, types.Array, types.Array, types.Integer, types.IntegerLiteral)
def _band_instructions(context, builder, signature, arguments):
    """Emit rows of tiles: two vectors wide, then one vector wide, the last moved left until it fits."""
    A, B, C = (context.make_array(signature.args[n])(context, builder, arguments[n]) for n in range(3))
    i, rows = arguments[3], signature.args[4].literal_value
    number = context.get_value_type(signature.args[2].dtype)
    lanes = vector_bytes(context) // context.get_abi_sizeof(number)
    _, N = cgutils.unpack_tuple(builder, C.shape)
    index = N.type
    zero, one, two = index(0), index(lanes), index(2 * lanes)

    def tile(j, *masks):
        _tile_instructions(builder, number, A, B, C, i, j, rows, masks)

    with builder.if_else(builder.icmp_signed("<", N, one)) as (narrow, wide):
        with narrow:  # C is narrower than a vector: SIMD lanes past its end are neither read nor written
            lane = ir.Constant(ir.VectorType(index, lanes), list(range(lanes)))
            tile(zero, builder.icmp_signed("<", lane, _spread(builder, N, lanes)))
        with wide:
            every = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
            rest, last = builder.sub(N, builder.srem(N, two)), builder.sub(N, one)
            with cgutils.for_range_slice(builder, zero, rest, two, index) as (j, _):
                tile(j, every, every)
            with cgutils.for_range_slice(builder, rest, N, one, index) as (j, _):
                tile(builder.select(builder.icmp_signed("<", j, last), j, last), every)
    return context.get_dummy_value()


def _tile_instructions(builder, number, A, B, C, i, j, rows, masks):
    """Emit a tile of rows by len(masks) vectors at (i, j), with accumulators in registers over all of K."""
    lanes, vectors = masks[0].type.count, range(len(masks))
    vector, byte, alignment = ir.VectorType(number, lanes), ir.IntType(8).as_pointer(), ir.IntType(32)
    itemsize = 4 if isinstance(number, ir.FloatType) else 8
    kind, zero = f"v{lanes}f{8 * itemsize}", ir.Constant(vector, None)
    _, K = cgutils.unpack_tuple(builder, A.shape)
    index = K.type
    (A_row, A_column), (B_row, _), (C_row, _) = (cgutils.unpack_tuple(builder, x.strides) for x in (A, B, C))

    def call(name, result, *arguments):
        declared = ir.FunctionType(result, [x.type for x in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, declared, f"llvm.{name}"), arguments)

    def load(at, mask):
        at = builder.bitcast(at, vector.as_pointer())
        return call(f"masked.load.{kind}.p0", vector, at, alignment(itemsize), mask, zero)

    def store(x, at, mask):
        at = builder.bitcast(at, vector.as_pointer())
        call(f"masked.store.{kind}.p0", ir.VoidType(), x, at, alignment(itemsize), mask)

    def place(x, row, row_stride, distance):
        start = builder.gep(builder.bitcast(x.data, byte), [builder.mul(row, row_stride)])
        return builder.gep(start, [distance])

    def advanced(pointer, stride):
        address = builder.load(pointer)
        builder.store(builder.gep(address, [stride]), pointer)
        return address

    variable = functools.partial(cgutils.alloca_once_value, builder)  # LLVM turns these into registers
    row = [builder.add(i, index(r)) for r in range(rows)]
    distance = [builder.mul(builder.add(j, index(v * lanes)), index(itemsize)) for v in vectors]
    # A pointer for each row: offsets from a common one would become a chain of additions longer than the fma's.
    at_A = [variable(place(A, r, A_row, index(0))) for r in row]
    at_B = [variable(place(B, index(0), B_row, d)) for d in distance]
    chains = [[variable(zero) for _ in vectors] for _ in row]
    with cgutils.for_range(builder, K):
        b = [load(advanced(at, B_row), mask) for at, mask in zip(at_B, masks, strict=True)]
        for at, row_of_chains in zip(at_A, chains, strict=True):
            at = builder.bitcast(advanced(at, A_column), number.as_pointer())
            a = _spread(builder, builder.load(at, align=itemsize), lanes)
            for v, chain in enumerate(row_of_chains):
                builder.store(call(f"fma.{kind}", vector, a, b[v], builder.load(chain)), chain)
    for r, row_of_chains in zip(row, chains, strict=True):
        for v, chain in enumerate(row_of_chains):
            store(builder.load(chain), place(C, r, C_row, distance[v]), masks[v])


def _spread(builder, x, lanes):
    vector = ir.VectorType(x.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), x, ir.IntType(32)(0))
    lane_zero = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lane_zero)


def vector_bytes(context: Any) -> int:
    """Return how many bytes a vector register of the CPU holds for which code is generated.

    Parameters
    ----------
    context : numba.core.base.BaseContext
        The target context of Numba.

    Returns
    -------
    int
        64, 32 or 16.
    """
    _, _, features = context.codegen().magic_tuple()
    return 64 if "+avx512f" in features else 32 if "+avx" in features else 16
