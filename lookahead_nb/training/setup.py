"""The shared part of all runs of a sweep: the model, the data and the training settings, checked once."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

import numba
import numpy as np

from lookahead_nb.checks import float_dtype, one_of, real_number, shown, whole_number
from lookahead_nb.datasets import Dataset, stratified_rows
from lookahead_nb.kernels.formulas import FORMULAS_ID
from lookahead_nb.kernels.philox import ORDERS, STREAM_ID
from lookahead_nb.models.dense import MLP, DenseNetwork, LogisticRegression
from lookahead_nb.models.game import Game
from lookahead_nb.models.landscapes import Bilinear, DoubleWell, Landscape, Quadratic, Rosenbrock
from lookahead_nb.models.own import OwnModel, is_own_model
from lookahead_nb.optimizers import Grouped, Optimizer
from lookahead_nb.optimizers.groups import checked_groups, grouped

LANDSCAPES: dict[str, Any] = {kind.__name__: kind for kind in (Quadratic, DoubleWell, Bilinear, Rosenbrock)}
MODELS: dict[str, Any] = {kind.__name__: kind for kind in (MLP, LogisticRegression)} | LANDSCAPES
SPLITS = ("train", "validation", "test")
KINDS = ("fast", "slow")
HIGHEST_SEED = 2**63 - 1
EVAL_EVERY = 50  # the default; it serves shorter runs too
OPERATIONS_AT_ONCE = 2e9  # floating-point work between two checks for Ctrl-C, which then takes about a second
STEPS_AT_ONCE = 2048  # whose scalars are computed together: 2 MiB in float64 for runs side by side
LEAST_ROWS_KEPT = 4  # data sets or seeds whose rows stay in memory; more where more threads train at once
MOST_BYTES_KEPT = 256 * 2**20  # more data sets stay as long as all of them together take no more

Model = DenseNetwork | Landscape | OwnModel
Data = Dataset | Callable[[int], Dataset] | None  # a function of the seed gives every seed its own data


@dataclass(frozen=True)
class Training:
    """The settings of a training run, checked.

    Parameters
    ----------
    steps, batch_size, eval_rows : int
        At least 1. A split with more rows than eval_rows is evaluated on that many fixed stratified rows.
    eval_every : int
        At least 1; at most steps, except that the default serves shorter runs too.
    eval_at : list of int, optional
        Steps to evaluate instead of every eval_every-th. Step 0 and the last are always evaluated.
    dtype : str
        "float32" or "float64".
    backend : str
        "cpu" or "cuda".
    order : str
        "shuffled" or "repeated", of minibatches.
    groups : dict of str to dict of str to float, optional
        The settings of groups of weights by pattern, as in :func:`lookahead_nb.train`. Only with backend "cpu".
    clip_norm : float, optional
        Above 0, the largest norm of a gradient that is not clipped. Only with backend "cpu".

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.
    NoDeviceError
        If backend is "cuda" and no GPU can be used.

    Examples
    --------
    >>> from lookahead_nb.training.setup import Training
    >>> Training(steps=100, eval_every=50).eval_steps.tolist()
    [0, 50, 100]
    """

    steps: int = 1000
    batch_size: int = 64
    eval_every: int = EVAL_EVERY
    eval_at: Iterable[int] | None = None
    eval_rows: int = 10_000
    dtype: Any = "float32"
    backend: str = "cpu"
    order: str = "shuffled"
    groups: Any = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        one_of("order", self.order, ORDERS)
        if one_of("backend", self.backend, ("cpu", "cuda")) == "cuda":
            self._refuse_by_group("with backend='cuda', which has no groups of weights and clips no gradients")
            from lookahead_nb.kernels import gpu  # numba.cuda is loaded where it is used

            gpu.require()
        set_ = object.__setattr__
        set_(self, "dtype", float_dtype("dtype", self.dtype))
        for name in ("steps", "batch_size", "eval_rows", "eval_every"):
            set_(self, name, whole_number(name, getattr(self, name), 1))
        if self.eval_at is not None:
            set_(self, "eval_at", tuple(_steps_to_evaluate(self.eval_at, self.steps)))
        elif self.eval_every > max(self.steps, EVAL_EVERY):
            raise ValueError(f"eval_every must be at most the {self.steps} steps of a run, got {self.eval_every}")
        if self.groups is not None:
            set_(self, "groups", checked_groups(self.groups))
        if self.clip_norm is not None:
            set_(self, "clip_norm", real_number("clip_norm", self.clip_norm, 0, open_low=True))

    def _refuse_by_group(self, where: str) -> None:
        """Refuse groups of weights and clipping where runs have neither."""
        for name in ("groups", "clip_norm"):
            if (value := getattr(self, name)) is not None:
                raise ValueError(f"{name} must be None {where}, got {shown(value)}")

    @property
    def goes_by_group(self) -> bool:
        """Whether groups of weights have their own settings, or gradients are clipped: such runs are trained alone."""
        return self.groups is not None or self.clip_norm is not None

    @cached_property
    def eval_steps(self) -> np.ndarray:
        """The evaluated steps, (m,) int64, rising, 0 and the last among them."""
        chosen: Iterable[int] = range(0, self.steps, self.eval_every) if self.eval_at is None else self.eval_at
        return np.array(sorted({0, self.steps, *chosen}), np.int64)


def _steps_to_evaluate(eval_at: Any, steps: int) -> list[int]:
    if not np.iterable(eval_at):
        raise TypeError(f"eval_at must be a list of steps, got {shown(eval_at)}")
    return [whole_number(f"eval_at[{i}]", t, 0, steps) for i, t in enumerate(eval_at)]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a data set as the kernels take them.

    Attributes
    ----------
    X, y : arrays
        The training part.
    eval_X, eval_y : arrays
        The rows to evaluate; part i of ``SPLITS`` runs from bounds[i] to bounds[i+1].
    bounds : (4,) int64 array
    fingerprint : str
        That of the data set.
    sample_weight, eval_sample_weight : float64 arrays or None
        The weights of the rows of X and eval_X, if they have some.
    """

    X: np.ndarray
    y: np.ndarray
    eval_X: np.ndarray  # noqa: N815 (a matrix)
    eval_y: np.ndarray
    bounds: np.ndarray
    fingerprint: str
    sample_weight: np.ndarray | None = None
    eval_sample_weight: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """The memory of the features in bytes."""
        return self.X.nbytes + self.eval_X.nbytes


