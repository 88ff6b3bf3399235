"""What happens at the evaluated steps of a run: metrics of users, other learning rates, early stopping."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from lookahead_nb.checks import named_arguments, one_of, real_number, shown, whole, whole_number
from lookahead_nb.kernels.bundles import readonly
from lookahead_nb.optimizers import Grouped, Optimizer, State, schedules
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.training.grid import grid
from lookahead_nb.training.setup import EVAL_EVERY, KINDS, SPLITS, Outcome, Setup

if TYPE_CHECKING:
    import pandas as pd

MEASURES = tuple(f"{split}_{what}" for split in SPLITS for what in ("loss", "accuracy"))  # as results hold them
_TO_JUDGE = tuple(name for name in MEASURES if not name.startswith("test"))  # the test part chooses no weights
RATE = "rate"  # the column of the history with the learning rates of a run whose rate changes
Weights = tuple[np.ndarray, State]  # fast weights, and the state of the optimizer with the slow ones


@dataclass(frozen=True, eq=False, repr=False)
class Snapshot:
    """What a callback of :func:`lookahead_nb.train` gets at an evaluated step.

    Attributes
    ----------
    step : int
        Steps taken, 0 at the first evaluation.
    measures : dict of str to dict of str to float
        The evaluation by kind of weights and measure, as ``measures["slow"]["validation_loss"]``. Without slow weights
        there is only "fast"; on a landscape only "train_loss".
    fast : (n,) array
        The fast weights after the step, and after its sync if it has one; a read-only copy.
    slow : (n,) array or None
        The slow weights, for EMA and Schedule-Free the average; a read-only copy. None where there are none.
    lr : float or Schedule
        The learning rate of the following steps; :meth:`set_lr` changes it.
    """

    step: int
    measures: dict[str, dict[str, float]]
    fast: np.ndarray
    slow: np.ndarray | None
    lr: float | Schedule

    def set_lr(self, lr: float | Schedule) -> None:
        """Set the learning rate of the steps after this one, until it is set again.

        Parameters
        ----------
        lr : float at least 0, or a schedule
            As in the optimizer; a schedule counts all steps of the run.

        Raises
        ------
        TypeError, ValueError
            If lr is no such rate.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> bowl, halve = lnb.landscapes.Quadratic([1.0]), lambda snapshot: snapshot.set_lr(snapshot.lr / 2)
        >>> run = lnb.train(bowl, None, lnb.SGD(0.5), steps=3, eval_every=1, callback=halve)
        >>> run.history["rate"].tolist()
        [nan, 0.25, 0.125, 0.0625]
        """
        checked = lr if isinstance(lr, Schedule) else real_number("lr", lr, 0)
        object.__setattr__(self, "lr", checked)

    def __repr__(self) -> str:
        losses = ", ".join(f"{kind} train_loss={of['train_loss']:.4g}" for kind, of in self.measures.items())
        return f"Snapshot(step={self.step}, {len(self.fast)} weights, {losses})"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The base of rules that wait for a measure to improve.

    Parameters
    ----------
    measure, patience, min_delta, weights
        As in :class:`EarlyStopping`.
    """

    measure: str = "validation_loss"
    patience: int = 5
    min_delta: float = 0.0
    weights: str | None = None

    argument: ClassVar[str]  # of train

    def __post_init__(self) -> None:
        one_of("measure", self.measure, _TO_JUDGE)
        object.__setattr__(self, "patience", whole_number("patience", self.patience, 1))
        object.__setattr__(self, "min_delta", real_number("min_delta", self.min_delta, 0))
        one_of("weights", self.weights, (None, *KINDS))

    def kind_of(self, opt: Optimizer) -> str:
        """Return the kind of weights to judge.

        Parameters
        ----------
        opt : Optimizer

        Returns
        -------
        str
            "fast" or "slow".

        Raises
        ------
        ValueError
            If it is slow, and opt has no slow weights.
        """
        if self.weights == "slow" and not opt.has_slow_weights:
            raise ValueError(
                f"{self.argument} must have weights='fast' for {type(opt).__name__}, which has no slow weights, "
                f"got {self!r}"
            )
        return self.weights or KINDS[opt.has_slow_weights]

    def score(self, opt: Optimizer, results: np.ndarray) -> float:
        """Return the measure, as a number that is higher where it is better.

        Parameters
        ----------
        opt : Optimizer
        results : (2, 3, 2) array
            Of an evaluated step, as in ``setup.Outcome``.

        Returns
        -------
        float
        """
        return self._score(float(results[KINDS.index(self.kind_of(opt))].flat[MEASURES.index(self.measure)]))

    def _score(self, value: float) -> float:
        return -value if self.measure.endswith("loss") else value


