"""Shares of replicas in the two basins, counted run by run."""

from functools import cache

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.models.landscapes import DoubleWell, Quadratic
from lookahead_nb.theory import escapes
from lookahead_nb.theory.escapes import crossings, escape_rates, kramers_rates, occupancy

# At this barrier, about three temperatures high, Kramers' law is too large by a tenth (2000 replicas: 0.04 of noise).
LAW = 0.25

SGD, ADAMW = lnb.SGD(0.05), lnb.AdamW(0.1)
CONFIGS = [SGD, lnb.Lookahead(SGD, sync_period=3), ADAMW, lnb.Lookahead(ADAMW, sync_period=3, pull_back=False)]
WELL = DoubleWell(0.05, barrier=0.1, noise=5.0, start=-1.0, replicas=32)


def test_occupancy_counts_the_replicas_of_every_run():
    at, seeds = [2, 9], [7, 3]
    rows = occupancy(WELL, CONFIGS, at=at, seeds=seeds, dtype="float64")
    expected = []
    for opt in CONFIGS:
        for seed in seeds:
            for step in at:
                run = lnb.train(WELL, None, opt, steps=step, seed=seed, dtype="float64")
                for kind, weights in (("fast", run.params), ("slow", run.slow)):
                    if weights is not None:
                        left = np.count_nonzero(weights < WELL.ridge)
                        expected.append((opt.settings()["optimizer"], seed, step, kind, left / 32, 1 - left / 32))
    columns = ["optimizer", "seed", "step", "weights", "left", "right"]
    assert [*rows[columns].itertuples(index=False, name=None)] == expected
    assert rows.right.between(0.01, 0.99).any()  # some have crossed, some not


def test_occupancy_is_ordered_as_a_sweep_with_its_settings():
    rows = occupancy(WELL, CONFIGS, at=[3, 6], seeds=2)
    history = lnb.sweep(WELL, None, CONFIGS, seeds=2, steps=6, eval_at=[3, 6], progress=False)
    history = history[history.step > 0].reset_index(drop=True)
    shared = [name for name in rows.columns if name in history.columns]
    assert [*rows.columns] == [*shared, "left", "right"]
    assert rows[shared].equals(history[shared])


