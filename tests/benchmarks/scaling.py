"""What a run costs in sweeps of any size, how much memory they take, and how long a process takes to its first result.

Each number comes from a process of its own, so that nothing is left over from the one before. Digits, MLP 64-32-10,
batch 64, 50 steps, evaluated at the first and the last one.
"""

import json
import resource
import sys
import tempfile
import time
from functools import partial

import numpy as np
import pandas as pd

import lookahead_nb as lnb
from tests.benchmarks.jax_sweep import Jax
from tests.benchmarks.measure import QUICK, in_a_new_process, markdown, publish, significant
from tests.benchmarks.sweep import Problem, ours

STEPS = 50
# From the start of the interpreter to the first frame, without the peers.
FIRST_RESULT = f"""
import json, lookahead_nb as lnb
configs = lnb.grid(lnb.Lookahead(lnb.AdamW()), sync_period=[2, 5, 10, 20], slow_step_size=[0.25, 0.5, 0.75, 1])
model, data = lnb.MLP((64, 32, 10)), lnb.datasets.load("digits")
rows = lnb.sweep(model, data, configs, seeds=1, steps={STEPS}, eval_at=[], progress=False)
print(json.dumps(len(rows)))
"""


def problem(runs):
    """Return a sweep of this many short runs that differ in their settings."""
    axes = {"slow_step_size": np.linspace(0.25, 1, 4).tolist(), "sync_period": [2, 5, 10, 20]}
    configs = lnb.grid(lnb.Lookahead(lnb.AdamW()), **axes, lr=np.geomspace(3e-4, 3e-3, runs // 16).tolist())
    return Problem(lnb.MLP((64, 32, 10)), lnb.datasets.load("digits"), configs, range(1), STEPS, (0, STEPS))


def peak():
    """Return the largest memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def one_size(library, runs):
    """Train one sweep a second time; return seconds and the memory that both times added to the process."""
    ours(problem(32))  # loads what every sweep needs
    before = peak()
    train = partial(ours, problem(runs)) if library == "ours" else Jax(problem(runs))
    train()
    start = time.perf_counter()
    train()
    return {"seconds": time.perf_counter() - start, "added": peak() - before}


def main():
    """Measure sizes and starts and publish the table."""
    rows, lines = [], []
    for runs in (64, 128) if QUICK else (256, 2048, 16384):
        line = [f"{runs:,}"]
        for library in ("ours", "JAX"):
            command = "-m", "tests.benchmarks.scaling", "one", library, runs
            found = [in_a_new_process(*command) for _ in range(1 if QUICK else 3)]
            seconds = np.median([one["seconds"] for one in found])
            added = np.median([one["added"] for one in found])
            rows.append({"what": "sweep", "library": library, "runs": runs, "seconds": seconds, "added_bytes": added})
            line += [f"{significant(1e3 * seconds / runs)} ms", f"{added / 2**20:.0f} MiB"]
        lines.append(line)
    with tempfile.TemporaryDirectory() as cache:
        for what in ("cold start", "warm start"):
            start = time.perf_counter()
            in_a_new_process("-c", FIRST_RESULT, NUMBA_CACHE_DIR=cache)
            seconds = time.perf_counter() - start
            rows.append({"what": what, "library": "ours", "runs": 16, "seconds": seconds, "added_bytes": np.nan})
            lines.append([f"{what}, 16 runs", f"{significant(seconds)} s", "", "", ""])
    head = ["runs", "ours, per run", "added memory", "JAX `vmap`, per run", "added memory"]
    publish(pd.DataFrame(rows).assign(steps=STEPS), "scaling", markdown(head, lines))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["one", library, runs]:
            print(json.dumps(one_size(library, int(runs))))
        case _:
            main()
