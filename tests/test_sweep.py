"""Sweeps: the bits of a run alone (promise R1), grids, frames, what is refused."""

import contextlib
import itertools
import multiprocessing
import signal
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.datasets import from_arrays
from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.cpu import groups
from lookahead_nb.training import engine_cpu, plan, setup
from lookahead_nb.training.setup import Setup, Training
from lookahead_nb.training.store import Store
from tests.support.cases import INNER, INNER_STATES

COMPILED = not numba.config.DISABLE_JIT
STEPS, BATCH, ROWS = (60, 8, 120) if COMPILED else (5, 4, 20)  # 72 rows in training: more than are evaluated at once
HOW: dict = {"steps": STEPS, "batch_size": BATCH, "eval_at": [1, 3, 4, STEPS // 2], "progress": False}
ALONE = {name: value for name, value in HOW.items() if name != "progress"}
RESULTS = [f"{split}_{measure}" for measure in ("loss", "accuracy") for split in setup.SPLITS]
each_width = pytest.mark.parametrize("dtype", ["float32", "float64"])

MODELS = {
    "perceptron": lnb.MLP((4, 5, 3), activation="tanh"),
    "deep": lnb.MLP((4, 7, 6, 3)),
    "sigmoid": lnb.MLP((4, 6, 3), activation="sigmoid"),
    "softmax": lnb.LogisticRegression(4, n_classes=3, l2=0.05),
    "one logit": lnb.MLP((4, 3, 2)),
    "logistic": lnb.LogisticRegression(4, l2=0.05),
}


@cache
def problem(classes=3, seed=0):
    """Data that a line does not separate."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 1, (ROWS, 4))
    return from_arrays(X, (X[:, 0] * X[:, 1] > 0).astype(int) + (np.arange(ROWS) % 2 if classes == 3 else 0))


@cache
def alike(classes=3, seed=0):
    """Data that differs from seed to seed, in parts of the same sizes."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(ROWS) % classes)
    return from_arrays(rng.normal(0, 1, (ROWS, 4)) + y[:, None], y)


def many(count, inner=None):
    """So many different settings that one kernel can train side by side, plain ones among them."""
    inner = inner or lnb.AdamW(0.02)
    settings = itertools.cycle(itertools.product((1, 2, 3, 5, 1000), (0.0, 0.3, 0.5, 0.8, 1.0), (True, False)))
    for i, (k, step, pulls) in zip(range(count), settings, strict=False):
        rule = replace(inner, lr=0.01 * (1 + i))
        if isinstance(rule, lnb.ScheduleFreeAdamW):
            yield replace(rule, beta1=1 - 0.5**k / (1 + i), lr=lnb.schedules.constant(rule.lr, warmup=i))
            continue
        yield rule if i % 5 == 3 else lnb.Lookahead(rule, sync_period=k, slow_step_size=step, pull_back=pulls)


def assert_alone(frame, model, data, opts, seeds, how=ALONE):
    """Every run of the frame has, in every bit, the history of the run alone."""
    count = 0
    for opt, seed in itertools.product(opts, seeds):
        alone = lnb.train(model, data(seed) if callable(data) else data, opt, seed=seed, **how).history
        rows = frame[frame["run"] == alone["run"].iloc[0]].reset_index(drop=True)
        assert len(rows) == len(alone)
        for name in alone:
            one, other = rows[name], alone[name]
            assert ((one == other) | (one.isna() & other.isna())).all(), (name, opt, seed)
        count += len(rows)
    assert count == len(frame)


# ------------------------------------------------------------------------------------------------ R1, the same bits


@pytest.mark.parametrize("rule", INNER if COMPILED else ["adamw"])
@each_width
def test_r1_a_run_in_a_sweep_has_the_bits_of_the_run_alone(rule, dtype):
    lanes = 16 if COMPILED else 2
    opts = list(many(lanes + 2, INNER[rule]))
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=[5], dtype=dtype, **HOW)
    assert_alone(frame, MODELS["perceptron"], problem(), opts, [5], {**ALONE, "dtype": dtype})


@each_width
def test_r1_for_averages_beside_each_other_and_beside_lookahead(dtype):
    inner = [lnb.AdamW(0.01 * (i + 1)) for i in range(16 if COMPILED else 2)]
    opts = [lnb.EMA(rule, window=1 + 3 * i) for i, rule in enumerate(inner)]
    opts += [
        lnb.Lookahead(rule, sync_period=1, slow_step_size=0.3, pull_back=i < 1) for i, rule in enumerate(inner[:2])
    ]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, dtype=dtype, **HOW)
    assert_alone(frame, MODELS["perceptron"], problem(), opts, [0], {**ALONE, "dtype": dtype})
    told = frame.drop_duplicates("run")
    assert told["window"].tolist()[: len(inner)] == [1.0 + 3 * i for i in range(len(inner))]
    assert told["decay"].isna().sum() == 2


@each_width
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rule", ["sgd", "adamw"] if COMPILED else ["sgd"])
def test_r1_for_outer_momentum(rule, nesterov, dtype):
    settings = itertools.cycle(itertools.product((0.5, 1.2, 0.0, (0.3, 0.0, 0.9)), (0.3, 0.9), (1, 3, 1000)))
    opts = [
        lnb.Lookahead(
            replace(INNER[rule], lr=0.002 * (i + 1)),
            sync_period=k,
            slow_step_size=step,
            outer_momentum=momentum,
            outer_nesterov=nesterov,
        )
        for i, (step, momentum, k) in zip(range(18 if COMPILED else 4), settings, strict=False)
    ]
    opts += [lnb.Lookahead(INNER[rule]), INNER[rule]]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=[5], dtype=dtype, **HOW)
    assert_alone(frame, MODELS["perceptron"], problem(), opts, [5], {**ALONE, "dtype": dtype})


