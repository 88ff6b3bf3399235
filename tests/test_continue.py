"""Sweeps of more steps on a store with states: stored runs are continued, with the rows of a fresh, longer sweep."""

import shutil
from dataclasses import replace
from functools import cache

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.__main__ import main
from lookahead_nb.datasets import from_arrays
from lookahead_nb.training import engine_cpu, plan
from lookahead_nb.training import store as store_module
from lookahead_nb.training import sweep as sweeps
from lookahead_nb.training.setup import Setup, Training
from lookahead_nb.training.states import restored_state, states_in, states_table, stored_state
from lookahead_nb.training.store import DamageError, Store
from lookahead_nb.training.workers import WorkerPool
from tests.support.cases import INNER, INNER_STATES, picture

pytest.importorskip("pyarrow")
COMPILED = not numba.config.DISABLE_JIT
SHORT, LONG = (7, 18) if COMPILED else (4, 7)  # of 3 steps between syncs: off a sync
HOW: dict = {"batch_size": 4, "eval_every": 2, "progress": False}
ADAMW = lnb.AdamW(0.02)
LOOKAHEAD = lnb.Lookahead(ADAMW, sync_period=3, retention=0.7)
OPTIMIZERS = {
    **INNER,
    "warm-up": lnb.AdamW(lnb.schedules.constant(0.02, warmup=9)),
    **{mode: lnb.Lookahead(INNER["adamw"], sync_period=3, retention=0.7, inner_state=mode) for mode in INNER_STATES},
    "no pull-back": lnb.Lookahead(INNER["adamw"], sync_period=3, pull_back=False),
    "steps in turn": lnb.Lookahead(INNER["sgd_momentum"], sync_period=3, slow_step_size=(0.3, 0.9)),
    "in turn, interpolated": lnb.Lookahead(ADAMW, sync_period=2, slow_step_size=(0.3, 0.9), inner_state="interpolate"),
    "beyond": lnb.Lookahead(ADAMW, sync_period=3, slow_step_size=1.5),
    "momentum": lnb.Lookahead(ADAMW, sync_period=3, outer_momentum=0.7),
    "average": lnb.EMA(ADAMW, window=5),
    "adaptive": lnb.Lookahead(lnb.AdamW(0.05), sync_period=3, slow_step_size="adaptive"),
    "outer momentum": lnb.Lookahead(ADAMW, sync_period=3, slow_step_size=(1.5, 0.5), outer_momentum=0.8),
    "pending decay": lnb.Lookahead(lnb.AdamW(0.02, weight_decay=1.1e-4), sync_period=3, retention=0.7),
    "restarts": lnb.AdamW(lnb.schedules.cosine_restarts(0.02, 3, factor=2)),
    "table": lnb.Lookahead(lnb.AdamW(lnb.schedules.from_function(lambda t: 0.05 / t, 100)), sync_period=3),
    "far horizon": lnb.AdamW(lnb.schedules.cosine(0.02, steps=1000)),
}
MODEL = lnb.MLP((4, 3, 2))
BOWL = lnb.landscapes.Quadratic([1.0, 0.1], noise=1.0, drift=0.01)


@cache
def problem(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 1, (40, 4))
    return from_arrays(X, (X[:, 0] * X[:, 1] > 0).astype(int))


def swept(steps, store=None, configs=(ADAMW, LOOKAHEAD), seeds=3, model=MODEL, data=problem, **changes):
    changes = ({"keep_states": True} if store else {}) | changes
    return lnb.sweep(model, data, configs, seeds=seeds, steps=steps, store=store, **HOW | changes)


