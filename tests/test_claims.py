"""Claims: what a register may hold, how results are judged, and where evidence comes from."""

import itertools
import json
import math
import re
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lookahead_nb import claims, datasets
from lookahead_nb import provenance as tables
from lookahead_nb.claims import statistics
from tests.support import registers

pytest.importorskip("sklearn")

# -------------------------------------------------------------------------------------------------------- the register


@pytest.fixture
def register(tmp_path):
    return registers.read(tmp_path)


def test_a_register_is_read(register):
    claim = register["C01"]
    assert [*register] == ["C01", "C02", "C03"]
    assert (claim.id, claim.section, claim.notebook) == ("C01", "8.1", "02_slow")
    assert claim.tasks == claim.bundled == ("iris", "bowl")
    assert [*claim.arms] == [
        *("adamw", "lookahead retention=0.5", "lookahead retention=0.8", "lower times=0.5", "lower times=0.2"),
        *("tuned", "same rate"),
    ]
    assert claim.effects[0] == claims.Effect(
        "slower", "steps_to_threshold", "lookahead retention=0.8", "lookahead retention=0.5",
        "greater", 1.25, "ratio", "sign flip", ("iris",),
    )  # fmt: skip
    assert claim.effects[1].tasks == ("iris", "bowl")  # all that the claim has
    assert (claim.supported, claim.conditional) == (("slower", "not better"), ("slower",))
    assert (claim.tuned, register["C02"].tuned) == (True, False)
    assert (register["C02"].advice, claim.advice) == ("Take a longer one.", "")
    assert register["C03"].untestable == "No ImageNet here."


def test_the_register_of_the_checkout_is_the_default(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "inside").mkdir()
    there = registers.read(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "inside")
    assert {key: claim.sha256 for key, claim in claims.read().items()} == {k: c.sha256 for k, c in there.items()}


