"""Figures of the notebook 07_slow_weights: paired gaps in test loss, one row per task.

All accept the measured runs of a claim, as ``data/results`` holds them. A gap is arm - control as a fraction of the gap
between the chance-level loss and the lowest mean loss of an arm. Left of zero the arm is better.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lookahead_nb.claims import statistics
from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import CONTROL, KINDS, Look, finished

TASKS = {  # other tasks have the name of their entry
    "digits steps=105 eval_every=7": "digits,\nfirst steps",
    "blobs eval_every=17": "blobs,\nlow rate",
    "blobs eval_every=17 lr=0.2": "blobs,\nhigh rate",
    "digits steps=1020 eval_every=17 lr=0.0035": "digits",
    "cancer steps=595 eval_every=17 lr=0.002": "cancer",
    "checkerboard steps=2040 eval_every=17 lr=0.04": "checkerboard",
    "digits rows=200 batch_size=32 steps=1500": "digits,\nfew rows",
    "digits rows=200 flipped=0.2 batch_size=32 steps=2000": "digits, few\nwrong rows",
    "cancer rows=100 flipped=0.1 batch_size=32 steps=2000": "cancer, few\nwrong rows",
}
SYNC, BETWEEN = "test_loss_at_syncs", "test_loss_between_syncs"
EQUAL, CHOSEN = "test_at_train", "test_at_best_validation"


def by_phase(runs: pd.DataFrame) -> Figure:
    """Draw slow - fast weights of the same runs, at syncs and between them.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C13.

    Returns
    -------
    Figure
        Panel (a) is with the pull-back, panel (b) without it.
    """
    phases = {SYNC: "at a sync", BETWEEN: "between syncs"}
    panels = [
        [(metric, f"{family}slow", f"{family}fast", KINDS[kind]._replace(label=label, hollow=metric == BETWEEN))
         for metric, label in phases.items()]
        for family, kind in (("", "Lookahead"), ("averaging, ", "averaging"))
    ]  # fmt: skip
    return _gaps(runs, panels, ["slow − fast, Lookahead", "slow − fast, without pull-back"], margin=0.002)


def generalisation(runs: pd.DataFrame) -> Figure:
    """Draw Lookahead - each other arm.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C11.

    Returns
    -------
    Figure
        Panel (a) is at equal training loss, panel (b) at the step chosen on validation.
    """
    looks = {
        "adamw": KINDS["AdamW"],
        "lower": KINDS[CONTROL],
        "averaging": KINDS["averaging"],
        "schedule-free": Look("Schedule-Free AdamW", "0.35", "v", hollow=True),
    }
    panels = [[(metric, "lookahead", arm, look) for arm, look in looks.items()] for metric in (EQUAL, CHOSEN)]
    labels = ["Lookahead − other, equal training loss", "Lookahead − other, chosen step"]
    return _gaps(runs, panels, labels, margin=0.002)


def decay(runs: pd.DataFrame) -> Figure:
    """Draw the gaps in final test loss between weight decay and none.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C12.

    Returns
    -------
    Figure
        Panel (a) is at the article's rate, panel (b) with the rate tuned.
    """
    prefix, none = "given weight_decay=", KINDS["AdamW"]
    panels = [
        [("test_loss", f"{prefix}0.01", f"{prefix}0.0", none._replace(label="decay 0.01 − none")),
         ("test_loss", f"{prefix}1.0", f"{prefix}0.0", Look("decay 1 − none", "#D55E00", "P"))],
        [("test_loss", "decay", "none", none._replace(label="decay − none")),
         ("test_loss", "decay", "l2", Look("decay − L2 in Adam", "0.35", "v", hollow=True))],
    ]  # fmt: skip
    return _gaps(runs, panels, ["gap at the article's rate", "gap, rate and decay tuned"], margin=0.01)


def _gaps(
    runs: pd.DataFrame,
    panels: Sequence[Sequence[tuple[str, str, str, Look]]],
    labels: Sequence[str],
    margin: float,
) -> Figure:
    """Draw panels of (metric, arm, control, look), one row per task, on an axis that is linear in the margin."""
    tasks = [*dict.fromkeys(runs["task"])]
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 1.2 + 0.42 * len(tasks)), sharex=True, sharey=True)
    for ax, panel, title in zip(axs, panels, labels, strict=True):
        ax.axvspan(-margin, margin, color="0.93", lw=0, zorder=0)
        ax.axvline(0, color="0.5", lw=0.8, zorder=0)
        for i, (metric, arm, control, look) in enumerate(panel):
            gaps = statistics.by_task(_shares(runs, metric, arm, control)).loc[tasks]
            rows = [row + 0.6 * ((i + 0.5) / len(panel) - 0.5) for row in range(len(tasks))]
            ax.hlines(rows, gaps["low"], gaps["high"], color=look.colour, lw=0.8)
            ax.plot(gaps["mean"], rows, ls="none", label=look.label, **look.points | {"ms": 4})
        ax.set_xscale("symlog", linthresh=margin)
        ax.xaxis.set_major_locator(FixedLocator([-1, -0.1, -0.01, 0, 0.01, 0.1, 1]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        ax.set(xlabel=f"{title}\n(share of what training gains)", ylim=(len(tasks) - 0.5, -0.5))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), frameon=False)
    entries = runs.drop_duplicates("task").set_index("task")["entry"]
    axs[0].set_yticks(range(len(tasks)), [TASKS.get(task, entries[task]) for task in tasks])
    return finished(fig, axs)


def _shares(runs: pd.DataFrame, metric: str, arm: str, control: str) -> pd.DataFrame:
    """Return the paired gaps by task and seed as fractions of (chance - lowest mean of an arm), as claims do."""
    gaps = statistics.paired(runs.assign(value=runs[metric]), arm, control)
    return gaps / statistics.chance_gap(runs, metric).loc[gaps.index.get_level_values("task")].to_numpy()
