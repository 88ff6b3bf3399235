"""Steps to a loss: recomputed from runs alone."""

import numpy as np
import pandas as pd
import pytest
from test_screening import small_task

import lookahead_nb as lnb
from lookahead_nb.claims import convergence, population, trial_arms

SEEDS = [3, 5]
CENTRE = 0.01


def arm(name, period, step):
    settings = (("sync_period", period), ("slow_step_size", step))
    return trial_arms.TrialArm(name, (trial_arms.Grid(name, "AdamW", "Lookahead", "constant", settings),))


ARMS = {
    name: arm(name, *settings) for name, settings in {"base": (5, 0.5), "slow": (5, 0.1), "rare": (10, 0.5)}.items()
}


@pytest.fixture(scope="module")
def rows():
    screened = pd.DataFrame({"number": [small_task()], "centre": [CENTRE]})
    return convergence.measure(screened, ARMS, SEEDS, progress=False)


def curves(task, opt, seed):
    """Steps, training losses and the last validation loss of the slow weights at every sync."""
    run = lnb.train(
        task.model, task.replicate(seed), opt, steps=task.steps, batch_size=task.batch_size, seed=seed,
        eval_at=[*range(opt.sync_period, task.steps, opt.sync_period)], eval_rows=convergence.ROWS,
    )  # fmt: skip
    slow = run.history[(run.history["weights"] == "slow") & (run.history["step"] > 0)]
    return slow["step"].to_numpy(), slow["train_loss"].to_numpy(), slow["validation_loss"].iloc[-1]


def steps_to(steps, losses, target):
    """The step where the logarithm of the loss first crosses that of the target."""
    if losses[0] < target:
        return steps[0]
    for i in range(1, len(steps)):
        if losses[i] < target:
            share = np.log(losses[i - 1] / target) / np.log(losses[i - 1] / losses[i])
            return steps[i - 1] + share * (steps[i] - steps[i - 1])
    return steps[-1]


@pytest.mark.jit
@pytest.mark.parametrize("tuning", convergence.TUNINGS)
def test_steps_are_those_of_runs_alone(tuning, rows):
    task = population.generated(small_task())
    rates = [convergence.DEFAULT, *ARMS["base"].grids[0].rates(task.number, CENTRE)]
    for place, seed in enumerate(SEEDS):
        found = {
            name: [curves(task, one.grids[0].optimizer(lr, task.steps), seed) for lr in rates]
            for name, one in ARMS.items()
        }
        chosen = 0 if tuning == "default" else 1 + min(range(24), key=lambda i: found["base"][1 + i][2])
        steps, losses, _ = found["base"][chosen]
        target = np.exp(np.interp(task.steps / 2, steps, np.log(losses)))
        for name in ARMS:
            each = [steps_to(steps, losses, target) for steps, losses, _ in found[name]]
            expected = min(each[1:]) if tuning == "own" else each[chosen]
            row = rows[(rows["arm"] == name) & (rows["tuning"] == tuning)]
            np.testing.assert_allclose(row[f"r{place}"].item(), expected, rtol=1e-6)


@pytest.mark.no_kernel
def test_arms_that_are_no_lookahead_with_one_grid_are_refused():
    frame = pd.DataFrame({"number": [1], "centre": [0.1]})
    plain = trial_arms.TrialArm("plain", (trial_arms.Grid("plain", "AdamW", "", "constant", ()),))
    for wrong in (plain, trial_arms.TrialArm("two", 2 * ARMS["base"].grids)):
        with pytest.raises(ValueError, match=f"arms must be Lookaheads with one grid at length 1, got '{wrong.name}'"):
            convergence.measure(frame, {"base": ARMS["base"], "wrong": wrong}, SEEDS)
