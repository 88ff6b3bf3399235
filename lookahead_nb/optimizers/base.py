"""The common base of all optimizers: settings that make a state, a step in place, exact checkpoints.

All arguments are checked here, once; the kernels check nothing. An error leaves arrays and state unchanged.

A step is all or nothing for every exception, Ctrl-C too. On the host it is one compiled call that counts itself. All
else that a step changes follows from the count, or is replaced by one assignment. On a GPU, interrupted work leaves a
mark. The next use of the state then reads from the device whether the step was launched.

A second thread that uses the state at the same time is refused ahead of any change. On the host each compiled step
claims its number on the clock, on a GPU the mark names the thread.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from threading import get_ident
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lookahead_nb.checks import flag, one_of, real_number, shown, whole_number
from lookahead_nb.display import shown_together
from lookahead_nb.kernels import cpu
from lookahead_nb.kernels.cpu.step import AT_ONCE
from lookahead_nb.kernels.formulas import RULES, STARTS_AT_WEIGHTS
from lookahead_nb.optimizers.buffers import Buffer, backend_of, kernels_of, place_in_words
from lookahead_nb.optimizers.coefficients import (
    FRESH,
    MODES,
    NO_SYNC,
    Carried,
    StepScalars,
    Sync,
    gradient_limit,
    least_decay,
    rows_with_sync,
)
from lookahead_nb.optimizers.pictures import of_schedule, of_syncs

STEPS_AHEAD = 256  # their scalars are computed together: one by one they would cost as much as a step on 10,000 weights
_ALWAYS_SHOWN = ("sync_period", "slow_step_size", "decay")  # other settings are printed where they are no default
MOST_STEPS = 2**62  # of a checkpoint: beyond any run, and with STEPS_AHEAD still an int64


class Slots(NamedTuple):
    """The arrays of a state as the kernels accept them; an unused one has no elements.

    Attributes
    ----------
    s1, s2 : (n,) or (0,) array
        The inner state, in the order of ``formulas.RULES``.
    slow : (n,) or (0,) array
        The slow weights.
    a1, a2 : (n,) or (0,) array
        The inner state at the last sync; with outer momentum a1 is the velocity of the slow weights.
    """

    s1: Any
    s2: Any
    slow: Any
    a1: Any
    a2: Any


class UpcomingStep(NamedTuple):
    """The numbers of a step, computed ahead.

    Attributes
    ----------
    row : (8,) or (10,) array
        The scalars of the step. With a sync there are ten, as ``step_and_sync`` accepts them, unless the slow step is
        fitted.
    sync : tuple or None
        The kind of the sync as ``step_and_sync`` accepts it. Where the slow step is fitted, its place in
        ``Stretch.slow_steps``. None without a sync.
    t : int
        Steps taken after the step.
    """

    row: np.ndarray
    sync: tuple | None
    t: int


class Stretch(NamedTuple):
    """A stretch of consecutive steps, computed ahead; a state moves on to the next one by a single assignment.

    Attributes
    ----------
    clock : (1,) int64 array
        Steps taken; ``~steps`` while the next one is under way, or the block of ``slow_weights``. All stretches up to
        ``State.arrive`` share it.
    counter : (1,) int64 array
        Where a kernel counts its step: the clock itself, on a GPU the state's marker.
    first : int
        Steps taken ahead of the stretch.
    steps : list of UpcomingStep
        Empty ahead of the first step of a state.
    scalars : StepScalars
        Gives what is carried over after each step of the stretch.
    slow_steps : (syncs,) float64 array
        The slow steps of the syncs in the stretch. A fitted one is NaN until its sync writes it.
    syncs : int
        Syncs ahead of the stretch, since the state was made.
    following : list of Stretch
        The next stretch, once a thread has computed it. All threads move on to the first one in the list.
    """

    clock: np.ndarray
    counter: Any
    first: int
    steps: list[UpcomingStep]
    scalars: StepScalars
    slow_steps: np.ndarray
    syncs: int
    following: list[Any]


# -------------------------------------------------------------------------------------------------------------- state


class State:
    """The memory of an optimizer between steps; made by ``init`` or ``restore``, changed by ``step`` only.

    Attributes
    ----------
    t : int
        Steps taken.
    slots : dict of str to (n,) array
        The inner state by the names of ``formulas.RULES``.
    power1, power2 : float
        beta1**t and beta2**t for the bias corrections (reset and interpolated with the moments).
    pending_decay : float
        The decay that is not yet applied to the fast weights, as a fraction of them: less than 2**-17 in float32. Where
        syncs extrapolate, a few times as much, or negative, when more than the decay so far is applied.
    """

    _steps_ahead: int | None = None  # the steps of the next stretch, if not STEPS_AHEAD

    def __init__(self, optimizer: Any, backend: Any, size: int, width: Any, device: int | None = None) -> None:
        self._optimizer, self._on_device, self._size, self._width = optimizer, backend.is_device, size, np.dtype(width)
        self._device, self._done = device, None  # on a GPU: its number, and the event after which all work is done
        self._marker = backend.zeros(1, np.int64) if backend.is_device else None  # the last step that was launched
        # Marks that only one of several threads can set, by ``setdefault``. "under way", on a GPU: the thread whose
        # work may be queued, not counted, without the event. "shown", while params hold the slow weights: the fast ones
        # and the block. "together", while other states may share the clock.
        self._marks: dict[str, Any] = {}
        self._blocks = 0  # of slow_weights so far
        self._slow_steps: list[float] = []  # of the syncs ahead of the stretch
        self._stretch = self._standing_at(0, FRESH, 0)
        inner = optimizer.inner
        self._rule, self._slot_names = inner.rule, RULES[inner.rule][1]
        self._gradient_limit = self._width.type(gradient_limit(optimizer, width))
        self._s1 = backend.zeros(size if len(self._slot_names) > 0 else 0, width)
        self._s2 = backend.zeros(size if len(self._slot_names) > 1 else 0, width)
        self._own_buffers: list[Buffer] | None = None
        self._own_memory: tuple | None = None

    def __getstate__(self) -> dict[str, Any]:  # a copy has its own memory
        slow_steps, shown = self._taken_slow_steps(), self._marks.get("shown")
        fresh: dict[str, Any] = {"_own_buffers": None, "_own_memory": None, "_done": None, "_slow_steps": slow_steps}
        fresh["_stretch"] = self._standing_at(self.t, self.carried, len(slow_steps))
        fresh["_marks"] = {} if shown is None else {"shown": (shown[0], None)}  # no block surrounds a copy
        return self.__dict__ | fresh

    @property
    def t(self) -> int:
        """Steps taken."""
        self._recover()
        return self._count()

    def _count(self) -> int:
        count = self._stretch.clock.item()
        return max(count, ~count)

    @property
    def power1(self) -> float:
        """The power beta1**t for the bias corrections."""
        return self.carried.power1

    @property
    def power2(self) -> float:
        """The power beta2**t for the bias corrections."""
        return self.carried.power2

    @property
    def pending_decay(self) -> float:
        """The decay that is not yet applied to the fast weights, as a fraction of them."""
        return self.carried.pending_decay

    @property
    def optimizer(self) -> Any:
        """The optimizer that the state belongs to."""
        return self._optimizer

    @property
    def on_device(self) -> bool:
        """Whether the state lies on a CUDA device."""
        return self._on_device

    @property
    def _backend(self) -> Any:
        return backend_of(self._on_device)

    @contextmanager
    def _turn(self, *arrays: Any) -> Iterator[None]:
        """On a GPU: queue the block on the stream of the first array, after all work on the state and the arrays."""
        self._recover()
        if self._on_device and self._marks.setdefault("under way", get_ident()) != get_ident():
            raise RuntimeError(AT_ONCE)
        with self._backend.turn(self._device, arrays, self._done) as self._done:
            yield
        self._marks.pop("under way", None)

    def _recover(self) -> None:
        """On a GPU, after an exception inside a turn: wait, and count the step if it was launched."""
        thread = self._marks.get("under way")
        if thread is not None:
            if thread != get_ident() and thread in sys._current_frames():
                raise RuntimeError(AT_ONCE)
            with self._backend.on(self._device):
                self._backend.synchronize()
                launched = int(self._backend.to_host(self._marker)[0])
            self._stretch.clock[0] = max(launched, int(self._stretch.clock[0]))
            self._marks.pop("under way", None)

    def _settle(self) -> None:
        """Wait until the work on the state is done, so that its arrays may be read on any stream."""
        self._recover()
        if self._done is not None:
            self._done.synchronize()

    def _show(self, fast: Any, block: Any, copied_at: tuple[int, int]) -> None:
        """Keep the fast weights, and the steps of other threads off, while params hold the slow weights.

        Refused if another thread has used the state since fast was copied, at (steps, blocks of ``slow_weights``).
        """
        shown, (t, blocks) = (fast, block), copied_at
        if self._marks.setdefault("shown", shown) is not shown:
            raise RuntimeError(AT_ONCE)
        if not (self._on_device or cpu.claim()(self._stretch.clock, t + 1)):
            self._marks.pop("shown", None)
            raise RuntimeError(AT_ONCE)
        if self._blocks != blocks:
            self._stretch.clock[0] = t
            self._marks.pop("shown", None)
            raise RuntimeError(AT_ONCE)
        self._blocks += 1

    def _take_back(self, p: Buffer) -> None:
        """Return the fast weights to params once the block of ``slow_weights`` is left, in whatever way."""
        if "shown" not in self._marks:
            return
        fast, block = self._marks["shown"]
        inside = None if block is None else block()
        if inside is not None and inside.entered:
            raise RuntimeError("params hold the slow weights: leave the block `with slow_weights(...)` first")
        if inside is not None and inside.thread != get_ident() and inside.thread in sys._current_frames():
            raise RuntimeError(AT_ONCE)  # it is about to enter or to leave the block
        array = p.array()  # it may be on another stream now
        with self._turn(array):
            self._backend.assign(array, fast)
        self._stretch.clock[0] = self._count()
        self._marks.pop("shown", None)

    def check_outside(self, params: Any) -> None:
        """Refuse to go on inside the block of ``slow_weights``; return the fast weights after one left by Ctrl-C.

        Parameters
        ----------
        params : (n,) array
            The weights of the state.

        Raises
        ------
        RuntimeError
            Inside the block.
        """
        self._take_back(Buffer("params", params, writes=True))

    def _buffers(self) -> list[Buffer]:
        """Return the memory of the state, to compare with the arguments of a step; computed once."""
        if self._own_buffers is None:
            arrays = {name: getattr(self, attribute) for name, attribute in self._parts()[1].items()}
            self._own_buffers = [Buffer(f"the state's {name}", a, writes=False) for name, a in arrays.items()]
        return self._own_buffers

    def _fits(self, params: Any, grad: Any) -> bool:
        """Return whether both are plain host arrays that fit the state and share no memory, as in nearly every step."""
        if self._own_memory is None:
            memory = np.array([(b.address, b.end) for b in self._buffers()], np.int64).reshape(-1, 2)
            self._own_memory = cpu.are_apart(self._width.type), memory
        are_apart, memory = self._own_memory
        return bool(
            type(params) is type(grad) is np.ndarray
            and params.dtype == grad.dtype == self._width
            and params.shape == grad.shape == (self._size,)
            and params.flags.carray  # contiguous, aligned and writeable
            and grad.flags.c_contiguous
            and grad.flags.aligned
            and not (self._on_device or self._marks)
            and are_apart(params, grad, memory)
        )

    def first_refused(self, grad: Any) -> int:
        """Return the index of the first element of a gradient that ``step`` refuses.

        Parameters
        ----------
        grad : (n,) array
            Of the dtype and on the device of the state.

        Returns
        -------
        int
            -1 if there is none.
        """
        g = Buffer("grad", grad, writes=False).array()
        with self._turn(g):
            return kernels_of(self._on_device).first_beyond(g, self._gradient_limit)

    @property
    def slots(self) -> dict[str, Any]:
        """The inner state by name, as the arrays themselves."""
        self._settle()
        return dict(zip(self._slot_names, (self._s1, self._s2), strict=False))

    @property
    def arrays(self) -> Slots:
        """All arrays of the state, as the kernels of whole runs accept them."""
        return Slots(self._s1, self._s2, self._s1[:0], self._s1[:0], self._s1[:0])

    @property
    def carried(self) -> Carried:
        """What the scalars of the next step depend on: powers of beta1 and beta2, and pending decays."""
        self._recover()
        return self._carried()

    def _carried(self) -> Carried:
        stretch = self._stretch  # another thread may move on to the next one
        return stretch.scalars.carried_after(min(self._count(), stretch.first + len(stretch.steps)))

    def _start_at(self, params: Any) -> None:
        """Fill the arrays that start as a copy of the weights."""
        for name, attribute in self._slot_attributes().items():
            if name in STARTS_AT_WEIGHTS:
                setattr(self, attribute, self._backend.copy(params))

    def _slot_attributes(self) -> dict[str, str]:
        return dict(zip(self._slot_names, ("_s1", "_s2"), strict=False))

    def _standing_at(self, t: int, carried: Carried, syncs: int) -> Stretch:
        """Return the stretch of a state that has taken t steps, with none computed ahead."""
        scalars = self._optimizer.step_scalars(self._width.type, t, carried)
        return self._stretch_of(np.array([t], np.int64), [], scalars, [], syncs)

    def _standing_here(self) -> Stretch:
        """Return a stretch with a clock of its own, in which the state stands where it is."""
        t, carried = self.t, self.carried
        return self._standing_at(t, carried, self._keep_slow_steps(self._stretch.syncs, self._stretch_of_slow_steps()))

    def _stand_alone(self) -> None:
        """Leave the states with which this one takes its steps; see ``together``."""
        if "together" in self._marks:
            if self._stretch.clock.item() < 0:
                raise RuntimeError(AT_ONCE)
            self._stretch = self._standing_here()
            self._marks.pop("together", None)

    def _stretch_of(
        self, clock: np.ndarray, steps: list, scalars: StepScalars, slow_steps: list, syncs: int
    ) -> Stretch:
        counter = self._marker if self._on_device else clock
        first = steps[0].t - 1 if steps else int(clock[0])
        return Stretch(clock, counter, first, steps, scalars, np.array(slow_steps, np.float64), syncs, [])

    def _next_step(self) -> UpcomingStep:
        stretch = self._stretch
        ahead = stretch.clock.item() - stretch.first
        if ahead < 0:
            raise RuntimeError(AT_ONCE)
        while ahead >= len(stretch.steps):
            ahead -= len(stretch.steps)
            if not stretch.following:
                stretch.following.append(self._next_stretch(stretch))
            self._keep_slow_steps(stretch.syncs, stretch.slow_steps.tolist())
            self._stretch = stretch = stretch.following[0]
        return stretch.steps[ahead]

    def _next_stretch(self, ended: Stretch) -> Stretch:
        """Return the steps after a stretch that has ended, the same ones in every thread and for all that share it."""
        width, sync = self._width.type, self._optimizer.sync or NO_SYNC
        first = ended.first + len(ended.steps)
        scalars = self._optimizer.step_scalars(width, first, ended.scalars.carried_after(first))
        count, self._steps_ahead = self._steps_ahead or STEPS_AHEAD, None
        period, last = sync.period, first + count
        table, slow_steps = scalars.stretch(count), list[float]()
        rows, kinds = [*table], list[tuple | None]([None] * count)
        if period:
            pairs = sync.pairs(first // period, last // period, width)
            at_syncs, slow_steps = slice(period - 1 - first % period, None, period), pairs[:, 0].tolist()
            if sync.fits:
                kinds[at_syncs] = [(n,) for n in range(len(pairs))]
            else:
                kinds[at_syncs] = [(sync.pull_back, MODES[sync.mode])] * len(pairs)
                rows[at_syncs] = rows_with_sync(table[at_syncs], pairs)
        steps = [*map(UpcomingStep, rows, kinds, range(first + 1, last + 1))]
        syncs = ended.syncs + len(ended.slow_steps)
        return self._stretch_of(ended.clock, steps, scalars, slow_steps, syncs)

    def _stretch_of_slow_steps(self) -> list[float]:
        """Return the slow steps of the syncs that the stretch has taken so far."""
        period, stretch = (self._optimizer.sync or NO_SYNC).period, self._stretch
        count = self._count() // period - stretch.first // period if period else 0
        return stretch.slow_steps[:count].tolist()

    def _keep_slow_steps(self, syncs: int, slow_steps: list[float]) -> int:
        """Put slow steps after the first syncs and return the number of all; a second time it changes nothing."""
        end = syncs + len(slow_steps)  # what lies beyond comes from an interrupted call, or from a thread further on
        self._slow_steps[syncs:end] = slow_steps
        return end

    def _taken_slow_steps(self) -> list[float]:
        self._recover()
        return self._slow_steps[: self._stretch.syncs] + self._stretch_of_slow_steps()

    def _take(self, p: Any, g: Any, step: UpcomingStep) -> None:
        """Take a step on arrays of the backend."""
        self._step_alone(p, g, (self._s1, self._s2, step.row), self._stretch.counter, step.t)

    def ahead_of_sync(self, params: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Return the fast weights that the next step would have ahead of its sync; nothing changes.

        Parameters
        ----------
        params, grad : (n,) array
            As in :meth:`Optimizer.step`, on the host.

        Returns
        -------
        (n,) array
        """
        step = self._next_step()
        p, counter = params.copy(), np.array([step.t - 1], np.int64)
        row = np.ascontiguousarray(step.row[..., :8])
        self._step_alone(p, grad, (self._s1.copy(), self._s2.copy(), row), counter, step.t)
        return p

    def _step_alone(self, p: Any, g: Any, slots: tuple, counter: Any, t: int) -> None:
        """Take a step without a sync on arrays of the backend; slots : s1, s2 and the scalars."""
        kernels_of(self._on_device).step(self._rule, p, g, *slots, counter, t)

    def arrive(self, t: int, carried: Carried, slow_steps: list[float] | None = None) -> None:
        """Set the clock after a compiled run has moved the arrays.

        Parameters
        ----------
        t : int
            Steps taken in all.
        carried : Carried
            As :attr:`carried`.
        slow_steps : list of float, optional
            The slow steps of the syncs of that run.
        """
        syncs = self._keep_slow_steps(self._stretch.syncs, self._stretch_of_slow_steps() + (slow_steps or []))
        self._stretch = self._standing_at(t, carried, syncs)

    def follow(self, optimizer: Any) -> None:
        """Continue under other numbers of the same update rule, such as another learning rate.

        Parameters
        ----------
        optimizer : Optimizer
            That of the next steps. Rule and syncs are those of :attr:`optimizer`; ScheduleFreeAdamW keeps its lr too.

        Raises
        ------
        ValueError
            If they are not, or the dtype of the weights cannot hold a number. The state is unchanged.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> import numpy as np
        >>> opt, params = lnb.SGD(0.5), np.ones(1)
        >>> state = opt.init(params)
        >>> state.follow(lnb.SGD(0.25))
        >>> state.optimizer.step(params, np.ones(1), state)
        >>> params.tolist()
        [0.75]
        """
        self.check_follows(optimizer)
        self._steps_ahead = 1  # the numbers may change again after each step
        self._stretch = self._standing_here()
        self._optimizer = optimizer  # last: after Ctrl-C ahead of it the same call is made again

    def check_follows(self, optimizer: Any) -> None:
        """Refuse an optimizer that :meth:`follow` refuses.

        Parameters
        ----------
        optimizer : Optimizer

        Raises
        ------
        ValueError
            As in :meth:`follow`.
        """
        before = self._optimizer
        same_kind = type(optimizer) is type(before)
        if not same_kind or (optimizer.kernel, optimizer.sync) != (before.kernel, before.sync):
            raise ValueError(f"optimizer must have the rule and the syncs of {before!r}, got {shown(optimizer)}")
        optimizer.inner.check_width(self._width)
        if optimizer.outward and optimizer.inner.lr != before.inner.lr:  # its average weights steps by lr
            raise ValueError(f"lr must stay {before.inner.lr!r} for ScheduleFreeAdamW, got {optimizer.inner.lr!r}")

    def _parts(self) -> tuple[list[str], dict[str, str]]:
        """Return (numbers, arrays): the fields of ``carried``, and the attributes by their names in a checkpoint."""
        pending = ["pending_decay"] if self._optimizer.inner.decouples_decay else []
        return ["power1", "power2", *pending], self._slot_attributes()

    def to_arrays(self) -> dict[str, Any]:
        """Return a checkpoint: copies of the state as plain arrays and numbers, for ``np.savez`` without pickle.

        Returns
        -------
        dict
            By name; see :meth:`Optimizer.restore`.

        Raises
        ------
        RuntimeError
            Inside ``slow_weights``, where params to be stored with the state hold the slow weights; while another
            thread uses the state.
        """
        if "shown" in self._marks:
            advice = "leave the block `with slow_weights(...)`, or take a step if Ctrl-C interrupted its end"
            raise RuntimeError(f"params hold the slow weights, and a checkpoint needs the fast ones: {advice}")
        numbers, arrays = self._parts()
        stored = {"settings": np.array(_canonical(self._optimizer)), "size": self._size, "width": str(self._width)}
        self._settle()
        clock, before = self._stretch.clock, self._stretch.clock.item()
        carried = self._numbers_of(self.carried)
        stored |= {"t": self.t} | {name: carried[name] for name in numbers}
        with self._backend.on(self._device):
            stored |= {name: self._backend.to_host(getattr(self, at)) for name, at in arrays.items()}
        if before < 0 or clock.item() != before:
            raise RuntimeError(AT_ONCE)
        return stored

    def _fill(self, stored: Mapping[str, Any]) -> State:
        """Fill the state from a checkpoint, or refuse it without any change."""
        numbers, arrays = self._parts()
        pending = {name: 0.0 for name in numbers if name.endswith("pending_decay")}
        stored = pending | dict(stored)  # version 1.0.0 applied all decay at once
        expected = {"settings", "size", "width", "t", *numbers, *arrays}
        if set(stored) != expected:
            raise ValueError(f"arrays must hold exactly {sorted(expected)}, got {sorted(stored)}")
        t = whole_number("t", np.asarray(stored["t"])[()], 0, MOST_STEPS)
        extrapolates = (self._optimizer.sync or NO_SYNC).extrapolates  # then a decay may be applied ahead of its time
        ranges = dict.fromkeys(pending, (-1.0, 1.0) if extrapolates else (0.0, least_decay(self._width)))
        carried = {
            name: real_number(name, np.asarray(stored[name])[()], *ranges.get(name, (0.0, 1.0))) for name in numbers
        }
        read: dict[str, Any] = {}
        for name, attribute in arrays.items():
            array = np.asarray(stored[name])
            if array.shape != (self._size,) or array.dtype != self._width:
                expected_array = f"a ({self._size},) {self._width} array"
                raise ValueError(f"arrays[{name!r}] must be {expected_array}, got {array.shape} {array.dtype}")
            with self._backend.on(self._device):
                read[attribute] = self._backend.from_host(np.ascontiguousarray(array))
        for attribute in arrays.values():
            setattr(self, attribute, read[attribute])
        self._stretch = self._standing_at(t, self._carried_from(carried), 0)
        return self

    def _numbers_of(self, carried: Any) -> dict[str, float]:
        """Return what scalars depend on by the names of a checkpoint."""
        numbers: dict[str, float] = carried._asdict()
        return numbers

    def _carried_from(self, numbers: dict[str, float]) -> Any:
        """Return what scalars depend on from the numbers of a checkpoint."""
        return Carried(**numbers)


