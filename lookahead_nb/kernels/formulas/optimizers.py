"""The update rules of optimizers and syncs, each stated once, for plain Python, CPU loops and CUDA kernels.

Notes
-----
Every update rule is a function ``rule(p, g, s1, s2, c) -> (p, s1, s2)``:

- p, g are float32 or float64: the weight and its gradient, any finite value. inf and NaN follow IEEE arithmetic.
- s1, s2 have the same width: the two slots of inner state. A slot that a rule does not use passes through.
- c holds eight numbers of the same width, the scalars of the step. ``optimizers`` computes them in float64 and rounds
  them once, so that ``1 - beta**t`` loses nothing in float32.
- A rule checks nothing: ``optimizers`` checks ranges where a user enters them.

Every product that is followed by a sum is an explicit fma. The compiler has nothing left to contract, so CPU and CUDA
round at the same places. No literal enters the arithmetic: in Numba it would widen float32 to float64.

Examples
--------
>>> import numpy as np
>>> from lookahead_nb.kernels.formulas import sgd_momentum
>>> lr, l2, momentum = np.float64([0.5, 0.0, 0.9])
>>> p, velocity, _ = sgd_momentum(np.float64(1), np.float64(2), l2, l2, (lr, l2, momentum, l2, l2, l2, l2, l2))
>>> float(p), float(velocity)
(0.0, 2.0)
"""

import math

from lookahead_nb.kernels.compiler import fma, formula, like, select, sqrt


@formula
def sgd(p, g, s1, s2, c):
    """Take one step of gradient descent: ``p - lr*(g + l2*p)``.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 and s2 pass through.
    c : tuple of 8 floats
        lr, l2, then unused.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    Source: Robbins & Monro 1951; L2 in the gradient as in ``torch.optim.SGD``.
    """
    lr, l2, _, _, _, _, _, _ = c
    return fma(-lr, fma(l2, p, g), p), s1, s2


@formula
def sgd_momentum(p, g, s1, s2, c):
    """Take one step of heavy-ball momentum: ``s1 = momentum*s1 + g + l2*p``, ``p - lr*s1``.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 is the velocity and starts at 0, s2 passes through.
    c : tuple of 8 floats
        lr, l2, momentum, then unused.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    The velocity does not contain lr, so a falling lr acts at once (as in PyTorch and optax; Keras keeps lr inside the
    velocity). Source: Polyak 1964; Sutskever et al. 2013, without dampening.
    """
    lr, l2, momentum, _, _, _, _, _ = c
    s1 = fma(momentum, s1, fma(l2, p, g))
    return fma(-lr, s1, p), s1, s2


@formula
def sgd_nesterov(p, g, s1, s2, c):
    """Take one step of Nesterov momentum: ``s1 = momentum*s1 + d``, ``p - lr*(d + momentum*s1)``, d = g + l2*p.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 is the velocity and starts at 0, s2 passes through.
    c : tuple of 8 floats
        lr, l2, momentum, then unused.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    Source: Sutskever et al. 2013, in the form of ``torch.optim.SGD(nesterov=True)``.
    """
    lr, l2, momentum, _, _, _, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(momentum, s1, d)
    return fma(-lr, fma(momentum, s1, d), p), s1, s2


@formula
def adagrad(p, g, s1, s2, c):
    """Take one step of Adagrad: ``s1 = s1 + d**2``, ``p - lr*d/(sqrt(s1) + eps)``, d = g + l2*p.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 is the sum of squares and starts at 0 (as in PyTorch; optax starts it at 0.1), s2 passes
        through.
    c : tuple of 8 floats
        lr, l2, eps, then unused.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    d = 0 at s1 = 0 gives 0/eps = 0. Source: Duchi, Hazan & Singer 2011, eps outside the root as in PyTorch.
    """
    lr, l2, eps, _, _, _, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(d, d, s1)
    return p - lr * d / (sqrt(s1) + eps), s1, s2


@formula
def rmsprop(p, g, s1, s2, c):
    """Take one step of RMSprop: ``s1 = rho*s1 + (1-rho)*d**2``, ``p - lr*d/(sqrt(s1) + eps)``, d = g + l2*p.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 is the moving average of squares, s2 passes through.
    c : tuple of 8 floats
        lr, l2, eps, rho, 1-rho, then unused.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    eps is outside the root (as in PyTorch; optax and Keras put it inside). Source: Tieleman & Hinton 2012, lecture 6.5.
    """
    lr, l2, eps, rho, rest, _, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(rho, s1, rest * d * d)
    return p - lr * d / (sqrt(s1) + eps), s1, s2


