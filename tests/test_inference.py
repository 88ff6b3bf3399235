"""Inference over tasks: by hand, against SciPy and brute force, and on tasks whose truth is known."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize, stats

from lookahead_nb.claims import inference, modality
from lookahead_nb.claims.inference import Estimate
from lookahead_nb.claims.statistics import clopper_pearson

pytestmark = pytest.mark.no_kernel

BY_HAND = np.array([[0.0, 2.0], [4.0, 6.0]])  # means 1 and 5, each with the variance 1
EVEN = np.linspace(-1, 1, 5)


@pytest.fixture
def benefits(rng):
    """Forty tasks of five replicates with different noise."""
    noise = rng.uniform(0.5, 3, (40, 1))
    return rng.normal(0.4, 1, (40, 1)) + noise * rng.normal(size=(40, 5))


# -------------------------------------------------------------------------------------------------------- estimates


def test_the_mean_is_that_of_tasks_with_the_interval_of_scipy(benefits):
    means = benefits.mean(axis=1)
    interval = stats.ttest_1samp(means, 0).confidence_interval(0.9)
    np.testing.assert_allclose(inference.mean_benefit(benefits, 0.9), [means.mean(), *interval], rtol=1e-12)


def test_spread_and_shrinkage_by_hand():
    assert inference.variance_between(BY_HAND) == 7  # 8 between the means, less 1
    np.testing.assert_allclose(inference.shrunken(BY_HAND), 3 + math.sqrt(7 / 8) * np.array([-2, 2]), rtol=1e-15)


def test_spread_and_shrinkage_by_loops(benefits):
    means, squares = [], []
    for task in benefits.tolist():
        mean = sum(task) / 5
        means.append(mean)
        squares.append(sum((x - mean) ** 2 for x in task) / 4 / 5)
    middle = sum(means) / 40
    between = sum((y - middle) ** 2 for y in means) / 39 - sum(squares) / 40
    assert inference.variance_between(benefits) == pytest.approx(between, rel=1e-12)
    shrunken = [middle + math.sqrt(between / (between + s)) * (y - middle) for y, s in zip(means, squares, strict=True)]
    np.testing.assert_allclose(inference.shrunken(benefits), shrunken, rtol=1e-12)


def test_shrunken_benefits_have_the_spread_of_the_true_ones(rng):
    noise = rng.normal(size=(30, 4))
    noise -= noise.mean(axis=1, keepdims=True)
    noise /= noise.std(axis=1, ddof=1, keepdims=True)  # the same for all tasks
    benefits = rng.normal(0, 2, (30, 1)) + noise
    assert inference.shrunken(benefits).var(ddof=1) == pytest.approx(inference.variance_between(benefits), rel=1e-12)


def test_tasks_without_a_spread_of_their_own_are_all_at_the_mean():
    benefits = EVEN + np.array([[0.1], [0.0], [-0.1]])
    assert inference.variance_between(benefits) == 0
    np.testing.assert_allclose(inference.shrunken(benefits), 0, atol=1e-15)


def test_tasks_without_noise_are_not_shrunk():
    benefits = np.repeat([[1.0], [2.0], [6.0]], 4, axis=1)
    np.testing.assert_array_equal(inference.shrunken(benefits), [1, 2, 6])
    np.testing.assert_array_equal(inference.shrunken(np.ones((3, 2))), 1)


def test_a_further_task_falls_between_the_outer_shrunken_ones(benefits):
    values = np.sort(inference.shrunken(benefits))
    low, high = (np.interp(share * 39, np.arange(40), values) for share in (0.05, 0.95))
    np.testing.assert_allclose(inference.prediction_interval(benefits, 0.9), [values.mean(), low, high], rtol=1e-12)


def test_the_printed_share_and_its_bootstrap_by_loops(benefits):
    rows = np.random.Generator(np.random.Philox(3)).integers(40, size=(200, 40))
    shares = np.sort([(inference.shrunken(benefits[drawn]) > 0).mean() for drawn in rows])
    low, high = (np.interp(share * 199, np.arange(200), shares) for share in (0.025, 0.975))
    share = (inference.shrunken(benefits) > 0).mean()
    np.testing.assert_allclose(inference.share_better(benefits, draws=200, seed=3), [share, low, high], rtol=1e-12)


def test_noise_moves_the_raw_share_towards_a_half_and_not_the_printed_one(rng):
    true = rng.normal(0.5, 0.5, (4000, 1))  # 84 % above 0
    benefits = true + rng.normal(0, 1, (4000, 4))  # noise of the mean as large as the spread
    assert inference.direction(benefits).value < 0.79
    assert abs(inference.share_better(benefits, draws=100).value - (true > 0).mean()) < 0.02


# -------------------------------------------------------------------------------------------------------- direction


def test_a_tie_is_half_a_task():
    benefits = np.array([[1.0, 2.0], [1.0, -1.0], [-3.0, 1.0], [0.0, 4.0]])
    assert inference.direction(benefits) == Estimate(2.5 / 4, *clopper_pearson(2.5, 4))


def test_benjamini_hochberg_is_that_of_scipy(rng):
    p = rng.random(50) ** 3
    np.testing.assert_allclose(inference.benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)
    np.testing.assert_array_equal(inference.benjamini_hochberg([1.0, 1.0]), [1, 1])


def test_tasks_on_which_a_difference_is_shown(benefits):
    p = stats.false_discovery_control(stats.ttest_1samp(benefits, 0, axis=1).pvalue)
    clear = p < 0.2
    expected = (clear & (benefits.mean(axis=1) > 0)).sum(), (clear & (benefits.mean(axis=1) < 0)).sum()
    shown = inference.shown(benefits, 0.2)
    assert shown == (*expected, 40 - sum(expected))
    assert shown.better > 0
    assert inference.shown([[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]) == (1, 1, 1)


def test_strata_count_by_their_frequency_in_the_population():
    benefits = np.array([[1.0, 3], [3, 5], [-2, 0], [0, -4], [-3, -3]])  # means 2, 4 and -1, -2, -3
    mean, share = inference.stratified(benefits, [*"aabbb"], {"a": 90, "b": 10}, 0.9)
    error = math.sqrt(0.9**2 * 2 / 2 + 0.1**2 * 1 / 3)
    freedom = error**4 / ((0.9**2) ** 2 / 1 + (0.1**2 / 3) ** 2 / 2)
    half = stats.t.ppf(0.95, freedom) * error
    np.testing.assert_allclose(mean, [2.5, 2.5 - half, 2.5 + half], rtol=1e-12)
    assert share.value == pytest.approx(0.9)
    np.testing.assert_allclose(share[1:], _exact(4.5, 5, 0.9), rtol=1e-9)


def _exact(count, n, level):
    return (
        stats.beta.ppf((1 - level) / 2, count, n - count + 1),
        stats.beta.ppf((1 + level) / 2, count + 1, n - count),
    )


def test_one_stratum_is_the_whole(benefits):
    mean, share = inference.stratified(benefits, np.zeros(40, int), {0: 1.0})
    np.testing.assert_allclose(mean, inference.mean_benefit(benefits), rtol=1e-12)
    assert share.value == inference.direction(benefits).value
    # An effective size of 39 instead of 40 tasks: the variance is estimated.
    np.testing.assert_allclose(share[1:], _exact(share.value * 39, 39, 0.95), rtol=1e-9)


def test_intervals_of_a_stratified_sample_cover_the_population():
    generator, covered = np.random.default_rng(12), []
    for _ in range(1500):
        rare, usual = generator.normal(1, 1, 100), generator.normal(-0.2, 0.5, 50)
        benefits = np.repeat(np.r_[rare, usual][:, None], 2, axis=1)
        mean, share = inference.stratified(benefits, np.repeat([1, 0], [100, 50]), {1: 0.1, 0: 0.9})
        truth = 0.1 - 0.18, 0.1 * stats.norm.cdf(1) + 0.9 * stats.norm.cdf(-0.4)
        covered.append([each.low <= value <= each.high for each, value in zip((mean, share), truth, strict=True)])
    of_mean, of_share = np.mean(covered, axis=0)
    assert abs(of_mean - 0.95) < 4.9 * math.sqrt(0.05 * 0.95 / 1500)
    assert of_share > 0.93


def test_the_share_beyond_a_margin_by_scipy(rng):
    benefits = np.repeat(rng.choice([0.0, 0.05], (60, 1), p=[0.7, 0.3]), 12, axis=1) + rng.normal(0, 0.01, (60, 12))
    beyond = (stats.ttest_1samp(benefits, 0.01, axis=1, alternative="greater").pvalue < 0.01).sum()
    within = (stats.ttest_1samp(benefits, 0.01, axis=1, alternative="less").pvalue < 0.1).sum()
    low, high = (stats.binomtest(int(k), 60).proportion_ci(0.9).low for k in (beyond, within))
    expected = (low - 0.01) / 0.99, 1 - (high - 0.1) / 0.9, beyond, within
    np.testing.assert_allclose(inference.share_beyond(benefits, 0.01, 0.9), expected, rtol=1e-9)
    assert 0 < expected[0] < 0.3 < expected[1] < 1


def test_the_share_beyond_a_margin_stays_a_share(rng):
    nothing = rng.normal(0, 1, (20, 4))
    assert inference.share_beyond(nothing - 5, 0).low == 0
    assert inference.share_beyond(nothing + 5, 0).high == 1


def test_swapped_populations_have_no_direction():
    benefits = np.arange(1.0, 41).reshape(20, 2)
    drawn = np.concatenate([*inference.pseudo_populations(benefits, 50, seed=1, swap=True)])
    assert {*map(tuple, np.abs(drawn))} == {*map(tuple, benefits)}
    assert 400 < (drawn[:, 0] > 0).sum() < 600
    assert ((drawn[:, 0] > 0) == (drawn[:, 1] > 0)).all()
    (kept,) = inference.pseudo_populations(benefits, 1, size=30)
    assert kept.shape == (30, 2)
    assert (kept > 0).all()


# -------------------------------------------------------------------------------------------------- worth more steps

MULTIPLES = np.array(inference.MULTIPLES)


def curves_of(generator, n, doubling=0.1, bend=0.3, noise=0.0):
    """Log losses at all multiples: each task gains about ``doubling`` by twice the steps, less and less."""
    slope = doubling * generator.lognormal(0, 0.5, (n, 1))
    logs = np.log2(MULTIPLES)
    return -slope * (logs - bend * logs**2 / 2) + noise * generator.normal(size=(n, len(MULTIPLES)))


def multiple_by_brute_force(gains, log_losses):
    """The isotonic regression of SciPy on either side of 1, and a root of the interpolated curve."""
    one = inference.MULTIPLES.index(1.0)
    curve = (log_losses[:, [one]] - log_losses).sum(axis=0)
    low = np.minimum(optimize.isotonic_regression(curve[:one]).x, 0)
    high = np.maximum(optimize.isotonic_regression(curve[one + 1 :]).x, 0)
    curve, total, logs = np.r_[low, 0, high], gains.sum(), np.log(MULTIPLES)
    if not curve[0] <= total <= curve[-1]:
        return math.inf if total > 0 else 0
    if total == 0:
        return 1.0
    pairs = [*pairwise(range(len(curve)))]
    chosen = next(p for p in (pairs if total > 0 else pairs[::-1]) if curve[p[0]] <= total <= curve[p[1]])
    root = optimize.brentq(lambda x: np.interp(x, logs[[*chosen]], curve[[*chosen]]) - total, *logs[[*chosen]])
    return math.exp(root)


@pytest.mark.parametrize("noise", [0, 0.02, 0.2])
def test_a_gain_is_worth_the_multiple_that_brute_force_finds(noise, rng):
    for mean in (-0.2, -0.03, 0.0, 0.01, 0.05, 0.3):
        curves, gains = curves_of(rng, 12, noise=noise), rng.normal(mean, 0.02, 12)
        value = inference.steps_worth(gains, curves, draws=100).value
        assert value == pytest.approx(multiple_by_brute_force(gains, curves), rel=1e-9), mean


def test_the_interval_repeats_the_whole_calculation_for_every_draw(rng):
    curves, gains = curves_of(rng, 9, noise=0.02), rng.normal(0.03, 0.02, 9)
    worth = inference.steps_worth(gains, curves, draws=100, seed=7)
    times = np.random.Generator(np.random.Philox(7)).multinomial(9, np.full(9, 1 / 9), size=100)
    drawn = [np.repeat(np.arange(9), each) for each in times]
    spread = sorted(multiple_by_brute_force(gains[rows], curves[rows]) for rows in drawn)
    np.testing.assert_allclose(worth[1:], [spread[2], spread[97]], rtol=1e-9)
    assert worth == inference.steps_worth(gains, curves, draws=100, seed=7)


def test_a_planted_number_of_steps_is_recovered_exactly():
    curves = curves_of(np.random.default_rng(0), 20)
    for multiple, column in zip(MULTIPLES, curves.T, strict=True):
        gains = curves[:, inference.MULTIPLES.index(1.0)] - column
        assert inference.steps_worth(gains, curves, draws=100).value == pytest.approx(multiple, rel=1e-12)


def test_a_gain_beyond_all_multiples_is_not_extrapolated():
    curves = np.tile(-0.1 * np.log2(MULTIPLES), (5, 1))
    assert inference.steps_worth(np.full(5, 0.2), curves) == (math.inf, math.inf, math.inf)
    assert inference.steps_worth(np.full(5, -0.2), curves) == (0, 0, 0)


def test_where_the_curve_is_flat_the_nearest_multiple_counts():
    curves = np.zeros((4, 3))
    curves[:, 0] = 0.1  # half the steps are worse, and twice as many are no better
    assert inference.steps_worth(np.zeros(4), curves, [0.5, 1, 2]).value == 1
    assert inference.steps_worth(np.full(4, 0.01), curves, [0.5, 1, 2]).value == math.inf
    assert inference.steps_worth(np.full(4, -0.1), curves, [0.5, 1, 2]).value == pytest.approx(0.5)


def test_the_interval_of_more_steps_covers_the_truth():
    """An arm that is AdamW with 10 % more steps, measured with noise, on 50 tasks of 1000 with different curves."""
    generator = np.random.default_rng(20240303)
    logs = np.log2(MULTIPLES)
    slope = 0.1 * generator.lognormal(0, 0.7, (1000, 1))
    pool = -slope * (logs - 0.15 * logs**2) + 0.01 * generator.normal(size=(1000, len(logs)))
    extra = np.log2(1.1)
    gains = (slope * (extra - 0.15 * extra**2))[:, 0] + 0.01 * generator.normal(size=1000)
    truth = inference.steps_worth(gains, pool, draws=100).value
    assert truth == pytest.approx(1.1, abs=0.01)
    covered = []
    for i in range(400):
        rows = generator.integers(1000, size=50)
        worth = inference.steps_worth(gains[rows], pool[rows], draws=300, seed=i)
        covered.append(worth.low <= truth <= worth.high)
    assert 0.9 <= np.mean(covered) <= 0.98


# --------------------------------------------------------------------------------------------- real sets, agreement


def test_the_interval_for_overlapping_splits_by_hand():
    values = [1.0, 2.0, 3.0, 6.0]
    half = stats.t.ppf(0.95, 3) * math.sqrt(np.var(values, ddof=1) * (1 / 4 + 200 / 800))
    np.testing.assert_allclose(inference.nadeau_bengio(values, 200, 800, 0.9), [3, 3 - half, 3 + half], rtol=1e-12)


def test_agreement_is_the_weighted_sum_of_squares(rng):
    values, errors = rng.normal(size=6), rng.uniform(0.5, 2, 6)
    least = optimize.minimize_scalar(lambda y: (((values - y) / errors) ** 2).sum()).fun
    q, freedom, p = inference.agreement(values, errors)
    assert (q, freedom) == (pytest.approx(least, rel=1e-9), 5)
    assert p == pytest.approx(stats.chi2.sf(least, 5), rel=1e-9)


def test_estimates_that_agree_do_so_as_often_as_they_say():
    generator = np.random.default_rng(9)
    errors = generator.uniform(0.5, 2, (2000, 4))
    p = [inference.agreement(errors[i] * generator.normal(size=4), errors[i]).p for i in range(2000)]
    assert abs(np.mean(np.array(p) > 0.05) - 0.95) < 4.9 * math.sqrt(0.05 * 0.95 / 2000)


def test_rows_that_a_verdict_depends_on():
    benefits = np.array([[10.0], [1], [1], [1], [1], [1]]) + 0.01 * EVEN
    judge = partial(modality.verdict_on, modality="advice", margin=3.0)
    assert judge(benefits) == "cannot tell"
    assert inference.changed_without(judge, benefits) == [0]
    assert inference.changed_without(judge, benefits[1:]) == []


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: inference.mean_benefit([1.0, 2.0]), r"benefits must have a row per task .* got shape \(2,\)"),
        (lambda: inference.shown([[1.0], [2.0]]), r"2 or more each, got shape \(2, 1\)"),
        (lambda: inference.direction([[1.0, np.nan], [1, 2]]), r"benefits\[0, 1\] must be a finite number"),
        (lambda: inference.mean_benefit(BY_HAND, 1), r"level must be a finite number in \(0, 1\), got 1"),
        (lambda: inference.share_better(BY_HAND, draws=10), "draws must be a whole number of at least 100, got 10"),
        (lambda: inference.benjamini_hochberg([]), r"p_values must be one or more in a row, got shape \(0,\)"),
        (lambda: inference.stratified(BY_HAND, [1], {1: 1}), "strata must have one for each of the 2 tasks, got shape"),
        (lambda: inference.stratified(BY_HAND, [1, 2], {1: 1, 2: 1}), "with 2 tasks or more, got {1: 1, 2: 1}"),
        (lambda: inference.stratified(BY_HAND, [1, 1], {2: 1}), r"strata must be those of frequencies, \[2\], with"),
        (
            lambda: modality.verdict_on(BY_HAND, "always", 1),
            "modality must be one of 'plain', 'usually', .*got 'always'",
        ),
        (lambda: inference.steps_worth([1, 2], np.ones((2, 2)), [0.5, 2]), "multiples must rise and contain 1"),
        (
            lambda: inference.steps_worth([1, 2], np.ones((3, 2)), [1, 2]),
            "log_losses must have a row for each",
        ),
        (lambda: inference.nadeau_bengio([1.0], 1, 1), r"benefits must be 2 or more in a row, got shape \(1,\)"),
        (lambda: inference.agreement([1.0, 2.0], [1.0]), "estimates must be 2 or more, each with its error"),
        (lambda: next(inference.pseudo_populations(BY_HAND, size=1)), "size must be a whole number of at least 2"),
    ],
)
def test_arguments_without_meaning_are_refused(call, told):
    with pytest.raises((TypeError, ValueError), match=told):
        call()
