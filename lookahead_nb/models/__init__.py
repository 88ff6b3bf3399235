"""Models on one flat buffer of parameters: dense networks, test functions, games and a quadratic over rows."""

from lookahead_nb.models.dense import MLP, LogisticRegression
from lookahead_nb.models.finite_sum import FiniteSumQuadratic

__all__ = ["MLP", "FiniteSumQuadratic", "LogisticRegression"]
