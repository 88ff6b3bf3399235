"""What theory predicts for the arms of the experiment ``one_family``, what they are worth, and the frontier of T3.

The model is a noisy quadratic that was chosen before the experiment, on other tasks (``data/pilots/steps_worth.md``):
eigenvalues between 1e-4 and 1 that are evenly spread in the logarithm of their share of the loss at the start, gradient
noise like the Hessian with a standard deviation of .33, and heavy-ball momentum in the place of AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import default_errors, whole, whole_number
from lookahead_nb.claims import inference, trial
from lookahead_nb.claims.trial_arms import TrialArm
from lookahead_nb.theory import Cycle, Tuned, steps_worth, tuned
from lookahead_nb.theory.frontier import MOMENTA, compared, solved_families

if TYPE_CHECKING:
    import pandas as pd

NOISE, LEAST_CURVATURE, RATIO = 0.33, 1e-4, 1.08
SCHEDULES = ("linear", "last_fifth")  # arms, and with "lookahead_" ahead those of Lookahead
NO_SCHEDULE = ("lookahead", "k_2", "k_10", "k_20", "step_02", "step_08", "no_pull_back", "interpolate")

EXPONENTS, CONDITIONS = (0.5, 0.75, 1.0, 1.5, 2.0), (10.0, 100.0, 1e4)
NOISES = {"curvature^0": (0.0, None), "curvature^1": (1.0, None), "curvature^2": (2.0, None), "epochs": (1.0, 60)}
WITH_REPLACEMENT = ("curvature^0", "curvature^1", "curvature^2")
PAYS = 0.99  # below this ratio of risks one is better than the other


# ---------------------------------------------------------------------------------------------------- predicted worths


@cache
def _modes() -> tuple[np.ndarray, np.ndarray]:
    """Return the curvatures, and the root of how many eigenvalues lie around each."""
    curvature = RATIO ** -np.arange(int(math.log(1 / LEAST_CURVATURE) / math.log(RATIO)) + 1.0)
    return curvature, np.sqrt(1 / curvature / (1 / curvature).sum())


def cycle_of(arm: TrialArm, steps: int) -> Cycle:
    """Return the cycle of an arm on the modes of the model.

    Parameters
    ----------
    arm : TrialArm
        With one grid, around AdamW.
    steps : int
        Those of its runs, at least 1.

    Returns
    -------
    Cycle
        At a learning rate of 1, without weight decay.

    Raises
    ------
    ValueError
        If the arm has no linear cycle.
    """
    opt: Any = arm.grids[0].optimizer(1.0, steps)
    inner = replace(opt.inner, weight_decay=0.0)
    curvature, root = _modes()
    noise = NOISE * np.sqrt(curvature) * root
    return Cycle.of(replace(opt, inner=inner) if opt is not opt.inner else inner, curvature=curvature, noise=noise)


@cache
def _best(arm: TrialArm, steps: int) -> Tuned:
    return tuned(cycle_of(arm, steps), steps, weights=_weights(arm), start=_modes()[1])


def _weights(arm: TrialArm) -> str:
    return arm.weights if arm.grids[0].around else "fast"


def predicted_worth(arm: TrialArm, steps: int) -> float:
    """Return what an arm is worth in the model: the multiple of its steps that plain momentum needs.

    Parameters
    ----------
    arm : TrialArm
        As in :func:`cycle_of`.
    steps : int
        At least 1.

    Returns
    -------
    float
    """
    return steps_worth(cycle_of(arm, steps), steps, weights=_weights(arm), start=_modes()[1])


def predicted_doublings(arm: TrialArm, control: TrialArm, plain: TrialArm, steps: int) -> float:
    """Return the gain of an arm over another in the model, in gains of plain momentum from twice the steps.

    Parameters
    ----------
    arm, control, plain : TrialArm
        As in :func:`cycle_of`; plain has no schedule and no slow weights.
    steps : int
        At least 1.

    Returns
    -------
    float
        ``log(control/arm)/log(plain after steps/plain after twice as many)``, of losses at tuned rates.
    """
    ours, theirs = (_best(each, steps).loss for each in (arm, control))
    return math.log(theirs / ours) / math.log(_best(plain, steps).loss / _best(plain, 2 * steps).loss)


@default_errors
def predictions(arms: dict[str, TrialArm], lengths: Iterable[int]) -> pd.DataFrame:
    """Return what the model says about the arms of the experiment.

    Parameters
    ----------
    arms : dict of str to TrialArm
        Those of ``one_family``.
    lengths : iterable of int
        The numbers of steps, each at least 1.

    Returns
    -------
    frame
        A row for each number of steps and contrast: ``steps``, ``arm``, ``control``, ``scale`` ("worth" against
        "adamw", or "doublings"), ``predicted``.
    """
    rows: list[dict[str, Any]] = []
    for steps in lengths:
        steps = whole_number("lengths", steps, 1)
        for name in (*NO_SCHEDULE, *SCHEDULES):
            about = {"steps": steps, "arm": name, "control": "adamw", "scale": "worth"}
            rows.append(about | {"predicted": predicted_worth(arms[name], steps)})
        for name, control in _contrasts():
            about = {"steps": steps, "arm": name, "control": control, "scale": "doublings"}
            found = predicted_doublings(arms[name], arms[control], arms["adamw"], steps)
            rows.append(about | {"predicted": found})
    return whole("pandas").DataFrame(rows)


def _contrasts() -> list[tuple[str, str]]:
    schedules = [(f"lookahead_{name}", name) for name in SCHEDULES]
    return [("interpolate", "lookahead"), ("no_pull_back", "lookahead"), ("lookahead", "adamw"), *schedules]


# ----------------------------------------------------------------------------------------------------- measured worths


@default_errors
def measured(rows: pd.DataFrame, tasks: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with what was measured beside them, for each number of steps and over all tasks.

    Parameters
    ----------
    rows : frame
        Of :func:`.experiments.results`.
    tasks : frame
        Of :meth:`.Experiment.chosen`: ``number`` and ``steps``.
    predicted : frame
        Of :func:`predictions`.

    Returns
    -------
    frame
        The columns of predicted and ``tasks`` (how many), ``measured``, ``low`` and ``high``. Doublings over all
        tasks have ``steps`` 0, and as prediction the mean over their tasks.

    Notes
    -----
    A worth is :func:`.inference.steps_worth`. Doublings are the mean gain in log test loss over AdamW's mean gain from
    twice the steps, which counts as known; the interval is that of the mean gain over tasks.
    """
    pd = whole("pandas")

    curve, steps_of = trial.curve(rows), tasks.set_index("number")["steps"]
    found = []
    pooled = predicted[predicted["scale"] == "doublings"].groupby(["arm", "control", "scale"], sort=False)["predicted"]
    for (arm, control, scale), values in pooled:
        known = dict(zip(predicted.loc[values.index, "steps"], values, strict=True))
        mean = float(steps_of.map(known).mean())
        found.append({"steps": 0, "arm": arm, "control": control, "scale": scale, "predicted": mean})
    every = [*predicted.to_dict("records"), *found]
    for row in every:
        numbers = steps_of.index if row["steps"] == 0 else steps_of.index[steps_of == row["steps"]]
        gains = trial.benefits(rows, row["arm"], row["control"]).loc[numbers]
        own = curve.loc[numbers]
        if row["scale"] == "worth":
            value = inference.steps_worth(gains.mean(axis=1).to_numpy(), own.to_numpy())
        else:
            unit = (own[1.0] - own[2.0]).mean()
            value = inference.Estimate(*(part / unit for part in inference.mean_benefit(gains.to_numpy())))
        row |= {"tasks": len(numbers)} | dict(zip(("measured", "low", "high"), value, strict=True))
    return pd.DataFrame(every)


