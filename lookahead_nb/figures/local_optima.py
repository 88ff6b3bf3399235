"""Figures of the notebook 09_local_optima, drawn from the runs of the claims C03, C06 and C17."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator, PercentFormatter

from lookahead_nb import statistics
from lookahead_nb.figures import COLOURS, COLUMN, DASHES, MARKERS, PAGE, both_conventions, letter_panels, plain_ticks

CONTROL = "AdamW at lr x step"
ARMS = {"lookahead": "Lookahead", "lower": CONTROL, "averaging": "averaging", "adamw": "AdamW"}
NAMES = {
    "Lookahead": "Lookahead",
    CONTROL: "AdamW at lr × slow_step_size",
    "averaging": "averaging, without pull-back",
    "AdamW": "AdamW",
}
WELLS = {"gentle": "gentle basins", "sharp": "sharp basins"}
NETWORKS = {"xor_relu": "ReLU units", "xor_sigmoid": "sigmoid units", "xor_tanh": "tanh units"}
RARE = 3e-6  # a rate per step at which one replica in a hundred crosses within a run


def paths(paths, profile):
    """Draw the height of the basins beside the positions of a few replicas over the steps, a panel for each arm.

    paths : table with ``arm``, ``step`` and a column of positions for each replica. profile : series of the height by
    position.
    """
    fig, axs = plt.subplots(1, 4, figsize=(PAGE, 2.5), sharey=True, width_ratios=[1, 2, 2, 2])
    axs[0].plot(profile, profile.index, color="0.1")
    axs[0].set(xlabel="height", ylabel="position", ylim=(profile.index.min(), profile.index.max()))
    for ax, (arm, places) in zip(axs[1:], paths.groupby("arm", sort=False), strict=True):
        places = places.set_index("step").drop(columns="arm")
        shades = sns.light_palette(COLOURS[ARMS[arm]], places.shape[1] + 2)[2:]
        for (_, place), shade in zip(places.items(), shades, strict=True):
            ax.plot(place, color=shade, lw=0.6)
        ax.set(xlabel="steps", title="AdamW, lower rate" if arm == "lower" else NAMES[ARMS[arm]])
    for ax in axs:
        for place in _turning(profile):
            ax.axhline(place, color="0.6", lw=0.6, zorder=0)
    letter_panels(axs)
    sns.despine(fig)
    return fig


def rates(by_retention, by_period, law):
    """Draw how fast basins are left, against retention (above) and k (below), and where runs end against k.

    by_retention, by_period : tables of the claims C03 and C06. law : frame of Kramers' rates by well and retention,
    with ``deeper`` and ``shallower``.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 6.0))
    for ax, (well, title) in zip(axs[0], WELLS.items(), strict=True):
        _rates_by_retention(ax, by_retention[by_retention["task"] == well], law.loc[well])
        ax.text(0.97, 0.97, title, transform=ax.transAxes, ha="right", va="top")
    axs[0, 0].set_ylabel("rate at which a basin is left\n(per step)")
    _by_period(axs[1, 0], axs[1, 1], by_period)
    axs[0, 1].legend(loc="lower left", fontsize=6)
    letter_panels(axs.flat)
    sns.despine(fig, top=False)
    for ax in axs[1]:
        ax.spines["top"].set_visible(False)
    return fig


def _rates_by_retention(ax, runs, law):
    for side, column in {"shallower": "rate_out_of_shallower", "deeper": "rate_out_of_deeper"}.items():
        fill, lines = side == "shallower", _by_retention(runs, column)
        ax.plot(law[side], color="0.6", lw=0.8, zorder=0, label="Kramers' law" if fill else None)
        for arm in NAMES:
            line = lines.loc[[arm]].droplevel("arm")
            look = _look(arm) | {"mfc": COLOURS[arm] if fill and arm != CONTROL else "white"}
            _line(ax, line[line["mean"] >= RARE], label=NAMES[arm] if fill else None, **look)
        x, y = (0.66, 1.8 * law.loc[0.3, side]) if fill else (0.45, 0.45 * lines.loc[CONTROL].loc[0.5, "mean"])
        ax.text(x, y, f"out of the {side} one", fontsize=6, ha="right", va="center")
    ax.set(yscale="log", xlim=(-0.05, 0.95), ylim=(RARE, 0.03))
    ax.yaxis.set_minor_locator(NullLocator())
    _retentions(ax)


