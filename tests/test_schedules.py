"""Learning-rate schedules: known values, warm-up, the exact end."""

from dataclasses import replace

import numpy as np
import pytest

import lookahead_nb as lnb
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


def test_restarts_by_hand():
    # cycles of 2 and 4 steps: (1 + cos(pi*d))/2 at d = 0, 1/2; then 0, 1/4, 1/2, 3/4; then 8 steps
    half = 0.5**0.5
    values = [schedules.cosine_restarts(2.0, 2, factor=2)(t) for t in range(1, 9)]
    assert values == pytest.approx([2, 1, 2, 1 + half, 1, 1 - half, 2, 1 + np.cos(np.pi / 8)], rel=RTOL)
    assert [schedules.cosine_restarts(1.0, 1)(t) for t in (1, 2, 10**9)] == [1.0] * 3


@pytest.mark.parametrize(("period", "factor"), [(1, 1), (1, 2), (5, 1), (4, 3), (100, 2)])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_restarts_follow_the_reference(period, factor, warmup):
    s = schedules.cosine_restarts(0.3, period, factor, warmup)
    expected = reference.rates_with_restarts(0.3, period, factor, warmup, 90)
    np.testing.assert_allclose([s(t) for t in range(1, 91)], expected, rtol=RTOL, atol=0.3 * RTOL)
    for after, n in [(0, 90), (3, 20), (31, 9), (7, 1)]:
        assert s.rates(n, after).tolist() == [s(t) for t in range(after + 1, after + n + 1)]


def test_every_cycle_starts_exactly_at_the_peak():
    s = schedules.cosine_restarts(0.3, 10, factor=3)
    assert [t for t in range(1, 401) if s(t) == 0.3] == [1, 11, 41, 131]
    assert s(1 + 10 * (3**30 - 1) // 2) == 0.3  # far out, where whole numbers are exact all the same


def test_a_function_is_called_once_for_each_step():
    calls = []

    def rate(t):
        calls.append(t)
        return 0.1 / t

    s = schedules.from_function(rate, 30)
    assert s.rates(30).tolist() == [0.1 / t for t in range(1, 31)]
    assert [s(t) for t in range(1, 31)] == s.rates(30).tolist()
    assert s.rates(40, after=28).tolist() == [0.1 / 29, 0.1 / 30] + [0.0] * 38
    assert (s.peak, s.steps, calls) == (0.1, 30, [*range(1, 31)])


def test_another_peak_scales_the_rates_of_a_table():
    s = replace(schedules.from_function([0.5, 0.25, 1.0].__getitem__, 2), peak=1.0)
    assert s.rates(2).tolist() == [0.25, 1.0]
    assert replace(s, peak=0.5).rates(2).tolist() == [0.125, 0.5]
    assert schedules.from_function(lambda t: 0, 3).rates(3).tolist() == [0.0] * 3
    with pytest.raises(ValueError, match=r"peak must be 0 for a table of zeros, got 1.0"):
        replace(schedules.from_function(lambda t: 0, 3), peak=1.0)


def test_equal_tables_are_equal_schedules_with_equal_settings():
    one, two = schedules.from_function(lambda t: 1 / t, 3), schedules.Schedule("table", 1.0, table=[1.0, 1 / 2, 1 / 3])
    assert (one, hash(one), one.settings()) == (two, hash(two), two.settings())
    others = [schedules.from_function(lambda t: 1 / t**2, 3), schedules.from_function(lambda t: 1 / t, 4)]
    assert len({s.settings()["schedule_table"] for s in (one, *others)}) == 3


def test_settings_of_the_first_three_kinds_are_those_of_stored_runs():
    assert schedules.cosine(0.3, 10).settings() == {"lr": 0.3, "schedule": "cosine", "schedule_steps": 10, "warmup": 0}
    restarts = schedules.cosine_restarts(0.3, 10, 2, warmup=1).settings()
    assert restarts == {"lr": 0.3, "schedule": "cosine_restarts", "schedule_steps": None, "warmup": 1} | {
        "schedule_period": 10,
        "schedule_factor": 2,
    }


def test_a_function_as_lr_is_refused_with_what_to_write():
    with pytest.raises(TypeError, match=r"lr must be a number or a schedule, .*: pass lr=schedules.from_function"):
        lnb.AdamW(lambda t: 1 / t)


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
        (lambda: Schedule("cosine", 1.0, 9, period=2), ValueError, ["period", "2"]),
        (lambda: Schedule("cosine", 1.0, 9, table=(1.0,)), ValueError, ["table", "1.0"]),
        (lambda: schedules.cosine_restarts(1.0, 0), ValueError, ["period", "0"]),
        (lambda: schedules.cosine_restarts(1.0, 5, 1.5), TypeError, ["factor", "1.5"]),
        (lambda: Schedule("cosine_restarts", 1.0, 9, period=2), ValueError, ["steps", "9"]),
        (lambda: schedules.from_function(0.1, 5), TypeError, ["rate", "0.1"]),
        (lambda: schedules.from_function(lambda t: 1 - t, 5), ValueError, ["rate(2)", "-1"]),
        (lambda: schedules.from_function(lambda t: float("nan"), 5), ValueError, ["rate(1)", "nan"]),
        (lambda: schedules.from_function(lambda t: float("inf") if t == 5 else 1, 5), ValueError, ["rate(5)", "inf"]),
        (lambda: schedules.from_function(lambda t: None, 5), TypeError, ["rate(1)", "None"]),
        (lambda: schedules.from_function(lambda t: t, 0), ValueError, ["steps", "0"]),
        (lambda: Schedule("table", 1.0), TypeError, ["table", "None"]),
        (lambda: Schedule("table", 1.0, table=[]), ValueError, ["table", "(0,)"]),
        (lambda: Schedule("table", 1.0, table=[0.5, -1.0]), ValueError, ["table[1]", "-1.0"]),
        (lambda: Schedule("table", 1.0, 3, table=[0.5, 1.0]), ValueError, ["steps", "3"]),
        (lambda: Schedule("table", 1.0, warmup=1, table=[0.5, 1.0]), ValueError, ["warmup", "1"]),
    ],
)
def test_bad_input_is_refused_by_name(make, error, words):
    with pytest.raises(error) as caught:
        make()
    message = str(caught.value)
    assert all(word in message for word in words)
    assert "\n" not in message


