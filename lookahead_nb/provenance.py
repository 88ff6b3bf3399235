"""Small tidy tables as CSV, each with a manifest of its origin and contents."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import platform
import re
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core.registry import cpu_target

from lookahead_nb.checks import user_path, whole
from lookahead_nb.kernels.cpu.product import vector_bytes
from lookahead_nb.kernels.philox import STREAM_ID

if TYPE_CHECKING:
    import pandas as pd

ESCAPED = re.compile(r"\A(?:\Z|\\)|[\r\0]")  # texts that a cell cannot hold as they are
PACKAGES = ("lookahead-nb", "numpy", "numba", "llvmlite", "scipy", "pandas")


def checkout() -> pathlib.Path:
    """Return the checkout around the working directory.

    Returns
    -------
    pathlib.Path
        The working directory or its nearest parent with a pyproject.toml; the working directory if none has one.
    """
    start = pathlib.Path.cwd()
    return next((p for p in (start, *start.parents) if (p / "pyproject.toml").is_file()), start)


def committed(path: str) -> pathlib.Path:
    """Return the path of a committed file or folder.

    Parameters
    ----------
    path : str
        Relative to the checkout, such as "data/claims".

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileNotFoundError
        If the working directory lies in no checkout with this path.
    """
    found = checkout() / path
    if not found.exists():
        here = pathlib.Path.cwd()
        raise FileNotFoundError(
            f"{path} is missing: run this in a checkout of the project, which holds it, not in {here}"
        )
    return found


def build_folder(kind: str) -> pathlib.Path:
    """Return the folder for recomputed files of a kind, made if it is missing.

    It lies in the folder that the environment variable LOOKAHEAD_NB_BUILD names, otherwise in ``build/`` of
    :func:`checkout`.

    Parameters
    ----------
    kind : str
        "results", "figures" or another name of a folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OSError
        If the folder cannot be made.
    """
    folder = user_path("LOOKAHEAD_NB_BUILD", os.environ.get("LOOKAHEAD_NB_BUILD") or checkout() / "build") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _version(package: str, absent: str = "not installed") -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return absent  # of this package too, where it runs from a folder of sources


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result may depend on.

    Returns
    -------
    dict
        By name; "not installed" where a package runs from a folder of sources.

    Examples
    --------
    >>> from lookahead_nb.provenance import versions
    >>> list(versions())
    ['python', 'lookahead-nb', 'numpy', 'numba', 'llvmlite', 'scipy', 'pandas']
    """
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


def machine(gpu: str | None = None) -> dict[str, Any]:
    """Return everything about this machine that a result may depend on.

    Parameters
    ----------
    gpu : str, optional
        The name of the GPU that computed the result.

    Returns
    -------
    dict
        ``cpu`` (its name), ``cpu_class`` (its name for the compiler), ``gpu``, ``threads`` (those of Numba),
        ``versions`` (by package) and ``stream`` (the identifier of the random streams).

    Examples
    --------
    >>> from lookahead_nb.provenance import machine
    >>> sorted(machine())
    ['cpu', 'cpu_class', 'gpu', 'stream', 'threads', 'versions']
    """
    from llvmlite.binding import get_host_cpu_name
    from numba import config, get_num_threads

    cpu = platform.processor() or platform.machine()
    listed = pathlib.Path("/proc/cpuinfo")
    model = (
        re.search(r"^model name\s*: (.*)$", listed.read_text("utf-8", "replace"), re.MULTILINE)
        if listed.is_file()
        else None
    )
    cpu = model[1] if model else cpu
    return {
        "cpu": cpu,
        "cpu_class": config.CPU_NAME or get_host_cpu_name(),
        "gpu": gpu,
        "threads": get_num_threads(),
        "versions": versions(),
        "stream": STREAM_ID,
    }


