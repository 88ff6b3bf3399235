"""The optimizers, schedules and the random stream once more, written from the papers in another style.

Whole NumPy arrays in float64, powers of beta instead of running products, Python integers instead of words. This file
imports NumPy only and never the package: it is worth something only as long as it is independent.
"""

from itertools import pairwise

import numpy as np

# ----------------------------------------------------------------------------------------------- inner rules
# rule(theta, g, state, lr, power, **settings) -> (theta, state); power(beta) is beta**t, or what a sync made of it.


def sgd(theta, g, state, lr, power, *, momentum, nesterov, weight_decay):
    """Sutskever et al. 2013, equations 1-4, in the variables of torch.optim.SGD."""
    d = g + weight_decay * theta
    if momentum == 0:
        return theta - lr * d, {}
    velocity = momentum * state["velocity"] + d
    direction = d + momentum * velocity if nesterov else velocity
    return theta - lr * direction, {"velocity": velocity}


def adagrad(theta, g, state, lr, power, *, eps, weight_decay):
    """Duchi, Hazan & Singer 2011, section 1.1, diagonal matrices."""
    d = g + weight_decay * theta
    total = state["square_sum"] + d**2
    return theta - lr * d / (total**0.5 + eps), {"square_sum": total}


def rmsprop(theta, g, state, lr, power, *, rho, eps, momentum, weight_decay):
    """Tieleman & Hinton 2012, lecture 6.5, slide 29; momentum as in torch.optim.RMSprop."""
    d = g + weight_decay * theta
    average = rho * state["square_average"] + (1 - rho) * d**2
    scaled = d / (average**0.5 + eps)
    if momentum == 0:
        return theta - lr * scaled, {"square_average": average}
    velocity = momentum * state["velocity"] + scaled
    return theta - lr * velocity, {"square_average": average, "velocity": velocity}


def _adam_direction(g, state, power, beta1, beta2, eps):
    m = beta1 * state["m"] + (1 - beta1) * g
    v = beta2 * state["v"] + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - power(beta1)), v / (1 - power(beta2))
    return m_hat / (v_hat**0.5 + eps), {"m": m, "v": v}


def adam(theta, g, state, lr, power, *, beta1, beta2, eps, weight_decay):
    """Kingma & Ba 2015, Algorithm 1, with the L2 penalty in the gradient."""
    direction, state = _adam_direction(g + weight_decay * theta, state, power, beta1, beta2, eps)
    return theta - lr * direction, state


def adamw(theta, g, state, lr, power, *, beta1, beta2, eps, weight_decay):
    """Loshchilov & Hutter 2019, Algorithm 2, with alpha = lr for the decay too."""
    direction, state = _adam_direction(g, state, power, beta1, beta2, eps)
    return theta - lr * (direction + weight_decay * theta), state


def schedule_free_adamw(y, g, state, lr, power, *, beta1, beta2, eps, weight_decay):
    """Defazio et al. 2024, Algorithm 1, all three sequences kept, the root of v corrected as in Adam."""
    v = beta2 * state["v"] + (1 - beta2) * g**2
    z = state["z"] - lr * (g / ((v / (1 - power(beta2))) ** 0.5 + eps) + weight_decay * y)
    squares = state["squares"] + lr**2
    c = lr**2 / squares if lr else 0.0
    x = (1 - c) * state["x"] + c * z
    return (1 - beta1) * z + beta1 * x, {"z": z, "v": v, "x": x, "squares": squares}


RULES = {
    "SGD": sgd,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adam": adam,
    "AdamW": adamw,
    "ScheduleFreeAdamW": schedule_free_adamw,
}
SLOTS = ("velocity", "square_sum", "square_average", "m", "v")


def start_state(theta):
    """All slots of all rules at zero, the sequences of Schedule-Free at theta."""
    return {name: np.zeros_like(theta) for name in SLOTS} | {"z": theta, "x": theta, "squares": 0.0}


# ------------------------------------------------------------------------------------------------- Lookahead


