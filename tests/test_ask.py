"""Your own question: known answers, the protocol recomputed from single runs, refusals, caps, and the page."""

import io
import math
import re
import sys

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.__main__ import main
from lookahead_nb.claims import ask as module
from lookahead_nb.claims import ask_advice, ask_report, inference, modality, trial, trial_arms
from lookahead_nb.claims.ask import Answer
from lookahead_nb.claims.ask_arms import ARMS, LOOKAHEAD, NAMES, OTHERS
from lookahead_nb.claims.ask_progress import Display, Stages, silent
from lookahead_nb.datasets.arrays import MixedTable
from lookahead_nb.training import progress

pytest.importorskip("sklearn")
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

trains = pytest.mark.jit  # thousands of runs are too many for plain Python
RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 2, 150)
ROWS = RNG.normal(size=(150, 3)) + 1.2 * LABELS[:, None]
SHORT = {"hidden": (), "steps": 20, "replicates": 4, "progress": False}


@pytest.fixture(scope="module")
def asked():
    """An answer, and what the arms were trained with last."""
    seen = {}

    def trained(task, arms, rates, seeds, chance, progress):
        seen.update(arms=arms, rates=rates, seeds=seeds)
        return original(task, arms, rates, seeds, chance, progress)

    with pytest.MonkeyPatch.context() as patch:
        original = module._trained
        patch.setattr(module, "_trained", trained)
        return lnb.ask(ROWS, LABELS, **SHORT), seen


# ------------------------------------------------------------------------------------------------------------ protocol


def recomputed(name, answer, seen):
    """The test loss of each replicate of an arm, from sweeps of its own rows, the chosen rates, and the best one."""
    table = MixedTable(ROWS, LABELS)
    (grid,) = seen["arms"][name].grids
    steps = answer.settings["steps"]
    rates = seen["rates"][grid]
    losses, chosen, validation = [], [], []
    for seed in seen["seeds"]:
        data = table.split(seed)
        configs = [grid.optimizer(lr, steps) for lr in rates]
        model = lnb.LogisticRegression(3)
        rows = lnb.sweep(model, data, configs, seeds=[seed], steps=steps, batch_size=32, progress=False)
        ends = rows[rows["step"] == steps].groupby("run", sort=False).last()  # the slow weights, if there are any
        best = int(ends["validation_loss"].to_numpy().argmin())
        losses.append(min(float(f"{ends['test_loss'].iloc[best]:.8g}"), answer.settings["chance"]))
        chosen.append(rates[best])
        validation.append(ends["validation_loss"].tolist())
    return np.array(losses), np.array(chosen), rates[int(np.mean(validation, axis=0).argmin())]


@trains
def test_every_replicate_tunes_for_itself_and_pairs_are_compared_in_units_of_the_gap(asked):
    answer, seen = asked
    settings = answer.settings
    losses = {name: recomputed(name, answer, seen) for name in ("adamw", "adamw_again", "lookahead")}
    baseline = (losses["adamw"][0] + losses["adamw_again"][0]) / 2
    gap = settings["chance"] - settings["best"]
    benefits = 100 * (baseline - losses["lookahead"][0]) / gap
    sizes = settings["test_rows"], settings["train_rows"] + settings["validation_rows"]
    expected = inference.nadeau_bengio(benefits, *sizes)
    row = answer.comparisons.iloc[0]
    assert (row["arm"], row["control"]) == ("Lookahead", "AdamW")
    np.testing.assert_allclose(row[["benefit", "low", "high"]].tolist(), expected, rtol=1e-6)
    arms = answer.arms.set_index("arm")
    for name, (of_replicates, chosen, best) in losses.items():
        assert arms.loc[NAMES[name], "test_loss"] == pytest.approx(of_replicates.mean(), rel=1e-12)
        assert arms.loc[NAMES[name], "lr"] == best
        assert arms.loc[NAMES[name], "lowest_lr"] == chosen.min()
        assert arms.loc[NAMES[name], "highest_lr"] == chosen.max()
    assert len({*losses["adamw"][1]}) > 1  # replicates differ in what they chose
    assert settings["best"] == pytest.approx(answer.arms["test_loss"].min())


