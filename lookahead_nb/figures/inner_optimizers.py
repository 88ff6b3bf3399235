"""Figures of the notebook 08_inner_optimizers that are not of statements."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, PAGE
from lookahead_nb.figures.parts import at_one, finished, only_ticks

MOMENTA = {0.0: ("0.55", (1, 1)), 0.5: ("#F5C26B", (4, 1.5)), 0.9: (COLOURS["Lookahead"], ())}  # colour and dashes


def oscillation(ratios: pd.DataFrame, path: pd.DataFrame) -> Figure:
    """Draw what Lookahead gains around gradient descent with and without momentum, and how it brakes one mode.

    Parameters
    ----------
    ratios : DataFrame
        Of ``predictions.tuned_around_momentum`` for the momenta 0, 0.5 and 0.9.
    path : DataFrame
        ``step``, and the weight of one mode with momentum ``alone`` and with ``Lookahead``.

    Returns
    -------
    Figure
        A line for each momentum, and two paths.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.5))
    for momentum, (colour, dashes) in MOMENTA.items():
        own = ratios[ratios["momentum"] == momentum]
        left.plot(own["steps"], own["ratio"], color=colour, dashes=dashes, label=f"momentum {momentum:g}")
    at_one(left)
    left.set(xscale="log", xlabel="steps", ylabel="loss, as a multiple of\nthat of the inner optimizer")
    only_ticks(left.xaxis, [10, 20, 50, 100, 200])
    left.legend(loc="lower right", frameon=False)
    right.plot(path["step"], path["alone"], color=COLOURS["AdamW"], dashes=(4, 1.5), label="momentum alone")
    right.plot(path["step"], path["Lookahead"], color=COLOURS["Lookahead"], label="with Lookahead, slow weights")
    right.axhline(0, color="0.5", lw=0.8, zorder=0)
    right.set(xlabel="step", ylabel="distance from the minimum")
    right.legend(loc="upper right", frameon=False)
    return finished(fig, [left, right])
