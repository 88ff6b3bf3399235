"""The proof of the procedure, itself tried on pools whose truth is known and on pools that are wrong."""

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.claims import proof
from lookahead_nb.claims.inference import MULTIPLES

pytestmark = pytest.mark.no_kernel


def pool(rng, multiple, noise=0.01, tasks=400):
    """Gains of an arm with more steps and the curves of AdamW, on tasks that differ in how much steps gain."""
    logs, slope = np.log2(MULTIPLES), 0.1 * rng.lognormal(0, 0.5, (tasks, 1))
    curves = -slope * (logs - 0.15 * logs**2) + noise * rng.normal(size=(tasks, len(logs)))
    x = np.log2(multiple)
    return (slope * (x - 0.15 * x**2))[:, 0] + noise * rng.normal(size=tasks), curves


def share_of(frame, verdicts, **truth):
    chosen = frame[(frame[list(truth)] == pd.Series(truth)).all(axis=1)]
    assert chosen["share"].sum() == pytest.approx(1)
    return chosen.loc[chosen["verdict"].isin(verdicts), "share"].sum()


def test_simulated_verdicts_follow_the_truth():
    frame = proof.simulated_verdicts(spreads=[0.002, 0.04], populations=60)
    for shape in ("normal", "skewed"):
        assert share_of(frame, ["no difference that matters"], shape=shape, effect=0.0, spread=0.002) > 0.85
        small = ["holds, but is too small to matter"]
        assert share_of(frame, small, shape=shape, effect=0.002, spread=0.002) > 0.85
        assert share_of(frame, ["holds, and matters"], shape=shape, effect=0.03, spread=0.002) == 1
    assert share_of(frame, ["holds, and matters"], shape="normal", effect=0.03, spread=0.04) == 1
    assert share_of(frame, ["holds"], shape="normal", effect=0.01, spread=0.002) > 0.85


def test_simulated_verdicts_depend_on_the_seed_alone():
    small = {"effects": [0.01], "spreads": [0.01], "populations": 5, "tasks": 20}
    pd.testing.assert_frame_equal(proof.simulated_verdicts(**small), proof.simulated_verdicts(**small))
    with pytest.raises(ValueError, match="spreads must be"):
        proof.simulated_verdicts(spreads=[-1.0])


@pytest.mark.parametrize(
    ("modality", "margin"), [("usually", 0.002), ("plain", 0.002), ("may", 0.01), ("advice", 0.002)]
)
def test_an_arm_against_itself_gets_no_verdict(modality, margin, rng):
    same = 0.01 * rng.standard_t(5, (200, 4)) + 0.003  # a common error of all replicates, which swapping takes away
    found = proof.false_verdicts(same, modality, margin, populations=300)
    assert found.high < 0.08
    assert found.low <= found.value <= found.high


def test_a_forecast_has_no_false_verdicts():
    with pytest.raises(ValueError, match=r"modality must be one of 'plain', .*'advice', got 'forecast'"):
        proof.false_verdicts(np.zeros((9, 2)), "forecast", 0.01)


@pytest.mark.parametrize("modality", ["usually", "may", "advice"])
def test_a_procedure_that_is_too_sure_would_be_noticed(modality, rng, monkeypatch):
    """Replicates that repeat each other look precise."""
    monkeypatch.setattr(proof, "pseudo_populations", lambda benefits, n, *_, **__: (benefits for _ in range(n)))
    found = proof.false_verdicts(0.03 + 0.001 * rng.normal(size=(100, 4)), modality, 0.01, populations=20)
    assert (found.value, found.high) == (1, 1)


@pytest.mark.parametrize("multiple", [1.05, 1.1, 1.4])
def test_more_steps_are_worth_as_much_and_covered_as_often_as_said(multiple, rng):
    found = proof.planted(*pool(rng, multiple), size=40, populations=200, draws=200)
    assert found.value == pytest.approx(multiple, abs=0.02)
    assert found.coverage.value > 0.9
    assert found.coverage.low < 0.98
    assert 0 < found.half_width < 0.1


def test_a_biased_curve_would_be_noticed(rng):
    """If the pool's truth lay elsewhere, as with rates tuned for another length, the intervals would miss it."""
    gains, curves = pool(rng, 1.4, noise=0.001)
    few = np.r_[gains[:20] + 1.0, gains[20:]]  # a few outliers carry the whole value; populations seldom hold them
    found = proof.planted(few, np.vstack([curves[:20] * 20, curves[20:]]), size=20, populations=100, draws=200)
    assert found.coverage.high < 0.9


def test_arms_of_known_value_are_found_in_the_rows_of_a_trial(rng):
    gains, curves = pool(rng, 1.1, noise=0.002, tasks=120)
    keys = {"metric": "test loss", "tuning": "own"}
    rows = [
        keys | {"number": i, "arm": "adamw", "multiple": m, "r0": np.exp(loss), "r1": np.exp(loss)}
        for i, curve in enumerate(curves)
        for m, loss in zip(MULTIPLES, curve, strict=True)
    ]
    at_one = curves[:, MULTIPLES.index(1.0)]
    for arm, gain in {"adamw_again": 0 * gains, "more": gains}.items():
        losses = np.exp(at_one - gain)
        rows += [keys | {"number": i, "arm": arm, "multiple": 1.0, "r0": x, "r1": x} for i, x in enumerate(losses)]
    found = proof.planted_arms(
        pd.DataFrame(rows), {"adamw_again": 1.0, "more": 1.1}, size=20, populations=50, draws=100
    )
    assert found["arm"].tolist() == ["adamw_again", "more"]
    assert found["value"].tolist() == pytest.approx([1.0, 1.1], abs=0.02)
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
    assert (found["covered_low"] <= found["covered"]).all()


def test_a_population_must_be_a_small_part_of_the_pool(rng):
    with pytest.raises(ValueError, match="size must be a whole number from 2 to 20, got 30"):
        proof.planted(*pool(rng, 1.1, tasks=40), size=30)
    with pytest.raises(ValueError, match="modality must be one of"):
        proof.false_verdicts(np.zeros((3, 3)), "always", 0.01)
