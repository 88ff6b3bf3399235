"""Parts that the figures share: styles of arms, values with their intervals, axes, and the last touches."""

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
    """The style of a line or of a set of points, and its name in the legend.

    Attributes
    ----------
    label : str
        The name in the legend.
    colour : Any
        A matplotlib colour.
    marker : str
        A matplotlib marker; "" for none, the default.
    dashes : tuple of float
        Lengths on and off in line widths; () for a solid line, the default.
    hollow : bool
        Whether markers are outlines, by default False.
    size : float
        The size of the markers in points, by default 4.

    Examples
    --------
    >>> Look("AdamW", "0.1", "o", hollow=True).points
    {'color': '0.1', 'marker': 'o', 'ms': 4, 'mfc': 'none'}
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


def _look(kind: str, label: str, size: float, *, hollow: bool = False) -> Look:
    return Look(label, COLOURS[kind], MARKERS[kind], DASHES[kind], hollow, size)


KINDS = {  # by kind of arm; the control is hollow, since it often lies on top of Lookahead
    "Lookahead": _look("Lookahead", "Lookahead", 3.5),
    CONTROL: _look(CONTROL, "AdamW at lr × slow_step_size", 6.5, hollow=True),
    "averaging": _look("averaging", "averaging, without pull-back", 4.5),
    "AdamW": _look("AdamW", "AdamW", 4),
}


# ---------------------------------------------------------------------------------------------------------- intervals


def away(table: pd.DataFrame, middle: str = "mean") -> list[pd.Series]:
    """Return the distances from the middle to ``low`` and ``high``.

    Parameters
    ----------
    table : DataFrame
        Values with the columns ``low`` and ``high`` and the column named by middle.
    middle : str
        The column of the values, by default "mean".

    Returns
    -------
    list of Series
        The distances down and up, as ``Axes.errorbar`` accepts them.

    Examples
    --------
    >>> down, up = away(pd.DataFrame({"mean": [2.0], "low": [1.5], "high": [3.0]}))
    >>> float(down[0]), float(up[0])
    (0.5, 1.0)
    """
    return [table[middle] - table["low"], table["high"] - table[middle]]


def line(ax: Axes, table: pd.DataFrame, **look: Any) -> None:
    """Draw means over the index of a table, and their intervals.

    Parameters
    ----------
    ax : Axes
        The panel.
    table : DataFrame
        Values with the columns ``mean``, ``low`` and ``high``.
    **look : Any
        Arguments of ``Axes.plot``, with ``color`` among them.
    """
    ax.plot(table["mean"], **look)
    ax.errorbar(table.index, table["mean"], away(table), ecolor=look["color"], **CAPS)


# --------------------------------------------------------------------------------------------------------------- axes


def at_one(ax: Axes, *, across: bool = False) -> None:
    """Draw the line at which a ratio is one.

    Parameters
    ----------
    ax : Axes
        The panel.
    across : bool
        Whether ratios lie on the x axis, by default False.
    """
    (ax.axvline if across else ax.axhline)(1, color="0.5", lw=0.8, zorder=0)


def only_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Put plain numbers at the given ticks of a logarithmic axis, and no other ticks.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The x or y axis of a panel.
    ticks : sequence of float
        The values to mark.
    """
    plain_ticks(axis, ticks)
    axis.set_minor_locator(NullLocator())


def no_minor_ticks(axs: Iterable[Axes]) -> None:
    """Remove the minor ticks of logarithmic axes, which are most of the bytes of a small figure.

    Parameters
    ----------
    axs : iterable of Axes
        The panels.
    """
    for ax in axs:
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())


def periods(ax: Axes, ticks: Sequence[float], label: str = "sync period", *, zorder: int = 0) -> None:
    """Put the sync period on the x axis and shade the article's range, 5 to 10.

    Parameters
    ----------
    ax : Axes
        The panel.
    ticks : sequence of float
        The periods to mark.
    label : str
        The label of the axis, by default "sync period".
    zorder : int
        The layer of the shading, by default 0.
    """
    ax.axvspan(5, 10, color="0.93", zorder=zorder)
    ax.set(xscale="log", xlabel=label)
    only_ticks(ax.xaxis, ticks)


def finished(fig: Figure, axs: Iterable[Axes], **despine: bool) -> Figure:
    """Letter the panels, remove the spines, and return the figure.

    Parameters
    ----------
    fig : Figure
        The figure.
    axs : iterable of Axes
        Its panels in reading order.
    **despine : bool
        Arguments of ``seaborn.despine``.

    Returns
    -------
    Figure
        The same figure.
    """
    letter_panels(axs)
    sns.despine(fig, **despine)
    return fig
