"""Figures of the notebook 06_convergence. Lines are predictions; markers are measured."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, plain_ticks
from lookahead_nb.figures.parts import Look, finished, no_minor_ticks
from lookahead_nb.models.landscapes import Rosenbrock

# Shades of Lookahead's colour, dark for small slow steps; every shade has its own marker and dash.
SHADES = {0.2: "#7A4A00", 0.5: COLOURS["Lookahead"], 0.8: "#F5C26B", 1.0: COLOURS["AdamW"]}
SHAPES = {0.2: "o", 0.5: "s", 0.8: "^", 1.0: "D"}
STATES = {
    "keep": Look("keep", COLOURS["Lookahead"], "o"),
    "interpolate": Look("interpolate", "#7A4A00", "s", (4, 1.5)),
    "reset": Look("reset", "#F5C26B", "^", (1, 1)),
    "momentum alone": Look("momentum alone", COLOURS["AdamW"], "D", (6, 1, 1, 1)),
}
PERIODS = {
    1: Look("gradient descent", COLOURS["AdamW"]),
    5: Look("sync_period 5", "#F5C26B", "o"),
    10: Look("sync_period 10", COLOURS["Lookahead"], "s", (4, 1.5)),
    20: Look("sync_period 20", "#A86400", "^", (1, 1)),
    50: Look("sync_period 50", "#5C3700", "v", (6, 1, 1, 1)),
}


def cycle(found: pd.DataFrame, phases: pd.DataFrame) -> Figure:
    """Draw variance and rate of the slow weight against sync_period, and variances through the cycle.

    Parameters
    ----------
    found : DataFrame
        The frame of ``predictions.with_theory``. Its rows hold (beta1, lr) = (0, 0.5) and (0.9, 1), the three inner
        states and slow_step_size 0.5.
    phases : DataFrame
        The frame of ``predictions.by_phase`` for settings beta1, with a column ``beta1``.

    Returns
    -------
    Figure
        Two panels of variances, one of rates, and one through the cycle.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.4))
    keep = found[found["inner_state"] == "keep"]
    for ax, (beta1, lr) in zip(axs[0], ((0.0, 0.5), (0.9, 1.0)), strict=True):
        for size, line in keep[(keep["beta1"] == beta1) & np.isclose(keep["lr"], lr)].groupby("slow_step_size"):
            ratios = line[["predicted_variance", "measured_variance"]].div(line["inner_variance"], axis=0)
            _pair(ax, line["sync_period"], ratios, Look(f"slow_step_size {size:g}", SHADES[size], SHAPES[size]))
        ax.set(ylabel="variance, inner optimizer = 1", ylim=(0, 1.15))
        ax.text(0.97, 0.95, f"beta1 = {beta1:g}", transform=ax.transAxes, ha="right", va="top")
    axs[0, 0].legend(loc="upper left")
    settings = found[(found["beta1"] == 0.9) & np.isclose(found["lr"], 1) & np.isclose(found["slow_step_size"], 0.5)]
    for state, line in settings.groupby("inner_state"):
        _pair(axs[1, 0], line["sync_period"], line[["predicted_rate", "measured_rate"]], STATES[state])
    axs[1, 0].axhline(settings["inner_rate"].iloc[0], color=COLOURS["AdamW"], lw=1, label="inner optimizer alone")
    axs[1, 0].set(ylabel="factor of the mean per step")
    axs[1, 0].text(0.03, 0.95, "beta1 = 0.9, slow_step_size 0.5", transform=axs[1, 0].transAxes, va="top")
    axs[1, 0].set_ylim(top=1.05)
    axs[1, 0].legend(loc="lower left")
    for ax in (*axs[0], axs[1, 0]):
        ax.set(xscale="log", xlabel="sync_period")
        plain_ticks(ax.xaxis, [1, 2, 3, 5, 10, 20, 30])
    for (beta1, kind), line in phases.groupby(["beta1", "weights"]):
        line = line[(kind == "fast") | (line["phase"] % 4 == 0)]
        steps = line["phase"].where(line["phase"] > 0, line["phase"].max() + 1) if kind == "fast" else line["phase"]
        order = np.argsort(steps)
        values = line[["predicted", "measured"]].iloc[order]
        marker, dashes = MARKERS["slow"] if kind == "slow" else "o", () if beta1 else (4, 1.5)
        look = Look(f"{kind}, beta1 = {beta1:g}", COLOURS[kind], marker, dashes, hollow=not beta1)
        _pair(axs[1, 1], steps.iloc[order], values, look)
    axs[1, 1].set(xlabel="steps since the sync", ylabel="variance", ylim=(0, 0.72), xticks=[0, 5, 10, 15, 20])
    axs[1, 1].legend(loc="upper center", ncols=2)
    no_minor_ticks(axs.flat)
    return finished(fig, axs.flat)


