"""Groups of weights on one flat buffer that have their own learning rate and weight decay; clipped gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import plain_array, real_number, shown
from lookahead_nb.kernels.cpu import by_group
from lookahead_nb.kernels.cpu.step import CHUNK, PARALLEL_FROM
from lookahead_nb.optimizers.base import Optimizer, State, UpcomingStep, WithSlowWeights
from lookahead_nb.optimizers.coefficients import FRESH, Carried, StepScalars, Sync
from lookahead_nb.optimizers.lookahead import LookaheadState

SETTINGS = ("lr", "weight_decay")  # that a group may have for itself
Groups = dict[str, dict[str, float]]  # settings by the pattern of the names of a group


def checked_groups(groups: Any) -> Groups:
    """Return the settings of groups of weights, checked, in the order of their patterns.

    Parameters
    ----------
    groups : mapping of str to mapping of str to float
        As in :func:`lookahead_nb.train`.

    Returns
    -------
    dict of str to dict of str to float

    Raises
    ------
    TypeError, ValueError
        If groups is no such mapping, or a setting is unknown or below 0.

    Examples
    --------
    >>> from lookahead_nb.optimizers.groups import checked_groups
    >>> checked_groups({"b*": {"weight_decay": 0}})
    {'b*': {'weight_decay': 0.0}}
    """
    example = "{'b*': {'weight_decay': 0.0}}"
    if not isinstance(groups, Mapping) or not all(isinstance(pattern, str) for pattern in groups):
        raise TypeError(f"groups must be None or a dict such as {example}, got {shown(groups)}")
    if not groups:
        raise ValueError(f"groups must be None or hold at least one group, such as {example}, got none")
    checked: Groups = {}
    for pattern in sorted(groups):
        settings = groups[pattern]
        if not isinstance(settings, Mapping) or not settings:
            allowed = "a dict with lr, weight_decay or both"
            raise TypeError(f"groups[{pattern!r}] must be {allowed}, got {shown(settings)}")
        for name in settings:
            if name not in SETTINGS:
                raise ValueError(f"groups[{pattern!r}] may set {' and '.join(SETTINGS)} only, got {shown(name)}")
        named = {name: settings[name] for name in SETTINGS if name in settings}
        checked[pattern] = {
            name: real_number(f"groups[{pattern!r}][{name!r}]", value, 0) for name, value in named.items()
        }
    return checked


def with_numbers(opt: Any, numbers: Mapping[str, float]) -> Any:
    """Return an optimizer with other numbers of its inner one.

    Parameters
    ----------
    opt : Optimizer
    numbers : mapping of str to float
        ``lr``, ``weight_decay``, or both. Where opt has a schedule of it, the number is its peak.

    Returns
    -------
    Optimizer

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.optimizers.groups import with_numbers
    >>> with_numbers(lnb.SGD(lnb.schedules.linear(0.1, steps=10)), {"lr": 0.5})
    SGD(lr=schedules.linear(0.5, steps=10))
    """
    inner = opt.inner.with_settings(**numbers)
    return inner if opt is opt.inner else replace(opt, inner=inner)


def grouped(opt: Optimizer, groups: Groups, parts: Mapping[str, slice], size: int) -> Grouped:
    """Return an optimizer whose groups of weights have their own settings.

    Parameters
    ----------
    opt : Optimizer
        Gives all other settings, and those of weights in no group.
    groups : dict
        Of :func:`checked_groups`.
    parts : mapping of str to slice
        Where the named parts of a model lie in its flat buffer.
    size : int
        The number of weights.

    Returns
    -------
    Grouped

    Raises
    ------
    ValueError
        If a pattern matches no part, two groups share a part, or opt fits its slow steps.
    """
    if opt.adapts:
        reason = "an adaptive one is fitted to all weights together"
        raise ValueError(f"slow_step_size must be given with groups, got {opt!r}: {reason}")
    taken: dict[str, str] = {}
    made = []
    for pattern, settings in groups.items():
        names = [name for name in parts if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(f"groups[{pattern!r}] must match a part of the model, which has {', '.join(parts)}")
        for name in names:
            if name in taken:
                both = f"{taken[name]!r} and {pattern!r}"
                raise ValueError(f"groups must not overlap, got {both}, which both match {name}")
            taken[name] = pattern
        places = tuple((parts[name].start, parts[name].stop) for name in names)
        made.append(Group(pattern, places, tuple(settings.items())))
    return Grouped(opt, tuple(made), size)


class Group(NamedTuple):
    """A group of weights.

    Attributes
    ----------
    pattern : str
        Matches the names of its parts.
    places : tuple of (int, int)
        The first weight of each part, and the one after its last.
    numbers : tuple of (str, float)
        Its own settings by name.
    """

    pattern: str
    places: tuple[tuple[int, int], ...]
    numbers: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return f"{self.pattern}: {', '.join(f'{name}={value!r}' for name, value in self.numbers)}"


@dataclass(frozen=True)
class CarriedByGroup:
    """What the scalars of the next step depend on, for each group.

    Attributes
    ----------
    of_groups : tuple of Carried
        Ahead of all others that of the weights in no group.
    """

    of_groups: tuple[Carried, ...]

    @property
    def power1(self) -> float:
        """The power beta1**t, the same in all groups."""
        return self.of_groups[0].power1

    @property
    def power2(self) -> float:
        """The power beta2**t, the same in all groups."""
        return self.of_groups[0].power2

    @property
    def pending_decay(self) -> float:
        """The decay that is not yet applied to the weights in no group."""
        return self.of_groups[0].pending_decay


class ScalarsByGroup:
    """The scalars of consecutive steps for each group, with the interface of :class:`StepScalars`.

    Parameters
    ----------
    optimizers : tuple of Optimizer
        With the settings of each group, ahead of all those of the weights in no group.
    width : np.float32 or np.float64
    t : int
        Steps taken so far.
    carried : CarriedByGroup or Carried
        As these steps have left it; one for all groups in a fresh state.
    """

    def __init__(self, optimizers: tuple[Optimizer, ...], width: Any, t: int, carried: Any) -> None:
        of_groups = carried.of_groups if isinstance(carried, CarriedByGroup) else (carried,) * len(optimizers)
        self._of_groups = [StepScalars(opt, width, t, of) for opt, of in zip(optimizers, of_groups, strict=True)]

    def stretch(self, count: int) -> np.ndarray:
        """Return the scalars of the next steps.

        Parameters
        ----------
        count : int
            The number of steps.

        Returns
        -------
        (count, groups, 8) array
        """
        return np.stack([scalars.stretch(count) for scalars in self._of_groups], axis=1)

    def carried_after(self, t: int) -> CarriedByGroup:
        """Return what the scalars of the next step depend on, after a step.

        Parameters
        ----------
        t : int
            A step of the last stretch, or the one directly ahead of it.

        Returns
        -------
        CarriedByGroup
        """
        return CarriedByGroup(tuple(scalars.carried_after(t) for scalars in self._of_groups))


class _ByGroup(State):
    """Steps of a state whose scalars differ from group to group."""

    def __init__(self, optimizer: Any, backend: Any, size: int, width: Any, device: int | None = None) -> None:
        if backend.is_device:
            raise ValueError("params must lie on the host for an optimizer with groups, got params on a GPU")
        super().__init__(optimizer, backend, size, width, device)

    def _step_alone(self, p: Any, g: Any, slots: tuple, counter: Any, t: int) -> None:
        by_group.step_by_group(self._rule, p, g, slots, self._optimizer.pieces, counter, t)

    def _parts(self) -> tuple[list[str], dict[str, str]]:
        numbers, arrays = super()._parts()
        pending = [name for name in numbers if name.endswith("pending_decay")]
        others = range(1, len(self._optimizer.groups) + 1)
        return [*numbers, *(f"group{i}_{name}" for i in others for name in pending)], arrays

    def _numbers_of(self, carried: Any) -> dict[str, float]:
        first, *others = carried.of_groups
        numbers: dict[str, float] = first._asdict()
        for i, of in enumerate(others, 1):
            numbers |= {f"group{i}_{name}": value for name, value in of._asdict().items()}
        return numbers

    def _carried_from(self, numbers: dict[str, float]) -> Any:
        shared = {name: value for name, value in numbers.items() if not name.startswith("group")}
        made = [Carried(**shared)]
        for i in range(1, len(self._optimizer.groups) + 1):
            own = {name: numbers.get(f"group{i}_{name}", value) for name, value in shared.items()}
            made.append(Carried(**own))
        return CarriedByGroup(tuple(made))


class GroupedState(_ByGroup):
    """The state of an optimizer with groups; see :class:`State`.

    Made by ``init`` or ``restore``.
    """


class GroupedLookaheadState(_ByGroup, LookaheadState):
    """The state of Lookahead and EMA with groups; see :class:`LookaheadState`.

    Made by ``init`` or ``restore``.
    """

    def _step_and_sync(self, p: Any, g: Any, step: UpcomingStep, kind: tuple) -> None:
        slots, anchors = (self._s1, self._s2, step.row), (self._slow, self._a1, self._a2)
        counted = self._stretch.counter, step.t
        by_group.step_and_sync_by_group(self._rule, p, g, slots, anchors, kind, self._optimizer.pieces, *counted)


@dataclass(frozen=True, repr=False)
class Grouped(WithSlowWeights):
    """An optimizer whose groups of weights have their own learning rate and weight decay, on the host.

    :func:`lookahead_nb.train` makes it from ``groups``; see :func:`grouped`.

    Parameters
    ----------
    base : Optimizer
        Gives all other settings, and those of weights in no group.
    groups : tuple of Group
    size : int
        The number of weights.
    """

    base: Optimizer
    groups: tuple[Group, ...]
    size: int

    @property
    def inner(self) -> Any:
        """The inner optimizer of the weights in no group."""
        return self.base.inner

    @property
    def _state(self) -> Any:  # type: ignore[override]
        return GroupedLookaheadState if issubclass(self.base._state, LookaheadState) else GroupedState

    @property
    def sync(self) -> Sync | None:
        """The settings of the syncs, or None for an optimizer without syncs."""
        return self.base.sync

    @property
    def has_slow_weights(self) -> bool:
        """Whether there is a second set of weights to evaluate."""
        return self.base.has_slow_weights

    @property
    def outward(self) -> float:
        """As :attr:`Optimizer.outward`."""
        return self.base.outward

    @cached_property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """The optimizers with the settings of each group, ahead of all that of the weights in no group."""
        return (self.base, *(with_numbers(self.base, dict(group.numbers)) for group in self.groups))

    @cached_property
    def pieces(self) -> np.ndarray:
        """The pieces of the flat buffer, in its order.

        (pieces, 3) int64 array: the first weight of each piece, the one after its last, and its group, which is 0 for
        weights in no group. Pieces of large buffers are short enough for threads to share them.
        """
        group_of = np.zeros(self.size, np.int64)
        for i, group in enumerate(self.groups, 1):
            for first, end in group.places:
                group_of[first:end] = i
        changes = [0, *(np.flatnonzero(np.diff(group_of)) + 1).tolist()]
        if self.size >= PARALLEL_FROM:
            changes = sorted({*changes, *range(0, self.size, CHUNK)})
        ends = [*changes[1:], self.size]
        pieces = np.array([*zip(changes, ends, group_of[changes].tolist(), strict=True)], np.int64)
        pieces.flags.writeable = False
        return pieces

    def step_scalars(self, width: Any, t: int = 0, carried: Any = FRESH) -> ScalarsByGroup:
        """Return the scalars of the steps after t.

        Parameters
        ----------
        width : np.float32 or np.float64
        t : int
            Steps taken so far.
        carried : CarriedByGroup or Carried
            As these steps have left it.

        Returns
        -------
        ScalarsByGroup
        """
        return ScalarsByGroup(self.optimizers, width, t, carried)

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict of strings and numbers; those of the groups are one text.

        Returns
        -------
        dict
        """
        return self.base.settings() | {"groups": "; ".join(map(str, self.groups))}

    def __repr__(self) -> str:
        return f"{self.base!r} with groups {{{'; '.join(map(str, self.groups))}}}"

    def init(self, params: Any) -> Any:
        """Return a fresh state; see :meth:`Optimizer.init`."""
        shape = getattr(params, "shape", None)
        if shape != (self.size,):
            raise ValueError(f"params must hold the {self.size} weights of the groups, got shape {shape}")
        for opt in self.optimizers:
            opt.inner.check_width(params.dtype)
        return super().init(params)

    def slow_from(self, fast: Any, state: Any) -> Any:
        """Return the slow weights as an array; see :meth:`Optimizer.slow_from`."""
        return self.base.slow_from(fast, state)


