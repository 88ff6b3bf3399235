"""Verdicts in words: lines for a terminal, one claim explained, tables for the README, and both trials side by side."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_nb import provenance
from lookahead_nb.checks import whole
from lookahead_nb.claims import modality
from lookahead_nb.settings_file import choice, inside, known_keys, names, text, toml_file

if TYPE_CHECKING:
    import pandas as pd

    from lookahead_nb.claims.registry import Contrast, Statement

COUNTS = ("better", "worse", "tasks")
FILE = "data/claims/answers.toml"
QUESTIONS = "data/claims/questions.toml"
OF_QUESTION = ("asks", "answer", "evidence")
OF_ANSWER = ("found", "first", "why", "advice")
NUMBER = re.compile(r"\{(C\d\d[a-z]?)(?:/(\w+))?(?::(\w+))?\}")  # in what was found: a number of the verdicts
FAQ = tuple(f"C{number:02d}" for number in range(1, 11))  # the claims of the article's section 8
BETWEEN = re.compile(r"(<!-- claims (\w+) -->\n).*?(<!-- /claims -->)", re.DOTALL)
UNITS = {"gap": " % of the gap", "error": " % of the rows", "runs": " % of the runs", "steps": " steps", "ratio": ""}
UNITS |= {"samples": " % of the samples", "modes": " % of the modes", "return": " % of the highest return"}
LEGEND = (
    "The gap is that between the loss of guessing and the best known loss. 1 % of it matters, or 5 % of the steps, or",
    '2 % of the runs. "Usually" must hold on average and on most tasks, "may" and "can" must matter on more than 5 %',
    'of the tasks. "Cannot tell": the rule for the wording decides neither way. Brackets hold 95 % confidence',
    "intervals, wider where a claim has several statements. The id of a claim or a statement explains it.",
)
LEGEND_OF_ONE = (
    "The gap is that between the loss of guessing and the best known loss. Brackets hold 95 % confidence",
    "intervals, wider where a claim has several statements. The first trial had a few tasks, chosen by hand.",
    "--contrasts lists every comparison; --fresh, with one statement such as {id}, trains on unused seeds.",
)
NO_ROWS, UNTESTABLE = "no results yet", "not testable here"


@dataclass(frozen=True)
class Answer:
    """What follows from the verdicts on a claim. It is written after the results, and no verdict depends on it.

    Attributes
    ----------
    found : str
        What was found, in plain words, with the numbers of :func:`filled`.
    first : str
        The verdict of the first trial, with its deciding effect.
    why : str
        Why the verdicts of the two trials differ, or what changed.
    advice : str
        What to do.
    """

    found: str
    first: str
    why: str
    advice: str


def read(statements: Mapping[str, Statement], path: str | Path | None = None) -> dict[str, Answer]:
    """Read what follows from the verdicts.

    Parameters
    ----------
    statements : dict of Statement
        Of :func:`.registry.read`.
    path : path, optional
        Default: ``data/claims/answers.toml`` of the checkout.

    Returns
    -------
    dict of str to Answer
        By claim, such as "C08", in ascending order: one for each claim with a statement.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a claim is missing or unknown, or an entry is wrong; the message names it.
    """
    file = Path(path) if path else provenance.committed(FILE)
    written = toml_file(file)
    with inside(file.name):
        claims = sorted({claim_of(name) for name in statements})
        known_keys("", written, claims)
        found = {}
        for name in claims:
            with inside(name):
                if not isinstance(table := written.get(name), dict):
                    raise ValueError(f"a table with {', '.join(OF_ANSWER)} must be there, got nothing")
                known_keys("", table, OF_ANSWER)
                found[name] = Answer(**{key: text(key, table.get(key)) for key in OF_ANSWER})
    return found


def claim_of(name: str) -> str:
    """Return the claim of a statement.

    Parameters
    ----------
    name : str
        The id of a statement, such as "C08a".

    Returns
    -------
    str
        Such as "C08".
    """
    return name[:3]


# ------------------------------------------------------------------------------------------------------------ numbers


def size(row: Any) -> str:
    """Return a benefit with its interval.

    Parameters
    ----------
    row : mapping or Series
        A row of :func:`.registry.judge`.

    Returns
    -------
    str
        Percentages have one digit after the point, multiples of steps and ratios two. Percentages of the gap are of
        that between chance-level loss and the best known loss.

    Examples
    --------
    >>> size({"scale": "gap", "value": 0.0218, "low": 0.0187, "high": 0.0249})
    '2.2 % of the gap [1.9, 2.5]'
    >>> size({"scale": "steps", "value": 0.6931, "low": 0.6419, "high": 0.7419})
    '×2.00 steps [1.90, 2.10]'
    """
    numbers = [row["value"], row["low"], row["high"]]
    unit = UNITS[row["scale"]]
    if row["scale"] in ("steps", "ratio"):
        value, low, high = (f"{math.exp(x):.2f}" for x in numbers)
        return f"×{value}{unit} [{low}, {high}]"
    value, low, high = (f"{100 * x:.1f}".replace("-0.0", "0.0") for x in numbers)
    return f"{value}{unit} [{low}, {high}]"


def finding(statement: Statement, judged: pd.DataFrame) -> str:
    """Return what was found about a statement: the size, the share of tasks, and what it is worth in steps.

    Parameters
    ----------
    statement : Statement
    judged : frame
        Of :func:`.registry.judge_all`.

    Returns
    -------
    str
        Why there is no test, for one that cannot be tested; "" without results.

    Notes
    -----
    For "may", "can" and "some cases" the shares are bounds: of the tasks with a benefit beyond the margin, or without
    harm beyond it. For the others the share is of the tasks with a benefit above 0. Tasks that were chosen by class are
    weighted by the frequency of their class in the population.
    """
    return statement.untestable or _estimate(statement, judged, "primary")


def _estimate(statement: Statement, judged: pd.DataFrame, contrast: str) -> str:
    row = row_of(judged, statement.id, contrast)
    if row is None:
        return ""
    steps = row_of(judged, statement.id, contrast, kind="step-limited")
    return _described(row, modality.MODALITIES[statement.modality], harmless=statement.harmless) + _in_steps(steps)


def _described(row: Any, rule: str, *, harmless: bool) -> str:
    tasks = f"of {row['tasks']} tasks"
    if rule == "regret":
        return f"cost {size(row)}"
    if rule == "share":
        what = "no harm that matters" if harmless else "matters"
        opposite = ", which says the opposite" if row["high"] < 0 else ""
        cut_off = row["scale"] == "steps" and row["low"] > 0  # a run that does not get there counts in full
        least = "at least " if cut_off else ""
        return f"{what} {_bounds(row)} {tasks}; mean {least}{size(row)}{opposite}"
    return f"{size(row)}; better on {100 * row['share']:.0f} % {tasks}"


def _bounds(row: Any) -> str:
    low, high = (round(100 * row[name]) for name in ("share_low", "share_high"))
    if low == 100:
        return "on all"
    if low == 0 and high == 100:
        return "on an unknown share"
    if low == 0:
        return f"on at most {high} %"
    return f"on at least {low} %" if high == 100 else f"on {low} to {high} %"


def _in_steps(row: Any) -> str:
    if row is None or math.isnan(row["steps"]):
        return ""
    return f"; where more steps would help, worth {_more_steps(row)}"


def _more_steps(row: Any) -> str:
    """Return what an arm is worth in steps of AdamW, in % more or fewer."""
    value, low, high = (row[name] for name in ("steps", "steps_low", "steps_high"))
    fewer = value < 1
    ends = [_percent(x) for x in ((1 - high, 1 - low) if fewer else (low - 1, high - 1))]
    return f"{_percent(abs(value - 1))} % {'fewer' if fewer else 'more'} steps of AdamW [{', '.join(ends)}]"


def _percent(x: float) -> str:
    return "over 100" if x > 1 else "under -100" if x < -1 else f"{100 * x:.0f}"


def filled(words: str, judged: pd.DataFrame) -> str:
    """Return a text with the numbers of verdicts filled in.

    Parameters
    ----------
    words : str
        With the id of a statement in braces: ``{C08a}`` is the size of its primary contrast, as :func:`size` has it,
        ``{C08a/linear}`` that of a reported one. ``:steps`` gives what it is worth in steps of AdamW on step-limited
        tasks, ``:share`` the share of tasks, and ``:better``, ``:worse`` and ``:tasks`` numbers of tasks.
    judged : frame
        Of :func:`.registry.judge_all`.

    Returns
    -------
    str
        With "(no results yet)" where there is no such row.

    Raises
    ------
    ValueError
        If a number has an unknown name.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"id": "C04", "contrast": "primary", "class": "all", "scale": "gap", "value": -0.005, "low": -0.006}
    >>> filled("It costs {C04}.", pd.DataFrame([row | {"high": -0.004}]))
    'It costs -0.5 % of the gap [-0.6, -0.4].'
    """
    return NUMBER.sub(lambda match: _number(match, judged), words)


def _number(match: re.Match[str], judged: pd.DataFrame) -> str:
    name, contrast, what = match[1], match[2] or "primary", match[3] or "size"
    row = row_of(judged, name, contrast, "step-limited" if what == "steps" else "all")
    if row is None:
        return f"({NO_ROWS})"
    if what == "size":
        return size(row)
    if what == "steps":
        return _more_steps(row)
    if what == "share":
        return f"{100 * row['share']:.0f} %"
    if what not in COUNTS:
        raise ValueError(f"{match[0]} must end on one of size, steps, share, {', '.join(COUNTS)}, got {what}")
    return f"{row[what]:.0f}"


def row_of(judged: pd.DataFrame, name: str, contrast: str = "primary", kind: str = "all") -> Any:
    """Return one row of the verdicts.

    Parameters
    ----------
    judged : frame
        Of :func:`.registry.judge_all`.
    name : str
        The id of a statement.
    contrast : str, default "primary"
    kind : str, default "all"
        The class of tasks.

    Returns
    -------
    Series or None
        None if there is no such row.
    """
    rows = judged[(judged["id"] == name) & (judged["contrast"] == contrast) & (judged["class"] == kind)]
    return rows.iloc[0] if len(rows) else None


def verdict_of(statement: Statement, judged: pd.DataFrame) -> str:
    """Return the verdict on a statement.

    Parameters
    ----------
    statement : Statement
    judged : frame
        Of :func:`.registry.judge_all`.

    Returns
    -------
    str
        As in :mod:`.modality`, "not testable here", or "no results yet".
    """
    if statement.untestable:
        return UNTESTABLE
    row = row_of(judged, statement.id)
    return NO_ROWS if row is None else str(row["verdict"])


def lines(statements: Iterable[Statement], judged: pd.DataFrame) -> list[str]:
    """Return two lines for each statement: id, verdict and what it says; and what was found.

    Parameters
    ----------
    statements : iterable of Statement
    judged : frame
        Of :func:`.registry.judge_all`.

    Returns
    -------
    list of str
        With aligned columns.
    """
    table = [(one.id, verdict_of(one, judged), one.says, finding(one, judged)) for one in statements]
    wide = max((len(verdict) for _, verdict, *_ in table), default=0)
    return [
        line
        for name, verdict, says, found in table
        for line in (f"{name:4}  {verdict.ljust(wide)}  {says}", *([f"{'':6}{'':{wide}}  {found}"] if found else []))
    ]


# ---------------------------------------------------------------------------------------------------------- one claim


def explained(
    statements: Sequence[Statement],
    judged: pd.DataFrame,
    answer: Answer,
    captions: Mapping[str, str],
    *,
    contrasts: bool = False,
) -> Iterator[str]:
    """Yield the lines that explain a claim: the answer and what follows, then what was said, tested and found.

    Parameters
    ----------
    statements : sequence of Statement
        Those of one claim, or some of them.
    judged : frame
        Of :func:`.registry.judge_all`.
    answer : Answer
        That of the claim.
    captions : dict of str to str
        Captions of the figures of its notebook, by name.
    contrasts : bool
        Whether every contrast of the statements follows too, for each class of tasks.

    Yields
    ------
    str
        A line of at most 100 characters where words allow.
    """
    first = statements[0]
    yield from wrapped(f"{claim_of(first.id)}, section {first.section} of the article", first.article)
    yield ""
    yield from wrapped("In short", filled(answer.found, judged))
    for label, words in (("Advice", answer.advice), ("First trial", answer.first), ("Why they differ", answer.why)):
        yield from wrapped(label, words)
    for statement in statements:
        yield ""
        yield from wrapped(f"{statement.id}: {verdict_of(statement, judged)}", statement.says)
        if statement.untestable:
            yield from wrapped("  No test", statement.untestable, indent=4)
            continue
        yield from wrapped("  Judged by", f"{_rule(statement)}; wording: {statement.modality!r}", indent=4)
        yield from wrapped("  Experiment", f"data/claims/experiments/{statement.experiment}.toml", indent=4)
        if found := finding(statement, judged):
            yield from wrapped("  Found", found, indent=4)
        for name, contrast in {"primary": statement.primary, **statement.reported}.items():
            if contrasts:
                yield from _contrast(statement, name, contrast, judged)
    yield ""
    for name, caption in captions.items():
        yield from wrapped(f"Figure {name}", caption)
    yield f"Notebook: notebooks/{first.notebook}.ipynb"


def compared(statement: Statement, estimates: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield the lines that compare estimates of a statement from different rows.

    Parameters
    ----------
    statement : Statement
        A testable one. Its contrasts are shown.
    estimates : mapping of str to frame
        Those of :func:`.registry.judge`, by the name of the rows.

    Yields
    ------
    str
        A line for each contrast, and one below it for each of the estimates.
    """
    wide = max(map(len, estimates))
    for name, contrast in {"primary": statement.primary, **statement.reported}.items():
        if contrast is not None:
            yield f"  {name}: {_words_of(contrast)}"
        for label, judged in estimates.items():
            yield f"    {label.ljust(wide)}  {_estimate(statement, judged, name) or NO_ROWS}"


