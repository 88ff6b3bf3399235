"""The store of a sweep: a folder of immutable parquet parts, one for each unit of runs, bound to one configuration.

A unit is there whole or not at all: a part is written under another name, synced and renamed. So processes may be
killed at any moment and may share a store; whoever comes next trains what is missing. Every file holds a seal, its own
sha256, by which any changed bit is found. Equal rows give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from secrets import token_hex
from typing import BinaryIO

import numpy as np

from lookahead_nb.checks import extra
from lookahead_nb.tables import machine

FORMAT = 1
MANIFEST = "manifest.json"
HEADER = "lookahead_nb"  # the key of a part's header among the metadata of parquet
ORDER = "order"  # the column by which the rows of all parts are sorted, stably; it is not shown
SHOWN = 3  # differences, names and columns that a message lists

DAMAGED = "damaged, its sha256 is not the one it was sealed with"

_BLANK = b"sha256:" + b"0" * 64
_TEMPORARY = re.compile(r".+\.[0-9a-f]{16}\.tmp")
_KINDS = {bool: "truth", int: "whole", float: "number", str: "text"}


class DamageError(ValueError):
    """A file of a store is not the one that was written."""


class Store:
    """The results of one sweep in a folder; made or opened by :meth:`open`.

    path : pathlib.Path. configuration : nested dict. units : tuple of the names of all units, in the order of the plan.
    sha256 : that of the configuration. machine : what made the store (see ``tables.machine``).
    """

    def __init__(self, path, manifest):
        self.path = path
        self.configuration = manifest["configuration"]
        self.units = tuple(manifest["units"])
        self.sha256 = manifest["sha256"]
        self.machine = manifest["machine"]
        self._parts = {_name(unit): unit for unit in self.units}
        self._dtypes = None

    @classmethod
    def open(cls, path, configuration=None, units=None):
        """Return the store in a folder, made where there is none.

        path : folder. configuration : what the results depend on, a nested dict of what JSON knows; another one than
        that of the store is refused. None opens a store that is there. units : the names of all units, hex digits, in
        the order of the plan; needed with a configuration. errors : TypeError, ValueError; DamageError for a damaged
        manifest; OSError.
        """
        path = pathlib.Path(path)
        wanted = None if configuration is None else _manifest(configuration, units)
        with _explained(f"the store {path} cannot be opened"):
            if path.exists() and not path.is_dir():
                raise ValueError(f"path must be a folder, not the file {path}")
            if not (path / MANIFEST).is_file():
                if not wanted:
                    raise FileNotFoundError(f"{path} holds no {MANIFEST}")
                _make(path, wanted)
            found = _load_manifest(path)
        if wanted:
            _compare(path, wanted, found)
        return cls(path, found)

    def done(self):
        """Return the names of the units whose part is there, as a set; only names are looked at."""
        with _explained(f"the store {self.path} cannot be read"):
            return {self._parts[name] for name in _files(self.path) if name in self._parts}

    def write(self, unit, frame):
        """Write the rows of a unit as its part; nothing happens if it is there with the same rows.

        unit : str, a name of the plan. frame : pandas frame of floats, whole numbers, truth values and strings, NaN
        where one does not apply; its column ``order`` says where rows stand among those of the sweep.
        errors : TypeError, ValueError, also if the part is there with other rows; OSError (disk full, ...), after
        which the store is as before.
        """
        if _name(unit) not in self._parts:
            raise ValueError(f"unit must be one of the {len(self.units)} units of {self.path}, not {unit!r}")
        part = self._part(unit, frame)
        path = self.path / _name(unit)
        what = f"the store {self.path} could not keep unit {unit}"
        with _explained(what, "nothing else is lost, and the sweep goes on from here when it is run again"):
            if path.is_file():
                there = path.read_bytes()
                if not self._damage(unit, there):
                    if self._part(unit, _rows(_table(there), _header(there)["dtypes"])) != part:
                        raise ValueError(f"{path} must hold the rows just computed, not others: the runs do not repeat")
                    return
            with _appearing(path) as file:
                file.write(part)

    def frame(self, columns=None, *, partial=False):
        """Return the rows of all units in the order of the plan, with the values and dtypes that were written.

        columns : list of names, None for all. partial : whether units may be missing.
        errors : ValueError; DamageError, naming the part; OSError.
        """
        import pandas as pd

        pa, _ = _arrow()
        parts = list(self._tables(self._present(partial), columns))
        if not parts:
            return pd.DataFrame()
        frame = _rows(pa.concat_tables([table for table, _ in parts]), parts[0][1]["dtypes"])
        if ORDER in frame:
            frame = frame.take(np.argsort(frame[ORDER].to_numpy(), kind="stable")).drop(columns=ORDER)
        frame = frame.reset_index(drop=True)
        return frame if columns is None else frame[list(columns)]

    def export(self, path, *, partial=False):
        """Write the rows of one unit after the other, in the order of units in the plan, to one file.

        Only one part is in memory at a time. path : file ending in .parquet or .csv; it is replaced as a whole. partial
        : whether units may be missing. errors : ValueError; those of :meth:`frame`.
        """
        path = pathlib.Path(path)
        if path.suffix not in (".parquet", ".csv"):
            raise ValueError(f"path must end in .parquet or .csv, not {path.name!r}")
        if path.resolve().parent == self.path.resolve():
            raise ValueError(f"path must lie outside of the store, not be {path}")
        units = self._present(partial)
        kinds: dict[str, set] = {}
        dtypes: dict[str, str] = {}
        for _, header in self._tables(units, []):
            dtypes = {name: dtype for name, dtype in header["dtypes"].items() if name != ORDER}
            for name in dtypes:
                kinds.setdefault(name, set()).update(header["kinds"][name])
        frames = (_rows(table, dtypes) for table, _ in self._tables(units, list(dtypes)))
        with _explained(f"{path} cannot be written"), _appearing(path) as file:
            (_write_csv if path.suffix == ".csv" else _write_parquet)(file, frames, dtypes, kinds)

    def verify(self, *, remove=False):
        """Return what is wrong with the store, one sentence for each file, none if all is well.

        Found are damaged, foreign and half-written files and missing units.

        remove : bool; True deletes damaged parts and half-written files, so that the next sweep trains those units
        again; leave it while a sweep is running, whose files are half-written too. errors : OSError.
        """
        with _explained(f"the store {self.path} cannot be read"):
            names = sorted(_files(self.path) | {MANIFEST})
        problems = []
        for name in names:
            problem, ours = self._problem(name)
            if problem and ours and remove:
                with _explained(f"{self.path / name} cannot be removed"):
                    (self.path / name).unlink()
                problem += " (removed)"
            if problem:
                problems.append(f"{name}: {problem}")
        missing = [unit for name, unit in self._parts.items() if name not in names]
        if missing:
            problems.append(f"{len(missing)} of {len(self.units)} units are missing: {_few(missing)}")
        return problems

    def show(self):
        """Return a summary as a flat dict: configuration, units, rows, size, what made the store and its parts.

        errors : DamageError, naming the part; OSError.
        """
        _, pq = _arrow()
        done = self._present(partial=True)
        rows, size, made = 0, (self.path / MANIFEST).stat().st_size, []
        for unit in done:
            path = self.path / _name(unit)
            try:
                footer = pq.read_metadata(path)
                header = json.loads(footer.metadata[HEADER.encode()])
            except Exception as error:
                raise self._advice(unit, "damaged") from error
            rows, size = rows + footer.num_rows, size + path.stat().st_size
            if header["machine"] not in made:
                made.append(header["machine"])
        known = {"store": str(self.path), "units": len(self.units), "done": len(done), "rows": rows, "bytes": size}
        known |= {"sha256": self.sha256, "configuration": self.configuration, "made by": self.machine}
        flat = _flat(known | {"written by": dict(enumerate(made, 1))}, inside=dict)
        return {name: f"{len(value)} values" if isinstance(value, list) else value for name, value in flat.items()}

    # ------------------------------------------------------------------------------------------------------- one part

    def _present(self, partial):
        done = self.done()
        missing = [unit for unit in self.units if unit not in done]
        if missing and not partial:
            what = f"{self.path} must hold all {len(self.units)} units, but {len(missing)} are missing"
            raise ValueError(f"{what}: run the sweep again, which resumes, or ask for a partial result")
        return [unit for unit in self.units if unit in done]

    def _tables(self, units, chosen=None):
        """Yield the arrow table and the header of each unit; chosen : names of columns, None for all."""
        first = None
        for unit in units:
            part = self._load(unit)
            header = _header(part)
            first = first or (unit, header["dtypes"])
            if header["dtypes"] != first[1]:
                raise ValueError(f"{self.path / _name(unit)} must have the columns of {_name(first[0])}, not others")
            shown = [name for name in header["dtypes"] if name != ORDER]
            if unknown := [name for name in chosen or [] if name not in shown]:
                raise ValueError(f"columns must be among {', '.join(shown)}, not {unknown[0]!r}")
            yield _table(part, chosen), header

    def _load(self, unit):
        with _explained(f"the store {self.path} cannot be read"):
            part = (self.path / _name(unit)).read_bytes()
        if problem := self._damage(unit, part):
            raise self._advice(unit, problem)
        return part

    def _advice(self, unit, problem):
        advice = f'"lookahead-nb store verify {self.path} --remove" drops it, and the sweep trains it again'
        return DamageError(f"{self.path / _name(unit)} is {problem}: {advice}")

    def _problem(self, name):
        """Return what is wrong with a file of the folder, or None, and whether it may be deleted."""
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

    def _damage(self, unit, part):
        if not part.endswith(b"PAR1"):
            return "truncated"
        if not _is_sealed(part):
            return DAMAGED
        header = _header(part)
        if header["format"] != FORMAT:
            return f"of format {header['format']}, not {FORMAT}"
        if header["configuration"] != self.sha256:
            return "foreign, a part of another configuration"
        return None if header["unit"] == unit else f"foreign, the part of unit {header['unit']}"

    def _part(self, unit, frame):
        """Return the bytes of a part: parquet, the header with its seal last in the metadata."""
        pa, pq = _arrow()
        if not all(isinstance(name, str) for name in frame) or frame.columns.has_duplicates:
            raise TypeError(f"the columns of frame must be different names, not {list(frame)}")
        columns = {name: _column(name, frame[name]) for name in frame}
        dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
        self._dtypes = self._dtypes or dtypes
        if dtypes != self._dtypes:
            raise ValueError(f"frame must have the columns and dtypes of the other units, {self._dtypes}, not {dtypes}")
        table = pa.table({name: values for name, (values, _) in columns.items()})
        header = {
            "format": FORMAT,
            "unit": unit,
            "configuration": self.sha256,
            "machine": _maker(_gpu_of(self.configuration)),
            "dtypes": dtypes,
        }
        header |= {"kinds": {name: kinds for name, (_, kinds) in columns.items()}, "seal": _BLANK.decode()}
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({HEADER: json.dumps(header)})
        return _sealed(sink.getvalue().to_pybytes())


def _name(unit):
    return f"{unit}.parquet"


@cache
def _maker(gpu):
    return {name: value for name, value in machine(gpu).items() if name != "threads"}  # their number changes no bit


def _gpu_of(configuration):
    """Return the name of the GPU that this process trains runs of a sweep on, or None where it is the CPU."""
    training = configuration.get("training")
    if not (isinstance(training, dict) and training.get("backend") == "cuda"):
        return None
    from lookahead_nb import gpu  # numba.cuda is loaded where it is used

    return gpu.name()


def _arrow():
    return [extra(module, "pyarrow", "the store of a sweep") for module in ("pyarrow", "pyarrow.parquet")]


# ---------------------------------------------------------------------------------------------------- columns and rows


def _column(name, values):
    """Return a column as an arrow array, and which kinds of values it holds beside NaN."""
    pa, _ = _arrow()
    if values.dtype == "object":
        plain = [value.item() if isinstance(value, np.generic) else value for value in values.to_numpy()]
        each = {id(value): value for value in plain}  # few, each many times: json takes a microsecond
        kinds = {_KINDS.get(type(value), "") for value in each.values() if value == value}  # NaN is of no kind
        if "" in kinds:
            raise TypeError(f"column {name!r} must hold numbers, truth values, strings and NaN, not other objects")
        words = {key: json.dumps(value) for key, value in each.items()}
        return pa.array([words[id(value)] for value in plain], pa.string()), sorted(kinds)
    if values.dtype == "str":
        return pa.array(values, pa.string(), from_pandas=True), ["text"]
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "biuf":
        raise TypeError(f"column {name!r} must hold numbers, truth values or strings, not {values.dtype}")
    found = values.to_numpy()
    kind = {"b": "truth", "f": "number"}.get(values.dtype.kind, "whole")
    return pa.array(found), [kind] * (kind != "number" or not np.isnan(found).all())  # NaN is a value here, not a null


def _rows(table, dtypes):
    """Return an arrow table as the frame that was written."""
    import pandas as pd

    names = [name for name in dtypes if name in table.column_names]
    return pd.DataFrame({name: pd.Series(_values(table[name], dtypes[name]), dtype=dtypes[name]) for name in names})


def _values(column, dtype):
    pa, _ = _arrow()
    if dtype == "str":
        return column.to_pandas()
    if dtype != "object":
        return column.to_numpy()
    codes = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    words = [json.loads(word) for word in codes.dictionary.to_pylist()]
    return np.array([*words, None], object)[codes.indices.to_numpy()]  # None keeps NumPy from looking inside


def _header(part):
    pa, pq = _arrow()
    return json.loads(pq.read_metadata(pa.BufferReader(part)).metadata[HEADER.encode()])


def _table(part, chosen=None):
    """Return the columns of a part, and the one by which it is sorted, as an arrow table."""
    pa, pq = _arrow()
    file = pq.ParquetFile(pa.BufferReader(part))
    names = [name for name in file.schema_arrow.names if chosen is None or name in (*chosen, ORDER)]
    return file.read(names, use_threads=False)


def _write_csv(file, frames, dtypes, _kinds):
    import pandas as pd

    file.write(pd.DataFrame(columns=list(dtypes)).to_csv(index=False, lineterminator="\n").encode())
    for frame in frames:
        file.write(frame.to_csv(index=False, lineterminator="\n", header=False).encode())


def _write_parquet(file, frames, dtypes, kinds):
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


def _exported(values, kind):
    pa, _ = _arrow()
    if values.dtype == "object" and kind == pa.string():
        values = values.map(str, na_action="ignore")  # settings that are numbers here and words there
    return pa.array(values, kind, from_pandas=values.dtype in ("object", "str"))


# ------------------------------------------------------------------------------------------------------- the manifest


def _manifest(configuration, units):
    """Return what the manifest of a new store says, or refuse what cannot stand in one."""
    if not isinstance(configuration, dict):
        raise TypeError(f"configuration must be a dict, not {configuration!r}")
    if units is None or isinstance(units, str):
        raise TypeError(f"units must be a list of names with a configuration, not {units!r}")
    units = list(units)
    bad = [unit for unit in units if not (isinstance(unit, str) and re.fullmatch("[0-9a-f]{16,64}", unit))]
    if bad:
        raise ValueError(f"units must be names of 16 to 64 hex digits, not {bad[0]!r}")
    if len(set(units)) < len(units):
        raise ValueError(f"units must all differ, not hold {next(u for u in units if units.count(u) > 1)!r} twice")
    try:
        text = json.dumps(configuration, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"configuration must hold only what JSON knows: {error}") from None
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    manifest = {"format": FORMAT, "configuration": json.loads(text), "sha256": sha256, "units": units}
    return manifest | {"machine": machine(_gpu_of(configuration)), "seal": _BLANK.decode()}


def _make(path, manifest):
    """Make the folder and its manifest; of several processes that try, the first one's stays."""
    path.mkdir(parents=True, exist_ok=True)
    ours = {_name(unit) for unit in manifest["units"]} | {MANIFEST}
    others = [name for name in sorted(_files(path)) if name not in ours and not _TEMPORARY.fullmatch(name)]
    if others:
        raise ValueError(f"{path} must be a store or an empty folder, but it holds {_few(others)}")
    with _appearing(path / MANIFEST, first=True) as file:
        file.write(_sealed(json.dumps(manifest, indent=1).encode()))
    _sync(path.parent)


