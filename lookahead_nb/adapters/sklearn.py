"""Dense networks as estimators of scikit-learn, trained with any optimizer of this package.

``MLPClassifier`` and ``MLPRegressor`` work in pipelines, in searches and with joblib. Their gradient is hand-written,
and every sum in it has one order. On one machine a seed therefore gives the same weights, bit for bit, in any process.
"""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from lookahead_nb.checks import (
    default_errors,
    extra,
    flag,
    named_arguments,
    one_of,
    real_number,
    shown,
    whole_number,
    within_width,
)
from lookahead_nb.kernels.cpu import network
from lookahead_nb.kernels.philox import minibatches
from lookahead_nb.models.dense import ACTIVATIONS, MLP, DenseLayers
from lookahead_nb.optimizers import AdamW, Optimizer, State
from lookahead_nb.training.callbacks import Patience
from lookahead_nb.training.setup import KINDS, check_optimizer

__all__ = ["MLPClassifier", "MLPRegressor"]

_base, _metrics, _selection, _class_weight, _multiclass, _validation = (
    extra(f"sklearn.{module}", "scikit-learn", __name__, "sklearn")
    for module in ("base", "metrics", "model_selection", "utils.class_weight", "utils.multiclass", "utils.validation")
)

_BaseEstimator: Any = _base.BaseEstimator
_ClassifierMixin: Any = _base.ClassifierMixin
_RegressorMixin: Any = _base.RegressorMixin

_LARGEST_BATCH = 200  # of batch_size="auto", as in scikit-learn
_ROWS_AT_ONCE = 1024  # sparse rows that a prediction makes dense together


@dataclass(frozen=True)
class _Settings:
    """The arguments of an estimator, checked."""

    hidden: tuple[int, ...]
    activation: str
    opt: Optimizer
    weights: str
    max_iter: int
    batch_size: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    warm_start: bool


@dataclass(frozen=True)
class _Rows:
    """Rows with their targets and weights."""

    X: Any
    y: np.ndarray
    weights: np.ndarray

    def __getitem__(self, rows: Any) -> _Rows:
        return _Rows(self.X[rows], self.y[rows], self.weights[rows])

    def __len__(self) -> int:
        return len(self.weights)

    def positive(self) -> _Rows:
        """Return the rows whose weight is above 0, or refuse weights without a finite sum."""
        with np.errstate(over="ignore"):
            if not np.isfinite(self.weights.sum()):
                raise ValueError(f"the weights of the rows must have a finite sum, got one of {self.weights.max()}")
        return self if self.weights.all() else self[np.flatnonzero(self.weights)]


@dataclass
class _Training:
    """A network in training, after a number of epochs."""

    layers: Any  # DenseLayers, of a classifier MLP
    opt: Optimizer
    params: np.ndarray
    state: State
    seed: int
    epochs: int = 0

    def copy(self) -> _Training:
        """Return a copy with its own arrays."""
        state = copy.deepcopy(self.state, {id(self.opt): self.opt})
        return replace(self, params=self.params.copy(), state=state)

    def chosen(self, weights: str) -> np.ndarray:
        """Return the weights to predict with."""
        slow = None if one_of("weights", weights, KINDS) == "fast" else self.opt.slow_from(self.params, self.state)
        return self.params if slow is None else slow

    def batches(self, rows: _Rows, size: int) -> Iterator[_Rows]:
        """Yield the minibatches of the next epoch; all rows together are not resampled."""
        if size == len(rows):
            yield rows
            return
        count = len(rows) // size
        for batch in islice(minibatches(len(rows), size, self.seed, self.epochs * count), count):
            yield rows[batch]


