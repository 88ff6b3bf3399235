"""A range test: one short run with a rising learning rate, which shows where the loss falls and where it explodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import float_dtype, named_arguments, real_number, shown, whole_number
from lookahead_nb.optimizers import Optimizer, schedules
from lookahead_nb.training.grid import grid
from lookahead_nb.training.plots import plot_range_test
from lookahead_nb.training.run import train
from lookahead_nb.training.setup import Data, check_optimizer

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FORGETS = 0.9  # the smoothed loss is an average over about 1/(1 - 0.9) steps
FEWEST = 20  # steps: fewer would leave less than two of these averages


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """What :func:`lookahead_nb.find_lr` has found.

    Attributes
    ----------
    rows : frame
        A row for each step up to where the run diverged: ``step``, ``lr``, ``train_loss`` after the step, and
        ``smoothed``.
    lr : float or None
        The suggestion: the rate at which the smoothed loss falls fastest ahead of its minimum. None if it never falls.
    """

    rows: pd.DataFrame
    lr: float | None

    def __repr__(self) -> str:
        low, high = self.rows["lr"].iloc[0], self.rows["lr"].iloc[-1]
        found = "the loss never falls" if self.lr is None else f"lr={self.lr:.3g}"
        return f"RangeTest({found}, {len(self.rows)} rates from {low:.3g} to {high:.3g})"

    def plot(self, *, ax: Any = None) -> Axes:
        """Draw the loss and the smoothed loss over the learning rate, with a line at the suggestion.

        Parameters
        ----------
        ax : Axes, optional
            Default: a new figure of matplotlib.pyplot.

        Returns
        -------
        Axes

        Raises
        ------
        TypeError, ValueError
            If ax is no panel.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> found = lnb.find_lr(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(), low=1e-3, high=10)
        >>> found.plot().get_xlabel()
        'lr'
        """
        return plot_range_test(self, ax)


@named_arguments
def find_lr(
    model: Any,
    data: Data,
    opt: Optimizer,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 200,
    *,
    batch_size: int = 64,
    seed: int = 0,
    eval_rows: int = 1000,
    dtype: Any = "float32",
) -> RangeTest:
    """Train once with a learning rate that rises from step to step, and suggest a rate.

    Parameters
    ----------
    model, data, batch_size, seed, dtype
        As in :func:`lookahead_nb.train`.
    opt : Optimizer
        With any learning rate, which is replaced; not ScheduleFreeAdamW, whose rate must not rise. The fast weights are
        judged.
    low, high : float
        The rates of the first and of the last step, above 0; high is above low.
    steps : int
        At least 20. The rates have equal ratios.
    eval_rows : int
        The loss after each step is that of up to so many fixed rows of the training part.

    Returns
    -------
    RangeTest

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or the run diverges in the first steps.

    Notes
    -----
    The smoothed loss is an average with weights 0.9**i over the step i steps ago, divided by their sum. The suggestion
    is a start, not an optimum: it depends on low, high and steps, as the rates before it have trained the weights. To
    compare optimizers, tune each with :func:`lookahead_nb.sweep`.
    Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, for the range test. The
    rule of the steepest fall is a common one, without a paper.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.find_lr(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(), low=1e-3, high=10)
    RangeTest(lr=0.0307, 200 rates from 0.001 to 10)
    """
    low, high = (real_number(name, rate, 0, open_low=True) for name, rate in (("low", low), ("high", high)))
    if low >= high:
        raise ValueError(f"low must be below high, got low={low!r} and high={high!r}")
    steps = whole_number("steps", steps, FEWEST)
    inner = check_optimizer("opt", opt).inner
    if inner.outward:
        raise ValueError(f"opt must accept a learning rate that rises, got {shown(opt)}")
    rising = schedules.from_function(lambda t: _rate(low, high, steps, t), steps)
    (rated,) = grid(opt, lr=[rising])
    try:
        rated.inner.check_width(float_dtype("dtype", dtype))
    except ValueError as error:
        raise ValueError(f"high must be a learning rate that the weights can hold, but {error}") from error
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "eval_rows": eval_rows, "dtype": dtype}
    history = train(model, data, rated, steps=steps, eval_every=1, **how).history
    rows = history.query("weights == 'fast' and status == 'ok' and step > 0")[["step", "train_loss"]]
    if len(rows) < 2:
        raise ValueError(f"low must be a rate at which the run does not diverge at once, got {low}: pass a lower one")
    rows = rows.reset_index(drop=True)
    rows.insert(1, "lr", rising.rates(steps)[: len(rows)])
    rows["smoothed"] = _smoothed(rows["train_loss"].to_numpy())
    return RangeTest(rows, _steepest(rows["lr"].to_numpy(), rows["smoothed"].to_numpy()))


def _rate(low: float, high: float, steps: int, t: int) -> float:
    """Return the rate of a step; the first and the last one are low and high themselves."""
    done = (t - 1) / (steps - 1)
    rate = math.exp((1 - done) * math.log(low) + done * math.log(high))
    return {1: low, steps: high}.get(t, rate)


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Return the averages of all losses so far, with weights ``FORGETS**i`` for the one i steps ago."""
    mean, weight, smoothed = 0.0, 0.0, np.empty(len(losses))
    for i, loss in enumerate(losses):
        weight = FORGETS * weight + 1
        smoothed[i] = mean = mean + (loss - mean) / weight  # of equal losses exactly that loss: rounding is no fall
    return smoothed


def _steepest(rates: np.ndarray, smoothed: np.ndarray) -> float | None:
    """Return the rate of the steepest fall ahead of the minimum, per ratio of rates; None if there is no fall."""
    end = int(smoothed.argmin()) + 1
    if end < 2:
        return None
    return float(rates[np.gradient(smoothed[:end]).argmin()])
