"""The explorer page: the numbers of the core, bit for bit, in JavaScript; its colours; nothing that needs a network."""

import json
import math
import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from conftest import NO_JIT

import lookahead_nb as lnb
from lookahead_nb import theory
from lookahead_nb.figures import COLOURS, DASHES, MARKERS
from lookahead_nb.kernels import formulas, philox
from lookahead_nb.kernels.compiler import fma
from lookahead_nb.models import landscapes

pytestmark = pytest.mark.no_kernel

quickjs = pytest.importorskip("quickjs", reason="needs a JavaScript engine: the extra test brings quickjs-ng")

BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
FLAGS = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "dump-dom"]
PAGE = Path(__file__).resolve().parent.parent / "paper/explorer.html"
HTML = PAGE.read_text(encoding="utf-8")
STEPS = 12 if NO_JIT else 60
ROUNDING = 1e-12  # theory multiplies matrices by BLAS, whose order and fma are not ours: 1e-16 a product, over 60 steps
SETTINGS = {"rule": "AdamW", "retention": 0.5, "sync_period": 5, "lr": 0.05, "noise": 0.7, "batch_size": 7, "seed": 3}
PROBLEMS = ["quadratic", "noisy_quadratic", "double_well", "logistic_regression"]
each_problem = pytest.mark.parametrize("problem", PROBLEMS)
each_rule = pytest.mark.parametrize("rule", ["SGD", "Momentum", "AdamW"])


@pytest.fixture(scope="module")
def page():
    """The page's script of numbers in an engine; page(code) returns the value of a piece of code."""
    context = quickjs.Context()
    context.eval(re.search(r'<script id="core">(.*?)</script>', HTML, re.DOTALL)[1])

    def value(code):
        plain = "(_, v) => ArrayBuffer.isView(v) ? Array.from(v) : Math.abs(v) === Infinity ? String(v) : v"
        return json.loads(context.eval(f"JSON.stringify({code}, {plain})"))

    return value


def explored(page, **settings):
    return page(f"explore({json.dumps(SETTINGS | {'pull_back': True, 'steps': STEPS} | settings)})")


def model_of(page, settings):
    """The package's model with the settings that the page says it has, and its minibatch gradient."""
    described = page(f"PROBLEMS.{settings['problem']}({json.dumps(settings)}).settings()")
    kind = described.pop("model")
    if kind != "LogisticRegression":
        model = getattr(landscapes, kind)(**described)
        return model, model.noisy_grad, model.loss
    X, y = np.array(described["X"]), np.array(described["y"])
    model, batches = lnb.LogisticRegression(X.shape[1]), []

    def noisy_grad(params, seed, step):
        if not batches:
            batches.extend(islice(lnb.minibatches(len(y), settings["batch_size"], seed), STEPS))
        rows = batches[step - 1]
        return model.loss_and_grad(params, X[rows], y[rows])[1]

    return model, noisy_grad, lambda params: model.loss(params, X, y)


def optimizers(settings):
    """What the page calls its arms, built with the package."""
    inner = {"SGD": lnb.SGD, "Momentum": lambda lr: lnb.SGD(lr, momentum=0.9), "AdamW": lnb.AdamW}[settings["rule"]]
    lr, retention, k = settings["lr"], settings["retention"], settings["sync_period"]
    lookahead = lnb.Lookahead(inner(lr), retention=retention, sync_period=k, pull_back=settings["pull_back"])
    average = lnb.Lookahead(inner(lr), retention=retention, sync_period=k, pull_back=False)
    at_lr_x_step = inner(lr * lookahead.slow_step_size)
    return {"lookahead": lookahead, "inner": inner(lr), "at_lr_x_step": at_lr_x_step, "averaging": average}


def stepped(model, noisy_grad, loss, optimizer, seed):
    """A run by hand: weights after each pull, fast losses where no pull hides them, slow weights and losses."""
    params = model.init(seed=seed, dtype="float64")
    state = optimizer.init(params)
    run = {"slow": [params.copy()], "fast_loss": [loss(params)], "slow_loss": [loss(params)]}
    for t in range(1, STEPS + 1):
        optimizer.step(params, noisy_grad(params, seed, t), state)
        slow = state.slow if isinstance(optimizer, lnb.Lookahead) else None
        pulled = slow is not None and optimizer.pull_back and t % optimizer.sync_period == 0
        run["fast_loss"].append(math.nan if pulled else loss(params))
        if slow is not None:
            run["slow"].append(slow.copy())
            run["slow_loss"].append(loss(slow))
    return run | {"params": params}


