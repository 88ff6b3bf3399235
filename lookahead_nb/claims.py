"""The claims of the article: registered in ``data/claims.toml`` before their results, judged by their own rules.

A claim names tasks, arms and effects. An effect compares one arm with another, its control, in one metric, paired by
seed, and is judged against a margin, the size below which nobody would care:

    expect = "greater"      yes where the effect is above the margin, no where it is below it
    expect = "less"         the mirror image: yes below minus the margin, no above that
    expect = "equivalent"   yes where the effect lies within the margin on both sides, no where it lies outside

and open where neither is significant. An effect may stand "against" other tasks: then it is how much more the arm
differs from its control on its own tasks than on those, an interaction.

The verdict follows from the effects: "supported" where all that the claim lists as ``supported`` came out as listed,
else "conditional" where all listed as ``conditional`` did, else "refuted" where one of ``supported`` came out the
other way, else "inconclusive". A name in these lists stands for yes, "not name" for no. Seeds are derived from the
SHA-256 of the entry and of the tasks it names, so that an edit changes all its data.

claim : :class:`Claim`; effect : :class:`Effect`; effects : frame of :func:`judge` or :func:`judge_all`, the outcomes of
which also stand Holm's correction; runs : frame as in ``trials.Measured``.
"""

from __future__ import annotations

import hashlib
import json
import os
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
from lookahead_nb.problems import Problem, arms_of
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
TESTS = {  # and the number of seeds, and of tasks, that each needs
    "sign flip": (30, 1),  # paired permutation within tasks, which stand for themselves
    "over tasks": (10, 3),  # Student's t over the means of tasks, which stand for all tasks
    "exact": (1, 1),  # of what is computed, or moves, without noise
}
VERDICTS = ("supported", "conditional", "refuted", "inconclusive", "not testable here", "no results yet")
LEVEL = 0.05  # of the verdicts, after Holm's correction over the effects of all claims


class OutdatedError(ValueError):
    """The committed table of verdicts does not belong to the register and its results."""


@dataclass(frozen=True)
class Effect:
    """A comparison that a claim rests on; see the module's docstring.

    name : str. metric : str, a key of ``metrics.METRICS``. arm, control : str, two arms of the claim. expect :
    "greater", "less" or "equivalent". margin : float above 0, on a scale of ratios above 1. scale : str, a key of
    ``SCALES``; test : str, one of ``TESTS``. tasks : tuple of names. against : as many tasks as ``tasks``, whose gaps
    are taken from theirs, in this order and by seed; or none.
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
    """One entry of the register, checked.

    id : str. section : str, of the article. article : str, what it says, in our words. prediction : str, what we expect
    and why. notebook : str. untestable : str, why there is no trial, or "". The rest is empty where there is none.
    metrics, tasks : tuple of names; problems : dict of ``problems.Problem`` by task; arms : dict of ``problems.Arm``;
    number_of_seeds : int; budget : float, floating-point operations of ``trials.operations`` on the tasks that need no
    download; effects : tuple; supported, conditional : "name" and "not name" of effects; condition : str. sha256 : str,
    of the entry and of its tasks. advice : str, what a reader may do, written after the result and no part of the hash.
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
    advice: str = ""

    @property
    def bundled(self):
        """The tasks that need no download, a tuple of names."""
        return tuple(name for name, problem in self.problems.items() if not problem.needs_download)

    @property
    def tuned(self):
        """Whether any arm is tuned."""
        return any(arm.trials for arm in self.arms.values())

    def seeds(self, attempt=0):
        """Return the seeds of a result, ints in [2**32, 2**48).

        attempt : int, 0 for the registered one, else fresh ones. errors : TypeError, ValueError.
        """
        return seeds_of(self.sha256, self.number_of_seeds, attempt)


def seeds_of(sha256, number, attempt=0):
    """Return so many seeds, ints in [2**32, 2**48), that follow from a hash and the number of the attempt.

    sha256 : str, hex digits; number : int, how many; attempt : int, at least 0. errors : TypeError, ValueError.
    """
    attempt = whole_number("attempt", attempt, 0)
    digests = (hashlib.sha256(f"{sha256} {attempt} {i}".encode()) for i in range(number))
    return [2**32 + int.from_bytes(digest.digest()[:6]) % (2**48 - 2**32) for digest in digests]


