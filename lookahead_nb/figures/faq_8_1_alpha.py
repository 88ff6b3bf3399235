"""Figures of the notebook 02_faq_8_1_alpha.

Both take what ``statistics.paired_ratios`` returns, with the levels ``measure`` ("steps", "excess", "fluctuation"),
``task``, ``arm`` and ``retention``, and ``settled``, a series of bool over the last three: at the noise floor or not.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, both_conventions, letter_panels, plain_ticks

CONTROL = "AdamW at lr x step"
NAMES = {
    "Lookahead": "Lookahead",
    CONTROL: "AdamW at lr × slow_step_size",
    "averaging": "averaging, without pull-back",
}
SIZES = {"AdamW": 4, "Lookahead": 3.5, CONTROL: 6.5, "averaging": 4.5}
MEASURES = [  # measure, task, label, marker, dashes
    ("steps", "logistic regression", "steps, logistic regression", "o", (4, 1.5)),
    ("steps", "MLP", "steps, MLP", "v", (1, 1)),
    ("excess", "logistic regression", "excess loss, logistic regression", "s", ()),
    ("fluctuation", "logistic regression", "fluctuation, logistic regression", "D", (6, 1, 1, 1)),
]


def speed_and_stability(to_adamw, settled):
    """Draw steps to the threshold, excess loss and fluctuation against retention, each as a multiple of AdamW's.

    to_adamw : ratios of every arm to plain AdamW. A cross marks an arm that is not yet at its noise floor.
    """
    panels = [
        ("steps", "logistic regression", "steps to the threshold", [1, 2, 5, 10, 20]),
        ("steps", "MLP", "steps to the threshold", [1, 2, 5, 10, 20]),
        ("excess", "logistic regression", "excess loss", [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]),
        ("fluctuation", "logistic regression", "fluctuation of the loss", [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]),
    ]
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.8), sharey="row")
    for ax, (measure, task, label, ticks) in zip(axs.flat, panels, strict=True):
        lines = to_adamw.loc[measure, task]
        for arm, name in NAMES.items():
            _line(ax, lines.loc[arm], **_look(arm), label=name)
        ax.plot(0, 1, **_look("AdamW"), label="AdamW: retention 0", ls="none", zorder=4)
        if measure == "steps":
            guide = np.linspace(0, lines.index.get_level_values("retention").max(), 50)
            ax.plot(guide, 1 / (1 - guide), color="0.5", lw=0.8, zorder=0, label="guide: 1 / slow_step_size")
        else:
            moving = lines.loc[~settled.loc[task].reindex(lines.index), "ratio"].droplevel("arm")
            ax.plot(moving, "x", color="0.1", ms=9, mew=1, label="not yet at its noise floor")
        ax.set_yscale("log")
        plain_ticks(ax.yaxis, ticks)
        ax.set(ylabel=f"{label}, AdamW = 1")
        both_conventions(ax)
        ax.text(0.97, 0.04, task, transform=ax.transAxes, ha="right") if measure == "steps" else None
    axs[0, 0].set_ylim(bottom=0.6)  # room for the names of the tasks
    axs[0, 0].legend(loc="upper left")
    axs[1, 0].legend(loc="lower left")
    letter_panels(axs.flat)
    sns.despine(fig, top=False)
    return fig


def controls(to_adamw, to_control, settled):
    """Draw (a) Lookahead over its lower-rate control against retention, (b) excess loss against steps for all arms.

    to_adamw : as above; to_control : ratios of Lookahead to AdamW at lr x slow_step_size, without the level ``arm``.
    """
    task = "logistic regression"
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 3.1))
    for measure, of, label, marker, dashes in MEASURES:
        line = to_control.loc[measure, of].drop(0.0)
        if measure != "steps":
            line = line[(settled.loc[of, "Lookahead"] & settled.loc[of, CONTROL]).reindex(line.index)]
        _line(axs[0], line, color="0.25", marker=marker, dashes=dashes, ms=4, lw=1, label=label)
    axs[0].axhline(1, color="0.5", lw=0.8, zorder=0)
    low, high = axs[0].get_ylim()
    axs[0].set(ylabel="Lookahead /\nAdamW at lr × slow_step_size", xlim=(0, 0.95), ylim=(1.6 * low - 0.6 * high, high))
    both_conventions(axs[0])
    axs[0].legend(loc="lower left")
    for arm, label in NAMES.items():
        here = settled.loc[task, arm]
        steps, excess = (to_adamw.loc[measure, task, arm].loc[here, "ratio"] for measure in ("steps", "excess"))
        axs[1].plot(steps, excess, **_look(arm), label=label)
    axs[1].plot(1, 1, **_look("AdamW"), label="AdamW: retention 0", ls="none", zorder=4)
    axs[1].set(xscale="log", yscale="log", xlabel="steps to the threshold, AdamW = 1", ylabel="excess loss, AdamW = 1")
    axs[1].set_ylim(top=3)
    plain_ticks(axs[1].xaxis, [1, 2, 5, 10, 20])
    plain_ticks(axs[1].yaxis, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1])
    note = "along each line from (1, 1): retention 0, 0.1, 0.2, ...\n(slow_step_size 1, 0.9, 0.8, ...)"
    axs[1].text(0.02, 0.03, note, transform=axs[1].transAxes, fontsize=6)
    axs[1].legend(loc="upper right")
    letter_panels(axs)
    sns.despine(fig, top=False)
    return fig


def _line(ax, line, **look):
    """Draw ratios and their intervals against retention, the index."""
    ax.plot(line["ratio"], **look)
    away = [line["ratio"] - line["low"], line["high"] - line["ratio"]]
    ax.errorbar(line.index, line["ratio"], away, fmt="none", ecolor=look["color"], elinewidth=0.8)


def _look(arm):
    """Return colour, dash and marker of an arm; the control is hollow, since it often lies on top of Lookahead."""
    face = "none" if arm == CONTROL else COLOURS[arm]
    return {"color": COLOURS[arm], "dashes": DASHES[arm], "marker": MARKERS[arm], "ms": SIZES[arm], "mfc": face}
