"""The experiment on predictions of theory: the model, measured worths with known answers, and the judging of T3."""

import numpy as np
import pandas as pd
import pytest

from lookahead_nb import theory
from lookahead_nb.claims import experiments, one_family
from lookahead_nb.claims.inference import MULTIPLES

EXPONENT = 0.3  # of the made-up losses, loss = steps**-EXPONENT


@pytest.fixture(scope="module")
def experiment():
    return experiments.read("one_family")


@pytest.fixture(scope="module")
def arms(experiment):
    return experiment.arms


@pytest.mark.no_kernel
def test_the_tasks_are_new(experiment):
    first, end = experiment.tasks["draw"]
    assert first > max(experiments.SCREENED)
    others = [experiments.read(name) for name in experiments.registered() if name != experiment.name]
    draws = [range(*each.tasks["draw"]) for each in others if "draw" in each.tasks]
    assert not any({*draw} & {*range(first, end)} for draw in draws)
    assert all(steps % 20 == 0 for steps in experiment.tasks["steps"])  # all sync periods end on a sync


@pytest.mark.no_kernel
def test_the_model_has_the_worths_of_the_pilot(arms):
    worth = {name: one_family.predicted_worth(arms[name], 100) for name in ("lookahead", "interpolate", "no_pull_back")}
    assert {name: round(value, 2) for name, value in worth.items()} == {
        "lookahead": pytest.approx(1.36, abs=0.011),
        "interpolate": pytest.approx(1.44, abs=0.011),
        "no_pull_back": pytest.approx(1.42, abs=0.011),
    }


@pytest.mark.no_kernel
def test_adamw_is_worth_itself_and_gains_nothing_over_itself(arms):
    assert one_family.predicted_worth(arms["adamw"], 60) == 1
    assert one_family.predicted_doublings(arms["adamw"], arms["adamw"], arms["adamw"], 60) == 0


@pytest.mark.no_kernel
def test_arms_have_the_cycles_of_their_settings(arms):
    cycle = one_family.cycle_of(arms["interpolate"], 60)
    assert (cycle.sync_period, cycle.inner_state, cycle.beta1[0]) == (5, "interpolate", 0.9)
    assert cycle.curvature[[0, -1]] == pytest.approx([1, 1e-4], rel=0.08)
    falling = one_family.cycle_of(arms["last_fifth"], 60)
    assert falling.schedule.rates(60)[[0, 47, -1]] == pytest.approx([1, 1, 0], abs=0.1)
    assert cycle.noise[0] / cycle.noise[-1] == pytest.approx(1)  # noise like the Hessian, spread like 1/curvature


def rows_worth(worths):
    """Rows of two tasks in which each arm has the loss of AdamW after so many times the steps."""
    rows = []
    for number in (1, 2):
        of_adamw = [("adamw", m, m) for m in MULTIPLES]
        for arm, multiple, m in [*of_adamw, *((arm, 1.0, m) for arm, m in worths.items())]:
            loss = number * (100 * m) ** -EXPONENT
            rows.append({"number": number, "arm": arm, "multiple": multiple, "metric": "test loss", "tuning": "own"})
            rows[-1] |= {"r0": loss * 1.01, "r1": loss / 1.01}
    return pd.DataFrame(rows)


@pytest.mark.no_kernel
def test_measured_worths_and_doublings_are_those_that_were_put_in():
    rows = rows_worth({"lookahead": 1.2, "interpolate": 1.5})
    tasks = pd.DataFrame({"number": [1, 2], "steps": [60, 60]})
    predicted = pd.DataFrame(
        [
            {"steps": 60, "arm": "lookahead", "control": "adamw", "scale": "worth", "predicted": 1.3},
            {"steps": 60, "arm": "interpolate", "control": "lookahead", "scale": "doublings", "predicted": 0.25},
        ]
    )
    found = one_family.measured(rows, tasks, predicted)
    assert found["steps"].tolist() == [60, 60, 0]
    assert found["measured"].tolist() == pytest.approx([1.2, np.log2(1.5 / 1.2), np.log2(1.5 / 1.2)])
    assert found["predicted"].tolist() == [1.3, 0.25, 0.25]
    assert (found["low"] <= found["measured"] + 1e-12).all()
    assert found["tasks"].tolist() == [2, 2, 2]


def worths_with(low, high, measured=(1.1, 1.2, 1.3), linear=(0.0, 0.05)):
    """A table of worths: intervals of parts (a) and (d), three worths of 1.1, 1.2 and 1.3, and the interval of (c)."""
    rows = [("worth", "k_2", "adamw", 60 * i, 1 + i / 10, value, 0, 0) for i, value in enumerate(measured, 1)]
    rows += [("worth", "interpolate", "adamw", 60, 9.0, 1.0, 0, 0)]  # not in (b)
    rows += [("doublings", arm, "lookahead", 0, 0.1, low, low, high) for arm in ("interpolate", "no_pull_back")]
    rows += [("doublings", "lookahead_linear", "linear", steps, 0, 0, *linear) for steps in (480, 960)]
    return pd.DataFrame(rows, columns=["scale", "arm", "control", "steps", "predicted", "measured", "low", "high"])


@pytest.mark.no_kernel
def test_verdicts_follow_the_registered_rules():
    good = one_family.verdicts(worths_with(0.01, 0.1))
    assert [*good.items()] == [(part, "confirmed") for part in "abcd"]
    assert one_family.fit(worths_with(0.01, 0.1)) == pytest.approx((1, 0))
    off = worths_with(-0.01, 0.04, measured=(1.2, 1.3, 1.1), linear=(0.05, 0.2))
    assert one_family.verdicts(off) == {"a": "falsified", "b": "falsified", "c": "undecided", "d": "undecided"}
    half = worths_with(-0.01, 0.1, measured=(1.4, 1.5, 1.6), linear=(0.15, 0.2))
    assert one_family.verdicts(half) == {"a": "undecided", "b": "undecided", "c": "falsified", "d": "undecided"}


@pytest.mark.no_kernel
def test_points_against_each_part_are_counted():
    columns = ["condition", "beta1", "lookahead", "damping", "outer"]
    points = [
        (10.0, 0.0, 0.98, 0.5, 1.0),  # against a
        (10.0, 0.9, 0.5, 30.0, 0.1),  # the wedge
        (10.0, 0.9, 1.2, 0.5, 0.97),  # against c
        (100.0, 0.9, 1.2, 0.5, 1.0),  # no wedge at 100: against b
        (1e4, 0.9, 1.0, 2.0, 1.0),
    ]
    found = one_family.judged(pd.DataFrame(points, columns=columns))
    assert found["points"].tolist() == [5, 2, 3]
    assert found["against"].tolist() == [1, 1, 1]
    assert found["most"][["a", "c"]].tolist() == [0.98, 0.97]


@pytest.mark.no_kernel
def test_a_part_of_the_frontier_is_that_of_theory():
    rows = one_family.frontier([1.0], [10.0], ["curvature^1"], [0.0], few=True)
    assert len(rows) == 24
    assert rows["speed"].is_monotonic_increasing
    solved = {0.0: theory.frontier.solved_families(0.0, few=True)}
    own = theory.frontier.compared(solved, exponent=1.0, condition=10.0, noise_exponent=1.0)
    expected = [row["Lookahead"] / row["average"] for row in own]
    np.testing.assert_allclose(rows["lookahead"], expected, rtol=1e-3)
