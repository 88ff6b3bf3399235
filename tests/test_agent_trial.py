"""The trial of agents: arms, grids, rates that some seeds choose for others, and rows from a file to an estimate."""

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import agent_trial as trial
from lookahead_nb.claims import experiments, landscape_trial, registry
from lookahead_nb.claims.trial_arms import Grid, arms_of

ADAM = {"optimizer": "Adam", "eps": 1e-5, "schedule": "linear"}
LOOKAHEAD = {"optimizer": "Lookahead", "inner": "Adam", "sync_period": 5, "slow_step_size": 0.5}
AVERAGED = {"optimizer": "EMA", "inner": "Adam", "window": "steps/10", "weights": "fast"}
SEEDS = [2**40 + i for i in range(trial.CHOOSERS + 3)]  # of 3 replicates
NEVER = 102_400 + 512


# --------------------------------------------------------------------------------------------------- what is registered


def test_arms_differ_in_what_they_say():
    arms = experiments.read("agents").arms
    opts = {name: arm.grids[0].optimizer(0.002, 3200) for name, arm in arms.items()}
    adam = lnb.Adam(lnb.schedules.linear(0.002, 3200), eps=1e-5)
    assert opts["adam_again"] == adam
    assert opts["adam"] == opts["average"] == lnb.EMA(adam, window=320)
    assert (arms["adam"].weights, arms["average"].weights) == ("fast", "slow")
    for name, period, step in (("lookahead", 5, 0.5), ("lookahead_by_iteration", 16, 0.5), ("outer_step", 16, 1.5)):
        expected = lnb.Lookahead(adam, sync_period=period, slow_step_size=step)
        assert opts[name] == opts[f"{name}_at_one_rate"] == expected
        assert arms[f"{name}_at_one_rate"].grids[0].lr == arms["adam_at_one_rate"].grids[0].lr == 0.002
    assert arms["adam_at_half_the_rate"].grids[0].lr == 0.5 * 0.002
    assert arms["adam_at_more_of_the_rate"].grids[0].lr == 1.5 * 0.002
    assert lnb.agents.PPO().steps_of_iteration == 16


def test_each_grid_lies_around_its_own_centre_with_its_own_shift():
    arms = arms_of({"adam": ADAM, "other": ADAM, "lookahead": LOOKAHEAD})
    grids = {name: arm.grids[0] for name, arm in arms.items()}
    adam, lookahead = (trial.rates_of(grids[name], 10_000) for name in ("adam", "lookahead"))
    assert np.array(adam[1:]) / adam[:-1] == pytest.approx(trial.SPACING)
    for name, rates, centre in (("adam", adam, trial.CENTRE), ("lookahead", lookahead, 2 * trial.CENTRE)):
        shift = np.log(rates[0] / centre) / np.log(trial.SPACING) + trial.RATES / 2
        assert shift == pytest.approx(grids[name].shift(10_000))
    assert len({grid.shift(number) for grid in grids.values() for number in (10_000, 10_001)}) == 6


def test_other_settings_of_the_agents_are_another_entry(monkeypatch):
    before = experiments.read("agents")
    assert not {*before.seeds()} & {*before.seeds(1), *range(24)}
    assert len(before.seeds()) == trial.CHOOSERS + before.replicates
    monkeypatch.setattr(trial, "ENV_STEPS", 51_200)
    assert experiments.read("agents").sha256 != before.sha256


# -------------------------------------------------------------------------------------------------------------- choices


def invented(monkeypatch, solved, returns):
    """Let runs have invented results, from learning rate and place of the seed; choosers are the first two seeds."""

    def sweep(policy, opts, *, seeds, env_steps):
        assert (policy.hidden, env_steps) == ((64, 64), 102_400)
        rows = []
        for config, (grid, rate) in enumerate(opts):
            for seed in seeds:
                place = (seed - 7) % 2**40
                row = {"config": config, "seed": seed, "solved_at": solved(rate, place)}
                for weights in ("fast", "slow")[: 1 + bool(grid.around)]:
                    rows.append(row | {"weights": weights, "mean_return": returns(rate, place, weights)})
        return pd.DataFrame(rows)

    monkeypatch.setattr(Grid, "optimizer", lambda grid, rate, steps: (grid, rate))
    monkeypatch.setattr(trial, "rates_of", lambda grid, number: [grid.lr] if grid.fixed else [0.1, 0.2, 0.4])
    monkeypatch.setattr(trial, "RATES", 3)
    monkeypatch.setattr(trial, "sweep", sweep)


def rows_of(tables, **how):
    rows = trial.measure([7], arms_of(tables), SEEDS, 3, progress=False, **how)
    return rows.set_index(["arm", "metric"])


