"""The registered statements: their files, refusals, and verdicts on rows that are made by hand."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.claims import conjectures, experiments, inference, modality, registry, screening, shards, trial
from lookahead_nb.provenance import committed, read_table, write_table
from tests.support import small_trial

pytestmark = pytest.mark.no_kernel

EXPERIMENT = """
about = "a test"
replicates = 4

[tasks]
quotas = { "saturated" = 40, "step-limited, short" = 40 }

[arms.adamw]
optimizer = "AdamW"
along = true

[arms.lookahead]
optimizer = "Lookahead"
inner = "AdamW"

[arms.several]
optimizer = "AdamW"
beta1 = [0.5, 0.9]
"""
CLAIM = """
section = "8.3"
article = "Something is better."
notebook = "05_against_adam"

[a]
says = "Lookahead is better."
modality = "plain"
experiment = "one"
arm = "lookahead"
controls = ["adamw"]

[a.reported.error]
arm = "lookahead"
controls = ["adamw"]
metric = "test error"

[b]
says = "It costs."
modality = "advice"
experiment = "one"
arm = "lookahead"
controls = ["adamw"]

[c]
says = "It can."
modality = "can"
untestable = "No data."
"""


@pytest.fixture
def read(tmp_path):
    def from_text(claim=CLAIM):
        (tmp_path / "experiments").mkdir(exist_ok=True)
        (tmp_path / "experiments" / "one.toml").write_text(EXPERIMENT)
        (tmp_path / "C30.toml").write_text(claim)
        return registry.read(tmp_path)

    return from_text


def test_statements_have_an_id_a_contrast_and_the_number_of_contrasts(read):
    statements = read()
    assert [*statements] == ["C30a", "C30b", "C30c"]
    a, _, c = statements.values()
    assert a.primary == registry.Contrast("lookahead", ("adamw",))
    assert a.reported == {"error": registry.Contrast("lookahead", ("adamw",), "test error")}
    assert (a.contrasts, a.section, a.experiment) == (2, "8.3", "one")
    assert (c.untestable, c.primary) == ("No data.", None)
    single = read(CLAIM.split("[a.reported")[0].replace("[a]", "[statement]"))
    assert [*single] == ["C30"]
    assert single["C30"].contrasts == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('modality = "plain"', "", "C30.toml.a.modality must be one of"),
        ('modality = "plain"', 'modality = "always"', "C30.toml.a.modality must be one of"),
        ('experiment = "one"', 'experiment = "two"', "C30.toml.a.experiment must be one of 'one', got 'two'"),
        ('arm = "lookahead"', 'arm = "lookahaed"', "C30.toml.a.arm must be one of"),
        ('controls = ["adamw"]', 'controls = ["lookahead"]', "C30.toml.a.controls must be other arms"),
        ('controls = ["adamw"]', "controls = []", "C30.toml.a.controls must be a list"),
        ('metric = "test error"', 'metric = "accuracy"', "C30.toml.a.reported.error.metric must be one of"),
        ('metric = "test error"', 'metric = "test error"\ntuning = "others"', "tuning must be 'own' with the metric"),
        ('says = "Lookahead is better."', "", "C30.toml.a.says must be text"),
        ('arm = "lookahead"', 'arm = "lookahead"\nmargin = 0.1', "C30.toml.a.margin is not known"),
        ('arm = "lookahead"', 'arm = "lookahead"\nwhere = { rows = 3 }', "C30.toml.a.where.rows is not known"),
        ('arm = "lookahead"', 'arm = "lookahead"\nwhere = { hidden = false }', "where.hidden must be one of"),
        ('arm = "lookahead"', 'arm = "lookahead"\nharmless = true', "C30.toml.a.harmless must be false"),
        ('untestable = "No data."', 'untestable = "No data."\narm = "adamw"', "C30.toml.c.arm is not known"),
        ("[a]", "[first]", "C30.toml.first is not known: a statement is named by a letter"),
        ('section = "8.3"', "", "C30.toml.section must be text"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_by_its_key(read, old, new, words):
    with pytest.raises(ValueError, match=re.escape(words) if "[" in words else words):
        read(CLAIM.replace(old, new, 1))


def test_a_claim_with_more_statements_than_its_tasks_resolve_is_refused(read, monkeypatch):
    few = EXPERIMENT.replace('quotas = { "saturated" = 40, "step-limited, short" = 40 }', "first = 6")
    monkeypatch.setitem(globals(), "EXPERIMENT", few)
    with pytest.raises(ValueError, match=r"C30\.toml\.a\.experiment must have 7 tasks or more, or the claim fewer"):
        read()
    monkeypatch.setitem(globals(), "EXPERIMENT", few.replace("first = 6", "first = 7"))
    assert [*read()] == ["C30a", "C30b", "C30c"]


def test_a_claim_without_statements_is_refused(read):
    with pytest.raises(ValueError, match=r"C30.toml.a table must be there for each statement"):
        read(CLAIM.split("[a]")[0])


# --------------------------------------------------------------------------------------------------------- verdicts

LIMITED, SATURATED = 30, 20


def tasks():
    numbers = np.arange(LIMITED + SATURATED)
    return pd.DataFrame({
        "number": numbers, "class": np.where(numbers < LIMITED, "step-limited, short", "saturated"),
        "hidden": np.where(numbers % 2, "32", ""), "label_noise": numbers / 100, "chance": 3.0, "loss": 1.5,
        "loss_twice": 1.4,
    })  # fmt: skip


def drawn():
    """Saturated tasks are four times as frequent as step-limited ones."""
    frame = tasks()
    more = pd.concat([frame[frame["class"] == "saturated"]] * 6, ignore_index=True)
    more = more[:100].assign(number=10 + np.arange(100) % 39 + np.arange(100) / 1000 + 0.5)
    return pd.concat([frame, more], ignore_index=True).sort_values("number", ignore_index=True)


def named(values):
    return {f"r{i}": value for i, value in enumerate(values)}


def rows(gain):
    """A log gain for each task; AdamW's loss falls by .1 with each doubling on step-limited tasks."""
    found, rng = [], np.random.default_rng(5)
    for number in range(LIMITED + SATURATED):
        noise = 0.002 * rng.normal(size=4)
        slope = 0.1 if number < LIMITED else 0.0
        for m in inference.MULTIPLES:
            found.append(("adamw", number, m, "test loss", 1.5 * np.exp(-slope * math.log2(m)) * np.ones(4)))
        found.append(("lookahead", number, 1.0, "test loss", 1.5 * np.exp(noise - gain[number])))
        for arm, error in (("adamw", 0.30), ("lookahead", 0.30 - gain[number])):
            found.append((arm, number, 1.0, "test error", np.full(4, error) + noise * (arm == "lookahead")))
    frame = pd.DataFrame([
        {"number": n, "arm": arm, "multiple": m, "metric": metric, "tuning": "own"} | named(values)
        for arm, n, m, metric, values in found
    ])  # fmt: skip
    return frame


