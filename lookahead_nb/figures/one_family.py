"""Figures of the notebook 15_one_family: noise against speed with the wedge, and worths against predictions."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, PAGE
from lookahead_nb.figures.parts import CAPS, Look, away, finished, no_minor_ticks, only_ticks

FAMILIES = {
    "inner": Look("momentum alone", COLOURS["AdamW"], "D"),
    "Lookahead": Look("Lookahead", COLOURS["Lookahead"], "o"),
    "average": Look("average, no pull-back", COLOURS["averaging"], "^", (1, 1)),
    "outer momentum": Look("outer momentum", COLOURS["slow"], "s", (4, 1.5)),
    "primal averaging": Look("primal averaging", "0.35", "v", (6, 1, 1, 1)),
}
ARMS = {
    "lookahead": Look("Lookahead", COLOURS["Lookahead"], "o"),
    "interpolate": Look("its state interpolated", "#7A4A00", "o", hollow=True),
    "k_2": Look("sync period 2", "#56B4E9", "<"),
    "k_10": Look("sync period 10", "#0173B2", ">"),
    "k_20": Look("sync period 20", "#023858", ">", hollow=True),
    "step_02": Look("slow step 0.2", "#029E73", "v"),
    "step_08": Look("slow step 0.8", "#029E73", "^", hollow=True),
    "no_pull_back": Look("no pull-back", COLOURS["averaging"], "^"),
    "linear": Look("linear decay", "0.35", "P"),
    "last_fifth": Look("decay in the last fifth", "0.6", "P", hollow=True),
}
MOST = 2.0  # steps are read up to this multiple


def noise_and_speed(frontier: pd.DataFrame, wedge: pd.DataFrame) -> Figure:
    """Draw the lowest risk of each family over the speed, and where the pull-back pays on one mode.

    Parameters
    ----------
    frontier : DataFrame
        The columns ``speed`` and the keys of ``FAMILIES``, around one inner momentum.
    wedge : DataFrame
        The columns ``beta1``, ``x`` and ``gain``, the variance of Lookahead over that of the average, on a grid; and
        ``border``, the x above which a mode of the inner optimizer overshoots.

    Returns
    -------
    Figure
        Both on logarithmic axes; the wedge is shaded in both panels.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 3.1), width_ratios=(1.15, 1))
    for family, look in FAMILIES.items():
        reached = frontier[np.isfinite(frontier[family])]
        axs[0].plot(reached["speed"], reached[family], **look.line, label=look.label)
    ahead = frontier.loc[frontier["average"] <= frontier["Lookahead"], "speed"].max()
    if ahead < frontier["speed"].max():
        axs[0].axvspan(ahead, frontier["speed"].max(), color="#F5C26B", alpha=0.35, lw=0, zorder=0)
    axs[0].set(xscale="log", yscale="log", xlabel="speed, -log of the rate per step", ylabel="lowest stationary risk")
    axs[0].legend(loc="upper left", frameon=False)
    _wedge(axs[1], wedge)
    no_minor_ticks(axs)
    return finished(fig, axs)


def _wedge(ax: Axes, wedge: pd.DataFrame) -> None:
    """Shade where Lookahead is quieter than the average, and draw where modes begin to overshoot."""
    table = wedge.pivot(index="beta1", columns="x", values="gain")
    heights = np.log(table.clip(lower=0.5, upper=2).to_numpy())
    ax.contourf(table.columns, table.index, heights, levels=[-9, 0, 9], colors=["#F5C26B", "#F3E3EF"])
    ax.contour(table.columns, table.index, heights, levels=[0], colors=["0.1"], linewidths=1)
    border = wedge.drop_duplicates("beta1")
    ax.plot(border["border"], border["beta1"], color="0.1", dashes=(4, 1.5), lw=1, label="overshoots to the right")
    ax.set(xscale="log", xlabel="learning rate × curvature", ylabel="beta1", xlim=(wedge["x"].min(), wedge["x"].max()))
    ax.text(0.5, 0.86, "Lookahead quieter", transform=ax.transAxes, ha="center", fontsize=7)
    ax.text(0.5, 0.3, "average quieter", transform=ax.transAxes, ha="center", fontsize=7)
    ax.legend(loc="lower center", bbox_to_anchor=(0.58, 0.1), frameon=False)


def worths(table: pd.DataFrame) -> Figure:
    """Draw measured worths against predicted ones, and what Lookahead adds to each schedule.

    Parameters
    ----------
    table : DataFrame
        Of :func:`lookahead_nb.claims.one_family.measured`.

    Returns
    -------
    Figure
        On the diagonal a prediction is right. Worths above ``MOST`` lie at the edge.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 3.3), width_ratios=(1.25, 1))
    worth = table[table["scale"] == "worth"]
    for arm, look in ARMS.items():
        own = worth[worth["arm"] == arm].copy()
        own[["predicted", "measured", "low", "high"]] = own[["predicted", "measured", "low", "high"]].clip(0.5, MOST)
        axs[0].plot(own["predicted"], own["measured"], ls="none", **look.points, label=look.label)
        axs[0].errorbar(
            own["predicted"], own["measured"], away(own, "measured"), ecolor=look.colour, alpha=0.35, **CAPS
        )
    axs[0].plot([0.9, MOST], [0.9, MOST], color="0.5", lw=0.8, zorder=0)
    axs[0].set(xscale="log", yscale="log", xlabel="worth, predicted", ylabel="worth, measured")
    for axis in (axs[0].xaxis, axs[0].yaxis):
        only_ticks(axis, [0.8, 1, 1.2, 1.5, 2])
    axs[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    added = table[(table["scale"] == "doublings") & (table["steps"] > 0) & table["arm"].str.startswith("lookahead")]
    colours = {"adamw": COLOURS["Lookahead"], "linear": "0.35", "last_fifth": "0.6"}
    for i, (control, own) in enumerate(added.groupby("control", sort=False)):
        colour, moved = colours[str(control)], 1.06 ** (i - 1.5)
        label = "constant rate" if control == "adamw" else ARMS[str(control)].label
        axs[1].plot(own["steps"], own["predicted"], color=colour, lw=1)
        axs[1].plot(own["steps"] * moved, own["measured"], "o", ms=3.5, color=colour, label=label)
        axs[1].errorbar(own["steps"] * moved, own["measured"], away(own, "measured"), ecolor=colour, **CAPS)
    axs[1].axhline(0, color="0.5", lw=0.8, zorder=0)
    axs[1].set(xscale="log", xlabel="steps", ylabel="gain of Lookahead, in doublings", ylim=(-0.25, 1.75))
    only_ticks(axs[1].xaxis, sorted(added["steps"].unique()))
    axs[1].legend(loc="upper right", frameon=False, title="on top of", title_fontsize=7)
    return finished(fig, axs)
