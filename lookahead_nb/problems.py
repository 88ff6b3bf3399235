"""Problems and arms by name: what is trained, and with which optimizers, as the register of claims writes it down."""

from __future__ import annotations

import inspect
import itertools
import math
import tomllib
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from lookahead_nb import configuration, datasets
from lookahead_nb.checks import (
    choice,
    flag,
    inside,
    known_keys,
    names,
    one_of,
    real_number,
    table_of_keys,
    text,
    whole_number,
)
from lookahead_nb.comparisons import lowest_loss
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.mlp import MLP
from lookahead_nb.optimizers import INNER_RULES, Lookahead
from lookahead_nb.philox import DRAWS, uniforms
from lookahead_nb.schedules import Schedule
from lookahead_nb.training.grid import grid
from lookahead_nb.training.setup import Setup, Training

LANDSCAPES = {kind.__name__: kind for kind in configuration.LANDSCAPES}
TRAINING = ("steps", "batch_size", "eval_every", "eval_rows", "lr", "schedule", "warmup", "threshold")
ON_DATA = ("data", "hidden", "activation", "l2", "rows", "flipped")
OF_ARM = ("rule", "lr", "times", "weights", "tune", "draw", "draws", "best_of", "tasks", "steps_as")
STEPS_AS = ("mean", "shuffled", "replayed")
OF_RULE = {name: frozenset(inspect.signature(rule).parameters) for name, rule in INNER_RULES.items()}
OF_LOOKAHEAD = tuple(name for name in inspect.signature(Lookahead).parameters if name != "inner")
TASK_PARAMETERS = (
    *("entry", "data", "landscape", "hidden", "steps", "batch_size", "eval_every", "schedule", "given_lr"),
    *("threshold", "rows", "flipped"),
)
ARM_PARAMETERS = (
    *("family", "kind", "rule", "times", "sync_period", "retention", "slow_step_size", "pull_back", "inner_state"),
    *("weights", "weight_decay", "best_of"),
)
NUMBERS = {  # of these parameters, None where there is none
    *("given_lr", "threshold", "rows", "flipped"),
    *("times", "sync_period", "retention", "slow_step_size", "weight_decay", "best_of"),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """What is trained, for how long, and by which schedule; made by :meth:`named` and :meth:`of`.

    name : str, as "digits", or with changes, as "digits steps=100 rows=200". fields : dict, the changed entry.
    load : function of the seed that returns the data, which is split anew for every seed; None on a landscape. entry :
    str, the name of the entry that was changed, "digits".

    Fields of every problem: ``steps``, ``batch_size`` (64), ``eval_every`` (steps/20), ``eval_rows``; ``lr``, the rate
    of arms that say "given"; ``schedule`` ("constant", "linear", "cosine") and ``warmup``, of all arms; ``threshold``,
    a loss. On data: ``data``, a name of ``datasets``; ``hidden``, the widths of an MLP, none for logistic regression;
    ``activation``, ``l2``; ``rows``, as many of the training part, others for every seed; ``flipped``, the share of its
    labels that are wrong. On a landscape: ``landscape``, its kind, and its arguments.
    """

    name: str
    fields: dict[str, Any]
    load: Any = None
    entry: str = ""

    @classmethod
    def named(cls, name, known):
        """Return a problem by its name, changes included. known : dict of tables by name. errors : ValueError."""
        base, *changes = text("tasks", name).split(" ")
        fields = dict(table_of_keys(f"tasks.{base}", known[choice("tasks", base, known)]))
        for change in changes:
            key, is_changed, value = change.partition("=")
            if not is_changed:
                raise ValueError(f"tasks must be names with changes like steps=100, not {name!r}")
            try:
                fields[key] = tomllib.loads(f"value = {value}")["value"]
            except ValueError:
                fields[key] = value  # a bare word
        with inside(f"tasks.{base}"):
            return cls._checked(name, fields, None, base)

    @classmethod
    def of(cls, name, X, y, **fields):
        """Return a problem on the user's own rows.

        name : str. X, y : as in ``datasets.from_arrays``. fields : as above, but for ``data``. errors : TypeError,
        ValueError.
        """
        datasets.from_arrays(X, y)  # refuses bad rows now, not at the first run
        fields = {"data": text("name", name)} | fields
        return cls._checked(name, fields, partial(datasets.from_arrays, X, y), name)

    @classmethod
    def _checked(cls, name, fields, load, entry):
        if ("data" in fields) == ("landscape" in fields):
            raise ValueError("data must be given, or landscape, and not both")
        if "landscape" in fields:
            kind = LANDSCAPES[choice("landscape", fields["landscape"], LANDSCAPES)]
            known_keys("", fields, (*TRAINING, "landscape", *inspect.signature(kind).parameters))
        else:
            known_keys("", fields, (*TRAINING, *ON_DATA))
            if load is None:
                load = partial(datasets.load, choice("data", fields["data"], datasets.NAMES))
            _check_network(fields)
        whole_number("steps", fields.get("steps"), 1)
        for key in ("batch_size", "eval_rows"):
            whole_number(key, fields.get(key, 1), 1)
        whole_number("eval_every", fields.get("eval_every", 1), 1, fields["steps"])
        real_number("threshold", fields.get("threshold", 1), 0, open_low=True)
        problem = cls(name, fields, load, entry)
        problem.schedule(real_number("lr", fields.get("lr", 1), 0))
        if problem.on_landscape:
            problem.model  # noqa: B018 (checks its arguments)
        return problem

    @property
    def parameters(self) -> dict[str, Any]:
        """What tells the problem from others: a dict with the keys ``TASK_PARAMETERS``, None where it has no such one.

        ``entry``, the name without changes; ``given_lr``, the rate of arms that say "given"; the rest are fields, or
        their defaults.
        """
        defaults = {"batch_size": 64, "eval_every": self.eval_every, "schedule": "constant", "flipped": 0.0}
        hidden = None if self.on_landscape else tuple(self.fields.get("hidden", ()))
        named = {"entry": self.entry, "given_lr": self.fields.get("lr"), "hidden": hidden}
        return {key: (defaults | self.fields | named).get(key) for key in TASK_PARAMETERS}

    @property
    def on_landscape(self):
        """Whether the problem is a landscape, which has no data."""
        return "landscape" in self.fields

    @property
    def noiseless(self):
        """Whether all seeds give the same run: on a landscape without noise and with one start."""
        return self.on_landscape and not (self.model.noise.any() or self.model.spread.any())

    @property
    def needs_download(self):
        """Whether the data does not come with the package or scikit-learn."""
        return self.fields.get("data") in datasets.DOWNLOADED

    @property
    def at_hand(self):
        """Whether it can be trained without a network."""
        return not self.needs_download or datasets.available(self.fields["data"])

    @property
    def steps(self):
        """How many steps a run has."""
        return self.fields["steps"]

    @property
    def eval_every(self) -> int:
        """After how many steps a run is evaluated."""
        return self.fields.get("eval_every", max(1, self.steps // 20))

    @cached_property
    def _known(self):
        """What the first split tells: the number of features and of classes, the loss of chance, the fingerprint."""
        data = self.dataset(0)
        shares = np.bincount(data.y_train) / len(data.y_train)
        chance = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
        return data.n_features, data.n_classes, chance, data.fingerprint

    @cached_property
    def model(self):
        """The model."""
        if self.on_landscape:
            kind = LANDSCAPES[self.fields["landscape"]]
            return kind(
                **{name: self.fields[name] for name in inspect.signature(kind).parameters if name in self.fields}
            )
        n_features, n_classes, *_ = self._known
        if not self.fields.get("hidden"):
            return LogisticRegression(n_features, n_classes=n_classes, l2=self.fields.get("l2", 0.0))
        widths = n_features, *self.fields["hidden"], n_classes
        return MLP(widths, activation=self.fields.get("activation", "relu"))

    def dataset(self, seed):
        """Return the data of a seed: its split, its subset, its wrong labels. seed : int in [0, 2**63)."""
        data = self.load(seed)
        if "rows" in self.fields:
            data = data.subset(self.fields["rows"], seed)
        if self.fields.get("flipped"):
            data = data.with_flipped_labels(self.fields["flipped"], seed)
        return data

    @property
    def fingerprint(self):
        """What tells the data from other data, a str."""
        return "none" if self.on_landscape else self._known[3]

    @property
    def chance(self):
        """The loss of guessing by the frequencies of the classes; inf on a landscape."""
        return math.inf if self.on_landscape else self._known[2]

    @cached_property
    def _lowest(self):
        return {}

    def lowest(self, seed):
        """Return the lowest training loss that any weights have on the data of a seed; see ``comparisons.lowest_loss``.

        Of a landscape that of its deepest basin.

        seed : int in [0, 2**63). errors : those of ``comparisons.lowest_loss``.
        """
        if self.on_landscape:
            basins = np.reshape(getattr(self.model, "minima", ()), (-1, 1))
            return float(self.model.heights(basins).min()) if len(basins) else 0.0
        if seed not in self._lowest:
            self._lowest[seed] = lowest_loss(self.model, self.dataset(seed))
        return self._lowest[seed]

    def training(self):
        """Return how ``sweep`` is to train: model, data and the keyword arguments."""
        how: dict[str, Any] = {name: self.fields[name] for name in ("batch_size", "eval_rows") if name in self.fields}
        how |= {"steps": self.steps, "eval_every": self.eval_every}
        return {"model": self.model, "data": None if self.on_landscape else self.dataset} | how

    @property
    def operations(self):
        """The floating-point operations of the training steps of one run, as ``training.Setup`` counts them."""
        how = self.training()
        model, data = how.pop("model"), how.pop("data")
        return Setup(model, data, Training(**how)).operations

    def schedule(self, peak):
        """Return the learning rate of a run: the number, or the schedule of the problem from this peak.

        peak : float, at least 0. errors : TypeError, ValueError.
        """
        kind, warmup = self.fields.get("schedule", "constant"), self.fields.get("warmup", 0)
        choice("schedule", kind, ("constant", "linear", "cosine"))
        schedule = Schedule(kind, peak, None if kind == "constant" else self.steps, warmup)
        return peak if kind == "constant" and not warmup else schedule


def _check_network(fields):
    hidden = fields.get("hidden", [])
    if not isinstance(hidden, (list, tuple)):
        raise ValueError(f"hidden must be a list of widths, as [32], not {hidden!r}")
    for i, width in enumerate(hidden):
        whole_number(f"hidden[{i}]", width, 1)
    for key, belongs in {"l2": not hidden, "activation": bool(hidden)}.items():
        if key in fields and not belongs:
            only = (
                "a network with hidden layers" if key == "activation" else "logistic regression, without hidden layers"
            )
            raise ValueError(f"{key} must be absent here: only {only} has it")
    one_of("activation", fields.get("activation", "relu"), ("relu", "tanh", "sigmoid"))
    real_number("l2", fields.get("l2", 0), 0)
    whole_number("rows", fields.get("rows", 1), 1)
    real_number("flipped", fields.get("flipped", 0), 0, 1, open_high=True)


@dataclass(frozen=True, eq=False)
class Arm:
    """An optimizer on trial, its learning rate still open.

    name : str. fields : dict, arguments of the optimizers, but for ``OF_ARM``: ``rule``, the inner rule; ``lr``, a
    number, "given" (that of the problem) or the name of an arm that tunes its own; ``times``, a factor of it;
    ``weights``, "slow" (where there are any) or "fast", those the run is judged on; ``tune``, in place of lr, the axes
    of a grid, lr among them, each a value, a list of values or ``{low, high, number}``, evenly spaced in logarithms;
    ``draw``, beside lr or with it, the settings that every seed draws at random for itself, ``draws`` times, each from
    ``{low, high}``, evenly in logarithms (rounded, where both are whole numbers), with ``once = true`` one value for
    all of them; ``best_of``, a number of draws, the best of which on the validation part of their own seed is taken, in
    expectation over the draws; ``tasks``, the names of those it is trained on, default all; ``steps_as``, one of
    ``STEPS_AS``: takes over the slow steps of the adaptive arm that lr names, as on the tuning seeds. An arm with an
    argument of Lookahead is one. family : str, the name of the table that the arm comes from, which that of all points
    of its axes begin with.
    """

    name: str
    fields: dict[str, Any]
    family: str = ""

    @property
    def kind(self) -> str:
        """What the arm is: "Lookahead", "averaging" (Lookahead without the pull-back), or the inner rule alone.

        The latter is "AdamW", or "AdamW at lr x step" at a share of the rate.
        """
        if self._is_lookahead:
            return "Lookahead" if self.fields.get("pull_back", True) else "averaging"
        return f"{self.fields['rule']} at lr x step" if self.fields.get("times", 1) < 1 else self.fields["rule"]

    @property
    def _open(self):
        """The settings that are tuned for each task, or drawn for each seed."""
        return {*self.fields.get("tune", {}), *self.fields.get("draw", {})}

    @property
    def _is_lookahead(self):
        return not {*OF_LOOKAHEAD}.isdisjoint({*self.fields, *self._open})

    @property
    def parameters(self) -> dict[str, Any]:
        """What tells the arm from others: a dict with the keys ``ARM_PARAMETERS``.

        ``family``, the name of its table in the register; ``kind``; the rest are fields, or their defaults. ``times``
        is 1 where the arm has the rate itself. Retention and slow_step_size are both given, as numbers. None is what
        the arm has no use for, what is tuned or drawn, and the steps that an arm adapts or takes over.
        """
        settings: dict[str, Any] = {"times": 1.0, "weights": "slow"}
        if self._is_lookahead:
            signature = inspect.signature(Lookahead).parameters
            settings |= {name: signature[name].default for name in OF_LOOKAHEAD}
            settings |= {name: self.fields[name] for name in OF_LOOKAHEAD if name in self.fields}
            settings |= _both_conventions(settings["retention"], settings["slow_step_size"])
            if {"retention", "slow_step_size"} & self._open or "steps_as" in self.fields:
                settings |= {"retention": None, "slow_step_size": None}
        rest = {name: value for name, value in self.fields.items() if name not in OF_LOOKAHEAD}
        named = {"family": self.family or self.name, "kind": self.kind} | dict.fromkeys(self._open)
        return {key: (settings | rest | named).get(key) for key in ARM_PARAMETERS}

    @cached_property
    def trials(self):
        """The settings that are tried before the arm's own is chosen, a list of dicts; empty where none are."""
        axes = {name: _values(name, axis) for name, axis in self.fields.get("tune", {}).items()}
        return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())] if axes else []

    @property
    def draws(self):
        """How many settings are drawn for every seed; 0 where none are."""
        return self.fields.get("draws", 0)

    def drawn(self, seed):
        """Return the settings that are drawn for a seed, a list of dicts; two arms draw the same from the same axes.

        seed : int in [0, 2**63).
        """
        axes = {}
        for i, (name, axis) in enumerate(self.fields["draw"].items()):
            u = uniforms(1 if axis.get("once") else self.draws, seed, DRAWS, i)
            values = axis["low"] * (axis["high"] / axis["low"]) ** np.resize(u, self.draws)
            axes[name] = np.rint(values).astype(int).tolist() if _is_whole(axis) else values.tolist()
        return [dict(zip(axes, point, strict=True)) for point in zip(*axes.values(), strict=True)]

    @property
    def rate_of(self):
        """The name of the arm whose learning rate this one takes, or None."""
        lr = self.fields.get("lr")
        return lr if isinstance(lr, str) and lr != "given" else None

    @property
    def weights(self):
        """The weights that its runs are judged on: "slow", where there are any, or "fast"."""
        return self.fields.get("weights", "slow")

    def is_on(self, task):
        """Return whether the arm is trained on a task.

        task : str, its name.
        """
        return task in self.fields.get("tasks", [task])

    def optimizer(self, problem, lr, **chosen):
        """Return the optimizer for a problem.

        problem : Problem. lr : float or "given"; chosen : further settings, from tuning. errors : TypeError,
        ValueError.
        """
        if lr == "given":
            if "lr" not in problem.fields:
                raise ValueError(f"lr must be given by the task {problem.name!r}, not missing")
            lr = problem.fields["lr"]
        settings = {name: value for name, value in self.fields.items() if name not in OF_ARM} | chosen
        rule, own = INNER_RULES[self.fields["rule"]], OF_RULE[self.fields["rule"]]
        of_rule = {name: settings.pop(name) for name in [*settings] if name in own}
        factor = real_number("times", self.fields.get("times", 1), 0)
        base = rule(problem.schedule(real_number("lr", lr, 0) * factor), **of_rule)
        return grid(Lookahead(base), **{n: [v] for n, v in settings.items()})[0] if settings else base

    def check(self, problem):
        """Refuse an arm of which no optimizer can be made for a problem.

        problem : Problem. errors : TypeError, ValueError.
        """
        lr = 1.0 if self.rate_of else self.fields.get("lr")
        ends = [{name: axis[end] for name, axis in self.fields.get("draw", {}).items()} for end in ("low", "high")]
        for chosen in self.trials or ends:
            self.optimizer(problem, **({"lr": lr} | chosen))


def _both_conventions(retention, slow_step_size):
    """Return both as numbers, of which a Lookahead is given one or none; neither of steps that differ."""
    if retention is not None:
        return {"retention": retention, "slow_step_size": round(1 - retention, 12)}
    step = 0.5 if slow_step_size is None else slow_step_size
    if not isinstance(step, (int, float)):
        return {"retention": None, "slow_step_size": None}
    return {"retention": round(1 - step, 12), "slow_step_size": step}


def with_parameters(
    frame: pd.DataFrame, problems: dict[str, Problem], arms: dict[str, Arm] | None = None
) -> pd.DataFrame:
    """Return a frame with the parameters of its tasks, and of its arms, as columns after its own.

    A missing parameter is None or NaN.

    frame : with names of tasks in the column ``task`` and, if arms are given, of arms in ``arm``. problems : dict of
    :class:`Problem` by name. arms : dict of :class:`Arm` by name. returns : frame with the further columns
    ``TASK_PARAMETERS`` and, if arms are given, ``ARM_PARAMETERS``. errors : ValueError for a task or an arm that is not
    among them.
    """
    named: list[tuple[str, dict, tuple[str, ...]]] = [("task", problems, TASK_PARAMETERS)]
    named += [("arm", arms, ARM_PARAMETERS)] if arms is not None else []
    for column, known, columns in named:
        names = [*frame[column].unique()]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{column} must be one of {', '.join(map(repr, known))}, not {unknown[0]!r}")
        rows = pd.DataFrame([known[name].parameters for name in names], names, columns)
        numbers = {name: float for name in columns if name in NUMBERS}
        rows = rows.astype(numbers).loc[frame[column].to_list()]
        frame = pd.concat([frame, rows.set_axis(frame.index)], axis=1)
    return frame


def _values(name, axis):
    with inside(f"tune.{name}"):
        if isinstance(axis, dict):
            known_keys("", axis, ("low", "high", "number"))
            low = real_number("low", axis.get("low"), 0, open_low=True)
            high, number = real_number("high", axis.get("high"), low), whole_number("number", axis.get("number"), 2)
            return np.geomspace(low, high, number).tolist()
    return _axis(f"tune.{name}", axis) if isinstance(axis, list) else [axis]


def _is_whole(axis):
    return isinstance(axis["low"], int) and isinstance(axis["high"], int)


def _check_draw(table):
    if ("draw" in table) + ("draws" in table) + ("best_of" in table) not in (0, 3):
        raise ValueError("draw, draws and best_of must come together")
    for name, axis in table_of_keys("draw", table.get("draw", {})).items():
        with inside(f"draw.{name}"):
            known_keys("", table_of_keys("axis", axis), ("low", "high", "once"))
            low = real_number("low", axis.get("low"), 0, open_low=True)
            real_number("high", axis.get("high"), low, open_low=True)
            flag("once", axis.get("once", False))
    if "draw" in table:
        draws = whole_number("draws", table["draws"], 1)
        for n in table["best_of"] if isinstance(table["best_of"], list) else [table["best_of"]]:
            whole_number("best_of", n, 1, draws)


def _axis(where, values):
    if not values or any(each in values[:i] for i, each in enumerate(values)):
        raise ValueError(f"{where} must hold one value or more, and each once, not {values!r}")
    return values


def arms_of(tables):
    """Return arms by name; a list in a table is an axis: "lookahead retention=0.9" and so on.

    tables : dict of tables. errors : ValueError that names the key.
    """
    arms = {}
    for name, table in table_of_keys("arms", tables).items():
        table_of_keys(name, table)
        with inside(name):
            _check_arm(table)
            lists = {key: value for key, value in table.items() if isinstance(value, list) and key != "tasks"}
            axes = {key: _axis(key, value) for key, value in lists.items()}
        for point in itertools.product(*axes.values()):
            suffix = "".join(f" {key}={value}" for key, value in zip(axes, point, strict=True))
            arms[name + suffix] = Arm(name + suffix, table | dict(zip(axes, point, strict=True)), name)
    for arm in arms.values():
        if "steps_as" in arm.fields:
            choice(f"{arm.name}.steps_as", arm.fields["steps_as"], STEPS_AS)
            if arm.rate_of not in arms or arms[arm.rate_of].fields.get("slow_step_size") != "adaptive":
                raise ValueError(f"{arm.name}.lr must be the name of an adaptive arm, not {arm.fields.get('lr')!r}")
        if arm.rate_of and not (arm.rate_of in arms and arms[arm.rate_of].trials):
            allowed = "a number, 'given' or the name of an arm that tunes its own"
            raise ValueError(f"{arm.name}.lr must be {allowed}, not {arm.rate_of!r}")
    numbers = {arm.name: len(arm.trials) for arm in arms.values() if arm.trials}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"tune must hold the same number of trials in all arms that have it, not {numbers}")
    return arms


def _check_arm(table):
    rule = INNER_RULES[choice("rule", table.get("rule"), INNER_RULES)]
    known_keys("", table, tuple(dict.fromkeys((*OF_ARM, *OF_LOOKAHEAD, *inspect.signature(rule).parameters))))
    _check_draw(table)
    if ("tune" in table) + ("lr" in table) + ("lr" in table.get("draw", {})) != 1:
        raise ValueError("lr must be given, or be in tune or in draw, and only once")
    if "tune" in table and "lr" not in table_of_keys("tune", table["tune"]):
        raise ValueError("tune.lr must be given: every arm is tuned at learning rates of its own, or at 'given'")
    choice("weights", table.get("weights", "slow"), ("slow", "fast"))
    names("tasks", table.get("tasks", ["all"]))
