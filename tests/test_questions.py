"""A question of one's own: which arms are tried, how they are compared, and what the answer advises."""

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest

from lookahead_nb import claims
from lookahead_nb.claims import questions, statistics
from lookahead_nb.claims.questions import ADAMW, AVERAGING, LOOKAHEAD, LOWER, PAIRS
from lookahead_nb.claims.tasks import Problem

RATES = [0.01, 0.1, 1.0]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(7)
    y = np.arange(60) % 2
    return Problem.of("mine", rng.normal(size=(60, 2)) + y[:, None], y, batch_size=8, steps=4, eval_every=4)


@pytest.fixture(scope="module")
def answer(problem):
    return questions.ask(
        problem, retention=[0.5, 0.8], sync_period=[5], lr=RATES, seeds=10, progress=False, weight_decay=0.1
    )


def test_both_controls_are_tried_beside_every_pair(answer):
    names = [*answer.runs["arm"].unique()]
    assert names == [
        ADAMW,
        *(f"{kind} retention={r} sync_period=5" for kind in (LOOKAHEAD, AVERAGING) for r in (0.5, 0.8)),
        *(f"{LOWER} retention={r} sync_period=5" for r in (0.5, 0.8)),
    ]
    assert answer.arms[["kind", "retention", "sync_period"]].to_numpy().tolist() == [
        [kind, r, 5] for kind in (LOOKAHEAD, AVERAGING, LOWER) for r in (0.5, 0.8)
    ]
    lr = answer.arms.set_index("arm")["lr"]
    for r in (0.5, 0.8):
        lower, own = (lr[f"{kind} retention={r} sync_period=5"] for kind in (LOWER, LOOKAHEAD))
        assert lower == pytest.approx(own * (1 - r), rel=1e-12)


def test_every_tuned_arm_is_tuned_on_the_same_rates(answer):
    tried = answer.tuning.groupby("arm")["lr"].apply(list)
    assert len(tried) == 5
    assert all(rates == RATES for rates in tried)


def test_runs_are_paired_on_seeds_that_follow_from_the_question(problem, answer):
    seeds = [[*rows["seed"]] for _, rows in answer.runs.groupby("arm")]
    assert all(each == seeds[0] for each in seeds)
    assert len({*seeds[0]}) == 10
    assert min(seeds[0]) >= 2**32
    other = questions.ask(problem, retention=[0.5], sync_period=[5], lr=RATES, seeds=10, progress=False)
    assert not {*seeds[0]} & {*other.runs["seed"]}


def test_sizes_are_shares_of_the_distance_from_chance_to_the_best(problem, answer):
    means = answer.runs.groupby("arm")["test_loss"].mean()
    room = problem.chance - means.min()
    found = answer.arms.set_index("arm")["size"]
    for arm, size in found.items():
        assert size == pytest.approx((means[arm] - means[ADAMW]) / room)


def test_the_advice_rests_on_the_arms_with_the_lowest_validation_loss(answer):
    losses = answer.tuning[answer.tuning["chosen"]].set_index("arm")["loss"]
    best = {kind: losses[losses.index.str.startswith(kind + " ")].idxmin() for kind in (LOOKAHEAD, AVERAGING)}
    best |= {ADAMW: ADAMW, LOWER: best[LOOKAHEAD].replace(LOOKAHEAD, LOWER)}
    found = [*answer.decisive[["arm", "control"]].itertuples(index=False, name=None)]
    assert found == [(best[arm], best[control]) for arm, control in PAIRS]
    against = answer.arms.set_index("arm")
    for i in (0, 3):
        row = answer.decisive.iloc[i]
        assert row[["size", "low", "high"]].tolist() == against.loc[row["arm"], ["size", "low", "high"]].tolist()
    first = against.loc[best[LOOKAHEAD], "p"], against.loc[best[AVERAGING], "p"]
    assert (answer.decisive["p"].iloc[[0, 3]].to_numpy() >= first).all()  # Holm's correction


