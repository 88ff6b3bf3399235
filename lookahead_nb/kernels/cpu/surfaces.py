"""Runs on surfaces with a known shape, many replicas at once, compiled: no Python between the steps.

Notes
-----
Arguments of all loops:

- surface : name of a surface, a key of ``formulas.SURFACES``.
- p, g : (replicas*n,) float32 or float64, the weights and the gradient, replica by replica.
- coefficients : (parts, 2), the two coefficients of each part of a point, in the width of p; float64 for heights.
- drift : (parts,) float64, change of the second coefficient in a step; (0,) for a surface without drift.
- noise : (n,), the standard deviation of the gradient noise.
- normals : (replicas*n,) float64, the standard normal numbers of a step, see :func:`draw`; (0,) for no noise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.compiler import compiled, formula, like, named
from lookahead_nb.kernels.cpu import step as stepping
from lookahead_nb.kernels.cpu.loop import Phases, average_run, control_loop, may_step, sync_run, update_run
from lookahead_nb.kernels.formulas import SURFACES, drifted, noisy
from lookahead_nb.kernels.philox import NOISE, fill_normal


def _slopes(surface, width):
    def slopes(p, g, coefficients):
        parts = coefficients.shape[0]
        for first in range(0, p.size, parts * width):
            for part in range(parts):
                i, j = first + part * width, first + part * width + width - 1
                _, g[i], g[j] = surface(p[i], p[j], coefficients[part, 0], coefficients[part, 1])

    return formula(named(f"slopes_{surface.__name__}", slopes))


def _noisy_grad(surface, width):
    slopes = _slopes(surface, width)

    def loop(p, g, coefficients, noise, normals):
        slopes(p, g, coefficients)
        for first in range(0, normals.size, noise.size):
            for i in range(noise.size):
                g[first + i] = noisy(g[first + i], noise[i], like(noise[i], normals[first + i]))

    return named(f"noisy_grad_{surface.__name__}", loop)


def _mean_height(surface, width):
    def loop(p, coefficients, n, out):
        size = p.size // out.size
        for k in range(out.size):
            total = np.float64(0)
            for first in range(k * size, (k + 1) * size, n):
                for part in range(coefficients.shape[0]):
                    i, j = first + part * width, first + part * width + width - 1
                    height, _, _ = surface(
                        np.float64(p[i]), np.float64(p[j]), coefficients[part, 0], coefficients[part, 1]
                    )
                    total += height
            out[k] = total / np.float64(size // n)

    return named(f"mean_height_{surface.__name__}", loop)


@lru_cache(None)
def _signatures(width):
    scalar, vector, readonly = stepping.width_types(width)
    normals = types.Array(types.float64, 1, "C", readonly=True)
    matrix, exact = (types.Array(kind, 2, "C", readonly=True) for kind in (scalar, types.float64))
    heights = types.void(readonly, exact, types.int64, types.float64[::1])
    return types.void(readonly, vector, matrix, readonly, normals), heights


@lru_cache(None)
def noisy_grad(surface: str, width: Any) -> Callable:
    """Return the compiled loop that writes the gradient.

    Parameters
    ----------
    surface : str
        A key of ``formulas.SURFACES``.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``loop(p, g, coefficients, noise, normals)``; g is overwritten.
    """
    return compiled(_signatures(width)[0], nogil=True)(_noisy_grad(*SURFACES[surface]))


@lru_cache(None)
def mean_height(surface: str, width: Any) -> Callable:
    """Return the compiled loop that writes mean heights.

    Parameters
    ----------
    surface : str
        A key of ``formulas.SURFACES``.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    function
        ``loop(p, coefficients, n, out)``. p has out.size*replicas*n elements, n is the number of coordinates of a
        point. out, float64, is overwritten: out[k] is the mean height of the k-th equal part of p.

    Notes
    -----
    Heights are computed in float64 and added one by one, in the order of p.
    """
    return compiled(_signatures(width)[1], nogil=True)(_mean_height(*SURFACES[surface]))


def _draw(seed, first, out):
    for i in range(out.shape[0]):
        fill_normal(seed, NOISE, first + 1 + i, out[i])


@lru_cache(None)
def _draw_loop():
    return compiled(types.void(types.uint64, types.int64, types.float64[:, ::1]), nogil=True)(_draw)


def draw(seed: int | np.uint64, first: int, out: np.ndarray) -> None:
    """Write the normal numbers that all runs of a seed use.

    They are functions of seed, step and position, so a replica has the same ones however many replicas there are.

    Parameters
    ----------
    seed : int
        The seed of the run.
    first : int
        The number of steps taken ahead of the stretch.
    out : (steps, replicas*n) float64 array
        Row i is overwritten by the numbers of step first + 1 + i.
    """
    _draw_loop()(seed, first, out)


@formula
def move(coefficients, drift, step, moved):
    """Write the coefficients of a step, ``second + drift*step``, computed in float64.

    Parameters
    ----------
    coefficients : (parts, 2) float64 array
        Those at step 0.
    drift : (parts,) or (0,) float64 array
        Change of the second coefficient in a step.
    step : int
        The number of the step.
    moved : (parts, 2) array
        Its second column is overwritten, in its width.
    """
    for part in range(drift.size):
        moved[part, 1] = drifted(coefficients[part, 1], drift[part], np.float64(step))


@formula
def _prepare(weights, model, normals):
    """Return the coefficients of a step, exact and rounded, and an array for a height."""
    return model.exact.copy(), model.rounded.copy(), np.empty(1, np.float64)


@formula
def _evaluate(measure, p, model, evaluation, scratch, work, t, results):
    exact, _, height = scratch
    measure(p, exact, model.noise.size, height)
    results[0, 0, 0] = height[0]


@formula
def _differentiate(gradient, weights, steps, model, normals, evaluation, scratch, work, t):
    exact, rounded, _ = scratch
    move(model.exact, model.drift, t, exact)
    move(model.exact, model.drift, t, rounded)
    gradient(weights.p, weights.g, rounded, model.noise, normals[t - steps.first - 1])
    return may_step(True, weights, steps, evaluation, t)


_advance = control_loop(
    "advance_surface", Phases(_prepare, _evaluate, _differentiate, update_run, sync_run, average_run)
)


@lru_cache(None)
def _advance_loop(width):
    scalar, vector, _ = stepping.width_types(width)
    plain, _, sync = stepping.signatures(width)
    signature = types.int64(
        *(types.FunctionType(s) for s in (plain, sync, *_signatures(width))),
        bundles.weights_type(scalar, 1),
        bundles.steps_type(scalar, 1),
        bundles.syncs_of_one_run_type(scalar),
        bundles.surface_type(scalar),
        bundles.read(types.float64, 2),
        bundles.evaluation_type(scalar),
        vector,
    )
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule: str,
    weights: bundles.Weights,
    steps: bundles.Steps,
    syncs: bundles.SyncsOfOneRun,
    model: bundles.Surface,
    normals: np.ndarray,
    evaluation: bundles.Evaluation,
    surface: str,
) -> int:
    """Move all replicas of one run over a stretch of steps and evaluate their mean height on the way, all in place.

    The results are bit-for-bit those of single steps on ``noisy_grad``. The height after a step is that of the surface
    which gave its gradient.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    weights : bundles.Weights
        Arrays (replicas*n,) or (0,).
    steps : bundles.Steps
        The stretch.
    syncs : bundles.SyncsOfOneRun
        Its syncs; fitted slow steps are written to it.
    model : bundles.Surface
        The surface.
    normals : (at least steps, replicas*n or 0) float64 array
        Row i belongs to step first + 1 + i; read-only.
    evaluation : bundles.Evaluation
        Of the results only the loss of the first part is written.
    surface : str
        A key of ``formulas.SURFACES``.

    Returns
    -------
    int
        The number of steps taken in all; see ``runs.advance``. The height is not checked for being finite.
    """
    width: Any = weights.p.dtype.type
    of_rule = stepping.plain_loop(rule, width), stepping.sync_loop_of(width, syncs.inner_state)
    loops = *of_rule, noisy_grad(surface, width), mean_height(surface, width)
    return _advance_loop(width)(*loops, weights, steps, syncs, model, normals, evaluation, weights.p[:0])
