"""The comparison of agents: arms, rows, rates chosen by some seeds and judged by others."""

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.claims.agent_trial import GROUP, HALF, RATES, arms, at_equal_rates, effects, measure

STEPS = 1000  # env_steps of the invented runs


def test_arms_differ_in_what_they_say():
    found = arms(1e-3, 5120)
    adam = found["adam"].inner
    assert all(opt.inner == adam for opt in found.values())
    assert adam.schedule.rates(160)[[0, -1]].tolist() == pytest.approx([1e-3 * 159 / 160, 0])
    assert found["adam"].window == 16
    settings = {name: (opt.sync_period, opt.slow_step_size) for name, opt in found.items() if name != "adam"}
    assert settings == {"k 5": (5, 0.5), "iteration": (16, 0.5), "outer 1.5": (16, 1.5)}
    assert RATES[1] / RATES[0] == 2


def invented(solved, returns=lambda arm, rate, seed, weights: 0.0, seeds=2 * GROUP, names=("adam", "k 5")):
    rows = []
    for arm in names:
        for rate in (0.1, 0.2, 0.4):
            for seed in range(seeds):
                for weights in ("fast", "slow"):
                    row = {"arm": arm, "rate": rate, "seed": seed, "weights": weights}
                    row |= {"solved_at": solved(arm, rate, seed), "mean_return": returns(arm, rate, seed, weights)}
                    rows.append(row | {"whole": 0.0, "diverged_at": np.nan})
    return pd.DataFrame(rows)


def test_each_group_is_judged_at_the_rate_that_the_one_before_it_chose():
    def solved(arm, rate, seed):  # the first group likes 0.2, where the second needs 400; the second likes 0.4
        if arm == "adam":
            return 800.0
        first = seed < GROUP
        return {0.1: 700.0, 0.2: 100.0 if first else 400.0, 0.4: 200.0 if first else 50.0}[rate]

    steps = effects(invented(solved), env_steps=STEPS).set_index(["metric", "arm"]).loc["steps"]
    assert steps.loc["adam", "effect"] == 0
    assert steps.loc["k 5", "rate"] == pytest.approx(np.sqrt(0.2 * 0.4))
    assert steps.loc["k 5", "value"] == pytest.approx(np.sqrt(400 * 200))
    assert steps.loc["k 5", "effect"] == pytest.approx((np.log(400 / 800) + np.log(200 / 800)) / 2)
    half = 12.7062047 * abs(np.log(400 / 200)) / 2  # Student's t for two groups times sd/sqrt(2)
    assert steps.loc["k 5", "high"] - steps.loc["k 5", "effect"] == pytest.approx(half, rel=1e-6)


def test_returns_are_those_of_the_slow_weights_and_the_highest_are_chosen():
    def returns(arm, rate, seed, weights):
        if (arm, weights) == ("adam", "fast"):
            return 100.0
        return {0.1: 0, 0.2: 40, 0.4: 10}[rate] + (300 if weights == "slow" else 0) + (arm == "adam")

    found = effects(invented(lambda *_: np.nan, returns), env_steps=STEPS).set_index(["metric", "arm"])
    assert found.loc[("return", "k 5"), ["rate", "value", "effect"]].tolist() == pytest.approx([0.2, 340, 240])
    assert found.loc[("return", "average"), ["rate", "value", "effect"]].tolist() == pytest.approx([0.2, 341, 241])
    assert found.loc[("return", "adam"), "value"] == 100
    assert np.allclose(found.loc["steps", "value"], STEPS + 512)  # never solved: right after the end


def test_equal_rates_and_half_of_them():
    found = at_equal_rates(
        invented(lambda arm, rate, seed: (rate if arm == "adam" else 2 * rate) * 1000 if rate < 0.4 else np.nan),
        env_steps=STEPS,
    ).set_index(["arm", "rate"])
    assert found.loc["k 5", "effect"].tolist() == pytest.approx([np.log(2), np.log(2), 0])
    assert found.loc["k 5", "solved"].tolist() == [1, 1, 0]
    assert found.loc[HALF, "effect"].tolist() == pytest.approx([np.log(0.5), np.log(200 / 1512)])
    assert found.loc[HALF].index.tolist() == [0.2, 0.4]


def test_seeds_that_do_not_fill_groups_are_refused():
    with pytest.raises(ValueError, match="rows must have a multiple of 4 seeds, at least 8, got 6"):
        effects(invented(lambda *_: 1.0, seeds=6))
    with pytest.raises(ValueError, match="group must be a whole number of at least 1, got 0"):
        effects(invented(lambda *_: 1.0), group=0)


def test_rows_are_those_of_the_runs():
    rows = measure([3, 4], rates=[1e-3, 2e-3], env_steps=1024, hidden=(3,))
    assert len(rows) == 4 * 2 * 2 * 2
    assert rows["arm"].unique().tolist() == ["adam", "k 5", "iteration", "outer 1.5"]
    assert rows["rate"].unique().tolist() == [1e-3, 2e-3]
    assert sorted(rows["seed"].unique()) == [3, 4]
    assert rows["mean_return"].between(5, 500).all()
    pairs = rows.pivot(index=["arm", "rate", "seed"], columns="weights", values="mean_return")
    assert (pairs["fast"] != pairs["slow"]).any()
