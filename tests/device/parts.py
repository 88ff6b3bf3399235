"""The checks of a CUDA device. Each is run by runner.py in a process of its own, and reports as it goes.

Nothing but NumPy and Numba is imported before a check needs it. A check ends by itself when its time is nearly over.
"""

import argparse
import itertools
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SIMULATED = "1" in (os.environ.get("NUMBA_ENABLE_CUDASIM"), os.environ.get("EMULATED_CUDA"))
RESERVED = 0.1  # of the time of a part, for the case that is under way when it is nearly over


class Reporter:
    """Where records go, and how much time is left."""

    def __init__(self, descriptor, seconds, small=False, libraries=()):
        self.pipe, self.small, self.libraries = os.fdopen(descriptor, "w", buffering=1), small, libraries
        self.end = time.monotonic() + (1 - RESERVED) * seconds

    def __call__(self, says, **facts):
        self.pipe.write(json.dumps({"says": says} | facts, default=float) + "\n")

    @contextmanager
    def case(self, name):
        """Report an error inside the block as a failure of this case; the cases after it are still tried."""
        try:
            yield
        except Exception as error:
            text = traceback.format_exc()[-3000:]
            self(f"{name}: failed ({type(error).__name__}: {_one_line(error)})", ok=False, text=text)

    def in_time(self, cases):
        """Yield the cases until the time is over, and say how many were left out."""
        cases = list(cases)
        for i, case in enumerate(cases):
            if time.monotonic() > self.end:
                self(f"{len(cases) - i} of {len(cases)} cases were left out for lack of time", left_out=len(cases) - i)
                return
            yield case


# ----------------------------------------------------------------------------------------------------- what works


