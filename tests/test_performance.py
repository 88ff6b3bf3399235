"""Figures of measured times: what they count is what the formulas do, what they draw is what the tables hold."""

import ast
import inspect
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lookahead_nb import provenance as tables
from lookahead_nb.figures import performance
from lookahead_nb.kernels import formulas

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def committed(name):
    return tables.read_table(ROOT / f"data/timings/{name}.csv")


def flat_step(sizes, rivals, **seconds):
    """Times of a flat step by a rule one can follow: a microsecond a weight, unless said otherwise."""
    rows = [
        {"n": n, "rival": rival, "seconds": s * n, "seconds_low": 0.9 * s * n, "seconds_high": 1.2 * s * n,
         "bytes": (29.6 if "Lookahead" in rival else 28.0) * n, "times_ours": s / 1e-6, "times_ours_adamw": s / 1e-6}
        for n in sizes for rival in rivals for s in [seconds.get(rival, 1e-6)]
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(bytes_per_second=frame["bytes"] / frame["seconds"])


def sweep(problems, *rivals):
    rows = [
        {"problem": problem, "runs": 64, "rival": rival, "seconds": 2.0, "seconds_low": 1.0, "seconds_high": 4.0,
         "operations": 8 * 10**9, "operations_per_second": 4e9, "times_ours": 1.0}
        for problem in problems for rival in rivals
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def drawn():
    """Draw a figure and return it; closed at the end."""
    made = []
    yield lambda figure: made.append(figure) or figure
    for figure in made:
        plt.close(figure)


def markers(ax, marker):
    """The points that are drawn with a marker in a panel."""
    return [tuple(point) for line in ax.lines if line.get_marker() == marker for point in line.get_xydata().tolist()]


# ------------------------------------------------------------------------------------------------- what is counted


def operations(tree):
    """Count what the figures count: a fused multiply-add as two, any other operator or root as one."""
    calls = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return 2 * calls.count("fma") + calls.count("sqrt") + sum(isinstance(node, ast.BinOp) for node in ast.walk(tree))


def test_operations_of_a_step_are_those_of_the_formulas():
    both = "".join(inspect.getsource(rule) for rule in (formulas.adam_update, formulas.adamw))
    assert operations(ast.parse(both)) == performance.STEP_OPERATIONS
    equation = "rest*slow + step*fast"
    assert f"``{equation}``" in formulas.pull.__doc__
    assert operations(ast.parse(equation)) == performance.SYNC_OPERATIONS


def test_bytes_and_operations_of_the_pass_are_those_of_the_benchmark():
    source = (ROOT / "tests/benchmarks/flat_step.py").read_text(encoding="utf-8")
    constants = dict(re.findall(r"^(\w+) = (\d+)\b", source, re.M))
    assert int(constants["BYTES"]) == performance.STEP_BYTES
    assert int(constants["SYNC_BYTES"]) == performance.SYNC_BYTES
    (bare,) = (each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef) and each.name == "in_place")
    assert sum(isinstance(node, ast.AugAssign) for node in ast.walk(bare)) == performance.PASS_OPERATIONS


def test_intensity_and_speed_of_a_step_by_hand():
    times = flat_step([100], ["AdamW, ours", "Lookahead, ours"])
    plain, synced = (performance.counted(performance.quickest(times, f"{what}, ours", "n")).iloc[0]
                     for what in ("AdamW", "Lookahead"))  # fmt: skip
    assert (plain["intensity"], plain["flops"]) == pytest.approx((15 / 28, 15e6))
    assert (synced["intensity"], synced["flops"]) == pytest.approx((15.6 / 29.6, 15.6e6))  # a sync in five steps


# ------------------------------------------------------------------------------------------------ what is compared


def test_the_quickest_variant_counts_at_every_size_and_a_full_name_is_no_prefix():
    times = flat_step([10, 20], ["AdamW, ours", "AdamW, ours checking", "AdamW, torch a", "AdamW, torch b"])
    times.loc[(times["rival"] == "AdamW, torch b") & (times["n"] == 20), "seconds"] /= 2
    times.loc[times["rival"] == "AdamW, ours checking", "seconds"] /= 2
    assert [*performance.quickest(times, "AdamW, torch", "n")["rival"]] == ["AdamW, torch a", "AdamW, torch b"]
    assert [*performance.quickest(times, "AdamW, ours", "n")["rival"]] == ["AdamW, ours"] * 2
    assert performance.quickest(times, "AdamW, nobody", "n").empty


def test_a_range_reaches_from_quartile_to_quartile_of_both():
    times = flat_step([10, 20], ["Lookahead, ours", "Lookahead, optax"], **{"Lookahead, optax": 3e-6})
    found = performance.ratios(times, "Lookahead, optax", "Lookahead, ours", "n")
    assert [*found.index] == [10, 20]
    assert found.iloc[0].to_numpy() == pytest.approx([3, 3 * 0.9 / 1.2, 3 * 1.2 / 0.9])


@pytest.mark.parametrize(("table", "at", "ours"), [("flat_step", "n", "Lookahead, ours"), ("sweep", "problem", "ours")])
def test_every_committed_ratio_lies_in_its_range(table, at, ours):
    times = committed(table)
    for rival in times["rival"].unique():
        found = performance.ratios(times, rival, ours, at)
        assert found["ratio"].between(found["low"], found["high"]).all(), rival


@pytest.mark.parametrize(
    ("table", "columns", "rivals", "ours", "at"),
    [
        ("flat_step", (2, 3, 5), ("torch", "optax", "ours checking"), "Lookahead, ours", "n"),
        ("sweep", (3, 4), ("JAX", "torch"), "ours", "problem"),
    ],
)
def test_ratios_are_those_that_the_readme_tells(table, columns, rivals, ours, at):
    block = re.search(rf"<!-- bench {table} -->\n(.*?)<!-- /bench -->", README, re.S)[1]
    cells = [line.strip("| ").split("|") for line in block.splitlines()[2:]]
    prefix = ours.rpartition(" ")[0]
    for column, rival in zip(columns, rivals, strict=True):
        found = performance.ratios(committed(table), f"{prefix} {rival}".strip(), ours, at)["ratio"]
        told = [float(line[column].strip().rstrip("×")) for line in cells]
        assert told == pytest.approx([float(f"{ratio:.3g}") for ratio in found])


# ----------------------------------------------------------------------------------------------------- what is drawn

RIVALS = ["Lookahead, ours", "Lookahead, torch fused", "Lookahead, optax"]
ON_GPU = [*RIVALS, *(name.replace("Lookahead", "AdamW") for name in RIVALS), "copy"]


def test_markers_of_the_roofline_lie_at_their_speed_and_the_limit_at_what_was_measured(drawn):
    times = flat_step([1000], [*RIVALS, "memory"], **{"Lookahead, ours": 2e-6, "memory": 1e-6})
    fig = drawn(performance.roofline(times, sweep(["a, b"], "ours", "sgemm 1")))
    (ax,) = fig.axes
    assert markers(ax, "o") == [pytest.approx((15.6 / 29.6, 15.6e6 / 2 / 1e9))]
    assert markers(ax, "s") == markers(ax, "D") == [pytest.approx((15.6 / 29.6, 15.6e6 / 1e9))]
    assert markers(ax, "x") == [pytest.approx((3 / 28, 3e6 / 1e9))]
    limit = ax.lines[0].get_xydata()
    assert limit[0] == pytest.approx([1.5 / 28, 1.5e6 / 1e9])
    assert limit[-1] == pytest.approx([20, 28e6 * 20 / 1e9])  # the products are quicker than that
    assert ax.texts[0].get_text() == "53 % of\nthe limit"  # half as fast, with 29.6 bytes for 28


def test_the_limit_is_level_where_arithmetic_decides(drawn):
    times = flat_step([1000], [*RIVALS, "memory"])
    slow = sweep(["a, b"], "ours", "sgemm 1", "sgemm 2").assign(operations_per_second=[9e9, 1e7, 2e7])
    limit = drawn(performance.roofline(times, slow)).axes[0].lines[0].get_xydata()
    assert limit[1:] == pytest.approx(np.array([[2e7 / 28e6, 0.02], [20, 0.02]]))


def test_a_step_is_drawn_beside_ours_with_its_range(drawn):
    names = [*ON_GPU[:-1], "Lookahead, ours checking", "AdamW, ours checking", "memory"]
    times = flat_step([10, 1000], names, **{"Lookahead, torch fused": 4e-6, "memory": 5e-7})
    plain, synced = drawn(performance.steps(times)).axes
    assert markers(synced, "s") == [pytest.approx((n, 4)) for n in (10, 1000)]
    assert markers(plain, "x") == [pytest.approx((n, 0.5)) for n in (10, 1000)]
    assert markers(synced, "x") == []
    ranges = [path for bars in synced.collections for path in bars.get_segments()]
    assert any(ends[:, 1] == pytest.approx([4 * 0.9 / 1.2, 4 * 1.2 / 0.9]) for ends in ranges)


def test_a_sweep_is_drawn_by_its_runs_and_operations(drawn):
    names = "ours", "JAX", "torch 1", "sgemm 1"
    fig = drawn(performance.sweeps(sweep(["digits, MLP, 32 settings, 8 seeds", "the same, often"], *names)))
    runs, speed = fig.axes
    assert markers(runs, "o") == [(32, 0), (32, 1)]
    assert markers(speed, "D") == [(4, 0), (4, 1)]
    assert [label.get_text() for label in runs.get_yticklabels()] == [
        "digits, MLP,\n32 settings, 8 seeds",
        "the same, often",
    ]
    assert {tuple(ends[:, 0]) for bars in speed.collections for ends in bars.get_segments()} == {(2, 8)}


def test_scaling_is_drawn_per_run_and_in_mebibytes(drawn):
    rows = {"what": ["sweep"] * 2 + ["cold start"], "rival": ["ours", "JAX", "ours"], "runs": [100, 100, 16],
            "seconds": [1.0, 2.0, 9.0], "added_bytes": [2.0**20, 2.0**21, np.nan]}  # fmt: skip
    time, memory = drawn(performance.scaling(pd.DataFrame(rows))).axes
    assert (markers(time, "o"), markers(time, "D")) == ([(100, 10)], [(100, 20)])
    assert (markers(memory, "o"), markers(memory, "D")) == ([(100, 1)], [(100, 2)])


def test_times_of_a_gpu_are_drawn_below_where_there_are_some(drawn):
    step, whole = committed("flat_step"), committed("sweep")
    few = flat_step([2**20, 2**24], ON_GPU, copy=5e-7)
    fig = drawn(performance.roofline(step, whole, few))
    assert len(fig.axes) == 3 + 2
    assert fig.axes[3].get_ylabel() == "Gflop per second, on a GPU"
    assert fig.axes[4].get_title() == "16,777,216 weights"
    assert fig.axes[3].texts[0].get_text() == f"{100 * 15.6 / (15.6 / 29.6 * 28 / 0.5):.0f} % of\nthe limit"
    assert fig.axes[3].lines[0].get_xydata()[-1] == pytest.approx([20, 28e6 * 2 * 20 / 1e9])  # nothing levels it
    fig = drawn(performance.steps(step, few))
    assert [ax.get_title() for ax in fig.axes] == ["AdamW", "Lookahead", "AdamW on a GPU", "Lookahead on a GPU"]
    assert markers(fig.axes[2], "x") == [pytest.approx((n, 0.5)) for n in (2**20, 2**24)]
    large = sweep(["digits, MLP, 65,536 runs"], "ours", "ours, CPU")  # JAX ran out of memory
    fig = drawn(performance.sweeps(whole, large))
    assert fig.axes[2].get_xlabel() == "runs per second, on a GPU"
    assert (markers(fig.axes[2], "v"), markers(fig.axes[2], "D")) == ([(32, 0)], [])
