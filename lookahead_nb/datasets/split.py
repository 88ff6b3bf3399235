"""Data sets: bundled, synthetic, downloaded and the user's own, all split and scaled by the same rules.

Split: the rows of each class go to training, validation and test as 3 : 1 : 1, in random order. If the publisher fixed
the test set, the other rows go to training and validation as 5 : 1.

Scaling: ``(x - mean)/std`` in float64, rounded once to float32. Mean and std are those of the training part alone, for
each column. If all columns have one unit (pixels, indicators, word weights), they share one mean and std. Otherwise a
rare word would become a huge number.

All randomness comes from ``philox``, so splits and synthetic data do not depend on the version of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.datasets.dataset import Dataset, _by_class, _turns
from lookahead_nb.datasets.features import tf_idf
from lookahead_nb.kernels.philox import SPLITS, permutation


def _split(y: np.ndarray, shares: Sequence[int], seed: int) -> list[np.ndarray]:
    """Return the rows of each part, in random order, with every class divided in proportion to the shares."""
    order = permutation(len(y), seed, SPLITS)
    part = np.empty(len(y), np.int64)
    for rows in _by_class(y, order):
        turns = np.concatenate([_turns(len(rows), share) for share in shares])
        part[rows] = np.argsort(turns, kind="stable")[: len(rows)] // len(rows)
    return [order[part[order] == p] for p in range(len(shares))]


Scaled = Callable[[np.ndarray], np.ndarray]  # from row numbers to features in float32
Fit = Callable[[Any, np.ndarray], Scaled]


class _Table(NamedTuple):
    """All rows of a data set, not yet split and scaled."""

    X: Any  # what fit accepts
    y: np.ndarray
    fit: Fit  # called with X and the training rows
    test: np.ndarray | None = None  # rows of an official test set


def _split_and_scaled(
    table: _Table, name: str, split_seed: int, source: str, reload: Callable[[str, int], Dataset] | None = None
) -> Dataset:
    y = table.y
    if table.test is None:
        parts = _split(y, (3, 1, 1), split_seed)
    else:
        others = np.setdiff1d(np.arange(len(y)), table.test)
        parts = [*(others[part] for part in _split(y[others], (5, 1), split_seed)), table.test]
    scaled = table.fit(table.X, parts[0])
    train, validation, test = ((scaled(rows), y[rows]) for rows in parts)
    n_classes, official_test = int(y.max()) + 1, table.test is not None
    return Dataset(*train, *validation, *test, name, n_classes, official_test, split_seed, source, reload)


def _each_column(X: np.ndarray, train: np.ndarray) -> Scaled:
    """Scale every column of numbers by itself."""
    X = X - X[train[0]]  # makes a constant column exactly 0, however its mean would round
    fitted = X[train]
    mean, std = fitted.mean(axis=0), fitted.std(axis=0)
    with np.errstate(over="ignore"):
        scaled = ((X - mean) / np.where(std > 0, std, 1)).astype(np.float32)
    if not np.isfinite(scaled).all():
        row, column = np.argwhere(~np.isfinite(scaled))[0]
        raise ValueError(
            f"X must fit float32 after scaling by its training part, but row {row}, column {column} overflows"
        )
    return lambda rows: scaled[rows]


def _all_bytes(X: np.ndarray, train: np.ndarray) -> Scaled:
    """Scale all columns of bytes together."""
    counts = np.zeros(256, np.int64)
    for rows in np.array_split(train, math.ceil(len(train) / 500)):
        counts += np.bincount(X[rows].ravel(), minlength=256)
    values = np.arange(256)
    n, total, squares = int(counts.sum()), int(counts @ values), int(counts @ values**2)
    mean, std = total / n, math.sqrt(n * squares - total**2) / n  # from exact whole numbers
    scaled = ((values - mean) / std).astype(np.float32)  # of each byte
    return lambda rows: scaled[X[rows]]


def _all_words(counts: Any, train: np.ndarray) -> Scaled:
    """Weight word counts by TF-IDF and scale all columns together."""
    weights = tf_idf(counts, train)
    mean, std = _moments(weights[train])

    def scaled(rows: np.ndarray) -> np.ndarray:
        entries = weights[rows].tocoo()
        X = np.full(entries.shape, -mean / std, np.float32)
        X[entries.coords] = (entries.data - mean) / std
        return X

    return scaled


def _all_counts(counts: Any, train: np.ndarray) -> Scaled:
    """Scale all columns together, around 0, so that they stay sparse."""
    scaled = (counts / _moments(counts[train])[1]).astype(np.float32)
    return lambda rows: scaled[rows].toarray()


def _moments(sparse: Any) -> tuple[float, float]:
    """Return mean and standard deviation of all entries of a sparse matrix, zeros included."""
    n = math.prod(sparse.shape)
    mean = sparse.sum() / n
    return mean, math.sqrt((sparse.data**2).sum() / n - mean**2)
