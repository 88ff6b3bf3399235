"""What Lookahead does to an agent that learns CartPole by PPO, in the format of :mod:`.trial`.

A task is a group of seeds, and a replicate is a seed. In each group every arm with a grid of learning rates chooses one
by the first ``CHOOSERS`` seeds, separately for each metric, and is reported on the others. So no run is judged by the
choice that it took part in, and the luck of that choice is inside of every interval. All arms have the same seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import whole, whole_number
from lookahead_nb.claims.landscape_trial import Kind
from lookahead_nb.claims.population import power
from lookahead_nb.claims.trial import _row
from lookahead_nb.claims.trial_arms import Grid, TrialArm
from lookahead_nb.claims.tuning import edge_shares
from lookahead_nb.training.agents import GOAL, PPO, Policy, sweep
from lookahead_nb.training.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

POPULATION = "agents"
ENV_STEPS = 102_400  # 200 iterations: 3200 optimizer steps, a multiple of both sync periods
HIDDEN = (64, 64)
CHOOSERS = 2  # seeds of a group that choose the rates
RATES, SPACING = 7, 1.8  # of a grid
CENTRE = 0.008  # of the grids of Adam; of Lookahead it is divided by the slow step
EPISODE = 500.0  # the highest return
STEPS, RETURN, RATE = "steps until solved", "return", "learning rate"
METRICS = {
    STEPS: Kind("ratio"),  # environment steps until the recent return is 475; never is right after the end
    RETURN: Kind("return", more=True, unit=EPISODE),  # mean of the episodes at the end, 0 for a run that diverged
    RATE: Kind("ratio", more=True),  # that was chosen for the steps
}

Pair = tuple[Grid, float]
Runs = dict[Pair, dict[tuple[str, str], np.ndarray]]  # by metric and kind of weights: (seeds,)


def agents_sha256() -> str:
    """Return the hash of what all agents share: results that were measured with other settings are refused.

    Returns
    -------
    str
        SHA-256 as hex digits.
    """
    shared = [ENV_STEPS, HIDDEN, CHOOSERS, RATES, SPACING, CENTRE, GOAL, repr(PPO())]
    return hashlib.sha256(json.dumps(shared).encode()).hexdigest()


def groups(numbers: Iterable[int]) -> pd.DataFrame:
    """Return the groups of seeds as a table of tasks.

    Parameters
    ----------
    numbers : iterable of int

    Returns
    -------
    frame
        ``number``, ``steps`` of the environment, ``class``.
    """
    return whole("pandas").DataFrame({"number": [*numbers]}).assign(**{"steps": ENV_STEPS, "class": "CartPole"})


def rates_of(grid: Grid, number: int) -> list[float]:
    """Return the learning rates of an arm in a group.

    Parameters
    ----------
    grid : Grid
    number : int
        That of the group, in [0, 2**32).

    Returns
    -------
    list of float
        ``CENTRE/slow_step_size * SPACING**(j - RATES/2 + u)`` for j = 0, 1, ..., with the shift u of the grid; or its
        only rate.
    """
    if grid.lr is not None:
        return [grid.lr]
    centre = CENTRE / dict(grid.settings).get("slow_step_size", 1.0)
    return [centre * power(SPACING, j - RATES / 2 + grid.shift(number)) for j in range(RATES)]


def runs_per_group(arms: Mapping[str, TrialArm], replicates: int) -> int:
    """Return the number of runs that a group takes, at most: two metrics may choose the same rate.

    Parameters
    ----------
    arms : mapping of str to TrialArm
    replicates : int

    Returns
    -------
    int
    """
    different = {grid for arm in arms.values() for grid in arm.grids}
    fixed = sum(grid.fixed for grid in different)
    chosen = {(arm.grids[0], arm.weights, metric) for arm in arms.values() for metric in METRICS if _has(arm, metric)}
    reported = {(grid, weights, metric) for grid, weights, metric in chosen if not grid.fixed and metric != RATE}
    return (len(different) - fixed) * RATES * CHOOSERS + (fixed + len(reported)) * replicates


def measure(
    numbers: Iterable[int],
    arms: Mapping[str, TrialArm],
    seeds: Sequence[int],
    replicates: int,
    *,
    metrics: Collection[str] | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Train all arms in groups of seeds.

    Parameters
    ----------
    numbers : iterable of int
        Those of the groups; each is added to the seeds.
    arms : mapping of str to TrialArm
        As :func:`.trial_arms.arms_of` returns them, with one grid each, or one lr.
    seeds : sequence of int
        ``CHOOSERS`` and one for each replicate.
    replicates : int
        At least 2.
    metrics : collection of str, optional
        Of ``METRICS``. Default: all.
    progress : bool or function
        True shows the number of finished groups, a function is passed it and the number of groups.

    Returns
    -------
    frame
        As :func:`.trial.measure` returns it, with ``tuning`` "own" and ``multiple`` 1. An average, which does not play,
        has its return only.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or an arm does not fit.
    """
    pd = whole("pandas")

    numbers = [whole_number("numbers", number, 0, 2**32 - 1) for number in numbers]
    wanted = tuple(METRICS) if metrics is None else tuple(metrics)
    if unknown := [metric for metric in wanted if metric not in METRICS]:
        raise ValueError(f"metrics must be of {', '.join(map(repr, METRICS))}, got {unknown[0]!r}")
    replicates = whole_number("replicates", replicates, 2)
    seeds = [whole_number("seeds", seed, 0, 2**62) for seed in seeds]
    if len(seeds) != (needed := CHOOSERS + replicates):
        raise ValueError(f"seeds must hold {needed} for {replicates} replicates, got {len(seeds)}")
    for arm in arms.values():
        _check_arm(arm)
    found = []
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        for done, number in enumerate(numbers, 1):
            keys = {"number": number, "multiple": 1.0, "tuning": "own"}
            found += [keys | row for row in _of_group(number, arms, [seed + number for seed in seeds], wanted)]
            report(done, len(numbers))
    return pd.DataFrame(found)


