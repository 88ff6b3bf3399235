"""Learning-rate schedules: known values, warm-up, the exact end."""

import numpy as np
import pytest

from lookahead_nb.optimizers import schedules
from lookahead_nb.optimizers.schedules import Schedule
from tests.support import reference

RTOL = 1e-14  # a handful of roundings in float64; the cosine near its end is relative to the peak


def test_constant():
    assert [schedules.constant(0.5)(t) for t in (1, 2, 10**9)] == [0.5] * 3
    assert [schedules.constant(0.5, warmup=4)(t) for t in (1, 2, 3, 4, 5, 6)] == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]


def test_linear_by_hand():
    # warm-up .5, 1; then 1 - (t - 2)/4
    assert [schedules.linear(1.0, 6, warmup=2)(t) for t in range(1, 8)] == [0.5, 1, 0.75, 0.5, 0.25, 0, 0]


def test_cosine_by_hand():
    # (1 + cos(pi*t/4))/2 at t = 1..4: (1 + 1/sqrt(2))/2, 1/2, (1 - 1/sqrt(2))/2, 0
    half = 0.5**0.5
    values = [schedules.cosine(2.0, 4)(t) for t in (1, 2, 3, 4)]
    assert values == pytest.approx([1 + half, 1, 1 - half, 0], rel=RTOL)


@pytest.mark.parametrize("make", [schedules.linear, schedules.cosine])
def test_end_is_exactly_zero(make):
    for steps in (1, 7, 1000):
        assert [make(0.3, steps)(t) for t in (steps, steps + 1, 10 * steps)] == [0.0] * 3
        assert steps == 1 or make(0.3, steps)(steps - 1) > 0


@pytest.mark.parametrize("make", [schedules.linear, schedules.cosine])
def test_peak_is_reached_at_the_end_of_the_warmup_and_only_there(make):
    values = [make(0.3, 20, warmup=5)(t) for t in range(1, 21)]
    assert values[4] == 0.3
    assert all(np.diff(values[:5]) > 0)
    assert all(np.diff(values[4:]) < 0)


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_follows_the_reference(kind, warmup):
    s = Schedule(kind, 0.3, None if kind == "constant" else 40, warmup)
    steps = np.arange(1, 60)
    np.testing.assert_allclose(
        [s(int(t)) for t in steps], reference.schedule(kind, 0.3, 40, warmup, steps), rtol=RTOL, atol=0.3 * RTOL
    )


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_falls_in_the_last_steps_only(kind):
    s = Schedule(kind, 0.3, 40, 7, decay_steps=8)
    steps = np.arange(1, 60)
    expected = reference.schedule(kind, 0.3, 40, 7, steps, decay_steps=8)
    np.testing.assert_allclose([s(int(t)) for t in steps], expected, rtol=RTOL, atol=0.3 * RTOL)
    for after, n in [(0, 59), (3, 20), (31, 9), (33, 20)]:
        assert s.rates(n, after).tolist() == [s(t) for t in range(after + 1, after + n + 1)]


def test_a_last_fifth_by_hand():
    values = [schedules.linear(1.0, 10, warmup=2, decay_steps=4)(t) for t in range(1, 11)]
    assert values == [0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]


def test_equal_schedules_are_equal():
    assert schedules.linear(1, 10, warmup=2, decay_steps=8) == schedules.linear(1, 10, warmup=2)
    assert schedules.linear(1, 10, decay_steps=8) != schedules.linear(1, 10)
    assert schedules.linear(1, 10) == schedules.linear(1.0, np.int64(10), warmup=0)
    assert hash(schedules.linear(1, 10)) == hash(schedules.linear(1.0, 10))
    assert schedules.linear(1, 10) != schedules.cosine(1, 10)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: schedules.constant(float("nan")), ValueError, ["peak", "nan"]),
        (lambda: schedules.constant(-1.0), ValueError, ["peak", "-1.0"]),
        (lambda: schedules.constant(float("inf")), ValueError, ["peak", "inf"]),
        (lambda: schedules.constant("fast"), TypeError, ["peak", "'fast'"]),
        (lambda: schedules.constant(1.0, warmup=-1), ValueError, ["warmup", "-1"]),
        (lambda: schedules.constant(1.0, warmup=2.0), TypeError, ["warmup", "2.0"]),
        (lambda: schedules.linear(1.0, 0), ValueError, ["steps", "0"]),
        (lambda: schedules.linear(1.0, 5, warmup=5), ValueError, ["steps", "5"]),
        (lambda: schedules.cosine(1.0, True), TypeError, ["steps", "True"]),
        (lambda: schedules.cosine(1.0, None), TypeError, ["steps", "None"]),
        (lambda: Schedule("constant", 1.0, 5), ValueError, ["steps", "5"]),
        (lambda: Schedule("stairs", 1.0, 5), ValueError, ["kind", "'stairs'"]),
        (lambda: schedules.linear(1.0, 5, warmup=2, decay_steps=4), ValueError, ["decay_steps", "4"]),
        (lambda: schedules.cosine(1.0, 5, decay_steps=0), ValueError, ["decay_steps", "0"]),
        (lambda: schedules.cosine(1.0, 5, decay_steps=2.0), TypeError, ["decay_steps", "2.0"]),
        (lambda: Schedule("constant", 1.0, decay_steps=2), ValueError, ["decay_steps", "2"]),
    ],
)
def test_bad_input_is_refused_by_name(make, error, words):
    with pytest.raises(error) as caught:
        make()
    message = str(caught.value)
    assert all(word in message for word in words)
    assert "\n" not in message
