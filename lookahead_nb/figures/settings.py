"""Figures of the notebook 04_settings: loss and best learning rate over slow_step_size and sync_period."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.figures import COLUMN, PAGE
from lookahead_nb.figures.parts import finished, only_ticks

REGIMES = {"step-limited": ("#0072b2", "o"), "saturated": ("0.45", "D")}  # colour and marker
DARKEST = 10.0  # % of the gap: the end of the colours


def at_best_rates(rows: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the benefit of Lookahead over AdamW for each task and pair of settings, both at their best rates.

    Parameters
    ----------
    rows : DataFrame
        Of ``sweep``: AdamW and Lookahead around it at several learning rates.
    tasks : DataFrame
        Indexed by the name of the task, with ``regime``, ``steps`` and ``chance``, the loss of guessing.

    Returns
    -------
    DataFrame
        ``regime``, ``name`` (of the task), ``slow_step_size`` and ``sync_period``; ``lr``, the one with the lowest mean
        validation loss of the slow weights at the last step, and its ``ratio`` to that of AdamW; ``benefit``, in % of
        the gap between guessing and AdamW's test loss; ``lag``, sync_period / slow_step_size as a share of the steps.
    """
    alone = rows["sync_period"].isna()
    used = rows[alone | (rows["weights"] == "slow")].fillna({"slow_step_size": 1.0, "sync_period": 0})
    pair = ["task", "slow_step_size", "sync_period"]
    last = used.groupby([*pair, "lr", "seed"])[["validation_loss", "test_loss"]].last()
    means = last.groupby([*pair, "lr"]).mean()
    best = means.loc[means.groupby(pair)["validation_loss"].idxmin()].reset_index()
    adamw = best[best["sync_period"] == 0].set_index("task")[["lr", "test_loss"]].add_prefix("adamw_")
    table = best[best["sync_period"] > 0].join(adamw, on="task").join(tasks, on="task")
    gain = table["adamw_test_loss"] - table["test_loss"]
    table["benefit"] = 100 * gain / (table["chance"] - table["adamw_test_loss"])
    table["ratio"] = table["lr"] / table["adamw_lr"]
    table["lag"] = table["sync_period"] / table["slow_step_size"] / table["steps"]
    columns = ["regime", *pair, "lr", "ratio", "benefit", "lag"]
    return table[columns].sort_values(["regime", *pair], ignore_index=True).rename(columns={"task": "name"})


def surface(table: pd.DataFrame) -> Figure:
    """Draw the benefit over AdamW for each pair of settings, and for all pairs and tasks against the lag.

    Parameters
    ----------
    table : DataFrame
        A row for each task and pair: ``regime`` ("step-limited" or "saturated"), ``slow_step_size``, ``sync_period``,
        ``benefit`` (in % of the gap) and ``lag`` (sync_period / slow_step_size, as a share of the steps).

    Returns
    -------
    Figure
        A map of means over tasks for each regime, with its numbers, and a panel with a point for each task and pair,
        whose benefits are linear within 1 % and logarithmic beyond.
    """
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 2.5), width_ratios=[1, 1, 1.3])
    for ax, regime in zip(axs, REGIMES, strict=False):
        _map(ax, table[table["regime"] == regime], regime)
    axs[0].set_ylabel("slow_step_size")
    for regime, (colour, marker) in REGIMES.items():
        own = table[table["regime"] == regime]
        axs[2].plot(own["lag"], own["benefit"], marker, ms=2.5, color=colour, mew=0, label=regime)
    axs[2].axhline(0, color="0.5", lw=0.8, zorder=0)
    axs[2].set(xlabel="sync_period / slow_step_size,\nas a share of the steps", ylabel="benefit, % of the gap")
    axs[2].set_xscale("log")
    axs[2].set_yscale("symlog", linthresh=1)
    only_ticks(axs[2].xaxis, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])
    only_ticks(axs[2].yaxis, [-30, -10, -3, -1, 0, 1, 3, 10])
    axs[2].legend(loc="lower left", frameon=False, handletextpad=0.2)
    return finished(fig, axs)


def _map(ax: Axes, own: pd.DataFrame, regime: str) -> None:
    means = own.pivot_table(index="slow_step_size", columns="sync_period", values="benefit")
    ax.imshow(means, cmap="RdBu", vmin=-DARKEST, vmax=DARKEST, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(means.to_numpy()):
        shade = "white" if abs(value) > 0.7 * DARKEST else "black"
        ax.text(column, row, _signed(value), ha="center", va="center", fontsize=7, color=shade)
    ax.set_xticks(range(means.shape[1]), [f"{period:g}" for period in means.columns])
    ax.set_yticks(range(means.shape[0]), [f"{size:g}" for size in means.index])
    ax.set(xlabel="sync_period", title=regime)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−") if abs(value) >= 0.05 else "0.0"


def rates(table: pd.DataFrame) -> Figure:
    """Draw the best learning rate of Lookahead over that of AdamW against slow_step_size.

    Parameters
    ----------
    table : DataFrame
        A row for each task and pair: ``regime``, ``slow_step_size``, ``sync_period`` and ``ratio`` of the rates.

    Returns
    -------
    Figure
        A point for each task and pair, shifted by the period, and the line ratio = 1 / slow_step_size.
    """
    fig, ax = plt.subplots(figsize=(1.25 * COLUMN, 2.8))
    sizes = np.sort(table["slow_step_size"].unique())
    place = {period: 0.04 * (n - 1.5) for n, period in enumerate(np.sort(table["sync_period"].unique()))}
    ax.plot(sizes, 1 / sizes, color="0.2", lw=1, label="1 / slow_step_size")
    for sign, dashes in ((2, (4, 2)), (0.5, (4, 2))):
        ax.plot(sizes, sign / sizes, color="0.6", lw=0.8, dashes=dashes)
    for shift, (regime, (colour, marker)) in zip((0.01, -0.01), REGIMES.items(), strict=True):
        own = table[table["regime"] == regime]
        across = own["slow_step_size"] * np.exp(own["sync_period"].map(place) + shift)
        ax.plot(across, own["ratio"], marker, ms=2.5, color=colour, alpha=0.8, mew=0, label=regime)
    ax.set(xscale="log", yscale="log", xlabel="slow_step_size", ylabel="best rate, as a multiple of AdamW's")
    only_ticks(ax.xaxis, sizes.tolist())
    only_ticks(ax.yaxis, [0.5, 1, 2, 5, 10, 20, 30])
    ax.legend(loc="upper right", frameon=False)
    return finished(fig, [])
