"""Groups of weights with their own settings: the reference on each slice, the bits of runs without them, refusals."""

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.cpu.step import CHUNK, PARALLEL_FROM
from lookahead_nb.optimizers import Grouped, groups
from lookahead_nb.optimizers.groups import checked_groups, grouped, with_numbers
from lookahead_nb.training import sweep_file
from tests.support.cases import INNER, assert_close, picture, reference_path, run
from tests.support.cases import problem as numbers
from tests.support.runs import BATCH, COMPILED, OPTIMIZERS, ROWS, assert_same_run, problem

RTOL = 1e-12  # float64 against float64 over some twenty steps
STEPS = 20 if COMPILED else 7
HOW = {"steps": STEPS, "batch_size": BATCH, "eval_every": 3}
PARTS = {"W1": slice(0, 6), "b1": slice(6, 9), "W2": slice(9, 12), "b2": slice(12, 13)}
SIZE = 15  # two weights belong to no part
GROUPS = {"b*": {"weight_decay": 0.0}, "W2": {"lr": 0.003, "weight_decay": 0.3}}
GIVEN = {name: opt for name, opt in OPTIMIZERS.items() if not opt.adapts}
ADAMW = OPTIMIZERS["adamw"]
KNOWN = [name for name in GIVEN if name not in ("restarts", "table") and "pending" not in name]  # to the reference
each_optimizer = pytest.mark.parametrize("opt", GIVEN.values(), ids=GIVEN)


def by_group(opt, of_groups=GROUPS, parts=PARTS, size=SIZE):
    return grouped(opt, checked_groups(of_groups), parts, size)


def equal_groups(opt):
    return {"b*": {"weight_decay": opt.inner.decay_schedule.peak}, "W1": {"lr": opt.inner.schedule.peak}}


def trained(opt, **changes):
    model, data = problem()
    return lnb.train(model, data, opt, **HOW | changes)


def without(frame, *columns):
    return frame.drop(columns=[*columns])


# ----------------------------------------------------------------------------------------------------- steps by hand


@pytest.mark.parametrize("name", KNOWN)
def test_each_group_follows_the_reference_with_its_own_settings(name, rng):
    opt = GIVEN[name]
    start, gradients = numbers(rng, STEPS, SIZE)
    of = {(0, 6): {}, (6, 9): GROUPS["b*"], (9, 12): GROUPS["W2"], (12, 13): GROUPS["b*"], (13, 15): {}}
    paths = {
        (first, end): reference_path(with_numbers(opt, own), start[first:end], gradients[:, first:end])
        for (first, end), own in of.items()
    }
    params, own = start.copy(), by_group(opt)
    state = own.init(params)
    for g in gradients:
        own.step(params, g, state)
        for (first, end), path in paths.items():
            fast, slow, *_ = next(path)
            assert_close(params[first:end], fast, RTOL)
            if opt.sync:
                assert_close(state.slow[first:end], slow, RTOL)


@pytest.mark.parametrize("width", [np.float32, np.float64])
@each_optimizer
def test_each_group_has_the_bits_of_a_run_of_its_weights_alone(opt, width, rng):
    params, gradients = numbers(rng, STEPS, SIZE, width)
    stepped, state = run(by_group(opt), params, gradients)
    for names, settings in ((("b1",), GROUPS["b*"]), (("W2",), GROUPS["W2"]), (("W1",), {})):
        for part in (PARTS[name] for name in names):
            alone, of_part = run(with_numbers(opt, settings), params[part].copy(), [g[part] for g in gradients])
            assert stepped[part].tobytes() == alone.tobytes()
            for name, slot in of_part.slots.items():
                assert state.slots[name][part].tobytes() == slot.tobytes()
            if opt.has_slow_weights:
                slow = [
                    np.asarray(o.slow_from(p, s))
                    for o, p, s in ((state.optimizer, stepped, state), (of_part.optimizer, alone, of_part))
                ]
                assert slow[0][part].tobytes() == slow[1].tobytes()


