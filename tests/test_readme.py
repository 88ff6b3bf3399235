"""Examples of README and book run as printed, links lead somewhere, verdicts are those of the results."""

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from lookahead_nb import __main__ as command_line
from lookahead_nb.claims import registry, wording

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "paper/book").glob("*.md"))}
README = PAGES[ROOT / "README.md"]
MOST_LINES = 150  # a stranger reads it in a few minutes
SHOWS = {
    "README.md": ["accuracy 0.9", "loss ", "minimum at [1. 1.]", "distance from the minimum 0.0"],
    "using.md": [
        "These rows cannot tell whether Lookahead",
        "test_accuracy",
        "test accuracy 0.9",
        "test accuracy 1.0",
        "Run(Lookahead(AdamW), seed=0, 1000 steps",
        "best step",
        "slow",
        "accuracy 0.9",
        "loss",
        "Lookahead(AdamW)",
        "e-12",
        "modes=array([8])",
        "solved after",
    ],
}  # part of what each example prints


@pytest.mark.jit  # two thousand steps are too many for plain Python
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_examples_run(path, capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGES[path], flags=re.DOTALL)
    for example, shows in zip(examples, SHOWS.get(path.name, []), strict=True):
        assert len([line for line in example.splitlines() if line.strip()]) <= (10 if path.name == "README.md" else 15)
        if "import torch" in example and not find_spec("torch"):
            continue  # tests/levels/test_torch.py runs those of all pages
        exec(compile(example, path.name, "exec"), {})
        assert shows in capsys.readouterr().out


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[path])
    assert targets
    assert [t for t in targets if "://" not in t and not (path.parent / t).exists()] == []


def test_the_readme_shows_each_library_once():
    found = re.findall(r"^\*\*(.+?)\.?\*\*.*\n```python\n", README, flags=re.MULTILINE)
    assert found == ["scikit-learn", "PyTorch", "SciPy", "NumPy"]


class ParsedError(Exception):
    pass


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_commands_are_those_of_the_command_line(path, monkeypatch):
    def parsed(self, arguments):
        argparse.ArgumentParser.parse_args(self, arguments)
        raise ParsedError

    monkeypatch.setattr(command_line._Parser, "parse_args", parsed)
    for command in re.findall(r"`lookahead-nb ([^`|]*)`", PAGES[path]):
        with pytest.raises(ParsedError if "--help" not in command else SystemExit):
            command_line.main(command.split())


def test_the_readme_is_short():
    assert README.count("\n") <= MOST_LINES


def test_the_verdicts_are_those_of_the_results():
    """`make reproduce WRITE=1` writes them."""
    statements = registry.read()
    judged = registry.judge_all(statements, registry.evidence(statements))
    answers = wording.read(statements)
    for page, root in wording.pages().items():
        text = PAGES[ROOT / page]
        assert wording.with_tables(text, statements, judged, answers, root) == text
    assert {path.name: [kind for _, kind, _ in wording.BETWEEN.findall(text)] for path, text in PAGES.items()} == {
        path.name: {"README.md": ["questions"], "article.md": ["faq"]}.get(path.name, []) for path in PAGES
    }
