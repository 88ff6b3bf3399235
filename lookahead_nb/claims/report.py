"""Verdicts in words: lines for a terminal, one claim explained, tables for the README."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lookahead_nb import claims
from lookahead_nb import provenance as tables
from lookahead_nb.claims import Claim, Effect
from lookahead_nb.claims.arms import Arm

FAQ = tuple(f"C{number:02d}" for number in range(1, 11))  # the claims of the article's section 8
BETWEEN = re.compile(r"(<!-- claims (\w+) -->\n).*?(<!-- /claims -->)", re.DOTALL)


def lines(register: dict[str, Claim], effects: pd.DataFrame) -> list[str]:
    """Return one line for each claim: id, verdict, the deciding effect with its interval, notebook.

    Parameters
    ----------
    register : dict of str to Claim
        As ``claims.read`` returns it.
    effects : DataFrame
        As ``claims.judge_all`` returns it.

    Returns
    -------
    list of str
        Lines with aligned columns.
    """
    table = [_summary(claim, effects) for claim in register.values()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)] if table else []
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def _summary(claim: Claim, effects: pd.DataFrame) -> tuple[str, str, str, str]:
    return claim.id, claims.verdict(claim, effects), main_effect(claim, effects), claim.notebook


def main_effect(claim: Claim, effects: pd.DataFrame) -> str:
    """Return the deciding effect of a claim with its interval.

    Parameters
    ----------
    claim : Claim
        The claim.
    effects : DataFrame
        As ``claims.judge_all`` returns it.

    Returns
    -------
    str
        The reason if the claim has no trial; "" without results.
    """
    if claim.untestable:
        return claim.untestable
    effect = claims.deciding(claim, effects)
    row = effects[(effects["claim"] == claim.id) & (effects["effect"] == effect.name) & (effects["task"] == "all")]
    return f"{effect.name}: {interval(effect, row.iloc[0])}" if len(row) else ""


def effects_of(register: dict[str, Claim], effects: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each judged effect, with the verdict on its claim and what it was judged against.

    Parameters
    ----------
    register : dict of str to Claim
        As ``claims.read`` returns it.
    effects : DataFrame
        As ``claims.judge_all`` returns it.

    Returns
    -------
    DataFrame
        ``claim``, ``verdict``, ``effect``, ``expect``, ``scale``, ``margin``, ``size``, ``low``, ``high``, ``p``,
        ``outcome``, ``seeds``.
    """
    registered = {(key, effect.name): effect for key, claim in register.items() for effect in claim.effects}
    joint = effects[effects["task"] == "all"].drop(columns="task").reset_index(drop=True)
    judged = [registered[key] for key in zip(joint["claim"], joint["effect"], strict=True)]
    against = {name: [getattr(effect, name) for effect in judged] for name in ("expect", "scale", "margin")}
    verdicts = [claims.verdict(register[key], effects) for key in joint["claim"]]
    table = joint.assign(verdict=verdicts, **against)
    first = ["claim", "verdict", "effect", *against]
    return table[[*first, *table.columns.drop(first)]]


def interval(effect: Effect, row: Any) -> str:
    """Return an effect's size and its confidence interval, such as "×1.98 [1.95, 2.01]" or "-1.2 % [-1.5, -0.9]".

    Percentages are of the gap between the chance-level loss and the best loss, see ``claims.SCALES``.

    Parameters
    ----------
    effect : Effect
        The effect, which gives the scale.
    row : mapping or Series
        With ``size``, ``low`` and ``high``.

    Returns
    -------
    str
        Numbers with 3 significant digits.

    Examples
    --------
    >>> effect = Effect("e", "train_loss", "a", "b", "less", 1.05, "ratio", "exact", ("bowl",))
    >>> interval(effect, {"size": 1.984, "low": 1.951, "high": 2.006})
    '×1.98 [1.95, 2.01]'
    """
    factor, sign, unit = {"ratio": (1, "×", ""), "difference": (1, "", ""), "of chance": (100, "", " %")}[effect.scale]
    plus = "+" if effect.scale != "ratio" and row["size"] > 0 else ""
    size, low, high = (_rounded(factor * row[name]) for name in ("size", "low", "high"))
    return f"{sign}{plus}{size}{unit} [{low}, {high}]"


