"""Problems and arms by name: what is trained, and with which optimizers, as the register of claims writes it down."""

from __future__ import annotations

import inspect
import itertools
import math
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lookahead_nb import datasets, landscapes, optimizers
from lookahead_nb.checks import choice, inside, known_keys, real_number, table_of_keys, whole_number
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.mlp import MLP
from lookahead_nb.schedules import Schedule
from lookahead_nb.sweep import grid

LANDSCAPES = {kind.__name__: kind for kind in (landscapes.Quadratic, landscapes.DoubleWell, landscapes.Bilinear)}
RULES = {
    rule.__name__: rule
    for rule in (optimizers.SGD, optimizers.Adagrad, optimizers.RMSprop, optimizers.Adam, optimizers.AdamW)
}
TRAINING = ("steps", "batch_size", "eval_every", "eval_rows", "lr", "schedule", "warmup", "threshold")
ON_DATA = ("data", "hidden", "activation", "l2", "rows", "flipped")
OF_ARM = ("rule", "lr", "times", "weights", "tune")


@dataclass(frozen=True)
class Problem:
    """What is trained, for how long, and by which schedule.

    name : str, as "digits", or with changes, as "digits steps=100 rows=200". fields : dict, the changed entry.

    Fields of every problem: ``steps``, ``batch_size`` (64), ``eval_every`` (steps/20), ``eval_rows``; ``lr``, the rate
    of arms that say "given"; ``schedule`` ("constant", "linear", "cosine") and ``warmup``, of all arms; ``threshold``,
    a loss. On data: ``data``, a name of ``datasets``, split anew for every seed; ``hidden``, the widths of an MLP, none
    for logistic regression; ``activation``, ``l2``; ``rows``, as many of the training part, others for every seed;
    ``flipped``, the share of its labels that are wrong. On a landscape: ``landscape``, its kind, and its arguments.
    """

    name: str
    fields: dict[str, Any]

    @classmethod
    def named(cls, name, known):
        """Return a problem by its name, changes included. known : dict of tables by name. errors : ValueError."""
        base, *changes = str(name).split(" ")
        fields = dict(known[choice("tasks", base, known)])
        for change in changes:
            key, is_changed, value = change.partition("=")
            if not is_changed:
                raise ValueError(f"tasks must be names with changes like steps=100, not {name!r}")
            try:
                fields[key] = tomllib.loads(f"value = {value}")["value"]
            except ValueError:
                fields[key] = value  # a bare word
        problem = cls(name, fields)
        with inside(f"tasks.{base}"):
            problem._check()
        return problem

    def _check(self):
        table_of_keys(self.name, self.fields)
        if ("data" in self.fields) == ("landscape" in self.fields):
            raise ValueError("data must be given, or landscape, and not both")
        if self.on_landscape:
            kind = LANDSCAPES[choice("landscape", self.fields["landscape"], LANDSCAPES)]
            known_keys("", self.fields, (*TRAINING, "landscape", *inspect.signature(kind).parameters))
            self.model  # noqa: B018 (checks its arguments)
        else:
            known_keys("", self.fields, (*TRAINING, *ON_DATA))
            choice("data", self.fields["data"], datasets.NAMES)
            if self.fields.get("hidden") and "l2" in self.fields:
                raise ValueError("l2 must be absent with hidden: only logistic regression has it")
        whole_number("steps", self.fields.get("steps", 0), 1)
        choice("schedule", self.fields.get("schedule", "constant"), ("constant", "linear", "cosine"))

    @property
    def on_landscape(self):
        """Whether the problem is a landscape, which has no data."""
        return "landscape" in self.fields

    @property
    def needs_download(self):
        """Whether the data does not come with the package or scikit-learn."""
        return self.fields.get("data") in datasets.DOWNLOADED

    @property
    def at_hand(self):
        """Whether it can be trained without a network."""
        return self.on_landscape or datasets.available(self.fields["data"])

    @property
    def steps(self):
        """How many steps a run has."""
        return self.fields["steps"]

    @cached_property
    def model(self):
        """The model."""
        if self.on_landscape:
            kind = LANDSCAPES[self.fields["landscape"]]
            return kind(
                **{name: self.fields[name] for name in inspect.signature(kind).parameters if name in self.fields}
            )
        data, hidden = self.dataset(0), self.fields.get("hidden")
        if not hidden:
            return LogisticRegression(data.n_features, n_classes=data.n_classes, l2=self.fields.get("l2", 0.0))
        return MLP((data.n_features, *hidden, data.n_classes), activation=self.fields.get("activation", "relu"))

    def dataset(self, seed):
        """Return the data of a seed: its split, its subset, its wrong labels."""
        data = datasets.load(self.fields["data"], split_seed=seed)
        if "rows" in self.fields:
            data = data.subset(self.fields["rows"], seed)
        if self.fields.get("flipped"):
            data = data.with_flipped_labels(self.fields["flipped"], seed)
        return data

    @cached_property
    def chance(self):
        """The loss of guessing by the frequencies of the classes; inf on a landscape."""
        if self.on_landscape:
            return math.inf
        shares = np.bincount(self.dataset(0).y_train) / len(self.dataset(0).y_train)
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    def training(self):
        """Return how ``sweep`` is to train: model, data and the keyword arguments."""
        how = {name: self.fields[name] for name in ("batch_size", "eval_rows") if name in self.fields}
        how |= {"steps": self.steps, "eval_every": self.fields.get("eval_every", max(1, self.steps // 20))}
        return {"model": self.model, "data": None if self.on_landscape else self.dataset} | how

    def schedule(self, peak):
        """Return the learning rate of a run: the number, or the schedule of the problem from this peak."""
        kind, warmup = self.fields.get("schedule", "constant"), self.fields.get("warmup", 0)
        if kind == "constant" and not warmup:
            return peak
        return Schedule(kind, peak, None if kind == "constant" else self.steps, warmup)


@dataclass(frozen=True)
class Arm:
    """An optimizer on trial, its learning rate still open.

    name : str. fields : dict, arguments of the optimizers, but for ``OF_ARM``: ``rule``, the inner rule; ``lr``, a
    number, "given" (that of the problem) or the name of another arm; ``times``, a factor of it; ``weights``, "slow"
    (where there are any) or "fast", those the run is judged on; ``tune``, axes of a grid in place of lr, each a list of
    values or ``{low, high, number}``. An arm with an argument of Lookahead is one.
    """

    name: str
    fields: dict[str, Any]

    @property
    def trials(self):
        """The settings that are tried before the arm's own is chosen, a list of dicts; empty where none are."""
        axes = {name: _values(name, axis) for name, axis in self.fields.get("tune", {}).items()}
        return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())] if axes else []

    @property
    def rate_of(self):
        """The name of the arm whose learning rate this one takes, or None."""
        lr = self.fields.get("lr")
        return lr if isinstance(lr, str) and lr != "given" else None

    def optimizer(self, problem, lr, **chosen):
        """Return the optimizer for a problem. lr : float; chosen : further settings, from tuning."""
        settings = {name: value for name, value in self.fields.items() if name not in OF_ARM} | chosen
        rule = RULES[self.fields["rule"]]
        of_rule = {name: settings.pop(name) for name in [*settings] if name in inspect.signature(rule).parameters}
        base = rule(problem.schedule(lr * self.fields.get("times", 1)), **of_rule)
        return grid(optimizers.Lookahead(base), **{n: [v] for n, v in settings.items()})[0] if settings else base


def _values(name, axis):
    if isinstance(axis, dict):
        with inside(f"tune.{name}"):
            known_keys("", axis, ("low", "high", "number"))
            low = real_number("low", axis.get("low"), 0, open_low=True)
            high, number = real_number("high", axis.get("high"), low), whole_number("number", axis.get("number"), 2)
            return np.geomspace(low, high, number).tolist()
    return axis if isinstance(axis, list) else [axis]


def arms_of(tables):
    """Return the arms of a claim by name; a list in a table is an axis: "lookahead retention=0.9" and so on.

    tables : dict of tables. errors : ValueError that names the key.
    """
    lookahead = {name for name in inspect.signature(optimizers.Lookahead).parameters if name != "inner"}
    arms = {}
    for name, table in tables.items():
        table_of_keys(name, table)
        rule = RULES[choice(f"{name}.rule", table.get("rule"), RULES)]
        known_keys(f"{name}.", table, sorted({*OF_ARM, *lookahead, *inspect.signature(rule).parameters}))
        if ("tune" in table) == ("lr" in table):
            raise ValueError(f"{name} must have an lr, or tune it, and not both")
        choice(f"{name}.weights", table.get("weights", "slow"), ("slow", "fast"))
        axes = {key: value for key, value in table.items() if isinstance(value, list)}
        for point in itertools.product(*axes.values()):
            suffix = "".join(f" {key}={value}" for key, value in zip(axes, point, strict=True))
            arms[name + suffix] = Arm(name + suffix, table | dict(zip(axes, point, strict=True)))
    for arm in arms.values():
        if arm.rate_of and arm.rate_of not in arms:
            raise ValueError(f"{arm.name}.lr must be a number, 'given' or the name of an arm, not {arm.rate_of!r}")
        with inside(arm.name):
            for chosen in arm.trials or [{}]:
                arm.optimizer(_NO_PROBLEM, **({"lr": 1.0} | chosen))
    return arms


_NO_PROBLEM = Problem("none", {"steps": 1})
