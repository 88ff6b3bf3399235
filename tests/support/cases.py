"""What several tests share: one optimizer of every rule, the way to the reference, states as bytes."""

import dataclasses

import numpy as np

import lookahead_nb as lnb
from lookahead_nb.kernels import formulas
from lookahead_nb.kernels.formulas import HEAVY_BALL, INTERPOLATE, KEEP, MOMENTUM_PULLS, NESTEROV, RESET
from lookahead_nb.optimizers import schedules, step_table
from tests.support import reference

# Every rule of `formulas.RULES` once, with no setting at a value that would hide a term.
INNER = {
    "sgd": lnb.SGD(lr=0.05, weight_decay=0.02),
    "sgd_momentum": lnb.SGD(lr=0.05, momentum=0.9, weight_decay=0.02),
    "sgd_nesterov": lnb.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.02),
    "adagrad": lnb.Adagrad(lr=0.05, eps=1e-6, weight_decay=0.02),
    "rmsprop": lnb.RMSprop(lr=0.02, rho=0.95, eps=1e-6, weight_decay=0.02),
    "rmsprop_momentum": lnb.RMSprop(lr=0.02, rho=0.95, eps=1e-6, momentum=0.8, weight_decay=0.02),
    "adam": lnb.Adam(lr=0.02, beta1=0.8, beta2=0.98, eps=1e-6, weight_decay=0.02),
    "adamw": lnb.AdamW(lr=0.02, beta1=0.8, beta2=0.98, eps=1e-6, weight_decay=0.1),
    "schedule_free_adamw": lnb.ScheduleFreeAdamW(
        lr=lnb.schedules.constant(0.02, warmup=3), beta1=0.8, beta2=0.98, eps=1e-6, weight_decay=0.1
    ),
}
RULES = list(INNER)
WRAPPED = [rule for rule in RULES if rule != "schedule_free_adamw"]  # those that Lookahead goes around
INNER_STATES = ["keep", "reset", "interpolate"]


def problem(rng, steps, n, width=np.float64):
    """Weights (n,) and gradients (steps, n) whose sizes spread over orders of magnitude."""
    spread = np.exp(1.5 * rng.standard_normal((steps + 1, n)))
    numbers = (rng.standard_normal((steps + 1, n)) * spread).astype(width)
    return numbers[0], numbers[1:]


def settings_of(inner):
    """The settings that the reference takes, all but the learning rate."""
    return {f.name: getattr(inner, f.name) for f in dataclasses.fields(inner) if f.name != "lr"}


def values_of(schedule, steps):
    s = schedule
    return reference.schedule(s.kind, s.peak, s.steps, s.warmup, np.arange(1, steps + 1))


def learning_rates(inner, steps):
    return values_of(inner.schedule, steps)


def weight_decays(inner, steps):
    """The weight decay of each step where it follows a schedule, else None."""
    decay = getattr(inner, "weight_decay", 0.0)
    return values_of(decay, steps) if isinstance(decay, schedules.Schedule) else None


def reference_path(opt, params, gradients):
    """What the reference says after every step: (fast, slow, state, power)."""
    inner = getattr(opt, "inner", opt)
    lrs, decays = learning_rates(inner, len(gradients)), weight_decays(inner, len(gradients))
    ran = type(inner).__name__, params, gradients, lrs
    if opt is inner:
        for fast, state, power in reference.plain(*ran, settings_of(inner), decays):
            yield fast, None, state, power
    elif isinstance(opt, lnb.EMA):
        fast, _, *rest = zip(*reference_path(inner, params, gradients), strict=True)
        yield from zip(fast, reference.average(fast, opt.decay), *rest, strict=True)
    else:
        names = "sync_period", "slow_step_size", "inner_state", "pull_back", "outer_momentum", "outer_nesterov"
        how = {name: getattr(opt, name) for name in names}
        if opt.adapts:
            how |= {"slow_step_size": 0.0, "lowest": opt.slow_step_size.lowest}
        yield from reference.lookahead(*ran, settings=settings_of(inner), weight_decays=decays, **how)


