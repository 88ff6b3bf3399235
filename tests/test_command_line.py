"""The command line: exit codes, what it says, what it leaves on the disk, and how it stops."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb import claims, datasets
from lookahead_nb import provenance as tables
from lookahead_nb.__main__ import main
from lookahead_nb.claims import measure as trials
from lookahead_nb.claims import registry, report
from lookahead_nb.datasets import sources
from lookahead_nb.figures import catalogue
from lookahead_nb.training import plan
from lookahead_nb.training import sweep_file as configuration
from lookahead_nb.training.store import Store
from lookahead_nb.training.workers import LostWorkerError
from tests.support import registers

pytest.importorskip("pyarrow")

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60  # seconds after which a test counts as hanging
PROGRESS = re.compile(r"loading$|[\d,]+ of [\d,]+ runs")  # what takes longer than two seconds shows it
TEXT = """
store = "kept"

[model]
kind = "MLP"
widths = [5, 4, 3]

[data]
file = "mine.npz"
split_seed = "per seed"

[training]
seeds = 12
steps = 6
batch_size = 8
eval_every = 3

[[grid]]
optimizer = "AdamW"
lr = [1e-3, 1e-2]

[[grid]]
optimizer = "Lookahead"
inner = "SGD"
lr = 0.1
"""


@pytest.fixture
def config(tmp_path, rng):
    np.savez(tmp_path / "mine.npz", X=rng.normal(size=(60, 5)), y=np.arange(60) % 3)
    path = tmp_path / "sweep.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def call(capsys):
    """Call the command line and return its exit code, what it printed and what it complained about."""

    def called(*arguments):
        capsys.readouterr()
        try:
            code = main(["sweep", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        complaints = [line for line in said.err.splitlines(keepends=True) if not PROGRESS.match(line)]
        return code, said.out, "".join(complaints)

    return called


def edit(config, old, new):
    text = config.read_text(encoding="utf-8")
    assert old in text
    config.write_text(text.replace(old, new), encoding="utf-8")


def parts(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def python_frame(config):
    """Return the frame of the same sweep, asked for in Python."""
    own = np.load(config.parent / "mine.npz")
    return lnb.sweep(
        lnb.MLP((5, 4, 3)),
        lambda seed: datasets.from_arrays(own["X"], own["y"], split_seed=seed),
        [*lnb.grid(lnb.AdamW(), lr=[1e-3, 1e-2]), lnb.Lookahead(lnb.SGD(lr=0.1))],
        seeds=12,
        steps=6,
        batch_size=8,
        eval_every=3,
        progress=False,
    )


def test_a_sweep_gives_what_python_gives(config, call):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert call(config) == (0, f"36 runs are stored in {config.parent / 'kept'}\n", "")
    assert Store.open(config.parent / "kept").frame().equals(python_frame(config))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.jit
def test_a_second_call_finds_all_done(config, call):
    first = call(config)
    before = parts(config.parent / "kept")
    assert call(config) == first
    assert parts(config.parent / "kept") == before


@pytest.mark.jit
def test_workers_write_the_same_store(config, call):
    call(config)
    assert call(config, "--workers", 2, "--store", config.parent / "other")[0] == 0
    assert parts(config.parent / "other") == parts(config.parent / "kept")


@pytest.mark.jit
def test_all_rows_go_to_one_file(config, call):
    out = config.parent / "rows.csv"
    assert call(config, "--export", out)[0] == 0
    assert len(out.read_text().splitlines()) == 1 + 12 * 3 * (1 + 1 + 2)


def test_a_dry_run_says_how_much_it_is_and_touches_nothing(config, call):
    before = sorted(config.parent.rglob("*"))
    code, out, err = call(config, "--dry-run", "--workers", 3)
    assert (code, err) == (0, "")
    first, *rest = out.splitlines()
    assert first.startswith("runs    36, in ")
    assert [line.split()[0] for line in rest[:3]] == ["work", "memory", "time"]
    assert "on 3 workers" in rest[2]
    assert "144 rows" in rest[1]
    assert sorted(config.parent.rglob("*")) == before


def test_a_dry_run_says_what_is_stored(config, call):
    assert call(config)[0] == 0
    store = config.parent / "kept"
    next(iter(store.glob("*.parquet"))).unlink()
    runs = sum(len(set(pd.read_parquet(part, columns=["run"])["run"])) for part in store.glob("*.parquet"))
    before = parts(store)
    code, out, err = call(config, "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"stored  {runs} of the 36 runs are in {store}; only the others are trained"
    assert parts(store) == before
    edit(config, "steps = 6", "steps = 9")
    assert "but differs in" in call(config, "--dry-run")[2]


@pytest.mark.parametrize("place", ["file", "option", "Python"])
def test_a_tilde_is_the_home_folder(config, call, monkeypatch, tmp_path, place):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    edit(config, 'store = "kept"', 'store = "~/kept"' if place == "file" else "")
    if place == "Python":
        lnb.sweep(lnb.landscapes.Quadratic([1.0]), None, [lnb.SGD()], seeds=1, steps=2, store="~/kept")
    else:
        option = ["--store", "~/kept"] if place == "option" else []
        assert call(config, *option, "--export", "~/rows.csv")[0] == 0
        assert (tmp_path / "home/rows.csv").is_file()
    assert (tmp_path / "home/kept/manifest.json").is_file()
    assert not list(tmp_path.rglob("~*"))
    assert main(["store", "show", "~/kept"]) == 0


def test_an_unknown_home_folder_is_refused(config, call):
    code, _, err = call(config, "--store", "~nobody-of-this-name/kept")
    assert code == 2
    assert err == ("lookahead-nb: store must begin with a known home folder, got '~nobody-of-this-name/kept'\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_changes_nothing_but_the_output(config, closed):
    command = f'"{sys.executable}" -m lookahead_nb sweep "{config}" {closed}'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0
    assert "Error" not in ended.stderr
    assert Store.open(config.parent / "kept").verify() == []


def test_a_dry_run_needs_no_store_and_a_sweep_does(config, call):
    edit(config, 'store = "kept"', "")
    assert call(config, "--dry-run")[0] == 0
    code, _, err = call(config)
    assert code == 2
    assert err == "lookahead-nb: store must be given, in the file or by --store, or the results would be lost\n"


def test_equal_configurations_are_told_in_one_line(config, call):
    edit(config, "lr = [1e-3, 1e-2]", "lr = [1e-3, 1e-2, 1e-2]")
    code, out, err = call(config)
    assert (code, out.split()[0]) == (0, "36")
    assert len(err.splitlines()) == 1
    assert "each distinct configuration is trained once" in err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("steps = 6", "step = 6", "training.step is not known (did you mean steps?)"),
        ("steps = 6", "steps = 0", "training.steps must be a whole number of at least 1, got 0"),
        ("eval_every = 3", "eval_every = 51", "training.eval_every must be at most the 6 steps of a run, got 51"),
        ("widths = [5", "widths = [6", "data must have the features and classes of MLP((6, 4, 3)"),
        ("batch_size = 8", "batch_size = 37", "training.batch_size must be at most the 36 rows"),
        ("lr = 0.1", "lr = []", "grid[1].lr must hold at least one value"),
        ('file = "mine.npz"', 'file = "other.npz"', "other.npz cannot be read: No such file or directory"),
        ('file = "mine.npz"', 'name = "fashion_mnist"', "train-images-idx3-ubyte.gz is missing: put https://"),
        ("[model]", "[model", "must be a TOML file"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_touched(config, call, monkeypatch, old, new, sentence):
    monkeypatch.setenv("LOOKAHEAD_NB_DATA", str(config.parent))
    sources._table.cache_clear()
    edit(config, old, new)
    code, out, err = call(config)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not (config.parent / "kept").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "--workers must be a whole number of at least 1, got 0"),
        (["--workers", "two"], "argument --workers: invalid int value"),
        (["--workers", "2", "--dask", "tcp://127.0.0.1:1"], "not allowed with argument"),
        (["--export", "rows.txt"], "--export must be a file that ends in .csv or .parquet, got 'rows.txt'"),
        (["--colour"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_touched(config, call, arguments, sentence):
    code, out, err = call(config, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not (config.parent / "kept").exists()


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:1"])
def test_an_address_without_a_cluster_is_refused_before_anything_is_touched(config, call, address):
    pytest.importorskip("distributed")
    code, out, err = call(config, "--dask", address)
    assert (code, out) == (2, "")
    assert address in err
    assert len(err.splitlines()) == 1
    assert not (config.parent / "kept").exists()


def test_a_missing_file_is_refused(config, call):
    code, _, err = call(config.parent / "no.toml")
    assert code == 2
    assert "no.toml cannot be read: No such file or directory" in err


def test_a_store_of_another_sweep_is_left_alone(config, call):
    call(config)
    before = parts(config.parent / "kept")
    edit(config, "steps = 6", "steps = 7")
    code, _, err = call(config)
    assert code == 2
    assert "configuration must be that of the store" in err
    assert len(err.splitlines()) == 1
    assert parts(config.parent / "kept") == before


def test_a_store_of_another_version_is_left_alone(config, call, monkeypatch):
    monkeypatch.setattr("lookahead_nb.training.store.FORMAT", 2)
    assert call(config)[0] == 0
    before = parts_of(config.parent)
    monkeypatch.undo()
    code, out, err = call(config)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"lookahead-nb: \S+ must have format 1, got 2, which another version wrote\n", err)
    assert parts_of(config.parent) == before


def test_a_lost_unit_is_exit_code_1(config, call, monkeypatch):
    def lose(*_, **__):
        raise LostWorkerError("unit 1 is given up")

    monkeypatch.setattr(configuration.Configuration, "run", lose)
    assert call(config) == (1, "", "lookahead-nb: unit 1 is given up\n")


def test_help_shows_a_file_and_how_to_start_a_cluster(call):
    code, out, _ = call("--help")
    assert code == 0
    assert configuration.EXAMPLE in out
    assert "dask scheduler" in out


# ------------------------------------------------------------------------------------------------------------ stopping

UNIT_RUNS = 16

SLOW = """
    import sys, time
    from lookahead_nb.__main__ import main

    sys.modules["lookahead_nb.training.plan"].UNIT_RUNS = {unit_runs}
    sweep = sys.modules["lookahead_nb.training.sweep"]
    train_unit = sweep.train_unit

    def slow(unit, *how):
        open("running", "w").close()
        time.sleep({seconds})
        return train_unit(unit, *how)

    sweep.train_unit = slow
    if __name__ == "__main__":
        sys.exit(main(sys.argv[1:]))
