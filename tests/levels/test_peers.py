"""The same trajectories as PyTorch, optax and gymnasium, in float64, wherever their conventions are ours."""

import gymnasium
import jax
import numpy as np
import optax
import pytest
import torch

import lookahead_nb as lnb
from tests.support.cases import INNER, WRAPPED, assert_close, problem, run

jax.config.update("jax_enable_x64", True)

STEPS, SIZE = 200, 33
RTOL = 1e-12  # both sides round some ten times per step by 1e-16, for 200 steps; measured 2e-14

TORCH = {
    "SGD": lambda p, o: torch.optim.SGD(
        p, lr=0.0, momentum=o.momentum, nesterov=o.nesterov, weight_decay=o.weight_decay
    ),
    "Adagrad": lambda p, o: torch.optim.Adagrad(p, eps=o.eps, weight_decay=o.weight_decay),
    "RMSprop": lambda p, o: torch.optim.RMSprop(
        p, alpha=o.rho, eps=o.eps, momentum=o.momentum, weight_decay=o.weight_decay
    ),
    "Adam": lambda p, o: torch.optim.Adam(p, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay),
    "AdamW": lambda p, o: torch.optim.AdamW(p, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay),
}
TORCH_SLOTS = {
    "velocity": "momentum_buffer",
    "square_sum": "sum",
    "square_average": "square_avg",
    "m": "exp_avg",
    "v": "exp_avg_sq",
}


def with_schedule(inner, schedule):
    return type(inner)(lr=schedule, **{k: v for k, v in vars(inner).items() if k not in ("lr", "schedule")})


SCHEDULES = {
    "constant": lnb.schedules.constant(0.02),
    "falling": lnb.schedules.cosine(0.02, STEPS + 20, warmup=15),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("rule", WRAPPED)
def test_inner_rules_follow_torch(rule, schedule, rng):
    opt = with_schedule(INNER[rule], schedule)
    params, gradients = problem(rng, STEPS, SIZE)
    tensor = torch.tensor(params, requires_grad=True)
    theirs = TORCH[type(opt).__name__]([tensor], opt)
    state = opt.init(params)
    for t, g in enumerate(gradients, 1):
        theirs.param_groups[0]["lr"] = schedule(t)
        tensor.grad = torch.tensor(g)
        theirs.step()
        opt.step(params, g, state)
        assert_close(params, tensor.detach().numpy(), RTOL)
        for name, slot in state.slots.items():
            slots = theirs.state[tensor]
            of_rmsprop = name == "velocity" and rule == "rmsprop_momentum"
            assert_close(slot, slots["momentum_buffer" if of_rmsprop else TORCH_SLOTS[name]].numpy(), RTOL)


def test_defaults_are_those_of_torch(rng):
    params, gradients = problem(rng, 20, SIZE)
    for opt in (lnb.SGD(), lnb.Adagrad(), lnb.RMSprop(), lnb.Adam(), lnb.AdamW()):
        tensor = torch.tensor(params, requires_grad=True)
        theirs = getattr(torch.optim, type(opt).__name__)([tensor])
        for g in gradients:
            tensor.grad = torch.tensor(g)
            theirs.step()
        assert_close(run(opt, params, gradients)[0], tensor.detach().numpy(), RTOL)


def test_weights_of_a_torch_tensor_are_stepped_where_they_lie(rng, width):
    params, gradients = problem(rng, 3, SIZE, width)
    tensor = torch.from_numpy(params.copy())
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=2)
    state = opt.init(tensor.numpy())
    for g in gradients:
        opt.step(tensor.numpy(), torch.from_numpy(g).numpy(), state)
    assert tensor.numpy().tobytes() == run(opt, params, gradients)[0].tobytes()
    with pytest.raises(TypeError, match="params must be a NumPy array or a CUDA array, got Tensor"):
        opt.init(tensor)


