"""Figures of the notebook 03_faq_8_2_k, drawn from the exact cycle and from the runs of the claims C05 and C07."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator

from lookahead_nb import statistics
from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, letter_panels, plain_ticks

PERIODS = [1, 2, 5, 10, 20, 50]
GREYS = [
    ("o", (), "0.1"),
    ("s", (4, 1.5), "0.35"),
    ("^", (1, 1), "0.5"),
    ("D", (6, 1, 1, 1), "0.65"),
    ("v", (), "0.75"),
]
FLOORS = {
    "bowl": "exact (lines), AdamW (points)",
    "blobs steps=5840 eval_every=73": "blobs, many curvatures",
    "teacher steps=5840 eval_every=73": "teacher, one curvature",
}
GROUPS = {  # tasks of C07
    "short": [f"{name} steps=100 eval_every=100" for name in ("digits", "cancer", "blobs")],
    "long": [
        *("digits eval_every=1000", "cancer eval_every=600", "blobs eval_every=3000"),
        "fashion steps=500 eval_every=500",
    ],
    "momentum rings": ["teacher steps=300 eval_every=300", "checkerboard eval_every=2000"],
}
CONTROL = "slow sync_period=1"  # which is AdamW at lr × slow_step_size
KINDS = {"slow": "slow weights", "fast": "fast weights", "averaging": "averaging, without pull-back"}


def exact_cycle(exact):
    """Draw what the exact cycle gives over the sync period, one line for each rate times curvature.

    exact : frame with ``sync_period``, ``x`` (rate times curvature), ``slow`` and ``fast`` (variances over that of the
    inner rule) and ``steps``.
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
        for (x, line), colour, (_, dashes, _) in zip(lines.items(), colours, GREYS, strict=False):
            ax.plot(line, color=colour, dashes=dashes, label=f"{x:g}")
        _periods(ax)
        ax.set(ylabel=label)
    axs[2].set_yscale("log")
    plain_ticks(axs[2].yaxis, [0.2, 0.5, 1, 2])
    axs[2].yaxis.set_minor_locator(NullLocator())
    axs[2].axhline(1, color="0.5", lw=0.8, zorder=0)
    axs[1].legend(title="rate × curvature", loc="upper left", title_fontsize=7)
    letter_panels(axs)
    sns.despine(fig)
    return fig


