"""A sweep described in a TOML file: model, data, training, grids and samples, all checked ahead of any training."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_nb import datasets, optimizers
from lookahead_nb.checks import flag, one_of, user_path
from lookahead_nb.datasets.arrays import splitter
from lookahead_nb.models import landscapes
from lookahead_nb.optimizers import INNER_RULES, WRAPPERS
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.settings_file import choice, inside, known_keys, table_of_keys, toml_file
from lookahead_nb.training.grid import grid, sample, values_of
from lookahead_nb.training.plan import Plan, Unit, train_unit
from lookahead_nb.training.setup import MODELS, Setup, Training
from lookahead_nb.training.sweep import sweep

TRAINING = (
    *("seeds", "steps", "batch_size", "eval_every", "eval_at", "eval_rows", "dtype", "backend", "order"),
    *("groups", "clip_norm"),
)
KINDS_OF_TABLES = ("grid", "sample")  # of optimizers
SCHEDULES = {"schedule": "lr", "weight_decay_schedule": "weight_decay"}  # tables, and the settings that they shape
PER_SEED = "per seed"
MOST_POINTS = 1_000_000  # of a grid, and seeds: the memory of a plan stays below a few GB
MOST_STEPS = 10_000_000  # a run of more would take days
TRIAL_RUNS = 16  # as many as one kernel trains side by side
TRIAL_OPERATIONS = 1e9  # floating-point work of the trial run of an estimate: about a tenth of a second

EXAMPLE = """\
store = "build/first_sweep"           # a folder; like data.file, relative to this file
keep_states = false                   # true: more steps, set here later, continue the runs, except where the rate falls

[model]                               # kind, and the arguments of lookahead_nb.MLP, LogisticRegression or a
kind = "MLP"                          # landscape such as Quadratic; a landscape needs no [data]
widths = [64, 32, 10]
activation = "relu"

[data]                                # a name of lookahead_nb.datasets, or your own: file = "mine.npz" with X and y,
name = "digits"                       # or file = "mine.csv" with label = "the column of the labels"
split_seed = "per seed"               # or one number for all seeds

[training]                            # the arguments of lookahead_nb.sweep
seeds = 30                            # a number of seeds, or a list of them
steps = 1000
eval_every = 100

[[grid]]                              # an optimizer; a list of values is an axis of the grid, and so is a range
optimizer = "AdamW"
lr = { low = 1e-4, high = 1e-1, number = 13 }  # scale = "linear" for equal differences

[[grid]]                              # further grids add further runs
optimizer = "Lookahead"
inner = "AdamW"
lr = [1e-3, 3e-3, 1e-2]
retention = [0.5, 0.9]
sync_period = [5, 20]
schedule = { kind = "cosine", warmup = 50 }  # falls to 0 at the last step; lr is the peak
                                      # decay_steps = 200 would let it fall in the last 200 steps only
                                      # { kind = "cosine_restarts", period = 100, factor = 2 } starts again from lr
                                      # weight_decay_schedule = { kind = "linear" } does the same to the weight decay