# ----------------------------------------------------------------------------------------------------------- settings


class Optimizer:
    """The base of inner optimizers and Lookahead: ``init``, ``step``, ``restore``.

    Engines read an optimizer through :attr:`inner`, :attr:`sync`, :attr:`kernel`, :attr:`has_slow_weights` and
    :attr:`outward`, and never check its class.

    Attributes
    ----------
    inner : InnerOptimizer
        The optimizer whose update rule moves the fast weights: itself, or the one that Lookahead wraps.
    """

    _state: ClassVar[type[State]] = State
    inner: Any

    @property
    def sync(self) -> Sync | None:
        """The settings of the syncs, or None for an optimizer without syncs."""
        return None

    @property
    def has_slow_weights(self) -> bool:
        """Whether there is a second set of weights to evaluate."""
        return False

    @property
    def outward(self) -> float:
        """The distance of the slow weights beyond the fast ones, seen from s1, if they follow from both; else 0."""
        return 0.0

    @property
    def adapts(self) -> bool:
        """Whether the slow step is fitted at every sync."""
        return False

    @property
    def kernel(self) -> tuple[str, str]:
        """The update rule and the kind of the syncs; runs with equal ones can be trained together."""
        return self.inner.rule, "adaptive" if self.adapts else (self.sync or NO_SYNC).mode

    @property
    def pieces(self) -> np.ndarray | None:
        """The pieces of the flat buffer with settings of their own, see ``Grouped.pieces``; None without groups."""
        return None

    def step_scalars(self, width: Any, t: int = 0, carried: Any = FRESH) -> Any:
        """Return the scalars of the steps after t.

        Parameters
        ----------
        width : np.float32 or np.float64
        t : int
            Steps taken so far.
        carried : Carried
            As these steps have left it.

        Returns
        -------
        StepScalars
        """
        return StepScalars(self, width, t, carried)

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict of strings and numbers.

        Returns
        -------
        dict

        Raises
        ------
        NotImplementedError
            In the base class.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        words = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:  # the inner optimizer, or lr
                words.append(repr(value) if name == "inner" else f"{name}={value!r}")
            elif name in _ALWAYS_SHOWN or (parameter.default is not None and value != parameter.default):
                words.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(words)})"

    def _repr_html_(self) -> str:
        """Return all settings as a table, and pictures of syncs and schedule where there is something to see."""
        settings = self.settings()
        for name, value in {"schedule": "constant", "warmup": 0}.items():
            if settings.get(name) == value:
                del settings[name]
        pictures = of_syncs(self.sync) if self.sync else ""
        pictures += of_schedule(self.inner.schedule) + of_schedule(self.inner.decay_schedule, "weight decay")
        return shown_together(str(settings.pop("optimizer")), settings, pictures)

    def init(self, params: Any) -> Any:
        """Return a fresh state; slow weights, and z of Schedule-Free, start as a copy of the weights.

        Call this method again after loading other weights.

        Parameters
        ----------
        params : (n,) array, float32 or float64
            C-contiguous and writeable; a NumPy array, or on a GPU any object with ``__cuda_array_interface__``. The
            state lies on the same device. The values are not checked: slow weights of NaN start as NaN.

        Returns
        -------
        State

        Raises
        ------
        TypeError, ValueError
            If params has another type, dtype or layout, or the dtype cannot hold the settings.
        checks.NoDeviceError
            If params lies on a GPU and no GPU can be used.
        """
        buffer = Buffer("params", params, writes=True)
        self.inner.check_width(buffer.dtype)
        backend, array = buffer.backend(), buffer.array()
        with backend.on(buffer.device):
            state = self._state(self, backend, buffer.size, buffer.dtype, buffer.device)
        with state._turn(array):
            state._start_at(array)
        return state

    def step(self, params: Any, grad: Any, state: Any, *, check_finite: bool = True) -> None:
        """Take one step in place: params and state move, grad is only read.

        On a GPU the step runs on the stream of params, after the work queued on the streams of grad and of the step
        before. The host waits only to check.

        Parameters
        ----------
        params : (n,) array
            The fast weights, as in :meth:`init`.
        grad : (n,) array
            The gradient at params, of the same dtype.
        state : State
            From :meth:`init` or :meth:`restore`.
        check_finite : bool
            True refuses, ahead of any change, a gradient that is not finite or (with a second moment) whose square is
            not. False saves one read of the gradient and lets such values through.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the state.
        FloatingPointError
            If the gradient is refused; the message names the step.
        RuntimeError
            Inside ``slow_weights``; while another thread uses the state.

        Notes
        -----
        The step is taken as a whole or not at all, whatever exception comes, KeyboardInterrupt too. ``state.t`` shows
        which.
        """
        flag("check_finite", check_finite)
        if isinstance(state, State) and state._optimizer is self and state._fits(params, grad):  # nearly always
            self._checked_step(params, grad, state, check_finite)
        elif isinstance(params, np.memmap) or isinstance(grad, np.memmap):
            p, g = (array.view(np.ndarray) if isinstance(array, np.memmap) else array for array in (params, grad))
            self.step(p, g, state, check_finite=check_finite)
        else:
            p, g = self._enter(params, grad, state)
            with state._turn(p, g):
                self._checked_step(p, g, state, check_finite)

    def _checked_step(self, p: Any, g: Any, state: State, check_finite: bool) -> None:
        """Take the step on arrays of the backend."""
        if check_finite:
            at = kernels_of(state._on_device).first_beyond(g, state._gradient_limit)
            if at >= 0:
                value = float(state._backend.to_host(g[at : at + 1])[0])
                fault = "has no finite square" if math.isfinite(value) else "is not finite"
                raise FloatingPointError(f"grad[{at}] = {value!r} {fault} at step {state.t + 1}; nothing was changed")
        step = state._next_step()
        state._take(p, g, step)
        if state._on_device:
            state._stretch.clock[0] = step.t

    def restore(self, arrays: Mapping[str, Any], *, like: Any = None) -> Any:
        """Return the state that ``to_arrays`` stored, for an exact resume at any step between two syncs.

        Parameters
        ----------
        arrays : mapping
            What ``to_arrays`` returned, or ``np.load`` of it. In one of version 1.0.0 no decay is pending.
        like : array, optional
            The params, to place the state on their device; by default the state lies on the host.

        Returns
        -------
        State

        Raises
        ------
        TypeError, ValueError
            If parts are missing or belong to other settings.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> import numpy as np
        >>> opt, params = lnb.SGD(0.1, momentum=0.9), np.ones(2)
        >>> state = opt.init(params)
        >>> opt.step(params, np.ones(2), state)
        >>> opt.restore(state.to_arrays()).t
        1
        """
        stored = _mapping(arrays)
        settings, expected = str(np.asarray(stored.get("settings", ""))[()]), _canonical(self)
        if settings != expected:
            raise ValueError(f"arrays must hold a state of {expected}, got a state of {settings or 'nothing'}")
        size = whole_number("arrays['size']", np.asarray(stored.get("size", -1))[()], 0)
        width = one_of("arrays['width']", str(np.asarray(stored.get("width", ""))[()]), ("float32", "float64"))
        place = None if like is None else Buffer("like", like, writes=False)
        backend, device = (cpu, None) if place is None else (place.backend(), place.device)
        with backend.on(device):
            state = self._state(self, backend, 0, width, device)  # no memory for a size that the arrays do not have
        state._size = size
        return state._fill(stored)

    def slow_from(self, fast: Any, state: Any) -> Any:  # noqa: ARG002
        """Return the slow weights as an array of the backend; None for an optimizer without them.

        Parameters
        ----------
        fast : (n,) array
            The fast weights.
        state : State

        Returns
        -------
        (n,) array or None
        """
        return None

    def _enter(self, params: Any, grad: Any, state: Any) -> tuple[Any, Any]:
        """Return params and grad as arrays of the backend, or refuse what does not fit the state."""
        p, g = Buffer("params", params, writes=True), Buffer("grad", grad, writes=False)
        self._check_state(p, state)
        if (g.size, g.dtype, g.on_device) != (p.size, p.dtype, p.on_device):
            raise ValueError(f"grad must be {p.describe()} like params, got {g.describe()}")
        if g.device != p.device:
            raise ValueError(f"grad must be on CUDA device {p.device} like params, got device {g.device}")
        if p.overlaps(g):
            raise ValueError("params and grad overlap in memory; pass separate arrays")
        for part in state._buffers():
            for argument in (p, g):
                if argument.overlaps(part):
                    raise ValueError(f"{argument.name} and {part.name} overlap in memory; pass separate arrays")
        return p.array(), g.array()

    def _check_state(self, p: Buffer, state: Any) -> None:
        if not isinstance(state, State):
            raise TypeError(f"state must come from init or restore, got {type(state).__name__}")
        if state._optimizer is not self and state._optimizer != self:
            raise ValueError(f"state must belong to {self!r}, got a state of {state._optimizer!r}")
        state._optimizer = self  # an equal one, so that the next step is quick for a copied state too
        if (state._size, state._width, state._on_device) != (p.size, p.dtype, p.on_device):
            expected = f"({state._size},) {state._width} array on {place_in_words(state._on_device)}"
            raise ValueError(f"params must be a {expected} like the state, got {p.describe()}")
        state._stand_alone()
        if state._device != p.device:
            raise ValueError(f"params must be on CUDA device {state._device} like the state, got device {p.device}")
        state._take_back(p)


