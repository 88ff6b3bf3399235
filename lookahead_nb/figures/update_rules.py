"""Figures of the notebook 01_update_rules."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, DASHES, PAGE
from lookahead_nb.figures.parts import finished
from lookahead_nb.models.landscapes import Quadratic

NUMBERS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
VALLEY = Quadratic([1.0, 20.0])


def readings(paths: pd.DataFrame, sync_period: int = 5) -> Figure:
    """Draw the two conventions for one number, then a weight with and without the pull-back.

    Parameters
    ----------
    paths : DataFrame
        Paths with the columns ``pull_back``, ``step``, ``fast`` (ahead of the pull-back) and ``slow``.
    sync_period : int
        The sync period of the paths, by default 5.

    Returns
    -------
    Figure
        Panel (a) shows the slow weight after a sync from 1 towards 0: the number itself, or one minus it.
    """
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 2.5))
    synced = pd.DataFrame({"retention": NUMBERS, "slow_step_size": 1 - np.array(NUMBERS)}, NUMBERS)
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
    return finished(fig, axs)


def surface(traces: pd.DataFrame, sync_period: int = 5) -> Figure:
    """Draw the paths of AdamW and of Lookahead over the contours of ``VALLEY``.

    Parameters
    ----------
    traces : DataFrame
        One row per step, the start first, with the columns ``adamw_x``, ``adamw_y``, ``fast_x``, ``fast_y`` (ahead of
        the pull-back), ``slow_x`` and ``slow_y``.
    sync_period : int
        The sync period of the Lookahead, by default 5.

    Returns
    -------
    Figure
        Arrows show the pull-backs of Lookahead.
    """
    x, y = np.linspace(-2.2, 1.0, 120), np.linspace(-0.7, 1.0, 120)
    heights = pd.DataFrame(VALLEY.loss(np.stack(np.meshgrid(x, y), axis=-1)), y, x)
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
    return finished(fig, axs)
