"""A sweep written down as a TOML file: model, data, training and grids, read and checked before anything is touched."""

from __future__ import annotations

import inspect
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_nb import datasets, landscapes, optimizers
from lookahead_nb.checks import choice, inside, known_keys, one_of, table_of_keys, toml_file
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.mlp import MLP
from lookahead_nb.optimizers import INNER_RULES
from lookahead_nb.schedules import Schedule
from lookahead_nb.training.grid import grid
from lookahead_nb.training.plan import Plan, train_unit
from lookahead_nb.training.setup import Setup, Training
from lookahead_nb.training.sweep import sweep

LANDSCAPES = (landscapes.Quadratic, landscapes.DoubleWell, landscapes.Bilinear, landscapes.Rosenbrock)
MODELS: dict[str, Any] = {kind.__name__: kind for kind in (MLP, LogisticRegression, *LANDSCAPES)}
TRAINING = ("seeds", "steps", "batch_size", "eval_every", "eval_at", "eval_rows", "dtype", "backend")
PER_SEED = "per seed"
MOST_POINTS = 1_000_000  # of a grid, and seeds: what a plan of them takes in memory stays below a few GB
MOST_STEPS = 10_000_000  # a run of more would take days
TRIAL_RUNS = 16  # as many as one kernel trains side by side
TRIAL_OPERATIONS = 1e9  # floating-point work of the trial that an estimate rests on: about a tenth of a second

EXAMPLE = """\
store = "build/first_sweep"           # a folder; like data.file, relative to this file

[model]                               # kind, and the arguments of lookahead_nb.MLP, of LogisticRegression, or of a
kind = "MLP"                          # landscape, as Quadratic, and then without [data]
widths = [64, 32, 10]
activation = "relu"

[data]                                # a name of lookahead_nb.datasets, or your own: file = "mine.npz" with X and y,
name = "digits"                       # or file = "mine.csv" with label = "the column of the labels"
split_seed = "per seed"               # or one number for all

[training]                            # the arguments of lookahead_nb.sweep
seeds = 30                            # how many, or a list
steps = 1000
eval_every = 100

[[grid]]                              # an optimizer; a list of values is an axis of the grid
optimizer = "AdamW"
lr = [1e-3, 3e-3, 1e-2]

[[grid]]                              # as many grids as you like; they add up
optimizer = "Lookahead"
inner = "AdamW"
lr = [1e-3, 3e-3, 1e-2]
retention = [0.5, 0.9]
sync_period = [5, 20]
schedule = { kind = "cosine", warmup = 50 }  # falls to 0 at the last step; lr is the peak
"""


