"""Named tuples that cross the border between Python and compiled code.

Each bundle has one constructor on the host, which fixes widths, layouts and read-only flags: Numba converts nothing
inside a tuple. The ``*_type`` functions return the Numba types of what the constructors return.

Notes
-----
The axis of runs depends on the engine. One run has none. Runs side by side on the CPU have a last axis of SIMD lanes.
Runs on a GPU have a first axis of runs. R is the number of runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from lookahead_nb.kernels.philox import ORDERS


class Weights(NamedTuple):
    """The arrays that a run changes; an array that the optimizer does not use has no elements.

    Attributes
    ----------
    p, g : (n,), (n, lanes) or (R, n) array
        Fast weights and their gradient, float32 or float64.
    s1, s2 : array like p
        Inner state, in the order of ``RULES``.
    slow : array like p
        Slow weights.
    a1, a2 : array like p
        Inner state at the last sync, for inner_state "interpolate". With outer momentum a1 is the velocity of the slow
        weights, with as many elements as p.
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
    first : int64
        The number of steps taken ahead of the stretch.
    table : (count, 8) or (count, 8, lanes) array
        Row i belongs to step first + 1 + i.
    limits : (2,) array
        The largest magnitudes of a gradient and of a weight that count as finite.
    """

    first: Any
    table: Any
    limits: Any


class StepsByGroup(NamedTuple):
    """As :class:`Steps` for one run on the CPU whose groups of weights have their own scalars, or that clips gradients.

    Attributes
    ----------
    first, limits
        As in :class:`Steps`.
    table : (count, 8) array
        The scalars of the first group.
    tables : (count, groups, 8) array
        Those of all groups.
    pieces : (pieces, 3) int64 array
        The first weight of each piece of the flat buffer, the one after its last, and its group.
    most : float64
        The largest norm of a gradient that is not clipped; inf to clip none.
    """

    first: Any
    table: Any
    limits: Any
    tables: Any
    pieces: Any
    most: Any


class Syncs(NamedTuple):
    """When and how the slow weights of several runs follow the fast ones.

    Attributes
    ----------
    period : (R,) int64 array
        Steps between two syncs; 0 for an optimizer that never syncs.
    slow_steps : (m, 2, lanes) or (R, m, 2) array
        Pairs (slow_step_size, 1 - slow_step_size), with outer momentum (slow_step_size, momentum), used in turn.
    turns : (R,) int64 array
        How many of the m pairs a run uses.
    pull_back : (R,) bool array
        Whether a sync moves the fast weights onto the slow ones.
    inner_state : int64
        KEEP, RESET, INTERPOLATE, HEAVY_BALL or NESTEROV, the same for all runs.
    outward : (1, lanes) or (R,) array
        ``(1 - beta1)/beta1`` for Schedule-Free, else 0.
    """

    period: Any
    slow_steps: Any
    turns: Any
    pull_back: Any
    inner_state: Any
    outward: Any


class SyncsOfOneRun(NamedTuple):
    """When and how the slow weights of one run on the CPU follow the fast ones; its slow steps may be fitted.

    Attributes
    ----------
    period : int64
        As in :class:`Syncs`.
    slow_steps : (m, 2) float64 array
        Pairs used in turn. With fitted slow steps there is one pair for each sync, and the sync writes it.
    pull_back : bool
        As in :class:`Syncs`.
    inner_state : int64
        As in :class:`Syncs`.
    outward : float
        As in :class:`Syncs`, in the width of the weights.
    rates : (syncs,) or (0,) float64 array
        The learning rate at each sync, where slow steps are fitted.
    lowest : float64
        The smallest slow step that may be fitted.
    before : (n,) or (0,) array
        Overwritten by the fast weights ahead of a sync, where slow steps are fitted.
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
    sizes : (layers + 1,) int64 array
        Features of the input and of each layer's output.
    activation : int64
        RELU, TANH or SIGMOID of ``formulas``.
    l2 : float
        The penalty on weights without biases, in the width of the weights.
    """

    sizes: Any
    activation: Any
    l2: Any


class Surface(NamedTuple):
    """A test function: its coefficients, drift and gradient noise.

    Attributes
    ----------
    exact : (parts, 2) float64 array
        The coefficients at step 0, for heights.
    rounded : (parts, 2) or (count, parts, 2) array
        The same in the width of the weights, for gradients. On a GPU there are those of each step of a stretch; count
        is 1 for a surface without drift.
    drift : (parts,) or (0,) float64 array
        Change of the second coefficient in a step; without elements for a surface without drift.
    noise : (n,) array
        Standard deviation of the gradient noise, in the width of the weights.
    """

    exact: Any
    rounded: Any
    drift: Any
    noise: Any


class Batches(NamedTuple):
    """The training rows and how minibatches are drawn from them.

    Attributes
    ----------
    X : (rows, features) array
        float32 or float64.
    y : (rows,) int64 array
        The labels.
    batch_size : int64
        Rows of a minibatch.
    seed : uint64 or (R,) uint64 array
        One for each run on a GPU.
    reshuffles : int64
        1 if each epoch has an order of its own, 0 if all have that of the first.
    """

    X: Any
    y: Any
    batch_size: Any
    seed: Any
    reshuffles: Any


class WeightedBatches(NamedTuple):
    """The training rows of one run on the CPU, with weights.

    Attributes
    ----------
    X, y, batch_size, seed, reshuffles
        As in :class:`Batches`.
    weights : (rows,) float64 array
        Those of the rows, above 0.
    """

    X: Any
    y: Any
    batch_size: Any
    seed: Any
    reshuffles: Any
    weights: Any


class BatchesOfLanes(NamedTuple):
    """The training rows of runs side by side on the CPU, and how their minibatches are drawn.

    Attributes
    ----------
    X : (sets, rows, features) array
        The data sets of the runs, float32 or float64, all of one shape.
    y : (sets, rows) int64 array
        The labels.
    sets : (lanes,) int64 array
        The data set of each run.
    seeds : (lanes,) uint64 array
        One for each run; runs of one seed are neighbours.
    shared : bool
        Whether all runs have one seed and one data set, and therefore the same minibatches.
    batch_size : int64
        Rows of a minibatch.
    reshuffles : int64
        As in :class:`Batches`.
    """

    X: Any
    y: Any
    sets: Any
    seeds: Any
    shared: Any
    batch_size: Any
    reshuffles: Any


class Agent(NamedTuple):
    """A policy and the value that it learns with, two networks on one buffer, and how they learn.

    Attributes
    ----------
    policy : Network
        Its outputs are a logit for each action. Its weights come first.
    value_sizes : (layers + 1,) int64 array
        The sizes of the network that estimates the return; its activation is that of the policy.
    horizon : int64
        Steps that every environment takes with one policy: an iteration.
    passes, minibatches : int64
        How often an iteration goes through its experience, and in how many parts each time: one optimizer step each.
    episodes : int64
        Episodes of an evaluation.
    discount, trace : float
        gamma and lambda of the advantages, in the width of the weights.
    objective : (3,) array
        clip, value_weight, entropy_weight, in the width of the weights.
    standardizes : bool
        Whether the advantages of a minibatch are brought to mean 0 and deviation 1.
    longest : float64
        The largest length of a gradient; inf for any.
    seed : uint64
    """

    policy: Any
    value_sizes: Any
    horizon: Any
    passes: Any
    minibatches: Any
    episodes: Any
    discount: Any
    trace: Any
    objective: Any
    standardizes: Any
    longest: Any
    seed: Any


class Experience(NamedTuple):
    """The environments of an agent and what they have seen in an iteration; changed in place.

    Row ``s*environments + e`` belongs to step s of environment e.

    Attributes
    ----------
    states : (environments, 4) float64 array
        The states of CartPole.
    lengths, episodes : (environments,) int64 array
        Steps taken in the present episode, and its number.
    observations : (rows, 4) array
        In the width of the weights.
    actions : (rows,) int64 array
    log_probabilities, values, advantages, targets : (rows,) array
        In the width of the weights; the first two under the policy that chose the actions.
    ended : (rows,) bool array
        Whether the episode ended with the action.
    recent : (window,) float64 array
        The returns of the last episodes, in a circle.
    finished : (1,) int64 array
        Episodes finished so far.
    progress : (iterations, 2) float64 array
        After each iteration: episodes finished so far, and the mean of ``recent``; NaN ahead of the first.
    """

    states: Any
    lengths: Any
    episodes: Any
    observations: Any
    actions: Any
    log_probabilities: Any
    values: Any
    advantages: Any
    targets: Any
    ended: Any
    recent: Any
    finished: Any
    progress: Any


class Evaluation(NamedTuple):
    """What is evaluated, when, and where the results go.

    Attributes
    ----------
    X, y, bounds : arrays
        The rows to evaluate; part i runs from bounds[i] to bounds[i + 1]. Empty for a test function. For runs side by
        side on the CPU X and y have a first axis of data sets.
    steps : (m,) int64 array
        The evaluated steps, rising.
    results : (R, m, 2, parts, 2) float64 array
        Written by run, step, FAST or SLOW, part, (loss, accuracy).
    diverged_at : (R,) int64 array
        -1 until the loss, gradient or weights of a run stop being finite, then the step.
    """

    X: Any
    y: Any
    bounds: Any
    steps: Any
    results: Any
    diverged_at: Any


class WeightedEvaluation(NamedTuple):
    """What is evaluated of one run on the CPU on rows with weights, when, and where the results go.

    Attributes
    ----------
    X, y, bounds, steps, results, diverged_at
        As in :class:`Evaluation`.
    weights : (rows,) float64 array
        Those of the rows of X, above 0.
    """

    X: Any
    y: Any
    bounds: Any
    steps: Any
    results: Any
    diverged_at: Any
    weights: Any


# ---------------------------------------------------------------------------------------------------------------- GPU
# ``gpu.runs`` and ``gpu.surfaces`` construct these, since all their arrays are in device memory.


class StepsOfRuns(NamedTuple):
    """A stretch of consecutive steps of R runs on a GPU; runs with equal scalars share a table.

    Attributes
    ----------
    first, last : int64
        The number of steps taken ahead of the stretch and after it.
    tables : (tables, steps, 8) array
        Row t - 1 of a table belongs to step t.
    which : (R,) int64 array
        The table of each run.
    limits : tuple of 2 floats
        The largest magnitudes of a gradient and of a weight that count as finite.
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
    first : int64
        The number of steps taken ahead of the stretch.
    numbers : (seeds, count, n) array
        In the width of the weights; row i belongs to step first + 1 + i. n is 0 without noise.
    which : (R,) int64 array
        The seed of each run.
    """

    first: Any
    numbers: Any
    which: Any


class Workspace(NamedTuple):
    """The scratch memory of each block of threads.

    Attributes
    ----------
    numbers : (blocks, size) array
        Activations, errors and losses of a batch, in the width of the weights.
    rows : (blocks, batch_size) int64 array
        The rows of a minibatch.
    """

    numbers: Any
    rows: Any


# ------------------------------------------------------------------------------------------------------- constructors


def readonly(array: np.ndarray) -> np.ndarray:
    """Return a C-contiguous read-only view, the form in which compiled code accepts arrays that it only reads.

    Parameters
    ----------
    array : np.ndarray
        Copied only if it is not C-contiguous.

    Returns
    -------
    np.ndarray
        The view.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.bundles import readonly
    >>> readonly(np.zeros(3)).flags.writeable
    False
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def steps_of(first: int, table: np.ndarray, limits: np.ndarray) -> Steps:
    """Return :class:`Steps` for the CPU.

    Parameters
    ----------
    first : int
        The number of steps taken ahead of the stretch.
    table : (count, 8) or (count, 8, lanes) array
        The scalars of the steps.
    limits : (2,) array
        The largest magnitudes of a gradient and of a weight that count as finite.

    Returns
    -------
    Steps
    """
    return Steps(np.int64(first), readonly(table), readonly(limits))


