"""Effects on real data sets: of one set over its replicates, and over sets.

Chunks of a large set share no row, so their benefits are independent. Splits of a small set overlap: their plain
interval is too narrow, and a verdict on a set uses Nadeau and Bengio's bound. Over sets the set is the unit, and the
benefit on a set is the mean over its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import whole
from lookahead_nb.claims import modality
from lookahead_nb.claims.curves import first_below, log_losses
from lookahead_nb.claims.inference import Share, _p_above, _share, _signs, _student
from lookahead_nb.claims.statistics import Estimate
from lookahead_nb.claims.trial import _names, _replicates

if TYPE_CHECKING:
    import pandas as pd

STEPS = "steps to the training loss"  # a metric in addition to those of trial.METRICS
FEWEST = 6  # sets over which a direction can be shown: the interval of 5 of 5 contains a half


class _OfSet(NamedTuple):
    """The benefit of each replicate on a set, and the variance of their mean in units of their own variance."""

    values: np.ndarray
    factor: float  # by Nadeau and Bengio for splits, 1/J for chunks

    @property
    def square(self) -> float:
        return float(self.values.var(ddof=1) * self.factor)

    def interval(self, level: float) -> Estimate:
        return _student(self.values, level, self.factor)

    def p_above(self, margin: float, sign: int = 1) -> float:
        excess = np.array([sign * (self.values.mean() - margin)])
        return float(_p_above(excess, np.array([self.square]), len(self.values) - 1)[0])


def _of_set(benefits: pd.DataFrame, part: pd.DataFrame) -> _OfSet:
    values = benefits.loc[part["number"]].mean(axis=0).dropna().to_numpy()  # over its tasks, paired by replicate
    first = part.iloc[0]
    other = first["train_rows"] + first["validation_rows"]
    return _OfSet(values, 1 / len(values) + (first["test_rows"] / other if first["overlap"] else 0.0))


def by_set(benefits: pd.DataFrame, tasks: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the mean benefit on every task and data set, and over sets.

    Parameters
    ----------
    benefits : frame
        A row for each task, indexed by its number, and a column for each replicate; NaN where a set has fewer.
    tasks : frame
        Rows of ``Experiment.chosen``.
    level : float, default 0.95
        Of the intervals, in (0, 1).

    Returns
    -------
    frame
        A row for each task, for each set with several (``steps`` is missing there) and for all sets: ``set``,
        ``steps``, ``replicates`` (of all sets: their number), ``value``, ``error``, ``low``, ``high``, ``bound_low``,
        ``bound_high``. The plain standard error and Student's interval take replicates as independent; the bound is
        Nadeau and Bengio's, and equal to the interval for chunks. Over all sets it is Student's over the set means.

    Raises
    ------
    KeyError
        If benefits lack a task.
    """
    pd = whole("pandas")

    found = []
    for name, of_set in tasks.groupby("set", sort=False):
        for steps, part in [*of_set.groupby("steps"), (None, of_set)] if len(of_set) > 1 else of_set.groupby("steps"):
            effect = _of_set(benefits, part)
            plain, bound = _student(effect.values, level), effect.interval(level)
            keys = {"set": name, "steps": steps, "replicates": len(effect.values)}
            error = effect.values.std(ddof=1) / np.sqrt(len(effect.values))
            found.append(keys | _columns(plain, error, bound))
    means = _means(benefits, tasks)
    if len(means) > 1:
        over = _student(means, level)
        keys = {"set": "all", "steps": None, "replicates": len(means)}
        found.append(keys | _columns(over, means.std(ddof=1) / np.sqrt(len(means)), over))
    return pd.DataFrame(found).astype({"steps": "Int64"})


def _columns(plain: Estimate, error: float, bound: Estimate) -> dict[str, float]:
    return {
        **{"value": plain.value, "error": float(error), "low": plain.low, "high": plain.high},
        **{"bound_low": bound.low, "bound_high": bound.high},
    }


def _sets(benefits: pd.DataFrame, tasks: pd.DataFrame) -> dict[str, _OfSet]:
    return {str(name): _of_set(benefits, part) for name, part in tasks.groupby("set", sort=False)}


def _means(benefits: pd.DataFrame, tasks: pd.DataFrame) -> np.ndarray:
    return np.array([effect.values.mean() for effect in _sets(benefits, tasks).values()])


