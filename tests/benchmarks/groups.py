"""Runs side by side: what a group costs against runs alone, many seeds, and many tasks in one call.

The first table is the reason for the numbers by which ``plan.groups`` decides. A group takes the same time however many
of its lanes are used. If it takes as long as five runs alone, it pays from five runs on.
"""

import itertools
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb.claims.population import generated
from lookahead_nb.training import engine_cpu, plan
from lookahead_nb.training.setup import Setup, Training
from tests.benchmarks.measure import QUICK, alternate, markdown, publish, ratio, significant

LANES = 16
ABOUT = """Few settings with many seeds, and many small tasks in one call, against the same work run by run and task by
task. The tasks are the first 100 of the generated population, with 6 rates, 4 arms and 4 seeds."""
NETWORKS = {
    "logistic 64-10": lnb.LogisticRegression(64, n_classes=10),
    "MLP 8-16-3": lnb.MLP((8, 16, 3)),
    "MLP 64-32-10": lnb.MLP((64, 32, 10)),
    "MLP 90-64-64-10": lnb.MLP((90, 64, 64, 10)),
}


def data_of(model, seed, rows=2000):
    """Return clusters with the features and classes of a model."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % model.n_classes
    return lnb.datasets.from_arrays(rng.normal(0, 1, (rows, model.n_features)) + y[:, None] / 4, y)


def choices(model, steps, rounds):
    """Return seconds of a run alone and of a group whose runs share everything, or nothing."""
    training = Training(steps=steps, batch_size=64)
    setups = [Setup(model, data_of(model, seed), training) for seed in range(LANES)]
    opts = lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=np.geomspace(1e-4, 1e-2, LANES).tolist())
    rows = [setup.rows(0) for setup in setups]

    def alone():
        params = model.init(0, "float32")
        engine_cpu.train_network(setups[0], opts[0], 0, rows[0], params, opts[0].init(params))

    def group(seeds, rows):
        engine_cpu.train_side_by_side(setups[0], opts, list(seeds), rows)

    rivals = {
        "alone": alone,
        "one seed": partial(group, [0] * LANES, rows[:1] * LANES),
        "own seeds": partial(group, range(LANES), rows[:1] * LANES),
        "own data": partial(group, range(LANES), rows),
    }
    return alternate({name: (function, 1) for name, function in rivals.items()}, rounds)


@contextmanager
def one_by_one():
    """Train every run of a network alone."""
    with mock.patch.multiple(plan, SHARED_FROM=LANES + 1, MIXED_FROM=LANES + 1):
        yield


def many_seeds(steps, seeds, own_data):
    """Return rivals: few settings and many seeds, run by run and side by side."""
    model, data = NETWORKS["MLP 64-32-10"], lnb.datasets.load("digits")
    opts = lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=np.geomspace(3e-4, 3e-3, 5).tolist())
    data = partial(lnb.datasets.load, "digits") if own_data else data
    how = {"seeds": seeds, "steps": steps, "eval_at": [], "progress": False}

    def alone():
        with one_by_one():
            lnb.sweep(model, data, opts, **how)

    return {"run by run": (alone, 1), "side by side": (partial(lnb.sweep, model, data, opts, **how), 1)}


def tasks_of(count):
    """Return the first tasks of the generated population, each with its own rows for every seed."""
    tasks = [generated(i).task for i in range(count)]
    return [replace(task, steps=task.steps // 20) for task in tasks] if QUICK else tasks


def many_tasks(count, seeds):
    """Return rivals: generated tasks, one call for each and one for all, and the number of their runs."""
    rates = np.geomspace(1e-4, 1e-1, 3 if QUICK else 6).tolist()
    arms = [
        lnb.AdamW(),
        lnb.Lookahead(lnb.AdamW()),
        lnb.Lookahead(lnb.AdamW(), pull_back=False),
        lnb.ScheduleFreeAdamW(),
    ]
    opts = list(itertools.chain.from_iterable(lnb.grid(arm, lr=rates) for arm in arms))
    tasks, how = tasks_of(count), {"seeds": seeds, "eval_at": [], "progress": False}

    def one_at_a_time():
        for task in tasks:
            lnb.sweep([task], None, opts, **how)

    def one_call():
        lnb.sweep(tasks, None, opts, **how)

    return {"one at a time": (one_at_a_time, 1), "one call": (one_call, 1)}, count * len(opts) * seeds


def main():
    """Measure and publish both tables."""
    rows, pays, gains = [], [], []
    for name, model in NETWORKS.items():
        seconds = choices(model, 50 if QUICK else 2000, 1 if QUICK else 5)
        rows += _rows(name, seconds)
        least = [ratio(seconds, rival, "alone") for rival in ("one seed", "own seeds", "own data")]
        pays.append([name, *map(significant, least), significant(LANES * ratio(seconds, "one seed", "own seeds"))])
    few = (20, 8, 1) if QUICK else (1000, 100, 3)
    for own, name in ((False, "5 settings, 100 seeds"), (True, "the same, a split for each seed")):
        seconds = alternate(many_seeds(few[0], few[1], own), few[2])
        rows += _rows(name, seconds)
        gains.append(_gain(name, 5 * few[1], seconds, "run by run", "side by side"))
    rivals, runs = many_tasks(*((6, 2) if QUICK else (100, 4)))
    seconds = alternate(rivals, 1 if QUICK else 2)
    rows += _rows("100 generated tasks", seconds)
    gains.append(_gain("100 generated tasks", runs, seconds, "one at a time", "one call"))
    head = ["a group pays from so many runs", "one seed", "own seeds", "own data", "own group of a seed"]
    print(markdown(head, pays))
    publish(pd.DataFrame(rows), "groups", f"{ABOUT}\n\n{markdown(['sweep', 'runs/s', 'against', 'gain'], gains)}")


def _rows(name, seconds):
    columns = "seconds", "seconds_low", "seconds_high"
    quartiles = {rival: np.quantile(values, [0.5, 0.25, 0.75]) for rival, values in seconds.items()}
    return [
        {"what": name, "rival": rival} | dict(zip(columns, values, strict=True)) for rival, values in quartiles.items()
    ]


def _gain(name, runs, seconds, before, after):
    speed = significant(runs / np.median(seconds[after]))
    return [name, speed, before, f"{ratio(seconds, before, after):.2f}×"]


if __name__ == "__main__":
    main()
