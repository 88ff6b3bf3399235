"""Problems and arms: what their names and tables mean, and which are refused."""

import math
import re

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb import datasets
from lookahead_nb.claims.arms import ARM_PARAMETERS, arms_of, with_parameters
from lookahead_nb.claims.metrics import METRICS
from lookahead_nb.claims.tasks import TASK_PARAMETERS, Problem
from lookahead_nb.models.lowest_loss import lowest_loss
from lookahead_nb.optimizers.schedules import Schedule

pytest.importorskip("sklearn")

TASKS = {
    "iris": {"data": "iris", "batch_size": 16, "steps": 20, "lr": 0.05},
    "net": {"data": "wine", "hidden": [5], "activation": "tanh", "steps": 40, "eval_every": 10},
    "bowl": {"landscape": "Quadratic", "curvatures": [1.0, 0.1], "noise": 1.0, "replicas": 3, "steps": 20, "lr": 0.1},
    "wells": {"landscape": "DoubleWell", "tilt": 0.2, "steps": 10},
}


def named(name, **tasks):
    return Problem.named(name, TASKS | tasks)


# ------------------------------------------------------------------------------------------------------------ problems


def test_a_problem_on_data_is_trained_as_its_fields_say():
    problem = named("net")
    assert problem.model == lnb.MLP((13, 5, 3), activation="tanh")
    assert problem.training() == {"model": problem.model, "data": problem.dataset, "steps": 40, "eval_every": 10}
    assert problem.dataset(7).fingerprint == datasets.load("wine", split_seed=7).fingerprint
    assert not problem.on_landscape
    assert not problem.noiseless


def test_no_hidden_layer_is_logistic_regression():
    assert named("iris l2=0.1").model == lnb.LogisticRegression(4, n_classes=3, l2=0.1)
    assert named("iris hidden=[]").model == lnb.LogisticRegression(4, n_classes=3)


def test_a_landscape_has_no_data():
    problem = named("bowl")
    assert problem.model == lnb.landscapes.Quadratic([1.0, 0.1], noise=1.0, replicas=3)
    assert problem.training() == {"model": problem.model, "data": None, "steps": 20, "eval_every": 1}
    assert problem.chance == math.inf
    assert (problem.needs_download, problem.is_available) == (False, True)


def test_changes_in_a_name_replace_fields():
    problem = named("net hidden=[4,3] steps=60 rows=50 schedule=cosine warmup=5 lr=1e-2")
    assert problem.model == lnb.MLP((13, 4, 3, 3), activation="tanh")
    assert problem.steps == 60
    assert problem.schedule(0.3) == Schedule("cosine", 0.3, 60, 5)
    assert len(problem.dataset(1).y_train) == 50
    assert problem.dataset(1).fingerprint == datasets.load("wine", split_seed=1).subset(50, 1).fingerprint
    assert named("net").steps == 40


def test_a_constant_rate_without_warmup_is_a_number():
    assert named("iris").schedule(0.3) == 0.3
    assert named("iris warmup=4").schedule(0.3) == Schedule("constant", 0.3, None, 4)


def test_chance_is_the_entropy_of_the_classes_of_the_training_part():
    shares = np.bincount(datasets.load("wine").y_train) / len(datasets.load("wine").y_train)
    assert named("net").chance == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-12)


def test_the_lowest_loss_is_found_once_for_each_seed(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "lookahead_nb.claims.tasks.lowest_loss", lambda model, data: calls.append(data.split_seed) or 0.25
    )
    problem = named("iris")
    assert [problem.lowest(seed) for seed in (3, 4, 3)] == [0.25] * 3
    assert calls == [3, 4]


def test_the_lowest_loss_is_that_of_the_training_part():
    problem = named("board", board={"data": "checkerboard", "rows": 60, "steps": 1})
    assert problem.lowest(2) == lowest_loss(problem.model, problem.dataset(2))


def test_the_lowest_loss_of_a_landscape_is_that_of_its_deepest_basin():
    wells = named("wells").model
    x = np.linspace(-1.5, 1.5, 30_001)
    assert named("wells").lowest(0) == pytest.approx(wells.heights(x[:, None]).min(), abs=1e-7)
    assert named("bowl").lowest(0) == 0


