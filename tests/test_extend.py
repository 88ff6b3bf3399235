"""Sweeps on a store that another request has made: what is stored is used, and the rows are those of a fresh sweep."""

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.__main__ import main
from lookahead_nb.datasets import from_arrays
from lookahead_nb.training import plan, request
from lookahead_nb.training.store import MANIFEST, DamageError, Store

pytest.importorskip("pyarrow")
COMPILED = not numba.config.DISABLE_JIT
HOW: dict = {"steps": 12 if COMPILED else 4, "batch_size": 4, "eval_every": 3, "progress": False}
INNER = lnb.AdamW(0.02)
LOOKAHEAD = lnb.Lookahead(INNER, sync_period=2)
MODEL = lnb.MLP((4, 3, 2))
SMALL = [*lnb.grid(LOOKAHEAD, lr=[0.01, 0.02]), INNER]
OTHERS = [
    lnb.SGD(0.1, momentum=0.5),
    lnb.Lookahead(INNER, slow_step_size="adaptive"),
    lnb.Lookahead(INNER, slow_step_size=(0.3, 0.9), inner_state="interpolate"),
    lnb.ScheduleFreeAdamW(lnb.schedules.constant(0.02, warmup=3)),
    lnb.EMA(INNER, window=5),
    lnb.Lookahead(INNER, outer_momentum=0.5),
    lnb.SGD(1e30),  # diverges
]


@cache
def problem(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 1, (40, 4))
    return from_arrays(X, (X[:, 0] * X[:, 1] > 0).astype(int))


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", 4)


def swept(configs, seeds, store=None, data=problem, **changes):
    data = problem() if data is None else data
    return lnb.sweep(MODEL, data, configs, seeds=seeds, store=store, **HOW | changes)


def trained(monkeypatch):
    """Count the runs that are trained from here on."""
    count, train_unit = [0], plan.train_unit

    def counted(unit, *keep_going):
        count[0] += unit.size
        return train_unit(unit, *keep_going)

    monkeypatch.setattr("lookahead_nb.training.sweep.train_unit", counted)
    return count


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def assert_same(frame, expected):
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    for name in expected.select_dtypes("float"):
        assert frame[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name
    for name in expected.columns[expected.dtypes.astype(str) == "object"]:
        assert list(map(type, frame[name])) == list(map(type, expected[name])), name


REQUESTS = {
    "more seeds": (SMALL, [0, 1, 2, 3, 4], 6),
    "other seeds": (SMALL, [5, 3], 6),
    "seeds in another order": (SMALL, [2, 0, 7, 1], 3),
    "one more value": ([*lnb.grid(LOOKAHEAD, lr=[0.01, 0.015, 0.02]), INNER], 3, 3),
    "other settings": ([*OTHERS, *SMALL[::-1]], 3, 3 * len(OTHERS)),
    "only others": (OTHERS, 3, 3 * len(OTHERS)),
    "both": ([SMALL[1], OTHERS[0], SMALL[0]], [4, 1], 4),
    "the same": (SMALL, 3, 0),
    "another order": (SMALL[::-1], [2, 0, 1], 0),
    "fewer settings": ([INNER], 3, 0),
    "fewer seeds": (SMALL, [1], 0),
}


@pytest.mark.jit  # plain Python warns of what diverges
@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "own data"])
@pytest.mark.parametrize("name", REQUESTS)
def test_rows_are_those_of_a_fresh_sweep_and_only_the_rest_is_trained(name, own_data, tmp_path, monkeypatch):
    (configs, seeds, new), data = REQUESTS[name], problem if own_data else None
    expected, first = swept(configs, seeds, data=data), swept(SMALL, 3, tmp_path / "store", data)
    before, count = contents(tmp_path / "store"), trained(monkeypatch)
    assert_same(swept(configs, seeds, tmp_path / "store", data), expected)
    assert count == [new]
    after = contents(tmp_path / "store")
    assert {name: after[name] for name in before} == before
    assert (after == before) == (new == 0)
    assert_same(swept(configs, seeds, tmp_path / "store", data), expected)
    assert_same(swept(SMALL, 3, tmp_path / "store", data), first)
    assert count == [new]
    store = Store.open(tmp_path / "store")
    assert store.verify() == []
    assert (
        len(store.frame())
        == store.show()["rows"]
        == len(first) + sum((1 + opt.has_slow_weights) * 5 for opt, seed in _runs(configs, seeds) - _runs(SMALL, 3))
    )


