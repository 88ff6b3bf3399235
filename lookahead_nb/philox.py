"""The counter-based random stream: the same bits in plain Python, CPU loops and CUDA kernels, for good.

A number is a function of (seed, stream, position): no state is carried, so any run, thread or device can ask for any
part of the stream. Words are 32-bit values held in uint64, which neither Numba nor NumPy promotes or lets overflow.
Changing anything here changes published results: it would need a new STREAM_ID.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.checks import whole_number
from lookahead_nb.formulas import normal_quantile
from lookahead_nb.jit import compiled, fma, formula

STREAM_ID = "philox4x32-10/feistel8/1"  # stored with every result

# What a stream is used for: the last word of the counter.
MINIBATCHES, WEIGHTS, SPLITS, SUBSETS, SYNTHETIC, NOISE, FLIPS = (np.uint64(i) for i in range(1, 8))
DRAWS = np.uint64(8)  # of settings

_u64 = np.uint64
_LOW = _u64(0xFFFFFFFF)
_32 = _u64(32)
_M0, _M1 = _u64(0xD2511F53), _u64(0xCD9E8D57)
_W0, _W1 = _u64(0x9E3779B9), _u64(0xBB67AE85)
_H0, _H1 = _u64(0x9E3779B1), _u64(0x85EBCA6B)
_15, _13, _8, _1 = _u64(15), _u64(13), _u64(8), _u64(1)
_2_POW_MINUS_24, _2_POW_MINUS_32, _2_POW_MINUS_33 = (np.float64(2.0**-n) for n in (24, 32, 33))


@formula
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Return four random words for a counter of four words and a key of two: Philox4x32 with ten rounds.

    c0, c1, c2, c3, k0, k1 : words, each a uint64 below 2**32. Source: Salmon, Moraes, Dror & Shaw, "Parallel random
    numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
    """
    for _ in range(10):
        p0 = c0 * _M0
        p1 = c2 * _M1
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@formula
def uniform(word):
    """Return ``(word >> 8) * 2**-24`` in [0, 1) as float64: exact in float32 too.

    word : uint64 below 2**32.
    """
    return np.float64(word >> _8) * _2_POW_MINUS_24


@formula
def _mixed(half, key):
    h = ((half + key) & _LOW) * _H0 & _LOW
    h = (h ^ (h >> _15)) * _H1 & _LOW
    return h ^ (h >> _13)


@formula
def shuffled(position, n, left_bits, right_bits, low_keys, high_keys):
    """Return the image of a position under a keyed bijection of 0..n-1.

    An eight-round Feistel network on left_bits + right_bits bits, walked until the image is below n. Each round changes
    one half by a hash of the other, so it can be undone and no two positions meet.

    position, n : uint64, position < n <= 2**(left_bits + right_bits); left_bits, right_bits : uint64; low_keys,
    high_keys : four words each, of the epoch. Source: Black & Rogaway 2002, cycle-walking cipher.
    """
    left_mask = (_1 << left_bits) - _1
    right_mask = (_1 << right_bits) - _1
    x = position
    while True:
        left, right = x >> right_bits, x & right_mask
        for keys in (low_keys, high_keys):
            left ^= _mixed(right, keys[0]) & left_mask
            right ^= _mixed(left, keys[1]) & right_mask
            left ^= _mixed(right, keys[2]) & left_mask
            right ^= _mixed(left, keys[3]) & right_mask
        x = (left << right_bits) | right
        if x < n:
            return x


@formula
def domain_bits(n):
    """Return (left_bits, right_bits) of the smallest domain of at least 256 positions that holds n.

    n : uint64, at least 1.
    """
    bits = _u64(8)
    while (_1 << bits) < n:
        bits += _1
    return bits >> _1, bits - (bits >> _1)


@formula
def minibatch(n, batch_size, seed, step, out):
    """Write the row indices of the minibatch of one step: a fresh bijection per epoch, the last partial batch dropped.

    n, batch_size, step : int64, 1 <= batch_size <= n, step = 0, 1, 2, ...; seed : uint64; out : (batch_size,) int64.
    """
    epoch, first = _place(n, batch_size, step)
    _shuffle(n, first, seed, epoch, MINIBATCHES, out)


@formula
def minibatch_row(n, batch_size, seed, step, i):
    """Return row index i of the :func:`minibatch` of one step.

    n, batch_size, seed, step : as there; i : int64 in [0, batch_size).
    """
    epoch, first = _place(n, batch_size, step)
    rows, (low_keys, high_keys) = _u64(n), _epoch_keys(seed, epoch, MINIBATCHES)
    left_bits, right_bits = domain_bits(rows)
    return np.int64(shuffled(_u64(first + i), rows, left_bits, right_bits, low_keys, high_keys))


@formula
def _place(n, batch_size, step):
    """Return the epoch of a step, and the place of its first row in it."""
    per_epoch = n // batch_size
    return step // per_epoch, (step % per_epoch) * batch_size


