"""CartPole, advantages and PPO stated once more, in NumPy float64: what the library has to agree with.

Do not import lookahead_nb here. Losses also take complex weights, for the complex step. A policy has hidden widths;
its flat buffer holds the network of the policy and then that of the value.
"""

from itertools import pairwise

import numpy as np

ACTIVATION = {
    "relu": lambda Z: np.where(Z.real > 0, Z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
}


def cartpole(state, action):
    """Return the state after one Euler step: Florian 2007, equations 23 and 24, without friction."""
    x, v, angle, spin = state
    m, M, length, g, dt = 0.1, 1.0, 0.5, 9.8, 0.02
    force = 10.0 if action == 1 else -10.0
    inner = (-force - m * length * spin**2 * np.sin(angle)) / (M + m)
    spin_dot = (g * np.sin(angle) + np.cos(angle) * inner) / (length * (4 / 3 - m * np.cos(angle) ** 2 / (M + m)))
    v_dot = (force + m * length * (spin**2 * np.sin(angle) - spin_dot * np.cos(angle))) / (M + m)
    return np.array([x + dt * v, v + dt * v_dot, angle + dt * spin, spin + dt * spin_dot])


def advantages(rewards, values, ended, last_value, discount, trace):
    """Return the advantages of one environment as explicit sums of the errors of the value, each up to its end."""
    following = np.append(values[1:], last_value) * (1 - np.asarray(ended, float))
    errors = rewards + discount * following - values
    found = []
    for t in range(len(errors)):
        end = next((i for i in range(t, len(errors)) if ended[i]), len(errors) - 1)
        found.append(sum((discount * trace) ** (i - t) * errors[i] for i in range(t, end + 1)))
    return np.array(found)


def chain(flat, X, widths, activation):
    """Return the outputs of one network and the rest of the buffer."""
    A = X
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        W, b, flat = np.split(flat, [fan_in * fan_out, (fan_in + 1) * fan_out])
        A = A @ W.reshape(fan_out, fan_in).T + b
        A = ACTIVATION[activation](A) if layer < len(widths) - 2 else A
    return A, flat


def outputs(flat, X, hidden, activation):
    """Return the log-probabilities of both actions, (rows, 2), and the values, (rows,)."""
    logits, rest = chain(flat, X, (4, *hidden, 2), activation)
    values, rest = chain(rest, X, (4, *hidden, 1), activation)
    assert rest.size == 0
    logits = logits - logits.real.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), values[:, 0]


def loss(flat, X, actions, old, advantage, targets, hidden, activation, clip, value_weight, entropy_weight):
    """Return the mean over rows of the clipped objective's negative, the squared error and the entropy."""
    log_p, values = outputs(flat, X, hidden, activation)
    ratio = np.exp(log_p[np.arange(len(X)), actions] - old)
    inside = np.where(ratio.real < 1 - clip, 1 - clip, np.where(ratio.real > 1 + clip, 1 + clip, ratio))
    objective = np.where((inside * advantage).real < (ratio * advantage).real, inside * advantage, ratio * advantage)
    entropy = -(np.exp(log_p) * log_p).sum(axis=1)
    return np.mean(value_weight * (values - targets) ** 2 / 2 - entropy_weight * entropy - objective)


def gradient(flat, *arguments):
    """Return the gradient of the loss by the complex step, one weight after another."""
    step, found = 1e-30, []
    for i in range(len(flat)):
        moved = np.array(flat, complex)
        moved[i] += step * 1j
        found.append(loss(moved, *arguments).imag / step)
    return np.array(found)


class Adam:
    """Adam of Kingma & Ba 2015 with a rate for each step."""

    def __init__(self, rates, eps):
        self.rates, self.eps, self.m, self.v, self.t = rates, eps, 0.0, 0.0, 0

    def __call__(self, p, g):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return p - self.rates[self.t - 1] * m / (np.sqrt(v) + self.eps)
