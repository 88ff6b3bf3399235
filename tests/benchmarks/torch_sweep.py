"""A sweep in PyTorch: one run after another."""

import torch
from torch.nn.functional import cross_entropy, linear, relu


class Torch:
    """Runs of a sweep one after another, on so many threads."""

    def __init__(self, problem, threads):
        self.problem, self.threads = problem, threads
        self.X, self.y = (torch.tensor(x) for x in (problem.data.X_train, problem.data.y_train))
        self.parts = [(torch.tensor(X), torch.tensor(y)) for X, y in problem.parts]
        self.batches = {seed: list(torch.from_numpy(problem.batches(seed))) for seed in problem.seeds}

    def run(self, opt, seed):
        """Train one run; return its results, (steps, 2, 6)."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return self._run(opt, seed)
        finally:
            torch.set_num_threads(before)

    def _run(self, opt, seed):
        inner = opt.inner
        fast = [torch.from_numpy(x.copy()).requires_grad_() for layer in self.problem.layers(seed) for x in layer]
        slow = [p.detach().clone() for p in fast]
        moved = [p.data for p in fast]
        adamw = torch.optim.AdamW(fast, inner.lr, (inner.beta1, inner.beta2), inner.eps, inner.weight_decay, fused=True)
        results = [torch.stack([self._evaluated(fast)] * 2)]
        for t, rows in enumerate(self.batches[seed], 1):
            loss = cross_entropy(self._logits(fast, self.X[rows]), self.y[rows])
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

    @staticmethod
    def _logits(layers, X):
        for W, b in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            X = relu(linear(X, W, b))
        return linear(X, layers[-2], layers[-1])

    @torch.no_grad()
    def _evaluated(self, layers):
        found = []
        for X, y in self.parts:
            logits = self._logits(layers, X)
            found += [cross_entropy(logits, y), (logits.argmax(1) == y).float().mean()]
        return torch.stack(found)
