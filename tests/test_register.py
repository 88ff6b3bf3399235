"""The committed register and its results: registered, complete, belonging together, within their budget."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookahead_nb import claims, datasets
from lookahead_nb import provenance as tables
from lookahead_nb.claims import measure as trials
from lookahead_nb.claims.metrics import METRICS

pytestmark = pytest.mark.no_kernel

pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data/results"
REGISTER = claims.read(ROOT / "data/claims.toml")
TESTABLE = {key: claim for key, claim in REGISTER.items() if not claim.untestable}
TESTED = {key: claim for key, claim in TESTABLE.items() if (RESULTS / f"{key}.json").is_file()}
OF_THE_ARTICLE = 20  # its claims; what is registered after them are questions of our own
FAQ = [f"C{i:02d}" for i in range(1, 11)]
BUNDLED_OPERATIONS = 6e13  # of all claims: five minutes at the 2e11 operations/s of two busy cores on digits
DOWNLOADED_OPERATIONS = 2.5e14  # twenty minutes at that pace

of_tested = pytest.mark.parametrize("claim", TESTED.values(), ids=[*TESTED])
of_tuned = pytest.mark.parametrize(
    "claim", [claim for claim in TESTED.values() if claim.tuned], ids=[key for key in TESTED if TESTED[key].tuned]
)


def results(claim, part=""):
    return claims.results(claim, part, folder=RESULTS)


def test_claims_stand_in_the_order_of_their_ids():
    assert [*REGISTER] == sorted(REGISTER)


def test_every_claim_with_results_has_its_notebook():
    there = {path.stem for path in (ROOT / "notebooks/source").glob("*.py")}
    assert [key for key, claim in TESTED.items() if claim.notebook not in there] == []


def test_every_claim_has_results():
    assert [f"C{i:02d}" for i in range(1, len(REGISTER) + 1)] == [*REGISTER]
    assert len(REGISTER) >= OF_THE_ARTICLE
    assert [*TESTABLE] == [*TESTED]


@of_tested
def test_results_are_whole_and_those_of_the_entry(claim):
    frame = results(claim)
    arms = [(task, arm.name) for task in claim.tasks for arm in claim.arms.values() if arm.is_on(task)]
    expected = [(task, arm, seed) for task, arm in arms for seed in claim.seeds()]
    assert [*frame[["task", "arm", "seed"]].itertuples(index=False, name=None)] == expected
    for task, rows in frame.groupby("task"):
        fitting = [name for name in claim.metrics if METRICS[name].fits(claim.problems[task])]
        assert set(claim.metrics) <= set(frame)
        judged = [effect for effect in claim.effects if task in effect.tasks]
        assert {effect.metric for effect in judged} <= set(fitting)
        for effect in judged:
            assert rows[rows["arm"].isin([effect.arm, effect.control])][effect.metric].notna().all()


@of_tuned
def test_every_tuned_arm_had_its_trials_and_was_run_with_the_best(claim):
    tuning, runs = results(claim, "tuning"), results(claim)
    tuned = {name: arm for name, arm in claim.arms.items() if arm.trials}
    expected = {(task, name) for task in claim.tasks for name, arm in tuned.items() if arm.is_on(task)}
    assert {*zip(tuning["task"], tuning["arm"], strict=True)} == expected
    for (task, name), tried in tuning.groupby(["task", "arm"]):
        assert len(tried) == len(tuned[name].trials)
        assert tried["chosen"].sum() == 1
        chosen = tried[tried["chosen"]].iloc[0]
        assert chosen["loss"] == tried["loss"].min()
        rates = runs[(runs["task"] == task) & (runs["arm"] == name)]["lr"]
        assert rates.to_numpy() == pytest.approx(chosen["lr"] * tuned[name].fields.get("times", 1), rel=1e-12)


@of_tuned
def test_no_best_rate_lies_on_the_edge_of_its_grid(claim):
    tuning = results(claim, "tuning")
    tried = tuning.groupby(["task", "arm"])["lr"].agg(["min", "max"])
    best = tuning[tuning["chosen"]].set_index(["task", "arm"])["lr"].reindex(tried.index)
    on_edge = (tried["min"] < tried["max"]) & ((best == tried["min"]) | (best == tried["max"]))
    assert [*on_edge.index[on_edge]] == []


def test_no_other_table_calls_itself_a_claims():
    named = {path.stem for path in RESULTS.glob("C[0-9][0-9]*.csv")}
    assert named == {*TESTED, *(f"{key}_tuning" for key, claim in TESTED.items() if claim.tuned)}


# ------------------------------------------------------------------------------------------------------------- budgets


@pytest.mark.parametrize("claim", TESTABLE.values(), ids=[*TESTABLE])
def test_a_claim_keeps_to_its_budget(claim):
    assert trials.operations(claim, claim.bundled) <= claim.budget


def test_all_claims_together_can_be_waited_for():
    assert sum(claim.budget for claim in TESTABLE.values()) <= BUNDLED_OPERATIONS


def test_what_must_be_downloaded_keeps_to_a_budget_of_its_own():
    tasks = {key: [name for name in claim.tasks if name not in claim.bundled] for key, claim in TESTABLE.items()}
    absent = {claim.problems[name].fields["data"] for key, claim in TESTABLE.items() for name in tasks[key]}
    if absent := sorted(name for name in absent if not datasets.available(name)):
        pytest.skip(f"needs the data of {', '.join(absent)}")
    assert sum(trials.operations(TESTABLE[key], names) for key, names in tasks.items()) <= DOWNLOADED_OPERATIONS


# ------------------------------------------------------------------------------------------------------------ verdicts


@pytest.fixture(scope="module")
def effects():
    return claims.judge_all(REGISTER, folder=RESULTS, by_task=[])


def test_every_effect_is_judged(effects):
    joint = effects[effects["task"] == "all"]
    expected = [(key, effect.name) for key, claim in TESTED.items() for effect in claim.effects]
    assert [*zip(joint["claim"], joint["effect"], strict=True)] == expected


def test_the_correction_leaves_room_for_an_effect():
    """The least p of 10,000 random flips on two sides, times the number of effects, has to lie below the level."""
    number = sum(len(claim.effects) for claim in TESTABLE.values())
    assert 2 / 10_001 * number < claims.LEVEL


@of_tested
def test_the_verdict_of_a_notebook_stands_the_correction(claim, effects):
    alone = claims.compare(claim.effects, results(claim), by_task=False)
    assert claims.verdict(claim, effects) == claims.verdict(claim, alone)


def test_what_the_faq_asks_has_an_answer_in_words():
    assert [key for key in FAQ if key in TESTED and not TESTED[key].advice] == []


# ------------------------------------------------------------------------------------------------- these tests can fail


def test_an_optimum_on_the_edge_is_found(tmp_path, monkeypatch):
    from tests.support import registers

    claim = registers.read(tmp_path)["C01"]
    monkeypatch.setattr("test_register.RESULTS", tmp_path)
    rates = claim.arms["tuned"].trials
    frame = pd.DataFrame([{"task": task, "arm": "tuned"} | rate for task in claim.tasks for rate in rates])
    for at, fails in ((1, False), (2, True)):
        chosen = np.tile(np.arange(3) == at, 2)
        tables.write_table(frame.assign(chosen=chosen), "C01_tuning", folder=tmp_path, claim=claim.sha256)
        if fails:
            with pytest.raises(AssertionError):
                test_no_best_rate_lies_on_the_edge_of_its_grid(claim)
        else:
            test_no_best_rate_lies_on_the_edge_of_its_grid(claim)


def test_an_incomplete_result_is_found(tmp_path, monkeypatch):
    from tests.support import registers

    claim = registers.read(tmp_path)["C02"]
    monkeypatch.setattr("test_register.RESULTS", tmp_path)
    whole = trials.measure(claim).runs
    tables.write_table(whole, "C02", folder=tmp_path, claim=claim.sha256)
    test_results_are_whole_and_those_of_the_entry(claim)
    for broken in (whole[:-1], whole.assign(seed=0), whole.assign(slow_risk=np.nan)):
        tables.write_table(broken, "C02", folder=tmp_path, claim=claim.sha256)
        with pytest.raises(AssertionError):
            test_results_are_whole_and_those_of_the_entry(claim)
