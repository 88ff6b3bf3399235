"""Problems and arms by name, as the register of claims writes them down: tasks, and optimizers to train them with."""

from __future__ import annotations

import inspect
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from lookahead_nb import datasets
from lookahead_nb.checks import one_of, real_number, shown, whole_number
from lookahead_nb.claims.population import PILOTS as PILOTS
from lookahead_nb.claims.population import generated as generated
from lookahead_nb.claims.population import population as population
from lookahead_nb.datasets.arrays import splitter
from lookahead_nb.models.dense import MLP, LogisticRegression
from lookahead_nb.models.lowest_loss import lowest_loss
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.settings_file import choice, inside, known_keys, table_of_keys, text
from lookahead_nb.training.setup import LANDSCAPES, Setup, Training

TRAINING = ("steps", "batch_size", "eval_every", "eval_rows", "lr", "schedule", "warmup", "threshold")
ON_DATA = ("data", "hidden", "activation", "l2", "rows", "flipped")
TASK_PARAMETERS = (
    *("entry", "data", "landscape", "hidden", "steps", "batch_size", "eval_every", "schedule", "given_lr"),
    *("threshold", "rows", "flipped"),
)


@dataclass(frozen=True, eq=False)
class Problem:
    """A task: what is trained, for how long and with which schedule; made by :meth:`named` and :meth:`of`.

    Attributes
    ----------
    name : str
        Such as "digits", or with changes, "digits steps=100 rows=200".
    fields : dict
        The changed entry, see Notes.
    load : function or None
        Maps a seed to the data, which is split again for every seed; None on a landscape.
    entry : str
        The name of the entry that was changed, such as "digits".

    Notes
    -----
    Fields of every problem:

    - ``steps``: int, at least 1.
    - ``batch_size``: int, default 64.
    - ``eval_every``: int, default steps/20.
    - ``eval_rows``: int, at least 1.
    - ``lr``: the learning rate of arms that say "given".
    - ``schedule`` ("constant", "linear" or "cosine") and ``warmup``: of all arms.
    - ``threshold``: a loss above 0.

    Fields on data:

    - ``data``: a name of ``datasets``.
    - ``hidden``: the widths of the hidden layers of an MLP; none for logistic regression.
    - ``activation``: of an MLP; ``l2``: of logistic regression.
    - ``rows``: number of rows of the training part, drawn for every seed.
    - ``flipped``: the share of training labels that are wrong.

    Fields on a landscape: ``landscape``, its kind, and its arguments.
    """

    name: str
    fields: dict[str, Any]
    load: Any = None
    entry: str = ""

    @classmethod
    def named(cls, name: str, known: dict[str, Any]) -> Problem:
        """Return a problem by its name, changes included.

        Parameters
        ----------
        name : str
            The name of an entry, then changes such as "steps=100", separated by spaces.
        known : dict
            Tables of fields by name of the entry.

        Returns
        -------
        Problem
            The checked problem.

        Raises
        ------
        ValueError
            If the name or a field is wrong; the sentence names the key.

        Examples
        --------
        >>> bowl = {"bowl": {"landscape": "Quadratic", "curvatures": [1.0], "steps": 100}}
        >>> Problem.named("bowl steps=20", bowl).steps
        20
        """
        base, *changes = text("tasks", name).split(" ")
        fields = dict(table_of_keys(f"tasks.{base}", known[choice("tasks", base, known)]))
        for change in changes:
            key, is_changed, value = change.partition("=")
            if not is_changed:
                raise ValueError(f"tasks must be names with changes like steps=100, got {name!r}")
            try:
                fields[key] = tomllib.loads(f"value = {value}")["value"]
            except ValueError:
                fields[key] = value  # a bare word
        with inside(f"tasks.{base}"):
            return cls._checked(name, fields, None, base)

    @classmethod
    def of(cls, name: str, X: Any, y: Any, **fields: Any) -> Problem:
        """Return a problem on your own data.

        Parameters
        ----------
        name : str
            How the problem is called.
        X, y : array_like
            As in ``datasets.from_arrays``.
        **fields
            Fields of a problem on data, except ``data``; see :class:`Problem`.

        Returns
        -------
        Problem
            The checked problem.

        Raises
        ------
        TypeError, ValueError
            If the rows or a field are wrong.
        """
        load = splitter(X, y)  # refuses bad rows now, not at the first run
        fields = {"data": text("name", name)} | fields
        return cls._checked(name, fields, load, name)

    @classmethod
    def _checked(cls, name: str, fields: dict[str, Any], load: Callable[[int], Any] | None, entry: str) -> Problem:
        if ("data" in fields) == ("landscape" in fields):
            raise ValueError("data must be given, or landscape, and not both")
        if "landscape" in fields:
            kind = LANDSCAPES[choice("landscape", fields["landscape"], LANDSCAPES)]
            known_keys("", fields, (*TRAINING, "landscape", *inspect.signature(kind).parameters))
        else:
            known_keys("", fields, (*TRAINING, *ON_DATA))
            if load is None:
                load = partial(datasets.load, choice("data", fields["data"], datasets.NAMES))
            _check_network(fields)
        whole_number("steps", fields.get("steps"), 1)
        for key in ("batch_size", "eval_rows"):
            whole_number(key, fields.get(key, 1), 1)
        whole_number("eval_every", fields.get("eval_every", 1), 1, fields["steps"])
        real_number("threshold", fields.get("threshold", 1), 0, open_low=True)
        problem = cls(name, fields, load, entry)
        problem.schedule(real_number("lr", fields.get("lr", 1), 0))
        if problem.on_landscape:
            problem.model  # noqa: B018 (checks its arguments)
        return problem

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that distinguish the problem: a dict with the keys ``TASK_PARAMETERS``.

        ``entry`` is the name without changes, ``given_lr`` the learning rate of arms that say "given". The rest are
        fields or their defaults; ``hidden`` is text such as "32-16", empty for logistic regression. A value is None if
        the problem has no such parameter.
        """
        defaults = {"batch_size": 64, "eval_every": self.eval_every, "schedule": "constant", "flipped": 0.0}
        hidden = None if self.on_landscape else "-".join(map(str, self.fields.get("hidden", ())))
        named = {"entry": self.entry, "given_lr": self.fields.get("lr"), "hidden": hidden}
        return {key: (defaults | self.fields | named).get(key) for key in TASK_PARAMETERS}

    @property
    def on_landscape(self) -> bool:
        """Whether the problem is a landscape, which has no data."""
        return "landscape" in self.fields

    @property
    def noiseless(self) -> bool:
        """Whether all seeds give the same run: on a landscape without noise and with a single start."""
        return self.on_landscape and not (self.model.noise.any() or self.model.spread.any())

    @property
    def needs_download(self) -> bool:
        """Whether the data comes neither with the package nor with scikit-learn."""
        return self.fields.get("data") in datasets.DOWNLOADED

    @property
    def is_available(self) -> bool:
        """Whether the problem can be trained offline."""
        return not self.needs_download or datasets.available(self.fields["data"])

    @property
    def steps(self) -> int:
        """Number of steps of a run."""
        return self.fields["steps"]

    @property
    def eval_every(self) -> int:
        """Number of steps between two evaluations."""
        return self.fields.get("eval_every", max(1, self.steps // 20))

    @cached_property
    def _known(self) -> tuple[int, int, float, str]:
        """The number of features and of classes, the chance-level loss and the fingerprint, from the first split."""
        data = self.dataset(0)
        shares = np.bincount(data.y_train) / len(data.y_train)
        chance = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
        return data.n_features, data.n_classes, chance, data.fingerprint

    @cached_property
    def model(self) -> Any:
        """The model or the landscape."""
        if self.on_landscape:
            kind = LANDSCAPES[self.fields["landscape"]]
            return kind(
                **{name: self.fields[name] for name in inspect.signature(kind).parameters if name in self.fields}
            )
        n_features, n_classes, *_ = self._known
        if not self.fields.get("hidden"):
            return LogisticRegression(n_features, n_classes=n_classes, l2=self.fields.get("l2", 0.0))
        widths = n_features, *self.fields["hidden"], n_classes
        return MLP(widths, activation=self.fields.get("activation", "relu"))

    def dataset(self, seed: int) -> Any:
        """Return the data of a seed: its split, its subset and its wrong labels.

        Parameters
        ----------
        seed : int
            In [0, 2**63).

        Returns
        -------
        datasets.Dataset
            The split data.
        """
        data = self.load(seed)
        if "rows" in self.fields:
            data = data.subset(self.fields["rows"], seed)
        if self.fields.get("flipped"):
            data = data.with_flipped_labels(self.fields["flipped"], seed)
        return data

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the data; "none" on a landscape."""
        return "none" if self.on_landscape else self._known[3]

    @property
    def chance(self) -> float:
        """Chance-level loss, of guessing by the class frequencies; inf on a landscape."""
        return math.inf if self.on_landscape else self._known[2]

    @cached_property
    def _lowest(self) -> dict[int, float]:
        return {}

    def lowest(self, seed: int) -> float:
        """Return the lowest training loss of any weights on the data of a seed.

        On a landscape this is the loss of its deepest basin. See ``lowest_loss.lowest_loss``.

        Parameters
        ----------
        seed : int
            In [0, 2**63).

        Returns
        -------
        float
            The loss.

        Raises
        ------
        TypeError, ValueError
            Those of ``lowest_loss.lowest_loss``.
        """
        if self.on_landscape:
            basins = np.reshape(getattr(self.model, "minima", ()), (-1, 1))
            return float(self.model.heights(basins).min()) if len(basins) else 0.0
        if seed not in self._lowest:
            self._lowest[seed] = lowest_loss(self.model, self.dataset(seed))
        return self._lowest[seed]

    def training(self) -> dict[str, Any]:
        """Return the arguments with which ``sweep`` trains the problem.

        Returns
        -------
        dict
            ``model``, ``data`` and keyword arguments of ``sweep``.
        """
        settings: dict[str, Any] = {
            name: self.fields[name] for name in ("batch_size", "eval_rows") if name in self.fields
        }
        settings |= {"steps": self.steps, "eval_every": self.eval_every}
        return {"model": self.model, "data": None if self.on_landscape else self.dataset} | settings

    @property
    def operations(self) -> float:
        """Floating-point operations of the training steps of one run, as ``training.Setup`` counts them."""
        settings = self.training()
        model, data = settings.pop("model"), settings.pop("data")
        return Setup(model, data, Training(**settings)).operations

    def schedule(self, peak: float) -> float | Schedule:
        """Return the learning rate of a run with this peak.

        Parameters
        ----------
        peak : float
            At least 0.

        Returns
        -------
        float or Schedule
            The number itself if the problem has neither a schedule nor a warmup.

        Raises
        ------
        TypeError, ValueError
            If the peak or the schedule is wrong.
        """
        kind, warmup = self.fields.get("schedule", "constant"), self.fields.get("warmup", 0)
        choice("schedule", kind, ("constant", "linear", "cosine"))
        schedule = Schedule(kind, peak, None if kind == "constant" else self.steps, warmup)
        return peak if kind == "constant" and not warmup else schedule


def _check_network(fields: dict[str, Any]) -> None:
    hidden = fields.get("hidden", [])
    if not isinstance(hidden, (list, tuple)):
        raise ValueError(f"hidden must be a list of widths such as [32], got {shown(hidden)}")
    for i, width in enumerate(hidden):
        whole_number(f"hidden[{i}]", width, 1)
    for key, belongs in {"l2": not hidden, "activation": bool(hidden)}.items():
        if key in fields and not belongs:
            only = (
                "a network with hidden layers" if key == "activation" else "logistic regression, without hidden layers"
            )
            raise ValueError(f"{key} must be absent here: only {only} has it")
    one_of("activation", fields.get("activation", "relu"), ("relu", "tanh", "sigmoid"))
    real_number("l2", fields.get("l2", 0), 0)
    whole_number("rows", fields.get("rows", 1), 1)
    real_number("flipped", fields.get("flipped", 0), 0, 1, open_high=True)
