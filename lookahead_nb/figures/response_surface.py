"""Figures of the notebook 04_response_surface.

``surface`` is a table of ``measure.response_surface`` with the parameters of its tasks. The figures show the test loss
above that of AdamW at its best rate, in % of the gap between the chance-level loss and the loss of AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullLocator

from lookahead_nb.claims import statistics
from lookahead_nb.figures import COLOURS, PAGE
from lookahead_nb.figures.parts import CAPS, Look, away, finished, only_ticks

TRIALS = [1, 4, 16, 64]
LIMIT = 10.0  # of the colours, in %; beyond it they stay the same
SEARCHES = {  # by the family of arms of C14
    "adamw": Look("AdamW: lr", COLOURS["AdamW"], "D"),
    "averaging": Look("averaging: lr, step, period", COLOURS["averaging"], "^", (1, 1)),
    "lr": Look("Lookahead: lr, a and k as usual", COLOURS["Lookahead"], "o"),
    "lr, a, k": Look("Lookahead: lr, a, k", COLOURS["Lookahead"], "s", (4, 1.5), hollow=True),
    "lr at an arbitrary a, k": Look("Lookahead: lr, a and k arbitrary", COLOURS["Lookahead"], "v", (1, 1), hollow=True),
    "a, k": Look("Lookahead: a, k, lr as suits the usual", "0.35", "x", (6, 1, 1, 1)),
}


def above_control(surface: pd.DataFrame) -> pd.DataFrame:
    """Return a surface with its test losses counted from AdamW alone at its best rate.

    Parameters
    ----------
    surface : DataFrame
        A table of ``measure.response_surface`` with the parameters of its tasks.

    Returns
    -------
    DataFrame
        The surface with three more columns. ``best``: whether no other lr has a lower validation loss at the same task,
        retention and period. ``at_control``: whether lr is the best one of AdamW. ``gap``: the test loss above AdamW's
        at that lr, in % of the gap between the chance-level loss and the loss of AdamW.

    Raises
    ------
    ValueError
        If a task lacks AdamW, or AdamW does not reach a loss below the chance-level loss.
    """
    points = surface.groupby(["task", "retention", "sync_period"], sort=False)
    best = surface.index.isin(points["validation_loss"].idxmin())
    control = surface[best & (surface["retention"] == 0)].set_index("task")
    if lacking := {*surface["task"]} - {*control.index}:
        raise ValueError(f"surface must hold AdamW alone, with retention 0, on {min(lacking)!r}")
    if (at_chance := control["test_loss"] >= control["chance"]).any():
        task = at_chance.idxmax()
        loss, chance = control.loc[task, ["test_loss", "chance"]]
        raise ValueError(f"surface must have AdamW below the loss of chance, {chance:g}, on {task!r}, got {loss:g}")
    lr, loss = (surface["task"].map(control[name]) for name in ("lr", "test_loss"))
    gap = 100 * (surface["test_loss"] - loss) / (surface["chance"] - loss)
    return surface.assign(best=best, at_control=surface["lr"] == lr, gap=gap)


def pairs(surface: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of retention and sync period on a surface, without AdamW.

    Parameters
    ----------
    surface : DataFrame
        As in :func:`above_control`.

    Returns
    -------
    DataFrame
        The rows of :func:`above_control` with a retention above 0.

    Raises
    ------
    ValueError
        As :func:`above_control` does.
    """
    table = above_control(surface)
    return table[table["retention"] > 0]


