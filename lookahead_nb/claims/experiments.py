"""Experiments: which tasks are trained with which arms and seeds, registered in files, and how they are measured.

A file in ``data/claims/experiments`` registers an experiment. Its hash covers the file and the declared population, and
its seeds follow from that hash. So a change of either makes the committed rows outdated, and they are refused. The
population is that of generated tasks, or real data sets, which the file lists.

Rows are measured in shards of a few tasks, or of a data set. Each is a table of its own (:mod:`.shards`), so that an
interruption loses one shard at most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_nb import provenance
from lookahead_nb.checks import shown, whole, whole_number
from lookahead_nb.claims import agent_trial, convergence, landscape_tasks, landscape_trial, real, screening, trial
from lookahead_nb.claims.population import EVALUATED, GeneratedTask, generated, population, ranges_sha256, seeds_of
from lookahead_nb.claims.shards import different_tasks, read_shards, refuse_outdated, write_shard
from lookahead_nb.claims.trial_arms import Grid, TrialArm, arms_of, runs_per_task
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys, text, toml_file

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "data/claims/experiments"
SHARD, SHARD_OF_AGENTS = 20, 2  # tasks
SCREENED = range(10_000, 12_000)  # the numbers of the tasks that were screened
FIRST = 10_000  # the lowest number of a task that is no pilot
KINDS = {  # how arms are compared: the metrics and the ways of tuning that there are
    "tuned": (tuple(trial.METRICS), trial.TUNINGS),
    "convergence": ((convergence.METRIC,), convergence.TUNINGS),
}
POPULATIONS = ("generated", "real")
KEYS = (
    *("about", "kind", "population", "replicates", "metrics", "tunings", "ranges_of", "curves", "widened_for"),
    *("centres", "tasks", "sets", "arms"),
)
UNSCREENED = ("about", "population", "replicates", "metrics", "tasks", "arms")
OF_TASKS = ("quotas", "first", "least_rows", "most_rows", "least_steps", "most_steps")
OF_DRAW = ("draw", "steps", "step_limited")  # of an experiment that screens tasks of its own


@dataclass(frozen=True, eq=False)
class Experiment:
    """Arms that are trained on tasks of a population; made by :func:`read`.

    Attributes
    ----------
    name : str
        That of its file.
    about : str
        What it is for.
    replicates : int
        Of each task; a data set in fewer chunks has as many as chunks.
    tasks : dict
        Which tasks of the generated population: the keys of ``OF_TASKS`` or ``OF_DRAW``.
    sets : dict of str to RealSet
        The data sets; empty for the generated population.
    arms : dict of str to TrialArm
        By name.
    metrics, tunings, ranges_of, curves : tuple of str
        What is kept, as in :func:`.trial.measure`.
    widened_for : tuple of str
        The metrics for which all grids of a task are widened if a choice lies at the end of one.
    own_centres : bool
        Whether grids lie around the best rate of their own inner optimizer; otherwise around that of AdamW.
    sha256 : str
        Hash of the entry and the population.
    kind : str
        A key of ``KINDS``.
    population : str
        "generated" or "real"; of a :class:`LandscapeExperiment` a key of ``landscape_tasks.POPULATIONS``, of an
        :class:`AgentExperiment` "agents".
    """

    name: str
    about: str
    replicates: int
    tasks: dict[str, Any]
    sets: dict[str, real.RealSet] = field(repr=False)
    arms: dict[str, TrialArm] = field(repr=False)
    metrics: tuple[str, ...]
    tunings: tuple[str, ...]
    ranges_of: tuple[str, ...]
    curves: tuple[str, ...]
    widened_for: tuple[str, ...]
    own_centres: bool
    sha256: str
    kind: str = "tuned"
    population: str = "generated"

    @property
    def screens(self) -> bool:
        """Whether it has a screening of its own."""
        return bool(self.sets) or "draw" in self.tasks

    def generated(self, number: int) -> GeneratedTask:
        """Return a task of the generated population, in an own draw with the number of steps that its number chooses.

        Parameters
        ----------
        number : int

        Returns
        -------
        GeneratedTask
        """
        task = generated(number)
        if "draw" in self.tasks:
            return replace(task, steps=self.tasks["steps"][number % len(self.tasks["steps"])])
        return task

    def seeds(self, attempt: int = 0) -> list[int]:
        """Return the seeds of the replicates.

        Parameters
        ----------
        attempt : int, default 0
            At least 0. 0 gives the registered seeds, any other number fresh ones.

        Returns
        -------
        list of int
        """
        return seeds_of(self.sha256, self.replicates, attempt)

    def drawn(self, screened: pd.DataFrame) -> pd.DataFrame:
        """Return the tasks of the draw that the experiment is about: as many of each class as there are.

        Parameters
        ----------
        screened : frame
            Of :func:`screening_table`.

        Returns
        -------
        frame
            As :func:`.screening.classified` returns it, without hopeless tasks.
        """
        tasks = screening.classified(screened)
        kept = tasks["regime"] != "hopeless"
        if self.sets:
            return tasks[kept].sort_values(["set", "steps"], ignore_index=True)
        for name in ("rows", "steps"):
            for end, compared in (("least", tasks[name].ge), ("most", tasks[name].le)):
                if f"{end}_{name}" in self.tasks:
                    kept &= compared(self.tasks[f"{end}_{name}"])
        return tasks[kept].reset_index(drop=True)

    def chosen(self, screened: pd.DataFrame) -> pd.DataFrame:
        """Return the tasks that are trained.

        Parameters
        ----------
        screened : frame
            Of :func:`screening_table`.

        Returns
        -------
        frame
            The first rows of :meth:`drawn`, or the first of each class; of an own draw the first step-limited ones of
            each number of steps; of real data sets all.
        """
        if self.sets:
            return self.drawn(screened)
        if "draw" in self.tasks:
            limited = self.drawn(screened).query("regime == 'step-limited'")
            place = limited.groupby("steps").cumcount()
            return limited[place < self.tasks["step_limited"]].reset_index(drop=True)
        if "quotas" in self.tasks:
            return screening.sample(screened, self.tasks["quotas"])
        return self.drawn(screened).head(self.tasks["first"])

    def measure(
        self,
        tasks: pd.DataFrame,
        *,
        attempt: int = 0,
        store: str | Path | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> pd.DataFrame:
        """Train the arms on some of the tasks.

        Parameters
        ----------
        tasks : frame
            Rows of :meth:`chosen`.
        attempt : int, default 0
            As in :meth:`seeds`.
        store, progress
            As in :func:`lookahead_nb.sweep`; wider grids are not stored.

        Returns
        -------
        frame
            As :func:`.trial.measure` or :func:`.convergence.measure` returns it. Rows of real data sets have ``set``
            and ``steps`` after ``number``.
        """
        if self.kind == "convergence":
            return convergence.measure(tasks, self.arms, self.seeds(attempt), store=store, progress=progress)
        if not self.sets:
            numbered = {number: self.generated(number) for number in tasks["number"]}
            return self._measured(tasks, numbered, self.seeds(attempt), store, progress)
        parts = []
        for name, part in tasks.groupby("set", sort=False):
            chosen = {task.number: task for task in self.real_tasks(attempt) if task.of.name == name}
            seeds = self.seeds(attempt)[: self.sets[str(name)].replicates(self.replicates)]
            rows = self._measured(part, chosen, seeds, store, progress)
            rows.insert(1, "steps", [chosen[number].steps for number in rows["number"]])
            rows.insert(1, "set", name)
            parts.append(rows)
        return whole("pandas").concat(parts, ignore_index=True)

    def real_tasks(self, attempt: int = 0) -> list[real.RealTask]:
        """Return the tasks on real data sets, in the order of the file.

        Parameters
        ----------
        attempt : int, default 0
            As in :meth:`seeds`.

        Returns
        -------
        list of RealTask
            None for the generated population.
        """
        seeds = self.seeds(attempt)
        return [task for of in self.sets.values() for task in of.tasks(tuple(seeds[: of.replicates(self.replicates)]))]

    def runs(self, tasks: pd.DataFrame) -> int:
        """Return how many runs some tasks take, without those of wider grids.

        Parameters
        ----------
        tasks : frame
            Rows of :meth:`chosen`.

        Returns
        -------
        int
            On landscapes all replicas of a replicate count as one run.
        """
        if self.kind == "convergence":
            return len(tasks) * convergence.runs_per_task(self.arms, self.replicates)
        replicates = [self.sets[name].replicates(self.replicates) for name in tasks["set"]] if self.sets else ()
        per_task = replicates or [self.replicates] * len(tasks)
        rates = landscape_trial.rates_per_grid(self.population)
        return sum(runs_per_task(self.arms, number, rates) for number in per_task)

    @property
    def screening_seeds(self) -> list[int]:
        """The four seeds of its screening, on which no arm is compared."""
        return seeds_of(self.sha256, 4, 2**32) if self.screens else screening_seeds()

    def _measured(
        self,
        tasks: pd.DataFrame,
        numbered: dict[int, Any],
        seeds: list[int],
        store: str | Path | None,
        progress: bool | Callable[[int, int], None],
    ) -> pd.DataFrame:
        centre = None
        if self.own_centres:
            found = screening.centres(
                [numbered[number] for number in tasks["number"]],
                {_alone(grid): grid.inner for arm in self.arms.values() for grid in arm.grids},
                self.screening_seeds,
                progress=False,
            )

            def centre(number: int, grid: Grid) -> float:
                return found[number, _alone(grid)]

        measured = partial(
            trial.measure, arms=self.arms, seeds=seeds, metrics=self.metrics, tunings=self.tunings,
            ranges_of=self.ranges_of, curves=self.curves, centre=centre, task_of=numbered.__getitem__,
            progress=progress,
        )  # fmt: skip
        return trial.widened(tasks, measured(tasks, store=store), measured, self.widened_for)

    def shards(self, tasks: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the tasks of each table of rows, and its name.

        Parameters
        ----------
        tasks : frame
            Of :meth:`chosen`.

        Yields
        ------
        (str, frame)
            ``SHARD`` tasks each, ``SHARD_OF_AGENTS`` groups of agents; or those of a data set, with its name.
        """
        if self.sets:
            yield from ((str(name), part) for name, part in tasks.groupby("set", sort=False))
            return
        size = SHARD_OF_AGENTS if self.population == agent_trial.POPULATION else SHARD
        for first in range(0, len(tasks), size):
            yield f"{first // size:02d}", tasks.iloc[first : first + size]


