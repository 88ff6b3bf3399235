"""The arms that ask compares on your own table, and which of them are compared with each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from lookahead_nb.claims.trial import TUNINGS

SCREENING = 4  # seeds of AdamW alone, before the arms
LOOKAHEAD, AVERAGING = "Lookahead", "Lookahead without pull-back"
NAMES = {
    "adamw": "AdamW",
    "adamw_again": "AdamW again",
    "lookahead": LOOKAHEAD,
    "averaging": AVERAGING,
    "ema": "EMA of AdamW",
    "schedule_free": "Schedule-Free AdamW",
    "adamw_linear": "AdamW with linear decay",
    "lookahead_linear": "Lookahead with linear decay",
    "lookahead_tuned": "Lookahead, settings tuned too",
}
HALF = {"optimizer": "Lookahead", "inner": "AdamW", "sync_period": 5, "slow_step_size": 0.5}
ARMS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "AdamW"},
    "adamw_again": {"optimizer": "AdamW"},  # on a grid of its own; the mean of both is the baseline
    "lookahead": HALF,
    "averaging": HALF | {"pull_back": False},
    "ema": {"optimizer": "EMA", "inner": "AdamW", "window": "steps/10"},
    "schedule_free": {"optimizer": "ScheduleFreeAdamW"},
    "adamw_linear": {"optimizer": "AdamW", "schedule": "linear"},
    "lookahead_linear": HALF | {"schedule": "linear"},
    "lookahead_tuned": HALF | {"sync_period": [5, 20], "slow_step_size": [0.8, 0.5, 0.2]},
}
BASELINE = ("adamw", "adamw_again")
OTHERS = ("averaging", "ema", "schedule_free", "adamw_linear")  # an average or a schedule instead of Lookahead
EQUAL_TRIALS = TUNINGS[2]


class Compared(NamedTuple):
    """A comparison of an arm with its controls.

    Attributes
    ----------
    arm : str
        A key of ``ARMS``.
    controls : tuple of str
        Keys too; the mean of several is one control.
    deciding : int
        How many comparisons decide together, for the level of the interval.
    tuning : str
        How replicates tune, one of ``trial.TUNINGS``.
    """

    arm: str
    controls: tuple[str, ...]
    deciding: int = 1
    tuning: str = TUNINGS[0]


COMPARED = (
    Compared("lookahead", BASELINE),
    *(Compared(arm, BASELINE, len(OTHERS)) for arm in OTHERS),
    *(Compared(arm, ("lookahead",), len(OTHERS)) for arm in OTHERS),
    Compared("lookahead_linear", BASELINE),
    Compared("lookahead_linear", ("adamw_linear",)),
    Compared("lookahead_tuned", BASELINE, tuning=EQUAL_TRIALS),
    Compared("adamw_again", ("adamw",)),
)
