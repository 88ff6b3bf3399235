"""The decays of a stretch of steps, ahead of them: scalars of the steps, the same for every backend."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from lookahead_nb.kernels.bundles import read, readonly, written
from lookahead_nb.kernels.compiler import compiled
from lookahead_nb.kernels.cpu.loop import is_due
from lookahead_nb.kernels.formulas import decay_lump, pull


def _lumps(decays, least, t, period, slow_steps, applied, pending):
    fast, slow = pending[0]
    for i in range(decays.size):
        applied[i], fast = decay_lump(fast, decays[i], least)
        if is_due(period, t + i + 1):
            turn = ((t + i + 1) // period - 1) % slow_steps.shape[0]
            slow = pull(slow, fast, slow_steps[turn, 0], slow_steps[turn, 1])
            fast = slow
        pending[i + 1, 0], pending[i + 1, 1] = fast, slow


@lru_cache(None)
def _lumps_loop():
    number, whole = types.float64, types.int64
    signature = types.void(read(number), number, whole, whole, read(number, 2), written(number), written(number, 2))
    return compiled(signature)(_lumps)


def decay_lumps(
    decays: np.ndarray, least: float, t: int, period: int, slow_steps: np.ndarray, pending: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the decays that consecutive steps apply, and the decays pending on the weights after each of them.

    Parameters
    ----------
    decays : (count,) float64 array
        The decay of each step.
    least : float
        The smallest decay that is applied.
    t : int
        The number of steps taken ahead of these.
    period : int
        Steps between two syncs that move the fast weights onto the slow ones; 0 for none.
    slow_steps : (m, 2) float64 array
        Pairs (slow_step_size, 1 - slow_step_size), used in turn by these syncs.
    pending : tuple of 2 floats
        The decays pending on the fast and on the slow weights ahead of the first step.

    Returns
    -------
    tuple
        (applied, pending): a (count,) and a (count + 1, 2) float64 array. Row 0 of ``pending`` is the argument.

    Notes
    -----
    A decay that is applied moves the fast weights. A sync mixes it into the slow weights like everything else, and what
    is pending on both kinds of weights likewise.
    """
    applied, after = np.empty(decays.size), np.empty((decays.size + 1, 2))
    after[0] = pending
    _lumps_loop()(readonly(decays), float(least), t, period, readonly(slow_steps), applied, after)
    return applied, after
