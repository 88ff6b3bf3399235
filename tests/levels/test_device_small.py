"""The checks of a CUDA device at small sizes, in the simulator: `tests/device/run --small`, as one runs it there."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from tests.support.simulated import PLAIN_PYTHON

assert PLAIN_PYTHON, "this is run by `make test LEVEL=sim`"

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["machine", "step_bits", "step_speed", "run_bits", "sweep_speed", "tests"]


def test_all_parts_pass_and_two_files_come_out(tmp_path):
    command = [ROOT / "tests/device/run", "--small", "--out", tmp_path / "found"]
    environment = os.environ | {"PYTHON": sys.executable}
    child = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["device.json", "device.txt"]
    written = [(tmp_path / "found" / name).read_text(encoding="utf-8") for name in ("device.json", "device.txt")]
    found = json.loads(written[0], parse_constant=lambda word: f"{word} is no JSON")
    assert {part["name"]: part["status"] for part in found["parts"]} == dict.fromkeys(PARTS, "passed")
    records = {part["name"]: part["records"] for part in found["parts"]}
    assert found["finished"]
    assert "Numba's simulator" in records["machine"][3]["says"]
    assert [record["says"] for record in records["run_bits"]] == [
        "MLP 3-5-3, Lookahead: the bits of the CPU",
        "quiet landscape, AdamW: the bits of the CPU",
    ]
    assert all("the bits of the CPU" in record["says"] for record in records["step_bits"])
    counts = next(record["counts"] for record in records["tests"] if record.get("id") == "progress")
    assert counts["passed"] >= 3
    assert counts["failed"] == 0
    for text in written:
        assert re.search(r"(?<![\w.])/\w+/", text) is None
        assert re.search(rf"(?<!\w){re.escape(platform.node() or 'some-host')}(?!\w)", text) is None