SUPPORTED, EFFECTS = 'supported = ["slower", "not better"]', '[[C01.effects]]\nname = "slower"'


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[C03]", "[C3]", "C3 is not known"),
        ("[tasks.iris]", "[task.iris]", "task is not known (did you mean tasks?)"),
        ('section = "8.1"\n', "", "C01.section must be given, got nothing"),
        ('section = "8.1"', "section = 8.1", "C01.section must be text, got 8.1"),
        ('article = "Larger is slower."', 'article = " "', "C01.article must be text, got ' '"),
        ('notebook = "02_slow"\n', "", "C01.notebook must be given, got nothing"),
        ('prediction = "S', 'predictions = "S', "C01.predictions is not known (did you mean prediction?)"),
        ("seeds = 30\n", "", "C01.seeds must be given, got nothing"),
        ("seeds = 30", "seeds = 29", "C01.effects[0].test 'sign flip' needs at least 30 seeds, got 29"),
        ("seeds = 30", "seeds = 30.5", "C01.seeds must be a whole number of at least 1, got 30.5"),
        ("budget = 1e8", "budget = nan", "C01.budget must be a finite number of at least 0, got nan"),
        ('"steps_to_threshold", "train_loss"]', '"train_loss", "loss"]', "C01.metrics must be one of 'train_loss'"),
        ('metrics = ["steps_to_threshold", "train_loss"]', "metrics = []", "C01.metrics must be a list of one name or"),
        ('metrics = ["steps_to_threshold"', 'metrics = ["train_loss"', "C01.metrics must hold each name once, got 'tr"),
        ('tasks = ["iris", "bowl"]', 'tasks = "iris"', "C01.tasks must be a list of one name or more, got 'iris'"),
        ('tasks = ["iris", "bowl"]', 'tasks = ["iris", "wine"]', "C01.tasks must be one of 'iris', 'bowl', got 'wine'"),
        ('tasks = ["iris", "bowl"]', 'tasks = ["iris steps", "bowl"]', "C01.tasks must be names with changes like"),
        ('tasks = ["iris", "bowl"]', 'tasks = ["iris lr=-1", "bowl"]', "C01.tasks.iris.lr must be a finite number"),
        (
            'tasks = ["iris", "bowl"]',
            'tasks = ["iris", "iris"]',
            "C01.tasks must hold each name once, got 'iris' twice",
        ),
        ('data = "iris"', 'data = "irises"', "C01.tasks.iris.data must be one of 'digits'"),
        ("lr = 0.05\n", "", "C01.arms.adamw.lr must be given by the task 'iris', got nothing"),
        ('rule = "AdamW"', 'rule = "Adamw"', "C01.arms.adamw.rule must be one of 'SGD'"),
        ("retention = [0.5, 0.8]", "retention = [0.5, 1.5]", "C01.arms.lookahead retention=1.5.retention must be"),
        (
            "times = [0.5, 0.2]",
            "times = [0.5, -1]",
            "C01.arms.lower times=-1.times must be a finite number of at least",
        ),
        ('lr = "tuned"', 'lr = "tunde"', "C01.arms.same rate.lr must be a number, 'given' or the name of an arm that"),
        ('lr = "tuned"', 'lr = "adamw"', "C01.arms.same rate.lr must be a number, 'given' or the name of an arm that"),
        ("tune = {", "lr = 0.1\ntune = {", "C01.arms.tuned.lr must be given, or be in tune or in draw"),
        ('lr = "tuned"', "tune = { lr = [0.1] }", "C01.arms.tune must hold the same number of trials in all arms that"),
        (
            "times = [0.5, 0.2]",
            'times = 0.5\ntasks = ["wine"]',
            "C01.arms.lower.tasks must be one of 'iris', 'bowl', got",
        ),
        ("times = [0.5, 0.2]", 'times = [0.5]\ntasks = ["iris"]', "C01.effects[1].control must be trained on the task"),
        (
            "tune = {",
            'tasks = ["iris"]\ntune = {',
            "C01.arms.same rate.lr must be that of an arm on the same tasks, which",
        ),
        ('name = "slower"\n', "", "C01.effects[0].name must be given, got nothing"),
        ('name = "slower"', 'name = "not slower"', "C01.effects[0].name must not begin with 'not'"),
        ('name = "better"', 'name = "slower"', "C01.effects[1].name must be that of no other effect, got 'slower'"),
        ('metric = "steps_to_threshold"\n', "", "C01.effects[0].metric must be given, got nothing"),
        ('metric = "steps_to_threshold"', 'metric = "test_loss"', "C01.effects[0].metric must be one of 'steps_to_"),
        ('arm = "lookahead retention=0.8"', 'arm = "lookahead"', "C01.effects[0].arm must be one of 'adamw', 'looka"),
        ('control = "lookahead retention=0.5"', 'control = "sgd"', "C01.effects[0].control must be one of 'adamw'"),
        (
            'control = "lookahead retention=0.5"',
            'control = "lookahead retention=0.8"',
            "must be another arm than 'lookah",
        ),
        ('expect = "greater"', 'expect = "more"', "C01.effects[0].expect must be one of 'greater', 'less', 'equiv"),
        ("margin = 1.25", "margin = nan", "C01.effects[0].margin must be a finite number above 1, got nan"),
        ("margin = 1.25", "margin = 1.0", "C01.effects[0].margin must be a finite number above 1, got 1.0"),
        ("margin = 0.01", "margin = 0", "C01.effects[1].margin must be a finite number above 0, got 0"),
        ("margin = 1.25", 'margin = "5 %"', "C01.effects[0].margin must be a finite number above 1, got '5 %'"),
        ('scale = "ratio"', 'scale = "percent"', "C01.effects[0].scale must be one of 'difference', 'ratio', 'of ch"),
        ('test = "sign flip"', 'test = "t"', "C01.effects[0].test must be one of 'sign flip', 'over tasks', 'exact'"),
        ('test = "sign flip"', 'test = "exact"', "C01.effects[0].test must be another where there is noise, as in"),
        (
            'test = "exact"',
            'test = "sign flip"',
            "C02.effects[0].test must be 'exact' where there is no noise, as in 's",
        ),
        (
            'test = "sign flip"\n',
            'test = "over tasks"\n',
            "C01.effects[0].test 'over tasks' needs at least 3 tasks, got 1",
        ),
        ('tasks = ["iris"]', 'tasks = ["wine"]', "C01.effects[0].tasks must be one of 'iris', 'bowl', got 'wine'"),
        ('tasks = ["iris"]', "tasks = []", "C01.effects[0].tasks must be a list of one name or more, got []"),
        ('tasks = ["iris"]', 'task = ["iris"]', "C01.effects[0].task is not known (did you mean tasks?)"),
        (
            'tasks = ["iris"]',
            'tasks = ["iris"]\nagainst = ["wine"]',
            "C01.effects[0].against must be one of 'iris', 'bowl', got 'wine'",
        ),
        (
            'tasks = ["iris"]',
            'tasks = ["iris"]\nagainst = ["iris", "bowl"]',
            "C01.effects[0].against must hold as many tasks as tasks, 1, got 2",
        ),
        (
            "threshold = 0.7\n",
            "",
            "C01.effects[0].metric 'steps_to_threshold' needs a threshold, which the task 'iris'",
        ),
        (
            'scale = "difference"',
            'scale = "of chance"',
            "C01.effects[1].scale 'of chance' needs a loss of chance, which",
        ),
        (SUPPORTED, "supported = []", "C01.supported must be a list of one name or more, got []"),
        (SUPPORTED, 'supported = ["faster"]', "C01.supported must be one of 'slower', 'better', got 'faster'"),
        (SUPPORTED, 'supported = ["better", "not better"]', "C01.supported must not hold 'better' and its contrary"),
        (
            'conditional = ["slower"]\n',
            "",
            "C01.condition must come with conditional, and say in words what that lists",
        ),
        (
            'condition = "at an unchanged rate"\n',
            "",
            "C01.condition must come with conditional, and say in words what that lists",
        ),
        ('untestable = "No ImageNet here."', "untestable = true", "C03.untestable must be text, got True"),
        ('untestable = "No', 'seeds = 5\nuntestable = "No', "C03.seeds is not known"),
        ('C02 = "Take a longer one."', 'C04 = "Take a longer one."', "advice.C04 is not known (did you mean C0"),
        (
            'C02 = "Take a longer one."',
            'C02 = "Take 10."',
            "advice.C02 must be words without numbers, which the results",
        ),
        ('C02 = "Take a longer one."', "C02 = 5", "advice.C02 must be text, got 5"),
    ],
)
def test_a_bad_entry_is_refused_by_name(tmp_path, old, new, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
        registers.read(tmp_path, (old, new))
    assert "\n" not in str(refusal.value)


def test_a_register_that_cannot_be_read_is_reported(tmp_path):
    with pytest.raises(OSError, match=r"none.toml cannot be read: No such file"):
        claims.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[C01")
    with pytest.raises(ValueError, match=r"bad.toml must be a TOML file"):
        claims.read(tmp_path / "bad.toml")


# --------------------------------------------------------------------------------------------------------------- seeds


def test_seeds_are_derived_from_entry_and_tasks(tmp_path, register):
    seeds = register["C01"].seeds()
    assert seeds == registers.read(tmp_path)["C01"].seeds()
    assert len(set(seeds)) == 30
    assert all(2**32 <= seed < 2**48 for seed in seeds)
    for change in [("margin = 1.25", "margin = 1.2"), ('"Slower by', '"slower by'), ("lr = 0.05", "lr = 0.06")]:
        assert not {*seeds} & {*registers.read(tmp_path, change)["C01"].seeds()}


def test_seeds_do_not_hang_on_other_entries_or_on_advice(tmp_path, register):
    changed = registers.read(tmp_path, ("margin = 1.05", "margin = 1.1"), ("Take a longer one.", "Take none."))
    assert changed["C01"].sha256 == register["C01"].sha256
    assert changed["C02"].sha256 != register["C02"].sha256
    assert registers.read(tmp_path, ("Take a longer one.", "Take none."))["C02"].sha256 == register["C02"].sha256


def test_attempts_have_seeds_of_their_own(register):
    drawn = [seed for key in ("C01", "C02") for attempt in range(10) for seed in register[key].seeds(attempt)]
    assert len(set(drawn)) == len(drawn) == 10 * 31
    with pytest.raises(ValueError, match="attempt must be a whole number of at least 0, got -1"):
        register["C01"].seeds(-1)


# -------------------------------------------------------------------------------------------------------------- verdict

OUTCOMES = ("yes", "no", "open")
TRUTH = {  # (outcome of slower, outcome of better): supported needs yes and no, conditional needs yes
    ("yes", "no"): "supported",
    ("yes", "yes"): "conditional",
    ("yes", "open"): "conditional",
    ("no", "no"): "refuted",
    ("no", "yes"): "refuted",
    ("no", "open"): "refuted",
    ("open", "yes"): "refuted",
    ("open", "no"): "inconclusive",
    ("open", "open"): "inconclusive",
}


def outcomes(task="all", **listed):
    return pd.DataFrame({"effect": [*listed], "task": task, "outcome": [*listed.values()]})


@pytest.mark.parametrize("pair", [*itertools.product(OUTCOMES, repeat=2)], ids="-".join)
def test_the_verdict_follows_from_the_outcomes(register, pair):
    assert claims.verdict(register["C01"], outcomes(slower=pair[0], better=pair[1])) == TRUTH[pair]


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        (("yes", "no"), "slower"),  # supported by the first
        (("yes", "open"), "slower"),  # conditional
        (("yes", "yes"), "slower"),
        (("no", "yes"), "slower"),  # refuted by both
        (("open", "yes"), "better"),  # refuted by the second, of which the contrary is listed
        (("open", "no"), "slower"),  # what is open
    ],
)
def test_the_deciding_effect_is_the_first_that_bears_the_verdict(register, pair, name):
    assert claims.deciding(register["C01"], outcomes(slower=pair[0], better=pair[1])).name == name


