"""A sweep in JAX: ``vmap`` over ``lax.scan`` as one jitted function."""

import functools
import itertools

import jax
import numpy as np
from jax import numpy as jnp

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def _logits(layers, X, activation):
    A = X.T  # features x rows: a tenth quicker under vmap than rows x features
    for W, b in layers[:-1]:
        A = activation(W @ A + b[:, None])
    W, b = layers[-1]
    return (W @ A + b[:, None]).T


def _cross_entropy(logits, y):
    if logits.shape[1] == 1:  # two classes
        return (jax.nn.softplus(logits[:, 0]) - y * logits[:, 0]).mean()
    return (jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]).mean()


def _labels(logits):
    return (logits[:, 0] > 0).astype(jnp.int32) if logits.shape[1] == 1 else logits.argmax(axis=1)


class Jax:
    """A sweep as one jitted function, compiled for the problem."""

    def __init__(self, problem):
        inner = problem.configs[0].inner
        steps = np.arange(1, problem.steps + 1)
        table = {
            "t": steps.astype(np.int32),
            "step": 1 / (1 - inner.beta1 ** steps.astype(np.float64)),
            "root": 1 / np.sqrt(1 - inner.beta2 ** steps.astype(np.float64)),
        }
        table = {name: jnp.array(x, None if name == "t" else jnp.float32) for name, x in table.items()}
        data = jnp.array(problem.data.X_train), jnp.array(problem.data.y_train, jnp.int32)
        parts = [(jnp.array(X), jnp.array(y, jnp.int32)) for X, y in problem.parts]
        pick = {"lr": lambda o: o.inner.lr, "weight_decay": lambda o: o.inner.weight_decay,
                "size": lambda o: o.slow_step_size, "period": lambda o: o.sync_period}  # fmt: skip
        hyper = {name: jnp.array([get(opt) for opt in problem.configs]) for name, get in pick.items()}
        batches = [jnp.array(problem.batches(seed)) for seed in problem.seeds]
        several = len(problem.seeds) > 1
        self.problem, self.several = problem, several
        self.arguments = hyper, jnp.stack(batches) if several else batches[0], table, data, parts
        activation = ACTIVATIONS.get(problem.model.activation)
        one = functools.partial(_train, inner=inner, eval_steps=problem.eval_steps, activation=activation)
        everyone = jax.vmap(one, (0, 0, None, None, None, None))
        if several:
            everyone = jax.vmap(everyone, (0, None, 0, None, None, None))
        self.compiled = jax.jit(everyone, donate_argnums=0)

    def start(self):
        """Return the initial weights of all runs."""
        runs = len(self.problem.configs)
        each = [[(jnp.tile(W, (runs, 1, 1)), jnp.tile(b, (runs, 1))) for W, b in self.problem.layers(seed)]
                for seed in self.problem.seeds]  # fmt: skip
        return jax.tree.map(lambda *x: jnp.stack(x), *each) if self.several else each[0]

    def __call__(self):
        _, results = self.compiled(self.start(), *self.arguments)
        results = np.asarray(results)
        return results.swapaxes(0, 1) if self.several else results[:, None]


def _train(fast, hyper, batches, table, data, parts, *, inner, eval_steps, activation):
    """Train one run; return its weights and its results, (steps, 2, 6)."""
    X, y = data
    loss = jax.grad(lambda layers, rows: _cross_entropy(_logits(layers, X[rows], activation), y[rows]))

    def update(p, g, m, v, row):
        m = inner.beta1 * m + (1 - inner.beta1) * g
        v = inner.beta2 * v + (1 - inner.beta2) * g * g
        move = hyper["lr"] * row["step"] * m / (row["root"] * jnp.sqrt(v) + inner.eps)
        return p - (hyper["lr"] * hyper["weight_decay"] * p + move), m, v

    def step(carry, xs):
        fast, slow, m, v = carry
        rows, row = xs
        moved = jax.tree.map(functools.partial(update, row=row), fast, loss(fast, rows), m, v)
        reached, m, v = (jax.tree.map(lambda _, x, i=i: x[i], fast, moved) for i in range(3))
        syncs = row["t"] % hyper["period"] == 0
        slow = jax.tree.map(lambda s, p: jnp.where(syncs, s + hyper["size"] * (p - s), s), slow, reached)
        fast = jax.tree.map(lambda s, p: jnp.where(syncs, s, p), slow, reached)
        return (fast, slow, m, v), reached

    def evaluate(layers):
        found = []
        for X, y in parts:
            logits = _logits(layers, X, activation)
            found += [_cross_entropy(logits, y), (_labels(logits) == y).mean()]
        return jnp.stack(found)

    zeros = jax.tree.map(jnp.zeros_like, fast)
    carry, results = (fast, fast, zeros, zeros), [jnp.stack([evaluate(fast)] * 2)]
    for first, last in itertools.pairwise(eval_steps):
        part = jax.tree.map(lambda x, first=first, last=last: x[first : last - 1], (batches, table))
        carry, _ = jax.lax.scan(lambda carry, xs: (step(carry, xs)[0], None), carry, part)
        at = jax.tree.map(lambda x, last=last: x[last - 1], (batches, table))
        carry, reached = step(carry, at)
        results.append(jnp.stack([evaluate(reached), evaluate(carry[1])]))
    return carry[0], jnp.stack(results)
