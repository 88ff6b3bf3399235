"""The arms of the second trial: their grids of learning rates, their optimizers, and entries that are refused."""

import math
import re

import numpy as np
import pytest
from scipy import stats

import lookahead_nb as lnb
from lookahead_nb.claims import trial_arms
from lookahead_nb.claims.trial_arms import RATES, SPACING, Grid
from lookahead_nb.provenance import committed

pytestmark = pytest.mark.no_kernel


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        (tmp_path / "arms.toml").write_text(re.sub(r"^\[", "[arms.", text, flags=re.MULTILINE))
        return trial_arms.read(tmp_path / "arms.toml")

    return from_text


def grid(name="a", **settings):
    return Grid(name, "AdamW", "", "constant", tuple(settings.items()))


# ------------------------------------------------------------------------------------------------------------ rates


def test_rates_have_one_spacing_and_lie_around_the_centre():
    for number in (0, 7, 2**32 - 1):
        rates = np.log(grid().rates(number, 3e-3)) / math.log(SPACING)
        wider = grid().rates(number, 3e-3, below=2, above=1)
        assert (wider[2:-1], len(wider)) == (grid().rates(number, 3e-3), RATES + 3)
        np.testing.assert_allclose(np.diff(np.log(wider)), math.log(SPACING), rtol=1e-12)
        assert len(rates) == RATES
        np.testing.assert_allclose(np.diff(rates), 1, rtol=1e-12)
        middle = rates.mean() - math.log(3e-3) / math.log(SPACING)
        assert -0.5 <= middle < 0.5


def test_shifts_are_uniform_and_differ_between_grids_and_tasks():
    def shift(name, number):
        return math.log(grid(name).rates(number, 1.0)[0]) / math.log(SPACING) + RATES / 2

    of_tasks = [shift("a", number) for number in range(400)]
    of_grids = [shift(f"a #{i}", 3) for i in range(400)]
    for shifts in (of_tasks, of_grids):
        assert min(shifts) >= 0
        assert max(shifts) < 1
        assert len({*shifts}) == 400
        assert stats.kstest(shifts, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(of_tasks, [shift("b", number) for number in range(400)])[0, 1]) < 0.25


def test_the_grid_of_a_small_slow_step_lies_higher():
    plain, slow = (Grid("a", "AdamW", "Lookahead", "constant", (("slow_step_size", s),)) for s in (1.0, 0.25))
    assert plain.rates(3, 0.01) == grid().rates(3, 0.01)
    np.testing.assert_allclose(slow.rates(3, 0.01), [2 * lr for lr in plain.rates(3, 0.01)], rtol=1e-12)


def test_rates_depend_on_the_name_and_the_task_alone():
    assert grid(beta1=0.5).rates(3, 0.01) == grid(beta1=0.8).rates(3, 0.01)
    assert grid().rates(3, 0.01) != grid().rates(4, 0.01)


@pytest.mark.parametrize(("number", "centre"), [(-1, 0.1), (1.5, 0.1), (1, 0.0), (1, math.nan), (1, math.inf)])
def test_a_wrong_number_or_centre_is_refused(number, centre):
    with pytest.raises((TypeError, ValueError), match="number" if centre == 0.1 else "centre"):
        grid().rates(number, centre)


# ------------------------------------------------------------------------------------------------------------- arms

ENTRIES = """
[adamw]
optimizer = "AdamW"
along = true

[several]
optimizer = "AdamW"
beta1 = [0.5, 0.9]
weight_decay = 0.0
grids = 2

[one_of_them]
runs_of = ["several"]
grids = 1

[lookahead]
optimizer = "Lookahead"
inner = "Adam"
sync_period = "steps/20"
slow_step_size = 0.5
beta2 = 0.99
schedule = "linear over the last fifth"
length = 1.5

[ema]
optimizer = "EMA"
inner = "AdamW"
window = "steps/3"

[all]
runs_of = ["adamw", "several", "ema"]

[fast]
runs_of = ["lookahead"]
weights = "fast"

[fast_earlier]
runs_of = ["lookahead"]
weights = "fast"
before = 4

[default]
optimizer = "Lookahead"
inner = "AdamW"
lr = 0.001
sync_period = [5, 10]

[default_again]
optimizer = "Lookahead"
inner = "AdamW"
lr = 0.001
sync_period = 10
"""


def test_optimizers_have_the_settings_of_their_entry(read):
    arms = read(ENTRIES)
    assert [*arms][:7] == ["adamw", "several", "one_of_them", "lookahead", "ema", "all", "fast"]
    assert [*arms][7:] == ["fast_earlier", "default", "default_again"]
    assert arms["adamw"].grids[0].optimizer(0.1, 40) == lnb.AdamW(0.1)
    rule = lnb.Adam(lnb.schedules.linear(0.1, 200, decay_steps=40), beta2=0.99)
    assert arms["lookahead"].grids[0].optimizer(0.1, 200) == lnb.Lookahead(rule, sync_period=10, slow_step_size=0.5)
    assert arms["lookahead"].grids[0].optimizer(0.1, 5).sync_period == 1
    assert arms["ema"].grids[0].optimizer(0.1, 100) == lnb.EMA(lnb.AdamW(0.1), window=33)