def published(over_time: pd.DataFrame, matched: pd.DataFrame, gaps: pd.DataFrame) -> Figure:
    """Draw the computations after Figures 2 and 3 of Zhang et al. 2019.

    Parameters
    ----------
    over_time : DataFrame
        Expected losses at one risk after every 50 steps, a column for each sync_period. Column 1 is gradient
        descent alone.
    matched : DataFrame
        The column ``risk`` and, for each sync_period, the ratio of the loss to that of gradient descent.
    gaps : DataFrame
        The columns ``modes``, ``condition``, ``rule`` and ``gap``, which is 1 - rate.

    Returns
    -------
    Figure
        The upper panels show expected losses, the lower ones 1 - rate over the condition number.
    """
    over_time = over_time.set_axis(50 * np.arange(len(over_time))).rename(columns=int)
    matched = matched.set_index("risk").rename(columns=int)
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.4))
    for k, line in over_time.items():
        axs[0, 0].plot(line, color=PERIODS[k].colour, dashes=PERIODS[k].dashes, label=PERIODS[k].label)
    axs[0, 0].set(yscale="log", xlabel="step", ylabel="expected loss at equal final risk")
    plain_ticks(axs[0, 0].yaxis, [0.2, 0.5, 1, 2])
    axs[0, 0].legend()
    for k, line in matched.items():
        axs[0, 1].plot(line, **PERIODS[k].line | {"ms": 3}, markevery=4, label=PERIODS[k].label)
    axs[0, 1].axhline(1, color=COLOURS["AdamW"], lw=1)
    axs[0, 1].set(
        xscale="log", xlabel="steady-state risk of both", ylabel="loss after 1000 steps,\ngradient descent = 1"
    )
    axs[0, 1].legend()
    for ax, (modes, lines) in zip(axs[1], gaps.groupby("modes"), strict=True):
        for rule, line in lines.groupby("rule", sort=False):
            ax.plot(line["condition"], line["gap"], **STATES[rule].line | {"ms": 3.5}, label=rule)
        ax.set(xscale="log", yscale="log", xlabel="condition number", ylabel="1 - rate", ylim=(1e-4, 0.3))
        ax.text(0.97, 0.95, f"{modes} eigenvalues", transform=ax.transAxes, ha="right", va="top")
    axs[1, 0].legend(loc="lower left")
    no_minor_ticks(axs.flat)
    return finished(fig, axs.flat)


def identity(paths: pd.DataFrame, shown: int = 10) -> Figure:
    """Draw a run in Rosenbrock's valley and its distance to the inner optimizer alone.

    Parameters
    ----------
    paths : DataFrame
        The columns ``sync_period`` and ``step`` and those of ``predictions.averaged_path`` in Rosenbrock's valley.
    shown : int
        The sync period of the run, by default 10.

    Returns
    -------
    Figure
        The run, one of its coordinates in the first steps, and the distance for every sync period.
    """
    grid = np.linspace(-1.5, 2.0, 60)
    heights = pd.DataFrame(Rosenbrock().heights(np.stack(np.meshgrid(grid, grid), axis=-1)), grid, grid)
    paths = paths.set_index(["sync_period", "step"])
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 2.7))
    path, lower = paths.loc[shown], COLOURS["AdamW at lr x step"]
    levels = np.geomspace(heights.to_numpy().max() / 1e4, heights.to_numpy().max(), 7)
    axs[0].contour(heights.columns, heights.index, heights, levels, colors="0.85", linewidths=0.6)
    looks: dict[str, dict[str, Any]] = {
        "fast": {"color": COLOURS["fast"], "dashes": DASHES["fast"], "lw": 1.2},
        "slow": {"color": COLOURS["slow"], "marker": MARKERS["slow"], "ms": 2.5, "ls": "none"},
        "averaged": {"color": "0.1", "lw": 1},
    }
    for name, look in looks.items():
        points = path.iloc[:: shown if name == "slow" else 1]
        axs[0].plot(points[f"{name}_0"], points[f"{name}_1"], **look, label=name)
    axs[0].plot(1, 1, "+", color="0.1", ms=8, zorder=5)
    axs[0].set(xlabel="x", ylabel="y", ylim=(path["slow_1"].min() - 0.5, heights.index.max()))
    first = path.loc[: 4 * shown]
    axs[1].plot(first["fast_0"], **looks["fast"], label="fast, before the pull")
    axs[1].step(first.index, first["slow_0"], where="post", color=COLOURS["slow"], label="slow")
    axs[1].plot(first["averaged_0"], **looks["averaged"], label="averaged")
    axs[1].plot(first["replayed_0"].iloc[::2], "o", ms=3.5, mfc="none", mew=0.8, color=lower, label="AdamW, replayed")
    low, high = axs[1].get_ylim()
    axs[1].set(xlabel="step", ylabel="x", ylim=(low - 0.35 * (high - low), high))
    apart = np.hypot(*(paths[f"averaged_{i}"] - paths[f"alone_{i}"] for i in range(2)))
    for k, distance in apart.groupby("sync_period"):
        colour = PERIODS[k].colour if k > 1 else "0.5"
        line = distance.loc[k].clip(lower=1e-17)
        axs[2].plot(line.iloc[::2], color=colour, dashes=PERIODS[k].dashes, label=f"sync_period {k}")
    axs[2].set(yscale="log", xlabel="step", ylabel="distance to AdamW alone")
    axs[0].legend(loc="upper right")
    axs[1].legend(loc="lower right")
    axs[2].legend(loc="center right")
    no_minor_ticks(axs)
    return finished(fig, axs)


def _pair(ax: Axes, x: Any, values: pd.DataFrame, look: Look) -> None:
    """Draw a predicted line and measured markers in one look."""
    predicted, measured = (values[column] for column in values)
    ax.plot(x, predicted, color=look.colour, dashes=look.dashes, lw=1)
    ax.plot(x, measured, ls="none", **look.points)
    ax.plot([], [], **look.line, lw=1, label=look.label)
