"""A statement measured again: some of its tasks, trained on seeds that nobody has used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lookahead_nb.checks import whole_number
from lookahead_nb.claims import experiments, registry
from lookahead_nb.claims.experiments import Experiment
from lookahead_nb.claims.registry import Contrast, Statement

if TYPE_CHECKING:
    import pandas as pd

BASE = "adamw"  # the arm that is read along its runs: the scale of "worth x % more steps"


@dataclass(frozen=True, eq=False)
class Plan:
    """What is trained for a statement; made by :func:`planned`.

    Attributes
    ----------
    statement : Statement
        With the primary contrast and the reported ones that compare arms of the experiment below.
    experiment : Experiment
        With the arms of the primary contrast only.
    tasks : frame
        Rows of ``Experiment.chosen``.
    attempt : int
        The number of the set of seeds.
    """

    statement: Statement
    experiment: Experiment
    tasks: pd.DataFrame
    attempt: int

    @property
    def runs(self) -> int:
        """How many runs are trained, without those of wider grids."""
        return self.experiment.runs(self.tasks)

    def measure(self, *, progress: bool | Callable[[int, int], None] = True) -> pd.DataFrame:
        """Train the arms on the tasks.

        Parameters
        ----------
        progress
            As in :func:`lookahead_nb.sweep`.

        Returns
        -------
        frame
            As :meth:`.Experiment.measure` returns it.
        """
        return self.experiment.measure(self.tasks, attempt=self.attempt, progress=progress)

    def judge(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the estimates from the tasks, each of which counts the same.

        Parameters
        ----------
        rows : frame
            Of :meth:`measure`, or the registered ones.

        Returns
        -------
        frame
            As :func:`.registry.judge` returns it.
        """
        rows = rows[rows["number"].isin(self.tasks["number"])]
        return registry.judge(replace(self.statement, where={}), rows, self.tasks, self.tasks)


def planned(statement: Statement, attempt: int, number: int) -> Plan:
    """Choose tasks of a statement to train again, among the half with the fewest steps.

    Parameters
    ----------
    statement : Statement
        A testable one.
    attempt : int
        At least 1. It chooses the seeds and the tasks.
    number : int
        How many tasks, at least 2.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, the statement cannot be tested, or too few of its data sets are available locally.
    """
    attempt, number = whole_number("--fresh", attempt, 1), whole_number("--tasks", number, 2)
    if statement.primary is None:
        raise ValueError(f"{statement.id} cannot be tested here: {statement.untestable}")
    experiment = experiments.read(statement.experiment)
    screened = experiments.screening_table(experiment)
    tasks = registry.tasks_of(statement, experiment.chosen(screened))
    numbers = experiments.quick_tasks(experiment, tasks, f"attempt {attempt}", number)
    if len(numbers) < 2:
        names = ", ".join(sorted({*tasks["set"]})) if experiment.sets else "its tasks"
        raise ValueError(
            f"{statement.id} needs two tasks whose data is available locally, got {len(numbers)}: load {names} with "
            "lookahead_nb.datasets.load, or set LOOKAHEAD_NB_DATA to a folder that holds the files"
        )
    arms = _trained(statement.primary, experiment)
    reported = {
        name: contrast for name, contrast in statement.reported.items() if {contrast.arm, *contrast.controls} <= arms
    }
    kept = {name: arm for name, arm in experiment.arms.items() if name in arms}
    return Plan(
        replace(statement, reported=reported),
        replace(experiment, arms=kept, ranges_of=()),
        tasks[tasks["number"].isin(numbers)].reset_index(drop=True),
        attempt,
    )


def _trained(contrast: Contrast, experiment: Experiment) -> set[str]:
    """Return the arms that a contrast needs."""
    arms = {contrast.arm, *contrast.controls}
    if experiment.kind == "convergence":
        arms.add(next(iter(experiment.arms)))  # all are trained at its rates
    if BASE in experiment.arms and experiment.arms[BASE].along and {*contrast.controls} <= registry.CONSTANT_ADAM:
        arms.add(BASE)
    return arms
