"""The claims of the article: registered in ``data/claims.toml`` before their results, judged by their own rules.

A claim names tasks, arms and effects. An effect compares one arm with another, its control, in one metric, paired by
seed, and is judged against a margin, the size below which nobody would care:

    expect = "greater"      yes where the effect is above the margin, no where it is below it
    expect = "less"         the mirror image: yes below minus the margin, no above that
    expect = "equivalent"   yes where the effect lies within the margin on both sides, no where it lies outside

and open where neither is significant. The verdict follows from the effects: **supported** where all that the claim
lists as ``supported`` came out as listed, else **conditional** where all listed as ``conditional`` did, else
**refuted** where one of ``supported`` came out the other way, else **inconclusive**. A name in these lists stands for
yes, "not name" for no. Seeds are derived from the SHA-256 of the entry and of the tasks it names, so that an edit
changes all its data.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb import statistics, tables
from lookahead_nb.checks import choice, inside, known_keys, real_number, table_of_keys, toml_file, whole_number
from lookahead_nb.metrics import METRICS
from lookahead_nb.problems import Problem, arms_of
from lookahead_nb.trials import Measured, measure

FIELDS = ("section", "article", "prediction", "notebook")
TRIED = ("metrics", "tasks", "arms", "seeds", "budget", "effects", "supported")
OPTIONAL = ("conditional", "condition")
OF_EFFECT = ("name", "metric", "arm", "control", "expect", "margin", "scale", "test", "tasks")
EXPECTED = ("greater", "less", "equivalent")
SCALES = {
    "difference": "the difference arm - control; margin in the units of the metric",
    "ratio": "the ratio arm / control, in logarithms; margin a ratio above 1",
    "of chance": "the difference, as a share of (loss of chance - lowest mean loss of an arm on the task)",
}
TESTS = {  # and the number of seeds, and of tasks, that each needs
    "sign flip": (30, 1),  # paired permutation within tasks, which stand for themselves
    "over tasks": (10, 3),  # Student's t over the means of tasks, which stand for all tasks
    "exact": (1, 1),  # of what is computed without noise
}
LEVEL = 0.05  # of the verdicts, after Holm's correction over the effects of all claims


@dataclass(frozen=True)
class Effect:
    """A comparison that a claim rests on; see the module's docstring and ``SCALES``, ``TESTS``."""

    name: str
    metric: str
    arm: str
    control: str
    expect: str
    margin: float
    scale: str
    test: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Claim:
    """One entry of the register, checked.

    id : str. section : str, of the article. article : str, what it says, in our words. prediction : str, what we expect
    and why. notebook : str. untestable : str, why there is no trial, or "". Else: metrics, tasks : names. problems :
    dict of ``problems.Problem`` by task; arms : dict of ``problems.Arm``; seeds of a result : :meth:`seeds`; budget :
    float, floating-point operations; effects : list; supported, conditional : lists of "name" and "not name";
    condition : str. sha256 : str, of the entry and of its tasks.
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
    arms: dict[str, Any] = field(default_factory=dict, repr=False)
    number_of_seeds: int = 0
    budget: float = 0.0
    effects: tuple[Effect, ...] = ()
    supported: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()
    condition: str = ""
    sha256: str = ""

    def seeds(self, attempt=0):
        """Return the seeds of a result, ints in [2**32, 2**48). attempt : 0 for the registered one, else fresh ones."""
        attempt = whole_number("attempt", attempt, 0)
        digests = (hashlib.sha256(f"{self.sha256} {attempt} {i}".encode()) for i in range(self.number_of_seeds))
        return [2**32 + int.from_bytes(digest.digest()[:6]) % (2**48 - 2**32) for digest in digests]


def read(path=None):
    """Return the claims of a register as a dict from id to :class:`Claim`.

    path : of a TOML file, default ``data/claims.toml`` of the checkout. errors : OSError; ValueError with one sentence
    that names the key.
    """
    written = toml_file(path or tables.checkout() / "data/claims.toml")
    known_keys("", written, ("tasks", *(key for key in written if _is_id(key))))
    tasks = table_of_keys("tasks", written.get("tasks"))
    return {key: _claim(key, entry, tasks) for key, entry in written.items() if key != "tasks"}


def _is_id(key):
    return len(key) == 3 and key[0] == "C" and key[1:].isdigit()


def _claim(key, entry, tasks):
    with inside(key):
        table_of_keys("entry", entry)
        known_keys("", entry, (*FIELDS, *TRIED, *OPTIONAL, "untestable"))
        needed = (*FIELDS, *(("untestable",) if "untestable" in entry else TRIED))
        for name in needed:
            if name not in entry:
                raise ValueError(f"{name} must be given, not missing")
        text = {name: str(entry[name]) for name in FIELDS}
        if "untestable" in entry:
            known_keys("", entry, needed)
            return Claim(key, **text, untestable=entry["untestable"], sha256=_hash(entry, {}))
        problems = {name: Problem.named(name, tasks) for name in entry["tasks"]}
        arms = arms_of(table_of_keys("arms", entry["arms"]))
        _same_number_of_trials(arms)
        for name in entry["metrics"]:
            choice("metrics", name, METRICS)
        effects = tuple(_effect(i, effect, entry, arms) for i, effect in enumerate(entry["effects"]))
        names = [effect.name for effect in effects]
        for rule in ("supported", "conditional"):
            for each in entry.get(rule, []):
                choice(rule, each.removeprefix("not "), names)
        if ("conditional" in entry) != ("condition" in entry):
            raise ValueError("condition must say in words what conditional lists, and neither stand alone")
        seeds = whole_number("seeds", entry["seeds"], 1)
        for effect in effects:
            _enough_seeds(effect, seeds)
        return Claim(
            key, **text, metrics=tuple(entry["metrics"]), tasks=tuple(problems), problems=problems, arms=arms,
            number_of_seeds=seeds, budget=real_number("budget", entry["budget"], 0), effects=effects,
            supported=tuple(entry["supported"]), conditional=tuple(entry.get("conditional", ())),
            condition=entry.get("condition", ""), sha256=_hash(entry, problems),
        )  # fmt: skip


def _hash(entry, problems):
    fields = {name: problem.fields for name, problem in problems.items()}
    return hashlib.sha256(json.dumps([entry, fields], sort_keys=True).encode()).hexdigest()


def _effect(i, table, entry, arms):
    where = f"effects[{i}]"
    table_of_keys(where, table)
    with inside(where):
        known_keys("", table, OF_EFFECT)
        for name in OF_EFFECT[:-1]:
            if name not in table:
                raise ValueError(f"{name} must be given, not missing")
        choice("metric", table["metric"], entry["metrics"])
        choice("arm", table["arm"], arms)
        choice("control", table["control"], arms)
        choice("expect", table["expect"], EXPECTED)
        choice("scale", table["scale"], SCALES)
        choice("test", table["test"], TESTS)
        tasks = tuple(choice("tasks", task, entry["tasks"]) for task in table.get("tasks", entry["tasks"]))
        margin = real_number("margin", table["margin"], 1 if table["scale"] == "ratio" else 0)
        return Effect(**(table | {"tasks": tasks, "margin": margin}))


def _same_number_of_trials(arms):
    numbers = {arm.name: len(arm.trials) for arm in arms.values() if arm.trials}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"arms must all be tuned by the same number of trials, not {numbers}")


def _enough_seeds(effect, seeds):
    least, tasks = TESTS[effect.test]
    if seeds < least:
        raise ValueError(f"seeds must be at least {least} for the test {effect.test!r} of {effect.name!r}, not {seeds}")
    if len(effect.tasks) < tasks:
        raise ValueError(
            f"tasks must be at least {tasks} for the test {effect.test!r} of {effect.name!r}, not {len(effect.tasks)}"
        )


# ------------------------------------------------------------------------------------------------------------ results


def results(claim, part="", *, folder=None):
    """Return the measured runs of a claim from ``folder/ID.csv``, default ``data/results`` of the checkout.

    part : "tuning" for what was tried before. errors : OSError if there are none; ValueError if they belong to another
    entry than the registered one, or were changed after they were written.
    """
    path = (
        Path(folder) if folder else tables.checkout() / "data/results"
    ) / f"{claim.id}{'_' + part if part else ''}.csv"
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
    except OSError:
        raise OSError(
            f"{claim.id} has no results in {path.parent.name}: {path.name} or its manifest is missing"
        ) from None
    if manifest.get("claim") != claim.sha256:
        raise ValueError(
            f"{path.name} must belong to the registered {claim.id} ({claim.sha256[:8]}), not to another entry: "
            "the claim was changed after its results were made"
        )
    return tables.read_table(path)


class Evidence(NamedTuple):
    """What a claim is judged by: ``runs`` and ``tuning`` as in ``trials.Measured``, and where they come from.

    here : list of the tasks that were trained here; committed : of those taken from the committed results; absent : of
    those that are neither at hand nor committed, and without which there is no verdict.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame
    here: list[str]
    committed: list[str]
    absent: list[str]


