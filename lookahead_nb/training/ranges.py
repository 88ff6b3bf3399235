"""Ranges of settings: evenly spaced values for a grid, and the points of a random or quasi-random search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from lookahead_nb.checks import one_of, real_number, whole, whole_number
from lookahead_nb.kernels.philox import DRAWS, uniforms
from lookahead_nb.settings_file import known_keys

SCALES = ("log", "linear")
BY_FACTORS = ("lr", "weight_decay", "eps", "sync_period", "window")  # settings whose ranges are logarithmic by default
METHODS = ("halton", "sobol", "random")
MOST_VALUES = 100_000  # of a range, and points of a sample
DIGITS = 30  # of the computation, so that the nearest float64 is found


@dataclass(frozen=True)
class Interval:
    """A range of a setting; :func:`range_of` makes one from a table.

    Parameters
    ----------
    low, high : float
        Both ends, low below high; on the scale "log" above 0.
    scale : str
        "log" for equal ratios between neighbours, or "linear" for equal differences.
    whole : bool
        True rounds all values to whole numbers.

    Examples
    --------
    >>> from lookahead_nb.training.ranges import Interval
    >>> Interval(0.001, 1.0).spaced(4)
    [0.001, 0.01, 0.1, 1.0]
    >>> Interval(1, 8, whole=True).spaced(10)
    [1, 2, 3, 4, 5, 6, 8]
    """

    low: float
    high: float
    scale: str = "log"
    whole: bool = False

    def at(self, shares: Iterable[float | Decimal]) -> list[Any]:
        """Return the values at shares of the way from low to high.

        Parameters
        ----------
        shares : iterable of float
            In [0, 1].

        Returns
        -------
        list of float or int

        Notes
        -----
        Values are computed in decimal numbers and rounded once to float64, so they are the same on every CPU. NumPy's
        powers are not.
        """
        with localcontext(prec=DIGITS):
            low, high = (Decimal(repr(end)) for end in (self.low, self.high))
            if self.scale == "log":
                start, way = low.ln(), high.ln() - low.ln()
                places = [(start + Decimal(share) * way).exp() for share in shares]
            else:
                places = [low + Decimal(share) * (high - low) for share in shares]
            values = [int(place.to_integral_value()) if self.whole else float(place) for place in places]
        return [min(max(value, self.low), self.high) for value in values]

    def spaced(self, number: int) -> list[Any]:
        """Return evenly spaced values from low to high; of whole numbers each one once.

        Parameters
        ----------
        number : int
            At least 2.

        Returns
        -------
        list of float or int
            At most number of them, rising.
        """
        with localcontext(prec=DIGITS):
            inside = [Decimal(i) / (number - 1) for i in range(1, number - 1)]
        return list(dict.fromkeys([self.low, *self.at(inside), self.high]))  # the ends as they are given


@dataclass(frozen=True)
class Choice:
    """A setting that takes each of several values with equal probability.

    Parameters
    ----------
    values : tuple
        The values.
    """

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """Return the value at a share of the way through them.

        Parameters
        ----------
        share : float
            In [0, 1).

        Returns
        -------
        object
            One of the values.
        """
        return self.values[int(share * len(self.values))]


def range_of(
    table: Mapping[str, Any], *, scale: str = "log", whole: bool = False, more: Iterable[str] = ()
) -> Interval:
    """Return the range that a table describes.

    Parameters
    ----------
    table : mapping
        ``low`` and ``high``.
    scale : str
        One of ``SCALES``.
    whole : bool
        Whether the setting is a whole number.
    more : list of str
        Further keys that the table may have.

    Returns
    -------
    Interval

    Raises
    ------
    TypeError, ValueError
        If a key is unknown, or an end is missing or out of range.

    Examples
    --------
    >>> from lookahead_nb.training.ranges import range_of
    >>> range_of({"low": 1e-4, "high": 0.1})
    Interval(low=0.0001, high=0.1, scale='log', whole=False)
    """
    known_keys("", map(str, table), ("low", "high", *more))
    by_factors = one_of("scale", scale, SCALES) == "log"
    low, high = table.get("low"), table.get("high")
    if whole:
        first = whole_number("low", low, 1 if by_factors else 0)
        return Interval(first, whole_number("high", high, first + 1), scale, whole)
    start = real_number("low", low, 0 if by_factors else -math.inf, open_low=by_factors)
    return Interval(start, real_number("high", high, start, open_low=True), scale)


def axis_range(name: str, table: Any, *, whole: bool, more: Iterable[str] = ()) -> Interval:
    """Return the range of a setting, on the scale of its table or on that of such settings.

    Parameters
    ----------
    name : str
        The setting.
    table : mapping
        ``low``, ``high`` and perhaps ``scale``.
    whole, more
        As in :func:`range_of`.

    Returns
    -------
    Interval
        Without a scale in the table, logarithmic for the settings ``BY_FACTORS`` and linear for all others.

    Raises
    ------
    TypeError, ValueError
        As :func:`range_of`.
    """
    scale = table.get("scale", "log" if name in BY_FACTORS else "linear")
    return range_of(table, scale=scale, whole=whole, more=("scale", *more))


def points(method: str, number: int, dimensions: int, seed: int) -> np.ndarray:
    """Return random or quasi-random points of the unit cube; fewer points are the first of more.

    Parameters
    ----------
    method : str
        One of ``METHODS``: the scrambled sequences of Halton and Sobol, or independent random points.
    number : int
        From 1 to 100,000; for "sobol" a power of 2.
    dimensions : int
        At least 1.
    seed : int
        In [0, 2**63).

    Returns
    -------
    (number, dimensions) float64 array
        In [0, 1), multiples of 2**-32, the same on every CPU.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Halton 1960 with the scrambling of Owen 2017; Sobol 1967 with that of Matousek 1998, both through
    ``scipy.stats.qmc``. Random points come from the random stream of this package.

    Examples
    --------
    >>> from lookahead_nb.training.ranges import points
    >>> sorted((4 * points("sobol", 4, 1, seed=0)[:, 0]).astype(int).tolist())  # one in each quarter
    [0, 1, 2, 3]
    """
    one_of("method", method, METHODS)
    number, seed = whole_number("number", number, 1, MOST_VALUES), whole_number("seed", seed, 0, 2**63 - 1)
    if method == "random":
        return np.stack([uniforms(number, seed, DRAWS, i) for i in range(dimensions)], axis=1)
    if method == "sobol" and number & (number - 1):
        near = 2 ** (number.bit_length() - 1)
        advice = f"take {near} or {2 * near}, or another method"
        raise ValueError(f"number must be a power of 2 for method 'sobol', got {number}: {advice}")
    qmc = whole("scipy.stats.qmc")
    engine = {"halton": qmc.Halton, "sobol": qmc.Sobol}[method](dimensions, rng=np.random.default_rng(seed))
    # Halton's fractions may differ in their last bits between compilers.
    return np.floor(engine.random(number) * 2**32) / 2**32


def number_of(table: Mapping[str, Any]) -> int:
    """Return the number of values that the table of a range asks for.

    Parameters
    ----------
    table : mapping

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If ``number`` is missing or no whole number from 2 to 100,000.
    """
    return whole_number("number", table.get("number"), 2, MOST_VALUES)
