"""Trials: the training runs of a registered claim, its tuned arms among them, and one number per run and metric."""

from __future__ import annotations

import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lookahead_nb.metrics import METRICS, Curves
from lookahead_nb.sweep import sweep

TUNING_SEEDS = range(6)  # never those of a result, which are far larger


class Measured(NamedTuple):
    """What was measured: ``runs``, one row per task, arm and seed with ``lr`` and a column for each metric, and
    ``tuning``, one row per task, arm and trial with its settings, ``loss`` and whether it was ``chosen``.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame


def measure(claim, *, tasks=None, attempt=0, store=None, progress=False):
    """Train all arms of a claim on its tasks, tune those that say so, and return :class:`Measured`.

    claim : ``claims.Claim``. tasks : names among those of the claim, default all. attempt : int, 0 for the seeds of the
    registered result, 1, 2, ... for fresh ones. store : folder that keeps the sweeps. progress : as in ``sweep``.
    errors : those of ``sweep``.
    """
    runs, tuning = [], []
    for name in tasks or claim.tasks:
        problem, seeds = claim.problems[name], claim.seeds(attempt)
        train = partial(_train, problem, store=store, progress=progress)
        settings = {}
        for arm in claim.arms.values():
            if arm.trials:
                trials, settings[arm.name] = tune(arm, problem, train)
                tuning.append(trials.assign(task=name, arm=arm.name))
        opts = {arm.name: _optimizer(arm, problem, settings) for arm in claim.arms.values()}
        exact = [name for name in claim.metrics if METRICS[name].exact]
        different = list(dict.fromkeys(opts.values()))
        rows = _by_optimizer(train(different, seeds), different, len(seeds)) if len(exact) < len(claim.metrics) else {}
        for arm in claim.arms.values():
            opt = opts[arm.name]
            rate = getattr(opt, "inner", opt).schedule.peak
            values = {"task": name, "arm": arm.name, "lr": rate, "chance": problem.chance}
            for metric in claim.metrics:
                measure = METRICS[metric].measure
                if metric in exact:
                    values[metric] = measure(opt, problem)
                else:
                    values[metric] = measure(Curves(rows[opt], problem, arm.fields.get("weights", "slow")))
            runs.append(pd.DataFrame(values, pd.Index(seeds, name="seed")).reset_index())
    empty = pd.DataFrame({"task": [], "arm": []})
    return Measured(pd.concat(runs, ignore_index=True), pd.concat(tuning or [empty], ignore_index=True))


def tune(arm, problem, train):
    """Try all trials of an arm on the tuning seeds; return them with their mean validation loss, and the best settings.

    On a landscape, which has no validation part, the expected loss takes its place.
    """
    opts = [arm.optimizer(problem, **({"lr": 1.0} | chosen)) for chosen in arm.trials]
    rows = train(opts, TUNING_SEEDS)
    by_run = _by_optimizer(rows, opts, len(TUNING_SEEDS))
    name = "train_loss" if problem.on_landscape else "validation_loss"
    losses = [Curves(by_run[opt], problem, arm.fields.get("weights", "slow"))[name].iloc[-1].mean() for opt in opts]
    trials = pd.DataFrame(arm.trials).assign(loss=losses)
    best = trials["loss"].idxmin()
    return trials.assign(chosen=trials.index == best), arm.trials[best]


def _optimizer(arm, problem, settings):
    if arm.name in settings:
        return arm.optimizer(problem, **({"lr": 1.0} | settings[arm.name]))
    if arm.rate_of:
        return arm.optimizer(problem, settings[arm.rate_of]["lr"])
    lr = arm.fields["lr"]
    return arm.optimizer(problem, problem.fields["lr"] if lr == "given" else lr)


def _train(problem, opts, seeds, *, store, progress):
    training = problem.training()
    if store is not None:
        key = [problem.fields, [opt.settings() for opt in opts], list(seeds)]
        store = Path(store) / sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return sweep(
        training.pop("model"), training.pop("data"), opts, seeds=seeds, store=store, progress=progress, **training
    )


def _by_optimizer(rows, opts, seeds):
    """Return the rows of each optimizer of a sweep, which stand in the order of the configurations."""
    runs = rows["run"].drop_duplicates().to_numpy().reshape(len(opts), seeds)
    place = {run: i for i, each in enumerate(runs) for run in each}
    found = dict(iter(rows.groupby(rows["run"].map(place), sort=True)))
    return {opt: found[i] for i, opt in enumerate(opts)}