@pytest.mark.jit
def test_threads_that_share_a_large_buffer_change_no_bit(rng):
    size = PARALLEL_FROM + CHUNK + 3
    params, gradients = numbers(rng, 4, size, np.float32)
    parts = {"first": slice(5, CHUNK + 7), "second": slice(size - 9, size)}
    opt = lnb.Lookahead(lnb.AdamW(0.02), sync_period=3)
    own = by_group(opt, {"first": {"lr": 0.5}, "second": {"weight_decay": 0.5}}, parts, size)
    assert (own.pieces[1:, 0] == own.pieces[:-1, 1]).all()
    assert own.pieces[0, 0] == 0
    assert own.pieces[-1, 1] == size
    stepped, state = run(own, params, gradients)
    few = np.r_[0:50, CHUNK : CHUNK + 50, size - 50 : size]
    group_of = np.zeros(size, int)
    group_of[parts["first"]], group_of[parts["second"]] = 1, 2
    for number, settings in enumerate(({}, {"lr": 0.5}, {"weight_decay": 0.5})):
        chosen = few[group_of[few] == number]
        alone, of_them = run(with_numbers(opt, settings), params[chosen], [g[chosen] for g in gradients])
        assert stepped[chosen].tobytes() == alone.tobytes()
        assert state.slow[chosen].tobytes() == of_them.slow.tobytes()


@each_optimizer
def test_a_checkpoint_continues_in_every_bit(opt, rng):
    params, gradients = numbers(rng, STEPS, SIZE, np.float32)
    own = by_group(opt)
    expected, at_end = run(own, params, gradients)
    half, state = run(own, params, gradients[:4])
    arrays = state.to_arrays()
    for again in (own.restore(arrays), pickle.loads(pickle.dumps(state)), copy.deepcopy(state)):
        continued = half.copy()
        for g in gradients[4:]:
            again.optimizer.step(continued, g, again)
        assert picture(continued, again) == picture(expected, at_end)
    with pytest.raises(ValueError, match="arrays must hold a state of"):
        opt.restore(arrays)
    with pytest.raises(ValueError, match="arrays must hold a state of"):
        by_group(opt, {"b*": {"lr": 0.7}}).restore(arrays)


def test_a_pending_decay_belongs_to_its_group(rng):
    opt = lnb.AdamW(0.02, weight_decay=1e-5)
    own = by_group(opt, {"b*": {"weight_decay": 0.0}, "W2": {"weight_decay": 2e-5}})
    params, gradients = numbers(rng, 3, SIZE, np.float32)
    arrays = run(own, params, gradients)[1].to_arrays()
    pending = [arrays[name] for name in ("pending_decay", "group1_pending_decay", "group2_pending_decay")]
    np.testing.assert_allclose(pending, [6e-7, 12e-7, 0.0], rtol=1e-5)  # patterns in order: W2, then b*


def test_a_group_keeps_the_shape_of_a_schedule():
    falling = lnb.SGD(lnb.schedules.linear(1.0, steps=4))
    own = by_group(falling, {"W2": {"lr": 0.5}})
    params = np.zeros(SIZE)
    state = own.init(params)
    own.step(params, np.ones(SIZE), state)
    assert params[0] == -0.75
    assert params[9] == -0.375


def test_a_group_keeps_the_shape_of_a_falling_decay():
    falling = lnb.AdamW(1.0, weight_decay=lnb.schedules.linear(0.5, steps=2))
    own = by_group(falling, {"W2": {"weight_decay": 1.0}})
    params = np.ones(SIZE)
    state = own.init(params)
    own.step(params, np.zeros(SIZE), state)
    assert params[0] == 0.75
    assert params[9] == 0.5


def test_slow_weights_by_hand(rng):
    own = by_group(lnb.Lookahead(lnb.AdamW(0.02), sync_period=3))
    params, state = run(own, *numbers(rng, 4, SIZE))
    fast = params.copy()
    with own.slow_weights(params, state):
        assert params.tobytes() == state.slow.tobytes()
    assert params.tobytes() == fast.tobytes()


def test_a_step_that_is_refused_changes_nothing(rng):
    own = by_group(lnb.Lookahead(lnb.AdamW(0.02), sync_period=3))
    params, state = run(own, *numbers(rng, 4, SIZE))
    before = picture(params, state)
    bad = np.ones(SIZE)
    bad[7] = np.nan
    with pytest.raises(FloatingPointError, match=r"grad\[7\]"):
        own.step(params, bad, state)
    assert picture(params, state) == before
    with pytest.raises(ValueError, match="params must hold the 15 weights of the groups, got shape"):
        own.init(np.zeros(3))


