"""Noise against speed: the lowest stationary risk of Lookahead, averages and momentum at a given speed, over a
spectrum.

The speed is ``-log(rate)`` per step of the slowest mode. The risk is ``sum(curvature*variance)/2`` of the weights that
are read at a sync. Both follow from :class:`.quadratic.Cycle`, at a constant lr.

**Without momentum the pull-back never pays.** Take Lookahead around gradient descent at lr, and the same average
without pull-back at slow_step_size*lr, with the same k and s. On every mode with ``0 < x = lr*curvature <= 1`` the
average is at least as fast, and has no more variance. So on every spectrum and with any noise it has no more risk.

Proof. Let r = 1 - x, q = r^k, D = 1 - s and m = D + s q: per cycle, the slow weight shrinks by m. The average has the
factors D and q' = (1 - s x)^k = (D + s r)^k. D <= m, since q >= 0, and q' <= D + s r^k = m, since t^k is convex. So
much for the speed. For the noise let phi(t) = (1-t)/(1+t), which falls in t. In units of ``noise^2/curvature^2`` the
variances are

    Lookahead    phi(m) phi(r)/phi(q)
    average      phi(1 - s x) phi(D)/phi(D q')

    average/Lookahead = [phi(1 - s x)/phi(r)] [phi(q)/phi(m)] [phi(D)/phi(D q')]

The first factor is s(2-x)/(2-s x) <= s. The second one is (1+m)/(s(1+q)), since 1 - m = s(1-q). The third one is at
most phi(D)/phi(D m), since q' <= m. With 1 - D m = s(1 + D - D q) their product is at most

    (1+m)(1 + D m) / ((1+q)(1+D)(1 + D - D q))

and the denominator minus the numerator is D(1-q)((1 - D^2) + (2 - D + D^2) q) >= 0. For even k, q >= 0 and t^k is
convex for all t, so the same holds up to the limit x = 2. What is left is an odd k and x > 1, where each step
overshoots. There the pull-back damps, and Lookahead is even stable beyond x = 2.

With momentum a mode overshoots from ``x(1-beta1) > (1-sqrt(beta1))^2`` on, which is x > 1 without it. :func:`damping`
is their ratio. Whether the pull-back pays there, and only there, is computed (:func:`pull_back_gain`), not proved.

Spectra have modes at the curvatures ratio^-j, as many as eigenvalues i^-p lie around each. A setting is solved once,
as a function of x; a spectrum at an lr then takes a sum over the modes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, real_number, real_numbers, shown, whole_number
from lookahead_nb.theory.quadratic import SLOW, Cycle, together

RATIO = 1.06  # between neighbouring modes and learning rates
LOWEST = 1e-7  # of lr*curvature
SETTLES = 1 - 1e-10  # a rate above counts as not stable: the equations for the variance are singular up to rounding


class Solved(NamedTuple):
    """A setting as a function of x = lr*curvature.

    Attributes
    ----------
    x : (n,) float64 array
        Rising by ``RATIO``.
    variance : (n,) float64 array
        Of the weight that is read, at curvature 1 and noise 1. NaN where the cycle is not stable.
    speed : (n,) float64 array
        ``-log(rate)`` per step. -inf where the cycle is not stable.
    """

    x: np.ndarray
    variance: np.ndarray
    speed: np.ndarray


class Lowest(NamedTuple):
    """The lowest risk of a family at some speeds.

    Attributes
    ----------
    risk : (speeds,) float64 array
        inf where no setting is as fast.
    setting : (speeds,) int array
        The number of the setting that has it, or -1.
    x : (speeds,) float64 array
        lr times the largest curvature there, NaN without a setting.
    """

    risk: np.ndarray
    setting: np.ndarray
    x: np.ndarray


@named_arguments
@default_errors
def without_pull_back(cycle: Cycle) -> Cycle:
    """Return the average without pull-back that takes the place of Lookahead: the same k and s at slow_step_size*lr.

    Parameters
    ----------
    cycle : Cycle
        With pull-back, inner_state "keep" and no outer momentum.

    Returns
    -------
    Cycle

    Raises
    ------
    TypeError, ValueError
        If cycle is something else.

    Notes
    -----
    Both have the same effective learning rate. Without momentum the average is at least as fast and no noisier in every
    mode that does not overshoot; see the head of this module.

    Examples
    --------
    >>> from lookahead_nb.theory import SLOW, Cycle, without_pull_back
    >>> lookahead = Cycle(lr=0.5, noise=1.0, sync_period=5, slow_step_size=0.5)
    >>> average = without_pull_back(lookahead)
    >>> [float(cycle.covariance()[SLOW, SLOW].round(3)) for cycle in (lookahead, average)]
    [0.113, 0.061]
    """
    if not isinstance(cycle, Cycle):
        raise TypeError(f"cycle must be a Cycle, got {shown(cycle)}")
    if not cycle.pull_back or cycle.inner_state != "keep" or cycle.outer_momentum:
        found = f"pull_back {cycle.pull_back}, {cycle.inner_state!r} and outer_momentum {cycle.outer_momentum}"
        raise ValueError(f"cycle must have pull-back, inner_state 'keep' and no outer_momentum, got {found}")
    return replace(cycle, lr=cycle.lr * cycle.slow_step_size, pull_back=False)


@named_arguments
@default_errors
def damping(x: Any, beta1: Any) -> np.ndarray:
    """Return ``x(1-beta1)/(1-sqrt(beta1))^2``, above which value of 1 a mode of the inner optimizer overshoots.

    Parameters
    ----------
    x : float or array
        lr*curvature, at least 0.
    beta1 : float or array
        In [0, 1).

    Returns
    -------
    float64 array
        Of the broadcast shape.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> from lookahead_nb.theory import damping
    >>> [float(damping(0.5, beta1).round(1)) for beta1 in (0.0, 0.9)]
    [0.5, 19.0]
    """
    x, beta1 = together(x=real_numbers("x", x, 0), beta1=real_numbers("beta1", beta1, 0, 1, open_high=True))
    return x * (1 - beta1) / (1 - np.sqrt(beta1)) ** 2


@named_arguments
@default_errors
def pull_back_gain(x: Any, beta1: Any, sync_period: int, slow_step_size: float) -> np.ndarray:
    """Return the variance of Lookahead over that of :func:`without_pull_back`, on one mode.

    Parameters
    ----------
    x : float or array
        lr*curvature of Lookahead, above 0.
    beta1 : float or array
        In [0, 1).
    sync_period : int
        At least 1.
    slow_step_size : float
        In (0, 1].

    Returns
    -------
    float64 array
        Of the broadcast shape. Below 1 the pull-back pays; 0 where only Lookahead is stable, NaN where it is not.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Modes of small x are equally fast in both, and decide the speed.

    Examples
    --------
    >>> from lookahead_nb.theory import pull_back_gain
    >>> [float(pull_back_gain(x, 0.9, 5, 0.5).round(2)) for x in (0.01, 1.0, 10.0)]
    [1.0, 1.23, 3.71]
    """
    x = real_numbers("x", x, 0, open_low=True)
    size = real_number("slow_step_size", slow_step_size, 0, 1, open_low=True)
    cycle = Cycle(lr=x, beta1=beta1, noise=1.0, sync_period=sync_period, slow_step_size=size)
    average = without_pull_back(cycle)
    ours, theirs = (each.covariance()[..., SLOW, SLOW] for each in (cycle, average))
    return np.where(average.stable, ours / theirs, np.where(cycle.stable, 0.0, np.nan))


@default_errors
def solved(highest: float, *, weights: str = "slow", **settings: Any) -> Solved:
    """Return variance and speed of a setting for all x = lr*curvature up to the highest.

    Parameters
    ----------
    highest : float
        Above ``LOWEST``.
    weights : str
        "slow" or "fast": the weight that is read.
    **settings
        Of :class:`Cycle`, but lr, curvature and noise.

    Returns
    -------
    Solved

    Raises
    ------
    TypeError, ValueError
        If a setting is wrong.
    """
    top = real_number("highest", highest, LOWEST, open_low=True)
    one_of("weights", weights, ("slow", "fast"))
    x = top * RATIO ** -np.arange(int(np.log(top / LOWEST) / np.log(RATIO)), -1.0, -1.0)
    cycle = Cycle(lr=x, noise=1.0, **settings)
    settles, place = cycle.rate < SETTLES, ("fast", "slow").index(weights)
    variance, speed = np.full(x.size, np.nan), np.full(x.size, -np.inf)
    variance[settles] = Cycle(lr=x[settles], noise=1.0, **settings).covariance()[:, place, place]
    with np.errstate(divide="ignore"):
        speed[settles] = -np.log(cycle.rate[settles])
    return Solved(x, variance, speed)


@named_arguments
@default_errors
def on_spectrum(
    setting: Solved, *, exponent: float, condition: float, noise_exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return risk and speed over a spectrum, at every lr of a solved setting.

    Parameters
    ----------
    setting : Solved
    exponent : float
        p, above 0, of the eigenvalues i^-p. The largest is 1.
    condition : float
        At least 1: the largest over the smallest eigenvalue.
    noise_exponent : float
        The variance of the gradient noise is curvature^noise_exponent: 1 where noise is like the Hessian, 0 where it is
        the same in all modes, 2 where it comes from the rows' minima.

    Returns
    -------
    risk, speed : (lrs,) float64 arrays
        The lr are the last ``lrs`` values of ``setting.x``. Risk is NaN and speed -inf where a mode is not stable.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    p, nu = real_number("exponent", exponent, 0, open_low=True), real_number("noise_exponent", noise_exponent, -np.inf)
    modes = round(np.log(real_number("condition", condition, 1)) / np.log(RATIO)) + 1
    if modes > len(setting.x):
        raise ValueError(f"condition must be at most {setting.x[-1] / setting.x[0]:.3g}, got {condition:g}")
    curvature = RATIO ** -np.arange(modes)
    weights = curvature ** (-1 / p) / (curvature ** (-1 / p)).sum()  # eigenvalues around each mode, as a share of all
    # Row i has the modes of lr number modes - 1 + i, the smallest curvature first.
    variance, speed = (np.lib.stride_tricks.sliding_window_view(part, modes) for part in setting[1:])
    return variance @ (weights * curvature ** (nu - 1))[::-1] / 2, speed.min(-1)


@named_arguments
@default_errors
def lowest_risk(
    settings: Iterable[Solved], speeds: Any, *, exponent: float, condition: float, noise_exponent: float
) -> Lowest:
    """Return the lowest risk of some settings at given speeds or above, over all learning rates.

    Parameters
    ----------
    settings : iterable of Solved
    speeds : (speeds,) array
        Above 0.
    exponent, condition, noise_exponent : float
        As in :func:`on_spectrum`.

    Returns
    -------
    Lowest

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Between two neighbouring learning rates the logarithm of the risk is linear in that of the speed.
    """
    speeds = np.ravel(real_numbers("speeds", speeds, 0, open_low=True))
    spectrum = {"exponent": exponent, "condition": condition, "noise_exponent": noise_exponent}
    return _lowest([_curve(setting, spectrum) for setting in settings], speeds)


def _curve(setting: Solved, spectrum: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return risk, speed and lr of a setting over a spectrum; the risk is inf where it does not settle."""
    risk, speed = on_spectrum(setting, **spectrum)
    return np.where(speed > 0, risk, np.inf), speed, setting.x[-risk.size :]


