"""Metrics: one number for each training run, named by the claims.

A metric maps training curves to one number per seed. Some need no curves: they map an optimizer, or its crossings
between two basins, and a problem. The first paragraph of a metric's docstring is its display name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from lookahead_nb.checks import default_errors
from lookahead_nb.claims.curves import first_below, log_losses, noise_floor
from lookahead_nb.settings_file import choice
from lookahead_nb.theory import FAST, SLOW, Cycle, expected_loss

if TYPE_CHECKING:
    from lookahead_nb.claims.tasks import Problem
    from lookahead_nb.optimizers import Lookahead
    from lookahead_nb.optimizers.base import Optimizer

NEEDS = {  # what a problem must have for a metric to be measured on it
    "data": lambda problem: not problem.on_landscape,
    "a threshold": lambda problem: "threshold" in problem.fields,
    "a lowest loss": lambda problem: not (problem.fields.get("hidden") or problem.fields.get("l2")),
    "a landscape": lambda problem: problem.on_landscape,
    "a quadratic": lambda problem: problem.fields.get("landscape") == "Quadratic",
    "a deeper basin of two": lambda problem: problem.on_landscape and bool(getattr(problem.model, "tilt", 0)),
}


@dataclass(frozen=True, eq=False)
class Curves:
    """The histories of the runs of one arm: a frame for each column, one row per evaluated step, one column per seed.

    A loss is at most the chance-level loss, which is also the loss of a diverged run.

    Parameters
    ----------
    rows : DataFrame
        As ``sweep`` returns it.
    problem : Problem
        The problem that the runs were trained on.
    weights : {"slow", "fast"}
        The weights of each run that are judged: "slow" (if there are any) or "fast". Default: "slow".
    by : {"seed", "run"}
        With "run" the columns are run ids, of any number of optimizers. Default: "seed".
    """

    rows: pd.DataFrame
    problem: Problem
    weights: str = "slow"
    by: str = "seed"

    def __getitem__(self, column: str) -> pd.DataFrame:
        values = self._judged(column)
        return values.fillna(np.inf).clip(upper=self.problem.chance) if column.endswith("loss") else values

    def _judged(self, column: str) -> pd.DataFrame:
        rows = self.rows[self.rows["weights"] == "fast"] if self.weights == "fast" else self.rows
        judged = rows.drop_duplicates([self.by, "step"], keep="last")
        return judged.pivot(index="step", columns=self.by, values=column)

    @property
    def seeds(self) -> pd.Series:
        """The seed of each column, a series."""
        return self.rows.groupby(self.by)["seed"].first()

    @property
    def diverged(self) -> pd.Series:
        """Whether each run lacks a training loss at its last step, a series of bool by seed."""
        return self._judged("train_loss").iloc[-1].isna()

    def of(self, weights: str) -> Curves:
        """Return the curves of the fast or the slow weights of the same runs.

        Parameters
        ----------
        weights : {"slow", "fast"}
            The weights to judge.

        Returns
        -------
        Curves
            A changed copy.
        """
        return replace(self, weights=weights)


@dataclass(frozen=True)
class Metric:
    """A way to turn runs into numbers; made by :func:`metric`, :func:`exact_metric` and :func:`crossing_metric`.

    Attributes
    ----------
    measure : function
        Maps the :class:`Curves` of an arm to a series by seed, unless ``exact`` or ``crosses``.
    meaning : str
        What the metric measures; its display name.
    needs : str
        A key of ``NEEDS``, or "".
    exact : bool
        Whether ``measure`` maps an optimizer and a problem to one number that needs no run.
    crosses : bool
        Whether ``measure`` maps the rows of an optimizer in ``escapes.crossings``, by seed, and a problem to a series
        by seed.
    """

    measure: Callable
    meaning: str
    needs: str = ""
    exact: bool = False
    crosses: bool = False

    @property
    def of_curves(self) -> bool:
        """Whether the metric is measured on training curves."""
        return not (self.exact or self.crosses)

    def fits(self, problem: Problem) -> bool:
        """Return whether the metric can be measured on a problem.

        Parameters
        ----------
        problem : Problem
            The problem.

        Returns
        -------
        bool
            Whether the problem has what the metric needs.
        """
        return not self.needs or NEEDS[self.needs](problem)


METRICS: dict[str, Metric] = {}


def metric(function: Callable | None = None, *, needs: str = "") -> Callable:
    """Register a function of the curves of an arm in ``METRICS``, under its name; a decorator.

    Parameters
    ----------
    function : function
        Maps :class:`Curves` to a series by seed. The first paragraph of its docstring is its display name.
    needs : str
        What a problem must have, a key of ``NEEDS``. Default: nothing.

    Returns
    -------
    function
        The function, with the default error state of NumPy.

    Raises
    ------
    ValueError
        If needs is no key of ``NEEDS``.
    """
    if function is None:
        return lambda function: metric(function, needs=needs)
    function = default_errors(function)
    METRICS[function.__name__] = Metric(function, _display_name(function), needs and choice("needs", needs, NEEDS))
    return function


def _display_name(function: Callable) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def exact_metric(function: Callable) -> Callable:
    """Register a function of an optimizer and a quadratic problem in ``METRICS``, solved by ``theory``.

    Parameters
    ----------
    function : function
        Maps an optimizer and a problem to a float.

    Returns
    -------
    function
        The function, with the default error state of NumPy.
    """
    function = default_errors(function)
    METRICS[function.__name__] = Metric(function, _display_name(function), "a quadratic", exact=True)
    return function


def crossing_metric(function: Callable) -> Callable:
    """Register a function of the crossings of an optimizer and of their problem in ``METRICS``.

    Crossings are those of the slow weights (if there are any), whichever weights an arm is judged on.

    Parameters
    ----------
    function : function
        Maps crossings and a problem to a series by seed.

    Returns
    -------
    function
        The function, with the default error state of NumPy.
    """
    function = default_errors(function)
    METRICS[function.__name__] = Metric(function, _display_name(function), "a deeper basin of two", crosses=True)
    return function


@metric
def train_loss(curves: Curves) -> pd.Series:
    """Training loss at the last step.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return curves["train_loss"].iloc[-1]