def _by_period(left, right, runs):
    looks = {("gentle", 0.7): ("o", ()), ("gentle", 0.8): ("s", (4, 1.5)), ("sharp", 0.7): ("^", ())}
    looks |= {("sharp", 0.8): ("D", (4, 1.5))}
    for (well, retention), (marker, dashes) in looks.items():
        here = runs[runs["task"] == well].set_index(["arm", "seed"])
        control = f"lower times={1 - retention:.1g}"
        arms = {1: control} | {k: f"lookahead retention={retention} sync_period={k}" for k in (5, 10, 20)}
        look = {"marker": marker, "dashes": dashes, "ms": 4, "color": "0.15" if well == "sharp" else "0.55"}
        look["label"] = f"{well}, retention {retention}"
        rates = {k: here.loc[arm, "rate_out_of_shallower"] for k, arm in arms.items()}
        _line(left, pd.DataFrame({k: _ratio(rate, rates[1]) for k, rate in rates.items()}).T, **look)
        ends = {k: _mean(here.loc[arm, "ends_deeper"]) for k, arm in arms.items()}
        _line(right, pd.DataFrame(ends).T, **look)
    for ax in (left, right):
        _periods(ax, "sync period k")
    left.axhline(1, color="0.5", lw=0.8, zorder=0)
    left.set(yscale="log", ylabel="rate out of the shallower basin\n(AdamW at lr × slow_step_size = 1)")
    plain_ticks(left.yaxis, [1, 2, 5, 10, 20, 50])
    left.yaxis.set_minor_locator(NullLocator())
    right.set_ylabel("share that ends\nin the deeper basin")
    right.yaxis.set_major_formatter(PercentFormatter(1, 0))
    left.legend(loc="upper left")


def stuck(by_retention, by_period):
    """Draw the share of networks that get stuck, for each kind of unit, against retention (above) and k (below).

    by_retention, by_period : tables of the claims C03 and C06.
    """
    fig, axs = plt.subplots(2, 3, figsize=(PAGE, 4.8), sharey=True)
    for ax, (network, title) in zip(axs[0], NETWORKS.items(), strict=True):
        lines = _by_retention(by_retention[by_retention["task"] == network], "stuck")
        for arm in NAMES:
            _line(ax, lines.loc[[arm]].droplevel("arm"), label=NAMES[arm], **_look(arm))
        ax.set(xlim=(-0.05, 0.95))
        ax.text(0.5, 0.97, title, transform=ax.transAxes, ha="center", va="top")
        _retentions(ax)
    for ax, network in zip(axs[1], NETWORKS, strict=True):
        here = by_period[by_period["task"] == network].assign(stuck=lambda frame: 1 - frame["reached"])
        here = here.set_index(["arm", "seed"])["stuck"]
        periods = {1: "lower times=0.2"} | {k: f"lookahead retention=0.8 sync_period={k}" for k in (5, 10, 20)}
        line = pd.DataFrame({k: _mean(here.loc[arm]) for k, arm in periods.items()}).T
        _line(ax, line.loc[5:], **_look("Lookahead"))
        _line(ax, line.loc[[1]], **_look(CONTROL))
        ax.axhline(here.loc["adamw"].mean(), color=COLOURS["AdamW"], lw=0.8, zorder=0)
        _periods(ax, "sync period k, at retention 0.8")
    for ax in axs[:, 0]:
        ax.set(ylabel="share of runs that get stuck", ylim=(0, None), yticks=[0, 0.2, 0.4, 0.6])
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    letter_panels(axs.flat)
    sns.despine(fig, top=False)
    for ax in axs[1]:
        ax.spines["top"].set_visible(False)
    return fig


