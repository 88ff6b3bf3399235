"""Figures of the notebook 09_local_optima, from the runs of the claims C03, C06 and C17."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from lookahead_nb import claims
from lookahead_nb.claims import statistics
from lookahead_nb.figures import COLUMN, PAGE, both_conventions
from lookahead_nb.figures.parts import CONTROL, KINDS, Look, at_one, finished, line, only_ticks, periods
from lookahead_nb.theory import escapes

PERIODS = [1, 5, 10, 20]
ARMS = {"adamw": "AdamW", "lookahead": "Lookahead", "lower": CONTROL}  # kinds by arm of the paths
WELLS = {"gentle": "gentle basins", "sharp": "sharp basins"}
NETWORKS = {"xor_relu": "ReLU units", "xor_sigmoid": "sigmoid units", "xor_tanh": "tanh units"}
RARE = 3e-6  # a rate per step at which one replica in a hundred crosses within a run


def wells() -> dict[str, Any]:
    """Return the two wells of the register.

    Returns
    -------
    dict
        The wells "gentle" and "sharp".
    """
    register: Any = claims.read()
    return {name: register["C17"].problems[name] for name in WELLS}


def paths(paths: pd.DataFrame) -> Figure:
    """Draw the positions of a few replicas over the steps, next to the height of the basins.

    Parameters
    ----------
    paths : DataFrame
        The columns ``arm`` and ``step``, and one column of positions on the sharp well for each replica.

    Returns
    -------
    Figure
        The height on the left, then one panel for each arm.
    """
    x = np.linspace(-1.7, 1.7, 341)
    profile = pd.Series(wells()["sharp"].model.heights(x[:, None]), x)
    fig, axs = plt.subplots(1, 4, figsize=(PAGE, 2.5), sharey=True, width_ratios=[1, 2, 2, 2])
    axs[0].plot(profile, profile.index, color="0.1")
    axs[0].set(xlabel="height", ylabel="position", ylim=(profile.index.min(), profile.index.max()))
    for ax, (arm, places) in zip(axs[1:], paths.groupby("arm", sort=False), strict=True):
        places = places.set_index("step").drop(columns="arm")
        look = KINDS[ARMS[arm]]
        shades = sns.light_palette(look.colour, places.shape[1] + 2)[2:]
        for (_, place), shade in zip(places.items(), shades, strict=True):
            ax.plot(place, color=shade, lw=0.6)
        ax.set(xlabel="steps", title="AdamW, lower rate" if arm == "lower" else look.label)
    for ax in axs:
        for place in _turning(profile):
            ax.axhline(place, color="0.6", lw=0.6, zorder=0)
    return finished(fig, axs)


def rates(by_retention: pd.DataFrame, by_period: pd.DataFrame) -> Figure:
    """Draw the escape rates out of basins against retention and k, and where runs end.

    Parameters
    ----------
    by_retention : DataFrame
        The table of the claim C03.
    by_period : DataFrame
        The table of the claim C06.

    Returns
    -------
    Figure
        Retention in the upper panels, k in the lower ones.
    """
    law = _law()
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 6.0))
    for ax, (well, title) in zip(axs[0], WELLS.items(), strict=True):
        _rates_by_retention(ax, by_retention[by_retention["task"] == well], law.loc[well])
        ax.text(0.97, 0.97, title, transform=ax.transAxes, ha="right", va="top")
    axs[0, 0].set_ylabel("rate at which a basin is left\n(per step)")
    _by_period(axs[1, 0], axs[1, 1], by_period)
    axs[0, 1].legend(loc="lower left", fontsize=6)
    finished(fig, axs.flat, top=False)
    for ax in axs[1]:
        ax.spines["top"].set_visible(False)
    return fig


def _law() -> pd.DataFrame:
    """Return Kramers' rates at the learning rate times slow_step_size, by well and retention, of both basins."""
    rates_by_well = {
        (well, retention): escapes.kramers_rates(problem.model, problem.fields["lr"] * (1 - retention))
        for well, problem in wells().items()
        for retention in np.arange(0, 91, 2) / 100
    }
    return pd.DataFrame(rates_by_well, ["deeper", "shallower"]).T


