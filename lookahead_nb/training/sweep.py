"""Sweeps: many settings and seeds at once, compiled, resumable, on threads, processes or a cluster."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, current_thread, main_thread
from typing import Any

import numba
import numpy as np

from lookahead_nb.checks import DeviceError, default_errors, flag, named_arguments, shown
from lookahead_nb.models.dense import DenseNetwork
from lookahead_nb.models.landscapes import Landscape
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training.plan import Plan, Trained, Unit, train_unit
from lookahead_nb.training.progress import Progress
from lookahead_nb.training.request import Request
from lookahead_nb.training.setup import Data, Model, Setup, Training
from lookahead_nb.training.store import ORDER, maker
from lookahead_nb.training.tasks import Task, Tasks
from lookahead_nb.training.workers import WorkerPool, check_sendable, check_versions

_Trained = tuple[Unit, Any, Any]  # a unit, its result or exception, and its machine, or None for this one

UNDER_WAY = 64  # units submitted at once, so that memory does not grow with their number
STATES_UNDER_WAY = 256 * 2**20  # bytes of states in units that are under way; more only to keep all threads at work


@named_arguments
@default_errors
def sweep(
    model: Model | Iterable[Task],
    data: Data,
    configs: Iterable[Optimizer] | None,
    *,
    seeds: Iterable[int] | int,
    steps: int = 1000,
    batch_size: int = 64,
    eval_every: int = 50,
    eval_at: Iterable[int] | None = None,
    eval_rows: int = 10_000,
    dtype: Any = "float32",
    groups: Mapping[str, Mapping[str, float]] | None = None,
    clip_norm: float | None = None,
    store: str | Path | None = None,
    keep_states: bool = False,
    backend: str = "cpu",
    order: str = "shuffled",
    executor: Executor | None = None,
    progress: bool | Callable[[int, int], None] = True,
    frame: bool = True,
) -> Any:
    """Train every configuration from every seed and return all histories in one tidy frame.

    Each run is bit-for-bit identical to that of :func:`lookahead_nb.train` alone, for any grid, threads, executor and
    interruptions. Rows are ordered by configuration, seed, step and kind of weights.

    Parameters
    ----------
    model, data
        As in :func:`lookahead_nb.train`; data as a function of the seed gives every seed its own split. Or model is a
        list of :class:`Task` and data None: all tasks share threads, store and progress.
    configs : iterable of Optimizer
        See :func:`grid`; equal ones are trained once, with a warning. None if every task has its own.
    seeds : iterable of int, or int
        Seeds in [0, 2**63), or the number of seeds, which are then 0, 1, 2, ...
    steps, batch_size, eval_every, eval_at, eval_rows, dtype
        As in :func:`lookahead_nb.train`.
    groups, clip_norm
        As in :func:`lookahead_nb.train`, for all configurations and tasks. Such runs are trained one by one and not
        side by side, which takes about three times as long.
    store : path, optional
        The folder to which finished units are written and from which a sweep resumes, see ``store.Store``; without it
        they stay in memory. It may hold a sweep with other seeds, configurations or groups: what is stored is used, and
        only the rest is trained. Anything else that differs, such as model or data, is refused by name; so are other
        steps, unless keep_states has stored the states.
    keep_states : bool
        True also stores the state of each run at its end: weights, slow weights, inner state and counters, see Notes.
    backend : str
        "cpu", or "cuda" to train on a GPU, as many runs at a time as fit; it allows no executor, and is experimental
        until it has run on a device.
    order : str
        As in :func:`lookahead_nb.train`.
    executor : concurrent.futures.Executor, optional
        Trains the units; by default as many threads of this process as Numba uses.
    progress : bool or function
        True displays it for sweeps longer than two seconds; a function is called with (runs done, runs in all).
    frame : bool
        False returns the opened store instead of a frame; its ``frame`` and ``export`` have the rows of this sweep.

    Returns
    -------
    frame or Store
        The columns of the frame are those of the history of :func:`lookahead_nb.train`; with several tasks ``task``
        comes first.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    MemoryError
        If the frame does not fit into memory; raised ahead of any training.
    NoDeviceError, DeviceError
        With backend "cuda": no GPU can be used, or it failed. A failure ends the sweep at once; finished units are
        stored, and the same call continues from there.
    Exception
        That of the first failed unit, after all other units are stored.

    Notes
    -----
    A later sweep with more steps, on a store with states, continues the stored runs. Its rows are bit-for-bit those of
    a fresh sweep of that length, and the rows of the shorter one stay in the store. Up to the end of the shorter runs
    it may evaluate only where they did. Their last step is no evaluation of the longer ones, unless it is chosen. A
    learning rate must not depend on the number of steps: a linear or cosine schedule that ends within the longer runs
    is refused, and a warm-up is fine. Pass keep_states again to continue the longer runs later. All this needs backend
    "cpu".

    Runs of a sweep are trained to the end. ``lookahead_nb.EarlyStopping(...).best_rows(rows)`` returns from its frame
    what early stopping would have returned. A callback, ``reduce_on_plateau`` and checkpoints are for single runs.

    The state of a run takes 4 bytes of disk for each weight and array in float32, 8 in float64, and some hundred bytes
    more. SGD has one array, AdamW 3, Lookahead(AdamW) 4, with ``inner_state="interpolate"`` 6: for 2,410 weights 10 to
    58 kB.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> configs = lnb.grid(lnb.SGD(), lr=[0.5, 1.0])
    >>> rows = lnb.sweep(lnb.landscapes.Quadratic([1.0]), None, configs, seeds=1, steps=1)
    >>> rows[["lr", "step", "train_loss"]].values.tolist()
    [[0.5, 0.0, 0.5], [0.5, 1.0, 0.125], [1.0, 0.0, 0.5], [1.0, 1.0, 0.0]]
    """
    training: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "eval_every": eval_every, "eval_at": eval_at}
    training |= {"eval_rows": eval_rows, "dtype": dtype, "backend": backend, "order": order}
    training |= {"groups": groups, "clip_norm": clip_norm}
    if flag("keep_states", keep_states) and backend == "cuda":
        raise ValueError("keep_states must be False with backend='cuda', whose runs cannot be continued, got True")
    plan = _plan(model, data, configs, seeds, training)
    if keep_states and store is None:
        raise ValueError("keep_states must be False without a store, where the states would be lost, got True")
    if not flag("frame", frame) and store is None:
        raise ValueError("frame must be True without a store, where the results would be lost, got False")
    if not callable(progress) and not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function of two numbers, got {shown(progress)}")
    if frame:
        _check_memory(plan)
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {type(executor).__name__}")
    if executor is not None and backend == "cuda":
        raise ValueError(f"executor must be None with backend='cuda', whose units run on the GPU, got {executor!r}")
    if isinstance(executor, (WorkerPool, ProcessPoolExecutor)):
        for unit in {unit.task: unit for unit in plan.units}.values():
            if callable(unit.setup.data):
                check_sendable(f"data of task {unit.task!r}" if unit.task else "data", unit.setup.data)
    stored = None if store is None else Request(plan, store, keeps_states=keep_states)
    if stored:
        stored.begin()
    todo, done = (stored.todo, stored.done) if stored else (plan.units, 0)
    prepared = map(stored.prepared, todo) if stored else iter(todo)  # each unit is read when its turn comes
    trained = _trained_on_device(todo) if backend == "cuda" else _trained(prepared, executor)
    display = Progress() if progress is True else nullcontext(progress or _silent)
    # Closed here, since the garbage collector might do it in a thread of the pool.
    with _interrupts() as raise_lost_one, closing(trained), display as report:
        report(done, plan.size)
        results: list[tuple[Unit, Any]] = []
        failures: list[Exception] = []
        for unit, result, trained_on in trained:
            if isinstance(result, Exception):
                failures.append(result)
                if not stored:
                    break  # the results of the others would be lost
                continue
            if stored:
                stored.write(unit, result, trained_on)
            else:
                results.append((unit, result))
            done += unit.size
            report(done, plan.size)
            raise_lost_one()
    if failures:
        if stored and isinstance(failures[0], DeviceError):
            advice = f"{done} of {plan.size} runs are stored; run the same sweep again to continue"
            raise DeviceError(f"{failures[0]}; {advice}") from failures[0]
        raise failures[0]
    if not stored:
        return plan.rows(results).drop(columns=ORDER)
    return stored.answered().frame() if frame else stored.answered()


def _plan(model: Any, data: Data, configs: Any, seeds: Any, training: dict[str, Any]) -> Plan | Tasks:
    if isinstance(model, Task):
        raise TypeError(f"tasks must be a list, got the task {model.name!r} alone: write [task]")
    if isinstance(model, (DenseNetwork, Landscape)) or not np.iterable(model):
        return Plan(Setup(model, data, Training(**training)), configs, seeds)
    if data is not None:
        raise TypeError(
            f"data must be None with a list of tasks as model, which have their own, got {type(data).__name__}"
        )
    return Tasks(model, training, configs, seeds)


@contextmanager
def _interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that raises KeyboardInterrupt if an earlier one was lost.

    Compiled code that only asks whether an object has an attribute clears whatever the answer raises, Ctrl-C included.
    """
    seen, ours = Event(), signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or current_thread() is not main_thread():  # handlers of the caller decide for themselves
        yield lambda: None
        return

    def interrupt(number: int, frame: Any) -> None:
        seen.set()
        signal.default_int_handler(number, frame)

    def raise_lost_one() -> None:
        if seen.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield raise_lost_one
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _silent(_done: int, _total: int) -> None:
    pass


