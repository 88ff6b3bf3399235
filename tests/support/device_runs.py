"""Whole runs that a GPU is compared with the CPU on: models, landscapes, optimizers, data."""

import numpy as np

import lookahead_nb as lnb
from lookahead_nb.kernels.gpu import runs
from lookahead_nb.models.landscapes import Bilinear, DoubleWell, Quadratic, Rosenbrock
from tests.support.cases import INNER

TRAINING = {"steps": 5, "batch_size": 4, "eval_at": [2, 3]}

ADAMW, NESTEROV = INNER["adamw"], INNER["sgd_nesterov"]
LOOKAHEADS = {
    "keep": lnb.Lookahead(ADAMW, sync_period=2, retention=0.7),
    "reset": lnb.Lookahead(ADAMW, sync_period=2, inner_state="reset"),
    "interpolate": lnb.Lookahead(ADAMW, sync_period=2, retention=0.7, inner_state="interpolate"),
    "one slot": lnb.Lookahead(NESTEROV, sync_period=3, inner_state="interpolate"),
    "averages": lnb.Lookahead(ADAMW, sync_period=2, pull_back=False),
    "average": lnb.EMA(ADAMW, window=4),
    "in turn": lnb.Lookahead(ADAMW, sync_period=1, slow_step_size=(0.3, 0.9)),
    "beyond": lnb.Lookahead(ADAMW, sync_period=2, slow_step_size=1.7),
    "momentum": lnb.Lookahead(ADAMW, sync_period=2, outer_momentum=0.8),
    "nesterov": lnb.Lookahead(INNER["sgd"], sync_period=1, outer_momentum=0.8, outer_nesterov=True),
    "never moves": lnb.Lookahead(ADAMW, sync_period=2, slow_step_size=0),
    "all the way": lnb.Lookahead(ADAMW, sync_period=2, slow_step_size=1),
    "falling decay": lnb.EMA(lnb.AdamW(1e-2, weight_decay=lnb.schedules.linear(0.5, 4)), window=3),
    "decay in lumps": lnb.Lookahead(lnb.AdamW(1e-4, weight_decay=0.03), sync_period=2, slow_step_size=(0.3, 1)),
}
MODELS = {
    "one logit": lnb.LogisticRegression(n_features=3, n_classes=2, l2=0.1),
    "three logits": lnb.LogisticRegression(n_features=3, n_classes=3, l2=0.1),
    "relu": lnb.MLP((3, 5, 3)),
    "tanh": lnb.MLP((3, 4, 5, 3), activation="tanh"),
    "sigmoid": lnb.MLP((3, 1, 9, 2), activation="sigmoid"),
}
LANDSCAPES = {
    "drift": Quadratic([1.0, 3.0, 0.5], drift=[0.1, 0.0, -0.2], noise=[0.3, 0.0, 1.0], replicas=3),
    "quiet": Quadratic([2.0], start=0.7),
    "two basins": DoubleWell(spread=0.3, noise=0.2, replicas=35),
    "game": Bilinear(1.5, noise=0.1, replicas=2),
    "valley": Rosenbrock(replicas=2),
}
NAMED = {
    "clusters": (lnb.MLP((20, 32, 10)), "gaussian_blobs"),
    "board": (lnb.MLP((2, 16, 2), activation="tanh"), "checkerboard"),
    "teacher": (lnb.LogisticRegression(n_features=20, n_classes=2, l2=1e-3), "logistic_teacher"),
    "ravine": (Quadratic([1.0, 0.01], noise=1.0, replicas=100), None),
    "two basins": (DoubleWell(spread=0.3, noise=0.5, replicas=100), None),
}


def launch_with(monkeypatch, threads, blocks):
    monkeypatch.setattr(runs, "THREADS", threads)
    monkeypatch.setattr(runs, "MOST_BLOCKS", blocks)


def rows_for(model, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, model.n_classes, 30)
    return lnb.datasets.from_arrays(rng.standard_normal((30, 3)), y, split_seed=0)
