"""Where the replicas on two basins are after a number of steps, and how fast they cross the ridge between them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numba
import numpy as np

from lookahead_nb.checks import real_number, real_numbers
from lookahead_nb.landscapes import DoubleWell
from lookahead_nb.training.plan import Plan
from lookahead_nb.training.run import weights_at
from lookahead_nb.training.setup import KINDS, Setup, Training, rising_steps

CROSSED = 0.75  # up to here the logarithm in a rate magnifies the noise of the shares by less than three
SIDE_BY_SIDE = 16  # optimizers that share the normal numbers of a seed, whose drawing costs as much as a few of them


def occupancy(well, configs, *, at, seeds, dtype="float32"):
    """Train configurations on two basins and return which share of the replicas is in which one after chosen steps.

    The bits hang neither on the threads nor on the other configurations.

    well : DoubleWell; replicas that start in a basin tell how fast they leave it, those that start on the ridge how
    they split. configs, seeds : as in ``sweep``; at, dtype : as in ``train.weights_at``. returns : frame, one row per
    configuration, seed, step and kind of weights, with the settings of ``sweep``, ``seed``, ``step``, ``weights``,
    ``left`` and ``right``, in [0, 1]; NaN where a run has diverged. errors : TypeError, ValueError.
    """
    _check_well(well)
    at = rising_steps("at", at)
    plan = Plan(Setup(well, None, Training(steps=at[-1], eval_at=at, dtype=dtype)), configs, seeds)
    configs, seeds, settings = plan.configs, plan.seeds, plan.settings
    jobs = [*product(range(0, len(configs), SIDE_BY_SIDE), range(len(seeds)))]

    def shares(job):
        first, place = job
        weights = weights_at(well, configs[first : first + SIDE_BY_SIDE], at, seed=seeds[place], dtype=dtype)
        basins = well.basin(weights)
        found = np.stack([(basins < 0).mean(-1), (basins > 0).mean(-1)], -1)
        found[np.isnan(weights[..., 0])] = np.nan
        return found

    found = np.empty((len(configs), len(seeds), len(at), len(KINDS), 2))
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for (first, place), each in zip(jobs, pool.map(shares, jobs), strict=True):
            found[first : first + SIDE_BY_SIDE, place] = each
    there = np.ones(found.shape[:-1], bool)
    there[..., 1] = plan.has_slow[:, None, None]
    which, places, step, kind = np.nonzero(there)
    columns = {"seed": np.take(seeds, places), "step": np.take(at, step), "weights": np.take(KINDS, kind)}
    columns |= {"left": found[there][:, 0], "right": found[there][:, 1]}
    return settings.take(which).reset_index(drop=True).assign(**columns)


def crossings(well, configs, *, at, seeds, dtype="float32"):
    """Return how fast configurations leave either basin and how they split from the ridge, one row for each and seed.

    Replicas start in the left minimum, in the right one, and on the ridge with the spread of the well; its own start is
    not used. Of each run the weights it is judged on are taken: the slow ones where there are any. The rates of a
    configuration are read at the last of the steps where the shares that have crossed either way add up to at most
    ``CROSSED``, of the 1 that they come to in the end, in the mean over the seeds; at the first step, if at none.

    well, configs, at, seeds, dtype : as in :func:`occupancy`; a basin should have settled long before the first step.
    returns : frame with the settings of ``sweep``, ``seed``, ``step`` (where the rates are read), ``crossed_left`` and
    ``crossed_right`` (the share of those started there that is across by then), ``rate_left`` and ``rate_right`` (at
    which those basins are left, see :func:`escape_rates`), and ``deeper`` (the share of those started on the ridge that
    is in the deeper basin after the last step). errors : those of :func:`occupancy`; ValueError without a tilt.
    """
    _check_well(well)
    if not well.tilt:
        raise ValueError("well must have a tilt, which makes one of its basins the deeper one, not 0.0")
    at = rising_steps("at", at)
    configs, seeds = (list(each) if isinstance(each, Iterator) else each for each in (configs, seeds))  # read thrice

    def judged(start, spread, basin):
        shape = {"barrier": well.barrier, "noise": well.noise, "replicas": well.replicas}
        started = DoubleWell(well.tilt, **shape, start=start, spread=spread)
        rows = occupancy(started, configs, at=at, seeds=seeds, dtype=dtype)
        rows = rows[(rows["weights"] == "slow") | (rows["weights"].shift(-1) != "slow")]
        return rows, rows[basin].to_numpy().reshape(-1, rows["seed"].nunique(), len(at))

    (left, right), deeper = well.minima, "left" if well.tilt > 0 else "right"
    rows, from_left = judged(left, 0, "right")
    from_right, from_ridge = judged(right, 0, "left")[1], judged(well.ridge, well.spread, deeper)[1]
    crossed = (from_left + from_right).mean(1)
    last = np.where(crossed <= CROSSED, np.arange(len(at)), 0).max(1)
    rows = rows[rows["step"] == at[-1]].drop(columns=["weights", "left", "right"]).reset_index(drop=True)
    steps = np.repeat(np.take(at, last), len(rows) // len(last))
    from_left, from_right = (each[np.arange(len(last)), :, last].ravel() for each in (from_left, from_right))
    rate_left, rate_right = escape_rates(np.nan_to_num(from_left, nan=1), np.nan_to_num(from_right, nan=1), steps)
    columns = {"step": steps, "crossed_left": from_left, "crossed_right": from_right}
    columns |= {"rate_left": rate_left, "rate_right": rate_right, "deeper": from_ridge[..., -1].ravel()}
    return rows.assign(**columns)


def escape_rates(from_left, from_right, steps):
    """Return the rates per step (out of the left basin, out of the right one) of replicas that may cross and come back.

    Between two basins that are left at the rates L and R the shares that have crossed after t steps are
    ``from_left = L/(L+R) * (1 - exp(-(L+R)*t))`` and ``from_right = R/(L+R) * (1 - exp(-(L+R)*t))``, so that
    ``(L+R)*t = -log(1 - from_left - from_right)`` and L to R is as from_left to from_right.

    from_left : shares in [0, 1] of replicas started in the left minimum that are right after so many steps; from_right
    : the same the other way round; steps : above 0, many times what a basin takes to settle. All are broadcast.
    returns : two float64 arrays; NaN where the shares add up to 1 or more: nothing is left of the start, fewer steps
    would tell. errors : TypeError, ValueError. Source: the Markov chain of two states in continuous time.
    """
    from_left, from_right = real_numbers("from_left", from_left, 0, 1), real_numbers("from_right", from_right, 0, 1)
    steps = real_numbers("steps", steps, 0, open_low=True)
    crossed = from_left + from_right
    with np.errstate(divide="ignore", invalid="ignore"):
        both = -np.log1p(-crossed) / steps
        left, right = (np.where(crossed > 0, both * share / crossed, 0.0) for share in (from_left, from_right))
    known = crossed < 1
    return np.where(known, left, np.nan)[()], np.where(known, right, np.nan)[()]


def kramers_rates(well, lr):
    """Return the rates per step at which gradient descent leaves (left, right) basin: Kramers' law at small lr.

    ``lr * sqrt(curvature at the minimum * -curvature at the ridge)/(2*pi) * exp(-climb/temperature)``, where
    temperature is ``lr*noise**2/2`` and climb the height of the ridge over the minimum. It holds for climb well above
    temperature and lr*curvature well below 1. So does AdamW, with lr over the root mean square gradient in place of lr,
    while that quotient times the curvature is well below 1 - beta1, too.

    well : DoubleWell with noise; lr : float above 0. returns : two floats. errors : TypeError, ValueError. Source:
    Kramers 1940, the overdamped case; Jastrzebski et al. 2017 on the temperature of stochastic gradients.
    """
    _check_well(well)
    lr, noise = real_number("lr", lr, 0, open_low=True), float(well.noise[0])
    if not noise:
        raise ValueError("well must have noise above 0, without which no basin is ever left, not 0.0")
    minima, top = np.array(well.minima), np.array([well.ridge])
    climbs = well.heights(top) - well.heights(minima[:, None])
    bends = [4 * well.barrier * (3 * x**2 - 1) for x in (minima, top)]
    left, right = lr * np.sqrt(-bends[0] * bends[1]) / (2 * np.pi) * np.exp(-2 * climbs / (lr * noise**2))
    return float(left), float(right)


def _check_well(well):
    if not isinstance(well, DoubleWell):
        raise TypeError(f"well must be a DoubleWell, not {well!r}")