def test_a_group_is_reported_at_the_rate_that_its_first_seeds_choose(monkeypatch):
    chooser = {0.1: (900, 100), 0.2: (310, 300), 0.4: (200, 500)}  # by geometric means 0.1 is best, by sums 0.2
    invented(
        monkeypatch, lambda rate, place: chooser[rate][place] if place < 2 else 1000 * rate + place, lambda *_: 1.0
    )
    rows = rows_of({"adam": ADAM | {"lr": 0.4}, "tuned": ADAM})
    assert rows.loc[("tuned", trial.STEPS), ["r0", "r1", "r2"]].tolist() == [102, 103, 104]
    assert rows.loc[("tuned", trial.RATE), ["r0", "r1", "r2"]].tolist() == [0.1, 0.1, 0.1]
    assert rows.loc[("tuned", trial.STEPS), ["lowest", "highest", "rates"]].tolist() == [1, 0, 3]
    assert rows.loc[("adam", trial.STEPS), ["r0", "r1", "r2"]].tolist() == [402, 403, 404]
    assert rows.loc[("adam", trial.RATE), "r0"] == 0.4
    assert rows.loc[("adam", trial.STEPS), ["lowest", "highest"]].isna().all()


def test_returns_are_those_of_the_weights_of_the_arm_and_have_a_rate_of_their_own(monkeypatch):
    def returns(rate, place, weights):
        best = {"fast": 0.2, "slow": 0.4}[weights]
        return (300 if rate == best else 100) + place + (50 if weights == "slow" else 0)

    invented(monkeypatch, lambda rate, place: 100 / rate, returns)
    rows = rows_of({"adam": AVERAGED, "average": {"runs_of": ["adam"]}, "lookahead": LOOKAHEAD})
    assert rows.loc[("adam", trial.RETURN), ["r0", "r2", "highest"]].tolist() == [302, 304, 0]
    assert rows.loc[("average", trial.RETURN), ["r0", "r2", "highest"]].tolist() == [352, 354, 1]
    assert rows.loc[("lookahead", trial.RETURN), "r0"] == 352
    assert rows.loc[("adam", trial.STEPS), "r0"] == 250
    assert ("average", trial.STEPS) not in rows.index
    assert ("average", trial.RATE) not in rows.index


def test_of_equal_returns_the_one_solved_first_is_chosen(monkeypatch):
    invented(
        monkeypatch, lambda rate, place: {0.1: 300, 0.2: 200, 0.4: 100}[rate], lambda rate, *_: 500 - (rate == 0.4)
    )
    rows = rows_of({"adam": ADAM}, metrics=[trial.RETURN])
    assert rows.loc[("adam", trial.RETURN), ["r0", "lowest", "highest"]].tolist() == [500, 0, 0]
    invented(monkeypatch, lambda rate, place: {0.1: 300, 0.2: 200, 0.4: 100}[rate], lambda *_: 500.0)
    assert rows_of({"adam": ADAM}).loc[("adam", trial.RETURN), "highest"] == 1


def test_what_is_never_solved_counts_right_after_the_end_and_a_diverged_run_as_nothing(monkeypatch):
    invented(monkeypatch, lambda *_: np.nan, lambda rate, *_: 300.0 if rate == 0.2 else np.nan)
    rows = rows_of({"adam": ADAM, "diverged": ADAM | {"lr": 0.4}})
    assert rows.loc[("adam", trial.STEPS), "r0"] == NEVER
    assert rows.loc[("adam", trial.RETURN), "r0"] == 300
    assert rows.loc[("diverged", trial.RETURN), ["r0", "r1", "r2"]].tolist() == [0, 0, 0]


def test_the_number_of_runs_is_the_most_that_a_group_takes(monkeypatch):
    counted = []
    invented(monkeypatch, lambda rate, place: rate, lambda rate, *_: rate)  # each metric chooses another rate
    sweep = trial.sweep
    monkeypatch.setattr(
        trial, "sweep", lambda p, o, **how: counted.append(len(o) * len(how["seeds"])) or sweep(p, o, **how)
    )
    arms = arms_of({"adam": AVERAGED, "fixed": ADAM | {"lr": 0.1}, "lookahead": LOOKAHEAD})
    trial.measure([7], arms, SEEDS, 3, progress=False)
    assert sum(counted) == trial.runs_per_group(arms, 3) == 2 * 3 * 2 + 5 * 3


def test_benefits_are_on_their_scales():
    keys = [(arm, metric) for metric in trial.METRICS for arm in ("a", "b")]
    numbers = [100.0, 200.0, 450.0, 400.0, 0.02, 0.01]
    rows = pd.DataFrame([
        {"number": 1, "arm": arm, "metric": metric, "r0": number, "r1": number}
        for (arm, metric), number in zip(keys, numbers, strict=True)
    ])  # fmt: skip
    for metric, expected in zip(trial.METRICS, (np.log(2), 0.1, np.log(2)), strict=True):
        found = landscape_trial.landscape_benefits(rows, "a", "b", metric, trial.METRICS)
        assert found.loc[1].tolist() == pytest.approx([expected] * 2)
        assert registry.Contrast("a", ("b",), metric).scale == trial.METRICS[metric].scale


