"""Columns of frames as columns of arrow, with the same values and dtypes in every version of pandas.

Text is stored as text, whether pandas keeps it as ``str`` or as objects, and is read as the text of the installed
pandas. A column of several kinds of values, such as 0.5 and "adaptive", is stored as words of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lookahead_nb.checks import extra, whole

if TYPE_CHECKING:
    import pandas as pd

TEXT = "str"  # the dtype under which text is stored, in any version of pandas

_KINDS = {bool: "truth", int: "whole", float: "number", str: "text"}


def arrow() -> list[Any]:
    """Return pyarrow and pyarrow.parquet.

    Returns
    -------
    list of module

    Raises
    ------
    ModuleNotFoundError
        Without pyarrow; the message names the extra.
    """
    return [extra(module, "pyarrow", "the store of a sweep") for module in ("pyarrow", "pyarrow.parquet")]


def column(name: str, values: pd.Series) -> tuple[Any, str, list[str]]:
    """Return a column as an arrow array, the dtype under which it is stored, and its kinds of values, except NaN.

    Parameters
    ----------
    name : str
        The name of the column, for messages.
    values : Series
        Floats, whole numbers, truth values, strings and NaN.

    Returns
    -------
    array : pyarrow.Array
    dtype : str
        "str" for text in any version of pandas, "object" for values that are stored as words of JSON.
    kinds : list of str
        Of "truth", "whole", "number" and "text", those that occur, sorted.

    Raises
    ------
    TypeError
        If the column holds anything else.
    """
    pa, _ = arrow()
    if values.dtype == "object":
        plain = [value.item() if isinstance(value, np.generic) else value for value in values.to_numpy()]
        different = {id(value): value for value in plain}  # few, repeated often: json takes a microsecond for each
        kinds = {_KINDS.get(type(value), "") for value in different.values() if value == value}  # NaN has no kind
        if "" in kinds:
            raise TypeError(f"column {name!r} must hold numbers, truth values, strings and NaN, got other objects")
        if kinds == {"text"}:
            return pa.array(plain, pa.string(), from_pandas=True), TEXT, ["text"]
        words = {key: json.dumps(value) for key, value in different.items()}
        return pa.array([words[id(value)] for value in plain], pa.string()), "object", sorted(kinds)
    if values.dtype == TEXT:
        return pa.array(values, pa.string(), from_pandas=True), TEXT, ["text"]
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "biuf":
        raise TypeError(f"column {name!r} must hold numbers, truth values or strings, got {values.dtype}")
    array = values.to_numpy()
    kind = {"b": "truth", "f": "number"}.get(values.dtype.kind, "whole")
    kinds_ = [kind] * (kind != "number" or not np.isnan(array).all())  # NaN is a value here, not a null
    return pa.array(array), str(values.dtype), kinds_


def encoded(frame: pd.DataFrame) -> tuple[Any, dict[str, Any]]:
    """Return a frame as an arrow table, with the header of its columns.

    Parameters
    ----------
    frame : frame

    Returns
    -------
    table : pyarrow.Table
    header : dict
        ``dtypes`` and ``kinds`` of each column, as :func:`column` returns them.

    Raises
    ------
    TypeError
        As in :func:`column`.
    """
    pa, _ = arrow()
    columns = {name: column(name, frame[name]) for name in frame}
    dtypes = {name: dtype for name, (_, dtype, _) in columns.items()}
    kinds = {name: kinds for name, (*_, kinds) in columns.items()}
    return pa.table({name: values for name, (values, *_) in columns.items()}), {"dtypes": dtypes, "kinds": kinds}


def merged(headers: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the columns of all tables with dtypes that hold their values, as pandas infers them from all together.

    Parameters
    ----------
    headers : iterable of dict
        Of :func:`encoded`.

    Returns
    -------
    dict of str to str
        The dtype of each column; a column stands where the first table that has it puts it.
    """
    found: dict[str, set[tuple[str, bool]]] = {}  # of each column: (dtype, whether it holds a value that is not NaN)
    different = {json.dumps([header["dtypes"], header["kinds"]]): header for header in headers}
    for header in different.values():
        names, kinds, last = list(found), header["kinds"], -1
        for name, dtype in header["dtypes"].items():
            if name not in found:
                names.insert(last + 1, name)
            last = names.index(name)
            found.setdefault(name, set()).add((TEXT if kinds[name] == ["text"] else dtype, bool(kinds[name])))
        found = {name: found[name] for name in names}
    for name, of in found.items():
        if not all(name in header["dtypes"] for header in different.values()):
            of.add(("float64", False))  # as pandas fills the column with NaN
    return {name: _common(of) for name, of in found.items()}


