"""The article's claims, registered in ``data/claims.toml`` ahead of their results and judged by their own rules.

A claim names tasks, arms and effects. An effect compares one arm with another, its control, in one metric. The runs are
paired by seed, and the effect is judged against a margin: the size below which nobody would care.

    expect = "greater"      yes if the effect is above the margin, no if it is below the margin
    expect = "less"         the mirror image: yes below minus the margin, no above it
    expect = "equivalent"   yes if the effect lies within the margin on both sides, no if it lies outside

The outcome is "open" if neither is significant. An effect may name other tasks in "against". It is then an interaction:
how much more the arm differs from its control on its own tasks than on those.

The verdict follows from the outcomes, checked in this order:

1. "supported" if every effect listed as ``supported`` came out as listed;
2. "conditional" if every effect listed as ``conditional`` did;
3. "refuted" if one of ``supported`` came out the other way;
4. "inconclusive" otherwise.

A name in these lists stands for yes, "not name" for no. Seeds are derived from the SHA-256 of the entry and of the
tasks it names, so an edit changes all data of the claim.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb import statistics, tables
from lookahead_nb.checks import (
    choice,
    inside,
    known_keys,
    names,
    real_number,
    table_of_keys,
    text,
    toml_file,
    whole_number,
)
from lookahead_nb.metrics import METRICS
from lookahead_nb.problems import ARM_PARAMETERS, TASK_PARAMETERS, Arm, Problem, arms_of, with_parameters
from lookahead_nb.trials import Measured, measure

FIELDS = ("section", "article", "prediction", "notebook")
TRIED = ("metrics", "tasks", "arms", "seeds", "budget", "effects", "supported")
OPTIONAL = ("conditional", "condition")
OF_EFFECT = ("name", "metric", "arm", "control", "expect", "margin", "scale", "test")
CHOSEN = ("tasks", "against")  # for an effect
EXPECTED = ("greater", "less", "equivalent")
SCALES = {
    "difference": "the difference arm - control; margin in the units of the metric",
    "ratio": "the ratio arm / control, in logarithms; margin a ratio above 1, of which 'less' takes the inverse",
    "of chance": "the difference of losses, as a share of (loss of chance - lowest mean loss of an arm on the task)",
}
TESTS = {  # with the least number of seeds and of tasks
    "sign flip": (30, 1),  # paired permutation within tasks, which stand for themselves
    "over tasks": (10, 3),  # Student's t over the means of tasks, which stand for all tasks
    "exact": (1, 1),  # for what is computed or trained without noise
}
VERDICTS = ("supported", "conditional", "refuted", "inconclusive", "not testable here", "no results yet")
LEVEL = 0.05  # of the verdicts, after Holm's correction over the effects of all claims


class OutdatedError(ValueError):
    """The committed table of verdicts does not belong to the register and its results."""


@dataclass(frozen=True)
class Effect:
    """A comparison that a claim rests on; the module's docstring explains how it is judged.

    Attributes
    ----------
    name : str
        Unique within the claim.
    metric : str
        A key of ``metrics.METRICS``.
    arm, control : str
        Two different arms of the claim.
    expect : {"greater", "less", "equivalent"}
        What the claim predicts.
    margin : float
        Above 0; above 1 on the scale "ratio".
    scale : str
        A key of ``SCALES``.
    test : str
        A key of ``TESTS``.
    tasks : tuple of str
        The tasks on which the arms are compared.
    against : tuple of str
        As many tasks as ``tasks``, in the same order. Their gaps are subtracted by seed. Default: none.
    """

    name: str
    metric: str
    arm: str
    control: str
    expect: str
    margin: float
    scale: str
    test: str
    tasks: tuple[str, ...]
    against: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Claim:
    """One checked entry of the register.

    Attributes
    ----------
    id : str
        "C" and two digits.
    section : str
        The section of the article.
    article : str
        What the article says, in our words.
    prediction : str
        What we expect and why.
    notebook : str
        The name of the claim's notebook.
    untestable : str
        Why there is no trial, or "". The fields from ``metrics`` to ``condition`` are empty without a trial.
    metrics, tasks : tuple of str
        Names of metrics and tasks.
    problems : dict of str to Problem
        The problem of each task.
    arms : dict of str to Arm
        The arms by name.
    number_of_seeds : int
        Seeds per arm and task.
    budget : float
        Upper bound of ``trials.operations``, in floating-point operations, on the tasks that need no download.
    effects : tuple of Effect
        The registered comparisons.
    supported, conditional : tuple of str
        "name" and "not name" of effects.
    condition : str
        The condition of a conditional verdict, in words, or "".
    sha256 : str
        Hash of the entry and of its tasks, as hex digits.
    advice : str
        What a reader may do. It is written after the result and is no part of the hash.
    """

    id: str
    section: str
    article: str
    prediction: str
    notebook: str
    untestable: str = ""
    metrics: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    problems: dict[str, Problem] = field(default_factory=dict, repr=False)
    arms: dict[str, Arm] = field(default_factory=dict, repr=False)
    number_of_seeds: int = 0
    budget: float = 0.0
    effects: tuple[Effect, ...] = ()
    supported: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()
    condition: str = ""
    sha256: str = ""
    advice: str = ""

    @property
    def bundled(self) -> tuple[str, ...]:
        """Names of the tasks that need no download."""
        return tuple(name for name, problem in self.problems.items() if not problem.needs_download)

    @property
    def tuned(self) -> bool:
        """Whether any arm is tuned."""
        return any(arm.trials for arm in self.arms.values())

    def seeds(self, attempt: int = 0) -> list[int]:
        """Return the seeds of a result.

        Parameters
        ----------
        attempt : int, default 0
            At least 0. 0 gives the registered seeds, any other number fresh ones.

        Returns
        -------
        list of int
            ``number_of_seeds`` seeds in [2**32, 2**48).

        Raises
        ------
        TypeError, ValueError
            If attempt is no int or is negative.
        """
        return seeds_of(self.sha256, self.number_of_seeds, attempt)


def seeds_of(sha256: str, number: int, attempt: int = 0) -> list[int]:
    """Return seeds that follow from a hash and the number of the attempt.

    Parameters
    ----------
    sha256 : str
        Hex digits.
    number : int
        How many seeds.
    attempt : int, default 0
        At least 0.

    Returns
    -------
    list of int
        Seeds in [2**32, 2**48).

    Raises
    ------
    TypeError, ValueError
        If attempt is no int or is negative.

    Examples
    --------
    >>> seeds_of("00", 2) == seeds_of("00", 2)
    True
    >>> seeds_of("00", 2) == seeds_of("00", 2, attempt=1)
    False
    """
    attempt = whole_number("attempt", attempt, 0)
    digests = (hashlib.sha256(f"{sha256} {attempt} {i}".encode()) for i in range(number))
    return [2**32 + int.from_bytes(digest.digest()[:6]) % (2**48 - 2**32) for digest in digests]


def read(path: str | Path | None = None) -> dict[str, Claim]:
    """Read a register of claims.

    Parameters
    ----------
    path : path, optional
        A TOML file; default ``data/claims.toml`` of the checkout.

    Returns
    -------
    dict of str to Claim
        The claims by id, in the order of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If an entry is wrong; the sentence names the key.

    Examples
    --------
    >>> read()["C01"].section
    '8.1'
    """
    written = toml_file(path or tables.checkout() / "data/claims.toml")
    ids = [key for key in written if len(key) == 3 and key[0] == "C" and key[1:].isdigit()]
    known_keys("", written, ("tasks", "advice", *(ids or ["C01"])))
    tasks = table_of_keys("tasks", written.get("tasks"))
    advice = table_of_keys("advice", written.get("advice", {}))
    known_keys("advice.", advice, ids)
    return {key: replace(_claim(key, written[key], tasks), advice=_advice(key, advice)) for key in ids}


def _advice(key: str, advice: dict[str, Any]) -> str:
    words = text(f"advice.{key}", advice[key]) if key in advice else ""
    if any(letter.isdigit() for letter in words):
        raise ValueError(f"advice.{key} must be words without numbers, which the results give, not {words!r}")
    return words


def _claim(key: str, entry: dict[str, Any], tasks: dict[str, Any]) -> Claim:
    table_of_keys(key, entry)
    with inside(key):
        known_keys("", entry, (*FIELDS, *TRIED, *OPTIONAL, "untestable"))
        needed = (*FIELDS, *(("untestable",) if "untestable" in entry else TRIED))
        for name in needed:
            if name not in entry:
                raise ValueError(f"{name} must be given, not missing")
        described: dict[str, Any] = {name: text(name, entry[name]) for name in FIELDS}
        if "untestable" in entry:
            known_keys("", entry, needed)
            reason = text("untestable", entry["untestable"])
            return Claim(key, **described, untestable=reason, sha256=_hash(entry, {}))
        metrics = tuple(choice("metrics", name, METRICS) for name in names("metrics", entry["metrics"]))
        problems = {name: Problem.named(name, tasks) for name in names("tasks", entry["tasks"])}
        with inside("arms"):
            arms = arms_of(entry["arms"])
            for arm in arms.values():
                with inside(arm.name):
                    _check_arm(arm, problems, arms)
        seeds, budget = whole_number("seeds", entry["seeds"], 1), real_number("budget", entry["budget"], 0)
        effects = _effects(entry["effects"], metrics, problems, arms, seeds)
        rules = {name: _rule(name, entry[name], effects) for name in ("supported", "conditional") if name in entry}
        if ("conditional" in entry) != ("condition" in entry):
            raise ValueError("condition must come with conditional, and say in words what that lists")
        condition = text("condition", entry["condition"]) if "condition" in entry else ""
        return Claim(
            key, **described, metrics=metrics, tasks=tuple(problems), problems=problems, arms=arms,
            number_of_seeds=seeds, budget=budget, effects=effects, supported=rules["supported"],
            conditional=rules.get("conditional", ()), condition=condition, sha256=_hash(entry, problems),
        )  # fmt: skip


def _check_arm(arm: Arm, problems: dict[str, Problem], arms: dict[str, Arm]) -> None:
    for task in arm.fields.get("tasks", problems):
        arm.check(problems[choice("tasks", task, problems)])
        if arm.rate_of and not arms[arm.rate_of].is_on(task):
            raise ValueError(f"lr must be that of an arm on the same tasks, which {arm.rate_of!r} is not: {task!r}")


def _hash(entry: dict[str, Any], problems: dict[str, Problem]) -> str:
    fields = {name: problem.fields for name, problem in problems.items()}
    return hashlib.sha256(json.dumps([entry, fields], sort_keys=True).encode()).hexdigest()


def _rule(name: str, listed: list[str], effects: tuple[Effect, ...]) -> tuple[str, ...]:
    for item in names(name, listed):
        choice(name, item.removeprefix("not "), [effect.name for effect in effects])
        if f"not {item}" in listed:
            raise ValueError(f"{name} must not hold {item!r} and its contrary")
    return tuple(listed)


def _effects(
    listed: Any, metrics: tuple[str, ...], problems: dict[str, Problem], arms: dict[str, Arm], seeds: int
) -> tuple[Effect, ...]:
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"effects must hold at least one table, not {listed!r}")
    effects: list[Effect] = []
    for i, table in enumerate(listed):
        table_of_keys(f"effects[{i}]", table)
        with inside(f"effects[{i}]"):
            effect = _effect(table, metrics, problems, arms, seeds)
            if effect.name in [other.name for other in effects]:
                raise ValueError(f"name must be that of no other effect, not {effect.name!r}")
        effects.append(effect)
    return tuple(effects)


def _effect(
    table: dict[str, Any], metrics: tuple[str, ...], problems: dict[str, Problem], arms: dict[str, Arm], seeds: int
) -> Effect:
    known_keys("", table, (*OF_EFFECT, *CHOSEN))
    for name in OF_EFFECT:
        if name not in table:
            raise ValueError(f"{name} must be given, not missing")
    if text("name", table["name"]).startswith("not "):
        raise ValueError(f"name must not begin with 'not', which stands for its contrary, not be {table['name']!r}")
    metric = METRICS[choice("metric", table["metric"], metrics)]
    if choice("control", table["control"], arms) == choice("arm", table["arm"], arms):
        raise ValueError(f"control must be another arm than {table['arm']!r}")
    choice("expect", table["expect"], EXPECTED)
    scale, test = choice("scale", table["scale"], SCALES), choice("test", table["test"], TESTS)
    margin = real_number("margin", table["margin"], 1 if scale == "ratio" else 0, open_low=True)
    tasks = names("tasks", table.get("tasks", [*problems]))
    against = names("against", table["against"]) if "against" in table else ()
    if against and len(against) != len(tasks):
        raise ValueError(f"against must hold as many tasks as tasks, {len(tasks)}, not {len(against)}")
    for key, task in [
        *(("tasks", task_name) for task_name in tasks),
        *(("against", task_name) for task_name in against),
    ]:
        problem = problems[choice(key, task, problems)]
        for part in ("arm", "control"):
            if not arms[table[part]].is_on(task):
                raise ValueError(f"{part} must be trained on the task {task!r}, which {table[part]!r} is not")
        if not metric.fits(problem):
            raise ValueError(f"metric {table['metric']!r} needs {metric.needs}, which the task {task!r} has not")
        if scale == "of chance" and problem.on_landscape:
            raise ValueError(f"scale 'of chance' needs a loss of chance, which the landscape {task!r} has not")
        without_noise = metric.exact or problem.noiseless
        if without_noise != (test == "exact"):
            allowed = "'exact' where there is no noise" if without_noise else "another where there is noise"
            raise ValueError(f"test must be {allowed}, as in {table['metric']!r} on the task {task!r}, not {test!r}")
    least_seeds, least_tasks = TESTS[test]
    if seeds < least_seeds:
        raise ValueError(f"test {test!r} needs at least {least_seeds} seeds, not {seeds}")
    if len(tasks) < least_tasks:
        raise ValueError(f"test {test!r} needs at least {least_tasks} tasks, not {len(tasks)}")
    return Effect(**(table | {"tasks": tasks, "against": against, "margin": margin}))


# ------------------------------------------------------------------------------------------------------------ results


def results(claim: Claim, part: str = "", *, folder: str | Path | None = None) -> pd.DataFrame:
    """Return the measured runs of a claim from ``folder/ID.csv``.

    The runs get the parameters of their tasks and arms as columns, which the file does not hold.

    Parameters
    ----------
    claim : Claim
        The claim.
    part : {"", "tuning"}
        "" for the runs, "tuning" for the trials of the tuned arms.
    folder : path, optional
        Default ``data/results`` of the checkout.

    Returns
    -------
    DataFrame
        As in ``trials.Measured``.

    Raises
    ------
    OSError
        If the claim has no results.
    ValueError
        If the results belong to another entry than the registered one, were changed after they were written, or lack
        the table or the manifest.
    """
    table = _table_of(claim, part, folder)
    return table if part else with_parameters(table, claim.problems, claim.arms)


def _table_of(claim: Claim, part: str = "", folder: str | Path | None = None) -> pd.DataFrame:
    """Return a table of a claim as it was written."""
    return tables.read_table(_results_path(claim, part, folder))


def _results_path(claim: Claim, part: str = "", folder: str | Path | None = None) -> Path:
    """Return the path of the results of a claim, once their manifest names the registered entry."""
    folder = Path(folder) if folder else tables.checkout() / "data/results"
    path = folder / f"{claim.id}{part and '_'}{part}.csv"
    files = [file for file in (path, path.with_suffix(".json")) if file.is_file()]
    if not files:
        raise OSError(f"{claim.id} has no results in {folder.name}: {path.stem}.json is missing")
    if len(files) == 1:
        raise ValueError(f"{files[0].name} must come as a table with a manifest, one of which is missing")
    manifest = json.loads(path.with_suffix(".json").read_text())
    if manifest.get("claim") != claim.sha256:
        raise ValueError(
            f"{path.name} must belong to the registered {claim.id} ({claim.sha256[:8]}), not to another entry: "
            "the claim was changed after its results were made"
        )
    return path


class Evidence(NamedTuple):
    """What a claim is judged by and its origin; as text, the three lists of tasks.

    Attributes
    ----------
    runs, tuning : DataFrame
        As in ``trials.Measured``.
    here : list of str
        The tasks that were trained on this machine.
    committed : list of str
        The tasks taken from the committed results.
    absent : list of str
        The tasks that are neither available offline nor committed. Without them there is no verdict.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame
    here: list[str]
    committed: list[str]
    absent: list[str]

    def __str__(self) -> str:
        kinds = {"trained here": self.here, "from the committed results": self.committed, "absent": self.absent}
        return "; ".join(f"{kind}: {', '.join(listed) or 'none'}" for kind, listed in kinds.items())


