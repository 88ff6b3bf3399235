"""The explorer page: the numbers of the core, bit for bit, in JavaScript; its texts, colours and keys; no network."""

import colorsys
import itertools
import json
import math
import re
import tomllib
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from conftest import NO_JIT

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.figures import COLOURS, DASHES, MARKERS
from lookahead_nb.kernels import formulas, philox
from lookahead_nb.kernels.compiler import fma
from lookahead_nb.kernels.cpu import network
from lookahead_nb.models import landscapes
from tests.support.browser import CHROMIUM, Browser

pytestmark = pytest.mark.no_kernel

quickjs = pytest.importorskip("quickjs", reason="needs a JavaScript engine: the extra test brings quickjs-ng")

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "paper/explorer.html"
HTML = PAGE.read_text(encoding="utf-8")
STEPS = 12 if NO_JIT else 60
ROUNDING = 1e-12  # theory multiplies matrices by BLAS, whose order and fma are not ours: 1e-16 a product, over 60 steps
SETTINGS = {"rule": "AdamW", "retention": 0.5, "sync_period": 5, "lr": 0.05, "noise": 0.7, "batch_size": 7, "seed": 3}
PROBLEMS = ["quadratic", "noisy_quadratic", "double_well", "game", "logistic_regression", "classes", "line"]
LANDSCAPES = PROBLEMS[:4]
TABLES = {  # of a reader: classes have a logistic regression, other numbers a least-squares line
    "classes": "age,ill\n" + "\n".join(f"{20 + 3 * r + 7 * (r % 3)},{int(r % 5 > 1)}" for r in range(23)),
    "line": "hours;marks\n" + "\n".join(f"{r / 4};{r % 7 - 0.25 * r}" for r in range(31)),
}
MEANINGS = {  # of a run, as the figures name them
    "slow": "slow",
    "fast": "fast",
    "inner": "AdamW",
    "lower": "AdamW at lr x step",
    "average": "averaging",
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS)
each_rule = pytest.mark.parametrize("rule", ["SGD", "Momentum", "AdamW"])
in_a_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium on the PATH")
LEAST_CONTRAST, LEAST_OF_GRAPHICS = 4.5, 3.0  # WCAG 2.2: 1.4.3 for text, 1.4.11 for lines and marks
APART = 10  # of two lines in CIELAB, as people see them who lack one kind of cone: several just noticeable differences
PHONE = 400  # CSS pixels


@pytest.fixture(scope="module")
def page():
    """The page's script of numbers in an engine; page(code) returns the value of a piece of code."""
    context = quickjs.Context()
    context.eval(re.search(r'<script id="core">(.*?)</script>', HTML, re.DOTALL)[1])

    def value(code):
        plain = "(_, v) => ArrayBuffer.isView(v) ? Array.from(v) : Math.abs(v) === Infinity ? String(v) : v"
        return json.loads(context.eval(f"JSON.stringify({code}, {plain})"))

    return value


def arguments(settings):
    """The settings as arguments in JavaScript, with the table of a problem that has one."""
    problem = settings["problem"]
    table = f"read_table({json.dumps(TABLES[problem])})" if problem in TABLES else "null"
    return f"{json.dumps(settings | {'problem': 'table' if problem in TABLES else problem})}, {table}"


def explored(page, **settings):
    return page(f"explore({arguments(SETTINGS | {'pull_back': True, 'steps': STEPS} | settings)})")


class LeastSquares:
    """A line by least squares, with the package's kernel."""

    def __init__(self, n):
        self.sizes = np.array([n, 1])
        self.init = lnb.LogisticRegression(n).init

    def loss_and_grad(self, params, X, y):
        grad, work = np.empty(params.size), np.empty(network.work_size(self.sizes, len(X)))
        shares = np.full(len(X), 1 / len(X))
        kernel = network.squared_loss_and_grad(np.float64)
        return kernel(params, X, y[:, None], shares, self.sizes, formulas.RELU, 0.0, grad, work), grad

    def loss(self, params, X, y):
        return self.loss_and_grad(params, X, y)[0]


def model_of(page, settings):
    """The package's model with the settings that the page says it has, its minibatch gradient and its loss."""
    code = f"((settings, table) => PROBLEMS[settings.problem](settings, table).settings())({arguments(settings)})"
    described = page(code)
    kind = described.pop("model")
    if kind in ("Quadratic", "DoubleWell", "Bilinear"):
        model = getattr(landscapes, kind)(**described)
        return model, model.noisy_grad, model.loss
    X, y = np.array(described["X"], float), np.array(described["y"])
    model, batches = (lnb.LogisticRegression if kind == "LogisticRegression" else LeastSquares)(X.shape[1]), []
    drawn = lnb.minibatches(len(y), described["batch_size"], settings["seed"])

    def noisy_grad(params, seed, step):
        while len(batches) < step:
            batches.append(next(drawn))
        rows = batches[step - 1]
        return model.loss_and_grad(params, X[rows], y[rows])[1]

    return model, noisy_grad, lambda params: model.loss(params, X, y)


def optimizers(settings):
    """The runs of the page, built with the package."""
    rules = {"SGD": lnb.SGD, "Momentum": lambda lr: lnb.SGD(lr, momentum=0.9), "AdamW": lnb.AdamW}
    less = {"Momentum": lambda lr: lnb.SGD(lr * 5, momentum=0.5), "AdamW": lambda lr: lnb.AdamW(lr, beta1=0.5)}
    inner, lr, rule = rules[settings["rule"]], settings["lr"], settings["rule"]
    sync = {"retention": settings["retention"], "sync_period": settings["sync_period"]}
    lookahead = lnb.Lookahead(inner(lr), **sync, pull_back=settings["pull_back"])
    low = lr * lookahead.slow_step_size
    runs = {"lookahead": lookahead, "inner": inner(lr), "lower": inner(low)}
    runs["average"] = lnb.Lookahead(inner(low), **sync, pull_back=False)
    runs["ema"] = lnb.EMA(inner(low), window=math.floor(settings.get("steps", STEPS) / 10 + 0.5))
    return runs | ({"less": less[rule](low)} if rule in less else {})


def stepped(model, noisy_grad, loss, optimizer, seed, steps=STEPS):
    """A run by hand: weights after each pull, fast losses where no pull hides them, slow weights and losses."""
    params = model.init(seed=seed, dtype="float64")
    state = optimizer.init(params)
    run = {"slow": [params.copy()], "fast_loss": [loss(params)], "slow_loss": [loss(params)]}
    for t in range(1, steps + 1):
        optimizer.step(params, noisy_grad(params, seed, t), state)
        slow = state.slow if optimizer.has_slow_weights else None
        pulled = slow is not None and optimizer.sync.pull_back and t % optimizer.sync.period == 0
        run["fast_loss"].append(math.nan if pulled else loss(params))
        if slow is not None:
            run["slow"].append(slow.copy())
            run["slow_loss"].append(loss(slow))
    return run | {"params": params}