def test_r1_for_steps_in_turn_and_adaptive_ones(tmp_path):
    steps = [(0.3, 0.9), (1, 0, 1.5), "adaptive", 0.7, lnb.Adaptive(0.95)] * (3 if COMPILED else 1)
    opts = [
        lnb.Lookahead(lnb.AdamW(0.01 * (i + 1)), sync_period=1 + i % 4, slow_step_size=step)
        for i, step in enumerate(steps)
    ]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, **HOW)
    assert_alone(frame, MODELS["perceptron"], problem(), opts, [0])
    stored = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, store=tmp_path / "store", **HOW)
    pd.testing.assert_frame_equal(stored, frame)
    told = frame.drop_duplicates("run").set_index("run")
    assert told["slow_steps"].dropna().nunique() == 3
    assert told["slow_step_size"].dropna().unique().tolist() == [0.7]
    assert sorted(told["lowest_step"].dropna().unique()) == [0.1, 0.95]


def test_schedule_free_and_its_like_stand_in_one_frame():
    opts = [*many(2), *many(7, INNER["schedule_free_adamw"])]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=2, **HOW)
    assert_alone(frame, MODELS["perceptron"], problem(), opts, [0, 1])
    of_it = frame[frame["optimizer"] == "ScheduleFreeAdamW"]
    assert set(of_it["weights"]) == {"fast", "slow"}
    assert of_it[["sync_period", "phase", "slow_step_size", "retention"]].isna().all(axis=None)


@pytest.mark.parametrize("mode", INNER_STATES)
@pytest.mark.parametrize("rule", ["adamw", "rmsprop_momentum"])
def test_r1_for_every_inner_state(rule, mode):
    opts = [
        lnb.Lookahead(INNER[rule], sync_period=k, slow_step_size=step, inner_state=mode)
        for k, step in itertools.product((1, 2, 3, 7) if COMPILED else (2,), (0, 0.3, 1))
    ]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, **HOW)
    assert_alone(frame, MODELS["perceptron"], problem(), opts, [0])


@pytest.mark.parametrize("name", MODELS)
@each_width
def test_r1_for_every_model(name, dtype):
    model = MODELS[name]
    opts = list(many(9 if COMPILED else 2))
    data = problem(model.n_classes)
    frame = lnb.sweep(model, data, opts, seeds=[2**62], dtype=dtype, **HOW)
    assert_alone(frame, model, data, opts, [2**62], {**ALONE, "dtype": dtype})


@pytest.mark.parametrize("batch_size", [1, 2, 7, 36] if COMPILED else [1, 12])
def test_r1_for_any_batch_size(batch_size):
    opts = list(many(7 if COMPILED else 2))
    how = {**HOW, "batch_size": batch_size}
    frame = lnb.sweep(MODELS["deep"], problem(), opts, seeds=1, **how)
    assert_alone(frame, MODELS["deep"], problem(), opts, [0], {**ALONE, "batch_size": batch_size})


