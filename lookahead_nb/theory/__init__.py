"""Exact theory of Lookahead, averages and momentum: quadratics, games, closed forms, minima of losses, escapes."""

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
from lookahead_nb.theory.frontier import damping, pull_back_gain, without_pull_back
from lookahead_nb.theory.games import (
    BestSync,
    best_game_slow_step,
    best_game_sync,
    game_multiplier,
    game_rate,
    least_game_retention,
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
from lookahead_nb.theory.worth import Tuned, steps_worth, tuned

__all__ = [
    "ANCHOR",
    "FAST",
    "MOMENTUM",
    "SLOW",
    "BestSync",
    "Cycle",
    "Transient",
    "Tuned",
    "averaged",
    "best_game_slow_step",
    "best_game_sync",
    "best_lr",
    "damping",
    "expected_loss",
    "game_multiplier",
    "game_rate",
    "least_game_retention",
    "optimal_slow_step",
    "pull_back_gain",
    "sgd_crossing_time",
    "sgd_matched_loss",
    "sgd_matched_lr",
    "sgd_moments",
    "sgd_rate",
    "sgd_variance",
    "sgd_variance_ratio",
    "small_game_rate",
    "stability_limit",
    "steps_worth",
    "tuned",
    "without_pull_back",
]