def _lowest(curves: list[tuple[np.ndarray, np.ndarray, np.ndarray]], speeds: np.ndarray) -> Lowest:
    lowest = Lowest(np.full(speeds.size, np.inf), np.full(speeds.size, -1), np.full(speeds.size, np.nan))
    for number, curve in enumerate(curves):
        for found, x in _at(speeds, *curve):
            better = found < lowest.risk
            lowest.risk[better], lowest.setting[better], lowest.x[better] = found[better], number, x[better]
    return lowest


def _at(speeds: np.ndarray, risk: np.ndarray, speed: np.ndarray, lrs: np.ndarray) -> Iterable:
    """Yield risk and lr at each of the speeds: at the best lr of the grid that is as fast, and between two."""
    fast = np.where(speed >= speeds[:, None], risk, np.inf)
    best = fast.argmin(-1)
    yield fast.min(-1), lrs[best]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, heights, positions = np.log(speed), np.log(risk), np.log(lrs)
        part = (np.log(speeds)[:, None] - logs[:-1]) / np.diff(logs)
        inside = (part >= 0) & (part <= 1) & np.isfinite(heights[:-1]) & np.isfinite(heights[1:])
        between = np.where(inside, heights[:-1] + part * np.diff(heights), np.inf)
    best = between.argmin(-1)
    at = np.take_along_axis(np.where(inside, part, 0), best[:, None], 1)[:, 0]
    yield np.exp(between.min(-1)), np.exp(positions[best] + at * np.diff(positions)[best])


