"""Dense networks and their training stated once more, in NumPy float64: what the library has to agree with.

Do not import lookahead_nb here. The style is another on purpose: matrix algebra with rows in rows, slopes taken from
what goes into an activation, two classes as a softmax over the logits (0, z). A network is described by its widths
(features, hidden ..., classes). Losses also take complex weights, for the complex step: nothing in them conjugates or
takes an absolute value.
"""

import math

import numpy as np

ACTIVATION = {
    "relu": lambda Z: np.where(Z.real > 0, Z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
}
DERIVATIVE = {
    "relu": lambda Z: np.where(Z > 0, 1.0, 0.0),
    "tanh": lambda Z: 1 / np.cosh(Z) ** 2,
    "sigmoid": lambda Z: np.exp(-abs(Z)) / (1 + np.exp(-abs(Z))) ** 2,
}


def layers(flat, widths, classes=True):
    """Return [(W, b), ...] of a flat buffer, W with one row for each output; two classes share one."""
    outputs = [*widths[1:-1], 1 if classes and widths[-1] == 2 else widths[-1]]
    found, rest = [], np.asarray(flat)
    for fan_in, fan_out in zip(widths[:-1], outputs, strict=True):
        W, b, rest = np.split(rest, [fan_in * fan_out, (fan_in + 1) * fan_out])
        found.append((W.reshape(fan_out, fan_in), b))
    assert rest.size == 0
    return found


def passes(flat, X, widths, activation, classes=True):
    """Return (inputs of each layer, outputs of each layer before the activation), the last with a column per class."""
    A, inputs, outputs = np.asarray(X, float), [], []
    for W, b in layers(flat, widths, classes):
        inputs.append(A)
        outputs.append(A @ W.T + b)
        A = ACTIVATION[activation](outputs[-1])
    if classes and widths[-1] == 2:
        outputs[-1] = np.hstack([np.zeros_like(outputs[-1]), outputs[-1]])
    return inputs, outputs


def loss(flat, X, y, widths, activation="relu", l2=0.0, weights=None):
    """Return the mean cross-entropy, weighted by row, plus half of l2 times the sum of all squared W."""
    Z = passes(flat, X, widths, activation)[1][-1]
    Z = Z - Z.real.max(axis=1, keepdims=True)
    entropy = np.log(np.exp(Z).sum(axis=1)) - Z[np.arange(len(Z)), y]
    return np.average(entropy, weights=weights) + l2 / 2 * sum((W**2).sum() for W, _ in layers(flat, widths))


def probabilities(flat, X, widths, activation="relu"):
    """Return P (rows, classes)."""
    Z = passes(flat, X, widths, activation)[1][-1]
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def accuracy(flat, X, y, widths, activation="relu"):
    """Return the share of rows whose most probable class is y."""
    return float(np.mean(probabilities(flat, X, widths, activation).argmax(axis=1) == y))


def gradient(flat, X, y, widths, activation="relu", l2=0.0, weights=None):
    """Return the gradient of the loss as a flat array."""
    errors = probabilities(flat, X, widths, activation) - np.eye(widths[-1])[y]
    errors = errors[:, 1:] if widths[-1] == 2 else errors
    return backward(errors, flat, X, widths, activation, l2, weights)


def backward(errors, flat, X, widths, activation, l2=0.0, weights=None, classes=True):
    """Return a gradient from the errors of the outputs: D^T A, then D W times the slope, from the last layer down."""
    inputs, outputs = passes(flat, X, widths, activation, classes)
    w = np.ones(len(errors)) if weights is None else np.asarray(weights, float)
    D, pieces = errors * (w / w.sum())[:, None], []
    for layer, (W, _) in reversed(list(enumerate(layers(flat, widths, classes)))):
        pieces = [(D.T @ inputs[layer] + l2 * W).ravel(), D.sum(axis=0), *pieces]
        if layer:
            D = (D @ W) * DERIVATIVE[activation](outputs[layer - 1])
    return np.concatenate(pieces)


def squared_loss(flat, X, targets, widths, activation="relu", weights=None):
    """Return the mean over rows, weighted, of half the squared distance between outputs and targets."""
    distance = passes(flat, X, widths, activation, classes=False)[1][-1] - targets
    return np.average((distance**2).sum(axis=1), weights=weights) / 2


def squared_gradient(flat, X, targets, widths, activation="relu", weights=None):
    """Return the gradient of the squared loss as a flat array."""
    errors = passes(flat, X, widths, activation, classes=False)[1][-1] - targets
    return backward(errors, flat, X, widths, activation, weights=weights, classes=False)


def magnitude(flat, X, widths, activation="relu"):
    """Return the sum of the sizes of all terms behind each element of the gradient, which bounds what rounding can do.

    Every product and sum of :func:`gradient` once more with absolute values; an error of the logits counts by its size.
    """
    A, inputs = abs(np.asarray(X, float)), []
    for W, b in layers(flat, widths):
        inputs.append(A)
        Z = A @ abs(W).T + abs(b)
        A = Z if activation == "relu" else np.minimum(Z, 1) if activation == "tanh" else np.ones_like(Z)
    D = (1 + Z.sum(axis=1, keepdims=True) + np.zeros_like(Z)) / len(Z)
    pieces = []
    for layer, (W, _) in reversed(list(enumerate(layers(flat, widths)))):
        pieces = [(D.T @ inputs[layer]).ravel(), D.sum(axis=0), *pieces]
        D = D @ abs(W)
    return np.concatenate(pieces)


def kinks(flat, X, widths):
    """Return which hidden units of a relu network are on, one flat array over layers, rows and units."""
    outputs = passes(flat, X, widths, "relu")[1][:-1]
    return np.concatenate([np.empty(0, bool), *(Z.ravel() > 0 for Z in outputs)])


def adamw(lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2):
    """Return AdamW as a function ``update(p, g) -> p`` with a memory (Loshchilov & Hutter 2019, PyTorch's scale)."""
    memory = {"m": 0.0, "v": 0.0, "t": 0}

    def update(p, g):
        memory["t"] += 1
        memory["m"] = beta1 * memory["m"] + (1 - beta1) * g
        memory["v"] = beta2 * memory["v"] + (1 - beta2) * g**2
        m_hat, v_hat = memory["m"] / (1 - beta1 ** memory["t"]), memory["v"] / (1 - beta2 ** memory["t"])
        return p - lr * m_hat / (np.sqrt(v_hat) + eps) - lr * weight_decay * p

    return update


def train(start, X, y, widths, activation, update, batches, *, k=math.inf, step_size=0.5, l2=0.0, pull_back=True):
    """Yield (fast weights before the pull, slow weights after it) after each minibatch; k = inf never syncs."""
    fast, slow = np.array(start, float), np.array(start, float)
    for t, rows in enumerate(batches, 1):
        fast = update(fast, gradient(fast, X[rows], y[rows], widths, activation, l2))
        before = fast
        if t % k == 0:
            slow = slow + step_size * (fast - slow)
            fast = slow if pull_back else fast
        yield before, slow


def adversarial_losses(generator, critic, real, noise, widths, critic_widths, activation):
    """Return the loss of a generator, which does not saturate, and that of a critic (Goodfellow et al. 2014)."""
    made = passes(generator, noise, widths, activation, classes=False)[1][-1]
    judge = {"widths": [*critic_widths[:-1], 2], "activation": activation}
    fooled = loss(critic, made, np.ones(len(made), int), **judge)
    told = loss(critic, real, np.ones(len(real), int), **judge) + loss(critic, made, np.zeros(len(made), int), **judge)
    return fooled, told


def adversarial_gradients(generator, critic, real, noise, widths, critic_widths, activation):
    """Return the gradients of both losses, each with respect to its own weights."""
    made = passes(generator, noise, widths, activation, classes=False)[1][-1]
    judge = {"widths": [*critic_widths[:-1], 2], "activation": activation}
    told = [gradient(critic, rows, np.full(len(rows), label), **judge) for rows, label in ((real, 1), (made, 0))]
    D = probabilities(critic, made, **judge)[:, 1:] - 1
    before = [None, *passes(critic, made, **judge)[1]]
    for layer, (W, _) in reversed(list(enumerate(layers(critic, judge["widths"])))):
        D = (D @ W) * (DERIVATIVE[activation](before[layer]) if layer else 1)
    return backward(D, generator, noise, widths, activation, classes=False), sum(told)
