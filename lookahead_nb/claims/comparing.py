"""What comparing optimizers costs: the crossed design whose runs show where a measured difference comes from.

A *draw* is a data set of fresh rows from a generated task. A *split* divides a data set into training, validation and
test part. On every split each optimizer is trained at all learning rates of its grid, from several seeds. A seed
decides the initial weights and the order of the minibatches. Some seeds serve only to choose a rate, the others only to
report a loss, as in a careful paper. Seeds differ between splits, so the design is nested except that every choice of a
rate meets every reporting seed.

The rates of an optimizer lie around the one that was best on other rows of the task. Each grid is shifted by a random
fraction of its spacing, and AdamW has two grids: whatever differs between them is luck.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb import provenance
from lookahead_nb.checks import default_errors, one_of, whole, whole_number
from lookahead_nb.claims import screening
from lookahead_nb.claims.population import (
    GeneratedTask,
    chance,
    generated,
    made_dataset,
    population,
    power,
    ranges_sha256,
    seeds_of,
)
from lookahead_nb.claims.shards import refuse_outdated, write_whole
from lookahead_nb.claims.trial_arms import arms_of
from lookahead_nb.claims.tuning import LEAST_LOSS
from lookahead_nb.datasets import Dataset
from lookahead_nb.kernels.philox import RATES as OFFSETS
from lookahead_nb.kernels.philox import SPLITS, permutation, uniforms
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

NAME = "comparing"  # of the folder in data/results
ARMS = {
    name: arm.grids[0]
    for name, arm in arms_of(
        {
            "adamw": {"optimizer": "AdamW"},
            "adamw_again": {"optimizer": "AdamW"},
            "adam": {"optimizer": "Adam"},
            "lookahead": {"optimizer": "Lookahead", "inner": "AdamW", "sync_period": 5, "slow_step_size": 0.5},
            "ema": {"optimizer": "EMA", "inner": "AdamW", "window": "steps/10"},
            "schedule_free": {"optimizer": "ScheduleFreeAdamW"},
            "momentum": {"optimizer": "SGD", "momentum": 0.9},
        }
    ).items()
}
CONTROL, AGAIN = "adamw", "adamw_again"
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # the rates of a grid in rising order
FINE, COARSE = (1, 2, 3, 6, 12, 24), (1, 3, 6, 12)  # tuning seeds for which choices are kept
TUNING = max(FINE)  # tuning seeds of a split
EVERY = 3  # a coarse grid has every third rate
SHARD = 2  # tasks
KEYS = ["number", "draw", "split", "arm"]


@dataclass(frozen=True)
class Design:
    """How many of everything, and which tasks.

    Attributes
    ----------
    first : int
        The number from which generated tasks are considered, in the order of their numbers.
    tasks : int
        Those that can be learned, by the screening.
    draws, splits : int
        Data sets of a task, and splits of each data set; at least 2.
    reporting_seeds : int
        Of each split, at least 2, in addition to ``TUNING`` seeds.
    rates : int
        Of a grid, at most 26.
    spacing : float
        The ratio of neighbouring rates.
    most_steps, most_rows, most_work : int
        Only tasks with at most as many are considered; the work is steps times batch size times weights.
    """

    first: int = 80_000
    tasks: int = 40
    draws: int = 3
    splits: int = 2
    reporting_seeds: int = 4
    rates: int = 12
    spacing: float = 1.6
    most_steps: int = 300
    most_rows: int = 3000
    most_work: int = 8_000_000

    @property
    def sha256(self) -> str:
        """The hash of the design, its arms and the population; all seeds follow from it."""
        arms = [[name, repr(grid.optimizer(1e-3, 100))] for name, grid in ARMS.items()]
        entry = [asdict(self), arms, [*FINE], [*COARSE], EVERY, ranges_sha256()]
        return hashlib.sha256(json.dumps(entry).encode()).hexdigest()

    def seeds(self, words: str, number: int) -> list[int]:
        """Return seeds for a purpose.

        Parameters
        ----------
        words : str
            The purpose.
        number : int
            How many.

        Returns
        -------
        list of int
        """
        return seeds_of(hashlib.sha256(f"{self.sha256} {words}".encode()).hexdigest(), number)

    def considered(self) -> Iterator[GeneratedTask]:
        """Yield the tasks that are small enough, in the order of their numbers and without end."""
        number = self.first
        while True:
            task = generated(number)
            small = task.steps <= self.most_steps and task.rows <= self.most_rows
            if small and task.steps * task.batch_size * task.model.size <= self.most_work:
                yield task
            number += 1

    @property
    def runs(self) -> int:
        """The number of runs of a task, without its screening."""
        seeds = TUNING + self.reporting_seeds
        return self.draws * self.splits * len(ARMS) * self.rates * seeds


REGISTERED = Design()
PILOT = Design(first=8000, tasks=6, draws=2)


def screen(design: Design = REGISTERED, *, progress: bool | Callable[[int, int], None] = True) -> pd.DataFrame:
    """Return the tasks of a design that can be learned, and the rates around which their grids lie.

    Parameters
    ----------
    design : Design, default REGISTERED
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    frame
        The rows of :func:`.screening.screen` without hopeless tasks, and a column ``centre_ARM`` for each arm:
        :func:`.screening.centres`. The screening has four replicates of its own, which no run of the design uses.
    """
    pd = whole("pandas")

    seeds, tasks, found = design.seeds("screening", 4), design.considered(), list[Any]()
    while sum(map(len, found)) < design.tasks:
        some = [task for _, task in zip(range(max(4, design.tasks // 4)), tasks, strict=False)]
        frame = screening.screened(some, seeds, progress=progress)
        found.append(frame[frame["regime"] != "hopeless"])
    kept = pd.concat(found, ignore_index=True).head(design.tasks).drop(columns="centre")
    factors = population(kept["number"].tolist()).reset_index()
    alone = {name: grid.optimizer for name, grid in ARMS.items() if name != AGAIN}
    chosen = [generated(number) for number in kept["number"]]
    centre = screening.centres(chosen, alone, seeds, progress=progress)
    for name in ARMS:
        of = CONTROL if name == AGAIN else name
        kept[f"centre_{name}"] = [centre[number, of] for number in kept["number"]]
    return factors.merge(kept, on="number")


def dataset(task: GeneratedTask, draw: int, split: int) -> Dataset:
    """Return a data set of a task, divided into three parts.

    Parameters
    ----------
    task : GeneratedTask
        It decides the rows of the training part. Validation and test part have a third as many each, 2000 at most.
    draw, split : int
        The seeds of the rows and of their division.

    Returns
    -------
    Dataset
        Splits of one draw divide the same rows.
    """
    rows = task.replicate(draw)
    held = len(rows.y_validation)
    X = np.concatenate([rows.X_train, rows.X_validation, rows.X_test[:held]])
    y = np.concatenate([rows.y_train, rows.y_validation, rows.y_test[:held]])
    order = permutation(len(y), split, SPLITS)
    parts = [order[2 * held :], order[:held], order[held : 2 * held]]
    return made_dataset(task.name, X, y, parts, task.classes, split)


def rates(design: Design, number: int, arm: str, centre: float) -> list[float]:
    """Return the learning rates of an arm on a task, ``centre * spacing**(j - rates/2 + u)``, j = 0, 1, ...

    Parameters
    ----------
    design : Design
    number : int
        That of the task.
    arm : str
        A key of ``ARMS``; the shift u, uniform in [0, 1), depends on it and on the number.
    centre : float
        Above 0.

    Returns
    -------
    list of float
    """
    block = int.from_bytes(hashlib.sha256(f"{NAME} {arm}".encode()).digest()[:4], "little")
    shift = float(uniforms(1, number, OFFSETS, block)[0])
    return [centre * power(design.spacing, j - design.rates / 2 + shift) for j in range(design.rates)]


def measure(
    screened: pd.DataFrame,
    design: Design = REGISTERED,
    cells: Collection[tuple[int, int]] | None = None,
    *,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Train all arms on tasks, and keep what the choices of rates and the reported losses need.

    Parameters
    ----------
    screened : frame
        Rows of :func:`screen`.
    design : Design, default REGISTERED
    cells : collection of (int, int), optional
        Draws and splits, counted from 0. Default: all.
    progress
        As in :func:`lookahead_nb.sweep`, for each split.

    Returns
    -------
    frame
        A row for each task, draw, split and arm: ``number``, ``draw``, ``split``, ``arm``, and three texts.

        - ``fine``: the chosen rates as letters, "a" the lowest. First those of one tuning seed each, then of two, and
          so on as in ``FINE``. The lowest mean validation loss decides.
        - ``coarse``: the same for ``COARSE``, where each choice is made on three grids that have every third rate.
        - ``losses``: for each rate that was chosen its letter and the test loss of each reporting seed, to 5 digits.
          A loss above that of guessing, which is a diverged run too, counts as that of guessing.
    """
    pd = whole("pandas")

    every = [(draw, split) for draw in range(design.draws) for split in range(design.splits)]
    found = []
    for of_task in screened.to_dict("records"):
        task = generated(of_task["number"])
        for draw, split in every if cells is None else cells:
            found += _cell(design, task, of_task, draw, split, progress)
    return pd.DataFrame(found)