def test_occupancy_hangs_neither_on_threads_nor_on_neighbours(monkeypatch):
    whole = occupancy(WELL, CONFIGS, at=[5], seeds=3)
    monkeypatch.setattr(escapes, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    assert occupancy(WELL, CONFIGS, at=[5], seeds=3).equals(whole)


def test_a_run_that_diverged_is_in_no_basin():
    with np.errstate(all="ignore"):
        rows = occupancy(DoubleWell(replicas=3), [SGD, lnb.SGD(10.0)], at=[1, 30], seeds=1)
    assert rows.right.iloc[:3].tolist() == [1, 1, 0]  # the first step of the second goes far across the ridge
    assert rows[["left", "right"]].iloc[3].isna().all()


# ------------------------------------------------------------------------------------------------ rates


def test_crossings_are_those_of_replicas_from_both_minima_and_the_ridge():
    well = DoubleWell(-0.05, barrier=0.1, noise=12.0, start=3.0, spread=0.2, replicas=8)
    at, seeds, configs = [2, 6], [5, 1], [*CONFIGS[:2], lnb.AdamW(2.0, beta1=0.0)]
    rows = crossings(well, configs, at=at, seeds=seeds, dtype="float64")
    starts = [(well.minima[0], 0), (well.minima[1], 0), (well.ridge, 0.2)]
    wells = [DoubleWell(-0.05, barrier=0.1, noise=12.0, start=x, spread=s, replicas=8) for x, s in starts]
    assert rows[["optimizer", "seed"]].to_numpy().tolist() == [
        [opt.settings()["optimizer"], seed] for opt in configs for seed in seeds
    ]
    read = rows.step.to_numpy().reshape(len(configs), 2)
    for i, opt in enumerate(configs):

        @cache
        def across(well, seed, step, sign, opt=opt):
            run = lnb.train(well, None, opt, steps=step, seed=seed, dtype="float64")
            return (well.basin(run.params if run.slow is None else run.slow) == sign).mean()

        crossed = [sum(across(wells[0], s, t, 1) + across(wells[1], s, t, -1) for s in seeds) / 2 for t in at]
        expected = max([t for t, share in zip(at, crossed, strict=True) if share <= 0.75], default=at[0])
        assert read[i].tolist() == [expected] * 2
        for row in rows[2 * i : 2 * i + 2].itertuples():
            assert row.crossed_left == across(wells[0], row.seed, expected, 1)
            assert row.crossed_right == across(wells[1], row.seed, expected, -1)
            rates = escape_rates(row.crossed_left, row.crossed_right, expected)
            np.testing.assert_array_equal((row.rate_left, row.rate_right), rates)
            assert row.deeper == across(wells[2], row.seed, 6, 1)
    assert len({*rows.step}) > 1


def test_configurations_and_seeds_of_crossings_may_be_iterators():
    listed = crossings(WELL, CONFIGS[:2], at=[5], seeds=[3, 1])
    assert len(listed) == 4
    pd.testing.assert_frame_equal(crossings(WELL, iter(CONFIGS[:2]), at=iter([5]), seeds=iter([3, 1])), listed)


def test_crossings_of_a_run_that_diverged_are_missing():
    with np.errstate(all="ignore"):
        rows = crossings(DoubleWell(0.1, replicas=2), [lnb.SGD(10.0)], at=[30], seeds=1)
    assert rows[["crossed_left", "crossed_right", "rate_left", "rate_right", "deeper"]].isna().all(axis=None)


def test_escape_rates_are_those_of_the_chain_they_come_from(rng):
    left, right = rng.uniform(0.001, 0.1, (2, 50))
    steps = np.ceil(rng.uniform(0.1, 3, 50) / (left + right))
    generator = np.array([[-left, left], [right, -right]]).transpose(2, 0, 1)
    values, vectors = np.linalg.eig(generator)  # an exponential of its own, by the eigenvalues
    shares = (vectors * np.exp(values * steps[:, None])[:, None]) @ np.linalg.inv(vectors)
    got = escape_rates(shares[:, 0, 1], shares[:, 1, 0], steps)
    np.testing.assert_allclose(got, [left, right], rtol=1e-12)  # 1 - shares loses a factor exp(3)


def test_escape_rates_where_nothing_or_everything_has_crossed():
    assert escape_rates(0.0, 0.0, 10) == (0, 0)
    assert escape_rates(0.0, 0.5, 10) == (0, pytest.approx(np.log(2) / 10))
    assert np.isnan(escape_rates([0.5, 0.9, np.float64(1)], [0.5, 0.2, 0], 10)).all()


def test_kramers_law_worked_out_by_hand():
    # Without tilt: minima at -1 and 1, curvature 8*barrier; ridge at 0, curvature -4*barrier, as high as the barrier.
    well = DoubleWell(0, barrier=0.5, noise=2.0)
    expected = 0.01 * np.sqrt(4 * 2) / (2 * np.pi) * np.exp(-0.5 / (0.01 * 4 / 2))
    assert kramers_rates(well, 0.01) == pytest.approx((expected, expected), rel=1e-12)
    left, right = kramers_rates(DoubleWell(0.1, barrier=0.5, noise=2.0), 0.1)
    assert left < right  # out of the deeper basin, which a positive tilt makes the left one


@pytest.mark.jit
def test_gradient_descent_leaves_basins_at_about_the_rates_of_kramers():
    well, steps = DoubleWell(0.1, barrier=0.5, noise=3.0), 3000
    crossed = []
    for start, far in zip(well.minima, ("right", "left"), strict=True):
        started = DoubleWell(0.1, barrier=0.5, noise=3.0, start=start, replicas=2000)
        crossed.append(occupancy(started, [lnb.SGD(0.03)], at=[steps], seeds=1)[far].iloc[0])
    ratio = np.array(escape_rates(*crossed, steps)) / kramers_rates(well, 0.03)
    assert (np.abs(ratio - 1) < LAW).all()


BAD = {
    "shares": (lambda: escape_rates(0.2, [0.1, 1.5], 5), ValueError, r"from_right\[1\] must .*got 1\.5"),
    "share text": (lambda: escape_rates("0.1", 0.1, 5), TypeError, "from_left must .*'0.1'"),
    "steps": (lambda: escape_rates(0.2, 0.1, 0), ValueError, "steps must .*above 0, got 0"),
    "crossings of a bowl": (lambda: crossings(Quadratic([1.0]), CONFIGS, at=[1], seeds=1), TypeError, "well must be"),
    "crossings of no tilt": (lambda: crossings(DoubleWell(0), CONFIGS, at=[1], seeds=1), ValueError, "well .* tilt"),
    "law of a bowl": (lambda: kramers_rates(Quadratic([1.0], noise=1.0), 0.1), TypeError, "well must be a DoubleWell"),
    "law without noise": (lambda: kramers_rates(DoubleWell(), 0.1), ValueError, "well must have noise .*got 0"),
    "law at lr 0": (lambda: kramers_rates(WELL, 0), ValueError, "lr must be .*above 0, got 0"),
    "well": (
        lambda: occupancy(Quadratic([1.0]), CONFIGS, at=[1], seeds=1),
        TypeError,
        "well must be a DoubleWell, got",
    ),
    "at": (lambda: occupancy(WELL, CONFIGS, at=[3, 3], seeds=1), ValueError, r"at must .*got \[3, 3\]"),
    "configs": (lambda: occupancy(WELL, SGD, at=[1], seeds=1), TypeError, "configs must be a list"),
    "seeds": (lambda: occupancy(WELL, CONFIGS, at=[1], seeds=0), ValueError, "seeds must .*got 0"),
    "dtype": (lambda: occupancy(WELL, CONFIGS, at=[1], seeds=1, dtype="int8"), ValueError, "dtype must .*'int8'"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name_and_value(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()
