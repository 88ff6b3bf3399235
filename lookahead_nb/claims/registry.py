"""The article's statements, registered in ``data/claims/C01.toml`` and so on, and their verdicts on generated tasks.

A statement has a modality, which decides the rule (:mod:`.modality`), and one primary contrast of two arms in an
experiment (:mod:`.experiments`). Everything else is reported. What we expected lies in ``predictions.toml``, which no
code reads.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb import provenance
from lookahead_nb.checks import of_type, real_number, user_path, whole, whole_number
from lookahead_nb.claims import (
    agent_trial,
    convergence,
    experiments,
    inference,
    landscape_tasks,
    landscape_trial,
    modality,
    set_effects,
    trial,
)
from lookahead_nb.claims.shards import refuse_outdated
from lookahead_nb.settings_file import choice, inside, known_keys, names, table_of_keys, text, toml_file

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "data/claims"
SCALES = {  # of a benefit, with the margin that matters
    "gap": 0.01,  # share of the gap between chance and the best known loss
    "error": 0.01,  # share of misclassified rows
    "steps": math.log(1.05),  # logarithm of a ratio of steps
    "ratio": math.log(1.05),  # logarithm of a ratio of variances, losses, rates, distances or times
    "runs": 0.02,  # share of runs
    "samples": 0.02,  # share of the points that a generator makes
    "modes": 0.02,  # share of the modes of its data
    "return": 0.01,  # share of the highest return
}
PERCENT = ("gap", "error", "runs", "samples", "modes", "return")  # scales that are shown in %, the others as ratios
STEPS_MARGIN = 0.05  # of the steps, on step-limited tasks
OF_CLAIM = ("section", "article", "notebook")
WORDS = (*OF_CLAIM, "says")  # on which no verdict depends
OF_STATEMENT = ("says", "modality", "experiment", "where", "harmless", "untestable", "reported")
OF_CONTRAST = ("arm", "controls", "metric", "tuning")
WHERE = ("hidden", "most_label_noise", "least_label_noise")  # on generated tasks
WHERE_SETS = ("sets", "least_steps")  # on real data sets
ALL = "all"  # the declared population
CONSTANT_ADAM = {"adam", "adamw", "adamw_again", "adamw_4", "adamw_5"}  # whose losses lie on AdamW's curve


@dataclass(frozen=True)
class Contrast:
    """Two arms of an experiment, compared in one metric.

    Attributes
    ----------
    arm : str
        A benefit above 0 means that it is better, or, of steps, that it needs more of them.
    controls : tuple of str
        What it is compared with; of several the mean.
    metric, tuning : str
        As in :func:`.trial.benefits`.
    """

    arm: str
    controls: tuple[str, ...]
    metric: str = "test loss"
    tuning: str = "own"

    @property
    def scale(self) -> str:
        """A key of ``SCALES``."""
        if kind := (landscape_trial.KINDS | agent_trial.METRICS).get(self.metric):
            return kind.scale
        return {"test error": "error", convergence.METRIC: "steps", set_effects.STEPS: "steps"}.get(self.metric, "gap")


@dataclass(frozen=True, eq=False)
class Statement:
    """A sentence of the article with its test.

    Attributes
    ----------
    id : str
        Such as "C08a".
    section, article, notebook : str
        The section of the article, what it says there in our words, and the notebook with the answer.
    says : str
        The statement, in our words.
    modality : str
        A key of ``modality.MODALITIES``.
    untestable : str
        Why it cannot be tested here, or "". The fields below are empty then.
    experiment, population, entry : str
        The name of its experiment, the population of its tasks, and the hash of the experiment.
    primary : Contrast or None
        The contrast that decides.
    reported : dict of str to Contrast
        Further contrasts by name.
    where : dict
        Which tasks of the experiment: the keys of ``WHERE`` or ``WHERE_SETS``. Default: all.
    harmless : bool
        Whether a task counts for "can" if the arm does no harm beyond the margin, instead of a benefit beyond it.
    contrasts : int
        The number of primary contrasts in the claim.
    """

    id: str
    section: str
    article: str
    notebook: str
    says: str
    modality: str
    untestable: str = ""
    experiment: str = ""
    population: str = ""
    entry: str = ""
    primary: Contrast | None = None
    reported: dict[str, Contrast] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)
    harmless: bool = False
    contrasts: int = 1


def read(folder: str | Path | None = None) -> dict[str, Statement]:
    """Read the registered statements.

    Parameters
    ----------
    folder : path, optional
        With the files ``C01.toml`` and so on, and the folder ``experiments``. Default: ``data/claims`` of the checkout.

    Returns
    -------
    dict of str to Statement
        By id, in ascending order.

    Raises
    ------
    OSError
        If the folder has no such file, or one cannot be read.
    ValueError
        If an entry is wrong; the message names the file and the key.

    Notes
    -----
    A file has the keys ``section``, ``article`` and ``notebook``, and a table for each statement, named by a letter, or
    by "statement" if it is the only one. The keys of a statement:

    - ``says``, ``modality``. A "forecast" has a primary contrast like the others: its estimate is the measured answer,
      and its verdict is ``modality.NOT_JUDGED``.
    - ``untestable``: why there is no test; then nothing else.
    - ``experiment``; ``arm``, ``controls``, ``metric`` (default "test loss") and ``tuning`` (default "own") of the
      primary contrast.
    - ``harmless = true``: with "can", a task counts if the arm does no harm beyond the margin.
    - ``where``: ``hidden = true`` for networks with hidden layers, ``least_label_noise``, ``most_label_noise``; on real
      data sets ``sets``, a list of names, and ``least_steps``.
    - ``[NAME.reported.OTHER]``: a further contrast.

    Examples
    --------
    >>> from lookahead_nb.claims import registry
    >>> registry.read()["C08a"].modality
    'usually'
    """
    root = provenance.committed(FOLDER) if folder is None else user_path("folder", folder)
    if not (paths := sorted(root.glob("C[0-9][0-9].toml"))):
        raise FileNotFoundError(f"folder must be a folder with files such as C01.toml, got {root}")
    known: dict[str, experiments.Experiment] = {}

    def experiment(name: str) -> experiments.Experiment:
        if name not in known:
            known[name] = experiments.read(name, root / "experiments" / f"{name}.toml")
        return known[name]

    registered = sorted(path.stem for path in (root / "experiments").glob("*.toml"))
    found = {}
    for path in paths:
        with inside(path.name):
            for statement in _statements(path, registered, experiment):
                found[statement.id] = statement
    return found


def _statements(path: Path, registered: list[str], experiment: Any) -> Iterator[Statement]:
    written = toml_file(path)
    described = {key: text(key, written.get(key)) for key in OF_CLAIM}
    tables = {key: table_of_keys(key, value) for key, value in written.items() if key not in OF_CLAIM}
    if not tables:
        raise ValueError("a table must be there for each statement, got none")
    for name in tables:
        if not (len(name) == 1 and name.islower()) and [*tables] != ["statement"]:
            raise ValueError(
                f"{name} is not known: a statement is named by a letter, or 'statement' if it is the only one"
            )
    contrasts = sum("untestable" not in table for table in tables.values())
    for name, table in tables.items():
        with inside(name):
            about = described | {
                "id": path.stem + (name if len(name) == 1 else ""),
                "says": text("says", table.get("says")),
                "modality": choice("modality", table.get("modality"), modality.MODALITIES),
            }
            if "untestable" in table:
                known_keys("", table, ("says", "modality", "untestable"))
                yield Statement(**about, untestable=text("untestable", table["untestable"]))
                continue
            known_keys("", table, (*OF_STATEMENT, *OF_CONTRAST))
            of = experiment(choice("experiment", table.get("experiment"), registered))
            where = table_of_keys("where", table.get("where", {}))
            known_keys("where.", where, WHERE_SETS if of.sets else WHERE if of.population == "generated" else ())
            with inside("where"):
                for key in where.keys() & set(WHERE[1:]):
                    real_number(key, where[key], 0, 1)
                choice("hidden", where.get("hidden", True), (True,))
                for name_of_set in names("sets", where["sets"]) if "sets" in where else ():
                    choice("sets", name_of_set, of.sets)
                whole_number("least_steps", where.get("least_steps", 1), 1)
            others = table_of_keys("reported", table.get("reported", {}))
            primary = _contrast({key: table[key] for key in OF_CONTRAST if key in table}, of)
            reported = {}
            for key, other in others.items():
                with inside(f"reported.{key}"):
                    reported[key] = _contrast(table_of_keys(key, other), of)
            harmless = choice("harmless", table.get("harmless", False), (False, True))
            if harmless and modality.MODALITIES[about["modality"]] != "share":
                raise ValueError(f"harmless must be false with the modality {about['modality']!r}, got true")
            _refuse_unresolved(about["modality"], contrasts, of)
            yield Statement(
                **about, experiment=of.name, population=of.population, entry=of.sha256, primary=primary,
                reported=reported, where=where, harmless=harmless, contrasts=contrasts,
            )  # fmt: skip


def _refuse_unresolved(kind: str, contrasts: int, of: experiments.Experiment) -> None:
    """Refuse a statement on which no number of agreeing tasks could give a verdict."""
    if of.sets:  # judged set by set
        return
    planned = of.tasks.get("first") or sum(of.tasks.get("quotas", {}).values())
    if planned < (fewest := modality.fewest_tasks(kind, contrasts)):
        raise ValueError(
            f"experiment must have {fewest} tasks or more, or the claim fewer statements than {contrasts}: on the "
            f"{planned} tasks of {of.name!r} nothing could be shown even if all agreed"
        )


def _contrast(table: dict[str, Any], experiment: experiments.Experiment) -> Contrast:
    known_keys("", table, OF_CONTRAST)
    arm = choice("arm", table.get("arm"), experiment.arms)
    controls = tuple(choice("controls", name, experiment.arms) for name in names("controls", table.get("controls")))
    if arm in controls:
        raise ValueError(f"controls must be other arms than {arm!r}")
    along = all(experiment.arms[name].along for name in (arm, *controls)) and "training loss" in experiment.curves
    metrics = (*experiment.metrics, set_effects.STEPS) if along else experiment.metrics
    first = "test loss" if "test loss" in experiment.metrics else experiment.metrics[0]
    metric = choice("metric", table.get("metric", first), metrics)
    tuning = choice("tuning", table.get("tuning", "own"), experiment.tunings)
    if metric in (*trial.METRICS, set_effects.STEPS) and metric != "test loss" and tuning != "own":
        raise ValueError(f"tuning must be 'own' with the metric {metric!r}, got {tuning!r}")
    return Contrast(arm, controls, metric, tuning)


# --------------------------------------------------------------------------------------------------------- verdicts


class Evidence(NamedTuple):
    """The committed rows of an experiment and its tasks.

    Attributes
    ----------
    experiment : Experiment
    rows : frame
        Of :func:`.experiments.results`.
    tasks, drawn : frame
        Of ``Experiment.chosen`` and ``Experiment.drawn``.
    """

    experiment: experiments.Experiment
    rows: pd.DataFrame
    tasks: pd.DataFrame
    drawn: pd.DataFrame


def evidence(statements: dict[str, Statement], folder: str | Path | None = None) -> dict[str, Evidence]:
    """Return the committed rows of all experiments that statements need.

    Parameters
    ----------
    statements : dict of Statement
        Of :func:`read`.
    folder : path, optional
        With a folder of rows for each experiment. Default: ``data/results`` of the checkout.

    Returns
    -------
    dict of Evidence
        By the name of the experiment; experiments whose shards are not all there are left out.

    Raises
    ------
    OutdatedError
        If rows belong to another entry.
    """
    found = {}
    for name in dict.fromkeys(one.experiment for one in _checked(statements).values() if one.experiment):
        experiment = experiments.read(name)
        try:
            rows = experiments.results(experiment, Path(folder) / name if folder else None)
        except FileNotFoundError:
            continue
        screened = experiments.screening_table(experiment)
        found[name] = Evidence(experiment, rows, experiment.chosen(screened), experiment.drawn(screened))
    return found


def evidence_sha256(statements: dict[str, Statement], folder: str | Path | None = None) -> str:
    """Return the hash of everything that the verdicts follow from: statements, entries of experiments, and rows.

    Parameters
    ----------
    statements : dict of Statement
        Of :func:`read`.
    folder : path, optional
        As in :func:`evidence`.

    Returns
    -------
    str
        SHA-256 as hex digits, made from the manifests of the tables. The words of statements are no part of it.
    """
    names_of = sorted({statement.experiment for statement in _checked(statements).values()} - {""})
    root = Path(folder) if folder else provenance.committed("data/results")
    manifests = [root / "screening.json", *(root / f"{name}_screening.json" for name in names_of)]
    measured = [_sums(manifests), *(_sums(sorted((root / name).glob("*.json"))) for name in names_of)]
    entries = [{key: value for key, value in asdict(one).items() if key not in WORDS} for one in statements.values()]
    return hashlib.sha256(json.dumps([entries, measured], sort_keys=True).encode()).hexdigest()


def _checked(statements: Any) -> dict[str, Statement]:
    of_type("statements", statements, dict, "a dict such as registry.read returns")
    for one in statements.values():
        of_type("statements", one, Statement, "a dict of Statement, such as registry.read returns")
    return statements


def _sums(manifests: list[Path]) -> dict[str, str]:
    found = (path for path in manifests if path.with_suffix(".csv").is_file())
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["sha256"] for path in found}


def committed(statements: dict[str, Statement], folder: str | Path | None = None) -> pd.DataFrame:
    """Return the committed verdicts, ``statements.csv``.

    Parameters
    ----------
    statements : dict of Statement
        Of :func:`read`.
    folder : path, optional
        As in :func:`evidence`.

    Returns
    -------
    frame
        As :func:`judge_all` returns it.

    Raises
    ------
    OSError
        If the table is missing.
    OutdatedError
        If it follows from other statements, entries or rows. Its manifest names :func:`evidence_sha256` as ``entry``.
    """
    entry = evidence_sha256(statements, folder)
    path = (Path(folder) if folder else provenance.committed("data/results")) / "statements.csv"
    refuse_outdated(path, entry, "the statements and rows")
    return provenance.read_table(path)


def tasks_of(statement: Statement, tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the tasks that a statement is about.

    Parameters
    ----------
    statement : Statement
        A testable one.
    tasks : frame
        Of ``Experiment.chosen`` or ``Experiment.drawn``.

    Returns
    -------
    frame
        Some of the rows.

    Raises
    ------
    ValueError
        If no task is left, or a data set of the statement is not among them.
    """
    return _where(tasks, statement.where)


