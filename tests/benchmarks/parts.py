"""Where the time of a sweep goes: products, activations and losses, updates, and the rest of a step.

A group of runs shares its minibatches and is trained on one thread. Its parts are then timed alone, on arrays of the
same shapes: the matrix products of a step, the whole pass with its losses and gradients, and the update by AdamW. The
rest of a step is what the whole takes in addition: draws of rows, syncs, evaluation and loops. Chains of fused
multiply-adds in registers show how fast the products could be.
"""

import functools
import itertools

import numba
import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb.kernels.cpu import groups
from lookahead_nb.kernels.cpu.lanes import lane_product, lanes_of, lined_up, swapped
from lookahead_nb.optimizers.coefficients import FRESH, StepScalars
from lookahead_nb.training import engine_cpu
from lookahead_nb.training.setup import Setup, Training
from tests.benchmarks.measure import QUICK, alternate, markdown, publish, ratio, significant

BATCH, TIMES = 64, 20 if QUICK else 500
LANES = lanes_of(np.float32)
ABOUT = """Shares of the time of a step, for sixteen runs that share their minibatches of 64 rows, on one thread. "of
the peak" is the speed of the products alone over that of fused multiply-adds in registers."""
NETWORKS = {
    "logistic 64-10": lnb.LogisticRegression(64, n_classes=10),
    "MLP 64-32-10": lnb.MLP((64, 32, 10)),
    "MLP 784-128-10": lnb.MLP((784, 128, 10)),
}


@numba.njit
def _first_layer(W, X, outputs, error, dW, times):
    for _ in range(times):
        lane_product(W, X.T, outputs)
        lane_product(error, X, dW)


@numba.njit
def _next_layer(W, below, outputs, error, dW, d_below, times):
    for _ in range(times):
        lane_product(W, below, outputs)
        lane_product(error, swapped(below), dW)
        lane_product(swapped(error), W, swapped(d_below))


def products(model):
    """Return a function that does the matrix products of some steps, on rows at an odd distance as in training."""
    calls = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(model.sizes.tolist())):
        W, dW = lined_up((fan_out, fan_in), np.float32), lined_up((fan_out, fan_in), np.float32)
        outputs, error = (lined_up((fan_out, BATCH | 1), np.float32)[:, :BATCH] for _ in range(2))
        if layer == 0:
            calls.append(functools.partial(_first_layer, W, np.zeros((BATCH, fan_in), np.float32), outputs, error, dW))
        else:
            below, d_below = (lined_up((fan_in, BATCH | 1), np.float32)[:, :BATCH] for _ in range(2))
            calls.append(functools.partial(_next_layer, W, below, outputs, error, dW, d_below))
    return lambda: [call(TIMES) for call in calls]


def whole_pass(model, data):
    """Return a function that does the passes of some steps, with losses and gradients."""
    params, grad = lined_up((model.size,), np.float32), lined_up((model.size,), np.float32)
    params[:] = model.init(0, "float32")[:, None]
    X, y = data.X_train[:BATCH], np.zeros((BATCH + 1) * LANES, np.int64)
    y[: BATCH * LANES] = np.repeat(data.y_train[:BATCH], LANES)
    work = lined_up((groups.work_lines(model.sizes, BATCH),), np.float32)
    none, losses, hits = lined_up((0, 1), np.float32), np.zeros(LANES), np.zeros(LANES)
    _, both = groups._loops(np.float32)
    arguments = params, X, none, y, model.sizes, model.activation_code, np.float32(0), grad, losses, hits, work

    def run():
        for _ in range(TIMES):
            both(*arguments)

    return run


def update(model):
    """Return a function that does the updates of some steps."""
    p, g, m, v = (lined_up((model.size,), np.float32) for _ in range(4))
    rng = np.random.default_rng(0)
    p[:], g[:] = rng.normal(0, 1, p.shape), rng.normal(0, 1, g.shape)
    scalars = StepScalars(lnb.AdamW(), np.float32, 0, FRESH).stretch(1)[0]
    row = np.repeat(scalars[:, None], LANES, axis=1)
    limits, beyond = np.full(2, np.finfo(np.float32).max, np.float32), lined_up((1,), np.float32)
    loop = groups._rule_loop("adamw", np.float32)

    def run():
        for _ in range(TIMES):
            loop(p, g, m, v, row, limits, beyond)

    return run


def training(model, data):
    """Return a function that trains a group for some steps."""
    setup = Setup(model, data, Training(steps=TIMES, batch_size=BATCH, eval_at=[TIMES], eval_rows=BATCH))
    opts = lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=np.geomspace(1e-4, 1e-2, LANES).tolist())
    rows = [setup.rows(0)] * LANES
    return functools.partial(engine_cpu.train_side_by_side, setup, opts, [0] * LANES, rows)


def operations(model):
    """Return the operations of the products of all steps of a call."""
    sizes = [a * b for a, b in itertools.pairwise(model.sizes.tolist())]
    return TIMES * LANES * 2 * BATCH * (2 * sum(sizes) + sum(sizes[1:]))


def measured(name, model, data, rounds):
    """Return the rows of the table of data, and the line of the one in the pages."""
    from tests.benchmarks.peak import Peak

    peak = Peak()
    rivals = {
        "products": products(model),
        "pass": whole_pass(model, data),
        "update": update(model),
        "step": training(model, data),
        "peak": peak,
    }
    seconds = alternate({what: (function, 1) for what, function in rivals.items()}, rounds)
    seconds["peak"] = seconds["peak"] * operations(model) / peak.operations
    rows = [
        {"network": name, "part": what, "seconds_per_step": np.median(values) / TIMES,
         "share_of_step": ratio(seconds, what, "step")}
        for what, values in seconds.items()
    ]  # fmt: skip
    share = {row["part"]: row["share_of_step"] for row in rows}
    parts = share["products"], share["pass"] - share["products"], share["update"], 1 - share["pass"] - share["update"]
    microseconds = significant(1e6 * np.median(seconds["step"]) / TIMES / LANES)
    of_peak = ratio(seconds, "peak", "products")
    return rows, [name, f"{microseconds} µs", *(f"{100 * part:.0f} %" for part in (*parts, of_peak))]


def main():
    """Measure all networks and publish the table."""
    numba.set_num_threads(1)
    rows, lines = [], []
    for name, model in NETWORKS.items():
        if model.n_features == 64:
            data = lnb.datasets.load("digits")
        else:
            rng = np.random.default_rng(0)
            data = lnb.datasets.from_arrays(rng.normal(0, 1, (2000, model.n_features)), np.arange(2000) % 10)
        found, line = measured(name, model, data, 2 if QUICK else 15)
        rows += found
        lines.append(line)
    head = [
        "network",
        "step of a run",
        "products",
        "activations, losses",
        "update",
        "the rest",
        "products, of the peak",
    ]
    publish(pd.DataFrame(rows), "parts", f"{ABOUT}\n\n{markdown(head, lines)}")


if __name__ == "__main__":
    main()
