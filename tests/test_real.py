"""Tasks on real data sets: their replicates, rows recomputed by runs alone, and files that are refused."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_screening import small_task

import lookahead_nb as lnb
from lookahead_nb.claims import experiments, population, real, screening
from lookahead_nb.claims.shards import OutdatedError
from lookahead_nb.datasets import DOWNLOADED

pytest.importorskip("sklearn")

REGISTERED = ("real_sets", "sparse_counts", "recommendation", "letters")

SMALL = """
about = "a test"
population = "real"
replicates = 5
metrics = ["test loss", "training loss"]
tunings = ["own"]
curves = ["test loss", "training loss"]

[sets.digits]
hidden = [4]
batch_size = 16
steps = [20]
rows = 150
chunks = 4

[sets.iris]
batch_size = 16
steps = [20, 40]

[sets.words]
columns = 16
classes = 3
words = 4
rows = 60
batch_size = 16
steps = [20]

[arms.adamw]
optimizer = "AdamW"
along = true

[arms.lookahead]
optimizer = "Lookahead"
inner = "AdamW"
sync_period = 5
slow_step_size = 0.5
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("registered") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def experiment(path):
    return experiments.read("small", path)


@pytest.fixture(scope="module")
def screened(experiment):
    return experiments.screen_own(experiment, progress=False)


@pytest.fixture(scope="module")
def rows(experiment, screened):
    return experiment.measure(screened, progress=False)


def rows_of(data):
    return {*data.rows_train.tolist(), *data.rows_validation.tolist(), *data.rows_test.tolist()}


def check_chunks(tasks, screening_seeds):
    """Replicates of a set in chunks share no row, and none with the screening."""
    for task in tasks:
        if task.of.chunks:
            seeds = [*task.seeds, screening_seeds[0]]
            parts = [rows_of(task.replicate(seed)) for seed in seeds]
            assert len(seeds) == task.of.chunks + 1
            assert len(set().union(*parts)) == sum(map(len, parts)) == len(seeds) * task.of.rows
            assert rows_of(task.replicate(screening_seeds[1])) == parts[-1]


@pytest.mark.no_kernel
def test_chunks_of_replicates_and_of_the_screening_share_no_row(experiment):
    check_chunks(experiment.real_tasks(), experiment.screening_seeds)


@pytest.mark.no_kernel
@pytest.mark.parametrize("name", REGISTERED)
def test_chunks_of_registered_sets_share_no_row(name):
    registered = experiments.read(name)
    tasks = [task for task in registered.real_tasks() if task.of.data in DOWNLOADED]
    if not (os.environ.get("LOOKAHEAD_NB_DATA") and all(task.of.available for task in tasks)):
        pytest.skip("needs LOOKAHEAD_NB_DATA with all data sets")
    check_chunks([task for task in tasks if task.steps == task.of.steps[0]], registered.screening_seeds)


@pytest.mark.no_kernel
def test_a_set_has_as_many_replicates_as_chunks_and_tasks_for_all_steps(experiment):
    tasks = experiment.real_tasks()
    assert [(task.of.name, task.steps, len(task.seeds)) for task in tasks] == [
        *(("digits", 20, 4), ("iris", 20, 5), ("iris", 40, 5), ("words", 20, 5))
    ]
    assert [task.of.overlap for task in tasks] == [False, True, True, False]
    assert {task.seeds for task in tasks if len(task.seeds) == 5} == {tuple(experiment.seeds())}
    assert tasks[0].seeds == tuple(experiment.seeds()[:4])
    assert not {*experiment.seeds()} & {*experiment.screening_seeds}
    assert len({task.number for task in tasks}) == 4


@pytest.mark.no_kernel
def test_a_small_set_is_split_by_the_seed(experiment):
    task = experiment.real_tasks()[1]
    first, second = (task.replicate(seed) for seed in task.seeds[:2])
    assert first.fingerprint == lnb.datasets.load("iris", split_seed=task.seeds[0]).fingerprint
    assert {*first.rows_test.tolist()} != {*second.rows_test.tolist()}


@pytest.mark.no_kernel
def test_without_chunks_all_replicates_split_the_same_rows():
    of = real.read({"digits": {"batch_size": 8, "steps": [20], "rows": 100}}, 5)["digits"]
    (task,) = of.tasks((3, 4))
    first, second = (task.replicate(seed) for seed in (3, 4))
    assert rows_of(first) == rows_of(second)
    assert len(rows_of(first)) == 100
    assert {*first.rows_test.tolist()} != {*second.rows_test.tolist()}


@pytest.mark.no_kernel
def test_two_sets_may_train_two_networks_on_the_same_data():
    of_set = {"batch_size": 8, "steps": [20], "rows": 100, "chunks": 4}
    tables = {"digits": of_set | {"hidden": [4]}, "linear": of_set | {"data": "digits"}}
    network, linear = (of.tasks((3, 4, 5, 6))[0] for of in real.read(tables, 5).values())
    assert network.replicate(4).fingerprint == linear.replicate(4).fingerprint
    assert network.model == lnb.MLP((64, 4, 10))
    assert linear.model == lnb.LogisticRegression(64, n_classes=10)
    assert network.number != linear.number  # so their grids are shifted differently
    assert linear.of.available


