"""One training run: model, data, optimizer and seed in; a tidy history and the trained weights out."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from threading import Lock
from typing import Any
from uuid import uuid4

import numpy as np

from lookahead_nb import on_device
from lookahead_nb.checks import float_dtype, one_of, whole_number
from lookahead_nb.cpu import groups, network, runs, surfaces
from lookahead_nb.cpu.lanes import lanes_of, lined_up
from lookahead_nb.datasets import Dataset, stratified_rows
from lookahead_nb.formulas import INTERPOLATE, KEEP, RULES, STARTS_AT_WEIGHTS
from lookahead_nb.landscapes import Landscape
from lookahead_nb.mlp import DenseNetwork
from lookahead_nb.optimizers import (
    INNER_STATES,
    Lookahead,
    LookaheadState,
    Optimizer,
    ScheduleFreeAdamW,
    State,
    WithSlowWeights,
    gradient_limit,
    step_table,
)
from lookahead_nb.philox import STREAM_ID

SPLITS = ("train", "validation", "test")
KINDS = ("fast", "slow")
OPERATIONS_AT_ONCE = 2e9  # floating-point work between two looks at the keyboard: Ctrl-C answers within a second or so
NUMBERS_AT_ONCE = 1 << 17  # normal numbers of a stretch of steps: 1 MiB of them stays in the cache of a core
HIGHEST_SEED = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training run.

    history : pandas frame, one row per evaluated step and kind of weights (see :func:`train`).
    params : (n,) array, the fast weights at the end. slow : (n,) array, the slow ones, of Schedule-Free the average, or
    None. state : the optimizer's state, ready for further steps by hand. diverged_at : the step, or None.
    """

    history: object
    params: np.ndarray
    state: State
    diverged_at: int | None

    @property
    def slow(self):
        """The slow weights at the end, of Schedule-Free the average; None where there are none."""
        if isinstance(self.state, LookaheadState):
            return self.state.slow
        opt = self.state._optimizer
        return opt._slow(self.params, self.state) if isinstance(opt, WithSlowWeights) else None


def train(
    model,
    data,
    opt,
    *,
    steps=1000,
    batch_size=64,
    seed=0,
    eval_every=50,
    eval_at=None,
    eval_rows=10_000,
    dtype="float32",
    backend="cpu",
):
    """Train a model once and return the :class:`Run`.

    The weights are those of stepping ``opt`` by hand on ``model.loss_and_grad``, ``minibatches(n, batch_size, seed)``,
    from ``model.init(seed, dtype)``, bit for bit; for a landscape, on ``model.noisy_grad(params, seed, t)``, t from 1.

    model : LogisticRegression or MLP, or a landscape. data : Dataset, or a function of the seed that returns one; None
    for a landscape, which has no use for batch_size and eval_rows either. opt : an inner rule or Lookahead. steps,
    batch_size, eval_every, eval_rows : int, at least 1. seed : int in [0, 2**63), of weights, minibatches and noise.
    eval_at : steps to evaluate in place of every eval_every-th; 0 and the last are always in. eval_rows : a larger
    split is evaluated on this many fixed stratified rows. dtype : "float32" or "float64". backend : "cpu", or "cuda" to
    train on a GPU, from and to the host; there no slow step adapts, and there is no way back to the CPU unasked.

    The columns of its history: ``run`` (first 16 hex digits of the hash of the configuration), ``seed``, the settings
    of opt, ``step``, ``phase`` (step mod sync_period), ``weights`` ("fast"; for Lookahead also "slow", and so for
    Schedule-Free, where it is the average), ``train_loss``, ``validation_loss``, ``test_loss`` (mean cross-entropy
    without L2; of a landscape ``train_loss`` is the expected loss, the mean over its replicas, and the others are NaN),
    the same three accuracies, ``status`` ("ok" or "diverged"), ``diverged_at``. At a step with a sync, fast is
    evaluated before the pull and slow after it. From the step where the minibatch loss, the gradient (as ``step``
    checks it) or a weight stops being finite the run is frozen, and rows hold NaN and "diverged"; so does a row whose
    own loss is not finite. errors : TypeError, ValueError; with "cuda" NoDeviceError, DeviceError where the GPU fails,
    MemoryError where a run does not fit it.
    """
    task = Task.checked(model, data, steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend)
    seed = whole_number("seed", seed, 0, HIGHEST_SEED)
    task.takes("opt", opt)
    task = replace(task, data=task.data(seed)) if callable(task.data) else task
    rows = task.rows(seed)
    params = model.init(seed, task.dtype)
    state = opt.init(params)
    results, diverged_at, taken = task.advance(opt, seed, rows, params, state)
    state._arrive(int(taken), step_table(opt, task.steps, task.dtype.type)[1][taken].tolist())
    found = [task.run_id(opt, seed, rows)], [seed], results[None], np.array([diverged_at])
    settings, slowed = settings_frame([opt])
    history = histories(task, settings, slowed, np.array([0]), *found)
    return Run(history, params, state, None if diverged_at < 0 else diverged_at)