def _rates_by_retention(ax: Axes, runs: pd.DataFrame, law: pd.DataFrame) -> None:
    for side, column in {"shallower": "rate_out_of_shallower", "deeper": "rate_out_of_deeper"}.items():
        fill, lines = side == "shallower", _by_retention(runs, column)
        ax.plot(law[side], color="0.6", lw=0.8, zorder=0, label="Kramers' law" if fill else None)
        for kind, look in KINDS.items():
            means = lines.loc[[kind]].droplevel("kind")
            drawn = look.line | {"mfc": look.colour if fill and not look.hollow else "white"}
            line(ax, means[means["mean"] >= RARE], label=look.label if fill else None, **drawn)
        x, y = (0.66, 1.8 * law.loc[0.3, side]) if fill else (0.45, 0.45 * lines.loc[CONTROL].loc[0.5, "mean"])
        ax.text(x, y, f"out of the {side} one", fontsize=6, ha="right", va="center")
    ax.set(yscale="log", xlim=(-0.05, 0.95), ylim=(RARE, 0.03))
    ax.yaxis.set_minor_locator(NullLocator())
    _retentions(ax)


def _by_period(left: Axes, right: Axes, runs: pd.DataFrame) -> None:
    looks = {
        ("gentle", 0.7): Look("gentle, retention 0.7", "0.55", "o"),
        ("gentle", 0.8): Look("gentle, retention 0.8", "0.55", "s", (4, 1.5)),
        ("sharp", 0.7): Look("sharp, retention 0.7", "0.15", "^"),
        ("sharp", 0.8): Look("sharp, retention 0.8", "0.15", "D", (4, 1.5)),
    }
    for (well, retention), look in looks.items():
        arms = _by_sync_period(runs[runs["task"] == well], retention)
        drawn = look.line | {"label": look.label}
        rates = {k: arm["rate_out_of_shallower"] for k, arm in arms.items()}
        line(left, pd.DataFrame({k: _ratio(rate, rates[1]) for k, rate in rates.items()}).T, **drawn)
        ends = {k: _mean(arm["ends_deeper"]) for k, arm in arms.items()}
        line(right, pd.DataFrame(ends).T, **drawn)
    for ax in (left, right):
        periods(ax, PERIODS, "sync period k", zorder=-1)
    at_one(left)
    left.set(yscale="log", ylabel="rate out of the shallower basin\n(AdamW at lr × slow_step_size = 1)")
    only_ticks(left.yaxis, [1, 2, 5, 10, 20, 50])
    right.set_ylabel("share that ends\nin the deeper basin")
    right.yaxis.set_major_formatter(PercentFormatter(1, 0))
    left.legend(loc="upper left")


def stuck(by_retention: pd.DataFrame, by_period: pd.DataFrame) -> Figure:
    """Draw the share of networks that get stuck, for each kind of unit.

    Parameters
    ----------
    by_retention : DataFrame
        The table of the claim C03.
    by_period : DataFrame
        The table of the claim C06.

    Returns
    -------
    Figure
        Retention in the upper panels, k in the lower ones.
    """
    fig, axs = plt.subplots(2, 3, figsize=(PAGE, 4.8), sharey=True)
    for ax, (network, title) in zip(axs[0], NETWORKS.items(), strict=True):
        lines = _by_retention(by_retention[by_retention["task"] == network], "stuck")
        for kind, look in KINDS.items():
            line(ax, lines.loc[[kind]].droplevel("kind"), label=look.label, **look.line)
        ax.set(xlim=(-0.05, 0.95))
        ax.text(0.5, 0.97, title, transform=ax.transAxes, ha="center", va="top")
        _retentions(ax)
    for ax, network in zip(axs[1], NETWORKS, strict=True):
        network_runs = by_period[by_period["task"] == network].assign(stuck=lambda frame: 1 - frame["reached"])
        shares = {k: _mean(arm["stuck"]) for k, arm in _by_sync_period(network_runs, 0.8).items()}
        means = pd.DataFrame(shares).T
        line(ax, means.loc[5:], **KINDS["Lookahead"].line)
        line(ax, means.loc[[1]], **KINDS[CONTROL].line)
        alone = network_runs.loc[network_runs["kind"] == "AdamW", "stuck"].mean()
        ax.axhline(alone, color=KINDS["AdamW"].colour, lw=0.8, zorder=0)
        periods(ax, PERIODS, "sync period k, at retention 0.8", zorder=-1)
    for ax in axs[:, 0]:
        ax.set(ylabel="share of runs that get stuck", ylim=(0, None), yticks=[0, 0.2, 0.4, 0.6])
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    finished(fig, axs.flat, top=False)
    for ax in axs[1]:
        ax.spines["top"].set_visible(False)
    return fig


