"""Conjectures of our own, registered in ``data/claims/T1.toml`` and so on before the runs that test them.

They are no statements of the article, so :mod:`.registry` gives them no verdict. Each file says what would falsify the
conjecture. Its outcome is added after the runs, and a test computes it again from the committed rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lookahead_nb import provenance
from lookahead_nb.claims.wording import wrapped
from lookahead_nb.settings_file import inside, known_keys, text, toml_file

FOLDER = "data/claims"
WORDS = ("says", "predicts", "falsified_if", "experiment", "notebook")
KEYS = (*WORDS, "registered", "outcome")
OPEN = "not tested yet"


@dataclass(frozen=True)
class Conjecture:
    """A conjecture with its prediction and the rule that judges it.

    Attributes
    ----------
    id : str
        Such as "T1".
    says : str
        The conjecture, in one sentence.
    predicts : str
        What is measured, and the numbers that are expected.
    falsified_if : str
        The rule.
    experiment : str
        The folder of its rows in ``data/results``.
    notebook : str
        The name of the notebook with the answer.
    registered : date
        The day on which the rule was committed, ahead of the runs.
    outcome : str
        What came out, with its numbers; "" until it is judged.
    """

    id: str
    says: str
    predicts: str
    falsified_if: str
    experiment: str
    notebook: str
    registered: date
    outcome: str = ""


def read(folder: str | Path | None = None) -> dict[str, Conjecture]:
    """Read the registered conjectures.

    Parameters
    ----------
    folder : path, optional
        With the files ``T1.toml`` and so on; it may have none. Default: ``data/claims`` of the checkout.

    Returns
    -------
    dict of str to Conjecture
        By id, in ascending order.

    Raises
    ------
    OSError
        If a file cannot be read, or outside of a checkout.
    ValueError
        If an entry is wrong; the message names the file and the key.

    Notes
    -----
    A file has the keys ``says``, ``predicts``, ``falsified_if``, ``experiment``, ``notebook``, ``registered``, a date
    such as 2026-12-01, and, once it is judged, ``outcome``.

    Examples
    --------
    >>> from lookahead_nb.claims import conjectures
    >>> "C08" in conjectures.read()  # a claim of the article
    False
    """
    root = provenance.committed(FOLDER) if folder is None else Path(folder)
    paths = {int(path.stem[1:]): path for path in root.glob("T*.toml") if path.stem[1:].isdecimal()}
    return {path.stem: _conjecture(path) for _, path in sorted(paths.items())}


def _conjecture(path: Path) -> Conjecture:
    written: dict[str, Any] = toml_file(path)
    with inside(path.name):
        known_keys("", written, KEYS)
        words = {key: text(key, written.get(key)).strip() for key in WORDS}
        day = text("registered", written.get("registered"))
        try:
            registered = date.fromisoformat(day)
        except ValueError:
            raise ValueError(f"registered must be a date such as 2026-12-01, got {day!r}") from None
        outcome = text("outcome", written["outcome"]) if "outcome" in written else ""
        return Conjecture(path.stem, **words, registered=registered, outcome=outcome)


def explained(conjecture: Conjecture) -> Iterator[str]:
    """Yield the lines that explain a conjecture: what it says and predicts, its rule, its outcome, and its files.

    Parameters
    ----------
    conjecture : Conjecture

    Yields
    ------
    str
        A line of at most 100 characters where words allow.
    """
    yield from wrapped(f"{conjecture.id}, a conjecture of ours", conjecture.says)
    yield ""
    yield from wrapped("Outcome", conjecture.outcome or OPEN)
    yield from wrapped("Predicts", conjecture.predicts)
    yield from wrapped("Falsified if", conjecture.falsified_if)
    yield f"Registered: {conjecture.registered}, ahead of its runs"
    yield ""
    yield f"Rows: data/results/{conjecture.experiment}"
    yield f"Notebook: notebooks/{conjecture.notebook}.ipynb"
