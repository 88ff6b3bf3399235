"""The figure of the notebook 02_retention: exact losses over the steps, by retention and learning rate."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, COLUMN
from lookahead_nb.figures.parts import CONTROL, Look, finished

LOOKS = {  # by arm of the table
    "AdamW": Look("AdamW", COLOURS["AdamW"]),
    "retention 0.5": Look("retention 0.5", COLOURS["Lookahead"]),
    "half the rate": Look("AdamW, half the rate", COLOURS[CONTROL], dashes=(4, 1.5)),
    "retention 0.9": Look("retention 0.9", COLOURS["slow"]),
    "a tenth of the rate": Look("AdamW, a tenth of the rate", "0.3", dashes=(1, 1)),
}


def over_time(losses: pd.DataFrame) -> Figure:
    """Draw the loss of slow weights and of AdamW over the steps.

    Parameters
    ----------
    losses : DataFrame
        The columns ``arm``, a key of ``LOOKS``, ``step`` and ``loss``.

    Returns
    -------
    Figure
        A line for each arm, both axes logarithmic.
    """
    fig, ax = plt.subplots(figsize=(1.3 * COLUMN, 2.8))
    for arm, own in losses.groupby("arm", sort=False):
        look = LOOKS[str(arm)]
        ax.plot(own["step"], own["loss"], color=look.colour, dashes=look.dashes, label=look.label)
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="expected loss")
    ax.legend(loc="lower left", frameon=False)
    return finished(fig, [])
