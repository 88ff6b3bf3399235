"""Planted faults must be noticed: each one in ``planted_faults.txt`` must fail the test that its entry names."""

import ast
import hashlib
import os
import subprocess
import textwrap

import pytest
from conftest import NO_JIT

from tests.support import planting
from tests.support.planting import Fault, MisfitError, planted

FAULTS = planting.read()
FILES = sorted({fault.test.partition("::")[0] for fault in FAULTS})  # with a test that notices a fault

PARTS = int(os.environ.get("PLANTED_PARTS") or 1)  # one part of the faults is run, chosen by the commit; all by default

plain_python = pytest.mark.skipif(not NO_JIT, reason="plain Python needs no compiling for each fault: LEVEL=nojit")


def jobs_for(items):
    """Return a job for each of these tests, and why there is none for the others."""
    jobs, misfits = [], {}
    for item in items:
        given = getattr(item, "callspec", None) and item.callspec.params
        if given and "fault" in given:
            fault = given["fault"]
            try:
                path, text = planted(fault)
                jobs.append((fault.title, str(path), text, [fault.test]))
            except MisfitError as misfit:
                misfits[fault.title] = misfit
        elif given and "file" in given:
            tests = sorted({fault.test for fault in FAULTS if fault.test.startswith(f"{given['file']}::")})
            jobs.append((given["file"], None, None, tests))
    return jobs, misfits


@pytest.fixture(scope="module")
def outcome(request):
    """A function that returns pytest's exit code and output for a title. Only the selected faults are run."""
    items = [item for item in request.session.items if item.path == request.path]
    jobs, misfits = jobs_for(items)
    stream, known = planting.outcomes(jobs), {}

    def wait(title):
        if title in misfits:
            raise misfits[title]
        while title not in known:
            name, *known[name] = next(stream)
        return known.pop(title)

    yield wait
    stream.close()


def commit():
    """Return the hash of the commit, or "" without one."""
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=planting.TESTS, capture_output=True, text=True)
    return told.stdout.strip()


def is_chosen(title, parts, seed):
    """Return whether a fault is in the part that a seed chooses."""
    return int(hashlib.sha256(f"{seed} {title}".encode()).hexdigest(), 16) % parts == 0


CHOSEN = [fault for fault in FAULTS if PARTS == 1 or is_chosen(fault.title, PARTS, commit())]


@plain_python
@pytest.mark.slow
@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.title)
def test_a_planted_fault_is_noticed(fault, outcome):
    code, output = outcome(fault.title)
    assert code == pytest.ExitCode.TESTS_FAILED, output


@plain_python
@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_without_a_fault_the_same_tests_pass(file, outcome):
    code, output = outcome(file)
    assert code == pytest.ExitCode.OK, output


def test_every_fault_has_a_place():
    misfits = []
    for fault in FAULTS:
        try:
            planted(fault)
        except MisfitError as misfit:
            misfits.append(str(misfit))
    assert not misfits, "\n".join(misfits)


def test_a_commit_chooses_its_part_of_the_faults():
    titles = [fault.title for fault in FAULTS]
    first, second = ([is_chosen(title, 2, seed) for title in titles] for seed in ("one commit", "another"))
    assert all(is_chosen(title, 1, "") for title in titles)
    assert first != second
    for part in (first, second):
        assert 0.4 < sum(part) / len(titles) < 0.6
    if PARTS > 1:
        assert 0 < len(CHOSEN) < len(FAULTS)


def test_titles_are_unique():
    assert len({fault.title for fault in FAULTS}) == len(FAULTS)


# ------------------------------------------------------------------------------------------------- where they go

SOURCE = '''
LIMIT = max(2, 3)

class Step:
    size = max(4, 5)

    def __call__(self, t, rate=max(6, 7)):
        """Return max(t, 1)."""
        if t > 0:
            t = max(
                t,  # never 0
                (1),
            )
            return t + 1
        return max(t, 2) + max(t, 2)
'''


