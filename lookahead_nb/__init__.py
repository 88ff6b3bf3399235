"""A laboratory for the Lookahead optimizer around AdamW: exact update rules, fast training runs, tested claims.

The names below are used as ``lookahead_nb.NAME``. Everything else is imported from its package:

- ``lookahead_nb.optimizers``: inner optimizers and Lookahead with their states, learning-rate schedules
- ``lookahead_nb.models``: dense networks, test functions, games, policies and the environment that they learn
- ``lookahead_nb.datasets``: bundled, synthetic and downloaded data sets, and your own
- ``lookahead_nb.training``: one run, sweeps, their files and stores, workers; agents that learn an environment
- ``lookahead_nb.theory``: exact results for quadratics, games, minima and basins
- ``lookahead_nb.claims``: the trial of the article's statements, and the question about your own table
- ``lookahead_nb.figures``: the figures of the notebooks
- ``lookahead_nb.adapters``: estimators for scikit-learn, a method for SciPy, an optimizer for PyTorch
- ``lookahead_nb.kernels``: the equations, the random stream, and the compiled loops for CPU and GPU
- ``lookahead_nb.provenance``, ``lookahead_nb.checks``, ``lookahead_nb.settings_file``, ``lookahead_nb.display``: tables
  with manifests and what made them, argument checks, TOML files, what notebooks show of an object
"""

from typing import TYPE_CHECKING, Any

from lookahead_nb import adapters, datasets, theory
from lookahead_nb.kernels.philox import minibatches
from lookahead_nb.models import games, landscapes
from lookahead_nb.models.dense import MLP, LogisticRegression
from lookahead_nb.optimizers import (
    EMA,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Adaptive,
    Lookahead,
    RMSprop,
    ScheduleFreeAdamW,
    schedules,
)
from lookahead_nb.training import agents
from lookahead_nb.training.callbacks import EarlyStopping, ReduceOnPlateau
from lookahead_nb.training.grid import grid, sample
from lookahead_nb.training.play import play
from lookahead_nb.training.plots import plot
from lookahead_nb.training.range_test import find_lr
from lookahead_nb.training.run import load, train
from lookahead_nb.training.sweep import sweep
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    from lookahead_nb.claims.ask import Answer, ask

__version__ = "2.0.0"
__all__ = [
    "EMA",
    "MLP",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adaptive",
    "Answer",
    "EarlyStopping",
    "LogisticRegression",
    "Lookahead",
    "RMSprop",
    "ReduceOnPlateau",
    "ScheduleFreeAdamW",
    "Task",
    "adapters",
    "agents",
    "ask",
    "datasets",
    "find_lr",
    "games",
    "grid",
    "landscapes",
    "load",
    "minibatches",
    "play",
    "plot",
    "sample",
    "schedules",
    "sweep",
    "theory",
    "train",
]


def __getattr__(name: str) -> Any:
    """Return ``ask`` and ``Answer``, which need pandas: they are imported when they are used."""
    if name not in ("Answer", "ask"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lookahead_nb.claims import ask as module

    globals().update(Answer=module.Answer, ask=module.ask)
    return globals()[name]
