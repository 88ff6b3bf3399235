"""Logistic regression, binary and multinomial, on one flat buffer, with a hand-written gradient."""

from __future__ import annotations

from lookahead_nb.checks import real_number, whole_number
from lookahead_nb.mlp import DenseNetwork


class LogisticRegression(DenseNetwork):
    """Logistic regression: softmax of ``W x + b``, or for two classes the sigmoid of one logit, with L2 on W.

    ``loss = mean cross-entropy + l2/2 * sum(W**2)``; biases are not penalised. It is a dense network with one layer.

    Parameters
    ----------
    n_features : int
        At least 1.
    n_classes : int
        At least 2.
    l2 : float
        At least 0.

    Attributes
    ----------
    n_features, n_classes : int
    l2 : float

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Source: Cox 1958; Bishop 2006, sections 4.3.2 and 4.3.4.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> model = lnb.LogisticRegression(4, n_classes=3, l2=0.1)
    >>> model
    LogisticRegression(4, n_classes=3, l2=0.1)
    >>> model.size
    15
    """

    def __init__(self, n_features: int, *, n_classes: int = 2, l2: float = 0.0) -> None:
        widths = [whole_number("n_features", n_features, 1), whole_number("n_classes", n_classes, 2)]
        super().__init__(widths, "relu", real_number("l2", l2, 0))  # one layer: no activation is ever applied

    def __repr__(self) -> str:
        return f"LogisticRegression({self.n_features}, n_classes={self.n_classes}, l2={self.l2})"

    def settings(self) -> dict[str, object]:
        """Return the settings as a flat dict.

        Returns
        -------
        dict
            "model", "widths" (for example "4-3") and "l2".
        """
        widths = f"{self.n_features}-{self.n_classes}"
        return {"model": "LogisticRegression", "widths": widths, "l2": self.l2}
