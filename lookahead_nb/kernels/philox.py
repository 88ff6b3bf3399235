"""The counter-based random stream: bit-for-bit identical in plain Python, CPU loops and CUDA kernels.

A number is a function of (seed, stream, position). There is no state to carry, so any run, thread or device can compute
any part of the stream. Words are 32-bit values in uint64: neither Numba nor NumPy promotes these, and no product of two
words overflows. Any change here changes published results and needs a new STREAM_ID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.checks import named_arguments, one_of, whole_number
from lookahead_nb.kernels.compiler import compiled, fma, formula
from lookahead_nb.kernels.formulas import normal_quantile

STREAM_ID = "philox4x32-10/feistel8/1"  # stored with every result

# The purpose of a stream: the last word of the counter.
MINIBATCHES, WEIGHTS, SPLITS, SUBSETS, SYNTHETIC, NOISE, FLIPS = (np.uint64(i) for i in range(1, 8))
DRAWS = np.uint64(8)  # of settings
TASKS, ROWS, LABELS = (np.uint64(i) for i in range(9, 12))  # of the generated population
RATES = np.uint64(12)  # of a trial: the shifts of its grids
CHUNKS = np.uint64(13)  # of large data sets
EPISODES, ACTIONS = np.uint64(14), np.uint64(15)  # of agents: the starts of their episodes, and what they do
PAIRS = np.uint64(16)  # of a GAN: its noise and the points that it learns

ORDERS = {"shuffled": 1, "repeated": 0}  # whether each epoch has an order of its own

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

    Parameters
    ----------
    c0, c1, c2, c3 : uint64
        The counter, words below 2**32.
    k0, k1 : uint64
        The key, words below 2**32.

    Returns
    -------
    tuple of four uint64
        Words below 2**32.

    Notes
    -----
    Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
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
    """Return ``(word >> 8) * 2**-24``, a uniform number in [0, 1) that is exact in float32 too.

    Parameters
    ----------
    word : uint64
        Below 2**32.

    Returns
    -------
    float64
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

    An eight-round Feistel network on left_bits + right_bits bits is repeated until the image is below n. Each round
    changes one half by a hash of the other. Every round can be undone, so no two positions have the same image.

    Parameters
    ----------
    position : uint64
        Below n.
    n : uint64
        At most 2**(left_bits + right_bits).
    left_bits, right_bits : uint64
        Of :func:`domain_bits`.
    low_keys, high_keys : tuples of four uint64
        Words of the epoch.

    Returns
    -------
    uint64
        Below n.

    Notes
    -----
    Source: Black & Rogaway 2002, cycle-walking cipher.
    """
    left_mask, right_mask = (_1 << left_bits) - _1, (_1 << right_bits) - _1
    x = _eight_rounds(position, right_bits, left_mask, right_mask, low_keys, high_keys)
    while x >= n:
        x = _eight_rounds(x, right_bits, left_mask, right_mask, low_keys, high_keys)
    return x


@formula
def _eight_rounds(x, right_bits, left_mask, right_mask, low_keys, high_keys):
    """Return the image of x in the whole domain. A loop over this is vectorized if the masks come from outside."""
    left, right = x >> right_bits, x & right_mask
    left ^= _mixed(right, low_keys[0]) & left_mask
    right ^= _mixed(left, low_keys[1]) & right_mask
    left ^= _mixed(right, low_keys[2]) & left_mask
    right ^= _mixed(left, low_keys[3]) & right_mask
    left ^= _mixed(right, high_keys[0]) & left_mask
    right ^= _mixed(left, high_keys[1]) & right_mask
    left ^= _mixed(right, high_keys[2]) & left_mask
    right ^= _mixed(left, high_keys[3]) & right_mask
    return (left << right_bits) | right


@formula
def domain_bits(n):
    """Return the bits of the smallest domain with at least 256 and at least n positions.

    Parameters
    ----------
    n : uint64
        At least 1.

    Returns
    -------
    left_bits, right_bits : uint64
        The bits of both halves; the domain has 2**(left_bits + right_bits) positions.
    """
    bits = _u64(8)
    while (_1 << bits) < n:
        bits += _1
    return bits >> _1, bits - (bits >> _1)


@formula
def minibatch(n, batch_size, seed, step, reshuffles, out):
    """Write the row indices of the minibatch of one step.

    Each epoch has a new bijection of the rows, or all have that of the first. A partial batch at its end is dropped.

    Parameters
    ----------
    n : int64
        Rows of the data.
    batch_size : int64
        From 1 to n.
    seed : uint64
    step : int64
        0 for the first.
    reshuffles : int64
        One of ``ORDERS``: 1, or 0 to repeat the minibatches of the first epoch.
    out : (batch_size,) int64 array
        Receives the indices.
    """
    epoch, first = _place(n, batch_size, step, reshuffles)
    _shuffle(n, first, seed, epoch, MINIBATCHES, out)


@formula
def minibatch_row(n, batch_size, seed, step, reshuffles, i):
    """Return row index i of the :func:`minibatch` of one step.

    Parameters
    ----------
    n : int64
        Rows of the data.
    batch_size : int64
        From 1 to n.
    seed : uint64
    step : int64
        0 for the first.
    reshuffles : int64
        One of ``ORDERS``.
    i : int64
        In [0, batch_size).

    Returns
    -------
    int64
    """
    epoch, first = _place(n, batch_size, step, reshuffles)
    rows, (low_keys, high_keys) = _u64(n), _epoch_keys(seed, epoch, MINIBATCHES)
    left_bits, right_bits = domain_bits(rows)
    return np.int64(shuffled(_u64(first + i), rows, left_bits, right_bits, low_keys, high_keys))


@formula
def _place(n, batch_size, step, reshuffles):
    """Return the epoch whose order a step follows, and the position of its first row in the epoch."""
    per_epoch = n // batch_size
    return step // per_epoch * reshuffles, (step % per_epoch) * batch_size


@formula
def _epoch_keys(seed, epoch, stream):
    k0, k1 = seed & _LOW, seed >> _32
    e0, e1 = _u64(epoch) & _LOW, _u64(epoch) >> _32
    return philox4x32(e0, e1, _u64(0), stream, k0, k1), philox4x32(e0, e1, _1, stream, k0, k1)


@formula
def _shuffle(n, first, seed, epoch, stream, out):
    rows, (low_keys, high_keys) = _u64(n), _epoch_keys(seed, epoch, stream)
    left_bits, right_bits = domain_bits(rows)
    left_mask, right_mask = (_1 << left_bits) - _1, (_1 << right_bits) - _1
    for i in range(out.size):
        out[i] = np.int64(_eight_rounds(_u64(first + i), right_bits, left_mask, right_mask, low_keys, high_keys))
    for i in range(out.size):
        while out[i] >= n:
            out[i] = np.int64(_eight_rounds(_u64(out[i]), right_bits, left_mask, right_mask, low_keys, high_keys))


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

    Number i comes from word i % 4 of the counter (i // 4, step, 0, stream). The first two entries of the counter have
    32 bits each. The number is the quantile of ``(word + 1/2) * 2**-32``, from -6.34 to 6.34. Over all words, the mean
    and all odd moments are exactly 0.

    Parameters
    ----------
    seed : uint64
    stream : uint64
        One of this module.
    step : int64
        In [0, 2**32). Step 0 shares its words with :func:`uniforms` of the stream.
    out : (n,) float64 array
        Receives the numbers.
    """
    for i in range(0, out.size, 4):
        words = normal_words(seed, stream, step, i >> 2)
        for j in range(min(4, out.size - i)):
            out[i + j] = np.float64(words[j])
    for i in range(out.size):
        out[i] = normal_of(out[i])


