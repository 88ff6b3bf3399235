"""Are the tests of models and training worth anything? Each fault planted here has to be noticed by them.

Every fault goes into a copy of the package, on which the tests run as plain Python in a process of their own.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(
    not numba.config.DISABLE_JIT, reason="runs in LEVEL=nojit, where nothing is compiled anew"
)

# What runs on each copy: enough to see every fault, and no more.
MODELS = ("test_models.py", "matrix_algebra or l2_alone or alone_and_among_others or takes_the_first_of_equals")
TRAIN = (
    "test_train.py",
    "float32 and (before_the_pull or every_model) or not_finite_ends or diverged_run or flagged or nan",
)

GROUPS = ("test_sweep.py", "side_by_side")

EVALUATED = """        if evaluates:
            _evaluate_parts(evaluate, p, eval_X, eval_y, bounds, sizes, activation, work, results[due, FAST])
"""
PULLED = """        if syncs:
            n = t // sync_period - 1
            size, rest = step_of_sync(n, slow_steps, rates, lowest, before, p, slow, g, s2, table[t - 1])
            sync(p, s1, s2, slow, a1, a2, like(l2, size), like(l2, rest), pull_back, inner_state)
"""

# name: (file, what stands there, what is planted, tests). Each replaces one place.
FAULTS = {
    "backpropagation through updated weights": (
        "cpu/network.py",
        "product(W.T, error, below)",
        "product((W - dW).T, error, below)",
        MODELS,
    ),
    "W not transposed": (
        "cpu/network.py",
        "product(W.T, error, below)",
        "product(W.reshape((fan_in, fan_out)), error, below)",
        MODELS,
    ),
    "sum instead of mean over the batch": ("cpu/network.py", "share = one / like(one, rows)", "share = one", MODELS),
    "no gradient for biases": (
        "cpu/network.py",
        "product(error, ones, db.reshape((db.size, 1)))",
        "db[:] = like(l2, 0)",
        MODELS,
    ),
    "slope from the activation of the activation": (
        "cpu/network.py",
        "tanh_slope(a[r])",
        "tanh_slope(tanh(a[r]))",
        MODELS,
    ),
    "slope of tanh for the sigmoid": ("cpu/network.py", "sigmoid_slope(a[r])", "tanh_slope(a[r])", MODELS),
    "activations of another row": (
        "cpu/network.py",
        "by_row[r, f] = inputs[f, r]",
        "by_row[r, f] = inputs[f, 0]",
        MODELS,
    ),
    "rows of the piece before": ("cpu/network.py", "inputs[f, r] = X[first + r, f]", "inputs[f, r] = X[r, f]", MODELS),
    "labels of the piece before": (
        "cpu/network.py",
        "logistic_loss(row[r], y[first + r])",
        "logistic_loss(row[r], y[r])",
        MODELS,
    ),
    "L2 on biases": (
        "cpu/network.py",
        "range(weight, weight + count)",
        "range(weight, weight + count + sizes[layer + 1])",
        MODELS,
    ),
    "L2 left out of the gradient": ("cpu/network.py", "dW[o, f] = fma(l2, W[o, f], dW[o, f])", "pass", MODELS),
    "labels off by one": ("cpu/network.py", "label = 1 if error.shape[0] == 1 else c", "label = c + 1", MODELS),
    "last of equal classes": (
        "cpu/network.py",
        "this if row[r] > peak[r]",
        "this if row[r] >= peak[r]",
        MODELS,
    ),
    "fast weights evaluated after the pull": ("cpu/runs.py", EVALUATED + PULLED, PULLED + EVALUATED, TRAIN),
    "minibatches one step ahead": ("cpu/runs.py", "seed, t - 1, rows", "seed, t, rows", TRAIN),
    "scalars one step ahead": (
        "cpu/runs.py",
        "s2, table[t - 1])\n        if not",
        "s2, table[min(t, last - 1)])\n        if not",
        TRAIN,
    ),
    "sync one step late": ("cpu/runs.py", "t % sync_period == 0", "t > 1 and (t - 1) % sync_period == 0", TRAIN),
    "weights not watched": ("cpu/runs.py", "if not _all_within(p, limits[1])", "if False", TRAIN),
    "gradient not watched": ("cpu/runs.py", "and _all_within(g, limits[0])", "", TRAIN),
    "one step too many at divergence": ("cpu/runs.py", "return t, t - 1", "return t, t", TRAIN),
    "evaluated losses not watched": (
        "train.py",
        "late = ~np.isfinite(values)[:, task.measured].all(axis=1)",
        "late = np.zeros(len(values), bool)",
        TRAIN,
    ),
    "slow rows hold the fast weights": ("train.py", "results[run, at, kind]", "results[run, at, 0 * kind]", TRAIN),
    "lanes: W not transposed": (
        "cpu/groups.py",
        "lane_product(by_row[0], W, by_row[1])",
        "lane_product(by_row[0], W.reshape((fan_in, fan_out, lanes)).transpose((1, 0, 2)), by_row[1])",
        GROUPS,
    ),
    "lanes: no bias": (
        "cpu/groups.py",
        "set_line(row, r, biased(line(row, r), b))",
        "set_line(row, r, line(row, r))",
        GROUPS,
    ),
    "lanes: no gradient for biases": ("cpu/groups.py", "total = total + line(row, r)", "pass", GROUPS),
    "lanes: L2 left out": ("cpu/groups.py", "network.add_penalty(l2, _flat(W), _flat(dW))", "pass", GROUPS),
    "lanes: one activation for all": ("cpu/groups.py", "hidden and activation == RELU", "hidden", GROUPS),
    "lanes: minibatches one step ahead": ("cpu/groups.py", "seed, t - 1, rows", "seed, t, rows", GROUPS),
    "lanes: scalars of the first step": ("cpu/groups.py", "table[t - 1 - first]", "table[0]", GROUPS),
    "lanes: sync one step late": ("cpu/groups.py", "t % periods[lane] == 0", "t % periods[lane] == 1", GROUPS),
    "lanes: averaging pulls": (
        "cpu/groups.py",
        "how[2, lane] = 1 if now and pulls[lane] else 0",
        "how[2, lane] = how[0, lane]",
        GROUPS,
    ),
    "lanes: state kept": ("cpu/groups.py", "elif inner_state == RESET", "elif False", GROUPS),
    "lanes: state not interpolated": ("cpu/groups.py", "_pull_all(s1, a1, moves, stays)", "pass", GROUPS),
    "lanes: labels of the piece before": (
        "cpu/groups.py",
        "labels[r * lanes + lane] = y[first + r]",
        "labels[r * lanes + lane] = y[r]",
        GROUPS,
    ),
    "lanes: chain backwards": (
        "cpu/lanes.py",
        "for k in range(A.shape[1])",
        "for k in range(A.shape[1])[::-1]",
        GROUPS,
    ),
    "validation evaluated on the test rows": (
        "train.py",
        "for name in SPLITS]",
        'for name in ("train", "test", "test")]',
        TRAIN,
    ),
    "no fault": ("train.py", "", "", MODELS),
    "no fault at all": ("train.py", "", "", TRAIN),
    "no fault in lanes": ("train.py", "", "", GROUPS),
}


def verdict(folder, fault):
    """Return what the tests say on a copy of the package with the fault."""
    file, stands, planted, (tests, chosen) = fault
    shutil.copytree(ROOT / "lookahead_nb", folder / "lookahead_nb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests").mkdir()
    for name in ("conftest.py", "cases.py", "reference.py", "reference_network.py", tests):
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    if stands:
        source = (folder / "lookahead_nb" / file).read_text(encoding="utf-8")
        assert source.count(stands) == 1, f"{file} holds {source.count(stands)} times: {stands}"
        (folder / "lookahead_nb" / file).write_text(source.replace(stands, planted), encoding="utf-8")
    options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-k", chosen, f"tests/{tests}"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(f"fault{number}") for number in range(len(FAULTS))]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FAULTS, pool.map(verdict, folders, FAULTS.values()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_noticed(verdicts, name):
    last = verdicts[name].rstrip().rpartition("\n")[2]
    if name.startswith("no fault"):
        assert re.search(r"^\d+ passed", last), verdicts[name]
    else:
        assert re.search(r"^1 failed", last), verdicts[name]
        assert "error" not in last  # a fault that cannot even be imported proves nothing