def test_what_an_optimizer_with_groups_says_of_itself():
    own = by_group(lnb.AdamW(0.1))
    assert own.settings()["groups"] == "W2: lr=0.003, weight_decay=0.3; b*: weight_decay=0.0"
    assert repr(own) == "AdamW(lr=0.1) with groups {W2: lr=0.003, weight_decay=0.3; b*: weight_decay=0.0}"
    assert own == by_group(lnb.AdamW(0.1), dict(reversed(GROUPS.items())))
    assert hash(own) == hash(by_group(lnb.AdamW(0.1)))
    assert own != by_group(lnb.AdamW(0.1), {"b*": {"weight_decay": 0.0}})


# -------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_groups_with_equal_settings_have_the_bits_of_a_run_without(opt, dtype):
    plain = trained(opt, dtype=dtype)
    run_ = trained(opt, dtype=dtype, groups=equal_groups(opt))
    assert without(run_.history, "run", "groups").equals(without(plain.history, "run"))
    assert run_.params.tobytes() == plain.params.tobytes()
    assert (run_.slow is None) == (plain.slow is None)
    assert run_.slow is None or run_.slow.tobytes() == plain.slow.tobytes()
    for name, array in plain.state.to_arrays().items():
        if name != "settings":
            assert np.asarray(run_.state.to_arrays()[name]).tobytes() == np.asarray(array).tobytes(), name
    assert getattr(run_.state, "slow_steps", None) == getattr(plain.state, "slow_steps", None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_a_run_has_the_bits_of_steps_by_hand(opt, dtype):
    (model, data), seed = problem(), 3
    run_ = trained(opt, dtype=dtype, groups=GROUPS, seed=seed)
    own = run_.state.optimizer
    assert isinstance(own, Grouped)
    params = model.init(seed, dtype)
    state = own.init(params)
    for _, rows in zip(range(STEPS), lnb.minibatches(len(data.y_train), BATCH, seed), strict=False):
        _, grad = model.loss_and_grad(params, data.X_train[rows], data.y_train[rows])
        own.step(params, grad, state)
    assert picture(params, state) == picture(run_.params, run_.state)
    assert not np.array_equal(params, trained(opt, dtype=dtype, seed=seed).params)


def test_biases_take_no_decay():
    model, data = problem()
    flat = lnb.LogisticRegression(4, n_classes=2, l2=0.0)
    decays = lnb.SGD(0.5, weight_decay=0.5)
    run_ = lnb.train(flat, data, decays, steps=1, batch_size=BATCH, eval_every=1, groups={"b*": {"weight_decay": 0}})
    start = flat.init(0, "float32")
    start[:] = 1
    assert (
        flat.unpack(run_.params)["b1"]
        == lnb.train(flat, data, lnb.SGD(0.5), steps=1, batch_size=BATCH, eval_every=1).params[-1]
    )
    assert model.parts == {name: slice(*where) for name, where in _places(model).items()}


def _places(model):
    """Where the views of a flat buffer begin and end, from the numbers in it."""
    views = model.unpack(np.arange(model.size, dtype=np.float64))
    return {name: (int(view.min()), int(view.max()) + 1) for name, view in views.items()}


class Own:
    """The network of the problem as a model of one's own."""

    def __init__(self, parts=None):
        self.network = problem()[0]
        self.size, self.parts = self.network.size, self.network.parts if parts is None else parts

    def init(self, seed, dtype):
        return self.network.init(seed, dtype)

    def loss_and_grad(self, params, X, y):
        return self.network.loss_and_grad(params, X, y)

    def loss(self, params, X, y):
        return self.network.loss(params, X, y)

    def predict(self, params, X):
        return self.network.predict(params, X)


@each_optimizer
def test_a_model_of_ones_own_has_the_bits_of_the_compiled_run(opt):
    expected = trained(opt, groups=GROUPS, clip_norm=0.3)
    run_ = lnb.train(Own(), problem()[1], opt, groups=GROUPS, clip_norm=0.3, **HOW)
    assert without(run_.history, "run").equals(without(expected.history, "run"))
    assert picture(run_.params, run_.state) == picture(expected.params, expected.state)


def test_parts_of_ones_own_may_leave_weights_out():
    size = problem()[0].size
    run_ = lnb.train(Own({"tail": slice(-3, None)}), problem()[1], lnb.SGD(0.1), groups={"tail": {"lr": 0}}, **HOW)
    start = problem()[0].init(0, "float32")
    assert (run_.params[size - 3 :] == start[size - 3 :]).all()
    assert (run_.params[: size - 3] != start[: size - 3]).any()


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ({}, TypeError, "model.parts must be a dict of slices such as"),
        (["b"], TypeError, "model.parts must be a dict of slices such as"),
        ({"b": 3}, TypeError, "got 3 for 'b'"),
        ({"b": slice(0, 4, 2)}, ValueError, r"model.parts\['b'\] must be a slice of at least one of"),
        ({"b": slice(4, 4)}, ValueError, r"model.parts\['b'\] must be a slice of at least one of"),
        ({"b": slice(0, 1000)}, ValueError, r"model.parts\['b'\] must be a slice of at least one of"),
        ({"b": slice(0, 4), "c": slice(3, 5)}, ValueError, "model.parts must not overlap, got 'c'"),
    ],
)
def test_wrong_parts_are_refused(parts, error, words):
    model = Own()
    model.parts = parts
    with pytest.raises(error, match=words):
        lnb.train(model, problem()[1], ADAMW, groups={"b": {"lr": 0.1}}, **HOW)
    assert lnb.train(model, problem()[1], ADAMW, **HOW).state.t == STEPS  # nobody asks for them


