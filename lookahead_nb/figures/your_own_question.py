"""Figure of the notebook 10_your_own_question."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lookahead_nb.claims import ask_report
from lookahead_nb.figures import PAGE
from lookahead_nb.figures.parts import finished


def against_adamw(comparisons: pd.DataFrame, margin: float) -> Figure:
    """Draw the benefit of every arm over AdamW.

    Parameters
    ----------
    comparisons : DataFrame
        The frame ``Answer.comparisons``.
    margin : float
        The half width of the grey band, in % of the gap.

    Returns
    -------
    Figure
        A row for each arm.
    """
    fig, ax = plt.subplots(figsize=(0.8 * PAGE, 2.6))
    ask_report.plot(comparisons, margin, ax)
    return finished(fig, [])
