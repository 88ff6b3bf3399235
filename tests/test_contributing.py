"""The examples of CONTRIBUTING.md fit the sources and work as shown: a rule, a task, a statement, Fashion-MNIST."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from lookahead_nb import datasets
from lookahead_nb.__main__ import main

pytestmark = pytest.mark.no_kernel

for needed in ("sklearn", "jupytext", "nbclient", "rich", "typst"):
    pytest.importorskip(needed, reason="needs the extra [reproduce]")

ROOT = Path(__file__).resolve().parent.parent
IGNORED = shutil.ignore_patterns(
    "__pycache__",
    "[0-9][0-9].csv",
    "[0-9][0-9].json",
    "*.ipynb",
    "statements.csv",
    "statements.json",  # other verdicts take minutes here
)
COPIED = ["lookahead_nb", "tests", "data", "notebooks", "README.md", "CHANGELOG.md", "pyproject.toml"]
PROGRAMS = {"python": [sys.executable], "lookahead-nb": [sys.executable, "-m", "lookahead_nb"]}
PATIENCE = 300  # seconds for one command
STEP = re.compile(
    r"^In (?:a new file, )?`(?P<file>[^`\n]+)`(?:, (?P<side>before|after) `(?P<words>[^\n]+)`)?:\n\n"
    r"```\w+\n(?P<block>.*?)^```$|^```console\n(?P<commands>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def example(title):
    """The steps of a worked example, in their order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"\n### {title}\n")[2]
    section = re.split(r"^##+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    steps = [*STEP.finditer(section)]
    assert len(steps) == section.count("```") / 2 > 0, "a block of the example says not where it belongs"
    return steps


def put(checkout, step):
    """Put a block where the example says. errors : AssertionError where it does not fit."""
    path = checkout / step["file"]
    if not step["side"]:
        assert not path.exists()
        path.write_text(step["block"], encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if step["words"] in line]
    assert len(found) == 1, f"{step['file']} holds {len(found)} lines with {step['words']!r}"
    at = found[0] + (step["side"] == "after")
    while step["side"] == "before" and lines[at - 1].startswith("@"):
        at -= 1  # decorators belong to what they stand before
    path.write_text("".join([*lines[:at], step["block"], *lines[at:]]), encoding="utf-8")


def called(checkout, command):
    """Run a command in the checkout as plain Python; return its exit status and its words."""
    words = shlex.split(command)
    given = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    program, *arguments = words[len(given) :]
    plain = {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in os.environ.items() if name not in ("LOOKAHEAD_NB_BUILD", "FULL")}
    done = subprocess.run(
        [*PROGRAMS[program], *arguments], cwd=checkout, env=environment | plain | given, timeout=PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def follow(steps, checkout):
    """Make the changes of an example and run its commands, each of which has to end well and to print what is shown."""
    for name in COPIED:
        whole = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        whole(ROOT / name, checkout / name, **({"ignore": IGNORED} if whole is shutil.copytree else {}))
    for step in steps:
        if step["commands"] is None:
            put(checkout, step)
            continue
        for part in step["commands"].removeprefix("$ ").split("\n$ "):
            command, *shown = part.splitlines()
            status, words = called(checkout, command)
            assert status == 0, f"{command}\n{words}"
            assert [line for line in shown if line not in words.splitlines()] == [], f"{command}\n{words}"
    changed = sorted({step["file"] for step in steps if re.match(r".+/.+\.py$", step["file"] or "")})
    for check in ("format", "check") if changed else ():  # without names ruff would take all files
        status, words = called(checkout, f"python -m ruff {check} --no-cache {shlex.join(changed)}")
        assert status == 0, words


EXAMPLES = ["An optimizer", "A task", "A statement"]
RIGHT, WRONG = "fma(beta2, s1, rest2 * g), s2", "fma(beta2, s1, rest1 * g), s2"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each example, and of a wrong one: a function that returns nothing or raises what was raised."""
    steps = {title: example(title) for title in EXAMPLES}
    steps["wrong"] = [step.groupdict() for step in steps["An optimizer"]]
    steps["wrong"][0]["block"] = steps["wrong"][0]["block"].replace(RIGHT, WRONG)
    with ThreadPoolExecutor(2) as pool:
        tasks = {title: pool.submit(follow, each, tmp_path_factory.mktemp("checkout")) for title, each in steps.items()}
    return {title: task.result for title, task in tasks.items()}


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_a_worked_example_works(title, outcomes):
    outcomes[title]()


@pytest.mark.slow
def test_a_wrong_formula_is_found(outcomes):
    with pytest.raises(AssertionError, match=r"test_float64_follows_the_reference_after_every_step\[lion\]"):
        outcomes["wrong"]()


@pytest.mark.jit
@pytest.mark.skipif(not datasets.available("fashion_mnist"), reason="needs the files of Fashion-MNIST")
def test_fashion_mnist_is_trained_on_as_shown(tmp_path, monkeypatch, capsys):
    config, run = example("Fashion-MNIST")
    put(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    command, shown = run["commands"].removeprefix("$ lookahead-nb ").splitlines()
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == f"{shown}\n"
    rows = pd.read_csv("fashion.csv").groupby("step")["test_accuracy"].min()
    assert rows[0] < 0.3 < 0.8 < rows[1000]


@pytest.mark.parametrize("times", [0, 2])
def test_a_block_that_no_longer_fits_is_found(times, tmp_path):
    step = example("An optimizer")[0]
    path = tmp_path / step["file"]
    path.parent.mkdir(parents=True)
    path.write_text(f"{step['words']}\n" * times, encoding="utf-8")
    with pytest.raises(AssertionError, match=rf"optimizers.py holds {times} lines with '# What a sync"):
        put(tmp_path, step)
    assert path.read_text(encoding="utf-8").count("\n") == times
