"""The runs of the second trial: each number recomputed from runs alone, grids that are shared, benefits by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_screening import small_task

import lookahead_nb as lnb
from lookahead_nb.claims import inference, population, screening, statistics, trial, trial_arms, tuning

SEEDS = [3, 5, 8]
CENTRE = 0.01
ARMS = """
[arms.adamw]
optimizer = "AdamW"
along = true

[arms.beta1]
optimizer = "AdamW"
beta1 = [0.5, 0.9]

[arms.longer]
optimizer = "AdamW"
length = 1.05

[arms.longer_linear]
optimizer = "EMA"
inner = "AdamW"
window = "steps/4"
schedule = "linear"
length = 1.5

[arms.lookahead]
optimizer = "Lookahead"
inner = "AdamW"
sync_period = 4

[arms.fast]
runs_of = ["lookahead"]
weights = "fast"

[arms.fast_earlier]
runs_of = ["lookahead"]
weights = "fast"
before = 3

[arms.default]
optimizer = "AdamW"
lr = 0.001

[arms.at_full_length]
runs_of = ["adamw"]

[arms.both]
runs_of = ["adamw", "beta1"]
"""


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    path = tmp_path_factory.mktemp("arms") / "arms.toml"
    path.write_text(ARMS)
    return trial_arms.read(path)


@pytest.fixture(scope="module")
def progress():
    return []


@pytest.fixture(scope="module")
def rows(arms, progress):
    screened = pd.DataFrame({"number": [small_task()], "centre": [CENTRE]})
    told = lambda done, total: progress.append((done, total))  # noqa: E731
    return trial.measure(screened, arms, SEEDS, ranges_of=["lookahead"], progress=told)


def alone(arm, weights, steps, column, of_settings=None):
    """A (seeds, rates of all grids) array of what runs alone have at a step."""
    task = population.generated(small_task())
    table = []
    for seed in SEEDS:
        data = task.replicate(seed)
        for grid in arm.grids:
            for lr in grid.rates(task.number, CENTRE):
                opt = grid.optimizer(lr, of_settings or task.steps)
                run = lnb.train(
                    task.model,
                    data,
                    opt,
                    steps=steps,
                    batch_size=task.batch_size,
                    seed=seed,
                    eval_at=[],
                    eval_rows=2000,
                )
                last = run.history[run.history["step"] == steps]
                if opt.has_slow_weights:
                    last = last[last["weights"] == weights]
                table.append(last[column].item())
    return np.reshape(table, (len(SEEDS), -1))


def of(rows, arm, metric="test loss", tuning="own", multiple=None):
    own = rows[(rows["arm"] == arm) & (rows["metric"] == metric) & (rows["tuning"] == tuning)]
    return own if multiple is None else own[own["multiple"] == multiple]


def values(own):
    return own[["r0", "r1", "r2"]].to_numpy()[0]


def chosen_by(table, reported):
    return np.array([reported[i, min(range(table.shape[1]), key=table[i].__getitem__)] for i in range(len(SEEDS))])


@pytest.mark.jit
@pytest.mark.parametrize(("name", "weights"), [("beta1", "slow"), ("lookahead", "slow"), ("fast", "fast")])
def test_each_replicate_chooses_by_its_own_validation_loss(name, weights, arms, rows):
    steps = population.generated(small_task()).steps
    validation, test = (alone(arms[name], weights, steps, f"{part}_loss") for part in ("validation", "test"))
    np.testing.assert_allclose(values(of(rows, name)), chosen_by(validation, test), rtol=1e-7)


@pytest.mark.jit
def test_an_arm_is_read_before_its_end(arms, rows):
    task = population.generated(small_task())
    found = []
    for seed in SEEDS:
        data, read = task.replicate(seed), []
        for lr in arms["lookahead"].grids[0].rates(task.number, CENTRE):
            opt = arms["lookahead"].grids[0].optimizer(lr, task.steps)
            run = lnb.train(
                task.model, data, opt, steps=task.steps, batch_size=task.batch_size, seed=seed,
                eval_at=[task.steps - 3], eval_rows=2000,
            )  # fmt: skip
            history = run.history[run.history["weights"] == "fast"].set_index("step")
            read.append(history.loc[task.steps - 3, ["validation_loss", "test_loss"]].tolist())
        found.append(min(read)[1])
    np.testing.assert_allclose(values(of(rows, "fast_earlier")), found, rtol=1e-7)


@pytest.mark.jit
def test_an_arm_with_one_rate_has_no_edges(arms, rows):
    own = of(rows, "default")
    assert own[["lowest", "highest"]].isna().all(axis=None)
    assert own["rates"].tolist() == [1]
    steps = population.generated(small_task()).steps
    np.testing.assert_allclose(values(own), alone(arms["default"], "slow", steps, "test_loss")[:, 0], rtol=1e-7)


@pytest.mark.jit
def test_ranges_of_rates_are_those_of_the_test_losses(arms, rows):
    losses = alone(arms["lookahead"], "slow", population.generated(small_task()).steps, "test_loss")
    for percent in (1, 2, 5):
        expected = tuning.rate_range(losses, percent / 100, trial_arms.SPACING)
        np.testing.assert_allclose(values(of(rows, "lookahead", f"rates within {percent} %")), expected, rtol=1e-7)
    assert of(rows, "beta1", "rates within 1 %").empty


@pytest.mark.jit
def test_wider_grids_add_rates_for_all_arms(arms):
    one = {name: arms[name] for name in ("lookahead", "beta1")}
    screened = pd.DataFrame({"number": [small_task()], "centre": [CENTRE], "below": [1], "above": [2]})
    calls = []
    wide = trial.measure(screened, one, SEEDS[:2], progress=lambda *of: calls.append(of))
    assert calls[-1] == (2 * 3 * (trial_arms.RATES + 3),) * 2
    assert {*wide["rates"]} == {trial_arms.RATES + 3}
    assert wide[(wide["arm"] == "lookahead")]["tuning"].unique().tolist() == ["own", "others", "own of 24"]


@pytest.mark.jit
def test_errors_are_tuned_by_errors_and_training_losses_by_themselves(arms, rows):
    steps = population.generated(small_task()).steps
    validation, test = (
        1 - alone(arms["lookahead"], "slow", steps, f"{part}_accuracy") for part in ("validation", "test")
    )
    np.testing.assert_allclose(values(of(rows, "lookahead", "test error")), chosen_by(validation, test), rtol=1e-7)
    train = alone(arms["lookahead"], "slow", steps, "train_loss")
    np.testing.assert_allclose(values(of(rows, "lookahead", "training loss")), train.min(axis=1), rtol=1e-7)


@pytest.mark.jit
@pytest.mark.parametrize("multiple", [0.5, 1.05, 2.0])
def test_the_curve_is_that_of_constant_rates_tuned_at_each_length(multiple, arms, rows):
    steps = round(multiple * population.generated(small_task()).steps)
    validation, test = (alone(arms["adamw"], "slow", steps, f"{part}_loss") for part in ("validation", "test"))
    expected = chosen_by(validation, test)
    np.testing.assert_allclose(values(of(rows, "adamw", multiple=multiple)), expected, rtol=1e-7)
    assert trial.curve(rows).loc[small_task(), multiple] == pytest.approx(np.log(expected).mean(), rel=1e-6)


@pytest.mark.jit
def test_an_arm_of_another_length_trains_for_it(arms, rows):
    steps = round(1.05 * population.generated(small_task()).steps)
    validation, test = (alone(arms["longer"], "slow", steps, f"{part}_loss") for part in ("validation", "test"))
    np.testing.assert_allclose(values(of(rows, "longer")), chosen_by(validation, test), rtol=1e-7)


@pytest.mark.jit
def test_schedules_and_shares_of_the_steps_are_those_of_the_run(arms, rows):
    steps = round(1.5 * population.generated(small_task()).steps)
    grid = arms["longer_linear"].grids[0]
    assert grid.optimizer(0.1, steps).inner.schedule(steps - 1) > 0
    assert grid.optimizer(0.1, steps).window == steps / 4
    validation, test = (
        alone(arms["longer_linear"], "slow", steps, f"{part}_loss", steps) for part in ("validation", "test")
    )
    np.testing.assert_allclose(values(of(rows, "longer_linear")), chosen_by(validation, test), rtol=1e-7)


@pytest.mark.jit
def test_other_ways_of_tuning(arms, rows):
    steps = population.generated(small_task()).steps
    validation, test = (alone(arms["beta1"], "slow", steps, f"{part}_loss") for part in ("validation", "test"))
    others = [test[i, np.delete(validation, i, axis=0).mean(axis=0).argmin()] for i in range(len(SEEDS))]
    np.testing.assert_allclose(values(of(rows, "beta1", tuning="others")), others, rtol=1e-7)
    expected = np.exp(statistics.best_of(validation, np.log(test), 24)[24])
    np.testing.assert_allclose(values(of(rows, "beta1", tuning="own of 24")), expected, rtol=1e-7)
    assert of(rows, "lookahead", tuning="own of 24").empty


@pytest.mark.jit
def test_grids_that_arms_share_are_trained_once(arms, rows, progress):
    assert progress[-1] == (trial_arms.runs_per_task(arms, len(SEEDS)),) * 2
    assert values(of(rows, "at_full_length")).tolist() == values(of(rows, "adamw", multiple=1.0)).tolist()


@pytest.mark.jit
def test_a_row_for_each_arm_multiple_metric_and_tuning(rows):
    assert not rows.duplicated(trial.KEYS).any()
    assert len(rows) == 10 * 4 + len(inference.MULTIPLES) - 1 + 2 + 3
    assert rows[["r0", "r1", "r2"]].notna().all(axis=None)


@pytest.mark.jit
def test_a_stored_trial_is_not_trained_again(arms, tmp_path):
    one = {"lookahead": replace(arms["lookahead"])}
    screened = pd.DataFrame({"number": [small_task()], "centre": [CENTRE]})
    first = trial.measure(screened, one, SEEDS[:2], store=tmp_path / "store", progress=False)
    kept = trial.measure(
        screened, one, SEEDS[:2], metrics=["test error"], tunings=["own"], store=tmp_path / "store", progress=False
    )
    chosen = (first["metric"] == "test error") & (first["tuning"] == "own")
    pd.testing.assert_frame_equal(kept, first[chosen].reset_index(drop=True))
    calls = []
    again = trial.measure(screened, one, SEEDS[:2], store=tmp_path / "store", progress=lambda *of: calls.append(of))
    assert calls == [(2 * trial_arms.RATES,) * 2]
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(("name", "wrong"), [("metrics", "loss"), ("tunings", "mine"), ("ranges_of", "beta1")])
def test_an_unknown_metric_or_tuning_is_refused_before_training(name, wrong, arms):
    with pytest.raises(ValueError, match=rf"{name} must be of .*, got '{wrong}'"):
        trial.measure(pd.DataFrame({"number": [1], "centre": [0.1]}), arms, SEEDS, **{name: [wrong]})


def test_tasks_without_a_centre_are_refused(arms):
    with pytest.raises(ValueError, match="screened must have the column 'centre', got 'number'"):
        trial.measure(pd.DataFrame({"number": [1]}), arms, SEEDS)


@pytest.mark.parametrize("seeds", [[3], [], 3])
def test_a_single_replicate_is_refused_ahead_of_any_training(seeds, arms, monkeypatch):
    monkeypatch.setattr(trial, "sweep", None)
    with pytest.raises((TypeError, ValueError), match=r"seeds must (hold at least 2 replicates|be a sequence)"):
        trial.measure(pd.DataFrame({"number": [1], "centre": [CENTRE]}), arms, seeds)
    with pytest.raises((TypeError, ValueError), match=r"seeds must (hold at least 2 replicates|be a sequence)"):
        screening.screen([1], seeds)


# --------------------------------------------------------------------------------------------------------- benefits


def table(arm, values, metric="test loss", multiple=1.0, number=7):
    keys = {"number": number, "arm": arm, "multiple": multiple, "metric": metric, "tuning": "own"}
    return keys | {f"r{i}": value for i, value in enumerate(values)} | {"lowest": 0.0}


def test_ranges_of_rates_are_compared_without_logarithms():
    frame = pd.DataFrame([table("a", [3.0, 0.0], "rates within 1 %"), table("b", [1.0, 2.0], "rates within 1 %")])
    np.testing.assert_allclose(trial.benefits(frame, "a", "b", "rates within 1 %"), [[2.0, -2.0]])


def test_own_of_24_is_own_where_there_are_no_more_trials():
    frame = pd.DataFrame([
        table("a", [1.0, 1.0]), table("a", [np.e, np.e], number=9),
        table("a", [np.e**2, 1.0], number=9) | {"tuning": "own of 24"}, table("b", [1.0, 1.0]),
        table("b", [1.0, 1.0], number=9),
    ])  # fmt: skip
    np.testing.assert_allclose(trial.benefits(frame, "b", "a", tuning="own of 24"), [[0.0, 0.0], [2.0, 0.0]])


def test_benefits_by_hand():
    frame = pd.DataFrame([
        table("a", [np.e, 1.0]), table("a", [5.0, 5.0], multiple=2.0), table("b", [1.0, np.e**3]),
        table("c", [1.0, 1.0]),
        table("a", [0.4, 0.2], "test error"), table("b", [0.1, 0.3], "test error"),
    ])  # fmt: skip
    np.testing.assert_allclose(trial.benefits(frame, "c", "a"), [[1.0, 0.0]])
    np.testing.assert_allclose(trial.benefits(frame, "c", ["a", "b"]), [[0.5, 1.5]])
    np.testing.assert_allclose(trial.benefits(frame, "b", "a", "test error"), [[0.3, -0.1]])
    assert trial.benefits(frame, "c", "a").index.tolist() == [7]


def test_shares_of_the_gap_by_hand():
    frame = pd.DataFrame([
        table("a", [1.0, 0.8]), table("a", [0.5, 0.5], multiple=2.0), table("b", [0.6, 0.8]), table("c", [0.8, 0.8]),
        table("a", [2.0, 2.0], number=9), table("b", [1.0, 1.0], number=9), table("c", [1.0, 2.0], number=9),
    ])  # fmt: skip
    chance = pd.Series({9: 3.0, 7: 1.5, 1: 0.0})
    np.testing.assert_allclose(trial.shares_of_gap(frame, chance, "b", "a"), [[0.4, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(trial.shares_of_gap(frame, chance, "b", ["a", "c"]), [[0.3, 0.0], [0.25, 0.5]])
    known = pd.Series({7: 0.0, 9: 2.0})
    np.testing.assert_allclose(trial.shares_of_gap(frame, chance, "b", "a", known=known).loc[7], [0.4 / 1.5, 0.0])
    with pytest.raises(ValueError, match=r"chance must be above the best known loss of every task, got 0\.5 on 7"):
        trial.shares_of_gap(frame, pd.Series({9: 3.0, 7: 0.5}), "b", "a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("d", "a"), "arm must be one of 'a', 'b', got 'd'"),
        (("a", "d"), "arm must be one of 'a', 'b', got 'd'"),
        (("a", []), "controls must name at least one arm, got none"),
        (("a", "b", "loss"), "metric must be one of 'test loss', got 'loss'"),
        (("a", "b", "test loss", "others"), "tuning must be one of 'own', got 'others'"),
    ],
)
def test_unknown_names_are_refused(arguments, words):
    frame = pd.DataFrame([table("a", [1.0, 1.0]), table("b", [1.0, 1.0])])
    with pytest.raises(ValueError, match=words):
        trial.benefits(frame, *arguments)


def test_shares_of_the_gap_without_controls_are_refused():
    with pytest.raises(ValueError, match="controls must name at least one arm, got none"):
        trial.shares_of_gap(pd.DataFrame([table("a", [1.0, 0.8])]), pd.Series({7: 1.5}), "a", [])


def test_a_curve_needs_an_arm_that_is_read_along_its_runs():
    with pytest.raises(ValueError, match="arm must be one that is read along its runs, got 'a'"):
        trial.curve(pd.DataFrame([table("a", [1.0, 1.0])]), "a")


def test_a_diverged_trial_does_not_hide_the_others():
    grids = tuple(trial_arms.Grid(name, "AdamW", "", "constant", ()) for name in "ab")
    arm = trial_arms.TrialArm("both", grids)
    rng = np.random.default_rng(3)
    losses = rng.uniform(0.5, 1.5, size=(2, 48))
    losses[:, 10:40] = np.inf
    values = {
        (grid, "slow", 60, f"{part}_{kind}"): losses[:, 24 * i : 24 * i + 24]
        for i, grid in enumerate(grids) for part in ("validation", "test", "train") for kind in ("loss", "accuracy")
    }  # fmt: skip
    (row,) = (row for row in trial.reduced(arm, 60, values) if row["tuning"] == "own of 24")
    largest = losses[np.isfinite(losses)].max()
    capped = np.where(np.isfinite(losses), losses, largest)
    expected = np.exp(statistics.best_of(losses, np.log(capped), 24)[24])
    np.testing.assert_allclose([row["r0"], row["r1"]], expected, rtol=1e-7)
    assert max(row["r0"], row["r1"]) < 0.7


def test_what_each_replicate_chose_is_told_in_rows_that_are_tuned_as_own():
    grids = tuple(trial_arms.Grid(name, "AdamW", "", "constant", ()) for name in "ab")
    arm = trial_arms.TrialArm("both", grids)
    losses = np.ones((2, 48))
    losses[0, 5] = losses[1, 24 + 7] = 0.5
    values = {
        (grid, "slow", 60, f"{part}_{kind}"): losses[:, 24 * i : 24 * i + 24]
        for i, grid in enumerate(grids) for part in ("validation", "test", "train") for kind in ("loss", "accuracy")
    }  # fmt: skip
    runs = [(name, 0.1 * (1 + j)) for name in "ab" for j in range(24)]
    for row in trial.reduced(arm, 60, values, runs):
        told = [row.get(name) for name in ("grid0", "lr0", "grid1", "lr1")]
        if row["tuning"] != "own":
            assert told == [None] * 4
        elif row["metric"] == "test loss":
            assert told == ["a", 0.1 * 6, "b", 0.1 * 8]


@pytest.mark.no_kernel
def test_grids_are_widened_on_tasks_with_a_choice_at_an_end_only():
    tasks = pd.DataFrame({"number": [5, 2, 7], "centre": 0.1})
    ends = {5: [(0.0, 0.0)], 2: [(0.0, 0.5), (0.25, 0.0), (0.0, 0.0)], 7: [(0.5, 0.0)] * 3}  # by round
    asked = []

    def measured(of):
        asked.append(of[["number", "below", "above"]].to_numpy().tolist())
        number = of["number"].tolist()
        lowest, highest = zip(*(ends[n][len(asked)] for n in number), strict=True)
        return rows(number, lowest, highest)

    def rows(number, lowest, highest):
        own = {"arm": "adamw", "metric": "test loss", "tuning": "own", "r0": len(asked)}
        return pd.DataFrame({"number": number, "lowest": lowest, "highest": highest} | own)

    found = trial.widened(tasks, rows([5, 2, 7], (0.0, 0.0, 0.5), (0.0, 0.5, 0.0)), measured)
    assert asked == [
        [[2, 0, trial.WIDER], [7, trial.WIDER, 0]],
        [[2, trial.WIDER, trial.WIDER], [7, 2 * trial.WIDER, 0]],
    ]
    assert found["number"].tolist() == [5, 2, 7]
    assert found["r0"].tolist() == [0, 2, 2]
