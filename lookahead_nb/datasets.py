"""Data sets: bundled, synthetic, downloaded and the user's own, all split and scaled by the same rules.

Split: the rows of each class go to training, validation and test in random order as 3 : 1 : 1 (Fashion-MNIST, whose
test set is fixed by its publisher: training and validation as 5 : 1). Scaling: ``(x - mean)/std`` in float64, rounded
once to float32, mean and std those of the training part alone. All randomness comes from ``philox``, so that splits and
synthetic data never change with the version of NumPy.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_nb.checks import extra, one_of, plain_array, whole_number
from lookahead_nb.philox import SPLITS, SUBSETS, SYNTHETIC, permutation, uniforms

_ARRAYS = ("X_train", "y_train", "X_validation", "y_validation", "X_test", "y_test")
_LIMIT = 1e100  # squares of larger numbers overflow


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows and labels in three parts, scaled, read-only; made by :func:`load` and :func:`from_arrays`.

    X_train, X_validation, X_test : (rows, n_features) float32, C-contiguous; y_train, y_validation, y_test : (rows,)
    int64, labels 0..n_classes-1. name : str; n_classes : int; official_test : bool, True where the publisher fixed the
    test set, so that it stays the same under every split_seed; split_seed : int; source : str, origin and licence.
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
    loaded: bool = field(default=False, repr=False)  # whole, as load(name, split_seed) returns it

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Go to other processes by name, where that is enough: the rows of Fashion-MNIST are 220 MB."""
        return (_reloaded, (self.name, self.split_seed)) if self.loaded else super().__reduce_ex__(protocol)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # a pickled array comes back writeable

    @property
    def n_features(self) -> int:
        """How many columns X has."""
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
        """Return the data set with n stratified rows of its training part, for studies of its size.

        n : int in [1, rows of the training part]; seed : int in [0, 2**63). With one seed a smaller subset lies within
        every larger one. Validation, test and scaling stay as they are (the scaling was fitted on the whole training
        part), so that results on subsets can be compared. errors : TypeError, ValueError.
        Source: :func:`stratified_rows`.
        """
        rows = stratified_rows(self.y_train, n, seed)
        return replace(self, X_train=self.X_train[rows], y_train=self.y_train[rows], loaded=False)


def load(name: str, split_seed: int = 0) -> Dataset:
    """Return a data set by its name.

    name : one of ``NAMES``. "digits", "breast_cancer", "wine" and "iris" lie in scikit-learn; "gaussian_blobs",
    "checkerboard", "logistic_teacher" and "exclusive_or" are made here; "fashion_mnist" is downloaded once into the
    user's cache folder or, where LOOKAHEAD_NB_DATA names a folder, read from its ``fashion-mnist/``, and then nothing
    is ever downloaded.
    split_seed : int in [0, 2**63). Features are standardised each by itself, the pixels of Fashion-MNIST by one mean
    and one standard deviation for all of them (which makes the usual division by 255 vanish).

    errors : TypeError, ValueError; ModuleNotFoundError without the extra ``reproduce``; OSError if a file is missing,
    cannot be downloaded or has another sha256 than the published one. Source: ``Dataset.source``.
    """
    one_of("name", name, NAMES)
    split_seed = _seed("split_seed", split_seed)
    if name == "fashion_mnist":
        return replace(_fashion_mnist(split_seed), loaded=True)
    X, y = _SYNTHETIC[name]() if name in _SYNTHETIC else _bundled(name)
    return replace(_tabular(X, y, split_seed, name), loaded=True)


@lru_cache(2)
def _reloaded(name: str, split_seed: int) -> Dataset:
    return load(name, split_seed)


def from_arrays(X: Any, y: Any, split_seed: int = 0) -> Dataset:
    """Return the user's own data, split and scaled like the bundled sets; X and y are copied.

    X : (rows, columns) of finite numbers below 1e100 in size; y : (rows,) of an integer or bool dtype, every label
    0..C-1 present, C at least 2, one of them three times; both anything that ``np.asarray`` takes, pandas objects
    included. split_seed : int in [0, 2**63). A class of three rows or more is in every part, a smaller one in training.
    errors : TypeError, ValueError, naming the place of a bad value. Source: the module's docstring.
    """
    features, labels = _features(X), _labels(y)
    if len(features) != len(labels):
        raise ValueError(f"y must have one label for each of the {len(features)} rows of X, not {len(labels)}")
    return _tabular(features, labels, _seed("split_seed", split_seed), "arrays")


