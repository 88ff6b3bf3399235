"""The same on one GPU: a step over a flat buffer, and sweeps, against PyTorch, optax and JAX on that card.

``make bench DEVICE=cuda``. Everybody works in float32; matrix products of JAX too, which would by itself take TF32 and
agree with nobody. The limits of the card: a copy within its memory of as many bytes as the step moves, and processors x
fused multiply-adds x highest clock.

Flat step: weights, gradient and state lie on the card; a round ends when the card has done all steps. PyTorch is
``AdamW(fused=True)`` with a Lookahead in ``torch._foreach``, optax is jitted with donated buffers. "4 bytes at a time"
is our step on arrays that begin beside a multiple of 16 bytes.

Sweeps: ``sweep(..., backend="cuda")``, from the call to the frame, against JAX ``vmap`` over ``lax.scan`` in one jitted
call, and against this machine's CPU, which trains `ON_CPU` of the runs and is scaled: its cost is linear in the runs.
"""

import os
import sys
from dataclasses import replace

import numpy as np

import lookahead_nb as lnb
from lookahead_nb.kernels import gpu
from tests.benchmarks import flat_step, sweep
from tests.benchmarks.flat_step import ADAMW, OPTAX, OURS
from tests.benchmarks.measure import QUICK, Rival, alternate, frame_of, markdown, publish, ratio, significant
from tests.support.simulated import SIMULATED  # to try it without a card: PyTorch and JAX then work on the CPU

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the memory at once

ON_CPU = 256  # runs that the CPU trains
COMPARED_RUNS = 64
PRODUCTS_PER_CLOCK = {(7, 5): 64, (8, 0): 64}  # float32 fused multiply-adds of a processor; all later ones have 128
ARRAYS = {"AdamW": 4, "Lookahead": 5, None: 7}  # float32 per weight by optimizer, None for a copy; optax has one more
NARROW, FUSED = Rival("Lookahead", "ours", "4 bytes at a time"), Rival("Lookahead", "torch", "fused")
COPY, OUR_CPU = Rival(None, "copy"), Rival(None, "ours", "CPU")


def card():
    """Return what the results hang on: name, capability, memory, driver, and the most float32 operations per second."""
    if SIMULATED:
        return {"name": gpu.name(), "float32_per_second": np.nan, "total": np.inf}
    device, known = gpu.cuda.gpus[0], gpu.devices()[0]
    rate = float32_rate(tuple(device.compute_capability), device.MULTIPROCESSOR_COUNT, 1e3 * device.CLOCK_RATE)
    facts = {"processors": device.MULTIPROCESSOR_COUNT, "clock_hz": 1e3 * device.CLOCK_RATE, "float32_per_second": rate}
    return known._asdict() | facts | {"driver": gpu.driver()}


def float32_rate(capability, processors, clock):
    """Return the most float32 operations per second: a fused multiply-add is two of them."""
    return 2 * PRODUCTS_PER_CLOCK.get(capability, 128) * processors * clock


# ---------------------------------------------------------------------------------------------------------- flat step


