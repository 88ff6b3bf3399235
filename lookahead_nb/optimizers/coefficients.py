"""Optimizers as numbers: the scalars of every step and the settings of every sync, the same for all engines."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, float_dtype, shown, whole_number
from lookahead_nb.kernels.cpu.decay import decay_lumps
from lookahead_nb.kernels.formulas import (
    HEAVY_BALL,
    INTERPOLATE,
    KEEP,
    LEAST_DECAY,
    MOMENTUM_PULLS,
    NESTEROV,
    RESET,
    RULES,
)
from lookahead_nb.optimizers.schedules import MOST_KEPT, Schedule

if TYPE_CHECKING:
    from lookahead_nb.optimizers.base import Optimizer

INNER_STATES = {"keep": KEEP, "reset": RESET, "interpolate": INTERPOLATE}
MODES = INNER_STATES | {"heavy ball": HEAVY_BALL, "nesterov": NESTEROV}  # of a sync


class Carried(NamedTuple):
    """What the scalars of the next step depend on, besides the settings and the number of the step.

    Attributes
    ----------
    power1, power2 : float
        beta1**t and beta2**t for the bias corrections.
    synced_power1, synced_power2 : float
        The same at the last sync.
    pending_decay, synced_pending_decay : float
        The decay that is not yet applied to the fast and to the slow weights, see ``formulas.decay_lump``.
    velocity_pending_decay : float
        What that decay would add to the velocity of the slow weights, as a fraction of the weights.
    """

    power1: float = 1.0
    power2: float = 1.0
    synced_power1: float = 1.0
    synced_power2: float = 1.0
    pending_decay: float = 0.0
    synced_pending_decay: float = 0.0
    velocity_pending_decay: float = 0.0


FRESH = Carried()


class Sync(NamedTuple):
    """The settings of the syncs of Lookahead and EMA.

    Attributes
    ----------
    period : int
        Steps between two syncs; 0 for an optimizer without syncs.
    slow_steps : tuple of (float, float)
        Pairs (slow_step_size, 1 - slow_step_size), with momentum (slow_step_size, momentum), used in turn; empty for
        fitted slow steps and those of an average.
    pull_back : bool
        Whether a sync moves the fast weights onto the slow ones.
    inner_state : str
        "keep", "reset" or "interpolate".
    lowest : float
        The least slow step that may be fitted; NaN where none is.
    decay : float
        The decay of an exponential moving average, whose slow steps follow from it; NaN for others.
    momentum : str
        "heavy ball" or "nesterov" for syncs with momentum, "" for others.
    """

    period: int
    slow_steps: tuple[tuple[float, float], ...]
    pull_back: bool
    inner_state: str
    lowest: float = math.nan
    decay: float = math.nan
    momentum: str = ""

    @property
    def mode(self) -> str:
        """What a sync does, a key of ``MODES``: the momentum, or the treatment of the inner state."""
        return self.momentum or self.inner_state

    @property
    def extrapolates(self) -> bool:
        """Whether a sync can move slow weights beyond the fast ones."""
        return bool(self.momentum) or any(step > 1 for step, _ in self.slow_steps)

    @property
    def fits(self) -> bool:
        """Whether the slow steps are fitted."""
        return not math.isnan(self.lowest)

    def pairs(self, first: int, last: int, width: type) -> np.ndarray:
        """Return the slow steps of consecutive syncs.

        Parameters
        ----------
        first, last : int
            The numbers of the first sync, from 0, and of the one after the last.
        width : np.float32 or np.float64
            That of the weights.

        Returns
        -------
        (last - first, 2) float64 array
            Pairs as in :attr:`slow_steps`; NaN where slow steps are fitted.
        """
        if self.fits:
            return np.full((last - first, 2), math.nan)
        if not math.isnan(self.decay):
            return average_steps(self.decay, first, last, width)
        return np.array([self.slow_steps[n % len(self.slow_steps)] for n in range(first, last)]).reshape(-1, 2)

    def table(self, steps: int, width: type) -> np.ndarray:
        """Return the slow steps that a run of some steps uses in turn.

        Parameters
        ----------
        steps : int
        width : np.float32 or np.float64
            That of the weights.

        Returns
        -------
        (m, 2) float64 array
            As in :meth:`pairs`.
        """
        changes = not math.isnan(self.decay)
        return self.pairs(0, max(1, steps // self.period) if changes else len(self.slow_steps) or 1, width)


@default_errors
def average_steps(decay: float, first: int, last: int, width: type) -> np.ndarray:
    """Return the slow steps that make the slow weights an average, ``(1 - decay)/(1 - decay**t)`` at step t.

    Parameters
    ----------
    decay : float
        In [0, 1).
    first, last : int
        The steps taken ahead of the first slow step, and up to the last one.
    width : np.float32 or np.float64
        That of the weights.

    Returns
    -------
    (last - first, 2) float64 array
        Pairs (slow step, 1 - slow step). The first pair of all is (1, 0).

    Notes
    -----
    The slow weights are then the sum of ``decay**(t-i) * fast_i`` over the steps i = 1..t, divided by the sum of these
    factors. The second number is rounded to the width, and the first one is 1 minus it. So the two add up to 1. Rounded
    apart, they would miss it by 3e-8 in float32, and with a window of 10,000 steps the average would be 0.03 % too
    large or too small.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.optimizers.coefficients import average_steps
    >>> average_steps(0.5, 0, 3, np.float64).round(4).tolist()
    [[1.0, 0.0], [0.6667, 0.3333], [0.5714, 0.4286]]
    """
    power, square, bits = np.ones(last - first), decay, np.arange(first + 1, last + 1)
    while bits.any():  # decay**t from squares: np.power has other bits on other CPUs
        power = np.where(bits & 1, power * square, power)
        square, bits = square * square, bits >> 1
    rest = (1 - (1 - decay) / (1 - power)).astype(width).astype(np.float64)
    return np.stack([1 - rest, rest], axis=-1)


@default_errors
def rows_with_sync(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the scalars of steps that sync, each row followed by the two numbers of its sync.

    Parameters
    ----------
    rows : (m, 8) or (m, groups, 8) array
        The scalars of the steps, float32 or float64.
    pairs : (m, 2) float64 array
        As :meth:`Sync.pairs` returns them.

    Returns
    -------
    (m, 10) or (m, groups, 10) array
        In the width of rows.
    """
    of_rows = pairs.reshape(len(pairs), *[1] * (rows.ndim - 2), 2)
    return np.concatenate([rows, np.broadcast_to(of_rows, (*rows.shape[:-1], 2))], axis=-1).astype(rows.dtype)


