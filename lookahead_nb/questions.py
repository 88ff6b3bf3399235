"""One's own question: whether Lookahead helps on some rows, and with which retention and sync_period."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lookahead_nb import claims, statistics
from lookahead_nb.checks import extra, known_keys, real_number, whole_number
from lookahead_nb.optimizers import AdamW
from lookahead_nb.problems import Problem, arms_of
from lookahead_nb.trials import measure_on

ADAMW, LOOKAHEAD, AVERAGING, LOWER = "AdamW", "Lookahead", "averaging", "AdamW at lr x step"
RATES = {"low": 0.0003, "high": 0.3, "number": 13}  # tried for every arm, each 1.8 times the one before


class Answer(NamedTuple):
    """What came out of :func:`ask`.

    decisive : frame of the comparisons that the advice rests on: ``comparison``, ``arm``, ``control``, ``size``,
    ``low``, ``high`` (of the test loss, as shares of the distance between the loss of chance and the best one), ``p``
    after Holm's correction, ``outcome``: "better" or "worse" by more than the margin, "same" within it, or "open".
    arms : frame of the same for every arm against tuned AdamW, uncorrected, with ``kind``, ``retention``,
    ``sync_period``, ``lr``.
    margin : float. runs, tuning : as in ``trials.Measured``.
    """

    decisive: pd.DataFrame
    arms: pd.DataFrame
    margin: float
    runs: pd.DataFrame
    tuning: pd.DataFrame

    @property
    def on_edge(self):
        """Those of the decisive arms whose best learning rate is the lowest or the highest one tried, names."""
        tuning = self.tuning[self.tuning["arm"].isin([*self.decisive["arm"], ADAMW])]
        tried = tuning.groupby("arm", sort=False)["lr"].agg(["min", "max"])
        best = tuning[tuning["chosen"]].set_index("arm")["lr"].reindex(tried.index)
        return [*tried.index[(best == tried["min"]) | (best == tried["max"])]]

    @property
    def advice(self):
        """What to do, in a sentence or two."""
        if self.on_edge:
            return f"Widen the rates and ask again: the best one of {self.on_edge[0]} lies on the edge of those tried."
        lookahead, averaging = (self._settings(self.decisive["arm"].iloc[i]) for i in (0, -1))
        alone, lower, average, averaged = self.decisive["outcome"]  # in the order of PAIRS
        keep = f"Keep AdamW, at lr {self._rate(ADAMW):.2g}:"
        if alone == lower == average == "better":
            return f"Use Lookahead with {lookahead}: it is better than AdamW and than both controls."
        if averaged == "better":
            added = "does not show that it adds anything" if average == "open" else "adds nothing"
            return f"Average without a pull-back, with {averaging}: it is better than AdamW, and Lookahead {added}."
        if alone == "better":
            return f"Try AdamW at a lower rate, or an average: Lookahead with {lookahead} is not better than both."
        if alone == "open":
            return f"{keep} these rows cannot tell whether Lookahead with {lookahead} differs. More seeds might."
        differs = "makes the test loss worse by more" if alone == "worse" else "changes the test loss by less"
        share = f"{self.margin:.3g} of the distance from the loss of chance to the best one"
        return f"{keep} Lookahead, at its best with {lookahead}, {differs} than {share}."

    def _settings(self, name):
        arm = self.arms.set_index("arm").loc[name]
        return f"retention {arm['retention']:g}, sync_period {arm['sync_period']} and lr {arm['lr']:.2g}"

    def _rate(self, name):
        return self.runs[self.runs["arm"] == name]["lr"].iloc[0]


PAIRS = ((LOOKAHEAD, ADAMW), (LOOKAHEAD, LOWER), (LOOKAHEAD, AVERAGING), (AVERAGING, ADAMW))


def ask(
    problem,
    *,
    retention=(0.2, 0.5, 0.8),
    sync_period=(5, 20),
    lr=RATES,
    margin=0.02,
    seeds=30,
    store=None,
    progress=True,
    **inner,
):
    """Put Lookahead around AdamW on trial on a problem, against both controls, and return the :class:`Answer`.

    The learning rates of AdamW, of every Lookahead and of every averaging arm (without the pull-back) are tuned by the
    validation loss on the tuning seeds, all on the same grid. Then all are trained from other seeds, each with its own
    split, initial weights and batch order, and compared by their test loss at the last step, paired by seed. The advice
    rests on the Lookahead and the average with the lowest validation loss.

    problem : ``problems.Problem`` on data, see ``Problem.of``. retention : list of floats in (0, 1); sync_period : list
    of ints, at least 1; every pair is tried. lr : list of rates, or ``{low, high, number}``. margin : float above 0,
    the share of the distance between the loss of chance and the best one that matters. seeds : int, at least 10.
    store, progress : as in ``sweep``. inner : further arguments of AdamW, one value each. errors : TypeError,
    ValueError, those of ``sweep``.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem, as Problem.of makes it, not {type(problem).__name__}")
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
    found = measure_on([problem], arms, ["test_loss"], drawn, store=store, progress=progress)

    kinds = [(kind, *pair) for kind in (LOOKAHEAD, AVERAGING, LOWER) for pair in pairs]
    every = _compared(problem, found.runs, [(_name(*each), ADAMW) for each in kinds], margin)
    rates = found.runs.groupby("arm")["lr"].first()
    every = every.join(pd.DataFrame(kinds, columns=["kind", "retention", "sync_period"]))
    every["lr"] = rates.loc[every["arm"]].to_numpy()

    losses = found.tuning[found.tuning["chosen"]].set_index("arm")["loss"]
    lookahead, averaging = (min(pairs, key=lambda pair: losses[_name(kind, *pair)]) for kind in (LOOKAHEAD, AVERAGING))
    best = {ADAMW: ADAMW, LOOKAHEAD: _name(LOOKAHEAD, *lookahead), LOWER: _name(LOWER, *lookahead)}
    best |= {AVERAGING: _name(AVERAGING, *averaging)}
    decisive = _compared(problem, found.runs, [(best[arm], best[control]) for arm, control in PAIRS], margin)
    decisive["p"] = statistics.holm(decisive["p"])
    decisive.insert(0, "comparison", [" against ".join(pair) for pair in PAIRS])
    decisive["outcome"] = decisive["outcome"].mask(decisive["p"] > claims.LEVEL, "open")
    return Answer(decisive, every, margin, *found)