def test_before_there_are_results_the_first_listed_effect_is_to_decide(register):
    assert claims.deciding(register["C01"], outcomes()).name == "slower"


def test_without_a_condition_there_is_no_conditional_verdict(tmp_path):
    changes = ('conditional = ["slower"]\n', ""), ('condition = "at an unchanged rate"\n', "")
    claim = registers.read(tmp_path, *changes)["C01"]
    assert claims.verdict(claim, outcomes(slower="yes", better="open")) == "inconclusive"
    assert claims.verdict(claim, outcomes(slower="yes", better="yes")) == "refuted"


def test_single_tasks_and_other_claims_do_not_enter_a_verdict(register):
    joint = outcomes(slower="yes", better="no").assign(claim="C01")
    other = outcomes(slower="no", better="yes").assign(claim="C05")
    single = outcomes(task="iris", slower="no", better="yes").assign(claim="C01")
    assert claims.verdict(register["C01"], pd.concat([single, joint, other])) == "supported"


def test_what_has_no_results_or_no_trial_says_so(register):
    assert claims.verdict(register["C01"], outcomes(slower="yes").assign(claim="C05")) == "no results yet"
    assert claims.verdict(register["C03"], outcomes()) == "not testable here"


def test_an_effect_that_was_not_judged_is_open(register):
    assert claims.verdict(register["C01"], outcomes(better="no")) == "inconclusive"


