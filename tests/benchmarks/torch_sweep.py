"""A sweep in PyTorch: one run after another, or all of them at once by ``torch.func.vmap`` over stacked weights."""

import functools
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear, relu

ACTIVATIONS = {"relu": relu, "tanh": torch.tanh}


def _logits(layers, X, activation):
    for W, b in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        X = activation(linear(X, W, b))
    return linear(X, layers[-2], layers[-1])


def _mean_loss(logits, y):
    if logits.shape[1] == 1:  # two classes
        return binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype))
    return cross_entropy(logits, y)


def _loss_and_accuracy(logits, y):
    labels = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)
    return [_mean_loss(logits, y), (labels == y).float().mean()]


@contextmanager
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Torch:
    """Runs of a sweep one after another, on so many threads."""

    def __init__(self, problem, threads):
        self.problem, self.threads, self.activation = problem, threads, ACTIVATIONS.get(problem.model.activation)
        self.X, self.y = (torch.tensor(x) for x in (problem.data.X_train, problem.data.y_train))
        self.parts = [(torch.tensor(X), torch.tensor(y)) for X, y in problem.parts]
        self.batches = {seed: list(torch.from_numpy(problem.batches(seed))) for seed in problem.seeds}

    def run(self, opt, seed):
        """Train one run; return its results, (steps, 2, 6)."""
        with _threads(self.threads):
            return self._run(opt, seed)

    def _run(self, opt, seed):
        inner = opt.inner
        fast = [torch.from_numpy(x.copy()).requires_grad_() for layer in self.problem.layers(seed) for x in layer]
        slow = [p.detach().clone() for p in fast]
        moved = [p.data for p in fast]
        adamw = torch.optim.AdamW(fast, inner.lr, (inner.beta1, inner.beta2), inner.eps, inner.weight_decay, fused=True)
        results = [torch.stack([self._evaluated(fast)] * 2)]
        for t, rows in enumerate(self.batches[seed], 1):
            loss = _mean_loss(_logits(fast, self.X[rows], self.activation), self.y[rows])
            adamw.zero_grad()
            loss.backward()
            adamw.step()
            looks = t in self.problem.eval_steps
            reached = self._evaluated(fast) if looks else None
            if t % opt.sync_period == 0:
                torch._foreach_lerp_(slow, moved, opt.slow_step_size)
                torch._foreach_copy_(moved, slow)
            if looks:
                results.append(torch.stack([reached, self._evaluated(slow)]))
        return torch.stack(results).numpy()

    @torch.no_grad()
    def _evaluated(self, layers):
        found = []
        for X, y in self.parts:
            logits = _logits(layers, X, self.activation)
            found += _loss_and_accuracy(logits, y)
        return torch.stack(found)


class TorchVmap:
    """A sweep as one run of stacked weights: ``vmap`` of the gradient over settings and, around it, over seeds.

    The update is in ``torch._foreach``, with the settings of each run as a factor: ``torch.optim`` knows one setting.
    """

    def __init__(self, problem, threads):
        self.problem, self.threads, self.activation = problem, threads, ACTIVATIONS.get(problem.model.activation)
        self.X, self.y = (torch.tensor(x) for x in (problem.data.X_train, problem.data.y_train))
        self.parts = [(torch.tensor(X), torch.tensor(y)) for X, y in problem.parts]
        self.batches = torch.from_numpy(np.stack([problem.batches(seed) for seed in problem.seeds]))
        self.start = [
            torch.from_numpy(np.stack(arrays)) for arrays in zip(*map(self._initial, problem.seeds), strict=True)
        ]
        grad = torch.func.vmap(torch.func.grad(self._loss), in_dims=(0, None, None))
        self.gradient = torch.func.vmap(grad, in_dims=(0, 0, 0))
        evaluate = functools.partial(torch.func.vmap, in_dims=(0, None, None))
        self.evaluate = evaluate(evaluate(self._measured))

    def _initial(self, seed):
        """Return the weights of all settings of a seed, (settings, ...) each."""
        flat = [x for layer in self.problem.layers(seed) for x in layer]
        return [np.repeat(x[None], len(self.problem.configs), axis=0) for x in flat]

    def _loss(self, layers, X, y):
        return _mean_loss(_logits(layers, X, self.activation), y)

    def _measured(self, layers, X, y):
        logits = _logits(layers, X, self.activation)
        return torch.stack(_loss_and_accuracy(logits, y))

    def _by_setting(self, values, like):
        """Return one number for each setting, shaped to be multiplied with each of the stacked arrays."""
        column = torch.tensor(values, dtype=torch.float32)
        return [column.reshape(1, -1, *[1] * (array.ndim - 2)) for array in like]

    def _evaluated(self, layers):
        return torch.cat([self.evaluate(layers, X, y) for X, y in self.parts], dim=-1)

    def __call__(self):
        """Return the results of all runs, (settings, seeds, steps, 2, 6)."""
        with _threads(self.threads), torch.no_grad():
            return torch.stack(self._run()).permute(3, 2, 0, 1, 4).numpy()

    def _run(self):
        configs, inner = self.problem.configs, self.problem.configs[0].inner
        fast, slow = ([x.clone() for x in self.start] for _ in range(2))
        m, v = ([torch.zeros_like(x) for x in self.start] for _ in range(2))
        rates = self._by_setting([-opt.inner.lr for opt in configs], fast)
        keeps = self._by_setting([1 - opt.inner.lr * opt.inner.weight_decay for opt in configs], fast)
        results = [torch.stack([self._evaluated(fast)] * 2)]
        for t in range(1, self.problem.steps + 1):
            rows = self.batches[:, t - 1]
            grads = self.gradient(fast, self.X[rows], self.y[rows])
            torch._foreach_lerp_(m, grads, 1 - inner.beta1)
            torch._foreach_mul_(v, inner.beta2)
            torch._foreach_addcmul_(v, grads, grads, 1 - inner.beta2)
            bottom = torch._foreach_sqrt(v)
            torch._foreach_div_(bottom, (1 - inner.beta2**t) ** 0.5)
            torch._foreach_add_(bottom, inner.eps)
            torch._foreach_mul_(fast, keeps)
            torch._foreach_mul_(bottom, 1 - inner.beta1**t)
            torch._foreach_addcmul_(fast, torch._foreach_div(m, bottom), rates)
            looks = t in self.problem.eval_steps
            reached = self._evaluated(fast) if looks else None
            sizes = [opt.slow_step_size if t % opt.sync_period == 0 else 0.0 for opt in configs]
            if any(sizes):
                torch._foreach_addcmul_(slow, torch._foreach_sub(fast, slow), self._by_setting(sizes, fast))
                syncs = self._by_setting([float(size > 0) for size in sizes], fast)
                fast = [torch.where(now > 0, s, f) for now, s, f in zip(syncs, slow, fast, strict=True)]
            if looks:
                results.append(torch.stack([reached, self._evaluated(slow)]))
        return results