def test_noise_and_a_spread_start_make_a_landscape_random():
    assert named("wells").noiseless
    assert not named("wells noise=0.1").noiseless
    assert not named("wells spread=0.1").noiseless
    assert not named("iris").noiseless


def test_operations_are_counted_as_training_does():
    assert named("iris").operations == 6 * 16 * (4 * 3 + 3) * 20
    assert named("bowl").operations == 100 * 6 * 20


def test_data_that_must_be_downloaded_is_reported(monkeypatch):
    monkeypatch.setattr(datasets, "DOWNLOADED", ("iris",))
    monkeypatch.setattr(datasets, "available", lambda name: name != "iris")
    assert (named("iris").needs_download, named("iris").is_available) == (True, False)
    assert (named("net").needs_download, named("net").is_available) == (False, True)


def test_own_rows_make_a_problem(rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    problem = Problem.of("mine", X, y, hidden=(4,), steps=10)
    assert problem.model == lnb.MLP((3, 4, 2))
    assert problem.dataset(5).fingerprint == datasets.from_arrays(X, y, split_seed=5).fingerprint
    assert problem.fingerprint != Problem.of("mine", X + 1e-3 * y[:, None], y, hidden=(4,), steps=10).fingerprint
    assert (problem.needs_download, problem.is_available) == (False, True)


def test_bad_rows_of_ones_own_are_refused_at_once(rng):
    with pytest.raises(ValueError, match="y must have one label for each of the 9 rows of X, got 8"):
        Problem.of("mine", rng.normal(size=(9, 3)), np.arange(8) % 2, steps=10)
    with pytest.raises(ValueError, match="step is not known \\(did you mean steps\\?\\)"):
        Problem.of("mine", rng.normal(size=(9, 3)), np.arange(9) % 2, step=10)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("irises", "tasks must be one of 'iris', 'net', 'bowl', 'wells', got 'irises'"),
        ("iris steps", "tasks must be names with changes like steps=100, got 'iris steps'"),
        ("iris  steps=9", "tasks must be names with changes like steps=100, got 'iris  steps=9'"),
        ("", "tasks must be text, got ''"),
        (5, "tasks must be text, got 5"),
        ("iris stepz=9", "tasks.iris.stepz is not known (did you mean steps?)"),
        ("iris steps=", "tasks.iris.steps must be a whole number of at least 1, got ''"),
        ("iris steps=0", "tasks.iris.steps must be a whole number of at least 1, got 0"),
        ("iris steps=2.5", "tasks.iris.steps must be a whole number of at least 1, got 2.5"),
        ("iris batch_size=0", "tasks.iris.batch_size must be a whole number of at least 1, got 0"),
        ("iris eval_every=21", "tasks.iris.eval_every must be a whole number from 1 to 20, got 21"),
        ("iris eval_rows=-1", "tasks.iris.eval_rows must be a whole number of at least 1, got -1"),
        ("iris lr=-1", "tasks.iris.lr must be a finite number of at least 0, got -1"),
        ("iris lr=nan", "tasks.iris.lr must be a finite number of at least 0, got nan"),
        ("iris threshold=0", "tasks.iris.threshold must be a finite number above 0, got 0"),
        ("iris schedule=step", "tasks.iris.schedule must be one of 'constant', 'linear', 'cosine', got 'step'"),
        ("iris schedule=linear warmup=20", "tasks.iris.steps must be a whole number of at least 21, got 20"),
        ("iris data=irises", "tasks.iris.data must be one of 'digits'"),
        ("iris landscape=Quadratic", "tasks.iris.data must be given, or landscape, and not both"),
        ("iris hidden=5", "tasks.iris.hidden must be a list of widths such as [32], got 5"),
        ("iris hidden=[0]", "tasks.iris.hidden[0] must be a whole number of at least 1, got 0"),
        ("net l2=0.1", "tasks.net.l2 must be absent here: only logistic regression, without hidden layers has it"),
        ("iris activation=relu", "tasks.iris.activation must be absent here: only a network with hidden layers has it"),
        ("net activation=gelu", "tasks.net.activation must be one of 'relu', 'tanh', 'sigmoid', got 'gelu'"),
        ("iris rows=0", "tasks.iris.rows must be a whole number of at least 1, got 0"),
        ("iris flipped=1.0", "tasks.iris.flipped must be a finite number in [0, 1), got 1.0"),
        ("bowl landscape=Bowl", "tasks.bowl.landscape must be one of 'Quadratic'"),
        ("bowl curvatures=[-1]", "tasks.bowl.curvatures[0] must be a finite number above 0, got -1"),
        ("bowl tilt=0.1", "tasks.bowl.tilt is not known"),
        ("bowl rows=5", "tasks.bowl.rows is not known"),
        ("wells tilt=2", "tasks.wells.tilt must be a finite number in"),
        ("none", "tasks.none.data must be given, or landscape, and not both"),
        ("five", "tasks.five must be a table, got 5"),
    ],
)
def test_a_bad_task_is_refused_by_name(name, sentence):
    tasks = {"none": {"steps": 5}, "five": 5} if name in ("none", "five") else {}
    with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
        named(name, **tasks)
    assert "\n" not in str(refusal.value)


