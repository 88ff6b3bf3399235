"""Models on one flat buffer of parameters: dense networks and test functions."""

from lookahead_nb.models.dense import MLP, LogisticRegression

__all__ = ["MLP", "LogisticRegression"]