def _check_memory(plan: Plan | Tasks) -> None:
    listed = Path("/proc/meminfo")
    free = re.search(r"MemAvailable:\s+(\d+) kB", listed.read_text()) if listed.is_file() else None
    if free and 3 * plan.frame_bytes > int(free[1]) * 1024:  # the units' frames, all of them as one, and in order
        size = f"the frame of {plan.size:,} runs would take about {plan.frame_bytes / 1e9:.3g} GB"
        advice = "evaluate less often, or give store= and frame=False, and read the columns you need"
        raise MemoryError(
            f"{size}, three times that while it is assembled, and {int(free[1]) / 1e6:.3g} GB are free: {advice}"
        )


def _trained(units: Iterator[Unit], executor: Executor | None) -> Generator[_Trained, None, None]:
    """Yield units as they end; they stop soon after the caller closes the generator."""
    stop = Event()
    train = _train_elsewhere if executor else partial(_train_here, lambda: not stop.is_set())
    pool = executor or ThreadPoolExecutor(numba.get_num_threads())
    running: dict[Future, Unit] = {}
    ended = SimpleQueue[Future]()  # wait() locks all futures, and Ctrl-C in the middle of it would leave some locked
    try:
        while True:
            while _has_room(running.values()) and (unit := next(units, None)):
                future = pool.submit(train, unit)
                running[future] = unit
                future.add_done_callback(ended.put)
            if not running:
                return
            future = ended.get()
            unit = running.pop(future)
            yield unit, *_outcome(unit, future)
    finally:
        stop.set()
        for future in running:
            future.cancel()
        if not executor:
            pool.shutdown()


