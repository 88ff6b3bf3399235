"""Your own question: whether Lookahead helps on your own data, and with which retention and sync_period."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb import claims
from lookahead_nb.checks import extra, real_number, shown, whole_number
from lookahead_nb.claims import statistics
from lookahead_nb.claims.arms import Arm, arms_of
from lookahead_nb.claims.measure import measure_on
from lookahead_nb.claims.tasks import Problem
from lookahead_nb.optimizers import AdamW
from lookahead_nb.settings_file import inside, known_keys
from lookahead_nb.training.ranges import number_of, range_of

ADAMW, LOOKAHEAD, AVERAGING, LOWER = "AdamW", "Lookahead", "averaging", "AdamW at lr x step"
RATES = {"low": 0.0003, "high": 0.3, "number": 13}  # tried for every arm, each 1.8 times the previous one


class Answer(NamedTuple):
    """The result of :func:`ask`.

    Attributes
    ----------
    decisive : DataFrame
        The comparisons that the advice rests on: ``comparison``, ``arm``, ``control``, ``size``, ``low``, ``high``,
        ``p`` after Holm's correction and ``outcome``. Sizes are differences of the test loss, as shares of the gap
        between the chance-level loss and the best loss. An outcome is "better" or "worse" by more than the margin,
        "same" within it, or "open".
    arms : DataFrame
        The same for every arm against tuned AdamW, uncorrected, with ``kind``, ``retention``, ``sync_period`` and
        ``lr``.
    margin : float
        The smallest difference that matters, as a share of the same gap.
    runs, tuning : DataFrame
        As in ``measure.Measured``.
    """

    decisive: pd.DataFrame
    arms: pd.DataFrame
    margin: float
    runs: pd.DataFrame
    tuning: pd.DataFrame

    @property
    def on_edge(self) -> list[str]:
        """Names of the decisive arms whose best learning rate is the lowest or the highest one tried."""
        tuning = self.tuning[self.tuning["arm"].isin([*self.decisive["arm"], ADAMW])]
        tried = tuning.groupby("arm", sort=False)["lr"].agg(["min", "max"])
        best = tuning[tuning["chosen"]].set_index("arm")["lr"].reindex(tried.index)
        return [*tried.index[(best == tried["min"]) | (best == tried["max"])]]

    @property
    def advice(self) -> str:
        """A recommendation in one or two sentences."""
        if self.on_edge:
            return f"Widen the rates and ask again: the best one of {self.on_edge[0]} lies on the edge of those tried."
        lookahead, averaging = (self._settings(self.decisive["arm"].iloc[i]) for i in (0, -1))
        against_adamw, against_lower, against_average, average_against_adamw = self.decisive[
            "outcome"
        ]  # in the order of PAIRS
        keep = f"Keep AdamW, at lr {self._rate(ADAMW):.2g}:"
        if against_adamw == against_lower == against_average == "better":
            return f"Use Lookahead with {lookahead}: it is better than AdamW and than both controls."
        if average_against_adamw == "better":
            added = "does not show that it adds anything" if against_average == "open" else "adds nothing"
            return f"Average without a pull-back, with {averaging}: it is better than AdamW, and Lookahead {added}."
        if against_adamw == "better":
            return f"Try AdamW at a lower rate, or an average: Lookahead with {lookahead} is not better than both."
        if against_adamw == "open":
            return f"{keep} these rows cannot tell whether Lookahead with {lookahead} differs. More seeds might."
        differs = "makes the test loss worse by more" if against_adamw == "worse" else "changes the test loss by less"
        share = f"{self.margin:.3g} of the distance from the loss of chance to the best one"
        return f"{keep} Lookahead, at its best with {lookahead}, {differs} than {share}."

    def _settings(self, name: str) -> str:
        arm = self.arms.set_index("arm").loc[name]
        return f"retention {arm['retention']:g}, sync_period {arm['sync_period']} and lr {arm['lr']:.2g}"

    def _rate(self, name: str) -> float:
        return self.runs[self.runs["arm"] == name]["lr"].iloc[0]


PAIRS = ((LOOKAHEAD, ADAMW), (LOOKAHEAD, LOWER), (LOOKAHEAD, AVERAGING), (AVERAGING, ADAMW))


def ask(
    problem: Problem,
    *,
    retention: Iterable[float] = (0.2, 0.5, 0.8),
    sync_period: Iterable[int] = (5, 20),
    lr: Iterable[float] | dict[str, float] = RATES,
    margin: float = 0.02,
    seeds: int = 30,
    store: str | Path | None = None,
    progress: bool | Callable[[int, int], None] = True,
    **inner: Any,
) -> Answer:
    """Test Lookahead around AdamW on a problem, against both controls.

    Every AdamW, Lookahead and averaging arm (without the pull-back) is tuned over the same learning rates, by the
    validation loss on the tuning seeds. All are then trained from other seeds, each with its own split, initial weights
    and batch order. They are compared by their test loss at the last step, paired by seed. The advice rests on the
    Lookahead and the average with the lowest validation loss.

    Parameters
    ----------
    problem : Problem
        A problem on data, see ``Problem.of``.
    retention : iterable of float
        In (0, 1). Default: 0.2, 0.5 and 0.8.
    sync_period : iterable of int
        At least 1; every pair with a retention is tried. Default: 5 and 20.
    lr : iterable of float, or dict
        Learning rates, or ``{low, high, number}``. Default: 13 from 0.0003 to 0.3.
    margin : float, default 0.02
        Above 0. The smallest difference that matters, as a share of the gap between the chance-level loss and the best
        loss.
    seeds : int, default 30
        At least 10.
    store : path, optional
        As in ``sweep``.
    progress : bool or function
        As in ``sweep``. Default: True.
    **inner
        Further arguments of AdamW, one value each.

    Returns
    -------
    Answer
        The comparisons and the advice.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; also those of ``sweep``.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem such as Problem.of makes, got {type(problem).__name__}")
    if problem.on_landscape:
        raise ValueError(f"problem must be on data, which the landscape {problem.name!r} is not")
    margin, seeds = real_number("margin", margin, 0, open_low=True), whole_number("seeds", seeds, 10)
    retention = _checked("retention", retention, partial(real_number, low=0, high=1, open_low=True, open_high=True))
    sync_period = _checked("sync_period", sync_period, partial(whole_number, low=1))
    lr = _checked_range(lr) if isinstance(lr, dict) else _checked("lr", lr, partial(real_number, low=0))
    _check_inner(inner)
    pairs = [*itertools.product(retention, sync_period)]
    arms = _arms(retention, sync_period, pairs, lr, inner)
    for arm in arms.values():
        arm.check(problem)
    key = json.dumps([problem.fields, problem.fingerprint, {name: arm.fields for name, arm in arms.items()}])
    drawn = claims.seeds_of(hashlib.sha256(key.encode()).hexdigest(), seeds)
    measured = measure_on([problem], arms, ["test_loss"], drawn, store=store, progress=progress)

    kinds = [(kind, *pair) for kind in (LOOKAHEAD, AVERAGING, LOWER) for pair in pairs]
    compared = _compared(problem, measured.runs, [(_name(*kind), ADAMW) for kind in kinds], margin)
    rates = measured.runs.groupby("arm")["lr"].first()
    compared = compared.join(pd.DataFrame(kinds, columns=["kind", "retention", "sync_period"]))
    compared["lr"] = rates.loc[compared["arm"]].to_numpy()

    losses = measured.tuning[measured.tuning["chosen"]].set_index("arm")["loss"]
    lookahead, averaging = (min(pairs, key=lambda pair: losses[_name(kind, *pair)]) for kind in (LOOKAHEAD, AVERAGING))
    best = {ADAMW: ADAMW, LOOKAHEAD: _name(LOOKAHEAD, *lookahead), LOWER: _name(LOWER, *lookahead)}
    best |= {AVERAGING: _name(AVERAGING, *averaging)}
    decisive = _compared(problem, measured.runs, [(best[arm], best[control]) for arm, control in PAIRS], margin)
    decisive["p"] = statistics.holm(decisive["p"])
    decisive.insert(0, "comparison", [" against ".join(pair) for pair in PAIRS])
    decisive["outcome"] = decisive["outcome"].mask(decisive["p"] > claims.LEVEL, "open")
    return Answer(decisive, compared, margin, *measured)


