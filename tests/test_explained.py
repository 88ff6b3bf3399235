"""What explains benefits: planted dependence is found, noise is not, and disagreement between experiments is seen."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lookahead_nb.claims import experiments, explained, population

pytestmark = pytest.mark.no_kernel


@pytest.fixture(scope="module")
def tasks():
    table = population.population(range(400)).reset_index()
    return table.assign(gain=np.random.default_rng(1).normal(size=400))


def benefits(tasks, values, noise, replicates=4, seed=0):
    rng = np.random.default_rng(seed)
    table = np.asarray(values)[:, None] + noise * rng.normal(size=(len(tasks), replicates))
    return pd.DataFrame(table, pd.Index(tasks["number"], name="number"), [f"r{i}" for i in range(replicates)])


def test_factors_of_tasks(tasks):
    factors = explained.with_factors(tasks)
    for number, task in tasks.set_index("number").head(30).iterrows():
        hidden = (
            [] if pd.isna(task["hidden"]) or task["hidden"] == "" else [int(w) for w in str(task["hidden"]).split("-")]
        )
        assert factors.loc[number, "layers"] == len(hidden)
        assert factors.loc[number, "width"] == max(1, sum(hidden))
    assert factors.notna().all(axis=None)


def test_a_planted_dependence_is_found_on_other_tasks(tasks):
    factors = explained.with_factors(tasks)
    truth = 0.02 * np.log(factors["steps"]) - 0.1 * factors["label_noise"]
    found = explained.explained(benefits(tasks, truth, 0.001), tasks)
    assert found.r2 > 0.99
    assert {*found.weights["factor"].head(2)} == {"steps", "label_noise"}
    even = factors.index % 2 == 0
    steps = found.weights.set_index("factor").loc["steps", "weight"]
    assert steps == pytest.approx(0.02 * np.log(factors["steps"])[even].std(ddof=0), rel=0.05)


def test_noise_is_not_explained(tasks):
    found = explained.explained(benefits(tasks, np.zeros(len(tasks)), 0.01), tasks)
    assert found.r2 < 0.05
    assert found.noise == pytest.approx(1, abs=0.2)


def test_parts_of_a_factor_hold_all_tasks(tasks):
    factors = explained.with_factors(tasks)
    found = explained.by_factor(benefits(tasks, factors["conditioning"], 0.001), tasks)
    of = found[found["factor"] == "conditioning"]
    assert of["tasks"].sum() == len(tasks)
    assert (of["value"].diff().dropna() > 0.1).all()
    assert ((of["least"] <= of["value"]) & (of["value"] <= of["most"])).all()
    layers = found[found["factor"] == "layers"]
    assert layers["least"].tolist() == layers["most"].tolist() == [0, 1, 2]


def test_too_few_tasks_are_refused(tasks):
    few = tasks.head(60)
    with pytest.raises(ValueError, match="benefits must have at least 72 tasks, got 60"):
        explained.explained(benefits(few, np.zeros(60), 1.0), few)


# --------------------------------------------------------------------------------------------------------- agreement


def rows(tasks, gain, seed):
    rng = np.random.default_rng(seed)
    found = []
    for number in tasks["number"]:
        for arm, log in (("a", 0.0), ("b", -gain)):
            values = np.exp(log + 0.01 * rng.normal(size=4))
            keys = {"number": number, "arm": arm, "multiple": 1.0, "metric": "test loss", "tuning": "own"}
            found.append(keys | {f"r{i}": value for i, value in enumerate(values)})
    return pd.DataFrame(found)


def test_experiments_that_agree_and_one_that_does_not(tasks):
    one, two, other = (rows(part, gain, seed) for part, gain, seed in (
        (tasks.head(60), 0.03, 1), (tasks.iloc[20:90], 0.03, 2), (tasks.head(60), 0.05, 3),
    ))  # fmt: skip
    alike = explained.agreements({"one": one, "two": two}, "b", "a")
    assert (alike["tasks"], alike["experiments"]) == (40, "one, two")
    assert alike["p"] > 0.01
    apart = explained.agreements({"one": one, "two": two, "other": other}, "b", "a")
    assert apart["p"] < 1e-6
    assert apart["p"] == pytest.approx(stats.chi2.sf(apart["q"], 2), rel=1e-9)


def test_agreement_needs_two_experiments_that_share_tasks(tasks):
    one, two = rows(tasks.head(5), 0.0, 1), rows(tasks.iloc[4:9], 0.0, 2)
    with pytest.raises(ValueError, match="two experiments with the arms 'b' and 'c', got 0"):
        explained.agreements({"one": one, "two": two}, "b", "c")
    with pytest.raises(ValueError, match="rows must share at least 2 tasks, got 1"):
        explained.agreements({"one": one, "two": two}, "b", "a")


def test_comparisons_that_occur_in_several_committed_experiments_agree():
    names = ("trial", "settings", "short_runs", "optimizers", "adaptive")
    rows = {name: experiments.results(experiments.read(name)) for name in names}
    for arms in (("lookahead", "adamw"), ("lookahead", "adam"), ("lookahead_adam", "adam"), ("adamw", "adam")):
        alike = explained.agreements(rows, *arms)
        assert alike["tasks"] >= 49
        assert alike["p"] > 0.01
