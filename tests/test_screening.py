"""Screening by AdamW alone: recomputed run by run, and the tasks that a trial takes."""

import math

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import population, screening, tuning

SEEDS = [11, 12]


def small_task():
    """The number of a task that trains quickly."""
    return next(
        i for i in range(1000) if (task := population.generated(i)).steps <= 60 and task.rows * task.features < 20_000
    )


@pytest.mark.jit
def test_a_task_is_screened_as_its_runs_alone_say():
    number = small_task()
    task = population.generated(number)
    found = screening.screen([number], SEEDS, progress=False).iloc[0]
    rates = screening._rates(task)
    assert screening.LOWEST <= rates[0] < screening.SPACING * screening.LOWEST
    np.testing.assert_allclose(np.diff(np.log(rates)), math.log(screening.SPACING), rtol=1e-12)
    losses = np.empty((2, 2, len(SEEDS), len(rates)))  # length, part, seed, rate
    for j, seed in enumerate(SEEDS):
        data = task.replicate(seed)
        for k, lr in enumerate(rates):
            run = lnb.train(
                task.model, data, lnb.AdamW(lr), steps=2 * task.steps, batch_size=task.batch_size, seed=seed,
                eval_at=[task.steps], eval_rows=2000,
            )  # fmt: skip
            history = run.history.set_index("step")
            for i, step in enumerate((task.steps, 2 * task.steps)):
                losses[i, :, j, k] = history.loc[step, ["validation_loss", "test_loss"]]
    chosen = losses[:, 0].argmin(axis=-1)
    once, twice = ([losses[i, 1, j, chosen[i, j]] for j in range(len(SEEDS))] for i in (0, 1))
    assert found["loss"] == np.mean(once)
    assert found["loss_twice"] == np.mean(twice)
    assert found["gain"] == pytest.approx(np.mean(np.log(np.divide(once, twice))), rel=1e-12)
    assert found["centre"] == pytest.approx(math.sqrt(rates[chosen[0, 0]] * rates[chosen[0, 1]]), rel=1e-3)
    assert (found["lowest"], found["highest"]) == tuning.edge_shares(chosen[0], len(rates))
    assert found["chance"] == np.mean([task.limits(seed).chance_loss for seed in SEEDS])
    assert found["best"] == np.mean([task.limits(seed).best_loss for seed in SEEDS])
    assert found["regime"] == tuning.regimes([once], [twice], [found["chance"]])[0]


def screened(*rows):
    return pd.DataFrame(rows, columns=["number", "steps", "regime"])


@pytest.mark.no_kernel
def test_a_trial_takes_the_first_tasks_of_every_class():
    frame = screened(
        (9, 40, "step-limited"), (1, 280, "step-limited"), (2, 300, "step-limited"), (3, 40, "hopeless"),
        (4, 2000, "saturated"), (5, 40, "saturated"), (6, 60, "overfitting"), (7, 300, "step-limited"),
        (8, 40, "step-limited"),
    )  # fmt: skip
    quotas = {"step-limited, short": 2, "step-limited, long": 1, "saturated": 5}
    taken = screening.sample(frame, quotas)
    assert taken["number"].tolist() == [1, 2, 4, 5, 8]
    assert taken["class"].tolist() == [
        "step-limited, short", "step-limited, long", "saturated", "saturated", "step-limited, short",
    ]  # fmt: skip


@pytest.mark.no_kernel
def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"quotas must be of .* got 'hopeless'"):
        screening.sample(screened((1, 40, "saturated")), {"hopeless": 3})
