"""What the figures work out before they draw: dots and means, gaps of a surface, tasks of a panel."""

import numpy as np
import pandas as pd
import pytest

faq_8_3_vs_adam = pytest.importorskip("lookahead_nb.figures.faq_8_3_vs_adam")
response_surface = pytest.importorskip("lookahead_nb.figures.response_surface")
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


# ---------------------------------------------------------------------------------------------------- response surface


def surface(**changes):
    columns = {
        "task": ["a"] * 6,
        "retention": [0.0, 0.0, 0.5, 0.5, 0.5, 0.5],
        "sync_period": [1, 1, 5, 5, 9, 9],
        "lr": [0.1, 0.2, 0.1, 0.2, 0.1, 0.2],
        "chance": [2.0] * 6,
        "validation_loss": [0.5, 0.6, 0.7, 0.4, 0.3, 0.8],
        "test_loss": [1.0, 0.9, 1.5, 0.8, 1.1, 2.0],
    }
    return pd.DataFrame(columns | changes)


def test_a_surface_is_counted_from_adamw_at_its_best_rate():
    found = response_surface.above_control(surface())
    assert [*found["best"]] == [True, False, False, True, True, False]
    assert [*found["at_control"]] == [True, False] * 3
    assert found["gap"].to_numpy() == pytest.approx([0, -10, 50, -20, 10, 100])  # AdamW wins 1 from chance


def test_every_task_of_a_surface_has_its_own_control():
    other = surface(task=["b"] * 6, validation_loss=[0.6, 0.5, 0.7, 0.4, 0.3, 0.8], chance=[4.9] * 6)
    both = response_surface.above_control(pd.concat([surface(), other], ignore_index=True))
    assert [*both["at_control"]] == [True, False] * 3 + [False, True] * 3
    assert both["gap"][8] == pytest.approx(100 * (1.5 - 0.9) / 4)
    with pytest.raises(ValueError, match="retention 0, on 'b'"):
        response_surface.above_control(pd.concat([surface(), other[2:]], ignore_index=True))


def test_tasks_are_told_apart_by_rows_and_steps():
    runs = pd.DataFrame(
        {"entry": ["a"] * 3, "schedule": ["constant"] * 3, "rows": [float("nan"), 50, 50], "steps": [100, 100, 10]}
    )
    assert [*faq_8_3_vs_adam._sizes(runs)] == ["all rows", "a tenth,\nequal steps", "a tenth,\nequal epochs"]
    assert [*faq_8_3_vs_adam.longest(runs).index] == [0, 1]
