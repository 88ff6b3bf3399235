"""Metrics, by hand: histories of a few steps in, one number for each run out."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.claims.metrics import METRICS, Curves, metric
from lookahead_nb.claims.tasks import Problem

TASKS = {
    "iris": {"data": "iris", "hidden": [], "steps": 40, "threshold": 0.5},
    "penalty": {"data": "iris", "l2": 0.1, "steps": 40},
    "net": {"data": "wine", "hidden": [5], "steps": 40},
    "bowl": {"landscape": "Quadratic", "curvatures": [2.0, 0.5], "noise": [0.5, 1.5], "steps": 40},
    "wells": {"landscape": "DoubleWell", "steps": 40},
    "mirrored": {"landscape": "DoubleWell", "tilt": -0.25, "steps": 40},
    "level": {"landscape": "DoubleWell", "tilt": 0.0, "steps": 40},
}
NAN = math.nan


def problem(name, chance=None):
    found = Problem.named(name, TASKS)
    if chance is not None:
        found.__dict__["_known"] = (4, 3, chance, "none")  # instead of loading the data
    return found


def curves(name="iris", chance=1.0, weights="slow", **columns):
    """Curves of seeds 1, 2, ... evaluated every ten steps; a column is a list of rows by seed, fast and slow alike."""
    losses = np.array(next(iter(columns.values())), float)
    index = pd.MultiIndex.from_product(
        [range(1, len(losses) + 1), range(0, 10 * losses.shape[1], 10), ["fast", "slow"]],
        names=["seed", "step", "weights"],
    )
    rows = pd.DataFrame({key: np.repeat(np.array(value, float).ravel(), 2) for key, value in columns.items()}, index)
    return Curves(rows.reset_index(), problem(name, chance), weights)


def measured(key, *args, **columns):
    return METRICS[key].measure(curves(*args, **columns)).to_dict()


# -------------------------------------------------------------------------------------------------------------- curves


def test_losses_are_capped_at_chance_where_a_diverged_run_is_too():
    found = curves(train_loss=[[3.0, 0.5, 0.2], [0.9, NAN, math.inf]])["train_loss"]
    assert found.to_dict("list") == {1: [1.0, 0.5, 0.2], 2: [0.9, 1.0, 1.0]}
    assert [*found.index] == [0, 10, 20]


def test_on_a_landscape_a_diverged_run_has_an_infinite_loss():
    assert measured("train_loss", "bowl", math.inf, train_loss=[[3.0, 7.0], [1.0, NAN]]) == {1: 7.0, 2: math.inf}


def test_other_columns_are_not_capped():
    found = curves(train_loss=[[1, 1]], test_accuracy=[[0.2, NAN]])["test_accuracy"]
    assert found[1].iloc[0] == 0.2
    assert np.isnan(found[1].iloc[1])


@pytest.mark.parametrize(("weights", "expected"), [("slow", 0.3), ("fast", 0.6)])
def test_slow_weights_are_judged_or_fast_ones(weights, expected):
    both = curves(train_loss=[[1, 0.6]], weights=weights)
    both.rows.loc[both.rows["weights"] == "slow", "train_loss"] = 0.3
    assert both["train_loss"][1].iloc[-1] == expected
    assert both.of("fast")["train_loss"][1].iloc[-1] == 0.6
    assert both.of("slow")["train_loss"][1].iloc[-1] == 0.3


def test_a_plain_optimizer_is_judged_on_its_only_weights():
    plain = curves(train_loss=[[1, 0.6]])
    plain = Curves(plain.rows[plain.rows["weights"] == "fast"], plain.problem, "slow")
    assert plain["train_loss"][1].iloc[-1] == 0.6


# ------------------------------------------------------------------------------------------------------------- metrics


@pytest.mark.parametrize("name", ["train_loss", "validation_loss", "test_loss"])
def test_a_loss_is_that_of_the_last_step(name):
    assert measured(name, **{name: [[1, 0.5, 0.4], [1, 0.2, 0.3], [1, 0.2, NAN]]}) == {1: 0.4, 2: 0.3, 3: 1.0}


def test_test_error_is_one_for_a_diverged_run():
    assert measured("test_error", test_accuracy=[[0.3, 0.9], [0.3, NAN]]) == {1: pytest.approx(0.1), 2: 1.0}


def test_steps_to_threshold_lie_on_a_straight_line_of_logarithms():
    losses = [[1.0, 0.8, 0.2], [0.4, 0.3, 0.2], [1.0, 0.9, 0.6], [1.0, 0.4, 0.9], [1.0, NAN, NAN]]
    expected = [10 + 10 * math.log(0.8 / 0.5) / math.log(0.8 / 0.2), 1, 40, 10 * math.log(2) / math.log(2.5), 40]
    assert [*measured("steps_to_threshold", train_loss=losses).values()] == pytest.approx(expected)
    assert [*measured("reached", train_loss=losses).values()] == [1, 1, 0, 1, 0]


def test_test_loss_at_a_training_loss_lies_on_a_straight_line_of_logarithms():
    train = [[1.0, 1.0, 0.25], [0.5, 0.3, 0.2], [1.0, 0.9, 0.6]]  # the threshold is 0.5; the last one never gets there
    found = measured("test_at_train", train_loss=train, test_loss=[[0.9, 0.8, 0.2], [0.7, 0.6, 0.5], [0.9, 0.5, 0.4]])
    assert [*found.values()] == pytest.approx([math.sqrt(0.8 * 0.2), 0.7, 1.0])


def test_a_loss_of_zero_is_below_the_threshold():
    train = [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    steps = measured("steps_to_threshold", train_loss=train)
    assert [*steps.values()] == pytest.approx([1, 10 + 10 * math.log(2) / -math.log(5e-324), 1], rel=1e-2)
    assert measured("reached", train_loss=train) == {1: 1, 2: 1, 3: 1}


def test_a_run_that_hits_the_minimum_in_one_step_is_not_censored():
    fields = {"landscape": "Quadratic", "curvatures": [1.0], "steps": 20, "threshold": 0.1}
    bowl = Problem.named("bowl", {"bowl": fields})
    rows = lnb.sweep(bowl.model, None, [lnb.SGD(1.0)], seeds=1, steps=20, eval_every=1, progress=False)
    assert rows["train_loss"].tolist() == [0.5] + [0.0] * 20
    found = {name: METRICS[name].measure(Curves(rows, bowl))[0] for name in ("steps_to_threshold", "reached", "drift")}
    assert found == {"steps_to_threshold": 1, "reached": 1, "drift": 0}


def test_a_test_loss_of_zero_is_not_that_of_chance():
    train, test = [[1.0, 1.0, 0.25]] * 3, [[0.9, 0.0, 0.0], [0.9, 0.8, 0.0], [0.0, 0.0, 0.0]]
    assert [*measured("test_at_train", train_loss=train, test_loss=test).values()] == pytest.approx(
        [0, 0, 0], abs=1e-99
    )


def test_the_step_of_the_best_validation_loss_is_that_of_the_judged_weights():
    losses = {"validation_loss": [[1, 0.2, 0.3], [1, 0.3, 0.3], [1, 0.5, NAN]], "test_loss": [[1, 0.4, 0.6]] * 3}
    both = curves(**losses)
    assert METRICS["test_at_best_validation"].measure(both).to_dict() == {1: 0.4, 2: 0.4, 3: 0.4}
    assert METRICS["overfitting"].measure(both).to_dict() == pytest.approx({1: 0.2, 2: 0.2, 3: 0.2})
    slow = (both.rows["weights"] == "slow") & (both.rows["step"] == 20)
    both.rows.loc[slow, "validation_loss"] = 0.1
    assert METRICS["test_at_best_validation"].measure(both)[1] == 0.6
    assert METRICS["test_at_best_validation"].measure(both.of("fast"))[1] == 0.4


def test_late_losses_at_syncs_and_between_them_are_kept_apart():
    test, phase = [[1.0, 0.9, 0.8, 0.2, 0.4, 0.6, 0.7]], [[0, 0, 1, 0, 2, 0, 1]]  # the second half begins at 0.2
    assert measured("test_loss_at_syncs", test_loss=test, phase=phase) == {1: pytest.approx((0.2 + 0.6) / 2)}
    assert measured("test_loss_between_syncs", test_loss=test, phase=phase) == {1: pytest.approx((0.4 + 0.7) / 2)}


def test_the_noise_floor_is_that_of_the_second_half():
    losses = [[0.9, 0.8, 0.7, 0.30, 0.34, 0.32, 0.32], [0.9, 0.8, 0.7, 0.36, 0.33, 0.30, 0.27]]
    bowl = {"name": "bowl", "chance": math.inf, "train_loss": losses}
    floor, fluctuation, drift = (METRICS[key].measure(curves(**bowl)) for key in ("floor", "fluctuation", "drift"))
    late = np.array(losses)[:, 3:]  # from step 30 of 60
    assert floor.to_numpy() == pytest.approx(late.mean(1))
    assert METRICS["tracking_error"].measure(curves(**bowl)).equals(floor)  # a bowl's lowest loss is 0
    assert fluctuation.to_numpy() == pytest.approx(late.std(1, ddof=1))
    change = late[:, 2:].mean(1) - late[:, :2].mean(1)
    assert drift.to_numpy() == pytest.approx(change / late.std(1, ddof=1))


@pytest.mark.parametrize(("name", "chance"), [("iris", 1.0), ("bowl", math.inf)])
def test_a_diverged_run_does_not_pass_for_a_calm_one(monkeypatch, name, chance):
    monkeypatch.setattr(Problem, "lowest", lambda _, seed: 0.25)
    losses = [[0.9, 0.8, 0.7, NAN, NAN, NAN, NAN]]
    floor, fluctuation = (measured(key, name, chance, train_loss=losses)[1] for key in ("floor", "fluctuation"))
    assert (floor, fluctuation) == (chance - 0.25, chance)


def test_the_floor_is_counted_from_the_lowest_possible_loss(monkeypatch):
    monkeypatch.setattr(Problem, "lowest", lambda _, seed: 0.1 * seed)
    losses = [[0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]] * 2
    assert measured("floor", train_loss=losses) == {1: pytest.approx(0.4), 2: pytest.approx(0.3)}


def test_curves_may_be_those_of_runs_instead_of_seeds(monkeypatch):
    monkeypatch.setattr(Problem, "lowest", lambda _, seed: 0.1 * seed)
    one, two = (curves(train_loss=[[0.9] + [0.5] * 6, [0.9] + [0.7] * 6]).rows for _ in range(2))
    runs = pd.concat([one.assign(run=one["seed"].map({1: "b", 2: "a"})), two.assign(run="c", seed=3)[:14]])
    by_run = Curves(runs, problem("iris", 1.0), by="run")
    assert by_run.seeds.to_dict() == {"a": 2, "b": 1, "c": 3}
    assert METRICS["train_loss"].measure(by_run).to_dict() == {"a": 0.7, "b": 0.5, "c": 0.5}
    assert METRICS["floor"].measure(by_run).to_numpy() == pytest.approx([0.5, 0.4, 0.2])


@pytest.mark.parametrize(
    ("name", "fitting"),
    [
        ("train_loss", {"iris", "penalty", "net", "bowl", "wells", "mirrored", "level"}),
        ("validation_loss", {"iris", "penalty", "net"}),
        ("test_loss", {"iris", "penalty", "net"}),
        ("test_error", {"iris", "penalty", "net"}),
        ("steps_to_threshold", {"iris"}),
        ("reached", {"iris"}),
        ("test_at_train", {"iris"}),
        ("test_at_best_validation", {"iris", "penalty", "net"}),
        ("overfitting", {"iris", "penalty", "net"}),
        ("test_loss_at_syncs", {"iris", "penalty", "net"}),
        ("test_loss_between_syncs", {"iris", "penalty", "net"}),
        ("floor", {"iris", "bowl", "wells", "mirrored", "level"}),
        ("tracking_error", {"bowl", "wells", "mirrored", "level"}),
        ("slow_risk", {"bowl"}),
        ("fast_risk", {"bowl"}),
        ("steps_to_shrink", {"bowl"}),
        ("steps_to_shrink_at_equal_risk", {"bowl"}),
        ("rate_out_of_deeper", {"wells", "mirrored"}),
        ("rate_out_of_shallower", {"wells", "mirrored"}),
        ("long_run_shallower", {"wells", "mirrored"}),
        ("ends_deeper", {"wells", "mirrored"}),
    ],
)
def test_a_metric_fits_the_problems_that_have_what_it_needs(name, fitting):
    assert {task for task in TASKS if METRICS[name].fits(problem(task))} == fitting


def test_every_metric_says_what_it_measures():
    assert [name for name, each in METRICS.items() if not (each.meaning or "").strip().endswith(".")] == []


def test_a_metric_is_entered_by_its_name(monkeypatch):
    monkeypatch.setattr("lookahead_nb.claims.metrics.METRICS", entered := {})

    @metric(needs="data")
    def first_loss(curves):
        """Loss at the start."""
        return curves["train_loss"].iloc[0]

    assert entered["first_loss"].measure is first_loss
    assert (entered["first_loss"].meaning, entered["first_loss"].needs) == ("Loss at the start.", "data")
    with pytest.raises(ValueError, match="needs must be one of 'data', 'a threshold'"):
        metric(needs="luck")(first_loss)


# ----------------------------------------------------------------------------------------------------------- crossings


@pytest.mark.parametrize(
    ("name", "into", "out"), [("wells", [0.1, 0, 0], [0.3, 0.2, 0]), ("mirrored", [0.3, 0.2, 0], [0.1, 0, 0])]
)
def test_crossings_are_told_by_depth_not_by_side(name, into, out):
    rows = {"rate_left": [0.1, 0.0, 0.0], "rate_right": [0.3, 0.2, 0.0], "deeper": [0.8, 1.0, 0.5]}
    crossed = pd.DataFrame(rows, pd.Index([4, 7, 5], name="seed"))
    found = {key: METRICS[key].measure(crossed, problem(name)) for key, each in METRICS.items() if each.crosses}
    assert [*found["rate_out_of_deeper"]] == into
    assert [*found["rate_out_of_shallower"]] == out
    assert [*found["long_run_shallower"][:2]] == pytest.approx([into[i] / (into[i] + out[i]) for i in (0, 1)])
    assert np.isnan(found["long_run_shallower"][5])
    assert [*found["ends_deeper"]] == rows["deeper"]
    assert all([*each.index] == [4, 7, 5] for each in found.values())


# --------------------------------------------------------------------------------------------------------------- exact

BOWL = {"curvature": np.array([2.0, 0.5]), "noise": np.array([0.5, 1.5]), "lr": 0.3}
SGD = lnb.SGD(lr=0.3)
LOOKAHEAD = lnb.Lookahead(SGD, sync_period=4, slow_step_size=0.4)


def exact(name, opt):
    return METRICS[name].measure(opt, problem("bowl"))


def test_risks_are_those_of_the_closed_forms():
    alone = theory.sgd_variance(**BOWL)
    how = {"lr": 0.3, "curvature": BOWL["curvature"], "sync_period": 4, "slow_step_size": 0.4}
    slow = alone * theory.sgd_variance_ratio(**how)
    kept = 1 - 0.3 * BOWL["curvature"]  # of the mean, in a step
    fast = np.mean([alone + (slow - alone) * kept ** (2 * phase) for phase in (1, 2, 3, 4)], axis=0)
    half = BOWL["curvature"] / 2
    assert exact("slow_risk", SGD) == pytest.approx(half @ alone)
    assert exact("fast_risk", SGD) == pytest.approx(half @ alone)
    assert exact("slow_risk", LOOKAHEAD) == pytest.approx(half @ slow)
    assert exact("fast_risk", LOOKAHEAD) == pytest.approx(half @ fast)


def test_steps_to_shrink_are_those_of_the_slowest_mode():
    rate = theory.sgd_rate(0.3, 0.5, 4, 0.4)
    assert exact("steps_to_shrink", LOOKAHEAD) == pytest.approx(-1 / np.log(rate))
    assert exact("steps_to_shrink", SGD) == pytest.approx(-1 / np.log(1 - 0.15))
    whole = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 1}})
    assert METRICS["steps_to_shrink"].measure(lnb.SGD(1.0), whole) == 0  # one step leads to the minimum
    assert exact("steps_to_shrink", lnb.SGD(lr=1.1)) == math.inf  # 1 - 1.1*2 is below -1


def test_steps_at_equal_risk_are_those_at_the_rate_that_the_closed_forms_give():
    def excess(lr):
        how = {"lr": lr, "curvature": BOWL["curvature"], "sync_period": 4, "slow_step_size": 0.4}
        slow = theory.sgd_variance(**BOWL | {"lr": lr}) * theory.sgd_variance_ratio(**how)
        return BOWL["curvature"] / 2 @ (slow - theory.sgd_variance(**BOWL))

    lr = brentq(excess, 0.3, 0.99)
    rate = theory.sgd_rate(lr, 0.5, 4, 0.4)
    assert exact("steps_to_shrink_at_equal_risk", LOOKAHEAD) == pytest.approx(-1 / np.log(rate))
    assert exact("steps_to_shrink_at_equal_risk", SGD) == exact("steps_to_shrink", SGD)