def assert_close(actual, expected, rtol):
    """Every element within rtol of the expected one, or of 1 where that is smaller."""
    expected = np.asarray(expected, np.float64)
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert error.max(initial=0) <= rtol


def picture(*things):
    """Everything in arrays and states as bytes, to see later that nothing has moved."""
    parts = []
    for thing in things:
        if isinstance(thing, np.ndarray):
            parts.append(thing.tobytes())
        else:
            stored = thing.to_arrays()
            parts.append({name: np.asarray(value).tobytes() for name, value in stored.items()})
    return parts


def run(opt, params, gradients, **options):
    """Step a copy of the weights along the gradients; return it with its state."""
    params = params.copy()
    state = opt.init(params)
    for g in gradients:
        opt.step(params, g, state, **options)
    return params, state


# ------------------------------------------------------------------------------------------------------- kernels

GUARD = 8  # elements before and after every array, which no kernel may touch
MODES = [
    (True, KEEP),
    (True, RESET),
    (True, INTERPOLATE),
    (False, KEEP),
    (True, HEAVY_BALL),
    (True, NESTEROV),
]  # (pull_back, inner_state) as kernels take them


def how(width, pull_back=True, mode=KEEP, size=0.3):
    """The last four arguments of a sync; with momentum 1 - size is the momentum."""
    return width(size), width(1 - size), pull_back, mode


class Buffers:
    """The arrays of a kernel between guard bands of NaN, filled from a seed, on the host or where `place` puts them."""

    def __init__(self, rule, n, width, mode=KEEP, seed=1, place=lambda array: array, guard=GUARD):
        rng = np.random.default_rng(seed)
        slots = len(formulas.RULES[rule][1])
        self.sizes = {"p": n, "g": n, "s1": n * (slots > 0), "s2": n * (slots > 1), "slow": n}
        self.sizes |= {"a1": self.sizes["s1"] * (mode == INTERPOLATE), "a2": self.sizes["s2"] * (mode == INTERPOLATE)}
        self.sizes |= {"a1": n} if mode in MOMENTUM_PULLS else {}
        self.outer, self.inner = {}, {}
        for name, size in self.sizes.items():
            values = rng.standard_normal(size)
            outer = np.full(size + 2 * guard, np.nan, width)
            outer[guard : guard + size] = values if name in ("p", "g", "slow") else np.abs(values)  # no v is negative
            outer.flags.writeable = name != "g"
            self.outer[name] = place(outer)
            self.inner[name] = self.outer[name][guard : guard + size]
        self.guard, self.row = guard, step_table(INNER[rule], 3, width)[2]
        self.clock, self.t = place(np.zeros(1, np.int64)), 0

    def __getattr__(self, name):
        return self.inner[name]

    def step(self, kernels, rule):
        self.t += 1
        kernels.step(rule, self.p, self.g, self.s1, self.s2, self.row, self.clock, self.t)

    def step_and_sync(self, kernels, rule, size, rest, *kind):
        row = np.append(self.row, [size, rest])
        slots, anchors = (self.s1, self.s2, row), (self.slow, self.a1, self.a2)
        self.t += 1
        kernels.step_and_sync(rule, self.p, self.g, slots, anchors, kind, self.clock, self.t)

    def sync(self, kernels, *how):
        kernels.sync(self.p, self.s1, self.s2, self.slow, self.a1, self.a2, *how)

    def step_twice(self, kernels, rule, pull_back, mode):
        """Take a step, and another one with a sync."""
        self.step(kernels, rule)
        self.step_and_sync(kernels, rule, *how(self.p.dtype.type, pull_back, mode))

    def everything(self, to_host=lambda array: array):
        assert int(to_host(self.clock)[0]) == self.t * (self.p.size > 0 or isinstance(self.clock, np.ndarray))
        return b"".join(to_host(outer).tobytes() for outer in self.outer.values())

    def guards_are_intact(self, to_host=lambda array: array):
        outers = [to_host(outer) for outer in self.outer.values()]
        bands = [band for outer in outers for band in (outer[: self.guard], outer[-self.guard :])]
        return all(np.isnan(band).all() for band in bands)
