"""Optimizers on flat buffers: frozen settings, their state, one step in place, the slow weights, exact checkpoints.

All arguments are checked here, once; the kernels below check nothing. An error leaves arrays and state as they were.

A rule turns its settings into the scalars of a step, which its formula takes. t : int, the number of the step, from 1;
power1, power2 : float, beta1**t and beta2**t as that step uses them.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, fields
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from lookahead_nb import cpu
from lookahead_nb.buffers import Buffer, backend_of, kernels_of, place_in_words
from lookahead_nb.checks import flag, one_of, real_number, whole_number
from lookahead_nb.cpu.adaptive import fitted
from lookahead_nb.formulas import INTERPOLATE, KEEP, RESET, RULES, STARTS_AT_WEIGHTS
from lookahead_nb.schedules import Schedule, constant

STEPS_AHEAD = 256  # their scalars are made at once: one by one they would cost as much as a step on 10,000 weights
INNER_STATES = {"keep": KEEP, "reset": RESET, "interpolate": INTERPOLATE}


# -------------------------------------------------------------------------------------------------------- states


class State:
    """What an optimizer remembers between steps; made by ``init`` or ``restore``, changed by ``step`` only.

    t : int, steps taken. slots : name -> (n,) array of the inner state, as ``formulas.RULES`` names them. power1,
    power2 : float, beta1**t and beta2**t for the bias corrections (reset and interpolated with the moments).
    """

    def __init__(self, optimizer, backend, size, width, device=None):
        self._optimizer, self._on_device, self._size, self._width = optimizer, backend.is_device, size, np.dtype(width)
        self._device, self._done = device, None  # on a GPU: its number, and the event after which all work is done
        self.t, self.power1, self.power2, self._synced_power1, self._synced_power2 = 0, 1.0, 1.0, 1.0, 1.0
        self._shows_slow = False
        used = self._slot_attributes().values()
        self._s1 = backend.zeros(size if "_s1" in used else 0, width)
        self._s2 = backend.zeros(size if "_s2" in used else 0, width)
        self._rule, self._gradient_limit = _inner(optimizer).rule, self._width.type(gradient_limit(optimizer, width))
        self._ahead = []  # what the coming steps need, the next one last
        self._own_buffers = self._own_memory = None

    def __getstate__(self):  # a copy has memory of its own
        return self.__dict__ | {"_own_buffers": None, "_own_memory": None, "_ahead": [], "_done": None}

    @property
    def _backend(self):
        return backend_of(self._on_device)

    @contextmanager
    def _turn(self, *arrays):
        """On a GPU: let what runs inside come after what is queued for the state and for these arrays of the backend.

        It is queued on the stream of the first array, and the host waits for none of it.
        """
        with self._backend.turn(self._device, arrays, self._done) as self._done:
            yield

    def _settle(self):
        """Wait until the work on the state is done, so that its arrays may be read on any stream."""
        if self._done is not None:
            self._done.synchronize()

    def _buffers(self):
        """Return the memory of the state, to compare with what a step is given; worked out once."""
        if self._own_buffers is None:
            arrays = {name: getattr(self, attribute) for name, attribute in self._parts()[1].items()}
            self._own_buffers = [Buffer(f"the state's {name}", a, writes=False) for name, a in arrays.items()]
        return self._own_buffers

    def _fits(self, params, grad):
        """Tell quickly whether a step can take these: plain host arrays like the state's, none sharing memory.

        Nearly every step passes here; whatever does not is looked at, and refused in words, one thing after another.
        """
        if self._own_memory is None:
            memory = np.array([(b.address, b.end) for b in self._buffers()], np.int64).reshape(-1, 2)
            self._own_memory = cpu.are_apart(self._width.type), memory
        are_apart, memory = self._own_memory
        return (
            type(params) is type(grad) is np.ndarray
            and params.dtype == grad.dtype == self._width
            and params.shape == grad.shape == (self._size,)
            and params.flags.carray  # contiguous, aligned and writeable
            and grad.flags.c_contiguous
            and grad.flags.aligned
            and not (self._on_device or self._shows_slow)
            and are_apart(params, grad, memory)
        )

    @property
    def slots(self):
        """The inner state by name, as the arrays themselves."""
        self._settle()
        return {name: getattr(self, attribute) for name, attribute in self._slot_attributes().items()}

    def _slot_attributes(self):
        return dict(zip(RULES[_inner(self._optimizer).rule][1], ("_s1", "_s2"), strict=False))

    def _next_step(self):
        """Return the scalars of the next step, how it syncs (see :func:`_hows`) or None, steps and powers after it."""
        if not self._ahead:
            opt, steps = self._optimizer, range(self.t + 1, self.t + 1 + STEPS_AHEAD)
            rates, period = np.array([*map(_inner(opt).schedule, steps)]), getattr(opt, "sync_period", math.inf)
            powers = (self.power1, self.power2, self._synced_power1, self._synced_power2)
            table, after = _rows(opt, rates, self._width.type, self.t, powers)
            coming = zip(table, steps, after[1:].tolist(), strict=True)
            hows = _hows(opt, self._width.type)
            self._ahead = [
                (row, None if t % period else hows[(t // period - 1) % len(hows)], t, reached)
                for row, t, reached in coming
            ][::-1]
        return self._ahead[-1]

    def _arrive(self, t, powers):
        """Take over the clock, where a compiled run has moved the arrays."""
        self.t, self._ahead = t, []
        self.power1, self.power2, self._synced_power1, self._synced_power2 = powers

    def _parts(self):
        """Return (numbers, arrays): the attributes that make up the state, by the name they are stored under."""
        return {"t": "t", "power1": "power1", "power2": "power2"}, self._slot_attributes()

    def to_arrays(self):
        """Return the state as a dict of plain arrays and numbers, copies that ``np.savez`` takes without pickle."""
        numbers, arrays = self._parts()
        stored = {"settings": np.array(_canonical(self._optimizer)), "size": self._size, "width": str(self._width)}
        stored |= {name: getattr(self, attribute) for name, attribute in numbers.items()}
        self._settle()
        with self._backend.on(self._device):
            return stored | {name: self._backend.to_host(getattr(self, at)) for name, at in arrays.items()}

    def _fill(self, stored):
        numbers, arrays = self._parts()
        expected = {"settings", "size", "width", *numbers, *arrays}
        if set(stored) != expected:
            raise ValueError(f"arrays must hold exactly {sorted(expected)}, not {sorted(stored)}")
        read = {}
        for name, attribute in numbers.items():
            number = np.asarray(stored[name])[()]
            read[attribute] = whole_number(name, number, 0) if name == "t" else real_number(name, number, 0, 1)
        for name, attribute in arrays.items():
            array = np.asarray(stored[name])
            if array.shape != (self._size,) or array.dtype != self._width:
                wanted = f"a ({self._size},) {self._width} array"
                raise ValueError(f"arrays[{name!r}] must be {wanted}, not {array.shape} {array.dtype}")
            with self._backend.on(self._device):
                read[attribute] = self._backend.from_host(np.ascontiguousarray(array))
        for attribute, value in read.items():
            setattr(self, attribute, value)
        self._own_buffers, self._own_memory, self._ahead = None, None, []
        return self


class LookaheadState(State):
    """The state of :class:`Lookahead`: the inner state, the slow weights and, under "interpolate", the last sync.

    slow : (n,) array, the slow weights, a read-only view on the host. slow_steps : list of float, the slow steps of all
    syncs since ``init`` or ``restore``. The rest as in :class:`State`, and made by the same. errors : ValueError for an
    adaptive slow step on a GPU.
    """

    def __init__(self, optimizer, backend, size, width, device=None):
        super().__init__(optimizer, backend, size, width, device)
        interpolates = optimizer.inner_state == "interpolate"
        self._slow = backend.zeros(size, width)
        self._a1 = backend.zeros(self._s1.shape[0] if interpolates else 0, width)
        self._a2 = backend.zeros(self._s2.shape[0] if interpolates else 0, width)
        self.slow_steps = []
        if optimizer.adapts and backend.is_device:
            raise ValueError("slow_step_size must be a number or numbers for params on a GPU, not 'adaptive'")

    @property
    def slow(self):
        """The slow weights."""
        if self._backend.is_device:
            self._settle()
            return self._slow
        view = self._slow.view()
        view.flags.writeable = False
        return view

    def _step_and_adapt(self, p, g, row):
        """Take a step, fit the slow step and sync with it; adaptive steps are for the host only."""
        opt, kernels, width, before = self._optimizer, kernels_of(False), self._width.type, p.copy()
        kernels.step(self._rule, p, g, self._s1, self._s2, row)
        lr, lowest = opt.inner.schedule(self.t + 1), opt.slow_step_size.lowest
        step, rest = fitted(before, p, self._slow, g, self._s2, row, lr, lowest)
        anchors = (self._slow, self._a1, self._a2)
        kernels.sync(p, self._s1, self._s2, *anchors, width(step), width(rest), opt.pull_back, KEEP)
        self.slow_steps.append(step)

    def _parts(self):
        numbers, arrays = super()._parts()
        if self._optimizer.inner_state == "interpolate":
            numbers |= {"synced_power1": "_synced_power1", "synced_power2": "_synced_power2"}
            arrays |= {f"synced_{name}": f"_a{i}" for i, name in enumerate(arrays, 1)}
        return numbers, arrays | {"slow": "_slow"}


# ------------------------------------------------------------------------------------------------------ settings


class Optimizer:
    """What inner rules and Lookahead share: ``init``, ``step``, ``restore``."""

    _state = State

    def init(self, params):
        """Return a fresh state for these weights; slow weights, and z of Schedule-Free, start as a copy of them.

        params : (n,) float32 or float64, C-contiguous, writeable; a NumPy array, or on a GPU anything with
        ``__cuda_array_interface__``, whose device the state shares. Call it again after loading other weights.
        errors : TypeError, ValueError; ``checks.NoDeviceError`` where no GPU can be used.
        """
        buffer = Buffer("params", params, writes=True)
        _check_width(_inner(self), buffer.dtype)
        backend, array = buffer.backend(), buffer.array()
        with backend.on(buffer.device):
            state = self._state(self, backend, buffer.size, buffer.dtype, buffer.device)
        with state._turn(array):
            for name, attribute in state._slot_attributes().items():
                if name in STARTS_AT_WEIGHTS:
                    setattr(state, attribute, backend.copy(array))
            if isinstance(state, LookaheadState):
                state._slow = backend.copy(array)
        return state

    def step(self, params, grad, state, *, check_finite=True):
        """Take one step in place: params and state move, grad is only read.

        On a GPU it runs on the stream that params came with, after what is queued on those of grad and of the step
        before; the host waits only to check.

        params : as in ``init``, the fast weights; grad : the same length and dtype, at params; state : from ``init``.
        check_finite : bool; True refuses, before anything changes, a gradient that is not finite or (rules with a
        second moment) whose square is not. False saves one read of the gradient and lets such values through.
        errors : TypeError, ValueError; FloatingPointError naming the step; RuntimeError inside ``slow_weights``.
        """
        flag("check_finite", check_finite)
        quickly = isinstance(state, State) and state._optimizer is self and state._fits(params, grad)
        if quickly:
            self._take(params, grad, state, check_finite)
        else:
            p, g = self._enter(params, grad, state)
            with state._turn(p, g):
                self._take(p, g, state, check_finite)

    def _take(self, p, g, state, check_finite):
        """Take the step, on arrays as the backend takes them."""
        kernels = kernels_of(state._on_device)
        if check_finite:
            at = kernels.first_beyond(g, state._gradient_limit)
            if at >= 0:
                value = float(state._backend.to_host(g[at : at + 1])[0])
                what = "has no finite square" if math.isfinite(value) else "is not finite"
                raise FloatingPointError(f"grad[{at}] = {value!r} {what} at step {state.t + 1}; nothing was changed")
        row, how, t, powers = state._next_step()
        if how is None:
            kernels.step(state._rule, p, g, state._s1, state._s2, row)
        elif how:
            slow_step, how = how
            anchors = (state._slow, state._a1, state._a2)
            kernels.step_and_sync(state._rule, p, g, state._s1, state._s2, row, *anchors, *how)
            state.slow_steps.append(slow_step)
        else:
            state._step_and_adapt(p, g, row)
        state._ahead.pop()
        state.t, (state.power1, state.power2, state._synced_power1, state._synced_power2) = t, powers

    def restore(self, arrays, *, like=None):
        """Return the state that ``to_arrays`` stored, for an exact resume at any phase of the k-cycle.

        arrays : mapping, what ``to_arrays`` returned or ``np.load`` of it. like : the params, to place the state on
        their device; None: the host. errors : TypeError, ValueError for missing parts and for other settings.
        """
        stored = _mapping(arrays)
        settings, mine = str(np.asarray(stored.get("settings", ""))[()]), _canonical(self)
        if settings != mine:
            raise ValueError(f"arrays must hold a state of {mine}, not of {settings or 'nothing'}")
        size = whole_number("arrays['size']", np.asarray(stored.get("size", -1))[()], 0)
        width = one_of("arrays['width']", str(np.asarray(stored.get("width", ""))[()]), ("float32", "float64"))
        place = None if like is None else Buffer("like", like, writes=False)
        backend, device = (cpu, None) if place is None else (place.backend(), place.device)
        with backend.on(device):
            state = self._state(self, backend, 0, width, device)  # no memory for a size that the arrays do not have
        state._size = size
        return state._fill(stored)

    def _enter(self, params, grad, state):
        p, g = Buffer("params", params, writes=True), Buffer("grad", grad, writes=False)
        self._check_state(p, state)
        if (g.size, g.dtype, g.on_device) != (p.size, p.dtype, p.on_device):
            raise ValueError(f"grad must be {p.describe()} like params, not {g.describe()}")
        if g.device != p.device:
            raise ValueError(f"grad must be on CUDA device {p.device} like params, not on {g.device}")
        if p.overlaps(g):
            raise ValueError("params must be memory of its own, not shared with grad")
        for theirs in state._buffers():
            for mine in (p, g):
                if mine.overlaps(theirs):
                    raise ValueError(f"{mine.name} must be memory of its own, not shared with {theirs.name}")
        return p.array(), g.array()

    def _check_state(self, p, state):
        if not isinstance(state, State):
            raise TypeError(f"state must come from init or restore, not {type(state).__name__}")
        if state._optimizer is not self and state._optimizer != self:
            raise ValueError(f"state must belong to {self!r}, not to {state._optimizer!r}")
        if (state._size, state._width, state._on_device) != (p.size, p.dtype, p.on_device):
            own = f"({state._size},) {state._width} array on {place_in_words(state._on_device)}"
            raise ValueError(f"params must be a {own} like the state, not {p.describe()}")
        if state._device != p.device:
            raise ValueError(f"params must be on CUDA device {state._device} like the state, not on {p.device}")
        if state._shows_slow:
            raise RuntimeError("params hold the slow weights: leave `with slow_weights(...)` before going on")


class WithSlowWeights(Optimizer):
    """An optimizer with a second set of weights, the one to evaluate: ``slow_weights`` shows it."""

    @contextmanager
    def slow_weights(self, params, state):
        """Return a context in which params hold the slow weights, and exactly the fast ones again after it.

        Holds on an exception too. ``step`` and a second ``slow_weights`` inside the block raise RuntimeError.

        params, state : as in :meth:`step`. errors : TypeError, ValueError, RuntimeError.
        """
        p = Buffer("params", params, writes=True)
        self._check_state(p, state)
        backend, array = state._backend, p.array()
        with state._turn(array):
            fast = backend.copy(array)
            slow = self._slow(fast, state)
        state._shows_slow = True
        try:
            with state._turn(array):
                backend.assign(array, slow)
            yield
        finally:
            array = p.array()  # by now it may be on another stream
            with state._turn(array):
                backend.assign(array, fast)
            state._shows_slow = False

    def _slow(self, fast, state):
        """Return the slow weights, given the fast ones as the backend holds them."""
        raise NotImplementedError


INNER_RULES: dict[str, Any] = {}  # their classes by name, in the order in which they stand below


@dataclass(frozen=True)
class _Rule(Optimizer):
    """What the inner rules share: a learning rate that is a number or a schedule."""

    lr: float | Schedule
    _: KW_ONLY

    family: ClassVar[str]
    squares_gradient: ClassVar[bool] = False

    def __init_subclass__(cls):
        INNER_RULES[cls.__name__] = cls

    @property
    def rule(self):
        """The name of the update rule in ``formulas.RULES``."""
        momentum = "_momentum" if getattr(self, "momentum", 0) else ""
        return self.family + ("_nesterov" if getattr(self, "nesterov", False) else momentum)

    def __post_init__(self):
        lr = self.lr
        if not isinstance(lr, Schedule):
            object.__setattr__(self, "lr", real_number("lr", lr, 0))
        elif lr == constant(lr.peak):  # one form for one meaning
            object.__setattr__(self, "lr", lr.peak)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("beta1", "beta2", "momentum", "rho"):
                value = real_number(field.name, value, 0, 1, open_high=True)
            elif field.name == "eps":
                value = real_number("eps", value, 0, open_low=True)
            elif field.name == "weight_decay":
                value = real_number("weight_decay", value, 0)
            elif field.name == "nesterov":
                value = flag("nesterov", value)
            object.__setattr__(self, field.name, value)

    @cached_property
    def schedule(self):
        """The learning rate as a schedule."""
        return self.lr if isinstance(self.lr, Schedule) else constant(self.lr)

    def settings(self):
        """Return all settings as a flat dict of strings and numbers, the learning rate by its schedule."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "lr"}
        s = self.schedule
        lr = {"lr": s.peak, "schedule": s.kind, "schedule_steps": s.steps, "warmup": s.warmup}
        return {"optimizer": type(self).__name__} | lr | plain


