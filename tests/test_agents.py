"""Agents on CartPole: the environment, the loss of PPO and its gradient, whole runs, many at once."""

import re
from dataclasses import replace

import mpmath
import numba
import numpy as np
import pytest
from conftest import NO_JIT

import lookahead_nb as lnb
from lookahead_nb.kernels import formulas, philox
from lookahead_nb.kernels.bundles import experience_of
from lookahead_nb.kernels.cpu import agents as kernels
from lookahead_nb.kernels.cpu.by_group import clip_gradient
from lookahead_nb.training.agents import PPO, CartPole, Policy, PolicyGradient, sweep, train
from tests.support import reference_agents as reference

ONE_STEP = 4e-15  # a few roundings of numbers up to 20, in which the two forms of an equation differ
WHOLE_EPISODE = 1e-12  # the same after ten steps, a falling pole doubling every rounding in each
GRADIENT = 1e-13  # roundings of sums over 12 rows and at most 8 units; the complex step has none of its own
SMALL = {"environments": 2, "horizon": 6, "passes": 2, "minibatches": 3, "clip_norm": None}
TINY = {"env_steps": 24, "episodes": 2, "evaluations": 1, "dtype": "float64"}


def fallen(pole, action=1):
    while not pole.ended:
        pole.step(action)
    return pole


# --------------------------------------------------------------------------------------------------------- CartPole


@pytest.mark.parametrize(("name", "exact"), [("small_sin", mpmath.sin), ("small_cos", mpmath.cos)])
def test_sine_and_cosine_are_accurate(name, exact, rng):
    function = getattr(formulas, name)
    bound = float(re.search(r"Accuracy: ([\d.]+) ulp", function.__doc__)[1])
    for x in [0.0, -0.5, 0.5, 12 * np.pi / 180, 1e-9, *rng.uniform(-0.5, 0.5, 300)]:
        with mpmath.workprec(200):
            truth, got = exact(mpmath.mpf(float(x))), function(np.float64(x))
            assert abs(mpmath.mpf(float(got)) - truth) <= bound * float(np.spacing(abs(float(truth)))), x


def test_a_step_is_that_of_the_equations(rng):
    for _ in range(50):
        state, action = rng.uniform([-2, -3, -0.3, -3], [2, 3, 0.3, 3]), int(rng.integers(2))
        got = np.array(formulas.cartpole_step(*state, action))
        assert np.abs(got - reference.cartpole(state, action)).max() <= ONE_STEP


def test_a_step_by_hand():
    # Upright and at rest: push/total = 10/1.1, which turns the pole by -(10/1.1)/(0.5*(4/3 - 0.1/1.1)).
    push = 10 / 1.1
    turning = -push / (0.5 * (4 / 3 - 0.1 / 1.1))
    x, x_dot, theta, theta_dot = formulas.cartpole_step(*np.zeros(4), 1)
    assert (x, theta) == (0, 0)
    assert theta_dot == pytest.approx(0.02 * turning, rel=1e-15)
    assert x_dot == pytest.approx(0.02 * (push - 0.05 * turning / 1.1), rel=1e-15)


def test_the_pole_mirrors_itself_bit_for_bit(rng):
    state = rng.uniform(-0.2, 0.2, 4)
    left, right = (formulas.cartpole_step(*(sign * state), int(sign > 0)) for sign in (-1, 1))
    assert [-number for number in left] == list(right)


def test_an_episode_fails_beyond_its_limits():
    inside = np.float64(2.4), np.float64(12 * 2 * np.pi / 360)
    assert not formulas.has_fallen(*inside)
    assert not formulas.has_fallen(-inside[0], -inside[1])
    assert formulas.has_fallen(np.nextafter(inside[0], 3), np.float64(0))
    assert formulas.has_fallen(np.float64(0), np.nextafter(-inside[1], -1))
    assert formulas.has_fallen(np.float64(0), np.float64(np.nan))


def test_episodes_start_as_the_stream_says_and_go_on_by_the_equations():
    pole = CartPole(seed=3, environment=2)
    for episode in (0, 1):
        words = philox.philox4x32(*map(np.uint64, (episode, 2, 0)), philox.EPISODES, np.uint64(3), np.uint64(0))
        assert pole.state == pytest.approx([0.1 * (int(word) >> 8) / 2**24 - 0.05 for word in words], abs=1e-17)
        state, total = pole.state, 0.0
        while not pole.ended:
            state, total = reference.cartpole(state, 0), total + pole.step(0)
        assert np.abs(pole.state - state).max() <= WHOLE_EPISODE
        assert total == pole.steps < 15
        pole.reset()
        assert (pole.steps, pole.failed) == (0, False)


