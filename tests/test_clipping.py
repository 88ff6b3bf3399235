"""Clipped gradients: known answers, the reference, the bits of steps by hand, norms that are not finite, refusals."""

import math

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.formulas import clip_factor
from lookahead_nb.optimizers import clip_gradient
from tests.support import reference
from tests.support.cases import picture
from tests.support.runs import BATCH, COMPILED, OPTIMIZERS, assert_same_run, problem

STEPS = 20 if COMPILED else 7
HOW = {"steps": STEPS, "batch_size": BATCH, "eval_every": 3}
ROUNDED = {np.float32: 2e-7, np.float64: 1e-15}  # of one product, and of the norm
ADAMW = OPTIMIZERS["adamw"]
each_optimizer = pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)


def trained(opt=ADAMW, model=None, **changes):
    network, data = problem()
    return lnb.train(model or network, data, opt, **HOW | changes)


def gradients(opt, steps=STEPS, dtype="float64", clip_norm=math.inf):
    """Step by hand, clip in NumPy, and return weights, state and the norms of all gradients."""
    (model, data), norms = problem(), []
    params = model.init(0, dtype)
    state = opt.init(params)
    for _, rows in zip(range(steps), lnb.minibatches(len(data.y_train), BATCH, 0), strict=False):
        _, grad = model.loss_and_grad(params, data.X_train[rows], data.y_train[rows])
        norms.append(math.sqrt(math.fsum(float(g) ** 2 for g in grad)))
        opt.step(params, reference.clipped(grad, clip_norm).astype(dtype), state)
    return params, state, norms


# -------------------------------------------------------------------------------------------------------- gradients


def test_by_hand():
    grad = np.array([3.0, 0.0, -4.0])
    assert clip_gradient(grad, 2.5) == 5.0
    assert grad.tolist() == [1.5, 0.0, -2.0]
    assert clip_factor(np.float64(8), np.float64(2)) == 0.25


def test_compiled_code_may_ask_for_the_factor_of_any_norm():
    for norm in (0.0, 0.5, 2.0, np.nan):
        assert clip_factor(np.float64(norm), np.float64(2)) == 1
    assert clip_factor(np.float64(np.inf), np.float64(2)) == 0


def test_a_gradient_of_at_most_the_norm_stays_as_it_is():
    for grad in (np.array([3.0, 4.0]), np.array([-0.0, 0.1]), np.zeros(3), np.zeros(0)):
        before = grad.tobytes()
        assert clip_gradient(grad, 5.0) == pytest.approx(np.linalg.norm(grad), rel=1e-15)
        assert grad.tobytes() == before


@pytest.mark.parametrize("width", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_it_follows_the_reference(width, size, rng):
    grad = (rng.standard_normal(size) * 10.0 ** rng.integers(-6, 6, size)).astype(width)
    expected, norm = reference.clipped(grad, 0.7), np.linalg.norm(grad.astype(np.float64))
    assert clip_gradient(grad, 0.7) == pytest.approx(norm, rel=1e-13)
    np.testing.assert_allclose(grad, expected, rtol=ROUNDED[width] + 1e-13)
    assert grad.dtype == width


def test_the_order_of_the_sum_is_fixed():
    grad = np.array([1e8, *[1.0] * 50])  # one by one, no 1 changes 1e16; in any other order some would
    assert clip_gradient(grad.copy(), 1e9) == 1e8
    assert clip_gradient(grad[::-1].copy(), 1e9) > 1e8


def test_float32_gradients_of_any_finite_size_are_clipped():
    grad = np.full(4, 3e38, np.float32)
    assert clip_gradient(grad, 1.0) == pytest.approx(6e38, rel=1e-6)
    assert grad.tolist() == [0.5] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_a_norm_that_is_not_finite_is_refused(value):
    grad = np.array([1.0, value])
    before = grad.tobytes()
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match="grad must have a finite norm to be clip"):
        clip_gradient(grad, 1.0)
    assert grad.tobytes() == before


@pytest.mark.parametrize("grad", [[1.0], np.ones(2, int), np.ones((2, 2)), np.ones(4)[::2], np.ma.ones(2), None])
def test_what_is_no_gradient_is_refused(grad):
    with pytest.raises(TypeError, match="grad must be"):
        clip_gradient(grad, 1.0)


# -------------------------------------------------------------------------------------------------------------- runs


@each_optimizer
def test_a_run_follows_the_reference(opt):
    params, state, norms = gradients(opt, clip_norm=0.2)
    assert max(norms) > 0.2
    run = trained(opt, dtype="float64", clip_norm=0.2)
    np.testing.assert_allclose(run.params, params, rtol=1e-7, atol=1e-9)  # Adam divides small numbers by each other
    assert run.state.t == state.t


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_a_run_has_the_bits_of_steps_by_hand(opt, dtype):
    model, data = problem()
    params = model.init(0, dtype)
    state = opt.init(params)
    for _, rows in zip(range(STEPS), lnb.minibatches(len(data.y_train), BATCH, 0), strict=False):
        _, grad = model.loss_and_grad(params, data.X_train[rows], data.y_train[rows])
        clip_gradient(grad, 0.2)
        opt.step(params, grad, state)
    run = trained(opt, dtype=dtype, clip_norm=0.2)
    assert picture(run.params, run.state) == picture(params, state)
    assert run.params.tobytes() != trained(opt, dtype=dtype).params.tobytes()