@dataclass(frozen=True)
class SGD(_Rule):
    """Gradient descent, with heavy-ball or Nesterov momentum.

    ``b = momentum*b + d``, ``p - lr*b`` (Nesterov: ``p - lr*(d + momentum*b)``), d = grad + weight_decay*p.

    lr : float at least 0, or a schedule; momentum : float in [0, 1); nesterov : bool, needs momentum above 0;
    weight_decay : float at least 0, L2 in the gradient (PyTorch; Keras decouples it). The velocity does not contain lr.
    errors : TypeError, ValueError. Source: Sutskever et al. 2013; defaults and form of ``torch.optim.SGD``.
    """

    lr: float | Schedule = 1e-3
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    family = "sgd"

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov must be False without momentum, not True at momentum 0.0")

    def scalars(self, lr, power1, power2, t):  # noqa: ARG002 (one signature for all rules)
        """Return the scalars of one step in float64, as the formula of the rule takes them."""
        return lr, self.weight_decay, self.momentum


@dataclass(frozen=True)
class Adagrad(_Rule):
    """Adagrad: ``s = s + d**2``, ``p - lr*d/(sqrt(s) + eps)``, d = grad + weight_decay*p.

    lr : float at least 0, or a schedule; eps : float above 0; weight_decay : float at least 0, L2 in the gradient. s
    starts at 0 (PyTorch; optax starts it at 0.1). errors : TypeError, ValueError. Source: Duchi, Hazan & Singer 2011.
    """

    lr: float | Schedule = 1e-2
    _: KW_ONLY
    eps: float = 1e-10
    weight_decay: float = 0.0

    family = "adagrad"
    squares_gradient = True

    def scalars(self, lr, power1, power2, t):  # noqa: ARG002
        """Return the scalars of one step in float64, as the formula of the rule takes them."""
        return lr, self.weight_decay, self.eps


