"""The largest curvature of a training loss in units of a preconditioner, measured along a run of Adam or AdamW.

Adam moves the weights by lr*D*m with D = diag(1/(sqrt(v_hat) + eps)). Near a point the modes of such steps are those of
``D^(1/2) H D^(1/2)``, H the Hessian of the loss. Its largest eigenvalue times lr is the x of
:func:`lookahead_nb.theory.half_period`.

H meets vectors only. A product is the central difference ``(g(p + h u) - g(p - h u))/(2h)`` of two gradients in
float64. The Lanczos iteration builds an orthonormal basis from these products. The largest eigenvalue of the matrix in
this basis comes from below and is nearer than that of power iterations with as many products. It is the largest one,
not that of the largest absolute value, so directions of negative curvature do no harm.

Sources: Lanczos 1950; Golub & Van Loan 2013, section 10.1; Pearlmutter 1994 for products without the Hessian; Cohen et
al. 2022, "Adaptive gradient methods at the edge of stability", for the preconditioned Hessian.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, real_numbers, shown, whole, whole_number
from lookahead_nb.kernels.philox import DRAWS, normals
from lookahead_nb.models.dense import DenseNetwork
from lookahead_nb.optimizers import Adam, Optimizer
from lookahead_nb.training.run import train
from lookahead_nb.training.setup import rising_steps

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from lookahead_nb.datasets import Dataset

ITERATIONS, ROWS = 20, 1000
_STEP = 1e-5  # of the central differences, whose error is near its square
_NOTHING = 1e-10  # relative length of what a further product adds: the basis is complete


class LargestCurvature(NamedTuple):
    """What :func:`largest_curvature` returns.

    Attributes
    ----------
    value : float
        The largest eigenvalue of D^(1/2) H D^(1/2).
    gradients : int
        How many gradients it took, each of all rows.
    """

    value: float
    gradients: int


@default_errors
def largest_curvature(
    model: DenseNetwork,
    params: np.ndarray,
    X: ArrayLike,
    y: ArrayLike,
    *,
    preconditioner: ArrayLike = 1.0,
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> LargestCurvature:
    """Return the largest eigenvalue of D^(1/2) H D^(1/2) at a point, from below.

    Parameters
    ----------
    model : LogisticRegression or MLP
        H is the Hessian of its loss.
    params : (n,) float32 or float64 array
        The point.
    X, y : arrays
        The rows of the loss, as in ``model.loss_and_grad``.
    preconditioner : (n,) array or float
        The diagonal of D, above 0.
    iterations : int
        At least 1: Lanczos steps of two gradients each. With n or more, the result is exact up to rounding.
    seed : int
        Of the first vector, in [0, 2**63).

    Returns
    -------
    LargestCurvature
        The last digits depend on the class of the CPU.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    if not isinstance(model, DenseNetwork):
        raise TypeError(f"model must be a LogisticRegression or an MLP, got {shown(model)}")
    point = real_numbers("params", params, -math.inf)
    scale = np.sqrt(real_numbers("preconditioner", preconditioner, 0, open_low=True))
    if scale.shape not in ((), point.shape):
        raise ValueError(f"preconditioner must be a number or {point.shape} like params, got {scale.shape}")
    iterations = whole_number("iterations", iterations, 1)
    first = normals(len(point), whole_number("seed", seed, 0, 2**63 - 1), DRAWS)
    basis, diagonal, beside = [first / np.linalg.norm(first)], list[float](), list[float]()
    for _ in range(min(iterations, len(point))):
        w = scale * basis[-1]
        length = np.linalg.norm(w)
        ahead, behind = (
            model.loss_and_grad(point + sign * _STEP / length * w, X, y)[1] for sign in (1, -1)
        )  # fmt: skip
        product = scale * (ahead - behind) * (length / (2 * _STEP))
        diagonal.append(float(basis[-1] @ product))
        size = np.linalg.norm(product)
        for _ in range(2):  # once more for what rounding leaves
            for vector in basis:
                product = product - (vector @ product) * vector
        left = float(np.linalg.norm(product))
        if left <= _NOTHING * size:
            break
        beside.append(left)
        basis.append(product / left)
    rest = beside[: len(diagonal) - 1]
    matrix = np.diag(diagonal) + np.diag(rest, 1) + np.diag(rest, -1)
    return LargestCurvature(float(np.linalg.eigvalsh(matrix)[-1]), 2 * len(diagonal))


@default_errors
def curvature_along(
    model: DenseNetwork,
    data: Dataset,
    opt: Optimizer,
    at: Iterable[int],
    *,
    batch_size: int = 64,
    seed: int = 0,
    rows: int = ROWS,
    iterations: int = ITERATIONS,
) -> pd.DataFrame:
    """Train once and return the largest curvature at some steps, in units of Adam's preconditioner there.

    Parameters
    ----------
    model : LogisticRegression or MLP
    data : Dataset
    opt : Adam, AdamW, or Lookahead or EMA around one
        Measured at its fast weights, with D = 1/(sqrt(v_hat) + eps), v_hat = v/(1 - beta2**t).
    at : list of int
        Steps, each at least 1, rising. Training ends with the last one.
    batch_size, seed
        As in :func:`lookahead_nb.train`.
    rows : int
        At least 1. So many training rows, evenly spaced, make up the loss, or all if there are fewer.
    iterations : int
        As in :func:`largest_curvature`.

    Returns
    -------
    frame
        ``step``, ``curvature``, and ``gradients``: those of ``rows`` rows that it took.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    FloatingPointError
        If the run diverges.
    """
    pd = whole("pandas")

    inner: Any = getattr(opt, "inner", None)
    if not isinstance(inner, Adam):
        raise TypeError(f"opt must be Adam or AdamW, or Lookahead or EMA around one, got {shown(opt)}")
    at = rising_steps("at", at)
    count = len(data.X_train)
    rows = min(whole_number("rows", rows, 1), count)
    chosen = np.arange(rows) * count // rows
    X, y = data.X_train[chosen].astype(np.float64), data.y_train[chosen]
    run, found = None, []
    for before, step in zip([0, *at[:-1]], at, strict=True):
        if run is None:
            run = train(model, data, opt, steps=step, batch_size=batch_size, seed=seed, eval_at=[], eval_rows=1)
        else:
            run = run.train(step - before)
        if run.diverged_at is not None:
            raise FloatingPointError(f"seed {seed} diverged at step {run.diverged_at}")
        v = run.state.slots["v"].astype(np.float64) / (1 - run.state.power2)
        measured = largest_curvature(
            model, run.params.astype(np.float64), X, y, preconditioner=1 / (np.sqrt(v) + inner.eps),
            iterations=iterations, seed=seed,
        )  # fmt: skip
        found.append((step, *measured))
    return pd.DataFrame(found, columns=["step", "curvature", "gradients"])
