"""The lowest loss that a logistic regression can have on its training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lookahead_nb.checks import whole
from lookahead_nb.models.dense import LogisticRegression

if TYPE_CHECKING:
    from lookahead_nb.datasets import Dataset


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
    minimize = whole("scipy.optimize").minimize  # at module level it would double the import time of the package

    if not isinstance(model, LogisticRegression) or model.l2:
        raise TypeError(f"model must be a LogisticRegression with l2 0, which has one lowest loss, got {model!r}")
    start, rows = model.init(0, "float64"), (data.X_train, data.y_train)
    options = {"ftol": 0, "xtol": 0, "gtol": 1e-8, "maxfun": 10_000}  # TNC calls no BLAS; its threads would cost more
    fit = minimize(model.loss_and_grad, start, rows, method="TNC", jac=True, options=options)
    if (model.predict(fit.x, data.X_train) == data.y_train).all():
        raise ValueError(f"data must have overlapping classes, got classes that {model!r} separates")
    if np.abs(fit.jac).max() > 1e-7:
        raise RuntimeError(f"the search for the lowest loss of {model!r} did not end: {fit.message}")
    return float(fit.fun)