@dataclass(frozen=True)
class RMSprop(_Rule):
    """RMSprop: ``s = rho*s + (1-rho)*d**2``, ``p - lr*d/(sqrt(s) + eps)``, d = grad + weight_decay*p.

    With momentum: ``b = momentum*b + d/(sqrt(s) + eps)``, ``p - lr*b``.

    lr : float at least 0, or a schedule; rho, momentum : float in [0, 1); eps : float above 0, outside the root
    (PyTorch; optax and Keras put it inside); weight_decay : float at least 0, L2 in the gradient. rho defaults to
    PyTorch's 0.99 (optax and Keras: 0.9). errors : TypeError, ValueError. Source: Tieleman & Hinton 2012.
    """

    lr: float | Schedule = 1e-2
    _: KW_ONLY
    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    family = "rmsprop"
    squares_gradient = True

    def scalars(self, lr, power1, power2, t):  # noqa: ARG002
        """Return the scalars of one step in float64, as the formula of the rule takes them."""
        return lr, self.weight_decay, self.eps, self.rho, 1 - self.rho, self.momentum


@dataclass(frozen=True)
class Adam(_Rule):
    """Adam: ``p - lr*m_hat/(sqrt(v_hat) + eps)``, m and v the averages of d and d**2, d = grad + weight_decay*p.

    lr : float at least 0, or a schedule; beta1, beta2 : float in [0, 1); eps : float above 0, added to the corrected
    root (PyTorch, optax; Keras adds it to the uncorrected one); weight_decay : float at least 0, L2 in the gradient
    (PyTorch; Keras decouples it). errors : TypeError, ValueError. Source: Kingma & Ba 2015, Algorithm 1.
    """

    lr: float | Schedule = 1e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    family = "adam"
    squares_gradient = True

    def scalars(self, lr, power1, power2, t):  # noqa: ARG002
        """Return the scalars of one step in float64, as the formula of the rule takes them."""
        return self._moments(lr, power1, power2, self.weight_decay)

    def _moments(self, lr, power1, power2, decay):
        root = math.sqrt if isinstance(power2, float) else np.sqrt  # of one step, or of all at once
        corrected = lr / (1 - power1), 1 / root(1 - power2)
        return self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, *corrected, self.eps, decay


