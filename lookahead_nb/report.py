"""Verdicts in words: lines for a terminal, one claim explained, tables for the README.

register : dict of ``claims.read``; claim : ``claims.Claim``; effect : ``claims.Effect``; effects : frame of
``claims.judge_all``.
"""

from __future__ import annotations

import re
import textwrap

from lookahead_nb import claims, tables

FAQ = tuple(f"C{number:02d}" for number in range(1, 11))  # the claims of the article's section 8
BETWEEN = re.compile(r"(<!-- claims (\w+) -->\n).*?(<!-- /claims -->)", re.DOTALL)


def lines(register, effects):
    """Return one line for each claim: id, verdict, the effect that decides with its interval, notebook."""
    table = [_summary(claim, effects) for claim in register.values()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)] if table else []
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def _summary(claim, effects):
    return claim.id, claims.verdict(claim, effects), main_effect(claim, effects), claim.notebook


def main_effect(claim, effects):
    """Return the effect that decides on a claim, with its interval; why there is no trial; "" without results."""
    if claim.untestable:
        return claim.untestable
    effect = claims.deciding(claim, effects)
    row = effects[(effects["claim"] == claim.id) & (effects["effect"] == effect.name) & (effects["task"] == "all")]
    return f"{effect.name}: {interval(effect, row.iloc[0])}" if len(row) else ""


def effects_of(register, effects):
    """Return one row for each judged effect with the verdict on its claim and what it was judged against.

    returns : frame with ``claim``, ``verdict``, ``effect``, ``expect``, ``scale``, ``margin``, ``size``, ``low``,
    ``high``, ``p``, ``outcome``, ``seeds``.
    """
    of = {(key, effect.name): effect for key, claim in register.items() for effect in claim.effects}
    joint = effects[effects["task"] == "all"].drop(columns="task").reset_index(drop=True)
    known = [of[each] for each in zip(joint["claim"], joint["effect"], strict=True)]
    against = {name: [getattr(each, name) for each in known] for name in ("expect", "scale", "margin")}
    verdicts = [claims.verdict(register[key], effects) for key in joint["claim"]]
    table = joint.assign(verdict=verdicts, **against)
    first = ["claim", "verdict", "effect", *against]
    return table[[*first, *table.columns.drop(first)]]


def interval(effect, row):
    """Return an effect's size and the ends of its interval: "×1.98 [1.95, 2.01]", "-0.012 [...]", "-1.2 % [...]".

    row : with ``size``, ``low``, ``high``. Per cent are of the loss of chance, see ``claims.SCALES``.
    """
    factor, sign, unit = {"ratio": (1, "×", ""), "difference": (1, "", ""), "of chance": (100, "", " %")}[effect.scale]
    plus = "+" if effect.scale != "ratio" and row["size"] > 0 else ""
    size, low, high = (_rounded(factor * row[name]) for name in ("size", "low", "high"))
    return f"{sign}{plus}{size}{unit} [{low}, {high}]"


def _rounded(x):
    return f"{float(f'{x:.3g}'):,.10g}"


# --------------------------------------------------------------------------------------------------------- one claim


def explained(claim, effects, captions):
    """Return the lines that tell all of a claim: what was said, expected, tried and found, and where to look.

    captions : dict, from the names of the figures of its notebook.
    """
    yield f"{claim.id}: {claims.verdict(claim, effects)}"
    yield from _told("The article says, section " + claim.section, claim.article)
    yield from _told("Expected", claim.prediction)
    if claim.untestable:
        yield from _told("No trial", claim.untestable)
    else:
        yield from _told(
            "Tasks", f"{', '.join(claim.tasks)}; {claim.number_of_seeds} seeds each, the same for all arms"
        )
        yield "Arms"
        for name, arm in claim.arms.items():
            yield from _told(f"  {name}", _settings(arm), indent=6)
        mine = effects[effects["claim"] == claim.id].set_index(["effect", "task"])
        number = (effects["task"] == "all").sum()
        yield f"Effects, with intervals at 95 in 100; p of all tasks after Holm's correction for {number} effects"
        for effect in claim.effects:
            yield from _told(f"  {effect.name}", sentence(effect), indent=6)
            tasks = effect.tasks if len(effect.tasks) > 1 else ()
            yield from (f"    {task}: {_judged(effect, mine, task)}" for task in ("all", *tasks))
        yield from _told("Verdict", f"{claims.verdict(claim, effects)}; {'; '.join(_rules(claim, mine))}")
        if claim.advice:
            yield from _told("Advice", claim.advice)
    for name, caption in captions.items():
        yield from _told(f"Figure {name}", caption)
    yield f"Notebook: notebooks/{claim.notebook}.ipynb"