def no_rows(dtype: Any) -> Rows:
    """Return the rows of a run without a data set.

    Parameters
    ----------
    dtype : np.dtype
        That of the weights.

    Returns
    -------
    Rows
    """
    empty, no_labels = np.empty((0, 0), dtype), np.empty(0, np.int64)
    return Rows(empty, no_labels, empty, no_labels, np.zeros(len(SPLITS) + 1, np.int64), "none")


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything about a training run except its optimizer and seed, checked.

    Parameters
    ----------
    model : LogisticRegression, MLP, landscape or OwnModel
    data : Dataset, or function of the seed that returns one
        None for a landscape.
    training : Training
    key : str
        Identifies the setup in another process, together with what it has loaded there.

    Raises
    ------
    TypeError, ValueError
        If model is no model, or data is given for a landscape.
    """

    model: Model
    data: Data
    training: Training
    key: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        if not isinstance(self.model, (DenseNetwork, Landscape, OwnModel)):
            advice = ": train accepts it, and trains step by step in Python" if is_own_model(self.model) else ""
            advice = ": lnb.play steps games" if isinstance(self.model, Game) else advice
            allowed = "a LogisticRegression or an MLP, or a landscape"
            raise TypeError(f"model must be {allowed}, got {shown(self.model)}{advice}")
        if not self.model.needs_data:
            if self.data is not None:
                raise TypeError(f"data must be None for a landscape, got {type(self.data).__name__}")
            self.training._refuse_by_group("for a landscape, which has no layers and whose gradients are not clipped")
            # Not used, and therefore no part of the configuration.
            object.__setattr__(self, "training", replace(self.training, batch_size=1, eval_rows=1, order="shuffled"))

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the weights."""
        return self.training.dtype

    @property
    def steps(self) -> int:
        """The steps of a run."""
        return self.training.steps

    @property
    def eval_steps(self) -> np.ndarray:
        """The evaluated steps, rising."""
        return self.training.eval_steps

    def for_seed(self, seed: int) -> Setup:
        """Return the setup with the data of one seed, where data is a function of the seed.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Setup
        """
        return replace(self, data=self.data(seed)) if callable(self.data) else self

    def rows(self, seed: int) -> Rows:
        """Return the rows of a seed; those of the last seeds and data sets stay in memory.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Rows

        Raises
        ------
        TypeError, ValueError
            If the data does not fit model and batch_size; also the errors of the function that loads it.
        """
        if not self.model.needs_data:
            return no_rows(self.dtype)
        data: Any = self.data
        with _loading:
            key: tuple = (self.key, seed)
            if not callable(data):
                _check_data(self.model, data, self.training)
                key = (data.fingerprint, self.dtype, self.training.eval_rows)  # the same for every run on this data
            if key not in _loaded:
                _loaded[key] = self._load(seed)
            _loaded.move_to_end(key)
            least, size = max(LEAST_ROWS_KEPT, numba.get_num_threads()), sum(rows.nbytes for rows in _loaded.values())
            while len(_loaded) > least and size > MOST_BYTES_KEPT:
                size -= _loaded.popitem(last=False)[1].nbytes
            return _loaded[key]

    def _load(self, seed: int) -> Rows:
        data: Any = self.data(seed) if callable(self.data) else self.data
        _check_data(self.model, data, self.training)
        parts = [_evaluated_rows(data, name, self.training.eval_rows) for name in SPLITS]
        weights = [weights for *_, weights in parts]
        return Rows(
            data.X_train.astype(self.dtype, copy=False),
            data.y_train,
            np.concatenate([X for X, *_ in parts], dtype=self.dtype),
            np.concatenate([y for _, y, _ in parts]),
            np.cumsum([0, *(len(y) for _, y, _ in parts)]),
            data.fingerprint,
            data.sample_weight_train,
            None if data.sample_weight_train is None else np.concatenate(weights),
        )

    def accepted(self, name: str, opt: Any) -> Optimizer:
        """Return the optimizer, with the groups of weights, or refuse one that does not fit and anything else.

        Parameters
        ----------
        name : str
            The name of the argument, for the message.
        opt : object

        Returns
        -------
        Optimizer

        Raises
        ------
        TypeError
            If opt is no optimizer.
        ValueError
            If it adapts its slow steps on a GPU, with groups or on a landscape with replicas, or has tables of fewer
            steps, or the groups do not fit the model.
        """
        check_optimizer(name, opt)
        check_rates(name, opt, self.steps)
        if self.training.backend == "cuda" and opt.adapts:
            raise ValueError(f"{name} must have numbers as slow_step_size with backend='cuda', got 'adaptive'")
        replicas = getattr(self.model, "replicas", 1)
        if replicas > 1 and opt.adapts:
            reason = "an adaptive slow_step_size would couple the replicas of a landscape"
            raise ValueError(f"{name} must have given slow steps where replicas={replicas}: {reason}")
        if self.training.groups is None:
            return opt
        model: Any = self.model
        by_group = grouped(opt, self.training.groups, model.parts, model.size)
        for of_group in by_group.optimizers:
            of_group.inner.check_width(self.dtype)
        return by_group

    @property
    def operations(self) -> float:
        """The floating-point operations of the training steps of one run."""
        return float(self._operations_of_a_step * self.steps)

    @property
    def _operations_of_a_step(self) -> int:
        # Six for each weight and row; on a landscape mostly those of a normal number, judged by its time.
        return (6 * self.training.batch_size if self.model.needs_data else 100) * self.model.size

    @property
    def measured(self) -> np.ndarray:
        """A mask of the existing (``SPLITS``, (loss, accuracy)), (3, 2) bool; a landscape has only a training loss."""
        exists = np.full((len(SPLITS), 2), self.model.needs_data)
        exists[0, 0] = True
        if isinstance(self.model, OwnModel):
            exists[:, 1] = hasattr(self.model.model, "predict")
        return exists

    def work(self, rows: Rows, *, slow: bool = True) -> float:
        """Return the floating-point operations of one run, evaluations included.

        Parameters
        ----------
        rows : Rows
            Of any seed.
        slow : bool
            Whether slow weights are evaluated in addition to the fast ones.

        Returns
        -------
        float
        """
        return self.operations + self._evaluation(rows, slow) * len(self.eval_steps)

    def _evaluation(self, rows: Rows, slow: bool) -> float:
        return 2.0 * (1 + slow) * self.model.size * int(rows.bounds[-1])

    def stretches(
        self, rows: Rows, most: int = STEPS_AT_ONCE, ends: Collection[int] = (), *, first: int = 0, alone: float = 1
    ) -> Iterator[tuple[int, int]]:
        """Yield the stretches in which a run is trained; between two of them it can be stopped.

        Parameters
        ----------
        rows : Rows
            Of the run; its evaluations count as work.
        most : int
            The most steps of a stretch.
        ends : steps
            At each of them a stretch ends.
        first : int
            Steps that are taken already.
        alone : float
            So many runs alone take as long as the runs of this stretch side by side.

        Yields
        ------
        (int, int)
            The steps ahead of and at the end of a stretch.
        """
        most = min(most, STEPS_AT_ONCE)
        evaluated, cost = self.eval_steps[1:], self._evaluation(rows, slow=True) / self._operations_of_a_step
        at_once = OPERATIONS_AT_ONCE / alone / self._operations_of_a_step  # work, in that of a step
        for end in sorted({*ends, self.steps} - {0}):
            while first < end:
                last = min(first + int(np.clip(at_once, 1, most)), end)
                inside = evaluated[slice(*np.searchsorted(evaluated, (first, last), "right"))]
                work = inside - first + cost * np.arange(1, len(inside) + 1)  # up to each evaluation
                if len(inside):  # the first one is never cut off, however large
                    fit = max(1, int(np.searchsorted(work, at_once, "right")))
                    last = min(last, max(int(inside[fit - 1]), int(first + at_once - fit * cost)))
                    last = min(last, int(inside[fit]) - 1) if fit < len(inside) else last
                yield first, last
                first = last

    def of_steps(self, steps: int, eval_at: Iterable[int] = ()) -> Setup:
        """Return the setup of runs of another number of steps.

        Parameters
        ----------
        steps : int
        eval_at : list of int
            Their evaluated steps; 0 and the last one are evaluated in any case.

        Returns
        -------
        Setup
        """
        return replace(self, training=replace(self.training, steps=steps, eval_at=eval_at))

    def take_over(self, results: np.ndarray, shorter: Setup, earlier: np.ndarray, until: int | None = None) -> None:
        """Write the results of shorter runs among those of the longer ones, at all steps that both evaluate.

        Parameters
        ----------
        results : (R, m, 2, 3, 2) array
            Those of runs of this setup, changed in place.
        shorter : Setup
            That of the shorter runs.
        earlier : (R, ..., 2, 3, 2) array
            Their results.
        until : int, optional
            The step at which the longer runs continue, where that is not the end of the shorter ones.
        """
        ends = len(shorter.eval_steps) if until is None else int((shorter.eval_steps <= until).sum())
        _, here, there = np.intersect1d(self.eval_steps, shorter.eval_steps[:ends], return_indices=True)
        results[:, here] = earlier[:, there]

    def settings(self) -> dict[str, Any]:
        """Return everything that the results depend on, except optimizer, seed and data.

        Returns
        -------
        dict
            Nested.
        """
        run = self.training
        training: dict[str, object] = {"steps": run.steps, "batch_size": run.batch_size, "eval_rows": run.eval_rows}
        training |= {"dtype": str(run.dtype), "stream": STREAM_ID, "formulas": FORMULAS_ID}
        training |= {"backend": run.backend} if run.backend != "cpu" else {}  # results may differ in bits there
        training |= {"order": run.order} if run.order != "shuffled" else {}  # older ids remain
        training |= {"clip_norm": run.clip_norm} if run.clip_norm is not None else {}  # groups are in the optimizer's
        return {"model": self.model.settings(), "training": training}

    def blank_results(self, count: int) -> np.ndarray:
        """Return blank results of runs, all NaN.

        Parameters
        ----------
        count : int
            The number of runs.

        Returns
        -------
        (count, m, 2, 3, 2) float64 array
            As in :class:`Outcome`.
        """
        return np.full((count, len(self.eval_steps), len(KINDS), len(SPLITS), 2), np.nan)

    def run_id(self, opt: Optimizer, seed: int, rows: Rows) -> str:
        """Return the first 16 hex digits of the hash of a run's configuration.

        Parameters
        ----------
        opt : Optimizer
        seed : int
        rows : Rows

        Returns
        -------
        str
        """
        configuration = self.settings() | {"data": rows.fingerprint, "optimizer": opt.settings()}
        configuration["training"] |= {"seed": seed}
        return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]


