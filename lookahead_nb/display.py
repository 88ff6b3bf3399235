"""What notebooks show of an object: a small table and a small picture, as HTML with inline SVG.

The pictures load nothing and take their ink from the text around them, so they suit a light and a dark page. Equal
objects give equal bytes. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

# A colour has one meaning in all figures. A dash or a marker repeats it for readers who cannot see the colour.
COLOURS = {
    "AdamW": "#0173B2",
    "Lookahead": "#DE8F05",
    "fast": "#DE8F05",
    "slow": "#029E73",
    "AdamW at lr x step": "#56B4E9",
    "averaging": "#CC78BC",
}
DASHES: dict[str, tuple[float, ...]] = {
    "AdamW": (),
    "Lookahead": (),
    "fast": (1, 1),
    "slow": (),
    "AdamW at lr x step": (4, 1.5),
    "averaging": (1, 1),
}
MARKERS = {"AdamW": "D", "Lookahead": "o", "fast": ".", "slow": "s", "AdamW at lr x step": "s", "averaging": "^"}

WIDTH, HEIGHT = 270, 140  # of a picture, in pixels
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 18, 30  # of its frame
MOST_BARS = 10  # in a picture
LONGEST = 18  # characters of a label
WIDE_RANGE = 10  # a ratio of largest to smallest above which a positive quantity is drawn on a logarithmic scale


class Line(NamedTuple):
    """A line of a picture.

    Attributes
    ----------
    name : str
        In the legend; "" for none.
    x, y : sequences of float
        Its points; it is interrupted where y is NaN or infinite.
    colour : str
    dashes : tuple of float
        Lengths on and off in line widths; () for a solid line, the default.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashes: tuple[float, ...] = ()


def shown_together(title: str, rows: Mapping[str, Any], picture: str = "") -> str:
    """Return a table of two columns and a picture next to it, as HTML.

    Parameters
    ----------
    title : str
        The caption of the table.
    rows : mapping
        Values by name; those that are None are left out.
    picture : str
        SVG of this module.

    Returns
    -------
    str

    Examples
    --------
    >>> from lookahead_nb.display import shown_together
    >>> "a&lt;b" in shown_together("a<b", {"lr": 0.1})
    True
    """
    cell = "text-align:left;padding:1px 8px 1px 0;vertical-align:top"
    body = "".join(
        f'<tr><th scope="row" style="{cell};font-weight:normal;white-space:nowrap;opacity:.7">{escape(name)}</th>'
        f'<td style="{cell}">{escape(in_words(value))}</td></tr>'
        for name, value in rows.items()
        if value is not None
    )
    caption = f'<caption style="{cell};font-weight:bold;white-space:nowrap">{escape(title)}</caption>'
    table = (
        f'<table style="border-collapse:collapse;color:inherit;font-size:90%;max-width:30em">{caption}{body}</table>'
    )
    together = "display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start"
    return f'<div style="{together}">{table}{picture}</div>'


def in_words(value: Any) -> str:
    """Return a value as a cell of a table shows it.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
        Numbers are rounded to four digits.

    Examples
    --------
    >>> from lookahead_nb.display import in_words
    >>> in_words(12345), in_words(0.123456), in_words(True), in_words("text")
    ('12,345', '0.1235', 'yes', 'text')
    """
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def curves(lines: Iterable[Line], title: str, x_label: str, alt: str) -> str:
    """Return lines over a common x axis as SVG.

    Parameters
    ----------
    lines : iterable of Line
    title : str
        What y is.
    x_label : str
    alt : str
        What the picture shows, for a reader who cannot see it.

    Returns
    -------
    str
        "" if there are fewer than two points. y is logarithmic if it is positive and covers more than a factor of ten.
    """
    lines = [*lines]
    xs = [float(x) for line in lines for x in line.x]
    ys = [float(y) for line in lines for y in line.y if math.isfinite(y)]
    if len(ys) < 2:
        return ""
    by_factors = is_wide(ys)
    place = math.log10 if by_factors else float
    (x_low, x_high), (low, high) = (min(xs), max(xs)), (min(ys), max(ys))

    def at(x: float, y: float) -> str:
        along = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (place(y) - place(low)) / (place(high) - place(low)) if high > low else 0.5
        return f"{LEFT + along * (WIDTH - LEFT - RIGHT):.1f} {HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    paths = "".join(_path(line, at) for line in lines)
    scale = " (log)" if by_factors else ""
    legend, edge = "", float(WIDTH - RIGHT)
    for line in reversed([line for line in lines if line.name]):
        legend += _text(edge, TOP - 6, line.name, "end")
        edge -= 5 * len(line.name) + 22
        legend += f'<path d="M{edge:.1f} {TOP - 9}h16"{_ink(line)}/>'
        edge -= 8
    labels = _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, "middle") + _text(2, TOP - 6, f"{title}{scale}")
    corner = f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"
    frame = f'<path d="{corner}" fill="none" stroke="currentColor" opacity=".5"/>'
    return _picture(frame + paths + legend + _ends((x_low, x_high), (low, high)) + labels, alt)


def is_wide(values: Iterable[float]) -> bool:
    """Return whether values are positive and cover more than a factor of ten, so that a logarithmic axis shows more.

    Parameters
    ----------
    values : iterable of float
        Finite, at least one.

    Returns
    -------
    bool
    """
    values = [*values]
    return min(values) > 0 and max(values) > WIDE_RANGE * min(values)


