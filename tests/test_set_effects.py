"""Effects on real data sets against hand-made numbers: intervals, verdicts on few and on many sets, steps to a loss."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lookahead_nb.claims import inference, modality, registry, set_effects

pytestmark = pytest.mark.no_kernel

MARGIN = 0.01


def sets(*of_sets, replicates=6, overlap=False):
    """Benefits, and tasks, of sets given as (name, means of its tasks, standard deviation)."""
    pattern = np.linspace(-1, 1, replicates)
    pattern /= pattern.std(ddof=1)
    rows, keys = [], []
    for name, means, spread in of_sets:
        for steps, mean in enumerate(means, 1):
            keys.append({"number": len(rows), "set": name, "steps": 10 * steps, "class": "saturated"})
            rows.append(mean + spread * pattern)
    sizes = {"train_rows": 60, "validation_rows": 20, "test_rows": 20, "overlap": overlap}
    return pd.DataFrame(rows, columns=[f"r{i}" for i in range(replicates)]), pd.DataFrame(keys).assign(**sizes)


def verdict(*of_sets, rule="mean", level=0.95, **options):
    harmless = options.pop("harmless", False)
    return set_effects.judged(*sets(*of_sets, **options), rule, MARGIN, level, harmless=harmless)["verdict"]


# -------------------------------------------------------------------------------------------------- one set, all sets


@pytest.mark.parametrize("overlap", [False, True])
def test_intervals_of_a_set_by_hand(overlap):
    benefits, tasks = sets(("a", [0.1], 0.02), overlap=overlap)
    (row,) = set_effects.by_set(benefits, tasks).to_dict("records")
    half = stats.t.ppf(0.975, 5)
    assert row["value"] == pytest.approx(0.1)
    assert row["error"] == pytest.approx(0.02 / math.sqrt(6))
    assert (row["low"], row["high"]) == pytest.approx(
        (0.1 - half * 0.02 / math.sqrt(6), 0.1 + half * 0.02 / math.sqrt(6))
    )
    factor = 1 / 6 + (20 / 80 if overlap else 0)
    assert row["bound_high"] - row["bound_low"] == pytest.approx(2 * half * 0.02 * math.sqrt(factor))


def test_over_sets_the_unit_is_the_mean_over_the_tasks_of_a_set():
    benefits, tasks = sets(("a", [0.1, 0.3], 0.02), ("b", [0.4], 0.5), ("c", [0.0], 0.1))
    frame = set_effects.by_set(benefits, tasks)
    assert frame["set"].tolist() == ["a", "a", "a", "b", "c", "all"]
    assert frame["steps"].isna().tolist() == [False, False, True, False, False, True]
    over, means = frame.iloc[-1], np.array([0.2, 0.4, 0.0])
    half = stats.t.ppf(0.975, 2) * means.std(ddof=1) / math.sqrt(3)
    assert over["replicates"] == 3
    assert (over["low"], over["high"]) == pytest.approx((0.2 - half, 0.2 + half))


def test_tasks_of_a_set_are_paired_by_replicate():
    benefits, tasks = sets(("a", [0.1, 0.3], 0.02))
    benefits.loc[1] = 0.4 - benefits.loc[0]  # what one gains the other loses
    frame = set_effects.by_set(benefits, tasks).set_index("steps")
    assert frame["error"].loc[[10, 20]].min() > 0.005
    assert frame[frame.index.isna()]["error"].item() == pytest.approx(0, abs=1e-15)


def test_missing_replicates_are_left_out():
    benefits, tasks = sets(("a", [0.1], 0.02), ("b", [0.3], 0.02))
    benefits.loc[1, ["r4", "r5"]] = np.nan
    frame = set_effects.by_set(benefits, tasks)
    kept = benefits.loc[1].dropna()
    assert frame["replicates"].tolist() == [6, 4, 2]
    assert frame["error"][1] == pytest.approx(kept.std(ddof=1) / 2)


# ------------------------------------------------------------------------------------------------------ few data sets

EXACT = 1e-9


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.05, EXACT), (0.02, EXACT), "holds, and matters"),
        ((0.05, EXACT), (0.005, EXACT), "holds"),
        ((0.002, EXACT), (0.005, EXACT), "holds, but is too small to matter"),
        ((-0.05, EXACT), (-0.02, EXACT), "the opposite holds, and matters"),
        ((0.05, EXACT), (-0.02, EXACT), "mixed"),
        ((0.001, 0.002), (-0.001, 0.002), "no difference that matters"),
        ((0.05, EXACT), (0.05, 0.2), "cannot tell"),
    ],
)
def test_a_plain_sentence_must_hold_on_every_set(a, b, expected):
    assert verdict(("a", [a[0]], a[1]), ("b", [b[0]], b[1])) == expected


@pytest.mark.parametrize(
    ("a", "b", "harmless", "expected"),
    [
        ((0.05, EXACT), (-0.5, 0.2), False, "holds, on a share of tasks"),
        ((0.005, EXACT), (-0.5, EXACT), False, "hardly ever"),
        ((0.005, 0.1), (-0.5, EXACT), False, "cannot tell"),
        ((-0.005, EXACT), (-0.5, EXACT), True, "holds, on a share of tasks"),
        ((-0.02, EXACT), (-0.5, EXACT), True, "hardly ever"),
        ((-0.02, 0.1), (-0.5, EXACT), True, "cannot tell"),
    ],
)
def test_can_holds_if_one_set_shows_it(a, b, harmless, expected):
    assert verdict(("a", [a[0]], a[1]), ("b", [b[0]], b[1]), rule="share", harmless=harmless) == expected


def test_an_advice_is_judged_by_its_regret():
    assert verdict(("a", [-0.002], EXACT), ("b", [0.02], EXACT), rule="regret") == "follow it"
    assert verdict(("a", [-0.02], EXACT), ("b", [-0.03], EXACT), rule="regret") == "it costs"


def test_a_set_whose_splits_overlap_needs_the_bound():
    spread = 0.05 / (1.3 * stats.t.ppf(0.975, 5) / math.sqrt(6))  # L > 0 only if replicates were independent
    one = ("a", [0.05], spread)
    assert verdict(one, overlap=False).startswith("holds")
    assert verdict(one, overlap=True) == "cannot tell"


def test_intervals_of_several_sets_hold_together():
    spread = 0.05 / (stats.t.ppf(0.98, 5) / math.sqrt(6))  # shown at the level .95 of one set, not at .975
    assert verdict(("a", [0.05], spread)) == "holds"
    assert verdict(("a", [0.05], spread), ("b", [0.05], spread)) == "cannot tell"
    assert verdict(("a", [0.05], spread), level=0.97) == "cannot tell"


def test_sets_without_which_the_verdict_changes_are_named():
    row = set_effects.judged(*sets(("a", [0.05], EXACT), ("b", [-0.02], EXACT)), "mean", MARGIN, 0.95)
    assert row["without"] == "a, b"
    row = set_effects.judged(*sets(*((name, [0.05], EXACT) for name in "abc")), "mean", MARGIN, 0.95)
    assert row["without"] == ""


# ----------------------------------------------------------------------------------------------------- many data sets


def many(spread=0.004, seed=3):
    means = np.random.default_rng(seed).normal(0.015, 0.02, 14)
    return [(f"set {i}", [mean], spread) for i, mean in enumerate(means)]


def test_many_sets_in_chunks_are_judged_like_generated_tasks():
    benefits, tasks = sets(*many())
    values = benefits.to_numpy()
    mean = set_effects.judged(benefits, tasks, "mean", MARGIN, 0.95)
    assert (mean["low"], mean["high"]) == inference.mean_benefit(values)[1:]
    assert (mean["share_low"], mean["share_high"]) == inference.direction(values)[1:]
    assert mean["verdict"] == modality.verdict_on(values, "plain", MARGIN)
    assert set_effects.judged(benefits, tasks, "none", MARGIN, 0.95) == mean | {"verdict": modality.NOT_JUDGED}
    share = set_effects.judged(benefits, tasks, "share", MARGIN, 0.95)
    beyond = inference.share_beyond(values, MARGIN)
    assert (share["share_low"], share["share_high"]) == (beyond.low, beyond.high)
    assert share["share"] == beyond.beyond / 14 > 0
    harmless = set_effects.judged(benefits, tasks, "share", MARGIN, 0.95, harmless=True)
    assert harmless["share"] == inference.share_beyond(values + 2 * MARGIN, MARGIN).beyond / 14 > share["share"]


def test_overlapping_splits_show_less_on_single_sets():
    alike = [(f"set {i}", [0.05], 0.022) for i in range(6)]  # t is 4.5, and 2.8 with the bound
    for overlap, share in ((False, 1.0), (True, 0.0)):
        assert set_effects.judged(*sets(*alike, overlap=overlap), "share", MARGIN, 0.95)["share"] == share


# ------------------------------------------------------------------------------------------------------ steps to a loss

MULTIPLES = [0.5, 1.0, 1.5, 2.0]


def curves(**of_arms):
    """Rows of training losses along the runs of one task, given as lists of one replicate each."""
    rows = [
        {"number": 7, "arm": arm, "multiple": m, "metric": "training loss", "tuning": "own"}
        | {f"r{i}": losses[j] for i, losses in enumerate(of_replicates)}
        for arm, of_replicates in of_arms.items()
        for j, m in enumerate(MULTIPLES)
    ]
    return pd.DataFrame(rows)


def falling(rate, start=8.0):
    return [start * math.exp(-rate * m) for m in MULTIPLES]


def test_steps_saved_are_read_where_the_curve_crosses_the_last_loss_of_the_control():
    rows = curves(arm=[falling(3.0, start=16.0), falling(1.0)], control=[falling(2.0), falling(1.5)])
    saved = set_effects.log_steps_saved(rows, "arm", "control")
    assert saved.index.tolist() == [7]
    np.testing.assert_allclose(saved.loc[7], [-math.log((2 + math.log(2)) / 3), -math.log(1.5)], rtol=1e-12)


def test_several_controls_share_the_mean_of_their_logarithms():
    rows = curves(arm=[falling(2.0)], a=[falling(1.0)], b=[falling(3.0)])
    saved = set_effects.log_steps_saved(rows, "arm", ["a", "b"]).loc[7, "r0"]
    assert saved == pytest.approx((math.log(2.0) + math.log(2 / 3)) / 2, rel=1e-12)  # target: the loss of rate 2 at 1


def test_a_loss_that_is_never_or_always_reached_counts_at_the_ends():
    rows = curves(arm=[[9.0] * 4, [1e-6] * 4], control=[falling(2.0), falling(2.0)])
    saved = set_effects.log_steps_saved(rows, "arm", "control").loc[7]
    np.testing.assert_allclose(saved, [-math.log(2), math.log(2)], rtol=1e-12)


def test_a_loss_of_0_has_a_logarithm():
    rows = curves(arm=[falling(3.0)], control=[[1.0, 0.0, 0.0, 0.0]])
    assert np.isfinite(set_effects.log_steps_saved(rows, "arm", "control").loc[7, "r0"])


def test_arms_that_are_not_read_along_their_runs_are_refused():
    rows = curves(arm=[falling(3.0)], control=[falling(2.0)])
    with pytest.raises(ValueError, match="arm must be one whose training loss is read along its runs, got 'arm'"):
        set_effects.log_steps_saved(rows[(rows["arm"] != "arm") | (rows["multiple"] == 1)], "arm", "control")


# ------------------------------------------------------------------------------------------------------- the register

EXPERIMENT = """
about = "a test"
population = "real"
replicates = 4
metrics = ["test loss", "training loss"]
tunings = ["own"]
curves = ["test loss", "training loss"]

