"""Exact theory of Lookahead, averages and momentum: quadratics, closed forms, minima of losses, escapes from basins."""

from lookahead_nb.theory.closed_forms import (
    averaged,
    game_multiplier,
    optimal_slow_step,
    sgd_crossing_time,
    sgd_matched_loss,
    sgd_matched_lr,
    sgd_moments,
    sgd_rate,
    sgd_variance,
    sgd_variance_ratio,
)
from lookahead_nb.theory.quadratic import (
    ANCHOR,
    FAST,
    MOMENTUM,
    SLOW,
    Cycle,
    Transient,
    best_lr,
    expected_loss,
    stability_limit,
)
from lookahead_nb.theory.worth import Tuned, steps_worth, tuned

__all__ = [
    "ANCHOR",
    "FAST",
    "MOMENTUM",
    "SLOW",
    "Cycle",
    "Transient",
    "Tuned",
    "averaged",
    "best_lr",
    "expected_loss",
    "game_multiplier",
    "optimal_slow_step",
    "sgd_crossing_time",
    "sgd_matched_loss",
    "sgd_matched_lr",
    "sgd_moments",
    "sgd_rate",
    "sgd_variance",
    "sgd_variance_ratio",
    "stability_limit",
    "steps_worth",
    "tuned",
]
