"""The user's own tables and labels, as numbers: what is accepted, and errors that name row and column."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import FROM_0, plain_array, shown

_LIMIT = 1e100  # squares of larger numbers overflow
_RANGE = f"X must hold finite numbers below {_LIMIT:g} in size"
_NAMELESS = "Unnamed: "  # what pandas calls a column without a name


class Table(NamedTuple):
    """A table of checked numbers.

    Attributes
    ----------
    values : (rows, columns) float64 array
        C-contiguous.
    names : tuple or None
        The names of the columns; None if the table has none.
    """

    values: np.ndarray
    names: tuple[Hashable, ...] | None


def column_names(X: Any) -> tuple[Hashable, ...] | None:
    """Return the names of the columns of a table, or refuse them.

    Parameters
    ----------
    X : object
        A data frame of pandas or polars, a pyarrow table, or anything else.

    Returns
    -------
    tuple or None
        None for a table without names. The names 0, 1, 2, ..., which pandas gives to nameless columns, are none.

    Raises
    ------
    TypeError
        If X is a table that is not in memory.
    ValueError
        If a column has no name, or two have the same.
    """
    names = getattr(X, "column_names", getattr(X, "columns", None))
    if names is None or isinstance(X, np.ndarray):
        return None
    if not hasattr(X, "shape"):
        raise TypeError(f"X must be a table in memory, got {type(X).__name__}: collect it first")
    names = tuple(names)
    if names == (*range(len(names)),):
        return None
    check_names("X", names)
    return names


def check_names(what: str, names: Iterable[Any]) -> None:
    """Refuse columns without a name, and two columns of the same name.

    Parameters
    ----------
    what : str
        Whose names they are, for the message.
    names : iterable

    Raises
    ------
    ValueError
        If a name is missing or occurs twice.
    """
    for name, count in Counter(names).items():
        text = "" if name is None or name != name else str(name)  # NaN
        if not text.strip() or text.startswith(_NAMELESS):
            advice = "drop it if it is an index that pandas wrote (to_csv(index=False) writes none), otherwise name it"
            raise ValueError(f"{what} must have a name for every column, got a column without one: {advice}")
        if count > 1:
            raise ValueError(f"{what} must have columns of different names, got {name!r} {count} times")


def table_of(X: Any, select: tuple[Hashable, ...] | None = None) -> Table:
    """Return a table as numbers.

    Parameters
    ----------
    X : (rows, columns) array or table
        As in :func:`from_arrays`.
    select : tuple, optional
        The names of the columns to return, in this order, of a table with names. All by default.

    Returns
    -------
    Table

    Raises
    ------
    TypeError, ValueError
        If X has another dtype or shape, or holds a value out of range. The message names row and column.
    """
    names = column_names(X)
    framed = hasattr(X, "columns") and not isinstance(X, np.ndarray)
    if hasattr(X, "toarray") and hasattr(X, "nnz"):  # a sparse matrix of SciPy
        X = X.toarray()
    array: Any = X if framed else plain_array("X", X)
    if len(array.shape) == 1:
        one = "frame.iloc[[i]], not frame.iloc[i]" if hasattr(X, "iloc") else "[X]"
        raise ValueError(f"X must be a table of rows and columns, got shape {array.shape}: for a single row pass {one}")
    if not framed and array.dtype.kind not in "biuf":
        raise TypeError(f"X must hold numbers, got {array.dtype}")
    if len(array.shape) != 2 or 0 in array.shape:
        raise ValueError(f"X must be a table of at least one row and one column, got shape {tuple(array.shape)}")
    if framed:
        names = names and (select or names)
        values = np.empty(array.shape if names is None else (array.shape[0], len(names)))
        for i in range(values.shape[1]):
            values[:, i] = _column(array[i if names is None else names[i]], place(i, names))
    else:
        values = np.ascontiguousarray(array, np.float64)  # sums depend on the layout
    bad = ~(np.abs(values) < _LIMIT)  # this form finds NaN too
    if bad.any():
        row, i = np.argwhere(bad)[0]
        raise ValueError(f"{_RANGE}, got {values[row, i]} at row {row}, {place(i, names)} {FROM_0}")
    return Table(values, names)


def without_columns(X: Any, drop: Any) -> tuple[Any, list[str]]:
    """Return a table without some of its columns.

    Parameters
    ----------
    X : (rows, columns) array or table
        As in :func:`from_arrays`.
    drop : iterable
        The names of the columns to leave out; for a table without names their numbers, from 0. At least one column
        stays.

    Returns
    -------
    table : array or table
        X itself if nothing is left out.
    dropped : list of str
        The names, or numbers, of the columns that are left out.

    Raises
    ------
    TypeError, ValueError
        If drop names a column that X does not have, or all of them.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.datasets.tables import without_columns
    >>> table, dropped = without_columns(np.array([[1, 2, 3]]), [1])
    >>> table.tolist(), dropped
    ([[1, 3]], ['1'])
    """
    if isinstance(drop, (str, bytes, Mapping)) or not np.iterable(drop):
        raise TypeError(f"drop must be a list of columns, got {shown(drop)}")
    wanted = [*drop]  # an iterator can be read only once
    if not wanted:
        return X, []
    names = column_names(X)
    framed = hasattr(X, "columns") and not isinstance(X, np.ndarray)
    array: Any = X if framed else X.tocsr() if hasattr(X, "tocsr") else plain_array("X", X)
    if len(array.shape) != 2 or 0 in array.shape:
        raise ValueError(f"X must be a table of at least one row and one column, got shape {tuple(array.shape)}")
    number = array.shape[1]
    left_out = {_place_of(column, number, names) for column in wanted}
    kept = [i for i in range(number) if i not in left_out]
    if not kept:
        raise ValueError(f"drop must leave a column of X, got all {number}")
    dropped = [str(i if names is None else names[i]) for i in sorted(left_out)]
    if not framed:
        return array[:, kept], dropped
    if hasattr(array, "iloc"):
        return array.iloc[:, kept], dropped
    return array.select([name for i, name in enumerate(names or ()) if i in kept]), dropped


def _place_of(column: Any, number: int, names: tuple[Hashable, ...] | None) -> int:
    """Return the number of a column to be left out, or refuse what names none of this number of columns."""
    if names is None:
        whole = isinstance(column, numbers.Integral) and not isinstance(column, (bool, np.bool_))
        if not whole or not 0 <= int(column) < number:
            allowed = f"numbers from 0 to {number - 1}, since X has no names"
            raise ValueError(f"drop must name columns of X by {allowed}, got {shown(column)}")
        return int(column)
    if isinstance(column, Hashable) and column in names:
        return names.index(column)
    near, listed = nearest(column, names)
    raise ValueError(f"drop must name columns of X, got {shown(column)}{near}: X has {listed}")


def nearest(wanted: Any, names: Sequence[Hashable]) -> tuple[str, str]:
    """Return parts of a sentence about a column that is not there.

    Parameters
    ----------
    wanted : object
        The name of no column.
    names : sequence
        Of all columns.

    Returns
    -------
    near : str
        Which name is most like it; "" if none is.
    listed : str
        The names.

    Examples
    --------
    >>> from lookahead_nb.datasets.tables import nearest
    >>> nearest("Dat", ["date", "size"])
    (" (did you mean 'date'?)", "'date', 'size'")
    """
    of_any_case = {str(name).casefold(): name for name in reversed(names)}
    found = get_close_matches(str(wanted).casefold(), of_any_case, 1)
    near = f" (did you mean {of_any_case[found[0]]!r}?)" if found else ""
    return near, ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")


def place(column: int, names: tuple[Hashable, ...] | None) -> str:
    """Return how an error calls a column.

    Parameters
    ----------
    column : int
    names : tuple or None
        As in :class:`Table`.

    Returns
    -------
    str
    """
    return f"column {column if names is None else repr(names[column])}"


def _column(column: Any, where: str) -> np.ndarray:
    """Return a column of a data frame as an array that casts to float64, or refuse it."""
    missing = _missing(column)
    if missing.any():
        raise ValueError(f"{_RANGE}, got a missing value at row {int(missing.argmax())}, {where} {FROM_0}")
    dtype = getattr(column, "dtype", getattr(column, "type", None))  # pyarrow has types
    array = np.asarray(column)
    if str(dtype) == "category" or array.dtype.kind not in "biufO":
        raise TypeError(f"X must hold numbers, got {dtype} in {where}: encode it, as pandas.get_dummies does")
    if array.dtype.kind == "O":
        for row, value in enumerate(array):
            if not isinstance(value, (numbers.Real, np.bool_, Decimal)):
                raise TypeError(f"X must hold numbers, got {value!r:.80} at row {row}, {where} {FROM_0}")
    return array.astype(np.float64)


def _missing(column: Any) -> np.ndarray:
    """Return a mask of the missing values of a column of pandas, polars or pyarrow."""
    find = getattr(column, "isna", None) or getattr(column, "is_null", None)
    return np.zeros(len(column), bool) if find is None else np.asarray(find(), bool)


def suspicions(table: Table, labels: np.ndarray) -> list[str]:
    """Return a warning for each column that should not be a feature.

    Parameters
    ----------
    table : Table
    labels : (rows,) int64 array
        The number of the class of each row.

    Returns
    -------
    list of str
        For columns that hold consecutive whole numbers, each once, and for those with one value for each class.
    """
    values, names = table
    low, high = values.min(axis=0), values.max(axis=0)
    found = []
    for i in np.flatnonzero(high - low == len(values) - 1).tolist():
        if (np.sort(values[:, i]) == low[i] + np.arange(len(values))).all() and low[i] % 1 == 0:
            what = f"numbers the rows from {low[i]:.0f} to {high[i]:.0f}, as an index does"
            found.append(f"{place(i, names)} of X {what}: drop it unless it is a measurement")
    first, last = (np.unique(order, return_index=True)[1] for order in (labels, labels[::-1]))
    for i in np.flatnonzero((values[first] == values[::-1][last]).all(axis=0)).tolist():
        each = values[first, i]
        if len({*each}) == len(each) and (values[:, i] == each[labels]).all():
            what = "has one value for each label, so it gives the label away"
            found.append(f"{place(i, names)} of X {what}: drop it unless it is known ahead of the label")
    return found


def check_order(X: Any, y: Any) -> None:
    """Refuse pandas objects whose rows have different indexes.

    Parameters
    ----------
    X, y : object
        Rows are compared by index if both have one.

    Raises
    ------
    ValueError
        If the index of y is not that of X.
    """
    index: Any = getattr(X, "index", None)
    other: Any = getattr(y, "index", None)
    if not hasattr(index, "equals") or not hasattr(other, "equals") or len(index) != len(other):
        return
    if not index.equals(other):
        advice = "y[X.index] pairs rows by index, y.to_numpy() as they come"
        raise ValueError(f"y must have the index of X, got another one, so the rows may not belong together: {advice}")


def labels_of(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as numbers, and what they mean.

    Parameters
    ----------
    y : (rows,) array
        As in :func:`from_arrays`.

    Returns
    -------
    numbers : (rows,) int64 array
        The position of each label in classes.
    classes : (n_classes,) array
        The different labels in sorted order, in the dtype of y; text as ``str``.

    Raises
    ------
    TypeError, ValueError
        If y has another dtype or shape, misses a label, or cannot be split in three.
    """
    labels = _plain_labels(y)
    classes, first, codes, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    if not len(labels):
        raise ValueError("y must hold at least two different labels, got none")
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two different labels, got {labels[first[0]].item()!r} alone")
    if counts.max() < 3:
        raise ValueError(f"y must hold some label at least three times to be split in three, got {counts.max()} times")
    if labels.dtype.kind == "U":
        names: dict[str, str] = {}
        for name in classes.tolist():
            if (other := names.setdefault(name.strip(), name)) != name:
                raise ValueError(f"y must hold labels that differ by more than spaces, got {other!r} and {name!r}")
    return codes.astype(np.int64), classes