def _checked(name: str, values: Any, check: Callable[[str, Any], Any]) -> list[Any]:
    if isinstance(values, str) or not np.iterable(values):
        raise TypeError(f"{name} must be a list of values, got {shown(values)}")
    checked = [check(f"{name}[{i}]", value) for i, value in enumerate(values)]
    if not checked or len({*checked}) < len(checked):
        raise ValueError(f"{name} must hold one value or more, none of them twice, got {checked!r}")
    return checked


def _checked_range(lr: dict[str, Any]) -> dict[str, Any]:
    with inside("lr"):
        ends = range_of(lr, more=("number",))
        return {"low": ends.low, "high": ends.high, "number": number_of(lr)}


def _check_inner(inner: dict[str, Any]) -> None:
    known_keys("", inner, tuple(field.name for field in fields(AdamW) if field.init and field.name != "lr"))
    for name, value in inner.items():
        if np.iterable(value) and not isinstance(value, str):
            raise TypeError(f"{name} must be one value, the same in all arms, got {value!r}")


def _name(kind: str, retention: float, sync_period: int) -> str:
    return f"{kind} retention={retention} sync_period={sync_period}"


def _arms(
    retention: list[float], sync_period: list[int], pairs: list[tuple[float, int]], lr: Any, inner: dict[str, Any]
) -> dict[str, Arm]:
    tuned = {"rule": "AdamW", "tune": {"lr": lr}} | inner
    axes = tuned | {"retention": retention, "sync_period": sync_period}
    tables = {ADAMW: tuned, LOOKAHEAD: axes, AVERAGING: axes | {"pull_back": False}}
    for pair in pairs:  # the control that a sync at every step would equal
        lower = {"lr": _name(LOOKAHEAD, *pair), "times": round(1 - pair[0], 12)}
        tables[_name(LOWER, *pair)] = {"rule": "AdamW"} | lower | inner
    return arms_of(tables)


