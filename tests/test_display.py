"""What a notebook shows of runs, data sets, models and optimizers: known content, escaped, always the same bytes."""

import re
import subprocess
import sys
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import display
from lookahead_nb.optimizers.pictures import of_schedule, of_syncs
from tests.support.cases import INNER

EVIL = "</title><script>alert(1)</script>&\"'"
LABELS = np.array([EVIL, "no", "yes"])[np.arange(60) % 3]
X = np.random.default_rng(3).normal(size=(60, 4))


@cache
def data():
    return lnb.datasets.from_arrays(X, LABELS)


@cache
def trained(opt, model=None, **options):
    how = {"steps": 12, "batch_size": 8, "eval_every": 3} | options
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges, in plain Python
        return lnb.train(model or lnb.MLP((4, 3, 3)), data(), opt, **how)


LOOKAHEAD = lnb.Lookahead(lnb.AdamW(0.02), sync_period=3, retention=0.7)
SHOWN = {
    **INNER,
    "lookahead": LOOKAHEAD,
    "schedule": lnb.AdamW(lnb.schedules.cosine(0.02, 30, warmup=3, decay_steps=10)),
    "restarts": lnb.AdamW(lnb.schedules.cosine_restarts(0.02, 5, factor=2)),
    "table": lnb.AdamW(lnb.schedules.from_function(lambda t: 0.1 / t, 20)),
    "in turn": lnb.Lookahead(lnb.SGD(0.1), sync_period=2, slow_step_size=(0.3, 0.9)),
    "adaptive": lnb.Lookahead(lnb.AdamW(0.05), slow_step_size="adaptive"),
    "momentum": lnb.Lookahead(lnb.AdamW(), outer_momentum=0.7, outer_nesterov=True),
    "average": lnb.EMA(lnb.AdamW(), window=1e6),
    "long period": lnb.Lookahead(lnb.SGD(), sync_period=10**9),
    "mlp": lnb.MLP((64, 32, 10)),
    "logistic": lnb.LogisticRegression(10**6, n_classes=2, l2=0.1),
    "quadratic": lnb.landscapes.Quadratic([1.0, 0.1, 0.3]),
    "two": lnb.landscapes.Quadratic([1.0, 0.1]),
    "well": lnb.landscapes.DoubleWell(),
    "huge well": lnb.landscapes.DoubleWell(start=1e200),
    "game": lnb.landscapes.Bilinear(),
    "valley": lnb.landscapes.Rosenbrock(),
    "data": data,
    "run": lambda: trained(LOOKAHEAD),
    "run alone": lambda: trained(lnb.AdamW()),
    "diverged": lambda: trained(lnb.SGD(1e30)),
    "on a landscape": lambda: lnb.train(lnb.landscapes.Quadratic([1.0]), None, LOOKAHEAD, steps=9),
}


def html_of(name):
    shown = SHOWN[name]
    return (shown() if callable(shown) else shown)._repr_html_()


def texts(html):
    return [text for text in ElementTree.fromstring(html).itertext() if text.strip()]


def rows(html):
    return {row[0].text: row[1].text for row in ElementTree.fromstring(html).iter("tr")}


