"""Test functions: height and slopes at a point, drift and noise."""

from lookahead_nb.kernels.compiler import fma, formula, like


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
