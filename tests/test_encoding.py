"""Tables with missing values and categories: what each column becomes, by hand, fitted on the training part alone."""

import datetime
import re

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.checks import extra
from lookahead_nb.datasets.arrays import MixedTable
from lookahead_nb.datasets.encoding import MOST_CATEGORIES

pytestmark = pytest.mark.no_kernel
pytest.importorskip("sklearn")

N = 50
RNG = np.random.default_rng(5)
Y = RNG.choice(["no", "yes"], N)
NUMBERS = RNG.normal(3, 2, N)


def table(**columns):
    return MixedTable(pd.DataFrame({"a": NUMBERS} | columns), Y)


def parts(data):
    return [(getattr(data, f"X_{part}"), getattr(data, f"rows_{part}")) for part in ("train", "validation", "test")]


def test_a_plain_table_gives_the_data_set_of_from_arrays():
    X = pd.DataFrame({"a": NUMBERS, "b": RNG.random(N) < 0.5})
    mixed = MixedTable(X, Y)
    assert not mixed.encoded
    assert mixed.split(3).fingerprint == lnb.datasets.from_arrays(X, Y, split_seed=3).fingerprint


def test_missing_numbers_become_the_median_of_the_training_part():
    values = NUMBERS.copy()
    values[::4] = np.nan
    data = table(b=values).split(1)
    train = values[data.rows_train]
    filled = np.where(np.isnan(values), np.nanmedian(train), values)
    known = filled[data.rows_train]
    for X, rows in parts(data):
        np.testing.assert_allclose(X[:, 1], (filled[rows] - known.mean()) / known.std(), atol=1e-6)
        assert (X[:, 2] == np.isnan(values)[rows]).all()
    assert data.scaling.columns == ("a", "b", "b is missing")


def test_categories_become_columns_of_0_and_1():
    kinds = np.array(["c", "a", "b", "a "])[np.arange(N) % 4]  # a space changes nothing
    data = table(b=kinds).split(1)
    assert data.scaling.columns == ("a", "b 0", "b 1", "b 2")
    for X, rows in parts(data):
        for place, kind in enumerate("abc"):
            assert (X[:, 1 + place] == (np.char.strip(kinds)[rows] == kind)).all()


def test_a_missing_category_is_one_of_its_own():
    kinds = np.array(["a", None, "b", " "], object)[np.arange(N) % 4]
    data = table(b=kinds).split(1)
    for X, rows in parts(data):
        assert (X[:, 1:] == np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]])[rows % 4]).all()


def test_a_category_that_the_training_part_lacks_has_0_everywhere():
    rows = table(b=["x"] * N).split(1).rows_train  # the same split: it depends on the labels alone
    kinds = np.where(np.isin(np.arange(N), rows), "x", "y")
    data = table(b=kinds).split(1)
    assert data.n_features == 3
    assert (data.X_train[:, 1:] == [1, 0]).all()
    assert (data.X_test[:, 1:] == 0).all()


def test_rare_categories_share_a_column():
    kinds = [f"k{min(i // 2, 22)}" for i in range(N)]  # 23 of them, in 50 rows
    data = table(b=kinds).split(1)
    assert data.n_features == 1 + MOST_CATEGORIES
    assert (data.X_train[:, 1:].sum(axis=1) == 1).all()
    assert set(data.X_train[:, 1:].ravel()) == {0, 1}


def test_nothing_of_validation_and_test_enters_the_encoding():
    values, kinds = NUMBERS.copy(), np.array([*"abc"])[np.arange(N) % 3]
    values[::5] = np.nan
    data = table(b=values, c=kinds).split(2)
    others = np.setdiff1d(np.arange(N), data.rows_train)
    changed = values.copy()
    changed[others] = np.where(np.isnan(values[others]), np.nan, 1e6)
    moved = kinds.copy()
    moved[others] = "c"
    again = table(b=changed, c=moved).split(2)
    assert (again.rows_train == data.rows_train).all()
    assert again.X_train.tobytes() == data.X_train.tobytes()
    for name in ("origin", "mean", "std"):
        assert (getattr(again.scaling, name) == getattr(data.scaling, name)).all()
    assert again.X_test.tobytes() != data.X_test.tobytes()