@formula
def _epoch_keys(seed, epoch, stream):
    k0, k1 = seed & _LOW, seed >> _32
    e0, e1 = _u64(epoch) & _LOW, _u64(epoch) >> _32
    return philox4x32(e0, e1, _u64(0), stream, k0, k1), philox4x32(e0, e1, _1, stream, k0, k1)


@formula
def _shuffle(n, first, seed, epoch, stream, out):
    rows, (low_keys, high_keys) = _u64(n), _epoch_keys(seed, epoch, stream)
    left_bits, right_bits = domain_bits(rows)
    for i in range(out.size):
        out[i] = np.int64(shuffled(_u64(first + i), rows, left_bits, right_bits, low_keys, high_keys))


@formula
def _fill_uniform(seed, stream, block, out):
    k0, k1 = seed & _LOW, seed >> _32
    for i in range(0, out.size, 4):
        words = philox4x32(_u64(i >> 2), _u64(0), block, stream, k0, k1)
        for j in range(min(4, out.size - i)):
            out[i + j] = uniform(words[j])


@formula
def fill_normal(seed, stream, step, out):
    """Write the standard normal numbers of one step, each a function of seed, stream, step and position alone.

    Number i comes from word i % 4 of the counter (i // 4, step, 0, stream), each of the first two in 32 bits, as the
    quantile of ``(word + 1/2) * 2**-32``: from -6.34 to 6.34, mean 0 and all odd moments exactly 0 over all words.

    seed : uint64; stream : uint64, one of this module; step : int64 in [0, 2**32); step 0 shares its words with
    ``uniforms`` of the stream; out : float64.
    """
    for i in range(0, out.size, 4):
        words = normal_words(seed, stream, step, i >> 2)
        for j in range(min(4, out.size - i)):
            out[i + j] = np.float64(words[j])
    for i in range(out.size):
        out[i] = normal_of(out[i])


@formula
def normal_words(seed, stream, step, quarter):
    """Return the four words behind the numbers 4*quarter, ... of :func:`fill_normal`.

    seed, stream, step : as there; quarter : int64, at least 0.
    """
    return philox4x32(_u64(quarter) & _LOW, _u64(step), _u64(0), stream, seed & _LOW, seed >> _32)


@formula
def normal_of(word):
    """Return the standard normal number of a word, both float64; the fma is exact, and leaves nothing to contract.

    word : whole number in [0, 2**32).
    """
    return normal_quantile(fma(word, _2_POW_MINUS_32, _2_POW_MINUS_33))


@lru_cache(None)
def _loops():
    indices, numbers = types.int64[::1], types.float64[::1]
    return (
        compiled(types.void(types.int64, types.int64, types.uint64, types.int64, indices))(minibatch),
        compiled(types.void(types.int64, types.int64, types.uint64, types.int64, types.uint64, indices))(_shuffle),
        compiled(types.void(types.uint64, types.uint64, types.uint64, numbers))(_fill_uniform),
        compiled(types.void(types.uint64, types.uint64, types.int64, numbers))(fill_normal),
    )


def minibatches(n, batch_size, seed):
    """Yield for ever the index arrays that ``train`` uses, the same for every setting with that seed.

    n : int, rows of the data, at least 1; batch_size : int in [1, n]; seed : int in [0, 2**63).
    yields : (batch_size,) int64, without replacement within an epoch of n // batch_size batches.
    errors : TypeError, ValueError, naming the argument. Source: :func:`minibatch`.
    """
    n = whole_number("n", n, 1)
    batch_size = whole_number("batch_size", batch_size, 1, n)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    return _endless(n, batch_size, np.uint64(seed))


def _endless(n, batch_size, seed):
    fill = _loops()[0]
    step = 0
    while True:
        out = np.empty(batch_size, np.int64)
        fill(n, batch_size, seed, step, out)
        yield out
        step += 1


def permutation(n, seed, stream):
    """Return a random order of 0..n-1 as (n,) int64, a function of the seed and the stream's purpose.

    n : int, at least 0; seed : int in [0, 2**64); stream : uint64, one of this module.
    """
    out = np.empty(n, np.int64)
    if n:
        _loops()[1](n, 0, np.uint64(seed), 0, stream, out)
    return out


def uniforms(n, seed, stream, block=0):
    """Return n random numbers in [0, 1) as float64, multiples of 2**-24; block tells arrays of one purpose apart.

    n : int, at least 0; seed : int in [0, 2**64); stream : uint64, one of this module; block : int, at least 0.
    """
    out = np.empty(n, np.float64)
    _loops()[2](np.uint64(seed), stream, np.uint64(block), out)
    return out


def normals(n, seed, stream, step=0):
    """Return n standard normal numbers as float64, see :func:`fill_normal`.

    n : int, at least 0; seed : int in [0, 2**64); stream : uint64, one of this module; step : int in [0, 2**32).
    """
    out = np.empty(n, np.float64)
    _loops()[3](np.uint64(seed), stream, step, out)
    return out
