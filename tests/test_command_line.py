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
from lookahead_nb import datasets
from lookahead_nb import provenance as tables
from lookahead_nb.__main__ import main
from lookahead_nb.claims import experiments, registry, wording
from lookahead_nb.datasets import sources
from lookahead_nb.figures import catalogue
from lookahead_nb.training import plan
from lookahead_nb.training import sweep_file as configuration
from lookahead_nb.training.store import Store
from lookahead_nb.training.workers import LostWorkerError
from tests.support import small_trial

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
    """A checkout with statements, rows by hand and two figures."""
    monkeypatch.setattr(experiments, "SHARD", 2)
    small_trial.write(tmp_path)
    for name, notebook in {"better": "05_none", "sums": "06_none", "none_yet": "05_none"}.items():
        monkeypatch.setitem(catalogue.FIGURES, name, catalogue.Entry(notebook, (), lambda: None))
    for name, caption in {"better": "It is better.", "sums": "Sums rise."}.items():
        (tmp_path / f"paper/figures/{name}.json").write_text(json.dumps({"caption": caption}))
    monkeypatch.chdir(tmp_path)
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


def write_verdicts(checkout):
    """Write the table of verdicts as the notebook does."""
    statements = registry.read()
    judged = registry.judge_all(statements, registry.evidence(statements))
    entry = registry.evidence_sha256(statements)
    tables.write_table(judged, "statements", folder=checkout / "data/results", entry=entry)
    return judged


def test_every_statement_gets_a_line_with_its_verdict_and_one_with_what_was_found(ask, checkout):
    judged = write_verdicts(checkout)
    code, out, err = ask()
    assert (code, err) == (0, "")
    assert out.splitlines() == [*wording.lines(registry.read().values(), judged), "", *wording.LEGEND]
    assert "C30a" in out
    assert "No images here." in out


def test_the_committed_verdicts_are_shown_and_not_judged_again(ask, checkout, monkeypatch):
    for arguments in ([], ["C30"], ["C31"]):
        code, out, err = ask(*arguments)
        assert code == 0
        assert err.startswith("lookahead-nb: statements.json is missing next to statements.csv; the verdicts below are")
        with monkeypatch.context() as current:
            write_verdicts(checkout)
            current.setattr(registry, "judge_all", None)
            assert ask(*arguments) == (0, out, "")
        for end in (".csv", ".json"):
            (checkout / f"data/results/statements{end}").unlink()


@pytest.mark.parametrize("changed", ["statement", "rows", "manifest"])
def test_verdicts_that_follow_from_other_statements_or_rows_are_judged_again(ask, checkout, changed):
    judged = write_verdicts(checkout)
    if changed == "statement":
        edit(checkout / "data/claims/C30.toml", 'modality = "plain"', 'modality = "usually"')
    elif changed == "rows":
        path = checkout / "data/results/one/01.csv"
        entry = json.loads(path.with_suffix(".json").read_text())["entry"]
        tables.write_table(tables.read_table(path).assign(**{"r0: test loss, own": 0.5}), "01", folder=path.parent,
                           entry=entry)  # fmt: skip
    else:
        tables.write_table(judged, "statements", folder=checkout / "data/results")
    code, out, err = ask("C30a")
    assert code == 0
    assert "C30a: " in out
    assert "statements.csv must belong to the statements and rows as registered" in err
    assert err.endswith("; the verdicts below are judged again from the rows, which takes longer\n")