class WithSlowWeights(Optimizer):
    """The base of optimizers with a second set of weights, to be evaluated inside ``slow_weights``."""

    @property
    def has_slow_weights(self) -> bool:
        """Whether there is a second set of weights to evaluate: yes."""
        return True

    def slow_from(self, fast: Any, state: Any) -> Any:  # noqa: ARG002 (Schedule-Free computes them from the fast ones)
        """Return the slow weights as an array of the backend.

        Parameters
        ----------
        fast : (n,) array
            The fast weights, not used.
        state : State

        Returns
        -------
        (n,) array
        """
        return state._slow

    def slow_weights(self, params: Any, state: Any) -> AbstractContextManager[None]:
        """Return a context in which params hold the slow weights, and exactly the fast ones again after it.

        The fast weights return after an exception too. If a Ctrl-C at the very end of the block prevents that, the next
        ``step`` or ``slow_weights`` returns them. Inside the block both raise RuntimeError.

        Parameters
        ----------
        params, state
            As in :meth:`step`.

        Returns
        -------
        context manager

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As in :meth:`step`.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> import numpy as np
        >>> opt, params = lnb.Lookahead(lnb.SGD(1.0), sync_period=2), np.array([3.0])
        >>> state = opt.init(params)
        >>> opt.step(params, np.ones(1), state)
        >>> with opt.slow_weights(params, state):
        ...     params.tolist()
        [3.0]
        >>> params.tolist()
        [2.0]
        """
        return _SlowBlock(self, params, state)


