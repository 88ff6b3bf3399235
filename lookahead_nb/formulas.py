"""Every update rule and scalar function, each stated once, for plain Python, CPU loops and CUDA kernels.

Conventions of the update rules
    p, g    : float32 or float64, the weight and its gradient, any finite value; inf and NaN go through as IEEE says.
    s1, s2  : same width, the two slots of inner state; a slot that a rule does not use passes through.
    c       : tuple of eight numbers of the same width, the scalars of the step. They are made in float64 by
              ``optimizers`` and rounded once, so that ``1 - beta**t`` loses nothing in float32.
    returns : (p, s1, s2) after the step.
    errors  : none; ranges are checked where a user enters them, in ``optimizers``.

Every product that is followed by a sum is an explicit fma: the compiler has nothing left to contract, so CPU and CUDA
round at the same places. No literal is mixed into the arithmetic: in Numba it would widen float32 to float64.
"""

import numpy as np

from lookahead_nb.jit import by_width, fma, formula, sqrt

# ------------------------------------------------------------------------------------------------ update rules


@formula
def sgd(p, g, s1, s2, c):
    """Take one step of gradient descent: ``p - lr*(g + l2*p)``.

    c : lr, l2. Source: Robbins & Monro 1951; L2 in the gradient as in ``torch.optim.SGD``.
    """
    lr, l2, _, _, _, _, _, _ = c
    return fma(-lr, fma(l2, p, g), p), s1, s2


@formula
def sgd_momentum(p, g, s1, s2, c):
    """Take one step of heavy-ball momentum: ``s1 = momentum*s1 + g + l2*p``, ``p - lr*s1``.

    c : lr, l2, momentum. The velocity s1 starts at 0 and does not contain lr, so a falling lr acts at once
    (PyTorch, optax; Keras keeps lr inside the velocity). Source: Polyak 1964; Sutskever et al. 2013, without dampening.
    """
    lr, l2, momentum, _, _, _, _, _ = c
    s1 = fma(momentum, s1, fma(l2, p, g))
    return fma(-lr, s1, p), s1, s2


@formula
def sgd_nesterov(p, g, s1, s2, c):
    """Take one step of Nesterov momentum: ``s1 = momentum*s1 + d``, ``p - lr*(d + momentum*s1)``, d = g + l2*p.

    c : lr, l2, momentum. Source: Sutskever et al. 2013, in the form of ``torch.optim.SGD(nesterov=True)``.
    """
    lr, l2, momentum, _, _, _, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(momentum, s1, d)
    return fma(-lr, fma(momentum, s1, d), p), s1, s2


@formula
def adagrad(p, g, s1, s2, c):
    """Take one step of Adagrad: ``s1 = s1 + d**2``, ``p - lr*d/(sqrt(s1) + eps)``, d = g + l2*p.

    c : lr, l2, eps. s1 starts at 0 (PyTorch; optax starts at 0.1). d = 0 at s1 = 0 gives 0/eps = 0.
    Source: Duchi, Hazan & Singer 2011, eps outside the root as in PyTorch.
    """
    lr, l2, eps, _, _, _, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(d, d, s1)
    return p - lr * d / (sqrt(s1) + eps), s1, s2


@formula
def rmsprop(p, g, s1, s2, c):
    """Take one step of RMSprop: ``s1 = rho*s1 + (1-rho)*d**2``, ``p - lr*d/(sqrt(s1) + eps)``, d = g + l2*p.

    c : lr, l2, eps, rho, 1-rho. eps stands outside the root (PyTorch; optax and Keras put it inside).
    Source: Tieleman & Hinton 2012, lecture 6.5.
    """
    lr, l2, eps, rho, rest, _, _, _ = c
    d = fma(l2, p, g)
    s1 = fma(rho, s1, rest * d * d)
    return p - lr * d / (sqrt(s1) + eps), s1, s2


@formula
def rmsprop_momentum(p, g, s1, s2, c):
    """Take one step of RMSprop with momentum: ``s2 = momentum*s2 + d/(sqrt(s1) + eps)``, ``p - lr*s2``.

    c : lr, l2, eps, rho, 1-rho, momentum; s1 as in :func:`rmsprop`. lr stays outside the velocity (PyTorch).
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

    c : beta1, 1-beta1, beta2, 1-beta2, step = lr/(1-beta1**t), root = 1/sqrt(1-beta2**t), eps, decay (not used here).
    Singular: v = inf (|g| above 1.8e19 in float32) gives the update 0 for ever; ``check_finite`` refuses such a gradient.
    Source: Kingma & Ba 2015, Algorithm 1; eps is added to the corrected root (their eps, not eps-hat).
    """
    beta1, rest1, beta2, rest2, step, root, eps, _ = c
    m = fma(beta1, m, rest1 * g)
    v = fma(beta2, v, rest2 * g * g)
    return step * m / fma(root, sqrt(v), eps), m, v


@formula
def adam(p, g, s1, s2, c):
    """Take one step of Adam with L2 in the gradient: ``p - update(g + decay*p)``.

    c : as in :func:`adam_update`, with decay = weight_decay. Source: Kingma & Ba 2015; ``torch.optim.Adam``.
    """
    decay = c[7]
    update, s1, s2 = adam_update(fma(decay, p, g), s1, s2, c)
    return p - update, s1, s2


@formula
def adamw(p, g, s1, s2, c):
    """Take one step of AdamW: ``p - (lr*weight_decay*p + update(g))``.

    c : as in :func:`adam_update`, with decay = lr*weight_decay (PyTorch's scale, not Loshchilov & Hutter's eta alone).
    Decay and update are added before they touch p: the form ``p*(1 - lr*wd)`` rounds ``1 - lr*wd`` and loses
    lr*wd = 1e-8 altogether in float32. Source: Loshchilov & Hutter 2019, Algorithm 2.
    """
    decay = c[7]
    update, s1, s2 = adam_update(g, s1, s2, c)
    return p - fma(decay, p, update), s1, s2


@formula
def pull(slow, fast, step, rest):
    """Return the slow weight after a sync: ``rest*slow + step*fast``, rest = 1 - step.

    step, rest : same width as the weights, in [0, 1]. At step 0 and 1 the result is selected, not computed: exactly slow
    or fast, whatever the other is (-0.0, inf and NaN included). The form ``slow + step*(fast - slow)`` would miss fast at
    step 1 in a third of all float32 pairs. Source: Zhang et al. 2019, Algorithm 1, line 8.
    """
    if step == 0:
        return slow
    if step == 1:
        return fast
    return fma(step, fast, rest * slow)


# What a sync does to the inner state.
KEEP, RESET, INTERPOLATE = 0, 1, 2

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
}

# ---------------------------------------------------------------------------------------------- scalar functions