def test_a_statement_is_explained_and_so_is_a_claim(ask, checkout):
    write_verdicts(checkout)
    code, out, err = ask("C30a")
    assert (code, err) == (0, "")
    for told in [
        "C30, section 8.3 of the article: Something is better.",
        "C30a: holds, and matters: Lookahead is better.",
        "Found: ",
        "Advice: Tune it.",
        "Figure better: It is better.",
        "Notebook: notebooks/05_none.ipynb",
        "--fresh, with one statement such as C30a, trains",
    ]:
        assert told in out
    assert out.count("Figure") == 1
    assert "C30b" not in out
    contrasts = [line for line in ask("C30a", "--contrasts")[1].splitlines() if line not in out.splitlines()]
    assert contrasts[0] == "  primary: lookahead against adamw, test loss"
    assert "  adam: adam against adamw, test loss" in contrasts
    whole = ask("C30")[1]
    assert "C30b: " in whole
    assert "C30c: not testable here" in whole
    assert "No test: No images here." in ask("C30c")[1]
    (checkout / "data/results/statements.csv").unlink()
    assert "No test: No images here." in ask("C30c")[1]


def test_contrasts_need_a_statement_and_no_fresh_run(ask, checkout):
    write_verdicts(checkout)
    assert ask("--contrasts")[0] == 2
    assert "--contrasts needs ID" in ask("--contrasts")[2]
    assert "leave it out" in ask("C30a", "--contrasts", "--fresh")[2]


@pytest.mark.parametrize("short", ["c30a", "30a", "C30A"])
def test_the_id_of_a_statement_may_be_short(ask, checkout, short):
    write_verdicts(checkout)
    assert ask(short) == ask("C30a")


def test_every_committed_statement_shows_the_figures_of_its_notebook(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in {one.notebook for one in registry.read().values()}:
        source = (ROOT / f"notebooks/source/{name}.py").read_text(encoding="utf-8")
        assert {*catalogue.captions(name)} == {each for each in catalogue.FIGURES if f'"{each}"' in source}, name


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "lookahead_nb", "devices"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.jit  # a training run in plain Python takes too long
def test_a_statement_is_measured_again_on_fresh_seeds(ask, checkout):
    write_verdicts(checkout)
    code, out, err = ask("C30a", "--fresh", "--tasks", "2")
    assert (code, err) == (0, "")
    first, second, *rest = out.splitlines()
    assert first == "C30a: Lookahead is better."
    assert re.fullmatch(r"Trains 8 runs on fresh seeds: tasks \d+, \d+ of the experiment one", second)
    assert [line.split("  ")[1].strip() or line.split("  ")[2] for line in rest] == [
        "primary: lookahead against adamw, test loss", "fresh seeds", "registered seeds", "all tasks",
        "error: lookahead against adamw, test error", "fresh seeds", "registered seeds", "all tasks",
    ]  # fmt: skip
    assert all(f"of {count} tasks" in line for line, count in zip(rest[1:4], (2, 2, 8), strict=True))
    for path in (checkout / "data/results/one").iterdir():
        path.unlink()
    assert "registered seeds" not in ask("C30a", "--fresh", "--tasks", "2")[1]


def test_fresh_seeds_of_exact_tasks_are_said_to_change_nothing(capsys):
    assert main(["claims", "C05a", "--fresh", "--tasks", "2"]) == 0
    _, _, note, _, fresh, registered, *_ = capsys.readouterr().out.splitlines()
    assert note.startswith("They are solved exactly, without random numbers")
    assert fresh.split()[2:] == registered.split()[2:]


def test_fresh_seeds_are_those_of_the_attempt(ask, monkeypatch):
    attempts, measure = [], small_trial.rows_by_hand
    monkeypatch.setattr(
        experiments.Experiment, "measure",
        lambda self, tasks, *, attempt, **_: attempts.append(attempt) or measure(self, tasks["number"]),
    )  # fmt: skip
    for arguments in ["--fresh"], ["--fresh", "7"]:
        assert ask("C31", *arguments)[0] == 0
    assert attempts == [1, 7]


@pytest.mark.jit
def test_the_bare_install_is_enough(checkout):
    bare = "import sys; sys.modules |= dict.fromkeys(['pyarrow', 'rich', 'sklearn', 'pooch'])"  # their import fails
    code = f"{bare}; from lookahead_nb.claims import experiments; experiments.SHARD = 2"
    code += "; from lookahead_nb.__main__ import main; sys.exit(main(['claims', 'C31', '--fresh']))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "all tasks" in told.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["C77"], "ID must be a statement or a claim, such as C3.*, got 'C77'"),
        (["C30d"], "ID must be a statement or a claim, such as C30.*, got 'C30d'"),
        (["first"], "ID must be a statement or a claim, such as C3.*, got 'first'"),
        (["--fresh"], "ID must be one statement with --fresh, such as C30a, got nothing"),
        (["C30", "--fresh"], "ID must be one statement with --fresh, such as C30a, got 'C30'"),
        (["C30a", "--fresh", "0"], "--fresh must be a whole number of at least 1, got 0"),
        (["C30a", "--fresh", "two"], "argument --fresh: invalid int value: 'two'"),
        (["C30a", "--fresh", "--tasks", "1"], "--tasks must be a whole number of at least 2, got 1"),
        (["C30a", "--tasks", "3"], "--tasks needs --fresh"),
        (["C30c", "--fresh"], "C30c cannot be tested here: No images here."),
        (["C30", "C31"], "unrecognized arguments: C31"),
    ],
)
def test_bad_ids_and_attempts_are_refused_in_one_line(ask, arguments, sentence):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert re.search(sentence, err)
    assert len(err.splitlines()) == 1


