"""Predictions of theory next to measurements of runs, as tidy frames: on a quadratic, near a minimum, on a path."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lookahead_nb.checks import default_errors, whole, whole_number
from lookahead_nb.models.landscapes import Landscape, replay, trace
from lookahead_nb.optimizers import INNER_STATES, Lookahead
from lookahead_nb.optimizers.controls import with_controls
from lookahead_nb.theory import (
    FAST,
    SLOW,
    Cycle,
    averaged,
    best_lr,
    expected_loss,
    sgd_matched_loss,
    sgd_variance,
)
from lookahead_nb.theory.near_minimum import CoupledCycle, Minimum, Weights
from lookahead_nb.training.history import settings_frame

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike
else:
    pd = whole("pandas")

# ------------------------------------------------------------------------------------------------------- one mode


@default_errors
def with_theory(opts: Sequence[Lookahead], clouds: pd.DataFrame, falls: pd.DataFrame) -> pd.DataFrame:
    """Return rate and variance of the slow weight on one mode of a quadratic, predicted and measured.

    Parameters
    ----------
    opts : list of Lookahead
        As for ``theory.Cycle.of``.
    clouds : frame
        Of ``sweep`` over opts on ``Quadratic([1.0], noise=1.0, start=0.0, replicas=...)``, from one seed. The loss is
        half the variance over the replicas.
    falls : frame
        The same on ``Quadratic([1.0])``. The loss is half the square of the weight.

    Returns
    -------
    frame
        One row per optimizer, with the columns

        - ``beta1``, ``lr`` (that of Adam with a preconditioner of 1), ``sync_period``, ``slow_step_size``,
          ``inner_state``.
        - ``predicted_variance``, ``measured_variance``, ``inner_variance`` (predicted, without Lookahead).
        - ``predicted_rate``, ``measured_rate``, ``inner_rate`` (predicted, without Lookahead).

    Raises
    ------
    TypeError, ValueError
        If the frames are not those of opts, or the cycle of an optimizer is not linear.

    Notes
    -----
    The measured variance is the mean over the second half of the steps. The measured rate is the slope of log(weight)
    over the steps with a sync, from the first quarter of the steps on.
    """
    results = []
    spreads, paths = (_slow_losses(frame, len(opts)) for frame in (clouds, falls))
    for opt, cloud, path in zip(opts, spreads, paths, strict=True):
        cycle, inner = Cycle.of(opt, noise=1.0), Cycle.of(opt.inner, noise=1.0)
        late, synced = cloud[cloud.index >= cloud.index[-1] / 2], path[path.index % opt.sync_period == 0]
        synced = synced[synced.index >= path.index[-1] / 4]
        slope = np.polyfit(synced.index, np.log(synced) / 2, 1)[0]
        results.append(
            {"beta1": float(cycle.beta1), "lr": float(cycle.lr)}
            | {name: getattr(opt, name) for name in ("sync_period", "slow_step_size", "inner_state")}
            | {"predicted_variance": cycle.covariance()[SLOW, SLOW], "measured_variance": 2 * late.mean()}
            | {"inner_variance": inner.covariance()[FAST, FAST]}
            | {"predicted_rate": float(cycle.rate), "measured_rate": np.exp(slope), "inner_rate": float(inner.rate)}
        )
    return pd.DataFrame(results)


@default_errors
def by_phase(opts: Iterable[Lookahead], clouds: pd.DataFrame) -> pd.DataFrame:
    """Return the variance of fast and slow weights by phase of the cycle, predicted and measured.

    Parameters
    ----------
    opts : list of Lookahead
        Some of the optimizers of ``clouds``.
    clouds : frame
        As for :func:`with_theory`.

    Returns
    -------
    frame
        With ``beta1``, ``weights``, ``phase``, ``predicted`` and ``measured`` (the mean over the second half of the
        steps). At phase 0, fast is read ahead of the pull and slow after it.

    Raises
    ------
    TypeError, ValueError
        If an optimizer is not in clouds or its cycle is not linear.
    """
    late, place, results = clouds[clouds["step"] >= clouds["step"].max() / 2], {"fast": FAST, "slow": SLOW}, []
    for opt in opts:
        settings, cycle = settings_frame([opt]).dropna(axis=1).iloc[0], Cycle.of(opt, noise=1.0)
        rows = late[(late[settings.index] == settings).all(axis=1)]
        if rows.empty:
            raise ValueError(f"opts must be configurations of clouds, got {opt!r}")
        for (kind, phase), losses in rows.groupby(["weights", "phase"])["train_loss"]:
            predicted = cycle.covariance(int(phase))[place[kind], place[kind]]
            results.append((float(cycle.beta1), kind, int(phase), predicted, 2 * losses.mean()))
    return pd.DataFrame(results, columns=["beta1", "weights", "phase", "predicted", "measured"])


# ------------------------------------------------------------------------------------------------------ many modes


@default_errors
def at_matched_risk(
    steps: int,
    lrs: ArrayLike,
    curvatures: ArrayLike,
    noise: ArrayLike,
    *,
    sync_periods: Iterable[int],
    slow_step_sizes: Iterable[float],
) -> pd.DataFrame:
    """Return the expected loss of Lookahead over that of gradient descent of the same steady-state risk.

    Both are taken after so many steps from 1, on a quadratic.

    Parameters
    ----------
    steps : int
        A whole number of cycles.
    lrs : (m,) array
        Those of gradient descent, in (0, 2/max(curvatures)).
    curvatures, noise : (n,) array
        As in ``theory.sgd_matched_loss``.
    sync_periods : list of int
        Each is combined with each of slow_step_sizes.
    slow_step_sizes : list of float

    Returns
    -------
    (m, ...) frame
        Index ``risk``, columns ``slow_step_size`` and ``sync_period``.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    risk = expected_loss(curvatures, 0.0, sgd_variance(np.asarray(lrs)[:, None], curvatures, noise))
    plain = sgd_matched_loss(steps, lrs, curvatures, noise, 1, 1.0)
    losses = {
        (size, k): sgd_matched_loss(steps, lrs, curvatures, noise, k, size) / plain
        for size, k in itertools.product(slow_step_sizes, sync_periods)
    }
    frame = pd.DataFrame(losses, index=pd.Index(risk, name="risk"))
    return frame.rename_axis(columns=["slow_step_size", "sync_period"])