def tuned(tuning: pd.DataFrame) -> Figure:
    """Draw the loss after the last step against the learning rate.

    Parameters
    ----------
    tuning : DataFrame
        The table of the claim C17.

    Returns
    -------
    Figure
        Each rate has its best slow_step_size and k. The height of the deeper minimum is
        0, that of the shallower minimum is 1.
    """
    model = wells()["sharp"].model
    depths = model.heights(np.array(model.minima)[:, None])
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    for arm, name in {"tuned adamw": "AdamW", "tuned averaging": "averaging", "tuned lookahead": "Lookahead"}.items():
        arm_runs = tuning[tuning["arm"] == arm]
        best = (arm_runs.groupby("lr")["loss"].min() - depths[0]) / (depths[1] - depths[0])
        look = KINDS[name]
        ax.plot(best, **look.line | {"marker": "", "label": look.label})
        ax.plot(best.idxmin(), best.min(), look.marker, color=look.colour, ms=6)
    for depth, label in enumerate(("deeper minimum", "shallower minimum")):
        ax.axhline(depth, color="0.6", lw=0.6, zorder=0)
        ax.text(1, depth - 0.03, label, fontsize=6, ha="right", va="top", color="0.3")
    ax.set(
        xscale="log", xlabel="learning rate", ylabel="loss after the last step\n(between the minima)", ylim=(-0.2, 2)
    )
    only_ticks(ax.xaxis, [0.03, 0.1, 0.3, 1])
    ax.legend(loc="upper left")
    sns.despine(fig)
    return fig


def _turning(profile: pd.Series) -> pd.Index:
    """Return the positions of the minima and of the ridge between them."""
    slope = np.sign(np.diff(profile.to_numpy()))
    return profile.index[1:-1][slope[1:] != slope[:-1]]


def _retentions(ax: Axes) -> None:
    """Put retention on the x axis below and slow_step_size above, with short labels and few ticks."""
    both_conventions(ax)
    ax.set(xlabel="retention", xticks=[0, 0.5, 0.9])
    ax.child_axes[0].set(xlabel="slow_step_size", xticks=[1, 0.5, 0.1])


def _by_retention(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return means over the seeds of the arms of C03, with t intervals, by kind and retention; AdamW is retention 0.

    A lower rate has the retention of the Lookahead that it controls.
    """
    runs = runs.assign(stuck=1 - runs["reached"])
    runs["retention"] = runs["retention"].fillna((1 - runs["times"]).round(10))
    means = {
        place: _mean(arm.set_index("seed")[column]) for place, arm in runs.groupby(["kind", "retention"], sort=False)
    }
    return pd.DataFrame(means).T.rename_axis(["kind", "retention"]).sort_index()


def _by_sync_period(runs: pd.DataFrame, retention: float) -> dict[int, pd.DataFrame]:
    """Return the runs, by seed, of the Lookaheads of a retention by sync period; period 1 is the lower rate."""
    selected = runs[np.isclose(runs["retention"].fillna(1 - runs["times"]), retention)]
    periods = selected["sync_period"].fillna(1).astype(int)
    compared = selected["kind"].isin(["Lookahead", CONTROL])
    return {k: arm.set_index("seed") for k, arm in selected[compared].groupby(periods[compared])}


def _mean(values: pd.Series) -> pd.Series:
    """Return the mean over the seeds with its t interval."""
    estimate = statistics.student(pd.concat({"": values}, names=["task", "seed"]))
    return pd.Series(estimate, ["mean", "low", "high"])


def _ratio(values: pd.Series, reference: pd.Series) -> pd.Series:
    """Return the ratio of two means over the same seeds with its t interval, to first order in their errors."""
    ratio = values.mean() / reference.mean()
    return _mean((values - ratio * reference) / reference.mean() + ratio)
