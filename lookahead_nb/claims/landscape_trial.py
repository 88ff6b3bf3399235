"""The runs on landscapes, small networks and games: what each arm gets on a task, in the format of :mod:`.trial`.

A replicate of a task has two halves of equally many runs. Arms with a grid of learning rates choose by the first half
and are reported on the second. So no replicate is judged on the runs that it was tuned on. On ``wells`` and
``moving`` a run is a replica of the point with its own noise. On ``networks`` it is a seed with its own rows and start.
On ``games`` and ``ring`` it is a start, see :mod:`.game_trial`. Seeds are those of the experiment plus the number of
the task: no two tasks share noise. On ``quadratics`` all numbers are exact and there is nothing to repeat, so a task
has one column, ``r0``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from lookahead_nb.checks import default_errors, one_of, whole, whole_number
from lookahead_nb.claims import game_trial
from lookahead_nb.claims.game_tasks import GameTask, RingTask
from lookahead_nb.claims.landscape_tasks import (
    CHANCE,
    PARITY_RATE,
    POPULATIONS,
    MovingQuadratic,
    NoisyQuadratic,
    ParityTask,
    Well,
    drawn,
)
from lookahead_nb.claims.population import power
from lookahead_nb.claims.trial import _names, _replicates, _row
from lookahead_nb.claims.trial_arms import RATES, Grid, TrialArm
from lookahead_nb.claims.tuning import edge_shares, tuned
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.theory import FAST, SLOW, Cycle, expected_loss
from lookahead_nb.theory.escapes import CROSSED, SIDE_BY_SIDE, escape_rates
from lookahead_nb.training.progress import Progress
from lookahead_nb.training.run import weights_at
from lookahead_nb.training.sweep import sweep

if TYPE_CHECKING:
    import pandas as pd

RUNS = {"quadratics": 0, "wells": 128, "moving": 4, "networks": 4}  # of half a replicate
READINGS = 20  # of the slow weights along a run on wells
STUCK = 0.15  # training loss above which a network counts as stuck
WIDE, WIDE_SPACING = 20, 2.2  # rates of the search for the middle of the grids on moving quadratics, from LOWEST on
LOWEST = 1e-4
EVERY = {"games": 2, "ring": 4}  # of the rates of a grid: only every second or fourth one is played


@dataclass(frozen=True)
class Kind:
    """How a metric is compared.

    Attributes
    ----------
    scale : str
        A key of ``registry.SCALES``. On "ratio" logarithms are compared, else the numbers themselves.
    more : bool
        Whether larger numbers count as a benefit.
    unit : float
        Numbers are divided by it, except on "ratio".
    """

    scale: str
    more: bool = False
    unit: float = 1.0


METRICS: dict[str, dict[str, Kind]] = {
    "quadratics": {
        "slow loss": Kind("ratio"),  # expected loss of the slow weights in the steady state, or of the only ones
        "fast loss": Kind("ratio"),  # that of the fast weights, the mean over a cycle, each ahead of its sync
        "slow variance": Kind("ratio"),  # mean over the modes
        "settling steps": Kind("ratio"),  # in which the mean of the slowest mode shrinks by the factor e
    },
    "wells": {
        "escape rate": Kind("ratio", more=True),  # per step, out of the shallower basin
        "distance": Kind("ratio", more=True),  # from reading to reading, from the shallower minimum on
        "worse basin": Kind("runs"),  # share of runs started around the ridge that end in the shallower basin
        "still there": Kind("runs"),  # share of runs started in the shallower minimum that end in its basin
        "excess loss": Kind("ratio"),  # mean height over the deeper minimum, started around the ridge
    },
    "moving": {
        "tracking error": Kind("ratio"),  # mean expected loss at the readings of the second half of a run
        "error at rest": Kind("ratio"),  # the same on the same quadratic without motion
    },
    "networks": {
        "training loss": Kind("gap", unit=CHANCE),  # at the end, the mean over the runs
        "stuck": Kind("runs"),  # share of runs whose training loss ends above STUCK
    },
    "games": {
        "distance left": Kind("ratio"),  # from the equilibrium, as a share of that at the start
    },
    "ring": {
        "Wasserstein distance": Kind("ratio"),  # between made points and real ones
        "bad samples": Kind("samples"),  # share of points farther than three standard deviations from all centres
        "missed modes": Kind("modes"),  # share of modes without a good point
    },
}
KINDS = {metric: kind for of_population in METRICS.values() for metric, kind in of_population.items()}

Runs = dict[tuple[str, Grid, str], np.ndarray]  # by metric, grid and half ("choose" or "report"): (replicates, rates)


def seeds_needed(name: str, replicates: int) -> int:
    """Return how many seeds all replicates need.

    Parameters
    ----------
    name : str
        A key of ``landscape_tasks.POPULATIONS``.
    replicates : int
        At least 1.

    Returns
    -------
    int
        One for all replicas of a landscape, none for exact numbers, one for each play.
    """
    several = {"quadratics": 0, "networks": 2 * RUNS["networks"] * replicates}
    return several.get(name, game_trial.plays_needed(name, replicates) or 1)


def rates_per_grid(name: str) -> int:
    """Return how many rates of a grid are trained.

    Parameters
    ----------
    name : str
        A population.

    Returns
    -------
    int
    """
    return len(_thinned([*range(RATES)], EVERY.get(name, 1)))


def _thinned(rates: list[Any], every: int) -> list[Any]:
    return rates if len(rates) == 1 else rates[every // 2 :: every]


def measure(
    name: str,
    numbers: Iterable[int],
    arms: Mapping[str, TrialArm],
    seeds: Sequence[int],
    replicates: int,
    *,
    metrics: Collection[str] | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Measure all arms on tasks of a declared population.

    Parameters
    ----------
    name : str
        A key of ``landscape_tasks.POPULATIONS``.
    numbers : iterable of int
        Those of the tasks.
    arms : mapping of str to TrialArm
        As :func:`.trial_arms.arms_of` returns them.
    seeds : sequence of int
        As many as :func:`seeds_needed` says.
    replicates : int
        Of each task, at least 2; on "quadratics" 1.
    metrics : collection of str, optional
        Of ``METRICS`` of the population. Default: all.
    progress : bool or function
        True shows the number of finished tasks, a function is passed it and the number of tasks.

    Returns
    -------
    frame
        As :func:`.trial.measure` returns it, with ``tuning`` "own" and ``multiple`` 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or an arm does not fit the population.
    """
    pd = whole("pandas")

    one_of("name", name, POPULATIONS)
    numbers = [whole_number("numbers", number, 0, 2**32 - 1) for number in numbers]
    wanted = tuple(METRICS[name]) if metrics is None else tuple(metrics)
    if unknown := [metric for metric in wanted if metric not in METRICS[name]]:
        raise ValueError(f"metrics must be of {', '.join(map(repr, METRICS[name]))}, got {unknown[0]!r}")
    replicates = whole_number("replicates", replicates, *((1, 1) if name == "quadratics" else (2,)))
    seeds = [whole_number("seeds", seed, 0, 2**62) for seed in seeds]
    if len(seeds) != (needed := seeds_needed(name, replicates)):
        raise ValueError(f"seeds must hold {needed} for {replicates} replicates on {name!r}, got {len(seeds)}")
    for arm in arms.values():
        _check_arm(name, arm)
    grids = [*dict.fromkeys(grid for arm in arms.values() for grid in arm.grids)]
    found = []
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        for done, number in enumerate(numbers, 1):
            values = MEASURES[name](
                drawn(name, number), grids, [seed + number for seed in seeds], replicates, {*wanted}
            )
            for arm, metric in product(arms.values(), wanted):
                keys = {"number": number, "arm": arm.name, "multiple": 1.0, "metric": metric, "tuning": "own"}
                found += [keys | row for row in _reduced(arm, metric, values)]
            report(done, len(numbers))
    return pd.DataFrame(found)