def steps_trained(monkeypatch):
    """Count the steps of the runs that are trained from here on."""
    count, train_unit = [0], plan.train_unit

    def counted(unit, *keep_going):
        count[0] += unit.size * (unit.setup.steps - unit.first)
        return train_unit(unit, *keep_going)

    monkeypatch.setattr("lookahead_nb.training.sweep.train_unit", counted)
    return count


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(frame, expected):
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    for name in expected.select_dtypes("float"):
        assert frame[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name


# --------------------------------------------------------------------------------------------------------- the bits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("several", [False, pytest.param(True, marks=pytest.mark.jit)], ids=["alone", "side by side"])
def test_a_continued_network_has_the_bits_of_a_longer_run(several, dtype, tmp_path, monkeypatch):
    seeds = 12 if several else 1
    monkeypatch.setattr(plan, "SHARED_FROM", 6 if several else 99)
    expected = swept(LONG, None, OPTIMIZERS.values(), seeds, dtype=dtype)
    short = swept(SHORT, tmp_path, OPTIMIZERS.values(), seeds, dtype=dtype)
    before, count = contents(tmp_path), steps_trained(monkeypatch)
    beside, side_by_side = [0], engine_cpu.train_side_by_side

    def watched(*arguments):
        beside[0] += 1
        return side_by_side(*arguments)

    monkeypatch.setattr(engine_cpu, "train_side_by_side", watched)
    assert_same(swept(LONG, tmp_path, OPTIMIZERS.values(), seeds, dtype=dtype), expected)
    assert count == [len(OPTIMIZERS) * seeds * (LONG - SHORT)]
    assert (beside[0] > 0) == several
    assert before.items() <= contents(tmp_path).items()
    assert_same(swept(LONG, tmp_path, OPTIMIZERS.values(), seeds, dtype=dtype), expected)
    assert_same(swept(SHORT, tmp_path, OPTIMIZERS.values(), seeds, dtype=dtype), short)
    assert count == [len(OPTIMIZERS) * seeds * (LONG - SHORT)]
    assert Store.open(tmp_path).verify() == []


def test_a_continued_landscape_has_the_bits_of_a_longer_run(tmp_path):
    how = {"configs": [*OPTIMIZERS.values()], "seeds": 2, "model": BOWL, "data": None}
    swept(SHORT, tmp_path, **how)
    for steps in (SHORT + 1, LONG):
        assert_same(swept(steps, tmp_path, **how), swept(steps, **how))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_of_runs_side_by_side_are_those_of_runs_alone(name):
    """At and off a sync, from the start and from there on."""
    opt = OPTIMIZERS[name]
    if opt.adapts:
        pytest.skip("is trained alone")
    setup = Setup(MODEL, problem(), Training(LONG, 4, 2))
    rows, seeds = setup.rows(0), [5, 5, 6]
    for steps in (6, SHORT, LONG):
        here = setup.of_steps(steps, [2])
        params = [MODEL.init(seed, here.dtype) for seed in seeds]
        states = [opt.init(p) for p in params]
        for until in (here.of_steps(2), here):
            for first in range(0, len(seeds), len(seeds) if COMPILED else 1):
                lanes = slice(first, first + (len(seeds) if COMPILED else 1))
                opts = [opt] * len(seeds[lanes])
                given = params[lanes], states[lanes]
                engine_cpu.train_side_by_side(until, opts, seeds[lanes], [rows] * len(opts), lambda: True, *given)
        for seed, p, state in zip(seeds, params, states, strict=True):
            run = lnb.train(MODEL, problem(), opt, steps=steps, batch_size=4, seed=seed, eval_at=[2])
            assert picture(p, state) == picture(run.params, run.state)
            assert getattr(state, "slow_steps", None) == getattr(run.state, "slow_steps", None)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_comes_back_from_a_table_bit_for_bit(name, width):
    opt = OPTIMIZERS[name]
    run, other = (lnb.train(BOWL, None, of, steps=SHORT, eval_every=1, dtype=width) for of in (opt, lnb.SGD(0.1)))
    stored = [stored_state(of.params, of.state) for of in (run, other)]
    states = states_in(states_table(["a", "b", "c"], [stored[0], None, stored[1]]), ["b", "a", "x"])
    assert states.keys() == {"a", "b"}
    assert states["b"] is None
    params, state = restored_state(opt, states["a"])
    assert picture(params, state) == picture(run.params, run.state)
    opt.step(params, np.ones(2, width), state)
    assert picture(*restored_state(opt, stored[0])) == picture(run.params, run.state)


def test_runs_that_diverge_before_or_after_are_those_of_a_longer_sweep(tmp_path):
    configs = [lnb.SGD(1e30), *(lnb.SGD(lr) for lr in (60.0, 200.0, 1e3, 1e4)), LOOKAHEAD, ADAMW]
    how = {"configs": configs, "seeds": 2, "model": lnb.landscapes.Quadratic([1.0]), "data": None}
    first, expected = swept(7, tmp_path, **how), swept(18, **how)
    ended = [frame.groupby("run")["diverged_at"].first().notna().sum() for frame in (first, expected)]
    assert 0 < ended[0] < ended[1] < len(configs) * 2
    assert_same(swept(18, tmp_path, **how), expected)
    assert_same(swept(21, tmp_path, **how), swept(21, **how))


def test_runs_are_continued_again_and_again_from_the_longest(tmp_path, monkeypatch):
    count, last = steps_trained(monkeypatch), 0
    for steps in (4, 6, 10, 12):
        count[0] = 0
        frame = swept(steps, tmp_path)
        assert count == [6 * (steps - last)]
        assert_same(frame, swept(steps))
        last = steps
    count[0] = 0
    assert_same(swept(8, tmp_path), swept(8))
    assert count == [6 * (8 - 6) + 6 * 8]  # and the fresh sweep


def test_more_steps_and_other_runs_may_come_together(tmp_path, monkeypatch):
    swept(SHORT, tmp_path, seeds=[0, 4])
    count, configs = steps_trained(monkeypatch), [LOOKAHEAD, lnb.SGD(0.1), ADAMW]
    frame = swept(LONG, tmp_path, configs, [4, 7, 0])
    assert count == [4 * (LONG - SHORT) + 5 * LONG]
    assert_same(frame, swept(LONG, None, configs, [4, 7, 0]))
    assert_same(swept(SHORT, tmp_path, configs, 5), swept(SHORT, None, configs, 5))
    assert_same(swept(LONG, tmp_path, configs, 5), swept(LONG, None, configs, 5))
    assert Store.open(tmp_path).verify() == []


def test_each_task_may_grow(tmp_path, monkeypatch):
    tasks = [lnb.Task("net", MODEL, problem, steps=6), lnb.Task("bowl", BOWL), lnb.Task("twin", BOWL, eval_at=[2])]
    how = HOW | {"seeds": 2, "steps": 5}
    lnb.sweep(tasks, None, [ADAMW, LOOKAHEAD], store=tmp_path, keep_states=True, **how)
    for changes, steps in ({"bowl": 8}, 4 * 3), ({"bowl": 8, "net": 10}, 4 * 4), ({"twin": 9, "net": 12}, 4 * (4 + 2)):
        longer = [replace(task, steps=changes.get(task.name, task.steps)) for task in tasks]
        expected, count = lnb.sweep(longer, None, [ADAMW, LOOKAHEAD], **how), steps_trained(monkeypatch)
        found = lnb.sweep(longer, None, [ADAMW, LOOKAHEAD], store=tmp_path, keep_states=True, **how)
        monkeypatch.undo()
        assert_same(found, expected)
        assert count == [steps]
    assert Store.open(tmp_path).verify() == []


def test_worker_processes_continue_runs(tmp_path):
    swept(SHORT, tmp_path, data=problem(), seeds=4)
    with WorkerPool(2) as pool:
        assert_same(swept(LONG, tmp_path, data=problem(), seeds=4, executor=pool), swept(LONG, data=problem(), seeds=4))
        swept(LONG + 1, tmp_path, data=problem(), seeds=4, executor=pool)
    assert Store.open(tmp_path).verify() == []


# ------------------------------------------------------------------------------------------------------ evaluations


def test_evaluations_are_those_of_the_longer_sweep(tmp_path):
    swept(5, tmp_path, eval_every=2)
    frame = swept(9, tmp_path, eval_every=4)
    assert sorted({*frame["step"]}) == [0, 4, 8, 9]
    assert_same(frame, swept(9, eval_every=4))
    assert_same(swept(13, tmp_path, eval_every=50, eval_at=[4, 9, 11]), swept(13, eval_every=50, eval_at=[4, 9, 11]))


def test_evaluations_that_the_shorter_runs_lack_are_refused_by_step(tmp_path):
    swept(6, tmp_path, eval_every=3)
    before = contents(tmp_path)
    message = (
        "eval_every and eval_at must choose steps that the stored runs of 6 steps have evaluated, .*, got step 2: "
    )
    for change in ({"eval_every": 2}, {"eval_at": [2, 3]}):
        with pytest.raises(ValueError, match=message):
            swept(9, tmp_path, **change)
    with pytest.raises(ValueError, match=r"differs in eval_steps.1: here 2, there 3"):
        swept(6, tmp_path)
    assert contents(tmp_path) == before


def test_a_store_tells_tables_of_rates_apart(tmp_path, monkeypatch):
    """They differ in the rate of one step only, one that both runs take."""
    tables = [
        lnb.SGD(lnb.schedules.from_function({**dict.fromkeys(range(1, 10), 0.1), 3: rate}.get, 9))
        for rate in (0.1, 0.2)
    ]
    first = swept(5, tmp_path, tables[:1], seeds=1)
    count = steps_trained(monkeypatch)
    assert_same(swept(5, tmp_path, tables[:1], seeds=1), first)
    assert count == [0]
    assert_same(swept(5, tmp_path, tables[1:], seeds=1), swept(5, None, tables[1:], seeds=1))
    assert first["schedule_table"].nunique() == 1
    assert swept(5, tmp_path, tables, seeds=1)[["run", "schedule_table"]].nunique().tolist() == [2, 2]


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("kind", [lnb.schedules.cosine, lnb.schedules.linear])
def test_a_rate_that_depends_on_the_steps_is_refused_by_name(kind, tmp_path):
    def configs(steps):
        return [ADAMW, lnb.Lookahead(lnb.AdamW(kind(0.02, steps=steps, warmup=2)))]

    swept(5, tmp_path, configs(5))
    before = contents(tmp_path)
    for end in (5, 7, 9):
        message = (
            rf"configs\[1\].lr must not depend on the number of steps, .* of 5 steps to 9, got the {kind.__name__} "
        )
        with pytest.raises(ValueError, match=f"{message}schedule of {end} steps: pass another folder"):
            swept(9, tmp_path, configs(end))
    assert contents(tmp_path) == before
    assert_same(swept(5, tmp_path, configs(5)), swept(5, None, configs(5)))


@pytest.mark.parametrize("keep_states", [False, True])
def test_a_store_without_states_is_refused(keep_states, tmp_path):
    swept(5, tmp_path, keep_states=False)
    before = contents(tmp_path)
    message = r"training.steps: here 9, there 5; .*, and steps may grow where keep_states=True has stored the states"
    with pytest.raises(ValueError, match=message):
        swept(9, tmp_path, keep_states=keep_states)
    assert contents(tmp_path) == before


def test_runs_without_states_among_others_are_refused(tmp_path):
    swept(5, tmp_path, seeds=1)
    swept(5, tmp_path, seeds=2, keep_states=False)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"steps must be as in the store .* holds 2 of the runs .* without states"):
        swept(9, tmp_path, seeds=2)
    with pytest.raises(ValueError, match=r"keep_states must be False in the store .* 1 units with runs of this sweep"):
        swept(5, tmp_path, seeds=2)
    assert contents(tmp_path) == before
    assert_same(swept(9, tmp_path, seeds=1), swept(9, seeds=1))


