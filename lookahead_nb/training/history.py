"""Tidy frames of training runs: one row per run, evaluated step and kind of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lookahead_nb.checks import whole
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training.setup import KINDS, SPLITS, Setup

if TYPE_CHECKING:
    import pandas as pd

_OF_LOOKAHEAD = ("sync_period", "slow_step_size", "retention", "inner_state", "pull_back")


def settings_frame(opts: list[Optimizer]) -> pd.DataFrame:
    """Return the settings of optimizers, one row each; NaN where a setting does not apply.

    Parameters
    ----------
    opts : list of Optimizer

    Returns
    -------
    frame

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.training.history import settings_frame
    >>> settings_frame([lnb.SGD(0.1), lnb.Lookahead(lnb.SGD(0.1))])[["optimizer", "sync_period"]].values.tolist()
    [['SGD', nan], ['Lookahead(SGD)', 5.0]]
    """
    pd = whole("pandas")

    settings = [opt.settings() for opt in opts]
    names = dict.fromkeys((*_OF_LOOKAHEAD, *(name for row in settings for name in row)))
    absent = float("nan")
    return pd.DataFrame({name: [absent if row.get(name) is None else row[name] for row in settings] for name in names})


def slow_rows(opts: list[Optimizer]) -> np.ndarray:
    """Return a mask of the optimizers with slow weights, whose runs have a second row for each step.

    Parameters
    ----------
    opts : list of Optimizer

    Returns
    -------
    (opts,) bool array
    """
    return np.array([opt.has_slow_weights for opt in opts])


def histories(
    setup: Setup,
    settings: pd.DataFrame,
    has_slow: np.ndarray,
    which: np.ndarray,
    run_ids: list[str] | np.ndarray,
    seeds: list[int] | np.ndarray,
    results: np.ndarray,
    diverged_at: np.ndarray,
) -> pd.DataFrame:
    """Return the tidy frame of several runs; its columns are described in :func:`lookahead_nb.train`.

    Parameters
    ----------
    setup : Setup
    settings : frame
        Of :func:`settings_frame`.
    has_slow : (opts,) bool array
        Of :func:`slow_rows`.
    which : (runs,) int array
        The row of settings of each run.
    run_ids, seeds : lists
        One item for each run.
    results, diverged_at : arrays
        As in ``setup.Outcome``.

    Returns
    -------
    frame
    """
    pd = whole("pandas")

    periods = settings["sync_period"].to_numpy()[which]
    exists = np.ones((len(which), len(setup.eval_steps), len(KINDS)), bool)
    exists[:, :, 1] = has_slow[which][:, None]
    run, at, kind = np.nonzero(exists)
    step = setup.eval_steps[at]
    values = results[run, at, kind]
    late = ~np.isfinite(values)[:, setup.measured].all(axis=1)  # an evaluated loss may overflow where no weight does
    late |= (diverged_at[run] >= 0) & (step >= diverged_at[run])
    values[late] = np.nan
    frame = pd.DataFrame({"run": run_ids, "seed": seeds}).take(run).reset_index(drop=True)
    frame = pd.concat([frame, settings.take(which[run]).reset_index(drop=True)], axis=1)
    columns = {"step": step, "phase": step % periods[run], "weights": pd.Series(KINDS).take(kind).array}
    for measure, name in enumerate(("loss", "accuracy")):
        columns |= {f"{split}_{name}": values[:, i, measure] for i, split in enumerate(SPLITS)}
    columns["status"] = pd.Series(("ok", "diverged")).take(late.astype(int)).array
    columns["diverged_at"] = np.where(diverged_at[run] < 0, np.nan, diverged_at[run])
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def stored_results(setup: Setup, frame: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return what :func:`histories` made a frame of.

    Parameters
    ----------
    setup : Setup
        That of the frame.
    frame : frame
        Whole histories of runs, in any order.

    Returns
    -------
    run_ids : list of str
    results, diverged_at : arrays
        As in ``setup.Outcome``, in the order of run_ids.
    """
    pd = whole("pandas")

    run, run_ids = pd.factorize(frame["run"])
    results, diverged_at = setup.blank_results(len(run_ids)), np.full(len(run_ids), -1)
    at, kind = np.searchsorted(setup.eval_steps, frame["step"]), (frame["weights"] == KINDS[1]).to_numpy(np.int64)
    for measure, name in enumerate(("loss", "accuracy")):
        for i, split in enumerate(SPLITS):
            results[run, at, kind, i, measure] = frame[f"{split}_{name}"]
    diverged_at[run] = frame["diverged_at"].fillna(-1)
    return run_ids.tolist(), results, diverged_at