def stratified_rows(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n row numbers, ascending, that hold each class in proportion, and every class if n allows it.

    y : (rows,) int64 of a :class:`Dataset`; n : int in [1, rows]; seed : int in [0, 2**63). returns : (n,) int64. With
    one seed the rows for a smaller n are among those for a larger one. errors : TypeError, ValueError.
    Source: Webster's apportionment, :func:`_turns`.
    """
    n = whole_number("n", n, 1, len(y))
    classes = _by_class(y, permutation(len(y), _seed("seed", seed), SUBSETS))
    turns = np.concatenate([_turns(len(rows), len(rows)) for rows in classes])
    return np.sort(np.concatenate(classes)[np.argsort(turns, kind="stable")[:n]])


# ------------------------------------------------------------------------------------------------ splits and scaling


def _seed(name: str, value: Any) -> int:
    return whole_number(name, value, 0, 2**63 - 1)


def _by_class(y: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each class, in the given order."""
    return np.split(order[np.argsort(y[order], kind="stable")], np.cumsum(np.bincount(y))[:-1])


def _turns(n: int, weight: int) -> np.ndarray:
    """Return when a weight gets its 1st, 2nd, ... n-th row: at ``(2*held + 1)/weight``, the first before all seconds.

    Dealing by ascending turns shares rows in proportion to the weights, and dealing on takes none back.
    Source: Webster 1832 (Sainte-Lague); Balinski & Young 2001, "Fair representation".
    """
    turns = (2 * np.arange(n) + 1) / weight
    turns[:1] = -weight
    return turns


def _split(y: np.ndarray, shares: Sequence[int], seed: int) -> list[np.ndarray]:
    """Return the rows of each part, in random order: each class shared out in proportion."""
    order = permutation(len(y), seed, SPLITS)
    part = np.empty(len(y), np.int64)
    for rows in _by_class(y, order):
        turns = np.concatenate([_turns(len(rows), share) for share in shares])
        part[rows] = np.argsort(turns, kind="stable")[: len(rows)] // len(rows)
    return [order[part[order] == p] for p in range(len(shares))]


def _tabular(X: np.ndarray, y: np.ndarray, split_seed: int, name: str) -> Dataset:
    parts = _split(y, (3, 1, 1), split_seed)
    scaled = _standardised(X, parts[0])
    return _dataset([(scaled[rows], y[rows]) for rows in parts], name, split_seed, official_test=False)


def _dataset(parts: list[tuple[np.ndarray, np.ndarray]], name: str, split_seed: int, *, official_test: bool) -> Dataset:
    train, validation, test = parts
    n_classes = int(train[1].max()) + 1
    return Dataset(*train, *validation, *test, name, n_classes, official_test, split_seed, _SOURCES[name])


def _standardised(X: np.ndarray, train: np.ndarray) -> np.ndarray:
    X = X - X[train[0]]  # a constant column is then exactly 0, whatever its mean would round to
    fitted = X[train]
    mean, std = fitted.mean(axis=0), fitted.std(axis=0)
    with np.errstate(over="ignore"):
        scaled = ((X - mean) / np.where(std > 0, std, 1)).astype(np.float32)
    if not np.isfinite(scaled).all():
        row, column = np.argwhere(~np.isfinite(scaled))[0]
        raise ValueError(
            f"X must fit float32 once scaled by its training part, which row {row}, column {column} does not"
        )
    return scaled


def _features(X: Any) -> np.ndarray:
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


def _labels(y: Any) -> np.ndarray:
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

# Every random array has a block of the stream of its own; 5000 rows each.


def _normals(columns: int, block: int) -> np.ndarray:
    from scipy.special import ndtri  # here, since it would double the time to import the package

    return ndtri(uniforms(5000 * columns, 0, SYNTHETIC, block) + 2.0**-25).reshape(5000, columns)


def _gaussian_blobs() -> tuple[np.ndarray, np.ndarray]:
    """Ten overlapping clusters, ``x = 3*e_y + z`` with z ~ N(0, I) in 20 dimensions.

    A linear model can reach the best accuracy: 0.902, the chance that 3 + z_0 is the largest of 3 + z_0, z_1, ... z_9.
    """
    y = np.arange(5000) % 10
    return _normals(20, block=0) + 3 * np.eye(10, 20)[y], y


def _checkerboard() -> tuple[np.ndarray, np.ndarray]:
    """Two classes on a board of 4 x 4 fields, ``y = (floor(x_0) + floor(x_1)) mod 2``, one label in ten flipped.

    A linear model can do little better than guess; the best accuracy is 0.9.
    """
    X = 4 * uniforms(10_000, 0, SYNTHETIC, 1).reshape(5000, 2)
    flipped = uniforms(5000, 0, SYNTHETIC, 2) < 0.1
    return X, (X.astype(np.int64).sum(axis=1) + flipped) % 2


def _logistic_teacher() -> tuple[np.ndarray, np.ndarray]:
    """Two classes from a linear teacher, ``P(y = 1) = sigmoid(w.x)``, w = (3, -3, 3, ...), 20 columns.

    x ~ N(0, ``0.9**|i-j|``): a convex problem, of which logistic regression is the true model, yet not an easy one, for
    the covariance has condition number 212 and the teacher points along its narrow side. The best accuracy is 0.86.
    """
    X = _normals(20, block=3)
    logit = 3 * X[:, 0]
    for j in range(1, 20):
        X[:, j] = 0.9 * X[:, j - 1] + math.sqrt(1 - 0.9**2) * X[:, j]
        logit += (-1) ** j * 3 * X[:, j]
    return X, (uniforms(5000, 0, SYNTHETIC, 4) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def _exclusive_or() -> tuple[np.ndarray, np.ndarray]:
    """Four clusters at the corners of a square, two classes across its diagonals, ``x = c + 0.3*z``, z ~ N(0, I).

    ``y = 1`` where the signs of c = (+-1, +-1) differ. The best accuracy is 0.999, yet a network of two or three hidden
    units often gets stuck: at log(2)/2, where it cannot tell two corners apart, or at 3/4 of the entropy of 1/3, where
    it cannot three.
    """
    corner = (uniforms(10_000, 0, SYNTHETIC, 5) < 0.5).reshape(5000, 2)
    return 2.0 * corner - 1 + 0.3 * _normals(2, block=6), (corner[:, 0] ^ corner[:, 1]).astype(np.int64)


_SYNTHETIC: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "gaussian_blobs": _gaussian_blobs,
    "checkerboard": _checkerboard,
    "logistic_teacher": _logistic_teacher,
    "exclusive_or": _exclusive_or,
}


# -------------------------------------------------------------------------------------------- bundled and downloaded

# The sha256 of X as float64 and y as int64, one after the other.
_BUNDLED = {
    "digits": "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443",
    "breast_cancer": "25e2eb7b7a8745b1bde5ba18bc4969983d2e2f403291ecd5bde4a29ef30c3859",
    "wine": "3a28849ef2366c4b9d4e382b3fa5624a66f693c04d7fdcf43c529bbb0bb338d7",
    "iris": "aa06b8008ceba42efc654be0f83fdafc786239c9e8f13146044d078f5aab8f23",
}

_FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/"
_FASHION_FILES = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}