def tuned(tuning, depths):
    """Draw the loss after the last step against the learning rate, at the best slow_step_size and k of each rate.

    tuning : table of the claim C17. depths : heights of the deeper and of the shallower minimum, zero and one here.
    """
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    for arm, name in {"tuned adamw": "AdamW", "tuned averaging": "averaging", "tuned lookahead": "Lookahead"}.items():
        here = tuning[tuning["arm"] == arm]
        best = (here.groupby("lr")["loss"].min() - depths[0]) / (depths[1] - depths[0])
        ax.plot(best, **_look(name) | {"marker": "", "label": NAMES[name]})
        ax.plot(best.idxmin(), best.min(), MARKERS[name], color=COLOURS[name], ms=6)
    for depth, label in enumerate(("deeper minimum", "shallower minimum")):
        ax.axhline(depth, color="0.6", lw=0.6, zorder=0)
        ax.text(1, depth - 0.03, label, fontsize=6, ha="right", va="top", color="0.3")
    ax.set(
        xscale="log", xlabel="learning rate", ylabel="loss after the last step\n(between the minima)", ylim=(-0.2, 2)
    )
    plain_ticks(ax.xaxis, [0.03, 0.1, 0.3, 1])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(loc="upper left")
    sns.despine(fig)
    return fig


def _turning(profile):
    """The positions of the minima and of the ridge between them."""
    slope = np.sign(np.diff(profile.to_numpy()))
    return profile.index[1:-1][slope[1:] != slope[:-1]]


def _retentions(ax):
    """Make the x axis that of retention below and of slow_step_size above, in few words and ticks."""
    both_conventions(ax)
    ax.set(xlabel="retention", xticks=[0, 0.5, 0.9])
    ax.child_axes[0].set(xlabel="slow_step_size", xticks=[1, 0.5, 0.1])


def _periods(ax, label):
    """Make the x axis that of the sync period, the article's range shaded."""
    ax.axvspan(5, 10, color="0.93", zorder=-1)
    ax.set(xscale="log", xlabel=label)
    plain_ticks(ax.xaxis, [1, 5, 10, 20])
    ax.xaxis.set_minor_locator(NullLocator())


def _by_retention(runs, column):
    """Means over the seeds of the arms of C03, with t intervals, by arm and retention; AdamW is retention 0."""
    runs = runs.assign(stuck=1 - runs["reached"])
    found = {
        (ARMS[arm.split(" ")[0]], _retention(arm)): _mean(each.set_index("seed")[column])
        for arm, each in runs.groupby("arm")
    }
    return pd.DataFrame(found).T.rename_axis(["arm", "retention"]).sort_index()


def _retention(arm):
    kind, _, setting = arm.partition(" ")
    value = float(setting.partition("=")[2] or 0)
    return {"lookahead": value, "lower": round(1 - value, 10), "averaging": 0.7, "adamw": 0.0}[kind]


def _mean(values):
    """The mean over the seeds with its t interval."""
    estimate = statistics.student(pd.concat({"": values}, names=["task", "seed"]))
    return pd.Series(estimate, ["mean", "low", "high"])


def _ratio(values, reference):
    """The ratio of two means over the same seeds with its t interval, to first order in their errors."""
    ratio = values.mean() / reference.mean()
    return _mean((values - ratio * reference) / reference.mean() + ratio)


def _look(arm):
    """Return colour, dash and marker of an arm; the control is hollow, since it often lies on top of Lookahead."""
    face = "none" if arm == CONTROL else COLOURS[arm]
    size = {"AdamW": 4, "Lookahead": 3.5, CONTROL: 6.5, "averaging": 4.5}[arm]
    return {"color": COLOURS[arm], "dashes": DASHES[arm], "marker": MARKERS[arm], "ms": size, "mfc": face}


def _line(ax, line, **look):
    """Draw means and their intervals over the index."""
    ax.plot(line["mean"], **look)
    away = [line["mean"] - line["low"], line["high"] - line["mean"]]
    ax.errorbar(line.index, line["mean"], away, fmt="none", ecolor=look["color"], elinewidth=0.8)
