"""The exact cycle: worked values, closed forms, step-by-step recursions, and runs of the real optimizers."""

import itertools

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import games, theory
from lookahead_nb.models.landscapes import Quadratic, trace
from lookahead_nb.theory import Cycle

ROUNDING = 1e-11  # of values of order 1, after a few hundred products of 4 x 4 matrices
SOLVED = 1e-9  # relative, where a system of 16 equations with a condition of 1/(1 - rate) below 1e6 was solved
PRINTED = 0.6  # of the last digit printed in the notes that the values were first worked out in

READINGS = [("keep", True), ("reset", True), ("interpolate", True), ("keep", False)]
each_reading = pytest.mark.parametrize(("inner_state", "pull_back"), READINGS)


# ------------------------------------------------------------------------------------------- one by one, in sources


class Sources:
    """A weight run step by step, each quantity a vector: what is in it of the start and of the noise of every step."""

    def __init__(self, cycle, steps):
        lr, a, beta1, noise, s = (
            float(x) for x in (cycle.lr, cycle.curvature, cycle.beta1, cycle.noise, cycle.slow_step_size)
        )
        unit = np.eye(steps + 1)
        fast, slow, m, anchor = unit[0], unit[0], np.zeros(steps + 1), np.zeros(steps + 1)
        self.fast, self.slow, self.m = [fast], [slow], [m]
        for t in range(1, steps + 1):
            m = beta1 * m + (1 - beta1) * (a * fast + noise * unit[t])
            fast = fast - lr * m
            self.fast.append(fast)
            if t % cycle.sync_period == 0:
                slow = slow + s * (fast - slow)
                if cycle.pull_back:
                    fast = slow
                if cycle.inner_state == "reset":
                    m = 0 * m
                if cycle.inner_state == "interpolate":
                    m = anchor = s * m + (1 - s) * anchor
            self.slow.append(slow)
            self.m.append(m)

    def covariance(self, t):
        parts = np.array([self.fast[t], self.slow[t], self.m[t]])[:, 1:]
        return parts @ parts.T


@each_reading
@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("sync_period", [1, 2, 5])
def test_transient_is_that_of_every_step_written_out(inner_state, pull_back, beta1, sync_period):
    cycle = Cycle(
        lr=0.7, curvature=0.8, beta1=beta1, noise=0.3, sync_period=sync_period, slow_step_size=0.3,
        inner_state=inner_state, pull_back=pull_back,
    )  # fmt: skip
    steps = 4 * sync_period + 1
    path, sources = cycle.transient(steps, start=2.0, spread=0.5), Sources(cycle, steps)
    for got, mean, variance in ((0, 2, sources.fast), (1, 3, sources.slow)):
        parts = np.array(variance)
        assert np.abs(path[got] - 2.0 * parts[:, 0]).max() <= ROUNDING
        assert np.abs(path[mean] - 0.25 * parts[:, 0] ** 2 - np.square(parts[:, 1:]).sum(1)).max() <= ROUNDING


@each_reading
@pytest.mark.parametrize(("beta1", "sync_period"), [(0.0, 3), (0.5, 1), (0.9, 4)])
def test_steady_covariance_is_where_every_step_written_out_arrives(inner_state, pull_back, beta1, sync_period):
    cycle = Cycle(
        lr=1.1, curvature=0.9, beta1=beta1, noise=0.4, sync_period=sync_period, slow_step_size=0.6,
        inner_state=inner_state, pull_back=pull_back,
    )  # fmt: skip
    settled = sync_period * int(np.ceil(-16 / np.log(float(cycle.rate)) / sync_period + 1))  # rate**(2*settled) < 1e-13
    sources = Sources(cycle, settled + sync_period - 1)
    for phase in range(sync_period):
        assert np.abs(cycle.covariance(phase) - sources.covariance(settled + phase)).max() <= ROUNDING


@each_reading
def test_rate_is_the_one_at_which_the_mean_shrinks_in_the_end(inner_state, pull_back):
    cycle = Cycle(
        lr=0.05, beta1=0.5, sync_period=4, slow_step_size=0.4, inner_state=inner_state, pull_back=pull_back
    )  # over-damped: the largest eigenvalue stands alone
    mean = cycle.transient(4 * 150).slow_mean
    assert mean[-1] / mean[-5] == pytest.approx(float(cycle.rate) ** 4, rel=1e-9)


@each_reading
@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("sync_period", [1, 4, 9])
def test_rate_is_the_largest_eigenvalue_of_the_whole_cycle(inner_state, pull_back, beta1, sync_period):
    lrs, sizes = np.geomspace(0.01, 90, 300), np.array([0.0, 0.3, 1.0])[:, None]
    how = {"sync_period": sync_period, "inner_state": inner_state, "pull_back": pull_back}
    cycle = Cycle(lr=lrs, beta1=beta1, slow_step_size=sizes, **how)
    largest = np.abs(np.linalg.eigvals(cycle._whole)).max(-1)
    # Where two eigenvalues meet, a rounding moves both by its root.
    np.testing.assert_allclose(cycle.rate**sync_period, largest, rtol=1e-6, atol=1e-6)
    assert np.median(np.abs(cycle.rate**sync_period / largest - 1)) <= ROUNDING


def test_steady_state_is_the_one_scipy_finds():
    linalg = pytest.importorskip("scipy.linalg")
    cycle = Cycle(lr=0.9, beta1=0.8, noise=1.0, sync_period=3, slow_step_size=0.5, inner_state="interpolate")
    S, (F, q) = cycle._sync, cycle._step
    noise = q @ q.T
    N = S @ (noise + F @ noise @ F.T + F @ F @ noise @ F.T @ F.T) @ S.T
    expected = linalg.solve_discrete_lyapunov(S @ F @ F @ F, N)
    assert np.abs(cycle.covariance()[1:, 1:] - expected[1:3, 1:3]).max() <= ROUNDING


def test_many_modes_and_settings_at_once_are_each_alone():
    lrs, curvatures, sizes = np.array([0.1, 1.9])[:, None, None], np.array([0.3, 1.0, 1.2])[:, None], np.array([0.2, 1])
    how = {"beta1": 0.3, "noise": 0.5, "sync_period": 3, "inner_state": "interpolate"}
    many = Cycle(lr=lrs, curvature=curvatures, slow_step_size=sizes, **how)
    assert many.rate.shape == many.stable.shape == (2, 3, 2)
    path = many.transient(7, start=curvatures)
    for i in np.ndindex(2, 3, 2):
        alone = Cycle(lr=lrs[i[0], 0, 0], curvature=curvatures[i[1], 0], slow_step_size=sizes[i[2]], **how)
        assert many.rate[i] == pytest.approx(float(alone.rate), rel=ROUNDING)
        assert np.abs(many.covariance(2)[i] - alone.covariance(2)).max() <= ROUNDING
        for got, expected in zip(path, alone.transient(7, start=curvatures[i[1], 0]), strict=True):
            assert np.abs(got[:, *i] - expected).max() <= ROUNDING


# ------------------------------------------------------------------------- averages, momentum and schedules, in sources


def walked(steps, lrs, a, noise, beta1=0.0, nesterov=False):
    """Return the fast weights of SGD with momentum in the variables of its source, in sources as in Sources."""
    unit, b = np.eye(steps + 1), np.zeros(steps + 1)
    fast = [unit[0]]
    for t in range(1, steps + 1):
        g = a * fast[-1] + noise * unit[t]
        b = beta1 * b + g
        fast.append(fast[-1] - lrs[t - 1] * (1 - beta1) * (g + beta1 * b if nesterov else b))
    return np.array(fast)


def primal(steps, lr, a, noise, weight, mixing):
    """Return y and x of primal averaging: gradients at y = (1-mixing)*z + mixing*x, and x += weight(t)*(z - x)."""
    unit = np.eye(steps + 1)
    x = z = unit[0]
    path = [(x, x)]
    for t in range(1, steps + 1):
        y = (1 - mixing) * z + mixing * x
        z = z - lr * (a * y + noise * unit[t])
        x = x + weight(t) * (z - x)
        path.append(((1 - mixing) * z + mixing * x, x))
    return np.moveaxis(np.array(path), 1, 0)


def outer(steps, lr, a, noise, k, size, momentum, nesterov):
    """Slow weights whose optimizer is SGD at a rate of size, with slow - fast as its gradient."""
    unit, v = np.eye(steps + 1), np.zeros(steps + 1)
    fast = slow = unit[0]
    path = [slow]
    for t in range(1, steps + 1):
        fast = fast - lr * (a * fast + noise * unit[t])
        if t % k == 0:
            g = slow - fast
            v = momentum * v + g
            slow = slow - size * (g + momentum * v if nesterov else v)
            fast = slow
        path.append(slow)
    return np.array(path)