def steps_by_group(first: int, tables: np.ndarray, limits: np.ndarray, pieces: np.ndarray, most: float) -> StepsByGroup:
    """Return :class:`StepsByGroup`.

    Parameters
    ----------
    first, limits
        As in :func:`steps_of`.
    tables : (count, groups, 8) array
        The scalars of the steps.
    pieces : (pieces, 3) int64 array
        The pieces of the flat buffer and their groups.
    most : float
        The largest norm of a gradient that is not clipped; inf to clip none.

    Returns
    -------
    StepsByGroup
    """
    arrays = readonly(tables[:, 0]), readonly(limits), readonly(tables), readonly(pieces)
    return StepsByGroup(np.int64(first), *arrays, np.float64(most))


def network_of(model: Any, width: type) -> Network:
    """Return the :class:`Network` of a dense model.

    Parameters
    ----------
    model : DenseNetwork
        An ``MLP`` or a ``LogisticRegression``.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    Network
    """
    return Network(readonly(model.sizes), np.int64(model.activation_code), width(model.l2))


def surface_of(landscape: Any, width: type) -> Surface:
    """Return the :class:`Surface` of a landscape.

    Parameters
    ----------
    landscape : Landscape
        The test function.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    Surface
    """
    coefficients = landscape.coefficients
    return Surface(
        readonly(coefficients),
        readonly(coefficients.astype(width)),
        readonly(landscape.drift),
        readonly(landscape.noise.astype(width)),
    )


