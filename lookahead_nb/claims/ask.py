"""Your own question: whether Lookahead is worth it on your table, with which settings, against all controls.

The protocol is that of the second trial on a single data set. AdamW alone is screened on seeds that nothing else uses.
Then every arm is trained at all learning rates of its own grid, and each replicate picks its rate by its own validation
loss. Arms are compared by the test loss there, paired by replicate. The rows of a large table are cut into disjoint
parts, one for each replicate. A small table is split again for each; its intervals use Nadeau and Bengio's bound.

The trial takes the first of equal validation losses. Here the lower rate wins, since a few rows of validation are
fitted by chance at high rates. The advice names the rate with the lowest mean validation loss over all replicates.

AdamW at ``lr * slow_step_size`` is no arm: tuned, it has the rates of AdamW and is the same arm.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import named_arguments, shown, whole, whole_number
from lookahead_nb.claims import screening, set_effects, trial
from lookahead_nb.claims.ask_advice import advice, comparison, interval, itself
from lookahead_nb.claims.ask_arms import ARMS, COMPARED, EQUAL_TRIALS, LOOKAHEAD, NAMES, SCREENING
from lookahead_nb.claims.ask_progress import Display, Stages, silent
from lookahead_nb.claims.modality import deciding_level
from lookahead_nb.claims.population import EVALUATED
from lookahead_nb.claims.real import RealSet, RealTask
from lookahead_nb.claims.trial_arms import RATES, SPACING, Grid, TrialArm, arms_of, runs_per_task
from lookahead_nb.claims.tuning import HOPELESS_ABOVE
from lookahead_nb.datasets.arrays import MixedTable
from lookahead_nb.datasets.tables import without_columns
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MARGIN = 1.0  # the smallest benefit that matters, in % of the gap between chance-level loss and best known loss
FEWEST_ROWS = 60
CHUNKS, SPLITS = 12, 20  # replicates of a large and of a small table
CHUNK_ROWS = 5000  # the fewest of a disjoint part, since optimizers differ by the number of rows too
MOST_CELLS = 10_000_000  # rows times columns that are used
PASSES, FEWEST_STEPS, MOST_STEPS = 30, 40, 2000  # passes over the training rows, unless these limits are reached
EVERY = 20  # steps are a multiple of it, so that every sync_period of the arms ends on a sync
FEWEST_PASSES, FEWEST_REPLICATES = 5, 8  # where this takes longer than a minute, the caps say so
WORK = 4e12  # floating-point operations of all runs, without wider grids: 20 s at 200 GFLOP/s
WORK_OF_A_MINUTE = 1.5 * WORK
MOST_LR = 1.0  # beyond, a few rows of validation are fitted by chance, and the test loss is not
TIE = 1e-6  # validation losses are equal up to it, relatively, or if both are below this share of chance level
RUNS = runs_per_task(arms_of(ARMS), 1)  # of a replicate, without wider grids
COLUMNS = ("arm", "control", "benefit", "low", "high", "level", "verdict")


@named_arguments
@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """The answer to :func:`ask`.

    Attributes
    ----------
    comparisons : DataFrame
        A row for each comparison: ``arm``, ``control``, ``benefit`` with ``low`` and ``high``, the ``level`` of this
        interval, and ``verdict``, as of :func:`.modality.verdict_by_mean`. A benefit is a fall of the test loss, in %
        of the gap between chance-level loss and best known loss. "AdamW" is the mean of two grids. Empty if AdamW
        learns nothing.
    arms : DataFrame
        A row for each arm: ``arm``; the mean ``test_loss`` of replicates that tune for themselves; ``lr``, the rate
        with the lowest mean validation loss over all replicates, which the advice recommends, with its ``retention``
        and ``sync_period``; ``lowest_lr`` and ``highest_lr`` that a replicate chose; ``on_edge``, the share of
        replicates that chose an end of the grid. If AdamW learns nothing, ``arm`` and ``test_loss`` alone.
    settings : dict
        How it was measured, with everything that was capped.
    """

    comparisons: pd.DataFrame
    arms: pd.DataFrame
    settings: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        if self.comparisons.empty:
            return f"Answer(nothing to compare, {self._number})"
        if differs := itself(self):
            return f"Answer(too small to compare optimizers: AdamW against itself {differs}, {self._number})"
        row = comparison(self, "lookahead")
        return f"Answer(Lookahead against AdamW: {interval(row)}, {row['verdict']}, {self._number})"

    @property
    def _number(self) -> str:
        return f"{self.settings['replicates']} replicates"

    @property
    def caps(self) -> list[str]:
        """How many rows, steps and replicates were used, and of how many: a sentence for each."""
        return _caps(self.settings)

    @property
    def advice(self) -> str:
        """What to do, and why, in one paragraph."""
        return " ".join(advice(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the benefit of every arm against AdamW with its interval.

        Parameters
        ----------
        ax : Axes, optional
            Where; a new figure by default.

        Returns
        -------
        Axes

        Raises
        ------
        TypeError
            If ax is no Axes of matplotlib.
        ValueError
            If there is nothing to compare.
        """
        from lookahead_nb.claims import ask_report  # it needs matplotlib

        return ask_report.plot(self.comparisons, self.settings["margin"], ax)

    def report(self, path: str | Path) -> Path:
        """Write the answer as a page that a browser shows without a network.

        Parameters
        ----------
        path : path
            Of a new file that ends in .html.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        TypeError, ValueError
            If path is no path, or ends otherwise.
        OSError
            If the file exists, or cannot be written.
        """
        from lookahead_nb.claims import ask_report  # it needs matplotlib

        return ask_report.write(self, path)


