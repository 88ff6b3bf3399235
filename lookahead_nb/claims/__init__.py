"""The trial of the article's statements: registered statements and experiments, rows, verdicts.

``read()`` returns the statements, and ``committed(statements)`` the verdicts on them. ``evidence`` and ``judge_all``
make these from the rows, and ``experiments.run`` makes the rows. :mod:`.registry` describes the files.
"""

from lookahead_nb.checks import whole

whole("pandas")  # ahead of all modules that import it, since Ctrl-C would leave half of it

from lookahead_nb.claims.experiments import Experiment  # noqa: E402 (after pandas)
from lookahead_nb.claims.population import generated, seeds_of  # noqa: E402
from lookahead_nb.claims.registry import (  # noqa: E402
    Contrast,
    Evidence,
    Statement,
    committed,
    evidence,
    judge,
    judge_all,
    read,
)
from lookahead_nb.claims.shards import OutdatedError  # noqa: E402

__all__ = [
    "Contrast",
    "Evidence",
    "Experiment",
    "OutdatedError",
    "Statement",
    "committed",
    "evidence",
    "generated",
    "judge",
    "judge_all",
    "read",
    "seeds_of",
]