@dataclass(frozen=True)
class AdamW(Adam):
    """AdamW: ``p - (lr*weight_decay*p + lr*m_hat/(sqrt(v_hat) + eps))``, m and v the averages of grad and grad**2.

    The decay is multiplied by lr (PyTorch, optax; Loshchilov & Hutter: eta*lambda; TensorFlow Addons leaves lr out) and
    added to the update before both touch p, so that lr*weight_decay = 1e-8 is not lost in float32.

    lr : float at least 0, or a schedule; beta1, beta2 : float in [0, 1); eps : float above 0; weight_decay : float at
    least 0, default 0.01 (PyTorch; optax 1e-4, Keras 4e-3). errors : TypeError, ValueError. Source: Loshchilov & Hutter
    2019, Algorithm 2.
    """

    _: KW_ONLY
    weight_decay: float = 1e-2

    family = "adamw"

    def scalars(self, lr, power1, power2, t):  # noqa: ARG002
        """Return the scalars of one step in float64, as the formula of the rule takes them."""
        return self._moments(lr, power1, power2, lr * self.weight_decay)


@dataclass(frozen=True)
class ScheduleFreeAdamW(WithSlowWeights, _Rule):
    """Schedule-Free AdamW: ``z - lr*d``, ``x = (1-c)*x + c*z``, gradients at ``y = (1-beta1)*z + beta1*x``.

    ``d = g/(sqrt(v_hat) + eps) + weight_decay*y``, v the average of g**2; the step ``c = lr_t**2/sum(lr_i**2, i <= t)``
    makes x the mean of all z, weighted by lr**2: without warm-up c = 1/t. The params are y, the fast weights; x, the
    average, takes the place of the slow ones (``slow_weights``, and the rows of ``train``): evaluate there.

    lr : float at least 0, or ``schedules.constant`` with a warm-up: a falling one is what x stands in for; beta1 :
    float in (0, 1), the share of x in y; beta2 : float in [0, 1); eps : float above 0; weight_decay : float at least 0,
    times lr as in AdamW. Defaults are those of the authors. Lookahead does not go around it. errors : TypeError,
    ValueError. Source: Defazio et al. 2024, Algorithm 1; the bias correction as in
    :func:`formulas.schedule_free_adamw`.
    """

    lr: float | Schedule = 2.5e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    family = "schedule_free_adamw"
    squares_gradient = True

    def __post_init__(self):
        real_number("beta1", self.beta1, 0, 1, open_low=True, open_high=True)  # at 0 the average would leave no trace
        super().__post_init__()
        if self.schedule.kind != "constant":
            raise ValueError(f"lr must be a number or a constant schedule, with or without warm-up, not {self.lr!r}")

    @property
    def outward(self):
        """How far x lies beyond y, seen from z, in units of y - z: (1-beta1)/beta1."""
        return (1 - self.beta1) / self.beta1

    def scalars(self, lr, power1, power2, t):  # noqa: ARG002
        """Return the scalars of one step in float64, as the formula of the rule takes them."""
        # The squares of lr up to step t, over that of step t: t**2 in the warm-up, all alike behind it.
        rising = np.minimum(t, max(self.schedule.warmup, 1))
        share = 1 / ((rising + 1) * (2 * rising + 1) / (6 * rising) + (t - rising))
        toward = lr * (1 - self.beta1 * (1 - share))
        root = 1 / np.sqrt(1 - power2)
        return self.beta2, 1 - self.beta2, root, self.eps, self.weight_decay, lr, share, toward

    def _slow(self, fast, state):
        slow = state._backend.copy(fast)  # and not zeros, which another stream would bring
        kernels_of(state._on_device).average(fast, state._s1, state._width.type(self.outward), slow)
        return slow


