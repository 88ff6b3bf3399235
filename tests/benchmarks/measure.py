"""What all benchmarks share: time rivals in turn, record the machine, write the table, put it into README and book.

No module of the benchmarks imports a library that it compares with before it is needed: one may be missing.
"""

import json
import os
import pathlib
import pickle
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import distributions, version

import numpy as np

from lookahead_nb.provenance import write_table

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ("torch", "jax", "jaxlib", "optax", "gymnasium")
ON_CUDA = ("numba-cuda", "cuda-toolkit", "jax-cuda13-plugin")
QUICK = "--quick" in sys.argv
KEPT_FOR = 24 * 3600  # seconds
TYPES = {"optimizer": "str", "library": "str", "variant": "str", "thread_limit": "Int64"}  # of columns with gaps


@dataclass(frozen=True)
class Rival:
    """Who is timed, and how: the key of its times; its fields are columns of the tables, None is an empty cell.

    optimizer : "AdamW" or "Lookahead"; None where nothing is stepped, and in sweeps, where all have the same ones.
    library : who does it. variant : which of several ways. thread_limit : the threads it is held to, if it is.
    """

    optimizer: str | None
    library: str
    variant: str | None = None
    thread_limit: int | None = None

    def __str__(self):
        threads = self.thread_limit and f"{self.thread_limit} thread{'s' if self.thread_limit > 1 else ''}"
        return ", ".join(filter(None, (self.optimizer, self.library, self.variant, threads)))


def alternate(rivals, rounds, *, settle=False):
    """Time the rivals in turn, round by round; return rival -> seconds of every round, (rounds,) each.

    rivals : rival -> (function, times it is called in one round). Each has run once before, so nothing is compiled and
    no page is touched for the first time inside. A busy machine disturbs neighbours alike, so ratios are taken round
    by round: see :func:`ratio`. settle : whether each waits, before its turn, until the threads of the one before have
    gone to sleep, and is called once untimed; for calls of less than a second.
    """
    for function, _ in rivals.values():
        function()
    seconds = {rival: [] for rival in rivals}
    for _ in range(rounds):
        for rival, (function, times) in rivals.items():
            if settle:
                time.sleep(0.02)
                function()
            start = time.perf_counter()
            for _ in range(times):
                function()
            seconds[rival].append((time.perf_counter() - start) / times)
    return {rival: np.array(values) for rival, values in seconds.items()}


def kept(name, measure):
    """Return what a part of a benchmark measured: that of the last hours after an interruption, or measured now."""
    path = ROOT / "build" / "benchmarks" / f"{name}.pickle"
    if not QUICK and path.exists() and time.time() - path.stat().st_mtime < KEPT_FOR:
        return pickle.loads(path.read_bytes())
    result = measure()
    if not QUICK:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(result))
    return result


def ratio(seconds, of, to):
    """Return the median over rounds of how many times as long one rival takes as the other."""
    return statistics.median(seconds[of] / seconds[to])


def best(seconds, **fields):
    """Return the rival with the smallest median among those with these fields."""
    chosen = [rival for rival in seconds if all(getattr(rival, name) == value for name, value in fields.items())]
    return min(chosen, key=lambda rival: statistics.median(seconds[rival]))


def frame_of(rows):
    """Return the rows of a table as a frame in which the columns of a rival have the same types in any table."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    return frame.astype({name: TYPES[name] for name in frame.columns if name in TYPES})


def peers():
    """Return what the result hangs on beside our own machine record: versions of the peers, threads, BLAS kernels."""
    import threadpoolctl
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
    """Write the frame with its manifest to ``data/timings`` and the Markdown table into the pages, and print it.

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
    begin, end = f"<!-- bench {name} -->", "<!-- /bench -->"
    between = re.compile(f"{begin}.*?{end}", re.DOTALL)
    pages = [ROOT / "README.md", *sorted((ROOT / "paper/book").glob("*.md"))]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    places = [page for page, text in texts.items() if between.search(text)]
    if not places:
        raise ValueError(f"README.md or a page of paper/book must hold {begin} ... {end} for the table, and none does")
    for page in places:
        page.write_text(between.sub(lambda _: f"{begin}\n{table}\n{end}", texts[page], count=1), encoding="utf-8")


def markdown(head, rows):
    """Return a Markdown table; the first column is text, the others are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def significant(x, digits=3):
    """Return a number rounded to some digits, without exponent."""
    return f"{float(f'{x:.{digits}g}'):,.10g}"
