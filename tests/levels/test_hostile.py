"""Every public function, every argument, every kind of input: a right value, or one sentence that names the argument.

Each row of the table is a call that works. Each of its arguments is replaced by each kind of input in turn. What comes
back holds no NaN, and what says the same in another form gives the same result.
"""

import inspect
import re
import warnings
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookahead_nb as lnb
from lookahead_nb import claims, datasets, figures, models, optimizers, theory
from lookahead_nb.figures import catalogue
from lookahead_nb.models import games, landscapes
from lookahead_nb.optimizers import schedules

NAN, INF = float("nan"), float("inf")
KINDS = {  # made for every call: one that is consumed would be empty in the next
    "None": lambda: None,
    "NaN": lambda: NAN,
    "inf": lambda: INF,
    "-inf": lambda: -INF,
    "negative": lambda: -1,
    "fraction": lambda: 2.5,
    "zero": lambda: 0,
    "beyond int64": lambda: 2**63,
    "beyond float": lambda: 10**400,
    "largest float": lambda: 1.7e308,
    "least float": lambda: 5e-324,
    "bool": lambda: True,
    "complex": lambda: 1 + 1j,
    "decimal": lambda: Decimal("NaN"),
    "text": lambda: "seven",
    "no text": lambda: "",
    "bytes": lambda: b"7",
    "object": object,
    "class": lambda: lnb.AdamW,
    "module": lambda: np,
    "dict": lambda: {"a": 1},
    "set": lambda: {1.5, 2.5},
    "function": lambda: lambda *_: None,
    "nothing": list,
    "no rows": lambda: np.empty((0, 3)),
    "0-d": lambda: np.array(1.5),
    "3-D": lambda: np.full((2, 2, 2), 0.5),
    "wide": lambda: np.full((4, 9), 0.5),
    "float16": lambda: np.full((5, 4), 0.5, np.float16),
    "NaN in an array": lambda: np.array([0.5, NAN, 0.5]),
    "inf in an array": lambda: np.array([[0.5, INF], [0.5, 0.5]]),
    "huge in an array": lambda: np.array([1.7e308, -1.7e308]),
    "bool array": lambda: np.array([True, False, True]),
    "complex array": lambda: np.array([0.5 + 1j, 0.5]),
    "object array": lambda: np.array([None, "a", 1.0], object),
    "text array": lambda: np.array(["a", "b", "a"]),
    "dates": lambda: np.array(["2019-07-19", "NaT"], "datetime64[D]"),
    "records": lambda: np.zeros(3, [("a", "f8"), ("b", "i4")]),
    "masked": lambda: np.ma.masked_array([0.5, 0.5], mask=[True, False]),
    "ragged": lambda: [[0.5], [0.5, 0.5]],
    "deep": lambda: [[[["a"]]]],
    "mixed": lambda: [0.5, "a", None],
    "consumed": lambda: iter(()),
    "generator": lambda: (i for i in (0.5, NAN)),
    "map": lambda: map(float, ("0.5", "nan")),
    "Series": lambda: pd.Series([0.5, None]),
    "empty frame": pd.DataFrame,
    "frame": lambda: pd.DataFrame({"a": [1, None], "b": ["x", "y"]}),
}
FORMS = {  # the same in another form; a form that does not fit the value is skipped
    "tuple": tuple,
    "list": list,
    "generator": lambda value: (item for item in value),
    "map": lambda value: map(lambda item: item, value),
    "array": np.array,
    "float64": np.float64,
    "int64": lambda value: np.int64(value) if isinstance(value, int) and not isinstance(value, bool) else None,
    "exact": Fraction,
}

