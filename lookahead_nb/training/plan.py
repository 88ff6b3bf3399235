"""A sweep cut into units of runs.

The results of a unit depend on its settings alone. So the place, time, order and number of its trainings do not matter.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import shown, whole, whole_number
from lookahead_nb.kernels.cpu.lanes import lanes_of
from lookahead_nb.optimizers import Optimizer, State
from lookahead_nb.optimizers.base import Slots
from lookahead_nb.training import engine_cpu
from lookahead_nb.training.history import histories, settings_frame, slow_rows, stored_results
from lookahead_nb.training.setup import HIGHEST_SEED, Outcome, Rows, Setup, always
from lookahead_nb.training.states import Start, Stored, restored_state, stored_state
from lookahead_nb.training.store import ORDER

if TYPE_CHECKING:
    import pandas as pd

UNIT_OPERATIONS = 3e10  # floating-point work of a unit: a few tenths of a second on one core
UNIT_RUNS = 1024
UNITS = 16  # of a sweep at least, if it has so many groups: they are shared among threads
SHARED_FROM = 6  # runs of one seed; fewer are quicker one by one: sixteen side by side take the time of 4 to 10 alone
MIXED_FROM = 7  # runs of several seeds
OWN_GROUP_FROM = 12  # runs that are left of one seed; fewer are quicker among those of other seeds
MOST_COPIED = 64 * 2**20  # bytes of the data sets of a group


@dataclass(frozen=True, eq=False)
class Unit:
    """A part of a sweep that is trained, stored and resumed as a whole.

    Attributes
    ----------
    name : str
        32 hex digits, a hash of the sweep and its runs.
    setup : Setup
    opts, seeds : lists
        One item for each run.
    which : (runs,) int64 array
        The number of each run's configuration.
    work : float
        Its floating-point operations, evaluations included.
    task : str
        The name of the task; empty in a sweep of one.
    first : int
        Steps that the runs have taken already, in a shorter sweep.
    start : Start or None
        Where they continue, once it is read; None for runs that start fresh.
    keeps_states : bool
        Whether the states of the runs at their end are returned.
    """

    name: str
    setup: Setup
    opts: list[Optimizer]
    seeds: list[int]
    which: np.ndarray
    work: float
    task: str = ""
    first: int = 0
    start: Start | None = None
    keeps_states: bool = False

    @property
    def size(self) -> int:
        """The number of runs."""
        return len(self.opts)

    @property
    def state_bytes(self) -> int:
        """The memory of the states that it carries and returns, in bytes, at most."""
        times = (self.start is not None) + self.keeps_states
        return times * self.size * self.setup.model.size * self.setup.dtype.itemsize * (1 + len(Slots._fields))

    def __str__(self) -> str:
        return f"unit {self.name[:8]} ({self.size} runs)"


class Trained(NamedTuple):
    """The results of a unit.

    Attributes
    ----------
    run_ids : list of str
    results, diverged_at : arrays
        As in ``setup.Outcome``, in the order of the unit.
    states : list of dict or None
        The state of each run at its end, see ``states.stored_state``; None for a run that diverged. Empty unless the
        unit keeps states.
    """

    run_ids: list[str]
    results: np.ndarray
    diverged_at: np.ndarray
    states: list[Stored | None]


class DataError(RuntimeError):
    """The data of a task and seed could not be made."""


class Plan:
    """All runs of a sweep, cut into units, the same ones on every machine.

    Parameters
    ----------
    setup : Setup
    configs : iterable of Optimizer
        Equal ones are trained once, with a warning.
    seeds : iterable of int, or int
        In [0, 2**63), or how many.
    task : str
        The name of the task, in a sweep of several.

    Raises
    ------
    TypeError, ValueError
        If configs or seeds are empty or hold anything else, or the data does not fit.
    """

    def __init__(self, setup: Setup, configs: Iterable[Optimizer], seeds: Iterable[int] | int, task: str = "") -> None:
        self.setup, self.configs, self.seeds = setup, _checked_configs(configs, setup), checked_seeds(seeds)
        self.task = task
        rows = _rows(setup, self.seeds[0], task)  # checks model, batches and data against each other
        self.has_slow = slow_rows(self.configs)
        self.work_of_a_run = setup.work(rows, slow=bool(self.has_slow.any()))
        self.size = len(self.configs) * len(self.seeds)
        self._place = {seed: at for at, seed in enumerate(self.seeds)}

    @cached_property
    def settings(self) -> pd.DataFrame:
        """The settings of the configurations; several tasks share their columns, see ``tasks.Tasks``."""
        return settings_frame(self.configs)

    @property
    def frame_rows(self) -> int:
        """The number of rows of the frame of all runs."""
        kinds = len(self.configs) + self.has_slow.sum()
        return int(kinds) * len(self.seeds) * len(self.setup.eval_steps)

    @property
    def frame_bytes(self) -> float:
        """The memory of the frame of all runs in bytes, estimated from one run of each of a few configurations."""
        few = np.arange(min(16, len(self.configs)))
        results = np.nan_to_num(self.setup.blank_results(len(few)))
        runs = few, ["0" * 16] * len(few), [0] * len(few), results, np.full(len(few), -1)
        frame = histories(self.setup, self.settings, self.has_slow, *runs)
        return self.frame_rows * float(frame.memory_usage(index=False, deep=True).sum()) / len(frame)

    def configuration(self, seed: int | None = None) -> dict[str, Any]:
        """Return everything that the results depend on, for the manifest of a store.

        Parameters
        ----------
        seed : int, optional
            The seed whose data is named; the first one by default.

        Returns
        -------
        dict
            Nested.
        """
        data = _rows(self.setup, self.seeds[0] if seed is None else seed, self.task).fingerprint
        configs = self.settings.astype(object).where(self.settings.notna(), None).to_dict("list")  # JSON has no NaN
        settings = {"eval_steps": self.setup.eval_steps.tolist(), "configs": configs}
        return self.setup.settings() | {"data": data, "seeds": self.seeds} | settings

    @cached_property
    def units(self) -> list[Unit]:
        """The units of all runs; the runs of one kernel and seed are neighbours."""
        return self.units_of(range(self.size))

    def numbered(self) -> Iterator[tuple[int, Plan]]:
        """Yield the number of the first run of each task, and its plan: here of one task.

        Yields
        ------
        (int, Plan)
        """
        yield 0, self

    def units_of(self, runs: Collection[int], request: str = "", first: int = 0) -> list[Unit]:
        """Return the units of some runs; the runs of one kernel and seed are neighbours.

        Parameters
        ----------
        runs : numbers
            Of the runs, in the order of the rows: by configuration, then seed.
        request : str
            Makes the names of the units those of one request for a store.
        first : int
            Steps that the runs have taken already.

        Returns
        -------
        list of Unit
        """
        most = max(1, -(-len(runs) // (16 * UNITS)))
        groups_in_one = int(np.clip(UNIT_OPERATIONS // (16 * self.work_of_a_run), 1, most))
        in_one = min(UNIT_RUNS, 16 * groups_in_one)
        common = self.setup.settings() | {"eval": self.setup.eval_steps.tolist()}
        common |= {
            name: value for name, value in (("task", self.task), ("request", request), ("first", first)) if value
        }
        base = hashlib.sha256(json.dumps(common).encode())
        settings, units = [json.dumps(opt.settings()) for opt in self.configs], list[Unit]()
        in_order = self._in_order(runs, in_one)
        while part := list(itertools.islice(in_order, in_one)):
            name = base.copy()
            name.update(json.dumps([[seed, settings[i]] for seed, i in part]).encode())
            which, seeds = [i for _, i in part], [seed for seed, _ in part]
            opts = [self.configs[i] for i in which]
            work = len(part) * self.work_of_a_run * (1 - first / self.setup.steps)
            units.append(Unit(name.hexdigest()[:32], self.setup, opts, seeds, np.array(which), work, self.task, first))
        return units

    def _in_order(self, runs: Collection[int], in_one: int) -> Iterator[tuple[int, int]]:
        """Yield (seed, configuration): few seeds at a time, kernel by kernel, so that units can fill all lanes."""
        wanted = np.zeros((len(self.configs), len(self.seeds)), bool)
        wanted.flat[np.fromiter(runs, np.int64)] = True
        by_kernel: dict[tuple, list[int]] = {}
        for i in sorted(np.flatnonzero(wanted.any(axis=1)).tolist(), key=lambda i: self._neighbours(self.configs[i])):
            by_kernel.setdefault(self.configs[i].kernel, []).append(i)
        at_once = -(-in_one // min(map(len, by_kernel.values()), default=1))
        places = np.flatnonzero(wanted.any(axis=0)).tolist()
        for first in range(0, len(places), at_once):
            for members in by_kernel.values():
                for place, i in itertools.product(places[first : first + at_once], members):
                    if wanted[i, place]:
                        yield self.seeds[place], i

    @staticmethod
    def _neighbours(opt: Optimizer) -> tuple:
        return *opt.kernel, opt.sync.period if opt.sync else 0  # runs of one period share a pass for their syncs

    def numbers(self, unit: Unit) -> list[int]:
        """Return the numbers of the runs of a unit.

        Parameters
        ----------
        unit : Unit

        Returns
        -------
        list of int
            As in :meth:`units_of`.
        """
        return (unit.which * len(self.seeds) + [self._place[seed] for seed in unit.seeds]).tolist()

    def rows(self, trained: list[tuple[Unit, Trained]]) -> pd.DataFrame:
        """Return the tidy rows of trained units, ordered.

        Parameters
        ----------
        trained : list of (Unit, Trained)
            The result is that of :func:`train_unit`.

        Returns
        -------
        frame
            With the column ``store.ORDER``, by which a store orders the rows of all units.
        """
        pd = whole("pandas")

        units = [unit for unit, _ in trained]
        which = np.concatenate([unit.which for unit in units])
        seeds = np.concatenate([unit.seeds for unit in units])
        run_ids, results, diverged_at = map(np.concatenate, zip(*(result[:3] for _, result in trained), strict=True))
        order = np.concatenate([self.numbers(unit) for unit in units])
        sort = np.argsort(order)
        runs = (column[sort] for column in (which, run_ids, seeds, results, diverged_at))
        frame = histories(self.setup, self.settings, self.has_slow, *runs)
        return frame.assign(**{ORDER: frame["run"].map(pd.Series(order, run_ids))})

    def run_ids(self, seeds: Collection[int], steps: int | None = None) -> dict[tuple[str, str], int]:
        """Return the numbers of the runs of some seeds, by task and run as in the rows.

        Parameters
        ----------
        seeds : ints
            Their data is loaded.
        steps : int, optional
            That of the rows, where they come from another number of steps.

        Returns
        -------
        dict of (str, str) to int
        """
        numbers, setup = {}, self.setup if steps is None else self.setup.of_steps(steps)
        for place, seed in enumerate(self.seeds):
            if seed in seeds:
                rows = _rows(self.setup, seed, self.task)
                for i, opt in enumerate(self.configs):
                    numbers[self.task, setup.run_id(opt, seed, rows)] = i * len(self.seeds) + place
        return numbers

    def stored(self, rows: pd.DataFrame, numbers: dict[tuple[str, str], int]) -> list[tuple[Unit, Trained]]:
        """Return rows of a store as a trained unit.

        Parameters
        ----------
        rows : frame
            Whole histories of runs of this plan, from :meth:`rows` of this plan or another one.
        numbers : dict
            Of :meth:`run_ids`.

        Returns
        -------
        list of (Unit, Trained)
            One, as :meth:`rows` accepts it.
        """
        result = Trained(*stored_results(self.setup, rows), [])
        which, places = np.divmod([numbers[self.task, run] for run in result.run_ids], len(self.seeds))
        opts, seeds = [self.configs[i] for i in which], [self.seeds[place] for place in places]
        return [(Unit("", self.setup, opts, seeds, which, 0.0, self.task), result)]


def train_unit(unit: Unit, keep_going: Callable[[], bool] = always) -> Trained:
    """Train the runs of a unit on the CPU, from their start or from where they continue.

    Parameters
    ----------
    unit : Unit
    keep_going : function
        Called ahead of every stretch of ``Setup.stretches``; returning False stops the runs.

    Returns
    -------
    Trained

    Raises
    ------
    Exception
        Whatever loading the data raises; in a sweep of several tasks a DataError, which names task and seed.
    """
    setup, start = unit.setup, unit.start
    rows = {seed: _rows(setup, seed, unit.task) for seed in dict.fromkeys(unit.seeds)}
    run_ids = [setup.run_id(opt, seed, rows[seed]) for seed, opt in zip(unit.seeds, unit.opts, strict=True)]
    results, diverged_at = setup.blank_results(unit.size), np.full(unit.size, -1)
    states: list[Stored | None] = [None] * unit.size
    runs = [i for i in range(unit.size) if start is None or start.states[i] is not None]
    if start:
        diverged_at[:] = start.diverged_at
    for of_runs in groups(setup, [unit.opts[i] for i in runs], [unit.seeds[i] for i in runs], rows):
        group = [runs[i] for i in of_runs]
        opts, seeds = [unit.opts[i] for i in group], [unit.seeds[i] for i in group]
        begun = _begun(unit, group) if start or unit.keeps_states else None
        outcome = _train_group(setup, opts, seeds, [rows[seed] for seed in seeds], keep_going, begun)
        results[group], diverged_at[group] = outcome.results, outcome.diverged_at
        for i, params, state in zip(group, *begun, strict=True) if begun and unit.keeps_states else ():
            states[i] = stored_state(params, state) if diverged_at[i] < 0 else None
    if start:
        setup.take_over(results, start.setup, start.results)
    return Trained(run_ids, results, diverged_at, states if unit.keeps_states else [])


def _begun(unit: Unit, group: list[int]) -> tuple[list[np.ndarray], list[State]]:
    """Return the weights and states from which some runs of a unit are trained."""
    if unit.start:
        begun = [restored_state(unit.opts[i], unit.start.states[i] or {}) for i in group]
    else:
        starts = [unit.setup.model.init(unit.seeds[i], unit.setup.dtype) for i in group]
        begun = [(params, unit.opts[i].init(params)) for i, params in zip(group, starts, strict=True)]
    return [params for params, _ in begun], [state for _, state in begun]


def _rows(setup: Setup, seed: int, task: str) -> Rows:
    """Return the rows of a seed; an error of a function that makes the data names the task, if there are several."""
    try:
        return setup.rows(seed)
    except Exception as error:
        if not task or not callable(setup.data):
            raise
        raise DataError(
            f"task {task!r} could not make the data of seed {seed} ({type(error).__name__}: {error})"
        ) from error


def groups(setup: Setup, opts: list[Optimizer], seeds: list[int], rows: dict[int, Rows]) -> list[list[int]]:
    """Return the groups in which runs are trained: side by side in SIMD lanes where that is quicker, else one by one.

    Runs of one kernel, seed and data set share minibatches. They fill as many groups as they can. What is left of each
    seed fills groups of several seeds, unless it is nearly a group itself.

    Parameters
    ----------
    setup : Setup
    opts, seeds : lists
        One item for each run.
    rows : dict of Rows by seed

    Returns
    -------
    list of list of int
        The numbers of the runs of each group, each run once. A group is trained side by side if it has several runs of
        a network.

    Notes
    -----
    Which groups are formed changes no result (promise R1). ``SHARED_FROM``, ``MIXED_FROM`` and ``OWN_GROUP_FROM`` come
    from ``tests/benchmarks/groups.py``.
    """
    by_kernel: dict[tuple, dict[int, list[int]]] = {}
    for i, (opt, seed) in enumerate(zip(opts, seeds, strict=True)):
        by_kernel.setdefault(opt.kernel, {}).setdefault(seed, []).append(i)
    lanes = lanes_of(setup.dtype)
    formed: list[list[int]] = []
    for kernel, by_seed in by_kernel.items():
        if not setup.model.needs_data:
            formed += by_seed.values()
            continue
        if kernel[1] == "adaptive" or setup.training.goes_by_group:
            formed += [[i] for members in by_seed.values() for i in members]
            continue
        left: list[int] = []  # of several seeds, with rows of one shape
        for seed, members in by_seed.items():
            if rows[seed].sample_weight is not None:
                formed += [[i] for i in members]
                continue
            if left and not _alike(rows[seeds[left[0]]], rows[seed], lanes):
                formed += _cut(left, lanes, MIXED_FROM)
                left = []
            whole = len(members) - len(members) % lanes
            if len(members) - whole >= OWN_GROUP_FROM:
                whole = len(members)
            formed += _cut(members[:whole], lanes, SHARED_FROM)
            left += members[whole:]
        formed += _cut(left, lanes, MIXED_FROM if len({seeds[i] for i in left}) > 1 else SHARED_FROM)
    return formed


def _cut(members: list[int], lanes: int, at_least: int) -> list[list[int]]:
    """Return groups of lanes, and one by one the runs of a group that is too small."""
    cut = [members[first : first + lanes] for first in range(0, len(members), lanes)]
    return _joined([group] if len(group) >= at_least else [[i] for i in group] for group in cut)


def _joined(lists: Iterable[list]) -> list:
    return list(itertools.chain.from_iterable(lists))


def _alike(first: Rows, other: Rows, lanes: int) -> bool:
    """Return whether runs on both data sets may stand side by side: rows of one shape, not too large to be copied."""
    if first is other:
        return True
    same = first.X.shape == other.X.shape and np.array_equal(first.bounds, other.bounds)
    return same and lanes * first.nbytes <= MOST_COPIED


def _train_group(
    setup: Setup,
    opts: list[Optimizer],
    seeds: list[int],
    rows: list[Rows],
    keep_going: Callable[[], bool],
    begun: tuple[list[np.ndarray], list[State]] | None,
) -> Outcome:
    """Train the runs of a group of :func:`groups`, from these weights and states in place, or from the start."""
    if setup.model.needs_data and len(opts) > 1:
        return engine_cpu.train_side_by_side(setup, opts, seeds, rows, keep_going, *(begun or ()))
    if not begun:
        params = [setup.model.init(seed, setup.dtype) for seed in seeds]
        begun = params, [opt.init(start) for opt, start in zip(opts, params, strict=True)]
    params, states = begun
    if not setup.model.needs_data:
        return engine_cpu.train_on_landscape(setup, opts, seeds[0], params, states, keep_going)
    return engine_cpu.train_network(setup, opts[0], seeds[0], rows[0], params[0], states[0], keep_going)


def _checked_configs(configs: Any, setup: Setup) -> list[Optimizer]:
    if isinstance(configs, Optimizer) or not np.iterable(configs):
        raise TypeError(f"configs must be a list of optimizers, as grid() returns it, got {shown(configs)}")
    checked = [setup.accepted(f"configs[{i}]", opt) for i, opt in enumerate(configs)]
    if not checked:
        raise ValueError("configs must hold at least one optimizer, got none: the grid is empty")
    different = list(dict.fromkeys(checked))
    for opt in different:
        opt.inner.check_width(setup.dtype)
    if len(different) < len(checked):
        duplicates = len(checked) - len(different)
        warnings.warn(
            f"configs contains {duplicates} duplicates; each distinct configuration is trained once", stacklevel=7
        )
    return different


def checked_seeds(seeds: Any) -> list[int]:
    """Return the seeds of a sweep as a list.

    Parameters
    ----------
    seeds : iterable of int, or int
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    list of int

    Raises
    ------
    TypeError, ValueError
        If they are no seeds, none, or not all different.
    """
    if not np.iterable(seeds):
        seeds = range(whole_number("seeds", seeds, 1))
    checked = [whole_number(f"seeds[{i}]", seed, 0, HIGHEST_SEED) for i, seed in enumerate(seeds)]
    if not checked:
        raise ValueError("seeds must hold at least one seed, got none")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds must all differ, got {next(s for s in checked if checked.count(s) > 1)} twice")
    return checked
