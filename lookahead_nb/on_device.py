"""Training runs on a GPU: what is sent there, how many at once, and what comes back.

``numba.cuda`` is imported when the first of them starts, not before.
"""

from __future__ import annotations

import numpy as np

from lookahead_nb.optimizers import run_numbers, step_table

RUNS_AT_ONCE = 4096  # several for every block that a large card holds at a time
OPERATIONS_AT_ONCE = 2e13  # floating-point work of a portion: seconds on a large card, between two signs of progress
FEWEST_AT_ONCE = 512  # runs, below which much of a large card would idle
NUMBERS_AT_ONCE = 1 << 24  # normal numbers drawn ahead for a landscape
SHARE = 0.9  # of the free memory that is taken: the driver and the kernels need some too


def require():
    """Return the CUDA backend, or raise NoDeviceError where no GPU can be used."""
    from lookahead_nb import gpu

    gpu.require()
    return gpu


def runs_at_once(task):
    """Return how many runs of a task are trained between two signs of progress."""
    return int(np.clip(OPERATIONS_AT_ONCE / task.operations, FEWEST_AT_ONCE, RUNS_AT_ONCE))


def train_runs(task, opts, seeds):
    """Train runs, each of an optimizer and a seed; return (run ids, results, diverged_at) in their order.

    task : of ``train``. The results have the axes of ``Task.advance`` after a first one of runs.
    errors : MemoryError where not even one run fits; DeviceError where the GPU fails.
    """
    together: dict[tuple, list[int]] = {}
    for i, (opt, seed) in enumerate(zip(opts, seeds, strict=True)):
        together.setdefault((seed if callable(task.data) else None, *opt.kernel), []).append(i)
    run_ids: list = [None] * len(opts)
    results = np.empty((len(opts), len(task.eval_steps), 2, 3, 2))
    diverged_at = np.empty(len(opts), np.int64)
    for which in together.values():
        rows = task.rows(seeds[which[0]])
        while which:
            group = which[: _fitting(task, [opts[i] for i in which], rows)]
            which = which[len(group) :]
            portion = Portion(task, [opts[i] for i in group], [seeds[i] for i in group], rows)
            results[group], diverged_at[group], _ = portion.train()
            for i in group:
                run_ids[i] = task.run_id(opts[i], seeds[i], rows)
    return run_ids, results, diverged_at


def advance(task, opt, seed, rows, params, state, goes_on):
    """Train one run, as ``Task.advance``; params and state, on the host, become those of its end."""
    _fitting(task, [opt], rows)
    portion = Portion(task, [opt], [seed], rows, params)
    results, diverged_at, taken = portion.train(goes_on)
    params[:] = portion.fetched("p")[0]
    for name, array in state.arrays._asdict().items():
        if array.size:  # of Schedule-Free the state holds no slow weights
            array[:] = portion.fetched(name)[0]
    return results[0], int(diverged_at[0]), int(taken[0])


def needed(task, opts, rows):
    """Return how much memory of the device these runs take at once, in bytes, if all have tables of their own."""
    from lookahead_nb.gpu import runs

    item, count = task.dtype.itemsize, len(opts)
    sizes = run_numbers(opts, task.dtype).sizes(task.model.size)
    of_a_run = item * (sum(sizes.values()) + 8 * task.steps) + 8 * 12 * len(task.eval_steps)
    if not task.model.needs_data:
        return count * of_a_run + item * max(NUMBERS_AT_ONCE, count * task.model.size)
    data = sum(array.nbytes for array in (rows.X, rows.y, rows.eval_X, rows.eval_y))
    jobs = count * (len(rows.bounds) - 1)
    return data + count * of_a_run + runs.workspace_bytes(task.model.sizes, task.batch_size, jobs, task.dtype)


