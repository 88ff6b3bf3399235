"""Trials: the training runs of a registered claim, with tuning, and one number per run and metric."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb.checks import default_errors
from lookahead_nb.claims import statistics
from lookahead_nb.claims.arms import Arm, with_parameters
from lookahead_nb.claims.metrics import METRICS, Curves
from lookahead_nb.claims.tasks import Problem
from lookahead_nb.kernels.formulas import FORMULAS_ID
from lookahead_nb.kernels.philox import SUBSETS, permutation
from lookahead_nb.optimizers import AdamW, Lookahead
from lookahead_nb.theory.escapes import crossings
from lookahead_nb.training.grid import grid
from lookahead_nb.training.progress import Progress
from lookahead_nb.training.run import train
from lookahead_nb.training.sweep import sweep

if TYPE_CHECKING:
    from lookahead_nb.claims import Claim

TUNING_SEEDS = range(6)  # never those of a result, which are far larger
STARTS = 3  # of crossings: both minima and the ridge
HALVINGS = 6  # crossings are read after all steps, after half of them, and so on


class Measured(NamedTuple):
    """The measurements of a trial.

    Attributes
    ----------
    runs : DataFrame
        One row per task, arm and seed: ``lr``, ``chance``, a column for each metric (NaN if it does not fit the task)
        and the parameters of task and arm (``arms.with_parameters``).
    tuning : DataFrame
        One row per task, arm and setting that was tried: the setting, its ``loss`` and whether it was ``chosen``.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame


@default_errors
def measure(
    claim: Claim,
    *,
    tasks: Iterable[str] | None = None,
    attempt: int = 0,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> Measured:
    """Train all arms of a claim on its tasks, with tuning, and measure them.

    Parameters
    ----------
    claim : claims.Claim
        The claim.
    tasks : iterable of str, optional
        Names of some tasks of the claim. Default: all.
    attempt : int, default 0
        0 for the seeds of the registered result, 1, 2, ... for fresh ones.
    store : path, optional
        The folder in which the sweeps are kept and from which they resume.
    progress : bool or function
        As in ``sweep``, over all sweeps. Default: False.

    Returns
    -------
    Measured
        The runs and the tuning.

    Raises
    ------
    TypeError, ValueError, MemoryError
        Those of ``sweep``.
    """
    problems, seeds = _problems(claim, tasks), claim.seeds(attempt)
    return measure_on(problems, claim.arms, claim.metrics, seeds, store=store, progress=progress)


def measure_on(
    problems: Iterable[Problem],
    arms: dict[str, Arm],
    metrics: Iterable[str],
    seeds: Iterable[int],
    *,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> Measured:
    """Train arms on problems from the same seeds, with tuning, and measure them.

    Parameters
    ----------
    problems : iterable of Problem
        The problems.
    arms : dict of str to Arm
        The arms by name.
    metrics : iterable of str
        Keys of ``METRICS``.
    seeds : iterable of int
        Seeds of the runs, none of them in ``TUNING_SEEDS``.
    store, progress
        As in :func:`measure`.

    Returns
    -------
    Measured
        The runs and the tuning.

    Raises
    ------
    TypeError, ValueError, MemoryError
        Those of ``sweep``.
    """
    problems, metrics, seeds = [*problems], [*metrics], [*seeds]  # an iterator can be read only once
    total = sum(_number_of_runs(problem, arms, metrics, len(seeds)) for problem in problems)
    runs, tuning = [], []
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        sweeps = _Sweeps(store, report, total)
        for problem in problems:
            present, settings = _arms_on(problem, arms), dict[str, dict[str, Any]]()
            if tuned := [arm for arm in present if arm.trials]:
                trials, settings = tune(tuned, problem, sweeps)
                tuning.append(trials)
            plain = {arm: _optimizer(arm, problem, settings, arms) for arm in present if not arm.draws}
            opts = [*plain.values()]
            rows = sweeps(problem, opts, seeds) if plain and _needs_runs(problem, metrics) else {}
            crossed = sweeps.crossings(problem, opts, seeds) if plain and _needs_crossings(problem, metrics) else {}
            tables = {arm: _measured(arm, opt, problem, metrics, seeds, rows, crossed) for arm, opt in plain.items()}
            if drawn := [arm for arm in present if arm.draws]:
                tables |= _best_of(drawn, problem, settings, metrics, seeds, sweeps)
            runs += [tables[arm] for arm in present]
    columns = ["task", "arm", "seed", "lr", "chance", *metrics]
    table = pd.concat(runs, ignore_index=True) if runs else pd.DataFrame(columns=columns)
    return Measured(
        with_parameters(table, {problem.name: problem for problem in problems}, arms),
        pd.concat(tuning, ignore_index=True) if tuning else pd.DataFrame(columns=["task", "arm", "loss", "chosen"]),
    )


def response_surface(
    problems: Iterable[Problem],
    seeds: Iterable[int],
    *,
    retention: Iterable[float],
    sync_period: Iterable[int],
    lr: Iterable[float],
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> pd.DataFrame:
    """Return the losses of Lookahead around AdamW over a grid, and those of AdamW alone at the same learning rates.

    Parameters
    ----------
    problems : iterable of Problem
        Problems on data.
    seeds : iterable of int
        Seeds of the runs.
    retention, sync_period, lr : iterable of float, int and float
        The axes of the grid.
    store, progress
        As in :func:`measure`.

    Returns
    -------
    DataFrame
        One row per problem and point: ``task``, ``retention`` and ``sync_period`` (0 and 1 for AdamW alone), ``lr``,
        the means over the seeds of ``validation_loss`` and ``test_loss`` at the last step, and ``chance``, the loss of
        a diverged run.

    Raises
    ------
    TypeError, ValueError, MemoryError
        Those of ``sweep``.
    """
    problems, seeds, lr = [*problems], [*seeds], [*lr]  # an iterator can be read only once
    opts = [*grid(AdamW(), lr=lr), *grid(Lookahead(AdamW()), retention=retention, sync_period=sync_period, lr=lr)]
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        sweeps = _Sweeps(store, report, len(problems) * len(opts) * len(seeds))
        return pd.concat([_surface(problem, opts, seeds, sweeps) for problem in problems], ignore_index=True)


def _surface(problem: Problem, opts: list[Any], seeds: list[int], sweeps: _Sweeps) -> pd.DataFrame:
    rows = sweeps.rows(problem, opts, seeds)
    curves, runs = Curves(rows, problem, by="run"), rows["run"].drop_duplicates()
    losses = {name: METRICS[name].measure(curves)[runs].to_numpy() for name in ("validation_loss", "test_loss")}
    points = rows.loc[runs.index, ["retention", "sync_period", "lr"]].fillna({"retention": 0, "sync_period": 1})
    points = points.astype({"sync_period": int}).assign(task=problem.name, chance=problem.chance, **losses)
    return points.groupby(["task", "retention", "sync_period", "lr", "chance"], sort=False).mean().reset_index()


def operations(claim: Claim, tasks: Iterable[str] | None = None) -> float:
    """Return the floating-point operations of the training steps of a claim, tuning included.

    Runs that two arms share count twice; evaluations do not count.

    Parameters
    ----------
    claim : claims.Claim
        The claim.
    tasks : iterable of str, optional
        Names of some tasks of the claim. Default: all.

    Returns
    -------
    float
        Number of operations.

    Raises
    ------
    OSError, ValueError
        Those of ``datasets.load``.
    """
    number = claim.number_of_seeds
    return float(
        sum(
            _number_of_runs(problem, claim.arms, claim.metrics, number) * problem.operations
            for problem in _problems(claim, tasks)
        )
    )


def _problems(claim: Claim, tasks: Iterable[str] | None) -> list[Problem]:
    return [claim.problems[name] for name in (claim.tasks if tasks is None else tasks)]


def _arms_on(problem: Problem, arms: dict[str, Arm]) -> list[Arm]:
    return [arm for arm in arms.values() if arm.is_on(problem.name)]


def _number_of_runs(problem: Problem, arms: dict[str, Arm], metrics: Iterable[str], seeds: int) -> int:
    present = _arms_on(problem, arms)
    trials = sum(len(arm.trials) for arm in present)
    drawn = sum(arms[0].draws for arms in _by_draw(arm for arm in present if arm.draws))
    plain = sum(not arm.draws for arm in present)
    per_seed = _needs_runs(problem, metrics) * (plain + drawn) + STARTS * _needs_crossings(problem, metrics) * plain
    return trials * len(TUNING_SEEDS) + per_seed * seeds


def _needs_runs(problem: Problem, metrics: Iterable[str]) -> bool:
    return any(METRICS[name].of_curves and METRICS[name].fits(problem) for name in metrics)


def _needs_crossings(problem: Problem, metrics: Iterable[str]) -> bool:
    return any(METRICS[name].crosses and METRICS[name].fits(problem) for name in metrics)


def tune(arms: Iterable[Arm], problem: Problem, sweeps: _Sweeps) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Try all settings of tuned arms on the tuning seeds and choose those with the lowest mean validation loss.

    A landscape has no validation part; the expected loss replaces its loss.

    Parameters
    ----------
    arms : iterable of Arm
        Arms with trials.
    problem : Problem
        The problem.
    sweeps : _Sweeps
        Runs the sweeps and reports their progress.

    Returns
    -------
    trials : DataFrame
        As ``tuning`` in :class:`Measured`.
    best : dict of str to dict
        The chosen settings by name of the arm.
    """
    tried = [(arm, chosen, arm.optimizer(problem, **chosen)) for arm in arms for chosen in arm.trials]
    rows = sweeps(problem, [opt for *_, opt in tried], TUNING_SEEDS)
    name = "train_loss" if problem.on_landscape else "validation_loss"
    losses = [Curves(rows[opt], problem, arm.weights)[name].iloc[-1].mean() for arm, _, opt in tried]
    trials = pd.DataFrame([{"task": problem.name, "arm": arm.name} | chosen for arm, chosen, _ in tried])
    trials = trials.assign(lr=trials["lr"].replace("given", problem.fields.get("lr")).astype(float), loss=losses)
    best = trials.groupby("arm", sort=False)["loss"].idxmin()
    return trials.assign(chosen=trials.index.isin(best)), {arm: tried[i][1] for arm, i in best.items()}


def slow_steps(opt: Any, problem: Problem) -> np.ndarray:
    """Return the slow steps that a Lookahead takes on a problem, one row per tuning seed.

    Parameters
    ----------
    opt : Lookahead
        The optimizer.
    problem : Problem
        The problem.

    Returns
    -------
    (seeds, syncs) array of float64
        The slow step sizes.

    Raises
    ------
    TypeError, ValueError
        Those of ``train``.
    """
    settings = problem.training() | {"eval_every": problem.steps}
    return np.array([train(opt=opt, seed=seed, **settings).state.slow_steps for seed in TUNING_SEEDS])


def steps_along(claim: Claim, arm: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the slow steps of an arm at its tuned rate, on the tuning seeds of all tasks available offline.

    Parameters
    ----------
    claim : claims.Claim
        The claim.
    arm : str
        Name of an adaptive arm.
    runs : DataFrame
        As in :class:`Measured`.

    Returns
    -------
    DataFrame
        One row per sync: ``task``, ``seed``, ``progress`` (the completed fraction of the run) and ``slow_step_size``.
    """
    rates, parts = runs[runs["arm"] == arm].groupby("task")["lr"].first(), []
    for name in rates.index[[claim.problems[name].is_available for name in rates.index]]:
        taken = slow_steps(claim.arms[arm].optimizer(claim.problems[name], rates[name]), claim.problems[name])
        seed, sync = np.indices(taken.shape)
        columns = {"seed": seed, "progress": (sync + 1) / taken.shape[1], "slow_step_size": taken}
        parts.append(pd.DataFrame({key: column.ravel() for key, column in columns.items()}).assign(task=name))
    return pd.concat(parts, ignore_index=True)


def _taken_over(adaptive: Any, how: str, problem: Problem) -> float | tuple[float, ...]:
    """Return the slow_step_size of an arm that copies the steps of an adaptive Lookahead, see ``arms.Arm``."""
    taken = slow_steps(adaptive, problem)
    if how == "mean":
        return round(float(taken.mean()), 6)
    order = permutation(taken.shape[1], 0, SUBSETS) if how == "shuffled" else slice(None)
    return tuple(taken[0, order].tolist())


def _optimizer(arm: Arm, problem: Problem, settings: dict[str, dict[str, Any]], arms: dict[str, Arm]) -> Any:
    if arm.name in settings:
        return arm.optimizer(problem, **settings[arm.name])
    if "steps_as" in arm.fields and arm.rate_of:
        adaptive = _optimizer(arms[arm.rate_of], problem, settings, arms)
        size = _taken_over(adaptive, arm.fields["steps_as"], problem)
        return arm.optimizer(problem, settings[arm.rate_of]["lr"], slow_step_size=size)
    return arm.optimizer(problem, settings[arm.rate_of]["lr"] if arm.rate_of else arm.fields["lr"])


def _measured(
    arm: Arm,
    opt: Any,
    problem: Problem,
    metrics: list[str],
    seeds: list[int],
    rows: dict[Any, pd.DataFrame],
    crossed: dict[Any, pd.DataFrame],
) -> pd.DataFrame:
    rate = getattr(opt, "inner", opt).schedule.peak
    values = {"task": problem.name, "arm": arm.name, "seed": seeds, "lr": rate, "chance": problem.chance}
    curves = Curves(rows[opt], problem, arm.weights) if rows else None
    for name in metrics:
        metric = METRICS[name]
        of = (opt, problem) if metric.exact else (crossed.get(opt), problem) if metric.crosses else (curves,)
        measured = metric.measure(*of) if metric.fits(problem) else np.nan
        values[name] = measured.loc[seeds].to_numpy() if isinstance(measured, pd.Series) else measured
    return pd.DataFrame(values)


def _by_draw(arms: Iterable[Arm]) -> list[list[Arm]]:
    """Return lists of the arms that differ in ``best_of`` alone and so share their runs."""
    alike: dict[str, list] = {}
    for arm in arms:
        alike.setdefault(json.dumps(arm.fields | {"best_of": None}, sort_keys=True), []).append(arm)
    return [*alike.values()]


def _best_of(
    arms: list[Arm],
    problem: Problem,
    settings: dict[str, dict[str, Any]],
    metrics: list[str],
    seeds: list[int],
    sweeps: _Sweeps,
) -> dict[Arm, pd.DataFrame]:
    """Train all draws of arms for every seed; return by arm the expected values of the best of them."""
    choice = "train_loss" if problem.on_landscape else "validation_loss"
    fitting = [name for name in metrics if METRICS[name].fits(problem) and METRICS[name].of_curves]
    names = list(dict.fromkeys((choice, *fitting)))
    groups = _by_draw(arms)
    rates = [_rate(arm, problem, settings) for arm, *_ in groups]
    measured: list[dict[str, list]] = [{name: [] for name in names} for _ in groups]
    for seed in seeds:
        opts = [
            [arm.optimizer(problem, **({"lr": rate} | drawn)) for drawn in arm.drawn(seed)]
            for (arm, *_), rate in zip(groups, rates, strict=True)
        ]
        different = list(dict.fromkeys(itertools.chain(*opts)))
        rows = sweeps.rows(problem, different, [seed])
        run = dict(zip(different, rows["run"].drop_duplicates(), strict=True))
        judged = {weights: Curves(rows, problem, weights, by="run") for weights in {arm.weights for arm in arms}}
        values = {(w, name): METRICS[name].measure(curves) for w, curves in judged.items() for name in names}
        for (arm, *_), values_of_arm, drawn_opts in zip(groups, measured, opts, strict=True):
            for name in names:
                values_of_arm[name].append(values[arm.weights, name][[run[opt] for opt in drawn_opts]].to_numpy())
    tables = {}
    for group, values_of_arm, rate in zip(groups, measured, rates, strict=True):
        best = {name: statistics.best_of(values_of_arm[choice], values_of_arm[name], group[0].draws) for name in names}
        for arm in group:
            lr = rate * arm.fields.get("times", 1)
            of_arm = {"task": problem.name, "arm": arm.name, "seed": seeds, "lr": lr, "chance": problem.chance}
            expected = {name: best[name][arm.fields["best_of"]].to_numpy() for name in fitting}
            tables[arm] = pd.DataFrame(of_arm | expected).reindex(columns=[*of_arm, *metrics])
    return tables


def _rate(arm: Arm, problem: Problem, settings: dict[str, dict[str, Any]]) -> Any:
    """Return the learning rate of an arm that draws only other settings, else NaN."""
    lr = settings[arm.rate_of]["lr"] if arm.rate_of else arm.fields.get("lr", np.nan)
    return problem.fields.get("lr") if lr == "given" else lr


class _Sweeps:
    """Sweeps that share one progress report; each returns its rows, or crossings, by optimizer."""

    def __init__(self, store: str | Path | None, report: Callable[[int, int], Any], total: int) -> None:
        self.store, self.report, self.total, self.done = store, report, total, 0

    def __call__(self, problem: Problem, opts: list[Any], seeds: Sequence[int]) -> dict[Any, pd.DataFrame]:
        different = list(dict.fromkeys(opts))
        rows = self.rows(problem, different, seeds)
        self.done += (len(opts) - len(different)) * len(seeds)
        runs = rows["run"].drop_duplicates()  # by configuration, then by seed
        group_of_run = pd.Series(np.repeat(np.arange(len(different)), len(seeds)), runs)
        groups = dict(iter(rows.groupby(rows["run"].map(group_of_run))))
        return {opt: groups[i] for i, opt in enumerate(different)}

    def rows(self, problem: Problem, different: list[Any], seeds: Sequence[int]) -> pd.DataFrame:
        """Return the rows of different optimizers as ``sweep`` orders them."""
        store = None
        if self.store is not None:
            key = [FORMULAS_ID, problem.fields, problem.fingerprint, [opt.settings() for opt in different], list(seeds)]
            store = Path(self.store) / sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        report = lambda done, _: self.report(self.done + done, self.total)  # noqa: E731
        rows = sweep(configs=different, seeds=seeds, store=store, progress=report, **problem.training())
        self.done += len(different) * len(seeds)
        self.report(self.done, self.total)
        return rows

    def crossings(self, problem: Problem, opts: list[Any], seeds: list[int]) -> dict[Any, pd.DataFrame]:
        """Return the crossings of optimizers, by optimizer, with the seeds as index."""
        different, at = list(dict.fromkeys(opts)), sorted({problem.steps >> i or 1 for i in range(HALVINGS + 1)})
        rows = crossings(problem.model, different, at=at, seeds=seeds).set_index("seed")
        self.done += STARTS * len(opts) * len(seeds)
        self.report(self.done, self.total)
        return {opt: rows.iloc[i * len(seeds) :][: len(seeds)] for i, opt in enumerate(different)}