def test_a_step_after_the_end_is_refused_and_changes_nothing():
    pole = fallen(CartPole())
    state, steps = pole.state, pole.steps
    message = f"the episode failed after {steps} steps: call reset() before the next step"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        pole.step(0)
    assert (pole.state == state).all()
    assert pole.steps == steps
    pole.state[0] = 7  # a copy
    assert pole.state[0] != 7


def test_an_episode_ends_after_500_steps():
    pole = CartPole()
    while not pole.ended:
        angle, spin = pole.state[2:]
        pole.step(int(angle + 0.5 * spin + 0.02 * pole.state[0] + 0.05 * pole.state[1] > 0))
    assert (pole.steps, pole.failed) == (500, False)
    with pytest.raises(RuntimeError, match="the episode ended after 500 steps"):
        pole.step(0)


# ---------------------------------------------------------------------------------------------------- loss and gradient


def rows_of(rng, policy, params, count=12):
    """Return rows in which some ratios are clipped and some are not, none of them near a corner of the objective."""
    X, actions = rng.normal(0, 1, (count, 4)), rng.integers(0, 2, count)
    p, _ = policy.judge(params, X)
    ratios = rng.choice([0.5, 0.7, 0.9, 1.1, 1.4, 1.9], count)
    old = np.log(p[np.arange(count), actions]) - np.log(ratios)
    return X, actions, old, rng.normal(0, 1, count), rng.normal(0, 2, count)


@pytest.mark.parametrize(("hidden", "activation"), [((), "tanh"), ((5,), "relu"), ((6, 3), "tanh"), ((4,), "sigmoid")])
def test_loss_and_gradient_agree_with_the_complex_step(hidden, activation, rng):
    policy = Policy(hidden, activation=activation)
    params = policy.init(1, "float64") + rng.normal(0, 0.3, policy.size)
    rows, weights = rows_of(rng, policy, params), (0.2, 0.7, 0.3)
    named = dict(zip(("clip", "value_weight", "entropy_weight"), weights, strict=True))
    loss, grad = policy.loss_and_grad(params, *rows, **named)
    same = (params, *rows, hidden, activation, *weights)
    assert loss == pytest.approx(reference.loss(*same), rel=GRADIENT)
    assert np.abs(grad - reference.gradient(*same)).max() <= GRADIENT


def test_each_term_alone_agrees(rng):
    policy = Policy((3,))
    params = policy.init(0, "float64")
    X, actions, old, advantages, targets = rows_of(rng, policy, params)
    for clip, value_weight, entropy_weight, scale in ((0.1, 0, 0, 1), (0.1, 2.0, 0, 0), (0.1, 0, 0.5, 0)):
        rows = X, actions, old, scale * advantages, targets
        named = {"clip": clip, "value_weight": value_weight, "entropy_weight": entropy_weight}
        _, grad = policy.loss_and_grad(params, *rows, **named)
        expected = reference.gradient(params, *rows, (3,), "tanh", clip, value_weight, entropy_weight)
        assert np.abs(grad - expected).max() <= GRADIENT
        assert np.abs(grad).max() > 1e-3


def test_float32_is_the_same_gradient_to_its_width(rng):
    policy = Policy((5,))
    params = policy.init(2, "float32")
    rows = rows_of(rng, policy, params.astype(float))
    loss, grad = policy.loss_and_grad(params, *rows)
    wide, exact = policy.loss_and_grad(params.astype(float), *rows)
    assert grad.dtype == np.float32
    assert loss == pytest.approx(wide, rel=1e-6)
    assert np.abs(grad - exact).max() <= 1e-6


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [(1.5, 2, 2.4, 0), (1.1, 2, 2.2, 2.2), (0.5, 2, 1, 1), (0.5, -2, -1.6, 0), (1.5, -2, -3, -3), (1, 3, 3, 3)],
)
def test_the_objective_by_hand(ratio, advantage, objective, slope):
    arguments = np.float64(ratio), np.float64(advantage), np.float64(0.2)
    assert formulas.clipped_objective(*arguments) == pytest.approx(objective, rel=1e-15)
    assert formulas.clipped_slope(*arguments) == pytest.approx(slope, rel=1e-15)


