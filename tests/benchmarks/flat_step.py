"""One step of AdamW, with and without Lookahead, over a flat float32 buffer: ours, PyTorch, optax, and the memory.

Everybody gets the same weights and gradient, the same settings and ``sync_period`` 5, and steps in place. PyTorch sees
one flat tensor with its gradient already there, in every form it offers, each on one thread and on all; the quickest
counts. optax is one jitted function with donated buffers, waited for only at the end of a round. The limit of the
machine is a pass that reads the same four arrays and writes the same three, with one addition each.
"""

import functools

import numpy as np
from numba import get_num_threads, njit, prange

import lookahead_nb as lnb
from tests.benchmarks.measure import QUICK, Rival, alternate, best, frame_of, markdown, publish, ratio, significant

PERIOD, STEP = 5, 0.5
INNER = lnb.AdamW(lr=1e-3, weight_decay=1e-2)
LOOKAHEAD = lnb.Lookahead(INNER, sync_period=PERIOD, slow_step_size=STEP)
SETTINGS = {"lr": INNER.lr, "weight_decay": INNER.weight_decay, "eps": INNER.eps}
AGREEMENT = 1e-5  # per weight after some steps, relative to 1; each rounds its constants in its own way, 1e-6 was seen
BYTES = 28  # per float32 weight: read p, g, m, v; write p, m, v
CACHES = 2**28  # bytes no cache holds; below, a pass says little about memory
SYNC_BYTES = 8  # read and write the slow weights, once in PERIOD steps
ADAMW, OURS, CHECKING = Rival("AdamW", "ours"), Rival("Lookahead", "ours"), Rival("Lookahead", "ours", "checking")
OPTAX, MEMORY = Rival("Lookahead", "optax"), Rival(None, "memory")


class Ours:
    """Our optimizer on NumPy arrays, or on those that `place` makes of them; sync : waits until all steps are done."""

    def __init__(self, params, grad, opt, check_finite=False, place=np.copy, sync=lambda: None):
        self.params, self.grad, self.opt, self.check_finite = place(params), place(grad), opt, check_finite
        self.state, self.sync = opt.init(self.params), sync

    def step(self):
        self.opt.step(self.params, self.grad, self.state, check_finite=self.check_finite)

    def weights(self):
        return self.params if isinstance(self.params, np.ndarray) else self.params.copy_to_host()


class Torch:
    """``torch.optim.AdamW``, and a Lookahead in two lines of ``torch._foreach``; on so many threads, or on a GPU."""

    def __init__(self, params, grad, lookahead, threads, device="cpu", **form):
        import torch

        self.torch = torch
        self.params, self.threads, self.t = torch.from_numpy(params.copy()).to(device), threads, 0
        self.params.grad = torch.from_numpy(grad).to(device)
        self.slow = [self.params.clone()] if lookahead else []
        self.inner = torch.optim.AdamW([self.params], betas=(INNER.beta1, INNER.beta2), **SETTINGS, **form)

    def step(self):
        self.inner.step()
        self.t += 1
        if self.slow and self.t % PERIOD == 0:
            self.torch._foreach_lerp_(self.slow, [self.params], STEP)
            self.torch._foreach_copy_([self.params], self.slow)

    def sync(self):
        if self.params.is_cuda:
            self.torch.cuda.synchronize()

    def weights(self):
        return self.params.cpu().numpy()


class Optax:
    """``optax.adamw``, or ``optax.lookahead`` around it, as one jitted function whose buffers are donated."""

    def __init__(self, params, grad, lookahead):
        import jax
        import optax

        inner = optax.adamw(INNER.lr, INNER.beta1, INNER.beta2, INNER.eps, weight_decay=INNER.weight_decay)
        rule = optax.lookahead(inner, PERIOD, STEP) if lookahead else inner
        self.grad, self.lookahead = jax.numpy.array(grad), lookahead
        start = jax.numpy.array(params)
        self.params = optax.LookaheadParams(start, start.copy()) if lookahead else start
        self.state = rule.init(self.params)

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(params, state, grad):
            updates, state = rule.update(grad, state, params)
            return optax.apply_updates(params, updates), state

        self.compiled, self.wait = step, jax.block_until_ready

    def step(self):
        self.params, self.state = self.compiled(self.params, self.state, self.grad)

    def sync(self):
        self.wait(self.params)

    def weights(self):
        return np.asarray(self.params.fast if self.lookahead else self.params)


@njit(parallel=True, fastmath={"contract"})
def in_place(p, g, m, v):
    """Read four arrays and write three: the traffic of AdamW, with as little arithmetic as there can be."""
    for i in prange(p.size):
        p[i] += g[i]
        m[i] += g[i]
        v[i] += g[i]