# ------------------------------------------------------------------------------------------------------ Lookahead


@dataclass(frozen=True)
class Adaptive:
    """The slow step at which a quadratic model of the loss is lowest, worked out anew at every sync.

    ``step = d.(A(before - slow) - g) / d.A d``, d = fast - slow, from the gradient g that the step before the sync has
    taken at ``before``: no gradient more. The diagonal curvature is that of AdamW's own metric, A = (sqrt(v_hat) +
    eps)/lr; without momentum and decay the step is then 1. The step is rounded to millionths.

    lowest : float from 1e-6 to 1, the least step; the largest is 1. errors : TypeError, ValueError. Source: Zhang et
    al. 2019, proposition 1; they take the Fisher matrix for A, which as v_hat or batch_size*v_hat gives steps beyond
    both ends nearly everywhere.
    """

    lowest: float = 0.1

    def __post_init__(self):
        object.__setattr__(self, "lowest", real_number("lowest", self.lowest, 1e-6, 1))


@dataclass(frozen=True, init=False)
class Lookahead(WithSlowWeights):
    """Lookahead around an inner rule: after steps k, 2k, ... ``slow = rest*slow + step*fast``, then ``fast = slow``.

    inner : an inner rule. sync_period : int k, at least 1. slow_step_size : float in [0, 1], the step of the slow
    weights towards the fast ones; or a sequence of such numbers, taken sync after sync and over again; or "adaptive",
    which is ``Adaptive()`` and needs AdamW inside. retention : float in [0, 1], 1 - slow_step_size, the article's
    alpha; give one of the two, or neither for 0.5, the one value where the conventions agree. inner_state : what a sync
    does to the inner state: "keep", "reset" (as fresh from ``init``) or "interpolate" (state = step*state + rest*state
    at the last sync; bias corrections go along). pull_back : bool; False never moves the fast weights, so that the slow
    ones are a plain average of them, the control for what averaging alone does; it allows only inner_state "keep".

    slow_step_size 1 is the inner rule bit for bit; 0 restores the start bit for bit at every sync.
    errors : TypeError, ValueError. Source: Zhang, Lucas, Hinton & Ba 2019, Algorithm 1.
    """

    inner: _Rule
    sync_period: int
    slow_step_size: float | tuple[float, ...] | Adaptive
    inner_state: str
    pull_back: bool

    _state = LookaheadState

    def __init__(
        self, inner, *, sync_period=5, slow_step_size=None, retention=None, inner_state="keep", pull_back=True
    ):
        if not isinstance(inner, _Rule) or isinstance(inner, WithSlowWeights):
            taken = [name for name, rule in INNER_RULES.items() if not issubclass(rule, WithSlowWeights)]
            raise TypeError(f"inner must be one of {', '.join(taken)}, not {inner!r}")
        if slow_step_size is not None and retention is not None:
            given = f"slow_step_size={slow_step_size!r} and retention={retention!r}"
            raise ValueError(f"slow_step_size must come without retention (one is 1 minus the other), not {given}")
        if retention is not None:
            slow_step_size = _complement(real_number("retention", retention, 0, 1))
        step = _slow_step_size(0.5 if slow_step_size is None else slow_step_size)
        set_ = object.__setattr__
        set_(self, "inner", inner)
        set_(self, "sync_period", whole_number("sync_period", sync_period, 1))
        set_(self, "slow_step_size", step)
        set_(self, "inner_state", one_of("inner_state", inner_state, tuple(INNER_STATES)))
        set_(self, "pull_back", flag("pull_back", pull_back))
        if not self.pull_back and inner_state != "keep":
            raise ValueError(f"inner_state must be 'keep' without pull-back, not {inner_state!r}")
        if self.adapts:
            if type(inner) is not AdamW:
                raise ValueError(f"inner must be AdamW for an adaptive slow_step_size, not {inner!r}")
            if not self.pull_back:
                raise ValueError("pull_back must be True for an adaptive slow_step_size, not False")
            if inner_state != "keep":
                raise ValueError(f"inner_state must be 'keep' for an adaptive slow_step_size, not {inner_state!r}")

    @property
    def adapts(self):
        """Whether the slow step is worked out at every sync."""
        return isinstance(self.slow_step_size, Adaptive)

    @property
    def shares(self):
        """What a sync takes of the fast and of the slow weights, pairs of float, in turn; none where it adapts."""
        size = self.slow_step_size
        if isinstance(size, Adaptive):
            return ()
        return tuple((each, _complement(each)) for each in (size if isinstance(size, tuple) else (size,)))

    @property
    def retention(self):
        """How much of the slow weights a sync keeps: 1 - slow_step_size, as a decimal; NaN where that is no number."""
        return self.shares[0][1] if len(self.shares) == 1 else math.nan

    def settings(self):
        """Return all settings as a flat dict of strings and numbers, the inner rule's among them."""
        size = self.slow_step_size
        own: dict[str, object] = {"sync_period": self.sync_period, "slow_step_size": None, "retention": None}
        if isinstance(size, Adaptive):
            own |= {"slow_steps": "adaptive", "lowest_step": size.lowest}
        elif isinstance(size, tuple):
            own |= {"slow_steps": " ".join(map(repr, size))}
        else:
            own |= {"slow_step_size": size, "retention": self.retention}
        own |= {"inner_state": self.inner_state, "pull_back": self.pull_back}
        inner = self.inner.settings()
        return inner | {"optimizer": f"Lookahead({inner['optimizer']})"} | own

    def _slow(self, fast, state):  # noqa: ARG002 (those of Schedule-Free follow from the fast ones)
        return state._slow


