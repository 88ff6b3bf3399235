"""Replicas on two basins: the basin of each after a number of steps, and the rate at which they cross the ridge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from lookahead_nb.checks import default_errors, real_number, real_numbers
from lookahead_nb.models.landscapes import DoubleWell
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training.plan import Plan
from lookahead_nb.training.run import weights_at
from lookahead_nb.training.setup import KINDS, Setup, Training, rising_steps

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

CROSSED = 0.75  # above it, the logarithm in a rate magnifies the noise of the shares more than threefold
SIDE_BY_SIDE = 16  # optimizers that share the normal numbers of a seed, since drawing costs as much as a few of them


@default_errors
def occupancy(
    well: DoubleWell,
    configs: Iterable[Optimizer],
    *,
    at: Iterable[int],
    seeds: Iterable[int] | int,
    dtype: Any = "float32",
) -> pd.DataFrame:
    """Train configurations on two basins and return the share of replicas in either one after chosen steps.

    The results are bit-for-bit identical for any number of threads and any other configurations.

    Parameters
    ----------
    well : DoubleWell
        Replicas that start in a basin show how fast they leave it. Those that start on the ridge show how they split.
    configs : list of Optimizer
        As in ``sweep``.
    at : list of int
        Steps, each at least 1, rising.
    seeds : list of int, or int
        As in ``sweep``.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    frame
        One row per configuration, seed, step and kind of weights. Columns: the settings of ``sweep``, ``seed``,
        ``step``, ``weights`` ("fast" or "slow"), and ``left`` and ``right``, the shares in [0, 1]. The shares are NaN
        where a run has diverged.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    _check_well(well)
    at = rising_steps("at", at)
    plan = Plan(Setup(well, None, Training(steps=at[-1], eval_at=at, dtype=dtype)), configs, seeds)
    jobs = [*product(range(0, len(plan.configs), SIDE_BY_SIDE), range(len(plan.seeds)))]

    def shares(job: tuple[int, int]) -> np.ndarray:
        first, place = job
        weights = weights_at(well, plan.configs[first : first + SIDE_BY_SIDE], at, seed=plan.seeds[place], dtype=dtype)
        basins = well.basin(weights)
        sides = np.stack([(basins < 0).mean(-1), (basins > 0).mean(-1)], -1)
        sides[np.isnan(weights[..., 0])] = np.nan
        return sides

    occupied = np.empty((len(plan.configs), len(plan.seeds), len(at), len(KINDS), 2))
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for (first, place), sides in zip(jobs, pool.map(shares, jobs), strict=True):
            occupied[first : first + SIDE_BY_SIDE, place] = sides
    exists = np.ones(occupied.shape[:-1], bool)
    exists[..., 1] = plan.has_slow[:, None, None]
    which, places, step, kind = np.nonzero(exists)
    columns = {"seed": np.take(plan.seeds, places), "step": np.take(at, step), "weights": np.take(KINDS, kind)}
    columns |= {"left": occupied[exists][:, 0], "right": occupied[exists][:, 1]}
    return plan.settings.take(which).reset_index(drop=True).assign(**columns)


@default_errors
def crossings(
    well: DoubleWell,
    configs: Iterable[Optimizer],
    *,
    at: Iterable[int],
    seeds: Iterable[int] | int,
    dtype: Any = "float32",
) -> pd.DataFrame:
    """Return how fast configurations leave either basin and how they split from the ridge, one row for each and seed.

    Replicas start in the left minimum, in the right one, and on the ridge with the spread of the well. The slow weights
    of a run count, or the fast ones if it has no slow ones.

    Parameters
    ----------
    well : DoubleWell
        With a tilt. Its start is not used.
    configs : list of Optimizer
        As in ``sweep``.
    at : list of int
        Steps, each at least 1, rising. A basin should have settled long before the first one.
    seeds : list of int, or int
        As in ``sweep``.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    frame
        The settings of ``sweep``, ``seed``, and

        - ``step``, the step at which the rates are read.
        - ``crossed_left`` and ``crossed_right``, the share of replicas started there that has crossed by then.
        - ``rate_left`` and ``rate_right``, the rates of leaving those basins, see :func:`escape_rates`.
        - ``deeper``, the share of replicas started on the ridge that is in the deeper basin after the last step.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or the well has no tilt.

    Notes
    -----
    In the long run the shares that have crossed from left and from right add up to 1. The rates of a configuration are
    read at the last step at which they add up to at most ``CROSSED``, in the mean over the seeds. If there is none,
    the rates are read at the first step.
    """
    _check_well(well)
    if not well.tilt:
        raise ValueError("well must have a tilt, which makes one of its basins the deeper one, got 0.0")
    at = rising_steps("at", at)
    if isinstance(configs, Iterator):
        configs = list(configs)  # they are read three times, as seeds are
    if isinstance(seeds, Iterator):
        seeds = list(seeds)

    def judged(start: float, spread: Any, basin: str) -> tuple[pd.DataFrame, np.ndarray]:
        shape: dict[str, Any] = {"barrier": well.barrier, "noise": well.noise, "replicas": well.replicas}
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
    from_left, from_right = (shares[np.arange(len(last)), :, last].ravel() for shares in (from_left, from_right))
    rate_left, rate_right = escape_rates(np.nan_to_num(from_left, nan=1), np.nan_to_num(from_right, nan=1), steps)
    columns = {"step": steps, "crossed_left": from_left, "crossed_right": from_right}
    columns |= {"rate_left": rate_left, "rate_right": rate_right, "deeper": from_ridge[..., -1].ravel()}
    return rows.assign(**columns)


