"""Verdicts: effects with intervals, their corrected p-values, and the rule that each statement registered."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lookahead_nb import provenance as tables
from lookahead_nb.checks import default_errors, of_type, whole
from lookahead_nb.claims import statistics
from lookahead_nb.claims.records import OutdatedError, _results_path, results
from lookahead_nb.claims.statements import LEVEL, Claim, Effect


def _with_columns(name: str, frame: Any, *columns: str) -> None:
    of_type(name, frame, pd.DataFrame, f"a frame with the columns {', '.join(columns)}")
    if absent := [column for column in columns if column not in frame]:
        raise ValueError(f"{name} must have the columns {', '.join(columns)}, and lacks {', '.join(absent)}")


@default_errors
def judge(claim: Claim, runs: pd.DataFrame) -> pd.DataFrame:
    """Judge the effects of a claim in measured runs.

    Parameters
    ----------
    claim : Claim
        The claim.
    runs : DataFrame
        As in ``measure.Measured``.

    Returns
    -------
    DataFrame
        One row per effect and task, and one with the task "all" for the tasks together: ``effect``, ``task``, ``size``
        (a ratio, a difference or a share), ``low`` and ``high`` (the ends of its 95 % confidence interval), ``p``
        (two-sided, of the judgement against the margin), ``outcome`` ("yes", "no" or "open") and ``seeds``.

    Raises
    ------
    ValueError
        If runs lack an arm or a task.
    """
    of_type("claim", claim, Claim, "a claim such as claims.read returns")
    _with_columns("runs", runs, "task", "arm", "seed")
    return compare(claim.effects, runs)


def compare(effects: Iterable[Effect], runs: pd.DataFrame, *, by_task: bool = True) -> pd.DataFrame:
    """Judge any effects as :func:`judge` does.

    Parameters
    ----------
    effects : iterable of Effect
        The effects.
    runs : DataFrame
        As in ``measure.Measured``.
    by_task : bool, default True
        False judges only the tasks together.

    Returns
    -------
    DataFrame
        As for :func:`judge`.

    Raises
    ------
    ValueError
        If runs lack an arm or a task.
    """
    rows = []
    for effect in effects:
        for task in ["all", *(effect.tasks if by_task else ())]:
            tasks = effect.tasks if task == "all" else (task,)
            rows.append({"effect": effect.name, "task": task} | _judged(effect, gaps_of(effect, runs, tasks), task))
    return pd.DataFrame(rows)


def gaps_of(effect: Effect, runs: pd.DataFrame, tasks: Iterable[str]) -> pd.Series:
    """Return the paired gaps arm - control of an effect on its scale.

    A ratio is given as its logarithm. The gaps on the tasks in ``effect.against`` are subtracted.

    Parameters
    ----------
    effect : Effect
        The effect.
    runs : DataFrame
        As in ``measure.Measured``.
    tasks : iterable of str
        Some of the tasks of the effect.

    Returns
    -------
    Series of float64
        Indexed by task and seed.

    Raises
    ------
    ValueError
        If runs lack an arm or a task.
    """
    tasks = [*tasks]
    gaps = _gaps(effect, runs, tasks)
    if not effect.against:
        return gaps
    against = dict(zip(effect.against, effect.tasks, strict=True))
    other = _gaps(effect, runs, [name for name, task in against.items() if task in tasks])
    return gaps - other.rename(index=against, level="task")


def _gaps(effect: Effect, runs: pd.DataFrame, tasks: list[str]) -> pd.Series:
    rows = runs[runs["task"].isin(tasks)]
    if absent := set(tasks) - {*rows["task"]}:
        raise ValueError(f"runs must hold the tasks of {effect.name!r}, and lack {', '.join(sorted(absent))}")
    values = rows.assign(value=rows[effect.metric])[["task", "arm", "seed", "value"]]
    values = values[values["arm"].isin([effect.arm, effect.control])]  # no other has to be positive for a ratio
    gaps = statistics.paired(values, effect.arm, effect.control, "log" if effect.scale == "ratio" else "difference")
    if effect.scale != "of chance":
        return gaps
    chance_gaps = statistics.chance_gap(rows, effect.metric)
    if not (chance_gaps > 0).all():
        raise ValueError(f"{effect.metric} must come below the loss of chance for {effect.name!r} to be a share of it")
    return gaps / chance_gaps.loc[gaps.index.get_level_values("task")].to_numpy()


def _judged(effect: Effect, gaps: pd.Series, task: str) -> dict[str, Any]:
    ttest_1samp = whole("scipy.stats").ttest_1samp  # imported late: it would double the import time of the package

    margin = float(np.log(effect.margin)) if effect.scale == "ratio" else effect.margin
    if effect.test == "exact":
        size = low = high = float(gaps.mean())
    elif effect.test == "over tasks" and task == "all":
        gaps = statistics.task_means(gaps)
    if effect.test != "exact":
        size, low, high = statistics.student(gaps)

    def p(shift: float, alternative: str) -> float:
        if effect.test == "exact":
            return float(size <= shift if alternative == "greater" else size >= shift)
        if effect.test == "over tasks" and task == "all":
            return float(ttest_1samp(gaps, shift, alternative=alternative).pvalue)
        return statistics.sign_flip(gaps, shift, alternative)

    if effect.expect == "equivalent":
        yes, no = max(p(-margin, "greater"), p(margin, "less")), min(p(margin, "greater"), p(-margin, "less"))
    else:
        sign, toward, away = (1, "greater", "less") if effect.expect == "greater" else (-1, "less", "greater")
        yes, no = p(sign * margin, toward), p(sign * margin, away)
    p_value = min(1.0, 2 * min(yes, no))
    outcome = "open" if p_value > LEVEL else "yes" if yes < no else "no"
    if effect.scale == "ratio":
        size, low, high = np.exp([size, low, high])
    return {"size": size, "low": low, "high": high, "p": p_value, "outcome": outcome, "seeds": len(gaps)}


def verdict(claim: Claim, effects: pd.DataFrame) -> str:
    """Return the verdict on a claim by its rule.

    Parameters
    ----------
    claim : Claim
        The claim.
    effects : DataFrame
        Outcomes as :func:`judge` or :func:`judge_all` returns them. An effect without a row counts as open.

    Returns
    -------
    str
        One of ``VERDICTS``.
    """
    of_type("claim", claim, Claim, "a claim such as claims.read returns")
    if claim.untestable:
        return "not testable here"
    _with_columns("effects", effects, "task", "effect", "outcome")
    outcomes = _as_listed(claim, effects)
    if not outcomes:
        return "no results yet"
    if all(outcomes[name] == "yes" for name in claim.supported):
        return "supported"
    if claim.conditional and all(outcomes[name] == "yes" for name in claim.conditional):
        return "conditional"
    return "refuted" if "no" in [outcomes[name] for name in claim.supported] else "inconclusive"


def deciding(claim: Claim, effects: pd.DataFrame) -> Effect:
    """Return the effect that decides the verdict: the first listed one that came out as the verdict says.

    Parameters
    ----------
    claim : Claim
        A claim with a trial.
    effects : DataFrame
        Outcomes as :func:`judge` or :func:`judge_all` returns them.

    Returns
    -------
    Effect
        One of ``claim.effects``.
    """
    reached, outcomes = verdict(claim, effects), _as_listed(claim, effects)
    listed = claim.conditional if reached == "conditional" else claim.supported
    wanted = {"refuted": "no", "inconclusive": "open"}.get(reached, "yes")
    name = next((item for item in listed if outcomes.get(item, wanted) == wanted), listed[0])
    return next(effect for effect in claim.effects if effect.name == name.removeprefix("not "))


def _as_listed(claim: Claim, effects: pd.DataFrame) -> dict[str, str]:
    """Whether each listed effect came out as listed: "yes", "no" (the contrary) or "open"; empty without results."""
    joint = effects[effects["task"] == "all"]
    joint = joint[joint["claim"] == claim.id] if "claim" in joint else joint
    outcomes = dict(zip(joint["effect"], joint["outcome"], strict=True))
    contrary = {"yes": "no", "no": "yes", "open": "open"}

    def outcome_of(name: str) -> str:
        outcome = outcomes.get(name.removeprefix("not "), "open")
        return contrary[outcome] if name.startswith("not ") else outcome

    return {name: outcome_of(name) for name in (*claim.supported, *claim.conditional)} if outcomes else {}


@default_errors
def judge_all(
    register: dict[str, Claim],
    *,
    folder: str | Path | None = None,
    recomputed: bool = False,
    by_task: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Judge the effects of all claims that have results, with Holm's correction.

    The correction covers the joint effects (task "all") of all claims, each of which is confirmatory. The rows of
    single tasks only describe. Claims without results are left out.

    Parameters
    ----------
    register : dict of str to Claim
        As :func:`read` returns it.
    folder : path, optional
        As in :func:`results`.
    recomputed : bool, default False
        Whether the results that :func:`evidence` wrote to ``build/results`` replace those of the folder.
    by_task : iterable of str, optional
        Ids of the claims whose single tasks are judged too. Default: all.

    Returns
    -------
    DataFrame
        ``claim`` and the columns of :func:`judge`, with corrected ``p`` and ``outcome``.

    Raises
    ------
    ValueError
        That of :func:`results`.
    """
    of_type("register", register, dict, "a dict of claims such as claims.read returns")
    for key, claim in register.items():
        of_type(f"register[{key!r}]", claim, Claim, "a claim")
    build = tables.build_folder("results") if recomputed else None
    by_task = None if by_task is None else {*by_task}
    judged = []
    for claim in register.values():
        if claim.untestable:
            continue
        is_recomputed = build and (build / f"{claim.id}.json").is_file()
        try:
            runs = results(claim, folder=build if is_recomputed else folder)
        except OSError:
            continue
        single = by_task is None or claim.id in by_task
        judged.append(compare(claim.effects, runs, by_task=single).assign(claim=claim.id))
    if not judged:
        return pd.DataFrame(columns=["claim", "effect", "task", "size", "low", "high", "p", "outcome", "seeds"])
    effects = pd.concat(judged, ignore_index=True)
    joint = effects["task"] == "all"
    effects.loc[joint, "p"] = statistics.holm(effects.loc[joint, "p"])
    effects.loc[joint & (effects["p"] > LEVEL), "outcome"] = "open"
    return effects[["claim", *effects.columns.drop("claim")]]