@dataclass(frozen=True, eq=False)
class LandscapeExperiment(Experiment):
    """Arms measured on tasks of another declared population, from number 10,000 on; made by :func:`read`.

    There is no screening. Replicates are those of :func:`.landscape_trial.measure`; on "quadratics", where all numbers
    are exact, there is one.
    """

    def seeds(self, attempt: int = 0) -> list[int]:
        """Return the seeds, as many as :func:`.landscape_trial.seeds_needed` says.

        Parameters
        ----------
        attempt : int, default 0
            As in :meth:`Experiment.seeds`.

        Returns
        -------
        list of int
        """
        return seeds_of(self.sha256, landscape_trial.seeds_needed(self.population, self.replicates), attempt)

    def drawn(self, screened: pd.DataFrame | None = None) -> pd.DataFrame:  # noqa: ARG002 (of the generated population)
        """Return the tasks, all of which are trained.

        Parameters
        ----------
        screened : frame, optional
            Not used.

        Returns
        -------
        frame
            As :func:`.landscape_tasks.landscape_population` returns it.
        """
        return landscape_tasks.landscape_population(self.population, range(FIRST, FIRST + self.tasks["first"]))

    def measure(
        self,
        tasks: pd.DataFrame,
        *,
        attempt: int = 0,
        store: str | Path | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> pd.DataFrame:
        """Measure the arms on some of the tasks.

        Parameters
        ----------
        tasks : frame
            Rows of :meth:`chosen`.
        attempt : int, default 0
            As in :meth:`seeds`.
        store : None
            There is none: a task takes seconds.
        progress
            As in :func:`.landscape_trial.measure`.

        Returns
        -------
        frame
            As :func:`.landscape_trial.measure` returns it.

        Raises
        ------
        ValueError
            If there is a store.
        """
        if store is not None:
            raise ValueError(f"store must be None with tasks of {self.population!r}, got {store!r}")
        return self._trained(tasks["number"].tolist(), self.seeds(attempt), progress)

    def _trained(
        self, numbers: list[int], seeds: list[int], progress: bool | Callable[[int, int], None]
    ) -> pd.DataFrame:
        return landscape_trial.measure(
            self.population, numbers, self.arms, seeds, self.replicates, metrics=self.metrics, progress=progress
        )


@dataclass(frozen=True, eq=False)
class AgentExperiment(LandscapeExperiment):
    """Arms measured on agents that learn CartPole, in groups of seeds from number 10,000 on; made by :func:`read`."""

    def seeds(self, attempt: int = 0) -> list[int]:
        """Return the seeds: those that choose the learning rates, and one for each replicate.

        Parameters
        ----------
        attempt : int, default 0
            As in :meth:`Experiment.seeds`.

        Returns
        -------
        list of int
        """
        return seeds_of(self.sha256, agent_trial.CHOOSERS + self.replicates, attempt)

    def drawn(self, screened: pd.DataFrame | None = None) -> pd.DataFrame:  # noqa: ARG002 (of the generated population)
        """Return the groups of seeds, all of which are trained.

        Parameters
        ----------
        screened : frame, optional
            Not used.

        Returns
        -------
        frame
            As :func:`.agent_trial.groups` returns it.
        """
        return agent_trial.groups(range(FIRST, FIRST + self.tasks["first"]))

    def runs(self, tasks: pd.DataFrame) -> int:
        """Return how many runs some groups take at most.

        Parameters
        ----------
        tasks : frame
            Rows of :meth:`chosen`.

        Returns
        -------
        int
        """
        return len(tasks) * agent_trial.runs_per_group(self.arms, self.replicates)

    def _trained(
        self, numbers: list[int], seeds: list[int], progress: bool | Callable[[int, int], None]
    ) -> pd.DataFrame:
        return agent_trial.measure(numbers, self.arms, seeds, self.replicates, metrics=self.metrics, progress=progress)


def _alone(grid: Grid) -> str:
    """Return what identifies the inner optimizer of a grid."""
    return repr(grid.inner(1e-3, 20))


def screening_seeds() -> list[int]:
    """Return the four seeds of the screening, which no experiment uses.

    Returns
    -------
    list of int
    """
    return seeds_of(ranges_sha256(), 4)


def screening_table(experiment: Experiment | None = None) -> pd.DataFrame:
    """Return the committed screening of tasks.

    Parameters
    ----------
    experiment : Experiment, optional
        One on real data sets or an own draw has a screening of its own. Default: that of the tasks 10,000 to 11,999.

    Returns
    -------
    frame
        As :func:`.screening.screen` or :func:`screen_own` returns it.

    Raises
    ------
    OSError
        If the table is missing.
    OutdatedError
        If it was made with other ranges of the population, or another entry.
    """
    if experiment and experiment.screens:
        path = provenance.committed(f"data/results/{experiment.name}_screening.csv")
        refuse_outdated(path, experiment.sha256, f"the experiment {experiment.name!r}")
        return provenance.read_table(path)
    path = provenance.committed("data/results/screening.csv")
    refuse_outdated(path, ranges_sha256(), "the declared population")
    return provenance.read_table(path)


def screen_own(experiment: Experiment, *, progress: bool | Callable[[int, int], None] = True) -> pd.DataFrame:
    """Screen the tasks of an experiment on real data sets, or on an own draw of the generated population.

    Parameters
    ----------
    experiment : Experiment
        Data sets that are not available locally are left out.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        The factors of the tasks, and what :func:`.screening.screened` returns.

    Raises
    ------
    ValueError
        If the experiment has neither sets nor a draw.
    OSError
        If a file of a set is wrong.
    """
    pd = whole("pandas")

    if not experiment.screens:
        raise ValueError(f"experiment must have data sets or a draw of its own, got {experiment.name!r}")
    if experiment.sets:
        on_sets = [task for task in experiment.real_tasks() if task.of.available]
        factors = pd.DataFrame([task.factors() for task in on_sets])
        return factors.merge(screening.screened(on_sets, experiment.screening_seeds, progress=progress), on="number")
    tasks = [experiment.generated(number) for number in range(*experiment.tasks["draw"])]
    factors = population(task.number for task in tasks).reset_index().assign(steps=[task.steps for task in tasks])
    return factors.merge(screening.screened(tasks, experiment.screening_seeds, progress=progress), on="number")


def read(name: str, path: str | Path | None = None) -> Experiment:
    """Read a registered experiment.

    Parameters
    ----------
    name : str
        Such as "trial".
    path : path, optional
        The TOML file. Default: ``data/claims/experiments/NAME.toml`` of the checkout.

    Returns
    -------
    Experiment

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If an entry is wrong; the message names its key.

    Notes
    -----
    The keys of the file:

    - ``about``: what the experiment is for.
    - ``kind``: "tuned" (the default) or "convergence", see :mod:`.convergence`.
    - ``population``: "generated" (the default), "real", "agents", or a key of ``landscape_tasks.POPULATIONS``. Of the
      keys below the last two have ``about``, ``replicates`` (1 on "quadratics"), ``metrics`` of
      ``landscape_trial.METRICS`` or ``agent_trial.METRICS``, ``arms``, and in ``[tasks]`` ``first``.
    - ``replicates``: at least 2.
    - ``[sets]``, for the population "real": see :func:`.real.read`.
    - ``[tasks]``, for the generated population: either ``quotas``, the most tasks of each class, or ``first``, the
      number of tasks in the order of the draw, among those with ``least_rows``, ``most_rows``, ``least_steps`` and
      ``most_steps``. Hopeless tasks are never used. Or ``draw``, the first number and the one behind the last of tasks
      that this experiment screens itself; ``steps``, a list, from which the number of a task chooses; and
      ``step_limited``, the most step-limited tasks that are used of each number of steps.
    - ``metrics``, ``tunings``, ``ranges_of``, ``curves``: as in :func:`.trial.measure`.
    - ``widened_for``: some of the metrics, by default "test loss". They decide whether the grids of a task are widened,
      see :func:`.trial.widened`.
    - ``centres``: "AdamW" (the default) or "own", the middle of the grids.
    - ``[arms.NAME]``: as in :func:`.trial_arms.read`.
    """
    written = toml_file(provenance.committed(f"{FOLDER}/{name}.toml") if path is None else path)
    unscreened = (*landscape_tasks.POPULATIONS, agent_trial.POPULATION)
    population = choice("population", written.get("population", "generated"), (*POPULATIONS, *unscreened))
    if population in unscreened:
        return _read_unscreened(name, written, population)
    known_keys("", written, KEYS)
    about = text("about", written.get("about"))
    replicates = whole_number("replicates", written.get("replicates"), 2)
    tasks, sets = dict[str, Any](), dict[str, real.RealSet]()
    if population == "real":
        known_keys("", written, [key for key in KEYS if key != "tasks"])
        with inside("sets"):
            sets = real.read(table_of_keys("sets", written.get("sets")), replicates)
        entry_of_population: Any = [EVALUATED, real.TILT]
    else:
        known_keys("", written, [key for key in KEYS if key != "sets"])
        tasks = _tasks(table_of_keys("tasks", written.get("tasks")))
        if "draw" in tasks:
            choice("kind", written.get("kind", "tuned"), ("tuned",))
        entry_of_population = ranges_sha256()
    with inside("arms"):
        arms = arms_of(table_of_keys("arms", written.get("arms")))
    if moving := [arm.name for arm in arms.values() if any(grid.moves != "simultaneous" for grid in arm.grids)]:
        raise ValueError(f"arms.{moving[0]}.moves must be left out with the population {population!r}: it has no games")
    several = {}
    kind = choice("kind", written.get("kind", "tuned"), KINDS)
    metrics, tunings = KINDS[kind]
    defaults = {"ranges_of": (), "curves": trial.CURVES}
    lists = {"metrics": metrics, "tunings": tunings, "ranges_of": arms, "curves": trial.METRICS}
    for key, known in lists.items():
        listed = names(key, written[key]) if key in written else defaults.get(key, known)
        several[key] = tuple(choice(key, item, known) for item in listed)
    widened_for = names("widened_for", written.get("widened_for", [metrics[0]]))
    for item in widened_for:
        choice("widened_for", item, several["metrics"])
    return Experiment(
        name, about, replicates, tasks, sets, arms, **several,
        widened_for=widened_for,
        own_centres=choice("centres", written.get("centres", "AdamW"), ("AdamW", "own")) == "own",
        sha256=_entry_sha256(written, entry_of_population), kind=kind, population=population,
    )  # fmt: skip


def _entry_sha256(written: dict[str, Any], population: Any) -> str:
    entry = {key: value for key, value in written.items() if key != "about"}
    return hashlib.sha256(json.dumps([entry, population], sort_keys=True).encode()).hexdigest()


def _tasks(tasks: dict[str, Any]) -> dict[str, Any]:
    """Return the table of tasks of the generated population, or refuse it."""
    if "draw" in tasks:
        known_keys("tasks.", tasks, OF_DRAW)
        with inside("tasks"):
            for key in OF_DRAW[:2]:
                if not isinstance(numbers := tasks.get(key), list) or not numbers:
                    raise ValueError(f"{key} must be a list of whole numbers, got {shown(numbers)}")
                for i, number in enumerate(numbers):
                    whole_number(f"{key}[{i}]", number, 1)
            draw = tasks["draw"]
            if len(draw) != 2 or not SCREENED.stop <= draw[0] < draw[1]:
                raise ValueError(f"draw must be two rising numbers from {SCREENED.stop} on, got {draw}")
            whole_number("step_limited", tasks.get("step_limited"), 1)
        return tasks
    known_keys("tasks.", tasks, OF_TASKS)
    with inside("tasks"):
        if ("quotas" in tasks) == ("first" in tasks):
            raise ValueError(f"first must be given, or quotas, and not both, got {', '.join(tasks) or 'nothing'}")
        if "quotas" in tasks:
            known_keys("quotas.", table_of_keys("quotas", tasks["quotas"]), screening.QUOTAS)
            known_keys("", tasks, ("quotas",))
        for key, number in (tasks.get("quotas") or tasks).items():
            whole_number(key, number, 1)
    return tasks


def _read_unscreened(name: str, written: dict[str, Any], population: str) -> LandscapeExperiment:
    known_keys("", written, UNSCREENED)
    tasks = table_of_keys("tasks", written.get("tasks"))
    known_keys("tasks.", tasks, ("first",))
    with inside("tasks"):
        whole_number("first", tasks.get("first"), 2)
    with inside("arms"):
        arms = arms_of(table_of_keys("arms", written.get("arms")))
    of_agents = population == agent_trial.POPULATION
    known = agent_trial.METRICS if of_agents else landscape_trial.METRICS[population]
    metrics = tuple(choice("metrics", item, known) for item in names("metrics", written.get("metrics", [*known])))
    exact = not of_agents and landscape_trial.seeds_needed(population, 1) == 0
    replicates = whole_number("replicates", written.get("replicates"), *((1, 1) if exact else (2,)))
    sha256 = agent_trial.agents_sha256() if of_agents else landscape_tasks.landscape_sha256(population)
    return (AgentExperiment if of_agents else LandscapeExperiment)(
        name, text("about", written.get("about")), replicates, tasks, {}, arms, metrics, tunings=trial.TUNINGS[:1],
        ranges_of=(), curves=(), widened_for=(), own_centres=False, sha256=_entry_sha256(written, sha256),
        population=population,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- running


def registered() -> list[str]:
    """Return the names of the registered experiments.

    Returns
    -------
    list of str
        In alphabetical order.

    Raises
    ------
    FileNotFoundError
        Outside of a checkout.
    """
    return sorted(path.stem for path in provenance.committed(FOLDER).glob("*.toml"))


def shard_paths(experiment: Experiment, folder: str | Path | None = None) -> dict[str, Path]:
    """Return the paths of the tables of an experiment, whether they are there or not.

    Parameters
    ----------
    experiment : Experiment
    folder : path, optional
        As in :func:`run`.

    Returns
    -------
    dict of str to Path
        By the name of the shard, in the order of :meth:`Experiment.shards`.
    """
    folder = Path(folder) if folder else provenance.committed("data/results") / experiment.name
    chosen = experiment.chosen(screening_table(experiment))
    return {name: folder / f"{name}.csv" for name, _ in experiment.shards(chosen)}


def run(
    experiment: Experiment,
    shards: Collection[int] | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> list[Path]:
    """Measure the shards of an experiment that are not there yet.

    Parameters
    ----------
    experiment : Experiment
    shards : collection of int, optional
        Counted from 0, in the order of :meth:`Experiment.shards`. Default: all whose data sets are available locally.
    folder : path, optional
        Where the tables lie. Default: ``data/results/NAME`` of the checkout.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    list of Path
        The tables that were written.

    Raises
    ------
    OutdatedError
        If a table there belongs to another entry; nothing is trained then.
    OSError
        If a table cannot be written.
    """
    paths = shard_paths(experiment, folder)
    tasks = experiment.chosen(screening_table(experiment))
    wanted = [
        (paths[name], part)
        for number, (name, part) in enumerate(experiment.shards(tasks))
        if (number in shards if shards is not None else not experiment.sets or experiment.sets[name].available)
    ]
    for path, _ in wanted:
        if path.is_file():
            refuse_outdated(path, experiment.sha256, f"the experiment {experiment.name!r}")
    written = []
    for path, part in wanted:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = experiment.measure(part, progress=progress)
            written.append(write_shard(rows, path.stem, path.parent, experiment.sha256))
    return written


def results(experiment: Experiment, folder: str | Path | None = None) -> pd.DataFrame:
    """Return the committed rows of an experiment.

    Parameters
    ----------
    experiment : Experiment
    folder : path, optional
        As in :func:`run`.

    Returns
    -------
    frame
        As :meth:`Experiment.measure` returns it, see :func:`.shards.unpacked` for the order.

    Raises
    ------
    OSError
        If some are missing.
    OutdatedError
        If they belong to another entry or population.
    """
    paths = [*shard_paths(experiment, folder).values()]
    present = [path for path in paths if path.is_file()]
    for path in present:
        refuse_outdated(path, experiment.sha256, f"the experiment {experiment.name!r}")
    if len(present) < len(paths):
        raise FileNotFoundError(
            f"{paths[0].parent.name} has {len(present)} of {len(paths)} shards yet: measure the others with "
            f"lookahead-nb experiment {experiment.name}"
        )
    return read_shards(paths)


def to_recompute(experiment: Experiment, words: str, number: int = 1) -> list[int]:
    """Return numbers of tasks that words choose, among the half with the fewest steps.

    Parameters
    ----------
    experiment : Experiment
    words : str
        For example the hash of a commit, which chooses other tasks than the one before.
    number : int, default 1
        How many, at least 1.

    Returns
    -------
    list of int
        In ascending order. Data sets that are not available locally are left out.

    Raises
    ------
    TypeError, ValueError
        If number is wrong.
    """
    return quick_tasks(experiment, experiment.chosen(screening_table(experiment)), words, number)


def quick_tasks(experiment: Experiment, tasks: pd.DataFrame, words: str, number: int) -> list[int]:
    """Return numbers of tasks that words choose, among the half of some tasks with the fewest steps.

    Parameters
    ----------
    experiment : Experiment
    tasks : frame
        Rows of :meth:`Experiment.chosen`.
    words, number
        As in :func:`to_recompute`.

    Returns
    -------
    list of int
        As :func:`to_recompute` returns it.

    Raises
    ------
    TypeError, ValueError
        If number is wrong.
    """
    if experiment.sets:
        tasks = tasks[[experiment.sets[name].available for name in tasks["set"]]]
    steps = tasks["steps"] if "steps" in tasks else tasks["modes"]  # exact results have none
    quick = tasks.loc[steps <= steps.median(), "number"]
    order = sorted(quick, key=lambda task: hashlib.sha256(f"{words} {task}".encode()).digest())
    return sorted(order[: whole_number("number", number, 1)])


def differing(
    experiment: Experiment,
    numbers: Collection[int],
    folder: str | Path | None = None,
    *,
    progress: bool | Callable[[int, int], None] = True,
) -> list[str]:
    """Train tasks again and return how their rows differ from the committed ones.

    Parameters
    ----------
    experiment : Experiment
    numbers : collection of int
        Of tasks of the experiment; none where its data sets are not available locally.
    folder : path, optional
        As in :func:`run`.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    list of str
        A sentence for each task with other rows. Numbers are compared bit for bit, except all of landscapes and those
        that :func:`.shards.different_tasks` names: their last digits follow the class of the CPU.

    Raises
    ------
    OSError, OutdatedError
        As :func:`results`.
    """
    kept = results(experiment, folder)
    if not numbers:
        return []
    tasks = experiment.chosen(screening_table(experiment))
    rows = experiment.measure(tasks[tasks["number"].isin(numbers)].reset_index(drop=True), progress=progress)
    exact = experiment.population not in landscape_tasks.POPULATIONS
    return [
        f"experiment {experiment.name}, task {number}: its committed rows are not those of its runs"
        for number in different_tasks(rows, kept, numbers, exact=exact)
    ]