@named_arguments
def ask(
    X: Any,
    y: Any,
    *,
    drop: Iterable[Hashable] = (),
    hidden: Iterable[int] = (32,),
    steps: int | None = None,
    batch_size: int | None = None,
    replicates: int | None = None,
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = True,
) -> Answer:
    """Find out whether Lookahead is worth it on your table, with which settings, against all controls.

    It takes about a minute on two cores: rows, steps and replicates are capped for that unless you pass them.

    Parameters
    ----------
    X : (rows, columns) array or table
        At least 60 rows. As in :func:`.datasets.from_arrays`; a data frame may also hold text, categories and missing
        values, an array NaN. :mod:`.datasets.encoding` describes what becomes of them; it needs scikit-learn.
    y : (rows,) array
        Labels, as in :func:`.datasets.from_arrays`.
    drop : iterable
        Columns of X to leave out: names, or numbers from 0 where X has no names. Default: none.
    hidden : iterable of int
        The widths of the hidden layers, with ReLU; none for logistic regression. Default: one of 32.
    steps : int, optional
        A multiple of 20. Train as long as you would yourself: the answer depends on it. Default: about 30 passes over
        the training rows, from 40 to 2000 steps, fewer on wide tables.
    batch_size : int, optional
        At most the training rows of a replicate. Default: 32.
    replicates : int, optional
        At least 4. Default: 12 disjoint parts of a large table, 20 splits of a small one.
    seed : int, default 0
        In [0, 2**63). It decides splits, initial weights, batches and the exact rates of the grids.
    progress : bool or function
        As in :func:`lookahead_nb.sweep`; True also prints the caps first, on stderr. Default: True.

    Returns
    -------
    Answer
        With ``advice``, ``comparisons``, ``arms``, ``settings``, ``plot()`` and ``report(path)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; of X the message names the column. Nothing has been trained then.
    ModuleNotFoundError
        If X needs an encoding and scikit-learn is not installed.

    Warns
    -----
    UserWarning
        As in :func:`.datasets.from_arrays`.

    Notes
    -----
    Every arm has 24 learning rates at a spacing of 1.35, shifted by a random fraction of it. Each replicate chooses by
    its own validation loss. Losses within a relative 1e-6, or both below 1e-6 of the chance-level loss, are equal:
    there the lower rate wins. Where a choice lies at the end of a grid, all grids are trained again with 12 more rates
    there, up to twice. No rate is above 1: grids that would reach further lie lower. A test loss above chance level
    counts as chance level: with few rows of validation, a high rate can look good there by chance. "Lookahead, settings
    tuned too" has six grids, and is compared by the expectation over 24 of its trials. Intervals are at 95 %; those of
    the four averages and schedules hold together.

    "AdamW again" is a check. Where its benefit over AdamW is beyond 1 %, or the interval wider than 10 %, the table is
    too small to compare optimizers. The advice says so and recommends a learning rate only.

    AdamW is screened first, on other seeds. If its tuned test loss is above .95 of the chance-level loss after the
    given and after twice the steps, nothing is compared.

    Examples
    --------
    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> X = rng.normal(size=(200, 3)) + y[:, None]
    >>> answer = lnb.ask(X, y, hidden=(), steps=40, replicates=4, progress=False)
    >>> answer.arms["arm"].tolist()[:3]
    ['AdamW', 'AdamW again', 'Lookahead']
    """
    pd = whole("pandas")

    if not callable(progress) and not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function of two numbers, got {shown(progress)}")
    X, dropped = without_columns(X, drop)
    task, settings = _planned(X, y, hidden, steps, batch_size, replicates, seed)
    settings |= {"dropped": dropped}
    if progress is True:
        sys.stderr.write("".join(f"{line}\n" for line in _caps(settings)))
    arms, seeds = arms_of(ARMS), task.seeds
    others = _seeds(settings["seed"], SCREENING, "screening")
    display: AbstractContextManager[Any] = (
        Display(_screening_runs()) if progress is True else nullcontext(progress or silent)
    )
    with display as report:
        stages = Stages(report, settings["runs"])
        screened = screening.screened([task], others, progress=stages.next())
        found = screened.iloc[0]
        settings |= {"regime": str(found["regime"]), "chance": float(found["chance"])}
        if found["regime"] == "hopeless":
            return _nothing_learned(settings, found)
        rows = _measured(task, screened, arms, seeds, stages)
    replicated = [f"r{i}" for i in range(len(seeds))]
    rows[replicated] = rows[replicated].clip(upper=settings["chance"])
    own = rows[rows["tuning"] == trial.TUNINGS[0]]
    losses = own[replicated].mean(axis=1)
    settings["best"] = float(losses.min())
    of_arms = _arms_frame(own.assign(test_loss=losses), arms, len(seeds))
    if settings["best"] > HOPELESS_ABOVE * settings["chance"]:
        return Answer(pd.DataFrame(columns=[*COLUMNS]), of_arms, settings)
    return Answer(_comparisons(rows, pd.DataFrame([task.factors()]), settings["chance"]), of_arms, settings)