@pytest.mark.jit
@pytest.mark.parametrize("count", [6, 7, 15, 16, 17, 31, 33])
def test_r1_in_any_group(count):
    """The same run among any number of neighbours, in any lane."""
    opt, others = lnb.Lookahead(lnb.AdamW(0.03), retention=0.7), list(many(40))
    frames = []
    for at in sorted({0, count // 2, count - 1}):
        opts = [*others[:at], opt, *others[at : count - 1]]
        frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, **HOW)
        frames.append(frame[frame["run"] == frame["run"].unique()[at]][RESULTS].to_numpy())
    alone = lnb.train(MODELS["perceptron"], problem(), opt, **ALONE).history[RESULTS].to_numpy()
    assert all(np.array_equal(found, alone) for found in frames)


SIDE_BY_SIDE = {
    "keep": [lnb.Lookahead(lnb.AdamW(0.02), sync_period=2, slow_step_size=0.3), lnb.AdamW(0.03)],
    "averaging": [lnb.Lookahead(lnb.AdamW(0.02), sync_period=2, slow_step_size=0.3, pull_back=False)],
    "reset": [lnb.Lookahead(lnb.AdamW(0.02), sync_period=2, slow_step_size=0.3, inner_state="reset")],
    "interpolate": [lnb.Lookahead(lnb.AdamW(0.02), sync_period=2, slow_step_size=0.3, inner_state="interpolate")],
    "steps in turn": [lnb.Lookahead(lnb.AdamW(0.02), sync_period=2, slow_step_size=(0.3, 0.9))],
    "average": [lnb.EMA(lnb.AdamW(0.02), window=3)],
    "momentum": [lnb.Lookahead(lnb.AdamW(0.02), sync_period=1, outer_momentum=0.8)],
    "nesterov": [lnb.Lookahead(lnb.SGD(0.2), sync_period=2, outer_momentum=0.8, outer_nesterov=True)],
    "Schedule-Free": [lnb.ScheduleFreeAdamW(0.02, beta1=0.7)],
    "another rule": [lnb.SGD(0.1, momentum=0.5), lnb.Lookahead(lnb.SGD(0.2, momentum=0.9), sync_period=3)],
}


@pytest.mark.parametrize("opts", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
@pytest.mark.parametrize("name", ["perceptron", "deep", "sigmoid", "one logit", "logistic"])
def test_r1_side_by_side(name, opts, monkeypatch):
    """The kernel of many lanes itself, which plain Python runs with one."""
    if not COMPILED:
        monkeypatch.setattr(groups, "ROWS_AT_ONCE", 5)
    assert_side_by_side(MODELS[name], opts, batch_size=4)


def test_r1_side_by_side_in_a_repeated_order():
    size = 20 if COMPILED else 4  # some epochs in few steps
    assert_side_by_side(MODELS["one logit"], SIDE_BY_SIDE["another rule"], batch_size=size, order="repeated")


def assert_side_by_side(model, opts, **how):
    training = Training(steps=5, eval_at=[1, 2, 4], eval_rows=100, **how)
    here = Setup(model, problem(model.n_classes), training)
    rows = here.rows(3)
    for opt in opts:
        params = model.init(3)
        alone = engine_cpu.train_network(here, opt, 3, rows, params, opt.init(params))
        beside = engine_cpu.train_side_by_side(here, [opt], [3], [rows])
        kinds = 1 + opt.has_slow_weights
        assert np.array_equal(beside.results[:, :, :kinds], alone.results[:, :, :kinds])
        assert beside.diverged_at == alone.diverged_at == -1


@pytest.mark.parametrize("name", ["perceptron", "deep", "one logit", "logistic"])
def test_r1_on_data_of_its_own(name, monkeypatch):
    """Rows of a second data set, in a kernel that holds several; plain Python runs it with one lane."""
    if not COMPILED:
        monkeypatch.setattr(groups, "ROWS_AT_ONCE", 5)
    model = MODELS[name]
    training = Training(steps=5, batch_size=4, eval_at=[1, 2, 4], eval_rows=100)
    decoy, here = (Setup(model, alike(model.n_classes, seed), training) for seed in (1, 0))
    rows, others, opt = here.rows(3), decoy.rows(3), lnb.Lookahead(lnb.AdamW(0.02), sync_period=2)
    params = model.init(3)
    alone = engine_cpu.train_network(here, opt, 3, rows, params, opt.init(params))
    batches_of, evaluation_of = bundles.batches_of_lanes, bundles.evaluation_of_lanes

    def batches_of_lanes(distinct, sets, *how):
        return batches_of([others, *distinct], [1 for _ in sets], *how)

    monkeypatch.setattr(bundles, "batches_of_lanes", batches_of_lanes)
    monkeypatch.setattr(bundles, "evaluation_of_lanes", lambda all_, *how: evaluation_of([others, *all_], *how))
    beside = engine_cpu.train_side_by_side(here, [opt], [3], [rows])
    assert np.array_equal(beside.results, alone.results)


@pytest.mark.jit
@each_width
@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "own data"])
@pytest.mark.parametrize("name", ["perceptron", "deep", "one logit", "logistic"])
def test_r1_among_runs_of_other_seeds(name, own_data, dtype):
    """Few settings and many seeds: lanes of one group have their own minibatches, starts and data."""
    model, seeds = MODELS[name], [3, 1, 2**40, 7, 9, 11, 8]
    data = partial(alike, model.n_classes) if own_data else problem(model.n_classes)
    opts = list(many(5))
    order = "repeated" if name == "one logit" else "shuffled"
    how = {**HOW, "dtype": dtype, "eval_at": [1, 3, 4], "steps": 20, "order": order}
    frame = lnb.sweep(model, data, opts, seeds=seeds, **how)
    how.pop("progress")
    assert_alone(frame, model, data, opts, seeds, how)


def formed(counts, opts, rows=None):
    """The groups of runs of several seeds, with so many runs each."""
    model, data = MODELS["perceptron"], problem()
    here = Setup(model, data, Training(steps=5, batch_size=4))
    seeds = [seed for seed, count in enumerate(counts) for _ in range(count)]
    rows = rows or {seed: here.rows(seed) for seed in seeds}
    found = plan.groups(here, opts[: len(seeds)], seeds, rows)
    assert sorted(itertools.chain.from_iterable(found)) == list(range(len(seeds)))
    return [[seeds[i] for i in group] for group in found]


@pytest.mark.jit
def test_groups_have_one_seed_where_it_fills_them_and_several_where_not():
    assert [len(group) for group in formed([40], [lnb.AdamW(0.01)] * 40)] == [16, 16, 8]
    five = [lnb.AdamW(0.01)] * 100
    assert [len(group) for group in formed([5] * 10, five)] == [16, 16, 16, 1, 1]
    mixed = formed([20, 4, 14, 9], five)
    assert sorted((len(group), len({*group})) for group in mixed) == [(1, 1), (14, 1), (16, 1), (16, 3)]
    assert all(len(group) == 1 for group in formed([3, 2], five))


@pytest.mark.jit
def test_data_of_other_shapes_or_large_data_is_not_mixed(monkeypatch):
    opts = [lnb.AdamW(0.01)] * 16
    setups = [Setup(MODELS["perceptron"], alike(seed=seed), Training(steps=5, batch_size=4)) for seed in range(2)]
    rows = {seed: here.rows(0) for seed, here in enumerate(setups)}
    assert [len({*group}) for group in formed([8, 8], opts, rows)] == [2]
    shorter = replace(rows[1], X=rows[1].X[:-1], y=rows[1].y[:-1])
    assert [{*group} for group in formed([8, 8], opts, {0: rows[0], 1: shorter})] == [{0}, {1}]
    monkeypatch.setattr(plan, "MOST_COPIED", 16 * rows[0].nbytes - 1)
    assert [{*group} for group in formed([8, 8], opts, rows)] == [{0}, {1}]