@formula
def rmsprop_momentum(p, g, s1, s2, c):
    """Take one step of RMSprop with momentum: ``s2 = momentum*s2 + d/(sqrt(s1) + eps)``, ``p - lr*s2``.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 is that of :func:`rmsprop`, s2 is the velocity.
    c : tuple of 8 floats
        lr, l2, eps, rho, 1-rho, momentum, then unused.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    d and s1 are those of :func:`rmsprop`. The velocity does not contain lr (as in PyTorch).
    Source: ``torch.optim.RMSprop``.
    """
    lr, l2, eps, rho, rest, momentum, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(rho, s1, rest * d * d)
    s2 = fma(momentum, s2, d / (sqrt(s1) + eps))
    return fma(-lr, s2, p), s1, s2


@formula
def adam_update(g, m, v, c):
    """Return Adam's update and moments: ``step*m/(root*sqrt(v) + eps)``, m and v the moving averages of g and g**2.

    Parameters
    ----------
    g : float
        The gradient, float32 or float64.
    m, v : float
        The moments after the previous step, of the same width.
    c : tuple of 8 floats
        beta1, 1-beta1, beta2, 1-beta2, step = lr/(1-beta1**t), root = 1/sqrt(1-beta2**t), eps, decay (not used here).

    Returns
    -------
    tuple of 3 floats
        The update, m and v after the step.

    Notes
    -----
    v = inf (|g| above 1.8e19 in float32) makes the update 0 for ever; ``check_finite`` refuses such a g.
    Source: Kingma & Ba 2015, Algorithm 1; eps is added to the corrected root (their eps, not eps-hat).
    """
    beta1, rest1, beta2, rest2, step, root, eps, _ = c
    m = fma(beta1, m, rest1 * g)
    v = fma(beta2, v, rest2 * g * g)
    return step * m / fma(root, sqrt(v), eps), m, v


@formula
def adam(p, g, s1, s2, c):
    """Take one step of Adam with L2 in the gradient: ``p - update(g + decay*p)``.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 and s2 are the moments m and v, which start at 0.
    c : tuple of 8 floats
        As in :func:`adam_update`, with decay = weight_decay.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    Source: Kingma & Ba 2015; ``torch.optim.Adam``.
    """
    decay = c[7]
    update, s1, s2 = adam_update(fma(decay, p, g), s1, s2, c)
    return p - update, s1, s2


@formula
def adamw(p, g, s1, s2, c):
    """Take one step of AdamW: ``p - (lr*weight_decay*p + update(g))``.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module; s1 and s2 are the moments m and v, which start at 0.
    c : tuple of 8 floats
        As in :func:`adam_update`, with decay = lr*weight_decay (PyTorch's scale, not Loshchilov & Hutter's eta alone),
        or a lump of it.

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    Decay and update are added ahead of the subtraction from p. The form ``p*(1 - lr*wd)`` rounds ``1 - lr*wd`` and
    loses lr*wd = 1e-8 altogether in float32. Where the update is 0, the subtraction loses it too: small decays come in
    lumps, see :func:`decay_lump`. Source: Loshchilov & Hutter 2019, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.formulas import adamw
    >>> lr, beta1, beta2 = 0.1, 0.9, 0.999
    >>> first = (beta1, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1), (1 - beta2) ** -0.5, 1e-8, 0.0)
    >>> p, m, v = adamw(np.float64(1), np.float64(5), np.float64(0), np.float64(0), tuple(map(np.float64, first)))
    >>> round(float(p), 6)  # the first step of Adam has length lr
    0.9
    """
    decay = c[7]
    update, s1, s2 = adam_update(g, s1, s2, c)
    return p - fma(decay, p, update), s1, s2


@formula
def decay_lump(pending, decay, least):
    """Return the decay that a step applies and what stays pending: ``1 - (1-pending)*(1-decay)`` once it is ``least``.

    Rounding loses a small decay. Near 1, float32 has a number for every 2**-24, so a weight with gradient 0 would stay
    at 1.0 forever for a decay of 1e-8 a step. Small decays therefore wait, and are applied in lumps.

    Parameters
    ----------
    pending : float64
        The decay that earlier steps have not applied, in [0, least); below or above where a sync extrapolates.
    decay : float64
        The decay of the step as a fraction of the weight, at least 0.
    least : float64
        The smallest decay that is applied.

    Returns
    -------
    tuple of 2 float64
        The decay to apply, 0 or at least ``least``, and the decay that stays pending. One of them is 0.

    Notes
    -----
    A decay of at least ``least`` is applied at once, bit for bit, if nothing is pending. A weight with gradient 0 has
    decayed by ``prod(1 - decay)`` after each lump, as it would have without lumps.

    Examples
    --------
    >>> from lookahead_nb.kernels.formulas import decay_lump
    >>> decay_lump(0.0, 0.25, 0.5)
    (0.0, 0.25)
    >>> decay_lump(0.25, 0.5, 0.5)
    (0.625, 0.0)
    """
    none = like(pending, 0)
    pending = fma(decay, like(pending, 1) - pending, pending)
    is_due = pending >= least
    return select(is_due, pending, none), select(is_due, none, pending)


