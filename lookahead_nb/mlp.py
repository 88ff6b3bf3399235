"""Multilayer perceptrons on one flat buffer, with a hand-written gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from lookahead_nb.checks import float_dtype, one_of, plain_array, whole_number, within_width
from lookahead_nb.cpu import network
from lookahead_nb.formulas import RELU, SIGMOID, TANH
from lookahead_nb.philox import WEIGHTS, uniforms

ACTIVATIONS = {"relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}


class DenseNetwork(ABC):
    """What all models of dense layers share: the layout of the flat buffer, the checks, loss, gradient, prediction.

    The buffer holds, layer by layer, W (out, in) row by row, then b (out,). Two classes share one logit. params :
    (size,) float32 or float64, C-contiguous; X : (rows, n_features), finite numbers, cast to the dtype of params; y :
    (rows,) whole numbers 0..n_classes-1.
    """

    needs_data = True  # rows to train on, unlike a landscape

    def __init__(self, widths, activation, l2):
        self.n_features, self.n_classes = widths[0], widths[-1]
        self.sizes = np.array([*widths[:-1], 1 if self.n_classes == 2 else self.n_classes], np.int64)
        self.sizes.flags.writeable = False
        self.activation, self.l2 = activation, l2

    @cached_property
    def size(self):
        """The number of parameters."""
        return int(((self.sizes[:-1] + 1) * self.sizes[1:]).sum())

    @abstractmethod
    def settings(self):
        """Return the settings as a flat dict of strings and numbers."""

    def __eq__(self, other):
        return type(self) is type(other) and self.settings() == other.settings()

    def __hash__(self):
        return hash(tuple(self.settings().values()))

    def init(self, seed=0, dtype="float32"):
        """Return fresh parameters: W from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), b = 0.

        seed : int in [0, 2**63); dtype : "float32" or "float64", the float32 weights being the float64 ones rounded.
        returns : (size,) array. errors : TypeError, ValueError. Source: LeCun et al. 1998, section 4.6.
        """
        seed = whole_number("seed", seed, 0, 2**63 - 1)
        dtype = float_dtype("dtype", dtype)
        within_width("l2", self.l2, dtype)
        params = np.zeros(self.size, np.float64)
        for layer, W in enumerate(v for v in self.unpack(params).values() if v.ndim == 2):
            W[:] = (2 * uniforms(W.size, seed, WEIGHTS, layer) - 1).reshape(W.shape) / np.sqrt(W.shape[1])
        return params.astype(dtype)

    def unpack(self, params):
        """Return views of the flat buffer by name, in its order: W1 (out, in), b1 (out,), W2, b2, ...

        params : (size,) float32 or float64, C-contiguous. errors : TypeError, ValueError.
        """
        self._check_params(params)
        views, at = {}, 0
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True), 1):
            views[f"W{layer}"] = params[at : at + fan_in * fan_out].reshape(fan_out, fan_in)
            at += fan_in * fan_out
            views[f"b{layer}"] = params[at : at + fan_out]
            at += fan_out
        return views

    def loss_and_grad(self, params, X, y):
        """Return the mean cross-entropy plus ``l2/2 * sum(W**2)``, as float, and its gradient, a new (size,) array.

        params : (size,) float32 or float64; X : (rows, n_features), finite, cast to the dtype of params;
        y : (rows,) whole numbers 0..n_classes-1. errors : TypeError, ValueError.
        """
        X, y = self._enter(params, X, y)
        work = np.empty(network.work_size(self.sizes, len(X)), params.dtype)
        grad, width = np.empty(self.size, params.dtype), params.dtype.type
        loss = network.loss_and_grad(width)(params, X, y, self.sizes, self.activation_code, width(self.l2), grad, work)
        return loss, grad

    def loss(self, params, X, y):
        """Return the loss of :meth:`loss_and_grad` alone.

        params, X, y, errors : as in :meth:`loss_and_grad`.
        """
        X, y = self._enter(params, X, y)
        work = self._work(X)
        loss, _ = network.evaluate(params.dtype.type)(params, X, y, self.sizes, self.activation_code, work)
        if self.l2:
            loss += np.float64(params.dtype.type(self.l2)) * network.half_square(params.dtype.type)(params, self.sizes)
        return float(loss)

    def predict(self, params, X):
        """Return the most probable class of each row, the first of equals, as (rows,) int64.

        params, X : as in :meth:`loss_and_grad`. errors : TypeError, ValueError.
        """
        self._check_params(params)
        X = checked_features(X, self.n_features, params.dtype)
        out = np.empty(len(X), np.int64)
        network.predict(params.dtype.type)(params, X, self.sizes, self.activation_code, out, self._work(X))
        return out

    @property
    def activation_code(self):
        """The activation as the kernels take it."""
        return ACTIVATIONS[self.activation]

    def _check_params(self, params):
        if not isinstance(params, np.ndarray):
            raise TypeError(f"params must be a NumPy array, not {type(params).__name__}")
        if params.dtype not in (np.float32, np.float64):
            raise TypeError(f"params must be float32 or float64, not {params.dtype}")
        if params.shape != (self.size,) or not params.flags.c_contiguous:
            raise ValueError(f"params must be a contiguous ({self.size},) array, not {params.shape}")
        within_width("l2", self.l2, params.dtype)

    def _enter(self, params, X, y):
        self._check_params(params)
        X = checked_features(X, self.n_features, params.dtype)
        return X, checked_labels(y, self.n_classes, len(X))

    def _work(self, X):
        return np.empty(network.work_size(self.sizes, min(len(X), network.ROWS_AT_ONCE)), X.dtype)


class MLP(DenseNetwork):
    """A multilayer perceptron: dense layers with an activation between them, softmax cross-entropy at the end.

    ``a_l = activation(W_l a_(l-1) + b_l)``; the last layer has no activation. Two classes share one logit, whose
    sigmoid is the probability of class 1.

    widths : whole numbers (features, hidden ..., classes), at least 2 of them, classes at least 2; (5, 3) has no hidden
    layer. activation : "relu" (slope 0 at 0), "tanh" or "sigmoid". errors : TypeError, ValueError.
    Source: Rumelhart, Hinton & Williams 1986.
    """

    def __init__(self, widths, *, activation="relu"):
        try:
            widths = tuple(widths)
        except TypeError:
            raise TypeError(f"widths must be a sequence such as (64, 32, 10), not {widths!r}") from None
        if len(widths) < 2:
            raise ValueError(f"widths must hold at least features and classes, not {widths!r}")
        last = len(widths) - 1
        checked = [whole_number(f"widths[{i}]", w, 2 if i == last else 1) for i, w in enumerate(widths)]
        super().__init__(checked, one_of("activation", activation, tuple(ACTIVATIONS)), 0.0)
        self.widths = tuple(checked)

    def __repr__(self):
        return f"MLP({self.widths}, activation={self.activation!r})"

    def settings(self):
        """Return the settings as a flat dict of strings and numbers."""
        return {"model": "MLP", "widths": "-".join(map(str, self.widths)), "activation": self.activation}


def checked_features(X, n_features, dtype):
    """Return X as a C-contiguous matrix of the dtype, or refuse it: shape, kind, NaN, inf and what overflows the dtype.

    X : what ``np.asarray`` takes; n_features : int; dtype : np.dtype. returns : (rows, n_features), rows at least 1.
    errors : TypeError, ValueError.
    """
    given = plain_array("X", X)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"X must hold numbers, not {given.dtype}")
    if given.ndim != 2 or given.shape[1] != n_features or not len(given):
        raise ValueError(f"X must be (rows, {n_features}) with at least one row, not {given.shape}")
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(given, dtype)
    if not np.isfinite(X).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(X))[0])
        where, value = f"in row {row}, column {column}", given[row, column].item()
        if np.isfinite(given[row, column]):
            largest = float(np.finfo(dtype).max)
            raise ValueError(f"X must be at most {largest} in size for {np.dtype(dtype)} params, not {value!r} {where}")
        raise ValueError(f"X must be finite, not {value!r} {where}")
    return X


def checked_labels(y, n_classes, rows):
    """Return y as int64, or refuse it: shape, kind, and labels outside 0..n_classes-1.

    y : what ``np.asarray`` takes; n_classes, rows : int. returns : (rows,). errors : TypeError, ValueError.
    """
    given = plain_array("y", y)
    if given.dtype.kind not in "iub":
        raise TypeError(f"y must hold whole numbers, not {given.dtype}")
    if given.shape != (rows,):
        raise ValueError(f"y must be ({rows},), one label for each row of X, not {given.shape}")
    outside = (given < 0) | (given >= n_classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"y must hold labels 0 to {n_classes - 1}, not {given[row].item()!r} in row {row}")
    return np.ascontiguousarray(given, np.int64)
