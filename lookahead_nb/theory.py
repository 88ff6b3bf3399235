"""Lookahead on a quadratic, solved exactly: rate, steady-state covariance, transients and stability limit per mode.

The problem is one mode of a quadratic: a weight theta with gradient ``curvature*theta + noise*xi``, xi of mean 0 and
variance 1, new at every step. Several modes do not mix, so their expected losses add up. The inner rule is Adam whose
preconditioner stands still (lr and gradient are then in its units), without bias correction, m = 0 at the start:

    m = beta1*m + (1-beta1)*gradient        theta = theta - lr*m

beta1 = 0 is gradient descent. Heavy-ball momentum, ``v = momentum*v + gradient``, ``theta = theta - step*v``, is the
same recursion with beta1 = momentum and lr = step/(1-momentum), since m = (1-momentum)*v.

Everything here is linear. With the state z = (fast, slow, m, m at the last sync), an inner step is ``z = F z + q xi``
and a sync is ``z = S z``. A cycle of k steps and a sync has the map L = S F^k and the noise covariance N = S (sum of
F^i q q' F'^i, i < k) S', so that

    rate per inner step           spectral radius of L, to the power 1/k
    covariance after a sync       V = L V L' + N, a discrete Lyapunov equation
    covariance i steps after it   F^i V F'^i + sum of F^j q q' F'^j, j < i

At a step with a sync fast is read before the pull and slow after it, as in the history of ``train``.

With beta1 = 0 the slow weight alone is the state, and all of it closes: with r = 1 - lr*curvature and q = r^k, k steps
from slow give fast = q*slow + noise of variance W, W = V_SGD*(1 - q^2), and a sync slow = m*slow + slow_step_size*(that
noise), m = 1 - slow_step_size*(1 - q). The functions named ``sgd_...`` state what follows from these two lines, of
numbers or arrays that are broadcast:

    lr, curvature  : float above 0
    noise          : float at least 0, the standard deviation of the gradient
    sync_period    : int k, at least 1
    slow_step_size : float s in [0, 1]
    errors         : TypeError, ValueError

Sources: Zhang, Lucas, Hinton & Ba 2019, section 3 and appendices A and B; the cycle with momentum is derived above.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import flag, one_of, real_number, real_numbers, whole_number
from lookahead_nb.optimizers import INNER_STATES, SGD, Adam, AdamW, Optimizer

FAST, SLOW, MOMENTUM, ANCHOR = range(4)
_SCAN, _REFINED, _ZOOMS, _ZOOM_POINTS = 4000, 30, 12, 9  # each zoom narrows fourfold


class Transient(NamedTuple):
    """Mean and variance of fast and slow weights after 0, 1, ... steps.

    fast_mean, slow_mean, fast_variance, slow_variance : (steps + 1, *shape of the cycle) float64.
    """

    fast_mean: np.ndarray
    slow_mean: np.ndarray
    fast_variance: np.ndarray
    slow_variance: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Cycle:
    """The linear cycle of Lookahead on one mode of a quadratic, or on many modes or settings at once.

    lr : at least 0; curvature : above 0; beta1 : in [0, 1); noise : at least 0, the standard deviation of the gradient;
    slow_step_size : in [0, 1]. Each a number or an array; arrays are broadcast to the shape of all results.
    sync_period : int, at least 1. inner_state : "keep", "reset" (m = 0) or "interpolate" (m = slow_step_size*m +
    (1-slow_step_size)*m at the last sync). pull_back : bool, as in ``Lookahead``. The defaults are the bare inner rule.
    errors : TypeError, ValueError. Source: the equations at the head of this file.
    """

    lr: Any
    curvature: Any = 1.0
    beta1: Any = 0.0
    noise: Any = 0.0
    sync_period: int = 1
    slow_step_size: Any = 1.0
    inner_state: str = "keep"
    pull_back: bool = True

    def __post_init__(self):
        set_ = object.__setattr__
        numbers = {
            "lr": real_numbers("lr", self.lr, 0),
            "curvature": real_numbers("curvature", self.curvature, 0, open_low=True),
            "beta1": real_numbers("beta1", self.beta1, 0, 1, open_high=True),
            "noise": real_numbers("noise", self.noise, 0),
            "slow_step_size": real_numbers("slow_step_size", self.slow_step_size, 0, 1),
        }
        try:
            arrays = np.broadcast_arrays(*numbers.values())
        except ValueError:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in numbers.items())
            raise ValueError(f"lr and the other numbers must have shapes that broadcast, not {shapes}") from None
        for name, array in zip(numbers, arrays, strict=True):
            set_(self, name, array)
        set_(self, "sync_period", whole_number("sync_period", self.sync_period, 1))
        one_of("inner_state", self.inner_state, tuple(INNER_STATES))
        set_(self, "pull_back", flag("pull_back", self.pull_back))
        if not self.pull_back and self.inner_state != "keep":
            raise ValueError(f"inner_state must be 'keep' without pull-back, not {self.inner_state!r}")

    @classmethod
    def of(cls, optimizer: Any, *, curvature=1.0, noise=0.0):
        """Return the cycle of an optimizer's own settings.

        optimizer : SGD, Adam, AdamW, or Lookahead around one of them, at a constant lr, without Nesterov momentum and
        weight decay; for Adam and AdamW the cycle with a preconditioner of 1. curvature, noise : as in the class.
        errors : TypeError, ValueError.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an inner rule or Lookahead, not {optimizer!r}")
        inner, sync = optimizer.inner, optimizer.sync
        linear = type(inner) in (SGD, Adam, AdamW) and not getattr(inner, "nesterov", False)
        if not linear or inner.weight_decay or not isinstance(inner.lr, float):
            wanted = "SGD, Adam or AdamW at a constant lr, without Nesterov momentum and weight decay"
            raise ValueError(f"optimizer must be {wanted}, not {inner!r}")
        beta1 = inner.momentum if isinstance(inner, SGD) else inner.beta1
        lr = inner.lr / (1 - beta1) if isinstance(inner, SGD) else inner.lr
        if sync and len(sync.slow_steps) != 1:
            raise ValueError(f"optimizer must have one slow_step_size, not {optimizer!r}")
        names = ("sync_period", "slow_step_size", "inner_state", "pull_back")
        cycle = {name: getattr(optimizer, name) for name in names} if sync else {}
        return cls(lr=lr, beta1=beta1, curvature=curvature, noise=noise, **cycle)

    @cached_property
    def _step(self):
        """The map F of an inner step, (..., 4, 4), and its noise covariance q q'."""
        fresh = 1 - self.beta1
        F = np.zeros((*self.lr.shape, 4, 4))
        F[..., MOMENTUM, FAST], F[..., MOMENTUM, MOMENTUM] = fresh * self.curvature, self.beta1
        F[..., FAST, :] = -self.lr[..., None] * F[..., MOMENTUM, :]
        F[..., FAST, FAST] += 1
        F[..., SLOW, SLOW] = F[..., ANCHOR, ANCHOR] = 1
        q = np.zeros((*self.lr.shape, 4, 1))
        q[..., MOMENTUM, 0] = fresh * self.noise
        q[..., FAST, 0] = -self.lr * q[..., MOMENTUM, 0]
        return F, q @ _transposed(q)

    @cached_property
    def _sync(self):
        """The map S of a sync, (..., 4, 4)."""
        size = self.slow_step_size
        S = np.zeros((*self.lr.shape, 4, 4))
        S[..., SLOW, SLOW], S[..., SLOW, FAST] = 1 - size, size
        S[..., FAST, :] = S[..., SLOW, :] if self.pull_back else np.eye(4)[FAST]
        if self.inner_state == "keep":
            S[..., MOMENTUM, MOMENTUM] = 1
        elif self.inner_state == "interpolate":
            S[..., MOMENTUM, MOMENTUM], S[..., MOMENTUM, ANCHOR] = size, 1 - size
            S[..., ANCHOR, :] = S[..., MOMENTUM, :]
        return S

    @cached_property
    def _whole(self):
        """The map L of a whole cycle, (..., 4, 4)."""
        return self._sync @ np.linalg.matrix_power(self._step[0], self.sync_period)

    @cached_property
    def rate(self):
        """The factor by which the mean shrinks per inner step in the long run, (...); above 1 it grows.

        Right after a sync fast is slow and the anchor is m, so that two numbers are left, and two eigenvalues.
        """
        fresh, size = (1 - self.beta1) * self.curvature, self.slow_step_size
        M = np.stack([1 - self.lr * fresh, -self.lr * self.beta1, fresh, self.beta1], -1).reshape(*self.lr.shape, 2, 2)
        P = np.linalg.matrix_power(M, self.sync_period)
        (a, b), (c, d) = np.moveaxis(P, (-2, -1), (0, 1))
        if not self.pull_back:  # fast and m run free, slow follows
            radius = np.maximum(_spectral_radius(a, b, c, d), 1 - size)
        elif self.inner_state == "interpolate":
            radius = _spectral_radius(1 - size + size * a, size * b, size * c, 1 - size + size * d)
        else:
            kept = self.inner_state == "keep"
            radius = _spectral_radius(1 - size + size * a, size * b, kept * c, kept * d)
        return radius ** (1 / self.sync_period)

    @property
    def stable(self):
        """Whether means and variances settle, (...) bool: rate below 1."""
        return self.rate < 1

    @cached_property
    def _synced(self):
        """The covariance of z after a sync in the steady state, (..., 4, 4), NaN where there is none."""
        L, S = self._whole, self._sync
        N = S @ self._after(np.zeros_like(S), self.sync_period) @ _transposed(S)
        # Row by row V is a vector of 16: (I - L kron L) V = N, small enough to be solved as it stands, mode by mode.
        kron = np.einsum("...ij,...kl->...ikjl", L, L).reshape(*self.lr.shape, 16, 16)
        kron[~self.stable] = 0
        V = np.linalg.solve(np.eye(16) - kron, N.reshape(*self.lr.shape, 16, 1)).reshape(N.shape)
        V[~self.stable] = np.nan
        return (V + _transposed(V)) / 2

    def _after(self, V, steps):
        """Return the covariance of z so many inner steps later."""
        F, noise = self._step
        for _ in range(steps):
            V = F @ V @ _transposed(F) + noise
        return V

    def covariance(self, phase=0):
        """Return the steady-state covariance of (fast, slow, m) at a phase of the cycle, (..., 3, 3).

        phase : int in [0, sync_period - 1], step mod sync_period. At 0, the step with the sync, fast is read before the
        pull, slow and m after the sync. NaN where the cycle is not stable.
        """
        phase = whole_number("phase", phase, 0, self.sync_period - 1)
        reads = np.broadcast_to(np.eye(4)[:ANCHOR], (*self.lr.shape, 3, 4)).copy()
        if phase == 0:
            reads[..., SLOW:, :] = self._sync[..., SLOW:ANCHOR, :]
        return reads @ self._after(self._synced, phase or self.sync_period) @ _transposed(reads)

    def transient(self, steps, *, start=1.0, spread=0.0):
        """Return the exact :class:`Transient` of a run from fast = slow = start and m = 0.

        steps : int, at least 0. start : finite numbers, the mean of the start; spread : at least 0, its standard
        deviation. Both broadcast to the shape of the cycle.
        """
        steps, shape = whole_number("steps", steps, 0), self.lr.shape
        start, spread = real_numbers("start", start, -np.inf), real_numbers("spread", spread, 0)
        (F, noise), S = self._step, self._sync
        z, V = np.zeros((*shape, 4, 1)), np.zeros((*shape, 4, 4))
        z[..., : SLOW + 1, 0] = np.broadcast_to(start, shape)[..., None]
        V[..., : SLOW + 1, : SLOW + 1] = np.broadcast_to(spread**2, shape)[..., None, None]
        path = Transient(*np.empty((4, steps + 1, *shape)))
        for t in range(steps + 1):
            if t:
                z, V = F @ z, F @ V @ _transposed(F) + noise
            path.fast_mean[t], path.fast_variance[t] = z[..., FAST, 0], V[..., FAST, FAST]
            if t and t % self.sync_period == 0:
                z, V = S @ z, S @ V @ _transposed(S)
            path.slow_mean[t], path.slow_variance[t] = z[..., SLOW, 0], V[..., SLOW, SLOW]
        return path