@formula
def schedule_free_adamw(p, g, s1, s2, c):
    """Take one step of Schedule-Free AdamW: ``z - lr*d``, ``x = (1-share)*x + share*z``, ``p = (1-beta1)*z + beta1*x``.

    Parameters
    ----------
    p, g, s1, s2 : float
        See the module. p is the point y of the paper, where gradients are taken. s1 is z, the iterate, and starts at
        the weights. s2 is v, the moving average of g**2.
    c : tuple of 8 floats
        beta2, 1-beta2, root = 1/sqrt(1-beta2**t), eps, decay = weight_decay, lr, share, toward = lr*(1 -
        beta1*(1-share)).

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    The direction is ``d = g/(root*sqrt(v) + eps) + decay*p``. The average x is not stored: without it the step of p is
    ``p + share*(z - p) - toward*d``.

    Source: Defazio et al. 2024, Algorithm 1, with the root of v corrected as in Adam. The authors' later code does so
    too; the paper puts sqrt(1-beta2**t) into lr, and so into the weights of the average.
    """
    beta2, rest2, root, eps, decay, lr, share, toward = c
    s2 = fma(beta2, s2, rest2 * g * g)
    d = fma(decay, p, g / fma(root, sqrt(s2), eps))
    return fma(-toward, d, fma(share, s1 - p, p)), fma(-lr, d, s1), s2


@formula
def schedule_free_average(p, s1, outward):
    """Return x, the average of Schedule-Free, from y and z: ``p + outward*(p - s1)``.

    This is ``y = (1-beta1)*z + beta1*x`` solved for x. Where y equals z, x is bit-for-bit the same.

    Parameters
    ----------
    p, s1 : float
        y and z, float32 or float64.
    outward : float
        (1-beta1)/beta1, of the same width, at least 0.

    Returns
    -------
    float
        x, of the same width.
    """
    return fma(outward, p - s1, p)


@formula
def clip_factor(norm, most):
    """Return the factor that shortens a gradient to a norm of at most ``most``: ``min(1, most/norm)``.

    Parameters
    ----------
    norm : float64
        The Euclidean norm of the gradient, at least 0.
    most : float64
        Above 0.

    Returns
    -------
    float64
        In [0, 1]; exactly 1 for a norm of at most ``most``, and for NaN. 0 for inf.

    Notes
    -----
    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.formulas import clip_factor
    >>> float(clip_factor(np.float64(4), np.float64(1)))
    0.25
    """
    return most / select(norm > most, norm, most)


@formula
def pull(slow, fast, step, rest):
    """Return the slow weight after a sync: ``rest*slow + step*fast``.

    Parameters
    ----------
    slow, fast : float
        The slow and the fast weight, float32 or float64, any value.
    step, rest : float
        slow_step_size in [0, 2] and 1 - slow_step_size, of the same width. A step above 1 extrapolates.

    Returns
    -------
    float
        The slow weight, of the same width.

    Notes
    -----
    At step 0 and 1 the result is selected, not computed: exactly slow or fast, whatever the other is (-0.0, inf and NaN
    included). The form ``slow + step*(fast - slow)`` would miss fast at step 1 in a third of all float32 pairs.
    Source: Zhang et al. 2019, Algorithm 1, line 8.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.formulas import pull
    >>> float(pull(np.float64(1), np.float64(3), np.float64(0.25), np.float64(0.75)))
    1.5
    """
    slow_part = fma(rest, slow, -like(slow, 0))  # the product, bit for bit, without NumPy's warning at 0*inf
    moved = select(step == like(step, 1), fast, fma(step, fast, slow_part))
    return select(step == like(step, 0), slow, moved)


@formula
def heavy_ball_pull(slow, velocity, fast, step, momentum):
    """Return slow weight and velocity after a sync with momentum: ``v = momentum*v + fast - slow``, ``slow + step*v``.

    Parameters
    ----------
    slow, velocity, fast : float
        The slow weight, its velocity, which starts at 0, and the fast weight, float32 or float64.
    step : float
        slow_step_size in [0, 2], of the same width.
    momentum : float
        outer_momentum in (0, 1), of the same width.

    Returns
    -------
    tuple of 2 floats
        The slow weight and its velocity.

    Notes
    -----
    At step 0 the slow weight is selected, as in :func:`pull`. The velocity does not contain the step, as in
    :func:`sgd_momentum`. Without momentum this is :func:`pull` except for rounding.
    Source: Douillard et al. 2023, "DiLoCo", arXiv:2311.08105, Algorithm 1, with one worker.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.kernels.formulas import heavy_ball_pull
    >>> slow, velocity = heavy_ball_pull(*map(np.float64, (3, -1, 1, 0.5, 0.5)))
    >>> float(slow), float(velocity)
    (1.75, -2.5)
    """
    velocity = fma(momentum, velocity, fast - slow)
    return select(step == like(step, 0), slow, fma(step, velocity, slow)), velocity