def test_small_formulas_by_hand():
    assert formulas.standardized(*map(np.float64, (5, 3, 2))) == pytest.approx(1, rel=1e-8)
    assert formulas.standardized(np.float64(1), np.float64(1), np.float64(0)) == 0
    assert formulas.standardized(np.float64(2), np.float64(1), np.float64(0)) == pytest.approx(1e8)
    assert formulas.clip_factor(np.float64(5), np.float64(0.5)) == 0.1
    assert formulas.clip_factor(np.float64(5), np.float64(5)) == formulas.clip_factor(*map(np.float64, (0, 1))) == 1
    assert np.isnan(clip_gradient(np.array([np.nan, 1.0]), 1.0))
    for grad in (np.array([3.0, 4.0]), np.zeros(2)):
        kept = grad.copy()
        assert clip_gradient(grad, np.inf) == np.linalg.norm(kept)
        assert (grad == kept).all()
    assert formulas.advantage_before(*map(np.float64, (1, 2, 4, 8, 0.5, 0.25))) == 1 + 2 - 2 + 1
    assert formulas.probability_ratio(np.float64(-1), np.float64(-2)) == formulas.exp(np.float64(1))
    assert formulas.entropy_with(*map(np.float64, (0.5, -1, 2))) == 2.5
    assert formulas.policy_loss(*map(np.float64, (3, 2, 0.25))) == -3.5
    error = formulas.policy_error(np.float64(0.25), np.float64(-2), True, *map(np.float64, (4, 1, 2, 0.5)))
    assert error == 0.5 * (4 * (0.25 - 1) + 2 * 0.25 * (-2 + 1))


def test_the_ratio_of_the_same_policy_gives_the_policy_gradient(rng):
    policy = Policy((4,))
    params = policy.init(5, "float64")
    X, actions, _, advantages, targets = rows_of(rng, policy, params)
    log_p = np.log(policy.judge(params, X)[0])[np.arange(len(X)), actions]
    _, grad = policy.loss_and_grad(params, X, actions, log_p, advantages, targets, value_weight=0, entropy_weight=0)

    def reinforce(flat):
        return -np.mean(advantages * reference.outputs(flat, X, (4,), "tanh")[0][np.arange(len(X)), actions])

    expected = [reinforce(params + 1e-30j * row).imag / 1e-30 for row in np.eye(len(params))]
    assert np.abs(grad - expected).max() <= GRADIENT


# -------------------------------------------------------------------------------------------------------- whole runs


