"""A laboratory for the Lookahead optimizer around AdamW: exact rules, fast training runs, claims put on trial.

What stands here is used as ``lookahead_nb.NAME``; everything else is imported from its module:

- to build with: ``lookahead_nb.optimizers``, ``lookahead_nb.schedules``, ``lookahead_nb.mlp``,
  ``lookahead_nb.logistic``, ``lookahead_nb.landscapes``, ``lookahead_nb.datasets``, ``lookahead_nb.features``,
  ``lookahead_nb.downloads``
- to train: ``lookahead_nb.train``, ``lookahead_nb.sweep``, ``lookahead_nb.workers``, ``lookahead_nb.progress``,
  ``lookahead_nb.configuration``, ``lookahead_nb.devices``
- to keep results: ``lookahead_nb.store``, ``lookahead_nb.tables``
- to compare: ``lookahead_nb.comparisons``, ``lookahead_nb.statistics``, ``lookahead_nb.escapes``,
  ``lookahead_nb.metrics``
- to ask: ``lookahead_nb.questions``, ``lookahead_nb.problems``, ``lookahead_nb.trials``, ``lookahead_nb.claims``,
  ``lookahead_nb.report``
- to predict: ``lookahead_nb.theory``, ``lookahead_nb.near_minimum``, ``lookahead_nb.predictions``
- to look up: ``lookahead_nb.formulas``, ``lookahead_nb.philox``, ``lookahead_nb.checks``
"""

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
from lookahead_nb.training.grid import grid
from lookahead_nb.training.run import train
from lookahead_nb.training.sweep import sweep

__version__ = "1.0.0"
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
