"""The steps of ``.ci/run``: every level is one of them, they stop at a failure, and their times meet a budget."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRUE, FALSE = (f"{sys.executable} -c 'print(1 + 1); raise SystemExit({code})'" for code in (0, 1))


@pytest.fixture(scope="module")
def ci():
    spec = importlib.util.spec_from_file_location("ci_steps", ROOT / ".ci/steps.py")
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def test_the_script_starts_the_steps_from_any_shell():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert (ROOT / ".ci" / re.search(r"/(\w+\.py)\"", script)[1]).is_file()


def test_every_level_is_a_step(ci):
    levels = re.findall(r"^tests\.(\w+) +=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = [command for *_, command in ci.STEPS]
    assert len(levels) > 5
    assert [level for level in levels if level != "jit" and f"make test LEVEL={level}" not in commands] == []
    assert "make test" in commands


def test_budgets_stay_below_forty_one_minutes(ci):
    assert sum(budget or 0 for _, budget, *_ in ci.STEPS) <= 41


def test_the_first_failure_ends_everything(ci, capfd):
    forever = f"{sys.executable} -c 'import time; time.sleep(1000)'"
    ended, passed = ci.run([("a", 1, 2, TRUE), ("b", 1, 1, forever), ("c", 1, 1, FALSE), ("d", 1, 2, TRUE)])
    assert not passed
    assert [step.name for step in ended] == ["a", "c"]
    assert capfd.readouterr().out.count("\n2\n") == 2


def test_logs_of_steps_side_by_side_are_not_mixed(ci, capfd):
    lines = "import time; print(1, flush=True); time.sleep(0.3); print(2)"
    ended, passed = ci.run(
        [("a", 1, 1, f"{sys.executable} -c '{lines}'"), ("b", 1, 1, f"{sys.executable} -c '{lines}'")]
    )
    assert passed
    assert {step.name for step in ended} == {"a", "b"}
    assert capfd.readouterr().out.count("\n1\n2\n<==") == 2


def test_a_step_above_its_budget_is_a_warning(ci):
    ended, _ = ci.run([("in time", 1, 2, TRUE), ("late", 0, 2, TRUE), ("free", None, 2, TRUE)])
    lines = ci.table(ended, 12.3)
    assert [line.split()[0] for line in lines if line.endswith("WARNING: above its budget")] == ["late"]
    assert lines[-1].split() == ["all", "12.3", str(ci.LIMIT)]


@pytest.mark.parametrize(("steps", "limit", "code"), [([TRUE], 80, None), ([TRUE], 0, "0"), ([FALSE], 80, FALSE)])
def test_only_a_failure_or_all_time_together_fails(ci, monkeypatch, steps, limit, code):
    monkeypatch.setattr(ci, "STEPS", [("a", 0, 2, command) for command in steps])
    monkeypatch.setattr(ci, "LIMIT", limit)
    monkeypatch.setattr(ci.signal, "signal", lambda *_: None)
    if code is None:
        ci.main()
    else:
        with pytest.raises(SystemExit, match="FAILED.*" + re.escape(code)):
            ci.main()