@pytest.mark.no_kernel
def test_chance_is_the_entropy_of_the_training_labels(experiment):
    task = experiment.real_tasks()[1]
    data, limits = task.replicate(7), task.limits(7)
    shares = [np.mean(data.y_train == k) for k in range(3)]
    assert limits.chance_loss == pytest.approx(-sum(p * np.log(p) for p in shares), rel=1e-12)
    assert limits.chance_accuracy == np.mean(data.y_test == np.argmax(shares))


# ------------------------------------------------------------------------------------------------- sparse counts


@pytest.fixture(scope="module")
def words():
    table = {"columns": 40, "classes": 2, "words": 6, "rows": 3000, "batch_size": 8, "steps": [20]}
    return real.read({"some": table}, 4)["some"]


@pytest.mark.no_kernel
def test_sparse_counts_hold_the_words_of_each_row(words):
    data = real.sparse_counts(words, 5)
    assert [len(part) for part in (data.y_train, data.y_validation, data.y_test)] == [3000, 1000, 1000]
    counts = data.X_train.astype(np.float64) * data.scaling.std
    np.testing.assert_allclose(counts, counts.round(), atol=1e-5)
    np.testing.assert_allclose(counts.sum(axis=1), 6, rtol=1e-6)
    assert data.X_train.std(dtype=np.float64) == pytest.approx(1, rel=1e-6)
    assert real.sparse_counts(words, 5).fingerprint == data.fingerprint
    assert real.sparse_counts(words, 6).fingerprint != data.fingerprint


@pytest.mark.no_kernel
def test_sparse_counts_have_the_frequencies_of_their_class(words):
    data = real.sparse_counts(words, 5)
    upto = real._frequencies("some", 40, 2)
    counts = data.X_train.astype(np.float64) * data.scaling.std
    for k in range(2):
        expected = np.diff(upto[k], prepend=0) / upto[k, -1]
        found = counts[data.y_train == k].sum(axis=0)
        n = found.sum()
        assert np.abs(found - n * expected).max() < 5 * np.sqrt(n * expected.max())
        assert ((found - n * expected) ** 2 / (n * expected)).sum() < 39 + 5 * np.sqrt(2 * 39)  # chi-squared
    tilts = np.log(np.diff(upto, axis=1, prepend=0) * np.arange(1, 41))
    assert abs(tilts.mean()) < 4 / np.sqrt(80)
    assert tilts.std() == pytest.approx(real.TILT, abs=0.35)
    assert abs(np.mean(data.y_train) - 0.5) < 0.05


# ---------------------------------------------------------------------------------------------------- measured rows


@pytest.mark.jit
def test_a_row_is_what_runs_alone_have(experiment, screened, rows):
    task = experiment.real_tasks()[0]
    centre = screened.set_index("number")["centre"][task.number]
    (grid,) = experiment.arms["lookahead"].grids
    losses = np.empty((2, len(task.seeds), 24))
    for i, seed in enumerate(task.seeds):
        data = lnb.datasets.chunk("digits", i, 150, split_seed=seed)
        for j, lr in enumerate(grid.rates(task.number, centre)):
            opt = lnb.Lookahead(lnb.AdamW(lr), sync_period=5, slow_step_size=0.5)
            run = lnb.train(
                lnb.MLP((64, 4, 10)), data, opt, steps=20, batch_size=16, seed=seed, eval_at=[], eval_rows=2000
            )
            last = run.history[(run.history["step"] == 20) & (run.history["weights"] == "slow")]
            losses[:, i, j] = last[["validation_loss", "test_loss"]].to_numpy()[0]
    chosen = losses[0].argmin(axis=1)
    mine = rows[(rows["number"] == task.number) & (rows["arm"] == "lookahead") & (rows["metric"] == "test loss")]
    assert mine[["set", "steps", "tuning", "multiple"]].to_numpy().tolist() == [["digits", 20, "own", 1.0]]
    np.testing.assert_allclose(mine[["r0", "r1", "r2", "r3"]].to_numpy()[0], losses[1][range(4), chosen], rtol=1e-7)
    assert mine["r4"].isna().all()


@pytest.mark.jit
def test_curves_hold_the_metrics_that_are_asked_for(rows):
    of_adamw = rows[(rows["arm"] == "adamw") & (rows["set"] == "iris") & (rows["steps"] == 40)]
    along = of_adamw.groupby("metric")["multiple"].agg(["size", "max"])
    assert along["size"].to_dict() == {"test loss": 13, "training loss": 13}
    assert (along["max"] == 2).all()


@pytest.mark.jit
def test_the_screening_describes_replicates(experiment, screened):
    assert screened["set"].tolist() == ["digits", "iris", "iris", "words"]
    assert screened["overlap"].tolist() == [False, True, True, False]
    assert screened[["train_rows", "validation_rows", "test_rows"]].sum(axis=1).tolist() == [150, 150, 150, 1080]
    alone = screening.screened([experiment.real_tasks()[1]], experiment.screening_seeds, progress=False)
    pd.testing.assert_frame_equal(screened.iloc[[1]][alone.columns].reset_index(drop=True), alone)