# ------------------------------------------------------------------------------------- what all runs of a sweep share


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a data set as the kernels take them.

    X, y : the training part. eval_X, eval_y : the rows to evaluate, part i of ``SPLITS`` from bounds[i] to bounds[i+1].
    bounds : (4,) int64. fingerprint : str, that of the data set.
    """

    X: np.ndarray
    y: np.ndarray
    eval_X: np.ndarray  # noqa: N815 (a matrix)
    eval_y: np.ndarray
    bounds: np.ndarray
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Task:
    """All of a training run but its optimizer and its seed, checked.

    model, data, steps, batch_size, eval_rows, dtype, backend : as in :func:`train`. eval_steps : (m,) int64, the steps
    that are evaluated, rising, 0 and ``steps`` among them. key : str, by which another process knows the task again.
    """

    model: DenseNetwork | Landscape
    data: Dataset | Callable[[int], Dataset] | None
    steps: int
    batch_size: int
    eval_steps: np.ndarray
    eval_rows: int
    dtype: np.dtype
    backend: str
    key: str = field(default_factory=lambda: uuid4().hex)  # known again in another process, with what it has loaded

    @classmethod
    def checked(cls, model, data, steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend):
        """Return the task, or refuse what is wrong with one of its parts.

        model, data, steps, batch_size, eval_every, eval_at, eval_rows, dtype, backend : as in :func:`train`. errors :
        TypeError, ValueError; NoDeviceError.
        """
        if one_of("backend", backend, ("cpu", "cuda")) == "cuda":
            on_device.require()
        dtype = float_dtype("dtype", dtype)
        steps, batch_size = whole_number("steps", steps, 1), whole_number("batch_size", batch_size, 1)
        eval_rows, eval_steps = whole_number("eval_rows", eval_rows, 1), _eval_steps(steps, eval_every, eval_at)
        if isinstance(model, Landscape):
            if data is not None:
                raise TypeError(f"data must be None for a landscape, not {type(data).__name__}")
            batch_size = eval_rows = 1  # not used, and so no part of the configuration
        elif not isinstance(model, DenseNetwork):
            raise TypeError(f"model must be a LogisticRegression or an MLP, or a landscape, not {model!r}")
        return cls(model, data, steps, batch_size, eval_steps, eval_rows, dtype, backend)

    def rows(self, seed):
        """Return the :class:`Rows` of a seed; those of the last seeds and data sets are kept.

        seed : int in [0, 2**63). errors : TypeError, ValueError; those of the function that loads the data.
        """
        if isinstance(self.model, Landscape):
            none, nobody = np.empty((0, 0), self.dtype), np.empty(0, np.int64)
            return Rows(none, nobody, none, nobody, np.zeros(len(SPLITS) + 1, np.int64), "none")
        data: Any = self.data
        with _loading:
            kept: tuple = (self.key, seed)
            if not callable(data):
                _check_data(self.model, data, self.batch_size)
                kept = (data.fingerprint, self.dtype, self.eval_rows)  # the same for every run on this data
            if kept not in _loaded:
                _loaded[kept] = self._load(seed)
            _loaded.move_to_end(kept)
            while len(_loaded) > KEPT_ROWS:
                _loaded.popitem(last=False)
            return _loaded[kept]

    def _load(self, seed):
        data: Any = self.data(seed) if callable(self.data) else self.data
        _check_data(self.model, data, self.batch_size)
        parts = [_evaluated_rows(data, name, self.eval_rows) for name in SPLITS]
        return Rows(
            data.X_train.astype(self.dtype, copy=False),
            data.y_train,
            np.concatenate([X for X, _ in parts], dtype=self.dtype),
            np.concatenate([y for _, y in parts]),
            np.cumsum([0, *(len(y) for _, y in parts)]),
            data.fingerprint,
        )

    def takes(self, name, opt):
        """Return the optimizer, or refuse what is none or does not fit the model.

        name : str, of the argument; opt : anything. errors : TypeError, ValueError.
        """
        check_optimizer(name, opt)
        if self.backend == "cuda" and getattr(opt, "adapts", False):
            raise ValueError(f"{name} must have given slow steps with backend='cuda', not slow_step_size='adaptive'")
        if isinstance(self.model, Landscape) and self.model.replicas > 1 and getattr(opt, "adapts", False):
            what = "an adaptive slow_step_size would tie the replicas of a landscape together"
            raise ValueError(f"{name} must have given slow steps where replicas={self.model.replicas}: {what}")
        return opt

    @property
    def operations(self):
        """The floating-point operations of the training steps of one run."""
        return float(self._operations_of_a_step * self.steps)

    @property
    def _operations_of_a_step(self):
        # Six for each weight and row; on a landscape mostly those of a normal number, by the time it takes.
        return (100 if isinstance(self.model, Landscape) else 6 * self.batch_size) * self.model.size

    @property
    def measured(self):
        """Which of (``SPLITS``, (loss, accuracy)) there is, (3, 2) bool: all, or of a landscape the first loss."""
        first = np.arange(2 * len(SPLITS)).reshape(-1, 2) == 0
        return first if isinstance(self.model, Landscape) else np.ones_like(first)

    @property
    def stride(self):
        """How many steps one run makes between two looks at the keyboard."""
        return max(1, int(OPERATIONS_AT_ONCE / self._operations_of_a_step))

    def settings(self):
        """Return what the results depend on, but for optimizer, seed and data: a nested dict."""
        training: dict[str, object] = {"steps": self.steps, "batch_size": self.batch_size, "eval_rows": self.eval_rows}
        training |= {"dtype": str(self.dtype), "stream": STREAM_ID}
        training |= {"backend": self.backend} if self.backend != "cpu" else {}  # other bits are not ruled out there
        return {"model": self.model.settings(), "training": training}

    def run_id(self, opt, seed, rows):
        """Return the first 16 hex digits of the hash of a run's configuration.

        opt : an optimizer; seed : int; rows : Rows of that seed.
        """
        configuration = self.settings() | {"data": rows.fingerprint, "optimizer": opt.settings()}
        configuration["training"] |= {"seed": seed}
        return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]

    def advance(self, opt, seed, rows, params, state, goes_on=lambda: True, looks=(), look=None):
        """Train one run from these weights, in place, and return (results, diverged_at, steps taken).

        The slow steps of its syncs are added to those of the state. ``results`` is (m, 2, 3, 2) float64, by evaluated
        step, ``KINDS``, ``SPLITS``, (loss, accuracy), NaN where there is none; ``diverged_at`` the step, or -1.

        opt : an optimizer; seed : int; rows : Rows of that seed; params : (size,) array; state : from ``opt.init``.
        goes_on : asked every ``stride`` steps; where it says no, the run ends. looks : steps after which look() is
        called, with params and state as a run that ends there leaves them; of a network only. look : function without
        arguments.
        """
        if self.backend == "cuda":
            results, diverged_at, taken = on_device.advance(self, opt, seed, rows, params, state, goes_on)
            _remember(state, np.array(getattr(opt, "shares", ((0.0, 1.0),))), taken)
            return results, diverged_at, taken
        if isinstance(self.model, Landscape):
            results, diverged_at, taken = _train_on_landscape(self, [opt], seed, [params], [state], goes_on)
            return results[0], int(diverged_at[0]), int(taken[0])
        width: Any = self.dtype.type
        results = np.full((len(self.eval_steps), len(KINDS), len(SPLITS), 2), np.nan)
        sizes, code, l2 = self.model.sizes, self.model.activation_code, width(self.model.l2)
        work = np.empty(network.work_size(sizes, max(self.batch_size, network.ROWS_AT_ONCE)), self.dtype)
        diverged_at, taken = -1, 0
        moving, slow_steps = _moving(self, opt, params, state)
        advance: Any = partial(runs.advance, *moving)
        for first, last in pairwise(sorted({0, *range(0, self.steps, self.stride), *looks, self.steps})):
            if diverged_at >= 0 or not goes_on():
                break
            diverged_at, taken = advance(
                rows.X, rows.y, self.batch_size, np.uint64(seed), sizes, code, l2,
                rows.eval_X, rows.eval_y, rows.bounds, self.eval_steps, results, work, first, last,
            )  # fmt: skip
            if last in looks:
                look()
        _remember(state, slow_steps, taken)
        return results, diverged_at, taken


def _remember(state, slow_steps, taken):
    """Give the state of a run, so many steps long, the slow steps of its syncs."""
    if isinstance(state, LookaheadState):
        state.slow_steps += np.resize(slow_steps[:, 0], taken // state._optimizer.sync_period).tolist()


def _moving(task, opt, params, state):
    """Return what moves in a run and how, as the kernels of whole runs take it first, and its slow steps among it."""
    width: Any = task.dtype.type
    table, _ = step_table(opt, task.steps, width)
    limits = np.array([gradient_limit(opt, task.dtype), np.finfo(task.dtype).max], task.dtype)
    if isinstance(opt, Lookahead):
        rule, slow, period = opt.inner.rule, (state._slow, state._a1, state._a2), opt.sync_period
        pulls, mode, shares = opt.pull_back, INNER_STATES[opt.inner_state], opt.shares
    else:
        averaged = np.empty_like(params) if isinstance(opt, WithSlowWeights) else params[:0]
        rule, slow, period = opt.rule, (averaged, params[:0], params[:0]), 0
        pulls, mode, shares = False, KEEP, ((0.0, 1.0),)
    rates, lowest, before = np.empty(0), 1.0, params[:0]
    if not shares:  # it adapts
        rates, lowest = opt.inner.schedule.rates(task.steps)[period - 1 :: period].copy(), opt.slow_step_size.lowest
        shares, before = np.full((max(len(rates), 1), 2), np.nan), np.empty_like(params)
    slow_steps = np.array(shares)
    syncs = period, slow_steps, rates, lowest, before, pulls, mode
    outward = width(opt.outward if isinstance(opt, ScheduleFreeAdamW) else 0)
    moving = rule, params, np.empty_like(params), state._s1, state._s2, *slow, table, limits, *syncs, outward
    return moving, slow_steps


def weights_at(landscape, opts, at, *, seed=0, dtype="float32"):
    """Train optimizers on a landscape and return the weights that each of them has after chosen steps.

    All of them meet the same starting points and noise. The weights are those of ``train`` for so many steps, bit for
    bit: as they stand after the sync, where a step has one.

    landscape : a landscape. opts : list of inner rules and Lookaheads. at : list of steps, each at least 1, rising.
    seed, dtype : as in :func:`train`. returns : (len(opts), len(at), 2, size) array, fast and slow weights; slow is NaN
    for a plain optimizer, and all is NaN from the step where a run diverged. errors : TypeError, ValueError.
    """
    if not isinstance(landscape, Landscape):
        raise TypeError(f"landscape must be a landscape, not {landscape!r}")
    if isinstance(opts, Optimizer) or not np.iterable(opts):
        raise TypeError(f"opts must be a list of optimizers, not {opts!r}")
    opts = [check_optimizer(f"opts[{i}]", opt) for i, opt in enumerate(opts)]
    at, seed = rising_steps("at", at), whole_number("seed", seed, 0, HIGHEST_SEED)
    task = Task.checked(landscape, None, at[-1], 1, at[-1], None, 1, dtype, "cpu")
    params = [landscape.init(seed, task.dtype) for _ in opts]
    states = [opt.init(p) for opt, p in zip(opts, params, strict=True)]
    found = np.full((len(opts), len(at), len(KINDS), landscape.size), np.nan, task.dtype)

    def keep(step, diverged_at):
        for i in np.flatnonzero(diverged_at < 0):
            found[i, at.index(step), 0] = params[i]
            if isinstance(opts[i], WithSlowWeights):
                found[i, at.index(step), 1] = opts[i]._slow(params[i], states[i])

    _train_on_landscape(task, opts, seed, params, states, halts=at, at_halt=keep)
    return found


def _train_on_landscape(task, opts, seed, params, states, goes_on=lambda: True, halts=(), at_halt=None):
    """Train runs of one seed, which all meet the same noise; return (results, diverged_at, steps taken) of each.

    halts : steps after which ``at_halt(step, diverged_at)`` is called, while the weights are those after that step.
    """
    model, seed = task.model, np.uint64(seed)
    moving = [_moving(task, *run) for run in zip(opts, params, states, strict=True)]
    advance: Any = [partial(surfaces.advance, *each) for each, _ in moving]
    results = np.full((len(opts), len(task.eval_steps), len(KINDS), len(SPLITS), 2), np.nan)
    diverged_at, taken = np.full(len(opts), -1), np.zeros(len(opts), np.int64)
    stride = min(task.steps, max(1, NUMBERS_AT_ONCE // model.size))
    normals = np.empty((stride, model.size if model.noise.any() else 0))
    for first, last in pairwise(sorted({*range(0, task.steps, stride), *halts, task.steps})):
        if not goes_on():
            break
        surfaces.draw(seed, first, normals[: last - first])
        for i in np.flatnonzero(diverged_at < 0):
            with np.errstate(over="ignore", invalid="ignore"):  # plain Python warns of what is far out
                diverged_at[i], taken[i] = advance[i](
                    model.surface,
                    model.coefficients,
                    model.drift,
                    model.noise,
                    normals,
                    task.eval_steps,
                    results[i],
                    first,
                    last,
                )
        if last in halts:
            at_halt(last, diverged_at)
    for state, (_, slow_steps), steps in zip(states, moving, taken, strict=True):
        _remember(state, slow_steps, steps)
    return results, diverged_at, taken


def train_group(task, opts, seed, rows, goes_on=lambda: True):
    """Train runs of one seed side by side and return (results, diverged_at), each with a first axis of runs.

    The bits are those of ``Task.advance``.

    task : Task. opts : at most ``lanes_of(dtype)`` optimizers of one inner rule and one inner state; only on a
    landscape may they adapt their slow step. seed : int; rows : Rows of that seed; goes_on : as in ``Task.advance``.
    """
    if isinstance(task.model, Landscape):
        params = [task.model.init(seed, task.dtype) for _ in opts]
        states = [opt.init(p) for opt, p in zip(opts, params, strict=True)]
        return _train_on_landscape(task, opts, seed, params, states, goes_on)[:2]
    width: Any = task.dtype.type
    lanes, count = lanes_of(width), len(opts)
    everyone = [*opts, *[opts[-1]] * (lanes - count)]
    lookaheads = [opt if isinstance(opt, Lookahead) else None for opt in everyone]
    leader = next(filter(None, lookaheads), None)
    inner = opts[0].inner if isinstance(opts[0], Lookahead) else opts[0]
    slots = RULES[inner.rule][1]
    used = len(slots)
    mode = INNER_STATES[leader.inner_state] if leader else KEEP
    n, kept, slowed = task.model.size, mode == INTERPOLATE, any(isinstance(opt, WithSlowWeights) for opt in opts)
    lines = [n, n, n * (used > 0), n * (used > 1), n * slowed, n * kept * (used > 0), n * kept * (used > 1)]
    p, g, s1, s2, slow, a1, a2 = (lined_up((size,), width) for size in lines)
    p[:] = task.model.init(seed, task.dtype)[:, None]
    slow[:] = p[: len(slow)]
    for slot, name in zip((s1, s2), slots, strict=False):
        slot[:] = p if name in STARTS_AT_WEIGHTS else 0
    shares = [opt.shares if opt else ((0.0, 1.0),) for opt in lookaheads]
    turns = np.array([len(each) for each in shares], np.int64)
    slow_steps = np.zeros((turns.max(), 2, lanes), width)
    for lane, each in enumerate(shares):
        slow_steps[: len(each), :, lane] = each
    pulls = np.array([opt.pull_back if opt else False for opt in lookaheads])
    periods = np.array([opt.sync_period if opt else 0 for opt in lookaheads], np.int64)
    outward = lined_up((1,), width)
    outward[:] = [opt.outward if isinstance(opt, ScheduleFreeAdamW) else 0 for opt in everyone]
    tables = [step_table(opt, task.steps, width)[0] for opt in opts]
    tables += tables[-1:] * (lanes - count)
    limits = np.array([gradient_limit(opts[0], task.dtype), np.finfo(task.dtype).max], task.dtype)
    results = np.full((lanes, len(task.eval_steps), len(KINDS), len(SPLITS), 2), np.nan)
    diverged_at = np.full(lanes, -1, np.int64)
    sizes, code = task.model.sizes, task.model.activation_code
    work = lined_up((groups.work_lines(sizes, max(task.batch_size, groups.ROWS_AT_ONCE)),), width)
    for first in range(0, task.steps, task.stride):
        if not goes_on():
            break
        last = min(first + task.stride, task.steps)
        table = lined_up((last - first, 8), width)
        for lane, each in enumerate(tables):
            table[:, :, lane] = each[first:last]
        groups.advance(
            inner.rule, p, g, s1, s2, slow, a1, a2, table, limits, periods, slow_steps, turns, pulls, mode, outward,
            rows.X, rows.y, task.batch_size, np.uint64(seed), sizes, code, width(task.model.l2),
            rows.eval_X, rows.eval_y, rows.bounds, task.eval_steps, results, diverged_at, work, first, last,
        )  # fmt: skip
    return results[:count], diverged_at[:count]


KEPT_ROWS = 4  # seeds or data sets whose rows are kept: more than threads that train at once
_loaded: OrderedDict[tuple, Rows] = OrderedDict()
_loading = Lock()


def check_optimizer(name, opt):
    """Return the optimizer, or refuse what is none.

    name : str, of the argument; opt : anything. errors : TypeError.
    """
    if not isinstance(opt, Optimizer):
        raise TypeError(f"{name} must be an inner rule or Lookahead, not {opt!r}")
    return opt


def rising_steps(name, steps):
    """Return the steps as a list of int, or refuse what is not a list of rising numbers from 1 on.

    name : str, of the argument; steps : anything. errors : TypeError, ValueError.
    """
    if not np.iterable(steps):
        raise TypeError(f"{name} must be a list of steps, not {steps!r}")
    checked = [whole_number(f"{name}[{i}]", t, 1) for i, t in enumerate(steps)]
    if not checked or sorted({*checked}) != checked:
        raise ValueError(f"{name} must hold at least one step, each above the one before, not {checked}")
    return checked


def _eval_steps(steps, eval_every, eval_at):
    if eval_at is None:
        chosen = [*range(0, steps, whole_number("eval_every", eval_every, 1))]
    else:
        try:
            chosen = [whole_number(f"eval_at[{i}]", t, 0, steps) for i, t in enumerate(eval_at)]
        except TypeError as error:
            if "iterable" not in str(error):
                raise
            raise TypeError(f"eval_at must be a list of steps, not {eval_at!r}") from None
    return np.array(sorted({0, steps, *chosen}), np.int64)


def _check_data(model, data, batch_size):
    if not isinstance(data, Dataset):
        raise TypeError(
            f"data must be a Dataset, or a function of the seed that returns one, not {type(data).__name__}"
        )
    if (data.n_features, data.n_classes) != (model.n_features, model.n_classes):
        has = f"{data.n_features} features and {data.n_classes} classes"
        raise ValueError(f"data must have the features and classes of {model!r}, not {has}")
    if batch_size > len(data.X_train):
        raise ValueError(
            f"batch_size must be at most the {len(data.X_train)} rows of the training part, not {batch_size}"
        )


def _evaluated_rows(data, name, eval_rows):
    X, y = getattr(data, f"X_{name}"), getattr(data, f"y_{name}")
    if len(y) > eval_rows:
        rows = stratified_rows(y, eval_rows, 0)  # the same rows for every run, whatever its seed
        X, y = X[rows], y[rows]
    return X, y


# ---------------------------------------------------------------------------------------------------------- histories

_OF_LOOKAHEAD = ("sync_period", "slow_step_size", "retention", "inner_state", "pull_back")


def settings_frame(opts):
    """Return the settings of optimizers, one row each, NaN where one does not apply, and which have slow weights.

    opts : list of optimizers. returns : frame, (opts,) bool.
    """
    import pandas as pd

    settings = [opt.settings() for opt in opts]
    names = dict.fromkeys((*_OF_LOOKAHEAD, *(name for each in settings for name in each)))
    absent = float("nan")
    frame = pd.DataFrame(
        {name: [absent if each.get(name) is None else each[name] for each in settings] for name in names}
    )
    return frame, np.array([isinstance(opt, WithSlowWeights) for opt in opts])


def histories(task, settings, slowed, which, run_ids, seeds, results, diverged_at):
    """Return the tidy frame of several runs, one row per run, evaluated step and kind of weights (see :func:`train`).

    task : Task. settings, slowed : of :func:`settings_frame`; which : (runs,) int, the row of settings of each run.
    run_ids, seeds : lists, one item for each run. results : (runs, m, 2, 3, 2) float64; diverged_at : (runs,) int64, as
    from ``Task.advance``.
    """
    import pandas as pd

    periods = settings["sync_period"].to_numpy()[which]
    there = np.ones((len(which), len(task.eval_steps), len(KINDS)), bool)
    there[:, :, 1] = slowed[which][:, None]
    run, at, kind = np.nonzero(there)
    step = task.eval_steps[at]
    values = results[run, at, kind]
    late = ~np.isfinite(values)[:, task.measured].all(axis=1)  # an evaluated loss may overflow where no weight does
    late |= (diverged_at[run] >= 0) & (step >= diverged_at[run])
    values[late] = np.nan
    frame = pd.DataFrame({"run": run_ids, "seed": seeds}).take(run).reset_index(drop=True)
    frame = pd.concat([frame, settings.take(which[run]).reset_index(drop=True)], axis=1)
    columns = {"step": step, "phase": step % periods[run], "weights": pd.Series(KINDS).take(kind).array}
    for measure, name in enumerate(("loss", "accuracy")):
        columns |= {f"{split}_{name}": values[:, i, measure] for i, split in enumerate(SPLITS)}
    columns["status"] = pd.Series(("ok", "diverged")).take(late.astype(int)).array
    columns["diverged_at"] = np.where(diverged_at[run] < 0, np.nan, diverged_at[run])
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)
