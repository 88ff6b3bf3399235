"""Evidence on a statement: its committed results, and the runs that can be repeated here."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lookahead_nb import provenance as tables
from lookahead_nb.checks import of_type
from lookahead_nb.claims.arms import ARM_PARAMETERS, with_parameters
from lookahead_nb.claims.measure import Measured, measure
from lookahead_nb.claims.shards import OutdatedError as OutdatedError
from lookahead_nb.claims.statements import Claim
from lookahead_nb.claims.tasks import TASK_PARAMETERS


def results(claim: Claim, part: str = "", *, folder: str | Path | None = None) -> pd.DataFrame:
    """Return the measured runs of a claim from ``folder/ID.csv``.

    The runs get the parameters of their tasks and arms as columns, which the file does not hold.

    Parameters
    ----------
    claim : Claim
        The claim.
    part : {"", "tuning"}
        "" for the runs, "tuning" for the trials of the tuned arms.
    folder : path, optional
        Default ``data/results`` of the checkout.

    Returns
    -------
    DataFrame
        As in ``measure.Measured``.

    Raises
    ------
    OSError
        If the claim has no results.
    ValueError
        If the results belong to another entry than the registered one, were changed after they were written, or lack
        the table or the manifest.
    """
    table = _table_of(claim, part, folder)
    return table if part else with_parameters(table, claim.problems, claim.arms)


def _table_of(claim: Claim, part: str = "", folder: str | Path | None = None) -> pd.DataFrame:
    """Return a table of a claim as it was written."""
    return tables.read_table(_results_path(claim, part, folder))


def _results_path(claim: Claim, part: str = "", folder: str | Path | None = None) -> Path:
    """Return the path of the results of a claim, once their manifest names the registered entry."""
    of_type("claim", claim, Claim, "a claim such as claims.read returns")
    folder = Path(folder) if folder else tables.committed("data/results")
    path = folder / f"{claim.id}{part and '_'}{part}.csv"
    files = [file for file in (path, path.with_suffix(".json")) if file.is_file()]
    if not files:
        raise OSError(f"{claim.id} has no results in {folder.name}: {path.stem}.json is missing")
    if len(files) == 1:
        raise ValueError(f"{files[0].name} must come as a table with a manifest, one of which is missing")
    manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if manifest.get("claim") != claim.sha256:
        raise ValueError(
            f"{path.name} must belong to the registered {claim.id} ({claim.sha256[:8]}), not to another entry: "
            "the claim was changed after its results were made"
        )
    return path


class Evidence(NamedTuple):
    """What a claim is judged by and its origin; as text, the three lists of tasks.

    Attributes
    ----------
    runs, tuning : DataFrame
        As in ``measure.Measured``.
    here : list of str
        The tasks that were trained on this machine.
    committed : list of str
        The tasks taken from the committed results.
    absent : list of str
        The tasks that are neither available offline nor committed. Without them there is no verdict.
    """

    runs: pd.DataFrame
    tuning: pd.DataFrame
    here: list[str]
    committed: list[str]
    absent: list[str]

    def __str__(self) -> str:
        kinds = {"trained here": self.here, "from the committed results": self.committed, "absent": self.absent}
        return "; ".join(f"{kind}: {', '.join(listed) or 'none'}" for kind, listed in kinds.items())


def evidence(claim: Claim, *, full: bool | None = None) -> Evidence:
    """Train the arms of a claim on the tasks available offline and take the other tasks from the committed results.

    Tasks whose data must be downloaded are trained only if ``full``. Sweeps resume from ``build/store``; the tables
    ``ID`` and ``ID_tuning`` are written to ``build/results``.

    Parameters
    ----------
    claim : Claim
        The claim.
    full : bool, optional
        Default: whether the environment variable FULL is 1.

    Returns
    -------
    Evidence
        The runs of all tasks and where they come from.

    Raises
    ------
    TypeError, ValueError, MemoryError
        Those of ``sweep``; ValueError also for committed results that are needed and belong to another entry.
    """
    trained = available_tasks(claim, full=full)
    others, stored = [name for name in claim.tasks if name not in trained], list[pd.DataFrame]()
    if others:
        with suppress(OSError):  # not measured yet
            stored = [_table_of(claim), _table_of(claim, "tuning") if claim.tuned else pd.DataFrame({"task": []})]
    measured = measure(claim, tasks=trained, store=tables.build_folder("store"))
    measured = measured._replace(runs=measured.runs.drop(columns=[*TASK_PARAMETERS, *ARM_PARAMETERS]))
    committed = [name for name in others if stored and name in {*stored[0]["task"]}]
    if committed:
        measured = _joined(measured, stored, committed, claim.tasks)
    for name, table in {claim.id: measured.runs, f"{claim.id}_tuning": measured.tuning}.items():
        if len(table):
            tables.write_table(table, name, claim=claim.sha256)
    absent = [name for name in others if name not in committed]
    runs = with_parameters(measured.runs, claim.problems, claim.arms)
    return Evidence(runs, measured.tuning, trained, committed, absent)


def available_tasks(claim: Claim, *, full: bool | None = None) -> list[str]:
    """Return the tasks of a claim that are trained on this machine.

    These are the tasks that need no download and, if ``full``, all whose data is available offline.

    Parameters
    ----------
    claim : Claim
        The claim.
    full : bool, optional
        Default: whether the environment variable FULL is 1.

    Returns
    -------
    list of str
        Names of tasks, in the order of the claim.
    """
    of_type("claim", claim, Claim, "a claim such as claims.read returns")
    full = os.environ.get("FULL") == "1" if full is None else full
    problems = claim.problems.items()
    return [name for name, problem in problems if not problem.needs_download or (full and problem.is_available)]


def _joined(measured: Measured, stored: list[pd.DataFrame], tasks: list[str], order: tuple[str, ...]) -> Measured:
    """Append the stored rows of these tasks to the measured ones, in the order of all tasks."""
    parts = [(new, old[old["task"].isin(tasks)]) for new, old in zip(measured, stored, strict=True)]
    whole = [pd.concat([part for part in both if len(part)] or both[:1]) for both in parts]
    place = {name: i for i, name in enumerate(order)}
    return Measured(
        *(table.sort_values("task", key=lambda c: c.map(place), kind="stable", ignore_index=True) for table in whole)
    )