@pytest.fixture
def package(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/runs.py").write_text(SOURCE)
    (tmp_path / "gpu.py").write_text("def run(t):\n    return t\n")
    (tmp_path / "train.py").write_text("def run(t, k):\n    return t\n")
    return tmp_path


def with_fault(package, function, right, wrong):
    """Return the lines that the fault takes from the module and those that it adds."""
    path, text = planted(Fault("a fault", function, "", textwrap.dedent(right), textwrap.dedent(wrong)), package)
    before = ast.unparse(ast.parse((package / path).read_text())).splitlines()
    after = text.splitlines()
    taken, added = (
        [line.strip() for line in one if line not in other] for one, other in [(before, after), (after, before)]
    )
    return str(path), taken, added


@pytest.mark.parametrize(
    ("function", "right", "wrong", "taken", "added"),
    [
        ("Step.__call__", "max(t, 1)", "max(t, 0)", ["t = max(t, 1)"], ["t = max(t, 0)"]),
        ("cpu.runs:Step.__call__", "t > 0", "t < 0", ["if t > 0:"], ["if t < 0:"]),
        ("Step.__call__", "t = max(t, 1)\nreturn t + 1", "return t", ["t = max(t, 1)", "return t + 1"], ["return t"]),
        ("Step", "max(4, 5)", "4", ["size = max(4, 5)"], ["size = 4"]),
        ("cpu.runs:", "max(2, 3)", "3", ["LIMIT = max(2, 3)"], ["LIMIT = 3"]),
    ],
)
def test_one_expression_or_statement_of_a_function_class_or_module_is_replaced(
    package, function, right, wrong, taken, added
):
    assert with_fault(package, function, right, wrong) == ("cpu/runs.py", taken, added)


@pytest.mark.parametrize("function", ["cpu.runs:Step.__call__", "runs:Step.__call__", "kernels.cpu.runs:Step.__call__"])
def test_a_module_is_named_by_the_end_of_its_dotted_name(package, function):
    (package / "kernels").mkdir()
    (package / "cpu").rename(package / "kernels/cpu")
    assert with_fault(package, function, "max(t, 1)", "t") == ("kernels/cpu/runs.py", ["t = max(t, 1)"], ["t = t"])


def test_the_whole_dotted_name_of_a_module_comes_before_the_end_of_another(package):
    (package / "old").mkdir()
    (package / "old/gpu.py").write_text("def run(t):\n    return t\n")
    assert with_fault(package, "gpu:run", "t", "t + 1") == ("gpu.py", ["return t"], ["return t + 1"])


def test_of_modules_with_the_same_end_the_one_with_the_function_counts(package):
    (package / "gpu").mkdir()
    (package / "gpu/runs.py").write_text("def train(t):\n    return t\n\ndef report():\n    return 1\n")
    (package / "cpu/runs.py").write_text("def train(t):\n    return t\n")
    assert with_fault(package, "runs:report", "1", "2")[0] == "gpu/runs.py"
    with pytest.raises(MisfitError, match=r"have 'runs:train'; name one: cpu\.runs:train, gpu\.runs:train"):
        with_fault(package, "runs:train", "t", "t + 1")


def test_a_module_may_move_and_a_signature_may_change(package):
    text = SOURCE.replace("self, t, rate=max(6, 7)", "self, t, *, plan: object = None")
    (package / "cpu/runs.py").unlink()
    (package / "moved.py").write_text(text)
    assert with_fault(package, "Step.__call__", "max(t, 1)", "t") == ("moved.py", ["t = max(t, 1)"], ["t = t"])


@pytest.mark.parametrize(
    ("function", "right", "wrong", "words"),
    [
        ("Step.__cal__", "t", "t", "no function or class 'Step.__cal__'; the nearest: Step.__call__"),
        ("cpu.run:Step", "t", "t", "no module 'cpu.run'; the nearest: cpu.runs"),
        ("run", "t", "t", "several modules have 'run'; name one: gpu:run, train:run"),
        (
            "Step.__call__",
            "max(t, 5)",
            "t",
            r"but holds it 0 times: max\(t, 5\); the nearest: max\(t, 2\)",
        ),
        ("Step.__call__", "max(t, 2)", "t", r"but holds it 2 times: max\(t, 2\); take more"),
        ("Step.__call__", "max(6, 7)", "6", "but holds it 0 times"),
        ("cpu.runs:", "max(4, 5)", "6", "but holds it 0 times"),
        ("Step.__call__", "t > 0", "u > 0", "cpu.runs has no name u"),
        ("Step.__call__", "t > 0 and", "t", "must be an expression or whole statements"),
    ],
)
def test_a_fault_without_one_place_is_an_error(package, function, right, wrong, words):
    with pytest.raises(MisfitError, match=f"^a fault: .*{words}"):
        with_fault(package, function, right, wrong)


@pytest.mark.parametrize("text", ["a | b\n- t\n+ u", "a | b | c\n- t", "a | b | c\n+ t", "a | b | c\n- t\n+ u\n* v"])
def test_an_entry_that_is_none_is_an_error(tmp_path, text):
    path = tmp_path / "faults.txt"
    path.write_text(f"# A comment.\n\n{text}\n")
    with pytest.raises(MisfitError, match=r"an entry must be a line 'title \| function \| test'"):
        planting.read(path)