def test_rows_that_are_not_those_of_the_entry_are_refused(ask, checkout):
    edit(checkout / "data/claims/experiments/one.toml", "replicates = 2", "replicates = 3")
    code, out, err = ask("C30a")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("lookahead-nb: 00.csv must belong to the experiment 'one' as registered")


def test_outside_of_a_checkout_there_are_no_statements(ask, checkout, monkeypatch):
    (checkout / "empty").mkdir()
    (checkout / "pyproject.toml").unlink()
    monkeypatch.chdir(checkout / "empty")
    assert ask() == (
        2,
        "",
        "lookahead-nb: data/claims is missing: run this in a checkout of the project, which holds it, "
        f"not in {checkout / 'empty'}\n",
    )


# --------------------------------------------------------------------------------------------------------- experiments


@pytest.fixture
def experiment(capsys, checkout):
    """Call the command; return its exit code, what it printed and what it complained about."""

    def called(*arguments):
        capsys.readouterr()
        try:
            code = main(["experiment", *arguments])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def by_hand(monkeypatch, checkout):
    """Measure rows by hand; returns the numbers of the tasks that were asked for, and has no rows yet."""
    asked = []

    def measure(self, tasks, **_):
        asked.append(tasks["number"].tolist())
        return small_trial.rows_by_hand(self, asked[-1])

    monkeypatch.setattr(experiments.Experiment, "measure", measure)
    for path in (checkout / "data/results/one").iterdir():
        path.unlink()
    return asked


def test_experiments_are_listed_with_what_is_there(experiment, checkout):
    (checkout / "data/results/one/02.csv").unlink()
    assert experiment() == (
        0,
        "     tasks  arms  runs  shards  missing\n"
        "one      8     3    48       3        1  a test\n",
        "",
    )  # fmt: skip


def test_missing_shards_are_trained_and_the_others_stay(experiment, checkout, by_hand):
    numbers, folder = small_trial.numbers(), checkout / "data/results/one"
    assert experiment("one", "--shard", "2/4") == (
        0, "shard 01: 12 of the 12 runs to be trained\n1 of 4 shards are in data/results/one\n", ""
    )  # fmt: skip
    assert by_hand == [numbers[2:4]]
    before = parts_of(folder)
    code, out, err = experiment("one")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"shard 00: 12 of the 36 runs to be trained\nshard 02: 12 of the 24 runs to be trained, .* left\n"
        r"shard 03: 12 of the 12 runs to be trained, .* left\n"
        r"4 of 4 shards are in data/results/one\n", out
    )  # fmt: skip
    assert by_hand[1:] == [numbers[:2], numbers[4:6], numbers[6:]]
    assert before.items() <= parts_of(folder).items()
    assert experiment("one") == (0, "4 of 4 shards are in data/results/one\n", "")
    assert len(experiments.results(experiments.read("one"))) == 48