def evidence(claim: Claim, *, full: bool | None = None) -> Evidence:
    """Train the arms of a claim on the tasks available offline and take the other tasks from the committed results.

    Tasks whose data must be downloaded are trained only if ``full``. Sweeps resume from ``build/store``; the tables
    ``ID`` and ``ID_tuning`` are written to ``build/results``.

    Parameters
    ----------
    claim : Claim
        The claim.
    full : bool, optional
        Default: whether the environment variable FULL is 1.

    Returns
    -------
    Evidence
        The runs of all tasks and where they come from.

    Raises
    ------
    TypeError, ValueError, MemoryError
        Those of ``sweep``; ValueError also for committed results that are needed and belong to another entry.
    """
    trained = tasks_at_hand(claim, full=full)
    others, stored = [name for name in claim.tasks if name not in trained], list[pd.DataFrame]()
    if others:
        with suppress(OSError):  # not measured yet
            stored = [_table_of(claim), _table_of(claim, "tuning") if claim.tuned else pd.DataFrame({"task": []})]
    measured = measure(claim, tasks=trained, store=tables.build_folder("store"))
    measured = measured._replace(runs=measured.runs.drop(columns=[*TASK_PARAMETERS, *ARM_PARAMETERS]))
    committed = [name for name in others if stored and name in {*stored[0]["task"]}]
    if committed:
        measured = _joined(measured, stored, committed, claim.tasks)
    for name, table in {claim.id: measured.runs, f"{claim.id}_tuning": measured.tuning}.items():
        if len(table):
            tables.write_table(table, name, claim=claim.sha256)
    absent = [name for name in others if name not in committed]
    runs = with_parameters(measured.runs, claim.problems, claim.arms)
    return Evidence(runs, measured.tuning, trained, committed, absent)


