"""Runs on surfaces with a known shape on a CUDA device: a block of threads moves all replicas of a run.

The counterpart of ``cpu/surfaces.py``, with the same entry and bit-for-bit identical results. The coefficients of a
step, the normal numbers and the heights are float64 in both. They have separate kernels, so that the kernel that trains
uses a single width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from lookahead_nb.kernels.bundles import Evaluation, Normals, StepsOfRuns, Surface, Syncs, Weights
from lookahead_nb.kernels.compiler import formula, named
from lookahead_nb.kernels.formulas import RULES, SURFACES, drifted, noisy
from lookahead_nb.kernels.gpu import cuda, runs
from lookahead_nb.kernels.gpu.network import Team
from lookahead_nb.kernels.gpu.runs import SLOW, single
from lookahead_nb.kernels.philox import NOISE, normal_of, normal_words

MOST_THREADS = 256  # of a block that adds up heights in shared memory


@formula
def _second(model, part, step):
    if model.drift.size > 0:
        return drifted(model.exact[part, 1], model.drift[part], np.float64(step))
    return model.exact[part, 1]


def _coefficients(model, first):
    """Write the rounded coefficients of the steps first + 1, ..., or of all steps if nothing drifts."""
    out = model.rounded
    for i in range(cuda.grid(1), out.shape[0] * out.shape[1], cuda.gridsize(1)):
        step, part = i // out.shape[1], i % out.shape[1]
        out[step, part, 0] = model.exact[part, 0]
        out[step, part, 1] = _second(model, part, first + 1 + step)


def _normals(seeds, first, steps, out):
    quarters = (out.shape[2] + 3) // 4
    for i in range(cuda.grid(1), seeds.size * steps * quarters, cuda.gridsize(1)):
        quarter, step, seed = i % quarters, i // quarters % steps, i // (quarters * steps)
        w0, w1, w2, w3 = normal_words(seeds[seed], NOISE, first + 1 + step, quarter)
        at = 4 * quarter
        out[seed, step, at] = normal_of(np.float64(w0))
        if at + 1 < out.shape[2]:
            out[seed, step, at + 1] = normal_of(np.float64(w1))
        if at + 2 < out.shape[2]:
            out[seed, step, at + 2] = normal_of(np.float64(w2))
        if at + 3 < out.shape[2]:
            out[seed, step, at + 3] = normal_of(np.float64(w3))


def _train(surface, coordinates, rule, slots):
    end_step = runs.end_of_step(rule, slots)

    def kernel(weights, steps, syncs, model, normals, diverged_at, taken):
        team, parts = Team(cuda.threadIdx.x, cuda.blockDim.x), model.rounded.shape[1]
        for run in range(cuda.blockIdx.x, weights.p.shape[0], cuda.gridDim.x):
            if diverged_at[run] >= 0:
                continue
            arrays = runs.weights_of_run(weights, run)
            params, grad = arrays.p, arrays.g
            frozen_at, count = -1, steps.last
            for t in range(steps.first + 1, steps.last + 1):
                row, beyond = t - 1 - normals.first, False
                moved = min(row, model.rounded.shape[0] - 1)
                for point in range(team.me, params.size // coordinates, team.size):
                    part, i, j = point % parts, point * coordinates, point * coordinates + coordinates - 1
                    a, b = model.rounded[moved, part, 0], model.rounded[moved, part, 1]
                    _, grad[i], grad[j] = surface(params[i], params[j], a, b)
                    for k in range(i, j + 1):
                        if normals.numbers.shape[2] > 0:
                            normal = normals.numbers[normals.which[run], row, k]
                            grad[k] = noisy(grad[k], model.noise[k % model.noise.size], normal)
                        beyond = beyond or not (abs(grad[k]) <= steps.limits[0])
                frozen_at, count = end_step(beyond, t, arrays, steps, syncs, run, team)
                if frozen_at >= 0:
                    break
            if team.me == 0:
                diverged_at[run], taken[run] = frozen_at, count

    return named(f"train_{surface.__name__}_{rule.__name__}", kernel)


def _mean_height(surface, coordinates):
    def kernel(params, model, evaluation, syncs, at, kind, both):
        heights = cuda.shared.array(MOST_THREADS, types.float64)
        team, parts = Team(cuda.threadIdx.x, cuda.blockDim.x), model.exact.shape[0]
        points, step = params.shape[1] // coordinates, evaluation.steps[at]
        for run in range(cuda.blockIdx.x, params.shape[0], cuda.gridDim.x):
            if not runs.is_evaluated(run, kind, syncs, evaluation.diverged_at):
                continue
            total = np.float64(0)
            for first in range(0, points, team.size):
                if first + team.me < points:
                    part, i = (first + team.me) % parts, (first + team.me) * coordinates
                    x, y = np.float64(params[run, i]), np.float64(params[run, i + coordinates - 1])
                    heights[team.me], _, _ = surface(x, y, model.exact[part, 0], _second(model, part, step))
                cuda.syncthreads()
                if team.me == 0:
                    for k in range(min(team.size, points - first)):
                        total += heights[k]
                cuda.syncthreads()
            if team.me == 0:
                mean = total / np.float64(params.shape[1] // model.noise.size)
                for column in range(kind, SLOW + 1 if both else kind + 1):
                    evaluation.results[run, at, column, 0, 0] = mean

    return named(f"mean_height_{surface.__name__}", kernel)


@lru_cache(None)
def _training(surface, rule):
    update, slots = RULES[rule]
    return cuda.jit(_train(*SURFACES[surface], update, len(slots)))


@lru_cache(None)
def _heights(surface):
    return cuda.jit(_mean_height(*SURFACES[surface]))


# --------------------------------------------------------------------------------------------- bundles on the device


def surface_of(landscape: Any, stride: int, width: Any) -> Surface:
    """Return the :class:`Surface` of a landscape.

    Parameters
    ----------
    landscape : Landscape
        The test function.
    stride : int
        The largest number of steps in a stretch.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    bundles.Surface
        On the device; :func:`advance` writes its rounded coefficients.
    """
    coefficients = landscape.coefficients
    count = stride if landscape.drift.size else 1
    return Surface(
        cuda.to_device(coefficients),
        cuda.device_array((count, *coefficients.shape), width),
        cuda.to_device(landscape.drift),
        cuda.to_device(landscape.noise.astype(width)),
    )


def normals_of(landscape: Any, seeds: Any, stride: int, width: Any) -> Normals:
    """Return the :class:`Normals` of R runs; the numbers are not drawn yet.

    Parameters
    ----------
    landscape : Landscape
        The test function.
    seeds : (R,) sequence of int
        One for each run.
    stride : int
        The largest number of steps in a stretch.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    bundles.Normals
        On the device.
    """
    distinct, which = np.unique(np.asarray(seeds, np.uint64), return_inverse=True)
    shape = len(distinct), stride, landscape.size if landscape.noise.any() else 0
    return Normals(np.int64(0), cuda.device_array(shape, width), cuda.to_device(which.astype(np.int64)))


def draw(normals: Normals, seeds: Any, first: int, count: int) -> Normals:
    """Write the rounded normal numbers of a stretch of steps.

    Parameters
    ----------
    normals : bundles.Normals
        From :func:`normals_of`; its numbers are overwritten.
    seeds : (R,) sequence of int
        As in :func:`normals_of`.
    first : int
        The number of steps taken ahead of the stretch.
    count : int
        The number of steps in the stretch.

    Returns
    -------
    bundles.Normals
        With the same numbers and the new ``first``.
    """
    if normals.numbers.size:
        distinct = cuda.to_device(np.unique(np.asarray(seeds, np.uint64)))
        single(_normals)[runs.MOST_BLOCKS, runs.THREADS](distinct, first, count, normals.numbers)
    return normals._replace(first=np.int64(first))


def advance(
    rule: str,
    weights: Weights,
    steps: StepsOfRuns,
    syncs: Syncs,
    model: Surface,
    normals: Normals,
    evaluation: Evaluation,
    surface: str,
) -> np.ndarray:
    """Move all replicas of R runs over a stretch of steps and evaluate their mean heights on the way, all in place.

    The counterpart of ``cpu.surfaces.advance``; the arrays of all bundles are in device memory.

    Parameters
    ----------
    rule : str
        A key of ``formulas.RULES``.
    weights : bundles.Weights
        As in ``runs.advance``.
    steps : bundles.StepsOfRuns
        As in ``runs.advance``.
    syncs : bundles.Syncs
        As in ``runs.advance``.
    model : bundles.Surface
        From :func:`surface_of`; its rounded coefficients are overwritten by those of the stretch.
    normals : bundles.Normals
        From :func:`draw`, for these steps.
    evaluation : bundles.Evaluation
        As in ``runs.advance``; of the results only the loss of the first part is written.
    surface : str
        A key of ``formulas.SURFACES``.

    Returns
    -------
    (R,) int64 array
        The number of steps taken in all; see ``runs.advance``. The height is not checked for being finite.
    """
    count, size = weights.p.shape
    threads = min(runs.THREADS, MOST_THREADS, -(-size // 32) * 32)
    single(_coefficients)[min(runs.MOST_BLOCKS, len(model.rounded)), threads](model, steps.first)

    def train(launch, taken):
        kernel = _training(surface, rule)[count, threads]
        kernel(weights, launch, syncs, model, normals, evaluation.diverged_at, taken)

    def evaluate(params, at, kind, both):
        _heights(surface)[count, threads](params, model, evaluation, syncs, at, kind, both)

    return runs.control_loop(train, evaluate, weights, steps, syncs, evaluation, threads)
