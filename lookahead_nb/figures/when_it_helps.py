"""Figures of the notebook 16_when_it_helps: best sync periods against the rule, and what Lookahead gains."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import Look, finished, no_minor_ticks, only_ticks

LOOKS = {  # by beta1
    0.5: Look("0.5", "#0072b2", "o"),
    0.8: Look("0.8", "#56b4e9", "s"),
    0.9: Look("0.9", "#009e73", "D"),
    0.95: Look("0.95", "#e69f00", "^"),
    0.98: Look("0.98", "#d55e00", "v"),
}
ARMS = {"at": "Lookahead,\nbeta1 0.9", "lookahead": "Lookahead,\nbest beta1", "average": "average,\nbest beta1"}
TICKS = [1, 2, 3, 5, 10, 20]


def rule(best: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw best against predicted sync periods, and the loss over the sync period.

    Parameters
    ----------
    best : DataFrame
        A row for each task and beta1, a key of ``LOOKS``: ``predicted``, ``best``, and ``known``.
    curves : DataFrame
        A row for each beta1 and ``sync_period``: ``excess``, in % of the gap.

    Returns
    -------
    Figure
        Dots on the left, filled where the best sync period is known; a curve for each beta1 on the right, with a bar
        from the lower to the upper quartile of the prediction below it.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 3.0))
    for beta1, own in best.groupby("beta1"):
        look = LOOKS[beta1]
        for known, part in own.groupby("known"):
            face = look.colour if known else "none"
            style = {"ms": 3, "mfc": face, "mec": look.colour, "mew": 0.6, "alpha": 0.8}
            left.plot(part["predicted"], part["best"], look.marker, ls="", **style)
    left.plot([1, 20], [1, 20], color="0.5", lw=0.8, zorder=0)
    left.set(yscale="log", ylabel="best sync period", xlabel="sync period of the rule")
    only_ticks(left.yaxis, TICKS)
    for place, (beta1, own) in enumerate(curves.groupby("beta1")):
        look = LOOKS[beta1]
        right.plot(own["sync_period"], own["excess"], label=look.label, **look.points)
        low, high = np.quantile(best.loc[best["beta1"] == beta1, "predicted"], [0.25, 0.75])
        right.plot([low, high], [-0.25 - 0.2 * place] * 2, color=look.colour, lw=2.5, solid_capstyle="butt")
    right.set(ylabel="loss above the lowest, % of the gap", xlabel="sync period")
    right.legend(title="beta1", title_fontsize=7, frameon=False)
    for ax in (left, right):
        ax.set_xscale("log")
        only_ticks(ax.xaxis, TICKS)
    no_minor_ticks([left])
    return finished(fig, (left, right))


def gains(tasks: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Draw what Lookahead and an average gain on AdamW, task by task.

    Parameters
    ----------
    tasks : DataFrame
        A row for each task: the columns ``ARMS``, in % of the gap.
    means : DataFrame
        A row for each ``arm`` of ``ARMS``: ``value``, ``low`` and ``high``.

    Returns
    -------
    Figure
        A column of dots for each arm, its mean and the interval of the mean.
    """
    fig, ax = plt.subplots(figsize=(PAGE / 2, 2.6))
    for place, arm in enumerate(ARMS):
        values = np.sort(tasks[arm].to_numpy())
        aside = place + 0.3 * (np.arange(len(values)) % 7 / 6 - 0.5)
        ax.plot(aside, values, "o", ms=2.2, mew=0, alpha=0.7, color="#56b4e9")
        (mean,) = means[means["arm"] == arm].to_dict("records")
        ax.plot([place + 0.32] * 2, [mean["low"], mean["high"]], color="0.1", lw=1.5)
        ax.plot(place + 0.32, mean["value"], "D", ms=3.5, color="0.1")
    ax.axhline(0, color="0.5", lw=0.8, zorder=0)
    ax.axhline(1, color="0.5", lw=0.8, ls=":", zorder=0)
    ax.set_yscale("symlog", linthresh=1)
    ticks = [-10, -3, -1, 0, 1, 3, 10, 30]
    low, high = ax.get_ylim()
    only_ticks(ax.yaxis, [tick for tick in ticks if low <= tick <= high])
    ax.set_xticks(range(len(ARMS)), list(ARMS.values()))
    ax.set_ylabel("gain on AdamW, % of the gap")
    sns.despine(fig)
    return fig
