"""Figures of the notebook 08_inner_rules."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from lookahead_nb.figures import COLOURS, PAGE, letter_panels, plain_ticks

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
KINDS = {  # of arm, beside each inner rule: label, colour, marker, how far below the line of the rule
    "lookahead": ("Lookahead", COLOURS["Lookahead"], "o", -0.24),
    "lower": ("the rule at lr × slow_step_size of Lookahead", COLOURS["AdamW at lr x step"], "s", 0.0),
    "averaging": ("averaging, without pull-back", COLOURS["averaging"], "^", 0.24),
}
TASK_MARK: dict[str, Any] = {"color": "0.55", "ms": 2.5, "mew": 0.6, "ls": "none"}


def around_every_rule(to_rule):
    """Draw the test loss of Lookahead and of its controls as multiples of that of the inner rule, for every rule.

    to_rule : frame of ``statistics.ratios_to``, arms named "lookahead adam", "lower adam" and so on. Grey crosses are
    single tasks.
    """
    fig, ax = plt.subplots(figsize=(PAGE, 3.6))
    for kind, (label, colour, marker, below) in KINDS.items():
        arms = [f"{kind} {rule}" for rule in RULES]
        rows = np.arange(len(arms)) + below
        for row, arm in zip(rows, arms, strict=True):
            tasks = to_rule.loc[arm].drop("all")["ratio"]
            ax.plot(
                tasks,
                np.full(len(tasks), row),
                "x",
                **TASK_MARK,
                label="single tasks" if row == rows[0] == below and below < 0 else None,
            )
        _bars(ax, to_rule.xs("all", level="task").loc[arms], rows, color=colour, marker=marker, label=label)
    ax.axvline(1, color="0.5", lw=0.8, zorder=0)
    ax.axvspan(1 / 1.05, 1.05, color="0.93", zorder=-1)
    ax.set_xscale("log")
    ax.set(xlabel="test loss, inner rule alone = 1", ylim=(len(RULES) - 0.5, -0.5))
    plain_ticks(ax.xaxis, [0.8, 0.9, 1, 1.1, 1.25])
    ax.set_yticks(range(len(RULES)), RULES.values())
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    sns.despine(fig)
    return fig


def adapting(steps, to_fixed):
    """Draw (a) the slow steps an adaptive Lookahead takes on its way, (b) test losses as multiples of the best fixed.

    steps : frame with the columns task, progress (0 to 1), slow_step_size and seed. to_fixed : frame of
    ``statistics.ratios_to``.
    """
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
    axs[1].axvline(1, color="0.5", lw=0.8, zorder=0)
    axs[1].set_xscale("log")
    axs[1].set(xlabel="test loss, best fixed step = 1", ylim=(len(names) - 0.5, -0.5))
    plain_ticks(axs[1].xaxis, [0.9, 0.95, 1, 1.05, 1.1])
    axs[1].set_yticks(rows, names.values())
    letter_panels(axs)
    sns.despine(fig)
    return fig


def sparse_and_drifting(sparse, drifting):
    """Draw rules as multiples of Adam: test loss on texts as (a) plain counts and (b) weighted, (c) tracking errors.

    sparse, drifting : frames of ``statistics.ratios_to``; on the tasks "spam", "banking" and each with "-counts", and
    on "drifting" and "drifting-round".
    """
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
    for ax, (ratios, tasks, label) in zip(axs, panels, strict=True):
        for (task, name), (colour, marker), below in zip(
            tasks.items(), (("0.1", "o"), ("0.5", "D")), (-0.2, 0.2), strict=True
        ):
            here = ratios.xs(task, level="task").loc[[*CHANGING]]
            _bars(ax, here, np.arange(len(CHANGING)) + below, color=colour, marker=marker, label=name)
        ax.axvline(1, color="0.5", lw=0.8, zorder=0)
        ax.set(xscale="log", xlabel=label)
    for ax in axs[:2]:
        ax.set_xlim(0.72, 1.35)
        plain_ticks(ax.xaxis, [0.8, 0.9, 1, 1.1, 1.2])
    axs[0].legend(loc="lower right")
    axs[2].legend(loc="lower right")
    plain_ticks(axs[2].xaxis, [0.8, 1, 1.5, 2, 3])
    axs[0].set_ylim(len(CHANGING) - 0.5, -0.5)
    axs[0].set_yticks(range(len(CHANGING)), CHANGING.values())
    letter_panels(axs)
    sns.despine(fig)
    return fig


def _bars(ax, ratios, rows, *, color, marker, label=None):
    away = [ratios["ratio"] - ratios["low"], ratios["high"] - ratios["ratio"]]
    ax.errorbar(ratios["ratio"], rows, xerr=away, fmt=marker, color=color, ms=4, lw=1.2, label=label, zorder=3)
