"""Named tuples that cross the border between Python and compiled code.

Each bundle has one constructor on the host that fixes widths, layouts and read-only flags, because Numba converts
nothing inside a tuple. ``*_type`` functions return the Numba types of what the constructors make.

A leading or trailing axis of runs depends on the engine: one run has none, runs side by side on the CPU have a last
axis of SIMD lanes, runs on a GPU have a first axis of runs. R stands for that number of runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types


class Weights(NamedTuple):
    """The arrays that a run changes; an array that the optimizer does not use has no elements.

    Attributes
    ----------
    p, g : fast weights and their gradient; (n,), (n, lanes) or (R, n), float32 or float64.
    s1, s2 : inner state, in the order of ``RULES``.
    slow : slow weights.
    a1, a2 : inner state at the last sync, for inner_state "interpolate".
    """

    p: Any
    g: Any
    s1: Any
    s2: Any
    slow: Any
    a1: Any
    a2: Any


class Steps(NamedTuple):
    """A stretch of consecutive steps and the scalars that the update rule reads.

    Attributes
    ----------
    first : int64, the number of steps taken before the stretch.
    table : (count, 8) or (count, 8, lanes), row i belongs to step first + 1 + i.
    limits : (2,), the largest magnitudes of a gradient and of a weight that count as finite.
    """

    first: Any
    table: Any
    limits: Any


class Syncs(NamedTuple):
    """When and how the slow weights of several runs follow the fast ones.

    Attributes
    ----------
    period : (R,) int64, steps between two syncs; 0 for an optimizer that never syncs.
    slow_steps : (m, 2, lanes) or (R, m, 2), pairs (slow_step_size, 1 - slow_step_size), used in turn.
    turns : (R,) int64, how many of the m pairs a run uses.
    pull_back : (R,) bool, whether a sync moves the fast weights onto the slow ones.
    inner_state : int64, KEEP, RESET or INTERPOLATE, the same for all runs.
    outward : (1, lanes) or (R,), ``(1 - beta1)/beta1`` for Schedule-Free, else 0.
    """

    period: Any
    slow_steps: Any
    turns: Any
    pull_back: Any
    inner_state: Any
    outward: Any


class SyncsOfOneRun(NamedTuple):
    """When and how the slow weights of one run on the CPU follow the fast ones; its slow step may be fitted.

    Attributes
    ----------
    period, inner_state, pull_back, outward : scalars with the meaning of :class:`Syncs`.
    slow_steps : (m, 2) float64; pairs used in turn, or with fitted slow steps one pair for each sync, written by it.
    rates : (syncs,) float64, the learning rate at each sync where slow steps are fitted, else (0,).
    lowest : float64, the least slow step that may be fitted.
    before : (n,), overwritten by the fast weights ahead of a sync where slow steps are fitted, else (0,).
    """

    period: Any
    slow_steps: Any
    pull_back: Any
    inner_state: Any
    outward: Any
    rates: Any
    lowest: Any
    before: Any


class Network(NamedTuple):
    """A dense network.

    Attributes
    ----------
    sizes : (layers + 1,) int64, features of the input and of each layer's output.
    activation : int64, a code of ``formulas``.
    l2 : scalar of the width of the weights, the penalty on weights without biases.
    """

    sizes: Any
    activation: Any
    l2: Any


class Surface(NamedTuple):
    """A test function: its coefficients, drift and gradient noise.

    Attributes
    ----------
    exact : (parts, 2) float64, the coefficients at step 0, for heights.
    rounded : (parts, 2), the same in the width of the weights, for gradients; on a GPU (count, parts, 2), those of each
        step of a stretch, or (1, parts, 2) for a surface that stands still.
    drift : (parts,) float64, change of the second coefficient in a step; (0,) for a surface that stands still.
    noise : (n,), standard deviation of the gradient noise, in the width of the weights.
    """

    exact: Any
    rounded: Any
    drift: Any
    noise: Any


class Batches(NamedTuple):
    """The training rows and how minibatches are drawn from them.

    Attributes
    ----------
    X : (rows, features), float32 or float64.
    y : (rows,) int64.
    batch_size : int64.
    seed : uint64, or (R,) uint64 on a GPU.
    """

    X: Any
    y: Any
    batch_size: Any
    seed: Any


class Evaluation(NamedTuple):
    """What is evaluated, when, and where the results go.

    Attributes
    ----------
    X, y, bounds : the rows to evaluate; part i runs from bounds[i] to bounds[i + 1]. Empty for a test function.
    steps : (m,) int64, the evaluated steps, rising.
    results : (R, m, 2, parts, 2) float64, out, by run, step, FAST or SLOW, part, (loss, accuracy).
    diverged_at : (R,) int64, inout, -1 until the loss, gradient or weights of a run stop being finite, then the step.
    """

    X: Any
    y: Any
    bounds: Any
    steps: Any
    results: Any
    diverged_at: Any


# ---------------------------------------------------------------------------------------------------------------- GPU
# ``gpu.runs`` and ``gpu.surfaces`` make these, since all their arrays lie on the device.


class StepsOfRuns(NamedTuple):
    """A stretch of consecutive steps of R runs on a GPU; runs with equal scalars share a table.

    Attributes
    ----------
    first, last : int64, the number of steps taken before the stretch and after it.
    tables : (tables, steps, 8), row t - 1 of a table belongs to step t.
    which : (R,) int64, the table of each run.
    limits : pair of scalars, the largest magnitudes of a gradient and of a weight that count as finite.
    """

    first: Any
    last: Any
    tables: Any
    which: Any
    limits: Any


class Normals(NamedTuple):
    """The normal random numbers of a stretch of steps on a surface; runs with the same seed share them.

    Attributes
    ----------
    first : int64, the number of steps taken before the stretch.
    numbers : (seeds, count, n) in the width of the weights, row i belongs to step first + 1 + i; n is 0 without noise.
    which : (R,) int64, the seed of each run.
    """

    first: Any
    numbers: Any
    which: Any


class Workspace(NamedTuple):
    """Memory in which each block of threads works.

    Attributes
    ----------
    numbers : (blocks, size) in the width of the weights, activations, errors and losses of a batch.
    rows : (blocks, batch_size) int64, the rows of a minibatch.
    """

    numbers: Any
    rows: Any


# ------------------------------------------------------------------------------------------------------- constructors


def readonly(array):
    """Return a C-contiguous read-only view, the form in which compiled code takes arrays that it only reads."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def steps_of(first, table, limits):
    """Return :class:`Steps` for the CPU."""
    return Steps(np.int64(first), readonly(table), readonly(limits))