def _plain_labels(y: Any) -> np.ndarray:
    """Return labels as an array of bool, whole numbers or text, or refuse them."""
    if isinstance(y, str):
        advice = f"pass the column itself, X[{y!r}], and X.drop(columns={y!r}) as X"
        raise TypeError(f"y must hold a label for each row, got the text {y!r}; if it names a column of X, {advice}")
    if hasattr(y, "columns") and hasattr(y, "shape"):
        raise ValueError(f"y must have one dimension, got a table of shape {tuple(y.shape)}: choose one column")
    if hasattr(y, "to_numpy") and (missing := _missing(y)).any():
        raise ValueError(f"y must hold a label in every row, but row {int(missing.argmax())} {FROM_0} has none")
    array = plain_array("y", y)
    if array.ndim != 1:
        raise ValueError(f"y must have one dimension, got shape {array.shape}")
    if array.dtype.kind in "US" and not isinstance(y, np.ndarray):
        array = np.array([*y], object)  # NumPy turns 1 into "1" in ["a", 1]
    if array.dtype.kind == "O":
        array = _of_one_type(array)
    if array.dtype.kind == "T":
        array = np.array(array.tolist())
    if array.dtype.kind == "f":
        bad = ~(np.isfinite(array) & (array == np.round(array)))
        if bad.any():
            row = int(bad.argmax())
            if np.isnan(array[row]):
                raise ValueError(f"y must hold a label in every row, but row {row} {FROM_0} has none")
            raise ValueError(
                f"y must hold text, bool or whole numbers as labels, got {array[row]} at row {row} {FROM_0}"
            )
    elif array.dtype.kind not in "biuU":
        raise TypeError(f"y must hold text, bool or whole numbers as labels, got {array.dtype}")
    return array


