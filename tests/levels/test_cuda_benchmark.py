"""The GPU benchmark without a GPU: what it counts, that all do equal work, its tables; in the simulator, at tiny sizes.

Run with NUMBA_ENABLE_CUDASIM=1; PyTorch and JAX then work on the CPU.
"""

import json
import platform
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.figures import performance
from lookahead_nb.provenance import made_on, read_table

ROOT = Path(__file__).resolve().parents[2]
sys.argv.append("--quick")  # read once, when the benchmarks are imported: nothing is published from here
from tests.benchmarks import cuda, flat_step, jax_sweep, measure, sweep  # noqa: E402

sys.argv.remove("--quick")
assert cuda.SIMULATED, "this is run by `make test LEVEL=peers`"
assert measure.QUICK
pytestmark = pytest.mark.usefixtures("device")


def problem(runs=32, steps=3, **options):
    data = lnb.datasets.load("digits").subset(200, seed=0)
    model = lnb.LogisticRegression(64, n_classes=10)
    return sweep.Problem(model, data, cuda.grid_of(runs), range(1), steps, (0, steps), **options)


def test_a_copy_moves_the_bytes_of_a_step():
    assert cuda.Copy(64).bytes == flat_step.traffic(flat_step.ADAMW, 64) == 28 * 64
    assert flat_step.traffic(flat_step.OURS, 100) == 28 * 100 + 8 * 100 / 5


def test_memory_that_all_rivals_hold():
    assert cuda.needed([flat_step.ADAMW, cuda.COPY], 10) == 4 * 10 * (4 + 7)
    assert cuda.needed([flat_step.OPTAX, cuda.FUSED], 10) == 4 * 10 * (6 + 5)
    everyone = [*cuda.makers(None, None), cuda.COPY]
    assert cuda.needed(everyone, 2**28) < 60 * 2**30


def test_wide_and_narrow_rivals_take_the_paths_they_are_named_after(monkeypatch):
    from lookahead_nb.kernels.gpu import step

    taken = []
    width = step._width
    monkeypatch.setattr(step, "_width", lambda *arrays: taken.append(width(*arrays)) or taken[-1])
    made = cuda.makers(*flat_step.problem(64))
    made[flat_step.OURS]().step()
    made[cuda.NARROW]().step()
    assert taken == [np.float32, None]


def test_all_rivals_take_the_same_steps():
    made = {rival: make() for rival, make in cuda.makers(*flat_step.problem(67)).items()}
    assert flat_step.difference(made) <= flat_step.AGREEMENT


@pytest.mark.parametrize("rival", [flat_step.ADAMW, cuda.FUSED], ids=str)
def test_a_rival_that_does_less_is_found(rival, monkeypatch):
    made = {rival: make() for rival, make in cuda.makers(*flat_step.problem(64)).items()}
    monkeypatch.setattr(made[rival], "step", lambda: None)
    assert flat_step.difference(made) > flat_step.AGREEMENT


def test_tables_of_the_flat_step(capsys):
    cuda.steps(cuda.card())
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert [len(line.split("|")) - 2 for line in table] == [len(cuda.STEP_HEAD)] * 4
    seconds = {rival: np.array([1.0, 2.0, 4.0]) for rival in [*cuda.makers(None, None), cuda.COPY]}
    seconds[cuda.COPY] = seconds[flat_step.ADAMW] / 2
    assert cuda.step_line(2**20, seconds)[-2:] == ["0.0294 GB/s", "50 %"]
    row = flat_step.step_rows(100, seconds)[0]
    assert [row[name] for name in ("optimizer", "library", "variant", "thread_limit")] == ["AdamW", "ours", None, None]
    assert (row["seconds"], row["bytes"], row["bytes_per_second"]) == (2.0, 2800, 1400)


