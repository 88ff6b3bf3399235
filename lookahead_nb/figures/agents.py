"""Figures of the notebook 13c_agents."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, PAGE
from lookahead_nb.figures.parts import finished
from lookahead_nb.training.agents import GOAL

ARMS = {  # titles and colours, from left to right
    "adam_at_one_rate": ("Adam", COLOURS["AdamW"]),
    "lookahead_at_one_rate": ("Lookahead", COLOURS["Lookahead"]),
    "adam_at_half_the_rate": ("Adam, half the rate", COLOURS["AdamW at lr x step"]),
    "outer_step_at_one_rate": ("slow step 1.5", COLOURS["averaging"]),
}


def learning(progress: pd.DataFrame) -> Figure:
    """Draw the recent return of agents over the steps they have taken.

    Parameters
    ----------
    progress : DataFrame
        The columns ``arm``, a key of ``ARMS``, ``seed``, ``env_steps``, ``recent_return`` and ``solved``, the steps
        until the goal is reached, NaN if never.

    Returns
    -------
    Figure
        A panel for each arm, with a line for each seed and a tick where it is solved.
    """
    fig, axs = plt.subplots(1, len(ARMS), figsize=(PAGE, 2.1), sharex=True, sharey=True)
    for ax, (arm, (title, colour)) in zip(axs, ARMS.items(), strict=True):
        for _, run in progress[progress["arm"] == arm].groupby("seed", sort=False):
            ax.plot(run["env_steps"] / 1000, run["recent_return"], color=colour, lw=0.9, alpha=0.8)
            ax.plot(run["solved"].iloc[:1] / 1000, [GOAL], "|", color="0.1", ms=9, mew=1.2, zorder=4)
        ax.axhline(GOAL, color="0.6", lw=0.7, zorder=0)
        ax.set(xlabel="steps, thousands", xlim=(0, 105), ylim=(0, 510))
        ax.set_title(title, fontsize=8)
    axs[0].set_ylabel("return of 20 episodes")
    return finished(fig, axs)
