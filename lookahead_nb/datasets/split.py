"""Data sets: bundled, synthetic, downloaded and the user's own, all split and scaled by the same rules.

Split: the rows of each class go to training, validation and test as 3 : 1 : 1, in random order. If the publisher fixed
the test set, the other rows go to training and validation as 5 : 1. Rows with a time are split by it: the first three
fifths are for training, the last fifth for testing. Rows of a group, such as the letters of a word, stay in one part.

Scaling: ``(x - mean)/std`` in float64, rounded once to float32. Mean and std are those of the training part alone, for
each column. If all columns have one unit (pixels, indicators, word weights), they share one mean and std. Otherwise a
rare word would become a huge number. The data set keeps its scaling for raw rows, in ``Dataset.scaling``.

All randomness comes from ``philox``, so splits and synthetic data do not depend on the version of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import whole_number
from lookahead_nb.datasets.dataset import Dataset, _by_class, _turns
from lookahead_nb.datasets.features import tf_idf
from lookahead_nb.datasets.scaling import Scaling, TextScaling
from lookahead_nb.kernels.philox import CHUNKS, SPLITS, permutation


def _split(y: np.ndarray, shares: Sequence[int], seed: int) -> list[np.ndarray]:
    """Return the rows of each part, in random order, with every class divided in proportion to the shares."""
    order = permutation(len(y), seed, SPLITS)
    part = np.empty(len(y), np.int64)
    for rows in _by_class(y, order):
        turns = np.concatenate([_turns(len(rows), share) for share in shares])
        part[rows] = np.argsort(turns, kind="stable")[: len(rows)] // len(rows)
    return [order[part[order] == p] for p in range(len(shares))]


def _split_in_time(n: int, seed: int) -> list[np.ndarray]:
    """Return the rows of each part, in random order; all of a part precede those of the next one."""
    order = permutation(n, seed, SPLITS)
    first, later = math.ceil(3 * n / 5), math.ceil(4 * n / 5)
    return [order[(low <= order) & (order < high)] for low, high in ((0, first), (first, later), (later, n))]


def _split_by_group(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the rows of each part, in random order; the groups go to the parts as 3 : 1 : 1."""
    known, of_row = np.unique(groups, return_inverse=True)
    part = np.empty(len(known), np.int64)
    for number, some in enumerate(_split(np.zeros(len(known), np.int64), (3, 1, 1), seed)):
        part[some] = number
    order = permutation(len(groups), seed, SPLITS)
    return [order[part[of_row[order]] == number] for number in range(3)]


Fit = Callable[[Any, np.ndarray], Scaling]


class _Table(NamedTuple):
    """All rows of a data set, not yet split and scaled."""

    X: Any  # what fit accepts
    y: np.ndarray
    fit: Fit  # called with X and the training rows
    test: np.ndarray | None = None  # rows of an official test set
    classes: np.ndarray | None = None  # the label of each class; 0, 1, ... by default
    names: tuple[Hashable, ...] | None = None  # of the columns
    in_time: bool = False  # whether rows follow each other in time
    groups: np.ndarray | None = None  # that of each row


def _split_and_scaled(
    table: _Table, name: str, split_seed: int, source: str, reload: Callable[[str, int], Dataset] | None = None
) -> Dataset:
    y = table.y
    if table.in_time:
        parts = _split_in_time(len(y), split_seed)
    elif table.groups is not None:
        parts = _split_by_group(table.groups, split_seed)
    elif table.test is None:
        parts = _split(y, (3, 1, 1), split_seed)
    else:
        others = np.setdiff1d(np.arange(len(y)), table.test)
        parts = [*(others[part] for part in _split(y[others], (5, 1), split_seed)), table.test]
    scaling = replace(table.fit(table.X, parts[0]), columns=table.names)
    train, validation, test = ((scaling.fitting(table.X[rows], rows), y[rows], rows) for rows in parts)
    classes = np.arange(int(y.max()) + 1) if table.classes is None else table.classes
    official_test = table.test is not None
    return Dataset(
        *train, *validation, *test, name, len(classes), official_test, split_seed, source, scaling, classes, reload
    )


