"""Letters and the phonemes they are spoken as: words of a dictionary, aligned letter by letter.

A dictionary lists the phonemes of a word, not those of each letter. EM learns from the words themselves which letter is
spoken as which phonemes. All sums have a fixed order, so the alignment is the same on every CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lookahead_nb.kernels.philox import CHUNKS, permutation

LETTERS = "abcdefghijklmnopqrstuvwxyz"
REACH = 3  # letters on either side of the one that is spoken
ROUNDS = 8  # of EM
FIRST = (0.2, 0.7, 0.1)  # of EM: the probability that a letter is silent, is one phoneme, is two
SUFFIXES = (  # that a stem loses, again and again; no longer one may follow its own ending
    *("ization", "isation", "ations", "ation", "ingly", "ments", "ment", "ness", "less", "able", "ible", "ally"),
    *("isms", "ism", "ists", "ist", "ings", "ing", "edly", "ful", "ity", "ive", "ers", "ies", "ied", "ian"),
    *("er", "ed", "es", "ly", "al", "s", "e", "y", "i"),
)
SHORTEST = 3  # letters of a stem
WORDS = 30_000  # that are taken from a dictionary
LEAST = 50  # letters that are spoken alike, or their words are left out


class SpokenLetters(NamedTuple):
    """The letters of words, and what they are spoken as.

    Attributes
    ----------
    X : (letters, 189) uint8 array
        Of :func:`windows`; the letters of a word follow each other.
    y : (letters,) int64 array
        The number of each label in ``labels``.
    labels : (classes,) array of str
        Of :func:`align`, in ascending order.
    stems : (letters,) int64 array
        The same number for all letters of words with one :func:`stem`.
    """

    X: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    stems: np.ndarray


def spoken_letters(text: str, most: int = WORDS, least: int = LEAST) -> SpokenLetters:
    r"""Return the letters of words of a dictionary, and what they are spoken as.

    Parameters
    ----------
    text : str
        As in :func:`pronunciations`.
    most : int, default ``WORDS``
        The number of words, at least 1. They are chosen at random, family by family, always the same ones.
    least : int, default ``LEAST``
        Words with a label that fewer letters have are left out.

    Returns
    -------
    SpokenLetters

    Examples
    --------
    >>> from lookahead_nb.datasets.phonemes import spoken_letters
    >>> letters = spoken_letters("ox AA K S\nfox F AA K S\nfog F AA G\nfogs F AA G Z\n", least=2)
    >>> letters.labels[letters.y].tolist()
    ['F', 'AA', 'K S', 'AA', 'K S', 'F', 'AA', 'G']
    """
    spoken = {word: phonemes for word, phonemes in pronunciations(text).items() if len(phonemes) <= 2 * len(word)}
    family = {word: stem(word) for word in spoken}
    known = sorted({*family.values()})
    rank = {known[i]: place for place, i in enumerate(permutation(len(known), 0, CHUNKS).tolist())}
    words = sorted(spoken, key=lambda word: (rank[family[word]], word))[:most]
    aligned = align(words, [spoken[word] for word in words])
    uses = Counter(label for labels in aligned for label in labels)
    kept = [i for i, labels in enumerate(aligned) if all(uses[label] >= least for label in labels)]
    labels, y = np.unique([label for i in kept for label in aligned[i]], return_inverse=True)
    stems = np.repeat([rank[family[words[i]]] for i in kept], [len(words[i]) for i in kept])
    return SpokenLetters(windows([words[i] for i in kept]), y.astype(np.int64), labels, stems)


def pronunciations(text: str) -> dict[str, list[str]]:
    r"""Return the phonemes of each word of a dictionary in the format of CMU.

    Parameters
    ----------
    text : str
        A word and its phonemes on each line, with spaces between, and possibly a comment behind ``#``. Further
        pronunciations of a word have a number in parentheses.

    Returns
    -------
    dict of str to list of str
        In the order of the text. Words with other characters than the letters a to z are left out, and so are further
        pronunciations.

    Examples
    --------
    >>> from lookahead_nb.datasets.phonemes import pronunciations
    >>> pronunciations("o'er AO1 R\nox AA1 K S # ox\nox(2) OW1 K S\n")
    {'ox': ['AA1', 'K', 'S']}
    """
    found = dict[str, list[str]]()
    for line in text.splitlines():
        word, *phonemes = line.partition("#")[0].split() or [""]
        if phonemes and {*word} <= {*LETTERS}:
            found[word] = phonemes
    return found


def stem(word: str) -> str:
    """Return what words of one family have in common, so that a split can keep them together.

    Parameters
    ----------
    word : str
        Of the letters a to z.

    Returns
    -------
    str
        The word without its suffixes, of which at least ``SHORTEST`` letters are left, and without the second of two
        equal letters at the end. It needs no meaning, and may be that of other words too.

    Examples
    --------
    >>> from lookahead_nb.datasets.phonemes import stem
    >>> [stem(word) for word in ("running", "runs", "runners", "relation", "relates", "bed")]
    ['run', 'run', 'run', 'rel', 'relat', 'bed']
    """
    shorter = True
    while shorter:
        shorter = False
        for suffix in SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST:
                word, shorter = word.removesuffix(suffix), True
                break
    return word[:-1] if len(word) > SHORTEST and word[-1] == word[-2] else word


def windows(words: Sequence[str]) -> np.ndarray:
    """Return indicators of each letter and its neighbours, as in NETtalk.

    Parameters
    ----------
    words : sequence of str
        Of the letters a to z.

    Returns
    -------
    (letters, 7 * 27) uint8 array
        A row for each letter of each word. It has a 1 for each of 7 places, from three letters ahead of the letter to
        three letters behind it; the first of the 27 columns of a place is for those outside of the word.

    Notes
    -----
    Source: Sejnowski & Rosenberg 1987, "Parallel networks that learn to pronounce English text".

    Examples
    --------
    >>> from lookahead_nb.datasets.phonemes import windows
    >>> (windows(["ox"]).reshape(2, 7, 27).argmax(axis=2)).tolist()
    [[0, 0, 0, 15, 24, 0, 0], [0, 0, 15, 24, 0, 0, 0]]
    """
    outside = "-" * REACH
    padded = outside + outside.join(words) + outside
    codes = np.array([LETTERS.find(letter) + 1 for letter in padded])
    centres = np.flatnonzero(codes)
    places, width = 2 * REACH + 1, len(LETTERS) + 1
    of_places = codes[centres[:, None] + np.arange(-REACH, REACH + 1)]
    table = np.zeros((len(centres), places * width), np.uint8)
    np.put_along_axis(table, of_places + width * np.arange(places), 1, axis=1)
    return table


class _Emissions(NamedTuple):
    """The probabilities that a letter is silent, is one phoneme, and is two; of each letter they add up to 1."""

    none: np.ndarray  # (letters,)
    one: np.ndarray  # (letters, phonemes)
    two: np.ndarray  # (letters, phonemes, phonemes)


class _Batch(NamedTuple):
    """Words of one length whose phonemes are equally many, as numbers."""

    words: list[int]
    letters: np.ndarray  # (words, n)
    phonemes: np.ndarray  # (words, m)

    def of_letter(self, i: int, p: _Emissions) -> list[np.ndarray]:
        """Return the probabilities of letter i: silent, (words, 1); as each phoneme, (words, m); as each pair."""
        letter = self.letters[:, i, None]
        first, second = self.phonemes[:, :-1], self.phonemes[:, 1:]
        return [p.none[letter], p.one[letter, self.phonemes], p.two[letter, first, second]]


def align(words: Sequence[str], spoken: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return what each letter of each word is spoken as: nothing, a phoneme, or two of them.

    Parameters
    ----------
    words : sequence of str
        Of the letters a to z, at least one.
    spoken : sequence of sequences of str
        The phonemes of each word, at most twice as many as its letters.

    Returns
    -------
    list of list of str
        For each word a label of each letter: "" if it is silent, otherwise phonemes with a space between.

    Raises
    ------
    ValueError
        If a word has more than twice as many phonemes as letters.

    Notes
    -----
    The letters of a word are spoken one after the other, each as the label s with a probability p(s | letter) that does
    not depend on its neighbours. ``ROUNDS`` rounds of EM, which sum over all alignments of each word, estimate these
    probabilities. They start at ``FIRST``, evenly among the phonemes. The result is the most likely alignment; of equal
    ones the one whose last letters are spoken as fewer phonemes.
    Source: Dempster, Laird & Rubin 1977; Baum et al. 1970 for the sums, Viterbi 1967 for the best alignment.

    Examples
    --------
    >>> from lookahead_nb.datasets.phonemes import align
    >>> align(["ox", "fox", "fog"], [["AA", "K", "S"], ["F", "AA", "K", "S"], ["F", "AA", "G"]])
    [['AA', 'K S'], ['F', 'AA', 'K S'], ['F', 'AA', 'G']]
    """
    for word, phonemes in zip(words, spoken, strict=True):
        if len(phonemes) > 2 * len(word):
            raise ValueError(f"spoken must have at most two phonemes a letter, got {len(phonemes)} for {word!r}")
    names = sorted({phoneme for phonemes in spoken for phoneme in phonemes})
    batches = _batches(words, spoken, names)
    none, one, two = FIRST
    many, shape = len(names), (len(LETTERS), len(names), len(names))
    p = _Emissions(
        np.full(shape[:1], none), np.full(shape[:2], one / max(many, 1)), np.full(shape, two / max(many, 1) ** 2)
    )
    for _ in range(ROUNDS):
        p = _reestimated(batches, p)
    found: list[list[str]] = [[] for _ in words]
    for batch in batches:
        for i, ends in zip(batch.words, _best_ends(batch, p), strict=True):
            found[i] = [" ".join(spoken[i][a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    return found


def _batches(words: Sequence[str], spoken: Sequence[Sequence[str]], names: list[str]) -> list[_Batch]:
    number = {name: i for i, name in enumerate(names)}
    alike: dict[tuple[int, int], list[int]] = {}
    for i, (word, phonemes) in enumerate(zip(words, spoken, strict=True)):
        alike.setdefault((len(word), len(phonemes)), []).append(i)
    return [
        _Batch(
            some,
            np.array([[LETTERS.index(letter) for letter in words[i]] for i in some], np.int64).reshape(-1, n),
            np.array([[number[name] for name in spoken[i]] for i in some], np.int64).reshape(-1, m),
        )
        for (n, m), some in alike.items()
    ]


def _reestimated(batches: list[_Batch], p: _Emissions) -> _Emissions:
    """Return the emissions that follow from the expected counts of every label: one round of EM."""
    counts = [np.zeros(table.size) for table in p]
    many = p.one.shape[1]
    for batch in batches:
        n, m = batch.letters.shape[1], batch.phonemes.shape[1]
        ahead, after = _sums(batch, p)  # of all alignments of the letters up to i, and from i on
        total = ahead[n][:, m:]
        pairs = batch.phonemes[:, :-1] * many + batch.phonemes[:, 1:]
        for i in range(n):
            letter = batch.letters[:, i, None]
            labels = letter + 0 * ahead[i].astype(np.int64), letter * many + batch.phonemes, letter * many**2 + pairs
            for length, (label, likely) in enumerate(zip(labels, batch.of_letter(i, p), strict=True)):
                expected = ahead[i][:, : m + 1 - length] * likely * after[i + 1][:, length:] / total
                counts[length] += np.bincount(label.ravel(), expected.ravel(), counts[length].size)
    of_letter = [np.arange(table.size) // (table.size // len(LETTERS)) for table in p]
    totals = sum(np.bincount(letter, count, len(LETTERS)) for letter, count in zip(of_letter, counts, strict=True))
    shared = [
        (count / np.where(totals > 0, totals, 1)[letter]).reshape(table.shape)
        for letter, count, table in zip(of_letter, counts, p, strict=True)
    ]
    return _Emissions(*shared)


def _sums(batch: _Batch, p: _Emissions) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return, for each letter, the probability that it starts at each phoneme, and that the rest follows from there."""
    (many, n), m = batch.letters.shape, batch.phonemes.shape[1]
    ahead, after = np.zeros((2, n + 1, many, m + 1))
    ahead[0, :, 0] = after[n, :, m] = 1
    for i in range(n):
        for length, likely in enumerate(batch.of_letter(i, p)):
            ahead[i + 1][:, length:] += ahead[i][:, : m + 1 - length] * likely
    for i in reversed(range(n)):
        for length, likely in enumerate(batch.of_letter(i, p)):
            after[i][:, : m + 1 - length] += after[i + 1][:, length:] * likely
    return [*ahead], [*after]


def _best_ends(batch: _Batch, p: _Emissions) -> list[list[int]]:
    """Return the number of phonemes up to the end of each letter in the most likely alignment of each word."""
    (many, n), m = batch.letters.shape, batch.phonemes.shape[1]
    best = np.zeros((many, m + 1))
    best[:, 0] = 1
    taken = []
    for i in range(n):
        ways = np.zeros((3, many, m + 1))
        for length, likely in enumerate(batch.of_letter(i, p)):
            ways[length][:, length:] = best[:, : m + 1 - length] * likely
        taken.append(ways.argmax(axis=0))  # the first of equal ones
        best = ways.max(axis=0)
    end, ends = np.full(many, m), np.empty((many, n), np.int64)
    for i in reversed(range(n)):
        ends[:, i] = end
        end = end - taken[i][np.arange(many), end]
    return ends.tolist()


def whole_words(X: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return the places of the letters of each word, among letters in any order.

    Parameters
    ----------
    X : (letters, 189) array
        Of :func:`windows`, other than 0 where it has a 1.
    rows : (letters,) int64 array
        The number of each letter in the table where the letters of a word follow each other.

    Returns
    -------
    list of int64 arrays
        Of words that lack no letter, in the order of the table.

    Examples
    --------
    >>> from lookahead_nb.datasets.phonemes import whole_words, windows
    >>> whole_words(windows(["ox", "fox"])[[4, 2, 3, 1]], np.array([4, 2, 3, 1]))  # "ox" lacks its o
    [array([1, 2, 0])]
    """
    width = len(LETTERS) + 1
    first, last = ((X[:, place * width] != 0) for place in (REACH - 1, REACH + 1))
    order = np.argsort(rows, kind="stable")
    gaps = np.flatnonzero((np.diff(rows[order]) != 1) | first[order][1:]) + 1
    return [word for word in np.split(order, gaps) if first[word[0]] and last[word[-1]]]