# ---------------------------------------------------------------------------------------------------- from runs to rows


@pytest.fixture
def small(monkeypatch):
    for name, value in {"ENV_STEPS": 1024, "HIDDEN": (3,), "RATES": 2}.items():
        monkeypatch.setattr(trial, name, value)


@pytest.mark.jit
def test_rows_are_those_of_the_runs(small):
    arms = arms_of({"tuned": LOOKAHEAD, "fixed": ADAM | {"lr": 0.01}})
    rows = trial.measure([3], arms, SEEDS, 3, progress=False).set_index(["arm", "metric"])

    def returns(name, rate, seeds):
        opt, policy = arms[name].grids[0].optimizer(rate, 32), lnb.agents.Policy((3,))
        runs = [lnb.agents.train(policy, opt, seed=seed + 3, env_steps=1024, evaluations=1) for seed in seeds]
        return [run.evaluations["mean_return"].iloc[-1] for run in runs]  # of the slow weights, where there are some

    values = ["r0", "r1", "r2"]
    rates = trial.rates_of(arms["tuned"].grids[0], 3)
    best = max(rates, key=lambda rate: np.mean(returns("tuned", rate, SEEDS[:2])))
    for name, rate in (("tuned", best), ("fixed", 0.01)):
        assert rows.loc[(name, trial.RETURN), values].tolist() == pytest.approx(
            returns(name, rate, SEEDS[2:]), rel=1e-7
        )
        assert rows.loc[(name, trial.STEPS), values].tolist() == [1024 + 512] * 3


ENTRY = """
about = "a test"
population = "agents"
replicates = 2
[tasks]
first = 3
[arms.one]
optimizer = "Adam"
lr = 0.01
[arms.two]
optimizer = "Adam"
lr = 0.02
"""


@pytest.mark.jit
def test_agents_go_from_a_file_to_a_measured_forecast(small, tmp_path):
    file = tmp_path / "few.toml"
    file.write_text(ENTRY)
    experiment = experiments.read("few", file)
    tasks = experiment.chosen(None)
    assert tasks["number"].tolist() == [10_000, 10_001, 10_002]
    assert experiment.runs(tasks) == 3 * 2 * 2
    paths = experiments.run(experiment, folder=tmp_path / "rows", progress=False)
    assert [path.name for path in paths] == ["00.csv", "01.csv"]
    rows = experiments.results(experiment, tmp_path / "rows")
    primary = registry.Contrast("two", ("one",), trial.RETURN)
    statement = registry.Statement(
        "C24", "7.1", "It will be used.", "none", "Measured.", "forecast", population="agents", primary=primary
    )
    judged = registry.judge(statement, rows, tasks, experiment.drawn()).set_index("class").loc["all"]
    of_arm = rows[rows["metric"] == trial.RETURN].set_index("arm")[["r0", "r1"]]
    gain = (of_arm.loc["two"].to_numpy() - of_arm.loc["one"].to_numpy()).mean() / 500
    assert judged["value"] == pytest.approx(gain, rel=1e-9)
    assert (judged["scale"], judged["margin"], judged["verdict"]) == ("return", 0.01, "a forecast: not judged")
    assert experiments.differing(experiment, [10_001], tmp_path / "rows", progress=False) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": SEEDS[1:]}, "seeds must hold 5 for 3 replicates, got 4"),
        ({"replicates": 1}, "replicates must be a whole number of at least 2, got 1"),
        ({"metrics": ["loss"]}, "metrics must be of 'steps until solved', .*, got 'loss'"),
        ({"arms": {"a": ADAM | {"length": 2.0}}}, "a must be read at the end of runs of 102400 steps on 'agents'"),
        ({"arms": {"a": ADAM | {"times": 1.0}}}, "a must have one grid of learning rates on 'agents', or one lr"),
        ({"arms": {"a": ADAM | {"grids": 2}}}, "a must have one grid of learning rates on 'agents', or one lr"),
    ],
)
def test_what_does_not_fit_is_refused_ahead_of_any_run(change, words, monkeypatch):
    monkeypatch.setattr(trial, "sweep", lambda *_, **__: pytest.fail("trained"))
    how = {"numbers": [1], "arms": {"a": ADAM}, "seeds": SEEDS, "replicates": 3, "progress": False} | change
    with pytest.raises(ValueError, match=words):
        trial.measure(**how | {"arms": arms_of(how["arms"])})


def test_an_entry_is_checked(tmp_path):
    file = tmp_path / "few.toml"
    for old, new, words in (
        ("replicates = 2", "replicates = 1", "replicates"),
        ("first = 3", "first = 1", "first"),
        ("about", "metrics = ['test loss']\nabout", "metrics"),
        ("about", "centres = 'own'\nabout", "centres"),
    ):
        file.write_text(ENTRY.replace(old, new, 1))
        with pytest.raises(ValueError, match=words):
            experiments.read("few", file)
