"""Exact theory of Lookahead: quadratics, closed forms, minima of convex losses, escapes from basins."""

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

__all__ = [
    "ANCHOR",
    "FAST",
    "MOMENTUM",
    "SLOW",
    "Cycle",
    "Transient",
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
]