# --------------------------------------------------------------------------------------------------------------- judge

SEEDS = range(30)


def effect(**changes):
    usual = {"name": "e", "metric": "m", "arm": "arm", "control": "control", "expect": "greater", "margin": 0.1}
    return claims.Effect(**(usual | {"scale": "difference", "test": "sign flip", "tasks": ("one",)} | changes))


def judged(runs, **changes):
    """Judge one effect; return its joint row."""
    claim = claims.Claim("C01", "", "", "", "", effects=(effect(**changes),))
    found = claims.judge(claim, runs)
    assert found["task"].tolist() == ["all", *claim.effects[0].tasks]
    return found.iloc[0]


def runs(gap, *, spread=0.01, tasks=("one",), seeds=SEEDS, level=1.0, times=False, chance=3.0):
    """Runs of two arms whose paired gaps have exactly this mean and this standard deviation in every task.

    gap : number, or one for each task; times : whether it is a ratio.
    """
    noise = np.random.default_rng(1)
    frames = []
    for task, mean in zip(tasks, np.broadcast_to(gap, len(tasks)), strict=True):
        around = noise.normal(size=len(seeds))
        around = (around - around.mean()) / around.std(ddof=1) * spread
        control = level + 0.5 * noise.random(len(seeds))  # far larger than the spread of the gaps
        arm = control * mean * np.exp(around) if times else control + mean + around
        frames += [
            pd.DataFrame({"task": task, "arm": name, "seed": [*seeds], "m": values, "chance": chance})
            for name, values in {"control": control, "arm": arm}.items()
        ]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(
    ("expect", "gap", "outcome"),
    [
        ("greater", 0.2, "yes"),
        ("greater", 0.0, "no"),
        ("greater", -0.2, "no"),
        ("greater", 0.1, "open"),
        ("less", -0.2, "yes"),
        ("less", 0.0, "no"),
        ("less", 0.2, "no"),
        ("less", -0.1, "open"),
        ("equivalent", 0.0, "yes"),
        ("equivalent", 0.09, "yes"),
        ("equivalent", 0.2, "no"),
        ("equivalent", -0.2, "no"),
        ("equivalent", 0.1, "open"),
        ("equivalent", -0.1, "open"),
    ],
)
def test_a_known_effect_is_judged_against_its_margin(expect, gap, outcome):
    found = judged(runs(gap), expect=expect)
    assert found["size"] == pytest.approx(gap, abs=1e-12)
    half = stats.t.ppf(0.975, 29) * 0.01 / math.sqrt(30)
    assert (found["low"], found["high"]) == (pytest.approx(gap - half), pytest.approx(gap + half))
    assert found["outcome"] == outcome
    assert found["seeds"] == 30
    assert (found["p"] <= 0.05) == (outcome != "open")


@pytest.mark.parametrize(
    ("expect", "ratio", "outcome"),
    [
        ("greater", 1.5, "yes"),
        ("greater", 1.1, "no"),
        ("greater", 1.25, "open"),
        ("less", 0.7, "yes"),
        ("less", 0.9, "no"),
        ("less", 0.8, "open"),
        ("equivalent", 1.0, "yes"),
        ("equivalent", 0.75, "no"),
        ("equivalent", 1.3, "no"),
        ("equivalent", 0.8, "open"),
    ],
)
def test_a_ratio_is_judged_in_logarithms(expect, ratio, outcome):
    found = judged(runs(ratio, times=True), expect=expect, scale="ratio", margin=1.25)
    half = stats.t.ppf(0.975, 29) * 0.01 / math.sqrt(30)
    assert found["size"] == pytest.approx(ratio)
    assert found["low"] == pytest.approx(ratio * math.exp(-half))
    assert found["high"] == pytest.approx(ratio * math.exp(half))
    assert found["outcome"] == outcome


