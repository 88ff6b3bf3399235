"""Verdicts by the modality of a sentence: every rule, and how often they are right on tasks whose truth is known."""

import numpy as np
import pytest

from lookahead_nb.claims import inference, modality
from lookahead_nb.claims.inference import Estimate, Share
from lookahead_nb.claims.statistics import clopper_pearson

pytestmark = pytest.mark.no_kernel

BY_HAND = np.array([[0.0, 2.0], [4.0, 6.0]])
EVEN = np.linspace(-1, 1, 5)


@pytest.fixture
def benefits(rng):
    """Forty tasks of five replicates with different noise."""
    noise = rng.uniform(0.5, 3, (40, 1))
    return rng.normal(0.4, 1, (40, 1)) + noise * rng.normal(size=(40, 5))


UP, DOWN, UNCLEAR = Estimate(0.7, 0.6, 0.8), Estimate(0.3, 0.2, 0.4), Estimate(0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("low", "high", "share", "expected"),
    [
        (1.5, 3, UP, "holds, and matters"),
        (0.1, 0.9, UP, "holds, but is too small to matter"),
        (0.5, 3, UP, "holds"),
        (-3, -1.5, DOWN, "the opposite holds, and matters"),
        (-0.9, -0.1, DOWN, "the opposite holds, but is too small to matter"),
        (-3, -0.5, DOWN, "the opposite holds"),
        (-3, -0.5, UP, "mixed"),
        (-0.5, 0.5, UP, "mixed"),
        (-0.9, -0.1, UP, "mixed"),
        (0.5, 3, DOWN, "mixed"),
        (-0.5, 0.5, DOWN, "mixed"),
        (-0.9, 0.9, UNCLEAR, "no difference that matters"),
        (0.1, 0.9, UNCLEAR, "no difference that matters"),
        (1.5, 3, UNCLEAR, "cannot tell"),
        (-0.5, 1.5, UP, "cannot tell"),
        (-1.5, 0.5, DOWN, "cannot tell"),
        (-1.0, 0.5, UNCLEAR, "cannot tell"),  # the margin itself is not inside
        (0.5, 1.0, UP, "holds"),
        (1.0, 3, UP, "holds"),
    ],
)
def test_every_rule_of_the_table_of_plain_sentences(low, high, share, expected):
    mean = Estimate((low + high) / 2, low, high)
    assert modality.verdict_by_mean(mean, share, margin=1) == expected
    mirrored = Estimate(-mean.value, -high, -low), Estimate(1 - share.value, 1 - share.high, 1 - share.low)
    opposite = {"holds": "the opposite holds", "the opposite holds": "holds"}
    for name, other in opposite.items():
        if expected == name or expected.startswith(f"{name},"):
            expected = expected.replace(name, other)
            break
    assert modality.verdict_by_mean(*mirrored, margin=1) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.06, 0.3, "holds, on a share of tasks"),
        (0.0, 0.04, "hardly ever"),
        (0.05, 0.3, "cannot tell"),
        (0.0, 0.05, "cannot tell"),
    ],
)
def test_every_rule_of_the_table_of_hedged_sentences(low, high, expected):
    assert modality.verdict_by_share(Share(low, high, 0, 0)) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-1, 0.9, "follow it"), (1.1, 2, "it costs"), (0.9, 1, "cannot tell")]
)
def test_every_rule_of_the_table_of_advice(low, high, expected):
    assert modality.verdict_by_regret(Estimate(0, low, high), 1) == expected


@pytest.mark.parametrize("contrasts", [1, 2, 5])
def test_tasks_that_all_agree_give_a_verdict_from_the_fewest_on(contrasts):
    verdicts = {"usually": "holds, and matters", "can": "holds, on a share of tasks"}
    for kind, verdict in verdicts.items():
        n = modality.fewest_tasks(kind, contrasts)
        gains = 0.5 + 1e-6 * np.random.default_rng(0).normal(size=(n, 12))
        assert modality.verdict_on(gains, kind, 0.01, contrasts) == verdict
        if n > 2:
            assert modality.verdict_on(gains[:-1], kind, 0.01, contrasts) == "cannot tell"


def test_several_contrasts_share_one_level_of_error(benefits):
    assert modality.deciding_level(1) == 0.95
    assert modality.deciding_level(4) == 1 - 0.05 / 4
    margin = inference.mean_benefit(benefits, 0.96).low  # the mean is above it at .95, and not at .99
    assert modality.verdict_on(benefits, "advice", margin) == "it costs"
    assert modality.verdict_on(benefits, "advice", margin, contrasts=5) == "cannot tell"
    positive = np.repeat(np.r_[np.ones(16), -np.ones(5)][:, None], 2, axis=1)  # 76 % up: shown at .95, not at .99
    assert modality.verdict_on(positive, "plain", 2.0) == "holds, but is too small to matter"
    assert modality.verdict_on(positive, "plain", 2.0, contrasts=5) == "no difference that matters"


@pytest.mark.parametrize("name", modality.MODALITIES)
def test_each_modality_has_its_rule(name):
    benefits = 0.05 + 0.001 * EVEN + np.zeros((40, 1))
    expected = {"plain": "holds, and matters", "may": "holds, on a share of tasks", "advice": "it costs"}
    expected["forecast"] = "a forecast: not judged"
    same = {"usually": "plain", "can": "may", "some cases": "may"}
    assert modality.verdict_on(benefits, name, 0.01) == expected[same.get(name, name)]


