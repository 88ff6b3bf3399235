"""Scalar pieces of a dense network: bias, activations and their slopes, cross-entropy."""

from lookahead_nb.kernels.compiler import fma, formula, like, select
from lookahead_nb.kernels.formulas.scalars import exp, log, sigmoid, softplus, tanh

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
        The weight of the row over the sum of weights, 1/rows where all are equal; of the same width.

    Returns
    -------
    float
        Of the same width.
    """
    return (probability - like(share, 1 if hit else 0)) * share


@formula
def half_squared_error(output, target):
    """Return the loss of an output under squared error, ``(output - target)**2 / 2``.

    Parameters
    ----------
    output, target : float
        float32 or float64.

    Returns
    -------
    float
        Of the same width, at least 0.
    """
    error = output - target
    return like(error, 0.5) * (error * error)


@formula
def row_share(weight, total):
    """Return what a row counts in a weighted mean.

    Parameters
    ----------
    weight, total : float64
        The weight of the row and the sum of all weights, above 0.

    Returns
    -------
    float64
    """
    return weight / total


@formula
def output_error(output, target, share):
    """Return the gradient of the weighted mean of :func:`half_squared_error` with respect to an output.

    Parameters
    ----------
    output, target : float
        float32 or float64.
    share : float
        The weight of the row over the sum of weights, of the same width.

    Returns
    -------
    float
        Of the same width.
    """
    return (output - target) * share
