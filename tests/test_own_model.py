"""Models of one's own: the bits of the compiled run, the history of all runs, refusals in a sentence."""

import numpy as np
import pytest

import lookahead_nb as lnb
from tests.support.cases import picture
from tests.support.runs import BATCH, COMPILED, OPTIMIZERS, assert_same_run, problem

STEPS, EVERY = (20, 3) if COMPILED else (7, 3)  # of 3 steps between syncs
LOOKAHEAD = OPTIMIZERS["keep"]
HOW = {"steps": STEPS, "batch_size": BATCH, "eval_every": EVERY}


class Least:
    """The least that a model needs: here that of the problem."""

    def __init__(self):
        self.network = problem()[0]
        self.size = self.network.size

    def init(self, seed, dtype):
        return self.network.init(seed, dtype)

    def loss_and_grad(self, params, X, y):
        return self.network.loss_and_grad(params, X, y)


class Whole(Least):
    def loss(self, params, X, y):
        return self.network.loss(params, X, y)

    def predict(self, params, X):
        return self.network.predict(params, X)


class Line:
    """A logistic regression in NumPy, with gradients in float64 whatever the dtype of the weights."""

    size = 5

    def init(self, seed, dtype):  # noqa: ARG002
        return np.zeros(self.size, dtype)

    def loss_and_grad(self, params, X, y):
        X = np.column_stack([X.astype(np.float64), np.ones(len(X))])
        z, sign = X @ params, 2 * y - 1
        loss = np.logaddexp(0, -sign * z).mean()
        return loss, -X.T @ (sign / (1 + np.exp(sign * z))) / len(y)


def trained(model=None, opt=LOOKAHEAD, **changes):
    return lnb.train(Whole() if model is None else model, problem()[1], opt, **HOW | changes)


def without_id(history):
    return history.drop(columns="run")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_wrapped_network_has_the_bits_of_the_compiled_run(name, dtype):
    how = {"opt": OPTIMIZERS[name], "dtype": dtype, "seed": 2**40}
    run, expected = trained(**how), trained(problem()[0], **how)
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    assert without_id(run.history).equals(without_id(expected.history))
    assert run.state.t == expected.state.t
    assert getattr(run.state, "slow_steps", None) == getattr(expected.state, "slow_steps", None)


def test_a_repeated_order_has_the_bits_of_the_compiled_run():
    run, expected = trained(order="repeated"), trained(problem()[0], order="repeated")
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    assert run.params.tobytes() != trained().params.tobytes()


def test_the_least_that_a_model_needs():
    run, expected = trained(Least()), trained()
    assert run.params.tobytes() == expected.params.tobytes()
    assert run.history.filter(like="_accuracy").isna().all(axis=None)
    losses = [f"{split}_loss" for split in ("train", "validation", "test")]
    np.testing.assert_allclose(run.history[losses], expected.history[losses], rtol=1e-6)  # sums in another order
    assert set(run.history["status"]) == {"ok"}


def test_a_line_in_numpy_against_steps_by_hand():
    model, data, opt = Line(), problem()[1], lnb.AdamW(0.05)
    run = trained(model, opt)
    params = np.zeros(5, np.float32)
    state = opt.init(params)
    for _, rows in zip(range(STEPS), lnb.minibatches(len(data.y_train), BATCH, 0), strict=False):
        _, grad = model.loss_and_grad(params, data.X_train[rows], data.y_train[rows])
        opt.step(params, grad.astype(np.float32), state)
    assert run.params.tobytes() == params.tobytes()
    last = run.history.iloc[-1]
    assert last["validation_loss"] == model.loss_and_grad(params, data.X_validation, data.y_validation)[0]


def test_a_run_is_continued():
    assert_same_run(trained(steps=STEPS - 2).train(2), trained())


def test_callbacks_and_early_stopping_work_as_for_networks():
    stop = lnb.EarlyStopping(patience=1, min_delta=0.3)
    runs = [trained(model, early_stopping=stop, callback=lambda s: {"at": s.step}) for model in (None, problem()[0])]
    assert without_id(runs[0].history).equals(without_id(runs[1].history))
    assert runs[0].best_step == runs[1].best_step
    assert runs[0].params.tobytes() == runs[1].params.tobytes()
    assert_same_run(trained(callback=lambda _: None), trained())
    with pytest.raises(ValueError, match="early_stopping must have measure='train_loss' or 'validation_loss' for"):
        trained(Least(), early_stopping=lnb.EarlyStopping(measure="train_accuracy"))


def test_the_run_has_the_model_and_is_drawn():
    model = Whole()
    run = trained(model)
    assert run.model is model
    assert len(run.plot()) == 2
    assert "Whole" in run._repr_html_()


