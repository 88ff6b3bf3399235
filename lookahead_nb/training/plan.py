"""A sweep cut into units of runs.

The results of a unit depend on its settings alone. So the place, time, order and number of its trainings do not matter.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import whole_number
from lookahead_nb.kernels.cpu.lanes import lanes_of
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training import engine_cpu
from lookahead_nb.training.history import histories, settings_frame, slow_rows
from lookahead_nb.training.setup import HIGHEST_SEED, Outcome, Rows, Setup, always
from lookahead_nb.training.store import ORDER

if TYPE_CHECKING:
    import pandas as pd

UNIT_OPERATIONS = 3e10  # floating-point work of a unit: a few tenths of a second on one core
UNIT_RUNS = 1024
SIDE_BY_SIDE_FROM = 6  # runs; fewer are quicker one by one: sixteen side by side took the time of 4 to 10 alone


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
    """

    name: str
    setup: Setup
    opts: list[Optimizer]
    seeds: list[int]
    which: np.ndarray

    @property
    def size(self) -> int:
        """The number of runs."""
        return len(self.opts)

    def __str__(self) -> str:
        return f"unit {self.name[:8]} ({self.size} runs)"


class Plan:
    """All runs of a sweep, cut into units, the same ones on every machine.

    Runs of one seed are neighbours, and within a seed so are the runs that one kernel can train side by side.

    Parameters
    ----------
    setup : Setup
    configs : iterable of Optimizer
        Equal ones are trained once, with a warning.
    seeds : iterable of int, or int
        In [0, 2**63), or how many.

    Raises
    ------
    TypeError, ValueError
        If configs or seeds are empty or hold anything else, or the data does not fit.
    """

    def __init__(self, setup: Setup, configs: Iterable[Optimizer], seeds: Iterable[int] | int) -> None:
        self.setup, self.configs, self.seeds = setup, _checked_configs(configs, setup), _checked_seeds(seeds)
        setup.rows(self.seeds[0])  # checks model, batches and data against each other
        self.settings, self.has_slow = settings_frame(self.configs), slow_rows(self.configs)
        self.size = len(self.configs) * len(self.seeds)
        self._place = {seed: at for at, seed in enumerate(self.seeds)}

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

    def configuration(self) -> dict[str, Any]:
        """Return everything that the results depend on, for the manifest of a store.

        Returns
        -------
        dict
            Nested.
        """
        data = self.setup.rows(self.seeds[0]).fingerprint
        configs = self.settings.astype(object).where(self.settings.notna(), None).to_dict("list")  # JSON has no NaN
        settings = {"eval_steps": self.setup.eval_steps.tolist(), "configs": configs}
        return self.setup.settings() | {"data": data, "seeds": self.seeds} | settings

    @staticmethod
    def _neighbours(opt: Optimizer) -> tuple:
        return *opt.kernel, opt.sync.period if opt.sync else 0  # runs of one period share a pass for their syncs

    @cached_property
    def units(self) -> list[Unit]:
        """The units, seed by seed."""
        in_one = int(np.clip(UNIT_OPERATIONS // (16 * self.setup.operations), 1, UNIT_RUNS // 16)) * 16
        order = sorted(range(len(self.configs)), key=lambda i: self._neighbours(self.configs[i]))
        base = hashlib.sha256(json.dumps(self.setup.settings() | {"eval": self.setup.eval_steps.tolist()}).encode())
        settings, units = [json.dumps(opt.settings()) for opt in self.configs], []
        for seed in self.seeds:
            for first in range(0, len(order), in_one):
                which = order[first : first + in_one]
                name = base.copy()
                name.update(json.dumps([seed, [settings[i] for i in which]]).encode())
                opts = [self.configs[i] for i in which]
                units.append(Unit(name.hexdigest()[:32], self.setup, opts, [seed] * len(which), np.array(which)))
        return units

    def rows(self, trained: list[tuple[Unit, tuple]]) -> pd.DataFrame:
        """Return the tidy rows of trained units, ordered.

        Parameters
        ----------
        trained : list of (Unit, result)
            The result is that of :func:`train_unit`.

        Returns
        -------
        frame
            With the column ``store.ORDER``, by which a store orders the rows of all units.
        """
        import pandas as pd

        units = [unit for unit, _ in trained]
        which = np.concatenate([unit.which for unit in units])
        seeds = np.concatenate([unit.seeds for unit in units])
        run_ids, results, diverged_at = map(np.concatenate, zip(*(result for _, result in trained), strict=True))
        order = which * len(self.seeds) + [self._place[seed] for seed in seeds.tolist()]
        sort = np.argsort(order)
        runs = (column[sort] for column in (which, run_ids, seeds, results, diverged_at))
        frame = histories(self.setup, self.settings, self.has_slow, *runs)
        return frame.assign(**{ORDER: frame["run"].map(pd.Series(order, run_ids))})


def train_unit(unit: Unit, keep_going: Callable[[], bool] = always) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Train the runs of a unit on the CPU.

    Parameters
    ----------
    unit : Unit
    keep_going : function
        Called every ``Setup.stride`` steps; returning False stops the runs.

    Returns
    -------
    run_ids : list of str
    results, diverged_at : arrays
        As in ``setup.Outcome``, in the order of the unit.

    Raises
    ------
    Exception
        Whatever loading the data raises.
    """
    setup = unit.setup
    rows = {seed: setup.rows(seed) for seed in dict.fromkeys(unit.seeds)}
    runs = list(zip(unit.seeds, unit.opts, strict=True))
    outcomes = []
    for (seed, kernel), members in itertools.groupby(runs, lambda run: (run[0], run[1].kernel)):
        opts = [opt for _, opt in members]
        for first in range(0, len(opts), lanes_of(setup.dtype)):
            group = opts[first : first + lanes_of(setup.dtype)]
            outcomes += _train_group(setup, group, kernel, seed, rows[seed], keep_going)
    run_ids = [setup.run_id(opt, seed, rows[seed]) for seed, opt in runs]
    results = np.concatenate([outcome.results for outcome in outcomes])
    return run_ids, results, np.concatenate([outcome.diverged_at for outcome in outcomes])


def _train_group(
    setup: Setup,
    opts: list[Optimizer],
    kernel: tuple[str, str],
    seed: int,
    rows: Rows,
    keep_going: Callable[[], bool],
) -> list[Outcome]:
    """Train runs of one seed and one kernel, side by side where that is quicker."""
    if setup.model.needs_data and kernel[1] != "adaptive" and len(opts) >= SIDE_BY_SIDE_FROM:
        return [engine_cpu.train_side_by_side(setup, opts, seed, rows, keep_going)]
    params = [setup.model.init(seed, setup.dtype) for _ in opts]
    states = [opt.init(start) for opt, start in zip(opts, params, strict=True)]
    if not setup.model.needs_data:
        return [engine_cpu.train_on_landscape(setup, opts, seed, params, states, keep_going)]
    return [
        engine_cpu.train_network(setup, opt, seed, rows, start, state, keep_going)
        for opt, start, state in zip(opts, params, states, strict=True)
    ]


def _checked_configs(configs: Any, setup: Setup) -> list[Optimizer]:
    if isinstance(configs, Optimizer) or not np.iterable(configs):
        raise TypeError(f"configs must be a list of optimizers, as grid() returns it, not {configs!r}")
    checked = [setup.accepted(f"configs[{i}]", opt) for i, opt in enumerate(configs)]
    if not checked:
        raise ValueError("configs must hold at least one optimizer, not none: the grid is empty")
    different = list(dict.fromkeys(checked))
    for opt in different:
        opt.inner.check_width(setup.dtype)
    if len(different) < len(checked):
        duplicates = len(checked) - len(different)
        warnings.warn(
            f"configs contains {duplicates} duplicates; each distinct configuration is trained once", stacklevel=4
        )
    return different


def _checked_seeds(seeds: Any) -> list[int]:
    if not np.iterable(seeds):
        seeds = range(whole_number("seeds", seeds, 1))
    checked = [whole_number(f"seeds[{i}]", seed, 0, HIGHEST_SEED) for i, seed in enumerate(seeds)]
    if not checked:
        raise ValueError("seeds must hold at least one seed, not none")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds must all differ, not hold {next(s for s in checked if checked.count(s) > 1)} twice")
    return checked
