"""The controls of a Lookahead: the inner optimizer at the lower rate, and averaging without pull-back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lookahead_nb.optimizers import Lookahead, Optimizer

if TYPE_CHECKING:
    pass


def with_controls(opt: Lookahead) -> dict[str, Optimizer]:
    """Return a Lookahead and its two controls, by name.

    Only an advantage over both controls is evidence for Lookahead itself.

    Parameters
    ----------
    opt : Lookahead
        With one slow_step_size and inner_state "keep".

    Returns
    -------
    dict of optimizers
        "Lookahead": opt itself. "AdamW at lr x step" (with the name of the inner optimizer): the inner optimizer alone,
        at its learning rate times slow_step_size. This is Lookahead at sync_period 1. "averaging": opt with
        ``pull_back=False``, whose slow weights only average.

    Raises
    ------
    TypeError
        If opt is no Lookahead.
    ValueError
        If opt has several slow step sizes, an adaptive one or outer momentum, or its inner_state is not "keep".

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.optimizers.controls import with_controls
    >>> arms = with_controls(lnb.Lookahead(lnb.AdamW(lr=0.01), slow_step_size=0.5))
    >>> list(arms)
    ['Lookahead', 'AdamW at lr x step', 'averaging']
    >>> arms["AdamW at lr x step"].lr
    0.005
    """
    if not isinstance(opt, Lookahead):
        raise TypeError(f"opt must be a Lookahead, got {opt!r}")
    if not isinstance(opt.slow_step_size, float):
        raise ValueError(f"opt must have one slow_step_size, got {opt.slow_step_size!r}")
    if opt.outer_momentum:
        raise ValueError(f"opt must have no outer_momentum, got {opt.outer_momentum!r}")
    inner, schedule = opt.inner, opt.inner.schedule
    slower = replace(schedule, peak=schedule.peak * opt.slow_step_size)
    return {
        "Lookahead": opt,
        f"{type(inner).__name__} at lr x step": replace(inner, lr=slower if inner.lr is schedule else slower.peak),
        "averaging": replace(opt, pull_back=False),
    }