@metric(needs="data")
def validation_loss(curves: Curves) -> pd.Series:
    """Validation loss at the last step.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return curves["validation_loss"].iloc[-1]


@metric(needs="data")
def test_loss(curves: Curves) -> pd.Series:
    """Test loss at the last step.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return curves["test_loss"].iloc[-1]


@metric(needs="data")
def test_error(curves: Curves) -> pd.Series:
    """Share of test rows that are classified wrongly at the last step; 1 for a diverged run.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return 1 - curves["test_accuracy"].iloc[-1].fillna(0)


@metric(needs="a threshold")
def steps_to_threshold(curves: Curves) -> pd.Series:
    """First step at which the training loss is below the threshold of the problem, from 1 to the horizon (censored).

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    first = first_below(curves["train_loss"], curves.problem.fields["threshold"])
    return first.fillna(curves.problem.steps).clip(lower=1)  # a ratio needs a positive number


@metric(needs="a threshold")
def reached(curves: Curves) -> pd.Series:
    """Whether the training loss was ever below the threshold of the problem: 1, or 0 where the run is censored.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return first_below(curves["train_loss"], curves.problem.fields["threshold"]).notna().astype(float)


@metric(needs="a threshold")
def test_at_train(curves: Curves) -> pd.Series:
    """Test loss where the training loss is first below the threshold.

    Between two evaluations the logarithm of the loss is interpolated linearly. A run that never gets below the
    threshold has the chance-level loss.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    steps = first_below(curves["train_loss"], curves.problem.fields["threshold"])
    log_test_losses = log_losses(curves["test_loss"])
    losses_at = {seed: np.interp(step, log_test_losses.index, log_test_losses[seed]) for seed, step in steps.items()}
    return np.exp(pd.Series(losses_at)).fillna(curves.problem.chance)


