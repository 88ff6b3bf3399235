"""Many tasks in one sweep: each with its own model, data and settings, all with shared threads, store and progress."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import named_arguments, shown, whole
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training.history import settings_frame
from lookahead_nb.training.plan import Plan, Trained, Unit
from lookahead_nb.training.setup import Data, Model, Setup, Training
from lookahead_nb.training.store import ORDER

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = ("steps", "batch_size", "eval_every", "eval_at", "eval_rows")


@named_arguments
@dataclass(frozen=True, eq=False)
class Task:
    """What to train in a sweep over several tasks.

    Parameters
    ----------
    name : str
        Different for each task; the column ``task`` of the frame.
    model, data
        As in :func:`lookahead_nb.train`.
    steps, batch_size, eval_every, eval_at, eval_rows : optional
        As in :func:`lookahead_nb.sweep`, where None takes them from.
    configs : iterable of Optimizer, optional
        The configurations of this task; None takes those of the sweep.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> tasks = [lnb.Task(f"h={h}", lnb.landscapes.Quadratic([h]), steps=2) for h in (1.0, 0.1)]
    >>> rows = lnb.sweep(tasks, None, [lnb.SGD(0.5)], seeds=1, eval_every=1)
    >>> rows[["task", "step", "train_loss"]].values.tolist()[2:4]
    [['h=1.0', 2, 0.03125], ['h=0.1', 0, 0.05]]
    """

    name: str
    model: Model
    data: Data = None
    steps: int | None = None
    batch_size: int | None = None
    eval_every: int | None = None
    eval_at: Iterable[int] | None = None
    eval_rows: int | None = None
    configs: Iterable[Optimizer] | None = None


class Tasks:
    """The plans of several tasks as one plan, with the interface of :class:`Plan`.

    Parameters
    ----------
    tasks : iterable of Task
        Each with another name.
    training : dict
        The arguments of :class:`Training` for what a task leaves out.
    configs : iterable of Optimizer or None
        For tasks without their own.
    seeds : iterable of int, or int
        As in :class:`Plan`.

    Raises
    ------
    TypeError, ValueError
        If an entry is no task or a setting of it is wrong; the message names the entry.
    DataError
        If the data of the first seed of a task cannot be made.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        training: dict[str, Any],
        configs: Iterable[Optimizer] | None,
        seeds: Iterable[int] | int,
    ) -> None:
        entries = _checked(tasks)
        seeds = list(seeds) if np.iterable(seeds) else seeds
        shared = list(configs) if np.iterable(configs) and not isinstance(configs, Optimizer) else configs
        if np.iterable(training["eval_at"]):
            training["eval_at"] = list(training["eval_at"])  # an iterator could serve one task only
        self.plans: dict[str, Plan] = {}
        for i, task in enumerate(entries):
            own = {name: getattr(task, name) for name in SETTINGS if getattr(task, name) is not None}
            if task.configs is None and shared is None:
                raise TypeError(f"configs must be a list of optimizers, since tasks[{i}] has none of its own, got None")
            chosen: Any = shared if task.configs is None else task.configs
            try:
                setup = Setup(task.model, task.data, Training(**training | own))
                self.plans[task.name] = Plan(setup, chosen, seeds, task=task.name)
            except (TypeError, ValueError) as error:
                raise type(error)(f"tasks[{i}] ({task.name!r}): {error}") from error
        plans = list(self.plans.values())
        self.seeds = plans[0].seeds
        settings = settings_frame([opt for plan in plans for opt in plan.configs])  # one set of columns for all
        first = 0
        for plan in plans:
            last = first + len(plan.configs)
            plan.settings = settings.iloc[first:last].reset_index(drop=True)
            first = last

    @property
    def size(self) -> int:
        """The number of runs."""
        return sum(plan.size for plan in self.plans.values())

    @property
    def frame_rows(self) -> int:
        """The number of rows of the frame of all runs."""
        return sum(plan.frame_rows for plan in self.plans.values())

    @property
    def frame_bytes(self) -> float:
        """The memory of the frame of all runs in bytes, estimated."""
        return sum(plan.frame_bytes for plan in self.plans.values())

    @cached_property
    def units(self) -> list[Unit]:
        """The units of all tasks, those with the most work first, so that no thread is left alone with a long one."""
        return self.units_of(range(self.size))

    def units_of(self, runs: Collection[int], request: str = "", first: int = 0) -> list[Unit]:
        """Return the units of some runs, those with the most work first.

        Parameters
        ----------
        runs, request, first
            As in :meth:`Plan.units_of`; runs are numbered task by task.

        Returns
        -------
        list of Unit
        """
        units, numbers = list[Unit](), np.sort(np.fromiter(runs, np.int64))
        for before, plan in self.numbered():
            begin, end = np.searchsorted(numbers, [before, before + plan.size])
            units += plan.units_of((numbers[begin:end] - before).tolist(), request, first)
        return sorted(units, key=lambda unit: -unit.work)

    def numbered(self) -> Iterator[tuple[int, Plan]]:
        """Yield the number of the first run of each task, and its plan.

        Yields
        ------
        (int, Plan)
        """
        first = 0
        for plan in self.plans.values():
            yield first, plan
            first += plan.size

    def configuration(self, seed: int | None = None) -> dict[str, Any]:
        """Return everything that the results depend on, for the manifest of a store.

        Parameters
        ----------
        seed : int, optional
            As in :meth:`Plan.configuration`.

        Returns
        -------
        dict
            Nested.
        """
        of_tasks = {name: plan.configuration(seed) for name, plan in self.plans.items()}
        first = next(iter(of_tasks.values()))
        common = {
            key: first[key] for key in ("seeds", "configs") if all(c[key] == first[key] for c in of_tasks.values())
        }
        for configuration in of_tasks.values():
            for key in common:
                del configuration[key]
        return {"training": {"backend": self._backend}, "tasks": of_tasks} | common

    @property
    def _backend(self) -> str:
        return next(iter(self.plans.values())).setup.training.backend

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
        return [first + n for first, plan in self.numbered() if plan.task == unit.task for n in plan.numbers(unit)]

    def rows(self, trained: list[tuple[Unit, Trained]]) -> pd.DataFrame:
        """Return the tidy rows of trained units, ordered by task and then as in :meth:`Plan.rows`.

        Parameters
        ----------
        trained : list of (Unit, Trained)
            The result is that of :func:`plan.train_unit`.

        Returns
        -------
        frame
            With the columns ``task`` and ``store.ORDER``.
        """
        pd = whole("pandas")

        by_task: dict[str, list] = {name: [] for name in self.plans}
        for unit, result in trained:
            by_task[unit.task].append((unit, result))
        frames = []
        for first, plan in self.numbered():
            if by_task[plan.task]:
                frame = plan.rows(by_task[plan.task])
                frame[ORDER] += first
                frame.insert(0, "task", plan.task)
                frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def run_ids(self, seeds: Collection[int]) -> dict[tuple[str, str], int]:
        """Return the numbers of the runs of some seeds, by task and run as in the rows.

        Parameters
        ----------
        seeds : ints
            Their data is loaded.

        Returns
        -------
        dict of (str, str) to int
        """
        return {run: first + at for first, plan in self.numbered() for run, at in plan.run_ids(seeds).items()}

    def stored(self, rows: pd.DataFrame, numbers: dict[tuple[str, str], int]) -> list[tuple[Unit, Trained]]:
        """Return rows of a store as trained units, one for each task.

        Parameters
        ----------
        rows, numbers
            As in :meth:`Plan.stored`.

        Returns
        -------
        list of (Unit, Trained)
        """
        trained = []
        for first, plan in self.numbered():
            own = rows[rows["task"] == plan.task]
            if len(own):
                runs = [(plan.task, run) for run in own["run"].unique()]
                trained += plan.stored(own, {run: numbers[run] - first for run in runs})
        return trained


def _checked(tasks: Any) -> list[Task]:
    entries, names = list(tasks), set[str]()
    if not entries:
        raise ValueError("tasks must hold at least one task, got none")
    for i, task in enumerate(entries):
        if not isinstance(task, Task):
            advice = ": pass its .task" if isinstance(getattr(task, "task", None), Task) else ""
            raise TypeError(f"tasks[{i}] must be a Task, got {shown(task)}{advice}")
        if not isinstance(task.name, str) or not task.name:
            raise TypeError(f"tasks[{i}] must have a name, got {shown(task.name)}")
        if task.name in names:
            raise ValueError(f"tasks[{i}] must have a name of its own, but an earlier task is called {task.name!r} too")
        names.add(task.name)
    return entries
