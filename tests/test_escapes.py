"""Shares of replicas in the two basins, counted run by run."""

import numba
import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.escapes import occupancy
from lookahead_nb.landscapes import DoubleWell, Quadratic

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
    monkeypatch.setitem(occupancy.__globals__, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    assert occupancy(WELL, CONFIGS, at=[5], seeds=3).equals(whole)


def test_a_run_that_diverged_is_in_no_basin():
    with np.errstate(all="ignore"):
        rows = occupancy(DoubleWell(replicas=3), [SGD, lnb.SGD(10.0)], at=[1, 30], seeds=1)
    assert rows.right.iloc[:3].tolist() == [1, 1, 0]  # the first step of the second goes far across the ridge
    assert rows[["left", "right"]].iloc[3].isna().all()


BAD = {
    "well": (
        lambda: occupancy(Quadratic([1.0]), CONFIGS, at=[1], seeds=1),
        TypeError,
        "well must be a DoubleWell, not",
    ),
    "at": (lambda: occupancy(WELL, CONFIGS, at=[3, 3], seeds=1), ValueError, r"at must .*not \[3, 3\]"),
    "configs": (lambda: occupancy(WELL, SGD, at=[1], seeds=1), TypeError, "configs must be a list"),
    "seeds": (lambda: occupancy(WELL, CONFIGS, at=[1], seeds=0), ValueError, "seeds must .*not 0"),
    "dtype": (lambda: occupancy(WELL, CONFIGS, at=[1], seeds=1, dtype="int8"), ValueError, "dtype must .*'int8'"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name_and_value(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()
