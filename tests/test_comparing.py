"""The design behind what comparing optimizers costs: data, rates, choices, and runs that equal those of ``train``."""

import hashlib
import math

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.claims import comparing, experiments
from lookahead_nb.claims.population import chance, generated
from lookahead_nb.claims.shards import OutdatedError

TINY = comparing.Design(first=8000, tasks=1, draws=2, most_steps=60, most_rows=600, most_work=600_000)


@pytest.mark.no_kernel
def test_the_lowest_mean_chooses():
    losses = np.array([[3.0, 1.0, 1.0, 9.0], [2.0, 2.0, 3.0, 3.0], [9.0, 1.0, 1.0, np.nan]])
    assert comparing.choose(losses, 1).tolist() == [1, 0, 0, 1]  # the first of equal ones, NaN never
    assert comparing.choose(losses, 2).tolist() == [0, 1]
    assert comparing.choose(losses, 4).tolist() == [1]


@pytest.mark.no_kernel
def test_coarse_grids_have_every_third_rate():
    losses = np.arange(7.0)[::-1, None] * np.ones((1, 2))
    assert comparing.choose(losses, 1, 3).tolist() == [[6, 4, 5]] * 2
    assert comparing.choose(losses, 2, 3).tolist() == [[6, 4, 5]]


def some_rows(validation, test, guessing=10.0, draws=2, splits=2):
    found = []
    for draw, split in np.ndindex(draws, splits):
        for place, arm in enumerate(comparing.ARMS):
            at = place, draw, split
            keys = {"number": 7, "draw": draw, "split": split, "arm": arm}
            found.append(keys | kept(validation[at], test[at], guessing))
    return pd.DataFrame(found)


def kept(validation, test, guessing):
    """What is kept of an arm, with wrong losses where nobody may look."""
    rates, tuning, reporting = len(test), validation.shape[1], test.shape[1]
    wrong = np.random.default_rng(9).uniform(0, 0.1, (rates, tuning + reporting))
    return comparing.kept(np.hstack([validation, wrong[:, tuning:]]), np.hstack([wrong[:, :tuning], test]), guessing)


