"""Experiments: which tasks are trained with which arms and seeds, registered in files, and their committed rows.

A file in ``data/claims/experiments`` registers an experiment. Its hash covers the file and the declared population, and
its seeds follow from that hash. So a change of either makes the committed rows outdated, and they are refused. The
population is that of generated tasks, or real data sets, which the file lists.

Rows are measured in shards of a few tasks, or of a data set. Each is a table of its own with its manifest, so that an
interruption loses one shard at most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb import provenance
from lookahead_nb.checks import whole, whole_number
from lookahead_nb.claims import convergence, landscape_tasks, landscape_trial, real, screening, trial
from lookahead_nb.claims.population import EVALUATED, generated, ranges_sha256
from lookahead_nb.claims.records import OutdatedError
from lookahead_nb.claims.statements import seeds_of
from lookahead_nb.claims.trial_arms import Grid, TrialArm, arms_of
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys, text, toml_file

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "data/claims/experiments"
SHARD = 20  # tasks
LAST_DIGITS = 1e-6  # relative; rows have 8 digits
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
OF_LANDSCAPES = ("about", "population", "replicates", "metrics", "tasks", "arms")
OF_ROW = ("number", "set", "steps", "arm", "multiple", "rates")  # set and steps on real data sets only
OF_TASKS = ("quotas", "first", "least_rows", "most_rows", "least_steps", "most_steps")


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
        Which tasks of the generated population: the keys of ``OF_TASKS``.
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
        "generated", "real", or of a :class:`LandscapeExperiment` a key of ``landscape_tasks.POPULATIONS``.
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
            The first rows of :meth:`drawn`, or the first of each class; of real data sets all.
        """
        if self.sets:
            return self.drawn(screened)
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
            numbered = {number: generated(number) for number in tasks["number"]}
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

    @property
    def screening_seeds(self) -> list[int]:
        """The four seeds of its screening, on which no arm is compared."""
        return screening_seeds() if not self.sets else seeds_of(self.sha256, 4, 2**32)

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
            ``SHARD`` tasks each; or those of a data set, with its name.
        """
        if self.sets:
            yield from ((str(name), part) for name, part in tasks.groupby("set", sort=False))
            return
        for first in range(0, len(tasks), SHARD):
            yield f"{first // SHARD:02d}", tasks.iloc[first : first + SHARD]


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
        return landscape_trial.measure(
            self.population, tasks["number"].tolist(), self.arms, self.seeds(attempt), self.replicates,
            metrics=self.metrics, progress=progress,
        )  # fmt: skip


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
        One on real data sets has a screening of its own. Default: the screening of the tasks 10,000 to 11,999.

    Returns
    -------
    frame
        As :func:`.screening.screen` or :func:`screen_sets` returns it.

    Raises
    ------
    OSError
        If the table is missing.
    OutdatedError
        If it was made with other ranges of the population, or another entry.
    """
    if experiment and experiment.sets:
        path = provenance.committed(f"data/results/{experiment.name}_screening.csv")
        _refuse_outdated(path, experiment.sha256, f"the experiment {experiment.name!r}")
        return provenance.read_table(path)
    path = provenance.committed("data/results/screening.csv")
    _refuse_outdated(path, ranges_sha256(), "the declared population")
    return provenance.read_table(path)