def check_sources(mean, variance, sources, atol=ROUNDING):
    np.testing.assert_allclose(mean, sources[..., 0], atol=atol)
    np.testing.assert_allclose(variance, np.square(sources[..., 1:]).sum(-1), atol=atol)


A, NOISE, STEPS = 0.9, 0.4, 31
MODES = {"lr": np.array([0.05, 0.4, 1.1]), "curvature": 0.9, "noise": 0.4}
SCHEDULES = {"constant": None, "linear": lnb.schedules.linear(1.0, steps=STEPS)}
SCHEDULES["cosine"] = lnb.schedules.cosine(1.0, 40)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("beta1", "nesterov"), [(0.0, False), (0.7, False), (0.7, True)])
def test_momentum_and_means_of_its_steps_are_those_written_out(schedule, beta1, nesterov):
    rates = 0.3 * (np.ones(STEPS) if schedule is None else schedule.rates(STEPS))
    fast = walked(STEPS, rates, A, NOISE, beta1, nesterov)
    how = {"lr": 0.3, "curvature": A, "noise": NOISE, "beta1": beta1, "nesterov": nesterov, "schedule": schedule}
    path = Cycle(**how).transient(STEPS)
    check_sources(path.fast_mean, path.fast_variance, fast)
    average = {"pull_back": False, "bias_corrected": True}
    weights = np.tril(0.8 ** np.subtract.outer(np.arange(STEPS), np.arange(STEPS)))
    exponential = (weights / weights.sum(1, keepdims=True)) @ fast[1:]
    path = Cycle(slow_step_size=0.2, **average, **how).transient(STEPS)
    check_sources(path.slow_mean[1:], path.slow_variance[1:], exponential)
    for burn_in in (0, 12):
        path = Cycle(slow_step_size=0.0, burn_in=burn_in, **average, **how).transient(STEPS)
        tail = [fast[burn_in + 1 : t + 1].mean(0) for t in range(burn_in + 1, STEPS + 1)]
        check_sources(path.slow_mean[burn_in + 1 :], path.slow_variance[burn_in + 1 :], np.array(tail))
        check_sources(path.slow_mean[1 : burn_in + 1], path.slow_variance[1 : burn_in + 1], fast[1 : burn_in + 1])


@pytest.mark.parametrize("mixing", [0.0, 0.6, 0.9, 1.0])
def test_schedule_free_and_primal_averaging_are_those_written_out(mixing):
    how = {"lr": 0.7, "curvature": A, "noise": NOISE, "pull_back": False, "mixing": mixing}
    for settings, weight in (
        ({"slow_step_size": 0.0, "bias_corrected": True}, lambda t: 1 / t),
        ({"slow_step_size": 0.2}, lambda t: 0.2),
    ):
        y, x = primal(STEPS, 0.7, A, NOISE, weight, mixing)
        path = Cycle(**settings, **how).transient(STEPS)
        check_sources(path.fast_mean, path.fast_variance, y)
        check_sources(path.slow_mean, path.slow_variance, x)


@pytest.mark.parametrize("nesterov", [False, True])
def test_outer_momentum_is_that_of_gradient_descent_on_slow_weights(nesterov):
    slow = outer(STEPS, 0.3, A, NOISE, 4, 0.7, 0.6, nesterov)
    how = {"slow_step_size": 0.7, "outer_momentum": 0.6, "outer_nesterov": nesterov}
    path = Cycle(lr=0.3, curvature=A, noise=NOISE, sync_period=4, **how).transient(STEPS)
    check_sources(path.slow_mean, path.slow_variance, slow)


LASTING = {
    "Nesterov": {"beta1": 0.7, "nesterov": True},
    "outer momentum": {"beta1": 0.3, "sync_period": 3, "slow_step_size": 0.7, "outer_momentum": 0.5},
    "DiLoCo": {"sync_period": 3, "outer_momentum": 0.4, "outer_nesterov": True},
    "EMA": {"beta1": 0.5, "slow_step_size": 0.2, "pull_back": False, "bias_corrected": True},
    "GPA": {"slow_step_size": 0.3, "pull_back": False, "mixing": 0.8},
    "GPA in cycles": {"slow_step_size": 0.3, "pull_back": False, "mixing": 0.8, "sync_period": 3},
}


@pytest.mark.parametrize("how", LASTING.values(), ids=LASTING)
def test_steady_covariance_is_where_the_transient_arrives(how):
    cycle = Cycle(lr=[0.2, 0.7], curvature=[1.2, 0.9], noise=0.4, **how)
    period = cycle.sync_period
    settled = period * int(np.ceil(-32 / np.log(cycle.rate.max()) / period + 1))  # the bias falls like the rate
    path = cycle.transient(settled + period)
    for phase in range(period):
        covariance = cycle.covariance(phase)
        np.testing.assert_allclose(covariance[:, 0, 0], path.fast_variance[settled + phase], atol=ROUNDING)
        np.testing.assert_allclose(covariance[:, 1, 1], path.slow_variance[settled + phase], atol=ROUNDING)


@pytest.mark.parametrize("how", LASTING.values(), ids=LASTING)
def test_rate_of_the_family_is_the_one_at_which_the_mean_shrinks(how):
    cycle = Cycle(lr=0.3, curvature=1.2, **how)
    window = int(-60 / np.log(cycle.rate))  # the mean oscillates
    mean = np.abs(cycle.transient(3 * window).slow_mean)
    fall = mean[2 * window :].max() / mean[window : 2 * window + 1].max()
    assert np.log(fall) / window == pytest.approx(np.log(cycle.rate), rel=0.03)


EVERY = LASTING | {
    "keep": {"beta1": 0.5, "sync_period": 4, "slow_step_size": 0.4},
    "interpolate": {"beta1": 0.5, "sync_period": 4, "slow_step_size": 0.4, "inner_state": "interpolate"},
    "reset": {"beta1": 0.5, "sync_period": 3, "slow_step_size": 1.4, "inner_state": "reset"},
    "tail": {"beta1": 0.5, "slow_step_size": 0.0, "pull_back": False, "bias_corrected": True, "burn_in": 7},
    "Schedule-Free": {"slow_step_size": 0.0, "pull_back": False, "bias_corrected": True, "mixing": 0.9},
}


@pytest.mark.parametrize("schedule", [None, SCHEDULES["linear"]], ids=["constant", "linear"])
@pytest.mark.parametrize("how", EVERY.values(), ids=EVERY)
def test_after_is_the_last_row_of_the_transient(how, schedule):
    cycle = Cycle(lr=[[0.1], [0.8]], curvature=[0.5, 1.2, 0.9], noise=0.7, schedule=schedule, **how)
    start = np.array([1.0, 2.0, -1.0])
    path = cycle.transient(STEPS, start=start, spread=0.3)
    for steps in (0, 1, 2, 3, 4, 7, 12, 21, STEPS):
        for moment, row in zip(cycle.after(steps, start=start, spread=0.3), path, strict=True):
            np.testing.assert_allclose(moment, row[steps], atol=ROUNDING)


# ------------------------------------------------------------------------------------- minibatches without replacement


def of_epochs(steps, epoch):
    """The covariance of the noise of these steps: unit variance, and a sum of 0 over every epoch."""
    t = np.arange(steps)
    alike = t[:, None] // epoch == t // epoch
    return np.where(alike, np.where(np.eye(steps) > 0, 1, -1 / (epoch - 1)), 0)


def check_epochs(mean, variance, sources, epoch):
    sources = np.array(sources)
    np.testing.assert_allclose(mean, sources[:, 0], atol=ROUNDING)
    expected = np.einsum("ti,ij,tj->t", sources[:, 1:], of_epochs(len(sources) - 1, epoch), sources[:, 1:])
    np.testing.assert_allclose(variance, expected, atol=ROUNDING)


@each_reading
@pytest.mark.parametrize("epoch", [2, 5, 12])
def test_transient_of_epochs_is_that_of_every_step_written_out(inner_state, pull_back, epoch):
    cycle = Cycle(
        lr=0.7, curvature=0.8, beta1=0.5, noise=0.3, sync_period=3, slow_step_size=0.3,
        inner_state=inner_state, pull_back=pull_back, steps_per_epoch=epoch,
    )  # fmt: skip
    path, sources = cycle.transient(STEPS), Sources(cycle, STEPS)
    check_epochs(path.fast_mean, path.fast_variance, sources.fast, epoch)
    check_epochs(path.slow_mean, path.slow_variance, sources.slow, epoch)