class Outcome(NamedTuple):
    """The results of R runs.

    Attributes
    ----------
    results : (R, m, 2, 3, 2) float64 array
        By run, evaluated step, ``KINDS``, ``SPLITS``, (loss, accuracy); NaN where there is none.
    diverged_at : (R,) int64 array
        The step at which a run diverged, or -1.
    taken : (R,) int64 array
        The steps taken.
    """

    results: np.ndarray
    diverged_at: np.ndarray
    taken: np.ndarray


def always() -> bool:
    """Return True: keep going.

    Returns
    -------
    bool
    """
    return True


_loaded: OrderedDict[tuple, Rows] = OrderedDict()
_loading = Lock()


def _in_forked_child() -> None:
    global _loading
    _loading = Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


def check_optimizer(name: str, opt: Any) -> Optimizer:
    """Return the optimizer, or refuse anything else.

    Parameters
    ----------
    name : str
        The name of the argument, for the message.
    opt : object

    Returns
    -------
    Optimizer

    Raises
    ------
    TypeError
        If opt is no optimizer.
    """
    if not isinstance(opt, Optimizer) or isinstance(opt, Grouped):
        raise TypeError(f"{name} must be an inner optimizer, Lookahead or EMA, got {shown(opt)}")
    return opt


def check_rates(name: str, opt: Optimizer, steps: int) -> None:
    """Refuse an optimizer with a schedule that ends in a table of too few steps.

    Parameters
    ----------
    name : str
        The name of the argument, for the message.
    opt : Optimizer
    steps : int
        Those of the run.

    Raises
    ------
    ValueError
        If a table has fewer steps.
    """
    for what, schedule in {"learning rate": opt.inner.schedule, "weight decay": opt.inner.decay_schedule}.items():
        table = schedule.last.table
        if table is not None and len(table) < steps:
            raise ValueError(f"{name} must have a {what} for each of the {steps} steps, got a table of {len(table)}")