# ---------------------------------------------------------------------------------------------------------------- arms

BOWL = {"rule": "SGD", "lr": "given"}


def arm(**table):
    return arms_of({"a": {"rule": "AdamW", "lr": 0.1} | table})


def test_lists_in_a_table_are_axes():
    arms = arms_of({"la": BOWL | {"sync_period": [5, 10], "retention": [0.5, 0.8]}, "plain": BOWL})
    assert [*arms] == [
        "la sync_period=5 retention=0.5",
        "la sync_period=5 retention=0.8",
        "la sync_period=10 retention=0.5",
        "la sync_period=10 retention=0.8",
        "plain",
    ]
    opt = arms["la sync_period=10 retention=0.8"].optimizer(named("bowl"), "given")
    assert opt == lnb.Lookahead(lnb.SGD(lr=0.1), sync_period=10, retention=0.8)
    assert arms["plain"].optimizer(named("bowl"), "given") == lnb.SGD(lr=0.1)


def test_arguments_go_to_the_inner_rule_or_to_lookahead():
    (found,) = arm(weight_decay=0.5, beta1=0.8, pull_back=False, slow_step_size=0.3).values()
    expected = lnb.Lookahead(lnb.AdamW(lr=0.1, weight_decay=0.5, beta1=0.8), pull_back=False, slow_step_size=0.3)
    assert found.optimizer(named("bowl"), 0.1) == expected


def test_times_multiplies_the_rate_and_the_schedule_is_that_of_the_problem():
    (found,) = arm(times=0.25).values()
    assert found.optimizer(named("bowl"), 0.4) == lnb.AdamW(lr=0.1)
    cosine = found.optimizer(named("bowl schedule=cosine"), 0.4)
    assert cosine == lnb.AdamW(lr=Schedule("cosine", 0.1, 20))


def test_trials_are_the_points_of_the_grid():
    tune = {"lr": {"low": 0.01, "high": 1.0, "number": 3}, "retention": [0.5, 0.9], "sync_period": 7}
    (found,) = arms_of({"a": {"rule": "AdamW", "tune": tune}}).values()
    assert [(each["lr"], each["retention"]) for each in found.trials] == [
        (pytest.approx(lr), retention) for lr in (0.01, 0.1, 1) for retention in (0.5, 0.9)
    ]
    opt = found.optimizer(named("bowl"), **found.trials[3])
    assert opt == lnb.Lookahead(lnb.AdamW(lr=found.trials[3]["lr"]), retention=0.9, sync_period=7)
    assert arm()["a"].trials == []


DRAW = {"lr": {"low": 1e-3, "high": 1.0}, "sync_period": {"low": 1, "high": 50}}


def test_draws_lie_evenly_in_logarithms_between_the_ends():
    (found,) = arms_of({"a": {"rule": "AdamW", "draw": DRAW, "draws": 4000, "best_of": 1}}).values()
    drawn = pd.DataFrame(found.drawn(2**40))
    assert [*drawn] == ["lr", "sync_period"]
    assert drawn["lr"].between(1e-3, 1).all()
    assert np.log10(drawn["lr"]).quantile([0, 0.25, 0.5, 0.75, 1]).to_numpy() == pytest.approx(
        [-3, -2.25, -1.5, -0.75, 0], abs=0.1
    )
    assert drawn["sync_period"].dtype == int
    assert {*drawn["sync_period"]} == {*range(1, 51)}
    assert (drawn["sync_period"] == 1).mean() == pytest.approx(math.log(1.5) / math.log(50), abs=0.02)
    assert abs(drawn.corr(method="spearman").iloc[0, 1]) < 0.05
    assert found.optimizer(named("bowl"), **found.drawn(1)[0]).sync_period == found.drawn(1)[0]["sync_period"]