def evidence(claim, *, full=None):
    """Train a claim's arms here, on the tasks at hand, take the other tasks from the committed results, keep all.

    Tasks whose data must be downloaded are trained only if ``full``. Sweeps resume from ``build/store``, the tables
    ``ID`` and ``ID_tuning`` go to ``build/results``. full : bool, default whether FULL=1 is set. returns : Evidence.
    """
    full = os.environ.get("FULL") == "1" if full is None else full
    problems = claim.problems.items()
    here = [name for name, problem in problems if not problem.needs_download or (full and problem.at_hand)]
    others = [name for name in claim.tasks if name not in here]
    measured = measure(claim, tasks=here, store=tables.build_folder("store"))
    parts, committed = [measured], []
    if others:
        with suppress(OSError):  # not measured yet
            kept = Measured(results(claim), results(claim, part="tuning") if len(measured.tuning) else measured.tuning)
            parts.append(Measured(*(each[each["task"].isin(others)] for each in kept)))
            committed = [name for name in others if name in {*kept.runs["task"]}]
    order = {name: i for i, name in enumerate(claim.tasks)}
    whole = [pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True)]
    runs, tuning = (each.sort_values("task", key=lambda c: c.map(order), kind="stable") for each in whole)
    tables.write_table(runs, claim.id, claim=claim.sha256)
    if len(tuning):
        tables.write_table(tuning, f"{claim.id}_tuning", claim=claim.sha256)
    return Evidence(runs, tuning, here, committed, [name for name in others if name not in committed])


