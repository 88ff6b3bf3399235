"""One training run: the bits of stepping by hand, what is evaluated when, history, divergence, what is refused."""

import itertools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import pytest
from numba.core import event

import lookahead_nb as lnb
from lookahead_nb.datasets import from_arrays, stratified_rows
from lookahead_nb.kernels.cpu import step as cpu_step
from lookahead_nb.kernels.formulas import RULES, pull
from lookahead_nb.optimizers import coefficients, schedules, step_table
from lookahead_nb.training import setup, train
from tests.support import reference_network as reference
from tests.support.cases import INNER, INNER_STATES, WRAPPED, picture

COMPILED = not numba.config.DISABLE_JIT
STEPS, BATCH, ROWS = (100, 8, 60) if COMPILED else (7, 5, 25)
LOCK_STEP = 1e-12  # float64 against float64: a hundred steps left 2e-15 here, and another CPU may round otherwise
WIDTHS = ["float32", "float64"]
SPLITS = ["train", "validation", "test"]

each_width = pytest.mark.parametrize("dtype", WIDTHS)
adamw, sgd = lnb.AdamW(0.02), lnb.SGD(0.1)
lookahead = lnb.Lookahead(adamw, sync_period=3, slow_step_size=0.4)

OPTIMIZERS = {
    **INNER,
    **{
        f"Lookahead({rule}) {mode}": lnb.Lookahead(INNER[rule], sync_period=3, retention=0.7, inner_state=mode)
        for (i, rule), (j, mode) in itertools.product(enumerate(WRAPPED), enumerate(INNER_STATES))
        if COMPILED or i % 3 == j
    },
    "no pull-back": lnb.Lookahead(adamw, sync_period=3, pull_back=False),
    "momentum": lnb.Lookahead(adamw, sync_period=3, outer_momentum=0.8),
    "nesterov in turn": lnb.Lookahead(
        sgd, sync_period=2, slow_step_size=(0.3, 0.9), outer_momentum=0.6, outer_nesterov=True
    ),
    "step 2": lnb.Lookahead(adamw, sync_period=3, slow_step_size=2),
    "average": lnb.EMA(adamw, window=20),
    "average of sgd": lnb.EMA(sgd, decay=0.0),
    "schedule": lnb.AdamW(lnb.schedules.cosine(0.05, steps=STEPS - 2, warmup=3)),
    "restarts": lnb.AdamW(lnb.schedules.cosine_restarts(0.05, 3, factor=2, warmup=2)),
    "any function": lnb.AdamW(lnb.schedules.from_function(lambda t: 0.05 / t, STEPS)),
    "Lookahead with schedule": lnb.Lookahead(lnb.SGD(lnb.schedules.linear(0.3, STEPS)), sync_period=4),
    "sync at every step": lnb.Lookahead(sgd, sync_period=1),
    "no sync at all": lnb.Lookahead(adamw, sync_period=1000),
    "step 0": lnb.Lookahead(adamw, sync_period=3, slow_step_size=0),
    "steps in turn": lnb.Lookahead(adamw, sync_period=2, slow_step_size=(0.3, 0.9, 1), inner_state="interpolate"),
    "adaptive": lnb.Lookahead(lnb.AdamW(lnb.schedules.linear(0.05, STEPS)), sync_period=3, slow_step_size="adaptive"),
    "step 1": lnb.Lookahead(adamw, sync_period=3, slow_step_size=1),
}
each_optimizer = pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)


