"""Figures of the notebook 01_update_rules."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from lookahead_nb.figures import COLOURS, DASHES, PAGE, letter_panels


def readings(synced, paths, sync_period):
    """Draw the two conventions for one number, then a weight with the pull-back and without it.

    synced : frame indexed by the number, with ``retention`` and ``slow_step_size``, the slow weight after a sync from 1
    towards 0 in each reading. paths : frame with ``pull_back``, ``step``, ``fast`` (before the pull), ``slow``.
    sync_period : int, that of the paths.
    """
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 2.5))
    for name, marker, dash in (("retention", "s", "-"), ("slow_step_size", "D", "--")):
        axs[0].plot(synced[name], dash, marker=marker, ms=3.5, color=COLOURS["slow"], label=f"read as {name}")
    axs[0].axvline(0.5, color="0.6", lw=0.8, ls=":")
    axs[0].set(xlabel="the number given", ylabel="slow weight after the sync", xlim=(0, 1), ylim=(0, 1.35))
    axs[0].set_yticks([0, 0.5, 1])
    for ax, pulled in zip(axs[1:], (True, False), strict=True):
        path = paths[paths["pull_back"] == pulled].set_index("step")
        synced_at = path.index[(path.index > 0) & (path.index % sync_period == 0)]
        jumps = path["slow"][synced_at] if pulled else path["fast"][[]]  # the next stretch begins at the slow weight
        course = pd.concat([path["fast"], jumps]).sort_index(kind="stable")
        ax.plot(course, color=COLOURS["fast"], dashes=DASHES["fast"], lw=1.6, label="fast weight")
        ax.step(path.index, path["slow"], where="post", color=COLOURS["slow"], label="slow weight")
        ax.plot(path["slow"][synced_at], "s", ms=3.5, color=COLOURS["slow"], label="sync")
        ax.axhline(0, color="0.6", lw=0.8, ls=":")
        ax.set(xlabel="step", ylabel="weight", ylim=(paths["fast"].min() - 0.35, 1.75), yticks=[0, 0.5, 1])
        ax.text(0.03, 0.03, f"{'with' if pulled else 'without'} the pull-back", transform=ax.transAxes)
    axs[0].legend(loc="upper center")
    axs[2].legend(loc="upper right")
    letter_panels(axs)
    sns.despine(fig)
    return fig


def surface(heights, traces, sync_period):
    """Draw the path of AdamW and the path of Lookahead, with the jumps of its pulls, over the contours of a surface.

    heights : frame of the loss, index y, columns x. traces : frame with ``adamw_x``, ``adamw_y`` and, of Lookahead,
    ``fast_x``, ``fast_y`` (before the pull), ``slow_x``, ``slow_y``; one row per step, the start first. sync_period :
    int, that of Lookahead.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.7), sharey=True)
    levels = np.geomspace(heights.to_numpy().max() / 300, heights.to_numpy().max(), 9)
    bottom = np.unravel_index(heights.to_numpy().argmin(), heights.shape)
    for ax in axs:
        ax.contour(heights.columns, heights.index, heights, levels, colors="0.8", linewidths=0.6)
        ax.plot(heights.columns[bottom[1]], heights.index[bottom[0]], "+", color="0.1", ms=9, label="minimum", zorder=5)
        ax.set(xlabel="first weight", ylabel="second weight")
    axs[0].plot(traces["adamw_x"], traces["adamw_y"], "D-", ms=2.5, lw=0.8, color=COLOURS["AdamW"], label="AdamW")
    fast, slow = traces[["fast_x", "fast_y"]].to_numpy(), traces[["slow_x", "slow_y"]].to_numpy()
    arrow = {"arrowstyle": "->", "color": "0.2", "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    for first in range(0, len(fast) - sync_period, sync_period):
        last = first + sync_period
        stretch = np.vstack([slow[first], fast[first + 1 : last + 1]])
        axs[1].plot(*stretch.T, ".", ls=":", ms=4, lw=1, color=COLOURS["fast"], label=None if first else "fast weights")
        axs[1].annotate("", slow[last], fast[last], arrowprops=arrow)
    axs[1].plot([], [], color="0.2", lw=0.8, label="pull-back")
    axs[1].plot(*slow[::sync_period].T, "s", ms=4, color=COLOURS["slow"], label="slow weights")
    for ax in axs:
        ax.legend(loc="upper right")
    letter_panels(axs)
    sns.despine(fig)
    return fig