def in_frame(**changes):
    """The frame of one fixed sweep, with other ways of working through it."""
    opts = list(many(20 if COMPILED else 3))
    return lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=[3, 1], **(HOW | changes))


@pytest.mark.jit
def test_r1_on_any_number_of_threads():
    before = numba.get_num_threads()
    frames = []
    try:
        for threads in (1, 2):
            if threads <= numba.config.NUMBA_NUM_THREADS:
                numba.set_num_threads(threads)
                frames.append(in_frame())
    finally:
        numba.set_num_threads(before)
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], check_exact=True)


@pytest.mark.parametrize("chunk", [1, 7] if COMPILED else [2])
def test_r1_in_any_chunk(chunk, monkeypatch):
    whole = in_frame()
    monkeypatch.setattr(setup, "OPERATIONS_AT_ONCE", chunk * 6 * MODELS["perceptron"].size * BATCH)
    pd.testing.assert_frame_equal(in_frame(), whole, check_exact=True)


@pytest.mark.parametrize("runs", [16, 1024])
def test_r1_in_units_of_any_size(runs, monkeypatch):
    whole = in_frame()
    monkeypatch.setattr(plan, "UNIT_RUNS", runs)
    monkeypatch.setattr(plan, "SHARED_FROM", 1)
    monkeypatch.setattr(plan, "MIXED_FROM", 1)
    pd.testing.assert_frame_equal(in_frame(), whole, check_exact=True)


def test_r1_in_any_order():
    opts, model = list(many(20 if COMPILED else 3)), MODELS["perceptron"]
    frames = [
        lnb.sweep(model, problem(), configs, seeds=seeds, **HOW).sort_values(["run", "step", "weights"])
        for configs, seeds in ((opts, [3, 1]), (opts[::-1], [1, 3]))
    ]
    pd.testing.assert_frame_equal(*(frame[["run", "step", *RESULTS]].reset_index(drop=True) for frame in frames))
    assert np.array_equal(*(frame[RESULTS].to_numpy() for frame in frames))


@pytest.mark.jit
def test_r1_in_another_process():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        frame = in_frame(executor=pool)
    pd.testing.assert_frame_equal(frame, in_frame(), check_exact=True)


@pytest.mark.jit
@pytest.mark.parametrize("after", [0, 1, 2])
def test_r1_after_an_interruption(after, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", 16)
    whole, stored, reported = in_frame(), [], []

    def stop(done, total):
        stored.append(done)
        if len(stored) > after and done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_frame(store=tmp_path / "store", progress=stop)
    frame = in_frame(store=tmp_path / "store", progress=lambda *now: reported.append(now))
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)
    total = 40
    assert reported[0] == (stored[-1], total)
    assert reported[-1] == (total, total)


