"""Data sets: bundled, synthetic, downloaded and the user's own, all split and scaled by the same rules.

Split: the rows of each class go to training, validation and test as 3 : 1 : 1, in random order. If the publisher fixed
the test set, the other rows go to training and validation as 5 : 1.

Scaling: ``(x - mean)/std`` in float64, rounded once to float32. Mean and std are those of the training part alone, for
each column. If all columns have one unit (pixels, indicators, word weights), they share one mean and std. Otherwise a
rare word would become a huge number.

All randomness comes from ``philox``, so splits and synthetic data do not depend on the version of NumPy.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import struct
import wave
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lookahead_nb.checks import extra, one_of, plain_array, real_number, whole_number
from lookahead_nb.downloads import FILES, at_hand, published
from lookahead_nb.features import log_mel, tf_idf, token_counts
from lookahead_nb.philox import FLIPS, SPLITS, SUBSETS, SYNTHETIC, permutation, uniforms

_ARRAYS = ("X_train", "y_train", "X_validation", "y_validation", "X_test", "y_test")
_LIMIT = 1e100  # squares of larger numbers overflow


@dataclass(frozen=True, eq=False)
class Dataset:
    """Scaled rows and labels in three parts, read-only; made by :func:`load` and :func:`from_arrays`.

    Attributes
    ----------
    X_train, y_train, X_validation, y_validation, X_test, y_test : arrays
        X: (rows, n_features) float32, C-contiguous. y: (rows,) int64, labels 0..n_classes-1.
    name : str
    n_classes : int
    official_test : bool
        Whether the publisher fixed the test set; it is then the same for every split_seed.
    split_seed : int
    source : str
        Origin and licence.
    loaded : bool
        Whether ``load(name, split_seed)`` returns exactly this data set.
    """

    X_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    X_validation: np.ndarray = field(repr=False)
    y_validation: np.ndarray = field(repr=False)
    X_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    name: str
    n_classes: int
    official_test: bool
    split_seed: int
    source: str
    loaded: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the name alone where that is enough: the rows of Fashion-MNIST take 220 MB."""
        return (_reloaded, (self.name, self.split_seed)) if self.loaded else super().__reduce_ex__(protocol)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # unpickled arrays are writeable

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return int(self.X_train.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of names, shapes and bytes of all six arrays, as hex digits."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
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
        return replace(self, X_train=self.X_train[rows], y_train=self.y_train[rows], loaded=False)

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
        return replace(self, y_train=y, loaded=False)


def load(name: str, split_seed: int = 0) -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name : str
        One of ``NAMES``; data/README.md describes them. Some are part of scikit-learn, for example "digits", and some
        are synthetic, for example "checkerboard". Those in ``DOWNLOADED`` are downloaded once into the user's cache
        folder. If LOOKAHEAD_NB_DATA names a folder, they are read from there and never downloaded.
    split_seed : int
        In [0, 2**63).

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    ModuleNotFoundError
        Without the extra ``reproduce``, if the data set needs it.
    OSError
        If a file is missing, cannot be downloaded, or has another sha256 than the published one.

    Notes
    -----
    Columns of the downloaded sets:

    - "fashion_mnist": pixels.
    - "a9a": 123 indicators of census answers.
    - "sms_spam", "banking77": words and punctuation marks, hashed to 512 and 1024 columns, as TF-IDF of the training
      part.
    - "sms_spam_counts", "banking77_counts": the same without weights. Counts are not centred, so they stay sparse.
    - "spoken_digits": log-mel spectrograms of 16 frames with 20 bands.

    The scaling is that of the module's docstring. All columns are scaled together, except in "spoken_digits". A process
    reads each set only once; further calls split and scale it.

    Source: ``Dataset.source``, :mod:`.features`.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> data = lnb.datasets.load("checkerboard")
    >>> data.X_train.shape, data.X_validation.shape, data.X_test.shape, data.n_classes
    ((3000, 2), (1000, 2), (1000, 2), 2)
    """
    one_of("name", name, NAMES)
    split_seed = _seed("split_seed", split_seed)
    return _split_and_scaled(_table(name), name, split_seed, loaded=True)


def available(name: str) -> bool:
    """Return whether :func:`load` works offline: whether the files of the data set are available locally.

    Parameters
    ----------
    name : str
        One of ``NAMES``.

    Returns
    -------
    bool
        True for all names that are not in ``DOWNLOADED``. Files are searched in LOOKAHEAD_NB_DATA if that is set,
        otherwise in the user's cache folder. They are not opened.

    Raises
    ------
    ValueError
        If no data set has this name.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.datasets.available("checkerboard")
    True
    """
    return one_of("name", name, NAMES) not in DOWNLOADED or at_hand(_UNWEIGHTED.get(name, name))


@lru_cache(2)
def _reloaded(name: str, split_seed: int) -> Dataset:
    return load(name, split_seed)


def from_arrays(X: ArrayLike, y: ArrayLike, split_seed: int = 0) -> Dataset:
    """Return your own data, split and scaled like the bundled sets.

    A class with at least three rows is in every part; a smaller one is in the training part.

    Parameters
    ----------
    X : (rows, columns) array
        Anything that ``np.asarray`` accepts, pandas objects included; copied. Finite numbers with absolute values below
        1e100.
    y : (rows,) array
        Likewise, with an integer or bool dtype. Every label 0..C-1 occurs, C is at least 2, and one label occurs at
        least three times.
    split_seed : int
        In [0, 2**63).

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, dtype or shape, or holds a value out of range. The message gives its row.

    Notes
    -----
    The module's docstring describes splitting and scaling.

    Examples
    --------
    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> X = np.arange(20.0).reshape(10, 2)
    >>> data = lnb.datasets.from_arrays(X, [0, 1] * 5)
    >>> len(data.y_train), len(data.y_validation), len(data.y_test)
    (6, 2, 2)
    """
    features, labels = _features(X), _labels(y)
    if len(features) != len(labels):
        raise ValueError(f"y must have one label for each of the {len(features)} rows of X, not {len(labels)}")
    return _split_and_scaled(_Table(features, labels, _each_column), "arrays", _seed("split_seed", split_seed))


def read_rows(file: str | Path, label: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of an .npz or .csv file as X and y, for :func:`from_arrays`.

    Parameters
    ----------
    file : path
        An .npz file with the arrays X and y, or a .csv file with a line of column names.
    label : str, optional
        The label column of a .csv file. All other columns hold numbers. None for an .npz file.

    Returns
    -------
    X : (rows, columns) array
    y : (rows,) array
        Labels that are text are numbered in alphabetical order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is of another kind or is damaged, or lacks an array, a column or a label.
    """
    path = Path(file)
    if path.suffix not in (".npz", ".csv"):
        raise ValueError(f"file must be the path of an .npz or .csv file, not {path.name!r}")
    if (path.suffix == ".csv") != isinstance(label, str):
        raise ValueError(f"label must be a column name for a .csv file and None for an .npz file, not {label!r}")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return arrays["X"], arrays["y"]
        import pandas as pd

        frame = pd.read_csv(path)
        labels = frame.pop(label)
    except OSError as error:
        raise OSError(f"file {path} cannot be read: {error.strerror}") from error
    except KeyError:
        wanted = "arrays X and y" if label is None else f"a column {label!r}"
        raise ValueError(f"file must hold {wanted}, but {path} does not") from None
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"file {path} is not a readable {path.suffix} file: {error}") from error
    if other := [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]:
        raise ValueError(f"file must hold numbers in all columns except the label column, not text as in {other[0]!r}")
    if labels.isna().any():
        raise ValueError(f"file must hold a label in every row, but row {int(labels.isna().argmax())} has none")
    text = not pd.api.types.is_numeric_dtype(labels)
    return frame.to_numpy(), np.unique(labels, return_inverse=True)[1] if text else labels.to_numpy()


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
    n = whole_number("n", n, 1, len(y))
    classes = _by_class(y, permutation(len(y), _seed("seed", seed), SUBSETS))
    turns = np.concatenate([_turns(len(rows), len(rows)) for rows in classes])
    return np.sort(np.concatenate(classes)[np.argsort(turns, kind="stable")[:n]])


