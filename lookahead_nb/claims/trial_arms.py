"""The arms of the second trial: optimizers, each trained at every learning rate of a grid of its own.

``data/claims/arms.toml`` names them. All grids of a task lie around one rate, at which AdamW did best on other rows of
that task (:func:`.screening.screen`), and each is shifted by a random fraction of its spacing. Without the shift, equal
optimizers would be compared on equal rates, and others on rates that happen to suit one of them.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lookahead_nb.checks import real_number, whole_number
from lookahead_nb.claims.inference import MULTIPLES
from lookahead_nb.claims.population import power
from lookahead_nb.kernels.philox import RATES as OFFSETS
from lookahead_nb.kernels.philox import uniforms
from lookahead_nb.optimizers import INNER_RULES, WRAPPERS, Optimizer
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.provenance import committed
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys, toml_file

RATES, SPACING = 24, 1.35  # of a grid: almost three decades
SCHEDULES = ("constant", "linear", "cosine", "linear over the last fifth")
OF_ARM = ("optimizer", "inner", "schedule", "weights", "grids", "length", "along", "runs_of")
SHARE_OF_STEPS = re.compile(r"steps/([1-9]\d*)")


@dataclass(frozen=True)
class Grid:
    """One setting of an arm, to be trained at several learning rates.

    Attributes
    ----------
    name : str
        Such as "adamw_beta1 beta1=0.8"; it decides the shift of the rates.
    rule : str
        The inner optimizer, a name in ``INNER_RULES``.
    around : str
        "Lookahead" or "EMA", or "" for the inner optimizer alone.
    schedule : str
        One of ``SCHEDULES``.
    settings : tuple of (str, object)
        Of both optimizers. A text such as "steps/20" is that share of the steps, rounded, at least 1.
    """

    name: str
    rule: str
    around: str
    schedule: str
    settings: tuple[tuple[str, Any], ...]

    def optimizer(self, lr: float, steps: int) -> Optimizer:
        """Return the optimizer for a learning rate and a number of steps.

        Parameters
        ----------
        lr : float
            The peak of the schedule.
        steps : int
            Of the run, at least 1.

        Returns
        -------
        Optimizer

        Raises
        ------
        TypeError, ValueError
            If a setting is wrong.
        """
        settings = {name: _of_steps(value, steps) for name, value in self.settings}
        rate: Any = lr
        if self.schedule != "constant":
            kind, _, part = self.schedule.partition(" ")
            rate = Schedule(kind, lr, steps, decay_steps=max(1, round(steps / 5)) if part else None)
        rule, outer = INNER_RULES[self.rule], _parameters(self.around)
        inner = rule(rate, **{name: value for name, value in settings.items() if name not in outer})
        if not self.around:
            return inner
        return WRAPPERS[self.around](inner, **{name: value for name, value in settings.items() if name in outer})

    def rates(self, number: int, centre: float) -> list[float]:
        """Return the learning rates for a task, ``centre * SPACING**(j - RATES/2 + u)``, j = 0, 1, ...

        Parameters
        ----------
        number : int
            That of the task, in [0, 2**32).
        centre : float
            Above 0: the middle of the grid.

        Returns
        -------
        list of float
            ``RATES`` rising rates. The shift u, uniform in [0, 1), depends on the number and on the name of the grid.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.
        """
        number = whole_number("number", number, 0, 2**32 - 1)
        centre = real_number("centre", centre, 0, open_low=True)
        block = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "little")
        shift = float(uniforms(1, number, OFFSETS, block)[0])
        return [centre * power(SPACING, j - RATES / 2 + shift) for j in range(RATES)]


@dataclass(frozen=True)
class TrialArm:
    """What is compared: the best run over one or more grids, each replicate tuned for itself.

    Attributes
    ----------
    name : str
        Its name in the file of arms.
    grids : tuple of Grid
        A replicate chooses among the runs of all of them.
    weights : str
        The weights that are read, "slow" (if there are any) or "fast".
    length : float
        The steps of its runs as a multiple of those of the task.
    along : bool
        Whether its runs are also read at the multiples ``inference.MULTIPLES`` of the steps, each tuned for itself.
    """

    name: str
    grids: tuple[Grid, ...]
    weights: str = "slow"
    length: float = 1.0
    along: bool = False

    def steps(self, steps: int) -> int:
        """Return the number of steps that are trained, without the longer lengths of ``along``.

        Parameters
        ----------
        steps : int
            Those of the task.

        Returns
        -------
        int
        """
        return round(self.length * steps)

    def lengths(self, steps: int) -> dict[float, int]:
        """Return the steps at which its runs are read, by their multiple of the steps of the task.

        Parameters
        ----------
        steps : int
            Those of the task.

        Returns
        -------
        dict of float to int
        """
        return {m: round(m * steps) for m in MULTIPLES} if self.along else {self.length: self.steps(steps)}


def read(path: str | Path | None = None) -> dict[str, TrialArm]:
    """Read the arms of a trial.

    Parameters
    ----------
    path : path, optional
        A TOML file with a table for each arm. Default: ``data/claims/arms.toml`` of the checkout.

    Returns
    -------
    dict of TrialArm
        By name, in the order of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If an entry is wrong; the message names its key.

    Notes
    -----
    The keys of an arm:

    - ``optimizer``: "Lookahead" or "EMA" with ``inner``, or an inner optimizer.
    - their settings, except lr. A list is an axis; each point of the axes has a grid of its own. "steps/20" is a
      twentieth of the steps of the run.
    - ``grids``: the number of grids with other shifts for each point, default 1.
    - ``schedule``: one of ``SCHEDULES``, default "constant".
    - ``weights``: "slow" (the default) or "fast".
    - ``length``: the steps as a multiple of those of the task, default 1.
    - ``along``: true reads its runs at the multiples ``inference.MULTIPLES`` of the steps too, up to twice the steps.
    - ``runs_of``: the names of arms above, whose runs it reads; ``grids`` is then the number of their grids that are
      used, by default all. No other key but ``weights`` is allowed with it.
    """
    tables = toml_file(path or committed("data/claims/arms.toml"))
    arms: dict[str, TrialArm] = {}
    for name, table in tables.items():
        arms[name] = _arm(name, table_of_keys(name, table), arms)
    return arms


def _arm(name: str, table: dict[str, Any], arms: dict[str, TrialArm]) -> TrialArm:
    weights = choice(f"{name}.weights", table.get("weights", "slow"), ("slow", "fast"))
    if "runs_of" in table:
        known_keys(f"{name}.", table, ("runs_of", "weights", "grids"))
        others = [arms[choice(f"{name}.runs_of", other, arms)] for other in names(f"{name}.runs_of", table["runs_of"])]
        if len({other.length for other in others}) > 1:
            raise ValueError(f"{name}.runs_of must be arms of one length, got {table['runs_of']}")
        grids = tuple(grid for other in others for grid in other.grids)
        with inside(name):
            first = whole_number("grids", table.get("grids", len(grids)), 1, len(grids))
        return TrialArm(name, grids[:first], weights, others[0].length)
    around = table.get("optimizer")
    optimizer = choice(f"{name}.optimizer", around, (*INNER_RULES, *WRAPPERS))
    outer = _parameters(optimizer) if optimizer in WRAPPERS else set()
    rule = choice(f"{name}.inner", table.get("inner"), INNER_RULES) if optimizer in WRAPPERS else optimizer
    of_rule = set(inspect.signature(INNER_RULES[rule]).parameters) - {"lr"}
    known_keys(f"{name}.", table, (*OF_ARM, *sorted(of_rule | outer)))
    with inside(name):
        length = real_number("length", table.get("length", 1.0), 0, open_low=True)
        copies = whole_number("grids", table.get("grids", 1), 1)
    along = choice(f"{name}.along", table.get("along", False), (False, True))
    schedule = choice(f"{name}.schedule", table.get("schedule", "constant"), SCHEDULES)
    if along and (length != 1 or schedule != "constant" or copies != 1):
        raise ValueError(f"{name}.along must be false with another length, a schedule or several grids, got true")
    make = partial(Grid, rule=rule, around=optimizer if optimizer in WRAPPERS else "", schedule=schedule)
    axes = {key: value if isinstance(value, list) else [value] for key, value in table.items() if key not in OF_ARM}
    if empty := [key for key, values in axes.items() if not values]:
        raise ValueError(f"{name}.{empty[0]} must hold at least one value, got []")
    grids = tuple(make(name=key, settings=settings) for key, settings in _points(name, axes, copies))
    with inside(name):
        for grid in grids:
            grid.optimizer(1e-3, 40)  # wrong settings are refused here
    return TrialArm(name, grids, weights, length, along)


def _points(name: str, axes: dict[str, list], copies: int) -> Iterator[tuple[str, tuple[tuple[str, Any], ...]]]:
    """Yield the name and the settings of every grid."""
    several = [key for key, values in axes.items() if len(values) > 1]
    for point in itertools.product(*axes.values()):
        settings = tuple(zip(axes, point, strict=True))
        words = [name, *(f"{key}={value}" for key, value in settings if key in several)]
        for copy in range(copies):
            yield " ".join(words if copy == 0 else [*words, f"#{copy + 1}"]), settings


def _parameters(around: str) -> set[str]:
    return set(inspect.signature(WRAPPERS[around]).parameters) - {"inner"} if around else set()


def _of_steps(value: Any, steps: int) -> Any:
    if isinstance(value, str) and (share := SHARE_OF_STEPS.fullmatch(value)):
        return max(1, round(steps / int(share[1])))
    return value


def runs_per_task(arms: dict[str, TrialArm], replicates: int) -> int:
    """Return the number of runs that a task takes.

    Parameters
    ----------
    arms : dict of TrialArm
    replicates : int
        Of each task, at least 1.

    Returns
    -------
    int
        Grids that several arms share count once.
    """
    different = {grid for arm in arms.values() for grid in arm.grids}
    return len(different) * RATES * whole_number("replicates", replicates, 1)
