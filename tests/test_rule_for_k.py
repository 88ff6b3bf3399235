"""The experiment on the best sync period: its grids, its rows, and the rule that judges the conjecture."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import conjectures, rule_for_k
from lookahead_nb.claims.population import generated
from lookahead_nb.claims.rule_for_k import Design, Measured
from lookahead_nb.claims.shards import OutdatedError
from lookahead_nb.theory import half_period
from lookahead_nb.theory.curvature import curvature_along

BETAS, PERIODS = (0.5, 0.8, 0.9, 0.95, 0.98), (1, 2, 3, 4, 5, 7, 10, 14, 20)
ROUNDED = 1e-5  # relative, of rows with 6 digits
TINY = Design(
    first=5, each=1, steps=40, beta1s=(0.8, 0.9), sync_periods=(1, 2, 4), slow_steps=(0.5,), rates=2, spacing=2.0,
    seeds=2, screening_seeds=1, screened=3, lowest=2e-3, measured_at=(20, 40), eval_rows=100, shard=1,
)  # fmt: skip


# --------------------------------------------------------------------------------------------------------- the verdict


def made(best, x=3.0, tasks=6, gain=0.1, noise=0.0, bend=0.1):
    """Rows of tasks whose best sync period is a function of beta1, with a smooth curve around it."""
    generator = np.random.Generator(np.random.Philox(0))
    losses, curvature = [], []
    for number in range(tasks):
        for beta1 in BETAS:
            predicted = float(half_period(beta1, x + number / 9))
            about = {"number": number, "hidden": number % 2, "beta1": beta1, "chance": 2.0, "adamw": 1.2}
            about |= {"lr": 0.01, "curvature": 100 * (x + number / 9), "gradients": 160, "predicted": predicted}
            curvature.append(about)
            for k in (0, *PERIODS):
                away = math.log(max(k, 1) / best(predicted))
                loss = 1.0 + bend * away**2 - gain * (k > 1) if k else 1.05
                each = loss + noise * generator.normal(size=4)
                row = {"number": number, "beta1": beta1, "sync_period": k, "slow_step": 0.5, "lr": 0.02, "loss": loss}
                for r in range(4):
                    row |= {f"without_{r}": np.delete(each, r).mean(), f"other_{r}": each[r]}
                losses.append(row)
    return Measured(pd.DataFrame(losses), pd.DataFrame(curvature))


def test_a_rule_that_holds_is_not_falsified():
    best = rule_for_k.best_periods(made(lambda predicted: predicted, gain=0.0))
    inside = best[best["predicted"].between(2, 10)]
    assert len(inside) > 10
    np.testing.assert_allclose(inside["best"], inside["predicted"], rtol=1e-6)
    verdict = rule_for_k.judge(made(lambda predicted: predicted))
    assert 0.8 < verdict.slope.value < 1.2
    assert verdict.slope.low <= verdict.slope.value <= verdict.slope.high
    assert (verdict.tasks, verdict.known, verdict.all, verdict.mattering) == (6, 30, 30, 30)
    assert not verdict.falsified


@pytest.mark.parametrize("best", [lambda predicted: 4.0, lambda predicted: 20 / predicted])
def test_another_slope_falsifies_it(best):
    assert rule_for_k.judge(made(best)).falsified


def test_a_choice_that_does_not_matter_is_counted_apart():
    measured = made(lambda predicted: predicted)
    flat = measured.losses["number"] < 2
    measured.losses.loc[flat, "loss"] = 1.0 + (measured.losses.loc[flat, "loss"] - 1.0) / 1000
    verdict = rule_for_k.judge(measured)
    assert (verdict.known, verdict.mattering) == (30, 20)


def test_no_gain_falsifies_it():
    verdict = rule_for_k.judge(made(lambda predicted: predicted, gain=0.0, bend=1e-3))
    assert abs(verdict.gain.value) < rule_for_k.MARGIN
    assert rule_for_k.SLOPES[0] < verdict.slope.value < rule_for_k.SLOPES[1]
    assert verdict.falsified


def test_gains_are_shares_of_the_gap():
    measured = made(lambda predicted: 4.0, gain=0.2, tasks=2)
    found = rule_for_k.gains(measured)
    first = measured.losses[measured.losses["number"] == 0]
    lowest = first.groupby("sync_period")["loss"].min()
    gap = 2.0 - lowest.min()
    assert found["lookahead"].iloc[0] == pytest.approx((lowest[1] - lowest[4]) / gap)
    assert found["average"].iloc[0] == pytest.approx((lowest[1] - lowest[0]) / gap)
    at = rule_for_k.gains(measured, 0.98)
    assert at["lookahead"].iloc[0] == pytest.approx(found["lookahead"].iloc[0])


def test_curves_are_above_their_lowest_point():
    measured = made(lambda predicted: 4.0, gain=0.0, tasks=2)
    found = rule_for_k.curves(measured).set_index(["beta1", "sync_period"])["excess"]
    assert found[0.9, 4] == 0
    assert found[0.9, 10] == pytest.approx(0.1 * math.log(2.5) ** 2)  # the gap is 1
    hopeless = measured.curvature.assign(adamw=np.where(measured.curvature["number"] == 1, 1.99, 1.2))
    assert rule_for_k.curves(measured._replace(curvature=hopeless))["excess"].notna().all()


def test_settings_are_tuned_on_other_replicates():
    measured = made(lambda predicted: 4.0, tasks=2)
    lucky = measured.losses["sync_period"] == 7
    measured.losses.loc[lucky, "other_0"] = -5.0  # lucky on replicate 0, and not chosen by the others
    found = rule_for_k.gains(measured)
    assert found["lookahead"].max() < 0.5


def test_hopeless_tasks_are_left_out():
    measured = made(lambda predicted: predicted)
    measured.curvature.loc[measured.curvature["number"] == 3, "adamw"] = 1.99
    assert 3 not in {*rule_for_k.best_periods(measured)["number"]}
    assert rule_for_k.judge(measured).tasks == 5
    assert 3 not in {*rule_for_k.gains(measured)["number"]}


def test_noise_makes_a_best_period_unknown():
    quiet, loud = (rule_for_k.best_periods(made(lambda predicted: 4.0, noise=noise)) for noise in (1e-4, 1.0))
    assert quiet["known"].all()
    assert loud["known"].mean() < 0.8
    assert loud["error"].mean() > quiet["error"].mean()


def test_predictions_stay_in_the_range_of_the_grid():
    measured = made(lambda predicted: predicted)
    measured.curvature.loc[:1, "predicted"] = [math.inf, 0.5]
    assert rule_for_k.best_periods(measured)["predicted"].iloc[:2].tolist() == [20.0, 1.0]


def test_the_lowest_point_of_a_parabola_is_its_vertex():
    x = np.log(PERIODS)
    for vertex in (0.4, 1.3, 2.0):
        assert rule_for_k.lowest_point(x, 3 + 2 * (x - vertex) ** 2) == pytest.approx(vertex)
    assert rule_for_k.lowest_point(x, x) == x[0]
    assert rule_for_k.lowest_point(x, -x) == x[-1]
    assert rule_for_k.lowest_point(x, 3 + (x + 9) ** 2) == x[0]  # the vertex lies outside of its points
    assert rule_for_k.lowest_point([0, 1, 2, 3], [2.0, 1.0, 2.0, math.inf]) == pytest.approx(1.0)
    assert rule_for_k.lowest_point([0, 1], [2.0, 1.0]) == 1.0
    with pytest.raises(ValueError, match="y must have a finite value, got none"):
        rule_for_k.lowest_point([0, 1], [math.nan, math.inf])


def test_the_interval_of_a_slope_is_over_groups():
    generator = np.random.Generator(np.random.Philox(3))
    x, groups = np.tile(np.arange(5.0), 20), np.repeat(np.arange(20), 5)
    shared = generator.normal(size=20)
    found = rule_for_k.slope(x, 2 * x + np.repeat(shared, 5) * x, groups)
    assert found.value == pytest.approx(np.polyfit(x, 2 * x + np.repeat(shared, 5) * x, 1)[0])
    spread = np.std(shared, ddof=1) / np.sqrt(20)
    assert (found.high - found.low) / 2 == pytest.approx(2.093 * spread, rel=1e-3)  # each group has a slope of its own


# ------------------------------------------------------------------------------------------------------------ the runs


def test_tasks_alternate_and_nobody_else_has_their_seeds():
    design = Design()
    numbers = design.numbers()
    hidden = [bool(generated(number).hidden) for number in numbers]
    assert hidden == [False, True] * design.each
    assert min(numbers) >= 70_000
    assert sorted(numbers[::2]) == numbers[::2]
    assert all(design.steps % k == 0 for k in design.sync_periods)
    seeds, own = design.all_seeds()
    assert len({*seeds, *own}) == design.seeds + design.screening_seeds
    assert [number for part in rule_for_k.shards(design).values() for number in part] == numbers
    assert replace(design, first=5000).all_seeds()[0] != seeds


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tables of a small design."""
    folder = tmp_path_factory.mktemp("rows")
    rule_for_k.run(TINY, folder=folder, progress=False)
    return folder


