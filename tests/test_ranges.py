"""Ranges of settings and samples of them: known values, coverage, the same points on every CPU, bad input."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

import lookahead_nb as lnb
from lookahead_nb.training.ranges import METHODS, Interval, points, range_of

LOOKAHEAD = lnb.Lookahead(lnb.AdamW())
RATES = {"low": 1e-4, "high": 0.1}

# ----------------------------------------------------------------------------------------------------------- one range


def test_a_logarithmic_range_meets_the_decades():
    assert Interval(1e-4, 0.1).spaced(13)[::4] == [1e-4, 1e-3, 1e-2, 0.1]
    assert Interval(2.0, 32.0).spaced(5) == [2, 4, 8, 16, 32]


def test_a_linear_range_has_the_decimals_that_one_would_write():
    assert Interval(0.1, 0.9, "linear").spaced(9) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert Interval(-1.0, 1.0, "linear").spaced(3) == [-1, 0, 1]


def test_whole_numbers_are_rounded_and_taken_once():
    assert Interval(1, 50, whole=True).spaced(10) == [1, 2, 4, 6, 9, 14, 21, 32, 50]  # 1.54 and 2.38 are both 2
    assert all(type(value) is int for value in Interval(1, 9, "linear", whole=True).spaced(3))


@settings(deadline=None)
@example(2.848563010570717e16, 2.0, 2)  # a logarithm and back would miss the end
@given(st.floats(1e-300, 1e300), st.floats(1.001, 1e8), st.integers(2, 40))
def test_values_lie_in_the_range_and_rise(low, ratio, number):
    high = min(low * ratio, 1e305)
    values = Interval(low, high).spaced(number)
    assert values == sorted({*values})
    assert (values[0], values[-1]) == (low, high)
    assert values == pytest.approx(np.exp(np.linspace(math.log(low), math.log(high), number)).tolist(), rel=1e-11)


def test_values_are_rounded_correctly():
    """Of geometric means the nearest float64, which is found by squaring neighbours exactly."""
    for low, high in np.random.default_rng(3).uniform(0.1, 10, (50, 2)).round(3).tolist():
        (value,) = Interval(min(low, high), max(low, high)).at([0.5])
        square = Fraction(str(low)) * Fraction(str(high))
        below, above = (Fraction(value) + Fraction(math.nextafter(value, end)) for end in (0, math.inf))
        assert (below / 2) ** 2 <= square <= (above / 2) ** 2


# -------------------------------------------------------------------------------------------------------------- points


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_points_and_fewer_are_the_first(method):
    many = points(method, 64, 3, seed=7)
    assert (points(method, 64, 3, seed=7) == many).all()
    assert (points(method, 16, 3, seed=7) == many[:16]).all()
    assert (points(method, 64, 3, seed=8) != many).any()
    assert many.min() >= 0
    assert many.max() < 1
    assert (many * 2**32 == np.floor(many * 2**32)).all()


KNOWN = {  # another version of NumPy or SciPy that draws others would change every stored search
    "halton": [[3037507540, 2014681843], [890023892, 3446337608], [4111249364, 583026077]],
    "sobol": [[1760720076, 4140864808], [3100586968, 461815400], [3886371624, 2270111508]],
    "random": [[3611231488, 3205548544], [3298354944, 2291761664], [3564664064, 3374225664]],
}


@pytest.mark.parametrize("method", METHODS)
def test_points_are_those_of_every_machine(method):
    number = 4 if method == "sobol" else 3
    assert (points(method, number, 2, seed=0)[:3] * 2**32).astype(np.int64).tolist() == KNOWN[method]


@pytest.mark.parametrize(("method", "number", "parts"), [("sobol", 64, 64), ("halton", 64, 64), ("halton", 81, 81)])
def test_quasi_random_points_fill_every_part_of_a_setting(method, number, parts):
    u = points(method, number, 2, seed=1)[:, 1 if number == 81 else 0]
    assert sorted((u * parts).astype(int)) == [*range(parts)]


@pytest.mark.parametrize("method", ["halton", "sobol"])
def test_quasi_random_points_are_more_even_than_random_ones(method):
    even, random = (qmc.discrepancy(points(m, 128, 3, seed=5)) for m in (method, "random"))
    assert even < random / 3


# ---------------------------------------------------------------------------------------------------- grids and samples


def test_ranges_of_a_grid_have_the_scale_of_their_setting():
    rates = lnb.grid(LOOKAHEAD, lr=RATES | {"number": 4})
    assert [opt.inner.lr for opt in rates] == [1e-4, 1e-3, 1e-2, 0.1]
    retentions = lnb.grid(LOOKAHEAD, retention={"low": 0.5, "high": 0.9, "number": 3})
    assert [opt.retention for opt in retentions] == [0.5, 0.7, 0.9]
    periods = lnb.grid(LOOKAHEAD, sync_period={"low": 1, "high": 9, "number": 5, "scale": "linear"})
    assert [opt.sync_period for opt in periods] == [1, 3, 5, 7, 9]
    assert lnb.grid(LOOKAHEAD, lr=RATES | {"number": 3}, retention=[0.5, 0.9]) == lnb.grid(
        LOOKAHEAD, lr=[1e-4, 10**-2.5, 0.1], retention=[0.5, 0.9]
    )


def test_a_sample_maps_points_to_ranges():
    found = lnb.sample(lnb.SGD(), 8, lr=RATES, momentum={"low": 0.0, "high": 0.9})
    u = points("halton", 8, 2, seed=0)
    assert [opt.lr for opt in found] == pytest.approx((1e-4 * 1000 ** u[:, 0]).tolist(), rel=1e-14)
    assert [opt.momentum for opt in found] == pytest.approx((0.9 * u[:, 1]).tolist(), rel=1e-14)


def test_a_choice_is_drawn_evenly_and_one_value_needs_no_dimension():
    found = lnb.sample(LOOKAHEAD, 64, method="sobol", lr=RATES, inner_state=["keep", "reset"], sync_period=[7])
    assert [opt.inner_state for opt in found].count("keep") == 32
    assert {opt.sync_period for opt in found} == {7}
    bare = lnb.sample(LOOKAHEAD, 64, method="sobol", lr=RATES, inner_state=["keep", "reset"])
    assert [opt.inner.lr for opt in found] == [opt.inner.lr for opt in bare]


def test_a_sample_takes_each_optimizer_once():
    found = lnb.sample(LOOKAHEAD, 50, sync_period={"low": 1, "high": 10})
    assert sorted(opt.sync_period for opt in found) == [*range(1, 11)]


def test_a_sample_keeps_the_schedule():
    base = lnb.AdamW(lnb.schedules.cosine(1.0, 100))
    assert {opt.lr.kind for opt in lnb.sample(base, 4, lr=RATES)} == {"cosine"}


def test_a_larger_sample_begins_with_a_smaller_one():
    more = lnb.sample(LOOKAHEAD, 40, lr=RATES, retention={"low": 0.1, "high": 0.9})
    assert lnb.sample(LOOKAHEAD, 10, lr=RATES, retention={"low": 0.1, "high": 0.9}) == more[:10]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"lr": {}}, "lr.low must be a finite number above 0, got None"),
        ({"lr": RATES}, "lr.number must be a whole number from 2 to 100000, got None"),
        ({"lr": RATES | {"number": 10**9}}, "lr.number must be a whole number from 2 to 100000, got 1000000000"),
        ({"lr": RATES | {"number": 3, "step": 1}}, "lr.step is not known; allowed: low, high, scale, number"),
        ({"lr": {1: 2}}, "lr.'1' is not known"),
        ({"lr": RATES | {"number": 3, "scale": "ln"}}, "lr.scale must be one of 'log', 'linear', got 'ln'"),
        ({"lr": {"low": 0, "high": 1, "number": 3}}, "lr.low must be a finite number above 0, got 0"),
        ({"lr": {"low": 0.1, "high": 0.1, "number": 3}}, "lr.high must be a finite number above 0.1, got 0.1"),
        ({"retention": {"low": math.nan, "high": 1, "number": 3}}, "retention.low must be a finite number, got nan"),
        ({"sync_period": {"low": 1.5, "high": 9, "number": 3}}, "sync_period.low must be a whole number of at least 1"),
        (
            {"retention": {"low": 0.5, "high": 1.5, "number": 3}},
            "retention must be a finite number in [-1, 1], got 1.5",
        ),
        ({"pull_back": {"low": 0, "high": 1, "number": 3}}, "pull_back must be True or False, got 0.0"),
        ({"rate": RATES}, "an axis must be one of "),
    ],
)
def test_a_range_that_is_wrong_is_refused_in_a_sentence(axes, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        lnb.grid(LOOKAHEAD, **axes)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"number": 0}, "number must be a whole number from 1 to 100000, got 0"),
        (
            {"number": 100, "method": "sobol"},
            "number must be a power of 2 for method 'sobol', got 100: take 64 or 128, ",
        ),
        ({"method": "grid"}, "method must be one of 'halton', 'sobol', 'random', got 'grid'"),
        ({"seed": -1}, "seed must be a whole number from 0 to"),
        ({"lr": [0.1]}, "settings must be ranges or several values to draw from, one at least, got none"),
        ({"lr": []}, "lr must hold at least one value, got none"),
        ({"lr": RATES | {"number": 3}}, "lr.number is not known; allowed: low, high, scale"),
    ],
)
def test_a_sample_that_is_wrong_is_refused_in_a_sentence(arguments, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        lnb.sample(LOOKAHEAD, **{"number": 8, "lr": RATES} | arguments)
    assert str(caught.value).startswith(sentence)


def test_a_table_of_a_register_keeps_its_own_keys():
    assert range_of({"low": 1, "high": 50, "once": True}, more=("once",)) == Interval(1.0, 50.0)
