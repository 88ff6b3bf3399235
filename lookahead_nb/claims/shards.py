"""The committed rows of experiments: tables with manifests that name the entry they belong to, one for each shard."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lookahead_nb import provenance
from lookahead_nb.checks import whole
from lookahead_nb.claims import convergence, trial

if TYPE_CHECKING:
    import pandas as pd

LAST_DIGITS = 1e-6  # relative; rows have 8 digits
OF_ROW = ("number", "set", "steps", "arm", "multiple", "rates")  # set and steps on real data sets only


class OutdatedError(ValueError):
    """A committed table belongs to another entry than the registered one."""


def refuse_outdated(path: Path, entry: str, what: str) -> None:
    """Refuse a table that does not belong to an entry.

    Parameters
    ----------
    path : Path
        The table; its manifest lies next to it.
    entry : str
        Hash of the registered entry.
    what : str
        The name of the entry in the message.

    Raises
    ------
    FileNotFoundError
        If the manifest is missing.
    OutdatedError
        If the manifest names another entry.
    """
    manifest = path.with_suffix(".json")
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest.name} is missing next to {path.name}")
    if (found := json.loads(manifest.read_text(encoding="utf-8")).get("entry")) != entry:
        raise OutdatedError(
            f"{path.name} must belong to {what} as registered (hash {entry[:12]}), got {str(found)[:12]}: measure again"
        )


def write_shard(rows: pd.DataFrame, name: str, folder: Path, entry: str) -> Path:
    """Write the rows of a shard, both of its files or none.

    Parameters
    ----------
    rows : frame
        Of :meth:`.Experiment.measure`.
    name : str
        The name of the shard.
    folder : Path
    entry : str
        Hash of the registered entry.

    Returns
    -------
    Path
        That of the table, see :func:`write_whole`.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    return write_whole(packed(rows), name, folder, entry)


def write_whole(table: pd.DataFrame, name: str, folder: Path, entry: str) -> Path:
    """Write a table and its manifest, both files or none.

    Parameters
    ----------
    table : frame
    name : str
        The name of the table.
    folder : Path
    entry : str
        Hash of what is registered.

    Returns
    -------
    Path
        That of the table. An interruption leaves at most a manifest without a table, which counts as missing.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        made = provenance.write_table(table, name, folder=unfinished, entry=entry)
        made.with_suffix(".json").replace(folder / f"{name}.json")
        return made.replace(folder / made.name)


def read_shards(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the rows of some shards, one below the other.

    Parameters
    ----------
    paths : iterable of Path
        Those of the tables, at least one.

    Returns
    -------
    frame
        As :meth:`.Experiment.measure` returns it, see :func:`unpacked` for the order.

    Raises
    ------
    OSError, ValueError
        As :func:`.provenance.read_table`.
    """
    return whole("pandas").concat([unpacked(provenance.read_table(path)) for path in paths], ignore_index=True)


def packed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with all metrics and ways of tuning side by side, in which they take half of the bytes.

    Parameters
    ----------
    rows : frame
        Of :meth:`.Experiment.measure`.

    Returns
    -------
    frame
        A row for each task, arm and multiple; columns such as "r0: test loss, own".
    """
    keys = [name for name in OF_ROW if name in rows]
    wide = rows.set_index([*keys, "metric", "tuning"]).unstack(["metric", "tuning"]).dropna(axis=1, how="all")
    wide = wide.loc[rows.set_index(keys).index.unique()]
    order = [(metric, tuning) for metric in rows["metric"].unique() for tuning in rows["tuning"].unique()]
    columns = sorted(wide.columns, key=lambda column: order.index(column[1:]))
    wide = wide[columns]
    wide.columns = [f"{value}: {metric}, {tuning}" for value, metric, tuning in columns]
    return wide.reset_index()


def unpacked(table: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`packed` was called with, in the order of tasks, arms, multiples, metrics and ways of tuning.

    Parameters
    ----------
    table : frame
        Of :func:`packed`.

    Returns
    -------
    frame
        As :meth:`.Experiment.measure` returns it.
    """
    pd = whole("pandas")

    keys = [name for name in OF_ROW if name in table]
    kinds = dict.fromkeys(name.partition(": ")[2] for name in table if ": " in name)
    parts = []
    for kind in kinds:
        metric, tuning = kind.rsplit(", ", 1)
        own = table[[*keys, *(name for name in table if name.endswith(f": {kind}"))]]
        own = own.rename(columns=lambda name: name.partition(": ")[0])
        parts.append(own[own["r0"].notna()].assign(metric=metric, tuning=tuning))
    rows = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    values = [name for name in rows if name[0] == "r" and name[1:].isdigit()]
    for name in ("lowest", "highest"):
        if name not in rows:
            rows[name] = np.nan
    first = [name for name in keys if name not in ("arm", "multiple", "rates")]
    return rows[[*first, *trial.KEYS[1:], *values, "lowest", "highest", "rates"]]


def different_tasks(here: pd.DataFrame, there: pd.DataFrame, numbers: Collection[int], *, exact: bool) -> list[int]:
    """Return the tasks with other rows in one frame than in another.

    Parameters
    ----------
    here, there : frame
        Of :meth:`.Experiment.measure` and :func:`read_shards`.
    numbers : collection of int
        Of the tasks that are compared.
    exact : bool
        Whether numbers are compared bit for bit. Those with a logarithm or a power, which are "own of 24", ranges of
        rates and steps to a loss, never are: their last digits follow the class of the CPU.

    Returns
    -------
    list of int
        In the order of numbers.
    """
    here = here.reindex(columns=there.columns)  # a data set may have fewer replicates than another
    return [
        number
        for number in numbers
        if not _same(
            *(frame[frame["number"] == number].sort_values(trial.KEYS, ignore_index=True) for frame in (here, there)),
            exact=exact,
        )
    ]


def _same(here: pd.DataFrame, there: pd.DataFrame, *, exact: bool) -> bool:
    keys = [name for name in here if not name[1:].isdigit()]
    values = [name for name in here if name not in keys]
    if list(here) != list(there) or not here[keys].equals(there[keys]):
        return False
    logarithm = here["tuning"].eq(trial.TUNINGS[2]) | here["metric"].isin([*trial.RANGES, convergence.METRIC])
    bits = ~logarithm & exact
    return here.loc[bits, values].equals(there.loc[bits, values]) and bool(
        np.allclose(here[values], there[values], rtol=LAST_DIGITS, atol=0, equal_nan=True)
    )