@pytest.mark.jit  # minutes in plain Python, as the next two
def test_a_row_is_the_best_of_its_runs(tiny):
    measured = rule_for_k.results(TINY, tiny)
    number = TINY.numbers()[1]
    task = generated(number)
    rows = measured.losses[(measured.losses["number"] == number) & (measured.losses["beta1"] == 0.9)]
    row = rows[rows["sync_period"] == 4].iloc[0]
    about = measured.curvature[(measured.curvature["number"] == number) & (measured.curvature["beta1"] == 0.9)].iloc[0]
    seeds, own = TINY.all_seeds()
    table = []
    for lr in rule_for_k.grid_rates(TINY, about["lr"], 0.5):
        losses = []
        for seed in seeds:
            run = lnb.train(
                task.model, task.replicate(seed), lnb.Lookahead(lnb.AdamW(lr), sync_period=4), steps=40,
                batch_size=task.batch_size, seed=seed, eval_at=[], eval_rows=100,
            )  # fmt: skip
            end = run.history[run.history["weights"] == "slow"].iloc[-1]
            losses.append((end["validation_loss"] + end["test_loss"]) / 2)
        table.append(losses)
    table = np.array(table)
    assert row["loss"] == pytest.approx(table.mean(axis=1).min(), rel=ROUNDED)
    for r in (0, 1):
        assert row[f"without_{r}"] == pytest.approx(table[:, 1 - r].min(), rel=ROUNDED)
        assert row[f"other_{r}"] == pytest.approx(table[table[:, 1 - r].argmin(), r], rel=ROUNDED)
    along = curvature_along(
        task.model, task.replicate(own[0]), lnb.AdamW(about["lr"]), [20, 40], batch_size=task.batch_size, seed=own[0]
    )
    assert about["curvature"] == pytest.approx(np.exp(np.log(along["curvature"]).mean()), rel=ROUNDED)
    assert about["gradients"] == 80
    assert about["predicted"] == pytest.approx(half_period(0.9, about["lr"] * about["curvature"]), rel=ROUNDED)