def _told(what, words, indent=2):
    return textwrap.wrap(f"{what}: {words}", 100, subsequent_indent=" " * indent)


def _settings(arm):
    shown = {name: value for name, value in arm.fields.items() if name not in ("rule", "tune")}
    if arm.rate_of:
        shown["lr"] = f"that of {arm.rate_of!r}"
    tuned = [f"{name} tuned over {_axis(axis)}" for name, axis in arm.fields.get("tune", {}).items()]
    return ", ".join([arm.fields["rule"], *(f"{name} {value}" for name, value in shown.items()), *tuned])


def _axis(axis):
    if isinstance(axis, dict):
        return f"{axis['number']} values from {axis['low']:g} to {axis['high']:g}"
    return ", ".join(map(str, axis)) if isinstance(axis, list) else axis


def sentence(effect):
    """Return what an effect compares and what is expected of it, in one sentence."""
    margin = f"×{effect.margin:g}" if effect.scale == "ratio" else f"{effect.margin:g}"
    margin = f"{100 * effect.margin:g} %" if effect.scale == "of chance" else margin
    expected = {
        "greater": f"is above that of {effect.control!r} by more than {margin}",
        "less": f"is below that of {effect.control!r} by more than {margin}",
        "equivalent": f"is that of {effect.control!r} within {margin}",
    }
    on = f"on {', '.join(effect.tasks)}, test {effect.test!r}"
    return f"{effect.metric} of {effect.arm!r} {expected[effect.expect]}; {on}"


def _judged(effect, rows, task):
    if (effect.name, task) not in rows.index:
        return "no results yet"
    row = rows.loc[(effect.name, task)]
    p = "exact" if effect.test == "exact" else f"p = {row['p']:.2g}"
    return f"{interval(effect, row)}, {p}: {row['outcome']}"


def _rules(claim, rows):
    for rule in ("supported", "conditional"):
        found = {each: rows["outcome"].get((each.removeprefix("not "), "all"), "open") for each in getattr(claim, rule)}
        if found:
            yield f"{rule} takes {' and '.join(f'{each} (found: {outcome})' for each, outcome in found.items())}"
    if claim.condition:
        yield f"the condition is {claim.condition}"


def compared(claim, fresh, registered):
    """Return the lines that set effects on fresh seeds beside the registered ones, and whether the verdicts agree.

    claim : with the effects that were judged. fresh, registered : frames of ``claims.judge``; the second None without
    results.
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
    before = claims.verdict(claim, registered)
    told = "they agree" if verdict == before else "they do not agree"
    yield f"Verdict on fresh seeds: {verdict}; on the registered ones, judged alone: {before}; {told}"


# ------------------------------------------------------------------------------------------------------------ README


def with_tables(text, register, effects):
    """Return a text in which what stands between ``<!-- claims faq -->`` or ``<!-- claims all -->`` and ``<!-- /claims
    -->`` is the table of that name. text : str.
    """
    kinds = {"faq": _faq, "all": _all}
    return BETWEEN.sub(lambda found: f"{found[1]}{kinds[found[2]](register, effects)}\n{found[3]}", text)


def _faq(register, effects):
    rows = [
        (claim.article, f"**{claims.verdict(claim, effects)}**{_more(claim, effects)}", claim.advice)
        for key, claim in register.items()
        if key in FAQ
    ]
    return _markdown(("the article says", "we measured", "do this"), rows)


def _more(claim, effects):
    condition = claim.condition if claims.verdict(claim, effects) == "conditional" else ""
    told = "; ".join(filter(None, [condition, main_effect(claim, effects)]))
    return f" ({_link(claim)}){told and ': '}{told}"


def _all(register, effects):
    rows = [
        (key, claim.article, claims.verdict(claim, effects), main_effect(claim, effects), _link(claim, claim.notebook))
        for key, claim in register.items()
    ]
    return _markdown(("", "the article says", "verdict", "deciding effect [95 % interval]", "notebook"), rows)


def _link(claim, words=None):
    """Link to the notebook of a claim, once there is one."""
    path = f"notebooks/{claim.notebook}.ipynb"
    words = words or claim.id
    return f"[{words}]({path})" if (tables.checkout() / path).is_file() else words


def _markdown(head, rows):
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