def test_groups_and_clipping_follow_torch():
    """PyTorch divides by a norm that is 1e-6 longer, which AdamW nearly cancels again."""
    data, model = lnb.datasets.load("digits"), lnb.MLP((64, 6, 10), activation="tanh")
    groups, clip_norm, batch = {"b*": {"weight_decay": 0.0}, "W2": {"lr": 0.05}}, 0.1, 16
    opt = lnb.AdamW(0.02, weight_decay=0.3)
    ours = lnb.train(
        model, data, opt, steps=30, batch_size=batch, dtype="float64", groups=groups, clip_norm=clip_norm
    ).params
    views = {
        name: torch.tensor(view, requires_grad=True) for name, view in model.unpack(model.init(0, "float64")).items()
    }
    theirs = torch.optim.AdamW(
        [
            {"params": [views["W1"]]},
            {"params": [views["b1"], views["b2"]], "weight_decay": 0.0},
            {"params": [views["W2"]], "lr": 0.05},
        ],
        lr=0.02,
        weight_decay=0.3,
    )
    clipped = 0
    for _, rows in zip(range(30), lnb.minibatches(len(data.y_train), batch, 0), strict=False):
        hidden = torch.tanh(torch.tensor(data.X_train[rows].astype(np.float64)) @ views["W1"].T + views["b1"])
        logits = hidden @ views["W2"].T + views["b2"]
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor(data.y_train[rows])).backward()
        clipped += float(torch.nn.utils.clip_grad_norm_(views.values(), clip_norm)) > clip_norm
        theirs.step()
    assert clipped > 5
    flat = np.concatenate([view.detach().numpy().ravel() for view in views.values()])
    np.testing.assert_allclose(ours, flat, rtol=1e-4, atol=1e-6)


def test_clipping_follows_optax(rng):
    for scale in (1e-3, 1.0, 1e3):
        grad = scale * rng.standard_normal(SIZE)
        transform = optax.clip_by_global_norm(0.5)
        theirs, _ = transform.update(grad, transform.init(grad))
        ours = grad.copy()
        lnb.optimizers.clip_gradient(ours, 0.5)
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-14)


# -------------------------------------------------------------------------------------------------------- optax


def optax_path(transform, params, gradients):
    """Yield the weights after every step of an optax transform."""
    state = transform.init(params)

    @jax.jit
    def step(g, state, params):
        updates, state = transform.update(g, state, params)
        return state, optax.apply_updates(params, updates)

    for g in gradients:
        state, params = step(g, state, params)
        yield params


# Where optax's convention is ours: its RMSprop with momentum keeps lr inside the velocity. Its schedules count from 0.
OPTAX = {
    "sgd": lambda lr, o: optax.chain(optax.add_decayed_weights(o.weight_decay), optax.sgd(lr)),
    "sgd_momentum": lambda lr, o: optax.chain(optax.add_decayed_weights(o.weight_decay), optax.sgd(lr, o.momentum)),
    "sgd_nesterov": lambda lr, o: optax.chain(
        optax.add_decayed_weights(o.weight_decay), optax.sgd(lr, o.momentum, nesterov=True)
    ),
    "rmsprop": lambda lr, o: optax.chain(
        optax.add_decayed_weights(o.weight_decay), optax.rmsprop(lr, o.rho, o.eps, eps_in_sqrt=False)
    ),
    "adam": lambda lr, o: optax.chain(
        optax.add_decayed_weights(o.weight_decay), optax.adam(lr, o.beta1, o.beta2, o.eps)
    ),
    "adamw": lambda lr, o: optax.adamw(lr, o.beta1, o.beta2, o.eps, weight_decay=o.weight_decay),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("rule", OPTAX)
def test_inner_rules_follow_optax(rule, schedule, rng):
    opt = with_schedule(INNER[rule], schedule)
    params, gradients = problem(rng, STEPS, SIZE)
    rates = jax.numpy.array([schedule(t) for t in range(1, STEPS + 1)])
    theirs = optax_path(OPTAX[rule](lambda count: rates[count], opt), jax.numpy.array(params), gradients)
    state = opt.init(params)
    for g, expected in zip(gradients, theirs, strict=True):
        opt.step(params, g, state)
        assert_close(params, np.asarray(expected), RTOL)


def test_schedule_free_follows_optax(rng):
    # At a constant lr: in a warm-up optax counts the steps of the average from 1 and those of the rule from 0.
    opt = lnb.ScheduleFreeAdamW(0.02, beta1=0.8, beta2=0.98, eps=1e-6, weight_decay=0.1)
    transform = optax.contrib.schedule_free_adamw(
        opt.lr, b1=opt.beta1, b2=opt.beta2, eps=opt.eps, weight_decay=opt.weight_decay
    )
    params, gradients = problem(rng, STEPS, SIZE)
    state = opt.init(params)
    for g, expected in zip(gradients, optax_path(transform, jax.numpy.array(params), gradients), strict=True):
        opt.step(params, g, state)
        assert_close(params, np.asarray(expected), RTOL)


@pytest.mark.parametrize("inner_state", ["keep", "reset"])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("rule", ["sgd_momentum", "adam", "adamw"])
def test_lookahead_follows_optax(rule, k, inner_state, rng):
    inner, steps = INNER[rule], 60
    opt = lnb.Lookahead(inner, sync_period=k, slow_step_size=0.3, inner_state=inner_state)
    params, gradients = problem(rng, steps, SIZE)
    transform = optax.lookahead(OPTAX[rule](inner.lr, inner), k, 0.3, reset_state=inner_state == "reset")
    theirs = optax_path(transform, optax.LookaheadParams.init_synced(jax.numpy.array(params)), gradients)
    state = opt.init(params)
    for g, expected in zip(gradients, theirs, strict=True):
        opt.step(params, g, state)
        assert_close(params, np.asarray(expected.fast), RTOL)
        assert_close(state.slow, np.asarray(expected.slow), RTOL)


# ----------------------------------------------------------------------------------------------------- schedules


def rates(schedule, steps):
    return [float(schedule(t)) for t in range(1, steps + 1)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lnb.schedules.constant(0.3), optax.constant_schedule(0.3)),
        (lnb.schedules.linear(0.3, 20), optax.linear_schedule(0.3, 0.0, 20)),
        (lnb.schedules.cosine(0.3, 20), optax.cosine_decay_schedule(0.3, 20)),
        (lnb.schedules.cosine(0.3, 20, warmup=5), optax.warmup_cosine_decay_schedule(0.0, 0.3, 5, 20)),
        (lnb.schedules.constant(0.3, warmup=5), optax.warmup_constant_schedule(0.0, 0.3, 5)),
    ],
    ids=["constant", "linear", "cosine", "warmup-cosine", "warmup-constant"],
)
def test_schedules_follow_optax(ours, theirs):
    assert rates(ours, 30) == pytest.approx(rates(theirs, 30), rel=RTOL, abs=0.3 * RTOL)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_schedules_follow_torch(kind):
    # torch reaches its first value before the first step and our step t after t of them
    steps = 20
    theirs = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler = {
        "linear": lambda: torch.optim.lr_scheduler.LinearLR(theirs, 1.0, 0.0, steps),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(theirs, steps),
    }[kind]()
    seen = []
    for _ in range(steps):
        theirs.step()
        scheduler.step()
        seen.append(scheduler.get_last_lr()[0])
    ours = getattr(lnb.schedules, kind)(0.3, steps)
    assert rates(ours, steps) == pytest.approx(seen, rel=RTOL, abs=0.3 * RTOL)