# ------------------------------------------------------------------------------------------- the numbers of the package


@each_problem
@each_rule
@pytest.mark.parametrize("changed", [{}, {"retention": 0.9, "sync_period": 3}, {"pull_back": False, "retention": 0.3}])
def test_every_run_has_the_bits_of_the_package(page, problem, rule, changed):
    settings = SETTINGS | {"problem": problem, "rule": rule, "pull_back": True} | changed
    model, noisy_grad, loss = model_of(page, settings)
    shown, runs = explored(page, **settings), optimizers(settings)
    assert set(shown) == {"model", *runs}
    for name, optimizer in runs.items():
        run, ours = stepped(model, noisy_grad, loss, optimizer, settings["seed"]), shown[name]
        assert ours["params"] == run["params"].tolist()
        seen = [(ours["fast_loss"][t], loss) for t, loss in enumerate(run["fast_loss"]) if not math.isnan(loss)]
        assert [pair for pair in seen if pair[0] != pair[1]] == []
        if optimizer.has_slow_weights:
            width = len(ours["slow"][0])
            assert ours["slow"] == [slow[:width].tolist() for slow in run["slow"]]
            assert ours["slow_loss"] == run["slow_loss"]


@each_problem
def test_what_a_pull_hides_has_the_bits_of_the_package(page, problem):
    """The fast weights before a pull are those of the inner rule alone, as long as nothing was pulled."""
    k = STEPS // 2
    shown = explored(page, problem=problem, sync_period=k)
    assert shown["lookahead"]["fast"][: k + 1] == shown["inner"]["fast"][: k + 1]
    assert shown["lookahead"]["fast_loss"][: k + 1] == shown["inner"]["fast_loss"][: k + 1]
    assert shown["lookahead"]["fast"][k + 1] != shown["inner"]["fast"][k + 1]


@pytest.mark.parametrize("problem", LANDSCAPES)
def test_losses_are_those_that_train_reports(page, problem):
    settings = SETTINGS | {"problem": problem, "pull_back": True}
    model, *_ = model_of(page, settings)
    shown, runs = explored(page, **settings), optimizers(settings)
    for name in ("lookahead", "ema"):
        history = lnb.train(model, None, runs[name], steps=STEPS, seed=3, eval_every=1, dtype="float64").history
        for weights in ("fast", "slow"):
            reported = history.loc[history["weights"] == weights, "train_loss"]
            assert shown[name][f"{weights}_loss"] == reported.tolist()


@pytest.mark.parametrize("problem", LANDSCAPES[:2])
@pytest.mark.parametrize("rule", ["SGD", "Momentum"])
@pytest.mark.parametrize("pull_back", [True, False])
def test_expected_losses_are_those_of_theory(page, problem, rule, pull_back):
    settings = SETTINGS | {"problem": problem, "rule": rule, "pull_back": pull_back, "lr": 0.03, "sync_period": 4}
    model, *_ = model_of(page, settings)
    shown = explored(page, **settings)
    for name, optimizer in optimizers(settings).items():
        cycle = theory.Cycle.of(optimizer, curvature=model.curvatures, noise=model.noise)
        path = cycle.transient(STEPS, start=model.start)
        for weights in ("fast", "slow"):
            mean, variance = (getattr(path, f"{weights}_{moment}") for moment in ("mean", "variance"))
            exact = theory.expected_loss(model.curvatures, mean, variance)
            np.testing.assert_allclose(shown[name]["exact"][f"{weights}_loss"], exact, rtol=ROUNDING)
        np.testing.assert_allclose(shown[name]["exact"]["rate"], cycle.rate.max(), rtol=ROUNDING)


@pytest.mark.parametrize(("k", "retention"), [(1, 0.5), (2, 0.5), (5, 0.5), (31, 0.54), (50, 0.95)])
def test_rates_of_the_game_are_those_of_theory(page, k, retention):
    shown = explored(page, problem="game", rule="SGD", lr=0.3, sync_period=k, retention=retention)
    s = round(1 - retention, 6)
    np.testing.assert_allclose(shown["lookahead"]["exact"]["rate"], theory.game_rate(0.3, 1.0, k, s), rtol=ROUNDING)
    np.testing.assert_allclose(shown["inner"]["exact"]["rate"], theory.game_rate(0.3, 1.0), rtol=ROUNDING)
    for name in ("lower", "average", "ema"):
        np.testing.assert_allclose(shown[name]["exact"]["rate"], theory.game_rate(0.3 * s, 1.0), rtol=ROUNDING)


def test_nothing_exact_is_shown_where_nothing_is_known(page):
    assert explored(page, problem="quadratic", rule="AdamW")["lookahead"]["exact"] is None
    assert explored(page, problem="game", rule="Momentum")["lookahead"]["exact"] is None
    assert explored(page, problem="double_well", rule="SGD", lr=0.01)["lookahead"]["exact"] is None


def test_a_run_that_diverges_ends_there(page):
    shown = explored(page, problem="quadratic", rule="SGD", lr=1e3, steps=400)
    assert 10 < len(shown["inner"]["fast_loss"]) < 400
    assert len(shown["inner"]["fast"]) == len(shown["inner"]["fast_loss"]) == len(shown["inner"]["slow"])
    assert "every" not in shown["inner"]


def test_gradient_descent_has_no_run_with_less_momentum(page):
    assert "less" not in explored(page, problem="quadratic", rule="SGD")
    assert "less" in explored(page, problem="quadratic", rule="AdamW")


@pytest.mark.parametrize("problem", ["noisy_quadratic", "double_well", "game", "classes"])
def test_the_map_shows_the_loss_of_a_run_with_its_settings(page, problem):
    rule = "Momentum" if problem == "noisy_quadratic" else "AdamW"
    settings = SETTINGS | {"problem": problem, "rule": rule, "pull_back": True, "steps": STEPS}
    of_settings = arguments(settings)
    of_cells = "MAP_PERIODS.map(k => MAP_RETENTIONS.map(r => map_loss(settings, k, r, table)))"
    cells = page(f"((settings, table) => {of_cells})({of_settings})")
    periods, retentions = page("MAP_PERIODS"), page("MAP_RETENTIONS")
    for k, retention in [(1, 0.5), (5, 0), (5, 0.8), (50, 0.95)]:
        run = explored(page, **settings | {"sync_period": k, "retention": retention})["lookahead"]
        loss = run["exact"]["slow_loss"][-1] if run["exact"] else run["slow_loss"][-1]
        assert cells[periods.index(k)][retentions.index(retention)] == loss
    assert (periods[0], periods[-1], retentions[0]) == (1, 50, 0)


