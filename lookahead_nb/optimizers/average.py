"""An exponential moving average of the weights of an inner optimizer, the control for the effect of averaging."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from lookahead_nb.checks import named_arguments, real_number
from lookahead_nb.optimizers.base import WithSlowWeights
from lookahead_nb.optimizers.coefficients import Sync
from lookahead_nb.optimizers.lookahead import Lookahead, LookaheadState
from lookahead_nb.optimizers.rules import InnerOptimizer, check_inner

LONGEST = 1_000_000  # steps of a window: in float32 a smaller slow step would be lost


@named_arguments
@dataclass(frozen=True, init=False, repr=False)
class EMA(WithSlowWeights):
    """An exponential moving average (EMA) of the weights of an inner optimizer, evaluated as the slow weights.

    After step t: ``slow = sum(decay**(t-i) * fast_i)/sum(decay**(t-i))`` over the steps i = 1..t. The fast weights are
    those of the inner optimizer alone, bit for bit.

    Parameters
    ----------
    inner : inner optimizer
        The optimizer of the fast weights: SGD, Adagrad, RMSprop, Adam or AdamW.
    decay : float, optional
        From 0, where the slow weights are the fast ones, to 0.999999.
    window : float, optional
        1/(1 - decay), about how many steps the average covers; from 1 to 1,000,000. Pass one of the two, or neither for
        a decay of 0.99 and a window of 100.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, lies out of range or does not fit the others.

    Notes
    -----
    The division by the sum of the factors is Adam's bias correction. It takes the weights at the start out of the
    average, which would otherwise keep ``decay**t`` of them. A long window then costs nothing early in a run: up to
    there the average is nearly the mean of all steps. The usual other form, a decay of at most ``(1 + t)/(10 + t)``,
    depends on an arbitrary 10 and forgets faster than the setting says.

    The average is computed as ``slow = (1 - step)*slow + step*fast`` with ``step = (1 - decay)/(1 - decay**t)``. In
    float32 the step is a multiple of 2**-24, so that a window of 10,000 steps is exact to 0.03 %.
    Source: Polyak & Juditsky 1992 for averaging; Kingma & Ba 2015, section 3, for the correction.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import numpy as np
    >>> params = np.array([3.0])
    >>> opt = lnb.EMA(lnb.SGD(1.0), decay=0.5)
    >>> state = opt.init(params)
    >>> for _ in range(2):  # 3 -> 2 -> 1; the average is (2/2 + 1)/(1/2 + 1)
    ...     opt.step(params, np.array([1.0]), state)
    >>> params.tolist(), state.slow.round(4).tolist()
    ([1.0], [1.3333])
    """

    inner: InnerOptimizer
    decay: float

    _state = LookaheadState

    def __init__(self, inner: InnerOptimizer, *, decay: float | None = None, window: float | None = None) -> None:
        check_inner(inner)
        if decay is not None and window is not None:
            both = f"decay={decay!r} and window={window!r}"
            raise ValueError(f"decay and window cannot both be given: window is 1/(1 - decay), got {both}")
        if window is not None:
            decay = float(1 - 1 / Fraction(repr(real_number("window", window, 1, LONGEST))))
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "decay", real_number("decay", 0.99 if decay is None else decay, 0, 1 - 1 / LONGEST))

    @property
    def window(self) -> float:
        """About how many steps the average covers: 1/(1 - decay), a whole number wherever one gives this decay."""
        window = 1 / (1 - Fraction(repr(self.decay)))
        whole = round(window)
        return float(whole if float(1 - Fraction(1, whole)) == self.decay else window)

    @property
    def sync(self) -> Sync:
        """The settings of the syncs: one after every step, which never moves the fast weights."""
        return Sync(1, (), pull_back=False, inner_state="keep", decay=self.decay)

    def settings(self) -> dict[str, object]:
        """Return all settings as a flat dict of strings and numbers, including those of the inner optimizer.

        Returns
        -------
        dict
        """
        inner = self.inner.settings()
        return inner | {"optimizer": f"EMA({inner['optimizer']})", "decay": self.decay, "window": self.window}


# The optimizers that wrap an inner one, by name.
WRAPPERS = {wrapper.__name__: wrapper for wrapper in (Lookahead, EMA)}
