"""Figure of the notebook 10_your_own_question."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, both_conventions, letter_panels

NAMES = {
    "Lookahead": "Lookahead",
    "AdamW at lr x step": "AdamW at Lookahead's lr × step",
    "averaging": "averaging, without pull-back",
}


def against_adamw(arms: pd.DataFrame, margin: float) -> Figure:
    """Draw the test loss of every arm against that of tuned AdamW, over retention.

    Parameters
    ----------
    arms : DataFrame
        Arms with the columns ``kind``, ``retention``, ``sync_period``, ``size``, ``low`` and ``high``. The last three
        are fractions of the gap between chance and the best loss.
    margin : float
        The half width of the grey band around AdamW, in the same unit.

    Returns
    -------
    Figure
        One panel for each sync_period.
    """
    periods = sorted(arms["sync_period"].unique())
    width = min(PAGE, 1.2 + 2.9 * len(periods))
    fig, axs = plt.subplots(1, len(periods), figsize=(width, 3.0), sharey=True, squeeze=False)
    for ax, period in zip(axs[0], periods, strict=True):
        ax.axhspan(-100 * margin, 100 * margin, color="0.92", zorder=0)
        ax.axhline(0, color=COLOURS["AdamW"], lw=1, zorder=1, label="AdamW, tuned")
        for shift, (kind, name) in zip((-0.012, 0, 0.012), NAMES.items(), strict=True):
            line = arms[(arms["kind"] == kind) & (arms["sync_period"] == period)].sort_values("retention")
            x, y = line["retention"] + shift, 100 * line["size"]
            look = {"color": COLOURS[kind], "marker": MARKERS[kind], "dashes": DASHES[kind], "label": name}
            ax.plot(x, y, **look, ms=4, mfc="none" if kind == "AdamW at lr x step" else COLOURS[kind])
            ax.vlines(x, 100 * line["low"], 100 * line["high"], color=COLOURS[kind], lw=0.8)
        both_conventions(ax)
        ax.text(0.97, 0.07, f"sync_period {period}", transform=ax.transAxes, ha="right")
    axs[0, 0].set_ylabel("test loss above that of tuned AdamW,\n% of the distance from chance to the best")
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=1 + len(NAMES), frameon=False)
    letter_panels(axs[0])
    sns.despine(fig, top=False)
    return fig
