"""Letters and phonemes: words that are read, stems, windows, and an alignment that sums over all ways."""

import itertools

import numpy as np
import pytest

from lookahead_nb.datasets import phonemes
from lookahead_nb.datasets.phonemes import align, pronunciations, spoken_letters, stem, windows

DICTIONARY = """\
'bout B AW1 T
a AH0
a(2) EY1
aalto AA1 L T OW2 # name, finnish
fox F AA1 K S
fox(2) F AO1 K S
x-ray EH1 K S R EY2
"""


def every_alignment(n, m):
    """All ways in which n letters share m phonemes, as the number of phonemes of each letter."""
    return [way for way in itertools.product(range(3), repeat=n) if sum(way) == m]


def labelled(phonemes_of_word, way):
    ends = np.cumsum(way)
    return [tuple(phonemes_of_word[end - length : end]) for length, end in zip(way, ends, strict=True)]


def by_hand(words, spoken, rounds):
    """EM over alignments that are written out one by one, and the best one of each word."""
    names = sorted({phoneme for of_word in spoken for phoneme in of_word})
    first = {0: 0.2, 1: 0.7 / len(names), 2: 0.1 / len(names) ** 2}
    p = {}

    def likely(word, labels):
        pairs = zip(word, labels, strict=True)
        return np.prod([p.get((a, label), 0) if p else first[len(label)] for a, label in pairs])

    ways = [[labelled(s, way) for way in every_alignment(len(w), len(s))] for w, s in zip(words, spoken, strict=True)]
    for _ in range(rounds):
        counts = {}
        for word, of_word in zip(words, ways, strict=True):
            weights = np.array([likely(word, labels) for labels in of_word])
            for labels, weight in zip(of_word, weights / weights.sum(), strict=True):
                for pair in zip(word, labels, strict=True):
                    counts[pair] = counts.get(pair, 0) + weight
        totals = {letter: sum(n for (a, _), n in counts.items() if a == letter) for letter in "".join(words)}
        p = {(letter, label): n / totals[letter] for (letter, label), n in counts.items()}
    best = [max(of_word, key=lambda labels: likely(word, labels)) for word, of_word in zip(words, ways, strict=True)]
    return p, [[" ".join(label) for label in labels] for labels in best]


WORDS = ["box", "fox", "ox", "knob", "oak", "bob"]
SPOKEN = [
    ["B", "AA", "K", "S"],
    ["F", "AA", "K", "S"],
    ["AA", "K", "S"],
    ["N", "AA", "B"],
    ["OW", "K"],
    ["B", "AA", "B"],
]


def test_words_of_plain_letters_are_read_with_their_first_pronunciation():
    found = pronunciations(DICTIONARY)
    assert found == {"a": ["AH0"], "aalto": ["AA1", "L", "T", "OW2"], "fox": ["F", "AA1", "K", "S"]}
    assert list(found) == ["a", "aalto", "fox"]
    assert pronunciations("") == {}


@pytest.mark.parametrize(
    ("words", "common"),
    [
        ("running runs runner run", "run"),
        ("abandoned abandonment abandoning abandons", "abandon"),
        ("happiness happily happy", "hap"),
        ("modern modernism modernists modernity modernization", "modern"),
        ("cats cat", "cat"),
        ("bed", "bed"),  # too short to lose its ending
        ("ing", "ing"),
    ],
)
def test_words_of_a_family_have_one_stem(words, common):
    assert {stem(word) for word in words.split()} == {common}


