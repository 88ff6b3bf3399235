"""Synthetic data sets, made here from the random stream."""

from __future__ import annotations

import math

import numpy as np

from lookahead_nb.checks import whole
from lookahead_nb.datasets.split import _each_column, _Table
from lookahead_nb.kernels.philox import SYNTHETIC, uniforms


# Every random array has 5000 rows and a separate block of the stream.
def _normals(columns: int, block: int) -> np.ndarray:
    ndtri = whole("scipy.special").ndtri  # at module level it would double the import time of the package
    return ndtri(uniforms(5000 * columns, 0, SYNTHETIC, block) + 2.0**-25).reshape(5000, columns)


def _gaussian_blobs() -> tuple[np.ndarray, np.ndarray]:
    """Ten overlapping clusters, ``x = 3*e_y + z`` with z ~ N(0, I) in 20 dimensions.

    A linear model can reach the best accuracy, 0.902: the probability that 3 + z_0 exceeds z_1, ... z_9.
    """
    y = np.arange(5000) % 10
    return _normals(20, block=0) + 3 * np.eye(10, 20)[y], y


def _checkerboard() -> tuple[np.ndarray, np.ndarray]:
    """Two classes on a board of 4 x 4 fields, ``y = (floor(x_0) + floor(x_1)) mod 2``, with 10 % of labels flipped.

    A linear model is little better than chance; the best accuracy is 0.9.
    """
    X = 4 * uniforms(10_000, 0, SYNTHETIC, 1).reshape(5000, 2)
    flipped = uniforms(5000, 0, SYNTHETIC, 2) < 0.1
    return X, (X.astype(np.int64).sum(axis=1) + flipped) % 2


def _logistic_teacher() -> tuple[np.ndarray, np.ndarray]:
    """Two classes from a linear teacher, ``P(y = 1) = sigmoid(w.x)``, w = (3, -3, 3, ...), 20 columns.

    x ~ N(0, ``0.9**|i-j|``). The problem is convex, and logistic regression is the true model. It is still not easy:
    the covariance has condition number 212, and the teacher points along its narrow side. The best accuracy is 0.86.
    """
    X = _normals(20, block=3)
    logit = 3 * X[:, 0]
    for j in range(1, 20):
        X[:, j] = 0.9 * X[:, j - 1] + math.sqrt(1 - 0.9**2) * X[:, j]
        logit += (-1) ** j * 3 * X[:, j]
    return X, (uniforms(5000, 0, SYNTHETIC, 4) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def _exclusive_or() -> tuple[np.ndarray, np.ndarray]:
    """Four clusters at the corners of a square, two classes across its diagonals, ``x = c + 0.3*z``, z ~ N(0, I).

    ``y = 1`` if the signs of c = (+-1, +-1) differ. The best accuracy is 0.999. A network of two or three hidden units
    often gets stuck at a higher loss. It is log(2)/2 if the network cannot distinguish two corners, and 3/4 of the
    entropy of 1/3 if it cannot distinguish three.
    """
    corner = (uniforms(10_000, 0, SYNTHETIC, 5) < 0.5).reshape(5000, 2)
    return 2.0 * corner - 1 + 0.3 * _normals(2, block=6), (corner[:, 0] ^ corner[:, 1]).astype(np.int64)


_SYNTHETIC = {
    "gaussian_blobs": _gaussian_blobs,
    "checkerboard": _checkerboard,
    "logistic_teacher": _logistic_teacher,
    "exclusive_or": _exclusive_or,
}


def _synthetic(name: str) -> _Table:
    return _Table(*_SYNTHETIC[name](), _each_column)
