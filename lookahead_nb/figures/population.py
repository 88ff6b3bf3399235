"""Figures of the notebook 10b_population: rows of generated tasks, and which tasks gain from more steps."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import finished, only_ticks

LOOKS = {  # by regime, in the order of the legend
    "step-limited": ("#0072b2", "o"),
    "saturated": ("0.6", "s"),
    "overfitting": ("#d55e00", "^"),
    "hopeless": ("0.1", "x"),
}


def rows(points: pd.DataFrame) -> Figure:
    """Draw rows of tasks in the plane that tells their classes apart.

    Parameters
    ----------
    points : DataFrame
        The frames of ``GeneratedTask.in_plane`` with the columns ``number``, ``teacher`` and ``classes``; the first
        four tasks of each teacher are drawn.

    Returns
    -------
    Figure
        A row of panels for each teacher.
    """
    teachers = [*points["teacher"].unique()]
    fig, axs = plt.subplots(len(teachers), 4, figsize=(PAGE, 1.8 * len(teachers)), squeeze=False)
    for teacher, panels in zip(teachers, axs, strict=True):
        tasks = points[points["teacher"] == teacher].groupby("number", sort=False)
        for ax, (number, task) in zip(panels, tasks, strict=False):
            colours = sns.color_palette("colorblind", 10)
            for label, chosen in task.groupby("label"):
                ax.plot(chosen["x"], chosen["y"], "o", ms=1.6, color=colours[label % 10])
            ax.set_title(f"{teacher}, {task['classes'].iloc[0]} classes, task {number}", fontsize=7)
            ax.set(xticks=[], yticks=[], aspect="equal")
    return finished(fig, [], left=True, bottom=True)


def regimes(screened: pd.DataFrame) -> Figure:
    """Draw what doubling the steps of AdamW gains on each task, and how regimes are spread over the factors.

    Parameters
    ----------
    screened : DataFrame
        The frame of ``screening.screen`` with the factors ``rows``, ``conditioning`` and ``label_noise``.

    Returns
    -------
    Figure
        The gain of each task over its steps, and the shares of the regimes by quarters of four factors.
    """
    fig, axs = plt.subplots(1, 5, figsize=(PAGE, 2.9), width_ratios=[2.6, 1, 1, 1, 1])
    for regime, (colour, marker) in LOOKS.items():
        tasks = screened[screened["regime"] == regime]
        shown = {"marker": marker, "ms": 2.2, "mew": 0.5, "ls": "none", "color": colour, "mfc": "none"}
        axs[0].plot(tasks["steps"], 100 * tasks["gain"].clip(-0.06, 0.3), label=f"{regime} ({len(tasks)})", **shown)
    axs[0].set(xscale="log", xlabel="steps T", ylabel="gain of 2T over T, 100 × log-ratio")
    only_ticks(axs[0].xaxis, [40, 100, 300, 1000, 2000])
    for level in (2, -1):
        axs[0].axhline(level, color="0.8", lw=0.6, zorder=0)
    fig.legend(loc="outside upper center", ncols=4, fontsize=7, handletextpad=0.1)
    for ax, name in zip(axs[1:], ("steps", "rows", "conditioning", "label_noise"), strict=True):
        quarter = pd.qcut(screened[name], 4, labels=False)
        shares = pd.crosstab(quarter, screened["regime"], normalize="index").reindex(columns=[*LOOKS], fill_value=0)
        bottom = np.zeros(len(shares))
        for regime, (colour, _) in LOOKS.items():
            ax.bar(shares.index, shares[regime], 0.9, bottom, color=colour)
            bottom += shares[regime].to_numpy()
        ends = screened[name].groupby(quarter).agg(["min", "max"])
        low, high = ends["min"].iloc[0], ends["max"].iloc[-1]
        ax.set(title=name.replace("_", " "), xlim=(-0.5, 3.5), ylim=(0, 1), yticks=[])
        ax.set_xticks([-0.4, 3.4], [_short(low), _short(high)])
        ax.tick_params(axis="x", length=0)
    axs[1].set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axs[1].set_ylabel("tasks in a quarter")
    return finished(fig, axs[:2])


def _short(number: float) -> str:
    if number >= 1000:
        return f"{number / 1000:.0f}k"
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"
