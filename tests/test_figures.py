"""What the figures work out before they draw: every task with its mean, arms by retention and period."""

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.claims.arms import arms_of

faq_8_1_alpha = pytest.importorskip("lookahead_nb.figures.faq_8_1_alpha")
local_optima = pytest.importorskip("lookahead_nb.figures.local_optima")
settings = pytest.importorskip("lookahead_nb.figures.settings")
statements = pytest.importorskip("lookahead_nb.figures.statements")

# ---------------------------------------------------------------------------------------------------------- statements


def test_every_task_has_a_dot_and_every_comparison_a_mean():
    per_cent = {"scale": "gap", "class": ["saturated", "saturated", "all"], "number": [1, 2, -1]}
    ends = {"low": [None, None, 1.0], "high": [None, None, 2.0], "next_low": [None, None, 0.0]}
    first = pd.DataFrame(per_cent | ends | {"next_high": [None, None, 3.0], "benefit": [1.0, 2.0, 1.5]})
    ratios = first.assign(scale="steps", comparison="c")
    points = pd.concat([first.assign(comparison="a"), first.assign(comparison="b"), ratios], ignore_index=True)
    gap, steps = statements.all_tasks(points).axes
    assert [label.get_text() for label in gap.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in steps.get_yticklabels()] == ["c"]
    drawn = [line.get_xdata() for line in steps.lines]
    assert any(len(x) == 2 and x == pytest.approx(np.exp([1.0, 2.0])) for x in drawn)  # dots, and the interval
    assert any(x == pytest.approx(np.exp([1.5, 1.5])) for x in drawn if len(x) == 2)
    assert sum(len(line.get_xdata()) for line in gap.lines if line.get_marker() == "D" and len(line.get_xdata())) == 4


# ------------------------------------------------------------------------------------------------------------ settings


LOSSES = ["validation_loss", "test_loss"]


def test_pairs_are_compared_with_adamw_each_at_its_best_rate():
    rows = pd.DataFrame(
        [  # AdamW is best at 0.1, the pair at 0.4; fast weights and early steps do not count
            ("a", None, None, 0.1, 0, 20, "fast", 1.0, 1.5),
            ("a", None, None, 0.4, 0, 20, "fast", 2.0, 1.0),
            ("a", 0.5, 5, 0.1, 0, 10, "slow", 0.1, 0.1),
            ("a", 0.5, 5, 0.1, 0, 20, "slow", 2.0, 0.5),
            ("a", 0.5, 5, 0.4, 0, 20, "slow", 0.8, 1.25),
            ("a", 0.5, 5, 0.4, 0, 20, "fast", 0.2, 0.2),
        ],
        columns=[
            "task",
            "slow_step_size",
            "sync_period",
            "lr",
            "seed",
            "step",
            "weights",
            "validation_loss",
            "test_loss",
        ],
    )
    tasks = pd.DataFrame({"regime": ["saturated"], "steps": [20], "chance": [2.5]}, index=["a"])
    (found,) = settings.at_best_rates(rows, tasks).to_dict("records")
    pair = {"regime": "saturated", "name": "a", "slow_step_size": 0.5, "sync_period": 5, "lr": 0.4}
    assert found == pair | {"ratio": 4.0, "benefit": 25.0, "lag": 0.5}


# ---------------------------------------------------------------------------------------------- parameters, not names


ARMS = {  # with names that say nothing
    "one": {"rule": "AdamW", "lr": 0.1},
    "two": {"rule": "AdamW", "lr": 0.1, "retention": [0.5, 0.8], "sync_period": [5, 10]},
    "three": {"rule": "AdamW", "lr": 0.1, "times": [0.5, 0.2]},
    "four": {"rule": "AdamW", "lr": 0.1, "retention": 0.5, "pull_back": False},
}


def runs_of(arms):
    named = arms_of(arms)
    frame = pd.DataFrame([("task", arm, seed) for arm in named for seed in range(2)], columns=["task", "arm", "seed"])
    parameters = pd.DataFrame([named[arm].parameters for arm in frame["arm"]])
    return frame.join(parameters)


def test_arms_are_found_by_retention_and_a_lower_rate_is_that_of_the_lookahead_it_controls():
    runs = runs_of(ARMS | {"two": {"rule": "AdamW", "lr": 0.1, "retention": [0.5, 0.8]}})
    assert faq_8_1_alpha._by_retention(runs, "two") == {0.5: "two retention=0.5", 0.8: "two retention=0.8"}
    assert faq_8_1_alpha._by_retention(runs, "three") == {0.5: "three times=0.5", 0.8: "three times=0.2"}


def test_arms_are_found_by_sync_period_with_the_lower_rate_at_period_one():
    arms = local_optima._by_sync_period(runs_of(ARMS), 0.8)
    assert {k: [*rows["arm"].unique()] for k, rows in arms.items()} == {
        1: ["three times=0.2"],
        5: ["two retention=0.8 sync_period=5"],
        10: ["two retention=0.8 sync_period=10"],
    }
