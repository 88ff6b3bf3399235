"""Verdicts in words: sizes on every scale, lines for a terminal, one claim explained, the tables of the README."""

import math
import re

import pandas as pd
import pytest

from lookahead_nb.claims import registry, wording
from lookahead_nb.claims.registry import Contrast, Statement
from lookahead_nb.provenance import committed, read_table

pytestmark = pytest.mark.no_kernel

USUALLY = Statement(
    "C90a", "8.3", "It is better.", "05_none", "It is usually better.", "usually", experiment="one",
    primary=Contrast("lookahead", ("adamw", "adamw_again")),
    reported={"error": Contrast("lookahead", ("adamw",), "test error")},
)  # fmt: skip
CAN = Statement(
    "C90b", "8.3", "It is better.", "05_none", "It does no harm.", "can", experiment="one", harmless=True,
    primary=Contrast("lookahead", ("adam",)),
)  # fmt: skip
ADVICE = Statement("C91", "8.1", "Take it.", "05_none", "It is good.", "advice", primary=Contrast("a", ("b",)))
NEVER = Statement("C92", "6.1", "It wins.", "05_none", "It wins.", "can", untestable="no data here")
STATEMENTS = {one.id: one for one in (USUALLY, CAN, ADVICE, NEVER)}
ANSWERS = {name: wording.Answer("By {C90a}.", "Open.", "More tasks.", "Tune | it.") for name in ("C90", "C91", "C92")}


def row(name, **values):
    about = {"id": name, "contrast": "primary", "class": "all", "tasks": 100, "scale": "gap", "better": 7, "worse": 2}
    numbers = {"value": 0.022, "low": 0.019, "high": 0.026, "share": 0.853, "share_low": 0.81, "share_high": 0.89}
    return about | numbers | {"steps": math.nan, "steps_low": math.nan, "steps_high": math.nan} | values


JUDGED = pd.DataFrame([
    row("C90a", verdict="holds, and matters"),
    row("C90a", **{"class": "step-limited"}, steps=1.27, steps_low=1.21, steps_high=math.inf, verdict="holds"),
    row("C90a", contrast="error", scale="error", value=-0.0001, low=-0.01, high=0.01, verdict="cannot tell"),
    row("C90b", share_low=0.18, share_high=1.0, verdict="holds, on a share of tasks"),
    row("C91", value=-0.005, low=-0.006, high=-0.004, verdict="follow it"),
])  # fmt: skip


@pytest.mark.parametrize(
    ("scale", "numbers", "words"),
    [
        ("gap", (0.0218, 0.0187, 0.0249), "2.2 % of the gap [1.9, 2.5]"),
        ("error", (-0.0001, -0.02, 0.018), "0.0 % of the rows [-2.0, 1.8]"),
        ("runs", (0.003, 0.001, 0.006), "0.3 % of the runs [0.1, 0.6]"),
        ("steps", (math.log(2), math.log(1.9), math.log(2.1)), "×2.00 steps [1.90, 2.10]"),
        ("ratio", (math.log(0.5), math.log(0.4), math.log(0.6)), "×0.50 [0.40, 0.60]"),
    ],
)
def test_a_size_has_the_unit_of_its_scale(scale, numbers, words):
    assert wording.size({"scale": scale} | dict(zip(("value", "low", "high"), numbers, strict=True))) == words


def test_every_scale_has_a_unit():
    assert {*wording.UNITS} == {*registry.SCALES}


def test_a_finding_follows_the_rule_of_the_modality():
    assert wording.finding(USUALLY, JUDGED) == (
        "2.2 % of the gap [1.9, 2.6]; better on 85 % of 100 tasks; where more steps would help, worth 27 % more steps"
        " of AdamW [21, over 100]"
    )
    assert wording.finding(CAN, JUDGED) == (
        "no harm that matters on at least 18 % of 100 tasks; mean 2.2 % of the gap [1.9, 2.6]"
    )
    assert wording.finding(ADVICE, JUDGED) == "cost -0.5 % of the gap [-0.6, -0.4]"
    assert wording.finding(NEVER, JUDGED) == "no data here"
    assert wording.finding(CAN, JUDGED[:0]) == ""


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.94, 1.0, "on at least 94 %"),
        (0.0, 0.11, "on at most 11 %"),
        (0.09, 0.8, "on 9 to 80 %"),
        (1.0, 1.0, "on all"),
        (0.0, 1.0, "on an unknown share"),
    ],
)
def test_bounds_of_a_share_are_told_without_what_they_leave_open(low, high, words):
    judged = pd.DataFrame([row("C90b", share_low=low, share_high=high, value=-0.02, low=-0.03, high=-0.01)])
    assert wording.finding(CAN, judged) == (
        f"no harm that matters {words} of 100 tasks; mean -2.0 % of the gap [-3.0, -1.0], which says the opposite"
    )


