"""A data set in three parts, scaled and read-only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lookahead_nb.checks import named_arguments, plain_array, real_number, real_numbers, shown, whole_number
from lookahead_nb.datasets.scaling import Scaling
from lookahead_nb.display import bars, shown_together
from lookahead_nb.kernels.philox import FLIPS, SUBSETS, permutation, uniforms

_ARRAYS = ("X_train", "y_train", "X_validation", "y_validation", "X_test", "y_test")
_PARTS = ("train", "validation", "test")
_WEIGHTS = ("sample_weight_train", "sample_weight_validation", "sample_weight_test")
_NOTES = ("rows_train", "rows_validation", "rows_test", "classes")  # no part of the fingerprint


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Scaled rows and labels in three parts, read-only; made by :func:`load` and :func:`from_arrays`.

    Attributes
    ----------
    X_train, y_train, X_validation, y_validation, X_test, y_test : arrays
        X: (rows, n_features) float32, scaled, C-contiguous. y: (rows,) int64, labels 0..n_classes-1.
    rows_train, rows_validation, rows_test : (rows,) int64 arrays
        The row numbers of each part in the table that was split, from 0. The rows of an official test set come last.
    name : str
    n_classes : int
    official_test : bool
        Whether the publisher fixed the test set; it is then the same for every split_seed.
    split_seed : int
    source : str
        Origin and licence.
    scaling : Scaling
        ``data.scaling(X)`` scales raw rows like the training part: numbers as the table holds them, texts for
        "sms_spam" and "banking77".
    classes : (n_classes,) array
        The label of each class, in sorted order: ``classes[y]`` are the labels of the table. 0, 1, ... for the sets of
        ``load``, except "cmudict".
    sample_weight_train, sample_weight_validation, sample_weight_test : (rows,) float64 arrays or None
        The weights of the rows, above 0; None for rows without weights, see :meth:`with_sample_weight`.
    reload : function or None
        Loads exactly this data set by name and split_seed; None for one that ``load`` does not return.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    rows_train: np.ndarray
    X_validation: np.ndarray
    y_validation: np.ndarray
    rows_validation: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    rows_test: np.ndarray
    name: str
    n_classes: int
    official_test: bool
    split_seed: int
    source: str
    scaling: Scaling
    classes: np.ndarray
    reload: Callable[[str, int], Dataset] | None = None
    sample_weight_train: np.ndarray | None = None
    sample_weight_validation: np.ndarray | None = None
    sample_weight_test: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in (*_ARRAYS, *_NOTES, *self._weights):
            getattr(self, name).flags.writeable = False

    @property
    def _weights(self) -> tuple[str, ...]:
        """The names of the weights of the rows, if these have some."""
        return () if self.sample_weight_train is None else _WEIGHTS

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the name alone where that is enough: the rows of Fashion-MNIST take 220 MB."""
        return (self.reload, (self.name, self.split_seed)) if self.reload else super().__reduce_ex__(protocol)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # unpickled arrays are writeable

    def __repr__(self) -> str:
        parts = "/".join(str(len(getattr(self, f"y_{part}"))) for part in _PARTS)
        weighted = " with weights" if self._weights else ""
        sizes = f"{parts} rows{weighted}, {self.n_features} features, {self.n_classes} classes"
        return f"Dataset({self.name!r}, {sizes}, split_seed={self.split_seed})"

    def _repr_html_(self) -> str:
        """Return sizes and origin as a table, and the rows of each class in the training part as bars."""
        rows = {f"{part} rows": len(getattr(self, f"y_{part}")) for part in _PARTS}
        sizes = {"features": self.n_features, "classes": self.n_classes}
        origin = {"split seed": self.split_seed, "official test set": self.official_test, "source": self.source or None}
        counts = np.bincount(self.y_train, minlength=self.n_classes).tolist()
        about = f"The training part has {min(counts)} to {max(counts)} rows of each class"
        picture = bars(self.classes.tolist(), counts, "training rows by class", about)
        return shown_together(self.name, rows | sizes | origin, picture)

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return int(self.X_train.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of names, shapes and bytes of all six arrays, and of weights of rows, as hex digits."""
        digest = hashlib.sha256()
        for name in (*_ARRAYS, *self._weights):
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array)
        return digest.hexdigest()

    def subset(self, n: int, seed: int) -> Dataset:
        """Return the data set with n stratified rows of its training part, for studies of training-set size.

        Validation, test and scaling do not change, so results on subsets can be compared. The scaling remains that of
        the whole training part.

        Parameters
        ----------
        n : int
            From 1 to the rows of the training part.
        seed : int
            In [0, 2**63). With the same seed, a smaller subset is part of every larger one.

        Returns
        -------
        Dataset

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.

        Notes
        -----
        Source: :func:`stratified_rows`.
        """
        rows = stratified_rows(self.y_train, n, seed)
        return replace(self, reload=None, **self._chosen("train", rows))

    def _chosen(self, part: str, rows: np.ndarray) -> dict[str, Any]:
        """Return the arrays of some rows of a part."""
        names = [f"{array}_{part}" for array in ("X", "y", "rows", *(["sample_weight"] if self._weights else []))]
        return {name: getattr(self, name)[rows] for name in names}

    def with_sample_weight(self, weights: ArrayLike) -> Dataset:
        """Return the data set with a weight for each row, which every loss and accuracy of a run then uses.

        The loss of a minibatch is ``sum(w*loss)/sum(w)`` over its rows, and so is that of a part in the history; an
        accuracy is the share of the weight on rows with the right label. Minibatches, scaling and classes do not depend
        on the weights.

        Parameters
        ----------
        weights : (rows,) array
            Finite numbers of at least 0 with a finite sum, for each row of the table that was split:
            ``weights[rows_train]`` are those of the training part. Earlier weights are replaced.

        Returns
        -------
        Dataset
            Without the rows of weight 0. If all other weights are equal, the rows have no weights, since only ratios
            count: its runs are bit-for-bit those without weights.

        Raises
        ------
        TypeError, ValueError
            If weights is no such array, or a part has no row of positive weight.

        Notes
        -----
        A weight of 2 differs from the same row twice: the copies would lie in different minibatches.

        Examples
        --------
        >>> import numpy as np
        >>> import lookahead_nb as lnb
        >>> data = lnb.datasets.load("checkerboard")
        >>> weighted = data.with_sample_weight(np.linspace(0, 1, 5000))
        >>> weighted.sample_weight_train.shape == weighted.y_train.shape
        True
        """
        checked = real_numbers("weights", weights, 0)
        of_parts = {part: getattr(self, f"rows_{part}") for part in _PARTS}
        count = 1 + max(int(rows.max()) for rows in of_parts.values())
        whole_table = count == sum(map(len, of_parts.values()))
        if checked.ndim != 1 or len(checked) < count or (whole_table and len(checked) > count):
            given = f"an array of shape {checked.shape}"
            raise ValueError(f"weights must hold a number for each of the {count} rows of the table, got {given}")
        with np.errstate(over="ignore"):
            if not np.isfinite(checked.sum()):
                raise ValueError(f"weights must have a finite sum, got weights of up to {checked.max()}: divide them")
        changes, positive = dict[str, Any](), list[np.ndarray]()
        for part, rows in of_parts.items():
            of_part = checked[rows]
            if not of_part.any():
                raise ValueError(f"weights must be above 0 for a row of the {part} part, got 0 for all {len(rows)}")
            if not of_part.all():
                changes |= self._chosen(part, np.flatnonzero(of_part))
            positive.append(of_part[of_part > 0])
        equal = len(np.unique(np.concatenate(positive))) == 1
        changes |= dict(zip(_WEIGHTS, [None] * len(_WEIGHTS) if equal else positive, strict=True))
        return replace(self, **changes, reload=self.reload if equal and not (checked == 0).any() else None)

    def with_flipped_labels(self, share: float, seed: int) -> Dataset:
        """Return the data set with wrong labels on a share of its training part, for studies of label noise.

        Validation, test and all X do not change.

        Parameters
        ----------
        share : float
            In [0, 1]. ``round(share * rows)`` rows get one of the other classes; all rows and classes are equally
            likely.
        seed : int
            In [0, 2**63). With the same seed, the wrong labels of a smaller share are among those of every larger one.

        Returns
        -------
        Dataset

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.

        Notes
        -----
        Source: Angluin & Laird 1988, "Learning from noisy examples", for C classes.
        """
        n, seed = len(self.y_train), _seed("seed", seed)
        rows = permutation(n, seed, FLIPS)[: round(real_number("share", share, 0, 1) * n)]
        further = 1 + (uniforms(n, seed, FLIPS, block=2) * (self.n_classes - 1)).astype(np.int64)  # 0, 1: the order
        y = self.y_train.copy()
        y[rows] = (y[rows] + further[rows]) % self.n_classes
        return replace(self, y_train=y, reload=None)


@named_arguments
def stratified_rows(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n row numbers that contain each class in proportion, and every class if n allows it.

    Parameters
    ----------
    y : (rows,) int64 array
        Labels of a :class:`Dataset`.
    n : int
        In [1, rows].
    seed : int
        In [0, 2**63). With the same seed, the rows for a smaller n are among those for a larger one.

    Returns
    -------
    (n,) int64 array
        In ascending order.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Webster's apportionment, Balinski & Young 2001, "Fair representation".

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.datasets import stratified_rows
    >>> y = np.repeat([0, 1], [90, 10])
    >>> np.bincount(y[stratified_rows(y, 20, seed=0)]).tolist()
    [18, 2]
    """
    y = plain_array("y", y)
    if y.ndim != 1 or y.dtype.kind not in "iu" or (y < 0).any():
        raise ValueError(f"y must be (rows,) whole numbers of at least 0, got {shown(y)}")
    n = whole_number("n", n, 1, len(y))
    classes = _by_class(y, permutation(len(y), _seed("seed", seed), SUBSETS))
    turns = np.concatenate([_turns(len(rows), len(rows)) for rows in classes])
    return np.sort(np.concatenate(classes)[np.argsort(turns, kind="stable")[:n]])


def _seed(name: str, value: Any) -> int:
    return whole_number(name, value, 0, 2**63 - 1)


def _by_class(y: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each class, in the order of ``order``."""
    return np.split(order[np.argsort(y[order], kind="stable")], np.cumsum(np.bincount(y))[:-1])


def _turns(n: int, weight: int) -> np.ndarray:
    """Return the turns at which a part of this weight receives its n rows: ``(2*received + 1)/weight``.

    The first row of every part precedes all second ones. Rows are dealt by ascending turn, in proportion to the
    weights; dealing more rows takes none back.
    Source: Webster 1832 (Sainte-Lague); Balinski & Young 2001, "Fair representation".
    """
    turns = (2 * np.arange(n) + 1) / weight
    turns[:1] = -weight
    return turns