def test_chunks_share_no_row_and_are_encoded_by_themselves():
    values = np.where(np.arange(N) % 4 == 0, np.nan, NUMBERS)
    mixed = table(b=values)
    chunks = [mixed.chunk(i, 20, split_seed=3) for i in (0, 1)]
    rows = [np.concatenate([rows for _, rows in parts(data)]) for data in chunks]
    assert len({*rows[0]} | {*rows[1]}) == 40
    for data in chunks:
        assert data.n_features == 3
        assert abs(data.X_train[:, :2].mean(axis=0)).max() < 1e-6


def test_arrays_may_miss_numbers():
    X = np.stack([NUMBERS, np.where(np.arange(N) % 5 == 0, np.nan, NUMBERS)], axis=1)
    data = MixedTable(X, Y).split(0)
    assert data.scaling.columns == ("column 0", "column 1", "column 1 is missing")


def test_categories_of_pandas_and_truth_values_that_are_missing():
    numbers = pd.Categorical(np.arange(N) % 3)
    flags = np.array([True, False, None], object)[np.arange(N) % 3]
    data = table(b=numbers, c=flags).split(0)
    assert data.scaling.columns == ("a", "c", "c is missing", "b 0", "b 1", "b 2")


def test_frames_of_pyarrow_are_encoded_alike():
    pyarrow = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": NUMBERS, "b": np.array(["x", "y", None], object)[np.arange(N) % 3]})
    ours, theirs = MixedTable(frame, Y), MixedTable(pyarrow.Table.from_pandas(frame), Y)
    assert ours.split(1).fingerprint == theirs.split(1).fingerprint


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (pd.date_range("2020-01-01", periods=N), "X must hold numbers or categories, got dates in column 'b'"),
        (["2020-01-01", "2021-5-3"] * (N // 2), "X must hold numbers or categories, got dates in column 'b'"),
        ([datetime.date(2020, 1, 1)] * N, "X must hold numbers or categories, got dates in column 'b'"),
        ([f"n{i}" for i in range(N)], "X must hold categories, got 50 different texts in 50 rows of column 'b'"),
        ([None] * N, "X must hold values in every column, got none in column 'b': drop it"),
        (["?", *map(str, range(N - 1))], "X must hold numbers or text in a column, got '?' among numbers at row 0"),
        (["a", 1] * (N // 2), "X must hold numbers or text in a column, got 1 at row 1, column 'b'"),
        ([np.inf, np.nan] * (N // 2), "X must hold finite numbers below 1e+100 in size, got inf at row 0, column 'b'"),
    ],
)
def test_a_column_that_is_neither_numbers_nor_categories_is_refused_by_name(column, sentence):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(sentence)}"):
        table(b=column, c=["x", "y"] * (N // 2))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def absent(module, *words):
        return extra("no_such_module", *words)

    monkeypatch.setattr("lookahead_nb.datasets.encoding.extra", absent)
    with pytest.raises(
        ModuleNotFoundError, match=r'needs scikit-learn: install the extra sklearn, as in: pip install "'
    ):
        table(b=["x", "y"] * (N // 2))


def test_new_rows_are_refused():
    scaling = table(b=["x", "y"] * (N // 2)).split(0).scaling
    with pytest.raises(TypeError, match="X must be numbers without missing values"):
        scaling(pd.DataFrame({"a": [1.0], "b": ["x"]}))


def test_suspicious_columns_are_reported_in_mixed_tables_too():
    with pytest.warns(UserWarning, match="column 'b' of X has one value for each label"):
        table(b=np.where(Y == "yes", "ill", "well"))
