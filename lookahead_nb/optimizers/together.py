"""States of many host buffers that take their steps in one compiled call and share one clock."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from lookahead_nb.kernels.cpu import together as kernels
from lookahead_nb.optimizers.base import State


def kind_of(state: State) -> Hashable:
    """Return what is equal for states that can take their steps together.

    Parameters
    ----------
    state : State

    Returns
    -------
    tuple
        The optimizer, the dtype, and where the state stands: all that its next steps depend on except its arrays.
    """
    return state.optimizer, state._width, state.t, state.carried, len(state._taken_slow_steps())


class Together:
    """States of equal :func:`kind_of` on the host, whose steps are one compiled call.

    They share one clock, so that no exception leaves some of them a step ahead of others. A state leaves the others
    when it is used without them, in ``step`` or ``slow_weights``.

    Parameters
    ----------
    states : sequence of State
        At least one, without an adaptive slow step.
    """

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self._table = kernels.table_of([state._size for state in states])
        arrays = np.array([[_address(array) for array in state.arrays] for state in states], np.int64)
        self._table.rows[:, kernels.S1 : kernels.A2 + 1] = arrays
        self._limit = np.array([states[0]._gradient_limit])
        for state in states:
            state._keep_slow_steps(state._stretch.syncs, state._stretch_of_slow_steps())
        self._share(states[0]._standing_here())

    @property
    def optimizer(self) -> Any:
        """The optimizer of all states."""
        return self.states[0].optimizer

    @property
    def holds(self) -> bool:
        """Whether the states still share their clock."""
        return all(state._stretch.clock is self._clock for state in self.states)

    def _share(self, stretch: Any) -> None:
        """Let all states stand in one stretch; after an exception :attr:`holds` is False."""
        self._clock = stretch.clock
        for state in self.states:
            state._marks.setdefault("together", True)
            state._stretch = stretch

    def follow(self, optimizer: Any) -> None:
        """Continue under other numbers, as :meth:`State.follow` does for one state.

        Parameters
        ----------
        optimizer : Optimizer
            Accepted by :meth:`State.check_follows` of the first state.
        """
        first, *others = self.states
        syncs, slow_steps = first._stretch.syncs, first._stretch_of_slow_steps()
        first.follow(optimizer)
        for state in others:
            if slow_steps:
                state._keep_slow_steps(syncs, slow_steps)
            state._optimizer = optimizer
        self._share(first._stretch)

    def place(self, params: Sequence[int] | None, grads: Sequence[int]) -> None:
        """Say where weights and gradients lie.

        Parameters
        ----------
        params, grads : sequence of int
            The addresses of contiguous buffers of the dtype and the sizes of the states, in their order. None leaves
            params where they are.
        """
        if params is not None:
            self._table.rows[:, kernels.P] = params
        self._table.rows[:, kernels.G] = grads

    def written(self) -> np.ndarray:
        """Return the memory of weights and states.

        Returns
        -------
        (pieces, 2) int64 array
            The first address of each piece, and the one after its last byte.
        """
        return self._occupied([kernels.P, *range(kernels.S1, kernels.A2 + 1)])

    def read(self) -> np.ndarray:
        """Return the memory of the gradients.

        Returns
        -------
        (pieces, 2) int64 array
            As :meth:`written`.
        """
        return self._occupied([kernels.G])

    def _occupied(self, columns: list[int]) -> np.ndarray:
        start = self._table.rows[:, columns]
        nbytes = self._table.rows[:, [kernels.SIZE]] * self.states[0]._width.itemsize
        return np.stack([start, start + nbytes], axis=-1)[(start != 0) & (nbytes > 0)]

    def are_beyond(self, threads: int) -> bool:
        """Return whether a gradient holds an element that a step refuses.

        Parameters
        ----------
        threads : int
            At most so many share the work.

        Returns
        -------
        bool
        """
        return kernels.are_beyond(self._table, self._limit, threads)

    def step(self, threads: int) -> None:
        """Take one step, with the bits that each state would have alone.

        Parameters
        ----------
        threads : int
            At most so many share the work.

        Raises
        ------
        RuntimeError
            If another thread uses the states.
        """
        first = self.states[0]
        before = first._stretch
        step = first._next_step()
        if any(state._stretch is not first._stretch for state in self.states):
            self._move_on(before)
        kernels.step_together(first._rule, self._table, step.row, step.sync, self._clock, step.t, threads)

    def _move_on(self, before: Any) -> None:
        """Let all states move on from a stretch to that of the first state, nearly always the next one."""
        now, slow_steps = self.states[0]._stretch, before.slow_steps.tolist()
        is_next = before.following and before.following[0] is now
        for state in self.states:
            if is_next and state._stretch is before:
                if slow_steps:
                    state._keep_slow_steps(before.syncs, slow_steps)
                state._stretch = now
            elif state._stretch is not now:
                state._next_step()


def written_memory(parts: Sequence[Together]) -> np.ndarray:
    """Return the memory that steps write to, or refuse weights that share it.

    Parameters
    ----------
    parts : sequence of Together
        With all addresses of weights, at least one.

    Returns
    -------
    (pieces, 2) int64 array
        The first address of each piece and the one after its last byte, in ascending order.

    Raises
    ------
    ValueError
        If two weights or states share memory.
    """
    written = np.concatenate([part.written() for part in parts])
    written = written[np.argsort(written[:, 0], kind="stable")]
    if (written[1:, 0] < written[:-1, 1]).any():
        raise ValueError("params must not share memory: pass tied tensors once, and no views of one another")
    return written


def check_gradients(parts: Sequence[Together], written: np.ndarray) -> None:
    """Refuse gradients that share memory with weights or states.

    Parameters
    ----------
    parts : sequence of Together
        With all addresses of gradients.
    written : (pieces, 2) int64 array
        From :func:`written_memory`.

    Raises
    ------
    ValueError
        If one does.
    """
    for part in parts:
        read = part.read()
        before = np.searchsorted(written[:, 0], read[:, 1]) - 1  # the last piece that starts ahead of a gradient's end
        if ((before >= 0) & (written[before, 1] > read[:, 0])).any():
            raise ValueError("params and grad overlap in memory; pass separate arrays")


def _address(array: np.ndarray) -> int:
    return array.ctypes.data if array.size else 0