def test_a_cell_that_diverges_is_infinite(page):
    settings = SETTINGS | {"problem": "double_well", "rule": "SGD", "lr": 3.0, "pull_back": True, "steps": STEPS}
    assert page(f"map_loss({json.dumps(settings)}, 50, 0)") == "Infinity"


def test_fused_products_are_rounded_once(page, rng):
    a, b = rng.standard_normal((2, 300 if NO_JIT else 3000)) * 2.0 ** rng.integers(-30, 30, (2, 1))
    exact = a * b
    nearly = -exact * (1 + rng.integers(-3, 4, a.size) * 2.0**-52)
    c = np.where(np.arange(a.size) % 3, rng.standard_normal(a.size), nearly)
    c[::7] = rng.choice([1, -1], c[::7].size) * 2.0 ** rng.integers(-60, 60, c[::7].size)
    # Products a hair below half of the last digit of c: rounded twice, they would be taken for the half.
    a[1::7] = 1 + rng.integers(1, 2**20, a[1::7].size) * 2.0**-48
    b[1::7] = rng.choice([1, -1], b[1::7].size) * 2.0**-53 * (2 - a[1::7])
    c[1::7] = 1 + rng.integers(0, 2**20, c[1::7].size) * 2.0**-52
    shown = page(f"{json.dumps(np.stack([a, b, c], 1).tolist())}.map(([a, b, c]) => fma(a, b, c))")
    assert [float(x) for x in shown] == [float(fma(*map(np.float64, each))) for each in zip(a, b, c, strict=True)]


@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "softplus", "normal_quantile"])
def test_scalar_functions_have_the_bits_of_the_package(page, rng, name):
    x = rng.uniform(-40, 40, 60 if NO_JIT else 2000)
    if name in ("log", "normal_quantile"):
        x = 1 / (1 + np.exp(x / 2))
    if name == "exp":
        x = np.append(x, [-745.1, -750, -720.5, 709.7, 710, 0])
    shown = page(f"{json.dumps(x.tolist())}.map({name})")
    assert [float(each) for each in shown] == [float(getattr(formulas, name)(np.float64(each))) for each in x]


def test_the_random_stream_is_that_of_the_package(page):
    seed = 2**40 + 12345
    assert page(f"normals(23, {seed}, NOISE, 7)") == philox.normals(23, seed, philox.NOISE, 7).tolist()
    assert page(f"uniforms(9, {seed}, WEIGHTS, 2)") == philox.uniforms(9, seed, philox.WEIGHTS, 2).tolist()


@pytest.mark.parametrize(("n", "batch_size"), [(60, 7), (300, 128), (1, 1), (256, 256)])
def test_minibatches_are_those_of_the_package(page, n, batch_size):
    expected = [rows.tolist() for rows in islice(lnb.minibatches(n, batch_size, 5), 11)]
    assert page(f"Array.from({{length: 11}}, (_, step) => minibatch({n}, {batch_size}, 5, step))") == expected


def test_every_retention_of_the_slider_becomes_the_step_of_the_package(page):
    retentions = [i / 100 for i in range(101)]
    expected = [lnb.Lookahead(lnb.AdamW(), retention=r).slow_step_size for r in retentions]
    assert page(f"{json.dumps(retentions)}.map(complement)") == expected


# ----------------------------------------------------------------------------------------------------------- statements


def expected_loss(page, name, run, weights="slow", **changes):
    """The expected loss at the last step of the settings of a statement, by theory."""
    settings = page(f"settings_of(STATEMENTS.{name})") | changes
    model, *_ = model_of(page, settings)
    cycle = theory.Cycle.of(optimizers(settings)[run], curvature=model.curvatures, noise=model.noise)
    path = cycle.after(settings["steps"], start=model.start)
    mean, variance = (getattr(path, f"{weights}_{moment}") for moment in ("mean", "variance"))
    return float(theory.expected_loss(model.curvatures, mean, variance))


def run_of(page, name, run, **changes):
    """A whole run of the settings of a statement, by the package, and its model."""
    settings = page(f"settings_of(STATEMENTS.{name})") | changes
    model, noisy_grad, loss = model_of(page, settings)
    return stepped(model, noisy_grad, loss, optimizers(settings)[run], settings["seed"], settings["steps"]), model


def says(page, name):
    return re.findall(r"\d+(?:\.\d+)?", page(f"STATEMENTS.{name}.says"))


def digits(loss, count=2):
    return format(Decimal(f"{loss:#.{count}g}"), "f")


def last_quarter(losses):
    return float(np.mean(losses[math.floor(0.75 * (len(losses) - 1)) + 1 :]))


def test_the_first_screen_says_that_averages_do_better(page):
    slow, lower, average, ema = (
        expected_loss(page, "start", run, weights)
        for run, weights in [("lookahead", "slow"), ("lower", "fast"), ("average", "slow"), ("ema", "slow")]
    )
    assert max(average, ema) < slow < lower / 2
    assert expected_loss(page, "start", "inner", "fast") > lower
    assert says(page, "start") == [digits(each) for each in (slow, lower, average, ema)]


def test_c01_takes_longer(page):
    slow, half = expected_loss(page, "C01", "lookahead"), expected_loss(page, "C01", "lookahead", retention=0.5)
    lower = expected_loss(page, "C01", "lower", "fast")
    assert half < lower < slow < 1.2 * lower
    assert says(page, "C01") == ["100", digits(slow), "0.9", digits(half), "0.5", digits(lower)]


def test_c02_is_calmer(page):
    slow, half = expected_loss(page, "C02", "lookahead"), expected_loss(page, "C02", "lookahead", retention=0.5)
    lower, average = expected_loss(page, "C02", "lower", "fast"), expected_loss(page, "C02", "average")
    assert average < slow < lower
    assert lower - slow < (half - slow) / 2  # most of it
    assert says(page, "C02") == [digits(slow), "0.9", digits(half), "0.5", digits(lower), digits(average)]