def clip_gradient(grad: np.ndarray, clip_norm: float) -> float:
    """Scale a gradient in place to a Euclidean norm of at most clip_norm, as :func:`lookahead_nb.train` does.

    Parameters
    ----------
    grad : (n,) array
        float32 or float64, C-contiguous and writeable. One with a smaller norm stays as it is.
    clip_norm : float
        Above 0.

    Returns
    -------
    float
        The norm that it had, from squares added up in float64 in the order of the weights.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    FloatingPointError
        If the norm is not finite. Nothing has then changed.

    Examples
    --------
    >>> import numpy as np
    >>> from lookahead_nb.optimizers import clip_gradient
    >>> grad = np.array([3.0, 4.0])
    >>> clip_gradient(grad, 1.0), grad.tolist()
    (5.0, [0.6000000000000001, 0.8])
    """
    clip_norm = real_number("clip_norm", clip_norm, 0, open_low=True)
    array = plain_array("grad", grad)
    if array is not grad or array.dtype not in (np.float32, np.float64) or array.ndim != 1 or not array.flags.carray:
        raise TypeError(f"grad must be a writeable contiguous 1-D array of float32 or float64, got {shown(grad)}")
    norm = by_group.clip_gradient(grad, clip_norm)
    if not np.isfinite(norm):
        raise FloatingPointError(f"grad must have a finite norm to be clipped, got {norm!r}; nothing was changed")
    return norm