@formula
def normal_words(seed, stream, step, quarter):
    """Return the words of numbers 4*quarter to 4*quarter + 3 of :func:`fill_normal`.

    Parameters
    ----------
    seed : uint64
    stream : uint64
        One of this module.
    step : int64
        In [0, 2**32).
    quarter : int64
        At least 0.

    Returns
    -------
    tuple of four uint64
        Words below 2**32.
    """
    return philox4x32(_u64(quarter) & _LOW, _u64(step), _u64(0), stream, seed & _LOW, seed >> _32)


@formula
def normal_of(word):
    """Return the standard normal number of a word.

    The fma is exact, so the compiler has nothing to contract.

    Parameters
    ----------
    word : float64
        A whole number in [0, 2**32).

    Returns
    -------
    float64
    """
    return normal_quantile(fma(word, _2_POW_MINUS_32, _2_POW_MINUS_33))


@lru_cache(None)
def _loop(formula: Callable) -> Callable:
    """Return a formula of this module as a compiled loop."""
    whole, word = types.int64, types.uint64
    indices, numbers = types.int64[::1], types.float64[::1]
    signatures = {
        minibatch: (whole, whole, word, whole, whole, indices),
        _shuffle: (whole, whole, word, whole, word, indices),
        _fill_uniform: (word, word, word, numbers),
        fill_normal: (word, word, whole, numbers),
    }
    return compiled(types.void(*signatures[formula]))(formula)


