"""The answer to your own question as a figure, and as a page that needs no network."""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_nb import provenance
from lookahead_nb.checks import new_page, of_type, whole
from lookahead_nb.display import COLOURS, MARKERS, in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from lookahead_nb.claims.ask import Answer

SIZE = (6.4, 3.2)  # inches
OTHER = "#4D4D4D"  # the colour of arms that have none of their own
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 2em auto; max-width: 46em;
       padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
p.advice { font-size: 1.1em } figure { margin: 1.5em 0 } figcaption { color: #444; font-size: .9em }
svg { max-width: 100%; height: auto } div.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85em } th, td { padding: .2em .7em .2em 0; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child, td.text, th.text { text-align: left }
"""
CAPTION = (
    "Benefit of each arm over AdamW: by how much its test loss is lower, in % of the gap between chance-level loss and "
    "best known loss. Lines are the intervals that decide. Inside the grey band a difference is too small to matter. "
    "AdamW again is a check: its true benefit is 0."
)
PROTOCOL = (
    "Each arm has a grid of learning rates of its own. Each replicate trains all of them and picks the one with its "
    "lowest validation loss, of equal losses the one with the lower rate; the test loss there is compared, paired by "
    "replicate. A test loss above that of guessing by class frequencies counts as guessing. Grids are widened where a "
    "choice lies at an end; no rate is above 1. "
    "AdamW is the mean of two grids. Lookahead with its settings tuned too has six times as many trials; it is "
    "compared by the expectation over as many as AdamW has."
)
ENCODED = (
    "Missing numbers became the median, with a further column that marks them; categories became columns of 0 and 1. "
    "Both were fitted on the training part of each replicate alone."
)
RATES = (
    "In the table of arms, lr is the rate with the lowest mean validation loss over all replicates, with its settings; "
    "the lowest and the highest lr are those that single replicates chose."
)
INTERVALS = {
    True: "Replicates share no row, so the intervals are Student's.",
    False: "Replicates are splits of the same rows, so the intervals use the variance of Nadeau and Bengio (2003).",
}


def plot(comparisons: pd.DataFrame, margin: float, ax: Axes | None = None) -> Axes:
    """Draw the benefit of every arm against AdamW with its interval.

    Parameters
    ----------
    comparisons : frame
        Of ``Answer.comparisons``.
    margin : float
        The half width of the grey band, in the unit of the benefits.
    ax : Axes, optional
        Where; a new figure of matplotlib.pyplot by default.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If ax is no Axes of matplotlib.
    ValueError
        If comparisons is empty.
    """
    if ax is not None:
        of_type("ax", ax, whole("matplotlib.axes").Axes, "Axes of matplotlib")
    rows = comparisons[comparisons["control"] == "AdamW"].reset_index(drop=True)
    if rows.empty:
        raise ValueError("comparisons must hold some against AdamW, got none: AdamW learned nothing from this table")
    if ax is None:
        ax = whole("matplotlib.pyplot").figure(figsize=SIZE, layout="constrained").subplots()
    ax.axvspan(-margin, margin, color="0.92", zorder=0)
    ax.axvline(0, color=COLOURS["AdamW"], lw=1, zorder=1)
    for place, row in rows.iterrows():
        kind = _kind(row["arm"])
        colour = COLOURS.get(kind, OTHER)
        ax.plot([row["low"], row["high"]], [place, place], color=colour, lw=1.4, zorder=2)
        ax.plot(row["benefit"], place, MARKERS.get(kind, "o"), color=colour, ms=5, zorder=3)
    ax.set_yticks(range(len(rows)), rows["arm"])
    ax.invert_yaxis()
    ax.set_xlabel("benefit over AdamW, % of the gap between chance and the best loss")
    return ax


def _kind(arm: str) -> str:
    if "pull-back" in arm or arm.startswith("EMA"):
        return "averaging"
    return "Lookahead" if arm.startswith("Lookahead") else "AdamW" if arm == "AdamW again" else ""


def write(answer: Answer, path: Any) -> Path:
    """Write an answer as a page that a browser shows without a network.

    Parameters
    ----------
    answer : Answer
    path : path
        Of a new file that ends in .html.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError, ValueError, OSError
        If it is no such path, the file exists, or it cannot be written.
    """
    file = new_page("path", path)
    text = page(answer)
    try:
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except OSError as error:
        raise OSError(f"path {file} cannot be written: {error.strerror}") from error
    return file


def page(answer: Answer) -> str:
    """Return an answer as HTML that loads nothing; equal answers give equal pages.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    str
    """
    parts = ["<h1>Is Lookahead worth it on this table?</h1>", f'<p class="advice">{escape(answer.advice)}</p>']
    if len(answer.comparisons):
        parts.append(f"<figure>{_figure(answer)}<figcaption>{escape(CAPTION)}</figcaption></figure>")
        parts += ["<h2>Comparisons</h2>", _table(answer.comparisons)]
    parts += ["<h2>Arms and their learning rates</h2>", _table(answer.arms)]
    lines = [*answer.caps, PROTOCOL, RATES, INTERVALS[answer.settings["disjoint"]]]
    lines += [ENCODED] if answer.settings["encoded"] else []
    measured = "".join(f"<li>{escape(line)}</li>" for line in lines)
    parts += ["<h2>How it was measured</h2>", f"<ul>{measured}</ul>", _settings(answer.settings)]
    number = escape(provenance.versions()["lookahead-nb"])
    parts.append(f"<p>lookahead_nb {number}. The same table, settings and version give this page.</p>")
    head = f'<meta charset="utf-8"><title>Is Lookahead worth it on this table?</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _figure(answer: Answer) -> str:
    """Return the figure as SVG with the same bytes on every call."""
    mpl, figure = whole("matplotlib"), whole("matplotlib.figure")
    with mpl.rc_context(
        {"svg.hashsalt": "lookahead_nb", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9}
    ):
        fig = figure.Figure(figsize=SIZE, layout="constrained")
        answer.plot(fig.subplots()).spines[["top", "right"]].set_visible(False)
        drawing = io.StringIO()
        fig.savefig(drawing, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = drawing.getvalue()
    text = text[text.index("<svg") :]  # without the address of a document type
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    inside = text.index(">") + 1
    rows = answer.comparisons[answer.comparisons["control"] == "AdamW"]
    alt = "; ".join(f"{row.arm} {row.benefit:.2f} % from {row.low:.2f} to {row.high:.2f}" for row in rows.itertuples())
    return f"{text[:inside]}<title>{escape(f'Benefits over AdamW: {alt}')}</title>{text[inside:]}"


def _table(frame: pd.DataFrame) -> str:
    texts = [name for name in frame if frame[name].dtype.kind not in "biuf" and str(frame[name].dtype) != "Int64"]
    classes = {name: ' class="text"' if name in texts else "" for name in frame}
    head = "".join(f"<th{classes[name]}>{escape(_in_words(name))}</th>" for name in frame)
    body = "".join(
        "<tr>" + "".join(f"<td{classes[name]}>{escape(_cell(value))}</td>" for name, value in row.items()) + "</tr>"
        for row in frame.to_dict("records")
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    return "" if whole("pandas").isna(value) else in_words(value)


def _in_words(name: str) -> str:
    return {"benefit": "benefit, %", "low": "low, %", "high": "high, %"}.get(name, name.replace("_", " "))


def _settings(settings: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(_setting(value))}</td></tr>"
        for name, value in settings.items()
    )
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'


def _setting(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else in_words(value)
