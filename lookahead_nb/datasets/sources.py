"""Bundled and downloaded data sets by name."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import io
import math
import struct
import wave
import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import starmap
from pathlib import Path

import numpy as np

from lookahead_nb.checks import extra, named_arguments, one_of
from lookahead_nb.datasets.dataset import Dataset, _seed
from lookahead_nb.datasets.downloads import FILES, is_available, published
from lookahead_nb.datasets.features import indicators, log_mel, token_columns, token_counts
from lookahead_nb.datasets.phonemes import spoken_letters
from lookahead_nb.datasets.split import (
    Fit,
    _all_bytes,
    _all_counts,
    _all_words,
    _chunk,
    _each_column,
    _split_and_scaled,
    _Table,
)
from lookahead_nb.datasets.synthetic import _SYNTHETIC, _synthetic

LIKED = 8  # the lowest rating of a film that was liked, of 0 to 10
IDS = 1024  # columns of hashed users, and of hashed films


@named_arguments
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
    - "movietweetings": indicators of the user and of the film, each hashed to 1024 columns, and of its genres. The
      label is whether the user rated the film 8 or more. Rows follow each other in time, and so do the parts.
    - "cmudict": letters of words, each with its three neighbours on either side, as indicators. The label is what the
      letter is spoken as, see :mod:`.phonemes`; ``Dataset.classes`` has its phonemes. Words of one stem stay together.

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
    return _split_and_scaled(_table(name), name, split_seed, _SOURCES[name], _reloaded)


@named_arguments
def chunk(name: str, i: int, rows: int, split_seed: int = 0) -> Dataset:
    """Return a part of a large data set, split and scaled by itself, as an independent replicate of a small one.

    Chunks of one size share no row, so what is measured on them is independent, unlike on different splits of one set
    of rows, which overlap. Rows with a time are cut into chunks in its order. Of rows in groups, one group at most lies
    on both sides of a cut.

    Parameters
    ----------
    name : str
        As in :func:`load`.
    i : int
        The number of the chunk, at least 0; there are as many as the data set has rows for.
    rows : int
        Of a chunk, from 5 to all rows of the data set. Three fifths of each class become its training part, a fifth
        each its validation and test part; of one or two rows of a class the first is for training. Rows with a time,
        or in groups, are split as in :func:`load`. Rows of an official test set are not kept apart.
    split_seed : int
        Of the split inside the chunk, in [0, 2**63).

    Returns
    -------
    Dataset
        ``rows_train`` and so on count the rows of the whole set.

    Raises
    ------
    TypeError, ValueError, ModuleNotFoundError, OSError
        As :func:`load`, or if the data set has not so many rows, or the chunk no class with three rows, or not three
        groups, to split.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> first, second = (lnb.datasets.chunk("gaussian_blobs", i, 500) for i in (0, 1))
    >>> len(first.y_train), len({*first.rows_train} & {*second.rows_train})
    (302, 0)
    """
    one_of("name", name, NAMES)
    table, split_seed = _table(name), _seed("split_seed", split_seed)
    return _chunk(table, name, i, rows, split_seed, _SOURCES[name])


@named_arguments
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
    return one_of("name", name, NAMES) not in DOWNLOADED or is_available(_UNWEIGHTED.get(name, name))


@lru_cache(2)
def _reloaded(name: str, split_seed: int) -> Dataset:
    return load(name, split_seed)


# The sha256 of X as float64, followed by y as int64.
_BUNDLED = {
    "digits": "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443",
    "breast_cancer": "25e2eb7b7a8745b1bde5ba18bc4969983d2e2f403291ecd5bde4a29ef30c3859",
    "wine": "3a28849ef2366c4b9d4e382b3fa5624a66f693c04d7fdcf43c529bbb0bb338d7",
    "iris": "aa06b8008ceba42efc654be0f83fdafc786239c9e8f13146044d078f5aab8f23",
}


def _bundled(name: str) -> _Table:
    X, y = _rows_in_package(name) or getattr(extra("sklearn.datasets", "scikit-learn", name), f"load_{name}")(
        return_X_y=True
    )
    X, y = np.ascontiguousarray(X, np.float64), y.astype(np.int64)
    if hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest() != _BUNDLED[name]:
        raise OSError(f"{name} differs in this scikit-learn (by its sha256): install the version in requirements.lock")
    return _Table(X, y, _each_column)


def _rows_in_package(name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rows of a file inside scikit-learn, if it is there; importing the package would take two seconds."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        for file, skipped in ((f"{name}.csv.gz", 0), (f"{name}.csv", 1), (f"{name}_data.csv", 1)):
            path = Path(folder) / "datasets" / "data" / file
            if path.is_file():
                table = np.loadtxt(path, delimiter=",", skiprows=skipped)
                return table[:, :-1], table[:, -1]
    return None


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


def _movietweetings() -> _Table:
    """Read ratings, USER::FILM::RATING::SECOND a line, in the order of time, and the genres of FILM::TITLE::A|B."""
    ratings, films = (
        [line.split("::") for line in text.decode().split("\n") if line]
        for text in published("movietweetings").values()
    )
    genres = {film: [genre for genre in listed.split("|") if genre] for film, _, listed in films}
    number = {genre: i for i, genre in enumerate(sorted({genre for some in genres.values() for genre in some}))}
    ratings.sort(key=lambda rating: int(rating[3]))  # stable
    hashed = [token_columns([rating[i] for rating in ratings], IDS) for i in range(2)]
    columns = [
        [user, IDS + film, *(2 * IDS + number[genre] for genre in genres[rating[1]])]
        for rating, user, film in zip(ratings, *hashed, strict=True)
    ]
    y = np.array([int(rating[2]) >= LIKED for rating in ratings], np.int64)
    return _Table(indicators(columns, 2 * IDS + len(number)), y, _all_bytes, in_time=True)


def _cmudict() -> _Table:
    (text,) = published("cmudict").values()
    X, y, labels, stems = spoken_letters(text.decode())
    return _Table(X, y, _all_bytes, classes=labels, groups=stems)


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
    "movietweetings": _movietweetings,
    "cmudict": _cmudict,
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
    "movietweetings": "Dooms, De Pessemier & Martens 2013, github.com/sidooms/MovieTweetings, MIT",
    "cmudict": "Carnegie Mellon University 1993-2015, github.com/cmusphinx/cmudict, BSD-2-Clause",
}


_SOURCES |= {counts: _SOURCES[name] for counts, name in _UNWEIGHTED.items()}