def of(found, contrast, kind):
    (row,) = found[(found["contrast"] == contrast) & (found["class"] == kind)].to_dict("records")
    return row


def test_the_declared_population_weights_classes_by_their_frequency(read):
    gain = np.where(np.arange(LIMITED + SATURATED) < LIMITED, 0.05, 0.0)
    found = registry.judge(read()["C30a"], rows(gain), tasks(), drawn())
    whole, limited, saturated = (of(found, "primary", kind) for kind in ("all", "step-limited", "saturated"))
    share = LIMITED / 150
    assert (whole["tasks"], limited["tasks"], saturated["tasks"]) == (50, 30, 20)
    assert whole["value"] == pytest.approx(share * limited["value"] + (1 - share) * saturated["value"], rel=1e-12)
    of_task = tasks().set_index("number")
    benefits = trial.shares_of_gap(rows(gain), of_task["chance"], "lookahead", "adamw", known=of_task["loss_twice"])
    expected = inference.stratified(
        benefits.to_numpy(), tasks()["class"], {"step-limited, short": 30, "saturated": 120}, level=0.975
    )
    assert (whole["low"], whole["high"]) == pytest.approx(expected.mean[1:], rel=1e-9)
    assert (whole["share"], whole["share_low"]) == pytest.approx(expected.share[:2], rel=1e-9)
    assert limited["steps"] == pytest.approx(2 ** (0.05 / 0.1), rel=0.02)
    assert math.isnan(saturated["steps"])
    assert limited["verdict"] == "holds, and matters"
    assert saturated["verdict"] == "no difference that matters"


def test_gaps_end_at_the_best_loss_known_from_anywhere(read):
    gain = np.full(LIMITED + SATURATED, 0.01)
    found = registry.judge(read()["C30a"], rows(gain), tasks(), drawn())
    lower = registry.judge(read()["C30a"], rows(gain), tasks().assign(loss_twice=1.0), drawn())
    for kind in ("saturated", "step-limited, short"):
        assert of(lower, "primary", kind)["value"] < 0.85 * of(found, "primary", kind)["value"]
        assert of(lower, "error", kind)["value"] == of(found, "error", kind)["value"]


def test_an_advice_is_judged_by_its_regret(read):
    gain = np.full(LIMITED + SATURATED, -0.05)
    found = registry.judge(read()["C30b"], rows(gain), tasks(), drawn())
    row = of(found, "primary", "saturated")
    assert row["value"] == pytest.approx(1.5 * (math.exp(0.05) - 1) / (3.0 - 1.4), rel=0.02)
    assert row["verdict"] == "it costs"


