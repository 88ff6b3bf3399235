"""Figure of the notebook 17_what_comparing_costs: where a measured difference between two optimizers comes from."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import CAPS, Look, away, finished, only_ticks

SOURCES = {  # from the bottom
    "reporting seeds": "#56B4E9",
    "choice of the rate": "#D55E00",
    "split": "0.65",
    "data set": "0.82",
}
GRIDS = {"fine": Look("rates 1.6 apart", "#0173B2", "o"), "coarse": Look("rates 4.1 apart", "#D55E00", "s")}
FINDINGS = {  # by reporting seeds and the least benefit that is called a finding; NaN is a significant one
    (1, 0.0): Look("any benefit, 1 seed", "#0173B2", "o"),
    (1, 0.01): Look("above 1 %, 1 seed", "#DE8F05", "s"),
    (4, 0.01): Look("above 1 %, 4 seeds", "#029E73", "^"),
    (4, None): Look("significant, 4 seeds", "#CC78BC", "D"),
}


def costs(sources: pd.DataFrame, itself: pd.DataFrame, false: pd.DataFrame, luck: pd.DataFrame) -> Figure:
    """Draw what a reported difference consists of, and how far one can trust it.

    Parameters
    ----------
    sources, itself, false, luck : DataFrame
        The frames of ``components.sources``, ``against_itself``, ``false_findings`` and ``luck``.

    Returns
    -------
    Figure
        The variance by source, AdamW against AdamW, the share of false findings, and the luck of a choice, each over
        the number of tuning seeds.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.0))
    _sources(axs[0, 0], sources)
    for place, (grid, look) in enumerate(GRIDS.items()):
        own = itself[itself["grid"] == grid]
        _line(axs[0, 1], own, "share", look, place)
        axs[0, 1].plot(own["tuning_seeds"], own["large"], **look._replace(hollow=True, dashes=(2, 2)).line)
    axs[0, 1].plot([], [], "o", ls=(0, (2, 2)), mfc="none", ms=4, color="0.4", label="and above 1 %")
    axs[0, 1].axhline(0.05, color="0.3", lw=0.8)
    axs[0, 1].text(24, 0.053, "5 % were promised", ha="right", va="bottom", fontsize=7)
    axs[0, 1].set(ylabel="significant differences of\nAdamW from AdamW", ylim=(0, 1.5 * itself["high"].max()))
    fine = false[false["grid"] == "fine"]
    for place, ((seeds, limit), look) in enumerate(FINDINGS.items()):
        own = fine["above"].isna() if limit is None else fine["above"] == limit
        own = fine[own & (fine["reporting_seeds"] == seeds)]
        _line(axs[1, 0], own.rename(columns={"false_low": "low", "false_high": "high"}), "false", look, place)
    axs[1, 0].set(ylabel="false findings that an\noptimizer beats AdamW", ylim=(0, 1.5 * fine["false_high"].max()))
    for grid, look in GRIDS.items():
        of_grid = luck[luck["grid"] == grid].sort_values("tuning_seeds")
        axs[1, 1].plot(of_grid["tuning_seeds"], of_grid["middle"], **look.line, label=look.label)
        axs[1, 1].fill_between(
            of_grid["tuning_seeds"], of_grid["lower"], of_grid["upper"], color=look.colour, alpha=0.15, lw=0
        )
    axs[1, 1].set(ylabel="difference that the choice\nof a rate alone can make", ylim=(0, None))
    for ax in axs.flat[1:]:
        ax.set(xscale="log", xlabel="tuning seeds of each optimizer")
        only_ticks(ax.xaxis, [1, 2, 3, 6, 12, 24])
        ax.legend(loc="upper right", ncols=2 if ax is axs[1, 0] else 1, columnspacing=0.8, handlelength=1.4)
    for ax in axs.flat:
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axs[0, 0].yaxis.set_major_formatter("{x:g}")
    return finished(fig, axs.flat)


def _sources(ax: Axes, sources: pd.DataFrame) -> None:
    """Draw bars of variances in squares of a per cent, with the interval that two standard deviations make."""
    wide = 1e4 * sources.pivot(index="seeds", columns="source", values="variance")
    place, bottom = np.arange(len(wide)), np.zeros(len(wide))
    for name, colour in SOURCES.items():
        height = wide[name].clip(lower=0).to_numpy()
        ax.bar(place, height, 0.75, bottom, color=colour, lw=0, label=name)
        bottom += height
    for x, total in enumerate(bottom.tolist()):
        ax.text(x, total, f"± {1.96 * total**0.5:.1f} %", ha="center", va="bottom", fontsize=7)
    ax.set_xticks(place, wide.index)
    ax.set(xlabel="tuning and reporting seeds", ylabel="variance of one reported\ndifference (squares of 1 %)")
    ax.set_ylim(0, 1.12 * bottom.max())
    ax.legend(loc="upper right", reverse=True)


def _line(ax: Axes, rows: pd.DataFrame, name: str, look: Look, place: int) -> None:
    """Draw shares over tuning seeds, and their intervals next to each other."""
    rows = rows.sort_values("tuning_seeds")
    beside = rows["tuning_seeds"] * 1.04**place
    ax.errorbar(beside, rows[name], away(rows, name), ecolor=look.colour, **CAPS)
    ax.plot(beside, rows[name], **look.line, label=look.label)