rng = np.random.default_rng(20190719)
X, y = rng.normal(0, 1, (60, 4)), np.arange(60) % 3
DATA, MODEL, BOWL = datasets.from_arrays(X, y), models.MLP((4, 3, 3)), landscapes.Quadratic([1.0, 0.5])
PARAMS, ROWS, POINT = MODEL.init(dtype="float64"), DATA.X_train[:5].astype(np.float64), np.array([0.5, -0.5])
ADAMW, OPT = lnb.AdamW(0.01), lnb.Lookahead(lnb.AdamW(0.01), sync_period=2)
RUN = lnb.train(MODEL, DATA, OPT, steps=2, batch_size=8)
SWEPT = lnb.sweep(MODEL, DATA, [ADAMW, lnb.AdamW(0.02)], seeds=1, steps=2, batch_size=8, progress=False)
CYCLE = theory.Cycle(lr=0.1, noise=1.0, sync_period=5, slow_step_size=0.5)
OF_MODES = theory.Cycle(lr=0.1, curvature=[1.0, 0.5], noise=0.5)
SHORT = {"steps": 2, "batch_size": 8, "eval_every": 2, "eval_at": [1], "eval_rows": 9}
OBSERVED = {"model": MODEL, "data": DATA} | SHORT
DRAWN = {"lr": {"low": 0.1, "high": 0.2}, "sync_period": [5, 10]}
MODES = {"lr": [0.1, 0.2], "curvature": 1.0, "sync_period": 5, "slow_step_size": 0.5}
MATCHED = {"lr": 0.1, "curvatures": [1.0, 0.5], "noise": [0.1, 0.1], "sync_period": 5, "slow_step_size": 0.5}
GAME = {"lr": 0.1, "strength": 1.0, "sync_period": 5, "slow_step_size": 0.5}
STARTS = {"start": 0.5, "spread": 0.1, "replicas": 2}
PENNIES = lnb.games.matching_pennies()
RING = lnb.games.RingGame(generator=(3,), critic=(2,))
NETWORKS = {"generator": (3,), "critic": (2,), "activation": "relu", "replicas": 2}
SURFACE = {"noise": 0.1, "spread": 0.1, "replicas": 2}
BETAS = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}


class Own:
    size = MODEL.size
    init, loss_and_grad = MODEL.init, MODEL.loss_and_grad


def step(**arguments):
    arguments = {"params": POINT, "grad": POINT, "state": OPT.init(POINT)} | arguments
    if type(arguments["params"]) is np.ndarray:
        arguments["params"] = arguments["params"].copy()
    OPT.step(**arguments)
    return arguments["params"]


def shown(**arguments):
    arguments = {"params": POINT.copy(), "state": OPT.init(POINT)} | arguments
    with OPT.slow_weights(**arguments):
        return arguments["params"].copy()


def swept(**arguments):
    return lnb.sweep([lnb.Task(**arguments)], None, [ADAMW], seeds=1, progress=False)


def played(**arguments):
    return lnb.play(**arguments).history["distance"].to_numpy()


def asked(**arguments):
    answer = lnb.ask(**arguments)
    return [answer.arms["test_loss"].to_numpy(), repr(answer)]


