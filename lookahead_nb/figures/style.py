"""Figures: one style, one palette, one way to save.

The modules of this package draw from tables, never from kernels. Every function that draws returns a matplotlib
figure. A table that lacks a row or a column raises the errors of pandas and of ``lookahead_nb.claims.statistics``.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib import ft2font
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from lookahead_nb.checks import of_type
from lookahead_nb.provenance import build_folder

COLUMN, PAGE = 3.4, 7.0  # printed widths in inches at 100 %


def use_style() -> None:
    """Set the style of all figures.

    Notes
    -----
    The style is seaborn's "ticks" at 8 pt, with a palette that is safe for colour-blind readers. The font ships with
    matplotlib, and the hashes in SVG files are fixed: the same drawing gives the same bytes.
    """
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "font.family": "DejaVu Sans",
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "legend.fontsize": 7,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "lines.linewidth": 1.2,
            "figure.constrained_layout.use": True,
            "svg.hashsalt": "lookahead_nb",
            "svg.fonttype": "path",
            "pdf.fonttype": 42,
        }
    )


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Put plain numbers at the given ticks of a logarithmic axis.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The x or y axis of a panel.
    ticks : sequence of float
        The values to mark.
    """
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def letter_panels(axs: Iterable[Axes]) -> None:
    """Mark the panels of a figure (a), (b), ..., as captions name them.

    Parameters
    ----------
    axs : iterable of Axes
        The panels in reading order; those after the sixth get no letter.
    """
    for letter, ax in zip("abcdef", axs, strict=False):
        ax.set_title(f"({letter})", loc="left", fontweight="bold")


def drawn_with() -> dict[str, str]:
    """Return the versions on which the bytes of a figure depend.

    Returns
    -------
    dict of str
        The versions of ``matplotlib``, ``freetype`` and ``seaborn``.

    Examples
    --------
    >>> [*drawn_with()]
    ['matplotlib', 'freetype', 'seaborn']
    """
    return {"matplotlib": mpl.__version__, "freetype": ft2font.__freetype_version__, "seaborn": sns.__version__}


@dataclass(frozen=True)
class Saved:
    """A saved figure that a notebook shows from its file.

    Attributes
    ----------
    svg : str
        The text of the SVG file.
    caption : str
        The caption; its first sentence states the finding.
    alt : str
        The alternative text.
    """

    svg: str
    caption: str
    alt: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002 (IPython's signature)
        return {"image/svg+xml": self.svg, "text/plain": f"Figure: {self.alt}"}


def save(fig: Figure, name: str, caption: str, alt: str, *, folder: str | os.PathLike[str] | None = None) -> Saved:
    """Write a figure as SVG and PDF, with the same bytes on every run, and close it.

    Parameters
    ----------
    fig : Figure
        A figure drawn after :func:`use_style`.
    name : str
        The file name without its ending.
    caption : str
        The caption; its first sentence states the finding.
    alt : str
        What the figure shows, for a reader who cannot see it.
    folder : path, optional
        The folder of the files, by default ``build_folder("figures")``.

    Returns
    -------
    Saved
        The figure as a notebook shows it.

    Raises
    ------
    ValueError
        If caption or alt is blank.

    Notes
    -----
    The files are ``name.svg``, ``name.pdf`` and ``name.json``. The last one holds the caption, the alternative text,
    the sha256 of the other two files and the versions that drew them.
    """
    of_type("fig", fig, Figure, "a figure of matplotlib")
    for parameter, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"{parameter} must say something about the figure {name!r}, got {text!r}")
    folder = pathlib.Path(folder) if folder else build_folder("figures")
    svg, pdf = folder / f"{name}.svg", folder / f"{name}.pdf"
    fig.savefig(svg, metadata={"Date": None, "Creator": None})
    fig.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    plt.close(fig)
    drawing = _compact(svg.read_text(encoding="utf-8"), name)
    inside = drawing.index(">", drawing.index("<svg")) + 1
    drawing = f"{drawing[:inside]}<title>{html.escape(alt)}</title>{drawing[inside:]}"
    svg.write_text(drawing, encoding="utf-8", newline="\n")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (svg, pdf)}
    manifest = {"caption": caption, "alt": alt, "sha256": hashes, "drawn_with": drawn_with()}
    (folder / f"{name}.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")
    return Saved(drawing, caption, alt)


def _compact(drawing: str, name: str) -> str:
    """Return an SVG file without blanks between elements, in hundredths of a point, with short glyph names.

    Figures embedded in notebooks shrink by two fifths, and nobody can see the difference. Clip paths and markers are
    numbered: matplotlib names them by a hash of all digits of the layout, the last of which depend on the CPU. The name
    of the figure keeps those of two figures of a page apart.
    """
    names = dict.fromkeys(re.findall(r'id="([pm][0-9a-f]{10})"', drawing))
    short = hashlib.sha256(name.encode()).hexdigest()[:6]
    numbered = {old: f"{old[0]}{short}-{i}" for i, old in enumerate(names)}
    drawing = re.sub(r'(?<=[#"])[pm][0-9a-f]{10}(?=[")])', lambda found: numbered.get(found[0], found[0]), drawing)
    drawing = re.sub(r'(?<= )(?:d|x|y)="[^"]*"|translate\([^)]*\)', _in_hundredths, drawing)
    drawing = re.sub(r'DejaVuSans-(?=[\w-]+")', "g", drawing)
    return re.sub(r">\s+<", "><", drawing)


def _in_hundredths(attribute: re.Match[str]) -> str:
    words = " ".join(attribute[0].split())
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), words)
