"""Figures of the notebook 02_faq_8_1_alpha, each from the measured runs of one claim (see ``measure.Measured``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.claims import statistics
from lookahead_nb.figures import COLOURS, PAGE, both_conventions, plain_ticks
from lookahead_nb.figures.parts import CONTROL, KINDS, at_one, finished, line

FAMILIES = {
    "Lookahead": "lookahead",
    CONTROL: "lower",
    "averaging": "averaging",
}  # in the register, by kind of arm
LINES: dict[str, list[Any]] = {
    "ls": ["-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1))],
    "marker": ["o", "v", "s", "D"],
}


def speed(runs: pd.DataFrame) -> Figure:
    """Draw the steps to a threshold against retention.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C01.

    Returns
    -------
    Figure
        (a) The share of runs that still wait for the threshold; the steps (b) at an unchanged and (c) at a tuned rate;
        (d) the steps in which the slowest direction of a quadratic shrinks.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.6))
    plain, tuned = (runs[runs["task"].isin(_tasks_of(runs, arm))] for arm in ("adamw", "tuned adamw"))
    _waiting(axs[0, 0], plain[plain["entry"] == "digits"])
    _kinds(axs[0, 1], plain, "steps_to_threshold", _arms(plain), "adamw")
    guide = np.linspace(0, 0.9, 50)
    axs[0, 1].plot(guide, 1 / (1 - guide), color="0.5", lw=0.8, zorder=0, label="1 / slow_step_size")
    axs[0, 1].set_ylabel("steps to the threshold, AdamW = 1\nlearning rate unchanged")
    _kinds(axs[1, 0], tuned, "steps_to_threshold", _arms(tuned, ["Lookahead"], "tuned "), "tuned adamw")
    axs[1, 0].set_ylabel("steps to the threshold, AdamW = 1\nlearning rate tuned for each")
    solved = _by_retention(runs, "momentum lookahead")
    for task, metric, label, colour, ls, marker in (
        ("spectrum", "steps_to_shrink", "flat directions", COLOURS["Lookahead"], "-", "o"),
        ("ringing", "steps_to_shrink", "directions that ring", COLOURS["Lookahead"], (0, (4, 1.5)), "v"),
        ("spectrum", "steps_to_shrink_at_equal_risk", "flat directions, equal risk", "0.35", "-", "o"),
    ):
        middle, _ = _multiples(runs[runs["task"] == task], metric, solved, "momentum")
        axs[1, 1].plot(middle["mean"], ls=ls, marker=marker, ms=4, color=colour, label=label)
    axs[1, 1].set_ylabel("steps to shrink by e, momentum alone = 1\nquadratics, exact")
    for ax in (axs[0, 1], axs[1, 0], axs[1, 1]):
        _against_retention(ax, [0.2, 0.5, 1, 2, 5, 10])
        ax.legend(loc="upper left")
    for ax, top in ((axs[0, 1], 60), (axs[1, 1], 40)):  # room for the legends
        ax.set_ylim(top=top)
    return _finished(fig, axs, plain=[axs[0, 0]])