def expected_loss(curvature, mean, variance):
    """Return the expected loss ``sum(curvature*(mean**2 + variance))/2`` over the last axis, the modes.

    curvature, mean, variance : numbers that broadcast to (..., modes). returns : (...) float64.
    """
    return (np.asarray(curvature) * (np.square(mean) + variance)).sum(-1) / 2


def stability_limit(*, beta1=0.0, sync_period=1, slow_step_size=1.0, inner_state="keep", pull_back=True):
    """Return the largest x such that the cycle is stable for every lr*curvature in (0, x), as float.

    Found by a scan of 4000 points up to 2(1+beta1)/((1-beta1)*slow_step_size), dense near 0, and bisection: a window of
    instability narrower than the scan could be missed.

    beta1, sync_period, slow_step_size, inner_state, pull_back : as in :class:`Cycle`, but numbers, and slow_step_size
    above 0. errors : TypeError, ValueError.
    """
    settings = _settings(beta1, sync_period, slow_step_size, inner_state, pull_back)
    top = _largest_scale(settings)
    scan = top * np.linspace(0, 1, _SCAN + 1)[1:] ** 2
    stable = Cycle(lr=scan, **settings).stable
    if stable.all():
        return top
    first = int(np.argmin(stable))
    low, high = scan[first - 1] if first else 0.0, scan[first]
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if Cycle(lr=middle, **settings).stable else (low, middle)
    return float(low)