# ------------------------------------------------------------------------------------------------ splits and scaling


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


def _split_and_scaled(table: _Table, name: str, split_seed: int, *, loaded: bool = False) -> Dataset:
    y = table.y
    if table.test is None:
        parts = _split(y, (3, 1, 1), split_seed)
    else:
        others = np.setdiff1d(np.arange(len(y)), table.test)
        parts = [*(others[part] for part in _split(y[others], (5, 1), split_seed)), table.test]
    scaled = table.fit(table.X, parts[0])
    train, validation, test = ((scaled(rows), y[rows]) for rows in parts)
    n_classes, official_test = int(y.max()) + 1, table.test is not None
    return Dataset(*train, *validation, *test, name, n_classes, official_test, split_seed, _SOURCES[name], loaded)


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


def _features(X: ArrayLike) -> np.ndarray:
    """Return X as float64, or refuse it."""
    array = plain_array("X", X)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"X must hold numbers, not {array.dtype}")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"X must be a table of rows and columns, not of shape {array.shape}")
    array = np.ascontiguousarray(array, np.float64)  # sums depend on the layout
    bad = ~(np.abs(array) < _LIMIT)  # this form finds NaN too
    if bad.any():
        row, column = np.argwhere(bad)[0]
        allowed = f"finite numbers below {_LIMIT:g} in size"
        raise ValueError(f"X must hold {allowed}, not {array[row, column]} at row {row}, column {column}")
    return array


