"""Small tidy tables as CSV, each with a manifest that says what made it and what it holds."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from lookahead_nb.philox import STREAM_ID

ESCAPED = re.compile(r"\A(?:\Z|\\)|[\r\0]")  # texts that a cell cannot hold as they are
PACKAGES = ("lookahead-nb", "numpy", "numba", "llvmlite", "scipy", "pandas")


def checkout():
    """Return the checkout around the working directory, the first folder upwards with a pyproject.toml, else itself."""
    here = pathlib.Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "pyproject.toml").is_file()), here)


def build_folder(kind):
    """Return the folder that recomputed files of a kind go to, made if need be.

    It lies under LOOKAHEAD_NB_BUILD, else under ``build/`` of the checkout around the working directory, else of that.

    kind : str, "results", "figures" or another name of a folder. errors : OSError.
    """
    folder = pathlib.Path(os.environ.get("LOOKAHEAD_NB_BUILD") or checkout() / "build") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # run from a folder of sources


def machine(gpu=None):
    """Return what a result may depend on: the CPU, its class as the compiler sees it, threads, versions, stream.

    gpu : str, the name of the GPU that it came from, or None.
    """
    from llvmlite.binding import get_host_cpu_name
    from numba import config, get_num_threads

    cpu = platform.processor() or platform.machine()
    listed = pathlib.Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", listed.read_text(), re.MULTILINE) if listed.is_file() else None
    cpu = named[1] if named else cpu
    versions = {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}
    return {
        "cpu": cpu,
        "cpu_class": config.CPU_NAME or get_host_cpu_name(),
        "gpu": gpu,
        "threads": get_num_threads(),
        "versions": versions,
        "stream": STREAM_ID,
    }


def write_table(frame, name, *, folder=None, **about):
    """Write a frame as ``name.csv`` with the manifest ``name.json`` and return the path of the table.

    Floats are written in full, so that reading gives them back bit for bit. A missing value is an empty cell; a text
    that would be read as something else begins with a backslash and has the escapes of JSON. The manifest holds the
    sha256 of the file, its rows and columns, the hash of the configurations (the ``run`` column, where there is one),
    and the machine.

    frame : pandas frame; name : str, a file name without ending; folder : path, default ``build_folder("results")``.
    about : what else the manifest is to say, as ``claim="..."``. errors : TypeError for a column that holds other
    things than numbers, truth values, texts and missing values; ValueError for two columns of one name; OSError.
    """
    import pandas as pd

    folder = pathlib.Path(folder) if folder else build_folder("results")
    if (again := frame.columns[frame.columns.map(str).duplicated()]).size:
        raise ValueError(f"frame must have each column once, not {again[0]!r} twice")
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
    (folder / f"{name}.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return path


def made_or_kept(name, make, *, here):
    """Return the table that make() gives, written under its name, or where it is not made here the committed one.

    name : str, as for :func:`write_table`. make : function without arguments to a frame. here : bool. errors : those of
    make and of :func:`read_table`.
    """
    path = write_table(make(), name) if here else checkout() / "data/results" / f"{name}.csv"
    return read_table(path)


def read_table(path):
    """Return a table written by :func:`write_table` as a frame, checked against its manifest.

    path : of the .csv file, beside which the manifest lies. errors : OSError if the table or its manifest is missing;
    ValueError if the table is not the one of the manifest.
    """
    import pandas as pd

    path = pathlib.Path(path)
    for there in (path, path.with_suffix(".json")):
        if not there.is_file():
            raise FileNotFoundError(f"{there} is missing: a table and its manifest must lie side by side")
    text, manifest = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    if hashlib.sha256(text).hexdigest() != manifest["sha256"]:
        raise ValueError(f"{path.name} must have the sha256 of its manifest {path.stem}.json; one of them was changed")
    how: dict = {"dtype": str, "keep_default_na": False}  # pandas' own guesses lose digits, and ids like 12e5
    words = pd.read_csv(path, **how, skip_blank_lines=False)  # else it would skip a text of blanks
    return pd.DataFrame({name: _column(words[name], dtype) for name, dtype in manifest["columns"].items()})


def made_on(path):
    """Return in words what the table at this path was made on: GPU if any, CPU, threads, versions, measured peers.

    path : that of the table. errors : OSError if the manifest is missing.
    """
    about = json.loads(pathlib.Path(path).with_suffix(".json").read_text())["machine"]
    gpu, versions, peers = about["gpu"], about["versions"], about.get("peers", {"versions": {}})["versions"]
    card = gpu if isinstance(gpu, str) else gpu and f"{gpu['name']}, driver {gpu['driver']}"
    return (
        (f"{card}, in a machine with " if card else "")
        + f"{about['cpu']} ({about['cpu_class']}), {about['threads']} threads, numba {versions['numba']}, "
        + f"numpy {versions['numpy']}, stream {about['stream']}"
        + (f", beside {', '.join(f'{name} {version}' for name, version in peers.items())}" if peers else "")
    )


def published(name):
    """Return numbers of the literature, ``data/published/NAME.csv`` of the checkout, as a frame.

    Columns: ``source``, ``table`` (of the source, "" where it has no number), ``setting``, ``optimizer``, ``metric``,
    ``value``, ``error`` (what the source puts after ±, NaN without), ``known`` ("read" or "remembered").
    name : str. errors : OSError.
    """
    import pandas as pd

    words = ["source", "table", "setting", "optimizer", "metric", "known"]
    frame = pd.read_csv(checkout() / f"data/published/{name}.csv", dtype=dict.fromkeys(words, str))
    return frame.fillna(dict.fromkeys(words, ""))


def _words(name, column):
    """Return a column as :func:`_column` reads it: texts escaped where need be, the rest as pandas writes it."""
    import pandas as pd

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column
    words = []
    for value in column.astype(object):
        if isinstance(value, str):
            as_it_is = not ESCAPED.search(value) and (column.dtype == "str" or _value(value) is value)
            words.append(value if as_it_is else "\\" + json.dumps(value)[1:-1])
        elif isinstance(value, (bool, int, float, np.bool_, np.number)) or value is None or value is pd.NA:
            words.append("" if pd.isna(value) else str(value))
        else:
            raise TypeError(f"column {name!r} must hold numbers, truth values, texts or nothing, not {value!r}")
    return pd.Series(words, column.index, dtype=object)


def _column(words, dtype):
    if dtype.startswith("float"):
        return words.map(lambda word: float(word or "nan")).astype(dtype)
    if dtype == "bool":
        return words == "True"
    if dtype.startswith(("int", "uint")):
        return words.astype(dtype)
    return words.map(_text if dtype == "str" else _value).astype(dtype)


def _text(word):
    """Return the text of a cell, NaN for an empty one."""
    if not word.startswith("\\"):
        return word or float("nan")
    return json.loads(f'"{word[1:]}"')


def _value(word):
    """Return the truth value, number or text of a cell, NaN for an empty one."""
    if word in ("True", "False"):
        return word == "True"
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return _text(word)
