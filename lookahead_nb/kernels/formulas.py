"""Every update rule and scalar function, each stated once, for plain Python, CPU loops and CUDA kernels.

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
>>> from lookahead_nb.formulas import sgd_momentum
>>> lr, l2, momentum = np.float64([0.5, 0.0, 0.9])
>>> p, velocity, _ = sgd_momentum(np.float64(1), np.float64(2), l2, l2, (lr, l2, momentum, l2, l2, l2, l2, l2))
>>> float(p), float(velocity)
(0.0, 2.0)
"""

import math

import numpy as np

from lookahead_nb.jit import by_width, fma, formula, like, named, select, sqrt

# ------------------------------------------------------------------------------------------------ update rules


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
        As in :func:`adam_update`, with decay = lr*weight_decay (PyTorch's scale, not Loshchilov & Hutter's eta alone).

    Returns
    -------
    tuple of 3 floats
        p, s1, s2 after the step.

    Notes
    -----
    Decay and update are added ahead of the subtraction from p. The form ``p*(1 - lr*wd)`` rounds ``1 - lr*wd`` and
    loses lr*wd = 1e-8 altogether in float32. Source: Loshchilov & Hutter 2019, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.formulas import adamw
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
def pull(slow, fast, step, rest):
    """Return the slow weight after a sync: ``rest*slow + step*fast``.

    Parameters
    ----------
    slow, fast : float
        The slow and the fast weight, float32 or float64, any value.
    step, rest : float
        slow_step_size in [0, 1] and 1 - slow_step_size, of the same width.

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
    >>> from lookahead_nb.formulas import pull
    >>> float(pull(np.float64(1), np.float64(3), np.float64(0.25), np.float64(0.75)))
    1.5
    """
    slow_part = fma(rest, slow, -like(slow, 0))  # the product, bit for bit, without NumPy's warning at 0*inf
    moved = select(step == like(step, 1), fast, fma(step, fast, slow_part))
    return select(step == like(step, 0), slow, moved)


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
    "schedule_free_adamw": (schedule_free_adamw, ("z", "v")),
}
STARTS_AT_WEIGHTS = {"z"}  # slots that start as a copy of the weights; all others start at 0

# ---------------------------------------------------------------------------------------------- scalar functions
# No library call: expf and tanhf differ from machine to machine, and a call stops a loop from vectorising. These
# functions use only + - * /, fma, selects and the bits of a number. So Python, any CPU with fma, and CUDA agree bit for
# bit, except in the payload of a NaN. Each function is written once; the widths differ in constants and polynomials.
# None branches.


def _polynomial(*coefficients):
    """Return Horner's rule for these coefficients, highest power first."""
    first, rest = coefficients[0], coefficients[1:]

    def horner(x):
        y = first
        for coefficient in rest:
            y = fma(y, x, coefficient)
        return y

    return formula(named(f"horner_{len(coefficients)}_{float(first).hex()}", horner))