def _check_arm(name: str, arm: TrialArm) -> None:
    if arm.along or arm.before or arm.length != 1:
        raise ValueError(f"{arm.name} must be read at the end of runs as long as the task, on {name!r}")
    if any(grid.schedule != "constant" for grid in arm.grids):
        raise ValueError(f"{arm.name} must have a constant rate on {name!r}")
    if name not in EVERY and any(grid.moves != "simultaneous" for grid in arm.grids):
        raise ValueError(f"{arm.name} must have simultaneous moves on {name!r}, got {arm.grids[0].moves!r}")
    if arm.weights != "slow":
        raise ValueError(f"{arm.name} must be read at its slow weights on {name!r}, got {arm.weights!r}")
    if name == "quadratics" and not all(grid.fixed for grid in arm.grids):
        raise ValueError(f"{arm.name} must have a fixed rate on 'quadratics', such as times = 1.0")


@default_errors
def _reduced(arm: TrialArm, metric: str, values: Runs) -> Iterator[dict[str, Any]]:
    """Yield the row of an arm, if all of its runs have the metric."""
    if any((metric, grid, "report") not in values for grid in arm.grids):
        return
    report = np.concatenate([values[metric, grid, "report"] for grid in arm.grids], axis=1)
    if report.shape[1] == 1:
        yield _row(report[:, 0]) | {"lowest": np.nan, "highest": np.nan, "rates": 1}
        return
    sign = -1 if KINDS[metric].more else 1
    choose = np.concatenate([values[metric, grid, "choose"] for grid in arm.grids], axis=1)
    chosen, taken = tuned(sign * choose, report)
    rates = report.shape[1] // len(arm.grids)
    lowest, highest = edge_shares(chosen % rates, rates)
    yield _row(taken) | {"lowest": lowest, "highest": highest, "rates": rates}