def judged(
    benefits: pd.DataFrame, tasks: pd.DataFrame, rule: str, margin: float, level: float, *, harmless: bool = False
) -> dict[str, Any]:
    """Return estimate and verdict on real data sets.

    Parameters
    ----------
    benefits, tasks
        As in :func:`by_set`; the sets are those of the tasks.
    rule : {"mean", "share", "regret", "none"}
        A value of ``modality.MODALITIES``.
    margin : float
        Above 0, on the scale of benefits.
    level : float
        That decides, in (0, 1).
    harmless : bool, default False
        Whether a set counts for "share" if the arm does no harm beyond the margin.

    Returns
    -------
    dict
        The columns of :func:`.registry.judge` from ``value`` on, except those of steps. ``without`` names the sets
        without which the verdict is another one, separated by commas.

    Notes
    -----
    From ``FEWEST`` sets on the rules are those of generated tasks, with sets as units: Student's interval over the set
    means, exact signs, and tests of single sets that use the bound.

    With fewer sets no direction could be shown. Each has its own interval, at ``1 - (1 - level)/sets``, with the bound
    where splits overlap. ``low`` is the lowest of their ends and ``high`` the highest.

    - A plain sentence, or an advice, must hold on every set: the usual rules, with these two ends as L and U. It is
      "mixed" if it holds on one set and the opposite on another.
    - "Can" holds if one set is shown to be beyond the margin. It is "hardly ever" if all are shown to be within it.
    """
    if rule == "regret":
        benefits = -benefits
    sets = _sets(benefits, tasks)
    row = _judged(sets, rule, margin, level, harmless)
    others = {name: {other: sets[other] for other in sets if other != name} for name in sets} if len(sets) > 1 else {}
    without = [
        name
        for name, rest in others.items()
        if _judged(rest, rule, margin, level, harmless)["verdict"] != row["verdict"]
    ]
    return row | {"without": ", ".join(without)}


def _judged(sets: dict[str, _OfSet], rule: str, margin: float, level: float, harmless: bool) -> dict[str, Any]:
    few, n = len(sets) < FEWEST, len(sets)
    means = np.array([effect.values.mean() for effect in sets.values()])
    value = float(means.mean())
    ends = [effect.interval(1 - (1 - level) / n) for effect in sets.values()]
    better, worse = (sum(end.low > 0 for end in ends), sum(end.high < 0 for end in ends))
    shift = 2 * margin if harmless else 0.0  # "at least -margin" becomes "at least margin"
    if few:
        mean = Estimate(value, min(end.low for end in ends), max(end.high for end in ends))
        signs = Estimate(float((means > 0).mean()), float(better == n), float(worse < n))
        beyond, within = sum(end.low + shift > margin for end in ends), sum(end.high + shift < margin for end in ends)
        share = Share(float(beyond > 0), float(within < n), beyond, within)
    else:
        mean, signs = _student(means, level), _signs(means, level)
        tests = [np.array([effect.p_above(margin - shift, sign) for effect in sets.values()]) for sign in (1, -1)]
        share = _share(tests[0], tests[1], level)
    if rule == "share":
        verdict, shown = modality.verdict_by_share(share), Estimate(share.beyond / n, share.low, share.high)
    elif rule == "regret":
        verdict, shown = modality.verdict_by_regret(mean, margin), signs
    elif rule == "none":
        verdict, shown = modality.NOT_JUDGED, signs
    else:
        verdict, shown = modality.verdict_by_mean(mean, signs, margin), signs
        if few and better and worse:
            verdict = "mixed"
    return {
        **{"value": value, "low": mean.low, "high": mean.high},
        **{"share": shown.value, "share_low": shown.low, "share_high": shown.high},
        **{"better": better, "worse": worse, "verdict": verdict},
    }


def log_steps_saved(rows: pd.DataFrame, arm: str, controls: str | Sequence[str]) -> pd.DataFrame:
    """Return how many fewer steps an arm takes to the training loss that its controls end with.

    Parameters
    ----------
    rows : frame
        Of :func:`.trial.measure`, with the training loss of arm and controls along their runs.
    arm : str
    controls : str or sequence of str
        Of several the mean of the logarithms is taken, of their last losses and of their steps.

    Returns
    -------
    frame
        A row for each task, indexed by ``number``, and a column for each replicate: ``log(steps of the control) -
        log(steps of the arm)``.

    Raises
    ------
    ValueError
        If an arm was not read along its runs.

    Notes
    -----
    At every multiple of the steps the loss is the lowest of all learning rates. The steps are those of
    :func:`.curves.first_below`. A target that is reached ahead of the first multiple counts as reached there. One that
    is never reached counts as reached at the last, twice the steps.
    """
    pd = whole("pandas")

    names, replicates = _names(controls), _replicates(rows)
    own = rows[(rows["metric"] == "training loss") & (rows["tuning"] == "own")]
    curves = {}
    for name in (arm, *names):
        of_arm = own[own["arm"] == name].sort_values(["number", "multiple"])
        if of_arm["multiple"].nunique() < 2:
            raise ValueError(f"arm must be one whose training loss is read along its runs, got {name!r}")
        curves[name] = {number: part.set_index("multiple")[replicates] for number, part in of_arm.groupby("number")}
    found = {}
    for number in curves[arm]:
        target = np.exp(sum(log_losses(curves[name][number].loc[1.0]) for name in names) / len(names))
        logs = {
            name: np.log([_reached(curves[name][number][r].dropna(), target[r]) for r in replicates])
            for name in (arm, *names)
        }
        found[number] = sum(logs[name] for name in names) / len(names) - logs[arm]
    return pd.DataFrame(found, index=replicates).T.rename_axis("number")


def _reached(losses: pd.Series, target: float) -> float:
    """Return the multiple of the steps at which a curve falls below the target."""
    if losses.empty:  # a set with fewer replicates
        return float("nan")
    found = float(first_below(losses.to_frame(), target).iloc[0])
    return float(losses.index[-1]) if np.isnan(found) else found
