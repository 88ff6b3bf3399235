"""Stored runs: later work may group runs or share their products, but never change the bits of one.

``WRITE=1 python tests/test_golden.py`` writes ``tests/golden/*.json`` anew, with the names of the CPUs whose code was
found to agree. Without WRITE it only says which of them would change.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name

import lookahead_nb as lnb
from lookahead_nb import train
from lookahead_nb.kernels.philox import STREAM_ID

FOLDER = Path(__file__).resolve().parent / "golden"
COMPILED = not numba.config.DISABLE_JIT
# Where the bits are asked for: x86-64 with fma, of which several classes were tried (`agree` in the files), and plain
# Python anywhere, whose fma is exact. Elsewhere another rounding may be taken once in a while.
BITS = not COMPILED or (platform.machine().lower() in ("x86_64", "amd64") and get_host_cpu_features().get("fma", False))
# Then a run may end as far away as rounding takes it: the distance between the runs in float32 and float64, which is
# stored, times 4, since two float32 runs may lie on different sides of it and the distance was measured once.
ROUNDING = 4
OTHER_CPUS = {"haswell": "+avx2,+fma", "znver2": "+avx2,+fma", "nehalem": "+sse4.2"}


def tiny():
    rng = np.random.default_rng(2019)
    data = lnb.datasets.from_arrays(rng.integers(-8, 9, (25, 3)) / 4, np.arange(25) % 3)
    opt = lnb.Lookahead(lnb.AdamW(0.05), sync_period=3, retention=0.6, inner_state="interpolate")
    return lnb.MLP((3, 4, 3), activation="tanh"), data, opt, {"steps": 8, "batch_size": 5, "seed": 1, "eval_every": 3}


def perceptron():
    pytest.importorskip("sklearn", reason="needs scikit-learn for the digits")
    opt = lnb.Lookahead(lnb.AdamW(1e-2), sync_period=5, retention=0.5)
    return lnb.MLP((64, 32, 10)), lnb.datasets.load("digits"), opt, {"steps": 152, "seed": 2, "eval_every": 50}


def logistic():
    pytest.importorskip("sklearn", reason="needs scikit-learn for the digits")
    opt = lnb.Lookahead(lnb.SGD(0.1, momentum=0.9), sync_period=7, retention=0.2, inner_state="reset")
    model = lnb.LogisticRegression(64, n_classes=10, l2=1e-3)
    return model, lnb.datasets.load("digits"), opt, {"steps": 150, "seed": 3, "eval_every": 50}


RUNS = {"tiny": tiny, "perceptron": perceptron, "logistic": logistic}
LOSSES = ["train_loss", "validation_loss", "test_loss"]


def outcome(name, dtype="float32"):
    """The fingerprint of the data, the arrays at the end by name, and the losses on the way."""
    model, data, opt, how = RUNS[name]()
    run = train(model, data, opt, dtype=dtype, **how)
    arrays = {"fast": run.params, "slow": run.slow, **run.state.slots}
    return data.fingerprint, arrays, run.history[LOSSES].to_numpy()


def sha256(array):
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def picture(name):
    """What is stored of a run, without the CPUs that agree."""
    fingerprint, arrays, losses = outcome(name)
    _, exact_arrays, exact_losses = outcome(name, "float64")
    stored = {
        key: {
            "sha256": sha256(array),
            "norm": math.fsum(float(x) ** 2 for x in array) ** 0.5,
            "first": [float(x) for x in array[:8]],
            "rounding": float(np.abs(array - exact_arrays[key]).max()),
        }
        for key, array in arrays.items()
    }
    stored["losses"] = {"values": losses.tolist(), "rounding": float(np.abs(losses - exact_losses).max())}
    return {"stream": STREAM_ID, "data": fingerprint, "run": stored}


@pytest.mark.parametrize("how", ["bits" if BITS else "rounding"])
@pytest.mark.parametrize("name", ["tiny", *(pytest.param(name, marks=pytest.mark.jit) for name in list(RUNS)[1:])])
def test_a_stored_run_is_met_again(name, how):
    stored = json.loads((FOLDER / f"{name}.json").read_text())
    assert stored["stream"] == STREAM_ID
    fingerprint, arrays, losses = outcome(name)
    assert fingerprint == stored["data"]
    expected = stored["run"]
    assert {*arrays, "losses"} == expected.keys()
    if how == "bits":
        assert {key: sha256(array) for key, array in arrays.items()} == {key: expected[key]["sha256"] for key in arrays}
        assert losses.tolist() == expected["losses"]["values"]
    for key, array in arrays.items():
        bound = ROUNDING * expected[key]["rounding"]
        assert np.abs(array[:8] - np.array(expected[key]["first"])).max() <= bound
        assert abs(np.linalg.norm(array.astype(float)) - expected[key]["norm"]) <= bound * math.sqrt(array.size)
    assert np.abs(losses - np.array(expected["losses"]["values"])).max() <= ROUNDING * expected["losses"]["rounding"]


def hashes():
    """All bits of all runs as one word, to be compared between CPUs."""
    return hashlib.sha256("".join(sha256(a) for name in RUNS for a in outcome(name)[1].values()).encode()).hexdigest()


def agreeing_cpus():
    """The names of this CPU and of those whose code gives the same bits."""
    here = Path(__file__).resolve().parent
    program = (
        f"import sys; sys.path[:0] = {[str(here.parent), str(here)]}; import test_golden; print(test_golden.hashes())"
    )
    mine, found = hashes(), {get_host_cpu_name()}
    for name, features in OTHER_CPUS.items():
        with tempfile.TemporaryDirectory() as folder:
            target = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": folder}
            done = subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, **target},
                capture_output=True,
                text=True,
                check=True,
            )
        found |= {name} if done.stdout.strip() == mine else set()
    return sorted(found)


def main():
    """Write the stored runs, or say which would change."""
    new = {name: picture(name) for name in RUNS}
    paths = {name: FOLDER / f"{name}.json" for name in RUNS}
    old = {name: json.loads(path.read_text()) if path.is_file() else {} for name, path in paths.items()}
    changed = [name for name in RUNS if any(old[name].get(key) != value for key, value in new[name].items())]
    if os.environ.get("WRITE") != "1":
        sys.exit(f"these would change; WRITE=1 writes them: {', '.join(changed)}" if changed else 0)
    agree = agreeing_cpus()
    for name, path in paths.items():
        path.write_text(json.dumps({"written_on": get_host_cpu_name(), "agree": agree} | new[name], indent=1) + "\n")


if __name__ == "__main__":
    main()