@cache
def problem(classes=3):
    """Data that a line does not separate, with a model for them."""
    rng = np.random.default_rng(classes)
    X = rng.normal(0, 1, (ROWS, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int) + (np.arange(ROWS) % 2 if classes == 3 else 0)
    return from_arrays(X, y), lnb.MLP((4, 5 if COMPILED else 3, classes), activation="tanh")


def batches(data, seed, first=0, order="shuffled"):
    return itertools.islice(lnb.minibatches(len(data.y_train), BATCH, seed, order=order), first, None)


def walk(model, data, opt, params, state, steps, seed, first=0, order="shuffled"):
    """Steps first + 1, ..., first + steps by hand."""
    X = data.X_train.astype(params.dtype)
    for rows in itertools.islice(batches(data, seed, first, order), steps):
        opt.step(params, model.loss_and_grad(params, X[rows], data.y_train[rows])[1], state)


def by_hand(model, data, opt, steps, seed, dtype, order="shuffled"):
    params = model.init(seed, dtype)
    state = opt.init(params)
    walk(model, data, opt, params, state, steps, seed, order=order)
    return params, state


def same_numbers(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    return True


# ------------------------------------------------------------------------------------------------ by hand


@each_optimizer
@each_width
def test_training_is_stepping_by_hand_in_every_bit(opt, dtype):
    data, model = problem()
    for seed in (0, 2**40 + 1) if COMPILED else (5,):
        run = train(model, data, opt, steps=STEPS, batch_size=BATCH, seed=seed, dtype=dtype, eval_every=STEPS)
        params, state = by_hand(model, data, opt, STEPS, seed, dtype)
        assert run.diverged_at is None
        assert run.params.dtype == dtype
        assert picture(run.params, run.state) == picture(params, state)
        if hasattr(opt, "slow_weights"):
            with opt.slow_weights(params, state):
                assert run.slow.tobytes() == params.tobytes()
            assert getattr(run.state, "slow_steps", None) == getattr(state, "slow_steps", None)
        else:
            assert run.slow is None


@each_width
@pytest.mark.parametrize(
    ("classes", "model"),
    [
        (2, lnb.MLP((4, 3, 2))),
        (3, lnb.MLP((4, 3))),
        (3, lnb.MLP((4, 6, 5, 3), activation="sigmoid")),
        (3, lnb.LogisticRegression(4, n_classes=3, l2=0.1)),
        (2, lnb.LogisticRegression(4, l2=0.1)),
    ],
    ids=lambda value: str(value),
)
def test_every_model_is_trained_as_by_hand(classes, model, dtype):
    data, _ = problem(classes)
    run = train(model, data, lookahead, steps=STEPS, batch_size=BATCH, seed=1, dtype=dtype, eval_every=STEPS)
    assert picture(run.params, run.state) == picture(*by_hand(model, data, lookahead, STEPS, 1, dtype))


@pytest.mark.parametrize("mode", INNER_STATES)
@each_width
def test_a_run_goes_on_by_hand_as_if_it_had_never_stopped(mode, dtype):
    data, model = problem()
    opt = lnb.Lookahead(adamw, sync_period=7, inner_state=mode)
    whole, part = (100, 60) if COMPILED else (9, 5)  # neither a multiple of 7
    run = train(model, data, opt, steps=part, batch_size=BATCH, seed=3, dtype=dtype)
    assert run.state.t == part
    walk(model, data, opt, run.params, run.state, whole - part, 3, first=part)
    at_once = train(model, data, opt, steps=whole, batch_size=BATCH, seed=3, dtype=dtype)
    assert picture(run.params, run.state) == picture(at_once.params, at_once.state)


def test_the_whole_training_part_may_be_one_batch():
    data, model = problem()
    run = train(model, data, sgd, steps=3, batch_size=len(data.y_train))
    params = model.init(0)
    state = sgd.init(params)
    for rows in itertools.islice(lnb.minibatches(len(data.y_train), len(data.y_train), 0), 3):
        sgd.step(params, model.loss_and_grad(params, data.X_train[rows], data.y_train[rows])[1], state)
    assert run.params.tobytes() == params.tobytes()


@pytest.mark.parametrize("pull_back", [True, False])
@pytest.mark.parametrize(
    ("classes", "widths", "activation", "l2"),
    [(3, (4, 5, 3), "tanh", 0.0), (2, (4, 5, 2), "relu", 0.0), (2, (4, 2), "relu", 0.05)],
    ids=["perceptron", "one logit", "logistic with L2"],
)
def test_losses_and_weights_follow_an_independent_trainer_in_lock_step(classes, widths, activation, l2, pull_back):
    data, _ = problem(classes)
    model = lnb.LogisticRegression(4, l2=l2) if l2 else lnb.MLP(widths, activation=activation)
    opt = lnb.Lookahead(lnb.AdamW(0.02), sync_period=4, slow_step_size=0.3, pull_back=pull_back)
    run = train(model, data, opt, steps=STEPS, batch_size=BATCH, seed=2, dtype="float64", eval_every=1)
    X = data.X_train.astype(float)
    path = reference.train(
        model.init(2, "float64"), X, data.y_train, widths, activation, reference.adamw(0.02), batches(data, 2),
        k=4, step_size=0.3, l2=l2, pull_back=pull_back,
    )  # fmt: skip
    for t, weights in enumerate(itertools.islice(path, STEPS), 1):
        rows = run.history[run.history["step"] == t].set_index("weights")
        for kind, flat in zip(("fast", "slow"), weights, strict=True):
            for split in SPLITS:
                part = getattr(data, f"X_{split}").astype(float), getattr(data, f"y_{split}"), widths, activation
                assert abs(rows.loc[kind, f"{split}_loss"] - reference.loss(flat, *part)) <= LOCK_STEP
                assert rows.loc[kind, f"{split}_accuracy"] == reference.accuracy(flat, *part)
    fast, slow = weights
    expected = fast if STEPS % 4 or not pull_back else slow
    assert np.abs(run.params - expected).max() <= LOCK_STEP
    assert np.abs(run.slow - slow).max() <= LOCK_STEP


# ------------------------------------------------------------------------------------------------ evaluation


@each_width
@pytest.mark.parametrize("pull_back", [True, False])
def test_fast_weights_are_evaluated_before_the_pull_and_slow_ones_after_it(pull_back, dtype):
    data, model = problem()
    opt = lnb.Lookahead(adamw, sync_period=3, slow_step_size=0.4, pull_back=pull_back)
    run = train(model, data, opt, steps=7, batch_size=BATCH, dtype=dtype, eval_every=1)
    width = np.dtype(dtype).type
    fast = model.init(0, dtype)
    slow, state, X = fast.copy(), adamw.init(fast), data.X_train.astype(dtype)
    expected = [(fast.copy(), slow)]
    for t, rows in zip(range(1, 8), batches(data, 0), strict=False):
        adamw.step(fast, model.loss_and_grad(fast, X[rows], data.y_train[rows])[1], state)
        before = fast.copy()
        if t % 3 == 0:
            slow = np.array([pull(s, f, width(0.4), width(0.6)) for s, f in zip(slow, fast, strict=True)], dtype)
            fast[:] = slow if pull_back else fast
        expected.append((before, slow))
    weights = [pair[0 if kind == "fast" else 1] for pair in expected for kind in ("fast", "slow")]
    for split in SPLITS:
        part = getattr(data, f"X_{split}"), getattr(data, f"y_{split}")
        assert run.history[f"{split}_loss"].tolist() == [model.loss(w, *part) for w in weights]
        right = [np.mean(model.predict(w, part[0]) == part[1]) for w in weights]
        assert run.history[f"{split}_accuracy"].tolist() == right


@each_width
def test_slow_rows_of_schedule_free_are_those_of_the_average(dtype):
    data, model = problem()
    opt = INNER["schedule_free_adamw"]
    run = train(model, data, opt, steps=5, batch_size=BATCH, dtype=dtype, eval_every=1)
    params = model.init(0, dtype)
    state, X, expected = opt.init(params), data.X_train.astype(dtype), []
    for rows in itertools.chain([None], itertools.islice(batches(data, 0), 5)):
        if rows is not None:
            opt.step(params, model.loss_and_grad(params, X[rows], data.y_train[rows])[1], state)
        expected.append(model.loss(params, data.X_test, data.y_test))
        with opt.slow_weights(params, state):
            expected.append(model.loss(params, data.X_test, data.y_test))
    assert run.history["weights"].tolist() == ["fast", "slow"] * 6
    assert run.history["test_loss"].tolist() == expected
    assert expected[-1] != expected[-2]
    assert run.history["phase"].isna().all()


def test_losses_leave_out_the_l2_term():
    data, _ = problem()
    model, plain = (lnb.LogisticRegression(4, n_classes=3, l2=l2) for l2 in (0.5, 0.0))
    run = train(model, data, sgd, steps=5, batch_size=BATCH)
    last = run.history.iloc[-1]
    assert last["test_loss"] == plain.loss(run.params, data.X_test, data.y_test)
    assert last["test_loss"] < model.loss(run.params, data.X_test, data.y_test)


@pytest.mark.parametrize(
    ("how", "steps"),
    [
        ({}, [0, 7]),
        ({"eval_every": 3}, [0, 3, 6, 7]),
        ({"eval_every": 7}, [0, 7]),
        ({"eval_every": 1}, range(8)),
        ({"eval_at": []}, [0, 7]),
        ({"eval_at": [5, 2, 5]}, [0, 2, 5, 7]),
        ({"eval_at": (0, 7)}, [0, 7]),
        ({"eval_at": np.array([4])}, [0, 4, 7]),
        ({"eval_at": [4], "eval_every": 1}, [0, 4, 7]),
        ({"eval_at": range(3)}, [0, 1, 2, 7]),
    ],
    ids=lambda value: str(value),
)
def test_steps_that_are_evaluated(how, steps):
    data, model = problem()
    plain = train(model, data, sgd, steps=7, batch_size=BATCH, **how).history
    assert plain["step"].tolist() == [*steps]
    assert plain["weights"].tolist() == ["fast"] * len(steps)
    pairs = train(model, data, lookahead, steps=7, batch_size=BATCH, **how).history
    assert pairs["step"].tolist() == [t for t in steps for _ in range(2)]
    assert pairs["weights"].tolist() == ["fast", "slow"] * len(steps)
    assert plain["train_loss"].notna().all()
    assert pairs["train_loss"].notna().all()


def test_what_is_evaluated_moves_no_weight_and_no_other_row():
    data, model = problem()
    often = train(model, data, lookahead, steps=12, batch_size=BATCH, eval_every=1)
    seldom = train(model, data, lookahead, steps=12, batch_size=BATCH, eval_at=[5, 6])
    assert picture(often.params, often.state) == picture(seldom.params, seldom.state)
    common = often.history[often.history["step"].isin([0, 5, 6, 12])].reset_index(drop=True)
    assert same_numbers(common, seldom.history)


def test_phase_counts_the_steps_since_the_last_sync():
    data, model = problem()
    history = train(model, data, lookahead, steps=7, batch_size=BATCH, eval_every=1).history
    assert history["phase"].tolist() == [t % 3 for t in range(8) for _ in range(2)]
    assert train(model, data, sgd, steps=2, batch_size=BATCH).history["phase"].isna().all()


def test_fast_and_slow_start_together_and_part_at_a_sync():
    data, model = problem()
    history = train(model, data, lookahead, steps=3, batch_size=BATCH, eval_every=1).history
    fast, slow = (history.loc[history["weights"] == kind, "train_loss"].tolist() for kind in ("fast", "slow"))
    assert fast[0] == slow[0] == slow[1] == slow[2]
    assert len({fast[3], slow[3], slow[2]}) == 3


@pytest.mark.parametrize("rows", [1, 7, 12, 36, 10_000])
def test_a_larger_part_is_evaluated_on_fixed_stratified_rows(rows):
    data, model = problem()
    for seed in (0, 1):
        run = train(model, data, sgd, steps=2, batch_size=BATCH, seed=seed, eval_rows=rows)
        for split in SPLITS:
            X, y = getattr(data, f"X_{split}"), getattr(data, f"y_{split}")
            chosen = stratified_rows(y, rows, 0) if rows < len(y) else slice(None)
            last = run.history.iloc[-1]
            assert last[f"{split}_loss"] == model.loss(run.params, X[chosen], y[chosen])
            assert last[f"{split}_accuracy"] == np.mean(model.predict(run.params, X[chosen]) == y[chosen])


# ------------------------------------------------------------------------------------------------ the history

EVALUATED = ["step", "phase", "weights", *(f"{s}_{m}" for m in ("loss", "accuracy") for s in SPLITS)]
LOOKAHEAD_SETTINGS = {"sync_period", "slow_step_size", "retention", "inner_state", "pull_back"}


@each_optimizer
def test_history_is_tidy_and_has_the_columns_of_every_setting(opt):
    data, model = problem()
    run = train(model, data, opt, steps=4, batch_size=BATCH, seed=6)
    history = run.history
    settings = opt.settings()
    assert history.columns[:2].tolist() == ["run", "seed"]
    assert history.columns[-11:].tolist() == [*EVALUATED, "status", "diverged_at"]
    assert set(history.columns[2:-11]) == settings.keys() | LOOKAHEAD_SETTINGS
    for name in history.columns[2:-11]:
        assert history[name].nunique(dropna=False) == 1
        value = settings.get(name)
        assert pd.isna(history[name][0]) if value is None else history[name][0] == value
    assert set(history["seed"]) == {6}
    assert set(history["status"]) == {"ok"}
    assert history["diverged_at"].isna().all()
    assert isinstance(history.index, pd.RangeIndex)


def test_names_of_the_optimizer_and_peak_of_its_schedule():
    data, model = problem()
    inner = lnb.AdamW(lnb.schedules.cosine(0.05, steps=9, warmup=2))
    first = train(model, data, lnb.Lookahead(inner, retention=0.9), steps=1, batch_size=BATCH).history.iloc[0]
    named = ("Lookahead(AdamW)", 0.05, "cosine", 9, 2, 0.01, 5, 0.1, 0.9, "keep", True)
    columns = ["optimizer", "lr", "schedule", "schedule_steps", "warmup", "weight_decay", "sync_period"]
    assert tuple(first[[*columns, "slow_step_size", "retention", "inner_state", "pull_back"]]) == named
    assert train(model, data, inner, steps=1, batch_size=BATCH).history["optimizer"][0] == "AdamW"


def test_a_schedule_of_the_weight_decay_is_part_of_a_run_and_a_constant_one_is_the_number():
    data, model = problem()
    opts = [lnb.AdamW(weight_decay=decay) for decay in (lnb.schedules.linear(0.1, 9, warmup=2), 0.1)]
    assert lnb.AdamW(weight_decay=lnb.schedules.constant(0.1)) == opts[1]
    falling, constant = (opt.settings() for opt in opts)
    own = {"schedule": "linear", "schedule_steps": 9, "warmup": 2}
    assert falling == constant | {f"weight_decay_{name}": value for name, value in own.items()}
    runs = [lnb.train(model, data, opt, steps=4, batch_size=BATCH) for opt in opts]
    assert runs[0].history["weight_decay_schedule"].tolist() == ["linear", "linear"]
    assert "weight_decay_schedule" not in runs[1].history
    assert runs[0].history["run"][0] != runs[1].history["run"][0]
    rows = lnb.sweep(model, data, opts, seeds=1, steps=4, batch_size=BATCH, progress=False)
    assert set(rows["run"]) == {run.history["run"][0] for run in runs}


def test_rates_of_a_table_are_those_of_the_steps():
    data, model = problem()
    inner = lnb.SGD(lnb.schedules.from_function(lambda t: 0.1 / t**0.5, 9))
    run = lnb.train(model, data, inner, steps=9, batch_size=BATCH, dtype="float64")
    params = model.init(0, "float64")
    for t, rows in zip(range(1, 10), lnb.minibatches(len(data.X_train), BATCH, 0), strict=False):
        params -= (
            0.1 / t**0.5 * model.loss_and_grad(params, data.X_train[rows].astype(np.float64), data.y_train[rows])[1]
        )
    np.testing.assert_allclose(run.params, params, rtol=1e-12)  # an fma in place of two roundings


def test_a_table_of_fewer_rates_than_steps_is_refused():
    data, model = problem()
    opt = lnb.Lookahead(lnb.SGD(lnb.schedules.from_function(lambda t: 0.1, 9)))
    message = "must have a learning rate for each of the 10 steps, got a table of 9"
    with pytest.raises(ValueError, match=f"opt {message}"):
        lnb.train(model, data, opt, steps=10, batch_size=BATCH)
    with pytest.raises(ValueError, match=rf"configs\[1\] {message}"):
        lnb.sweep(model, data, [lnb.SGD(0.1), opt], seeds=1, steps=10, batch_size=BATCH, progress=False)


def test_run_id_is_a_hash_of_every_setting_and_the_seed():
    data, model = problem()
    other = from_arrays(data.X_train + np.arange(4), data.y_train)
    subset = data.subset(12, seed=0)

    def name(model=model, data=data, opt=lookahead, **how):
        how = {"steps": 2, "batch_size": BATCH} | how
        (run,) = set(train(model, data, opt, **how).history["run"])
        assert len(run) == 16
        assert set(run) <= set("0123456789abcdef")
        return run

    changed = [
        name(seed=1), name(steps=3), name(batch_size=9), name(dtype="float64"), name(data=other), name(data=subset),
        *(name(model=lnb.MLP(widths, activation="tanh")) for widths in ((4, 2, 3), (4, 3))),
        name(model=lnb.MLP(model.widths)),
        *(name(model=lnb.LogisticRegression(4, n_classes=3, l2=l2)) for l2 in (0, 0.1)),
        name(opt=adamw), name(opt=lnb.Adam(0.02, weight_decay=0.01)),
        *(name(opt=replace(adamw, **{key: 0.5})) for key in ("lr", "beta1", "beta2", "eps", "weight_decay")),
        *(name(opt=replace(adamw, lr=s)) for s in (lnb.schedules.linear(0.02, 9), lnb.schedules.cosine(0.02, 9))),
        name(opt=replace(adamw, lr=lnb.schedules.linear(0.02, 9, warmup=1))),
        name(opt=lnb.Lookahead(adamw, sync_period=4, slow_step_size=0.4)),
        name(opt=lnb.Lookahead(adamw, sync_period=3, slow_step_size=0.5)),
        *(name(opt=lnb.Lookahead(adamw, sync_period=3, slow_step_size=0.4, inner_state=m)) for m in INNER_STATES[1:]),
        name(opt=lnb.Lookahead(adamw, sync_period=3, slow_step_size=0.4, pull_back=False)),
        *(name(opt=lnb.SGD(0.1, momentum=0.9, nesterov=nesterov)) for nesterov in (True, False)),
    ]  # fmt: skip
    assert len({name(), *changed}) == len(changed) + 1
    assert name(opt=lnb.Lookahead(lnb.AdamW(0.02), sync_period=3, retention=0.6)) == name()
    assert name(eval_every=1) == name(eval_at=[1]) == name()


def test_same_seed_starts_at_the_same_weights_and_sees_the_same_minibatches():
    data, model = problem()
    runs = [train(model, data, opt, steps=3, batch_size=BATCH, seed=4).history for opt in (sgd, adamw, lookahead)]
    starts = [history[EVALUATED[3:]].iloc[0].tolist() for history in runs]
    assert starts[0] == starts[1] == starts[2]
    # Where the inner rule of a Lookahead has not met a sync yet, the runs cannot be told apart.
    late = train(model, data, lnb.Lookahead(adamw, sync_period=4), steps=3, batch_size=BATCH, seed=4)
    assert late.params.tobytes() == train(model, data, adamw, steps=3, batch_size=BATCH, seed=4).params.tobytes()


@each_width
def test_a_repeated_order_is_stepping_by_hand_in_every_bit(dtype):
    data, model = problem()
    how = {"steps": STEPS, "batch_size": BATCH, "seed": 3, "dtype": dtype, "eval_every": STEPS}
    run = train(model, data, lookahead, **how, order="repeated")
    assert picture(run.params, run.state) == picture(*by_hand(model, data, lookahead, STEPS, 3, dtype, "repeated"))
    shuffled, named = train(model, data, lookahead, **how), train(model, data, lookahead, **how, order="shuffled")
    assert shuffled.params.tobytes() != run.params.tobytes()
    assert shuffled.history["run"][0] != run.history["run"][0]
    assert named.history.equals(shuffled.history)  # the default
    with pytest.raises(ValueError, match="order must be one of 'shuffled', 'repeated', got 'fixed'"):
        train(model, data, lookahead, order="fixed")


def test_a_repeated_order_is_continued():
    data, model = problem()
    how = {"batch_size": BATCH, "seed": 3, "order": "repeated", "eval_every": STEPS - 2}
    longer = train(model, data, lookahead, steps=STEPS - 2, **how).train(2)
    whole = train(model, data, lookahead, steps=STEPS, **how)
    assert picture(longer.params, longer.state) == picture(whole.params, whole.state)


def test_another_seed_is_another_run():
    data, model = problem()
    runs = [train(model, data, sgd, steps=3, batch_size=BATCH, seed=seed) for seed in (0, 1)]
    assert runs[0].history["train_loss"][0] != runs[1].history["train_loss"][0]
    assert runs[0].params.tobytes() != runs[1].params.tobytes()


def test_data_may_be_a_function_of_the_seed():
    data, model = problem()
    X, y = np.concatenate([data.X_train, data.X_test]), np.concatenate([data.y_train, data.y_test])
    asked = []

    def of_seed(seed):
        asked.append(seed)
        return from_arrays(X, y, split_seed=seed)

    for seed in (0, 9):
        run = train(model, of_seed, sgd, steps=3, batch_size=BATCH, seed=seed)
        plain = train(model, from_arrays(X, y, split_seed=seed), sgd, steps=3, batch_size=BATCH, seed=seed)
        assert same_numbers(run.history, plain.history)
    assert asked == [0, 9]


# ------------------------------------------------------------------------------------------------ divergence


def quiet():
    """Plain Python warns of overflows where compiled code is silent; there no warning may come from anywhere else."""
    return nullcontext() if COMPILED else np.errstate(all="ignore")


def test_a_loss_that_is_not_finite_freezes_the_run_before_the_step():
    data, _ = problem()
    model, opt = lnb.MLP((4, 5, 3)), lnb.SGD(1e30)
    with quiet():
        run = train(model, data, opt, steps=20, batch_size=BATCH, eval_every=5)
        first = by_hand(model, data, opt, 1, 0, "float32")[0]
    assert run.diverged_at == 2
    assert run.params.tobytes() == first.tobytes()


def exploding(opt=None, eval_at=(1, 2, 3)):
    """A run whose weights overflow at step 2: they grow by a factor of 1e20 at each."""
    data, _ = problem()
    model, opt = lnb.LogisticRegression(4, n_classes=3), opt or lnb.SGD(1.0, weight_decay=1e20)
    with quiet():
        return train(model, data, opt, steps=10, batch_size=BATCH, eval_at=eval_at)


@pytest.mark.parametrize("eval_at", [(), (1, 2, 3)], ids=str)
def test_a_weight_that_is_not_finite_ends_the_run(eval_at):
    run = exploding(eval_at=eval_at)
    assert run.diverged_at == 2
    assert not np.isfinite(run.params).all()


@pytest.mark.parametrize("wrapped", [False, True])
def test_rows_from_divergence_on_exist_and_hold_nan(wrapped):
    inner = lnb.SGD(1.0, weight_decay=1e20)
    run = exploding(lnb.Lookahead(inner, sync_period=4) if wrapped else inner)
    history, kinds = run.history, 2 if wrapped else 1
    assert history["step"].tolist() == [t for t in (0, 1, 2, 3, 10) for _ in range(kinds)]
    before = history["step"] < 2
    assert history["status"].tolist() == np.where(before, "ok", "diverged").tolist()
    assert set(history["diverged_at"]) == {2}
    measures = history[EVALUATED[3:]]
    assert measures[before].notna().all(axis=None)
    assert measures[~before].isna().all(axis=None)
    if wrapped:
        assert np.isfinite(run.slow).all()


def test_a_sync_may_save_a_run_from_divergence():
    inner = lnb.SGD(1.0, weight_decay=1e20)
    assert exploding(lnb.Lookahead(inner, sync_period=1, slow_step_size=0)).diverged_at is None


@pytest.mark.parametrize("operations", [1, 1e4])
def test_divergence_is_seen_in_any_chunk(monkeypatch, operations):
    whole = exploding()
    monkeypatch.setattr(setup, "OPERATIONS_AT_ONCE", operations)
    pieces = exploding()
    assert same_numbers(pieces.history, whole.history)
    assert pieces.diverged_at == whole.diverged_at


def test_state_of_a_diverged_run_is_that_of_the_last_step_taken():
    data, _ = problem()
    model, opt = lnb.MLP((4, 5, 3)), lnb.AdamW(1e30)
    with quiet():
        run = train(model, data, opt, steps=9, batch_size=BATCH)
        first = by_hand(model, data, opt, 1, 0, "float32")
    assert run.diverged_at == 2
    assert picture(run.params, run.state) == picture(*first)


def test_a_gradient_without_a_finite_square_is_flagged_where_a_step_by_hand_refuses_it():
    data, _ = problem()
    model, opt = lnb.MLP((4, 5, 5, 3)), lnb.AdamW(1e12, weight_decay=0)
    with quiet():
        with pytest.raises(FloatingPointError):
            by_hand(model, data, opt, STEPS, 0, "float32")
        run = train(model, data, opt, steps=STEPS, batch_size=BATCH)
    assert run.diverged_at is not None


def test_no_row_that_is_ok_holds_nan():
    data, _ = problem()
    with quiet():
        history = train(lnb.MLP((4, 5, 3)), data, lnb.SGD(1e30), steps=9, batch_size=BATCH, eval_every=1).history
    assert history.loc[history["status"] == "ok", EVALUATED[3:]].notna().all(axis=None)


# ------------------------------------------------------------------------------------------------ the same bits (R1)


@each_width
@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_chunks_move_no_bit(monkeypatch, chunk, dtype):
    data, model = problem()
    steps = min(STEPS, 20)
    how = {"steps": steps, "batch_size": BATCH, "dtype": dtype, "eval_at": [3, 4, 6]}
    whole = train(model, data, lookahead, **how)
    monkeypatch.setattr(setup, "OPERATIONS_AT_ONCE", 6 * model.size * BATCH * chunk)
    pieces = train(model, data, lookahead, **how)
    assert picture(pieces.params, pieces.state) == picture(whole.params, whole.state)
    assert same_numbers(pieces.history, whole.history)


def test_runs_at_the_same_time_have_the_bits_of_runs_alone():
    data, model = problem()
    tasks = list(itertools.product((adamw, lookahead), range(4 if COMPILED else 1)))

    def one(task):
        opt, seed = task
        return train(model, data, opt, steps=STEPS, batch_size=BATCH, seed=seed, eval_every=7)

    alone = [one(task) for task in tasks]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(one, tasks))
    for run, other in zip(alone, together, strict=True):
        assert picture(run.params, run.state) == picture(other.params, other.state)
        assert same_numbers(run.history, other.history)


@pytest.mark.jit
def test_a_run_has_the_bits_of_stepping_by_hand_with_any_number_of_threads():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.normal(0, 1, (20, 140_000)), np.arange(20) % 2)  # so many weights that threads share a step
    model = lnb.LogisticRegression(140_000)
    run = train(model, data, lookahead, steps=4, batch_size=BATCH)
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            again = train(model, data, lookahead, steps=4, batch_size=BATCH)
            assert picture(again.params, again.state) == picture(run.params, run.state)
            assert picture(*by_hand(model, data, lookahead, 4, 0, "float32")) == picture(run.params, run.state)
    finally:
        numba.set_num_threads(before)


