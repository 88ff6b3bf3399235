"""Lookahead around an inner optimizer: fast weights that explore, slow weights that follow at every sync."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from lookahead_nb.checks import flag, named_arguments, one_of, real_number, shown, whole_number
from lookahead_nb.kernels.cpu.adaptive import step_fit_and_sync
from lookahead_nb.optimizers.base import Slots, State, UpcomingStep, WithSlowWeights
from lookahead_nb.optimizers.buffers import kernels_of
from lookahead_nb.optimizers.coefficients import INNER_STATES, Sync
from lookahead_nb.optimizers.rules import AdamW, InnerOptimizer, check_inner

LARGEST_STEP = 2  # of the slow weights: a larger one diverges even where the fast weights reach the minimum in between


class LookaheadState(State):
    """The state of Lookahead and EMA: the inner state, the slow weights and, under "interpolate", the last sync.

    Made by ``init`` or ``restore``.

    Attributes
    ----------
    slow : (n,) array
        The slow weights, a read-only view on the host.
    outer_velocity : (n,) or (0,) array
        The velocity of the slow weights, a read-only view on the host; without elements where there is none.
    slow_steps : list of float
        The slow steps of all syncs since ``init`` or ``restore``, a new list every time.
    t, slots, power1, power2, pending_decay
        As in :class:`State`.

    Raises
    ------
    ValueError
        For an adaptive slow step on a GPU.
    """

    def __init__(self, optimizer: Any, backend: Any, size: int, width: Any, device: int | None = None) -> None:
        super().__init__(optimizer, backend, size, width, device)
        interpolates = optimizer.sync.inner_state == "interpolate"
        self._slow = backend.zeros(size, width)
        velocity = size if optimizer.sync.momentum else 0
        self._a1 = backend.zeros(self._s1.shape[0] if interpolates else velocity, width)
        self._a2 = backend.zeros(self._s2.shape[0] if interpolates else 0, width)
        if optimizer.adapts and backend.is_device:
            raise ValueError("slow_step_size must be a number or numbers for params on a GPU, got 'adaptive'")

    @property
    def slow(self) -> Any:
        """The slow weights."""
        return self._shown(self._slow)

    @property
    def outer_velocity(self) -> Any:
        """The velocity of the slow weights."""
        return self._shown(self._a1 if self._optimizer.sync.momentum else self._a1[:0])

    def _shown(self, array: Any) -> Any:
        if self._backend.is_device:
            self._settle()
            return array
        view = array.view()
        view.flags.writeable = False
        return view

    @property
    def arrays(self) -> Slots:
        """All arrays of the state, as the kernels of whole runs accept them."""
        return Slots(self._s1, self._s2, self._slow, self._a1, self._a2)

    @property
    def slow_steps(self) -> list[float]:
        """The slow steps of all syncs since ``init`` or ``restore``."""
        return self._taken_slow_steps()

    def _start_at(self, params: Any) -> None:
        super()._start_at(params)
        self._slow = self._backend.copy(params)

    def _take(self, p: Any, g: Any, step: UpcomingStep) -> None:
        if step.sync is None:
            super()._take(p, g, step)
        elif self._optimizer.adapts:
            self._step_and_fit(p, g, step, *step.sync)
        else:
            self._step_and_sync(p, g, step, step.sync)

    def _step_and_sync(self, p: Any, g: Any, step: UpcomingStep, kind: tuple) -> None:
        """Take a step with a sync on arrays of the backend."""
        slots = self._s1, self._s2, step.row
        anchors = self._slow, self._a1, self._a2
        counted = self._stretch.counter, step.t
        kernels_of(self._on_device).step_and_sync(self._rule, p, g, slots, anchors, kind, *counted)

    def _step_and_fit(self, p: np.ndarray, g: np.ndarray, step: UpcomingStep, n: int) -> None:
        """Take a step, fit the slow step and sync with it; slow steps are fitted on the host only."""
        opt, slots = self._optimizer, (self._s1, self._s2, step.row)
        fit = opt.inner.schedule(step.t), opt.slow_step_size.lowest, self._stretch.slow_steps, n
        step_fit_and_sync(self._rule, p, g, slots, self._slow, fit, self._stretch.counter, step.t)

    def _parts(self) -> tuple[list[str], dict[str, str]]:
        numbers, arrays = super()._parts()
        if self._optimizer.inner.decouples_decay:
            numbers.append("synced_pending_decay")
        if self._optimizer.sync.inner_state == "interpolate":
            numbers += ["synced_power1", "synced_power2"]
            arrays |= {f"synced_{name}": f"_a{i}" for i, name in enumerate(arrays, 1)}
        if self._optimizer.sync.momentum:
            numbers += ["velocity_pending_decay"] if self._optimizer.inner.decouples_decay else []
            arrays |= {"outer_velocity": "_a1"}
        return numbers, arrays | {"slow": "_slow"}


@named_arguments
@dataclass(frozen=True)
class Adaptive:
    """Fit the slow step at every sync to the minimum of a quadratic model of the loss.

    ``step = d.(A(before - slow) - g) / d.A d``, d = fast - slow, from the gradient g that the step before the sync took
    at ``before``, so that no further gradient is needed. The diagonal curvature is that of AdamW's own metric, A =
    (sqrt(v_hat) + eps)/lr; without momentum and decay the slow step is then 1. It is rounded to millionths.

    Parameters
    ----------
    lowest : float
        From 1e-6 to 1, the least slow step; the largest is 1.

    Raises
    ------
    TypeError, ValueError
        If lowest is no number or out of range.

    Notes
    -----
    Source: Zhang et al. 2019, proposition 1. They use the Fisher matrix as A. As v_hat or batch_size*v_hat that matrix
    gives steps beyond both ends nearly everywhere.
    """

    lowest: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "lowest", real_number("lowest", self.lowest, 1e-6, 1))


@named_arguments
@dataclass(frozen=True, init=False, repr=False)
class Lookahead(WithSlowWeights):
    """Lookahead around an inner optimizer.

    After steps k, 2k, ...: ``slow = (1 - slow_step_size)*slow + slow_step_size*fast``, then ``fast = slow``.

    Parameters
    ----------
    inner : inner optimizer
        The optimizer of the fast weights: SGD, Adagrad, RMSprop, Adam or AdamW.
    sync_period : int
        k, the steps between two syncs, at least 1.
    slow_step_size : float, sequence of float, "adaptive" or Adaptive, optional
        In [0, 2], the step of the slow weights towards the fast ones. A step above 1 extrapolates beyond them.
        Successive syncs use the items of a sequence in turn, periodically. "adaptive" is ``Adaptive()`` and needs AdamW
        inside.
    retention : float, optional
        In [-1, 1]: 1 - slow_step_size, the article's coefficient, negative where a sync extrapolates. Pass one of the
        two, or neither for 0.5, the only value at which both conventions agree.
    inner_state : str
        The effect of a sync on the inner state: "keep", "reset" (as fresh from ``init``) or "interpolate" (``state =
        step*state + rest*state at the last sync``, bias corrections included; no step may be above 1, since a second
        moment could become negative).
    pull_back : bool
        False never moves the fast weights, so that the slow ones are a plain average of them: the control for the
        effect of averaging alone. It allows only inner_state "keep".
    outer_momentum : float
        In [0, 1), the momentum of the slow weights. Above 0 a sync takes ``velocity = outer_momentum*velocity + fast -
        slow``, ``slow = slow + slow_step_size*velocity``, then ``fast = slow``. The velocity starts at 0. It needs
        given slow steps, the pull-back and inner_state "keep".
    outer_nesterov : bool
        With outer_momentum: ``slow = slow + slow_step_size*(outer_momentum*velocity + d)``, d the last fast - slow.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, lies out of range or does not fit the others.

    Notes
    -----
    slow_step_size 1 is the inner optimizer bit for bit; 0 restores the start bit for bit at every sync. Source: Zhang,
    Lucas, Hinton & Ba 2019, Algorithm 1.

    With outer momentum this is DiLoCo with one worker (Douillard et al. 2023), in the variables of :class:`SGD`: its
    learning rate is slow_step_size and its gradient slow - fast. What is pending of a small weight decay is pulled like
    the weights, velocity included. So decays are applied in full, as without momentum, but a weight without gradient
    may be ahead of them by about slow_step_size/(1 - outer_momentum) lumps of 2**-17.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import numpy as np
    >>> params = np.array([3.0])
    >>> opt = lnb.Lookahead(lnb.SGD(1.0), sync_period=2, slow_step_size=0.5)
    >>> state = opt.init(params)
    >>> for _ in range(2):  # 3 -> 2 -> 1, then the sync goes half of the way: 2
    ...     opt.step(params, np.array([1.0]), state)
    >>> params.tolist(), state.slow.tolist()
    ([2.0], [2.0])
    """

    inner: InnerOptimizer
    sync_period: int
    slow_step_size: float | tuple[float, ...] | Adaptive
    inner_state: str
    pull_back: bool
    outer_momentum: float
    outer_nesterov: bool

    _state = LookaheadState

    def __init__(
        self,
        inner: InnerOptimizer,
        *,
        sync_period: int = 5,
        slow_step_size: float | Sequence[float] | str | Adaptive | None = None,
        retention: float | None = None,
        inner_state: str = "keep",
        pull_back: bool = True,
        outer_momentum: float = 0.0,
        outer_nesterov: bool = False,
    ) -> None:
        check_inner(inner)
        if slow_step_size is not None and retention is not None:
            both = f"slow_step_size={slow_step_size!r} and retention={retention!r}"
            raise ValueError(f"slow_step_size and retention cannot both be given: one is 1 minus the other, got {both}")
        if retention is not None:
            slow_step_size = _complement(real_number("retention", retention, 1 - LARGEST_STEP, 1))
        step = _slow_step_size(0.5 if slow_step_size is None else slow_step_size)
        set_ = object.__setattr__
        set_(self, "inner", inner)
        set_(self, "sync_period", whole_number("sync_period", sync_period, 1))
        set_(self, "slow_step_size", step)
        set_(self, "inner_state", one_of("inner_state", inner_state, tuple(INNER_STATES)))
        set_(self, "pull_back", flag("pull_back", pull_back))
        set_(self, "outer_momentum", real_number("outer_momentum", outer_momentum, 0, 1, open_high=True))
        set_(self, "outer_nesterov", flag("outer_nesterov", outer_nesterov))
        self._check_momentum()
        if self.inner_state == "interpolate" and self.sync.extrapolates:
            reason = "an extrapolated second moment could be negative"
            raise ValueError(f"slow_step_size must be at most 1 for inner_state 'interpolate', got {step!r}: {reason}")
        if not self.pull_back and inner_state != "keep":
            raise ValueError(f"inner_state must be 'keep' without pull-back, got {inner_state!r}")
        if self.adapts:
            if type(inner) is not AdamW:
                raise ValueError(f"inner must be AdamW for an adaptive slow_step_size, got {shown(inner)}")
            if not self.pull_back:
                raise ValueError("pull_back must be True for an adaptive slow_step_size, got False")
            if inner_state != "keep":
                raise ValueError(f"inner_state must be 'keep' for an adaptive slow_step_size, got {inner_state!r}")

    def _check_momentum(self) -> None:
        if not self.outer_momentum:
            if self.outer_nesterov:
                raise ValueError("outer_nesterov must be False without outer_momentum, got True at outer_momentum 0.0")
            return
        if self.adapts:
            raise ValueError(f"slow_step_size must be given with outer_momentum, got {self.slow_step_size!r}")
        if not self.pull_back:
            raise ValueError("pull_back must be True with outer_momentum, got False")
        if self.inner_state != "keep":
            raise ValueError(f"inner_state must be 'keep' with outer_momentum, got {self.inner_state!r}")

    @property
    def adapts(self) -> bool:
        """Whether the slow step is fitted at every sync."""
        return isinstance(self.slow_step_size, Adaptive)

    @property
    def sync(self) -> Sync:
        """The settings of the syncs."""
        size = self.slow_step_size
        settings = self.pull_back, self.inner_state
        if isinstance(size, Adaptive):
            return Sync(self.sync_period, (), *settings, size.lowest)
        steps = size if isinstance(size, tuple) else (size,)
        if not self.outer_momentum:
            return Sync(self.sync_period, tuple((step, _complement(step)) for step in steps), *settings)
        momentum = "nesterov" if self.outer_nesterov else "heavy ball"
        return Sync(self.sync_period, tuple((s, self.outer_momentum) for s in steps), *settings, momentum=momentum)

    @property
    def retention(self) -> float:
        """The coefficient of the slow weights in a sync: 1 - slow_step_size, as a decimal; NaN if it is no number."""
        return _complement(self.slow_step_size) if isinstance(self.slow_step_size, float) else math.nan

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict of strings and numbers, including those of the inner optimizer.

        Returns
        -------
        dict
        """
        size = self.slow_step_size
        outer: dict[str, object] = {"sync_period": self.sync_period, "slow_step_size": None, "retention": None}
        if isinstance(size, Adaptive):
            outer |= {"slow_steps": "adaptive", "lowest_step": size.lowest}
        elif isinstance(size, tuple):
            outer |= {"slow_steps": " ".join(map(repr, size))}
        else:
            outer |= {"slow_step_size": size, "retention": self.retention}
        outer |= {"inner_state": self.inner_state, "pull_back": self.pull_back}
        if self.outer_momentum:  # or checkpoints and runs without it would have other names than they have
            outer |= {"outer_momentum": self.outer_momentum, "outer_nesterov": self.outer_nesterov}
        inner = self.inner.settings()
        return inner | {"optimizer": f"Lookahead({inner['optimizer']})"} | outer


def _slow_step_size(value: Any) -> float | tuple[float, ...] | Adaptive:
    if isinstance(value, Adaptive):
        return value
    if isinstance(value, str) and value == "adaptive":
        return Adaptive()
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        steps = tuple(real_number(f"slow_step_size[{i}]", step, 0, LARGEST_STEP) for i, step in enumerate(value))
        if not steps:
            raise ValueError("slow_step_size must hold at least one number, got none")
        return steps if len(set(steps)) > 1 else steps[0]  # one form for one meaning
    return real_number("slow_step_size", value, 0, LARGEST_STEP)


@lru_cache(1024)
def _complement(value: float) -> float:
    return float(1 - Fraction(repr(value)))  # of decimals: 1 - 0.9 is 0.1 here, not 0.09999999999999998
