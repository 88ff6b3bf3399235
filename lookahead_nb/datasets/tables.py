"""Checks of the user's own rows and labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lookahead_nb.checks import plain_array

_LIMIT = 1e100  # squares of larger numbers overflow


def numbers_of(X: ArrayLike) -> np.ndarray:
    """Return a table of numbers as float64.

    Parameters
    ----------
    X : (rows, columns) array
        As in :func:`from_arrays`.

    Returns
    -------
    (rows, columns) float64 array
        C-contiguous.

    Raises
    ------
    TypeError, ValueError
        If X has another dtype or shape, or holds a value out of range.
    """
    array = plain_array("X", X)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"X must hold numbers, got {array.dtype}")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"X must be a table of rows and columns, got shape {array.shape}")
    array = np.ascontiguousarray(array, np.float64)  # sums depend on the layout
    bad = ~(np.abs(array) < _LIMIT)  # this form finds NaN too
    if bad.any():
        row, column = np.argwhere(bad)[0]
        allowed = f"finite numbers below {_LIMIT:g} in size"
        raise ValueError(f"X must hold {allowed}, got {array[row, column]} at row {row}, column {column}")
    return array


def labels_of(y: ArrayLike) -> np.ndarray:
    """Return labels as int64.

    Parameters
    ----------
    y : (rows,) array
        As in :func:`from_arrays`.

    Returns
    -------
    (rows,) int64 array

    Raises
    ------
    TypeError, ValueError
        If y has another dtype or shape, or cannot be split in three.
    """
    array = plain_array("y", y)
    if array.dtype.kind not in "biu":
        raise TypeError(f"y must have an integer or bool dtype, got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"y must have one dimension, got shape {array.shape}")
    labels, counts = np.unique(array, return_counts=True)
    if len(labels) < 2 or labels[0] != 0 or labels[-1] != len(labels) - 1:
        shown = ", ".join(map(str, labels[:8].tolist())) + (", ..." if len(labels) > 8 else "")
        raise ValueError(f"y must hold every label 0, 1, ... up to its largest, at least two of them, got [{shown}]")
    if counts.max() < 3:
        raise ValueError(f"y must hold some label at least three times to be split in three, got {counts.max()} times")
    return array.astype(np.int64)