@pytest.mark.parametrize("name", SHOWN)
def test_html_is_whole_small_and_loads_nothing(name):
    html = html_of(name)
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(html).iter()}
    assert tags <= {"div", "table", "caption", "tr", "th", "td", "svg", "title", "path", "text"}
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\b(src|href|id|class|on\w+)=|url\(", html)
    assert not re.search(r"\bnan\b|\binf\b|None", re.sub(r"<td.*?</td>", "", html))
    assert len(html) < 13_000
    assert html == html_of(name)


def test_every_text_is_escaped():
    html = html_of("data")
    assert "<script>" not in html
    assert EVIL[:17] + "…" in texts(html)
    named = lnb.datasets.from_arrays(X, LABELS)
    object.__setattr__(named, "name", EVIL)
    object.__setattr__(named, "source", EVIL)
    assert "<script>" not in named._repr_html_()
    assert rows(named._repr_html_())["source"] == EVIL
    for part in (
        display.shown_together(EVIL, {EVIL: EVIL}),
        display.curves([display.Line(EVIL, [0, 1], [1, 2], "red")], EVIL, EVIL, EVIL),
        display.bars([EVIL], [1], EVIL, EVIL),
        display.shades(np.eye(2), EVIL, (0, 1), EVIL),
        display.layers([2, 3], EVIL),
    ):
        assert "<script>" not in part
        ElementTree.fromstring(part)


def test_pictures_take_the_ink_of_the_page():
    for name in SHOWN:
        inks = set(re.findall(r'(?:fill|stroke)="([^"]*)"', html_of(name)))
        assert inks <= {"none", "currentColor", *display.COLOURS.values()}
        assert "background" not in html_of(name)


def test_another_process_shows_the_same_bytes():
    script = (
        "import lookahead_nb as lnb;"
        "print(lnb.Lookahead(lnb.AdamW(lnb.schedules.cosine(0.1, 50)))._repr_html_());"
        "print(lnb.landscapes.Rosenbrock()._repr_html_(), lnb.MLP((4, 3, 2))._repr_html_())"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    shown = lnb.Lookahead(lnb.AdamW(lnb.schedules.cosine(0.1, 50))), lnb.landscapes.Rosenbrock(), lnb.MLP((4, 3, 2))
    assert out == "{}\n{} {}\n".format(*(each._repr_html_() for each in shown))


# -------------------------------------------------------------------------------------------------------------- tables


def test_tables_hold_what_an_object_is():
    assert rows(html_of("mlp")) == {"widths": "64-32-10", "activation": "relu", "parameters": "2,410"}
    found = rows(html_of("lookahead"))
    assert {name: found[name] for name in ("lr", "sync_period", "retention")} == {
        "lr": "0.02",
        "sync_period": "3",
        "retention": "0.7",
    }
    assert "warmup" not in found
    assert rows(html_of("schedule"))["schedule"] == "cosine"
    found = rows(html_of("data"))
    assert (found["train rows"], found["features"], found["classes"]) == ("36", "4", "3")


def test_the_table_of_a_run_has_the_end_of_its_history():
    run = trained(LOOKAHEAD)
    found, end = rows(run._repr_html_()), run.history.iloc[-2:]
    fast, slow = end["test_accuracy"]
    assert found["test accuracy"] == f"{fast:.4g} (fast), {slow:.4g} (slow)"
    assert found["optimizer"] == "Lookahead(AdamW(lr=0.02), sync_period=3, slow_step_size=0.3)"
    assert (found["data"], found["steps"]) == (run.setup.data.name, "12")
    assert "(fast)" in rows(html_of("run alone"))["train loss"]
    assert rows(html_of("diverged"))["diverged at step"] == "2"
    assert "accuracy" not in " ".join(rows(html_of("on a landscape")))


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (lnb.AdamW(), "AdamW(lr=0.001)"),
        (lnb.SGD(0.1, momentum=0.9, nesterov=True), "SGD(lr=0.1, momentum=0.9, nesterov=True)"),
        (lnb.Lookahead(lnb.SGD(0.1)), "Lookahead(SGD(lr=0.1), sync_period=5, slow_step_size=0.5)"),
        (
            lnb.Lookahead(lnb.AdamW(lnb.schedules.linear(0.1, 50, decay_steps=5)), pull_back=False),
            "Lookahead(AdamW(lr=schedules.linear(0.1, steps=50, decay_steps=5)), sync_period=5, slow_step_size=0.5, "
            "pull_back=False)",
        ),
        (lnb.EMA(lnb.SGD(), window=100), "EMA(SGD(lr=0.001), decay=0.99)"),
        (lnb.schedules.constant(0.5, warmup=3), "schedules.constant(0.5, warmup=3)"),
    ],
)
def test_a_repr_is_short_and_makes_the_same(shown, line):
    assert repr(shown) == line
    assert eval(line, vars(lnb).copy()) == shown


def test_the_repr_of_a_data_set_tells_its_sizes():
    assert repr(data()) == f"Dataset({data().name!r}, 36/12/12 rows, 4 features, 3 classes, split_seed=0)"


# ------------------------------------------------------------------------------------------------------------ pictures


def points(svg, ink):
    """The corners of the path of a colour."""
    (path,) = re.findall(rf'<path d="([^"h]*)" fill="none" stroke="{ink}"', svg)
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]


def values(svg, ink, low, high):
    """The y of these corners, given what the axis covers."""
    top, bottom = display.TOP, display.HEIGHT - display.BOTTOM
    return [low + (high - low) * (bottom - y) / (bottom - top) for _, y in points(svg, ink)]


