"""Tuning inside a replicate and the regimes of tasks, by loops and by hand."""

import math

import numpy as np
import pytest

from lookahead_nb.claims import statistics, tuning

pytestmark = pytest.mark.no_kernel


def test_each_replicate_is_tuned_by_its_own_validation_loss(rng):
    validation, test = rng.normal(size=(2, 3, 4, 6))
    chosen, taken = tuning.tuned(validation, test)
    for task in range(3):
        for replicate in range(4):
            best = min(range(6), key=lambda rate: validation[task, replicate, rate])
            assert chosen[task, replicate] == best
            assert taken[task, replicate] == test[task, replicate, best]


def test_the_limit_is_the_best_rate_of_all_other_replicates(rng):
    validation, test = rng.normal(size=(2, 20, 5, 6))
    chosen, taken = tuning.tuned_by_others(validation, test)
    for task in range(20):
        for replicate in range(5):
            means = [sum(validation[task, r, rate] for r in range(5) if r != replicate) / 4 for rate in range(6)]
            best = means.index(min(means))
            assert chosen[task, replicate] == best
            assert taken[task, replicate] == test[task, replicate, best]


def test_a_diverged_rate_is_never_chosen():
    validation = [[np.nan, 0.2, np.inf], [0.1, 0.3, 0.4], [np.nan, 0.5, 0.4]]
    assert tuning.tuned(validation, np.ones((3, 3))).chosen.tolist() == [1, 0, 2]
    assert tuning.tuned_by_others(validation, np.ones((3, 3))).chosen.tolist() == [1, 1, 1]


def test_shares_of_choices_at_the_ends_of_the_grid():
    assert tuning.edge_shares([[0, 3], [5, 0]], 6) == (0.5, 0.25)


def test_the_best_of_some_trials_is_the_exact_expectation_of_the_trial(rng):
    validation, test = rng.normal(size=(3, 48)), rng.uniform(0.1, 2, (3, 48))
    best = statistics.best_of(validation, np.log(test), 24)[24]
    for replicate in range(3):
        order = np.argsort(validation[replicate])
        terms = [
            math.comb(48 - j, 23) / math.comb(48, 24) * math.log(test[replicate, trial])
            for j, trial in enumerate(order, 1)
        ]
        assert best[replicate] == pytest.approx(sum(terms), rel=1e-11)


def test_regimes_by_hand():
    losses = np.array([[0.96, 0.98], [0.96, 0.98], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.4]])
    twice = np.array([[0.96, 0.95], [0.8, 0.9], [0.48, 0.49], [0.5, 0.52], [0.5, 0.495], [0.4, 0.5]])
    expected = ["hopeless", "step-limited", "step-limited", "overfitting", "saturated", "saturated"]
    assert tuning.regimes(losses, twice, np.ones(6)).tolist() == expected
    assert {*expected} == {*tuning.REGIMES}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: tuning.tuned([1, 2], [1, 2]), "validation and test must have the same replicates and settings"),
        (lambda: tuning.tuned_by_others([[1, 2]], [[1, 2]]), "validation must have at least 2 replicates, got 1"),
        (lambda: tuning.edge_shares([], 4), "chosen must hold at least one choice, got none"),
        (lambda: tuning.edge_shares([4], 4), r"chosen\[0\] must be a finite number in \[0, 3\], got 4"),
        (lambda: tuning.regimes([[1.0]], [[1.0]], [1.0, 1.0]), "must be of the same tasks and replicates"),
    ],
)
def test_arguments_without_meaning_are_refused(call, told):
    with pytest.raises((TypeError, ValueError), match=told):
        call()


@pytest.mark.parametrize(
    ("losses", "within", "octaves"),
    [
        ([4.0, 2.0, 1.0, 1.5, 4.0], 0.5, 1 + 0.5),  # down to 1.5 half-way between 2.0 and 1.0
        ([4.0, 2.0, 1.0, 2.0, 4.0], 1.0, 2.0),
        ([1.0, 1.0, 1.0], 0.01, 2.0),  # ends with the grid
        ([1.2, 1.0, np.nan], 0.1, 0.5),  # no part of the step towards a run that diverged
        ([1.0, 3.0, 1.0, 1.0], 0.1, 0.05),  # the part around the best rate only
    ],
)
def test_the_range_of_good_rates_by_hand(losses, within, octaves):
    assert float(tuning.rate_range(losses, within, 2.0)) == pytest.approx(octaves, rel=1e-12)
    assert float(tuning.rate_range(losses, within, 4.0)) == pytest.approx(2 * octaves, rel=1e-12)
    np.testing.assert_allclose(
        tuning.rate_range([[losses[::-1]]], within, 2.0).ravel()[0], octaves_reversed(losses, within)
    )


def octaves_reversed(losses, within):
    """The range, step by step, of the reversed curve: the first of equal best rates is another one there."""
    curve = [np.inf if np.isnan(x) else x for x in losses[::-1]]
    best, top = int(np.argmin(curve)), (1 + within) * min(curve)
    total = 0.0
    for direction in (1, -1):
        i = best
        while 0 <= i + direction < len(curve) and curve[i + direction] <= top:
            i += direction
            total += 1
        if 0 <= i + direction < len(curve):
            total += (top - curve[i]) / (curve[i + direction] - curve[i])
    return total


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0], 0.1, 2.0), "losses must have at least 2 rates"),
        (([1.0, 2.0], 0.0, 2.0), "within must be"),
        (([1.0, 2.0], 0.1, 1.0), "spacing must be"),
    ],
)
def test_a_wrong_range_of_rates_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        tuning.rate_range(*arguments)