def machine(report):
    """Say of every library whether it can be used, and what the device is."""
    for name in ("pandas", "pytest"):
        _usable(report, name, lambda module: module.__version__)
    _usable(report, "numba", lambda module: module.__version__)
    found = _usable(report, "lookahead_nb.kernels.gpu", _device, "device")
    _usable(report, "torch", _torch)
    _usable(report, "jax", _jax)
    _usable(report, "cupy", lambda cupy: cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
    if found:
        _say_device(report)


def _usable(report, module, works, name=None):
    name = name or module
    try:
        says = works(import_module(module))
    except BaseException as error:  # whatever it is, the other libraries are still asked
        report(f"{name}: cannot be used ({type(error).__name__}: {_one_line(error)})", usable=name, works=False)
        return False
    report(f"{name}: {says}", usable=name, works=True)
    return True


def _one_line(error):
    return " ".join(str(error).split())[:500]


def _device(gpu):
    if problem := gpu.problem():
        raise RuntimeError(problem)
    return f"{gpu.name()}, driver {gpu.driver()}"


def _say_device(report):
    from tests.benchmarks.cuda import card

    try:
        about = card()
    except Exception as error:  # the checks need none of it
        report(f"details of the device cannot be read ({type(error).__name__}: {_one_line(error)})")
        return
    report(", ".join(f"{name} {value}" for name, value in about.items()), card=about)


def _torch(torch):
    if SIMULATED:
        return f"{torch.__version__}, on the CPU"
    if not torch.cuda.is_available():
        raise RuntimeError(f"{torch.__version__} cannot use CUDA")
    return f"{torch.__version__} on {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"


def _jax(jax):
    device = jax.devices()[0]
    if not SIMULATED and device.platform != "gpu":
        raise RuntimeError(f"{jax.__version__} has no GPU, only {device.platform}")
    return f"{jax.__version__} on {device.device_kind}"


# ----------------------------------------------------------------------------------------------------- comparing bits


def apart(host, device):
    """Return how two arrays of floats differ in their bits, or None; NaN is NaN whatever its bits.

    Returns
    -------
    dict or None
        ``count`` of elements, the ``first`` index, and ``ulps``, the largest distance in units in the last place.
    """
    host, device = np.atleast_1d(host).ravel(), np.atleast_1d(device).ravel()
    whole = np.dtype(f"i{host.itemsize}")
    x, y = host.view(whole).astype(np.int64), device.view(whole).astype(np.int64)
    at = np.flatnonzero((x != y) & ~(np.isnan(host) & np.isnan(device)))
    if not at.size:
        return None
    lowest = np.iinfo(whole).min
    ordered = [np.where(bits < 0, lowest - bits, bits)[at] for bits in (x, y)]  # neighbours differ by 1, across 0 too
    with np.errstate(over="ignore"):
        distance = int(np.abs(ordered[0] - ordered[1]).max())
    return {"count": int(at.size), "of": int(host.size), "first": int(at[0]), "ulps": distance}


def in_words(differences):
    """Return in words which arrays differ, and how."""
    words = []
    for name, found in differences.items():
        by = f", by {found['ulps']} units in the last place at most" if "ulps" in found else ""
        words.append(f"{name} differs in {found['count']} of {found['of']} from index {found['first']} on{by}")
    return "; ".join(words)


def step_bits(report):
    """Compare a step and a step with a sync, of every rule, with the CPU."""
    from lookahead_nb.kernels import gpu
    from lookahead_nb.kernels.cpu import step as cpu_step
    from lookahead_nb.kernels.gpu import step as gpu_step
    from tests.support.cases import MODES, RULES, Buffers

    sizes = [1, 9] if report.small else [1, 3, 33, 257, 2**20 + 1]
    rules = ["adamw", "sgd"] if report.small else sorted(RULES, key=lambda rule: rule != "adamw")
    everything = [(rule, width, MODES[:1]) for width in (np.float32, np.float64) for rule in rules]
    cases = [("adamw", np.float32, MODES[:2] if report.small else MODES), *everything]

    def compare(rule, width, modes):
        compared, different = 0, {}
        for guard, (pull_back, mode), n in itertools.product((8, 7), modes, sizes):
            host = Buffers(rule, n, width, mode, guard=guard)
            device = Buffers(rule, n, width, mode, place=gpu.cuda.to_device, guard=guard)
            host.step_twice(cpu_step, rule, pull_back, mode)
            device.step_twice(gpu_step, rule, pull_back, mode)
            compared += 1
            for name in host.outer:
                if found := apart(host.outer[name], gpu.to_host(device.outer[name])):
                    different[f"{name} of {n}, guard {guard}, pull-back {pull_back}, mode {mode}"] = found
        return compared, different

    for rule, width, modes in report.in_time(cases):
        label = f"{rule}, {np.dtype(width).name}, {len(modes)} kinds of syncs"
        with report.case(label):
            compared, different = compare(rule, width, modes)
            says = in_words(different) if different else "the bits of the CPU"
            report(f"{label}, {compared} cases: {says}", ok=not different, compared=compared, different=different)


# -------------------------------------------------------------------------------------------------------- speed


def quartiles(values):
    return [float(each) for each in np.quantile(values, [0.25, 0.5, 0.75])]


def step_speed(report):
    """Time steps over large buffers: ours, torch's fused AdamW, a copy of as many bytes."""
    from lookahead_nb.kernels import gpu
    from tests.benchmarks import cuda, flat_step
    from tests.benchmarks.measure import alternate, ratio

    libraries = [library for library in report.libraries if library == "torch"]
    plan = [(64, 2, 2)] if report.small else [(2**20, 100, 11), (2**24, 30, 11), (2**27, 10, 7), (2**28, 10, 5)]

    def measure(n, steps, rounds):
        makers = cuda.makers(*flat_step.problem(n), libraries)
        free = np.inf if SIMULATED else gpu.free_memory()
        if (wanted := cuda.needed([*makers, cuda.COPY], n)) > 0.9 * free:
            report(f"{n} weights are left out: they need {wanted / 2**30:.0f} GiB of device memory")
            return
        made = {rival: make() for rival, make in makers.items()}
        differ = float(flat_step.difference(made))
        report(f"{n} weights: rivals agree within {differ:.2g}", ok=differ <= flat_step.AGREEMENT, differ=differ)
        made[cuda.COPY] = cuda.Copy(n)
        seconds = alternate({rival: (flat_step.rounds_of(made[rival], steps), 1) for rival in made}, rounds)
        for rival, values in seconds.items():
            low, median, high = quartiles(values / steps)
            rate = flat_step.traffic(rival, n) / median / 1e9
            times = ratio(seconds, rival, flat_step.OURS if rival.optimizer == "Lookahead" else flat_step.ADAMW)
            says = f"{n} weights, {rival}: {1e6 * median:.4g} µs ({1e6 * low:.4g} to {1e6 * high:.4g}), {rate:.4g} GB/s"
            facts = {"seconds": median, "seconds_low": low, "seconds_high": high, "times_ours": times}
            report(f"{says}, {times:.3g} times ours", n=n, rival=str(rival), steps=steps, rounds=rounds, **facts)

    for n, steps, rounds in report.in_time(plan):
        with report.case(f"{n} weights"):
            measure(n, steps, rounds)


# ------------------------------------------------------------------------------------------------------- whole runs


def histories_apart(host, device):
    """Return column -> how two histories differ, their ids left out."""
    different = {}
    for name in host.columns.drop("run"):
        if host[name].dtype.kind == "f":
            found = apart(host[name].to_numpy(), device[name].to_numpy())
        else:
            same = (host[name] == device[name]) | (host[name].isna() & device[name].isna())
            counts = {"count": int((~same).sum()), "of": len(same), "first": int((~same).to_numpy().argmax())}
            found = counts if counts["count"] else None
        if found:
            different[name] = found
    return different


def run_bits(report):
    """Compare whole runs with the CPU: parameters, slow weights, state, history."""
    for name, *case in report.in_time(cases_of_runs(report.small)):
        with report.case(name):
            _compare_run(report, name, *case)


def _compare_run(report, name, model, data, opt, options):
    import lookahead_nb as lnb

    with np.errstate(over="ignore", invalid="ignore"):
        host, device = (lnb.train(model, data, opt, **options, backend=backend) for backend in ("cpu", "cuda"))
    arrays = {"params": (host.params, device.params)}
    if host.slow is not None:
        arrays["slow"] = host.slow, device.slow
    different = {key: found for key, pair in arrays.items() if (found := apart(*pair))}
    different |= histories_apart(host.history, device.history)
    states = host.state.to_arrays(), device.state.to_arrays()
    pairs = {key: [np.asarray(state[key]).tobytes() for state in states] for key in states[0]}
    other = [key for key, (x, y) in pairs.items() if x != y]
    said = [in_words(different)] * bool(different) + [f"state differs in {', '.join(other)}"] * bool(other)
    said += ["divergence differs"] * (host.diverged_at != device.diverged_at)
    report(f"{name}: {'; '.join(said) or 'the bits of the CPU'}", ok=not said, different=different, state=other)


def cases_of_runs(small):
    """Yield name, model, data, optimizer and options of the runs, the most telling first."""
    import lookahead_nb as lnb
    from tests.support.cases import INNER, RULES
    from tests.support.device_runs import LANDSCAPES, LOOKAHEADS, MODELS, NAMED, TRAINING, rows_for

    relu = MODELS["relu"], rows_for(MODELS["relu"])
    yield "MLP 3-5-3, Lookahead", *relu, LOOKAHEADS["keep"], TRAINING
    if small:
        yield "quiet landscape, AdamW", LANDSCAPES["quiet"], None, INNER["adamw"], {"steps": 5, "eval_at": [2]}
        return
    rng, widths = np.random.default_rng(0), ("float32", "float64")
    wide = lnb.datasets.from_arrays(rng.random((600, 784)), np.arange(600) % 10, split_seed=0)
    how = {"steps": 200, "batch_size": 64, "eval_every": 50}
    yield "MLP 784-128-10, 200 steps", lnb.MLP((784, 128, 10)), wide, LOOKAHEADS["interpolate"], how
    long = {"steps": 300, "batch_size": 64, "eval_every": 50, "eval_rows": 200}
    for name, (model, source) in NAMED.items():
        data = source and lnb.datasets.load(source, split_seed=0)
        yield f"{name}, 300 steps", model, data, LOOKAHEADS["interpolate"], long
    for width in widths:
        for rule in RULES:
            yield f"MLP 3-5-3, {rule}, {width}", *relu, INNER[rule], TRAINING | {"dtype": width}
        for name, model in MODELS.items():
            yield f"{name}, {width}", model, rows_for(model), LOOKAHEADS["keep"], TRAINING | {"dtype": width}
        for name, opt in LOOKAHEADS.items():
            model = MODELS["three logits"]
            yield f"Lookahead: {name}, {width}", model, rows_for(model), opt, TRAINING | {"dtype": width}
        for name, landscape in LANDSCAPES.items():
            how = {"steps": 5, "eval_at": [2, 3], "dtype": width, "seed": 2**40 + 1}
            yield f"landscape: {name}, {width}", landscape, None, LOOKAHEADS["one slot"], how


# ---------------------------------------------------------------------------------------------------------- sweeps


def sweep_speed(report):
    """Compare a sweep with the CPU bit by bit, with JAX by its losses, and time all three."""
    import lookahead_nb as lnb
    from tests.benchmarks import cuda, sweep

    if report.small:
        model, rows, steps, sizes = lnb.LogisticRegression(3, n_classes=3), 30, 2, [(2, 1)]
    else:
        model, rows, steps, sizes = lnb.MLP((64, 32, 10)), 1797, 1000, [(1024, 3), (8192, 2), (65_536, 1)]
    rng = np.random.default_rng(0)
    y = np.arange(rows) % model.n_classes
    data = lnb.datasets.from_arrays(rng.standard_normal((rows, model.n_features)) + y[:, None] / 4, y, split_seed=0)

    def problem(runs):
        batch = 4 if report.small else 64
        configs = cuda.grid_of(max(runs, 16))[:runs]
        return sweep.Problem(model, data, configs, range(1), steps, (0, steps), batch_size=batch)

    few = cuda.fewer(problem(sizes[0][0]), cuda.COMPARED_RUNS)
    with report.case("bits of a sweep"):
        different = apart(*(sweep.ours(few, backend) for backend in ("cpu", "cuda")))
        says = in_words({"results": different}) if different else "the bits of the CPU"
        report(f"a sweep of {few.runs} runs and {steps} steps: {says}", ok=not different, different=different)
    if "jax" in report.libraries:
        with report.case("losses of JAX"):
            short = sweep.shortened(few)
            differ = float(np.abs(sweep.ours(short, "cuda") - _jax_sweep(short)())[..., ::2].max())
            report(f"losses of JAX agree within {differ:.2g}", ok=differ <= sweep.AGREEMENT, differ=differ)
    for runs, rounds in report.in_time(sizes):
        with report.case(f"{runs} runs"):
            _time_sweep(report, problem(runs), rounds)


def _jax_sweep(problem):
    import jax

    from tests.benchmarks.jax_sweep import Jax

    jax.config.update("jax_default_matmul_precision", "highest")
    return Jax(problem)


def _time_sweep(report, problem, rounds):
    from tests.benchmarks import cuda, sweep
    from tests.benchmarks.measure import alternate, ratio

    few = cuda.fewer(problem, cuda.ON_CPU)
    rivals = {sweep.OURS: (lambda: sweep.ours(problem, "cuda"), 1), cuda.OUR_CPU: (lambda: sweep.ours(few), 1)}
    if "jax" in report.libraries:
        try:
            compiled = _jax_sweep(problem)
            compiled()
            rivals[sweep.JAX] = compiled, 1
        except Exception as error:  # most likely its memory; ours is timed without it
            report(f"{problem.runs} runs: JAX failed ({type(error).__name__}: {_one_line(error)[:200]})")
    seconds = alternate(rivals, rounds)
    seconds[cuda.OUR_CPU] *= problem.runs / few.runs
    for rival, values in seconds.items():
        low, median, high = quartiles(values)
        rate, times = problem.operations / median / 1e9, ratio(seconds, rival, sweep.OURS)
        says = f"{problem.runs} runs, {rival}: {median:.4g} s ({low:.4g} to {high:.4g}), {rate:.4g} GFLOP/s"
        facts = {"seconds": median, "seconds_low": low, "seconds_high": high, "times_ours": times}
        report(f"{says}, {times:.3g} times ours", runs=problem.runs, rival=str(rival), rounds=rounds, **facts)


# ----------------------------------------------------------------------------------------------------------- pytest


class Progress:
    """A plugin of pytest that reports counts, the test under way, and each failure as it happens."""

    def __init__(self, report):
        self.report, self.counts, self.reasons = report, {"passed": 0, "failed": 0, "skipped": 0}, {}

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

    def pytest_runtest_logstart(self, nodeid):
        self.say(f"; in {nodeid}")

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed(report)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed(report)
        elif report.skipped:
            self.counts["skipped"] += 1
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        elif report.when == "call":
            self.counts["passed"] += 1

    def failed(self, report):
        self.counts["failed"] += 1
        last = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")] or [str(report.longrepr)]
        self.report(f"FAILED {report.nodeid}: {last[0][:300]}", ok=False, text=str(report.longrepr)[-3000:])

    def say(self, under_way=""):
        words = ", ".join(f"{count} {how}" for how, count in self.counts.items())
        self.report(f"{words}{under_way}", id="progress", counts=self.counts)

    def pytest_sessionfinish(self):
        self.say()
        for reason, count in self.reasons.items():
            self.report(f"{count} skipped: {reason}")


def tests(report):
    """Run the tests of LEVEL=gpu, the slow ones last."""
    import pytest

    files = [f"tests/levels/test_{name}.py" for name in ("gpu", "device_runs", "simulator")]
    files += ["tests/levels/test_torch_cuda.py"] * ("torch" in report.libraries)
    some = ["-k", "test_wide_access or test_a_run_tells"] if report.small else []
    # Other versions than ours may warn of other things.
    options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "--tb=short", *some]
    code = pytest.main([*options, *files], plugins=[Progress(report)])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        report(f"pytest ended with {code!r}", ok=False)