def _of_one_type(labels: np.ndarray) -> np.ndarray:
    """Return Python objects as an array of text, bool or numbers, or refuse them."""
    for row, label in enumerate(labels):
        if label is None or label != label:  # NaN
            raise ValueError(f"y must hold a label in every row, but row {row} {FROM_0} has none")
    for kind, dtype in ((str, str), ((bool, np.bool_), bool), (numbers.Integral, np.int64), (numbers.Real, float)):
        if not isinstance(labels[0], kind):
            continue
        others = [row for row, label in enumerate(labels) if not isinstance(label, kind)]
        if not others:
            if dtype is np.int64 and (wide := [label for label in labels if not -(2**63) <= label < 2**63]):
                raise ValueError(f"y must hold whole numbers of at most 64 bits as labels, got {wide[0]}")
            return labels.astype(dtype)
        if dtype is np.int64 and all(isinstance(label, numbers.Real) for label in labels):
            return labels.astype(float)
        shown = f"{labels[0]!r:.40} at row 0 and {labels[others[0]]!r:.40} at row {others[0]} {FROM_0}"
        raise TypeError(f"y must hold labels of one type, got {shown}")
    raise TypeError(f"y must hold text, bool or whole numbers as labels, got {labels[0]!r:.80} at row 0 {FROM_0}")
