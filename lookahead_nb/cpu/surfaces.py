"""Runs on surfaces with a known shape, many replicas at once, compiled: no Python between the steps.

Arguments of all loops
    surface : name of a surface, a key of ``formulas.SURFACES``.
    p, g    : (replicas*n,) float32 or float64, the weights and the gradient, replica by replica.
    coefficients : (parts, 2), in, the two coefficients of each part of a point, in the width of p; float64 for heights.
    drift   : (parts,) float64, in, how far the second of them goes in a step; (0,) for a surface that stands still.
    noise   : (n,), in, the standard deviation of the gradient's noise.
    normals : (replicas*n,) float64, in, the standard normal numbers of a step, see ``draw``; (0,) for no noise.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.cpu import step as steps
from lookahead_nb.cpu.adaptive import step_of_sync, sync_types
from lookahead_nb.cpu.runs import FAST, SLOW, _all_within
from lookahead_nb.formulas import SURFACES, drifted, noisy
from lookahead_nb.jit import compiled, formula, like, named
from lookahead_nb.philox import NOISE, fill_normal


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
    scalar, vector, readonly = steps.width_types(width)
    normals = types.Array(types.float64, 1, "C", readonly=True)
    matrix, exact = (types.Array(each, 2, "C", readonly=True) for each in (scalar, types.float64))
    heights = types.void(readonly, exact, types.int64, types.float64[::1])
    return types.void(readonly, vector, matrix, readonly, normals), heights


@lru_cache(None)
def noisy_grad(surface, width):
    """Return the compiled loop ``loop(p, g, coefficients, noise, normals)``, which writes g."""
    return compiled(_signatures(width)[0], nogil=True)(_noisy_grad(*SURFACES[surface]))


@lru_cache(None)
def mean_height(surface, width):
    """Return the compiled loop ``loop(p, coefficients, n, out)``: out[k], the mean height of an equal share of p.

    p : (out.size*replicas*n,); n : int, coordinates of a point; out : float64. Heights are worked out in float64 and
    added one by one, in the order of p.
    """
    return compiled(_signatures(width)[1], nogil=True)(_mean_height(*SURFACES[surface]))


def _draw(seed, first, out):
    for i in range(out.shape[0]):
        fill_normal(seed, NOISE, first + 1 + i, out[i])


@lru_cache(None)
def _draw_loop():
    return compiled(types.void(types.uint64, types.int64, types.float64[:, ::1]), nogil=True)(_draw)


def draw(seed, first, out):
    """Write the normal numbers of the steps first + 1, first + 2, ..., one row each, that all runs of a seed meet.

    They are functions of seed, step and position, so a replica has the same ones however many there are.
    """
    _draw_loop()(seed, first, out)


@formula
def move(coefficients, drift, step, moved):
    """Write the coefficients of a step to moved, in its width: ``second + drift*step``, made in float64."""
    for part in range(drift.size):
        moved[part, 1] = drifted(coefficients[part, 1], drift[part], np.float64(step))


def _advance(
    rule, sync, noisy_grad, mean_height,
    p, g, s1, s2, slow, a1, a2, table, limits,
    sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
    standing, rounded, drift, noise, normals, eval_steps, results, first, last,
):  # fmt: skip
    height = np.empty(1, np.float64)
    exact, coefficients = standing.copy(), rounded.copy()
    due = 0
    while due < eval_steps.size and eval_steps[due] < first + (first > 0):
        due += 1
    if first == 0 and due < eval_steps.size and eval_steps[due] == 0:
        mean_height(p, exact, noise.size, height)
        results[due, FAST, 0, 0] = results[due, SLOW, 0, 0] = height[0]
        due += 1
    for t in range(first + 1, last + 1):
        move(standing, drift, t, exact)
        move(standing, drift, t, coefficients)
        noisy_grad(p, g, coefficients, noise, normals[t - first - 1])
        if not _all_within(g, limits[0]):
            return t, t - 1
        syncs = sync_period > 0 and t % sync_period == 0
        if syncs:
            before[:] = p[: before.size]
        rule(p, g, s1, s2, table[t - 1])
        if not _all_within(p, limits[1]):
            return t, t
        evaluates = due < eval_steps.size and eval_steps[due] == t
        if evaluates:
            mean_height(p, exact, noise.size, height)
            results[due, FAST, 0, 0] = height[0]
        if syncs:
            n, width = t // sync_period - 1, limits[1]
            size, rest = step_of_sync(n, slow_steps, rates, lowest, before, p, slow, g, s2, table[t - 1])
            sync(p, s1, s2, slow, a1, a2, like(width, size), like(width, rest), pull_back, inner_state)
        if evaluates and slow.size > 0:
            if outward > like(outward, 0):
                steps.average_all(p, s1, outward, slow)
            mean_height(slow, exact, noise.size, height)
            results[due, SLOW, 0, 0] = height[0]
        due += evaluates
    return -1, last


@lru_cache(None)
def _advance_loop(width):
    scalar, vector, readonly = steps.width_types(width)
    plain, _, sync = steps.signatures(width)
    matrix, exact = (types.Array(each, 2, "C", readonly=True) for each in (scalar, types.float64))
    whole = types.Array(types.int64, 1, "C", readonly=True)
    signature = types.UniTuple(types.int64, 2)(
        *(types.FunctionType(s) for s in (plain, sync, *_signatures(width))),
        *[vector] * 7, matrix, readonly, *sync_types(width), scalar,
        exact, matrix, types.Array(types.float64, 1, "C", readonly=True), readonly, exact,
        whole, types.float64[:, :, :, ::1], types.int64, types.int64,
    )  # fmt: skip
    return compiled(signature, nogil=True)(_advance)


def advance(
    rule, p, g, s1, s2, slow, a1, a2, table, limits,
    sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
    surface, coefficients, drift, noise, normals, eval_steps, results, first, last,
):  # fmt: skip
    """Move all replicas of one run from step ``first`` to step ``last`` and evaluate their mean height on the way.

    The bits are those of stepping by hand on ``noisy_grad``. All arguments move in place, so a run may be cut anywhere
    and continued. At a step with a sync the fast weights are evaluated before the pull, the slow ones after it. What is
    evaluated after a step is the height on the surface that gave its gradient.

    rule .. outward, eval_steps : as in ``cpu.runs.advance``.
    coefficients : (parts, 2) float64, of step 0, and noise : (n,) float64; rounded to the width of p for the gradient.
    normals : (at least last - first, replicas*n or 0) float64, in, row i for step first + 1 + i.
    results : (m, 2, parts, 2) float64, out; only [:, :, 0, 0] is written, the loss by step and FAST or SLOW.
    returns : as ``cpu.runs.advance``; the height is not watched.
    """
    width = p.dtype.type
    return _advance_loop(width)(
        steps.plain_loop(rule, width), steps.sync_loop(width), noisy_grad(surface, width), mean_height(surface, width),
        p, g, s1, s2, slow, a1, a2, table, limits,
        sync_period, slow_steps, rates, lowest, before, pull_back, inner_state, outward,
        coefficients, coefficients.astype(width), drift, noise.astype(width), normals, eval_steps, results, first, last,
    )  # fmt: skip
