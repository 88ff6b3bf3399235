"""Worth more steps, on quadratics: known answers, invariances, and the consistency of both run lengths."""

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.theory import Cycle, steps_worth, tuned

TUNED = 1e-4  # relative: a loss at a rate that is 0.4 % off
H = 1 / np.arange(1, 9)
MODES = {"lr": 1.0, "curvature": H, "noise": 0.5 * np.sqrt(H), "beta1": 0.9}
LOOKAHEAD = MODES | {"sync_period": 5, "slow_step_size": 0.5}


def test_one_mode_without_noise_is_solved_in_a_step():
    best = tuned(Cycle(lr=1.0, curvature=[2.0]), 5, weights="fast")
    assert best.lr == pytest.approx(0.5, rel=5e-3)
    assert best.loss <= 1e-11


def test_one_step_has_the_best_rate_of_the_derivative():
    # E(1 - lr*h)^2 + lr^2 noise^2 is lowest at lr = h/(h^2 + noise^2), where it is noise^2/(h^2 + noise^2)
    best = tuned(Cycle(lr=1.0, curvature=[2.0], noise=3.0), 1, weights="fast")
    assert best.lr == pytest.approx(2 / 13, rel=5e-3)
    assert best.loss == pytest.approx(9 / 13, rel=TUNED)
    spread = tuned(Cycle(lr=1.0, curvature=[2.0], noise=3.0), 1, weights="fast", start=0.0, spread=1.0)
    assert spread == pytest.approx(best)


@pytest.mark.parametrize("weights", ["slow", "fast"])
@pytest.mark.parametrize("schedule", [None, lnb.schedules.linear(1.0, steps=60)], ids=["constant", "linear"])
def test_no_rate_of_a_fine_grid_is_better(weights, schedule):
    cycle = Cycle(schedule=schedule, **LOOKAHEAD)
    best = tuned(cycle, 60, weights=weights)
    lrs = best.lr * np.geomspace(0.02, 50, 3000)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        end = Cycle(**LOOKAHEAD | {"lr": lrs, "schedule": schedule}).after(60)
        losses = theory.expected_loss(H, getattr(end, f"{weights}_mean"), getattr(end, f"{weights}_variance"))
    assert best.loss <= np.nanmin(losses) * (1 + TUNED)


def test_a_method_is_worth_its_own_steps():
    assert steps_worth(Cycle(**MODES), 50, weights="fast") == 1
    # A sync at every step is the inner optimizer at the lower rate.
    assert steps_worth(Cycle(slow_step_size=0.3, **MODES), 50) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("steps", [100, 300])
def test_as_many_steps_of_the_other_method_have_the_same_loss(steps):
    for cycle, weights in ((Cycle(**LOOKAHEAD), "slow"), (Cycle(**LOOKAHEAD), "fast")):
        worth = steps_worth(cycle, steps, weights=weights)
        assert (worth > 1) == (weights == "slow")
        counts = [int(worth * steps), int(worth * steps) + 1]
        losses = [tuned(Cycle(**MODES), count, weights="fast").loss for count in counts]
        assert losses[1] * (1 - TUNED) <= tuned(cycle, steps, weights=weights).loss <= losses[0] * (1 + TUNED)


def test_worth_does_not_depend_on_units():
    here = steps_worth(Cycle(**LOOKAHEAD), 40)
    scaled = LOOKAHEAD | {"curvature": 70 * H, "noise": 70 * 3 * LOOKAHEAD["noise"]}
    assert steps_worth(Cycle(**scaled), 40, start=3.0) == pytest.approx(here, rel=2e-3)


def test_worth_out_of_reach_is_infinite_and_one_without_a_step_is_zero():
    noisy = Cycle(**MODES | {"noise": 50.0})
    assert steps_worth(Cycle(**MODES | {"noise": 0.0}), 50, than=noisy, weights="fast") == np.inf
    assert steps_worth(Cycle(**MODES, slow_step_size=0.0), 50) == 0


def test_worth_of_the_family_on_a_step_limited_quadratic():
    steps = 300
    average = {"pull_back": False, "bias_corrected": True}
    methods = {
        "fast": (Cycle(**LOOKAHEAD), "fast"),
        "slow": (Cycle(**LOOKAHEAD), "slow"),
        "EMA": (Cycle(slow_step_size=10 / steps, **average, **MODES), "slow"),
        "linear": (Cycle(schedule=lnb.schedules.linear(1.0, steps=steps), **MODES), "fast"),
    }
    worth = [steps_worth(cycle, steps, weights=weights) for cycle, weights in methods.values()]
    assert worth == sorted(worth)
    assert worth[0] < 1 < worth[1]


BAD = {
    "cycle": (lambda: tuned("Lookahead", 5), TypeError, "cycle must be a Cycle, got 'Lookahead'"),
    "steps": (lambda: tuned(Cycle(**MODES), 0), ValueError, "steps must be .*got 0"),
    "weights": (lambda: tuned(Cycle(**MODES), 5, weights="mean"), ValueError, "weights must be .*'mean'"),
    "modes": (lambda: tuned(Cycle(lr=1.0), 5), ValueError, "curvature must be .*one for each mode"),
    "game": (lambda: tuned(Cycle(strength=1.0, **MODES), 5), ValueError, "cycle must have strength 0"),
    "start": (lambda: tuned(Cycle(**MODES), 5, start=[1.0, 2.0]), ValueError, "shapes that broadcast"),
    "than": (lambda: steps_worth(Cycle(**MODES), 5, than="AdamW"), TypeError, "than must be a Cycle, got 'AdamW'"),
    "schedule": (
        lambda: steps_worth(Cycle(**MODES), 5, than=Cycle(schedule=lnb.schedules.linear(1.0, steps=5), **MODES)),
        ValueError,
        "than must have no schedule",
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(bad):
    call, error, sentence = bad
    with pytest.raises(error, match=sentence):
        call()
