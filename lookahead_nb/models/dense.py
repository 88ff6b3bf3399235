"""Logistic regression and multilayer perceptrons on one flat buffer, with a hand-written gradient."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lookahead_nb.checks import (
    FROM_0,
    default_errors,
    float_dtype,
    named_arguments,
    one_of,
    plain_array,
    real_number,
    shown,
    whole_number,
    within_width,
)
from lookahead_nb.display import layers, shown_together
from lookahead_nb.kernels.cpu import network
from lookahead_nb.kernels.formulas import RELU, SIGMOID, TANH
from lookahead_nb.kernels.philox import WEIGHTS, uniforms

ACTIVATIONS = {"relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}


class DenseLayers:
    """Dense layers on one flat buffer: its layout, fresh parameters, checks; without a loss.

    The buffer holds the layers in order. Each layer is W (out, in), row by row, then b (out,).

    Parameters
    ----------
    sizes : sequence of int
        Features, hidden units, outputs; already checked.
    activation : str
        A key of ``ACTIVATIONS``, applied after every layer except the last.
    l2 : float
        At least 0, the weight of half the sum of squares of W.

    Attributes
    ----------
    sizes : (layers + 1,) int64 array
        Units of each layer, input and output included; read-only.
    n_features : int
        Columns of X.
    activation : str
    l2 : float
    """

    def __init__(self, sizes: Sequence[int], activation: str, l2: float = 0.0) -> None:
        self.sizes = np.array(sizes, np.int64)
        self.sizes.flags.writeable = False
        self.n_features, self.activation, self.l2 = int(self.sizes[0]), activation, l2

    @cached_property
    def size(self) -> int:
        """The number of parameters."""
        return int(((self.sizes[:-1] + 1) * self.sizes[1:]).sum())

    @property
    def parts(self) -> dict[str, slice]:
        """The slices of the flat buffer by the names of :meth:`unpack`, in its order."""
        parts, first = {}, 0
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(self.sizes.tolist()), 1):
            for name, size in ((f"W{layer}", fan_in * fan_out), (f"b{layer}", fan_out)):
                parts[name] = slice(first, first + size)
                first += size
        return parts

    @default_errors
    def init(self, seed: int = 0, dtype: DTypeLike = "float32") -> np.ndarray:
        """Return fresh parameters: W from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), b = 0.

        Parameters
        ----------
        seed : int
            In [0, 2**63).
        dtype : str
            "float32" or "float64". The float32 weights are the float64 ones, rounded.

        Returns
        -------
        (size,) array
            A new buffer of this dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range, or l2 overflows the dtype.

        Notes
        -----
        Source: LeCun et al. 1998, section 4.6.
        """
        seed = whole_number("seed", seed, 0, 2**63 - 1)
        width = float_dtype("dtype", dtype)
        within_width("l2", self.l2, width)
        return self.fresh(seed).astype(width)

    def fresh(self, seed: int, first_block: int = 0) -> np.ndarray:
        """Return the parameters of :meth:`init` in float64, their random numbers from a block on.

        Parameters
        ----------
        seed : int
            In [0, 2**63).
        first_block : int
            That of the first layer; each layer has its own.

        Returns
        -------
        (size,) float64 array
        """
        params = np.zeros(self.size, np.float64)
        for block, W in enumerate((v for v in self.unpack(params).values() if v.ndim == 2), first_block):
            W[:] = (2 * uniforms(W.size, seed, WEIGHTS, block) - 1).reshape(W.shape) / np.sqrt(W.shape[1])
        return params

    def unpack(self, params: np.ndarray) -> dict[str, np.ndarray]:
        """Return views of the flat buffer by name, in its order.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.

        Returns
        -------
        dict of arrays
            "W1" (out, in), "b1" (out,), "W2", "b2" and so on. Writing to a view changes params.

        Raises
        ------
        TypeError, ValueError
            If params has another type, dtype, shape or layout.

        Examples
        --------
        >>> import numpy as np
        >>> import lookahead_nb as lnb
        >>> views = lnb.MLP((64, 32, 10)).unpack(np.zeros(2410))
        >>> {name: view.shape for name, view in views.items()}
        {'W1': (32, 64), 'b1': (32,), 'W2': (10, 32), 'b2': (10,)}
        """
        self._check_params(params)
        views = {name: params[part] for name, part in self.parts.items()}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True), 1):
            views[f"W{layer}"] = views[f"W{layer}"].reshape(fan_out, fan_in)
        return views

    @default_errors
    def outputs(self, params: np.ndarray, X: ArrayLike) -> np.ndarray:
        """Return the outputs of the last layer, which has no activation.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        X : (rows, n_features) array
            Finite numbers, at least one row; cast to the dtype of params.

        Returns
        -------
        (rows, outputs) array
            In the dtype of params.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, dtype, shape or layout, or holds a value out of range.
        """
        self._check_params(params)
        return self.computed(params, checked_features(X, self.n_features, params.dtype))

    def computed(self, params: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return what :meth:`outputs` does, for arrays that need no check; NaN and infinity pass through.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        X : (rows, n_features) array
            Of the same dtype, C-contiguous.

        Returns
        -------
        (rows, outputs) array
            Of the same dtype.
        """
        width: Any = params.dtype.type
        out = np.empty((len(X), self.sizes[-1]), params.dtype)
        network.outputs(width)(params, X, self.sizes, self.activation_code, out, self._work(X))
        return out

    @property
    def activation_code(self) -> int:
        """The number by which the kernels know the activation."""
        return ACTIVATIONS[self.activation]

    def _check_params(self, params: np.ndarray) -> None:
        if not isinstance(params, np.ndarray):
            raise TypeError(f"params must be a NumPy array, got {type(params).__name__}")
        if params.dtype not in (np.float32, np.float64):
            raise TypeError(f"params must be float32 or float64, got {params.dtype}")
        if params.shape != (self.size,) or not params.flags.c_contiguous:
            layout = "" if params.flags.c_contiguous else " in another layout"
            raise ValueError(f"params must be a contiguous ({self.size},) array, got {params.shape}{layout}")
        within_width("l2", self.l2, params.dtype)

    def _work(self, X: np.ndarray) -> np.ndarray:
        """Return the scratch memory of an evaluation."""
        return np.empty(network.work_size(self.sizes, min(len(X), network.ROWS_AT_ONCE)), X.dtype)


