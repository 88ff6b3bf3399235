"""Training runs on a GPU: what is sent there, how many at once, and what comes back.

``numba.cuda`` is imported when the first of them starts, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.optimizers import Optimizer, StepScalars, run_numbers, step_table
from lookahead_nb.training.setup import STEPS_AT_ONCE, Outcome, Rows, Setup, always

if TYPE_CHECKING:
    from types import ModuleType

RUNS_AT_ONCE = 4096  # several for every block that a large card holds at a time
OPERATIONS_AT_ONCE = 2e13  # floating-point work of a portion: seconds on a large card, between two signs of progress
FEWEST_AT_ONCE = 512  # runs, below which much of a large card would idle
NUMBERS_AT_ONCE = 1 << 24  # normal numbers drawn ahead for a landscape
SHARE = 0.9  # of the free memory that is taken: the driver and the kernels need some too


def require() -> ModuleType:
    """Return the CUDA backend.

    Raises
    ------
    NoDeviceError
        If no GPU can be used.
    """
    from lookahead_nb.kernels import gpu

    gpu.require()
    return gpu


def runs_at_once(setup: Setup) -> int:
    """Return how many runs are trained between two signs of progress.

    Parameters
    ----------
    setup : Setup
    """
    return int(np.clip(OPERATIONS_AT_ONCE / setup.operations, FEWEST_AT_ONCE, RUNS_AT_ONCE))


def train_runs(setup: Setup, opts: list[Optimizer], seeds: list[int]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Train runs, each of an optimizer and a seed.

    Parameters
    ----------
    setup : training.Setup
    opts, seeds : lists
        One item for each run.

    Returns
    -------
    tuple
        (run ids, results, diverged_at) in the order of the runs, the arrays as in ``training.setup.Outcome``.

    Raises
    ------
    MemoryError
        If not even one run fits.
    DeviceError
        If the GPU fails.
    """
    together: dict[tuple, list[int]] = {}
    for i, (opt, seed) in enumerate(zip(opts, seeds, strict=True)):
        together.setdefault((seed if callable(setup.data) else None, *opt.kernel), []).append(i)
    run_ids: list = [None] * len(opts)
    results = setup.blank_results(len(opts))
    diverged_at = np.empty(len(opts), np.int64)
    for which in together.values():
        rows = setup.rows(seeds[which[0]])
        while which:
            group = which[: _fitting(setup, [opts[i] for i in which], rows)]
            which = which[len(group) :]
            portion = Portion(setup, [opts[i] for i in group], [seeds[i] for i in group], rows)
            results[group], diverged_at[group], _ = portion.train()
            for i in group:
                run_ids[i] = setup.run_id(opts[i], seeds[i], rows)
    return run_ids, results, diverged_at