def test_a_run_is_continued_saved_and_loaded(tmp_path):
    opt, how = OPTIMIZERS["pending decay"], {"groups": GROUPS, "clip_norm": 0.2}
    whole, short = trained(opt, **how), trained(opt, **how | {"steps": STEPS - 2})
    assert_same_run(short.train(2), whole)
    short.save(tmp_path / "run.npz")
    loaded = lnb.load(tmp_path / "run.npz")
    assert loaded.state.optimizer == short.state.optimizer
    assert picture(loaded.params, loaded.state) == picture(short.params, short.state)
    pd.testing.assert_frame_equal(loaded.history, short.history, check_exact=True)
    longer = loaded.train(2, data=problem()[1])
    assert picture(longer.params, longer.state) == picture(whole.params, whole.state)
    pd.testing.assert_frame_equal(longer.history, whole.history, check_exact=True)


def test_callbacks_and_early_stopping_see_a_run_with_groups():
    how = {"groups": GROUPS, "clip_norm": 0.2}
    assert_same_run(trained(ADAMW, callback=lambda _: None, **how), trained(ADAMW, **how))
    stopped = trained(ADAMW, early_stopping=lnb.EarlyStopping(patience=1, min_delta=0.3), **how)
    assert stopped.best_step is not None
    assert isinstance(stopped.state.optimizer, Grouped)


def test_the_rate_of_all_groups_changes_where_none_has_its_own():
    how = {"groups": {"b*": {"weight_decay": 0.0}}, "clip_norm": 0.2}
    run_ = trained(ADAMW, **how | {"steps": STEPS - 2}).train(2, lr=0.005)
    rates = lnb.AdamW(
        lnb.schedules.piecewise({0: ADAMW.lr, STEPS - 2: 0.005}), beta1=0.8, beta2=0.98, eps=1e-6, weight_decay=0.1
    )
    expected = trained(rates, **how)
    assert picture(run_.params, run_.state) == picture(expected.params, expected.state)
    with pytest.raises(ValueError, match="lr must be None where a group has its own lr, got"):
        trained(ADAMW, groups=GROUPS).train(2, lr=0.005)
    with pytest.raises(ValueError, match="reduce_on_plateau must be None where a group has its own lr"):
        trained(ADAMW, groups=GROUPS, reduce_on_plateau=lnb.ReduceOnPlateau())
    assert trained(ADAMW, reduce_on_plateau=lnb.ReduceOnPlateau(patience=1), **how).state.t == STEPS


def test_a_checkpoint_of_a_run_is_continued(tmp_path):
    how = {"groups": GROUPS, "clip_norm": 0.2}
    file = tmp_path / "run.npz"
    calls = iter(range(2))

    def stop(_):
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(ADAMW, callback=stop, checkpoint=file, checkpoint_every=2, **how)
    run_ = trained(ADAMW, callback=lambda _: None, checkpoint=file, checkpoint_every=2, **how)
    assert picture(run_.params, run_.state) == picture(*(lambda r: (r.params, r.state))(trained(ADAMW, **how)))
    with pytest.raises(ValueError, match="got one with another clip_norm"):
        trained(ADAMW, callback=lambda _: None, checkpoint=file, checkpoint_every=2, **how | {"clip_norm": 0.3})


