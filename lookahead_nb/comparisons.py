"""Comparisons of arms over paired seeds: the controls, speed, excess loss, one arm as a multiple of another."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

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
    inner, schedule = opt.inner, opt.inner.schedule
    slower = replace(schedule, peak=schedule.peak * opt.slow_step_size)
    return {
        "Lookahead": opt,
        f"{type(inner).__name__} at lr x step": replace(inner, lr=slower if inner.lr is schedule else slower.peak),
        "averaging": replace(opt, pull_back=False),
    }


def first_below(losses, threshold):
    """Return the step at which each column first falls below a threshold, NaN where it never does (censored).

    Between two evaluated steps the logarithm of the loss is taken as straight; a column that starts below gives its
    first step.

    losses : frame, one row per evaluated step in ascending order (its index), one column per run, positive; NaN where a
    run was not evaluated. threshold : float above 0. returns : series of float, one per column. errors : TypeError,
    ValueError.
    """
    height = np.log(losses / real_number("threshold", threshold, 0, open_low=True))
    first = {column: _first_root(height[column].dropna()) for column in height}
    return pd.Series(first).rename_axis(losses.columns.names)


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


def excess(model, data, params):
    """Return how far the objective on the training part, L2 term included, lies above its minimum, in float64.

    The minimum is that of L-BFGS from the first initial weights, to about 1e-10; it is found once per model and data.

    model : LogisticRegression with l2 above 0, so that there is one minimum. data : Dataset. params : (size,) array.
    returns : float. errors : TypeError, ValueError; RuntimeError if the search does not end. Source: Nocedal & Wright
    2006, algorithm 7.5.
    """
    if not isinstance(model, LogisticRegression) or not model.l2:
        raise TypeError(f"model must be a LogisticRegression with l2 above 0, which has one minimum, not {model!r}")
    return model.loss(np.asarray(params, np.float64), data.X_train, data.y_train) - _minimum(model, data)


@lru_cache(256)
def _minimum(model, data):
    from scipy.optimize import minimize  # here, since it would double the time to import the package

    start, rows = model.init(0, "float64"), (data.X_train, data.y_train)
    fit = minimize(model.loss_and_grad, start, rows, method="L-BFGS-B", jac=True, options={"ftol": 1e-14, "gtol": 1e-8})
    if not fit.success:
        raise RuntimeError(f"the search for the minimum of {model!r} did not end: {fit.message}")
    return float(fit.fun)


def paired_ratios(values, reference, *, level=0.95):
    """Return values as multiples of a reference, paired by seed: geometric means and their t intervals.

    The interval is that of Student's t for the mean of the paired differences of logarithms, ``mean +- t*sd/sqrt(n)``,
    taken back by exp. A run that is missing (NaN) makes the whole row NaN: it is never left out in silence.

    values : frame of positive numbers, one column per seed; reference : frame with the same columns, whose index has
    some of the levels of that of values and serves all their rows. level : float in (0, 1). returns : frame with
    ``ratio``, ``low``, ``high``. errors : TypeError, ValueError. Source: Student 1908.
    """
    from scipy.stats import t  # here, since it would double the time to import the package

    level = real_number("level", level, 0, 1, open_low=True, open_high=True)
    if list(values.columns) != list(reference.columns):
        raise ValueError(f"reference must have the seeds {list(values.columns)}, not {list(reference.columns)}")
    shared = [name for name in values.index.names if name in reference.index.names]
    rows = pd.MultiIndex.from_frame(values.index.to_frame()[shared])
    by_level = reference.set_axis(pd.MultiIndex.from_frame(reference.index.to_frame()[shared]))
    gaps = np.log(values) - np.log(by_level.loc[rows].to_numpy())
    n = gaps.shape[1]
    middle = gaps.mean(axis=1, skipna=False)
    half = t.ppf((1 + level) / 2, n - 1) * gaps.std(axis=1, skipna=False) / np.sqrt(n)
    return np.exp(pd.DataFrame({"ratio": middle, "low": middle - half, "high": middle + half}))