def test_c03_explores_less(page):
    def in_the_deeper(run, weights):
        ends, model = run_of(page, "C03", run)
        return int((model.basin(ends["params"] if weights == "fast" else ends["slow"][-1]) < 0).sum())

    assert in_the_deeper("lookahead", "slow") == in_the_deeper("lookahead", "fast") == 0
    moved, lower = in_the_deeper("inner", "fast"), in_the_deeper("lower", "fast")
    assert says(page, "C03") == ["0.9", "32", str(moved), str(lower)]


def test_c05_depends_on_the_rate(page):
    settings = itertools.product([0.32, 0.02], [10, 5])
    losses = [expected_loss(page, "C05", "lookahead", sync_period=k, lr=lr) for lr, k in settings]
    assert losses[0] > losses[1]
    assert losses[2] < losses[3]
    high, of_5, low, low_of_5 = map(digits, losses)
    assert says(page, "C05") == ["10", "5", high, of_5, "0.02", low, low_of_5]


def test_c08_beats_adam_and_an_average_beats_both(page):
    losses = [run_of(page, "C08", run)[0][f"{w}_loss"] for run, w in [("inner", "fast"), ("lookahead", "slow")]]
    losses.append(run_of(page, "C08", "ema")[0]["slow_loss"])
    adamw, slow, ema = map(last_quarter, losses)
    assert adamw > slow > ema
    assert says(page, "C08") == [*(digits(each, 3) for each in (adamw, slow, ema)), "428"]
    answers = (ROOT / "data/claims/answers.toml").read_text(encoding="utf-8")
    assert "428 generated tasks" in answers


def test_c10_is_true_at_one_rate_for_both(page):
    adamw, slow = run_of(page, "C10", "inner")[0]["fast_loss"][-1], run_of(page, "C10", "lookahead")[0]["slow_loss"][-1]
    raised = run_of(page, "C10", "lookahead", lr=0.02)[0]["slow_loss"][-1]
    assert slow > adamw
    assert says(page, "C10") == ["50", digits(adamw), digits(slow), "0.02", digits(raised)]
    assert digits(raised) == digits(adamw)


def test_c13_slow_weights_are_better_at_a_sync(page):
    slow, fast = (expected_loss(page, "C13", "lookahead", weights) for weights in ("slow", "fast"))
    settings = page("settings_of(STATEMENTS.C13)")
    assert settings["steps"] % settings["sync_period"] == 0
    assert slow < fast
    assert says(page, "C13") == [digits(slow), digits(fast)]


def test_c22_lookahead_alone_spirals_in(page):
    settings = page("settings_of(STATEMENTS.C22)")
    ends = {run: run_of(page, "C22", run)[0] for run in optimizers(settings)}
    start = ends["inner"]["fast_loss"][0]
    left = ends["lookahead"]["slow_loss"][-1]
    assert left < start < min(ends["average"]["slow_loss"][-1], ends["ema"]["slow_loss"][-1])
    assert theory.game_rate(np.logspace(-3, 0.5), 1.0).min() > 1  # at any rate
    product = settings["retention"] * settings["sync_period"]
    assert says(page, "C22") == [f"{product:g}", "1", f"{start:g}", digits(left)]


def test_statements_quote_the_article(page):
    for name in page("Object.keys(STATEMENTS)"):
        if name in ("start", "C22"):  # C22 is a forecast and has no entry
            continue
        entry = tomllib.loads((ROOT / f"data/claims/{name}.toml").read_text(encoding="utf-8"))
        assert page(f"STATEMENTS.{name}.article") == entry["article"]
        assert page(f"statement_of(settings_of(STATEMENTS.{name}))") == name
    assert page("statement_of({...settings_of(STATEMENTS.C02), lr: 0.2})") is None


# ---------------------------------------------------------------------------------------------------------- the address


def test_an_address_returns_the_state_that_wrote_it(page):
    settings = SETTINGS | {"problem": "game", "pull_back": False, "steps": 350, "lr": 0.07}
    asked = page(f"read_address(address_of({json.dumps(settings)}, ['slow', 'ema'], 17))")
    assert asked == {"settings": settings, "curves": ["slow", "ema"], "step": 17, "notes": []}
    assert page("read_address('').settings") == page("settings_of(STATEMENTS.start)")


def test_an_address_understands_the_names_of_the_article(page):
    asked = page("read_address('#alpha=0.9&k=10&learning_rate=0.2&optimizer=AdamW')")
    named = {name: asked["settings"][name] for name in ("retention", "sync_period", "lr", "rule")}
    assert named == {"retention": 0.9, "sync_period": 10, "lr": 0.2, "rule": "AdamW"}
    assert asked["notes"] == [
        "alpha=0.9 is read as the article's alpha, which is the retention. The alpha of papers and libraries is "
        "slow_step_size."
    ]
    assert page("read_address('#slow_step_size=0.8')")["settings"]["retention"] == 0.2
    assert page("read_address('#slow_step_size=0.8')")["notes"] == []
    assert page("read_address('#slow_step_size=0')")["settings"]["retention"] == 0.8


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        ("retention=2", "retention=2 is not a number from 0 to 0.99; 0.8 is used instead."),
        ("alpha=-1", "alpha=-1 is not a number from 0 to 0.99; 0.8 is used instead."),
        ("slow_step_size=0", "slow_step_size=0 is not a number from 0.01 to 1; 0.2 is used instead."),
        ("k=5.5", "k=5.5 is not a whole number from 1 to 50; 5 is used instead."),
        ("lr=", "lr= is not a number from 0.001 to 3.2; 0.1 is used instead."),
        ("lr=0x1", "lr=0x1 is not a number from 0.001 to 3.2; 0.1 is used instead."),
        ("noise=Infinity", "noise=Infinity is not a number from 0 to 8; 1 is used instead."),
        ("batch_size=61", "batch_size=61 is not a whole number from 1 to 60; 8 is used instead."),
        ("steps=1e9", "steps=1e9 is not a whole number from 50 to 1000; 400 is used instead."),
        ("seed=-1", "seed=-1 is not a whole number from 0 to 999999; 0 is used instead."),
        ("step=401", "step=401 is not a whole number from 0 to 400; 400 is used instead."),
        ("rule=Lion", "rule=Lion is none of SGD, Momentum, AdamW; Momentum is used instead."),
        ("pull_back=maybe", "pull_back=maybe is none of true, false; true is used instead."),
        ("beta=1", 'The address has a parameter "beta" that is unknown here; it is ignored.'),
        ("toString=1", 'The address has a parameter "toString" that is unknown here; it is ignored.'),
        ("%zz=1", 'The address has a parameter "%zz" that is unknown here; it is ignored.'),
        ("k=5&sync_period=7", "The address gives sync_period twice; k counts."),
        (
            "problem=table",
            "The address was made with somebody's own table, which it does not hold; choose that file to see it.",
        ),
    ],
)
def test_what_an_address_asks_in_vain_falls_back_with_a_note(page, asked, note):
    read = page(f"read_address({json.dumps('#' + asked)})")
    assert read["notes"] == [note]
    assert read["settings"] == page("settings_of(STATEMENTS.start)")