def _common(found: set[tuple[str, bool]]) -> str:
    """Return the dtype of a column whose parts have these, each with whether it holds a value that is not NaN."""
    if len(dtypes := {dtype for dtype, _ in found}) == 1:
        return dtypes.pop()
    valued = {dtype for dtype, holds in found if holds}
    if valued == {TEXT}:
        return TEXT
    numbers = all(dtype not in (TEXT, "object", "bool") for dtype in valued)
    return "float64" if numbers else "object"


def frame_of(table: Any, stored: Mapping[str, str], dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return an arrow table as a frame.

    Parameters
    ----------
    table : pyarrow.Table
        Of :func:`encoded`, or some of its columns.
    stored : mapping of str to str
        The dtypes of its columns, and of those that were left out of it.
    dtypes : mapping of str to str
        The columns and dtypes of the frame. Columns that were left out stay out; others that the table lacks are NaN.

    Returns
    -------
    frame
    """
    pd = whole("pandas")

    absent = np.full(table.num_rows, np.nan, object)
    held = {
        name: _values(table[name], stored[name]) if name in table.column_names else absent
        for name in dtypes
        if name in table.column_names or name not in stored
    }
    text = pd.Series(["text"]).dtype  # that of the installed pandas
    return pd.DataFrame({
        name: pd.Series(values, dtype=text if dtypes[name] == TEXT else dtypes[name]) for name, values in held.items()
    })  # fmt: skip


def _values(array: Any, dtype: str) -> Any:
    """Return an arrow column as the values that were written."""
    pa, _ = arrow()
    if dtype not in ("object", TEXT):
        return array.to_numpy()
    if dtype == TEXT:
        values = array.to_pandas()
        return values.where(values.notna(), np.nan)  # pandas 2 has None there
    codes = array.cast(pa.large_string()).combine_chunks().dictionary_encode()
    words = [json.loads(word) for word in codes.dictionary.to_pylist()]
    return np.array([*words, None], object)[codes.indices.to_numpy()]  # None keeps NumPy from looking inside


def bits(name: str, values: pd.Series) -> Any:
    """Return the values of a column in a form that is equal only for equal bits.

    Parameters
    ----------
    name, values
        As in :func:`column`.

    Returns
    -------
    list or bytes
    """
    array, dtype, _ = column(name, values)
    return array.to_pylist() if dtype in (TEXT, "object") else values.to_numpy().tobytes()


def write_csv(
    file: BinaryIO, frames: Iterable[pd.DataFrame], dtypes: Mapping[str, str], _kinds: Mapping[str, set[str]]
) -> None:
    """Write frames to a file as one table of CSV.

    Parameters
    ----------
    file : binary file
    frames : iterable of frame
    dtypes, _kinds
        As in :func:`write_parquet`.
    """
    pd = whole("pandas")

    file.write(pd.DataFrame(columns=list(dtypes)).to_csv(index=False, lineterminator="\n").encode())
    for frame in frames:
        file.write(frame.to_csv(index=False, lineterminator="\n", header=False).encode())


def write_parquet(
    file: BinaryIO, frames: Iterable[pd.DataFrame], dtypes: Mapping[str, str], kinds: Mapping[str, set[str]]
) -> None:
    """Write frames to a file as one table of parquet.

    Parameters
    ----------
    file : binary file
    frames : iterable of frame
    dtypes : mapping of str to str
        The columns of all frames.
    kinds : mapping of str to set of str
        The kinds of values of each column, which decide how a column of objects is stored: truth values and numbers as
        such, all else as text.
    """
    pa, pq = arrow()
    number, whole = pa.float64(), pa.int64()
    mixed = {"truth": pa.bool_(), "whole": whole, "number": number, "number whole": number}
    types = {
        name: mixed.get(" ".join(sorted(kinds[name])), pa.string())
        if dtype in ("object", TEXT)
        else pa.from_numpy_dtype(dtype)
        for name, dtype in dtypes.items()
    }
    with pq.ParquetWriter(file, pa.schema(types), compression="zstd") as writer:
        for frame in frames:
            writer.write_table(pa.table({name: _exported(frame[name], kind) for name, kind in types.items()}))


def _exported(values: pd.Series, kind: Any) -> Any:
    """Return a column as an arrow array of an arrow type."""
    pa, _ = arrow()
    if values.dtype == "object" and kind == pa.string():  # settings that are numbers in some rows, words in others
        return pa.array([None if value != value else str(value) for value in values], kind)
    return pa.array(values, kind, from_pandas=values.dtype in ("object", TEXT))
