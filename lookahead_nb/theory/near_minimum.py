"""Lookahead near the minimum of a real training loss: its noise floor, predicted without a fitted number and measured.

Near a minimum the gradient of a minibatch is ``g = H (theta - minimum) + xi``, and the cycle of ``theory`` holds with
matrices instead of numbers. The inner optimizer is Adam or AdamW with a fixed preconditioner, or SGD (D = 1):

    m = beta1*m + (1-beta1)*g        theta = theta - lr*D*m - lr*weight_decay*theta,    D = diag(1/(sqrt(v) + eps))

H, D and the noise have no common axes. So the modes are coupled, and all weights are one vector.

The noise differs from that of ``theory``. Within an epoch, minibatches of B out of N rows are drawn without
replacement. Let C be the covariance of the gradients of single rows. Then two steps of one epoch have

    cov(xi_i, xi_i) = Q = C (N-B)/(B (N-1))        cov(xi_i, xi_j) = -C/(N-1) = c Q,    c = -B/(N-B)

If no row is left over, the noise of an epoch adds up to zero. Steps of different epochs are independent. A sum of maps
of such noise has the covariance

    cov(sum of G_i xi_i) = (1-c) sum of G_i Q G_i'  +  c R Q R',        R = sum of G_i

The first part is that of independent noise. R is the response to a constant force since the epoch began, and its
recursion is as simple as that of the state. The steady state repeats after lcm(sync_period, steps of an epoch) steps.

Adam's v settles at the mean square of the gradients. This depends on how far the weights fluctuate, and they depend on
v, so both are found together. Two effects are left out. H and C change over the cloud of weights, little at a small
lr. And v fluctuates, little at a beta2 near 1.

Sources: the cycle is that of Zhang et al. 2019, section 3. The covariance of samples without replacement is in Cochran
1977, section 2.5. The rest is derived here.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from lookahead_nb.checks import default_errors, real_number, real_numbers, whole_number
from lookahead_nb.models.dense import LogisticRegression
from lookahead_nb.optimizers import Adam, AdamW, Lookahead, Optimizer
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.theory import ANCHOR, FAST, MOMENTUM, SLOW, Cycle
from lookahead_nb.training.run import train_in_place
from lookahead_nb.training.setup import Setup, Training

if TYPE_CHECKING:
    from lookahead_nb.datasets import Dataset
    from lookahead_nb.models.dense import MLP

_Result = TypeVar("_Result")

_NEGLIGIBLE = 1e-12  # of a norm, or of the change of v from round to round
_ROUNDS = 100
_STEP = 1e-5  # of the central differences, whose error is near its square


@dataclass(frozen=True, eq=False)
class CoupledCycle:
    """The linear cycle of an optimizer near a minimum, all modes at once, over epochs of minibatches.

    Parameters
    ----------
    opt : SGD, Adam, AdamW, or Lookahead around one of them
        As for ``theory.Cycle.of``, but AdamW also with a weight decay.
    hessian : (n, n) array
        H.
    noise : (n, n) array
        Q, the covariance of the gradient noise of one step.
    preconditioner : float or (n,) array
        D, above 0.
    epoch : int
        Steps of an epoch, at least 1.
    correlation : float
        c, from -1/(epoch-1) to 1, of two steps of one epoch.
    minimum : float or (n,) array
        Where the loss is lowest. A decay pulls the weights from there towards 0.

    Raises
    ------
    TypeError
        If an argument is no number or opt is no optimizer.
    ValueError
        If an argument lies out of range or has the wrong shape, or the cycle of opt is not linear.

    Notes
    -----
    Source: the equations at the head of this module.

    Examples
    --------
    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.theory.near_minimum import CoupledCycle
    >>> inner = CoupledCycle(lnb.SGD(0.1), np.diag([1.0, 2.0]), np.eye(2))
    >>> round(inner.rate, 6)
    0.9
    >>> fast, slow = inner.covariance(1)
    >>> fast.round(4).tolist()
    [[0.0526, 0.0], [0.0, 0.0278]]
    """

    opt: Any
    hessian: Any = field(repr=False)  # arrays from __post_init__ on, as preconditioner and minimum are
    noise: Any = field(repr=False)
    _: KW_ONLY
    preconditioner: Any = field(default=1.0, repr=False)
    epoch: int = 1
    correlation: float = 0.0
    minimum: Any = field(default=0.0, repr=False)

    @default_errors
    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("hessian", "noise"):
            matrix = real_numbers(name, getattr(self, name), -np.inf)
            if matrix.ndim != 2 or matrix.shape != (matrix.shape[0],) * 2 or not len(matrix):
                raise ValueError(f"{name} must be a square matrix, got {matrix.shape}")
            set_(self, name, matrix)
        if self.hessian.shape != self.noise.shape:
            raise ValueError(f"noise must be {self.hessian.shape} like hessian, got {self.noise.shape}")
        ranges = {"preconditioner": (0, True), "minimum": (-np.inf, False)}
        for name, (low, open_low) in ranges.items():
            numbers = real_numbers(name, getattr(self, name), low, open_low=open_low)
            if numbers.shape not in ((), (self.n,)):
                raise ValueError(f"{name} must be a number or ({self.n},), got {numbers.shape}")
            set_(self, name, np.broadcast_to(numbers, (self.n,)))
        set_(self, "epoch", whole_number("epoch", self.epoch, 1))
        least = -1 / max(self.epoch - 1, 1)
        set_(self, "correlation", real_number("correlation", self.correlation, least - 1e-12, 1))
        alone = self._alone  # refuses an optimizer that is not linear
        if alone.nesterov or alone.outer_momentum or alone.bias_corrected or alone.schedule:
            wanted = "SGD, Adam or AdamW at a constant lr, or Lookahead around one, without Nesterov and outer momentum"
            raise ValueError(f"opt must be {wanted}, got {self.opt!r}")
        if isinstance(self.opt.inner.weight_decay, Schedule):
            raise ValueError(f"opt must have a number as weight_decay, got {self.opt!r}")

    @property
    def n(self) -> int:
        """The number of weights."""
        return len(self.hessian)

    @property
    def weight_decay(self) -> float:
        """The decay outside the gradient: that of AdamW, 0 for the others."""
        inner = self.opt.inner
        return inner.decay_schedule.peak if isinstance(inner, AdamW) else 0.0

    @cached_property
    @default_errors
    def _alone(self) -> Cycle:
        """The cycle of one mode, which holds the settings and the map of a sync."""
        inner = self.opt.inner
        bare = replace(inner, weight_decay=0.0) if isinstance(inner, AdamW) else inner
        return Cycle.of(replace(self.opt, inner=bare) if self.opt.sync else bare)

    @cached_property
    @default_errors
    def _maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The map F of an inner step, (p n, p n), the place q of its noise, (p n, n), and the map S of a sync."""
        lr, beta1, n = float(self._alone.lr), float(self._alone.beta1), self.n
        parts = ANCHOR + (self._alone.inner_state == "interpolate")
        one, F, q = np.eye(n), np.zeros((parts, n, parts, n)), np.zeros((parts, n, n))
        F[MOMENTUM, :, FAST], F[MOMENTUM, :, MOMENTUM] = (1 - beta1) * self.hessian, beta1 * one
        F[FAST] = -lr * self.preconditioner[:, None, None] * F[MOMENTUM]
        F[FAST, :, FAST] += (1 - lr * self.weight_decay) * one
        for part in {SLOW, parts - 1} - {MOMENTUM}:  # an inner step leaves them alone
            F[part, :, part] = one
        q[MOMENTUM] = (1 - beta1) * one
        q[FAST] = -lr * self.preconditioner[:, None] * q[MOMENTUM]
        S = np.kron(self._alone._sync[:parts, :parts], one)
        return F.reshape(parts * n, -1), q.reshape(-1, n), S

    @cached_property
    @default_errors
    def _whole(self) -> np.ndarray:
        F, _, S = self._maps
        return S @ np.linalg.matrix_power(F, self._alone.sync_period)

    @cached_property
    @default_errors
    def rate(self) -> float:
        """The factor by which the mean shrinks per inner step in the long run. Above 1 the mean grows."""
        return float(np.abs(np.linalg.eigvals(self._whole)).max() ** (1 / self._alone.sync_period))

    @property
    def period(self) -> int:
        """The number of steps after which the steady state repeats: whole epochs and whole cycles."""
        return math.lcm(self._alone.sync_period, self.epoch)

    @cached_property
    @default_errors
    def centre(self) -> np.ndarray:
        """The point at which the mean of the weights settles, (n,): the minimum, or nearer to 0 with a decay."""
        pull = np.diag(self.weight_decay / self.preconditioner)
        return np.linalg.solve(self.hessian + pull, self.hessian @ self.minimum)

    def _period(self, V: np.ndarray) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray], None, np.ndarray]:
        """Yield the covariances of fast, slow and gradient step by step, from V at the start; return the last V."""
        # The covariance is V + c R Q R': V as if the noise were independent, R the response to a constant force.
        (F, q, S), Q, c, n = self._maps, self.noise, self.correlation, self.n
        fast, slow = slice(0, n), slice(n, 2 * n)
        fresh, R = (1 - c) * (q @ Q @ q.T), np.zeros(q.shape)
        for t in range(1, self.period + 1):
            slope = self.hessian @ (V[fast, fast] + c * R[fast] @ Q @ R[fast].T) @ self.hessian
            cross = self.hessian @ (c * R[fast] @ Q)  # of the weights with the noise of a later step of the epoch
            gradient = slope + cross + cross.T + Q
            V, R = F @ V @ F.T + fresh, F @ R + q
            before = V[fast, fast] + c * R[fast] @ Q @ R[fast].T
            if t % self._alone.sync_period == 0:
                V, R = S @ V @ S.T, S @ R
            yield before, V[slow, slow] + c * R[slow] @ Q @ R[slow].T, gradient
            if t % self.epoch == 0:
                V, R = V + c * R @ Q @ R.T, np.zeros(q.shape)
        return V

    @cached_property
    @default_errors
    def _steady(self) -> tuple[np.ndarray, ...]:
        """The covariances of fast, slow and gradient at every step of the period, each (period, n, n)."""
        if self.rate >= 1:
            return (np.full((self.period, self.n, self.n), np.nan),) * 3
        L = np.linalg.matrix_power(self._whole, self.period // self._alone.sync_period)
        V = _end(self._period(np.zeros(L.shape)))
        while np.abs(L).max() > _NEGLIGIBLE:  # the sum of L^i V L'^i, whose terms double in each round
            V, L = V + L @ V @ L.T, L @ L
        return tuple(np.array(matrices) for matrices in zip(*self._period(V), strict=True))

    @default_errors
    def covariance(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the steady-state covariances of fast and slow weights after so many steps of a long run.

        Parameters
        ----------
        step : int
            At least 1. Steps are counted from a start of both an epoch and a cycle, as in a run.

        Returns
        -------
        fast, slow : (n, n) float64 array
            At a step with a sync, fast is read ahead of the pull and slow after it. NaN where the cycle is not stable.

        Raises
        ------
        TypeError, ValueError
            If step is no whole number or below 1.
        """
        at = (whole_number("step", step, 1) - 1) % self.period
        return self._steady[FAST][at], self._steady[SLOW][at]

    @property
    @default_errors
    def mean_square_gradient(self) -> np.ndarray:
        """The mean of the squared gradient over steps and noise, (n,). Adam's v settles there."""
        mean = self.hessian @ (self.centre - self.minimum)
        return mean**2 + np.diagonal(self._steady[2], axis1=1, axis2=2).mean(0)


class Minimum(NamedTuple):
    """The minimum of a training loss.

    Attributes
    ----------
    params : (n,) float64 array
        The weights there.
    hessian : (n, n) float64 array
        H.
    covariance : (n, n) float64 array
        C, of the gradients of single rows there.
    rows : int
        N, the number of training rows.
    """

    params: np.ndarray
    hessian: np.ndarray
    covariance: np.ndarray
    rows: int

    @classmethod
    @default_errors
    def of(cls, model: LogisticRegression, data: Dataset) -> Minimum:
        """Return the minimum of a logistic regression on the training part, by Newton's method in float64.

        Parameters
        ----------
        model : LogisticRegression
            It needs an l2 if the classes are separable.
        data : Dataset

        Returns
        -------
        Minimum
            Its Hessian is that of central differences of ``model.loss_and_grad``.

        Raises
        ------
        TypeError
            If model is no LogisticRegression.
        RuntimeError
            If no minimum was found.
        """
        if not isinstance(model, LogisticRegression):
            raise TypeError(f"model must be a LogisticRegression, whose loss is convex, got {model!r}")
        X, y, params = data.X_train.astype(np.float64), data.y_train, np.zeros(model.size)
        for _ in range(_ROUNDS):
            gradient = model.loss_and_grad(params, X, y)[1]
            hessian = _hessian(model, params, X, y)
            if not model.l2 and (model.predict(params, X) == y).all():
                break  # the loss falls for ever
            if np.abs(gradient).max() < _NEGLIGIBLE:
                alone = [model.loss_and_grad(params, X[i : i + 1], y[i : i + 1])[1] for i in range(len(X))]
                return cls(params, hessian, np.cov(np.transpose(alone), bias=True), len(X))
            params = params - np.linalg.lstsq(hessian, gradient)[0]
        raise RuntimeError(f"the search for the minimum of {model!r} found none; an l2 above 0 makes sure of one")

    @default_errors
    def cycle(self, opt: Optimizer, batch_size: int, *, independent: bool = False) -> CoupledCycle:
        """Return the linear cycle of an optimizer here, with the preconditioner at which Adam settles.

        Parameters
        ----------
        opt : SGD, Adam, AdamW, or Lookahead around one of them
            As in :class:`CoupledCycle`.
        batch_size : int
            In [1, rows - 1].
        independent : bool
            True as if each minibatch were drawn from all rows, with replacement.

        Returns
        -------
        CoupledCycle

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range, or the cycle of opt is not linear.
        RuntimeError
            If v does not settle.
        """
        N, B = self.rows, whole_number("batch_size", batch_size, 1, self.rows - 1)
        epochs: dict[str, Any] = {} if independent else {"epoch": N // B, "correlation": -B / (N - B)}
        noise = self.covariance / B * (1 if independent else (N - B) / (N - 1))
        cycle = CoupledCycle(opt, self.hessian, noise, minimum=self.params, **epochs)
        inner = opt.inner
        if not isinstance(inner, (Adam, AdamW)):
            return cycle
        square, change = np.diag(noise), np.inf
        for _ in range(_ROUNDS):
            cycle = replace(cycle, preconditioner=1 / (np.sqrt(square) + inner.eps))
            if change < math.sqrt(_NEGLIGIBLE):
                return cycle
            settled = cycle.mean_square_gradient
            square, change = settled, np.abs(settled / square - 1).max()
        raise RuntimeError(f"the mean square gradient of {opt!r} does not settle here")


class Weights(NamedTuple):
    """Weights of many runs after some steps.

    Attributes
    ----------
    fast, slow : (steps, runs, n) array
    """

    fast: np.ndarray
    slow: np.ndarray


@default_errors
def weights_along(
    model: LogisticRegression | MLP,
    data: Dataset,
    opt: Lookahead,
    at: Iterable[int],
    *,
    seeds: int,
    batch_size: int = 64,
    dtype: Any = "float64",
) -> Weights:
    """Return the weights that runs have after chosen steps, from one run for each seed.

    They are ``train(model, data, opt, steps=t, seed=seed).params`` and ``.slow`` bit for bit, t in at.

    Parameters
    ----------
    model : LogisticRegression or MLP
    data : Dataset
    opt : Lookahead
    at : list of int
        Steps, each at least 1, rising.
    seeds : int
        At least 2, the number of runs. Their seeds are 0, 1, ...
    batch_size, dtype
        As in :func:`~lookahead_nb.training.run.train`.

    Returns
    -------
    Weights

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    FloatingPointError
        If a run diverges.
    """
    at = [whole_number(f"at[{i}]", t, 1) for i, t in enumerate(at)]
    training = Training(steps=at[-1], batch_size=batch_size, eval_every=at[-1], eval_rows=1, dtype=dtype)
    setup = Setup(model, data, training)
    rows = setup.rows(0)

    def run(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        params, snapshots = model.init(seed, setup.dtype), []
        state = opt.init(params)

        def snapshot() -> None:
            snapshots.append((params.copy(), state.slow.copy()))

        outcome = train_in_place(setup, opt, seed, rows, params, state, snapshot_at=at, snapshot=snapshot)
        if outcome.diverged_at[0] >= 0:
            raise FloatingPointError(f"seed {seed} diverged at step {outcome.diverged_at[0]}")
        return snapshots

    with ThreadPoolExecutor() as pool:
        weights = np.array([*pool.map(run, range(whole_number("seeds", seeds, 2)))])
    return Weights(*np.moveaxis(weights, (2, 1), (0, 1)))


def _hessian(model: LogisticRegression, params: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    slopes = [
        model.loss_and_grad(params + sign * _STEP * axis, X, y)[1] for axis in np.eye(len(params)) for sign in (1, -1)
    ]
    hessian = (np.array(slopes[::2]) - slopes[1::2]) / (2 * _STEP)
    return (hessian + hessian.T) / 2


def _end(generator: Generator[Any, None, _Result]) -> _Result:
    """Exhaust a generator and return its return value."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value