def test_every_seed_draws_for_itself_and_arms_draw_alike_from_the_same_axes():
    both = {"rule": "AdamW", "draws": 5, "best_of": 1}
    one = both | {"draw": DRAW}
    plain, drawn = arms_of({"plain": both | {"draw": {"lr": DRAW["lr"]}}, "all": one}).values()
    assert drawn.drawn(1) == drawn.drawn(1) != drawn.drawn(2)
    assert [each["lr"] for each in plain.drawn(7)] == [each["lr"] for each in drawn.drawn(7)]
    assert (plain.draws, arm()["a"].draws) == (5, 0)


def test_what_is_drawn_once_is_the_same_in_all_draws_of_a_seed():
    draw = {"lr": DRAW["lr"], "retention": {"low": 0.1, "high": 0.9, "once": True}}
    (found,) = arms_of({"a": {"rule": "AdamW", "draw": draw, "draws": 6, "best_of": 1}}).values()
    for seed in (1, 2):
        assert len({each["lr"] for each in found.drawn(seed)}) == 6
        assert len({each["retention"] for each in found.drawn(seed)}) == 1
    assert found.drawn(1)[0]["retention"] != found.drawn(2)[0]["retention"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"draws": None}, "a.draw, draws and best_of must come together"),
        ({"best_of": None}, "a.draw, draws and best_of must come together"),
        ({"draw": 5}, "a.draw must be a table, got 5"),
        ({"draw": {"lr": 0.1}}, "a.draw.lr.axis must be a table, got 0.1"),
        ({"draw": {"lr": {"low": 0, "high": 1}}}, "a.draw.lr.low must be a finite number above 0, got 0"),
        ({"draw": {"lr": {"low": 1, "high": 1}}}, "a.draw.lr.high must be a finite number above 1, got 1"),
        ({"draw": {"lr": {"low": 1, "high": 2, "number": 3}}}, "a.draw.lr.number is not known"),
        ({"draw": {"lr": {"low": 1, "high": 2, "once": 1}}}, "a.draw.lr.once must be True or False, got 1"),
        ({"draws": 0}, "a.draws must be a whole number of at least 1, got 0"),
        ({"best_of": 5}, "a.best_of must be a whole number from 1 to 4, got 5"),
        ({"best_of": [1, 5]}, "a.best_of must be a whole number from 1 to 4, got 5"),
        ({"lr": 0.1}, "a.lr must be given, or be in tune or in draw, and only once"),
        ({"draw": {"retention": {"low": 0.1, "high": 0.9}}}, "a.lr must be given, or be in tune or in draw"),
    ],
)
def test_a_bad_draw_is_refused_by_name(changes, sentence):
    table = {"rule": "AdamW", "draw": DRAW, "draws": 4, "best_of": 2} | changes
    with pytest.raises(ValueError, match=re.escape(sentence)):
        arms_of({"a": {key: value for key, value in table.items() if value is not None}})


def test_both_ends_of_a_draw_are_checked():
    for low, high in ((0.5, 1.5), (1.5, 2.0)):
        draw = {"lr": DRAW["lr"], "retention": {"low": low, "high": high}}
        (found,) = arms_of({"a": {"rule": "AdamW", "draw": draw, "draws": 2, "best_of": 1}}).values()
        with pytest.raises(ValueError, match="retention must be"):
            found.check(named("bowl"))


def test_an_arm_is_on_all_tasks_or_on_those_it_names():
    arms = arms_of({"a": BOWL | {"retention": [0.5, 0.8], "tasks": ["bowl", "wells"]}, "b": BOWL})
    assert [*arms] == ["a retention=0.5", "a retention=0.8", "b"]
    assert [arms["a retention=0.5"].is_on(task) for task in ("bowl", "wells", "iris")] == [True, True, False]
    assert arms["b"].is_on("iris")


