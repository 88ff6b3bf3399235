"""What the figures work out and show: dots of tasks, paths and curves, settings at their best rates."""

import numpy as np
import pandas as pd
import pytest

agents = pytest.importorskip("lookahead_nb.figures.agents")
games = pytest.importorskip("lookahead_nb.figures.games")
one_family = pytest.importorskip("lookahead_nb.figures.one_family")
local_optima = pytest.importorskip("lookahead_nb.figures.local_optima")
other_numbers = pytest.importorskip("lookahead_nb.figures.other_numbers")
retention = pytest.importorskip("lookahead_nb.figures.retention")
settings = pytest.importorskip("lookahead_nb.figures.settings")
statements = pytest.importorskip("lookahead_nb.figures.statements")
sync_period = pytest.importorskip("lookahead_nb.figures.sync_period")
when_it_helps = pytest.importorskip("lookahead_nb.figures.when_it_helps")

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


def test_landscapes_are_told_apart_by_colour_and_named_in_the_legend():
    rows = {"scale": "runs", "class": ["gentle", "sharp", "all"], "number": [1, 2, -1], "benefit": [1.0, 2.0, 1.5]}
    points = pd.DataFrame(rows | dict.fromkeys(("low", "high", "next_low", "next_high"), 1.5)).assign(comparison="a")
    fig = statements.all_tasks(points)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["gentle", "sharp"]
    dots = {float(line.get_xdata()[0]): line.get_color() for line in fig.axes[0].lines if len(line.get_xdata()) == 1}
    assert dots == {1.0: statements.LANDSCAPES["gentle"][0], 2.0: statements.LANDSCAPES["sharp"][0]}


# ----------------------------------------------------------------------------------------------------- paths and curves


def test_paths_have_a_line_for_every_replica_and_lines_at_minima_and_ridge():
    position = np.linspace(-1.5, 1.5, 301)
    profile = pd.DataFrame({"position": position, "height": (position**2 - 1) ** 2})
    arms = [arm for arm in local_optima.ARMS for _ in range(2)]
    paths = pd.DataFrame({"arm": arms, "step": [1, 2] * 4, "first": np.arange(8.0), "second": -np.arange(8.0)})
    well, *panels = local_optima.paths(paths, profile).axes
    assert [ax.get_title() for ax in panels] == [*local_optima.ARMS]
    assert [line.get_ydata()[0] for line in well.lines[1:]] == pytest.approx([-1, 0, 1])
    assert [[*line.get_ydata()] for line in panels[1].lines[:2]] == [[2, 3], [-2, -3]]


def test_losses_over_time_have_a_line_for_every_arm():
    losses = pd.DataFrame({"arm": [*retention.LOOKS] * 2, "step": [1] * 5 + [2] * 5, "loss": np.arange(1.0, 11)})
    (ax,) = retention.over_time(losses).axes
    assert [[*line.get_ydata()] for line in ax.lines] == [[i, i + 5] for i in range(1, 6)]


def test_noise_over_the_rate_has_curves_on_the_left_and_dots_on_the_right():
    curves = pd.DataFrame({"sync_period": [1, 1, 5, 5], "x": [0.1, 1.0] * 2, "variance": [1.0, 1.0, 0.9, 0.5]})
    tasks = pd.DataFrame({"sync_period": [10, 10, 50], "x": [0.1, 1.0, 1.0], "noise": [0.8, 2.0, 3.0]})
    left, right = sync_period.by_rate(curves, tasks).axes
    assert [[*line.get_ydata()] for line in left.lines[:2]] == [[1, 1], [0.9, 0.5]]
    assert [[*line.get_ydata()] for line in right.lines[:2]] == [[0.8, 2], [3]]


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


# ------------------------------------------------------------------------------------------------------- other numbers


def test_tuning_curves_have_a_panel_for_each_optimizer_and_no_point_without_a_loss():
    rows = {"optimizer": ["SGD", "SGD", "Adam", "SGD"], "lr": [0.1, 0.01, 0.1, 1.0], "order": ["repeated"] * 4}
    losses = pd.DataFrame(rows | {"test_loss": [90.0, 95.0, 99.0, np.nan], "minimum": 87.0})
    sgd, adam = other_numbers.curves(losses).axes
    assert [sgd.get_title(), adam.get_title()] == ["SGD", "Adam"]
    (line,) = [each for each in sgd.lines if each.get_label() == "ours, order repeated"]
    assert [[*line.get_xdata()], [*line.get_ydata()]] == [[0.01, 0.1], [95.0, 90.0]]