@pytest.mark.parametrize("epoch", [3, 10])
def test_transient_of_epochs_of_each_of_the_family_is_that_written_out(epoch):
    how = {"lr": 0.3, "curvature": A, "noise": NOISE, "steps_per_epoch": epoch}
    schedule = SCHEDULES["linear"]
    path = Cycle(beta1=0.7, nesterov=True, schedule=schedule, **how).transient(STEPS)
    fast = walked(STEPS, 0.3 * schedule.rates(STEPS), A, NOISE, 0.7, nesterov=True)
    check_epochs(path.fast_mean, path.fast_variance, fast, epoch)
    for settings, weight in (
        ({"slow_step_size": 0.0, "bias_corrected": True}, lambda t: 1 / t),
        ({"slow_step_size": 0.2}, lambda t: 0.2),
    ):
        y, x = primal(STEPS, 0.3, A, NOISE, weight, 0.8)
        path = Cycle(pull_back=False, mixing=0.8, **settings, **how).transient(STEPS)
        check_epochs(path.fast_mean, path.fast_variance, y, epoch)
        check_epochs(path.slow_mean, path.slow_variance, x, epoch)
    slow = outer(STEPS, 0.3, A, NOISE, 4, 0.7, 0.6, nesterov=True)
    settings = {"sync_period": 4, "slow_step_size": 0.7, "outer_momentum": 0.6, "outer_nesterov": True}
    path = Cycle(**settings, **how).transient(STEPS)
    check_epochs(path.slow_mean, path.slow_variance, slow, epoch)


def test_variance_of_epochs_is_the_mean_over_all_orders_of_the_rows():
    rows, epoch, steps = np.array([0.9, -0.1, -0.3, -0.5]), 4, 8
    ends = []
    for orders in itertools.product(itertools.permutations(rows), repeat=2):
        fast = slow = m = 0.0
        for t, noise in enumerate([*orders[0], *orders[1]], 1):
            m = 0.6 * m + 0.4 * (0.8 * fast + noise)
            fast -= 0.7 * m
            if t % 3 == 0:
                fast = slow = slow + 0.3 * (fast - slow)
        ends.append((fast, slow))
    noise = np.sqrt(np.square(rows).mean())
    how = {"beta1": 0.6, "sync_period": 3, "slow_step_size": 0.3, "steps_per_epoch": epoch}
    end = Cycle(lr=0.7, curvature=0.8, noise=noise, **how).after(steps, start=0.0)
    assert np.abs(np.mean(ends, axis=0)).max() <= ROUNDING
    np.testing.assert_allclose(end[2:], np.square(ends).mean(axis=0), rtol=SOLVED)


@pytest.mark.parametrize("epoch", [2, 4, 9])
def test_steady_covariance_of_epochs_is_where_the_transient_arrives(epoch):
    for how in LASTING.values():
        cycle = Cycle(lr=[0.2, 0.7], curvature=[1.2, 0.9], noise=0.4, steps_per_epoch=epoch, **how)
        period = cycle.period
        assert (period % epoch, period % cycle.sync_period, period <= epoch * cycle.sync_period) == (0, 0, True)
        settled = period * int(np.ceil(-32 / np.log(cycle.rate.max()) / period + 1))
        path = cycle.transient(settled + period)
        for phase in range(period):
            covariance = cycle.covariance(phase)
            np.testing.assert_allclose(covariance[:, 0, 0], path.fast_variance[settled + phase], atol=ROUNDING)
            np.testing.assert_allclose(covariance[:, 1, 1], path.slow_variance[settled + phase], atol=ROUNDING)


@pytest.mark.parametrize("epoch", [2, 7, 50])
def test_variance_of_gradient_descent_with_epochs_has_its_closed_forms(epoch):
    r, of_lr = 1 - MODES["lr"] * 0.9, MODES["lr"] * 0.4
    cycle = Cycle(steps_per_epoch=epoch, **MODES)
    fresh, response = (1 - r ** (2 * epoch)) / (1 - r**2), (1 - r**epoch) / (1 - r)
    at_end = of_lr**2 * epoch / (epoch - 1) * (fresh - response**2 / epoch) / (1 - r ** (2 * epoch))
    np.testing.assert_allclose(cycle.covariance()[:, 0, 0], at_end, rtol=SOLVED)
    # Over all phases, from the mean covariance of the noise of two steps h apart. Source: Kühn & Rosenow 2023.
    lags = np.arange(1, epoch)[:, None]
    mean = theory.sgd_variance(**MODES) * (1 - 2 * (r**lags * (epoch - lags) / (epoch * (epoch - 1))).sum(0))
    phases = np.mean([cycle.covariance(phase)[:, 0, 0] for phase in range(epoch)], axis=0)
    np.testing.assert_allclose(phases, mean, rtol=SOLVED)


def test_a_whole_epoch_at_a_small_rate_has_hardly_any_noise():
    cycle = Cycle(lr=1e-3, noise=1.0, steps_per_epoch=20)
    assert cycle.covariance()[0, 0] < 1e-2 * theory.sgd_variance(1e-3, 1.0, 1.0)
    assert cycle.covariance(10)[0, 0] > 10 * cycle.covariance()[0, 0]


# ------------------------------------------------------------------------------------------------- games of two players


def two_players(cycle, steps):
    """Both players step by step in real numbers: what is in each of its start, which is (1, 0), and of all noise."""
    lr, h, c, beta1, noise, s = (
        float(x) for x in (cycle.lr, cycle.curvature, cycle.strength, cycle.beta1, cycle.noise, cycle.slow_step_size)
    )
    unit = np.eye(2 * steps + 1)
    fast, m = [unit[0], 0 * unit[0]], [0 * unit[0], 0 * unit[0]]
    slow, anchor = list(fast), list(m)
    path = [(fast, slow)]
    for t in range(1, steps + 1):
        grads = [h * fast[0] + c * fast[1], h * fast[1] - c * fast[0]]
        grads = [g + noise * unit[2 * t - 1 + i] for i, g in enumerate(grads)]
        m = [beta1 * v + (1 - beta1) * g for v, g in zip(m, grads, strict=True)]
        fast = before = [x - lr * v for x, v in zip(fast, m, strict=True)]
        if t % cycle.sync_period == 0:
            slow = [x + s * (z - x) for x, z in zip(slow, fast, strict=True)]
            fast = slow if cycle.pull_back else fast
            if cycle.inner_state == "interpolate":
                m = anchor = [s * v + (1 - s) * a for v, a in zip(m, anchor, strict=True)]
            if cycle.inner_state == "reset":
                m = [0 * v for v in m]
        path.append((before, slow))
    return np.array(path)  # (steps + 1, fast or slow, player, source)


@each_reading
def test_a_game_is_that_of_two_players_written_out(inner_state, pull_back):
    how = {"inner_state": inner_state, "pull_back": pull_back, "sync_period": 3, "slow_step_size": 0.4}
    cycle = Cycle(lr=0.3, curvature=0.2, strength=1.3, beta1=0.5, noise=0.4, **how)
    path, sources = cycle.transient(17), two_players(cycle, 17)
    for i, (mean, variance) in enumerate((path[0::2], path[1::2])):
        np.testing.assert_allclose(mean, sources[:, i, 0, 0] + 1j * sources[:, i, 1, 0], atol=ROUNDING)
        for player in range(2):
            expected = np.square(sources[:, i, player, 1:]).sum(-1)
            np.testing.assert_allclose(variance, expected, atol=ROUNDING)


@pytest.mark.parametrize("epoch", [None, 4])
@pytest.mark.parametrize("how", EVERY.values(), ids=EVERY)
def test_after_and_the_steady_state_of_a_game_are_those_of_its_transient(how, epoch):
    cycle = Cycle(lr=[0.1, 0.3], curvature=0.5, strength=[0.0, 0.6], noise=0.7, steps_per_epoch=epoch, **how)
    path = cycle.transient(STEPS, start=1.5, spread=0.3)
    for steps in (1, 6, 7, 12, STEPS):
        for moment, row in zip(cycle.after(steps, start=1.5, spread=0.3), path, strict=True):
            np.testing.assert_allclose(moment, row[steps], atol=ROUNDING)
    if how not in LASTING.values():
        return
    period = cycle.period
    settled = period * int(np.ceil(-32 / np.log(cycle.rate.max()) / period + 1))
    path = cycle.transient(settled + period)
    for phase in range(period):
        covariance = cycle.covariance(phase)
        np.testing.assert_allclose(covariance[:, 0, 0], path.fast_variance[settled + phase], atol=ROUNDING)
        np.testing.assert_allclose(covariance[:, 1, 1], path.slow_variance[settled + phase], atol=ROUNDING)
        np.testing.assert_allclose(covariance, np.conj(np.swapaxes(covariance, -1, -2)), atol=ROUNDING)


