"""What ask advises: sentences from the comparisons on your own table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lookahead_nb.claims.ask_arms import LOOKAHEAD, NAMES, OTHERS, SCREENING
from lookahead_nb.claims.modality import TOO_SMALL

if TYPE_CHECKING:
    import pandas as pd

    from lookahead_nb.claims.ask import Answer

WIDEST_ITSELF = 10.0  # margins: AdamW against itself with a wider interval says that a table is too small
HOPELESS_TIMES = 100  # an extrapolation beyond says no more
OF_TWICE = {"step-limited": "better", "saturated": "about as well", "overfitting": "worse"}


def comparison(answer: Answer, arm: str, control: str = "AdamW") -> pd.Series:
    """Return the row of an arm against a control.

    Parameters
    ----------
    answer : Answer
        One with comparisons.
    arm : str
        A key of ``ARMS``.
    control : str, optional
        A value of ``NAMES``.

    Returns
    -------
    Series
    """
    rows = answer.comparisons
    return rows[(rows["arm"] == NAMES[arm]) & (rows["control"] == control)].iloc[0]


def advice(answer: Answer) -> list[str]:
    """Return what to do and why, a sentence each.

    Parameters
    ----------
    answer : Answer
        Any answer of ``ask``.

    Returns
    -------
    list of str
    """
    settings = answer.settings
    if answer.comparisons.empty:
        return _no_advice(settings)
    way = "disjoint parts" if settings["disjoint"] else "splits"
    rows = f"{settings['rows_of_replicate']:,} rows, {settings['train_rows']:,} of them for training"
    measured = (
        f"This was measured on {settings['replicates']} {way} of {rows}, in {settings['steps']:,} steps of batch "
        f"{settings['batch_size']}."
    )
    if differs := itself(answer):
        return [
            f"AdamW against itself differs by {differs} of the gap between guessing and the best test loss on these "
            f"{way}, so this table is too small to compare optimizers.",
            f"With AdamW, use a constant lr of about {_lr(answer, 'adamw'):.2g}. "
            "Its mean validation loss is the lowest.",
            *_far_beyond(answer),
            measured,
        ]
    primary = comparison(answer, "lookahead")
    others = {arm: comparison(answer, arm) for arm in OTHERS}
    sentences = [_action(answer, primary, others), *_about_lookahead(primary, settings), _about_others(answer, others)]
    linear, tuned = comparison(answer, "lookahead_linear", NAMES["adamw_linear"]), comparison(answer, "lookahead_tuned")
    sentences.append(
        f"Added to a linear decay, Lookahead gains {interval(linear)}; with retention and sync_period tuned too it "
        f"gains {interval(tuned)} over AdamW at an equal number of trials."
    )
    sentences.append(measured)
    twice = OF_TWICE[settings["regime"]]
    sentences.append(f"With twice as many steps, AdamW did {twice} on {SCREENING} other splits.")
    if (edge := answer.arms["on_edge"].max()) > 0:
        name = answer.arms.loc[answer.arms["on_edge"].idxmax(), "arm"]
        sentences.append(
            f"{_percent(100 * edge)} % of the replicates of {name} chose a learning rate at the end of its grid."
        )
    return sentences


def _no_advice(settings: dict[str, Any]) -> list[str]:
    share = settings["best"] / settings["chance"]
    return [
        "These rows cannot tell optimizers apart: tuned AdamW ends at a test loss of "
        f"{settings['best']:.3g}, {_percent(100 * share)} % of the {settings['chance']:.3g} of guessing by class "
        f"frequencies, after {settings['steps']:,} steps and after twice as many.",
        "Nothing else was compared, since differences between optimizers would be noise.",
        "More informative columns, more rows or another model may help; another optimizer will not.",
    ]


def itself(answer: Answer) -> str:
    """Return by how much AdamW differs from itself where that is too much, or "".

    Parameters
    ----------
    answer : Answer
        One with comparisons.

    Returns
    -------
    str
        The benefit with its interval, as of :func:`interval`.
    """
    row, margin = comparison(answer, "adamw_again"), answer.settings["margin"]
    too_much = abs(row["benefit"]) > margin or row["high"] - row["low"] > WIDEST_ITSELF * margin
    return interval(row) if too_much else ""


def _far_beyond(answer: Answer) -> list[str]:
    """Return a sentence on the best arm that gains more than AdamW may differ from itself, if there is one."""
    itself = comparison(answer, "adamw_again")
    most = max(abs(itself["low"]), abs(itself["high"]), answer.settings["margin"])
    rows = {arm: comparison(answer, arm) for arm in ("lookahead", *OTHERS)}
    clear = {arm: row["benefit"] for arm, row in rows.items() if row["low"] > most}
    if not clear:
        return []
    best = max(clear, key=lambda arm: clear[arm])
    return [f"{NAMES[best]} gains more than that can explain, {interval(rows[best])}: {_use(answer, best)}."]


def _action(answer: Answer, primary: pd.Series, others: dict[str, pd.Series]) -> str:
    better = {arm: row["benefit"] for arm, row in others.items() if _matters(row)}
    if _matters(primary):
        better["lookahead"] = primary["benefit"]
    return f"{_use(answer, max(better, key=lambda arm: better[arm]) if better else 'adamw')}."


def _use(answer: Answer, arm: str) -> str:
    lr, steps = _lr(answer, arm), answer.settings["steps"]
    half = f"Lookahead(AdamW(lr={lr:.2g}), sync_period=5, slow_step_size=0.5"
    use = {
        "adamw": f"Keep AdamW, at a constant lr of about {lr:.2g}",
        "lookahead": f"Use {half})",
        "averaging": f"Use an average, {half}, pull_back=False)",
        "ema": f"Use an average, EMA(AdamW(lr={lr:.2g}), window={max(1, round(steps / 10))})",
        "schedule_free": f"Use ScheduleFreeAdamW(lr={lr:.2g})",
        "adamw_linear": f"Use AdamW with a linear decay, AdamW(schedules.linear({lr:.2g}, {steps}))",
    }
    return use[arm]


def _lr(answer: Answer, arm: str) -> float:
    return answer.arms.set_index("arm").loc[NAMES[arm], "lr"]


def _matters(row: pd.Series) -> bool:
    return row["verdict"].startswith("holds") and not row["verdict"].endswith(TOO_SMALL)


def _about_lookahead(row: pd.Series, settings: dict[str, Any]) -> list[str]:
    name = "Lookahead (sync_period 5, slow_step_size 0.5)"
    bounds = f"(95 % CI [{_percent(row['low'])}, {_percent(row['high'])}])"
    ends = f"{settings['chance']:.3g}, and the best one, {settings['best']:.3g}"
    gap = f"{bounds} of the gap between the test loss of guessing, {ends}"
    verdict, size = row["verdict"], abs(row["benefit"])
    if verdict.startswith(("holds", "the opposite")):
        side = "lowers" if verdict.startswith("holds") else "raises"
        small = " That is too small to matter." if verdict.endswith(TOO_SMALL) else ""
        return [f"{name} {side} AdamW's test loss by {_percent(size)} % {gap}.{small}"]
    gains = f"over AdamW it gains {_percent(row['benefit'])} % {gap}"
    if verdict != "cannot tell":
        return [f"{name} makes no difference that matters here: {gains}. The margin is {settings['margin']:g} %."]
    times = ((row["high"] - row["low"]) / settings["margin"]) ** 2
    rows = float(f"{times * settings['rows']:.2g}")
    needed = f"about {rows:,.0f} such rows, {times:.2g} times as many"
    return [
        f"These rows cannot tell whether {name} is better: {gains}.",
        f"The smallest difference that matters is {settings['margin']:g} %.",
        f"It would take {needed if times < HOPELESS_TIMES else f'more than {HOPELESS_TIMES} times as many rows'}.",
    ]


def _about_others(answer: Answer, others: dict[str, pd.Series]) -> str:
    arm = max(others, key=lambda arm: others[arm]["benefit"])
    better = {arm: row for arm, row in others.items() if row["low"] > 0}
    if not better:
        largest = f"the largest gain is that of {NAMES[arm]}, {interval(others[arm])}"
        return f"No average or schedule is shown to beat AdamW: {largest}."
    arm = max(better, key=lambda arm: better[arm]["benefit"])
    more = comparison(answer, arm, LOOKAHEAD)
    relation = "does more" if more["low"] > 0 else "does less" if more["high"] < 0 else "is not distinguishable"
    compared = f"{NAMES[arm]} gains {interval(better[arm])} over AdamW"
    than = "from Lookahead" if relation.startswith("is") else "than Lookahead"
    return f"{compared} and {relation} {than}, with a difference of {interval(more)}."


def interval(row: pd.Series) -> str:
    """Return a benefit in % with its interval.

    Parameters
    ----------
    row : Series
        Of :attr:`.Answer.comparisons`.

    Returns
    -------
    str
    """
    return f"{_percent(row['benefit'])} % [{_percent(row['low'])}, {_percent(row['high'])}]"


def _percent(value: float) -> str:
    """Return a number with one decimal, or two where it is small."""
    text = f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
    return text.removeprefix("-") if float(text) == 0 else text
