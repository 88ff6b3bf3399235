"""The estimators for scikit-learn: its own checks, the bits of ``train``, weights, early stopping, warm starts."""

import contextlib
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import lookahead_nb as lnb
from lookahead_nb.adapters.sklearn import MLPClassifier, MLPRegressor, _Rows
from tests.support import reference_network as reference
from tests.support.cases import INNER

BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor], ids=lambda kind: kind.__name__)
LOOKAHEAD = lnb.Lookahead(lnb.AdamW(1e-2, weight_decay=1e-2), sync_period=5, slow_step_size=0.5)
AGREEMENT = 1e-9  # of float64 weights after tens of steps of AdamW whose gradients differ in their last bits


@pytest.fixture
def rows(rng):
    """Ninety rows of three classes that can be learned, with targets for regression."""
    X = rng.normal(size=(90, 4))
    return X, (X[:, 0] > 0.3).astype(int) + (X[:, 1] > 0), np.sin(X[:, 0]) + X[:, 1]


def small(kind, **settings):
    """An estimator that trains in no time."""
    common = {"optimizer": LOOKAHEAD, "max_iter": 3, "batch_size": 16, "random_state": 0}
    return kind((5,), **common | settings)


def target(kind, rows):
    return rows[1] if kind is MLPClassifier else rows[2]


def weights_of(model):
    return b"".join(each.tobytes() for each in [*model.coefs_, *model.intercepts_])


def whole(model):
    """The state of a trained estimator as bytes."""
    training = model._training
    return training.params.tobytes(), {k: np.asarray(v).tobytes() for k, v in training.state.to_arrays().items()}


# ------------------------------------------------------------------------------------------- what scikit-learn checks


@pytest.mark.jit  # hundreds of fits
@pytest.mark.filterwarnings("ignore")  # of the checks themselves
@BOTH
def test_check_estimator_finds_no_fault(kind):
    results = check_estimator(kind(), on_skip=None)
    assert {result["check_name"] for result in results if result["status"] != "passed"} == {"check_array_api_input"}
    assert len(results) > 50


# ----------------------------------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "opt",
    [LOOKAHEAD, lnb.SGD(0.1), lnb.ScheduleFreeAdamW(0.01), lnb.EMA(lnb.AdamW(0.01))],
    ids=lambda opt: type(opt).__name__,
)
def test_a_fit_has_the_bits_of_train(rows, dtype, opt):
    data = lnb.datasets.from_arrays(rows[0], rows[1])
    model = small(MLPClassifier, optimizer=opt, random_state=7).fit(data.X_train.astype(dtype), data.y_train)
    steps = 3 * (len(data.y_train) // 16)
    run = lnb.train(lnb.MLP((4, 5, 3)), data, opt, steps=steps, batch_size=16, seed=7, dtype=dtype)
    assert model._training.params.tobytes() == run.params.tobytes()
    predicted = model.predict_proba(data.X_test)
    wanted = run.model.predict_proba(run.params if run.slow is None else run.slow, data.X_test)
    assert predicted.dtype == dtype
    assert predicted.tobytes() == wanted.tobytes()
    assert model.set_params(weights="fast").predict(data.X_test).tolist() == [
        *run.model.predict(run.params, data.X_test)
    ]


@BOTH
def test_weighted_rows_give_the_weights_of_the_reference(kind, rows, rng):
    X, y, weights = rows[0], target(kind, rows), rng.uniform(0.2, 2, 90)
    opt = lnb.AdamW(1e-2, weight_decay=1e-2)
    model = small(kind, optimizer=opt, max_iter=12, batch_size="auto").fit(X, y, weights)
    params, update = model._training.layers.init(0, "float64"), reference.adamw(1e-2, weight_decay=1e-2)
    for _ in range(12):
        if kind is MLPClassifier:
            params = update(params, reference.gradient(params, X, y, (4, 5, 3), weights=weights))
        else:
            params = update(params, reference.squared_gradient(params, X, y[:, None], (4, 5, 1), weights=weights))
    np.testing.assert_allclose(model._training.params, params, rtol=AGREEMENT, atol=AGREEMENT)


@BOTH
def test_the_loss_curve_is_the_loss_ahead_of_each_step(kind, rows, rng):
    X, y, weights = rows[0], target(kind, rows), rng.uniform(0.2, 2, 90)
    model = small(kind, batch_size=90, max_iter=2).fit(X, y, weights)
    start = model._training.layers.init(0, "float64")
    if kind is MLPClassifier:
        loss = reference.loss(start, X, y, (4, 5, 3), weights=weights)
    else:
        loss = reference.squared_loss(start, X, y[:, None], (4, 5, 1), weights=weights)
    assert model.loss_curve_[0] == pytest.approx(loss, rel=1e-12)
    assert (model.n_iter_, len(model.loss_curve_), model.loss_) == (2, 2, model.loss_curve_[-1])


@BOTH
def test_a_weight_is_a_number_of_copies_of_the_row_if_all_rows_are_one_batch(kind, rows, rng):
    X, y, copies = rows[0], target(kind, rows), rng.integers(0, 4, 90)
    weighted = small(kind, batch_size="auto", max_iter=20).fit(X, y, copies)
    repeated = small(kind, batch_size=1000, max_iter=20).fit(X.repeat(copies, axis=0), y.repeat(copies))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=AGREEMENT)
    for one, other in zip(weighted.coefs_, repeated.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=AGREEMENT, atol=AGREEMENT)