def test_rows_with_weights_may_have_groups_and_clipping():
    model, data = problem()
    data = data.with_sample_weight(np.arange(1, ROWS + 1))
    plain = lnb.train(model, data, ADAMW, **HOW)
    equal = lnb.train(model, data, ADAMW, groups=equal_groups(ADAMW), clip_norm=1e6, **HOW)
    assert equal.params.tobytes() == plain.params.tobytes()
    assert without(equal.history, "run", "groups").equals(without(plain.history, "run"))
    own = lnb.train(model, data, ADAMW, groups=GROUPS, clip_norm=0.2, **HOW)
    assert own.params.tobytes() != plain.params.tobytes()
    assert own.params.tobytes() != trained(ADAMW, groups=GROUPS, clip_norm=0.2).params.tobytes()


def test_the_history_names_the_groups_and_ids_tell_them_apart():
    plain, own = trained(ADAMW), trained(ADAMW, groups=GROUPS)
    assert set(own.history["groups"]) == {"W2: lr=0.003, weight_decay=0.3; b*: weight_decay=0.0"}
    assert "groups" not in plain.history
    other = trained(ADAMW, groups={"b*": {"weight_decay": 0.0}})
    assert len({run.history["run"].iloc[0] for run in (plain, own, other)}) == 3
    assert "b*: weight_decay=0.0" in own._repr_html_()


@pytest.mark.jit
def test_a_run_that_diverges_does_so_where_it_would_by_hand():
    opt, how = lnb.Lookahead(lnb.SGD(3e38), sync_period=3), {"groups": {"b*": {"lr": 0.1}}, "eval_every": 1}
    run_ = trained(opt, **how)
    expected = lnb.train(Own(), problem()[1], opt, **HOW | how)
    assert without(run_.history, "run").equals(without(expected.history, "run"))
    assert run_.diverged_at == expected.diverged_at is not None
    assert run_.state.t == expected.state.t


# ------------------------------------------------------------------------------------------------------------ sweeps


def swept(configs=(ADAMW, OPTIMIZERS["keep"]), **changes):
    how = HOW | {"seeds": 2, "progress": False, "groups": GROUPS, "clip_norm": 0.3} | changes
    return lnb.sweep(*problem(), configs, **how)


def test_a_sweep_has_the_runs_of_train():
    rows = swept()
    alone = pd.concat(
        [
            trained(opt, seed=seed, groups=GROUPS, clip_norm=0.3).history
            for opt in (ADAMW, OPTIMIZERS["keep"])
            for seed in range(2)
        ]
    )
    alone = alone.reset_index(drop=True)[rows.columns]
    pd.testing.assert_frame_equal(rows, alone, check_exact=True, check_dtype=False)  # of columns that are NaN in one


def test_tasks_share_the_groups():
    model, data = problem()
    deep = lnb.MLP((4, 3, 3, 2))
    how = HOW | {"seeds": 1, "progress": False, "groups": {"b*": {"weight_decay": 0.0}}}
    rows = lnb.sweep([lnb.Task("flat", model, data), lnb.Task("deep", deep, data)], None, [ADAMW], **how)
    alone = lnb.train(deep, data, ADAMW, groups={"b*": {"weight_decay": 0.0}}, **HOW).history
    assert rows[rows["task"] == "deep"]["train_loss"].tolist() == alone["train_loss"].tolist()
    with pytest.raises(ValueError, match=r"tasks\[0\] \('flat'\): groups\['b3'\] must match a part of the model"):
        lnb.sweep([lnb.Task("flat", model, data)], None, [ADAMW], **how | {"groups": {"b3": {"lr": 0.1}}})


def test_a_store_continues_runs_with_groups(tmp_path):
    pytest.importorskip("pyarrow")
    opts = [OPTIMIZERS["pending decay"]]
    swept(opts, steps=STEPS - 2, eval_every=STEPS - 2, store=tmp_path / "store", keep_states=True)
    longer = swept(opts, eval_at=[STEPS - 2], store=tmp_path / "store", keep_states=True)
    fresh = swept(opts, eval_at=[STEPS - 2])
    pd.testing.assert_frame_equal(longer, fresh, check_exact=True)
    with pytest.raises(ValueError, match=r"differs in training\.clip_norm: here 0\.4, there 0\.3"):
        swept(opts, eval_at=[STEPS - 2], store=tmp_path / "store", keep_states=True, clip_norm=0.4)