class _SlowBlock(AbstractContextManager[None]):
    """The block of ``slow_weights``. The state refers to it weakly, so that a block that was left cannot hold it up."""

    def __init__(self, optimizer: Optimizer, params: Any, state: Any) -> None:
        self.optimizer, self.params, self.state, self.entered = optimizer, params, state, False
        self.thread = get_ident()

    def __enter__(self) -> None:
        self.thread = get_ident()
        self.p, state = Buffer("params", self.params, writes=True), self.state
        self.optimizer._check_state(self.p, state)
        array = self.p.array()
        copied_at = state.t, state._blocks
        with state._turn(array):
            fast = state._backend.copy(array)
            slow = self.optimizer.slow_from(fast, state)
        try:
            state._show(fast, weakref.ref(self), copied_at)
            with state._turn(array):
                state._backend.assign(array, slow)
            self.entered = True
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        self.thread = get_ident()
        self.entered = False  # an exception below is made good by the next use of the state
        self.state._take_back(self.p)


def _canonical(optimizer: Optimizer) -> str:
    return json.dumps(optimizer.settings(), sort_keys=True)


def _mapping(arrays: Any) -> dict[str, Any]:
    try:
        return {str(name): arrays[name] for name in arrays}
    except (TypeError, KeyError, IndexError):
        raise TypeError(f"arrays must be a mapping of names to arrays, got {type(arrays).__name__}") from None
