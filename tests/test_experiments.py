"""Registered experiments: their files, their tasks, wider grids, and shards that are kept or refused."""

import json
import pathlib
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from test_screening import small_task

import lookahead_nb as lnb
from lookahead_nb.claims import experiments, population, screening, trial, trial_arms
from lookahead_nb.claims.shards import OutdatedError
from lookahead_nb.provenance import read_table, write_table

ROOT = pathlib.Path(__file__).parent.parent
ENTRY = """
about = "a test"
replicates = 2
metrics = ["test loss"]
tunings = ["own"]

[tasks]
first = 3
least_rows = 600
most_steps = 100

[arms.adamw]
optimizer = "AdamW"
lr = 0.01
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text, name="test"):
        (tmp_path / f"{name}.toml").write_text(text)
        return experiments.read(name, tmp_path / f"{name}.toml")

    return from_text


def screened():
    """Tasks in no order; 4 and 5 do not fit the entry."""
    rows = [(9, 700, 40), (1, 600, 100), (2, 800, 60), (4, 500, 40), (5, 900, 120), (3, 900, 40), (6, 900, 40)]
    frame = pd.DataFrame(rows, columns=["number", "rows", "steps"])
    return frame.assign(regime=["saturated"] * 5 + ["hopeless", "step-limited"], centre=0.01)


@pytest.mark.no_kernel
def test_tasks_are_the_first_that_fit(read):
    experiment = read(ENTRY)
    assert experiment.drawn(screened())["number"].tolist() == [1, 2, 6, 9]
    chosen = experiment.chosen(screened())
    assert chosen["number"].tolist() == [1, 2, 6]
    assert chosen["class"].tolist() == ["saturated", "saturated", "step-limited, short"]


@pytest.mark.no_kernel
def test_tasks_by_quota(read):
    tasks = ENTRY[: ENTRY.index("[tasks]")] + '[tasks]\nquotas = { "saturated" = 2 }\n' + ENTRY[ENTRY.index("[arms") :]
    experiment = read(tasks)
    assert experiment.chosen(screened())["number"].tolist() == [1, 2]
    assert experiment.drawn(screened())["number"].tolist() == [1, 2, 4, 5, 6, 9]


OWN = ENTRY.replace(
    "first = 3\nleast_rows = 600\nmost_steps = 100", "draw = [60_000, 60_005]\nsteps = [20, 40]\nstep_limited = 1"
)


@pytest.mark.no_kernel
def test_tasks_of_an_own_draw_are_the_first_step_limited_of_each_length(read):
    experiment = read(OWN)
    rows = [(60_004, 20, "step-limited"), (60_000, 20, "saturated"), (60_002, 20, "step-limited")]
    rows += [(60_003, 40, "step-limited"), (60_001, 40, "hopeless")]
    table = pd.DataFrame(rows, columns=["number", "steps", "regime"]).assign(rows=600, centre=0.01)
    assert experiment.drawn(table)["number"].tolist() == [60_000, 60_002, 60_003, 60_004]
    assert experiment.chosen(table)["number"].tolist() == [60_002, 60_003]
    assert [experiment.generated(number).steps for number in range(60_000, 60_003)] == [20, 40, 20]
    assert experiment.generated(60_001).features == population.generated(60_001).features
    assert not {*experiment.screening_seeds} & {*experiments.screening_seeds(), *experiment.seeds()}


@pytest.mark.no_kernel
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("60_000, ", "", r"draw must be two rising numbers from 12000 on, got \[60005\]"),
        ("60_000", "11_000", r"draw must be two rising numbers from 12000 on, got \[11000, 60005\]"),
        ("[20, 40]", "20", r"tasks\.steps must be a list of whole numbers, got 20"),
        ("[20, 40]", "[20, 0]", r"tasks\.steps\[1\] must be .*got 0"),
        ("step_limited = 1", "", r"tasks\.step_limited must be"),
        ("step_limited = 1", "step_limited = 1\nfirst = 3", r"tasks\.first is not known"),
        ("[tasks]", 'kind = "convergence"\n[tasks]', "kind must be one of 'tuned'"),
    ],
)
def test_an_own_draw_that_is_wrong_is_refused_by_its_key(read, old, new, words):
    with pytest.raises(ValueError, match=words):
        read(OWN.replace(old, new, 1))


@pytest.mark.no_kernel
def test_the_hash_covers_all_but_the_purpose_and_decides_the_seeds(read, monkeypatch):
    experiment = read(ENTRY)
    assert read(ENTRY.replace("a test", "another")).sha256 == experiment.sha256
    others = [read(ENTRY.replace("0.01", "0.02")), read(ENTRY.replace("first = 3", "first = 4"))]
    monkeypatch.setitem(population.RANGES, "sharpness", population.Range(3, 25, log=True))
    others.append(read(ENTRY))
    assert len({each.sha256 for each in others} | {experiment.sha256}) == 4
    assert len({*experiment.seeds(), *experiment.seeds(1), *others[0].seeds()}) == 6


@pytest.mark.no_kernel
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("replicates = 2", "replicates = 1", "replicates must be"),
        ("replicates = 2", "replicas = 2", "replicas is not known"),
        ("first = 3", "", "tasks.first must be given, or quotas"),
        ("first = 3", 'first = 3\nquotas = { "saturated" = 2 }', "tasks.first must be given, or quotas, and not both"),
        ("first = 3", "first = 0", "tasks.first must be"),
        ("first = 3", "start = 3", "tasks.start is not known"),
        ('"test loss"', '"test"', "metrics must be one of"),
        ('tunings = ["own"]', 'tunings = ["mine"]', "tunings must be one of"),
        ("[tasks]", 'ranges_of = ["adam"]\n[tasks]', "ranges_of must be one of 'adamw'"),
        ("[tasks]", 'widened_for = ["test error"]\n[tasks]', "widened_for must be one of 'test loss'"),
        ("[tasks]", 'centres = "Adam"\n[tasks]', "centres must be one of"),
        ("[tasks]", 'kind = "best"\n[tasks]', "kind must be one of"),
        ('"AdamW"', '"Adamw"', "arms.adamw.optimizer must be one of"),
        ('about = "a test"', "", "about must be text"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_by_its_key(read, old, new, words):
    with pytest.raises(ValueError, match=words):
        read(ENTRY.replace(old, new, 1))


@pytest.fixture
def small(read, monkeypatch):
    """An experiment on one quick task, with its screening."""
    text = ENTRY.replace("first = 3\nleast_rows = 600\nmost_steps = 100", "first = 1")
    task = population.population([small_task()]).reset_index()
    table = task.assign(regime="saturated", centre=0.01, chance=1.0)
    monkeypatch.setattr(experiments, "screening_table", lambda experiment=None: table)
    return read(text)


@pytest.mark.jit
def test_shards_are_measured_once_and_refused_under_another_entry(small, read, tmp_path):
    folder = tmp_path / "rows"
    (path,) = experiments.run(small, folder=folder, progress=False)
    assert path == folder / "00.csv"
    kept = experiments.results(small, folder)
    direct = trial.measure(
        pd.DataFrame({"number": [small_task()], "centre": [0.01]}), small.arms, small.seeds(), metrics=["test loss"],
        tunings=["own"], progress=False,
    )  # fmt: skip
    pd.testing.assert_frame_equal(kept[list(direct)], direct)
    assert experiments.run(small, folder=folder, progress=False) == []
    other = read(ENTRY.replace("0.01", "0.02"), "other")
    for refused in (lambda: experiments.run(other, [0], folder=folder), lambda: experiments.results(other, folder)):
        with pytest.raises(OutdatedError, match=r"00.csv must belong to the experiment 'other' as registered"):
            refused()


@pytest.mark.no_kernel
def test_runs_are_counted_by_arms_rates_and_replicates(read):
    tasks = pd.DataFrame({"number": range(5)})
    tuned = '\n[arms.lookahead]\noptimizer = "Lookahead"\ninner = "AdamW"\nsync_period = [5, 10]\n'
    assert read(ENTRY).runs(tasks) == 5 * 2
    assert read(ENTRY + tuned).runs(tasks) == 5 * 2 * (1 + 2 * trial_arms.RATES)
    convergence = experiments.read("convergence")
    assert convergence.runs(tasks) == 5 * 12 * 6 * 25
    chunked = experiments.read("real_sets")
    several = pd.DataFrame({"set": ["a9a", "digits"]})
    counts = [of.replicates(chunked.replicates) for of in (chunked.sets["a9a"], chunked.sets["digits"])]
    assert chunked.runs(several) == sum(trial_arms.runs_per_task(chunked.arms, count) for count in counts)


@pytest.mark.no_kernel
def test_missing_rows_are_named(small, tmp_path):
    with pytest.raises(FileNotFoundError, match="test has 0 of 1 shards yet"):
        experiments.results(small, tmp_path / "test")


@pytest.mark.jit
def test_own_centres_are_the_best_rates_of_the_inner_optimizer_alone(read):
    text = ENTRY.replace("replicates = 2", 'replicates = 2\ncentres = "own"').replace("lr = 0.01", "")
    text += '[arms.sgd]\noptimizer = "SGD"\n\n[arms.of_sgd]\noptimizer = "Lookahead"\ninner = "SGD"\n'
    experiment, task = read(text), population.generated(small_task())
    grids = {name: arm.grids[0] for name, arm in experiment.arms.items()}
    assert experiments._alone(grids["sgd"]) == experiments._alone(grids["of_sgd"]) != experiments._alone(grids["adamw"])
    found = screening.centres(
        [task], {"sgd": grids["sgd"].inner, "adamw": grids["adamw"].inner}, [1, 2], progress=False
    )
    rates = screening._wide(task)
    assert len(rates) == screening.WIDE_RATES
    for name in ("sgd", "adamw"):
        losses = np.array([
            [
                lookahead_loss(task, grids[name].inner(lr, task.steps), seed)
                for lr in rates
            ]
            for seed in (1, 2)
        ])  # fmt: skip
        best = np.log(np.array(rates)[np.where(np.isnan(losses), np.inf, losses).argmin(axis=1)])
        assert found[task.number, name] == pytest.approx(np.exp(best.mean()), rel=1e-3)


def lookahead_loss(task, opt, seed):
    run = lnb.train(
        task.model, task.replicate(seed), opt, steps=task.steps, batch_size=task.batch_size, seed=seed, eval_at=[],
        eval_rows=population.EVALUATED,
    )  # fmt: skip
    return run.history["validation_loss"].iloc[-1]


@pytest.mark.no_kernel
def test_the_committed_screening_belongs_to_the_declared_population(monkeypatch):
    table = experiments.screening_table()
    assert table["number"].tolist() == [*experiments.SCREENED]
    assert not {*experiments.screening_seeds()} & {
        seed for name in registered() for seed in experiments.read(name).seeds()
    }
    monkeypatch.setitem(population.RANGES, "sharpness", population.Range(3, 25, log=True))
    with pytest.raises(OutdatedError, match=r"screening.csv must belong to the declared population as registered"):
        experiments.screening_table()


def registered():
    return sorted(path.stem for path in (ROOT / experiments.FOLDER).glob("*.toml"))


@pytest.mark.no_kernel
def test_seeds_follow_from_the_hash_and_the_attempt():
    seeds = {attempt: population.seeds_of("abc", 50, attempt) for attempt in (0, 1, 2)}
    assert seeds[0][:7] == population.seeds_of("abc", 7)
    assert seeds[0][0] == 2**32 + int.from_bytes(sha256(b"abc 0 0").digest()[:6]) % (2**48 - 2**32)
    several = [*seeds[0], *seeds[1], *seeds[2], *population.seeds_of("abd", 50)]
    assert len({*several}) == 200
    assert all(2**32 <= seed < 2**48 for seed in several)
    with pytest.raises(ValueError, match="attempt must be a whole number of at least 0, got -1"):
        population.seeds_of("abc", 3, -1)


@pytest.mark.no_kernel
def test_seeds_differ_between_experiments():
    seeds = [seed for name in registered() for seed in experiments.read(name).seeds()]
    assert len({*seeds}) == len(seeds)


@pytest.mark.no_kernel
@pytest.mark.parametrize("name", registered())
def test_committed_rows_are_complete(name):
    experiment = experiments.read(name)
    chosen = experiment.chosen(experiments.screening_table(experiment))
    rows = experiments.results(experiment)
    assert rows["number"].drop_duplicates().tolist() == chosen["number"].tolist()
    assert {*rows["arm"]} == {*experiment.arms}
    assert not rows.duplicated(trial.KEYS).any()


@pytest.mark.jit
def test_the_manifest_names_the_entry(small, tmp_path):
    folder = tmp_path / "rows"
    (path,) = experiments.run(small, folder=folder, progress=False)
    assert json.loads(path.with_suffix(".json").read_text())["entry"] == small.sha256
    assert trial_arms.runs_per_task(small.arms, 2) == 2


@pytest.mark.jit
def test_rows_that_are_not_those_of_their_runs_are_named(small, tmp_path):
    folder = tmp_path / "rows"
    (path,) = experiments.run(small, folder=folder, progress=False)
    numbers = experiments.to_recompute(small, "abc")
    assert numbers == [small_task()]
    assert experiments.differing(small, numbers, folder, progress=False) == []
    assert experiments.differing(small, [], folder, progress=False) == []
    kept = read_table(path)
    column = "r1: test loss, own"
    write_table(kept.assign(**{column: kept[column] * (1 + 1e-7)}), "00", folder=folder, entry=small.sha256)
    (sentence,) = experiments.differing(small, numbers, folder, progress=False)
    assert f"task {small_task()}: its committed rows are not those of its runs" in sentence


@pytest.mark.no_kernel
def test_a_commit_chooses_tasks_with_few_steps():
    experiment = experiments.read("trial")
    tasks = experiment.chosen(experiments.screening_table()).set_index("number")
    chosen = [experiments.to_recompute(experiment, words, 3) for words in ("a", "a", "b")]
    assert chosen[0] == chosen[1] != chosen[2]
    assert tasks.loc[chosen[0] + chosen[2], "steps"].max() <= tasks["steps"].median()