def verdicts(worths: pd.DataFrame) -> dict[str, str]:
    """Return what came out for each part of T4, by its rules.

    Parameters
    ----------
    worths : frame
        Of :func:`measured`.

    Returns
    -------
    dict of str to str
        For "a" to "d" one of "confirmed", "falsified" and "undecided".
    """
    of = worths.set_index(["scale", "arm", "control", "steps"])[["predicted", "measured", "low", "high"]]
    found = {}
    for part, arm, half in (("a", "interpolate", 0.043), ("d", "no_pull_back", 0.033)):
        row = of.loc["doublings", arm, "lookahead", 0]
        found[part] = _decided(row["low"] > 0, row["high"] < half)
    correlation, error = fit(worths)
    found["b"] = _decided(correlation >= 0.6 and error <= math.log(1.15), correlation < 0.3 or error > math.log(1.3))
    falling = of.loc[[("doublings", "lookahead_linear", "linear", steps) for steps in (480, 960)]]
    found["c"] = _decided((falling["high"] < 0.1).all(), (falling["low"] > 0.1).any())
    return dict(sorted(found.items()))


def _decided(confirmed: Any, falsified: Any) -> str:
    return "confirmed" if confirmed else "falsified" if falsified else "undecided"


def fit(worths: pd.DataFrame) -> tuple[float, float]:
    """Return how well worths at a constant rate were predicted, without the interpolated state: part (b) of T4.

    Parameters
    ----------
    worths : frame
        Of :func:`measured`.

    Returns
    -------
    correlation, error : float
        The rank correlation of predicted and measured worths, and the root mean square of the logarithm of their ratio.
    """
    pairs = worths[(worths["scale"] == "worth") & worths["arm"].isin(set(NO_SCHEDULE) - {"interpolate"})]
    measured = pairs["measured"].clip(0.5, 2)
    error = float(np.sqrt(np.square(np.log(measured / pairs["predicted"])).mean()))
    return float(measured.rank().corr(pairs["predicted"].rank())), error


