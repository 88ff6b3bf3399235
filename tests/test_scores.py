"""Scores: pairs in the right order, words without a wrong letter, the runs that the replicates chose."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import provenance
from lookahead_nb.claims import experiments, scores
from lookahead_nb.datasets import split
from lookahead_nb.datasets.phonemes import spoken_letters, whole_words, windows

pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parent.parent

ENTRY = """
about = "a test"
population = "real"
replicates = 4
metrics = ["test loss"]
tunings = ["own"]

[sets.digits]
hidden = [4]
batch_size = 16
steps = [20]
rows = 150
chunks = 4

[sets.exclusive_or]
batch_size = 16
steps = [20]

[arms.adamw]
optimizer = "AdamW"

[arms.lookahead]
optimizer = "Lookahead"
inner = "AdamW"
sync_period = 5
slow_step_size = 0.5
"""


def test_the_area_counts_pairs_in_the_right_order(rng):
    for y in (rng.integers(0, 2, 40), np.arange(40) == 7):
        given = rng.integers(0, 9, 40)
        pairs = [(a, b) for a, b in itertools.product(given[y == 1], given[y == 0])]
        expected = np.mean([1 if a > b else 0.5 if a == b else 0 for a, b in pairs])
        assert scores.roc_auc(given, y) == pytest.approx(expected, rel=1e-12)
    assert scores.roc_auc([1, 2], [0, 1]) == 1
    assert scores.roc_auc([2, 1], [0, 1]) == 0


@pytest.mark.parametrize(
    ("given", "y", "words"),
    [
        ([1, 2], [0, 0], r"y must hold both classes, got \[0\]"),
        ([1, 2, 3], [0, 1], r"scores must have the shape of y, \(2,\) with one dimension, got \(3,\)"),
        ([[1, 2]], [[0, 1]], r"scores must have the shape of y, \(1, 2\) with one dimension"),
    ],
)
def test_an_area_of_nothing_is_refused(given, y, words):
    with pytest.raises(ValueError, match=words):
        scores.roc_auc(given, y)


def test_words_that_lack_a_letter_do_not_count():
    words = ["ox", "fox", "a", "fog", "go"]
    ends = np.cumsum([len(word) for word in words])
    rows = np.array([10, 3, 8, 2, 1, 6, 4, 5])  # without the o of ox, the o of fog and the g of go
    found = whole_words(windows(words)[rows], rows)
    assert [rows[places].tolist() for places in found] == [[2, 3, 4], [5]]
    every = whole_words(windows(words), np.arange(ends[-1]))
    assert [places.tolist() for places in every] == [[*range(e - len(w), e)] for w, e in zip(words, ends, strict=True)]
    assert whole_words(windows(["ox"])[:1], np.array([0])) == []


@pytest.fixture
def letters():
    text = "".join(f"{''.join(word)} {' '.join(word).upper()}\n" for word in itertools.product("abc", repeat=3))
    table = spoken_letters(text, least=1)
    whole = split._Table(table.X, table.y, split._all_bytes, classes=table.labels, groups=table.stems)
    return split._split_and_scaled(whole, "cmudict", 0, "")


def test_a_word_is_right_if_all_its_letters_are(letters):
    predicted = letters.y_test.copy()
    assert scores.words_right(letters, predicted) == 1
    words = len(predicted) // 3
    wrong = np.flatnonzero(letters.rows_test // 3 == letters.rows_test[0] // 3)
    for place in wrong:
        predicted[place] = (predicted[place] + 1) % 3
        assert scores.words_right(letters, predicted) == pytest.approx(1 - 1 / words)
    with pytest.raises(ValueError, match=r"^predicted must have one class for each of \d+ rows, got 2"):
        scores.words_right(letters, [0, 1])


def test_a_run_is_scored_at_its_slow_weights(letters):
    model, opt = lnb.MLP((189, 4, 3)), lnb.Lookahead(lnb.AdamW(0.05), sync_period=5)
    run = lnb.train(model, letters, opt, steps=33, batch_size=8)
    last = run.history[(run.history["step"] == 33) & (run.history["weights"] == "slow")].iloc[0]
    found = scores.scores_of(run, letters)
    assert found["right"] == pytest.approx(last["test_accuracy"], abs=1e-7)
    assert found["words"] == scores.words_right(letters, model.predict(run.slow, letters.X_test))
    assert set(found) == {"right", "words"}


@pytest.mark.parametrize("name", ["recommendation", "letters"])
def test_committed_scores_belong_to_the_committed_rows(name):
    rows = experiments.results(experiments.read(name))
    rows = rows[(rows["metric"] == "test loss") & (rows["tuning"] == "own") & (rows["multiple"] == 1)]
    expected = rows.set_index(["set", "steps", "arm"]).filter(regex=r"^r\d+$")
    table = provenance.read_table(ROOT / "data/pilots/scores.csv")
    found = table[table["set"].isin(rows["set"])]
    assert len(found) == len({*rows["set"]} & {*table["set"]}) * len({*found["steps"]}) * 6 * 8
    for keys, of_arm in found.groupby(["set", "steps", "arm"]):
        np.testing.assert_allclose(of_arm["test_loss"], expected.loc[keys], rtol=1e-7)


@pytest.mark.jit
def test_scores_are_those_of_the_runs_that_replicates_chose(tmp_path, monkeypatch):
    path = tmp_path / "small.toml"
    path.write_text(ENTRY)
    experiment = experiments.read("small", path)
    screened = experiments.screen_own(experiment, progress=False).assign(regime="saturated")
    monkeypatch.setattr(experiments, "screening_table", lambda experiment: screened)
    found = scores.of_experiment(experiment, ["adamw", "lookahead"])
    assert len(found) == 2 * 2 * 4
    monkeypatch.setattr(experiments.trial, "ROUNDS", 0)  # no wider grids
    rows = experiment.measure(experiment.chosen(screened), progress=False)
    rows = rows[(rows["multiple"] == 1)].set_index(["set", "arm"])[["r0", "r1", "r2", "r3"]]
    for (name, arm), of_arm in found.groupby(["set", "arm"]):
        np.testing.assert_allclose(of_arm["test_loss"], rows.loc[(name, arm)], rtol=1e-7)
    of_two = found["set"] == "exclusive_or"
    assert found.loc[of_two, "roc_auc"].between(0, 1).all()
    assert found.loc[~of_two, "roc_auc"].isna().all()
    assert "words" not in found
    assert found["lr"].nunique() > 4