NO_SYNC = Sync(0, ((0.0, 1.0),), False, "keep")


class RunNumbers(NamedTuple):
    """The settings of R optimizers of one kernel, as numbers.

    Attributes
    ----------
    rule : str
        The update rule, a key of ``formulas.RULES``.
    slots : tuple of str
        The inner state that the rule uses, by name.
    inner_state : int
        The kind of the syncs, a value of ``MODES``.
    period, turns : (R,) int64 array
    slow_steps : (R, m, 2) float64 array
        NaN where slow steps are fitted.
    pull_back : (R,) bool array
    outward : (R,) float64 array
        See :attr:`Optimizer.outward`.
    lowest : (R,) float64 array
        The least slow step that may be fitted, or NaN.
    has_slow_weights : (R,) bool array
    limits : (2,) array
        The largest magnitudes of a gradient and of a weight that count as finite, in the width of the weights.
    """

    rule: str
    slots: tuple[str, ...]
    inner_state: int
    period: np.ndarray
    turns: np.ndarray
    slow_steps: np.ndarray
    pull_back: np.ndarray
    outward: np.ndarray
    lowest: np.ndarray
    has_slow_weights: np.ndarray
    limits: np.ndarray

    def sizes(self, n: int) -> dict[str, int]:
        """Return the sizes of the arrays of ``bundles.Weights`` for one run.

        Parameters
        ----------
        n : int
            The number of weights.

        Returns
        -------
        dict of str to int
        """
        s1, s2 = n * (len(self.slots) > 0), n * (len(self.slots) > 1)
        anchored = self.inner_state == INTERPOLATE
        slow = n * bool(self.has_slow_weights.any())
        a1 = n if self.inner_state in MOMENTUM_PULLS else s1 * anchored
        return {"p": n, "g": n, "s1": s1, "s2": s2, "slow": slow, "a1": a1, "a2": s2 * anchored}


