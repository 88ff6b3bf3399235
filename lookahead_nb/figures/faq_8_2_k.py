"""Figures of the notebook 03_faq_8_2_k, drawn from the exact cycle and from the runs of the claims C05 and C07."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lookahead_nb.claims import statistics
from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE
from lookahead_nb.figures.parts import CAPS, Look, at_one, away, finished, line, only_ticks, periods

PERIODS = [1, 2, 5, 10, 20, 50]
GREYS = [
    Look("", "0.1", "o"),
    Look("", "0.35", "s", (4, 1.5)),
    Look("", "0.5", "^", (1, 1)),
    Look("", "0.65", "D", (6, 1, 1, 1)),
    Look("", "0.75", "v"),
]
FLOORS = {  # by the entry of the task
    "bowl": "exact (lines), AdamW (points)",
    "blobs": "blobs, many curvatures",
    "teacher": "teacher, one curvature",
}
GROUPS = ("short", "long", "momentum rings")  # of the tasks of C07
RINGING = ("teacher", "checkerboard")
CONTROL = "slow sync_period=1"  # the same as AdamW at lr × slow_step_size
KINDS = {
    kind: Look(label, COLOURS[kind], MARKERS[kind], DASHES[kind], size=9 if kind == "fast" else 5)
    for kind, label in {
        "slow": "slow weights",
        "fast": "fast weights",
        "averaging": "averaging, without pull-back",
    }.items()
}


def exact_cycle(exact: pd.DataFrame) -> Figure:
    """Draw the results of the exact cycle over the sync period.

    Parameters
    ----------
    exact : DataFrame
        The columns ``sync_period``, ``x`` (rate times curvature), ``slow`` and ``fast`` (variances over that of the
        inner optimizer) and ``steps``.

    Returns
    -------
    Figure
        One line for each rate times curvature.
    """
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 2.6))
    labels = {
        "slow": "variance of slow weights\n(inner rule = 1)",
        "fast": "variance of fast weights\n(inner rule = 1)",
        "steps": "steps to shrink by e\n(sync period 1 = 1)",
    }
    for ax, (measure, label) in zip(axs, labels.items(), strict=True):
        lines = exact.pivot(index="sync_period", columns="x", values=measure)
        lines = lines / lines.loc[1] if measure == "steps" else lines
        colours = sns.color_palette("viridis", lines.shape[1])
        for (x, column), colour, look in zip(lines.items(), colours, GREYS, strict=False):
            ax.plot(column, color=colour, dashes=look.dashes, label=f"{x:g}")
        periods(ax, PERIODS)
        ax.set(ylabel=label)
    axs[2].set_yscale("log")
    only_ticks(axs[2].yaxis, [0.2, 0.5, 1, 2])
    at_one(axs[2])
    axs[1].legend(title="rate × curvature", loc="upper left", title_fontsize=7)
    return finished(fig, axs)


def floors(runs: pd.DataFrame) -> list[str]:
    """Return the tasks of C05 on which noise floors are measured.

    Parameters
    ----------
    runs : DataFrame
        The table of the claim C05.

    Returns
    -------
    list of str
        In the order of ``FLOORS``.
    """
    tasks = runs[runs["eval_every"] == 73].drop_duplicates("entry").set_index("entry")["task"]
    return [tasks[entry] for entry in FLOORS]


def stability_and_speed(runs: pd.DataFrame) -> Figure:
    """Draw noise floors and steps to a threshold over the sync period.

    Parameters
    ----------
    runs : DataFrame
        The table of the claim C05.

    Returns
    -------
    Figure
        The floors of slow, fast and averaged weights on three tasks, and the steps to a threshold.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.2))
    for ax, (entry, name), task in zip(axs.flat, FLOORS.items(), floors(runs), strict=False):
        rows = runs[runs["task"] == task]
        for kind, look in KINDS.items():
            if entry == "bowl" and kind == "averaging":
                continue
            drawn = look.line | {"label": look.label}
            if entry == "bowl":
                exact = rows[rows["family"] == "slow"].groupby("sync_period").first()[["slow_risk", "fast_risk"]]
                exact = exact / exact.loc[1, "slow_risk"]
                ax.plot(exact[f"{kind}_risk"], color=look.colour, dashes=look.dashes)
                drawn = look.points | {"label": look.label, "ls": "none"}
            line(ax, _ratios(rows, kind, "floor"), **drawn)
        periods(ax, PERIODS)
        at_one(ax)
        ax.set(ylabel="excess loss at the noise floor", title=name)
    axs[1, 0].legend(loc="upper left")
    speeds = runs[runs["eval_every"] == 100].groupby("task", sort=False)
    for (_, rows), look in zip(speeds, GREYS, strict=True):
        name = f"{rows['entry'].iloc[0]}, lr {rows['lr'].max():g}"
        line(axs[1, 1], _ratios(rows, "slow", "steps_to_threshold"), **look.line | {"label": name})
    periods(axs[1, 1], PERIODS)
    at_one(axs[1, 1])
    axs[1, 1].set(ylabel="steps to the threshold", title="speed")
    axs[1, 1].legend(loc="upper left")
    return finished(fig, axs.flat)