def _words_of(contrast: Contrast) -> str:
    tuning = "" if contrast.tuning == "own" else f", tuning {contrast.tuning!r}"
    return f"{contrast.arm} against {' and '.join(contrast.controls)}, {contrast.metric}{tuning}"


def _rule(statement: Statement) -> str:
    rule = modality.MODALITIES[statement.modality]
    if rule == "share" and statement.harmless:
        return "the share of tasks without harm beyond the margin"
    words = {
        "mean": "the mean and the share of tasks",
        "share": "the share of tasks beyond the margin",
        "regret": "the mean cost",
        "none": "nothing, since it is a forecast; its contrast is the measured answer",
    }
    return words[rule]


def _contrast(statement: Statement, name: str, contrast: Contrast | None, judged: pd.DataFrame) -> Iterator[str]:
    if contrast is None:
        return
    yield from wrapped(f"  {name}", _words_of(contrast), indent=4)
    rows = judged[(judged["id"] == statement.id) & (judged["contrast"] == name)]
    for _, row in rows.iterrows():
        words = _described(row, modality.MODALITIES[statement.modality], harmless=statement.harmless) + _in_steps(row)
        shown = f"; better shown on {row['better']:.0f}, worse on {row['worse']:.0f}"
        yield from wrapped(f"    {row['class']}", words + shown, indent=6)


