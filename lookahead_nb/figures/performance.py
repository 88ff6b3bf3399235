"""Figures of the notebook 12_performance, drawn from the measured times in ``data/timings``."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Look(NamedTuple):
    """A rival in the figures: which rows are its own, and how it is drawn.

    Parameters
    ----------
    library : str
        As in the column ``library`` of the tables.
    variant : str or None
        As in the column ``variant``: "" for no variant, None for the quickest of all.
    label : str
        The name in the legend.
    colour : str
        The colour, that of no arm in other figures.
    marker : str
        The marker.
    dashes : tuple of float, optional
        The dashes of its line, solid by default.
    """

    library: str
    variant: str | None
    label: str
    colour: str
    marker: str
    dashes: tuple[float, ...] = ()


OURS = Look("ours", "", "ours", "0.1", "o")
CHECKING = Look("ours", "checking", "ours, checking", "0.45", "v", (6, 1, 1, 1))
ON_CPU = Look("ours", "CPU", "ours on the CPU", "0.45", "v", (6, 1, 1, 1))
TORCH = Look("torch", None, "PyTorch", "#D55E00", "s", (4, 1.5))
OPTAX = Look("optax", None, "optax", "#CA9161", "D", (1, 1))
JAX = Look("JAX", None, "JAX vmap", "#CA9161", "D", (1, 1))
MEMORY = Look("memory", None, "bare pass over the arrays", "#949494", "x")
COPY = Look("copy", None, "copy of as many bytes", "#949494", "x")
PRODUCTS = Look("sgemm", None, "NumPy's products alone", "#949494", "|")


def quickest(
    times: pd.DataFrame, at: str, *, library: str, optimizer: str | None = None, variant: str | None = None
) -> pd.DataFrame:
    """Return the quickest row of a library at each size or problem.

    Parameters
    ----------
    times : DataFrame
        A table of ``data/timings``.
    at : str
        The column to compare at, "n" or "problem".
    library : str
        Rows with this ``library``.
    optimizer, variant : str, optional
        Only rows with this ``optimizer`` or ``variant``, "" for those without one; any by default.

    Returns
    -------
    DataFrame
        The rows with the fewest seconds; the column ``at`` is the index.

    Examples
    --------
    >>> times = pd.DataFrame({"library": "torch", "thread_limit": [1, 2], "n": 10, "seconds": [3.0, 2.0]})
    >>> quickest(times, "n", library="torch")["thread_limit"].tolist()
    [2]
    """
    rows = times[times["library"] == library]
    for column, wanted in (("optimizer", optimizer), ("variant", variant)):
        if wanted is not None:
            rows = rows[rows[column].fillna("") == wanted]
    return rows.loc[rows.groupby(at, sort=False)["seconds"].idxmin()].set_index(at)


def ratios(
    times: pd.DataFrame,
    at: str,
    *,
    library: str,
    optimizer: str | None = None,
    variant: str | None = None,
    against: str | None = None,
) -> pd.DataFrame:
    """Return how many times as long a library takes as ours.

    Parameters
    ----------
    times : DataFrame
        A table of ``data/timings``.
    at : str
        The column that becomes the index.
    library : str
        The ``library`` of the rival.
    optimizer, variant : str, optional
        Its ``optimizer`` and ``variant``, as in :func:`quickest`.
    against : str, optional
        The optimizer of ours that it is compared with, by default the same one.

    Returns
    -------
    DataFrame
        The ``ratio`` with the ends ``low`` and ``high`` of its range.

    Notes
    -----
    ``low`` is the lower quartile of the rival over our upper one, ``high`` its upper quartile over our lower one. That
    range is wider than the quartiles of the ratios of single rounds, which the tables do not hold.
    """
    against = against or optimizer
    rows = quickest(times, at, library=library, optimizer=optimizer, variant=variant)
    reference = quickest(times, at, library="ours", optimizer=against, variant="")
    low, high = rows["seconds_low"] / reference["seconds_high"], rows["seconds_high"] / reference["seconds_low"]
    column = "times_ours_adamw" if against == "AdamW" else "times_ours"
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
    products = sweep.loc[sweep["library"] == PRODUCTS.library, "operations_per_second"].max()
    rows = [(flat_step, MEMORY, products)] + ([(gpu, COPY, np.inf)] if gpu is not None else [])
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


def _roof(ax: Axes, times: pd.DataFrame, limit: Look, most: float) -> None:
    (bandwidth,) = quickest(times, "n", library=limit.library)["bytes_per_second"]
    at = PASS_OPERATIONS / STEP_BYTES
    x = np.array([at / 2, min(most / bandwidth, 20), 20])
    ax.plot(x, np.minimum(bandwidth * x, most) / 1e9, color=limit.colour, label="limit", zorder=0)
    if limit is MEMORY:  # a copy computes nothing
        ax.plot(at, bandwidth * at / 1e9, limit.marker, color=limit.colour, ms=5, label=limit.label)
    for rival in (OPTAX, TORCH, OURS):
        step = counted(quickest(times, "n", library=rival.library, optimizer="Lookahead", variant=rival.variant))
        speed = step["flops"] / 1e9
        ax.plot(step["intensity"], speed, rival.marker, color=rival.colour, ms=4.5, label=rival.label)
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
    rows = [(flat_step, MEMORY)] + ([(gpu, COPY)] if gpu is not None else [])
    fig, grid = plt.subplots(len(rows), 2, figsize=(PAGE, 0.3 + 2.6 * len(rows)), sharey="row", squeeze=False)
    for axs, (times, limit) in zip(grid, rows, strict=True):
        for ax, optimizer in zip(axs, ("AdamW", "Lookahead"), strict=True):
            for rival in (TORCH, OPTAX, CHECKING):
                found = ratios(times, "n", library=rival.library, optimizer=optimizer, variant=rival.variant)
                _line(ax, found, rival)
            if optimizer == "AdamW":
                _line(ax, ratios(times, "n", library=limit.library, against=optimizer), limit)
            ax.axhline(1, color=OURS.colour, lw=0.8, zorder=0)
            ax.set(xscale="log", yscale="log", xlabel="weights")
            ax.set_title(optimizer + (" on a GPU" if times is gpu else ""))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
            ax.set_xticks(times["n"].unique())
            ax.margins(x=0.1)
            plain_ticks(ax.yaxis, [0.5, 1, 2, 5, 10, 20])
        axs[0].set_ylabel("time of a step, ours = 1")
    _finish(fig)
    return fig


def _line(ax: Axes, table: pd.DataFrame, rival: Look) -> None:
    if table.empty:
        return
    errors = [table["ratio"] - table["low"], table["high"] - table["ratio"]]
    look: dict[str, Any] = {
        "color": rival.colour,
        "marker": rival.marker,
        "ms": 4,
        "dashes": rival.dashes,
        "lw": 1,
        "label": rival.label,
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
        for rival in (PRODUCTS, TORCH, JAX, ON_CPU, OURS):
            best = quickest(times, "problem", library=rival.library, variant=rival.variant)
            look: dict[str, Any] = {"color": rival.colour, "marker": rival.marker, "ls": "none", "clip_on": False}
            look |= {"ms": 11, "mew": 1.5} if rival is PRODUCTS else {"ms": 4.5}
            at = [[*problems].index(name) for name in best.index]
            for ax, per, unit in zip(axs, ("runs", "operations"), (1, 1e9), strict=True):
                ends = best[per] / best["seconds_high"] / unit, best[per] / best["seconds_low"] / unit
                if len(best):
                    ax.hlines(at, *ends, color=rival.colour, lw=1.2)
                    ax.plot(best[per] / best["seconds"] / unit, at, **look, label=rival.label)
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
    for rival in (OURS, JAX):
        rows = times[(times["what"] == "sweep") & (times["library"] == rival.library)]
        look: dict[str, Any] = {"color": rival.colour, "marker": rival.marker, "dashes": rival.dashes, "ms": 4.5}
        look["label"] = rival.label
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
