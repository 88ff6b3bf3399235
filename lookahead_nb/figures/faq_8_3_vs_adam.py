"""Figures of the notebook 05_faq_8_3_vs_adam.

They take the runs of claims, as ``claims.results`` returns them, and show an arm as a multiple of its control, paired
by seed. The name of a task begins with its data set; the changes behind it say which panel a run belongs to.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator

from lookahead_nb import statistics
from lookahead_nb.figures import COLOURS, MARKERS, PAGE, letter_panels, plain_ticks

ARMS = {  # of the register: name, colour, marker, filled
    "adamw": ("AdamW", COLOURS["AdamW"], MARKERS["AdamW"], True),
    "lookahead": ("Lookahead(AdamW)", COLOURS["Lookahead"], MARKERS["Lookahead"], True),
    "lookahead at 0.001": ("Lookahead(AdamW)", COLOURS["Lookahead"], MARKERS["Lookahead"], True),
    "lookahead adam": ("Lookahead(Adam)", COLOURS["Lookahead"], MARKERS["Lookahead"], False),
    "lower": ("AdamW at lr × slow_step_size", COLOURS["AdamW at lr x step"], MARKERS["AdamW at lr x step"], False),
    "averaging": ("averaging, without pull-back", COLOURS["averaging"], MARKERS["averaging"], True),
    "schedule-free": ("Schedule-Free AdamW", "0.35", "v", False),
}
TASKS = ["digits", "cancer", "checkerboard", "blobs", "fashion", "census", "spam", "banking", "speech"]
LOOKS = dict(zip(TASKS, zip(sns.color_palette("crest", len(TASKS)), "osD^vP<X>", strict=True), strict=True))
TICKS = {  # of a logarithmic axis, by how wide it is
    1.2: [0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06, 1.08],
    1.5: [0.85, 0.9, 0.95, 1, 1.1, 1.2],
    np.inf: [0.5, 0.7, 1, 1.5, 2],
}
ALL, STEPS, EPOCHS = "all rows", "a tenth,\nequal steps", "a tenth,\nequal epochs"


def ratios(runs, control, *arms, metric="test_loss"):
    """Return arms as multiples of a control in a metric: see ``statistics.ratios_to``.

    control : str, an arm; arms : others, default all; metric : str, a column of runs.
    """
    kept = runs[runs["arm"].isin([control, *arms])] if arms else runs
    return statistics.ratios_to(kept.assign(value=kept[metric])[["task", "arm", "seed", "value"]], control)


def with_change(runs, change, is_there=True):
    """Return the runs of the tasks whose name has a change, or of those whose name lacks it.

    change : str, such as "steps="; is_there : bool.
    """
    return runs[runs["task"].str.contains(f" {change}", regex=False) == is_there]


def over_tasks(runs, margin):
    """Draw every arm as a multiple of tuned Adam on each task and over the tasks, at a constant and at a cosine rate.

    runs : of C08. margin : float above 1, the band within which nobody would care.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 5.6), sharey=True, width_ratios=[1.3, 1])
    rows = {task: -i for i, task in enumerate([*TASKS, "all"])}
    for ax, is_cosine in zip(axs, (False, True), strict=True):
        here = ratios(with_change(runs, "schedule=cosine", is_cosine), "adam")
        _forest(ax, here.rename(index=_data_set, level="task"), rows, margin)
        ax.axhline(0.5 - len(TASKS), color="0.3", lw=0.6)
        ax.set(xlabel="test loss, tuned Adam = 1")
        ax.set_title("cosine rate" if is_cosine else "constant rate")
    axs[0].set_yticks([*rows.values()], [*TASKS, "over the tasks"])
    fig.legend(*axs[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    letter_panels(axs)
    sns.despine(fig, left=True)
    return fig


def training_time(runs, whole, crossing):
    """Draw Lookahead as a multiple of Adam against the training time: at one rate, re-tuned, and on a quadratic.

    runs : of C10, the shortest of which take a tenth of the steps of the longest; whole : of C08, which tunes for the
    longest. crossing : frame of ``predictions.overtaking``: by ``lr`` and ``step`` the ratios ``exact`` and
    ``simulated``, NaN where there is none, and ``predicted``, the step at which the closed form has the losses equal.
    """
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 3.3))
    longest = with_change(with_change(whole, "schedule=", False), "steps=", False)
    tuned = pd.concat([ratios(each, "adam", "lookahead").loc["lookahead"] for each in (runs.pipe(_tuned), longest)])
    at_one_rate = ratios(runs, "adam at 0.01", "lookahead at 0.01").loc["lookahead at 0.01"]
    for ax, lines in ((axs[0], at_one_rate), (axs[1], tuned)):
        lines = lines.drop("all").assign(share=_shares).set_index("share", append=True)
        for task, (colour, marker) in LOOKS.items():
            line = lines[lines.index.get_level_values("task").map(_data_set) == task].droplevel("task").sort_index()
            look = {"color": colour, "marker": marker, "ms": 3.5, "lw": 0.9, "elinewidth": 0.6}
            ax.errorbar(line.index, line["ratio"], _bars(line), label=task, **look)
        ax.set(xscale="log", xlabel="steps, as a share of the longest run", xlim=(0.08, 1.25))
        _ticks(ax.xaxis, [0.1, 0.3, 1])
    for (lr, line), shade in zip(
        crossing.groupby("lr"), sns.color_palette("flare", crossing["lr"].nunique()), strict=True
    ):
        axs[2].plot(line["step"], line["exact"], color=shade, label=f"{lr:g}")
        axs[2].plot(line["step"], line["simulated"], ".", color=shade, ms=4)
        axs[2].axvline(line["predicted"].iloc[0], color=shade, lw=0.8, ls=":")
    axs[2].set(xscale="log", xlabel="steps", ylabel="expected loss, gradient descent = 1")
    axs[2].legend(
        title="lr × curvature",
        loc="upper center",
        ncols=3,
        columnspacing=0.8,
        handlelength=1,
        edgecolor="none",
        framealpha=1,
    )
    for ax, ticks in zip(axs, ([0.3, 0.5, 0.7, 1, 1.5, 2], [0.7, 0.8, 0.9, 1, 1.1], [0.5, 1, 2, 5, 10]), strict=True):
        ax.axhline(1, color="0.5", lw=0.8, zorder=0)
        ax.set(yscale="log")
        _ticks(ax.yaxis, ticks)
    axs[2].set_ylim(0.3, 15)  # room for the legend
    axs[0].set_ylabel("test loss of Lookahead, Adam = 1")
    handles, labels = axs[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    letter_panels(axs)
    sns.despine(fig)
    return fig


def data_size(runs, margin):
    """Draw Lookahead as a multiple of AdamW on all rows and on a tenth of them, at a constant and at a cosine rate.

    runs : of C09. margin : as in :func:`over_tasks`.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.9), sharey=True)
    for ax, is_cosine in zip(axs, (False, True), strict=True):
        here = ratios(with_change(runs, "schedule=cosine", is_cosine), "adamw", "lookahead").loc["lookahead"]
        here = here.drop("all").assign(task=lambda each: each.index.map(_data_set)).rename(index=_rows)
        tasks = [*here["task"].unique()]
        for task, away in zip(tasks, np.linspace(-0.12, 0.12, len(tasks)), strict=True):
            line = here[here["task"] == task].loc[[ALL, STEPS, EPOCHS]]
            look = dict(zip(("color", "marker"), LOOKS[task], strict=True)) | {"ms": 4, "lw": 0.9, "elinewidth": 0.7}
            ax.errorbar(np.arange(3) + away, line["ratio"], _bars(line), label=task, **look)
        ax.axhspan(1 / margin, margin, color="0.93", zorder=0)
        ax.axhline(1, color="0.5", lw=0.8, zorder=0)
        ax.set(yscale="log", xlim=(-0.4, 2.4))
        ax.set_xticks(range(3), [ALL, STEPS, EPOCHS])
        ax.set_title("cosine rate" if is_cosine else "constant rate")
    _ticks(axs[0].yaxis, [0.9, 0.92, 0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06, 1.08, 1.1])
    axs[0].set_ylabel("test loss of Lookahead, AdamW = 1")
    axs[0].legend(loc="lower left", frameon=False, ncols=2)
    letter_panels(axs)
    sns.despine(fig)
    return fig


def text(runs, margins):
    """Draw the arms on text as multiples of Adam: steps to a training loss, and test loss early and in the end.

    runs : of C19. margins : float above 1 of the steps, and of the losses.
    """
    short, whole = (with_change(runs, "steps=", is_short) for is_short in (True, False))
    panels = {
        "steps to a loss,\nboth at lr 0.001": (
            whole,
            "adam at 0.001",
            ["lookahead at 0.001"],
            "steps_to_threshold",
        ),
        "steps to a loss,\ntuned for all steps": (whole, "adam", [], "steps_to_threshold"),
        "test loss, a tenth of\nthe steps, tuned for it": (short, "adam", [], "test_loss"),
        "test loss, all steps,\ntuned for them": (whole, "adam", [], "test_loss"),
    }
    fig, axs = plt.subplots(1, len(panels), figsize=(PAGE, 3.2), sharey=True)
    for ax, (label, (some, control, arms, metric)) in zip(axs, panels.items(), strict=True):
        arms = arms or [arm for arm in ARMS if arm in {*some["arm"]} and " at " not in arm]
        here = ratios(some, control, *arms, metric=metric).drop("all", level="task").rename(index=_model, level="task")
        rows = {task: -i for i, task in enumerate(here.index.unique("task"))}
        _forest(ax, here, rows, margins[metric == "test_loss"])
        ax.set_xlabel(f"{label}\n(Adam = 1)")
    axs[0].set_yticks([*rows.values()], [*rows])
    fig.legend(*axs[-1].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    letter_panels(axs)
    sns.despine(fig, left=True)
    return fig


def _ticks(axis, ticks):
    """Put these ticks, and no others, on a logarithmic axis."""
    plain_ticks(axis, ticks)
    axis.set_minor_locator(NullLocator())


def _data_set(task):
    return task.split(" ")[0]


def _rows(task):
    return (EPOCHS if " steps=" in task else STEPS) if " rows=" in task else ALL


def _model(task):
    hidden = "hidden=[]" not in task if task.startswith("spam") else "hidden=" in task
    return f"{_data_set(task)},\n{'network' if hidden else 'logistic'}"


def _tuned(runs):
    return runs[runs["task"].isin(runs["task"][runs["arm"] == "adam"])]


def _shares(lines):
    """Return the steps of tasks as a share of the longest run of the data set, given that the shortest is a tenth."""
    steps = lines.index.str.extract(r" steps=(\d+)", expand=False).astype(float)
    shortest = pd.Series(steps).groupby(lines.index.map(_data_set)).transform("min").to_numpy()
    return np.where(np.isnan(steps), 1.0, steps / (10 * shortest))


def _bars(line):
    return [line["ratio"] - line["low"], line["high"] - line["ratio"]]


def _forest(ax, table, rows, margin):
    """Draw ratios by arm and task with their intervals, a row for each task and a band for the margin."""
    arms = [arm for arm in ARMS if arm in table.index.unique("arm")]
    for arm, away in zip(arms, np.linspace(0.3, -0.3, len(arms)) if len(arms) > 1 else [0.0], strict=True):
        name, colour, marker, filled = ARMS[arm]
        points = table.loc[arm]
        heights = points.index.map(rows) + away
        ax.hlines(heights, points["low"], points["high"], color=colour, lw=0.9)
        face = colour if filled else "white"
        ax.plot(points["ratio"], heights, marker, color=colour, mfc=face, ms=4, ls="none", label=name)
    for row in [*rows.values()][1:]:
        ax.axhline(row + 0.5, color="0.88", lw=0.6, zorder=0)
    ax.axvspan(1 / margin, margin, color="0.93", zorder=0)
    ax.axvline(1, color="0.5", lw=0.8, zorder=0)
    ax.set(xscale="log", ylim=(min(rows.values()) - 0.5, 0.5))
    low, high = ax.get_xlim()
    ticks = next(ticks for widest, ticks in TICKS.items() if high / low < widest)
    _ticks(ax.xaxis, ticks)
    ax.set_xlim(low, high)
    ax.tick_params(axis="y", length=0)
