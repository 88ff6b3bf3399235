"""Trials: the training runs of a registered claim, its tuned arms among them, and one number per run and metric."""

from __future__ import annotations

import json
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb.escapes import crossings
from lookahead_nb.metrics import METRICS, Curves
from lookahead_nb.progress import Progress
from lookahead_nb.sweep import sweep

TUNING_SEEDS = range(6)  # never those of a result, which are far larger
STARTS = 3  # of crossings: both minima and the ridge
HALVINGS = 6  # crossings are read after all steps, after half of them, and so on


class Measured(NamedTuple):
    """What was measured: ``runs``, one row per task, arm and seed with ``lr``, ``chance`` and a column for each metric,
    NaN where it does not fit the task, and ``tuning``, one row per task, arm and trial with its settings, ``loss`` and
    whether it was ``chosen``.
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
    total = sum(_number_of_runs(problem, arms, metrics, len(seeds)) for problem in problems)
    runs, tuning = [], []
    with Progress() if progress is True else nullcontext(progress or (lambda _done, _total: None)) as report:
        sweeps = _Sweeps(store, report, total)
        for problem in problems:
            here, settings = _arms_on(problem, arms), {}
            if tuned := [arm for arm in here if arm.trials]:
                trials, settings = tune(tuned, problem, sweeps)
                tuning.append(trials)
            opts = [_optimizer(arm, problem, settings) for arm in here]
            rows = sweeps(problem, opts, seeds) if opts and _needs_runs(problem, metrics) else {}
            crossed = sweeps.crossings(problem, opts, seeds) if opts and _needs_crossings(problem, metrics) else {}
            runs += [_measured(*each, problem, metrics, seeds, rows, crossed) for each in zip(here, opts, strict=True)]
    columns = ["task", "arm", "seed", "lr", "chance", *metrics]
    return Measured(
        pd.concat(runs, ignore_index=True) if runs else pd.DataFrame(columns=columns),
        pd.concat(tuning, ignore_index=True) if tuning else pd.DataFrame(columns=["task", "arm", "loss", "chosen"]),
    )


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
    per_seed = _needs_runs(problem, metrics) + STARTS * _needs_crossings(problem, metrics)
    return trials * len(TUNING_SEEDS) + per_seed * len(here) * seeds


def _needs_runs(problem, metrics):
    fitting = [METRICS[name] for name in metrics if METRICS[name].fits(problem)]
    return not all(metric.exact or metric.crosses for metric in fitting)


def _needs_crossings(problem, metrics):
    return any(METRICS[name].crosses and METRICS[name].fits(problem) for name in metrics)


def tune(arms, problem, sweeps):
    """Try all trials of arms on the tuning seeds; return them with their mean validation loss, and the best settings.

    On a landscape, which has no validation part, the expected loss takes its place. returns : frame as in
    :class:`Measured`; dict of settings by arm.
    """
    tried = [(arm, chosen, arm.optimizer(problem, **chosen)) for arm in arms for chosen in arm.trials]
    rows = sweeps(problem, [opt for *_, opt in tried], TUNING_SEEDS)
    name = "train_loss" if problem.on_landscape else "validation_loss"
    losses = [Curves(rows[opt], problem, arm.weights)[name].iloc[-1].mean() for arm, _, opt in tried]
    trials = pd.DataFrame([{"task": problem.name, "arm": arm.name} | chosen for arm, chosen, _ in tried])
    trials = trials.assign(lr=trials["lr"].replace("given", problem.fields.get("lr")).astype(float), loss=losses)
    best = trials.groupby("arm", sort=False)["loss"].idxmin()
    return trials.assign(chosen=trials.index.isin(best)), {arm: tried[i][1] for arm, i in best.items()}


def _optimizer(arm, problem, settings):
    if arm.name in settings:
        return arm.optimizer(problem, **settings[arm.name])
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


class _Sweeps:
    """One sweep after the other, with one progress for all; each gives its rows, or crossings, by optimizer.

    store : folder that keeps them, or None; report : function of (runs done, runs in all); total : int.
    """

    def __init__(self, store, report, total):
        self.store, self.report, self.total, self.done = store, report, total, 0

    def __call__(self, problem, opts, seeds):
        different, store = list(dict.fromkeys(opts)), None
        if self.store is not None:
            key = [problem.fields, problem.fingerprint, [opt.settings() for opt in different], list(seeds)]
            store = Path(self.store) / sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        report = lambda done, _: self.report(self.done + done, self.total)  # noqa: E731
        rows = sweep(configs=different, seeds=seeds, store=store, progress=report, **problem.training())
        self.done += len(opts) * len(seeds)
        self.report(self.done, self.total)
        runs = rows["run"].drop_duplicates()  # by configuration, then by seed
        which = pd.Series(np.repeat(np.arange(len(different)), len(seeds)), runs)
        found = dict(iter(rows.groupby(rows["run"].map(which))))
        return {opt: found[i] for i, opt in enumerate(different)}

    def crossings(self, problem, opts, seeds):
        different, at = list(dict.fromkeys(opts)), sorted({problem.steps >> i or 1 for i in range(HALVINGS + 1)})
        rows = crossings(problem.model, different, at=at, seeds=seeds).set_index("seed")
        self.done += STARTS * len(opts) * len(seeds)
        self.report(self.done, self.total)
        return {opt: rows.iloc[i * len(seeds) :][: len(seeds)] for i, opt in enumerate(different)}