def test_arms_are_those_that_are_promised():
    arms = trial_arms.arms_of(ARMS)
    made = {name: arm.grids[0].optimizer(0.1, 200) for name, arm in arms.items()}
    assert made["lookahead"] == lnb.Lookahead(lnb.AdamW(0.1), sync_period=5, slow_step_size=0.5)
    assert made["averaging"] == lnb.Lookahead(lnb.AdamW(0.1), sync_period=5, slow_step_size=0.5, pull_back=False)
    assert made["ema"] == lnb.EMA(lnb.AdamW(0.1), window=20)
    assert made["schedule_free"] == lnb.ScheduleFreeAdamW(0.1)
    assert made["adamw_linear"] == lnb.AdamW(lnb.schedules.linear(0.1, 200))
    assert made["lookahead_linear"].inner == made["adamw_linear"]
    tuned = [grid.optimizer(0.1, 200) for grid in arms["lookahead_tuned"].grids]
    pairs = {(round(optimizer.slow_step_size, 3), optimizer.sync_period) for optimizer in tuned}
    assert pairs == {(step, period) for step in (0.2, 0.5, 0.8) for period in (5, 20)}
    assert module.EQUAL_TRIALS == "own of 24" == f"own of {trial_arms.RATES}"
    assert all(len(arm.grids) == 1 for name, arm in arms.items() if name != "lookahead_tuned")
    assert module.EVERY % 20 == 0


@trains
def test_intervals_of_averages_and_schedules_hold_together(asked):
    answer, _ = asked
    levels = answer.comparisons.set_index(["arm", "control"])["level"]
    assert levels[LOOKAHEAD, "AdamW"] == 0.95
    for arm in OTHERS:
        assert levels[NAMES[arm], "AdamW"] == levels[NAMES[arm], "Lookahead"] == modality.deciding_level(len(OTHERS))


def test_the_screening_shares_no_seed_with_the_replicates():
    for seed in (0, 1):
        replicates, others = module._seeds(seed, 50, "replicates"), module._seeds(seed, 4, "screening")
        assert len({*replicates, *others}) == 54
    assert not {*module._seeds(0, 50, "replicates")} & {*module._seeds(1, 50, "replicates")}


@trains
def test_equal_seeds_give_equal_answers(asked):
    answer, _ = asked
    again, other = lnb.ask(ROWS, LABELS, **SHORT), lnb.ask(ROWS, LABELS, **SHORT, seed=1)
    pd.testing.assert_frame_equal(answer.comparisons, again.comparisons, check_exact=True)
    pd.testing.assert_frame_equal(answer.arms, again.arms, check_exact=True)
    assert ask_report.page(again) == ask_report.page(answer)
    assert (other.comparisons["benefit"] != answer.comparisons["benefit"]).all()