def read(path=None):
    """Return the claims of a register as a dict from id to :class:`Claim`.

    path : of a TOML file, default ``data/claims.toml`` of the checkout. errors : OSError; ValueError with one sentence
    that names the key.
    """
    written = toml_file(path or tables.checkout() / "data/claims.toml")
    ids = [key for key in written if len(key) == 3 and key[0] == "C" and key[1:].isdigit()]
    known_keys("", written, ("tasks", "advice", *(ids or ["C01"])))
    tasks = table_of_keys("tasks", written.get("tasks"))
    advice = table_of_keys("advice", written.get("advice", {}))
    known_keys("advice.", advice, ids)
    return {key: replace(_claim(key, written[key], tasks), advice=_advice(key, advice)) for key in ids}


def _advice(key, advice):
    words = text(f"advice.{key}", advice[key]) if key in advice else ""
    if any(letter.isdigit() for letter in words):
        raise ValueError(f"advice.{key} must be words without numbers, which the results give, not {words!r}")
    return words


def _claim(key, entry, tasks):
    table_of_keys(key, entry)
    with inside(key):
        known_keys("", entry, (*FIELDS, *TRIED, *OPTIONAL, "untestable"))
        needed = (*FIELDS, *(("untestable",) if "untestable" in entry else TRIED))
        for name in needed:
            if name not in entry:
                raise ValueError(f"{name} must be given, not missing")
        told: dict[str, Any] = {name: text(name, entry[name]) for name in FIELDS}
        if "untestable" in entry:
            known_keys("", entry, needed)
            why = text("untestable", entry["untestable"])
            return Claim(key, **told, untestable=why, sha256=_hash(entry, {}))
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
            raise ValueError("condition must say in words what conditional lists, and neither stand alone")
        condition = text("condition", entry["condition"]) if "condition" in entry else ""
        return Claim(
            key, **told, metrics=metrics, tasks=tuple(problems), problems=problems, arms=arms, number_of_seeds=seeds,
            budget=budget, effects=effects, **rules, condition=condition, sha256=_hash(entry, problems),
        )  # fmt: skip


def _check_arm(arm, problems, arms):
    for task in arm.fields.get("tasks", problems):
        arm.check(problems[choice("tasks", task, problems)])
        if arm.rate_of and not arms[arm.rate_of].is_on(task):
            raise ValueError(f"lr must be that of an arm on the same tasks, which {arm.rate_of!r} is not: {task!r}")


def _hash(entry, problems):
    fields = {name: problem.fields for name, problem in problems.items()}
    return hashlib.sha256(json.dumps([entry, fields], sort_keys=True).encode()).hexdigest()


def _rule(name, listed, effects):
    for each in names(name, listed):
        choice(name, each.removeprefix("not "), [effect.name for effect in effects])
        if f"not {each}" in listed:
            raise ValueError(f"{name} must not hold {each!r} and its contrary")
    return tuple(listed)


def _effects(listed, metrics, problems, arms, seeds):
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


def _effect(table, metrics, problems, arms, seeds):
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
    for key, task in [*(("tasks", each) for each in tasks), *(("against", each) for each in against)]:
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
            told = "'exact' where there is no noise" if without_noise else "another where there is noise"
            raise ValueError(f"test must be {told}, as in {table['metric']!r} on the task {task!r}, not {test!r}")
    least_seeds, least_tasks = TESTS[test]
    if seeds < least_seeds:
        raise ValueError(f"test {test!r} needs at least {least_seeds} seeds, not {seeds}")
    if len(tasks) < least_tasks:
        raise ValueError(f"test {test!r} needs at least {least_tasks} tasks, not {len(tasks)}")
    return Effect(**(table | {"tasks": tasks, "against": against, "margin": margin}))


# ------------------------------------------------------------------------------------------------------------ results