class _Estimator(_BaseEstimator):  # type: ignore[misc] # scikit-learn ships no annotations
    """The arguments, checks and training of both estimators."""

    _gradient: ClassVar[Callable[[Any], Callable]]  # of a width: the compiled loss with its gradient
    _training: _Training

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        activation: str = "relu",
        optimizer: Optimizer | None = None,
        weights: str = "slow",
        max_iter: int = 200,
        batch_size: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.weights = weights
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_training")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ------------------------------------------------------------------------------------------------------- checks

    def _settings(self) -> _Settings:
        """Return the arguments, or refuse one in a sentence."""
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, numbers.Integral) else sizes
        if isinstance(sizes, str) or not np.iterable(sizes):
            raise TypeError(f"hidden_layer_sizes must be a sequence such as (100,), got {shown(sizes)}")
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ValueError(f"batch_size must be 'auto' or a whole number of at least 1, got {self.batch_size!r}")
        return _Settings(
            tuple(whole_number(f"hidden_layer_sizes[{i}]", size, 1) for i, size in enumerate(sizes)),
            one_of("activation", self.activation, tuple(ACTIVATIONS)),
            AdamW() if self.optimizer is None else check_optimizer("optimizer", self.optimizer),
            one_of("weights", self.weights, KINDS),
            whole_number("max_iter", self.max_iter, 1),
            _LARGEST_BATCH if isinstance(self.batch_size, str) else whole_number("batch_size", self.batch_size, 1),
            flag("early_stopping", self.early_stopping),
            real_number("validation_fraction", self.validation_fraction, 0, 1, open_low=True, open_high=True),
            whole_number("n_iter_no_change", self.n_iter_no_change, 1),
            real_number("tol", self.tol, 0),
            flag("warm_start", self.warm_start),
        )

    @contextmanager
    def _as_before_an_error(self) -> Iterator[None]:
        """Return a context that, after an error inside, leaves all attributes as they were ahead of it."""
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            for name in vars(self).keys() - before.keys():
                delattr(self, name)
            self.__dict__.update(before)
            raise

    def _before(self, settings: _Settings) -> _Training | None:
        """Return the training that ``fit`` continues."""
        return getattr(self, "_training", None) if settings.warm_start else None

    def _checked_rows(self, X: Any, y: Any, sample_weight: Any, before: _Training | None, **checks: Any) -> _Rows:
        """Return rows of positive weight, in the dtype of the training before or else of X."""
        dtype = [np.float64, np.float32] if before is None else before.params.dtype
        reset = before is None
        X, y = _validation.validate_data(self, X, y, reset=reset, accept_sparse="csr", dtype=dtype, order="C", **checks)
        weights = _validation._check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return _Rows(X if hasattr(X, "toarray") else np.asarray(X), np.asarray(y), weights).positive()

    def _started(self, settings: _Settings, layers: DenseLayers, rows: _Rows, before: _Training | None) -> _Training:
        """Return a training to go on with: fresh, or a copy of the one before."""
        if before is None:
            state = self.random_state
            if isinstance(state, numbers.Integral):
                seed = whole_number("random_state", state, 0, 2**32 - 1)
            else:
                seed = int(_validation.check_random_state(state).randint(2**31))
            params = layers.init(seed, rows.X.dtype)
            return _Training(layers, settings.opt, params, settings.opt.init(params), seed)
        now, was = (f"{each.sizes.tolist()} with {each.activation!r}" for each in (layers, before.layers))
        if now != was:
            raise ValueError(
                f"the layers must stay {was} to continue a training, got {now}: set warm_start=False and call fit"
            )
        training = before.copy()
        if training.opt != settings.opt:
            training.opt, training.state = settings.opt, settings.opt.init(training.params)
        return training

    # ----------------------------------------------------------------------------------------------------- training

    def _train(self, settings: _Settings, training: _Training, rows: _Rows, held: _Rows | None) -> None:
        """Train for epochs until nothing improves; with rows held out, return to the best epoch."""
        losses, scores = list[float](), list[float]()
        patience, kept = Patience(settings.n_iter_no_change, settings.tol), training
        while len(losses) < settings.max_iter and not patience.is_over:
            losses.append(self._epoch(settings, training, rows))
            if held is not None:
                scores.append(self._held_score(training.layers, training.chosen(settings.weights), held))
            if patience.improved(-losses[-1] if held is None else scores[-1]):
                kept = training if held is None else training.copy()
        self._training = kept if held is not None else training
        self.loss_curve_, self.loss_, self.n_iter_ = losses, losses[-1], len(losses)
        self.validation_scores_ = None if held is None else scores
        self.best_validation_score_ = None if held is None else patience.best

    def _train_once(self, settings: _Settings, training: _Training, rows: _Rows) -> None:
        """Train for one epoch."""
        losses = [*getattr(self, "loss_curve_", []), self._epoch(settings, training, rows)]
        self._training = training
        self.loss_curve_, self.loss_, self.n_iter_ = losses, losses[-1], len(losses)

    @default_errors
    def _epoch(self, settings: _Settings, training: _Training, rows: _Rows) -> float:
        """Take the steps of one epoch and return the mean loss of its minibatches, weighted like their rows."""
        layers, params = training.layers, training.params
        width: Any = params.dtype.type
        size = min(settings.batch_size, len(rows))
        grad, work = np.empty_like(params), np.empty(network.work_size(layers.sizes, size), width)
        loss_and_grad, shape = type(self)._gradient(width), (layers.sizes, layers.activation_code, width(0))
        losses, weights = list[float](), list[float]()
        for batch in training.batches(rows, size):
            weights.append(math.fsum(batch.weights))
            shares = (batch.weights / weights[-1]).astype(width)
            losses.append(weights[-1] * loss_and_grad(params, _dense(batch.X), batch.y, shares, *shape, grad, work))
            try:
                training.opt.step(params, grad, training.state)
            except FloatingPointError as error:
                raise _diverged(training, error) from None
        loss = math.fsum(losses) / math.fsum(weights)
        if not (math.isfinite(loss) and np.isfinite(params).all()):
            raise _diverged(training, "a loss or a weight is not finite")
        training.epochs += 1
        return loss

    def _split(self, settings: _Settings, rows: _Rows, seed: int, classes: Any = None) -> tuple[_Rows, _Rows | None]:
        """Return the rows to train on, and those held out for early stopping."""
        if not settings.early_stopping:
            return rows, None
        parts = _selection.train_test_split(
            np.arange(len(rows)), test_size=settings.validation_fraction, random_state=seed, stratify=classes
        )
        return rows[np.sort(parts[0])], rows[np.sort(parts[1])]

    def _held_score(self, layers: Any, params: np.ndarray, held: _Rows) -> float:
        """Return the score of weights on rows held out."""
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------------- prediction

    def _predicted(self, X: Any, predict: Callable[[Any, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return what a method of the layers predicts."""
        _validation.check_is_fitted(self)
        layers, params = self._training.layers, self._training.chosen(self.weights)
        X = _validation.validate_data(self, X, reset=False, accept_sparse="csr", dtype=params.dtype, order="C")
        return _in_blocks(X, lambda block: predict(layers, params, block))

    def _views(self, letter: str) -> list[np.ndarray]:
        _validation.check_is_fitted(self)
        views = self._training.layers.unpack(self._training.chosen(self.weights).copy())
        return [view for name, view in views.items() if name.startswith(letter)]

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer that predict, (inputs, outputs), as copies."""
        return [W.T for W in self._views("W")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer that predict, (outputs,), as copies."""
        return self._views("b")


def _diverged(training: _Training, why: Any) -> FloatingPointError:
    advice = "scale the columns of X, or lower the learning rate"
    return FloatingPointError(f"training diverged in epoch {training.epochs + 1} ({why}): {advice}")


def _in_order(name: str, labels: np.ndarray) -> np.ndarray:
    """Return the different labels in sorted order, or refuse labels that have none."""
    try:
        return np.unique(labels)
    except TypeError:
        raise TypeError(f"{name} must hold labels of one type, got {shown(labels.tolist())}") from None


def _dense(X: Any) -> np.ndarray:
    return X.toarray(order="C") if hasattr(X, "toarray") else X


def _in_blocks(X: Any, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return predictions of all rows; sparse ones are made dense block by block."""
    if not hasattr(X, "toarray"):
        return predict(X)
    starts = range(0, X.shape[0], _ROWS_AT_ONCE)
    return np.concatenate([predict(_dense(X[start : start + _ROWS_AT_ONCE])) for start in starts])


@named_arguments
class MLPClassifier(_ClassifierMixin, _Estimator):  # type: ignore[misc] # scikit-learn ships no annotations
    """A multilayer perceptron for classification, trained with cross-entropy and any optimizer of this package.

    Columns are used as they are: put a ``StandardScaler`` in front.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        The hidden layers; ``()`` is logistic regression.
    activation : str
        "relu", "tanh" or "sigmoid".
    optimizer : Optimizer, optional
        An inner optimizer, Lookahead or EMA. None is ``AdamW()``: lr 0.001, weight_decay 0.01.
    weights : str
        The weights that predict, "slow" or "fast". An optimizer without slow weights has only one kind, which both
        names mean.
    max_iter : int
        At least 1, the largest number of epochs. Reaching it raises no warning.
    batch_size : int or "auto"
        Rows of a minibatch; "auto" is 200. If there are fewer rows, all of them are one batch, in the order given.
        Otherwise an epoch has ``rows // batch_size`` minibatches of ``lookahead_nb.minibatches``. The rows left over
        differ from epoch to epoch.
    early_stopping : bool
        True holds out rows, stops once their score no longer improves, and restores the weights and the optimizer's
        state of the epoch with the best score. False stops once the training loss no longer improves.
    validation_fraction : float
        In (0, 1), the fraction of rows held out, stratified by class.
    n_iter_no_change : int
        At least 1, the number of consecutive epochs without an improvement after which training stops.
    tol : float
        At least 0. A smaller improvement counts as none.
    warm_start : bool
        True makes ``fit`` continue from the weights and the optimizer's state of the last fit. Two fits of n epochs
        then equal one of 2n, bit for bit. After a change of the optimizer its state starts again at the fast weights.
    class_weight : dict, "balanced", optional
        Multiplies the weights of the rows of each class. "balanced" is inversely proportional to the weight of a class.
    random_state : int, RandomState, optional
        The seed of initial weights, minibatches and rows held out. An int is the ``seed`` of ``lookahead_nb.train``.

    Attributes
    ----------
    classes_ : (n_classes,) array
        The labels in sorted order.
    n_features_in_ : int
    feature_names_in_ : array of str
        Only if X had names.
    loss_curve_ : list of float
        The mean training loss of each epoch of the last fit; ``partial_fit`` appends to it.
    loss_ : float
        The last of them.
    n_iter_ : int
        Their number.
    validation_scores_ : list of float or None
        The accuracy on the rows held out after each epoch.
    best_validation_score_ : float or None
    coefs_, intercepts_ : lists of arrays
        The weights of each layer, (inputs, outputs), and the biases, (outputs,), of the network that predicts.

    Notes
    -----
    The loss of a minibatch is the weighted mean over its rows: sum(w*loss)/sum(w). Rows of weight 0 are dropped before
    classes are counted. If all rows are one batch, a weight of 2 is equivalent to the same row twice, within rounding.
    With smaller batches it is not, since the two copies of a row lie in different minibatches.

    X of float32 is trained in float32, any other X in float64. Sparse X is kept as CSR and made dense batch by batch;
    predictions do so for 1024 rows at a time. Arguments are checked by ``fit``. A ``fit`` that fails or is interrupted
    leaves the trained network as it was.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.adapters.sklearn import MLPClassifier
    >>> data = lnb.datasets.load("digits")
    >>> opt = lnb.Lookahead(lnb.AdamW(1e-2), sync_period=5, slow_step_size=0.5)
    >>> model = MLPClassifier((32,), optimizer=opt, max_iter=20, batch_size=64, random_state=0)
    >>> model.fit(data.X_train, data.y_train).score(data.X_test, data.y_test) > 0.9
    True
    """

    classes_: np.ndarray

    _gradient = staticmethod(network.weighted_loss_and_grad)

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        activation: str = "relu",
        optimizer: Optimizer | None = None,
        weights: str = "slow",
        max_iter: int = 200,
        batch_size: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        class_weight: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation=activation,
            optimizer=optimizer,
            weights=weights,
            max_iter=max_iter,
            batch_size=batch_size,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train for up to ``max_iter`` epochs.

        Parameters
        ----------
        X : (rows, n_features) array, data frame or sparse matrix
            Finite numbers.
        y : (rows,) array
            Labels of at least 2 classes: text, bool or numbers.
        sample_weight : (rows,) array, optional
            At least 0, and not all 0.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            If an argument of the estimator, X, y or a weight is not allowed.
        FloatingPointError
            If training diverges.
        """
        settings = self._settings()
        before = self._before(settings)
        with self._as_before_an_error():
            rows = self._checked_rows(X, y, sample_weight, before)
            classes = _in_order("y", rows.y)
            _multiclass.check_classification_targets(rows.y)
            if before is not None and not np.array_equal(classes, self.classes_):
                was, now = shown(self.classes_.tolist()), shown(classes.tolist())
                raise ValueError(f"y must hold the classes {was} to continue a training, got {now}")
            rows = self._numbered(rows, classes)
            training = self._started(settings, self._network(settings, rows, classes), rows, before)
            train, held = self._split(settings, rows, training.seed, rows.y)
            self._train(settings, training, train, held)
            self.classes_ = classes
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch over these rows, from where the last fit or partial fit ended.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`. The rows may be of one class.
        classes : array, optional
            All labels that any call will have; needed at the first call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`fit`; if classes are missing or change, or y holds others; with early_stopping, or with
            class_weight "balanced", which no part of the rows can tell.
        FloatingPointError
            If training diverges.
        """
        settings = self._settings()
        before = getattr(self, "_training", None)
        if settings.early_stopping:
            raise ValueError("early_stopping must be False for partial_fit, got True: call fit to stop early")
        if isinstance(self.class_weight, str):
            raise ValueError(f"class_weight must be a dict or None for partial_fit, got {self.class_weight!r}")
        if classes is None and before is None:
            raise ValueError("classes must list all labels at the first call of partial_fit, got None")
        labels = self.classes_ if classes is None else _in_order("classes", np.asarray(classes))
        if before is not None and not np.array_equal(labels, self.classes_):
            was, now = shown(self.classes_.tolist()), shown(labels.tolist())
            raise ValueError(f"classes must stay {was} to continue a training, got {now}")
        with self._as_before_an_error():
            rows = self._checked_rows(X, y, sample_weight, before)
            _in_order("y", rows.y)
            _multiclass.check_classification_targets(rows.y)
            rows = self._numbered(rows, labels)
            training = self._started(settings, self._network(settings, rows, labels), rows, before)
            self._train_once(settings, training, rows)
            self.classes_ = labels
        return self

    def _network(self, settings: _Settings, rows: _Rows, classes: np.ndarray) -> MLP:
        return MLP((rows.X.shape[1], *settings.hidden, len(classes)), activation=settings.activation)

    def _numbered(self, rows: _Rows, classes: np.ndarray) -> _Rows:
        """Return rows of positive weight with numbers for labels, their weights times those of the classes."""
        numbers_of = {label: i for i, label in enumerate(classes.tolist())}
        if len(numbers_of) < 2:
            raise ValueError(f"y must hold at least 2 classes in rows of positive weight, got 1 class: {[*numbers_of]}")
        y = np.array([numbers_of.get(label, -1) for label in rows.y.tolist()], np.int64)
        if (y < 0).any():
            raise ValueError(f"y must hold labels of classes, got {shown(rows.y.tolist()[np.argmax(y < 0)])}")
        of_class = _class_weight.compute_class_weight(
            self.class_weight, classes=classes, y=rows.y, sample_weight=rows.weights
        )
        for label, weight in zip(classes.tolist(), of_class, strict=True):
            real_number(f"class_weight[{label!r}]", float(weight), 0)
        weighted = _Rows(rows.X, y, rows.weights * of_class[y]).positive()
        if not len(weighted):
            raise ValueError(f"class_weight must be above 0 for a class in y, got {shown(self.class_weight)}")
        return weighted

    def _held_score(self, layers: MLP, params: np.ndarray, held: _Rows) -> float:
        hits = _in_blocks(held.X, lambda block: layers.predict(params, block)) == held.y
        return math.fsum(held.weights[hits]) / math.fsum(held.weights)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of the most probable class of each row.

        Parameters
        ----------
        X : (rows, n_features) array, data frame or sparse matrix
            Finite numbers; cast to the dtype of the training.

        Returns
        -------
        (rows,) array
            Entries of ``classes_``.

        Raises
        ------
        ValueError
            If X does not fit the training. Without a training it is scikit-learn's NotFittedError.
        """
        numbers_ = self._predicted(X, MLP.predict)
        return self.classes_[numbers_]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : (rows, n_features) array, data frame or sparse matrix
            As in :meth:`predict`.

        Returns
        -------
        (rows, n_classes) array
            In the dtype of the training. Column i belongs to ``classes_[i]``.

        Raises
        ------
        ValueError
            As in :meth:`predict`.
        """
        return self._predicted(X, MLP.predict_proba)


@named_arguments
class MLPRegressor(_RegressorMixin, _Estimator):  # type: ignore[misc] # scikit-learn ships no annotations
    """A multilayer perceptron for regression, trained with squared error and any optimizer of this package.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        The hidden layers; ``()`` is a linear model.
    activation, optimizer, weights, max_iter, batch_size, early_stopping, n_iter_no_change, tol, warm_start
        As in :class:`MLPClassifier`.
    validation_fraction : float
        In (0, 1), the fraction of rows held out for early stopping.
    random_state : int, RandomState, optional
        The seed of initial weights, minibatches and rows held out.

    Attributes
    ----------
    n_features_in_, feature_names_in_, loss_curve_, loss_, n_iter_, coefs_, intercepts_
        As in :class:`MLPClassifier`.
    n_outputs_ : int
    validation_scores_ : list of float or None
        The coefficient of determination on the rows held out after each epoch.
    best_validation_score_ : float or None

    Notes
    -----
    The loss of a row is half the squared error, summed over the outputs. Scale y to about unit variance. All else is as
    in :class:`MLPClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.adapters.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> model = MLPRegressor((16,), activation="tanh", optimizer=lnb.AdamW(1e-2), batch_size=20, random_state=0)
    >>> model.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.95
    True
    """

    _gradient = staticmethod(network.squared_loss_and_grad)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train for up to ``max_iter`` epochs.

        Parameters
        ----------
        X : (rows, n_features) array, data frame or sparse matrix
            Finite numbers.
        y : (rows,) or (rows, outputs) array
            Finite numbers, cast to the dtype of the training.
        sample_weight : (rows,) array, optional
            At least 0, and not all 0.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If an argument of the estimator, X, y or a weight is not allowed.
        FloatingPointError
            If training diverges.
        """
        settings = self._settings()
        before = self._before(settings)
        with self._as_before_an_error():
            rows, is_flat, training = self._prepared(settings, X, y, sample_weight, before)
            train, held = self._split(settings, rows, training.seed)
            if held is not None and len(held) < 2:
                fraction = settings.validation_fraction
                raise ValueError(f"validation_fraction must hold out at least 2 rows, got {fraction}")
            self._train(settings, training, train, held)
            self._is_flat, self.n_outputs_ = is_flat, rows.y.shape[1]
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch over these rows, from where the last fit or partial fit ended.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`fit`; with early_stopping.
        FloatingPointError
            If training diverges.
        """
        settings = self._settings()
        if settings.early_stopping:
            raise ValueError("early_stopping must be False for partial_fit, got True: call fit to stop early")
        before = getattr(self, "_training", None)
        with self._as_before_an_error():
            rows, is_flat, training = self._prepared(settings, X, y, sample_weight, before)
            self._train_once(settings, training, rows)
            self._is_flat, self.n_outputs_ = is_flat, rows.y.shape[1]
        return self

    def _prepared(
        self, settings: _Settings, X: Any, y: Any, sample_weight: Any, before: _Training | None
    ) -> tuple[_Rows, bool, _Training]:
        """Return the rows with targets (rows, outputs), whether these were flat, and the training to go on with."""
        rows = self._checked_rows(X, y, sample_weight, before, multi_output=True, y_numeric=True)
        if rows.y.dtype.kind not in "biuf":
            raise TypeError(f"y must hold numbers, got {rows.y.dtype}")
        if not np.isfinite(rows.y).all():  # None, which scikit-learn makes NaN
            raise ValueError("y must hold finite numbers, got one that is missing")
        within_width("y", rows.y, rows.X.dtype)
        is_flat = rows.y.ndim == 1
        rows = replace(rows, y=np.ascontiguousarray(rows.y.reshape(len(rows), -1), rows.X.dtype))
        sizes = [rows.X.shape[1], *settings.hidden, rows.y.shape[1]]
        return rows, is_flat, self._started(settings, DenseLayers(sizes, settings.activation), rows, before)

    def _held_score(self, layers: DenseLayers, params: np.ndarray, held: _Rows) -> float:
        outputs = _in_blocks(held.X, lambda block: layers.outputs(params, block))
        return float(_metrics.r2_score(held.y, outputs, sample_weight=held.weights))

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs for each row.

        Parameters
        ----------
        X : (rows, n_features) array, data frame or sparse matrix
            Finite numbers; cast to the dtype of the training.

        Returns
        -------
        (rows,) or (rows, outputs) array
            Of the shape that y had, in the dtype of the training.

        Raises
        ------
        ValueError
            If X does not fit the training. Without a training it is scikit-learn's NotFittedError.
        """
        outputs = self._predicted(X, DenseLayers.outputs)
        return outputs[:, 0] if self._is_flat else outputs