def batches_of(rows: Any, batch_size: int, seed: int, order: str) -> Batches | WeightedBatches:
    """Return the :class:`Batches` of a data set's rows for one seed, with weights if the rows have them.

    Parameters
    ----------
    rows : training.setup.Rows
        The rows of the run.
    batch_size : int
        Rows of a minibatch.
    seed : int
        The seed of the run.
    order : str
        One of ``philox.ORDERS``.

    Returns
    -------
    Batches or WeightedBatches
    """
    numbers = np.int64(batch_size), np.uint64(seed), np.int64(ORDERS[order])
    batches = Batches(readonly(rows.X), readonly(rows.y), *numbers)
    return batches if rows.sample_weight is None else WeightedBatches(*batches, readonly(rows.sample_weight))


def batches_of_lanes(
    distinct: list[Any], sets: np.ndarray, batch_size: int, seeds: np.ndarray, order: str
) -> BatchesOfLanes:
    """Return the :class:`BatchesOfLanes` of runs side by side.

    Parameters
    ----------
    distinct : list of training.setup.Rows
        The rows of the data sets, all of one shape; copied if there are several.
    sets : (lanes,) int array
        The data set of each run.
    batch_size : int
        Rows of a minibatch.
    seeds : (lanes,) int array
        The seed of each run.
    order : str
        One of ``philox.ORDERS``.

    Returns
    -------
    BatchesOfLanes
    """
    return BatchesOfLanes(
        _stacked([rows.X for rows in distinct]),
        _stacked([rows.y for rows in distinct]),
        readonly(np.asarray(sets, np.int64)),
        readonly(np.asarray(seeds, np.uint64)),
        len(distinct) == 1 and len({*seeds}) == 1,
        np.int64(batch_size),
        np.int64(ORDERS[order]),
    )


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    return readonly(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))