def test_what_is_found_is_told_by_its_side(problem):
    seeds, noise = np.arange(30), np.random.default_rng(0).normal(size=30) * 0.001
    means = {"a": 0.3, "b": 0.3001, "c": 0.2, "d": 0.3 + 0.02 * (math.log(2) - 0.2)}
    runs = pd.concat(
        pd.DataFrame({"task": "mine", "arm": arm, "seed": seeds, "test_loss": mean + (noise if arm != "a" else 0)})
        for arm, mean in means.items()
    ).assign(chance=math.log(2))
    found = questions._compared(problem, runs, [(arm, "a") for arm in "bcd"] + [("a", "c")], 0.02)
    assert [*found["outcome"]] == ["same", "better", "open", "worse"]


# -------------------------------------------------------------------------------------------------------------- advice


def advice_for(*outcomes, on_edge=False):
    """The advice of an answer with these outcomes, in the order of ``PAIRS``."""
    arms = pd.DataFrame(
        [
            {"arm": "L", "kind": LOOKAHEAD, "retention": 0.5, "sync_period": 5, "lr": 0.02},
            {"arm": "A", "kind": AVERAGING, "retention": 0.8, "sync_period": 20, "lr": 0.01},
        ]
    )
    decisive = pd.DataFrame({"arm": ["L", "L", "L", "A"], "outcome": outcomes})
    runs = pd.DataFrame({"arm": [ADAMW], "lr": [0.01]})
    rates = [0.01, 0.02, 0.04] if on_edge else [0.001, 0.01, 0.02, 0.1]
    chosen = {"L": 0.02, "A": 0.01, ADAMW: 0.01}
    tuning = pd.DataFrame(
        [{"arm": arm, "lr": lr, "chosen": lr == best} for arm, best in chosen.items() for lr in rates]
    )
    return questions.Answer(decisive, arms, 0.02, runs, tuning).advice


WHERE = "retention 0.5, sync_period 5 and lr 0.02"


@pytest.mark.parametrize(
    ("outcomes", "advice"),
    [
        (("better", "better", "better", "same"), f"Use Lookahead with {WHERE}: it is better than AdamW and than both"),
        (
            ("better", "better", "better", "better"),
            f"Use Lookahead with {WHERE}: it is better than AdamW and than both",
        ),
        (
            ("better", "better", "same", "better"),
            "Average without a pull-back, with retention 0.8, sync_period 20 and lr 0.01: it is better than AdamW, and "
            "Lookahead adds nothing.",
        ),
        (("better", "better", "open", "better"), "and Lookahead does not show that it adds anything."),
        (("same", "same", "worse", "better"), "Average without a pull-back"),
        (
            ("better", "same", "better", "same"),
            f"Try AdamW at a lower rate, or an average: Lookahead with {WHERE} is not",
        ),
        (
            ("same", "same", "same", "same"),
            f"Keep AdamW, at lr 0.01: Lookahead, at its best with {WHERE}, changes the test loss by less than 0.02 of "
            "the distance from the loss of chance to the best one.",
        ),
        (("worse", "open", "worse", "same"), "makes the test loss worse by more than 0.02 of the distance"),
        (
            ("open", "same", "open", "same"),
            f"Keep AdamW, at lr 0.01: these rows cannot tell whether Lookahead with {WHERE}",
        ),
    ],
)
def test_the_advice_follows_from_the_outcomes(outcomes, advice):
    assert advice in advice_for(*outcomes)


def test_lookahead_is_advised_only_if_it_beats_all():
    words = ("better", "same", "worse", "open")
    for outcomes in itertools.product(words, repeat=4):
        assert advice_for(*outcomes).startswith("Use Lookahead") == (outcomes[:3] == ("better",) * 3)