def network_of(model, width):
    """Return the :class:`Network` of a dense model in a NumPy float width."""
    return Network(readonly(model.sizes), np.int64(model.activation_code), width(model.l2))


def surface_of(landscape, width):
    """Return the :class:`Surface` of a landscape in a NumPy float width."""
    coefficients = landscape.coefficients
    return Surface(
        readonly(coefficients),
        readonly(coefficients.astype(width)),
        readonly(landscape.drift),
        readonly(landscape.noise.astype(width)),
    )


def batches_of(rows, batch_size, seed):
    """Return the :class:`Batches` of a data set's rows for one seed."""
    return Batches(readonly(rows.X), readonly(rows.y), np.int64(batch_size), np.uint64(seed))


def evaluation_of(rows, steps, results, diverged_at):
    """Return the :class:`Evaluation` of a data set's rows; results and diverged_at are written by the kernel."""
    return Evaluation(
        readonly(rows.eval_X), readonly(rows.eval_y), readonly(rows.bounds), readonly(steps), results, diverged_at
    )


# -------------------------------------------------------------------------------------------------------- Numba types


def bundle_type(bundle, *members):
    """Return the Numba type of a bundle with members of these Numba types."""
    if len({*members}) == 1:
        return types.NamedUniTuple(members[0], len(members), bundle)
    return types.NamedTuple(members, bundle)


def read(scalar, dimensions=1):
    """Return the Numba type of a C-contiguous read-only array."""
    return types.Array(scalar, dimensions, "C", readonly=True)


def written(scalar, dimensions=1):
    """Return the Numba type of a C-contiguous writeable array."""
    return types.Array(scalar, dimensions, "C")


def weights_type(scalar, dimensions):
    """Return the type of :class:`Weights`: 1 dimension for one run, 2 for runs side by side."""
    return bundle_type(Weights, *[written(scalar, dimensions)] * 7)


def steps_type(scalar, dimensions):
    """Return the type of :func:`steps_of`; dimensions as in :func:`weights_type`."""
    return bundle_type(Steps, types.int64, read(scalar, dimensions + 1), read(scalar))


def network_type(scalar):
    """Return the type of :func:`network_of`."""
    return bundle_type(Network, read(types.int64), types.int64, scalar)


def surface_type(scalar):
    """Return the type of :func:`surface_of`."""
    exact = types.float64
    return bundle_type(Surface, read(exact, 2), read(scalar, 2), read(exact), read(scalar))


def batches_type(scalar):
    """Return the type of :func:`batches_of`."""
    return bundle_type(Batches, read(scalar, 2), read(types.int64), types.int64, types.uint64)


def evaluation_type(scalar):
    """Return the type of :func:`evaluation_of`."""
    whole = read(types.int64)
    return bundle_type(
        Evaluation, read(scalar, 2), whole, whole, whole, written(types.float64, 5), written(types.int64)
    )


def syncs_type(scalar):
    """Return the type of :class:`Syncs` for runs side by side on the CPU."""
    whole = read(types.int64)
    return bundle_type(Syncs, whole, read(scalar, 3), whole, read(types.boolean), types.int64, read(scalar, 2))


def syncs_of_one_run_type(scalar):
    """Return the type of :class:`SyncsOfOneRun`."""
    number = types.float64
    members = types.int64, written(number, 2), types.boolean, types.int64, scalar, read(number), number, written(scalar)
    return bundle_type(SyncsOfOneRun, *members)
