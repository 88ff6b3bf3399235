"""Closed forms for Lookahead around gradient descent, and slow steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, plain_array, real_numbers, shown, whole_number
from lookahead_nb.theory.quadratic import LEAST, expected_loss, together

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@named_arguments
@default_errors
def sgd_variance(lr: ArrayLike, curvature: ArrayLike, noise: ArrayLike) -> np.ndarray:
    """Return the steady-state variance V_SGD of gradient descent: ``lr*noise**2/(curvature*(2 - lr*curvature))``.

    Parameters
    ----------
    lr, curvature : float or array
        Above 0.
    noise : float or array
        At least 0, the standard deviation of the gradient.

    Returns
    -------
    float64 array
        Of the broadcast shape. inf where lr*curvature is 2 or more.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    From V = r^2 V + lr^2 noise^2, r = 1 - lr*curvature. In the noisy quadratic of Zhang et al. 2019, Proposition 2,
    noise is curvature*sigma.

    Examples
    --------
    >>> from lookahead_nb.theory import sgd_variance
    >>> sgd_variance([0.5, 1.0, 2.0], 1.0, 3.0).tolist()
    [3.0, 9.0, inf]
    """
    lr, curvature, noise = _positive(lr=lr, curvature=curvature, noise=noise)
    together(lr=lr, curvature=curvature, noise=noise)
    margin = 2 - lr * curvature
    with np.errstate(divide="ignore"):
        return np.where(margin > 0, lr * noise**2 / (curvature * np.maximum(margin, 0)), np.inf)


@named_arguments
@default_errors
def sgd_variance_ratio(lr: ArrayLike, curvature: ArrayLike, sync_period: int, slow_step_size: ArrayLike) -> np.ndarray:
    """Return R, the steady-state variance of the slow weight over V_SGD: ``s(1+q)/(2 - s(1-q))``.

    Parameters
    ----------
    lr, curvature : float or array
        Above 0.
    sync_period : int
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
    From V = m^2 V + s^2 V_SGD (1 - q^2) and 1 - m^2 = s(1-q)(2 - s(1-q)). R grows with q and s. It lies between s/(2-s)
    at q = 0 and s at q = 1, so for 0 <= q <= 1 sync_period moves it within these bounds only. Source: Zhang et al.
    2019, Proposition 2, simplified.

    Examples
    --------
    >>> from lookahead_nb.theory import sgd_variance_ratio
    >>> float(sgd_variance_ratio(1.0, 1.0, 5, 0.5).round(4))  # q = 0, so s/(2-s)
    0.3333
    """
    s, q = _slow_and_q(lr, curvature, sync_period, slow_step_size)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(q), np.sign(s), s * (1 + q) / (2 - s * (1 - q)))[()]  # sign(s): the limit


@named_arguments
@default_errors
def sgd_rate(lr: ArrayLike, curvature: ArrayLike, sync_period: int, slow_step_size: ArrayLike) -> np.ndarray:
    """Return the rate per inner step, ``abs(1 - s + s r^k)^(1/k)``.

    Parameters
    ----------
    lr, curvature : float or array
        Above 0.
    sync_period : int
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
    For r = 1 - lr*curvature above 0, the rate is the power mean of order k of 1 and r, with the weights 1 - s and s.

    Examples
    --------
    >>> from lookahead_nb.theory import sgd_rate
    >>> float(sgd_rate(0.1, 1.0, 5, 0.5).round(4))
    0.9552
    """
    s, q = _slow_and_q(lr, curvature, sync_period, slow_step_size)
    return np.abs(1 - s * (1 - q)) ** (1 / sync_period)


@named_arguments
@default_errors
def sgd_moments(
    syncs: int | np.ndarray,
    lr: ArrayLike,
    curvature: ArrayLike,
    sync_period: int,
    slow_step_size: ArrayLike,
    noise: ArrayLike,
    start: float | np.ndarray = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the slow weight after so many syncs: ``m^n start`` and ``R V_SGD (1 - m^(2n))``.

    Parameters
    ----------
    syncs : int or array of int
        n, at least 0.
    lr, curvature : float or array
        Above 0.
    sync_period : int
        k, at least 1.
    slow_step_size : float or array
        s, in [0, 1].
    noise : float or array
        At least 0, the standard deviation of the gradient.
    start : float or array
        The mean at the start, where the variance is 0.

    Returns
    -------
    mean, variance : float64 array
        Of the broadcast shape. NumPy floats if all arguments are numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    m = 1 - s(1 - q), see the head of this module.
    """
    s, q = _slow_and_q(lr, curvature, sync_period, slow_step_size)
    counts, start = plain_array("syncs", syncs), real_numbers("start", start, -np.inf)
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"syncs must be whole numbers of at least 0, got {shown(syncs)}")
    together(syncs=counts, start=start, lr=s * q)
    m = 1 - s * (1 - q)
    variance = sgd_variance_ratio(lr, curvature, sync_period, slow_step_size) * sgd_variance(lr, curvature, noise)
    grown = 1 - m ** (2 * counts)
    with np.errstate(invalid="ignore"):
        return m**counts * start, np.where(grown == 0, 0.0, variance * grown)[()]


