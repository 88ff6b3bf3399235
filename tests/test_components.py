"""Variance components and the reliability of findings, on designs whose truth is known."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.claims import comparing, components
from tests.support import reference

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
TRUTH = {"draw": 1.0, "split": 0.49, "tuning": 0.25, "seed": 0.81, "interaction": 0.16}
SHAPES = {"draw": (1, 0, 0, 0), "split": (1, 1, 0, 0), "tuning": (1, 1, 1, 0), "seed": (1, 1, 0, 1)}
SHAPES["interaction"] = (1, 1, 1, 1)
SIGMAS = 4.9  # once in a million; the numbers are fixed, so a test that passes once passes always


def simulated(rng, size=(5, 2, 2, 4), mean=0.3, truth=TRUTH):
    return (
        mean
        + np.zeros(size)
        + sum(
            math.sqrt(variance) * rng.normal(size=[n if own else 1 for n, own in zip(size, SHAPES[name], strict=True)])
            for name, variance in truth.items()
        )
    )


@pytest.mark.parametrize("size", [(5, 2, 2, 4), (2, 3, 12, 2), (3, 2, 4, 5)])
def test_components_are_those_of_the_analysis_of_variance(size):
    y = simulated(np.random.default_rng(1), size)
    found, expected = components.components(y)._asdict(), reference.nested_anova(y)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["mean"] == pytest.approx(y.mean())


def test_components_have_no_bias():
    rng = np.random.default_rng(2)
    found = pd.DataFrame([components.components(simulated(rng)) for _ in range(3000)])
    error = found.std() / math.sqrt(len(found))
    off = (found.mean() - pd.Series(TRUTH | {"mean": 0.3, "square": 0.09})) / error
    assert off.abs().max() < SIGMAS


@pytest.mark.parametrize(
    ("name", "zero"),
    [
        ("draw", ["split", "tuning", "seed", "interaction"]),
        ("split", ["tuning", "seed", "interaction"]),
        ("tuning", ["seed", "interaction"]),
        ("seed", ["tuning", "interaction"]),
    ],
)
def test_what_does_not_vary_has_no_variance(name, zero):
    found = components.components(simulated(np.random.default_rng(3), truth={name: 1.0}))._asdict()
    assert {other: found[other] for other in zero} == pytest.approx(dict.fromkeys(zero, 0), abs=1e-12)
    assert found[name] > 0.2


def test_components_ignore_a_shift_and_scale_with_the_square():
    y = simulated(np.random.default_rng(4))
    once, moved = (np.array(components.components(values)[2:]) for values in (y, 3 * y + 100))
    assert moved == pytest.approx(9 * once)


def test_choices_that_share_something_are_no_pair():
    """Choices of two blocks on three grids: the variance of both together needs pairs that differ in both."""
    rng, found = np.random.default_rng(5), []
    block, grid = (place.ravel() for place in np.indices((2, 3)))
    pairs = (block[:, None] != block) & (grid[:, None] != grid)
    for _ in range(3000):
        of_block, of_grid = rng.normal(size=(5, 2, 2, 1)), 2 * rng.normal(size=(5, 2, 1, 3))
        y = (of_block + of_grid).reshape(5, 2, 6, 1) + rng.normal(size=(5, 2, 1, 4))
        found.append([components.components(y, independent).tuning for independent in (pairs, None)])
    assert np.mean(found, axis=0)[0] == pytest.approx(1 + 4, abs=0.15)
    assert np.mean(found, axis=0)[1] < 4.5


def test_a_single_choice_has_no_variance_of_its_own():
    found = components.components(simulated(np.random.default_rng(6), (3, 2, 1, 4)))
    assert math.isnan(found.tuning)
    assert math.isnan(found.seed)
    assert math.isfinite(found.draw)


@pytest.mark.parametrize("shape", [(1, 2, 2, 2), (2, 1, 2, 2), (2, 2, 2, 1), (2, 2, 2), (2, 2, 0, 2)])
def test_small_designs_are_refused(shape):
    with pytest.raises(ValueError, match="values must have at least 2 draws"):
        components.components(np.zeros(shape))


@pytest.mark.parametrize("pairs", [np.eye(2, dtype=bool), [[False, True], [False, False]], np.zeros((3, 3), bool)])
def test_wrong_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match="independent must be symmetric"):
        components.components(np.zeros((2, 2, 2, 2)), pairs)


# ----------------------------------------------------------------------------------------------------------- findings


def rows_of(validation, test, guessing=1e9):
    """The rows of a design. Both arrays: (arms, tasks, draws, splits, rates, seeds); arms in the order of ARMS."""
    found = []
    for number, draw, split in np.ndindex(test.shape[1:4]):
        for place, arm in enumerate(comparing.ARMS):
            at = place, number, draw, split
            keys = {"number": number, "draw": draw, "split": split, "arm": arm}
            padded = np.pad(validation[at], ((0, 0), (0, 4))), np.pad(test[at], ((0, 0), (24, 0)))
            found.append(keys | comparing.kept(*padded, guessing))
    return pd.DataFrame(found)


def a_design(rng, tasks=6, noise=0.1):
    """Losses that depend on the rate, the seed, and nothing else."""
    rates = np.abs(np.arange(16) - 7.4)[:, None] * 0.05
    shape = len(comparing.ARMS), tasks, 3, 2, 16
    return rows_of(*(np.exp(rates + noise * rng.normal(size=(*shape, n))) for n in (24, 4)))


def test_findings_are_means_over_reporting_seeds_and_know_other_data_sets_only():
    rng = np.random.default_rng(7)
    test = np.exp(rng.normal(size=(7, 1, 3, 2, 16, 4)))
    validation = np.ones((7, 1, 3, 2, 16, 24))
    validation[..., 5, :] = 0.5  # everybody chooses this rate
    rows = rows_of(validation, test)
    benefit = np.log(test[0, 0, :, :, 5]) - np.log(test[2, 0, :, :, 5])
    found = components.findings(rows, "adam", 6, 4)
    assert len(found) == 3 * 2 * 4  # four choices each, which are the same
    np.testing.assert_allclose(found["benefit"].to_numpy().reshape(3, 2, 4)[..., 0], benefit.mean(-1), atol=1e-4)
    error = benefit.std(-1, ddof=1) / 2
    np.testing.assert_allclose(found["error"].to_numpy().reshape(3, 2, 4)[..., 1], error, atol=1e-4)
    truth = [benefit[[i for i in range(3) if i != draw]].mean() for draw in range(3)]
    np.testing.assert_allclose(found["truth"], np.repeat(truth, 8), atol=1e-4)
    single = components.findings(rows, "adam", 6, 1)
    assert len(single) == 4 * len(found)
    assert single["error"].isna().all()
    with pytest.raises(ValueError, match="reporting_seeds must divide 4, got 3"):
        components.findings(rows, "adam", 6, 3)


def test_table_and_ratios_of_noise_alone():
    parts = components.table(a_design(np.random.default_rng(8)))
    assert set(parts["grid"]) == {"fine", "coarse"}
    assert len(parts) == 6 * 6 * (len(components.SEVERAL) + len(comparing.COARSE))
    fine = parts[(parts["grid"] == "fine") & (parts["arm"] == "adam")]
    assert fine["run"].mean() == pytest.approx(2 * 0.1**2, rel=0.3)
    by_seeds = fine.groupby("tuning_seeds")["tuning"].mean()
    assert by_seeds[1] > by_seeds[6]
    of_tasks = components.ratios(parts, 1)
    own = parts[(parts["tuning_seeds"] == 1) & (parts["grid"] == "fine") & parts["arm"].isin(components.OTHERS)]
    first = own[own["number"] == 0]
    assert of_tasks[0] == pytest.approx(first["tuning"].sum() / first["run"].sum())
    assert comparing.AGAIN not in components.OTHERS


def test_forms_compare_with_one_run_and_with_a_mean():
    keys = {"arm": "adam", "tuning_seeds": 6}
    rows = [{"number": i, "grid": "fine", "tuning": t, "run": 1.0} for i, t in enumerate([0.01, 0.1, 0.4, 0.02])]
    rows += [{"number": i, "grid": "coarse", "tuning": t, "run": 2.0} for i, t in enumerate([0.5, 0.7, 0.8, 0.9])]
    mean, coarse, single = components.forms(pd.DataFrame(rows).assign(**keys)).to_dict("records")
    assert (mean["share"], coarse["share"], single["share"]) == (0.5, 0.75, 0.25)
    assert mean["middle"] == pytest.approx(6 * 0.06)
    assert mean["low"] < 0.5 < mean["high"]


def test_pooled_components_have_a_variance_between_tasks():
    rng, effects = np.random.default_rng(9), np.array([-1.0, 1.0, 3.0])
    frame = [
        {"number": i, "arm": "adam", "grid": "fine", "tuning_seeds": 1, "run": 0.0}
        | components.components(simulated(rng, (40, 2, 2, 4), effect, {"draw": 0.01}))._asdict()
        for i, effect in enumerate(effects)
    ]
    (row,) = components.pooled(pd.DataFrame(frame)).to_dict("records")
    assert row["task"] == pytest.approx(np.var(effects, ddof=1), abs=0.2)
    assert row["draw"] == pytest.approx(0.01, abs=0.005)
    assert row["mean"] == pytest.approx(1, abs=0.05)


PAPERS = pd.DataFrame(
    {
        "number": [0, 0, 1, 1, 2, 2],
        "benefit": [0.02, 0.03, 0.01, -0.01, 0.04, -0.02],
        "error": [0.001, 0.1, 0.01, 0.001, 0.01, 0.001],
        "truth": [0.01, 0.02, -0.01, 0.01, 0.02, 0.02],
    }
)


def test_reliability_counts_what_is_false():
    found = components.reliability(PAPERS, PAPERS["benefit"] > 0)
    assert found.share == 4 / 6
    assert found.false == 1 / 4
    assert found.kept == pytest.approx((0.01 + 0.02 - 0.01 + 0.02) / 0.1)
    assert 0 <= found.false_low <= found.false <= found.false_high <= 1
    nothing = components.reliability(PAPERS, PAPERS["benefit"] > 1)
    assert nothing.share == 0
    assert all(math.isnan(value) for value in nothing[1:])


def test_significance_is_that_of_a_paired_t_test():
    from scipy import stats

    rng = np.random.default_rng(10)
    papers = 0.8 + rng.normal(size=(300, 4))
    frame = pd.DataFrame({"benefit": papers.mean(1), "error": papers.std(1, ddof=1) / 2})
    p = stats.ttest_1samp(papers, 0, axis=1).pvalue
    assert (components.significant(frame, 4) == np.where(p < 0.05, np.sign(papers.mean(1)), 0)).all()
    assert np.count_nonzero(components.significant(frame, 4, 0.99)) < np.count_nonzero(p < 0.05)


def test_benchmarks_take_one_paper_of_each_task():
    frame = pd.DataFrame({"number": np.repeat(range(20), 3), "benefit": np.repeat(np.arange(20.0), 3), "error": 0.5})
    found = components.benchmarks(frame.assign(truth=1.0), tasks=20, number=5)
    assert found["benefit"].tolist() == pytest.approx([9.5] * 5)
    assert found["error"].tolist() == pytest.approx([np.arange(20).std(ddof=1) / math.sqrt(20)] * 5)
    assert found["error_seeds"].tolist() == pytest.approx([0.5 / math.sqrt(20)] * 5)
    assert found["truth"].tolist() == [1.0] * 5
    eight = components.benchmarks(frame.assign(truth=1.0), number=4000)
    spread = np.arange(20).std() * math.sqrt((1 / 8) * 12 / 19)  # without replacement
    assert eight["benefit"].std() == pytest.approx(spread, rel=0.05)


def test_share_above_counts_ties():
    found = components.share_above([0.1, 1 / 3, 0.5, 2.0], 1 / 3)
    assert found.value == 0.75
    assert found.low < 0.75 < found.high


def test_seeds_needed_undo_the_power_law():
    c, g = components.power_law([1, 2, 4], [0.01, 0.01 / 2**0.7, 0.01 / 4**0.7])
    assert (c, g) == (pytest.approx(0.01), pytest.approx(0.7))
    n = components.seeds_needed(0.05, c, g, run=0.002, reporting_seeds=10)
    assert 1.96 * math.sqrt(c * n**-g + 0.002 / 10) == pytest.approx(0.05, rel=1e-4)
    assert components.seeds_needed(1.0, c, g) == 1
    assert components.seeds_needed(0.01, c, g, run=0.002, reporting_seeds=4) == math.inf
    with pytest.raises(ValueError, match="seeds and variances must be alike"):
        components.power_law([1, 2], [1.0])


def test_what_is_needed_makes_the_difference_significant():
    keys = {"arm": "adam", "split": 0.002, "draw": -0.001, "run": 0.01, "mean": 0.0, "task": 0.0}
    whole = pd.DataFrame(
        [
            keys | {"grid": grid, "tuning_seeds": n, "tuning": c / n}
            for grid, c, numbers in (("fine", 0.01, components.SEVERAL), ("coarse", 0.04, (1, 3, 6, 12)))
            for n in numbers
        ]
    )
    row = components.needed(whole, [0.05]).loc[0.05]
    squares = (1.959963984540054 / 0.05) ** 2
    assert row["fine"] == math.ceil(0.01 * squares)
    assert row["coarse"] == math.ceil(0.04 * squares)
    assert row["reporting"] == math.ceil(0.01 * squares)
    assert components.needed(whole, [0.005]).loc[0.005, "coarse"] == math.inf
    assert row["repeats"] == math.ceil((0.01 + 0.01 + 0.002) * squares)


def test_sources_have_as_many_reporting_as_tuning_seeds():
    whole = pd.DataFrame(
        [{"grid": "fine", "arm": arm, "tuning_seeds": 3, "tuning": 3.0, "run": 6.0, "split": 1.0, "draw": 2.0}
         for arm in comparing.ARMS]
    )  # fmt: skip
    found = components.sources(whole, [3]).set_index("source")["variance"].to_dict()
    assert found == {"choice of the rate": 3.0, "reporting seeds": 2.0, "split": 1.0, "data set": 2.0}


def test_tables_of_noise_alone():
    rows = a_design(np.random.default_rng(11))
    itself = components.against_itself(rows)
    assert len(itself) == len(comparing.FINE) + len(comparing.COARSE)
    assert itself["share"].between(0, 0.35).all()
    assert (itself["large"] <= itself["share"]).all()
    false = components.false_findings(rows, [0.0])
    assert len(false) == 3 * len(itself)  # any benefit of 1 and 4 seeds, significant ones of 4
    any_benefit = false[false["above"] == 0]
    assert any_benefit["share"].between(0.3, 0.7).all()
    luck = components.luck(components.table(rows)).set_index(["grid", "tuning_seeds"])
    assert (luck["lower"] <= luck["middle"]).all()
    assert (luck["middle"] <= luck["upper"]).all()
    more = pd.concat([rows.assign(number=rows["number"] + 6 * i) for i in range(2)])
    assert set(components.of_benchmarks(more)["arm"]) == {comparing.AGAIN, *components.OTHERS}


def test_the_outcome_of_t2_is_that_of_its_rows():
    outcome = tomllib.loads((ROOT / "data/claims/T2.toml").read_text(encoding="utf-8"))["outcome"]
    rows = comparing.results()
    for share in components.forms(components.table(rows))[["share", "low", "high"]].to_numpy():
        assert "{:.0f} % [{:.0f}, {:.0f}]".format(*100 * share) in outcome
    itself = components.against_itself(rows).set_index(["grid", "tuning_seeds"]).loc[("coarse", 3)]
    assert "{:.0f} % [{:.0f}, {:.0f}]".format(*100 * itself[["share", "low", "high"]]) in outcome
    papers = pd.concat([components.findings(rows, arm, 3, 1, "coarse") for arm in components.OTHERS])
    for limit in (0.0, 0.01):
        false = components.reliability(papers, papers["benefit"] > limit).false
        assert f"{100 * false:.0f} %" in outcome