@pytest.mark.jit
@each_width
def test_no_two_rules_share_a_symbol(dtype):
    # A run calls a loop by the address of its symbol. Numba tells symbols apart by qualified name, argument types and a
    # count that starts anew in every process: loops that two processes left in the cache may differ in the name alone.
    width = np.dtype(dtype).type
    loops = [cpu_step.plain_loop(rule, width) for rule in RULES]
    loops += [loop(rule, width, False) for loop in (cpu_step.step_loop, cpu_step.fused_loop) for rule in RULES]
    names = [next(iter(loop.overloads.values())).fndesc.qualname for loop in loops]
    assert len(set(names)) == len(names)


@pytest.mark.jit
@each_width
def test_a_loop_and_its_parallel_twin_share_no_place_in_the_cache(dtype):
    # Numba's cache knows names, types and bytecode, but not whether a loop is parallel.
    width = np.dtype(dtype).type
    names = {cpu_step._counting_loop(width, parallel).py_func.__qualname__ for parallel in (False, True)}
    assert len(names) == 2


@pytest.mark.jit
def test_a_second_run_compiles_nothing():
    data, model = problem()
    train(model, data, lookahead, steps=2, batch_size=BATCH)
    other_data, other_model = problem(2)
    with event.install_recorder("numba:compile") as compiled:
        train(model, data, lookahead, steps=9, batch_size=5, seed=3, eval_rows=5)
        train(other_model, other_data, lnb.AdamW(0.1), steps=9, batch_size=5)
    assert [str(what.data["dispatcher"]) for _, what in compiled.buffer] == []