def _scalar_functions(width, integer, exp_tail, log_tail, ln2_high, ln2_low, exp_range):
    """Return exp, log, tanh, sigmoid, softplus for one width.

    Parameters
    ----------
    width, integer : type
        The NumPy float type, and the signed integer type with as many bits.
    exp_tail : function
        (e**r - 1 - r)/r**2 for abs(r) <= ln(2)/2.
    log_tail : function
        (log((1+s)/(1-s))/s - 2)/s**2 as a function of s**2, for -1/7 <= s <= 1/5.
    ln2_high, ln2_low : float
        ln(2) in two pieces, the first so short that its product with any exponent is exact.
    exp_range : tuple of 2 floats
        An x where e**x rounds to 0, and the last x where it is finite.
    """
    digits = np.finfo(width).nmant
    zero, half, one, two = width(0), width(0.5), width(1), width(2)
    infinity, nan, smallest_normal = width(math.inf), width(math.nan), np.finfo(width).smallest_normal
    log2_e = width(1.4426950408889634)
    exp_lowest, exp_highest = exp_range
    tanh_is_one = width(20)

    # A number near 1.5 * 2**digits holds an integer in its last bits: adding it rounds, and its bits are that integer.
    to_integer = width(1.5 * 2**digits)
    to_exponents = width(1.5 * 2**digits + 2 * (np.finfo(width).maxexp - 1))  # with the bias of two exponents inside
    to_integer_bits, three_quarters_bits = to_integer.view(integer), width(0.75).view(integer)
    to_field, one_bit = integer(digits), integer(1)
    grow, grown = width(2.0 ** (digits + 1)), width(digits + 1)

    @formula
    def expm1_parts(x):
        """Return p, a, b with e**x = (1 + p)*a*b: p = e**r - 1, x = k*ln(2) + r, a and b normal numbers, a*b = 2**k."""
        shifted = fma(x, log2_e, to_exponents)
        k = shifted - to_exponents
        high = fma(k, -ln2_high, x)  # exact
        r = fma(k, -ln2_low, high)
        r_low = fma(k, -ln2_low, high - r)
        p = r + fma(r * r, exp_tail(r), r_low)
        exponents = width(shifted).view(integer)  # of a and b together; the shift drops the bits above them
        first = integer(exponents >> one_bit)
        second = integer(exponents - first)
        return p, integer(first << to_field).view(width), integer(second << to_field).view(width)

    @formula
    def exp(x):
        """Return e**x.

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width; inf where e**x overflows, exp(-inf) = 0, NaN stays NaN.

        Notes
        -----
        Method: x = k*ln(2) + r, a minimax polynomial for e**r, and 2**k in two factors. So results below the smallest
        normal number are rounded, not flushed. Accuracy: 0.9 ulp; the largest error of every float32 is 0.894, of 10**7
        float64 0.877.

        Examples
        --------
        >>> import numpy as np
        >>> from lookahead_nb.formulas import exp
        >>> float(exp(np.float64(1)))
        2.718281828459045
        """
        y = exp_lowest if x < exp_lowest else x
        y = exp_highest if y > exp_highest else y
        p, a, b = expm1_parts(y)
        y = fma(fma(p, a, a), b, zero)  # a bare product may be fused with a sum in the caller
        return infinity if x > exp_highest else y

    @formula
    def log_parts(f, k):
        """Return log((1 + f)*2**k), -1/4 <= f <= 1/2: k*ln(2) + f - f**2/2 + s*(f**2/2 + s**2*tail), s = f/(2 + f)."""
        s = f / (two + f)
        z = s * s
        h = half * f
        low = fma(s, fma(z, log_tail(z), h * f), k * ln2_low)
        return fma(k, ln2_high, f - fma(h, f, -low))

    @formula
    def log(x):
        """Return the natural logarithm of x.

        Parameters
        ----------
        x : float
            float32 or float64, any number, subnormal ones too.

        Returns
        -------
        float
            Of the same width; log(0) = log(-0.0) = -inf, NaN for x < 0, log(inf) = inf, NaN stays NaN.

        Notes
        -----
        Method: x = (1 + f)*2**k with 3/4 <= 1 + f < 3/2, and a minimax polynomial in s**2, s = f/(2 + f).
        Accuracy: 0.9 ulp; the largest error of every float32 is 0.829, of 10**7 float64 0.881.
        """
        y = x if x > zero else one
        small = y < smallest_normal
        y = y * grow if small else y
        bits = width(y).view(integer)
        k_bits = integer(integer(bits - three_quarters_bits) >> to_field)
        f = integer(bits - integer(k_bits << to_field)).view(width) - one
        k = integer(to_integer_bits + k_bits).view(width) - to_integer
        y = log_parts(f, k - grown if small else k)
        y = infinity if x == infinity else y
        y = -infinity if x == zero else y
        return y if x >= zero else nan

    @formula
    def quotient(a, b, b_low):
        """Return a/(b + b_low) for 1 <= b, b_low below its last digit: one step of Newton on a * (1/b)."""
        inverse = one / b
        y = a * inverse
        return fma(fma(-y, b_low, fma(-y, b, a)), inverse, y)

    @formula
    def tanh(x):
        """Return the hyperbolic tangent of x.

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width. tanh(-x) is -tanh(x) bit for bit, tanh(-0.0) = -0.0, tanh(x) = x for tiny x, tanh(+-inf)
            = +-1, and NaN stays NaN.

        Notes
        -----
        Method: sign(x) * m/(m + 2), m = e**(2*abs(x)) - 1 without cancellation.
        Accuracy: 1.75 ulp; the largest error of every float32 is 1.652, of 10**7 float64 1.686.
        """
        y = abs(x)
        y = tanh_is_one if y > tanh_is_one else y
        p, a, b = expm1_parts(fma(one, y, y))  # a plain sum would warn about a signalling NaN in Python
        m = fma(p, a * b, fma(a, b, -one))
        d = m + two
        return width(math.copysign(quotient(m, d, m - (d - two)), x))

    @formula
    def sigmoid(x):
        """Return 1/(1 + e**-x).

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width, in [0, 1]; sigmoid(-inf) = 0, sigmoid(inf) = 1, NaN stays NaN.

        Notes
        -----
        Method: with e = e**-abs(x) it is 1/(1 + e) for x >= 0 and e/(1 + e) below, so nothing overflows or cancels.
        Accuracy: 1.5 ulp; the largest error of every float32 is 1.480, of 10**7 float64 1.476.
        """
        e = exp(-abs(x))
        d = one + e
        return quotient(e if x < zero else one, d, e - (d - one))

    @formula
    def softplus(x):
        """Return log(1 + e**x), the loss of one logit: ``softplus(x) - y*x``.

        Parameters
        ----------
        x : float
            float32 or float64, any number.

        Returns
        -------
        float
            Of the same width; softplus(-inf) = 0, softplus(inf) = inf, NaN stays NaN. For very negative x it is e**x,
            down to the subnormal numbers.

        Notes
        -----
        Method: max(x, 0) + log(1 + e), e = e**-abs(x). The sum 1 + e is never rounded: it is written as 1 + f with f =
        e, or as 2*(1 + f) from e = 1/2 on. Accuracy: 1.6 ulp; the largest error of every float32 is 1.593, of 10**7
        float64 1.576.
        """
        e = exp(-abs(x))
        large = e >= half
        f = select(large, fma(half, e, -half), e)
        return (x if x > zero else zero) + log_parts(f, select(large, one, zero))

    return exp, log, tanh, sigmoid, softplus