def collected(policy, params, method, seed, iteration, poles, returns):
    """Play one iteration in NumPy: each environment by the public CartPole, actions by the words of the stream."""
    n, rows = method.environments, []
    for s in range(method.horizon):
        t = iteration * method.horizon + s
        for e, pole in enumerate(poles):
            counter = map(np.uint64, (t, e // 4, 0))
            word = philox.philox4x32(*counter, philox.ACTIONS, np.uint64(seed), np.uint64(0))[e % 4]
            X = pole.state[None]
            (log_p,), (value,) = reference.outputs(params, X, policy.hidden, policy.activation)
            action = int((int(word) >> 8) / 2**24 >= np.exp(log_p[0]))
            pole.step(action)
            rows.append((X[0], action, log_p[action], value, pole.ended, e))
            if pole.ended:
                returns.append(pole.steps)
                pole.reset()
    X, actions, old, values, ended, of = map(np.array, zip(*rows, strict=True))
    last = reference.outputs(params, np.array([pole.state for pole in poles]), policy.hidden, policy.activation)[1]
    advantages = np.empty(len(rows))
    for e in range(n):
        mine = of == e
        advantages[mine] = reference.advantages(1.0, values[mine], ended[mine], last[e], method.discount, method.trace)
    return X, actions.astype(int), old, advantages, advantages + values


@pytest.mark.parametrize("kind", ["ppo", "policy gradient", "lookahead"])
def test_a_run_is_that_of_the_reference(kind):
    method = PolicyGradient(environments=3, horizon=9, clip_norm=0.1) if kind == "policy gradient" else PPO(**SMALL)
    iterations, policy, seed = 4, Policy((3,)), 7
    steps = method.optimizer_steps(iterations * method.rows)
    rates = 0.05 * (1 - np.arange(1, steps + 1) / steps)
    adam = lnb.Adam(lnb.schedules.linear(0.05, steps), eps=1e-5)
    opt = lnb.Lookahead(adam, sync_period=5, slow_step_size=1.5) if kind == "lookahead" else adam
    settings = {"method": method, "env_steps": iterations * method.rows, "episodes": 2, "window": 3}
    run = train(policy, opt, seed=seed, evaluations=1, dtype="float64", **settings)

    params, update = policy.init(seed, "float64"), reference.Adam(rates, 1e-5)
    slow, batches = params, lnb.minibatches(method.rows, method.rows // method.minibatches, seed)
    poles, returns = [CartPole(seed=seed, environment=e) for e in range(method.environments)], []
    for t in range(steps):
        if t % method.steps_of_iteration == 0:
            experience = collected(policy, params, method, seed, t // method.steps_of_iteration, poles, returns)
            row = run.progress.iloc[t // method.steps_of_iteration]
            assert row["episodes"] == len(returns)
            assert not returns or row["recent_return"] == np.mean(returns[-3:])
        chosen = next(batches)
        X, actions, old, advantages, targets = (column[chosen] for column in experience)
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        grad = reference.gradient(params, X, actions, old, advantages, targets, (3,), "tanh", 0.2, 0.5, 0.01)
        length = np.linalg.norm(grad)
        longest = method.clip_norm or np.inf
        params = update(params, grad * longest / length if length > longest else grad)
        if kind == "lookahead" and (t + 1) % 5 == 0:
            params = slow = slow + 1.5 * (params - slow)
    assert len(returns) > 0
    assert np.abs(run.params - params).max() <= 1e-9  # Adam divides roundings of 1e-16 by gradients of 1e-6
    assert (run.slow is None) == (kind != "lookahead")
    if kind == "lookahead":
        assert np.abs(run.slow - slow).max() <= 1e-9


def test_an_evaluation_plays_the_episodes_that_the_stream_says():
    policy, seed = Policy((3,)), 4
    run = train(policy, lnb.SGD(0.1), method=PPO(**SMALL), seed=seed, **TINY)
    start = policy.init(seed, "float64")
    for params, t, found in ((start, 0, run.evaluations.iloc[0]), (run.params, 12, run.evaluations.iloc[-1])):
        lengths = []
        for e in range(2):
            key = np.uint64(seed), np.uint64(0)
            words = philox.philox4x32(*map(np.uint64, (0, e, t + 1)), philox.EPISODES, *key)
            state, s = np.array([0.1 * (int(word) >> 8) / 2**24 - 0.05 for word in words]), 0
            while abs(state[0]) <= 2.4 and abs(state[2]) <= 12 * np.pi / 180 and s < 500:
                word = philox.philox4x32(*map(np.uint64, (s, 0, t + 1)), philox.ACTIONS, *key)[e]
                right = (int(word) >> 8) / 2**24 >= policy.judge(params, state[None])[0][0, 0]
                state, s = reference.cartpole(state, int(right)), s + 1
            lengths.append(s)
        assert found["mean_return"] == np.mean(lengths)
        assert found["whole"] == 0
    assert run.evaluations["env_steps"].tolist() == [0, 24]


def test_settings_are_those_of_the_first_iteration():
    """A discount of 0 makes the advantage of the first row 1 minus its value, whatever the trace."""
    policy = Policy((3,))
    method = PPO(**SMALL | {"discount": 0.0, "passes": 1, "minibatches": 1}, value_weight=0, entropy_weight=0)
    one = {"method": method, "env_steps": 12, "episodes": 1, "dtype": "float64", "evaluations": 1}
    moved = train(policy, lnb.SGD(1.0), **one).params - policy.init(0, "float64")
    scaled = train(policy, lnb.SGD(1.0), **one | {"method": replace(method, clip_norm=1e-3)}).params
    assert np.linalg.norm(moved) > 1e-2
    assert np.linalg.norm(scaled - policy.init(0, "float64")) == pytest.approx(1e-3, rel=1e-9)
    assert not moved[policy.policy.size :].any()  # the value has no weight in the loss
    raw = train(policy, lnb.SGD(1.0), **one | {"method": replace(method, standardize=False)}).params
    assert np.abs(raw - policy.init(0, "float64") - moved).max() > 1e-3


def test_average_and_slow_weights_are_evaluated_without_moving_the_fast_ones():
    policy, method = Policy((3,)), PPO(**SMALL)
    adam = lnb.Adam(0.01)
    alone, averaged = (train(policy, opt, method=method, **TINY) for opt in (adam, lnb.EMA(adam, window=4)))
    assert averaged.params.tobytes() == alone.params.tobytes()
    fast = averaged.evaluations[averaged.evaluations["weights"] == "fast"]
    assert fast["mean_return"].tolist() == alone.evaluations["mean_return"].tolist()
    assert averaged.evaluations["weights"].tolist() == ["fast", "slow"] * 2
    assert alone.slow is None


def test_a_run_with_too_large_a_rate_diverges_and_says_where():
    run = train(Policy((3,)), lnb.SGD(1e300), method=PPO(**SMALL), **TINY)
    assert run.diverged_at is not None
    assert 1 <= run.diverged_at <= 4
    assert run.evaluations["mean_return"].isna().tolist() == [False, True]


def test_the_goal_needs_enough_episodes():
    run = train(Policy((3,)), lnb.SGD(0.0), method=PPO(**SMALL), window=2, **TINY | {"env_steps": 120})
    episodes, recent = run.progress["episodes"], run.progress["recent_return"]
    first = run.progress["env_steps"][(recent >= 9) & (episodes >= 2)].iloc[0]
    assert run.solved_at(9, episodes=2) == first
    assert run.solved_at(501, episodes=1) is None
    assert run.solved_at(1, episodes=10**6) is None


@pytest.mark.jit
def test_ppo_solves_cartpole():
    run = train(Policy((32,)), lnb.Adam(4e-3, eps=1e-5), env_steps=60_000, evaluations=2, seed=1)
    assert run.solved_at() is not None
    assert run.evaluations["mean_return"].iloc[-1] > 400 > 100 > run.evaluations["mean_return"].iloc[0]


# ------------------------------------------------------------------------------------------------------- many at once


def test_many_agents_are_the_same_as_each_alone_for_any_number_of_threads():
    policy, opts = Policy((3,)), [lnb.Adam(0.01), lnb.Lookahead(lnb.Adam(0.02), sync_period=3)]
    settings = {"method": PPO(**SMALL), "window": 3} | TINY | {"env_steps": 84}
    threads = numba.get_num_threads()
    frames = []
    for count in {1, threads}:
        numba.set_num_threads(count)
        frames.append(sweep(policy, opts, seeds=[5, 2], **settings))
    numba.set_num_threads(threads)
    for frame in frames:
        assert frame.equals(frames[0])
    assert frames[0]["weights"].tolist() == ["fast", "fast", "fast", "slow", "fast", "slow"]
    assert frames[0]["seed"].tolist() == [5, 2, 5, 5, 2, 2]
    alone = train(policy, opts[1], seed=2, **settings)
    last = frames[0].iloc[-1]
    assert last["mean_return"] == alone.evaluations["mean_return"].iloc[-1]
    assert last["recent_return"] == alone.progress["recent_return"].iloc[-1] > 0
    assert last["sync_period"] == 3
    assert np.isnan(last["solved_at"])
    assert np.isnan(last["diverged_at"])


@pytest.mark.jit
@pytest.mark.skipif(NO_JIT, reason="compares compiled code with plain Python")
def test_plain_python_takes_the_same_steps_bit_for_bit(width):
    policy = Policy((3,), activation="sigmoid")
    params, compiled = policy.init(0, width), np.empty(policy.size, width)
    rng = np.random.default_rng(0)
    rows = [
        array.astype(width) if array.dtype == float else array for array in rows_of(rng, policy, params.astype(float))
    ]
    objective = np.array([0.2, 0.5, 0.01], width)
    shape = policy.policy.sizes, policy.value.sizes, policy.policy.activation_code
    work = np.empty(policy.work_size(12), width)
    loss = kernels.loss_and_grad(width)(params, *rows, objective, *shape, compiled, work)
    plain = np.empty(policy.size, width)
    assert kernels._loss_and_grad(params, *rows, objective, *shape, plain, work) == loss
    assert plain.tobytes() == compiled.tobytes()
    state = experience_of(1, 1, 1, 1, width).states[0]
    for action in (0, 1, 1, 0, 0):
        expected = np.array(formulas.cartpole_step(*state, action))
        kernels.move_loop()(state, action)
        assert state.tobytes() == expected.tobytes()


# --------------------------------------------------------------------------------------------------------- bad input

POLICY, ROWS = Policy((2,)), (np.zeros((2, 4)), [0, 1], [0, 0], [0, 0], [0, 0])
PARAMS = np.zeros(POLICY.size)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CartPole(seed=-1), ValueError, "seed must be a whole number from 0"),
        (lambda: CartPole().step(2), ValueError, "action must be a whole number from 0 to 1, got 2"),
        (lambda: CartPole().step(0.0), TypeError, "action must be a whole number from 0 to 1, got 0.0"),
        (lambda: Policy(64), TypeError, r"hidden must be a sequence such as \(64, 64\), got 64"),
        (lambda: Policy((64, 0)), ValueError, r"hidden\[1\] must be a whole number of at least 1, got 0"),
        (lambda: Policy(activation="gelu"), ValueError, "activation must be one of"),
        (lambda: POLICY.init(0, "float16"), ValueError, "dtype must be one of"),
        (lambda: POLICY.judge(PARAMS[1:], ROWS[0]), ValueError, r"params must be a contiguous \(\d+,\) array"),
        (lambda: POLICY.judge([0.0], ROWS[0]), TypeError, "params must be a float32 or float64 array"),
        (lambda: POLICY.judge(PARAMS, [[0, 0, 0]]), ValueError, r"X must be \(rows, 4\)"),
        (lambda: POLICY.loss_and_grad(PARAMS, *ROWS, clip=-1), ValueError, "clip must be a finite number"),
        (
            lambda: POLICY.loss_and_grad(PARAMS, *ROWS[:3], [0, np.nan], ROWS[4]),
            ValueError,
            "advantages must be finite in float64, got nan in row 1",
        ),
        (lambda: POLICY.loss_and_grad(PARAMS, *ROWS[:4], [0]), ValueError, r"targets must be \(2,\)"),
        (lambda: POLICY.loss_and_grad(PARAMS, *ROWS[:4], ["a", "b"]), TypeError, "targets must hold numbers"),
        (lambda: PPO(minibatches=3), ValueError, "minibatches must divide environments.horizon .* got 3 for 512"),
        (lambda: PPO(discount=1.5), ValueError, r"discount must be a finite number in \[0, 1\], got 1.5"),
        (lambda: PPO(clip_norm=0), ValueError, "clip_norm must be a finite number above 0, got 0"),
        (lambda: PPO(standardize=1), TypeError, "standardize must be True or False, got 1"),
        (lambda: PPO(horizon=0), ValueError, "horizon must be a whole number from 1"),
        (lambda: train(POLICY, lnb.SGD(0.1), env_steps=511), ValueError, "env_steps must be at least the 512 steps"),
        (lambda: train(lnb.MLP((4, 2)), lnb.SGD(0.1)), TypeError, "policy must be a Policy, got MLP"),
        (lambda: train(POLICY, lnb.SGD(0.1), method="ppo"), TypeError, "method must be a PPO or a PolicyGradient"),
        (lambda: train(POLICY, "adam"), TypeError, "opt must be"),
        (lambda: train(POLICY, lnb.SGD(0.1), evaluations=0), ValueError, "evaluations must be a whole number from 1"),
        (
            lambda: train(POLICY, lnb.SGD(lnb.schedules.from_function(lambda t: 0.1, 5))),
            ValueError,
            "opt must have a learning rate for each of the 3120 steps, got a table of 5",
        ),
        (
            lambda: train(
                POLICY,
                lnb.SGD(lnb.schedules.piecewise({0: 0.1, 2: lnb.schedules.from_function(lambda t: 0.1, 5)})),
                env_steps=512,
            ),
            ValueError,
            "opt must have a learning rate for each of the 16 steps, got a table of 5",
        ),
        (lambda: sweep(POLICY, [lnb.SGD(0.1)], seeds=[]), ValueError, "seeds must hold at least one seed, got none"),
        (lambda: sweep(POLICY, [lnb.SGD(0.1)], seeds=[1, 1]), ValueError, "seeds must all differ, got 1 twice"),
        (lambda: sweep(POLICY, [], seeds=1), TypeError, r"configs must be a list of optimizers, got \[\]"),
        (lambda: sweep(POLICY, [1], seeds=1), TypeError, r"configs\[0\] must be"),
        (lambda: sweep(POLICY, [lnb.SGD(0.1)], seeds=[-1]), ValueError, r"seeds\[0\] must be a whole number"),
        (lambda: train(POLICY, lnb.SGD(0.1), epochs=3), TypeError, "train has no argument epochs"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_settings_show_themselves():
    assert repr(Policy((8,), activation="relu")) == "Policy((8,), activation='relu')"
    assert repr(CartPole(seed=2)) == "CartPole(seed=2, environment=0)"
    assert PPO().steps_of_iteration == 16
    assert PolicyGradient().trace == 1