class Copy:
    """A copy within the memory of the card that moves as many bytes as a step of AdamW: read half, write half."""

    def __init__(self, n):
        halves = np.zeros(flat_step.BYTES * n // 8, np.float32)
        self.source, self.target = (gpu.cuda.to_device(halves) for _ in range(2))

    @property
    def bytes(self):
        return self.source.nbytes + self.target.nbytes

    def step(self):
        self.target.copy_to_device(self.source)

    def sync(self):
        gpu.cuda.synchronize()


def beside(array):
    """Return the array on the card, from an address that is no multiple of 16 bytes."""
    there = gpu.cuda.to_device(np.concatenate([[np.float32(0)], array]))
    return there[1:]


def makers(params, grad, libraries=("torch", "optax")):
    """Return rival -> a function that makes what takes its steps, ready for the first; ours and of these libraries."""
    device, wait = "cpu" if SIMULATED else "cuda", gpu.cuda.synchronize

    def ours(opt, place=gpu.cuda.to_device):
        return lambda: flat_step.Ours(params, grad, opt, place=place, sync=wait)

    made = {
        ADAMW: ours(flat_step.INNER),
        OURS: ours(flat_step.LOOKAHEAD),
        NARROW: ours(flat_step.LOOKAHEAD, beside),
        Rival("AdamW", "torch", "fused"): lambda: flat_step.Torch(params, grad, False, 1, device, fused=True),
        FUSED: lambda: flat_step.Torch(params, grad, True, 1, device, fused=True),
        Rival("AdamW", "optax"): lambda: flat_step.Optax(params, grad, False),
        OPTAX: lambda: flat_step.Optax(params, grad, True),
    }
    return {rival: make for rival, make in made.items() if rival.library in ("ours", *libraries)}


def needed(rivals, n):
    """Return the bytes of memory that these rivals hold at once for n weights."""
    floats = sum(ARRAYS[rival.optimizer] + (rival.library == "optax") for rival in rivals)
    return 4 * n * floats


def measured_steps(n, steps, rounds):
    """Return rival -> seconds per step in every round; all rivals are on the card at once and take turns."""
    made = {rival: make() for rival, make in makers(*flat_step.problem(n)).items()}
    if not (differ := flat_step.difference(made)) <= flat_step.AGREEMENT:
        raise AssertionError(f"weights must agree within {flat_step.AGREEMENT}, not differ by {differ:.2g}")
    made[COPY] = Copy(n)
    seconds = alternate({rival: (flat_step.rounds_of(made[rival], steps), 1) for rival in made}, rounds)
    return {rival: values / steps for rival, values in seconds.items()}


STEP_HEAD = ["weights", "our step", "torch", "optax", "sync", "4 bytes at a time", "copy", "of copy"]


def step_line(n, seconds):
    """Return the line of the README's table."""
    return [
        f"{n:,}",
        f"{significant(1e6 * np.median(seconds[OURS]))} µs",
        significant(ratio(seconds, FUSED, OURS)) + "×",
        significant(ratio(seconds, OPTAX, OURS)) + "×",
        significant(ratio(seconds, OURS, ADAMW)) + "×",
        significant(ratio(seconds, NARROW, OURS)) + "×",
        f"{significant(flat_step.BYTES * n / np.median(seconds[COPY]) / 1e9)} GB/s",
        f"{100 * ratio(seconds, COPY, ADAMW):.0f} %",
    ]


def steps(about):
    """Measure all sizes of the flat step and publish the table."""
    plan = [(64, 2, 2), (67, 2, 2)] if QUICK else [(2**20, 200, 21), (2**24, 50, 21), (2**28, 10, 9)]
    rows, lines = [], []
    for n, times, rounds in plan:
        if (wanted := needed([*makers(None, None), COPY], n)) > 0.9 * about["total"]:
            print(f"n = {n:,} is left out: it needs {wanted / 2**30:.0f} GiB of device memory")
            continue
        seconds = measured_steps(n, times, rounds)
        rows += flat_step.step_rows(n, seconds)
        lines.append(step_line(n, seconds))
        print(f"n = {n:,} is measured", flush=True)
    publish(frame_of(rows), "cuda-flat_step", markdown(STEP_HEAD, lines), gpu=about)


# ------------------------------------------------------------------------------------------------------------- sweeps


def grid_of(runs):
    """Return this many settings of Lookahead: four slow step sizes, four periods, the rest learning rates."""
    return sweep.lookaheads(4, 4, runs // 16)


def problems():
    """Yield (name, problem, rounds)."""
    digits, steps = lnb.datasets.load("digits"), 40 if QUICK else 1000
    ends, sizes = (0, steps), ((32, 1),) if QUICK else ((1024, 5), (8192, 3), (65_536, 2))
    mlp, logistic = lnb.MLP((64, 32, 10)), lnb.LogisticRegression(64, n_classes=10)
    for name, model in (("digits, MLP 64-32-10", mlp), ("digits, logistic 64-10", logistic)):
        for runs, rounds in sizes:
            yield f"{name}, {runs:,} runs", sweep.Problem(model, digits, grid_of(runs), range(1), steps, ends), rounds
    try:
        fashion = lnb.datasets.load("fashion_mnist")
    except (ImportError, OSError) as error:
        print(f"Fashion-MNIST is left out: {error}")
        return
    runs, model = 32 if QUICK else 256, lnb.MLP((784, 128, 10))
    wide = sweep.Problem(model, fashion, grid_of(runs), range(1), steps, ends, eval_rows=2000)
    yield f"Fashion-MNIST, MLP 784-128-10, {runs} runs", wide, 1 if QUICK else 3


def fewer(problem, runs):
    """Return the problem with at most so many of its settings, spread over all of them."""
    configs = problem.configs[:: max(1, len(problem.configs) // runs)][:runs]
    return replace(problem, configs=configs)


def measured_sweep(problem, rounds, backend="cuda"):
    """Return rival -> seconds of the whole sweep in every round, by how much losses differ, and what did not run."""
    import jax

    from tests.benchmarks.jax_sweep import Jax

    jax.config.update("jax_default_matmul_precision", "highest")
    differ = sweep.difference(fewer(problem, COMPARED_RUNS), backend)
    if not differ <= sweep.AGREEMENT:
        raise AssertionError(f"loss curves must agree within {sweep.AGREEMENT}, not differ by {differ:.2g}")
    few = fewer(problem, ON_CPU)
    rivals = {sweep.OURS: (lambda: sweep.ours(problem, backend), 1), OUR_CPU: (lambda: sweep.ours(few), 1)}
    failed = None
    try:
        compiled = Jax(problem)
        compiled()
        rivals[sweep.JAX] = compiled, 1
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        failed = "JAX ran out of memory"
    seconds = alternate(rivals, rounds)
    seconds[OUR_CPU] *= problem.runs / few.runs
    return seconds, differ, failed


SWEEP_HEAD = ["sweep", "runs/s", "GFLOP/s", "of the card's float32 rate", "JAX `vmap`, same card", "our CPU"]


def sweep_line(name, problem, seconds, rate):
    """Return the line of the README's table; rate : float32 operations per second of the card at the most."""
    median = np.median(seconds[sweep.OURS])
    return [
        name,
        significant(problem.runs / median),
        significant(problem.operations / median / 1e9),
        f"{100 * problem.operations / median / rate:.1f} %",
        significant(ratio(seconds, sweep.JAX, sweep.OURS)) + "×" if sweep.JAX in seconds else "out of memory",
        significant(ratio(seconds, OUR_CPU, sweep.OURS)) + "×",
    ]


def sweeps(about):
    """Measure all sweeps and publish the table."""
    rows, lines = [], []
    for name, problem, rounds in problems():
        seconds, differ, failed = measured_sweep(problem, rounds)
        rows += sweep.sweep_rows(name, problem, seconds, differ)
        lines.append(sweep_line(name, problem, seconds, about["float32_per_second"]))
        print(f"{name}: losses agree within {differ:.1g}{f'; {failed}' if failed else ''}", flush=True)
    publish(frame_of(rows), "cuda-sweep", markdown(SWEEP_HEAD, lines), gpu=about)


def main():
    """Measure everything, or say in one sentence why there is nothing to measure."""
    if problem := gpu.problem():
        sys.exit(f"nothing was measured, since no CUDA device can be used: {problem}")
    about = card()
    steps(about)
    if SIMULATED:
        print("sweeps are left out: the simulator would take hours")
    else:
        sweeps(about)


if __name__ == "__main__":
    main()