CALLS = {
    "SGD": (lnb.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    "Adagrad": (lnb.Adagrad, {"lr": 0.1, "eps": 1e-8, "weight_decay": 0.1}),
    "RMSprop": (lnb.RMSprop, {"lr": 0.1, "rho": 0.9, "eps": 1e-8, "momentum": 0.5, "weight_decay": 0.1}),
    "Adam": (lnb.Adam, {"lr": 0.1} | BETAS),
    "AdamW": (lnb.AdamW, {"lr": 0.1} | BETAS),
    "ScheduleFreeAdamW": (lnb.ScheduleFreeAdamW, {"lr": 0.1} | BETAS),
    "Adaptive": (lnb.Adaptive, {"lowest": 0.5}),
    "Lookahead": (lnb.Lookahead, {"inner": ADAMW, "sync_period": 5, "slow_step_size": 0.5, "inner_state": "keep"}),
    "Lookahead of a retention": (lnb.Lookahead, {"inner": ADAMW, "retention": 0.5, "pull_back": True}),
    "Lookahead with momentum": (lnb.Lookahead, {"inner": ADAMW, "outer_momentum": 0.5, "outer_nesterov": True}),
    "EMA": (lnb.EMA, {"inner": ADAMW, "decay": 0.9}),
    "EMA of a window": (lnb.EMA, {"inner": ADAMW, "window": 10}),
    "MLP": (lnb.MLP, {"widths": [4, 3, 3], "activation": "relu"}),
    "LogisticRegression": (lnb.LogisticRegression, {"n_features": 4, "n_classes": 3, "l2": 0.1}),
    "grid": (lnb.grid, {"base": OPT, "lr": [0.1, 0.2], "sync_period": [5, 10], "retention": [0.5]}),
    "sample": (lnb.sample, {"base": OPT, "number": 4, "method": "random", "seed": 0} | DRAWN),
    "plot": (lnb.plot, {"rows": SWEPT, "measure": "train_loss", "weights": "slow", "ax": None}),
    "minibatches": (lambda **how: next(lnb.minibatches(**how)), {"n": 10, "batch_size": 4, "seed": 0}),
    "train": (lnb.train, {"model": MODEL, "data": DATA, "opt": ADAMW, "seed": 0, "dtype": "float32"} | SHORT),
    "train with a callback": (lnb.train, {"callback": None, "early_stopping": None, "opt": OPT} | OBSERVED),
    "train a model of your own": (lnb.train, {"model": Own(), "data": DATA, "opt": OPT} | SHORT),
    "find_lr": (
        lnb.find_lr,
        {"model": MODEL, "data": DATA, "opt": OPT, "low": 1e-4, "high": 0.1, "steps": 20, "batch_size": 8}
        | {"seed": 0, "eval_rows": 9, "dtype": "float32"},
    ),
    "EarlyStopping": (
        lnb.EarlyStopping,
        {"measure": "validation_loss", "patience": 2, "min_delta": 0.1, "weights": "slow"},
    ),
    "ReduceOnPlateau": (
        lnb.ReduceOnPlateau,
        {
            "measure": "validation_loss",
            "patience": 2,
            "min_delta": 0.1,
            "weights": "slow",
            "factor": 0.5,
            "min_lr": 0.1,
        },
    ),
    "train on a landscape": (lnb.train, {"model": BOWL, "data": None, "opt": OPT, "steps": 2, "backend": "cpu"}),
    "sweep": (
        lnb.sweep,
        {"model": MODEL, "data": DATA, "configs": [ADAMW], "seeds": [0, 1], "dtype": "float32", "progress": False}
        | {"executor": None, "frame": True, "backend": "cpu", "keep_states": False}
        | SHORT,
    ),
    "sweep of tasks": (swept, {"name": "a", "model": MODEL, "data": DATA, "configs": [ADAMW]} | SHORT),
    "Schedule": (schedules.Schedule, {"kind": "linear", "peak": 0.1, "steps": 10, "warmup": 2, "decay_steps": 5}),
    "constant": (schedules.constant, {"peak": 0.1, "warmup": 2}),
    "linear": (schedules.linear, {"peak": 0.1, "steps": 10, "warmup": 2, "decay_steps": 5}),
    "cosine": (schedules.cosine, {"peak": 0.1, "steps": 10, "warmup": 2, "decay_steps": 5}),
    "cosine_restarts": (schedules.cosine_restarts, {"peak": 0.1, "period": 5, "factor": 2, "warmup": 2}),
    "from_function": (schedules.from_function, {"rate": lambda t: 0.1 / t, "steps": 5}),
    "piecewise": (schedules.piecewise, {"parts": {0: 0.1, 5: 0.05}}),
    "Schedule of a table": (schedules.Schedule, {"kind": "table", "peak": 0.2, "table": [0.1, 0.2], "steps": 2}),
    "Schedule.__call__": (schedules.linear(0.1, 10, 2), {"t": 5}),
    "Schedule.rates": (schedules.linear(0.1, 10, 2).rates, {"n": 5, "after": 2}),
    "Quadratic": (landscapes.Quadratic, {"curvatures": [1.0, 0.5], "drift": 0.1, "start": [1.0, 2.0]} | SURFACE),
    "DoubleWell": (landscapes.DoubleWell, {"tilt": 0.1, "barrier": 1.0, "start": 0.5} | SURFACE),
    "Bilinear": (landscapes.Bilinear, {"strength": 1.0, "start": [1.0, 1.0]} | SURFACE),
    "Rosenbrock": (landscapes.Rosenbrock, {"bend": 10.0, "start": [1.0, 1.0]} | SURFACE),
    "FiniteSumQuadratic": (models.FiniteSumQuadratic, {"hessian": [[1.0, 0.5], [0.5, 2.0]], "start": [1.0, 2.0]}),
    "Landscape.init": (BOWL.init, {"seed": 0, "dtype": "float32"}),
    "Landscape.points": (BOWL.points, {"params": POINT}),
    "Landscape.heights": (BOWL.heights, {"points": POINT}),
    "Landscape.loss": (BOWL.loss, {"params": POINT, "step": 0}),
    "Landscape.loss_and_grad": (BOWL.loss_and_grad, {"params": POINT, "step": 0}),
    "Landscape.noisy_grad": (BOWL.noisy_grad, {"params": POINT, "seed": 0, "step": 1}),
    "DoubleWell.basin": (landscapes.DoubleWell(0.1).basin, {"params": [0.5]}),
    "trace": (landscapes.trace, {"landscape": BOWL, "optimizer": OPT, "start": [0.5, -0.5], "steps": 2}),
    "replay": (landscapes.replay, {"optimizer": OPT, "start": [0.5, -0.5], "gradients": [POINT, POINT]}),
    "init": (MODEL.init, {"seed": 0, "dtype": "float32"}),
    "unpack": (MODEL.unpack, {"params": PARAMS}),
    "loss": (MODEL.loss, {"params": PARAMS, "X": ROWS, "y": y[:5]}),
    "loss_and_grad": (MODEL.loss_and_grad, {"params": PARAMS, "X": ROWS, "y": y[:5]}),
    "model.predict": (MODEL.predict, {"params": PARAMS, "X": ROWS}),
    "model.predict_proba": (MODEL.predict_proba, {"params": PARAMS, "X": ROWS}),
    "run.predict": (RUN.predict, {"X": X[:5], "weights": "slow"}),
    "run.predict_proba": (RUN.predict_proba, {"X": X[:5], "weights": "fast"}),
    "opt.init": (lambda params: OPT.init(params).to_arrays()["slow"], {"params": POINT}),
    "opt.step": (step, {"params": POINT.copy(), "grad": POINT, "check_finite": True}),
    "opt.restore": (lambda **how: OPT.restore(**how).slow, {"arrays": OPT.init(POINT).to_arrays(), "like": POINT}),
    "opt.slow_weights": (shown, {"params": POINT.copy(), "state": OPT.init(POINT)}),
    "step_table": (optimizers.step_table, {"optimizer": OPT, "steps": 3, "width": np.float32}),
    "gradient_limit": (optimizers.gradient_limit, {"optimizer": OPT, "dtype": "float32"}),
    "from_arrays": (datasets.from_arrays, {"X": X, "y": y, "split_seed": 0}),
    "unlabelled": (datasets.unlabelled, {"train": X, "validation": X[:9], "test": X[:8]}),
    "load": (datasets.load, {"name": "checkerboard", "split_seed": 0}),
    "chunk": (datasets.chunk, {"name": "checkerboard", "i": 1, "rows": 50, "split_seed": 0}),
    "available": (datasets.available, {"name": "checkerboard"}),
    "stratified_rows": (datasets.stratified_rows, {"y": y, "n": 9, "seed": 0}),
    "subset": (DATA.subset, {"n": 9, "seed": 0}),
    "with_flipped_labels": (DATA.with_flipped_labels, {"share": 0.5, "seed": 0}),
    "scaling": (DATA.scaling, {"X": X[:5]}),
    "Cycle": (theory.Cycle, MODES | {"beta1": 0.5, "noise": 0.1, "inner_state": "keep", "pull_back": True}),
    "Cycle.of": (theory.Cycle.of, {"optimizer": lnb.SGD(0.1), "curvature": 1.0, "noise": 0.1}),
    "Cycle.covariance": (CYCLE.covariance, {"phase": 1}),
    "Cycle.transient": (CYCLE.transient, {"steps": 3, "start": 1.0, "spread": 0.1}),
    "Cycle.after": (CYCLE.after, {"steps": 3, "start": 1.0, "spread": 0.1}),
    "tuned": (theory.tuned, {"cycle": OF_MODES, "steps": 3, "weights": "slow", "start": 1.0, "spread": 0.1}),
    "steps_worth": (theory.steps_worth, {"cycle": OF_MODES, "steps": 3, "than": OF_MODES, "weights": "slow"}),
    "expected_loss": (theory.expected_loss, {"curvature": [1.0, 0.5], "mean": [1.0, 2.0], "variance": [0.1, 0.2]}),
    "stability_limit": (theory.stability_limit, {"beta1": 0.5, "sync_period": 5, "slow_step_size": 0.5}),
    "best_lr": (theory.best_lr, {"curvatures": [1.0, 0.5], "beta1": 0.5, "sync_period": 2, "inner_state": "reset"}),
    "without_pull_back": (theory.without_pull_back, {"cycle": CYCLE}),
    "pull_back_gain": (theory.pull_back_gain, {"x": [0.1, 1.0], "beta1": 0.5, "sync_period": 5, "slow_step_size": 0.5}),
    "damping": (theory.damping, {"x": [0.1, 1.0], "beta1": 0.5}),
    "sgd_variance": (theory.sgd_variance, {"lr": [0.1, 0.2], "curvature": 1.0, "noise": 0.1}),
    "sgd_variance_ratio": (theory.sgd_variance_ratio, MODES),
    "sgd_rate": (theory.sgd_rate, MODES),
    "sgd_moments": (theory.sgd_moments, MODES | {"syncs": 3, "noise": 0.1, "start": 1.0}),
    "sgd_crossing_time": (theory.sgd_crossing_time, MODES | {"noise": 0.1, "start": 1.0}),
    "sgd_matched_lr": (theory.sgd_matched_lr, MATCHED),
    "sgd_matched_loss": (theory.sgd_matched_loss, MATCHED | {"steps": 10}),
    "half_period": (theory.half_period, {"beta1": [0.5, 0.9], "x": 1.0}),
    "game_multiplier": (theory.game_multiplier, GAME),
    "game_rate": (theory.game_rate, GAME | {"momentum": 0.5, "inner_state": "reset", "moves": "optimistic"}),
    "small_game_rate": (theory.small_game_rate, GAME),
    "least_game_retention": (theory.least_game_retention, {"lr": 0.1, "strength": 1.0, "sync_period": 5}),
    "best_game_slow_step": (theory.best_game_slow_step, {"sync_period": 5}),
    "best_game_sync": (theory.best_game_sync, {"lr": 0.1, "strengths": [1.0, 0.5], "longest": 9}),
    "BilinearGame": (games.BilinearGame, {"matrix": [[1.0, 2.0]], "first": 1.0, "second": [1.0, 2.0]} | STARTS),
    "MatrixGame": (games.MatrixGame, {"payoff": [[1.0, 2.0], [3.0, 0.5]]} | STARTS),
    "matching_pennies": (games.matching_pennies, STARTS),
    "rock_paper_scissors": (games.rock_paper_scissors, STARTS),
    "WassersteinGame": (games.WassersteinGame, {"mean": 0.5, "deviation": 2.0} | STARTS),
    "examples": (games.examples, {"replicas": 2}),
    "RingGame": (games.RingGame, {"modes": 3, "deviation": 0.1, "noise": 2, "terms": 9, "seed": 4} | NETWORKS),
    "RingGame.samples": (RING.samples, {"params": np.full(RING.size, 0.5), "n": 3}),
    "RingGame.real": (RING.real, {"n": 3}),
    "RingGame.quality": (RING.quality, {"params": np.full(RING.size, 0.5), "n": 3}),
    "play": (
        played,
        {"game": games.matching_pennies(), "opt": lnb.SGD(0.1), "steps": 3, "moves": "alternating", "seed": 1}
        | {"eval_every": 2, "dtype": "float32", "batch_size": 1},
    ),
    "Game.field": (PENNIES.field, {"params": np.full(4, 0.5)}),
    "Game.losses": (PENNIES.losses, {"params": np.full(4, 0.5)}),
    "Game.distances": (PENNIES.distances, {"params": np.full(4, 0.5)}),
    "Game.init": (PENNIES.init, {"seed": 3, "dtype": "float32"}),
    "MatrixGame.policies": (PENNIES.policies, {"params": np.full(4, 0.5)}),
    "optimal_slow_step": (theory.optimal_slow_step, {"curvatures": [1.0, 0.5], "start": [1.0, 2.0], "end": [0.5, 0.2]}),
    "averaged": (theory.averaged, {"slow": [1.0, 2.0], "fast": [3.0, 4.0], "slow_step_size": 0.5}),
    "seeds_of": (claims.seeds_of, {"sha256": "00", "number": 3, "attempt": 1}),
    "generated": (claims.generated, {"number": 3}),
    "ask": (
        asked,
        {"X": X, "y": y, "drop": [0], "hidden": [3], "steps": 20, "batch_size": 8, "replicates": 4, "seed": 0}
        | {"progress": False},
    ),
    "catalogue.entry": (catalogue.entry, {"name": "verdicts"}),
}
# These read or draw what the table would have to hold in files: for them every kind is wrong.
ALWAYS_WRONG = {
    "read_rows": (datasets.read_rows, ["file"], {"file": "missing.csv", "label": "kind"}),
    "claims.read": (claims.read, ["folder"], {}),
    "claims.judge": (claims.judge, ["statement"], dict.fromkeys(("rows", "tasks", "drawn"), pd.DataFrame())),
    "claims.evidence": (claims.evidence, ["statements"], {}),
    "claims.judge_all": (claims.judge_all, ["statements"], {"found": {}}),
    "claims.committed": (claims.committed, ["statements"], {}),
    "figures.save": (figures.save, ["fig"], {"name": "a", "caption": "b", "alt": "c"}),
    "catalogue.draw": (catalogue.draw, ["name"], {}),
    "catalogue.where": (lambda name: [*catalogue.where(name)], ["name"], {}),
}
# Where the docstring says that NaN is an answer (no such rate, an unstable cycle, no line between two points), or that
# NaN goes in and comes out (weights, points and moments).
NAN_IS_AN_ANSWER = {"sgd_matched_lr", "sgd_matched_loss", "Cycle.covariance", "optimal_slow_step"}
NAN_IS_AN_ANSWER |= {"opt.init", "averaged", "expected_loss", "pull_back_gain"}
NAN_IS_AN_ANSWER |= {"Game.field", "Game.losses", "Game.distances", "MatrixGame.policies", "RingGame.samples"}
NAN_IS_AN_ANSWER |= {f"Landscape.{name}" for name in ("points", "heights", "loss", "loss_and_grad", "noisy_grad")}
CALLED = {"progress", "data", "callback"}  # any function is one of theirs, and fails in its own words
FILES = {"file", "folder", "path", "store"}


def answered(call, arguments):
    """Return (result, None), or (None, the exception); warnings are none of either."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(**arguments), None
        except Exception as error:
            return None, error


def objection(name, error):
    """Return what is wrong with a refusal, or None."""
    allowed = (TypeError, ValueError, FloatingPointError, *((OSError,) if name in FILES else ()))
    message = str(error)
    if isinstance(error, OSError) and name in FILES and "\n" not in message:
        return None
    if isinstance(error, FloatingPointError) and re.fullmatch(r"grad\[\d+\] = .* nothing was changed", message):
        return None
    if not isinstance(error, allowed):
        return f"{type(error).__name__}: {message}"
    if "\n" in message or not re.search(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", message, re.IGNORECASE):
        return f"does not name {name} in one sentence: {type(error).__name__}: {message[:200]}"
    return None


def parts(result):
    """Return all numbers in a result as flat arrays, and everything else as text."""
    if isinstance(result, lnb.training.Run):
        return parts([result.params, result.history["train_loss"].to_numpy()])
    if isinstance(result, pd.DataFrame):
        return parts([result["train_loss"].to_numpy() if "train_loss" in result else result.to_numpy()])
    if isinstance(result, np.ndarray) and result.dtype.kind in "iu":
        return [np.ravel(result).astype(float)]  # labels given as floats are classes of floats, of the same value
    if isinstance(result, np.ndarray | np.generic | float | complex) and np.asarray(result).dtype.kind in "fc":
        return [np.ravel(result)]
    if isinstance(result, dict):
        return parts([*result.values()])
    if is_dataclass(result) and not isinstance(result, type | optimizers.Optimizer):
        return parts([getattr(result, field.name) for field in fields(result) if field.repr])
    if isinstance(result, np.integer):
        return [repr(int(result))]
    if isinstance(result, list | tuple):
        return [part for item in result for part in parts(item)]
    return [repr(result)]


def holds_nan(result):
    return any(np.isnan(part).any() for part in parts(result) if isinstance(part, np.ndarray))


def same(result, expected):
    pairs = zip(parts(result), parts(expected), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) if isinstance(b, np.ndarray) else a == b for a, b in pairs)


@pytest.mark.parametrize("row", CALLS)
def test_an_argument_of_any_kind_is_taken_right_or_refused_by_name(row):
    call, arguments = CALLS[row]
    faults = []
    for name in arguments:
        for kind, make in KINDS.items():
            result, error = answered(call, arguments | {name: make()})
            if error is not None and not (name in CALLED and kind in ("class", "function")):
                fault = objection(name, error)
            else:
                fault = "returned NaN" if error is None and row not in NAN_IS_AN_ANSWER and holds_nan(result) else None
            faults += [f"{name} = {kind}: {fault}"] if fault else []
    assert faults == []


@pytest.mark.parametrize("row", CALLS)
def test_an_argument_in_another_form_means_the_same_or_is_refused_by_name(row):
    call, arguments = CALLS[row]
    expected, error = answered(call, arguments)
    assert error is None
    faults = []
    for name, value in arguments.items():
        for form, change in FORMS.items():
            try:
                changed = change(value)
            except (TypeError, ValueError):
                continue
            if changed is None or isinstance(value, dict | str | bool | lnb.datasets.Dataset) or value is None:
                continue
            result, error = answered(call, arguments | {name: changed})
            fault = objection(name, error) if error is not None else None
            fault = fault or (None if error is not None or same(result, expected) else "gives another result")
            faults += [f"{name} as {form}: {fault}"] if fault else []
    assert faults == []


@pytest.mark.parametrize("row", ALWAYS_WRONG)
def test_what_is_no_file_no_claim_and_no_figure_is_refused_by_name(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, names, arguments = ALWAYS_WRONG[row]
    faults = []
    for name in names:
        for kind, make in KINDS.items():
            if row == "claims.read" and kind == "None":
                continue  # the statements of the checkout
            _, error = answered(call, arguments | {name: make()})
            fault = "was taken" if error is None else objection(name, error)
            faults += [f"{name} = {kind}: {fault}"] if fault else []
    assert faults == []


@pytest.mark.parametrize("row", sorted(NAN_IS_AN_ANSWER))
def test_every_answer_of_nan_is_documented(row):
    function = optimizers.Optimizer.init if row == "opt.init" else CALLS[row][0]
    assert "NaN" in inspect.getdoc(function)


def test_the_table_holds_every_public_function():
    public = [lnb, datasets, theory, schedules, landscapes, games, models]
    functions = {
        name
        for module in public
        for name, thing in vars(module).items()
        if callable(thing) and not name.startswith("_") and getattr(thing, "__module__", "").startswith("lookahead_nb")
        and (name in getattr(module, "__all__", [name])) and thing.__module__.startswith(module.__name__)
        and not inspect.isabstract(thing)
    }  # fmt: skip
    records = {"Answer", "BestSync", "Dataset", "Transient", "Tuned"}  # what functions return
    assert {name for name in functions if name not in CALLS and name not in ALWAYS_WRONG} - records == {"Task"}


ANY = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-3, 100) | st.lists(st.floats(), max_size=3)
OF_NUMBERS = [row for row in CALLS if CALLS[row][0].__module__.startswith("lookahead_nb.theory.closed") or "SGD" in row]


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(data=st.data(), row=st.sampled_from(OF_NUMBERS))
def test_numbers_that_nobody_would_think_of(data, row):
    call, arguments = CALLS[row]
    chosen = {name: data.draw(ANY, label=name) for name in arguments}
    result, error = answered(call, chosen)
    if error is not None:
        assert any(objection(name, error) is None for name in arguments), error
    else:
        assert row in NAN_IS_AN_ANSWER or not holds_nan(result)