class Memory:
    """The in-place pass over the arrays of AdamW."""

    def __init__(self, params, grad):
        self.arrays = params.copy(), grad, np.zeros_like(params), np.zeros_like(params)

    def step(self):
        in_place(*self.arrays)

    def sync(self):
        """Every pass is over when it returns."""


def rivals(params, grad):
    """Return rival -> what takes its steps, ready for the first."""
    import torch

    made = {
        ADAMW: Ours(params, grad, INNER),
        OURS: Ours(params, grad, LOOKAHEAD),
        CHECKING: Ours(params, grad, LOOKAHEAD, check_finite=True),
        Rival("AdamW", "optax"): Optax(params, grad, False),
        OPTAX: Optax(params, grad, True),
    }
    for form in ("fused", "foreach"):
        for threads in sorted({1, torch.get_num_threads()}):
            for what in ("AdamW", "Lookahead"):
                stepper = Torch(params, grad, what == "Lookahead", threads, **{form: True})
                made[Rival(what, "torch", form, threads)] = stepper
    return made


def difference(made):
    """Take all rivals through two syncs and a step; return the largest difference of a weight, relative to 1."""
    for stepper in made.values():
        rounds_of(stepper, 2 * PERIOD + 1)()
    differences = []
    for rival, stepper in made.items():
        expected = made[Rival(rival.optimizer, "ours")].weights()
        differences.append((np.abs(stepper.weights() - expected) / np.maximum(1, np.abs(expected))).max())
    return max(differences)


def rounds_of(stepper, steps):
    """Return a function that takes some steps of a rival and waits for them, on the threads it wants."""

    def take():
        if isinstance(stepper, Torch):
            stepper.torch.set_num_threads(stepper.threads)
        for _ in range(steps):
            stepper.step()
        stepper.sync()

    return take


def problem(n):
    """Return weights and a gradient, (n,) each."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(n, np.float32), rng.standard_normal(n, np.float32)


def traffic(rival, n):
    """Return the bytes that a step of this rival has to move at the least, for n float32 weights."""
    return BYTES * n + (SYNC_BYTES * n / PERIOD if rival.optimizer == "Lookahead" else 0)


def measured(n, steps, rounds):
    """Return rival -> seconds per step in every round."""
    import torch

    params, grad = problem(n)
    made = rivals(params, grad)
    if not (differ := difference(made)) <= AGREEMENT:
        raise AssertionError(f"weights must agree within {AGREEMENT}, not differ by {differ:.2g}: unequal work")
    made[MEMORY] = Memory(params, grad)
    default = torch.get_num_threads()
    seconds = alternate({rival: (rounds_of(made[rival], steps), 1) for rival in made}, rounds, settle=True)
    torch.set_num_threads(default)
    return {rival: values / steps for rival, values in seconds.items()}


def step_rows(n, seconds):
    """Return the rows of the table of data, one for each rival."""
    rows = []
    for rival, values in seconds.items():
        moved = traffic(rival, n)
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        rows.append({"n": n, "optimizer": rival.optimizer, "library": rival.library, "variant": rival.variant,
                     "thread_limit": rival.thread_limit, "seconds": median, "seconds_low": low, "seconds_high": high,
                     "bytes": moved, "bytes_per_second": moved / median,
                     "times_ours": ratio(seconds, rival, OURS),
                     "times_ours_adamw": ratio(seconds, rival, ADAMW)})  # fmt: skip
    return rows


def main():
    """Measure all sizes and publish the table."""
    plan = [(1_000, 20, 5), (10_000, 20, 5)] if QUICK else [(10_000, 500, 41), (1_000_000, 20, 41), (50_000_000, 5, 5)]
    rows, lines = [], []
    for n, steps, rounds in plan:
        seconds = measured(n, steps, rounds)
        rows += step_rows(n, seconds)
        torch_best = best(seconds, optimizer="Lookahead", library="torch")
        lines.append([
            f"{n:,}",
            f"{significant(1e6 * np.median(seconds[OURS]))} µs",
            significant(ratio(seconds, torch_best, OURS)) + "×",
            significant(ratio(seconds, OPTAX, OURS)) + "×",
            significant(ratio(seconds, OURS, ADAMW)) + "×",
            significant(ratio(seconds, CHECKING, OURS)) + "×",
            f"{100 * ratio(seconds, MEMORY, ADAMW):.0f} %" if BYTES * n > CACHES else "",
        ])  # fmt: skip
        print(f"n = {n:,}: the quickest torch is {torch_best}", flush=True)
    head = ["weights", "our step", "torch", "optax", "sync", "check", "of memory"]
    publish(frame_of(rows).assign(threads=get_num_threads()), "flat_step", markdown(head, lines))


if __name__ == "__main__":
    main()
