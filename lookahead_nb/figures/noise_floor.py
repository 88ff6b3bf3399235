"""Figure of the notebook 06b_noise_floor. Lines are predictions; markers are measured."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, plain_ticks
from lookahead_nb.figures.parts import Look, at_one, finished, no_minor_ticks

SIZES = {  # measures of the cloud of slow weights
    "variance": Look("total variance", COLOURS["Lookahead"], "o"),
    "excess": Look("excess loss", COLOURS["AdamW"], "s"),
}
MEASURES = SIZES | {"directions": Look("five largest modes", COLOURS["slow"], "^")}


def prediction(found: pd.DataFrame, epoch: pd.DataFrame) -> Figure:
    """Draw the predicted against the measured size of the cloud of slow weights, and where the prediction ends.

    Parameters
    ----------
    found : DataFrame
        The frame of ``predictions.floors`` over slow_step_size and sync_period at the lowest lr, and over lr.
    epoch : DataFrame
        The total variance of one setting: ``step`` (of the epoch), ``weights``, ``predicted`` and ``measured``, which
        is NaN where there are no runs.

    Returns
    -------
    Figure
        Predicted against measured sizes, their ratios by setting, one epoch, and the ratios over lr.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.8))
    lowest = found["lr"].min()
    low = found[found["lr"] == lowest]
    grouped = low["measure"].where(low["measure"].isin(SIZES), "directions")
    limits = low["measured"].min() / 2, low["independent"].max() * 2
    axs[0, 0].plot(limits, limits, color="0.5", lw=0.8, zorder=0)
    for name, look in MEASURES.items():
        rows = low[grouped == name]
        outlined = look.points | {"ls": "none", "mec": "white", "mew": 0.3, "label": look.label}
        axs[0, 0].plot(rows["predicted"], rows["measured"], **outlined)
        if name in SIZES:
            axs[0, 0].plot(rows["independent"], rows["measured"], look.marker, ms=3, mfc="none", mew=0.6, color="0.6")
    axs[0, 0].plot([], [], "o", ms=3, mfc="none", mew=0.6, color="0.6", label="if batches were drawn anew")
    axs[0, 0].set(xscale="log", yscale="log", xlabel="predicted", ylabel="measured", xlim=limits, ylim=limits)
    axs[0, 0].legend(loc="upper left")
    rows = low[low["measure"].isin(SIZES)]
    order = rows.groupby(["beta1", "slow_step_size", "sync_period"], sort=True).ngroup()
    for shift, (name, look) in zip((-0.15, 0.15), SIZES.items(), strict=True):
        selected = rows[rows["measure"] == name]
        bars = 2 * selected["error"] / selected["predicted"]
        drawn = {"fmt": look.marker, "ms": 3.5, "color": look.colour, "elinewidth": 0.7, "label": look.label}
        axs[0, 1].errorbar(order[selected.index] + shift, selected["ratio"], bars, **drawn)
    axs[0, 1].axhspan(0.9, 1.1, color="0.92", zorder=0)
    at_one(axs[0, 1])
    groups = order.groupby([rows["beta1"], rows["slow_step_size"]]).agg(["min", "max"])
    for (beta1, size), (first, last) in groups.iterrows():
        axs[0, 1].axvline(last + 0.5, color="0.2" if size == 1 else "0.8", lw=0.5)
        axs[0, 1].text((first + last) / 2, 0.83, f"{size:g}", ha="center", fontsize=7)
        if size == 0.2:
            axs[0, 1].text(first - 0.3, 0.78, f"slow_step_size above, beta1 = {beta1:g}", fontsize=6)
    axs[0, 1].set(ylabel="measured / predicted", ylim=(0.76, 1.3), xlim=(-0.5, order.max() + 0.5), xticks=[])
    axs[0, 1].set_xlabel("settings, sync_period rising within each")
    axs[0, 1].legend(loc="upper left", ncols=2)
    for kind, line in epoch.groupby("weights"):
        axs[1, 0].plot(line["step"], line["predicted"], color=COLOURS[kind], dashes=DASHES[kind])
        drawn = {"color": COLOURS[kind], "ms": 4, "mfc": "none" if kind == "fast" else COLOURS[kind], "label": kind}
        axs[1, 0].plot(line["step"], line["measured"], "o" if kind == "fast" else MARKERS[kind], **drawn)
    axs[1, 0].set(xlabel="step of the epoch", ylabel="total variance", ylim=(0, None))
    axs[1, 0].legend()
    series = (found["beta1"] == 0.9) & (found["sync_period"] == 5) & np.isclose(found["slow_step_size"], 0.5)
    for name, look in SIZES.items():
        selected = found[series & (found["measure"] == name)].sort_values("lr")
        bars = 2 * selected["error"] / selected["predicted"]
        drawn = {"fmt": f"{look.marker}-", "ms": 4, "color": look.colour, "elinewidth": 0.7, "label": look.label}
        axs[1, 1].errorbar(selected["lr"], selected["ratio"], bars, **drawn)
    axs[1, 1].axhspan(0.9, 1.1, color="0.92", zorder=0)
    at_one(axs[1, 1])
    axs[1, 1].set(xscale="log", xlabel="lr of AdamW", ylabel="measured / predicted")
    plain_ticks(axs[1, 1].xaxis, sorted(found["lr"].unique()))
    axs[1, 1].legend(loc="upper left")
    no_minor_ticks(axs.flat)
    return finished(fig, axs.flat)
