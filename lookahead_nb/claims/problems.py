"""Problems and arms by name, as the register of claims writes them down: tasks, and optimizers to train them with."""

from __future__ import annotations

import inspect
import itertools
import math
import tomllib
from collections.abc import Callable
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
NUMBERS = {  # the numbers among these parameters
    *("given_lr", "threshold", "rows", "flipped"),
    *("times", "sync_period", "retention", "slow_step_size", "weight_decay", "best_of"),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """A task: what is trained, for how long and with which schedule; made by :meth:`named` and :meth:`of`.

    Attributes
    ----------
    name : str
        Such as "digits", or with changes, "digits steps=100 rows=200".
    fields : dict
        The changed entry, see Notes.
    load : function or None
        Maps a seed to the data, which is split again for every seed; None on a landscape.
    entry : str
        The name of the entry that was changed, such as "digits".

    Notes
    -----
    Fields of every problem:

    - ``steps``: int, at least 1.
    - ``batch_size``: int, default 64.
    - ``eval_every``: int, default steps/20.
    - ``eval_rows``: int, at least 1.
    - ``lr``: the learning rate of arms that say "given".
    - ``schedule`` ("constant", "linear" or "cosine") and ``warmup``: of all arms.
    - ``threshold``: a loss above 0.

    Fields on data:

    - ``data``: a name of ``datasets``.
    - ``hidden``: the widths of the hidden layers of an MLP; none for logistic regression.
    - ``activation``: of an MLP; ``l2``: of logistic regression.
    - ``rows``: number of rows of the training part, drawn for every seed.
    - ``flipped``: the share of training labels that are wrong.

    Fields on a landscape: ``landscape``, its kind, and its arguments.
    """

    name: str
    fields: dict[str, Any]
    load: Any = None
    entry: str = ""

    @classmethod
    def named(cls, name: str, known: dict[str, Any]) -> Problem:
        """Return a problem by its name, changes included.

        Parameters
        ----------
        name : str
            The name of an entry, then changes such as "steps=100", separated by spaces.
        known : dict
            Tables of fields by name of the entry.

        Returns
        -------
        Problem
            The checked problem.

        Raises
        ------
        ValueError
            If the name or a field is wrong; the sentence names the key.

        Examples
        --------
        >>> bowl = {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 100}}
        >>> Problem.named("bowl steps=20", bowl).steps
        20
        """
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
    def of(cls, name: str, X: Any, y: Any, **fields: Any) -> Problem:
        """Return a problem on your own data.

        Parameters
        ----------
        name : str
            How the problem is called.
        X, y : array_like
            As in ``datasets.from_arrays``.
        **fields
            Fields of a problem on data, except ``data``; see :class:`Problem`.

        Returns
        -------
        Problem
            The checked problem.

        Raises
        ------
        TypeError, ValueError
            If the rows or a field are wrong.
        """
        datasets.from_arrays(X, y)  # refuses bad rows now, not at the first run
        fields = {"data": text("name", name)} | fields
        return cls._checked(name, fields, partial(datasets.from_arrays, X, y), name)

    @classmethod
    def _checked(cls, name: str, fields: dict[str, Any], load: Callable[[int], Any] | None, entry: str) -> Problem:
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
        """The parameters that distinguish the problem: a dict with the keys ``TASK_PARAMETERS``.

        ``entry`` is the name without changes, ``given_lr`` the learning rate of arms that say "given". The rest are
        fields or their defaults. A value is None if the problem has no such parameter.
        """
        defaults = {"batch_size": 64, "eval_every": self.eval_every, "schedule": "constant", "flipped": 0.0}
        hidden = None if self.on_landscape else tuple(self.fields.get("hidden", ()))
        named = {"entry": self.entry, "given_lr": self.fields.get("lr"), "hidden": hidden}
        return {key: (defaults | self.fields | named).get(key) for key in TASK_PARAMETERS}

    @property
    def on_landscape(self) -> bool:
        """Whether the problem is a landscape, which has no data."""
        return "landscape" in self.fields

    @property
    def noiseless(self) -> bool:
        """Whether all seeds give the same run: on a landscape without noise and with a single start."""
        return self.on_landscape and not (self.model.noise.any() or self.model.spread.any())

    @property
    def needs_download(self) -> bool:
        """Whether the data comes neither with the package nor with scikit-learn."""
        return self.fields.get("data") in datasets.DOWNLOADED

    @property
    def at_hand(self) -> bool:
        """Whether the problem can be trained offline."""
        return not self.needs_download or datasets.available(self.fields["data"])

    @property
    def steps(self) -> int:
        """Number of steps of a run."""
        return self.fields["steps"]

    @property
    def eval_every(self) -> int:
        """Number of steps between two evaluations."""
        return self.fields.get("eval_every", max(1, self.steps // 20))

    @cached_property
    def _known(self) -> tuple[int, int, float, str]:
        """The number of features and of classes, the chance-level loss and the fingerprint, from the first split."""
        data = self.dataset(0)
        shares = np.bincount(data.y_train) / len(data.y_train)
        chance = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
        return data.n_features, data.n_classes, chance, data.fingerprint

    @cached_property
    def model(self) -> Any:
        """The model or the landscape."""
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

    def dataset(self, seed: int) -> Any:
        """Return the data of a seed: its split, its subset and its wrong labels.

        Parameters
        ----------
        seed : int
            In [0, 2**63).

        Returns
        -------
        datasets.Dataset
            The split data.
        """
        data = self.load(seed)
        if "rows" in self.fields:
            data = data.subset(self.fields["rows"], seed)
        if self.fields.get("flipped"):
            data = data.with_flipped_labels(self.fields["flipped"], seed)
        return data

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the data; "none" on a landscape."""
        return "none" if self.on_landscape else self._known[3]

    @property
    def chance(self) -> float:
        """Chance-level loss, of guessing by the class frequencies; inf on a landscape."""
        return math.inf if self.on_landscape else self._known[2]

    @cached_property
    def _lowest(self) -> dict[int, float]:
        return {}

    def lowest(self, seed: int) -> float:
        """Return the lowest training loss of any weights on the data of a seed.

        On a landscape this is the loss of its deepest basin. See ``comparisons.lowest_loss``.

        Parameters
        ----------
        seed : int
            In [0, 2**63).

        Returns
        -------
        float
            The loss.

        Raises
        ------
        TypeError, ValueError
            Those of ``comparisons.lowest_loss``.
        """
        if self.on_landscape:
            basins = np.reshape(getattr(self.model, "minima", ()), (-1, 1))
            return float(self.model.heights(basins).min()) if len(basins) else 0.0
        if seed not in self._lowest:
            self._lowest[seed] = lowest_loss(self.model, self.dataset(seed))
        return self._lowest[seed]

    def training(self) -> dict[str, Any]:
        """Return the arguments with which ``sweep`` trains the problem.

        Returns
        -------
        dict
            ``model``, ``data`` and keyword arguments of ``sweep``.
        """
        settings: dict[str, Any] = {
            name: self.fields[name] for name in ("batch_size", "eval_rows") if name in self.fields
        }
        settings |= {"steps": self.steps, "eval_every": self.eval_every}
        return {"model": self.model, "data": None if self.on_landscape else self.dataset} | settings

    @property
    def operations(self) -> float:
        """Floating-point operations of the training steps of one run, as ``training.Setup`` counts them."""
        settings = self.training()
        model, data = settings.pop("model"), settings.pop("data")
        return Setup(model, data, Training(**settings)).operations

    def schedule(self, peak: float) -> float | Schedule:
        """Return the learning rate of a run with this peak.

        Parameters
        ----------
        peak : float
            At least 0.

        Returns
        -------
        float or Schedule
            The number itself if the problem has neither a schedule nor a warmup.

        Raises
        ------
        TypeError, ValueError
            If the peak or the schedule is wrong.
        """
        kind, warmup = self.fields.get("schedule", "constant"), self.fields.get("warmup", 0)
        choice("schedule", kind, ("constant", "linear", "cosine"))
        schedule = Schedule(kind, peak, None if kind == "constant" else self.steps, warmup)
        return peak if kind == "constant" and not warmup else schedule


def _check_network(fields: dict[str, Any]) -> None:
    hidden = fields.get("hidden", [])
    if not isinstance(hidden, (list, tuple)):
        raise ValueError(f"hidden must be a list of widths such as [32], not {hidden!r}")
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
    """An optimizer to be tested, with its learning rate still open; made by :func:`arms_of`.

    Attributes
    ----------
    name : str
        The name, with the point of its axes.
    fields : dict
        Arguments of the optimizers and the keys ``OF_ARM``, see Notes.
    family : str
        The name of the table that the arm comes from. The names of all points of its axes begin with it.

    Notes
    -----
    An arm with an argument of Lookahead is a Lookahead. The keys ``OF_ARM``:

    - ``rule``: the inner optimizer.
    - ``lr``: a number, "given" (the rate of the problem) or the name of an arm that is tuned.
    - ``times``: a factor of the learning rate.
    - ``weights``: the weights that a run is judged on, "slow" (if there are any) or "fast".
    - ``tune``: replaces lr; the axes of a grid, lr among them. An axis is a value, a list of values or
      ``{low, high, number}``, evenly spaced in logarithms.
    - ``draw``: settings that every seed draws at random, with or without lr. Each comes from ``{low, high}``, evenly in
      logarithms, and is rounded if both are whole numbers. With ``once = true`` all draws share one value.
    - ``draws``: the number of draws per seed.
    - ``best_of``: a number of draws. A run is the best of so many on the validation part of its seed, in expectation
    over
      the draws.
    - ``tasks``: the names of the tasks that the arm is trained on; default all.
    - ``steps_as``: one of ``STEPS_AS``. The arm uses the slow steps of the adaptive arm that lr names, as taken on the
      tuning seeds.
    """

    name: str
    fields: dict[str, Any]
    family: str = ""

    @property
    def kind(self) -> str:
        """The kind of the arm: "Lookahead", "averaging" (Lookahead without the pull-back) or the inner optimizer alone.

        The latter is "AdamW", or "AdamW at lr x step" if it trains at a fraction of the learning rate.
        """
        if self._is_lookahead:
            return "Lookahead" if self.fields.get("pull_back", True) else "averaging"
        return f"{self.fields['rule']} at lr x step" if self.fields.get("times", 1) < 1 else self.fields["rule"]

    @property
    def _open(self) -> set[str]:
        """The settings that are tuned for each task or drawn for each seed."""
        return {*self.fields.get("tune", {}), *self.fields.get("draw", {})}

    @property
    def _is_lookahead(self) -> bool:
        return not {*OF_LOOKAHEAD}.isdisjoint({*self.fields, *self._open})

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that distinguish the arm: a dict with the keys ``ARM_PARAMETERS``.

        ``family`` is the name of its table in the register. The rest, except ``kind``, are fields or their defaults.
        ``times`` is 1 if the arm trains at the learning rate itself. ``retention`` and ``slow_step_size`` are both
        given, as numbers. A value is None if the arm has no use for it, if it is tuned or drawn, or if it is a step
        that the arm adapts or copies.
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
    def trials(self) -> list[dict[str, Any]]:
        """The settings that tuning tries, a list of dicts; empty without tuning."""
        axes = {name: _values(name, axis) for name, axis in self.fields.get("tune", {}).items()}
        return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())] if axes else []

    @property
    def draws(self) -> int:
        """Number of settings drawn for every seed; 0 without drawing."""
        return self.fields.get("draws", 0)

    def drawn(self, seed: int) -> list[dict[str, Any]]:
        """Return the settings drawn for a seed; two arms draw the same from the same axes.

        Parameters
        ----------
        seed : int
            In [0, 2**63).

        Returns
        -------
        list of dict
            One dict of settings per draw.
        """
        axes = {}
        for i, (name, axis) in enumerate(self.fields["draw"].items()):
            u = uniforms(1 if axis.get("once") else self.draws, seed, DRAWS, i)
            values = axis["low"] * (axis["high"] / axis["low"]) ** np.resize(u, self.draws)
            axes[name] = np.rint(values).astype(int).tolist() if _is_whole(axis) else values.tolist()
        return [dict(zip(axes, point, strict=True)) for point in zip(*axes.values(), strict=True)]

    @property
    def rate_of(self) -> str | None:
        """The name of the arm whose learning rate this one uses, or None."""
        lr = self.fields.get("lr")
        return lr if isinstance(lr, str) and lr != "given" else None

    @property
    def weights(self) -> str:
        """The weights that the runs are judged on: "slow" (if there are any) or "fast"."""
        return self.fields.get("weights", "slow")

    def is_on(self, task: str) -> bool:
        """Return whether the arm is trained on a task.

        Parameters
        ----------
        task : str
            The name of the task.

        Returns
        -------
        bool
            True without a list of tasks.
        """
        return task in self.fields.get("tasks", [task])

    def optimizer(self, problem: Problem, lr: float | str, **chosen: Any) -> Any:
        """Return the optimizer for a problem.

        Parameters
        ----------
        problem : Problem
            The problem, which gives the schedule.
        lr : float or "given"
            The peak of the learning rate, ahead of the factor ``times``.
        **chosen
            Further settings, from tuning or drawing.

        Returns
        -------
        Optimizer
            The inner optimizer, or a Lookahead around it.

        Raises
        ------
        TypeError, ValueError
            If a setting is wrong, or the problem gives no learning rate.

        Examples
        --------
        >>> bowl = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 100}})
        >>> Arm("sgd", {"rule": "SGD", "lr": 0.1, "times": 0.5}).optimizer(bowl, 0.1).lr
        0.05
        """
        if lr == "given":
            if "lr" not in problem.fields:
                raise ValueError(f"lr must be given by the task {problem.name!r}, not missing")
            lr = problem.fields["lr"]
        settings = {name: value for name, value in self.fields.items() if name not in OF_ARM} | chosen
        rule, rule_arguments = INNER_RULES[self.fields["rule"]], OF_RULE[self.fields["rule"]]
        of_rule = {name: settings.pop(name) for name in [*settings] if name in rule_arguments}
        factor = real_number("times", self.fields.get("times", 1), 0)
        base = rule(problem.schedule(real_number("lr", lr, 0) * factor), **of_rule)
        return grid(Lookahead(base), **{n: [v] for n, v in settings.items()})[0] if settings else base

    def check(self, problem: Problem) -> None:
        """Raise an error if the arm makes no valid optimizer for a problem.

        Parameters
        ----------
        problem : Problem
            The problem.

        Raises
        ------
        TypeError, ValueError
            Those of :meth:`optimizer`.
        """
        lr = 1.0 if self.rate_of else self.fields.get("lr")
        ends = [{name: axis[end] for name, axis in self.fields.get("draw", {}).items()} for end in ("low", "high")]
        for chosen in self.trials or ends:
            self.optimizer(problem, **({"lr": lr} | chosen))


def _both_conventions(retention: float | None, slow_step_size: Any) -> dict[str, float | None]:
    """Return retention and slow_step_size as numbers, given one or none of them; both None if the steps differ."""
    if retention is not None:
        return {"retention": retention, "slow_step_size": round(1 - retention, 12)}
    step = 0.5 if slow_step_size is None else slow_step_size
    if not isinstance(step, (int, float)):
        return {"retention": None, "slow_step_size": None}
    return {"retention": round(1 - step, 12), "slow_step_size": step}


def with_parameters(
    frame: pd.DataFrame, problems: dict[str, Problem], arms: dict[str, Arm] | None = None
) -> pd.DataFrame:
    """Return a frame with the parameters of its tasks, and of its arms, as further columns.

    Parameters
    ----------
    frame : DataFrame
        With names of tasks in the column ``task`` and, if arms are given, names of arms in ``arm``.
    problems : dict of str to Problem
        Problems by name.
    arms : dict of str to Arm, optional
        Arms by name.

    Returns
    -------
    DataFrame
        The frame with the columns ``TASK_PARAMETERS`` and, if arms are given, ``ARM_PARAMETERS`` after its own. A
        missing parameter is None or NaN.

    Raises
    ------
    ValueError
        If a task or an arm of the frame is unknown.
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