def test_a_forecast_is_measured_and_not_judged(read):
    gain = np.full(LIMITED + SATURATED, 0.05)
    forecast = read(CLAIM.replace('modality = "plain"', 'modality = "forecast"'))["C30a"]
    found = registry.judge(forecast, rows(gain), tasks(), drawn())
    assert {*found["verdict"]} == {"a forecast: not judged"}
    plain = registry.judge(read()["C30a"], rows(gain), tasks(), drawn())
    assert plain["verdict"].str.startswith("holds").all()
    measured = [name for name in found if name not in ("verdict", "needed")]
    pd.testing.assert_frame_equal(found[measured], plain[measured])
    with pytest.raises(ValueError, match="harmless must be false with the modality 'forecast'"):
        read(CLAIM.replace('modality = "plain"', 'modality = "forecast"\nharmless = true'))


def test_can_and_harmless(read):
    harmful = np.where(np.arange(LIMITED + SATURATED) % 2, -0.2, -0.001)
    for harmless, verdict in ((False, "cannot tell"), (True, "holds, on a share of tasks")):
        claim = CLAIM.replace('modality = "plain"', f'modality = "can"\nharmless = {str(harmless).lower()}')
        found = registry.judge(read(claim)["C30a"], rows(harmful), tasks(), drawn())
        assert of(found, "primary", "all")["tasks"] == 11  # the draw goes on with one that is not among them
        row = of(found, "primary", "step-limited")
        assert row["verdict"] == verdict
        assert row["share"] == (0.5 if harmless else 0.0)


def test_where_leaves_some_of_the_tasks(read):
    gain = np.full(LIMITED + SATURATED, 0.01)
    for where, count in (("hidden = true", 25), ("least_label_noise = 0.4", 10), ("most_label_noise = 0.09", 10)):
        claim = CLAIM.replace('arm = "lookahead"', f'arm = "lookahead"\nwhere = {{ {where} }}', 1)
        found = registry.judge(read(claim)["C30a"], rows(gain), tasks(), drawn())
        assert of(found, "primary", "all")["tasks"] == count
    claim = CLAIM.replace('arm = "lookahead"', 'arm = "lookahead"\nwhere = { least_label_noise = 0.9 }', 1)
    with pytest.raises(ValueError, match="where must leave at least 2 tasks, got 0"):
        registry.judge(read(claim)["C30a"], rows(gain), tasks(), drawn())


def test_an_untestable_statement_is_not_judged(read):
    with pytest.raises(ValueError, match="statement must be a testable one, got C30c"):
        registry.judge(read()["C30c"], rows(np.zeros(50)), tasks(), drawn())


def test_every_task_is_a_dot_and_every_class_has_a_mean(read, tmp_path):
    claim = CLAIM.replace("[a.reported.error]", "[a.reported.loss]").replace('metric = "test error"\n', "")
    statement, table = read(claim)["C30a"], rows(np.linspace(-0.1, 0.1, LIMITED + SATURATED))
    experiment = experiments.read("one", tmp_path / "experiments" / "one.toml")
    evidence = registry.Evidence(experiment, table, tasks(), drawn())
    judged = registry.judge(statement, table, tasks(), drawn())
    compared, found = {"shown": ("C30a", "loss")}, {"one": evidence}
    points = registry.every_task(compared, {"C30a": statement}, found, judged)
    dots, means = points[points["number"] >= 0], points[points["number"] < 0]
    assert dots["number"].tolist() == tasks()["number"].tolist()
    assert {*points["comparison"]} == {"shown"}
    expected = 100 * registry.benefits(statement.primary, evidence).mean(axis=1)
    np.testing.assert_allclose(dots["benefit"], expected, rtol=1e-12)
    for _, mean in means[means["class"] != "all"].iterrows():
        own = dots.loc[dots["class"] == mean["class"], "benefit"]
        assert mean["benefit"] == pytest.approx(own.mean(), rel=1e-9)
        assert mean["next_low"] < mean["low"] < mean["high"] < mean["next_high"]
    assert sorted(means["class"]) == ["all", "saturated", "step-limited, short"]


