"""The user's own data: arrays in memory and files."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import FROM_0, named_arguments, shown, user_path, whole
from lookahead_nb.datasets.dataset import Dataset, _seed
from lookahead_nb.datasets.split import _each_column, _split_and_scaled, _Table
from lookahead_nb.datasets.tables import check_names, check_order, labels_of, suspicions, table_of

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


def _own_table(X: Any, y: Any, stacklevel: int = 3) -> _Table:
    """Return checked rows and numbered labels."""
    table = table_of(X)
    labels, classes = labels_of(y)
    if len(table.values) != len(labels):
        raise ValueError(f"y must have one label for each of the {len(table.values)} rows of X, got {len(labels)}")
    check_order(X, y)
    for sentence in suspicions(table, labels):
        warnings.warn(sentence, stacklevel=stacklevel)
    return _Table(table.values, labels, _each_column, classes=classes, names=table.names)


def _divided(table: _Table, split_seed: int = 0) -> Dataset:
    return _split_and_scaled(table, "arrays", _seed("split_seed", split_seed), "the user's own arrays")


@named_arguments
def read_rows(file: str | Path, label: str | None = None) -> tuple[Any, np.ndarray]:
    r"""Return the rows of an .npz or .csv file as X and y, for :func:`from_arrays`.

    Parameters
    ----------
    file : path
        An .npz file with the arrays X and y, or a .csv file: a line of column names, then rows, separated by commas.
    label : str, optional
        The label column of a .csv file. All other columns hold numbers or True and False. None for an .npz file.

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
    path = user_path("file", file)
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
    for name in frame:
        text = frame[name].notna() & pd.to_numeric(frame[name], errors="coerce").isna()
        if text.any():
            found_text = f"got {frame[name][text.idxmax()]!r:.80} at row {text.idxmax()}, column {name!r} {FROM_0}"
            raise ValueError(f"file must hold numbers in all columns except the label column, {found_text}")
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
    shown = ", ".join(map(repr, header[:8])) + (", ..." if len(header) > 8 else "")
    raise ValueError(f"file must hold a column {label!r}, but {path} has {shown}")


def _labels_in(parsed: pd.Series, texts: pd.Series) -> np.ndarray:
    """Return the labels of a column as pandas parses it if they are numbers or bool, otherwise as they are written."""
    known = parsed.dropna()
    as_parsed = parsed.dtype.kind in "biuf" or all(isinstance(label, bool) for label in known)
    missing = parsed.isna() if as_parsed else texts.str.strip() == ""
    if missing.any():
        raise ValueError(f"file must hold a label in every row, but row {int(missing.argmax())} {FROM_0} has none")
    return parsed.to_numpy() if as_parsed else np.array([*texts])
