"""Runs as files: one .npz without pickles, with model, weights, state, scaling, class names and evaluations.

The entry ``about`` is a JSON text, from which settings are read; ``sha256`` is the hash of all other entries. The rows
of the data set are not in the file. That of a run in progress holds the settings of the whole run too, and the weights
with which it continues where these are not those of the run so far.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import numbers
import os
import zipfile
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import shown, user_path
from lookahead_nb.datasets.features import tf_idf_from
from lookahead_nb.datasets.scaling import Scaling, TextScaling
from lookahead_nb.optimizers import INNER_RULES, WRAPPERS, Adaptive, Grouped, Optimizer, State
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.provenance import machine
from lookahead_nb.training.files import appearing, explained
from lookahead_nb.training.setup import MODELS, Outcome, Setup, Training
from lookahead_nb.training.states import restored_state, stored_state

if TYPE_CHECKING:
    from lookahead_nb.training.run import Run

FORMAT, VERSION = "lookahead_nb run", 1
SCALINGS: dict[str, Any] = {kind.__name__: kind for kind in (Scaling, TextScaling)}
CLASS = "class"  # the key of the name of a class among its arguments


# ------------------------------------------------------------------------------------------------------------- writing


def write(
    path: Any, run: Run, resume: dict[str, Any] | None = None, current: tuple[np.ndarray, State] | None = None
) -> None:
    """Write a run to a file, which appears complete or not at all.

    Parameters
    ----------
    path : path
        Ends in .npz; an existing file is replaced as a whole.
    run : Run
    resume : dict of values of JSON, optional
        What a checkpoint has to know besides the run.
    current : (params, state), optional
        The weights with which a run in progress continues.

    Raises
    ------
    TypeError, ValueError
        If path has another ending, or model, optimizer or data are of a kind that a file cannot describe.
    OSError
        If the file cannot be written.
    """
    path = checked_path("path", path)
    arrays = contents(run, resume, current)
    arrays["sha256"] = np.array(_sha256(arrays))
    with explained(f"{path} cannot be written"), appearing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def checked_path(name: str, path: Any) -> Path:
    """Return the path of a file to be written, or refuse another one.

    Parameters
    ----------
    name : str
        Of the argument.
    path : path

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError, ValueError
        If it is no path, or does not end in .npz.
    """
    path = user_path(name, path)
    if path.suffix != ".npz":
        raise ValueError(f"{name} must end in .npz, got {path.name!r}")
    return path


def check_describable(model: Any, opt: Any, scaling: Any) -> None:
    """Refuse what a file cannot describe.

    Parameters
    ----------
    model, opt, scaling
        Of a run.

    Raises
    ------
    TypeError
        If one of them is of a kind that a file cannot describe.
    """
    _model(model)
    _optimizer(opt)
    _scaling(scaling)


def contents(
    run: Run, resume: dict[str, Any] | None = None, current: tuple[np.ndarray, State] | None = None
) -> dict[str, np.ndarray]:
    """Return the entries of the file of a run, without their hash.

    Parameters
    ----------
    run : Run
    resume, current
        As in :func:`write`.

    Returns
    -------
    dict of arrays

    Raises
    ------
    TypeError, ValueError
        As :func:`write`.
    """
    training = run.setup.training
    settings = {field.name: getattr(training, field.name) for field in fields(training)} | {
        "dtype": str(training.dtype)
    }
    for name in ("groups", "clip_norm"):  # so that earlier versions read files of runs without them
        if settings[name] is None:
            del settings[name]
    about = {
        "format": FORMAT,
        "version": VERSION,
        "run": run.history["run"].iloc[0],
        "seed": run.seed,
        "model": _model(run.model),
        "optimizer": _optimizer(run.state.optimizer),
        "training": settings,
        "scaling": _scaling(run.scaling),
        "machine": machine(),
    }
    about |= {} if run.best_step is None else {"best_step": run.best_step}
    about |= {} if resume is None else {"resume": resume}
    arrays = {"about": np.array(json.dumps(about, allow_nan=False))} | _weights("", run.params, run.state)
    if current is not None and run.best_step is not None:
        arrays |= _weights("current/", *current)
    if run.scaling is not None:
        arrays |= {f"scaling/{name}": getattr(run.scaling, name) for name in ("origin", "mean", "std")}
        if getattr(run.scaling, "weighting", None) is not None:
            arrays["scaling/idf"] = run.scaling.weighting.idf_  # type: ignore[attr-defined]
    if run.classes is not None:
        arrays["classes"] = run.classes
    parts = {"outcome": run.outcome._asdict(), "metrics": run.metrics}
    return arrays | {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}


def _weights(part: str, params: np.ndarray, state: State) -> dict[str, np.ndarray]:
    """Return the entries of weights and state."""
    stored = stored_state(params, state)
    params = stored.pop("params")
    return {f"{part}params": params} | {f"{part}state/{name}": np.asarray(value) for name, value in stored.items()}


def _model(model: Any) -> dict[str, Any]:
    """Return the class of a model and its arguments."""
    name = type(model).__name__
    if MODELS.get(name) is not type(model):
        raise TypeError(f"model must be one of {', '.join(MODELS)} to be saved, got {shown(model)}")
    arguments = {
        argument: np.asarray(getattr(model, argument)) for argument in inspect.signature(type(model)).parameters
    }
    return {CLASS: name} | {key: value.tolist() for key, value in arguments.items() if value.size}  # no drift: empty


def _optimizer(setting: Any) -> Any:
    """Return an optimizer without its groups, or one of its settings, as values of JSON."""
    if isinstance(setting, Grouped):
        return _optimizer(setting.base)
    if is_dataclass(setting):
        name = type(setting).__name__
        if _settings_classes().get(name) is not type(setting):
            known = ", ".join(_settings_classes())
            raise TypeError(f"the optimizer must consist of {known} to be saved, got {shown(setting)}")
        return {CLASS: name} | {f.name: _optimizer(getattr(setting, f.name)) for f in fields(setting) if f.init}
    return [*map(_optimizer, setting)] if isinstance(setting, tuple) else setting


def _settings_classes() -> dict[str, Any]:
    return INNER_RULES | WRAPPERS | {kind.__name__: kind for kind in (Schedule, Adaptive)}


def _scaling(scaling: Any) -> dict[str, Any] | None:
    if scaling is None:
        return None
    name = type(scaling).__name__
    if SCALINGS.get(name) is not type(scaling):
        raise TypeError(
            f"the scaling of the data must be one of {', '.join(SCALINGS)} to be saved, got {shown(scaling)}"
        )
    columns = None if scaling.columns is None else [*map(_column, scaling.columns)]
    return {CLASS: name, "n_features": scaling.n_features, "columns": columns}


def _column(name: Hashable) -> Any:
    """Return the name of a column as a value of JSON; tuples are lists there."""
    if isinstance(name, tuple):
        return [*map(_column, name)]
    if isinstance(name, str):
        return str(name)
    if isinstance(name, numbers.Integral) and not isinstance(name, bool):
        return int(name)
    raise TypeError(f"columns must be named by text or whole numbers for a run to be saved, got {shown(name)}")


def _sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the hash of names, dtypes, shapes and bytes of all arrays, as hex digits."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------------- reading


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the file of a run holds.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        ``run`` (the id), ``seed``, ``setup`` (without data), ``params``, ``state``, ``scaling``, ``classes``,
        ``outcome``, ``metrics``, ``best_step``; ``resume`` and ``current`` as in :func:`write`, or None.

    Raises
    ------
    ValueError
        If the file is damaged, of another kind, or of a newer version.
    OSError
        If it cannot be read.
    ModuleNotFoundError
        If the run is one on weighted words, and scikit-learn is missing.
    """
    path = user_path("path", path)
    with explained(f"{path} cannot be read"):
        data = path.read_bytes()
    about, arrays = _entries(path, data)
    try:
        return _understood(about, arrays)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} must hold a run of this version's models and optimizers, but {reason}") from error