def test_states_cannot_be_kept_of_runs_that_are_stored_already(tmp_path):
    swept(5, tmp_path, keep_states=False)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"keep_states must be False in the store .*, got True: pass another folder"):
        swept(5, tmp_path)
    assert contents(tmp_path) == before


def test_fewer_steps_are_refused(tmp_path):
    swept(5, tmp_path)
    with pytest.raises(ValueError, match=r"training.steps: here 4, there 5"):
        swept(4, tmp_path)


def test_other_differences_are_refused_in_longer_sweeps_too(tmp_path):
    swept(5, tmp_path)
    with pytest.raises(ValueError, match=r"differs in training.batch_size: here 8, there 4: only seeds"):
        swept(9, tmp_path, batch_size=8)
    with pytest.raises(ValueError, match="differs in data: here"):
        swept(9, tmp_path, data=problem(9))


def test_states_need_a_store_and_a_truth_value(tmp_path):
    with pytest.raises(ValueError, match=r"keep_states must be False without a store, .*, got True"):
        swept(5, keep_states=True)
    with pytest.raises(TypeError, match="keep_states must be True or False, got 1"):
        swept(5, tmp_path / "store", keep_states=1)
    with pytest.raises(ValueError, match=r"keep_states must be False with backend='cuda', .*, got True"):
        swept(5, tmp_path / "store", backend="cuda")
    assert not (tmp_path / "store").exists()