def _load_manifest(path):
    text = (path / MANIFEST).read_bytes()
    if not (text.startswith(b"{") and _is_sealed(text)):
        advice = "delete it and run the sweep again, which keeps the parts"
        raise DamageError(f"{path / MANIFEST} is {DAMAGED}: {advice}")
    manifest = json.loads(text)
    if manifest["format"] != FORMAT:
        raise ValueError(f"{path} must have format {FORMAT}, not {manifest['format']}, which another version wrote")
    return manifest


def _compare(path, wanted, found):
    if (wanted["sha256"], wanted["units"]) == (found["sha256"], found["units"]):
        return
    both = ({"unit": each["units"]} | each["configuration"] for each in (found, wanted))
    there, here = ({name: json.dumps(value) for name, value in _flat(each).items()} for each in both)
    names = [name for name in here | there if here.get(name) != there.get(name)]
    names.sort(key=lambda name: name.startswith("unit."))  # other settings give other units: settings say more
    if names:
        each = [f"{name}: here {here.get(name, 'absent')}, there {there.get(name, 'absent')}" for name in names]
        raise ValueError(f"configuration must be that of the store {path}, but differs in {_few(each)}")


def _flat(nested, prefix="", inside=(dict, list)):
    """Return nested dicts and lists as a dict of one level, the names joined by dots."""
    flat: dict[str, object] = {}
    for name, value in nested.items() if isinstance(nested, dict) else enumerate(nested):
        deeper = isinstance(value, inside) and len(value)
        flat |= _flat(value, f"{prefix}{name}.", inside) if deeper else {f"{prefix}{name}": value}
    return flat