@named_arguments
def minibatches(n: int, batch_size: int, seed: int, start: int = 0, *, order: str = "shuffled") -> Iterator[np.ndarray]:
    """Yield, without end, the row indices of the minibatches that ``train`` uses with this seed.

    Parameters
    ----------
    n : int
        Rows of the data, at least 1.
    batch_size : int
        In [1, n].
    seed : int
        In [0, 2**63).
    start : int
        At least 0, the number of minibatches to leave out at the beginning.
    order : str
        "shuffled" gives each epoch an order of its own, "repeated" gives all epochs that of the first.

    Yields
    ------
    (batch_size,) int64 array
        No row repeats within an epoch of n // batch_size batches.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: :func:`minibatch`.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> batches = lnb.minibatches(10, batch_size=4, seed=0)
    >>> next(batches), next(batches)
    (array([3, 5, 9, 1]), array([7, 8, 4, 0]))
    """
    n = whole_number("n", n, 1)
    batch_size = whole_number("batch_size", batch_size, 1, n)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    reshuffles = ORDERS[one_of("order", order, ORDERS)]
    return _endless(n, batch_size, np.uint64(seed), whole_number("start", start, 0), reshuffles)


def _endless(n: int, batch_size: int, seed: np.uint64, step: int, reshuffles: int) -> Iterator[np.ndarray]:
    fill = _loop(minibatch)
    while True:
        out = np.empty(batch_size, np.int64)
        fill(n, batch_size, seed, step, reshuffles, out)
        yield out
        step += 1


def permutation(n: int, seed: int, stream: np.uint64) -> np.ndarray:
    """Return a random order of 0..n-1, a function of seed and stream.

    Parameters
    ----------
    n : int
        At least 0.
    seed : int
        In [0, 2**64).
    stream : uint64
        One of this module, for example ``SPLITS``.

    Returns
    -------
    (n,) int64 array

    Examples
    --------
    >>> from lookahead_nb.kernels.philox import SPLITS, permutation
    >>> permutation(5, seed=0, stream=SPLITS)
    array([3, 1, 4, 2, 0])
    """
    out = np.empty(n, np.int64)
    if n:
        _loop(_shuffle)(n, 0, np.uint64(seed), 0, stream, out)
    return out


def uniforms(n: int, seed: int, stream: np.uint64, block: int = 0) -> np.ndarray:
    """Return uniform random numbers in [0, 1), multiples of 2**-24.

    Parameters
    ----------
    n : int
        At least 0.
    seed : int
        In [0, 2**64).
    stream : uint64
        One of this module, for example ``WEIGHTS``.
    block : int
        At least 0; distinguishes several arrays of one stream.

    Returns
    -------
    (n,) float64 array
    """
    out = np.empty(n, np.float64)
    _loop(_fill_uniform)(np.uint64(seed), stream, np.uint64(block), out)
    return out


def normals(n: int, seed: int, stream: np.uint64, step: int = 0) -> np.ndarray:
    """Return standard normal numbers, those that :func:`fill_normal` writes.

    Parameters
    ----------
    n : int
        At least 0.
    seed : int
        In [0, 2**64).
    stream : uint64
        One of this module, for example ``NOISE``.
    step : int
        In [0, 2**32).

    Returns
    -------
    (n,) float64 array
    """
    out = np.empty(n, np.float64)
    _loop(fill_normal)(np.uint64(seed), stream, step, out)
    return out
