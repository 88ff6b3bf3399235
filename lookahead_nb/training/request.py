"""What a sweep asks of a store: runs that are stored already, in whatever units, and units of all others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_nb.training.plan import Plan, Unit
from lookahead_nb.training.store import ORDER, RUN, Store, runs_of
from lookahead_nb.training.tasks import Tasks

if TYPE_CHECKING:
    import pandas as pd


class Request:
    """The runs of a plan in a store.

    A stored run is found by its id, the hash of all that its results depend on, seed and data included. So the store
    may have been made with other seeds or configurations, in another order or in other units.

    Parameters
    ----------
    plan : Plan or Tasks
    path : path
        The folder of the store; made if there is none.

    Attributes
    ----------
    store : Store
    todo : list of Unit
        Units of the runs that are not stored.

    Raises
    ------
    TypeError, ValueError, DamageError, OSError
        As ``Store.open``.
    """

    def __init__(self, plan: Plan | Tasks, path: str | Path) -> None:
        self.plan = plan
        try:
            seed = Store.open(path).first_seed
        except FileNotFoundError:  # the store is made below
            seed = None
        self._configuration = plan.configuration(seed)
        self._planned = plan.units
        self.store = Store.open(path, self._configuration, self._names)
        self._is_first = self.store.number == 0 and self._is_answered
        self.todo = self._without_stored() if self._is_first else self._found()

    @property
    def done(self) -> int:
        """The number of runs that are stored."""
        return self.plan.size - sum(unit.size for unit in self.todo)

    def begin(self) -> None:
        """Extend the store by the units to train, unless it has them."""
        while self.todo and not self._is_answered:
            self.store = self.store.extend(self._configuration, self._names, self._order)
            if not self._is_answered:  # another process was first
                self.todo = self._found()

    def write(self, unit: Unit, result: tuple, trained_on: dict[str, Any] | None) -> None:
        """Store a trained unit.

        Parameters
        ----------
        unit, result
            As in ``Plan.rows``.
        trained_on
            As in ``Store.write``.
        """
        rows = self.plan.rows([(unit, result)])
        self.store.write(unit.name, rows, trained_on)
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
        self._numbers = self.plan.run_ids(seeds)
        self._holders = {run: holders[run] for run in self._numbers if run in holders}
        self._planned = self._units_without(at_first, store.number)
        if not self._is_answered:  # this request is not the last one, or parts of earlier ones are gone
            self._planned = self._units_without(self._holders, store.number + 1)
        return self._without_stored()

    def _units_without(self, runs: Any, number: int) -> list[Unit]:
        """Return units of the runs that are not among these, of the request with a number."""
        stored = {self._numbers[run] for run in runs if run in self._numbers}
        return self.plan.units_of([run for run in range(self.plan.size) if run not in stored], str(number))

    def _arranged(self, unit: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that are taken from a stored unit, as the plan has them."""
        held = [self._holders.get(run) == unit for run in runs_of(frame)]
        return self.plan.rows(self.plan.stored(frame[held], self._numbers))
