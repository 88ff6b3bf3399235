"""Tables with missing values and categories, as numbers that a network can be trained on.

What a column needs is decided once, on all rows. What it becomes is fitted on the training part alone, by
``ColumnTransformer`` of scikit-learn:

- Numbers: a missing value becomes the median. A column that misses some gets a further column, 1 where it was missing.
- Text, and categories of pandas: a column of 0 and 1 for each of the ``MOST_CATEGORIES`` most frequent values. If there
  are more, the last of these columns stands for all others. A missing value is a value of its own. A value that the
  training part lacks counts as one of the others, or has 0 everywhere.

Then numbers are scaled like those of any other table; the columns of 0 and 1 are not.
"""

from __future__ import annotations

import datetime
import numbers
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import FROM_0, extra, plain_array
from lookahead_nb.datasets.scaling import Scaling
from lookahead_nb.datasets.split import _each_column, _Table
from lookahead_nb.datasets.tables import _LIMIT, _RANGE, _missing, column_names, place

MOST_CATEGORIES = 20
NUMBER = (numbers.Real, np.bool_, Decimal)
DATE = re.compile(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}( .*)?")


class Column(NamedTuple):
    """What a column of a table holds.

    Attributes
    ----------
    values : (rows,) float64 array
        Numbers, NaN where one is missing; or for each row the number of its category.
    levels : tuple of str or None
        The categories in sorted order, a missing one last as ""; None for numbers.
    """

    values: np.ndarray
    levels: tuple[str, ...] | None

    @property
    def lacks_some(self) -> bool:
        """Whether it holds numbers and misses some."""
        return self.levels is None and bool(np.isnan(self.values).any())


Mixed = tuple[list[Column], tuple[Hashable, ...] | None]  # the columns of a table and their names


def columns_of(X: Any) -> Mixed | None:
    """Return the columns of a table that has missing values or categories.

    Parameters
    ----------
    X : (rows, columns) array or table
        A data frame of pandas or polars, a pyarrow table, or an array of numbers, in which NaN is missing.

    Returns
    -------
    columns : list of Column
    names : tuple or None
        As of :func:`.tables.column_names`. None instead of both if X has neither, or is no table.

    Raises
    ------
    TypeError, ValueError
        If a column holds dates, values of several types, no value at all, a different text in most rows, or text among
        numbers. The message names it.
    """
    names = column_names(X)
    framed = hasattr(X, "columns") and not isinstance(X, np.ndarray)
    if not framed:
        array = np.asarray(X) if hasattr(X, "toarray") else plain_array("X", X)
        if array.ndim != 2 or 0 in array.shape or array.dtype.kind != "f" or not np.isnan(array).any():
            return None
        parts = [array[:, i] for i in range(array.shape[1])]
    elif len(X.shape) != 2 or 0 in X.shape:
        return None
    else:
        parts = [X[i if names is None else names[i]] for i in range(X.shape[1])]
    columns = [_column(part, place(i, names)) for i, part in enumerate(parts)]
    return (columns, names) if any(column.levels or column.lacks_some for column in columns) else None


def _column(column: Any, where: str) -> Column:
    missing = _missing(column)
    array = np.asarray(column)
    if array.dtype.kind in "mM" or str(getattr(column, "dtype", "")).startswith(("date", "time", "period")):
        raise _dates(where)
    if array.dtype.kind == "f":
        missing = missing | np.isnan(array)
    if array.dtype.kind in "OUT":
        missing = missing | np.array([value is None or value != value or _is_blank(value) for value in array], bool)
    if missing.all():
        raise ValueError(f"X must hold values in every column, got none in {where}: drop it")
    known = array[~missing]
    values = np.full(len(array), np.nan)
    category = str(getattr(column, "dtype", "")).lower().startswith("categor")
    if not category and (array.dtype.kind in "biuf" or all(isinstance(value, NUMBER) for value in known)):
        values[~missing] = known.astype(np.float64)
        if (large := np.abs(values) >= _LIMIT).any():
            row = int(large.argmax())
            raise ValueError(f"{_RANGE}, got {values[row]} at row {row}, {where} {FROM_0}")
        return Column(values, None)
    if any(isinstance(value, (datetime.date, datetime.timedelta)) for value in known):
        raise _dates(where)
    if not category and (other := next((value for value in known if not isinstance(value, str)), None)) is not None:
        row = next(row for row, value in enumerate(array) if value is other)
        raise TypeError(f"X must hold numbers or text in a column, got {other!r:.80} at row {row}, {where} {FROM_0}")
    texts = [str(value).strip() for value in known]
    _refuse_no_categories(texts, array, where)
    levels = tuple(sorted({*texts}))
    values[missing] = len(levels)
    values[~missing] = np.searchsorted(levels, texts)
    return Column(values, (*levels, "") if missing.any() else levels)


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _dates(where: str) -> TypeError:
    return TypeError(f"X must hold numbers or categories, got dates in {where}: turn them into numbers, or drop it")


