"""Proof that the procedure works: comparisons whose truth is known, given to the rules that judge the claims.

Simulated tasks must get the verdict of their true benefits, AdamW against itself none, and AdamW with 5 or 10 % more
steps must be worth as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, one_of, real_number, real_numbers, whole, whole_number
from lookahead_nb.claims.inference import MULTIPLES, clopper_pearson, pseudo_populations, steps_worth
from lookahead_nb.claims.modality import MODALITIES, verdict_on
from lookahead_nb.claims.statistics import Estimate, _generator
from lookahead_nb.claims.trial import benefits, curve

if TYPE_CHECKING:
    import pandas as pd

FALSE = {"mean": ("holds", "the opposite holds"), "share": ("holds",), "regret": ("it costs",)}


@default_errors
def simulated_verdicts(
    effects: Iterable[float] = (0.0, 0.002, 0.01, 0.03),
    spreads: Iterable[float] = (0.002, 0.01, 0.04),
    *,
    margin: float = 0.01,
    noise: float = 0.01,
    tasks: int = 200,
    replicates: int = 4,
    populations: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how often simulated populations of tasks get each verdict on "usually".

    Parameters
    ----------
    effects : iterable of float
        Mean true benefits.
    spreads : iterable of float
        Standard deviations of the true benefits over tasks, at least 0.
    margin : float, default 0.01
        Above 0: the benefit that matters.
    noise : float, default 0.01
        The standard deviation of a replicate, at least 0.
    tasks, replicates : int, default 200 and 4
        Of a population, at least 2.
    populations : int, default 200
        For each truth, at least 1.
    seed : int, default 0
        Of the draws, at least 0.

    Returns
    -------
    frame
        The columns ``shape`` ("normal" or "skewed", where benefits are exponential and most tasks are below the mean),
        ``effect``, ``spread``, ``verdict`` and ``share``, the share of populations with that verdict.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    effects, spreads = list(effects), list(spreads)
    populations, rows = whole_number("populations", populations, 1), []
    for shape in ("normal", "skewed"):
        for effect in effects:
            for spread in spreads:
                draw, counts = _generator(seed), dict[str, int]()
                for _ in range(populations):
                    standard = draw.normal(size=tasks) if shape == "normal" else draw.exponential(size=tasks) - 1
                    true = effect + real_number("spreads", spread, 0) * standard
                    benefits = true[:, None] + real_number("noise", noise, 0) * draw.normal(size=(tasks, replicates))
                    verdict = verdict_on(benefits, "usually", margin)
                    counts[verdict] = counts.get(verdict, 0) + 1
                truth = {"shape": shape, "effect": float(effect), "spread": float(spread)}
                rows += [truth | {"verdict": name, "share": n / populations} for name, n in sorted(counts.items())]
    return pd.DataFrame(rows)


@default_errors
def false_verdicts(
    benefits: Any, modality: str, margin: float, *, populations: int = 200, size: int | None = None, seed: int = 0
) -> Estimate:
    """Return how often an arm that is compared with itself gets a verdict.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        Of an arm against a second training of the same arm, at least 2 of each.
    modality : str
        A key of ``modality.MODALITIES`` that gets a verdict.
    margin : float
        Above 0: the benefit that matters.
    populations : int, default 200
        How many are drawn from the tasks with replacement, at least 1. In each, the names of the two trainings are
        swapped at random per task.
    size : int, optional
        The tasks of a population, at least 2. Default: as many as benefits has.
    seed : int, default 0
        Of the draws, at least 0.

    Returns
    -------
    Estimate
        The share of populations with "holds" or "the opposite holds" (for an advice, "it costs"), and its
        Clopper-Pearson interval.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.claims.proof import false_verdicts
    >>> same = np.random.default_rng(0).normal(0, 0.01, (100, 4))
    >>> bool(false_verdicts(same, "usually", 0.003).value < 0.06)
    True
    """
    judged = [name for name, rule in MODALITIES.items() if rule in FALSE]
    false = FALSE[MODALITIES[one_of("modality", modality, judged)]]
    drawn = pseudo_populations(benefits, populations, size, seed, swap=True)
    count = sum(verdict_on(population, modality, margin).startswith(false) for population in drawn)
    low, high = clopper_pearson(count, populations)
    return Estimate(count / populations, float(low), float(high))


class Planted(NamedTuple):
    """How well "worth x % more steps" finds an arm that has more steps.

    Attributes
    ----------
    value : float
        The multiple of the steps that all tasks together give.
    coverage : Estimate
        The share of populations whose interval contains that value, and its Clopper-Pearson interval.
    half_width : float
        The mean half width of these intervals, as a multiple of the steps.
    """

    value: float
    coverage: Estimate
    half_width: float


@default_errors
def planted(
    gains: Any,
    log_losses: Any,
    multiples: Any = MULTIPLES,
    *,
    size: int = 50,
    populations: int = 400,
    draws: int = 400,
    seed: int = 0,
) -> Planted:
    """Return how often the interval of :func:`.inference.steps_worth` contains the value of the whole pool of tasks.

    Parameters
    ----------
    gains, log_losses, multiples
        As in :func:`.inference.steps_worth`, of all tasks of the pool.
    size : int, default 50
        The tasks of a population, drawn without replacement, from 2 to half of the pool.
    populations : int, default 400
        At least 1.
    draws : int, default 400
        Of each bootstrap, at least 100.
    seed : int, default 0
        Of all draws, at least 0.

    Returns
    -------
    Planted

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    The pool is the truth here, so populations must be small parts of it: with a share f of the pool the intervals are
    too wide by ``1/sqrt(1 - f)``.
    """
    gains, curves = real_numbers("gains", gains, -np.inf), np.asarray(log_losses, np.float64)
    value = steps_worth(gains, curves, multiples, draws=100).value
    size = whole_number("size", size, 2, len(gains) // 2)
    populations, generator = whole_number("populations", populations, 1), _generator(seed)
    hits, widths = 0, []
    for i in range(populations):
        chosen = generator.choice(len(gains), size, replace=False)
        found = steps_worth(gains[chosen], curves[chosen], multiples, draws=draws, seed=seed + i)
        hits += found.low <= value <= found.high
        widths.append((found.high - found.low) / 2)
    low, high = clopper_pearson(hits, populations)
    return Planted(value, Estimate(hits / populations, float(low), float(high)), float(np.mean(widths)))


def planted_arms(rows: pd.DataFrame, truths: Mapping[str, float], **settings: Any) -> pd.DataFrame:
    """Return what arms of known value are found to be worth.

    Parameters
    ----------
    rows : frame
        Of :func:`.trial.measure`, with the arms "adamw" (read along its runs), "adamw_again" and those of truths.
    truths : mapping of str to float
        The true multiple of the steps of each arm.
    **settings
        Keyword arguments of :func:`planted`.

    Returns
    -------
    frame
        The columns ``arm``, ``truth``; ``value``, ``low`` and ``high`` of :func:`.inference.steps_worth`; and
        ``covered``, ``covered_low``, ``covered_high``, the coverage of :func:`planted`. "adamw_again" is compared with
        "adamw", any other arm with the mean of both.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    pd = whole("pandas")

    log_losses, found = curve(rows), []
    for arm, truth in truths.items():
        controls = ["adamw"] if arm == "adamw_again" else ["adamw", "adamw_again"]
        gains = benefits(rows, arm, controls).mean(axis=1)
        estimate, coverage = steps_worth(gains, log_losses), planted(gains, log_losses, **settings).coverage
        covered = {"covered": coverage.value, "covered_low": coverage.low, "covered_high": coverage.high}
        found.append({"arm": arm, "truth": truth} | estimate._asdict() | covered)
    return pd.DataFrame(found)