def _optimizers(
    task: Any, grids: Iterable[Grid], centre: Callable[[Grid], float], every: int = 1
) -> list[tuple[Grid, Optimizer]]:
    return [
        (grid, grid.optimizer(lr, getattr(task, "steps", 1)))
        for grid in grids
        for lr in _thinned(grid.rates(task.number, centre(grid)), every)
    ]


# ------------------------------------------------------------------------------------------------------- quadratics


def _on_quadratic(task: NoisyQuadratic, grids: list[Grid], *_: Any) -> Runs:
    found: Runs = {}
    for grid, opt in _optimizers(task, grids, lambda _: task.lr):
        cycle = Cycle.of(opt, curvature=task.curvatures, noise=task.noise)
        slow = cycle.covariance()[:, SLOW, SLOW] if opt.has_slow_weights else cycle.covariance()[:, FAST, FAST]
        fast = [expected_loss(task.curvatures, 0, cycle.covariance(i)[:, FAST, FAST]) for i in range(cycle.sync_period)]
        exact = {
            "slow loss": expected_loss(task.curvatures, 0, slow),
            "fast loss": np.mean(fast),
            "slow variance": slow.mean(),
            "settling steps": -1 / np.log(cycle.rate.max()),
        }
        if not all(np.isfinite(value) for value in exact.values()):
            raise ValueError(f"{grid.name} must be stable on quadratic {task.number}, got lr = {task.lr:g}")
        found |= {(metric, grid, "report"): np.array([[value]]) for metric, value in exact.items()}
    return found


# ------------------------------------------------------------------------------------------------------------ wells


def _on_wells(task: Well, grids: list[Grid], seeds: list[int], replicates: int, wanted: set[str]) -> Runs:
    every = _optimizers(task, grids, lambda grid: task.lr if grid.fixed else task.middle_lr)
    fixed = [(grid, opt) for grid, opt in every if grid.fixed]
    found: Runs = {}
    if {"worse basin", "excess loss"} & wanted:
        found |= _from_the_ridge(task, every, seeds[0], replicates)
    if fixed and {"escape rate", "distance", "still there"} & wanted:
        found |= _from_the_minima(task, fixed, seeds[0], replicates)
    return found


def _weights(landscape: Any, opts: Sequence[Optimizer], at: list[int], seed: int, replicates: int) -> np.ndarray:
    """Return slow weights, or the only ones, (optimizers, steps, replicates, halves, weights of half a replicate)."""
    groups = [opts[i : i + SIDE_BY_SIDE] for i in range(0, len(opts), SIDE_BY_SIDE)]

    def train(group: Sequence[Optimizer]) -> np.ndarray:
        kinds = weights_at(landscape, list(group), at, seed=seed)
        has_slow = np.array([opt.has_slow_weights for opt in group])
        return np.where(has_slow[:, None, None], kinds[:, :, 1], kinds[:, :, 0]).astype(np.float64)

    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        trained = np.concatenate([*pool.map(train, groups)])
    return trained.reshape(*trained.shape[:2], replicates, 2, -1)


