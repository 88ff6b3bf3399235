"""Logistic regression, binary and multinomial, on one flat buffer, with a hand-written gradient."""

from __future__ import annotations

from lookahead_nb.checks import real_number, whole_number
from lookahead_nb.mlp import DenseNetwork


class LogisticRegression(DenseNetwork):
    """Logistic regression: softmax of ``W x + b``, or for two classes the sigmoid of one logit, with L2 on W.

    ``loss = mean cross-entropy + l2/2 * sum(W**2)``, biases not penalised. It is the dense network of one layer.

    n_features : int, at least 1; n_classes : int, at least 2; l2 : float, at least 0. errors : TypeError, ValueError.
    Source: Cox 1958; Bishop 2006, sections 4.3.2 and 4.3.4.
    """

    def __init__(self, n_features, *, n_classes=2, l2=0.0):
        widths = [whole_number("n_features", n_features, 1), whole_number("n_classes", n_classes, 2)]
        super().__init__(widths, "relu", real_number("l2", l2, 0))  # one layer: no activation is ever applied

    def __repr__(self):
        return f"LogisticRegression({self.n_features}, n_classes={self.n_classes}, l2={self.l2})"

    def settings(self):
        """Return the settings as a flat dict of strings and numbers."""
        widths = f"{self.n_features}-{self.n_classes}"
        return {"model": "LogisticRegression", "widths": widths, "l2": self.l2}