"""


def start(config, seconds):
    path = config.parent / "slow_sweep.py"
    path.write_text(textwrap.dedent(SLOW.format(seconds=seconds, unit_runs=UNIT_RUNS)), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, path, "sweep", config],
        cwd=config.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process):
    end = time.monotonic() + PATIENCE
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    if not condition():
        process.kill()
        raise AssertionError(process.communicate())


@pytest.mark.jit
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_loses_nothing_and_goes_on(config, call, number, monkeypatch):
    monkeypatch.setattr(plan, "UNIT_RUNS", UNIT_RUNS)
    config.write_text(config.read_text(encoding="utf-8").replace("seeds = 12", "seeds = 64"), encoding="utf-8")
    assert call(config, "--store", config.parent / "whole")[0] == 0
    whole, kept = parts(config.parent / "whole"), config.parent / "kept"
    process = start(config, 0.5)
    wait_for(lambda: len(parts(kept)) >= 2, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    stored = parts(kept)
    assert 2 <= len(stored) < len(whole)
    assert stored.items() <= whole.items()
    last = err.splitlines()[-1]
    assert last.startswith(f"lookahead-nb: stopped: {len(stored)} of {len(whole)} units are stored in {kept}; ")
    assert "Traceback" not in err
    assert call(config)[0] == 0
    assert parts(kept) == whole
    assert Store.open(kept).verify() == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_second_ctrl_c_ends_it_at_once(config):
    process = start(config, 10 * PATIENCE)  # a unit that never looks up
    wait_for((config.parent / "running").exists, process)
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.returncode == 130
    process.communicate()


# -------------------------------------------------------------------------------------------------------------- claims


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a register, the results of C02, and one figure."""
    for folder in ("data/results", "paper/figures"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    claim = registers.read(tmp_path / "data")["C02"]
    tables.write_table(trials.measure(claim).runs, "C02", folder=tmp_path / "data/results", claim=claim.sha256)
    for name, notebook in {"period_risk": "03_period", "sums": "03b_sums", "none_yet": "03_period"}.items():
        monkeypatch.setitem(catalogue.FIGURES, name, catalogue.Entry(notebook, (), lambda: None))
    for name, caption in {"period_risk": "Risk falls.", "sums": "Sums rise.", "sync_period_tasks": "Five."}.items():
        (tmp_path / f"paper/figures/{name}.json").write_text(json.dumps({"caption": caption}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FULL", raising=False)
    return tmp_path


@pytest.fixture
def ask(capsys, checkout):
    """Ask for claims; return the exit code, what was printed and what it complained about. Nothing may be touched."""

    def asked(*arguments):
        capsys.readouterr()
        before = parts_of(checkout)
        try:
            code = main(["claims", *arguments])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert parts_of(checkout) == before
        return code, said.out, "".join(f"{line}\n" for line in said.err.splitlines() if not PROGRESS.match(line))

    return asked


def parts_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_claim_gets_a_line_with_verdict_effect_interval_and_notebook(ask):
    assert ask() == (
        0,
        "C01  no results yet                                 02_slow\n"
        "C02  supported          calmer: ×0.89 [0.89, 0.89]  03_period\n"
        "C03  not testable here  No ImageNet here.           02_slow\n",
        "",
    )


def test_one_claim_is_explained(ask):
    code, out, err = ask("C02")
    assert (code, err) == (0, "")
    out = " ".join(out.split())  # long lines are wrapped
    for told in [
        "C02: supported",
        "The article says, section 8.2: Larger is calmer.",
        "Expected: By the theory.",
        "Tasks: bowl; 1 seeds each",
        "lookahead sync_period=20: SGD, lr given, slow_step_size 0.5, sync_period 20",
        "slow_risk of 'lookahead sync_period=20' is below that of 'lookahead sync_period=5' by more than ×1.05",
        "all: ×0.89 [0.89, 0.89], exact: yes",
        "Verdict: supported; supported takes calmer (found: yes)",
        "Advice: Take a longer one.",
        "Figure period_risk: Risk falls.",
        "Notebook: notebooks/03_period.ipynb",
    ]:
        assert told in out
    assert out.count("Figure") == 1


def test_every_statement_has_the_committed_figures_of_its_notebook(monkeypatch):
    monkeypatch.chdir(ROOT)
    for statement in registry.read().values():
        source = (ROOT / f"notebooks/source/{statement.notebook}.py").read_text(encoding="utf-8")
        shown = catalogue.captions(statement.notebook)
        assert shown, statement.id
        assert {*shown} == {name for name in catalogue.FIGURES if f'"{name}"' in source}, statement.id


def test_the_committed_verdicts_are_shown_and_not_judged_again(ask, checkout, monkeypatch):
    judged = ask(), ask("C02")
    register, effects = claims.read(), claims.judge_all(claims.read())
    write_verdicts(checkout, report.effects_of(register, effects))
    monkeypatch.setattr(claims, "judge_all", None)
    pd.testing.assert_frame_equal(claims.committed(register, by_task=["C02"]), effects)
    assert (ask(), ask("C02")) == judged


def write_verdicts(checkout, table):
    tables.write_table(table, "verdicts", folder=checkout / "data/results")


def test_verdicts_that_do_not_belong_to_the_register_are_judged_again(ask, checkout):
    judged, register = ask("C02"), claims.read()
    table = report.effects_of(register, claims.judge_all(register))
    others = {
        "does not hold the registered effects; what differs is C02": [table[:0], table.assign(margin=1.1)],
        "does not hold the registered effects; what differs is C09": [pd.concat([table, table.assign(claim="C09")])],
        "does not hold what the results of C02 give": [table.assign(size=0.5)],
    }
    for told, changed in ((told, changed) for told, frames in others.items() for changed in frames):
        write_verdicts(checkout, changed)
        error = f"lookahead-nb: verdicts.csv {told}: all claims are judged again, which takes longer\n"
        assert ask("C02") == (*judged[:2], error)
    (checkout / "data/results/verdicts.csv").write_text("claim\n")
    assert ask("C02")[2].startswith("lookahead-nb: verdicts.csv must have the sha256 of its manifest verdicts.json;")


def test_a_claim_without_results_or_without_trial_is_explained_too(ask):
    code, out, _ = ask("C01")
    assert code == 0
    assert "C01: no results yet\n" in out
    assert "  tuned: AdamW, lr tuned over 3 values from 0.01 to 1\n" in out
    assert "  same rate: AdamW, lr that of 'tuned', sync_period 5, retention 0.5\n" in out
    assert "the condition is at an unchanged rate" in out
    assert "No trial: No ImageNet here.\n" in ask("C03")[1]


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "lookahead_nb", "devices"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.jit  # hundreds of runs on data are too many for plain Python
def test_holm_correction_runs_over_all_claims_also_for_one(ask, checkout):
    claim = claims.read()["C01"]
    tables.write_table(trials.measure(claim).runs, "C01", folder=checkout / "data/results", claim=claim.sha256)
    whole = claims.judge_all(claims.read()).set_index(["claim", "effect", "task"])["p"]
    alone = claims.judge(claim, claims.results(claim)).set_index(["effect", "task"])["p"]
    assert whole["C01", "better", "all"] > alone["better", "all"]
    out = ask("C01")[1]
    assert "after Holm's correction for 3 effects" in out
    assert f"p = {whole['C01', 'better', 'all']:.2g}: " in out


def test_a_claim_is_tried_again_on_fresh_seeds(ask):
    code, out, err = ask("C02", "--fresh")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "C02, attempt 1: trained on bowl; left out: none"
    assert "  registered: ×0.89 [0.89, 0.89], exact: yes\n  fresh: ×0.89 [0.89, 0.89], exact: yes\n" in out
    assert out.splitlines()[-1] == (
        "Verdict on fresh seeds: supported; on the registered ones, judged alone: supported; they agree"
    )


@pytest.mark.jit  # hundreds of runs on data are too many for plain Python
def test_fresh_seeds_are_those_of_the_attempt(ask, monkeypatch):
    seeds, measure_on = [], trials.measure_on
    monkeypatch.setattr(trials, "measure_on", lambda *args, **how: seeds.append(args[3]) or measure_on(*args, **how))
    for arguments, attempt in (["--fresh"], 1), (["--fresh", "7"], 7):
        assert ask("C01", *arguments)[0] == 0
        assert seeds.pop() == claims.read()["C01"].seeds(attempt)
    assert "there are no registered results to compare it with" in ask("C01", "--fresh")[1]


def test_a_verdict_that_does_not_hold_on_fresh_seeds_is_reported(ask, checkout):
    claim = claims.read()["C02"]
    other = trials.measure(claim).runs.assign(slow_risk=[1.0, 2.0])
    tables.write_table(other, "C02", folder=checkout / "data/results", claim=claim.sha256)
    code, out, _ = ask("C02", "--fresh")
    assert code == 0
    assert out.splitlines()[-1].endswith("judged alone: refuted; they do not agree")


def test_the_bare_install_is_enough(checkout):
    bare = "import sys; sys.modules |= dict.fromkeys(['pyarrow', 'rich', 'sklearn', 'pooch'])"  # their import fails
    code = f"{bare}; from lookahead_nb.__main__ import main; sys.exit(main(['claims', 'C02', '--fresh']))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.endswith("they agree\n")


def test_data_that_must_be_downloaded_is_left_out(ask, monkeypatch):
    monkeypatch.setattr(datasets, "DOWNLOADED", ("iris",))
    code, out, _ = ask("C01", "--fresh")
    assert code == 0
    assert out.splitlines()[0] == "C01, attempt 1: trained on bowl; left out: iris"
    assert "slower: " not in out
    monkeypatch.setattr(claims, "available_tasks", lambda claim: [])
    said = "lookahead-nb: C01 needs data that must be downloaded: set FULL=1\n"
    assert ask("C01", "--fresh") == (2, "", said)
    monkeypatch.setenv("FULL", "1")
    monkeypatch.setattr(datasets, "available", lambda name: name != "iris")
    assert ask("C01", "--fresh") == (
        2,
        "",
        "lookahead-nb: C01 needs data that is not available locally, iris: python -c "
        "\"import lookahead_nb as lnb; lnb.datasets.load('iris')\" "
        "downloads it, or set LOOKAHEAD_NB_DATA to its folder\n",
    )


@pytest.mark.parametrize("short", ["c01", "1", "01", "C1"])
def test_the_id_of_a_claim_may_be_short(ask, short):
    assert ask(short) == ask("C01")


def test_what_is_no_id_is_named(ask):
    assert "ID must be one of 'C01'" in ask("first")[2]
    assert "got 'C77'" in ask("77")[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["C99"], "ID must be one of 'C01', 'C02', 'C03', got 'C99'"),
        (["--fresh"], "ID must be one of 'C01', 'C02', 'C03', got nothing"),
        (["C02", "--fresh", "0"], "--fresh must be a whole number of at least 1, got 0"),
        (["C02", "--fresh", "two"], "argument --fresh: invalid int value: 'two'"),
        (["C03", "--fresh"], "C03 has no trial: No ImageNet here."),
        (["C01", "C02"], "unrecognized arguments: C02"),
    ],
)
def test_bad_ids_and_attempts_are_refused_in_one_line(ask, arguments, sentence):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_results_that_are_not_those_of_the_entry_are_refused(ask, checkout, monkeypatch):
    registers.read(checkout / "data", ("margin = 1.05", "margin = 1.1"))
    code, out, err = ask()
    assert (code, out) == (2, "")
    assert "C02.csv must belong to the registered C02" in err
    assert len(err.splitlines()) == 1
    monkeypatch.setattr(trials, "measure", None)  # nothing is trained for results that are not its own
    assert ask("C02", "--fresh") == (2, "", err)


def test_results_of_which_a_file_is_missing_are_refused(ask, checkout):
    (checkout / "data/results/C02.csv").unlink()
    code, out, err = ask()
    assert (code, out) == (2, "")
    assert err == "lookahead-nb: C02.json must come as a table with a manifest, one of which is missing\n"


def test_outside_of_a_checkout_there_is_no_register(ask, checkout, monkeypatch):
    (checkout / "empty").mkdir()
    (checkout / "pyproject.toml").unlink()
    monkeypatch.chdir(checkout / "empty")
    code, out, err = ask()
    assert (code, out) == (2, "")
    assert err == (
        "lookahead-nb: data/claims.toml is missing: run this in a checkout of the project, which holds it, "
        f"not in {checkout / 'empty'}\n"
    )


# ------------------------------------------------------------------------------------------------------------ figures

FIGURE = "your_own_question"


@pytest.fixture
def figures(capsys, tmp_path, monkeypatch):
    """Ask for figures in a checkout with one figure and its table; return exit code, output and complaint."""
    for path in (f"data/results/{FIGURE}.csv", f"data/results/{FIGURE}.json", f"paper/figures/{FIGURE}.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOOKAHEAD_NB_BUILD", raising=False)

    def asked(*arguments):
        capsys.readouterr()
        try:
            code = main(["figures", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return asked


def test_figures_are_drawn_from_the_tables_and_compared_with_the_committed(figures, tmp_path):
    before = parts_of(tmp_path)
    told = f"build/figures/{FIGURE}.svg and .pdf: "
    code, out, err = figures()
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"{tmp_path}/{told}(as committed|differs from the committed figure)\n", out)
    drawn = parts_of(tmp_path / "build")
    assert sorted(path.name for path in drawn) == [f"{FIGURE}.json", f"{FIGURE}.pdf", f"{FIGURE}.svg"]
    manifest = tmp_path / f"paper/figures/{FIGURE}.json"
    manifest.write_bytes(drawn[tmp_path / f"build/figures/{FIGURE}.json"])
    assert figures(FIGURE)[1].endswith(": as committed\n")
    manifest.write_text(manifest.read_text().replace('.svg": "', '.svg": "0'))
    assert figures(FIGURE, "--folder", "elsewhere") == (
        0,
        f"elsewhere/{FIGURE}.svg and .pdf: differs from the committed figure\n",
        "",
    )
    assert (tmp_path / f"elsewhere/{FIGURE}.svg").is_file()
    manifest.write_bytes(before[manifest])
    assert {path: before[path] for path in before} == {path: parts_of(tmp_path)[path] for path in before}


def test_a_figure_tells_where_it_comes_from(figures, tmp_path):
    code, out, err = figures("--where", FIGURE)
    manifest = json.loads((tmp_path / f"data/results/{FIGURE}.json").read_text())
    assert (code, err) == (0, "")
    for told in [
        f"paper/figures/{FIGURE}.svg and .pdf: Lookahead and both of its controls",
        "notebooks/10_your_own_question.ipynb, made from notebooks/source/10_your_own_question.py",
        f"data/results/{FIGURE}.csv, {manifest['rows']} rows, sha256 {manifest['sha256'][:16]}\n",
        f"configurations  {manifest['configurations'][:16]}\n",
        f"{manifest['machine']['cpu']} ({manifest['machine']['cpu_class']}), {manifest['machine']['threads']} threads",
        f"numba {manifest['machine']['versions']['numba']}",
        f"lookahead-nb figures {FIGURE}\n",
        "python notebooks/reproduce.py 10_your_own_question\n",
    ]:
        assert told in out
    assert not (tmp_path / "build").exists()


def test_a_figure_of_measured_times_tells_how_they_are_measured(figures, tmp_path):
    for name in ("data/timings/sweep.csv", "data/timings/sweep.json", "paper/figures/performance_sweeps.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    code, out, err = figures("--where", "performance_sweeps")
    assert (code, err) == (0, "")
    for told in [
        "notebooks/12_performance.ipynb, made from",
        "table     data/timings/sweep.csv, 30 rows, sha256 ",
        f"made on         {tables.made_on(ROOT / 'data/timings/sweep.csv')}\n",
        "reproduce.py 12_performance\n",
        "make bench, then",
        "make bench DEVICE=cuda, then",
    ]:
        assert told in out
    assert "from nothing" not in out
    assert "cuda-sweep.csv" not in out
    for end in (".csv", ".json"):  # once there are times of a GPU
        (tmp_path / f"data/timings/cuda-sweep{end}").write_bytes((ROOT / f"data/timings/sweep{end}").read_bytes())
    assert "table     data/timings/cuda-sweep.csv, 30 rows" in figures("--where", "performance_sweeps")[1]
    assert figures("performance_sweeps")[1].endswith(": differs from the committed figure\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["your_question"], "NAME must be a figure, such as your_own_question, .*, got 'your_question'"),
        (["--where", "verdict"], "NAME must be a figure, such as verdicts.*, got 'verdict'"),
        (["zzz"], "NAME must be a figure, such as quick_start_losses, .*, performance_scaling, got 'zzz'"),
        (["--where"], "NAME must be given with --where"),
        (["verdicts"], "verdicts has not been drawn by its notebook yet: paper/figures/verdicts.json is missing"),
    ],
)
def test_a_figure_that_is_none_is_refused_in_one_line_with_the_nearest_names(figures, tmp_path, arguments, sentence):
    code, out, err = figures(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"lookahead-nb: {sentence}\n", err)
    assert not (tmp_path / "build").exists()


def test_a_table_that_is_not_that_of_its_manifest_is_not_drawn(figures, tmp_path):
    table = tmp_path / f"data/results/{FIGURE}.csv"
    table.write_text(table.read_text().replace("1", "2", 1))
    code, out, err = figures(FIGURE)
    assert (code, out) == (2, "")
    assert f"{FIGURE}.csv must have the sha256 of its manifest" in err
    assert not list((tmp_path / "build").rglob("*.svg"))
    table.unlink()
    for how in ([], ["--where"]):
        code, out, err = figures(*how, FIGURE)
        assert (code, out) == (2, "")
        assert err.endswith(f"{FIGURE}.csv is missing: a table and its manifest must lie in one folder\n")
        assert len(err.splitlines()) == 1
