"""Promise R7: ``make verify`` passes on every class of CPU. This machine is made to pass for others, in processes.

OPENBLAS_CORETYPE chooses the code of BLAS and LAPACK, NPY_DISABLE_CPU_FEATURES that of NumPy, GLIBC_TUNABLES that of
the C library, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES that of ours. ``class_dependent.py`` says what is recomputed.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from class_dependent import start_of_training
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from test_notebooks import load_runner

from lookahead_nb import provenance as tables

ROOT = Path(__file__).resolve().parent.parent.parent
NEWER_THAN = {"AVX2": ("X86_V4", "AVX512_ICL", "AVX512_SPR"), "SSE4": ("X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR")}


def disabled(level):
    """Return the features of NumPy above a level that this NumPy knows and this machine has."""
    return " ".join(name for name in NEWER_THAN[level] if name in __cpu_dispatch__ and __cpu_features__[name])


CLASSES = {
    "AVX-512": {"OPENBLAS_CORETYPE": "SkylakeX", "NUMBA_CPU_NAME": "skylake-avx512"},
    "AVX2": {
        "OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": disabled("AVX2"), "NUMBA_CPU_NAME": "haswell",
    },
    "SSE4": {  # compiled for AVX2 all the same: without a fused multiply-add in the CPU training takes forever
        "OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": disabled("SSE4"), "NUMBA_CPU_NAME": "haswell",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    },
}  # fmt: skip
RECOMPUTED = {
    "convergence_cycle", "convergence_gaps", "convergence_matched_risk", "sync_period_cycle", "noise_floor_epoch",
    "noise_floor_floors", "quick_start",
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="needs Linux on x86-64"),
]


@pytest.fixture(scope="module", params=CLASSES)
def recomputed(request, tmp_path_factory):
    """The folder that a process of another class has filled, and what that process says of itself."""
    if request.param == "AVX-512" and not __cpu_features__["AVX512F"]:
        pytest.skip("needs a CPU with AVX-512")
    settings, build = CLASSES[request.param], tmp_path_factory.mktemp("build")
    environment = os.environ | settings | {
        "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(ROOT / f"build/classes/{settings['NUMBA_CPU_NAME']}"),
        "LOOKAHEAD_NB_BUILD": str(build), "MPLBACKEND": "agg",
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).parent / "class_dependent.py")]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return build, json.loads(run.stdout.splitlines()[-1]), settings


def test_r7_what_is_committed_holds_on_another_class_of_cpu(recomputed, monkeypatch):
    build, _, _ = recomputed
    monkeypatch.chdir(ROOT)
    reproduce = load_runner()
    rows = reproduce.compare("results", build, everything=False)
    assert {name for name, _ in rows} == {f"table {name}" for name in RECOMPUTED}
    assert reproduce.differences(rows) == []
    assert dict(rows)["table quick_start"] == "identical"


def test_training_starts_from_the_same_bits_on_another_class_of_cpu(recomputed, monkeypatch):
    _, told, _ = recomputed
    monkeypatch.chdir(ROOT)
    assert told["start"] == json.loads(json.dumps(start_of_training()))


def test_figures_have_the_same_bytes_on_another_class_of_cpu(recomputed):
    _, told, _ = recomputed
    assert told["redrawn"] == []


def test_the_process_was_of_another_class(recomputed):
    build, told, settings = recomputed
    assert told["blas"] == [settings["OPENBLAS_CORETYPE"]]
    assert not {*settings.get("NPY_DISABLE_CPU_FEATURES", "").split()} & {*told["numpy"]}
    manifest = json.loads((build / "results/quick_start.json").read_text())
    assert manifest["machine"]["cpu_class"] == settings["NUMBA_CPU_NAME"]
    assert tables.made_on(build / "results/quick_start.csv")
