"""The checks of a CUDA device, without one: what a crash or a stop leaves behind, and how bits are compared."""

import json
import os
import platform
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.device import parts, runner

pytestmark = pytest.mark.no_kernel

SAY = "import json, os, sys, time, signal; pipe = os.fdopen(int(sys.argv[sys.argv.index('--records') + 1]), 'w', 1)\n"
SAY += "def say(says, **facts): print(json.dumps({'says': says} | facts), file=pipe)\n"
WORKS = "say('device: one', usable='device', works=True)"


def run(tmp_path, programs, limits=None, minutes=1):
    """Run programs as the parts of a check; return what is in the two files."""
    report = runner.Report(tmp_path, small=True)
    needs = {name: ("device",) if name != "first" else () for name in programs}
    listed = [(name, f"about {name}", (limits or {}).get(name, 30), needs[name]) for name in programs]
    runner.run_all(report, listed, lambda name: [sys.executable, "-c", SAY + programs[name]], minutes)
    return json.loads((tmp_path / "device.json").read_text()), (tmp_path / "device.txt").read_text()


def statuses(found):
    return {part["name"]: part["status"] for part in found["parts"]}


def test_a_part_that_crashes_or_hangs_or_fails_loses_no_other(tmp_path):
    programs = {
        "first": WORKS,
        "crashes": "say('before the crash'); os.abort()",
        "hangs": "say('before it hung'); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        "raises": "raise OSError('no such thing')",
        "differs": "say('other bits', ok=False)",
        "last": "say('the same bits', ok=True)",
    }
    found, text = run(tmp_path, programs, {"hangs": 2})
    assert statuses(found) == {
        "first": "passed",
        "crashes": "crashed with signal SIGABRT",
        "hangs": "stopped at its limit of 2 s",
        "raises": "failed with exit code 1",
        "differs": "failed",
        "last": "passed",
    }
    assert found["finished"]
    for words in ("before the crash", "before it hung", "OSError: no such thing", "the same bits"):
        assert words in text


def test_a_part_without_what_it_needs_is_skipped_and_says_so(tmp_path):
    programs = {"first": "say('device: none', usable='device', works=False)", "other": "say('never')"}
    found, text = run(tmp_path, programs)
    assert statuses(found) == {"first": "passed", "other": "skipped"}
    assert "needs device, which cannot be used here" in text
    assert "never" not in text


def test_time_for_all_parts_is_kept(tmp_path):
    programs = {"first": WORKS, "long": "time.sleep(600)", "never": "say('never')"}
    start = time.monotonic()
    found, text = run(tmp_path, programs, {"long": 500}, minutes=4 / 60)
    assert time.monotonic() - start < 30
    assert statuses(found)["long"].startswith("stopped at its limit of")
    assert statuses(found)["never"] == "not reached"
    assert not found["finished"]
    assert text.endswith("not all parts were reached\n")


def test_a_record_with_an_id_replaces_the_one_before(tmp_path):
    many = "[say(f'{i} passed', id='progress') for i in range(1000)]; say('done')"
    found, _ = run(tmp_path, {"first": many})
    assert [record["says"] for record in found["parts"][0]["records"]] == ["999 passed", "done"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_what_was_found_before_a_stop_from_outside_is_kept(how, tmp_path):
    program = f"{WORKS}; say('found early'); time.sleep(0.6); say('on'); time.sleep(600)"
    code = f"""
import signal, sys
sys.path.insert(0, {str(runner.ROOT)!r})
from pathlib import Path
from tests.device import runner
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
command = [sys.executable, "-c", {SAY + program!r}]
runner.run_all(runner.Report(Path({str(tmp_path)!r}), False), [("one", "about", 60, ())], lambda name: command, 1)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while process.stdout.readline().strip() != "on":
        pass
    process.send_signal(how)
    assert process.wait(20) != 0
    process.stdout.close()
    text = (tmp_path / "device.txt").read_text()
    assert "found early" in text
    found = json.loads((tmp_path / "device.json").read_text())
    assert statuses(found) == {"one": "running" if how == signal.SIGKILL else "stopped from outside"}
    assert not found["finished"]


def test_a_part_ends_when_the_runner_is_gone(tmp_path):
    code = f"""
import os, subprocess, sys, threading, time
sys.path.insert(0, {str(runner.ROOT)!r})
from tests.device import parts
if len(sys.argv) > 1:
    threading.Thread(target=parts.end_with, args=(os.getppid(),), daemon=True).start()
    time.sleep(600)
subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
time.sleep(3)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=writer)
    os.close(writer)
    parent.wait(30)
    assert os.read(reader, 1) == b""  # the end of the pipe: the child, which holds it too, is gone
    os.close(reader)


