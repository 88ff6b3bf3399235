"""Policies with their value on one flat buffer, and the environment that they learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from lookahead_nb.checks import (
    default_errors,
    float_dtype,
    named_arguments,
    one_of,
    plain_array,
    real_number,
    shown,
    whole_number,
)
from lookahead_nb.kernels.cpu import agents, network
from lookahead_nb.models.dense import ACTIVATIONS, DenseLayers, checked_features, checked_labels

OBSERVED = 4  # numbers of a state of CartPole
ACTIONS = 2


@named_arguments
class CartPole:
    """A pole on a cart that is pushed to the left or to the right, with the rules of gymnasium's CartPole-v1.

    Every step earns a reward of 1. An episode fails once the cart is more than 2.4 m from the middle or the pole more
    than 12 degrees from upright, and it ends after 500 steps at the latest.

    Parameters
    ----------
    seed : int
        In [0, 2**63).
    environment : int
        At least 0; environments of one seed have different episodes.

    Attributes
    ----------
    state : (4,) float64 array
        Position in m and speed in m/s of the cart, angle in rad and speed in rad/s of the pole. A copy.
    steps : int
        Taken in this episode.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    The episodes are those in which :func:`lookahead_nb.agents.train` trains with this seed. Differences from gymnasium:
    observations are float64, the four numbers of a first state are multiples of 2**-24 of the interval
    [-0.05, 0.05), and sums of products are rounded once.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> pole = lnb.agents.CartPole(seed=0)
    >>> while not pole.ended:
    ...     reward = pole.step(1)
    >>> pole.steps < 20
    True
    """

    def __init__(self, *, seed: int = 0, environment: int = 0) -> None:
        self.seed = whole_number("seed", seed, 0, 2**63 - 1)
        self.environment = whole_number("environment", environment, 0, 2**32 - 1)
        self._episode, self._state = -1, np.empty(OBSERVED)
        self.reset()

    @property
    def state(self) -> np.ndarray:
        """The state, a copy."""
        return self._state.copy()

    @property
    def failed(self) -> bool:
        """Whether the cart is too far out or the pole too steep."""
        return self._failed

    @property
    def ended(self) -> bool:
        """Whether the episode is over: failed, or at its 500th step."""
        return self._failed or self.steps == agents.LONGEST_EPISODE

    def reset(self) -> np.ndarray:
        """Start the next episode.

        Returns
        -------
        (4,) float64 array
            Its first state: four uniform numbers in [-0.05, 0.05).
        """
        self._episode += 1
        self.steps, self._failed = 0, False
        place = np.uint64(self.seed), self._episode, self.environment
        agents.start_loop()(*place, agents.TRAINING, self._state)
        return self.state

    def step(self, action: int) -> float:
        """Push the cart for a fiftieth of a second.

        Parameters
        ----------
        action : int
            0 pushes to the left, 1 to the right.

        Returns
        -------
        float
            The reward, 1.0 also for the step that fails.

        Raises
        ------
        TypeError, ValueError
            If action is neither 0 nor 1.
        RuntimeError
            If the episode is over.
        """
        action = whole_number("action", action, 0, ACTIONS - 1)
        if self.ended:
            how = "failed" if self._failed else "ended"
            raise RuntimeError(f"the episode {how} after {self.steps} steps: call reset() before the next step")
        self._failed = bool(agents.move_loop()(self._state, action))
        self.steps += 1
        return 1.0

    def __repr__(self) -> str:
        return f"CartPole(seed={self.seed}, environment={self.environment})"


@named_arguments
class Policy:
    """Two dense networks that observe CartPole: the policy has a logit for each action, the value estimates the return.

    One flat buffer holds the policy and then the value, each layer by layer as in an ``MLP``.

    Parameters
    ----------
    hidden : sequence of int
        Hidden widths of both; () has no hidden layer.
    activation : str
        "tanh", "relu" or "sigmoid".

    Attributes
    ----------
    hidden : tuple of int
    activation : str
    policy, value : DenseLayers
        The two networks, of 2 outputs and of 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> policy = lnb.agents.Policy((64, 64))
    >>> policy.size
    9155
    >>> policy.judge(np.zeros(policy.size), np.zeros((1, 4)))
    (array([[0.5, 0.5]]), array([0.]))
    """

    def __init__(self, hidden: Iterable[int] = (64, 64), *, activation: str = "tanh") -> None:
        if not np.iterable(hidden):
            raise TypeError(f"hidden must be a sequence such as (64, 64), got {shown(hidden)}")
        self.hidden = tuple(whole_number(f"hidden[{i}]", width, 1) for i, width in enumerate(hidden))
        self.activation = one_of("activation", activation, tuple(ACTIVATIONS))
        sizes = OBSERVED, *self.hidden
        self.policy = DenseLayers([*sizes, ACTIONS], self.activation)
        self.value = DenseLayers([*sizes, 1], self.activation)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.policy.size + self.value.size

    def __repr__(self) -> str:
        return f"Policy({self.hidden}, activation={self.activation!r})"

    @default_errors
    def init(self, seed: int = 0, dtype: DTypeLike = "float32") -> np.ndarray:
        """Return fresh parameters: W from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), b = 0.

        Parameters
        ----------
        seed : int
            In [0, 2**63).
        dtype : str
            "float32" or "float64". The float32 weights are the float64 ones, rounded.

        Returns
        -------
        (size,) array
            A new buffer of this dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.
        """
        seed, width = whole_number("seed", seed, 0, 2**63 - 1), float_dtype("dtype", dtype)
        parts = self.policy.fresh(seed), self.value.fresh(seed, len(self.hidden) + 1)
        return np.concatenate(parts).astype(width)

    @default_errors
    def judge(self, params: np.ndarray, observations: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each action, and the estimated return.

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        observations : (rows, 4) array
            States of CartPole.

        Returns
        -------
        probabilities : (rows, 2) array
            In the dtype of params.
        values : (rows,) array
            Estimates of the discounted sum of later rewards.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, dtype, shape or layout, or holds a value out of range.
        """
        self._check_params(params)
        split = self.policy.size
        logits = self.policy.outputs(params[:split], observations)
        terms = np.exp(logits - logits.max(axis=1, keepdims=True))
        return terms / terms.sum(axis=1, keepdims=True), self.value.outputs(params[split:], observations)[:, 0].copy()

    @default_errors
    def loss_and_grad(
        self,
        params: np.ndarray,
        observations: ArrayLike,
        actions: ArrayLike,
        log_probabilities: ArrayLike,
        advantages: ArrayLike,
        targets: ArrayLike,
        *,
        clip: float = 0.2,
        value_weight: float = 0.5,
        entropy_weight: float = 0.01,
    ) -> tuple[float, np.ndarray]:
        """Return the loss of PPO and its gradient.

        The loss is the mean over rows of ``value_weight*(value - target)**2/2 - entropy_weight*entropy - objective``.
        The objective is ``min(ratio*advantage, held*advantage)``, held the ratio within [1 - clip, 1 + clip].

        Parameters
        ----------
        params : (size,) float32 or float64 array
            C-contiguous.
        observations : (rows, 4) array
        actions : (rows,) array
            0 or 1.
        log_probabilities : (rows,) array
            Of the actions under the policy that chose them; the ratio is the present probability over that one.
        advantages, targets : (rows,) array
        clip, value_weight, entropy_weight : float
            At least 0.

        Returns
        -------
        loss : float
        grad : (size,) array
            A new array in the dtype of params.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, dtype, shape or layout, or holds a value out of range.

        Notes
        -----
        With the policy that chose the actions every ratio is 1, and the gradient is that of
        ``-advantage*log_probability``: the policy gradient (Williams 1992). Source: Schulman et al. 2017.
        """
        self._check_params(params)
        width: Any = params.dtype.type
        weights = {"clip": clip, "value_weight": value_weight, "entropy_weight": entropy_weight}
        objective = np.array([real_number(name, value, 0) for name, value in weights.items()], width)
        X = checked_features(observations, OBSERVED, params.dtype)
        taken = checked_labels(actions, ACTIONS, len(X))
        columns = {"log_probabilities": log_probabilities, "advantages": advantages, "targets": targets}
        rows = [_column(name, value, len(X), width) for name, value in columns.items()]
        grad, work = np.empty_like(params), np.empty(self.work_size(len(X)), width)
        shape = self.policy.sizes, self.value.sizes, self.policy.activation_code
        loss = agents.loss_and_grad(width)(params, X, taken, *rows, objective, *shape, grad, work)
        return loss, grad

    def work_size(self, rows: int) -> int:
        """Return how many numbers of scratch memory the kernels need for rows.

        Parameters
        ----------
        rows : int

        Returns
        -------
        int
        """
        return network.work_size(self.policy.sizes, rows)  # the value has fewer outputs

    def _check_params(self, params: Any) -> None:
        if not isinstance(params, np.ndarray) or params.dtype not in (np.float32, np.float64):
            raise TypeError(f"params must be a float32 or float64 array, got {getattr(params, 'dtype', shown(params))}")
        if params.shape != (self.size,) or not params.flags.c_contiguous:
            layout = "" if params.flags.c_contiguous else " in another layout"
            raise ValueError(f"params must be a contiguous ({self.size},) array, got {params.shape}{layout}")


def _column(name: str, values: ArrayLike, rows: int, width: Any) -> np.ndarray:
    """Return one finite number for each row."""
    column = plain_array(name, values)
    if column.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold numbers, got {column.dtype}")
    if column.shape != (rows,):
        raise ValueError(f"{name} must be ({rows},), one number for each observation, got {column.shape}")
    with np.errstate(over="ignore"):
        column = np.ascontiguousarray(column, width)
    if not np.isfinite(column).all():
        row = int(np.argmin(np.isfinite(column)))
        raise ValueError(f"{name} must be finite in {np.dtype(width)}, got {column[row].item()!r} in row {row}")
    return column
