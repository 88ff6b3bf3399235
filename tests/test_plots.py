"""Plots of runs and sweeps: what is drawn is what the frames say, in whatever axes, and what is no frame is refused."""

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.display import COLOURS
from lookahead_nb.training.plots import quantile, syncs_to_mark

plt = pytest.importorskip("matplotlib.pyplot")
X = np.random.default_rng(3).normal(size=(60, 4))
DATA = lnb.datasets.from_arrays(X, np.arange(60) % 2)
BOWL = lnb.landscapes.Quadratic([1.0, 0.1], noise=0.1)
LOOKAHEAD = lnb.Lookahead(lnb.SGD(0.1), sync_period=4)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@cache
def trained(opt=LOOKAHEAD, steps=20, **options):
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges, in plain Python
        return lnb.train(lnb.MLP((4, 3, 2)), DATA, opt, steps=steps, batch_size=8, eval_every=5, **options)


@cache
def swept(*configs, seeds=3, model=BOWL, steps=10):
    data = None if model is BOWL else DATA
    how = {"progress": False} | ({} if data is None else {"batch_size": 8})
    return lnb.sweep(model, data, configs, seeds=seeds, steps=steps, **how)


def labelled(ax):
    return {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}


# ----------------------------------------------------------------------------------------------------------------- run


def test_lines_are_the_columns_of_the_history():
    run = trained()
    loss, accuracy = run.plot()
    assert (loss.get_ylabel(), accuracy.get_ylabel(), loss.get_xlabel()) == ("loss", "accuracy", "step")
    for ax, measure in ((loss, "loss"), (accuracy, "accuracy")):
        lines = labelled(ax)
        assert [*lines] == ["train, fast", "train, slow", "validation, fast", "validation, slow"]
        for label, line in lines.items():
            split, kind = label.split(", ")
            rows = run.history[run.history["weights"] == kind]
            np.testing.assert_array_equal(line.get_xdata(), rows["step"])
            np.testing.assert_array_equal(line.get_ydata(), rows[f"{split}_{measure}"])
            assert line.get_color() == COLOURS[kind]


def test_kinds_and_splits_differ_without_colour():
    lines = labelled(trained().plot(splits=("train", "validation", "test"))[0]).values()
    looks = {(line.get_marker(), str(line._dash_pattern)) for line in lines}
    assert len(looks) == len(lines) == 6


def test_syncs_are_marked_where_they_can_be_told_apart():
    (marks,) = trained().plot()[0].collections
    assert [segment[0][0] for segment in marks.get_segments()] == [4, 8, 12, 16, 20]
    short, alone = lnb.Lookahead(lnb.SGD(0.1), sync_period=2), lnb.EMA(lnb.SGD(0.1))
    assert len(syncs_to_mark(trained(short, steps=121))) == 60
    assert syncs_to_mark(trained(short, steps=122)) == []
    assert syncs_to_mark(trained(alone)) == syncs_to_mark(trained(lnb.SGD(0.1))) == []
    assert syncs_to_mark(trained(lnb.Lookahead(lnb.SGD(0.1), sync_period=50))) == []


def test_a_run_without_slow_weights_has_one_line_for_a_split():
    assert [*labelled(trained(lnb.SGD(0.1)).plot()[0])] == ["train", "validation"]
    assert [*labelled(trained().plot(splits="test")[1])] == ["fast", "slow"]


def test_a_landscape_has_a_loss_alone():
    run = lnb.train(BOWL, None, LOOKAHEAD, steps=20, eval_every=1)
    (ax,) = run.plot()
    assert [*labelled(ax)] == ["fast", "slow"]
    with pytest.raises(ValueError, match="splits must hold 'train' for a landscape, which has no rows, got"):
        run.plot(splits=["test"])


def test_the_step_of_a_divergence_is_marked():
    run = trained(lnb.SGD(1e30))
    assert f"diverged at step {run.diverged_at}" in labelled(run.plot()[0])


def test_a_wide_loss_is_logarithmic():
    wide = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=20, eval_every=1)
    assert wide.plot()[0].get_yscale() == "log"
    assert trained(lnb.SGD(1e-6)).plot()[0].get_yscale() == "linear"