def test_losses_of_two_epochs_lie_on_each_other_and_runs_above_the_minimum():
    minibatches = pd.DataFrame({"step": [4, 1, 2, 3], "test_loss": [40.0, 10.0, 20.0, 30.0]})
    runs = {"optimizer": ["SGD"] * 3, "order": ["published", "published", "shuffled"], "test_loss": [88.0, 90.0, 87.5]}
    left, right = other_numbers.orders(minibatches, pd.DataFrame(runs).assign(minimum=87.0)).axes
    assert [[*line.get_ydata()] for line in left.lines] == [[10, 20], [30, 40]]
    drawn = [[*line.get_ydata()] for line in right.lines if len(line.get_ydata())]
    assert drawn[:4] == [[1.0, 3.0], [2.0, 2.0], [0.5], [0.5, 0.5]]  # dots and means


def test_a_published_curve_lies_over_ours_and_starts_over_draws():
    rows = {"order": ["published"] * 2 + ["repeated"] * 4, "seed": [42, 42, 0, 0, 1, 1], "epoch": [1, 2] * 3}
    starts = pd.DataFrame({"draw": [0, 1], "test_loss": [350.0, 340.0], "published": [350.0, np.nan]})
    left, right = other_numbers.lookahead(pd.DataFrame(rows | {"test_loss": np.arange(90.0, 96)}), starts).axes
    assert [[*line.get_ydata()] for line in left.lines] == [[92, 93], [94, 95], [90, 91]]
    assert [*right.lines[0].get_xdata()] == [1, 2]
    assert [*right.lines[1].get_ydata()] == pytest.approx([350, np.nan], nan_ok=True)


# --------------------------------------------------------------------------------------------------------------- games


def test_published_distances_are_read_with_arm_and_passes():
    rows = {
        "metric": ["mean distance to the solution"] * 2 + ["log10 rate per step"],
        "setting": ["240 passes over the full batch", "0 passes", "step 0.1"],
        "optimizer": ["LA-GDA", "ExtraGrad", "LA-GDA"],
        "value": [0.5, 9.0, -1.0],
    }
    found = games.of_benchmark(pd.DataFrame(rows))
    assert found.to_numpy().tolist() == [["Lookahead", 240, 0.5], ["extragradient", 0, 9.0]]


def test_what_is_left_has_a_dot_for_every_arm_and_game():
    rows = pd.DataFrame({"game": ["a", "b"] * 2, "arm": ["descent"] * 2 + ["Lookahead"] * 2, "left": [1, 2, 0.1, 0.2]})
    (ax,) = games.left(rows).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    dots = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() in "Do"]
    assert dots == [[1, 2], [0.1, 0.2]]


def test_every_agent_has_a_line_and_a_tick_where_it_is_solved():
    run = pd.DataFrame({"env_steps": [512, 1024], "recent_return": [20.0, 480.0]})
    runs = [
        run.assign(arm=arm, seed=seed, solved=solved)
        for arm in agents.ARMS
        for seed, solved in ((1, 1024), (2, np.nan))
    ]
    first, *others = agents.learning(pd.concat(runs)).axes
    assert [ax.get_title() for ax in (first, *others)] == [title for title, _ in agents.ARMS.values()]
    ticks = [line.get_xydata().tolist() for line in first.lines if line.get_marker() == "|"]
    assert ticks[0] == [[1.024, 475]]
    assert np.isnan(ticks[1][0][0])
    assert [line.get_ydata().tolist() for line in first.lines[:3:2]] == [[20, 480]] * 2


def test_the_rule_is_drawn_on_the_exact_limit():
    least = pd.DataFrame({"sync_period": [1, 2, 1, 2], "g": [0.1, 0.1, 0.3, 0.3], "retention": [1, 0.5, 1, 0.6]})
    rates = pd.DataFrame({"sync_period": 5, "retention": [0.0, 0.5], "rate": [0.1, -0.1], "small": 0.0})
    limit, rate = games.rule(least, rates.assign(extragradient=-0.002)).axes
    assert [line.get_ydata().tolist() for line in limit.lines] == [[1, 0.5], [1, 0.6], [1, 0.5]]
    assert rate.lines[0].get_ydata().tolist() == [0.1, -0.1]


def test_numbers_of_a_figure_are_read_with_batch_and_pass():
    rows = {
        "metric": ["mean distance in a figure", "log10 rate per step"],
        "setting": ["B 16, pass 750, step 0.01, k 1500, slow step 0.3", "step 0.1"],
        "value": [20.3, -1.0],
    }
    assert games.of_figure(pd.DataFrame(rows)).to_numpy().tolist() == [[16, 750, 20.3]]