def test_steps_that_may_be_cut_off_are_a_lower_bound():
    numbers = {"scale": "steps", "value": math.log(2), "low": math.log(1.9), "high": math.log(2.1)}
    words = wording.finding(CAN, pd.DataFrame([row("C90b", share_low=0.94, share_high=1.0, **numbers)]))
    assert words == "no harm that matters on at least 94 % of 100 tasks; mean at least ×2.00 steps [1.90, 2.10]"


def test_fewer_steps_have_the_ends_of_their_interval_in_order():
    steps = {"steps": 0.87, "steps_low": 0.85, "steps_high": 1.01}
    judged = pd.DataFrame([row("C90a"), row("C90a", **{"class": "step-limited"}, **steps)])
    assert wording.finding(USUALLY, judged).endswith("worth 13 % fewer steps of AdamW [-1, 15]")


def test_numbers_are_filled_in():
    text = "{C90a} {C90a/error} {C90a:steps} {C90a:share} {C90b:better}/{C90b:worse} of {C90b:tasks}; {C99}"
    assert wording.filled(text, JUDGED) == (
        "2.2 % of the gap [1.9, 2.6] 0.0 % of the rows [-1.0, 1.0] 27 % more steps of AdamW [21, over 100] 85 % 7/2"
        " of 100; (no results yet)"
    )
    with pytest.raises(ValueError, match="must end on one of size, steps, share, better, worse, tasks, got most"):
        wording.filled("{C90a:most}", JUDGED)


def test_a_statement_has_a_line_for_its_verdict_and_one_for_what_was_found():
    lines = wording.lines(STATEMENTS.values(), JUDGED)
    assert len(lines) == 8
    assert lines[0] == "C90a  holds, and matters          It is usually better."
    assert lines[6].startswith("C92   not testable here  ")
    assert len({line.index("It ") for line in lines[::2]}) == 1
    assert wording.lines([CAN], JUDGED[:0]) == ["C90b  no results yet  It does no harm."]


def test_a_claim_is_explained_with_all_contrasts_and_classes():
    lines = [*wording.explained([USUALLY, CAN], JUDGED, ANSWERS["C90"], {"fig": "A caption."}, contrasts=True)]
    text = "\n".join(lines)
    assert lines[0] == "C90, section 8.3 of the article: It is better."
    assert "error: lookahead against adamw, test error" in text
    assert "primary: lookahead against adamw and adamw_again, test loss" in text
    assert "worth 27 % more" in text.split("step-limited: ")[1].split("\n    error")[0]
    assert "better shown on 7, worse on 2" in text.replace("\n      ", " ")
    order = ["In short: ", "Advice: Tune | it.", "First trial: Open.", "C90a: ", "Figure fig: A caption."]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert lines[-1] == "Notebook: notebooks/05_none.ipynb"
    assert max(map(len, lines)) <= 100


def test_a_forecast_is_listed_with_what_was_measured_and_no_verdict():
    forecast = Statement(
        "C93", "7.1", "It will be used.", "05_none", "It will be used.", "forecast", experiment="one",
        primary=Contrast("lookahead", ("adam",)),
    )  # fmt: skip
    judged = pd.DataFrame([row("C93", scale="ratio", value=0.4, low=0.2, high=0.7, verdict="a forecast: not judged")])
    assert wording.lines([forecast], judged) == [
        "C93   a forecast: not judged  It will be used.",
        f"{'':30}×1.49 [1.22, 2.01]; better on 85 % of 100 tasks",
    ]
    text = "\n".join(wording.explained([forecast], judged, ANSWERS["C90"], {}))
    assert "Judged by: nothing, since it is a forecast; its contrast is the measured answer" in text


def test_estimates_from_different_rows_are_compared():
    fresh = JUDGED[JUDGED["contrast"] == "primary"].assign(value=0.03)
    assert [*wording.compared(USUALLY, {"fresh": fresh, "all tasks": JUDGED})] == [
        "  primary: lookahead against adamw and adamw_again, test loss",
        "    fresh      " + wording.finding(USUALLY, fresh),
        "    all tasks  " + wording.finding(USUALLY, JUDGED),
        "  error: lookahead against adamw, test error",
        "    fresh      no results yet",
        "    all tasks  0.0 % of the rows [-1.0, 1.0]; better on 85 % of 100 tasks",
    ]


