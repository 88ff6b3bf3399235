"""Figure of the notebook 11_verdicts: all effects of all claims on one page."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lookahead_nb.figures import PAGE

LOOKS = {  # colours that stand for no arm elsewhere
    "supported": ("0.1", "o"),
    "conditional": ("#CA9161", "D"),
    "inconclusive": ("#949494", "s"),
    "refuted": ("#D55E00", "X"),
}
EDGE = 300  # margins; what lies beyond is drawn at the edge, with an arrow
TICKS = [-100, -10, -1, 0, 1, 10, 100]


def forest(effects):
    """Draw the effects of all claims in units of their margins, towards what was expected, coloured by verdict.

    effects : frame of ``report.effects_of``, one row per effect, those of a claim together. A grey band shows where an
    effect comes out "yes": beyond its margin, or within it on both sides. Claims fill two columns, downwards.
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


def _rows(ax, effects):
    rows = np.arange(len(effects))[::-1]  # the first on top
    equivalent = (effects["expect"] == "equivalent").to_numpy()
    left, right = np.where(equivalent, -1, 1), np.where(equivalent, 1, EDGE)
    ax.barh(rows, right - left, left=left, height=1, color="0.92", zorder=0)
    size, low, high = (in_margins(effects, name).to_numpy() for name in ("size", "low", "high"))
    low, high = np.fmin(low, high), np.fmax(low, high)  # one that is expected below turns around
    for verdict, (colour, marker) in LOOKS.items():
        mine = (effects["verdict"] == verdict).to_numpy()
        ax.hlines(rows[mine], *np.clip((low[mine], high[mine]), -EDGE, EDGE), color=colour, lw=1.2)
        ax.plot(np.clip(size[mine], -EDGE, EDGE), rows[mine], marker, color=colour, ms=3.5, ls="none", label=verdict)
        for at, ends, arrow in ((-EDGE, low[mine] < -EDGE, "<"), (EDGE, high[mine] > EDGE, ">")):
            if ends.any():
                ax.plot(np.full(ends.sum(), at), rows[mine][ends], arrow, color=colour, ms=4, ls="none", clip_on=False)
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


def in_margins(effects, column):
    """Return sizes, or ends of intervals, in units of the margin; those that are expected below it turn their sign.

    effects : frame as in :func:`forest`; column : "size", "low" or "high". returns : series.
    """
    ratio = (effects["scale"] == "ratio").to_numpy()
    with np.errstate(divide="ignore"):
        values = effects[column].where(~ratio, np.log(effects[column].where(ratio, 1.0)))
    margins = effects["margin"].where(~ratio, np.log(effects["margin"].where(ratio, np.e)))
    return values / margins * np.where(effects["expect"] == "less", -1, 1)