def _labels(y: ArrayLike) -> np.ndarray:
    """Return y as int64, or refuse it."""
    array = plain_array("y", y)
    if array.dtype.kind not in "biu":
        raise TypeError(f"y must have an integer or bool dtype, not {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"y must have one dimension, not shape {array.shape}")
    labels, counts = np.unique(array, return_counts=True)
    if len(labels) < 2 or labels[0] != 0 or labels[-1] != len(labels) - 1:
        shown = ", ".join(map(str, labels[:8].tolist())) + (", ..." if len(labels) > 8 else "")
        raise ValueError(f"y must hold every label 0, 1, ... up to its largest, at least two of them, not [{shown}]")
    if counts.max() < 3:
        raise ValueError(f"y must hold some label at least three times to be split in three, not {counts.max()} times")
    return array.astype(np.int64)


# -------------------------------------------------------------------------------------------------------- synthetic

# Every random array has 5000 rows and a separate block of the stream.


def _normals(columns: int, block: int) -> np.ndarray:
    from scipy.special import ndtri  # at module level it would double the import time of the package

    return ndtri(uniforms(5000 * columns, 0, SYNTHETIC, block) + 2.0**-25).reshape(5000, columns)


def _gaussian_blobs() -> tuple[np.ndarray, np.ndarray]:
    """Ten overlapping clusters, ``x = 3*e_y + z`` with z ~ N(0, I) in 20 dimensions.

    A linear model can reach the best accuracy, 0.902: the probability that 3 + z_0 exceeds z_1, ... z_9.
    """
    y = np.arange(5000) % 10
    return _normals(20, block=0) + 3 * np.eye(10, 20)[y], y


def _checkerboard() -> tuple[np.ndarray, np.ndarray]:
    """Two classes on a board of 4 x 4 fields, ``y = (floor(x_0) + floor(x_1)) mod 2``, with 10 % of labels flipped.

    A linear model is little better than chance; the best accuracy is 0.9.
    """
    X = 4 * uniforms(10_000, 0, SYNTHETIC, 1).reshape(5000, 2)
    flipped = uniforms(5000, 0, SYNTHETIC, 2) < 0.1
    return X, (X.astype(np.int64).sum(axis=1) + flipped) % 2


def _logistic_teacher() -> tuple[np.ndarray, np.ndarray]:
    """Two classes from a linear teacher, ``P(y = 1) = sigmoid(w.x)``, w = (3, -3, 3, ...), 20 columns.

    x ~ N(0, ``0.9**|i-j|``). The problem is convex, and logistic regression is the true model. It is still not easy:
    the covariance has condition number 212, and the teacher points along its narrow side. The best accuracy is 0.86.
    """
    X = _normals(20, block=3)
    logit = 3 * X[:, 0]
    for j in range(1, 20):
        X[:, j] = 0.9 * X[:, j - 1] + math.sqrt(1 - 0.9**2) * X[:, j]
        logit += (-1) ** j * 3 * X[:, j]
    return X, (uniforms(5000, 0, SYNTHETIC, 4) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def _exclusive_or() -> tuple[np.ndarray, np.ndarray]:
    """Four clusters at the corners of a square, two classes across its diagonals, ``x = c + 0.3*z``, z ~ N(0, I).

    ``y = 1`` if the signs of c = (+-1, +-1) differ. The best accuracy is 0.999. A network of two or three hidden units
    often gets stuck at a higher loss. It is log(2)/2 if the network cannot distinguish two corners, and 3/4 of the
    entropy of 1/3 if it cannot distinguish three.
    """
    corner = (uniforms(10_000, 0, SYNTHETIC, 5) < 0.5).reshape(5000, 2)
    return 2.0 * corner - 1 + 0.3 * _normals(2, block=6), (corner[:, 0] ^ corner[:, 1]).astype(np.int64)


_SYNTHETIC = {
    "gaussian_blobs": _gaussian_blobs,
    "checkerboard": _checkerboard,
    "logistic_teacher": _logistic_teacher,
    "exclusive_or": _exclusive_or,
}


def _synthetic(name: str) -> _Table:
    return _Table(*_SYNTHETIC[name](), _each_column)


# -------------------------------------------------------------------------------------------- bundled and downloaded

# The sha256 of X as float64, followed by y as int64.
_BUNDLED = {
    "digits": "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443",
    "breast_cancer": "25e2eb7b7a8745b1bde5ba18bc4969983d2e2f403291ecd5bde4a29ef30c3859",
    "wine": "3a28849ef2366c4b9d4e382b3fa5624a66f693c04d7fdcf43c529bbb0bb338d7",
    "iris": "aa06b8008ceba42efc654be0f83fdafc786239c9e8f13146044d078f5aab8f23",
}


def _bundled(name: str) -> _Table:
    X, y = getattr(extra("sklearn.datasets", "scikit-learn", name), f"load_{name}")(return_X_y=True)
    X, y = np.ascontiguousarray(X, np.float64), y.astype(np.int64)
    if hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest() != _BUNDLED[name]:
        raise OSError(f"{name} differs in this scikit-learn (by its sha256): install the version in requirements.lock")
    return _Table(X, y, _each_column)


def _fashion_mnist() -> _Table:
    images, labels, test_images, test_labels = starmap(_idx, published("fashion_mnist").items())
    X, y = np.concatenate([images, test_images]), np.concatenate([labels, test_labels])
    return _Table(X.reshape(len(X), -1), y.astype(np.int64), _all_bytes, np.arange(len(images), len(y)))


def _idx(file: str, packed: bytes) -> np.ndarray:
    """Return the array in a gzipped IDX file of bytes; the name of the file contains the number of dimensions.

    Format: two zeros, 8 for bytes, the number of dimensions, their sizes as big-endian 32-bit numbers, then the bytes.
    Source: LeCun, Cortes & Burges, "The MNIST database", file formats.
    """
    dimensions = int(file.partition("-idx")[2][0])
    head = struct.Struct(f">4B{dimensions}I")
    try:
        raw = gzip.decompress(packed)
        zero1, zero2, kind, stated, *sizes = head.unpack_from(raw)
    except (OSError, EOFError, zlib.error, struct.error):
        raise OSError(f"{file} is not a complete gzipped IDX file") from None
    if (zero1, zero2, kind, stated) != (0, 0, 8, dimensions) or len(raw) != head.size + math.prod(sizes):
        raise OSError(f"{file} is not an IDX file of bytes in {dimensions} dimensions")
    return np.frombuffer(raw, np.uint8, offset=head.size).reshape(sizes)


def _a9a() -> _Table:
    """Read indicators in the format of LIBSVM: a label, -1 or +1, then column:1 for every column that is not 0."""
    read = extra("sklearn.datasets", "scikit-learn", "a9a").load_svmlight_files
    X, y, test_X, test_y = read(
        [io.BytesIO(text) for text in published("a9a").values()], n_features=123, dtype=np.uint8
    )
    X, y, n = np.concatenate([X.toarray(), test_X.toarray()]), np.concatenate([y, test_y]), len(y)
    return _Table(X, (y > 0).astype(np.int64), _all_bytes, np.arange(n, len(y)))


def _sms_spam(fit: Fit = _all_words) -> _Table:
    (collection,) = published("sms_spam").values()
    labels, texts = zip(*(line.split("\t") for line in collection.decode().split("\n") if line), strict=True)
    return _Table(token_counts(texts, 512), (np.array(labels) == "spam").astype(np.int64), fit)


def _banking77(fit: Fit = _all_words) -> _Table:
    """Read tables of texts and their intents, numbered in alphabetical order."""
    tables = [list(csv.reader(io.StringIO(text.decode(), newline="")))[1:] for text in published("banking77").values()]
    texts, intents = zip(*(row for table in tables for row in table), strict=True)
    y = np.unique(intents, return_inverse=True)[1]
    return _Table(token_counts(texts, 1024), y, fit, np.arange(len(tables[0]), len(y)))


def _spoken_digits() -> _Table:
    """Read recordings named DIGIT_SPEAKER_INDEX.wav; indices 0 to 4 are the test set."""
    (recordings,) = published("spoken_digits").values()
    X = []
    for data in recordings.values():
        with wave.open(io.BytesIO(data)) as file:
            X.append(log_mel(np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()))
    digits, indices = np.array([name.removesuffix(".wav").split("_")[::2] for name in recordings]).astype(np.int64).T
    return _Table(np.array(X), digits, _each_column, np.flatnonzero(indices < 5))


_TABLES: dict[str, Callable[[], _Table]] = {
    **{name: partial(_bundled, name) for name in _BUNDLED},
    **{name: partial(_synthetic, name) for name in _SYNTHETIC},
    "fashion_mnist": _fashion_mnist,
    "a9a": _a9a,
    "sms_spam": _sms_spam,
    "sms_spam_counts": partial(_sms_spam, _all_counts),
    "banking77": _banking77,
    "banking77_counts": partial(_banking77, _all_counts),
    "spoken_digits": _spoken_digits,
}


@lru_cache(None)
def _table(name: str) -> _Table:
    return _TABLES[name]()


NAMES = tuple(_TABLES)
_UNWEIGHTED = {f"{name}_counts": name for name in ("sms_spam", "banking77")}
DOWNLOADED = (*FILES, *_UNWEIGHTED)

_SOURCES = {
    "digits": "Alpaydin & Kaynak 1998, the test part of UCI 80, CC BY 4.0, by way of scikit-learn",
    "breast_cancer": "Wolberg, Mangasarian & Street 1995, UCI 17, CC BY 4.0, by way of scikit-learn",
    "wine": "Aeberhard & Forina 1991, UCI 109, CC BY 4.0, by way of scikit-learn",
    "iris": "Fisher 1936, UCI 53, CC BY 4.0, by way of scikit-learn",
    **dict.fromkeys(_SYNTHETIC, "made by lookahead_nb, MIT"),
    "fashion_mnist": "Xiao, Rasul & Vollgraf 2017, github.com/zalandoresearch/fashion-mnist, MIT",
    "a9a": "Becker & Kohavi 1996, UCI 2, CC BY 4.0, as indicators by Platt 1998, by way of LIBSVM",
    "sms_spam": "Almeida, Gomez Hidalgo & Yamakami 2011, UCI 228, CC BY 4.0",
    "banking77": "Casanueva et al. 2020, github.com/PolyAI-LDN/task-specific-datasets, CC BY 4.0",
    "spoken_digits": "Jackson et al. 2018, github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0",
    "arrays": "the user's own arrays",
}
_SOURCES |= {counts: _SOURCES[name] for counts, name in _UNWEIGHTED.items()}
