"""The weight decay that each step of a stretch applies: scalars of the steps, the same for every backend."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.kernels.compiler import compiled
from lookahead_nb.kernels.cpu.loop import is_due
from lookahead_nb.kernels.formulas import HEAVY_BALL, NESTEROV, decay_lump, heavy_ball_pull, nesterov_pull, pull


def _lumps(rates, weight_decays, least, t, period, slow_steps, inner_state, applied, pending):
    fast, slow, velocity = pending[0, 0], pending[1, 0], pending[2, 0]
    for i in range(rates.size):
        decay = rates[i] * weight_decays[i]
        lump, fast = decay_lump(fast, decay, least if decay > 0 else math.inf)
        applied[i] = weight_decays[i] if lump == decay else lump / rates[i]  # the setting itself, to the last bit
        if is_due(period, t + i + 1):
            turn = ((t + i + 1) // period - 1) % slow_steps.shape[0]
            step, rest = slow_steps[turn, 0], slow_steps[turn, 1]
            if inner_state == HEAVY_BALL:
                slow, velocity = heavy_ball_pull(slow, velocity, fast, step, rest)
            elif inner_state == NESTEROV:
                slow, velocity = nesterov_pull(slow, velocity, fast, step, rest)
            else:
                slow = pull(slow, fast, step, rest)
            fast = slow
        pending[0, i + 1], pending[1, i + 1], pending[2, i + 1] = fast, slow, velocity


@lru_cache(None)
def _lumps_loop():
    number, whole = types.float64, types.int64
    of_syncs, written = (whole, number[:, ::1], whole), (number[::1], number[:, ::1])
    signature = types.void(number[::1], number[::1], number, whole, *of_syncs, *written)
    return compiled(signature)(_lumps)


def decay_lumps(
    rates: np.ndarray,
    weight_decays: np.ndarray,
    least: float,
    t: int,
    period: int,
    slow_steps: np.ndarray,
    inner_state: int,
    pending: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight decay that consecutive steps apply, and the decays pending on the weights after each of them.

    Parameters
    ----------
    rates : (count,) float64 array
        The learning rate of each step.
    weight_decays : (count,) float64 array
        The setting at each step, which takes ``rate*weight_decay`` off the weights, as a fraction of them.
    least : float
        The smallest such fraction that is applied.
    t : int
        The number of steps taken ahead of these.
    period : int
        Steps between two syncs that move the fast weights onto the slow ones; 0 for none.
    slow_steps : (m, 2) float64 array
        Pairs (slow_step_size, 1 - slow_step_size), with momentum (slow_step_size, momentum), used in turn by these
        syncs.
    inner_state : int
        The kind of these syncs, as in ``step.sync``.
    pending : tuple of 3 floats
        The fractions pending on the fast and on the slow weights ahead of the first step, and the part of the velocity
        that they cause, as a fraction of the weights.

    Returns
    -------
    tuple
        (applied, pending): a (count,) and a (3, count + 1) float64 array. Column 0 of ``pending`` is the argument.

    Notes
    -----
    A decay that is applied moves the fast weights. A sync mixes it into the slow weights like everything else, and what
    is pending on both kinds of weights likewise. With a slow step above 1 it extrapolates the lumps, and with momentum
    later syncs repeat them. So what is pending may be negative after a sync, until further decays make up for it, or
    more than ``least``. The latter is applied at the next step whose own decay is above 0.
    """
    applied, after = np.empty(rates.size), np.empty((3, rates.size + 1))
    after[:, 0] = pending
    _lumps_loop()(rates, weight_decays, least, t, period, slow_steps, inner_state, applied, after)
    return applied, after