def screen_sets(experiment: Experiment, *, progress: bool | Callable[[int, int], None] = True) -> pd.DataFrame:
    """Screen the tasks of an experiment on real data sets.

    Parameters
    ----------
    experiment : Experiment
        With sets. Those that are not available locally are left out.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        What :meth:`.real.RealTask.factors` and :func:`.screening.screened` return.

    Raises
    ------
    ValueError
        If the experiment has no sets.
    OSError
        If a file of a set is wrong.
    """
    pd = whole("pandas")

    if not experiment.sets:
        raise ValueError(f"experiment must be one on real data sets, got {experiment.name!r}")
    tasks = [task for task in experiment.real_tasks() if task.of.available]
    found = screening.screened(tasks, experiment.screening_seeds, progress=progress)
    return pd.DataFrame([task.factors() for task in tasks]).merge(found, on="number")


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
    - ``population``: "generated" (the default), "real", or a key of ``landscape_tasks.POPULATIONS``. Of the keys below
      the last have ``about``, ``replicates`` (1 on "quadratics"), ``metrics`` of ``landscape_trial.METRICS``, ``arms``,
      and in ``[tasks]`` ``first``.
    - ``replicates``: at least 2.
    - ``[sets]``, for the population "real": see :func:`.real.read`.
    - ``[tasks]``, for the generated population: either ``quotas``, the most tasks of each class, or ``first``, the
      number of tasks in the order of the draw, among those with ``least_rows``, ``most_rows``, ``least_steps`` and
      ``most_steps``. Hopeless tasks are never used.
    - ``metrics``, ``tunings``, ``ranges_of``, ``curves``: as in :func:`.trial.measure`.
    - ``widened_for``: some of the metrics, by default "test loss". They decide whether the grids of a task are widened,
      see :func:`.trial.widened`.
    - ``centres``: "AdamW" (the default) or "own", the middle of the grids.
    - ``[arms.NAME]``: as in :func:`.trial_arms.read`.
    """
    written = toml_file(provenance.committed(f"{FOLDER}/{name}.toml") if path is None else path)
    population = choice(
        "population", written.get("population", "generated"), (*POPULATIONS, *landscape_tasks.POPULATIONS)
    )
    if population in landscape_tasks.POPULATIONS:
        return _read_landscapes(name, written, population)
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
        entry_of_population = ranges_sha256()
    with inside("arms"):
        arms = arms_of(table_of_keys("arms", written.get("arms")))
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


def _read_landscapes(name: str, written: dict[str, Any], population: str) -> LandscapeExperiment:
    known_keys("", written, OF_LANDSCAPES)
    tasks = table_of_keys("tasks", written.get("tasks"))
    known_keys("tasks.", tasks, ("first",))
    with inside("tasks"):
        whole_number("first", tasks.get("first"), 2)
    with inside("arms"):
        arms = arms_of(table_of_keys("arms", written.get("arms")))
    known = landscape_trial.METRICS[population]
    metrics = tuple(choice("metrics", item, known) for item in names("metrics", written.get("metrics", [*known])))
    exact = landscape_trial.seeds_needed(population, 1) == 0
    replicates = whole_number("replicates", written.get("replicates"), *((1, 1) if exact else (2,)))
    return LandscapeExperiment(
        name, text("about", written.get("about")), replicates, tasks, {}, arms, metrics, tunings=trial.TUNINGS[:1],
        ranges_of=(), curves=(), widened_for=(), own_centres=False,
        sha256=_entry_sha256(written, landscape_tasks.landscape_sha256(population)), population=population,
    )  # fmt: skip


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
        If a table there belongs to another entry.
    OSError
        If a table cannot be written.
    """
    folder = Path(folder) if folder else provenance.committed("data/results") / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    tasks = experiment.chosen(screening_table(experiment))
    written = []
    for number, (name, part) in enumerate(experiment.shards(tasks)):
        wanted = number in shards if shards is not None else not experiment.sets or experiment.sets[name].available
        if not wanted:
            continue
        path = folder / f"{name}.csv"
        if path.is_file():
            _refuse_outdated(path, experiment.sha256, f"the experiment {experiment.name!r}")
            continue
        rows = experiment.measure(part, progress=progress)
        written.append(provenance.write_table(packed(rows), name, folder=folder, entry=experiment.sha256))
    return written