@each_problem
@each_rule
@pytest.mark.parametrize("changed", [{}, {"retention": 0.9, "sync_period": 3}, {"pull_back": False, "retention": 0.3}])
def test_every_arm_has_the_bits_of_the_package(page, problem, rule, changed):
    settings = SETTINGS | {"problem": problem, "rule": rule, "pull_back": True} | changed
    model, noisy_grad, loss = model_of(page, settings)
    shown = explored(page, **settings)
    for arm, optimizer in optimizers(settings).items():
        run, ours = stepped(model, noisy_grad, loss, optimizer, settings["seed"]), shown[arm]
        assert ours["params"] == run["params"].tolist()
        seen = [(ours["fast_loss"][t], loss) for t, loss in enumerate(run["fast_loss"]) if not math.isnan(loss)]
        assert [pair for pair in seen if pair[0] != pair[1]] == []
        if isinstance(optimizer, lnb.Lookahead):
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


@pytest.mark.parametrize("problem", PROBLEMS[:3])
def test_losses_are_those_that_train_reports(page, problem):
    settings = SETTINGS | {"problem": problem, "pull_back": True}
    model, *_ = model_of(page, settings)
    optimizer = optimizers(settings)["lookahead"]
    history = lnb.train(model, None, optimizer, steps=STEPS, seed=3, eval_every=1, dtype="float64").history
    shown = explored(page, **settings)["lookahead"]
    for weights in ("fast", "slow"):
        assert shown[f"{weights}_loss"] == history.loc[history["weights"] == weights, "train_loss"].tolist()


@pytest.mark.parametrize("problem", PROBLEMS[:2])
@pytest.mark.parametrize("rule", ["SGD", "Momentum"])
@pytest.mark.parametrize("pull_back", [True, False])
def test_the_exact_line_is_that_of_theory(page, problem, rule, pull_back):
    settings = SETTINGS | {"problem": problem, "rule": rule, "pull_back": pull_back, "lr": 0.03, "sync_period": 4}
    model, *_ = model_of(page, settings)
    shown = explored(page, **settings)
    for arm, optimizer in optimizers(settings).items():
        cycle = theory.Cycle.of(optimizer, curvature=model.curvatures, noise=model.noise)
        path = cycle.transient(STEPS, start=model.start)
        for weights in ("fast", "slow"):
            mean, variance = (getattr(path, f"{weights}_{moment}") for moment in ("mean", "variance"))
            exact = theory.expected_loss(model.curvatures, mean, variance)
            np.testing.assert_allclose(shown[arm]["exact"][f"{weights}_loss"], exact, rtol=ROUNDING)
        np.testing.assert_allclose(shown[arm]["exact"]["rate"], cycle.rate.max(), rtol=ROUNDING)


def test_no_exact_line_is_shown_where_there_is_none(page):
    assert explored(page, problem="quadratic", rule="AdamW")["lookahead"]["exact"] is None
    assert explored(page, problem="double_well", rule="SGD", lr=0.01)["lookahead"]["exact"] is None


def test_a_run_that_diverges_ends_there(page):
    shown = explored(page, problem="quadratic", rule="SGD", lr=1e3, steps=400)
    assert 10 < len(shown["inner"]["fast_loss"]) < 400
    assert len(shown["inner"]["fast"]) == len(shown["inner"]["fast_loss"]) == len(shown["inner"]["slow"])


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


def test_colours_dashes_and_markers_are_those_of_the_figures(page):
    for ours, theirs in ((page("COLOURS"), COLOURS), (page("DASHES"), DASHES), (page("MARKERS"), MARKERS)):
        assert ours == {name: list(theirs[name]) if theirs is DASHES else theirs[name] for name in ours}
        assert set(ours) == set(COLOURS) - {"Lookahead"}


def test_the_page_stands_alone_and_is_small():
    assert len(HTML.encode()) < 150_000
    assert max(map(len, HTML.splitlines())) <= 123  # to be read, not only to be run
    outside = re.findall(r"""(?:src|href)=["']([^"'#]*)|url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(""", HTML)
    assert [link for link in outside if not (link.startswith("../") and (PAGE.parent / link).exists())] == []


def test_alpha_never_stands_alone():
    assert re.findall(r"\balpha\b|α", HTML, re.IGNORECASE) == []


def test_every_control_has_a_label():
    ids = re.findall(r'<(?:input|select)[^>]*\bid="(\w+)"', HTML)
    assert len(ids) >= 11
    assert [name for name in ids if f'<label for="{name}"' not in HTML] == []


@pytest.mark.jit  # a browser's numbers do not hang on how the package is compiled
@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
@each_problem
def test_a_browser_shows_these_numbers(page, tmp_path, problem):
    settings = SETTINGS | {"problem": problem, "steps": 100, "pull_back": True, "lr": 0.05}
    address = urlencode({name: str(value).lower() if value is True else value for name, value in settings.items()})
    flags = [f"--{flag}" for flag in [*FLAGS, "virtual-time-budget=3000", f"user-data-dir={tmp_path}"]]
    command = [BROWSER, *flags, f"{PAGE.as_uri()}#{address}"]
    seen = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=120).stdout
    loss = page(f"Number(explore({json.dumps(settings)}).lookahead.slow_loss[100].toPrecision(3)).toString()")
    assert f"At step 100 the slow weights have loss {loss.replace('-', '−')}; " in seen
    assert seen.count("<polyline") > 9
