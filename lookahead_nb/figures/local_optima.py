"""Figures of the notebook 09_local_optima, drawn from the runs of the claims C03, C06 and C17."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator, PercentFormatter

from lookahead_nb import statistics
from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, both_conventions, letter_panels, plain_ticks

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


def rates_by_retention(runs, law):
    """Draw the rates at which the shallower and the deeper basin are left against retention, with Kramers' law.

    runs : table of the claim C03. law : frame by well and retention, with ``deeper`` and ``shallower``.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 3.6), sharey=True)
    for ax, (well, title) in zip(axs, WELLS.items(), strict=True):
        for side, column in {"shallower": "rate_out_of_shallower", "deeper": "rate_out_of_deeper"}.items():
            fill = side == "shallower"
            lines = _by_retention(runs[runs["task"] == well], column)
            ax.plot(law.loc[well, side], color="0.6", lw=0.8, zorder=0, label="Kramers' law" if fill else None)
            for arm in NAMES:
                line = lines.loc[[arm]].droplevel("arm")
                line = line[line["mean"] >= RARE]
                look = _look(arm) | {"mfc": COLOURS[arm] if fill and arm != CONTROL else "white"}
                _line(ax, line, label=NAMES[arm] if fill else None, **look)
            x, y = (
                (0.66, 1.8 * law.loc[(well, 0.3), side]) if fill else (0.45, 0.45 * lines.loc[CONTROL].loc[0.5, "mean"])
            )
            ax.text(x, y, f"out of the {side} one", fontsize=6, ha="right", va="center")
        ax.set(yscale="log", xlim=(-0.05, 0.95), ylim=(RARE, 0.03))
        ax.text(0.97, 0.97, title, transform=ax.transAxes, ha="right", va="top")
        both_conventions(ax)
    axs[0].set_ylabel("rate at which a basin is left\n(per step)")
    fig.legend(*axs[1].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    letter_panels(axs)
    sns.despine(fig, top=False)
    return fig


def by_sync_period(runs):
    """Draw (a) the rate out of the shallower basin over that of the lower rate, (b) where runs end, against k.

    runs : table of the claim C06; k = 1 is the control, AdamW at lr x slow_step_size.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.9))
    looks = {("gentle", 0.7): ("o", ()), ("gentle", 0.8): ("s", (4, 1.5)), ("sharp", 0.7): ("^", ())}
    looks |= {("sharp", 0.8): ("D", (4, 1.5))}
    for (well, retention), (marker, dashes) in looks.items():
        here = runs[runs["task"] == well].set_index(["arm", "seed"])
        control = f"lower times={1 - retention:.1g}"
        arms = {1: control} | {k: f"lookahead retention={retention} sync_period={k}" for k in (5, 10, 20)}
        look = {"marker": marker, "dashes": dashes, "ms": 4, "color": "0.15" if well == "sharp" else "0.55"}
        look["label"] = f"{well}, retention {retention}"
        rates = {k: here.loc[arm, "rate_out_of_shallower"] for k, arm in arms.items()}
        _line(axs[0], pd.DataFrame({k: _ratio(rate, rates[1]) for k, rate in rates.items()}).T, **look)
        ends = {k: _mean(here.loc[arm, "ends_deeper"]) for k, arm in arms.items()}
        _line(axs[1], pd.DataFrame(ends).T, **look)
    for ax in axs:
        ax.axvspan(5, 10, color="0.93", zorder=0)
        ax.set(xscale="log", xlabel="sync period k")
        plain_ticks(ax.xaxis, [1, 5, 10, 20])
        ax.xaxis.set_minor_locator(NullLocator())
    axs[0].axhline(1, color="0.5", lw=0.8, zorder=0)
    axs[0].set(yscale="log", ylabel="rate out of the shallower basin\n(AdamW at lr × slow_step_size = 1)")
    plain_ticks(axs[0].yaxis, [1, 2, 5, 10, 20, 50])
    axs[1].set_ylabel("share that ends\nin the deeper basin")
    axs[1].yaxis.set_major_formatter(PercentFormatter(1, 0))
    axs[0].legend(loc="upper left")
    letter_panels(axs)
    sns.despine(fig)
    return fig


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
        both_conventions(ax)
        ax.set_xlabel("retention")
        ax.child_axes[0].set_xlabel("slow_step_size")
    for ax, network in zip(axs[1], NETWORKS, strict=True):
        here = by_period[by_period["task"] == network].assign(stuck=lambda frame: 1 - frame["reached"])
        here = here.set_index(["arm", "seed"])["stuck"]
        periods = {1: "lower times=0.2"} | {k: f"lookahead retention=0.8 sync_period={k}" for k in (5, 10, 20)}
        line = pd.DataFrame({k: _mean(here.loc[arm]) for k, arm in periods.items()}).T
        _line(ax, line.loc[5:], **_look("Lookahead"))
        _line(ax, line.loc[[1]], **_look(CONTROL))
        ax.axhline(here.loc["adamw"].mean(), color=COLOURS["AdamW"], lw=0.8, zorder=0)
        ax.axvspan(5, 10, color="0.93", zorder=0)
        ax.set(xscale="log", xlabel="sync period k, at retention 0.8")
        plain_ticks(ax.xaxis, [1, 5, 10, 20])
        ax.xaxis.set_minor_locator(NullLocator())
    for ax in axs[:, 0]:
        ax.set(ylabel="share of runs that get stuck", ylim=(0, None))
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    letter_panels(axs.flat)
    sns.despine(fig, top=False)
    for ax in axs[1]:
        ax.spines["top"].set_visible(False)
    return fig


def lookahead_and_controls(runs, tuning, depths):
    """Draw (a) the rate out of the shallower basin of each arm, (b) the loss at the end against the learning rate.

    runs, tuning : tables of the claim C17. depths : heights of the deeper and of the shallower minimum of the sharp
    well, the zero and the one of (b), which shows the best slow_step_size and k at each rate.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.9), width_ratios=[1, 1.5])
    places = {arm: i for i, arm in enumerate(NAMES)}
    for well, (offset, face) in {"gentle": (-0.12, "white"), "sharp": (0.12, None)}.items():
        for arm, name in ARMS.items():
            here = runs[(runs["task"] == well) & (runs["arm"] == arm)]
            line = pd.DataFrame({places[name] + offset: _mean(here.set_index("seed")["rate_out_of_shallower"])}).T
            look = {"color": COLOURS[name], "marker": MARKERS[name], "ms": 5, "ls": "none"}
            _line(axs[0], line, mfc=face or COLOURS[name], **look)
        axs[0].plot([], [], "o", color="0.3", mfc=face or "0.3", ms=5, label=WELLS[well])
    labels = ["Lookahead", "AdamW at\nlr × step", "averaging", "AdamW"]
    axs[0].set_xticks(range(len(labels)), labels, fontsize=6)
    axs[0].set(yscale="log", ylabel="rate out of the shallower basin\n(per step)", xlim=(-0.5, 3.5))
    axs[0].legend(loc="upper left")
    for arm, name in {"tuned adamw": "AdamW", "tuned averaging": "averaging", "tuned lookahead": "Lookahead"}.items():
        here = tuning[tuning["arm"] == arm]
        best = (here.groupby("lr")["loss"].min() - depths[0]) / (depths[1] - depths[0])
        look = _look(name) | {"marker": "", "label": NAMES[name]}
        axs[1].plot(best, **look)
        axs[1].plot(best.idxmin(), best.min(), MARKERS[name], color=COLOURS[name], ms=6)
    for depth, label in enumerate(("all in the deeper minimum", "all in the shallower one")):
        axs[1].axhline(depth, color="0.6", lw=0.6, zorder=0)
        axs[1].text(1, depth + 0.02, label, fontsize=6, ha="right", color="0.3")
    axs[1].set(xscale="log", xlabel="learning rate", ylabel="loss at the end\n(between the minima)", ylim=(-0.1, 2))
    plain_ticks(axs[1].xaxis, [0.03, 0.1, 0.3, 1])
    axs[1].legend(loc="upper left")
    letter_panels(axs)
    sns.despine(fig)
    return fig


def _turning(profile):
    """The positions of the minima and of the ridge between them."""
    slope = np.sign(np.diff(profile.to_numpy()))
    return profile.index[1:-1][slope[1:] != slope[:-1]]


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
