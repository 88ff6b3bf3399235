"""Figures: one style, one palette, one way to save; each module draws from tables, never from kernels."""

from lookahead_nb.checks import whole

whole("seaborn")  # with pandas and matplotlib, ahead of all modules that import them: Ctrl-C would leave half of them

from lookahead_nb.display import COLOURS, DASHES, MARKERS  # noqa: E402 (after seaborn)
from lookahead_nb.figures.style import (  # noqa: E402
    COLUMN,
    PAGE,
    Saved,
    drawn_with,
    letter_panels,
    plain_ticks,
    save,
    use_style,
)

__all__ = [
    "COLOURS",
    "COLUMN",
    "DASHES",
    "MARKERS",
    "PAGE",
    "Saved",
    "drawn_with",
    "letter_panels",
    "plain_ticks",
    "save",
    "use_style",
]
