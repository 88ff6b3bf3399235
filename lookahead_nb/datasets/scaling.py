"""The scaling of a data set: what its training part fixed, applied to raw rows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookahead_nb.checks import FROM_0
from lookahead_nb.datasets.features import token_counts
from lookahead_nb.datasets.tables import column_names, place, table_of


@dataclass(frozen=True, eq=False)
class Scaling:
    """The scaling ``((x - origin) - mean)/std`` of raw rows; made by :func:`load` and :func:`from_arrays`.

    It computes in float64 and rounds once to float32. The raw rows of a part of the data set give the X of that part,
    bit for bit.

    Attributes
    ----------
    n_features : int
        The number of columns.
    origin, mean, std : float64 arrays
        One number for each column, or a single one if all columns are scaled together; read-only. ``origin`` is the
        first row of the training part, or 0. ``mean`` and ``std`` are those of the training part, the mean counted from
        the origin. ``std`` is 1 for a column that is constant in the training part.
    columns : tuple or None
        The names of the columns; None for a table without names.
    """

    n_features: int
    origin: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    columns: tuple[Hashable, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("origin", "mean", "std"):
            array = np.array(getattr(self, name), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # unpickled arrays are writeable

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_features={self.n_features})"

    def __call__(self, X: Any) -> np.ndarray:
        """Return raw rows, scaled like the training part.

        Parameters
        ----------
        X : (rows, n_features) array or table
            As in :func:`from_arrays`, with at least one row. If this table and that of the data set have names, columns
            are found by name, in any order; otherwise by position.

        Returns
        -------
        (rows, n_features) float32 array
            C-contiguous; what ``model.predict`` accepts.

        Raises
        ------
        TypeError, ValueError
            If X has another type, shape or columns, or holds a value out of range. The message names row and column.
        """
        names = column_names(X)
        if self.columns and names:
            for name in (*self.columns, *names):
                if name not in names or name not in self.columns:
                    fault = "got an unknown column" if name in names else "lacks"
                    raise ValueError(f"X must have the columns of the data set, {fault} {name!r}")
        elif names and {*names} == {*range(self.n_features)}:
            raise ValueError(f"X must have its columns in the order of the data set, got {names}: use X[sorted(X)]")
        numbers = table_of(X, self.columns).values
        if numbers.shape[1] != self.n_features:
            raise ValueError(f"X must have the {self.n_features} columns of the data set, got {numbers.shape[1]}")
        return self.fitting(numbers, np.arange(len(numbers)))

    def apply(self, numbers: Any) -> np.ndarray:
        """Return checked rows, scaled; infinite where they overflow float32.

        Parameters
        ----------
        numbers : (rows, n_features) array
            float64, or uint8 if all columns are scaled together.

        Returns
        -------
        (rows, n_features) float32 array
            C-contiguous.
        """
        if numbers.dtype == np.uint8:  # images: each of the 256 values is scaled once
            return self.apply(np.arange(256.0))[numbers]
        with np.errstate(all="ignore"):
            return ((numbers - self.origin - self.mean) / self.std).astype(np.float32)

    def fitting(self, numbers: Any, rows: np.ndarray) -> np.ndarray:
        """Return checked rows, scaled, or refuse what overflows float32.

        Parameters
        ----------
        numbers : (n, n_features) array
            As in :meth:`apply`.
        rows : (n,) int64 array
            Their row numbers in the user's table, for the message.

        Returns
        -------
        (n, n_features) float32 array
            C-contiguous.

        Raises
        ------
        ValueError
            If a number overflows.
        """
        scaled = self.apply(numbers)
        if not np.isfinite(scaled).all():
            i, column = np.argwhere(~np.isfinite(scaled))[0]
            where = f"row {rows[i]}, {place(column, self.columns)} {FROM_0}"
            raise ValueError(f"X must fit float32 after scaling by the training part, but {where} overflows")
        return scaled


@dataclass(frozen=True, eq=False, repr=False)
class TextScaling(Scaling):
    """The scaling of texts: token counts, weighted by TF-IDF if the data set is, and then :class:`Scaling`.

    Attributes
    ----------
    n_features, origin, mean, std, columns
        As in :class:`Scaling`, of the counts or weights.
    weighting : object or None
        What :func:`.features.tf_idf` returns; None for plain counts.
    """

    weighting: Any = None

    def __call__(self, X: Any) -> np.ndarray:
        """Return texts as scaled rows.

        Parameters
        ----------
        X : list of str
            At least one text.

        Returns
        -------
        (texts, n_features) float32 array
            C-contiguous; what ``model.predict`` accepts.

        Raises
        ------
        TypeError, ValueError
            If X is no list of texts, or is empty.
        """
        if isinstance(X, str) or not np.iterable(X):
            raise TypeError(f"X must be a list of texts, got {X!r:.80}")
        texts = [*X]
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"X must be a list of texts, got {text!r:.80} at row {i} {FROM_0}")
        if not texts:
            raise ValueError("X must hold at least one text, got none")
        return self.apply(token_counts(texts, self.n_features))

    def apply(self, numbers: Any) -> np.ndarray:
        """Return token counts as scaled rows.

        Parameters
        ----------
        numbers : (rows, n_features) sparse matrix
            Of :func:`.features.token_counts`.

        Returns
        -------
        (rows, n_features) float32 array
            C-contiguous.
        """
        weights = numbers if self.weighting is None else self.weighting.transform(numbers)
        return super().apply(weights.toarray())