@pytest.mark.jit  # plain Python warns on the way to inf
@pytest.mark.parametrize("lr", [1e38, 3e38])
def test_a_run_that_diverges_has_the_history_of_the_compiled_one(lr):
    opt = lnb.Lookahead(lnb.SGD(lr), sync_period=3)
    run, expected = (trained(model, opt, eval_every=1) for model in (Whole(), problem()[0]))
    assert run.diverged_at == expected.diverged_at is not None
    assert without_id(run.history).equals(without_id(expected.history))
    assert run.state.t == expected.state.t


def test_a_loss_that_is_not_finite_ends_the_run():
    class Breaks(Whole):
        calls = 0

        def loss_and_grad(self, params, X, y):
            self.calls += 1
            loss, grad = super().loss_and_grad(params, X, y)
            return (np.nan if self.calls == 5 else loss), grad

    run = trained(Breaks())
    assert (run.diverged_at, run.state.t) == (5, 4)
    assert run.params.tobytes() == trained(steps=4).params.tobytes()


def test_the_model_cannot_change_the_run_through_its_arguments():
    class Writes(Whole):
        def loss_and_grad(self, params, X, y):
            result = super().loss_and_grad(params, X, y)
            params[:], X[:], y[:] = 0, 0, 0
            return result

        def loss(self, params, X, y):
            result = super().loss(params, X, y)
            params[:], X[:], y[:] = 0, 0, 0
            return result

    assert without_id(trained(Writes()).history).equals(without_id(trained().history))


def test_an_error_of_the_model_comes_out_unchanged():
    error = KeyError("mine")

    class Fails(Whole):
        def loss_and_grad(self, *_):
            raise error

    with pytest.raises(KeyError) as caught:
        trained(Fails())
    assert caught.value is error


@pytest.mark.parametrize(
    ("part", "returned", "error", "words"),
    [
        ("init", np.zeros(3), ValueError, r"model.init must be an array of \d+ numbers, got an array of shape \(3,\)"),
        ("init", np.full(31, np.nan), ValueError, "model.init must return finite weights, got NaN or infinity"),
        ("loss_and_grad", 0.5, TypeError, "model.loss_and_grad must return a loss and a gradient, got 0.5"),
        (
            "loss_and_grad",
            ("a", np.zeros(31)),
            TypeError,
            "model.loss_and_grad must return a real number as loss, got 'a'",
        ),
        ("loss_and_grad", (0.5, np.zeros(2)), ValueError, "the gradient of model.loss_and_grad must be an array of"),
        (
            "loss_and_grad",
            (0.5, np.full(31, 1j)),
            ValueError,
            "the gradient of model.loss_and_grad must be an array of",
        ),
        ("loss", None, TypeError, "model.loss must return a real number as loss, got None"),
        ("predict", [1], ValueError, "model.predict must return one label for each of"),
    ],
)
def test_what_a_model_must_not_return_is_refused(part, returned, error, words):
    model = Whole()
    if isinstance(returned, np.ndarray) and len(returned) == 31:
        returned = np.resize(returned, model.size)
    elif isinstance(returned, tuple) and len(returned[1]) == 31:
        returned = returned[0], np.resize(returned[1], model.size)
    setattr(model, part, lambda *_: returned)
    with pytest.raises(error, match=words):
        trained(model)


def test_what_needs_a_model_of_the_package_says_so(tmp_path, monkeypatch):
    run = trained()
    with pytest.raises(TypeError, match=r"model must be one of .* to be saved"):
        run.save(tmp_path / "run.npz")
    with pytest.raises(TypeError, match="predict needs a run of a network"):
        run.predict(problem()[1].X_test)
    with pytest.raises(
        TypeError, match=r"model must be a LogisticRegression .*: train accepts it, and trains step by step"
    ):
        lnb.sweep(Whole(), problem()[1], [LOOKAHEAD], seeds=1, progress=False, **HOW)
    monkeypatch.setattr("lookahead_nb.kernels.gpu.require", lambda: None)
    with pytest.raises(ValueError, match="backend must be 'cpu' for a model of your own, got 'cuda'"):
        trained(backend="cuda")


@pytest.mark.parametrize("model", [Whole, object(), 5, lambda: None])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(TypeError, match="model must be a LogisticRegression or an MLP, or a landscape, got"):
        trained(model)


def test_a_size_that_is_no_number_is_refused():
    model = Whole()
    model.size = 3.5
    with pytest.raises(TypeError, match=r"model\.size must be a whole number of at least 1, got 3.5"):
        trained(model)