def test_an_interrupt_that_foreign_code_clears_still_ends_the_sweep():
    """`hasattr` in C clears every exception; so does this function."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background Ctrl-C may be ignored
    reported = []

    def swallow(*now):
        reported.append(now)
        if len(reported) == 2:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            in_frame(progress=swallow)
    finally:
        after = signal.signal(signal.SIGINT, before)
    assert len(reported) == 2
    assert after is signal.default_int_handler


# ------------------------------------------------------------------------------------------------ divergence


@pytest.mark.jit  # plain Python warns on the way to inf
@each_width
def test_a_configuration_that_diverges_is_a_result(dtype):
    """Each lane by itself: its neighbours do not notice, and the frame says where it ended."""
    how = {**HOW, "dtype": dtype, "eval_at": range(STEPS)}
    limit = float(np.finfo(dtype).max)
    rates = [0.01, limit / 1e3, 0.02, limit / 1e6, 0.5, 1e3, 0.1][: 7 if COMPILED else 2]
    opts = [lnb.Lookahead(lnb.SGD(lr), sync_period=3) for lr in rates]
    frame = lnb.sweep(MODELS["deep"], problem(), opts, seeds=2, **how)
    assert_alone(frame, MODELS["deep"], problem(), opts, [0, 1], {k: v for k, v in how.items() if k != "progress"})
    ended = frame.groupby("lr")["status"].agg(set)
    assert ended[0.01] == {"ok"}
    assert ended[limit / 1e3] == {"ok", "diverged"}
    late = frame[frame["step"] >= frame["diverged_at"]]
    assert len(late) > 0
    assert late[RESULTS].isna().all(axis=None)


# ------------------------------------------------------------------------------------------------ grids


def test_a_grid_is_the_product_of_its_axes_the_last_one_fastest():
    base = lnb.Lookahead(lnb.AdamW(weight_decay=0.3), sync_period=4)
    opts = lnb.grid(base, slow_step_size=[0.1, 0.5], lr=[1.0, 2.0])
    assert [(opt.slow_step_size, opt.inner.lr) for opt in opts] == [(0.1, 1.0), (0.1, 2.0), (0.5, 1.0), (0.5, 2.0)]
    assert {(opt.sync_period, opt.inner.weight_decay) for opt in opts} == {(4, 0.3)}


def test_retention_replaces_the_slow_step_size_of_the_base():
    base = lnb.Lookahead(lnb.AdamW(), slow_step_size=0.3, inner_state="reset")
    assert lnb.grid(base, retention=[0.9]) == [lnb.Lookahead(lnb.AdamW(), slow_step_size=0.1, inner_state="reset")]


def test_a_grid_without_axes_is_its_base():
    assert lnb.grid(lnb.SGD(0.1)) == [lnb.SGD(0.1)]


def test_a_grid_reaches_every_setting():
    inner = lnb.grid(lnb.SGD(0.1), momentum=[0.5, 0.9], nesterov=[True], weight_decay=[0.1])
    assert inner == [lnb.SGD(0.1, momentum=m, nesterov=True, weight_decay=0.1) for m in (0.5, 0.9)]
    outer = lnb.grid(lnb.Lookahead(lnb.AdamW()), pull_back=[True, False], sync_period=range(2, 4), beta1=[0.5])
    assert len(set(outer)) == 4


def test_an_axis_may_be_an_iterator():
    rates, periods = [1e-3, 1e-2], [5, 10]
    by_list = lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=rates, sync_period=periods)
    assert len(by_list) == 4
    assert lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=(lr for lr in rates), sync_period=map(int, periods)) == by_list
    assert lnb.grid(lnb.AdamW(), lr=iter(np.array(rates))) == lnb.grid(lnb.AdamW(), lr=rates)
    with pytest.raises(ValueError, match="lr must hold at least one value, got none"):
        lnb.grid(lnb.AdamW(), lr=iter(()))


def test_a_grid_of_averages():
    base = lnb.EMA(lnb.AdamW(), window=7)
    opts = lnb.grid(base, window=[10, 100], lr=[0.1])
    assert opts == [lnb.EMA(lnb.AdamW(0.1), window=10), lnb.EMA(lnb.AdamW(0.1), decay=0.99)]
    assert lnb.grid(base, decay=[0.5], beta1=[0.8]) == [lnb.EMA(lnb.AdamW(beta1=0.8), decay=0.5)]
    assert lnb.grid(base, lr=[0.1]) == [lnb.EMA(lnb.AdamW(0.1), window=7)]


def test_a_grid_takes_steps_in_turn_and_adaptive_ones():
    steps = [0.5, [0.3, 0.9], "adaptive", lnb.Adaptive(0.2)]
    opts = lnb.grid(lnb.Lookahead(lnb.AdamW(), sync_period=7), slow_step_size=steps, lr=[0.1])
    assert opts == [lnb.Lookahead(lnb.AdamW(0.1), sync_period=7, slow_step_size=step) for step in steps]
    assert lnb.grid(opts[2], beta1=[0.5])[0] == lnb.Lookahead(
        lnb.AdamW(0.1, beta1=0.5), sync_period=7, slow_step_size="adaptive"
    )


def test_a_number_for_lr_is_the_peak_of_the_schedule_of_the_base():
    schedule = lnb.schedules.cosine(0.1, steps=100, warmup=5)
    opts = lnb.grid(lnb.Lookahead(lnb.AdamW(schedule)), lr=[0.2, lnb.schedules.linear(1.0, 10)])
    assert opts[0].inner.lr == lnb.schedules.cosine(0.2, steps=100, warmup=5)
    assert opts[1].inner.lr == lnb.schedules.linear(1.0, 10)


def test_a_number_for_weight_decay_is_the_peak_of_the_schedule_of_the_base():
    falling = lnb.schedules.cosine(0.1, steps=100, warmup=5)
    opts = lnb.grid(lnb.Lookahead(lnb.AdamW(weight_decay=falling)), weight_decay=[0.2, lnb.schedules.linear(1.0, 10)])
    assert opts[0].inner.weight_decay == lnb.schedules.cosine(0.2, steps=100, warmup=5)
    assert opts[1].inner.weight_decay == lnb.schedules.linear(1.0, 10)


BAD_GRIDS = {
    "no optimizer": (("adamw",), {}, TypeError, "base must be an inner optimizer, Lookahead or EMA, got 'adamw'"),
    "unknown axis": ((lnb.SGD(),), {"lrr": [1]}, TypeError, "an axis must be one of lr, .*got 'lrr'"),
    "axis of Lookahead": ((lnb.SGD(),), {"retention": [0.5]}, TypeError, "an axis must be one of .*got 'retention'"),
    "no list": ((lnb.SGD(),), {"lr": 0.1}, TypeError, "lr must be a list of values, got 0.1"),
    "a word": ((lnb.Lookahead(lnb.SGD()),), {"inner_state": "keep"}, TypeError, "inner_state must be a list"),
    "empty": ((lnb.SGD(),), {"lr": []}, ValueError, "lr must hold at least one value, got none: the grid would be"),
    "bad value": ((lnb.SGD(),), {"lr": [-1]}, ValueError, "lr must be a finite number of at least 0, got -1"),
    "both": (
        (lnb.Lookahead(lnb.SGD()),),
        {"retention": [0.5], "slow_step_size": [0.5]},
        ValueError,
        "slow_step_size and retention cannot both be given",
    ),
}


@pytest.mark.parametrize("case", BAD_GRIDS.values(), ids=BAD_GRIDS)
def test_a_bad_grid_is_refused_in_one_sentence(case):
    given, axes, error, message = case
    with pytest.raises(error, match=message):
        lnb.grid(*given, **axes)


# ------------------------------------------------------------------------------------------------ frames


def test_rows_stand_by_configuration_seed_step_and_weights():
    opts = [lnb.AdamW(0.01), lnb.SGD(0.1), lnb.Lookahead(lnb.AdamW(0.02), sync_period=2)]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=[7, 3], **HOW)
    names = frame.drop_duplicates("run")[["optimizer", "seed"]].to_numpy().tolist()
    assert names == [[name, seed] for name in ("AdamW", "SGD", "Lookahead(AdamW)") for seed in (7, 3)]
    steps = Training(steps=STEPS, eval_at=HOW["eval_at"]).eval_steps.tolist()
    first, last = frame[frame["seed"] == 3].iloc[: len(steps)], frame.iloc[-2 * len(steps) :]
    assert first["step"].tolist() == steps
    assert first["weights"].eq("fast").all()
    assert last["step"].tolist() == [step for step in steps for _ in range(2)]
    assert last["weights"].tolist() == ["fast", "slow"] * len(steps)
    assert frame.index.tolist() == list(range(len(frame)))


def test_settings_that_do_not_apply_are_nan():
    opts = [lnb.SGD(0.1, momentum=0.5), lnb.Lookahead(lnb.AdamW(0.02))]
    frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, **HOW).set_index("optimizer")
    assert (
        frame.loc["SGD", ["sync_period", "retention", "inner_state", "pull_back", "phase", "beta1"]]
        .isna()
        .all(axis=None)
    )
    assert frame.loc["Lookahead(AdamW)", ["momentum", "nesterov"]].isna().all(axis=None)
    assert frame.loc["Lookahead(AdamW)", "phase"].tolist() == [s % 5 for s in frame.loc["Lookahead(AdamW)", "step"]]
    assert frame.loc["SGD", "momentum"].eq(0.5).all()


def test_a_frame_from_a_store_is_that_from_memory(tmp_path):
    frame = in_frame()
    pd.testing.assert_frame_equal(in_frame(store=tmp_path / "store"), frame, check_exact=True)
    store = in_frame(store=tmp_path / "store", frame=False)
    pd.testing.assert_frame_equal(store.frame(), frame, check_exact=True)
    assert store.verify() == []


def test_a_store_of_another_sweep_is_refused_and_the_difference_named(tmp_path):
    opts = [lnb.SGD(0.1), lnb.SGD(0.2)]
    model, how = MODELS["perceptron"], {"seeds": 2, "store": tmp_path / "store", **HOW}
    lnb.sweep(model, problem(), opts, **how)
    for change, name in (
        ({"batch_size": 5}, "training.batch_size: here 5, there"),
        ({"steps": STEPS + 1}, "training.steps: here"),
        ({"dtype": "float64"}, "training.dtype: here"),
        ({"eval_rows": 7}, "training.eval_rows: here 7"),
        ({"eval_at": []}, "eval_steps"),
    ):
        for request in ({}, {"seeds": [5]}):
            with pytest.raises(ValueError, match=f"configuration must be that of the store .*{name}"):
                lnb.sweep(model, problem(), opts, **how | change | request)
    with pytest.raises(ValueError, match="data: here"):
        lnb.sweep(model, problem(3, 1), opts, **how)
    with pytest.raises(ValueError, match=r"model.*: here"):
        lnb.sweep(MODELS["deep"], problem(), opts, **how)
    assert sorted(path.suffix for path in (tmp_path / "store").iterdir()) == [".json", ".parquet"]


def test_a_store_whose_runs_may_have_other_bits_is_refused(tmp_path, monkeypatch):
    how = {"store": tmp_path / "store", **HOW}
    lnb.sweep(MODELS["perceptron"], problem(), [lnb.SGD(0.1)], seeds=1, **how)
    monkeypatch.setattr("lookahead_nb.training.setup.FORMULAS_ID", "another")
    with pytest.raises(ValueError, match=r'training\.formulas: here "another", there "2"'):
        lnb.sweep(MODELS["perceptron"], problem(), [lnb.SGD(0.1)], seeds=2, **how)


def test_data_may_be_a_function_of_the_seed():
    opts = list(many(7 if COMPILED else 2))
    data = partial(problem, 3)
    frame = lnb.sweep(MODELS["perceptron"], data, opts, seeds=[0, 4, 9, 11, 12], **HOW)
    assert_alone(frame, MODELS["perceptron"], data, opts, [0, 4, 9, 11, 12])
    assert frame[frame["step"] == 0].groupby("seed")["train_loss"].nunique().eq(1).all()


def test_equal_configurations_are_trained_once_and_that_is_said():
    opts = [lnb.SGD(0.1), lnb.Lookahead(lnb.SGD(0.1)), lnb.Lookahead(lnb.SGD(0.1), retention=0.5), lnb.SGD(0.1)]
    with pytest.warns(UserWarning, match="configs contains 2 duplicates; each distinct configuration is trained once"):
        frame = lnb.sweep(MODELS["perceptron"], problem(), opts, seeds=1, **HOW)
    assert frame["run"].nunique() == 2


def test_units_do_not_depend_on_the_machine():
    """Their names are those of files on a disk, which another machine may go on with."""
    data = from_arrays(np.zeros((200, 64)), np.arange(200) % 10)
    units = plan.Plan(Setup(lnb.MLP((64, 32, 10)), data, Training()), list(many(100)), [0, 1]).units
    assert [unit.size for unit in units] == [16] * 12 + [8]
    assert units[0].name == "8142ea1aba9f1b17b22908e01744a31e"
    runs = [(seed, i) for unit in units for seed, i in zip(unit.seeds, unit.which.tolist(), strict=True)]
    assert sorted(runs) == list(itertools.product([0, 1], range(100)))
    assert [seed for seed, _ in runs] == [0] * 100 + [1] * 100


class Recording(Executor):
    """Runs at once what it is given, and notes it."""

    def __init__(self):
        self.units = []

    def submit(self, fn, unit):
        from concurrent.futures import Future

        self.units.append(unit)
        future = Future()
        future.set_result(fn(unit))
        return future


def test_any_executor_gets_every_unit_once():
    executor = Recording()
    pd.testing.assert_frame_equal(in_frame(executor=executor), in_frame(), check_exact=True)
    assert sum(unit.size for unit in executor.units) == (40 if COMPILED else 6)
    assert len({unit.name for unit in executor.units}) == len(executor.units)


def test_the_error_of_a_unit_reaches_the_caller_and_the_others_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", 16)

    def data(seed):
        if seed == 2:
            raise OSError("no such seed")
        return problem()

    rates = [0.01 * i for i in range(1, 17)]
    sweep = partial(lnb.sweep, MODELS["perceptron"], data, lnb.grid(lnb.SGD(), lr=rates), seeds=5, **HOW)
    with pytest.raises(OSError, match="no such seed"):
        sweep()
    with pytest.raises(OSError, match="no such seed"):
        sweep(store=tmp_path / "store")
    (missing,) = Store.open(tmp_path / "store").verify()
    assert missing.startswith("1 of 5 units are missing")  # all others are kept


# ------------------------------------------------------------------------------------------------ bad input

BAD = {
    "empty": ({"configs": []}, ValueError, "configs must hold at least one optimizer, got none"),
    "one optimizer": ({"configs": lnb.SGD(0.1)}, TypeError, "configs must be a list of optimizers"),
    "no optimizer": (
        {"configs": [lnb.SGD(0.1), 3]},
        TypeError,
        r"configs\[1\] must be an inner optimizer, Lookahead or EMA, got 3",
    ),
    "no seeds": ({"seeds": []}, ValueError, "seeds must hold at least one seed, got none"),
    "zero seeds": ({"seeds": 0}, ValueError, "seeds must be a whole number of at least 1, got 0"),
    "bad seed": ({"seeds": [0, -1]}, ValueError, r"seeds\[1\] must be a whole number from 0"),
    "seed twice": ({"seeds": [0, 1, 0]}, ValueError, "seeds must all differ, got 0 twice"),
    "zero steps": ({"steps": 0}, ValueError, "steps must be a whole number of at least 1, got 0"),
    "rare evaluation": (
        {"eval_at": None, "eval_every": 61, "steps": 60},
        ValueError,
        "eval_every must be at most the 60 steps of a run, got 61",
    ),
    "late evaluation": (
        {"eval_at": [STEPS + 1]},
        ValueError,
        rf"eval_at\[0\] must be a whole number from 0 to {STEPS}",
    ),
    "no data": ({"data": None}, TypeError, "data must be a Dataset, or a function of the seed"),
    "no model": ({"model": 3}, TypeError, "model must be a LogisticRegression or an MLP, or a landscape, got 3"),
    "frame": ({"frame": 1}, TypeError, "frame must be True or False, got 1"),
    "nothing kept": ({"frame": False}, ValueError, "frame must be True without a store"),
    "executor": ({"executor": 2}, TypeError, "executor must be a concurrent.futures.Executor, got int"),
    "backend": ({"backend": "gpu"}, ValueError, "backend must be one of 'cpu', 'cuda', got 'gpu'"),
    "width": ({"configs": [lnb.SGD(1e60)]}, ValueError, "lr must make steps and decays below"),
    "progress": ({"progress": 3}, TypeError, "progress must be True, False or a function of two numbers, got 3"),
    "too large": (
        {"seeds": 5000, "steps": 10**5, "eval_at": range(10**5)},
        MemoryError,
        "the frame of 5,000 runs would take about .* GB.* or give store= and frame=False",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_sentence(case, tmp_path):
    changes, error, message = case
    how = {"model": MODELS["perceptron"], "data": problem(), "configs": [lnb.SGD(0.1)], "seeds": 1} | HOW | changes
    with pytest.raises(error, match=message) as refused:
        lnb.sweep(how.pop("model"), how.pop("data"), how.pop("configs"), **how)
    assert "\n" not in str(refused.value)


def test_seeds_in_flight_load_their_rows_once(monkeypatch):
    """Eight threads, two kernels for each seed: as on a machine with eight cores."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: 8)
    monkeypatch.setattr(plan, "UNIT_RUNS", 16)
    loads = []

    def load(seed):
        loads.append(seed)
        return problem(seed=seed)

    configs = [lnb.AdamW(0.01), lnb.SGD(0.1)]
    lnb.sweep(MODELS["perceptron"], load, configs, seeds=8, steps=3, batch_size=BATCH, progress=False)
    assert sorted(loads) == [*range(8)]


