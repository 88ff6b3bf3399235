"""Compile what most tests need, both widths side by side: ``python -m tests.support.warm_up``.

Numba keeps compiled code next to the sources, for every environment with the same versions and CPU. Without this step
the processes that share the tests would each compile the same kernels, inside whichever test comes first.
"""

import subprocess
import sys
import time

import numpy as np

import lookahead_nb as lnb
from lookahead_nb.training.plan import SHARED_FROM

WIDTHS = ("float32", "float64")


def compile_kernels(width):
    """Train each kind of model once, alone and side by side with others, and an agent."""
    rng = np.random.default_rng(0)
    data = lnb.datasets.from_arrays(rng.normal(0, 1, (60, 4)), np.arange(60) % 3)
    configs = [lnb.Lookahead(lnb.AdamW(0.01 * i), sync_period=2) for i in range(1, SHARED_FROM + 1)]
    lnb.train(lnb.MLP((4, 5, 3)), data, configs[0], steps=4, batch_size=8, dtype=width)
    lnb.train(lnb.landscapes.Quadratic([1.0, 0.1]), None, configs[0], steps=4, dtype=width)
    lnb.sweep(lnb.MLP((4, 5, 3)), data, configs, seeds=1, steps=4, batch_size=8, dtype=width, progress=False)
    lnb.agents.train(lnb.agents.Policy((3,)), configs[0], env_steps=512, episodes=2, evaluations=1, dtype=width)


def main():
    """Start a process for each width, and say how long they took."""
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.support.warm_up"]
    processes = [subprocess.Popen([*command, width]) for width in WIDTHS]
    if any([process.wait() for process in processes]):
        sys.exit("the kernels could not be compiled; the error is above")
    print(f"kernels ready after {time.monotonic() - start:.0f} s")  # noqa: T201


if __name__ == "__main__":
    compile_kernels(sys.argv[1]) if sys.argv[1:] else main()
