"""The README's examples run as printed, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHOWS = ["test_accuracy", "Lookahead(AdamW) 0.001"]  # part of what each example prints
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.jit  # two thousand steps are too many for plain Python
def test_the_examples_run(capsys):
    for example, shows in zip(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL), SHOWS, strict=True):
        assert len([line for line in example.splitlines() if line.strip()]) <= 15
        exec(compile(example, "README.md", "exec"), {})
        assert shows in capsys.readouterr().out


def test_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [t for t in targets if "://" not in t and not (ROOT / t).exists()] == []