@formula
def nesterov_pull(slow, velocity, fast, step, momentum):
    """Return slow weight and velocity after a sync with Nesterov momentum: ``slow + step*(d + momentum*v)``.

    v is that of :func:`heavy_ball_pull`, d = fast - slow.

    Parameters
    ----------
    slow, velocity, fast, step, momentum : float
        As in :func:`heavy_ball_pull`.

    Returns
    -------
    tuple of 2 floats
        The slow weight and its velocity.

    Notes
    -----
    Source: Douillard et al. 2023, arXiv:2311.08105, whose outer optimizer it is; :func:`sgd_nesterov` on -d.
    """
    d = fast - slow
    velocity = fma(momentum, velocity, d)
    return select(step == like(step, 0), slow, fma(step, fma(momentum, velocity, d), slow)), velocity


@formula
def model_sums(before, fast, slow, g, v, root, eps, lr, along, curvature):
    """Return ``along + d*(a*(before-slow) - lr*g)`` and ``curvature + d*a*d``, the sums with one more weight.

    d is fast - slow and a is root*sqrt(v) + eps. The sums belong to a quadratic model of the loss around ``before``.
    There its gradient is g, and its diagonal curvature is a/lr, the metric of AdamW: AdamW's step on a gradient g alone
    is the Newton step ``-lr*g/a``.

    Parameters
    ----------
    before, fast, slow : float64
        The weight before the last inner step, after it, and at the last sync.
    g : float64
        The gradient at ``before``.
    v, root, eps, lr : float64
        As in :func:`adam_update`.
    along, curvature : float64
        The sums over the weights so far.

    Returns
    -------
    tuple of 2 float64
        Both sums with this weight.

    Notes
    -----
    Both sums are multiplied by lr, so that lr = 0 needs no special case. Source: Zhang et al. 2019, proposition 1, for
    a diagonal curvature.
    """
    d = fast - slow
    force = fma(root, sqrt(v), eps) * d
    return fma(force, before - slow, fma(-lr * d, g, along)), fma(force, d, curvature)


@formula
def lowest_point(along, curvature, lowest):
    """Return the slow step at which the model is lowest, ``along/curvature`` within [lowest, 1], and 1 minus it.

    Parameters
    ----------
    along, curvature : float64
        The sums of :func:`model_sums`.
    lowest : float64
        The smallest slow step, in (0, 1].

    Returns
    -------
    tuple of 2 float64
        The slow step and 1 minus it. The step is 1 if nothing has moved (curvature = 0).

    Notes
    -----
    The step is rounded to millionths. So both numbers are the floats nearest to short decimals, as is a step that a
    user writes down.
    """
    one, millions = like(along, 1), like(along, 1000000)
    step = along / curvature if curvature > like(along, 0) else one
    step = step if step < one else one
    step = step if step > lowest else lowest
    parts = math.floor(fma(step, millions, like(along, 0.5)))
    return parts / millions, (millions - parts) / millions


# The smallest decay that is applied to a weight, in units of eps: one rounding then changes it by 1 % at most.
LEAST_DECAY = 64
# What a sync does to the inner state.
# The last two are syncs with momentum, which keep it.
KEEP, RESET, INTERPOLATE, HEAVY_BALL, NESTEROV = 0, 1, 2, 3, 4
# A sync with momentum -> its formula.
MOMENTUM_PULLS = {HEAVY_BALL: heavy_ball_pull, NESTEROV: nesterov_pull}
# Name of a rule -> (formula, names of the slots it uses, in the order s1, s2).
RULES = {
    "sgd": (sgd, ()),
    "sgd_momentum": (sgd_momentum, ("velocity",)),
    "sgd_nesterov": (sgd_nesterov, ("velocity",)),
    "adagrad": (adagrad, ("square_sum",)),
    "rmsprop": (rmsprop, ("square_average",)),
    "rmsprop_momentum": (rmsprop_momentum, ("square_average", "velocity")),
    "adam": (adam, ("m", "v")),
    "adamw": (adamw, ("m", "v")),
    "schedule_free_adamw": (schedule_free_adamw, ("z", "v")),
}
STARTS_AT_WEIGHTS = {"z"}  # slots that start as a copy of the weights; all others start at 0
