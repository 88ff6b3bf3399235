"""What arms are compared by: the controls, speed, noise floor and lowest loss; see statistics for the comparing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lookahead_nb.checks import real_number
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.optimizers import Lookahead


def with_controls(opt):
    """Return a Lookahead and the two arms without which nothing can be said for it, by name.

    "Lookahead": opt itself. "AdamW at lr x step" (the name of its inner rule): the inner rule alone, its learning rate
    multiplied by slow_step_size, which is Lookahead at sync_period 1. "averaging": opt with ``pull_back=False``, whose
    slow weights only average. opt : Lookahead with inner_state "keep". errors : TypeError, ValueError.
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


def first_below(losses, threshold):
    """Return the step at which each column first falls below a threshold, NaN where it never does (censored).

    Between two evaluated steps the logarithm of the loss is taken as straight, see :func:`log_losses`; a column that
    starts below gives its first step.

    losses : frame, one row per evaluated step in ascending order (its index), one column per run; NaN where a run was
    not evaluated. threshold : float above 0. returns : series of float, one per column. errors : TypeError,
    ValueError.
    """
    height = log_losses(losses / real_number("threshold", threshold, 0, open_low=True))
    first = {column: _first_root(height[column].dropna()) for column in height}
    return pd.Series(first).rename_axis(losses.columns.names)


def log_losses(losses):
    """Return the natural logarithms of losses, finite also for a loss of 0.

    A loss of 0 or less counts as the smallest positive float64, 5e-324, so that a line between two logarithms exists.

    losses : series or frame of float. returns : as losses, NaN where losses are.
    """
    return np.log(losses.clip(lower=np.nextafter(0, 1)))


def _first_root(height):
    below = np.flatnonzero(height < 0)
    if not below.size:
        return np.nan
    after = below[0]
    steps, values = height.index.to_numpy(np.float64), height.to_numpy()
    if after == 0:
        return steps[0]
    behind = values[after] / (values[after] - values[after - 1])
    return steps[after] - behind * (steps[after] - steps[after - 1])


def noise_floor(losses):
    """Return what losses do over the second half of their steps: ``height``, ``fluctuation`` and ``drift``.

    height: the mean. fluctuation: the standard deviation. drift: how much higher the mean of the last half of these
    rows is than that of the first, in units of the fluctuation: about 0 for noise about a constant, near -sqrt(3) for a
    straight decline, and 0 for losses that are all equal.

    losses : frame, one row per evaluated step in ascending order (its index), evenly spaced from the middle on, one
    column per run. returns : frame, one row per run; a run that ends in NaN (diverged) has NaN. errors : ValueError.
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


def lowest_loss(model, data):
    """Return the lowest mean cross-entropy that a logistic regression can have on the training part, in float64.

    It is that of a truncated Newton search from the first initial weights, to about 1e-12. Classes that can be told
    apart without an error have no such minimum, only an infimum of 0 at infinite weights, and are refused.

    model : LogisticRegression without L2, which would move the minimum. data : Dataset. returns : float. errors :
    TypeError; ValueError for separable classes; RuntimeError if the search does not end. Source: Nash 1984; Albert &
    Anderson 1984 on separable classes.
    """
    from scipy.optimize import minimize  # here, since it would double the time to import the package

    if not isinstance(model, LogisticRegression) or model.l2:
        raise TypeError(f"model must be a LogisticRegression with l2 0, which has one lowest loss, not {model!r}")
    start, rows = model.init(0, "float64"), (data.X_train, data.y_train)
    options = {"ftol": 0, "xtol": 0, "gtol": 1e-8, "maxfun": 10_000}  # TNC calls no BLAS, whose threads cost more
    fit = minimize(model.loss_and_grad, start, rows, method="TNC", jac=True, options=options)
    if (model.predict(fit.x, data.X_train) == data.y_train).all():
        raise ValueError(f"data must have classes that overlap, not be separable by {model!r}: no loss is the lowest")
    if np.abs(fit.jac).max() > 1e-7:
        raise RuntimeError(f"the search for the lowest loss of {model!r} did not end: {fit.message}")
    return float(fit.fun)
