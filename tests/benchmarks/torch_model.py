"""Steps of PyTorch models by our optimizer and by PyTorch's AdamW, each with Lookahead, on one thread and on more.

All have the same weights, gradients and settings, and step the tensors in place. PyTorch's AdamW is measured as
``fused`` and as ``foreach``, with a Lookahead in two lines of ``torch._foreach``; the faster one counts. "step" is
``optimizer.step()`` with the gradients already there. "iteration" is a whole one, forward and backward of PyTorch
included, in which the threads of both libraries take turns on the same cores. Both libraries get the same number.
"""

import copy
import itertools

import numba
import numpy as np
import torch

from lookahead_nb.adapters.torch import TorchOptimizer
from tests.benchmarks.flat_step import AGREEMENT, LOOKAHEAD, PERIOD, SETTINGS, STEP
from tests.benchmarks.measure import QUICK, Rival, alternate, best, frame_of, markdown, publish, ratio, significant

OURS, CHECKING = Rival("Lookahead", "ours"), Rival("Lookahead", "ours", "checking")
FORMS = ("fused", "foreach")
BATCH = 64


def wide():
    """Return the network 784-1024-1024-10: six tensors, 1.9 million weights."""
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return torch.nn.Sequential(linear(784, 1024), relu(), linear(1024, 1024), relu(), linear(1024, 10))


def deep():
    """Return 25 layers of 32 units: 50 tensors, 26,400 weights."""
    layers = [(torch.nn.Linear(32, 32), torch.nn.Tanh()) for _ in range(25)]
    return torch.nn.Sequential(*itertools.chain.from_iterable(layers))


MODELS = {"784-1024-1024-10": (wide, 10, 10), "25 layers 32-32": (deep, 100, 20)}  # steps, iterations in a round


class Torch:
    """``torch.optim.AdamW`` with a Lookahead of slow copies."""

    def __init__(self, params, form):
        self.params, self.t = [*params], 0
        self.slow = [each.detach().clone() for each in self.params]
        self.inner = torch.optim.AdamW(self.params, **SETTINGS, **{form: True})

    def step(self):
        self.inner.step()
        self.t += 1
        if self.t % PERIOD == 0:
            with torch.no_grad():
                torch._foreach_lerp_(self.slow, self.params, STEP)
                torch._foreach_copy_(self.params, self.slow)


class Trained:
    """A model, its optimizer and its batch."""

    def __init__(self, model, make):
        self.model, self.optimizer = model, make(model.parameters())
        self.X = torch.randn(BATCH, next(model.parameters()).shape[1], generator=torch.Generator().manual_seed(1))
        self.backward()

    def backward(self):
        self.model.zero_grad()
        (self.model(self.X) - 1).square().mean().backward()

    def steps(self, count):
        for _ in range(count):
            self.optimizer.step()

    def iterations(self, count):
        for _ in range(count):
            self.backward()
            self.optimizer.step()


def rivals(make_model):
    """Return rival -> the same model with its optimizer."""
    torch.manual_seed(0)
    model = make_model()
    makers = {Rival("Lookahead", "torch", form): lambda params, form=form: Torch(params, form) for form in FORMS}
    makers[OURS] = lambda params: TorchOptimizer(params, LOOKAHEAD, check_finite=False)
    makers[CHECKING] = lambda params: TorchOptimizer(params, LOOKAHEAD)
    return {rival: Trained(copy.deepcopy(model), make) for rival, make in makers.items()}


def difference(trained):
    """Take all rivals through two syncs and a step; return the largest difference from our weights, relative to 1."""
    for each in trained.values():
        each.steps(2 * PERIOD + 1)
    ends = {rival: torch.nn.utils.parameters_to_vector(each.model.parameters()) for rival, each in trained.items()}
    return max(((end - ends[OURS]).abs() / ends[OURS].abs().clamp(min=1)).max().item() for end in ends.values())


def measured(make_model, threads, steps, iterations, rounds):
    """Return what -> rival -> seconds of one step or iteration in every round."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    try:
        trained = rivals(make_model)
        if not (differ := difference(trained)) <= AGREEMENT:
            raise AssertionError(f"weights must agree within {AGREEMENT}, not differ by {differ:.2g}: unequal work")
        step = {rival: (lambda each=each: each.steps(steps), 1) for rival, each in trained.items()}
        whole = {rival: (lambda each=each: each.iterations(iterations), 1) for rival, each in trained.items()}
        seconds = {"iteration": (alternate(whole, rounds, settle=True), iterations)}
        seconds["step"] = alternate(step, rounds, settle=True), steps  # last: a gradient that stays leads astray
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])
    return {what: {rival: each / n for rival, each in times.items()} for what, (times, n) in seconds.items()}


def rows_of(model, threads, what, seconds):
    """Return the rows of the table of data, one for each rival."""
    rows = []
    for rival, values in seconds.items():
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        rows.append({"model": model, "what": what, "optimizer": rival.optimizer, "library": rival.library,
                     "variant": rival.variant, "threads": threads, "seconds": median, "seconds_low": low,
                     "seconds_high": high, "times_ours": ratio(seconds, rival, OURS)})  # fmt: skip
    return rows


def line_of(model, threads, seconds):
    """Return the line of the README: our step, what PyTorch takes for one and for an iteration, and the check."""
    step, iteration = seconds["step"], seconds["iteration"]
    quickest = {what: best(each, library="torch") for what, each in seconds.items()}
    print(f"{model}, {threads} threads: the quickest torch is {quickest['step']}", flush=True)
    return [
        model,
        threads,
        f"{significant(1e6 * np.median(step[OURS]))} µs",
        significant(ratio(step, quickest["step"], OURS)) + "×",
        significant(ratio(step, CHECKING, OURS)) + "×",
        significant(ratio(iteration, quickest["iteration"], OURS)) + "×",
    ]


def main():
    """Measure both models on one thread and on all, and publish the table."""
    rows, lines = [], []
    for model, (make_model, steps, iterations) in MODELS.items():
        for threads in sorted({1, torch.get_num_threads()}):
            seconds = measured(
                make_model, threads, 2 if QUICK else steps, 2 if QUICK else iterations, 3 if QUICK else 41
            )
            rows += [row for what, times in seconds.items() for row in rows_of(model, threads, what, times)]
            lines.append(line_of(model, threads, seconds))
    head = ["model", "threads", "our step", "torch", "check", "iteration"]
    publish(frame_of(rows), "torch_model", markdown(head, lines))


if __name__ == "__main__":
    main()
