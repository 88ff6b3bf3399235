"""The random stream: known answers that hold for good, the same bits compiled and not, minibatches that are fair."""

import itertools

import numpy as np
import pytest
from conftest import NO_JIT
from scipy import stats

import lookahead_nb as lnb
from lookahead_nb.kernels import philox
from tests.support import reference

# Chance of a false alarm, were the seeds not fixed; they are, so a test that passes once passes always.
P_VALUE = 1e-3

# From the file kat_vectors of Random123, the library of the article's authors: philox 4x32, 10 rounds.
RANDOM123 = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), RANDOM123)
def test_known_answers_of_random123(counter, key, answer):
    given = [np.uint64(word) for word in words(counter) + words(key)]
    assert [int(word) for word in philox.philox4x32(*given)] == words(answer)
    assert reference.philox(words(counter), words(key)) == words(answer)


# ------------------------------------------------------------------------------------------ answers fixed for good


def test_r4_stream_id():
    assert philox.STREAM_ID == "philox4x32-10/feistel8/1"


FIRST_BATCHES = {
    (10, 3, 0): [[3, 5, 9], [1, 7, 8], [4, 0, 2], [4, 1, 6], [5, 9, 7]],
    (1000, 8, 2**63 - 1): [[752, 364, 28, 541, 525, 36, 493, 22], [313, 392, 310, 88, 820, 447, 708, 357]],
}


@pytest.mark.parametrize(("n", "batch_size", "seed"), FIRST_BATCHES)
def test_r4_first_batches_are_fixed_for_good(n, batch_size, seed):
    batches = lnb.minibatches(n, batch_size, seed)
    known = FIRST_BATCHES[n, batch_size, seed]
    assert [next(batches).tolist() for _ in known] == known


def test_r4_first_uniforms_are_fixed_for_good():
    known = [14495685, 11400608, 15136523, 13874378, 12228810, 6579784]
    assert [u * 2**24 for u in philox.uniforms(6, 0, philox.WEIGHTS)] == known
    assert [u * 2**24 for u in philox.uniforms(2, 2**63 - 1, philox.NOISE, block=3)] == [15781065, 7569031]


def test_r4_first_normals_are_fixed_for_good():
    known = [-1.2312776741798794, 1.2553708823668586, -0.5600773052121089, -0.09360633505763702, -0.5687299256862977]
    known += [-1.8030761545692977, -0.1496065352360618, 0.7470537078649456]
    assert philox.normals(6, 0, philox.NOISE, 1).tolist() == known[:6]
    assert philox.normals(2, 2**63 - 1, philox.NOISE, 2**32 - 1).tolist() == known[6:]


def test_r4_first_permutation_is_fixed_for_good():
    assert philox.permutation(10, 0, philox.SPLITS).tolist() == [3, 9, 4, 2, 6, 7, 0, 8, 1, 5]


# ------------------------------------------------------------------------------------------------- the same stream


@pytest.mark.parametrize(
    ("n", "batch_size"), [(1, 1), (2, 1), (7, 7), (10, 3), (255, 16), (256, 100), (257, 64), (600, 64)]
)
def test_minibatches_follow_the_reference(n, batch_size):
    for seed in (0, 1, 2**32, 2**63 - 1):
        expected = reference.minibatches(n, batch_size, seed, epochs=2)
        found = lnb.minibatches(n, batch_size, seed)
        for rows in expected:
            assert next(found).tolist() == rows


def test_permutation_follows_the_reference():
    for n, seed in itertools.product((1, 2, 300), (0, 5)):
        assert philox.permutation(n, seed, philox.SUBSETS).tolist() == reference.order(n, seed, 0, stream=4)
    assert philox.permutation(0, 0, philox.SUBSETS).size == 0


def test_uniforms_follow_the_reference():
    for n, block in itertools.product((0, 1, 4, 7), (0, 9)):
        wanted = [word >> 8 for i in range(2) for word in reference.philox((i, 0, block, 2), (3, 1))][:n]
        assert (philox.uniforms(n, 2**32 + 3, philox.WEIGHTS, block) * 2**24).tolist() == wanted


@pytest.mark.jit
def test_plain_python_and_compiled_code_agree():
    for n, step in itertools.product((5, 300), (0, 1, 77)):
        plain, compiled = np.empty(4, np.int64), np.empty(4, np.int64)
        philox.minibatch(n, 4, np.uint64(2**40 + 9), step, 1, plain)
        philox._loop(philox.minibatch)(n, 4, np.uint64(2**40 + 9), step, 1, compiled)
        assert plain.tolist() == compiled.tolist()
    plain = np.empty(10)
    philox._fill_uniform(np.uint64(7), philox.NOISE, np.uint64(1), plain)
    assert plain.tolist() == philox.uniforms(10, 7, philox.NOISE, 1).tolist()