def wrapped(label: str, words: str, indent: int = 2) -> list[str]:
    """Return words after their label, in lines for a terminal.

    Parameters
    ----------
    label, words : str
        The label gets a colon.
    indent : int
        Of all lines after the first.

    Returns
    -------
    list of str
        Lines of at most 100 characters where words allow.
    """
    return textwrap.wrap(f"{label}: {words}", 100, subsequent_indent=" " * indent)


# -------------------------------------------------------------------------------------------------------- both trials


def both_trials(
    statements: Mapping[str, Statement], judged: pd.DataFrame, answers: Mapping[str, Answer]
) -> pd.DataFrame:
    """Return what the first trial said, what the second says, and why they differ.

    Parameters
    ----------
    statements : dict of Statement
        Of :func:`.registry.read`.
    judged : frame
        Of :func:`.registry.judge_all`.
    answers : dict of Answer
        Of :func:`read`.

    Returns
    -------
    frame
        A row for each claim: ``claim``, ``first``, ``second`` and ``why``.
    """
    rows = []
    for name, answer in answers.items():
        own = [one for one in statements.values() if claim_of(one.id) == name]
        second = "; ".join(f"{one.id[3:]} {verdict_of(one, judged)}".strip() for one in own)
        rows.append({"claim": name, "first": answer.first, "second": second, "why": answer.why})
    return whole("pandas").DataFrame(rows)