def best_lr(curvatures, *, beta1=0.0, sync_period=1, slow_step_size=1.0, inner_state="keep", pull_back=True):
    """Return (lr, rate): the lr at which the slowest mode of a spectrum is fastest, and the rate there.

    The rate has many narrow minima in lr: 4000 points up to the largest lr that could be stable are scanned, even in
    log lr over 9 decades and, as many, even in its root; the lowest 30 are refined. With beta1 = momentum the step of
    heavy-ball momentum is lr*(1-momentum), and ``1 - rate`` over the condition number is Figure 3 of Zhang et al. 2019.

    curvatures : (n,) numbers above 0. beta1, sync_period, slow_step_size, inner_state, pull_back : as in
    :class:`Cycle`, but numbers, and slow_step_size above 0. returns : two floats. errors : TypeError, ValueError.
    """
    curvatures = np.ravel(real_numbers("curvatures", curvatures, 0, open_low=True))
    if not curvatures.size:
        raise ValueError("curvatures must hold at least one number, not none")
    settings = _settings(beta1, sync_period, slow_step_size, inner_state, pull_back)

    def slowest(lr):
        return Cycle(lr=lr[..., None], curvature=curvatures, **settings).rate.max(-1)

    even = np.linspace(0, 1, _SCAN // 2 + 1)[1:]
    scan = _largest_scale(settings) / curvatures.max() * np.unique([10.0 ** (9 * even - 9), even**2])
    rates = slowest(scan)
    beside = np.pad(rates, 1, constant_values=np.inf)
    minima = np.flatnonzero((rates <= beside[:-2]) & (rates <= beside[2:]))
    minima = minima[np.argsort(rates[minima], kind="stable")[:_REFINED]]
    low, high = scan[np.maximum(minima - 1, 0)], scan[np.minimum(minima + 1, scan.size - 1)]
    for _ in range(_ZOOMS):
        lrs = np.linspace(low, high, _ZOOM_POINTS)
        rates = slowest(lrs)
        at, each = rates.argmin(0), np.arange(minima.size)
        low, high = lrs[np.maximum(at - 1, 0), each], lrs[np.minimum(at + 1, _ZOOM_POINTS - 1), each]
    best = np.unravel_index(rates.argmin(), rates.shape)
    return float(lrs[best]), float(rates[best])


def _settings(beta1, sync_period, slow_step_size, inner_state, pull_back):
    return {
        "beta1": real_number("beta1", beta1, 0, 1, open_high=True),
        "sync_period": sync_period,
        "slow_step_size": real_number("slow_step_size", slow_step_size, 0, 1, open_low=True),
        "inner_state": inner_state,
        "pull_back": pull_back,
    }


def _largest_scale(settings):
    """Return an lr*curvature that is too large: the limit of the inner rule, stretched as a sync at each step does."""
    beta1, size = settings["beta1"], settings["slow_step_size"]
    return 2 * (1 + beta1) / ((1 - beta1) * size)


def _transposed(matrices):
    return np.swapaxes(matrices, -1, -2)


def _spectral_radius(a, b, c, d):
    """Return the larger absolute value of the eigenvalues of ((a, b), (c, d)), elementwise."""
    middle, apart = (a + d) / 2, ((a - d) / 2) ** 2 + b * c
    real = np.abs(middle) + np.sqrt(np.maximum(apart, 0))
    return np.where(apart >= 0, real, np.sqrt(np.maximum(a * d - b * c, 0)))


# ------------------------------------------------------------------------------- closed forms around gradient descent


def sgd_variance(lr, curvature, noise):
    """Return the steady-state variance V_SGD of gradient descent: ``lr*noise**2/(curvature*(2 - lr*curvature))``.

    From V = r^2 V + lr^2 noise^2, r = 1 - lr*curvature; inf from lr*curvature = 2 on. In the noisy quadratic of Zhang
    et al. 2019, Proposition 2, noise is curvature*sigma.
    """
    lr, curvature, noise = _positive(lr=lr, curvature=curvature, noise=noise)
    room = 2 - lr * curvature
    with np.errstate(divide="ignore"):
        return np.where(room > 0, lr * noise**2 / (curvature * np.maximum(room, 0)), np.inf)


def sgd_variance_ratio(lr, curvature, sync_period, slow_step_size):
    """Return R, the steady-state variance of the slow weight over V_SGD: ``s(1+q)/(2 - s(1-q))``, s = slow_step_size.

    From V = m^2 V + s^2 V_SGD (1 - q^2) and 1 - m^2 = s(1-q)(2 - s(1-q)). R grows with q and s and lies between
    s/(2-s) at q = 0 and s at q = 1, so for 0 <= q <= 1 sync_period moves it within these bounds only.
    Source: Zhang et al. 2019, Proposition 2, simplified.
    """
    s, q = _slow_and_q(lr, curvature, sync_period, slow_step_size)
    return s * (1 + q) / (2 - s * (1 - q))


def sgd_rate(lr, curvature, sync_period, slow_step_size):
    """Return the rate per inner step, ``abs(1 - s + s r^k)^(1/k)``: for r > 0 the power mean of order k of 1 and r."""
    s, q = _slow_and_q(lr, curvature, sync_period, slow_step_size)
    return np.abs(1 - s * (1 - q)) ** (1 / sync_period)


def sgd_moments(syncs, lr, curvature, sync_period, slow_step_size, noise, start=1.0):
    """Return mean and variance of the slow weight after so many syncs: ``m^n start`` and ``R V_SGD (1 - m^(2n))``.

    syncs : int or ints n, at least 0; start : number or numbers, the mean at the start, where the variance is 0.
    """
    s, q = _slow_and_q(lr, curvature, sync_period, slow_step_size)
    m = 1 - s * (1 - q)
    variance = sgd_variance_ratio(lr, curvature, sync_period, slow_step_size) * sgd_variance(lr, curvature, noise)
    return m**syncs * start, variance * (1 - m ** (2 * syncs))


def sgd_crossing_time(lr, curvature, sync_period, slow_step_size, noise, start=1.0):
    """Return about how many steps pass until Lookahead is ahead of gradient descent at the same lr, on one mode.

    ``log(start**2/((1-R) V_SGD))/(2*slow_step_size*lr*curvature)``: where the slower decay of the mean, to first order
    in lr*curvature, has become as small as the variance that is saved. 0 where it is so from the start.

    start : number or numbers, the mean at the start, where the variance is 0.
    """
    R = sgd_variance_ratio(lr, curvature, sync_period, slow_step_size)
    saved = (1 - R) * sgd_variance(lr, curvature, noise)
    with np.errstate(divide="ignore"):  # nothing is saved: never
        time = np.log(np.square(start) / saved) / (2 * np.multiply(slow_step_size, np.multiply(lr, curvature)))
    return np.maximum(time, 0)


def sgd_matched_lr(lr, curvatures, noise, sync_period, slow_step_size):
    """Return the lr of Lookahead at which its steady-state risk is that of gradient descent at lr, for a spectrum.

    The risk is ``sum(curvatures*variance)/2`` of the slow weights; found by bisection between 0 and 2/max(curvatures),
    NaN where no such lr has it. lr : any shape, in (0, 2/max(curvatures)); curvatures, noise : (n,), the modes, noise
    the standard deviation of the gradient. Source: what "matched" means in Zhang et al. 2019, Figure 2.
    """
    lr, curvatures, noise = _positive(lr=lr, curvatures=curvatures, noise=noise)

    def risk(lr, k, s):
        variance = sgd_variance_ratio(lr[..., None], curvatures, k, s) * sgd_variance(lr[..., None], curvatures, noise)
        return expected_loss(curvatures, 0.0, variance)

    end = (2 - 1e-9) / curvatures.max()
    wanted, low, high = risk(lr, 1, 1.0), np.zeros(lr.shape), np.full(lr.shape, end)
    for _ in range(60):
        middle = (low + high) / 2
        below = risk(middle, sync_period, slow_step_size) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(high < end, low, np.nan)


def sgd_matched_loss(steps, lr, curvatures, noise, sync_period, slow_step_size):
    """Return the expected loss after so many steps from 1 at the lr of :func:`sgd_matched_lr`, of the shape of lr.

    steps : int or ints that broadcast to the shape of lr, whole numbers of cycles; lr, curvatures, noise : as there,
    with lr low enough to be matched.
    """
    matched = sgd_matched_lr(lr, curvatures, noise, sync_period, slow_step_size)[..., None]
    syncs = np.asarray(steps)[..., None] // sync_period
    return expected_loss(curvatures, *sgd_moments(syncs, matched, curvatures, sync_period, slow_step_size, noise))


def game_multiplier(lr, strength, sync_period, slow_step_size):
    """Return the complex factor of x + iy per cycle in the game min_x max_y strength*x*y: ``1 - s + s(1 + i*lr*c)^k``.

    Descent in x and ascent in y at once is x + iy = (1 + i*lr*strength)(x + iy), which always grows; Lookahead shrinks
    where the absolute value is below 1.

    strength : above 0, c. errors : TypeError, ValueError. Source: Chavdarova et al. 2021, for the bilinear game.
    """
    lr, strength = _positive(lr=lr, strength=strength)
    k = whole_number("sync_period", sync_period, 1)
    s = real_numbers("slow_step_size", slow_step_size, 0, 1)
    return 1 - s + s * (1 + 1j * lr * strength) ** k


def optimal_slow_step(curvatures, start, end):
    """Return the slow step that minimises the loss on the line from start through end, not clipped, NaN at start = end.

    ``sum(a*start*(start-end))/sum(a*(start-end)**2)`` over the last axis, weights counted from the minimum. Above 1 the
    inner loop has not gone far enough, below 1 too far.

    curvatures : (n,) numbers above 0; start, end : (..., n) finite numbers. errors : TypeError, ValueError. Source:
    Zhang et al. 2019, Proposition 1.
    """
    curvatures = real_numbers("curvatures", curvatures, 0, open_low=True)
    start, end = real_numbers("start", start, -np.inf), real_numbers("end", end, -np.inf)
    with np.errstate(invalid="ignore"):
        return (curvatures * start * (start - end)).sum(-1) / (curvatures * np.square(start - end)).sum(-1)


def averaged(slow, fast, slow_step_size):
    """Return y = (1-s)*slow + s*fast: an inner step moves it by s times what fast moves, a sync not at all.

    So Lookahead is the inner rule at lr*slow_step_size, run on y, with gradients taken at fast; at sync_period 1 fast
    and y coincide and it is nothing else.

    slow, fast : arrays that broadcast; slow_step_size : s in [0, 1]. errors : TypeError, ValueError. Source: Wang et
    al. 2020, whose virtual sequence this is.
    """
    s = real_numbers("slow_step_size", slow_step_size, 0, 1)
    return (1 - s) * np.asarray(slow) + s * np.asarray(fast)


def _positive(**numbers):
    return [real_numbers(name, value, 0, open_low=name != "noise") for name, value in numbers.items()]


def _slow_and_q(lr, curvature, sync_period, slow_step_size):
    lr, curvature = _positive(lr=lr, curvature=curvature)
    k = whole_number("sync_period", sync_period, 1)
    return real_numbers("slow_step_size", slow_step_size, 0, 1), (1 - lr * curvature) ** k
