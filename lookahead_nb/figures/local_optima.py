"""The figure of the notebook 09_local_optima: paths of optimizers between two basins."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, PAGE
from lookahead_nb.figures.parts import CONTROL, finished

ARMS = {  # colours by arm of the table
    "AdamW": COLOURS["AdamW"],
    "half the rate": COLOURS[CONTROL],
    "retention 0.5": COLOURS["Lookahead"],
    "retention 0.9": COLOURS["slow"],
}


def paths(paths: pd.DataFrame, profile: pd.DataFrame) -> Figure:
    """Draw the positions of a few replicas over the steps, next to the height of the basins.

    Parameters
    ----------
    paths : DataFrame
        The columns ``arm``, a key of ``ARMS``, and ``step``, and one column of positions for each replica.
    profile : DataFrame
        The columns ``position`` and ``height``, at rising positions.

    Returns
    -------
    Figure
        The height on the left, then one panel for each arm.
    """
    fig, axs = plt.subplots(1, 5, figsize=(PAGE, 2.3), sharey=True, width_ratios=[1, 2, 2, 2, 2])
    axs[0].plot(profile["height"], profile["position"], color="0.1")
    axs[0].set(xlabel="height", ylabel="position", xticks=[])
    for ax, (arm, own) in zip(axs[1:], paths.groupby("arm", sort=False), strict=True):
        places = own.set_index("step").drop(columns="arm")
        shades = sns.light_palette(ARMS[str(arm)], places.shape[1] + 2)[2:]
        for (_, place), shade in zip(places.items(), shades, strict=True):
            ax.plot(place, color=shade, lw=0.6)
        ax.set(xlabel="steps", title=arm)
    turns = np.flatnonzero(np.diff(np.sign(np.diff(profile["height"])))) + 1
    for ax in axs:
        for place in profile["position"].iloc[turns]:
            ax.axhline(place, color="0.6", lw=0.6, zorder=0)
    return finished(fig, axs)