def _values(name: str, axis: Any) -> list[Any]:
    with inside(f"tune.{name}"):
        if isinstance(axis, dict):
            known_keys("", axis, ("low", "high", "number"))
            low = real_number("low", axis.get("low"), 0, open_low=True)
            high, number = real_number("high", axis.get("high"), low), whole_number("number", axis.get("number"), 2)
            return np.geomspace(low, high, number).tolist()
    return _axis(f"tune.{name}", axis) if isinstance(axis, list) else [axis]


def _is_whole(axis: dict[str, Any]) -> bool:
    return isinstance(axis["low"], int) and isinstance(axis["high"], int)


def _check_draw(table: dict[str, Any]) -> None:
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


def _axis(where: str, values: list[Any]) -> list[Any]:
    if not values or any(value in values[:i] for i, value in enumerate(values)):
        raise ValueError(f"{where} must hold one value or more, none of them twice, not {values!r}")
    return values


def arms_of(tables: dict[str, Any]) -> dict[str, Arm]:
    """Return arms by name; a list in a table is an axis, such as "lookahead retention=0.9".

    Parameters
    ----------
    tables : dict
        Tables of fields by name of the arm, see :class:`Arm`.

    Returns
    -------
    dict of str to Arm
        One arm per point of the axes.

    Raises
    ------
    ValueError
        If a table is wrong; the sentence names the key.

    Examples
    --------
    >>> list(arms_of({"sgd": {"rule": "SGD", "lr": [0.1, 0.2]}}))
    ['sgd lr=0.1', 'sgd lr=0.2']
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


def _check_arm(table: dict[str, Any]) -> None:
    rule = INNER_RULES[choice("rule", table.get("rule"), INNER_RULES)]
    known_keys("", table, tuple(dict.fromkeys((*OF_ARM, *OF_LOOKAHEAD, *inspect.signature(rule).parameters))))
    _check_draw(table)
    if ("tune" in table) + ("lr" in table) + ("lr" in table.get("draw", {})) != 1:
        raise ValueError("lr must be given, or be in tune or in draw, and only once")
    if "tune" in table and "lr" not in table_of_keys("tune", table["tune"]):
        raise ValueError("tune.lr must be given: every arm is tuned at learning rates of its own, or at 'given'")
    choice("weights", table.get("weights", "slow"), ("slow", "fast"))
    names("tasks", table.get("tasks", ["all"]))