# ------------------------------------------------------------------------------------------------ many tasks


def tasks(**changes):
    """Tasks of different shapes and lengths, one of them with its own configurations."""
    by_name = {
        "perceptron": lnb.Task("perceptron", MODELS["perceptron"], problem()),
        "per seed": lnb.Task("per seed", MODELS["logistic"], partial(problem, 2), steps=7, batch_size=3, eval_at=[2]),
        "bowl": lnb.Task("bowl", lnb.landscapes.Quadratic([1.0, 0.1]), steps=9),
        "own": lnb.Task("own", MODELS["deep"], problem(), configs=[lnb.SGD(0.1), lnb.ScheduleFreeAdamW(0.01)]),
    }
    return [replace(by_name[name], **changes.get(name, {})) for name in by_name]


SEEDS_OF_TASKS = [3, 1]
OF_TASKS: dict = {"seeds": SEEDS_OF_TASKS, "steps": 10, "batch_size": 4, "eval_at": [1, 4], "progress": False}


@pytest.mark.parametrize("stored", [False, True])
def test_r1_for_a_task_among_others(stored, tmp_path):
    opts = list(many(7 if COMPILED else 2))
    frame = lnb.sweep(tasks(), None, opts, store=tmp_path / "store" if stored else None, **OF_TASKS)
    assert list(frame)[:3] == ["task", "run", "seed"]
    assert frame["task"].drop_duplicates().tolist() == [task.name for task in tasks()]
    for task in tasks():
        how = {name: getattr(task, name) or OF_TASKS[name] for name in ("steps", "batch_size", "eval_at")}
        alone = lnb.sweep(task.model, task.data, task.configs or opts, seeds=SEEDS_OF_TASKS, progress=False, **how)
        rows = frame[frame["task"] == task.name].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[list(alone)], alone, check_exact=True, check_dtype=False)


