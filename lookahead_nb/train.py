"""One training run: model, data, optimizer and seed in; a tidy history and the trained weights out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from lookahead_nb.checks import float_dtype, one_of, whole_number
from lookahead_nb.cpu import network, runs
from lookahead_nb.datasets import Dataset, stratified_rows
from lookahead_nb.mlp import DenseNetwork
from lookahead_nb.optimizers import (
    Lookahead,
    LookaheadState,
    Optimizer,
    State,
    gradient_limit,
    step_table,
    sync_arguments,
)
from lookahead_nb.philox import STREAM_ID

SPLITS = ("train", "validation", "test")
OPERATIONS_AT_ONCE = 2e9  # floating-point work between two looks at the keyboard: Ctrl-C answers within a second or so


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training run.

    history : pandas frame, one row per evaluated step and kind of weights (see :func:`train`).
    params : (n,) array, the fast weights at the end. slow : (n,) array, the slow ones, None for a plain optimizer.
    state : the optimizer's state, ready for further steps by hand. diverged_at : the step, or None.
    """

    history: object
    params: np.ndarray
    state: State
    diverged_at: int | None

    @property
    def slow(self):
        """The slow weights at the end, None for a plain optimizer."""
        return self.state.slow if isinstance(self.state, LookaheadState) else None


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
    from ``model.init(seed, dtype)``, bit for bit.

    model : LogisticRegression or MLP. data : Dataset, or a function of the seed that returns one. opt : an inner rule
    or Lookahead. steps, batch_size, eval_every, eval_rows : int, at least 1. seed : int in [0, 2**63), of weights and
    minibatches. eval_at : steps to evaluate in place of every eval_every-th; 0 and the last are always in. eval_rows :
    a larger split is evaluated on this many fixed stratified rows. dtype : "float32" or "float64".

    history : ``run`` (first 16 hex digits of the hash of the configuration), ``seed``, the settings of opt, ``step``,
    ``phase`` (step mod sync_period), ``weights`` ("fast" or "slow"), ``train_loss``, ``validation_loss``, ``test_loss``
    (mean cross-entropy without L2), the same three accuracies, ``status`` ("ok" or "diverged"), ``diverged_at``. At a
    step with a sync, fast is evaluated before the pull and slow after it. From the step where the minibatch loss, the
    gradient (as ``step`` checks it) or a weight stops being finite the run is frozen, and rows hold NaN and "diverged";
    so does a row whose own loss is not finite.
    errors : TypeError, ValueError.
    """
    one_of("backend", backend, ("cpu",))
    dtype = float_dtype("dtype", dtype)
    width = dtype.type
    steps, batch_size = whole_number("steps", steps, 1), whole_number("batch_size", batch_size, 1)
    seed, eval_rows = whole_number("seed", seed, 0, 2**63 - 1), whole_number("eval_rows", eval_rows, 1)
    eval_steps = _eval_steps(steps, eval_every, eval_at)
    data = data(seed) if callable(data) else data
    _check(model, data, opt, batch_size)

    X, y = data.X_train.astype(dtype, copy=False), data.y_train
    parts = [_evaluated_rows(data, name, eval_rows) for name in SPLITS]
    eval_X, eval_y = np.concatenate([X for X, _ in parts], dtype=dtype), np.concatenate([y for _, y in parts])
    bounds = np.cumsum([0, *(len(y) for _, y in parts)])
    params = model.init(seed, dtype)
    state = opt.init(params)
    results = np.full((len(eval_steps), 2, len(SPLITS), 2), np.nan)
    table, powers = step_table(opt, steps, width)
    work = np.empty(network.work_size(model.sizes, max(batch_size, network.ROWS_AT_ONCE)), dtype)
    if isinstance(opt, Lookahead):
        rule, period, (size, rest, pulls, mode) = opt.inner.rule, opt.sync_period, sync_arguments(opt, width)
        slow, a1, a2 = state._slow, state._a1, state._a2
    else:
        rule, period, (size, rest, pulls, mode) = opt.rule, 0, (width(0), width(0), False, 0)
        slow = a1 = a2 = params[:0]
    stride = max(1, int(OPERATIONS_AT_ONCE / (6 * model.size * batch_size)))
    limits = np.array([gradient_limit(opt, dtype), np.finfo(dtype).max], dtype)
    for first in range(0, steps, stride):
        diverged_at, taken = runs.advance(
            rule, params, np.empty_like(params), state._s1, state._s2, slow, a1, a2,
            table, limits, period, size, rest, pulls, mode,
            X, y, batch_size, np.uint64(seed), model.sizes, model.activation_code, width(model.l2),
            eval_X, eval_y, bounds, eval_steps, results, work, first, min(first + stride, steps),
        )  # fmt: skip
        if diverged_at >= 0:
            break
    state._arrive(taken, powers[taken])
    configuration = _configuration(model, data, opt, steps, batch_size, seed, eval_rows, dtype)
    history = _history(configuration, opt, seed, eval_steps, results, diverged_at)
    return Run(history, params, state, None if diverged_at < 0 else diverged_at)


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


def _check(model, data, opt, batch_size):
    if not isinstance(model, DenseNetwork):
        raise TypeError(f"model must be a LogisticRegression or an MLP, not {model!r}")
    if not isinstance(data, Dataset):
        raise TypeError(
            f"data must be a Dataset, or a function of the seed that returns one, not {type(data).__name__}"
        )
    if not isinstance(opt, Optimizer):
        raise TypeError(f"opt must be an inner rule or Lookahead, not {opt!r}")
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


def _configuration(model, data, opt, steps, batch_size, seed, eval_rows, dtype):
    training = {"steps": steps, "batch_size": batch_size, "seed": seed, "eval_rows": eval_rows}
    training |= {"dtype": str(dtype), "stream": STREAM_ID}
    return {"model": model.settings(), "data": data.fingerprint, "optimizer": opt.settings(), "training": training}


def _history(configuration, opt, seed, eval_steps, results, diverged_at):
    import pandas as pd

    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()
    lookahead = isinstance(opt, Lookahead)
    kinds = ("fast", "slow") if lookahead else ("fast",)
    count = len(eval_steps)
    absent = dict.fromkeys(("sync_period", "slow_step_size", "retention", "inner_state", "pull_back"), np.nan)
    columns = {"run": digest[:16], "seed": seed, **absent, **opt.settings()}
    columns = {name: np.nan if value is None else value for name, value in columns.items()}
    columns["step"] = np.repeat(eval_steps, len(kinds))
    columns["phase"] = columns["step"] % opt.sync_period if lookahead else np.nan
    columns["weights"] = np.tile(kinds, count)
    values = results[:, : len(kinds)].reshape(count * len(kinds), len(SPLITS), 2)
    late = ~np.isfinite(values).all(axis=(1, 2))  # an evaluated loss may overflow where no weight does
    if diverged_at >= 0:
        late |= columns["step"] >= diverged_at
    values[late] = np.nan
    for measure, name in enumerate(("loss", "accuracy")):
        columns |= {f"{split}_{name}": values[:, i, measure] for i, split in enumerate(SPLITS)}
    columns["status"] = np.where(late, "diverged", "ok")
    columns["diverged_at"] = np.nan if diverged_at < 0 else diverged_at
    return pd.DataFrame(columns)
