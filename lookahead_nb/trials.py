"""Trials: the training runs of a registered claim, its tuned arms among them, and one number per run and metric."""

from __future__ import annotations

import itertools
import json
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb import statistics
from lookahead_nb.escapes import crossings
from lookahead_nb.metrics import METRICS, Curves
from lookahead_nb.optimizers import AdamW, Lookahead
from lookahead_nb.philox import SUBSETS, permutation
from lookahead_nb.problems import with_parameters
from lookahead_nb.progress import Progress
from lookahead_nb.training.grid import grid
from lookahead_nb.training.run import train
from lookahead_nb.training.sweep import sweep

TUNING_SEEDS = range(6)  # never those of a result, which are far larger
STARTS = 3  # of crossings: both minima and the ridge
HALVINGS = 6  # crossings are read after all steps, after half of them, and so on


class Measured(NamedTuple):
    """What was measured.

    runs : frame, one row per task, arm and seed with ``lr``, ``chance``, a column for each metric, NaN where it does
    not fit the task, and the parameters of task and arm (``problems.with_parameters``). tuning : frame, one row per
    task, arm and trial with its settings, ``loss`` and whether it was ``chosen``.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame


def measure(claim, *, tasks=None, attempt=0, store=None, progress=False):
    """Train all arms of a claim on its tasks, tune those that say so, and return :class:`Measured`.

    claim : ``claims.Claim``. tasks : names among those of the claim, default all. attempt : int, 0 for the seeds of the
    registered result, 1, 2, ... for fresh ones. store : folder that keeps the sweeps. progress : as in ``sweep``, over
    all sweeps. errors : those of ``sweep``.
    """
    problems, seeds = _problems(claim, tasks), claim.seeds(attempt)
    return measure_on(problems, claim.arms, claim.metrics, seeds, store=store, progress=progress)


def measure_on(problems, arms, metrics, seeds, *, store=None, progress=False):
    """Train arms on problems from the same seeds, tune those that say so, and return :class:`Measured`.

    problems : list of ``problems.Problem``. arms : dict of ``problems.Arm`` by name. metrics : names in ``METRICS``.
    seeds : list of ints, none of them in ``TUNING_SEEDS``. store, progress, errors : as in :func:`measure`.
    """
    problems, metrics, seeds = [*problems], [*metrics], [*seeds]  # an iterator can be read only once
    total = sum(_number_of_runs(problem, arms, metrics, len(seeds)) for problem in problems)
    runs, tuning = [], []
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        sweeps = _Sweeps(store, report, total)
        for problem in problems:
            here, settings = _arms_on(problem, arms), {}
            if tuned := [arm for arm in here if arm.trials]:
                trials, settings = tune(tuned, problem, sweeps)
                tuning.append(trials)
            plain = {arm: _optimizer(arm, problem, settings, arms) for arm in here if not arm.draws}
            opts = [*plain.values()]
            rows = sweeps(problem, opts, seeds) if plain and _needs_runs(problem, metrics) else {}
            crossed = sweeps.crossings(problem, opts, seeds) if plain and _needs_crossings(problem, metrics) else {}
            found = {arm: _measured(arm, opt, problem, metrics, seeds, rows, crossed) for arm, opt in plain.items()}
            if drawn := [arm for arm in here if arm.draws]:
                found |= _best_of(drawn, problem, settings, metrics, seeds, sweeps)
            runs += [found[arm] for arm in here]
    columns = ["task", "arm", "seed", "lr", "chance", *metrics]
    table = pd.concat(runs, ignore_index=True) if runs else pd.DataFrame(columns=columns)
    return Measured(
        with_parameters(table, {problem.name: problem for problem in problems}, arms),
        pd.concat(tuning, ignore_index=True) if tuning else pd.DataFrame(columns=["task", "arm", "loss", "chosen"]),
    )


def response_surface(problems, seeds, *, retention, sync_period, lr, store=None, progress=False):
    """Return what Lookahead around AdamW comes to over a grid, and AdamW alone at the same rates.

    problems : list of ``problems.Problem`` on data. seeds : list of ints. retention, sync_period, lr : lists of values,
    the axes. store, progress, errors : as in :func:`measure`. returns : frame, one row per problem and point, with
    ``task``, ``retention`` and ``sync_period`` (0 and 1 for AdamW alone), ``lr``, the means over the seeds of
    ``validation_loss`` and ``test_loss`` at the last step, and ``chance``, the loss that a diverged run counts with.
    """
    problems, seeds, lr = [*problems], [*seeds], [*lr]  # an iterator can be read only once
    opts = [*grid(AdamW(), lr=lr), *grid(Lookahead(AdamW()), retention=retention, sync_period=sync_period, lr=lr)]
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        sweeps = _Sweeps(store, report, len(problems) * len(opts) * len(seeds))
        return pd.concat([_surface(each, opts, seeds, sweeps) for each in problems], ignore_index=True)


def _surface(problem, opts, seeds, sweeps):
    rows = sweeps.rows(problem, opts, seeds)
    curves, runs = Curves(rows, problem, by="run"), rows["run"].drop_duplicates()
    losses = {name: METRICS[name].measure(curves)[runs].to_numpy() for name in ("validation_loss", "test_loss")}
    points = rows.loc[runs.index, ["retention", "sync_period", "lr"]].fillna({"retention": 0, "sync_period": 1})
    points = points.astype({"sync_period": int}).assign(task=problem.name, chance=problem.chance, **losses)
    return points.groupby(["task", "retention", "sync_period", "lr", "chance"], sort=False).mean().reset_index()


def operations(claim, tasks=None):
    """Return the floating-point operations of the training steps of a claim, tuning included, on some of its tasks.

    claim, tasks : as in :func:`measure`. Runs that are the same in two arms are counted twice, evaluations not at all.
    errors : those of ``datasets.load``.
    """
    number = claim.number_of_seeds
    return float(
        sum(
            _number_of_runs(each, claim.arms, claim.metrics, number) * each.operations
            for each in _problems(claim, tasks)
        )
    )


def _problems(claim, tasks):
    return [claim.problems[name] for name in (claim.tasks if tasks is None else tasks)]


def _arms_on(problem, arms):
    return [arm for arm in arms.values() if arm.is_on(problem.name)]


def _number_of_runs(problem, arms, metrics, seeds):
    here = _arms_on(problem, arms)
    trials = sum(len(arm.trials) for arm in here)
    drawn = sum(arms[0].draws for arms in _by_draw(arm for arm in here if arm.draws))
    plain = sum(not arm.draws for arm in here)
    per_seed = _needs_runs(problem, metrics) * (plain + drawn) + STARTS * _needs_crossings(problem, metrics) * plain
    return trials * len(TUNING_SEEDS) + per_seed * seeds


def _needs_runs(problem, metrics):
    return any(METRICS[name].of_curves and METRICS[name].fits(problem) for name in metrics)


def _needs_crossings(problem, metrics):
    return any(METRICS[name].crosses and METRICS[name].fits(problem) for name in metrics)


def tune(arms, problem, sweeps):
    """Try all trials of arms on the tuning seeds; return them with their mean validation loss, and the best settings.

    On a landscape, which has no validation part, the expected loss takes its place.

    arms : list of ``problems.Arm`` with trials; problem : ``problems.Problem``; sweeps : what runs them. returns :
    frame as in :class:`Measured`; dict of settings by arm.
    """
    tried = [(arm, chosen, arm.optimizer(problem, **chosen)) for arm in arms for chosen in arm.trials]
    rows = sweeps(problem, [opt for *_, opt in tried], TUNING_SEEDS)
    name = "train_loss" if problem.on_landscape else "validation_loss"
    losses = [Curves(rows[opt], problem, arm.weights)[name].iloc[-1].mean() for arm, _, opt in tried]
    trials = pd.DataFrame([{"task": problem.name, "arm": arm.name} | chosen for arm, chosen, _ in tried])
    trials = trials.assign(lr=trials["lr"].replace("given", problem.fields.get("lr")).astype(float), loss=losses)
    best = trials.groupby("arm", sort=False)["loss"].idxmin()
    return trials.assign(chosen=trials.index.isin(best)), {arm: tried[i][1] for arm, i in best.items()}


def slow_steps(opt, problem):
    """Return the slow steps that a Lookahead takes on a problem, one row for each of the tuning seeds.

    opt : Lookahead; problem : ``problems.Problem``. returns : (seeds, syncs) float64. errors : those of ``train``.
    """
    how = problem.training() | {"eval_every": problem.steps}
    return np.array([train(opt=opt, seed=seed, **how).state.slow_steps for seed in TUNING_SEEDS])


def steps_along(claim, arm, runs):
    """Return the slow steps of an arm at its tuned rate on all tasks at hand, tuning seeds: one row per sync.

    claim : ``claims.Claim``; arm : name of an adaptive one; runs : frame as in :class:`Measured`. returns : frame with
    ``task``, ``seed``, ``progress`` (the share of the run that is over) and ``slow_step_size``.
    """
    rates, parts = runs[runs["arm"] == arm].groupby("task")["lr"].first(), []
    for name in rates.index[[claim.problems[name].at_hand for name in rates.index]]:
        taken = slow_steps(claim.arms[arm].optimizer(claim.problems[name], rates[name]), claim.problems[name])
        seed, sync = np.indices(taken.shape)
        columns = {"seed": seed, "progress": (sync + 1) / taken.shape[1], "slow_step_size": taken}
        parts.append(pd.DataFrame({key: each.ravel() for key, each in columns.items()}).assign(task=name))
    return pd.concat(parts, ignore_index=True)


def _taken_over(adaptive, how, problem):
    """Return the slow_step_size of an arm that takes over the steps of an adaptive Lookahead, see ``problems.Arm``."""
    taken = slow_steps(adaptive, problem)
    if how == "mean":
        return round(float(taken.mean()), 6)
    order = permutation(taken.shape[1], 0, SUBSETS) if how == "shuffled" else slice(None)
    return tuple(taken[0, order].tolist())


def _optimizer(arm, problem, settings, arms):
    if arm.name in settings:
        return arm.optimizer(problem, **settings[arm.name])
    if "steps_as" in arm.fields:
        adaptive = _optimizer(arms[arm.rate_of], problem, settings, arms)
        size = _taken_over(adaptive, arm.fields["steps_as"], problem)
        return arm.optimizer(problem, settings[arm.rate_of]["lr"], slow_step_size=size)
    return arm.optimizer(problem, settings[arm.rate_of]["lr"] if arm.rate_of else arm.fields["lr"])


def _measured(arm, opt, problem, metrics, seeds, rows, crossed):
    rate = getattr(opt, "inner", opt).schedule.peak
    values = {"task": problem.name, "arm": arm.name, "seed": seeds, "lr": rate, "chance": problem.chance}
    curves = Curves(rows[opt], problem, arm.weights) if rows else None
    for name in metrics:
        metric = METRICS[name]
        of = (opt, problem) if metric.exact else (crossed.get(opt), problem) if metric.crosses else (curves,)
        measured = metric.measure(*of) if metric.fits(problem) else np.nan
        values[name] = measured.loc[seeds].to_numpy() if isinstance(measured, pd.Series) else measured
    return pd.DataFrame(values)


def _by_draw(arms):
    """Return lists of the arms that differ in ``best_of`` alone, whose runs are the same."""
    alike: dict[str, list] = {}
    for arm in arms:
        alike.setdefault(json.dumps(arm.fields | {"best_of": None}, sort_keys=True), []).append(arm)
    return [*alike.values()]


def _best_of(arms, problem, settings, metrics, seeds, sweeps):
    """Train all draws of arms for every seed; return by arm what the best of so many of them measures, as expected."""
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
        for (arm, *_), mine, tried in zip(groups, measured, opts, strict=True):
            for name in names:
                mine[name].append(values[arm.weights, name][[run[opt] for opt in tried]].to_numpy())
    found = {}
    for group, mine, rate in zip(groups, measured, rates, strict=True):
        best = {name: statistics.best_of(mine[choice], mine[name], group[0].draws) for name in names}
        for arm in group:
            lr = rate * arm.fields.get("times", 1)
            of_arm = {"task": problem.name, "arm": arm.name, "seed": seeds, "lr": lr, "chance": problem.chance}
            values = {name: best[name][arm.fields["best_of"]].to_numpy() for name in fitting}
            found[arm] = pd.DataFrame(of_arm | values).reindex(columns=[*of_arm, *metrics])
    return found


def _rate(arm, problem, settings):
    """Return the learning rate of an arm that draws other settings than this one, else NaN."""
    lr = settings[arm.rate_of]["lr"] if arm.rate_of else arm.fields.get("lr", np.nan)
    return problem.fields.get("lr") if lr == "given" else lr


class _Sweeps:
    """One sweep after the other, with one progress for all; each gives its rows, or crossings, by optimizer.

    store : folder that keeps them, or None; report : function of (runs done, runs in all); total : int.
    """

    def __init__(self, store, report, total):
        self.store, self.report, self.total, self.done = store, report, total, 0

    def __call__(self, problem, opts, seeds):
        different = list(dict.fromkeys(opts))
        rows = self.rows(problem, different, seeds)
        self.done += (len(opts) - len(different)) * len(seeds)
        runs = rows["run"].drop_duplicates()  # by configuration, then by seed
        which = pd.Series(np.repeat(np.arange(len(different)), len(seeds)), runs)
        found = dict(iter(rows.groupby(rows["run"].map(which))))
        return {opt: found[i] for i, opt in enumerate(different)}

    def rows(self, problem, different, seeds):
        """Return the rows of different optimizers as ``sweep`` orders them."""
        store = None
        if self.store is not None:
            key = [problem.fields, problem.fingerprint, [opt.settings() for opt in different], list(seeds)]
            store = Path(self.store) / sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        report = lambda done, _: self.report(self.done + done, self.total)  # noqa: E731
        rows = sweep(configs=different, seeds=seeds, store=store, progress=report, **problem.training())
        self.done += len(different) * len(seeds)
        self.report(self.done, self.total)
        return rows

    def crossings(self, problem, opts, seeds):
        """Return the crossings of optimizers, by optimizer, with the seeds as index."""
        different, at = list(dict.fromkeys(opts)), sorted({problem.steps >> i or 1 for i in range(HALVINGS + 1)})
        rows = crossings(problem.model, different, at=at, seeds=seeds).set_index("seed")
        self.done += STARTS * len(opts) * len(seeds)
        self.report(self.done, self.total)
        return {opt: rows.iloc[i * len(seeds) :][: len(seeds)] for i, opt in enumerate(different)}
