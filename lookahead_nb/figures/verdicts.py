"""Figure of the notebook 11_verdicts: all statements on one page."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import only_ticks

LOOKS = {  # colour and marker of verdicts, by how they begin
    "holds": ("#0072b2", "o"),
    "follow it": ("#009e73", "s"),
    "the opposite holds": ("#d55e00", "X"),
    "hardly ever": ("#d55e00", "X"),
    "it costs": ("#d55e00", "X"),
    "mixed": ("#cc79a7", "P"),
    "no difference": ("#56b4e9", "D"),
    "cannot tell": ("0.6", "v"),
    "a forecast": ("0.1", "*"),
}
EDGE = 100  # in margins; what lies beyond is drawn at the edge, with an arrow
TICKS = [-100, -10, -1, 0, 1, 10, 100]


def forest(judged: pd.DataFrame) -> Figure:
    """Draw the deciding benefit of every statement, and the share of tasks with it.

    Parameters
    ----------
    judged : DataFrame
        Of ``registry.judge_all``, with a column ``cost``: whether the values of the statement are costs.

    Returns
    -------
    Figure
        Left: benefits with their intervals, in margins; to the right of 0 is what the statement says. Right: the share
        of tasks, with its interval. For "may", "can" and "some cases" these are the bounds of the true share.
    """
    decisive = judged[(judged["contrast"] == "primary") & (judged["class"] == "all")]
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 0.9 + 0.17 * len(decisive)), sharey=True, width_ratios=(3, 2))
    places = -np.arange(len(decisive))
    signs = np.where(decisive["cost"].to_numpy(bool), -1.0, 1.0)
    for kind, (colour, marker) in LOOKS.items():
        own = decisive["verdict"].str.startswith(kind).to_numpy()
        if not own.any():
            continue
        part, sign = decisive[own], signs[own]
        numbers = (part[["value", "low", "high"]].to_numpy(float).T * sign / part["margin"].to_numpy(float)).T
        _intervals(axs[0], places[own], numbers, colour, marker, kind)
        shares = 100 * part[["share", "share_low", "share_high"]].to_numpy(float)
        shares = np.where(sign[:, None] > 0, shares, 100 - shares)  # without a cost
        axs[1].hlines(places[own], shares[:, 1], shares[:, 2], color=colour, lw=1.2)
        axs[1].plot(shares[:, 0], places[own], marker, color=colour, ms=3.5, ls="none")
    axs[0].axvspan(-1, 1, color="0.92", zorder=0, lw=0)
    axs[0].axvline(0, color="0.5", lw=0.8, zorder=0.5)
    axs[0].set_xscale("symlog", linthresh=1, linscale=0.7)
    axs[0].set(xlim=(-EDGE, EDGE), xlabel="benefit, in margins")
    only_ticks(axs[0].xaxis, TICKS)
    axs[0].set_yticks(places, decisive["id"], fontsize=7)
    axs[0].set_ylim(places[-1] - 0.7, 0.7)
    axs[1].axvline(50, color="0.5", lw=0.8, zorder=0.5)
    axs[1].set(xlim=(-2, 102), xlabel="share of tasks, %")
    for ax in axs:
        ax.tick_params(axis="y", length=0)
        ax.hlines(_between(decisive["id"]), *ax.get_xlim(), color="0.88", lw=0.5, zorder=0)
    fig.legend(*axs[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    sns.despine(fig, left=True)
    return fig


def _intervals(ax: Axes, places: np.ndarray, numbers: np.ndarray, colour: str, marker: str, label: str) -> None:
    """Draw values with the ends of their intervals, a row of numbers each, clipped at the edge."""
    ends = np.clip(np.sort(numbers[:, 1:], axis=1), -EDGE, EDGE)
    ax.hlines(places, ends[:, 0], ends[:, 1], color=colour, lw=1.2)
    ax.plot(np.clip(numbers[:, 0], -EDGE, EDGE), places, marker, color=colour, ms=3.5, ls="none", label=label)
    for edge, arrow in ((-EDGE, "<"), (EDGE, ">")):
        beyond = (numbers * np.sign(edge) > EDGE).any(axis=1)
        ax.plot(np.full(beyond.sum(), edge), places[beyond], arrow, color=colour, ms=4, ls="none", clip_on=False)


def _between(ids: pd.Series) -> np.ndarray:
    """Return the places of the lines between claims."""
    claims = ids.str[:3].to_numpy()
    return 0.5 - np.flatnonzero(claims[1:] != claims[:-1]) - 1
