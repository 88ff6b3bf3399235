"""Reinforcement learning: the motion of CartPole, advantages, and the clipped objective of PPO with its gradient."""

import math

import numpy as np

from lookahead_nb.kernels.compiler import fma, formula, like, select
from lookahead_nb.kernels.formulas.scalars import exp

_f64 = np.float64

# CartPole in SI units: Barto, Sutton & Anderson 1983, with the numbers of gymnasium's CartPole-v1.
_GRAVITY, _POLE, _BOTH, _HALF_LENGTH = _f64(9.8), _f64(0.1), _f64(1.0) + _f64(0.1), _f64(0.5)
_POLE_TIMES_LENGTH, _FOUR_THIRDS, _PUSH, _SECONDS = _POLE * _HALF_LENGTH, _f64(4 / 3), _f64(10.0), _f64(0.02)
FARTHEST, STEEPEST = _f64(2.4), _f64(12 * 2 * math.pi / 360)  # metres from the middle and radians from upright
_one, _half = _f64(1), _f64(0.5)


def _factorials(first):
    """Return the alternating coefficients 1/first!, -1/(first + 2)!, ... of a Taylor series, eight terms."""
    return tuple(_f64((-1) ** i / math.factorial(first + 2 * i)) for i in range(8))


_S3, _S5, _S7, _S9, _S11, _S13, _S15, _S17 = _factorials(3)
_C4, _C6, _C8, _C10, _C12, _C14, _C16, _C18 = _factorials(4)


@formula
def small_sin(x):
    """Return the sine of a small angle.

    Parameters
    ----------
    x : float64
        In [-1/2, 1/2], in radians.

    Returns
    -------
    float64
        Odd bit for bit; NaN stays NaN.

    Notes
    -----
    Method: the Taylor series up to x**17, whose rest is below 1e-23. Like all scalar functions here it calls no
    library, so every CPU gives the same bits. Accuracy: 0.6 ulp.
    """
    z = x * x
    series = fma(fma(fma(fma(fma(fma(fma(_S17, z, _S15), z, _S13), z, _S11), z, _S9), z, _S7), z, _S5), z, _S3)
    return fma(x * z, -series, x)


@formula
def small_cos(x):
    """Return the cosine of a small angle.

    Parameters
    ----------
    x : float64
        In [-1/2, 1/2], in radians.

    Returns
    -------
    float64
        NaN stays NaN.

    Notes
    -----
    Method: the Taylor series up to x**18, whose rest is below 1e-24. Accuracy: 0.8 ulp.
    """
    z = x * x
    series = fma(fma(fma(fma(fma(fma(fma(_C18, z, _C16), z, _C14), z, _C12), z, _C10), z, _C8), z, _C6), z, _C4)
    return fma(z, fma(z, series, -_half), _one)


@formula
def cartpole_step(x, x_dot, theta, theta_dot, action):
    """Return the state of cart and pole a fiftieth of a second later: one explicit Euler step of the equations.

    Parameters
    ----------
    x, x_dot : float64
        Position in m and speed in m/s of the cart.
    theta, theta_dot : float64
        Angle of the pole from upright in rad, within [-1/2, 1/2], and its speed in rad/s.
    action : int
        1 pushes the cart to the right with 10 N, 0 to the left.

    Returns
    -------
    tuple of 4 float64
        The state in the same order.

    Notes
    -----
    Source: Barto, Sutton & Anderson 1983, with the dynamics as corrected by Florian 2007 without friction, and the
    numbers of gymnasium's CartPole-v1: a cart of 1 kg, a pole of 0.1 kg and 1 m.
    """
    sin, cos = small_sin(theta), small_cos(theta)
    push = select(action == 1, _PUSH, -_PUSH)
    pushed = fma(_POLE_TIMES_LENGTH * (theta_dot * theta_dot), sin, push) / _BOTH
    inertia = _HALF_LENGTH * (_FOUR_THIRDS - _POLE * (cos * cos) / _BOTH)
    turning = fma(_GRAVITY, sin, -(cos * pushed)) / inertia
    speeding = pushed - _POLE_TIMES_LENGTH * turning * cos / _BOTH
    return (
        fma(_SECONDS, x_dot, x),
        fma(_SECONDS, speeding, x_dot),
        fma(_SECONDS, theta_dot, theta),
        fma(_SECONDS, turning, theta_dot),
    )


@formula
def has_fallen(x, theta):
    """Return whether an episode of CartPole has failed: the cart is too far out, or the pole too steep.

    Parameters
    ----------
    x, theta : float64
        The position of the cart in m and the angle of the pole in rad.

    Returns
    -------
    bool
        True beyond 2.4 m or 12 degrees, and for NaN.
    """
    return not (abs(x) <= FARTHEST and abs(theta) <= STEEPEST)


