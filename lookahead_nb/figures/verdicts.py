"""Figure of the notebook 11_verdicts: all effects of all claims on one page."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lookahead_nb.figures import PAGE

LOOKS = {  # colours of no arm in other figures
    "supported": ("0.1", "o"),
    "conditional": ("#CA9161", "D"),
    "inconclusive": ("#949494", "s"),
    "refuted": ("#D55E00", "X"),
}
EDGE = 300  # in margins; an effect beyond the edge is drawn there, with an arrow
TICKS = [-100, -10, -1, 0, 1, 10, 100]


def forest(effects: pd.DataFrame) -> Figure:
    """Draw the effects of all claims in units of their margins.

    Parameters
    ----------
    effects : DataFrame
        The frame of ``report.effects_of``: one row per effect, those of a claim together.

    Returns
    -------
    Figure
        Claims fill two columns, downwards. Effects point towards the expectation, in the colour of their verdict.

    Notes
    -----
    A grey band shows where an effect comes out "yes": beyond its margin, or within it on both sides.
    """
    filled = effects["claim"].value_counts(sort=False).cumsum().to_numpy()
    half = filled[np.argmin(np.maximum(filled, len(effects) - filled))] if len(effects) else 0
    columns = effects[:half], effects[half:]
    most = max(1, *map(len, columns))
    fig, axs = plt.subplots(1, 2, figsize=(PAGE, 0.9 + 0.14 * most))
    for ax, column in zip(axs, columns, strict=True):
        _rows(ax, column)
        ax.set_ylim(len(column) - most - 0.6, len(column) - 0.4)
    fig.supxlabel("effect in margins, towards what was expected", fontsize="medium")
    fig.legend(*axs[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(LOOKS), frameon=False)
    sns.despine(fig, left=True)
    return fig


def _rows(ax: Axes, effects: pd.DataFrame) -> None:
    """Draw one effect per row, the first one on top."""
    rows = np.arange(len(effects))[::-1]  # the first on top
    equivalent = (effects["expect"] == "equivalent").to_numpy()
    left, right = np.where(equivalent, -1, 1), np.where(equivalent, 1, EDGE)
    ax.barh(rows, right - left, left=left, height=1, color="0.92", zorder=0)
    size, low, high = (in_margins(effects, name).to_numpy() for name in ("size", "low", "high"))
    low, high = np.fmin(low, high), np.fmax(low, high)  # the ends swap where the effect is expected below
    for verdict, (colour, marker) in LOOKS.items():
        same = (effects["verdict"] == verdict).to_numpy()
        ax.hlines(rows[same], *np.clip((low[same], high[same]), -EDGE, EDGE), color=colour, lw=1.2)
        ax.plot(np.clip(size[same], -EDGE, EDGE), rows[same], marker, color=colour, ms=3.5, ls="none", label=verdict)
        for end, ends, arrow in ((-EDGE, low[same] < -EDGE, "<"), (EDGE, high[same] > EDGE, ">")):
            if ends.any():
                ax.plot(np.full(ends.sum(), end), rows[same][ends], arrow, color=colour, ms=4, ls="none", clip_on=False)
    for x in (-1, 0, 1):
        ax.vlines(x, -0.5, len(rows) - 0.5, color="0.5", lw=0.8 if x else 0.5, ls=":" if x else "-", zorder=0.5)
    first = ~effects["claim"].duplicated().to_numpy()
    for row in rows[first][1:]:
        ax.axhline(row + 0.5, color="0.8", lw=0.5)
    ax.set_xscale("symlog", linthresh=1, linscale=0.7)
    ax.set_xlim(-EDGE, EDGE)
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    names = np.where(first, effects["claim"] + "  ", "") + effects["effect"]
    ax.set_yticks(rows, names, fontsize=5.5)
    ax.tick_params(axis="y", length=0)


def in_margins(effects: pd.DataFrame, column: str) -> pd.Series:
    """Return sizes, or ends of intervals, in units of the margin.

    Parameters
    ----------
    effects : DataFrame
        Effects as :func:`forest` accepts them.
    column : str
        "size", "low" or "high".

    Returns
    -------
    Series
        The values in margins, where ratios count by their logarithm. The sign of an effect that is expected below the
        margin is reversed.

    Examples
    --------
    >>> effects = pd.DataFrame({"scale": ["difference"], "expect": ["less"], "margin": [0.02], "size": [-0.05]})
    >>> in_margins(effects, "size").tolist()
    [2.5]
    """
    ratio = (effects["scale"] == "ratio").to_numpy()
    with np.errstate(divide="ignore"):
        values = effects[column].where(~ratio, np.log(effects[column].where(ratio, 1.0)))
    margins = effects["margin"].where(~ratio, np.log(effects["margin"].where(ratio, np.e)))
    return values / margins * np.where(effects["expect"] == "less", -1, 1)