def test_weights_of_classes_multiply_those_of_rows(rows):
    X, y, _ = rows
    by_class = small(MLPClassifier, class_weight={0: 1, 1: 3, 2: 0.5}).fit(X, y)
    by_row = small(MLPClassifier).fit(X, y, np.array([1, 3, 0.5])[y])
    assert whole(by_class) == whole(by_row)
    counts = np.bincount(y)
    balanced = small(MLPClassifier, class_weight="balanced").fit(X, y)
    assert whole(balanced) == whole(small(MLPClassifier).fit(X, y, (90 / (3 * counts))[y]))
    assert small(MLPClassifier, class_weight={0: 0}).fit(X, y).classes_.tolist() == [0, 1, 2]


def test_rows_of_weight_0_bring_no_class(rows):
    X, y, _ = rows
    model = small(MLPClassifier).fit(X, y, y < 2)
    assert model.classes_.tolist() == [0, 1]
    assert whole(model) == whole(small(MLPClassifier).fit(X[y < 2], y[y < 2]))


@BOTH
def test_a_full_batch_has_the_order_of_its_rows(kind, rows):
    X, y = rows[0], target(kind, rows)
    assert whole(small(kind, batch_size=90).fit(X, y)) == whole(small(kind, batch_size=91, random_state=0).fit(X, y))
    model = small(kind, batch_size=90)
    part = next(model.fit(X, y)._training.batches(_Rows(X, y, np.ones(90)), 90))
    assert part.X is X


@pytest.mark.parametrize("rule", INNER)
@BOTH
def test_every_optimizer_trains(kind, rule, rows):
    model = small(kind, optimizer=INNER[rule], max_iter=5).fit(rows[0], target(kind, rows))
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_slow_weights_predict_unless_fast_ones_are_asked_for(rows):
    X, y, _ = rows
    model = small(MLPClassifier, max_iter=1, batch_size=90).fit(X, y)  # one step, and no sync
    start = model._training.layers.init(0, "float64")
    assert model.predict_proba(X).tobytes() == lnb.MLP((4, 5, 3)).predict_proba(start, X).tobytes()
    fast = model.set_params(weights="fast").predict_proba(X)
    assert fast.tobytes() == lnb.MLP((4, 5, 3)).predict_proba(model._training.params, X).tobytes()
    assert abs(fast - lnb.MLP((4, 5, 3)).predict_proba(start, X)).max() > 0


def test_weights_by_layer_reproduce_the_predictions(rows):
    X, _, y = rows
    model = small(MLPRegressor, activation="tanh").fit(X, np.stack([y, -y, 2 * y], axis=1))
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    np.testing.assert_allclose(model.predict(X), np.tanh(X @ W1 + b1) @ W2 + b2, rtol=1e-12, atol=1e-12)
    assert model.n_outputs_ == 3


def test_a_plane_is_fitted_exactly():
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = MLPRegressor((), optimizer=lnb.SGD(0.5), max_iter=500, tol=0, n_iter_no_change=500, random_state=0)
    model.fit(X, 3 * X[:, 0] - X[:, 1] + 2)
    np.testing.assert_allclose(model.coefs_[0][:, 0], [3, -1], rtol=1e-10)
    np.testing.assert_allclose(model.intercepts_[0], [2], rtol=1e-10)