def test_a_sweep_file_has_groups(tmp_path):
    text = """
[model]
kind = "MLP"
widths = [64, 3, 10]

[data]
name = "digits"

[training]
seeds = 1
steps = 2
clip_norm = 0.5
groups = { "b*" = { weight_decay = 0.0 } }

[[grid]]
optimizer = "AdamW"
"""
    path = tmp_path / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    described = sweep_file.read(path)
    assert described.training["groups"] == {"b*": {"weight_decay": 0.0}}
    assert isinstance(described.plan().configs[0], Grouped)
    assert "groups" in described.run(progress=False)
    path.write_text(text.replace('"b*"', '"c*"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.groups\['c\*'\] must match a part of the model, which has W1, b1"):
        sweep_file.read(path).plan()


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({}, ValueError, "groups must be None or hold at least one group, such as"),
        ([], TypeError, "groups must be None or a dict such as {'b\\*': {'weight_decay': 0.0}}, got \\[\\]"),
        ("b*", TypeError, "groups must be None or a dict such as"),
        ({1: {"lr": 0.1}}, TypeError, "groups must be None or a dict such as"),
        ({"b*": {}}, TypeError, r"groups\['b\*'\] must be a dict with lr, weight_decay or both, got {}"),
        ({"b*": 0.0}, TypeError, r"groups\['b\*'\] must be a dict with lr, weight_decay or both, got 0.0"),
        ({"b*": {"beta1": 0.5}}, ValueError, r"groups\['b\*'\] may set lr and weight_decay only, got 'beta1'"),
        ({"b*": {"lr": -1}}, ValueError, r"groups\['b\*'\]\['lr'\] must be a finite number of at least 0, got -1"),
        ({"b*": {"lr": np.nan}}, ValueError, r"groups\['b\*'\]\['lr'\] must be a finite number of at least 0"),
        ({"b*": {"lr": "1"}}, TypeError, r"groups\['b\*'\]\['lr'\] must be a finite number of at least 0"),
        ({"b7": {"lr": 1.0}}, ValueError, r"groups\['b7'\] must match a part of the model, which has W1, b1, W2, b2"),
        (
            {"b*": {"lr": 1.0}, "?1": {"lr": 2.0}},
            ValueError,
            r"groups must not overlap, got '\?1' and 'b\*', which both match b1",
        ),
    ],
)
def test_wrong_groups_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        trained(ADAMW, groups=given)
    with pytest.raises(error, match=words):
        swept(groups=given)


def test_where_groups_make_no_sense_they_are_refused():
    bowl, how = lnb.landscapes.Quadratic([1.0]), {"groups": {"b*": {"lr": 0.1}}}
    with pytest.raises(ValueError, match="groups must be None for a landscape, which has no layers"):
        lnb.train(bowl, None, ADAMW, steps=1, **how)
    with pytest.raises(ValueError, match="groups must be None for a landscape, which has no layers"):
        lnb.sweep(bowl, None, [ADAMW], seeds=1, steps=1, progress=False, **how)
    with pytest.raises(ValueError, match="groups must be None with backend='cuda'"):
        trained(ADAMW, backend="cuda", **how)
    with pytest.raises(ValueError, match="slow_step_size must be given with groups, got Lookahead"):
        trained(OPTIMIZERS["adaptive"], **how)
    with pytest.raises(ValueError, match="eps"):
        trained(lnb.AdamW(0.1, eps=1e-50), **how)


def test_an_optimizer_with_groups_belongs_to_its_run():
    own = trained(ADAMW, groups=GROUPS).state.optimizer
    with pytest.raises(TypeError, match="opt must be an inner optimizer, Lookahead or EMA, got AdamW"):
        trained(own)
    with pytest.raises(TypeError, match="base must be an inner optimizer, Lookahead or EMA"):
        lnb.grid(own, lr=[0.1])
    with pytest.raises(TypeError, match="optimizer must be an inner optimizer, Lookahead or EMA"):
        lnb.theory.Cycle.of(trained(lnb.SGD(0.1), groups={"W1": {"lr": 0.2}}).state.optimizer)


def test_the_settings_of_a_group_are_values_of_json():
    assert json.loads(json.dumps(checked_groups(GROUPS))) == checked_groups(GROUPS)
    assert groups.SETTINGS == ("lr", "weight_decay")


def test_every_inner_optimizer_has_the_settings_of_a_group():
    for opt in INNER.values():
        assert all(hasattr(opt, name) for name in groups.SETTINGS)