def test_an_arm_that_is_not_compared_has_no_say_in_a_ratio():
    two = runs(1.5, times=True)
    third = two[two["arm"] == "arm"].assign(arm="third", m=0.0)
    found = judged(pd.concat([two, third]), scale="ratio", margin=1.25)
    assert found.equals(judged(two, scale="ratio", margin=1.25))


@pytest.mark.parametrize(
    ("expect", "mirrored"), [("greater", "less"), ("less", "greater"), ("equivalent", "equivalent")]
)
@pytest.mark.parametrize("gap", [0.15, 0.1, 0.05, 0.0, -0.15])
def test_arm_and_control_can_be_swapped(expect, mirrored, gap):
    one = judged(runs(gap, spread=0.1), expect=expect)
    other = judged(runs(gap, spread=0.1), expect=mirrored, arm="control", control="arm")
    assert other["outcome"] == one["outcome"]
    assert (-other["size"], -other["high"], -other["low"]) == pytest.approx((one["size"], one["low"], one["high"]))
    assert other["p"] == pytest.approx(one["p"], abs=0.02)  # of 10,000 random flips


def test_p_is_twice_that_of_one_side():
    frame, how = runs(0.103, spread=0.02), {"expect": "greater", "margin": 0.1}
    values = frame.rename(columns={"m": "value"})[["task", "arm", "seed", "value"]]
    gaps = statistics.paired(values, "arm", "control")
    assert judged(frame, **how)["p"] == 2 * statistics.sign_flip(gaps, 0.1, "greater")
    assert judged(frame, **how | {"margin": 0.2})["p"] == 2 * statistics.sign_flip(gaps, 0.2, "less")
    both = 2 * max(statistics.sign_flip(gaps, -0.11, "greater"), statistics.sign_flip(gaps, 0.11, "less"))
    assert judged(frame, expect="equivalent", margin=0.11)["p"] == both


def test_a_share_of_chance_is_that_of_the_room_of_each_task():
    frame = runs([0.3, 0.3], tasks=("one", "two"), spread=1e-3)
    frame.loc[frame["task"] == "two", "chance"] = 5.0
    best = frame.groupby(["task", "arm"])["m"].mean().groupby("task").min()
    shares = 0.3 / (pd.Series({"one": 3.0, "two": 5.0}) - best)
    claim = claims.Claim("C01", "", "", "", "", effects=(effect(scale="of chance", tasks=("one", "two")),))
    found = claims.judge(claim, frame).set_index("task")["size"]
    assert found["one"] == pytest.approx(shares["one"])
    assert found["two"] == pytest.approx(shares["two"])
    assert found["all"] == pytest.approx(shares.mean())


def test_a_share_of_chance_counts_the_best_of_all_arms():
    frame = runs(0.3, spread=1e-3)
    third = frame[frame["arm"] == "arm"].assign(arm="third", m=0.5)
    assert judged(pd.concat([frame, third]), scale="of chance")["size"] == pytest.approx(0.3 / (3.0 - 0.5))


def test_what_never_comes_below_chance_has_no_share_of_it():
    with pytest.raises(ValueError, match="m must come below the loss of chance for 'e' to be a share of it"):
        judged(runs(0.3, level=4.0), scale="of chance")


def test_tasks_count_alike_and_each_is_reported():
    claim = claims.Claim("C01", "", "", "", "", effects=(effect(tasks=("one", "two")),))
    found = claims.judge(claim, runs([0.5, 0.0], tasks=("one", "two"))).set_index("task")
    assert found["size"].to_dict() == pytest.approx({"all": 0.25, "one": 0.5, "two": 0.0}, abs=1e-12)
    assert found["outcome"].to_dict() == {"all": "yes", "one": "yes", "two": "no"}
    assert found["seeds"].to_dict() == {"all": 60, "one": 30, "two": 30}


def test_over_tasks_the_tasks_are_the_sample():
    tasks, means = ("a", "b", "c", "d"), np.array([0.1, 0.2, 0.3, 0.25])
    frame = runs(means, tasks=tasks)
    how = {"test": "over tasks", "tasks": tasks, "margin": 0.05}
    found = judged(frame, **how)
    half = stats.t.ppf(0.975, 3) * means.std(ddof=1) / 2
    assert (found["size"], found["low"], found["high"]) == pytest.approx(
        (means.mean(), means.mean() - half, means.mean() + half)
    )
    assert found["p"] == pytest.approx(2 * stats.ttest_1samp(means, 0.05, alternative="greater").pvalue)
    assert (found["outcome"], found["seeds"]) == ("yes", 4)
    assert judged(frame, **how | {"margin": 0.15})["outcome"] == "open"  # where a flip of signs within tasks is sure
    assert judged(frame, **how | {"margin": 0.15, "test": "sign flip"})["outcome"] == "yes"


