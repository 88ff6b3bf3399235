"""Data sets whose rows have weights: what a run minimizes, what its history reports, and what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.datasets import from_arrays
from lookahead_nb.kernels.cpu import network
from lookahead_nb.training import plan
from lookahead_nb.training.plan import SHARED_FROM, groups
from lookahead_nb.training.setup import Setup, Training
from tests.support import reference_network as reference
from tests.support.cases import picture
from tests.support.runs import ADAMW, BATCH, COMPILED, OPTIMIZERS, ROWS, assert_same_run, problem

STEPS = 12 if COMPILED else 5
HOW = {"steps": STEPS, "batch_size": BATCH, "eval_every": 4}
AGREEMENT = 1e-11  # float64 against float64 after a few steps, relative to the largest weight
MODEL, DATA = problem()
WEIGHTS = np.random.default_rng(1).uniform(0.1, 3, ROWS)
WEIGHTED = DATA.with_sample_weight(WEIGHTS)
SPLITS = ("train", "validation", "test")


def trained(data=WEIGHTED, opt=ADAMW, model=MODEL, **changes):
    return lnb.train(model, data, opt, **HOW | changes)


def with_ones():
    """Weights of 1 that the data set has not dropped."""
    ones = {f"sample_weight_{part}": np.ones(len(getattr(DATA, f"y_{part}"))) for part in SPLITS}
    return replace(DATA, **ones)


@pytest.mark.parametrize("widths", [(4, 2), (4, 3, 2)])
def test_a_run_takes_the_steps_of_the_weighted_mean_loss(widths):
    model = lnb.MLP(widths, activation="tanh")
    run = trained(opt=lnb.SGD(0.3), model=model, seed=7, dtype="float64")
    params, batches = model.init(7, "float64"), lnb.minibatches(len(DATA.y_train), BATCH, 7)
    for _, batch in zip(range(STEPS), batches, strict=False):
        weights = WEIGHTS[DATA.rows_train[batch]]
        X, y = DATA.X_train[batch].astype(float), DATA.y_train[batch]
        params -= 0.3 * reference.gradient(params, X, y, widths, "tanh", weights=weights)
    assert np.abs(run.params - params).max() <= AGREEMENT * np.abs(params).max()


def test_repeated_minibatches_have_the_weights_of_their_rows():
    run = trained(opt=lnb.SGD(0.3), dtype="float64", order="repeated")
    params, batches = MODEL.init(0, "float64"), lnb.minibatches(len(DATA.y_train), BATCH, 0, order="repeated")
    for _, batch in zip(range(STEPS), batches, strict=False):
        X, y, weights = DATA.X_train[batch].astype(float), DATA.y_train[batch], WEIGHTS[DATA.rows_train[batch]]
        params -= 0.3 * reference.gradient(params, X, y, MODEL.widths, "tanh", weights=weights)
    assert np.abs(run.params - params).max() <= AGREEMENT * np.abs(params).max()


def test_the_penalty_of_logistic_regression_stays_whole():
    model = lnb.LogisticRegression(4, l2=0.5)
    run = trained(opt=lnb.SGD(0.3), model=model, dtype="float64")
    params, batches = model.init(0, "float64"), lnb.minibatches(len(DATA.y_train), BATCH, 0)
    for _, batch in zip(range(STEPS), batches, strict=False):
        X, y = DATA.X_train[batch].astype(float), DATA.y_train[batch]
        params -= 0.3 * reference.gradient(params, X, y, (4, 2), l2=0.5, weights=WEIGHTS[DATA.rows_train[batch]])
    assert np.abs(run.params - params).max() <= AGREEMENT * np.abs(params).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["adamw", "keep", "adaptive", "average", "schedule_free_adamw", "pending decay"])
def test_a_run_has_the_bits_of_steps_by_hand(name, dtype):
    opt, width = OPTIMIZERS[name], np.dtype(dtype).type
    run = trained(opt=opt, seed=3, dtype=dtype)
    params, batches = MODEL.init(3, dtype), lnb.minibatches(len(DATA.y_train), BATCH, 3)
    state, grad = opt.init(params), np.empty_like(params)
    work = np.empty(network.work_size(MODEL.sizes, BATCH), width)
    for _, batch in zip(range(STEPS), batches, strict=False):
        weights = WEIGHTED.sample_weight_train[batch]
        shares = (weights / sum(weights.tolist())).astype(width)
        X, y = DATA.X_train[batch].astype(width), DATA.y_train[batch]
        shape = MODEL.sizes, MODEL.activation_code, width(0)
        network.weighted_loss_and_grad(width)(params, X, y, shares, *shape, grad, work)
        opt.step(params, grad, state)
    assert picture(run.params, run.state) == picture(params, state)


@pytest.mark.parametrize("eval_rows", [10_000, 4])
def test_the_history_has_weighted_losses_and_accuracies_of_all_parts(eval_rows):
    run = trained(dtype="float64", eval_rows=eval_rows)
    end = run.history.iloc[-1]
    for part in SPLITS:
        X, y = (getattr(DATA, f"{name}_{part}") for name in ("X", "y"))
        weights = WEIGHTS[getattr(DATA, f"rows_{part}")]
        if len(y) > eval_rows:
            rows = lnb.datasets.stratified_rows(y, eval_rows, 0)
            X, y, weights = X[rows], y[rows], weights[rows]
        at = run.params, X.astype(float)
        right = reference.probabilities(*at, MODEL.widths, "tanh").argmax(axis=1) == y
        assert end[f"{part}_loss"] == pytest.approx(
            reference.loss(*at, y, MODEL.widths, "tanh", weights=weights), rel=1e-12
        )
        assert end[f"{part}_accuracy"] == pytest.approx(np.average(right, weights=weights), rel=1e-12)


@pytest.mark.parametrize("weight", [1.0, 0.1, 7])
def test_equal_weights_are_no_weights(weight):
    equal = DATA.with_sample_weight(np.full(ROWS, weight))
    assert equal.sample_weight_train is None
    assert equal.fingerprint == DATA.fingerprint
    assert_same_run(trained(equal), trained(DATA))
    assert WEIGHTED.with_sample_weight(np.full(ROWS, weight)).fingerprint == DATA.fingerprint


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loop_with_weights_of_1_has_the_bits_of_the_loop_without(dtype):
    run, expected = (
        trained(with_ones(), OPTIMIZERS["keep"], dtype=dtype),
        trained(DATA, OPTIMIZERS["keep"], dtype=dtype),
    )
    assert run.history.drop(columns="run").equals(expected.history.drop(columns="run"))
    assert picture(run.params, run.state) == picture(expected.params, expected.state)


def test_weights_times_a_power_of_two_give_the_same_bits():
    run, scaled = trained(), trained(DATA.with_sample_weight(WEIGHTS * 2.0**-900))
    assert run.params.tobytes() == scaled.params.tobytes()


def test_rows_of_weight_0_leave_the_data_set():
    weights = np.ones(ROWS)
    left_out = [DATA.rows_train[3], DATA.rows_test[0], DATA.rows_validation[1]]
    weights[left_out] = 0
    data = DATA.with_sample_weight(weights)
    assert data.sample_weight_train is None  # all others are equal
    for part in SPLITS:
        rows = getattr(DATA, f"rows_{part}")
        stay = ~np.isin(rows, left_out)
        assert len(getattr(data, f"y_{part}")) == len(rows) - 1
        for name in ("X", "y", "rows"):
            assert np.array_equal(getattr(data, f"{name}_{part}"), getattr(DATA, f"{name}_{part}")[stay])
    weighted = DATA.with_sample_weight(weights * WEIGHTS)
    for part in SPLITS:
        rows = getattr(weighted, f"rows_{part}")
        assert np.array_equal(getattr(weighted, f"sample_weight_{part}"), WEIGHTS[rows])


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (
            np.where(np.arange(ROWS) == 5, -1, 1),
            ValueError,
            r"weights\[5\] must be a finite number of at least 0, got -1",
        ),
        (np.where(np.arange(ROWS) == 5, np.nan, 1), ValueError, r"weights\[5\] must be a finite number of at least 0"),
        (np.zeros(ROWS), ValueError, "weights must be above 0 for a row of the train part, got 0 for all"),
        (np.where(np.isin(np.arange(ROWS), DATA.rows_test), 0, 1), ValueError, "for a row of the test part, got 0"),
        (np.full(ROWS, 1e308), ValueError, "weights must have a finite sum, got weights of up to 1e"),
        (np.ones(ROWS - 1), ValueError, f"weights must hold a number for each of the {ROWS} rows of the table"),
        (np.ones(ROWS + 1), ValueError, f"weights must hold a number for each of the {ROWS} rows of the table"),
        (np.ones((ROWS, 1)), ValueError, f"weights must hold a number for each of the {ROWS} rows of the table"),
        (["heavy"] * ROWS, TypeError, r"weights\[0\] must be a finite number of at least 0, got 'heavy'"),
    ],
)
def test_other_weights_are_refused(weights, error, words):
    with pytest.raises(error, match=words):
        DATA.with_sample_weight(weights)


def test_a_gpu_and_a_model_of_your_own_refuse_weights(monkeypatch):
    class Own:
        size, init, loss_and_grad = MODEL.size, MODEL.init, MODEL.loss_and_grad

    with pytest.raises(ValueError, match="data must have no sample weights for a model of your own, got Dataset"):
        trained(model=Own())
    monkeypatch.setattr("lookahead_nb.kernels.gpu.require", lambda: None)
    with pytest.raises(ValueError, match="data must have no sample weights with backend='cuda', got Dataset"):
        trained(backend="cuda")


def test_weights_are_part_of_the_id_and_of_the_repr():
    other = DATA.with_sample_weight(WEIGHTS[::-1])
    assert len({trained(data).history["run"].iloc[0] for data in (DATA, WEIGHTED, other)}) == 3
    assert " rows with weights, " in repr(WEIGHTED)
    assert not WEIGHTED.sample_weight_train.flags.writeable


def test_subsets_and_copies_keep_their_weights():
    subset = WEIGHTED.subset(10, seed=0)
    assert np.array_equal(subset.sample_weight_train, WEIGHTS[subset.rows_train])
    assert np.array_equal(subset.with_sample_weight(WEIGHTS).sample_weight_train, subset.sample_weight_train)
    assert WEIGHTED.with_flipped_labels(0.5, seed=0).sample_weight_test is WEIGHTED.sample_weight_test
    copy = pickle.loads(pickle.dumps(WEIGHTED))
    assert copy.fingerprint == WEIGHTED.fingerprint
    named = lnb.datasets.load("checkerboard")
    n = sum(len(getattr(named, f"y_{part}")) for part in SPLITS)
    weighted = named.with_sample_weight(np.arange(1, n + 1))
    assert pickle.loads(pickle.dumps(weighted)).fingerprint == weighted.fingerprint != named.fingerprint


def test_a_run_with_weights_continues_and_is_saved(tmp_path):
    run = trained()
    run.save(tmp_path / "run.npz")
    longer = trained(steps=STEPS + 4)
    assert_same_run(run.train(4), longer)
    assert_same_run(lnb.load(tmp_path / "run.npz").train(4, data=WEIGHTED), longer)
    with pytest.raises(ValueError, match="data must give the run its id"):
        lnb.load(tmp_path / "run.npz").train(4, data=DATA)


@pytest.mark.parametrize("data", [WEIGHTED, lambda seed: WEIGHTED if seed else DATA], ids=["one", "of seeds"])
def test_a_run_inside_a_sweep_is_the_run_alone(data):
    configs = [lnb.Lookahead(lnb.AdamW(0.01 * i), sync_period=2) for i in range(1, SHARED_FROM + 2)]
    rows = lnb.sweep(MODEL, data, configs, seeds=2, **HOW, progress=False)
    for opt, seed in ((configs[0], 0), (configs[-1], 1)):
        alone = trained(data, opt, seed=seed).history
        inside = rows[rows["run"] == alone["run"].iloc[0]].reset_index(drop=True)
        assert inside[[*alone]].equals(alone)


def test_runs_on_rows_with_weights_are_not_trained_side_by_side(monkeypatch):
    monkeypatch.setattr(plan, "lanes_of", lambda dtype: 16)  # plain Python has one
    configs = [lnb.AdamW(0.01 * i) for i in range(1, 33)]
    for data, largest in ((DATA, 16), (WEIGHTED, 1)):
        setup = Setup(MODEL, data, Training(steps=STEPS, batch_size=BATCH))
        formed = groups(setup, configs, [0] * len(configs), {0: setup.rows(0)})
        assert max(map(len, formed)) == largest
        assert sorted(i for group in formed for i in group) == [*range(32)]


def test_from_arrays_splits_the_rows_to_which_the_weights_belong():
    X, y = np.arange(40.0)[:, None] + 0.5, np.arange(40) % 2
    data = from_arrays(X, y).with_sample_weight(1 + np.arange(40))
    for part in SPLITS:
        raw = getattr(data, f"X_{part}")[:, 0].astype(float)
        order = np.argsort(raw)
        assert (np.diff(getattr(data, f"sample_weight_{part}")[order]) > 0).all()