def test_the_weights_judged_are_slow_unless_said():
    assert arm()["a"].weights == "slow"
    assert arm(weights="fast")["a"].weights == "fast"


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ([], "arms must be a table, got []"),
        ({"a": 5}, "a must be a table, got 5"),
        ({"a": {"lr": 0.1}}, "a.rule must be one of 'SGD'"),
        ({"a": {"rule": "Adamw", "lr": 0.1}}, "a.rule must be one of 'SGD'"),
        ({"a": {"rule": "SGD", "lr": 0.1, "beta1": 0.9}}, "a.beta1 is not known"),
        ({"a": {"rule": "SGD", "lr": 0.1, "syncperiod": 5}}, "a.syncperiod is not known (did you mean sync_period?)"),
        ({"a": {"rule": "SGD"}}, "a.lr must be given, or be in tune or in draw"),
        (
            {"a": {"rule": "SGD", "lr": 0.1, "tune": {"lr": [1]}}},
            "a.lr must be given, or be in tune or in draw",
        ),
        ({"a": {"rule": "SGD", "tune": {"momentum": [0.9]}}}, "a.tune.lr must be given"),
        ({"a": {"rule": "SGD", "tune": [0.1]}}, "a.tune must be a table, got [0.1]"),
        (
            {"a": {"rule": "SGD", "tune": {"lr": {"low": 0, "high": 1, "number": 3}}}},
            "tune.lr.low must be a finite num",
        ),
        ({"a": {"rule": "SGD", "tune": {"lr": {"low": 1, "high": 0.1, "number": 3}}}}, "tune.lr.high must be a finite"),
        ({"a": {"rule": "SGD", "tune": {"lr": {"low": 1, "high": 2, "number": 1}}}}, "tune.lr.number must be a whole"),
        ({"a": {"rule": "SGD", "tune": {"lr": {"low": 1, "high": 2, "count": 3}}}}, "tune.lr.count is not known"),
        ({"a": {"rule": "SGD", "tune": {"lr": []}}}, "tune.lr must hold one value or more, none of them twice, got []"),
        ({"a": {"rule": "SGD", "tune": {"lr": [1, 1]}}}, "tune.lr must hold one value or more, none of them twice"),
        ({"a": {"rule": "SGD", "lr": 0.1, "weights": "both"}}, "a.weights must be one of 'slow', 'fast', got 'both'"),
        (
            {"a": {"rule": "SGD", "lr": 0.1, "retention": []}},
            "a.retention must hold one value or more, none of them twice",
        ),
        (
            {"a": {"rule": "SGD", "lr": 0.1, "retention": [0.5, 0.5]}},
            "a.retention must hold one value or more, none of them",
        ),
        ({"a": BOWL | {"tasks": "bowl"}}, "a.tasks must be a list of one name or more, got 'bowl'"),
        ({"a": BOWL | {"lr": "b"}}, "a.lr must be a number, 'given' or the name of an arm that tunes its own, got 'b'"),
        ({"a": BOWL | {"lr": "b"}, "b": BOWL}, "a.lr must be a number, 'given' or the name of an arm that tunes its"),
        (
            {"a": {"rule": "SGD", "tune": {"lr": [1, 2]}}, "b": {"rule": "SGD", "tune": {"lr": [1, 2, 3]}}},
            "tune must hold the same number of trials in all arms that have it, got {'a': 2, 'b': 3}",
        ),
    ],
)
def test_a_bad_arm_is_refused_by_name(tables, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        arms_of(tables)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"lr": -1}, "lr must be a finite number of at least 0, got -1"),
        ({"lr": math.nan}, "lr must be a finite number of at least 0, got nan"),
        ({"times": -1}, "times must be a finite number of at least 0, got -1"),
        ({"weight_decay": -1}, "weight_decay must be"),
        ({"retention": 1.5}, "retention must be"),
        ({"retention": 0.5, "slow_step_size": 0.5}, "slow_step_size and retention cannot both be given"),
        ({"sync_period": 0}, "sync_period must be"),
        ({"pull_back": False, "inner_state": "reset"}, "inner_state must be 'keep'"),
        ({"lr": "given"}, "lr must be given by the task 'net', got nothing"),
    ],
)
def test_an_arm_of_which_no_optimizer_can_be_made_is_refused(table, sentence):
    (found,) = arm(**table).values()
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        found.check(named("net"))