@pytest.mark.parametrize("inner_state", ["keep", "reset", "interpolate"])
def test_rate_of_a_game_is_that_of_its_own_solution(inner_state):
    lr, momentum = np.array([0.05, 0.2]), 0.3
    how = {"sync_period": 4, "slow_step_size": 0.4, "inner_state": inner_state}
    cycle = Cycle(lr=lr / (1 - momentum), beta1=momentum, curvature=0.0, strength=1.5, **how)
    expected = theory.game_rate(lr, 1.5, 4, 0.4, momentum=momentum, inner_state=inner_state)
    np.testing.assert_allclose(cycle.rate, expected, rtol=SOLVED)


@pytest.mark.parametrize("k", [3, 6])
def test_variance_of_lookahead_in_a_noisy_game_has_its_closed_form(k):
    g, s = np.array([0.05, 0.3]), 0.3
    cycle = Cycle(lr=g / 2, curvature=0.0, strength=2.0, noise=0.4, sync_period=k, slow_step_size=s)
    grown = (g / 2 * 0.4) ** 2 * ((1 + g**2) ** k - 1) / g**2  # k steps of z = (1 + ig) z + noise
    left = np.abs(theory.game_multiplier(g / 2, 2.0, k, s)) ** 2
    assert cycle.stable.tolist() == (left < 1).tolist()
    expected = np.where(left < 1, s**2 * grown / (1 - left), np.nan)
    np.testing.assert_allclose(cycle.covariance()[:, 1, 1].real, expected, rtol=SOLVED)


def test_a_game_is_played_as_solved():
    opt = lnb.Lookahead(lnb.SGD(0.2, momentum=0.3), sync_period=4, slow_step_size=0.4)
    run = lnb.play(games.BilinearGame([[1.5]], start=[1.0, 0.0]), opt, steps=13, eval_every=1)
    path = Cycle.of(opt, curvature=0.0, strength=1.5).transient(13)
    for weights, mean in (("fast", path.fast_mean), ("slow", path.slow_mean)):
        rows = run.history[run.history["weights"] == weights]
        np.testing.assert_allclose(rows["first"], np.abs(mean.real)[rows["step"]], atol=ROUNDING)
        np.testing.assert_allclose(rows["second"], np.abs(mean.imag)[rows["step"]], atol=ROUNDING)


def test_without_strength_nothing_is_complex():
    cycle = Cycle(lr=0.1, noise=1.0, strength=[0.0, 0.0])
    assert cycle.covariance().dtype == cycle.transient(2).fast_mean.dtype == np.float64


# ------------------------------------------------------------------------------------------- the family in closed form


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_variance_of_heavy_ball_momentum_has_its_closed_form(momentum):
    x = MODES["lr"] * 0.9
    step = MODES["lr"] * (1 - momentum)  # source: Mandt, Hoffman & Blei 2017, to all orders in the step
    expected = step * 0.4**2 * (1 + momentum) / (0.9 * (1 - momentum) * (2 * (1 + momentum) - x * (1 - momentum)))
    np.testing.assert_allclose(Cycle(beta1=momentum, **MODES).covariance()[:, 0, 0], expected, rtol=SOLVED)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(("sync_period", "size"), [(1, 0.5), (5, 0.5), (3, 0.2), (20, 0.8)])
def test_lookahead_saves_the_same_noise_at_the_same_speed_whatever_the_momentum(beta1, sync_period, size):
    x = 1e-4  # lr*curvature
    slow = Cycle(lr=x, beta1=beta1, noise=1.0, sync_period=sync_period, slow_step_size=size).covariance()[1, 1]
    plain = Cycle(lr=size * x, beta1=beta1, noise=1.0).covariance()[0, 0]
    assert (1 - slow / plain) / x == pytest.approx((sync_period - 1) * (1 - size) / 2, abs=1e-3, rel=2e-3)


@pytest.mark.parametrize(("sync_period", "size"), [(1, 0.5), (5, 0.5), (3, 0.2), (20, 0.8)])
def test_without_momentum_lookahead_loses_as_much_speed_in_a_direction_as_it_saves_noise(sync_period, size):
    x = 1e-4  # lr*curvature
    speed, plain = np.log(theory.sgd_rate(x, 1.0, sync_period, size)), np.log1p(-size * x)
    assert (1 - speed / plain) / x == pytest.approx((sync_period - 1) * (1 - size) / 2, abs=1e-3, rel=2e-3)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.99])
def test_variance_of_an_exponential_average_has_its_closed_form(decay):
    r, alone = 1 - MODES["lr"] * 0.9, theory.sgd_variance(**MODES)  # of an AR(1) sequence with the correlations r^j
    expected = alone * (1 - decay) / (1 + decay) * (1 + decay * r) / (1 - decay * r)
    average = Cycle(slow_step_size=1 - decay, pull_back=False, bias_corrected=True, **MODES)
    np.testing.assert_allclose(average.covariance()[:, 1, 1], expected, rtol=SOLVED)


@pytest.mark.parametrize("mixing", [0.0, 0.8])
def test_means_of_all_steps_have_their_least_variance_and_mixing_costs_a_factor(mixing):
    average = {"slow_step_size": 0.0, "pull_back": False, "bias_corrected": True, "mixing": mixing}
    steps = 20_000
    end = Cycle(**average, **MODES).after(steps, start=0.0)
    least = (0.4 / 0.9) ** 2 / steps  # Polyak & Juditsky 1992
    np.testing.assert_allclose(end.slow_variance, least / (1 - mixing**2), rtol=2e-2)
    if not mixing:
        r = 1 - MODES["lr"] * 0.9
        sums = (1 - r ** np.arange(1, steps + 1)[:, None]) / (1 - r)
        exact = np.square(MODES["lr"] * 0.4 / steps * sums).sum(0)  # each source, to all orders in lr
        np.testing.assert_allclose(end.slow_variance, exact, rtol=SOLVED)
    assert (Cycle(**average, **MODES).rate == 1).all()


def test_primal_averaging_is_momentum():
    how, size = {"curvature": 0.9, "noise": 0.4}, 0.3
    ours = Cycle(lr=0.8, slow_step_size=size, pull_back=False, mixing=1.0, **how).transient(40)
    momentum = Cycle(lr=0.8, beta1=1 - size, **how).transient(40)  # its step is lr*size
    np.testing.assert_allclose(ours.slow_mean, momentum.fast_mean, atol=ROUNDING)
    np.testing.assert_allclose(ours.slow_variance, momentum.fast_variance, atol=ROUNDING)
    ours = Cycle(lr=0.8, slow_step_size=size, pull_back=False, mixing=1 - size, **how).transient(40)
    momentum = Cycle(lr=0.8, beta1=1 - size, nesterov=True, **how).transient(40)
    np.testing.assert_allclose(ours.fast_mean, momentum.fast_mean, atol=ROUNDING)
    np.testing.assert_allclose(ours.fast_variance, momentum.fast_variance, atol=ROUNDING)


@pytest.mark.parametrize("nesterov", [False, True])
def test_outer_momentum_with_a_sync_at_every_step_is_momentum(nesterov):
    how = {"curvature": 0.9, "noise": 0.4}
    ours = Cycle(lr=0.5, slow_step_size=0.6, outer_momentum=0.7, outer_nesterov=nesterov, **how)
    momentum = Cycle(lr=0.5 * 0.6 / 0.3, beta1=0.7, nesterov=nesterov, **how)
    assert ours.rate == pytest.approx(float(momentum.rate), rel=ROUNDING)
    np.testing.assert_allclose(ours.transient(40).slow_mean, momentum.transient(40).fast_mean, atol=ROUNDING)
    assert ours.covariance()[1, 1] == pytest.approx(momentum.covariance()[0, 0], rel=SOLVED)


# -------------------------------------------------------------------------------------------------- worked values

WITH_MOMENTUM = {5: (0.2522, 0.8807), 10: (0.1678, 0.9482), 20: (0.4048, 0.9800)}  # ratio of variances, rate


@pytest.mark.parametrize("sync_period", WITH_MOMENTUM)
def test_cycle_with_momentum_has_the_values_worked_out_before(sync_period):
    inner = Cycle(lr=1.0, beta1=0.9, noise=1.0)
    cycle = Cycle(lr=1.0, beta1=0.9, noise=1.0, sync_period=sync_period, slow_step_size=0.5)
    ratio, rate = WITH_MOMENTUM[sync_period]
    assert abs(cycle.covariance()[1, 1] / inner.covariance()[1, 1] - ratio) <= PRINTED * 1e-4
    assert abs(cycle.rate - rate) <= PRINTED * 1e-4
    assert abs(inner.rate - 0.9487) <= PRINTED * 1e-4