NAMES = (*_BUNDLED, *_SYNTHETIC, "fashion_mnist")

_SOURCES = {
    "digits": "Alpaydin & Kaynak 1998, the test part of UCI 80, CC BY 4.0, by way of scikit-learn",
    "breast_cancer": "Wolberg, Mangasarian & Street 1995, UCI 17, CC BY 4.0, by way of scikit-learn",
    "wine": "Aeberhard & Forina 1991, UCI 109, CC BY 4.0, by way of scikit-learn",
    "iris": "Fisher 1936, UCI 53, CC BY 4.0, by way of scikit-learn",
    "fashion_mnist": "Xiao, Rasul & Vollgraf 2017, github.com/zalandoresearch/fashion-mnist, MIT",
    "arrays": "the user's own arrays",
} | dict.fromkeys(_SYNTHETIC, "made by lookahead_nb, MIT")


def _bundled(name: str) -> tuple[np.ndarray, np.ndarray]:
    X, y = getattr(extra("sklearn.datasets", "scikit-learn", name), f"load_{name}")(return_X_y=True)
    X, y = np.ascontiguousarray(X, np.float64), y.astype(np.int64)
    if hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest() != _BUNDLED[name]:
        raise OSError(
            f"{name} differs in this scikit-learn (its sha256 is another): install the one in requirements.lock"
        )
    return X, y


