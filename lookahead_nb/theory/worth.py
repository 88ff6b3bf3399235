"""The unit "worth x % more steps" on a quadratic: the best expected loss of a method at a tuned rate, and its steps.

Every method of :class:`.Cycle` has an exact expected loss after T steps over a spectrum. Its learning rate is tuned for
the lowest one, as a user does for each length of run. A schedule keeps its shape, and its peak is tuned. A method is
worth the multiple m of T steps that another one needs for the same loss, tuned for m*T steps.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, shown, whole_number
from lookahead_nb.theory.quadratic import LEAST, Cycle, expected_loss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST = 100.0  # multiples of the steps, beyond which a worth counts as infinite
_HIGHEST, _DECADES, _POINTS = 100.0, 9, 80  # of the rates, in units of the stability limit of the inner optimizer
_ZOOMS, _ZOOM_POINTS = 3, 9  # each narrows fourfold: to 1.004, where a loss is off by a part in 1e5
_CLOSE = 1.002  # ratio of two numbers of steps, between which the loss is a power


class Tuned(NamedTuple):
    """The best learning rate for a run length, and the expected loss there.

    Attributes
    ----------
    lr : float
        In the units of ``Cycle``: that of Adam, or that of SGD over 1 - momentum. The peak of a schedule.
    loss : float
    """

    lr: float
    loss: float


@named_arguments
@default_errors
def tuned(cycle: Cycle, steps: int, *, weights: str = "slow", start: ArrayLike = 1.0, spread: ArrayLike = 0.0) -> Tuned:
    """Return the learning rate at which a method has the lowest expected loss after so many steps.

    Parameters
    ----------
    cycle : Cycle
        Its curvature and noise are the modes, (n,). Its lr is replaced.
    steps : int
        At least 1.
    weights : str
        "slow" or "fast": where the loss is evaluated. Without slow weights pass "fast".
    start, spread : float or (n,) array
        Mean and standard deviation of the weights at the start, as in ``Cycle.transient``.

    Returns
    -------
    Tuned

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, lies out of range or has the wrong shape.

    Notes
    -----
    80 rates are tried over nine decades, up to 100 times the limit ``2(1+beta1)/((1-beta1)*max(curvature))`` of the
    inner optimizer. Then the search zooms in around the best one.

    Examples
    --------
    >>> from lookahead_nb.theory import Cycle, tuned
    >>> best = tuned(Cycle(lr=1.0, curvature=[1.0, 0.1]), 100, weights="fast")
    >>> round(best.lr, 2)  # gradient descent without noise: 2/(1 + 0.1) for many steps
    1.8
    """
    steps = whole_number("steps", steps, 1)
    one_of("weights", weights, ("slow", "fast"))
    if not isinstance(cycle, Cycle):
        raise TypeError(f"cycle must be a Cycle, got {shown(cycle)}")
    if cycle.lr.ndim != 1 or not cycle.lr.size or cycle.curvature.max() < LEAST:
        modes = f"(n,), one for each mode, and hold a number of at least {LEAST:g}"
        raise ValueError(f"curvature must be {modes}, got {shown(cycle.curvature)}")
    if cycle.strength.any():
        raise ValueError(f"cycle must have strength 0, since a game has no loss, got {shown(cycle.strength)}")
    beta1 = cycle.beta1.max()

    def losses(lrs: np.ndarray) -> np.ndarray:
        tried = replace(cycle, lr=lrs[:, None])
        with np.errstate(over="ignore", invalid="ignore"):
            end = tried.after(steps, start=start, spread=spread)
            mean, variance = (getattr(end, f"{weights}_{moment}") for moment in ("mean", "variance"))
            loss = expected_loss(cycle.curvature, mean, variance)
        return np.where(np.isfinite(loss), loss, np.inf)

    limit = 2 * (1 + beta1) / ((1 - beta1) * cycle.curvature.max())
    lrs = _HIGHEST * limit * np.logspace(-_DECADES, 0, _POINTS)
    for _ in range(1 + _ZOOMS):
        loss = losses(lrs)
        best = int(loss.argmin())
        lowest = Tuned(float(lrs[best]), float(loss[best]))
        lrs = np.geomspace(lrs[max(best - 1, 0)], lrs[min(best + 1, len(lrs) - 1)], _ZOOM_POINTS)
    return lowest


@named_arguments
@default_errors
def steps_worth(
    cycle: Cycle,
    steps: int,
    *,
    than: Cycle | None = None,
    weights: str = "slow",
    start: ArrayLike = 1.0,
    spread: ArrayLike = 0.0,
) -> float:
    """Return the multiple m of its steps that another method needs for the same loss: "worth 100(m - 1) % more steps".

    Both have the learning rate that is best for their number of steps.

    Parameters
    ----------
    cycle : Cycle
        As in :func:`tuned`.
    steps : int
        At least 1, those of cycle.
    than : Cycle, optional
        The other method, evaluated at its fast weights. It has no schedule. Default: the inner optimizer of cycle, with
        heavy-ball momentum, at a constant lr.
    weights : str
        "slow" or "fast": where cycle is evaluated.
    start, spread : float or (n,) array
        As in :func:`tuned`.

    Returns
    -------
    float
        inf above a multiple of 100, and 0 where no step is needed.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, lies out of range or has the wrong shape.

    Notes
    -----
    Between two numbers of steps that are close, the logarithm of the loss is taken as linear in that of the steps.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import numpy as np
    >>> from lookahead_nb.theory import Cycle, steps_worth
    >>> h = 1 / np.arange(1, 21)
    >>> opt = lnb.Lookahead(lnb.SGD(0.1, momentum=0.9), sync_period=5, slow_step_size=0.5)
    >>> round(steps_worth(Cycle.of(opt, curvature=h, noise=np.sqrt(h)), 100), 2)
    1.1
    """
    steps = whole_number("steps", steps, 1)
    if than is not None and not isinstance(than, Cycle):
        raise TypeError(f"than must be a Cycle, got {shown(than)}")
    if than is not None and than.schedule is not None:
        raise ValueError(f"than must have no schedule, got {than.schedule!r}")
    wanted = tuned(cycle, steps, weights=weights, start=start, spread=spread).loss
    if than is None:
        than = Cycle(lr=1.0, curvature=cycle.curvature, noise=cycle.noise, beta1=cycle.beta1)

    def loss(count: int) -> float:
        return tuned(than, count, weights="fast", start=start, spread=spread).loss

    low, high = steps, steps
    above = below = loss(steps)
    while above < wanted and low > 1:  # fewer steps are enough
        high, below, low = low, above, low // 2
        above = loss(low)
    while below > wanted and high < MOST * steps:
        low, above, high = high, below, 2 * high
        below = loss(high)
    if above <= wanted:
        return 0.0 if above < wanted else low / steps
    if below > wanted:
        return math.inf
    while high - low > 1 and high > _CLOSE * low:
        middle = round(math.sqrt(low * high))
        middle = min(max(middle, low + 1), high - 1)
        at = loss(middle)
        low, above, high, below = (middle, at, high, below) if at > wanted else (low, above, middle, at)
    part = math.log(above / wanted) / math.log(above / below)
    return low / steps * (high / low) ** part