def test_a_large_table_is_cut_into_disjoint_parts(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ROWS", 25)
    task, settings = module._planned(ROWS, LABELS, (), 20, None, 5, 0)
    assert settings["disjoint"]
    assert settings["rows_of_replicate"] == 25
    assert not task.of.overlap
    others = module._seeds(0, 4, "screening")
    rows = [{*data.rows_train, *data.rows_validation, *data.rows_test} for data in map(task.replicate, task.seeds)]
    screened = [{*data.rows_train, *data.rows_validation, *data.rows_test} for data in map(task.replicate, others)]
    assert all(part == screened[0] for part in screened)
    assert len(set().union(*rows, screened[0])) == 6 * 25
    assert "cut into 6 parts" in module._caps(settings)[0]


@trains
def test_the_interval_of_disjoint_parts_is_that_of_student(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ROWS", 25)
    answer = lnb.ask(ROWS, LABELS, **SHORT | {"steps": 200})
    row = answer.comparisons.iloc[0]
    assert answer.settings["disjoint"]
    assert row["low"] < row["benefit"] < row["high"]
    assert "4 disjoint parts of 30 rows" in answer.advice
    assert "share no row" in ask_report.page(answer)


def planted_rows(task, arms, seeds, losses, at_end=0.0):
    """The rows of measured test losses: by arm, a number or one for each replicate; all chose another rate."""
    rows = []
    for name, arm in arms.items():
        for tuning in ("own", "own of 24"):
            values = np.broadcast_to(losses.get(name, losses["adamw"]), len(seeds))
            row = {"number": task.number, "arm": name, "multiple": 1.0, "metric": "test loss"}
            row |= {"tuning": tuning, "lowest": 0.0, "highest": at_end, "lr": 0.02, "grid": arm.grids[0].name}
            row |= {f"r{i}": value for i, value in enumerate(values)}
            row |= {f"lr{i}": 0.01 * 4**i for i in range(len(seeds))}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("centre", "wider"), [(1e-3, True), (0.01, True), (0.2, False)])
def test_no_rate_is_above_1_in_any_grid(monkeypatch, centre, wider):
    """Every grid keeps its number of rates, and the rates that it has in common with the one it came from."""
    task, _ = module._planned(ROWS, LABELS, (), 20, None, 4, 0)
    arms, trained = trial_arms.arms_of(ARMS), []

    def rows(task, arms, rates, seeds, *_):
        trained.append(rates)
        return planted_rows(task, arms, seeds, {"adamw": 0.4}, at_end=0.5)

    monkeypatch.setattr(module, "_trained", rows)
    screened = pd.DataFrame({"number": [task.number], "centre": [centre], "chance": [0.7]})
    module._measured(task, screened, arms, task.seeds, Stages(silent, 1))
    spacing = trial_arms.SPACING
    assert (len(trained) > 1) == wider
    for rates in trained:
        assert len({len(of_grid) for of_grid in rates.values()}) == 1
        for grid, of_grid in rates.items():
            assert max(of_grid) <= module.MOST_LR
            np.testing.assert_allclose(np.diff(np.log(of_grid)), math.log(spacing))
            steps = np.log(np.divide(of_grid, grid.rates(task.number, centre)[0])) / math.log(spacing)
            np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
    assert wider or all(max(of_grid) > module.MOST_LR / spacing for of_grid in trained[0].values())
    assert max(max(of_grid) for of_grid in trained[-1].values()) > module.MOST_LR / spacing or centre == 1e-3


def test_equal_validation_losses_go_to_the_lower_rate():
    rates = np.array([0.1, 0.4, 0.2, 0.05])
    validation = np.array(
        [
            [0.5, 0.5 * (1 - 5e-7), 0.5, 0.6],  # equal but for the last
            [0.5, 0.5 * (1 - 5e-6), 0.5, 0.6],
            [1e-7, 0.0, 1e-9, 0.1],  # below a millionth of chance
            [1e-5, 0.0, 1e-9, 0.1],
            [np.nan, np.inf, np.nan, 7.0],
        ]
    )
    assert module._preferred(validation, rates, chance=0.7).tolist() == [
        [0, 2, 1, 3], [1, 0, 2, 3], [0, 2, 1, 3], [2, 1, 0, 3], [1, 3, 2, 0]
    ]  # fmt: skip


def test_a_lucky_replicate_does_not_decide_the_recommended_rate(monkeypatch):
    """Planted: three of four replicates reach 0 at the highest rate, and one diverges there."""
    task, _ = module._planned(ROWS, LABELS, (), 20, None, 4, 0)
    arms = trial_arms.arms_of(ARMS)

    def values(_, part, seeds):
        losses = np.full((seeds, trial_arms.RATES), 0.5)
        losses[:, 3:5] = 0.3
        losses[:, -1] = [0, 0, 0, 90]
        columns = {column for pair in trial.METRICS.values() for column in pair}
        return {(grid, "slow", 20, column): losses for grid in part.grids for column in columns}

    monkeypatch.setattr(module, "sweep", lambda *_, **__: None)
    monkeypatch.setattr(trial, "values_of", values)
    rates = {grid: grid.rates(task.number, 0.001) for arm in arms.values() for grid in arm.grids}
    rows = module._trained(task, arms, rates, task.seeds, 0.7, silent)
    for row in rows[rows["tuning"] == "own"].to_dict("records"):
        grids = arms[row["arm"]].grids
        assert row["lr"] == min(rates[grid][3] for grid in grids)
        assert row["lr"] in rates[next(grid for grid in grids if grid.name == row["grid"])]
        assert [row[f"lr{i}"] for i in range(3)] == [min(rates[grid][-1] for grid in grids)] * 3
        assert row["lr3"] == row["lr"]


# -------------------------------------------------------------------------------------------------------- known answers


def planted(monkeypatch, losses):
    """An answer to measured test losses: by arm, a number or one for each replicate."""

    def trained(task, arms, _rates, seeds, *_):
        return planted_rows(task, arms, seeds, losses)

    def screened(tasks, *_, **__):
        row = {"number": tasks[0].number, "centre": 0.01, "chance": 0.7, "loss": 0.4, "regime": "step-limited"}
        return pd.DataFrame([row])

    monkeypatch.setattr(module, "_trained", trained)
    monkeypatch.setattr(module.screening, "screened", screened)
    return lnb.ask(ROWS, LABELS, **SHORT)


NOISE = np.array([0.04, -0.02, 0.01, -0.03])


def test_a_planted_gain_of_lookahead_is_found(monkeypatch):
    answer = planted(monkeypatch, {"adamw": 0.5 + NOISE / 2, "lookahead": 0.4 + NOISE / 2})
    row = answer.comparisons.iloc[0]
    gap = 0.7 - 0.4
    np.testing.assert_allclose(row[["benefit", "low", "high"]].astype(float), 100 * 0.1 / gap)
    assert row["verdict"] == "holds, and matters"
    assert answer.advice.startswith("Use Lookahead(AdamW(lr=0.02), sync_period=5, slow_step_size=0.5). Lookahead")
    assert "lowers AdamW's test loss by 33.3 % (95 % CI [33.3, 33.3]) of the gap between" in answer.advice
    assert "No average or schedule is shown to beat AdamW" in answer.advice


def test_a_planted_loss_of_lookahead_is_found(monkeypatch):
    answer = planted(monkeypatch, {"adamw": 0.4, "lookahead": 0.45 + NOISE / 10})
    assert answer.comparisons["verdict"][0] == "the opposite holds, and matters"
    assert answer.advice.startswith("Keep AdamW, at a constant lr of about 0.02. Lookahead")
    assert "raises AdamW's test loss by 16.7 %" in answer.advice


def test_equal_arms_make_no_difference(monkeypatch):
    answer = planted(monkeypatch, {"adamw": 0.4 + NOISE})
    assert {*answer.comparisons["verdict"]} == {"no difference that matters"}
    assert answer.advice.startswith("Keep AdamW")
    assert "makes no difference that matters here" in answer.advice


def test_a_difference_below_the_margin_is_no_reason_to_change(monkeypatch):
    answer = planted(monkeypatch, {"adamw": 0.4, "lookahead": 0.4 - 0.001 * (1 + NOISE)})
    assert answer.comparisons["verdict"][0] == "holds, but is too small to matter"
    assert answer.advice.startswith("Keep AdamW")
    assert "That is too small to matter." in answer.advice


def test_noise_cannot_tell_and_says_what_it_would_take(monkeypatch):
    answer = planted(monkeypatch, {"adamw": 0.4, "lookahead": 0.4 + NOISE / 5})
    row = answer.comparisons.iloc[0]
    assert row["verdict"] == "cannot tell"
    times = ((row["high"] - row["low"]) / 2 / (module.MARGIN / 2)) ** 2
    assert 1 < times < ask_advice.HOPELESS_TIMES
    assert f"such rows, {times:.2g} times as many." in answer.advice
    assert "cannot tell" in repr(answer)
    more = planted(monkeypatch, {"adamw": 0.4, "lookahead": 0.4 + NOISE * 3})
    assert "It would take more than 100 times as many rows." in more.advice


@pytest.mark.parametrize(("arm", "use"), [
    ("averaging", "Use an average, Lookahead(AdamW(lr=0.02), sync_period=5, slow_step_size=0.5, pull_back=False)."),
    ("ema", "Use an average, EMA(AdamW(lr=0.02), window=2)."),
    ("schedule_free", "Use ScheduleFreeAdamW(lr=0.02)."),
    ("adamw_linear", "Use AdamW with a linear decay, AdamW(schedules.linear(0.02, 20))."),
])  # fmt: skip
def test_what_does_more_is_recommended(monkeypatch, arm, use):
    answer = planted(monkeypatch, {"adamw": 0.5, "lookahead": 0.45, arm: 0.4 + NOISE / 100})
    assert answer.advice.startswith(use)
    assert "and does more than Lookahead, with a difference of 16.7 %" in answer.advice
    equal = planted(monkeypatch, {"adamw": 0.5, "lookahead": 0.4 + NOISE / 10, arm: 0.3999})
    assert "is not distinguishable from Lookahead" in equal.advice


@pytest.mark.parametrize(("again", "too_small"), [
    (0.5 + NOISE / 30, False),
    (0.495 + NOISE / 1000, True),  # 1.67 % of the gap, shown in a narrow interval
    (0.5 + NOISE / 2, True),  # of an interval wider than ten margins
])  # fmt: skip
def test_a_table_on_which_adamw_differs_from_itself_compares_no_optimizers(monkeypatch, again, too_small):
    other = 0.2 if not too_small else 0.499
    answer = planted(monkeypatch, {"adamw": 0.5, "adamw_again": again, "lookahead": other + NOISE / 100})
    itself = answer.comparisons.iloc[-1]
    gap = 0.7 - answer.settings["best"]
    assert itself["benefit"] == pytest.approx(100 * np.mean(0.5 - np.broadcast_to(again, 4)) / gap)
    if not too_small:
        assert answer.advice.startswith("Use Lookahead")
        assert "itself" not in answer.advice + repr(answer)
        return
    numbers = " [".join(ask_advice._percent(itself[name]) for name in ("benefit", "low"))
    sentence = (
        f"AdamW against itself differs by {numbers.replace(' [', ' % [')}, {ask_advice._percent(itself['high'])}] of"
    )
    assert answer.advice.startswith(sentence)
    assert "on these splits, so this table is too small to compare optimizers. With AdamW, use" in answer.advice
    assert "use a constant lr of about 0.02. Its mean validation loss is the lowest. This was" in answer.advice
    assert "Lookahead" not in answer.advice
    assert repr(answer).startswith("Answer(too small to compare optimizers: AdamW against itself")


def test_an_arm_that_gains_far_more_than_adamw_differs_from_itself_is_recommended(monkeypatch):
    losses = {"adamw": 0.5, "adamw_again": 0.495 + NOISE / 1000, "lookahead": 0.499 + NOISE / 100}
    answer = planted(monkeypatch, losses | {"schedule_free": 0.2 + NOISE / 100})
    assert "too small to compare optimizers" in answer.advice
    assert "Schedule-Free AdamW gains more than that can explain, " in answer.advice
    assert "]: Use ScheduleFreeAdamW(lr=0.02). This was measured" in answer.advice


@trains
def test_labels_that_are_noise_cannot_be_learned():
    y = np.random.default_rng(8).integers(0, 2, len(ROWS))
    answer = lnb.ask(ROWS, y, **SHORT)
    assert answer.comparisons.empty
    assert answer.advice.startswith("These rows cannot tell optimizers apart: tuned AdamW ends at a test loss of")
    assert repr(answer) == "Answer(nothing to compare, 4 replicates)"
    assert "<figure>" not in ask_report.page(answer)
    with pytest.raises(ValueError, match="comparisons must hold some against AdamW"):
        answer.plot()


@trains
def test_a_table_that_is_solved_gains_nothing():
    y = np.arange(80) % 2
    X = np.column_stack([100.0 * y + np.arange(80) % 3, np.arange(80) % 7])
    answer = lnb.ask(X, y, **SHORT | {"steps": 200})
    small = answer.comparisons["verdict"].str.endswith(modality.TOO_SMALL)
    assert (small | (answer.comparisons["verdict"] == "no difference that matters")).all()
    assert answer.advice.startswith("Keep AdamW")


def test_a_diverged_or_overconfident_arm_counts_as_guessing(monkeypatch):
    answer = planted(monkeypatch, {"adamw": 0.4, "lookahead": np.array([0.4, 0.4, 0.4, 90.0])})
    assert answer.comparisons["benefit"][0] == pytest.approx(-25)


# ------------------------------------------------------------------------------------------------------------- caps


MOST = "6,768 runs with those of screening, up to 40,368 with wider grids"  # of 24, then 48, then 72 rates


def test_caps_are_said_first_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr(module.screening, "screened", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lnb.ask(ROWS, LABELS, hidden=())
    rows, steps, replicates = capsys.readouterr().err.splitlines()[:3]
    assert rows == "rows: all 150, split again for each replicate: 90 + 30 + 30 for training, validation and test"
    assert steps == "steps: 80 of batch 32, 28.4 passes over the training rows"
    assert replicates == f"replicates: 20, each trained at 24 learning rates of 14 grids: {MOST}"


def test_rows_steps_and_replicates_are_capped(monkeypatch):
    monkeypatch.setattr(module, "MOST_CELLS", 300)
    evaluations, step = 6 * 3 * 120, 6 * 3 * 32  # three weights; 120 rows evaluated at both ends
    monkeypatch.setattr(module, "WORK", module.RUNS * 20 * (evaluations + 45 * step))
    task, settings = module._planned(ROWS, LABELS, (), None, None, None, 0)
    assert (settings["rows"], settings["rows_of_table"]) == (120, 150)
    assert (settings["steps"], settings["replicates"]) == (40, 20)
    assert task.steps == 40
    assert len(task.seeds) == 20
    rows, steps, replicates = module._caps(settings)
    assert rows.startswith("rows: 120 of 150, ")
    assert steps.endswith(", capped so that a minute suffices")
    assert replicates.endswith(MOST)
    monkeypatch.setattr(module, "WORK", module.RUNS * 10 * (evaluations + 25 * step))
    task, settings = module._planned(ROWS, LABELS, (), None, None, None, 0)
    assert settings["replicates"] == len(task.seeds) == 12  # at 20 steps
    assert module._caps(settings)[2].endswith(
        "4,080 runs with those of screening, up to 24,240 with wider grids, capped so that a minute suffices"
    )


def test_a_table_that_takes_longer_says_so(monkeypatch):
    monkeypatch.setattr(module, "WORK", 1)
    monkeypatch.setattr(module, "WORK_OF_A_MINUTE", 8 * module.RUNS * (6 * 3 * 150 + 40 * 6 * 3 * 32) / 3)
    _, settings = module._planned(ROWS, LABELS, (), None, None, None, 0)
    assert (settings["steps"], settings["replicates"]) == (40, 8)
    assert module._caps(settings)[2].endswith(
        "2,736 runs with those of screening, up to 16,176 with wider grids, "
        "capped so that it takes minutes, about 3 minutes"
    )


def test_what_is_passed_is_not_capped(monkeypatch):
    monkeypatch.setattr(module, "WORK", 1)
    _, settings = module._planned(ROWS, LABELS, [4, 5], 3000, 10, 30, 7)
    found = [settings[name] for name in ("steps", "batch_size", "replicates", "hidden", "seed", "steps_capped")]
    assert found == [3000, 10, 30, (4, 5), 7, False]


@trains
def test_progress_counts_all_runs():
    calls = []
    answer = lnb.ask(ROWS, LABELS, **SHORT | {"progress": lambda done, total: calls.append((done, total))})
    done, totals = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1] >= 48 + 4 * 14 * 24
    assert totals[0] == answer.settings["runs"]  # what the caps say
    assert f": {totals[0]:,} runs with those of screening" in answer.caps[2]


@pytest.mark.parametrize(
    ("calls", "last"),
    [
        ([0, 24, 48], "48 of 900 runs"),  # screening
        ([0, 24, 48, 60], "60 of 900 runs"),  # compiled meanwhile
        ([0, 24, 48, 60, 80], "80 of 900 runs, "),
        ([0, 24, 48, 60, 80, "compiling"], "80 of 900 runs"),
        ([0, 24, 48, 60, 80, "compiling", 90], "90 of 900 runs"),
        ([0, 24, 48, 60, 80, "compiling", 90, 95], "95 of 900 runs, "),
    ],
)
def test_the_time_left_is_told_once_a_compiled_unit_has_ended(monkeypatch, calls, last):
    assert module._screening_runs() == 48
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    display = Display(module._screening_runs(), stream, patience=0)
    for call in calls:
        if call == "compiling":
            display.compiling()
        else:
            display(call, 900)
    with display:
        pass
    line = stream.getvalue().splitlines()[-1]
    assert line.startswith(last)
    assert ("left" in line) == last.endswith(", ")


@trains
def test_compiling_is_said_once_and_ends_the_estimate(capsys):
    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return inner(x)

    with Display(module._screening_runs()) as display:
        display(48, 900)
        display(60, 900)
        assert display._timed
        outer(1)
        assert not display._timed
    outer(1.0)
    assert capsys.readouterr().err == "compiling (once)\n"


# --------------------------------------------------------------------------------------------------------- columns


FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])
DATED = FRAME.assign(date="2024-01-02", name=[f"n{i}" for i in range(len(FRAME))])


