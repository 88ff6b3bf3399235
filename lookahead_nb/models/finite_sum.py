"""A quadratic loss that is a mean over rows, with a full matrix: a task whose noise comes from its minibatches."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lookahead_nb.checks import default_errors, float_dtype, plain_array, shown, within_width
from lookahead_nb.kernels.cpu.product import product_for


class FiniteSumQuadratic:
    """The mean of ``0.5 (x - params)' hessian (x - params)`` over rows x.

    :func:`lookahead_nb.train` trains it step by step in Python, as a model of your own. Its data come from
    :func:`lookahead_nb.datasets.unlabelled`.

    Parameters
    ----------
    hessian : (n, n) array
        Symmetric and finite.
    start : float or (n,) array
        The weights at the beginning, the same for every seed.

    Attributes
    ----------
    hessian : (n, n) float64 array
        Read-only.
    start : (n,) float64 array
        Read-only.
    size : int
        The number of weights, n.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or shape, or holds a value out of range.

    Notes
    -----
    Every sum has a fixed order, so losses and gradients have the same bits on every CPU with ``fma``. The minimum for
    some rows is their mean, whatever the Hessian. The gradients of two minibatches differ by ``hessian`` times the
    difference of their means, and do not depend on the weights in that.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.models import FiniteSumQuadratic
    >>> model = FiniteSumQuadratic([[2.0, 0.0], [0.0, 1.0]], start=1.0)
    >>> model.loss_and_grad(model.init(dtype="float64"), np.array([[0.0, 0.0], [1.0, 3.0]]))
    (1.75, array([ 1. , -0.5]))
    """

    def __init__(self, hessian: ArrayLike, start: ArrayLike = 0.0) -> None:
        matrix = _numbers("hessian", hessian)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
            raise ValueError(f"hessian must be (n, n) with n at least 1, got {matrix.shape}")
        if not (matrix == matrix.T).all():
            raise ValueError("hessian must be symmetric in every bit: pass (hessian + hessian.T) / 2")
        self.size = len(matrix)
        point = _numbers("start", start)
        if point.shape not in ((), (self.size,)):
            raise ValueError(f"start must be a number or ({self.size},), got {point.shape}")
        self.hessian, self.start = matrix, np.broadcast_to(point, self.size).copy()
        for array in (self.hessian, self.start):
            array.flags.writeable = False
        self._rounded: dict[np.dtype, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"

    @default_errors
    def init(self, seed: int = 0, dtype: DTypeLike = "float32") -> np.ndarray:  # noqa: ARG002
        """Return the start.

        Parameters
        ----------
        seed : int
            Changes nothing.
        dtype : str
            "float32" or "float64".

        Returns
        -------
        (size,) array
            A new array.

        Raises
        ------
        TypeError, ValueError
            If dtype is another one, or start or hessian overflow it.
        """
        width = float_dtype("dtype", dtype)
        within_width("start", self.start, width)
        within_width("hessian", self.hessian, width)
        return self.start.astype(width)

    def loss_and_grad(self, params: np.ndarray, X: np.ndarray, y: object = None) -> tuple[float, np.ndarray]:  # noqa: ARG002
        """Return the mean loss of rows and its gradient, ``hessian`` times the distance of params from their mean.

        Parameters
        ----------
        params : (size,) float32 or float64 array
        X : (rows, size) array
        y : object
            Not used.

        Returns
        -------
        loss : float
            The products have the dtype of params and are added up in float64.
        grad : (size,) array
            In the dtype of params.

        Raises
        ------
        ValueError
            If params or X has another shape.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            distance, pull = self._pulls(params, X)
            return _mean_height(distance, pull), pull.sum(axis=0) / params.dtype.type(len(X))

    def loss(self, params: np.ndarray, X: np.ndarray, y: object = None) -> float:  # noqa: ARG002
        """Return the mean loss of rows.

        Parameters
        ----------
        params, X, y
            As in :meth:`loss_and_grad`.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If params or X has another shape.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return _mean_height(*self._pulls(params, X))

    def _pulls(self, params: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of params from each row, and ``hessian`` times it."""
        if params.shape != (self.size,) or X.ndim != 2 or X.shape[1] != self.size or not len(X):
            n, given = self.size, f"got {params.shape} and {X.shape}"
            raise ValueError(f"params must be ({n},) and X (rows, {n}), with at least one row, {given}")
        distance = params - X.astype(params.dtype, copy=False)
        pull = np.empty_like(distance)
        if params.dtype not in self._rounded:
            self._rounded[params.dtype] = self.hessian.astype(params.dtype)
        _product(params.dtype)(distance, self._rounded[params.dtype], pull)
        return distance, pull


@lru_cache
def _product(dtype: np.dtype) -> Any:
    return product_for(numba.from_dtype(dtype))


def _mean_height(distance: np.ndarray, pull: np.ndarray) -> float:
    """Return half the mean product of both, added up row by row and then column by column."""
    columns = np.multiply(distance, pull).sum(axis=0, dtype=np.float64)
    return float(np.add.accumulate(columns)[-1] / (2 * len(distance)))


def _numbers(name: str, value: Any) -> np.ndarray:
    """Return finite real numbers as a float64 copy, or refuse anything else."""
    array = plain_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got {shown(value)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return np.array(array, np.float64, order="C")
