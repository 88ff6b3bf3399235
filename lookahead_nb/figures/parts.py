"""What the figures share: the looks of arms, values with their intervals, axes, and the end of every drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lookahead_nb.figures import COLOURS, DASHES, MARKERS, letter_panels, plain_ticks

CONTROL = "AdamW at lr x step"
CAPS: dict[str, Any] = {"fmt": "none", "elinewidth": 0.8}  # of intervals that are drawn without their means


class Look(NamedTuple):
    """How a line, or a set of points, is drawn, and what the legend calls it.

    label : str. colour : a colour of matplotlib. marker : str, "" for none. dashes : lengths on and off, () for a solid
    line. hollow : bool, whether markers are outlines. size : float, of the markers.
    """

    label: str
    colour: Any
    marker: str = ""
    dashes: tuple[float, ...] = ()
    hollow: bool = False
    size: float = 4

    @property
    def points(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for the markers."""
        face = "none" if self.hollow else self.colour
        return {"color": self.colour, "marker": self.marker, "ms": self.size, "mfc": face}

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for markers joined by a line."""
        return self.points | {"dashes": self.dashes}


def _look(kind, label, size, *, hollow=False):
    return Look(label, COLOURS[kind], MARKERS[kind], DASHES[kind], hollow, size)


KINDS = {  # of arms; the control is hollow, since it often lies on top of Lookahead
    "Lookahead": _look("Lookahead", "Lookahead", 3.5),
    CONTROL: _look(CONTROL, "AdamW at lr × slow_step_size", 6.5, hollow=True),
    "averaging": _look("averaging", "averaging, without pull-back", 4.5),
    "AdamW": _look("AdamW", "AdamW", 4),
}


# ---------------------------------------------------------------------------------------------------------- intervals


def away(table: pd.DataFrame, middle: str = "mean") -> list[pd.Series]:
    """Return how far ``low`` and ``high`` lie from the middle, as ``Axes.errorbar`` takes it.

    table : frame with ``low``, ``high`` and the column middle.
    """
    return [table[middle] - table["low"], table["high"] - table[middle]]


def line(ax: Axes, table: pd.DataFrame, **look: Any) -> None:
    """Draw means over the index of a table, and their intervals.

    table : frame with ``mean``, ``low``, ``high``. look : arguments of ``Axes.plot``.
    """
    ax.plot(table["mean"], **look)
    ax.errorbar(table.index, table["mean"], away(table), ecolor=look["color"], **CAPS)


# --------------------------------------------------------------------------------------------------------------- axes


def at_one(ax: Axes, *, across: bool = False) -> None:
    """Draw the line at which a ratio is one. across : bool, whether ratios lie on the x axis."""
    (ax.axvline if across else ax.axhline)(1, color="0.5", lw=0.8, zorder=0)


def only_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Put plain numbers at the given ticks of a logarithmic axis, and no other ticks."""
    plain_ticks(axis, ticks)
    axis.set_minor_locator(NullLocator())


def no_minor_ticks(axs: Iterable[Axes]) -> None:
    """Leave out the minor ticks of logarithmic axes, which are most of the bytes of a small figure."""
    for ax in axs:
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())


def periods(ax: Axes, ticks: Sequence[float], label: str = "sync period", *, zorder: int = 0) -> None:
    """Make the x axis that of the sync period, the article's range shaded."""
    ax.axvspan(5, 10, color="0.93", zorder=zorder)
    ax.set(xscale="log", xlabel=label)
    only_ticks(ax.xaxis, ticks)


def finished(fig: Figure, axs: Iterable[Axes], **despine: bool) -> Figure:
    """Letter the panels, take away the spines, and return the figure. despine : as in ``seaborn.despine``."""
    letter_panels(axs)
    sns.despine(fig, **despine)
    return fig