@dataclass(frozen=True)
class Configuration:
    """What a file says about a sweep: the arguments of :func:`lookahead_nb.sweep`.

    model, data : as in ``sweep``. configs : list of optimizers. training : dict, the keyword arguments that the file
    gives. store : path of the folder, or None.
    """

    model: Any
    data: Any
    configs: list[optimizers.Optimizer]
    training: dict[str, Any]
    store: Path | None

    def run(self, **how):
        """Run the sweep.

        how : executor, progress, frame. returns, errors : as :func:`lookahead_nb.sweep`.
        """
        with _dotted():
            return sweep(self.model, self.data, self.configs, **self.training, store=self.store, **how)

    def plan(self):
        """Return the ``sweep.Plan``, checked like the sweep itself. errors : TypeError, ValueError."""
        training = {name: value for name, value in self.training.items() if name != "seeds"}
        with _dotted():
            return Plan(Setup(self.model, self.data, Training(**training)), self.configs, self.training["seeds"])


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take.

    runs, units, rows : int. operations : float, floating-point work, that of evaluations included. rate : float,
    operations per second of one core, measured on a trial of a few runs. trial_steps : int, the steps of that trial.
    frame_bytes : float, memory.
    """

    runs: int
    units: int
    rows: int
    operations: float
    rate: float
    trial_steps: int
    frame_bytes: float

    def seconds(self, cores):
        """Return the time that the sweep takes on so many cores, in seconds. cores : int, at least 1."""
        return self.operations / self.rate / min(cores, self.units)


def estimate(plan):
    """Return the :class:`Estimate` of a plan, from counted work and a short trial; nothing is stored.

    plan : ``sweep.Plan``. errors : those of ``sweep``.
    """
    whole = plan.units[0]
    few = {name: getattr(whole, name)[:TRIAL_RUNS] for name in ("opts", "seeds", "which")}
    unit = replace(whole, **few)
    setup = plan.setup
    rows = setup.rows(unit.seeds[0])

    def trial(steps):
        training = replace(setup.training, steps=steps, eval_every=steps, eval_at=None)
        return replace(unit, setup=replace(setup, training=training))

    train_unit(trial(1))  # compiles
    steps = int(np.clip(TRIAL_OPERATIONS * setup.steps // (setup.operations * unit.size), 1, setup.steps))
    start = time.perf_counter()
    train_unit(trial(steps))
    rate = _work(trial(steps).setup, unit.opts, rows) / (time.perf_counter() - start)
    operations = _work(setup, plan.configs, rows) * len(plan.seeds)
    return Estimate(plan.size, len(plan.units), plan.frame_rows, operations, rate, steps, plan.frame_bytes)


def _work(setup, opts, rows):
    """Return the floating-point operations of runs with these optimizers: six for each weight and row, two to look."""
    look = 2.0 * setup.model.size * int(rows.bounds[-1]) * len(setup.eval_steps)
    kinds = sum(1 + opt.has_slow_weights for opt in opts)
    return len(opts) * setup.operations + look * kinds


# ----------------------------------------------------------------------------------------------------------- reading


def read(path, *, store=None):
    """Return the :class:`Configuration` of a file; nothing is written, and the data is looked for.

    path : of a TOML file, as ``EXAMPLE``; store : folder in place of that of the file. errors : ValueError with one
    sentence that names the key; OSError for a file that cannot be read; ModuleNotFoundError for a missing extra.
    """
    path = Path(path)
    return _understood(toml_file(path), path.parent, store)


def _understood(written, folder, store):
    known_keys("", written, ("store", "model", "data", "training", "grid"))
    for name in ("model", "training"):
        table_of_keys(name, written.get(name))
    training = _training(written["training"])
    here = written.get("store")
    if here is not None and not (isinstance(here, str) and here):
        raise ValueError(f"store must be the path of a folder, not {here!r}")
    model = _model(written["model"])
    return Configuration(
        model,
        _data(written.get("data"), folder, model),
        _grids(written.get("grid"), training.get("steps", inspect.signature(sweep).parameters["steps"].default)),
        training,
        Path(store) if store is not None else folder / here if here else None,
    )


def _training(table):
    known_keys("training.", table, TRAINING)
    if "seeds" not in table:
        raise ValueError("training.seeds must be a number of seeds or a list of them, not missing")
    for name, most in {"seeds": MOST_POINTS, "steps": MOST_STEPS}.items():
        if isinstance(table.get(name), int) and table[name] > most:
            raise ValueError(f"training.{name} must be at most {most:,}, or memory would not hold it")
    if {"eval_every", "eval_at"} <= table.keys():
        raise ValueError("training.eval_at must come in place of eval_every, not beside it")
    return table


def _model(table):
    kind = MODELS[choice("model.kind", table.get("kind"), MODELS)]
    settings = {name: value for name, value in table.items() if name != "kind"}
    parameters = inspect.signature(kind).parameters
    known_keys("model.", settings, parameters)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in settings:
            raise ValueError(f"model.{name} must be given for {kind.__name__}, not missing")
    with inside("model"):
        return kind(**settings)


def _data(table, folder, model):
    if isinstance(model, landscapes.Landscape):
        if table is not None:
            raise ValueError(f"data must be absent for a landscape, as {type(model).__name__}")
        return None
    table_of_keys("data", table)
    if ("name" in table) == ("file" in table):
        raise ValueError('data must have either a name, as "digits", or a file of your own')
    known_keys("data.", table, ("name", "split_seed") if "name" in table else ("file", "label", "split_seed"))
    if "name" in table:
        load = partial(datasets.load, choice("data.name", table["name"], datasets.NAMES))
    else:
        load = partial(datasets.from_arrays, *_own_rows(table["file"], table.get("label"), folder))
    split_seed = table.get("split_seed", 0)
    if isinstance(split_seed, str):
        one_of("data.split_seed", split_seed, (PER_SEED,))
    with inside("data"):
        first = load(0 if split_seed == PER_SEED else split_seed)
    return load if split_seed == PER_SEED else first


def _own_rows(name, label, folder):
    if not isinstance(name, str):
        raise ValueError(f"data.file must be the path of an .npz or .csv file, not {name!r}")
    try:
        with inside("data"):
            return datasets.read_rows(folder / name, label)
    except OSError as error:
        raise OSError(f"data.{error}") from error


def _grids(tables, steps):
    if not isinstance(tables, list) or not tables:
        told = repr(tables) if tables else "none"
        raise ValueError(f"grid must hold at least one table [[grid]] with an optimizer, not {told}")
    return [opt for i, table in enumerate(tables) for opt in _grid(f"grid[{i}]", table, steps)]


def _grid(where, table, steps):
    table_of_keys(where, table)
    lookahead = choice(f"{where}.optimizer", table.get("optimizer"), (*INNER_RULES, "Lookahead")) == "Lookahead"
    rule = INNER_RULES[choice(f"{where}.inner", table.get("inner"), INNER_RULES) if lookahead else table["optimizer"]]
    own = {name for name in inspect.signature(optimizers.Lookahead).parameters if lookahead}
    allowed = {"optimizer", "schedule", *own, *inspect.signature(rule).parameters}
    known_keys(f"{where}.", table, sorted(allowed))
    base = rule()
    if "schedule" in table:
        shape = table["schedule"]
        table_of_keys(f"{where}.schedule", shape)
        known_keys(f"{where}.schedule.", shape, ("kind", "warmup", "steps"))
        with inside(f"{where}.schedule"):
            kind = one_of("kind", shape.get("kind"), ("constant", "linear", "cosine"))
            falls_until = None if kind == "constant" else steps
            base = rule(Schedule(kind, base.schedule.peak, shape.get("steps", falls_until), shape.get("warmup", 0)))
    axes = {name: value for name, value in table.items() if name not in ("optimizer", "inner", "schedule")}
    axes = {name: value if isinstance(value, list) else [value] for name, value in axes.items()}
    points = math.prod(map(len, axes.values()))
    if points > MOST_POINTS:
        raise ValueError(f"{where} must have at most {MOST_POINTS:,} points, not {points:,}: cut it up")
    with inside(where):
        return grid(optimizers.Lookahead(base) if lookahead else base, **axes)


@contextmanager
def _dotted():
    try:
        yield
    except (TypeError, ValueError) as error:
        if str(error).partition(" ")[0].partition("[")[0] not in TRAINING:
            raise
        raise ValueError(f"training.{error}") from error