def stability(runs: pd.DataFrame) -> Figure:
    """Draw the excess loss at the noise floor against retention.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C02.

    Returns
    -------
    Figure
        (a), (b) Two tasks; (c) two quadratics, where lines are exact and markers simulated; (d) the excess of Lookahead
        over that of its inner optimizer at the lower rate.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.6))
    trained, solved = _tasks_of(runs, "adamw"), _tasks_of(runs, "momentum")
    for ax, task in zip(axs[0], trained, strict=True):
        rows = runs[runs["task"] == task]
        _kinds(ax, rows, "floor", _arms(rows), "adamw")
        both, _ = _multiples(rows, "floor", {0.9: "lower averaging"}, "adamw")
        look = {"color": COLOURS["averaging"], "mec": "0.1", "mew": 0.6, "ls": "none"}
        ax.plot(both["mean"][[0.9]], "*", ms=8, **look, label="averaging at a tenth of the rate")
        ax.set_ylabel(f"excess loss at the floor, AdamW = 1\n{_entry(rows)}")
    for task, ls in zip(solved, LINES["ls"], strict=False):
        rows = runs[runs["task"] == task]
        for kind, named in _arms(rows, ["Lookahead", CONTROL], "momentum ").items():
            exact, simulated = (_multiples(rows, metric, named, "momentum")[0] for metric in ("slow_risk", "floor"))
            look = KINDS[kind].points
            axs[1, 0].plot(simulated["mean"], ls="none", **look)
            label = f"{KINDS[kind].label}, {_entry(rows)}".replace("AdamW", "momentum")
            axs[1, 0].plot(exact["mean"], ls=ls, color=look["color"])
            axs[1, 0].plot([], [], ls=ls, **look, label=label)
    axs[1, 0].set_ylabel("excess in the steady state\nquadratics, momentum alone = 1")
    for task, ls, marker in zip([*trained, *solved], *LINES.values(), strict=True):
        rows = runs[runs["task"] == task]
        kinds = _arms(rows, ["Lookahead", CONTROL], "momentum " if task in solved else "")
        controls: dict[str, str] = dict(zip(*(arms.values() for arms in kinds.values()), strict=True))
        left, _ = _multiples(rows, "floor", kinds["Lookahead"], controls)
        line(axs[1, 1], left, color="0.25", ls=ls, marker=marker, ms=4, lw=1, label=_entry(rows))
    at_one(axs[1, 1])
    axs[1, 1].set_ylabel("excess of Lookahead /\nof the inner rule at lr × slow_step_size")
    for ax in axs.flat:
        _against_retention(ax, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1])
        ax.legend(loc="lower left")
    axs[1, 0].set_ylim(bottom=0.005)  # room for the legends
    axs[1, 1].set_ylim(bottom=0.1)
    return _finished(fig, axs)


def budget(runs: pd.DataFrame) -> Figure:
    """Draw test losses against retention after short and long budgets.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C04.

    Returns
    -------
    Figure
        (a), (b) The difference to tuned AdamW at tuned rates after short and long budgets, with the margin in grey;
        (c), (d) the losses of digits at an unchanged rate.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.6))
    tasks = {task: runs[runs["task"] == task] for task in _tasks_of(runs, "tuned adamw")}
    steps = {task: task_runs["steps"].iloc[0] for task, task_runs in tasks.items()}
    shortest = {_entry(tasks[task]): steps[task] for task in sorted(tasks, key=steps.__getitem__, reverse=True)}
    looks = dict(zip(shortest, zip("osDv^<>", sns.color_palette("colorblind"), strict=False), strict=False))
    for task, task_runs in tasks.items():
        ax = axs[0, int(steps[task] > shortest[_entry(task_runs)])]
        marker, colour = looks[_entry(task_runs)]
        label = f"{_entry(task_runs)}, {steps[task]} steps"
        line(ax, _per_cent(task_runs), color=colour, marker=marker, ms=4, lw=1, label=label)
    for ax in axs[0]:
        ax.axhspan(-0.5, 0.5, color="0.9", zorder=0)
        ticks = [-10, -1, 0, 1, 10]
        ax.set_yscale("symlog", linthresh=1, linscale=1)
        ax.set_yticks(ticks, ticks)
        ax.set(ylabel="test loss over that of tuned AdamW\n(% of the loss of chance)", ylim=(-15, 2000))
        ax.minorticks_off()
        ax.legend(loc="upper left", ncols=2)
    digits = {steps[task]: task_runs for task, task_runs in tasks.items() if _entry(task_runs) == "digits"}
    for ax, times in zip(axs[1], (1, 10), strict=True):
        for (last, task_runs), ls in zip(digits.items(), LINES["ls"], strict=False):
            selected = task_runs[task_runs["times"] == times]
            (alone,) = selected.loc[selected["family"] == "adamw", "arm"].unique()
            named = {0.0: alone} | _by_retention(selected, "lookahead")
            means = selected.groupby("arm")["test_loss"].mean()
            losses = pd.Series({a: means[arm] for a, arm in named.items()})
            ax.plot(losses, color=COLOURS["Lookahead"], ls=ls, label=f"{last} steps")
            ax.plot(losses.idxmin(), losses.min(), "o", color=COLOURS["Lookahead"], mec="0.1", ms=6)
        rate = selected.loc[selected["arm"] == alone, "lr"].iloc[0]
        ax.set(yscale="log", ylabel=f"test loss, digits\nlearning rate {rate:g}, unchanged")
        plain_ticks(ax.yaxis, [0.1, 0.2, 0.5, 1, 2])
    for ax in axs.flat:
        both_conventions(ax)
    axs[1, 0].legend(loc="center left", bbox_to_anchor=(0, 0.6))
    axs[1, 1].legend(loc="upper left")
    return _finished(fig, axs)


# ------------------------------------------------------------------------------------------------------ names of arms


def _arms(runs: pd.DataFrame, kinds: Sequence[str] = (*FAMILIES,), prefix: str = "") -> dict[str, dict[float, str]]:
    """Return the names of arms by kind and retention."""
    return {kind: _by_retention(runs, prefix + FAMILIES[kind]) for kind in kinds}