def _runs(configs, seeds):
    return {*itertools.product(configs, range(seeds) if isinstance(seeds, int) else seeds)}


@pytest.mark.jit
def test_a_store_grows_by_request_after_request(tmp_path, monkeypatch):
    folder, everything = tmp_path / "store", [*SMALL, *OTHERS]
    steps = [([INNER], 1), (SMALL, [0, 5]), (OTHERS, 2), (everything, [5, 0, 1]), ([INNER], 1), (everything[::-1], 6)]
    for configs, seeds in steps:
        assert_same(swept(configs, seeds, folder), swept(configs, seeds))
    count = trained(monkeypatch)
    for configs, seeds in steps:
        swept(configs, seeds, folder)
    assert count == [0]
    store = Store.open(folder)
    assert store.verify() == []
    rows, fresh = store.frame(), swept(everything, 6)
    assert rows["run"].nunique() == 6 * len(everything)
    assert set(rows) == set(fresh)
    key = ["run", "step", "weights"]
    both = (frame.sort_values(key, ignore_index=True)[list(fresh)] for frame in (rows, fresh))
    assert_same(next(both), next(both))


def test_exports_of_the_returned_store_are_those_of_the_request_and_others_hold_all(tmp_path):
    folder = tmp_path / "store"
    swept(SMALL, 3, folder)
    for configs, seeds in ((SMALL[::-1], [4, 1]), ([INNER], 2)):
        store, expected = swept(configs, seeds, folder, frame=False), swept(configs, seeds)
        assert_same(store.frame(), expected)
        assert_same(store.frame(["seed", "train_loss", "lr"]), expected[["seed", "train_loss", "lr"]])
        for name in ("all.csv", "all.parquet"):
            store.export(tmp_path / name)
        read = pd.read_csv(tmp_path / "all.csv"), pd.read_parquet(tmp_path / "all.parquet")
        order = ["run", "step", "weights"]
        for frame in read:
            one, other = (rows.sort_values(order, ignore_index=True) for rows in (frame, expected))
            pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=False)
    whole = Store.open(folder)
    whole.export(tmp_path / "all.csv")
    assert len(pd.read_csv(tmp_path / "all.csv")) == len(whole.frame()) == len(swept(SMALL, 4))
    assert whole.frame()["run"].drop_duplicates().iloc[:9].tolist() == swept(SMALL, 3)["run"].unique().tolist()


def test_tasks_are_extended_too(tmp_path, monkeypatch):
    bowl = lnb.landscapes.Quadratic([1.0, 0.1])
    tasks = [lnb.Task("net", MODEL, problem), lnb.Task("bowl", bowl, eval_at=[2]), lnb.Task("twin", bowl, eval_at=[1])]
    more = [replace(task, configs=[lnb.SGD(0.1), INNER] if task.name == "bowl" else None) for task in tasks]
    how = HOW | {"store": tmp_path / "store"}
    lnb.sweep(tasks, None, SMALL, seeds=2, **how)
    count = trained(monkeypatch)
    for entries, configs, seeds, new in ((tasks, SMALL, 3, 9), (more, SMALL[:2], [0, 2, 5], 8), (tasks, SMALL, 1, 0)):
        expected, count[0] = lnb.sweep(entries, None, configs, seeds=seeds, **HOW), 0
        assert_same(lnb.sweep(entries, None, configs, seeds=seeds, **how), expected)
        assert count == [new]
    with pytest.raises(ValueError, match=r"configuration must be that of the store .*tasks.twin"):
        lnb.sweep(tasks[:2], None, SMALL, seeds=2, **how)
    with pytest.raises(ValueError, match=r"tasks.bowl.eval_steps.1: here 1, there 2"):
        lnb.sweep([tasks[0], replace(tasks[1], eval_at=[1]), tasks[2]], None, SMALL, seeds=9, **how)


