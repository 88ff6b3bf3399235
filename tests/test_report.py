"""Verdicts in words: sizes on each scale, the tables of the README."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lookahead_nb import claims
from lookahead_nb.claims import report
from lookahead_nb.figures import verdicts
from tests.support import registers

pytestmark = pytest.mark.no_kernel


@pytest.fixture
def register(tmp_path):
    return registers.read(tmp_path)


def judged(**outcomes):
    """Effects of C01 as ``judge_all`` gives them, with these outcomes."""
    rows = [
        {
            "claim": "C01",
            "effect": name,
            "task": "all",
            "size": 1.5,
            "low": 1.25,
            "high": 1.75,
            "p": 0.001,
            "outcome": each,
        }
        for name, each in outcomes.items()
    ]
    columns = ["claim", "effect", "task", "size", "low", "high", "p", "outcome"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("scale", "values", "shown"),
    [
        ("ratio", (1.98765, 1.9512, 2.01), "×1.99 [1.95, 2.01]"),
        ("ratio", (math.inf, 0, math.inf), "×inf [0, inf]"),
        ("difference", (0.012345, -0.001, 0.02), "+0.0123 [-0.001, 0.02]"),
        ("difference", (-1234.5, -1300, -1200.25), "-1,230 [-1,300, -1,200]"),
        ("of chance", (-0.012, -0.02, 0.0), "-1.2 % [-2, 0]"),
    ],
)
def test_a_size_is_told_on_its_scale(register, scale, values, shown):
    effect = claims.Effect("e", "m", "a", "c", "less", 0.1, scale, "sign flip", ("one",))
    assert report.interval(effect, pd.Series(values, ["size", "low", "high"])) == shown


@pytest.mark.parametrize(
    ("expect", "scale", "margin", "told"),
    [
        ("greater", "ratio", 1.25, "m of 'a' is above that of 'c' by more than ×1.25; on one, two, test 'sign flip'"),
        ("less", "difference", 0.5, "m of 'a' is below that of 'c' by more than 0.5; on one, two, test 'sign flip'"),
        ("equivalent", "of chance", 0.01, "m of 'a' is that of 'c' within 1 %; on one, two, test 'sign flip'"),
    ],
)
def test_an_effect_is_told_in_a_sentence(expect, scale, margin, told):
    effect = claims.Effect("e", "m", "a", "c", expect, margin, scale, "sign flip", ("one", "two"))
    assert report.sentence(effect) == told


def test_the_deciding_effect_is_shown(register):
    assert report.main_effect(register["C01"], judged(slower="yes", better="no")) == "slower: ×1.5 [1.25, 1.75]"
    assert report.main_effect(register["C01"], judged(slower="open", better="yes")) == "better: +1.5 [1.25, 1.75]"
    assert report.main_effect(register["C01"], judged()) == ""
    assert report.main_effect(register["C03"], judged()) == "No ImageNet here."


def test_the_tables_stand_between_their_marks_and_link_to_what_is_there(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    for name in ("pyproject.toml", "notebooks/02_slow.ipynb"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    register = registers.read(tmp_path, ("Larger is slower.", "Larger | slower."))
    text = "before\n<!-- claims faq -->\nold\n<!-- /claims -->\nbetween\n<!-- claims all -->\n<!-- /claims -->\nafter\n"
    found = report.with_tables(text, register, judged(slower="yes", better="open"))
    assert found == (
        "before\n"
        "<!-- claims faq -->\n"
        "| the article says | we measured | do this |\n"
        "| --- | --- | --- |\n"
        "| Larger \\| slower. | **conditional** ([C01](notebooks/02_slow.ipynb)): at an unchanged rate; slower: ×1.5 "
        "[1.25, 1.75] |  |\n"
        "| Larger is calmer. | **no results yet** (C02) | Take a longer one. |\n"
        "| Better on ImageNet. | **not testable here** ([C03](notebooks/02_slow.ipynb)): No ImageNet here. |  |\n"
        "<!-- /claims -->\n"
        "between\n"
        "<!-- claims all -->\n"
        "|  | the article says | verdict | deciding effect [95 % interval] | notebook |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| C01 | Larger \\| slower. | conditional | slower: ×1.5 [1.25, 1.75] | [02_slow](notebooks/02_slow.ipynb) |\n"
        "| C02 | Larger is calmer. | no results yet |  | 03_period |\n"
        "| C03 | Better on ImageNet. | not testable here | No ImageNet here. | [02_slow](notebooks/02_slow.ipynb) |\n"
        "<!-- /claims -->\n"
        "after\n"
    )
    assert report.with_tables(found, register, judged(slower="yes", better="open")) == found
    assert report.with_tables(found, register, judged()) != found


def test_what_is_no_part_of_the_faq_is_in_the_other_table_only(tmp_path):
    register = registers.read(tmp_path, ("[C03]", "[C11]"))
    faq, whole = (
        report.with_tables(f"<!-- claims {kind} -->\n<!-- /claims -->", register, judged()) for kind in ("faq", "all")
    )
    assert "ImageNet" not in faq
    assert "ImageNet" in whole


def test_an_empty_register_gives_no_lines():
    assert report.lines({}, judged()) == []


def test_every_effect_is_listed_with_what_it_was_judged_against(register):
    found = report.effects_of(register, judged(slower="yes", better="open"))
    assert found[["claim", "verdict", "effect", "expect", "scale", "margin"]].to_numpy().tolist() == [
        ["C01", "conditional", "slower", "greater", "ratio", 1.25],
        ["C01", "conditional", "better", "less", "difference", 0.01],
    ]
    assert len(report.effects_of(register, judged())) == 0


def test_effects_are_drawn_in_margins_towards_what_was_expected():
    effects = pd.DataFrame(
        {
            "expect": ["greater", "less", "less", "equivalent", "greater"],
            "scale": ["ratio", "ratio", "difference", "of chance", "ratio"],
            "margin": [2.0, 2.0, 0.1, 0.01, 1.1],
            "size": [4.0, 0.25, 0.05, -0.02, math.inf],
        }
    )
    assert verdicts.in_margins(effects, "size").tolist() == pytest.approx([2, 2, -0.5, -2, math.inf])


def test_what_does_not_fit_on_the_page_is_drawn_at_its_edge(register):
    rows = report.effects_of(register, judged(slower="yes", better="open")).assign(low=[0.0, -math.inf], high=math.inf)
    fig = verdicts.forest(rows)
    arrows = [line for line in fig.axes[0].lines if line.get_marker() in ("<", ">")]
    assert sorted(x for line in arrows for x in line.get_xdata()) == [-verdicts.EDGE] * 2 + [verdicts.EDGE] * 2
    plt.close(fig)