def _rounded(x: float) -> str:
    return f"{float(f'{x:.3g}'):,.10g}"


# --------------------------------------------------------------------------------------------------------- one claim


def explained(claim: Claim, effects: pd.DataFrame, captions: dict[str, str]) -> Iterator[str]:
    """Yield the lines that explain a claim: what was said, expected, tested and found, and where to read more.

    Parameters
    ----------
    claim : Claim
        The claim.
    effects : DataFrame
        As ``claims.judge_all`` returns it.
    captions : dict of str to str
        Captions of the figures of its notebook, by name.

    Yields
    ------
    str
        A line of at most 100 characters where words allow.
    """
    yield f"{claim.id}: {claims.verdict(claim, effects)}"
    yield from _wrapped("The article says, section " + claim.section, claim.article)
    yield from _wrapped("Expected", claim.prediction)
    if claim.untestable:
        yield from _wrapped("No trial", claim.untestable)
    else:
        yield from _wrapped(
            "Tasks", f"{', '.join(claim.tasks)}; {claim.number_of_seeds} seeds each, the same for all arms"
        )
        yield "Arms"
        for name, arm in claim.arms.items():
            yield from _wrapped(f"  {name}", _settings(arm), indent=6)
        rows = effects[effects["claim"] == claim.id].set_index(["effect", "task"])
        number = (effects["task"] == "all").sum()
        yield f"Effects, with 95 % confidence intervals; p of all tasks after Holm's correction for {number} effects"
        for effect in claim.effects:
            yield from _wrapped(f"  {effect.name}", sentence(effect), indent=6)
            tasks = effect.tasks if len(effect.tasks) > 1 else ()
            yield from (f"    {task}: {_judged(effect, rows, task)}" for task in ("all", *tasks))
        yield from _wrapped("Verdict", f"{claims.verdict(claim, effects)}; {'; '.join(_rules(claim, rows))}")
        if claim.advice:
            yield from _wrapped("Advice", claim.advice)
    for name, caption in captions.items():
        yield from _wrapped(f"Figure {name}", caption)
    yield f"Notebook: notebooks/{claim.notebook}.ipynb"


def _wrapped(label: str, words: str, indent: int = 2) -> list[str]:
    return textwrap.wrap(f"{label}: {words}", 100, subsequent_indent=" " * indent)


def _settings(arm: Arm) -> str:
    shown = {name: value for name, value in arm.fields.items() if name not in ("rule", "tune")}
    if arm.rate_of:
        shown["lr"] = f"that of {arm.rate_of!r}"
    tuned = [f"{name} tuned over {_axis(axis)}" for name, axis in arm.fields.get("tune", {}).items()]
    return ", ".join([arm.fields["rule"], *(f"{name} {value}" for name, value in shown.items()), *tuned])


def _axis(axis: Any) -> str:
    if isinstance(axis, dict):
        return f"{axis['number']} values from {axis['low']:g} to {axis['high']:g}"
    return ", ".join(map(str, axis)) if isinstance(axis, list) else axis


def sentence(effect: Effect) -> str:
    """Return what an effect compares and what the claim expects of it, in one sentence.

    Parameters
    ----------
    effect : Effect
        The effect.

    Returns
    -------
    str
        The sentence, without a full stop.
    """
    margin = f"×{effect.margin:g}" if effect.scale == "ratio" else f"{effect.margin:g}"
    margin = f"{100 * effect.margin:g} %" if effect.scale == "of chance" else margin
    expected = {
        "greater": f"is above that of {effect.control!r} by more than {margin}",
        "less": f"is below that of {effect.control!r} by more than {margin}",
        "equivalent": f"is that of {effect.control!r} within {margin}",
    }
    tested = f"on {', '.join(effect.tasks)}, test {effect.test!r}"
    return f"{effect.metric} of {effect.arm!r} {expected[effect.expect]}; {tested}"