def test_noisy_games_have_a_panel_for_each_batch_and_a_circle_for_each_number():
    curves = pd.DataFrame({
        "batch": [64, 64, 1, 1], "arm": "Lookahead", "passes": [0, 100] * 2, "distance": [20.0, 8.0, 20.0, 19.0],
        "value": [np.nan, 8.2, np.nan, np.nan],
    })  # fmt: skip
    left, right = games.noisy(curves).axes
    assert [ax.get_title() for ax in (left, right)] == ["batch 64", "batch 1"]
    assert left.lines[0].get_ydata().tolist() == [20, 8]
    assert left.lines[1].get_ydata()[1] == 8.2
    assert left.lines[1].get_marker() == "o"


def test_generators_are_drawn_over_the_data():
    points = pd.DataFrame({"arm": ["data", "Adam", "Lookahead"], "x": [1.0, 0.5, 0.9], "y": [0.0, 0.1, 0.2]})
    distances = pd.DataFrame({"arm": ["Adam", "Lookahead"], "gradients": [0, 0], "distance": [1.0, 0.5]})
    adam, lookahead, lines = games.ring(points, distances).axes
    assert [line.get_xdata().tolist() for line in adam.lines] == [[1.0], [0.5]]
    assert [line.get_xdata().tolist() for line in lookahead.lines] == [[1.0], [0.9]]
    assert len(lines.lines) == 2


# ---------------------------------------------------------------------------------------------------------- one family


def test_the_frontier_has_a_line_for_every_family_where_it_is_as_fast():
    risks = {family: [1.0, 2.0, np.inf] for family in one_family.FAMILIES} | {"Lookahead": [1.5, 1.8, 3.0]}
    frontier = pd.DataFrame({"speed": [0.1, 0.2, 0.4]} | risks)
    places = [(beta1, x, 2.0 - beta1 * x) for beta1 in (0.8, 0.9) for x in (1.0, 2.0)]
    wedge = pd.DataFrame(places, columns=["beta1", "x", "gain"]).assign(border=1.5)
    left, right = one_family.noise_and_speed(frontier, wedge).axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in left.lines}
    assert len(drawn) == len(one_family.FAMILIES)
    assert drawn["Lookahead"] == [1.5, 1.8, 3.0]
    assert drawn["momentum alone"] == [1.0, 2.0]
    shaded = left.patches[0].get_extents().transformed(left.transData.inverted())
    assert [shaded.x0, shaded.x1] == pytest.approx([0.1, 0.4])
    assert right.lines[0].get_xdata().tolist() == [1.5, 1.5]


def test_worths_have_a_point_for_every_length_and_those_beyond_lie_at_the_edge():
    row = {"steps": 60, "arm": "linear", "control": "adamw", "scale": "worth", "predicted": 2.5, "measured": np.inf}
    gain = row | {"arm": "lookahead", "scale": "doublings", "predicted": 0.3, "measured": 0.4, "low": 0.2, "high": 0.5}
    table = pd.DataFrame([row | {"low": 1.5, "high": np.inf}, gain, gain | {"steps": 0}])
    left, right = one_family.worths(table).axes
    (points,) = [line for line in left.lines if line.get_label() == "linear decay"]
    assert (points.get_xdata().tolist(), points.get_ydata().tolist()) == ([2.0], [2.0])
    assert [line.get_ydata().tolist() for line in right.lines[:2]] == [[0.3], [0.4]]


# -------------------------------------------------------------------------------------------------------- when it helps


def test_best_sync_periods_are_filled_where_they_are_known():
    best = pd.DataFrame({"beta1": [0.5, 0.9, 0.9], "predicted": [2.0, 4.0, 8.0], "best": [3.0, 5.0, 7.0]})
    curves = pd.DataFrame({"beta1": [0.5, 0.5, 0.9, 0.9], "sync_period": [1, 2] * 2, "excess": [2.0, 0, 1, 0.5]})
    left, right = when_it_helps.rule(best.assign(known=[True, True, False]), curves).axes
    filled = {float(line.get_xdata()[0]): line.get_markerfacecolor() != "none" for line in left.lines[:3]}
    assert filled == {2.0: True, 8.0: False, 4.0: True}
    assert [[*line.get_ydata()] for line in right.lines[::2]] == [[2, 0], [1, 0.5]]
    assert [[*line.get_xdata()] for line in right.lines[1::2]] == [[2, 2], [5, 7]]  # quartiles of what is predicted


def test_gains_have_a_dot_for_every_task_and_their_mean():
    tasks = pd.DataFrame({arm: [3.0 + i, 0.5, -2.0] for i, arm in enumerate(when_it_helps.ARMS)})
    means = pd.DataFrame({"arm": [*when_it_helps.ARMS], "value": 0.5, "low": -1.0, "high": 2.0})
    (ax,) = when_it_helps.gains(tasks, means).axes
    assert [[*line.get_ydata()] for line in ax.lines[:3]] == [[-2, 0.5, 3], [-1, 2], [0.5]]
