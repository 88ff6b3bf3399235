"""Trials: what a claim's arms are trained with, and what is measured, against sweeps by hand."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb import datasets
from lookahead_nb.claims import measure as trials
from lookahead_nb.claims.arms import ARM_PARAMETERS, arms_of
from lookahead_nb.claims.metrics import METRICS
from lookahead_nb.claims.tasks import TASK_PARAMETERS, Problem
from lookahead_nb.theory import escapes
from tests.support import registers

pytest.importorskip("sklearn")

ARMS = {
    "adamw": {"rule": "AdamW", "lr": "given"},
    "lookahead": {"rule": "AdamW", "lr": "given", "sync_period": 5, "retention": 0.8},
    "lower": {"rule": "AdamW", "lr": "given", "times": 0.2},
    "tuned": {"rule": "AdamW", "tune": {"lr": [1e-4, 0.05, 0.2]}},
    "tuned lookahead": {"rule": "AdamW", "sync_period": 5, "tune": {"lr": [0.1, 0.3, 1e-4]}},
    "half the tuned rate": {"rule": "AdamW", "lr": "tuned", "times": 0.5},
}
FIELDS = {"data": "iris", "batch_size": 16, "steps": 10, "eval_every": 5, "eval_rows": 15, "lr": 0.05, "threshold": 0.9}
SEEDS = [2**40 + 5, 2**40 + 3]


def problem(**fields):
    return Problem.named("task", {"task": FIELDS | fields})


def sweep(opts, seeds):
    """Train on iris by hand; return the last row of each run, slow weights where there are any, losses capped."""
    rows = lnb.sweep(
        lnb.LogisticRegression(4, n_classes=3), lambda seed: datasets.load("iris", split_seed=seed), opts,
        seeds=seeds, batch_size=16, steps=10, eval_every=5, eval_rows=15, progress=False,
    )  # fmt: skip
    last = rows[rows["step"] == 10].drop_duplicates("run", keep="last")
    losses = ["train_loss", "validation_loss"]
    return last.assign(**{name: last[name].clip(upper=problem().chance) for name in losses})


@pytest.fixture(scope="module")
def measured():
    metrics = ["train_loss", "test_error", "steps_to_threshold"]
    return trials.measure_on([problem()], arms_of(ARMS), metrics, SEEDS)


def test_there_is_a_row_for_every_arm_and_seed(measured):
    assert [*measured.runs] == [
        *("task", "arm", "seed", "lr", "chance", "train_loss", "test_error", "steps_to_threshold"),
        *TASK_PARAMETERS,
        *ARM_PARAMETERS,
    ]
    assert [*zip(measured.runs["arm"], measured.runs["seed"], strict=True)] == [(a, s) for a in ARMS for s in SEEDS]
    assert {*measured.runs["task"]} == {"task"}
    assert {*measured.runs["chance"]} == {problem().chance}


def test_measured_values_are_those_of_a_sweep_by_hand(measured):
    opts = [lnb.AdamW(lr=0.05), lnb.Lookahead(lnb.AdamW(lr=0.05), sync_period=5, retention=0.8), lnb.AdamW(lr=0.01)]
    last = sweep(opts, SEEDS)
    mine = measured.runs[measured.runs["arm"].isin([*ARMS][:3])]
    assert [*mine["seed"]] == [*last["seed"]]
    assert [*mine["train_loss"]] == [*last["train_loss"]]
    assert [*mine["test_error"]] == [*(1 - last["test_accuracy"])]
    assert [*mine["lr"]] == [0.05] * 4 + [pytest.approx(0.01)] * 2


def test_every_seed_has_its_own_split(measured):
    adamw = measured.runs[measured.runs["arm"] == "adamw"].set_index("seed")["train_loss"]
    for seed in SEEDS:
        run = lnb.train(
            lnb.LogisticRegression(4, n_classes=3), datasets.load("iris", split_seed=seed), lnb.AdamW(lr=0.05),
            steps=10, batch_size=16, seed=seed, eval_rows=15,
        )  # fmt: skip
        assert adamw[seed] == run.history["train_loss"].iloc[-1]


def test_tuning_takes_the_trial_with_the_lowest_mean_validation_loss(measured):
    rates = {"tuned": [1e-4, 0.05, 0.2], "tuned lookahead": [0.1, 0.3, 1e-4]}
    opts = [lnb.AdamW(lr=lr) for lr in rates["tuned"]]
    opts += [lnb.Lookahead(lnb.AdamW(lr=lr), sync_period=5) for lr in rates["tuned lookahead"]]
    losses = sweep(opts, range(6))["validation_loss"].to_numpy().reshape(6, 6).mean(1)
    tuning = measured.tuning
    assert [*tuning] == ["task", "arm", "lr", "loss", "chosen"]
    assert [*zip(tuning["arm"], tuning["lr"], strict=True)] == [(a, lr) for a, listed in rates.items() for lr in listed]
    assert [*tuning["loss"]] == pytest.approx([*losses], rel=1e-12)
    best = [losses[:3].argmin(), 3 + losses[3:].argmin()]
    assert [*np.flatnonzero(tuning["chosen"])] == best
    chosen = measured.runs.groupby("arm")["lr"].first()
    assert chosen["tuned"] == tuning["lr"][best[0]]
    assert chosen["tuned lookahead"] == tuning["lr"][best[1]]


def test_an_arm_may_take_a_share_of_the_rate_of_a_tuned_one(measured):
    chosen = measured.runs.groupby("arm")["lr"].first()
    assert chosen["half the tuned rate"] == chosen["tuned"] / 2
    last = sweep([lnb.AdamW(lr=chosen["tuned"] / 2)], SEEDS)
    assert [*measured.runs[measured.runs["arm"] == "half the tuned rate"]["train_loss"]] == [*last["train_loss"]]


def test_more_than_the_rate_can_be_tuned_also_at_the_given_one():
    arms = arms_of(
        {"averaging": {"rule": "AdamW", "pull_back": False, "tune": {"lr": "given", "slow_step_size": [0.1, 0.9]}}}
    )
    found = trials.measure_on([problem()], arms, ["validation_loss"], SEEDS)
    opts = [lnb.Lookahead(lnb.AdamW(lr=0.05), slow_step_size=step, pull_back=False) for step in (0.1, 0.9)]
    losses = sweep(opts, range(6))["validation_loss"].to_numpy().reshape(2, 6).mean(1)
    assert [*found.tuning["lr"]] == [0.05, 0.05]
    assert [*found.tuning["slow_step_size"]] == [0.1, 0.9]
    assert [*found.tuning["chosen"]] == [losses[0] < losses[1], losses[0] > losses[1]]
    best = sweep([opts[losses.argmin()]], SEEDS)
    assert [*found.runs["validation_loss"]] == [*best["validation_loss"]]


def test_an_arm_is_tuned_on_the_weights_it_is_judged_on():
    tune = {"lr": [1.0, 0.05], "slow_step_size": 0.01}  # so slow that the slow weights want a high rate
    arms = arms_of({name: {"rule": "AdamW", "weights": name, "tune": tune} for name in ("slow", "fast")})
    found = trials.measure_on([problem()], arms, ["train_loss"], SEEDS).tuning
    slow, fast = (found[found["arm"] == name].set_index("lr")["loss"] for name in ("slow", "fast"))
    assert slow.idxmin() == 1.0
    assert not np.isclose(slow, fast).any()


DRAWN = {
    "drawn": {
        "rule": "AdamW", "draw": {"lr": {"low": 0.01, "high": 1.0}, "sync_period": {"low": 1, "high": 5}},
        "draws": 4, "best_of": [4, 1],
    },
    "tuned": {"rule": "AdamW", "tune": {"lr": [0.05, 1e-4]}},
    "period": {
        "rule": "AdamW", "lr": "tuned", "draw": {"sync_period": {"low": 1, "high": 5}}, "draws": 4, "best_of": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("best_of", [4, 1])
def test_the_best_of_drawn_settings_is_chosen_on_its_own_seed(best_of):
    arms = arms_of(DRAWN)
    found = trials.measure_on([problem()], arms, ["train_loss", "validation_loss"], SEEDS).runs
    assert [*found["arm"]] == [name for name in arms for _ in SEEDS]
    mine = found[found["arm"] == f"drawn best_of={best_of}"].set_index("seed")
    for seed in SEEDS:
        drawn = arms["drawn best_of=4"].drawn(seed)
        opts = [lnb.Lookahead(lnb.AdamW(lr=each["lr"]), sync_period=each["sync_period"]) for each in drawn]
        last = sweep(opts, [seed])
        best = last["validation_loss"].argmin() if best_of == 4 else slice(None)
        for name in ("train_loss", "validation_loss"):
            assert mine.loc[seed, name] == pytest.approx(np.mean(last[name].iloc[best]), rel=1e-12)
    assert mine["lr"].isna().all()


def test_settings_may_be_drawn_at_the_rate_of_a_tuned_arm():
    arms = arms_of(DRAWN)
    found = trials.measure_on([problem()], arms, ["train_loss", "validation_loss"], SEEDS).runs
    mine = found[found["arm"] == "period"].set_index("seed")
    assert [*mine["lr"]] == [0.05, 0.05]
    periods = {each["sync_period"] for each in arms["period"].drawn(SEEDS[0])}
    last = sweep([lnb.Lookahead(lnb.AdamW(lr=0.05), sync_period=k) for k in periods], SEEDS[:1])
    assert mine.loc[SEEDS[0], "validation_loss"] == last["validation_loss"].min()


def test_drawn_settings_are_chosen_by_the_expected_loss_on_a_landscape():
    bowl = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "noise": 1.0, "steps": 10}})
    arms = arms_of({"a": {"rule": "SGD", "draw": {"lr": {"low": 0.1, "high": 1.9}}, "draws": 3, "best_of": 3}})
    found = trials.measure_on([bowl], arms, ["train_loss", "test_loss", "slow_risk"], [7]).runs
    opts = [lnb.SGD(lr=each["lr"]) for each in arms["a"].drawn(7)]
    rows = lnb.sweep(bowl.model, None, opts, seeds=[7], steps=10, eval_every=1, progress=False)
    assert found["train_loss"][0] == rows[rows["step"] == 10]["train_loss"].min()
    assert found[["test_loss", "slow_risk"]].isna().to_numpy().all()


def test_arms_that_differ_in_the_number_of_draws_share_their_runs(monkeypatch):
    sizes, real = [], trials.sweep
    monkeypatch.setattr(trials, "sweep", lambda **how: sizes.append(len(how["configs"])) or real(**how))
    told = []
    trials.measure_on([problem()], arms_of(DRAWN), ["train_loss"], SEEDS, progress=lambda *at: told.append(at))
    assert sizes[:2] == [2, 1]  # tuning, the tuned arm
    assert len(sizes) == 2 + len(SEEDS)
    assert max(sizes) <= 4 + 4
    assert {total for _, total in told} == {2 * 6 + 1 * 2 + (4 + 4) * 2}


def test_a_landscape_is_tuned_on_its_expected_loss():
    bowl = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 10}})
    arms = arms_of({"tuned": {"rule": "SGD", "tune": {"lr": [0.1, 1.0, 2.5]}}})
    found = trials.measure_on([bowl], arms, ["train_loss"], [7])
    assert [*found.tuning["loss"]] == pytest.approx([0.9**20 / 2, 0, 1.5**20 / 2], rel=1e-4)
    assert found.runs["lr"][0] == 1.0


def test_metrics_are_measured_where_they_fit_and_exact_ones_without_runs(monkeypatch):
    bowl = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "noise": 1.0, "steps": 10}})
    arms = arms_of({"a": {"rule": "SGD", "lr": 0.1}})
    found = trials.measure_on([problem(), bowl], arms, ["test_loss", "slow_risk"], SEEDS).runs
    assert [*found["task"]] == ["task", "task", "bowl", "bowl"]
    assert [*found["test_loss"].isna()] == [False, False, True, True]
    assert [*found["slow_risk"].isna()] == [True, True, False, False]
    assert found["slow_risk"][2] == METRICS["slow_risk"].measure(lnb.SGD(lr=0.1), bowl)
    monkeypatch.setattr(trials, "sweep", None)
    assert len(trials.measure_on([bowl], arms, ["slow_risk", "test_loss"], SEEDS).runs) == 2


def test_an_arm_is_trained_on_its_own_tasks_only():
    tables = {
        "all": {"rule": "SGD", "lr": 0.1},
        "some": {"rule": "SGD", "tasks": ["short"], "tune": {"lr": [0.1, 0.2]}},
    }
    two, told = [problem(), Problem.named("short", {"short": FIELDS | {"steps": 5}})], []
    found = trials.measure_on(two, arms_of(tables), ["train_loss"], SEEDS, progress=lambda *done: told.append(done))
    assert [*found.runs.drop_duplicates(["task", "arm"])["arm"]] == ["all", "all", "some"]
    assert [*found.tuning["task"]] == ["short", "short"]
    assert told[-1] == (2 + 12 + 4,) * 2


WELLS = {
    "landscape": "DoubleWell",
    "tilt": 0.05,
    "barrier": 0.1,
    "noise": 5.0,
    "spread": 0.1,
    "replicas": 20,
    "steps": 16,
}


def test_crossings_are_read_at_the_halves_of_the_horizon_with_or_without_runs(monkeypatch):
    wells = Problem.named("wells", {"wells": WELLS})
    arms = arms_of({"lookahead": {"rule": "SGD", "lr": 0.1, "sync_period": 3}, "plain": {"rule": "SGD", "lr": 0.1}})
    metrics = ["rate_out_of_deeper", "ends_deeper", "test_loss", "train_loss"]
    found = trials.measure_on([wells], arms, metrics, SEEDS).runs
    opts = [lnb.Lookahead(lnb.SGD(0.1), sync_period=3), lnb.SGD(0.1)]
    rows = escapes.crossings(wells.model, opts, at=[1, 2, 4, 8, 16], seeds=SEEDS)
    assert [*found["rate_out_of_deeper"]] == [*rows["rate_left"]]
    assert [*found["ends_deeper"]] == [*rows["deeper"]]
    assert found["rate_out_of_deeper"].nunique() == 4
    assert [*found["test_loss"].isna(), *found["train_loss"].isna()] == [True] * 4 + [False] * 4
    monkeypatch.setattr(trials, "sweep", None)
    again = trials.measure_on([wells], arms, metrics[:3], SEEDS).runs
    assert again.equals(found.drop(columns="train_loss"))


def test_crossings_count_as_three_runs_each(tmp_path):
    table = {"landscape": "DoubleWell", "steps": 4, "replicas": 2}
    wells, arms = Problem.named("wells", {"wells": table}), arms_of({"a": {"rule": "SGD", "lr": [0.1, 0.2]}})
    told = []
    how = {"progress": lambda done, total: told.append((done, total))}
    trials.measure_on([wells], arms, ["ends_deeper"], SEEDS, **how)
    assert told[-1] == (12, 12)
    trials.measure_on([wells], arms, ["ends_deeper", "train_loss"], SEEDS, **how)
    assert told[-1] == (16, 16)
    claim = registers.read(tmp_path)["C01"]
    claim = replace(claim, problems={"wells": wells}, tasks=("wells",), metrics=("ends_deeper",), arms=arms)
    assert trials.operations(claim) == 2 * 3 * claim.number_of_seeds * wells.operations


def test_equal_optimizers_are_trained_once():
    arms = arms_of({name: {"rule": "AdamW", "lr": 0.05} for name in ("one", "two")})
    found = trials.measure_on([problem()], arms, ["train_loss"], SEEDS).runs
    assert [*found["train_loss"][:2]] == [*found["train_loss"][2:]]


def test_a_diverged_run_is_a_result():
    bowl = Problem.named("bowl", {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 400}})
    arms = arms_of({"wild": {"rule": "SGD", "lr": 5.0}, "calm": {"rule": "SGD", "lr": 0.5}})
    found = trials.measure_on([bowl], arms, ["train_loss", "fluctuation"], [1]).runs.set_index("arm")
    assert [*found.loc["wild", ["train_loss", "fluctuation"]]] == [np.inf, np.inf]
    assert np.isfinite([*found.loc["calm", ["train_loss", "fluctuation"]]]).all()


def test_problems_metrics_and_seeds_may_be_iterators():
    arms, metrics = arms_of({"plain": {"rule": "AdamW", "lr": 0.01}}), ["train_loss", "test_error"]
    listed = trials.measure_on([problem()], arms, metrics, SEEDS)
    assert len(listed.runs) == len(SEEDS)
    once = trials.measure_on(iter([problem()]), arms, iter(metrics), iter(SEEDS))
    pd.testing.assert_frame_equal(once.runs, listed.runs)


def test_nothing_to_measure_gives_empty_tables():
    found = trials.measure_on([], arms_of({"a": {"rule": "SGD", "lr": 0.1}}), ["train_loss"], SEEDS)
    columns = ["task", "arm", "seed", "lr", "chance", "train_loss"]
    assert [*found.runs] == [*columns, *TASK_PARAMETERS, *ARM_PARAMETERS]
    assert (len(found.runs), len(found.tuning)) == (0, 0)


def test_progress_runs_over_all_sweeps():
    told = []
    arms = arms_of({"a": {"rule": "SGD", "lr": 0.1}, "b": {"rule": "SGD", "tune": {"lr": [0.1, 0.2]}}})
    two = [problem(), Problem.named("short", {"short": FIELDS | {"steps": 5}})]
    trials.measure_on(two, arms, ["train_loss"], SEEDS, progress=lambda done, total: told.append((done, total)))
    each = 2 * 6 + 2 * 2
    assert {total for _, total in told} == {2 * each}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {0, 12, each, each + 12, 2 * each} <= {done for done, _ in told}
    assert told[-1][0] == 2 * each


def test_a_store_is_resumed_and_another_problem_has_its_own(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    arms = arms_of({"a": {"rule": "SGD", "tune": {"lr": [0.1, 0.2]}}})
    first = trials.measure_on([problem()], arms, ["train_loss"], SEEDS, store=tmp_path)
    assert len([*tmp_path.iterdir()]) == 2  # of tuning, and of the result
    trials.measure_on([problem(steps=8)], arms, ["train_loss"], SEEDS, store=tmp_path)
    assert len([*tmp_path.iterdir()]) == 4

    def refuse(*_, **__):
        raise AssertionError("nothing may be trained again")

    monkeypatch.setattr(sys.modules["lookahead_nb.training.sweep"], "train_unit", refuse)
    again = trials.measure_on([problem()], arms, ["train_loss"], SEEDS, store=tmp_path)
    assert again.runs.equals(first.runs)
    assert again.tuning.equals(first.tuning)


def test_own_rows_with_other_values_have_a_store_of_their_own(tmp_path, rng):
    pytest.importorskip("pyarrow")
    X, y, arms = rng.normal(size=(30, 2)), np.arange(30) % 2, arms_of({"a": {"rule": "SGD", "lr": 0.1}})
    X[:, 0] += 3 * y
    one, two = (Problem.of("mine", rows, y, batch_size=8, steps=5) for rows in (X, X**3))
    first, second = (trials.measure_on([p], arms, ["train_loss"], SEEDS, store=tmp_path).runs for p in (one, two))
    assert not np.isclose(first["train_loss"], second["train_loss"]).any()
    assert len([*tmp_path.iterdir()]) == 2


# ------------------------------------------------------------------------------------------------------------ surfaces


def test_a_response_surface_holds_the_means_of_a_sweep_by_hand(tmp_path):
    pytest.importorskip("pyarrow")
    axes = {"retention": [0.5, 0.9], "sync_period": [1, 5], "lr": [0.05, 1e9]}
    short = Problem.named("short", {"short": FIELDS | {"steps": 5}})
    found = trials.response_surface([problem(), short], SEEDS, **axes, store=tmp_path)
    assert [*found] == ["task", "retention", "sync_period", "lr", "chance", "validation_loss", "test_loss"]
    assert [*found["task"]] == ["task"] * (2 + 8) + ["short"] * (2 + 8)
    by_point = found[:10].set_index(["retention", "sync_period", "lr"])
    opts = [lnb.AdamW(lr=0.05), lnb.Lookahead(lnb.AdamW(lr=0.05), sync_period=5, retention=0.9)]
    last = sweep(opts, SEEDS)
    last["test_loss"] = last["test_loss"].clip(upper=problem().chance)
    for at, point in ((slice(0, 2), (0.0, 1, 0.05)), (slice(2, 4), (0.9, 5, 0.05))):
        for name in ("validation_loss", "test_loss"):
            assert by_point.loc[point, name] == pytest.approx(last[name].iloc[at].mean(), rel=1e-12)
    assert (by_point["test_loss"].xs(1e9, level="lr") <= problem().chance).all()
    assert not by_point["test_loss"].isin(found["test_loss"][10:]).all()
    assert len([*tmp_path.iterdir()]) == 2
    once = {name: iter(axis) for name, axis in axes.items()}
    again = trials.response_surface(iter([problem(), short]), iter(SEEDS), **once, store=tmp_path)
    pd.testing.assert_frame_equal(again, found)


# --------------------------------------------------------------------------------------------------------- of a claim


def test_a_claim_is_measured_on_its_own_seeds(tmp_path):
    claim = registers.read(tmp_path)["C01"]
    found = trials.measure(claim, tasks=["bowl"], attempt=2)
    assert {*found.runs["task"]} == {"bowl"}
    assert {*found.runs["arm"]} == {*claim.arms}
    for arm in claim.arms:
        assert [*found.runs[found.runs["arm"] == arm]["seed"]] == claim.seeds(2)
    assert {*found.tuning["arm"]} == {"tuned"}


def test_no_task_means_none_not_all(tmp_path):
    assert len(trials.measure(registers.read(tmp_path)["C01"], tasks=[]).runs) == 0


def test_operations_are_those_of_training_and_tuning(tmp_path):
    register = registers.read(tmp_path)
    iris, bowl = 6 * 16 * (4 * 3 + 3) * 10, 100 * 2 * 10
    runs = 7 * 30 + 3 * 6  # arms by seeds, trials by tuning seeds
    assert trials.operations(register["C01"]) == runs * (iris + bowl)
    assert trials.operations(register["C01"], ["iris"]) == runs * iris
    assert trials.operations(register["C02"]) == 0  # solved, not trained


def test_tuning_seeds_are_not_those_of_any_result(tmp_path):
    claim = registers.read(tmp_path)["C01"]
    assert not {*trials.TUNING_SEEDS} & {seed for attempt in range(20) for seed in claim.seeds(attempt)}


# ------------------------------------------------------------------------------------------------------ adaptive steps


ADAPTIVE = {
    "adaptive": {"rule": "AdamW", "sync_period": 2, "slow_step_size": "adaptive", "tune": {"lr": [0.1, 1e-4]}},
    **{
        name: {"rule": "AdamW", "sync_period": 2, "lr": "adaptive", "steps_as": name}
        for name in ("mean", "shuffled", "replayed")
    },
}


def test_arms_take_over_the_steps_of_an_adaptive_one():
    arms, inner = arms_of(ADAPTIVE), lnb.AdamW(lr=0.1)
    found = trials.measure_on([problem()], arms, ["train_loss"], SEEDS).runs.set_index(["arm", "seed"])["train_loss"]
    taken = trials.slow_steps(lnb.Lookahead(inner, sync_period=2, slow_step_size="adaptive"), problem())
    assert taken.shape == (len(trials.TUNING_SEEDS), 5)
    assert len(np.unique(taken)) > 5
    mean, first = round(float(taken.mean()), 6), taken[0]
    by_hand = sweep([lnb.Lookahead(inner, sync_period=2, slow_step_size=each) for each in (mean, tuple(first))], SEEDS)
    assert found["mean"].tolist() + found["replayed"].tolist() == by_hand["train_loss"].tolist()
    assert not found["shuffled"].equals(found["replayed"])


def test_steps_along_a_run_stand_by_their_share_of_it():
    claim = SimpleNamespace(arms=arms_of(ADAPTIVE), problems={"task": problem()})
    runs = pd.DataFrame({"task": ["task"], "arm": ["adaptive"], "lr": [0.1]})
    along = trials.steps_along(claim, "adaptive", runs)
    assert sorted(along["progress"].unique()) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    expected = trials.slow_steps(claim.arms["adaptive"].optimizer(problem(), 0.1), problem())
    assert (along.pivot(index="seed", columns="progress", values="slow_step_size").to_numpy() == expected).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps_as": "guessed"}, "mean.steps_as must be one of 'mean', 'shuffled', 'replayed', got 'guessed'"),
        ({"lr": 0.1}, "mean.lr must be the name of an adaptive arm, got 0.1"),
    ],
)
def test_steps_are_taken_over_from_an_adaptive_arm_only(fields, message):
    with pytest.raises(ValueError, match=message):
        arms_of(ADAPTIVE | {"mean": ADAPTIVE["mean"] | fields})