def test_every_trial_of_a_tuned_arm_is_checked():
    (found,) = arms_of({"a": {"rule": "SGD", "tune": {"lr": [0.1], "retention": [0.5, 2.0]}}}).values()
    with pytest.raises(ValueError, match="retention must be"):
        found.check(named("bowl"))


# --------------------------------------------------------------------------------------------------------- parameters


def test_parameters_of_a_task_are_its_fields_or_their_defaults():
    assert named("net rows=50 flipped=0.1 lr=0.2").parameters == {
        "entry": "net",
        "data": "wine",
        "landscape": None,
        "hidden": "5",
        "steps": 40,
        "batch_size": 64,
        "eval_every": 10,
        "schedule": "constant",
        "given_lr": 0.2,
        "threshold": None,
        "rows": 50,
        "flipped": 0.1,
    }
    bowl = named("bowl").parameters
    assert (bowl["data"], bowl["landscape"], bowl["hidden"], bowl["eval_every"]) == (None, "Quadratic", None, 1)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, ("AdamW", 1.0, None, None, None)),
        ({"times": 0.5}, ("AdamW at lr x step", 0.5, None, None, None)),
        ({"times": 10}, ("AdamW", 10, None, None, None)),
        ({"sync_period": 7}, ("Lookahead", 1.0, 7, 0.5, 0.5)),
        ({"retention": 0.7}, ("Lookahead", 1.0, 5, 0.7, 0.3)),
        ({"slow_step_size": 0.2, "pull_back": False}, ("averaging", 1.0, 5, 0.8, 0.2)),
        ({"slow_step_size": "adaptive"}, ("Lookahead", 1.0, 5, None, None)),
    ],
)
def test_parameters_of_an_arm_say_what_it_is(table, expected):
    (arm,) = arms_of({"a name=without meaning": {"rule": "AdamW", "lr": 0.1} | table}).values()
    names = ("kind", "times", "sync_period", "retention", "slow_step_size")
    assert tuple(arm.parameters[name] for name in names) == expected


def test_what_is_tuned_or_drawn_is_no_parameter_of_an_arm():
    tune = {"lr": [0.1, 0.2], "retention": [0.2, 0.5], "sync_period": [5, 10], "weight_decay": [0.0, 0.1]}
    (arm,) = arms_of({"tuned": {"rule": "AdamW", "tune": tune}}).values()
    found = arm.parameters
    assert found["kind"] == "Lookahead"
    assert [found[name] for name in ("retention", "slow_step_size", "sync_period", "weight_decay")] == [None] * 4


def test_points_of_an_axis_are_a_family():
    arms = arms_of({"a b": {"rule": "AdamW", "lr": 0.1, "retention": [0.2, 0.5]}})
    assert {name: arm.family for name, arm in arms.items()} == {"a b retention=0.2": "a b", "a b retention=0.5": "a b"}


def test_frames_get_the_parameters_of_their_tasks_and_arms():
    problems = {name: named(name) for name in ("net", "net rows=50")}
    arms = arms_of({"x": {"rule": "AdamW", "lr": 0.1}, "y": {"rule": "AdamW", "lr": 0.1, "retention": 0.9}})
    frame = pd.DataFrame({"task": ["net rows=50", "net"], "arm": ["y", "x"], "seed": [3, 4]}, [7, 5])
    found = with_parameters(frame, problems, arms)
    assert [*found] == [*frame, *TASK_PARAMETERS, *ARM_PARAMETERS]
    assert found[[*frame]].equals(frame)
    assert [*found["rows"].fillna(0)] == [50, 0]
    assert [*found["retention"].fillna(0)] == [0.9, 0]
    assert [*with_parameters(frame, problems)] == [*frame, *TASK_PARAMETERS]
    with pytest.raises(ValueError, match="task must be one of 'net', got 'net rows=50'"):
        with_parameters(frame, {"net": problems["net"]})


def test_parameters_have_names_of_their_own():
    columns = ["task", "arm", "seed", "lr", "chance", *METRICS, *TASK_PARAMETERS, *ARM_PARAMETERS]
    assert len({*columns}) == len(columns)