def _compared(problem: Problem, runs: pd.DataFrame, pairs: Sequence[tuple[str, str]], margin: float) -> pd.DataFrame:
    """Return how arms differ from controls: "same" within the margin, "better" or "worse" beyond it, or "open"."""
    rule: dict[str, Any] = {"expect": "equivalent", "margin": margin, "scale": "of chance", "test": "sign flip"}
    effects = [claims.Effect(a, "test_loss", a, c, **rule, tasks=(problem.name,)) for a, c in pairs]
    rows = claims.compare(effects, runs, by_task=False)
    beyond = (rows["size"] > 0).map({True: "worse", False: "better"})
    outcome = rows["outcome"].map({"yes": "same", "open": "open"}).fillna(beyond)
    table = pd.DataFrame(pairs, columns=["arm", "control"])
    return table.join(rows[["size", "low", "high", "p"]]).assign(outcome=outcome)


def example(folder: str | Path) -> tuple[Path, str]:
    """Write an example of your own data as CSV: the breast cancer table of scikit-learn.

    Parameters
    ----------
    folder : path
        Where ``breast_cancer.csv`` is written.

    Returns
    -------
    path : Path
        The file.
    label : str
        The name of its column of labels.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    """
    load = extra("sklearn.datasets", "scikit-learn", "example").load_breast_cancer
    bunch = load(as_frame=True)
    path = Path(folder) / "breast_cancer.csv"
    bunch.data.assign(diagnosis=bunch.target_names[bunch.target]).to_csv(path, index=False, lineterminator="\n")
    return path, "diagnosis"
