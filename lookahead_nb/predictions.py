"""What theory predicts beside what runs give, as tidy frames: on a quadratic, near a minimum, and along a path."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from lookahead_nb.comparisons import with_controls
from lookahead_nb.landscapes import replay, trace
from lookahead_nb.near_minimum import Weights
from lookahead_nb.optimizers import INNER_STATES
from lookahead_nb.theory import (
    FAST,
    SLOW,
    Cycle,
    averaged,
    best_lr,
    expected_loss,
    sgd_crossing_time,
    sgd_matched_loss,
    sgd_variance,
)
from lookahead_nb.training.history import settings_frame

# ------------------------------------------------------------------------------------------------------- one mode


def with_theory(opts, clouds, falls):
    """Return rate and variance of the slow weight on one mode of a quadratic, predicted and measured, a row for each.

    opts : list of Lookaheads that ``theory.Cycle.of`` takes. clouds : frame of ``sweep`` over them on
    ``Quadratic([1.0], noise=1.0, start=0.0, replicas=...)``, where the loss is half the variance over the replicas;
    falls : the same on ``Quadratic([1.0])``, where it is half the square of the weight. The variance is averaged over
    the second half of the steps; the rate is the slope of log(weight) over the steps with a sync from the first
    quarter on.

    returns : frame with ``beta1``, ``lr`` (that of Adam with a preconditioner of 1), ``sync_period``,
    ``slow_step_size``, ``inner_state``, ``predicted_variance``, ``measured_variance``, ``inner_variance`` (predicted,
    without Lookahead), and the same three of ``rate``. errors : TypeError, ValueError.
    """
    found = []
    spread, fall = (_slow_losses(frame, len(opts)) for frame in (clouds, falls))
    for opt, cloud, path in zip(opts, spread, fall, strict=True):
        cycle, inner = Cycle.of(opt, noise=1.0), Cycle.of(opt.inner, noise=1.0)
        late, synced = cloud[cloud.index >= cloud.index[-1] / 2], path[path.index % opt.sync_period == 0]
        synced = synced[synced.index >= path.index[-1] / 4]
        slope = np.polyfit(synced.index, np.log(synced) / 2, 1)[0]
        found.append(
            {"beta1": float(cycle.beta1), "lr": float(cycle.lr)}
            | {name: getattr(opt, name) for name in ("sync_period", "slow_step_size", "inner_state")}
            | {"predicted_variance": cycle.covariance()[SLOW, SLOW], "measured_variance": 2 * late.mean()}
            | {"inner_variance": inner.covariance()[FAST, FAST]}
            | {"predicted_rate": float(cycle.rate), "measured_rate": np.exp(slope), "inner_rate": float(inner.rate)}
        )
    return pd.DataFrame(found)


def by_phase(opts, clouds):
    """Return the variance of fast and slow weights by phase of the cycle, predicted and measured, as a frame.

    At phase 0 fast is read before the pull, slow after it.

    opts : some of the Lookaheads of ``clouds``; clouds : as in :func:`with_theory`. returns : frame with ``beta1``,
    ``weights``, ``phase``, ``predicted``, ``measured`` (mean over the late steps). errors : TypeError, ValueError.
    """
    late, place, found = clouds[clouds["step"] >= clouds["step"].max() / 2], {"fast": FAST, "slow": SLOW}, []
    for opt in opts:
        settings, cycle = settings_frame([opt]).dropna(axis=1).iloc[0], Cycle.of(opt, noise=1.0)
        rows = late[(late[settings.index] == settings).all(axis=1)]
        if rows.empty:
            raise ValueError(f"opts must be configurations of clouds, which {opt!r} is not")
        for (kind, phase), losses in rows.groupby(["weights", "phase"])["train_loss"]:
            predicted = cycle.covariance(int(phase))[place[kind], place[kind]]
            found.append((float(cycle.beta1), kind, int(phase), predicted, 2 * losses.mean()))
    return pd.DataFrame(found, columns=["beta1", "weights", "phase", "predicted", "measured"])


def overtaking(opts, rows):
    """Return the expected loss of Lookahead over that of gradient descent at the same lr, on one mode, as it goes.

    opts : list of Lookaheads around SGD without momentum. rows : frame of ``sweep`` over the inner rule and the
    Lookahead of each of them in turn, from one seed, on ``Quadratic([1.0], noise=1.0, replicas=...)``. returns : frame
    with ``lr``, ``step`` (those with a sync), ``exact``, ``simulated`` (NaN where rows have no evaluation) and
    ``predicted``, the step at which the closed form has the two equal. errors : TypeError, ValueError.
    """
    runs = rows["run"].drop_duplicates()
    if len(runs) != 2 * len(opts):
        raise ValueError(f"rows must hold {2 * len(opts)} runs, an inner rule and a Lookahead in turn, not {len(runs)}")
    losses = rows.drop_duplicates(["run", "step"], keep="last").pivot(index="step", columns="run", values="train_loss")
    found = []
    for opt, alone, ours in zip(opts, runs[::2], runs[1::2], strict=True):
        paths = [Cycle.of(each, noise=1.0).transient(losses.index[-1]) for each in (opt.inner, opt)]
        alone_exact, exact = (np.square(path.slow_mean) + path.slow_variance for path in paths)
        at = np.arange(opt.sync_period, losses.index[-1] + 1, opt.sync_period)
        frame = pd.DataFrame({"lr": opt.inner.lr, "step": at, "exact": (exact / alone_exact)[at]})
        frame["simulated"] = (losses[ours] / losses[alone]).reindex(at).to_numpy()
        settings = (opt.inner.lr, 1.0, opt.sync_period, opt.slow_step_size, 1.0)
        found.append(frame.assign(predicted=float(sgd_crossing_time(*settings))))
    return pd.concat(found, ignore_index=True)


# ------------------------------------------------------------------------------------------------------ many modes


def at_matched_risk(steps, lrs, curvatures, noise, *, sync_periods, slow_step_sizes):
    """Return the expected loss of Lookahead over that of gradient descent of the same steady-state risk, as a frame.

    Both after so many steps from 1, on a quadratic.

    steps, curvatures, noise : as in ``theory.sgd_matched_loss``. lrs : (m,), those of gradient descent. sync_periods,
    slow_step_sizes : lists, every pair of which is taken. returns : (m, ...) frame, index ``risk``, columns
    ``slow_step_size`` and ``sync_period``. errors : TypeError, ValueError.
    """
    risk = expected_loss(curvatures, 0.0, sgd_variance(np.asarray(lrs)[:, None], curvatures, noise))
    plain = sgd_matched_loss(steps, lrs, curvatures, noise, 1, 1.0)
    losses = {
        (size, k): sgd_matched_loss(steps, lrs, curvatures, noise, k, size) / plain
        for size, k in itertools.product(slow_step_sizes, sync_periods)
    }
    frame = pd.DataFrame(losses, index=pd.Index(risk, name="risk"))
    return frame.rename_axis(columns=["slow_step_size", "sync_period"])


def gaps_around_momentum(conditions, modes, momentum, *, sync_period, slow_step_size):
    """Return 1 - rate of heavy-ball momentum and of Lookahead around it, each at its best lr, as a frame.

    conditions : condition numbers, above 1; modes : how many eigenvalues, at least 2, evenly spaced in the logarithm, a
    list. momentum : float in [0, 1); sync_period, slow_step_size : as in ``Lookahead``. returns : frame with ``modes``,
    ``condition``, ``rule`` ("momentum alone" or the inner state), ``gap``. errors : TypeError, ValueError. Source:
    Zhang et al. 2019, Figure 3, as far as it is remembered.
    """
    around = {"sync_period": sync_period, "slow_step_size": slow_step_size}
    rules: dict = {"momentum alone": {}} | {state: around | {"inner_state": state} for state in INNER_STATES}
    found = []
    for n, condition in itertools.product(modes, conditions):
        spectrum = np.geomspace(1 / condition, 1, n)
        for rule, how in rules.items():
            found.append((n, condition, rule, 1 - best_lr(spectrum, beta1=momentum, **how)[1]))
    return pd.DataFrame(found, columns=["modes", "condition", "rule", "gap"])


# ------------------------------------------------------------------------------------------------------ real runs


def averaged_path(landscape, opt, start, steps):
    """Return the paths that the averaged-sequence identity is about, as a frame by step.

    Columns: ``fast_0``, ``fast_1``, ... (before the pull), ``slow_0``, ..., ``averaged_0``, ... (after the pull, see
    ``theory.averaged``), ``replayed_0``, ... (the inner rule at lr times slow_step_size, led by the gradients at fast)
    and ``alone_0``, ... (the same rule, led by its own gradients), one for each coordinate.

    opt : Lookahead without weight decay, with inner_state "keep"; landscape, start, steps : as in ``landscapes.trace``.
    errors : TypeError, ValueError.
    """
    slower = with_controls(opt)[f"{type(opt.inner).__name__} at lr x step"]
    fast, slow = trace(landscape, opt, start, steps)
    synced = np.arange(steps + 1)[:, None] % opt.sync_period == 0
    pulled = np.where(synced, slow, fast)
    gradients = [landscape.loss_and_grad(point)[1] for point in pulled[:-1]]
    paths = {"fast": fast, "slow": slow, "averaged": averaged(slow, pulled, opt.slow_step_size)}
    paths |= {"replayed": replay(slower, start, gradients), "alone": trace(landscape, slower, start, steps)[0]}
    columns = {f"{name}_{i}": path[:, i] for name, path in paths.items() for i in range(path.shape[1])}
    return pd.DataFrame(columns).rename_axis("step")


def compare(cycle, weights, at, *, directions=5):
    """Return predicted and measured sizes of the cloud of slow weights, averaged over steps, as a frame by measure.

    "variance": its trace; "excess": sum(H V)/2, the excess loss it causes; "direction 1", ...: the variance along the
    eigenvectors of the predicted covariance, the largest first (those of a sample of runs would be too large). Columns:
    ``predicted``, ``measured``, ``error`` (the standard error of measured, over the runs) and ``ratio``.

    cycle : ``near_minimum.CoupledCycle``. weights : (steps, runs, n), slow ones of ``near_minimum.weights_along``; at :
    list of the steps. directions : int, how many.
    """
    V = np.mean([cycle.covariance(t)[SLOW] for t in at], axis=0)
    axes = np.linalg.eigh(V)[1]
    lengths, across = np.linalg.eigh(cycle.hessian)
    forms = {"variance": np.eye(cycle.n), "excess": across * np.sqrt(np.maximum(lengths, 0) / 2)}
    forms |= {f"direction {i}": axes[:, [-i]] for i in range(1, directions + 1)}
    apart = weights - weights.mean(axis=1, keepdims=True)
    runs = apart.shape[1]
    found = []
    for name, form in forms.items():
        each = np.square(apart @ form).sum(-1).mean(0) * runs / (runs - 1)
        found.append((name, (V * (form @ form.T)).sum(), each.mean(), each.std(ddof=1) / math.sqrt(runs)))
    frame = pd.DataFrame(found, columns=["measure", "predicted", "measured", "error"]).set_index("measure")
    return frame.assign(ratio=frame["measured"] / frame["predicted"])


def floors(minimum, clouds, at, batch_size):
    """Return :func:`compare` for many optimizers as one frame, with their settings.

    Its column ``independent`` is what would be predicted if every minibatch were drawn anew.

    minimum : ``near_minimum.Minimum``; clouds : dict from Lookaheads to their ``near_minimum.Weights`` after the steps
    at; at : list of the steps; batch_size : int. errors : as ``Minimum.cycle``.
    """
    frames, at = [], [*at]  # an iterator can be read only once
    for opt, weights in clouds.items():
        frame, anew = (
            compare(minimum.cycle(opt, batch_size, independent=independent), weights.slow, at)
            for independent in (False, True)
        )
        names = ("lr", "beta1", "momentum", "sync_period", "slow_step_size")  # a rule has one of the two
        settings = {name: opt.settings()[name] for name in names if name in opt.settings()}
        frames.append(frame.assign(independent=anew["predicted"], **settings).reset_index())
    return pd.concat(frames, ignore_index=True)


def through_epoch(cycle, weights, at):
    """Return the total variance of fast and slow weights step by step through an epoch, predicted and measured.

    cycle : ``near_minimum.CoupledCycle`` whose cycles fill an epoch; weights : the ``near_minimum.Weights`` after the
    steps at; at : list of the steps. returns : frame with ``step`` (1 to the length of an epoch), ``weights`` ("fast"
    or "slow"), ``predicted`` and ``measured``, NaN where there are no runs, and for fast at a sync too, since the runs
    give it after the pull.
    """
    found, at = [], [*at]  # an iterator can be read only once
    for place, kind in enumerate(Weights._fields):
        clouds = dict(zip(((t - 1) % cycle.period + 1 for t in at), weights[place], strict=True))
        for step in range(1, cycle.period + 1):
            seen = step in clouds and not (kind == "fast" and step % cycle.opt.sync_period == 0)
            measured = clouds[step].var(axis=0, ddof=1).sum() if seen else np.nan
            found.append((step, kind, np.trace(cycle.covariance(step)[place]), measured))
    return pd.DataFrame(found, columns=["step", "weights", "predicted", "measured"])


def _slow_losses(rows, runs):
    slow = rows[rows["weights"] == "slow"]
    losses = [run.set_index("step")["train_loss"] for _, run in slow.groupby("run", sort=False)]
    if len(losses) != runs:
        raise ValueError(f"opts must be the {len(losses)} configurations of a sweep over one seed, not {runs}")
    return losses
