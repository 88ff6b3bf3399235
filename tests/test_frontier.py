"""Noise against speed: the theorem without momentum, its steps, the reduction to x, and the frontier's definitions."""

import numpy as np
import pytest

from lookahead_nb import theory
from lookahead_nb.theory import Cycle, frontier
from lookahead_nb.theory.frontier import compared, families, lowest_risk, on_spectrum, solved, solved_families

CLOSE = 1e-9  # relative, of solved systems
SOLVED = 1e-5  # relative, where one of 1 - rate is 1e-7
X = np.concatenate([np.geomspace(1e-5, 0.9, 40), [0.95, 0.999, 1.0]])
SIZES = np.array([0.01, 0.1, 0.3, 0.5, 0.8, 0.99])[:, None]
PERIODS = [1, 2, 3, 5, 8, 21, 100]


def phi(t):
    return (1 - t) / (1 + t)


@pytest.mark.parametrize("k", PERIODS)
def test_without_momentum_the_pull_back_never_pays(k):
    cycle = Cycle(lr=X, noise=1.0, sync_period=k, slow_step_size=SIZES)
    average = theory.without_pull_back(cycle)
    assert (average.rate <= cycle.rate * (1 + CLOSE)).all()
    assert (average.covariance()[..., 1, 1] <= cycle.covariance()[..., 1, 1] * (1 + CLOSE)).all()
    assert (theory.pull_back_gain(X, 0.0, k, 0.5) >= 1 - CLOSE).all()


@pytest.mark.parametrize("k", [2, 4, 8, 20])
def test_with_an_even_period_it_never_pays_up_to_the_limit(k):
    assert (theory.pull_back_gain(np.linspace(1, 1.99, 60), 0.0, k, 0.5) >= 1 - CLOSE).all()


def test_there_is_no_gain_where_lookahead_is_unstable():
    assert np.isnan(theory.pull_back_gain(3.0, 0.0, 3, 0.5))


@pytest.mark.parametrize("k", PERIODS)
def test_each_step_of_the_proof(k):
    x, s = X, SIZES
    r, D = 1 - x, 1 - s
    q, m, shrunk = r**k, D + s * r**k, (1 - s * x) ** k
    assert (np.minimum(m - D, m - shrunk) >= -CLOSE).all()
    ours = phi(m) * phi(r) / phi(q)
    theirs = phi(1 - s * x) * phi(D) / phi(D * shrunk)
    cycle = Cycle(lr=x, noise=1.0, sync_period=k, slow_step_size=s)
    np.testing.assert_allclose(cycle.covariance()[..., 1, 1], ours, rtol=SOLVED)
    np.testing.assert_allclose(theory.without_pull_back(cycle).covariance()[..., 1, 1], theirs, rtol=SOLVED)
    bound = (1 + m) * (1 + D * m) / ((1 + q) * (1 + D) * (1 + D - D * q))
    assert (theirs / ours <= bound * (1 + SOLVED)).all()
    left = (1 + q) * (1 + D) * (1 + D - D * q) - (1 + m) * (1 + D * m)
    np.testing.assert_allclose(left, D * (1 - q) * ((1 - D**2) + (2 - D + D**2) * q), atol=1e-14)
    assert (bound <= 1 + CLOSE).all()


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_a_mode_overshoots_above_a_damping_of_one(beta1):
    border = (1 - np.sqrt(beta1)) ** 2 / (1 - beta1)
    assert theory.damping(border, beta1) == pytest.approx(1)
    for x, oscillates in ((0.99 * border, False), (1.01 * border, True)):
        mean = Cycle(lr=x, beta1=beta1).transient(2000).fast_mean
        assert (mean.min() < 0) == oscillates


def test_the_average_has_the_same_effective_rate():
    cycle = Cycle(lr=[0.2, 0.4], beta1=0.9, noise=0.3, sync_period=4, slow_step_size=[0.5, 0.25])
    average = theory.without_pull_back(cycle)
    assert average.lr.tolist() == [0.1, 0.1]
    assert (average.pull_back, average.sync_period, average.noise.tolist()) == (False, 4, [0.3, 0.3])


SETTING = {"beta1": 0.8, "sync_period": 3, "slow_step_size": 0.5}