# -------------------------------------------------------------------------------------------- stopping and going on


@BOTH
def test_training_stops_when_the_loss_no_longer_improves(kind, rows):
    X, y = rows[0], target(kind, rows)
    model = small(kind, optimizer=lnb.SGD(0.0), max_iter=50, n_iter_no_change=4, batch_size=90).fit(X, y)
    assert model.n_iter_ == 5  # the first one improves on nothing, four do not improve on it
    assert (model.validation_scores_, model.best_validation_score_) == (None, None)


@BOTH
def test_early_stopping_returns_to_the_best_epoch(kind, rows):
    X, y = rows[0], target(kind, rows)
    noisy = lnb.SGD(2.0) if kind is MLPClassifier else lnb.SGD(0.3)
    settings = {"early_stopping": True, "max_iter": 30, "optimizer": noisy, "n_iter_no_change": 6, "batch_size": 8}
    model = small(kind, **settings).fit(X, y)
    best = int(np.argmax(model.validation_scores_))
    assert best < model.n_iter_ - 1
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.n_iter_ <= 30
    shorter = small(kind, **settings | {"max_iter": best + 1}).fit(X, y)
    assert shorter.validation_scores_ == model.validation_scores_[: best + 1]
    assert whole(model) == whole(shorter)


def test_rows_held_out_are_stratified_and_not_trained_on(rows):
    X, y, _ = rows
    model = small(MLPClassifier, early_stopping=True, validation_fraction=0.2)
    seen = []
    model._epoch = lambda settings, training, part: (
        seen.append(part) or MLPClassifier._epoch(model, settings, training, part)
    )
    model.fit(X, y)
    counts = np.bincount(seen[0].y)
    assert len(seen[0]) == 72
    assert abs(counts - 0.8 * np.bincount(y)).max() <= 1


@BOTH
def test_a_warm_start_continues_bit_for_bit(kind, rows):
    X, y = rows[0], target(kind, rows)
    parts = small(kind, max_iter=2, warm_start=True)
    parts.fit(X, y)
    parts.set_params(max_iter=3).fit(X, y)
    once = small(kind, max_iter=5).fit(X, y)
    assert whole(parts) == whole(once)
    assert parts.loss_curve_ == once.loss_curve_[2:]
    for _ in range(2):
        parts.partial_fit(X, y)
    assert whole(parts) == whole(small(kind, max_iter=7).fit(X, y))
    assert parts.n_iter_ == 5


@BOTH
def test_partial_fits_are_epochs_of_a_fit(kind, rows):
    X, y = rows[0], target(kind, rows)
    parts = small(kind)
    for _ in range(3):
        parts.partial_fit(X, y, **({"classes": [2, 1, 0]} if kind is MLPClassifier else {}))
    once = small(kind).fit(X, y)
    assert whole(parts) == whole(once)
    assert parts.loss_curve_ == once.loss_curve_


def test_a_warm_start_with_another_optimizer_starts_its_state_at_the_weights(rows):
    X, y, _ = rows
    model = small(MLPClassifier, warm_start=True).fit(X, y)
    params = model._training.params.copy()
    model.set_params(optimizer=lnb.SGD(0.0), batch_size=90).fit(X, y)
    assert model._training.params.tobytes() == params.tobytes()
    assert model._training.state.t == 3


def test_a_part_of_one_class_continues(rows):
    X, y, _ = rows
    model = small(MLPClassifier).partial_fit(X, y, classes=[0, 1, 2])
    model.partial_fit(X[y == 1], y[y == 1])
    assert model.classes_.tolist() == [0, 1, 2]


# ------------------------------------------------------------------------------------------------ in scikit-learn


@pytest.mark.jit
@pytest.mark.parametrize(
    "labels", [["no", "yes", "?"], [7, -2, 100], [1.0, 2.0, 5.0], np.array(["b", "a", "c"], object)], ids=str
)
def test_labels_may_be_anything(rows, labels):
    X, y, _ = rows
    named = np.asarray(labels)[y]
    model = small(MLPClassifier, max_iter=20).fit(X, named)
    assert model.classes_.tolist() == sorted(np.asarray(labels).tolist())
    assert set(model.predict(X).tolist()) <= set(named.tolist())
    assert model.score(X, named) > 0.6
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-12)