def _checked(name, values, check):
    if isinstance(values, str) or not np.iterable(values):
        raise TypeError(f"{name} must be a list of values, not {values!r}")
    checked = [check(f"{name}[{i}]", value) for i, value in enumerate(values)]
    if not checked or len({*checked}) < len(checked):
        raise ValueError(f"{name} must hold one value or more, none of them twice, not {checked!r}")
    return checked


def _checked_range(lr):
    known_keys("lr.", lr, ("low", "high", "number"))
    low = real_number("lr.low", lr.get("low"), 0, open_low=True)
    number = whole_number("lr.number", lr.get("number"), 2)
    return {"low": low, "high": real_number("lr.high", lr.get("high"), low), "number": number}


def _check_inner(inner):
    known_keys("", inner, tuple(field.name for field in fields(AdamW) if field.init and field.name != "lr"))
    for name, value in inner.items():
        if np.iterable(value) and not isinstance(value, str):
            raise TypeError(f"{name} must be one value, the same in all arms, not {value!r}")


def _name(kind, retention, sync_period):
    return f"{kind} retention={retention} sync_period={sync_period}"


def _arms(retention, sync_period, pairs, lr, inner):
    tuned = {"rule": "AdamW", "tune": {"lr": lr}} | inner
    axes = tuned | {"retention": retention, "sync_period": sync_period}
    tables = {ADAMW: tuned, LOOKAHEAD: axes, AVERAGING: axes | {"pull_back": False}}
    for pair in pairs:  # a sync at every step would be this
        lower = {"lr": _name(LOOKAHEAD, *pair), "times": round(1 - pair[0], 12)}
        tables[_name(LOWER, *pair)] = {"rule": "AdamW"} | lower | inner
    return arms_of(tables)


def _compared(problem, runs, pairs, margin):
    """Return how arms differ from controls: "same" within the margin, "better" or "worse" beyond it, or "open"."""
    how: dict[str, Any] = {"expect": "equivalent", "margin": margin, "scale": "of chance", "test": "sign flip"}
    effects = [claims.Effect(a, "test_loss", a, c, **how, tasks=(problem.name,)) for a, c in pairs]
    rows = claims.compare(effects, runs, by_task=False)
    beyond = (rows["size"] > 0).map({True: "worse", False: "better"})
    outcome = rows["outcome"].map({"yes": "same", "open": "open"}).fillna(beyond)
    table = pd.DataFrame(pairs, columns=["arm", "control"])
    return table.join(rows[["size", "low", "high", "p"]]).assign(outcome=outcome)


def example(folder):
    """Write a table that could be the reader's own, breast cancer of scikit-learn, as CSV; return its path and label.

    folder : path. errors : ModuleNotFoundError without scikit-learn.
    """
    load = extra("sklearn.datasets", "scikit-learn", "example").load_breast_cancer
    bunch = load(as_frame=True)
    path = Path(folder) / "breast_cancer.csv"
    bunch.data.assign(diagnosis=bunch.target_names[bunch.target]).to_csv(path, index=False, lineterminator="\n")
    return path, "diagnosis"
