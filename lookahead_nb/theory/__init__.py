"""Exact theory of Lookahead: quadratics, closed forms, bilinear games, minima of convex losses, escapes."""

from lookahead_nb.theory.closed_forms import (
    averaged,
    optimal_slow_step,
    sgd_crossing_time,
    sgd_matched_loss,
    sgd_matched_lr,
    sgd_moments,
    sgd_rate,
    sgd_variance,
    sgd_variance_ratio,
)
from lookahead_nb.theory.games import (
    BestSync,
    best_game_slow_step,
    best_game_sync,
    game_multiplier,
    game_rate,
    small_game_rate,
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
    "BestSync",
    "Cycle",
    "Transient",
    "averaged",
    "best_game_slow_step",
    "best_game_sync",
    "best_lr",
    "expected_loss",
    "game_multiplier",
    "game_rate",
    "optimal_slow_step",
    "sgd_crossing_time",
    "sgd_matched_loss",
    "sgd_matched_lr",
    "sgd_moments",
    "sgd_rate",
    "sgd_variance",
    "sgd_variance_ratio",
    "small_game_rate",
    "stability_limit",
]