def test_two_classes_of_truth_values(rows):
    X, y, _ = rows
    model = small(MLPClassifier, max_iter=20).fit(X, y > 0)
    assert model.predict(X).dtype == bool
    assert model.coefs_[-1].shape == (5, 1)


@pytest.mark.jit
def test_it_works_in_a_pipeline_and_in_a_search_over_optimizers(rows):
    X, y, _ = rows
    pipeline = make_pipeline(StandardScaler(), small(MLPClassifier))
    grid = {"mlpclassifier__optimizer": [lnb.SGD(0.0), LOOKAHEAD], "mlpclassifier__max_iter": [10]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_params_["mlpclassifier__optimizer"] == LOOKAHEAD
    assert search.predict(X).shape == y.shape
    with joblib.parallel_config("threading"):  # processes would take half a minute to start
        threads = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, y)
    assert threads.cv_results_["mean_test_score"].tolist() == search.cv_results_["mean_test_score"].tolist()


@BOTH
def test_clones_and_pickles_train_and_predict_the_same(kind, rows, tmp_path):
    X, y = rows[0], target(kind, rows)
    model = small(kind).fit(X, y)
    assert clone(model).get_params() == model.get_params()
    assert whole(clone(model).fit(X, y)) == whole(model)
    joblib.dump(model, tmp_path / "model")
    for copied in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model")):
        assert copied.predict(X).tobytes() == model.predict(X).tobytes()
        copied.partial_fit(X, y)
        assert whole(copied) == whole(small(kind, max_iter=4).fit(X, y))


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array, sparse.coo_matrix, sparse.csc_array])
@BOTH
def test_sparse_rows_give_the_bits_of_dense_ones(kind, rows, make, monkeypatch):
    monkeypatch.setattr("lookahead_nb.adapters.sklearn._ROWS_AT_ONCE", 40)
    X, y = np.where(abs(rows[0]) > 0.5, rows[0], 0), target(kind, rows)
    settings = {"early_stopping": True, "max_iter": 4}
    dense, held = small(kind, **settings).fit(X, y), small(kind, **settings).fit(make(X), y)
    assert whole(held) == whole(dense)
    assert held.predict(make(X)).tobytes() == dense.predict(X).tobytes()


def test_random_states_of_numpy_are_seeds(rows):
    X, y, _ = rows
    one, same, other = (small(MLPClassifier, random_state=np.random.RandomState(seed)).fit(X, y) for seed in (1, 1, 2))
    assert whole(one) == whole(same)
    assert whole(one) != whole(other)


# --------------------------------------------------------------------------------------------------- what is refused

X3, Y3 = np.arange(12.0).reshape(6, 2), np.array([0, 1, 2, 0, 1, 2])
REFUSED = {
    "optimizer": (
        {"optimizer": "adam"},
        TypeError,
        "optimizer must be an inner optimizer, Lookahead or EMA, got 'adam'",
    ),
    "hidden": ({"hidden_layer_sizes": (3, 0)}, ValueError, r"hidden_layer_sizes\[1\] must be .* at least 1, got 0"),
    "no hidden": ({"hidden_layer_sizes": None}, TypeError, r"hidden_layer_sizes must be a sequence .*, got None"),
    "activation": ({"activation": "logistic"}, ValueError, "activation must be one of 'relu', 'tanh', 'sigmoid', got"),
    "weights": ({"weights": "best"}, ValueError, "weights must be one of 'fast', 'slow', got 'best'"),
    "max_iter": ({"max_iter": 0}, ValueError, "max_iter must be a whole number of at least 1, got 0"),
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1, got 0"),
    "a word": ({"batch_size": "all"}, ValueError, "batch_size must be 'auto' or a whole number .*, got 'all'"),
    "early": ({"early_stopping": 1}, TypeError, "early_stopping must be True or False, got 1"),
    "fraction": ({"validation_fraction": 1}, ValueError, r"validation_fraction must be .* in \(0, 1\), got 1"),
    "patience": ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be a whole number of at least 1, got 0"),
    "tol": ({"tol": -1}, ValueError, "tol must be a finite number of at least 0, got -1"),
    "warm": ({"warm_start": "yes"}, TypeError, "warm_start must be True or False, got 'yes'"),
    "seed": ({"random_state": -1}, ValueError, "random_state must be a whole number from 0 to 4294967295, got -1"),
}