# ------------------------------------------------------------------------------------------------------------ judging


def judge(claim, runs):
    """Return the effects of a claim in measured runs, one row per effect and task, and "all" for the tasks together.

    returns : frame with ``effect``, ``task``, ``size`` (a ratio, a difference, a share) and the ends ``low``, ``high``
    of its interval at 95 in 100, ``p`` (two-sided, of the judgement against the margin), ``outcome`` ("yes", "no",
    "open"), ``seeds``. errors : ValueError for runs that lack an arm or a task.
    """
    rows = []
    for effect in claim.effects:
        for task in ["all", *effect.tasks]:
            tasks = effect.tasks if task == "all" else (task,)
            rows.append({"effect": effect.name, "task": task} | _judged(effect, gaps_of(effect, runs, tasks), task))
    return pd.DataFrame(rows)


def gaps_of(effect, runs, tasks):
    """Return the paired gaps arm - control of an effect on its scale (a ratio as its logarithm), by task and seed."""
    there = runs[runs["task"].isin(tasks)]
    if absent := set(tasks) - {*there["task"]}:
        raise ValueError(f"runs must hold the tasks of {effect.name!r}, and lack {', '.join(sorted(absent))}")
    values = there.assign(value=there[effect.metric])[["task", "arm", "seed", "value"]]
    gaps = statistics.paired(values, effect.arm, effect.control, "log" if effect.scale == "ratio" else "difference")
    if effect.scale == "of chance":
        best = there.groupby(["task", "arm"])[effect.metric].mean().groupby("task").min()
        room = there.groupby("task")["chance"].first() - best
        gaps = gaps / room.loc[gaps.index.get_level_values("task")].to_numpy()
    return gaps


def _judged(effect, gaps, task):
    from scipy.stats import ttest_1samp  # here, since it would double the time to import the package

    margin = float(np.log(effect.margin)) if effect.scale == "ratio" else effect.margin
    if effect.test == "exact":
        size = low = high = float(gaps.mean())
    elif effect.test == "over tasks" and task == "all":
        gaps = statistics.task_means(gaps)
    if effect.test != "exact":
        size, low, high = statistics.student(gaps)

    def p(shift, alternative):
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


def verdict(claim, effects):
    """Return "supported", "conditional", "refuted", "inconclusive" or "not testable here", by the rule of the claim.

    effects : frame of :func:`judge`, or of :func:`judge_all`, whose outcomes also stand Holm's correction.
    """
    if claim.untestable:
        return "not testable here"
    outcomes = effects[effects["task"] == "all"].set_index("effect")["outcome"]

    def holds(each):
        name = each.removeprefix("not ")
        return outcomes[name] == ("yes" if name == each else "no")

    def fails(each):
        name = each.removeprefix("not ")
        return outcomes[name] == ("no" if name == each else "yes")

    if all(map(holds, claim.supported)):
        return "supported"
    if claim.conditional and all(map(holds, claim.conditional)):
        return "conditional"
    return "refuted" if any(map(fails, claim.supported)) else "inconclusive"


def judge_all(register, *, folder=None):
    """Return the effects of all claims that have results, with ``claim``, ``p`` after Holm's correction and outcomes.

    The correction runs over the joint effects ("all") of all claims, each of which is confirmatory; the rows of single
    tasks only describe. register : dict of :func:`read`. errors : those of :func:`results`, but claims without any
    results are left out.
    """
    judged = []
    for claim in register.values():
        if claim.untestable:
            continue
        try:
            runs = results(claim, folder=folder)
        except OSError:
            continue
        judged.append(judge(claim, runs).assign(claim=claim.id))
    if not judged:
        return pd.DataFrame(columns=["claim", "effect", "task", "size", "low", "high", "p", "outcome", "seeds"])
    effects = pd.concat(judged, ignore_index=True)
    joint = effects["task"] == "all"
    effects.loc[joint, "p"] = statistics.holm(effects.loc[joint, "p"])
    effects.loc[joint & (effects["p"] > LEVEL), "outcome"] = "open"
    return effects[["claim", *effects.columns.drop("claim")]]