def fast_variance_ratio(lr, curvature, sync_period, slow_step_size, phase):
    """Of V = r^2 V + lr^2 noise^2, started at R V_SGD: the variance of fast grows back towards V_SGD."""
    R = theory.sgd_variance_ratio(lr, curvature, sync_period, slow_step_size)
    return 1 - (1 - R) * (1 - np.multiply(lr, curvature)) ** (2 * phase)


# lr*curvature, slow_step_size, sync_period: R, ratio of speeds, variance of fast over the cycle / V_SGD or None
TABLE = [
    (0.01, 0.8, 5, 0.796, 0.796, 0.81), (0.01, 0.5, 10, 0.488, 0.487, 0.54), (0.01, 0.1, 10, 0.096, 0.096, 0.19),
    (0.1, 0.8, 10, 0.730, 0.699, 0.90), (0.1, 0.5, 5, 0.443, 0.435, 0.69), (0.1, 0.5, 20, 0.359, 0.274, 0.87),
    (0.1, 0.1, 5, 0.081, 0.079, 0.49), (0.5, 0.5, 5, 0.340, 0.191, None), (0.5, 0.3, 5, 0.181, 0.099, None),
]  # fmt: skip


@pytest.mark.parametrize(("x", "size", "k", "ratio", "speed", "fast"), TABLE)
def test_closed_forms_have_the_values_worked_out_before(x, size, k, ratio, speed, fast):
    assert abs(theory.sgd_variance_ratio(x, 1, k, size) - ratio) <= PRINTED * 1e-3
    assert abs(np.log(theory.sgd_rate(x, 1, k, size)) / np.log(1 - x) - speed) <= PRINTED * 1e-3
    if fast:
        average = np.mean([fast_variance_ratio(x, 1, k, size, i) for i in range(1, k + 1)])
        assert abs(average - fast) <= PRINTED * 1e-2


@pytest.mark.parametrize(
    ("x", "k", "variance"), [(0.1, 5, 0.02331), (0.5, 5, 0.1134), (1.5, 5, 0.979), (1.5, 4, 1.041)]
)
def test_steady_variance_of_the_published_proposition(x, k, variance):
    assert theory.sgd_variance_ratio(x, 1, k, 0.5) * theory.sgd_variance(x, 1, 1) == pytest.approx(variance, rel=5e-4)


# curvatures 1/i of so many modes, noise variance a: settings and the expected loss of slow after 1000 steps from 1
SPECTRA = [(100, 1, 1.0, 0.080, 0.1469), (100, 5, 0.5, 0.166, 0.1425), (100, 5, 0.8, 0.099, 0.1457)]
SPECTRA += [(1000, 1, 1.0, 0.178, 0.6964), (1000, 5, 0.5, 0.398, 0.6762)]


@pytest.mark.parametrize(("modes", "k", "size", "lr", "loss"), SPECTRA)
def test_expected_loss_over_a_spectrum_has_the_value_worked_out_before(modes, k, size, lr, loss):
    a = 1 / np.arange(1, modes + 1)
    path = Cycle(lr=lr, curvature=a, noise=np.sqrt(a), sync_period=k, slow_step_size=size).transient(1000)
    losses = theory.expected_loss(a, path.slow_mean, path.slow_variance)
    assert losses.shape == (1001,)
    assert abs(losses[-1] - loss) <= PRINTED * 1e-4


@pytest.mark.parametrize(
    ("x", "size", "exact", "formula"),
    [(0.01, 0.8, 420, 430), (0.01, 0.5, 605, 597), (0.01, 0.2, 1400, 1378), (0.1, 0.5, 40, 35), (0.1, 0.2, 95, 78)],
)
def test_lookahead_is_behind_before_the_crossing_and_ahead_after(x, size, exact, formula):
    ours = Cycle(lr=x, noise=1.0, sync_period=5, slow_step_size=size).transient(2 * exact)
    theirs = Cycle(lr=x, noise=1.0).transient(2 * exact)
    behind = ours.slow_mean**2 + ours.slow_variance > theirs.fast_mean**2 + theirs.fast_variance
    assert behind[1:exact].all()
    assert not behind[exact:].any()
    assert abs(theory.sgd_crossing_time(x, 1, 5, size, 1) - formula) <= PRINTED
    assert theory.sgd_crossing_time(x, 1, 5, size, 1, start=0.01) == 0


# beta1, sync_period, condition number, modes: 1 - rate of momentum alone, and around it keep, interpolate, reset
FIGURE_3 = [
    (0.99, 20, 10, 2, (5.0e-3, 5.0e-2, 1.2e-1, 1.5e-1)), (0.99, 20, 1e5, 2, (5.0e-3, 2.6e-3, 2.5e-3, 2.0e-4)),
    (0.9, 5, 10, 2, (5.1e-2, 2.0e-1, 3.4e-1, 3.5e-1)), (0.9, 5, 100, 2, (5.1e-2, 7.1e-2, 4.8e-2, 4.8e-2)),
    (0.99, 20, 100, 2, (5.0e-3, 4.8e-2, 1.3e-1, 1.4e-1)), (0.99, 20, 1000, 2, (5.0e-3, 1.5e-2, 1.3e-2, 2.1e-2)),
    (0.99, 20, 10, 50, (5.0e-3, 1.0e-2, 1.8e-2, 2.9e-2)), (0.99, 20, 100, 50, (5.0e-3, 5.6e-3, 4.4e-3, 4.0e-3)),
    (0.99, 20, 1000, 50, (5.0e-3, 5.2e-3, 2.7e-3, 2.4e-3)), (0.99, 20, 1e5, 50, (5.0e-3, 2.6e-3, 2.5e-3, 1.9e-4)),
    (0.9, 5, 100, 8, (5.1e-2, 4.9e-2, 3.0e-2, 1.4e-2)),
]  # fmt: skip


@pytest.mark.parametrize(("beta1", "k", "condition", "modes", "gaps"), FIGURE_3)
def test_best_rate_around_momentum_has_the_values_worked_out_before(beta1, k, condition, modes, gaps):
    spectrum = np.geomspace(1 / condition, 1, modes)
    inside = [("keep", 1, 1.0), ("keep", k, 0.5), ("interpolate", k, 0.5), ("reset", k, 0.5)]
    for (inner_state, period, size), gap in zip(inside, gaps, strict=True):
        how = {"beta1": beta1, "sync_period": period, "slow_step_size": size, "inner_state": inner_state}
        lr, rate = theory.best_lr(spectrum, **how)
        assert rate == Cycle(lr=lr, curvature=spectrum, **how).rate.max()
        assert 0.97 * gap <= 1 - rate  # the notes searched a coarser grid, and rounded
        assert modes == 8 or 1 - rate <= 1.08 * gap  # with fewer modes than there a faster rate is no surprise
        assert modes == 50 or theory.best_lr(10 * spectrum, **how)[1] == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("inner_state", ["keep", "interpolate", "reset"])
def test_no_lr_of_a_fine_grid_is_better_than_the_best(inner_state):
    spectrum, how = np.array([0.01, 0.3, 1]), {"beta1": 0.9, "sync_period": 5, "slow_step_size": 0.5}
    lrs = np.linspace(0, 80, 3001)[1:, None]
    rates = Cycle(lr=lrs, curvature=spectrum, inner_state=inner_state, **how).rate.max(1)
    assert theory.best_lr(spectrum, inner_state=inner_state, **how)[1] <= rates.min()


# ---------------------------------------------------------------------------------- gradient descent, in closed form

X = np.array([0.003, 0.1, 0.5, 0.99, 1.3, 1.9])[:, None]
SIZES = np.array([0.05, 0.5, 0.8, 1.0])
PERIODS = [1, 2, 5, 10, 21]


@pytest.mark.parametrize("k", PERIODS)
def test_closed_forms_are_the_cycle_without_momentum(k):
    lr, curvature, noise = 0.4 * X, 2.5, 0.7
    cycle = Cycle(lr=lr, curvature=curvature, noise=noise, sync_period=k, slow_step_size=SIZES)
    inner = Cycle(lr=lr, curvature=curvature, noise=noise)
    variance, ratio = theory.sgd_variance(lr, curvature, noise), theory.sgd_variance_ratio(lr, curvature, k, SIZES)
    np.testing.assert_allclose(inner.covariance()[..., 0, 0], variance, rtol=SOLVED)
    np.testing.assert_allclose(cycle.covariance()[..., 1, 1], ratio * variance, rtol=SOLVED)
    for phase in range(1, k + 1):
        fast = fast_variance_ratio(lr, curvature, k, SIZES, phase) * variance
        np.testing.assert_allclose(cycle.covariance(phase % k)[..., 0, 0], fast, rtol=SOLVED)
    np.testing.assert_allclose(cycle.rate**k, theory.sgd_rate(lr, curvature, k, SIZES) ** k, atol=ROUNDING)


