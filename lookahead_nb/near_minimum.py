"""Lookahead near the minimum of a real training loss: its noise floor predicted without a fitted number, and measured.

Near a minimum the gradient of a minibatch is ``g = H (theta - minimum) + xi``, and ``theory``'s cycle holds with
matrices in place of numbers. The inner rule is Adam or AdamW with a preconditioner that stands still, or SGD (D = 1):

    m = beta1*m + (1-beta1)*g        theta = theta - lr*D*m - lr*weight_decay*theta,    D = diag(1/(sqrt(v) + eps))

H and D have no common axes and the noise has none with either, so the modes are coupled and go as one vector. What is
new is the noise. Minibatches of B out of N rows are drawn without replacement within an epoch: with C the covariance of
the gradients of single rows, two steps of one epoch have

    cov(xi_i, xi_i) = Q = C (N-B)/(B (N-1))        cov(xi_i, xi_j) = -C/(N-1) = c Q,    c = -B/(N-B)

and if no row is left over the noise of an epoch adds up to zero. Steps of different epochs are independent. A sum
of maps of such noise has the covariance

    cov(sum of G_i xi_i) = (1-c) sum of G_i Q G_i'  +  c R Q R',        R = sum of G_i

of which the first part is that of independent noise, and R, the response to a constant force since the epoch began, is
a recursion as simple as that of the state. The steady state repeats after lcm(sync_period, steps of an epoch) steps.

Adam's v settles at the mean square of the gradients, which depends on how far the weights fluctuate, and the other way
round: both are found together. Left out, and so to be kept small: the change of H and C over the cloud of weights,
which lr makes small, and the fluctuation of v, which beta2 does.

Sources: the cycle is that of Zhang et al. 2019, section 3; covariance of samples without replacement, Cochran 1977,
section 2.5; the rest is derived here.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import real_number, real_numbers, whole_number
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.optimizers import Adam, AdamW, Lookahead
from lookahead_nb.theory import ANCHOR, FAST, MOMENTUM, SLOW, Cycle
from lookahead_nb.training.run import train_in_place
from lookahead_nb.training.setup import Setup, Training

_NEGLIGIBLE = 1e-12  # of a norm, or of the change of v from round to round
_ROUNDS = 100
_STEP = 1e-5  # of the central differences, whose error is near its square


@dataclass(frozen=True, eq=False)
class CoupledCycle:
    """The linear cycle of an optimizer near a minimum, all modes at once, over epochs of minibatches.

    opt : SGD, Adam, AdamW, or Lookahead around one, as ``Cycle.of`` takes it; AdamW also with a weight decay.
    hessian : (n, n); noise : (n, n), the covariance Q of the gradient noise of one step. preconditioner : number or
    (n,) above 0, D. epoch : int, steps of an epoch, at least 1; correlation : c, at least -1/(epoch-1), of two steps of
    one epoch. minimum : number or (n,), where the loss is lowest: a decay pulls the weights from there towards 0.
    errors : TypeError, ValueError. Source: the equations at the head of this file.
    """

    opt: Any
    hessian: Any = field(repr=False)
    noise: Any = field(repr=False)
    _: KW_ONLY
    preconditioner: Any = field(default=1.0, repr=False)
    epoch: int = 1
    correlation: float = 0.0
    minimum: Any = field(default=0.0, repr=False)

    def __post_init__(self):
        set_ = object.__setattr__
        for name in ("hessian", "noise"):
            matrix = real_numbers(name, getattr(self, name), -np.inf)
            if matrix.ndim != 2 or matrix.shape != (matrix.shape[0],) * 2 or not len(matrix):
                raise ValueError(f"{name} must be a square matrix, not {matrix.shape}")
            set_(self, name, matrix)
        if self.hessian.shape != self.noise.shape:
            raise ValueError(f"noise must be {self.hessian.shape} like hessian, not {self.noise.shape}")
        of_each = {"preconditioner": (0, True), "minimum": (-np.inf, False)}
        for name, (low, open_low) in of_each.items():
            numbers = real_numbers(name, getattr(self, name), low, open_low=open_low)
            if numbers.shape not in ((), (self.n,)):
                raise ValueError(f"{name} must be a number or ({self.n},), not {numbers.shape}")
            set_(self, name, np.broadcast_to(numbers, (self.n,)))
        set_(self, "epoch", whole_number("epoch", self.epoch, 1))
        least = -1 / max(self.epoch - 1, 1)
        set_(self, "correlation", real_number("correlation", self.correlation, least - 1e-12, 1))
        self._alone  # noqa: B018 (refuses what is not linear)

    @property
    def n(self):
        """The number of weights."""
        return len(self.hessian)

    @property
    def weight_decay(self):
        """The decay that stands outside of the gradient."""
        inner = self.opt.inner
        return inner.weight_decay if isinstance(inner, AdamW) else 0.0

    @cached_property
    def _alone(self):
        """The cycle of one mode, for the settings it holds and for its sync."""
        inner = self.opt.inner
        bare = replace(inner, weight_decay=0.0) if isinstance(inner, AdamW) else inner
        return Cycle.of(_around(self.opt, bare) if self.opt.sync else bare)

    @cached_property
    def _maps(self):
        """The map F of an inner step, (p n, p n), the place q of its noise, (p n, n), and the map S of a sync."""
        lr, beta1, n = float(self._alone.lr), float(self._alone.beta1), self.n
        parts = ANCHOR + (self._alone.inner_state == "interpolate")
        one, F, q = np.eye(n), np.zeros((parts, n, parts, n)), np.zeros((parts, n, n))
        F[MOMENTUM, :, FAST], F[MOMENTUM, :, MOMENTUM] = (1 - beta1) * self.hessian, beta1 * one
        F[FAST] = -lr * self.preconditioner[:, None, None] * F[MOMENTUM]
        F[FAST, :, FAST] += (1 - lr * self.weight_decay) * one
        for kept in {SLOW, parts - 1} - {MOMENTUM}:
            F[kept, :, kept] = one
        q[MOMENTUM] = (1 - beta1) * one
        q[FAST] = -lr * self.preconditioner[:, None] * q[MOMENTUM]
        S = np.kron(self._alone._sync[:parts, :parts], one)
        return F.reshape(parts * n, -1), q.reshape(-1, n), S

    @cached_property
    def _whole(self):
        F, _, S = self._maps
        return S @ np.linalg.matrix_power(F, self._alone.sync_period)

    @cached_property
    def rate(self):
        """The factor by which the mean shrinks per inner step in the long run; above 1 it grows."""
        return float(np.abs(np.linalg.eigvals(self._whole)).max() ** (1 / self._alone.sync_period))

    @property
    def period(self):
        """After how many steps the steady state repeats: a whole number of epochs and of cycles."""
        return math.lcm(self._alone.sync_period, self.epoch)

    @cached_property
    def centre(self):
        """Where the mean of the weights settles: at the minimum, or a little towards 0 with a decay, (n,)."""
        pull = np.diag(self.weight_decay / self.preconditioner)
        return np.linalg.solve(self.hessian + pull, self.hessian @ self.minimum)

    def _period(self, V):
        """Yield the covariances of fast, slow and gradient step by step, from V at the start; return that at the end.

        The covariance is V + c R Q R': V as if the noise were independent, R the response to a constant force.
        """
        (F, q, S), Q, c, n = self._maps, self.noise, self.correlation, self.n
        fast, slow = slice(0, n), slice(n, 2 * n)
        fresh, R = (1 - c) * (q @ Q @ q.T), np.zeros(q.shape)
        for t in range(1, self.period + 1):
            seen = self.hessian @ (V[fast, fast] + c * R[fast] @ Q @ R[fast].T) @ self.hessian
            met = self.hessian @ (c * R[fast] @ Q)  # with what is left to come of the epoch
            gradient = seen + met + met.T + Q
            V, R = F @ V @ F.T + fresh, F @ R + q
            before = V[fast, fast] + c * R[fast] @ Q @ R[fast].T
            if t % self._alone.sync_period == 0:
                V, R = S @ V @ S.T, S @ R
            yield before, V[slow, slow] + c * R[slow] @ Q @ R[slow].T, gradient
            if t % self.epoch == 0:
                V, R = V + c * R @ Q @ R.T, np.zeros(q.shape)
        return V

    @cached_property
    def _steady(self):
        """The covariances of fast, slow and gradient at every step of the period, each (period, n, n)."""
        if self.rate >= 1:
            return (np.full((self.period, self.n, self.n), np.nan),) * 3
        L = np.linalg.matrix_power(self._whole, self.period // self._alone.sync_period)
        V = _end(self._period(np.zeros(L.shape)))
        while np.abs(L).max() > _NEGLIGIBLE:  # the sum of L^i V L'^i, twice as many terms in each round
            V, L = V + L @ V @ L.T, L @ L
        return tuple(np.array(each) for each in zip(*self._period(V), strict=True))

    def covariance(self, step):
        """Return the steady-state covariances (fast, slow), each (n, n), after so many steps of a long run.

        step : int, at least 1, counted from a start of both an epoch and a cycle, as the steps of a run are. At a step
        with a sync fast is read before the pull, slow after it. NaN where the cycle is not stable.
        """
        at = (whole_number("step", step, 1) - 1) % self.period
        return self._steady[FAST][at], self._steady[SLOW][at]

    @property
    def mean_square_gradient(self):
        """The mean of the squared gradient over steps and noise, where Adam's v settles, (n,)."""
        mean = self.hessian @ (self.centre - self.minimum)
        return mean**2 + np.diagonal(self._steady[2], axis1=1, axis2=2).mean(0)


