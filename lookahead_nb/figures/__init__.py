"""Figures: one style, one palette, one way to save. The files beside this one draw from tables, never from kernels.

ax, axs : axes of matplotlib. runs : frame as in ``trials.Measured``. returns : a figure of matplotlib, of the functions
that draw one. errors : those of ``statistics`` and of pandas, for a table that lacks a row or a column.
"""

from __future__ import annotations

import hashlib
import html
import json
import pathlib
import re
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib import ft2font
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from lookahead_nb.tables import build_folder

COLUMN, PAGE = 3.4, 7.0  # widths in inches at which a figure is printed at 100 %

# Colour is bound to meaning, never to the order of drawing; a second channel (dash, marker) always goes with it.
COLOURS = {
    "AdamW": "#0173B2",
    "Lookahead": "#DE8F05",
    "fast": "#DE8F05",
    "slow": "#029E73",
    "AdamW at lr x step": "#56B4E9",
    "averaging": "#CC78BC",
}
DASHES = {
    "AdamW": (),
    "Lookahead": (),
    "fast": (1, 1),
    "slow": (),
    "AdamW at lr x step": (4, 1.5),
    "averaging": (1, 1),
}
MARKERS = {"AdamW": "D", "Lookahead": "o", "fast": ".", "slow": "s", "AdamW at lr x step": "s", "averaging": "^"}


def use_style():
    """Set the one style of all figures: seaborn ticks, 8 pt, colour-blind safe, the bundled font, fixed hashes."""
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


def both_conventions(ax):
    """Label the x axis of a figure about the article's FAQ as retention below and as slow_step_size above."""
    ax.set_xlabel("retention, the article's convention")
    ax.secondary_xaxis("top", functions=(lambda x: 1 - x,) * 2).set_xlabel("slow_step_size, the libraries' convention")


def plain_ticks(axis, ticks):
    """Put plain numbers at the given ticks of a logarithmic axis.

    axis : the x or y axis of matplotlib; ticks : list of numbers.
    """
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def letter_panels(axs):
    """Mark the panels of a figure (a), (b), ... as captions name them."""
    for letter, ax in zip("abcdef", axs, strict=False):
        ax.set_title(f"({letter})", loc="left", fontweight="bold")


def drawn_with():
    """Return the versions on which the bytes of a figure depend."""
    return {"matplotlib": mpl.__version__, "freetype": ft2font.__freetype_version__, "seaborn": sns.__version__}


@dataclass(frozen=True)
class Saved:
    """A saved figure, shown in a notebook from its file, with its alternative text and its caption.

    svg : str, what the file holds; caption, alt : str.
    """

    svg: str
    caption: str
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None):  # noqa: ARG002 (IPython's signature)
        return {"image/svg+xml": self.svg, "text/plain": f"Figure: {self.alt}"}


def save(fig, name, caption, alt, *, folder=None):
    """Write a figure as ``name.svg`` and ``name.pdf``, the same bytes on every run, close it, return :class:`Saved`.

    Beside them ``name.json`` holds caption, alt, the sha256 of both files and the versions that drew them.

    fig : matplotlib figure, drawn after :func:`use_style`. name : str, a file name without ending. caption : str; its
    first sentence states the finding. alt : str, what is to be seen, for a reader who cannot see it. folder : path,
    default ``build_folder("figures")``. errors : ValueError if caption or alt is missing.
    """
    for what, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"{what} must say something about the figure {name!r}, not {text!r}")
    folder = pathlib.Path(folder) if folder else build_folder("figures")
    svg, pdf = folder / f"{name}.svg", folder / f"{name}.pdf"
    fig.savefig(svg, metadata={"Date": None, "Creator": None})
    fig.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    plt.close(fig)
    drawing = _compact(svg.read_text(encoding="utf-8"))
    inside = drawing.index(">", drawing.index("<svg")) + 1
    drawing = f"{drawing[:inside]}<title>{html.escape(alt)}</title>{drawing[inside:]}"
    svg.write_text(drawing, encoding="utf-8", newline="\n")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (svg, pdf)}
    manifest = {"caption": caption, "alt": alt, "sha256": hashes, "drawn_with": drawn_with()}
    (folder / f"{name}.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")
    return Saved(drawing, caption, alt)


def _compact(drawing):
    """Return an SVG file without blanks between its elements, with hundredths of a point, and glyphs of short names.

    What notebooks embed is lighter by two fifths for it, and nobody can see the difference.
    """
    drawing = re.sub(r'(?<= )(?:d|x|y)="[^"]*"|translate\([^)]*\)', _in_hundredths, drawing)
    drawing = re.sub(r'DejaVuSans-(?=[\w-]+")', "g", drawing)
    return re.sub(r">\s+<", "><", drawing)


def _in_hundredths(attribute):
    words = " ".join(attribute[0].split())
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), words)
