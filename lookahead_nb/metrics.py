"""Metrics: one number for each training run, from its history, as the claims name them.

A metric is a function of curves, or of an optimizer or its crossings and of a problem; its docstring is a noun, which
tells what it measures wherever that is shown.

curves : :class:`Curves` of an arm; optimizer : an inner rule or Lookahead; crossed : the rows of an optimizer in
``escapes.crossings``, by seed; problem : ``problems.Problem``. returns : series of float by seed, of an optimizer
itself a float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lookahead_nb.checks import choice
from lookahead_nb.comparisons import first_below, log_losses, noise_floor
from lookahead_nb.theory import FAST, SLOW, Cycle, expected_loss

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

    A loss is at most that of chance, which is also that of a diverged run. rows : frame of ``sweep``; problem : the
    ``problems.Problem``; weights : those of each run that are judged, "slow" where there are any, or "fast"; by :
    "seed", or "run", and the columns are run ids, of any number of optimizers.
    """

    rows: pd.DataFrame
    problem: Any
    weights: str = "slow"
    by: str = "seed"

    def __getitem__(self, column):
        values = self._judged(column)
        return values.fillna(np.inf).clip(upper=self.problem.chance) if column.endswith("loss") else values

    def _judged(self, column):
        rows = self.rows[self.rows["weights"] == "fast"] if self.weights == "fast" else self.rows
        judged = rows.drop_duplicates([self.by, "step"], keep="last")
        return judged.pivot(index="step", columns=self.by, values=column)

    @property
    def seeds(self):
        """The seeds of the columns, a series."""
        return self.rows.groupby(self.by)["seed"].first()

    @property
    def diverged(self):
        """Which runs have no training loss at their last step, a series by seed."""
        return self._judged("train_loss").iloc[-1].isna()

    def of(self, weights):
        """Return the curves of the "fast" or the "slow" weights of the same runs. weights : "fast" or "slow"."""
        return replace(self, weights=weights)


@dataclass(frozen=True)
class Metric:
    """How runs become numbers.

    measure : function of the :class:`Curves` of an arm to a series by seed. exact : bool; the function is one of an
    optimizer and the problem, to one number that needs no run. crosses : bool; it is one of the rows of an optimizer in
    ``escapes.crossings``, by seed, and the problem, to a series by seed. meaning : str, one sentence. needs : str, a
    key of ``NEEDS``, or "".
    """

    measure: Callable
    meaning: str
    needs: str = ""
    exact: bool = False
    crosses: bool = False

    @property
    def of_curves(self):
        """Whether it is measured of histories."""
        return not (self.exact or self.crosses)

    def fits(self, problem):
        """Return whether it can be measured on a problem."""
        return not self.needs or NEEDS[self.needs](problem)


METRICS: dict[str, Metric] = {}


def metric(function=None, *, needs=""):
    """Enter a function of the curves of an arm in ``METRICS``, by its name; its docstring says what it measures.

    function : of :class:`Curves` to a series by seed. needs : what a problem must have, a key of ``NEEDS``; nothing by
    default. returns : the function. errors : ValueError.
    """
    if function is None:
        return lambda function: metric(function, needs=needs)
    METRICS[function.__name__] = Metric(function, function.__doc__, needs and choice("needs", needs, NEEDS))
    return function


def exact_metric(function):
    """Enter a function of an optimizer and a quadratic problem in ``METRICS``, solved by ``theory``.

    function : of an optimizer and a problem to a float. returns : the function.
    """
    METRICS[function.__name__] = Metric(function, function.__doc__, "a quadratic", exact=True)
    return function


def crossing_metric(function):
    """Enter a function of the crossings of an optimizer and of their problem in ``METRICS``.

    Crossings are those of the slow weights, where there are any, whatever the weights that an arm is judged on.
    function : of crossings and a problem to a series by seed. returns : the function.
    """
    METRICS[function.__name__] = Metric(function, function.__doc__, "a deeper basin of two", crosses=True)
    return function


@metric
def train_loss(curves):
    """Training loss at the last step."""
    return curves["train_loss"].iloc[-1]


@metric(needs="data")
def validation_loss(curves):
    """Validation loss at the last step."""
    return curves["validation_loss"].iloc[-1]


@metric(needs="data")
def test_loss(curves):
    """Test loss at the last step."""
    return curves["test_loss"].iloc[-1]


@metric(needs="data")
def test_error(curves):
    """Share of test rows that are classified wrongly at the last step; 1 for a diverged run."""
    return 1 - curves["test_accuracy"].iloc[-1].fillna(0)


@metric(needs="a threshold")
def steps_to_threshold(curves):
    """First step at which the training loss is below the threshold of the problem, from 1 to the horizon (censored)."""
    first = first_below(curves["train_loss"], curves.problem.fields["threshold"])
    return first.fillna(curves.problem.steps).clip(lower=1)  # of 0 there would be no ratio


@metric(needs="a threshold")
def reached(curves):
    """Whether the training loss was ever below the threshold of the problem: 1, or 0 where the run is censored."""
    return first_below(curves["train_loss"], curves.problem.fields["threshold"]).notna().astype(float)


