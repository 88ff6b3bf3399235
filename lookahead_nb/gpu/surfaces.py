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
from lookahead_nb.gpu.runs import FAST, SLOW, single, stretches, sync_all, turn_of
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
    move = runs.moving(rule, slots)

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
                if cuda.syncthreads_or(np.int32(beyond)):
                    frozen_at, steps = t, t - 1
                    break
                c = table[which[run], t - 1]
                beyond = move(params, grad, first1, second2, c, weight_limit, me, team)
                if cuda.syncthreads_or(np.int32(beyond)):
                    frozen_at, steps = t, t
                    break
                turn = turn_of(t, sync_period[run], turns[run])
                if turn >= 0 and t < last:  # the last one is left to a kernel after the fast weights were evaluated
                    size, rest = slow_steps[run, turn, 0], slow_steps[run, turn, 1]
                    sync_all(
                        params, first1, second2, slow[run], a1[run], a2[run], size, rest, pull_back[run], inner_state,
                        me, team,
                    )  # fmt: skip
                    cuda.syncthreads()
            if me == 0:
                diverged_at[run], taken[run] = frozen_at, steps

    return named(f"train_{surface.__name__}_{rule.__name__}", kernel)


def _mean_height(surface, coordinates):
    def kernel(weights, coefficients, drift, step, n, results, at, kind, both, wanted, diverged_at):
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
):  # fmt: skip  # noqa: ARG001 (rates, lowest, before: the entry is the CPU's, but no slow step adapts here)
    """Move all replicas of R runs from step ``first`` to step ``last`` and evaluate their mean heights on the way.

    rule .. outward, last : as in ``gpu.runs.advance``.        surface .. noise, eval_steps : as in ``cpu.surfaces``.
    normals : pair of what ``draw`` wrote from ``first`` on, (seeds, steps, replicas*n or 0), and (R,), the row of a run.
    results : (R, m, 2, parts, 2) float64, on the device.      returns : as ``gpu.runs.advance``.
    """
    width, count, end = p.dtype.type, p.shape[0], int(last.max())
    threads = min(runs.THREADS, MOST_THREADS, -(-p.shape[1] // 32) * 32)
    diverged_at, taken = cuda.to_device(np.where(last < end, 0, -1)), cuda.to_device(np.zeros(count, np.int64))
    (tables, which), (shares, turns), (numbers, row) = table, slow_steps, normals
    periods, slowed = cuda.to_device(sync_period), cuda.to_device((sync_period > 0) | (outward > 0))
    which, turns, pulls, row, everyone = map(cuda.to_device, (which, turns, pull_back, row, np.ones(count, bool)))
    far, rounded_noise = cuda.to_device(outward), cuda.to_device(noise.astype(width))
    exact, moves = cuda.to_device(coefficients), cuda.to_device(drift)
    rounded = cuda.device_array((end - first if drift.size else 1, *coefficients.shape), width)
    single(_coefficients)[min(runs.MOST_BLOCKS, rounded.shape[0]), threads](exact, moves, first, rounded)

    def evaluate(weights, step, of, at, kind, both=False):
        shape = exact, moves, step, noise.size, results
        _heights(surface)[count, threads](weights, *shape, at, kind, both, of, diverged_at)

    if first == 0 and eval_steps[:1].tolist() == [0]:
        evaluate(p, 0, everyone, 0, FAST, True)
    for low, high, at in stretches(first, end, eval_steps):
        _training(surface, rule)[count, threads](
            p, g, s1, s2, slow, a1, a2, tables, which, *limits, periods, shares, turns, pulls, inner_state,
            rounded, rounded_noise, numbers, row, low - first, diverged_at, taken, low, high,
        )  # fmt: skip
        if at >= 0:
            evaluate(p, high, everyone, at, FAST)
        if slow.size:
            syncs = periods, shares, turns, pulls, inner_state, diverged_at, high
            single(runs._sync_last)[count, threads](p, s1, s2, slow, a1, a2, *syncs)
            if at >= 0:
                if outward.any():
                    single(runs._average)[count, threads](p, s1, slow, far)
                evaluate(slow, high, slowed, at, SLOW)
    return diverged_at.copy_to_host(), taken.copy_to_host()
