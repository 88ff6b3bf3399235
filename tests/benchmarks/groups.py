"""Runs side by side: what a group costs against runs alone, many seeds, and many tasks in one call.

The first table is the reason for the numbers by which ``plan.groups`` decides. A group takes the same time however many
of its lanes are used. If it takes as long as five runs alone, it pays from five runs on.
"""

import itertools
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb.training import engine_cpu, plan
from lookahead_nb.training.setup import Setup, Training
from tests.benchmarks.measure import QUICK, alternate, markdown, publish, ratio, significant

LANES = 16
ABOUT = """Few settings with many seeds, and many small tasks in one call, against the same work run by run and task by
task. The tasks are 100 random networks with 0 to 2 hidden layers, 40 to 2000 steps, 6 rates, 4 arms and 4 seeds."""
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


def random_tasks(count):
    """Return small tasks of all shapes: 8 to 90 features, 0 to 2 hidden layers, 40 to 2000 steps."""
    rng = np.random.default_rng(20190719)
    tasks = []
    for i in range(count):
        features = int(np.exp(rng.uniform(np.log(8), np.log(90))))
        hidden = rng.integers(16, 65, rng.integers(0, 3)).tolist()
        model = lnb.MLP((features, *hidden, int(rng.choice([2, 3, 5, 10]))))
        steps = 20 * round(np.exp(rng.uniform(np.log(40), np.log(2000))) / 20)
        rows = int(rng.integers(500, 4000))
        data = partial(_seeded, model, 1000 * i, rows)
        batch_size = int(rng.choice([16, 32, 64, 128]))
        tasks.append(lnb.Task(f"task {i}", model, data, steps=steps // 20 if QUICK else steps, batch_size=batch_size))
    return tasks


def _seeded(model, first, rows, seed):
    return data_of(model, first + seed, rows)


def many_tasks(count, seeds):
    """Return rivals: tasks of all shapes, one call for each and one for all, and the number of their runs."""
    rates = np.geomspace(1e-4, 1e-1, 3 if QUICK else 6).tolist()
    arms = [
        lnb.AdamW(),
        lnb.Lookahead(lnb.AdamW()),
        lnb.Lookahead(lnb.AdamW(), pull_back=False),
        lnb.ScheduleFreeAdamW(),
    ]
    opts = list(itertools.chain.from_iterable(lnb.grid(arm, lr=rates) for arm in arms))
    tasks, how = random_tasks(count), {"seeds": seeds, "eval_at": [], "progress": False}

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
        rows += [{"what": name, "rival": rival, "seconds": np.median(v)} for rival, v in seconds.items()]
        least = [ratio(seconds, rival, "alone") for rival in ("one seed", "own seeds", "own data")]
        pays.append([name, *map(significant, least), significant(LANES * ratio(seconds, "one seed", "own seeds"))])
    few = (20, 8, 1) if QUICK else (1000, 100, 3)
    for own, name in ((False, "5 settings, 100 seeds"), (True, "the same, a split for each seed")):
        seconds = alternate(many_seeds(few[0], few[1], own), few[2])
        rows += [{"what": name, "rival": rival, "seconds": np.median(v)} for rival, v in seconds.items()]
        gains.append(_gain(name, 5 * few[1], seconds, "run by run", "side by side"))
    rivals, runs = many_tasks(*((6, 2) if QUICK else (100, 4)))
    seconds = alternate(rivals, 1 if QUICK else 2)
    rows += [{"what": "100 small tasks", "rival": rival, "seconds": np.median(v)} for rival, v in seconds.items()]
    gains.append(_gain("100 small tasks", runs, seconds, "one at a time", "one call"))
    head = ["a group pays from so many runs", "one seed", "own seeds", "own data", "own group of a seed"]
    print(markdown(head, pays))
    publish(pd.DataFrame(rows), "groups", f"{ABOUT}\n\n{markdown(['sweep', 'runs/s', 'against', 'gain'], gains)}")


def _gain(name, runs, seconds, before, after):
    speed = significant(runs / np.median(seconds[after]))
    return [name, speed, before, f"{ratio(seconds, before, after):.2f}×"]


if __name__ == "__main__":
    main()