def evaluation_of(
    rows: Any, steps: np.ndarray, results: np.ndarray, diverged_at: np.ndarray
) -> Evaluation | WeightedEvaluation:
    """Return the :class:`Evaluation` of a data set's rows, with weights if the rows have them.

    Parameters
    ----------
    rows : training.setup.Rows
        The rows of the run.
    steps : (m,) int64 array
        The evaluated steps, rising.
    results : (R, m, 2, parts, 2) float64 array
        Written by the kernel.
    diverged_at : (R,) int64 array
        Written by the kernel.

    Returns
    -------
    Evaluation or WeightedEvaluation
    """
    evaluation = Evaluation(
        readonly(rows.eval_X), readonly(rows.eval_y), readonly(rows.bounds), readonly(steps), results, diverged_at
    )
    if rows.eval_sample_weight is None:
        return evaluation
    return WeightedEvaluation(*evaluation, readonly(rows.eval_sample_weight))


def evaluation_of_lanes(
    distinct: list[Any], steps: np.ndarray, results: np.ndarray, diverged_at: np.ndarray
) -> Evaluation:
    """Return the :class:`Evaluation` of runs side by side.

    Parameters
    ----------
    distinct : list of training.setup.Rows
        The rows of the data sets, all of one shape and with the same bounds; copied if there are several.
    steps, results, diverged_at : arrays
        As in :func:`evaluation_of`.

    Returns
    -------
    Evaluation
    """
    X, y = _stacked([rows.eval_X for rows in distinct]), _stacked([rows.eval_y for rows in distinct])
    return Evaluation(X, y, readonly(distinct[0].bounds), readonly(steps), results, diverged_at)


