"""Training runs on a GPU: what is sent there, how many at once, and what comes back.

``numba.cuda`` is imported when the first of them starts, not before.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from lookahead_nb.formulas import INTERPOLATE, KEEP, RULES, STARTS_AT_WEIGHTS
from lookahead_nb.landscapes import Landscape
from lookahead_nb.optimizers import (
    INNER_STATES,
    Lookahead,
    ScheduleFreeAdamW,
    WithSlowWeights,
    gradient_limit,
    step_table,
)

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


def kernel_of(opt):
    """Return what runs that are trained by one launch must have in common."""
    return (opt.inner.rule, opt.inner_state) if isinstance(opt, Lookahead) else (opt.rule, "keep")


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
        together.setdefault((seed if callable(task.data) else None, *kernel_of(opt)), []).append(i)
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
    for name in ("s1", "s2", *(("slow", "a1", "a2") if isinstance(opt, Lookahead) else ())):
        getattr(state, f"_{name}")[:] = portion.fetched(name)[0]
    return results[0], int(diverged_at[0]), int(taken[0])


def _shapes(task, opts):
    """Return how many numbers p, g, s1, s2, slow, a1, a2 hold for a run among these."""
    used, n = len(RULES[kernel_of(opts[0])[0]][1]), task.model.size
    slowed = any(isinstance(opt, WithSlowWeights) for opt in opts)
    kept = any(isinstance(opt, Lookahead) and INNER_STATES[opt.inner_state] == INTERPOLATE for opt in opts)
    slots = n * (used > 0), n * (used > 1)
    return {"p": n, "g": n, "s1": slots[0], "s2": slots[1], "slow": n * slowed} | {
        "a1": slots[0] * kept,
        "a2": slots[1] * kept,
    }


def needed(task, opts, rows):
    """Return how much memory of the device these runs take at once, in bytes, if all have tables of their own."""
    from lookahead_nb.gpu import runs

    item, count = task.dtype.itemsize, len(opts)
    of_a_run = item * (sum(_shapes(task, opts).values()) + 8 * task.steps) + 8 * 12 * len(task.eval_steps)
    if isinstance(task.model, Landscape):
        return count * of_a_run + item * max(NUMBERS_AT_ONCE, count * task.model.size)
    data = sum(each.nbytes for each in (rows.X, rows.y, rows.eval_X, rows.eval_y))
    jobs = count * (len(rows.bounds) - 1)
    return data + count * of_a_run + runs.room_bytes(task.model.sizes, task.batch_size, jobs, task.dtype)


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
        """Return one of p, s1, s2, slow, a1, a2 at the end, (runs, n) on the host."""
        return self.gpu.to_host(self.arrays[name])

    def _train(self, goes_on):
        task, runs, steps = self.task, len(self.opts), self.task.steps
        results = np.full((runs, len(task.eval_steps), 2, len(self.rows.bounds) - 1, 2), np.nan)
        self.results = self.gpu.from_host(results)
        stride, advance = (self._on_landscape if isinstance(task.model, Landscape) else self._on_network)(
            self._moving()
        )
        diverged_at, taken = np.full(runs, -1), np.zeros(runs, np.int64)
        for first in range(0, steps, stride):
            going = diverged_at < 0
            if not (going.any() and goes_on()):
                break
            found = advance(first, np.where(going, min(first + stride, steps), first))
            diverged_at[going], taken[going] = (each[going] for each in found)
        return self.gpu.to_host(self.results), diverged_at, taken

    def _moving(self):
        """Return what the kernels of whole runs take first, up to outward, and keep the arrays that move."""
        task, opts, width = self.task, self.opts, self.task.dtype.type
        rule, mode = kernel_of(opts[0])
        weights = {seed: task.model.init(int(seed), task.dtype) for seed in self.seeds} if self.start is None else {}
        p = np.stack([weights.get(seed, self.start) for seed in self.seeds])
        shapes = _shapes(task, opts)
        filled = {name: np.zeros((len(opts), n), width) for name, n in shapes.items()}
        filled |= {"p": p} | ({"slow": p} if shapes["slow"] else {})
        filled |= {s: p for s, name in zip(("s1", "s2"), RULES[rule][1], strict=False) if name in STARTS_AT_WEIGHTS}
        self.arrays = {name: self.gpu.from_host(array) for name, array in filled.items()}
        lookaheads = [opt if isinstance(opt, Lookahead) else None for opt in opts]
        shares = [opt.shares if opt else ((0.0, 1.0),) for opt in lookaheads]
        turns = np.array([len(each) for each in shares])
        slow_steps = np.zeros((len(opts), turns.max(), 2), width)
        for run, each in enumerate(shares):
            slow_steps[run, : len(each)] = each
        syncs = np.array([opt.sync_period if opt else 0 for opt in lookaheads])
        pulls = np.array([opt.pull_back if opt else False for opt in lookaheads])
        outward = np.array([opt.outward if isinstance(opt, ScheduleFreeAdamW) else 0 for opt in opts], width)
        limits = np.array([gradient_limit(opts[0], task.dtype), np.finfo(task.dtype).max], width)
        steps = syncs, (self.gpu.from_host(slow_steps), turns), None, None, None
        state = INNER_STATES[mode] if any(lookaheads) else KEEP
        return (rule, *self.arrays.values(), self._tables(), limits, *steps, pulls, state, outward)

    def _tables(self):
        """Return the scalars of all steps, each table once, and which of them is a run's."""
        number: dict[bytes, int] = {}
        tables: list[np.ndarray] = []
        which: list[int] = []
        for opt in self.opts:
            table = step_table(opt, self.task.steps, self.task.dtype.type)[0]
            which.append(number.setdefault(table.tobytes(), len(number)))
            if which[-1] == len(tables):
                tables.append(table)
        return self.gpu.from_host(np.stack(tables)), np.array(which)

    def _on_network(self, moving):
        from lookahead_nb.gpu import runs

        task, rows, width = self.task, self.rows, self.task.dtype.type
        model: Any = task.model
        X, y, eval_X, eval_y = map(self.gpu.from_host, (rows.X, rows.y, rows.eval_X, rows.eval_y))
        work = runs.room(model.sizes, task.batch_size, len(self.opts) * (len(rows.bounds) - 1), width)
        how = model.sizes, model.activation_code, width(model.l2)
        looks = eval_X, eval_y, rows.bounds, task.eval_steps, self.results, work
        entry: Any = runs.advance
        advance = partial(entry, *moving, X, y, task.batch_size, self.seeds, *how, *looks)
        return task.stride, advance

    def _on_landscape(self, moving):
        from lookahead_nb.gpu import surfaces

        task, seeds = self.task, np.unique(self.seeds)
        model: Any = task.model
        stride = int(np.clip(NUMBERS_AT_ONCE // (len(seeds) * model.size), 1, task.steps))
        numbers = np.empty((len(seeds), stride, model.size if model.noise.any() else 0), task.dtype)
        normals = self.gpu.from_host(numbers), np.searchsorted(seeds, self.seeds)
        shape = model.surface, model.coefficients, model.drift, model.noise
        entry: Any = surfaces.advance
        move = partial(entry, *moving, *shape, normals, task.eval_steps, self.results)

        def advance(first, last):
            surfaces.draw(seeds, first, normals[0])
            return move(first, last)

        return stride, advance