@pytest.mark.jit
def test_shards_are_sets_and_are_measured_once(experiment, screened, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "screening_table", lambda experiment: screened.assign(regime="saturated"))
    chosen = experiment.chosen(experiments.screening_table(experiment))
    first = experiments.run(experiment, [1], folder=tmp_path, progress=False)
    assert [path.name for path in first] == ["iris.csv"]
    rest = experiments.run(experiment, folder=tmp_path, progress=False)
    assert sorted(path.name for path in rest) == ["digits.csv", "words.csv"]
    found = experiments.results(experiment, tmp_path)
    order = [*("set", "steps", "arm", "multiple", "metric")]
    expected = rows[rows["number"].isin(chosen["number"])].sort_values(order, ignore_index=True)
    found = found.sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found[[*expected]], expected, check_dtype=False)
    (number,) = experiments.to_recompute(experiment, "any words")
    assert experiments.differing(experiment, [number], tmp_path, progress=False) == []


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.no_kernel
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rows = 150\n", "", r"sets\.digits\.rows must be given for a set that is downloaded or in chunks"),
        ("chunks = 4", "chunks = 6", r"sets\.digits\.chunks must be .*5"),
        ("chunks = 4", "chunks = 3", r"sets\.digits\.chunks must be .*4"),
        ("steps = [20, 40]", "steps = [40, 20]", r"sets\.iris\.steps must be one number or more, rising"),
        ("steps = [20, 40]", "steps = 20", r"sets\.iris\.steps must be a list of whole numbers"),
        ("[sets.iris]", "[sets.irish]", r"sets\.name must be one of .*irish"),
        ("classes = 3\n", "", r"sets\.words\.classes"),
        ("[sets.iris]", "[sets.fashion_mnist]", r"sets\.fashion_mnist\.rows must be given"),
        ("[sets.iris]\n", '[sets.iris]\ndata = "irish"\n', r"sets\.iris\.data must be one of .*irish"),
        ("[sets.words]\n", '[sets.words]\ndata = "iris"\n', r"sets\.words\.data is not known"),
        ("[sets.iris]\n", '[sets.iris]\ndata = "a9a"\n', r"sets\.iris\.rows must be given"),
        ("[sets.iris]\n", "[sets.iris]\nwidths = [3]\n", r"sets\.iris\.widths is not known"),
        ('"real"', '"realistic"', r"population must be .*'generated', 'real'"),
        ("[arms.adamw]", "[tasks]\nfirst = 3\n\n[arms.adamw]", r"tasks is not known"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_key(path, tmp_path, old, new, words):
    changed = tmp_path / "small.toml"
    assert old in SMALL
    changed.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(ValueError, match=words):
        experiments.read("small", changed)


@pytest.mark.no_kernel
def test_hopeless_tasks_are_left_out_and_sets_are_shards(experiment):
    names, steps = ["iris", "words", "digits", "iris"], [40, 20, 20, 20]
    regime = ["saturated", "hopeless", "step-limited", "saturated"]
    frame = pd.DataFrame({"number": [4, 3, 2, 1], "set": names, "steps": steps, "regime": regime})
    chosen = experiment.chosen(frame)
    assert chosen[["set", "steps"]].to_numpy().tolist() == [["digits", 20], ["iris", 20], ["iris", 40]]
    assert [(name, len(part)) for name, part in experiment.shards(chosen)] == [("digits", 1), ("iris", 2)]


@pytest.mark.no_kernel
def test_generated_tasks_have_no_sets(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL.replace('population = "real"\n', ""))
    with pytest.raises(ValueError, match="sets is not known"):
        experiments.read("small", path)


@pytest.mark.no_kernel
def test_another_entry_has_other_seeds_and_its_screening_is_refused(experiment, tmp_path, monkeypatch):
    path = tmp_path / "small.toml"
    path.write_text(SMALL.replace("replicates = 5", "replicates = 6"))
    other = experiments.read("small", path)
    assert not {*other.seeds()} & {*experiment.seeds()}
    folder = tmp_path / "data" / "results"
    folder.mkdir(parents=True)
    table = lnb.provenance.write_table(
        pd.DataFrame({"number": [1]}), "small_screening", folder=folder, entry=experiment.sha256
    )
    monkeypatch.setattr(experiments.provenance, "committed", lambda name: Path(tmp_path) / name)
    assert len(experiments.screening_table(experiment)) == 1
    with pytest.raises(OutdatedError, match=rf"{table.name} must belong to the experiment 'small'"):
        experiments.screening_table(other)


@pytest.mark.no_kernel
def test_other_experiments_have_no_screening_of_their_own():
    with pytest.raises(ValueError, match="experiment must have data sets or a draw of its own, got 'trial'"):
        experiments.screen_own(experiments.read("trial"))


@pytest.mark.no_kernel
def test_chance_of_a_generated_task_is_the_same_formula():
    task = population.generated(small_task())
    data = task.replicate(1)
    assert task.limits(1)[:2] == population.chance(data.y_train, data.y_test, task.classes)
