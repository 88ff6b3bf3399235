"""Lookahead in bilinear games, solved exactly: the cycle as a linear map, its rate, and a rule for small steps.

The game is min_x max_y ``strength*x*y``, one pair of singular directions of a bilinear game. Other pairs do not mix
with it. Descent in x and ascent in y at once is, with z = x + iy and g = lr*strength,

    z = (1 + ig) z

Its absolute value, sqrt(1 + g^2), is above 1: no lr is low enough. Lookahead with k = sync_period and
s = slow_step_size turns k steps and a sync into ``z = (1 - s + s(1 + ig)^k) z``. For small g,

    (1 + ig)^k                 = 1 + ikg - k(k-1)g^2/2 + O(k^3 g^3)
    |1 - s + s(1 + ig)^k|^2    = 1 - s k(k-1) g^2 + s^2 k^2 g^2 + O(k^4 g^4)
                               = 1 - s k g^2 ((1-s)k - 1) + O(k^4 g^4)
    ln(rate per step)          = -(g^2/2) s ((1-s)k - 1) + O(k^3 g^4)

So it converges exactly if retention*k > 1, with retention = 1 - s. The best slow step of this formula is (k-1)/(2k).
The rule ends where k*g is no longer small. At g = 0.3 Lookahead with k = 6 and s = 0.8 diverges, although
retention*k = 1.2.

The fastest Lookahead lies beyond the rule. Where k*g is near pi, the fast weights end half a turn away, on the other
side of the equilibrium, and the slow step goes halfway.

With alternating steps the map has determinant 1 and the eigenvalues exp(+-i*theta), 2 sin(theta/2) = g. Without
Lookahead the players then circle for ever, up to g = 2. With it they always approach, unless k*theta is a multiple of
2 pi.

Sources: Chavdarova et al. 2021 for the cycle. The rule for small steps is derived above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, real_number, real_numbers, shown, whole_number
from lookahead_nb.optimizers import INNER_STATES
from lookahead_nb.theory.quadratic import LEAST, together
from lookahead_nb.training.play import MOVES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

X, Y, U, V, P, Q = range(6)  # both players, the velocity of each times lr, the previous gradient of each times lr
_GOLDEN = (5**0.5 - 1) / 2
_NARROWED = 80  # times by the golden ratio: to the last digits


class BestSync(NamedTuple):
    """The Lookahead that is fastest in a bilinear game.

    Attributes
    ----------
    sync_period : int
    slow_step_size : float
    rate : float
        The factor of the slowest direction per inner step.
    """

    sync_period: int
    slow_step_size: float
    rate: float


@named_arguments
@default_errors
def game_multiplier(lr: ArrayLike, strength: ArrayLike, sync_period: int, slow_step_size: ArrayLike) -> np.ndarray:
    """Return the complex factor of x + iy per cycle in the game min_x max_y strength*x*y.

    The factor is ``1 - s + s(1 + i*lr*strength)^k``. Lookahead shrinks x + iy where its absolute value is below 1.

    Parameters
    ----------
    lr, strength : float or array
        Above 0.
    sync_period : int
        k, at least 1.
    slow_step_size : float or array
        s, in [0, 1].

    Returns
    -------
    complex128 array
        Of the broadcast shape. A NumPy complex if all arguments are numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Descent in x and ascent in y at once is x + iy = (1 + i*lr*strength)(x + iy), which always grows. Source:
    Chavdarova et al. 2021, for the bilinear game.

    Examples
    --------
    >>> from lookahead_nb.theory import game_multiplier
    >>> [float(abs(game_multiplier(0.3, 1.0, k, s)).round(3)) for k, s in [(1, 1.0), (5, 0.5)]]
    [1.044, 0.84]
    """
    lr, strength, s = _settings(lr, strength, slow_step_size)
    k = whole_number("sync_period", sync_period, 1)
    factor = 1 - s + s * (1 + 1j * lr * strength) ** k
    _check_finite(factor, lr, strength)
    return factor


@named_arguments
@default_errors
def game_rate(
    lr: ArrayLike,
    strength: ArrayLike,
    sync_period: int = 1,
    slow_step_size: ArrayLike = 1.0,
    *,
    momentum: ArrayLike = 0.0,
    inner_state: str = "keep",
    moves: str = "simultaneous",
) -> np.ndarray:
    """Return the factor by which the distance from the equilibrium shrinks per step in the long run, exactly.

    The defaults of sync_period and slow_step_size are those of the inner optimizer alone. Above 1 the distance grows.

    Parameters
    ----------
    lr, strength : float or array
        Above 0.
    sync_period : int
        At least 1.
    slow_step_size : float or array
        In [0, 1].
    momentum : float or array
        In [0, 1), that of ``SGD``.
    inner_state : str
        "keep", "reset" or "interpolate", as in ``Lookahead``.
    moves : str
        As in ``play``: "simultaneous", "alternating", "extragradient" or "optimistic".

    Returns
    -------
    float64 array
        Of the broadcast shape. A NumPy float if all arguments are numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or lr*strength has no finite power.

    Notes
    -----
    The state (x, y, velocities, previous gradients) has a linear map for each step and for each sync. The rate is the
    spectral radius of that of a cycle, to the power 1/k.

    Examples
    --------
    >>> from lookahead_nb.theory import game_rate
    >>> [float(game_rate(0.1, 1.0, *sync).round(5)) for sync in [(), (5, 0.5), (31, 0.462)]]
    [1.00499, 0.99624, 0.89101]
    """
    lr, strength, s = _settings(lr, strength, slow_step_size)
    beta = real_numbers("momentum", momentum, 0, 1, open_high=True)
    k = whole_number("sync_period", sync_period, 1)
    one_of("inner_state", inner_state, tuple(INNER_STATES))
    one_of("moves", moves, tuple(MOVES))
    lr, strength, s, beta = together(lr=lr, strength=strength, slow_step_size=s, momentum=beta)
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.linalg.matrix_power(_step(lr * strength, beta, moves), k)
        if k > 1 or (s < 1).any():
            whole = _synced(whole, s, inner_state)
    _check_finite(whole, lr, strength)
    return (np.abs(np.linalg.eigvals(whole)).max(-1) ** (1 / k))[()]


def _step(g: np.ndarray, beta: np.ndarray, moves: str) -> np.ndarray:
    """Return the map of a step, (..., 6, 6)."""
    identity = np.broadcast_to(np.eye(6), (*g.shape, 6, 6))

    def row(i: int) -> np.ndarray:
        return identity[..., i, :]

    def moved(of_first: np.ndarray, of_second: np.ndarray) -> list[np.ndarray]:
        """Return weights and velocities after a step with these gradients."""
        u, v = beta * row(U) + of_first, beta * row(V) + of_second
        return [row(X) - u, row(Y) - v, u, v]

    g, beta = g[..., None], beta[..., None]
    now = g * row(Y), -g * row(X)
    grad = now
    if moves == "optimistic":
        grad = 2 * now[0] - row(P), 2 * now[1] - row(Q)
    elif moves != "simultaneous":
        x, y, *_ = moved(*now)
        grad = (now[0] if moves == "alternating" else g * y), -g * x
    return np.stack([*moved(*grad), *now], axis=-2)


def _synced(whole: np.ndarray, s: np.ndarray, inner_state: str) -> np.ndarray:
    """Return the map of a cycle from that of its steps; slow and fast weights agree at its beginning."""
    of_velocity = {"keep": (0.0, 1.0), "reset": (0.0, 0.0), "interpolate": (1 - s, s)}[inner_state]
    back, there = (np.zeros((*s.shape, 6)) for _ in range(2))
    back[..., : Y + 1], there[..., : Y + 1] = (1 - s)[..., None], s[..., None]
    for part, share in zip((back, there), of_velocity, strict=True):
        part[..., U : V + 1] = np.asarray(share)[..., None]
    there[..., P:] = 1
    return back[..., None] * np.eye(6) + there[..., None] * whole


@named_arguments
@default_errors
def small_game_rate(
    lr: ArrayLike, strength: ArrayLike, sync_period: ArrayLike, slow_step_size: ArrayLike
) -> np.ndarray:
    """Return the logarithm of the rate per step for small steps, ``-(g**2/2)*s*((1-s)*k - 1)`` with g = lr*strength.

    It is negative, so that Lookahead converges, exactly if retention*sync_period > 1. What it leaves out is of the
    order of ``g**4 * k**3``.

    Parameters
    ----------
    lr, strength : float or array
        Above 0.
    sync_period : int or array of int
        k, at least 1.
    slow_step_size : float or array
        s, in [0, 1].

    Returns
    -------
    float64 array
        Of the broadcast shape. A NumPy float if all arguments are numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Derived at the head of this module, for simultaneous steps without momentum.

    Examples
    --------
    >>> import math
    >>> from lookahead_nb.theory import game_rate, small_game_rate
    >>> round(float(small_game_rate(0.1, 1.0, 5, 0.5)), 5), round(math.log(game_rate(0.1, 1.0, 5, 0.5)), 5)
    (-0.00375, -0.00377)
    """
    lr, strength, s = _settings(lr, strength, slow_step_size)
    k = _periods(sync_period)
    together(lr=lr, strength=strength, sync_period=k, slow_step_size=s)
    logarithm = -((lr * strength) ** 2) / 2 * s * ((1 - s) * k - 1)
    _check_finite(logarithm, lr, strength)
    return logarithm


@named_arguments
@default_errors
def least_game_retention(lr: ArrayLike, strength: ArrayLike, sync_period: ArrayLike) -> np.ndarray:
    """Return the retention above which Lookahead converges in a bilinear game, exactly; 1/sync_period for small steps.

    Parameters
    ----------
    lr, strength : float or array
        Above 0.
    sync_period : int or array of int
        At least 1.

    Returns
    -------
    float64 array
        Of the broadcast shape, in [0, 1]; 1 where no Lookahead converges. A NumPy float if all arguments are numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or lr*strength has no finite power.

    Notes
    -----
    With w = (1 + ig)^k, ``|1 - s + s w| < 1`` is ``s < 2 Re(1-w)/|1-w|^2``, for simultaneous steps without momentum.

    Examples
    --------
    >>> from lookahead_nb.theory import least_game_retention
    >>> least_game_retention([0.01, 0.1, 0.3], 1.0, 5).round(3).tolist()
    [0.2, 0.204, 0.239]
    """
    lr, strength, _ = _settings(lr, strength, 0.0)
    k = _periods(sync_period)
    together(lr=lr, strength=strength, sync_period=k)
    with np.errstate(over="ignore", invalid="ignore"):
        g = np.maximum(lr * strength, LEAST)  # there 1/k is exact long since
        growth, turn = k * np.log1p(g**2) / 2, k * np.arctan(g)  # w = exp(growth + i*turn), also where 1 - w cancels
        away = 2 * np.sin(turn / 2) ** 2 - np.expm1(growth) * np.cos(turn)
        size = np.hypot(away, np.exp(growth) * np.sin(turn))
        _check_finite(size, lr, strength)
        return 1 - np.clip(2 * (away / size) / size, 0, 1)


@named_arguments
@default_errors
def best_game_slow_step(sync_period: ArrayLike) -> np.ndarray:
    """Return the slow_step_size that converges fastest in bilinear games for small steps: ``(k-1)/(2k)``.

    Parameters
    ----------
    sync_period : int or array of int
        k, at least 1.

    Returns
    -------
    float64 array
        Of its shape; 0 at k = 1, where no Lookahead converges. A NumPy float for a number.

    Raises
    ------
    TypeError, ValueError
        If sync_period holds anything but whole numbers of at least 1.

    Examples
    --------
    >>> from lookahead_nb.theory import best_game_slow_step
    >>> best_game_slow_step([1, 5, 10]).tolist()
    [0.0, 0.4, 0.45]
    """
    k = _periods(sync_period)
    return (k - 1) / (2 * k)


@named_arguments
@default_errors
def best_game_sync(lr: float, strengths: ArrayLike, *, longest: int = 100) -> BestSync:
    """Return the Lookahead that is fastest in the slowest direction of a bilinear game, with simultaneous steps.

    Parameters
    ----------
    lr : float
        Above 0.
    strengths : (n,) array
        Above 0, the singular values of the game, at least one.
    longest : int
        At least 1, the longest sync_period that is tried.

    Returns
    -------
    BestSync
        At slow_step_size 0 and a rate of 1 if none converges.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or lr times a strength has no finite power.

    Notes
    -----
    For each sync_period the rate is a convex function of slow_step_size, whose minimum is found by golden sections.

    Examples
    --------
    >>> from lookahead_nb.theory import best_game_sync
    >>> best = best_game_sync(0.1, [1.0])
    >>> best.sync_period, round(best.slow_step_size, 3)
    (31, 0.461)
    """
    step, turned = real_number("lr", lr, 0, open_low=True), real_numbers("strengths", strengths, 0, open_low=True)
    if turned.ndim > 1 or not turned.size:
        raise ValueError(f"strengths must be a list of at least one number, got {turned.shape}")
    periods = np.arange(1, whole_number("longest", longest, 1, 100_000) + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        turns = (1 + 1j * step * np.ravel(turned)) ** periods[:, None]
    if not np.isfinite(turns).all():
        raise ValueError(f"strengths times lr must have a finite power, got {shown(strengths)} and lr {shown(lr)}")

    def factor(s: np.ndarray) -> np.ndarray:
        return np.abs(1 - s[:, None] + s[:, None] * turns).max(1)

    low, high = np.zeros(len(periods)), np.ones(len(periods))
    for _ in range(_NARROWED):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        is_left = factor(left) < factor(right)
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
    s = (low + high) / 2
    rates = factor(s) ** (1 / periods)
    best = int(rates.argmin())
    if rates[best] >= 1:
        return BestSync(1, 0.0, 1.0)
    return BestSync(int(periods[best]), float(s[best]), float(rates[best]))


def _settings(lr: Any, strength: Any, slow_step_size: Any) -> list[np.ndarray]:
    """Return the checked settings; their shapes broadcast."""
    numbers = {
        "lr": real_numbers("lr", lr, 0, open_low=True),
        "strength": real_numbers("strength", strength, 0, open_low=True),
        "slow_step_size": real_numbers("slow_step_size", slow_step_size, 0, 1),
    }
    together(**numbers)
    return [*numbers.values()]


def _periods(sync_period: Any) -> np.ndarray:
    k = real_numbers("sync_period", sync_period, 1)
    if (k != np.floor(k)).any():
        raise ValueError(f"sync_period must hold whole numbers of at least 1, got {shown(sync_period)}")
    return k


def _check_finite(results: np.ndarray, lr: np.ndarray, strength: np.ndarray) -> None:
    if not np.isfinite(results).all():
        given = f"got lr {shown(lr.tolist())} and strength {shown(strength.tolist())}"
        raise ValueError(f"lr * strength must have a finite power at this sync_period, {given}")
