"""Figures of the notebook 08_inner_rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookahead_nb.claims import statistics
from lookahead_nb.figures import PAGE, plain_ticks
from lookahead_nb.figures.parts import CONTROL, KINDS, at_one, away, finished

RULES = {
    "sgd": "SGD",
    "momentum": "momentum",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
}
CHANGING = {rule: RULES[rule] for rule in ("sgd", "momentum", "adagrad", "rmsprop")} | {
    "lookahead adam": "Lookahead(Adam)"
}
BELOW = {
    "lookahead": -0.24,
    "lower": 0.0,
    "averaging": 0.24,
}  # kinds of arms around the row of their inner optimizer
LOOKS = {
    "lookahead": KINDS["Lookahead"],
    "lower": KINDS[CONTROL]._replace(label="the rule at lr × slow_step_size of Lookahead"),
    "averaging": KINDS["averaging"],
}
TASK_MARK: dict[str, Any] = {"color": "0.55", "ms": 2.5, "mew": 0.6, "ls": "none"}


def ratios(runs: pd.DataFrame, control: str | Mapping[str, str], metric: str = "test_loss") -> pd.DataFrame:
    """Return arms as multiples of a control in a metric.

    Parameters
    ----------
    runs : DataFrame
        The runs of a claim.
    control : str or mapping of str to str
        One arm, or the control of each arm.
    metric : str
        A column of runs, by default "test_loss".

    Returns
    -------
    DataFrame
        The frame of ``statistics.ratios_to``, over the seeds.
    """
    return statistics.ratios_to(runs.assign(value=runs[metric]), control, over="seeds")


def to_rule(runs: pd.DataFrame) -> pd.DataFrame:
    """Return Lookahead and its controls as multiples of their inner optimizer.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C15, with arms such as "adam" and "lower adam".

    Returns
    -------
    DataFrame
        As :func:`ratios`, in the test loss.
    """
    return ratios(runs, {f"{kind} {rule}": rule for rule in RULES for kind in LOOKS})


def around_every_rule(runs: pd.DataFrame) -> Figure:
    """Draw the test loss of Lookahead and of its controls, for every inner optimizer.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C15.

    Returns
    -------
    Figure
        Multiples of the test loss of the inner optimizer. Grey crosses are single tasks.
    """
    table = to_rule(runs)
    fig, ax = plt.subplots(figsize=(PAGE, 3.6))
    for kind, below in BELOW.items():
        look = LOOKS[kind]
        arms = [f"{kind} {rule}" for rule in RULES]
        rows = np.arange(len(arms)) + below
        for row, arm in zip(rows, arms, strict=True):
            tasks = table.loc[arm].drop("all")["ratio"]
            ax.plot(
                tasks,
                np.full(len(tasks), row),
                "x",
                **TASK_MARK,
                label="single tasks" if row == rows[0] == below and below < 0 else None,
            )
        means = table.xs("all", level="task").loc[arms]
        _bars(ax, means, rows, color=look.colour, marker=look.marker, label=look.label)
    at_one(ax, across=True)
    ax.axvspan(1 / 1.05, 1.05, color="0.93", zorder=-1)
    ax.set_xscale("log")
    ax.set(xlabel="test loss, inner rule alone = 1", ylim=(len(RULES) - 0.5, -0.5))
    plain_ticks(ax.xaxis, [0.8, 0.9, 1, 1.1, 1.25])
    ax.set_yticks(range(len(RULES)), RULES.values())
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    sns.despine(fig)
    return fig


def adapting(steps: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Draw the slow steps of an adaptive Lookahead, and its test losses.

    Parameters
    ----------
    steps : DataFrame
        The columns ``task``, ``progress`` (0 to 1), ``slow_step_size`` and ``seed``.
    runs : DataFrame
        The runs of the claim C16.

    Returns
    -------
    Figure
        Panel (a) shows the slow steps during a run, panel (b) test losses as multiples of the best fixed step.
    """
    to_fixed = ratios(runs, "fixed")
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 3.0), width_ratios=[1.2, 1])
    twentieths = steps.assign(progress=(np.ceil(steps["progress"] * 20) - 0.5) / 20)
    sns.lineplot(
        twentieths, x="progress", y="slow_step_size", hue="task", style="task", estimator="median",
        errorbar=("pi", 90), ax=axs[0], palette="colorblind", lw=1,
    )  # fmt: skip
    axs[0].set(xlabel="share of the run", ylabel="slow_step_size\n(1 - retention)", ylim=(0, 1.05))
    axs[0].legend(loc="lower left", title=None)
    joint = to_fixed.xs("all", level="task")
    names = {
        "adaptive": "adaptive", "mean": "fixed at its mean", "shuffled": "its steps, shuffled",
        "averaging": "averaging", "adamw": "AdamW",
    }  # fmt: skip
    rows = np.arange(len(names))
    for row, arm in zip(rows, names, strict=True):
        tasks = to_fixed.loc[arm].drop("all")["ratio"]
        axs[1].plot(tasks, np.full(len(tasks), row), "x", **TASK_MARK)
    _bars(axs[1], joint.loc[[*names]], rows, color="0.1", marker="o")
    at_one(axs[1], across=True)
    axs[1].set_xscale("log")
    axs[1].set(xlabel="test loss, best fixed step = 1", ylim=(len(names) - 0.5, -0.5))
    plain_ticks(axs[1].xaxis, [0.9, 0.95, 1, 1.05, 1.1])
    axs[1].set_yticks(rows, names.values())
    return finished(fig, axs)