@pytest.mark.jit
def test_a_period_of_one_is_adamw_at_the_rate_times_the_slow_step(tiny):
    rows = rule_for_k.results(TINY, tiny).losses
    row = rows[(rows["sync_period"] == 1) & (rows["beta1"] == 0.9)].iloc[0]
    task, losses = generated(int(row["number"])), []
    for seed in TINY.all_seeds()[0]:
        run = lnb.train(
            task.model, task.replicate(seed), lnb.AdamW(row["lr"] / 2), steps=40, batch_size=task.batch_size, seed=seed,
            eval_at=[], eval_rows=100,
        )  # fmt: skip
        losses.append(run.history[["validation_loss", "test_loss"]].iloc[-1].mean())
    assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-3)


@pytest.mark.jit
def test_finished_tables_stay_and_those_of_another_design_are_refused(tiny):
    assert rule_for_k.run(TINY, folder=tiny, progress=False) == []
    other = replace(TINY, spacing=1.7)
    for call in (rule_for_k.run, rule_for_k.results):
        with pytest.raises(OutdatedError, match="the experiment 'rule_for_k' as registered"):
            call(other, folder=tiny)


def test_missing_tables_are_named(tmp_path):
    with pytest.raises(OSError, match=r"00\.json is missing"):
        rule_for_k.results(TINY, tmp_path)


@pytest.mark.no_kernel
def test_the_outcome_of_the_conjecture_is_that_of_its_rows():
    conjecture = conjectures.read()["T1"]
    assert conjecture.experiment == rule_for_k.NAME
    if conjecture.outcome:
        assert conjecture.outcome == rule_for_k.outcome(rule_for_k.judge(rule_for_k.results()))
