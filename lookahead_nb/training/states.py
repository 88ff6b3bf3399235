"""The states of runs at their end, from which a longer sweep continues them bit for bit.

The state of a run is its weights and what ``State.to_arrays`` returns: the inner state, the slow weights, the clock,
the powers of beta1 and beta2, and pending decays. In a store it takes ``itemsize*weights*(1 + arrays)`` bytes, arrays
of the state counted, and a few hundred more: in float32 4 bytes a weight for SGD, 12 for AdamW, 16 for
Lookahead(AdamW) and 24 with ``inner_state="interpolate"``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.optimizers import Optimizer, State
from lookahead_nb.training.columns import arrow
from lookahead_nb.training.setup import Setup

Stored = dict[str, Any]  # the state of a run as arrays, numbers and text

RUN = "run"  # the column of the runs' ids


class Start(NamedTuple):
    """Where the runs of a unit continue.

    Attributes
    ----------
    setup : Setup
        That of the shorter runs.
    results, diverged_at : arrays
        Those of the shorter runs, as in ``setup.Outcome``.
    states : list of dict or None
        The state of each run at its end, of :func:`stored_state`; None for a run that diverged.
    """

    setup: Setup
    results: np.ndarray
    diverged_at: np.ndarray
    states: list[Stored | None]


def stored_state(params: np.ndarray, state: State) -> Stored:
    """Return the state of a run as arrays, numbers and text.

    Parameters
    ----------
    params : (n,) array
        The fast weights.
    state : State
        On the host.

    Returns
    -------
    dict
        Copies; ``params`` and the entries of ``state.to_arrays``.
    """
    return {"params": params.copy()} | state.to_arrays()


def restored_state(opt: Optimizer, stored: Stored) -> tuple[np.ndarray, State]:
    """Return weights and state to train further, equal to those that were stored in every bit.

    Parameters
    ----------
    opt : Optimizer
        That of the run.
    stored : dict
        Of :func:`stored_state`; it stays as it is.

    Returns
    -------
    params : (n,) array
    state : State

    Raises
    ------
    TypeError, ValueError
        As ``opt.restore``.
    """
    return np.array(stored["params"]), opt.restore({name: stored[name] for name in stored if name != "params"})


def states_table(runs: Iterable[str], states: Iterable[Stored | None]) -> Any:
    """Return the states of runs as a table: a row for each run, arrays as their bytes, null where there is nothing.

    Parameters
    ----------
    runs : iterable of str
        The ids of the runs.
    states : iterable of dict or None
        Of :func:`stored_state`; None for a run that diverged.

    Returns
    -------
    pyarrow.Table
    """
    pa, _ = arrow()
    rows = [
        {RUN: run} | {name: _plain(value) for name, value in (of or {}).items()}
        for run, of in zip(runs, states, strict=True)
    ]
    kinds = {str: pa.string(), bytes: pa.large_binary(), int: pa.int64(), float: pa.float64()}
    types = {name: kinds[type(value)] for row in rows for name, value in row.items()}
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()})


def states_in(table: Any, runs: Collection[str]) -> dict[str, Stored | None]:
    """Return the states of some runs of a table.

    Parameters
    ----------
    table : pyarrow.Table
        Of :func:`states_table`.
    runs : collection of str
        Ids.

    Returns
    -------
    dict of str to dict or None
        By run, those that the table has; arrays are read-only.
    """
    wanted = {*runs}
    states: dict[str, Stored | None] = {}
    for row in table.filter([run in wanted for run in table[RUN].to_pylist()]).to_pylist():
        run, width = row.pop(RUN), row.get("width")
        held = {name: value for name, value in row.items() if value is not None}
        arrays = {name: np.frombuffer(value, width) for name, value in held.items() if isinstance(value, bytes)}
        states[run] = held | arrays if held else None
    return states


def _plain(value: Any) -> str | bytes | int | float:
    """Return an entry of a state as a value that a table holds."""
    if isinstance(value, np.ndarray) and value.ndim:
        return value.tobytes()
    plain: str | int | float = value[()].item() if isinstance(value, np.ndarray) else value
    return plain
