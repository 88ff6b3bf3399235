"""The inner optimizers: frozen settings, and the scalars of a step that their update rules read."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lookahead_nb.checks import flag, named_arguments, real_number, shown
from lookahead_nb.kernels.formulas import RULES
from lookahead_nb.optimizers.base import Optimizer, WithSlowWeights
from lookahead_nb.optimizers.buffers import kernels_of
from lookahead_nb.optimizers.schedules import Schedule, constant

SCHEDULED = ("lr", "weight_decay")  # settings that may be schedules
INNER_RULES: dict[str, Any] = {}  # the classes by name, in the order of their definitions below


def check_inner(inner: Any) -> None:
    """Refuse anything but an inner optimizer that another one can wrap.

    Parameters
    ----------
    inner : object

    Raises
    ------
    TypeError
        If inner is no inner optimizer, or has slow weights itself.
    """
    if not isinstance(inner, InnerOptimizer) or inner.has_slow_weights:
        allowed = [name for name, rule in INNER_RULES.items() if not issubclass(rule, WithSlowWeights)]
        raise TypeError(f"inner must be one of {', '.join(allowed)}, got {shown(inner)}")


def _number_or_schedule(name: str, value: Any) -> float | Schedule:
    """Return a setting that is a number of at least 0 or a schedule, in one form for one meaning."""
    if callable(value) and not isinstance(value, (Schedule, type)):
        advice = f"{name}=schedules.from_function(f, steps)"
        raise TypeError(f"{name} must be a number or a schedule, got the function {shown(value)}: pass {advice}")
    if not isinstance(value, Schedule):
        return real_number(name, value, 0)
    return value.peak if value == constant(value.peak) else value


def _schedule(setting: float | Schedule) -> Schedule:
    return setting if isinstance(setting, Schedule) else constant(setting)


@dataclass(frozen=True, repr=False)
class InnerOptimizer(Optimizer):
    """The base of inner optimizers: a learning rate that is a number or a schedule, and one update rule.

    Attributes
    ----------
    lr : float or Schedule
    family : str
        The name of the update rule in ``formulas.RULES``, without its variants.
    squares_gradient : bool
        Whether the rule squares the gradient, whose square must then be finite.
    decouples_decay : bool
        Whether a step takes lr*weight_decay off the weights themselves. Otherwise the decay is part of the gradient.
    """

    lr: float | Schedule
    _: KW_ONLY

    family: ClassVar[str]
    squares_gradient: ClassVar[bool] = False
    decouples_decay: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        INNER_RULES[cls.__name__] = cls

    @property
    def inner(self) -> InnerOptimizer:
        """The optimizer whose update rule moves the fast weights: itself."""
        return self

    @property
    def rule(self) -> str:
        """The name of the update rule in ``formulas.RULES``."""
        return self.family

    @property
    def betas(self) -> tuple[float, float]:
        """The decay rates beta1 and beta2, whose powers the bias corrections use; 1 where there are none."""
        return getattr(self, "beta1", 1.0), getattr(self, "beta2", 1.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in SCHEDULED:
                value = _number_or_schedule(field.name, value)
            elif field.name in ("beta1", "beta2", "momentum", "rho"):
                value = real_number(field.name, value, 0, 1, open_high=True)
            elif field.name == "eps":
                value = real_number("eps", value, 0, open_low=True)
            elif field.name == "nesterov":
                value = flag("nesterov", value)
            object.__setattr__(self, field.name, value)

    @cached_property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        return _schedule(self.lr)

    @cached_property
    def decay_schedule(self) -> Schedule:
        """The weight decay as a schedule."""
        return _schedule(getattr(self, "weight_decay", 0.0))

    def with_settings(self, **changes: Any) -> InnerOptimizer:
        """Return this optimizer with other settings.

        Parameters
        ----------
        **changes
            By name. Where this optimizer has a schedule, of lr or weight_decay, a number is the peak of that schedule.

        Returns
        -------
        InnerOptimizer

        Raises
        ------
        TypeError, ValueError
            If a setting is refused.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> lnb.SGD(lnb.schedules.linear(0.1, steps=10)).with_settings(lr=0.5, momentum=0.9)
        SGD(lr=schedules.linear(0.5, steps=10), momentum=0.9)
        """
        for name in SCHEDULED:
            own = getattr(self, name, None)
            if isinstance(own, Schedule) and name in changes and not isinstance(changes[name], Schedule):
                changes[name] = replace(own, peak=changes[name])
        return replace(self, **changes)

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:
        """Return the scalars of one step in float64, in the order of the update rule.

        Parameters
        ----------
        lr : float or (steps,) array
            The learning rate of the step.
        weight_decay : float or (steps,) array
            The setting at the step. With ``decouples_decay`` it is 0 at a step that applies no decay, and larger at one
            that makes up for it.
        power1, power2 : float or (steps,) array
            beta1**t and beta2**t as the step uses them.
        t : int or (steps,) array
            The number of the step, from 1.

        Returns
        -------
        tuple

        Raises
        ------
        NotImplementedError
            In the base class.
        """
        raise NotImplementedError

    def check_width(self, dtype: np.dtype) -> None:
        """Refuse settings that a dtype cannot hold: an eps that becomes 0, a step size that becomes inf.

        Parameters
        ----------
        dtype : np.dtype
            float32 or float64.

        Raises
        ------
        ValueError
            If a setting does not fit.
        """
        if self.rule not in RULES:
            place = "lookahead_nb.kernels.formulas.RULES"
            raise ValueError(f"{type(self).__name__}.rule must be a name of {place}, got {self.rule!r}")
        limits = np.finfo(dtype)
        decay = self.decay_schedule.peak
        for name, value in {"eps": getattr(self, "eps", 0.0), "weight_decay": decay}.items():
            if value > float(limits.max):
                raise ValueError(f"{name} must be at most {limits.max} for {dtype} params, got {value!r}")
        eps: Any = self.settings().get("eps", 1.0)
        if eps < limits.smallest_subnormal:
            raise ValueError(f"eps must be at least {limits.smallest_subnormal} for {dtype} params, got {eps!r}")
        peak = self.schedule.peak
        if max(self.scalars(peak, decay, *self.betas, 1)) > float(limits.max):
            raise ValueError(f"lr must make steps and decays below {limits.max} for {dtype} params, got {peak!r}")

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict of strings and numbers, the learning rate as its schedule.

        A schedule of the weight decay adds its own settings, whose names begin with ``weight_decay``.

        Returns
        -------
        dict
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "lr"}
        if isinstance(plain.get("weight_decay"), Schedule):
            shape = self.decay_schedule.settings()
            plain |= {"weight_decay": shape.pop("lr")} | {f"weight_decay_{name}": shape[name] for name in shape}
        return {"optimizer": type(self).__name__} | self.schedule.settings() | plain


@named_arguments
@dataclass(frozen=True, repr=False)
class SGD(InnerOptimizer):
    """Gradient descent, with heavy-ball or Nesterov momentum.

    ``b = momentum*b + d``, ``p - lr*b`` (Nesterov: ``p - lr*(d + momentum*b)``), d = grad + weight_decay*p. The
    velocity b does not contain lr.

    Parameters
    ----------
    lr : float or schedule
        At least 0.
    momentum : float
        In [0, 1).
    nesterov : bool
        Needs momentum above 0.
    weight_decay : float or schedule
        At least 0; L2 in the gradient (as in PyTorch; Keras decouples it).

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.

    Notes
    -----
    Source: Sutskever et al. 2013; defaults and form of ``torch.optim.SGD``.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9)
    """

    lr: float | Schedule = 1e-3
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float | Schedule = 0.0

    family = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov must be False without momentum, got True at momentum 0.0")

    @property
    def rule(self) -> str:
        """The name of the update rule in ``formulas.RULES``."""
        return "sgd_nesterov" if self.nesterov else "sgd_momentum" if self.momentum else "sgd"

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:  # noqa: ARG002 (one for all)
        """Return lr, weight_decay, momentum.

        Parameters
        ----------
        lr, weight_decay, power1, power2, t
            As in :meth:`InnerOptimizer.scalars`.

        Returns
        -------
        tuple
        """
        return lr, weight_decay, self.momentum


@named_arguments
@dataclass(frozen=True, repr=False)
class Adagrad(InnerOptimizer):
    """Adagrad: ``s = s + d**2``, ``p - lr*d/(sqrt(s) + eps)``, d = grad + weight_decay*p.

    Parameters
    ----------
    lr : float or schedule
        At least 0.
    eps : float
        Above 0.
    weight_decay : float or schedule
        At least 0; L2 in the gradient.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.

    Notes
    -----
    s starts at 0 (as in PyTorch; optax starts it at 0.1). Source: Duchi, Hazan & Singer 2011.
    """

    lr: float | Schedule = 1e-2
    _: KW_ONLY
    eps: float = 1e-10
    weight_decay: float | Schedule = 0.0

    family = "adagrad"
    squares_gradient = True

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:  # noqa: ARG002
        """Return lr, weight_decay, eps.

        Parameters
        ----------
        lr, weight_decay, power1, power2, t
            As in :meth:`InnerOptimizer.scalars`.

        Returns
        -------
        tuple
        """
        return lr, weight_decay, self.eps


@named_arguments
@dataclass(frozen=True, repr=False)
class RMSprop(InnerOptimizer):
    """RMSprop: ``s = rho*s + (1-rho)*d**2``, ``p - lr*d/(sqrt(s) + eps)``, d = grad + weight_decay*p.

    With momentum: ``b = momentum*b + d/(sqrt(s) + eps)``, ``p - lr*b``.

    Parameters
    ----------
    lr : float or schedule
        At least 0.
    rho : float
        In [0, 1); the default is PyTorch's 0.99 (optax and Keras: 0.9).
    eps : float
        Above 0, outside the root (as in PyTorch; optax and Keras put it inside).
    momentum : float
        In [0, 1).
    weight_decay : float or schedule
        At least 0; L2 in the gradient.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.

    Notes
    -----
    Source: Tieleman & Hinton 2012.
    """

    lr: float | Schedule = 1e-2
    _: KW_ONLY
    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float | Schedule = 0.0

    family = "rmsprop"
    squares_gradient = True

    @property
    def rule(self) -> str:
        """The name of the update rule in ``formulas.RULES``."""
        return "rmsprop_momentum" if self.momentum else "rmsprop"

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:  # noqa: ARG002
        """Return lr, weight_decay, eps, rho, 1 - rho, momentum.

        Parameters
        ----------
        lr, weight_decay, power1, power2, t
            As in :meth:`InnerOptimizer.scalars`.

        Returns
        -------
        tuple
        """
        return lr, weight_decay, self.eps, self.rho, 1 - self.rho, self.momentum


@named_arguments
@dataclass(frozen=True, repr=False)
class Adam(InnerOptimizer):
    """Adam: ``p - lr*m_hat/(sqrt(v_hat) + eps)``, m and v the averages of d and d**2, d = grad + weight_decay*p.

    Parameters
    ----------
    lr : float or schedule
        At least 0.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        Above 0; added to the corrected root (as in PyTorch and optax; Keras adds it to the uncorrected one).
    weight_decay : float or schedule
        At least 0; L2 in the gradient (as in PyTorch; Keras decouples it).

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.

    Notes
    -----
    Source: Kingma & Ba 2015, Algorithm 1.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.Adam(lr=3e-3)
    Adam(lr=0.003)
    """

    lr: float | Schedule = 1e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float | Schedule = 0.0

    family = "adam"
    squares_gradient = True

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:  # noqa: ARG002
        """Return the scalars of ``formulas.adam_update``.

        Parameters
        ----------
        lr, weight_decay, power1, power2, t
            As in :meth:`InnerOptimizer.scalars`.

        Returns
        -------
        tuple
        """
        return self._moments(lr, power1, power2, weight_decay)

    def _moments(self, lr: Any, power1: Any, power2: Any, decay: Any) -> tuple:
        root = math.sqrt if isinstance(power2, float) else np.sqrt  # of one step, or of all at once
        corrected = lr / (1 - power1), 1 / root(1 - power2)
        return self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, *corrected, self.eps, decay


@named_arguments
@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """AdamW: ``p - (lr*weight_decay*p + lr*m_hat/(sqrt(v_hat) + eps))``, m and v the averages of grad and grad**2.

    Parameters
    ----------
    lr : float or schedule
        At least 0.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        Above 0; added to the corrected root.
    weight_decay : float or schedule
        At least 0; the default is PyTorch's 0.01 (optax 1e-4, Keras 4e-3). It is multiplied by lr (PyTorch, optax;
        Loshchilov & Hutter: eta*lambda; TensorFlow Addons leaves lr out). With schedules of both, step t takes
        lr(t)*weight_decay(t) off the weights, as a fraction of them.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.

    Notes
    -----
    Decay and update are added before they touch p, so that lr*weight_decay = 1e-8 is not lost in float32. Where the
    gradient is zero (a dead unit, an absent word), rounding would lose it. A decay below 2**-17 = 7.6e-6 a step
    (float64: 2**-46) therefore waits in the state until 2**-17 is pending, and is applied as one lump, to all weights.
    At most that much is pending at the end of a run. Source: Loshchilov & Hutter 2019, Algorithm 2.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import numpy as np
    >>> params, grad = np.ones(3, np.float32), np.full(3, 0.5, np.float32)
    >>> opt = lnb.AdamW(lr=0.1, weight_decay=0.0)
    >>> opt.step(params, grad, opt.init(params))
    >>> params.tolist()
    [0.9000000357627869, 0.9000000357627869, 0.9000000357627869]
    """

    _: KW_ONLY
    weight_decay: float | Schedule = 1e-2

    family = "adamw"
    decouples_decay = True

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:  # noqa: ARG002
        """Return the scalars of ``formulas.adam_update``.

        Parameters
        ----------
        lr, weight_decay, power1, power2, t
            As in :meth:`InnerOptimizer.scalars`.

        Returns
        -------
        tuple
        """
        return self._moments(lr, power1, power2, lr * weight_decay)


@named_arguments
@dataclass(frozen=True, repr=False)
class ScheduleFreeAdamW(WithSlowWeights, InnerOptimizer):
    """Schedule-Free AdamW: ``z - lr*d``, ``x = (1-c)*x + c*z``, gradients at ``y = (1-beta1)*z + beta1*x``.

    ``d = g/(sqrt(v_hat) + eps) + weight_decay*y``, v the average of g**2. The step ``c = lr_t**2/sum(lr_i**2, i <= t)``
    makes x the mean of all z, weighted by lr**2; without warm-up c = 1/t. The params are y, the fast weights. The
    average x replaces the slow weights (in ``slow_weights``, and in the rows of ``train``): evaluate there. Lookahead
    cannot wrap this optimizer.

    Parameters
    ----------
    lr : float or schedule
        At least 0; a schedule must be constant, with or without warm-up, since x replaces a falling one.
    beta1 : float
        In (0, 1), the weight of x in y.
    beta2 : float
        In [0, 1).
    eps : float
        Above 0.
    weight_decay : float or schedule
        At least 0, multiplied by lr as in AdamW.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type or lies out of range.

    Notes
    -----
    Defaults are those of the authors. Source: Defazio et al. 2024, Algorithm 1; the bias correction as in
    :func:`formulas.schedule_free_adamw`. A small decay is taken off z in lumps, as in :class:`AdamW`, and then in
    full. In float32 y and x lag behind such a z without gradient: after 1e5 steps c*(z - y) is lost next to y.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.ScheduleFreeAdamW(lr=0.01).has_slow_weights
    True
    """

    lr: float | Schedule = 2.5e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float | Schedule = 0.0

    family = "schedule_free_adamw"
    squares_gradient = True
    decouples_decay = True

    def __post_init__(self) -> None:
        real_number("beta1", self.beta1, 0, 1, open_low=True, open_high=True)  # at 0 y would not depend on x
        super().__post_init__()
        if self.schedule.kind != "constant":
            raise ValueError(f"lr must be a number or a constant schedule, with or without warm-up, got {self.lr!r}")

    @property
    def outward(self) -> float:
        """The distance of x beyond y, seen from z, in units of y - z: (1-beta1)/beta1."""
        return (1 - self.beta1) / self.beta1

    def scalars(self, lr: Any, weight_decay: Any, power1: Any, power2: Any, t: Any) -> tuple:  # noqa: ARG002
        """Return the scalars of ``formulas.schedule_free_adamw``.

        Parameters
        ----------
        lr, weight_decay, power1, power2, t
            As in :meth:`InnerOptimizer.scalars`.

        Returns
        -------
        tuple
        """
        # The sum of lr**2 up to step t, over that of step t: lr grows like t in the warm-up and is constant after it.
        rising = np.minimum(t, max(self.schedule.warmup, 1))
        share = 1 / ((rising + 1) * (2 * rising + 1) / (6 * rising) + (t - rising))
        toward = lr * (1 - self.beta1 * (1 - share))
        root = 1 / np.sqrt(1 - power2)
        return self.beta2, 1 - self.beta2, root, self.eps, weight_decay, lr, share, toward

    def slow_from(self, fast: Any, state: Any) -> Any:
        """Return the average x as an array of the backend.

        Parameters
        ----------
        fast : (n,) array
            The params y.
        state : State

        Returns
        -------
        (n,) array
        """
        slow = state._backend.copy(fast)  # not zeros, which another stream would fill
        kernels_of(state._on_device).average(fast, state._s1, state._width.type(self.outward), slow)
        return slow