def _few(names):
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(map(str, names[:SHOWN])) + more


# --------------------------------------------------------------------------------------------------------------- files


def _sealed(data):
    """Return the bytes with their last blank seal filled in: the sha256 of the bytes while it is blank."""
    at = data.rindex(_BLANK)
    return data[:at] + b"sha256:" + hashlib.sha256(data).hexdigest().encode() + data[at + len(_BLANK) :]


def _is_sealed(data):
    at = data.rfind(b"sha256:")
    return at >= 0 and _sealed(data[:at] + _BLANK + data[at + len(_BLANK) :]) == data


def _files(folder):
    return {path.name for path in folder.iterdir()}


@contextmanager
def _appearing(path, *, first=False) -> Iterator[BinaryIO]:
    """Yield a file that appears under its name when the block ends, whole and on the disk, or not at all.

    first : a file that has the name already keeps it.
    """
    temporary = path.with_name(f"{path.name}.{token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if first:
            with suppress(FileExistsError):
                os.link(temporary, path)
        else:
            temporary.replace(path)
        _sync(path.parent)
    finally:
        with suppress(OSError):  # it is gone, or the disk is beyond help
            temporary.unlink()


def _sync(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(what, advice=""):
    """Turn what the system says into one sentence."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{what} ({_reason(error)})" + (f": {advice}" if advice else "")) from error


def _reason(error):
    return error.strerror or str(error)