def test_plots_go_where_the_user_says():
    run, (one, two, three) = trained(), plt.figure().subplots(1, 3)
    before = plt.get_fignums()
    assert run.plot(ax=one) == (one,)
    assert run.plot(ax=[two, three]) == (two, three)
    assert (one.get_ylabel(), three.get_ylabel()) == ("loss", "accuracy")
    assert run.plot(ax=np.array([one, two])) == (one, two)
    assert plt.get_fignums() == before
    for ax, sentence in {
        3: "ax must be Axes of matplotlib, or a list of them, got 3",
        (one, two, three): "ax must be Axes, or a list of at most 2 for this run, got 3",
        (): "ax must be Axes, or a list of at most 2 for this run, got 0",
    }.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            run.plot(ax=ax)
        assert str(caught.value) == sentence


def test_the_style_of_the_user_stays():
    before = dict(plt.rcParams)
    trained().plot()
    lnb.plot(swept(*lnb.grid(lnb.SGD(), lr=[0.1, 1.0])))
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize("splits", [["train", "vali"], "all", []])
def test_unknown_splits_are_refused(splits):
    with pytest.raises(ValueError, match=r"^splits(\[\d\])? must (be one of|hold at least one of) 'train'"):
        trained().plot(splits=splits)


def test_a_loaded_run_is_drawn_like_the_run(tmp_path):
    trained().save(tmp_path / "run.npz")
    one, other = (labelled(run.plot()[1]) for run in (trained(), lnb.load(tmp_path / "run.npz")))
    assert one.keys() == other.keys()
    assert all((one[name].get_ydata() == other[name].get_ydata()).all() for name in one)


def test_the_picture_has_the_same_bytes_every_time(tmp_path):
    files = tmp_path / "a.png", tmp_path / "b.png"
    for file in files:
        trained().plot()[0].figure.savefig(file)
    assert files[0].read_bytes() == files[1].read_bytes()


# --------------------------------------------------------------------------------------------------------------- sweep


def expected(rows, opt, lr, weights="slow", measure="train_loss"):
    """Quartiles over the seeds of a setting."""
    last = rows[(rows["step"] == rows["step"].max()) & (rows["weights"] == weights) & (rows["lr"] == lr)]
    last = last[last["retention"].isna()] if opt == "SGD" else last[last["retention"] == opt]
    return np.quantile(last[measure], [0.25, 0.5, 0.75])


def test_lines_are_medians_and_bands_quartiles_over_seeds():
    rates = [0.1, 0.5, 1.0]
    rows = swept(*lnb.grid(LOOKAHEAD, retention=[0.1, 0.7], lr=rates), *lnb.grid(lnb.SGD(), lr=rates), seeds=6)
    ax = lnb.plot(rows)
    lines = labelled(ax)
    assert [*lines] == ["Lookahead(SGD) retention=0.1", "Lookahead(SGD) retention=0.7", "SGD"]
    settings = {"SGD": ("SGD", "fast")} | {f"Lookahead(SGD) retention={a}": (a, "slow") for a in (0.1, 0.7)}
    for (label, line), band in zip(lines.items(), ax.collections, strict=True):
        opt, weights = settings[label]
        quartiles = np.array([expected(rows, opt, lr, weights) for lr in rates])
        np.testing.assert_array_equal(line.get_xdata(), rates)
        np.testing.assert_allclose(line.get_ydata(), quartiles[:, 1], rtol=1e-12)
        corners = band.get_paths()[0].vertices
        for lr, (low, _, high) in zip(rates, quartiles, strict=True):
            ys = corners[corners[:, 0] == lr, 1]
            assert (ys.min(), ys.max()) == pytest.approx((low, high))
    assert (ax.get_xscale(), ax.get_ylabel(), ax.get_xlabel()) == ("log", "train loss", "lr")
    assert ax.get_legend().get_title().get_text() == "median of 6 seeds, band: middle half"


def test_one_seed_has_lines_without_bands():
    rows = swept(*lnb.grid(lnb.SGD(), lr=[0.1, 0.5]), seeds=1)
    ax = lnb.plot(rows)
    assert ([*labelled(ax)], len(ax.collections)) == (["SGD"], 0)
    assert ax.get_legend().get_title().get_text() == "one seed"