def tasks_at_hand(claim: Claim, *, full: bool | None = None) -> list[str]:
    """Return the tasks of a claim that are trained on this machine.

    These are the tasks that need no download and, if ``full``, all whose data is available offline.

    Parameters
    ----------
    claim : Claim
        The claim.
    full : bool, optional
        Default: whether the environment variable FULL is 1.

    Returns
    -------
    list of str
        Names of tasks, in the order of the claim.
    """
    full = os.environ.get("FULL") == "1" if full is None else full
    problems = claim.problems.items()
    return [name for name, problem in problems if not problem.needs_download or (full and problem.at_hand)]


def _joined(measured: Measured, stored: list[pd.DataFrame], tasks: list[str], order: tuple[str, ...]) -> Measured:
    """Append the stored rows of these tasks to the measured ones, in the order of all tasks."""
    parts = [(new, old[old["task"].isin(tasks)]) for new, old in zip(measured, stored, strict=True)]
    whole = [pd.concat([part for part in both if len(part)] or both[:1]) for both in parts]
    place = {name: i for i, name in enumerate(order)}
    return Measured(
        *(table.sort_values("task", key=lambda c: c.map(place), kind="stable", ignore_index=True) for table in whole)
    )


# ------------------------------------------------------------------------------------------------------------ judging


