"""Small pictures of optimizers for notebooks: what syncs do to fast and slow weights, and the learning rate."""

from __future__ import annotations

import math

import numpy as np

from lookahead_nb.display import COLOURS, DASHES, Line, curves
from lookahead_nb.kernels.formulas import MOMENTUM_PULLS, pull
from lookahead_nb.optimizers.coefficients import MODES, Sync
from lookahead_nb.optimizers.schedules import Schedule

LEAST_STEPS = 10  # of a picture
CYCLES = 3  # periods, or windows of an average
MOST_SYNCS = 120
MOST_RATES = 101  # points of a schedule
CYCLES = 3  # of one with restarts


def of_syncs(sync: Sync) -> str:
    """Return fast weights that move by 1 in every step, and the slow weights, over a few syncs, as SVG.

    Parameters
    ----------
    sync : Sync

    Returns
    -------
    str
        "" where the slow steps depend on the run.
    """
    if sync.fits:
        return ""
    window = 1 if math.isnan(sync.decay) else 1 / (1 - sync.decay)
    syncs = min(max(math.ceil(CYCLES * window), math.ceil(LEAST_STEPS / sync.period)), MOST_SYNCS)
    fast, slow, velocity = (np.float64(0),) * 3
    at, fasts, slows = [0], [0.0], [0.0]
    for n, (step, other) in enumerate(sync.pairs(0, syncs, np.float64), 1):
        fast += sync.period
        at += [n * sync.period] * 2
        fasts.append(float(fast))
        slows.append(float(slow))
        if sync.momentum:
            slow, velocity = MOMENTUM_PULLS[MODES[sync.mode]](slow, velocity, fast, step, other)
        else:
            slow = pull(slow, fast, step, other)
        fast = slow if sync.pull_back else fast
        fasts.append(float(fast))
        slows.append(float(slow))
    lines = [Line(name, at, y, COLOURS[name], DASHES[name]) for name, y in (("fast", fasts), ("slow", slows))]
    about = f"Fast weights that move by 1 in every step, and slow weights, over {syncs * sync.period} steps"
    return curves(lines, "weights", "step, each moves the fast weights by 1", about)


def _restarts(schedule: Schedule) -> list[int]:
    """Return the first steps of the cycles, up to that after the last cycle drawn."""
    first, length, restarts = schedule.warmup + 1, schedule.period or 1, list[int]()
    for _ in range(CYCLES + 1):
        restarts.append(first)
        first, length = first + length, length * (schedule.factor or 1)
    return restarts


def of_schedule(schedule: Schedule, setting: str = "lr") -> str:
    """Return a setting that follows a schedule over the steps as SVG.

    Parameters
    ----------
    schedule : Schedule
    setting : str
        The name at the axis.

    Returns
    -------
    str
        "" for a constant.
    """
    if schedule.kind == "constant" and not schedule.warmup:
        return ""
    steps = schedule.steps or 2 * schedule.warmup
    corners = {1, steps, max(schedule.warmup, 1), steps - (schedule.decay_steps or 0)}
    if schedule.parts is not None:
        starts = [start for start, _ in schedule.parts[1:]]
        steps = max(steps, 2 * starts[-1])
        corners = {1, steps, *starts, *(start + 1 for start in starts)}
    if schedule.period is not None:
        restarts = _restarts(schedule)
        steps = restarts[-1] - 1
        corners = {1, *restarts[:-1], *(t - 1 for t in restarts if t > 1)}
    at = sorted(corners | {int(t) for t in np.linspace(1, steps, min(steps, MOST_RATES))})
    line = Line("", at, [schedule(t) for t in at], COLOURS["AdamW"])
    return curves([line], setting, "step", f"The {setting} over {steps} steps")