def judge(statement: Statement, rows: pd.DataFrame, tasks: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Return the estimates and verdicts of a statement.

    Parameters
    ----------
    statement : Statement
        A testable one.
    rows : frame
        Of :func:`.experiments.results`.
    tasks, drawn : frame
        Of ``Experiment.chosen`` and ``Experiment.drawn``.

    Returns
    -------
    frame
        A row for each contrast ("primary" and the reported ones) and class of tasks. "all" is the declared population:
        classes are weighted by their frequency in the draw. For "may", "can" and "some cases" only those tasks count up
        to which all that were drawn are there.

        - ``id``, ``contrast``, ``class``, ``tasks`` (their number), ``scale``, ``margin``. On real data sets, which
          :func:`.set_effects.judged` judges, classes are the sets and their tasks.
        - ``value``, ``low``, ``high``: the mean benefit with its interval, of an advice the mean regret.
        - ``share``, ``share_low``, ``share_high``: of tasks with a benefit above 0. For "may", "can" and "some cases":
          share of tasks shown to be beyond the margin, and the bounds of the true share.
        - ``better``, ``worse``: the numbers of tasks on which a difference is shown.
        - ``next_low``, ``next_high``: the interval that a further task falls into.
        - ``steps``, ``steps_low``, ``steps_high``: what the arm is worth in steps of AdamW, as a multiple, on
          step-limited tasks of experiments that read AdamW along its runs, against Adam or AdamW at constant rates.
        - ``verdict``: of "plain" and "usually" by the steps, where they are there, with a margin of ``STEPS_MARGIN``.
          ``needed``: how many tasks would decide where they cannot.

    Raises
    ------
    ValueError
        If rows do not have the arms, or no task is left.
    """
    pd = whole("pandas")

    of_type("statement", statement, Statement, "one such as registry.read returns")
    chosen, drawn = tasks_of(statement, tasks), tasks_of(statement, drawn)
    if statement.primary is None:
        raise ValueError(f"statement must be a testable one, got {statement.id}")
    contrasts = {"primary": statement.primary} | statement.reported
    if "set" in tasks:
        rows = rows[rows["number"].isin(chosen["number"])]
    found: list[dict[str, Any]] = []
    for name, contrast in contrasts.items():
        measured = _benefits(contrast, rows, tasks, statement.population)
        level = modality.deciding_level(statement.contrasts if name == "primary" else 1)
        if "set" in tasks:
            found += _on_sets(statement, name, contrast, measured, rows, chosen, level)
            continue
        for kind, part in _classes(chosen):
            if kind == ALL and modality.MODALITIES[statement.modality] == "share":
                part = _as_drawn(part, drawn)
            keys = {"id": statement.id, "contrast": name, "class": kind, "tasks": len(part)}
            values = measured.loc[part["number"]].to_numpy()
            strata = _strata(part, drawn) if kind == ALL else None
            row = _judged(values, statement, contrast, level, strata) | _worth(contrast, rows, part, level)
            if modality.MODALITIES[statement.modality] == "mean" and not np.isnan(row["steps"]):
                extra = inference.Estimate(*(row[name] - 1 for name in ("steps", "steps_low", "steps_high")))
                share = inference.direction(values, level)
                row["verdict"] = modality.verdict_by_mean(extra, share, STEPS_MARGIN)
            found.append(keys | row)
    return pd.DataFrame(found)


def judge_all(statements: dict[str, Statement], found: dict[str, Evidence]) -> pd.DataFrame:
    """Return the estimates and verdicts of all testable statements whose experiment has rows.

    Parameters
    ----------
    statements : dict of Statement
        Of :func:`read`.
    found : dict of Evidence
        Of :func:`evidence`.

    Returns
    -------
    frame
        As :func:`judge` returns it, one below the other; without rows if there is nothing to judge.

    Raises
    ------
    ValueError
        As :func:`judge`.
    """
    pd = whole("pandas")

    measured = [statement for statement in _checked(statements).values() if statement.experiment in found]
    judged = [judge(statement, *found[statement.experiment][1:]) for statement in measured]
    return pd.concat(judged, ignore_index=True) if judged else pd.DataFrame(columns=["id", "contrast", "class"])


def benefits(contrast: Contrast, found: Evidence) -> pd.DataFrame:
    """Return the benefit of a contrast on every task, on its scale.

    Parameters
    ----------
    contrast : Contrast
    found : Evidence
        Of its experiment.

    Returns
    -------
    frame
        A row per task, indexed by ``number`` in the order of the tasks, and a column per replicate.
    """
    return _benefits(contrast, found.rows, found.tasks, found.experiment.population).loc[found.tasks["number"]]


def every_task(
    comparisons: dict[str, tuple[str, str]],
    statements: dict[str, Statement],
    found: dict[str, Evidence],
    judged: pd.DataFrame,
) -> pd.DataFrame:
    """Return the benefit on every task, and the means, for a figure.

    Parameters
    ----------
    comparisons : dict of str to (str, str)
        For each name that is shown, the id of a statement and one of its contrasts ("primary" or a reported one).
    statements : dict of Statement
        Of :func:`read`.
    found : dict of Evidence
        Of :func:`evidence`.
    judged : frame
        Of :func:`judge_all`.

    Returns
    -------
    frame
        ``comparison``, ``scale``, ``class``, ``number`` and ``benefit``: in % on the scales of ``PERCENT``, else a
        logarithm. A row with number -1 has the mean of its class ("all" for all of them) with ``low`` and ``high``, and
        ``next_low`` and ``next_high`` of a further task.

    Raises
    ------
    KeyError
        If a statement, a contrast or the rows of its experiment are missing.
    """
    pd = whole("pandas")

    ends = ["low", "high", "next_low", "next_high"]
    parts = []
    for name, (of, contrast) in comparisons.items():
        statement = statements[of]
        compared = statement.primary if contrast == "primary" else statement.reported[contrast]
        if compared is None:
            raise KeyError(f"{of} has no contrasts, for it cannot be tested")
        evidence = found[statement.experiment]
        chosen = tasks_of(statement, evidence.tasks)
        factor = 100 if compared.scale in PERCENT else 1
        of_tasks = factor * benefits(compared, evidence).loc[chosen["number"]].mean(axis=1)
        dots = chosen[["class", "number"]].assign(benefit=of_tasks.to_numpy())
        means = judged[(judged["id"] == of) & (judged["contrast"] == contrast)]
        means = means[means["class"].isin([ALL, *chosen["class"]])]
        scaled = (factor * means[["value", *ends]]).rename(columns={"value": "benefit"})
        if modality.MODALITIES[statement.modality] == "regret":  # a cost is a negative benefit
            scaled = -scaled.set_axis(["benefit", "high", "low", "next_high", "next_low"], axis=1)
        means = scaled.assign(**{"class": means["class"], "number": -1})
        parts += [part.assign(comparison=name, scale=compared.scale) for part in (dots, means)]
    table = pd.concat(parts, ignore_index=True)
    return table[["comparison", "scale", "class", "number", "benefit", *ends]]


def ranges(found: Evidence, level: float = 0.95) -> pd.DataFrame:
    """Return how wide the ranges of good learning rates are: robustness to a wrong rate.

    Parameters
    ----------
    found : Evidence
        Of an experiment with ``ranges_of``.
    level : float, default 0.95
        Of the intervals, in (0, 1).

    Returns
    -------
    frame
        For each arm and each of 1, 2 and 5 %: ``arm``, ``within``, ``value``, ``low``, ``high`` (mean octaves of rates
        over tasks) and ``more``, ``more_low``, ``more_high``, the octaves more than those of the first arm.

    Raises
    ------
    ValueError
        If the experiment has no ranges.
    """
    pd = whole("pandas")

    if not found.experiment.ranges_of:
        raise ValueError(f"found must have ranges of rates, got the experiment {found.experiment.name!r}")
    first, table = found.experiment.ranges_of[0], []
    for metric, share in trial.RANGES.items():
        own = found.rows[found.rows["metric"] == metric]
        of_arm = {
            name: own[own["arm"] == name].set_index("number").filter(regex=r"^r\d+$") for name in own["arm"].unique()
        }
        for name, octaves in of_arm.items():
            mean = inference.mean_benefit(octaves.to_numpy(), level)
            more = inference.mean_benefit((octaves - of_arm[first]).to_numpy(), level)
            ends = {"value": mean.value, "low": mean.low, "high": mean.high}
            further = {"more": more.value, "more_low": more.low, "more_high": more.high}
            table.append({"arm": name, "within": round(100 * share)} | ends | further)
    return pd.DataFrame(table)


def _where(tasks: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    kept = tasks
    if "set" in tasks:
        missing = [name for name in where.get("sets", ()) if name not in {*tasks["set"]}]
        kept = kept[kept["set"].isin(where.get("sets", tasks["set"])) & (kept["steps"] >= where.get("least_steps", 1))]
        if missing or kept.empty:
            raise ValueError(
                f"tasks must hold the sets of the statement, got none of {missing[0] if missing else where}"
            )
        return kept
    if where.get("hidden"):
        kept = kept[kept["hidden"].fillna("").astype(str) != ""]
    if "least_label_noise" in where:
        kept = kept[kept["label_noise"] >= where["least_label_noise"]]
    if "most_label_noise" in where:
        kept = kept[kept["label_noise"] <= where["most_label_noise"]]
    if len(kept) < 2:
        raise ValueError(f"where must leave at least 2 tasks, got {len(kept)}")
    return kept


def _classes(tasks: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield ALL, tasks
    limited = tasks[tasks["class"].str.startswith("step-limited")]
    if len(limited) > 1:
        yield "step-limited", limited
    for kind, part in tasks.groupby("class"):
        if len(part) > 1:
            yield str(kind), part


def _strata(tasks: pd.DataFrame, drawn: pd.DataFrame) -> tuple[np.ndarray, dict] | None:
    """Return the class of each task and how frequent classes are in the draw, if tasks were not taken as drawn."""
    if len(tasks) == (drawn["number"] <= tasks["number"].max()).sum():
        return None
    frequencies = drawn["class"].value_counts().to_dict()
    return tasks["class"].to_numpy(), {kind: frequencies[kind] for kind in tasks["class"].unique()}


def _as_drawn(tasks: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Return the first tasks, up to the first one of the draw that is not among them."""
    missing = drawn.loc[~drawn["number"].isin(tasks["number"]), "number"]
    return tasks[tasks["number"] < missing.min()] if len(missing) else tasks


def _benefits(contrast: Contrast, rows: pd.DataFrame, tasks: pd.DataFrame, population: str) -> pd.DataFrame:
    if population in landscape_tasks.POPULATIONS:
        return landscape_trial.landscape_benefits(rows, contrast.arm, contrast.controls, contrast.metric)
    if population == agent_trial.POPULATION:
        of_agents = agent_trial.METRICS
        return landscape_trial.landscape_benefits(rows, contrast.arm, contrast.controls, contrast.metric, of_agents)
    arguments = (contrast.arm, contrast.controls, contrast.metric, contrast.tuning)
    if contrast.metric == set_effects.STEPS:
        return set_effects.log_steps_saved(rows, contrast.arm, contrast.controls)
    if contrast.scale != "gap":
        benefits = trial.benefits(rows, *arguments)
        return -benefits if contrast.scale == "steps" else benefits
    of_task = tasks.set_index("number")
    screened = contrast.metric == "test loss" and "set" not in tasks  # real sets: on rows of its own, too few
    known = of_task[["loss", "loss_twice"]].min(axis=1) if screened else None
    return trial.shares_of_gap(rows, of_task["chance"], *arguments, known)


def _judged(
    benefits: np.ndarray,
    statement: Statement,
    contrast: Contrast,
    level: float,
    strata: tuple[np.ndarray, dict] | None,
) -> dict[str, Any]:
    margin, rule = SCALES[contrast.scale], modality.MODALITIES[statement.modality]
    if rule == "regret":
        benefits = -benefits
    mean, share = inference.mean_benefit(benefits, level), inference.direction(benefits, level)
    if strata is not None:
        mean, share = inference.stratified(benefits, *strata, level)
    shown, further = inference.shown(benefits), inference.prediction_interval(benefits)
    row = {"scale": contrast.scale, "margin": margin, "value": mean.value, "low": mean.low, "high": mean.high}
    if rule == "share":
        shift = 2 * margin if statement.harmless else 0.0  # "at least -margin" becomes "at least margin"
        beyond = inference.share_beyond(benefits + shift, margin, level)
        verdict = modality.verdict_by_share(beyond)
        row |= {"share": beyond.beyond / len(benefits), "share_low": beyond.low, "share_high": beyond.high}
    else:
        verdict = modality.NOT_JUDGED
        if rule != "none":
            by_rule = modality.verdict_by_regret if rule == "regret" else partial(modality.verdict_by_mean, share=share)
            verdict = by_rule(mean, margin=margin)
        row |= {"share": share.value, "share_low": share.low, "share_high": share.high}
    row |= {"better": shown.better, "worse": shown.worse, "next_low": further.low, "next_high": further.high}
    needed = modality.tasks_needed(mean, len(benefits), margin) if verdict == "cannot tell" else 0
    return row | {"verdict": verdict, "needed": needed}


def _on_sets(
    statement: Statement,
    name: str,
    contrast: Contrast,
    benefits: pd.DataFrame,
    rows: pd.DataFrame,
    chosen: pd.DataFrame,
    level: float,
) -> Iterator[dict[str, Any]]:
    margin, rule = SCALES[contrast.scale], modality.MODALITIES[statement.modality]
    limited = chosen[chosen["class"].str.startswith("step-limited")]
    classes = [(ALL, chosen), ("step-limited", limited)] if len(limited) > 1 else [(ALL, chosen)]
    classes += [(str(kind), part) for kind, part in chosen.groupby("set", sort=False)]
    classes += [
        (f"{kind}, {steps} steps", part) for (kind, steps), part in chosen.groupby(["set", "steps"], sort=False)
    ]
    for kind, part in classes:
        row = {"id": statement.id, "contrast": name, "class": kind, "tasks": len(part)}
        row |= {"scale": contrast.scale, "margin": margin}
        row |= set_effects.judged(benefits, part, rule, margin, level, harmless=statement.harmless)
        yield row | (_worth(contrast, rows, part, level) if len(part) > 1 else {})


def _worth(contrast: Contrast, rows: pd.DataFrame, tasks: pd.DataFrame, level: float) -> dict[str, float]:
    """Return what an arm is worth in steps of AdamW, if its control is AdamW and the tasks are step-limited."""
    row = dict.fromkeys(("steps", "steps_low", "steps_high"), np.nan)
    adamw = {*contrast.controls} <= CONSTANT_ADAM
    limited = tasks["class"].str.startswith("step-limited").all()
    if not (adamw and limited and contrast.metric == "test loss" and (rows["multiple"] == 2).any()):
        return row
    curve = trial.curve(rows).loc[tasks["number"]].to_numpy()
    arguments = (contrast.arm, contrast.controls, contrast.metric, contrast.tuning)
    gains = trial.benefits(rows, *arguments).loc[tasks["number"]].mean(axis=1).to_numpy()
    worth = inference.steps_worth(gains, curve, level=level)
    return dict(zip(row, worth, strict=True))