@formula
def advantage_before(reward, value, next_value, later, discount, trace):
    """Return the advantage of an action: ``d + discount*trace*later``, ``d = reward + discount*next_value - value``.

    Parameters
    ----------
    reward : float
        Of the action, float32 or float64.
    value, next_value : float
        The estimated return from the state ahead of the action, and from the state after it: 0 if the episode ended.
    later : float
        The advantage of the next action: 0 if the episode ended, or if no later action is known.
    discount, trace : float
        gamma and lambda, in [0, 1].

    Returns
    -------
    float
        Of the same width.

    Notes
    -----
    With trace 1 it is the discounted return minus the value; with trace 0 it is the error of the value after one step.
    Source: Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation", eq. 16.
    """
    error = fma(discount, next_value, reward) - value
    return fma(discount * trace, later, error)


@formula
def standardized(advantage, mean, deviation):
    """Return an advantage in standard deviations from the mean of its minibatch, ``(advantage-mean)/(deviation+1e-8)``.

    Parameters
    ----------
    advantage, mean, deviation : float
        float32 or float64.

    Returns
    -------
    float
        Of the same width.
    """
    return (advantage - mean) / (deviation + like(deviation, 1e-8))


@formula
def probability_ratio(log_probability, old):
    """Return the probability of an action over that under the policy that chose it, ``exp(log_probability - old)``.

    Parameters
    ----------
    log_probability, old : float
        Of the action under the present policy and under the one that chose it, float32 or float64.

    Returns
    -------
    float
        Of the same width.
    """
    return exp(log_probability - old)


@formula
def _held(ratio, clip):
    low, high = like(ratio, 1) - clip, like(ratio, 1) + clip
    return select(ratio < low, low, select(ratio > high, high, ratio))


@formula
def clipped_objective(ratio, advantage, clip):
    """Return what PPO maximizes for an action, ``min(ratio*advantage, held*advantage)``.

    Parameters
    ----------
    ratio : float
        Of the probabilities of the action, see :func:`probability_ratio`.
    advantage : float
        Of the same width, float32 or float64.
    clip : float
        held is the ratio within [1 - clip, 1 + clip].

    Returns
    -------
    float
        Of the same width.

    Notes
    -----
    Source: Schulman et al. 2017, "Proximal policy optimization algorithms", arXiv:1707.06347, eq. 7.
    """
    free, held = ratio * advantage, _held(ratio, clip) * advantage
    return select(held < free, held, free)


@formula
def clipped_slope(ratio, advantage, clip):
    """Return the derivative of :func:`clipped_objective` with respect to the log-probability of the action.

    Parameters
    ----------
    ratio, advantage, clip : float
        As in :func:`clipped_objective`.

    Returns
    -------
    float
        ``ratio*advantage``, or 0 where the held ratio gives the smaller objective.
    """
    free, held = ratio * advantage, _held(ratio, clip) * advantage
    return select(held < free, like(ratio, 0), free)


@formula
def entropy_with(probability, log_probability, entropy):
    """Return the entropy with one more action, ``entropy - probability*log_probability``.

    Parameters
    ----------
    probability, log_probability, entropy : float
        float32 or float64.

    Returns
    -------
    float
        Of the same width.
    """
    return fma(-probability, log_probability, entropy)


@formula
def policy_loss(objective, entropy, entropy_weight):
    """Return the loss of an action, ``-objective - entropy_weight*entropy``.

    Parameters
    ----------
    objective : float
        That of :func:`clipped_objective`, float32 or float64.
    entropy : float
        Of the policy.
    entropy_weight : float
        At least 0.

    Returns
    -------
    float
        Of the same width.
    """
    return fma(-entropy_weight, entropy, -objective)


@formula
def policy_error(probability, log_probability, taken, slope, entropy, entropy_weight, share):
    """Return the gradient of the mean :func:`policy_loss` with respect to the logit of an action.

    It is ``share*(slope*(probability - taken) + entropy_weight*probability*(log_probability + entropy))``.

    Parameters
    ----------
    probability, log_probability : float
        Of the action that the logit belongs to, float32 or float64.
    taken : bool
        Whether it is the action that was taken.
    slope : float
        That of :func:`clipped_slope`.
    entropy, entropy_weight : float
        As in :func:`policy_loss`.
    share : float
        1 over the number of rows.

    Returns
    -------
    float
        Of the same width.
    """
    away = probability - like(share, 1 if taken else 0)
    return share * fma(slope, away, entropy_weight * probability * (log_probability + entropy))
