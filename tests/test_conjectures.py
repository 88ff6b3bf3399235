"""Conjectures of our own: their files, what the command prints, and that they never become statements."""

import shutil
from datetime import date

import pytest

from lookahead_nb.__main__ import main
from lookahead_nb.claims import conjectures, registry
from lookahead_nb.provenance import committed

pytestmark = pytest.mark.no_kernel

FILE = """
says = "Longer is better."
predicts = "A slope of 1 over 60 tasks."
falsified_if = "The slope lies outside [0.7, 1.3]."
experiment = "longer"
notebook = "05_none"
registered = "2026-12-01"
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of claims with the conjectures T2 and T10."""
    folder = tmp_path / "data/claims"
    folder.mkdir(parents=True)
    (folder / "T10.toml").write_text(FILE + 'outcome = "Falsified: the slope is 0.2."\n')
    (folder / "T2.toml").write_text(FILE)
    return folder


def test_conjectures_are_read_in_the_order_of_their_numbers(folder):
    found = conjectures.read(folder)
    assert [*found] == ["T2", "T10"]
    assert found["T2"].falsified_if == "The slope lies outside [0.7, 1.3]."
    assert found["T2"].registered == date(2026, 12, 1)
    assert [one.outcome for one in found.values()] == ["", "Falsified: the slope is 0.2."]


def test_other_files_are_no_conjectures(folder):
    for name in ("C01.toml", "Tasks.toml", "T.toml", "answers.toml"):
        (folder / name).write_text("wrong = 1\n")
    assert [*conjectures.read(folder)] == ["T2", "T10"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('says = "Longer is better."', "", r"T2.toml\.says must be text, got nothing"),
        ("experiment", "experment", r"T2.toml\.experment is not known"),
        ("2026-12-01", "soon", r"T2.toml\.registered must be a date such as 2026-12-01, got 'soon'"),
        ('"2026-12-01"', "2026-12-01", r"T2.toml\.registered must be text"),
        ("registered", "outcome = 1\nregistered", r"T2.toml\.outcome must be text, got 1"),
    ],
)
def test_a_wrong_file_is_refused_by_name(folder, old, new, message):
    path = folder / "T2.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        conjectures.read(folder)


def test_the_command_explains_a_conjecture(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent.parent)
    for asked, outcome in (("t2", "Outcome: not tested yet"), ("T10", "Outcome: Falsified: the slope is 0.2.")):
        assert main(["claims", asked]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{asked.upper()}, a conjecture of ours: Longer is better."
        for told in (
            outcome,
            "Predicts: A slope of 1 over 60 tasks.",
            "Falsified if: The slope lies outside [0.7, 1.3].",
            "Registered: 2026-12-01, ahead of its runs",
            "Rows: data/results/longer",
            "Notebook: notebooks/05_none.ipynb",
        ):
            assert told in lines
    for arguments in (["T3"], ["T2", "--contrasts"], ["T2", "--fresh"], ["T2", "--tasks", "2"]):
        assert main(["claims", *arguments]) == 2
        assert capsys.readouterr().err.startswith("lookahead-nb: ID must be a ")


def test_a_conjecture_is_no_statement(folder, tmp_path):
    claims = tmp_path / "both"
    shutil.copytree(committed("data/claims"), claims)
    known = [*registry.read(claims)]
    (claims / "T99.toml").write_text(FILE)
    assert [*registry.read(claims)] == known
    assert "T99" in conjectures.read(claims)


def test_committed_conjectures_can_be_read():
    for name, conjecture in conjectures.read().items():
        assert next(iter(conjectures.explained(conjecture))).startswith(f"{name}, a conjecture of ours: ")