def test_a_window_holds_three_letters_on_either_side():
    table = windows(["cab", "a"]).reshape(4, 7, 27)
    assert table.dtype == np.uint8
    assert (table.sum(axis=2) == 1).all()
    assert table.argmax(axis=2).tolist() == [
        [0, 0, 0, 3, 1, 2, 0],
        [0, 0, 3, 1, 2, 0, 0],
        [0, 3, 1, 2, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
    ]
    long = windows(["abcdefgh"]).reshape(8, 7, 27).argmax(axis=2)
    assert long[3].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert long[4].tolist() == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("rounds", [1, 2, 6])
def test_the_alignment_sums_over_all_ways(monkeypatch, rounds):
    monkeypatch.setattr(phonemes, "ROUNDS", rounds)
    p, best = by_hand(WORDS, SPOKEN, rounds)
    assert align(WORDS, SPOKEN) == best
    names = sorted({phoneme for of_word in SPOKEN for phoneme in of_word})
    emissions = phonemes._Emissions(np.full(26, 0.2), np.full((26, 7), 0.7 / 7), np.full((26, 7, 7), 0.1 / 49))
    assert len(names) == 7
    for _ in range(rounds):
        emissions = phonemes._reestimated(phonemes._batches(WORDS, SPOKEN, names), emissions)
    for letter, place in zip("abcdefghijklmnopqrstuvwxyz", range(26), strict=True):
        found = {(): emissions.none[place]}
        found |= {(name,): emissions.one[place, i] for i, name in enumerate(names)}
        found |= {(a, b): emissions.two[place, i, j] for i, a in enumerate(names) for j, b in enumerate(names)}
        for label, value in found.items():
            assert value == pytest.approx(p.get((letter, label), 0), rel=1e-9, abs=1e-15)
        assert sum(found.values()) == pytest.approx(float(letter in "".join(WORDS)))


def test_letters_are_aligned_as_expected():
    assert align(WORDS, SPOKEN)[:4] == [["B", "AA", "K S"], ["F", "AA", "K S"], ["AA", "K S"], ["", "N", "AA", "B"]]
    assert align(["ab"], [["X"]]) == [["X", ""]]  # equally likely: the last letters are spoken as less


def test_the_labels_of_a_word_are_its_phonemes(rng):
    words = ["".join(rng.choice([*"abcde"], rng.integers(1, 7))) for _ in range(60)]
    spoken = [[*rng.choice(["P", "Q", "R"], rng.integers(1, 2 * len(word) + 1))] for word in words]
    for word, of_word, labels in zip(words, spoken, align(words, spoken), strict=True):
        assert len(labels) == len(word)
        assert " ".join(filter(None, labels)).split() == of_word


def test_a_word_with_too_many_phonemes_is_refused():
    with pytest.raises(ValueError, match=r"^spoken must have at most two phonemes a letter, got 3 for 'a'$"):
        align(["ox", "a"], [["AA", "K", "S"], ["EY", "B", "IY"]])


def test_letters_are_numbered_and_rare_labels_leave_with_their_words():
    text = "".join(f"{word} {' '.join(of_word)}\n" for word, of_word in zip(WORDS, SPOKEN, strict=True)) + "a EY B IY\n"
    whole = spoken_letters(text, least=1)
    aligned = dict(zip(WORDS, align(WORDS, SPOKEN), strict=True))
    places = whole.X.reshape(-1, 7, 27).argmax(axis=2)
    starts = np.flatnonzero(places[:, 2] == 0)
    read = {}
    for rows in np.split(np.arange(len(places)), starts[1:]):
        word = "".join("-abcdefghijklmnopqrstuvwxyz"[i] for i in places[rows, 3])
        read[word] = whole.labels[whole.y[rows]].tolist()
        assert len({*whole.stems[rows]}) == 1
    assert read == aligned  # "a" has three phonemes
    assert whole.labels.tolist() == sorted({label for labels in aligned.values() for label in labels})
    assert len({*whole.stems}) == len(WORDS)
    uses = [*itertools.chain(*read.values())]
    frequent = {word: labels for word, labels in read.items() if all(uses.count(label) > 1 for label in labels)}
    kept = spoken_letters(text, least=2)
    assert 0 < len(frequent) < len(read)
    assert kept.labels[kept.y].tolist() == [*itertools.chain(*frequent.values())]
    assert len(spoken_letters(text, most=2, least=1).y) == sum(map(len, list(read)[:2]))


def test_words_of_one_stem_follow_each_other():
    text = "".join(f"{word} P\n" for word in ("cats", "dog", "cat", "emu", "dogs", "gnu"))
    found = spoken_letters(text, least=1)
    assert np.count_nonzero(np.diff(found.stems)) == 3
    assert len(found.y) == 4 + 3 + 3 + 3 + 4 + 3