# ---------------------------------------------------------------------------------------------------------------- plan


def _planned(
    X: Any, y: Any, hidden: Any, steps: Any, batch_size: Any, replicates: Any, seed: Any
) -> tuple[RealTask, dict[str, Any]]:
    """Return the task and the settings, or refuse an argument."""
    if not np.iterable(hidden) or isinstance(hidden, (str, bytes, dict)):
        raise TypeError(f"hidden must be a list of whole numbers, got {shown(hidden)}")
    widths = tuple(whole_number(f"hidden[{i}]", width, 1) for i, width in enumerate(hidden))
    steps = None if steps is None else whole_number("steps", steps, EVERY)
    if steps and steps % EVERY:
        raise ValueError(f"steps must be a multiple of {EVERY}, so that every run ends on a sync, got {steps}")
    batch_size = None if batch_size is None else whole_number("batch_size", batch_size, 1)
    replicates = None if replicates is None else whole_number("replicates", replicates, 4, 1000)
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    table = MixedTable(X, y, FEWEST_ROWS)
    used = min(table.rows, max(MOST_CELLS // table.features, 2 * FEWEST_ROWS))
    parts = replicates or CHUNKS
    chunked = used // (parts + 1) >= CHUNK_ROWS
    rows = used // (parts + 1) if chunked else used
    number = parts if chunked else replicates or SPLITS
    of = RealSet(
        f"your own table, seed {seed}", widths, 1, (EVERY,), rows if chunked or used < table.rows else None,
        number if chunked else None, table=table,
    )  # fmt: skip
    seeds = _seeds(seed, number, "replicates")
    sized = RealTask(of, EVERY, seeds)
    first = sized.factors()
    fewest = min(len(sized.replicate(r).y_train) for r in (seeds if chunked else seeds[:1]))
    if batch_size and batch_size > fewest:
        raise ValueError(f"batch_size must be at most the {fewest} training rows of a replicate, got {batch_size}")
    batch_size = batch_size or min(32, fewest)
    layers = [table.features, *widths, 1 if len(table.classes) == 2 else len(table.classes)]
    cost = _Cost.of(layers, batch_size, [int(first[f"{part}_rows"]) for part in ("train", "validation", "test")])
    wanted, least = (_rounded(passes * first["train_rows"] / batch_size) for passes in (PASSES, FEWEST_PASSES))
    if not chunked and replicates is None:
        number = max(FEWEST_REPLICATES, min(SPLITS, cost.replicates(steps or min(least, MOST_STEPS))))
        seeds = seeds[:number]
    affordable = max(cost.steps(number), least)
    capped = max(FEWEST_STEPS, min(wanted, MOST_STEPS, affordable))
    of = replace(of, batch_size=batch_size, steps=(steps or capped,))
    settings = {
        "rows_of_table": table.rows, "rows": rows * (number + 1) if chunked else used, "columns": table.features,
        "encoded": table.encoded, "classes": [str(label) for label in table.classes.tolist()],
        "replicates": number, "disjoint": chunked, "rows_of_replicate": rows,
        **{name: int(first[name]) for name in ("train_rows", "validation_rows", "test_rows")},
        "hidden": widths, "batch_size": batch_size, "steps": steps or capped,
        "steps_capped": steps is None and capped < wanted,
        "replicates_capped": replicates is None and not chunked and number < SPLITS,
        "minutes": cost.of_run(steps or capped) * RUNS * number / WORK_OF_A_MINUTE,
        "rates": RATES, "runs": _screening_runs() + RUNS * number, "most_runs": _screening_runs() + _most_runs(number),
        "margin": MARGIN, "seed": seed,
    }  # fmt: skip
    return RealTask(of, steps or capped, seeds), settings


class _Cost(NamedTuple):
    """The floating-point operations of a step and of the evaluations of a run."""

    step: float
    evaluations: float

    @classmethod
    def of(cls, layers: list[int], batch_size: int, rows: list[int]) -> _Cost:
        weights = sum(a * b for a, b in itertools.pairwise(layers))
        return cls(6 * weights * batch_size, 3 * 2 * weights * sum(min(n, EVALUATED) for n in rows))

    def of_run(self, steps: int) -> float:
        return self.step * steps + self.evaluations

    def replicates(self, steps: int) -> int:
        """How many a minute allows."""
        return int(WORK / RUNS / self.of_run(steps))

    def steps(self, replicates: int) -> int:
        """How many a minute allows."""
        return EVERY * int((WORK / RUNS / replicates - self.evaluations) / self.step / EVERY)


def _rounded(steps: float) -> int:
    return max(EVERY, EVERY * round(steps / EVERY))


def _seeds(seed: int, number: int, what: str) -> tuple[int, ...]:
    """Return seeds that follow from one; no two purposes share any."""
    digests = (hashlib.sha256(f"ask {what} {seed} {i}".encode()).digest() for i in range(number))
    return tuple(int.from_bytes(digest[:7], "little") for digest in digests)


def _most_runs(replicates: int) -> int:
    """Return the number of runs of the arms if every round adds rates at both ends."""
    rates = sum(RATES + 2 * trial.WIDER * i for i in range(trial.ROUNDS + 1))
    return RUNS * replicates * rates // RATES


def _screening_runs() -> int:
    return screening.RATES * SCREENING


def _caps(settings: dict[str, Any]) -> list[str]:
    parts = " + ".join(f"{settings[name]:,}" for name in ("train_rows", "validation_rows", "test_rows"))
    of_all, number = settings["rows_of_table"], settings["replicates"]
    if settings["disjoint"]:
        cut = f"cut into {number + 1} parts, one for each replicate and one for screening"
    else:
        cut = "split again for each replicate"
    used = f"all {of_all:,}" if settings["rows"] == of_all else f"{settings['rows']:,} of {of_all:,}"
    passes = settings["steps"] * settings["batch_size"] / settings["train_rows"]
    capped, fewer = (
        f", capped so that {'a minute suffices' if settings['minutes'] < 2 else 'it takes minutes'}" if yes else ""
        for yes in (settings["steps_capped"], settings["replicates_capped"])
    )
    time = f", about {settings['minutes']:.0f} minutes" if settings["minutes"] >= 2 else ""
    grids = RUNS // RATES
    batches = f"{settings['steps']:,} of batch {settings['batch_size']}"
    rates = f"{settings['rates']} learning rates of {grids} grids"
    wider = f"up to {settings['most_runs']:,} with wider grids"
    runs = f"{settings['runs']:,} runs with those of screening, {wider}"
    return [
        f"rows: {used}, {cut}: {parts} for training, validation and test",
        f"steps: {batches}, {passes:.3g} passes over the training rows{capped}",
        f"replicates: {number}, each trained at {rates}: {runs}{fewer}{time}",
    ]


# ------------------------------------------------------------------------------------------------------------- results


def _measured(
    task: RealTask, screened: pd.DataFrame, arms: dict[str, TrialArm], seeds: tuple[int, ...], stages: Stages
) -> pd.DataFrame:
    """Return the rows of all arms, with wider grids where it takes them."""
    centre, chance = (float(screened[name].iloc[0]) for name in ("centre", "chance"))
    grids = [grid for arm in arms.values() for grid in arm.grids]
    most = max(_room(grid, task.number, centre) for grid in grids)
    wider: dict[tuple[int, int], pd.DataFrame] = {}

    def measured(tasks: pd.DataFrame) -> pd.DataFrame:
        below, above = int(tasks["below"].iloc[0]), min(int(tasks["above"].iloc[0]), max(most, 0))
        if (below, above) not in wider:
            rates = {grid: _rates(grid, task.number, centre, below, above) for grid in grids}
            wider[below, above] = _trained(task, arms, rates, seeds, chance, stages.next())
        return wider[below, above]

    rows = measured(screened.assign(below=0, above=0))
    return trial.widened(screened, rows, measured)


def _room(grid: Grid, number: int, centre: float) -> int:
    """Return how many rates a grid can have above its own up to ``MOST_LR``; negative if it reaches beyond."""
    return math.floor(math.log(MOST_LR / grid.rates(number, centre)[-1]) / math.log(SPACING))


def _rates(grid: Grid, number: int, centre: float, below: int, above: int) -> list[float]:
    """Return the rates of a wider grid. Those above ``MOST_LR`` are replaced by as many below the others."""
    above, wanted = min(above, _room(grid, number, centre)), above
    return grid.rates(number, centre, below + wanted - above, above)


def _trained(
    task: RealTask,
    arms: dict[str, TrialArm],
    rates: dict[Grid, list[float]],
    seeds: tuple[int, ...],
    chance: float,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Return the rows of :func:`.trial.measure` for this task, with ties for the lower rate.

    ``lr`` and ``grid`` are further columns: the run with the lowest mean validation loss over all replicates.
    """
    (part,) = trial.parts_of(task, arms)
    configs = [grid.optimizer(lr, task.steps) for grid in part.grids for lr in rates[grid]]
    todo = Task(
        task.name, task.model, task.replicate, task.steps, task.batch_size, eval_rows=EVALUATED, configs=configs
    )
    values = trial.values_of(sweep([todo], None, None, seeds=seeds, progress=progress), part, len(seeds))
    found = []
    for name, arm in arms.items():
        keys = [(grid, arm.weights, task.steps, "validation_loss") for grid in arm.grids]
        runs = [(grid.name, lr) for grid in arm.grids for lr in rates[grid]]
        losses, lrs = np.concatenate([values[key] for key in keys], axis=1), np.array([lr for _, lr in runs])
        grid, lr = runs[int(_preferred(losses.mean(axis=0)[None], lrs, chance).argmin())]
        ranks = np.split(_preferred(losses, lrs, chance), len(keys), axis=1)
        ranked = values | dict(zip(keys, ranks, strict=True))
        found += [
            {"number": task.number, "arm": name, "multiple": 1.0} | row | {"grid": grid, "lr": lr}
            for row in trial.reduced(arm, task.steps, ranked, runs)
            if row["metric"] == "test loss" and row["tuning"] in (trial.TUNINGS[0], EQUAL_TRIALS)
        ]
    return whole("pandas").DataFrame(found)


def _preferred(validation: np.ndarray, rates: np.ndarray, chance: float) -> np.ndarray:
    """Return the rank of each run, 0 for the best: by its validation loss, and at equal losses by its rate.

    validation : (replicates, runs) array, as is the result; rates : (runs,) array.
    """
    losses = np.maximum(np.where(np.isnan(validation), np.inf, validation), TIE * chance)
    order = losses.argsort(axis=1)
    rising = np.take_along_axis(losses, order, axis=1)
    worse = rising > (1 + TIE) * np.concatenate([rising[:, :1], rising[:, :-1]], axis=1)
    levels = np.empty(losses.shape)
    np.put_along_axis(levels, order, worse.cumsum(axis=1), axis=1)
    return np.lexsort((np.broadcast_to(rates, losses.shape), levels)).argsort(axis=1)


def _comparisons(rows: pd.DataFrame, factors: pd.DataFrame, chance: float) -> pd.DataFrame:
    pd = whole("pandas")

    of_chance = pd.Series({number: chance for number in factors["number"]})
    found = []
    for arm, controls, deciding, tuning in COMPARED:
        benefits = 100 * trial.shares_of_gap(rows, of_chance, arm, controls, tuning=tuning)
        level = deciding_level(deciding)
        judged = set_effects.judged(benefits, factors, "mean", MARGIN, level)
        row = {"arm": NAMES[arm], "control": NAMES[controls[0]], "benefit": judged["value"], "level": level}
        found.append(row | {name: judged[name] for name in ("low", "high", "verdict")})
    return pd.DataFrame(found)[[*COLUMNS]]


def _arms_frame(own: pd.DataFrame, arms: dict[str, TrialArm], replicates: int) -> pd.DataFrame:
    found = []
    for name, arm in arms.items():
        row = own[own["arm"] == name].iloc[0]
        chosen = [row[f"lr{i}"] for i in range(replicates)]
        (grid,) = (grid for grid in arm.grids if grid.name == row["grid"])
        settings = dict(grid.settings)
        found.append(
            {
                "arm": NAMES[name],
                "test_loss": row["test_loss"],
                "lr": row["lr"],
                "lowest_lr": min(chosen),
                "highest_lr": max(chosen),
                "retention": 1 - settings["slow_step_size"] if grid.around == LOOKAHEAD else None,
                "sync_period": settings["sync_period"] if grid.around == LOOKAHEAD else None,
                "on_edge": row["lowest"] + row["highest"],
            }
        )
    return whole("pandas").DataFrame(found).astype({"retention": np.float64, "sync_period": "Int64"})


def _nothing_learned(settings: dict[str, Any], found: pd.Series) -> Answer:
    pd = whole("pandas")

    arms = pd.DataFrame({"arm": [NAMES["adamw"]], "test_loss": [found["loss"]]})
    settings["best"] = float(found["loss"])
    return Answer(pd.DataFrame(columns=[*COLUMNS]), arms, settings)
