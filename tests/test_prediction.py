"""From a table to predictions for raw rows: what a run predicts has the accuracy and the loss of its history."""

import csv
import io
import pickle

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.datasets import DOWNLOADED, NAMES, available, from_arrays, load, read_rows, sources
from lookahead_nb.datasets.downloads import published

PARTS = ("train", "validation", "test")
LOCAL = [name for name in NAMES if name not in DOWNLOADED]


def raw_rows(name):
    """All rows of a set as its publisher gives them: texts, or numbers."""
    if name.startswith("sms_spam"):
        (collection,) = published("sms_spam").values()
        return np.array([line.split("\t")[1] for line in collection.decode().split("\n") if line], object)
    if name.startswith("banking77"):
        files = [io.StringIO(text.decode(), newline="") for text in published("banking77").values()]
        return np.array([row[0] for file in files for row in list(csv.reader(file))[1:]], object)
    return sources._table(name).X


def model_of(data):
    return lnb.LogisticRegression(data.n_features, n_classes=data.n_classes)


def shares_right(run, X, y, data, **weights):
    """The accuracy on raw rows of each part, as in a row of a history."""
    rows = [getattr(data, f"rows_{part}") for part in PARTS]
    return [np.mean(run.predict(X[part], **weights) == y[part]) for part in rows]


def stated(run, weights="fast", what="accuracy"):
    last = run.history[run.history["weights"] == weights].iloc[-1]
    return [last[f"{part}_{what}"] for part in PARTS]


# --------------------------------------------------------------------------------------------------------- named sets


@pytest.mark.parametrize("name", NAMES)
def test_raw_rows_become_the_parts_bit_for_bit(name):
    if not available(name):
        pytest.skip(f"{name} is not available locally")
    data, X, y = load(name, 3), raw_rows(name), sources._table(name).y
    for part in PARTS:
        rows = getattr(data, f"rows_{part}")[:2000]
        np.testing.assert_array_equal(data.scaling(X[rows]), getattr(data, f"X_{part}")[:2000])
        np.testing.assert_array_equal(data.classes[getattr(data, f"y_{part}")[:2000]], y[rows])
    assert sum(len(getattr(data, f"rows_{part}")) for part in PARTS) == len(X)


@pytest.mark.jit  # too many rows for plain Python
@pytest.mark.parametrize("name", LOCAL)
def test_a_run_predicts_raw_rows_of_a_set_as_its_history_says(name):
    data, table = load(name, 1), sources._table(name)
    run = lnb.train(model_of(data), data, lnb.AdamW(0.05), steps=4, batch_size=16)
    assert shares_right(run, table.X, table.y, data) == stated(run)


@pytest.mark.jit
def test_a_run_predicts_texts():
    if not available("sms_spam"):
        pytest.skip("sms_spam is not available locally")
    data, texts, y = load("sms_spam"), raw_rows("sms_spam"), sources._table("sms_spam").y
    run = lnb.train(model_of(data), data, lnb.AdamW(0.05), steps=4)
    assert shares_right(run, texts, y, data) == stated(run)
    for X, error in [("one text", TypeError), ([b"bytes"], TypeError), (3, TypeError), ([], ValueError)]:
        with pytest.raises(error, match=r"^X must "):
            run.predict(X)


# ---------------------------------------------------------------------------------------------------------- own tables


@pytest.fixture
def table(rng):
    """Columns of very different sizes, and labels that one of them decides."""
    X = rng.normal(0, 1, (300, 4)) * [1e-6, 1, 1e3, 1e6] + [0, 50, -7e4, 1e9]
    return X, (X[:, 2] > -7e4).astype(int)


def test_a_run_predicts_the_users_own_raw_rows(table, width):
    X, y = table
    data = from_arrays(X, y)
    model = lnb.MLP((4, 8, 2))
    run = lnb.train(model, data, lnb.AdamW(0.03), steps=60, batch_size=32, dtype=width)
    assert shares_right(run, X, y, data) == stated(run)
    assert np.mean(run.predict(X) == y) > 0.9
    assert np.mean(model.predict(run.params, np.clip(X, -1e30, 1e30)) == y) < 0.8  # what raw rows gave before


def test_probabilities_give_the_losses_of_the_history(table, width):
    X, y = table
    for labels in (y, np.arange(300) % 3):
        data = from_arrays(X, labels)
        model = lnb.MLP((4, 8, data.n_classes))
        run = lnb.train(model, data, lnb.AdamW(0.03), steps=20, batch_size=32, dtype=width)
        probabilities = run.predict_proba(X)
        assert probabilities.shape == (300, data.n_classes)
        assert probabilities.dtype == width
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(data.classes[probabilities.argmax(axis=1)], run.predict(X))
        for part, loss in zip(PARTS, stated(run, what="loss"), strict=True):
            rows = getattr(data, f"rows_{part}")
            assert -np.log(probabilities[rows, labels[rows]]).mean() == pytest.approx(loss, rel=1e-5)


