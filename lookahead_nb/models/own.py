"""Your own model: any object with a size, initial weights, and a loss with its gradient."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from lookahead_nb.checks import plain_array, shown, whole_number

PARTS = ("size", "init", "loss_and_grad")


def is_own_model(model: Any) -> bool:
    """Return whether an object has what your own model needs.

    Parameters
    ----------
    model : object

    Returns
    -------
    bool
    """
    return not isinstance(model, type) and all(hasattr(model, part) for part in PARTS)


class OwnModel:
    """Checks what your own model returns.

    Parameters
    ----------
    model : object
        With ``size``, ``init(seed, dtype)`` and ``loss_and_grad(params, X, y)``. It may have ``loss(params, X, y)``, to
        evaluate without a gradient, ``predict(params, X)``, which returns labels, for accuracies, and ``parts``, slices
        of the weights by name, for groups of weights.

    Raises
    ------
    TypeError, ValueError
        If its size is no whole number of at least 1.
    """

    needs_data = True

    def __init__(self, model: Any) -> None:
        self.model, self.size = model, whole_number("model.size", model.size, 1)

    def __repr__(self) -> str:
        return shown(self.model)

    def settings(self) -> dict[str, object]:
        """Return what the id of a run knows of the model: its class and its size.

        Returns
        -------
        dict
        """
        kind = type(self.model)
        return {"kind": f"{kind.__module__}.{kind.__qualname__}", "size": self.size}

    @property
    def parts(self) -> dict[str, slice]:
        """The slices of the weights by name, checked; they may leave weights out."""
        example = "a dict of slices such as {'bias': slice(6, 9)}"
        parts = getattr(self.model, "parts", None)
        if not isinstance(parts, Mapping) or not parts:
            raise TypeError(f"model.parts must be {example} for groups of weights, got {shown(parts)}")
        checked: dict[str, slice] = {}
        taken = np.zeros(self.size, bool)
        for name, part in parts.items():
            if not isinstance(name, str) or not isinstance(part, slice):
                raise TypeError(f"model.parts must be {example}, got {shown(part)} for {shown(name)}")
            first, end, stride = part.indices(self.size)
            if stride != 1 or first >= end or (part.stop is not None and part.stop > self.size):
                raise ValueError(
                    f"model.parts[{name!r}] must be a slice of at least one of {self.size} weights, got {part}"
                )
            if taken[first:end].any():
                raise ValueError(f"model.parts must not overlap, got {name!r} at weights of another part")
            taken[first:end] = True
            checked[name] = slice(first, end)
        return checked

    def init(self, seed: int, dtype: np.dtype) -> np.ndarray:
        """Return the weights of a fresh run.

        Parameters
        ----------
        seed : int
        dtype : np.dtype

        Returns
        -------
        (size,) array

        Raises
        ------
        TypeError, ValueError
            If the model returns something else, or weights that are not finite.
        """
        params = self._array("model.init", self.model.init(seed, dtype), dtype)
        if not np.isfinite(params).all():
            raise ValueError("model.init must return finite weights, got NaN or infinity")
        return params

    def loss_and_grad(self, params: np.ndarray, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and gradient of a minibatch.

        Parameters
        ----------
        params : (size,) array
            The model gets a copy, as of all that it gets.
        X : (rows, n_features) array
        y : (rows,) int64 array

        Returns
        -------
        loss : float
        grad : (size,) array
            In the dtype of params.

        Raises
        ------
        TypeError, ValueError
            If the model returns something else.
        """
        returned = self.model.loss_and_grad(params.copy(), X, y)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"model.loss_and_grad must return a loss and a gradient, got {shown(returned)}")
        grad = self._array("the gradient of model.loss_and_grad", returned[1], params.dtype)
        return _loss("model.loss_and_grad", returned[0]), grad

    def evaluate(self, params: np.ndarray, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Return loss and accuracy of rows; the accuracy of a model without ``predict`` is NaN.

        Parameters
        ----------
        params, X, y
            As in :meth:`loss_and_grad`.

        Returns
        -------
        loss, accuracy : float

        Raises
        ------
        TypeError, ValueError
            If the model returns something else.
        """
        if hasattr(self.model, "loss"):
            loss = _loss("model.loss", self.model.loss(params.copy(), X.copy(), y.copy()))
        else:
            loss, _ = self.loss_and_grad(params, X.copy(), y.copy())
        if not hasattr(self.model, "predict"):
            return loss, np.nan
        labels = plain_array("model.predict", self.model.predict(params.copy(), X.copy()))
        if labels.shape != y.shape:
            raise ValueError(f"model.predict must return one label for each of {len(y)} rows, got {shown(labels)}")
        return loss, int((labels == y).sum()) / len(y)

    def _array(self, name: str, value: Any, dtype: np.dtype) -> np.ndarray:
        array = plain_array(name, value)
        if array.shape != (self.size,) or array.dtype.kind not in "fiu":
            given = f"an array of shape {array.shape} and dtype {array.dtype}"
            raise ValueError(f"{name} must be an array of {self.size} numbers, got {given}")
        return np.array(array, dtype, order="C")


def _loss(name: str, value: Any) -> float:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must return a real number as loss, got {shown(value)}")
    return float(value)
