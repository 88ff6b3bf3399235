"""Models on one flat buffer of parameters: dense networks, test functions and games."""

from lookahead_nb.models.dense import MLP, LogisticRegression

__all__ = ["MLP", "LogisticRegression"]
