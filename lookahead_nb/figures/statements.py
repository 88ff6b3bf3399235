"""Figures of the statements: benefits on all tasks, arms in steps of AdamW, factors, and robustness to the rate."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.claims import registry
from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import CAPS, away, finished, only_ticks

CLASSES = {  # colour and marker
    "step-limited, short": ("#0072b2", "o"),
    "step-limited, long": ("#009e73", "s"),
    "saturated": ("0.6", "D"),
    "overfitting": ("#d55e00", "^"),
}
OTHER_CLASS = ("0.45", "o")
LANDSCAPES = {  # the same for landscapes, networks that get stuck, and games
    "low rate": ("#56b4e9", "o"),
    "high rate": ("#cc79a7", "v"),
    "gentle": ("#56b4e9", "o"),
    "sharp": ("#cc79a7", "v"),
    "relu": ("#e69f00", "o"),
    "sigmoid": ("0.3", "D"),
    "tanh": ("#882255", "^"),
    "bilinear": ("#0072b2", "o"),
    "bilinear with noise": ("#d55e00", "^"),
    "pennies": ("0.3", "D"),
    "Wasserstein": ("#cc79a7", "v"),
}
AXES = {  # labels of benefits
    "gap": "benefit, % of the gap",
    "error": "benefit, % of the rows",
    "runs": "benefit, % of the runs",
    "samples": "benefit, % of the samples",
    "modes": "benefit, % of the modes",
    "return": "benefit, % of the highest return",
    "steps": "multiple of the steps",
    "ratio": "better by this factor",
}
PERCENT_TICKS = [-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100]
RATIO_TICKS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100]
POWERS_OF_TEN, MANY_DECADES = [0.001, 0.01, 0.1, 1, 10, 100, 1000], 1e4  # on an axis that is longer
MOST = 2.0  # multiples of the steps: AdamW was trained no longer
ARMS = {  # by contrast of the statement C08a, from top to bottom
    "same_again": "AdamW again",
    "fast_weights": "Lookahead, fast weights",
    "step_beyond_1": "Lookahead, slow step 1.5",
    "outer_momentum": "Lookahead, outer momentum .5",
    "beta1_tuned": "AdamW, beta1 tuned",
    "against_adamw": "Lookahead",
    "tied_to_length": "Lookahead, period T/20",
    "no_pull_back": "Lookahead without pull-back",
    "ema_20": "EMA over T/20",
    "ema_10": "EMA over T/10",
    "ema_5": "EMA over T/5",
    "ema_3": "EMA over T/3",
    "schedule_free": "Schedule-Free AdamW",
    "cosine": "AdamW, cosine",
    "linear": "AdamW, linear decay",
    "last_fifth": "AdamW, decay in the last fifth",
}
FACTOR_NAMES = {
    "steps": "steps",
    "rows": "rows",
    "batch_size": "batch size",
    "features": "features",
    "label_noise": "wrong labels",
    "conditioning": "conditioning p",
    "sharpness": "sharpness",
    "gain": "gain of twice the steps",
}
RANGE_ARMS = {
    "adamw_again": "AdamW",
    "adam": "Adam",
    "lookahead": "Lookahead",
    "averaging": "without pull-back",
    "ema_10": "EMA over T/10",
    "schedule_free": "Schedule-Free",
    "adamw_linear": "AdamW, linear decay",
    "lookahead_linear": "Lookahead, linear decay",
}


def worth(judged: pd.DataFrame) -> Figure:
    """Draw how many steps of AdamW each arm is worth on step-limited tasks.

    Parameters
    ----------
    judged : DataFrame
        The frame of ``registry.judge_all``.

    Returns
    -------
    Figure
        A row for each arm, with short and long runs; what is above twice the steps lies on the right edge.
    """
    fig, ax = plt.subplots(figsize=(0.75 * PAGE, 4.4))
    rows = judged[(judged["id"] == "C08a") & judged["contrast"].isin(ARMS)]
    for shift, kind in ((0.16, "step-limited, short"), (-0.16, "step-limited, long")):
        colour, marker = CLASSES[kind]
        table = rows[rows["class"] == kind].set_index("contrast").loc[[*ARMS], ["steps", "steps_low", "steps_high"]]
        table = table.clip(upper=MOST).rename(columns={"steps": "mean", "steps_low": "low", "steps_high": "high"})
        places = shift - np.arange(len(table))
        ax.errorbar(table["mean"], places, xerr=away(table), ecolor=colour, **CAPS)
        ax.plot(table["mean"], places, marker, ms=4, color=colour, label=kind)
    ax.axvspan(1 / 1.05, 1.05, color="0.93", zorder=0)
    ax.axvline(1, color="0.5", lw=0.8, zorder=0)
    ax.set_yticks(-np.arange(len(ARMS)), ARMS.values())
    ax.set(xscale="log", xlabel="worth this multiple of AdamW's steps", xlim=(0.6, MOST * 1.02))
    only_ticks(ax.xaxis, [0.6, 0.8, 1, 1.2, 1.5, 2])
    ax.legend(loc="lower left", frameon=False)
    return finished(fig, [])


def all_tasks(points: pd.DataFrame) -> Figure:
    """Draw several comparisons below each other, with a dot for every task.

    Parameters
    ----------
    points : DataFrame
        Of ``registry.every_task``.

    Returns
    -------
    Figure
        A panel for each scale, a row for each comparison, the first one on top. Percentages are linear within 1 % and
        logarithmic beyond; steps and ratios are logarithmic. The band is what does not matter.
    """
    scales = [*points["scale"].unique()]
    names = {scale: [*points["comparison"][points["scale"] == scale].unique()] for scale in scales}
    counts = [len(names[scale]) for scale in scales]
    fig, axs = plt.subplots(
        len(scales), 1, figsize=(0.85 * PAGE, 0.5 + 0.5 * sum(counts) + 0.45 * len(scales)), height_ratios=counts,
        squeeze=False,
    )  # fmt: skip
    marks = CLASSES | LANDSCAPES
    kinds = [kind for kind in marks if (points["class"] == kind).any()]
    for ax, scale in zip(axs[:, 0], scales, strict=True):
        percent = scale in registry.PERCENT
        for place, name in enumerate(names[scale]):
            own = points[(points["comparison"] == name) & (points["scale"] == scale)]
            _task_dots(ax, own, -place, percent=percent)
        margin = registry.SCALES[scale] * (100 if percent else 1)
        band = (-margin, margin) if percent else (np.exp(-margin), np.exp(margin))
        ax.axvspan(*band, color="0.92", zorder=0, lw=0)
        ax.axvline(0 if percent else 1, color="0.5", lw=0.8, zorder=0.5)
        ax.set_yticks([-place for place in range(len(names[scale]))], names[scale])
        ax.set(ylim=(0.55 - len(names[scale]), 0.5), xlabel=AXES[scale])
        if percent:
            ax.set_xscale("symlog", linthresh=1)
            only_ticks(ax.xaxis, PERCENT_TICKS)
        else:
            ax.set_xscale("log")
            low, high = ax.get_xlim()
            ticks = RATIO_TICKS if high < MANY_DECADES * low else POWERS_OF_TEN
            only_ticks(ax.xaxis, [tick for tick in ticks if low <= tick <= high])
    if kinds:
        handles = [axs[0, 0].plot([], [], marks[k][1], ms=4, color=marks[k][0], label=k)[0] for k in kinds]
        fig.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return finished(fig, axs[:, 0] if len(scales) > 1 else [])


def _task_dots(ax: Axes, own: pd.DataFrame, place: float, *, percent: bool) -> None:
    shown = own.assign(benefit=own["benefit"] if percent else np.exp(own["benefit"]))
    dots, means = shown[shown["number"] >= 0], own[(own["number"] < 0) & (own["class"] == "all")]
    for kind, part in dots.groupby("class", sort=False):
        colour, marker = (CLASSES | LANDSCAPES).get(str(kind), OTHER_CLASS)
        across = place - 0.08 + 0.44 * (part["number"] * 0.618034 % 1 - 0.5)
        ax.plot(part["benefit"], across, marker, ms=2, color=colour, alpha=0.7, mew=0)
    for _, row in means.iterrows():
        value, low, high, next_low, next_high = (
            row[name] if percent else np.exp(row[name]) for name in ("benefit", "low", "high", "next_low", "next_high")
        )
        ax.plot([next_low, next_high], [place + 0.26] * 2, color="0.25", lw=0.8)
        ax.plot([low, high], [place + 0.26] * 2, color="0.1", lw=3, solid_capstyle="butt")
        ax.plot([value] * 2, [place + 0.17, place + 0.35], color="0.1", lw=1.2)


def every_task(points: pd.DataFrame) -> Figure:
    """Draw the benefit on every task, a dot each.

    Parameters
    ----------
    points : DataFrame
        Of ``registry.every_task``, all in % of the gap.

    Returns
    -------
    Figure
        A panel for each comparison; the scale is linear within 1 % and logarithmic beyond.
    """
    names = [*points["comparison"].unique()]
    fig, axs = plt.subplots(1, len(names), figsize=(PAGE, 3.2), sharey=True)
    for ax, name in zip(np.atleast_1d(axs), names, strict=True):
        own = points[points["comparison"] == name]
        for place, (kind, (colour, marker)) in enumerate(CLASSES.items()):
            part = own[own["class"] == kind]
            dots, mean = part[part["number"] >= 0], part[part["number"] < 0]
            across = place + 0.5 * (dots["number"] * 0.618034 % 1 - 0.5)
            ax.plot(across, dots["benefit"], marker, ms=1.8, color=colour, alpha=0.7, mew=0)
            for _, row in mean.iterrows():
                ax.plot([place - 0.36] * 2, [row["next_low"], row["next_high"]], color="0.25", lw=0.8)
                ax.plot([place + 0.36] * 2, [row["low"], row["high"]], color="0.1", lw=2.4, solid_capstyle="butt")
                ax.plot([place + 0.22, place + 0.5], [row["benefit"]] * 2, color="0.1", lw=1)
        ax.axhline(0, color="0.5", lw=0.8, zorder=0)
        ax.set_yscale("symlog", linthresh=1)
        ax.set_xticks(range(len(CLASSES)), ["short", "long", "saturated", "overfitting"], rotation=30, fontsize=7)
        ax.set_title(name, fontsize=8)
    np.atleast_1d(axs)[0].set(ylabel="benefit, % of the gap", yticks=[-100, -10, -1, 0, 1, 10, 100])
    np.atleast_1d(axs)[0].set_yticklabels(["-100", "-10", "-1", "0", "1", "10", "100"])
    return finished(fig, np.atleast_1d(axs))


def factors(parts: pd.DataFrame) -> Figure:
    """Draw the benefit over parts of the range of each factor.

    Parameters
    ----------
    parts : DataFrame
        The frame of ``explained.by_factor``, with ``value``, ``low`` and ``high`` in % of the gap.

    Returns
    -------
    Figure
        A panel for each factor.
    """
    fig, axs = plt.subplots(2, 4, figsize=(PAGE, 3.4), sharey=True)
    for ax, (name, label) in zip(axs.flat, FACTOR_NAMES.items(), strict=True):
        table = parts[parts["factor"] == name].rename(columns={"value": "mean"}).reset_index(drop=True)
        ax.errorbar(table.index, table["mean"], away(table), ecolor="#0072b2", **CAPS)
        ax.plot(table["mean"], "o-", ms=3.5, color="#0072b2", lw=1)
        words = [f"{_short(row.least)}\nto {_short(row.most)}" for row in table.itertuples()]
        ax.set_xticks(table.index, words, fontsize=7)
        ax.axhline(0, color="0.5", lw=0.8, zorder=0)
        ax.set_title(label, fontsize=8)
    for ax in axs[:, 0]:
        ax.set_ylabel("benefit, % of the gap")
    return finished(fig, [])


def _short(number: float) -> str:
    if abs(number) >= 1000:
        return f"{number / 1000:.2g}k"
    return f"{number:.0f}" if abs(number) >= 10 else f"{number:.2g}" if abs(number) >= 0.005 else "0"


def ranges(table: pd.DataFrame) -> Figure:
    """Draw how many octaves of learning rates are almost as good as the best one.

    Parameters
    ----------
    table : DataFrame
        ``arm``, ``within`` (in %), ``value``, ``low`` and ``high``.

    Returns
    -------
    Figure
        A row for each arm.
    """
    fig, ax = plt.subplots(figsize=(0.7 * PAGE, 2.8))
    shades = {1: "#084594", 2: "#4292c6", 5: "#9ecae1"}
    for shift, (within, colour) in zip((0.2, 0.0, -0.2), shades.items(), strict=True):
        own = table[table["within"] == within].set_index("arm").loc[[*RANGE_ARMS]].rename(columns={"value": "mean"})
        places = shift - np.arange(len(own))
        ax.errorbar(own["mean"], places, xerr=away(own), ecolor=colour, **CAPS)
        ax.plot(own["mean"], places, "o", ms=4, color=colour, label=f"within {within} %")
    ax.set_yticks(-np.arange(len(RANGE_ARMS)), RANGE_ARMS.values())
    ax.set(xlabel="octaves of learning rates, mean over tasks", xlim=(0, None))
    fig.legend(loc="outside upper center", ncols=3, frameon=False)
    return finished(fig, [])