def on_tasks(claim: Claim, tasks: Iterable[str]) -> Claim:
    """Return a claim whose effects are restricted to some of its tasks.

    Effects that cannot be tested on the remaining tasks are dropped.

    Parameters
    ----------
    claim : Claim
        The claim.
    tasks : iterable of str
        Names of tasks to keep.

    Returns
    -------
    Claim
        A changed copy.
    """
    tasks = {*tasks}
    effects = [_on_tasks(effect, tasks) for effect in claim.effects]
    return replace(claim, effects=tuple(effect for effect in effects if len(effect.tasks) >= TESTS[effect.test][1]))


def _on_tasks(effect: Effect, tasks: set[str]) -> Effect:
    pairs = [pair for pair in zip(effect.tasks, effect.against or effect.tasks, strict=True) if {*pair} <= tasks]
    columns = [tuple(column) for column in zip(*pairs, strict=True)] or [(), ()]
    return replace(effect, tasks=columns[0], against=columns[1] if effect.against else ())


def judge(claim: Claim, runs: pd.DataFrame) -> pd.DataFrame:
    """Judge the effects of a claim in measured runs.

    Parameters
    ----------
    claim : Claim
        The claim.
    runs : DataFrame
        As in ``trials.Measured``.

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
    return compare(claim.effects, runs)


def compare(effects: Iterable[Effect], runs: pd.DataFrame, *, by_task: bool = True) -> pd.DataFrame:
    """Judge any effects as :func:`judge` does.

    Parameters
    ----------
    effects : iterable of Effect
        The effects.
    runs : DataFrame
        As in ``trials.Measured``.
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
        As in ``trials.Measured``.
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
    from scipy.stats import ttest_1samp  # imported late: it would double the import time of the package

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
    if claim.untestable:
        return "not testable here"
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
    by_task, path = {*by_task}, tables.checkout() / "data/results/verdicts.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
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
