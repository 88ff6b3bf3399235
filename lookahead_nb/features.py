"""Features of texts and recordings, as numbers a small model can learn from."""

from __future__ import annotations

import numpy as np

from lookahead_nb.checks import extra

TOKEN = r"\w+|[^\w\s]"  # a word, or a mark by itself


def token_counts(texts, columns):
    """Return how often the tokens of each column stand in each text: words and marks hashed to a fixed set of columns.

    A token is a run of letters, digits and underscores, in lower case, or one other character that is no space. Its
    column is ``abs(h) mod columns``, h the signed 32-bit MurmurHash3 of its UTF-8 bytes with seed 0.

    texts : sequence of str; columns : int, at least 1. returns : (texts, columns) float64, sparse rows of SciPy.
    errors : ModuleNotFoundError without scikit-learn. Source: Weinberger et al., "Feature hashing for large scale
    multitask learning", ICML 2009, without the signs, of which frequencies would make no sense.
    """
    hashing = extra("sklearn.feature_extraction.text", "scikit-learn", "hashing words").HashingVectorizer
    return hashing(token_pattern=TOKEN, n_features=columns, alternate_sign=False, norm=None).transform(texts)


def tf_idf(counts, train):
    """Return counts weighted by how rare their column is, each row scaled to length 1 (an empty one stays 0).

    Weight: ``count * (1 + ln((1 + n)/(1 + d)))``, d how many of the n training rows have a count in that column.

    counts : sparse (rows, columns) of :func:`token_counts`; train : (n,) int64, the rows to fit on. returns : the same
    shape, float64. errors : ModuleNotFoundError without scikit-learn. Source: Sparck Jones 1972, smoothed as in
    scikit-learn.
    """
    weighting = extra("sklearn.feature_extraction.text", "scikit-learn", "weighting words").TfidfTransformer
    return weighting().fit(counts[train]).transform(counts)


def mel_filters(bands, length, rate):
    """Return the weights by which the power spectrum of a frame is summed into bands.

    Triangles of height 1 whose corners are spread evenly from 0 to rate/2 on the mel scale, ``2595*log10(1 + f/700)``,
    each reaching from the peak of the one before to the peak of the one after.

    bands : int; length : int, samples of a frame; rate : int, in Hz. returns : (bands, length//2 + 1) float64.
    Source: Davis & Mermelstein 1980; O'Shaughnessy 1987 for the scale.
    """
    corners = 700 * (10 ** (np.linspace(0, np.log10(1 + rate / 1400), bands + 2)) - 1)
    frequencies = np.arange(length // 2 + 1) * rate / length
    low, peak, high = (corners[i : i + bands, None] for i in range(3))
    return np.maximum(0, np.minimum((frequencies - low) / (peak - low), (high - frequencies) / (high - peak)))


def log_mel(samples, rate, frames=16, bands=20, length=400):
    """Return the spectrogram of a recording, stretched to a fixed number of frames, on mel bands in decibels.

    The frames start evenly spread, the first at the first sample, the last so that it ends with the recording; each is
    weighted by a Hann window. Level: ``10*log10(power + 1e-10)`` for samples in [-1, 1), less its mean over the whole
    recording, so that loudness does not count; rounded to 0.001 dB, so that the last bits of a machine's FFT do not.

    samples : (n,) int16, n at least length; rate : int, in Hz; frames, bands : int, at least 1; length : int, samples
    of a frame. returns : (frames * bands,) float64, the bands of the first frame first.
    """
    starts = np.rint(np.linspace(0, len(samples) - length, frames)).astype(np.int64)
    window = np.hanning(length + 1)[:-1]
    spectrum = np.fft.rfft(samples[starts[:, None] + np.arange(length)] / 2**15 * window)
    level = 10 * np.log10(np.abs(spectrum) ** 2 @ mel_filters(bands, length, rate).T + 1e-10)
    return np.round(level - level.mean(), 3).ravel()