[sets.iris]
batch_size = 16
steps = [100, 200]

[sets.wine]
batch_size = 16
steps = [100]

[arms.adamw]
optimizer = "AdamW"
along = true

[arms.lookahead]
optimizer = "Lookahead"
inner = "AdamW"
along = true

[arms.adam]
optimizer = "Adam"
"""
STATEMENT = """
section = "1"
article = "Something."
notebook = "01"

[statement]
says = "Something."
modality = "can"
experiment = "small"
where = { sets = ["iris"], least_steps = 150 }
arm = "lookahead"
controls = ["adamw"]
metric = "steps to the training loss"

[statement.reported.loss]
arm = "lookahead"
controls = ["adamw"]
"""


@pytest.fixture
def registered(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/small.toml").write_text(EXPERIMENT)
    (tmp_path / "C01.toml").write_text(STATEMENT)
    return Path(tmp_path)


def measured():
    rows = curves(adamw=[falling(2.0)] * 4, lookahead=[falling(3.0 + 0.01 * i) for i in range(4)])
    losses = rows.assign(metric="test loss")
    return pd.concat([rows, losses], ignore_index=True)


def described(**changes):
    sizes = {"train_rows": 60, "validation_rows": 20, "test_rows": 20, "overlap": True}
    keys = {"number": 7, "set": "iris", "steps": 200, "class": "saturated", "chance": 4.0}
    return pd.DataFrame([keys | sizes | changes])


def test_a_statement_on_sets_is_judged_by_set_and_task(registered):
    statement = registry.read(registered)["C01"]
    frame = registry.judge(statement, measured(), described(), described())
    assert frame["class"].tolist() == ["all", "iris", "iris, 200 steps"] * 2
    steps = frame[frame["contrast"] == "primary"].iloc[0]
    assert steps["margin"] == pytest.approx(math.log(1.05))
    assert steps["value"] == pytest.approx(np.mean([math.log((3 + 0.01 * i) / 2) for i in range(4)]), rel=1e-9)
    assert steps["verdict"] == "holds, on a share of tasks"
    gap = frame[frame["contrast"] == "loss"].iloc[0]
    control, arm = 8 * math.exp(-2.0), np.mean([8 * math.exp(-3.0 - 0.01 * i) for i in range(4)])
    best = np.mean([8 * math.exp(-6.0 - 0.02 * i) for i in range(4)])  # Lookahead after twice the steps
    assert gap["value"] == pytest.approx((control - arm) / (4.0 - best), rel=1e-9)


def test_tasks_of_other_sets_do_not_count(registered):
    statement = registry.read(registered)["C01"]
    tasks = pd.concat([described(), described(number=8, steps=100), described(number=9, set="wine")])
    frame = registry.judge(statement, measured(), tasks, tasks)
    assert frame["tasks"].tolist() == [1] * 6
    with pytest.raises(ValueError, match="tasks must hold the sets of the statement, got none of iris"):
        registry.judge(statement, measured(), described(set="wine"), described(set="wine"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"iris"', '"digits"', r"C01\.toml\.statement\.where\.sets must be .*digits"),
        ("least_steps = 150", "hidden = true", r"where\.hidden is not known"),
        ("least_steps = 150", "least_steps = 0", r"where\.least_steps must be .*0"),
        ('controls = ["adamw"]\nmetric', 'controls = ["adam"]\nmetric', r"metric must be .*steps to the training loss"),
    ],
)
def test_a_wrong_statement_is_refused_by_its_key(registered, old, new, words):
    assert old in STATEMENT
    (registered / "C01.toml").write_text(STATEMENT.replace(old, new, 1))
    with pytest.raises(ValueError, match=words):
        registry.read(registered)


def test_generated_tasks_have_no_sets_to_choose(registered):
    text = (registered / "C01.toml").read_text().replace('"small"', '"generated"')
    text = text.replace("steps to the training loss", "training loss")
    (registered / "C01.toml").write_text(text)
    generated = EXPERIMENT.replace('population = "real"\n', "")
    first, last = generated.index("[sets.iris]"), generated.index("[arms.adamw]")
    generated = generated[:first] + "[tasks]\nfirst = 3\n\n" + generated[last:]
    (registered / "experiments/generated.toml").write_text(generated)
    with pytest.raises(ValueError, match=r"where\.sets is not known"):
        registry.read(registered)


def test_registered_statements_on_sets_can_be_read():
    found = registry.read()
    on_sets = {name: found[name].where.get("sets") for name in ("C18b", "C19a", "C19b", "C20a", "C23a", "C23b")}
    assert on_sets == {
        "C18b": ["fashion_mnist", "digits"],
        "C19a": ["sms_spam", "banking77"],
        "C19b": ["sms_spam", "banking77"],
        "C20a": None,
        "C23a": None,
        "C23b": ["spoken_digits"],
    }
    assert found["C18a"].untestable


@pytest.mark.parametrize("name", ["C18b", "C19a", "C20a"])
def test_the_verdicts_on_the_committed_rows_change_without_the_sets_that_are_named(name):
    statement = registry.read()[name]
    of = registry.evidence({name: statement})[statement.experiment]

    def judged(sets):
        where = statement.where | {"sets": sets}
        table = registry.judge(replace(statement, where=where, reported={}), *of[1:])
        return table[table["class"] == "all"].iloc[0]

    sets = [*statement.where.get("sets", of.tasks["set"].unique())]
    whole = judged(sets)
    changed = [left for left in sets if judged([one for one in sets if one != left])["verdict"] != whole["verdict"]]
    assert whole["without"] == ", ".join(changed)