@each_optimizer
def test_a_norm_that_is_never_exceeded_changes_no_bit(opt):
    run, plain = trained(opt, clip_norm=1e6), trained(opt)
    assert run.history.drop(columns="run").equals(plain.history.drop(columns="run"))
    assert picture(run.params, run.state) == picture(plain.params, plain.state)
    assert run.history["run"].iloc[0] != plain.history["run"].iloc[0]


class Own:
    """The network of the problem with gradients of other sizes, as a model of one's own."""

    def __init__(self, factor=1.0, at=0):
        self.network, self.factor, self.at, self.calls = problem()[0], factor, at, 0
        self.size = self.network.size

    def init(self, seed, dtype):
        return self.network.init(seed, dtype)

    def loss_and_grad(self, params, X, y):
        loss, grad = self.network.loss_and_grad(params, X, y)
        self.calls += 1
        return loss, grad * (self.factor if self.calls == self.at else 1)

    def loss(self, params, X, y):
        return self.network.loss(params, X, y)

    def predict(self, params, X):
        return self.network.predict(params, X)


@each_optimizer
def test_a_model_of_ones_own_is_clipped_with_the_same_bits(opt):
    run, expected = trained(opt, Own(), clip_norm=0.2), trained(opt, clip_norm=0.2)
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    assert run.history.drop(columns="run").equals(expected.history.drop(columns="run"))


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_run_ends_where_the_norm_is_not_finite(factor):
    with np.errstate(invalid="ignore"):
        run = trained(model=Own(factor, at=5), clip_norm=0.2)
        plain = trained(model=Own(factor, at=5))
    assert (run.diverged_at, run.state.t) == (plain.diverged_at, plain.state.t) == (5, 4)


def test_a_gradient_whose_square_is_too_large_is_clipped_first():
    factor = np.float32(1e25)  # its square is no float32, which AdamW needs
    assert trained(model=Own(factor, at=5)).diverged_at == 5
    assert trained(model=Own(factor, at=5), clip_norm=0.2).diverged_at is None


def test_compiled_runs_end_where_steps_by_hand_are_refused():
    model, data = lnb.LogisticRegression(4, n_classes=2, l2=1e300), problem()[1]
    run = lnb.train(model, data, lnb.SGD(0.1), steps=3, batch_size=BATCH, eval_every=1, dtype="float64", clip_norm=1.0)
    params = model.init(0, "float64")
    rows = next(lnb.minibatches(len(data.y_train), BATCH, 0))
    loss, grad = model.loss_and_grad(params, data.X_train[rows], data.y_train[rows])
    assert np.isfinite(loss)
    assert np.isfinite(grad).all()
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError):
        clip_gradient(grad, 1.0)
    assert (run.diverged_at, run.state.t) == (1, 0)
    assert run.params.tobytes() == params.tobytes()


@pytest.mark.jit
def test_compiled_runs_diverge_as_models_of_ones_own_do():
    opt = lnb.Lookahead(lnb.SGD(3e38), sync_period=3)
    how = {"eval_every": 1, "clip_norm": 1e6}
    run, expected = trained(opt, **how), trained(opt, Own(), **how)
    assert run.diverged_at == expected.diverged_at is not None
    assert run.history.drop(columns="run").equals(expected.history.drop(columns="run"))
    assert run.state.t == expected.state.t


def test_a_clipped_run_is_continued_saved_and_loaded(tmp_path):
    whole, short = trained(clip_norm=0.2), trained(clip_norm=0.2, steps=STEPS - 2)
    assert_same_run(short.train(2), whole)
    short.save(tmp_path / "run.npz")
    loaded = lnb.load(tmp_path / "run.npz")
    assert loaded.setup.training.clip_norm == 0.2
    assert_same_run(loaded.train(2, data=problem()[1]), whole)
    assert "clip_norm" in whole._repr_html_()
    assert "clip_norm" not in trained()._repr_html_()


def test_a_sweep_clips_as_train_does():
    rows = lnb.sweep(*problem(), [ADAMW], seeds=20, progress=False, clip_norm=0.2, **HOW)
    for seed in (0, 19):
        alone = trained(seed=seed, clip_norm=0.2).history
        assert rows[rows["seed"] == seed]["run"].tolist() == alone["run"].tolist()
        assert rows[rows["seed"] == seed]["train_loss"].tolist() == alone["train_loss"].tolist()


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, "1", True])
def test_a_norm_that_makes_no_sense_is_refused(value):
    error = TypeError if isinstance(value, (str, bool)) else ValueError
    for call in (lambda: trained(clip_norm=value), lambda: clip_gradient(np.ones(2), value)):
        with pytest.raises(error, match="clip_norm must be a finite number above 0, got"):
            call()


def test_where_clipping_makes_no_sense_it_is_refused():
    with pytest.raises(
        ValueError, match=r"clip_norm must be None for a landscape, .*gradients are not clipped, got 1.0"
    ):
        lnb.train(lnb.landscapes.Quadratic([1.0]), None, ADAMW, steps=1, clip_norm=1.0)
    with pytest.raises(ValueError, match=r"clip_norm must be None with backend='cuda', .*got 1.0"):
        trained(backend="cuda", clip_norm=1.0)
