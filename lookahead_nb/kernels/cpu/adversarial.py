"""A generator and a critic on the CPU: points on a ring, and the losses of both networks with their gradients.

The generator makes points of noise. The critic has one logit for each point, the log-odds that it is a real one. Both
are dense networks (``network``), with rows in the same order of summation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels.compiler import compiled, fma, formula, like
from lookahead_nb.kernels.cpu import network
from lookahead_nb.kernels.cpu.product import product
from lookahead_nb.kernels.cpu.step import width_types
from lookahead_nb.kernels.philox import PAIRS, fill_normal


def _pairs(seed, numbers, centres, deviation, real, noise):
    modes, coordinates = centres.shape
    normals = np.empty(coordinates + noise.shape[1])
    for r in range(numbers.size):
        fill_normal(seed, PAIRS, numbers[r], normals)
        mode = numbers[r] % modes
        for i in range(coordinates):
            real[r, i] = like(real[r, i], fma(deviation, normals[i], centres[mode, i]))
        for i in range(noise.shape[1]):
            noise[r, i] = like(noise[r, i], normals[coordinates + i])


@lru_cache(None)
def pairs(width: Any) -> Callable:
    """Return the compiled function that draws real points and noise.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(seed, numbers, centres, deviation, real, noise)``. Row r of real (rows, coordinates) and of noise (rows, any)
        is overwritten by pair ``numbers[r]``, int64 in [0, 2**32). The point is normal around the centre
        ``numbers[r] % modes`` of centres (modes, coordinates), float64, with a standard deviation; noise is standard
        normal. All numbers are those of ``philox.fill_normal`` in the stream ``PAIRS``, the pair being the step.
    """
    matrix = width_types(width)[0][:, ::1]
    readonly = types.Array(types.int64, 1, "C", readonly=True), types.Array(types.float64, 2, "C", readonly=True)
    return compiled(types.void(types.uint64, *readonly, types.float64, matrix, matrix))(_pairs)


@formula
def _judged(critic, points, labels, sizes, activation, rows, grad, work):
    """Return the sum of the critic's cross-entropies on points, over rows, and write its gradient to grad.

    Errors of the first hidden layer, or of the logits if there is none, are left in work, see :func:`_back_to_points`.
    """
    count = points.shape[0]
    at = network._forward(critic, points, 0, count, sizes, activation, work)
    error, end = network._block(work, at, 1, count), at + count
    losses = work[end : end + count]
    network.cross_entropy(error, labels, 0, True, work[end + count :], losses)
    loss = 0.0
    for r in range(count):
        loss += np.float64(losses[r])
    network.logit_errors(error, labels, rows)
    network._backward(critic, points, sizes, activation, like(critic[0], 0), at, grad, work)
    return loss / rows


@formula
def _back_to_points(critic, sizes, rows, work, error):
    """Write the gradient with respect to points, (coordinates, rows), after :func:`_judged`."""
    W = critic[: sizes[0] * sizes[1]].reshape((sizes[1], sizes[0]))
    product(W.T, network._block(work, sizes[0] * rows, sizes[1], rows), error)


def _gradients(generator, critic, real, noise, sizes, critic_sizes, activation, grad, critic_grad, losses, space):
    rows, coordinates = real.shape
    work, critic_work = space[: space.size // 2], space[space.size // 2 :]
    at = network._forward(generator, noise, 0, rows, sizes, activation, work)
    made = network._block(work, at, coordinates, rows)
    points, labels = np.empty((2 * rows, coordinates), real.dtype), np.ones(2 * rows, np.int64)
    for r in range(rows):
        labels[rows + r] = 0
        for i in range(coordinates):
            points[r, i], points[rows + r, i] = real[r, i], made[i, r]
    # The generator wants its points to be taken for real ones; the gradient of this critic is of no use.
    shape, fooled = (critic_sizes, activation, rows), points[rows:]
    losses[0] = _judged(critic, fooled, labels[:rows], *shape, critic_grad, critic_work)
    _back_to_points(critic, critic_sizes, rows, critic_work, made)
    network._backward(generator, noise, sizes, activation, like(generator[0], 0), at, grad, work)
    losses[1] = _judged(critic, points, labels, *shape, critic_grad, critic_work)


def space_size(sizes: Any, critic_sizes: Any, rows: int) -> int:
    """Return how much scratch memory :func:`gradients` needs.

    Parameters
    ----------
    sizes, critic_sizes : sequence of int
        Units of each layer, input and output included.
    rows : int
        Pairs of the minibatch.

    Returns
    -------
    int
        Numbers; one half of them for each network.
    """
    return 2 * max(network.work_size(sizes, rows), network.work_size(critic_sizes, 2 * rows))


@lru_cache(None)
def gradients(width: Any) -> Callable:
    """Return the compiled function that computes the losses of both networks and their gradients.

    Parameters
    ----------
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``(generator, critic, real, noise, sizes, critic_sizes, activation, grad, critic_grad, losses, space)``. With
        ``softplus(-z)`` the cross-entropy of a real point with the logit z and ``softplus(z)`` that of one that was
        made, the critic's loss is the sum of both means, and the generator's is the mean of ``softplus(-z)`` over the
        points that it makes. ``losses``, (2,) float64, is overwritten by that of the generator and that of the critic,
        grad and critic_grad by the gradient of each with respect to its own weights. Sizes and activation are those of
        ``network``; space has ``space_size`` numbers.

    Notes
    -----
    Source: Goodfellow et al. 2014, "Generative adversarial nets", with the loss of the generator that does not
    saturate (section 3).
    """
    scalar, vector, readonly = width_types(width)
    matrix, whole = types.Array(scalar, 2, "C", readonly=True), types.Array(types.int64, 1, "C", readonly=True)
    shapes = whole, whole, types.int64
    written = vector, vector, types.float64[::1], vector
    return compiled(types.void(readonly, readonly, matrix, matrix, *shapes, *written), nogil=True)(_gradients)
