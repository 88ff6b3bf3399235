"""Runs on surfaces with a known shape on a CUDA device: a block of threads moves all replicas of a run.

The counterpart of ``cpu/surfaces.py``, with the same entry and bits. What is float64 there, the coefficients of a step,
the normal numbers and the heights, is float64 here too, in kernels of its own: the one that trains keeps its width.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.formulas import RULES, SURFACES, drifted, noisy
from lookahead_nb.gpu import cuda, runs
from lookahead_nb.gpu.runs import SLOW, single
from lookahead_nb.jit import formula, named
from lookahead_nb.philox import NOISE, normal_of, normal_words

MOST_THREADS = 256  # of a block that adds up heights, which it shares


@formula
def _second(coefficients, drift, part, step):
    if drift.size > 0:
        return drifted(coefficients[part, 1], drift[part], np.float64(step))
    return coefficients[part, 1]


def _coefficients(standing, drift, first, out):
    """Write the coefficients of the steps first + 1, ..., or of all of them where nothing drifts, rounded."""
    for i in range(cuda.grid(1), out.shape[0] * out.shape[1], cuda.gridsize(1)):
        step, part = i // out.shape[1], i % out.shape[1]
        out[step, part, 0] = standing[part, 0]
        out[step, part, 1] = _second(standing, drift, part, first + 1 + step)


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

    def kernel(
        p, g, s1, s2, slow, a1, a2, table, which, grad_limit, weight_limit,
        sync_period, slow_steps, turns, pull_back, inner_state,
        coefficients, noise, normals, row, skipped, diverged_at, taken, first, last,
    ):  # fmt: skip
        me, team, parts = cuda.threadIdx.x, cuda.blockDim.x, coefficients.shape[1]
        for run in range(cuda.blockIdx.x, p.shape[0], cuda.gridDim.x):
            if diverged_at[run] >= 0:
                continue
            params, grad, first1, second2 = p[run], g[run], s1[run], s2[run]
            how = sync_period[run], slow_steps[run], turns[run], pull_back[run], inner_state
            frozen_at, steps = -1, last
            for t in range(first + 1, last + 1):
                now, beyond = min(t - first - 1 + skipped, coefficients.shape[0] - 1), False
                for point in range(me, params.size // coordinates, team):
                    part, i, j = point % parts, point * coordinates, point * coordinates + coordinates - 1
                    a, b = coefficients[now, part, 0], coefficients[now, part, 1]
                    _, grad[i], grad[j] = surface(params[i], params[j], a, b)
                    for k in range(i, j + 1):
                        if normals.shape[2] > 0:
                            normal = normals[row[run], t - first - 1 + skipped, k]
                            grad[k] = noisy(grad[k], noise[k % noise.size], normal)
                        beyond = beyond or not (abs(grad[k]) <= grad_limit)
                frozen_at, steps = end_step(
                    beyond, t, last, params, grad, first1, second2, slow[run], a1[run], a2[run],
                    table[which[run], t - 1], weight_limit, *how, me, team,
                )  # fmt: skip
                if frozen_at >= 0:
                    break
            if me == 0:
                diverged_at[run], taken[run] = frozen_at, steps

    return named(f"train_{surface.__name__}_{rule.__name__}", kernel)


def _mean_height(surface, coordinates):
    def kernel(weights, coefficients, drift, step, n, results, wanted, diverged_at, at, kind, both):
        heights = cuda.shared.array(MOST_THREADS, types.float64)
        me, team, parts = cuda.threadIdx.x, cuda.blockDim.x, coefficients.shape[0]
        points = weights.shape[1] // coordinates
        for run in range(cuda.blockIdx.x, weights.shape[0], cuda.gridDim.x):
            if diverged_at[run] >= 0 or not wanted[run]:
                continue
            total = np.float64(0)
            for first in range(0, points, team):
                if first + me < points:
                    part, i = (first + me) % parts, (first + me) * coordinates
                    x, y = np.float64(weights[run, i]), np.float64(weights[run, i + coordinates - 1])
                    b = _second(coefficients, drift, part, step)
                    heights[me], _, _ = surface(x, y, coefficients[part, 0], b)
                cuda.syncthreads()
                if me == 0:
                    for k in range(min(team, points - first)):
                        total += heights[k]
                cuda.syncthreads()
            if me == 0:
                mean = total / np.float64(weights.shape[1] // n)
                for column in range(kind, SLOW + 1 if both else kind + 1):
                    results[run, at, column, 0, 0] = mean

    return named(f"mean_height_{surface.__name__}", kernel)


@lru_cache(None)
def _training(surface, rule):
    update, slots = RULES[rule]
    return cuda.jit(_train(*SURFACES[surface], update, len(slots)))


@lru_cache(None)
def _heights(surface):
    return cuda.jit(_mean_height(*SURFACES[surface]))


def draw(seed, first, out):
    """Write the normal numbers of steps first + 1, ... of each seed to out, (seeds, steps, numbers), rounded.

    seed : (seeds,) uint64, on the host. out : on the device, of the width of the weights.
    """
    if out.size:
        seeds = cuda.to_device(np.asarray(seed, np.uint64))
        single(_normals)[runs.MOST_BLOCKS, runs.THREADS](seeds, first, out.shape[1], out)


def advance(
    rule, p, g, s1, s2, slow, a1, a2, table, limits,
    sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
    surface, coefficients, drift, noise, normals, eval_steps, results, first, last,
):  # fmt: skip
    """Move all replicas of R runs from step ``first`` to step ``last`` and evaluate their mean heights on the way.

    rule .. outward, last : as in ``gpu.runs.advance``.   surface .. noise, eval_steps : as in ``cpu.surfaces.advance``.
    normals : pair of (seeds, steps, replicas*n or 0), what ``draw`` wrote from ``first`` on, and (R,), a run's seed.
    results : (R, m, 2, parts, 2) float64, on the device.   returns : as ``gpu.runs.advance``.
    """
    course = runs.Course(
        p, s1, s2, slow, a1, a2, table, limits, sync_period, slow_steps, pull_back, inner_state, outward
    )  # fmt: skip
    count, threads = len(last), min(runs.THREADS, MOST_THREADS, -(-p.shape[1] // 32) * 32)
    (numbers, row), width, steps = normals, p.dtype.type, int(last.max()) - first
    row, exact, moves, rounded_noise = map(cuda.to_device, (row, coefficients, drift, noise.astype(width)))
    rounded = cuda.device_array((steps if drift.size else 1, *coefficients.shape), width)
    single(_coefficients)[min(runs.MOST_BLOCKS, len(rounded)), threads](exact, moves, first, rounded)

    def train(diverged_at, taken, low, high):
        shape = rounded, rounded_noise, numbers, row, low - first
        _training(surface, rule)[count, threads](
            p, g, s1, s2, slow, a1, a2, *course.how, *shape, diverged_at, taken, low, high
        )

    def evaluate(weights, step, wanted, diverged_at, at, kind, both):
        shape = exact, moves, step, noise.size, results
        _heights(surface)[count, threads](weights, *shape, wanted, diverged_at, at, kind, both)

    return course.follow(train, evaluate, eval_steps, first, last, threads)
