"""Optimizers on flat buffers: frozen settings, their state, one step in place, slow weights, exact checkpoints."""

from lookahead_nb.optimizers.average import EMA, WRAPPERS
from lookahead_nb.optimizers.base import STEPS_AHEAD, Optimizer, State, WithSlowWeights
from lookahead_nb.optimizers.coefficients import (
    INNER_STATES,
    RunNumbers,
    StepScalars,
    Sync,
    gradient_limit,
    run_numbers,
    step_table,
)
from lookahead_nb.optimizers.groups import Grouped, clip_gradient
from lookahead_nb.optimizers.lookahead import Adaptive, Lookahead, LookaheadState
from lookahead_nb.optimizers.rules import (
    INNER_RULES,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    InnerOptimizer,
    RMSprop,
    ScheduleFreeAdamW,
)

__all__ = [
    "EMA",
    "INNER_RULES",
    "INNER_STATES",
    "SGD",
    "STEPS_AHEAD",
    "WRAPPERS",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adaptive",
    "Grouped",
    "InnerOptimizer",
    "Lookahead",
    "LookaheadState",
    "Optimizer",
    "RMSprop",
    "RunNumbers",
    "ScheduleFreeAdamW",
    "State",
    "StepScalars",
    "Sync",
    "WithSlowWeights",
    "clip_gradient",
    "gradient_limit",
    "run_numbers",
    "step_table",
]