@metric(needs="data")
def test_at_best_validation(curves: Curves) -> pd.Series:
    """Test loss at the evaluated step whose validation loss is the lowest, the first of them.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    best = curves["validation_loss"].idxmin()
    return pd.Series({seed: curves["test_loss"].loc[step, seed] for seed, step in best.items()})


@metric(needs="data")
def overfitting(curves: Curves) -> pd.Series:
    """Rise of the test loss from the evaluated step of the lowest validation loss to the last one.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return test_loss(curves) - test_at_best_validation(curves)


@metric(needs="data")
def test_loss_at_syncs(curves: Curves) -> pd.Series:
    """Mean test loss over the evaluations of the second half that fall on a sync: fast before it, slow after it.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return _late_at(curves, "test_loss", curves["phase"] == 0)


@metric(needs="data")
def test_loss_between_syncs(curves: Curves) -> pd.Series:
    """Mean test loss over the evaluations of the second half that fall between two syncs.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return _late_at(curves, "test_loss", curves["phase"] > 0)


def _late_at(curves: Curves, column: str, chosen: pd.DataFrame) -> pd.Series:
    losses = curves[column]
    return losses.where(chosen).loc[losses.index[-1] / 2 :].mean()


@metric(needs="a lowest loss")
def floor(curves: Curves) -> pd.Series:
    """Mean excess of the training loss over the lowest possible one in the second half of the steps.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return _late(curves)["height"].fillna(curves.problem.chance) - curves.seeds.map(curves.problem.lowest)


@metric(needs="a landscape")
def tracking_error(curves: Curves) -> pd.Series:
    """Mean expected loss in the second half of the steps, on a landscape whose minimum may move.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return _late(curves)["height"].fillna(curves.problem.chance)


@metric
def drift(curves: Curves) -> pd.Series:
    """Rise of the training loss within the second half of the steps, in units of its fluctuation there.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return _late(curves)["drift"]


@metric
def fluctuation(curves: Curves) -> pd.Series:
    """Standard deviation of the training loss over the second half of the steps; for a diverged run that of chance.

    Parameters
    ----------
    curves : Curves
        Histories of the runs of an arm.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return _late(curves)["fluctuation"].fillna(curves.problem.chance)


def _late(curves: Curves) -> pd.DataFrame:
    return noise_floor(curves["train_loss"] + np.where(curves.diverged, np.nan, 0))


# ---------------------------------------------------------------------------------------------------------- crossings


@crossing_metric
def rate_out_of_deeper(crossed: pd.DataFrame, problem: Problem) -> pd.Series:
    """Rate per step at which replicas started in the deeper minimum leave its basin.

    Parameters
    ----------
    crossed : DataFrame
        The rows of an optimizer in ``escapes.crossings``, indexed by seed.
    problem : Problem
        Its landscape has a deeper basin of two.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return crossed["rate_left" if problem.model.tilt > 0 else "rate_right"]


@crossing_metric
def rate_out_of_shallower(crossed: pd.DataFrame, problem: Problem) -> pd.Series:
    """Rate per step at which replicas started in the shallower minimum leave its basin.

    Parameters
    ----------
    crossed : DataFrame
        The rows of an optimizer in ``escapes.crossings``, indexed by seed.
    problem : Problem
        Its landscape has a deeper basin of two.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return crossed["rate_right" if problem.model.tilt > 0 else "rate_left"]


@crossing_metric
def long_run_shallower(crossed: pd.DataFrame, problem: Problem) -> pd.Series:
    """Share of the time that goes to the shallower basin in the long run, by both rates; NaN where both are zero.

    Parameters
    ----------
    crossed : DataFrame
        The rows of an optimizer in ``escapes.crossings``, indexed by seed.
    problem : Problem
        Its landscape has a deeper basin of two.

    Returns
    -------
    Series of float
        One value per seed.
    """
    into, out = rate_out_of_deeper(crossed, problem), rate_out_of_shallower(crossed, problem)
    return into / (into + out)