@pytest.mark.parametrize(
    ("expect", "gap", "outcome"),
    [
        ("greater", 0.11, "yes"),
        ("greater", 0.09, "no"),
        ("greater", 0.1, "open"),
        ("less", -0.11, "yes"),
        ("less", 0.0, "no"),
        ("equivalent", 0.09, "yes"),
        ("equivalent", -0.11, "no"),
        ("equivalent", 0.1, "open"),
    ],
)
def test_what_is_exact_is_compared_without_a_test(expect, gap, outcome):
    frame = pd.DataFrame({"task": "one", "arm": ["control", "arm"], "seed": 1, "m": [0.0, gap], "chance": math.inf})
    found = judged(frame, expect=expect, test="exact")
    assert (found["size"], found["low"], found["high"]) == (gap, gap, gap)
    assert (found["p"], found["outcome"]) == (1.0 if outcome == "open" else 0.0, outcome)


def test_a_diverged_arm_is_worst_and_never_left_out():
    frame = runs(-0.5, chance=math.inf)
    frame.loc[(frame["arm"] == "arm") & (frame["seed"] < 20), "m"] = math.inf
    found = judged(frame, expect="less")
    assert (found["size"], found["low"], found["high"]) == (math.inf, -math.inf, math.inf)
    assert found["outcome"] == "no"
    assert judged(frame, expect="greater")["outcome"] == "yes"
    ratio = judged(frame, expect="less", scale="ratio", margin=1.1)
    assert (ratio["size"], ratio["low"], ratio["high"], ratio["outcome"]) == (math.inf, 0, math.inf, "no")


def test_runs_that_diverged_in_both_arms_are_tied():
    frame = runs(0.0, spread=0.0, chance=math.inf).assign(m=math.inf)
    assert judged(frame, expect="equivalent")["outcome"] == "yes"


def test_against_other_tasks_an_effect_is_the_difference_by_seed():
    frame = runs([0.5, 0.3, 0.1], tasks=("one", "two", "three"))
    pair = {"tasks": ("one", "two"), "against": ("two", "three")}
    found = claims.gaps_of(effect(**pair), frame, ("one", "two"))
    plain = claims.gaps_of(effect(tasks=("one", "two", "three")), frame, ("one", "two", "three"))
    assert found["two"].equals(plain["two"] - plain["three"])
    assert found["one"].equals(plain["one"] - plain["two"])
    alone = claims.gaps_of(effect(**pair), frame, ("two",))
    assert alone["two"].equals(found["two"])
    assert [*alone.index.unique("task")] == ["two"]
    claim = claims.Claim("C01", "", "", "", "", effects=(effect(**pair),))
    assert claims.judge(claim, frame)["size"].tolist() == pytest.approx([0.2, 0.2, 0.2])
    turned = judged(frame, tasks=("three", "two"), against=("two", "one"), expect="less")
    assert (turned["size"], turned["outcome"]) == (pytest.approx(-0.2), "yes")


def test_a_ratio_against_other_tasks_is_a_ratio_of_ratios():
    frame = runs([1.5, 1.2], tasks=("one", "two"), times=True)
    found = judged(frame, scale="ratio", margin=1.1, against=("two",))
    assert (found["size"], found["outcome"]) == (pytest.approx(1.25), "yes")


def test_runs_that_lack_something_are_refused():
    frame = runs(0.1, tasks=("one", "two"))
    with pytest.raises(ValueError, match="runs must hold the tasks of 'e', and lack two"):
        judged(frame[frame["task"] == "one"], tasks=("one", "two"))
    with pytest.raises(ValueError, match="runs must hold the tasks of 'e', and lack two"):
        judged(frame[frame["task"] == "one"], against=("two",))
    with pytest.raises(ValueError, match="control must be one of 'arm'"):
        judged(frame[frame["arm"] == "arm"])
    with pytest.raises(ValueError, match="must have the same seeds"):
        judged(frame[(frame["arm"] == "arm") | (frame["seed"] > 0)])


def test_on_fewer_tasks_what_cannot_be_tested_is_left_out(register):
    claim = register["C01"]
    assert [(each.name, each.tasks) for each in claims.on_tasks(claim, ["bowl"]).effects] == [("better", ("bowl",))]
    assert claims.on_tasks(claim, iter(claim.tasks)).effects == claim.effects
    wide = claims.Claim("C01", "", "", "", "", effects=(effect(test="over tasks", tasks=("a", "b", "c")),))
    assert claims.on_tasks(wide, ["a", "b"]).effects == ()
    pairs = claims.Claim("C01", "", "", "", "", effects=(effect(tasks=("a", "b"), against=("c", "d")),))
    assert claims.on_tasks(pairs, ["a", "b", "d"]).effects == (effect(tasks=("b",), against=("d",)),)
    assert claims.on_tasks(pairs, ["a", "b"]).effects == ()


