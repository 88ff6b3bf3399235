"""Figures of the notebook 05_faq_8_3_vs_adam.

They accept the runs of claims, as ``claims.results`` returns them, and show an arm as a multiple of its control, paired
by seed. The parameters of a task decide the panel of a run.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.claims import statistics
from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import CONTROL, KINDS, Look, at_one, away, finished, only_ticks

LOOKAHEAD = KINDS["Lookahead"]._replace(label="Lookahead(AdamW)")
ARMS = {  # of the register
    "adamw": KINDS["AdamW"],
    "lookahead": LOOKAHEAD,
    "lookahead at 0.001": LOOKAHEAD,
    "lookahead adam": LOOKAHEAD._replace(label="Lookahead(Adam)", hollow=True),
    "lower": KINDS[CONTROL],
    "averaging": KINDS["averaging"],
    "schedule-free": Look("Schedule-Free AdamW", "0.35", "v", hollow=True),
}
TASKS = ["digits", "cancer", "checkerboard", "blobs", "fashion", "census", "spam", "banking", "speech"]
LOOKS = {
    task: Look(task, colour, marker)
    for task, colour, marker in zip(TASKS, sns.color_palette("crest", len(TASKS)), "osD^vP<X>", strict=True)
}
TICKS = {  # ticks of a logarithmic axis by its highest ratio of end to start
    1.2: [0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06, 1.08],
    1.5: [0.85, 0.9, 0.95, 1, 1.1, 1.2],
    np.inf: [0.5, 0.7, 1, 1.5, 2],
}
ALL, STEPS, EPOCHS = "all rows", "a tenth,\nequal steps", "a tenth,\nequal epochs"


def ratios(runs: pd.DataFrame, control: str, *arms: str, metric: str = "test_loss") -> pd.DataFrame:
    """Return arms as multiples of a control in a metric.

    Parameters
    ----------
    runs : DataFrame
        The runs of a claim.
    control : str
        The arm to compare with.
    *arms : str
        The other arms, by default all.
    metric : str
        A column of runs, by default "test_loss".

    Returns
    -------
    DataFrame
        The frame of ``statistics.ratios_to``.
    """
    chosen = runs[runs["arm"].isin([control, *arms])] if arms else runs
    return statistics.ratios_to(chosen.assign(value=chosen[metric])[["task", "arm", "seed", "value"]], control)


def longest(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the tasks with the most steps.

    Parameters
    ----------
    runs : DataFrame
        The runs of a claim.

    Returns
    -------
    DataFrame
        The runs of the tasks that have the most steps among those of the same entry with the same schedule.
    """
    alike = runs.groupby(["entry", "schedule"])["steps"]
    return runs[runs["steps"] == alike.transform("max")]


def over_tasks(runs: pd.DataFrame, margin: float = 1.02) -> Figure:
    """Draw every arm as a multiple of tuned Adam on each task and over the tasks.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C08.
    margin : float
        Above 1, by default 1.02; a ratio closer to one makes no practical difference.

    Returns
    -------
    Figure
        A constant rate on the left, a cosine rate on the right.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 5.6), sharey=True, width_ratios=[1.3, 1])
    rows = {task: -i for i, task in enumerate([*TASKS, "all"])}
    for ax, is_cosine in zip(axs, (False, True), strict=True):
        selected = runs[(runs["schedule"] == "cosine") == is_cosine]
        _forest(ax, ratios(selected, "adam").rename(index=_of_task(selected, "entry"), level="task"), rows, margin)
        ax.axhline(0.5 - len(TASKS), color="0.3", lw=0.6)
        ax.set(xlabel="test loss, tuned Adam = 1")
        ax.set_title("cosine rate" if is_cosine else "constant rate")
    axs[0].set_yticks([*rows.values()], [*TASKS, "over the tasks"])
    fig.legend(*axs[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return finished(fig, axs, left=True)


def training_time(runs: pd.DataFrame, whole: pd.DataFrame, crossing: pd.DataFrame) -> Figure:
    """Draw Lookahead as a multiple of Adam against the training time.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C10; the shortest have a tenth of the steps of the longest.
    whole : DataFrame
        The runs of the claim C08, tuned for the longest training time.
    crossing : DataFrame
        The frame of ``predictions.overtaking``.

    Returns
    -------
    Figure
        Panels at one rate, re-tuned, and on a quadratic.
    """
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 3.3))
    constant = whole[whole["schedule"] == "constant"]
    tuned = pd.concat(
        [ratios(selected, "adam", "lookahead").loc["lookahead"] for selected in (runs.pipe(_tuned), constant)]
    )
    parameters = pd.concat([runs, constant])
    at_one_rate = ratios(runs, "adam at 0.01", "lookahead at 0.01").loc["lookahead at 0.01"]
    for ax, lines in ((axs[0], at_one_rate), (axs[1], tuned)):
        lines = lines.drop("all").assign(**{name: _of_task(parameters, name) for name in ("entry", "steps")})
        lines["share"] = lines["steps"] / lines["entry"].map(parameters.groupby("entry")["steps"].max())
        for entry, look in LOOKS.items():
            points = lines[lines["entry"] == entry].set_index("share").sort_index()
            drawn = {"color": look.colour, "marker": look.marker, "ms": 3.5, "lw": 0.9, "elinewidth": 0.6}
            ax.errorbar(points.index, points["ratio"], away(points, "ratio"), label=look.label, **drawn)
        ax.set(xscale="log", xlabel="steps, as a share of the longest run", xlim=(0.08, 1.25))
        only_ticks(ax.xaxis, [0.1, 0.3, 1])
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
        at_one(ax)
        ax.set(yscale="log")
        only_ticks(ax.yaxis, ticks)
    axs[2].set_ylim(0.3, 15)  # room for the legend
    axs[0].set_ylabel("test loss of Lookahead, Adam = 1")
    handles, labels = axs[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return finished(fig, axs)


def data_size(runs: pd.DataFrame, margin: float = 1.02) -> Figure:
    """Draw Lookahead as a multiple of AdamW on all rows and on a tenth of them.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C09.
    margin : float
        As in :func:`over_tasks`.

    Returns
    -------
    Figure
        A constant rate on the left, a cosine rate on the right.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.9), sharey=True)
    for ax, is_cosine in zip(axs, (False, True), strict=True):
        selected = runs[(runs["schedule"] == "cosine") == is_cosine]
        table = ratios(selected, "adamw", "lookahead").loc["lookahead"].drop("all")
        table = table.assign(entry=_of_task(selected, "entry"), size=_of_task(selected.assign(size=_sizes), "size"))
        entries = [*table["entry"].unique()]
        for entry, shift in zip(entries, np.linspace(-0.12, 0.12, len(entries)), strict=True):
            points = table[table["entry"] == entry].set_index("size").loc[[ALL, STEPS, EPOCHS]]
            look = LOOKS[entry]
            drawn = {"color": look.colour, "marker": look.marker, "ms": 4, "lw": 0.9, "elinewidth": 0.7}
            x = np.arange(3) + shift
            ax.errorbar(x, points["ratio"], away(points, "ratio"), label=look.label, **drawn)
        ax.axhspan(1 / margin, margin, color="0.93", zorder=0)
        at_one(ax)
        ax.set(yscale="log", xlim=(-0.4, 2.4))
        ax.set_xticks(range(3), [ALL, STEPS, EPOCHS])
        ax.set_title("cosine rate" if is_cosine else "constant rate")
    only_ticks(axs[0].yaxis, [0.9, 0.92, 0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06, 1.08, 1.1])
    axs[0].set_ylabel("test loss of Lookahead, AdamW = 1")
    axs[0].legend(loc="lower left", frameon=False, ncols=2)
    return finished(fig, axs)