def test_the_tasks_needed_make_the_interval_as_wide_as_the_margin():
    assert modality.tasks_needed(Estimate(0, -2, 2), 50, margin=1) == 800  # from a half width of 2 to one of 1/2


# ------------------------------------------------------------------------------------------- verdicts of known truth
# Draws are fixed, so nothing here can flake. 200 tasks of 4 replicates, 150 populations for each kind of truth.

POPULATIONS, TASKS, MARGIN = 150, 200, 0.01


def verdicts_of(seed, true, name="usually", replicates=4, noise=0.01, tasks=TASKS, populations=POPULATIONS):
    """The shares of verdicts over populations; true maps a generator and a number of tasks to their true benefits."""
    generator, counts = np.random.default_rng([20240301, seed]), {}
    for _ in range(populations):
        benefits = true(generator, tasks)[:, None] + generator.normal(0, noise, (tasks, replicates))
        reached = modality.verdict_on(benefits, name, MARGIN)
        counts[reached] = counts.get(reached, 0) + 1
    return {name: count / populations for name, count in counts.items()}


def normal(mean, spread):
    return lambda generator, n: generator.normal(mean, spread, n)


def skewed(mean, spread):
    """Exponential above a floor: most tasks are below the mean."""
    return lambda generator, n: mean + spread * (generator.exponential(1, n) - 1)


def two_kinds(share, one, other):
    return lambda generator, n: np.where(generator.random(n) < share, one, other)


@pytest.mark.parametrize(
    ("true", "expected", "at_least"),
    [
        (normal(0, 0.002), "no difference that matters", 0.9),
        (normal(0, 0.02), "no difference that matters", 0.9),
        (normal(0.002, 0.002), "holds, but is too small to matter", 0.9),
        (normal(0.01, 0.002), "holds", 0.9),  # on the margin
        (normal(0.03, 0.01), "holds, and matters", 0.99),
        (normal(0.03, 0.04), "holds, and matters", 0.99),
        (normal(-0.03, 0.01), "the opposite holds, and matters", 0.99),
        (skewed(0.03, 0.02), "holds, and matters", 0.99),
        (two_kinds(0.2, 0.1, -0.006), "mixed", 0.9),  # a mean of 1.5 %, and worse on four tasks of five
        (two_kinds(0.75, 0.008, -0.024), "mixed", 0.9),  # a mean of 0, and better on three tasks of four
    ],
)
def test_verdicts_follow_the_truth(true, expected, at_least):
    assert verdicts_of(1, true).get(expected, 0) >= at_least


@pytest.mark.parametrize("true", [normal(0.002, 0.01), normal(0.01, 0.01), skewed(0.005, 0.01)])
def test_a_small_benefit_is_rarely_called_its_opposite_or_one_that_matters(true):
    counts = verdicts_of(2, true)
    false = [name for name in counts if name.startswith("the opposite") or name == "holds, and matters"]
    assert sum(counts[name] for name in false) <= 0.05


@pytest.mark.parametrize(
    ("share", "others", "replicates", "low", "high"),
    [
        (0.0, 0.0, 4, 0, 0),
        (0.0, MARGIN, 12, 0, 0.002),
        (0.05, 0.0, 12, 0, 0.01),
        (0.05, MARGIN, 12, 0, 0.03),  # all others on the margin: the hardest case
        (0.1, 0.0, 4, 0.1, 0.3),
        (0.1, 0.0, 12, 0.4, 0.65),
        (0.15, 0.0, 12, 0.95, 1),
        (0.2, 0.0, 12, 0.99, 1),
    ],
)
def test_a_may_holds_from_a_share_of_tasks_on(share, others, replicates, low, high):
    reached = verdicts_of(3, two_kinds(share, MARGIN + 0.03, others), "may", replicates, populations=500)
    assert low <= reached.get("holds, on a share of tasks", 0) <= high


def test_hardly_ever_is_said_where_it_is_true_alone():
    assert verdicts_of(4, normal(-0.02, 0.005), "may", 12)["hardly ever"] > 0.95
    assert verdicts_of(5, two_kinds(0.1, 0.05, -0.02), "may", 12).get("hardly ever", 0) == 0


SWAPPED = {"plain": ("holds", "the opposite"), "may": ("holds",), "advice": ("it costs",)}


@pytest.mark.parametrize("name", SWAPPED)
@pytest.mark.parametrize("tails", [3, 30])
def test_an_arm_against_itself_is_seldom_called_different(name, tails):
    """Named a and b at random per task: at most 5 % by the Clopper-Pearson interval, whose upper end is used here."""
    generator = np.random.default_rng([20240302, tails])
    same = 0.01 * generator.standard_t(tails, (400, 1)) + 0.01 * generator.normal(size=(400, 4)) + 0.003
    margin = 0.001 if name == "plain" else 0.01
    populations = inference.pseudo_populations(same, 1500, size=100, seed=5, swap=True)
    false = sum(modality.verdict_on(each, name, margin).startswith(SWAPPED[name]) for each in populations)
    _, high = clopper_pearson(false, 1500)
    assert high <= 0.05


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: modality.verdict_on(BY_HAND, "plain", 0), "margin must be a finite number above 0, got 0"),
        (lambda: modality.deciding_level(0), "contrasts must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_without_meaning_are_refused(call, told):
    with pytest.raises((TypeError, ValueError), match=told):
        call()