def _judged(effect: Effect, rows: pd.DataFrame, task: str) -> str:
    if (effect.name, task) not in rows.index:
        return "no results yet"
    row = rows.loc[(effect.name, task)]
    p = "exact" if effect.test == "exact" else f"p = {row['p']:.2g}"
    return f"{interval(effect, row)}, {p}: {row['outcome']}"


def _rules(claim: Claim, rows: pd.DataFrame) -> Iterator[str]:
    for rule in ("supported", "conditional"):
        outcomes = {
            name: rows["outcome"].get((name.removeprefix("not "), "all"), "open") for name in getattr(claim, rule)
        }
        if outcomes:
            yield f"{rule} takes {' and '.join(f'{name} (found: {outcome})' for name, outcome in outcomes.items())}"
    if claim.condition:
        yield f"the condition is {claim.condition}"


def compared(claim: Claim, fresh: pd.DataFrame, registered: pd.DataFrame | None) -> Iterator[str]:
    """Yield the lines that compare effects on fresh seeds with the registered ones, the verdicts last.

    Parameters
    ----------
    claim : Claim
        The claim, with the effects that were judged.
    fresh : DataFrame
        As ``claims.judge`` returns it.
    registered : DataFrame or None
        The same for the registered seeds; None without results.

    Yields
    ------
    str
        A line.
    """
    frames = {"fresh": fresh} if registered is None else {"registered": registered, "fresh": fresh}
    for effect in claim.effects:
        yield f"{effect.name}: {sentence(effect)}"
        for name, frame in frames.items():
            yield f"  {name}: {_judged(effect, frame.set_index(['effect', 'task']), 'all')}"
    verdict = claims.verdict(claim, fresh)
    if registered is None:
        yield f"Verdict on fresh seeds: {verdict}; there are no registered results to compare it with"
        return
    registered_verdict = claims.verdict(claim, registered)
    agreement = "they agree" if verdict == registered_verdict else "they do not agree"
    yield f"Verdict on fresh seeds: {verdict}; on the registered ones, judged alone: {registered_verdict}; {agreement}"


# ------------------------------------------------------------------------------------------------------------ README


def with_tables(text: str, register: dict[str, Claim], effects: pd.DataFrame) -> str:
    """Return a text with its tables of claims replaced by current ones.

    A table lies between ``<!-- claims faq -->`` or ``<!-- claims all -->`` and ``<!-- /claims -->``.

    Parameters
    ----------
    text : str
        The text, such as the README.
    register : dict of str to Claim
        As ``claims.read`` returns it.
    effects : DataFrame
        As ``claims.judge_all`` returns it.

    Returns
    -------
    str
        The changed text.
    """
    kinds = {"faq": _faq, "all": _all}
    return BETWEEN.sub(lambda match: f"{match[1]}{kinds[match[2]](register, effects)}\n{match[3]}", text)


def _faq(register: dict[str, Claim], effects: pd.DataFrame) -> str:
    rows = [
        (claim.article, f"**{claims.verdict(claim, effects)}**{_more(claim, effects)}", claim.advice)
        for key, claim in register.items()
        if key in FAQ
    ]
    return _markdown(("the article says", "we measured", "do this"), rows)


def _more(claim: Claim, effects: pd.DataFrame) -> str:
    condition = claim.condition if claims.verdict(claim, effects) == "conditional" else ""
    details = "; ".join(filter(None, [condition, main_effect(claim, effects)]))
    return f" ({_link(claim)}){details and ': '}{details}"


def _all(register: dict[str, Claim], effects: pd.DataFrame) -> str:
    rows = [
        (key, claim.article, claims.verdict(claim, effects), main_effect(claim, effects), _link(claim, claim.notebook))
        for key, claim in register.items()
    ]
    return _markdown(("", "the article says", "verdict", "deciding effect [95 % interval]", "notebook"), rows)


def _link(claim: Claim, words: str | None = None) -> str:
    """Link to the notebook of a claim if it exists."""
    path = f"notebooks/{claim.notebook}.ipynb"
    words = words or claim.id
    return f"[{words}]({path})" if (tables.checkout() / path).is_file() else words


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