# ------------------------------------------------------------------------------------------- scalars of the steps


def step_table(optimizer, steps, width):
    """Return the scalars of steps 1..steps of a fresh run, (steps, 8), the same bits as ``step`` uses.

    Also returns the powers (power1, power2, and those of the last sync) after 0..steps steps, (steps + 1, 4) float64.

    optimizer : an inner rule or Lookahead; steps : int, at least 1; width : np.float32 or np.float64.
    """
    return _rows(optimizer, _inner(optimizer).schedule.rates(steps), width)


def _rows(optimizer, rates, width, t=0, powers=(1.0, 1.0, 1.0, 1.0)):
    """Return what :func:`step_table` does for the steps after t, from these powers on and with these learning rates."""
    inner, steps = _inner(optimizer), len(rates)
    syncs = (optimizer.inner_state, optimizer.sync_period) if isinstance(optimizer, Lookahead) else ("keep", 0)
    shares = optimizer.shares if syncs[0] == "interpolate" else ()
    betas = getattr(inner, "beta1", 1.0), getattr(inner, "beta2", 1.0)
    (used1, after1, synced1), (used2, after2, synced2) = (
        _powers(beta, steps, *syncs, shares, t, *start)
        for beta, start in zip(betas, (powers[::2], powers[1::2]), strict=True)
    )
    table = np.zeros((steps, 8), width)  # made in float64 and rounded once
    for i, scalar in enumerate(inner.scalars(rates, used1, used2, np.arange(t + 1, t + steps + 1))):
        table[:, i] = scalar
    return table, np.stack([after1, after2, synced1, synced2], axis=1)


