"""Measures of training curves: when a loss falls below a threshold."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd

from lookahead_nb.checks import default_errors, real_number

Losses = TypeVar("Losses", pd.Series, pd.DataFrame)


@default_errors
def first_below(losses: pd.DataFrame, threshold: float) -> pd.Series:
    """Return the step at which each run first falls below a threshold.

    Between two evaluated steps, the logarithm of the loss is interpolated linearly; see :func:`log_losses`.

    Parameters
    ----------
    losses : frame
        One row per evaluated step, in ascending order (the index), and one column per run. NaN: not evaluated.
    threshold : float
        Above 0.

    Returns
    -------
    series of float
        One step per run: the first one if the run starts below, and NaN if it never falls below (censored).

    Raises
    ------
    TypeError, ValueError
        If threshold is no finite number above 0.

    Examples
    --------
    >>> import pandas as pd
    >>> from lookahead_nb.claims.curves import first_below
    >>> losses = pd.DataFrame({"fast": [4.0, 1.0, 0.25], "slow": [4.0, 3.5, 3.0]}, index=[0, 10, 20])
    >>> first_below(losses, 0.5)
    fast    15.0
    slow     NaN
    dtype: float64
    """
    height = log_losses(losses / real_number("threshold", threshold, 0, open_low=True))
    first = {column: _first_root(height[column].dropna()) for column in height}
    return pd.Series(first).rename_axis(losses.columns.names)


@default_errors
def log_losses(losses: Losses) -> Losses:
    """Return the natural logarithms of losses, finite also for a loss of 0.

    A loss of 0 or less counts as the smallest positive float64, 5e-324, so that a line between two logarithms exists.

    Parameters
    ----------
    losses : series or frame of float

    Returns
    -------
    series or frame
        Like losses, with NaN in the same places.
    """
    return np.log(losses.clip(lower=np.nextafter(0, 1)))


def _first_root(height: pd.Series) -> float:
    """Return the step, interpolated, at which a curve first falls below 0."""
    below = np.flatnonzero(height < 0)
    if not below.size:
        return np.nan
    after = below[0]
    steps, values = height.index.to_numpy(np.float64), height.to_numpy()
    if after == 0:
        return steps[0]
    overshoot = values[after] / (values[after] - values[after - 1])
    return steps[after] - overshoot * (steps[after] - steps[after - 1])
