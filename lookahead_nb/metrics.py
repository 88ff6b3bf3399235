"""Metrics: one number for each training run, from its history, as the claims name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lookahead_nb.comparisons import first_below, lowest_loss, noise_floor
from lookahead_nb.theory import FAST, SLOW, Cycle, expected_loss

LATE = 0.5  # the share of the steps before those at which a run is taken to be at its noise floor


@dataclass(frozen=True, eq=False)
class Curves:
    """The histories of the runs of one arm: a frame for each column, one row per evaluated step, one column per seed.

    A loss is at most that of chance, which is also that of a diverged run. Of each run the judged weights are taken,
    ``weights``: "slow" where there are any, or "fast". rows : frame of ``sweep``; problem : the ``problems.Problem``.
    """

    rows: pd.DataFrame
    problem: object
    weights: str = "slow"

    def __getitem__(self, column):
        rows = self.rows[self.rows["weights"] == "fast"] if self.weights == "fast" else self.rows
        values = rows.drop_duplicates(["seed", "step"], keep="last").pivot(index="step", columns="seed", values=column)
        return values.fillna(np.inf).clip(upper=self.problem.chance) if column.endswith("loss") else values

    def of(self, weights):
        """Return the curves of the "fast" or the "slow" weights of the same runs."""
        return Curves(self.rows, self.problem, weights)


@dataclass(frozen=True)
class Metric:
    """How runs become numbers.

    measure : function of the :class:`Curves` of an arm to a series by seed; where ``exact``, of its optimizer and the
    problem to one number that needs no run. meaning : str, one sentence.
    """

    measure: Callable
    meaning: str
    exact: bool = False


METRICS: dict[str, Metric] = {}


def metric(function):
    """Enter a function of the curves of an arm in ``METRICS``, by its name; its docstring says what it measures."""
    METRICS[function.__name__] = Metric(function, function.__doc__)
    return function


def exact_metric(function):
    """Enter a function of an optimizer and a quadratic problem in ``METRICS``, solved by ``theory``."""
    METRICS[function.__name__] = Metric(function, function.__doc__, exact=True)
    return function


@metric
def train_loss(curves):
    """Training loss at the last step."""
    return curves["train_loss"].iloc[-1]


@metric
def validation_loss(curves):
    """Validation loss at the last step."""
    return curves["validation_loss"].iloc[-1]


@metric
def test_loss(curves):
    """Test loss at the last step."""
    return curves["test_loss"].iloc[-1]


@metric
def test_error(curves):
    """Share of test rows that are classified wrongly at the last step; 1 for a diverged run."""
    return 1 - curves["test_accuracy"].iloc[-1].fillna(0)


@metric
def steps_to_threshold(curves):
    """First step at which the training loss is below the threshold of the problem, at most the horizon (censored)."""
    return first_below(curves["train_loss"], curves.problem.fields["threshold"]).fillna(curves.problem.steps)


@metric
def reached(curves):
    """Whether the training loss was ever below the threshold of the problem: 1, or 0 where the run is censored."""
    return first_below(curves["train_loss"], curves.problem.fields["threshold"]).notna().astype(float)


@metric
def floor(curves):
    """Mean excess of the training loss over the lowest possible one in the second half of the steps."""
    losses, problem = curves["train_loss"], curves.problem
    lowest = 0.0
    if not problem.on_landscape:
        lowest = pd.Series({seed: lowest_loss(problem.model, problem.dataset(seed)) for seed in losses.columns})
    return noise_floor(losses)["height"] - lowest


@metric
def drift(curves):
    """Fall of the training loss over the second half of the steps, in units of its fluctuation there."""
    return noise_floor(curves["train_loss"])["drift"]


@metric
def fluctuation(curves):
    """Standard deviation of the training loss over the second half of the steps."""
    return noise_floor(curves["train_loss"])["fluctuation"]


# -------------------------------------------------------------------------------------------------------------- exact


def _cycle(optimizer, problem):
    model = problem.model
    return Cycle.of(optimizer, curvature=model.curvatures, noise=model.noise)


@exact_metric
def steps_to_shrink(optimizer, problem):
    """Steps in which the mean of the slowest mode shrinks by the factor e, in the long run; inf where it grows."""
    rate = _cycle(optimizer, problem).rate.max()
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