def test_results_and_the_card_are_written_down(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("<!-- bench cuda-flat_step -->\nNot measured yet.\n<!-- /bench -->\n")
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(measure, "ROOT", tmp_path)
    monkeypatch.setattr(measure, "QUICK", False)
    cuda.steps(cuda.card() | {"driver": "1.2.3, serves CUDA 13.0"})
    table = tmp_path / "data/timings/cuda-flat_step.csv"
    machine = json.loads(table.with_suffix(".json").read_text())["machine"]
    assert len(read_table(table)) == 2 * len([*cuda.makers(None, None), cuda.COPY])
    committed = read_table(ROOT / "data/timings/flat_step.csv").drop(columns="threads")
    assert read_table(table).dtypes.equals(committed.dtypes)  # columns with gaps among them
    assert machine["gpu"]["name"] == "Numba's simulator"
    assert machine["gpu"]["driver"] == "1.2.3, serves CUDA 13.0"
    assert {"torch", "jax", "optax"} <= machine["peers"]["versions"].keys()
    assert made_on(table).startswith("Numba's simulator, driver 1.2.3, serves CUDA 13.0, in a machine with ")
    drawn = performance.steps(read_table(ROOT / "data/timings/flat_step.csv"), read_table(table))
    assert [ax.get_title() for ax in drawn.axes[2:]] == ["AdamW on a GPU", "Lookahead on a GPU"]
    plt.close(drawn)
    readme = (tmp_path / "README.md").read_text()
    assert "| 64 |" in readme
    assert "Not measured" not in readme
    written = readme + table.read_text() + table.with_suffix(".json").read_text()
    assert re.search(rf"\b{re.escape(platform.node())}\b", written) is None


def test_what_does_not_fit_is_left_out(capsys):
    cuda.steps({"total": 1000})
    assert "n = 64 is left out: it needs 0 GiB of device memory" in capsys.readouterr().out


def test_rate_of_a_card():
    assert cuda.float32_rate((9, 0), 132, 1.98e9) == pytest.approx(66.9e12, rel=1e-3)  # H100 SXM, its data sheet: 67
    assert cuda.float32_rate((8, 0), 108, 1.41e9) == pytest.approx(19.5e12, rel=1e-3)  # A100
    assert cuda.float32_rate((8, 9), 128, 2.52e9) == pytest.approx(82.6e12, rel=1e-2)  # RTX 4090


def test_sweeps_of_all_rivals_have_the_same_losses_and_fewer_runs_are_scaled(monkeypatch):
    monkeypatch.setattr(cuda, "ON_CPU", 16)
    given = problem(steps=6)
    asked = []
    ours = sweep.ours
    monkeypatch.setattr(sweep, "ours", lambda p, backend="cpu": asked.append((p.runs, backend)) or ours(p))
    seconds, differ, failed = cuda.measured_sweep(given, 2, "device")
    assert failed is None
    assert differ <= sweep.AGREEMENT
    assert {*asked} == {(32, "device"), (16, "cpu")}
    rows = [(row["library"], row["variant"]) for row in sweep.sweep_rows("x", given, seconds, differ)]
    assert rows == [("ours", None), ("ours", "CPU"), ("JAX", None)]
    line = cuda.sweep_line("x", given, {sweep.OURS: np.array([2.0]), cuda.OUR_CPU: np.array([6.0])}, given.operations)
    assert len(line) == len(cuda.SWEEP_HEAD)
    assert line[1] == "16"
    assert line[3:] == ["50.0 %", "out of memory", "3×"]


def test_the_few_that_the_cpu_trains_are_spread_over_all():
    few = cuda.fewer(problem(64), 16)
    assert few.runs == 16
    assert {opt.slow_step_size for opt in few.configs} == {opt.slow_step_size for opt in problem(64).configs}
    assert cuda.fewer(problem(16), 64).runs == 16


def test_problems_are_those_of_the_plan(monkeypatch):
    monkeypatch.setattr(cuda, "QUICK", False)
    monkeypatch.setattr(cuda, "grid_of", lambda runs: range(runs))
    monkeypatch.setattr(lnb.datasets, "load", lambda name: SimpleNamespace(name=name))
    found = [(p.data.name, p.model.sizes.tolist(), p.runs, p.steps) for _, p, _ in cuda.problems()]
    sizes = [1024, 8192, 65_536]
    digits = [("digits", layers, runs, 1000) for layers in ([64, 32, 10], [64, 10]) for runs in sizes]
    assert found == [*digits, ("fashion_mnist", [784, 128, 10], 256, 1000)]


def test_a_grid_has_as_many_different_settings_as_runs():
    assert len({*cuda.grid_of(1024)}) == 1024


def test_memory_that_jax_lacks_is_a_result_and_other_errors_are_not(monkeypatch):
    def fails(words):
        def call(self):
            raise jax.errors.JaxRuntimeError(words)

        return call

    monkeypatch.setattr(sweep, "difference", lambda problem, backend: 0.0)
    monkeypatch.setattr(jax_sweep.Jax, "__call__", fails("RESOURCE_EXHAUSTED: Out of memory"))
    seconds, _, failed = cuda.measured_sweep(problem(16), 1, "cpu")
    assert failed == "JAX ran out of memory"
    assert seconds.keys() == {sweep.OURS, cuda.OUR_CPU}
    monkeypatch.setattr(jax_sweep.Jax, "__call__", fails("INTERNAL"))
    with pytest.raises(jax.errors.JaxRuntimeError):
        cuda.measured_sweep(problem(16), 1, "cpu")


def test_losses_that_differ_stop_the_benchmark(monkeypatch):
    monkeypatch.setattr(sweep, "difference", lambda problem, backend: 2 * sweep.AGREEMENT)
    with pytest.raises(AssertionError, match="loss curves must agree"):
        cuda.measured_sweep(problem(16), 1, "cpu")


def test_without_a_gpu_it_ends_with_one_sentence(monkeypatch):
    monkeypatch.setattr(cuda.gpu, "problem", lambda: "there is no driver")
    with pytest.raises(SystemExit) as ended:
        cuda.main()
    assert ended.value.code == "nothing was measured, since no CUDA device can be used: there is no driver"