# -------------------------------------------------------------------------------------------------------- the frontier


def frontier(
    exponents: Iterable[float] = EXPONENTS,
    conditions: Iterable[float] = CONDITIONS,
    noises: Iterable[str] = WITH_REPLACEMENT,
    momenta: Iterable[float] = MOMENTA,
    *,
    few: bool = False,
) -> pd.DataFrame:
    """Compare the families on spectra: the grid of T3, by default that with replacement.

    Parameters
    ----------
    exponents, conditions : iterable of float
        Of the spectra.
    noises : iterable of str
        Keys of ``NOISES``.
    momenta : iterable of float
        Values of beta1.
    few : bool
        As in :func:`.frontier.families`.

    Returns
    -------
    frame
        A row for each spectrum, noise, beta1 and speed: ``exponent``, ``condition``, ``noise``, ``beta1``, ``speed``;
        ``lookahead``, its lowest risk over that of averages; ``damping`` of Lookahead there; ``outer``, the lowest risk
        of outer momentum over that of the inner optimizer and Lookahead around any beta1; ``primal``, that of primal
        averaging over that of averages. Four digits; 0 where the other one is never as fast, NaN where neither is.
    """
    rows = []
    momenta, exponents, conditions = [*momenta], [*exponents], [*conditions]
    for noise in noises:
        power, epoch = NOISES[noise]
        solved_at = {beta1: solved_families(beta1, few=few, steps_per_epoch=epoch) for beta1 in momenta}
        for exponent in exponents:
            for condition in conditions:
                about = {"exponent": exponent, "condition": condition, "noise": noise}
                found = compared(solved_at, exponent=exponent, condition=condition, noise_exponent=power)
                rows += [about | _ratios(row) for row in found]
    return whole("pandas").DataFrame(rows)


def _ratios(row: dict[str, Any]) -> dict[str, float]:
    with np.errstate(invalid="ignore"):
        ratios = {
            "lookahead": np.float64(row["Lookahead"]) / row["average"],
            "damping": row["Lookahead damping"],
            "outer": np.float64(row["outer momentum"]) / row["free"],
            "primal": np.float64(row["primal averaging"]) / row["average"],
        }
    return {key: float(f"{value:.4g}") for key, value in ({k: row[k] for k in ("beta1", "speed")} | ratios).items()}


@default_errors
def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many points of a frontier go against each part of T3.

    Parameters
    ----------
    rows : frame
        Of :func:`frontier`.

    Returns
    -------
    frame
        Indexed by ``part``: "a", Lookahead below averages though its fastest mode does not overshoot; "b", momenta from
        .8 on without a wedge at condition 10 or 100; "c", outer momentum below all others outside of the wedge. Columns
        ``points``, ``against`` and ``most``, the lowest ratio among those against.
    """
    pd = whole("pandas")

    wedge = rows["lookahead"] < PAYS
    against = wedge & (rows["damping"] <= 1)
    high = rows[(rows["beta1"] >= 0.8) & rows["condition"].isin([10.0, 100.0])]
    has = (high["lookahead"] < PAYS).groupby([high["condition"], high["beta1"]]).any()
    outside = rows[~wedge]
    outer = outside["outer"] < PAYS
    found = {
        "a": (len(rows), int(against.sum()), rows.loc[against, "lookahead"].min()),
        "b": (len(has), int((~has).sum()), np.nan),
        "c": (len(outside), int(outer.sum()), outside.loc[outer, "outer"].min()),
    }
    return pd.DataFrame.from_dict(found, orient="index", columns=["points", "against", "most"]).rename_axis("part")