def test_tasks_resume_from_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", 16)
    opts, stored = list(many(20 if COMPILED else 2)), []

    def stop(done, total):
        stored.append(done)
        if 0 < done < total:
            raise KeyboardInterrupt

    how = {**OF_TASKS, "store": tmp_path / "store"}
    with pytest.raises(KeyboardInterrupt):
        lnb.sweep(tasks(), None, opts, **{**how, "progress": stop})
    reported = []
    frame = lnb.sweep(tasks(), None, opts, **{**how, "progress": lambda *now: reported.append(now)})
    assert reported[0][0] == stored[-1] > 0
    pd.testing.assert_frame_equal(frame, lnb.sweep(tasks(), None, opts, **OF_TASKS), check_exact=True)
    with pytest.raises(ValueError, match=r"configuration must be that of the store .*tasks.bowl.training.steps"):
        lnb.sweep(tasks(bowl={"steps": 8}), None, opts, **how)


def test_the_task_with_the_most_work_is_trained_first():
    executor = Recording()
    lnb.sweep(tasks(), None, list(many(2)), executor=executor, **OF_TASKS)
    work = [unit.work for unit in executor.units]
    assert work == sorted(work, reverse=True)
    assert len({unit.task for unit in executor.units}) == 4


def test_data_that_cannot_be_made_names_task_and_seed_and_the_others_are_kept(tmp_path):
    def data(seed):
        if seed == 1:
            raise OSError("no such seed")
        return problem(2)

    bad, message = (
        tasks(**{"per seed": {"data": data}}),
        r"task 'per seed' could not make the data of seed 1 \(OSError: ",
    )
    with pytest.raises(plan.DataError, match=message):
        lnb.sweep(bad, None, [lnb.SGD(0.1)], store=tmp_path / "store", **OF_TASKS)
    (missing,) = Store.open(tmp_path / "store").verify()
    assert missing.startswith("1 of 4 units are missing")
    with pytest.raises(plan.DataError, match=message):
        lnb.sweep(bad, None, [lnb.SGD(0.1)], **{**OF_TASKS, "seeds": [1]})