def power_after(beta, steps, since, k, inner_state):
    """The power of beta after syncs with these slow steps and so many steps since the last one.

    A sync multiplies an interpolated power by ``1 - a + a*beta**k``: a of it went on by k steps, the rest stayed.
    """
    if inner_state == "keep":
        return beta ** (len(steps) * k + since)
    if inner_state == "reset":
        return beta**since
    return np.prod([1 - a + a * beta**k for a in steps]) * beta**since


def optimal_step(before, fast, slow, g, v_hat, lr, eps, lowest):
    """Zhang et al. 2019, proposition 1, for A = diag(sqrt(v_hat) + eps)/lr and the minimum that this A foretells."""
    A = np.diag(v_hat**0.5 + eps) / lr
    minimum = before - np.linalg.solve(A, g)
    step = (slow - minimum) @ A @ (slow - fast) / ((slow - fast) @ A @ (slow - fast))
    return round(float(np.clip(step, lowest, 1)), 6)


def lookahead(
    rule,
    theta,
    gradients,
    lrs,
    *,
    sync_period,
    slow_step_size,
    inner_state,
    pull_back,
    settings,
    lowest=None,
    outer_momentum=0.0,
    outer_nesterov=False,
    weight_decays=None,
):
    """Zhang et al. 2019, Algorithm 1: yield (fast, slow, state, power) after every step, power a function of beta.

    weight_decays : one for each step, where they take the place of that in settings.
    slow_step_size : a number, or some in turn; of no importance with ``lowest``, which asks for the optimal ones.
    outer_momentum : Douillard et al. 2023, Algorithm 1: SGD on slow - fast takes the place of the interpolation.
    """
    k, taken, given = sync_period, [], np.atleast_1d(slow_step_size)
    outer, outer_state = {"momentum": outer_momentum, "nesterov": outer_nesterov, "weight_decay": 0}, {"velocity": 0}
    fast = slow = np.array(theta, np.float64)
    state = anchor = start_state(fast)
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), 1):

        def power(beta, t=t):
            return power_after(beta, taken[: (t - 1) // k], (t - 1) % k + 1, k, inner_state)

        before, now = fast, settings if weight_decays is None else {**settings, "weight_decay": weight_decays[t - 1]}
        fast, state = RULES[rule](fast, np.asarray(g, np.float64), state, lr, power, **now)
        if t % k == 0:
            a = given[len(taken) % len(given)]
            if lowest:
                v_hat = state["v"] / (1 - power(settings["beta2"]))
                a = optimal_step(before, fast, slow, g, v_hat, lr, settings["eps"], lowest)
            taken.append(a)
            slow, outer_state = sgd(slow, slow - fast, outer_state, a, power, **outer)
            fast = slow if pull_back else fast
            if inner_state == "reset":
                state = start_state(fast)
            if inner_state == "interpolate":
                state = anchor = {name: anchor[name] + a * (slot - anchor[name]) for name, slot in state.items()}
        yield fast, slow, state, lambda beta, t=t: power_after(beta, taken[: t // k], t % k, k, inner_state)


def average(path, decay):
    """The mean of the first t points of a path, point i weighted by decay**(t - i), for t = 1, 2, ..."""
    path = np.asarray(path, np.float64)
    for t in range(1, len(path) + 1):
        yield np.average(path[:t], axis=0, weights=float(decay) ** np.arange(t - 1, -1, -1.0))


def plain(rule, theta, gradients, lrs, settings, weight_decays=None):
    """The inner rule alone: yield (theta, state, power) after every step."""
    never = {"sync_period": len(lrs) + 1, "slow_step_size": 1.0, "inner_state": "keep", "pull_back": True}
    how = never | {"settings": settings, "weight_decays": weight_decays}
    for fast, _, state, power in lookahead(rule, theta, gradients, lrs, **how):
        yield fast, state, power


def decay_in_lumps(decays, least, sync_period=0, slow_step_size=1.0, outer_momentum=0.0, outer_nesterov=False):
    """Yield (applied, pending, synced) of each step: small decays wait until they add up to ``least``.

    A weight without gradient decays twice over, at once and by what has been applied. What is pending on it, and on its
    slow copy, is the gap as a share of the weight.
    """
    sizes, syncs = np.atleast_1d(slow_step_size), 0
    exact = exact_slow = lumped = lumped_slow = 1.0
    exact_state = lumped_state = {"velocity": 0.0}
    outer = {"momentum": outer_momentum, "nesterov": outer_nesterov, "weight_decay": 0}
    for t, decay in enumerate(decays, 1):
        exact, applied = exact * (1 - decay), 0.0
        if 1 - exact / lumped >= least:
            applied, lumped = 1 - exact / lumped, exact
        if sync_period and t % sync_period == 0:
            a = sizes[syncs % len(sizes)]
            exact, exact_state = sgd(exact_slow, exact_slow - exact, exact_state, a, None, **outer)
            lumped, lumped_state = sgd(lumped_slow, lumped_slow - lumped, lumped_state, a, None, **outer)
            exact_slow, lumped_slow = exact, lumped
            syncs += 1
        yield applied, 1 - exact / lumped, 1 - exact_slow / lumped_slow


# ------------------------------------------------------------------------------------------------- schedules


def clipped(g, most):
    """Pascanu, Mikolov & Bengio 2013, Algorithm 1, for the norm over all elements."""
    g = np.asarray(g, np.float64)
    norm = np.sqrt(np.sum(g**2))
    return most / norm * g if norm > most else g


def schedule(kind, peak, steps, warmup, t, decay_steps=None):
    """The learning rates of the steps t, an array."""
    t = np.asarray(t, np.float64)
    if kind == "constant":
        falling = np.ones_like(t)
    else:
        length = steps - warmup if decay_steps is None else decay_steps
        done = np.clip(1 - (steps - t) / length, 0, 1)
        falling = 1 - done if kind == "linear" else np.cos(np.pi * done / 2) ** 2  # (1 + cos x)/2 = cos(x/2)**2
    return peak * np.where(t < warmup, t / max(warmup, 1), falling)


def rates_with_restarts(peak, period, factor, warmup, count):
    """Loshchilov & Hutter 2017, equation 5 with a minimum of 0: the rates of the first steps, cycle by cycle."""
    rates = [peak * t / warmup for t in range(1, warmup + 1)]
    while len(rates) < count:
        current = np.arange(period)  # steps since the restart
        rates += [*(0.5 * peak * (1 + np.cos(np.pi * current / period)))]
        period *= factor
    return np.array(rates[:count])


# --------------------------------------------------------------------------------------------- random stream


def philox(counter, key, rounds=10):
    """Salmon et al. 2011, section 4.3: four words from a counter of four words and a key of two."""
    x, (k0, k1) = list(counter), key
    for r in range(rounds):
        a, b = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        keys = (k0 + r * 0x9E3779B9) % 2**32, (k1 + r * 0xBB67AE85) % 2**32
        x = [b // 2**32 ^ x[1] ^ keys[0], b % 2**32, a // 2**32 ^ x[3] ^ keys[1], a % 2**32]
    return x


def _hash(half, key):
    h = (half + key) * 0x9E3779B1 % 2**32
    h = (h ^ h >> 15) * 0x85EBCA6B % 2**32
    return h ^ h >> 13


def order(n, seed, epoch, stream):
    """The row indices 0..n-1 in the order of one epoch: an eight-round Feistel network, walked back into range."""
    bits = max(8, (n - 1).bit_length())
    left_bits = bits // 2
    right_bits = bits - left_bits
    words = [philox((epoch % 2**32, epoch >> 32, part, stream), (seed % 2**32, seed >> 32)) for part in (0, 1)]
    keys = [*words[0], *words[1]]

    def image(x):
        left, right = divmod(x, 2**right_bits)
        for even, odd in zip(keys[0::2], keys[1::2], strict=True):
            left ^= _hash(right, even) % 2**left_bits
            right ^= _hash(left, odd) % 2**right_bits
        x = left * 2**right_bits + right
        return x if x < n else image(x)

    return [image(x) for x in range(n)]


def minibatches(n, batch_size, seed, epochs):
    """The batches of the first epochs, the last partial batch of each dropped."""
    for epoch in range(epochs):
        rows = order(n, seed, epoch, stream=1)
        edges = range(0, n + 1, batch_size)
        yield from (rows[low:high] for low, high in pairwise(edges))


# ---------------------------------------------------------------------------------------------------------------- games


def play_bilinear(
    matrix, a, b, start, *, steps, moves, lr, momentum, sync_period=None, slow_step_size=None, inner_state="keep"
):
    """Chavdarova et al. 2021, Algorithm 1: min over x, max over y of x'My + a'x + b'y, both pulled back together.

    moves : how the gradients are taken. Korpelevich 1976 (extragradient: at the point where a step would lead, one with
    the momentum so far), Daskalakis et al. 2018 (optimistic: 2 g_t - g_(t-1)), Gidel et al. 2019 (alternating: player 2
    meets the moved x).
    """
    x, y = (np.array(part, float) for part in np.split(np.asarray(start), [len(a)]))
    u, v = np.zeros_like(x), np.zeros_like(y)
    slow = x, y, u, v
    past = None
    for t in range(1, steps + 1):
        gx, gy = matrix @ y + a, -(matrix.T @ x + b)
        dx, dy = gx, gy
        if moves == "optimistic" and past is not None:
            dx, dy = 2 * gx - past[0], 2 * gy - past[1]
        if moves == "extragradient":
            trial_x, trial_y = x - lr * (momentum * u + gx), y - lr * (momentum * v + gy)
            dx, dy = matrix @ trial_y + a, -(matrix.T @ trial_x + b)
        past = gx, gy
        u = momentum * u + dx
        x = x - lr * u
        if moves == "alternating":
            dy = -(matrix.T @ x + b)
        v = momentum * v + dy
        y = y - lr * v
        if sync_period and t % sync_period == 0:
            x, y = (old + slow_step_size * (new - old) for old, new in zip(slow, (x, y), strict=False))
            if inner_state == "reset":
                u, v = 0 * u, 0 * v
            elif inner_state == "interpolate":
                u, v = (old + slow_step_size * (new - old) for old, new in zip(slow[2:], (u, v), strict=True))
            slow = x, y, u, v
    return np.concatenate([x, y])


# --------------------------------------------------------------------------------------------------- problems


def finite_sum_quadratic(theta, X, Q):
    """The mean over rows of 0.5 (theta - x)' Q (theta - x), row by row, and Q (theta - mean of the rows)."""
    total = sum(0.5 * float((theta - x) @ Q @ (theta - x)) for x in X)
    return total / len(X), Q @ (theta - X.mean(axis=0))


# ------------------------------------------------------------------------------------------- variance components


def nested_anova(y):
    """Searle, Casella & McCulloch 1992, section 4: split in draw, choice and seed crossed in a split, all random.

    y has the axes draw, split, choice, seed. Mean squares are solved for the variances from the last to the first.
    """
    draws, splits, choices, seeds = y.shape
    cell, draw = y.mean((2, 3)), y.mean((1, 2, 3))
    between_draws = splits * choices * seeds * np.sum((draw - y.mean()) ** 2) / (draws - 1)
    between_splits = choices * seeds * np.sum((cell - draw[:, None]) ** 2) / (draws * (splits - 1))
    choice, seed = y.mean(3) - cell[..., None], y.mean(2) - cell[..., None]
    between_choices = seeds * np.sum(choice**2) / (draws * splits * (choices - 1))
    between_seeds = choices * np.sum(seed**2) / (draws * splits * (seeds - 1))
    rest = y - cell[..., None, None] - choice[..., None] - seed[..., None, :]
    interaction = np.sum(rest**2) / (draws * splits * (choices - 1) * (seeds - 1))
    noise_of_cells = between_choices + between_seeds - interaction
    return {
        "draw": (between_draws - between_splits) / (splits * choices * seeds),
        "split": (between_splits - noise_of_cells) / (choices * seeds),
        "tuning": (between_choices - interaction) / seeds,
        "seed": (between_seeds - interaction) / choices,
        "interaction": interaction,
    }