# ------------------------------------------------------------------------------------------------------- the families

WINDOWS = tuple(float(f"{0.9 * 0.7**i:.3g}") for i in range(26))  # slow steps of exponential averages, 0.9 to 1e-4
PERIODS, STEPS = (2, 3, 4, 5, 7, 10, 14, 20, 30, 50), (0.1, 0.2, 0.3, 0.5, 0.65, 0.8, 0.9)
MOMENTA = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


@default_errors
def families(beta1: float, *, few: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return the settings of each family around an inner momentum.

    Parameters
    ----------
    beta1 : float
        In [0, 1).
    few : bool
        Whether to take a part of them, for a quick look.

    Returns
    -------
    dict of str to list of dict
        "inner", "Lookahead", "average" without pull-back, "outer momentum" and "primal averaging", each with settings
        of :class:`Cycle`. An average has the inner optimizer among its settings.
    """
    periods, steps, windows = (PERIODS[3::2], STEPS[1::2], WINDOWS[::3]) if few else (PERIODS, STEPS, WINDOWS)
    pairs = [{"sync_period": k, "slow_step_size": s} for k in periods for s in steps]
    every = [{"slow_step_size": s, "pull_back": False} for s in windows]
    outer = [
        {"sync_period": k, "slow_step_size": s, "outer_momentum": mu, "outer_nesterov": nesterov}
        for k in (1, *periods[::2])
        for s in (*steps[2::2], 1.0)
        for mu in (0.3, 0.5, 0.7, 0.9)
        for nesterov in (False, True)
    ]
    named: dict[str, list[dict[str, Any]]] = {
        "inner": [{}],
        "Lookahead": pairs,
        "average": [{}, *every, *(pair | {"pull_back": False} for pair in pairs)],
        "outer momentum": outer,
        "primal averaging": [step | {"mixing": mixing} for step in every for mixing in (0.5, 0.7, 0.9, 0.95, 0.99)],
    }
    return {family: [setting | {"beta1": beta1} for setting in listed] for family, listed in named.items()}


@default_errors
def solved_families(
    beta1: float, *, few: bool = False, steps_per_epoch: int | None = None
) -> Mapping[str, list[Solved]]:
    """Return :func:`families`, solved.

    Parameters
    ----------
    beta1, few
        As in :func:`families`.
    steps_per_epoch : int, optional
        As in :class:`Cycle`; weights are read where an epoch and a cycle end.

    Returns
    -------
    dict of str to list of Solved
    """
    found: dict[str, list[Solved]] = {}
    for family, listed in families(beta1, few=few).items():
        found[family] = []
        for setting in listed:
            inner = setting.keys() <= {"beta1"}
            # Up to the limit of the inner optimizer, over the slow step where fast is pulled back.
            reach = setting.get("slow_step_size", 1.0) if setting.get("pull_back", True) or "mixing" in setting else 1.0
            top = 2 * (1 + beta1) / (1 - beta1) / min(reach, 1.0)
            weights = "fast" if inner else "slow"
            found[family].append(solved(top, weights=weights, steps_per_epoch=steps_per_epoch, **setting))
    return found


@named_arguments
@default_errors
def compared(
    solved_at: Mapping[float, Mapping[str, list[Solved]]],
    *,
    exponent: float,
    condition: float,
    noise_exponent: float,
    speeds: int = 24,
) -> list[dict[str, Any]]:
    """Return the lowest risk of each family at each speed, around each inner momentum.

    Parameters
    ----------
    solved_at : mapping of float to mapping
        By beta1: what :func:`solved_families` returns.
    exponent, condition, noise_exponent : float
        As in :func:`on_spectrum`.
    speeds : int
        How many, at least 2, from a fiftieth of the highest speed of any family around this momentum to that speed.

    Returns
    -------
    list of dict
        For each beta1 and speed a row with ``beta1``, ``speed`` and, for each family, its risk, and its damping at that
        setting as "FAMILY damping"; and "free", the lowest risk of the inner optimizer and of Lookahead around any of
        the momenta.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    count = whole_number("speeds", speeds, 2)
    spectrum = {"exponent": exponent, "condition": condition, "noise_exponent": noise_exponent}
    curves_at = {
        beta1: {family: [_curve(each, spectrum) for each in listed] for family, listed in of.items()}
        for beta1, of in solved_at.items()
    }
    everyone = [curve for of in curves_at.values() for family in ("inner", "Lookahead") for curve in of[family]]
    rows = []
    for beta1, of in curves_at.items():
        grid = max(speed.max() for listed in of.values() for _, speed, _ in listed) * np.geomspace(
            1 / 50, 1 - 1e-9, count
        )
        lowest = {family: _lowest(listed, grid) for family, listed in of.items()}
        free = _lowest(everyone, grid)
        for i, speed in enumerate(grid):
            row = {"beta1": beta1, "speed": float(speed)}
            for family, each in lowest.items():
                row |= {
                    family: float(each.risk[i]),
                    f"{family} damping": float(damping(np.nan_to_num(each.x[i]), beta1)),
                }
            rows.append(row | {"free": float(free.risk[i])})
    return rows
