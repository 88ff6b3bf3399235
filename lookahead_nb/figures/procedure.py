"""Figures of the notebook 10c_procedure: the rules of the trial on comparisons whose truth is known."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import finished

COLOURS = {  # by verdict, from one side to the other
    "the opposite holds, and matters": "#7f2704",
    "the opposite holds": "#d94801",
    "the opposite holds, but is too small to matter": "#fdae6b",
    "mixed": "#cc79a7",
    "cannot tell": "0.9",
    "no difference that matters": "0.55",
    "holds, but is too small to matter": "#9ecae1",
    "holds": "#4292c6",
    "holds, and matters": "#084594",
}
NAMES = {
    "adamw_again": "AdamW again",
    "adamw_105": "AdamW, 5 % more steps",
    "adamw_110": "AdamW, 10 % more steps",
}


def verdicts(simulated: pd.DataFrame, margin: float = 0.01) -> Figure:
    """Draw how often each verdict is reached on simulated populations of tasks.

    Parameters
    ----------
    simulated : DataFrame
        The frame of ``proof.simulated_verdicts``.
    margin : float
        The benefit that matters, by default 0.01.

    Returns
    -------
    Figure
        A panel for each shape of the true benefits; a bar for each mean and spread.
    """
    shapes = [*simulated["shape"].unique()]
    fig, axs = plt.subplots(1, len(shapes), figsize=(PAGE, 3.4), sharey=True)
    truths = simulated[["effect", "spread"]].drop_duplicates().to_numpy()
    for ax, shape in zip(axs, shapes, strict=True):
        shares = simulated[simulated["shape"] == shape].pivot_table(
            index=["effect", "spread"], columns="verdict", values="share", fill_value=0, sort=False
        )
        left = np.zeros(len(shares))
        for verdict, colour in COLOURS.items():
            if verdict in shares:
                width = shares[verdict].to_numpy()
                ax.barh(-np.arange(len(shares)), width, 0.85, left, color=colour, lw=0, label=verdict)
                left += width
        ax.set(title=f"{shape} benefits", xlim=(0, 1), xticks=[0, 0.5, 1])
        ax.set_xticklabels(["0", "50 %", "100 %"])
    labels = [f"{100 * effect:g} ± {100 * spread:g} %" for effect, spread in truths]
    axs[0].set_yticks(-np.arange(len(truths)), labels)
    axs[0].set_ylabel(f"true mean ± spread over tasks, margin {100 * margin:g} %")
    handles = {label: handle for ax in axs for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend([handles[name] for name in COLOURS if name in handles], [name for name in COLOURS if name in handles],
               loc="outside lower center", ncols=3, frameon=False, fontsize=7)  # fmt: skip
    return finished(fig, axs, left=True)


def worth(found: pd.DataFrame) -> Figure:
    """Draw what arms of known value are worth.

    Parameters
    ----------
    found : DataFrame
        The columns ``arm``, ``truth`` (the multiple of the steps), ``value``, ``low`` and ``high``.

    Returns
    -------
    Figure
    """
    fig, ax = plt.subplots(figsize=(PAGE / 2, 1.9))
    places = -np.arange(len(found))
    ax.errorbar(
        found["value"], places, xerr=[found["value"] - found["low"], found["high"] - found["value"]],
        fmt="o", ms=4, color="#0173B2", elinewidth=0.9, label="found",
    )  # fmt: skip
    ax.plot(found["truth"], places, "|", ms=12, mew=1.5, color="0.2", label="true")
    ax.set_yticks(places, found["arm"].map(NAMES))
    ax.set(xlabel="worth this multiple of AdamW's steps", ylim=(places[-1] - 0.5, 0.5))
    ax.legend(loc="upper right", frameon=False)
    return finished(fig, [])