def packed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with all metrics and ways of tuning side by side, in which they take half of the bytes.

    Parameters
    ----------
    rows : frame
        Of :meth:`Experiment.measure`.

    Returns
    -------
    frame
        A row for each task, arm and multiple; columns such as "r0: test loss, own".
    """
    keys = [name for name in OF_ROW if name in rows]
    wide = rows.set_index([*keys, "metric", "tuning"]).unstack(["metric", "tuning"]).dropna(axis=1, how="all")
    wide = wide.loc[rows.set_index(keys).index.unique()]
    order = [(metric, tuning) for metric in rows["metric"].unique() for tuning in rows["tuning"].unique()]
    columns = sorted(wide.columns, key=lambda column: order.index(column[1:]))
    wide = wide[columns]
    wide.columns = [f"{value}: {metric}, {tuning}" for value, metric, tuning in columns]
    return wide.reset_index()


def unpacked(table: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`packed` was called with, in the order of tasks, arms, multiples, metrics and ways of tuning.

    Parameters
    ----------
    table : frame
        Of :func:`packed`.

    Returns
    -------
    frame
        As :meth:`Experiment.measure` returns it.
    """
    pd = whole("pandas")

    keys = [name for name in OF_ROW if name in table]
    kinds = dict.fromkeys(name.partition(": ")[2] for name in table if ": " in name)
    parts = []
    for kind in kinds:
        metric, tuning = kind.rsplit(", ", 1)
        own = table[[*keys, *(name for name in table if name.endswith(f": {kind}"))]]
        own = own.rename(columns=lambda name: name.partition(": ")[0])
        parts.append(own[own["r0"].notna()].assign(metric=metric, tuning=tuning))
    rows = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    values = [name for name in rows if name[0] == "r" and name[1:].isdigit()]
    for name in ("lowest", "highest"):
        if name not in rows:
            rows[name] = np.nan
    first = [name for name in keys if name not in ("arm", "multiple", "rates")]
    return rows[[*first, *trial.KEYS[1:], *values, "lowest", "highest", "rates"]]


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
        As :meth:`Experiment.measure` returns it, see :func:`unpacked` for the order.

    Raises
    ------
    OSError
        If some are missing.
    OutdatedError
        If they belong to another entry or population.
    """
    pd = whole("pandas")

    folder = Path(folder) if folder else provenance.committed("data/results") / experiment.name
    paths = sorted(folder.glob("*.csv"))
    shards = sum(1 for _ in experiment.shards(experiment.chosen(screening_table(experiment))))
    if len(paths) < shards:
        raise FileNotFoundError(
            f"{folder.name} has {len(paths)} of {shards} shards yet: measure it with experiments.run"
        )
    for path in paths:
        _refuse_outdated(path, experiment.sha256, f"the experiment {experiment.name!r}")
    return pd.concat([unpacked(provenance.read_table(path)) for path in paths], ignore_index=True)


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
    tasks = experiment.chosen(screening_table(experiment))
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
        Of tasks of the experiment.
    folder : path, optional
        As in :func:`run`.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    list of str
        A sentence for each task with other rows. Numbers are compared bit for bit, except those with a logarithm or a
        power, "own of 24", ranges of rates and all of landscapes: their last digits follow the class of the CPU.

    Raises
    ------
    OSError, OutdatedError
        As :func:`results`.
    """
    kept = results(experiment, folder)
    tasks = experiment.chosen(screening_table(experiment))
    chosen = tasks[tasks["number"].isin(numbers)].reset_index(drop=True)
    rows = experiment.measure(chosen, progress=progress)
    rows = rows.reindex(columns=kept.columns)  # a data set may have fewer replicates than another
    sentences = []
    for number in numbers:
        here, there = (
            frame[frame["number"] == number].sort_values(trial.KEYS, ignore_index=True) for frame in (rows, kept)
        )
        keys = [name for name in here if not name[1:].isdigit()]
        values = [name for name in here if name not in keys]
        same = list(here) == list(there) and here[keys].equals(there[keys])
        if same:
            exact = ~(here["tuning"].eq(trial.TUNINGS[2]) | here["metric"].isin([*trial.RANGES, convergence.METRIC]))
            exact &= experiment.population not in landscape_tasks.POPULATIONS
            same = here.loc[exact, values].equals(there.loc[exact, values]) and bool(
                np.allclose(here[values], there[values], rtol=LAST_DIGITS, atol=0, equal_nan=True)
            )
        if not same:
            sentences.append(
                f"experiment {experiment.name}, task {number}: its committed rows are not those of its runs"
            )
    return sentences


def _refuse_outdated(path: Path, entry: str, what: str) -> None:
    manifest = path.with_suffix(".json")
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest.name} is missing next to {path.name}")
    if (found := json.loads(manifest.read_text(encoding="utf-8")).get("entry")) != entry:
        raise OutdatedError(
            f"{path.name} must belong to {what} as registered (hash {entry[:12]}), got {str(found)[:12]}: measure again"
        )