@metric(needs="a threshold")
def test_at_train(curves):
    """Test loss where the training loss is first below the threshold, on straight lines of logarithms between two
    evaluations; that of chance for a run that never gets there.
    """
    at = first_below(curves["train_loss"], curves.problem.fields["threshold"])
    losses = log_losses(curves["test_loss"])
    there = {seed: np.interp(step, losses.index, losses[seed]) for seed, step in at.items()}
    return np.exp(pd.Series(there)).fillna(curves.problem.chance)


@metric(needs="data")
def test_at_best_validation(curves):
    """Test loss at the evaluated step whose validation loss is the lowest, the first of them."""
    best = curves["validation_loss"].idxmin()
    return pd.Series({seed: curves["test_loss"].loc[step, seed] for seed, step in best.items()})


@metric(needs="data")
def overfitting(curves):
    """Rise of the test loss from the evaluated step of the lowest validation loss to the last one."""
    return test_loss(curves) - test_at_best_validation(curves)


@metric(needs="data")
def test_loss_at_syncs(curves):
    """Mean test loss over the evaluations of the second half that fall on a sync: fast before it, slow after it."""
    return _late_at(curves, "test_loss", curves["phase"] == 0)


@metric(needs="data")
def test_loss_between_syncs(curves):
    """Mean test loss over the evaluations of the second half that fall between two syncs."""
    return _late_at(curves, "test_loss", curves["phase"] > 0)


def _late_at(curves, column, here):
    losses = curves[column]
    return losses.where(here).loc[losses.index[-1] / 2 :].mean()


@metric(needs="a lowest loss")
def floor(curves):
    """Mean excess of the training loss over the lowest possible one in the second half of the steps."""
    return _late(curves)["height"].fillna(curves.problem.chance) - curves.seeds.map(curves.problem.lowest)


@metric(needs="a landscape")
def tracking_error(curves):
    """Mean expected loss in the second half of the steps, on a landscape whose minimum may move."""
    return _late(curves)["height"].fillna(curves.problem.chance)


@metric
def drift(curves):
    """Rise of the training loss within the second half of the steps, in units of its fluctuation there."""
    return _late(curves)["drift"]


@metric
def fluctuation(curves):
    """Standard deviation of the training loss over the second half of the steps; for a diverged run that of chance."""
    return _late(curves)["fluctuation"].fillna(curves.problem.chance)


def _late(curves):
    return noise_floor(curves["train_loss"] + np.where(curves.diverged, np.nan, 0))


# ---------------------------------------------------------------------------------------------------------- crossings


@crossing_metric
def rate_out_of_deeper(crossed, problem):
    """Rate per step at which replicas started in the deeper minimum leave its basin."""
    return crossed["rate_left" if problem.model.tilt > 0 else "rate_right"]


@crossing_metric
def rate_out_of_shallower(crossed, problem):
    """Rate per step at which replicas started in the shallower minimum leave its basin."""
    return crossed["rate_right" if problem.model.tilt > 0 else "rate_left"]


@crossing_metric
def long_run_shallower(crossed, problem):
    """Share of the time that goes to the shallower basin in the long run, by both rates; NaN where both are zero."""
    into, out = rate_out_of_deeper(crossed, problem), rate_out_of_shallower(crossed, problem)
    return into / (into + out)


@crossing_metric
def ends_deeper(crossed, problem):  # noqa: ARG001 (as the others)
    """Share of the replicas started on the ridge that is in the deeper basin after the last step."""
    return crossed["deeper"]


# -------------------------------------------------------------------------------------------------------------- exact


def _cycle(optimizer, problem):
    model = problem.model
    return Cycle.of(optimizer, curvature=model.curvatures, noise=model.noise)


@exact_metric
def steps_to_shrink(optimizer, problem):
    """Steps in which the mean of the slowest mode shrinks by the factor e, in the long run; inf where it grows."""
    rate = _cycle(optimizer, problem).rate.max()
    if rate == 0:
        return 0.0
    return -1 / np.log(rate) if rate < 1 else np.inf


@exact_metric
def slow_risk(optimizer, problem):
    """Expected loss of the slow weights in the steady state, right after a sync."""
    cycle = _cycle(optimizer, problem)
    return expected_loss(problem.model.curvatures, 0, cycle.covariance()[..., SLOW, SLOW])


@exact_metric
def fast_risk(optimizer, problem):
    """Expected loss of the fast weights in the steady state, the mean over a cycle, each before its sync."""
    cycle = _cycle(optimizer, problem)
    risks = [
        expected_loss(problem.model.curvatures, 0, cycle.covariance(phase)[..., FAST, FAST])
        for phase in range(cycle.sync_period)
    ]
    return np.mean(risks)


@exact_metric
def steps_to_shrink_at_equal_risk(optimizer, problem):
    """Steps as in steps_to_shrink, at the lowest learning rate at which slow_risk is that of the inner rule alone."""
    inner = getattr(optimizer, "inner", optimizer)
    if optimizer is inner:
        return steps_to_shrink(inner, problem)
    risk = slow_risk(inner, problem)

    def at(times):
        return replace(optimizer, inner=replace(inner, lr=inner.lr * times))

    def below(times):
        return slow_risk(at(times), problem) <= risk  # not where it is unstable, its risk NaN

    low = 1.0
    while below(high := 1.1 * low):
        low = high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if below(middle) else (low, middle)
    return steps_to_shrink(at(low), problem)
