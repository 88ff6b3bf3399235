"""The arms of the second trial: optimizers, each trained at every learning rate of a grid of its own.

The files in ``data/claims/experiments`` name them. All grids of a task lie around one rate, at which AdamW did best on
other rows of that task (:func:`.screening.screen`), and each is shifted by a random fraction of its spacing. Without
the shift, equal optimizers would be compared on equal rates, and others on rates that happen to suit one of them.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookahead_nb.checks import real_number, whole_number
from lookahead_nb.claims.inference import MULTIPLES
from lookahead_nb.claims.population import power
from lookahead_nb.kernels.philox import RATES as OFFSETS
from lookahead_nb.kernels.philox import uniforms
from lookahead_nb.optimizers import INNER_RULES, WRAPPERS, InnerOptimizer, Optimizer
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.provenance import committed
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys, toml_file
from lookahead_nb.training.play import MOVES

RATES, SPACING = 24, 1.35  # of a grid: almost three decades
SCHEDULES = ("constant", "linear", "cosine", "linear over the last fifth")
OF_ARM = (
    *("optimizer", "inner", "lr", "times", "schedule", "weights", "grids", "length", "along", "before", "runs_of"),
    "moves",
)
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
    lr : float or None
        The only learning rate, or None for a grid of ``RATES``.
    times : float or None
        The only learning rate as a multiple of the rate of the task, or None.
    moves : str
        In a game, as in :func:`lookahead_nb.play`.
    """

    name: str
    rule: str
    around: str
    schedule: str
    settings: tuple[tuple[str, Any], ...]
    lr: float | None = None
    times: float | None = None
    moves: str = "simultaneous"

    @property
    def fixed(self) -> bool:
        """Whether there is one learning rate, and nothing to tune."""
        return self.lr is not None or self.times is not None

    def inner(self, lr: Any, steps: int) -> InnerOptimizer:
        """Return the inner optimizer alone.

        Parameters
        ----------
        lr : float or Schedule
            Its learning rate.
        steps : int
            Of the run, at least 1.

        Returns
        -------
        InnerOptimizer

        Raises
        ------
        TypeError, ValueError
            If a setting is wrong.
        """
        outer = _parameters(self.around)
        of_rule = {name: _of_steps(value, steps) for name, value in self.settings if name not in outer}
        return INNER_RULES[self.rule](lr, **of_rule)

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
        rate: Any = lr
        if self.schedule != "constant":
            kind, _, part = self.schedule.partition(" ")
            rate = Schedule(kind, lr, steps, decay_steps=max(1, round(steps / 5)) if part else None)
        inner, outer = self.inner(rate, steps), _parameters(self.around)
        if not self.around:
            return inner
        around = {name: _of_steps(value, steps) for name, value in self.settings if name in outer}
        return WRAPPERS[self.around](inner, **around)

    def rates(self, number: int, centre: float, below: int = 0, above: int = 0) -> list[float]:
        """Return the learning rates for a task, ``centre * SPACING**(j - RATES/2 + u)``, j = 0, 1, ...

        Parameters
        ----------
        number : int
            That of the task, in [0, 2**32).
        centre : float
            Above 0: the middle of the grid. Around a Lookahead with a small slow step better rates are larger; its grid
            lies around ``centre/sqrt(slow_step_size)``.
        below, above : int, default 0
            How many rates are added at each end.

        Returns
        -------
        list of float
            ``RATES`` rising rates and those that are added, or the only one. u is the :meth:`shift`.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.
        """
        number = whole_number("number", number, 0, 2**32 - 1)
        centre = real_number("centre", centre, 0, open_low=True)
        if self.lr is not None:
            return [self.lr]
        if self.times is not None:
            return [self.times * centre]
        shift = self.shift(number)
        if isinstance(step := dict(self.settings).get("slow_step_size"), float) and 0 < step < 1:
            centre /= math.sqrt(step)
        return [centre * power(SPACING, j - RATES / 2 + shift) for j in range(-below, RATES + above)]

    def shift(self, number: int) -> float:
        """Return the share of a spacing by which the rates for a task are shifted.

        Parameters
        ----------
        number : int
            That of the task, in [0, 2**32).

        Returns
        -------
        float
            Uniform in [0, 1): it depends on the number and on the name of the grid.
        """
        block = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "little")
        return float(uniforms(1, number, OFFSETS, block)[0])


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
    before : int
        How many steps before their end its runs are read. Default: 0.
    """

    name: str
    grids: tuple[Grid, ...]
    weights: str = "slow"
    length: float = 1.0
    along: bool = False
    before: int = 0

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
        if self.along:
            return {m: round(m * steps) for m in MULTIPLES}
        return {self.length: self.steps(steps) - self.before}


def read(path: str | Path | None = None) -> dict[str, TrialArm]:
    """Read the arms of a trial.

    Parameters
    ----------
    path : path, optional
        A TOML file with a table ``[arms.NAME]`` for each arm. Default: ``data/claims/experiments/trial.toml`` of the
        checkout.

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
    Other tables and keys of the file belong to :func:`.experiments.read`. The keys of an arm:

    - ``optimizer``: "Lookahead" or "EMA" with ``inner``, or an inner optimizer.
    - their settings, except lr. A list is an axis; each point of the axes has a grid of its own. "steps/20" is a
      twentieth of the steps of the run.
    - ``lr``: the only learning rate, instead of a grid of them; or ``times``, the same as a multiple of the rate of the
      task, which for generated tasks is the middle of their grids.
    - ``grids``: the number of grids with other shifts for each point, default 1.
    - ``schedule``: one of ``SCHEDULES``, default "constant".
    - ``weights``: "slow" (the default) or "fast".
    - ``length``: the steps as a multiple of those of the task, default 1.
    - ``along``: true reads its runs at the multiples ``inference.MULTIPLES`` of the steps too, up to twice the steps.
    - ``before``: how many steps before their end its runs are read, default 0.
    - ``moves``: how both players of a game move, as in :func:`lookahead_nb.play`; only in populations of games.
    - ``runs_of``: the names of arms above, whose runs it reads; ``grids`` is then the number of their grids that are
      used, by default all. No other keys but ``weights`` and ``before`` are allowed with it.
    """
    tables = toml_file(path or committed("data/claims/experiments/trial.toml"))
    with inside("arms"):
        return arms_of(table_of_keys("arms", tables.get("arms")))


def arms_of(tables: dict[str, Any]) -> dict[str, TrialArm]:
    """Return the arms of a table that was read; see :func:`read` for its keys.

    Parameters
    ----------
    tables : dict
        A table for each arm.

    Returns
    -------
    dict of TrialArm
        By name, in the order of the table.

    Raises
    ------
    ValueError
        If an entry is wrong; the message names its key.
    """
    arms: dict[str, TrialArm] = {}
    for name, table in tables.items():
        arms[name] = _arm(name, table_of_keys(name, table), arms)
    return arms


def _arm(name: str, table: dict[str, Any], arms: dict[str, TrialArm]) -> TrialArm:
    weights = choice(f"{name}.weights", table.get("weights", "slow"), ("slow", "fast"))
    if "runs_of" in table:
        known_keys(f"{name}.", table, ("runs_of", "weights", "grids", "before"))
        others = [arms[choice(f"{name}.runs_of", other, arms)] for other in names(f"{name}.runs_of", table["runs_of"])]
        if len({other.length for other in others}) > 1:
            raise ValueError(f"{name}.runs_of must be arms of one length, got {table['runs_of']}")
        grids = tuple(grid for other in others for grid in other.grids)
        with inside(name):
            first = whole_number("grids", table.get("grids", len(grids)), 1, len(grids))
            before = whole_number("before", table.get("before", 0), 0, 20)
        return TrialArm(name, grids[:first], weights, others[0].length, before=before)
    optimizer = choice(f"{name}.optimizer", table.get("optimizer"), (*INNER_RULES, *WRAPPERS))
    around = optimizer if optimizer in WRAPPERS else ""
    outer = _parameters(optimizer) if optimizer in WRAPPERS else set()
    rule = choice(f"{name}.inner", table.get("inner"), INNER_RULES) if optimizer in WRAPPERS else optimizer
    of_rule = set(inspect.signature(INNER_RULES[rule]).parameters) - {"lr"}
    known_keys(f"{name}.", table, (*OF_ARM, *sorted(of_rule | outer)))
    with inside(name):
        length = real_number("length", table.get("length", 1.0), 0, open_low=True)
        copies = whole_number("grids", table.get("grids", 1), 1)
        before = whole_number("before", table.get("before", 0), 0, 20)
        lr, times = (
            real_number(key, table[key], 0, open_low=True) if key in table else None for key in ("lr", "times")
        )
    along = choice(f"{name}.along", table.get("along", False), (False, True))
    schedule = choice(f"{name}.schedule", table.get("schedule", "constant"), SCHEDULES)
    if along and (length != 1 or schedule != "constant" or copies != 1 or before):
        reasons = "another length, a schedule, several grids or steps before the end"
        raise ValueError(f"{name}.along must be false with {reasons}, got true")
    if lr is not None and times is not None:
        raise ValueError(f"{name}.times must not be given with an lr, got {times:g}")
    fixed = "" if lr is None and times is None else f"times={times:g}" if lr is None else f"lr={lr:g}"
    if fixed and copies != 1:
        raise ValueError(f"{name}.grids must be 1 with {'times' if lr is None else 'an lr'}, got {copies}")
    moves = choice(f"{name}.moves", table.get("moves", "simultaneous"), MOVES)
    axes = {key: value if isinstance(value, list) else [value] for key, value in table.items() if key not in OF_ARM}
    if empty := [key for key, values in axes.items() if not values]:
        raise ValueError(f"{name}.{empty[0]} must hold at least one value, got []")
    grids = tuple(
        Grid(fixed or key, rule, around, schedule, settings, lr, times, moves)  # equal runs are shared
        for key, settings in _points(name, axes, copies)
    )
    with inside(name):
        for grid in grids:
            grid.optimizer(1e-3, 40)  # wrong settings are refused here
    return TrialArm(name, grids, weights, length, along, before)


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


def runs_per_task(arms: dict[str, TrialArm], replicates: int, rates: int = RATES) -> int:
    """Return the number of runs that a task takes.

    Parameters
    ----------
    arms : dict of TrialArm
    replicates : int
        Of each task, at least 1.
    rates : int
        Of a grid.

    Returns
    -------
    int
        Grids that several arms share count once.
    """
    different = {grid for arm in arms.values() for grid in arm.grids}
    return sum(1 if grid.fixed else rates for grid in different) * whole_number("replicates", replicates, 1)
