"""The figure of the notebook 06b_noise_floor: lines are predictions, markers are measured."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import NullLocator

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, PAGE, letter_panels, plain_ticks

MEASURES = {  # colour, marker, label
    "variance": (COLOURS["Lookahead"], "o", "total variance"),
    "excess": (COLOURS["AdamW"], "s", "excess loss"),
    "direction 1": (COLOURS["slow"], "^", "five largest modes"),
}


def prediction(found, epoch):
    """Draw the predicted against the measured size of the cloud of slow weights, and where the prediction ends.

    found : ``predictions.floors`` over slow_step_size and sync_period at the lowest lr, and over lr. epoch : frame of
    the total variance of one setting with ``step`` (of the epoch), ``weights``, ``predicted`` and ``measured``, NaN
    where there are no runs.
    """
    fig, axs = plt.subplots(2, 2, figsize=(PAGE, 5.8))
    lowest = found["lr"].min()
    low, grouped = (
        found[found["lr"] == lowest],
        found["measure"].str.replace(r"direction \d", "direction 1", regex=True),
    )
    limits = low["measured"].min() / 2, low["independent"].max() * 2
    axs[0, 0].plot(limits, limits, color="0.5", lw=0.8, zorder=0)
    for name, (colour, marker, label) in MEASURES.items():
        here = low[grouped[low.index] == name]
        axs[0, 0].plot(
            here["predicted"], here["measured"], marker, ms=4, color=colour, mec="white", mew=0.3, label=label
        )
        if name != "direction 1":
            axs[0, 0].plot(here["independent"], here["measured"], marker, ms=3, mfc="none", mew=0.6, color="0.6")
    axs[0, 0].plot([], [], "o", ms=3, mfc="none", mew=0.6, color="0.6", label="if batches were drawn anew")
    axs[0, 0].set(xscale="log", yscale="log", xlabel="predicted", ylabel="measured", xlim=limits, ylim=limits)
    axs[0, 0].legend(loc="upper left")
    rows = low[low["measure"].isin(["variance", "excess"])]
    order = rows.groupby(["beta1", "slow_step_size", "sync_period"], sort=True).ngroup()
    for shift, (name, (colour, marker, label)) in zip((-0.15, 0.15), MEASURES.items(), strict=False):
        here = rows[rows["measure"] == name]
        bars = 2 * here["error"] / here["predicted"]
        look = {"fmt": marker, "ms": 3.5, "color": colour, "elinewidth": 0.7, "label": label}
        axs[0, 1].errorbar(order[here.index] + shift, here["ratio"], bars, **look)
    axs[0, 1].axhspan(0.9, 1.1, color="0.92", zorder=0)
    axs[0, 1].axhline(1, color="0.5", lw=0.8, zorder=0)
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
        look = {"color": COLOURS[kind], "ms": 4, "mfc": "none" if kind == "fast" else COLOURS[kind], "label": kind}
        axs[1, 0].plot(line["step"], line["measured"], "o" if kind == "fast" else MARKERS[kind], **look)
    axs[1, 0].set(xlabel="step of the epoch", ylabel="total variance", ylim=(0, None))
    axs[1, 0].legend()
    series = (found["beta1"] == 0.9) & (found["sync_period"] == 5) & np.isclose(found["slow_step_size"], 0.5)
    for name, (colour, marker, label) in [*MEASURES.items()][:2]:
        here = found[series & (found["measure"] == name)].sort_values("lr")
        bars = 2 * here["error"] / here["predicted"]
        look = {"fmt": f"{marker}-", "ms": 4, "color": colour, "elinewidth": 0.7, "label": label}
        axs[1, 1].errorbar(here["lr"], here["ratio"], bars, **look)
    axs[1, 1].axhspan(0.9, 1.1, color="0.92", zorder=0)
    axs[1, 1].axhline(1, color="0.5", lw=0.8, zorder=0)
    axs[1, 1].set(xscale="log", xlabel="lr of AdamW", ylabel="measured / predicted")
    plain_ticks(axs[1, 1].xaxis, sorted(found["lr"].unique()))
    axs[1, 1].legend(loc="upper left")
    for ax in axs.flat:
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())
    letter_panels(axs.flat)
    sns.despine(fig)
    return fig
