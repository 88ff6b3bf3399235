"""What a sweep asks of a store: runs that are stored already, in whatever units, and units of all others.

A run that is stored with fewer steps and its state is continued from there. The units of such runs are trained like all
others, side by side too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.training.history import stored_results
from lookahead_nb.training.plan import Plan, Trained, Unit
from lookahead_nb.training.states import Start, Stored, states_in, states_table
from lookahead_nb.training.store import ORDER, RUN, Store, runs_of
from lookahead_nb.training.tasks import Tasks

if TYPE_CHECKING:
    import pandas as pd


class Request:
    """The runs of a plan in a store.

    A stored run is found by its id, the hash of all that its results depend on, seed and data included. So the store
    may have been made with other seeds or configurations, in another order or in other units. Runs of fewer steps are
    found by their own ids.

    Parameters
    ----------
    plan : Plan or Tasks
    path : path
        The folder of the store; made if there is none.
    keeps_states : bool
        Whether the states of all runs are to be stored.

    Attributes
    ----------
    store : Store
    todo : list of Unit
        Units of the runs that are not stored.

    Raises
    ------
    TypeError, ValueError, DamageError, OSError
        As ``Store.open``.
    ValueError
        If runs of fewer steps are stored without their states or without an evaluation of the longer ones, a learning
        rate depends on the number of steps, or states are to be kept of runs that are stored without them.
    """

    def __init__(self, plan: Plan | Tasks, path: str | Path, *, keeps_states: bool = False) -> None:
        self.plan, self._keeps_states = plan, keeps_states
        try:
            seed = Store.open(path).first_seed
        except FileNotFoundError:  # the store is made below
            seed = None
        self._configuration = plan.configuration(seed)
        self._planned = plan.units
        self.store = Store.open(path, self._configuration, self._names)
        self._is_first = self.store.number == 0 and self._is_answered
        self._bases: dict[
            int, tuple[int, tuple[str, str]]
        ] = {}  # by run: the steps and the id of the stored shorter one
        self.todo = self._without_stored() if self._is_first else self._found()
        if keeps_states:
            self._check_kept()

    @property
    def done(self) -> int:
        """The number of runs that are stored."""
        return self.plan.size - sum(unit.size for unit in self.todo)

    @property
    def continued(self) -> int:
        """The number of runs to train that continue a stored one."""
        return sum(unit.size for unit in self.todo if unit.first)

    def begin(self) -> None:
        """Extend the store by the units to train, unless it has them."""
        while self.todo and not self._is_answered:
            self.store = self.store.extend(self._configuration, self._names, self._order)
            if not self._is_answered:  # another process was first
                self.todo = self._found()

    def prepared(self, unit: Unit) -> Unit:
        """Return a unit with all that its training needs from the store.

        Parameters
        ----------
        unit : Unit
            One of ``todo``.

        Returns
        -------
        Unit

        Raises
        ------
        DamageError, OSError
            If the states or rows of the runs that it continues cannot be read.
        """
        return replace(unit, start=self._start(unit) if unit.first else None, keeps_states=self._keeps_states)

    def write(self, unit: Unit, result: Trained, trained_on: dict[str, Any] | None) -> None:
        """Store a trained unit.

        Parameters
        ----------
        unit, result
            As in ``Plan.rows``.
        trained_on
            As in ``Store.write``.
        """
        rows = self.plan.rows([(unit, result)])
        states = states_table(result.run_ids, result.states) if self._keeps_states else None
        continued = [self._bases[number][1] for number in self.plan.numbers(unit)] if unit.first else []
        self.store.write(unit.name, rows, trained_on, states=states, continued=continued)
        if not self._is_first:
            self._numbers |= dict(zip(runs_of(rows), rows[ORDER].tolist(), strict=True))
            self._holders |= dict.fromkeys(runs_of(rows), unit.name)

    def answered(self) -> Store:
        """Return the store, whose frame and export are now those of the plan.

        Returns
        -------
        Store
        """
        if not self._is_first:
            in_order = sorted(self._holders, key=lambda run: self._numbers[run])
            self.store.arrange(dict.fromkeys(self._holders[run] for run in in_order), self._arranged)
        return self.store

    @property
    def _names(self) -> list[str]:
        return [unit.name for unit in self._planned]

    @property
    def _is_answered(self) -> bool:
        return self.store.answers(self._configuration, self._names)

    def _without_stored(self) -> list[Unit]:
        done = self.store.done()
        return [unit for unit in self._planned if unit.name not in done]

    def _found(self) -> list[Unit]:
        """Find the stored runs, by reading all parts, and return units of the others."""
        store, holders, seeds, self._order = self.store, dict[tuple[str, str], str](), set[int](), 0
        earlier, at_first = {*store.units} - {*store.added}, set[tuple[str, str]]()
        for unit, table in store.columns(RUN):
            rows = table.to_pandas().drop_duplicates()
            runs = runs_of(rows)
            for run in runs:
                holders.setdefault(run, unit)
            seeds.update(rows["seed"].tolist())
            self._order = max(self._order, 1 + int(rows[ORDER].max()))
            if unit in earlier:
                at_first.update(runs)
        self._numbers, self._all_holders = self.plan.run_ids(seeds), holders
        self._holders = {run: holders[run] for run in self._numbers if run in holders}
        self._shorter = self._shorter_runs(seeds)
        self._planned = self._units_without(at_first, store.number)
        if not self._is_answered:  # this request is not the last one, or parts of earlier ones are gone
            self._planned = self._units_without({*holders}, store.number + 1)
        todo = self._without_stored()
        self._check_continued(todo)
        return todo

    def _shorter_runs(self, seeds: Collection[int]) -> dict[tuple[str, str], tuple[int, int]]:
        """Return, for the ids of shorter runs that may be stored, their steps and the numbers of the longer ones."""
        shorter, lengths = dict[tuple[str, str], tuple[int, int]](), self.store.lengths
        for first, plan in self.plan.numbered():
            for steps in sorted(steps for steps in lengths[plan.task] if steps < plan.setup.steps):
                shorter |= {run: (steps, first + at) for run, at in plan.run_ids(seeds, steps).items()}
        return shorter

    def _units_without(self, runs: Collection[tuple[str, str]], number: int) -> list[Unit]:
        """Return units of the runs that are not among these stored ones, of the request with a number."""
        stored = {self._numbers[run] for run in runs if run in self._numbers}
        missing = [run for run in range(self.plan.size) if run not in stored]
        bases = {run: base for run, base in self._shorter.items() if run in runs and base[1] not in stored}
        with_states = self.store.with_states()
        self._bases = {  # of several the longest one, which comes last
            longer: (steps, run) for run, (steps, longer) in bases.items() if self._all_holders[run] in with_states
        }
        self._without_states = {longer for _, longer in bases.values()} - self._bases.keys()
        begin = [self._bases[run][0] if run in self._bases else 0 for run in missing]
        return [
            unit
            for first in sorted({*begin})
            for unit in self.plan.units_of(
                [run for run, at in zip(missing, begin, strict=True) if at == first], str(number), first
            )
        ]

    def _check_continued(self, todo: list[Unit]) -> None:
        """Refuse to train runs that cannot be continued though shorter ones are stored."""
        if self._without_states:
            raise ValueError(
                f"steps must be as in the store {self.store.path}, which holds {len(self._without_states)} of the runs "
                "with fewer steps and without states: pass another folder"
            )
        of_tasks = self.store.lengths
        for unit in todo:
            lengths, of_task = of_tasks[unit.task], f" of task {unit.task!r}" if unit.task else ""
            steps, shortest = unit.setup.steps, min(lengths)
            for i, opt in zip(unit.which, unit.opts, strict=True) if shortest < steps else ():
                schedule = opt.inner.schedule
                if schedule.steps is not None and schedule.steps <= steps:
                    given = f"got the {schedule.kind} schedule of {schedule.steps} steps"
                    raise ValueError(
                        f"configs[{i}].lr{of_task} must not depend on the number of steps, since the store "
                        f"{self.store.path} continues runs of {shortest} steps to {steps}, {given}: pass another folder"
                    )
            wanted = unit.setup.eval_steps.tolist()
            if lost := {t for t in wanted if t <= unit.first}.difference(lengths[unit.first] if unit.first else wanted):
                raise ValueError(
                    f"eval_every and eval_at{of_task} must choose steps that the stored runs of {unit.first} steps "
                    f"have evaluated, up to their end, got step {min(lost)}: evaluate less often or in another folder"
                )

    def _check_kept(self) -> None:
        """Refuse to keep states where runs are stored without them."""
        with_states, done = self.store.with_states(), self.store.done()
        holders = done & {*self._names} if self._is_first else {*self._holders.values()}
        if lacking := holders - with_states:
            raise ValueError(
                f"keep_states must be False in the store {self.store.path}, where {len(lacking)} units with runs of "
                "this sweep are stored without states, got True: pass another folder to train them again"
            )

    def _start(self, unit: Unit) -> Start:
        """Read where the runs of a unit continue."""
        bases = [self._bases[number][1] for number in self.plan.numbers(unit)]
        shorter = unit.setup.of_steps(unit.first, self.store.lengths[unit.task][unit.first])
        results, diverged_at = shorter.blank_results(unit.size), np.full(unit.size, -1)
        states: list[Stored | None] = [None] * unit.size
        for holder in dict.fromkeys(self._all_holders[base] for base in bases):
            places = {run: i for i, (_, run) in enumerate(bases) if self._all_holders[unit.task, run] == holder}
            rows, of_runs = self.store.rows(holder), states_in(self.store.states(holder), places)
            run_ids, *found = stored_results(shorter, rows[rows["run"].isin([*places])])
            which = [places[run] for run in run_ids]
            results[which], diverged_at[which] = found
            for run, i in places.items():
                states[i] = of_runs[run]
        return Start(shorter, results, diverged_at, states)

    def _arranged(self, unit: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that are taken from a stored unit, as the plan has them."""
        held = [self._holders.get(run) == unit for run in runs_of(frame)]
        return self.plan.rows(self.plan.stored(frame[held], self._numbers))