@lru_cache(64)
def _powers(beta, steps, inner_state, period, shares, t, power, at_sync):
    """Return beta**t as the steps after t use it, and after 0..steps of them: itself, and at the last sync."""
    if inner_state == "keep":
        after = np.multiply.accumulate([power, *[beta] * steps])
        return after[1:], after, np.full(steps + 1, at_sync)
    used, after, synced = np.empty(steps), np.full(steps + 1, power), np.full(steps + 1, at_sync)
    for i in range(steps):
        used[i] = after[i + 1] = after[i] * beta
        synced[i + 1] = synced[i]
        if (t + i + 1) % period == 0:
            after[i + 1] = 1.0
            if inner_state == "interpolate":
                share, rest = shares[((t + i + 1) // period - 1) % len(shares)]
                after[i + 1] = share * used[i] + rest * synced[i]
            synced[i + 1] = synced[i] if inner_state == "reset" else after[i + 1]
    return used, after, synced


def gradient_limit(optimizer, dtype):
    """Return the largest gradient a step takes: above it g, or for a rule with a second moment g**2, is not finite.

    optimizer : an inner rule or Lookahead; dtype : float32 or float64.
    """
    largest = float(np.finfo(dtype).max)
    return math.sqrt(largest) * 0.999 if _inner(optimizer).squares_gradient else largest


def _hows(optimizer, width):
    """Return each of the slow steps that a Lookahead takes in turn, and (size, rest, pull_back, inner_state) for it.

    A Lookahead that adapts has one such pair, an empty one.
    """
    if not isinstance(optimizer, Lookahead) or optimizer.adapts:
        return ((),)
    how = optimizer.pull_back, INNER_STATES[optimizer.inner_state]
    return tuple((size, (width(size), width(rest), *how)) for size, rest in optimizer.shares)


def _slow_step_size(value):
    if isinstance(value, Adaptive):
        return value
    if isinstance(value, str) and value == "adaptive":
        return Adaptive()
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        steps = tuple(real_number(f"slow_step_size[{i}]", each, 0, 1) for i, each in enumerate(value))
        if not steps:
            raise ValueError("slow_step_size must hold at least one number, not none")
        return steps if len(set(steps)) > 1 else steps[0]  # one form for one meaning
    return real_number("slow_step_size", value, 0, 1)


def _inner(optimizer):
    return optimizer.inner if isinstance(optimizer, Lookahead) else optimizer


def _check_width(inner, dtype):
    """Refuse settings that a width cannot hold: an eps that becomes 0, a step size that becomes inf."""
    limits = np.finfo(dtype)
    if 0 < getattr(inner, "eps", 1) < limits.smallest_subnormal:
        raise ValueError(f"eps must be at least {limits.smallest_subnormal} for {dtype} params, not {inner.eps!r}")
    peak = inner.schedule.peak
    scalars = inner.scalars(peak, getattr(inner, "beta1", 0.0), getattr(inner, "beta2", 0.0), 1)
    if max(scalars) > float(limits.max):
        raise ValueError(f"lr must make steps and decays below {limits.max} for {dtype} params, not {peak!r}")


@lru_cache(1024)
def _complement(value):
    return float(1 - Fraction(repr(value)))  # of decimals: 1 - 0.9 is 0.1 here, not 0.09999999999999998


def _canonical(optimizer):
    return json.dumps(optimizer.settings(), sort_keys=True)


def _mapping(arrays):
    try:
        return {str(name): arrays[name] for name in arrays}
    except (TypeError, KeyError, IndexError):
        raise TypeError(f"arrays must be a mapping of names to arrays, not {type(arrays).__name__}") from None