def stability_and_speed(runs):
    """Draw the noise floor of slow, fast and averaged weights, and the steps to a threshold, over the sync period.

    runs : table of the claim C05.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.2))
    for ax, (task, name) in zip(axs.flat, FLOORS.items(), strict=False):
        here = runs[runs["task"] == task]
        for kind in KINDS if task != "bowl" else ("slow", "fast"):
            look = {
                "color": COLOURS[kind],
                "marker": MARKERS[kind],
                "dashes": DASHES[kind],
                "label": KINDS[kind],
            }
            if task == "bowl":
                exact = here[here["arm"].str.startswith("slow")].groupby("arm").first()[["slow_risk", "fast_risk"]]
                exact = (exact / exact.loc["slow sync_period=1", "slow_risk"]).rename(_period).sort_index()
                ax.plot(exact[f"{kind}_risk"], color=look["color"], dashes=look.pop("dashes"))
                look["ls"] = "none"
            _line(ax, _ratios(here, kind, "floor"), ms=9 if kind == "fast" else 5, **look)
        _periods(ax)
        ax.axhline(1, color="0.5", lw=0.8, zorder=0)
        ax.set(ylabel="excess loss at the noise floor", title=name)
    axs[1, 0].legend(loc="upper left")
    speeds = [task for task in runs["task"].unique() if "eval_every=100" in task]
    for task, (marker, dashes, colour) in zip(speeds, GREYS, strict=True):
        here = runs[runs["task"] == task]
        name = f"{task.split(' ')[0]}, lr {here['lr'].max():g}"
        line = _ratios(here, "slow", "steps_to_threshold")
        _line(axs[1, 1], line, marker=marker, dashes=dashes, color=colour, ms=4, label=name)
    _periods(axs[1, 1])
    axs[1, 1].axhline(1, color="0.5", lw=0.8, zorder=0)
    axs[1, 1].set(ylabel="steps to the threshold", title="speed")
    axs[1, 1].legend(loc="upper left")
    letter_panels(axs.flat)
    sns.despine(fig)
    return fig


def choice(runs):
    """Draw the test loss at the tuned rate over the sync period, less that at period 5, in hundredths of the range.

    runs : table of the claim C07.
    """
    names = {"AdamW": "tuned adamw"} | {str(k): f"tuned sync_period={k}" for k in PERIODS} | {"avg.": "tuned averaging"}
    fig, axs = plt.subplots(1, len(GROUPS), figsize=(PAGE, 2.9))
    for ax, (title, group) in zip(axs, GROUPS.items(), strict=True):
        tasks = [task for task in group if task in set(runs["task"])]
        ax.axhspan(-1, 1, color="0.92", zorder=0)
        for i, (task, (marker, dashes, colour)) in enumerate(zip(tasks, GREYS, strict=False)):
            line = _shares(runs, task, names) * 100
            x = np.arange(len(names)) + 0.12 * (i - (len(tasks) - 1) / 2)
            away = [line["mean"] - line["low"], line["high"] - line["mean"]]
            ax.errorbar(x, line["mean"], away, fmt="none", ecolor=colour, elinewidth=0.8)
            ax.plot(x, line["mean"], marker, color=colour, ms=4, label=task.split(" ")[0])
            ax.plot(x[1:-1], line["mean"].iloc[1:-1], color=colour, dashes=dashes, lw=0.8)
        ax.set_xticks(range(len(names)), names, rotation=45)
        ax.set(xlabel="sync period", title=title)
        ax.legend(loc="lower left" if line["mean"].max() < 2 else "upper left")
    axs[0].set_ylabel("test loss above that of period 5\n(hundredths of the range)")
    letter_panels(axs)
    sns.despine(fig)
    return fig


def _periods(ax):
    """Make the x axis that of the sync period, the article's range shaded."""
    ax.axvspan(5, 10, color="0.93", zorder=0)
    ax.set(xscale="log", xlabel="sync period")
    plain_ticks(ax.xaxis, PERIODS)
    ax.xaxis.set_minor_locator(NullLocator())


def _ratios(runs, kind, metric):
    """Geometric means over the seeds of the arms of a kind over slow weights at period 1, with intervals, by period."""
    values = runs.assign(value=runs[metric])
    gaps = {
        _period(arm): statistics.by_task(statistics.paired(values, arm, CONTROL, "log")).iloc[0]
        for arm in values["arm"].unique()
        if arm.startswith(f"{kind} ") and arm != CONTROL
    }
    if kind == "slow":
        gaps[1] = pd.Series({"mean": 0.0, "low": 0.0, "high": 0.0})
    return np.exp(pd.DataFrame(gaps).T[["mean", "low", "high"]]).sort_index()


def _period(arm):
    return int(arm.split("=")[1])


def _shares(runs, task, names):
    """Mean gaps of the arms to period 5, and their intervals, as shares of (chance - lowest mean loss)."""
    values = runs[runs["task"] == task].assign(value=lambda frame: frame["test_loss"])
    room = values["chance"].iloc[0] - values.groupby("arm")["value"].mean().min()
    control = "tuned sync_period=5"
    others = {name: arm for name, arm in names.items() if arm != control}
    gaps = {name: statistics.by_task(statistics.paired(values, arm, control)).iloc[0] for name, arm in others.items()}
    found = pd.DataFrame(gaps).T[["mean", "low", "high"]] / room
    return found.reindex(names).fillna(0.0)


def _line(ax, line, **look):
    """Draw ratios and their intervals over the index."""
    ax.plot(line["mean"], **look)
    away = [line["mean"] - line["low"], line["high"] - line["mean"]]
    ax.errorbar(line.index, line["mean"], away, fmt="none", ecolor=look["color"], elinewidth=0.8)
