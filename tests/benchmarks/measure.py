"""What all benchmarks share: time rivals in turn, record the machine, write the table, put it into the README."""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import distributions, version

import numpy as np
import threadpoolctl

from lookahead_nb.provenance import write_table

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ("torch", "jax", "jaxlib", "optax")
ON_CUDA = ("numba-cuda", "cuda-toolkit", "jax-cuda13-plugin")
QUICK = "--quick" in sys.argv


def alternate(rivals, rounds, *, settle=False):
    """Time the rivals in turn, round by round; return name -> seconds of every round, (rounds,) each.

    rivals : name -> (function, times it is called in one round). Each has run once before, so nothing is compiled and
    no page is touched for the first time inside. A busy machine disturbs neighbours alike, so ratios are taken round
    by round: see :func:`ratio`. settle : whether each waits, before its turn, until the threads of the one before have
    gone to sleep, and is called once untimed; for calls of less than a second.
    """
    for function, _ in rivals.values():
        function()
    seconds = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, (function, times) in rivals.items():
            if settle:
                time.sleep(0.02)
                function()
            start = time.perf_counter()
            for _ in range(times):
                function()
            seconds[name].append((time.perf_counter() - start) / times)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(seconds, of, to):
    """Return the median over rounds of how many times as long one rival takes as the other."""
    return statistics.median(seconds[of] / seconds[to])


def best(seconds, names):
    """Return the one of these rivals with the smallest median."""
    return min(names, key=lambda name: statistics.median(seconds[name]))


def peers():
    """Return what the result hangs on beside our own machine record: versions of the peers, threads, BLAS kernels."""
    import torch

    known = ("user_api", "internal_api", "version", "architecture", "num_threads")
    pools = [{key: pool[key] for key in known if key in pool} for pool in threadpoolctl.threadpool_info()]
    versions = {name: version(name) for name in PEERS}
    versions |= {name: version(name) for name in ON_CUDA if any(distributions(name=name))}
    return {"versions": versions, "torch_threads": torch.get_num_threads(), "pools": pools}


def in_a_new_process(*arguments, **environment):
    """Run Python with these arguments in a process of its own; return what it printed last, read as JSON."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {name: str(value) for name, value in environment.items()}
    child = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return json.loads(child.stdout.splitlines()[-1])


def publish(frame, name, table, gpu=None):
    """Write the frame with its manifest to ``data/timings`` and the Markdown table into the README, and print it.

    A quick run only prints: its numbers are no measurement. gpu : dict, what the manifest says of the GPU, or None.
    """
    print(f"\n{table}\n")
    if QUICK:
        return
    (ROOT / "data/timings").mkdir(exist_ok=True)
    path = write_table(frame, name, folder=ROOT / "data/timings")
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["machine"] |= {"peers": peers(), "gpu": gpu}
    path.with_suffix(".json").write_text(json.dumps(manifest, indent=1) + "\n")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    begin, end = f"<!-- bench {name} -->", "<!-- /bench -->"
    between = re.compile(f"{begin}.*?{end}", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"README.md must hold {begin} ... {end} for the table, and does not")
    readme.write_text(between.sub(lambda _: f"{begin}\n{table}\n{end}", text, count=1), encoding="utf-8")


def markdown(head, rows):
    """Return a Markdown table; the first column is text, the others are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def significant(x, digits=3):
    """Return a number rounded to some digits, without exponent."""
    return f"{float(f'{x:.{digits}g}'):,.10g}"
