"""The README's examples run as printed, its links lead somewhere, its verdicts are those of the results."""

import re
from pathlib import Path

import pytest

from lookahead_nb.claims import registry, wording

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
SHOWS = [
    "These rows cannot tell whether Lookahead",
    "test_accuracy",
    "test accuracy 0.9",
    "Run(Lookahead(AdamW), seed=0, 1000 steps",
    "best step",
    "accuracy 0.9",
    "Lookahead(AdamW)",
]  # part of what each example prints
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.jit  # two thousand steps are too many for plain Python
def test_the_examples_run(capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    for example, shows in zip(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL), SHOWS, strict=True):
        assert len([line for line in example.splitlines() if line.strip()]) <= 15
        exec(compile(example, "README.md", "exec"), {})
        assert shows in capsys.readouterr().out


def test_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [t for t in targets if "://" not in t and not (ROOT / t).exists()] == []


def test_the_verdicts_are_those_of_the_results():
    """`make reproduce WRITE=1` writes them."""
    statements = registry.read()
    judged = registry.judge_all(statements, registry.evidence(statements))
    assert wording.with_tables(README, statements, judged, wording.read(statements)) == README
    assert [kind for _, kind, _ in wording.BETWEEN.findall(README)] == ["faq", "all"]
