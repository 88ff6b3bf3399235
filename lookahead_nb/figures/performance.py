"""Figures of the notebook 12_performance. They are drawn from measured times, ``data/timings``, and only show them."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, NullLocator

from lookahead_nb.figures import PAGE, letter_panels, plain_ticks

# Arithmetic and traffic of one float32 weight. A fused multiply-add is two operations, a root or a quotient is one.
STEP_OPERATIONS, SYNC_OPERATIONS = 15, 3
STEP_BYTES, SYNC_BYTES = 28, 8  # reads weight, gradient, two moments and writes all but the gradient; slow, both ways
PASS_OPERATIONS = 3  # of the bare pass over the same arrays: an addition for each that is written

RIVALS = {  # colour, marker, dashes; colours that stand for no arm elsewhere
    "ours": ("0.1", "o", ()),
    "torch": ("#D55E00", "s", (4, 1.5)),
    "optax": ("#CA9161", "D", (1, 1)),
    "JAX": ("#CA9161", "D", (1, 1)),
    "ours checking": ("0.45", "v", (6, 1, 1, 1)),
    "ours, CPU": ("0.45", "v", (6, 1, 1, 1)),
    "memory": ("#949494", "x", ()),
    "copy": ("#949494", "x", ()),
    "sgemm": ("#949494", "|", ()),
}
LABELS = {
    "torch": "PyTorch",
    "JAX": "JAX vmap",
    "ours checking": "ours, checking",
    "memory": "bare pass over the arrays",
    "copy": "copy of as many bytes",
    "sgemm": "NumPy's products alone",
    "ours, CPU": "ours on the CPU",
}


def quickest(times, rival, at):
    """Return the rows of a rival, index at: of its variants ("torch fused 1", "torch fused 2") the quickest at each.

    times : frame of ``data/timings``. rival : str, the name, or what those of its variants begin with, "AdamW, torch".
    at : str, the column of what is compared, "n" or "problem".
    """
    named = times["rival"] == rival
    rows = times[named if named.any() else times["rival"].str.startswith(f"{rival} ")]
    return rows.loc[rows.groupby(at, sort=False)["seconds"].idxmin()].set_index(at)


def ratios(times, rival, ours, at, column="times_ours"):
    """Return how many times as long a rival takes as ours, as ``ratio`` with the range of its quartiles, index at.

    ``low`` and ``high`` are its lower quartile over our upper one and its upper over our lower one. That is wider than
    the quartiles of the ratios of single rounds, which the tables do not hold.

    times : frame of ``data/timings``; rival, ours : two names in its column ``rival``; at : name of the column that
    becomes the index; column : name of the one that holds the ratio.
    """
    rows, own = quickest(times, rival, at), times[times["rival"] == ours].set_index(at)
    low, high = rows["seconds_low"] / own["seconds_high"], rows["seconds_high"] / own["seconds_low"]
    return pd.DataFrame({"ratio": rows[column], "low": low, "high": high}).loc[rows.index]


def counted(rows):
    """Return rows of a flat step, index n, with ``intensity``, flop per byte, and ``flops``, flop per second.

    Both are counted from what a step has to compute and to move at the least, whatever a rival does beyond that.

    rows : frame with ``bytes`` and ``seconds``.
    """
    syncs = (rows["bytes"] / rows.index - STEP_BYTES) / SYNC_BYTES  # per step
    operations = rows.index * (STEP_OPERATIONS + SYNC_OPERATIONS * syncs)
    return rows.assign(intensity=operations / rows["bytes"], flops=operations / rows["seconds"])


def roofline(flat_step, sweep, gpu=None):
    """Draw one step of Lookahead below the limits of the machine, a panel for every size of the buffer.

    flat_step, sweep : frames of ``data/timings``; the second tells how fast NumPy multiplies matrices. gpu : frame of
    ``data/timings/cuda-flat_step``, a second row of panels; nothing measures the arithmetic of a GPU by itself.
    """
    products = sweep.loc[sweep["rival"].str.startswith("sgemm"), "operations_per_second"].max()
    rows = [(flat_step, "memory", products)] + ([(gpu, "copy", np.inf)] if gpu is not None else [])
    columns = max(times["n"].nunique() for times, *_ in rows)
    size = PAGE, 0.3 + 2.5 * len(rows)
    fig, grid = plt.subplots(len(rows), columns, figsize=size, sharey="row", squeeze=False)
    for axs, (times, limit, most) in zip(grid, rows, strict=True):
        sizes = times["n"].unique()
        for ax, n in zip(axs, sizes, strict=False):
            _roof(ax, times[times["n"] == n], limit, most)
            ax.set_title(f"{n:,} weights")
        axs[0].set_ylabel("Gflop per second" + (", on a GPU" if times is gpu else ""))
        for ax in axs[len(sizes) :]:
            ax.remove()
    _finish(fig)
    return fig


def _roof(ax, times, limit, most):
    (bandwidth,) = quickest(times, limit, "n")["bytes_per_second"]
    at = PASS_OPERATIONS / STEP_BYTES
    x = np.array([at / 2, min(most / bandwidth, 20), 20])
    ax.plot(x, np.minimum(bandwidth * x, most) / 1e9, color=RIVALS[limit][0], label="limit", zorder=0)
    if limit == "memory":  # a copy computes nothing
        ax.plot(at, bandwidth * at / 1e9, "x", color=RIVALS[limit][0], ms=5, label=LABELS[limit])
    for rival in ("optax", "torch", "ours"):
        step = counted(quickest(times, f"Lookahead, {rival}", "n"))
        colour, marker, _ = RIVALS[rival]
        ax.plot(step["intensity"], step["flops"] / 1e9, marker, color=colour, ms=4.5, label=LABELS.get(rival, rival))
    share = step["flops"].iloc[0] / min(bandwidth * step["intensity"].iloc[0], most)
    where = step["intensity"].iloc[0] * 1.25, step["flops"].iloc[0] / 1e9
    ax.text(*where, f"{100 * share:.0f} % of\nthe limit", va="top", fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="flop per byte")
    plain_ticks(ax.xaxis, [0.1, 1, 10])
    plain_ticks(ax.yaxis, [1, 10, 100, 1000, 10_000])


def steps(flat_step, gpu=None):
    """Draw how many times as long as ours others take for one step, by the size of the buffer: AdamW, and Lookahead.

    flat_step : frame of ``data/timings``; gpu : that of ``data/timings/cuda-flat_step``, for a second row of panels.
    """
    rows = [(flat_step, "memory")] + ([(gpu, "copy")] if gpu is not None else [])
    fig, grid = plt.subplots(len(rows), 2, figsize=(PAGE, 0.3 + 2.6 * len(rows)), sharey="row", squeeze=False)
    for axs, (times, limit) in zip(grid, rows, strict=True):
        for ax, what, column in zip(axs, ("AdamW", "Lookahead"), ("times_ours_adamw", "times_ours"), strict=True):
            ours = f"{what}, ours"
            for rival in ("torch", "optax", "ours checking"):
                if times["rival"].str.startswith(f"{what}, {rival}").any():
                    _line(ax, ratios(times, f"{what}, {rival}", ours, "n", column), rival)
            if what == "AdamW":
                _line(ax, ratios(times, limit, ours, "n", column), limit)
            ax.axhline(1, color=RIVALS["ours"][0], lw=0.8, zorder=0)
            ax.set(xscale="log", yscale="log", xlabel="weights")
            ax.set_title(what + (" on a GPU" if times is gpu else ""))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
            ax.set_xticks(times["n"].unique())
            ax.margins(x=0.1)
            plain_ticks(ax.yaxis, [0.5, 1, 2, 5, 10, 20])
        axs[0].set_ylabel("time of a step, ours = 1")
    _finish(fig)
    return fig


def _line(ax, found, rival):
    colour, marker, dashes = RIVALS[rival]
    away = [found["ratio"] - found["low"], found["high"] - found["ratio"]]
    look = {"color": colour, "marker": marker, "ms": 4, "dashes": dashes, "lw": 1, "label": LABELS.get(rival, rival)}
    ax.errorbar(found.index, found["ratio"], yerr=np.maximum(away, 0), elinewidth=1, **look)


def sweeps(sweep, gpu=None):
    """Draw runs per second, and multiplications and additions per second, of whole sweeps, a row for each.

    sweep : frame of ``data/timings``; gpu : that of ``data/timings/cuda-sweep``, for a second row of panels.
    """
    rows = [sweep] + ([gpu] if gpu is not None else [])
    heights = [times["problem"].nunique() for times in rows]
    fig, grid = plt.subplots(
        len(rows), 2, figsize=(PAGE, 0.9 + 0.33 * sum(heights)), height_ratios=heights, sharey="row", squeeze=False
    )
    for axs, times in zip(grid, rows, strict=True):
        problems = times["problem"].unique()
        for rival in ("sgemm", "torch", "JAX", "ours, CPU", "ours"):
            found = quickest(times, rival, "problem")
            colour, marker, _ = RIVALS[rival]
            look = {"color": colour, "marker": marker, "ls": "none", "clip_on": False}
            look |= {"ms": 11, "mew": 1.5} if marker == "|" else {"ms": 4.5}
            at = [[*problems].index(name) for name in found.index]
            for ax, per, unit in zip(axs, ("runs", "operations"), (1, 1e9), strict=True):
                ends = found[per] / found["seconds_high"] / unit, found[per] / found["seconds_low"] / unit
                if len(found):
                    ax.hlines(at, *ends, color=colour, lw=1.2)
                    ax.plot(found[per] / found["seconds"] / unit, at, **look, label=LABELS.get(rival, rival))
        axs[0].set(xscale="log", xlabel="runs per second" + (", on a GPU" if times is gpu else ""))
        axs[0].set_yticks(range(len(problems)), [_in_two_lines(name) for name in problems])
        axs[0].set_ylim(len(problems) - 0.5, -0.5)
        axs[0].xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
        axs[1].set(xlabel="Gflop per second" + (", on a GPU" if times is gpu else ""))
        axs[1].set_xlim(left=0)
    _finish(fig)
    return fig


def _in_two_lines(name):
    """Return what a sweep is of, and below it how large it is."""
    data, model, *size = name.split(", ")
    return ", ".join([data, model]) + "".join([",\n", ", ".join(size)] if size else [])


def scaling(times):
    """Draw the time that a run takes, and the memory that a sweep adds, by the number of runs in it.

    times : frame ``scaling`` of ``data/timings``.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.5))
    for rival, found in times[times["what"] == "sweep"].groupby("rival", sort=False):
        colour, marker, dashes = RIVALS[rival]
        look = {"color": colour, "marker": marker, "ms": 4.5, "dashes": dashes, "label": LABELS.get(rival, rival)}
        axs[0].plot(found["runs"], 1e3 * found["seconds"] / found["runs"], **look)
        axs[1].plot(found["runs"], found["added_bytes"] / 2**20, **look)
    axs[0].set(ylabel="milliseconds per run", ylim=(0, None))
    axs[1].set(ylabel="added memory in MiB", yscale="log")
    axs[1].yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    for ax in axs:
        ax.set(xscale="log", xlabel="runs in the sweep")
        ax.set_xticks(found["runs"], [f"{runs:,}" for runs in found["runs"]])
    _finish(fig)
    return fig


def _finish(fig):
    """Name all rivals above the panels, letter these, and leave out the minor ticks, most of the bytes of a figure."""
    named: dict[str, Any] = {}
    for ax in fig.axes:
        named |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())
    fig.legend(named.values(), named, loc="outside upper center", ncols=len(named), frameon=False)
    letter_panels(fig.axes)
    sns.despine(fig)