@pytest.mark.parametrize("k", PERIODS)
def test_closed_moments_are_those_of_the_transient(k):
    path = Cycle(lr=X, noise=0.7, sync_period=k, slow_step_size=SIZES).transient(3 * k, start=1.5)
    for syncs in range(4):
        mean, variance = theory.sgd_moments(syncs, X, 1, k, SIZES, 0.7, start=1.5)
        np.testing.assert_allclose(path.slow_mean[syncs * k], mean, atol=ROUNDING)
        np.testing.assert_allclose(path.slow_variance[syncs * k], variance, atol=ROUNDING)


@pytest.mark.parametrize(("k", "size", "limit"), [(5, 0.5, 2.246), (9, 0.5, 2.130), (5, 0.8, 2.084), (4, 0.5, 2)])
def test_stability_limit_of_gradient_descent_depends_on_the_parity_of_the_period(k, size, limit):
    closed = 1 + ((2 - size) / size) ** (1 / k) if k % 2 else 2  # an odd power r^k may fall to 1 - 2/size
    assert abs(closed - limit) <= PRINTED * 1e-3
    assert theory.stability_limit(sync_period=k, slow_step_size=size) == pytest.approx(closed, rel=1e-9)


def test_variance_ratio_keeps_within_its_bounds_and_rises_with_step_and_contraction():
    lr, sizes = np.linspace(0.01, 1, 60), np.linspace(0.02, 0.98, 50)[:, None]
    for k in PERIODS:
        ratio = theory.sgd_variance_ratio(lr, 1, k, sizes)
        assert (ratio >= sizes / (2 - sizes) - ROUNDING).all()
        assert (ratio <= sizes + ROUNDING).all()
        assert (np.diff(ratio, axis=0) > 0).all()
        assert (np.diff(ratio, axis=1) <= (k > 1) * ROUNDING).all()


def test_rate_is_slower_the_longer_the_cycle_and_the_smaller_the_step():
    lr, sizes = np.linspace(0.01, 0.95, 40), np.linspace(0.02, 0.98, 30)[:, None]
    rates = np.array([theory.sgd_rate(lr, 1, k, sizes) for k in PERIODS])
    assert (np.diff(rates, axis=0) > 0).all()
    assert (np.diff(rates, axis=1) < 0).all()
    assert (np.log(theory.sgd_rate(lr, 1, 5, sizes)) / np.log(1 - lr) <= sizes).all()  # of speeds


# modes, slow_step_size: the expected loss after 1000 steps over that of gradient descent of the same steady-state risk,
# at sync periods 5, 10, 20, 50, at the lr where it is lowest
MATCHED = [(100, 0.5, (0.968, 0.936, 0.897, 0.848)), (100, 0.8, (0.991, 0.982, 0.966, 0.940))]
MATCHED += [(100, 0.2, (0.903, 0.848, 0.802, 0.781)), (1000, 0.5, (0.971, 0.955, 0.939, 0.921))]