def test_weights_and_measure_are_chosen():
    rows = swept(*lnb.grid(LOOKAHEAD, lr=[0.1, 0.5]), model=lnb.MLP((4, 3, 2)))
    assert lnb.plot(rows).get_ylabel() == "validation loss"
    fast = labelled(lnb.plot(rows, measure="test_accuracy", weights="fast"))["Lookahead(SGD)"]
    last = rows[(rows["step"] == 10) & (rows["weights"] == "fast")]
    assert fast.get_ydata().tolist() == last.groupby("lr")["test_accuracy"].median().tolist()


def test_a_rate_at_which_most_runs_diverge_is_a_cross():
    ax = lnb.plot(swept(*lnb.grid(lnb.SGD(), lr=[0.1, 1.0, 1e38])))
    line = labelled(ax)["SGD"]
    assert np.isfinite(line.get_ydata()).tolist() == [True, True, False]
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    assert [cross.get_xdata().tolist() for cross in crosses] == [[1e38]]
    assert "most runs diverged" in labelled(ax)


def test_a_search_is_drawn_as_points():
    configs = lnb.sample(LOOKAHEAD, 20, lr={"low": 0.01, "high": 1}, retention={"low": 0.1, "high": 0.9})
    configs += lnb.sample(lnb.SGD(), 20, lr={"low": 0.01, "high": 1}, momentum={"low": 0, "high": 0.9})
    ax = lnb.plot(swept(*configs))
    lines = labelled(ax)
    assert {label: (len(line.get_xdata()), line.get_linestyle()) for label, line in lines.items()} == {
        "Lookahead(SGD)": (20, "None"),
        "SGD": (20, "None"),
    }
    assert ax.get_legend().get_title().get_text() == "median of 3 seeds"


def test_many_settings_are_points_too():
    momenta = np.linspace(0, 0.9, 13).round(3).tolist()
    lines = labelled(lnb.plot(swept(*lnb.grid(lnb.SGD(), momentum=momenta, lr=[0.1, 0.5]), seeds=1)))
    assert {label: len(line.get_xdata()) for label, line in lines.items()} == {"SGD": 26}
    assert len(labelled(lnb.plot(swept(*lnb.grid(lnb.SGD(), momentum=momenta[:12], lr=[0.1, 0.5]), seeds=1)))) == 12


def test_a_sweep_goes_where_the_user_says():
    ax = plt.figure().subplots()
    assert lnb.plot(swept(*lnb.grid(lnb.SGD(), lr=[0.1, 0.5])), ax=ax) is ax


def without(rows, name):
    return rows.drop(columns=name)


ROWS = swept(*lnb.grid(lnb.SGD(), lr=[0.1, 0.5]))
TASKS = pd.concat([ROWS.assign(task="a"), ROWS.assign(task="b")])


@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        (without(ROWS, "lr"), {}, "rows must have the column 'lr' of a sweep, got ['run', 'seed', "),
        (without(ROWS, "seed"), {}, "rows must have the column 'seed' of a sweep, got "),
        (ROWS, {"measure": "loss"}, "measure must be one of 'train_loss', 'validation_loss', "),
        (ROWS, {"weights": "both"}, "weights must be one of 'fast', 'slow', got 'both'"),
        ([1, 2], {}, "rows must be a frame of lookahead_nb.sweep, got [1, 2]"),
        (ROWS[:0], {}, "rows must hold at least one run, got none"),
        (TASKS, {}, "rows must be of one task, got ['a', 'b']: choose one"),
        (
            pd.concat([ROWS, swept(lnb.SGD(0.2), steps=5)]),
            {},
            "rows must end at one step, got ends at [5, 10]: choose one length",
        ),
        (ROWS, {"ax": "here"}, "ax must be Axes of matplotlib, or a list of them, got 'here'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(rows, options, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        lnb.plot(rows, **options)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_quantiles_with_and_without_infinity():
    numbers = np.random.default_rng(0).normal(size=9).tolist()
    for share in (0, 0.25, 0.3, 0.5, 0.75, 1):
        assert quantile(numbers, share) == pytest.approx(np.quantile(numbers, share), rel=1e-13)
    assert quantile([1.0, math.inf], 0.0) == 1
    assert quantile([1.0, math.inf], 0.5) == math.inf
    assert quantile([-math.inf, 1.0], 0.5) == -math.inf
    assert quantile([2.0], 0.75) == 2
