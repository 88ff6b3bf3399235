"""Planted faults must be found: every mutant of the library in ``mutants.txt`` fails the test named beside it."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import NO_JIT

import lookahead_nb

PACKAGE, TESTS = Path(lookahead_nb.__file__).parent, Path(__file__).parent

TIMEOUT = 300  # seconds; a mutant that runs on for ever is no mutant for this list

pytestmark = pytest.mark.skipif(not NO_JIT, reason="plain Python sees every mutant and compiles none: LEVEL=nojit")


@dataclass(frozen=True)
class Mutant:
    """A text of the library, its wrong twin, and the test that must tell them apart."""

    name: str
    file: str
    found_by: str
    right: str
    wrong: str


def listed(text):
    for block in text.strip().split("\n\n")[1:]:
        head, *lines = block.splitlines()
        right, wrong = ("\n".join(line[2:] for line in lines if line.startswith(sign)) for sign in "-+")
        yield Mutant(*head.split(" | "), right, wrong)


MUTANTS = list(listed((TESTS / "mutants.txt").read_text(encoding="utf-8")))


def outcome_of(package, tests):
    """Run these tests on a copy of the package in plain Python; return pytest's exit code and its words."""
    quick = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain"]
    command = [sys.executable, "-m", "pytest", *quick, *(str(TESTS / test) for test in tests)]
    plain = {"NUMBA_DISABLE_JIT": "1", "NUMBA_ENABLE_CUDASIM": "1"}  # CUDA kernels too, where a test runs any
    environment = os.environ | plain | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment["PYTHONPATH"] = str(package.parent)
    options = {"cwd": package.parent, "env": environment, "capture_output": True, "text": True}
    child = subprocess.run(command, check=False, timeout=TIMEOUT, **options)
    return child.returncode, child.stdout + child.stderr


def copied(folder):
    return Path(shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")))


def mutated(mutant, folder):
    package = copied(folder)
    path = package / mutant.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant.right) == 1, f"the mutant {mutant.name!r} no longer fits {mutant.file}"
    path.write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    return outcome_of(package, [mutant.found_by])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {mutant: pool.submit(mutated, mutant, tmp_path_factory.mktemp("mutant")) for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_found(mutant, outcomes):
    code, words = outcomes[mutant].result()
    assert code == pytest.ExitCode.TESTS_FAILED, words


def test_the_library_itself_passes(tmp_path):
    package = copied(tmp_path)
    where = [sys.executable, "-c", "import lookahead_nb; print(lookahead_nb.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).parent == package
    tests = sorted({mutant.found_by for mutant in MUTANTS})
    code, words = outcome_of(package, tests)
    assert code == pytest.ExitCode.OK, words