def _fitting(task, opts, rows):
    """Return how many of these runs, from the first one on, fit the memory of the device together, or refuse one."""
    free, count = require().free_memory(), len(opts)
    while needed(task, opts[:count], rows) > SHARE * free:
        if count == 1:
            one = needed(task, opts[:1], rows)
            advice = "take a smaller model, batch_size or data set, fewer steps, or dtype='float32'"
            raise MemoryError(
                f"a run of {task.model!r} needs about {one / 1e9:.3g} GB on the GPU, where {free / 1e9:.3g} GB are free"
                f" ({SHARE:.0%} of it can be used): {advice}"
            )
        count = (count + 1) // 2
    return count


class Portion:
    """Runs that are trained by the same launches: one rule, one inner state, one data set; seeds may differ.

    start : (size,), the weights of all runs at the beginning; None for those of ``model.init``.
    """

    def __init__(self, task, opts, seeds, rows, start=None):
        self.task, self.opts, self.rows, self.gpu = task, opts, rows, require()
        self.seeds = np.array(seeds, np.uint64)
        self.start = start

    def train(self, goes_on=lambda: True):
        """Return (results, diverged_at, steps taken), each with a first axis of runs."""
        with self.gpu.failures_told(f"{len(self.opts)} runs were trained"):
            return self._train(goes_on)

    def fetched(self, name):
        """Return one of the arrays of ``bundles.Weights`` at the end, (runs, n) on the host."""
        return self.gpu.to_host(getattr(self.weights, name))

    def _train(self, goes_on):
        from lookahead_nb.gpu import runs

        task, width = self.task, self.task.dtype.type
        numbers = run_numbers(self.opts, task.dtype)
        steps = runs.steps_of(numbers, (step_table(opt, task.steps, width) for opt in self.opts))
        self.weights = runs.weights_of(numbers, self._start())
        evaluation = runs.evaluation_of(self.rows, task.eval_steps, len(self.opts))
        stride, advance = self._on_network() if task.model.needs_data else self._on_landscape()
        moving = self.weights, runs.syncs_of(numbers, width), evaluation
        taken = np.zeros(len(self.opts), np.int64)
        for first in range(0, task.steps, stride):
            diverged_at = self.gpu.to_host(evaluation.diverged_at)
            if (diverged_at >= 0).all() or not goes_on():
                break
            last = min(first + stride, task.steps)
            stretch = steps._replace(first=np.int64(first), last=np.int64(last))
            taken = np.maximum(taken, advance(numbers.rule, stretch, *moving))
        return *map(self.gpu.to_host, (evaluation.results, evaluation.diverged_at)), taken

    def _start(self):
        """Return the weights of all runs at the beginning, (runs, n)."""
        if self.start is not None:
            return np.stack([self.start] * len(self.opts))
        drawn = {seed: self.task.model.init(int(seed), self.task.dtype) for seed in np.unique(self.seeds)}
        return np.stack([drawn[seed] for seed in self.seeds])

    def _on_network(self):
        """Return the steps of a stretch, and the function that takes all runs through one."""
        from lookahead_nb.gpu import runs

        task, width = self.task, self.task.dtype.type
        model, batches = runs.network_of(task.model, width), runs.batches_of(self.rows, task.batch_size, self.seeds)
        jobs = len(self.opts) * (len(self.rows.bounds) - 1)
        work = runs.workspace_of(task.model.sizes, task.batch_size, jobs, width)

        def advance(rule, steps, weights, syncs, evaluation):
            return runs.advance(rule, weights, steps, syncs, model, batches, evaluation, work)

        return task.stride, advance

    def _on_landscape(self):
        """Return the steps of a stretch, and the function that takes all runs through one."""
        from lookahead_nb.gpu import surfaces

        task, landscape, width = self.task, self.task.model, self.task.dtype.type
        numbers_of_a_step = len(np.unique(self.seeds)) * landscape.size
        stride = int(np.clip(NUMBERS_AT_ONCE // numbers_of_a_step, 1, task.steps))
        model = surfaces.surface_of(landscape, stride, width)
        normals = surfaces.normals_of(landscape, self.seeds, stride, width)

        def advance(rule, steps, weights, syncs, evaluation):
            drawn = surfaces.draw(normals, self.seeds, steps.first, steps.last - steps.first)
            return surfaces.advance(rule, landscape.surface, weights, steps, syncs, model, drawn, evaluation)

        return stride, advance