def bars(names: Sequence[Any], values: Sequence[float], title: str, alt: str, colour: str = COLOURS["AdamW"]) -> str:
    """Return horizontal bars with their values as SVG; of more than ten the first ones, and how many are left out.

    Parameters
    ----------
    names : sequence
        Labels; long ones are cut.
    values : sequence of float
        At least 0.
    title, alt : str
        As in :func:`curves`.
    colour : str

    Returns
    -------
    str
    """
    few = list(zip(names, values, strict=True))[:MOST_BARS]
    labels = [_cut(in_words(name) if isinstance(name, float) else str(name)) for name, _ in few]
    left, most = 12 + 6 * max(map(len, labels)), max([value for _, value in few] + [1e-300])
    body = _text(2, 11, title)
    for i, (label, (_, value)) in enumerate(zip(labels, few, strict=True)):
        y, length = 18 + 13 * i, (WIDTH - left - 44) * value / most
        body += (
            _text(left - 4, y + 9, label, "end") + f'<path d="M{left} {y}h{length:.1f}v10H{left}z" fill="{colour}"/>'
        )
        body += _text(left + length + 4, y + 9, in_words(value))
    height = 22 + 13 * len(few)
    if more := len(names) - len(few):
        height += 13
        body += _text(left, height - 5, f"and {more} more")
    return _picture(body, alt, height)


def layers(widths: Sequence[int], alt: str) -> str:
    """Return the layers of a network as SVG: heights follow the logarithm of their widths.

    Parameters
    ----------
    widths : sequence of int
        At least two.
    alt : str
        As in :func:`curves`.

    Returns
    -------
    str
    """
    tallest, last = math.log2(max(widths)) + 1, len(widths) - 1
    half = [max(4.0, 48 * (math.log2(width) + 1) / tallest) for width in widths]
    x = [30 + (WIDTH - 60) * i / last for i in range(len(widths))]
    middle, body = 62.0, ""
    for i in range(last):
        corners = (x[i], middle - half[i]), (x[i + 1], middle - half[i + 1]), (x[i + 1], middle + half[i + 1])
        path = " ".join(f"{a:.1f} {b:.1f}" for a, b in (*corners, (x[i], middle + half[i])))
        body += f'<path d="M{path}z" fill="currentColor" opacity=".12"/>'
    for i, width in enumerate(widths):
        body += f'<path d="M{x[i] - 3:.1f} {middle - half[i]:.1f}h6v{2 * half[i]:.1f}h-6z" fill="{COLOURS["AdamW"]}"/>'
        body += _text(x[i], 126, in_words(width), "middle")
    return _picture(body, alt, 134)


def shades(values: np.ndarray, title: str, ends: tuple[float, float], alt: str) -> str:
    """Return the values over a square as SVG: ten shades of one colour, the smallest values the strongest.

    Parameters
    ----------
    values : (rows, columns) array
        Finite; the first row is the lowest.
    title, alt : str
        As in :func:`curves`.
    ends : (float, float)
        Of both axes.

    Returns
    -------
    str
    """
    rows, columns = values.shape
    level = np.searchsorted(np.sort(values, axis=None), values) * 10 // values.size  # equally many cells of each shade
    wide, tall = (WIDTH - LEFT - RIGHT) / columns, (HEIGHT - TOP - BOTTOM) / rows
    body = _text(2, 11, title)
    paths = [""] * 10
    for row, shades_of_row in enumerate(level):
        starts = [0, *(np.flatnonzero(np.diff(shades_of_row)) + 1).tolist(), columns]
        for first, end in pairwise(starts):
            length = (end - first) * wide
            corner = f"M{LEFT + first * wide:.1f} {HEIGHT - BOTTOM - (row + 1) * tall:.1f}"
            paths[shades_of_row[first]] += f"{corner}h{length:.1f}v{tall:.1f}h-{length:.1f}z"
    for shade, path in enumerate(paths):
        ink = f'fill="{COLOURS["AdamW"]}" opacity="{1 - shade / 10:.1f}" shape-rendering="crispEdges"'
        body += f'<path d="{path}" {ink}/>' if path else ""
    return _picture(body + _ends(ends, ends), alt)


def _ends(x: tuple[float, float], y: tuple[float, float]) -> str:
    """Return the numbers at the ends of both axes."""
    low, high = (in_words(int(end) if end == int(end) else end) for end in x)
    below = HEIGHT - BOTTOM + 12
    along = _text(LEFT, below, low) + _text(WIDTH - RIGHT, below, high, "end")
    return (
        along
        + _text(LEFT - 4, HEIGHT - BOTTOM, in_words(y[0]), "end")
        + _text(LEFT - 4, TOP + 8, in_words(y[1]), "end")
    )


def _picture(body: str, alt: str, height: float = HEIGHT) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    style = "font:10px sans-serif;color:inherit;overflow:visible"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" style="{style}">'
    return f"{head}<title>{escape(alt)}</title>{body}</svg>"


def _path(line: Line, at: Any) -> str:
    drawn, begins = "", True
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(y):
            drawn += f"{'M' if begins else 'L'}{at(x, y)}"
        begins = not math.isfinite(y)
    return f'<path d="{drawn}"{_ink(line)}/>' if drawn else ""


def _ink(line: Line) -> str:
    dashes = f' stroke-dasharray="{" ".join(f"{2 * length:g}" for length in line.dashes)}"' if line.dashes else ""
    return f' fill="none" stroke="{line.colour}" stroke-width="1.5" stroke-linejoin="round"{dashes}'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
