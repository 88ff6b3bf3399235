"""Where the replicas on two basins are after a number of steps, and how fast they cross the ridge between them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numba
import numpy as np

from lookahead_nb.landscapes import DoubleWell
from lookahead_nb.sweep import Plan
from lookahead_nb.train import KINDS, rising_steps, weights_at

SIDE_BY_SIDE = 16  # optimizers that share the normal numbers of a seed, whose drawing costs as much as a few of them


def occupancy(well, configs, *, at, seeds, dtype="float32"):
    """Train configurations on two basins and return which share of the replicas is in which one after chosen steps.

    The bits hang neither on the threads nor on the other configurations.

    well : DoubleWell; replicas that start in a basin tell how fast they leave it, those that start on the ridge how
    they split. configs, seeds : as in ``sweep``; at, dtype : as in ``train.weights_at``. returns : frame, one row per
    configuration, seed, step and kind of weights, with the settings of ``sweep``, ``seed``, ``step``, ``weights``,
    ``left`` and ``right``, in [0, 1]; NaN where a run has diverged. errors : TypeError, ValueError.
    """
    if not isinstance(well, DoubleWell):
        raise TypeError(f"well must be a DoubleWell, not {well!r}")
    at = rising_steps("at", at)
    plan = Plan.checked(well, None, at[-1], 1, 1, at, 1, dtype, "cpu", configs, seeds)
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
    there[..., 1] = settings["sync_period"].notna().to_numpy()[:, None, None]
    which, places, step, kind = np.nonzero(there)
    columns = {"seed": np.take(seeds, places), "step": np.take(at, step), "weights": np.take(KINDS, kind)}
    columns |= {"left": found[there][:, 0], "right": found[there][:, 1]}
    return settings.take(which).reset_index(drop=True).assign(**columns)