@pytest.mark.jit
def test_rows_beyond_32_bits_stay_in_range():
    n = 2**40 + 12345
    out = np.empty(1000, np.int64)
    philox._loop(philox.minibatch)(n, 1000, np.uint64(3), 10**6, 1, out)
    assert len({*out.tolist()}) == 1000
    assert 0 <= out.min() < out.max() < n
    assert out.max() > 2**39


# ------------------------------------------------------------------------------------------------------ minibatches


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (6, 3), (10, 3), (300, 64)])
def test_epoch_holds_every_row_at_most_once(n, batch_size):
    batches = lnb.minibatches(n, batch_size, 5)
    for _ in range(4):
        rows = np.concatenate([next(batches) for _ in range(n // batch_size)])
        assert rows.dtype == np.int64
        assert rows.size == len({*rows.tolist()}) == n // batch_size * batch_size  # the partial batch is dropped
        assert 0 <= rows.min() <= rows.max() < n


def test_epochs_and_seeds_differ():
    def epochs(seed):
        batches = lnb.minibatches(50, 50, seed)
        return [tuple(next(batches)) for _ in range(3)]

    seen = [epoch for seed in (0, 1, 2**32) for epoch in epochs(seed)]
    assert len({*seen}) == len(seen)


def test_two_iterators_do_not_disturb_each_other():
    one, other = lnb.minibatches(50, 7, 3), lnb.minibatches(50, 7, 3)
    first = [next(one).tolist() for _ in range(9)]
    assert [next(other).tolist() for _ in range(9)] == first


def test_batches_are_arrays_of_their_own():
    batches = lnb.minibatches(50, 7, 3)
    first = next(batches)
    kept = first.copy()
    next(batches)
    assert first.tolist() == kept.tolist()
    first[:] = 0
    assert next(lnb.minibatches(50, 7, 3)).tolist() == kept.tolist()


def test_every_row_has_its_turn_although_the_partial_batch_is_dropped():
    batches = lnb.minibatches(11, 4, 1)  # three rows are left out of every epoch, and not always the same
    seen = np.bincount(np.concatenate([next(batches) for _ in range(2 * 30)]), minlength=11)
    assert seen.min() > 0


# ----------------------------------------------------------------------------------------------------- uniformity


def _orders(n, count):
    batches = lnb.minibatches(n, n, 11)
    return np.array([next(batches) for _ in range(count)])


@pytest.mark.parametrize("n", [7, 256, 300])  # a domain that is nearly empty, full, and over half full
def test_every_row_is_equally_likely_at_every_position(n):
    count = 20 * n
    orders = _orders(n, count) if n < 100 else _orders(n, 600)
    for position in (0, 1, n // 2, n - 1):
        cells = np.bincount(orders[:, position] * 7 // n, minlength=7)
        sizes = np.bincount(np.arange(n) * 7 // n, minlength=7)
        assert stats.chisquare(cells, sizes / n * len(orders)).pvalue > P_VALUE


def test_pairs_of_neighbours_are_equally_likely():
    n = 6
    orders = _orders(n, 1200)
    for first in (0, 2, 4):
        pairs = orders[:, first] * n + orders[:, first + 1]
        cells = np.bincount(pairs, minlength=n * n)
        allowed = ~np.eye(n, dtype=bool).ravel()
        assert cells[~allowed].sum() == 0
        assert stats.chisquare(cells[allowed]).pvalue > P_VALUE


def test_all_orders_of_four_rows_are_equally_likely():
    orders = _orders(4, 1200)
    cells = np.unique(orders @ [64, 16, 4, 1], return_counts=True)[1]
    assert cells.size == 24
    assert stats.chisquare(cells).pvalue > P_VALUE


def test_uniforms_are_uniform():
    u = philox.uniforms(4000, 1, philox.NOISE)
    assert 0 <= u.min() <= u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > P_VALUE
    assert stats.chisquare(np.bincount((u * 16).astype(int), minlength=16)).pvalue > P_VALUE
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / 4000**0.5  # four standard deviations


def test_streams_of_different_purpose_have_nothing_in_common():
    streams = [philox.uniforms(50, 1, stream, block) for stream in range(1, 7) for block in (0, 1)]
    assert len({*np.concatenate(streams)}) > 595  # of 600: two of them may meet by chance


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ((0, 1, 0), ValueError, "n must"),
        ((2.0, 1, 0), TypeError, "n must"),
        ((True, 1, 0), TypeError, "n must"),
        ((5, 0, 0), ValueError, "batch_size must"),
        ((5, 6, 0), ValueError, "batch_size must"),
        ((5, 2.5, 0), TypeError, "batch_size must"),
        ((5, 2, -1), ValueError, "seed must"),
        ((5, 2, 2**63), ValueError, "seed must"),
        ((5, 2, 1.0), TypeError, "seed must"),
        ((5, 2, None), TypeError, "seed must"),
    ],
)
def test_bad_input_is_refused_by_name_at_the_call(arguments, error, named):
    with pytest.raises(error, match=named):
        lnb.minibatches(*arguments)


# ------------------------------------------------------------------------------------------------- normal numbers


def test_normals_are_the_quantiles_of_the_words_of_their_counter():
    for seed, step in ((5, 1), (2**63 - 1, 2**32 - 1)):
        expected = []
        for block in range(3):
            words_of_block = reference.philox([block, step, 0, int(philox.NOISE)], [seed & 0xFFFFFFFF, seed >> 32])
            expected += [stats.norm.ppf((word + 0.5) / 2**32) for word in words_of_block]
        np.testing.assert_allclose(philox.normals(10, seed, philox.NOISE, step), expected[:10], rtol=4e-15)


def test_normals_are_the_same_bits_in_plain_python():
    plain = np.empty(9)
    philox.fill_normal(np.uint64(7), philox.NOISE, 3, plain)
    assert plain.tolist() == philox.normals(9, 7, philox.NOISE, 3).tolist()


def test_normals_do_not_depend_on_how_many_are_asked_for():
    many = philox.normals(23, 1, philox.NOISE, 2)
    for n in range(23):
        assert philox.normals(n, 1, philox.NOISE, 2).tolist() == many[:n].tolist()


def test_normals_follow_the_normal_law():
    numbers = philox.normals(200_000 if not NO_JIT else 300, 1, philox.NOISE, 1)
    assert stats.kstest(numbers, "norm").pvalue > P_VALUE
    assert stats.kstest(numbers[np.abs(numbers) > 2], tail_law).pvalue > P_VALUE


def tail_law(x):
    """The distribution of a normal number beyond 2 on either side."""
    return np.where(x < 0, stats.norm.cdf(x), stats.norm.cdf(x) - 1 + 2 * stats.norm.sf(2)) / (2 * stats.norm.sf(2))


def test_normals_of_steps_and_seeds_are_not_related():
    count = 100_000 if not NO_JIT else 200
    first = philox.normals(count, 1, philox.NOISE, 1)
    for other in (
        philox.normals(count, 1, philox.NOISE, 2),
        philox.normals(count, 2, philox.NOISE, 1),
        np.roll(first, 1),
    ):
        assert stats.pearsonr(first, other).pvalue > P_VALUE
        assert stats.pearsonr(first**2, other**2).pvalue > P_VALUE


def test_minibatches_start_where_they_are_told_to():
    late = itertools.islice(lnb.minibatches(10, 4, seed=3), 5, 9)
    for batch, same in zip(lnb.minibatches(10, 4, seed=3, start=5), late, strict=False):
        assert batch.tolist() == same.tolist()
    with pytest.raises(ValueError, match="start must be a whole number of at least 0, got -1"):
        lnb.minibatches(10, 4, seed=3, start=-1)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (7, 3), (257, 64)])
def test_a_row_asked_for_alone_is_that_of_the_minibatch(n, batch_size):
    for order, reshuffles in philox.ORDERS.items():
        batches = philox.minibatches(n, batch_size, 2**62 + 5, order=order)
        for step in range(2 * (n // batch_size) + 1):
            of_step = n, batch_size, np.uint64(2**62 + 5), step, reshuffles
            assert [philox.minibatch_row(*of_step, i) for i in range(batch_size)] == next(batches).tolist()


def test_a_repeated_order_is_that_of_the_first_epoch():
    first = [batch.tolist() for batch in itertools.islice(lnb.minibatches(11, 3, seed=7), 3)]
    repeated = lnb.minibatches(11, 3, seed=7, order="repeated")
    assert [batch.tolist() for batch in itertools.islice(repeated, 9)] == first * 3
    late = lnb.minibatches(11, 3, seed=7, start=10**12 + 2, order="repeated")  # 10**12 leaves 1 on division by 3
    assert next(late).tolist() == first[0]
    with pytest.raises(ValueError, match="order must be one of 'shuffled', 'repeated', got 'same'"):
        lnb.minibatches(11, 3, seed=7, order="same")