def test_a_tensor_on_the_cpu_is_refused_in_words():
    for tensor in (torch.zeros(3), torch.zeros(3, requires_grad=True)):
        with pytest.raises(TypeError, match="params must be a NumPy array or a CUDA array, got Tensor"):
            lnb.AdamW().init(tensor)


# --------------------------------------------------------------------------------------------------------- CartPole

OF_A_STEP = 2e-15  # an fma instead of two roundings of speeds up to 4, and an ulp of sine and cosine; measured 2.2e-16
OF_AN_EPISODE = 1e-12  # a falling pole multiplies such a rounding a few hundred times in 55 steps; measured 3.1e-15


def test_cartpole_is_that_of_gymnasium_for_1000_random_steps(rng):
    theirs, ours = gymnasium.make("CartPole-v1"), lnb.agents.CartPole(seed=11)
    theirs.reset(seed=0)
    theirs.unwrapped.state = tuple(ours.state)
    for action in rng.integers(0, 2, 1000):
        before = ours.state
        observation, reward, terminated, truncated, _ = theirs.step(int(action))
        assert ours.step(int(action)) == reward == 1
        assert np.abs(ours.state - theirs.unwrapped.state).max() <= OF_AN_EPISODE
        np.testing.assert_array_almost_equal_nulp(observation, ours.state.astype(np.float32), 1)
        assert (ours.failed, ours.ended) == (terminated, terminated or truncated)
        alone = gymnasium.make("CartPole-v1").unwrapped
        alone.reset(seed=0)
        alone.state = tuple(before)
        alone.step(int(action))
        assert np.abs(ours.state - alone.state).max() <= OF_A_STEP
        if ours.ended:
            theirs.reset(seed=0)
            theirs.unwrapped.state = tuple(ours.reset())


def test_cartpole_is_cut_where_gymnasium_cuts_it():
    theirs, ours = gymnasium.make("CartPole-v1"), lnb.agents.CartPole()
    theirs.reset(seed=0)
    theirs.unwrapped.state = tuple(ours.state)
    while not ours.ended:
        action = int(ours.state @ [0.02, 0.05, 1, 0.5] > 0)
        ours.step(action)
        _, _, terminated, truncated, _ = theirs.step(action)
        assert (ours.failed, ours.ended) == (terminated, terminated or truncated)
    assert ours.steps == 500