[[sample]]                            # points drawn from ranges: the arguments of lookahead_nb.sample
optimizer = "Lookahead"
inner = "AdamW"
number = 64
method = "halton"                     # or "sobol", "random"
seed = 0
lr = { low = 1e-4, high = 1e-1 }
sync_period = { low = 1, high = 50 }  # rounded to whole numbers
inner_state = ["keep", "reset"]       # one of these
"""


@dataclass(frozen=True)
class Configuration:
    """The sweep that a file describes: the arguments of :func:`lookahead_nb.sweep`.

    Attributes
    ----------
    model, data
        As in :func:`lookahead_nb.sweep`.
    configs : list of Optimizer
    training : dict
        The keyword arguments in the file.
    store : pathlib.Path or None
        The folder.
    keep_states : bool
        As in :func:`lookahead_nb.sweep`.
    """

    model: Any
    data: Any
    configs: list[optimizers.Optimizer]
    training: dict[str, Any]
    store: Path | None
    keep_states: bool = False

    def run(self, **options: Any) -> Any:
        """Run the sweep.

        Parameters
        ----------
        **options
            The arguments executor, progress and frame of :func:`lookahead_nb.sweep`.

        Returns
        -------
        frame or Store
            As :func:`lookahead_nb.sweep`.

        Raises
        ------
        Exception
            As :func:`lookahead_nb.sweep`.
        """
        options |= self.training | {"store": self.store, "keep_states": self.keep_states}
        with _dotted():
            return sweep(self.model, self.data, self.configs, **options)

    def plan(self) -> Plan:
        """Return the plan of the sweep, checked like the sweep itself.

        Returns
        -------
        training.plan.Plan

        Raises
        ------
        TypeError, ValueError
            If the sweep would refuse an argument.
        """
        training = {name: value for name, value in self.training.items() if name != "seeds"}
        with _dotted():
            return Plan(Setup(self.model, self.data, Training(**training)), self.configs, self.training["seeds"])


@dataclass(frozen=True)
class Estimate:
    """The estimated size and cost of a sweep.

    Attributes
    ----------
    runs, units, rows : int
        Numbers of runs, of units and of rows of the frame.
    operations : float
        Floating-point operations, evaluations included.
    rate : float
        Operations per second of one core, measured in a trial of a few runs.
    trial_steps : int
        The steps of that trial.
    frame_bytes : float
        The memory of the frame.

    Examples
    --------
    >>> from lookahead_nb.training.sweep_file import Estimate
    >>> Estimate(6, 3, 60, operations=6e9, rate=1e9, trial_steps=20, frame_bytes=1e4).seconds(cores=2)
    3.0
    """

    runs: int
    units: int
    rows: int
    operations: float
    rate: float
    trial_steps: int
    frame_bytes: float

    def seconds(self, cores: int) -> float:
        """Return the time of the sweep on a number of cores, in seconds.

        Parameters
        ----------
        cores : int
            At least 1.

        Returns
        -------
        float
        """
        return self.operations / self.rate / min(cores, self.units)


def estimate(plan: Plan) -> Estimate:
    """Return the size and cost of a plan, from counted work and a short trial; nothing is stored.

    Parameters
    ----------
    plan : training.plan.Plan

    Returns
    -------
    Estimate

    Raises
    ------
    Exception
        As :func:`lookahead_nb.sweep`.
    """
    whole = plan.units[0]
    few = {name: getattr(whole, name)[:TRIAL_RUNS] for name in ("opts", "seeds", "which")}
    unit = replace(whole, **few)
    setup = plan.setup
    rows = setup.rows(unit.seeds[0])

    def trial(steps: int) -> Unit:
        training = replace(setup.training, steps=steps, eval_every=steps, eval_at=None)
        return replace(unit, setup=replace(setup, training=training))

    train_unit(trial(1))  # compiles
    steps = int(np.clip(TRIAL_OPERATIONS * setup.steps // (setup.operations * unit.size), 1, setup.steps))
    start = time.perf_counter()
    train_unit(trial(steps))
    seconds = time.perf_counter() - start
    rate = sum(trial(steps).setup.work(rows, slow=opt.has_slow_weights) for opt in unit.opts) / seconds
    operations = sum(setup.work(rows, slow=opt.has_slow_weights) for opt in plan.configs) * len(plan.seeds)
    return Estimate(plan.size, len(plan.units), plan.frame_rows, operations, rate, steps, plan.frame_bytes)


# ----------------------------------------------------------------------------------------------------------- reading


def read(path: str | Path, *, store: str | Path | None = None) -> Configuration:
    """Return the sweep that a file describes; the data is loaded and nothing is written.

    Parameters
    ----------
    path : path
        A TOML file in the form of ``EXAMPLE``.
    store : path, optional
        A folder that replaces the store of the file.

    Returns
    -------
    Configuration

    Raises
    ------
    ValueError
        If the file is no TOML file or a key has a wrong value; the message names the key.
    OSError
        If a file cannot be read.
    ModuleNotFoundError
        If an extra is missing.
    """
    path = user_path("path", path)
    return _understood(toml_file(path), path.parent, store)


def _understood(tables: dict[str, Any], folder: Path, store: str | Path | None) -> Configuration:
    """Return the sweep that the tables of a file in a folder describe."""
    known_keys("", tables, ("store", "keep_states", "model", "data", "training", *KINDS_OF_TABLES))
    for name in ("model", "training"):
        table_of_keys(name, tables.get(name))
    training = _training(tables["training"])
    stored_in = tables.get("store")
    if stored_in is not None and not (isinstance(stored_in, str) and stored_in):
        raise ValueError(f"store must be the path of a folder, got {stored_in!r}")
    model = _model(tables["model"])
    return Configuration(
        model,
        _data(tables.get("data"), folder, model),
        _optimizers(tables, training.get("steps", inspect.signature(sweep).parameters["steps"].default)),
        training,
        _store(store, stored_in, folder),
        flag("keep_states", tables.get("keep_states", False)),
    )


def _store(given: Any, written: str | None, folder: Path) -> Path | None:
    """Return the store that is given, or the one of the file in a folder."""
    if given is not None:
        return user_path("store", given)
    return folder / user_path("store", written) if written else None


def _training(table: dict[str, Any]) -> dict[str, Any]:
    known_keys("training.", table, TRAINING)
    if "seeds" not in table:
        raise ValueError("training.seeds must be a number of seeds or a list of them, got nothing")
    for name, most in {"seeds": MOST_POINTS, "steps": MOST_STEPS}.items():
        if isinstance(table.get(name), int) and table[name] > most:
            raise ValueError(f"training.{name} must be at most {most:,}, got {table[name]:,}, to fit in memory")
    if {"eval_every", "eval_at"} <= table.keys():
        raise ValueError("training.eval_at and training.eval_every cannot both be given")
    return table


def _model(table: dict[str, Any]) -> Any:
    kind = MODELS[choice("model.kind", table.get("kind"), MODELS)]
    settings = {name: value for name, value in table.items() if name != "kind"}
    parameters = inspect.signature(kind).parameters
    known_keys("model.", settings, parameters)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in settings:
            raise ValueError(f"model.{name} must be given for {kind.__name__}, got nothing")
    with inside("model"):
        return kind(**settings)


def _data(table: Any, folder: Path, model: Any) -> Any:
    """Return the data set, the function of the seed that loads it, or None for a landscape."""
    if isinstance(model, landscapes.Landscape):
        if table is not None:
            raise ValueError(f"data must be absent for a landscape such as {type(model).__name__}; remove the table")
        return None
    table_of_keys("data", table)
    if ("name" in table) == ("file" in table):
        raise ValueError('data must have either a name, such as "digits", or the file of your own data')
    known_keys("data.", table, ("name", "split_seed") if "name" in table else ("file", "label", "split_seed"))
    if "name" in table:
        load: Callable[[int], datasets.Dataset] = partial(
            datasets.load, choice("data.name", table["name"], datasets.NAMES)
        )
    else:
        X, y = _own_rows(table["file"], table.get("label"), folder)
        with inside("data"):
            load = splitter(X, y)
    split_seed = table.get("split_seed", 0)
    if isinstance(split_seed, str):
        one_of("data.split_seed", split_seed, (PER_SEED,))
    with inside("data"):
        first = load(0 if split_seed == PER_SEED else split_seed)
    return load if split_seed == PER_SEED else first


def _own_rows(name: Any, label: Any, folder: Path) -> tuple[Any, np.ndarray]:
    if not isinstance(name, str):
        raise ValueError(f"data.file must be the path of an .npz or .csv file, got {name!r}")
    try:
        with inside("data"):
            return datasets.read_rows(folder / user_path("file", name), label)
    except OSError as error:
        raise OSError(f"data.{error}") from error


def _optimizers(tables: dict[str, Any], steps: Any) -> list[optimizers.Optimizer]:
    """Return the optimizers of all grids, and then those of all samples."""
    if not any(name in tables for name in KINDS_OF_TABLES):
        raise ValueError("grid must hold at least one table [[grid]] with an optimizer, or [[sample]] one, got none")
    opts = []
    for kind in (name for name in KINDS_OF_TABLES if name in tables):
        if not isinstance(tables[kind], list) or not tables[kind]:
            given = repr(tables[kind]) if tables[kind] else "none"
            raise ValueError(f"{kind} must hold at least one table [[{kind}]] with an optimizer, got {given}")
        for i, table in enumerate(tables[kind]):
            opts += _optimizers_of(f"{kind}[{i}]", table, steps, is_grid=kind == "grid")
    return opts


def _optimizers_of(key: str, table: Any, steps: Any, *, is_grid: bool) -> list[optimizers.Optimizer]:
    """Return the optimizers of one grid or sample."""
    table_of_keys(key, table)
    wrapper = WRAPPERS.get(choice(f"{key}.optimizer", table.get("optimizer"), (*INNER_RULES, *WRAPPERS)))
    rule = INNER_RULES[choice(f"{key}.inner", table.get("inner"), INNER_RULES) if wrapper else table["optimizer"]]
    outer = inspect.signature(wrapper).parameters if wrapper else ()
    drawn = () if is_grid else ("number", "method", "seed")
    allowed = {"optimizer", *SCHEDULES, *outer, *inspect.signature(rule).parameters, *drawn}
    known_keys(f"{key}.", table, sorted(allowed))
    base = rule()
    for name, setting in SCHEDULES.items():
        if name in table:
            if not getattr(base, setting, 0.0) and setting not in table:
                raise ValueError(f"{key}.{setting} must be given with {name}, since it is 0 in {rule.__name__}")
            base = _shaped(base, setting, f"{key}.{name}", table[name], steps)
    named = {"optimizer", "inner", *SCHEDULES, *drawn}
    axes = {name: value for name, value in table.items() if name not in named}
    axes = {name: value if isinstance(value, (list, dict)) else [value] for name, value in axes.items()}
    with inside(key):
        base = wrapper(base) if wrapper else base
        if not is_grid:
            return sample(base, **{"number": None} | {name: table[name] for name in drawn if name in table}, **axes)
        values = values_of(base, axes)
    points = math.prod(map(len, values.values()))
    if points > MOST_POINTS:
        raise ValueError(
            f"{key} must have at most {MOST_POINTS:,} points, got {points:,}: split it into several sweeps"
        )
    with inside(key):
        return grid(base, **values)


def _shaped(
    base: optimizers.InnerOptimizer, setting: str, key: str, shape: Any, steps: Any
) -> optimizers.InnerOptimizer:
    """Return an optimizer with a setting as the peak of a schedule, which a table describes."""
    table_of_keys(key, shape)
    known_keys(f"{key}.", shape, ("kind", "warmup", "steps", "decay_steps", "period", "factor"))
    with inside(key):
        kind = one_of("kind", shape.get("kind"), ("constant", "linear", "cosine", "cosine_restarts"))
        ends = {"steps": steps} if kind in ("linear", "cosine") else {}
        return base.with_settings(**{setting: Schedule(**ends | shape, peak=getattr(base, setting))})


@contextmanager
def _dotted() -> Iterator[None]:
    """Put ``training.`` in front of an error about an argument of that table."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if str(error).partition(" ")[0].partition("[")[0] not in TRAINING:
            raise
        raise ValueError(f"training.{error}") from error