# -------------------------------------------------------------------------------------------------------- kept results


def keep(claim, frame, folder, part=""):
    name = f"{claim.id}_{part}" if part else claim.id
    tables.write_table(frame, name, folder=folder, claim=claim.sha256)


def results_of(claim, size, spread=0.01):
    """Results on the claim's own seeds in which the arm of its main effect has this ratio to all others."""
    noise, seeds = np.random.default_rng(0), claim.seeds()
    frames = []
    for task, arm in itertools.product(claim.tasks, claim.arms):
        level = 1.0 + noise.normal(size=len(seeds)) * spread
        values = {name: level * (size if arm == claim.effects[0].arm else 1) for name in claim.metrics}
        frames.append(pd.DataFrame({"task": task, "arm": arm, "seed": seeds, "lr": 0.1, "chance": 2.0} | values))
    return pd.concat(frames, ignore_index=True)


def test_results_belong_to_their_entry(register, tmp_path):
    claim, frame = register["C01"], results_of(register["C01"], 2.0)
    keep(claim, frame, tmp_path)
    assert claims.results(claim, folder=tmp_path)[[*frame]].equals(frame)
    other = registers.read(tmp_path, ("margin = 1.25", "margin = 1.2"))["C01"]
    with pytest.raises(ValueError, match=r"C01.csv must belong to the registered C01 .*not to another entry"):
        claims.results(other, folder=tmp_path)


def test_changed_results_are_refused(register, tmp_path):
    keep(register["C01"], results_of(register["C01"], 2.0), tmp_path)
    text = (tmp_path / "C01.csv").read_text()
    (tmp_path / "C01.csv").write_text(text.replace("iris,adamw", "iris,adam", 1))
    with pytest.raises(ValueError, match=r"C01.csv must have the sha256 of its manifest"):
        claims.results(register["C01"], folder=tmp_path)


def test_missing_results_are_reported(register, tmp_path):
    with pytest.raises(OSError, match=r"C01 has no results in .*: C01.json is missing"):
        claims.results(register["C01"], folder=tmp_path)
    keep(register["C01"], results_of(register["C01"], 2.0), tmp_path, "half")
    (tmp_path / "C01_half.json").rename(tmp_path / "C01.json")
    for name in ("C01.json", "C01_half.csv"):
        with pytest.raises(ValueError, match=rf"^{name} must come as a table with a manifest, one .* missing$"):
            claims.results(register["C01"], "half" if "half" in name else "", folder=tmp_path)
    with pytest.raises(OSError, match=r"C01_tuning.json is missing"):
        claims.results(register["C01"], "tuning", folder=tmp_path)


def test_no_results_at_all_are_an_empty_frame(register, tmp_path):
    found = claims.judge_all(register, folder=tmp_path)
    assert len(found) == 0
    assert claims.verdict(register["C01"], found) == "no results yet"


def test_holm_runs_over_the_joint_effects_of_all_claims(register, tmp_path):
    for key, size in {"C01": 1.4, "C02": 0.5}.items():
        keep(register[key], results_of(register[key], size), tmp_path)
    alone = pd.concat(
        [claims.judge(register[key], results_of(register[key], s)) for key, s in (("C01", 1.4), ("C02", 0.5))]
    )
    found = claims.judge_all(register, folder=tmp_path)
    joint = (alone["task"] == "all").to_numpy()
    assert found["claim"].tolist() == ["C01"] * 5 + ["C02"] * 2
    assert found[["effect", "task"]].to_numpy().tolist() == alone[["effect", "task"]].to_numpy().tolist()
    assert found["p"][joint].tolist() == pytest.approx(statistics.holm(alone["p"][joint]).tolist())
    assert found["p"][~joint].tolist() == alone["p"][~joint].tolist()
    few = claims.judge_all(register, folder=tmp_path, by_task=iter(["C02"]))
    assert few.equals(found[joint | (found["claim"] == "C02")].reset_index(drop=True))
    assert [claims.verdict(register[key], found) for key in register] == ["supported", "supported", "not testable here"]


def test_an_outcome_that_does_not_stand_the_correction_is_open(register, tmp_path):
    claim, weak = register["C01"], results_of(register["C01"], 1.0, spread=0.3)
    gaps = claims.gaps_of(claim.effects[0], weak, ["iris"])
    factor = 1.25 * math.exp(2.13 * gaps.sem() - gaps.mean())  # 2.13 standard errors above the margin
    first = weak["arm"] == claim.effects[0].arm
    shifted = weak.assign(steps_to_threshold=weak["steps_to_threshold"] * np.where(first, factor, 1.0))
    before = claims.judge(register["C01"], shifted).iloc[0]
    assert before["outcome"] == "yes"
    assert 0.025 < before["p"] <= 0.05  # as chosen: one comparison stands, two do not
    keep(register["C01"], shifted, tmp_path)
    found = claims.judge_all(register, folder=tmp_path).set_index(["effect", "task"]).loc["slower", "all"]
    assert found["p"] > 0.05
    assert found["outcome"] == "open"