@pytest.mark.jit
def test_another_process_finds_everything_in_the_cache():
    data, model = problem()
    train(model, data, lookahead, steps=2, batch_size=BATCH)
    program = """
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    import test_train
    test_train.train(*reversed(test_train.problem()), test_train.lookahead, steps=2, batch_size=test_train.BATCH)
print([str(what.data["dispatcher"]) for _, what in compiled.buffer])
"""
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(here), *sys.path]}\n{program}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_training_twice_gives_the_same_and_changes_nothing_it_was_given():
    data, model = problem()
    before = data.fingerprint, repr(lookahead), repr(model)
    first, second = (train(model, data, lookahead, steps=5, batch_size=BATCH) for _ in range(2))
    assert picture(first.params, first.state) == picture(second.params, second.state)
    assert same_numbers(first.history, second.history)
    assert not np.shares_memory(first.params, second.params)
    assert (replace(data).fingerprint, repr(lookahead), repr(model)) == before


# ------------------------------------------------------------------------------------------------ arguments

BAD = {
    "steps 0": ({"steps": 0}, ValueError, "steps must be .*at least 1, got 0"),
    "steps 2.5": ({"steps": 2.5}, TypeError, r"steps must be a whole number .*got 2\.5"),
    "steps True": ({"steps": True}, TypeError, "steps must be a whole number .*got True"),
    "steps NaN": ({"steps": np.nan}, TypeError, "steps must be a whole number .*got nan"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "batch_size must be .*at least 1, got 0"),
    "batch_size above the rows": ({"batch_size": 61}, ValueError, r"batch_size must be at most the \d+ rows .*got 61"),
    "batch_size None": ({"batch_size": None}, TypeError, "batch_size must be .*got None"),
    "seed -1": ({"seed": -1}, ValueError, "seed must be .*got -1"),
    "seed 2**63": ({"seed": 2**63}, ValueError, "seed must be .*got 9223372036854775808"),
    "seed 1.0": ({"seed": 1.0}, TypeError, r"seed must be .*got 1\.0"),
    "eval_every 0": ({"eval_every": 0}, ValueError, "eval_every must be .*got 0"),
    "eval_every NaN": ({"eval_every": np.nan}, TypeError, "eval_every must be .*got nan"),
    "eval_at after the end": ({"eval_at": [1, 6]}, ValueError, r"eval_at\[1\] must be .*from 0 to 5, got 6"),
    "eval_at negative": ({"eval_at": [-1]}, ValueError, r"eval_at\[0\] must be .*got -1"),
    "eval_at 1.5": ({"eval_at": [1.5]}, TypeError, r"eval_at\[0\] must be .*got 1\.5"),
    "eval_at a number": ({"eval_at": 3}, TypeError, "eval_at must be a list of steps, got 3"),
    "eval_rows 0": ({"eval_rows": 0}, ValueError, "eval_rows must be .*got 0"),
    "dtype float16": ({"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64', got 'float16'"),
    "dtype None": ({"dtype": None}, ValueError, "dtype must be one of .*None"),
    "backend unknown": ({"backend": "tpu"}, ValueError, "backend must be .*got 'tpu'"),
    "no optimizer": ({"opt": "adamw"}, TypeError, "opt must be .*got 'adamw'"),
    "an optimizer class": ({"opt": lnb.AdamW}, TypeError, "opt must be .*AdamW"),
    "no model": ({"model": "mlp"}, TypeError, "model must be .*got 'mlp'"),
    "no data": ({"data": None}, TypeError, "data must be a Dataset.*got NoneType"),
    "arrays as data": ({"data": (np.ones((9, 4)), np.ones(9))}, TypeError, "data must be a Dataset.*got tuple"),
    "function without data": ({"data": lambda seed: seed}, TypeError, "data must be a Dataset.*got int"),
    "features that do not fit": ({"model": lnb.MLP((5, 3))}, ValueError, r"data must .*\(5, 3\).*got 4 features and 3"),
    "classes that do not fit": ({"model": lnb.MLP((4, 2))}, ValueError, r"data must .*\(4, 2\).*got 4 features and 3"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name_and_value(bad):
    changed, error, sentence = bad
    data, model = problem()
    good = {"model": model, "data": data, "opt": lookahead, "steps": 5, "batch_size": BATCH}
    with pytest.raises(error, match=sentence):
        train(**(good | changed))


# ------------------------------------------------------------------------------------------------ what users run into


def test_an_interval_of_evaluations_beyond_the_run_is_refused_as_by_sweep():
    data, model = problem()
    for call in (partial(train, model, data, adamw), partial(lnb.sweep, model, data, [adamw], seeds=1)):
        with pytest.raises(ValueError, match="eval_every must be at most the 10 steps of a run, got 1000"):
            call(steps=10, eval_every=1000, batch_size=BATCH)
    assert train(model, data, adamw, steps=3, batch_size=BATCH).history["step"].tolist() == [0, 3]


def test_a_run_is_shown_in_one_line():
    data, model = problem()
    shown = repr(train(model, data, lookahead, steps=3, batch_size=BATCH, seed=5))
    assert re.fullmatch(rf"Run\(Lookahead\(AdamW\), seed=5, 3 steps, {model.size} weights, train_loss=[\d.]+\)", shown)
    with quiet():
        assert "diverged at step 2" in repr(train(model, data, lnb.AdamW(1e30), steps=5, batch_size=BATCH))


def test_scalars_of_a_long_run_take_constant_memory():
    landscape = lnb.landscapes.Quadratic([1.0])
    long = setup.Setup(landscape, None, setup.Training(steps=10**7))
    assert max(last - first for first, last in long.stretches(long.rows(0))) == setup.STEPS_AT_ONCE


def test_long_tables_of_scalars_are_not_kept():
    """64 of them would be hundreds of megabytes."""
    for caches in (coefficients._powers, schedules._falls):
        caches.cache_clear()
    step_table(lnb.AdamW(lnb.schedules.linear(1e-3, 10_000)), 10_000, np.float64)
    assert coefficients._powers.cache_info().currsize == schedules._falls.cache_info().currsize == 0
    step_table(lnb.AdamW(lnb.schedules.linear(1e-3, 100)), 100, np.float64)
    assert coefficients._powers.cache_info().currsize == 2


@pytest.mark.parametrize("eval_at", [range(1, 1001), [3, 500, 501, 502], [], [1000]])
@pytest.mark.parametrize("ends", [[], [7, 500]])
def test_a_stretch_ends_early_where_evaluations_are_the_work(eval_at, ends, monkeypatch):
    data, model = problem()
    here = setup.Setup(model, data, setup.Training(steps=1000, batch_size=BATCH, eval_at=eval_at))
    rows = here.rows(0)
    evaluation = 2 * 2 * model.size * int(rows.bounds[-1])
    most = 5 * evaluation
    monkeypatch.setattr(setup, "OPERATIONS_AT_ONCE", most)
    stretches = list(here.stretches(rows, 400, ends))
    assert stretches[0][0] == 0
    assert stretches[-1][1] == 1000
    assert [last for _, last in stretches[:-1]] == [first for first, _ in stretches[1:]]
    assert {*ends} <= {last for _, last in stretches}
    step = here.operations / here.steps
    for first, last in stretches:
        evaluations = sum(first < t <= last for t in eval_at)
        assert first < last <= first + 400
        assert (last - first) * step + evaluations * evaluation <= most + evaluation
