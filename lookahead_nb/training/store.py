"""The store of a sweep: a folder of immutable parquet parts, one for each unit of runs, bound to one configuration.

Later requests may ask for other seeds and optimizers. Each one that needs further runs adds a manifest, which lists the
parts that are stored by then and the units to come; no file is ever changed.

A store may also keep the states of the runs of a part, in a file beside it. A later request may then ask for more
steps. It adds the longer runs; those that they continue stay as they are.

A part is complete or absent: it is written under another name, synced to the disk and renamed. So processes may be
killed at any moment and may share a store; the next one trains the missing units. Every file holds a checksum, its own
sha256, which reveals any changed bit. Equal rows give equal bytes.

Nothing in a file depends on the version of pandas, see ``columns``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import user_path, whole
from lookahead_nb.provenance import machine
from lookahead_nb.training.columns import TEXT, arrow, bits, encoded, frame_of, merged, write_csv, write_parquet
from lookahead_nb.training.files import appearing, discard, explained, reason, sync, temporary

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MANIFEST = "manifest.json"
REQUESTED = ("seeds", "configs")  # the keys of a configuration that may differ between requests
HEADER = "lookahead_nb"  # the key of a part's header among the metadata of parquet
RUN = ("task", "run", "seed")  # the columns that identify a run
ORDER = "order"  # the column that sorts the rows of all parts, stably; it is not shown
SHOWN = 3  # differences, names and columns that a message lists

DAMAGED = "damaged, its sha256 is not the checksum that it holds"

_BLANK = b"sha256:" + b"0" * 64
_CLAIM = "0" * 16  # the token of a folder that holds the manifest of the process that was first
_TEMPORARY = re.compile(r".+\.[0-9a-f]{16}\.tmp")
_STATES = ".states.parquet"  # ends the name of a unit's states
_ADDED = re.compile(r"manifest\.([1-9][0-9]*)\.json")  # the manifest of a later request


class DamageError(ValueError):
    """A file of a store is not the one that was written."""


class Store:
    """The results of one sweep in a folder; made or opened by :meth:`open`.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    configuration : dict
        Everything that the results depend on, nested; seeds and configs are those of the last request.
    units : tuple of str
        The names of all units, those of earlier requests first, in the order of the plan.
    added : tuple of str
        Those of the last request alone.
    sha256 : str
        The hash of the configuration.
    number : int
        The number of the last request that needed further runs; 0 for the one that made the store.
    machine : dict
        The machine that made the store, as in :func:`lookahead_nb.provenance.machine`.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from lookahead_nb.training.store import Store
    >>> folder, unit = tempfile.TemporaryDirectory(), "0123456789abcdef"
    >>> store = Store.open(folder.name, {"steps": 10}, [unit])
    >>> store.write(unit, pd.DataFrame({"order": [1, 0], "loss": [0.5, 0.25]}))
    >>> store.frame()["loss"].tolist()
    [0.25, 0.5]
    >>> store.verify()
    []
    >>> folder.cleanup()
    """

    def __init__(self, path: pathlib.Path, manifests: dict[int, dict[str, Any]]) -> None:
        self.path = path
        self.number = max(manifests)
        first, last = manifests[0], manifests[self.number]
        self.configuration: dict[str, Any] = last["configuration"]
        self.units: tuple[str, ...] = tuple(last["units"])
        self.added: tuple[str, ...] = tuple(last["added"]) if self.number else self.units
        self.sha256: str = last["sha256"]
        self._configurations: list[dict[str, Any]] = [manifest["configuration"] for manifest in manifests.values()]
        self.machine: dict[str, Any] = first["machine"]
        self._order: int = last.get("order", 0)  # that of the first row of the last request
        self._parts = {_name(unit): unit for manifest in manifests.values() for unit in manifest["units"]}
        self._states = {_name(unit, _STATES): unit for unit in self._parts.values()}
        self._sha256s = {manifest["sha256"] for manifest in manifests.values()} | {*last.get("earlier", ())}
        self._dtypes: dict[str, str] | None = None
        self._chosen: tuple[str, ...] | None = None
        self._arranged: Callable[[str, pd.DataFrame], pd.DataFrame] | None = None

    @property
    def first_seed(self) -> int:
        """The first seed of the request that made the store; every configuration names the data of this seed."""
        return int(self._configurations[0]["seeds"][0])

    @property
    def lengths(self) -> dict[str, dict[int, list[int]]]:
        """The steps of the requests for each task, each with the evaluated steps; the task of a sweep of one is ""."""
        found: dict[str, dict[int, list[int]]] = {}
        for configuration in self._configurations:
            for task, of in configuration.get("tasks", {"": configuration}).items():
                found.setdefault(task, {})[_steps_of(of)] = of.get("eval_steps", [])
        return found

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        configuration: dict[str, Any] | None = None,
        units: Iterable[str] | None = None,
    ) -> Store:
        """Return the store in a folder, made if there is none.

        Parameters
        ----------
        path : path
            The folder; ~ is the home folder.
        configuration : dict, optional
            Everything that the results depend on, nested, of values that JSON can hold. It must equal that of an
            existing store, except in ``REQUESTED``, see :meth:`extend`, and in a larger number of steps where the store
            keeps states. None only opens an existing store.
        units : iterable of str, optional
            The names of all units, 16 to 64 hex digits each, in the order of the plan; required with a configuration.
            An existing store keeps its own.

        Returns
        -------
        Store

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or form, or the folder holds another sweep or other files.
        DamageError
            If the manifest is damaged.
        OSError
            If the folder cannot be read or written, or holds no store and configuration is None.
        """
        path = user_path("path", path)
        expected = None if configuration is None else _manifest(configuration, units)
        with explained(f"the store {path} cannot be opened"):
            if path.exists() and not path.is_dir():
                raise ValueError(f"path must be a folder, got the file {path}")
            if not (path / MANIFEST).is_file():
                if not expected:
                    raise FileNotFoundError(f"{path} holds no {MANIFEST}")
                _make(path, expected)
            store = cls(path, _load_manifests(path))
        if expected:
            store._compare(expected["configuration"])
        return store

    def answers(self, configuration: dict[str, Any], units: Iterable[str]) -> bool:
        """Return whether the units of the last request are these, of this configuration.

        Parameters
        ----------
        configuration, units
            As in :meth:`open`.

        Returns
        -------
        bool
        """
        return _canonical(configuration)[1] == self.sha256 and self.added == tuple(units)

    def extend(self, configuration: dict[str, Any], units: Iterable[str], order: int) -> Store:
        """Add units for a request with other seeds or configs; what is stored stays.

        Of several processes that extend a store at once, the first one wins.

        Parameters
        ----------
        configuration, units
            As in :meth:`open`. No unit may be one of an earlier request.
        order : int
            Added to the column ``order`` of these units: larger than any that is stored, so that their rows come last.

        Returns
        -------
        Store
            The store with the request that has won: see :meth:`answers`.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or form, or the configuration differs as :meth:`open` refuses it.
        OSError
            If the folder cannot be read or written.
        """
        added = _manifest(configuration, units)
        self._compare(added["configuration"])
        with explained(f"the store {self.path} cannot be read"):
            present = _files(self.path)
        more = {"order": order, "earlier": sorted(self._sha256s), "added": added["units"]}
        added["units"] = [unit for name, unit in self._parts.items() if name in present] + added["units"]
        with explained(f"the store {self.path} cannot be extended"):
            _publish(self.path / f"manifest.{self.number + 1}.json", _written(added | more))
        return Store.open(self.path)

    def columns(self, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Yield every stored unit, of any request, and some of its columns.

        Parameters
        ----------
        names : list of str
            Columns; those that a unit lacks are left out. ``order`` comes in addition.

        Yields
        ------
        (str, pyarrow.Table)

        Raises
        ------
        DamageError
            If a part is damaged; the message names it.
        OSError
            If a part cannot be read.
        """
        with explained(f"the store {self.path} cannot be read"):
            present = _files(self.path)
        for name, unit in self._parts.items():
            if name in present:
                yield unit, _table(self._load(name), names)

    def rows(self, unit: str) -> pd.DataFrame:
        """Return the rows of a stored unit, of any request, as they were written.

        Parameters
        ----------
        unit : str

        Returns
        -------
        frame

        Raises
        ------
        DamageError
            If the part is damaged; the message names it.
        OSError
            If the part cannot be read.
        """
        part = self._load(_name(unit))
        dtypes = _header(part)["dtypes"]
        return frame_of(_table(part), dtypes, dtypes)

    def with_states(self) -> set[str]:
        """Return the names of the units, of any request, whose states are stored; only names of files are read.

        Returns
        -------
        set of str

        Raises
        ------
        OSError
            If the folder cannot be read.
        """
        with explained(f"the store {self.path} cannot be read"):
            present = _files(self.path)
        return {unit for name, unit in self._states.items() if name in present}

    def states(self, unit: str) -> Any:
        """Return the states of the runs of a unit, of any request.

        Parameters
        ----------
        unit : str
            One of :meth:`with_states`.

        Returns
        -------
        pyarrow.Table
            Of ``states.states_table``.

        Raises
        ------
        DamageError
            If the states are damaged; the message names the file.
        OSError
            If they cannot be read.
        """
        return _table(self._load(_name(unit, _STATES)))

    def arrange(self, units: Iterable[str], arranged: Callable[[str, pd.DataFrame], pd.DataFrame]) -> None:
        """Choose the rows that :meth:`frame` and :meth:`export` return.

        Parameters
        ----------
        units : iterable of str
            The stored units that hold them, of any request, in order.
        arranged : function
            ``(unit, frame) -> frame``, returns the rows to take from a unit. All frames must have the same columns and
            dtypes, and their own ``order``.
        """
        self._chosen, self._arranged = tuple(units), arranged

    def done(self) -> set[str]:
        """Return the names of the units that are stored; only names of files are read.

        Returns
        -------
        set of str

        Raises
        ------
        OSError
            If the folder cannot be read.
        """
        with explained(f"the store {self.path} cannot be read"):
            present = _files(self.path)
        return {unit for unit in self.units if _name(unit) in present}

    def write(
        self,
        unit: str,
        frame: pd.DataFrame,
        trained_on: dict[str, Any] | None = None,
        *,
        states: Any = None,
        continued: Collection[tuple[str, str]] = (),
    ) -> None:
        """Write the rows of a unit as its part; do nothing if the part exists with the same rows.

        Parameters
        ----------
        unit : str
            A name of the plan.
        frame : frame
            Columns of floats, whole numbers, truth values and strings, with NaN where a value does not apply. Text
            comes back in the dtype that pandas gives to text. The column ``order`` holds the places of the rows among
            those of the whole sweep.
        trained_on : dict, optional
            The machine that trained the unit, as :func:`maker` returns it there; default: this one.
        states : pyarrow.Table, optional
            The states of the runs, of ``states.states_table``. They are on the disk ahead of the part.
        continued : collection of (str, str)
            Task and run of the shorter runs that those of the unit continue; :meth:`frame` no longer returns them.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or form, or the part exists with other rows or states.
        OSError
            If the part cannot be written, for example on a full disk; the store is then as before.
        """
        if _name(unit) not in self._parts:
            raise ValueError(f"unit must be one of the {len(self.units)} units of {self.path}, got {unit!r}")
        if self._order and ORDER in frame:
            frame = frame.assign(**{ORDER: frame[ORDER] + self._order})
        header = {"machine": trained_on or maker(_gpu_of(self.configuration))}
        more: dict[str, Any] = {"states": True} if states is not None else {}
        more |= {"continued": sorted(continued)} if continued else {}
        part = self._part(unit, frame, header, more)
        problem = f"the store {self.path} could not keep unit {unit}"
        with explained(problem, "nothing else is lost; run the sweep again to continue from here"):
            if states is not None:
                sealed = _sealed(states, self._head(unit) | header | {"holds": "states"})
                self._keep(_name(unit, _STATES), sealed, _same_states, "states")
            self._keep(_name(unit), part, _same_rows, "rows")

    def _keep(self, name: str, part: bytes, same: Callable[[bytes, bytes], bool], what: str) -> None:
        """Write a file, unless it exists with the same content."""
        path = self.path / name
        if path.is_file():
            stored = path.read_bytes()
            if not self._damage(name, stored):
                if not same(stored, part):
                    raise ValueError(f"{path} differs from the {what} just computed: the runs do not repeat")
                return
        with appearing(path) as file:
            file.write(part)

    def frame(self, columns: Collection[str] | None = None, *, partial: bool = False) -> pd.DataFrame:
        """Return the rows of all units in the order of the plan, with the values and dtypes that were written.

        Runs that a later request has added follow those of earlier ones. Their columns and dtypes are then those of a
        sweep over all configurations. A run that was continued to more steps is returned once, at its full length. The
        store that a sweep returns has the rows of that sweep alone.

        Parameters
        ----------
        columns : list of str, optional
            The columns to return, in this order; all of them by default.
        partial : bool
            True returns the units that exist; False requires all of them.

        Returns
        -------
        frame

        Raises
        ------
        ValueError
            If units are missing and partial is False, or a column is unknown.
        DamageError
            If a part is damaged; the message names it.
        OSError
            If a part cannot be read.
        """
        pd = whole("pandas")

        pa, _ = arrow()
        parts = list(self._tables(self._present(partial), columns))
        if not parts:
            return pd.DataFrame()
        dtypes, frames = merged(header for _, header in parts), []
        shown = [name for name in dtypes if name != ORDER]
        if unknown := [name for name in columns or () if name not in shown]:
            raise ValueError(f"columns must be among {', '.join(shown)}, got {unknown[0]!r}")
        for stored, alike in itertools.groupby(parts, key=lambda part: [*part[1]["dtypes"].items()]):
            frames.append(frame_of(pa.concat_tables([table for table, _ in alike]), dict(stored), dtypes))
        frame = pd.concat(frames, ignore_index=True)
        if ORDER in frame:
            frame = frame.take(np.argsort(frame[ORDER].to_numpy(), kind="stable")).drop(columns=ORDER)
        frame = frame.reset_index(drop=True)
        return frame if columns is None else frame[list(columns)]

    def export(self, path: str | os.PathLike[str], *, partial: bool = False) -> None:
        """Write the rows of all units to one file, unit after unit in the order of the plan.

        Only one part is in memory at a time.

        Parameters
        ----------
        path : path
            A file that ends in .parquet or .csv, outside the store; it is replaced as a whole.
        partial : bool
            True writes the units that exist; False requires all of them.

        Raises
        ------
        ValueError
            If path has another ending or lies in the store, or units are missing and partial is False.
        DamageError
            If a part is damaged; the message names it.
        OSError
            If a part cannot be read or the file cannot be written.
        """
        path = user_path("path", path)
        if path.suffix not in (".parquet", ".csv"):
            raise ValueError(f"path must end in .parquet or .csv, got {path.name!r}")
        if path.resolve().parent == self.path.resolve():
            raise ValueError(f"path must lie outside of the store, got {path}")
        units = self._present(partial)
        headers = [header for _, header in self._tables(units, [])]
        dtypes = {name: dtype for name, dtype in merged(headers).items() if name != ORDER}
        kinds = {name: {kind for header in headers for kind in header["kinds"].get(name, ())} for name in dtypes}
        frames = (frame_of(table, header["dtypes"], dtypes) for table, header in self._tables(units, list(dtypes)))
        with explained(f"{path} cannot be written"), appearing(path) as file:
            (write_csv if path.suffix == ".csv" else write_parquet)(file, frames, dtypes, kinds)

    def verify(self, *, remove: bool = False) -> list[str]:
        """Return the problems: damaged, unreadable, foreign and half-written files, and missing units and states.

        Parameters
        ----------
        remove : bool
            True deletes half-written files, and parts that are damaged or unreadable or whose states are, so that the
            next sweep trains those units again. Do not use it while a sweep is running: its unfinished files are
            half-written too.

        Returns
        -------
        list of str
            One sentence per file and one for missing units; empty if the store is complete and undamaged.

        Raises
        ------
        OSError
            If the folder cannot be read or a file cannot be removed.
        """
        with explained(f"the store {self.path} cannot be read"):
            names = sorted(_files(self.path) | {MANIFEST})
        problems, firsts = [], dict[str, tuple]()
        for name in names:
            problem, ours = self._problem(name, firsts)
            if not problem and name in self._parts and _header((self.path / name).read_bytes()).get("states"):
                problem, ours = "without its states" if _name(self._parts[name], _STATES) not in names else None, True
            if problem and ours and remove:
                with explained(f"{self.path / name} cannot be removed"):
                    shutil.rmtree(self.path / name) if (self.path / name).is_dir() else (self.path / name).unlink()
                    if name in self._states:  # the rows alone would be taken for a whole unit
                        (self.path / _name(self._states[name])).unlink(missing_ok=True)
                problem += " (removed)"
            if problem:
                problems.append(f"{name}: {problem}")
        missing = [unit for unit in self.units if _name(unit) not in names]
        if missing:
            problems.append(f"{len(missing)} of {len(self.units)} units are missing: {_few(missing)}")
        return problems

    def show(self) -> dict[str, Any]:
        """Return a summary: configuration, units, rows, size, the machines that made the store and its parts.

        Returns
        -------
        dict
            Flat, with names joined by dots.

        Raises
        ------
        DamageError
            If a part is damaged; the message names it.
        OSError
            If the store cannot be read.
        """
        _, pq = arrow()
        done = self._present(partial=True)
        manifests = [name for name in _files(self.path) if name == MANIFEST or _ADDED.fullmatch(name)]
        rows, size, machines = 0, sum((self.path / name).stat().st_size for name in manifests), []
        for unit in done:
            path = self.path / _name(unit)
            try:
                footer = pq.read_metadata(path)
                header = json.loads(footer.metadata[HEADER.encode()])
            except Exception as error:
                raise self._advice(_name(unit), "damaged") from error
            rows, size = rows + footer.num_rows, size + path.stat().st_size
            if header["machine"] not in machines:
                machines.append(header["machine"])
        of_states = sum((self.path / _name(unit, _STATES)).stat().st_size for unit in self.with_states())
        summary = {"store": str(self.path), "units": len(self.units), "done": len(done), "rows": rows}
        summary |= {"bytes": size + of_states} | ({"bytes of states": of_states} if of_states else {})
        summary |= {"sha256": self.sha256, "configuration": self.configuration, "made by": self.machine}
        flat = _flat(summary | {"written by": dict(enumerate(machines, 1))}, inside=dict)
        return {name: f"{len(value)} values" if isinstance(value, list) else value for name, value in flat.items()}

    # ------------------------------------------------------------------------------------------------------- one part

    def _present(self, partial: bool) -> list[str]:
        """Return the units that are stored, in the order of the plan; refuse missing ones unless partial."""
        with explained(f"the store {self.path} cannot be read"):
            present = _files(self.path)
        units = self.units if self._chosen is None else self._chosen
        done = [unit for unit in units if _name(unit) in present]
        if (missing := len(units) - len(done)) and not partial:
            problem = f"{self.path} must hold all {len(units)} units, but {missing} are missing"
            raise ValueError(f"{problem}: run the sweep again, which resumes, or ask for a partial result")
        return done

    def _tables(
        self, units: Iterable[str], chosen: Collection[str] | None = None
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the arrow table and the header of each unit, with the chosen columns or all of them."""
        firsts, seen = dict[str, tuple](), set[tuple]() if self._arranged else self._continued()
        for unit in units:
            part = self._load(_name(unit))
            header = _header(part)
            if problem := _difference(_name(unit), header, firsts):
                raise ValueError(f"{self.path / _name(unit)} {problem}")
            if self._arranged is not None:
                frame = frame_of(_table(part), header["dtypes"], header["dtypes"])
                table, header = encoded(self._arranged(unit, frame))
                yield (table if chosen is None else table.select(_among(table.column_names, chosen))), header
                continue
            table = _table(part, chosen)
            if self.number:  # processes with different requests may have trained a run at the same time
                runs = runs_of(_table(part, RUN).to_pandas())
                table = table.filter([run not in seen for run in runs])
                seen.update(runs)
            yield table, header

    def _continued(self) -> set[tuple]:
        """Return task and run of all stored runs that a stored longer one continues."""
        if all(len(steps) == 1 for steps in self.lengths.values()):
            return set()
        headers = (_header(self._load(_name(unit))) for unit in self.done())
        return {tuple(run) for header in headers for run in header.get("continued", ())}

    def _load(self, name: str) -> bytes:
        with explained(f"the store {self.path} cannot be read"):
            part = (self.path / name).read_bytes()
        if problem := self._damage(name, part):
            raise self._advice(name, problem)
        return part

    def _advice(self, name: str, problem: str) -> DamageError:
        """Return the error for a file with a problem."""
        advice = f'"lookahead-nb store verify {self.path} --remove" drops it, and the sweep trains it again'
        return DamageError(f"{self.path / name} is {problem}: {advice}")

    def _compare(self, expected: dict[str, Any]) -> None:
        """Refuse a configuration that differs in more than ``REQUESTED``, and in more steps where states are stored."""
        stored = _counterpart(expected, self._configurations, bool(self.with_states()))
        new, old = ({name: json.dumps(value) for name, value in _flat(_fixed(of)).items()} for of in (expected, stored))
        if names := [name for name in new | old if new.get(name) != old.get(name)]:
            if any(name.endswith("training.steps") for name in names):  # the evaluated steps follow from them
                names.sort(key=lambda name: "eval_steps" in name)
            differences = [f"{name}: here {new.get(name, 'absent')}, there {old.get(name, 'absent')}" for name in names]
            may = "only seeds and configs may differ, and steps may grow where keep_states=True has stored the states"
            raise ValueError(
                f"configuration must be that of the store {self.path}, but differs in {_few(differences)}: {may}; pass "
                "another folder for another sweep"
            )

    def _problem(self, name: str, firsts: dict[str, tuple]) -> tuple[str | None, bool]:
        """Return the problem of a file of the folder, or None, and whether the file may be deleted.

        For ``firsts`` see :func:`_difference`.
        """
        try:
            if name == MANIFEST or _ADDED.fullmatch(name):
                same = _load_manifest(self.path / name)["sha256"] in self._sha256s
                return (None if same else "foreign, that of another configuration"), False
            if name in self._parts:
                part = (self.path / name).read_bytes()
                if problem := self._damage(name, part) or _unreadable(part):
                    return problem, True
                return _difference(name, _header(part), firsts), False
            if name in self._states:
                return self._damage(name, (self.path / name).read_bytes()), True
        except DamageError:
            return DAMAGED, False
        except OSError as error:
            return f"unreadable ({reason(error)})", name in self._parts or name in self._states
        if _TEMPORARY.fullmatch(name):
            return "half-written, by a process that was stopped", True
        return "foreign, no part of this sweep", False

    def _damage(self, name: str, part: bytes) -> str | None:
        """Return the problem of the bytes of a part, or of the states of one, or None."""
        if not part.endswith(b"PAR1"):
            return "truncated"
        if not _checksum_holds(part):
            return DAMAGED
        header = _header(part)
        if header["format"] != FORMAT:
            return f"of format {header['format']}, not {FORMAT}"
        if header["configuration"] not in self._sha256s:
            return "foreign, a part of another configuration"
        holds, expected = header.get("holds", "rows"), "rows" if name in self._parts else "states"
        whose = (self._parts | self._states)[name]
        if (header["unit"], holds) == (whose, expected):
            return None
        return f"foreign, the {'part' if holds == 'rows' else holds} of unit {header['unit']}"

    def _head(self, unit: str) -> dict[str, Any]:
        """Return the beginning of the header of a file of a unit."""
        return {"format": FORMAT, "unit": unit, "configuration": self.sha256}

    def _part(self, unit: str, frame: pd.DataFrame, made_by: dict[str, Any], more: dict[str, Any]) -> bytes:
        """Return the bytes of a part."""
        if not all(isinstance(name, str) for name in frame) or frame.columns.has_duplicates:
            raise TypeError(f"the columns of frame must be different names, got {list(frame)}")
        table, columns = encoded(frame)
        dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
        self._dtypes = self._dtypes or dtypes
        if dtypes != self._dtypes:
            raise ValueError(f"frame must have the columns and dtypes of the other units, {self._dtypes}, got {dtypes}")
        return _sealed(table, self._head(unit) | made_by | columns | more)


def _name(unit: str, ending: str = ".parquet") -> str:
    """Return the name of the file of a unit, or of its states."""
    return f"{unit}{ending}"


def _sealed(table: Any, header: dict[str, Any]) -> bytes:
    """Return a table as parquet, the header with its checksum last in the metadata."""
    pa, pq = arrow()
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({HEADER: json.dumps(header | {"seal": _BLANK.decode()})})
    return _with_checksum(sink.getvalue().to_pybytes())


@cache
def maker(gpu: str | None = None) -> dict[str, Any]:
    """Return this machine as a part records it.

    Parameters
    ----------
    gpu : str, optional
        The name of the GPU that trains.

    Returns
    -------
    dict
        That of :func:`lookahead_nb.provenance.machine` without the number of threads.
    """
    return {name: value for name, value in machine(gpu).items() if name != "threads"}  # their number changes no bit


def _gpu_of(configuration: dict[str, Any]) -> str | None:
    """Return the name of the GPU that trains the runs of a sweep in this process, or None for the CPU."""
    training = configuration.get("training")
    if not (isinstance(training, dict) and training.get("backend") == "cuda"):
        return None
    from lookahead_nb.kernels import gpu  # numba.cuda is loaded where it is used

    return gpu.name()


# ----------------------------------------------------------------------------------------------------- rows of a part


def _difference(name: str, header: dict[str, Any], firsts: dict[str, tuple]) -> str | None:
    """Return in words how the columns of a part differ from those of the first part of its configuration, or None.

    How a version of pandas kept text is no difference. ``firsts`` holds (name, header) of the first part.
    """
    first, other = firsts.setdefault(header["configuration"], (name, header))
    ours, theirs = header["dtypes"], other["dtypes"]
    same = list(ours) == list(theirs) and all(
        dtype == theirs[column] or {dtype, theirs[column]} == {"object", TEXT} for column, dtype in ours.items()
    )
    return None if same else f"differs in its columns from {first}"


def _unreadable(part: bytes) -> str | None:
    """Return in words why the rows of an undamaged part cannot be read here, or None."""
    try:
        header = _header(part)
        frame_of(_table(part), header["dtypes"], merged([header]))
    except Exception as error:  # whatever pyarrow and pandas raise
        return f"unreadable here ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    return None


def _same_rows(part: bytes, other: bytes) -> bool:
    """Return whether two parts hold the same rows, in every bit."""
    headers = [_header(data) for data in (part, other)]
    dtypes = merged(headers)
    if any(header["dtypes"].keys() != dtypes.keys() for header in headers):
        return False
    one, two = (frame_of(_table(data), _header(data)["dtypes"], dtypes) for data in (part, other))
    return all(bits(name, one[name]) == bits(name, two[name]) for name in dtypes)


def _same_states(part: bytes, other: bytes) -> bool:
    """Return whether two files hold the same states, in every bit."""
    return bool(_table(part).equals(_table(other)))


def _header(part: bytes) -> dict[str, Any]:
    pa, pq = arrow()
    return json.loads(pq.read_metadata(pa.BufferReader(part)).metadata[HEADER.encode()])


def _table(part: bytes, chosen: Collection[str] | None = None) -> Any:
    """Return the chosen columns of a part, and its column ``order``, as an arrow table."""
    pa, pq = arrow()
    file = pq.ParquetFile(pa.BufferReader(part))
    return file.read(_among(file.schema_arrow.names, chosen), use_threads=False)


def _among(names: list[str], chosen: Collection[str] | None) -> list[str]:
    """Return the chosen ones of these columns, and ``order``."""
    return [name for name in names if chosen is None or name in (*chosen, ORDER)]


def runs_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the task, empty in a sweep of one, and the run of every row.

    Parameters
    ----------
    rows : frame
        With the columns of ``RUN``.

    Returns
    -------
    list of (str, str)
    """
    tasks = rows["task"] if "task" in rows else [""] * len(rows)
    return [*zip(tasks, rows["run"], strict=True)]


# ------------------------------------------------------------------------------------------------------- the manifest


def _manifest(configuration: dict[str, Any], units: Iterable[str] | None) -> dict[str, Any]:
    """Return the manifest of a new store, or refuse what it cannot hold."""
    if not isinstance(configuration, dict):
        raise TypeError(f"configuration must be a dict, got {configuration!r}")
    if units is None or isinstance(units, str):
        raise TypeError(f"units must be a list of names with a configuration, got {units!r}")
    units = list(units)
    bad = [unit for unit in units if not (isinstance(unit, str) and re.fullmatch("[0-9a-f]{16,64}", unit))]
    if bad:
        raise ValueError(f"units must be names of 16 to 64 hex digits, got {bad[0]!r}")
    if len(set(units)) < len(units):
        raise ValueError(f"units must all differ, got {next(u for u in units if units.count(u) > 1)!r} twice")
    text, sha256 = _canonical(configuration)
    manifest = {"format": FORMAT, "configuration": json.loads(text), "sha256": sha256, "units": units}
    return manifest | {"machine": machine(_gpu_of(configuration))}


def _canonical(configuration: dict[str, Any]) -> tuple[str, str]:
    """Return a configuration as JSON, and its hash."""
    try:
        text = json.dumps(configuration, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"configuration must hold only what JSON knows: {error}") from None
    return text, hashlib.sha256(text.encode()).hexdigest()


def _written(manifest: dict[str, Any]) -> bytes:
    """Return the content of a manifest's file."""
    return _with_checksum(json.dumps(manifest | {"seal": _BLANK.decode()}, indent=1).encode())


def _make(path: pathlib.Path, manifest: dict[str, Any]) -> None:
    """Make the folder and its manifest; of several processes that try, the first one wins."""
    path.mkdir(parents=True, exist_ok=True)
    added = [name for name in _files(path) if _ADDED.fullmatch(name)]  # around a lost manifest
    units = {unit for of in (manifest, *(_load_manifest(path / name) for name in added)) for unit in of["units"]}
    ours = {_name(unit, ending) for unit in units for ending in (".parquet", _STATES)} | {*added, MANIFEST}
    others = [name for name in sorted(_files(path)) if name not in ours and not _TEMPORARY.fullmatch(name)]
    if others:
        raise ValueError(f"{path} must be a store or an empty folder, but it holds {_few(others)}")
    _publish(path / MANIFEST, _written(manifest))
    sync(path.parent)


def _load_manifests(folder: pathlib.Path) -> dict[int, dict[str, Any]]:
    """Return the manifests of a store by the numbers of their requests, rising; 0 is the one that made it."""
    first = _load_manifest(folder / MANIFEST)
    names = {int(found[1]): name for name in _files(folder) if (found := _ADDED.fullmatch(name))}
    added = {number: _load_manifest(folder / names[number]) for number in sorted(names)}
    for number, manifest in added.items():
        if first["sha256"] not in manifest["earlier"]:
            raise ValueError(f"{folder / names[number]} must belong to this store, but extends another: remove it")
    return {0: first} | added


def _load_manifest(path: pathlib.Path) -> dict[str, Any]:
    text = path.read_bytes()
    if not (text.startswith(b"{") and _checksum_holds(text)):
        raise DamageError(f"{path} is {DAMAGED}: delete it and run the sweep again, which keeps the parts")
    manifest: dict[str, Any] = json.loads(text)
    if manifest["format"] != FORMAT:
        where, which = path.parent, manifest["format"]
        raise ValueError(f"{where} must have format {FORMAT}, got {which}, which another version wrote")
    return manifest


def _steps_of(configuration: dict[str, Any]) -> int:
    """Return the steps of the runs of a configuration, or 0 if it names none."""
    training = configuration.get("training")
    return training.get("steps", 0) if isinstance(training, dict) else 0


def _counterpart(expected: dict[str, Any], stored: list[dict[str, Any]], grows: bool) -> dict[str, Any]:
    """Return the configuration that an expected one must equal: the stored one of so many steps, or the first one.

    Where steps may grow, it has those of the expected one if they are more. Each task has steps of its own.
    """
    if "tasks" in expected and "tasks" in stored[0]:
        tasks = stored[0]["tasks"]
        both = {name: of for name, of in expected["tasks"].items() if name in tasks}
        found = {name: _counterpart(of, [other["tasks"][name] for other in stored], grows) for name, of in both.items()}
        return stored[0] | {"tasks": tasks | found}
    steps = _steps_of(expected)
    if alike := [other for other in stored if _steps_of(other) == steps]:
        return alike[0]
    if grows and steps > _steps_of(stored[0]):
        training = {**stored[0]["training"], "steps": steps}
        return stored[0] | {"training": training, "eval_steps": expected["eval_steps"]}
    return stored[0]


def _fixed(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without ``REQUESTED``."""
    fixed = {name: value for name, value in configuration.items() if name not in REQUESTED}
    tasks = {name: _fixed(of) for name, of in configuration.get("tasks", {}).items()}
    return fixed | ({"tasks": tasks} if tasks else {})


def _flat(nested: Any, prefix: str = "", inside: type | tuple[type, ...] = (dict, list)) -> dict[str, Any]:
    """Return nested dicts and lists as a dict of one level, the names joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in nested.items() if isinstance(nested, dict) else enumerate(nested):
        deeper = isinstance(value, inside) and value
        flat |= _flat(value, f"{prefix}{name}.", inside) if deeper else {f"{prefix}{name}": value}
    return flat


def _few(names: list[str]) -> str:
    """Return the first of the names as a text."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(map(str, names[:SHOWN])) + more


# --------------------------------------------------------------------------------------------------------------- files


def _with_checksum(data: bytes) -> bytes:
    """Return the bytes with their last blank checksum filled in: the sha256 of the bytes while it is blank."""
    at = data.rindex(_BLANK)
    return data[:at] + b"sha256:" + hashlib.sha256(data).hexdigest().encode() + data[at + len(_BLANK) :]


def _checksum_holds(data: bytes) -> bool:
    at = data.rfind(b"sha256:")
    return at >= 0 and _with_checksum(data[:at] + _BLANK + data[at + len(_BLANK) :]) == data


def _files(folder: pathlib.Path) -> set[str]:
    """Return the names of the files of a folder."""
    return {path.name for path in folder.iterdir()}


def _publish(path: pathlib.Path, content: bytes) -> None:
    """Write a file, unless it exists; of several processes that try, the first one wins.

    No file system renames a folder onto one that holds a file, while some have no hard links. So a process wins by
    renaming a folder with its content to the claim. Whoever finds a claim finishes it, since its owner may be dead.
    """
    claim, ours = temporary(path, _CLAIM), temporary(path)
    ours.mkdir()
    try:
        with appearing(ours / path.name) as file:
            file.write(content)
        while not path.is_file():
            try:
                ours.rename(claim)
            except OSError:
                if not ((claim / path.name).is_file() or path.is_file()):  # no other process has won
                    raise
            _finish(claim, path)
    finally:
        discard(ours)


def _finish(claim: pathlib.Path, path: pathlib.Path) -> None:
    """Give a file the content that a claim holds for it, unless it exists, and drop the claim."""
    with suppress(FileNotFoundError):  # another process has finished it
        content = (claim / path.name).read_bytes()
        if not path.is_file():  # in this order, since a later claim comes after the file
            with appearing(path) as file:
                file.write(content)
        dropped = temporary(path)
        claim.rename(dropped)
        discard(dropped)
