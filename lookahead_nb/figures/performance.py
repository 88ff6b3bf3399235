"""Figures of the notebook 12_performance, drawn from the measured times in ``data/timings``."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from lookahead_nb.figures import PAGE, letter_panels, plain_ticks

# Operations and bytes for one float32 weight. A fused multiply-add is two operations, a root or a quotient is one.
STEP_OPERATIONS, SYNC_OPERATIONS = 15, 3
STEP_BYTES, SYNC_BYTES = 28, 8  # read weight, gradient, two moments, write all except the gradient; read and write slow
PASS_OPERATIONS = 3  # of the bare pass over the same arrays: one addition per written array

RIVALS = {  # colour, marker, dashes; colours of no arm in other figures
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


def quickest(times: pd.DataFrame, rival: str, at: str) -> pd.DataFrame:
    """Return the rows of a rival, or of the quickest of its variants at each size or problem.

    Parameters
    ----------
    times : DataFrame
        A table of ``data/timings``.
    rival : str
        The name of the rival, or the prefix of its variants: "AdamW, torch" for "AdamW, torch fused 1" and others.
    at : str
        The column to compare at, "n" or "problem".

    Returns
    -------
    DataFrame
        The rows with the fewest seconds; the column ``at`` is the index.

    Examples
    --------
    >>> times = pd.DataFrame({"rival": ["torch 1", "torch 2"], "n": [10, 10], "seconds": [3.0, 2.0]})
    >>> quickest(times, "torch", "n")["rival"].tolist()
    ['torch 2']
    """
    named = times["rival"] == rival
    rows = times[named if named.any() else times["rival"].str.startswith(f"{rival} ")]
    return rows.loc[rows.groupby(at, sort=False)["seconds"].idxmin()].set_index(at)


def ratios(times: pd.DataFrame, rival: str, ours: str, at: str, column: str = "times_ours") -> pd.DataFrame:
    """Return how many times as long a rival takes as ours.

    Parameters
    ----------
    times : DataFrame
        A table of ``data/timings``.
    rival : str
        A name in the column ``rival``, or the prefix of variants, as in :func:`quickest`.
    ours : str
        Our name in the column ``rival``.
    at : str
        The column that becomes the index.
    column : str
        The column that holds the ratio, by default "times_ours".

    Returns
    -------
    DataFrame
        The ``ratio`` with the ends ``low`` and ``high`` of its range.

    Notes
    -----
    ``low`` is the lower quartile of the rival over our upper one, ``high`` its upper quartile over our lower one. That
    range is wider than the quartiles of the ratios of single rounds, which the tables do not hold.
    """
    rows, reference = quickest(times, rival, at), times[times["rival"] == ours].set_index(at)
    low, high = rows["seconds_low"] / reference["seconds_high"], rows["seconds_high"] / reference["seconds_low"]
    return pd.DataFrame({"ratio": rows[column], "low": low, "high": high}).loc[rows.index]


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Add arithmetic intensity and speed to the rows of a flat step.

    Parameters
    ----------
    rows : DataFrame
        Rows with the columns ``bytes`` and ``seconds``; the index is n, the number of weights.

    Returns
    -------
    DataFrame
        The rows with ``intensity``, in flop per byte, and ``flops``, in flop per second.

    Notes
    -----
    Both count the least that a step has to compute and to move, whatever a rival does beyond that.
    """
    syncs = (rows["bytes"] / rows.index - STEP_BYTES) / SYNC_BYTES  # per step
    operations = rows.index * (STEP_OPERATIONS + SYNC_OPERATIONS * syncs)
    return rows.assign(intensity=operations / rows["bytes"], flops=operations / rows["seconds"])