def test_wrong_statements_problems_and_curves_are_named(page):
    known = {"statement": "Object.keys(STATEMENTS)", "problem": "CHOICES.problem", "show": "CURVES"}
    used = {"statement": "start is shown", "problem": "noisy_quadratic is used", "show": "all curves are shown"}
    for name, choices in known.items():
        wrong = "constructor" if name == "statement" else "none-of-these-at-all-"
        (note,) = page(f"read_address('{name}={wrong}')")["notes"]
        shortened = wrong if len(wrong) <= 20 else wrong[:20] + "…"
        assert note == f"{name}={shortened} is none of {', '.join(page(choices))}; {used[name]} instead."


def test_the_batch_is_no_larger_than_the_table_of_the_reader(page):
    table = f"read_table({json.dumps(TABLES['classes'])})"
    read = page(f"read_address('problem=table&batch_size=40', {table})")
    assert read["settings"]["batch_size"] == 8
    assert read["notes"] == ["batch_size=40 is not a whole number from 1 to 23; 8 is used instead."]
    assert page(f"read_address('problem=table&batch_size=23', {table})")["settings"]["batch_size"] == 23


def test_every_parameter_is_documented(page):
    documented = set(re.findall(r"\b(\w+)=", re.search(r"<dl>.*?</dl>", HTML, re.DOTALL)[0]))
    names = set(page("[...Object.keys(RANGES), ...Object.keys(CHOICES), ...Object.keys(ALIASES)]"))
    assert documented == (names - {"k"}) | {"k", "statement", "show", "step"}
    guide = (ROOT / "paper/book/using.md").read_text(encoding="utf-8")
    assert [name for name in documented if f"`{name}" not in guide and f"{name}=" not in guide] == []


# ------------------------------------------------------------------------------------------ a table of the reader's own


def read(page, text):
    reading = "text => { try { return read_table(text); } catch (error) { return error.message; } }"
    return page(f"({reading})({json.dumps(text)})")


def test_a_table_is_read_and_scaled(page):
    for name, kind in [("classes", "logistic"), ("line", "line")]:
        table = read(page, TABLES[name])
        rows = np.array([re.split("[,;]", line) for line in TABLES[name].split("\n")[1:]], float)
        x, y = rows.T
        assert table["kind"] == kind
        assert table["names"] == re.split("[,;]", TABLES[name].split("\n")[0])
        np.testing.assert_allclose(np.ravel(table["X"]), (x - x.mean()) / x.std(), rtol=ROUNDING, atol=ROUNDING)
        target = y if kind == "logistic" else (y - y.mean()) / y.std()
        np.testing.assert_allclose(table["y"], target, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n2,3\n3,5\n4,4",
        "\ufeff1,2\r\n2,3\r\n3,5\r\n4,4\r\n",
        "1;2\n2;3\n3;5\n4;4\n\n",
        '"1"\t"2"\n2\t3\n3\t5\n4\t4',
        " 1 , 2e0\n+2,3.\n3,.5e1\n4,4",
    ],
)
def test_a_table_may_come_in_several_forms(page, text):
    table = read(page, text)
    assert table["names"] == ["x", "y"]
    np.testing.assert_allclose(np.ravel(table["X"]), np.array([-3, -1, 1, 3]) / 5**0.5, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "The file is empty; choose a CSV file with two columns of numbers."),
        ("\n \n", "The file is empty; choose a CSV file with two columns of numbers."),
        ("x,y\n", "The table has 0 rows of numbers; it needs from 4 to 500."),
        ("1,2\n2,3\n3,4", "The table has 3 rows of numbers; it needs from 4 to 500."),
        ("1,2\n" * 250 + "3,4\n" * 251, "The table has 501 rows of numbers; it needs from 4 to 500."),
        ("1\n2\n3\n4", "Line 1 has one column; the table needs two, separated by a comma, semicolon or tab."),
        ("a,b,c\n1,2,3", "Line 1 has 3 columns; the table needs two in every line."),
        ("x,y\n1,2\n2\n3,4", "Line 3 has 1 column; the table needs two in every line."),
        ("x,y\n1,2\nb,3", 'Line 3 holds "b"; every cell below the names must be a number such as -1.5 or 2e3.'),
        ("x,1\n1,2\n", 'Line 1 holds "x"; every cell below the names must be a number such as -1.5 or 2e3.'),
        ("1,2\n1,", "Line 2 holds an empty cell; every cell below the names must be a number such as -1.5 or 2e3."),
        ("1,2\n1,NaN", 'Line 2 holds "NaN"; every cell below the names must be a number such as -1.5 or 2e3.'),
        ("1,2\n1,0x10", 'Line 2 holds "0x10"; every cell below the names must be a number such as -1.5 or 2e3.'),
        ("1,2\n1,1e999", 'Line 2 holds "1e999"; every cell below the names must be a number such as -1.5 or 2e3.'),
        ("x,y\n1,2\n1,3\n1,4\n1,5", 'Column "x" holds the same number in every row; it needs at least two.'),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_sentence(page, text, refusal):
    assert read(page, text) == refusal


# ------------------------------------------------------------------------------------------------- how the page is made


def palettes():
    """The CSS variables of the light and of the dark page."""
    light, dark = re.findall(r":root \{(.*?)\}", HTML, re.DOTALL)[:2]
    named = [dict(re.findall(r"--([\w-]+): (#\w+);", part)) for part in (light, dark)]
    return {"light": named[0], "dark": named[0] | named[1]}