def test_rates_on_the_edge_come_first():
    advice = advice_for("better", "better", "better", "same", on_edge=True)
    assert re.fullmatch(r"Widen the rates and ask again: the best one of (A|AdamW) lies on the edge .*", advice)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"retention": [1.0]}, "retention[0] must be a finite number in (0, 1), got 1.0"),
        ({"retention": []}, "retention must hold one value or more, none of them twice, got []"),
        ({"retention": 0.5}, "retention must be a list of values, got 0.5"),
        ({"retention": np.float64(0.5)}, "retention must be a list of values, got np.float64(0.5)"),
        ({"sync_period": [0]}, "sync_period[0] must be a whole number of at least 1, got 0"),
        ({"sync_period": 5}, "sync_period must be a list of values, got 5"),
        ({"sync_period": "5"}, "sync_period must be a list of values, got '5'"),
        ({"sync_period": [5, 5]}, "sync_period must hold one value or more, none of them twice, got [5, 5]"),
        ({"margin": 0}, "margin must be a finite number above 0, got 0"),
        ({"seeds": 9}, "seeds must be a whole number of at least 10, got 9"),
        ({"lr": [-1]}, "lr[0] must be a finite number of at least 0, got -1"),
        ({"lr": 0.1}, "lr must be a list of values, got 0.1"),
        ({"lr": {"low": 0.1, "high": 0.01, "number": 3}}, "lr.high must be a finite number above 0.1, got 0.01"),
        ({"lr": {"low": 0.1, "high": 0.2}}, "lr.number must be a whole number from 2 to 100000, got None"),
        ({"lr": {"lowest": 0.1}}, "lr.lowest is not known (did you mean low?); allowed: low, high, number"),
        ({"weight_decay": [0.1, 0.2]}, "weight_decay must be one value, the same in all arms, got [0.1, 0.2]"),
        ({"beta1": (0.5,)}, "beta1 must be one value, the same in all arms, got (0.5,)"),
        ({"weight_decay": -1}, "weight_decay must be a finite number of at least 0, got -1"),
        ({"momentum": 0.9}, "momentum is not known"),
        ({"pull_back": False}, "pull_back is not known; allowed: "),
        ({"problem": "digits"}, "problem must be a Problem such as Problem.of makes, got str"),
    ],
)
def test_a_bad_question_is_refused_before_anything_is_trained(problem, monkeypatch, how, sentence):
    monkeypatch.setattr(questions, "measure_on", None)
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(sentence)}"):
        questions.ask(**{"problem": problem} | how)


def test_axes_may_be_arrays_and_iterators(problem, monkeypatch):
    asked = []

    def measured(_, arms, *__, **___):
        asked.append({name: arm.fields for name, arm in arms.items()})
        raise InterruptedError

    monkeypatch.setattr(questions, "measure_on", measured)
    for axis in (list, iter, np.array, tuple):
        with pytest.raises(InterruptedError):
            questions.ask(problem, retention=axis([0.2, 0.5]), sync_period=axis([5, 20]), lr=axis([0.01, 0.1]))
    assert len(asked[0]) == 1 + 3 * 4
    assert asked[0] == asked[1] == asked[2] == asked[3]


def test_a_landscape_has_no_test_loss():
    bowl = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 5}})
    with pytest.raises(ValueError, match="problem must be on data, which the landscape 'bowl' is not"):
        questions.ask(bowl)


def test_holm_keeps_the_decisive_comparisons_to_their_level(answer):
    raw = [
        claims.compare(
            [
                claims.Effect(
                    "e", "test_loss", row.arm, row.control, "equivalent", 0.02, "of chance", "sign flip", ("mine",)
                )
            ],
            answer.runs,
        )["p"][0]
        for row in answer.decisive.itertuples()
    ]
    assert answer.decisive["p"].tolist() == pytest.approx(statistics.holm(np.array(raw)).tolist())
    assert (answer.decisive["outcome"] == "open").equals(answer.decisive["p"] > claims.LEVEL)