# ------------------------------------------------------------------------------------------------------------- README


def with_tables(
    page: str,
    statements: Mapping[str, Statement],
    judged: pd.DataFrame,
    answers: Mapping[str, Answer],
    root: str = "",
) -> str:
    """Return a text with its tables of claims replaced by current ones.

    A table lies between ``<!-- claims KIND -->`` and ``<!-- /claims -->``. KIND is ``questions`` for those of
    ``data/claims/questions.toml``, ``faq`` for the article's section 8, or ``all``.

    Parameters
    ----------
    page : str
        The text, such as the README.
    statements, judged, answers
        As in :func:`both_trials`.
    root : str
        The way from the text to the checkout, such as "../../": links begin with it.

    Returns
    -------
    str
        The changed text.
    """
    kinds = {"questions": _questions, "faq": _faq, "all": _all}

    def table(match: re.Match[str]) -> str:
        rows = kinds[match[2]](statements, judged, answers).replace("](notebooks/", f"]({root}notebooks/")
        return f"{match[1]}{rows}\n{match[3]}"

    return BETWEEN.sub(table, page)


def pages() -> dict[str, str]:
    """Return the texts with tables of claims, as paths in the checkout, each with its way back to it.

    Returns
    -------
    dict of str to str
    """
    return {"README.md": "", "paper/book/article.md": "../../"}