def linear(colour):
    """The linear red, green and blue of a colour such as #1b1d21 or #fff."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    srgb = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    bright, dim = sorted((float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_text_and_lines_have_contrast_in_light_and_dark(page):
    for theme, colours in palettes().items():
        texts = [(ink, ground) for ink in ("ink", "quiet") for ground in ("paper", "panel")]
        for one, other in [*texts, ("on-accent", "accent")]:
            assert contrast(colours[one], colours[other]) >= LEAST_CONTRAST, (theme, one, other)
        for run in page("CURVES"):
            assert contrast(colours[run], colours["paper"]) >= LEAST_OF_GRAPHICS, (theme, run)
        for ground in ("paper", "panel", "map-low", "map-high"):
            ring = max(contrast(colours["focus"], colours[ground]), contrast(colours["paper"], colours[ground]))
            assert ring >= LEAST_OF_GRAPHICS, (theme, ground)  # the ring on the map has an outline of paper


def runs_of_the_page():
    """The name, mark and dashes of each run, from the source."""
    found = re.findall(r'\{name: "(\w+)",.*?mark: "(.)", dashes: \[(.*?)\]', HTML)
    return {name: (mark, tuple(map(float, filter(None, dashes.split(", "))))) for name, mark, dashes in found}


def test_colours_dashes_and_marks_are_those_of_the_figures(page):
    runs = runs_of_the_page()
    assert list(runs) == page("CURVES")
    for name, meaning in MEANINGS.items():
        mark, dashes = runs[name]
        assert (mark, dashes) == (MARKERS[meaning], DASHES[meaning])
        assert palettes()["dark"][name].upper() == COLOURS[meaning]
        light = palettes()["light"][name].upper()
        assert light == COLOURS[meaning] or contrast(COLOURS[meaning], "#fff") < LEAST_OF_GRAPHICS
        hues = [colorsys.rgb_to_hls(*linear(colour) ** (1 / 2.2))[0] for colour in (light, COLOURS[meaning])]
        assert abs(hues[0] - hues[1]) < 0.02


def test_runs_differ_in_grey_and_for_colour_blind_eyes():
    """No two runs share mark and dashes; and either their colours differ for everybody, or both do."""
    # Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB; the last one is no deficiency.
    eyes = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        "all": np.eye(3),
    }
    runs = runs_of_the_page()
    assert len(set(runs.values())) == len(runs)
    for theme, colours in palettes().items():
        for (one, its), (other, others) in itertools.combinations(runs.items(), 2):
            apart = [
                np.linalg.norm(lab(matrix @ linear(colours[one])) - lab(matrix @ linear(colours[other])))
                for matrix in map(np.array, eyes.values())
            ]
            both_differ = its[0] != others[0] and its[1] != others[1]
            assert min(apart) > APART or both_differ, (theme, one, other, min(apart))


def lab(rgb):
    """CIELAB of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_page_stands_alone_and_is_small():
    assert len(HTML.encode()) < 150_000
    assert max(map(len, HTML.splitlines())) <= 123  # to be read, not only to be run
    outside = re.findall(r"""(?:src|href)=["']([^"'#]*)|url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(""", HTML)
    assert [link for link in outside if link and not (link.startswith("../") and (PAGE.parent / link).exists())] == []


def test_alpha_always_says_whose_it_is():
    """It is a parameter of the address, and that of the article or that of papers."""
    whose = r"article's alpha|Its alpha|alpha of papers|papers\s+call alpha|alpha=|alpha: \"retention\"|=== \"alpha\""
    assert re.findall(r"\balpha\b|α", re.sub(whose, "", HTML), re.IGNORECASE) == []


def test_every_control_has_a_label():
    ids = re.findall(r'<(?:input|select)[^>]*\bid="(\w+)"', HTML)
    assert len(ids) >= 12
    assert [name for name in ids if f'<label for="{name}"' not in HTML] == []


# ------------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def shown(browser):
    """Opens the page at an address, waits until its map is done, and returns the browser."""
    browser.show_as()

    def opened(address=""):
        browser.open(PAGE.as_uri() + address)
        settled(browser)
        return browser

    return opened


def settled(browser):
    return browser.wait_for(
        "document.querySelector('#map').getAttribute('aria-busy') === 'false' && !scheduled && !!result"
        " && !!document.querySelector('#summary').textContent"
    )


def number(page, loss):
    return page(f"Number(({loss}).toPrecision(3)).toString()").replace("-", "−")


def text(browser, name):
    return browser.value(f"document.getElementById('{name}').textContent")


def drawn_points(browser, plot):
    """The points of the shortest curve, apart from straight lines, of which there are at most three."""
    count = "line => line.getAttribute('points').split(' ').filter(Boolean).length"
    points = browser.value(f"[...document.querySelectorAll('#{plot} polyline')].map({count})")
    curves = [each for each in points if each != 2]
    assert len(points) - len(curves) <= 3
    assert len(curves) >= 6
    return min(curves)


FOCUSED = "(document.activeElement.id || document.activeElement.dataset.name || document.activeElement.tagName)"