@default_errors
def tuned_around_momentum(
    steps: Sequence[int],
    lrs: ArrayLike,
    curvatures: ArrayLike,
    noise: ArrayLike,
    *,
    momenta: Sequence[float],
    sync_period: int,
    slow_step_size: float,
) -> pd.DataFrame:
    """Return the expected loss of Lookahead over that of its inner optimizer, each at its best lr for each run length.

    Parameters
    ----------
    steps : list of int
        Multiples of sync_period.
    lrs : (m,) array
        Both are tried at all of them. Rates at which a run diverges are never the best.
    curvatures, noise : (n,) array
        As in :class:`.Cycle`. All modes start at 1.
    momenta : list of float
        In [0, 1).
    sync_period, slow_step_size
        As in ``Lookahead``.

    Returns
    -------
    frame
        With ``momentum``, ``steps`` and ``ratio``.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    at = [whole_number("steps", number, 1) for number in steps]
    for number in at:
        if number % sync_period:
            raise ValueError(f"steps must be multiples of sync_period {sync_period}, got {number}")
    around: dict[str, Any] = {"sync_period": sync_period, "slow_step_size": slow_step_size}
    results = []
    for momentum in momenta:
        best = []
        for settings in ({}, around):
            cycle = Cycle(lr=np.asarray(lrs)[:, None], curvature=curvatures, beta1=momentum, noise=noise, **settings)
            with np.errstate(over="ignore", invalid="ignore"):
                path = cycle.transient(max(at))
                losses = expected_loss(curvatures, path.slow_mean[at], path.slow_variance[at])
            best.append(np.nanmin(losses, axis=1))
        results += [(float(momentum), number, ratio) for number, ratio in zip(at, best[1] / best[0], strict=True)]
    return pd.DataFrame(results, columns=["momentum", "steps", "ratio"])


@default_errors
def gaps_around_momentum(
    conditions: Sequence[float],
    modes: Sequence[int],
    momentum: float,
    *,
    sync_period: int,
    slow_step_size: float,
) -> pd.DataFrame:
    """Return 1 - rate of heavy-ball momentum and of Lookahead around it, each at its best lr.

    Parameters
    ----------
    conditions : list of float
        Condition numbers, above 1.
    modes : list of int
        Numbers of eigenvalues, at least 2. The eigenvalues are evenly spaced in the logarithm.
    momentum : float
        In [0, 1).
    sync_period, slow_step_size
        As in ``Lookahead``, slow_step_size above 0.

    Returns
    -------
    frame
        With ``modes``, ``condition``, ``rule`` ("momentum alone" or the inner state) and ``gap``.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Zhang et al. 2019, Figure 3, from memory.
    """
    around = {"sync_period": sync_period, "slow_step_size": slow_step_size}
    rules: dict[str, dict[str, Any]] = {"momentum alone": {}}
    rules |= {state: around | {"inner_state": state} for state in INNER_STATES}
    results = []
    for n, condition in itertools.product(modes, conditions):
        spectrum = np.geomspace(1 / condition, 1, n)
        for rule, settings in rules.items():
            results.append((n, condition, rule, 1 - best_lr(spectrum, beta1=momentum, **settings)[1]))
    return pd.DataFrame(results, columns=["modes", "condition", "rule", "gap"])


# ------------------------------------------------------------------------------------------------------ real runs


@default_errors
def averaged_path(landscape: Landscape, opt: Lookahead, start: np.ndarray, steps: int) -> pd.DataFrame:
    """Return the paths that the averaged-sequence identity is about.

    Parameters
    ----------
    landscape : landscape
    opt : Lookahead
        Without weight decay, with inner_state "keep".
    start : (n,) float array
    steps : int
        At least 0.

    Returns
    -------
    frame
        Index ``step``. Its columns, one for each coordinate, are

        - ``fast_0``, ``fast_1``, ...: the fast weights, ahead of the pull.
        - ``slow_0``, ...: the slow weights.
        - ``averaged_0``, ...: see ``theory.averaged``, after the pull.
        - ``replayed_0``, ...: the inner optimizer at lr times slow_step_size, with the gradients taken at fast.
        - ``alone_0``, ...: the same optimizer with its own gradients.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import numpy as np
    >>> from lookahead_nb.theory.predictions import averaged_path
    >>> bowl, opt = lnb.landscapes.Quadratic([1.0]), lnb.Lookahead(lnb.SGD(0.5), sync_period=2)
    >>> path = averaged_path(bowl, opt, np.array([1.0]), 2)
    >>> bool(np.allclose(path["averaged_0"], path["replayed_0"]))
    True
    """
    slower = with_controls(opt)[f"{type(opt.inner).__name__} at lr x step"]
    size = cast("float", opt.slow_step_size)  # with_controls refuses any other
    fast, slow = trace(landscape, opt, start, steps)
    synced = np.arange(steps + 1)[:, None] % opt.sync_period == 0
    pulled = np.where(synced, slow, fast)
    gradients = [landscape.loss_and_grad(point)[1] for point in pulled[:-1]]
    paths = {"fast": fast, "slow": slow, "averaged": averaged(slow, pulled, size)}
    paths |= {"replayed": replay(slower, start, gradients), "alone": trace(landscape, slower, start, steps)[0]}
    columns = {f"{name}_{i}": path[:, i] for name, path in paths.items() for i in range(path.shape[1])}
    return pd.DataFrame(columns).rename_axis("step")


@default_errors
def compare(cycle: CoupledCycle, weights: np.ndarray, at: Sequence[int], *, directions: int = 5) -> pd.DataFrame:
    """Return predicted and measured sizes of the cloud of slow weights, averaged over steps.

    Parameters
    ----------
    cycle : CoupledCycle
        Of ``near_minimum``.
    weights : (steps, runs, n) array
        The slow ones of ``near_minimum.weights_along``.
    at : list of int
        The steps.
    directions : int
        The number of directions, at most n.

    Returns
    -------
    frame
        The columns are ``predicted``, ``measured``, ``error`` (the standard error of measured, over the runs) and
        ``ratio``. The index ``measure`` has

        - "variance": the trace of the covariance V.
        - "excess": sum(H V)/2, the excess loss that the cloud causes.
        - "direction 1", ...: the variance along the eigenvectors of the predicted covariance, the largest first. Those
          of a sample of runs would overstate it.
    """
    V = np.mean([cycle.covariance(t)[SLOW] for t in at], axis=0)
    axes = np.linalg.eigh(V)[1]
    lengths, across = np.linalg.eigh(cycle.hessian)
    forms = {"variance": np.eye(cycle.n), "excess": across * np.sqrt(np.maximum(lengths, 0) / 2)}
    forms |= {f"direction {i}": axes[:, [-i]] for i in range(1, directions + 1)}
    deviations = weights - weights.mean(axis=1, keepdims=True)
    runs = deviations.shape[1]
    results = []
    for name, form in forms.items():
        sizes = np.square(deviations @ form).sum(-1).mean(0) * runs / (runs - 1)
        results.append((name, (V * (form @ form.T)).sum(), sizes.mean(), sizes.std(ddof=1) / math.sqrt(runs)))
    frame = pd.DataFrame(results, columns=["measure", "predicted", "measured", "error"]).set_index("measure")
    return frame.assign(ratio=frame["measured"] / frame["predicted"])


@default_errors
def floors(minimum: Minimum, clouds: Mapping[Lookahead, Weights], at: Iterable[int], batch_size: int) -> pd.DataFrame:
    """Return :func:`compare` for many optimizers as one frame, with their settings.

    Parameters
    ----------
    minimum : Minimum
        Of ``near_minimum``.
    clouds : dict from Lookahead to Weights
        The ``near_minimum.Weights`` of each optimizer after the steps at.
    at : list of int
        The steps.
    batch_size : int
        In [1, rows - 1].

    Returns
    -------
    frame
        The index and columns of :func:`compare` and the settings as columns, together with ``independent``, the
        prediction as if each minibatch were drawn from all rows, with replacement.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or the cycle of an optimizer is not linear.
    RuntimeError
        If Adam's v does not settle.
    """
    frames, steps = [], [*at]  # an iterator can be read only once
    for opt, weights in clouds.items():
        frame, redrawn = (
            compare(minimum.cycle(opt, batch_size, independent=independent), weights.slow, steps)
            for independent in (False, True)
        )
        names = ("lr", "beta1", "momentum", "sync_period", "slow_step_size")  # an inner optimizer has beta1 or momentum
        settings = {name: opt.settings()[name] for name in names if name in opt.settings()}
        frames.append(frame.assign(independent=redrawn["predicted"], **settings).reset_index())
    return pd.concat(frames, ignore_index=True)


@default_errors
def through_epoch(cycle: CoupledCycle, weights: Weights, at: Iterable[int]) -> pd.DataFrame:
    """Return the total variance of fast and slow weights step by step through an epoch, predicted and measured.

    Parameters
    ----------
    cycle : CoupledCycle
        Of ``near_minimum``. An epoch must hold a whole number of cycles.
    weights : Weights
        Of ``near_minimum``, after the steps at.
    at : list of int
        The steps.

    Returns
    -------
    frame
        With ``step`` (1 to the length of an epoch), ``weights`` ("fast" or "slow"), ``predicted`` and ``measured``.
        Measured is NaN where there are no runs, and for fast at a sync, since runs give fast after the pull.
    """
    results, steps = [], [*at]  # an iterator can be read only once
    for place, kind in enumerate(Weights._fields):
        clouds = dict(zip(((t - 1) % cycle.period + 1 for t in steps), weights[place], strict=True))
        for step in range(1, cycle.period + 1):
            comparable = step in clouds and not (kind == "fast" and step % cycle.opt.sync_period == 0)
            measured = clouds[step].var(axis=0, ddof=1).sum() if comparable else np.nan
            results.append((step, kind, np.trace(cycle.covariance(step)[place]), measured))
    return pd.DataFrame(results, columns=["step", "weights", "predicted", "measured"])


def _slow_losses(rows: pd.DataFrame, runs: int) -> list[pd.Series]:
    slow = rows[rows["weights"] == "slow"]
    losses = [run.set_index("step")["train_loss"] for _, run in slow.groupby("run", sort=False)]
    if len(losses) != runs:
        raise ValueError(f"opts must be the {len(losses)} configurations of a sweep over one seed, got {runs}")
    return losses