@pytest.mark.parametrize(("settings", "error", "sentence"), REFUSED.values(), ids=REFUSED)
@BOTH
def test_fit_refuses_bad_arguments_of_the_estimator(kind, settings, error, sentence):
    model = kind(**settings)  # nothing is checked here
    with pytest.raises(error, match=sentence):
        model.fit(X3, Y3)
    with pytest.raises(NotFittedError):
        model.predict(X3)


CLASSES = {
    "one class": ({}, X3, [1] * 6, r"y must hold at least 2 classes in rows of positive weight, got 1 class: \[1\]"),
    "rows": ({}, X3, Y3[:5], "inconsistent numbers of samples"),
    "a flat X": ({}, X3[0], Y3, "Expected 2D array, got 1D array"),
    "numbers": ({}, X3, Y3 + 0.5, "Unknown label type: continuous"),
    "weight of a class": ({"class_weight": {0: -1}}, X3, Y3, r"class_weight\[0\] must be .* at least 0, got -1"),
    "no weight": ({"class_weight": {0: 0, 1: 0, 2: 0}}, X3, Y3, "class_weight must be above 0 for a class in y"),
}


@pytest.mark.parametrize(("settings", "X", "y", "sentence"), CLASSES.values(), ids=CLASSES)
def test_fit_refuses_rows_that_cannot_be_learned(settings, X, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        MLPClassifier(**settings).fit(X, y)


@pytest.mark.parametrize("labels", [["a", 1, "a"] * 2, [None, "a", "a"] * 2])
def test_labels_without_an_order_are_refused(labels):
    y = np.array(labels, object)
    with pytest.raises(TypeError, match="y must hold labels of one type, got"):
        MLPClassifier().fit(X3, y)
    with pytest.raises(TypeError, match="y must hold labels of one type, got"):
        MLPClassifier().partial_fit(X3, y, classes=["a", "b"])
    with pytest.raises(TypeError, match="classes must hold labels of one type, got"):
        MLPClassifier().partial_fit(X3, ["a"] * 6, classes=y)


@pytest.mark.parametrize(
    ("y", "error", "sentence"),
    [
        (list("abcdef"), TypeError, "y must hold numbers, got <U1"),
        (np.arange(6) + 1j, (TypeError, ValueError), "y must hold numbers|Complex data not supported"),
        (np.full(6, np.datetime64("2020-01-01")), TypeError, "y must hold numbers, got datetime64"),
        (np.array([1.0, None] * 3, object), ValueError, "y must hold finite numbers, got one that is missing"),
    ],
    ids=["words", "complex", "dates", "missing"],
)
def test_targets_that_are_no_numbers_are_refused(y, error, sentence):
    with pytest.raises(error, match=sentence):
        MLPRegressor().fit(X3, y)


PARTS = {
    "no classes": ({}, {}, "classes must list all labels at the first call of partial_fit, got None"),
    "other labels": ({}, {"classes": [0, 1]}, "y must hold labels of classes, got 2"),
    "words for numbers": ({}, {"classes": ["0", "1", "2"]}, "y must hold labels of classes, got 0"),
    "one": ({}, {"classes": [2]}, r"y must hold at least 2 classes in rows of positive weight, got 1 class: \[2\]"),
    "early": ({"early_stopping": True}, {"classes": [0, 1, 2]}, "early_stopping must be False for partial_fit, got"),
    "balanced": (
        {"class_weight": "balanced"},
        {"classes": [0, 1, 2]},
        "class_weight must be a dict or None for partial",
    ),
}


@pytest.mark.parametrize(("settings", "how", "sentence"), PARTS.values(), ids=PARTS)
def test_partial_fit_refuses_what_parts_cannot_tell(settings, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        MLPClassifier(**settings).partial_fit(X3, Y3, **how)
    with pytest.raises(ValueError, match="early_stopping must be False for partial_fit, got True"):
        MLPRegressor(early_stopping=True).partial_fit(X3, Y3)


def test_what_changes_the_network_ends_a_training():
    model = small(MLPClassifier, warm_start=True).fit(X3, Y3)
    before = whole(model)
    with pytest.raises(ValueError, match=r"y must hold the classes \[0, 1, 2\] to continue a training, got \[0, 1\]"):
        model.fit(X3, Y3 % 2)
    with pytest.raises(ValueError, match=r"classes must stay \[0, 1, 2\] to continue a training, got \[0, 1\]"):
        model.partial_fit(X3, Y3, classes=[0, 1])
    with pytest.raises(ValueError, match="X has 1 features, but MLPClassifier is expecting 2"):
        model.fit(X3[:, :1], Y3)
    with pytest.raises(
        ValueError, match=r"the layers must stay \[2, 5, 3\] with 'relu' .* got \[2, 6, 3\] with 'relu'"
    ):
        model.set_params(hidden_layer_sizes=(6,)).fit(X3, Y3)
    assert whole(model) == before


@BOTH
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_an_error_leaves_the_columns_of_the_last_training(kind, how):
    fresh, table = small(kind), pd.DataFrame(X3, columns=["a", "b"])
    labels = {"classes": [0, 1, 2]} if (kind, how) == (MLPClassifier, "partial_fit") else {}
    with pytest.raises(ValueError, match="must have a finite sum"):
        getattr(fresh, how)(table, Y3, sample_weight=[1e308] * 6, **labels)
    assert vars(fresh).keys() == fresh.get_params().keys()
    model = small(kind).fit(table, Y3)
    for X in (table[["b", "a"]], X3[:, :1]):  # names in another order would exchange columns without a word
        with pytest.raises(ValueError, match="must"):
            model.fit(X, Y3, sample_weight=[1e308] * 6)
        assert model.feature_names_in_.tolist() == ["a", "b"]
        assert model.n_features_in_ == 2


@pytest.mark.jit
@BOTH
def test_a_training_that_diverges_says_so_and_leaves_the_last_one(kind):
    model = small(kind, warm_start=True).fit(X3, Y3)
    before = whole(model)
    model.set_params(optimizer=lnb.SGD(1e300), max_iter=20)
    with pytest.raises(FloatingPointError, match=r"training diverged in epoch .* lower the learning rate"):
        model.fit(X3, Y3)
    assert whole(model) == before


def test_a_refused_gradient_leaves_the_last_training(monkeypatch):
    model = small(MLPRegressor, warm_start=True).fit(X3, Y3)
    before, step = whole(model), lnb.Lookahead.step

    def fails_later(opt, params, grad, state):
        if state.t == 5:
            raise FloatingPointError("grad is not finite")
        step(opt, params, grad, state)

    monkeypatch.setattr(lnb.Lookahead, "step", fails_later)
    for train in (model.fit, model.partial_fit, model.partial_fit, model.partial_fit):
        with contextlib.suppress(FloatingPointError):
            train(X3, Y3)
            before = whole(model)
        assert whole(model) == before


@BOTH
def test_weights_without_a_finite_sum_are_refused(kind):
    with pytest.raises(ValueError, match=r"the weights of the rows must have a finite sum, got one of 1e\+308"):
        kind().fit(X3, Y3, [1e308] * 6)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        kind().fit(X3, Y3, [-1, 1, 1, 1, 1, 1])


@pytest.mark.jit
def test_a_loss_that_overflows_and_weights_that_do_are_a_divergence():
    with pytest.raises(
        FloatingPointError, match=r"epoch 1 \(a loss or a weight is not finite\): scale the columns of X"
    ):
        small(MLPRegressor, optimizer=lnb.SGD(0.0)).fit(X3, Y3 * 1e200)
    with pytest.raises(FloatingPointError, match=r"epoch 1 \(a loss or a weight is not finite\)"):
        small(MLPRegressor, optimizer=lnb.SGD(1e308), max_iter=1).fit(X3, Y3 * 1e10)


def test_targets_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"y must be at most 3.4028234663852886e\+38 in size for float32, got 1e\+39"):
        MLPRegressor().fit(X3.astype("f"), [1, 2, 3, 4, 5, 1e39])


def test_an_unknown_argument_is_refused_with_the_right_ones():
    with pytest.raises(TypeError, match=r"MLPClassifier has no argument solver \(did you mean optimizer\?\)"):
        MLPClassifier(solver="adam")
    with pytest.raises(TypeError, match=r"MLPRegressor has no argument class_weight.* its arguments are hidden_layer"):
        MLPRegressor(class_weight="balanced")
