"""Features: tokens in the columns their hash says, rare ones weighted up; bands of sound where the tone is."""

import sys

import numpy as np
import pytest
from scipy.sparse import csr_array

from lookahead_nb.datasets.features import indicators, log_mel, mel_filters, tf_idf, token_columns, token_counts
from lookahead_nb.datasets.scaling import TextScaling


def murmur(text):
    """MurmurHash3 of 32 bits with seed 0, signed; Austin Appleby's algorithm, block by block."""
    data, mask = text.encode(), 0xFFFFFFFF
    h = 0
    for i in range(0, len(data), 4):
        block = int.from_bytes(data[i : i + 4], "little") * 0xCC9E2D51 & mask
        block = (block << 15 | block >> 17) & mask
        h ^= block * 0x1B873593 & mask
        if i + 4 <= len(data):
            h = ((h << 13 | h >> 19) * 5 + 0xE6546B64) & mask
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    h ^= h >> 16
    return h - (h >> 31 << 32)


def test_the_hash_is_the_published_one():
    assert [murmur(text) & 0xFFFFFFFF for text in ("", "hello", "hello, world")] == [0, 0x248BFA47, 0x149BBB7F]
    assert murmur("foo") == -156908512


def test_a_token_has_the_column_of_its_hash_and_rows_of_indicators_one_in_each_column():
    pytest.importorskip("sklearn")
    tokens = ["17", "0111161", "some_user"]
    columns = token_columns(tokens, 16)
    assert columns == [abs(murmur(token)) % 16 for token in tokens]
    table = indicators([[0, 3, 3], [], (2,)], 4)
    assert table.dtype == np.uint8
    np.testing.assert_array_equal(table, [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]])


def counted(text, columns):
    return token_counts([text], columns).toarray()[0]


def test_tokens_are_words_in_lower_case_and_single_marks():
    pytest.importorskip("sklearn")
    tokens = ["hello", "foo_1", "foo_1", "é", "'", "s", "£", "20", "!", "!"]
    expected = np.zeros(512)
    for token in tokens:
        expected[abs(murmur(token)) % 512] += 1
    np.testing.assert_array_equal(counted("  Hello\tFOO_1 foo_1 É's\n£20!!", 512), expected)
    assert abs(murmur("hello")) % 512 == 0x47
    assert counted("hello", 512)[0x47] == 1
    assert (counted(" \n", 512) == 0).all()


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ModuleNotFoundError, match=r"^hashing words needs scikit-learn: install the extra reproduce"):
        token_counts(["text"], 8)


def test_weights_by_hand():
    counts = csr_array(np.array([[1.0, 2, 0], [0, 1, 0], [0, 0, 3], [0, 0, 0]]))
    rare, common = 1 + np.log(3 / 2), 1.0  # in one of the two training rows, in both
    length = np.hypot(rare, 2 * common)
    expected = [[rare / length, 2 * common / length, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(tf_idf(counts[:2]).transform(counts).toarray(), expected, rtol=1e-14)


def test_every_frequency_between_the_outer_peaks_counts_once():
    filters = mel_filters(20, 400, 8000)
    assert filters.shape == (20, 201)
    peaks = 700 * ((1 + 4000 / 700) ** (np.arange(1, 21) / 21) - 1)  # evenly spread in log(1 + f/700)
    frequencies = np.arange(201) * 20
    inside = (frequencies >= peaks[0]) & (frequencies <= peaks[-1])
    np.testing.assert_allclose(filters.sum(axis=0)[inside], 1, rtol=1e-12)
    assert (abs(frequencies[filters.argmax(axis=1)] - peaks) <= 20).all()
    assert filters[:, [0, 200]].max() < 1e-12


@pytest.mark.parametrize("frequency", [300, 1000, 3100])
def test_a_tone_lights_up_its_band(frequency):
    tone = np.rint(9000 * np.sin(2 * np.pi * frequency * np.arange(3000) / 8000)).astype(np.int16)
    features = log_mel(tone, 8000).reshape(16, 20)
    nearest = np.argmax(mel_filters(20, 400, 8000)[:, frequency // 20])
    assert (features.argmax(axis=1) == nearest).all()
    far = abs(np.arange(20) - nearest) > 3
    assert (features[:, [nearest]] - features[:, far]).min() > 30  # decibels


def test_frames_run_from_the_first_sample_to_the_last(rng):
    noise = rng.integers(-9000, 9000, 4000)
    silent = noise.copy()
    silent[:400] = silent[-400:] = 0
    before, after = log_mel(noise, 8000).reshape(16, 20), log_mel(silent, 8000).reshape(16, 20)
    fell = (after - before).mean(axis=1)
    assert fell[[0, -1]].max() < -30
    assert fell[2:-2].min() > 0  # all else rises above a lower mean
    once = log_mel(noise[:400], 8000).reshape(16, 20)
    np.testing.assert_array_equal(once, once[:1].repeat(16, axis=0))


def test_loudness_does_not_count(rng):
    quiet = rng.integers(-4000, 4000, 2000)
    np.testing.assert_allclose(log_mel(4 * quiet, 8000), log_mel(quiet, 8000), atol=0.002)


def test_level_by_hand():
    click = np.zeros(400, np.int16)
    click[200] = 2**14  # half the range, where the window is 1: a flat spectrum of power 1/4
    level = 10 * np.log10(mel_filters(20, 400, 8000).sum(axis=1) / 4 + 1e-10)
    np.testing.assert_allclose(log_mel(click, 8000, frames=1), level - level.mean(), atol=0.0006)


@pytest.mark.parametrize(
    ("texts", "error", "sentence"),
    [
        ("free prize", TypeError, "X must be a list of texts, got 'free prize'"),
        (7, TypeError, "X must be a list of texts, got 7"),
        (["free prize", 7], TypeError, r"X must be a list of texts, got 7 at row 1 \(counted from 0\)"),
        ([], ValueError, "X must hold at least one text, got none"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts, error, sentence):
    scaling = TextScaling(4, np.zeros(4), np.zeros(4), np.ones(4))
    with pytest.raises(error, match=sentence):
        scaling(texts)


def test_texts_are_counted_and_scaled():
    pytest.importorskip("sklearn")
    scaling = TextScaling(4, np.zeros(4), np.full(4, 0.5), np.full(4, 2.0))
    assert scaling(["free prize"]).tolist() == [((counted("free prize", 4) - 0.5) / 2).tolist()]
