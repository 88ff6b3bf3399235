"""Tasks on real data sets, for the second trial: population R; and sparse counts with fresh rows.

A large set is cut into disjoint chunks (:func:`.datasets.chunk`). Each replicate has a chunk of its own, and one more
chunk is for screening. A small set is split again for each replicate; these splits overlap, which :mod:`.set_effects`
takes into account. Sparse counts are drawn afresh.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lookahead_nb.checks import default_errors, whole_number
from lookahead_nb.claims.population import EVALUATED, Limits, chance, made_dataset, power
from lookahead_nb.datasets import DOWNLOADED, NAMES, Dataset, available, chunk, load
from lookahead_nb.datasets.arrays import MixedTable
from lookahead_nb.kernels.formulas import exp64
from lookahead_nb.kernels.philox import LABELS, ROWS, TASKS, normals, uniforms
from lookahead_nb.models.dense import MLP, DenseNetwork, LogisticRegression
from lookahead_nb.settings_file import choice, inside, known_keys, table_of_keys
from lookahead_nb.training.tasks import Task

COUNTS = ("columns", "classes", "words")  # the keys of sparse counts
KEYS = ("hidden", "batch_size", "steps", "rows", *COUNTS)
OF_NAMED = (*KEYS[:4], "chunks", "data")  # the keys of a set that is loaded by its name
TILT = 1.0  # of sparse counts: the standard deviation of a word's log-frequency between classes


@dataclass(frozen=True)
class RealSet:
    """A data set that is trained on for one or more numbers of steps.

    Attributes
    ----------
    name : str
        Of the set in its experiment.
    hidden : tuple of int
        The hidden widths, with ReLU; none for logistic regression.
    batch_size : int
        At least 1.
    steps : tuple of int
        Those of its tasks, rising.
    rows : int or None
        Of a chunk, or the training rows of sparse counts; None for a whole bundled set.
    chunks : int or None
        The number of replicates of a set in chunks; None if all replicates split the same rows, or draw fresh ones.
    counts : tuple of int
        Columns, classes and words per row of sparse counts; empty for other sets.
    table : MixedTable or None
        Your own table; None for a set that is loaded and for sparse counts.
    data : str
        One of ``datasets.NAMES``; empty for your own table and for sparse counts.
    """

    name: str
    hidden: tuple[int, ...]
    batch_size: int
    steps: tuple[int, ...]
    rows: int | None = None
    chunks: int | None = None
    counts: tuple[int, ...] = ()
    table: MixedTable | None = None
    data: str = ""

    @property
    def overlap(self) -> bool:
        """Whether replicates share rows."""
        return self.chunks is None and not self.counts

    @property
    def available(self) -> bool:
        """Whether its files are available locally."""
        return bool(self.counts) or self.table is not None or available(self.data)

    def replicates(self, most: int) -> int:
        """Return the number of replicates.

        Parameters
        ----------
        most : int
            That of the experiment.

        Returns
        -------
        int
            The number of chunks, or most.
        """
        return self.chunks or most

    def tasks(self, seeds: tuple[int, ...]) -> list[RealTask]:
        """Return its tasks, one for each number of steps.

        Parameters
        ----------
        seeds : tuple of int
            Those of the replicates, as many as there are chunks.

        Returns
        -------
        list of RealTask
        """
        return [RealTask(self, steps, seeds) for steps in self.steps]


@dataclass(frozen=True)
class RealTask:
    """A data set with a number of steps, used like a :class:`.population.GeneratedTask`.

    Attributes
    ----------
    of : RealSet
    steps : int
    seeds : tuple of int
        Those of the replicates. A set in chunks gives chunk j to seed j, and the chunk after them to all other seeds.
    """

    of: RealSet
    steps: int
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the task in a sweep, such as "digits, 100 steps"."""
        return f"{self.of.name}, {self.steps} steps"

    @property
    def number(self) -> int:
        """A number that follows from the name, in [0, 2**32); it shifts the grids."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "little")

    @property
    def batch_size(self) -> int:
        """The rows of a minibatch."""
        return self.of.batch_size

    @property
    def model(self) -> DenseNetwork:
        """The network that is trained."""
        data = self.replicate(self.seeds[0])
        if not self.of.hidden:
            return LogisticRegression(data.n_features, n_classes=data.n_classes)
        return MLP((data.n_features, *self.of.hidden, data.n_classes))

    @property
    def task(self) -> Task:
        """The task for ``sweep``: every seed trains on its own replicate."""
        return Task(self.name, self.model, self.replicate, self.steps, self.batch_size, eval_rows=EVALUATED)

    @default_errors
    def replicate(self, r: int) -> Dataset:
        """Return the rows of a replicate in three parts.

        Parameters
        ----------
        r : int
            The seed of the replicate, in [0, 2**63).

        Returns
        -------
        Dataset
            A chunk, a split of the same rows by this seed, or fresh sparse counts.

        Raises
        ------
        TypeError, ValueError
            If r has another type or lies out of range, or the set has fewer rows than its chunks.
        OSError
            If a file of the set is missing, or cannot be downloaded.
        """
        r = whole_number("r", r, 0, 2**63 - 1)
        if self.of.counts:
            return sparse_counts(self.of, r)
        table = self.of.table
        if self.of.rows is None:
            return load(self.of.data, split_seed=r) if table is None else table.split(r)
        number = self.of.chunks or 0
        if number and r in self.seeds:
            number = self.seeds.index(r)
        if table is not None:
            return table.chunk(number, self.of.rows, r)
        return chunk(self.of.data, number, self.of.rows, split_seed=r)

    def factors(self) -> dict[str, Any]:
        """Return what :mod:`.set_effects` needs to know of the task.

        Returns
        -------
        dict
            ``number``, ``set``, ``steps``, ``replicates``, the number of rows of each part of a replicate as
            ``train_rows``, ``validation_rows`` and ``test_rows``, and ``overlap``: whether replicates share rows.

        Raises
        ------
        ValueError, OSError
            As :meth:`replicate`.
        """
        data = self.replicate(self.seeds[0])
        sizes = {f"{part}_rows": len(getattr(data, f"y_{part}")) for part in ("train", "validation", "test")}
        keys = {"number": self.number, "set": self.of.name, "steps": self.steps, "replicates": len(self.seeds)}
        return keys | sizes | {"overlap": self.of.overlap}

    @default_errors
    def limits(self, r: int) -> Limits:
        """Return the loss and accuracy of chance for a replicate; the best ones are unknown.

        Parameters
        ----------
        r : int
            As in :meth:`replicate`.

        Returns
        -------
        Limits
            With NaN for the best loss and accuracy.

        Raises
        ------
        TypeError, ValueError, OSError
            As :meth:`replicate`.
        """
        data = self.replicate(r)
        return Limits(*chance(data.y_train, data.y_test, data.n_classes), math.nan, math.nan)


@default_errors
def read(tables: dict[str, Any], replicates: int) -> dict[str, RealSet]:
    """Return the data sets of an experiment.

    Parameters
    ----------
    tables : dict
        The table ``[sets]`` of its file, with a table for each set.
    replicates : int
        Of the experiment.

    Returns
    -------
    dict of RealSet
        By name, in the order of the file.

    Raises
    ------
    ValueError
        If an entry is wrong; the message names its key.

    Notes
    -----
    The keys of a set:

    - ``hidden``: a list of widths, default none. ``batch_size``. ``steps``: a list, rising.
    - ``rows`` and ``chunks``, for a set in chunks: the rows of each, and their number, at least 4. Without chunks every
      replicate splits the same ``rows`` rows; a set that is not downloaded needs no rows, and is then split whole.
    - ``data``: what is loaded, by default that with the name of the set. Two sets of the same data train two networks.
    - ``columns``, ``classes``, ``words`` and ``rows``, for sparse counts: see :func:`sparse_counts`.
    """
    if not tables:
        raise ValueError("sets must hold at least one data set, got none")
    return {name: _set(name, table_of_keys(name, table), replicates) for name, table in tables.items()}


def _set(name: str, table: dict[str, Any], replicates: int) -> RealSet:
    known_keys(f"{name}.", table, (*KEYS, *OF_NAMED[4:]))
    counts = tuple(key for key in COUNTS if key in table)
    if not counts and "data" not in table:
        choice("name", name, NAMES)
    with inside(name):
        hidden = tuple(whole_number(f"hidden[{i}]", width, 1) for i, width in enumerate(_list(table, "hidden", [])))
        steps = tuple(whole_number(f"steps[{i}]", n, 1) for i, n in enumerate(_list(table, "steps", None)))
        if not steps or sorted({*steps}) != [*steps]:
            raise ValueError(f"steps must be one number or more, rising, got {[*steps]}")
        batch_size = whole_number("batch_size", table.get("batch_size"), 1)
        if counts:
            known_keys("", table, KEYS)
            sizes = [whole_number(key, table.get(key), 2) for key in COUNTS]
            return RealSet(
                name, hidden, batch_size, steps, whole_number("rows", table.get("rows"), 10), None, (*sizes,)
            )
        data = choice("data", table.get("data", name), NAMES)
        if "rows" not in table and ("chunks" in table or data in DOWNLOADED):
            raise ValueError("rows must be given for a set that is downloaded or in chunks, got nothing")
        rows = whole_number("rows", table["rows"], 10) if "rows" in table else None
        chunks = whole_number("chunks", table["chunks"], 4, replicates) if "chunks" in table else None
        return RealSet(name, hidden, batch_size, steps, rows, chunks, data=data)


def _list(table: dict[str, Any], key: str, default: Any) -> list:
    value = table.get(key, default)
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list of whole numbers, got {'nothing' if value is None else value!r}")
    return value


# ---------------------------------------------------------------------------------------------------- sparse counts


def sparse_counts(of: RealSet, r: int) -> Dataset:
    """Return fresh rows of word counts whose words have the frequencies of a language.

    Parameters
    ----------
    of : RealSet
        With ``counts``. Its name decides what the classes are.
    r : int
        The seed of the rows, in [0, 2**63).

    Returns
    -------
    Dataset
        ``rows`` training rows, a third as many for validation, at most ``EVALUATED``, and 1000 for testing.

    Notes
    -----
    All classes are equally frequent. A row of class k holds ``words`` words. The j-th of ``columns`` words is drawn
    with the probability ``f_j exp(TILT z_kj)`` up to a factor. Here f_j = 1/j, and z_kj ~ N(0, 1) is fixed. Counts are
    divided by the standard deviation of all entries of the training part, zeros included, and are not centred.
    Source: Zipf 1949; McCallum & Nigam 1998 for the multinomial model.
    """
    columns, classes, words = of.counts
    parts = [of.rows or 0, min(EVALUATED, (of.rows or 0) // 3), 1000]
    n = sum(parts)
    upto = _frequencies(of.name, columns, classes)
    y = (uniforms(n, r, LABELS) * classes).astype(np.int64)
    drawn = uniforms(n * words, r, ROWS).reshape(n, words)
    X = np.zeros((n, columns))
    for k in range(classes):
        rows = np.flatnonzero(y == k)
        word = np.minimum(np.searchsorted(upto[k], drawn[rows] * upto[k, -1], side="right"), columns - 1)
        np.add.at(X, (np.repeat(rows, words), word.ravel()), 1)
    ends = np.cumsum(parts)
    squares, total, entries = int((X[: ends[0]] ** 2).sum()), int(X[: ends[0]].sum()), X[: ends[0]].size
    std = math.sqrt(entries * squares - total**2) / entries  # from exact whole numbers
    numbers = np.split(np.arange(n), ends[:-1])
    return made_dataset(of.name, (X / std).astype(np.float32), y, numbers, classes, r, std)


@lru_cache(32)
def _frequencies(name: str, columns: int, classes: int) -> np.ndarray:
    """Return the running sums of the words' frequencies in each class, a (classes, columns) array."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    z = normals(classes * columns, number, TASKS).reshape(classes, columns)
    first = np.array([power(j, -1.0) for j in range(1, columns + 1)])
    return np.cumsum(first * np.array([[float(exp64(TILT * x)) for x in row] for row in z]), axis=1)
