"""Training runs on the CPU: one network, networks side by side, test functions.

Each engine turns a setup and optimizers into the bundles that the kernels accept. It calls the kernels stretch by
stretch, so that a run can be stopped between two stretches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.bundles import readonly
from lookahead_nb.kernels.cpu import groups, network, runs, surfaces
from lookahead_nb.kernels.cpu.lanes import lanes_of, lined_up
from lookahead_nb.kernels.formulas import STARTS_AT_WEIGHTS
from lookahead_nb.optimizers import Optimizer, RunNumbers, State, StepScalars, run_numbers
from lookahead_nb.optimizers.coefficients import FRESH
from lookahead_nb.training.setup import Outcome, Rows, Setup, always

NUMBERS_AT_ONCE = 1 << 17  # normal numbers of a stretch of steps: 1 MiB of them stays in the cache of a core


class _Course(Protocol):
    """What one run needs to know of its setup."""

    @property
    def dtype(self) -> np.dtype: ...
    @property
    def steps(self) -> int: ...
    @property
    def eval_steps(self) -> np.ndarray: ...
    def blank_results(self, count: int) -> np.ndarray: ...


class OneRun:
    """One run in progress: what the kernels change, and what they need to continue.

    Parameters
    ----------
    setup : Setup, or another object with the same dtype, steps, eval_steps and blank_results
    opt : Optimizer
    params : (n,) array
        Changed in place.
    state : State
        That of these weights, fresh or after ``state.t`` steps of a run; changed in place.
    rows : Rows
    clip_norm : float, optional
        The largest norm of a gradient that is not clipped; only a kernel for groups of weights clips any.
    """

    def __init__(
        self,
        setup: _Course,
        opt: Optimizer,
        params: np.ndarray,
        state: State,
        rows: Rows,
        clip_norm: float | None = None,
    ) -> None:
        width: Any = setup.dtype.type
        numbers = run_numbers([opt], setup.dtype, setup.steps)
        self.rule, self.limits, self.state = numbers.rule, numbers.limits, state
        arrays = state.arrays
        if opt.has_slow_weights and not opt.sync:  # computed only to be evaluated
            arrays = arrays._replace(slow=np.empty_like(params))
        self.weights = bundles.Weights(params, np.empty_like(params), *arrays)
        self.syncs = _syncs_of_one_run(opt, setup, numbers, params)
        self.first = self.taken = state.t
        self.scalars = opt.step_scalars(width, state.t, state.carried)
        self.pieces, self.most = opt.pieces, np.inf if clip_norm is None else clip_norm
        if self.pieces is None and clip_norm is not None:
            self.pieces = np.array([[0, len(params), 0]])
        self.results, self.diverged_at = setup.blank_results(1), np.full(1, -1)
        self.evaluation = bundles.evaluation_of(rows, setup.eval_steps, self.results, self.diverged_at)

    @property
    def diverged(self) -> bool:
        """Whether the run has diverged."""
        return self.diverged_at[0] >= 0

    def advance(self, kernel: Callable, first: int, last: int, *arguments: Any) -> None:
        """Train over a stretch.

        Parameters
        ----------
        kernel : function
            A compiled ``advance`` of ``cpu.runs`` or ``cpu.surfaces``.
        first, last : int
            The steps ahead of and at the end of the stretch.
        *arguments
            Those of the kernel after ``syncs``, without ``evaluation``.
        """
        table = self.scalars.stretch(last - first)
        if self.pieces is None:
            steps: Any = bundles.steps_of(first, table, self.limits)
        else:
            tables = table.reshape(len(table), -1, table.shape[-1])
            steps = bundles.steps_by_group(first, tables, self.limits, self.pieces, self.most)
        *model, work = arguments
        self.taken = kernel(self.rule, self.weights, steps, self.syncs, *model, self.evaluation, work)

    def finish(self) -> None:
        """Bring the clock of the state, and the slow steps that it remembers, to where the run has ended."""
        period = int(self.syncs.period)
        slow_steps = np.resize(self.syncs.slow_steps[:, 0], self.taken // period).tolist() if period else []
        new = slow_steps[self.first // period :] if period else []
        self.state.arrive(self.taken, self.scalars.carried_after(self.taken), new)


def train_network(
    setup: Setup,
    opt: Optimizer,
    seed: int,
    rows: Rows,
    params: np.ndarray,
    state: State,
    keep_going: Callable[[], bool] = always,
    snapshot_at: Collection[int] = (),
    snapshot: Callable[[], None] | None = None,
) -> Outcome:
    """Train one network from these weights up to the last step of the setup, in place.

    Parameters
    ----------
    setup, opt, seed, rows
        The run.
    params : (n,) array
        The weights, changed in place.
    state : State
        From ``opt.init(params)``, or after ``state.t`` steps of the run, from where it continues. Changed in place; the
        slow steps of its syncs are added to it.
    keep_going : function
        Called ahead of every stretch of ``Setup.stretches``; returning False stops the run.
    snapshot_at : steps
        ``snapshot()`` is called after each of them; params and slow weights are then those of a run that ends there.
    snapshot : function without arguments, optional

    Returns
    -------
    Outcome
        Of one run.
    """
    width: Any = setup.dtype.type
    model: Any = setup.model
    run = OneRun(setup, opt, params, state, rows, setup.training.clip_norm)
    work = np.empty(network.work_size(model.sizes, max(setup.training.batch_size, network.ROWS_AT_ONCE)), setup.dtype)
    batches = bundles.batches_of(rows, setup.training.batch_size, seed, setup.training.order)
    arguments = bundles.network_of(model, width), batches
    for first, last in setup.stretches(rows, ends=snapshot_at, first=run.first):
        if run.diverged or not keep_going():
            break
        run.advance(runs.advance, first, last, *arguments, work)
        if snapshot and last in snapshot_at:
            snapshot()
    run.finish()
    return Outcome(run.results, run.diverged_at, np.array([run.taken]))


def train_on_landscape(
    setup: Setup,
    opts: list[Optimizer],
    seed: int,
    params: list[np.ndarray],
    states: list[Any],
    keep_going: Callable[[], bool] = always,
    snapshot_at: Collection[int] = (),
    snapshot: Callable[[int, np.ndarray], None] | None = None,
) -> Outcome:
    """Train optimizers from one seed on a landscape, in place; all of them meet the same noise.

    Parameters
    ----------
    setup : Setup
    opts : list of Optimizer
        One for each run.
    seed : int
    params, states : lists
        One item for each run, changed in place. All states have taken the same number of steps.
    keep_going, snapshot_at
        As in :func:`train_network`.
    snapshot : function, optional
        Called with (step, diverged_at) after each step of snapshot_at.

    Returns
    -------
    Outcome
    """
    model: Any = setup.model
    rows = setup.rows(seed)
    runs_ = [OneRun(setup, *run, rows) for run in zip(opts, params, states, strict=True)]
    surface = bundles.surface_of(model, setup.dtype.type)
    most = min(setup.steps, max(1, NUMBERS_AT_ONCE // model.size))
    normals = np.empty((most, model.size if model.noise.any() else 0))
    for first, last in setup.stretches(rows, most, snapshot_at, first=runs_[0].first):
        if not keep_going():
            break
        surfaces.draw(np.uint64(seed), first, normals[: last - first])
        for run in runs_:
            if not run.diverged:
                with np.errstate(over="ignore", invalid="ignore"):  # plain Python warns of huge weights
                    run.advance(surfaces.advance, first, last, surface, readonly(normals), model.surface)
        if snapshot and last in snapshot_at:
            snapshot(last, np.array([run.diverged_at[0] for run in runs_]))
    for run in runs_:
        run.finish()
    return Outcome(
        np.concatenate([run.results for run in runs_]),
        np.concatenate([run.diverged_at for run in runs_]),
        np.array([run.taken for run in runs_]),
    )


def train_side_by_side(
    setup: Setup,
    opts: list[Optimizer],
    seeds: list[int],
    rows: list[Rows],
    keep_going: Callable[[], bool] = always,
    params: Sequence[np.ndarray] = (),
    states: Sequence[State] = (),
) -> Outcome:
    """Train networks side by side, one in each SIMD lane, bit for bit as :func:`train_network`.

    Parameters
    ----------
    setup : Setup
    opts : list of Optimizer
        At most ``lanes_of(dtype)`` of one kernel, none of them adaptive.
    seeds : list of int
        The seed of each run; it costs least if runs of one seed are neighbours.
    rows : list of Rows
        The rows of each run, see :func:`alike`.
    keep_going : function
        As in :func:`train_network`.
    params, states : lists, optional
        As in :func:`train_on_landscape`; those of a run that diverges end undefined. Without them all runs start fresh,
        and their weights are not returned.

    Returns
    -------
    Outcome
    """
    width: Any = setup.dtype.type
    model: Any = setup.model
    lanes, count = lanes_of(width), len(opts)
    unused = lanes - count  # repeat the last run
    numbers = run_numbers([*opts, *[opts[-1]] * unused], setup.dtype, setup.steps)
    all_seeds = np.array([*seeds, *[seeds[-1]] * unused], np.uint64)
    distinct = list(dict.fromkeys(rows))
    sets = np.array([distinct.index(data) for data in [*rows, *[rows[-1]] * unused]])
    fresh = {} if params else {seed: model.init(seed, setup.dtype) for seed in dict.fromkeys(seeds)}
    starts = list(params) or [fresh[seed] for seed in seeds]
    weights = _weights_of_lanes(numbers, np.stack([*starts, *[starts[-1]] * unused], -1))
    for lane in range(lanes if states else 0):
        for in_lanes, own in _arrays_of_run(weights, lane, states[min(lane, count - 1)]):
            in_lanes[:] = own
    syncs = bundles.Syncs(
        readonly(numbers.period),
        readonly(np.moveaxis(numbers.slow_steps, 0, -1).astype(width)),
        readonly(numbers.turns),
        readonly(numbers.pull_back),
        np.int64(numbers.inner_state),
        readonly(numbers.outward.astype(width)[None]),
    )
    results, diverged_at = setup.blank_results(lanes), np.full(lanes, -1)
    evaluation = bundles.evaluation_of_lanes(distinct, setup.eval_steps, results, diverged_at)
    work_lines = groups.work_lines(model.sizes, max(setup.training.batch_size, groups.ROWS_AT_ONCE))
    work = lined_up((work_lines,), width)
    batches = bundles.batches_of_lanes(distinct, sets, setup.training.batch_size, all_seeds, setup.training.order)
    arguments = bundles.network_of(model, width), batches
    begun = states[0].t if states else 0
    carried = [state.carried for state in states] if states else [FRESH] * count
    scalars = [StepScalars(opt, width, begun, of) for opt, of in zip(opts, carried, strict=True)]
    taken = begun
    for first, last in setup.stretches(rows[0], alone=lanes / 8, first=begun):
        if not keep_going():
            break
        table = lined_up((last - first, 8), width)
        for lane in range(lanes):
            table[:, :, lane] = scalars[lane].stretch(last - first) if lane < count else table[:, :, count - 1]
        steps = bundles.steps_of(first, table, numbers.limits)
        taken = groups.advance(numbers.rule, weights, steps, syncs, *arguments, evaluation, work)
    for lane in range(count if states else 0):
        params[lane][:] = weights.p[:, lane]
        for in_lanes, own in _arrays_of_run(weights, lane, states[lane]):
            own[:] = in_lanes
        sync, slow_steps = opts[lane].sync, list[float]()
        if sync is not None:
            slow_steps = sync.pairs(begun // sync.period, taken // sync.period, width)[:, 0].tolist()
        states[lane].arrive(taken, scalars[lane].carried_after(taken), slow_steps)
    return Outcome(results[:count], diverged_at[:count], np.full(count, taken))


def _arrays_of_run(weights: bundles.Weights, lane: int, state: State) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the arrays of the state of a run, each after its lane among the weights."""
    for name, own in state.arrays._asdict().items():
        if own.size:
            yield getattr(weights, name)[:, lane], own


