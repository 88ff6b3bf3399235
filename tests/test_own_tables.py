"""Tables and labels as people have them: accepted where their meaning is clear, otherwise refused by column."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import lookahead_nb as lnb
from lookahead_nb.datasets import from_arrays, read_rows
from lookahead_nb.datasets.arrays import splitter
from lookahead_nb.datasets.tables import without_columns

N = 30
TEXT = np.array(["red", "amber", "blue"] * 10)


@pytest.fixture
def numbers(rng):
    """A column of each kind, as plain float64."""
    return {
        "size": rng.normal(0, 1, N),
        "count": rng.integers(0, 9, N).astype(float),
        "flag": (rng.random(N) < 0.5).astype(float),
    }


def plain(numbers):
    return from_arrays(np.column_stack([*numbers.values()]), TEXT)


class Column:
    """A column of polars, as far as it is used."""

    def __init__(self, values, dtype):
        self.values, self.dtype = values, dtype

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)

    def to_numpy(self):
        return np.asarray(self.values)

    def is_null(self):
        return Column([value is None for value in self.values], "Boolean")


class Polars:
    """A data frame of polars, as far as it is used."""

    def __init__(self, columns):
        self.of, self.columns = columns, [*columns]
        self.shape = len(next(iter(columns.values()))), len(columns)

    def __getitem__(self, name):
        return Column(self.of[name], "Float64")

    def select(self, names):
        return Polars({name: self.of[name] for name in names})


def pyarrow_table(columns):
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.table(columns)


# ------------------------------------------------------------------------------------------------------------ accepted


@pytest.mark.parametrize("names", [["size", "count", "flag"], ["flag", "size", "count"]])
@pytest.mark.parametrize(
    "dtypes",
    [
        {"flag": bool, "count": "int8"},
        {"size": "Float64", "count": "Int64", "flag": "boolean"},
        {"size": "double[pyarrow]", "count": "int32[pyarrow]", "flag": "bool[pyarrow]"},
        {"count": pd.SparseDtype("int64"), "flag": pd.SparseDtype(bool)},
        {"size": object, "count": object},
    ],
    ids=["numpy", "nullable", "pyarrow", "sparse", "object"],
)
def test_columns_of_pandas_mean_their_numbers(numbers, dtypes, names):
    if "pyarrow" in str(dtypes):
        pytest.importorskip("pyarrow")
    frame = pd.DataFrame(numbers)[names].astype(dtypes)
    data = from_arrays(frame, TEXT)
    assert data.fingerprint == plain({name: numbers[name] for name in names}).fingerprint
    assert data.scaling.columns == (*names,)


@pytest.mark.parametrize("dtype", [None, "string", "category", "string[pyarrow]", object])
def test_labels_of_pandas_are_text(numbers, dtype):
    if "pyarrow" in str(dtype):
        pytest.importorskip("pyarrow")
    data = from_arrays(pd.DataFrame(numbers), pd.Series(TEXT, dtype=dtype))
    assert data.fingerprint == plain(numbers).fingerprint
    assert data.classes.tolist() == ["amber", "blue", "red"]


@pytest.mark.parametrize("table", [Polars, pyarrow_table])
def test_columns_of_polars_and_pyarrow_mean_their_numbers(numbers, table):
    data = from_arrays(table(numbers | {"flag": numbers["flag"] > 0}), [*TEXT])
    assert data.fingerprint == plain(numbers).fingerprint
    assert data.scaling.columns == ("size", "count", "flag")
    np.testing.assert_array_equal(data.scaling(table(numbers)), data.scaling(pd.DataFrame(numbers)))


@pytest.mark.parametrize("table", [pd.DataFrame, Polars, pyarrow_table])
def test_columns_are_left_out_by_name(numbers, table):
    left, dropped = without_columns(table(numbers), ["flag", "size"])
    assert dropped == ["size", "flag"]
    assert from_arrays(left, TEXT).fingerprint == plain({"count": numbers["count"]}).fingerprint
    assert from_arrays(left, TEXT).scaling.columns == ("count",)
    whole = table(numbers)
    assert without_columns(whole, ()) == (whole, [])


@pytest.mark.parametrize(
    "table", [np.array, np.ndarray.tolist, pd.DataFrame, scipy.sparse.csr_array, scipy.sparse.coo_array]
)
def test_columns_without_names_are_left_out_by_number(numbers, table):
    rows = np.column_stack([*numbers.values()])
    left, dropped = without_columns(table(rows), iter([2, np.int64(0), 2]))
    assert dropped == ["0", "2"]
    assert from_arrays(left, TEXT).fingerprint == plain({"count": numbers["count"]}).fingerprint


@pytest.mark.parametrize(
    ("drop", "error", "message"),
    [
        (
            ["Flag"],
            ValueError,
            r"drop must name columns of X, got 'Flag' \(did you mean 'flag'\?\): X has 'size'",
        ),
        ([0], ValueError, "drop must name columns of X, got 0: X has 'size', 'count', 'flag'"),
        ([["size"]], ValueError, r"drop must name columns of X, got \['size'\]"),
        (["size", "count", "flag"], ValueError, "drop must leave a column of X, got all 3"),
        ("size", TypeError, "drop must be a list of columns, got 'size'"),
        (None, TypeError, "drop must be a list of columns, got None"),
    ],
)
def test_columns_that_are_not_there_are_not_left_out(numbers, drop, error, message):
    with pytest.raises(error, match=message):
        without_columns(pd.DataFrame(numbers), drop)


@pytest.mark.parametrize("drop", [[3], [-1], [True], [1.0], ["size"]])
def test_without_names_a_column_is_a_number(numbers, drop):
    message = r"drop must name columns of X by numbers from 0 to 2, since X has no names, got "
    with pytest.raises(ValueError, match=message):
        without_columns(np.column_stack([*numbers.values()]), drop)


def test_indicators_of_pandas_are_columns(numbers):
    frame = pd.DataFrame({"size": numbers["size"], "shape": ["round", "square", "flat"] * 10})
    order = np.arange(N) * 7 % N
    data = from_arrays(pd.get_dummies(frame), TEXT[order])
    assert data.scaling.columns == ("size", "shape_flat", "shape_round", "shape_square")
    assert data.fingerprint == from_arrays(pd.get_dummies(frame, dtype=float), TEXT[order]).fingerprint


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
def test_a_sparse_matrix_is_a_table(numbers, kind):
    X = np.column_stack([*numbers.values()])
    assert from_arrays(kind(X), TEXT).fingerprint == plain(numbers).fingerprint


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "NA"], ["NA", "a", "b"]),
        ([3, 1, 2], [1, 2, 3]),
        ([1, -1, 1], [-1, 1]),
        ([0.0, 1.0, 1.0], [0.0, 1.0]),
        ([True, False, False], [False, True]),
        ([2, 0, 10**18], [0, 2, 10**18]),
        (np.array(["b", "a", "c"], object), ["a", "b", "c"]),
        (np.array([2, 1, 3], object), [1, 2, 3]),
        (np.array(["b", "a", "c"], np.dtypes.StringDType()), ["a", "b", "c"]),
    ],
)
def test_labels_are_numbered_in_sorted_order_and_predicted_as_given(numbers, labels, classes):
    X, y = np.column_stack([*numbers.values()]), np.array([*labels] * 10, getattr(labels, "dtype", None))
    data = from_arrays(X, y if isinstance(labels, np.ndarray) else y.tolist())
    assert data.classes.tolist() == classes
    assert [*map(type, data.classes.tolist())] == [*map(type, classes)]
    assert data.classes[data.y_train].tolist() == y[data.rows_train].tolist()
    run = lnb.train(lnb.LogisticRegression(3, n_classes=len(classes)), data, lnb.SGD(0.1), steps=3, batch_size=9)
    predicted = run.predict(X)
    assert {*predicted.tolist()} <= {*classes}
    last = run.history.iloc[-1]
    assert np.mean(predicted[data.rows_test] == y[data.rows_test]) == last["test_accuracy"]


def test_labels_from_zero_on_are_their_own_numbers(numbers):
    y = np.arange(N) * 7 % 3
    data = from_arrays(np.column_stack([*numbers.values()]), y)
    np.testing.assert_array_equal(data.y_train, y[data.rows_train])
    assert data.classes.tolist() == [0, 1, 2]


# --------------------------------------------------------------------------------------------------- columns by name


def test_rows_to_predict_are_matched_by_name(numbers):
    frame = pd.DataFrame(numbers)
    data = from_arrays(frame, TEXT)
    expected = data.scaling(frame)
    np.testing.assert_array_equal(data.scaling(frame[["flag", "size", "count"]]), expected)
    np.testing.assert_array_equal(data.scaling(frame.to_numpy()), expected)  # without names: by position
    for other, sentence in [
        (frame.rename(columns={"size": "sise"}), "X must have the columns of the data set, lacks 'size'"),
        (frame.assign(kind=TEXT), "X must have the columns of the data set, got an unknown column 'kind'"),
        (frame.assign(flag=np.nan), "X must hold finite numbers below 1e+100 in size, got a missing value at row 0, "),
        (
            frame * 1e60,
            "X must fit float32 after scaling by the training part, but row 0, column 'size' (counted from ",
        ),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
            data.scaling(other)


def test_names_from_zero_on_are_no_names(numbers):
    X = np.column_stack([*numbers.values()])
    data = from_arrays(pd.DataFrame(X), TEXT)
    assert data.scaling.columns is None
    with pytest.raises(ValueError, match=r"^X must have its columns in the order of the data set, got \(2, 1, 0\)"):
        data.scaling(pd.DataFrame(X)[[2, 1, 0]])
    assert from_arrays(pd.DataFrame(X, columns=[7, 8, 9]), TEXT).scaling.columns == (7, 8, 9)


# ------------------------------------------------------------------------------------------------------------- refused

WORDS = ["x"] * N
DATES = pd.date_range("2020", periods=N)


@pytest.mark.parametrize(
    ("column", "error", "got"),
    [
        (WORDS, TypeError, "'x' at row 0, column 'odd'"),
        (pd.Categorical([1, 2, 3] * 10), TypeError, "category in column 'odd'"),
        (DATES, TypeError, "datetime64"),
        (DATES - DATES[0], TypeError, "timedelta64"),
        (np.ones(N) * 1j, TypeError, "complex128 in column 'odd'"),
        ([1.0] * 29 + [None], ValueError, "a missing value at row 29, column 'odd'"),
        (pd.array([1] * 29 + [None], dtype="Int64"), ValueError, "a missing value at row 29, column 'odd'"),
        (np.array([True] * 29 + [None], object), ValueError, "a missing value at row 29, column 'odd'"),
        ([1.0] * 28 + [np.inf, 1.0], ValueError, "inf at row 28, column 'odd'"),
        ([1.0] * 28 + [1e200, 1.0], ValueError, "1e+200 at row 28, column 'odd'"),
        ([1, "?", 3] * 10, TypeError, "'?' at row 1, column 'odd'"),
    ],
)
def test_a_column_is_refused_by_name(numbers, column, error, got):
    frame = pd.DataFrame(numbers).assign(odd=column)
    with pytest.raises(error, match=f"^X must hold .*got {re.escape(got)}") as caught:
        from_arrays(frame, TEXT)
    assert "column 'odd'" in str(caught.value)


def test_a_missing_value_of_polars_and_pyarrow_is_refused_by_name(numbers):
    for table in (Polars, pyarrow_table):
        with pytest.raises(ValueError, match=r"got a missing value at row 1, column 'flag' \(counted from 0\)$"):
            from_arrays(table(numbers | {"flag": [1.0, None, 2.0] * 10}), TEXT)


def test_numbers_of_python_in_a_column_are_numbers(numbers):
    decimals = [Decimal(int(value)) for value in numbers["count"]]
    assert from_arrays(pd.DataFrame(numbers | {"count": decimals}), TEXT).fingerprint == plain(numbers).fingerprint


def test_a_table_that_is_not_in_memory_is_refused(numbers):
    class LazyFrame:
        columns = ("a", "b")

    with pytest.raises(TypeError, match=r"^X must be a table in memory, got LazyFrame: collect it first$"):
        from_arrays(LazyFrame(), TEXT)


@pytest.mark.parametrize(
    ("y", "error", "sentence"),
    [
        ([0.5, 1] * 15, ValueError, "y must hold text, bool or whole numbers as labels, got 0.5 at row 0"),
        ([1, np.nan] * 15, ValueError, "y must hold a label in every row, but row 1 (counted from 0) has none"),
        ([1, np.inf] * 15, ValueError, "y must hold text, bool or whole numbers as labels, got inf at row 1"),
        (["a", None] * 15, ValueError, "y must hold a label in every row, but row 1 (counted from 0) has none"),
        (
            pd.Series(["a", None] * 15),
            ValueError,
            "y must hold a label in every row, but row 1 (counted from 0) has none",
        ),
        (
            pd.array([1, None] * 15, dtype="Int64"),
            ValueError,
            "y must hold a label in every row, but row 1 (counted from 0) has none",
        ),
        (["a", 1] * 15, TypeError, "y must hold labels of one type, got 'a' at row 0 and 1 at row 1"),
        ([b"a", b"b"] * 15, TypeError, "y must hold text, bool or whole numbers as labels, got b'a' at row 0"),
        (np.ones(N) * 1j, TypeError, "y must hold text, bool or whole numbers as labels, got complex128"),
        (DATES, TypeError, "y must hold text, bool or whole numbers as labels, got datetime64"),
        ([10**30, 1] * 15, ValueError, f"y must hold whole numbers of at most 64 bits as labels, got {10**30}"),
        (["a"] * N, ValueError, "y must hold at least two different labels, got 'a' alone"),
        (pd.DataFrame({"y": [0, 1] * 15}), ValueError, "y must have one dimension, got a table of shape (30, 1)"),
        ([" red", "red"] * 15, ValueError, "y must hold labels that differ by more than spaces, got ' red' and 'red'"),
        (
            "size",
            TypeError,
            "y must hold a label for each row, got the text 'size'; if it names a column of X, pass the column itself, "
            "X['size'], and X.drop(columns='size') as X",
        ),
    ],
)
def test_labels_are_refused(numbers, y, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}"):
        from_arrays(pd.DataFrame(numbers), y)


def test_rows_in_another_order_than_their_labels_are_refused(numbers):
    frame = pd.DataFrame(numbers)
    mixed, y = frame.sample(frac=1, random_state=0), pd.Series(TEXT)
    for other in (y, y.set_axis(range(1, len(y) + 1)), y.sample(frac=1, random_state=1)):
        with pytest.raises(ValueError, match=r"^y must have the index of X, got another one"):
            from_arrays(mixed, other)
    assert from_arrays(mixed, y[mixed.index]).fingerprint == from_arrays(mixed.to_numpy(), y[mixed.index]).fingerprint


# --------------------------------------------------------------------------------------------------------------- files


def read(folder, text, label="kind"):
    (folder / "mine.csv").write_text(text, encoding="utf-8")
    return read_rows(folder / "mine.csv", label)


def test_a_csv_file_keeps_names_truth_values_and_labels(tmp_path):
    X, y = read(tmp_path, "size,kind,flag\n1.5,NA,True\n2,NL,False\n3,NA,True\n7,NA,True\n")
    assert [*X] == ["size", "flag"]
    assert from_arrays(X[["size"]], y).classes.tolist() == ["NA", "NL"]
    assert X.to_numpy(float).tolist() == [[1.5, 1], [2, 0], [3, 1], [7, 1]]
    assert y.tolist() == ["NA", "NL", "NA", "NA"]


@pytest.mark.parametrize(
    ("labels", "y"),
    [
        (["1", "2", "1"], [1, 2, 1]),
        (["1.0", "0.0", "1.0"], [1.0, 0.0, 1.0]),
        (["True", "False", "True"], [True, False, True]),
        (["nan", "None", "x"], ["nan", "None", "x"]),
        (["01", "1", "x"], ["01", "1", "x"]),
        (['"a,b"', "c", "c"], ["a,b", "c", "c"]),
    ],
)
def test_labels_of_a_csv_file_are_what_is_written(tmp_path, labels, y):
    found = read(tmp_path, "size,kind\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))[1]
    assert found.tolist() == y
    assert type(found.tolist()[0]) is type(y[0])


@pytest.mark.parametrize("labels", [["1", "NA", "2"], ["True", "NA", "False"], ["red", "", "blue"], ["1", "", "2"]])
def test_a_missing_label_of_a_csv_file_is_refused(tmp_path, labels):
    with pytest.raises(
        ValueError, match=r"^file must hold a label in every row, but row 1 \(counted from 0\) has none$"
    ):
        read(tmp_path, "size,kind\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("size;kind\n1,5;red\n2,5;blue\n", "file must separate columns by commas, but .* separates them by semicolons"),
        ('"size";"kind"\n1;red\n', "file must separate columns by commas, but .* separates them by semicolons"),
        ("size\tkind\n1\tred\n", "file must separate columns by commas, but .* separates them by tabs"),
        (
            "size, kind\n1,red\n",
            r"file must hold a column 'kind' \(did you mean ' kind'\?\), but .* has 'size', ' kind'",
        ),
        (
            "size,kind\n1,red\n?,blue\n",
            "file must hold numbers in all columns .*, got '\\?' at row 1, column 'size' .counted from 0.: turn .*",
        ),
        ("size,kind\n1,red\n2,blue,3\n", "file .* is not a readable .csv file: .*saw 3"),
        ("", "file .* is not a readable .csv file: it is empty"),
        ("\n\n", "file .* is not a readable .csv file: it is empty"),
    ],
)
def test_a_csv_file_is_refused_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        read(tmp_path, text)


def test_an_npz_file_lacks_an_array(tmp_path):
    np.savez(tmp_path / "mine.npz", X=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"^file must hold arrays X and y, but .*mine\.npz does not$"):
        read_rows(tmp_path / "mine.npz")


def test_a_csv_file_leads_to_predicted_words(tmp_path, rng):
    size = rng.normal(50, 20, 60)
    kinds = np.where(size > 50, "large", "small")
    pd.DataFrame({"size": size, "noise": rng.normal(0, 1, 60), "kind": kinds}).to_csv(tmp_path / "a.csv", index=False)
    X, y = read_rows(tmp_path / "a.csv", "kind")
    data = from_arrays(X, y)
    run = lnb.train(lnb.LogisticRegression(data.n_features), data, lnb.AdamW(0.1), steps=40, batch_size=12)
    assert run.predict(pd.DataFrame({"noise": [0, 0], "size": [90, 10]})).tolist() == ["large", "small"]
    assert np.mean(run.predict(X)[data.rows_test] == kinds[data.rows_test]) == run.history.iloc[-1]["test_accuracy"]


# ------------------------------------------------------------------------------------- columns that are no features


def test_an_index_that_pandas_wrote_is_refused(tmp_path, numbers):
    path = tmp_path / "mine.csv"
    pd.DataFrame(numbers).assign(kind=TEXT).to_csv(path)
    with pytest.raises(ValueError, match=r"^file must have a name for every column, got a column without one: drop it"):
        read_rows(path, "kind")
    frame = pd.read_csv(path)
    with pytest.raises(ValueError, match=r"^X must have a name for every column, got a column without one: drop it"):
        from_arrays(frame.drop(columns="kind"), frame["kind"])
    frame = pd.read_csv(path, index_col=0)
    assert from_arrays(frame.drop(columns="kind"), frame["kind"]).scaling.columns == ("size", "count", "flag")


@pytest.mark.parametrize("text", ["size,kind\n0,1.5,red\n1,2,blue\n", "size,kind,\n1,red,\n2,blue,\n"])
def test_values_without_a_name_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"^file must have a name for every column, got a column without one"):
        read(tmp_path, text)


@pytest.mark.parametrize("name", [None, "", " ", np.nan])
def test_a_column_without_a_name_is_refused(numbers, name):
    frame = pd.DataFrame(numbers)
    frame.columns = ["size", name, "flag"]
    with pytest.raises(ValueError, match=r"^X must have a name for every column, got a column without one"):
        from_arrays(frame, TEXT)


def test_columns_of_one_name_are_refused(tmp_path, numbers):
    frame = pd.DataFrame(numbers)
    frame.columns = ["size", "count", "size"]
    with pytest.raises(ValueError, match=r"^X must have columns of different names, got 'size' 2 times$"):
        from_arrays(frame, TEXT)
    with pytest.raises(ValueError, match=r"^file must have columns of different names, got 'size' 2 times$"):
        read(tmp_path, "size,size,kind\n1,2,red\n")
    with pytest.raises(ValueError, match=r"^file must have columns of different names, got 'kind' 2 times$"):
        read(tmp_path, "kind,size,kind\n1,2,red\n")


@pytest.mark.parametrize("start", [0, 1, 1000])
@pytest.mark.parametrize("order", [np.arange(N), np.arange(N)[::-1], np.arange(N) * 7 % N])
def test_a_column_that_numbers_the_rows_is_reported_by_name(numbers, start, order):
    said = f"^column 'id' of X numbers the rows from {start} to {start + N - 1}, as an index does: drop it unless it is"
    with pytest.warns(UserWarning, match=said) as caught:
        from_arrays(pd.DataFrame(numbers | {"id": start + order}), TEXT)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("codes", [[2, 0, 1], [-5.5, 7, 1e9]])
def test_a_column_equal_to_the_label_is_reported(numbers, codes):
    X = np.column_stack([numbers["size"], np.array(codes * 10)])
    with pytest.warns(
        UserWarning, match=r"^column 1 of X has one value for each label, so it gives the label away: drop"
    ):
        from_arrays(X, TEXT)


def test_columns_that_are_nearly_so_are_features(numbers):
    twice, half, off = np.arange(N), np.arange(N) + 0.5, np.array([2.0, 0.0, 1.0] * 10)
    twice[3], off[4] = 4, 1.0
    indicator = TEXT == "red"  # of one label of three: the others share a value
    columns = {"twice": twice, "half": half, "off": off, "indicator": indicator, "constant": np.ones(N)}
    data = from_arrays(pd.DataFrame(numbers | columns), TEXT)
    assert data.n_features == 8
    assert not data.X_train[:, -1].any()


def test_the_rows_of_a_file_are_checked_once(tmp_path, numbers):
    """Every seed splits them again, without another warning."""
    pd.DataFrame(numbers).assign(id=range(N), kind=TEXT).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.warns(UserWarning, match="column 'id'") as caught:
        load = splitter(*read_rows(tmp_path / "mine.csv", "kind"))
    assert len(caught) == 1
    assert load(1).fingerprint != load(2).fingerprint
