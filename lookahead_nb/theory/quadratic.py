"""Lookahead, averages and momentum on a quadratic, solved exactly: rate, covariance, transient and stability limit.

The problem is one mode of a quadratic. The weight theta has the gradient ``curvature*theta + noise*xi``. The noise xi
has mean 0 and variance 1, and is new at every step. Modes do not mix, so their expected losses add up.

The inner optimizer is Adam with a fixed preconditioner, without bias correction and with m = 0 at the start. Learning
rate and gradient are in units of the preconditioner:

    m = beta1*m + (1-beta1)*gradient        theta = theta - lr*m

beta1 = 0 is gradient descent. Heavy-ball momentum, ``v = momentum*v + gradient``, ``theta = theta - step*v``, is the
same recursion with beta1 = momentum and lr = step/(1-momentum), since m = (1-momentum)*v. With Nesterov momentum the
step is ``lr*((1-beta1)*gradient + beta1*m)``.

A game of two players is the same with a complex number. In min_x max_y strength*x*y + curvature*(x^2 - y^2)/2, with
both players moving at once, z = x + iy has the gradient ``(curvature - i*strength)*z``. Means are then complex, and
variances are those of each player, whose noise has this standard deviation too.

Everything here is linear. With the state z = (fast, slow, m, m at the last sync), an inner step is ``z = F z + q xi``
and a sync is ``z = S z``. A cycle is k steps and a sync. Its map is L = S F^k. Its noise covariance is N = S (sum of
F^i q q' F'^i, i < k) S'. From these follow:

    rate per inner step           spectral radius of L, to the power 1/k
    covariance after a sync       V = L V L' + N, a discrete Lyapunov equation
    covariance i steps after it   F^i V F'^i + sum of F^j q q' F'^j, j < i

At a step with a sync, fast is read ahead of the pull and slow after it, as in the history of ``train``.

Averages without pull-back and momentum of the slow weights need no further state. Four numbers per mode suffice:

    Lookahead              slow = slow + s*(fast - slow), fast = slow, every k steps
    outer momentum         v = outer_momentum*v + fast - slow, slow = slow + s*v, fast = slow; v takes the place of the
                           last m. With k > 1 this is SNOO, and DiLoCo with one worker; with k = 1 it is momentum
    exponential average    k = 1, no pull-back, s_n = s/(1 - (1-s)^n) at sync n
    mean of all steps      the same at s = 0, where s_n = 1/n
    mean of the last steps the same, n counted from the end of the burn-in
    Schedule-Free          s_n = 1/n, with gradients at (1-mixing)*fast + mixing*slow
    primal averaging (GPA) the same at a constant s

At mixing = 1 and k = 1 primal averaging is heavy-ball momentum 1-s with the step s*lr. At mixing = 1-s its gradients
are those of Nesterov momentum. Schedule-Free forgets its start like ``t^(-1/(1-mixing))``. Its variance tends to
``noise^2/(curvature^2 t (1-mixing^2))``, which is 1/(1-mixing^2) times the least of any unbiased estimate. In the long
run the gradient at the mixed point balances the noise: ``x + (1-mixing) t dx/dt = -noise*xi/curvature``.

With a learning rate or slow steps that change, ``z = F_t z + q_t xi`` still holds. A reading of the last step, ``r'z``,
then has the variance ``sum of (a_t' q_t)^2``, with a_T = r and ``a_(t-1) = F_t' a_t``.

Minibatches drawn without replacement have noise that sums to 0 over an epoch of E steps: any two of its steps have the
covariance -1/(E-1). From the start of an epoch the noise then adds ``(N - u u'/E) E/(E-1)`` to the covariance. N is
what noise with replacement adds, and u is where a constant noise of 1 leads. For gradient descent this gives, after
whole epochs, V = lr^2 noise^2 E/(E-1) ((1-r^(2E))/(1-r^2) - (1-r^E)^2/(E(1-r)^2))/(1-r^(2E)) with r = 1 -
lr*curvature. The steady state repeats after the least common multiple of E and k. With noise that depends on the
weights it would not be exact.

For small x = lr*curvature, Lookahead at lr is as fast as its inner optimizer at slow_step_size*lr. The variance of the
slow weight at a sync is then that of the inner optimizer times ``1 - (k-1)(1-slow_step_size)x/2``, whatever the inner
momentum. So averaging saves noise, and only where k*x is not small.

With beta1 = 0 the slow weight alone is the state, and everything has a closed form. Let r = 1 - lr*curvature and
q = r^k. From a slow weight, k steps give fast = q*slow + noise. This noise has the variance W = V_SGD*(1 - q^2). A sync
then gives slow = m*slow + slow_step_size*noise with m = 1 - slow_step_size*(1 - q). The functions named ``sgd_...``
follow from these two lines. They accept numbers or arrays, which are broadcast.

Sources: Zhang, Lucas, Hinton & Ba 2019, section 3 and appendices A and B. The cycle with momentum is derived above.
Douillard et al. 2023 (DiLoCo), Kallusky et al. 2025 (SNOO), Polyak & Juditsky 1992 (means), Defazio et al. 2024
(Schedule-Free), Defazio et al. 2025 (GPA, arXiv:2512.17131), Defazio 2020 (primal averaging as momentum). Kühn &
Rosenow 2023 (arXiv:2306.05300) for the covariance of the noise of an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import (
    default_errors,
    flag,
    named_arguments,
    one_of,
    plain_array,
    real_number,
    real_numbers,
    shown,
    whole_number,
)
from lookahead_nb.optimizers import EMA, INNER_STATES, SGD, Adam, AdamW, Grouped, Optimizer, ScheduleFreeAdamW
from lookahead_nb.optimizers.coefficients import average_steps
from lookahead_nb.optimizers.lookahead import LARGEST_STEP
from lookahead_nb.optimizers.schedules import Schedule

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


FAST, SLOW, MOMENTUM, ANCHOR = range(4)
VELOCITY = ANCHOR  # of the slow weights, which only an inner state that is kept allows
LARGEST = 1e150  # of a standard deviation: its square is finite
LEAST = 1e-100  # of a slow_step_size, by which limits are divided
_SCAN, _REFINED, _ZOOMS, _ZOOM_POINTS = 4000, 30, 12, 9  # each zoom narrows fourfold


class Transient(NamedTuple):
    """Mean and variance of fast and slow weights after 0, 1, ... steps, or after some steps.

    Attributes
    ----------
    fast_mean, slow_mean, fast_variance, slow_variance : (steps + 1, ...) or (...) float64 array
        (...) is the shape of the cycle. In games means are complex128, and variances are those of each player.
    """

    fast_mean: np.ndarray
    slow_mean: np.ndarray
    fast_variance: np.ndarray
    slow_variance: np.ndarray


@named_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class Cycle:
    """The linear cycle of Lookahead, an average or momentum on one mode of a quadratic, or on many modes or settings.

    The defaults are those of the inner optimizer alone.

    Parameters
    ----------
    lr : float or array
        At least 0. It and the other arrays are broadcast to the shape of all results, (...).
    curvature : float or array
        Above 0; with a strength, at least 0.
    beta1 : float or array
        In [0, 1).
    noise : float or array
        At least 0, the standard deviation of the gradient, of each player in games.
    sync_period : int
        At least 1.
    slow_step_size : float or array
        In [0, 2].
    inner_state : str
        "keep", "reset" (m = 0) or "interpolate" (m = slow_step_size*m + (1-slow_step_size)*m at the last sync).
    pull_back : bool
        As in ``Lookahead``. False allows only inner_state "keep".
    nesterov : bool
        Whether the inner momentum is that of Nesterov.
    outer_momentum : float
        In [0, 1), as in ``Lookahead``. Above 0 it needs the pull-back and inner_state "keep".
    outer_nesterov : bool
        As in ``Lookahead``.
    mixing : float
        In [0, 1]: gradients are taken at (1-mixing)*fast + mixing*slow, and fast is read there, after a sync. Above 0
        it needs pull_back False.
    bias_corrected : bool
        Whether sync n has the slow step s/(1 - (1-s)^n), s the slow_step_size, one number in [0, 1]; at s = 0 it is
        1/n. It needs pull_back False.
    burn_in : int
        At least 0. Syncs up to this step have a slow step of 1, and n counts from there. Above 0 it needs
        bias_corrected.
    schedule : Schedule, optional
        Step t is taken at ``lr*schedule(t)``. Default: at lr.
    strength : float or array
        At least 0: of the term x*y of a game whose players move at once. 0 for a quadratic.
    steps_per_epoch : int, optional
        At least 2: minibatches are drawn without replacement, so that the noise of this many steps sums to 0. Default:
        with replacement.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, lies out of range or does not fit the others.

    Notes
    -----
    Source: the equations at the head of this module.

    Examples
    --------
    >>> from lookahead_nb.theory import SLOW, Cycle
    >>> cycle = Cycle(lr=0.1, noise=1.0, sync_period=5, slow_step_size=0.5)
    >>> float(cycle.rate.round(4))
    0.9552
    >>> float(cycle.covariance()[SLOW, SLOW].round(4))  # gradient descent alone: 0.0526
    0.0233
    """

    lr: Any  # a number or an array here, a float64 array from __post_init__ on
    curvature: Any = 1.0
    beta1: Any = 0.0
    noise: Any = 0.0
    sync_period: int = 1
    slow_step_size: Any = 1.0
    inner_state: str = "keep"
    pull_back: bool = True
    nesterov: bool = False
    outer_momentum: float = 0.0
    outer_nesterov: bool = False
    mixing: float = 0.0
    bias_corrected: bool = False
    burn_in: int = 0
    schedule: Schedule | None = None
    strength: Any = 0.0
    steps_per_epoch: int | None = None

    @default_errors
    def __post_init__(self) -> None:
        set_ = object.__setattr__
        strength = real_numbers("strength", self.strength, 0)
        numbers = {
            "lr": real_numbers("lr", self.lr, 0),
            "curvature": real_numbers("curvature", self.curvature, 0, open_low=not strength.any()),
            "beta1": real_numbers("beta1", self.beta1, 0, 1, open_high=True),
            "noise": real_numbers("noise", self.noise, 0, LARGEST),
            "slow_step_size": real_numbers("slow_step_size", self.slow_step_size, 0, LARGEST_STEP),
            "strength": strength,
        }
        for name, array in zip(numbers, together(**numbers), strict=True):
            set_(self, name, array)
        set_(self, "sync_period", whole_number("sync_period", self.sync_period, 1))
        one_of("inner_state", self.inner_state, tuple(INNER_STATES))
        set_(self, "pull_back", flag("pull_back", self.pull_back))
        for name in ("nesterov", "outer_nesterov", "bias_corrected"):
            set_(self, name, flag(name, getattr(self, name)))
        set_(self, "outer_momentum", real_number("outer_momentum", self.outer_momentum, 0, 1, open_high=True))
        set_(self, "mixing", real_number("mixing", self.mixing, 0, 1))
        set_(self, "burn_in", whole_number("burn_in", self.burn_in, 0))
        if self.steps_per_epoch is not None:
            set_(self, "steps_per_epoch", whole_number("steps_per_epoch", self.steps_per_epoch, 2))
        if self.schedule is not None and not isinstance(self.schedule, Schedule):
            raise TypeError(f"schedule must be a schedule of the learning rate or None, got {shown(self.schedule)}")
        self._check_combination()

    def _check_combination(self) -> None:
        """Refuse settings that do not fit each other."""
        size = self.slow_step_size
        if not self.pull_back and self.inner_state != "keep":
            raise ValueError(f"inner_state must be 'keep' without pull-back, got {self.inner_state!r}")
        if self.outer_momentum and not (self.pull_back and self.inner_state == "keep"):
            raise ValueError(f"outer_momentum needs pull-back and inner_state 'keep', got {self.outer_momentum!r}")
        if self.outer_nesterov and not self.outer_momentum:
            raise ValueError("outer_nesterov must be False without outer_momentum, got True at outer_momentum 0.0")
        for name in ("mixing", "bias_corrected"):
            if getattr(self, name) and self.pull_back:
                raise ValueError(f"{name} needs pull_back False, got {getattr(self, name)!r} with pull_back True")
        if self.burn_in and not self.bias_corrected:
            raise ValueError(f"burn_in needs bias_corrected True, got {self.burn_in} with bias_corrected False")
        if self.bias_corrected and size.size and not (size.min() == size.max() <= 1):
            raise ValueError(f"slow_step_size must be one number in [0, 1] for bias_corrected, got {shown(size)}")

    @classmethod
    @default_errors
    def of(
        cls,
        optimizer: Optimizer,
        *,
        curvature: ArrayLike = 1.0,
        noise: ArrayLike = 0.0,
        strength: ArrayLike = 0.0,
        steps_per_epoch: int | None = None,
    ) -> Cycle:
        """Return the cycle of an optimizer's settings.

        Parameters
        ----------
        optimizer : SGD, Adam, AdamW, Lookahead or EMA around one of them, or ScheduleFreeAdamW
            Without weight decay. Adam, AdamW and ScheduleFreeAdamW get a preconditioner of 1.
        curvature, noise, strength : float or array
            As in :class:`Cycle`.
        steps_per_epoch : int, optional
            As in :class:`Cycle`.

        Returns
        -------
        Cycle

        Raises
        ------
        TypeError
            If optimizer is no optimizer, or another argument is no number.
        ValueError
            If the cycle of the optimizer is not linear, or another argument lies out of range.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> cycle = lnb.theory.Cycle.of(lnb.Lookahead(lnb.SGD(0.1, momentum=0.9)))
        >>> float(cycle.lr.round(6)), float(cycle.beta1), cycle.sync_period
        (1.0, 0.9, 5)
        """
        if not isinstance(optimizer, Optimizer) or isinstance(optimizer, Grouped):
            raise TypeError(f"optimizer must be an inner optimizer, Lookahead or EMA, got {shown(optimizer)}")
        inner, sync = optimizer.inner, optimizer.sync
        wrapper: Any = optimizer
        if type(inner) not in (SGD, Adam, AdamW, ScheduleFreeAdamW) or inner.weight_decay:
            wanted = "SGD, Adam, AdamW or ScheduleFreeAdamW without weight decay, or Lookahead or EMA around one"
            raise ValueError(f"optimizer must be {wanted}, got {inner!r}")
        peak, schedule = inner.schedule.peak, None
        if peak and (inner.schedule.kind != "constant" or inner.schedule.warmup):
            schedule = replace(inner.schedule, peak=1.0)
        cycle: dict[str, Any] = {"curvature": curvature, "noise": noise, "schedule": schedule}
        cycle |= {"strength": strength, "steps_per_epoch": steps_per_epoch}
        if isinstance(inner, ScheduleFreeAdamW):
            if inner.schedule.warmup:
                raise ValueError(f"optimizer must have no warm-up around Schedule-Free, got {inner.schedule!r}")
            cycle |= {"slow_step_size": 0.0, "pull_back": False, "bias_corrected": True}
            return cls(lr=peak, mixing=inner.beta1, **cycle)
        if isinstance(inner, SGD):
            cycle |= {"lr": peak / (1 - inner.momentum), "beta1": inner.momentum, "nesterov": inner.nesterov}
        else:
            cycle |= {"lr": peak, "beta1": inner.beta1}
        if isinstance(wrapper, EMA):
            return cls(slow_step_size=1 - wrapper.decay, pull_back=False, bias_corrected=True, **cycle)
        if sync and len(sync.slow_steps) != 1:
            raise ValueError(f"optimizer must have one slow_step_size, got {wrapper.slow_step_size!r}")
        names = ("sync_period", "slow_step_size", "inner_state", "pull_back", "outer_momentum", "outer_nesterov")
        return cls(**cycle, **({name: getattr(wrapper, name) for name in names} if sync else {}))

    @property
    def period(self) -> int:
        """The number of steps after which the steady state repeats: sync_period, or with epochs a multiple of both."""
        return math.lcm(self.sync_period, self.steps_per_epoch or 1)

    @property
    def _slope(self) -> np.ndarray:
        """The derivative of the gradient, complex in games."""
        return self.curvature - 1j * self.strength if self.strength.any() else self.curvature

    @cached_property
    @default_errors
    def _step(self) -> tuple[np.ndarray, np.ndarray]:
        """The map F of an inner step at lr, (..., 4, 4), and the place q of its noise, (..., 4, 1)."""
        fresh = 1 - self.beta1
        slope = fresh * self._slope
        F, q = np.zeros((*self.lr.shape, 4, 4), slope.dtype), np.zeros((*self.lr.shape, 4, 1))
        F[..., MOMENTUM, FAST], F[..., MOMENTUM, SLOW] = (1 - self.mixing) * slope, self.mixing * slope
        q[..., MOMENTUM, 0] = fresh * self.noise
        gradient = F[..., MOMENTUM, :].copy()
        F[..., MOMENTUM, MOMENTUM] = self.beta1
        push, kick = F[..., MOMENTUM, :], q[..., MOMENTUM, 0]
        if self.nesterov:
            push, kick = gradient + self.beta1[..., None] * push, (1 + self.beta1) * kick
        F[..., FAST, :] = -self.lr[..., None] * push
        F[..., FAST, FAST] += 1
        F[..., SLOW, SLOW] = F[..., ANCHOR, ANCHOR] = 1
        q[..., FAST, 0] = -self.lr * kick
        return F, q

    def _step_at(self, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Return F and q of an inner step at factor times lr: only fast depends on it, and linearly."""
        if factor == 1:
            return self._step
        F, q = (part.copy() for part in self._step)
        F[..., FAST, :] *= factor
        F[..., FAST, FAST] += 1 - factor
        q[..., FAST, :] *= factor
        return F, q

    def _factors(self, steps: int) -> np.ndarray:
        """Return the learning rates of all steps over lr, (steps,)."""
        return np.ones(steps) if self.schedule is None else self.schedule.rates(steps)

    @cached_property
    @default_errors
    def _sync(self) -> np.ndarray:
        """The map S of a sync, (..., 4, 4)."""
        return self._sync_by(self.slow_step_size)

    def _sync_by(self, size: np.ndarray | float) -> np.ndarray:
        """Return the map S of a sync with a slow step of this size, (..., 4, 4)."""
        S = np.zeros((*self.lr.shape, 4, 4))
        S[..., SLOW, SLOW], S[..., SLOW, FAST] = 1 - size, size
        if self.outer_momentum:
            S[..., VELOCITY, FAST], S[..., VELOCITY, SLOW], S[..., VELOCITY, VELOCITY] = 1, -1, self.outer_momentum
            if self.outer_nesterov:
                S[..., SLOW, :] += self.outer_momentum * np.multiply(size, 1.0)[..., None] * S[..., VELOCITY, :]
            else:
                S[..., SLOW, VELOCITY] = size * self.outer_momentum
        S[..., FAST, :] = S[..., SLOW, :] if self.pull_back else np.eye(4)[FAST]
        if self.inner_state == "keep":
            S[..., MOMENTUM, MOMENTUM] = 1
        elif self.inner_state == "interpolate":
            S[..., MOMENTUM, MOMENTUM], S[..., MOMENTUM, ANCHOR] = size, 1 - size
            S[..., ANCHOR, :] = S[..., MOMENTUM, :]
        return S

    def _slow_steps(self, steps: int) -> np.ndarray | None:
        """Return the slow steps of the syncs of a run, (syncs,), or None where all are slow_step_size."""
        if not self.bias_corrected:
            return None
        early, syncs = (min(t, steps) // self.sync_period for t in (self.burn_in, steps))
        size, late = float(self.slow_step_size.max(initial=0.0)), syncs - early
        averages = average_steps(1 - size, 0, late, np.float64)[:, 0] if size else 1 / np.arange(1, late + 1)
        return np.concatenate([np.ones(early), averages])

    @property
    def _reading(self) -> np.ndarray:
        """Where fast is read without pull-back, the point of the gradient, as a row of 4."""
        return (1 - self.mixing) * np.eye(4)[FAST] + self.mixing * np.eye(4)[SLOW]

    def _reads(self, S: np.ndarray | None) -> np.ndarray:
        """Return how fast, slow and m are read ahead of the sync S, or at a step without one, (..., 3, 4)."""
        reads = np.broadcast_to(np.eye(4)[:ANCHOR], (*self.lr.shape, 3, 4)).copy()
        reads[..., FAST, :] = self._reading
        if S is not None:
            reads[..., SLOW:, :] = S[..., SLOW:ANCHOR, :]
            if self.mixing:
                reads[..., FAST, :] = self._reading @ S
        return reads

    @cached_property
    @default_errors
    def _whole(self) -> np.ndarray:
        """The map L of a whole cycle, (..., 4, 4)."""
        if self.schedule is not None:
            raise ValueError(f"schedule must be None for a rate and a steady state, got {self.schedule!r}")
        return self._sync @ np.linalg.matrix_power(self._step[0], self.sync_period)

    @cached_property
    @default_errors
    def rate(self) -> np.ndarray:
        """The factor by which the mean shrinks per inner step in the long run, (...). Above 1 the mean grows.

        It is 1 for a mean of all steps, which settles like 1/steps.
        """
        further = self.nesterov or self.outer_momentum or self.mixing or self.schedule is not None
        if further or self.strength.any():
            return np.abs(np.linalg.eigvals(self._whole)).max(-1, initial=0.0) ** (1 / self.sync_period)
        # Right after a sync fast equals slow and the anchor equals m, so the map of a cycle has only two eigenvalues.
        fresh, size = (1 - self.beta1) * self.curvature, self.slow_step_size
        M = np.stack([1 - self.lr * fresh, -self.lr * self.beta1, fresh, self.beta1], -1).reshape(*self.lr.shape, 2, 2)
        P = np.linalg.matrix_power(M, self.sync_period)
        (a, b), (c, d) = np.moveaxis(P, (-2, -1), (0, 1))
        if not self.pull_back:  # fast and m ignore the sync, slow follows
            radius = np.maximum(_spectral_radius(a, b, c, d), np.abs(1 - size))
        elif self.inner_state == "interpolate":
            radius = _spectral_radius(1 - size + size * a, size * b, size * c, 1 - size + size * d)
        else:
            keeps = self.inner_state == "keep"
            radius = _spectral_radius(1 - size + size * a, size * b, keeps * c, keeps * d)
        return radius ** (1 / self.sync_period)

    @property
    def stable(self) -> np.ndarray:
        """Whether means and variances settle, (...) bool: rate below 1."""
        return self.rate < 1

    @cached_property
    @default_errors
    def _synced(self) -> np.ndarray:
        """The covariance of z after a period in the steady state, (..., 4, 4), NaN where there is none."""
        L, N = np.linalg.matrix_power(self._whole, self.period // self.sync_period), self._noise
        # Row by row V is a vector of 16 in the linear system (I - L kron L) V = N, solved for each mode.
        kron = np.einsum("...ij,...kl->...ikjl", L, L.conj()).reshape(*self.lr.shape, 16, 16)
        kron[~self.stable] = 0
        V = np.linalg.solve(np.eye(16) - kron, N.reshape(*self.lr.shape, 16, 1)).reshape(N.shape)
        V[~self.stable] = np.nan
        return (V + _adjoint(V)) / 2

    @cached_property
    @default_errors
    def _noise(self) -> np.ndarray:
        """The noise covariance N of a whole period, (..., 4, 4)."""
        S = self._sync
        return S @ self._after(np.zeros_like(self._whole), self.period) @ _adjoint(S)

    def _after(self, V: np.ndarray, steps: int) -> np.ndarray:
        """Return the covariance of z so many steps after the start of a period, ahead of the sync of the last one."""
        walk, (F, q) = _Walk(V, self.steps_per_epoch), self._step
        for t in range(steps):
            if t and t % self.sync_period == 0:
                walk.sync(self._sync)
            walk.step(F, q)
        return walk.covariance

    @default_errors
    def covariance(self, phase: int = 0) -> np.ndarray:
        """Return the steady-state covariance of (fast, slow, m) at a phase of the cycle, at a slow step of its size.

        Parameters
        ----------
        phase : int
            In [0, period - 1]: step mod ``period``, which is sync_period with replacement. At a step with a sync, as at
            0, fast is read ahead of the pull, slow and m after the sync.

        Returns
        -------
        (..., 3, 3) float64 array
            NaN where the cycle is not stable. In games complex128; the diagonal has the variances of each player.

        Raises
        ------
        TypeError, ValueError
            If phase is no whole number or out of range, or there is a schedule.
        """
        phase = whole_number("phase", phase, 0, self.period - 1)
        reads = self._reads(self._sync if phase % self.sync_period == 0 else None)
        return reads @ self._after(self._synced, phase or self.period) @ _adjoint(reads)

    @default_errors
    def transient(self, steps: int, *, start: ArrayLike = 1.0, spread: ArrayLike = 0.0) -> Transient:
        """Return the exact means and variances of a run from fast = slow = start and m = 0.

        Parameters
        ----------
        steps : int
            At least 0.
        start : float or array
            The mean of the start, broadcast to the shape of the cycle.
        spread : float or array
            At least 0, the standard deviation of the start, broadcast to the shape of the cycle.

        Returns
        -------
        Transient

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, lies out of range or has a shape that does not broadcast.

        Examples
        --------
        >>> from lookahead_nb.theory import Cycle
        >>> Cycle(lr=0.5, sync_period=2, slow_step_size=0.5).transient(2).slow_mean.tolist()
        [1.0, 1.0, 0.625]
        """
        steps = whole_number("steps", steps, 0)
        z, V = self._at_start(start, spread)
        factors, slow_steps, (F, q) = self._factors(steps), self._slow_steps(steps), self._step
        walk = _Walk(V, self.steps_per_epoch)
        means, variances = np.empty((2, steps + 1, *self.lr.shape), F.dtype), np.empty((2, steps + 1, *self.lr.shape))
        path = Transient(*means, *variances)
        for t in range(steps + 1):
            if t and self.schedule is not None:
                F, q = self._step_at(factors[t - 1])
            if t:
                z = F @ z
                walk.step(F, q)
            V = walk.covariance
            path.fast_mean[t], path.fast_variance[t] = z[..., FAST, 0], V[..., FAST, FAST].real
            if t and t % self.sync_period == 0:
                S = self._sync if slow_steps is None else self._sync_by(slow_steps[t // self.sync_period - 1])
                z = S @ z
                walk.sync(S)
                V = walk.covariance
            path.slow_mean[t], path.slow_variance[t] = z[..., SLOW, 0], V[..., SLOW, SLOW].real
            if self.mixing:
                row = self._reading
                path.fast_mean[t], path.fast_variance[t] = (row @ z)[..., 0], (row @ V @ row).real
        return path

    @default_errors
    def after(self, steps: int, *, start: ArrayLike = 1.0, spread: ArrayLike = 0.0) -> Transient:
        """Return the last row of :meth:`transient`, up to rounding, in a fraction of its time.

        Parameters
        ----------
        steps : int
            At least 0.
        start, spread : float or array
            As in :meth:`transient`.

        Returns
        -------
        Transient
            Its arrays have the shape of the cycle.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, lies out of range or has a shape that does not broadcast.

        Notes
        -----
        At a constant lr and slow step the cycles before the last one are a power of their map. Its noise covariance
        follows by doubling: ``N_2n = L^n N_n L'^n + N_n``. Otherwise the readings go backwards through all steps, see
        the head of this module.

        Examples
        --------
        >>> from lookahead_nb.theory import Cycle
        >>> cycle = Cycle(lr=0.5, sync_period=2, slow_step_size=0.5)
        >>> [float(x) for x in cycle.after(2)]
        [0.25, 0.625, 0.0, 0.0]
        """
        steps = whole_number("steps", steps, 0)
        z, V = self._at_start(start, spread)
        if steps and self.schedule is None and not self.bias_corrected and self.steps_per_epoch is None:
            cycles, rest = divmod(steps - 1, self.sync_period)
            L, N = _repeated(self._whole, self._noise, cycles)
            z, V = L @ z, L @ V @ _adjoint(L) + N
            z, V = np.linalg.matrix_power(self._step[0], rest + 1) @ z, self._after(V, rest + 1)
            rows, fresh = self._reads(self._sync if steps % self.sync_period == 0 else None)[..., :2, :], np.zeros(2)
        else:
            rows, fresh = self._backwards(steps)
        means = (rows @ z)[..., 0]
        variances = np.maximum((rows @ V * rows.conj()).sum(-1).real, 0) + fresh  # rounding may fall below 0
        return Transient(*np.moveaxis(means, -1, 0), *np.moveaxis(variances, -1, 0))

    def _backwards(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return fast and slow of the last step as readings of z at the start, and their variances from noise.

        Their shapes are (..., 2, 4) and (..., 2).
        """
        factors, slow_steps, k, (F, q) = self._factors(steps), self._slow_steps(steps), self.sync_period, self._step
        still, push = _entries(self._step_at(0.0)[0]), _entries(F - self._step_at(0.0)[0])
        whole, pulled, moved = _entries(self._sync), _entries(self._sync_by(0.0)), []
        if slow_steps is not None:
            moved = _entries(self._sync_by(1.0) - self._sync_by(0.0))
        last = None
        if steps and steps % k == 0:
            last = self._sync if slow_steps is None else self._sync_by(slow_steps[-1])
        reads = np.moveaxis(self._reads(last)[..., :2, :], (-2, -1), (1, 0))
        row: list[Any] = [part if part.any() else None for part in reads]
        variance, of_epoch, epoch = np.zeros(reads.shape[1:]), np.zeros(()), self.steps_per_epoch
        for t in range(steps, 0, -1):
            if t % k == 0 and t < steps:
                if slow_steps is None:
                    row = _through(row, whole)
                else:
                    row = _through(row, pulled, moved, slow_steps[t // k - 1])
            kick = 0.0 if row[FAST] is None else factors[t - 1] * q[..., FAST, 0] * row[FAST]
            kick = kick if row[MOMENTUM] is None else kick + q[..., MOMENTUM, 0] * row[MOMENTUM]
            variance += _squared(kick) * (1 if epoch is None else epoch / (epoch - 1))
            if epoch is not None:
                of_epoch = of_epoch + kick
                if (t - 1) % epoch == 0:
                    variance -= _squared(of_epoch) / (epoch - 1)
                    of_epoch = np.zeros(())
            row = _through(row, still, push, factors[t - 1])
        rows = np.stack([np.zeros(variance.shape) if part is None else part for part in row])
        return np.moveaxis(rows, (0, 1), (-1, -2)), np.maximum(np.moveaxis(variance, 0, -1), 0)

    def _at_start(self, start: ArrayLike, spread: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of z at the start, or refuse them."""
        shape = self.lr.shape
        mean, deviation = real_numbers("start", start, -np.inf), real_numbers("spread", spread, 0, LARGEST)
        for name, value in (("start", mean), ("spread", deviation)):
            if together(**{name: value, "lr": self.lr})[0].shape != shape:
                raise ValueError(f"{name} must broadcast to the shape {shape} of the cycle, got {value.shape}")
        z, V = np.zeros((*shape, 4, 1)), np.zeros((*shape, 4, 4))
        z[..., : SLOW + 1, 0] = np.broadcast_to(mean, shape)[..., None]
        V[..., : SLOW + 1, : SLOW + 1] = np.broadcast_to(deviation**2, shape)[..., None, None]
        return z, V


class _Walk:
    """The covariance of z from step to step, under noise with replacement or that of epochs.

    Parameters
    ----------
    V : (..., 4, 4) array
        At the start of a run or period.
    epoch : int or None
        The steps of an epoch, or None for noise with replacement.
    """

    def __init__(self, V: np.ndarray, epoch: int | None) -> None:
        self.before, self.epoch, self.steps = V, epoch, 0
        self.fresh, self.response = np.zeros_like(V), np.zeros_like(V[..., :1])

    def step(self, F: np.ndarray, q: np.ndarray) -> None:
        """Take a step ``z = F z + q xi``."""
        noise = q @ _adjoint(q)
        if self.epoch is None:
            self.before = F @ self.before @ _adjoint(F) + noise
            return
        if self.steps % self.epoch == 0:
            self.before = self.covariance
            self.fresh, self.response = np.zeros_like(self.fresh), np.zeros_like(self.response)
        self.before = F @ self.before @ _adjoint(F)
        self.fresh, self.response = F @ self.fresh @ _adjoint(F) + noise, F @ self.response + q
        self.steps += 1

    def sync(self, S: np.ndarray) -> None:
        """Do a sync ``z = S z``."""
        self.before = S @ self.before @ _adjoint(S)
        if self.epoch is not None:
            self.fresh, self.response = S @ self.fresh @ _adjoint(S), S @ self.response

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of z now, (..., 4, 4)."""
        if self.epoch is None:
            return self.before
        shared = self.response @ _adjoint(self.response)
        return self.before + (self.epoch * self.fresh - shared) / (self.epoch - 1)


@named_arguments
@default_errors
def expected_loss(curvature: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> np.ndarray:
    """Return the expected loss ``sum(curvature*(mean**2 + variance))/2`` over the last axis, the modes.

    Parameters
    ----------
    curvature, mean, variance : float or array
        They broadcast to (..., modes); curvature and variance at least 0. NaN and infinity pass through, as a variance
        of an unstable cycle.

    Returns
    -------
    (...) float64 array
        A NumPy float if modes is the only axis.

    Raises
    ------
    TypeError, ValueError
        If an argument holds no real numbers, is negative, or has a shape that does not broadcast.

    Examples
    --------
    >>> from lookahead_nb.theory import expected_loss
    >>> float(expected_loss([1.0, 4.0], [1.0, 0.5], 0.0))
    1.0
    """
    arrays = together(curvature=curvature, mean=mean, variance=variance)
    for name, array in zip(("curvature", "mean", "variance"), arrays, strict=True):
        if name != "mean" and (array < 0).any():
            raise ValueError(f"{name} must hold numbers of at least 0, got {shown(array[array < 0][0].item())}")
        if not array.ndim:
            raise ValueError(f"{name} must have an axis of modes, or one of the others, got a number each")
    curvature, mean, variance = arrays
    return (curvature * (np.square(mean) + variance)).sum(-1) / 2


@default_errors
def together(**numbers: Any) -> list[np.ndarray]:
    """Return real numbers as arrays broadcast to one shape, or refuse others and shapes that do not fit.

    Parameters
    ----------
    **numbers : numbers or arrays

    Returns
    -------
    list of float64 arrays

    Raises
    ------
    TypeError, ValueError
        If one holds no real numbers, or the shapes do not broadcast; the message names the argument, or all.
    """
    arrays = {name: plain_array(name, value) for name, value in numbers.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} must hold real numbers, got {shown(numbers[name])}")
        arrays[name] = array.astype(np.float64, copy=False)
    try:
        return [*np.broadcast_arrays(*arrays.values())]
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"these numbers must have shapes that broadcast, got {shapes}") from None


@named_arguments
@default_errors
def stability_limit(
    *,
    beta1: float = 0.0,
    sync_period: int = 1,
    slow_step_size: float = 1.0,
    inner_state: str = "keep",
    pull_back: bool = True,
) -> float:
    """Return the largest x such that the cycle is stable for every lr*curvature in (0, x).

    Parameters
    ----------
    beta1 : float
        In [0, 1).
    sync_period : int
        At least 1.
    slow_step_size : float
        In (0, 1].
    inner_state, pull_back
        As in :class:`Cycle`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, lies out of range or does not fit the others.

    Notes
    -----
    The limit is found by a scan and bisection. The scan has 4000 points up to 2(1+beta1)/((1-beta1)*slow_step_size),
    dense near 0. It could miss a window of instability that is narrower than the distance of two points.

    Examples
    --------
    >>> from lookahead_nb.theory import stability_limit
    >>> round(stability_limit(sync_period=5, slow_step_size=0.5), 4)
    2.2457
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


@named_arguments
@default_errors
def best_lr(
    curvatures: ArrayLike,
    *,
    beta1: float = 0.0,
    sync_period: int = 1,
    slow_step_size: float = 1.0,
    inner_state: str = "keep",
    pull_back: bool = True,
) -> tuple[float, float]:
    """Return the lr at which the slowest mode of a spectrum is fastest, and the rate there.

    Parameters
    ----------
    curvatures : (n,) array
        Numbers above 0, at least one.
    beta1 : float
        In [0, 1).
    sync_period : int
        At least 1.
    slow_step_size : float
        In (0, 1].
    inner_state, pull_back
        As in :class:`Cycle`.

    Returns
    -------
    lr : float
    rate : float

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, lies out of range or does not fit the others, or curvatures is empty.

    Notes
    -----
    The rate has many narrow minima in lr. About 4000 points are scanned, up to the largest lr that could be stable.
    Half of them are evenly spaced in log lr over 9 decades, half in the root of lr. The lowest 30 minima are refined.

    With beta1 = momentum, the step of heavy-ball momentum is lr*(1-momentum). ``1 - rate`` over the condition number is
    then Figure 3 of Zhang et al. 2019.

    Examples
    --------
    >>> from lookahead_nb.theory import best_lr
    >>> lr, rate = best_lr([0.1, 1.0])  # gradient descent: 2/(0.1 + 1) and (1 - 0.1)/(1 + 0.1)
    >>> round(lr, 4), round(rate, 4)
    (1.8182, 0.8182)
    """
    curvatures = np.ravel(real_numbers("curvatures", curvatures, 0, open_low=True))
    if not curvatures.size:
        raise ValueError("curvatures must hold at least one number, got none")
    if curvatures.max() < LEAST:
        raise ValueError(f"curvatures must hold a number of at least {LEAST:g}, got {shown(curvatures.max())}")
    settings = _settings(beta1, sync_period, slow_step_size, inner_state, pull_back)

    def slowest(lr: np.ndarray) -> np.ndarray:
        return Cycle(lr=lr[..., None], curvature=curvatures, **settings).rate.max(-1)

    even = np.linspace(0, 1, _SCAN // 2 + 1)[1:]
    scan = _largest_scale(settings) / curvatures.max() * np.unique([10.0 ** (9 * even - 9), even**2])
    rates = slowest(scan)
    padded = np.pad(rates, 1, constant_values=np.inf)
    minima = np.flatnonzero((rates <= padded[:-2]) & (rates <= padded[2:]))
    minima = minima[np.argsort(rates[minima], kind="stable")[:_REFINED]]
    low, high = scan[np.maximum(minima - 1, 0)], scan[np.minimum(minima + 1, scan.size - 1)]
    for _ in range(_ZOOMS):
        lrs = np.linspace(low, high, _ZOOM_POINTS)
        rates = slowest(lrs)
        lowest, columns = rates.argmin(0), np.arange(minima.size)
        low, high = lrs[np.maximum(lowest - 1, 0), columns], lrs[np.minimum(lowest + 1, _ZOOM_POINTS - 1), columns]
    best = np.unravel_index(rates.argmin(), rates.shape)
    return float(lrs[best]), float(rates[best])


def _settings(
    beta1: float, sync_period: int, slow_step_size: float, inner_state: str, pull_back: bool
) -> dict[str, Any]:
    return {
        "beta1": real_number("beta1", beta1, 0, 1, open_high=True),
        "sync_period": sync_period,
        "slow_step_size": real_number("slow_step_size", slow_step_size, LEAST, 1),
        "inner_state": inner_state,
        "pull_back": pull_back,
    }


def _largest_scale(settings: dict[str, Any]) -> float:
    """Return an lr*curvature that is too large: the limit of the inner optimizer over slow_step_size."""
    beta1, size = settings["beta1"], settings["slow_step_size"]
    return 2 * (1 + beta1) / ((1 - beta1) * size)


def _repeated(L: np.ndarray, N: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the map and the noise covariance of so many repetitions of a map L with noise of covariance N."""
    whole, noise = np.broadcast_to(np.eye(4), L.shape), np.zeros_like(N)
    while times:
        if times & 1:
            whole, noise = L @ whole, L @ noise @ _adjoint(L) + N
        L, N, times = L @ L, L @ N @ _adjoint(L) + N, times >> 1
    return whole, noise


def _entries(matrices: np.ndarray) -> list[tuple[int, int, Any]]:
    """Return the entries that are not 0 as (row, column, numbers), with None for the numbers where all are 1."""
    places = [(i, j) for i in range(4) for j in range(4) if matrices[..., i, j].any()]
    return [(i, j, None if (matrices[..., i, j] == 1).all() else matrices[..., i, j]) for i, j in places]


def _through(row: list[Any], still: Iterable, moved: Iterable = (), factor: float = 1.0) -> list[Any]:
    """Return ``row @ (still + factor*moved)``, a row of four parts, of which None is 0."""
    total: list[Any] = [None] * 4
    for entries, times in ((still, 1.0), (moved, float(factor))):
        parts = {i: row[i] if times == 1 else times * row[i] for i, _, _ in entries if row[i] is not None}
        for i, j, numbers in entries:
            if i in parts:
                part = parts[i] if numbers is None else parts[i] * numbers
                total[j] = part if total[j] is None else total[j] + part
    return total


def _adjoint(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2).conj()


def _squared(numbers: Any) -> Any:
    """Return the square of an absolute value."""
    return np.square(numbers.real) + np.square(numbers.imag) if np.iscomplexobj(numbers) else np.square(numbers)


def _spectral_radius(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the larger absolute value of the eigenvalues of ((a, b), (c, d)), elementwise."""
    middle, apart = (a + d) / 2, ((a - d) / 2) ** 2 + b * c
    real = np.abs(middle) + np.sqrt(np.maximum(apart, 0))
    return np.where(apart >= 0, real, np.sqrt(np.maximum(a * d - b * c, 0)))