_f32, _f64 = np.float32, np.float64

exp32, log32, tanh32, sigmoid32, softplus32 = _scalar_functions(
    np.float32,
    np.int32,
    # Minimax fit on [-ln(2)/2, ln(2)/2]: 1/2 is exact; each other one was rounded and the rest were fitted again.
    _polynomial(_f32(0.0013898948), _f32(0.00836613), _f32(0.041666847), _f32(0.16666548), _f32(0.5)),
    # Minimax fit on [0, 1/25], rounded in the same way.
    _polynomial(_f32(0.30364102), _f32(0.3995767), _f32(0.6666695)),
    ln2_high=_f32(0.69314575),
    ln2_low=_f32(1.4286068e-06),
    exp_range=(_f32(-104.0), _f32(88.72283)),
)
exp64, log64, tanh64, sigmoid64, softplus64 = _scalar_functions(
    np.float64,
    np.int64,
    _polynomial(
        _f64(2.504603800819652e-08),
        _f64(2.7622345765282726e-07),
        _f64(2.755742493679939e-06),
        _f64(2.4801516084180262e-05),
        _f64(0.000198412697092777),
        _f64(0.0013888888920689526),
        _f64(0.008333333333388445),
        _f64(0.04166666666661961),
        _f64(0.16666666666666602),
        _f64(0.5),
    ),
    _polynomial(
        _f64(0.15372863515462357),
        _f64(0.15249596061246548),
        _f64(0.18186385208356579),
        _f64(0.22222137803512956),
        _f64(0.28571429403644916),
        _f64(0.3999999999611635),
        _f64(0.6666666666667279),
    ),
    ln2_high=_f64(0.693147180559663),
    ln2_low=_f64(2.8235290563031577e-13),
    exp_range=(_f64(-745.2), _f64(709.782712893384)),
)