@trains
def test_columns_that_are_dropped_leave_the_answer_of_the_others(asked):
    answer = lnb.ask(DATED, LABELS, drop=["name", "date"], **SHORT)
    pd.testing.assert_frame_equal(answer.comparisons, asked[0].comparisons, check_exact=True)
    pd.testing.assert_frame_equal(answer.arms, asked[0].arms, check_exact=True)
    assert answer.settings["dropped"] == ["date", "name"]
    assert asked[0].settings["dropped"] == []
    assert "<tr><td>dropped</td><td>date, name</td></tr>" in ask_report.page(answer)


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"X": ROWS[:30], "y": LABELS[:30]}, "X must have at least 60 rows, got 30"),
        ({"y": LABELS[:-1]}, "y must have one label for each of the 150 rows of X, got 149"),
        ({"X": ROWS[0]}, "X must be a table of rows and columns, got shape (3,)"),
        ({"X": ROWS.astype(str)}, "X must hold numbers, got <U"),
        ({"y": ROWS[:, 0]}, "y must hold text, bool or whole numbers as labels"),
        ({"hidden": 32}, "hidden must be a list of whole numbers, got 32"),
        ({"hidden": [0]}, "hidden[0] must be a whole number of at least 1, got 0"),
        ({"steps": 50}, "steps must be a multiple of 20, so that every run ends on a sync, got 50"),
        ({"steps": 0}, "steps must be a whole number of at least 20, got 0"),
        ({"batch_size": 91}, "batch_size must be at most the 90 training rows of a replicate, got 91"),
        ({"replicates": 3}, "replicates must be a whole number from 4 to 1000, got 3"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"progress": 3}, "progress must be True, False or a function of two numbers, got 3"),
        ({"step": 20}, "ask has no argument step (did you mean steps?)"),
    ],
)
def test_a_bad_question_is_refused_before_anything_is_trained(monkeypatch, arguments, sentence):
    monkeypatch.setattr(module.screening, "screened", None)
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(sentence)}"):
        lnb.ask(**{"X": ROWS, "y": LABELS} | arguments)