def _shares(of: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of replicas along the last axis for which something holds, NaN where a run diverged."""
    return np.where(np.isnan(weights).any(axis=-1), np.nan, of.mean(axis=-1))


def _of_halves(pairs: list[tuple[Grid, Optimizer]], metric: str, numbers: np.ndarray) -> Runs:
    """Return the (replicates, rates) numbers of each grid, from (optimizers, replicates, halves)."""
    rows: dict[Grid, list[np.ndarray]] = {}
    for (grid, _), row in zip(pairs, numbers, strict=True):
        rows.setdefault(grid, []).append(row)
    return {
        (metric, grid, half): np.stack(own, axis=1)[..., i]
        for grid, own in rows.items()
        for i, half in enumerate(("choose", "report"))
    }


def _from_the_ridge(task: Well, pairs: list[tuple[Grid, Optimizer]], seed: int, replicates: int) -> Runs:
    well = task.model("ridge", 2 * replicates * RUNS["wells"])
    ends = _weights(well, [opt for _, opt in pairs], [task.steps], seed, replicates)[:, 0]
    deepest = float(well.heights([well.minima[0]]))
    excess = well.heights(ends[..., None]).mean(axis=-1) - deepest
    shares = _shares(ends > well.ridge, ends)
    return _of_halves(pairs, "worse basin", shares) | _of_halves(pairs, "excess loss", excess)


def _from_the_minima(task: Well, pairs: list[tuple[Grid, Optimizer]], seed: int, replicates: int) -> Runs:
    replicas, opts = 2 * replicates * RUNS["wells"], [opt for _, opt in pairs]
    readings = [task.steps * i // READINGS for i in range(1, READINGS + 1)]
    times = [max(1, task.steps >> shift) for shift in range(6, -1, -1)]
    at = sorted({*readings, *times})
    shallow, deep = task.model("shallow", replicas), task.model("deep", replicas)
    paths = _weights(shallow, opts, at, seed, replicates)
    from_shallow = _shares(paths < shallow.ridge, paths)[:, [at.index(t) for t in times]]
    others = _weights(deep, opts, times, seed, replicates)
    from_deep = _shares(others > deep.ridge, others)
    crossed = (from_shallow + from_deep).mean(axis=(-1, -2))
    last = np.where(crossed <= CROSSED, np.arange(len(times)), 0).max(axis=1)  # as in `escapes.crossings`
    leaving, returning = (shares[np.arange(len(opts)), last] for shares in (from_shallow, from_deep))
    steps = np.array(times)[last][:, None, None]
    half_a_run = 0.5 / RUNS["wells"]  # stands for none, and is left out of all, so that logarithms of rates are finite
    leaving = leaving.clip(half_a_run, 1 - 2 * half_a_run)
    rates, _ = escape_rates(leaving, np.minimum(returning, 1 - half_a_run - leaving), steps)
    start = np.full_like(paths[:, :1], shallow.start[0])
    visited = np.concatenate([start, paths[:, [at.index(t) for t in readings]]], axis=1)
    numbers = {
        "escape rate": rates,
        "distance": np.abs(np.diff(visited, axis=1)).sum(axis=1).mean(axis=-1),
        "still there": _shares(paths[:, -1] > shallow.ridge, paths[:, -1]),
    }
    found: Runs = {}
    for metric, table in numbers.items():
        found |= _of_halves(pairs, metric, table)
    return found


# ----------------------------------------------------------------------------------------------------------- moving


def _on_moving(task: MovingQuadratic, grids: list[Grid], seeds: list[int], replicates: int, wanted: set[str]) -> Runs:
    found: Runs = {}
    at = [task.steps // 2 + task.steps * i // 40 for i in range(1, 21)]
    for metric, moves in (("tracking error", True), ("error at rest", False)):
        if metric in wanted:
            middles = _middles(task, moves, at, grids)
            pairs = _optimizers(task, grids, middles.__getitem__)
            errors = _errors(task, moves, [opt for _, opt in pairs], at, seeds[0], replicates)
            found |= _of_halves(pairs, metric, errors)
    return found


def _middles(task: MovingQuadratic, moves: bool, at: list[int], grids: list[Grid]) -> dict[Grid, float]:
    """Return the rate of each grid's inner optimizer with the lowest error, on a seed that nothing else uses."""
    rates = [LOWEST * power(WIDE_SPACING, i) for i in range(WIDE)]
    inner = {grid: [grid.inner(lr, task.steps) for lr in rates] for grid in grids}
    opts = [*dict.fromkeys(opt for own in inner.values() for opt in own)]
    errors = dict(zip(opts, _errors(task, moves, opts, at, task.number, 1).mean(axis=(1, 2)), strict=True))
    return {grid: rates[int(np.argmin([errors[opt] for opt in own]))] for grid, own in inner.items()}


def _errors(
    task: MovingQuadratic, moves: bool, opts: Sequence[Optimizer], at: list[int], seed: int, replicates: int
) -> np.ndarray:
    """Return the mean loss over readings, (optimizers, replicates, halves); infinite where a run diverged."""
    weights = _weights(task.model(2 * replicates * RUNS["moving"], moves=moves), opts, at, seed, replicates)
    half = task.model(RUNS["moving"], moves=moves)
    with np.errstate(over="ignore", invalid="ignore"):
        losses = np.stack([half.loss(weights[:, i], step) for i, step in enumerate(at)])
    return np.where(np.isnan(losses), np.inf, losses).mean(axis=0)


# --------------------------------------------------------------------------------------------------------- networks


def _on_networks(task: ParityTask, grids: list[Grid], seeds: list[int], replicates: int, wanted: set[str]) -> Runs:
    pairs = _optimizers(task, grids, lambda grid: task.lr if grid.fixed else PARITY_RATE)
    rows = sweep([replace(task.task, configs=[opt for _, opt in pairs])], None, None, seeds=seeds, progress=False)
    last = rows[rows["step"] == task.steps].drop_duplicates("run", keep="last")
    losses = last["train_loss"].fillna(np.inf).clip(upper=CHANCE).to_numpy(np.float64)
    losses = losses.reshape(len(pairs), replicates, 2, -1)
    numbers = {"training loss": losses.mean(axis=-1), "stuck": (losses > STUCK).mean(axis=-1)}
    found: Runs = {}
    for metric in wanted:
        found |= _of_halves(pairs, metric, numbers[metric])
    return found


# ------------------------------------------------------------------------------------------------------------ games


def _on_games(
    task: GameTask | RingTask, grids: list[Grid], seeds: list[int], replicates: int, wanted: set[str]
) -> Runs:
    every = EVERY["games" if isinstance(task, GameTask) else "ring"]
    pairs = _optimizers(task, grids, lambda grid: task.centre(grid.rule), every)
    played = [game_trial.measured(task, opt, grid.moves, seeds, replicates) for grid, opt in pairs]
    seen = _of_halves(pairs, "seen", np.stack([numbers["seen"] for numbers in played]))
    found: Runs = {}
    for metric in wanted:
        found |= _of_halves(pairs, metric, np.stack([numbers[metric] for numbers in played]))
    # Rates are chosen by what a player sees, whatever is reported.
    return {key: seen["seen", key[1], "choose"] if key[2] == "choose" else value for key, value in found.items()}


MEASURES: dict[str, Callable[..., Runs]] = {
    "quadratics": _on_quadratic,
    "wells": _on_wells,
    "moving": _on_moving,
    "networks": _on_networks,
    "games": _on_games,
    "ring": _on_games,
}


# -------------------------------------------------------------------------------------------------------- contrasts


def landscape_benefits(
    rows: pd.DataFrame, arm: str, controls: str | Sequence[str], metric: str, kinds: Mapping[str, Kind] = KINDS
) -> pd.DataFrame:
    """Return the benefit of an arm on every task and in every replicate, for :mod:`.inference`.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    arm : str
        Its name.
    controls : str or sequence of str
        The names of the arms that it is compared with; of several the mean.
    metric : str
        One of kinds.
    kinds : mapping of str to Kind
        How metrics are compared, by default those of ``METRICS``.

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each replicate: ``log(control) - log(arm)`` on the
        scale "ratio", else ``(control - arm)/unit``; the negative where more is better. The unit of a gap is log(2),
        the loss of guessing parity; the best is almost 0. Exact numbers, with their single column, have it twice: the
        variance within a task is then 0, and each test of a single task follows the sign of its benefit.

    Raises
    ------
    ValueError
        If rows have no such arm or metric, or controls name none.
    """
    kind = kinds[one_of("metric", metric, kinds)]
    names = _names(controls)

    def of(name: str) -> pd.DataFrame:
        own = rows[(rows["arm"] == name) & (rows["metric"] == metric)]
        if own.empty:
            raise ValueError(f"arm must be one with the metric {metric!r}, got {name!r}")
        values = own.set_index("number")[_replicates(own)].dropna(axis=1, how="all")
        return np.log(values) if kind.scale == "ratio" else values / kind.unit

    control, *others = [of(name) for name in names]
    for other in others:
        control = control + other
    benefit = control / len(names) - of(arm)
    if benefit.shape[1] == 1:
        benefit = benefit.assign(r1=benefit["r0"])
    return -benefit if kind.more else benefit