def _has_room(running: Collection[Unit]) -> bool:
    """Return whether one more unit may be under way beside these."""
    if len(running) >= UNDER_WAY:
        return False
    return len(running) < numba.get_num_threads() or sum(unit.state_bytes for unit in running) < STATES_UNDER_WAY


def _train_here(keep_going: Callable[[], bool], unit: Unit) -> tuple[Any, None]:
    return train_unit(unit, keep_going), None


def _train_elsewhere(unit: Unit) -> tuple[Any, dict[str, Any]]:
    """Return the result of a unit and the machine that trained it."""
    return train_unit(unit), maker()


def _outcome(unit: Unit, future: Future) -> tuple[Any, Any]:
    """Return the result of a unit, or why there is none that counts, and the machine that trained it."""
    if error := future.exception():
        return error, None
    result, trained_on = future.result()
    try:
        if trained_on:
            check_versions(f"the worker of {unit}", trained_on["versions"])
    except ValueError as error:  # it joined the cluster after the sweep began
        return error, None
    return result, trained_on


def _trained_on_device(units: list[Unit]) -> Generator[_Trained, None, None]:
    """Yield as :func:`_trained`, with many units per launch; a failed GPU ends it, since it can run nothing more."""
    from lookahead_nb.training import engine_gpu as on_device

    waiting = list(reversed(units))
    while waiting:
        batch = [waiting.pop()]
        setup, task = batch[0].setup, batch[0].task
        at_once = on_device.runs_at_once(setup)
        while waiting and waiting[-1].task == task and sum(u.size for u in batch) + waiting[-1].size <= at_once:
            batch.append(waiting.pop())
        opts = [opt for unit in batch for opt in unit.opts]
        seeds = [seed for unit in batch for seed in unit.seeds]
        try:
            run_ids, results, diverged_at = on_device.train_runs(setup, opts, seeds)
        except Exception as error:
            yield batch[0], error, None
            return
        first = 0
        for unit in batch:
            part = slice(first, first + unit.size)
            first += unit.size
            yield unit, Trained(run_ids[part], results[part], diverged_at[part], []), None