@named_arguments
@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Rule):
    """Stop a run that no longer improves, and return its best evaluated weights.

    The evaluation at step 0 counts. Of several equally good evaluations, the first is the best one. A run that diverges
    returns its best weights too.

    Parameters
    ----------
    measure : str
        "validation_loss", "validation_accuracy", "train_loss" or "train_accuracy". A landscape has "train_loss" only.
    patience : int
        At least 1: the run stops after this many evaluations in a row without an improvement.
    min_delta : float
        At least 0: an improvement has to be larger than this to count for the patience. The best evaluation is the best
        one whatever min_delta is.
    weights : str, optional
        "fast" or "slow", the weights to judge. Default: slow, and fast for an optimizer without slow weights.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 8, 2))
    >>> stop = lnb.EarlyStopping(patience=2)
    >>> run = lnb.train(model, data, lnb.AdamW(1.0), steps=1000, eval_every=10, early_stopping=stop)
    >>> run.state.t == run.best_step, run.setup.steps < 1000
    (True, True)
    """

    argument = "early_stopping"

    def best_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the best step of each run of a sweep, as if each had been stopped early.

        Parameters
        ----------
        rows : frame
            Of :func:`lookahead_nb.sweep`, or the history of a run.

        Returns
        -------
        frame
            With the columns of rows, and ``stopped_at``: the step at which the run would have ended. A run without any
            finite evaluation has no row.

        Raises
        ------
        TypeError, ValueError
            If rows is no such frame, or a run has no such weights or measure.

        Notes
        -----
        A sweep trains its runs to the end. The rows are bit-for-bit those of the best step of
        ``lookahead_nb.train(..., early_stopping=self)``, except for the id of the run, which is that of all steps.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> data, model, configs = lnb.datasets.load("checkerboard"), lnb.MLP((2, 8, 2)), [lnb.AdamW(1.0), lnb.AdamW()]
        >>> rows = lnb.sweep(model, data, configs, seeds=3, steps=100, eval_every=10)
        >>> lnb.EarlyStopping(patience=2).best_rows(rows).shape[0]
        6
        """
        pd = whole("pandas")
        needed = {"run", "step", "weights", "diverged_at", self.measure}
        if not isinstance(rows, pd.DataFrame) or not needed <= {*rows}:
            raise TypeError(f"rows must be a frame of lookahead_nb.sweep, got {shown(rows)}")
        keys = [name for name in ("task", "run") if name in rows]
        of_run = rows.groupby(keys, sort=False).ngroup().to_numpy()
        step, kind = rows["step"].to_numpy(), (rows["weights"] == KINDS[1]).to_numpy()
        values, ends = rows[self.measure].to_numpy(), rows["diverged_at"].fillna(math.inf).to_numpy()
        chosen, stopped_at = list[np.ndarray](), list[np.ndarray]()
        if np.isnan(values).all():
            raise ValueError(f"rows must have a finite {self.measure} for {self!r}, got NaN only")
        order = np.argsort(of_run, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(of_run[order])) + 1):
            has_slow = bool(kind[own].any())
            if self.weights == KINDS[1] and not has_slow:
                raise ValueError(
                    f"rows must have slow weights for {self!r}, got a run without: {rows['run'].iloc[own[0]]}"
                )
            judged = own[kind[own] == (has_slow and self.weights != KINDS[0])]
            patience, best, last = Patience(self.patience, self.min_delta), -1, -1
            for i in judged[np.argsort(step[judged], kind="stable")]:
                if step[i] >= ends[i]:
                    break
                last = step[i]
                if patience.improved(self._score(values[i])):
                    best = last
                if patience.is_over and last > 0:
                    break
            at_best = own[step[own] == best]
            chosen.append(at_best)
            stopped_at.append(np.full(len(at_best), last))
        return rows.iloc[np.concatenate(chosen)].assign(stopped_at=np.concatenate(stopped_at)).reset_index(drop=True)


@named_arguments
@dataclass(frozen=True, kw_only=True)
class ReduceOnPlateau(Rule):
    """Lower the learning rate of a run that no longer improves.

    Parameters
    ----------
    factor : float
        In (0, 1): the learning rate, of a schedule the peak, is multiplied by it.
    min_lr : float
        At least 0: the rate, or the peak, is not lowered below it.
    measure, min_delta, weights
        As in :class:`EarlyStopping`.
    patience : int
        At least 1: the rate is lowered after this many evaluations in a row without an improvement. Then they are
        counted from 0 again.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Follows ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with ``threshold_mode="abs"`` and ``threshold=min_delta``,
    with two differences. PyTorch's patience is one less: it lowers the rate after patience + 1 evaluations. And every
    improvement raises the bar here, however small.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 8, 2))
    >>> rule = lnb.ReduceOnPlateau(factor=0.5, patience=2)
    >>> run = lnb.train(model, data, lnb.AdamW(1.0), steps=1000, eval_every=10, reduce_on_plateau=rule)
    >>> run.history["rate"].iloc[-1] < 1.0
    np.True_
    """

    factor: float = 0.1
    min_lr: float = 0.0

    argument = "reduce_on_plateau"

    def __post_init__(self) -> None:
        super().__post_init__()
        factor = real_number("factor", self.factor, 0, 1, open_low=True, open_high=True)
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "min_lr", real_number("min_lr", self.min_lr, 0))

    def lowered(self, lr: float | Schedule) -> float | Schedule:
        """Return a lower learning rate.

        Parameters
        ----------
        lr : float or Schedule

        Returns
        -------
        float or Schedule
            The same one where it is not above min_lr.
        """
        peak = lr.peak if isinstance(lr, Schedule) else lr
        lower = min(peak, max(peak * self.factor, self.min_lr))
        return replace(lr, peak=lower) if isinstance(lr, Schedule) else lower


class Patience:
    """Counts scores in a row without an improvement.

    Parameters
    ----------
    number : int
        Patience is over after this many.
    min_delta : float
        What an improvement has to exceed.

    Attributes
    ----------
    best : float
        The highest score so far, -inf ahead of the first one.

    Examples
    --------
    >>> from lookahead_nb.training.callbacks import Patience
    >>> patience = Patience(2, min_delta=0.1)
    >>> [(patience.improved(score), patience.is_over) for score in (0.5, 0.55, 0.4)]
    [(True, False), (True, False), (False, True)]
    """

    def __init__(self, number: int, min_delta: float) -> None:
        self.number, self.min_delta = number, min_delta
        self.best, self.without = -math.inf, 0

    def improved(self, score: float) -> bool:
        """Count a score, and return whether it is the best so far.

        Parameters
        ----------
        score : float
            Higher is better; NaN is no improvement.

        Returns
        -------
        bool
        """
        self.without = 0 if score > self.best + self.min_delta else self.without + 1
        if score > self.best:
            self.best = score
            return True
        return False

    def restart(self) -> None:
        """Count from 0 again; the best score stays."""
        self.without = 0

    @property
    def is_over(self) -> bool:
        """Whether there were too many without an improvement."""
        return self.without >= self.number


def check_callback(callback: Any) -> None:
    """Refuse what is no callback.

    Parameters
    ----------
    callback : function or None

    Raises
    ------
    TypeError
        If it cannot be called.
    """
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of a snapshot, got {shown(callback)}")


def check_rule(name: str, kind: type[Rule], rule: Any, setup: Setup, opt: Optimizer) -> None:
    """Refuse a rule that does not fit the run.

    Parameters
    ----------
    name : str
        Of the argument.
    kind : type
        EarlyStopping or ReduceOnPlateau.
    rule : kind or None
    setup : Setup
    opt : Optimizer

    Raises
    ------
    TypeError, ValueError
        If it is of another type, judges what the run does not have, or lowers a rate that must stay.
    """
    if rule is None:
        return
    if not isinstance(rule, kind):
        example = f"lookahead_nb.{kind.__name__}(patience=5)"
        raise TypeError(f"{name} must be None or as in {example}, got {shown(rule)}")
    rule.kind_of(opt)
    measured = [name for name, exists in zip(MEASURES, setup.measured.ravel(), strict=True) if exists]
    if rule.measure not in measured:
        allowed = " or ".join(repr(name) for name in measured if name in _TO_JUDGE)
        raise ValueError(f"{name} must have measure={allowed} for {setup.model!r}, got {rule!r}")
    if kind is ReduceOnPlateau:
        _check_one_rate(name, opt, rule)
    if kind is ReduceOnPlateau and opt.outward:
        raise ValueError(f"{name} must be None for ScheduleFreeAdamW, whose learning rate must stay, got {rule!r}")


def follow_lr(setup: Setup, state: State, lr: float | Schedule, name: str = "lr") -> None:
    """Give a state another learning rate from its next step on; its optimizer then has a piecewise schedule.

    Parameters
    ----------
    setup : Setup
        Of the run.
    state : State
        Changed in place.
    lr : float or Schedule
        Of all following steps.
    name : str
        Of the rate, for messages.

    Raises
    ------
    TypeError, ValueError
        If lr is no rate for this optimizer. The state is unchanged.
    """
    opt = state.optimizer
    _check_one_rate(name, opt, lr)
    if opt.outward:
        raise ValueError(f"{name} must stay {opt.inner.lr!r} for ScheduleFreeAdamW, got {shown(lr)}")
    lr = lr if isinstance(lr, Schedule) else real_number(name, lr, 0)
    parts = {start: part for start, part in opt.inner.schedule.parts or ((0, opt.inner.schedule),) if start < state.t}
    (changed,) = grid(opt.base if isinstance(opt, Grouped) else opt, lr=[schedules.piecewise(parts | {state.t: lr})])
    state.follow(setup.accepted(name, changed))


def _check_one_rate(name: str, opt: Optimizer, given: Any) -> None:
    """Refuse to change the learning rate where a group of weights has its own."""
    if isinstance(opt, Grouped) and any("lr" in dict(group.numbers) for group in opt.groups):
        raise ValueError(f"{name} must be None where a group has its own lr, got {shown(given)} for {opt!r}")


class Observed(NamedTuple):
    """What is left of a run with a callback or early stopping.

    Attributes
    ----------
    setup : Setup
        With the steps up to where the run was stopped.
    outcome : Outcome
    metrics : dict of str to (m,) float64 array
        Those of the callback, by evaluated step; NaN where it gave none.
    params, state
        The best weights with early stopping, else those at the end.
    best_step : int or None
        The step of the best weights, with early stopping.
    """

    setup: Setup
    outcome: Outcome
    metrics: dict[str, np.ndarray]
    params: np.ndarray
    state: State
    best_step: int | None


class Watch(NamedTuple):
    """What a user has asked for at the evaluated steps of a run.

    Attributes
    ----------
    callback : function or None
    early_stopping : EarlyStopping or None
    reduce_on_plateau : ReduceOnPlateau or None
        As in :func:`lookahead_nb.train`.
    """

    callback: Callable[[Snapshot], Any] | None = None
    early_stopping: EarlyStopping | None = None
    reduce_on_plateau: ReduceOnPlateau | None = None


class _Counts:
    """What the rules of a run count from one evaluation to the next."""

    def __init__(self, watch: Watch) -> None:
        self.stopping, self.plateau = watch.early_stopping, watch.reduce_on_plateau
        self.to_stop, self.to_lower = (rule and Patience(rule.patience, rule.min_delta) for rule in watch[1:])

    def judge(self, opt: Optimizer, results: np.ndarray) -> tuple[bool, bool, bool]:
        """Return whether an evaluation is the best one, whether the run stops there, and whether its rate falls."""
        is_best, stops, falls = False, False, False
        if self.stopping and self.to_stop:
            is_best = self.to_stop.improved(self.stopping.score(opt, results))
            stops = self.to_stop.is_over
        if self.plateau and self.to_lower:
            self.to_lower.improved(self.plateau.score(opt, results))
            falls = self.to_lower.is_over
            if falls:
                self.to_lower.restart()
        return is_best, stops, falls


def train_observed(
    setup: Setup,
    params: np.ndarray,
    state: State,
    train: Callable[[Setup, np.ndarray, State], Outcome],
    watch: Watch,
    columns: Collection[str],
    save_at: Collection[int] = (),
    save: Callable[[Observed, Weights], None] | None = None,
    so_far: Observed | None = None,
) -> Observed:
    """Train from one evaluated step to the next, with a callback and rules after each, and with checkpoints.

    Parameters
    ----------
    setup : Setup
    params, state
        Those of the run, fresh or where it continues; changed in place.
    train : function
        Trains weights in place to the end of a shorter setup, with the bits of a whole run.
    watch : Watch
    columns : collection of str
        Those of the history, which no metric may have as its name.
    save_at : steps
        At each of them ``save`` is called, unless the run ends there.
    save : function, optional
        Called with the run so far, and with the weights with which it continues.
    so_far : Observed, optional
        What ``save`` was called with, for a run that continues from there.

    Returns
    -------
    Observed
    """
    evaluated, begun = setup.eval_steps, state.t
    results, taken, diverged_at, counts = setup.blank_results(1), begun, -1, _Counts(watch)
    metrics: dict[str, np.ndarray] = {}
    best: tuple[int, Weights] | None = None
    if so_far is not None:
        setup.take_over(results, so_far.setup, so_far.outcome.results)
        metrics = metrics_of(setup, so_far.setup, so_far.metrics)
        best = None if so_far.best_step is None else (so_far.best_step, (so_far.params, so_far.state))
        for i in range(int(np.searchsorted(evaluated, begun, "right"))):
            counts.judge(state.optimizer, results[0, i])

    def observed(until: Setup, last: np.ndarray | None = None) -> Observed:
        """Return the run up to the end of a setup; last : the results there, which the whole run may not evaluate."""
        own, at = until.blank_results(1), np.searchsorted(evaluated, until.eval_steps)
        common = evaluated[at] == until.eval_steps
        own[:, common] = results[:, at[common]]
        if last is not None:
            own[:, -1] = last
        given = {name: np.where(common, values[at], np.nan) for name, values in metrics.items()}
        weights, step = ((params, state), None) if best is None else (best[1], best[0])
        if weights[1].optimizer is not state.optimizer:  # the rates of the steps after the best one are part of the run
            weights[1].follow(state.optimizer)
        outcome = Outcome(own, np.array([diverged_at]), np.array([taken if step is None else step]))
        return Observed(until, outcome, given, *weights, step)

    watched = {*evaluated.tolist()} if watch != Watch() else set[int]()
    before = begun
    for step in sorted({*watched, *save_at, setup.steps}):
        if begun and step <= begun:
            continue
        end = int(np.searchsorted(evaluated, step, "right"))
        if step == 0:  # evaluated at the start of a step, which copies take
            results[:, 0] = train(setup.of_steps(1), *_copied(params, state)).results[:, 0]
            last = results[:, 0]
        else:
            due = evaluated[np.searchsorted(evaluated, before, "right") if before else 0 : end]
            stretch = setup.of_steps(step, due.tolist())
            outcome = train(stretch, params, state)
            results[:, np.searchsorted(evaluated, due)] = outcome.results[:, np.isin(stretch.eval_steps, due)]
            last, taken, diverged_at, before = outcome.results[:, -1], state.t, int(outcome.diverged_at[0]), step
            if diverged_at >= 0:
                break
        if step in watched:
            i = end - 1
            is_best, stops, falls = counts.judge(state.optimizer, results[0, i])
            best = (step, _copied(params, state)) if is_best else best
            snapshot = _snapshot(setup, step, params, state, results[0, i])
            lr = snapshot.lr
            stopped, given = (False, {}) if watch.callback is None else _called(watch.callback, snapshot, columns)
            for name, value in given.items():
                metrics.setdefault(name, np.full(len(evaluated), np.nan))[i] = value
            after = watch.reduce_on_plateau.lowered(snapshot.lr) if watch.reduce_on_plateau and falls else snapshot.lr
            if after != lr:
                follow_lr(setup, state, after, "snapshot.lr")
            if stopped or (stops and step > 0):
                return observed(_stopped_at(setup, step))
        if save and step in save_at:
            save(observed(_stopped_at(setup, step), last), (params, state))
    return observed(setup)


def metrics_of(setup: Setup, shorter: Setup, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the metrics of a shorter run by the evaluated steps of a longer one, NaN where it has none.

    Parameters
    ----------
    setup, shorter : Setup
    metrics : dict of str to (m,) float64 array
        Those of the shorter run.

    Returns
    -------
    dict of str to (m,) float64 array
    """
    _, here, there = np.intersect1d(setup.eval_steps, shorter.eval_steps, return_indices=True)
    longer = {name: np.full(len(setup.eval_steps), np.nan) for name in metrics}
    for name, values in metrics.items():
        longer[name][here] = values[there]
    return longer


