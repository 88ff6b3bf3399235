"""Figures of the notebooks 13_games and 13b_gan_on_a_ring."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, PAGE
from lookahead_nb.figures.parts import Look, finished, no_minor_ticks, only_ticks

DARK = "#7A4A00"  # a shade of Lookahead's colour
ARMS = {
    "descent": Look("descent", COLOURS["AdamW"], "D"),
    "lower rate": Look("descent, half the rate", COLOURS["AdamW at lr x step"], "s", (4, 1.5)),
    "average": Look("average of descent", COLOURS["averaging"], "^", (1, 1)),
    "Lookahead": Look("Lookahead", COLOURS["Lookahead"], "o"),
    "extragradient": Look("extragradient", "#029E73", "v", (6, 1, 1, 1)),
    "optimistic": Look("optimistic", "0.35", "P", (2, 1)),
    "alternating average": Look("alternating, average", COLOURS["averaging"], "^", (4, 1.5), hollow=True),
    "alternating Lookahead": Look("alternating Lookahead", DARK, "o", (4, 1.5), hollow=True),
}
GANS = {  # generators
    "Adam": Look("Adam", COLOURS["AdamW"], "D"),
    "average": Look("average", COLOURS["averaging"], "^", (1, 1)),
    "Lookahead": Look("Lookahead", COLOURS["Lookahead"], "o", (4, 1.5)),
}
SPIRALS = ("descent", "lower rate", "Lookahead")
PUBLISHED = {"GDA": "descent", "LA-GDA": "Lookahead", "ExtraGrad": "extragradient"}
PERIODS = {
    2: ("#F5C26B", (1, 1)),
    5: (COLOURS["Lookahead"], ()),
    10: ("#A86400", (4, 1.5)),
    31: ("#5C3700", (6, 1, 1, 1)),
}
STEPS = {0.01: ("0.1", ()), 0.1: (COLOURS["slow"], (4, 1.5)), 0.3: (COLOURS["averaging"], (1, 1))}


def rotation(paths: pd.DataFrame, distances: pd.DataFrame) -> Figure:
    """Draw the way of both players around the equilibrium, and their distance from it.

    Parameters
    ----------
    paths : DataFrame
        The columns ``arm``, ``step``, ``x`` and ``y``; arms are keys of ``ARMS``.
    distances : DataFrame
        The columns ``arm``, ``gradients``, ``first`` and ``second``, the distances of both players.

    Returns
    -------
    Figure
        The distance is on a logarithmic axis.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.9), width_ratios=(1, 1.55))
    for arm, path in paths.groupby("arm", sort=False):
        axs[0].plot(path["x"], path["y"], color=ARMS[arm].colour, dashes=ARMS[arm].dashes, lw=1)
        axs[0].plot(path["x"].iloc[-1], path["y"].iloc[-1], **ARMS[arm].points)
    axs[0].plot(0, 0, "+", color="0.1", ms=8, zorder=5)
    axs[0].set(xlabel="player 1", ylabel="player 2", aspect="equal")
    for arm, line in distances.groupby("arm", sort=False):
        distance = np.hypot(line["first"], line["second"])
        axs[1].plot(line["gradients"], distance, **ARMS[arm].line, markevery=0.13, label=ARMS[arm].label)
    axs[1].set(yscale="log", xlabel="gradients of both players", ylabel="distance from the equilibrium")
    axs[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    no_minor_ticks(axs)
    return finished(fig, axs)


def rule(least: pd.DataFrame, rates: pd.DataFrame) -> Figure:
    """Draw the least retention that converges over the sync period, and the rate over the retention.

    Parameters
    ----------
    least : DataFrame
        The columns ``g``, ``sync_period`` and ``retention``; values of g are keys of ``STEPS``.
    rates : DataFrame
        The columns ``sync_period``, ``retention``, and, as logarithms per gradient, ``rate``, ``small`` and
        ``extragradient``.

    Returns
    -------
    Figure
        In the left panel Lookahead converges above the lines, in the right one below 0.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.7), width_ratios=(1, 1.1))
    for g, line in least.groupby("g"):
        colour, dashes = STEPS[g]
        axs[0].plot(line["sync_period"], line["retention"], color=colour, dashes=dashes, label=f"{g:g}")
    periods = least["sync_period"].drop_duplicates()
    periods = periods[(periods < 10) | (periods % 5 == 0)]
    axs[0].plot(periods, 1 / periods, "o", ms=3, mfc="none", mew=0.8, color="0.1", label="the rule")
    axs[0].set(xscale="log", xlabel="sync_period", ylabel="least retention that converges", ylim=(0, 1.03))
    only_ticks(axs[0].xaxis, [1, 2, 5, 10, 20, 50])
    axs[0].legend(
        loc="upper right", bbox_to_anchor=(0.66, 1.05), title="lr × strength", title_fontsize=7, frameon=False
    )
    for k, line in rates.groupby("sync_period"):
        colour, dashes = PERIODS[k]
        axs[1].plot(line["retention"], line["rate"], color=colour, dashes=dashes, label=f"sync_period {k}")
        dots = line.iloc[::5]
        axs[1].plot(dots["retention"], dots["small"], "o", ms=2.5, mfc="none", mew=0.7, color=colour)
    axs[1].plot([], [], "o", ms=2.5, mfc="none", mew=0.7, color="0.1", label="formula")
    axs[1].axhline(0, color="0.5", lw=0.8, zorder=0)
    ahead = rates["extragradient"].iloc[0]
    axs[1].axhline(ahead, color=ARMS["extragradient"].colour, dashes=(6, 1, 1, 1), lw=1, label="extragradient")
    axs[1].set(xlabel="retention", ylabel="log of the rate per gradient", ylim=(-0.02, 0.008), xlim=(0, 1))
    axs[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return finished(fig, axs)


def left(rows: pd.DataFrame) -> Figure:
    """Draw what is left of the distance in several games, one dot for each arm at its best learning rate.

    Parameters
    ----------
    rows : DataFrame
        The columns ``game``, ``arm`` and ``left``, a share of the distance at the start.

    Returns
    -------
    Figure
        On a logarithmic axis; at 1 nothing is gained.
    """
    fig, ax = plt.subplots(figsize=(PAGE, 2.7))
    places = {game: -i for i, game in enumerate(rows["game"].drop_duplicates())}
    for i, arm in enumerate(arm for arm in ARMS if (rows["arm"] == arm).any()):
        points = rows[rows["arm"] == arm]
        y = points["game"].map(places) + 0.3 - 0.1 * i
        ax.plot(points["left"], y, ls="none", **ARMS[arm].points, label=ARMS[arm].label)
    for place in [*places.values()][1:]:
        ax.axhline(place + 0.5, color="0.9", lw=0.8, zorder=0)
    ax.axvline(1, color="0.5", lw=0.8, zorder=0)
    ax.set(xscale="log", xlabel="distance left, start = 1", yticks=[*places.values()], yticklabels=[*places])
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    no_minor_ticks([ax])
    return finished(fig, [])


def of_benchmark(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return the published distances in the games of Chavdarova et al. 2021, by arm and passes.

    Parameters
    ----------
    numbers : DataFrame
        That of ``provenance.published("games")``.

    Returns
    -------
    DataFrame
        The columns ``arm``, ``passes`` and ``value``.
    """
    rows = numbers[numbers["metric"] == "mean distance to the solution"]
    passes = rows["setting"].str.split().str[0].astype(int)
    return rows.assign(arm=rows["optimizer"].map(PUBLISHED), passes=passes)[["arm", "passes", "value"]]


def published(curves: pd.DataFrame) -> Figure:
    """Draw the games of Chavdarova et al. 2021, as their notebook counts passes, with the numbers that it gives.

    Parameters
    ----------
    curves : DataFrame
        The columns ``arm``, ``passes``, ``distance`` and ``value``, the published number or NaN.

    Returns
    -------
    Figure
        Circles are numbers, lines are played.
    """
    fig, ax = plt.subplots(figsize=(PAGE, 2.5))
    for arm, line in curves.groupby("arm", sort=False):
        ax.plot(
            line["passes"], line["distance"], color=ARMS[arm].colour, dashes=ARMS[arm].dashes, label=ARMS[arm].label
        )
        ax.plot(line["passes"], line["value"], "o", ms=6, mfc="none", mew=1, color=ARMS[arm].colour)
    ax.plot([], [], "o", ms=6, mfc="none", mew=1, color="0.1", label="published")
    ax.set(yscale="log", xlabel="passes, as counted there", ylabel="mean distance", ylim=(1e-10, 1e5))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    no_minor_ticks([ax])
    return finished(fig, [])


def ring(points: pd.DataFrame, distances: pd.DataFrame) -> Figure:
    """Draw what the generators of a GAN make, and how far their points are from real ones on the way.

    Parameters
    ----------
    points : DataFrame
        The columns ``arm``, ``x`` and ``y``; arms are "data" and keys of ``GANS``.
    distances : DataFrame
        The columns ``arm``, ``gradients`` and ``distance``, the Wasserstein distance.

    Returns
    -------
    Figure
        A panel for each generator, over real points in grey, and one for the distances, on a logarithmic axis.
    """
    arms = [*distances["arm"].unique()]
    widths = [1.0] * len(arms) + [1.7]
    fig, axs = plt.subplots(1, len(arms) + 1, figsize=(PAGE, 1.9), width_ratios=widths)
    data = points[points["arm"] == "data"]
    for ax, arm in zip(axs, arms, strict=False):
        made = points[points["arm"] == arm]
        ax.plot(data["x"], data["y"], ".", ms=1.5, color="0.75", mew=0)
        ax.plot(made["x"], made["y"], ".", ms=2, color=GANS[arm].colour, mew=0)
        ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        ax.set_title(GANS[arm].label, fontsize=8)
        line = distances[distances["arm"] == arm]
        axs[-1].plot(line["gradients"], line["distance"], color=GANS[arm].colour, dashes=GANS[arm].dashes, lw=1.2)
    axs[-1].set(yscale="log", xlabel="gradients of both players", ylabel="Wasserstein distance")
    only_ticks(axs[-1].yaxis, [0.1, 0.2, 0.5, 1.0])
    return finished(fig, axs)


def of_figure(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return what was read in the stochastic panels of Chavdarova et al. 2021, by batch and pass.

    Parameters
    ----------
    numbers : DataFrame
        That of ``provenance.published("games")``.

    Returns
    -------
    DataFrame
        The columns ``batch``, ``passes`` and ``value``.
    """
    rows = numbers[numbers["metric"] == "mean distance in a figure"]
    places = rows["setting"].str.extract(r"B (?P<batch>\d+), pass (?P<passes>\d+)").astype(int)
    return places.assign(value=rows["value"])


def noisy(curves: pd.DataFrame) -> Figure:
    """Draw the stochastic games of Chavdarova et al. 2021 with the points that were read in their figure.

    Parameters
    ----------
    curves : DataFrame
        The columns ``batch``, ``arm``, ``passes``, ``distance`` and ``value``, the published number or NaN.

    Returns
    -------
    Figure
        A panel for each batch size.
    """
    batches = [*curves["batch"].unique()]
    fig, axs = plt.subplots(1, len(batches), figsize=(PAGE, 2.2), sharey=True)
    for ax, batch in zip(axs, batches, strict=True):
        for arm, line in curves[curves["batch"] == batch].groupby("arm", sort=False):
            look = ARMS[arm]
            ax.plot(line["passes"], line["distance"], color=look.colour, dashes=look.dashes, lw=1, label=look.label)
            ax.plot(line["passes"], line["value"], "o", ms=5, mfc="none", mew=1, color="0.1")
        ax.set(ylim=(0, 25), xlabel="passes, as counted there", xticks=[0, 10_000, 20_000])
        ax.set_title(f"batch {batch}", fontsize=8)
    axs[0].set_ylabel("mean distance")
    axs[-1].plot([], [], "o", ms=5, mfc="none", mew=1, color="0.1", label="published")
    axs[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return finished(fig, axs)