def _syncs_of_one_run(opt: Optimizer, setup: _Course, numbers: RunNumbers, params: np.ndarray) -> bundles.SyncsOfOneRun:
    period, slow_steps = int(numbers.period[0]), numbers.slow_steps[0].copy()
    rates, before = np.empty(0), params[:0]
    if opt.adapts:
        rates = opt.inner.schedule.rates(setup.steps)[period - 1 :: period]
        slow_steps, before = np.full((max(len(rates), 1), 2), np.nan), np.empty_like(params)
    return bundles.SyncsOfOneRun(
        np.int64(period),
        slow_steps,
        bool(numbers.pull_back[0]),
        np.int64(numbers.inner_state),
        setup.dtype.type(numbers.outward[0]),
        readonly(rates),
        float(numbers.lowest[0]),
        before,
    )


def _weights_of_lanes(numbers: RunNumbers, start: np.ndarray) -> bundles.Weights:
    """Return the weights of runs that start at these points, (n, lanes)."""
    arrays = {name: lined_up((size,), start.dtype) for name, size in numbers.sizes(len(start)).items()}
    for name, array in arrays.items():
        slot = dict(zip(("s1", "s2"), numbers.slots, strict=False)).get(name)
        if name in ("p", "slow") or slot in STARTS_AT_WEIGHTS:
            array[:] = start[: len(array)]
    return bundles.Weights(**arrays)