def check_horizon(opt: Optimizer, steps: int) -> None:
    """Refuse an optimizer whose learning rate, or table of weight decays, ends ahead of the end of a longer run.

    A weight decay that has fallen to 0 stays there.

    Parameters
    ----------
    opt : Optimizer
    steps : int
        Those of the longer run.

    Raises
    ------
    ValueError
        If such a schedule has fewer steps.
    """
    schedule = opt.inner.schedule
    if schedule.steps is not None and schedule.steps < steps:
        raise ValueError(
            f"lr must be above 0 in all {steps} steps to train longer, got the {schedule.kind} schedule of "
            f"{schedule.steps} steps: train from the start with a schedule of {steps}"
        )
    check_rates("opt", opt, steps)


def rising_steps(name: str, steps: Any) -> list[int]:
    """Return the steps as a list of int, or refuse anything but a list of rising numbers from 1 on.

    Parameters
    ----------
    name : str
        The name of the argument, for the message.
    steps : iterable of int

    Returns
    -------
    list of int

    Raises
    ------
    TypeError, ValueError
        If steps is no such list.

    Examples
    --------
    >>> from lookahead_nb.training.setup import rising_steps
    >>> rising_steps("at", (1, 5, 20))
    [1, 5, 20]
    """
    if not np.iterable(steps):
        raise TypeError(f"{name} must be a list of steps, got {shown(steps)}")
    checked = [whole_number(f"{name}[{i}]", t, 1) for i, t in enumerate(steps)]
    if not checked or sorted({*checked}) != checked:
        raise ValueError(f"{name} must hold at least one step, each above the one before, got {checked}")
    return checked


