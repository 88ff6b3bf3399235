"""Runs on landscapes and small networks: known answers, single rows by hand, refusals, and their way to a verdict."""

from dataclasses import replace

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import experiments, landscape_tasks, registry
from lookahead_nb.claims import landscape_trial as trial
from lookahead_nb.claims.trial_arms import arms_of
from lookahead_nb.theory.escapes import kramers_rates

pytestmark = pytest.mark.jit

SGD = {"optimizer": "SGD", "times": 1.0}
LOOKAHEAD = {"optimizer": "Lookahead", "inner": "SGD", "times": 1.0, "sync_period": 5, "slow_step_size": 0.5}
SEED = 2**40
LAW = 0.15  # relative, of Kramers' law at this temperature, and of 256 crossings


def measured(task, tables, wanted, seeds=(SEED,), replicates=2):
    """The numbers of arms on a task, by metric, grid and half."""
    arms = arms_of(tables)
    grids = [grid for arm in arms.values() for grid in arm.grids]
    return arms, trial.MEASURES[task[0]](task[1], grids, [*seeds], replicates, {*wanted})


def value(found, arms, arm, metric, half="report"):
    return found[metric, arms[arm].grids[0], half]


# ------------------------------------------------------------------------------------------------------ known answers


def test_variances_on_quadratics_are_the_closed_form_without_momentum():
    task = landscape_tasks.NoisyQuadratic(0, modes=6, exponent=1.0, noise_exponent=1.0, rate=0.01)
    arms, found = measured(("quadratics", task), {"sgd": SGD, "lookahead": LOOKAHEAD}, [], (), 1)
    lr, h = task.lr, task.curvatures
    alone = lr**2 * task.noise**2 / (1 - (1 - lr * h) ** 2)
    q = (1 - lr * h) ** 5
    slow = 0.5**2 * alone * (1 - q**2) / (1 - (1 - 0.5 * (1 - q)) ** 2)
    assert value(found, arms, "sgd", "slow variance") == pytest.approx(alone.mean(), rel=1e-9)
    assert value(found, arms, "lookahead", "slow variance") == pytest.approx(slow.mean(), rel=1e-9)
    assert value(found, arms, "lookahead", "slow loss") == pytest.approx((h * slow).sum() / 2, rel=1e-9)
    assert value(found, arms, "sgd", "settling steps") == pytest.approx(-1 / np.log(1 - lr * h.min()), rel=1e-9)


def test_escape_rates_on_wells_follow_kramers():
    task = landscape_tasks.Well(0, asymmetry=0.1, climb=4.0, steepness=0.04, steps=3000)
    arms, found = measured(("wells", task), {"sgd": SGD}, ["escape rate"])
    rates = value(found, arms, "sgd", "escape rate")
    assert rates.mean() == pytest.approx(kramers_rates(task.model("shallow", 1), task.lr)[1], rel=LAW)


def test_weights_that_never_leave_have_the_rate_of_half_a_crossing():
    task = landscape_tasks.Well(0, asymmetry=0.1, climb=60.0, steepness=0.1, steps=100)
    arms, found = measured(("wells", task), {"sgd": SGD}, ["escape rate", "still there"])
    assert (value(found, arms, "sgd", "still there") == 1).all()
    half = 0.5 / trial.RUNS["wells"]
    assert value(found, arms, "sgd", "escape rate") == pytest.approx(half / 100, rel=0.01)


def test_runs_that_diverge_have_no_basin():
    task = landscape_tasks.Well(0, asymmetry=0.1, climb=1.0, steepness=0.1, steps=100)
    wanted = ["worse basin", "distance", "still there"]
    arms, found = measured(("wells", task), {"sgd": SGD | {"times": 1e3}}, wanted)
    assert all(np.isnan(value(found, arms, "sgd", metric)).all() for metric in wanted)


def test_gradient_descent_without_noise_lags_behind_a_moving_minimum_as_derived():
    task = landscape_tasks.MovingQuadratic(0, modes=2, exponent=1.0, speed=0.01, noise=0.0, steps=400)
    arms, found = measured(("moving", task), {"sgd": {"optimizer": "SGD", "lr": 0.5}}, ["tracking error"])
    h = np.array([1.0, 0.5])
    lag = 0.01 * (1 - 0.5 * h) / (0.5 * h)  # e = (1 - lr*h)(e + speed)
    assert value(found, arms, "sgd", "tracking error") == pytest.approx((h * lag**2).sum() / 2, rel=1e-4)