def test_after_ctrl_c_whole_shards_stay(experiment, checkout, by_hand, monkeypatch):
    measure, folder = experiments.Experiment.measure, checkout / "data/results/one"

    def stopped(self, tasks, **how):
        if by_hand:
            raise KeyboardInterrupt
        return measure(self, tasks, **how)

    monkeypatch.setattr(experiments.Experiment, "measure", stopped)
    said = "lookahead-nb: stopped: 1 of 4 shards are in data/results/one; run the same command again to continue\n"
    code, _, err = experiment("one")
    assert (code, err) == (130, said)
    assert sorted(path.name for path in folder.iterdir()) == ["00.csv", "00.json"]
    monkeypatch.setattr(experiments.Experiment, "measure", measure)
    assert experiment("one")[1].endswith("4 of 4 shards are in data/results/one\n")


def test_outdated_shards_are_refused_before_anything_is_trained(experiment, checkout, by_hand):
    assert experiment("one", "--shard", "3/3")[0] == 0
    by_hand.clear()
    edit(checkout / "data/claims/experiments/one.toml", "replicates = 2", "replicates = 3")
    code, out, err = experiment("one")
    assert (code, out, by_hand) == (2, "", [])
    assert err.startswith("lookahead-nb: 02.csv must belong to the experiment 'one' as registered")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["on"], "NAME must be an experiment, such as one, got 'on'"),
        (["one", "--shard", "4/3"], "--shard must be I/N with I from 1 to N, such as 1/3, got '4/3'"),
        (["one", "--shard", "first"], "--shard must be I/N with I from 1 to N, such as 1/3, got 'first'"),
        (["--shard", "1/3"], "--shard needs NAME, the experiment to train"),
    ],
)
def test_bad_names_and_shares_are_refused_in_one_line(experiment, by_hand, arguments, sentence):
    assert experiment(*arguments) == (2, "", f"lookahead-nb: {sentence}\n")
    assert by_hand == []


# ------------------------------------------------------------------------------------------------------------ figures

FIGURE = "procedure_worth"


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


def told_by(name):
    return json.loads((ROOT / f"paper/figures/{name}.json").read_text())


def test_a_figure_tells_where_it_comes_from(figures, tmp_path):
    code, out, err = figures("--where", FIGURE)
    manifest = json.loads((tmp_path / f"data/results/{FIGURE}.json").read_text())
    assert (code, err) == (0, "")
    for told in [
        f"paper/figures/{FIGURE}.svg and .pdf: {told_by(FIGURE)['caption']}",
        "notebooks/10c_procedure.ipynb, made from notebooks/source/10c_procedure.py",
        f"data/results/{FIGURE}.csv, {manifest['rows']} rows, sha256 {manifest['sha256'][:16]}\n",
        f"configurations  {manifest['configurations'][:16]}\n",
        f"{manifest['machine']['cpu']} ({manifest['machine']['cpu_class']}), {manifest['machine']['threads']} threads",
        f"numba {manifest['machine']['versions']['numba']}",
        f"lookahead-nb figures {FIGURE}\n",
        "python notebooks/reproduce.py 10c_procedure\n",
    ]:
        assert told in out
    assert not (tmp_path / "build").exists()


def test_a_table_tells_the_entry_that_it_belongs_to(figures, tmp_path):
    path = tmp_path / f"data/results/{FIGURE}.json"
    assert ", registered as" not in figures("--where", FIGURE)[1]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"entry": "0123456789abcdef0"}))
    assert ", registered as 0123456789abcdef\n" in figures("--where", FIGURE)[1]


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
        (["procedure_word"], "NAME must be a figure, such as procedure_worth, .*, got 'procedure_word'"),
        (["--where", "verdict"], "NAME must be a figure, such as verdicts.*, got 'verdict'"),
        (["zzz"], "NAME must be a figure, such as quick_start_losses, .*, one_family_worths, got 'zzz'"),
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
