"""Control arms and measures of training curves: speed, noise floor, lowest loss. ``statistics`` compares them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from lookahead_nb.checks import real_number
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.optimizers import Lookahead, Optimizer

if TYPE_CHECKING:
    from lookahead_nb.datasets import Dataset

Losses = TypeVar("Losses", pd.Series, pd.DataFrame)


def with_controls(opt: Lookahead) -> dict[str, Optimizer]:
    """Return a Lookahead and its two controls, by name.

    Only an advantage over both controls is evidence for Lookahead itself.

    Parameters
    ----------
    opt : Lookahead
        With one slow_step_size and inner_state "keep".

    Returns
    -------
    dict of optimizers
        "Lookahead": opt itself. "AdamW at lr x step" (with the name of the inner optimizer): the inner optimizer alone,
        at its learning rate times slow_step_size. This is Lookahead at sync_period 1. "averaging": opt with
        ``pull_back=False``, whose slow weights only average.

    Raises
    ------
    TypeError
        If opt is no Lookahead.
    ValueError
        If opt has several slow step sizes or an adaptive one, or its inner_state is not "keep".

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.comparisons import with_controls
    >>> arms = with_controls(lnb.Lookahead(lnb.AdamW(lr=0.01), slow_step_size=0.5))
    >>> list(arms)
    ['Lookahead', 'AdamW at lr x step', 'averaging']
    >>> arms["AdamW at lr x step"].lr
    0.005
    """
    if not isinstance(opt, Lookahead):
        raise TypeError(f"opt must be a Lookahead, not {opt!r}")
    if not isinstance(opt.slow_step_size, float):
        raise ValueError(f"opt must have one slow_step_size, not {opt.slow_step_size!r}")
    inner, schedule = opt.inner, opt.inner.schedule
    slower = replace(schedule, peak=schedule.peak * opt.slow_step_size)
    return {
        "Lookahead": opt,
        f"{type(inner).__name__} at lr x step": replace(inner, lr=slower if inner.lr is schedule else slower.peak),
        "averaging": replace(opt, pull_back=False),
    }


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
    >>> from lookahead_nb.comparisons import first_below
    >>> losses = pd.DataFrame({"fast": [4.0, 1.0, 0.25], "slow": [4.0, 3.5, 3.0]}, index=[0, 10, 20])
    >>> first_below(losses, 0.5)
    fast    15.0
    slow     NaN
    dtype: float64
    """
    height = log_losses(losses / real_number("threshold", threshold, 0, open_low=True))
    first = {column: _first_root(height[column].dropna()) for column in height}
    return pd.Series(first).rename_axis(losses.columns.names)


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


def noise_floor(losses: pd.DataFrame) -> pd.DataFrame:
    """Return mean, fluctuation and drift of losses over the second half of their steps.

    Parameters
    ----------
    losses : frame
        One row per evaluated step, in ascending order (the index), and one column per run. The steps of the second half
        are evenly spaced.

    Returns
    -------
    frame
        One row per run; NaN for a run that ends in NaN (diverged). ``height`` is the mean, and ``fluctuation`` the
        standard deviation. ``drift`` is the mean of the later half of these rows minus that of the earlier half, in
        units of the fluctuation. It is about 0 for noise about a constant, near -sqrt(3) for a straight decline, and 0
        for losses that are all equal.

    Raises
    ------
    ValueError
        If the second half has fewer than 4 rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from lookahead_nb.comparisons import noise_floor
    >>> losses = pd.DataFrame({"run": [8.0, 4.0, 2.0, 1.0, 3.0, 1.0, 3.0]}, index=range(0, 70, 10))
    >>> noise_floor(losses).round(2)
         height  fluctuation  drift
    run     2.0         1.15    0.0
    """
    late = losses.loc[losses.index[-1] / 2 :]
    half = len(late) // 2
    if half < 2:
        raise ValueError(f"losses must have at least 4 rows in the second half of their steps, not {len(late)}")
    still = late.max(skipna=False) == late.min(skipna=False)  # their computed deviation need not be exactly 0
    fluctuation = late.std(skipna=False).mask(still, 0.0)
    drift = (late.tail(half).mean(skipna=False) - late.head(half).mean(skipna=False)) / fluctuation
    drift = drift.mask(still, 0.0)
    return pd.DataFrame({"height": late.mean(skipna=False), "fluctuation": fluctuation, "drift": drift})


def lowest_loss(model: LogisticRegression, data: Dataset) -> float:
    """Return the lowest mean cross-entropy that a logistic regression can have on the training part.

    A truncated Newton search in float64 starts at the initial weights of seed 0 and is accurate to about 1e-12.

    Parameters
    ----------
    model : LogisticRegression
        Without L2, which would move the minimum.
    data : Dataset

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If model is no logistic regression, or has L2.
    ValueError
        If the classes are separable. The loss then has no minimum, only an infimum of 0 at infinite weights.
    RuntimeError
        If the search does not converge.

    Notes
    -----
    Source: Nash 1984; Albert & Anderson 1984 on separable classes.
    """
    from scipy.optimize import minimize  # at module level it would double the import time of the package

    if not isinstance(model, LogisticRegression) or model.l2:
        raise TypeError(f"model must be a LogisticRegression with l2 0, which has one lowest loss, not {model!r}")
    start, rows = model.init(0, "float64"), (data.X_train, data.y_train)
    options = {"ftol": 0, "xtol": 0, "gtol": 1e-8, "maxfun": 10_000}  # TNC calls no BLAS; its threads would cost more
    fit = minimize(model.loss_and_grad, start, rows, method="TNC", jac=True, options=options)
    if (model.predict(fit.x, data.X_train) == data.y_train).all():
        raise ValueError(f"data must have classes that overlap, not be separable by {model!r}: no loss is the lowest")
    if np.abs(fit.jac).max() > 1e-7:
        raise RuntimeError(f"the search for the lowest loss of {model!r} did not end: {fit.message}")
    return float(fit.fun)