# ------------------------------------------------------------------------------------------------- rows by a plain run


def test_the_final_basin_is_that_of_a_plain_run():
    task = replace(landscape_tasks.drawn("wells", 3), steps=100)
    tables = {"lookahead": LOOKAHEAD | {"inner": "Adam"}}
    arms, found = measured(("wells", task), tables, ["worse basin", "excess loss"])
    well = task.model("ridge", 4 * trial.RUNS["wells"])
    run = lnb.train(well, None, lnb.Lookahead(lnb.Adam(task.lr), sync_period=5), steps=100, seed=SEED)
    worse = (run.slow > well.ridge).reshape(2, 2, -1).mean(axis=-1)
    assert value(found, arms, "lookahead", "worse basin").ravel().tolist() == worse[:, 1].tolist()
    assert value(found, arms, "lookahead", "worse basin", "choose").ravel().tolist() == worse[:, 0].tolist()
    heights = well.heights(run.slow.astype(np.float64)[:, None]) - well.heights([[well.minima[0]]])
    assert value(found, arms, "lookahead", "excess loss").ravel() == pytest.approx(
        heights.reshape(2, 2, -1).mean(axis=-1)[:, 1], rel=1e-12
    )


def test_tracking_errors_are_those_of_a_plain_sweep():
    task = landscape_tasks.MovingQuadratic(4, modes=3, exponent=1.0, speed=0.02, noise=0.3, steps=80)
    tables = {"adam": {"optimizer": "Adam", "lr": 0.1}}
    arms, found = measured(("moving", task), tables, ["tracking error"])
    rows = lnb.sweep(
        task.model(4 * trial.RUNS["moving"]), None, [lnb.Adam(0.1)], seeds=[SEED], steps=80, eval_every=2,
        progress=False,
    )  # fmt: skip
    late = rows[rows["step"] > 40]["train_loss"].mean()
    halves = [value(found, arms, "adam", "tracking error", half).mean() for half in ("choose", "report")]
    assert np.mean(halves) == pytest.approx(late, rel=1e-5)


def test_a_network_is_tuned_on_the_first_half_of_its_runs_and_reported_on_the_second():
    task = replace(landscape_tasks.drawn("networks", 0), steps=100)
    seeds = [*range(SEED, SEED + 16)]
    arms, found = measured(("networks", task), {"adam": {"optimizer": "Adam"}}, ["training loss"], seeds)
    [row] = trial._reduced(arms["adam"], "training loss", found)
    rates = arms["adam"].grids[0].rates(0, landscape_tasks.PARITY_RATE)
    choose = value(found, arms, "adam", "training loss", "choose")
    assert choose.shape == (2, len(rates))
    best = int(choose[1].argmin())
    losses = [
        lnb.train(
            task.model, task.replicate(seed), lnb.Adam(rates[best]), steps=100, batch_size=task.batch_size, seed=seed,
            eval_every=100,
        ).history["train_loss"].iloc[-1]
        for seed in seeds[12:]
    ]  # fmt: skip
    assert row["r1"] == pytest.approx(np.minimum(losses, landscape_tasks.CHANCE).mean(), rel=1e-7)


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "tables", "seeds", "replicates", "words"),
    [
        ("quadratics", {"a": {"optimizer": "Adam"}}, [], 1, "fixed rate"),
        ("quadratics", {"a": SGD}, [1], 1, "seeds must hold 0"),
        ("quadratics", {"a": SGD}, [], 2, "replicates"),
        ("wells", {"a": SGD}, [1], 1, "replicates"),
        ("wells", {"a": SGD}, [], 2, "seeds must hold 1"),
        ("networks", {"a": SGD}, [1], 2, "seeds must hold 16"),
        ("wells", {"a": SGD | {"schedule": "linear"}}, [1], 2, "constant rate"),
        ("wells", {"a": LOOKAHEAD | {"weights": "fast"}}, [1], 2, "slow weights"),
        ("wells", {"a": SGD | {"length": 2.0}}, [1], 2, "as long as the task"),
    ],
)
def test_arms_and_seeds_that_do_not_fit_are_refused(name, tables, seeds, replicates, words):
    with pytest.raises(ValueError, match=words):
        trial.measure(name, [0], arms_of(tables), seeds, replicates, progress=False)