# --------------------------------------------------------------------------------------------------------- the store


def test_a_continued_run_is_shown_once_at_its_full_length(tmp_path):
    swept(5, tmp_path / "store", seeds=3)
    swept(9, tmp_path / "store", seeds=2)
    store = Store.open(tmp_path / "store")
    lasts = store.frame().groupby("run")["step"].max()
    assert sorted(lasts) == [5, 5, 9, 9, 9, 9]
    store.export(tmp_path / "all.csv")
    assert len(pd.read_csv(tmp_path / "all.csv")) == len(store.frame())
    assert store.show()["rows"] > len(store.frame())


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_continuation_goes_on_and_mixes_no_lengths(after, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", 3)
    folder, reported = tmp_path / "store", []
    swept(5, folder, seeds=6)

    def stop(done, total):
        reported.append(done)
        if len(reported) > after + 1 and done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(9, folder, seeds=6, progress=stop)
    store = Store.open(folder)
    assert "units are missing" in store.verify()[0]
    with pytest.raises(ValueError, match=r"must hold all .* units, but .* are missing"):
        store.frame()
    rows = store.frame(partial=True)
    assert rows.groupby(["run", "weights"])["step"].agg(tuple).isin([(0, 2, 4, 5), (0, 2, 4, 6, 8, 9)]).all()
    assert rows["run"].nunique() == 12
    manifests, count = {*folder.glob("*.json")}, steps_trained(monkeypatch)
    assert_same(swept(9, folder, seeds=6), swept(9, seeds=6))
    assert count == [(12 - reported[-1]) * 4 + 12 * 9]
    assert {*folder.glob("*.json")} == manifests
    assert Store.open(folder).verify() == []


@pytest.mark.parametrize("length", [5, 9])
def test_damaged_states_are_found_and_their_runs_trained_again(length, tmp_path):
    folder = tmp_path / "store"
    swept(5, folder)
    swept(9, folder)
    store = Store.open(folder)
    (unit,) = (unit for unit in store.with_states() if store.rows(unit)["step"].max() == length)
    path = folder / f"{unit}.states.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    (problem_,) = store.verify()
    assert problem_.startswith(f"{path.name}: damaged")
    if length == 9:
        with pytest.raises(DamageError, match=rf"{path.name} is damaged, .* --remove"):
            swept(12, folder)
        store = Store.open(folder)
    assert store.verify(remove=True)[0] == f"{problem_} (removed)"
    assert not (folder / f"{unit}.parquet").exists()
    assert_same(swept(12, folder), swept(12))
    assert_same(swept(length, folder), swept(length))
    assert Store.open(folder).verify() == []


def test_lost_exchanged_and_foreign_states_are_found(tmp_path):
    swept(5, tmp_path / "store", seeds=2)
    swept(9, tmp_path / "store", seeds=2)
    store = Store.open(tmp_path / "store")
    one, other = (store.path / f"{unit}.states.parquet" for unit in store.units)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    assert store.verify() == [f"{one.name}: foreign, the states of unit {store.units[1]}"]
    part = store.path / f"{store.units[0]}.parquet"
    one.write_bytes(part.read_bytes())
    assert store.verify() == [f"{one.name}: foreign, the part of unit {store.units[0]}"]
    rows, _ = part.read_bytes(), part.write_bytes(kept)
    one.write_bytes(kept)
    assert store.verify() == [f"{part.name}: foreign, the states of unit {store.units[0]}"]
    part.write_bytes(rows)
    one.unlink()
    assert store.verify() == [f"{part.name}: without its states"]
    assert store.verify(remove=True) == [f"{part.name}: without its states (removed)"]
    assert not part.exists()


def test_states_are_on_the_disk_ahead_of_their_part(tmp_path, monkeypatch):
    there, appearing = [], store_module.appearing

    def watched(path):
        there.append((path.name.partition(".")[2], sorted(file.suffixes for file in tmp_path.glob("*.parquet"))))
        return appearing(path)

    monkeypatch.setattr(store_module, "appearing", watched)
    swept(5, tmp_path)
    assert there[-2:] == [("states.parquet", []), ("parquet", [[".states", ".parquet"]])]


def test_states_without_their_part_are_those_of_a_killed_process(tmp_path, monkeypatch):
    """They are written first, and the unit is trained again."""
    swept(5, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    expected = contents(store.path)
    (store.path / f"{store.units[0]}.parquet").unlink()
    assert store.done() == set()
    assert store.verify() == [f"1 of 1 units are missing: {store.units[0]}"]
    swept(5, store.path)
    assert contents(store.path) == expected


def test_a_lost_manifest_is_made_again_around_states(tmp_path):
    swept(5, tmp_path)
    before = contents(tmp_path)
    (tmp_path / "manifest.json").unlink()
    swept(5, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.jit  # it would take a minute
def test_states_take_the_stated_bytes(tmp_path):
    model = lnb.MLP((4, 200, 50, 2))
    arrays = {lnb.SGD(0.1): 1, ADAMW: 3, LOOKAHEAD: 4, lnb.Lookahead(ADAMW, inner_state="interpolate"): 6}
    for number, (opt, count) in enumerate(arrays.items()):
        store = swept(6, tmp_path / str(number), [opt], 1, model=model, frame=False)
        size = store.show()["bytes of states"]
        assert 0.85 * count < (size - 4000) / (4 * model.size) < 1.01 * count


def test_memory_under_way_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", 1)
    monkeypatch.setattr(sweeps, "STATES_UNDER_WAY", 1)
    most, has_room = [0], sweeps._has_room

    def watched(running):
        most[0] = max(most[0], len(running))
        return has_room(running)

    monkeypatch.setattr(sweeps, "_has_room", watched)
    swept(5, tmp_path, seeds=8)
    assert most == [numba.get_num_threads()]


# ------------------------------------------------------------------------------------------------ the command line

SWEEP = """\
store = "store"
keep_states = {kept}

[model]
kind = "Quadratic"
curvatures = [1.0, 0.1]

[training]
seeds = 2
steps = {steps}
eval_every = 5

[[grid]]
optimizer = "SGD"
lr = [0.1, 0.2]
{more}
"""


def command(tmp_path, capsys, *options, steps, kept="true", more=""):
    (tmp_path / "sweep.toml").write_text(SWEEP.format(kept=kept, steps=steps, more=more))
    status = main(["sweep", str(tmp_path / "sweep.toml"), *map(str, options)])
    return status, *capsys.readouterr()


def test_command_continues_the_runs_of_a_file(tmp_path, capsys):
    assert command(tmp_path, capsys, steps=10)[0] == 0
    before = contents(tmp_path / "store")
    _, out, _ = command(tmp_path, capsys, "--dry-run", steps=20)
    assert "stored  0 of the 4 runs are in" in out
    assert "\n        4 of them from the ends of shorter runs\n" in out
    status, _, err = command(tmp_path, capsys, steps=20, more='schedule = { kind = "cosine" }')
    assert status == 2
    assert "configs[0].lr must not depend on the number of steps" in err
    assert err.count("\n") == 1
    assert contents(tmp_path / "store") == before
    assert command(tmp_path, capsys, "--export", tmp_path / "rows.csv", steps=20)[0] == 0
    shutil.rmtree(tmp_path / "store")
    command(tmp_path, capsys, "--export", tmp_path / "fresh.csv", steps=20)
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "fresh.csv").read_bytes()
    assert main(["store", "verify", str(tmp_path / "store")]) == 0


def test_command_refuses_what_is_no_truth_value(tmp_path, capsys):
    status, _, err = command(tmp_path, capsys, steps=10, kept="1")
    assert (status, err) == (2, "lookahead-nb: keep_states must be True or False, got 1\n")