def _chunk(table: _Table, name: str, i: int, rows: int, split_seed: int, source: str) -> Dataset:
    """Return the i-th part of a table in a random order, or in that of time, split and scaled by itself."""
    rows = whole_number("rows", rows, 5, len(table.y))
    i = whole_number("i", i, 0, len(table.y) // rows - 1)
    chosen = _order_of_chunks(table)[i * rows : (i + 1) * rows]
    groups = None if table.groups is None else table.groups[chosen]
    most = np.bincount(table.y[chosen]).max() if groups is None else len(np.unique(groups))
    if most < 3 and not table.in_time:
        needs, got = "some class at least three times", f"{most} of a class"
        if groups is not None:
            needs, got = "at least three groups", f"{most} of them"
        raise ValueError(f"rows must give chunk {i} {needs} to be split in three, got {rows} with {got}")
    classes = np.arange(int(table.y.max()) + 1) if table.classes is None else table.classes
    part = table._replace(X=table.X[chosen], y=table.y[chosen], test=None, classes=classes, groups=groups)
    data = _split_and_scaled(part, name, split_seed, source)
    numbers = {f"rows_{kind}": chosen[getattr(data, f"rows_{kind}")] for kind in ("train", "validation", "test")}
    return replace(data, **numbers)


def _order_of_chunks(table: _Table) -> np.ndarray:
    """Return all rows in the order in which they are cut into chunks: that of time, group by group, or random."""
    if table.in_time:
        return np.arange(len(table.y))
    if table.groups is None:
        return permutation(len(table.y), 0, CHUNKS)
    known, of_row = np.unique(table.groups, return_inverse=True)
    return np.argsort(np.argsort(permutation(len(known), 0, CHUNKS))[of_row], kind="stable")


def _each_column(X: np.ndarray, train: np.ndarray) -> Scaling:
    """Scale every column of numbers by itself."""
    origin = X[train[0]]  # makes a constant column exactly 0, however its mean would round
    fitted = X[train] - origin
    mean, std = fitted.mean(axis=0), fitted.std(axis=0)
    return Scaling(X.shape[1], origin, mean, np.where(std > 0, std, 1))


def _all_bytes(X: np.ndarray, train: np.ndarray) -> Scaling:
    """Scale all columns of bytes together."""
    counts = np.zeros(256, np.int64)
    for rows in np.array_split(train, math.ceil(len(train) / 500)):
        counts += np.bincount(X[rows].ravel(), minlength=256)
    values = np.arange(256)
    n, total, squares = int(counts.sum()), int(counts @ values), int(counts @ values**2)
    mean, std = total / n, math.sqrt(n * squares - total**2) / n  # from exact whole numbers
    return Scaling(X.shape[1], *_together(mean, std))


def _all_words(counts: Any, train: np.ndarray) -> Scaling:
    """Weight word counts by TF-IDF and scale all columns together."""
    weighting = tf_idf(counts[train])
    mean, std = _moments(weighting.transform(counts[train]))
    return TextScaling(counts.shape[1], *_together(mean, std), weighting=weighting)


def _all_counts(counts: Any, train: np.ndarray) -> Scaling:
    """Scale all columns together, around 0, so that they stay sparse."""
    return TextScaling(counts.shape[1], *_together(0, _moments(counts[train])[1]))


def _together(mean: float, std: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return origin, mean and std of all columns together."""
    return np.array(0.0), np.array(mean), np.array(std)


def _moments(sparse: Any) -> tuple[float, float]:
    """Return mean and standard deviation of all entries of a sparse matrix, zeros included."""
    n = math.prod(sparse.shape)
    mean = sparse.sum() / n
    return mean, math.sqrt((sparse.data**2).sum() / n - mean**2)