def test_a_cycle_that_is_not_stable_is_refused():
    arms = arms_of({"a": SGD | {"times": 2.0}})
    number = next(i for i in range(100) if landscape_tasks.drawn("quadratics", i).lr > 1.1)
    with pytest.raises(ValueError, match="must be stable on quadratic"):
        trial.measure("quadratics", [number], arms, [], 1, progress=False)


def test_one_rate_is_given_once():
    with pytest.raises(ValueError, match=r"a\.times must not be given with an lr"):
        arms_of({"a": SGD | {"lr": 0.1}})
    with pytest.raises(ValueError, match=r"a\.grids must be 1"):
        arms_of({"a": SGD | {"grids": 2}})


# -------------------------------------------------------------------------------------------- from a file to a verdict


ENTRY = """
about = "a test"
population = "quadratics"
replicates = 1
metrics = ["slow loss"]
[tasks]
first = 4
[arms.more]
optimizer = "Adam"
times = 1.0
[arms.less]
optimizer = "Adam"
times = 0.5
"""


def test_exact_results_go_from_a_file_to_a_verdict(tmp_path):
    file = tmp_path / "exact.toml"
    file.write_text(ENTRY)
    experiment = experiments.read("exact", file)
    tasks = experiment.chosen(None)
    assert tasks["number"].tolist() == [10_000, 10_001, 10_002, 10_003]
    assert experiment.seeds() == []
    experiments.run(experiment, folder=tmp_path / "rows", progress=False)
    rows = experiments.results(experiment, tmp_path / "rows")
    assert "r1" not in rows
    primary = registry.Contrast("less", ("more",), "slow loss")
    statement = registry.Statement(
        "C02", "8.1", "It is quieter.", "none", "It is quieter.", "plain", population="quadratics", primary=primary
    )
    judged = registry.judge(statement, rows, tasks, experiment.drawn(None)).set_index("class").loc["all"]
    pivot = rows.pivot(index="number", columns="arm", values="r0")
    assert judged["value"] == pytest.approx(np.log(pivot["more"] / pivot["less"]).mean(), rel=1e-9)
    assert (judged["better"], judged["worse"], judged["scale"]) == (4, 0, "ratio")
    assert experiments.differing(experiment, [10_002], tmp_path / "rows", progress=False) == []


def test_an_entry_of_a_population_is_checked(tmp_path):
    file = tmp_path / "exact.toml"
    for old, new, words in (
        ('"quadratics"', '"hills"', "population"),
        ("replicates = 1", "replicates = 2", "replicates"),
        ('"slow loss"', '"test loss"', "metrics"),
        ("first = 4", "first = 4\nquotas = 1", "quotas"),
        ("about", "centres = 'own'\nabout", "centres"),
    ):
        file.write_text(ENTRY.replace(old, new, 1))
        with pytest.raises(ValueError, match=words):
            experiments.read("exact", file)


def test_seeds_follow_from_the_entry(tmp_path):
    file, found = tmp_path / "e.toml", []
    for first in (4, 5):
        text = ENTRY.replace("first = 4", f"first = {first}").replace("replicates = 1", "replicates = 3")
        file.write_text(text.replace('"quadratics"', '"networks"').replace('"slow loss"', '"stuck"'))
        found.append(experiments.read("e", file).seeds())
    assert len(found[0]) == 24
    assert not {*found[0]} & {*found[1]}


def test_more_of_a_distance_is_a_benefit_and_more_of_a_loss_is_none():
    keys = {"number": [1, 1, 1, 1], "arm": ["a", "b"] * 2, "metric": ["distance"] * 2 + ["excess loss"] * 2}
    rows = pytest.importorskip("pandas").DataFrame(keys | {"r0": [2.0, 1.0] * 2, "r1": [4.0, 1.0] * 2})
    for metric, sign in (("distance", 1), ("excess loss", -1)):
        benefit = trial.landscape_benefits(rows, "a", "b", metric).loc[1].tolist()
        assert benefit == pytest.approx([sign * np.log(2), sign * np.log(4)])
    with pytest.raises(ValueError, match="arm must be one with the metric"):
        trial.landscape_benefits(rows, "c", "b", "distance")