# ------------------------------------------------------------------------------------------------------ figure and page


@trains
def test_the_figure_shows_every_arm_against_adamw(asked):
    answer, _ = asked
    ax = answer.plot()
    rows = answer.comparisons[answer.comparisons["control"] == "AdamW"]
    assert [label.get_text() for label in ax.get_yticklabels()] == rows["arm"].tolist()
    points = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in points] == rows["benefit"].tolist()
    ends = [tuple(line.get_xdata()) for line in ax.get_lines() if line.get_color() != "#0173B2" or line.get_lw() > 1.2]
    assert {*zip(rows["low"], rows["high"], strict=True)} <= {*ends}
    mine = matplotlib.figure.Figure().subplots()
    assert answer.plot(mine) is mine
    with pytest.raises(TypeError, match="ax must be Axes of matplotlib, got 3"):
        answer.plot(3)


@trains
def test_the_page_stands_alone(asked, tmp_path):
    answer, _ = asked
    path = answer.report(tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert text == ask_report.page(answer)
    addresses = {*re.findall(r"https?://[^\s\"'<>]+", text)}
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of formats
    assert re.findall(r"<(?:script|link|img|iframe|object|base)|\bsrc=|@import|url\((?!#)", text) == []
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', text))
    assert answer.advice in text.replace("&#x27;", "'")
    for line in answer.caps:
        assert line in text
    assert text.count("<svg") == text.count("</svg>") == 1
    assert all(f'<td class="text">{arm}</td>' in text for arm in answer.arms["arm"])


@trains
def test_a_page_escapes_what_it_shows(asked):
    answer, _ = asked
    settings = answer.settings | {"classes": ["<script>", "&"]}
    assert "<script>" not in ask_report.page(Answer(answer.comparisons, answer.arms, settings))


@trains
def test_no_file_is_replaced(asked, tmp_path):
    answer, _ = asked
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"path must be the path of a new file, but .* exists"):
        answer.report(path)
    assert path.read_text() == "mine"
    with pytest.raises(ValueError, match=r"path must be the path of a file that ends in \.html, got 'report\.pdf'"):
        answer.report(tmp_path / "report.pdf")
    with pytest.raises(FileNotFoundError, match="path must be in a folder that exists"):
        answer.report(tmp_path / "no" / "report.html")
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        answer.report(3)


