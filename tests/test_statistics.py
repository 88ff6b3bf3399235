"""Gaps, intervals, tests and sizes: by hand, against SciPy, and on synthetic data whose truth is known."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lookahead_nb.claims import statistics

pytestmark = pytest.mark.no_kernel


def gaps_of(**tasks):
    """Gaps by task and seed from lists of numbers by task."""
    return pd.concat({task: pd.Series(each, dtype=float) for task, each in tasks.items()}, names=["task", "seed"])


def same(one, other):
    """Two results are the same bit for bit, NaN being itself."""
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other), strict=True)


EIGHT = [0.3, -0.1, 0.25, 0.4, 0.05, 0.2, -0.15, 0.1]


@pytest.fixture
def gaps(rng):
    return gaps_of(a=rng.normal(0.1, 1, 12), b=rng.normal(0.3, 2, 7), c=rng.normal(-0.2, 0.5, 9))


# ------------------------------------------------------------------------------------------------------------- gaps


def runs_of(arms):
    """A frame of runs from values by arm and task, numbered by seed."""
    return pd.DataFrame(
        [(task, arm, seed, value) for (arm, task), each in arms.items() for seed, value in enumerate(each)],
        columns=["task", "arm", "seed", "value"],
    )


def test_gaps_are_paired_by_seed_in_any_order_of_rows():
    runs = runs_of({("A", "x"): [1, 2], ("B", "x"): [5, 3], ("C", "x"): [0, 0], ("A", "y"): [7, 9], ("B", "y"): [7, 8]})
    for seed in range(3):
        gaps = statistics.paired(runs.sample(frac=1, random_state=seed), "A", "B")
        assert gaps.to_dict() == {("x", 0): -4, ("x", 1): -1, ("y", 0): 0, ("y", 1): 1}
        assert gaps.index.names == ["task", "seed"]


def test_the_log_scale_is_that_of_ratios():
    runs = runs_of({("A", "x"): [1, 2, np.nan], ("B", "x"): [4, 1, 1]})
    np.testing.assert_allclose(statistics.paired(runs, "A", "B", "log"), [-np.log(4), np.log(2), np.inf], rtol=1e-15)


@pytest.mark.parametrize("scale", ["difference", "log"])
def test_a_diverged_run_is_the_worst_and_two_are_tied(scale):
    runs = runs_of({("A", "x"): [np.nan, np.inf, 1, np.inf], ("B", "x"): [1, 1, np.nan, np.nan]})
    assert statistics.paired(runs, "A", "B", scale).tolist() == [np.inf, np.inf, -np.inf, 0]


RUNS = runs_of({("A", "x"): [1, 2], ("B", "x"): [1, 2], ("C", "x"): [1, 2, 3], ("D", "y"): [0, 1], ("E", "y"): [1, 1]})


@pytest.mark.parametrize(
    ("values", "arm", "control", "scale", "told"),
    [
        (RUNS, "A", "C", "difference", r"'A' and 'C' must have the same seeds: only one has \(task, seed\) \('x', 2\)"),
        (RUNS, "A", "D", "difference", r"'A' and 'D' must have the same seeds: only one has \(task, seed\) \('x', 0\)"),
        (RUNS, "Z", "A", "difference", "arm must be one of 'A', 'B', 'C', 'D', 'E', got 'Z'"),
        (RUNS, "A", "Z", "difference", "control must be one of 'A', 'B', 'C', 'D', 'E', got 'Z'"),
        (RUNS, "A", "A", "difference", "control must be another arm than 'A'"),
        (RUNS, "A", "B", "ratio", "scale must be one of 'difference', 'log', got 'ratio'"),
        (RUNS, "D", "E", "log", "values must be above 0.0 on the scale 'log', got 0.0"),
        (RUNS.assign(value=-np.inf), "A", "B", "difference", "values must be above -inf on the scale 'difference'"),
        (RUNS.assign(value="a"), "A", "B", "difference", "values must have numbers in the column value"),
        (
            RUNS.drop(columns="seed"),
            "A",
            "B",
            "log",
            "values must have the columns task, arm, seed, value, and lacks seed",
        ),
        (pd.concat([RUNS, RUNS[:1]]), "A", "B", "log", r"values must hold a run once, got \('A', 'x', 0\) again"),
        (RUNS["value"], "A", "B", "log", "values must be a frame, got Series"),
    ],
)
def test_runs_that_do_not_pair_are_refused(values, arm, control, scale, told):
    with pytest.raises((TypeError, ValueError), match=told):
        statistics.paired(values, arm, control, scale)


def test_losses_are_capped_at_chance_and_diverged_ones_are_there():
    losses = pd.Series([0.5, 3.0, np.nan, np.inf], index=[*"abcd"])
    pd.testing.assert_series_equal(statistics.capped(losses, 2.0), pd.Series([0.5, 2, 2, 2], index=[*"abcd"]))
    same(statistics.capped(losses, [0.1, 2, 3, 4]), [0.1, 2, 3, 4])


@pytest.mark.parametrize("chance", [0, -1.0, np.nan, np.inf, [1, np.nan, 1, 1]])
def test_a_chance_level_that_is_none_is_refused(chance):
    with pytest.raises(ValueError, match=r"chance(\[1\])? must be a finite number above 0"):
        statistics.capped([1, 2, 3, 4], chance)


TAKE_GAPS = {
    "mean_of_tasks": statistics.mean_of_tasks,
    "student": statistics.student,
    "by_task": statistics.by_task,
    "over_tasks": statistics.over_tasks,
    "sign_flip": lambda gaps: statistics.sign_flip(gaps, n_resamples=200),
    "task_means": statistics.task_means,
}
parametrized = pytest.mark.parametrize("function", TAKE_GAPS.values(), ids=TAKE_GAPS)


@parametrized
def test_neither_the_order_of_rows_nor_the_names_of_seeds_count(function, gaps, rng):
    shuffled = gaps.iloc[rng.permutation(len(gaps))]
    renamed = shuffled.set_axis(
        pd.MultiIndex.from_arrays(
            [shuffled.index.get_level_values("task"), range(900, 900 + len(gaps))], names=["task", "seed"]
        )
    )
    same(function(renamed), function(gaps))


@parametrized
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (gaps_of(a=[1, 2])[:0], "gaps must have at least one task, got none"),
        (gaps_of(a=[1, 2], b=[3], c=[1, 2]), "gaps must have at least 2 seeds of each task, got 1 for 'b'"),
        (gaps_of(a=[1, 2], b=[1, np.nan]), r"gaps must be numbers, got NaN at \('b', 1\)"),
        (pd.concat([gaps_of(a=[1, 2])] * 2), r"gaps must hold a seed once, got \('a', 0\) again"),
        (pd.Series([1.0, 2.0]), "gaps must be a series indexed by task and seed, got Series"),
        (np.ones(3), "gaps must be a series indexed by task and seed, got ndarray"),
    ],
    ids=["empty", "one seed", "NaN", "twice", "no index", "array"],
)
def test_gaps_without_meaning_are_refused(function, wrong, told):
    with pytest.raises((TypeError, ValueError), match=told):
        function(wrong)


# -------------------------------------------------------------------------------------------------------- estimates


def test_every_task_counts_the_same_in_the_mean():
    assert statistics.mean_of_tasks(gaps_of(a=[0, 2], b=[10, 20, 30, 20])) == 10.5


def test_an_infinite_gap_is_never_dropped():
    once = gaps_of(a=[np.inf, *EIGHT], b=[*EIGHT])
    assert statistics.mean_of_tasks(once) == np.inf
    assert statistics.student(once) == (np.inf, -np.inf, np.inf)
    assert statistics.over_tasks(gaps_of(a=[np.inf, 1], b=EIGHT, c=EIGHT)) == (np.inf, -np.inf, np.inf)
    assert statistics.sign_flip(once, alternative="less") > 0.4
    assert statistics.by_task(once)["high"].to_dict() == {"a": np.inf, "b": statistics.student(gaps_of(b=EIGHT)).high}


def test_inf_and_its_opposite_leave_everything_open():
    both = gaps_of(a=[np.inf, -np.inf, *EIGHT])
    same(statistics.student(both), [np.nan, -np.inf, np.inf])
    with pytest.raises(ValueError, match="gaps must have a mean, got inf and -inf for 'a': see capped"):
        statistics.task_means(pd.concat([both, gaps_of(b=EIGHT, c=EIGHT)]))


# -------------------------------------------------------------------------------------------------------- intervals


def test_student_interval_of_one_task_is_that_of_scipy():
    interval = stats.ttest_1samp(EIGHT, 0).confidence_interval(0.9)
    np.testing.assert_allclose(statistics.student(gaps_of(a=EIGHT), 0.9), [np.mean(EIGHT), *interval], rtol=1e-13)


def test_student_interval_of_two_tasks_is_half_that_of_welch(gaps):
    a, b = gaps["a"], gaps["b"]
    interval = stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose(statistics.student(gaps_of(a=a, b=b), 0.9)[1:], np.array(interval) / 2, rtol=1e-13)


def test_the_interval_over_tasks_is_that_of_their_means(gaps):
    means = [gaps[task].mean() for task in "abc"]
    interval = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    np.testing.assert_allclose(statistics.over_tasks(gaps), [np.mean(means), *interval], rtol=1e-13)
    pd.testing.assert_series_equal(
        statistics.task_means(gaps)["all tasks"], pd.Series(means, [*"abc"]), check_names=False
    )


def test_fewer_than_three_tasks_say_nothing_of_further_ones(gaps):
    with pytest.raises(ValueError, match="gaps must have at least 3 tasks to generalize to further ones, got 2"):
        statistics.over_tasks(gaps.drop("c"))


def test_each_task_has_a_row(gaps):
    rows = statistics.by_task(gaps, 0.8)
    assert rows["n"].to_dict() == {"a": 12, "b": 7, "c": 9}
    same(rows.loc["b", ["mean", "low", "high"]].astype(float), statistics.student(gaps_of(b=gaps["b"]), 0.8))


def test_intervals_follow_sign_and_scale(gaps):
    value, low, high = statistics.student(gaps)
    np.testing.assert_allclose(statistics.student(-4 * gaps), [-4 * value, -4 * high, -4 * low], rtol=1e-13)
    assert statistics.sign_flip(4 * gaps, 1, "less") == statistics.sign_flip(gaps, 0.25, "less")


@pytest.mark.parametrize("level", [0, 1, -0.1, np.nan, 95, "0.95"])
def test_levels_out_of_range_are_refused(level, gaps):
    for call in (
        statistics.student,
        statistics.by_task,
        statistics.over_tasks,
        lambda gaps, level: statistics.kaplan_meier([1, 2], 3, level),
    ):
        with pytest.raises((TypeError, ValueError), match=r"level must be a finite number in \(0, 1\)"):
            call(gaps, level)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda gaps: statistics.sign_flip(gaps, np.nan), "shift must be a finite number"),
        (lambda gaps: statistics.sign_flip(gaps, np.inf), "shift must be a finite number"),
        (
            lambda gaps: statistics.sign_flip(gaps, 0, "lower"),
            "alternative must be one of 'two-sided', 'less', 'greater'",
        ),
        (lambda gaps: statistics.sign_flip(gaps, n_resamples=99), "n_resamples must be a whole number of at least 100"),
        (lambda gaps: statistics.sign_flip(gaps, n_resamples=10.5), "n_resamples must be a whole number"),
        (lambda gaps: statistics.sign_flip(gaps, seed=None), "seed must be a whole number"),
        (lambda gaps: statistics.holm([]), r"p_values must be one or more in a row, got shape \(0,\)"),
        (lambda gaps: statistics.holm([[0.1]]), r"p_values must be one or more in a row, got shape \(1, 1\)"),
        (lambda gaps: statistics.holm([0.1, np.nan]), r"p_values\[1\] must be a finite number in \[0, 1\], got nan"),
        (lambda gaps: statistics.holm([1.1]), r"p_values\[0\] must be a finite number in \[0, 1\], got 1.1"),
        (lambda gaps: statistics.clopper_pearson([1, 5], [6, 4]), "count must be at most n, got 5"),
        (lambda gaps: statistics.kaplan_meier([], 1), r"times must be one or more in a row, got shape \(0,\)"),
        (lambda gaps: statistics.kaplan_meier([1, -2], 3), "times must be at least 0, got -2.0"),
        (lambda gaps: statistics.kaplan_meier([1, 2], np.inf), "horizon must be a finite number above 0, got inf"),
        (
            lambda gaps: statistics.best_of([[1, 2]], [[1, 2, 3]], 1),
            r"test must have the seeds and trials of validation",
        ),
        (lambda gaps: statistics.best_of([[1, 2]], [[1, 2]]), "n must be a whole number from 1 to 2, got 64"),
        (lambda gaps: statistics.best_of([[]], [[]]), "validation must have at least one trial, got none"),
    ],
)
def test_arguments_without_meaning_are_refused(call, told, gaps):
    with pytest.raises((TypeError, ValueError), match=told):
        call(gaps)


# ------------------------------------------------------------------------------------------------------------ tests


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_all_flips_are_those_of_scipy(alternative):
    result = stats.permutation_test(
        (np.array(EIGHT) - 0.05,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    assert statistics.sign_flip(gaps_of(a=EIGHT), 0.05, alternative) == pytest.approx(result.pvalue, rel=1e-12)


def test_flips_by_hand():
    assert statistics.sign_flip(gaps_of(a=[-1, -2], b=[-3, -4])) == 2 / 16
    assert statistics.sign_flip(gaps_of(a=[-1, -2], b=[-3, -4]), alternative="less") == 1 / 16
    assert statistics.sign_flip(gaps_of(a=[-1, -2], b=[-3, -4]), alternative="greater") == 1
    assert (
        statistics.sign_flip(gaps_of(a=[0.1, 0.2, -0.3]), alternative="less") == 5 / 8
    )  # -0.3 to 0: rounding is no rank


def test_flips_of_unequal_tasks_weigh_a_task_not_a_seed():
    gaps = gaps_of(a=[1, 4], b=[-1, 2, -6, 3])
    means = [
        (
            np.mean([x * s for x, s in zip([1, 4], signs[:2], strict=True)])
            + np.mean([x * s for x, s in zip([-1, 2, -6, 3], signs[2:], strict=True)])
        )
        / 2
        for signs in product([1, -1], repeat=6)
    ]
    assert statistics.sign_flip(gaps, alternative="greater") == np.mean(np.array(means) >= means[0] - 1e-9)


def test_random_flips_are_never_impossible_and_agree_with_all_flips():
    assert statistics.sign_flip(gaps_of(a=-np.ones(50)), n_resamples=499) == 1 / 500
    gaps = gaps_of(a=EIGHT, b=[0.1, -0.2, 0.1])
    p, n = statistics.sign_flip(gaps), 2000
    assert abs(statistics.sign_flip(gaps, n_resamples=n) - p) < 4.9 * np.sqrt(p * (1 - p) / n)  # 2**11 > 2000


def test_less_of_one_arm_is_greater_of_the_other(gaps):
    some = gaps_of(a=gaps["a"][:5], b=gaps["b"][:6])
    assert statistics.sign_flip(some, 0.1, "less") == statistics.sign_flip(-some, -0.1, "greater")


@pytest.mark.parametrize("constant", [0, -0.5, 1])
def test_gaps_without_spread_have_an_interval_without_width(constant):
    assert statistics.student(gaps_of(a=[constant] * 4)) == (constant,) * 3


def test_holm_by_hand_and_by_statsmodels():
    same(statistics.holm([0.25, 0.5, 0.125]), [0.5, 0.5, 0.375])
    # statsmodels 0.15.0: multipletests(p, method="holm")[1]
    p = [0.01, 0.04, 0.03, 0.005, 0.5, 0.012, 0.04]
    np.testing.assert_allclose(statistics.holm(p), [0.06, 0.12, 0.12, 0.035, 0.5, 0.06, 0.12], rtol=1e-14)
    same(statistics.holm([0.9, 0.8]), [1.0, 1.0])


def test_holm_keeps_the_names():
    p = pd.Series({"C01": 0.02, "C02": 0.01})
    pd.testing.assert_series_equal(statistics.holm(p), pd.Series({"C01": 0.02, "C02": 0.02}))


# ------------------------------------------------------------------------------------- synthetic data, known truth
# Data, draws and seeds are fixed, so nothing here can flake; every repetition has draws of its own, as those of one
# seed err alike on data that are alike. The bands are designed: a rate r over n repetitions is off by more than
# 4.9*sqrt(r*(1 - r)/n) once in a million times.

REPETITIONS = 1000


def near(rates, truth):
    return abs(np.mean(rates) - truth) < 4.9 * np.sqrt(truth * (1 - truth) / len(rates))


def synthetic(seed, n, spreads, mean=0.0, draw="normal"):
    """Gaps of n seeds for each of the spreads, from a distribution symmetric about the mean (of each task)."""
    values = getattr(np.random.default_rng([20240229, seed]), draw)(size=(len(spreads), n))
    index = pd.MultiIndex.from_product([range(len(spreads)), range(n)], names=["task", "seed"])
    return pd.Series((values * np.c_[spreads] + np.c_[mean]).ravel(), index)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_flips_reject_a_true_mean_as_often_as_they_say(alternative):
    rejected = [
        statistics.sign_flip(synthetic(i, 12, [1, 5], 4, "laplace"), 4, alternative, n_resamples=199, seed=i) <= 0.05
        for i in range(REPETITIONS)
    ]
    assert near(rejected, 0.05)


def test_student_interval_covers_the_mean_of_these_tasks():
    assert near([_covers(statistics.student(synthetic(i, 30, [1], 0.3)), 0.3) for i in range(REPETITIONS)], 0.95)
    assert near([_covers(statistics.student(synthetic(i, 10, [1, 2, 9], 3)), 3) for i in range(REPETITIONS)], 0.95)


def _covers(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_only_the_interval_over_tasks_covers_the_mean_of_further_tasks():
    means = np.random.default_rng(71).normal(0.5, 1, (REPETITIONS, 5))
    samples = [synthetic(i, 10, [0.3] * 5, each) for i, each in enumerate(means)]
    over_tasks, student = (
        [_covers(interval(gaps), 0.5) for gaps in samples] for interval in (statistics.over_tasks, statistics.student)
    )
    assert near(over_tasks, 0.95)
    # a normal error of sd sqrt(1/5 + .09/50) within +-2.01*sqrt(.09/50), once t for 45 degrees of freedom
    assert near(student, 1 - 2 * stats.norm.sf(2.01 * np.sqrt(0.0018 / 0.2018)))


def test_holm_keeps_the_chance_of_any_false_one():
    p = np.random.default_rng(8).random((4000, 10))
    p[:, :4] *= 1e-6  # four of ten are true effects, and found first
    wrong = [(statistics.holm(each)[4:] <= 0.05).any() for each in p]
    assert near(wrong, 1 - (1 - 0.05 / 6) ** 6)


# ------------------------------------------------------------------------------------------------ tuning and times


def best_of_by_enumeration(validation, test, n):
    """The mean over all draws of n trials of the test value of the lowest on validation, over ties where it has any."""
    means = []
    for drawn in combinations(range(len(test)), n):
        lowest = min(validation[i] for i in drawn)
        means.append(np.mean([test[i] for i in drawn if validation[i] == lowest]))
    return np.mean(means)


@pytest.mark.parametrize("ties", [False, True])
def test_best_of_is_the_mean_over_all_draws(ties, rng):
    validation = rng.integers(3, size=(4, 7)) if ties else rng.permuted(np.tile(np.arange(7), (4, 1)), axis=1)
    test = rng.normal(size=(4, 7))
    expected = [[best_of_by_enumeration(*each, n) for n in range(1, 8)] for each in zip(validation, test, strict=True)]
    best = statistics.best_of(pd.DataFrame(validation, [*"wxyz"]), pd.DataFrame(test, [*"wxyz"]), 7)
    np.testing.assert_allclose(best, expected, rtol=1e-12)
    assert [*best.index] == [*"wxyz"]
    assert [*best.columns] == [1, 2, 3, 4, 5, 6, 7]


def test_best_of_one_is_the_mean_and_of_all_the_winner_even_where_trials_diverged():
    validation, test = [[0.3, 0.2, np.nan, 0.4]], [[5.0, 7.0, np.nan, 6.0]]
    assert statistics.best_of(validation, test, 4).loc[0].tolist() == [np.inf, pytest.approx(37 / 6), 6.5, 7.0]


def test_best_of_sixty_four_is_exact_among_many():
    values = np.arange(500.0)[None]  # the lowest of m out of N ranks 1..N has the mean (N + 1)/(m + 1)
    m = np.arange(1, 65)
    np.testing.assert_allclose(statistics.best_of(values, values + 1).loc[0], 501 / (m + 1), rtol=1e-11)


TIMES = [3.0, 5.0, np.nan, 5.0, 1.0, np.inf, 9.0]


@pytest.mark.parametrize(("count", "n"), [(0, 7), (3, 7), (7, 7), (180, 200)])
def test_clopper_pearson_is_that_of_binomtest(count, n):
    exact = stats.binomtest(count, n).proportion_ci(0.9)
    np.testing.assert_allclose(statistics.clopper_pearson(count, n, 0.9), exact, rtol=1e-9)


def test_clopper_pearson_of_many_and_of_half_a_count():
    low, high = statistics.clopper_pearson([0, 2.5, 10], 10)
    np.testing.assert_allclose(low, [0, stats.beta.ppf(0.025, 2.5, 8.5), stats.beta.ppf(0.025, 10, 1)], rtol=1e-9)
    np.testing.assert_allclose(high, [stats.beta.ppf(0.975, 1, 10), stats.beta.ppf(0.975, 3.5, 7.5), 1], rtol=1e-9)


def test_kaplan_meier_is_that_of_scipy():
    data = stats.CensoredData.right_censored([3, 5, 8, 5, 1, 8, 8], [0, 0, 1, 0, 0, 1, 1])
    curve = statistics.kaplan_meier(TIMES, 8)
    assert [*curve.index] == [0, 1, 3, 5, 8]
    np.testing.assert_allclose(curve["waiting"], stats.ecdf(data).sf.evaluate(curve.index), rtol=1e-14)


def test_the_interval_of_the_curve_is_that_of_binomtest():
    curve = statistics.kaplan_meier(TIMES, 8, 0.9)
    for waiting, low, high in curve.itertuples(index=False):
        exact = stats.binomtest(round(7 * waiting), 7).proportion_ci(0.9)
        np.testing.assert_allclose([low, high], exact, rtol=1e-9)


def test_curves_of_all_or_no_runs():
    same(statistics.kaplan_meier([np.nan, np.inf], 5)["waiting"], [1.0, 1.0])
    same(statistics.kaplan_meier([0.0, 5.0], 5)["waiting"], [0.5, 0.0])


# ----------------------------------------------------------------------------------------------------------- ratios


def test_ratios_to_a_control_are_those_of_each_task_and_over_tasks(rng):
    base = {task: rng.random(8) + 1 for task in "cabd"}
    ratios = {("slow", "c"): 2.0, ("slow", "a"): 1.5, ("slow", "b"): 3.0, **{("odd", task): 0.5 for task in "cabd"}}
    runs = {("base", task): values for task, values in base.items()}
    runs |= {key: base[key[1]] * ratio * np.exp(0.1 * rng.normal(size=8)) for key, ratio in ratios.items()}
    frames = [
        pd.DataFrame({"task": task, "arm": arm, "seed": range(8), "value": run}) for (arm, task), run in runs.items()
    ]
    found = statistics.ratios_to(pd.concat(frames, ignore_index=True), "base")
    assert [*found.index] == [*(("slow", t) for t in [*"cab", "all"]), *(("odd", t) for t in [*"cabd", "all"])]
    gaps = {key: np.log(runs[key] / base[key[1]]) for key in ratios}
    for arm in ("slow", "odd"):
        each = {task: gap for (name, task), gap in gaps.items() if name == arm}
        for task, sample in {**each, "all": [gap.mean() for gap in each.values()]}.items():
            interval = stats.ttest_1samp(sample, 0).confidence_interval()
            np.testing.assert_allclose(found.loc[arm, task], np.exp([np.mean(sample), *interval]), rtol=1e-12)