def test_probabilities_are_those_of_the_formulas(rng, width):
    X = rng.normal(0, 1, (600, 3)).astype(width)  # more rows than are evaluated together
    for classes in (2, 4):
        model = lnb.LogisticRegression(3, n_classes=classes)
        params = rng.normal(0, 3, model.size).astype(width)
        views = {name: view.astype(np.float64) for name, view in model.unpack(params).items()}
        logits = X.astype(np.float64) @ views["W1"].T + views["b1"]
        if classes == 2:
            logits = np.hstack([np.zeros((600, 1)), logits])
        expected = np.exp(logits - logits.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        tolerance = 2e-6 if width is np.float32 else 1e-13
        np.testing.assert_allclose(model.predict_proba(params, X), expected, rtol=20 * tolerance, atol=tolerance)


@pytest.mark.parametrize("steps", [12, 13])  # with a sync at the last step, and without
def test_fast_and_slow_weights_predict_what_their_rows_say(table, steps):
    X, y = table
    data = from_arrays(X, y)
    opt = lnb.Lookahead(lnb.SGD(0.5), sync_period=4, slow_step_size=0.3)
    run = lnb.train(model_of(data), data, opt, steps=steps, batch_size=16)
    assert shares_right(run, X, y, data, weights="slow") == stated(run, "slow")
    if steps % 4:
        assert shares_right(run, X, y, data) == stated(run)
    else:  # the pull has moved the fast weights onto the slow ones
        np.testing.assert_array_equal(run.predict_proba(X), run.predict_proba(X, weights="slow"))


def test_data_made_for_the_seed_and_subsets_predict_raw_rows(table):
    X, y = table

    def noisy(seed):
        return from_arrays(X, y, split_seed=seed).subset(100, seed).with_flipped_labels(0.1, seed)

    run = lnb.train(lnb.LogisticRegression(4), noisy, lnb.AdamW(0.03), steps=5, batch_size=8, seed=6)
    data = noisy(6)
    assert shares_right(run, X, y, data)[1:] == stated(run)[1:]  # the labels of the training part are wrong in part
    np.testing.assert_array_equal(data.scaling(X[data.rows_train]), data.X_train)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_a_file_leads_to_predictions(tmp_path, table, suffix):
    X, y = table
    path = tmp_path / f"mine.{suffix}"
    if suffix == "npz":
        np.savez(path, X=X, y=y)
    else:
        lines = [",".join(map(repr, [*row, label])) for row, label in zip(X.tolist(), y.tolist(), strict=True)]
        path.write_text("\n".join(["a,b,c,d,kind", *lines]))
    rows, labels = read_rows(path, "kind" if suffix == "csv" else None)
    data = from_arrays(rows, labels)
    run = lnb.train(model_of(data), data, lnb.AdamW(0.03), steps=60, batch_size=32)
    assert shares_right(run, np.asarray(rows), labels, data) == stated(run)
    np.testing.assert_array_equal(run.predict(rows), run.predict(X))


def test_a_scaling_travels(table):
    X, y = table
    data = from_arrays(X, y)
    scaling = pickle.loads(pickle.dumps(data)).scaling
    np.testing.assert_array_equal(scaling(X), data.scaling(X))
    assert not scaling.mean.flags.writeable
    assert repr(scaling) == "Scaling(n_features=4)"


# ------------------------------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_predicted_is_refused(table):
    X, y = table
    data = from_arrays(X, y)
    run = lnb.train(model_of(data), data, lnb.AdamW(0.03), steps=2)
    for bad, error, message in [
        (X[:, :3], ValueError, "X must have the 4 columns of the data set, got 3"),
        (X[0], ValueError, r"X must be a table of rows and columns, got shape \(4,\): for a single row pass \[X\]$"),
        (
            pd.DataFrame(X).iloc[0],
            ValueError,
            r"X must be a table .*, got shape \(4,\): for a single row pass frame.iloc\[\[i\]\], not frame.iloc\[i\]$",
        ),
        (X[:0], ValueError, r"X must be a table of at least one row and one column, got shape \(0, 4\)"),
        (np.where(X[7, 1] == X, np.nan, X), ValueError, "X must hold finite numbers .* got nan at row 7, column 1"),
        (X * [1, 1, 1e60, 1], ValueError, "X must fit float32 .* row 0, column 2 .counted from 0. overflows"),
        (X.astype(str), TypeError, "X must hold numbers, got <U"),
    ]:
        for predict in (run.predict, run.predict_proba):
            with pytest.raises(error, match=f"^{message}"):
                predict(bad)
    run.params[3] = np.nan
    with pytest.raises(ValueError, match=r"^the fast weights of this run must be finite to predict"):
        run.predict(X)
    run.params[3] = 0
    with pytest.raises(ValueError, match=r"^weights must be one of 'fast', 'slow', got 'average'$"):
        run.predict(X, weights="average")
    with pytest.raises(ValueError, match=r"^weights must be 'fast' for AdamW, which has no slow weights, got 'slow'$"):
        run.predict_proba(X, weights="slow")


def test_a_diverged_run_predicts_nothing(table):
    X, y = table
    model = lnb.LogisticRegression(4, l2=1e3)
    run = lnb.train(model, from_arrays(X, y), lnb.SGD(1e3), steps=50)
    assert run.diverged_at is not None
    with pytest.raises(
        ValueError, match=f"^predict needs finite weights, but this run diverged at step {run.diverged_at}"
    ):
        run.predict(X)


def test_a_landscape_predicts_nothing():
    run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=2)
    with pytest.raises(TypeError, match=r"^predict needs a run of a network, got a run on Quadratic\("):
        run.predict([[1.0]])
