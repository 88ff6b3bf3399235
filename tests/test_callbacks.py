"""Callbacks and early stopping at evaluated steps: what they see, what they change, and that they change no bits."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.training.callbacks import Patience
from tests.support.cases import picture
from tests.support.runs import ADAMW, BATCH, COMPILED, OPTIMIZERS, assert_same_run, problem

STEPS, EVERY = (20, 3) if COMPILED else (7, 2)  # of 3 steps between syncs: at and off a sync
BOWL = lnb.landscapes.Quadratic([1.0, 0.1], noise=1.0, drift=0.01)
LOOKAHEAD = OPTIMIZERS["keep"]
HOW = {"steps": STEPS, "batch_size": BATCH, "eval_every": EVERY}
SPLITS = ("train", "validation", "test")


def trained(opt=LOOKAHEAD, on=None, **changes):
    model, data = problem() if on is None else on
    return lnb.train(model, data, opt, **HOW | changes)


def stopper(at, metrics=None):
    def stop(snapshot):
        if snapshot.step >= at:
            raise StopIteration(metrics) if metrics else StopIteration
        return metrics

    return stop


# --------------------------------------------------------------------------------------------------------- callbacks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_run_with_a_callback_has_the_bits_of_one_without(opt, dtype):
    how = {"seed": 2**40, "dtype": dtype, "opt": opt}
    assert_same_run(trained(**how, callback=lambda _: None), trained(**how))


@pytest.mark.parametrize("opt", [ADAMW, OPTIMIZERS["adaptive"], OPTIMIZERS["average"]], ids=["adamw", "fit", "ema"])
def test_a_callback_changes_no_bits_on_a_landscape(opt):
    assert_same_run(trained(opt, (BOWL, None), callback=lambda _: None), trained(opt, (BOWL, None)))


def test_steps_that_are_chosen_are_those_of_the_callback():
    steps = []
    run = trained(eval_at=[1, 5], callback=lambda snapshot: steps.append(snapshot.step))
    assert steps == [0, 1, 5, STEPS]
    assert_same_run(run, trained(eval_at=[1, 5]))


@pytest.mark.parametrize("opt", [ADAMW, LOOKAHEAD, OPTIMIZERS["schedule_free_adamw"], OPTIMIZERS["average"]])
def test_a_snapshot_has_the_row_of_the_history_and_the_weights_of_a_run_that_ends_there(opt):
    snapshots = []
    run = trained(opt, callback=snapshots.append)
    assert [s.step for s in snapshots] == sorted({*run.history["step"]})
    for snapshot in snapshots:
        for kind in ("fast", "slow"):
            rows = run.history.query(f"step == {snapshot.step} and weights == {kind!r}")
            measures = snapshot.measures.get(kind)
            assert (measures is None) == rows.empty
            assert measures is None or measures == rows.iloc[0][[*measures]].to_dict()
            assert measures is None or {*measures} == {f"{s}_{m}" for s in SPLITS for m in ("loss", "accuracy")}
        if snapshot.step:
            until = trained(opt, steps=snapshot.step)
            assert snapshot.fast.tobytes() == until.params.tobytes()
            assert (snapshot.slow is None) == (until.slow is None)
            assert snapshot.slow is None or snapshot.slow.tobytes() == until.slow.tobytes()
        else:
            assert snapshot.fast.tobytes() == problem()[0].init(0).tobytes()


def test_a_landscape_has_a_training_loss_only():
    snapshots = []
    run = trained(ADAMW, (BOWL, None), callback=snapshots.append)
    assert [s.measures["fast"] for s in snapshots] == [{"train_loss": loss} for loss in run.history["train_loss"]]


def test_weights_of_a_snapshot_cannot_be_changed_and_do_not_move():
    snapshots = []
    trained(callback=snapshots.append)
    for weights in (snapshots[0].fast, snapshots[0].slow):
        with pytest.raises(ValueError, match="read-only"):
            weights[0] = 1
    assert not np.array_equal(snapshots[0].fast, snapshots[-1].fast)
    assert f"Snapshot(step={EVERY}, " in repr(snapshots[1])


def test_metrics_are_columns_in_the_rows_of_both_kinds_of_weights():
    def metrics(snapshot):
        given = {"norm": np.float32(snapshot.fast @ snapshot.fast)}
        return given | ({"late": snapshot.step} if snapshot.step > EVERY else {})

    run = trained(callback=metrics)
    expected = trained().history
    assert run.history.drop(columns=["norm", "late"]).equals(expected)
    assert [*run.history] == [*expected, "norm", "late"]
    late = run.history["step"] > EVERY
    assert run.history["late"][~late].isna().all()
    assert (run.history["late"][late] == run.history["step"][late]).all()
    assert run.history.groupby("step")["norm"].nunique().eq(1).all()
    assert run.history["norm"].iloc[-1] == np.float32(run.params @ run.params)


@pytest.mark.parametrize("at", [EVERY, 2 * EVERY, STEPS])
@pytest.mark.parametrize("on", [None, (BOWL, None)], ids=["network", "landscape"])
def test_a_run_that_is_stopped_is_the_run_of_so_many_steps(at, on):
    stopped = trained(on=on, callback=stopper(at))
    assert_same_run(stopped, trained(on=on, steps=at))
    assert stopped.setup.steps == at
    assert_same_run(stopped.train(4), trained(on=on, steps=at + 4))
    assert_same_run(trained(on=on, eval_at=[2, 3, 5], callback=stopper(3)), trained(on=on, steps=3, eval_at=[2, 3]))


def test_a_stop_may_have_metrics():
    run = trained(callback=stopper(EVERY, {"norm": 2.0}))
    assert run.history["norm"].tolist() == [2.0] * 4
    assert run.setup.steps == EVERY


def test_an_error_comes_out_unchanged_and_the_next_run_is_whole():
    error = KeyError("mine")

    def fails(snapshot):
        if snapshot.step:
            raise error

    with pytest.raises(KeyError) as caught:
        trained(callback=fails)
    assert caught.value is error
    run = trained()
    before = picture(run.params, run.state)
    with pytest.raises(KeyError):
        run.train(2 * EVERY, callback=fails)
    assert picture(run.params, run.state) == before
    assert_same_run(run, trained())


@pytest.mark.jit  # plain Python warns on the way to inf
def test_the_callback_is_not_called_once_the_run_has_diverged():
    opt, bowl, steps = lnb.Lookahead(lnb.SGD(1e30), sync_period=3), lnb.landscapes.Quadratic([1.0]), []
    how = {"opt": opt, "on": (bowl, None), "eval_every": 1}
    run = trained(**how, callback=lambda s: steps.append(s.step) or {"norm": 1.0})
    expected = trained(**how)
    assert run.diverged_at == expected.diverged_at == steps[-1] + 1
    assert_same_run(trained(**how, callback=lambda _: None), expected)
    assert run.history["norm"].notna().tolist() == (run.history["step"] < run.diverged_at).tolist()


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (7, TypeError, "callback must return None or a dict of numbers, got 7 at step 0"),
        (True, TypeError, "callback must return None or a dict of numbers, got True at step 0"),
        ({"norm": "big"}, TypeError, "callback must return numbers as metrics, got 'big' for norm at step 0"),
        ({"norm": True}, TypeError, "callback must return numbers as metrics, got True for norm at step 0"),
        ({"train_loss": 1}, ValueError, "names that are no columns of the history, got 'train_loss' at step 0"),
        ({"lr": 1}, ValueError, "names that are no columns of the history, got 'lr' at step 0"),
        ({"norm": 10**400}, ValueError, "metrics that fit into a float64, got a larger one for norm at step 0"),
        ({7: 1}, ValueError, "names that are no columns of the history, got 7 at step 0"),
    ],
)
def test_what_a_callback_must_not_return_is_refused(returned, error, words):
    with pytest.raises(error, match=words):
        trained(callback=lambda _: returned)


def test_a_stop_ahead_of_the_first_step_is_refused():
    with pytest.raises(ValueError, match="callback must let the run take a step, got StopIteration at step 0"):
        trained(callback=stopper(0))


@pytest.mark.parametrize("name", ["callback", "early_stopping"])
def test_what_is_no_callback_and_no_early_stopping_is_refused(name):
    with pytest.raises(TypeError, match=f"{name} must be"):
        trained(**{name: {"patience": 5}})
    run = trained()
    with pytest.raises(TypeError, match="callback must be a function"):
        run.train(1, callback=5)


@pytest.mark.parametrize("observer", [{"callback": print}, {"early_stopping": lnb.EarlyStopping()}])
def test_a_gpu_refuses_both(observer, monkeypatch):
    monkeypatch.setattr("lookahead_nb.kernels.gpu.require", lambda: None)
    with pytest.raises(ValueError, match=f"{next(iter(observer))} must be None with backend='cuda'"):
        trained(backend="cuda", **observer)


def test_a_run_trained_further_keeps_its_metrics_and_adds_new_ones():
    def at(name):
        return lambda snapshot: {name: snapshot.step}

    run = trained(steps=2 * EVERY, callback=at("first"))
    longer = run.train(2 * EVERY, callback=at("second"))
    assert longer.history.drop(columns=["first", "second"]).equals(trained(steps=4 * EVERY).history)
    early = longer.history["step"] <= 2 * EVERY
    assert (longer.history["first"][early] == longer.history["step"][early]).all()
    assert (longer.history["second"][~early] == longer.history["step"][~early]).all()
    assert longer.history["first"][~early].isna().all()
    assert longer.history["second"][early].isna().all()
    assert run.train(EVERY).history["first"].isna().tolist() == [False] * 6 + [True] * 2


# ---------------------------------------------------------------------------------------------------- early stopping


def scores(run, stop, opt):
    """The losses, or accuracies with a minus, that early stopping judges, by evaluated step."""
    kind = stop.weights or ("slow" if opt.has_slow_weights else "fast")
    rows = run.history[run.history["weights"] == kind]
    return rows["step"].to_numpy(), rows[stop.measure].to_numpy() * (1 if "loss" in stop.measure else -1)


@pytest.mark.parametrize(
    "opt", [LOOKAHEAD, OPTIMIZERS["schedule_free_adamw"], lnb.AdamW(0.5)], ids=["la", "sf", "adamw"]
)
@pytest.mark.parametrize("measure", ["validation_loss", "validation_accuracy", "train_loss", "train_accuracy"])
@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_follows_its_definition(opt, measure, patience):
    """The first evaluation after which ``patience`` of them in a row were no better; the weights of the best one."""
    stop = lnb.EarlyStopping(measure=measure, patience=patience)
    steps = 60 if COMPILED else STEPS
    run, whole = trained(opt, steps=steps, early_stopping=stop), trained(opt, steps=steps)
    at, values = scores(whole, stop, opt)
    ends = [
        i
        for i in range(patience, len(at))
        if values[i - patience + 1 : i + 1].min() >= values[: i - patience + 1].min()
    ]
    last = ends[0] if ends else len(at) - 1
    best = int(values[: last + 1].argmin())
    assert (run.best_step, run.setup.steps) == (at[best], at[last])
    assert run.history.drop(columns="run").equals(whole.history.query(f"step <= {at[last]}").drop(columns="run"))
    if best:
        until = trained(opt, steps=int(at[best]))
        assert picture(run.params, run.state) == picture(until.params, until.state)
        at_best = f"best step {at[best]} of {at[last]}, "
        assert repr(run) == repr(until).replace(f"{at[best]} steps, ", at_best)
    else:
        assert run.params.tobytes() == problem()[0].init(0).tobytes()


def test_the_weights_at_the_end_are_the_best_ones_where_patience_lasts():
    run = trained(lnb.AdamW(0.5), early_stopping=lnb.EarlyStopping(patience=1000, measure="validation_loss"))
    at, values = scores(run, lnb.EarlyStopping(), ADAMW)
    assert run.setup.steps == STEPS
    assert run.best_step == at[values.argmin()] == run.state.t


@pytest.mark.jit  # too few evaluations in plain Python
def test_the_best_weights_predict_what_the_history_says():
    _, data = problem()
    run = trained(lnb.AdamW(0.5), steps=60, early_stopping=lnb.EarlyStopping(measure="validation_accuracy"))
    X = np.random.default_rng(0).normal(0, 1, (len(data.y_train) * 5 // 3, 4))  # the raw rows of the problem
    right = (run.predict(X[data.rows_validation]) == data.y_validation).mean()
    best = run.history.query(f"step == {run.best_step}")["validation_accuracy"].item()
    assert right == pytest.approx(best, rel=1e-12)  # one division each
    assert best == run.history["validation_accuracy"].max() > run.history["validation_accuracy"].iloc[-1]


@pytest.mark.parametrize("opt", [LOOKAHEAD, lnb.AdamW(0.5)], ids=["la", "adamw"])
def test_a_run_that_was_stopped_early_continues_from_its_best_step(opt):
    stop = lnb.EarlyStopping(patience=1, measure="train_loss", weights="fast", min_delta=0.3)
    run = trained(opt, early_stopping=stop)
    assert run.setup.steps < STEPS
    more = STEPS - run.best_step
    assert_same_run(run.train(more), trained(opt))
    assert run.train(more).best_step is None


def test_min_delta_is_what_an_improvement_has_to_exceed():
    """Gains of 1/4 wear the patience out, and the last of them is the best all the same."""
    patience = Patience(2, 0.25)
    assert [(patience.improved(score), patience.is_over) for score in (0, 0.25, 0.75, 1.0, 1.25)] == [
        (True, False), (True, False), (True, False), (True, False), (True, True)
    ]  # fmt: skip
    assert patience.best == 1.25


@pytest.mark.jit  # the few steps of plain Python improve nothing
def test_a_callback_that_writes_into_the_measures_does_not_decide_which_weights_are_best():
    def low(snapshot):
        snapshot.measures["slow"]["validation_loss"] = -1.0 if snapshot.step == 0 else 1e9

    stop = lnb.EarlyStopping(patience=1000)
    run, expected = trained(early_stopping=stop, callback=low), trained(early_stopping=stop)
    assert run.best_step == expected.best_step > 0
    assert_same_run(run, expected)


def test_nan_is_no_improvement():
    patience = Patience(2, 0.0)
    assert [patience.improved(score) for score in (np.nan, 1.0, np.nan, 1.0)] == [False, True, False, False]
    assert patience.is_over


def diverging():
    """A run whose loss falls at first; from step 9 on the learning rate is so high that the weights overflow."""
    rates = lnb.schedules.from_function(lambda t: 0.5 if t < 9 else 1e30, 100)
    return {"opt": lnb.SGD(rates), "on": (lnb.landscapes.Quadratic([1.0]), None), "eval_every": 2, "steps": 20}


@pytest.mark.jit  # plain Python warns on the way to inf
def test_a_run_that_diverges_returns_its_best_weights(tmp_path):
    stop, how = lnb.EarlyStopping(measure="train_loss", patience=100), diverging()
    run, plain = trained(**how, early_stopping=stop), trained(**how)
    until = trained(**how | {"steps": 8})
    assert run.history.equals(plain.history)
    assert 8 < run.diverged_at == plain.diverged_at < 20
    assert (run.best_step, run.setup.steps) == (8, 20)
    assert picture(run.params, run.state) == picture(until.params, until.state)
    assert f"best step 8 of 20, 1 weights, train_loss={0.5 * 0.5**16:.4g}, diverged at step {run.diverged_at}" in repr(
        run
    )
    assert "stopped at step" not in run._repr_html_()
    run.save(tmp_path / "run.npz")
    loaded = lnb.load(tmp_path / "run.npz")
    assert picture(loaded.params, loaded.state) == picture(until.params, until.state)
    assert_same_run(run.train(1), trained(**how | {"steps": 9}))  # ahead of the step that diverges
    assert run.train(12).diverged_at == plain.diverged_at
    assert run.train(12).history.equals(plain.history)


def test_the_best_weights_stay_where_a_loss_becomes_nan():
    class Cliff:
        size = 1

        def init(self, _, dtype):
            return np.ones(1, dtype)

        def loss_and_grad(self, params, *_):
            return (params[0] if params[0] > 0.45 else np.nan), np.ones(1, params.dtype)

    how = {"opt": lnb.SGD(0.125), "on": (Cliff(), problem()[1]), "steps": 9, "eval_every": 2}
    run = trained(**how, early_stopping=lnb.EarlyStopping(measure="train_loss", patience=9))
    assert (run.best_step, run.params.tolist(), run.diverged_at) == (4, [0.5], 6)
    assert run.history.equals(trained(**how).history)


@pytest.mark.jit  # plain Python warns on the way to inf
def test_the_best_weights_of_a_network_that_diverges_predict():
    rates = lnb.schedules.from_function(lambda t: 0.5 if t < 9 else 1e38, 100)
    how = {"opt": lnb.SGD(rates), "on": (lnb.MLP((4, 5, 2)), problem()[1]), "eval_every": 2}
    run = trained(**how, early_stopping=lnb.EarlyStopping(patience=100))
    assert run.diverged_at > run.best_step > 0
    assert len(run.predict(np.zeros((3, 4)))) == 3
    with pytest.raises(ValueError, match="predict needs finite weights"):
        trained(**how).predict(np.zeros((3, 4)))


@pytest.mark.jit  # plain Python warns on the way to inf
def test_a_run_that_never_improves_and_diverges_returns_the_weights_of_step_0():
    opt, bowl = lnb.SGD(1e4), lnb.landscapes.Quadratic([1.0])
    stop = lnb.EarlyStopping(measure="train_loss", patience=100)
    run = trained(opt, (bowl, None), eval_every=1, steps=30, early_stopping=stop)
    assert (run.best_step, run.state.t) == (0, 0)
    assert run.params.tobytes() == bowl.init(0).tobytes()
    assert run.history.equals(trained(opt, (bowl, None), eval_every=1, steps=30).history)


def test_a_callback_sees_every_evaluation_up_to_the_stop():
    steps = []
    stop = lnb.EarlyStopping(patience=1, min_delta=1e9)
    run = trained(early_stopping=stop, callback=lambda s: steps.append(s.step) or {"at": s.step})
    assert steps == [0, EVERY]
    assert (run.history["at"] == run.history["step"]).all()


def test_a_run_that_was_stopped_early_is_saved_with_its_best_step_and_metrics(tmp_path):
    stop = lnb.EarlyStopping(patience=1, min_delta=1e9)
    run = trained(early_stopping=stop, callback=lambda s: {"norm of all": s.step})
    run.save(tmp_path / "run.npz")
    loaded = lnb.load(tmp_path / "run.npz")
    assert loaded.history.equals(run.history)
    assert picture(loaded.params, loaded.state) == picture(run.params, run.state)
    assert (loaded.best_step, loaded.setup.steps) == (run.best_step, run.setup.steps)
    assert "stopped at step" in loaded._repr_html_()
    assert loaded.train(5, data=problem()[1]).history.equals(run.train(5).history)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"measure": "test_loss"}, ValueError, "measure must be one of 'train_loss'"),
        ({"patience": 0}, ValueError, "patience must be a whole number of at least 1, got 0"),
        ({"min_delta": -1}, ValueError, "min_delta must be a finite number of at least 0, got -1"),
        ({"weights": "best"}, ValueError, "weights must be one of None, 'fast', 'slow', got 'best'"),
        ({"mode": "max"}, TypeError, "EarlyStopping has no argument mode"),
    ],
)
def test_bad_settings_are_refused_by_name(how, error, words):
    with pytest.raises(error, match=words):
        lnb.EarlyStopping(**how)


@pytest.mark.jit  # plain Python warns on the way to inf
@pytest.mark.parametrize("how", [{"patience": 1}, {"patience": 2, "measure": "train_accuracy"}, {"weights": "fast"}])
def test_the_best_rows_of_a_sweep_are_those_of_runs_that_stop_early(how):
    stop = lnb.EarlyStopping(**how)
    configs = [lnb.AdamW(0.5), LOOKAHEAD, lnb.SGD(1e39), OPTIMIZERS["schedule_free_adamw"]]
    model, data = lnb.MLP((4, 5, 2)), problem()[1]
    settings = {"steps": 60, "batch_size": BATCH, "eval_every": EVERY, "dtype": "float64"}
    rows = lnb.sweep(model, data, configs, seeds=3, **settings, progress=False)
    best = stop.best_rows(rows.sample(frac=1, random_state=0))
    assert rows["diverged_at"].notna().any()
    assert {*best["run"]} == {*rows["run"]}
    for opt in configs:
        for seed in range(3):
            whole = lnb.train(model, data, opt, seed=seed, **settings)
            run = lnb.train(model, data, opt, seed=seed, **settings, early_stopping=stop)
            own = best[best["run"] == whole.history["run"].iloc[0]].sort_values("weights").reset_index(drop=True)
            expected = run.history.query(f"step == {run.best_step}").reset_index(drop=True)
            columns = [name for name in expected if name not in ("run", "diverged_at", "slow_step_size", "retention")]
            assert own[columns].equals(expected[columns].astype(own[columns].dtypes))
            if run.diverged_at is None:
                assert {*own["stopped_at"]} == {run.setup.steps}


def test_the_best_rows_are_those_up_to_the_stop():
    history = trained(lnb.AdamW(0.5), steps=5, eval_every=1).history
    losses, accuracies = [3.0, 2.0, 2.5, 2.1, 1.0, 0.5], [0.1, 0.2, 0.2, 0.3, 0.3, 0.2]
    rows = history.assign(validation_loss=losses, validation_accuracy=accuracies)
    best = [lnb.EarlyStopping(patience=n).best_rows(rows) for n in (2, 3)]
    assert [(row["step"].item(), row["stopped_at"].item()) for row in best] == [(1, 3), (5, 5)]
    best = lnb.EarlyStopping(measure="validation_accuracy", patience=2).best_rows(rows)
    assert (best["step"].item(), best["stopped_at"].item()) == (3, 5)
    best = lnb.EarlyStopping(patience=3).best_rows(rows.assign(diverged_at=4))
    assert (best["step"].item(), best["stopped_at"].item()) == (1, 3)


def test_the_best_rows_of_several_tasks_are_apart():
    tasks = [lnb.Task(name, *problem(), **HOW) for name in ("a", "b")]
    rows = lnb.sweep(tasks, None, [ADAMW], seeds=1, progress=False)
    best = lnb.EarlyStopping().best_rows(rows)
    assert best["task"].tolist() == ["a", "b"]
    patient = lnb.EarlyStopping(patience=2, min_delta=1e9).best_rows(rows)
    assert patient["stopped_at"].tolist() == [2 * EVERY] * 2
    assert lnb.EarlyStopping().best_rows(trained(ADAMW).history)["step"].tolist() == best["step"].tolist()[:1]


def test_other_rows_are_refused():
    with pytest.raises(TypeError, match=r"rows must be a frame of lookahead_nb\.sweep, got 7"):
        lnb.EarlyStopping().best_rows(7)
    with pytest.raises(ValueError, match="rows must have slow weights for EarlyStopping"):
        lnb.EarlyStopping(weights="slow").best_rows(trained(ADAMW).history)
    with pytest.raises(ValueError, match="rows must have a finite validation_loss for EarlyStopping"):
        lnb.EarlyStopping().best_rows(trained(ADAMW, (BOWL, None)).history)


def test_what_the_run_does_not_have_is_refused():
    with pytest.raises(ValueError, match="early_stopping must have weights='fast' for AdamW, which has no slow"):
        trained(ADAMW, early_stopping=lnb.EarlyStopping(weights="slow"))
    with pytest.raises(ValueError, match="early_stopping must have measure='train_loss' for Quadratic"):
        trained(ADAMW, (BOWL, None), early_stopping=lnb.EarlyStopping())


# ------------------------------------------------------------------------------------------------ learning rates


CHANGES = {"adamw": ADAMW, "la": LOOKAHEAD, **{name: OPTIMIZERS[name] for name in ("adaptive", "average", "warm-up")}}
CHANGES["decay"] = OPTIMIZERS["pending decay"]
each_opt = pytest.mark.parametrize("opt", CHANGES.values(), ids=CHANGES)


def plain(run, **how):
    """The run of the optimizer with which another run has ended, without rules."""
    return trained(run.state.optimizer, **how)


def assert_same_but_for_rates(run, expected):
    assert run.history.drop(columns="rate").equals(expected.history)
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    assert getattr(run.state, "slow_steps", None) == getattr(expected.state, "slow_steps", None)


@each_opt
@pytest.mark.parametrize("on", [None, (BOWL, None)], ids=["network", "landscape"])
def test_a_rate_that_a_callback_sets_holds_for_the_steps_after_it(opt, on):
    run = trained(opt, on, callback=lambda s: s.set_lr(0.001) if s.step == 2 * EVERY else None)
    schedule = lnb.schedules.piecewise({0: opt.inner.lr, 2 * EVERY: 0.001})
    (expected,) = lnb.grid(opt, lr=[schedule])
    assert run.state.optimizer == expected
    assert_same_but_for_rates(run, trained(expected, on))
    steps = run.history["step"]
    before = [opt.inner.schedule(int(t)) for t in steps]
    assert run.history["rate"].isna().equals(steps == 0)
    assert run.history["rate"][steps > 0].tolist() == [
        rate if t <= 2 * EVERY else 0.001 for t, rate in zip(steps, before, strict=True) if t
    ]


def test_a_snapshot_has_the_rate_of_the_following_steps():
    rates = []

    def callback(snapshot):
        rates.append(snapshot.lr)
        snapshot.set_lr(snapshot.lr / 2 if snapshot.step < 2 * EVERY else lnb.schedules.linear(0.5, STEPS))

    run = trained(lnb.SGD(0.8), callback=callback, steps=4 * EVERY)
    linear = lnb.schedules.linear(0.5, STEPS)
    assert rates == [0.8, 0.4, 0.2, linear, linear]
    assert run.state.optimizer.inner.lr == lnb.schedules.piecewise({0: 0.4, EVERY: 0.2, 2 * EVERY: linear})


def test_a_rate_may_be_lowered_within_a_schedule_of_several_parts():
    parts = lnb.schedules.piecewise({0: 0.8, EVERY: 0.4, 3 * EVERY: 0.2})
    rule = lnb.ReduceOnPlateau(patience=1, min_delta=1e9, factor=0.5)
    run = trained(lnb.SGD(parts), steps=4 * EVERY, eval_at=[0, 2 * EVERY], reduce_on_plateau=rule)
    assert run.state.optimizer.inner.lr == lnb.schedules.piecewise(
        {0: 0.8, EVERY: 0.4, 2 * EVERY: 0.2, 3 * EVERY: 0.1, 4 * EVERY: 0.05}
    )


def reductions(scores, patience, factor, lr, lowest):
    """The rates after each evaluation: higher scores are better, every better one starts the count again."""
    rates, best, bad = [], -np.inf, 0
    for score in scores:
        bad = 0 if score > best else bad + 1
        best = max(best, score)
        if bad == patience:
            lr, bad = max(lr * factor, lowest) if lr > lowest else lr, 0
        rates.append(lr)
    return rates


@pytest.mark.parametrize("opt", [lnb.AdamW(0.5), lnb.Lookahead(lnb.AdamW(0.5), sync_period=3)], ids=["adamw", "la"])
@pytest.mark.parametrize("measure", ["validation_loss", "train_accuracy"])
@pytest.mark.parametrize("patience", [1, 3])
def test_a_plateau_lowers_the_rate_as_defined(opt, measure, patience):
    steps = 90 if COMPILED else STEPS
    rule = lnb.ReduceOnPlateau(measure=measure, patience=patience, factor=0.3, min_lr=0.01)
    run = trained(opt, steps=steps, reduce_on_plateau=rule)
    _, values = scores(run, lnb.EarlyStopping(measure=measure), opt)
    after = reductions(-values, patience, 0.3, 0.5, 0.01)
    kind = run.history["weights"] == ("slow" if opt.has_slow_weights else "fast")
    assert run.history["rate"][kind].tolist()[1:] == pytest.approx(
        after[:-1]
    )  # a rate set at an evaluation comes after
    assert not COMPILED or len({*after}) > 1
    assert_same_but_for_rates(run, plain(run, steps=steps))


def test_the_lowest_rate_by_hand():
    rule = lnb.ReduceOnPlateau(factor=0.5, min_lr=0.3)
    assert [rule.lowered(lr) for lr in (1.0, 0.5, 0.3, 0.1)] == [0.5, 0.3, 0.3, 0.1]
    assert rule.lowered(lnb.schedules.cosine(1.0, 9)) == lnb.schedules.cosine(0.5, 9)


def test_a_plateau_that_never_comes_changes_nothing():
    run = trained(reduce_on_plateau=lnb.ReduceOnPlateau(patience=1000))
    assert_same_but_for_rates(run, trained())
    assert run.history["rate"].dropna().eq(LOOKAHEAD.inner.lr).all()


def test_a_schedule_is_lowered_as_a_whole():
    schedule, rule = lnb.schedules.cosine(0.5, 100), lnb.ReduceOnPlateau(patience=1, min_delta=1e9, factor=0.5)
    run = trained(lnb.AdamW(schedule), steps=3 * EVERY, reduce_on_plateau=rule)
    expected = [schedule(EVERY), schedule(2 * EVERY) / 2, schedule(3 * EVERY) / 4]
    assert run.history["rate"].tolist()[1:] == pytest.approx(expected, rel=1e-15)


def test_the_rate_falls_and_then_the_run_stops_early():
    rules = {"reduce_on_plateau": lnb.ReduceOnPlateau(patience=1, min_delta=1e9, factor=0.5, measure="train_loss")}
    rules["early_stopping"] = lnb.EarlyStopping(patience=3, min_delta=1e9, measure="train_loss")
    run = trained(lnb.AdamW(0.5), steps=9 * EVERY, **rules)
    assert run.setup.steps == 3 * EVERY
    assert run.history["rate"].tolist()[1:] == [0.5, 0.25, 0.125]
    whole = plain(run, steps=9 * EVERY)
    until = plain(run, steps=run.best_step)
    assert picture(run.params, run.state) == picture(until.params, until.state)
    assert_same_but_for_rates(run.train(9 * EVERY - run.best_step), whole)


def test_evaluations_are_counted_from_0_again_once_the_rate_was_lowered():
    rule = lnb.ReduceOnPlateau(patience=2, min_delta=1e9, factor=0.5)
    run = trained(lnb.SGD(0.8), steps=5, eval_every=1, reduce_on_plateau=rule)
    assert run.history["rate"].tolist()[1:] == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_the_best_weights_have_the_optimizer_with_the_rates_after_them():
    rules = {"reduce_on_plateau": lnb.ReduceOnPlateau(patience=1, factor=0.5, min_delta=1e9, measure="train_loss")}
    rules["early_stopping"] = lnb.EarlyStopping(patience=3, min_delta=1e9, measure="train_loss")
    run = trained(lnb.SGD(1e3), steps=9 * EVERY, **rules)
    assert run.best_step == 0
    rates = lnb.schedules.piecewise({0: 1e3, EVERY: 500, 2 * EVERY: 250, 3 * EVERY: 125})
    assert run.state.optimizer == lnb.SGD(rates)
    assert_same_but_for_rates(run.train(4 * EVERY), trained(lnb.SGD(rates), steps=4 * EVERY))


def test_a_callback_and_a_plateau_may_both_set_the_rate():
    rule = lnb.ReduceOnPlateau(patience=1, min_delta=1e9, factor=0.5)
    run = trained(lnb.SGD(0.8), steps=2 * EVERY, reduce_on_plateau=rule, callback=lambda s: s.set_lr(0.1))
    assert run.history["rate"].tolist()[1:] == [0.1, 0.05]


@each_opt
def test_a_run_continues_with_another_rate(opt, tmp_path):
    run = trained(opt, steps=2 * EVERY)
    before = picture(run.params, run.state)
    longer = run.train(2 * EVERY, lr=0.003)
    (both,) = lnb.grid(opt, lr=[lnb.schedules.piecewise({0: opt.inner.lr, 2 * EVERY: 0.003})])
    assert_same_but_for_rates(longer, trained(both, steps=4 * EVERY))
    assert picture(run.params, run.state) == before
    longer.save(tmp_path / "run.npz")
    loaded = lnb.load(tmp_path / "run.npz")
    assert loaded.history.equals(longer.history)
    assert loaded.state.optimizer == both
    again = loaded.train(EVERY, data=problem()[1], lr=lnb.schedules.linear(0.1, 100))
    assert again.history.equals(longer.train(EVERY, lr=lnb.schedules.linear(0.1, 100)).history)
    assert again.history["rate"].notna().sum() == (again.history["step"] > 0).sum()
    assert longer.train(EVERY).history["rate"].iloc[-1] == 0.003


def test_another_rate_from_the_best_step_on_forgets_what_came_after_it():
    stop = lnb.EarlyStopping(patience=1, measure="train_loss", weights="fast", min_delta=0.3)
    run = trained(lnb.AdamW(0.5), early_stopping=stop)
    assert run.best_step < run.setup.steps
    opt = lnb.AdamW(lnb.schedules.piecewise({0: 0.5, run.best_step: 0.01}))
    assert_same_but_for_rates(run.train(3 * EVERY, lr=0.01), trained(opt, steps=run.best_step + 3 * EVERY))


def test_a_run_whose_schedule_has_ended_continues_with_another_rate():
    run = trained(lnb.AdamW(lnb.schedules.linear(0.1, 2 * EVERY)), steps=2 * EVERY)
    with pytest.raises(ValueError, match="lr must be above 0 in all"):
        run.train(EVERY)
    assert run.train(EVERY, lr=0.01).history["rate"].tolist()[-2:] == [0, 0.01]


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"factor": 1.0}, ValueError, r"factor must be a finite number in \(0, 1\), got 1.0"),
        ({"factor": 0}, ValueError, r"factor must be a finite number in \(0, 1\), got 0"),
        ({"min_lr": -1}, ValueError, "min_lr must be a finite number of at least 0, got -1"),
        ({"patience": 0}, ValueError, "patience must be a whole number of at least 1, got 0"),
        ({"mode": "max"}, TypeError, "ReduceOnPlateau has no argument mode"),
    ],
)
def test_bad_settings_of_a_plateau_are_refused(how, error, words):
    with pytest.raises(error, match=words):
        lnb.ReduceOnPlateau(**how)


@pytest.mark.jit  # plain Python warns on the way to inf
def test_rates_that_a_run_cannot_have_are_refused(monkeypatch):
    short = lnb.schedules.from_function(lambda _: 0.1, EVERY)
    free = OPTIMIZERS["schedule_free_adamw"]
    with pytest.raises(ValueError, match=f"snapshot.lr must have a learning rate for each of the {STEPS} steps"):
        trained(callback=lambda s: s.set_lr(short))
    with pytest.raises(TypeError, match="lr must be a finite number of at least 0, got 'low'"):
        trained(callback=lambda s: s.set_lr("low"))
    with pytest.raises(ValueError, match=r"snapshot\.lr must stay 0\.05 for ScheduleFreeAdamW, got 0\.5"):
        trained(lnb.ScheduleFreeAdamW(0.05), callback=lambda s: s.set_lr(0.5))
    with pytest.raises(ValueError, match="reduce_on_plateau must be None for ScheduleFreeAdamW"):
        trained(free, reduce_on_plateau=lnb.ReduceOnPlateau())
    with pytest.raises(TypeError, match=r"reduce_on_plateau must be None or as in lookahead_nb\.ReduceOnPlateau"):
        trained(reduce_on_plateau=lnb.EarlyStopping())
    with pytest.raises(ValueError, match="reduce_on_plateau must have weights='fast' for AdamW"):
        trained(ADAMW, reduce_on_plateau=lnb.ReduceOnPlateau(weights="slow"))
    with pytest.raises(ValueError, match="lr must make steps and decays below"):
        trained(callback=lambda s: s.set_lr(1e60))
    run = trained(lnb.SGD(1e30), (lnb.landscapes.Quadratic([1.0]), None))
    with pytest.raises(ValueError, match=f"lr must be None for a run that diverged at step {run.diverged_at}, got 0.1"):
        run.train(1, lr=0.1)
    with pytest.raises(TypeError, match="lr must be a finite number of at least 0, got 'low'"):
        trained().train(1, lr="low")
    monkeypatch.setattr("lookahead_nb.kernels.gpu.require", lambda: None)
    with pytest.raises(ValueError, match="reduce_on_plateau must be None with backend='cuda'"):
        trained(backend="cuda", reduce_on_plateau=lnb.ReduceOnPlateau())