def test_an_axis_has_a_grid_for_each_point_and_copies_have_other_shifts(read):
    grids = read(ENTRIES)["several"].grids
    assert [grid.name for grid in grids] == [
        "several beta1=0.5",
        "several beta1=0.5 #2",
        "several beta1=0.9",
        "several beta1=0.9 #2",
    ]
    assert [grid.optimizer(0.1, 40) for grid in grids] == [
        lnb.AdamW(0.1, beta1=b, weight_decay=0.0) for b in (0.5, 0.5, 0.9, 0.9)
    ]
    assert len({grid.rates(1, 0.1)[0] for grid in grids}) == 4


def test_arms_that_share_runs_have_equal_grids(read):
    arms = read(ENTRIES)
    assert arms["one_of_them"].grids == arms["several"].grids[:1]
    assert arms["all"].grids == arms["adamw"].grids + arms["several"].grids + arms["ema"].grids
    assert (arms["fast"].grids, arms["fast"].weights, arms["fast"].length) == (arms["lookahead"].grids, "fast", 1.5)
    assert trial_arms.runs_per_task(arms, 3) == ((1 + 4 + 1 + 1) * RATES + 2) * 3
    assert arms["default_again"].grids == arms["default"].grids[1:]
    assert arms["default"].grids[0].rates(7, 0.5) == [0.001]
    assert arms["default"].grids[1].optimizer(0.001, 40) == lnb.Lookahead(lnb.AdamW(0.001), sync_period=10)


def test_steps_at_which_an_arm_is_read(read):
    arms = read(ENTRIES)
    assert arms["lookahead"].lengths(60) == {1.5: 90}
    assert arms["several"].lengths(60) == {1.0: 60}
    assert arms["fast_earlier"].lengths(60) == {1.5: 86}
    along = arms["adamw"].lengths(60)
    assert (along[0.5], along[1.0], along[1.05], along[2.0]) == (30, 60, 63, 120)


def test_the_committed_arms_can_be_built_for_every_length():
    arms = trial_arms.read()
    for arm in arms.values():
        for steps in (40, 2000):
            for one in arm.grids:
                one.optimizer(1e-3, steps)
    names = [one.name for one in {one for arm in arms.values() for one in arm.grids}]
    assert len(names) == len({*names})
    assert arms["lookahead"].grids[0].optimizer(1e-3, 100) == lnb.Lookahead(
        lnb.AdamW(1e-3), sync_period=5, slow_step_size=0.5
    )
    assert committed("data/claims/experiments/trial.toml").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a]\n", "a.optimizer must be one of 'SGD'"),
        ('[a]\noptimizer = "Adamw"', "a.optimizer must be one of"),
        ('[a]\noptimizer = "AdamW"\nbeta = 0.9', "a.beta is not known"),
        ('[a]\noptimizer = "AdamW"\nlr = 0.0', "a.lr must be"),
        ('[a]\noptimizer = "AdamW"\nlr = 0.1\ngrids = 2', "a.grids must be 1 with an lr, got 2"),
        ('[a]\noptimizer = "AdamW"\nbefore = 21', "a.before must be"),
        ('[a]\noptimizer = "AdamW"\nbefore = 1\nalong = true', "a.along must be false"),
        ('[a]\noptimizer = "AdamW"\nsync_period = 5', "a.sync_period is not known"),
        ('[a]\noptimizer = "AdamW"\nbeta1 = 1.5', "a.beta1 must be"),
        ('[a]\noptimizer = "AdamW"\nbeta1 = []', "a.beta1 must hold at least one value"),
        ('[a]\noptimizer = "Lookahead"', "a.inner must be one of"),
        ('[a]\noptimizer = "AdamW"\nweights = "both"', "a.weights must be one of"),
        ('[a]\noptimizer = "AdamW"\nschedule = "cos"', "a.schedule must be one of"),
        ('[a]\noptimizer = "AdamW"\ngrids = 0', "a.grids must be"),
        ('[a]\noptimizer = "AdamW"\nlength = 0.0', "a.length must be"),
        ('[a]\noptimizer = "AdamW"\nlength = 1.1\nalong = true', "a.along must be false"),
        ('[a]\nruns_of = "b"', "a.runs_of must be a list"),
        ('[a]\nruns_of = ["b"]', "a.runs_of must be one of"),
        ('[a]\noptimizer = "AdamW"\n[b]\nruns_of = ["a"]\nbeta1 = 0.5', "b.beta1 is not known"),
        ('[a]\noptimizer = "AdamW"\n[b]\nruns_of = ["a"]\ngrids = 2', "b.grids must be"),
        (ENTRIES + '[b]\nruns_of = ["adamw", "lookahead"]', "b.runs_of must be arms of one length"),
        ('[a]\noptimizer = "Lookahead"\ninner = "AdamW"\nsync_period = "steps/0"', "a.sync_period must be"),
        ("arms = { a = 1 }", "a must be a table"),
        ("a = 1", "arms must be a table"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_by_its_key(read, text, words):
    with pytest.raises(ValueError, match=words):
        read(text)