def _cell(
    design: Design,
    task: GeneratedTask,
    of_task: dict[str, Any],
    draw: int,
    split: int,
    progress: bool | Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Return the rows of a split."""
    (rows,) = design.seeds(f"{task.number} draw {draw}", 1)
    order, *seeds = design.seeds(f"{task.number} draw {draw} split {split}", 1 + TUNING + design.reporting_seeds)
    data = dataset(task, rows, order)
    configs = [
        grid.optimizer(lr, task.steps)
        for name, grid in ARMS.items()
        for lr in rates(design, task.number, name, of_task[f"centre_{name}"])
    ]
    held = len(data.y_validation)  # fewer training rows are evaluated, which nobody reads
    todo = Task(task.name, task.model, data, task.steps, task.batch_size, eval_at=[], eval_rows=held)
    histories = sweep([todo], None, configs, seeds=seeds, progress=progress)
    last = histories[histories["step"] == task.steps]
    last = last[(last["weights"] == "slow") | (last.groupby("run")["weights"].transform("nunique") == 1)]
    shape = len(ARMS), design.rates, len(seeds)
    validation, test = (last[f"{part}_loss"].to_numpy(np.float64).reshape(shape) for part in ("validation", "test"))
    guessing, _ = chance(data.y_train, data.y_test, task.classes)
    keys = {"number": task.number, "draw": draw, "split": split}
    return [
        keys | {"arm": name} | kept(choose, report, guessing)
        for name, choose, report in zip(ARMS, validation, test, strict=True)
    ]


@default_errors
def kept(validation: np.ndarray, test: np.ndarray, guessing: float) -> dict[str, str]:
    """Return the three texts of :func:`measure` for an arm on a split.

    Parameters
    ----------
    validation : (rates, seeds) array
        Losses, of which those of the first ``TUNING`` seeds choose; NaN counts as infinite.
    test : (rates, seeds) array
        Losses, of which those of the other seeds are reported; NaN counts as the loss of guessing.
    guessing : float
        The loss of guessing by class frequencies.

    Returns
    -------
    dict
    """
    choosing = validation[:, :TUNING]
    choices = [[*choose(choosing, n)] for n in FINE], [[*choose(choosing, n, EVERY)] for n in COARSE]
    fine, coarse = ("".join(LETTERS[i] for some in of for i in np.ravel(some)) for of in choices)
    capped = np.fmin(test[:, TUNING:], guessing)
    losses = [
        " ".join([letter, *(f"{x:.5g}" for x in capped[LETTERS.index(letter)])]) for letter in sorted({*fine, *coarse})
    ]
    return {"fine": fine, "coarse": coarse, "losses": " ".join(losses)}


def choose(validation: np.ndarray, seeds: int, every: int = 1) -> np.ndarray:
    """Return the rates with the lowest mean validation loss over some seeds.

    Parameters
    ----------
    validation : (rates, tuning seeds) array
        Losses; NaN counts as infinite. The first of equally good rates is chosen, the lowest.
    seeds : int
        How many seeds choose together; it divides their number.
    every : int, default 1
        The rates of a grid are ``every`` apart; there are as many grids.

    Returns
    -------
    (blocks,) or (blocks, every) int array
        A choice for each block of consecutive seeds, with ``every`` above 1 for each grid.
    """
    losses = np.where(np.isnan(validation), np.inf, validation)
    blocks = losses.reshape(len(losses), -1, seeds).sum(axis=2)  # the order of the sum is that of the seeds
    of_grids = [first + every * blocks[first::every].argmin(axis=0) for first in range(every)]
    return of_grids[0] if every == 1 else np.stack(of_grids, axis=-1)


# ------------------------------------------------------------------------------------------------------------- shards


def folder() -> Path:
    """Return the folder of the committed rows."""
    return provenance.committed("data/results") / NAME


def screening_table(design: Design = REGISTERED) -> pd.DataFrame:
    """Return the committed screening.

    Parameters
    ----------
    design : Design, default REGISTERED

    Returns
    -------
    frame
        Of :func:`screen`.

    Raises
    ------
    OSError
        If the table is missing.
    OutdatedError
        If it belongs to another design.
    """
    path = provenance.committed(f"data/results/{NAME}_screening.csv")
    refuse_outdated(path, design.sha256, "the design of comparisons")
    return provenance.read_table(path)


def run(shards: Sequence[int] | None = None, *, progress: bool | Callable[[int, int], None] = True) -> list[Path]:
    """Measure the shards of the registered design that are not there yet, and write them to the committed rows.

    Parameters
    ----------
    shards : sequence of int, optional
        Of 2 tasks each, counted from 0. Default: all.
    progress
        As in :func:`lookahead_nb.sweep`.

    Returns
    -------
    list of Path
        The tables that were written.

    Raises
    ------
    OutdatedError
        If the screening or a table belongs to another design.
    OSError
        If a table cannot be written.
    """
    design, written = REGISTERED, []
    screened = screening_table(design)
    for number in range(-(-len(screened) // SHARD)):
        path = folder() / f"{number:02d}.csv"
        if path.is_file():
            refuse_outdated(path, design.sha256, "the design of comparisons")
        elif shards is None or number in shards:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = measure(screened.iloc[SHARD * number : SHARD * (number + 1)], design, progress=progress)
            written.append(write_whole(rows, path.stem, path.parent, design.sha256))
    return written


def results(where: Path | None = None) -> pd.DataFrame:
    """Return the committed rows of the registered design.

    Parameters
    ----------
    where : Path, optional
        Their folder. Default: that of the checkout.

    Returns
    -------
    frame
        As :func:`measure` returns it.

    Raises
    ------
    OSError
        If there are none.
    OutdatedError
        If they belong to another design.
    """
    paths = sorted((where or folder()).glob("[0-9][0-9].csv"))
    if not paths:
        raise FileNotFoundError(f"data/results/{NAME} has no rows yet: measure them with comparing.run()")
    for path in paths:
        refuse_outdated(path, REGISTERED.sha256, "the design of comparisons")
    return whole("pandas").concat([provenance.read_table(path) for path in paths], ignore_index=True)


# ----------------------------------------------------------------------------------------------------------- decoding


def log_losses(rows: pd.DataFrame, arm: str, seeds: int, grid: str = "fine") -> dict[int, np.ndarray]:
    """Return the logarithms of the reported test losses of an arm, for every choice of a rate.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    arm : str
        A key of ``ARMS``.
    seeds : int
        Tuning seeds of each choice: one of ``FINE``, or of ``COARSE`` on coarse grids.
    grid : {"fine", "coarse"}, default "fine"

    Returns
    -------
    dict of int to array
        By number of the task: (draws, splits, choices, reporting seeds), on coarse grids (draws, splits, choices,
        grids, reporting seeds).

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    kinds = FINE if one_of("grid", grid, ("fine", "coarse")) == "fine" else COARSE
    if whole_number("seeds", seeds, 1) not in kinds:
        raise ValueError(f"seeds must be one of {', '.join(map(str, kinds))} on {grid} grids, got {seeds}")
    own = rows[rows["arm"] == one_of("arm", arm, ARMS)]
    blocks, grids = TUNING // seeds, 1 if grid == "fine" else EVERY
    first = sum(TUNING // n * grids for n in kinds[: kinds.index(seeds)])
    logs: dict[int, list[np.ndarray]] = {}
    cells: dict[int, list[tuple[int, int]]] = {}
    columns = (own[name].tolist() for name in ("number", "draw", "split", grid, "losses"))
    for number, draw, split, letters, losses in zip(*columns, strict=True):
        logs.setdefault(number, []).append(_logs(letters[first : first + blocks * grids], losses))
        cells.setdefault(number, []).append((draw, split))
    found = {}
    for number, of_task in logs.items():
        draws, splits = (len(set(places)) for places in zip(*cells[number], strict=True))
        found[number] = np.reshape(of_task, (draws, splits, blocks, *([EVERY] if grids > 1 else []), -1))
    return found


def _logs(letters: str, losses: str) -> np.ndarray:
    """Return the logarithms of the losses of some rates, (rates, reporting seeds)."""
    table = _table(losses)
    return np.stack([table[letter] for letter in letters])


@lru_cache(1 << 14)
def _table(losses: str) -> dict[str, np.ndarray]:
    """Return the logarithms of the losses of each rate."""
    words = losses.split()
    starts = [place for place, word in enumerate(words) if word.isalpha()]
    ends = [*starts[1:], len(words)]
    table = {words[i]: np.array(words[i + 1 : end], np.float64) for i, end in zip(starts, ends, strict=True)}
    return {letter: np.log(np.maximum(values, LEAST_LOSS)) for letter, values in table.items()}


def benefits(rows: pd.DataFrame, arm: str, seeds: int, grid: str = "fine") -> dict[int, np.ndarray]:
    """Return by how much an arm lowers the logarithm of AdamW's test loss, both tuned on the same seeds.

    Parameters
    ----------
    rows, arm, seeds, grid
        As in :func:`log_losses`. On coarse grids, grid i of AdamW meets grid i + 1 of the arm on the first split of a
        task, i + 2 on the second, i on the third, and so on.

    Returns
    -------
    dict of int to array
        As :func:`log_losses` returns it.
    """
    control, own = (log_losses(rows, name, seeds, grid) for name in (CONTROL, arm))
    if grid == "coarse":
        own = {number: _turned(logs) for number, logs in own.items()}
    return {number: control[number] - logs for number, logs in own.items()}


def _turned(logs: np.ndarray) -> np.ndarray:
    draws, splits = logs.shape[:2]
    cells = logs.reshape(-1, *logs.shape[2:])
    turned = [np.roll(cell, -(1 + place), axis=1) for place, cell in enumerate(cells)]
    return np.reshape(turned, (draws, splits, *logs.shape[2:]))


def at_ends(rows: pd.DataFrame, design: Design = REGISTERED) -> pd.Series:
    """Return how often a choice of a fine grid is at one of its ends.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    design : Design, default REGISTERED

    Returns
    -------
    Series
        The share of all choices, by arm.
    """
    ends = {LETTERS[0], LETTERS[design.rates - 1]}
    shares = [sum(letter in ends for letter in text) / len(text) for text in rows["fine"]]
    return rows.assign(share=shares).groupby("arm", sort=False)["share"].mean()
