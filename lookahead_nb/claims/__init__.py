"""The trial of the article's statements: register, tasks, arms, metrics, evidence, verdicts."""

from lookahead_nb.checks import whole

whole("pandas")  # ahead of all modules that import it, since Ctrl-C would leave half of it

from lookahead_nb.claims.records import (  # noqa: E402 (after pandas)
    Evidence,
    OutdatedError,
    available_tasks,
    evidence,
    results,
)
from lookahead_nb.claims.statements import (  # noqa: E402
    CHOSEN,
    EXPECTED,
    FIELDS,
    LEVEL,
    OF_EFFECT,
    OPTIONAL,
    SCALES,
    TESTS,
    TRIED,
    VERDICTS,
    Claim,
    Effect,
    on_tasks,
    read,
    seeds_of,
)
from lookahead_nb.claims.verdicts import (  # noqa: E402
    committed,
    compare,
    deciding,
    gaps_of,
    judge,
    judge_all,
    verdict,
)

__all__ = [
    "CHOSEN",
    "EXPECTED",
    "FIELDS",
    "LEVEL",
    "OF_EFFECT",
    "OPTIONAL",
    "SCALES",
    "TESTS",
    "TRIED",
    "VERDICTS",
    "Claim",
    "Effect",
    "Evidence",
    "OutdatedError",
    "available_tasks",
    "committed",
    "compare",
    "deciding",
    "evidence",
    "gaps_of",
    "judge",
    "judge_all",
    "on_tasks",
    "read",
    "results",
    "seeds_of",
    "verdict",
]