class Minimum(NamedTuple):
    """The minimum of a training loss.

    params : (n,) float64; hessian : (n, n); covariance : (n, n), C, of the gradients of single rows there; rows : int.
    """

    params: np.ndarray
    hessian: np.ndarray
    covariance: np.ndarray
    rows: int

    @classmethod
    def of(cls, model, data):
        """Return the minimum of a logistic regression on the training part, by Newton's method in float64.

        The Hessian is that of central differences of ``model.loss_and_grad``. model : LogisticRegression, with an l2
        where the classes can be told apart; data : Dataset. errors : TypeError; RuntimeError if there is no minimum.
        """
        if not isinstance(model, LogisticRegression):
            raise TypeError(f"model must be a LogisticRegression, whose loss is convex, not {model!r}")
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

    def cycle(self, opt, batch_size, *, independent=False):
        """Return the :class:`CoupledCycle` of an optimizer here, with the preconditioner at which Adam settles.

        opt : as in ``CoupledCycle``; batch_size : int in [1, rows - 1]. independent : bool, True as if every minibatch
        were drawn anew, with replacement. errors : TypeError, ValueError; RuntimeError if v does not settle.
        """
        N, B = self.rows, whole_number("batch_size", batch_size, 1, self.rows - 1)
        how: dict[str, Any] = {"epoch": N // B, "correlation": -B / (N - B)} if not independent else {}
        noise = self.covariance / B * (1 if independent else (N - B) / (N - 1))
        cycle = CoupledCycle(opt, self.hessian, noise, minimum=self.params, **how)
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

    fast, slow : (steps, runs, n) array.
    """

    fast: np.ndarray
    slow: np.ndarray


def weights_along(model, data, opt, at, *, seeds, batch_size=64, dtype="float64"):
    """Return the :class:`Weights` that runs of so many steps end with, from one run for each seed.

    They are ``train(model, data, opt, steps=t, seed=seed).params`` and ``.slow`` bit for bit.

    model : LogisticRegression or MLP; data : Dataset. opt : Lookahead. at : rising ints, at least 1, the steps t. seeds
    : int, at least 2, as many runs, 0, 1, ...; batch_size, dtype : as in ``train``. errors : TypeError, ValueError;
    FloatingPointError if a run diverges.
    """
    at = [whole_number(f"at[{i}]", t, 1) for i, t in enumerate(at)]
    training = Training(steps=at[-1], batch_size=batch_size, eval_every=at[-1], eval_rows=1, dtype=dtype)
    setup = Setup(model, data, training)
    rows = setup.rows(0)

    def run(seed):
        params, kept = model.init(seed, setup.dtype), []
        state = opt.init(params)

        def snapshot():
            kept.append((params.copy(), state.slow.copy()))

        outcome = train_in_place(setup, opt, seed, rows, params, state, snapshot_at=at, snapshot=snapshot)
        if outcome.diverged_at[0] >= 0:
            raise FloatingPointError(f"seed {seed} diverged at step {outcome.diverged_at[0]}")
        return kept

    with ThreadPoolExecutor() as pool:
        kept = np.array([*pool.map(run, range(whole_number("seeds", seeds, 2)))])
    return Weights(*np.moveaxis(kept, (2, 1), (0, 1)))


def _around(opt, inner):
    """Return the same Lookahead around another inner rule."""
    names = ("sync_period", "slow_step_size", "inner_state", "pull_back")
    return Lookahead(inner, **{name: getattr(opt, name) for name in names})


def _hessian(model, params, X, y):
    slopes = [
        model.loss_and_grad(params + sign * _STEP * axis, X, y)[1] for axis in np.eye(len(params)) for sign in (1, -1)
    ]
    hessian = (np.array(slopes[::2]) - slopes[1::2]) / (2 * _STEP)
    return (hessian + hessian.T) / 2


def _end(generator):
    """Return what a generator returns at its end."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value