def _check_data(model: Any, data: Any, training: Training) -> None:
    if not isinstance(data, Dataset):
        raise TypeError(
            f"data must be a Dataset, or a function of the seed that returns one, got {type(data).__name__}"
        )
    own = isinstance(model, OwnModel)  # it may accept any
    if not own and (data.n_features, data.n_classes) != (model.n_features, model.n_classes):
        has = f"{data.n_features} features and {data.n_classes} classes"
        raise ValueError(f"data must have the features and classes of {model!r}, got {has}")
    if training.batch_size > len(data.X_train):
        raise ValueError(
            f"batch_size must be at most the {len(data.X_train)} rows of the training part, got {training.batch_size}: "
            "pass a smaller one"
        )
    if data.sample_weight_train is not None and (own or training.backend != "cpu"):
        where = "for a model of your own" if own else f"with backend={training.backend!r}"
        raise ValueError(f"data must have no sample weights {where}, got {data!r}: train a network on the CPU")


def _evaluated_rows(data: Dataset, name: str, eval_rows: int) -> tuple[np.ndarray, np.ndarray, Any]:
    X, y, weights = (getattr(data, f"{array}_{name}") for array in ("X", "y", "sample_weight"))
    if len(y) > eval_rows:
        rows = stratified_rows(y, eval_rows, 0)  # the same rows for every run, whatever its seed
        X, y, weights = X[rows], y[rows], None if weights is None else weights[rows]
    return X, y, weights
