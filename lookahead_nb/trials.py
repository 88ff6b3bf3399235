"""Trials: the training runs of a registered claim, its tuned arms among them, and one number per run and metric."""

from __future__ import annotations

import json
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb.metrics import METRICS, Curves
from lookahead_nb.philox import SUBSETS, permutation
from lookahead_nb.progress import Progress
from lookahead_nb.sweep import sweep
from lookahead_nb.train import train

TUNING_SEEDS = range(6)  # never those of a result, which are far larger


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
            opts = [_optimizer(arm, problem, settings, arms) for arm in here]
            rows = sweeps(problem, opts, seeds) if opts and _needs_runs(problem, metrics) else {}
            runs += [_measured(*each, problem, metrics, seeds, rows) for each in zip(here, opts, strict=True)]
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
    return trials * len(TUNING_SEEDS) + _needs_runs(problem, metrics) * len(here) * seeds


def _needs_runs(problem, metrics):
    return any(METRICS[name].fits(problem) and not METRICS[name].exact for name in metrics)


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


def slow_steps(opt, problem):
    """Return the slow steps that a Lookahead takes on a problem, one row for each of the tuning seeds."""
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


def _measured(arm, opt, problem, metrics, seeds, rows):
    rate = getattr(opt, "inner", opt).schedule.peak
    values = {"task": problem.name, "arm": arm.name, "seed": seeds, "lr": rate, "chance": problem.chance}
    curves = Curves(rows[opt], problem, arm.weights) if rows else None
    for name in metrics:
        metric = METRICS[name]
        measured = metric.measure(*((opt, problem) if metric.exact else (curves,))) if metric.fits(problem) else np.nan
        values[name] = measured.loc[seeds].to_numpy() if isinstance(measured, pd.Series) else measured
    return pd.DataFrame(values)


class _Sweeps:
    """One sweep after the other, with one progress for all; each gives its rows by optimizer.

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