def train_one(
    setup: Setup,
    opt: Optimizer,
    seed: int,
    rows: Rows,
    params: np.ndarray,
    state: Any,
    keep_going: Callable[[], bool] = always,
) -> Outcome:
    """Train one run from weights and a state on the host, in place.

    Parameters
    ----------
    setup, opt, seed, rows, params, state, keep_going
        As in ``training.engine_cpu.train_network``.

    Returns
    -------
    Outcome
        Of one run.

    Raises
    ------
    MemoryError
        If the run does not fit.
    DeviceError
        If the GPU fails.
    """
    _fitting(setup, [opt], rows)
    portion = Portion(setup, [opt], [seed], rows, params)
    results, diverged_at, taken = portion.train(keep_going)
    params[:] = portion.fetched("p")[0]
    for name, array in state.arrays._asdict().items():
        if array.size:  # of Schedule-Free the state holds no slow weights
            array[:] = portion.fetched(name)[0]
    scalars, sync, last = StepScalars(opt, setup.dtype.type), opt.sync, int(taken[0])
    scalars.stretch(last)
    slow_steps = sync.pairs(0, last // sync.period, setup.dtype.type)[:, 0].tolist() if sync else []
    state.arrive(last, scalars.carried_after(last), slow_steps)
    return Outcome(results, diverged_at, taken)


def needed(setup: Setup, opts: list[Optimizer], rows: Rows) -> int:
    """Return the memory of the device that runs take together, in bytes, if none of them share a table.

    Parameters
    ----------
    setup : Setup
    opts : list of Optimizer
    rows : Rows
    """
    from lookahead_nb.kernels.gpu import runs

    item, count, numbers = setup.dtype.itemsize, len(opts), run_numbers(opts, setup.dtype, setup.steps)
    arrays = sum(numbers.sizes(setup.model.size).values()) + numbers.slow_steps[0].size
    of_a_run = item * (arrays + 8 * setup.steps) + 8 * 12 * len(setup.eval_steps)
    if not setup.model.needs_data:
        return count * of_a_run + item * max(NUMBERS_AT_ONCE, count * setup.model.size)
    model: Any = setup.model
    data = sum(array.nbytes for array in (rows.X, rows.y, rows.eval_X, rows.eval_y))
    jobs = count * (len(rows.bounds) - 1)
    return data + count * of_a_run + runs.workspace_bytes(model.sizes, setup.training.batch_size, jobs, setup.dtype)


def _fitting(setup: Setup, opts: list[Optimizer], rows: Rows) -> int:
    """Return how many of these runs, from the first one on, fit the memory of the device together, or refuse one."""
    free, count = require().free_memory(), len(opts)
    while needed(setup, opts[:count], rows) > SHARE * free:
        if count == 1:
            one = needed(setup, opts[:1], rows)
            advice = "take a smaller model, batch_size or data set, fewer steps, or dtype='float32'"
            raise MemoryError(
                f"a run of {setup.model!r} needs about {one / 1e9:.3g} GB on the GPU, where {free / 1e9:.3g} GB are"
                f" free ({SHARE:.0%} of it can be used): {advice}"
            )
        count = (count + 1) // 2
    return count


class Portion:
    """Runs that are trained by the same launches.

    Parameters
    ----------
    setup : training.Setup
    opts : list of Optimizer
        All with the same ``kernel``.
    seeds : list of int
        One for each run.
    rows : training.setup.Rows
        The same for all runs.
    start : (size,) array, optional
        The weights of all runs at the beginning instead of those of ``model.init``.
    """

    def __init__(
        self, setup: Setup, opts: list[Optimizer], seeds: list[int], rows: Rows, start: np.ndarray | None = None
    ) -> None:
        self.setup, self.opts, self.rows, self.gpu = setup, opts, rows, require()
        self._model: Any = setup.model
        self.seeds = np.array(seeds, np.uint64)
        self.start = start

    def train(self, keep_going: Callable[[], bool] = always) -> Outcome:
        """Train all runs and return their outcome.

        Parameters
        ----------
        keep_going : function
            Called ahead of each stretch of steps; returning False stops the runs.

        Returns
        -------
        Outcome

        Raises
        ------
        DeviceError
            If the GPU fails.
        """
        with self.gpu.explained_failures(f"{len(self.opts)} runs were trained"):
            return self._train(keep_going)

    def fetched(self, name: str) -> np.ndarray:
        """Return one of the arrays of ``bundles.Weights`` at the end, (runs, n) on the host.

        Parameters
        ----------
        name : str
        """
        return self.gpu.to_host(getattr(self.weights, name))

    def _train(self, keep_going: Callable[[], bool]) -> Outcome:
        from lookahead_nb.kernels.gpu import runs

        setup, width = self.setup, self.setup.dtype.type
        numbers = run_numbers(self.opts, setup.dtype, setup.steps)
        steps = runs.steps_of(numbers, (step_table(opt, setup.steps, width) for opt in self.opts))
        self.weights = runs.weights_of(numbers, self._start())
        evaluation = runs.evaluation_of(self.rows, setup.eval_steps, len(self.opts))
        most, advance = self._on_network() if setup.model.needs_data else self._on_landscape()
        moving = self.weights, runs.syncs_of(numbers, width), evaluation
        taken = np.zeros(len(self.opts), np.int64)
        for first, last in setup.stretches(self.rows, most):
            diverged_at = self.gpu.to_host(evaluation.diverged_at)
            if (diverged_at >= 0).all() or not keep_going():
                break
            stretch = steps._replace(first=np.int64(first), last=np.int64(last))
            taken = np.maximum(taken, advance(numbers.rule, stretch, *moving))
        return Outcome(self.gpu.to_host(evaluation.results), self.gpu.to_host(evaluation.diverged_at), taken)

    def _start(self) -> np.ndarray:
        """Return the weights of all runs at the beginning, (runs, n)."""
        if self.start is not None:
            return np.stack([self.start] * len(self.opts))
        drawn = {seed: self.setup.model.init(int(seed), self.setup.dtype) for seed in np.unique(self.seeds)}
        return np.stack([drawn[seed] for seed in self.seeds])

    def _on_network(self) -> tuple[int, Callable]:
        """Return the most steps of a stretch, and the function that takes all runs through one."""
        from lookahead_nb.kernels.gpu import runs

        setup, network, width = self.setup, self._model, self.setup.dtype.type
        model = runs.network_of(network, width)
        batches = runs.batches_of(self.rows, setup.training.batch_size, self.seeds, setup.training.order)
        jobs = len(self.opts) * (len(self.rows.bounds) - 1)
        work = runs.workspace_of(network.sizes, setup.training.batch_size, jobs, width)

        def advance(rule: str, steps: Any, weights: Any, syncs: Any, evaluation: Any) -> np.ndarray:
            return runs.advance(rule, weights, steps, syncs, model, batches, evaluation, work)

        return STEPS_AT_ONCE, advance

    def _on_landscape(self) -> tuple[int, Callable]:
        """Return the most steps of a stretch, and the function that takes all runs through one."""
        from lookahead_nb.kernels.gpu import surfaces

        setup, landscape, width = self.setup, self._model, self.setup.dtype.type
        numbers_of_a_step = len(np.unique(self.seeds)) * landscape.size
        stride = int(np.clip(NUMBERS_AT_ONCE // numbers_of_a_step, 1, setup.steps))
        model = surfaces.surface_of(landscape, stride, width)
        normals = surfaces.normals_of(landscape, self.seeds, stride, width)

        def advance(rule: str, steps: Any, weights: Any, syncs: Any, evaluation: Any) -> np.ndarray:
            drawn = surfaces.draw(normals, self.seeds, steps.first, steps.last - steps.first)
            return surfaces.advance(rule, weights, steps, syncs, model, drawn, evaluation, landscape.surface)

        return stride, advance