def _entries(path: Path, data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return settings and arrays of a file whose contents are those that were written."""
    other = f"{path} must be a file that run.save wrote, got a file of another kind"
    damaged = f"{path} is damaged: its contents are not those that run.save wrote; save the run again"
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError(other)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            if members.testzip() is not None:
                raise zipfile.BadZipFile
        with np.load(io.BytesIO(data), allow_pickle=False) as entries:
            names = entries.files  # in the order of the file, which is that of the columns
            if "about" not in names or FORMAT not in str(entries["about"][()]):
                raise _OtherKindError
            arrays = {name: entries[name] for name in names}
        about = json.loads(str(arrays["about"][()]))
        version = int(about["version"])
    except _OtherKindError:
        raise ValueError(other) from None
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(damaged) from error
    if version > VERSION:
        has = f"has version {version} of its format, and this version of lookahead_nb reads {VERSION}"
        raise ValueError(f"{path} {has}: update lookahead_nb")
    if str(arrays.pop("sha256", "")) != _sha256(arrays):
        raise ValueError(damaged)
    return about, arrays


class _OtherKindError(Exception):
    pass


def _understood(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    model = _made(about["model"], MODELS)
    training = about["training"]
    setup = Setup(model, None, Training(**training | {"backend": "cpu"}))
    if training["backend"] != "cpu":  # a GPU is needed to train there, and not to predict
        object.__setattr__(setup.training, "backend", training["backend"])
    opt = setup.accepted("opt", _made(about["optimizer"], _settings_classes()))  # with the groups of the training
    current = _of("current", arrays)
    params, state = _restored(opt, arrays)
    if params.shape != (model.size,):
        raise ValueError(f"params must be ({model.size},) for {model!r}, got {params.shape}")
    return {
        "run": about["run"],
        "seed": about["seed"],
        "setup": setup,
        "params": params,
        "state": state,
        "scaling": None if about["scaling"] is None else _made_scaling(about["scaling"], _of("scaling", arrays)),
        "classes": arrays.get("classes"),
        "outcome": Outcome(**_of("outcome", arrays)),
        "metrics": _of("metrics", arrays),
        "best_step": about.get("best_step"),
        "resume": about.get("resume"),
        "current": _restored(opt, current) if current else None,
    }


def _restored(opt: Optimizer, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, State]:
    """Return weights and state from the entries of :func:`_weights`."""
    return restored_state(opt, {"params": arrays["params"]} | _of("state", arrays))


def _of(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the arrays of a part of the file by their names in it."""
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{part}/")}


def _made(described: Any, classes: Mapping[str, Any]) -> Any:
    """Return the object that a class and its arguments describe."""
    if isinstance(described, list):
        return [_made(item, classes) for item in described]
    if not isinstance(described, dict):
        return described
    if described[CLASS] not in classes:
        advice = "import the module that defines it first"
        raise ValueError(f"{described[CLASS]} is not among {', '.join(classes)}: {advice}")
    arguments = {name: _made(value, classes) for name, value in described.items() if name != CLASS}
    return classes[described[CLASS]](**arguments)


def _made_scaling(described: dict[str, Any], arrays: dict[str, np.ndarray]) -> Scaling:
    columns = described["columns"]
    named = None if columns is None else tuple(map(_hashable, columns))
    idf = arrays.pop("idf", None)
    scaling: Scaling = SCALINGS[described[CLASS]](described["n_features"], **arrays, columns=named)
    return scaling if idf is None else replace(scaling, weighting=tf_idf_from(idf))  # type: ignore[call-arg]


def _hashable(name: Any) -> Hashable:
    return tuple(map(_hashable, name)) if isinstance(name, list) else name