@pytest.mark.jit  # a browser's numbers do not depend on how the package is compiled
@in_a_browser
class TestInABrowser:
    @pytest.mark.parametrize("problem", [name for name in PROBLEMS if name not in TABLES])
    def test_it_shows_these_numbers(self, page, shown, problem):
        settings = SETTINGS | {"problem": problem, "steps": 100, "pull_back": True, "lr": 0.05}
        browser = shown(page(f"address_of({json.dumps(settings)})"))
        run = page(f"explore({json.dumps(settings)})")["lookahead"]
        loss = number(page, run["slow_loss"][100])
        assert text(browser, "summary").startswith(f"At step 100 the slow weights have loss {loss}. ")
        assert text(browser, "notes") == ""
        assert drawn_points(browser, "loss_plot") >= 100
        assert drawn_points(browser, "path_plot") >= 100
        here = "document.querySelector('[role=gridcell][aria-selected=true]').getAttribute('aria-label')"
        if problem != "double_well":
            assert browser.value(here) == f"k 5, retention 0.5: loss {loss}"
        assert f"Yours, at the ring, is {loss}." in text(browser, "map_text")

    def test_no_request_leaves_the_page(self, shown):
        browser = shown()
        requests = [each["params"] for each in browser.events if each["method"] == "Network.requestWillBeSent"]
        asked = [each["request"]["url"] for each in requests]
        assert asked
        assert {url.partition(":")[0] for url in asked} <= {"file", "about"}

    def test_every_statement_is_on_screen_and_pressed(self, page, shown):
        browser = shown()
        for name in page("Object.keys(STATEMENTS)"):
            browser.click(f"#statements [data-name={name}]")
            browser.wait_for(f"document.querySelector('[data-name={name}]').ariaPressed === 'true'")
            assert text(browser, "story_says") == page(f"STATEMENTS.{name}.says")
            assert browser.value("document.querySelectorAll('#statements [aria-pressed=true]').length") == 1
            assert browser.value("location.hash") == page(f"address_of(settings_of(STATEMENTS.{name}))")
        browser.value("document.querySelector('#retention').focus()")
        browser.press("ArrowRight")
        browser.wait_for("document.querySelector('#story_title').textContent === 'Your own settings'")

    def test_everything_is_reached_by_tab_in_the_order_of_the_page_and_left_again(self, shown):
        browser = shown()
        order = ["A", "start", "C01", "C02", "C03", "C05", "C08", "C10", "C13", "C22"]
        order += ["problem", "rule", "retention", "sync_period", "DIV", "lr", "noise", "steps", "pull_back"]
        order += ["seed", "new_seed", "reset", "file", "step", "rewind", "play", "DIV"]
        order += ["slow", "fast", "inner", "lower", "average", "ema", "less", "A", "A", "SUMMARY"]
        seen = []
        for _ in order:
            browser.press("Tab")
            seen.append(browser.value(FOCUSED))
        assert seen == order
        browser.press("Tab")
        assert browser.value(FOCUSED) in ("BODY", "A")  # past the end, or at the first link again
        browser.value("document.querySelector('summary').focus()")
        back = [browser.value(FOCUSED)]
        for _ in order[1:]:
            browser.press("Tab", shift=True)
            back.append(browser.value(FOCUSED))
        assert back == order[::-1]

    def test_a_first_tab_offers_to_skip_to_the_results(self, shown):
        browser = shown()
        browser.press("Tab", "Enter")
        assert browser.wait_for("document.activeElement.id === 'results'")
        browser.press("Tab")
        assert browser.value(FOCUSED) == "step"

    def test_all_that_can_be_focused_has_a_name(self, shown):
        named = shown().names()
        assert [role for role, name in named if not name and role not in ("RootWebArea", "generic")] == []
        roles = {role for role, _ in named}
        assert {"button", "slider", "combobox", "checkbox", "spinbutton", "gridcell", "link"} <= roles

    def test_keys_move_sliders_and_the_back_button_undoes_it(self, shown):
        browser = shown()
        browser.value("document.querySelector('#retention').focus()")
        browser.press("ArrowRight", "ArrowRight")
        browser.wait_for("settings.retention === 0.82 && location.hash.includes('retention=0.82') && !scheduled")
        spoken = browser.value("document.querySelector('#retention').ariaValueText")
        assert spoken == "retention 0.82, slow_step_size 0.18"
        browser.value("document.querySelector('#sync_period').focus()")
        browser.press("ArrowRight")
        browser.wait_for("location.hash.includes('sync_period=6')")
        browser.value("history.back()")  # one control at a time: both steps of the first key are one change
        browser.wait_for("settings.sync_period === 5 && settings.retention === 0.82")
        browser.value("history.back()")
        browser.wait_for("settings.retention === 0.8 && document.querySelector('#retention').value === '80'")
        browser.value("history.forward()")
        browser.wait_for("settings.retention === 0.82")

    def test_keys_and_clicks_choose_on_the_map(self, page, shown):
        browser = shown()
        cell = "document.activeElement.getAttribute('aria-label')"
        browser.value("document.querySelector('[role=gridcell][tabindex=\"0\"]').focus()")
        assert browser.value(cell).startswith("k 5, retention 0.8: loss ")
        for key, expected in [
            ("ArrowRight", "k 7, retention 0.8: "),
            ("ArrowDown", "k 7, retention 0.7: "),
            ("ArrowLeft", "k 5, retention 0.7: "),
            ("ArrowUp", "k 5, retention 0.8: "),
            ("Home", "k 1, retention 0.8: "),
            ("ArrowLeft", "k 1, retention 0.8: "),
            ("End", "k 50, retention 0.8: "),
        ]:
            browser.press(key)
            assert browser.value(cell).startswith(expected)
            k, retention = re.findall(r"[\d.]+", expected)
            browser.wait_for(f"settings.sync_period === {k} && settings.retention === {retention} && !scheduled")
            assert browser.value("document.activeElement.ariaSelected") == "true"
        assert browser.value("document.querySelectorAll('[role=gridcell][tabindex=\"0\"]').length") == 1
        assert "sync_period=50" in browser.value("location.hash")
        browser.press("Tab")
        assert browser.value(FOCUSED) == "lr"  # no trap
        browser.click("[role=gridcell][aria-label^='k 10, retention 0.9:']")
        browser.wait_for("settings.sync_period === 10 && settings.retention === 0.9 && !scheduled")
        settings = page("settings_of(STATEMENTS.start)") | {"sync_period": 10, "retention": 0.9}
        loss = number(page, page(f"map_loss({json.dumps(settings)}, 10, 0.9)"))
        browser.wait_for(f"document.querySelector('#map_text').textContent.includes('Yours, at the ring, is {loss}.')")

    def test_values_between_the_positions_of_a_slider_stay(self, shown):
        browser = shown("#problem=quadratic&lr=0.07&retention=0.123&steps=123")
        assert browser.value("[settings.lr, settings.retention, settings.steps]") == [0.07, 0.123, 123]
        assert [text(browser, f"{name}_shown") for name in ("lr", "retention", "steps")] == ["0.07", "0.123", "123"]
        browser.value("document.querySelector('#lr').focus()")
        browser.press("ArrowRight")
        browser.wait_for("settings.lr === 0.079 && settings.steps === 123")

    def test_a_bad_address_is_noted_and_replaced(self, shown):
        browser = shown("#retention=7&k=3")
        assert text(browser, "notes") == "retention=7 is not a number from 0 to 0.99; 0.8 is used instead."
        assert "retention=0.8&sync_period=3" in browser.value("location.hash")
        browser.value("location.hash = '#alpha=0.6'")
        browser.wait_for("document.querySelector('#notes').textContent.startsWith('alpha=0.6')")
        assert browser.value("settings.retention") == 0.6

    def test_a_seed_out_of_range_is_noted(self, shown):
        browser = shown()
        browser.value("document.querySelector('#seed').value = '-3'; document.querySelector('#seed').dispatchEvent("
                      "new Event('change', {bubbles: true}))")  # fmt: skip
        browser.wait_for("document.querySelector('#notes').textContent")
        assert text(browser, "notes") == "seed=-3 is not a whole number from 0 to 999999; 0 is used instead."
        assert browser.value("document.querySelector('#seed').value") == "0"

    def test_rewind_keeps_the_noise_and_a_new_seed_changes_it(self, shown):
        browser = shown()
        losses = browser.value("result.lookahead.slow_loss")
        browser.value("document.querySelector('#rewind').focus()")
        browser.press("Enter")
        browser.wait_for("document.querySelector('#step').value === '0'")
        assert browser.value("result.lookahead.slow_loss") == losses
        assert "step=0" in browser.value("location.hash")
        browser.press("Tab", " ")  # Play
        browser.wait_for("Number(document.querySelector('#step').value) > 5")
        assert text(browser, "play") == "Pause"
        browser.press(" ")
        assert text(browser, "play") == "Play"
        browser.click("#new_seed")
        browser.wait_for("settings.seed === 1 && document.querySelector('#seed').value === '1' && !scheduled")
        assert browser.value("result.lookahead.slow_loss") != losses
        browser.value("history.back()")
        browser.wait_for("settings.seed === 0 && !scheduled")
        assert browser.value("result.lookahead.slow_loss") == losses

    def test_runs_are_switched_by_keys_and_kept_in_the_address(self, shown):
        browser = shown()
        lines = browser.value("document.querySelectorAll('#loss_plot polyline').length")
        browser.value("document.querySelector('input[data-name=ema]').focus()")
        browser.press(" ")
        browser.wait_for("location.hash.endsWith('show=slow,fast,inner,lower,average,less')")
        assert browser.value("document.querySelectorAll('#loss_plot polyline').length") == lines - 1
        assert browser.value(FOCUSED) == "ema"  # the focus stays where it was
        assert "moving average" not in text(browser, "loss_plot")
        browser.press(" ")
        browser.wait_for("!location.hash.includes('show=')")

    def test_a_table_of_your_own_is_shown_or_refused(self, page, shown, tmp_path):
        browser = shown()
        notes = {"classes": "23 rows: logistic regression of ill on age", "line": "31 rows: a least-squares line"}
        for name, words in notes.items():
            (tmp_path / f"{name}.csv").write_text(TABLES[name], encoding="utf-8")
            browser.choose_file("#file", tmp_path / f"{name}.csv")
            browser.wait_for(f"table && table.y.length === {len(TABLES[name].split()) - 1} && !scheduled")
            browser.wait_for(f"document.querySelector('#problem_note').textContent.startsWith('{words}')")
            settled(browser)
            settings = page("defaults('table')")
            table = f"read_table({json.dumps(TABLES[name])})"
            loss = number(page, page(f"explore({json.dumps(settings)}, {table})")["lookahead"]["slow_loss"][-1])
            browser.wait_for(f"document.querySelector('#summary').textContent.includes('have loss {loss}.')")
            assert drawn_points(browser, "path_plot") >= 200
            assert browser.value("document.querySelector('#problem').value") == "table"
            assert "problem=table" in browser.value("location.hash")
        (tmp_path / "bad.csv").write_text("x,y\n1,2\n2,b\n", encoding="utf-8")
        browser.choose_file("#file", tmp_path / "bad.csv")
        browser.wait_for("document.querySelector('#refusal').textContent.startsWith('Line 3 holds \"b\"')")
        assert browser.value("document.querySelector('#refusal').getAttribute('role')") == "alert"
        (tmp_path / "large.csv").write_text("1,2\n" * 60_000, encoding="utf-8")
        browser.choose_file("#file", tmp_path / "large.csv")
        browser.wait_for("document.querySelector('#refusal').textContent.startsWith('The file has 240 kB')")

    def test_a_table_can_be_dropped_on_the_page(self, shown):
        browser = shown()
        browser.value(
            "(() => { const data = new DataTransfer(); data.items.add(new File(['1,0\\n2,1\\n3,0\\n4,1'], 'a.csv'));"
            "const event = new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true});"
            "document.body.dispatchEvent(event); })()"
        )
        browser.wait_for("settings.problem === 'table' && table.kind === 'logistic' && !scheduled")
        assert text(browser, "problem_note").startswith("4 rows: logistic regression of y on x")
        assert browser.value("settings.batch_size") == 4

    def test_the_game_shows_its_rule(self, shown):
        browser = shown("#statement=C22")
        assert "Yours is 2.5, above 1: with small steps the players approach." in text(browser, "map_text")
        assert browser.value("document.querySelectorAll('#rule_line polyline').length") == 1
        browser.value("location.hash = '#statement=C22&k=2'")
        browser.wait_for("settings.sync_period === 2 && !scheduled")
        assert "Yours is 1, not above 1" in text(browser, "map_text")

    def test_what_changes_is_announced(self, shown):
        browser = shown()
        for name in ("summary", "notes"):
            assert browser.value(f"document.querySelector('#{name}').getAttribute('role')") == "status"
        before = text(browser, "summary")
        browser.value("document.querySelector('#lr').focus()")
        browser.press("ArrowLeft")
        browser.wait_for(f"document.querySelector('#summary').textContent !== {json.dumps(before)}")
        assert browser.value("document.querySelector('#lr').ariaValueText") == "0.079"

    def test_nothing_moves_where_less_motion_is_wanted(self, browser):
        browser.show_as(prefers_reduced_motion="reduce")
        browser.open(PAGE.as_uri())
        settled(browser)
        assert browser.value("getComputedStyle(document.querySelector('#play')).display") == "none"
        browser.show_as()
        assert browser.value("getComputedStyle(document.querySelector('#play')).display") != "none"

    @pytest.mark.parametrize("statement", ["start", "C03", "C08", "C22"])
    def test_a_phone_shows_it_in_its_width(self, browser, statement):
        browser.show_as(width=PHONE, height=800)
        browser.open(f"{PAGE.as_uri()}#statement={statement}")
        settled(browser)
        assert browser.value("document.documentElement.scrollWidth") <= PHONE
        small = "[...document.querySelectorAll('button, select, [role=gridcell]')].map(e => e.getBoundingClientRect())"
        assert browser.value(f"Math.min(...{small}.map(r => Math.min(r.width, r.height)))") >= 23.9  # WCAG 2.5.8
        assert browser.value("Math.min(...[...document.querySelectorAll('svg.plot')].map(e => e.clientWidth))") > 300

    def test_print_holds_settings_and_results_without_what_one_presses(self, browser, shown):
        shown()
        browser.show_as(width=794, height=1123, media="print", prefers_color_scheme="dark")
        display = "getComputedStyle(document.querySelector('{}')).display"
        for name in ("#play", "#new_seed", "#file_control", "footer"):
            assert browser.value(f"{name and display.format(name)}") == "none" or not browser.value(
                f"document.querySelector('{name}').offsetParent"
            )
        for name in ("#loss_plot", "#path_plot", "#map", "table", "#story_says", "#retention_shown"):
            assert browser.value(f"document.querySelector('{name}').getBoundingClientRect().width") > 10
        assert browser.value("document.documentElement.scrollWidth") <= 794
        assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