def test_other_data_of_the_first_seed_is_refused_whatever_the_seeds(tmp_path):
    folder = tmp_path / "store"
    swept(SMALL, [3, 1], folder)
    before = contents(folder)
    for seeds in ([3], [1], [7]):
        with pytest.raises(ValueError, match="data: here"):
            swept(SMALL, seeds, folder, data=problem(9))
    assert contents(folder) == before
    assert_same(swept(SMALL, [7, 1], folder), swept(SMALL, [7, 1]))


def test_runs_on_other_data_are_not_taken_for_stored_ones(tmp_path, monkeypatch):
    """A function of the seed that agrees for the first seed alone."""
    swept(SMALL, 2, tmp_path / "store")
    count = trained(monkeypatch)
    assert_same(swept(SMALL[:2], 2, tmp_path / "store", data=None), swept(SMALL[:2], 2, data=None))
    assert count == [2 + 4]  # and those of the fresh sweep


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_extension_goes_on(after, tmp_path, monkeypatch):
    folder, reported = tmp_path / "store", []
    swept(SMALL, 2, folder)

    def stop(done, total):
        reported.append(done)
        if len(reported) > after + 1 and done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept([*OTHERS[:3], *SMALL], 4, folder, progress=stop)
    (missing,) = Store.open(folder).verify()
    assert "units are missing" in missing
    with pytest.raises(ValueError, match=r"must hold all .* units, but .* are missing: run the sweep again"):
        Store.open(folder).frame()
    manifests, count = {*folder.glob("*.json")}, trained(monkeypatch)
    assert_same(swept([*OTHERS[:3], *SMALL], 4, folder), swept([*OTHERS[:3], *SMALL], 4))
    assert count == [24 - reported[-1] + 24]
    assert {*folder.glob("*.json")} == manifests
    assert Store.open(folder).verify() == []


def test_another_request_after_an_interruption_needs_only_its_own_runs(tmp_path, monkeypatch):
    folder = tmp_path / "store"

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(SMALL, 4, folder, progress=stop)
    stored = Store.open(folder).frame(partial=True)["run"].nunique()
    count = trained(monkeypatch)
    assert_same(swept(SMALL, 5, folder), swept(SMALL, 5))
    assert count == [15 - stored + 15]
    assert Store.open(folder).verify() == []
    assert_same(swept(SMALL, 4, folder), swept(SMALL, 4))