@named_arguments
@default_errors
def sgd_crossing_time(
    lr: ArrayLike,
    curvature: ArrayLike,
    sync_period: int,
    slow_step_size: ArrayLike,
    noise: ArrayLike,
    start: ArrayLike = 1.0,
) -> np.ndarray:
    """Return about how many steps Lookahead needs to overtake gradient descent at the same lr, on one mode.

    Parameters
    ----------
    lr, curvature : float or array
        Above 0.
    sync_period : int
        k, at least 1.
    slow_step_size : float or array
        s, in [0, 1].
    noise : float or array
        At least 0, the standard deviation of the gradient.
    start : float or array
        The mean at the start, where the variance is 0.

    Returns
    -------
    float64 array
        In steps, of the broadcast shape; a NumPy float if all arguments are numbers. 0 where Lookahead is ahead from
        the start, inf where it saves no variance.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    ``log(start**2/((1-R) V_SGD))/(2*slow_step_size*lr*curvature)``. By then the lag of the mean, which decays more
    slowly, is as small as the variance that is saved. The decay is taken to first order in lr*curvature.

    Examples
    --------
    >>> from lookahead_nb.theory import sgd_crossing_time
    >>> float(sgd_crossing_time(0.01, 1.0, 5, 0.5, 0.1).round())
    1058.0
    """
    start = real_numbers("start", start, -np.inf)
    R, V = sgd_variance_ratio(lr, curvature, sync_period, slow_step_size), sgd_variance(lr, curvature, noise)
    together(start=start, lr=R)
    lr, curvature, s = *_positive(lr=lr, curvature=curvature), real_numbers("slow_step_size", slow_step_size, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        saved = (1 - R) * V
        time = np.log(np.square(start) / saved) / (2 * np.multiply(s, np.multiply(lr, curvature)))
    return np.where((R < 1) & (V > 0), np.fmax(time, 0), np.inf)[()]  # nothing is saved: never


@named_arguments
@default_errors
def sgd_matched_lr(
    lr: ArrayLike, curvatures: ArrayLike, noise: ArrayLike, sync_period: int, slow_step_size: float
) -> np.ndarray:
    """Return the lr of Lookahead at which its steady-state risk is that of gradient descent at lr, for a spectrum.

    The risk is ``sum(curvatures*variance)/2`` of the slow weights.

    Parameters
    ----------
    lr : float or array
        The lr of gradient descent, in (0, 2/max(curvatures)).
    curvatures : (n,) array
        Above 0, the modes.
    noise : (n,) array
        At least 0, the standard deviation of the gradient in these modes.
    sync_period : int
        k, at least 1.
    slow_step_size : float
        s, in [0, 1].

    Returns
    -------
    float64 array
        Of the shape of lr. NaN where no lr below 2/max(curvatures) has this risk.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    The lr is found by bisection between 0 and 2/max(curvatures). Source: what "matched" means in Zhang et al. 2019,
    Figure 2.
    """
    lr, curvatures, noise = _positive(lr=lr, curvatures=curvatures, noise=noise)
    together(curvatures=curvatures, noise=noise)

    def risk(lr: np.ndarray, k: int, s: float) -> np.ndarray:
        variance = sgd_variance_ratio(lr[..., None], curvatures, k, s) * sgd_variance(lr[..., None], curvatures, noise)
        return expected_loss(curvatures, 0.0, variance)

    if not curvatures.size or curvatures.max() < LEAST:
        raise ValueError(f"curvatures must hold a number of at least {LEAST:g}, got {shown(curvatures)}")
    end = (2 - 1e-9) / curvatures.max()
    wanted, low, high = risk(lr, 1, 1.0), np.zeros(lr.shape), np.full(lr.shape, end)
    for _ in range(60):
        middle = (low + high) / 2
        below = risk(middle, sync_period, slow_step_size) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(high < end, low, np.nan)


@named_arguments
@default_errors
def sgd_matched_loss(
    steps: ArrayLike,
    lr: ArrayLike,
    curvatures: ArrayLike,
    noise: ArrayLike,
    sync_period: int,
    slow_step_size: float,
) -> np.ndarray:
    """Return the expected loss after so many steps from 1, at the lr of :func:`sgd_matched_lr`.

    Parameters
    ----------
    steps : int or array of int
        Whole numbers of cycles. They broadcast to the shape of lr.
    lr : float or array
        The lr of gradient descent, low enough to be matched.
    curvatures, noise, sync_period, slow_step_size
        As in :func:`sgd_matched_lr`.

    Returns
    -------
    float64 array
        Of the shape of lr. NaN where lr cannot be matched.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    matched = sgd_matched_lr(lr, curvatures, noise, sync_period, slow_step_size)[..., None]
    counts = plain_array("steps", steps)
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"steps must be whole numbers of at least 0, got {shown(steps)}")
    together(steps=counts, lr=np.ones_like(matched[..., 0]))
    has_none, syncs = ~(matched > 0), counts[..., None] // sync_period
    rates = np.where(has_none, 1 / np.max(curvatures), matched)
    loss = expected_loss(curvatures, *sgd_moments(syncs, rates, curvatures, sync_period, slow_step_size, noise))
    return np.where(has_none[..., 0], np.nan, loss)[()]


@named_arguments
@default_errors
def optimal_slow_step(curvatures: ArrayLike, start: ArrayLike, end: ArrayLike) -> np.ndarray:
    """Return the slow step that minimises the loss on the line from start through end.

    The slow step is not clipped. Above 1 the inner loop has not gone far enough, below 1 too far.

    Parameters
    ----------
    curvatures : (n,) array
        Above 0.
    start, end : (..., n) array
        Finite weights, counted from the minimum.

    Returns
    -------
    (...) float64 array
        ``sum(a*start*(start-end))/sum(a*(start-end)**2)`` over the last axis, a the curvatures. NaN where start equals
        end.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Zhang et al. 2019, Proposition 1.

    Examples
    --------
    >>> from lookahead_nb.theory import optimal_slow_step
    >>> float(optimal_slow_step([2.0], [1.0], [-1.0]))
    0.5
    """
    a = real_numbers("curvatures", curvatures, 0, open_low=True)
    before, after = real_numbers("start", start, -np.inf), real_numbers("end", end, -np.inf)
    if not together(curvatures=a, start=before, end=after)[0].ndim:
        raise ValueError(f"curvatures must be (n,), one for each mode, got {a.shape} with start {before.shape}")
    with np.errstate(invalid="ignore"):
        return (a * before * (before - after)).sum(-1) / (a * np.square(before - after)).sum(-1)


@named_arguments
@default_errors
def averaged(slow: ArrayLike, fast: ArrayLike, slow_step_size: ArrayLike) -> np.ndarray:
    """Return the averaged sequence y = (1-s)*slow + s*fast.

    An inner step moves y by s times the step of fast; a sync does not move it. So Lookahead is the inner optimizer at
    lr*slow_step_size, run on y, with gradients taken at fast. At sync_period 1, fast and y coincide.

    Parameters
    ----------
    slow, fast : float or array
        They broadcast. NaN and infinity pass through.
    slow_step_size : float or array
        s, in [0, 1].

    Returns
    -------
    float64 array
        Of the broadcast shape. A NumPy float if all arguments are numbers.

    Raises
    ------
    TypeError, ValueError
        If slow_step_size is no number or out of range.

    Notes
    -----
    Source: Wang et al. 2020, whose virtual sequence this is.

    Examples
    --------
    >>> from lookahead_nb.theory import averaged
    >>> averaged([1.0, 1.0], [3.0, 0.0], 0.5).tolist()
    [2.0, 0.5]
    """
    s = real_numbers("slow_step_size", slow_step_size, 0, 1)
    slow, fast, s = together(slow=slow, fast=fast, slow_step_size=s)
    return (1 - s) * slow + s * fast


@named_arguments
@default_errors
def half_period(beta1: ArrayLike, x: ArrayLike) -> np.ndarray:
    """Return half the period of a mode under momentum, in steps: pi/w with ``cos w = (1+b - (1-b)x)/(2 sqrt(b))``.

    A sync damps an oscillation best that long after the last one.

    Parameters
    ----------
    beta1 : float or array
        b, in [0, 1): that of Adam or AdamW.
    x : float or array
        At least 0, learning rate times curvature. With a preconditioner D the curvature is an eigenvalue of
        D^(1/2) H D^(1/2), H the Hessian.

    Returns
    -------
    float64 array
        Of the broadcast shape, at least 1. A NumPy float if both arguments are numbers. inf where x is so small that
        the mode does not oscillate. 1 where x is so large that it changes its sign at every step.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    With the fast weight and m of :mod:`.quadratic` a step has the characteristic polynomial
    ``z^2 - (1+b - (1-b)x) z + b``. Its roots are ``sqrt(b) exp(+-iw)`` between both limits. Weight decay, a further
    factor 1 - lr*weight_decay of the weight, and Adam's bias correction are left out.

    Examples
    --------
    >>> from lookahead_nb.theory import half_period
    >>> half_period(0.9, [0.001, 1.0, 5.6, 40.0]).round(2).tolist()
    [inf, 9.75, 4.0, 1.0]
    """
    beta1, x = together(beta1=real_numbers("beta1", beta1, 0, 1, open_high=True), x=real_numbers("x", x, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (1 + beta1 - (1 - beta1) * x) / (
            2 * np.sqrt(beta1)
        )  # b = 0: inf, -inf, or NaN at x = 1, with the limit 0
        angle = np.arccos(np.clip(np.where(np.isnan(cosine), 0.0, cosine), -1, 1))
        return (np.pi / angle)[()]


def _positive(**numbers: ArrayLike) -> list[np.ndarray]:
    return [real_numbers(name, value, 0, open_low=name != "noise") for name, value in numbers.items()]


def _slow_and_q(
    lr: ArrayLike, curvature: ArrayLike, sync_period: int, slow_step_size: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    lr, curvature = _positive(lr=lr, curvature=curvature)
    k, s = whole_number("sync_period", sync_period, 1), real_numbers("slow_step_size", slow_step_size, 0, 1)
    together(lr=lr, curvature=curvature, slow_step_size=s)
    return s, (1 - lr * curvature) ** k
