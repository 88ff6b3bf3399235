"""What Lookahead does to an agent that learns CartPole by PPO: steps until it is solved, and the return at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lookahead_nb.checks import default_errors, whole, whole_number
from lookahead_nb.claims.inference import mean_benefit
from lookahead_nb.optimizers import EMA, Adam, Lookahead, Optimizer, schedules
from lookahead_nb.training.agents import PPO, Policy, sweep

if TYPE_CHECKING:
    import pandas as pd

RATES = tuple(2.5e-4 * 2**i for i in range(7))  # the first is that of PureJaxRL
ENV_STEPS = 102_400  # 200 iterations: 3200 optimizer steps, a multiple of both sync periods
GROUP = 4  # seeds that choose a learning rate together
HALF = "adam at half the rate"


def arms(rate: float, env_steps: int = ENV_STEPS) -> dict[str, Optimizer]:
    """Return the optimizers of the arms at one learning rate, which falls to 0 on a straight line.

    Parameters
    ----------
    rate : float
        The first learning rate of Adam.
    env_steps : int
        Environment steps of a run.

    Returns
    -------
    dict of str to Optimizer
        - "adam": Adam inside an average over a tenth of the steps, which leaves the fast weights alone.
        - "k 5", "iteration": Lookahead with slow step 0.5, synced every 5 steps or once in each iteration.
        - "outer 1.5": Lookahead with slow step 1.5, synced once in each iteration.
    """
    steps, iteration = PPO().optimizer_steps(env_steps), PPO().steps_of_iteration
    adam = Adam(schedules.linear(rate, steps), eps=1e-5)
    return {
        "adam": EMA(adam, window=max(1, steps // 10)),
        "k 5": Lookahead(adam, sync_period=5, slow_step_size=0.5),
        "iteration": Lookahead(adam, sync_period=iteration, slow_step_size=0.5),
        "outer 1.5": Lookahead(adam, sync_period=iteration, slow_step_size=1.5),
    }


@default_errors
def measure(
    seeds: Sequence[int] = range(24),
    *,
    rates: Sequence[float] = RATES,
    env_steps: int = ENV_STEPS,
    hidden: Sequence[int] = (64, 64),
) -> pd.DataFrame:
    """Train every arm at every rate from every seed, with the settings of ``PPO()``.

    Parameters
    ----------
    seeds : list of int
    rates : list of float
        First learning rates of Adam.
    env_steps : int
        Environment steps of a run.
    hidden : list of int
        Hidden widths of policy and value.

    Returns
    -------
    frame
        A row for each arm, rate, seed and kind of weights: ``arm``, ``rate``, ``seed``, ``weights``, ``solved_at``
        (NaN if never), ``mean_return``, ``whole`` and ``diverged_at`` as in ``agents.sweep``.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    configs = [(arm, rate, opt) for rate in rates for arm, opt in arms(rate, env_steps).items()]
    opts = [opt for *_, opt in configs]
    frame = sweep(Policy(hidden), opts, seeds=seeds, env_steps=env_steps)
    frame.insert(0, "arm", [configs[i][0] for i in frame["config"]])
    frame.insert(1, "rate", [configs[i][1] for i in frame["config"]])
    columns = ["arm", "rate", "seed", "weights", "solved_at", "mean_return", "whole", "diverged_at"]
    return frame[columns].reset_index(drop=True)


def _tables(rows: pd.DataFrame, env_steps: int) -> dict[tuple[str, str], pd.DataFrame]:
    """Return (rates, seeds) tables by metric and arm; a run that is not solved counts as solved right after its end."""
    fast = rows[rows["weights"] == "fast"]
    found = {}
    for arm, part in fast.groupby("arm", sort=False):
        steps = part.pivot_table("solved_at", "rate", "seed", dropna=False)
        found["steps", arm] = np.log(steps.fillna(env_steps + PPO().rows))
        chosen = part if arm == "adam" else rows[(rows["arm"] == arm) & (rows["weights"] == "slow")]
        found["return", arm] = chosen.pivot(index="rate", columns="seed", values="mean_return")
    average = rows[(rows["arm"] == "adam") & (rows["weights"] == "slow")]
    found["return", "average"] = average.pivot(index="rate", columns="seed", values="mean_return")
    return found