def choice(runs: pd.DataFrame) -> Figure:
    """Draw the test loss at the tuned rate over the sync period, less that at period 5.

    Parameters
    ----------
    runs : DataFrame
        The table of the claim C07.

    Returns
    -------
    Figure
        Losses in % of the gap between chance and the best loss, one panel for each group of tasks.
    """
    by_period = runs[runs["family"] == "tuned"].drop_duplicates("arm").set_index("sync_period")["arm"]
    names = {"AdamW": "tuned adamw"} | {f"{k:g}": arm for k, arm in by_period.items()} | {"avg.": "tuned averaging"}
    rings, short = runs["entry"].isin(RINGING), runs["steps"] == 100
    groups = np.select([rings, short], ["momentum rings", "short"], "long")
    fig, axs = plt.subplots(1, len(GROUPS), figsize=(PAGE, 2.9))
    for ax, title in zip(axs, GROUPS, strict=True):
        tasks = [*runs[groups == title].groupby("task", sort=False)]
        ax.axhspan(-1, 1, color="0.92", zorder=0)
        for i, ((_, task_runs), look) in enumerate(zip(tasks, GREYS, strict=False)):
            means = _shares(task_runs, names, by_period[5]) * 100
            x = np.arange(len(names)) + 0.12 * (i - (len(tasks) - 1) / 2)
            ax.errorbar(x, means["mean"], away(means), ecolor=look.colour, **CAPS)
            ax.plot(x, means["mean"], look.marker, color=look.colour, ms=4, label=task_runs["entry"].iloc[0])
            ax.plot(x[1:-1], means["mean"].iloc[1:-1], color=look.colour, dashes=look.dashes, lw=0.8)
        ax.set_xticks(range(len(names)), names, rotation=45)
        ax.set(xlabel="sync period", title=title)
        ax.legend(loc="lower left" if means["mean"].max() < 2 else "upper left")
    axs[0].set_ylabel("test loss above that of period 5\n(hundredths of the range)")
    return finished(fig, axs)


def _ratios(runs: pd.DataFrame, kind: str, metric: str) -> pd.DataFrame:
    """Return geometric means of the arms of a kind over slow weights at period 1, with intervals, by period."""
    values = runs.assign(value=runs[metric])
    arms = runs[runs["family"] == kind].drop_duplicates("arm").set_index("sync_period")["arm"]
    gaps = {
        period: statistics.by_task(statistics.paired(values, arm, CONTROL, "log")).iloc[0]
        for period, arm in arms.items()
        if arm != CONTROL
    }
    if kind == "slow":
        gaps[1.0] = pd.Series({"mean": 0.0, "low": 0.0, "high": 0.0})
    return np.exp(pd.DataFrame(gaps).T[["mean", "low", "high"]]).sort_index()


def _shares(runs: pd.DataFrame, names: Mapping[str, str], control: str) -> pd.DataFrame:
    """Return mean gaps of the arms to a control, with intervals, as fractions of (chance - lowest mean loss)."""
    values = runs.assign(value=runs["test_loss"])
    (full_gap,) = statistics.chance_gap(runs, "test_loss")
    others = {name: arm for name, arm in names.items() if arm != control}
    gaps = {name: statistics.by_task(statistics.paired(values, arm, control)).iloc[0] for name, arm in others.items()}
    shares = pd.DataFrame(gaps).T[["mean", "low", "high"]] / full_gap
    return shares.reindex(names).fillna(0.0)
