"""The user's own data: arrays in memory and files."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import FROM_0, flag, named_arguments, shown, user_path, whole
from lookahead_nb.datasets.dataset import Dataset, _seed
from lookahead_nb.datasets.encoding import Mixed, columns_of, encoded_table
from lookahead_nb.datasets.scaling import Scaling
from lookahead_nb.datasets.split import _chunk, _each_column, _split_and_scaled, _Table
from lookahead_nb.datasets.tables import Table, check_names, check_order, labels_of, nearest, suspicions, table_of

if TYPE_CHECKING:
    import pandas as pd


@named_arguments
def from_arrays(X: Any, y: Any, split_seed: int = 0) -> Dataset:
    """Return your own data, split and scaled like the bundled sets.

    A class with at least three rows is in every part; a smaller one is in the training part.

    Parameters
    ----------
    X : (rows, columns) array or table
        Finite numbers with absolute values below 1e100, or bool, which counts as 0 and 1; copied. Anything that
        ``np.asarray`` accepts, a data frame of pandas or polars, a pyarrow table or a sparse matrix of SciPy. Missing
        values, text, dates and categories are refused.
    y : (rows,) array
        Labels: text, bool or whole numbers, which may be floats such as 1.0. At least two different ones, and one of
        them at least three times. They are numbered in sorted order; ``data.classes`` holds them.
    split_seed : int
        In [0, 2**63).

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, dtype or shape, or holds a value out of range. The message names its row and
        its column.

    Notes
    -----
    The module's docstring describes splitting and scaling. ``data.X_train`` is scaled, your own X is not.
    ``run.predict`` and ``data.scaling`` scale raw rows, so pass these your own rows. ``model.predict`` expects scaled
    ones, and returns the numbers of classes; ``run.predict`` returns labels.

    Labels 0, 1, ... up to the largest are their own numbers.

    A constant column becomes 0 and changes no loss, so it is accepted without a warning. The model learns nothing from
    it, so rows to predict should hold the same constant. Columns without a name, or with the name of another, are
    refused.

    Warns
    -----
    UserWarning
        If a column numbers the rows, as an index does, or has one value for each label. Such columns give labels away:
        on rows sorted by label, an index alone reaches full test accuracy.

    Examples
    --------
    From your own rows to predictions for raw ones:

    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> X = np.random.default_rng(0).normal(50, 20, (100, 2))
    >>> y = np.where(X[:, 0] > X[:, 1], "left", "right")
    >>> data = lnb.datasets.from_arrays(X, y)
    >>> len(data.y_train), len(data.y_validation), len(data.y_test)
    (60, 20, 20)
    >>> run = lnb.train(lnb.LogisticRegression(2), data, lnb.AdamW(0.1), steps=200, batch_size=20)
    >>> run.predict([[70, 20], [20, 70]]).tolist()
    ['left', 'right']
    """
    return _divided(_own_table(X, y, stacklevel=4), split_seed)


@named_arguments
def unlabelled(train: Any, validation: Any, test: Any) -> Dataset:
    """Return rows without labels, in three parts of your own and not scaled, for a model that needs no labels.

    Parameters
    ----------
    train, validation, test : (rows, columns) array or table
        Of at least one row each, as X of :func:`from_arrays`. All parts have the same columns.

    Returns
    -------
    Dataset
        Every row has the label 0, and ``data.scaling`` changes nothing.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, dtype or shape, or holds a value out of range. The message names its row and
        its column.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> data = lnb.datasets.unlabelled([[0.0], [4.0]], [[1.0]], [[2.0]])
    >>> run = lnb.train(lnb.models.FiniteSumQuadratic([[1.0]]), data, lnb.SGD(0.5), steps=1, batch_size=2)
    >>> run.params, run.history["test_loss"].tolist()
    (array([1.], dtype=float32), [2.0, 0.5])
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    scaling, first = Scaling(0, np.array(0.0), np.array(0.0), np.array(1.0)), 0
    for name, X in (("train", train), ("validation", validation), ("test", test)):
        try:
            table = table_of(X)
            scaled = scaling.fitting(table.values, np.arange(len(table.values)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must be a table of numbers, but {error}") from error
        if not parts:
            scaling = replace(scaling, n_features=scaled.shape[1], columns=table.names)
        elif scaled.shape[1] != scaling.n_features:
            raise ValueError(f"{name} must have the {scaling.n_features} columns of train, got {scaled.shape[1]}")
        parts.append((scaled, np.zeros(len(scaled), np.int64), first + np.arange(len(scaled))))
        first += len(scaled)
    return Dataset(*parts[0], *parts[1], *parts[2], "arrays", 1, True, 0, OWN, scaling, np.array([0]))


def splitter(X: Any, y: Any) -> Callable[[int], Dataset]:
    """Return the function of the split seed that returns :func:`from_arrays` of X and y, which are checked once.

    Parameters
    ----------
    X, y
        As in :func:`from_arrays`.

    Returns
    -------
    function
        Of split_seed; it can be pickled.

    Raises
    ------
    TypeError, ValueError
        As in :func:`from_arrays`.
    """
    return partial(_divided, _own_table(X, y))


class MixedTable:
    """Your own table, with missing values and categories, from which many data sets are made.

    A table without them gives the data sets of :func:`from_arrays`. Otherwise :mod:`.encoding` turns its columns into
    numbers, fitted on the training part of each data set.

    Parameters
    ----------
    X : (rows, columns) array or table
        As in :func:`from_arrays`; a data frame may hold text, categories and missing values, an array NaN.
    y : (rows,) array
        As in :func:`from_arrays`.
    fewest : int, default 1
        The rows that X must have.

    Raises
    ------
    TypeError, ValueError
        As in :func:`from_arrays`, or if a column can be no category: the message names it.
    ModuleNotFoundError
        If an encoding is needed and scikit-learn is not installed.

    Warns
    -----
    UserWarning
        As in :func:`from_arrays`.

    Attributes
    ----------
    rows : int
        Of the table.
    features : int
        The columns of the data sets.
    classes : array
        The different labels in sorted order.
    encoded : bool
        Whether it has missing values or categories.
    """

    def __init__(self, X: Any, y: Any, fewest: int = 1) -> None:
        found = columns_of(X)
        self.encoded = found is not None
        self._table = _own_table(X, y, found, fewest, stacklevel=6)
        self.rows = len(self._table.y)
        self.features = len(self._table.names or ()) if self.encoded else self._table.X.shape[1]
        self.classes = np.asarray(self._table.classes)

    def split(self, split_seed: int) -> Dataset:
        """Return all rows in three parts.

        Parameters
        ----------
        split_seed : int
            In [0, 2**63).

        Returns
        -------
        Dataset
        """
        return _divided(self._table, split_seed)

    def chunk(self, i: int, rows: int, split_seed: int) -> Dataset:
        """Return a part of the rows as a data set of its own; parts of one size share no row.

        Parameters
        ----------
        i, rows, split_seed : int
            As in :func:`.sources.chunk`.

        Returns
        -------
        Dataset

        Raises
        ------
        TypeError, ValueError
            As in :func:`.sources.chunk`.
        """
        return _chunk(self._table, "arrays", i, rows, _seed("split_seed", split_seed), OWN)


OWN = "the user's own arrays"


def _own_table(X: Any, y: Any, mixed: Mixed | None = None, fewest: int = 1, stacklevel: int = 3) -> _Table:
    """Return checked rows and numbered labels; mixed : what :func:`columns_of` returned."""
    table = Table(np.stack([column.values for column in mixed[0]], axis=1), mixed[1]) if mixed else table_of(X)
    if len(table.values) < fewest:
        raise ValueError(f"X must have at least {fewest} rows, got {len(table.values)}")
    labels, classes = labels_of(y)
    if len(table.values) != len(labels):
        raise ValueError(f"y must have one label for each of the {len(table.values)} rows of X, got {len(labels)}")
    check_order(X, y)
    for sentence in suspicions(table, labels):
        warnings.warn(sentence, stacklevel=stacklevel)
    if mixed:
        return encoded_table(mixed[0], mixed[1], labels, classes)
    return _Table(table.values, labels, _each_column, classes=classes, names=table.names)


def _divided(table: _Table, split_seed: int = 0) -> Dataset:
    return _split_and_scaled(table, "arrays", _seed("split_seed", split_seed), OWN)


@named_arguments
def read_rows(file: str | Path, label: str | None = None, mixed: bool = False) -> tuple[Any, np.ndarray]:
    r"""Return the rows of an .npz or .csv file as X and y, for :func:`from_arrays`.

    Parameters
    ----------
    file : path
        An .npz file with the arrays X and y, or a .csv file: a line of column names, then rows, separated by commas.
    label : str, optional
        The label column of a .csv file. All other columns hold numbers or True and False. None for an .npz file.
    mixed : bool, default False
        Whether the other columns of a .csv file may hold text too, and lack values, as ``lnb.ask`` accepts them.

    Returns
    -------
    X : (rows, columns) array or DataFrame
        A DataFrame with the names of the columns for a .csv file.
    y : (rows,) array
        The labels as they are in the file: numbers, bool or text. "NA" is a name like any other among text, and a
        missing label among numbers. Numbers count by value: 007 and 7 are one label, unless a label is text.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is of another kind or is damaged, lacks an array, a column or a label, has a column without a name
        or two of the same, or holds text outside the label column.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import lookahead_nb as lnb
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text("x,y,kind\n1.5,2,red\n0.5,3,blue\n")
    >>> X, y = lnb.datasets.read_rows(path, label="kind")
    >>> [*X], y.tolist()
    (['x', 'y'], ['red', 'blue'])
    """
    path, mixed = user_path("file", file), flag("mixed", mixed)
    if path.suffix not in (".npz", ".csv"):
        raise ValueError(f"file must be the path of an .npz or .csv file, got {path.name!r}")
    if (path.suffix == ".csv") != isinstance(label, str):
        raise ValueError(f"label must be a column name for a .csv file and None for an .npz file, got {shown(label)}")
    if path.suffix == ".npz":
        with _readable(path), np.load(path) as arrays:
            found = [arrays[name] for name in ("X", "y") if name in arrays]
        if len(found) < 2:
            raise ValueError(f"file must hold arrays X and y, but {path} does not")
        return found[0], found[1]
    pd = whole("pandas")

    with _readable(path), path.open(newline="", encoding="utf-8-sig") as lines:
        top = [*islice(filter(None, csv.reader(lines)), 2)]
        if not top:
            raise ValueError("it is empty")
    header, first = top[0], top[-1]
    _check_header(path, header, label)
    check_names("file", [*header, *[""] * (len(first) - len(header))])  # values without a name: pandas makes an index
    with _readable(path):
        frame = pd.read_csv(path, low_memory=False)
        texts = pd.read_csv(path, usecols=[label], dtype=str, keep_default_na=False)[label]
    labels = _labels_in(frame.pop(label), texts)
    for name in () if mixed else frame:
        text = frame[name].notna() & pd.to_numeric(frame[name], errors="coerce").isna()
        if text.any():
            found_text = f"got {frame[name][text.idxmax()]!r:.80} at row {text.idxmax()}, column {name!r} {FROM_0}"
            must = "file must hold numbers in all columns except the label column"
            raise ValueError(
                f"{must}, {found_text}: turn text into numbers, or read it with read_rows(..., mixed=True)"
            )
    return frame, labels


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which file an error is about; a damaged one can raise anything."""
    try:
        yield
    except OSError as error:
        raise OSError(f"file {path} cannot be read: {error.strerror}") from error
    except Exception as error:
        reason = " ".join(str(error).split())  # in one line
        raise ValueError(f"file {path} is not a readable {path.suffix} file: {reason}") from error


def _check_header(path: Path, header: list[str], label: Any) -> None:
    """Refuse a file without the label column, and say why it may lack it."""
    if label in header:
        return
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if separator in "".join(header):
            raise ValueError(f"file must separate columns by commas, but {path} separates them by {called}")
    near, listed = nearest(label, header)
    raise ValueError(f"file must hold a column {label!r}{near}, but {path} has {listed}")


def _labels_in(parsed: pd.Series, texts: pd.Series) -> np.ndarray:
    """Return the labels of a column as pandas parses it if they are numbers or bool, otherwise as they are written."""
    known = parsed.dropna()
    as_parsed = parsed.dtype.kind in "biuf" or all(isinstance(label, bool) for label in known)
    missing = parsed.isna() if as_parsed else texts.str.strip() == ""
    if missing.any():
        raise ValueError(f"file must hold a label in every row, but row {int(missing.argmax())} {FROM_0} has none")
    return parsed.to_numpy() if as_parsed else np.array([*texts])