def _questions(statements: Mapping[str, Statement], judged: pd.DataFrame, _: Mapping[str, Answer]) -> str:
    file = provenance.committed(QUESTIONS)
    first = {claim_of(one.id): one for one in reversed([*statements.values()])}
    rows = []
    with inside(file.name):
        written = toml_file(file)
        known_keys("", written, ["question"])
        for number, table in enumerate(written.get("question", []), 1):
            with inside(f"question {number}"):
                known_keys("", table, OF_QUESTION)
                asks, answer = text("asks", table.get("asks")), text("answer", table.get("answer"))
                claims = [choice("evidence", name, first) for name in names("evidence", table.get("evidence"))]
                rows.append((asks, filled(answer, judged), ", ".join(_link(first[name], name) for name in claims)))
    return _markdown(("question", "answer", "evidence"), rows)


def _faq(statements: Mapping[str, Statement], judged: pd.DataFrame, answers: Mapping[str, Answer]) -> str:
    rows = []
    for name in FAQ:
        own = [one for one in statements.values() if claim_of(one.id) == name]
        if own:
            verdicts = "; ".join(f"{one.id[3:]} {verdict_of(one, judged)}".strip() for one in own)
            found = f"**{verdicts}.** {filled(answers[name].found, judged)}"
            rows.append((f"{own[0].article} ({_link(own[0], name)})", found, answers[name].advice))
    return _markdown(("the article says", "we found", "do this"), rows)


def _all(statements: Mapping[str, Statement], judged: pd.DataFrame, _: Mapping[str, Answer]) -> str:
    rows = [
        (one.id, one.says, verdict_of(one, judged), finding(one, judged), _link(one, one.notebook))
        for one in statements.values()
    ]
    return _markdown(("", "statement", "verdict", "what was found [CI]", "notebook"), rows)


def _link(statement: Statement, words: str) -> str:
    """Link to the notebook of a statement if it exists."""
    path = f"notebooks/{statement.notebook}.ipynb"
    return f"[{words}]({path})" if (provenance.checkout() / path).is_file() else words


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