def experience_of(environments: int, horizon: int, iterations: int, window: int, width: type) -> Experience:
    """Return a blank :class:`Experience`; the first iteration starts all episodes.

    Parameters
    ----------
    environments, horizon, iterations, window : int
        At least 1.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    Experience
    """
    rows = environments * horizon
    return Experience(
        states=np.zeros((environments, 4)),
        lengths=np.zeros(environments, np.int64),
        episodes=np.zeros(environments, np.int64),
        observations=np.zeros((rows, 4), width),
        actions=np.zeros(rows, np.int64),
        log_probabilities=np.zeros(rows, width),
        values=np.zeros(rows, width),
        advantages=np.zeros(rows, width),
        targets=np.zeros(rows, width),
        ended=np.zeros(rows, np.bool_),
        recent=np.zeros(window),
        finished=np.zeros(1, np.int64),
        progress=np.full((iterations, 2), np.nan),
    )


# -------------------------------------------------------------------------------------------------------- Numba types


def bundle_type(bundle: type, *members: Any) -> Any:
    """Return the Numba type of a bundle with members of these Numba types.

    Parameters
    ----------
    bundle : type
        A named tuple of this module.
    *members : numba.types.Type
        One type for each field, in order.

    Returns
    -------
    numba.types.NamedTuple or numba.types.NamedUniTuple
        The latter if all members have one type, as Numba requires.
    """
    if len({*members}) == 1:
        return types.NamedUniTuple(members[0], len(members), bundle)
    return types.NamedTuple(members, bundle)


def read(scalar: Any, dimensions: int = 1) -> Any:
    """Return the Numba type of a C-contiguous read-only array.

    Parameters
    ----------
    scalar : numba.types.Type
        The type of an element.
    dimensions : int, default 1
        The number of axes.

    Returns
    -------
    numba.types.Array
    """
    return types.Array(scalar, dimensions, "C", readonly=True)


def written(scalar: Any, dimensions: int = 1) -> Any:
    """Return the Numba type of a C-contiguous writeable array.

    Parameters
    ----------
    scalar : numba.types.Type
        The type of an element.
    dimensions : int, default 1
        The number of axes.

    Returns
    -------
    numba.types.Array
    """
    return types.Array(scalar, dimensions, "C")


def weights_type(scalar: Any, dimensions: int) -> Any:
    """Return the Numba type of :class:`Weights`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.
    dimensions : int
        1 for one run, 2 for runs side by side.

    Returns
    -------
    numba.types.Type
    """
    return bundle_type(Weights, *[written(scalar, dimensions)] * 7)


