"""Grids of training runs: many settings and seeds at once, compiled, resumable, on threads, processes or a cluster.

A sweep is cut into units of runs. What a unit gives is a function of its settings alone, so it does not matter where,
when, in what order and how often a unit is trained.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import warnings
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event

import numba
import numpy as np

from lookahead_nb import on_device
from lookahead_nb.checks import DeviceError, flag, whole_number
from lookahead_nb.cpu.lanes import lanes_of
from lookahead_nb.landscapes import Landscape
from lookahead_nb.optimizers import Lookahead, Optimizer
from lookahead_nb.progress import Progress
from lookahead_nb.schedules import Schedule
from lookahead_nb.store import ORDER, Store
from lookahead_nb.train import (
    HIGHEST_SEED,
    KINDS,
    SPLITS,
    Task,
    check_optimizer,
    histories,
    settings_frame,
    train_group,
)

UNIT_OPERATIONS = 3e10  # floating-point work of a unit: a few tenths of a second on one core
UNIT_RUNS = 1024
SIDE_BY_SIDE_FROM = 6  # runs; fewer are quicker one by one: sixteen side by side took the time of 4 to 10 alone
UNDER_WAY = 64  # units handed out at once, so that memory does not grow with their number


def grid(base, **axes):
    """Return the list of optimizers that differ from base along the given axes, the last one varying fastest.

    base : an inner rule or Lookahead. axes : for a setting of base or of its inner rule (``lr``, ``weight_decay``,
    ``sync_period``, ...) an iterable of values; ``retention`` replaces slow_step_size. A number for ``lr`` is the peak
    of the schedule that base has. Lists of grids can be added. errors : TypeError, ValueError.
    """
    check_optimizer("base", base)
    lookahead = isinstance(base, Lookahead)
    inner = {field.name for field in fields(base.inner if lookahead else base) if field.init}
    outer = {"sync_period", "slow_step_size", "retention", "inner_state", "pull_back"} if lookahead else set()
    for name, values in axes.items():
        if name not in inner | outer:
            raise TypeError(f"an axis must be one of {', '.join(sorted(inner | outer))} for {base!r}, not {name!r}")
        if isinstance(values, str) or not np.iterable(values):
            raise TypeError(f"{name} must be a list of values, not {values!r}")
        axes[name] = tuple(values)  # an iterator can be read only once
        if not axes[name]:
            raise ValueError(f"{name} must hold at least one value, not none: the grid would be empty")
    if {"slow_step_size", "retention"} <= axes.keys():
        raise ValueError("slow_step_size must come without retention (one is 1 minus the other), not as two axes")
    points = itertools.product(*axes.values())
    return [_changed(base, dict(zip(axes, point, strict=True)), outer) for point in points]


def _changed(base, changes, outer):
    own = {name: value for name, value in changes.items() if name in outer}
    rest = {name: value for name, value in changes.items() if name not in outer}
    inner = base.inner if isinstance(base, Lookahead) else base
    if isinstance(inner.lr, Schedule) and "lr" in rest and not isinstance(rest["lr"], Schedule):
        rest["lr"] = replace(inner.lr, peak=rest["lr"])
    inner = replace(inner, **rest)
    if not isinstance(base, Lookahead):
        return inner
    kept = {name: getattr(base, name) for name in outer - {"retention"} - own.keys()}
    if "retention" in own:
        del kept["slow_step_size"]
    return Lookahead(inner, **kept, **own)


def sweep(
    model,
    data,
    configs,
    *,
    seeds,
    steps=1000,
    batch_size=64,
    eval_every=50,
    eval_at=None,
    eval_rows=10_000,
    dtype="float32",
    store=None,
    backend="cpu",
    executor=None,
    progress=True,
    frame=True,
):
    """Train every configuration from every seed and return all histories in one tidy frame.

    Each run has the bits of :func:`lookahead_nb.train` alone, whatever the grid, the threads, the executor and the
    interruptions. Rows are ordered by configuration, seed, step and kind of weights; columns as in ``train``.

    model, data, steps, batch_size, eval_at, eval_rows, dtype : as in ``train``; data as a function of the seed gives
    every seed its own split. eval_every : int, at most steps (the default serves shorter runs too). configs : list of
    optimizers, see :func:`grid`; equal ones are trained once, with a warning. seeds : ints in [0, 2**63), or how many.
    store : folder to which finished units are written and from which a sweep resumes, see ``store.Store``; None keeps
    them in memory. executor : any ``concurrent.futures.Executor``; None trains on Numba's threads in this process.
    backend : "cpu", or "cuda" to train on a GPU, as many runs at a time as fit; as in ``train``, without an executor.
    progress : True shows it on anything longer than two seconds; or a function of (runs done, runs in all).
    frame : False returns the opened store instead of a frame.
    errors : TypeError, ValueError; MemoryError, before anything is trained, for a frame that does not fit; that of the
    first unit which failed, once all others are stored. With "cuda" NoDeviceError, and DeviceError where the GPU
    fails, which ends the sweep at once; what was finished is stored, and the same call goes on from there.
    """
    training = steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend
    plan = Plan.checked(model, data, *training, configs, seeds)
    if not flag("frame", frame) and store is None:
        raise ValueError("frame must be True without a store, where the results would be lost, not False")
    if not callable(progress) and not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function of two numbers, not {progress!r}")
    if frame:
        _check_memory(plan)
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor, not {type(executor).__name__}")
    if executor is not None and backend == "cuda":
        raise ValueError(f"executor must be None with backend='cuda', whose units run on the GPU, not {executor!r}")
    names = [unit.name for unit in plan.units]
    stored = None if store is None else Store.open(store, plan.configuration(), names)
    finished = stored.done() if stored else set()
    todo = [unit for unit in plan.units if unit.name not in finished]
    done = plan.size - sum(unit.size for unit in todo)
    with Progress() if progress is True else nullcontext(progress or _silent) as report:
        report(done, plan.size)
        kept, failures = [], []
        for unit, found in _trained_on_device(plan.task, todo) if backend == "cuda" else _trained(todo, executor):
            if isinstance(found, Exception):
                failures.append(found)
                if not stored:
                    break  # nothing would be kept of the others
                continue
            if stored:
                stored.write(unit.name, plan.rows([(unit, found)]))
            else:
                kept.append((unit, found))
            done += unit.size
            report(done, plan.size)
    if failures:
        if stored and isinstance(failures[0], DeviceError):
            resumes = f"{done} of {plan.size} runs are stored, and the same sweep goes on from there"
            raise DeviceError(f"{failures[0]}; {resumes}") from failures[0]
        raise failures[0]
    if not stored:
        return plan.rows(kept).drop(columns=ORDER)
    return stored.frame() if frame else stored


def _silent(_done, _total):
    pass


def _check_memory(plan):
    listed = Path("/proc/meminfo")
    free = re.search(r"MemAvailable:\s+(\d+) kB", listed.read_text()) if listed.is_file() else None
    if free and 3 * plan.frame_bytes > int(free[1]) * 1024:  # the units' frames, all of them as one, and in order
        what = f"the frame of {plan.size:,} runs would take about {plan.frame_bytes / 1e9:.3g} GB"
        advice = "evaluate less often, or give store= and frame=False, and read the columns you need"
        raise MemoryError(
            f"{what}, three times that to put together, and {int(free[1]) / 1e6:.3g} GB are free: {advice}"
        )


def _configs(configs, task):
    if isinstance(configs, Optimizer) or not np.iterable(configs):
        raise TypeError(f"configs must be a list of optimizers, as grid() returns it, not {configs!r}")
    checked = [task.takes(f"configs[{i}]", opt) for i, opt in enumerate(configs)]
    if not checked:
        raise ValueError("configs must hold at least one optimizer, not none: the grid is empty")
    different = list(dict.fromkeys(checked))
    for opt in different:
        opt.init(np.empty(0, task.dtype))  # refuses settings that the width cannot hold
    if len(different) < len(checked):
        again = len(checked) - len(different)
        warnings.warn(f"configs holds {again} configurations a second time; each is trained once", stacklevel=3)
    return different


def _seeds(seeds):
    if not np.iterable(seeds):
        seeds = range(whole_number("seeds", seeds, 1))
    checked = [whole_number(f"seeds[{i}]", seed, 0, HIGHEST_SEED) for i, seed in enumerate(seeds)]
    if not checked:
        raise ValueError("seeds must hold at least one seed, not none")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds must all differ, not hold {next(s for s in checked if checked.count(s) > 1)} twice")
    return checked


# ------------------------------------------------------------------------------------------------------ plan and units


@dataclass(frozen=True, eq=False)
class Unit:
    """A part of a sweep that is trained, stored and resumed as a whole.

    name : str, 32 hex digits, a hash of the sweep and its runs. task : ``train.Task``. opts, seeds : lists, one item
    for each run. which : (runs,) int64, the number of each run's configuration.
    """

    name: str
    task: Task
    opts: list[Optimizer]
    seeds: list[int]
    which: np.ndarray

    @property
    def size(self):
        """The number of runs."""
        return len(self.opts)

    def __str__(self):
        return f"unit {self.name[:8]} ({self.size} runs)"


class Plan:
    """All runs of a sweep, cut into units, the same ones on every machine.

    Runs of one seed stand together, and within a seed the runs that one kernel can train side by side. Made by
    :meth:`checked`.
    """

    @classmethod
    def checked(cls, model, data, steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend, configs, seeds):
        """Return the plan, or refuse what is wrong with one of the arguments of :func:`sweep`.

        model, data, steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend, configs, seeds : as there.
        errors : TypeError, ValueError; NoDeviceError.
        """
        task = Task.checked(model, data, steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend)
        if eval_at is None and eval_every > max(task.steps, 50):
            raise ValueError(f"eval_every must be at most the {task.steps} steps of a run, not {eval_every}")
        plan = cls(task, _configs(configs, task), _seeds(seeds))
        task.rows(plan.seeds[0])  # holds model, batches and data against each other
        return plan

    def __init__(self, task, configs, seeds):
        self.task, self.configs, self.seeds = task, configs, seeds
        self.settings, self.slowed = settings_frame(configs)
        self.size = len(configs) * len(seeds)
        self._place = {seed: at for at, seed in enumerate(seeds)}

    @property
    def rows_in_all(self):
        """How many rows the frame of all runs has."""
        kinds = len(self.configs) + self.slowed.sum()
        return int(kinds) * len(self.seeds) * len(self.task.eval_steps)

    @property
    def frame_bytes(self):
        """How much memory the frame of all runs takes, from that of one run of each of a few configurations."""
        few = np.arange(min(16, len(self.configs)))
        nothing = np.zeros((len(few), len(self.task.eval_steps), len(KINDS), len(SPLITS), 2)), np.full(len(few), -1)
        frame = histories(self.task, self.settings, self.slowed, few, ["0" * 16] * len(few), [0] * len(few), *nothing)
        return self.rows_in_all * float(frame.memory_usage(index=False, deep=True).sum()) / len(frame)

    def configuration(self):
        """Return what the results depend on, as a nested dict, for the manifest of a store."""
        data = self.task.rows(self.seeds[0]).fingerprint
        configs = self.settings.astype(object).where(self.settings.notna(), None).to_dict("list")  # JSON has no NaN
        how = {"eval_steps": self.task.eval_steps.tolist(), "configs": configs}
        return self.task.settings() | {"data": data, "seeds": self.seeds} | how

    @staticmethod
    def _neighbours(opt):
        return *_kernel(opt), opt.sync_period if isinstance(opt, Lookahead) else 0  # a pass for syncs serves them all

    @cached_property
    def units(self):
        """The units, seed by seed."""
        in_one = int(np.clip(UNIT_OPERATIONS // (16 * self.task.operations), 1, UNIT_RUNS // 16)) * 16
        order = sorted(range(len(self.configs)), key=lambda i: self._neighbours(self.configs[i]))
        base = hashlib.sha256(json.dumps(self.task.settings() | {"eval": self.task.eval_steps.tolist()}).encode())
        settings, units = [json.dumps(opt.settings()) for opt in self.configs], []
        for seed in self.seeds:
            for first in range(0, len(order), in_one):
                which = order[first : first + in_one]
                name = base.copy()
                name.update(json.dumps([seed, [settings[i] for i in which]]).encode())
                opts = [self.configs[i] for i in which]
                units.append(Unit(name.hexdigest()[:32], self.task, opts, [seed] * len(which), np.array(which)))
        return units

    def rows(self, trained):
        """Return the tidy rows of trained units, ordered, with the column by which a store orders those of all units.

        trained : list of pairs, a unit and what :func:`train_unit` gave.
        """
        import pandas as pd

        units = [unit for unit, _ in trained]
        which = np.concatenate([unit.which for unit in units])
        seeds = np.concatenate([unit.seeds for unit in units])
        run_ids, results, diverged_at = map(np.concatenate, zip(*(found for _, found in trained), strict=True))
        order = which * len(self.seeds) + [self._place[seed] for seed in seeds.tolist()]
        sort = np.argsort(order)
        runs = (each[sort] for each in (which, run_ids, seeds, results, diverged_at))
        frame = histories(self.task, self.settings, self.slowed, *runs)
        return frame.assign(**{ORDER: frame["run"].map(pd.Series(order, run_ids))})


def _kernel(opt):
    """Return what runs that are trained side by side must have in common."""
    if not isinstance(opt, Lookahead):
        return opt.rule, "keep"
    return opt.inner.rule, "adaptive" if opt.adapts else opt.inner_state


def train_unit(unit, goes_on=lambda: True):
    """Train the runs of a unit and return (run ids, results, diverged_at) as ``train.histories`` takes them.

    unit : Unit. goes_on : function asked now and then; where it says no, the runs end. errors : those of loading the
    data.
    """
    task, lanes = unit.task, lanes_of(unit.task.dtype)
    run_ids, results, diverged_at = [], [], []
    runs_of_a_kernel = itertools.groupby(zip(unit.seeds, unit.opts, strict=True), lambda x: (x[0], *_kernel(x[1])))
    for (seed, _, mode), runs in runs_of_a_kernel:
        rows, opts = task.rows(seed), [opt for _, opt in runs]
        run_ids += [task.run_id(opt, seed, rows) for opt in opts]
        for first in range(0, len(opts), lanes):
            group = opts[first : first + lanes]
            side_by_side = len(group) >= SIDE_BY_SIDE_FROM and mode != "adaptive"
            if side_by_side or isinstance(task.model, Landscape):
                found, at = train_group(task, group, seed, rows, goes_on)
                results += [*found]
                diverged_at += at.tolist()
                continue
            for opt in group:
                params = task.model.init(seed, task.dtype)
                found, at, _ = task.advance(opt, seed, rows, params, opt.init(params), goes_on)
                results.append(found)
                diverged_at.append(at)
    return run_ids, np.array(results), np.array(diverged_at)


def _trained(units, executor):
    """Yield (unit, what it gave, or its exception) as units end; they stop at the next look where the caller does."""
    stop = Event()
    train = train_unit if executor else partial(train_unit, goes_on=lambda: not stop.is_set())
    pool = executor or ThreadPoolExecutor(numba.get_num_threads())
    waiting = iter(units)
    running: dict[Future, Unit] = {}
    try:
        while True:
            for unit in itertools.islice(waiting, UNDER_WAY - len(running)):
                running[pool.submit(train, unit)] = unit
            if not running:
                return
            ended = wait(running, return_when=FIRST_COMPLETED).done
            for future in ended:
                unit = running.pop(future)
                yield unit, future.exception() or future.result()
    finally:
        stop.set()
        for future in running:
            future.cancel()
        if not executor:
            pool.shutdown()


def _trained_on_device(task, units):
    """Yield as :func:`_trained`, many units by the same launches; a GPU that fails ends it, nothing would run there."""
    at_once, waiting = on_device.runs_at_once(task), list(reversed(units))
    while waiting:
        batch = [waiting.pop()]
        while waiting and sum(unit.size for unit in batch) + waiting[-1].size <= at_once:
            batch.append(waiting.pop())
        opts, seeds = ([x for unit in batch for x in getattr(unit, name)] for name in ("opts", "seeds"))
        try:
            run_ids, results, diverged_at = on_device.train_runs(task, opts, seeds)
        except Exception as error:
            yield batch[0], error
            return
        first = 0
        for unit in batch:
            own = slice(first, first + unit.size)
            first += unit.size
            yield unit, (run_ids[own], results[own], diverged_at[own])
