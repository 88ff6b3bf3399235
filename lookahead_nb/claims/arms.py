"""Arms of a trial: optimizers whose learning rate is given, tuned or drawn."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lookahead_nb.checks import flag, real_number, whole_number
from lookahead_nb.claims.tasks import TASK_PARAMETERS, Problem
from lookahead_nb.kernels.philox import DRAWS, uniforms
from lookahead_nb.optimizers import INNER_RULES, Lookahead
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys
from lookahead_nb.training.grid import grid
from lookahead_nb.training.ranges import number_of, range_of

OF_ARM = ("rule", "lr", "times", "weights", "tune", "draw", "draws", "best_of", "tasks", "steps_as")
STEPS_AS = ("mean", "shuffled", "replayed")
OF_RULE = {name: frozenset(inspect.signature(rule).parameters) for name, rule in INNER_RULES.items()}
OF_LOOKAHEAD = tuple(name for name in inspect.signature(Lookahead).parameters if name != "inner")
ARM_PARAMETERS = (
    *("family", "kind", "rule", "times", "sync_period", "retention", "slow_step_size", "pull_back", "inner_state"),
    *("weights", "weight_decay", "best_of"),
)
NUMBERS = {  # the numbers among these parameters
    *("given_lr", "threshold", "rows", "flipped"),
    *("times", "sync_period", "retention", "slow_step_size", "weight_decay", "best_of"),
}


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
                raise ValueError(f"lr must be given by the task {problem.name!r}, got nothing")
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
            raise ValueError(f"{column} must be one of {', '.join(map(repr, known))}, got {unknown[0]!r}")
        rows = pd.DataFrame([known[name].parameters for name in names], names, columns)
        numbers = {name: float for name in columns if name in NUMBERS}
        rows = rows.astype(numbers).loc[frame[column].to_list()]
        frame = pd.concat([frame, rows.set_axis(frame.index)], axis=1)
    return frame


def _values(name: str, axis: Any) -> list[Any]:
    with inside(f"tune.{name}"):
        if isinstance(axis, dict):
            ends = range_of(axis, more=("number",))
            return np.geomspace(ends.low, ends.high, number_of(axis)).tolist()  # committed results have these bits
    return _axis(f"tune.{name}", axis) if isinstance(axis, list) else [axis]


def _is_whole(axis: dict[str, Any]) -> bool:
    return isinstance(axis["low"], int) and isinstance(axis["high"], int)


def _check_draw(table: dict[str, Any]) -> None:
    if ("draw" in table) + ("draws" in table) + ("best_of" in table) not in (0, 3):
        raise ValueError("draw, draws and best_of must come together")
    for name, axis in table_of_keys("draw", table.get("draw", {})).items():
        with inside(f"draw.{name}"):
            range_of(table_of_keys("axis", axis), more=("once",))
            flag("once", axis.get("once", False))
    if "draw" in table:
        draws = whole_number("draws", table["draws"], 1)
        for n in table["best_of"] if isinstance(table["best_of"], list) else [table["best_of"]]:
            whole_number("best_of", n, 1, draws)


def _axis(where: str, values: list[Any]) -> list[Any]:
    if not values or any(value in values[:i] for i, value in enumerate(values)):
        raise ValueError(f"{where} must hold one value or more, none of them twice, got {values!r}")
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
                raise ValueError(f"{arm.name}.lr must be the name of an adaptive arm, got {arm.fields.get('lr')!r}")
        if arm.rate_of and not (arm.rate_of in arms and arms[arm.rate_of].trials):
            allowed = "a number, 'given' or the name of an arm that tunes its own"
            raise ValueError(f"{arm.name}.lr must be {allowed}, got {arm.rate_of!r}")
    numbers = {arm.name: len(arm.trials) for arm in arms.values() if arm.trials}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"tune must hold the same number of trials in all arms that have it, got {numbers}")
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