@pytest.mark.parametrize("noise_exponent", [0.0, 1.0, 2.0])
def test_a_spectrum_is_the_sum_of_its_modes(noise_exponent):
    setting = solved(4.0, **SETTING)
    risk, speed = on_spectrum(setting, exponent=1.5, condition=30, noise_exponent=noise_exponent)
    h = frontier.RATIO ** -np.arange(round(np.log(30) / np.log(frontier.RATIO)) + 1)
    share = h ** (-1 / 1.5) / (h ** (-1 / 1.5)).sum()
    for i in (0, 100, len(risk) - 1):
        lr = setting.x[-len(risk) + i]
        cycle = Cycle(lr=lr, curvature=h, noise=h ** (noise_exponent / 2), **SETTING)
        assert risk[i] == pytest.approx((share * h * cycle.covariance()[:, 1, 1]).sum() / 2, rel=1e-6)
        assert speed[i] == pytest.approx(-np.log(cycle.rate.max()), rel=1e-6)


def test_the_lowest_risk_is_that_of_plain_descent_at_the_speed():
    # One mode: the speed decides lr, which decides the variance.
    of = {"exponent": 1.0, "condition": 1.0, "noise_exponent": 1.0}
    speeds = -np.log(1 - np.array([0.013, 0.2, 0.5]))
    lowest = lowest_risk([solved(1.999, weights="fast")], speeds, **of)
    expected = theory.sgd_variance(np.array([0.013, 0.2, 0.5]), 1.0, 1.0) / 2
    np.testing.assert_allclose(lowest.risk, expected, rtol=1e-3)
    np.testing.assert_allclose(lowest.x, [0.013, 0.2, 0.5], rtol=1e-3)
    assert lowest.setting.tolist() == [0, 0, 0]


def test_a_speed_out_of_reach_has_no_setting_and_more_settings_are_no_worse():
    of = {"exponent": 1.0, "condition": 10.0, "noise_exponent": 1.0}
    speeds = [0.01, 5.0]
    few = lowest_risk([solved(1.9, weights="fast")], speeds, **of)
    many = lowest_risk([solved(1.9, weights="fast"), solved(4.0, sync_period=4, slow_step_size=0.5)], speeds, **of)
    assert (few.risk[1], few.setting[1], np.isnan(few.x[1])) == (np.inf, -1, True)
    assert many.risk[0] <= few.risk[0]


def test_no_family_beats_the_average_without_momentum_where_nothing_overshoots():
    rows = compared({0.0: solved_families(0.0, few=True)}, exponent=1.0, condition=100, noise_exponent=1.0, speeds=6)
    assert len(rows) == 6
    calm = [row for row in rows if row["Lookahead damping"] <= 1]
    assert calm
    assert all(row["average"] <= row["Lookahead"] for row in calm)
    assert all(row["free"] <= min(row["inner"], row["Lookahead"]) * (1 + CLOSE) for row in rows)
    risks = [row["inner"] for row in rows]
    assert risks == sorted(risks)  # faster is noisier


def test_families_hold_what_their_names_say():
    named = families(0.9)
    assert {*named} == {"inner", "Lookahead", "average", "outer momentum", "primal averaging"}
    assert named["inner"] == [{"beta1": 0.9}]
    assert named["inner"][0] in named["average"]
    assert all("pull_back" not in setting for setting in named["Lookahead"])
    assert all(len(few) <= len(named[family]) for family, few in families(0.9, few=True).items())
    for listed in named.values():
        for setting in listed:
            Cycle(lr=0.1, **setting)


def test_without_replacement_noise_is_lower_at_the_end_of_an_epoch():
    spectrum = {"exponent": 1.0, "condition": 100.0, "noise_exponent": 1.0}
    fresh, epochs = (on_spectrum(solved(1.9, steps_per_epoch=n, weights="fast"), **spectrum) for n in (None, 20))
    assert (fresh[1] == epochs[1]).all()
    assert (epochs[0][:-20] < fresh[0][:-20]).all()


BAD = {
    "cycle": (lambda: theory.without_pull_back("x"), TypeError, "cycle must be a Cycle, got 'x'"),
    "average": (
        lambda: theory.without_pull_back(Cycle(lr=1, pull_back=False)),
        ValueError,
        "cycle must have pull-back, .*got pull_back False",
    ),
    "x": (lambda: theory.pull_back_gain(0, 0.9, 5, 0.5), ValueError, "x must be .*got 0"),
    "size": (lambda: theory.pull_back_gain(1, 0.9, 5, 0), ValueError, "slow_step_size must be .*got 0"),
    "beta1": (lambda: theory.damping(1, 1), ValueError, "beta1 must be .*got 1"),
    "condition": (
        lambda: on_spectrum(solved(1.0), exponent=1.0, condition=1e9, noise_exponent=1.0),
        ValueError,
        "condition must be at most .*got 1e",
    ),
    "weights": (lambda: solved(1.0, weights="mean"), ValueError, "weights must be .*'mean'"),
    "speeds": (lambda: lowest_risk([], [0.0], exponent=1.0, condition=2.0, noise_exponent=1.0), ValueError, "speeds"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()
