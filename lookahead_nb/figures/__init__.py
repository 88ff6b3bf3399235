"""Figures: one style, one palette, one way to save; each module draws from tables, never from kernels."""

from lookahead_nb.figures.style import (
    COLOURS,
    COLUMN,
    DASHES,
    MARKERS,
    PAGE,
    Saved,
    both_conventions,
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
    "both_conventions",
    "drawn_with",
    "letter_panels",
    "plain_ticks",
    "save",
    "use_style",
]