def run_numbers(optimizers: list[Optimizer], dtype: np.dtype, steps: int) -> RunNumbers:
    """Return the settings of optimizers of one kernel as numbers.

    Parameters
    ----------
    optimizers : list of Optimizer
        With equal :attr:`Optimizer.kernel`.
    dtype : np.dtype
        The dtype of the weights.
    steps : int
        The steps of the runs in all.

    Returns
    -------
    RunNumbers
    """
    rule, mode = optimizers[0].kernel
    syncs = [optimizer.sync or NO_SYNC for optimizer in optimizers]
    tables = [sync.table(steps, dtype.type) for sync in syncs]
    turns = np.array([len(table) for table in tables], np.int64)
    slow_steps = np.zeros((len(syncs), turns.max(), 2))
    for run, table in enumerate(tables):
        slow_steps[run, : len(table)] = table
    limits = gradient_limit(optimizers[0], dtype), np.finfo(dtype).max
    return RunNumbers(
        rule=rule,
        slots=RULES[rule][1],
        inner_state=MODES.get(mode, KEEP),
        period=np.array([sync.period for sync in syncs], np.int64),
        turns=turns,
        slow_steps=slow_steps,
        pull_back=np.array([sync.pull_back for sync in syncs]),
        outward=np.array([optimizer.outward for optimizer in optimizers]),
        lowest=np.array([sync.lowest for sync in syncs]),
        has_slow_weights=np.array([optimizer.has_slow_weights for optimizer in optimizers]),
        limits=np.array(limits, dtype),
    )


def least_decay(dtype: np.dtype | type) -> float:
    """Return the smallest decay of one step that weights of a dtype take at once: 2**-17, in float64 2**-46.

    Parameters
    ----------
    dtype : np.dtype or type
        The dtype of the weights.

    Returns
    -------
    float
        ``formulas.LEAST_DECAY`` times eps.
    """
    return float(LEAST_DECAY * np.finfo(dtype).eps)


def gradient_limit(optimizer: Optimizer, dtype: np.dtype | str) -> float:
    """Return the largest gradient that a step accepts: above it g, or with a second moment g**2, is not finite.

    Parameters
    ----------
    optimizer : Optimizer
    dtype : np.dtype or str
        The dtype of the weights.

    Returns
    -------
    float
    """
    _check_optimizer(optimizer)
    largest = float(np.finfo(float_dtype("dtype", dtype)).max)
    return math.sqrt(largest) * 0.999 if optimizer.inner.squares_gradient else largest


