"""Verdicts by the modality of a sentence: plain or "usually", "may" or "can", advice. No prediction enters them.

A forecast says what will be done, so no experiment can confirm or refute it. What was measured is listed, and there is
no verdict.
"""

from __future__ import annotations

import math
from typing import Any

from lookahead_nb.checks import default_errors, one_of, real_number, whole_number
from lookahead_nb.claims.inference import BEYOND, Share, direction, mean_benefit, share_beyond
from lookahead_nb.claims.statistics import Estimate, clopper_pearson

MODALITIES = {  # how a sentence speaks: the rule that judges it
    "plain": "mean",
    "usually": "mean",
    "may": "share",
    "can": "share",
    "some cases": "share",
    "advice": "regret",
    "forecast": "none",
}
SHARE = 0.05  # of tasks, from which on "may" holds
TOO_SMALL = ", but is too small to matter"
NOT_JUDGED = "a forecast: not judged"


@default_errors
def verdict_by_mean(mean: Estimate, share: Estimate, margin: float) -> str:
    """Return the verdict on a plain sentence, or one with "usually".

    Parameters
    ----------
    mean : Estimate
        The mean benefit on any scale with 0 for no difference, for example :func:`.inference.mean_benefit`, or
        :func:`.inference.steps_worth` less 1.
    share : Estimate
        Of :func:`.inference.direction`. Both intervals at the level that decides, see :func:`deciding_level`.
    margin : float
        Above 0: the benefit that matters, on the scale of mean.

    Returns
    -------
    str
        "holds", "the opposite holds" (either with ", and matters" or ", but is too small to matter"), "mixed",
        "no difference that matters" or "cannot tell".

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Notes
    -----
    With L, U the ends of the interval of the mean and M the margin, the first rule that matches decides:

    - holds: the interval of the share is above .5 and L > 0. It matters if L > M, and is too small if U < M.
    - the opposite holds: the same of the negative.
    - mixed: the interval of the share excludes .5, and that of the mean is on the other side of 0 or within +-M.
    - no difference that matters: -M < L and U < M.
    - cannot tell: the rest.

    Examples
    --------
    >>> from lookahead_nb.claims.modality import Estimate, verdict_by_mean
    >>> verdict_by_mean(Estimate(0.03, 0.02, 0.04), Estimate(0.9, 0.8, 0.95), margin=0.01)
    'holds, and matters'
    """
    margin = real_number("margin", margin, 0, open_low=True)
    inside = -margin < mean.low and mean.high < margin
    for name, low, high, is_shown in (
        ("holds", mean.low, mean.high, share.low > 0.5),
        ("the opposite holds", -mean.high, -mean.low, share.high < 0.5),
    ):
        if is_shown and low > 0:
            return f"{name}, and matters" if low > margin else f"{name}{TOO_SMALL}" if high < margin else name
        if is_shown and (high < 0 or inside):
            return "mixed"
    return "no difference that matters" if inside else "cannot tell"


@default_errors
def verdict_by_share(share: Share) -> str:
    """Return the verdict on a sentence with "may", "can" or "in some cases".

    Parameters
    ----------
    share : Share
        Of :func:`.inference.share_beyond`, in the claimed direction.

    Returns
    -------
    str
        "holds, on a share of tasks" if the share is above .05, "hardly ever" if it is below, or "cannot tell".
    """
    if share.low > SHARE:
        return "holds, on a share of tasks"
    return "hardly ever" if share.high < SHARE else "cannot tell"


@default_errors
def verdict_by_regret(regret: Estimate, margin: float) -> str:
    """Return the verdict on an advice.

    Parameters
    ----------
    regret : Estimate
        What following the advice costs against the whole range, on average over tasks.
    margin : float
        Above 0: the cost that matters.

    Returns
    -------
    str
        "follow it", "it costs" or "cannot tell".

    Raises
    ------
    TypeError, ValueError
        If margin is wrong.
    """
    margin = real_number("margin", margin, 0, open_low=True)
    return "follow it" if regret.high < margin else "it costs" if regret.low > margin else "cannot tell"


@default_errors
def deciding_level(contrasts: int) -> float:
    """Return the level of every interval that decides a claim with several primary contrasts: ``1 - .05/m``.

    Parameters
    ----------
    contrasts : int
        m, at least 1.

    Returns
    -------
    float
        0.95 for one.

    Raises
    ------
    TypeError, ValueError
        If contrasts is wrong.

    Notes
    -----
    Source: Bonferroni; Dunn 1961.
    """
    return 1 - 0.05 / whole_number("contrasts", contrasts, 1)


@default_errors
def fewest_tasks(modality: str, contrasts: int = 1) -> int:
    """Return how many tasks a claim needs so that a verdict other than "cannot tell" is possible.

    Parameters
    ----------
    modality : str
        A key of :data:`MODALITIES`.
    contrasts : int, default 1
        The number of primary contrasts of the claim.

    Returns
    -------
    int
        At least 2, which is also the number for a forecast. With fewer tasks, not even tasks that all agree show a
        direction, or a share above ``SHARE``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> fewest_tasks("usually"), fewest_tasks("usually", 4), fewest_tasks("may")
    (6, 8, 2)
    """
    rule, level = MODALITIES[one_of("modality", modality, MODALITIES)], deciding_level(contrasts)
    n = 2
    if rule == "mean":
        while clopper_pearson(n, n, level)[0] <= 0.5:
            n += 1
    elif rule == "share":
        while (clopper_pearson(n, n, level)[0] - BEYOND) / (1 - BEYOND) <= SHARE:
            n += 1
    return n


@default_errors
def verdict_on(benefits: Any, modality: str, margin: float, contrasts: int = 1) -> str:
    """Return the verdict on a sentence by its modality alone.

    Parameters
    ----------
    benefits : (tasks, replicates) array
        At least 2 of each. For an advice they are regrets.
    modality : str
        A key of :data:`MODALITIES`.
    margin : float
        Above 0: the benefit that matters.
    contrasts : int, default 1
        The number of primary contrasts of the claim.

    Returns
    -------
    str
        As :func:`verdict_by_mean`, :func:`verdict_by_share` or :func:`verdict_by_regret` returns it, or ``NOT_JUDGED``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> from lookahead_nb.claims.modality import verdict_on
    >>> import numpy as np
    >>> benefits = np.random.default_rng(0).normal(0.03, 0.01, (50, 4))
    >>> verdict_on(benefits, "usually", margin=0.01)
    'holds, and matters'
    """
    rule, level = MODALITIES[one_of("modality", modality, MODALITIES)], deciding_level(contrasts)
    if rule == "none":
        return NOT_JUDGED
    if rule == "mean":
        return verdict_by_mean(mean_benefit(benefits, level), direction(benefits, level), margin)
    if rule == "share":
        return verdict_by_share(share_beyond(benefits, margin, level))
    return verdict_by_regret(mean_benefit(benefits, level), margin)


@default_errors
def tasks_needed(mean: Estimate, tasks: int, margin: float) -> int:
    """Return how many tasks would decide where these cannot.

    Parameters
    ----------
    mean : Estimate
        The mean benefit.
    tasks : int
        The number of tasks behind it.
    margin : float
        Above 0: the benefit that matters.

    Returns
    -------
    int
        ``N * (half width/(M/2))**2``, rounded up: the interval is then as wide as the margin.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    half = (mean.high - mean.low) / 2
    margin = real_number("margin", margin, 0, open_low=True)
    return math.ceil(whole_number("tasks", tasks, 1) * (2 * half / margin) ** 2)