def test_a_lost_part_is_trained_again_by_any_request_for_its_runs(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    swept(SMALL, 3, folder)
    swept(SMALL, 5, folder)
    parts = sorted(folder.glob("*.parquet"))
    for part in parts:
        content = part.read_bytes()
        part.write_bytes(content[:-1])
        with pytest.raises(DamageError, match=f"{part.name} is truncated"):
            swept(SMALL[::-1], 5, folder)
        assert Store.open(folder).verify(remove=True) == [f"{part.name}: truncated (removed)"]
        assert Store.open(folder).verify() == [f"1 of {len(parts)} units are missing: {part.stem}"]
        assert_same(swept(SMALL, 5, folder), swept(SMALL, 5))
        assert Store.open(folder).verify() == []
        assert_same(swept(SMALL, 3, folder), swept(SMALL, 3))


def test_manifests_are_checked_and_can_be_made_again(tmp_path):
    folder = tmp_path / "store"
    swept(SMALL, 2, folder)
    swept(SMALL, 3, folder)
    before, added = contents(folder), folder / "manifest.1.json"
    data = bytearray(before[added.name])
    data[100] ^= 4
    added.write_bytes(data)
    with pytest.raises(DamageError, match=r"manifest.1.json is damaged.*delete it and run the sweep again"):
        Store.open(folder)
    added.unlink()
    assert [problem.partition(": ")[2] for problem in Store.open(folder).verify()] == ["foreign, no part of this sweep"]
    swept(SMALL, 3, folder)
    assert contents(folder) == before
    (folder / MANIFEST).unlink()
    swept(SMALL, 2, folder)
    assert contents(folder) == before
    swept(SMALL, 1, tmp_path / "other")
    (tmp_path / "other" / added.name).write_bytes(before[added.name])
    with pytest.raises(ValueError, match=r"manifest.1.json must belong to this store, but extends another: remove it"):
        Store.open(tmp_path / "other")


def test_a_store_in_other_units_is_used(tmp_path, monkeypatch):
    """As an earlier version of the package cut them."""
    monkeypatch.setattr(plan, "UNIT_RUNS", 2)
    swept(SMALL, 3, tmp_path / "store")
    monkeypatch.setattr(plan, "UNIT_RUNS", 4)
    count = trained(monkeypatch)
    assert_same(swept(SMALL, 3, tmp_path / "store"), swept(SMALL, 3))
    assert count == [9]  # the fresh sweep
    assert len(Store.open(tmp_path / "store").units) == 5


def test_of_two_processes_that_extend_the_second_adds_what_the_first_lacks(tmp_path, monkeypatch):
    """Between the search for stored runs and the manifest another process is quicker, whatever it requests."""
    for seeds in (4, 5, [3]):
        folder, found = tmp_path / str(seeds), request.Request._found
        swept(SMALL, 2, folder)

        def slower(asked, folder=folder, found=found, seeds=seeds):
            todo = found(asked)
            monkeypatch.setattr(request.Request, "_found", found)
            swept(SMALL, seeds, folder)
            return todo

        monkeypatch.setattr(request.Request, "_found", slower)
        assert_same(swept(SMALL, 4, folder), swept(SMALL, 4))
        store = Store.open(folder)
        assert store.verify() == []
        assert store.frame()["run"].nunique() == 3 * (5 if seeds == 5 else 4)


def test_runs_that_two_requests_trained_at_once_are_shown_once(tmp_path, monkeypatch):
    """One goes on with its request while another extends the store."""
    folder, write = tmp_path / "store", request.Request.write

    def late(asked, *unit):
        monkeypatch.setattr(request.Request, "write", write)
        swept([*SMALL, OTHERS[0]], 2, folder)
        write(asked, *unit)

    monkeypatch.setattr(request.Request, "write", late)
    assert_same(swept(SMALL, 3, folder), swept(SMALL, 3))
    asked = [*SMALL, OTHERS[0]]
    assert_same(swept(asked, 3, folder), swept(asked, 3))
    store = Store.open(folder)
    assert store.verify() == []
    assert not store.frame().duplicated(["run", "step", "weights"]).any()
    assert store.frame()["run"].nunique() == 12
    store.export(tmp_path / "all.csv")
    assert len(pd.read_csv(tmp_path / "all.csv")) == len(store.frame())


# ------------------------------------------------------------------------------------------------ the command line

SWEEP = """\
store = "store"

[model]
kind = "Quadratic"
curvatures = [1.0, 0.1]

[training]
seeds = {seeds}
steps = {steps}
eval_every = 5

[[grid]]
optimizer = "SGD"
lr = {lr}
"""


def command(tmp_path, capsys, *options, seeds=2, steps=10, lr="[0.1, 0.2]"):
    (tmp_path / "sweep.toml").write_text(SWEEP.format(seeds=seeds, steps=steps, lr=lr))
    status = main(["sweep", str(tmp_path / "sweep.toml"), *map(str, options)])
    return status, *capsys.readouterr()


def test_command_extends_and_exports_the_runs_of_the_file(tmp_path, capsys):
    assert command(tmp_path, capsys)[0] == 0
    status, out, _ = command(tmp_path, capsys, "--dry-run", seeds=3, lr="[0.1, 0.15, 0.2]")
    assert status == 0
    assert "stored  4 of the 9 runs are in" in out
    assert len([*(tmp_path / "store").glob("*.json")]) == 1
    status, out, _ = command(tmp_path, capsys, "--export", tmp_path / "rows.csv", seeds=3, lr="[0.1, 0.15, 0.2]")
    assert (status, out) == (0, f"9 runs are stored in {tmp_path / 'store'}\n")
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 9 * 3
    command(tmp_path, capsys, "--export", tmp_path / "rows.csv", lr="[0.15]")
    assert pd.read_csv(tmp_path / "rows.csv")["lr"].tolist() == [0.15] * 6
    status, _, err = command(tmp_path, capsys, steps=20)
    assert status == 2
    assert "differs in" in err
    assert "training.steps: here 20, there 10" in err
    for verb in ("verify", "show"):
        assert main(["store", verb, str(tmp_path / "store")]) == 0
    assert main(["store", "export", str(tmp_path / "store"), str(tmp_path / "all.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "all.csv")) == 9 * 3
