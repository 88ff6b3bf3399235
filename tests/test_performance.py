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
PAGES = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "paper/book/speed.md")]


def committed(name):
    return tables.read_table(ROOT / f"data/timings/{name}.csv")


def flat_step(sizes, rivals):
    """Times of a flat step: of each (optimizer, library, variant) its seconds per weight."""
    rows = [
        {"n": n, "optimizer": optimizer, "library": library, "variant": variant,
         "seconds": s * n, "seconds_low": 0.9 * s * n, "seconds_high": 1.2 * s * n,
         "bytes": (29.6 if optimizer == "Lookahead" else 28.0) * n,
         "times_ours": s / 1e-6, "times_ours_adamw": s / 1e-6}
        for n in sizes for (optimizer, library, variant), s in rivals.items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(bytes_per_second=frame["bytes"] / frame["seconds"])


def sweep(problems, *libraries, variant=None):
    rows = [
        {"problem": problem, "runs": 64, "library": library, "variant": variant, "seconds": 2.0, "seconds_low": 1.0,
         "seconds_high": 4.0, "operations": 8 * 10**9, "operations_per_second": 4e9, "times_ours": 1.0}
        for problem in problems for library in libraries
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
    times = flat_step([100], dict.fromkeys([("AdamW", "ours", None), ("Lookahead", "ours", None)], 1e-6))
    plain, synced = (performance.counted(performance.quickest(times, "n", library="ours", optimizer=optimizer)).iloc[0]
                     for optimizer in ("AdamW", "Lookahead"))  # fmt: skip
    assert (plain["intensity"], plain["flops"]) == pytest.approx((15 / 28, 15e6))
    assert (synced["intensity"], synced["flops"]) == pytest.approx((15.6 / 29.6, 15.6e6))  # a sync in five steps


# ------------------------------------------------------------------------------------------------ what is compared


def test_the_quickest_of_the_named_variants_counts_at_every_size():
    names = ("AdamW", "ours", None), ("AdamW", "ours", "checking"), ("AdamW", "torch", "a"), ("AdamW", "torch", "b")
    times = flat_step([10, 20], dict.fromkeys(names, 1e-6) | {("Lookahead", "torch", "a"): 1e-7})
    times.loc[(times["variant"] == "b") & (times["n"] == 20), "seconds"] /= 2
    times.loc[times["variant"] == "checking", "seconds"] /= 2

    def variants(library, variant=None, optimizer="AdamW"):
        found = performance.quickest(times, "n", library=library, optimizer=optimizer, variant=variant)
        return [*found["variant"].fillna("")]

    assert variants("torch") == ["a", "b"]
    assert variants("torch", "a") == ["a", "a"]
    assert variants("torch", optimizer=None) == ["a", "a"]  # those of Lookahead
    assert variants("ours") == ["checking"] * 2
    assert variants("ours", "") == ["", ""]
    assert variants("ours", "c") == variants("nobody") == []


def test_a_range_reaches_from_quartile_to_quartile_of_both():
    times = flat_step([10, 20], {("Lookahead", "ours", None): 1e-6, ("Lookahead", "optax", None): 3e-6})
    found = performance.ratios(times, "n", library="optax", optimizer="Lookahead")
    assert [*found.index] == [10, 20]
    assert found.iloc[0].to_numpy() == pytest.approx([3, 3 * 0.9 / 1.2, 3 * 1.2 / 0.9])


def test_a_ratio_is_that_to_the_optimizer_it_is_compared_with():
    names = [("AdamW", "ours", None), ("Lookahead", "ours", None), (None, "memory", None)]
    times = flat_step([10], dict(zip(names, (1e-6, 2e-6, 3e-6), strict=True)))
    times = times.assign(times_ours=[0.5, 1.0, 1.5], times_ours_adamw=[1.0, 2.0, 3.0])
    sync = {"library": "ours", "optimizer": "Lookahead"}
    for rival, against, ratio in ((sync, None, 1), (sync, "AdamW", 2), ({"library": "memory"}, "AdamW", 3)):
        found = performance.ratios(times, "n", **rival, against=against).iloc[0]
        assert found.to_numpy() == pytest.approx([ratio, ratio * 0.9 / 1.2, ratio * 1.2 / 0.9])


@pytest.mark.parametrize(
    ("table", "at", "against"),
    [("flat_step", "n", "AdamW"), ("flat_step", "n", "Lookahead"), ("sweep", "problem", None)],
)
def test_every_committed_ratio_lies_in_its_range(table, at, against):
    times = committed(table)
    columns = [name for name in ("optimizer", "library", "variant") if name in times]
    for (threads, *rival), _ in times.groupby(["thread_limit", *columns], dropna=False):
        limited = times[times["thread_limit"].isna() | (times["thread_limit"] == threads)]  # ours among them
        named = {name: "" if pd.isna(value) else value for name, value in zip(columns, rival, strict=True)}
        found = performance.ratios(limited, at, **named, against=against)
        assert len(found) == times[at].nunique()
        assert found["ratio"].between(found["low"], found["high"]).all(), named


@pytest.mark.parametrize(
    ("table", "at", "columns"),
    [
        ("flat_step", "n", {2: ("torch", None), 3: ("optax", None), 5: ("ours", "checking")}),
        ("sweep", "problem", {3: ("JAX", None), 4: ("torch", None)}),
    ],
)
def test_ratios_are_those_that_the_pages_tell(table, at, columns):
    blocks = [re.search(rf"<!-- bench {table} -->\n(.*?)<!-- /bench -->", page, re.S) for page in PAGES]
    (block,) = {each[1] for each in blocks}  # the same on every page
    cells = [line.strip("| ").split("|") for line in block.splitlines()[2:]]
    optimizer = "Lookahead" if table == "flat_step" else None
    for column, (library, variant) in columns.items():
        rival = {"library": library, "variant": variant, "optimizer": optimizer}
        found = performance.ratios(committed(table), at, **rival)["ratio"]
        told = [float(line[column].strip().rstrip("×")) for line in cells]
        assert told == pytest.approx([float(f"{ratio:.3g}") for ratio in found])


# ----------------------------------------------------------------------------------------------------- what is drawn

OURS, MEMORY, COPY = ("Lookahead", "ours", None), (None, "memory", None), (None, "copy", None)
ONE = 1e-6  # seconds per weight
LOOKAHEAD = {OURS: ONE, ("Lookahead", "torch", "fused"): ONE, ("Lookahead", "optax", None): ONE}
BOTH = LOOKAHEAD | {("AdamW", library, variant): ONE for _, library, variant in LOOKAHEAD}


def test_markers_of_the_roofline_lie_at_their_speed_and_the_limit_at_what_was_measured(drawn):
    times = flat_step([1000], LOOKAHEAD | {OURS: 2e-6, MEMORY: 1e-6})
    fig = drawn(performance.roofline(times, sweep(["a, b"], "ours", "sgemm")))
    (ax,) = fig.axes
    assert markers(ax, "o") == [pytest.approx((15.6 / 29.6, 15.6e6 / 2 / 1e9))]
    assert markers(ax, "s") == markers(ax, "D") == [pytest.approx((15.6 / 29.6, 15.6e6 / 1e9))]
    assert markers(ax, "x") == [pytest.approx((3 / 28, 3e6 / 1e9))]
    limit = ax.lines[0].get_xydata()
    assert limit[0] == pytest.approx([1.5 / 28, 1.5e6 / 1e9])
    assert limit[-1] == pytest.approx([20, 28e6 * 20 / 1e9])  # the products are quicker than that
    assert ax.texts[0].get_text() == "53 % of\nthe limit"  # half as fast, with 29.6 bytes for 28


def test_the_limit_is_level_where_arithmetic_decides(drawn):
    times = flat_step([1000], LOOKAHEAD | {MEMORY: ONE})
    slow = sweep(["a, b"], "ours", "sgemm", "sgemm").assign(operations_per_second=[9e9, 1e7, 2e7])
    limit = drawn(performance.roofline(times, slow)).axes[0].lines[0].get_xydata()
    assert limit[1:] == pytest.approx(np.array([[2e7 / 28e6, 0.02], [20, 0.02]]))


def test_a_step_is_drawn_beside_ours_with_its_range(drawn):
    rivals = BOTH | {("Lookahead", "torch", "fused"): 4e-6, ("Lookahead", "ours", "checking"): ONE, MEMORY: 5e-7}
    times = flat_step([10, 1000], rivals)
    plain, synced = drawn(performance.steps(times)).axes
    assert markers(synced, "s") == [pytest.approx((n, 4)) for n in (10, 1000)]
    assert markers(plain, "x") == [pytest.approx((n, 0.5)) for n in (10, 1000)]
    assert markers(synced, "x") == []
    assert (len(markers(synced, "v")), markers(plain, "v")) == (2, [])
    ranges = [path for bars in synced.collections for path in bars.get_segments()]
    assert any(ends[:, 1] == pytest.approx([4 * 0.9 / 1.2, 4 * 1.2 / 0.9]) for ends in ranges)


def test_a_sweep_is_drawn_by_its_runs_and_operations(drawn):
    libraries = "ours", "JAX", "torch", "sgemm"
    fig = drawn(performance.sweeps(sweep(["digits, MLP, 32 settings, 8 seeds", "the same, often"], *libraries)))
    runs, speed = fig.axes
    assert markers(runs, "o") == [(32, 0), (32, 1)]
    assert markers(speed, "D") == [(4, 0), (4, 1)]
    assert [label.get_text() for label in runs.get_yticklabels()] == [
        "digits, MLP,\n32 settings, 8 seeds",
        "the same, often",
    ]
    assert {tuple(ends[:, 0]) for bars in speed.collections for ends in bars.get_segments()} == {(2, 8)}


def test_scaling_is_drawn_per_run_and_in_mebibytes(drawn):
    rows = {"what": ["sweep"] * 2 + ["cold start"], "library": ["ours", "JAX", "ours"], "runs": [100, 100, 16],
            "seconds": [1.0, 2.0, 9.0], "added_bytes": [2.0**20, 2.0**21, np.nan]}  # fmt: skip
    time, memory = drawn(performance.scaling(pd.DataFrame(rows))).axes
    assert (markers(time, "o"), markers(time, "D")) == ([(100, 10)], [(100, 20)])
    assert (markers(memory, "o"), markers(memory, "D")) == ([(100, 1)], [(100, 2)])


def test_times_of_a_gpu_are_drawn_below_where_there_are_some(drawn):
    step, whole = committed("flat_step"), committed("sweep")
    few = flat_step([2**20, 2**24], BOTH | {COPY: 5e-7})
    fig = drawn(performance.roofline(step, whole, few))
    assert len(fig.axes) == 3 + 2
    assert fig.axes[3].get_ylabel() == "Gflop per second, on a GPU"
    assert fig.axes[4].get_title() == "16,777,216 weights"
    assert fig.axes[3].texts[0].get_text() == f"{100 * 15.6 / (15.6 / 29.6 * 28 / 0.5):.0f} % of\nthe limit"
    assert fig.axes[3].lines[0].get_xydata()[-1] == pytest.approx([20, 28e6 * 2 * 20 / 1e9])  # nothing levels it
    fig = drawn(performance.steps(step, few))
    assert [ax.get_title() for ax in fig.axes] == ["AdamW", "Lookahead", "AdamW on a GPU", "Lookahead on a GPU"]
    assert markers(fig.axes[2], "x") == [pytest.approx((n, 0.5)) for n in (2**20, 2**24)]
    problem = "digits, MLP, 65,536 runs"  # JAX ran out of memory
    large = pd.concat([sweep([problem], "ours"), sweep([problem], "ours", variant="CPU")], ignore_index=True)
    fig = drawn(performance.sweeps(whole, large))
    assert fig.axes[2].get_xlabel() == "runs per second, on a GPU"
    assert (markers(fig.axes[2], "v"), markers(fig.axes[2], "D")) == ([(32, 0)], [])