exp, log, tanh = by_width(exp32, exp64), by_width(log32, log64), by_width(tanh32, tanh64)
sigmoid, softplus = by_width(sigmoid32, sigmoid64), by_width(softplus32, softplus64)

# The activations between two dense layers.
RELU, TANH, SIGMOID = 0, 1, 2


@formula
def relu(x):
    """Return max(x, 0); NaN stays NaN, so that a diverged run shows.

    Parameters
    ----------
    x : float
        float32 or float64.

    Returns
    -------
    float
        Of the same width, at least 0.
    """
    return select(x < like(x, 0), like(x, 0), x)


@formula
def relu_slope(a):
    """Return the derivative of :func:`relu` from its value a.

    Parameters
    ----------
    a : float
        float32 or float64, at least 0.

    Returns
    -------
    float
        1 above 0, else 0 (also at exactly 0, as in PyTorch).
    """
    return like(a, 1) if a > like(a, 0) else like(a, 0)


@formula
def tanh_slope(a):
    """Return the derivative of tanh from its value a: 1 - a**2.

    Parameters
    ----------
    a : float
        float32 or float64 in [-1, 1].

    Returns
    -------
    float
        Of the same width, in [0, 1].
    """
    return fma(-a, a, like(a, 1))


@formula
def sigmoid_slope(a):
    """Return the derivative of the sigmoid from its value a: a*(1 - a).

    Parameters
    ----------
    a : float
        float32 or float64 in [0, 1].

    Returns
    -------
    float
        Of the same width, in [0, 1/4].
    """
    return a * (like(a, 1) - a)


# ------------------------------------------------------------------------------------------------- a dense network


@formula
def biased(product, bias):
    """Return the pre-activation of a unit: its product plus its bias.

    Parameters
    ----------
    product, bias : float
        float32 or float64.

    Returns
    -------
    float
        Of the same width.
    """
    return product + bias


@formula
def activated(z, activation):
    """Return the activation of a hidden unit.

    Parameters
    ----------
    z : float
        The pre-activation, float32 or float64.
    activation : int
        RELU, TANH or SIGMOID.

    Returns
    -------
    float
        Of the same width.
    """
    if activation == RELU:
        return relu(z)
    return tanh(z) if activation == TANH else sigmoid(z)


@formula
def back(error, slope):
    """Return the error ahead of an activation from the error after it and the activation's slope (chain rule).

    Parameters
    ----------
    error, slope : float
        float32 or float64.

    Returns
    -------
    float
        Of the same width.
    """
    return error * slope


@formula
def back_through(error, a, activation):
    """Return the error ahead of an activation from the error after it and the activation's value.

    Parameters
    ----------
    error, a : float
        The error and the value, float32 or float64.
    activation : int
        RELU, TANH or SIGMOID.

    Returns
    -------
    float
        Of the same width.
    """
    if activation == RELU:
        return back(error, relu_slope(a))
    return back(error, tanh_slope(a)) if activation == TANH else back(error, sigmoid_slope(a))


@formula
def softmax_term(logit, peak):
    """Return ``exp(logit - peak)``.

    Parameters
    ----------
    logit, peak : float
        float32 or float64; peak is the largest logit of the row, so that nothing overflows.

    Returns
    -------
    float
        Of the same width, in [0, 1].
    """
    return exp(logit - peak)


@formula
def softmax_share(term, total):
    """Return the probability of a class, ``term/total``.

    Parameters
    ----------
    term, total : float
        float32 or float64, the :func:`softmax_term` of the class and the sum over all classes.

    Returns
    -------
    float
        Of the same width, in [0, 1].
    """
    return term / total