def committed(register: dict[str, Claim], *, by_task: Iterable[str] = ()) -> pd.DataFrame:
    """Return what :func:`judge_all` does, from the committed ``data/results/verdicts.csv`` instead of judging again.

    Only the claims whose single tasks are requested are judged and compared with their rows in the table. Results
    measured again since, for an unchanged entry, are noticed for these claims only.

    Parameters
    ----------
    register : dict of str to Claim
        As :func:`read` returns it.
    by_task : iterable of str
        Ids of the claims whose single tasks are judged. Default: none.

    Returns
    -------
    DataFrame
        As for :func:`judge_all`.

    Raises
    ------
    FileNotFoundError
        If the table is missing.
    OutdatedError
        If the table is damaged, or its rows are not those of the register and of the claims with results.
    ValueError
        That of :func:`results`.
    """
    by_task, path = {*by_task}, tables.committed("data/results/verdicts.csv")
    try:
        table = tables.read_table(path)
    except (OSError, ValueError) as error:
        raise OutdatedError(str(error)) from error
    judged = []
    for claim in register.values():
        if claim.untestable:
            continue
        with suppress(OSError):  # not measured yet
            _results_path(claim)
            judged.append(claim)
    expected = [(claim.id, *_rule_of(effect)) for claim in judged for effect in claim.effects]
    stored = [*table[["claim", "effect", "expect", "scale", "margin"]].itertuples(index=False, name=None)]
    if stored != expected:
        differs = {row[0] for row in {*stored} ^ {*expected}} or {"their order"}
        raise OutdatedError(f"{path.name} does not hold the registered effects; what differs is {min(differs)}")
    columns = ["effect", "task", "size", "low", "high", "p", "outcome", "seeds"]
    table = table.assign(task="all")[["claim", *columns]]
    parts = []
    for claim in judged:
        joint = table[table["claim"] == claim.id]
        parts.append(_with_tasks(claim, joint, path) if claim.id in by_task else joint)
    return pd.concat(parts, ignore_index=True) if parts else table


def _rule_of(effect: Effect) -> tuple[str, str, str, float]:
    return effect.name, effect.expect, effect.scale, effect.margin


def _with_tasks(claim: Claim, joint: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the joint rows of a claim, followed by newly judged rows of its single tasks."""
    rows = compare(claim.effects, results(claim))
    is_joint, measured = rows["task"] == "all", ["size", "low", "high", "seeds"]
    if not np.allclose(rows.loc[is_joint, measured], joint[measured], rtol=1e-9, atol=0, equal_nan=True):
        raise OutdatedError(f"{path.name} does not hold what the results of {claim.id} give")
    rows.loc[is_joint, ["p", "outcome"]] = joint[["p", "outcome"]].to_numpy()
    return rows.astype(joint.dtypes.drop("claim").to_dict()).assign(claim=claim.id)[joint.columns]
