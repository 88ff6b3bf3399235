"""A laboratory for the Lookahead optimizer around AdamW: exact rules, fast training runs, claims put on trial."""

from lookahead_nb import datasets, landscapes, schedules, theory
from lookahead_nb.logistic import LogisticRegression
from lookahead_nb.mlp import MLP
from lookahead_nb.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Adaptive,
    Lookahead,
    RMSprop,
    ScheduleFreeAdamW,
)
from lookahead_nb.philox import minibatches
from lookahead_nb.sweep import grid, sweep
from lookahead_nb.train import train

__version__ = "0.1.0"
__all__ = [
    "MLP",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adaptive",
    "LogisticRegression",
    "Lookahead",
    "RMSprop",
    "ScheduleFreeAdamW",
    "datasets",
    "grid",
    "landscapes",
    "minibatches",
    "schedules",
    "sweep",
    "theory",
    "train",
]
