"""A statement measured again: which tasks and arms are trained, and how the estimates are made."""

import numpy as np
import pytest

from lookahead_nb.claims import experiments, fresh, registry
from tests.support import small_trial


@pytest.fixture
def statements(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "SHARD", 2)
    small_trial.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return registry.read()


@pytest.mark.no_kernel
def test_the_arms_are_those_of_the_primary_contrast(statements):
    plan = fresh.planned(statements["C30a"], 1, 3)
    assert [*plan.experiment.arms] == ["adamw", "lookahead"]
    assert [*plan.statement.reported] == ["error"]
    assert plan.runs == 3 * 2 * 2
    assert [*fresh.planned(statements["C30b"], 1, 3).experiment.arms] == ["lookahead", "adam"]


@pytest.mark.no_kernel
def test_the_attempt_chooses_among_the_quick_tasks(statements):
    experiment = experiments.read("one")
    tasks = experiment.chosen(experiments.screening_table())
    quick = {*tasks.loc[tasks["steps"] <= tasks["steps"].median(), "number"]}
    chosen = [{*fresh.planned(statements["C30a"], attempt, 2).tasks["number"]} for attempt in range(1, 60)]
    assert all(len(numbers) == 2 and numbers <= quick for numbers in chosen)
    assert set().union(*chosen) == quick


@pytest.mark.no_kernel
def test_tasks_are_those_of_the_statement(tmp_path, statements):
    path = tmp_path / "data/claims/C30.toml"
    path.write_text(path.read_text().replace("most_label_noise = 0.9", "most_label_noise = 0.1"))
    before = fresh.planned(statements["C30b"], 1, 8).tasks
    plan = fresh.planned(registry.read()["C30b"], 1, 8)
    assert 2 <= len(plan.tasks) < len(before)
    assert plan.tasks["label_noise"].max() <= 0.1


@pytest.mark.no_kernel
def test_every_task_counts_the_same(statements):
    plan = fresh.planned(statements["C30a"], 2, 3)
    rows = small_trial.rows_by_hand(experiments.read("one"), small_trial.numbers())
    found = plan.judge(rows).set_index(["contrast", "class"])
    errors = rows[rows["metric"] == "test error"].set_index(["arm", "number"])[["r0", "r1"]]
    own = plan.tasks["number"]
    difference = (errors.loc["adamw"] - errors.loc["lookahead"]).loc[own]
    assert found.loc[("error", "all"), "value"] == pytest.approx(np.mean(difference.to_numpy()), rel=1e-9)
    assert found.loc[("error", "all"), "tasks"] == len(own) == 3
    assert ("adam", "all") not in found.index


@pytest.mark.jit
def test_at_the_registered_seeds_the_rows_are_the_registered_ones(statements):
    plan = fresh.planned(statements["C30a"], 1, 2)
    experiment = experiments.read("one")
    registered = experiment.measure(plan.tasks, progress=False)
    again = plan.experiment.measure(plan.tasks, progress=False)
    for arm in ("adamw", "lookahead"):
        one, other = (rows.loc[rows["arm"] == arm, ["r0", "r1"]].to_numpy() for rows in (registered, again))
        np.testing.assert_array_equal(one, other)
    assert plan.measure(progress=False)["r0"].ne(again["r0"]).any()


@pytest.mark.no_kernel
@pytest.mark.parametrize(
    ("of", "attempt", "number", "words"),
    [
        ("C30c", 1, 2, "C30c cannot be tested here: No images here."),
        ("C30a", 0, 2, "--fresh must be a whole number of at least 1, got 0"),
        ("C30a", 1, 1, "--tasks must be a whole number of at least 2, got 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(statements, of, attempt, number, words):
    with pytest.raises(ValueError, match=words):
        fresh.planned(statements[of], attempt, number)


@pytest.mark.no_kernel
def test_sets_that_are_not_there_are_named(monkeypatch):
    of_sets = [one for one in registry.read().values() if one.population == "real"]
    for one in experiments.read(of_sets[0].experiment).sets.values():
        monkeypatch.setattr(type(one), "available", property(lambda self: False))
    with pytest.raises(ValueError, match=r"needs two tasks whose data is available locally, got 0: load \w+"):
        fresh.planned(of_sets[0], 1, 2)


@pytest.mark.no_kernel
def test_steps_of_adamw_and_the_base_of_convergence_are_trained_too():
    statements = registry.read()
    trial = fresh.planned(statements["C08a"], 1, 2).experiment
    assert "adamw" in trial.arms
    assert "adam" in trial.arms
    of_steps = next(one for one in statements.values() if one.experiment == "convergence" and one.primary)
    assert next(iter(fresh.planned(of_steps, 1, 2).experiment.arms)) == "retention_0_5"