def test_the_cost_of_an_advice_is_shown_as_a_negative_benefit(read, tmp_path):
    statement, table = read()["C30b"], rows(np.full(LIMITED + SATURATED, 0.1))
    experiment = experiments.read("one", tmp_path / "experiments" / "one.toml")
    evidence = registry.Evidence(experiment, table, tasks(), drawn())
    judged = registry.judge(statement, table, tasks(), drawn())
    points = registry.every_task({"cost": ("C30b", "primary")}, {"C30b": statement}, {"one": evidence}, judged)
    saturated = points[points["class"] == "saturated"]
    own, mean = saturated.loc[saturated["number"] >= 0, "benefit"].mean(), saturated[saturated["number"] < 0].iloc[0]
    assert mean["low"] <= mean["benefit"] <= mean["high"]
    assert mean["benefit"] == pytest.approx(own, rel=1e-9)
    assert -100 * judged.loc[judged["class"] == "saturated", "value"].item() == pytest.approx(own, rel=1e-9)


def test_ranges_of_rates_are_means_over_tasks(tmp_path, read):
    read()
    path = tmp_path / "experiments" / "one.toml"
    path.write_text(EXPERIMENT.replace("[tasks]", 'ranges_of = ["lookahead", "adamw"]\n\n[tasks]'))
    experiment = experiments.read("one", path)
    wide = {"lookahead": 2.0, "adamw": 1.0}
    table = pd.DataFrame([
        {"number": n, "arm": arm, "multiple": 1.0, "metric": metric, "tuning": "own", "r0": octaves + n, "r1": octaves}
        for n in (1, 2, 3) for arm, octaves in wide.items() for metric in trial.RANGES
    ])  # fmt: skip
    octaves = registry.ranges(registry.Evidence(experiment, table, tasks(), drawn())).set_index(["arm", "within"])
    assert octaves.loc[("lookahead", 2), "value"] == pytest.approx(2 + 1)
    assert octaves.loc[("adamw", 5), ["more", "more_low", "more_high"]].tolist() == [-1, -1, -1]
    assert octaves.loc[("lookahead", 1), "more"] == 0
    (tmp_path / "plain.toml").write_text(EXPERIMENT)
    with pytest.raises(ValueError, match="found must have ranges of rates, got the experiment 'one'"):
        registry.ranges(registry.Evidence(experiments.read("one", tmp_path / "plain.toml"), table, tasks(), drawn()))


# -------------------------------------------------------------------------------------------------- the committed ones


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "SHARD", 2)
    small_trial.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_committed_verdicts_belong_to_statements_entries_and_rows(small):
    statements = registry.read()
    with pytest.raises(FileNotFoundError, match=r"statements.json is missing next to statements.csv"):
        registry.committed(statements)
    judged = registry.judge_all(statements, registry.evidence(statements))
    entry = registry.evidence_sha256(statements)
    write_table(judged, "statements", folder=small / "data/results", entry=entry)
    pd.testing.assert_frame_equal(registry.committed(statements), judged, check_dtype=False)
    assert registry.evidence_sha256(statements, small / "data/results") == entry
    hashes, claim = {entry}, small / "data/claims/C30.toml"
    claim.write_text(claim.read_text().replace("Lookahead is better.", "It is better."))
    hashes.add(registry.evidence_sha256(registry.read()))
    rows = read_table(small / "data/results/one/00.csv")
    write_table(rows.assign(rates=2), "00", folder=small / "data/results/one", entry="abc")
    hashes.add(registry.evidence_sha256(statements))
    (small / "data/results/one/01.csv").unlink()
    hashes.add(registry.evidence_sha256(statements))
    screened = read_table(small / "data/results/screening.csv")
    write_table(screened.assign(chance=2.0), "screening", folder=small / "data/results", entry="abc")
    hashes.add(registry.evidence_sha256(statements))
    path = small / "data/claims/experiments/one.toml"
    path.write_text(path.read_text().replace("lr = 0.01", "lr = 0.02", 1))
    hashes.add(registry.evidence_sha256(registry.read()))
    hashes.add(registry.evidence_sha256({name: one for name, one in statements.items() if name != "C31"}))
    assert len(hashes) == 6
    with pytest.raises(shards.OutdatedError, match=r"statements.csv must belong to the statements and rows as regist"):
        registry.committed(statements)


def test_every_committed_statement_can_be_read():
    statements = registry.read()
    assert {statement.modality for statement in statements.values()} <= {*modality.MODALITIES}
    for statement in statements.values():
        assert (statement.primary is None) == bool(statement.untestable)
        assert committed(f"notebooks/source/{statement.notebook}.py").is_file()
    names = {path.stem for path in committed(experiments.FOLDER).glob("*.toml")}
    used = {statement.experiment for statement in statements.values()} - {""}
    assert used | {conjecture.experiment for conjecture in conjectures.read().values()} >= names
    assert used <= names


def test_no_code_reads_the_predictions():
    for path in committed("lookahead_nb").rglob("*.py"):
        assert "predictions.toml" not in path.read_text() or path.name == "registry.py"
    assert "predictions.toml" not in registry._statements.__code__.co_consts
    assert screening.QUOTAS
