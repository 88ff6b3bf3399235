"""Agents that learn CartPole with any optimizer: PPO and the policy gradient, one run and many."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from lookahead_nb.checks import (
    default_errors,
    flag,
    float_dtype,
    named_arguments,
    of_type,
    real_number,
    shown,
    whole,
    whole_number,
)
from lookahead_nb.kernels import bundles
from lookahead_nb.kernels.cpu import agents
from lookahead_nb.models.policies import CartPole, Policy
from lookahead_nb.optimizers import Optimizer
from lookahead_nb.training.engine_cpu import OneRun
from lookahead_nb.training.history import settings_frame
from lookahead_nb.training.plan import checked_seeds
from lookahead_nb.training.setup import HIGHEST_SEED, KINDS, always, check_optimizer, check_rates, no_rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PPO", "AgentRun", "CartPole", "Policy", "PolicyGradient", "sweep", "train"]

STEPS_AT_ONCE = 1024  # optimizer steps between two checks for Ctrl-C
GOAL = 475.0  # the mean return at which CartPole-v1 counts as solved


@named_arguments
@dataclass(frozen=True, kw_only=True)
class PPO:
    """Proximal policy optimization: a few passes over the experience of each iteration, with a clipped objective.

    Parameters
    ----------
    environments : int
        At least 1, played side by side.
    horizon : int
        At least 1: the steps that each environment takes in an iteration.
    passes : int
        At least 1: how often an iteration goes through its experience.
    minibatches : int
        At least 1: in how many equal parts, one optimizer step each. It divides environments times horizon.
    discount, trace : float
        gamma and lambda of generalized advantage estimation, in [0, 1].
    clip : float
        At least 0: the ratio of probabilities counts within [1 - clip, 1 + clip].
    value_weight, entropy_weight : float
        At least 0; see ``Policy.loss_and_grad``.
    standardize : bool
        Whether the advantages of each minibatch are brought to mean 0 and standard deviation 1.
    clip_norm : float or None
        Above 0: gradients are clipped to this norm as in :func:`lookahead_nb.train`; None leaves them.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    The defaults are those of PureJaxRL for CartPole, except that the value is not clipped. As there, an episode that is
    cut at 500 steps counts as ended. Source: Schulman et al. 2017, "Proximal policy optimization algorithms",
    arXiv:1707.06347.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.agents.PPO().optimizer_steps(500_000)
    15616
    """

    environments: int = 4
    horizon: int = 128
    passes: int = 4
    minibatches: int = 4
    discount: float = 0.99
    trace: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    standardize: bool = True
    clip_norm: float | None = 0.5

    def __post_init__(self) -> None:
        for name in ("environments", "horizon", "passes", "minibatches"):
            self._set(name, whole_number(name, getattr(self, name), 1, 2**20))
        for name in ("discount", "trace"):
            self._set(name, real_number(name, getattr(self, name), 0, 1))
        for name in ("clip", "value_weight", "entropy_weight"):
            self._set(name, real_number(name, getattr(self, name), 0))
        self._set("standardize", flag("standardize", self.standardize))
        if self.clip_norm is not None:
            self._set("clip_norm", real_number("clip_norm", self.clip_norm, 0, open_low=True))
        if self.rows % self.minibatches:
            given = f"got {self.minibatches} for {self.rows}"
            raise ValueError(f"minibatches must divide environments*horizon into equal parts, {given}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def rows(self) -> int:
        """Environment steps of an iteration."""
        return self.environments * self.horizon

    @property
    def steps_of_iteration(self) -> int:
        """Optimizer steps of an iteration; the sync period with which Lookahead syncs once in each."""
        return self.passes * self.minibatches

    def optimizer_steps(self, env_steps: int) -> int:
        """Return the optimizer steps of a run.

        Parameters
        ----------
        env_steps : int
            Environment steps; what does not fill an iteration is left out.

        Returns
        -------
        int

        Raises
        ------
        TypeError, ValueError
            If env_steps is not a whole number, or less than one iteration.
        """
        env_steps = whole_number("env_steps", env_steps, 1, 2**40)
        if env_steps < self.rows:
            raise ValueError(f"env_steps must be at least the {self.rows} steps of an iteration, got {env_steps}")
        return env_steps // self.rows * self.steps_of_iteration


@named_arguments
@dataclass(frozen=True, kw_only=True)
class PolicyGradient(PPO):
    """The policy gradient with a learned baseline: one optimizer step on the whole experience of each iteration.

    Parameters
    ----------
    environments, horizon, discount, trace, value_weight, entropy_weight, standardize, clip_norm
        As in :class:`PPO`. With trace 1 the advantage is the discounted return minus the baseline. Where an iteration
        cuts an episode, the value of its last state stands for the rewards after it.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    This is PPO with one pass and one minibatch. Each ratio of probabilities is then 1, where the gradient of the
    clipped objective is ``advantage*grad(log_probability)``. Source: Williams 1992, "Simple statistical
    gradient-following algorithms for connectionist reinforcement learning", REINFORCE with a baseline.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> lnb.agents.PolicyGradient().steps_of_iteration
    1
    """

    passes: int = field(default=1, init=False)
    minibatches: int = field(default=1, init=False)
    clip: float = field(default=0.2, init=False)
    trace: float = 1.0


@dataclass(frozen=True, eq=False)
class AgentRun:
    """A trained agent.

    Attributes
    ----------
    params : (size,) array
        The fast weights at the end.
    slow : (size,) array or None
        The slow weights, or the average; None for an optimizer without them.
    progress : frame
        One row for each iteration: ``env_steps``, ``episodes`` finished so far, and ``recent_return``, the mean return
        of the last ``window`` of them (of all, while there are fewer).
    evaluations : frame
        One row for each evaluation and kind of weights: ``step`` of the optimizer, ``env_steps``, ``weights`` ("fast"
        or "slow"), ``mean_return``, and ``whole``, the share of the episodes that last 500 steps.
    diverged_at : int or None
        The optimizer step at which loss, gradient or weights stopped being finite. The run ends there.
    """

    params: np.ndarray
    slow: np.ndarray | None
    progress: pd.DataFrame
    evaluations: pd.DataFrame
    diverged_at: int | None

    def solved_at(self, goal: float = GOAL, *, episodes: int = 20) -> int | None:
        """Return the environment steps after which the recent return first reaches a goal.

        Parameters
        ----------
        goal : float
            A mean return.
        episodes : int
            At least 1: so many episodes must be finished by then.

        Returns
        -------
        int or None
            None if it is never reached.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.
        """
        goal, episodes = real_number("goal", goal, -np.inf), whole_number("episodes", episodes, 1)
        reached = (self.progress["recent_return"] >= goal) & (self.progress["episodes"] >= episodes)
        return int(self.progress["env_steps"][reached].iloc[0]) if reached.any() else None


class _Course(NamedTuple):
    """What all runs of a sweep share, checked."""

    policy: Policy
    method: PPO
    env_steps: int
    episodes: int
    window: int
    dtype: np.dtype
    steps: int
    eval_steps: np.ndarray

    def blank_results(self, count: int) -> np.ndarray:
        """Return blank results of runs: (count, evaluations, kinds, 1, (mean return, share of whole episodes))."""
        return np.full((count, len(self.eval_steps), len(KINDS), 1, 2), np.nan)


def _course(
    policy: Any, method: Any, env_steps: Any, evaluations: Any, episodes: Any, window: Any, dtype: Any
) -> _Course:
    policy = of_type("policy", policy, Policy, "a Policy")
    method = of_type("method", method, PPO, "a PPO or a PolicyGradient")
    steps = method.optimizer_steps(env_steps)
    parts = whole_number("evaluations", evaluations, 1, steps)
    eval_steps = np.array(sorted({steps * i // parts for i in range(parts + 1)}), np.int64)
    numbers = whole_number("episodes", episodes, 1, 2**20), whole_number("window", window, 1, 2**20)
    return _Course(policy, method, env_steps, *numbers, float_dtype("dtype", dtype), steps, eval_steps)


@named_arguments
@default_errors
def train(
    policy: Policy,
    opt: Optimizer,
    *,
    method: PPO | None = None,
    env_steps: int = 100_000,
    seed: int = 0,
    evaluations: int = 10,
    episodes: int = 32,
    window: int = 20,
    dtype: Any = "float32",
) -> AgentRun:
    """Train a policy on CartPole.

    The result is a function of the arguments, bit for bit, on every CPU and with any number of threads.

    Parameters
    ----------
    policy : Policy
        The network.
    opt : Optimizer
        An inner optimizer, Lookahead or EMA. A sync period counts optimizer steps; that of
        ``method.steps_of_iteration`` is one iteration. The fast weights play.
    method : PPO, optional
        The settings of PPO, or of the :class:`PolicyGradient`; default ``PPO()``.
    env_steps : int
        Steps of all environments together; what does not fill an iteration is left out.
    seed : int
        In [0, 2**63): of weights, episodes, actions and minibatches.
    evaluations : int
        At least 1: evenly spaced, the last one at the end; one more comes ahead of the first step.
    episodes : int
        At least 1: those of an evaluation, the same for fast and slow weights. Actions are drawn from the policy.
    window : int
        At least 1: the episodes that the recent return is the mean of.
    dtype : str
        "float32" or "float64" for the weights; the states of CartPole are float64.

    Returns
    -------
    AgentRun

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> opt = lnb.Lookahead(lnb.Adam(0.003), sync_period=16)
    >>> run = lnb.agents.train(lnb.agents.Policy((16,)), opt, env_steps=8192, episodes=8)
    >>> run.progress["env_steps"].iloc[-1]
    np.int64(8192)
    """
    course = _course(policy, PPO() if method is None else method, env_steps, evaluations, episodes, window, dtype)
    check_rates("opt", check_optimizer("opt", opt), course.steps)
    return _trained(course, opt, whole_number("seed", seed, 0, HIGHEST_SEED))


@named_arguments
@default_errors
def sweep(
    policy: Policy,
    configs: Iterable[Optimizer],
    *,
    seeds: Iterable[int] | int,
    method: PPO | None = None,
    env_steps: int = 100_000,
    evaluations: int = 1,
    episodes: int = 32,
    window: int = 20,
    dtype: Any = "float32",
) -> pd.DataFrame:
    """Train every configuration from every seed, on as many threads as Numba has.

    Each run is bit for bit that of :func:`train` alone, for any number of threads.

    Parameters
    ----------
    policy : Policy
        The network.
    configs : list of Optimizer
        Inner optimizers, Lookahead, EMA.
    seeds : int or list of int
        As in :func:`train`, at least one, all different; a number n means 0..n-1.
    method, env_steps, evaluations, episodes, window, dtype
        As in :func:`train`.

    Returns
    -------
    frame
        One row for each run and kind of weights, configuration by configuration. ``config`` is the place in the list,
        ``seed`` and the settings of the optimizer follow, then ``weights`` ("fast" or "slow"), ``mean_return`` and
        ``whole`` of the last evaluation, ``recent_return`` at the end, ``solved_at`` (NaN if never) as in
        :class:`AgentRun`, and ``diverged_at`` (NaN if never).

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> opts = [lnb.Adam(0.003), lnb.Lookahead(lnb.Adam(0.003), sync_period=16)]
    >>> rows = lnb.agents.sweep(lnb.agents.Policy((8,)), opts, seeds=2, env_steps=1024, episodes=4)
    >>> rows["weights"].tolist()
    ['fast', 'fast', 'fast', 'slow', 'fast', 'slow']
    """
    pd = whole("pandas")

    course = _course(policy, PPO() if method is None else method, env_steps, evaluations, episodes, window, dtype)
    opts = list(configs) if np.iterable(configs) else []
    if not opts:
        raise TypeError(f"configs must be a list of optimizers, got {shown(configs)}")
    for i, opt in enumerate(opts):
        check_rates(f"configs[{i}]", check_optimizer(f"configs[{i}]", opt), course.steps)
    numbers = checked_seeds(seeds)
    settings = settings_frame(opts)
    pairs, stop = list(product(range(len(opts)), numbers)), Event()
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        futures = [pool.submit(_trained, course, opts[i], seed, lambda: not stop.is_set()) for i, seed in pairs]
        try:
            runs = [future.result() for future in futures]
        finally:  # after Ctrl-C or an error the runs under way end at their next stretch
            stop.set()
            pool.shutdown(cancel_futures=True)
    rows = []
    for (i, seed), run in zip(pairs, runs, strict=True):
        end = run.evaluations[run.evaluations["step"] == course.steps]
        for weights, mean_return, share in end[["weights", "mean_return", "whole"]].itertuples(index=False):
            solved = run.solved_at(episodes=window)
            rows.append(
                {"config": i, "seed": seed}
                | settings.iloc[i].to_dict()
                | {"weights": weights, "mean_return": mean_return, "whole": share}
                | {"recent_return": run.progress["recent_return"].iloc[-1]}
                | {"solved_at": np.nan if solved is None else float(solved)}
                | {"diverged_at": np.nan if run.diverged_at is None else float(run.diverged_at)}
            )
    return pd.DataFrame(rows)


def _trained(course: _Course, opt: Optimizer, seed: int, keep_going: Callable[[], bool] = always) -> AgentRun:
    pd = whole("pandas")

    policy, method = course.policy, course.method
    width: Any = course.dtype.type
    params = policy.init(seed, course.dtype)
    state = opt.init(params)
    run = OneRun(course, opt, params, state, no_rows(course.dtype))
    objective = np.array([method.clip, method.value_weight, method.entropy_weight], width)
    agent = bundles.Agent(
        bundles.network_of(policy.policy, width),
        bundles.readonly(policy.value.sizes),
        np.int64(method.horizon),
        np.int64(method.passes),
        np.int64(method.minibatches),
        np.int64(course.episodes),
        width(method.discount),
        width(method.trace),
        bundles.readonly(objective),
        method.standardize,
        np.inf if method.clip_norm is None else method.clip_norm,
        np.uint64(seed),
    )
    iterations = course.steps // method.steps_of_iteration
    experience = bundles.experience_of(method.environments, method.horizon, iterations, course.window, width)
    most = max(method.rows // method.minibatches, method.environments, course.episodes)
    work = np.empty(policy.work_size(most), width)
    for first in range(0, course.steps, STEPS_AT_ONCE):
        if run.diverged or not keep_going():
            break
        last = min(first + STEPS_AT_ONCE, course.steps)
        with np.errstate(over="ignore", invalid="ignore"):  # plain Python warns of huge weights
            run.advance(agents.advance, first, last, agent, experience, work)
    run.finish()
    progress = pd.DataFrame({"env_steps": method.rows * np.arange(1, iterations + 1)})
    progress["episodes"], progress["recent_return"] = experience.progress.T
    at, kind = np.nonzero(np.repeat([[True, opt.has_slow_weights]], len(course.eval_steps), axis=0))
    evaluated = course.eval_steps[at]
    evaluations = pd.DataFrame(
        {"step": evaluated, "env_steps": -(-evaluated // method.steps_of_iteration) * method.rows}
    )
    evaluations["weights"] = np.array(KINDS)[kind]
    evaluations["mean_return"], evaluations["whole"] = run.results[0, at, kind, 0].T
    diverged_at = int(run.diverged_at[0]) if run.diverged else None
    return AgentRun(params, opt.slow_from(params, state), progress, evaluations, diverged_at)