@default_errors
def escape_rates(from_left: ArrayLike, from_right: ArrayLike, steps: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates per step at which replicas leave the left and the right basin, though some come back.

    Parameters
    ----------
    from_left : float or array
        In [0, 1], the share of replicas started in the left minimum that is right after so many steps.
    from_right : float or array
        The same from right to left.
    steps : float or array
        Above 0, many times what a basin takes to settle.

    Returns
    -------
    left, right : float64 array
        Of the broadcast shape; NumPy floats if all arguments are numbers. NaN where the shares add up to 1 or more: the
        start is forgotten, so use fewer steps.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Let replicas leave the basins at the rates L and R. The shares that have crossed after t steps are then ``from_left
    = L/(L+R) * (1 - exp(-(L+R)*t))`` and ``from_right = R/(L+R) * (1 - exp(-(L+R)*t))``. Hence ``(L+R)*t = -log(1 -
    from_left - from_right)``, and L is to R as from_left is to from_right. Source: the Markov chain of two states in
    continuous time.

    Examples
    --------
    >>> from lookahead_nb.theory.escapes import escape_rates
    >>> left, right = escape_rates(0.2, 0.1, steps=100)
    >>> float(left.round(6)), float(right.round(6))
    (0.002378, 0.001189)
    """
    shares = real_numbers("from_left", from_left, 0, 1), real_numbers("from_right", from_right, 0, 1)
    crossed = shares[0] + shares[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        both = -np.log1p(-crossed) / real_numbers("steps", steps, 0, open_low=True)
        left, right = (np.where(crossed > 0, both * share / crossed, 0.0) for share in shares)
    known = crossed < 1
    return np.where(known, left, np.nan)[()], np.where(known, right, np.nan)[()]


@default_errors
def kramers_rates(well: DoubleWell, lr: float) -> tuple[float, float]:
    """Return the rates per step at which gradient descent leaves the left and the right basin: Kramers' law.

    Parameters
    ----------
    well : DoubleWell
        With noise.
    lr : float
        Above 0.

    Returns
    -------
    left, right : float

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or the well has no noise.

    Notes
    -----
    The rate is ``lr * sqrt(curvature at the minimum * -curvature at the ridge)/(2*pi) * exp(-climb/temperature)``. The
    temperature is ``lr*noise**2/2``, and climb is the height of the ridge over the minimum. The law holds if climb is
    well above temperature and lr*curvature is well below 1.

    AdamW leaves at these rates too, with lr over the root mean square gradient instead of lr. That quotient times the
    curvature must also be well below 1 - beta1.

    Source: Kramers 1940, the overdamped case. Jastrzebski et al. 2017 on the temperature of stochastic gradients.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.theory.escapes import kramers_rates
    >>> well = lnb.landscapes.DoubleWell(0.0, barrier=0.5, noise=2.0)
    >>> [round(rate, 6) for rate in kramers_rates(well, 0.1)]
    [0.003695, 0.003695]
    """
    _check_well(well)
    lr, noise = real_number("lr", lr, 0, open_low=True), float(well.noise[0])
    if not noise:
        raise ValueError("well must have noise above 0, without which no basin is ever left, got 0.0")
    minima, top = np.array(well.minima), np.array([well.ridge])
    climbs = well.heights(top) - well.heights(minima[:, None])
    bends = [4 * well.barrier * (3 * x**2 - 1) for x in (minima, top)]
    left, right = lr * np.sqrt(-bends[0] * bends[1]) / (2 * np.pi) * np.exp(-2 * climbs / (lr * noise**2))
    return float(left), float(right)


def _check_well(well: object) -> None:
    if not isinstance(well, DoubleWell):
        raise TypeError(f"well must be a DoubleWell, got {well!r}")