@pytest.mark.parametrize(("modes", "size", "ratios"), MATCHED)
def test_loss_at_matched_risk_has_the_values_worked_out_before(modes, size, ratios):
    a, lrs = 1 / np.arange(1, modes + 1), np.geomspace(0.01, 0.5, 40)
    theirs = theory.expected_loss(a, *theory.sgd_moments(1000, lrs[:, None], a, 1, 1, np.sqrt(a)))
    for k, ratio in zip((5, 10, 20, 50), ratios, strict=True):
        matched = theory.sgd_matched_lr(lrs, a, np.sqrt(a), k, size)
        cycle = Cycle(lr=matched[:3, None], curvature=a, noise=np.sqrt(a), sync_period=k, slow_step_size=size)
        risk = theory.expected_loss(a, 0, theory.sgd_variance(lrs[:3, None], a, np.sqrt(a)))
        np.testing.assert_allclose(theory.expected_loss(a, 0, cycle.covariance()[..., 1, 1]), risk, rtol=SOLVED)
        ours = theory.expected_loss(a, *theory.sgd_moments(1000 // k, matched[:, None], a, k, size, np.sqrt(a)))
        assert abs((ours / theirs).min() - ratio) <= 1.1e-3  # the notes searched another grid


def test_matched_lr_is_the_same_at_slow_step_1_larger_below_and_nan_out_of_reach():
    a, lrs = np.array([0.1, 1.0]), np.array([0.1, 1.0, 1.999])
    np.testing.assert_allclose(theory.sgd_matched_lr(lrs, a, 1.0, 5, 1), lrs, rtol=ROUNDING)
    assert theory.sgd_matched_lr(0.1, a, 1.0, 5, 0.5) > 0.2  # a sync at every step is lr*slow_step_size
    assert np.isnan(theory.sgd_matched_lr(lrs, a, 1.0, 5, 0.5)).tolist() == [False, False, True]


# --------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("beta1", [0.0, 0.6, 0.9])
def test_a_sync_at_every_step_is_the_inner_rule_at_the_lower_lr(beta1):
    for size in (0.1, 0.5, 1.0):
        cycle = Cycle(lr=0.8, beta1=beta1, noise=0.3, slow_step_size=size)
        lower = Cycle(lr=0.8 * size, beta1=beta1, noise=0.3)
        assert cycle.rate == pytest.approx(float(lower.rate), rel=ROUNDING)
        assert np.abs(cycle.covariance()[1:, 1:] - lower.covariance()[1:, 1:]).max() <= ROUNDING
        np.testing.assert_allclose(cycle.transient(9).slow_mean, lower.transient(9).fast_mean, atol=ROUNDING)


@pytest.mark.parametrize("inner_state", ["keep", "interpolate"])
def test_slow_step_1_is_the_inner_rule(inner_state):
    cycle = Cycle(lr=0.8, beta1=0.9, noise=0.3, sync_period=4, slow_step_size=1, inner_state=inner_state)
    inner = Cycle(lr=0.8, beta1=0.9, noise=0.3)
    assert cycle.rate == pytest.approx(float(inner.rate), rel=ROUNDING)
    for phase in range(4):
        fast = cycle.covariance(phase)[0::2, 0::2]
        assert np.abs(fast - inner.covariance()[0::2, 0::2]).max() <= ROUNDING
    np.testing.assert_allclose(cycle.transient(9).fast_mean, inner.transient(9).fast_mean, atol=ROUNDING)


def test_without_pull_back_the_fast_weights_are_those_of_the_inner_rule():
    cycle = Cycle(lr=0.8, beta1=0.9, noise=0.3, sync_period=4, slow_step_size=0.3, pull_back=False)
    inner = Cycle(lr=0.8, beta1=0.9, noise=0.3)
    for phase in range(4):
        assert abs(cycle.covariance(phase)[0, 0] - inner.covariance()[0, 0]) <= ROUNDING
    assert cycle.covariance()[1, 1] < inner.covariance()[0, 0]
    still = Cycle(lr=0.8, sync_period=4, slow_step_size=0.3, pull_back=False)  # fast is there at once, slow follows
    assert still.rate == pytest.approx(0.7**0.25, rel=ROUNDING)


def test_slow_step_0_never_settles():
    for pull_back in (True, False):
        cycle = Cycle(lr=0.5, noise=1.0, sync_period=3, slow_step_size=0, pull_back=pull_back)
        assert cycle.rate == 1
        assert not cycle.stable
        assert np.isnan(cycle.covariance()).all()
        assert (cycle.transient(7).slow_mean == 1).all()
        assert (cycle.transient(7).slow_variance == 0).all()


@each_reading
def test_stability_ends_at_the_limit(inner_state, pull_back):
    how = {"beta1": 0.9, "sync_period": 5, "slow_step_size": 0.5, "inner_state": inner_state, "pull_back": pull_back}
    limit = theory.stability_limit(**how)
    assert Cycle(lr=limit * np.linspace(1e-4, 1 - 1e-9, 777), **how).stable.all()
    assert not Cycle(lr=limit * (1 + 1e-9), **how).stable
    if not pull_back:
        assert limit == pytest.approx(2 * 1.9 / 0.1, rel=1e-9)  # 2(1+beta1)/(1-beta1), the inner rule's


# ------------------------------------------------------------------------------------------- the real optimizers

INNER = {"SGD": lnb.SGD(0.3), "momentum": lnb.SGD(0.1, momentum=0.8)}


@each_reading
@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_mean_is_the_path_of_the_optimizer_without_noise(inner, inner_state, pull_back):
    opt = lnb.Lookahead(inner, sync_period=3, slow_step_size=0.4, inner_state=inner_state, pull_back=pull_back)
    curvatures = np.array([0.5, 2.0, 5.0])
    fast, slow = trace(Quadratic(curvatures), opt, np.array([1.0, -2.0, 3.0]), 13)
    path = Cycle.of(opt, curvature=curvatures).transient(13, start=[1.0, -2.0, 3.0])
    np.testing.assert_allclose(path.fast_mean, fast, atol=ROUNDING)
    np.testing.assert_allclose(path.slow_mean, slow, atol=ROUNDING)


REPLICAS, FALSE_ALARM = 20_000, 1e-6  # the seeds are fixed: a test that passes once passes always
NOISY = {"SGD": lnb.SGD(0.3), "momentum": lnb.SGD(0.1, momentum=0.8)}


def agrees_with_many_runs(opt, asserts):
    """Whether means, variances and losses of replicas of a real run are those of theory."""
    stats = pytest.importorskip("scipy.stats")
    a, noise, start, spread = np.array([0.5, 2.0, 4.0]), np.array([0.3, 1.0, 0.5]), np.array([1.0, -1.0, 0.0]), 0.2
    landscape = Quadratic(a, noise=noise, start=start, spread=spread, replicas=REPLICAS)
    steps = 18  # half-way between two syncs
    run = lnb.train(landscape, None, opt, steps=steps, eval_every=1, seed=7, dtype="float64")
    path = Cycle.of(opt, curvature=a, noise=noise).transient(steps, start=start, spread=spread)
    asserts = asserts * (2 * 2 * 3 + 2 * steps)
    z = stats.norm.isf(FALSE_ALARM / asserts / 2)

    # The weights are normal, so their mean is too, and their variance follows chi squared, both exactly.
    quantile = FALSE_ALARM / asserts / 2
    for params, mean, variance in ((run.params, *path[0::2]), (run.slow, *path[1::2]))[: 2 if opt.sync else 1]:
        points = landscape.points(params)
        assert (np.abs(points.mean(0) - mean[-1]) <= z * np.sqrt(variance[-1] / REPLICAS)).all()
        ratio = points.var(0, ddof=1) / variance[-1] * (REPLICAS - 1)
        assert (stats.chi2.ppf(quantile, REPLICAS - 1) <= ratio).all()
        assert (ratio <= stats.chi2.isf(quantile, REPLICAS - 1)).all()

    # At every phase, fast before the pull and slow after it, the loss: the variance of a square of normal numbers.
    for kind, mean, variance in (("fast", *path[0::2]), ("slow", *path[1::2]))[: 2 if opt.sync else 1]:
        losses = run.history.train_loss[run.history.weights == kind].to_numpy()
        deviation = np.sqrt((a**2 * (variance**2 / 2 + mean**2 * variance)).sum(1) / REPLICAS)
        assert (np.abs(losses - theory.expected_loss(a, mean, variance)) <= z * deviation + ROUNDING).all()


@pytest.mark.jit
@each_reading
@pytest.mark.parametrize("inner", NOISY.values(), ids=NOISY)
def test_mean_and_variance_are_those_of_many_noisy_runs(inner, inner_state, pull_back):
    opt = lnb.Lookahead(inner, sync_period=4, slow_step_size=0.4, inner_state=inner_state, pull_back=pull_back)
    agrees_with_many_runs(opt, len(NOISY) * len(READINGS))


FALLING = lnb.SGD(lnb.schedules.linear(0.2, steps=30, warmup=4), momentum=0.6)
FAMILY = {
    "Nesterov": lnb.SGD(0.1, momentum=0.8, nesterov=True),
    "falling rate": FALLING,
    "outer momentum": lnb.Lookahead(lnb.SGD(0.2), sync_period=4, slow_step_size=0.7, outer_momentum=0.5),
    "DiLoCo": lnb.Lookahead(NOISY["momentum"], sync_period=4, outer_momentum=0.4, outer_nesterov=True),
    "beyond": lnb.Lookahead(lnb.SGD(0.1), sync_period=4, slow_step_size=1.5),
    "EMA": lnb.EMA(lnb.SGD(0.3, momentum=0.5), window=6),
    "EMA of a falling rate": lnb.EMA(FALLING, window=5),
    "Lookahead at a falling rate": lnb.Lookahead(FALLING, sync_period=4, inner_state="interpolate"),
}
each_of_family = pytest.mark.parametrize("opt", FAMILY.values(), ids=FAMILY)


@each_of_family
def test_mean_of_each_of_the_family_is_its_path_without_noise(opt):
    curvatures, start = np.array([0.5, 2.0, 5.0]), np.array([1.0, -2.0, 3.0])
    fast, slow = trace(Quadratic(curvatures), opt, start, 13)
    path = Cycle.of(opt, curvature=curvatures).transient(13, start=start)
    np.testing.assert_allclose(path.fast_mean, fast, atol=ROUNDING)
    if slow is not None:
        np.testing.assert_allclose(path.slow_mean, slow, atol=ROUNDING)


@pytest.mark.jit
@each_of_family
def test_variance_of_each_of_the_family_is_that_of_many_noisy_runs(opt):
    agrees_with_many_runs(opt, len(FAMILY))


def test_schedule_free_is_that_of_the_optimizer_where_eps_takes_the_preconditioner_out():
    eps, curvatures, start = 1e9, np.array([0.5, 2.0, 5.0]), np.array([1.0, -2.0, 3.0])  # d = g/eps up to 1e-8
    y, x = trace(Quadratic(curvatures), lnb.ScheduleFreeAdamW(0.3 * eps, beta1=0.8, eps=eps), start, 25)
    path = Cycle.of(lnb.ScheduleFreeAdamW(0.3, beta1=0.8), curvature=curvatures).transient(25, start=start)
    np.testing.assert_allclose(path.fast_mean, y, atol=1e-6)
    np.testing.assert_allclose(path.slow_mean, x, atol=1e-6)


def test_mean_of_a_plain_rule_is_its_path():
    for inner in INNER.values():
        fast, _ = trace(Quadratic([2.0]), inner, np.array([1.0]), 9)
        np.testing.assert_allclose(Cycle.of(inner, curvature=2.0).transient(9).fast_mean, fast[:, 0], atol=ROUNDING)


def test_settings_of_an_optimizer_are_taken_over():
    opt = lnb.Lookahead(lnb.Adam(0.2, beta1=0.7), sync_period=7, retention=0.9, inner_state="reset")
    cycle = Cycle.of(opt, curvature=[1.0, 2.0], noise=0.5)
    assert (cycle.sync_period, cycle.inner_state, cycle.pull_back) == (7, "reset", True)
    assert cycle.lr.tolist() == [0.2, 0.2]
    assert (cycle.beta1[0], cycle.slow_step_size[0], cycle.noise[0]) == (0.7, 0.1, 0.5)
    assert Cycle.of(lnb.SGD(0.1, momentum=0.75)).lr == pytest.approx(0.4)


def test_average_of_slow_and_fast_moves_by_inner_steps_only():
    opt = lnb.Lookahead(lnb.SGD(0.3, momentum=0.5), sync_period=4, slow_step_size=0.3)
    params, landscape = np.array([1.0, -2.0]), Quadratic([1.0, 3.0])
    state, velocity = opt.init(params), np.zeros(2)
    y = theory.averaged(state.slow, params, 0.3)
    for _ in range(13):
        grad = landscape.loss_and_grad(params)[1]
        velocity = 0.5 * velocity + grad
        opt.step(params, grad, state)
        y = y - 0.3 * 0.3 * velocity  # the inner rule at lr*slow_step_size, nothing at a sync
        np.testing.assert_allclose(theory.averaged(state.slow, params, 0.3), y, atol=ROUNDING)


def test_optimal_slow_step_is_the_lowest_point_of_the_line(rng):
    a, start, end = rng.uniform(0.1, 3, 6), rng.normal(size=6), rng.normal(size=6)
    best = theory.optimal_slow_step(a, start, end)
    at = start + best * (end - start)
    assert abs((a * at * (end - start)).sum()) <= ROUNDING  # no slope along the line is left
    assert best == pytest.approx(1 - ((end - start) * a * end).sum() / (a * (end - start) ** 2).sum())
    overdamped = np.array([0.9, 0.5, 0.99]) ** 5
    assert theory.optimal_slow_step([1, 5, 0.1], np.ones(3), overdamped) >= 1
    assert theory.optimal_slow_step([2.0], [1.0], [-1.0]) == 0.5
    assert np.isnan(theory.optimal_slow_step([2.0], [1.0], [1.0]))
    many = theory.optimal_slow_step(a, np.stack([start, end]), np.stack([end, start]))
    assert many.tolist() == [best, pytest.approx(1 - best)]


def test_game_grows_without_lookahead_and_shrinks_with_it():
    assert abs(theory.game_multiplier(0.3, 1, 1, 1)) > 1
    z, slow = 1 + 0j, 1 + 0j
    for t in range(1, 21):
        z += 0.15 * 2 * 1j * z
        if t % 5 == 0:
            z = slow = slow + 0.4 * (z - slow)
    multiplier = theory.game_multiplier(0.15, 2, 5, 0.4)
    assert slow == pytest.approx(multiplier**4)
    assert abs(multiplier) < 1


# ---------------------------------------------------------------------------------------------------------- the door

NAN = float("nan")
BAD = {
    "lr": (lambda: Cycle(lr=-1), ValueError, "lr must be .*got -1"),
    "one lr": (lambda: Cycle(lr=[0.1, NAN]), ValueError, r"lr\[1\] must be .*got .*nan"),
    "lr text": (lambda: Cycle(lr="1"), TypeError, "lr must be .*'1'"),
    "curvature": (lambda: Cycle(lr=1, curvature=0), ValueError, "curvature must be .*above 0, got 0"),
    "beta1": (lambda: Cycle(lr=1, beta1=1), ValueError, "beta1 must be .*got 1"),
    "noise": (lambda: Cycle(lr=1, noise=-0.5), ValueError, r"noise must be .*got -0\.5"),
    "slow_step_size": (lambda: Cycle(lr=1, slow_step_size=2.5), ValueError, r"slow_step_size must be .*got 2\.5"),
    "strength": (lambda: Cycle(lr=1, strength=-1), ValueError, "strength must be .*got -1"),
    "one of no curvature": (lambda: Cycle(lr=1, curvature=-1, strength=1), ValueError, "curvature must be .*got -1"),
    "steps_per_epoch": (lambda: Cycle(lr=1, steps_per_epoch=1), ValueError, "steps_per_epoch must be .*got 1"),
    "half an epoch": (lambda: Cycle(lr=1, steps_per_epoch=2.5), TypeError, r"steps_per_epoch must be .*got 2\.5"),
    "sync_period": (lambda: Cycle(lr=1, sync_period=2.5), TypeError, r"sync_period must be .*got 2\.5"),
    "inner_state": (lambda: Cycle(lr=1, inner_state="none"), ValueError, "inner_state must be .*'none'"),
    "pull_back": (lambda: Cycle(lr=1, pull_back=1), TypeError, "pull_back must be .*got 1"),
    "no pull-back": (lambda: Cycle(lr=1, pull_back=False, inner_state="reset"), ValueError, "inner_state .*'reset'"),
    "shapes": (lambda: Cycle(lr=[1, 2], noise=[1, 2, 3]), ValueError, r"broadcast, got lr \(2,\), .*noise \(3,\)"),
    "phase": (lambda: Cycle(lr=1, sync_period=3).covariance(3), ValueError, "phase must be .*got 3"),
    "steps": (lambda: Cycle(lr=1).transient(-1), ValueError, "steps must be .*got -1"),
    "start": (lambda: Cycle(lr=1).transient(1, start=NAN), ValueError, "start must be .*nan"),
    "spread": (lambda: Cycle(lr=1).transient(1, spread=-1), ValueError, "spread must be .*got -1"),
    "optimizer": (lambda: Cycle.of("SGD"), TypeError, "optimizer must be .*'SGD'"),
    "nesterov": (lambda: Cycle(lr=1, nesterov=1), TypeError, "nesterov must be True or False, got 1"),
    "outer_momentum": (lambda: Cycle(lr=1, outer_momentum=1), ValueError, "outer_momentum must be .*got 1"),
    "outer momentum alone": (
        lambda: Cycle(lr=1, outer_momentum=0.5, pull_back=False),
        ValueError,
        r"outer_momentum needs pull-back and inner_state 'keep', got 0\.5",
    ),
    "outer_nesterov": (lambda: Cycle(lr=1, outer_nesterov=True), ValueError, "outer_nesterov must be False without"),
    "mixing": (lambda: Cycle(lr=1, mixing=0.9), ValueError, r"mixing needs pull_back False, got 0\.9"),
    "bias_corrected": (lambda: Cycle(lr=1, bias_corrected=True), ValueError, "bias_corrected needs pull_back False"),
    "burn_in": (lambda: Cycle(lr=1, burn_in=3, pull_back=False), ValueError, "burn_in needs bias_corrected .*got 3"),
    "two averages": (
        lambda: Cycle(lr=1, slow_step_size=[0.1, 0.2], pull_back=False, bias_corrected=True),
        ValueError,
        "slow_step_size must be one number in .* for bias_corrected",
    ),
    "schedule text": (lambda: Cycle(lr=1, schedule="linear"), TypeError, "schedule must be .* or None, got 'linear'"),
    "steady schedule": (
        lambda: Cycle(lr=1, schedule=lnb.schedules.linear(1.0, steps=9)).rate,
        ValueError,
        "schedule must be None for a rate and a steady state, got schedules.linear",
    ),
    "warm-up": (
        lambda: Cycle.of(lnb.ScheduleFreeAdamW(lnb.schedules.constant(0.1, warmup=5))),
        ValueError,
        "optimizer must have no warm-up around Schedule-Free",
    ),
    "after": (lambda: Cycle(lr=1).after(1.5), TypeError, r"steps must be .*got 1\.5"),
    "decay": (lambda: Cycle.of(lnb.AdamW()), ValueError, "optimizer must be .*without weight decay.*got AdamW"),
    "adagrad": (lambda: Cycle.of(lnb.Lookahead(lnb.Adagrad())), ValueError, "optimizer must be .*got Adagrad"),
    "steps in turn": (
        lambda: Cycle.of(lnb.Lookahead(lnb.SGD(1), slow_step_size=(0.5, 0.2))),
        ValueError,
        r"optimizer must have one slow_step_size, got \(0\.5, 0\.2\)",
    ),
    "limit": (
        lambda: theory.stability_limit(slow_step_size=0),
        ValueError,
        r"slow_step_size must be a finite number in \[1e-100, 1\], got 0",
    ),
    "curvatures": (lambda: theory.best_lr([]), ValueError, "curvatures must hold at least one"),
    "no modes in a slow step": (
        lambda: theory.optimal_slow_step(2.0, 1.0, -1.0),
        ValueError,
        r"curvatures must be \(n,\), one for each mode, got \(\) with start \(\)",
    ),
    "no modes in a loss": (
        lambda: theory.expected_loss(1.0, 1.0, 0.0),
        ValueError,
        "curvature must have an axis of modes, or one of the others, got a number each",
    ),
    "closed lr": (lambda: theory.sgd_variance(0, 1, 1), ValueError, "lr must be .*got 0"),
    "closed period": (lambda: theory.sgd_rate(1, 1, 0, 0.5), ValueError, "sync_period must be .*got 0"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name_and_value(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()


# ---------------------------------------------------------------------------------------------------- half a period


@pytest.mark.parametrize("beta1", [0.3, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("x", [0.3, 1.0, 3.0, 5.6])
def test_half_a_period_is_pi_over_the_angle_of_a_step(beta1, x):
    step = np.array([[1 - (1 - beta1) * x, -beta1 * x], [1 - beta1, beta1]])  # of (weight, m), lr in m
    angle = abs(np.angle(np.linalg.eigvals(step)).max())
    expected = np.pi / angle if angle else np.inf
    assert theory.half_period(beta1, x) == pytest.approx(expected, rel=SOLVED)


def test_half_a_period_changes_the_sign_of_a_weight():
    beta1, x = 0.9, 1.0
    step = np.array([[1 - (1 - beta1) * x, -beta1 * x], [1 - beta1, beta1]])
    values, vectors = np.linalg.eig(step)
    power = vectors @ np.diag(values ** theory.half_period(beta1, x)) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(power, -(beta1 ** (theory.half_period(beta1, x) / 2)) * np.eye(2), atol=SOLVED)


def test_half_a_period_is_infinite_or_one_where_nothing_oscillates():
    for beta1 in (0.0, 0.5, 0.9):
        slow, fast = ((1 + sign * np.sqrt(beta1)) ** 2 / (1 - beta1) for sign in (-1, 1))
        assert theory.half_period(beta1, [0.0, 0.99 * slow]).tolist() == [np.inf, np.inf]
        assert theory.half_period(beta1, [1.01 * fast, 1e9]).tolist() == [1.0, 1.0]
    assert theory.half_period(0.0, 1.0) == pytest.approx(theory.half_period(1e-12, 1.0), rel=1e-5)


def test_half_a_period_broadcasts_and_refuses_what_is_out_of_range():
    assert theory.half_period([[0.5], [0.9]], [1.0, 2.0, 3.0]).shape == (2, 3)
    assert type(theory.half_period(0.9, 1.0)) is np.float64
    with pytest.raises(ValueError, match=r"beta1 must be .* got 1"):
        theory.half_period(1.0, 1.0)
    with pytest.raises(ValueError, match=r"x must be .* got -1"):
        theory.half_period(0.9, -1.0)