def best_of(runs: pd.DataFrame) -> Figure:
    """Draw the test loss of the best of n trials above that of the usual a and k.

    Parameters
    ----------
    runs : DataFrame
        The table of the claim C14.

    Returns
    -------
    Figure
        One line for each way to spend the trials. The usual a and k have the lr that is best for them on
        separate seeds.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.2), sharex=True, sharey=True)
    for ax, (_, task_runs) in zip(axs.flat, runs.groupby("task", sort=False), strict=True):
        (full_gap,) = statistics.chance_gap(task_runs, "test_loss")
        values = task_runs.assign(value=100 * task_runs["test_loss"] / full_gap)
        ax.axhspan(-1, 1, color="0.92", zorder=0)
        for family, look in SEARCHES.items():
            arms = task_runs[task_runs["family"] == family].drop_duplicates("arm").set_index("best_of")["arm"]
            gaps = {n: statistics.by_task(statistics.paired(values, arm, "usual")).iloc[0] for n, arm in arms.items()}
            means = pd.DataFrame(gaps).T
            ax.plot(means["mean"], **look.line | {"ms": 4.5}, label=look.label)
            ax.errorbar(means.index, means["mean"], away(means), ecolor=look.colour, **CAPS)
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=1)
        ax.set_title(task_runs["entry"].iloc[0])
        only_ticks(ax.xaxis, TRIALS)
        ax.set_yticks([-20, -5, -1, 0, 1, 5, 20, 50], ["−20", "−5", "−1", "0", "1", "5", "20", "50"])
        ax.yaxis.set_minor_locator(NullLocator())
    for ax in axs[1]:
        ax.set_xlabel("trials")
    for ax in axs[:, 0]:
        ax.set_ylabel("test loss above the usual a and k\n(hundredths of the range)")
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return finished(fig, axs.flat)


def maps(surface: pd.DataFrame) -> Figure:
    """Draw the gap over retention and sync period at two rates.

    Parameters
    ----------
    surface : DataFrame
        As in :func:`above_control`.

    Returns
    -------
    Figure
        The best rate of AdamW above, the best rate of each pair below; a column for each task.

    Raises
    ------
    ValueError
        As :func:`above_control` does.
    """
    table = pairs(surface)
    at = {"best lr of AdamW": "at_control", "best lr of each": "best"}
    return _maps({label: table[table[column]] for label, column in at.items()})


def finer(*surfaces: pd.DataFrame) -> Figure:
    """Draw the gap over retention and sync period at the best rate of each pair.

    Parameters
    ----------
    *surfaces : DataFrame
        Surfaces of one task each, as in :func:`above_control`.

    Returns
    -------
    Figure
        A column for each task.

    Raises
    ------
    ValueError
        As :func:`above_control` does.
    """
    tables = [pairs(surface) for surface in surfaces]
    return _maps({"best lr of each": pd.concat([table[table["best"]] for table in tables])})


def _maps(views: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the gap over retention and sync period, a row for each view, a column for each task.

    ``views`` maps a label to the rows of a surface at one rate for each retention and period.
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
    return _finished(fig, axs, next(iter(views.values())), image)


def ridge(surface: pd.DataFrame, sync_period: int = 5) -> Figure:
    """Draw the gap over retention and learning rate at one sync period.

    Parameters
    ----------
    surface : DataFrame
        As in :func:`above_control`.
    sync_period : int
        A sync period of the surface, by default 5.

    Returns
    -------
    Figure
        A line marks the rates of one lr times slow_step_size, that of the tuned rate of AdamW; a column for each task.

    Raises
    ------
    ValueError
        As :func:`above_control` does.
    """
    surface = above_control(surface)
    tasks = list(surface["task"].unique())
    fig, axs = plt.subplots(1, len(tasks), figsize=(PAGE, 2.8), sharey=True, squeeze=False)
    for ax, task in zip(axs[0], tasks, strict=True):
        task_rows = surface[surface["task"] == task]
        tuned = task_rows.loc[task_rows["at_control"], "lr"].iloc[0]
        cells = _cells(task_rows[task_rows["sync_period"] == sync_period], "lr")
        image = _image(ax, cells)
        rates = np.log10(cells.index.to_numpy())
        place = lambda lr, rates=rates: np.interp(np.log10(lr), rates, np.arange(len(rates)))  # noqa: E731
        at = np.linspace(0.05, 0.95, 31)
        line = tuned / (1 - at)
        ax.plot(at[line <= cells.index[-1]], place(line[line <= cells.index[-1]]), color="0.1", lw=1)
        shown = [0.001, 0.01, 0.1, 1]
        ax.set_yticks(place(shown), [f"{lr:g}" for lr in shown])
    axs[0, 0].set_ylabel("learning rate")
    return _finished(fig, axs, surface, image)


def _cells(rows: pd.DataFrame, index: str) -> pd.DataFrame:
    lookahead = rows[rows["retention"] > 0]
    return lookahead.pivot(index=index, columns="retention", values="gap")


def _image(ax: Axes, cells: pd.DataFrame) -> AxesImage:
    """Draw cells over retention, evenly spaced along the other axis; a dot marks a gap below 1 %.

    An image with one pixel per cell has a thousandth of the bytes of as many rectangles.
    """
    x = cells.columns.to_numpy()
    half = np.diff(x).mean() / 2
    norm, extent = TwoSlopeNorm(0, -LIMIT, LIMIT), (x[0] - half, x[-1] + half, -0.5, len(cells) - 0.5)
    look: dict[str, Any] = {"cmap": "vlag", "norm": norm, "interpolation": "none", "aspect": "auto", "origin": "lower"}
    image = ax.imshow(cells.to_numpy(), extent=extent, **look)
    i, j = np.nonzero(cells.to_numpy() < 1)
    dots = Path(np.repeat(np.c_[x[j], i], 2, axis=0), [Path.MOVETO, Path.LINETO] * len(i))
    ax.add_patch(PathPatch(dots, edgecolor="0.1", lw=2.4, capstyle="round"))
    return image


def _finished(fig: Figure, axs: np.ndarray, surface: pd.DataFrame, image: AxesImage) -> Figure:
    for ax, entry in zip(axs[0], surface.drop_duplicates("task")["entry"], strict=True):
        top = ax.secondary_xaxis("top", functions=(lambda x: 1 - x,) * 2)
        top.set_xticks([0.9, 0.5, 0.1])
        ax.set_title(entry, pad=20)
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
