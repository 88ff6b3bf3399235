"""Features of texts and recordings, as numbers a small model can learn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lookahead_nb.checks import extra

TOKEN = r"\w+|[^\w\s]"  # a word, or a punctuation mark by itself


def token_counts(texts: Iterable[str], columns: int) -> Any:
    """Return token counts of each text, with words and punctuation marks hashed to a fixed number of columns.

    A token is a run of letters, digits and underscores in lower case, or a single other character except white space.
    Its column is ``abs(h) mod columns``. Here h is the signed 32-bit MurmurHash3 of its UTF-8 bytes with seed 0.

    Parameters
    ----------
    texts : iterable of str
    columns : int
        At least 1.

    Returns
    -------
    (texts, columns) float64 CSR matrix of SciPy

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn.

    Notes
    -----
    Source: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009. Their random signs are
    left out, because frequencies with signs would make no sense.

    Examples
    --------
    >>> from lookahead_nb.datasets.features import token_counts
    >>> token_counts(["to be, or not to be"], columns=4).toarray()
    array([[1., 0., 2., 4.]])
    """
    hashing = extra("sklearn.feature_extraction.text", "scikit-learn", "hashing words").HashingVectorizer
    return hashing(token_pattern=TOKEN, n_features=columns, alternate_sign=False, norm=None).transform(texts)


def token_columns(tokens: Iterable[str], columns: int) -> list[int]:
    """Return the column to which each token is hashed, by the rule of :func:`token_counts`.

    Parameters
    ----------
    tokens : iterable of str
        Each a run of letters, digits and underscores.
    columns : int
        At least 1.

    Returns
    -------
    list of int
        In [0, columns).

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn.

    Examples
    --------
    >>> from lookahead_nb.datasets.features import token_columns
    >>> token_columns(["or", "not"], columns=4)
    [3, 0]
    """
    return token_counts(tokens, columns).indices.tolist()


def indicators(columns: Sequence[Iterable[int]], n_columns: int) -> np.ndarray:
    """Return rows of indicators: 1 in the columns of a row, 0 elsewhere.

    Parameters
    ----------
    columns : sequence of iterables of int
        Those of each row, in [0, n_columns).
    n_columns : int
        At least 1.

    Returns
    -------
    (rows, n_columns) uint8 array

    Examples
    --------
    >>> from lookahead_nb.datasets.features import indicators
    >>> indicators([[0, 2], []], 3)
    array([[1, 0, 1],
           [0, 0, 0]], dtype=uint8)
    """
    found = np.zeros((len(columns), n_columns), np.uint8)
    for row, some in zip(found, columns, strict=True):
        row[[*some]] = 1
    return found


def tf_idf(counts: Any) -> Any:
    """Return the weighting of counts by the rarity of their column, with every row scaled to length 1.

    The weight is ``count * (1 + ln((1 + n)/(1 + d)))``. Here d of the n training rows have a count in that column. An
    empty row stays 0.

    Parameters
    ----------
    counts : (n, columns) sparse matrix
        The training rows, of :func:`token_counts`.

    Returns
    -------
    object
        Its ``transform`` weights a sparse matrix of counts.

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn.

    Notes
    -----
    Source: Sparck Jones 1972, smoothed as in scikit-learn.
    """
    weighting = extra("sklearn.feature_extraction.text", "scikit-learn", "weighting words").TfidfTransformer
    return weighting().fit(counts)


def tf_idf_from(idf: np.ndarray) -> Any:
    """Return the weighting of :func:`tf_idf` from its weights.

    Parameters
    ----------
    idf : (columns,) float64 array
        The attribute ``idf_`` of a weighting.

    Returns
    -------
    object
        Its ``transform`` gives the same bits.

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn.
    """
    weighting = extra("sklearn.feature_extraction.text", "scikit-learn", "weighting words").TfidfTransformer()
    weighting.idf_, weighting.n_features_in_ = idf, len(idf)
    return weighting


def mel_filters(bands: int, length: int, rate: int) -> np.ndarray:
    """Return the weights that sum the power spectrum of a frame into mel bands.

    Each band is a triangle of height 1. The corners are evenly spaced from 0 to rate/2 on the mel scale,
    ``2595*log10(1 + f/700)``. A triangle reaches from the peak of the previous band to the peak of the next one.

    Parameters
    ----------
    bands : int
        At least 1.
    length : int
        Samples of a frame.
    rate : int
        Samples per second (Hz).

    Returns
    -------
    (bands, length//2 + 1) float64 array

    Notes
    -----
    Source: Davis & Mermelstein 1980; O'Shaughnessy 1987 for the scale.

    Examples
    --------
    >>> from lookahead_nb.datasets.features import mel_filters
    >>> mel_filters(bands=2, length=8, rate=8000).round(2)
    array([[0.  , 0.68, 0.  , 0.  , 0.  ],
           [0.  , 0.32, 0.91, 0.45, 0.  ]])
    """
    corners = 700 * (10 ** (np.linspace(0, np.log10(1 + rate / 1400), bands + 2)) - 1)
    frequencies = np.arange(length // 2 + 1) * rate / length
    low, peak, high = (corners[i : i + bands, None] for i in range(3))
    return np.maximum(0, np.minimum((frequencies - low) / (peak - low), (high - frequencies) / (high - peak)))


def log_mel(samples: np.ndarray, rate: int, frames: int = 16, bands: int = 20, length: int = 400) -> np.ndarray:
    """Return the log-mel spectrogram of a recording, in decibels, with a fixed number of frames.

    Frames start at evenly spaced samples: the first frame starts with the recording, and the last one ends with it.
    Each frame is weighted by a Hann window. Its level is ``10*log10(power + 1e-10)`` for samples in [-1, 1). The mean
    level of the whole recording is subtracted, so loudness does not count.

    Parameters
    ----------
    samples : (n,) int16 array
        n at least length.
    rate : int
        Samples per second (Hz).
    frames, bands : int
        At least 1.
    length : int
        Samples of a frame.

    Returns
    -------
    (frames * bands,) float64 array
        The bands of the first frame first, rounded to 0.001 dB. The rounding hides differences in the last bits between
        the FFTs of different machines.
    """
    starts = np.rint(np.linspace(0, len(samples) - length, frames)).astype(np.int64)
    window = np.hanning(length + 1)[:-1]
    spectrum = np.fft.rfft(samples[starts[:, None] + np.arange(length)] / 2**15 * window)
    level = 10 * np.log10(np.abs(spectrum) ** 2 @ mel_filters(bands, length, rate).T + 1e-10)
    return np.round(level - level.mean(), 3).ravel()
