"""The store of a sweep: a folder of immutable parquet parts, one for each unit of runs, bound to one configuration.

A part is complete or absent: it is written under another name, synced to the disk and renamed. So processes may be
killed at any moment and may share a store; the next one trains the missing units. Every file holds a checksum, its own
sha256, which reveals any changed bit. Equal rows give equal bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lookahead_nb.checks import extra, user_path, whole
from lookahead_nb.provenance import machine

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MANIFEST = "manifest.json"
HEADER = "lookahead_nb"  # the key of a part's header among the metadata of parquet
ORDER = "order"  # the column that sorts the rows of all parts, stably; it is not shown
SHOWN = 3  # differences, names and columns that a message lists

DAMAGED = "damaged, its sha256 is not the checksum that it holds"

_BLANK = b"sha256:" + b"0" * 64
_CLAIM = "0" * 16  # the token of a folder that holds the manifest of the process that was first
_UNSUPPORTED = {getattr(errno, name, 0) for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF", "EISDIR")}
_UNSUPPORTED |= {errno.EACCES, errno.EPERM}  # a folder may also be closed to reading, and on Windows each one is
_TEMPORARY = re.compile(r".+\.[0-9a-f]{16}\.tmp")
_KINDS = {bool: "truth", int: "whole", float: "number", str: "text"}


class DamageError(ValueError):
    """A file of a store is not the one that was written."""


class Store:
    """The results of one sweep in a folder; made or opened by :meth:`open`.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    configuration : dict
        Everything that the results depend on, nested.
    units : tuple of str
        The names of all units, in the order of the plan.
    sha256 : str
        The hash of the configuration.
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

    def __init__(self, path: pathlib.Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.configuration: dict[str, Any] = manifest["configuration"]
        self.units: tuple[str, ...] = tuple(manifest["units"])
        self.sha256: str = manifest["sha256"]
        self.machine: dict[str, Any] = manifest["machine"]
        self._parts = {_name(unit): unit for unit in self.units}
        self._dtypes: dict[str, str] | None = None

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
            existing store. None only opens an existing store.
        units : iterable of str, optional
            The names of all units, 16 to 64 hex digits each, in the order of the plan; required with a configuration.

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
        with _explained(f"the store {path} cannot be opened"):
            if path.exists() and not path.is_dir():
                raise ValueError(f"path must be a folder, got the file {path}")
            if not (path / MANIFEST).is_file():
                if not expected:
                    raise FileNotFoundError(f"{path} holds no {MANIFEST}")
                _make(path, expected)
            manifest = _load_manifest(path)
        if expected:
            _compare(path, expected, manifest)
        return cls(path, manifest)

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
        with _explained(f"the store {self.path} cannot be read"):
            return {self._parts[name] for name in _files(self.path) if name in self._parts}

    def write(self, unit: str, frame: pd.DataFrame, trained_on: dict[str, Any] | None = None) -> None:
        """Write the rows of a unit as its part; do nothing if the part exists with the same rows.

        Parameters
        ----------
        unit : str
            A name of the plan.
        frame : frame
            Columns of floats, whole numbers, truth values and strings, with NaN where a value does not apply. The
            column ``order`` holds the places of the rows among those of the whole sweep.
        trained_on : dict, optional
            The machine that trained the unit, as :func:`maker` returns it there; default: this one.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or form, or the part exists with other rows.
        OSError
            If the part cannot be written, for example on a full disk; the store is then as before.
        """
        if _name(unit) not in self._parts:
            raise ValueError(f"unit must be one of the {len(self.units)} units of {self.path}, got {unit!r}")
        part = self._part(unit, frame, trained_on)
        path = self.path / _name(unit)
        problem = f"the store {self.path} could not keep unit {unit}"
        with _explained(problem, "nothing else is lost; run the sweep again to continue from here"):
            if path.is_file():
                stored = path.read_bytes()
                if not self._damage(unit, stored):
                    if self._part(unit, _rows(_table(stored), _header(stored)["dtypes"]), trained_on) != part:
                        raise ValueError(f"{path} differs from the rows just computed: the runs do not repeat")
                    return
            with _appearing(path) as file:
                file.write(part)

    def frame(self, columns: Collection[str] | None = None, *, partial: bool = False) -> pd.DataFrame:
        """Return the rows of all units in the order of the plan, with the values and dtypes that were written.

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

        pa, _ = _arrow()
        parts = list(self._tables(self._present(partial), columns))
        if not parts:
            return pd.DataFrame()
        frame = _rows(pa.concat_tables([table for table, _ in parts]), parts[0][1]["dtypes"])
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
        kinds: dict[str, set[str]] = {}
        dtypes: dict[str, str] = {}
        for _, header in self._tables(units, []):
            dtypes = {name: dtype for name, dtype in header["dtypes"].items() if name != ORDER}
            for name in dtypes:
                kinds.setdefault(name, set()).update(header["kinds"][name])
        frames = (_rows(table, dtypes) for table, _ in self._tables(units, list(dtypes)))
        with _explained(f"{path} cannot be written"), _appearing(path) as file:
            (_write_csv if path.suffix == ".csv" else _write_parquet)(file, frames, dtypes, kinds)

    def verify(self, *, remove: bool = False) -> list[str]:
        """Return the problems of the store: damaged, foreign and half-written files, and missing units.

        Parameters
        ----------
        remove : bool
            True deletes damaged parts and half-written files, so that the next sweep trains those units again. Do not
            use it while a sweep is running: its unfinished files are half-written too.

        Returns
        -------
        list of str
            One sentence per file and one for missing units; empty if the store is complete and undamaged.

        Raises
        ------
        OSError
            If the folder cannot be read or a file cannot be removed.
        """
        with _explained(f"the store {self.path} cannot be read"):
            names = sorted(_files(self.path) | {MANIFEST})
        problems = []
        for name in names:
            problem, ours = self._problem(name)
            if problem and ours and remove:
                with _explained(f"{self.path / name} cannot be removed"):
                    shutil.rmtree(self.path / name) if (self.path / name).is_dir() else (self.path / name).unlink()
                problem += " (removed)"
            if problem:
                problems.append(f"{name}: {problem}")
        missing = [unit for name, unit in self._parts.items() if name not in names]
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
        _, pq = _arrow()
        done = self._present(partial=True)
        rows, size, machines = 0, (self.path / MANIFEST).stat().st_size, []
        for unit in done:
            path = self.path / _name(unit)
            try:
                footer = pq.read_metadata(path)
                header = json.loads(footer.metadata[HEADER.encode()])
            except Exception as error:
                raise self._advice(unit, "damaged") from error
            rows, size = rows + footer.num_rows, size + path.stat().st_size
            if header["machine"] not in machines:
                machines.append(header["machine"])
        summary = {"store": str(self.path), "units": len(self.units), "done": len(done), "rows": rows, "bytes": size}
        summary |= {"sha256": self.sha256, "configuration": self.configuration, "made by": self.machine}
        flat = _flat(summary | {"written by": dict(enumerate(machines, 1))}, inside=dict)
        return {name: f"{len(value)} values" if isinstance(value, list) else value for name, value in flat.items()}

    # ------------------------------------------------------------------------------------------------------- one part

    def _present(self, partial: bool) -> list[str]:
        """Return the units that are stored, in the order of the plan; refuse missing ones unless partial."""
        done = self.done()
        missing = [unit for unit in self.units if unit not in done]
        if missing and not partial:
            problem = f"{self.path} must hold all {len(self.units)} units, but {len(missing)} are missing"
            raise ValueError(f"{problem}: run the sweep again, which resumes, or ask for a partial result")
        return [unit for unit in self.units if unit in done]

    def _tables(
        self, units: Iterable[str], chosen: Collection[str] | None = None
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the arrow table and the header of each unit, with the chosen columns or all of them."""
        first = None
        for unit in units:
            part = self._load(unit)
            header = _header(part)
            first = first or (unit, header["dtypes"])
            if header["dtypes"] != first[1]:
                raise ValueError(f"{self.path / _name(unit)} differs in its columns from {_name(first[0])}")
            shown = [name for name in header["dtypes"] if name != ORDER]
            if unknown := [name for name in chosen or [] if name not in shown]:
                raise ValueError(f"columns must be among {', '.join(shown)}, got {unknown[0]!r}")
            yield _table(part, chosen), header

    def _load(self, unit: str) -> bytes:
        with _explained(f"the store {self.path} cannot be read"):
            part = (self.path / _name(unit)).read_bytes()
        if problem := self._damage(unit, part):
            raise self._advice(unit, problem)
        return part

    def _advice(self, unit: str, problem: str) -> DamageError:
        """Return the error for a part with a problem."""
        advice = f'"lookahead-nb store verify {self.path} --remove" drops it, and the sweep trains it again'
        return DamageError(f"{self.path / _name(unit)} is {problem}: {advice}")

    def _problem(self, name: str) -> tuple[str | None, bool]:
        """Return the problem of a file of the folder, or None, and whether the file may be deleted."""
        try:
            if name == MANIFEST:
                same = _load_manifest(self.path)["sha256"] == self.sha256
                return (None if same else "foreign, that of another configuration"), False
            if name in self._parts:
                return self._damage(self._parts[name], (self.path / name).read_bytes()), True
        except DamageError:
            return DAMAGED, False
        except OSError as error:
            return f"unreadable ({_reason(error)})", name != MANIFEST
        if _TEMPORARY.fullmatch(name):
            return "half-written, by a process that was stopped", True
        return "foreign, no part of this sweep", False

    def _damage(self, unit: str, part: bytes) -> str | None:
        """Return the problem of the bytes of a part, or None."""
        if not part.endswith(b"PAR1"):
            return "truncated"
        if not _checksum_holds(part):
            return DAMAGED
        header = _header(part)
        if header["format"] != FORMAT:
            return f"of format {header['format']}, not {FORMAT}"
        if header["configuration"] != self.sha256:
            return "foreign, a part of another configuration"
        return None if header["unit"] == unit else f"foreign, the part of unit {header['unit']}"

    def _part(self, unit: str, frame: pd.DataFrame, trained_on: dict[str, Any] | None) -> bytes:
        """Return the bytes of a part: parquet, the header with its checksum last in the metadata."""
        pa, pq = _arrow()
        if not all(isinstance(name, str) for name in frame) or frame.columns.has_duplicates:
            raise TypeError(f"the columns of frame must be different names, got {list(frame)}")
        columns = {name: _column(name, frame[name]) for name in frame}
        dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
        self._dtypes = self._dtypes or dtypes
        if dtypes != self._dtypes:
            raise ValueError(f"frame must have the columns and dtypes of the other units, {self._dtypes}, got {dtypes}")
        table = pa.table({name: values for name, (values, _) in columns.items()})
        header = {
            "format": FORMAT,
            "unit": unit,
            "configuration": self.sha256,
            "machine": trained_on or maker(_gpu_of(self.configuration)),
            "dtypes": dtypes,
        }
        header |= {"kinds": {name: kinds for name, (_, kinds) in columns.items()}, "seal": _BLANK.decode()}
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({HEADER: json.dumps(header)})
        return _with_checksum(sink.getvalue().to_pybytes())


def _name(unit: str) -> str:
    """Return the name of the file of a unit."""
    return f"{unit}.parquet"


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


def _arrow() -> list[Any]:
    """Return pyarrow and pyarrow.parquet."""
    return [extra(module, "pyarrow", "the store of a sweep") for module in ("pyarrow", "pyarrow.parquet")]


# ---------------------------------------------------------------------------------------------------- columns and rows


def _column(name: str, values: pd.Series) -> tuple[Any, list[str]]:
    """Return a column as an arrow array, and the kinds of values that it holds, except NaN."""
    pa, _ = _arrow()
    if values.dtype == "object":
        plain = [value.item() if isinstance(value, np.generic) else value for value in values.to_numpy()]
        different = {id(value): value for value in plain}  # few, repeated often: json takes a microsecond for each
        kinds = {_KINDS.get(type(value), "") for value in different.values() if value == value}  # NaN has no kind
        if "" in kinds:
            raise TypeError(f"column {name!r} must hold numbers, truth values, strings and NaN, got other objects")
        words = {key: json.dumps(value) for key, value in different.items()}
        return pa.array([words[id(value)] for value in plain], pa.string()), sorted(kinds)
    if values.dtype == "str":
        return pa.array(values, pa.string(), from_pandas=True), ["text"]
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "biuf":
        raise TypeError(f"column {name!r} must hold numbers, truth values or strings, got {values.dtype}")
    array = values.to_numpy()
    kind = {"b": "truth", "f": "number"}.get(values.dtype.kind, "whole")
    return pa.array(array), [kind] * (kind != "number" or not np.isnan(array).all())  # NaN is a value here, not a null


def _rows(table: Any, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return an arrow table as the frame that was written."""
    pd = whole("pandas")

    names = [name for name in dtypes if name in table.column_names]
    return pd.DataFrame({name: pd.Series(_values(table[name], dtypes[name]), dtype=dtypes[name]) for name in names})


def _values(column: Any, dtype: str) -> Any:
    """Return an arrow column as the values that were written."""
    pa, _ = _arrow()
    if dtype == "str":
        return column.to_pandas()
    if dtype != "object":
        return column.to_numpy()
    codes = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    words = [json.loads(word) for word in codes.dictionary.to_pylist()]
    return np.array([*words, None], object)[codes.indices.to_numpy()]  # None keeps NumPy from looking inside


def _header(part: bytes) -> dict[str, Any]:
    pa, pq = _arrow()
    return json.loads(pq.read_metadata(pa.BufferReader(part)).metadata[HEADER.encode()])


def _table(part: bytes, chosen: Collection[str] | None = None) -> Any:
    """Return the chosen columns of a part, and its column ``order``, as an arrow table."""
    pa, pq = _arrow()
    file = pq.ParquetFile(pa.BufferReader(part))
    names = [name for name in file.schema_arrow.names if chosen is None or name in (*chosen, ORDER)]
    return file.read(names, use_threads=False)


def _write_csv(
    file: BinaryIO, frames: Iterable[pd.DataFrame], dtypes: Mapping[str, str], _kinds: Mapping[str, set[str]]
) -> None:
    pd = whole("pandas")

    file.write(pd.DataFrame(columns=list(dtypes)).to_csv(index=False, lineterminator="\n").encode())
    for frame in frames:
        file.write(frame.to_csv(index=False, lineterminator="\n", header=False).encode())


def _write_parquet(
    file: BinaryIO, frames: Iterable[pd.DataFrame], dtypes: Mapping[str, str], kinds: Mapping[str, set[str]]
) -> None:
    pa, pq = _arrow()
    number, whole = pa.float64(), pa.int64()
    mixed = {"truth": pa.bool_(), "whole": whole, "number": number, "number whole": number}
    types = {
        name: mixed.get(" ".join(sorted(kinds[name])), pa.string())
        if dtype in ("object", "str")
        else pa.from_numpy_dtype(dtype)
        for name, dtype in dtypes.items()
    }
    with pq.ParquetWriter(file, pa.schema(types), compression="zstd") as writer:
        for frame in frames:
            writer.write_table(pa.table({name: _exported(frame[name], kind) for name, kind in types.items()}))


def _exported(values: pd.Series, kind: Any) -> Any:
    """Return a column as an arrow array of an arrow type."""
    pa, _ = _arrow()
    if values.dtype == "object" and kind == pa.string():
        values = values.map(str, na_action="ignore")  # settings that are numbers in some rows, words in others
    return pa.array(values, kind, from_pandas=values.dtype in ("object", "str"))


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
    try:
        text = json.dumps(configuration, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"configuration must hold only what JSON knows: {error}") from None
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    manifest = {"format": FORMAT, "configuration": json.loads(text), "sha256": sha256, "units": units}
    return manifest | {"machine": machine(_gpu_of(configuration)), "seal": _BLANK.decode()}


def _make(path: pathlib.Path, manifest: dict[str, Any]) -> None:
    """Make the folder and its manifest; of several processes that try, the first one wins."""
    path.mkdir(parents=True, exist_ok=True)
    ours = {_name(unit) for unit in manifest["units"]} | {MANIFEST}
    others = [name for name in sorted(_files(path)) if name not in ours and not _TEMPORARY.fullmatch(name)]
    if others:
        raise ValueError(f"{path} must be a store or an empty folder, but it holds {_few(others)}")
    _publish(path / MANIFEST, _with_checksum(json.dumps(manifest, indent=1).encode()))
    _sync(path.parent)


def _load_manifest(path: pathlib.Path) -> dict[str, Any]:
    text = (path / MANIFEST).read_bytes()
    if not (text.startswith(b"{") and _checksum_holds(text)):
        advice = "delete it and run the sweep again, which keeps the parts"
        raise DamageError(f"{path / MANIFEST} is {DAMAGED}: {advice}")
    manifest: dict[str, Any] = json.loads(text)
    if manifest["format"] != FORMAT:
        raise ValueError(f"{path} must have format {FORMAT}, got {manifest['format']}, which another version wrote")
    return manifest


def _compare(path: pathlib.Path, expected: dict[str, Any], stored: dict[str, Any]) -> None:
    """Refuse a store whose manifest has another configuration or other units than expected."""
    if (expected["sha256"], expected["units"]) == (stored["sha256"], stored["units"]):
        return
    both = ({"unit": manifest["units"]} | manifest["configuration"] for manifest in (stored, expected))
    old, new = ({name: json.dumps(value) for name, value in _flat(settings).items()} for settings in both)
    names = [name for name in new | old if new.get(name) != old.get(name)]
    names.sort(key=lambda name: name.startswith("unit."))  # other settings give other units: settings explain more
    if names:
        differences = [f"{name}: here {new.get(name, 'absent')}, there {old.get(name, 'absent')}" for name in names]
        raise ValueError(f"configuration must be that of the store {path}, but differs in {_few(differences)}")


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


@contextmanager
def _appearing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name when the block ends, complete and on the disk."""
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        _remove(temporary)


def _temporary(path: pathlib.Path, token: str | None = None) -> pathlib.Path:
    """Return a name for an unfinished file, by default one that no other process has."""
    return path.with_name(f"{path.name}.{token or token_hex(8)}.tmp")


def _publish(path: pathlib.Path, content: bytes) -> None:
    """Write a file, unless it exists; of several processes that try, the first one wins.

    No file system renames a folder onto one that holds a file, while some have no hard links. So a process wins by
    renaming a folder with its content to the claim. Whoever finds a claim finishes it, since its owner may be dead.
    """
    claim, ours = _temporary(path, _CLAIM), _temporary(path)
    ours.mkdir()
    try:
        with _appearing(ours / path.name) as file:
            file.write(content)
        while not path.is_file():
            try:
                ours.rename(claim)
            except OSError:
                if not ((claim / path.name).is_file() or path.is_file()):  # no other process has won
                    raise
            _finish(claim, path)
    finally:
        _remove(ours)


def _finish(claim: pathlib.Path, path: pathlib.Path) -> None:
    """Give a file the content that a claim holds for it, unless it exists, and drop the claim."""
    with suppress(FileNotFoundError):  # another process has finished it
        content = (claim / path.name).read_bytes()
        if not path.is_file():  # in this order, since a later claim comes after the file
            with _appearing(path) as file:
                file.write(content)
        dropped = _temporary(path)
        claim.rename(dropped)
        _remove(dropped)


def _remove(temporary: pathlib.Path) -> None:
    """Remove an unfinished file or folder, if it is there and the disk allows it."""
    with suppress(OSError):
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _sync(folder: pathlib.Path) -> None:
    """Bring the names in a folder to the disk, where the system has a way to do so."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


@contextmanager
def _explained(problem: str, advice: str = "") -> Iterator[None]:
    """Turn an error of the system into one sentence."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{problem} ({_reason(error)})" + (f": {advice}" if advice else "")) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