@default_errors
def effects(rows: pd.DataFrame, *, group: int = GROUP, env_steps: int = ENV_STEPS) -> pd.DataFrame:
    """Compare the arms with Adam, at learning rates that groups of seeds choose.

    Each group chooses the rate of each arm by its mean over the group. It is measured on the seeds of the next group,
    so that no run is judged by the choice it took part in.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`.
    group : int
        Seeds of a group, at least 1; their number is a multiple of it, at least twice as large.
    env_steps : int
        Environment steps of a run.

    Returns
    -------
    frame
        A row for each metric and arm.

        - ``metric``: "steps" until the recent return reaches 475, whose effect is the logarithm of the ratio; or
          "return" of the last evaluation, of the slow weights where an arm has them.
        - ``rate``: the geometric mean of the chosen rates. ``value``: the mean at them, of steps the geometric one.
        - ``effect``, ``low``, ``high``: the mean over seeds of arm minus Adam, with its 95 % confidence interval.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    tables = _tables(rows, env_steps)
    seeds = len(tables["steps", "adam"].columns)
    group = whole_number("group", group, 1)
    if seeds % group or seeds < 2 * group:
        raise ValueError(f"rows must have a multiple of {group} seeds, at least {2 * group}, got {seeds}")
    found = []
    for metric, sign in (("steps", -1), ("return", 1)):
        measured = {arm: _chosen(table, sign, group) for (kind, arm), table in tables.items() if kind == metric}
        adam = measured["adam"][1]
        for arm, (rates, values) in measured.items():
            row = {"metric": metric, "arm": arm, "rate": float(np.exp(np.log(rates).mean()))}
            row["value"] = float(np.exp(values.mean()) if metric == "steps" else values.mean())
            # One number for each group: the seeds of a group share the choice of the rates.
            difference = (values - adam).reshape(-1, group)
            estimate = mean_benefit(np.stack([difference.mean(axis=1)] * 2, axis=1))
            found.append(row | {"effect": estimate.value, "low": estimate.low, "high": estimate.high})
    return pd.DataFrame(found)


def _chosen(table: pd.DataFrame, sign: int, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rate that each group chooses, and the values of the next group's seeds at it, group by group."""
    groups = sign * table.to_numpy().reshape(len(table), -1, group)
    best = groups.mean(axis=2).argmax(axis=0)
    values = [sign * np.roll(groups, -1, axis=1)[rate, i] for i, rate in enumerate(best)]
    return table.index.to_numpy()[best], np.concatenate(values)


@default_errors
def at_equal_rates(rows: pd.DataFrame, *, env_steps: int = ENV_STEPS) -> pd.DataFrame:
    """Compare the steps of the arms with those of Adam at the same rate, and Adam at half of it.

    Parameters
    ----------
    rows : frame
        Of :func:`measure`, at rates that double.
    env_steps : int
        Environment steps of a run.

    Returns
    -------
    frame
        A row for each rate and arm: ``solved``, the share of its seeds that get there, and ``effect``, ``low``,
        ``high``: the mean over seeds of the logarithm of the ratio of steps, with its 95 % confidence interval.
    """
    pd = whole("pandas")

    tables = {arm: table for (metric, arm), table in _tables(rows, env_steps).items() if metric == "steps"}
    adam, found = tables["adam"], []
    half = adam.shift(1).iloc[1:]
    for arm, table in {**tables, HALF: half}.items():
        for rate in table.index:
            difference = table.loc[rate] - adam.loc[rate]
            estimate = mean_benefit(np.stack([difference] * 2, axis=1))
            row = {"arm": arm, "rate": rate, "solved": float((table.loc[rate] <= np.log(env_steps)).mean())}
            found.append(row | {"effect": estimate.value, "low": estimate.low, "high": estimate.high})
    return pd.DataFrame(found)