@formula
def softmax_loss(logit, peak, total):
    """Return the cross-entropy of a row, ``log(total) + (peak - logit)``.

    Parameters
    ----------
    logit, peak, total : float
        float32 or float64: the logit of the label, the largest logit, and the sum of :func:`softmax_term` over all
        classes.

    Returns
    -------
    float
        Of the same width.
    """
    return log(total) + (peak - logit)


@formula
def logistic_loss(logit, label):
    """Return the cross-entropy of a row with one logit.

    Parameters
    ----------
    logit : float
        float32 or float64.
    label : int
        0 or 1.

    Returns
    -------
    float
        Of the same width.
    """
    return softplus(-logit if label == 1 else logit)


@formula
def logit_error(probability, hit, share):
    """Return the gradient of the mean cross-entropy with respect to a logit.

    Parameters
    ----------
    probability : float
        float32 or float64 in [0, 1].
    hit : bool
        Whether the logit is that of the label.
    share : float
        1/rows, of the same width.

    Returns
    -------
    float
        Of the same width.
    """
    return (probability - like(share, 1 if hit else 0)) * share


# --------------------------------------------------------------------------------------------------- the normal law

# Numerators and denominators of two rational functions, highest power first.
_middle_over, _middle_under = (
    _polynomial(
        _f64(2509.0809287301226727),
        _f64(33430.575583588128105),
        _f64(67265.770927008700853),
        _f64(45921.953931549871457),
        _f64(13731.693765509461125),
        _f64(1971.5909503065514427),
        _f64(133.14166789178437745),
        _f64(3.387132872796366608),
    ),
    _polynomial(
        _f64(5226.495278852854561),
        _f64(28729.085735721942674),
        _f64(39307.89580009271061),
        _f64(21213.794301586595867),
        _f64(5394.1960214247511077),
        _f64(687.1870074920579083),
        _f64(42.313330701600911252),
        _f64(1.0),
    ),
)
_sides_over, _sides_under = (
    _polynomial(
        _f64(7.7454501427834140764e-4),
        _f64(0.0227238449892691845833),
        _f64(0.24178072517745061177),
        _f64(1.27045825245236838258),
        _f64(3.64784832476320460504),
        _f64(5.7694972214606914055),
        _f64(4.6303378461565452959),
        _f64(1.42343711074968357734),
    ),
    _polynomial(
        _f64(1.05075007164441684324e-9),
        _f64(5.475938084995344946e-4),
        _f64(0.0151986665636164571966),
        _f64(0.14810397642748007459),
        _f64(0.68976733498510000455),
        _f64(1.6763848301838038494),
        _f64(2.05319162663775882187),
        _f64(1.0),
    ),
)
_middle_edge, _middle_square = _f64(0.425), _f64(0.180625)
_sides_from, _sides_end, _somewhere = _f64(1.6), _f64(math.exp(-25)), _f64(0.01)
_half, _one, _zero, _not_a_number = _f64(0.5), _f64(1), _f64(0), _f64(math.nan)


@formula
def normal_quantile(u):
    """Return the x below which a standard normal number falls with probability u.

    Parameters
    ----------
    u : float64
        e**-25 <= u <= 1 - e**-25, which covers every random word of 32 bits.

    Returns
    -------
    float64
        NaN for any other u.

    Notes
    -----
    Method: a rational function of (u - 1/2)**2 in the middle, and of sqrt(-log(min(u, 1-u))) at the sides. Accuracy:
    1e-15 relative. Source: Wichura 1988, algorithm AS 241, PPND16, without its third function for the ends.
    """
    q = u - _half
    near = fma(-q, q, _middle_square)
    near = near if near > _zero else _zero  # where it is not selected, it must stay harmless
    tail = u if q < _zero else _one - u
    r = sqrt(-log64(tail if tail >= _sides_end else _somewhere)) - _sides_from
    # Weights of 0 and 1 instead of branches, into which the compiler would move the polynomials.
    middle = _one if abs(q) <= _middle_edge else _zero
    side = _one - middle
    signed = -side if q < _zero else side
    over = fma(q if abs(q) <= _middle_edge else _zero, _middle_over(near), signed * _sides_over(r))
    under = fma(middle, _middle_under(near), side * _sides_under(r))
    defined = _one if tail >= _sides_end else _not_a_number
    return defined * (over / under)