class DenseNetwork(DenseLayers, ABC):
    """The base of classifiers with dense layers: checks, loss, gradient and prediction.

    With two classes the last layer has a single logit.

    Parameters
    ----------
    widths : sequence of int
        Features, hidden widths, classes; already checked.
    activation : str
        A key of ``ACTIVATIONS``, applied after every layer except the last.
    l2 : float
        At least 0. The loss contains ``l2/2 * sum(W**2)``; biases are not penalised.

    Attributes
    ----------
    n_features, n_classes : int
        Columns of X, and number of labels.
    sizes : (layers + 1,) int64 array
        Units of each layer, input and output included; read-only. The output has 1 unit for two classes.
    activation : str
    l2 : float
    """

    needs_data = True  # landscapes train without rows

    def __init__(self, widths: Sequence[int], activation: str, l2: float) -> None:
        self.n_classes = widths[-1]
        super().__init__([*widths[:-1], 1 if self.n_classes == 2 else self.n_classes], activation, l2)

    @abstractmethod
    def settings(self) -> dict[str, object]:
        """Return the settings as a flat dict.

        Returns
        -------
        dict
            Strings and numbers by name.
        """

    def _repr_html_(self) -> str:
        """Return the settings as a table, and the layers as a picture."""
        widths = [*self.sizes[:-1].tolist(), self.n_classes]
        about = f"Layers of {', '.join(map(str, widths))} units from features to classes"
        rows = self.settings() | {"parameters": self.size}
        return shown_together(str(rows.pop("model")), rows, layers(widths, about))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DenseNetwork) and type(self) is type(other) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash(tuple(self.settings().values()))

    @default_errors
    def loss_and_grad(self, params: np.ndarray, X: ArrayLike, y: ArrayLike) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient.

        The loss is the mean cross-entropy plus ``l2/2 * sum(W**2)``.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        X : (rows, n_features) array
            Finite numbers, at least one row; cast to the dtype of params.
        y : (rows,) array
            Whole numbers 0..n_classes-1.

        Returns
        -------
        loss : float
        grad : (size,) array
            A new array in the dtype of params.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, dtype, shape or layout, or holds a value out of range.
        """
        X, y = self._checked(params, X, y)
        work = np.empty(network.work_size(self.sizes, len(X)), params.dtype)
        width: Any = params.dtype.type
        grad = np.empty(self.size, params.dtype)
        loss = network.loss_and_grad(width)(params, X, y, self.sizes, self.activation_code, width(self.l2), grad, work)
        return loss, grad

    @default_errors
    def loss(self, params: np.ndarray, X: ArrayLike, y: ArrayLike) -> float:
        """Return the loss of :meth:`loss_and_grad` alone.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        X : (rows, n_features) array
            Finite numbers, at least one row; cast to the dtype of params.
        y : (rows,) array
            Whole numbers 0..n_classes-1.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            As in :meth:`loss_and_grad`.
        """
        X, y = self._checked(params, X, y)
        width: Any = params.dtype.type
        loss, _ = network.evaluate(width)(params, X, y, self.sizes, self.activation_code, self._work(X))
        if self.l2:
            loss += np.float64(width(self.l2)) * network.half_square(width)(params, self.sizes)
        return float(loss)

    @default_errors
    def predict(self, params: np.ndarray, X: ArrayLike) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        X : (rows, n_features) array
            Finite numbers, at least one row; cast to the dtype of params. Scaled like the rows of the training: for raw
            rows use ``run.predict``, or ``data.scaling(X)``.

        Returns
        -------
        (rows,) int64 array
            The first of several equally probable classes.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`loss_and_grad`.
        """
        self._check_params(params)
        X = checked_features(X, self.n_features, params.dtype)
        width: Any = params.dtype.type
        out = np.empty(len(X), np.int64)
        network.predict(width)(params, X, self.sizes, self.activation_code, out, self._work(X))
        return out

    @default_errors
    def predict_proba(self, params: np.ndarray, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class for each row.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        X : (rows, n_features) array
            As in :meth:`predict`.

        Returns
        -------
        (rows, n_classes) array
            In the dtype of params. Each row adds up to 1 within rounding. The largest entry is that of the class that
            :meth:`predict` returns; probabilities that differ by less than rounding are equal here.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`loss_and_grad`.
        """
        self._check_params(params)
        X = checked_features(X, self.n_features, params.dtype)
        width: Any = params.dtype.type
        out = np.empty((len(X), self.n_classes), params.dtype)
        y = np.zeros(len(X), np.int64)
        network.probabilities(width)(params, X, y, self.sizes, self.activation_code, out, self._work(X))
        return out

    def _checked(self, params: np.ndarray, X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Check all arguments and return X and y as the kernels read them."""
        self._check_params(params)
        X = checked_features(X, self.n_features, params.dtype)
        return X, checked_labels(y, self.n_classes, len(X))


@named_arguments
class LogisticRegression(DenseNetwork):
    """Logistic regression: softmax of ``W x + b``, or for two classes the sigmoid of one logit, with L2 on W.

    ``loss = mean cross-entropy + l2/2 * sum(W**2)``; biases are not penalised. It is a dense network with one layer.

    Parameters
    ----------
    n_features : int
        At least 1.
    n_classes : int
        At least 2.
    l2 : float
        At least 0.

    Attributes
    ----------
    n_features, n_classes : int
    l2 : float

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Cox 1958; Bishop 2006, sections 4.3.2 and 4.3.4.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> model = lnb.LogisticRegression(4, n_classes=3, l2=0.1)
    >>> model
    LogisticRegression(4, n_classes=3, l2=0.1)
    >>> model.size
    15
    """

    def __init__(self, n_features: int, *, n_classes: int = 2, l2: float = 0.0) -> None:
        widths = [whole_number("n_features", n_features, 1), whole_number("n_classes", n_classes, 2)]
        super().__init__(widths, "relu", real_number("l2", l2, 0))  # one layer: no activation is ever applied

    def __repr__(self) -> str:
        return f"LogisticRegression({self.n_features}, n_classes={self.n_classes}, l2={self.l2})"

    def settings(self) -> dict[str, object]:
        """Return the settings as a flat dict.

        Returns
        -------
        dict
            "model", "widths" (for example "4-3") and "l2".
        """
        widths = f"{self.n_features}-{self.n_classes}"
        return {"model": "LogisticRegression", "widths": widths, "l2": self.l2}


@named_arguments
class MLP(DenseNetwork):
    """A multilayer perceptron: dense layers with an activation between them, trained with softmax cross-entropy.

    ``a_l = activation(W_l a_(l-1) + b_l)``. The last layer has no activation. With two classes it has a single logit;
    the sigmoid of this logit is the probability of class 1.

    Parameters
    ----------
    widths : sequence of int
        Features, hidden widths, classes: at least 2 numbers, with at least 2 classes. (5, 3) has no hidden layer.
    activation : str
        "relu" (slope 0 at 0), "tanh" or "sigmoid".

    Attributes
    ----------
    widths : tuple of int
    n_features, n_classes : int
        The first and the last width.
    sizes : (layers + 1,) int64 array
        Units of each layer, input and output included. The output has 1 unit for two classes.
    activation : str

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Rumelhart, Hinton & Williams 1986.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> model = lnb.MLP((64, 32, 10), activation="tanh")
    >>> model
    MLP((64, 32, 10), activation='tanh')
    >>> model.size
    2410
    """

    def __init__(self, widths: Iterable[int], *, activation: str = "relu") -> None:
        try:
            widths = tuple(widths)
        except TypeError:
            raise TypeError(f"widths must be a sequence such as (64, 32, 10), got {shown(widths)}") from None
        if len(widths) < 2:
            raise ValueError(f"widths must hold at least features and classes, got {shown(widths)}")
        last = len(widths) - 1
        checked = [whole_number(f"widths[{i}]", w, 2 if i == last else 1) for i, w in enumerate(widths)]
        super().__init__(checked, one_of("activation", activation, tuple(ACTIVATIONS)), 0.0)
        self.widths = tuple(checked)

    def __repr__(self) -> str:
        return f"MLP({self.widths}, activation={self.activation!r})"

    def settings(self) -> dict[str, object]:
        """Return the settings as a flat dict.

        Returns
        -------
        dict
            "model", "widths" (for example "64-32-10") and "activation".
        """
        return {"model": "MLP", "widths": "-".join(map(str, self.widths)), "activation": self.activation}


@default_errors
def checked_features(X: ArrayLike, n_features: int, dtype: DTypeLike) -> np.ndarray:
    """Return X as a C-contiguous matrix of the dtype.

    Parameters
    ----------
    X : (rows, n_features) array
        Anything that ``np.asarray`` accepts, with at least one row.
    n_features : int
        The number of columns that X must have.
    dtype : np.dtype
        float32 or float64.

    Returns
    -------
    (rows, n_features) array

    Raises
    ------
    TypeError
        If X holds no numbers.
    ValueError
        If X has another shape, or a value that is NaN, infinite or overflows the dtype.
    """
    table = plain_array("X", X)
    if table.dtype.kind not in "fiub":
        raise TypeError(f"X must hold numbers, got {table.dtype}")
    if table.ndim != 2 or table.shape[1] != n_features or not len(table):
        raise ValueError(f"X must be (rows, {n_features}) with at least one row, got {table.shape}")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(table, dtype)
    if not np.isfinite(matrix).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(matrix))[0])
        place, value = f"in row {row}, column {column} {FROM_0}", table[row, column].item()
        if np.isfinite(table[row, column]):
            largest = float(np.finfo(matrix.dtype).max)
            raise ValueError(f"X must be at most {largest} in size for {np.dtype(dtype)} params, got {value!r} {place}")
        raise ValueError(f"X must be finite, got {value!r} {place}")
    return matrix


def checked_labels(y: ArrayLike, n_classes: int, rows: int) -> np.ndarray:
    """Return y as int64 labels.

    Parameters
    ----------
    y : (rows,) array
        Anything that ``np.asarray`` accepts.
    n_classes : int
        Labels must lie in 0..n_classes-1.
    rows : int
        The number of labels that y must have.

    Returns
    -------
    (rows,) int64 array
        C-contiguous.

    Raises
    ------
    TypeError
        If y holds no whole numbers.
    ValueError
        If y has another shape, or a label out of range.
    """
    labels = plain_array("y", y)
    if labels.dtype.kind not in "iub":
        raise TypeError(f"y must hold whole numbers, got {labels.dtype}")
    if labels.shape != (rows,):
        raise ValueError(f"y must be ({rows},), one label for each row of X, got {labels.shape}")
    outside = (labels < 0) | (labels >= n_classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"y must hold labels 0 to {n_classes - 1}, got {labels[row].item()!r} in row {row} {FROM_0}")
    return np.ascontiguousarray(labels, np.int64)