def roofline(flat_step: pd.DataFrame, sweep: pd.DataFrame, gpu: pd.DataFrame | None = None) -> Figure:
    """Draw one step of Lookahead below the limits of the machine.

    Parameters
    ----------
    flat_step : DataFrame
        The table ``flat_step`` of ``data/timings``.
    sweep : DataFrame
        The table ``sweep`` of ``data/timings``, which shows how fast NumPy multiplies matrices.
    gpu : DataFrame, optional
        The table ``cuda-flat_step`` of ``data/timings``, for a second row of panels.

    Returns
    -------
    Figure
        One panel for each buffer size. On a GPU, arithmetic sets no limit, because no benchmark measures it alone.
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


def _roof(ax: Axes, times: pd.DataFrame, limit: str, most: float) -> None:
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
    position = step["intensity"].iloc[0] * 1.25, step["flops"].iloc[0] / 1e9
    ax.text(*position, f"{100 * share:.0f} % of\nthe limit", va="top", fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="flop per byte")
    plain_ticks(ax.xaxis, [0.1, 1, 10])
    plain_ticks(ax.yaxis, [1, 10, 100, 1000, 10_000])


def steps(flat_step: pd.DataFrame, gpu: pd.DataFrame | None = None) -> Figure:
    """Draw how many times as long as ours other libraries take for one step.

    Parameters
    ----------
    flat_step : DataFrame
        The table ``flat_step`` of ``data/timings``.
    gpu : DataFrame, optional
        The table ``cuda-flat_step`` of ``data/timings``, for a second row of panels.

    Returns
    -------
    Figure
        Times over the buffer size, on the left of AdamW and on the right of Lookahead.
    """
    rows = [(flat_step, "memory")] + ([(gpu, "copy")] if gpu is not None else [])
    fig, grid = plt.subplots(len(rows), 2, figsize=(PAGE, 0.3 + 2.6 * len(rows)), sharey="row", squeeze=False)
    for axs, (times, limit) in zip(grid, rows, strict=True):
        for ax, optimizer, column in zip(axs, ("AdamW", "Lookahead"), ("times_ours_adamw", "times_ours"), strict=True):
            ours = f"{optimizer}, ours"
            for rival in ("torch", "optax", "ours checking"):
                if times["rival"].str.startswith(f"{optimizer}, {rival}").any():
                    _line(ax, ratios(times, f"{optimizer}, {rival}", ours, "n", column), rival)
            if optimizer == "AdamW":
                _line(ax, ratios(times, limit, ours, "n", column), limit)
            ax.axhline(1, color=RIVALS["ours"][0], lw=0.8, zorder=0)
            ax.set(xscale="log", yscale="log", xlabel="weights")
            ax.set_title(optimizer + (" on a GPU" if times is gpu else ""))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
            ax.set_xticks(times["n"].unique())
            ax.margins(x=0.1)
            plain_ticks(ax.yaxis, [0.5, 1, 2, 5, 10, 20])
        axs[0].set_ylabel("time of a step, ours = 1")
    _finish(fig)
    return fig


def _line(ax: Axes, table: pd.DataFrame, rival: str) -> None:
    colour, marker, dashes = RIVALS[rival]
    errors = [table["ratio"] - table["low"], table["high"] - table["ratio"]]
    look: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "ms": 4,
        "dashes": dashes,
        "lw": 1,
        "label": LABELS.get(rival, rival),
    }
    ax.errorbar(table.index, table["ratio"], yerr=np.maximum(errors, 0), elinewidth=1, **look)


def sweeps(sweep: pd.DataFrame, gpu: pd.DataFrame | None = None) -> Figure:
    """Draw runs per second and arithmetic per second of whole sweeps.

    Parameters
    ----------
    sweep : DataFrame
        The table ``sweep`` of ``data/timings``.
    gpu : DataFrame, optional
        The table ``cuda-sweep`` of ``data/timings``, for a second row of panels.

    Returns
    -------
    Figure
        One row for each sweep: runs on the left, multiplications and additions on the right.
    """
    rows = [sweep] + ([gpu] if gpu is not None else [])
    heights = [times["problem"].nunique() for times in rows]
    fig, grid = plt.subplots(
        len(rows), 2, figsize=(PAGE, 0.9 + 0.33 * sum(heights)), height_ratios=heights, sharey="row", squeeze=False
    )
    for axs, times in zip(grid, rows, strict=True):
        problems = times["problem"].unique()
        for rival in ("sgemm", "torch", "JAX", "ours, CPU", "ours"):
            best = quickest(times, rival, "problem")
            colour, marker, _ = RIVALS[rival]
            look = {"color": colour, "marker": marker, "ls": "none", "clip_on": False}
            look |= {"ms": 11, "mew": 1.5} if marker == "|" else {"ms": 4.5}
            at = [[*problems].index(name) for name in best.index]
            for ax, per, unit in zip(axs, ("runs", "operations"), (1, 1e9), strict=True):
                ends = best[per] / best["seconds_high"] / unit, best[per] / best["seconds_low"] / unit
                if len(best):
                    ax.hlines(at, *ends, color=colour, lw=1.2)
                    ax.plot(best[per] / best["seconds"] / unit, at, **look, label=LABELS.get(rival, rival))
        axs[0].set(xscale="log", xlabel="runs per second" + (", on a GPU" if times is gpu else ""))
        axs[0].set_yticks(range(len(problems)), [_in_two_lines(name) for name in problems])
        axs[0].set_ylim(len(problems) - 0.5, -0.5)
        axs[0].xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
        axs[1].set(xlabel="Gflop per second" + (", on a GPU" if times is gpu else ""))
        axs[1].set_xlim(left=0)
    _finish(fig)
    return fig


def _in_two_lines(name: str) -> str:
    """Return the data and the model of a sweep, and on a second line its size."""
    data, model, *size = name.split(", ")
    return ", ".join([data, model]) + "".join([",\n", ", ".join(size)] if size else [])


def scaling(times: pd.DataFrame) -> Figure:
    """Draw the time per run and the memory of a sweep by its number of runs.

    Parameters
    ----------
    times : DataFrame
        The table ``scaling`` of ``data/timings``.

    Returns
    -------
    Figure
        Milliseconds per run on the left, the memory that the sweep adds, in MiB, on the right.
    """
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 2.5))
    for rival, rows in times[times["what"] == "sweep"].groupby("rival", sort=False):
        colour, marker, dashes = RIVALS[rival]
        look = {"color": colour, "marker": marker, "ms": 4.5, "dashes": dashes, "label": LABELS.get(rival, rival)}
        axs[0].plot(rows["runs"], 1e3 * rows["seconds"] / rows["runs"], **look)
        axs[1].plot(rows["runs"], rows["added_bytes"] / 2**20, **look)
    axs[0].set(ylabel="milliseconds per run", ylim=(0, None))
    axs[1].set(ylabel="added memory in MiB", yscale="log")
    axs[1].yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    for ax in axs:
        ax.set(xscale="log", xlabel="runs in the sweep")
        ax.set_xticks(rows["runs"], [f"{runs:,}" for runs in rows["runs"]])
    _finish(fig)
    return fig


def _finish(fig: Figure) -> None:
    """Name all rivals above the panels, letter the panels, and drop the minor ticks, most of the bytes of a figure."""
    named: dict[str, Any] = {}
    for ax in fig.axes:
        named |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())
    fig.legend(named.values(), named, loc="outside upper center", ncols=len(named), frameon=False)
    letter_panels(fig.axes)
    sns.despine(fig)