def _check_arm(arm: TrialArm) -> None:
    if arm.along or arm.before or arm.length != 1:
        raise ValueError(f"{arm.name} must be read at the end of runs of {ENV_STEPS} steps on {POPULATION!r}")
    if len(arm.grids) != 1 or arm.grids[0].times is not None:
        raise ValueError(f"{arm.name} must have one grid of learning rates on {POPULATION!r}, or one lr")


def _has(arm: TrialArm, metric: str) -> bool:
    """Say whether an arm has a metric: an average of the weights does not play."""
    return metric == RETURN or not (arm.grids[0].around == "EMA" and arm.weights == "slow")


def _of_group(
    number: int, arms: Mapping[str, TrialArm], seeds: list[int], metrics: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of all arms in a group."""
    wanted = [(arm, metric) for arm in arms.values() for metric in metrics if _has(arm, metric)]
    rates = {arm.grids[0]: rates_of(arm.grids[0], number) for arm in arms.values()}
    tried = _runs([(grid, rate) for grid, own in rates.items() if not grid.fixed for rate in own], seeds[:CHOOSERS])
    places = {(arm.name, metric): _best(arm, metric, rates[arm.grids[0]], tried) for arm, metric in wanted}
    pairs = {
        (arm.name, metric): (arm.grids[0], rates[arm.grids[0]][places[arm.name, metric]]) for arm, metric in wanted
    }
    reported = _runs([*dict.fromkeys(pairs.values())], seeds[CHOOSERS:])
    for arm, metric in wanted:
        pair, tuned = pairs[arm.name, metric], not arm.grids[0].fixed
        replicates = len(seeds) - CHOOSERS
        values = np.full(replicates, pair[1]) if metric == RATE else reported[pair][metric, arm.weights]
        ends = edge_shares([places[arm.name, metric]], RATES) if tuned else (np.nan, np.nan)
        row = {"arm": arm.name, "metric": metric} | _row(values)
        yield row | {"lowest": ends[0], "highest": ends[1], "rates": len(rates[arm.grids[0]])}


def _best(arm: TrialArm, metric: str, rates: Sequence[float], tried: Runs) -> int:
    """Return the place of the best rate; of equal returns, the highest one among them, that which is solved first."""
    grid = arm.grids[0]
    if grid.fixed:
        return 0
    steps, returns = (np.stack([tried[grid, rate][of, arm.weights] for rate in rates]) for of in (STEPS, RETURN))
    products = steps.prod(axis=1)  # their order is that of geometric means
    if metric != RETURN:
        return int(products.argmin())
    means = returns.mean(axis=1)
    return min(range(len(rates)), key=lambda place: (-means[place], products[place]))


def _runs(pairs: Sequence[Pair], seeds: Sequence[int]) -> Runs:
    """Train an agent for each pair and seed."""
    if not pairs:
        return {}
    steps = PPO().optimizer_steps(ENV_STEPS)
    opts = [grid.optimizer(rate, steps) for grid, rate in pairs]
    rows = sweep(Policy(HIDDEN), opts, seeds=seeds, env_steps=ENV_STEPS)
    kinds = {"fast": rows[rows["weights"] == "fast"], "slow": rows.drop_duplicates(["config", "seed"], keep="last")}
    columns = {STEPS: ("solved_at", ENV_STEPS + PPO().rows), RETURN: ("mean_return", 0.0)}
    tables = {
        (metric, weights): part[column].fillna(missing).to_numpy(np.float64).reshape(len(pairs), len(seeds))
        for weights, part in kinds.items()
        for metric, (column, missing) in columns.items()
    }
    return {pair: {key: table[i] for key, table in tables.items()} for i, pair in enumerate(pairs)}