class StepScalars:
    """The scalars of consecutive steps of one run, computed in stretches.

    Parameters
    ----------
    optimizer : Optimizer
    width : np.float32 or np.float64
    t : int
        Steps taken so far.
    carried : Carried
        As these steps have left it.
    """

    def __init__(self, optimizer: Optimizer, width: type, t: int = 0, carried: Carried = FRESH) -> None:
        self._optimizer, self._width = optimizer, width
        self._first, self._last = t, t
        self._carried: tuple[np.ndarray, ...] = tuple(np.array([number]) for number in carried)

    @default_errors
    def stretch(self, count: int) -> np.ndarray:
        """Return the scalars of the next steps.

        Parameters
        ----------
        count : int
            The number of steps.

        Returns
        -------
        (count, 8) array
            In the width of the weights.

        Raises
        ------
        ValueError
            If the rule returns more than eight scalars.
        """
        optimizer, t = self._optimizer, self._last
        inner, sync = optimizer.inner, optimizer.sync or NO_SYNC
        interpolated = sync.slow_steps if sync.inner_state == "interpolate" else ()
        schedule = sync.inner_state, sync.period, interpolated
        start = self.carried_after(t)
        beta1, beta2 = inner.betas
        powers = _powers if count <= MOST_KEPT else _powers.__wrapped__
        used1, after1, synced1 = powers(beta1, count, *schedule, t, start.power1, start.synced_power1)
        used2, after2, synced2 = powers(beta2, count, *schedule, t, start.power2, start.synced_power2)
        table: np.ndarray = np.zeros((count, 8), self._width)  # computed in float64 and rounded once
        rates = inner.schedule.rates(count, after=t)
        weight_decay, *pending = self._weight_decay(rates, start)
        scalars = inner.scalars(rates, weight_decay, used1, used2, np.arange(t + 1, t + count + 1))
        if len(scalars) > table.shape[1]:
            raise ValueError(f"{type(inner).__name__}.scalars must return at most 8 numbers, got {len(scalars)}")
        for i, scalar in enumerate(scalars):
            table[:, i] = scalar
        self._first, self._last = t, t + count
        self._carried = after1, after2, synced1, synced2, *pending
        return table

    def _weight_decay(self, rates: np.ndarray, start: Carried) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Return the weight decay that each step applies, and the decays pending ahead of the first and after each."""
        inner, sync, least = self._optimizer.inner, self._optimizer.sync or NO_SYNC, least_decay(self._width)
        pending = start.pending_decay, start.synced_pending_decay, start.velocity_pending_decay
        setting: Any = getattr(inner, "weight_decay", 0.0)
        if isinstance(setting, Schedule):
            setting = setting.rates(len(rates), after=self._last)
        has_lumps = inner.decouples_decay and (np.any(setting) or any(pending))  # pending from another setting
        if not has_lumps or (pending == (0, 0, 0) and (rates * setting).min(initial=math.inf) >= least):
            nothing = np.zeros(len(rates) + 1)
            return setting, nothing, nothing, nothing
        # A lump is pulled like the weights, by a fitted slow step too, which nobody knows yet.
        period = sync.period if sync.pull_back and sync.slow_steps else 0
        slow_steps = np.array(sync.slow_steps or NO_SYNC.slow_steps)
        syncs = period, slow_steps, MODES[sync.mode]
        of_steps = np.full_like(rates, setting)
        applied, (fast, slow, velocity) = decay_lumps(rates, of_steps, least, self._last, *syncs, pending)
        return applied, fast, slow, velocity

    def carried_after(self, t: int) -> Carried:
        """Return what the scalars of the next step depend on, after a step.

        Parameters
        ----------
        t : int
            A step of the last stretch, or the one directly ahead of it.

        Returns
        -------
        Carried
        """
        return Carried(*[numbers.item(t - self._first) for numbers in self._carried])


def step_table(optimizer: Optimizer, steps: int, width: type) -> np.ndarray:
    """Return the scalars of all steps of a fresh run, bit for bit those that ``step`` uses.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int
    width : np.float32 or np.float64

    Returns
    -------
    (steps, 8) array

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import numpy as np
    >>> from lookahead_nb.optimizers import step_table
    >>> step_table(lnb.SGD(0.5), 2, np.float64)[:, 0].tolist()
    [0.5, 0.5]
    """
    _check_optimizer(optimizer)
    return StepScalars(optimizer, float_dtype("width", width).type).stretch(whole_number("steps", steps, 0))


def _check_optimizer(optimizer: Any) -> None:
    if not hasattr(optimizer, "outward") or isinstance(optimizer, type):
        raise TypeError(f"optimizer must be an inner optimizer, Lookahead or EMA, got {shown(optimizer)}")


@lru_cache(64)
def _powers(
    beta: float,
    steps: int,
    inner_state: str,
    period: int,
    slow_steps: tuple[tuple[float, float], ...],
    t: int,
    power: float,
    at_sync: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return beta**t as the steps after t use it, then after 0..steps of them: the power, and that at the last sync."""
    if inner_state == "keep":
        after = np.multiply.accumulate([power, *[beta] * steps])
        return after[1:], after, np.full(steps + 1, at_sync)
    used, after, synced = np.empty(steps), np.full(steps + 1, power), np.full(steps + 1, at_sync)
    for i in range(steps):
        used[i] = after[i + 1] = after[i] * beta
        synced[i + 1] = synced[i]
        if (t + i + 1) % period == 0:
            after[i + 1] = 1.0
            if inner_state == "interpolate":
                share, rest = slow_steps[((t + i + 1) // period - 1) % len(slow_steps)]
                after[i + 1] = share * used[i] + rest * synced[i]
            synced[i + 1] = synced[i] if inner_state == "reset" else after[i + 1]
    return used, after, synced