def _refuse_no_categories(texts: Sequence[str], array: np.ndarray, where: str) -> None:
    """Refuse a column of text that is no category: dates, numbers among which there is text, names."""
    if all(DATE.fullmatch(text) for text in {*texts}):
        raise _dates(where)
    odd = [text for text in texts if not _is_number(text)]
    if odd and len(odd) < len(texts) / 2:
        row = next(row for row, value in enumerate(array) if str(value).strip() == odd[0])
        advice = "leave the field empty if it means a missing value"
        raise ValueError(f"X must hold numbers or text in a column, got {odd[0]!r:.80} among numbers "
                         f"at row {row}, {where} {FROM_0}: {advice}")  # fmt: skip
    if (different := len({*texts})) > MOST_CATEGORIES and different > len(texts) / 2:
        what = f"{different} different texts in {len(texts)} rows"
        raise ValueError(f"X must hold categories, got {what} of {where}, as names do: drop it")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------------ encoding


@dataclass(frozen=True, eq=False, repr=False)
class EncodedScaling(Scaling):
    """The encoding of a table, fitted on a training part, and then :class:`Scaling`.

    Attributes
    ----------
    n_features, origin, mean, std, columns
        As in :class:`Scaling`, of the encoded columns.
    transformer : ColumnTransformer or None
        Fitted on the training part.
    widths : dict of str to int
        The columns that each part of it has on every training part.
    """

    transformer: Any = None
    widths: Any = None

    def __call__(self, X: Any) -> np.ndarray:
        """Refuse rows: only those of the table itself are encoded.

        Parameters
        ----------
        X : object

        Returns
        -------
        array
            Never.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(f"X must be numbers without missing values for new rows, got {type(X).__name__}")

    def apply(self, numbers: Any) -> np.ndarray:
        """Return rows of the table, encoded and scaled.

        Parameters
        ----------
        numbers : (rows, columns) array
            The ``values`` of all columns.

        Returns
        -------
        (rows, n_features) float32 array
            C-contiguous.
        """
        return super().apply(encoded(self.transformer, self.widths, numbers))


def encoded(transformer: Any, widths: dict[str, int], numbers: np.ndarray) -> np.ndarray:
    """Return rows as a fitted transformer encodes them, with as many columns on every training part.

    Parameters
    ----------
    transformer : ColumnTransformer
    widths : dict of str to int
        The columns of each part of it.
    numbers : (rows, columns) array

    Returns
    -------
    (rows, features) float64 array
        A training part with fewer categories than the table leaves columns of 0.
    """
    found = transformer.transform(numbers)
    table, first = np.zeros((len(numbers), sum(widths.values()))), 0
    for name, width in widths.items():
        part = found[:, transformer.output_indices_[name]]
        table[:, first : first + part.shape[1]] = part
        first += width
    return table


def encoded_table(
    columns: list[Column], names: tuple[Hashable, ...] | None, y: np.ndarray, classes: np.ndarray
) -> _Table:
    """Return a table that is encoded whenever a data set is made from it.

    Parameters
    ----------
    columns, names
        Of :func:`columns_of`.
    y, classes
        Of :func:`.tables.labels_of`.

    Returns
    -------
    _Table

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    """
    extra("sklearn.compose", "scikit-learn", "a table with missing values or categories", "sklearn")
    called = [names[i] if names else f"column {i}" for i in range(len(columns))]
    of_numbers = [i for i, column in enumerate(columns) if column.levels is None]
    lacking = [i for i in of_numbers if columns[i].lacks_some]
    levels = {i: len(column.levels) for i, column in enumerate(columns) if column.levels}
    features: list[Hashable] = [called[i] for i in of_numbers]
    features += [f"{called[i]} is missing" for i in lacking]
    features += [f"{called[i]} {j}" for i, n in levels.items() for j in range(min(n, MOST_CATEGORIES))]
    fit = partial(_fitted, of_numbers, lacking, levels)
    return _Table(np.stack([column.values for column in columns], axis=1), y, fit, None, classes, tuple(features))


def _fitted(
    of_numbers: list[int], lacking: list[int], levels: dict[int, int], X: np.ndarray, train: np.ndarray
) -> Scaling:
    """Fit the encoding on the training rows; levels : the number of categories by column."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    parts = [("numbers", SimpleImputer(strategy="median", keep_empty_features=True), of_numbers)]
    parts += [("missing", MissingIndicator(features="all"), lacking)]
    few = {"max_categories": MOST_CATEGORIES, "handle_unknown": "infrequent_if_exist", "sparse_output": False}
    parts += [(f"category {i}", OneHotEncoder(**few), [i]) for i in levels]
    widths = {"numbers": len(of_numbers), "missing": len(lacking)}
    widths |= {f"category {i}": min(n, MOST_CATEGORIES) for i, n in levels.items()}
    parts = [part for part in parts if widths[part[0]]]
    widths = {name: width for name, width in widths.items() if width}
    transformer = ColumnTransformer(parts, sparse_threshold=0).fit(X[train])
    numbers = encoded(transformer, widths, X[train])
    scaled = _each_column(numbers, np.arange(len(train)))
    as_it_is = np.arange(numbers.shape[1]) >= len(of_numbers)
    origin, mean, std = (
        np.where(as_it_is, value, part)
        for value, part in zip((0, 0, 1), (scaled.origin, scaled.mean, scaled.std), strict=True)
    )
    return EncodedScaling(numbers.shape[1], origin, mean, std, transformer=transformer, widths=widths)
