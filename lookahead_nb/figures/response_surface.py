"""Figures of the notebook 04_response_surface.

``surface`` is what ``comparisons.above_control`` returns; its ``gap`` is the test loss above that of AdamW at its best
rate, in hundredths of what AdamW wins from chance.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullLocator

from lookahead_nb import statistics
from lookahead_nb.figures import COLOURS, PAGE, letter_panels, plain_ticks

TRIALS = [1, 4, 16, 64]
LIMIT = 10.0  # of the colours, hundredths; beyond it they stay the same
SEARCHES = {  # arm of C14: label, colour, marker, dashes, hollow
    "adamw": ("AdamW: lr", COLOURS["AdamW"], "D", (), False),
    "averaging": ("averaging: lr, step, period", COLOURS["averaging"], "^", (1, 1), False),
    "lr": ("Lookahead: lr, a and k as usual", COLOURS["Lookahead"], "o", (), False),
    "lr, a, k": ("Lookahead: lr, a, k", COLOURS["Lookahead"], "s", (4, 1.5), True),
    "lr at an arbitrary a, k": ("Lookahead: lr, a and k arbitrary", COLOURS["Lookahead"], "v", (1, 1), True),
    "a, k": ("Lookahead: a, k, lr as suits the usual", "0.35", "x", (6, 1, 1, 1), False),
}


def best_of(runs):
    """Draw the test loss of the best of n trials, for each way to spend them, above that of the usual a and k.

    The latter at the one lr that is best for them on seeds of their own. runs : table of the claim C14.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.2), sharex=True, sharey=True)
    for ax, (task, here) in zip(axs.flat, runs.groupby("task", sort=False), strict=True):
        room = here["chance"].iloc[0] - here.groupby("arm")["test_loss"].mean().min()
        values = here.assign(value=100 * here["test_loss"] / room)
        ax.axhspan(-1, 1, color="0.92", zorder=0)
        for arm, (label, colour, marker, dashes, hollow) in SEARCHES.items():
            names = {n: f"{arm} best_of={n}" for n in TRIALS}
            gaps = {
                n: statistics.by_task(statistics.paired(values, name, "usual")).iloc[0] for n, name in names.items()
            }
            line = pd.DataFrame(gaps).T
            look = {"color": colour, "dashes": dashes, "marker": marker, "mfc": "none" if hollow else colour, "ms": 4.5}
            ax.plot(line["mean"], **look, label=label)
            away = [line["mean"] - line["low"], line["high"] - line["mean"]]
            ax.errorbar(line.index, line["mean"], away, fmt="none", ecolor=colour, elinewidth=0.8)
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=1)
        ax.set_title(_name(task))
        plain_ticks(ax.xaxis, TRIALS)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_yticks([-20, -5, -1, 0, 1, 5, 20, 50], ["−20", "−5", "−1", "0", "1", "5", "20", "50"])
        ax.yaxis.set_minor_locator(NullLocator())
    for ax in axs[1]:
        ax.set_xlabel("trials")
    for ax in axs[:, 0]:
        ax.set_ylabel("test loss above the usual a and k\n(hundredths of the range)")
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    letter_panels(axs.flat)
    sns.despine(fig)
    return fig


def maps(views):
    """Draw the gap over retention and sync period, a row for each view, a column for each task.

    views : dict from a label to the rows of a surface at one rate for each retention and period.
    """
    tasks = list(next(iter(views.values()))["task"].unique())
    fig, axs = plt.subplots(len(views), len(tasks), figsize=(PAGE, 2.2 * len(views) + 0.6), squeeze=False)
    first: list = []
    for row, (label, view) in zip(axs, views.items(), strict=True):
        for ax, task in zip(row, tasks, strict=True):
            cells = _cells(view[view["task"] == task], "sync_period")
            image = _image(ax, cells)
            periods = list(cells.index)
            first = periods if ax is row[0] else first
            ax.set_yticks(range(len(periods)), periods if ax is row[0] or periods != first else [])
        row[0].set_ylabel(f"{label}\nsync period")
    return _finished(fig, axs, tasks, image)


def ridge(surface, sync_period=5):
    """Draw the gap over retention and learning rate at one sync period, and the rates of one lr times slow_step_size.

    The line runs through the tuned rate of AdamW.

    surface : frame as above; sync_period : int, one of its own.
    """
    tasks = list(surface["task"].unique())
    fig, axs = plt.subplots(1, len(tasks), figsize=(PAGE, 2.8), sharey=True, squeeze=False)
    for ax, task in zip(axs[0], tasks, strict=True):
        here = surface[surface["task"] == task]
        tuned = here.loc[here["at_control"], "lr"].iloc[0]
        cells = _cells(here[here["sync_period"] == sync_period], "lr")
        image = _image(ax, cells)
        rates = np.log10(cells.index.to_numpy())
        place = lambda lr, rates=rates: np.interp(np.log10(lr), rates, np.arange(len(rates)))  # noqa: E731
        at = np.linspace(0.05, 0.95, 31)
        line = tuned / (1 - at)
        ax.plot(at[line <= cells.index[-1]], place(line[line <= cells.index[-1]]), color="0.1", lw=1)
        shown = [0.001, 0.01, 0.1, 1]
        ax.set_yticks(place(shown), [f"{lr:g}" for lr in shown])
    axs[0, 0].set_ylabel("learning rate")
    return _finished(fig, axs, tasks, image)


def _cells(rows, index):
    lookahead = rows[rows["retention"] > 0]
    return lookahead.pivot(index=index, columns="retention", values="gap")


def _image(ax, cells):
    """Draw cells with retention as it is and the other axis by number; a dot marks those within one hundredth.

    As an image of one pixel for each cell, which is a thousandth of the size of as many rectangles.
    """
    x = cells.columns.to_numpy()
    half = np.diff(x).mean() / 2
    norm, extent = TwoSlopeNorm(0, -LIMIT, LIMIT), (x[0] - half, x[-1] + half, -0.5, len(cells) - 0.5)
    look = {"cmap": "vlag", "norm": norm, "interpolation": "none", "aspect": "auto", "origin": "lower"}
    image = ax.imshow(cells.to_numpy(), extent=extent, **look)
    i, j = np.nonzero(cells.to_numpy() < 1)
    dots = Path(np.repeat(np.c_[x[j], i], 2, axis=0), [Path.MOVETO, Path.LINETO] * len(i))
    ax.add_patch(PathPatch(dots, edgecolor="0.1", lw=2.4, capstyle="round"))
    return image


def _finished(fig, axs, tasks, image):
    for ax, task in zip(axs[0], tasks, strict=True):
        top = ax.secondary_xaxis("top", functions=(lambda x: 1 - x,) * 2)
        top.set_xticks([0.9, 0.5, 0.1])
        ax.set_title(_name(task), pad=20)
    for ax in axs.flat:
        ax.set_xticks([0.1, 0.5, 0.9])
        ax.tick_params(labelbottom=ax in axs[-1])
    fig.supxlabel(
        "retention, the article's convention (below); slow_step_size, the libraries' convention (above)", fontsize=8
    )
    fig.colorbar(
        image,
        ax=axs,
        extend="both",
        shrink=0.8,
        ticks=[-10, -5, -1, 1, 5, 10],
        label="test loss above tuned AdamW\n(hundredths of the range)",
    )
    return fig


def _name(task):
    return task.split(" ")[0]
