"""Runs of all kinds of optimizers on a small problem, and whether two runs are the same one."""

from functools import cache

import numba
import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb.datasets import from_arrays
from tests.support.cases import INNER, INNER_STATES, picture

COMPILED = not numba.config.DISABLE_JIT
BATCH, ROWS = (8, 60) if COMPILED else (4, 25)

ADAMW = INNER["adamw"]
OPTIMIZERS = {
    **INNER,
    "warm-up": lnb.AdamW(lnb.schedules.constant(0.02, warmup=6)),
    "restarts": lnb.AdamW(lnb.schedules.cosine_restarts(0.02, 3, factor=2, warmup=2)),
    "table": lnb.Lookahead(lnb.AdamW(lnb.schedules.from_function(lambda t: 0.05 / t, 100)), sync_period=3),
    **{mode: lnb.Lookahead(ADAMW, sync_period=3, retention=0.7, inner_state=mode) for mode in INNER_STATES},
    "no pull-back": lnb.Lookahead(ADAMW, sync_period=3, pull_back=False),
    "steps in turn": lnb.Lookahead(ADAMW, sync_period=3, slow_step_size=(0.3, 0.9), inner_state="interpolate"),
    "adaptive": lnb.Lookahead(lnb.AdamW(0.05), sync_period=3, slow_step_size="adaptive"),
    "momentum": lnb.Lookahead(INNER["sgd_momentum"], sync_period=4, inner_state="reset"),
    "average": lnb.EMA(ADAMW, window=4),
    "outer momentum": lnb.Lookahead(ADAMW, sync_period=3, outer_momentum=0.8),
    "never synced": lnb.Lookahead(ADAMW, sync_period=1000),
    "pending decay": lnb.Lookahead(lnb.AdamW(0.02, weight_decay=1.1e-4), sync_period=3, retention=0.7),
    "falling decay": lnb.AdamW(0.02, weight_decay=lnb.schedules.linear(0.1, 100)),
    "falling decay, pending": lnb.Lookahead(
        lnb.AdamW(0.02, weight_decay=lnb.schedules.cosine(4e-4, 100)), sync_period=3, retention=0.7
    ),
    "pending decay and momentum": lnb.Lookahead(
        lnb.AdamW(0.02, weight_decay=1.1e-4), sync_period=3, outer_momentum=0.6, outer_nesterov=True
    ),
}


@cache
def problem():
    """Data that a line does not separate, with a model for them."""
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (ROWS, 4))
    return lnb.MLP((4, 5 if COMPILED else 3, 2), activation="tanh"), from_arrays(X, (X[:, 0] * X[:, 1] > 0).astype(int))


def assert_same_run(run, expected):
    pd.testing.assert_frame_equal(run.history, expected.history, check_exact=True)
    for name in run.history.select_dtypes("float"):
        assert run.history[name].to_numpy().tobytes() == expected.history[name].to_numpy().tobytes(), name
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    assert getattr(run.state, "slow_steps", None) == getattr(expected.state, "slow_steps", None)
    assert (run.slow is None) == (expected.slow is None)
    assert run.slow is None or run.slow.tobytes() == expected.slow.tobytes()
    assert run.diverged_at == expected.diverged_at
    assert repr(run) == repr(expected)