def write_table(
    frame: pd.DataFrame, name: str, *, folder: str | os.PathLike[str] | None = None, **about: Any
) -> pathlib.Path:
    """Write a frame as ``name.csv`` with the manifest ``name.json`` and return the path of the table.

    Floats are written in full, so that :func:`read_table` returns them bit for bit. A missing value is an empty cell. A
    text that would be read as something else begins with a backslash and has the escapes of JSON.

    Parameters
    ----------
    frame : frame
        Columns of numbers, truth values, texts and missing values.
    name : str
        A file name without ending.
    folder : path, optional
        Default ``build_folder("results")``.
    **about
        Further entries of the manifest, such as ``claim="..."``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError
        If a column holds anything else.
    ValueError
        If two columns have one name.
    OSError
        If a file cannot be written.

    Notes
    -----
    The manifest holds the sha256 of the file, its rows and columns, the hash of the configurations (of the column
    ``run``, or else of name) and the machine.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from lookahead_nb.provenance import read_table, write_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_table(pd.DataFrame({"lr": [0.1], "status": ["ok"]}), "runs", folder=folder)
    ...     read_table(path).to_dict("list")
    {'lr': [0.1], 'status': ['ok']}
    """
    pd = whole("pandas")

    folder = pathlib.Path(folder) if folder else build_folder("results")
    if (repeated := frame.columns[frame.columns.map(str).duplicated()]).size:
        raise ValueError(f"frame must have each column once, got {repeated[0]!r} twice")
    words = pd.DataFrame({name: _words(name, column) for name, column in frame.items()}, frame.index)
    text = words.to_csv(index=False, lineterminator="\n").encode()
    runs = "\n".join(sorted(set(frame["run"]))) if "run" in frame else name
    manifest = {
        "table": f"{name}.csv",
        "sha256": hashlib.sha256(text).hexdigest(),
        "rows": len(frame),
        "columns": {str(name): str(dtype) for name, dtype in frame.dtypes.items()},
        "configurations": hashlib.sha256(runs.encode()).hexdigest(),
        "machine": machine(),
    } | about
    path = folder / f"{name}.csv"
    path.write_bytes(text)
    (folder / f"{name}.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return path


def made_or_kept(name: str, make: Callable[[], pd.DataFrame], *, here: bool) -> pd.DataFrame:
    """Return a table that is made and written now, or the committed one.

    Parameters
    ----------
    name : str
        The name of the table, as in :func:`write_table`.
    make : function without arguments
        Returns the frame.
    here : bool
        True calls make and writes the table; False reads the committed table.

    Returns
    -------
    frame

    Raises
    ------
    Exception
        Those of make, :func:`write_table` and :func:`read_table`.
    """
    path = write_table(make(), name) if here else committed("data/results") / f"{name}.csv"
    return read_table(path)


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a table written by :func:`write_table` as a frame, checked against its manifest.

    Parameters
    ----------
    path : path
        The .csv file; its manifest lies in the same folder.

    Returns
    -------
    frame

    Raises
    ------
    OSError
        If the table or its manifest is missing.
    ValueError
        If the table is not the one of the manifest.
    """
    pd = whole("pandas")

    path = pathlib.Path(path)
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: a table and its manifest must lie in one folder")
    text, manifest = path.read_bytes(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if hashlib.sha256(text).hexdigest() != manifest["sha256"]:
        raise ValueError(f"{path.name} must have the sha256 of its manifest {path.stem}.json; one of them was changed")
    options: dict = {"dtype": str, "keep_default_na": False}  # the guesses of pandas lose digits, and ids like 12e5
    words = pd.read_csv(path, **options, skip_blank_lines=False)  # else it would skip a text of blanks
    return pd.DataFrame({name: _column(words[name], dtype) for name, dtype in manifest["columns"].items()})


def made_on(path: str | os.PathLike[str]) -> str:
    """Return in words the machine that made a table: GPU if any, CPU, threads, versions, compared libraries.

    Parameters
    ----------
    path : path
        The table.

    Returns
    -------
    str

    Raises
    ------
    OSError
        If the manifest is missing.
    """
    about = json.loads(pathlib.Path(path).with_suffix(".json").read_text(encoding="utf-8"))["machine"]
    gpu, versions, peers = about["gpu"], about["versions"], about.get("peers", {"versions": {}})["versions"]
    card = gpu if isinstance(gpu, str) else gpu and f"{gpu['name']}, driver {gpu['driver']}"
    return (
        (f"{card}, in a machine with " if card else "")
        + f"{about['cpu']} ({about['cpu_class']}), {about['threads']} threads, numba {versions['numba']}, "
        + f"numpy {versions['numpy']}, stream {about['stream']}"
        + (f", beside {', '.join(f'{name} {version}' for name, version in peers.items())}" if peers else "")
    )


def published(name: str) -> pd.DataFrame:
    """Return published numbers, ``data/published/NAME.csv`` of the checkout, as a frame.

    Parameters
    ----------
    name : str
        The name of the file without ending.

    Returns
    -------
    frame
        Columns: ``source``, ``table`` (the number of the table in the source, "" if it has none), ``setting``,
        ``optimizer``, ``metric``, ``value``, ``error`` (the number after ± in the source, NaN without one), ``known``
        ("read", "remembered", or "recomputed" where the source defines the number and prints none). Some files have
        more: ``warning`` ("" without one), and the numbers ``lr``, ``seed``, ``step`` and ``epoch`` of a row.

    Raises
    ------
    OSError
        If the file is missing.
    """
    pd = whole("pandas")

    words = ["source", "table", "setting", "optimizer", "metric", "known", "warning"]
    frame = pd.read_csv(committed(f"data/published/{name}.csv"), dtype=dict.fromkeys(words, str))
    return frame.fillna(dict.fromkeys(words, ""))


def _words(name: str, column: pd.Series) -> pd.Series:
    """Return a column as :func:`_column` reads it: texts escaped where necessary, the rest as pandas writes it."""
    pd = whole("pandas")

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column
    words = []
    for value in column.astype(object):
        if isinstance(value, str):
            unchanged = not ESCAPED.search(value) and (column.dtype == "str" or _value(value) is value)
            words.append(value if unchanged else "\\" + json.dumps(value)[1:-1])
        elif isinstance(value, (bool, int, float, np.bool_, np.number)) or value is None or value is pd.NA:
            words.append("" if pd.isna(value) else str(value))
        else:
            raise TypeError(f"column {name!r} must hold numbers, truth values, texts or nothing, got {value!r}")
    return pd.Series(words, column.index, dtype=object)


def _column(words: pd.Series, dtype: str) -> pd.Series:
    """Return the column of a dtype that these cells hold."""
    if dtype.startswith("float"):
        return words.map(lambda word: float(word or "nan")).astype(dtype)
    if dtype == "bool":
        return words == "True"
    if dtype.startswith(("int", "uint")):
        return words.astype(dtype)
    return words.map(_text if dtype == "str" else _value).astype(dtype)


def _text(word: str) -> str | float:
    """Return the text of a cell, NaN for an empty one."""
    if not word.startswith("\\"):
        return word or float("nan")
    return json.loads(f'"{word[1:]}"')


def _value(word: str) -> bool | int | float | str:
    """Return the truth value, number or text of a cell, NaN for an empty one."""
    if word in ("True", "False"):
        return word == "True"
    for number in (int, float):
        try:
            value: int | float = number(word)
            return value
        except ValueError:
            continue
    return _text(word)


# ------------------------------------------------------------------------------------------------------------ devices

CUDA_PACKAGES = ("numba-cuda", "cuda-toolkit", "cuda-bindings", "nvidia-nvjitlink")  # those of the extra cuda


def device_lines() -> Iterator[str]:
    """Yield the lines of a report on the devices of this machine.

    Yields
    ------
    str
        One line each for the CPU, the packages for CUDA, its driver, every GPU, and whether CUDA can be used.
    """
    from lookahead_nb.kernels import gpu  # numba.cuda is loaded where it is used

    host, bits = machine(), 8 * vector_bytes(cpu_target.target_context)
    yield f"CPU       {host['cpu']} ({host['cpu_class']}): {host['threads']} threads, vectors of {bits} bits"
    yield "packages  " + ", ".join(f"{name} {_version(name, 'is missing')}" for name in CUDA_PACKAGES)
    yield f"driver    {gpu.driver() or 'none that works'}"
    for device in gpu.devices():
        memory = "memory hidden"
        if device.total is not None and device.free is not None:
            memory = f"{device.total / 2**30:.1f} GiB of memory, {device.free / 2**30:.1f} of them free"
        capability = ".".join(map(str, device.capability))
        yield f"GPU {device.number:<5} {device.name}: {memory}, compute capability {capability}"
    problem = gpu.problem()
    yield f"CUDA      {f'cannot be used: {problem}' if problem else 'can be used'}"