def _by_retention(runs: pd.DataFrame, family: str) -> dict[float, str]:
    """Return the arms of a family by retention; a lower rate has that of the Lookahead it controls."""
    arms = runs[runs["family"] == family].drop_duplicates("arm")
    return dict(zip(arms["retention"].fillna((1 - arms["times"]).round(12)), arms["arm"], strict=True))


def _tasks_of(runs: pd.DataFrame, arm: str) -> list[str]:
    return [*runs.loc[runs["arm"] == arm, "task"].unique()]


def _entry(runs: pd.DataFrame) -> str:
    """Return the name of the only task without its changes."""
    (entry,) = runs["entry"].unique()
    return entry


# ------------------------------------------------------------------------------------------------------------ numbers


def _multiples(
    runs: pd.DataFrame, metric: str, named: Mapping[float, str], control: str | Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a metric of arms by retention, as multiples of one control or of the control of each: geometric means.

    The first frame has ``mean``, ``low`` and ``high`` over all tasks; a single control is at retention 0. The second
    frame has the means, a column for each task.
    """
    controls = dict.fromkeys(named.values(), control) if isinstance(control, str) else control
    ratios = statistics.ratios_to(_values(runs, metric), controls, over="seeds").rename(columns={"ratio": "mean"})
    joint, by_task = ratios.xs("all", level="task"), ratios.drop("all", level="task")["mean"].unstack("task")
    middle, tasks = (table.loc[[*named.values()]].set_axis([*named]) for table in (joint, by_task))
    if isinstance(control, str):
        middle.loc[0.0] = tasks.loc[0.0] = 1.0
    return middle.sort_index(), tasks.sort_index()


def _per_cent(runs: pd.DataFrame) -> pd.DataFrame:
    """Return test losses less that of tuned AdamW, by retention, in % of the gap between chance and the best loss."""
    values, named = _values(runs, "test_loss"), _by_retention(runs, "tuned lookahead")
    (full_gap,) = statistics.chance_gap(runs, "test_loss")
    gaps = {a: statistics.student(statistics.paired(values, arm, "tuned adamw")) for a, arm in named.items()}
    return 100 / full_gap * pd.DataFrame({0.0: (0.0, 0.0, 0.0)} | gaps, ["mean", "low", "high"]).T


def _values(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    return runs.rename(columns={metric: "value"})[["task", "arm", "seed", "value"]]


# ------------------------------------------------------------------------------------------------------------ drawing


def _kinds(ax: Axes, runs: pd.DataFrame, metric: str, kinds: Mapping[str, Mapping[float, str]], control: str) -> None:
    """Draw the multiples of each kind of arm, with intervals, and thinly of each task where there are several."""
    for kind, named in kinds.items():
        middle, tasks = _multiples(runs, metric, named, control)
        if tasks.shape[1] > 1:
            ax.plot(tasks, color=KINDS[kind].colour, dashes=KINDS[kind].dashes, lw=0.5, alpha=0.6)
        line(ax, middle, **KINDS[kind].line, label=KINDS[kind].label)
    ax.plot(0, 1, **KINDS["AdamW"].points, ls="none", zorder=4, label="AdamW")


def _waiting(ax: Axes, runs: pd.DataFrame) -> None:
    """Draw the share of runs above the threshold against the step, by Kaplan and Meier's estimator."""
    kinds = _arms(runs)
    curves = {"AdamW": {0.0: "adamw"}, "averaging": {0.9: kinds["averaging"][0.9]}}
    for kind, named in (curves | {kind: kinds[kind] for kind in ("Lookahead", CONTROL)}).items():
        for a, arm in named.items():
            arm_runs = runs[runs["arm"] == arm]
            times = arm_runs["steps_to_threshold"].where(arm_runs["reached"] == 1)
            share = statistics.kaplan_meier(times, arm_runs["steps_to_threshold"].max())["waiting"]
            ax.plot(share, drawstyle="steps-post", color=KINDS[kind].colour, dashes=KINDS[kind].dashes)
            if kind == "Lookahead":
                ax.text(1.04 * share.index[share <= 0.5][0], 0.55, f"{a}", fontsize=7)
    ax.set(xscale="log", xlabel="step", ylabel="share of runs above the threshold\ndigits, learning rate unchanged")
    plain_ticks(ax.xaxis, [150, 200, 300, 500, 1000, 1500])


def _against_retention(ax: Axes, ticks: Sequence[float]) -> None:
    ax.set(yscale="log", xlim=(-0.05, 0.97))
    plain_ticks(ax.yaxis, ticks)
    both_conventions(ax)


def _finished(fig: Figure, axs: np.ndarray, plain: Iterable[Axes] = ()) -> Figure:
    finished(fig, axs.flat, top=False)
    for ax in plain:
        sns.despine(ax=ax)
    return fig