def test_curves_fill_their_frame():
    svg = display.curves([display.Line("", [0, 5, 10], [1, 3, 2], "red")], "y", "x", "A line")
    left, right, top, bottom = display.LEFT, display.WIDTH - display.RIGHT, display.TOP, display.HEIGHT - display.BOTTOM
    assert points(svg, "red") == [(left, bottom), ((left + right) / 2, top), (right, (top + bottom) / 2)]


def test_curves_are_logarithmic_over_more_than_a_factor_of_ten():
    svg = display.curves([display.Line("", [0, 1, 2], [0.01, 0.1, 1], "red")], "loss", "x", "A line")
    assert "loss (log)" in texts(svg)
    assert points(svg, "red")[1][1] == (display.TOP + display.HEIGHT - display.BOTTOM) / 2
    assert "(log)" not in display.curves([display.Line("", [0, 1], [0, 1], "red")], "loss", "x", "A line")


def test_curves_are_interrupted_where_there_is_no_number():
    line = display.Line("", [0, 1, 2, 3, 4], [1, 2, float("nan"), 2, 1], "red")
    assert re.search('d="M[^M]*M[^M]*" fill="none" stroke="red"', display.curves([line], "y", "x", "A line"))
    assert display.curves([display.Line("", [0, 1], [1, float("inf")], "red")], "y", "x", "A line") == ""


def test_syncs_are_drawn_as_they_are_computed():
    """Steps of 1: 0, 1, 2, then half way back to 1; 2, 3, then from 1 to 2."""
    svg = of_syncs(lnb.Lookahead(lnb.SGD(), sync_period=2).sync)
    slow = values(svg, display.COLOURS["slow"], 0, 6)
    fast = values(svg, display.COLOURS["fast"], 0, 6)
    assert slow[:6] == pytest.approx([0, 0, 1, 1, 2, 2], abs=0.01)
    assert fast[:5] == pytest.approx([0, 2, 1, 3, 2], abs=0.01)
    assert "over 10 steps" in svg


def test_an_average_and_a_lookahead_without_pull_back_leave_the_fast_weights():
    for opt in (lnb.EMA(lnb.SGD(), window=4), lnb.Lookahead(lnb.SGD(), sync_period=3, pull_back=False)):
        corners = points(of_syncs(opt.sync), display.COLOURS["fast"])
        slopes = {round((y - corners[0][1]) / (x - corners[0][0]), 2) for x, y in corners[1:]}
        assert len(slopes) == 1


def test_a_schedule_is_drawn_with_its_corners():
    schedule = lnb.schedules.linear(1.0, 100, warmup=10, decay_steps=20)
    heights = values(of_schedule(schedule), display.COLOURS["AdamW"], 0, 1)
    assert (max(heights), min(heights)) == (1, 0)
    assert heights.count(1) >= 70
    assert of_schedule(lnb.schedules.constant(0.1)) == ""
    assert "over 20 steps" in of_schedule(lnb.schedules.constant(0.1, warmup=10))
    falling = lnb.AdamW(weight_decay=lnb.schedules.linear(0.1, 30))
    assert "The weight decay over 30 steps" in falling._repr_html_()
    assert "over 30 steps" not in lnb.AdamW()._repr_html_()


def test_bars_are_as_long_as_their_values():
    svg = display.bars(["a", "b"], [10, 5], "rows", "Bars")
    long, short = map(float, re.findall(r"h([\d.]+)v10", svg))
    assert long == pytest.approx(2 * short, abs=0.1)
    assert "and 3 more" in display.bars([*range(13)], [1] * 13, "rows", "Bars")
    assert display.bars(["a"], [0], "rows", "Bars").count("h0.0v10") == 1


def test_shades_cover_the_square_once():
    grid = np.add.outer(np.arange(6.0), np.arange(8.0))
    svg = display.shades(grid, "height", (0, 1), "Shades")
    area = sum(float(w) * float(h) for w, h in re.findall(r"h([\d.]+)v([\d.]+)h-", svg))
    frame = (display.WIDTH - display.LEFT - display.RIGHT) * (display.HEIGHT - display.TOP - display.BOTTOM)
    assert area == pytest.approx(frame, rel=0.02)