BAD_TASKS = {
    "none": ([], {}, ValueError, "tasks must hold at least one task, got none"),
    "no task": ([3], {}, TypeError, r"tasks\[0\] must be a Task, got 3"),
    "no name": ([lnb.Task("", MODELS["deep"], None)], {}, TypeError, r"tasks\[0\] must have a name, got ''"),
    "one task": (tasks()[0], {}, TypeError, "tasks must be a list, got the task .* alone"),
    "same name": ([*tasks(), tasks()[1]], {}, ValueError, r"tasks\[4\] must have a name of its own.*'per seed' too"),
    "bad steps": (tasks(own={"steps": 0}), {}, ValueError, r"tasks\[3\] \('own'\): steps must be a whole number"),
    "bad data": (tasks(own={"data": problem(2)}), {}, ValueError, r"tasks\[3\] \('own'\): data must have the features"),
    "bad configs": (tasks(own={"configs": []}), {}, ValueError, r"\('own'\): configs must hold at least one"),
    "no configs": (tasks(), {"configs": None}, TypeError, r"configs must be a list .* tasks\[0\] has none of its own"),
    "data beside": (tasks(), {"data": problem()}, TypeError, "data must be None with a list of tasks"),
}


@pytest.mark.parametrize("case", BAD_TASKS.values(), ids=BAD_TASKS)
def test_a_bad_task_is_refused_ahead_of_all_training(case, monkeypatch):
    entries, how, error, message = case
    monkeypatch.setattr(plan, "train_unit", None)
    how = {"data": None, "configs": [lnb.SGD(0.1)]} | how
    with pytest.raises(error, match=message) as refused:
        lnb.sweep(entries, how["data"], how["configs"], **OF_TASKS)
    assert "\n" not in str(refused.value)