def _fashion_mnist(split_seed: int) -> Dataset:
    pixels, labels, test_pixels, test_labels = (_idx(file, _published(file)) for file in _FASHION_FILES)
    parts = _split(labels, (5, 1), split_seed)
    counts = np.zeros(256, np.int64)
    for image in pixels[parts[0]]:
        counts += np.bincount(image.ravel(), minlength=256)
    values = np.arange(256)
    n, total, squares = int(counts.sum()), int(counts @ values), int(counts @ values**2)
    mean, std = total / n, math.sqrt(n * squares - total**2) / n  # of exact whole numbers
    scaled = ((values - mean) / std).astype(np.float32)  # what each pixel value becomes
    images = [(pixels[rows], labels[rows]) for rows in parts] + [(test_pixels, test_labels)]
    scaled_parts = [(scaled[X].reshape(len(X), -1), y.astype(np.int64)) for X, y in images]
    return _dataset(scaled_parts, "fashion_mnist", split_seed, official_test=True)


def _idx(file: str, packed: bytes) -> np.ndarray:
    """Return the array in a gzipped IDX file of bytes, whose name says its dimensions.

    Two zeros, 8 for bytes, the number of dimensions, their sizes as big-endian 32-bit numbers, the bytes.
    errors : OSError. Source: LeCun, Cortes & Burges, "The MNIST database", file formats.
    """
    dimensions = int(file.partition("-idx")[2][0])
    head = struct.Struct(f">4B{dimensions}I")
    try:
        raw = gzip.decompress(packed)
        zero1, zero2, kind, stated, *sizes = head.unpack_from(raw)
    except (OSError, EOFError, zlib.error, struct.error):
        raise OSError(f"{file} is not a whole gzipped IDX file") from None
    if (zero1, zero2, kind, stated) != (0, 0, 8, dimensions) or len(raw) != head.size + math.prod(sizes):
        raise OSError(f"{file} is not an IDX file of bytes in {dimensions} dimensions")
    return np.frombuffer(raw, np.uint8, offset=head.size).reshape(sizes)


def _published(file: str) -> bytes:
    """Return a file of Fashion-MNIST: from the folder in LOOKAHEAD_NB_DATA if set, else from cache or network."""
    folder = os.environ.get("LOOKAHEAD_NB_DATA")
    return _from_mirror(Path(folder), file) if folder else _from_network(file)


def _from_mirror(folder: Path, file: str) -> bytes:
    path = folder.expanduser() / "fashion-mnist" / file
    advice = f"put {_FASHION_URL}{file} there, or unset LOOKAHEAD_NB_DATA to download it"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {advice}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _FASHION_FILES[file]:
        raise OSError(f"{path} is not the published file (its sha256 is another): {advice}")
    return data


def _from_network(file: str) -> bytes:
    pooch, requests = extra("pooch", "pooch", "fashion_mnist"), importlib.import_module("requests")
    url, known = _FASHION_URL + file, f"sha256:{_FASHION_FILES[file]}"
    advice = f"set LOOKAHEAD_NB_DATA to a folder that holds fashion-mnist/{file}"
    try:
        return Path(pooch.retrieve(url, known, file, pooch.os_cache("lookahead-nb") / "fashion-mnist")).read_bytes()
    except requests.RequestException as error:
        if error.response is not None:
            error.response.close()  # pooch leaves the socket of a refusal open
        raise OSError(f"could not download {url} ({type(error).__name__}): connect, or {advice}") from error
    except ValueError as error:  # how pooch reports another checksum, having removed what it got
        raise OSError(
            f"{url} did not send the published file (its sha256 is another): try later, or {advice}"
        ) from error