@trains
def test_a_mixed_table_is_encoded_and_the_page_says_so(tmp_path):
    X = pd.DataFrame({"a": ROWS[:, 0], "b": np.where(RNG.integers(0, 3, 150) == LABELS, "x", "y")})
    X.loc[::9, "a"] = np.nan
    answer = lnb.ask(X, np.where(LABELS, "ill", "well"), **SHORT)
    assert answer.settings["encoded"]
    assert answer.settings["columns"] == 4
    assert answer.settings["classes"] == ["ill", "well"]
    assert ask_report.ENCODED in ask_report.page(answer).replace("&#x27;", "'")


# ------------------------------------------------------------------------------------------------------------- command


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """Run ``lookahead-nb ask`` next to a table with a category; return exit code, output and complaint."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(kind=np.where(ROWS[:, 0] > 1, "x", "y"))
    frame.assign(outcome=np.where(LABELS, "ill", "well")).to_csv("mine.csv", index=False)
    np.savez("mine.npz", X=ROWS, y=LABELS)

    def run(*arguments):
        code = main(["ask", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


QUICK = ("--label", "outcome", "--hidden", "--steps", 20, "--replicates", 4)


@trains
def test_the_command_prints_advice_and_writes_a_report(command, tmp_path):
    code, out, err = command("mine.csv", *QUICK, "--html", "report.html", "--batch-size", 16, "--seed", 3)
    X, y = lnb.datasets.read_rows("mine.csv", "outcome", mixed=True)
    expected = lnb.ask(X, y, **SHORT, batch_size=16, seed=3)
    assert (code, out) == (0, f"{expected.advice}\n")
    assert err.splitlines()[:3] == expected.caps
    assert err.endswith("lookahead-nb: the report is in report.html\n")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == ask_report.page(expected)


@trains
def test_the_command_leaves_columns_out(command):
    arguments = ("--hidden", "--steps", 20, "--replicates", 4)
    without = lnb.ask(ROWS, np.where(LABELS, "ill", "well"), **SHORT)
    assert command("mine.csv", *QUICK, "--drop", "kind")[1] == f"{without.advice}\n"
    fewer = lnb.ask(ROWS[:, [0, 2]], LABELS, **SHORT)
    assert command("mine.npz", *arguments, "--drop", 1)[1] == f"{fewer.advice}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("mine.csv", "--label", "Outcom"),
            "file must hold a column 'Outcom' (did you mean 'outcome'?), but mine.csv has",
        ),
        (
            ("mine.csv", "--label", "nothing like it"),
            "file must hold a column 'nothing like it', but mine.csv has 'a'",
        ),
        (("mine.csv",), "label must be a column name for a .csv file and None for an .npz file, got None"),
        (("mine.csv", "--label", "a"), "y must hold text, bool or whole numbers as labels"),
        (("none.csv", "--label", "outcome"), "file none.csv cannot be read: No such file or directory"),
        (
            ("mine.csv", *QUICK, "--drop", "knd"),
            "drop must name columns of X, got 'knd' (did you mean 'kind'?): X has 'a'",
        ),
        (
            ("mine.csv", *QUICK, "--drop", "a", "--drop", "outcome"),
            "--drop must name other columns than that of the labels, got 'outcome'",
        ),
        (
            ("mine.npz", "--drop", "b"),
            "drop must name columns of X by numbers from 0 to 2",
        ),
        (
            ("mine.npz", "--drop", "3"),
            "drop must name columns of X by numbers from 0 to 2",
        ),
        (("mine.csv", *QUICK, "--html", "old.html"), "--html must be the path of a new file, but old.html exists"),
        (("mine.csv", *QUICK, "--html", "a.pdf"), "--html must be the path of a file that ends in .html, got 'a.pdf'"),
        (("mine.csv", *QUICK, "--html", "no/a.html"), "--html must be in a folder that exists, which no does not"),
        (("mine.csv", *QUICK, "--seed", -1), "seed must be a whole number"),
        (("mine.csv", *QUICK, "--batch-size", 1000), "batch_size must be at most the 90 training rows of a replicate"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_trained_or_written(
    command, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.setattr(module.screening, "screened", None)
    (tmp_path / "old.html").write_text("old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"lookahead-nb: {sentence}")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_package_that_is_missing_is_named_in_one_line(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.compose", None)
    code, out, err = command("mine.csv", *QUICK)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(
        "lookahead-nb: a table with missing values or categories needs scikit-learn: install the extra"
    )


def test_ctrl_c_ends_the_command(command, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.screening, "screened", stopped)
    code, out, err = command("mine.csv", *QUICK, "--html", "report.html")
    assert (code, out) == (130, "")
    assert err.endswith("lookahead-nb: stopped\n")
    assert not (tmp_path / "report.html").exists()