@pytest.mark.no_kernel
def test_what_is_kept_gives_back_every_choice_and_its_losses():
    rng, shape = np.random.default_rng(0), (len(comparing.ARMS), 2, 2, 16)
    validation, test = rng.uniform(1, 2, (*shape, 24)), rng.uniform(1, 2, (*shape, 4)).round(4)
    rows = some_rows(validation, test)
    for place, arm in enumerate(comparing.ARMS):
        for seeds in comparing.FINE:
            logs = comparing.log_losses(rows, arm, seeds)[7]
            assert logs.shape == (2, 2, 24 // seeds, 4)
            for draw, split, block in np.ndindex(logs.shape[:3]):
                own = validation[place, draw, split][:, block * seeds : (block + 1) * seeds]
                best = own.mean(axis=1).argmin()
                np.testing.assert_allclose(logs[draw, split, block], np.log(test[place, draw, split, best]))
        for seeds in comparing.COARSE:
            logs = comparing.log_losses(rows, arm, seeds, "coarse")[7]
            assert logs.shape == (2, 2, 24 // seeds, 3, 4)
            for draw, split, block, grid in np.ndindex(logs.shape[:4]):
                own = validation[place, draw, split][grid::3, block * seeds : (block + 1) * seeds]
                best = grid + 3 * own.mean(axis=1).argmin()
                np.testing.assert_allclose(logs[draw, split, block, grid], np.log(test[place, draw, split, best]))


@pytest.mark.no_kernel
def test_benefits_are_positive_where_the_loss_is_lower_and_coarse_grids_take_turns():
    rng, shape = np.random.default_rng(1), (len(comparing.ARMS), 2, 2, 16)
    rows = some_rows(rng.uniform(1, 2, (*shape, 24)), rng.uniform(1, 2, (*shape, 4)).round(4))
    control, own = (comparing.log_losses(rows, arm, 3)[7] for arm in ("adamw", "ema"))
    np.testing.assert_array_equal(comparing.benefits(rows, "ema", 3)[7], control - own)
    control, own = (comparing.log_losses(rows, arm, 3, "coarse")[7] for arm in ("adamw", "ema"))
    found = comparing.benefits(rows, "ema", 3, "coarse")[7]
    for place, (draw, split) in enumerate(np.ndindex(2, 2)):
        for grid in range(3):
            other = (grid + 1 + place) % 3
            expected = control[draw, split, :, grid] - own[draw, split, :, other]
            np.testing.assert_array_equal(found[draw, split, :, grid], expected)


@pytest.mark.no_kernel
def test_losses_above_guessing_count_as_guessing():
    validation, test = np.ones((16, 24)), np.full((16, 4), 0.5)
    test[0] = [0.25, 3.0, np.nan, np.inf]
    assert kept(validation, test, 2.0)["losses"].startswith("a 0.25 2 2 2 b ")
    test[0] = 0.0
    rows = pd.DataFrame([{"number": 1, "draw": 0, "split": 0, "arm": "adamw"} | kept(validation, test, 2.0)])
    assert np.isfinite(comparing.log_losses(rows, "adamw", 24)[1]).all()


@pytest.mark.no_kernel
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adamax", 1), "arm must be"),
        (("adam", 5), "seeds must be one of 1, 2, 3, 6, 12, 24 on fine grids, got 5"),
        (("adam", 2, "coarse"), "seeds must be one of 1, 3, 6, 12 on coarse grids, got 2"),
        (("adam", 1, "medium"), "grid must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    rows = pd.DataFrame(columns=[*comparing.KEYS, "fine", "coarse", "losses"])
    with pytest.raises(ValueError, match=message):
        comparing.log_losses(rows, *arguments)


@pytest.mark.no_kernel
def test_rates_are_a_shifted_grid_around_the_centre():
    shifts = {}
    for arm in comparing.ARMS:
        for number in (80_000, 80_001):
            grid = np.log(comparing.rates(TINY, number, arm, 0.01))
            assert np.diff(grid) == pytest.approx([math.log(TINY.spacing)] * 11)
            shifts[arm, number] = (grid[6] - math.log(0.01)) / math.log(TINY.spacing)
    assert all(0 <= shift < 1 for shift in shifts.values())
    assert len({round(shift, 6) for shift in shifts.values()}) == len(shifts)


@pytest.mark.jit
def test_splits_divide_the_rows_of_their_draw():
    task = generated(next(TINY.considered()).number)
    a, again, b, fresh = (comparing.dataset(task, *seeds) for seeds in ((1, 1), (1, 1), (1, 2), (2, 1)))
    held = task.rows // 3
    assert (len(a.y_train), len(a.y_validation), len(a.y_test)) == (task.rows, held, held)
    assert a.fingerprint == again.fingerprint

    def rows(data):
        return sorted(map(bytes, np.concatenate([data.X_train, data.X_validation, data.X_test])))

    assert rows(a) == rows(b)
    assert len(set(rows(a))) == len(rows(a))
    assert not set(rows(a)) & set(rows(fresh))
    assert sorted(map(bytes, a.X_test)) != sorted(map(bytes, b.X_test))
    for part in ("train", "validation", "test"):
        label = dict(zip(map(bytes, a.X_train), a.y_train, strict=True))
        X, y = getattr(b, f"X_{part}"), getattr(b, f"y_{part}")
        assert all(label.get(bytes(x), y_) == y_ for x, y_ in zip(X, y, strict=True))


@pytest.mark.jit
def test_every_reported_loss_is_that_of_a_run_alone():
    screened = comparing.screen(TINY, progress=False)
    (of_task,) = screened.to_dict("records")
    rows = comparing.measure(screened, TINY, [(1, 0)], progress=False)
    assert rows[comparing.KEYS].to_numpy().tolist() == [[of_task["number"], 1, 0, arm] for arm in comparing.ARMS]
    task = generated(of_task["number"])
    (draw,) = TINY.seeds(f"{task.number} draw 1", 1)
    order, *seeds = TINY.seeds(f"{task.number} draw 1 split 0", 29)
    data = comparing.dataset(task, draw, order)
    guessing, _ = chance(data.y_train, data.y_test, task.classes)
    for arm in ("adamw", "lookahead", "ema", "schedule_free", "momentum"):
        own = rows[rows["arm"] == arm].iloc[0]
        letter, *losses = own["losses"].split()[:5]
        lr = comparing.rates(TINY, task.number, arm, of_task[f"centre_{arm}"])[comparing.LETTERS.index(letter)]
        opt = comparing.ARMS[arm].optimizer(lr, task.steps)
        for seed, loss in zip(seeds[24:], losses, strict=True):
            run = lnb.train(task.model, data, opt, steps=task.steps, batch_size=task.batch_size, seed=seed)
            last = run.history[run.history["step"] == task.steps].iloc[-1]  # slow weights come last
            assert f"{min(last['test_loss'], guessing):.5g}" == loss


@pytest.mark.no_kernel
def test_the_registered_design_shares_no_task_and_no_seed():
    design = comparing.REGISTERED
    assert design.first > experiments.SCREENED[-1]
    assert design.first >= 80_000
    purposes = [f"{task} draw {draw} split {split}" for task in range(3) for draw in range(3) for split in range(2)]
    seeds = [seed for words in purposes for seed in design.seeds(words, 29)] + design.seeds("screening", 4)
    assert len(set(seeds)) == len(seeds)
    assert comparing.PILOT.sha256 != design.sha256
    assert len(hashlib.sha256().hexdigest()) == len(design.sha256)


@pytest.mark.no_kernel
def test_only_small_tasks_are_considered():
    tasks = [task for task, _ in zip(comparing.REGISTERED.considered(), range(20), strict=False)]
    assert [task.number for task in tasks] == sorted({task.number for task in tasks})
    assert all(task.steps * task.batch_size * task.model.size <= 8_000_000 for task in tasks)
    assert all(task.steps <= 300 and task.rows <= 3000 for task in tasks)


@pytest.mark.no_kernel
def test_rows_of_another_design_are_refused(tmp_path):
    rows = pd.DataFrame({"number": [1]})
    comparing.write_whole(rows, "00", tmp_path, "0" * 64)
    with pytest.raises(OutdatedError, match=r"00\.csv must belong to the design of comparisons"):
        comparing.results(tmp_path)
    with pytest.raises(FileNotFoundError, match="has no rows yet"):
        comparing.results(tmp_path / "none")


@pytest.mark.no_kernel
def test_choices_at_the_ends_are_counted():
    rows = pd.DataFrame({"arm": ["adam", "adam", "ema"], "fine": ["abcd", "hhhh", "llbb"]})
    assert comparing.at_ends(rows).to_dict() == {"adam": 0.125, "ema": 0.5}
