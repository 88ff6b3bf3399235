"""Figures of the notebook 14_other_peoples_numbers: published numbers and ours on one axis."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import Look, finished, no_minor_ticks, only_ticks

PUBLISHED = Look("published", "0.15", "o", hollow=True, size=5.5)
REPEATED = Look("ours, order repeated", "#0173B2", ".", size=5)
SHUFFLED = Look("ours, shuffled again", "#DE8F05", "^", size=3)
READINGS = {"repeated": Look("Algorithm 1", "#DE8F05"), "sync for a step": Look("a sync in place of a step", "#0173B2")}
LOOKS = {"published": PUBLISHED, "repeated": REPEATED, "shuffled": SHUFFLED}
RATES = [1e-5, 1e-3, 0.1, 10]
LOSSES = [87, 100, 150, 200, 300]
HIGHEST = 480  # of the losses that are drawn


def curves(losses: pd.DataFrame) -> Figure:
    """Draw the test loss after training over the learning rate.

    Parameters
    ----------
    losses : DataFrame
        The columns ``optimizer``, ``lr``, ``order``, a key of ``LOOKS``, ``test_loss`` and ``minimum``, the test loss
        of the minimum on the training rows. Neither NaN nor a loss above ``HIGHEST`` is drawn.

    Returns
    -------
    Figure
        A panel for each optimizer, in the order of the rows.
    """
    names = losses["optimizer"].unique()
    fig, axs = plt.subplots(1, len(names), figsize=(PAGE, 2.6), sharex=True, sharey=True)
    for ax, name in zip(axs, names, strict=True):
        ax.axhline(losses["minimum"].iloc[0], color="0.7", lw=0.8, zorder=0)
        for order, look in LOOKS.items():
            rows = losses[(losses["optimizer"] == name) & (losses["order"] == order)].dropna().sort_values("lr")
            joined = {"lw": 0} if order == "published" else {"lw": 0.8}
            ax.plot(rows["lr"], rows["test_loss"], label=look.label, **look.line | joined)
        ax.set(xscale="log", yscale="log", xlabel="learning rate", ylim=(85.5, HIGHEST))
        ax.set_title(name, fontsize=8)
        only_ticks(ax.yaxis, LOSSES)
        ax.set_xticks(RATES)
    no_minor_ticks(axs)
    axs[0].set_ylabel("test loss after 100 epochs")
    axs[0].legend(loc="upper right", frameon=False)
    return finished(fig, axs)


def orders(minibatches: pd.DataFrame, losses: pd.DataFrame) -> Figure:
    """Draw the published losses of the last two epochs' minibatches, and test losses by the order of minibatches.

    Parameters
    ----------
    minibatches : DataFrame
        The columns ``step``, of two epochs, and ``test_loss``, which holds the loss of a minibatch.
    losses : DataFrame
        A row for each run: ``optimizer``, ``order``, a key of ``LOOKS``, ``test_loss`` and ``minimum``, as in
        :func:`curves`.

    Returns
    -------
    Figure
        Losses by their place in the epoch on the left, a dot for every run on the right.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.6), width_ratios=(1, 1.6))
    per_epoch = len(minibatches) // 2
    values, place = minibatches.sort_values("step")["test_loss"].to_numpy(), range(1, per_epoch + 1)
    axs[0].plot(place, values[:per_epoch], "o", ms=7, mfc="none", color="0.15", label="last epoch but one")
    axs[0].plot(place, values[per_epoch:], "x", ms=4, color="#D55E00", label="last epoch")
    axs[0].set(xlabel="minibatch of the epoch", ylabel="published minibatch loss", xticks=place, ylim=(None, 95))
    axs[0].legend(loc="upper left", frameon=False)
    names = [*losses["optimizer"].unique()]
    losses = losses.assign(above=losses["test_loss"] - losses["minimum"])
    for i, (order, look) in enumerate(LOOKS.items()):
        rows = losses[losses["order"] == order]
        for name, own in rows.groupby("optimizer"):
            middle = names.index(name) + 0.26 * (i - 1)
            spread = [middle + 0.014 * (n - (len(own) - 1) / 2) for n in range(len(own))]
            axs[1].plot(spread, own["above"], ls="none", **look.points)
            mean = own["above"].mean()
            axs[1].plot([middle - 0.1, middle + 0.1], [mean, mean], color=look.colour, lw=1)
        axs[1].plot([], [], ls="none", label=look.label, **look.points)
    axs[1].axhline(0, color="0.7", lw=0.8, zorder=0)
    axs[1].set_yscale("symlog", linthresh=0.1, linscale=0.6)
    axs[1].set(xticks=range(len(names)), xticklabels=names, ylabel="test loss above the minimum's", ylim=(-0.1, 12))
    only_ticks(axs[1].yaxis, [-0.1, 0, 0.1, 1, 10])
    axs[1].legend(loc="upper left", frameon=False)
    return finished(fig, axs)


def lookahead(losses: pd.DataFrame, starts: pd.DataFrame) -> Figure:
    """Draw a published curve of Lookahead over ours, and the losses at which published runs start.

    Parameters
    ----------
    losses : DataFrame
        The columns ``order``, "published" or a key of ``READINGS``, ``seed``, ``epoch`` and ``test_loss``.
    starts : DataFrame
        A row for each draw of the problem: ``draw``, ``test_loss`` before the first step, and ``published``, NaN where
        nothing was read.

    Returns
    -------
    Figure
        Curves on the left, losses by draw on the right.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.6))
    for order, look in READINGS.items():
        ours = losses[losses["order"] == order]
        for i, (_, own) in enumerate(ours.groupby("seed")):
            label = look.label if i == 0 else None
            axs[0].plot(own["epoch"], own["test_loss"], color=look.colour, lw=0.6, alpha=0.6, label=label)
    theirs = losses[losses["order"] == "published"]
    axs[0].plot(theirs["epoch"], theirs["test_loss"], label="published, seed 42", **PUBLISHED.line)
    axs[0].set(xlabel="epoch", ylabel="test loss", yscale="log", xticks=range(2, 13, 2))
    only_ticks(axs[0].yaxis, [90, 100, 110, 120, 130, 140, 150])
    axs[0].legend(loc="upper right", frameon=False)
    axs[1].plot(
        starts["draw"] + 1, starts["test_loss"], label="the problem as drawn again", ls="none", **REPEATED.points
    )
    axs[1].plot(starts["draw"] + 1, starts["published"], label="published starts", ls="none", **PUBLISHED.points)
    axs[1].axhline(starts["test_loss"].iloc[0], color="0.7", lw=0.8, zorder=0)
    axs[1].set(xlabel="run of the process", ylabel="test loss before the first step", xticks=starts["draw"] + 1)
    axs[1].legend(loc="upper left", frameon=False)
    axs[1].set_ylim(180, 560)
    return finished(fig, axs)