@crossing_metric
def ends_deeper(crossed: pd.DataFrame, problem: Problem) -> pd.Series:  # noqa: ARG001 (as the others)
    """Share of the replicas started on the ridge that is in the deeper basin after the last step.

    Parameters
    ----------
    crossed : DataFrame
        The rows of an optimizer in ``escapes.crossings``, indexed by seed.
    problem : Problem
        Its landscape has a deeper basin of two.

    Returns
    -------
    Series of float
        One value per seed.
    """
    return crossed["deeper"]


# -------------------------------------------------------------------------------------------------------------- exact


def _cycle(optimizer: Optimizer, problem: Problem) -> Cycle:
    model = problem.model
    return Cycle.of(optimizer, curvature=model.curvatures, noise=model.noise)


@exact_metric
def steps_to_shrink(optimizer: Optimizer, problem: Problem) -> float:
    """Steps in which the mean of the slowest mode shrinks by the factor e, in the long run; inf where it grows.

    Parameters
    ----------
    optimizer : Optimizer
        An inner optimizer or a Lookahead.
    problem : Problem
        On the landscape Quadratic.

    Returns
    -------
    float
        One value, which needs no run.
    """
    rate = _cycle(optimizer, problem).rate.max()
    if rate == 0:
        return 0.0
    return -1 / np.log(rate) if rate < 1 else np.inf


@exact_metric
def slow_risk(optimizer: Optimizer, problem: Problem) -> float:
    """Expected loss of the slow weights in the steady state, right after a sync.

    Parameters
    ----------
    optimizer : Optimizer
        An inner optimizer or a Lookahead.
    problem : Problem
        On the landscape Quadratic.

    Returns
    -------
    float
        One value, which needs no run.
    """
    cycle = _cycle(optimizer, problem)
    return float(expected_loss(problem.model.curvatures, 0, cycle.covariance()[..., SLOW, SLOW]))


@exact_metric
def fast_risk(optimizer: Optimizer, problem: Problem) -> float:
    """Expected loss of the fast weights in the steady state, the mean over a cycle, each before its sync.

    Parameters
    ----------
    optimizer : Optimizer
        An inner optimizer or a Lookahead.
    problem : Problem
        On the landscape Quadratic.

    Returns
    -------
    float
        One value, which needs no run.
    """
    cycle = _cycle(optimizer, problem)
    risks = [
        expected_loss(problem.model.curvatures, 0, cycle.covariance(phase)[..., FAST, FAST])
        for phase in range(cycle.sync_period)
    ]
    return np.mean(risks)


@exact_metric
def steps_to_shrink_at_equal_risk(optimizer: Optimizer, problem: Problem) -> float:
    """Steps as in steps_to_shrink, at the lowest learning rate at which slow_risk is that of the inner optimizer alone.

    Parameters
    ----------
    optimizer : Optimizer
        An inner optimizer or a Lookahead.
    problem : Problem
        On the landscape Quadratic.

    Returns
    -------
    float
        One value, which needs no run.
    """
    inner: Any = getattr(optimizer, "inner", optimizer)
    if optimizer is inner:
        return steps_to_shrink(inner, problem)
    risk = slow_risk(inner, problem)

    def at(times: float) -> Optimizer:
        return replace(cast("Lookahead", optimizer), inner=replace(inner, lr=inner.lr * times))

    def below(times: float) -> bool:
        return slow_risk(at(times), problem) <= risk  # False if unstable, as the risk is NaN

    low = 1.0
    while below(high := 1.1 * low):
        low = high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if below(middle) else (low, middle)
    return steps_to_shrink(at(low), problem)