# ------------------------------------------------------------------------------------------------------------ evidence


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout without results, in which the data of iris counts as downloaded."""
    pytest.importorskip("pyarrow")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data/results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FULL", raising=False)
    monkeypatch.delenv("LOOKAHEAD_NB_BUILD", raising=False)
    monkeypatch.setattr(datasets, "DOWNLOADED", ("iris",))
    monkeypatch.setattr(datasets, "available", lambda name: True)
    return tmp_path


def test_what_must_be_downloaded_comes_from_the_committed_results(register, checkout):
    claim, kept = register["C01"], results_of(register["C01"], 2.0)
    tuning = pd.DataFrame({"task": ["iris", "bowl"], "arm": "tuned", "lr": 9.0, "loss": 1.0, "chosen": True})
    keep(claim, kept, checkout / "data/results")
    keep(claim, tuning, checkout / "data/results", "tuning")
    found = claims.evidence(claim)
    assert (found.here, found.committed, found.absent) == (["bowl"], ["iris"], [])
    assert str(found) == "trained here: bowl; from the committed results: iris; absent: none"
    assert found.runs["task"].unique().tolist() == ["iris", "bowl"]  # in the order of the claim
    mine = found.runs[found.runs["task"] == "iris"].reset_index(drop=True)
    assert mine[[*kept]].equals(kept[kept["task"] == "iris"].reset_index(drop=True))
    assert not np.isclose(found.runs["train_loss"][found.runs["task"] == "bowl"], 2.0).any()
    assert found.tuning[found.tuning["task"] == "iris"]["lr"].tolist() == [9.0]
    assert found.tuning[found.tuning["task"] == "bowl"]["lr"].tolist() == pytest.approx([0.01, 0.1, 1.0])
    assert tables.read_table(checkout / "build/results/C01.csv").equals(found.runs[[*kept]])  # without parameters
    assert json.loads((checkout / "build/results/C01_tuning.json").read_text())["claim"] == claim.sha256
    assert claims.results(claim, folder=checkout / "build/results").equals(found.runs)


def test_what_is_neither_available_nor_committed_is_absent(register, checkout):
    found = claims.evidence(register["C01"])
    assert (found.here, found.committed, found.absent) == (["bowl"], [], ["iris"])
    assert str(found) == "trained here: bowl; from the committed results: none; absent: iris"
    assert found.runs["task"].unique().tolist() == ["bowl"]
    with pytest.raises(ValueError, match="runs must hold the tasks of 'slower', and lack iris"):
        claims.judge(register["C01"], found.runs)


def test_results_of_another_entry_are_no_evidence(register, checkout):
    other = registers.read(checkout, ("margin = 1.25", "margin = 1.2"))["C01"]
    keep(other, results_of(other, 2.0), checkout / "data/results")
    with pytest.raises(ValueError, match="not to another entry"):
        claims.evidence(register["C01"])


@pytest.mark.jit  # two hundred runs on data are too many for plain Python
def test_all_that_is_available_is_trained_on_demand(register, checkout):
    found = claims.evidence(register["C01"], full=True)
    assert (found.here, found.committed, found.absent) == (["iris", "bowl"], [], [])


def test_on_demand_means_full_and_available(register, checkout, monkeypatch):
    claim = register["C01"]
    assert claims.available_tasks(claim) == ["bowl"]
    monkeypatch.setenv("FULL", "1")
    assert claims.available_tasks(claim) == ["iris", "bowl"]
    assert claims.available_tasks(claim, full=False) == ["bowl"]
    monkeypatch.setattr(datasets, "available", lambda name: False)
    assert claims.available_tasks(claim, full=True) == ["bowl"]


def test_evidence_resumes_from_its_store(register, checkout, monkeypatch):
    first = claims.evidence(register["C01"])

    def refuse(*_, **__):
        raise AssertionError("nothing may be trained again")

    monkeypatch.setattr(sys.modules["lookahead_nb.training.sweep"], "train_unit", refuse)
    again = claims.evidence(register["C01"])
    assert again.runs.equals(first.runs)
    assert again.tuning.equals(first.tuning)


def test_a_claim_without_tuning_has_no_table_of_it(register, checkout):
    assert claims.evidence(register["C02"]).here == ["bowl"]
    assert [path.name for path in (checkout / "build/results").glob("*.csv")] == ["C02.csv"]