def test_both_trials_stand_side_by_side():
    table = wording.both_trials(STATEMENTS, JUDGED, ANSWERS)
    assert table["claim"].tolist() == ["C90", "C91", "C92"]
    assert table["second"].tolist() == [
        "a holds, and matters; b holds, on a share of tasks", "follow it", "not testable here",
    ]  # fmt: skip


def test_tables_are_replaced_between_their_marks(monkeypatch, tmp_path):
    monkeypatch.setattr(wording, "FAQ", ("C90", "C91"))
    monkeypatch.setattr(wording.provenance, "checkout", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir()
    page = "a\n<!-- claims faq -->\nstale\n<!-- /claims -->\nb\n<!-- claims all -->\nstale\n<!-- /claims -->\nc\n"
    changed = wording.with_tables(page, STATEMENTS, JUDGED, ANSWERS)
    assert "stale" not in changed
    faq, everything = changed.split("\nb\n")
    assert "| It is better. (C90) | **a holds, and matters; b holds, on a share of tasks.** By 2.2 % of the gap" in faq
    assert "Tune \\| it." in faq
    assert "C92" not in faq
    assert "| C92 | It wins. | not testable here | no data here | 05_none |" in everything
    assert wording.with_tables(changed, STATEMENTS, JUDGED, ANSWERS) == changed
    (tmp_path / "notebooks/05_none.ipynb").touch()
    assert "[05_none](notebooks/05_none.ipynb)" in wording.with_tables(page, STATEMENTS, JUDGED, ANSWERS)


QUESTION = "[[question]]\nasks = 'Is it | better?'\nanswer = '**Yes**, by {C90a}.'\nevidence = ['C90', 'C91']\n"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Write a file of questions and return the text between the marks."""
    monkeypatch.setattr(wording.provenance, "committed", lambda _: tmp_path / "questions.toml")
    monkeypatch.setattr(wording.provenance, "checkout", lambda: tmp_path)

    def table(questions):
        (tmp_path / "questions.toml").write_text(questions)
        page = "<!-- claims questions -->\nstale\n<!-- /claims -->"
        return wording.with_tables(page, STATEMENTS, JUDGED, ANSWERS).splitlines()[1:-1]

    return table


def test_questions_are_answered_with_numbers_and_evidence(asked):
    table = asked(QUESTION)
    assert table == [
        "| question | answer | evidence |",
        "| --- | --- | --- |",
        f"| Is it \\| better? | **Yes**, by {wording.filled('{C90a}', JUDGED)}. | C90, C91 |",
    ]
    assert "2.2 % of the gap" in table[-1]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("['C90', 'C91']", "['C90', 'C77']", "question 1.evidence must be one of"),
        ("['C90', 'C91']", "[]", "question 1.evidence must be a list of one name or more"),
        ("asks = ", "ask = ", "question 1.ask is not known"),
        ("asks = 'Is it | better?'", "asks = ''", "question 1.asks must be text"),
        ("{C90a}", "{C90a:most}", "must end on one of"),
    ],
)
def test_a_question_that_is_wrong_is_refused(asked, old, new, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        asked(QUESTION.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[C91]", "[C77]", "C77 is not known"),
        (
            "[C91]\nfound = 'f'\nfirst = 'a'\nwhy = 'b'\nadvice = 'c'\n",
            "",
            "C91.a table with found, first, why, advice must be there",
        ),
        ("why = 'b'", "because = 'b'", "C90.because is not known"),
        ("why = 'b'", "why = ' '", "C90.why must be text"),
    ],
)
def test_an_answer_that_is_wrong_is_refused_by_its_claim(tmp_path, old, new, words):
    path = tmp_path / "answers.toml"
    good = "".join(f"[{name}]\nfound = 'f'\nfirst = 'a'\nwhy = 'b'\nadvice = 'c'\n" for name in ANSWERS)
    path.write_text(good)
    assert wording.read(STATEMENTS, path)["C91"] == wording.Answer("f", "a", "b", "c")
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(words)):
        wording.read(STATEMENTS, path)


def test_every_committed_claim_has_an_answer():
    statements = registry.read()
    answers = wording.read(statements)
    assert {*answers} == {name[:3] for name in statements}
    judged = read_table(committed("data/results/statements.csv"))
    for answer in answers.values():
        assert "no results yet" not in wording.filled(answer.found, judged)
        assert "{" not in wording.filled(answer.found, judged)


def test_no_verdict_depends_on_the_answers():
    package = committed("data/claims").parents[1] / "lookahead_nb"
    readers = [path.name for path in package.rglob("*.py") if "answers.toml" in path.read_text(encoding="utf-8")]
    assert readers == ["wording.py"]