def steps_type(scalar: Any, dimensions: int) -> Any:
    """Return the Numba type of :func:`steps_of`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.
    dimensions : int
        1 for one run, 2 for runs side by side.

    Returns
    -------
    numba.types.Type
    """
    return bundle_type(Steps, types.int64, read(scalar, dimensions + 1), read(scalar))


def steps_by_group_type(scalar: Any) -> Any:
    """Return the Numba type of :func:`steps_by_group`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    arrays = read(scalar, 2), read(scalar), read(scalar, 3), read(types.int64, 2)
    return bundle_type(StepsByGroup, types.int64, *arrays, types.float64)


def network_type(scalar: Any) -> Any:
    """Return the Numba type of :func:`network_of`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    return bundle_type(Network, read(types.int64), types.int64, scalar)


def surface_type(scalar: Any) -> Any:
    """Return the Numba type of :func:`surface_of`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    exact = types.float64
    return bundle_type(Surface, read(exact, 2), read(scalar, 2), read(exact), read(scalar))


def batches_type(scalar: Any) -> Any:
    """Return the Numba type of :func:`batches_of`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    return bundle_type(Batches, read(scalar, 2), read(types.int64), types.int64, types.uint64, types.int64)


def weighted_batches_type(scalar: Any) -> Any:
    """Return the Numba type of a :class:`WeightedBatches`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    return bundle_type(WeightedBatches, *batches_type(scalar).types, read(types.float64))


def batches_of_lanes_type(scalar: Any) -> Any:
    """Return the Numba type of :func:`batches_of_lanes`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    whole, seeds = types.int64, types.uint64
    of_lanes = read(whole), read(seeds), types.boolean
    return bundle_type(BatchesOfLanes, read(scalar, 3), read(whole, 2), *of_lanes, whole, whole)


def agent_type(scalar: Any) -> Any:
    """Return the Numba type of :class:`Agent`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    members = network_type(scalar), read(types.int64), *[types.int64] * 4, scalar, scalar, read(scalar)
    return bundle_type(Agent, *members, types.boolean, types.float64, types.uint64)


def experience_type(scalar: Any) -> Any:
    """Return the Numba type of :func:`experience_of`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    exact, whole, vector = types.float64, written(types.int64), written(scalar)
    environments = written(exact, 2), whole, whole
    rows = written(scalar, 2), whole, *[vector] * 4, written(types.boolean)
    return bundle_type(Experience, *environments, *rows, written(exact), whole, written(exact, 2))


def evaluation_type(scalar: Any, sets: int = 0) -> Any:
    """Return the Numba type of :func:`evaluation_of`, or that of :func:`evaluation_of_lanes`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.
    sets : int, default 0
        1 for rows with a first axis of data sets.

    Returns
    -------
    numba.types.Type
    """
    whole = read(types.int64)
    X, y = read(scalar, 2 + sets), read(types.int64, 1 + sets)
    return bundle_type(Evaluation, X, y, whole, whole, written(types.float64, 5), written(types.int64))


def weighted_evaluation_type(scalar: Any) -> Any:
    """Return the Numba type of a :class:`WeightedEvaluation`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    return bundle_type(WeightedEvaluation, *evaluation_type(scalar).types, read(types.float64))


def syncs_type(scalar: Any) -> Any:
    """Return the Numba type of :class:`Syncs` for runs side by side on the CPU.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    whole = read(types.int64)
    return bundle_type(Syncs, whole, read(scalar, 3), whole, read(types.boolean), types.int64, read(scalar, 2))


def syncs_of_one_run_type(scalar: Any) -> Any:
    """Return the Numba type of :class:`SyncsOfOneRun`.

    Parameters
    ----------
    scalar : numba.types.Type
        ``numba.float32`` or ``numba.float64``.

    Returns
    -------
    numba.types.Type
    """
    number = types.float64
    members = types.int64, written(number, 2), types.boolean, types.int64, scalar, read(number), number, written(scalar)
    return bundle_type(SyncsOfOneRun, *members)