# ------------------------------------------------------------------------------------------------------- surfaces
# surface(x, y, a, b) -> (height, slope_x, slope_y), all of one width, for a point or a part of one. A surface of one
# coordinate ignores y and returns slope_x twice. The height at a point is the sum over its parts.


@formula
def quadratic(x, y, a, b):
    """Return the bowl ``a*(x - b)**2/2`` and its slope ``a*(x - b)``, twice.

    Parameters
    ----------
    x, y : float
        The coordinate; y is not read.
    a, b : float
        Curvature and place of the minimum.

    Returns
    -------
    tuple of 3 floats
        The height and its slope by x, twice.
    """
    away = x - b
    slope = a * away
    return like(x, 0.5) * (slope * away), slope, slope


@formula
def drifted(b, drift, step):
    """Return the second coefficient of a part at a step, ``b + drift*step``.

    Parameters
    ----------
    b, drift, step : float64
        The coefficient at step 0, its change in a step, and the number of the step.

    Returns
    -------
    float64
        The coefficient.
    """
    return fma(drift, step, b)


@formula
def noisy(slope, noise, normal):
    """Return a slope with noise, ``slope + noise*normal``.

    Parameters
    ----------
    slope : float
        float32 or float64.
    noise : float
        Standard deviation of the noise, of the same width, at least 0.
    normal : float
        A standard normal number of the same width.

    Returns
    -------
    float
        Of the same width.
    """
    return fma(noise, normal, slope)


@formula
def double_well(x, y, a, b):
    """Return ``a*(x**2 - 1)**2 + b*x`` and its slope ``4*a*x*(x**2 - 1) + b``, twice.

    Parameters
    ----------
    x, y : float
        The coordinate; y is not read.
    a, b : float
        Barrier and tilt.

    Returns
    -------
    tuple of 3 floats
        The height and its slope by x, twice.
    """
    w = fma(x, x, -like(x, 1))
    slope = fma(like(x, 4) * (a * x), w, b)
    return fma(a * w, w, b * x), slope, slope


@formula
def bilinear(x, y, a, b):
    """Return ``(x**2 + y**2)/2`` and, of the game min_x max_y ``a*x*y``, the field ``(a*y, -a*x)``.

    The field is no gradient: the height is the squared distance from the equilibrium, which simultaneous descent and
    ascent never lowers.

    Parameters
    ----------
    x, y : float
        The coordinates.
    a, b : float
        Strength; b is not read.

    Returns
    -------
    tuple of 3 floats
        The height and the two components of the field.

    Notes
    -----
    Source: Mescheder, Nowozin & Geiger 2017; Chavdarova et al. 2021.
    """
    return like(x, 0.5) * fma(x, x, y * y), a * y, -(a * x)


@formula
def rosenbrock(x, y, a, b):
    """Return ``(1 - x)**2 + a*(y - x**2)**2`` and its slopes.

    Parameters
    ----------
    x, y : float
        The coordinates.
    a, b : float
        Bend; b is not read.

    Returns
    -------
    tuple of 3 floats
        The height and its slopes by x and y.

    Notes
    -----
    Source: Rosenbrock 1960.
    """
    u, w = like(x, 1) - x, fma(-x, x, y)
    rise = like(x, 2) * (a * w)
    return fma(a * w, w, u * u), like(x, -2) * fma(x, rise, u), rise


# Name of a surface -> (formula, coordinates of a part).
SURFACES = {"quadratic": (quadratic, 1), "double_well": (double_well, 1), "bilinear": (bilinear, 2)}
SURFACES |= {"rosenbrock": (rosenbrock, 2)}