# --------------------------------------------------------------------------------------------------------- piecewise


PARTS = {
    0: 0.5,
    3: schedules.linear(0.2, 12, warmup=5),
    7: schedules.from_function(lambda t: 0.01 * t, 9),
    9: schedules.cosine_restarts(0.1, 2),
}


def test_a_piecewise_schedule_follows_each_part_in_its_steps():
    schedule = schedules.piecewise(PARTS)
    expected = []
    for t in range(1, 30):
        part = PARTS[max(start for start in PARTS if start < t)]
        expected.append(part if isinstance(part, float) else part(t))
    assert [schedule(t) for t in range(1, 30)] == expected
    assert schedule(0) == 0
    for after in range(12):
        for n in (0, 1, 5, 12):
            assert schedule.rates(n, after).tolist() == expected[after : after + n]


@pytest.mark.parametrize("peak", [0.3, 0.1, 7e-3])
def test_another_peak_scales_all_parts(peak):
    schedule = schedules.piecewise(PARTS)
    scaled = replace(schedule, peak=peak)
    assert scaled.peak == peak
    np.testing.assert_allclose(scaled.rates(30), schedule.rates(30) * (peak / 0.5), rtol=RTOL)
    assert replace(scaled) == scaled  # made of its own fields


def test_a_piecewise_schedule_has_one_form():
    piecewise = schedules.piecewise
    assert piecewise({0: 0.1, 5: 0.1}) == schedules.constant(0.1)
    assert lnb.AdamW(piecewise({0: 0.1})) == lnb.AdamW(0.1)
    assert piecewise({0: 0.5, 4: 0.2, 6: 0.2, 8: 0.1}) == piecewise({8: 0.1, 0: 0.5, 4: 0.2})
    inner = piecewise({0: 0.5, 4: 0.2, 8: 0.1})
    assert piecewise({0: inner}) == inner
    assert piecewise({0: 0.9, 5: inner}) == piecewise({0: 0.9, 5: 0.2, 8: 0.1})
    assert piecewise({0: inner, 6: 0.9}) == piecewise({0: 0.5, 4: 0.2, 6: 0.9})
    assert inner.after(0) == inner.after(3) == inner
    assert inner.after(4) == piecewise({0: 0.2, 8: 0.1})
    assert inner.after(8) == inner.after(100) == schedules.constant(0.1)


def test_ids_depend_on_all_parts_and_steps_are_those_of_the_last():
    settings = [schedules.piecewise(PARTS | change).settings() for change in ({}, {3: 0.2}, {4: 0.2}, {0: 0.4})]
    assert len({str(each) for each in settings}) == 4
    assert schedules.piecewise({0: 0.1, 5: schedules.linear(0.1, 50)}).steps == 50
    assert schedules.piecewise({0: schedules.linear(0.1, 50), 5: 0.1}).steps is None
    assert "schedule_parts" not in schedules.linear(0.1, 50).settings()
    assert repr(schedules.piecewise({0: 0.1, 5: 0.01})) == "schedules.piecewise({0: 0.1, 5: 0.01})"


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ([0.1, 0.2], TypeError, "parts must be a dict such as"),
        ({5: 0.1}, TypeError, "with a part after step 0, got"),
        ({0: 0.1, -5: 0.1}, ValueError, "parts\\[-5\\] must be a whole number of at least 0, got -5"),
        ({0: 0.1, 5: "low"}, TypeError, "parts\\[5\\] must be a finite number of at least 0, got 'low'"),
        (
            {0: schedules.from_function(lambda _: 0.1, 4), 5: 0.1},
            ValueError,
            "the part after step 0 must have a rate for each step up to 5, got a table of 4",
        ),
    ],
)
def test_other_parts_are_refused(parts, error, words):
    with pytest.raises(error, match=words):
        schedules.piecewise(parts)


def test_a_schedule_of_other_kinds_has_no_parts():
    with pytest.raises(ValueError, match="parts must be one of None"):
        Schedule("constant", 0.1, parts=((0, schedules.constant(0.1)), (5, schedules.constant(0.2))))
    with pytest.raises(ValueError, match="parts must be two schedules or more"):
        Schedule("piecewise", 0.1)
    for parts, error in ((5, TypeError), ([1, 2], TypeError), ([(0,), (5,)], ValueError)):
        with pytest.raises(error, match=r"parts must be a list of pairs \(start, schedule\), got"):
            Schedule("piecewise", 0.1, parts=parts)
    with pytest.raises(ValueError, match="rising numbers of steps, got \\[0, 0\\]"):
        Schedule("piecewise", 0.2, parts=((0, schedules.constant(0.1)), (0, schedules.constant(0.2))))
    table = schedules.piecewise({0: 0.1, 5: schedules.from_function(lambda _: 0.2, 9)})
    with pytest.raises(ValueError, match="opt must have a learning rate for each of the 20 steps, got a table of 9"):
        lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(table), steps=20)
