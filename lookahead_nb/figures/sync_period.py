"""The figure of the notebook 03_sync_period: the noise of slow weights by sync period and learning rate."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import Look, at_one, finished, only_ticks

LOOKS = {  # by sync period
    1: Look("1", "0.5"),
    5: Look("5", "#0072b2", "o"),
    10: Look("10", "#e69f00", "o"),
    20: Look("20", "#009e73", "s", (4, 1.5)),
    50: Look("50", "#cc79a7", "v"),
}
TICKS = [0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4]


def by_rate(curves: pd.DataFrame, tasks: pd.DataFrame) -> Figure:
    """Draw the noise of the slow weights over the learning rate, for one mode and for whole quadratics.

    Parameters
    ----------
    curves : DataFrame
        The columns ``sync_period``, a key of ``LOOKS``, ``x`` (rate times curvature), and ``variance`` over that of
        AdamW at half the rate.
    tasks : DataFrame
        A row for each quadratic and period: ``sync_period``, ``x`` (rate times the largest curvature), and ``noise``
        over that of sync period 5.

    Returns
    -------
    Figure
        Curves on the left, a dot for every quadratic on the right.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.9))
    for period, own in curves.groupby("sync_period"):
        look = LOOKS[int(period)]
        axs[0].plot(own["x"], own["variance"], color=look.colour, dashes=look.dashes, label=look.label)
    for period, own in tasks.groupby("sync_period"):
        look = LOOKS[int(period)]
        axs[1].plot(own["x"], own["noise"], look.marker, ms=2.2, mew=0, alpha=0.8, color=look.colour, label=look.label)
    labels = ("variance, that of AdamW at half the rate = 1", "noise floor, that of sync period 5 = 1")
    across = ("learning rate × curvature", "learning rate × largest curvature")
    for ax, label, x in zip(axs, labels, across, strict=True):
        ax.set(xscale="log", yscale="log", xlabel=x, ylabel=label)
        only_ticks(ax.yaxis, TICKS)
        only_ticks(ax.xaxis, [0.001, 0.01, 0.1, 1, 10])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.legend(title="sync period", title_fontsize=7, loc="lower left", frameon=False)
        at_one(ax)
    return finished(fig, axs)