def text(runs: pd.DataFrame, margins: tuple[float, float] = (1.1, 1.02)) -> Figure:
    """Draw the arms on text as multiples of Adam.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C19.
    margins : tuple of float
        The margin of the steps and that of the losses, both above 1; by default (1.1, 1.02).

    Returns
    -------
    Figure
        Steps to a training loss, and test loss early and at the end.
    """
    whole = longest(runs)
    short = runs.drop(whole.index)
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
    for ax, (label, (selected, control, arms, metric)) in zip(axs, panels.items(), strict=True):
        arms = arms or [arm for arm in ARMS if arm in {*selected["arm"]} and " at " not in arm]
        table = ratios(selected, control, *arms, metric=metric).drop("all", level="task")
        table = table.rename(index=_of_task(selected.assign(model=_models), "model"), level="task")
        rows = {task: -i for i, task in enumerate(table.index.unique("task"))}
        _forest(ax, table, rows, margins[metric == "test_loss"])
        ax.set_xlabel(f"{label}\n(Adam = 1)")
    axs[0].set_yticks([*rows.values()], [*rows])
    fig.legend(*axs[-1].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return finished(fig, axs, left=True)


def _of_task(runs: pd.DataFrame, column: str) -> pd.Series:
    """Return a parameter of the tasks by task name."""
    return runs.drop_duplicates("task").set_index("task")[column]


def _sizes(runs: pd.DataFrame) -> np.ndarray:
    """Return whether a task has all rows or a tenth, and a tenth at equal steps or equal epochs."""
    fewest = runs.groupby("entry")["steps"].transform("min")
    few = np.where(runs["steps"] == fewest, EPOCHS, STEPS)
    return np.where(runs["rows"].isna(), ALL, few)


def _models(runs: pd.DataFrame) -> pd.Series:
    return runs["entry"] + ",\n" + runs["hidden"].map(lambda widths: "network" if widths else "logistic")


def _tuned(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["task"].isin(runs["task"][runs["arm"] == "adam"])]


def _forest(ax: Axes, table: pd.DataFrame, rows: Mapping[str, int], margin: float) -> None:
    """Draw ratios by arm and task with their intervals, a row for each task and a band for the margin."""
    arms = [arm for arm in ARMS if arm in table.index.unique("arm")]
    for arm, shift in zip(arms, np.linspace(0.3, -0.3, len(arms)) if len(arms) > 1 else [0.0], strict=True):
        look, points = ARMS[arm], table.loc[arm]
        heights = points.index.map(rows) + shift
        ax.hlines(heights, points["low"], points["high"], color=look.colour, lw=0.9)
        face = "white" if look.hollow else look.colour
        ax.plot(points["ratio"], heights, look.marker, color=look.colour, mfc=face, ms=4, ls="none", label=look.label)
    for row in [*rows.values()][1:]:
        ax.axhline(row + 0.5, color="0.88", lw=0.6, zorder=0)
    ax.axvspan(1 / margin, margin, color="0.93", zorder=0)
    at_one(ax, across=True)
    ax.set(xscale="log", ylim=(min(rows.values()) - 0.5, 0.5))
    low, high = ax.get_xlim()
    ticks = next(ticks for widest, ticks in TICKS.items() if high / low < widest)
    only_ticks(ax.xaxis, ticks)
    ax.set_xlim(low, high)
    ax.tick_params(axis="y", length=0)