# ------------------------------------------------------------------------------------------------------------- main

PARTS = {part.__name__: part for part in (machine, step_bits, step_speed, run_bits, sweep_speed, tests)}


def use_this_checkout():
    """Import lookahead_nb and tests from this checkout, whatever is installed under these names."""
    sys.path[0] = str(ROOT)
    module = ModuleType("tests")
    module.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = module


def end_with(parent):
    """End the process group once the parent is gone, in whatever way it ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def fit_numpy(report):
    """Give numba-cuda a name that NumPy 2.5 has removed and that it looks up when it compiles."""
    if not hasattr(np, "row_stack"):
        np.row_stack = np.vstack  # noqa: NPY201
        report(f"np.row_stack, which NumPy {np.__version__} lacks, stands for np.vstack: numba-cuda may look it up")


def prepare(name):
    """Use the simulator or the emulated device where one is asked for; the tests do so themselves."""
    if SIMULATED and name != "tests":
        import pytest

        from tests.support.device_runs import launch_with
        from tests.support.simulated import device_to_test

        patch = pytest.MonkeyPatch()
        device_to_test(patch)
        launch_with(patch, 4, 3)


def main():
    """Run one part."""
    parser = argparse.ArgumentParser(prog="tests/device/parts.py")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--libraries", default="")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--records", type=int, required=True)
    given = parser.parse_args()
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    report = Reporter(given.records, given.seconds, given.small, given.libraries.split(","))
    fit_numpy(report)
    prepare(given.part)
    PARTS[given.part](report)


if __name__ == "__main__":
    use_this_checkout()
    main()