def results(claim, part="", *, folder=None):
    """Return the measured runs of a claim from ``folder/ID.csv``, default ``data/results`` of the checkout.

    part : "" or "tuning" for what was tried before. folder : path. errors : OSError if there are none; ValueError if
    they belong to another entry than the registered one, were changed after they were written, or lack the table or
    the manifest.
    """
    return tables.read_table(_results_path(claim, part, folder))


def _results_path(claim, part="", folder=None):
    """Return the path of the results of a claim, once their manifest names the registered entry."""
    folder = Path(folder) if folder else tables.checkout() / "data/results"
    path = folder / f"{claim.id}{part and '_'}{part}.csv"
    there = [each for each in (path, path.with_suffix(".json")) if each.is_file()]
    if not there:
        raise OSError(f"{claim.id} has no results in {folder.name}: {path.stem}.json is missing")
    if len(there) == 1:
        raise ValueError(f"{there[0].name} must lie beside its table and manifest, the other of which is missing")
    manifest = json.loads(path.with_suffix(".json").read_text())
    if manifest.get("claim") != claim.sha256:
        raise ValueError(
            f"{path.name} must belong to the registered {claim.id} ({claim.sha256[:8]}), not to another entry: "
            "the claim was changed after its results were made"
        )
    return path


class Evidence(NamedTuple):
    """What a claim is judged by, and where it comes from.

    runs, tuning : as in ``trials.Measured``. here : list of the tasks that were trained here; committed : of those
    taken from the committed results; absent : of those that are neither at hand nor committed, and without which there
    is no verdict. As text: these three lists.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame
    here: list[str]
    committed: list[str]
    absent: list[str]

    def __str__(self):
        kinds = {"trained here": self.here, "from the committed results": self.committed, "absent": self.absent}
        return "; ".join(f"{kind}: {', '.join(listed) or 'none'}" for kind, listed in kinds.items())


def evidence(claim, *, full=None):
    """Train a claim's arms here, on the tasks at hand, take the other tasks from the committed results, keep all.

    Tasks whose data must be downloaded are trained only if ``full``. Sweeps resume from ``build/store``, the tables
    ``ID`` and ``ID_tuning`` go to ``build/results``. full : bool, default whether FULL=1 is set. returns : Evidence.
    errors : those of ``sweep``; ValueError for committed results that are needed and belong to another entry.
    """
    here = tasks_at_hand(claim, full=full)
    others, kept = [name for name in claim.tasks if name not in here], None
    if others:
        with suppress(OSError):  # not measured yet
            kept = [results(claim), results(claim, "tuning") if claim.tuned else pd.DataFrame({"task": []})]
    measured = measure(claim, tasks=here, store=tables.build_folder("store"))
    committed = [name for name in others if kept and name in {*kept[0]["task"]}]
    if committed:
        measured = _joined(measured, kept, committed, claim.tasks)
    for name, table in {claim.id: measured.runs, f"{claim.id}_tuning": measured.tuning}.items():
        if len(table):
            tables.write_table(table, name, claim=claim.sha256)
    absent = [name for name in others if name not in committed]
    return Evidence(measured.runs, measured.tuning, here, committed, absent)


def tasks_at_hand(claim, *, full=None):
    """Return the tasks of a claim that are trained here: those that need no download and, if ``full``, all at hand.

    full : bool, default whether FULL=1 is set.
    """
    full = os.environ.get("FULL") == "1" if full is None else full
    problems = claim.problems.items()
    return [name for name, problem in problems if not problem.needs_download or (full and problem.at_hand)]


def _joined(measured, kept, tasks, order):
    """Put the kept rows of these tasks beside the measured ones, in the order of all tasks."""
    parts = [(new, old[old["task"].isin(tasks)]) for new, old in zip(measured, kept, strict=True)]
    whole = [pd.concat([part for part in both if len(part)] or both[:1]) for both in parts]
    place = {name: i for i, name in enumerate(order)}
    return Measured(
        *(each.sort_values("task", key=lambda c: c.map(place), kind="stable", ignore_index=True) for each in whole)
    )


# ------------------------------------------------------------------------------------------------------------ judging


def on_tasks(claim, tasks):
    """Return the claim with its effects on some of its tasks only, and without those that then cannot be tested.

    tasks : list of names.
    """
    tasks = {*tasks}
    kept = [_on_tasks(each, tasks) for each in claim.effects]
    return replace(claim, effects=tuple(each for each in kept if len(each.tasks) >= TESTS[each.test][1]))


def _on_tasks(effect, tasks):
    pairs = [pair for pair in zip(effect.tasks, effect.against or effect.tasks, strict=True) if {*pair} <= tasks]
    kept = [tuple(each) for each in zip(*pairs, strict=True)] or [(), ()]
    return replace(effect, tasks=kept[0], against=kept[1] if effect.against else ())


def judge(claim, runs):
    """Return the effects of a claim in measured runs, one row per effect and task, and "all" for the tasks together.

    returns : frame with ``effect``, ``task``, ``size`` (a ratio, a difference, a share) and the ends ``low``, ``high``
    of its interval at 95 in 100, ``p`` (two-sided, of the judgement against the margin), ``outcome`` ("yes", "no",
    "open"), ``seeds``. errors : ValueError for runs that lack an arm or a task.
    """
    return compare(claim.effects, runs)


def compare(effects, runs, *, by_task=True):
    """Return what :func:`judge` does, of any list of effects.

    effects : list of :class:`Effect`. by_task : bool, or only the tasks together. errors : as :func:`judge`.
    """
    rows = []
    for effect in effects:
        for task in ["all", *(effect.tasks if by_task else ())]:
            tasks = effect.tasks if task == "all" else (task,)
            rows.append({"effect": effect.name, "task": task} | _judged(effect, gaps_of(effect, runs, tasks), task))
    return pd.DataFrame(rows)


def gaps_of(effect, runs, tasks):
    """Return the paired gaps arm - control of an effect on its scale (a ratio as its logarithm), by task and seed.

    Where it stands against other tasks, the gaps there are taken away.

    tasks : some of those of the effect. errors : as :func:`judge`.
    """
    tasks = [*tasks]
    gaps = _gaps(effect, runs, tasks)
    if not effect.against:
        return gaps
    against = dict(zip(effect.against, effect.tasks, strict=True))
    other = _gaps(effect, runs, [each for each, task in against.items() if task in tasks])
    return gaps - other.rename(index=against, level="task")


def _gaps(effect, runs, tasks):
    there = runs[runs["task"].isin(tasks)]
    if absent := set(tasks) - {*there["task"]}:
        raise ValueError(f"runs must hold the tasks of {effect.name!r}, and lack {', '.join(sorted(absent))}")
    values = there.assign(value=there[effect.metric])[["task", "arm", "seed", "value"]]
    values = values[values["arm"].isin([effect.arm, effect.control])]  # no other has to be positive for a ratio
    gaps = statistics.paired(values, effect.arm, effect.control, "log" if effect.scale == "ratio" else "difference")
    if effect.scale != "of chance":
        return gaps
    best = there.groupby(["task", "arm"])[effect.metric].mean().groupby("task").min()
    room = there.groupby("task")["chance"].first() - best
    if not (room > 0).all():
        raise ValueError(f"{effect.metric} must come below the loss of chance for {effect.name!r} to be a share of it")
    return gaps / room.loc[gaps.index.get_level_values("task")].to_numpy()


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
    """Return one of ``VERDICTS`` by the rule of the claim; an effect that was not judged is open."""
    if claim.untestable:
        return "not testable here"
    found = _as_listed(claim, effects)
    if not found:
        return "no results yet"
    if all(found[each] == "yes" for each in claim.supported):
        return "supported"
    if claim.conditional and all(found[each] == "yes" for each in claim.conditional):
        return "conditional"
    return "refuted" if "no" in [found[each] for each in claim.supported] else "inconclusive"


def deciding(claim, effects):
    """Return the effect on which the verdict turns: the first that is listed and came out as the verdict says."""
    reached, found = verdict(claim, effects), _as_listed(claim, effects)
    listed = claim.conditional if reached == "conditional" else claim.supported
    wanted = {"refuted": "no", "inconclusive": "open"}.get(reached, "yes")
    name = next((each for each in listed if found.get(each, wanted) == wanted), listed[0])
    return next(effect for effect in claim.effects if effect.name == name.removeprefix("not "))


def _as_listed(claim, effects):
    """Whether what the rules list came out as listed: "yes", "no", its contrary, or "open"; empty without results."""
    mine = effects[effects["task"] == "all"]
    mine = mine[mine["claim"] == claim.id] if "claim" in mine else mine
    outcomes = dict(zip(mine["effect"], mine["outcome"], strict=True))
    contrary = {"yes": "no", "no": "yes", "open": "open"}

    def found(each):
        outcome = outcomes.get(each.removeprefix("not "), "open")
        return contrary[outcome] if each.startswith("not ") else outcome

    return {each: found(each) for each in (*claim.supported, *claim.conditional)} if outcomes else {}


def judge_all(register, *, folder=None, recomputed=False, by_task=None):
    """Return the effects of all claims that have results, with ``claim``, ``p`` after Holm's correction and outcomes.

    The correction runs over the joint effects ("all") of all claims, each of which is confirmatory; the rows of single
    tasks only describe. register : dict of :func:`read`. folder : as in :func:`results`. recomputed : bool, whether
    what :func:`evidence` put into ``build/results`` goes before it. by_task : ids of the claims whose single tasks are
    judged too, default all. errors : those of :func:`results`, but claims without any results are left out.
    """
    build = tables.build_folder("results") if recomputed else None
    by_task = None if by_task is None else {*by_task}
    judged = []
    for claim in register.values():
        if claim.untestable:
            continue
        anew = build and (build / f"{claim.id}.json").is_file()
        try:
            runs = results(claim, folder=build if anew else folder)
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


def committed(register, *, by_task=()):
    """Return what :func:`judge_all` does, from the committed ``data/results/verdicts.csv`` instead of judging again.

    Only the claims whose single tasks are asked for are judged, and compared with their rows in the table. Results that
    were measured again since, for an entry that did not change, are noticed for these claims only.

    register : dict of :func:`read`. by_task : ids of the claims whose single tasks are judged. errors :
    FileNotFoundError without the table; OutdatedError where it is damaged, or its rows are not those of the register
    and of the claims with results; those of :func:`results`.
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
    expected = [(each.id, *_rule_of(effect)) for each in judged for effect in each.effects]
    found = [*table[["claim", "effect", "expect", "scale", "margin"]].itertuples(index=False, name=None)]
    if found != expected:
        differs = {row[0] for row in {*found} ^ {*expected}} or {"their order"}
        raise OutdatedError(f"{path.name} does not hold the registered effects; what differs is {min(differs)}")
    columns = ["effect", "task", "size", "low", "high", "p", "outcome", "seeds"]
    table = table.assign(task="all")[["claim", *columns]]
    parts = []
    for claim in judged:
        joint = table[table["claim"] == claim.id]
        parts.append(_with_tasks(claim, joint, path) if claim.id in by_task else joint)
    return pd.concat(parts, ignore_index=True) if parts else table


def _rule_of(effect):
    return effect.name, effect.expect, effect.scale, effect.margin


def _with_tasks(claim, joint, path):
    """Return the joint rows of a claim, each followed by those of its single tasks, which are judged here."""
    rows = compare(claim.effects, results(claim))
    is_joint, measured = rows["task"] == "all", ["size", "low", "high", "seeds"]
    if not np.allclose(rows.loc[is_joint, measured], joint[measured], rtol=1e-9, atol=0, equal_nan=True):
        raise OutdatedError(f"{path.name} does not hold what the results of {claim.id} give")
    rows.loc[is_joint, ["p", "outcome"]] = joint[["p", "outcome"]].to_numpy()
    return rows.astype(joint.dtypes.drop("claim").to_dict()).assign(claim=claim.id)[joint.columns]
