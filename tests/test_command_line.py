"""The command ``lookahead-nb sweep``: exit codes, what it says, what it leaves on the disk, and how it stops."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import configuration, datasets
from lookahead_nb.__main__ import main
from lookahead_nb.store import Store
from lookahead_nb.workers import LostWorkerError

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
    assert "each is trained once" in err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("steps = 6", "step = 6", "training.step is not known (did you mean steps?)"),
        ("steps = 6", "steps = 0", "training.steps must be a whole number of at least 1, not 0"),
        ("eval_every = 3", "eval_every = 51", "training.eval_every must be at most the 6 steps of a run, not 51"),
        ("widths = [5", "widths = [6", "data must have the features and classes of MLP((6, 4, 3)"),
        ("batch_size = 8", "batch_size = 37", "training.batch_size must be at most the 36 rows"),
        ("lr = 0.1", "lr = []", "grid[1].lr must hold at least one value"),
        ("[model]", "[model", "must be a TOML file"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_touched(config, call, old, new, sentence):
    edit(config, old, new)
    code, out, err = call(config)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not (config.parent / "kept").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "--workers must be a whole number of at least 1, not 0"),
        (["--workers", "two"], "argument --workers: invalid int value"),
        (["--workers", "2", "--dask", "tcp://127.0.0.1:1"], "not allowed with argument"),
        (["--export", "rows.txt"], "--export must be a file that ends in .csv or .parquet, not 'rows.txt'"),
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

SLOW = """
    import sys, time
    from lookahead_nb.__main__ import main

    sweep = sys.modules["lookahead_nb.sweep"]
    train_unit = sweep.train_unit

    def slow(unit, **how):
        open("running", "w").close()
        time.sleep({seconds})
        return train_unit(unit, **how)

    sweep.train_unit = slow
    if __name__ == "__main__":
        sys.exit(main(sys.argv[1:]))
"""


def start(config, seconds):
    path = config.parent / "slow_sweep.py"
    path.write_text(textwrap.dedent(SLOW.format(seconds=seconds)), encoding="utf-8")
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
def test_a_stopped_sweep_loses_nothing_and_goes_on(config, call, number):
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
    assert last.startswith(f"lookahead-nb: stopped: {len(stored)} of {len(whole)} units are stored in {kept}, ")
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