def sparse_and_drifting(runs: pd.DataFrame) -> Figure:
    """Draw inner optimizers as multiples of Adam on sparse and on drifting tasks.

    Parameters
    ----------
    runs : DataFrame
        The runs of the claim C20.

    Returns
    -------
    Figure
        Test loss on texts as (a) plain counts and (b) weighted counts, and (c) tracking errors.
    """
    on_text, to_adam = runs["landscape"].isna(), dict.fromkeys(CHANGING, "adam")
    sparse, drifting = ratios(runs[on_text], to_adam), ratios(runs[~on_text], to_adam, "tracking_error")
    fig, axs = plt.subplots(1, 3, figsize=(PAGE, 2.8), sharey=True)
    panels = (
        (
            sparse,
            {"spam-counts": "short messages", "banking-counts": "bank queries"},
            "test loss, Adam = 1\nplain counts",
        ),
        (sparse, {"spam": "short messages", "banking": "bank queries"}, "test loss, Adam = 1\nweighted counts"),
        (drifting, {"drifting": "many curvatures", "drifting-round": "one curvature"}, "tracking error, Adam = 1"),
    )
    for ax, (table, tasks, label) in zip(axs, panels, strict=True):
        for (task, name), (colour, marker), below in zip(
            tasks.items(), (("0.1", "o"), ("0.5", "D")), (-0.2, 0.2), strict=True
        ):
            rows = table.xs(task, level="task").loc[[*CHANGING]]
            _bars(ax, rows, np.arange(len(CHANGING)) + below, color=colour, marker=marker, label=name)
        at_one(ax, across=True)
        ax.set(xscale="log", xlabel=label)
    for ax in axs[:2]:
        ax.set_xlim(0.72, 1.35)
        plain_ticks(ax.xaxis, [0.8, 0.9, 1, 1.1, 1.2])
    axs[0].legend(loc="lower right")
    axs[2].legend(loc="lower right")
    plain_ticks(axs[2].xaxis, [0.8, 1, 1.5, 2, 3])
    axs[0].set_ylim(len(CHANGING) - 0.5, -0.5)
    axs[0].set_yticks(range(len(CHANGING)), CHANGING.values())
    return finished(fig, axs)


def _bars(
    ax: Axes, table: pd.DataFrame, rows: np.ndarray, *, color: str, marker: str, label: str | None = None
) -> None:
    ends = away(table, "ratio")
    ax.errorbar(table["ratio"], rows, xerr=ends, fmt=marker, color=color, ms=4, lw=1.2, label=label, zorder=3)
