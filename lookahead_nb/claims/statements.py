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
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lookahead_nb import provenance as tables
from lookahead_nb.checks import meant, of_type, real_number, user_path, whole_number
from lookahead_nb.claims.arms import Arm, arms_of
from lookahead_nb.claims.metrics import METRICS
from lookahead_nb.claims.population import seeds_of
from lookahead_nb.claims.tasks import Problem
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys, text, toml_file

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
        "C" and two digits, such as "C05".
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
        Upper bound of ``measure.operations``, in floating-point operations, on the tasks that need no download.
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


def read(path: str | Path | None = None) -> dict[str, Claim]:
    """Read a register of claims.

    Parameters
    ----------
    path : path, optional
        A TOML file, in any folder; default ``data/claims.toml`` of the checkout. It has tables ``[tasks.NAME]``, and
        one for each claim, with an id of "C" and two digits such as ``[C01]``.

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
    written = toml_file(tables.committed("data/claims.toml") if path is None else user_path("path", path))
    ids = [key for key in written if len(key) == 3 and key[0] == "C" and key[1:].isdigit()]
    for key in [key for key in written if key not in ("tasks", "advice", *ids)]:
        kinds = "tasks, advice, or the id of a claim: C and two digits, such as C01"
        raise ValueError(f"{key} is not known{meant(key, ('tasks', 'advice', *ids))}: a table must be {kinds}")
    tasks = table_of_keys("tasks", written.get("tasks"))
    advice = table_of_keys("advice", written.get("advice", {}))
    known_keys("advice.", advice, ids)
    return {key: replace(_claim(key, written[key], tasks), advice=_advice(key, advice)) for key in ids}


def _advice(key: str, advice: dict[str, Any]) -> str:
    words = text(f"advice.{key}", advice[key]) if key in advice else ""
    if any(letter.isdigit() for letter in words):
        raise ValueError(f"advice.{key} must be words without numbers, which the results give, got {words!r}")
    return words


def _claim(key: str, entry: dict[str, Any], tasks: dict[str, Any]) -> Claim:
    table_of_keys(key, entry)
    with inside(key):
        known_keys("", entry, (*FIELDS, *TRIED, *OPTIONAL, "untestable"))
        needed = (*FIELDS, *(("untestable",) if "untestable" in entry else TRIED))
        for name in needed:
            if name not in entry:
                raise ValueError(f"{name} must be given, got nothing")
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
        raise ValueError(f"effects must hold at least one table, got {listed!r}")
    effects: list[Effect] = []
    for i, table in enumerate(listed):
        table_of_keys(f"effects[{i}]", table)
        with inside(f"effects[{i}]"):
            effect = _effect(table, metrics, problems, arms, seeds)
            if effect.name in [other.name for other in effects]:
                raise ValueError(f"name must be that of no other effect, got {effect.name!r}")
        effects.append(effect)
    return tuple(effects)


def _effect(
    table: dict[str, Any], metrics: tuple[str, ...], problems: dict[str, Problem], arms: dict[str, Arm], seeds: int
) -> Effect:
    known_keys("", table, (*OF_EFFECT, *CHOSEN))
    for name in OF_EFFECT:
        if name not in table:
            raise ValueError(f"{name} must be given, got nothing")
    if text("name", table["name"]).startswith("not "):
        raise ValueError(f"name must not begin with 'not', which negates an effect, got {table['name']!r}")
    metric = METRICS[choice("metric", table["metric"], metrics)]
    if choice("control", table["control"], arms) == choice("arm", table["arm"], arms):
        raise ValueError(f"control must be another arm than {table['arm']!r}")
    choice("expect", table["expect"], EXPECTED)
    scale, test = choice("scale", table["scale"], SCALES), choice("test", table["test"], TESTS)
    margin = real_number("margin", table["margin"], 1 if scale == "ratio" else 0, open_low=True)
    tasks = names("tasks", table.get("tasks", [*problems]))
    against = names("against", table["against"]) if "against" in table else ()
    if against and len(against) != len(tasks):
        raise ValueError(f"against must hold as many tasks as tasks, {len(tasks)}, got {len(against)}")
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
            raise ValueError(f"test must be {allowed}, as in {table['metric']!r} on the task {task!r}, got {test!r}")
    least_seeds, least_tasks = TESTS[test]
    if seeds < least_seeds:
        raise ValueError(f"test {test!r} needs at least {least_seeds} seeds, got {seeds}")
    if len(tasks) < least_tasks:
        raise ValueError(f"test {test!r} needs at least {least_tasks} tasks, got {len(tasks)}")
    return Effect(**(table | {"tasks": tasks, "against": against, "margin": margin}))


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
    of_type("claim", claim, Claim, "a claim such as claims.read returns")
    tasks = {*tasks}
    effects = [_on_tasks(effect, tasks) for effect in claim.effects]
    return replace(claim, effects=tuple(effect for effect in effects if len(effect.tasks) >= TESTS[effect.test][1]))


def _on_tasks(effect: Effect, tasks: set[str]) -> Effect:
    pairs = [pair for pair in zip(effect.tasks, effect.against or effect.tasks, strict=True) if {*pair} <= tasks]
    columns = [tuple(column) for column in zip(*pairs, strict=True)] or [(), ()]
    return replace(effect, tasks=columns[0], against=columns[1] if effect.against else ())