def _copied(params: np.ndarray, state: State) -> Weights:
    opt = state.optimizer
    return params.copy(), copy.deepcopy(state, {id(opt): opt})


def _stopped_at(setup: Setup, step: int) -> Setup:
    """Return the setup of a run of so many steps, which is evaluated at the same ones."""
    run = setup.training
    if run.eval_at is None and run.eval_every <= max(step, EVAL_EVERY):
        return replace(setup, training=replace(run, steps=step))
    return setup.of_steps(step, [t for t in (run.eval_at or setup.eval_steps.tolist()) if t <= step])


def _snapshot(setup: Setup, step: int, params: np.ndarray, state: State, results: np.ndarray) -> Snapshot:
    fast, slow = params.copy(), state.optimizer.slow_from(params, state)
    slow = None if slow is None else slow.copy()
    measured, kinds = setup.measured.ravel(), KINDS if slow is not None else KINDS[:1]
    measures = {
        kind: {name: float(values[i]) for i, name in enumerate(MEASURES) if measured[i]}
        for kind, values in zip(kinds, results.reshape(len(KINDS), -1), strict=False)
    }
    schedule = state.optimizer.inner.schedule.after(step)
    lr = schedule.peak if schedule == schedules.constant(schedule.peak) else schedule
    return Snapshot(step, measures, readonly(fast), None if slow is None else readonly(slow), lr)


def _called(
    callback: Callable[[Snapshot], Any], snapshot: Snapshot, columns: Collection[str]
) -> tuple[bool, dict[str, float]]:
    """Call back, and return whether to stop and the metrics, checked."""
    try:
        stops, given = False, callback(snapshot)
    except StopIteration as stop:
        stops, given = True, stop.value
    if stops and snapshot.step == 0:
        raise ValueError("callback must let the run take a step, got StopIteration at step 0: stop at a later step")
    if given is None:
        return stops, {}
    if not isinstance(given, dict):
        raise TypeError(f"callback must return None or a dict of numbers, got {shown(given)} at step {snapshot.step}")
    metrics = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name or name in columns:
            allowed = "names that are no columns of the history"
            raise ValueError(f"callback must give its metrics {allowed}, got {shown(name)} at step {snapshot.step}")
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            at = f"got {shown(value)} for {name} at step {snapshot.step}"
            raise TypeError(f"callback must return numbers as metrics, {at}")
        try:
            metrics[name] = float(value)
        except OverflowError:
            at = f"for {name} at step {snapshot.step}"
            raise ValueError(f"callback must return metrics that fit into a float64, got a larger one {at}") from None
    return stops, metrics
