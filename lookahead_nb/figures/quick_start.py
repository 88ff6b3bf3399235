"""Figure of the notebook 00_quick_start."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, letter_panels, plain_ticks

# The fast weights are drawn last, dotted on top of the slow ones.
NAMES = {"AdamW": "AdamW", "slow": "Lookahead, slow weights", "fast": "Lookahead, fast weights"}


def losses(curves: pd.DataFrame) -> Figure:
    """Draw validation and test loss against the step.

    Parameters
    ----------
    curves : DataFrame
        Losses with the columns ``kind`` ("AdamW", "fast" or "slow"), ``seed``, ``step``, ``validation_loss`` and
        ``test_loss``.

    Returns
    -------
    Figure
        A line is the mean over the seeds; its band reaches from the smallest to the largest seed.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.7), sharey=True)
    look = {"hue_order": NAMES, "style_order": NAMES, "palette": COLOURS, "dashes": DASHES, "markers": MARKERS}
    for ax, split in zip(axs, ("validation", "test"), strict=True):
        sns.lineplot(
            curves, x="step", y=f"{split}_loss", hue="kind", style="kind", **look, markevery=5, markersize=4,
            errorbar=("pi", 100), err_kws={"lw": 0}, legend=ax is axs[1], ax=ax,
        )  # fmt: skip
        ax.set(yscale="log", xlabel="step", ylabel="mean cross-entropy")
        plain_ticks(ax.yaxis, [0.05, 0.1, 0.2, 0.5, 1, 2])
        ax.text(0.97, 0.97, f"{split} part", transform=ax.transAxes, ha="right", va="top")
    handles = axs[1].get_legend().legend_handles
    axs[1].legend(handles, NAMES.values(), loc="upper right", bbox_to_anchor=(1, 0.9))
    letter_panels(axs)
    sns.despine(fig)
    return fig