def test_nothing_names_the_machine():
    node = platform.node() or "some-host"
    said = {
        "a": [f"in {runner.ROOT}/tests/x.py on {node}: /opt/some/where/lib.so failed, 1/2 of it", np.inf, 1.5, None]
    }
    shown = runner.anonymous(said)
    assert shown == {"a": [f"in tests/x.py on {'HOST'}: lib.so failed, 1/2 of it", None, 1.5, None]}


def test_versions_are_compared_with_those_of_the_locks():
    tested = runner.tested_versions()
    assert tested["numba"].startswith("0.")
    assert {"numba-cuda", "numpy", "jax", "torch", "pytest"} <= tested.keys()
    assert runner.installed()["numba"]["tested"] == tested["numba"]
    found = {"cpu": "c", "cores": 1, "python": "3", "date": "d", "small": False, "parts": [], "finished": True}
    lines = runner.lines_of(found | {"packages": {"numba": {"found": "0.1", "tested": "0.2"}}})
    assert "numba 0.1 (tested with 0.2)" in lines


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_how_two_arrays_differ(dtype):
    host = np.array([1, 0, np.nan, -2, 5], dtype)
    device = host.copy()
    assert parts.apart(host, device) is None
    device[1], device[3] = -0.0, np.nextafter(np.nextafter(dtype(-2), dtype(0)), dtype(0))
    device[2] = -device[2]  # NaN with other bits
    assert parts.apart(host, device) == {"count": 2, "of": 5, "first": 1, "ulps": 2}
    device = np.nextafter(host, dtype(np.inf))
    device[1] = -np.nextafter(dtype(0), dtype(1))
    assert parts.apart(host, device)["ulps"] == 1


def test_differences_in_words():
    found = {"params": {"count": 2, "of": 5, "first": 1, "ulps": 3}, "status": {"count": 1, "of": 4, "first": 2}}
    assert parts.in_words(found) == (
        "params differs in 2 of 5 from index 1 on, by 3 units in the last place at most;"
        " status differs in 1 of 4 from index 2 on"
    )


def test_cases_are_left_out_when_the_time_is_over(tmp_path):
    with (tmp_path / "records").open("w") as file:
        report = parts.Reporter(os.dup(file.fileno()), seconds=0)
        assert [*report.in_time("abc")] == []
        report.end = time.monotonic() + 60
        assert [*report.in_time("abc")] == ["a", "b", "c"]
        report.pipe.close()
    (line,) = (tmp_path / "records").read_text().splitlines()
    assert json.loads(line) == {"says": "3 of 3 cases were left out for lack of time", "left_out": 3}


def test_a_case_that_fails_does_not_end_its_part(tmp_path):
    with (tmp_path / "records").open("w") as file:
        report = parts.Reporter(os.dup(file.fileno()), seconds=60)
        for name in report.in_time(["first", "second"]):
            with report.case(name):
                raise RuntimeError(f"no\nkernel for the {name}")
        report.pipe.close()
    records = [json.loads(line) for line in (tmp_path / "records").read_text().splitlines()]
    expected = [f"{name}: failed (RuntimeError: no kernel for the {name})" for name in ("first", "second")]
    assert [record["says"] for record in records] == expected
    assert not any(record["ok"] for record in records)
    assert "Traceback" in records[0]["text"]
