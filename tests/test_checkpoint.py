"""Long runs that are kept in a file: interrupted anywhere, they end in the bits of the run that was not.

Called as a script, this file trains the example: ``python -m tests.test_checkpoint FILE``.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.training import run as running
from lookahead_nb.training.checkpoint import Checkpoint
from tests.support.cases import picture
from tests.support.runs import BATCH, COMPILED, OPTIMIZERS, assert_same_run, problem

STEPS = 24 if COMPILED else 10
BOWL = lnb.landscapes.Quadratic([1.0, 0.1], noise=1.0, drift=0.01)
LOOKAHEAD = OPTIMIZERS["keep"]
HOW = {"steps": STEPS, "batch_size": BATCH, "eval_every": 3}
ROOT = Path(__file__).parents[1]
KILLS, PATIENCE = 3, 120  # seconds after which a process counts as hung
LONG = {"steps": 20_000, "eval_every": 700, "checkpoint_every": 250, "batch_size": 8}


def trained(opt=LOOKAHEAD, on=None, **changes):
    model, data = problem() if on is None else on
    return lnb.train(model, data, opt, **HOW | changes)


def interrupted(monkeypatch, file, after, **how):
    """Train until so many checkpoints are written; the run ends there as if the process had been killed."""
    written, write = [], Checkpoint.write

    def write_and_stop(self, *arguments):
        write(self, *arguments)
        written.append(1)
        if len(written) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            trained(**how, checkpoint=file)


def assert_same_bits(run, expected):
    """Compare all but the slow steps, which a restored state does not have."""
    assert run.history.equals(expected.history)
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    assert (run.slow is None) == (expected.slow is None)
    assert run.slow is None or run.slow.tobytes() == expected.slow.tobytes()
    assert (run.diverged_at, run.best_step, repr(run)) == (expected.diverged_at, expected.best_step, repr(expected))
    assert run.setup.eval_steps.tolist() == expected.setup.eval_steps.tolist()


@pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_run_with_checkpoints_has_the_bits_of_one_without(opt, tmp_path):
    how = {"opt": opt, "dtype": "float64" if opt.has_slow_weights else "float32"}
    assert_same_run(trained(**how, checkpoint=tmp_path / "run.npz", checkpoint_every=7), trained(**how))


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("name", ["adamw", "keep", "adaptive", "average", "table", "pending decay", "steps in turn"])
@pytest.mark.parametrize("on", [None, (BOWL, None)], ids=["network", "landscape"])
def test_an_interrupted_run_ends_in_the_same_bits(name, on, every, tmp_path, monkeypatch):
    opt, file = OPTIMIZERS[name], tmp_path / "run.npz"
    expected = trained(opt, on)
    for _ in range(2):
        interrupted(monkeypatch, file, 1, opt=opt, on=on, checkpoint_every=every)
    assert lnb.load(file).state.t == min(2 * every, STEPS)
    assert_same_bits(trained(opt, on, checkpoint=file, checkpoint_every=3), expected)


RULES = {
    "callback": {},
    "stopping": {"early_stopping": lnb.EarlyStopping(patience=5)},
    "plateau": {"reduce_on_plateau": lnb.ReduceOnPlateau(patience=1, measure="train_loss", factor=0.5)},
}
STOP_ON_LANDSCAPE = {"early_stopping": lnb.EarlyStopping(patience=5, measure="train_loss")}
RULES["both"] = RULES["stopping"] | RULES["plateau"]


@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_rules_and_metrics_continue_too(rules, after, tmp_path, monkeypatch):
    def callback(snapshot):
        if rules == {} and snapshot.step == 6:
            snapshot.set_lr(0.3)
        if rules == {} and snapshot.step == 21:
            raise StopIteration({"end": 1})
        return {"norm": float(snapshot.fast @ snapshot.fast)}

    how = {"opt": lnb.Lookahead(lnb.AdamW(0.2), sync_period=3), "eval_every": 1, "callback": callback, **rules}
    expected, file = trained(**how), tmp_path / "run.npz"
    if rules == RULES["stopping"] and COMPILED:
        assert 0 < expected.best_step < expected.setup.steps < STEPS
    interrupted(monkeypatch, file, after, **how, checkpoint_every=1)
    run = trained(**how, checkpoint=file, checkpoint_every=2)
    assert_same_bits(run, expected)
    assert "norm" in run.history
    assert_same_bits(trained(**how, checkpoint=file), expected)
    assert_same_bits(lnb.load(file), expected)


def test_the_file_holds_the_run_so_far(tmp_path, monkeypatch):
    stop = lnb.EarlyStopping(patience=100)
    interrupted(monkeypatch, tmp_path / "run.npz", 2, checkpoint_every=4, early_stopping=stop)
    assert_same_bits(lnb.load(tmp_path / "run.npz"), trained(steps=8, early_stopping=stop))


def test_with_early_stopping_the_file_shows_the_best_weights_and_continues_from_the_latest(tmp_path, monkeypatch):
    stop = lnb.EarlyStopping(patience=50)
    interrupted(monkeypatch, tmp_path / "run.npz", 2, checkpoint_every=4, early_stopping=stop)
    so_far = lnb.load(tmp_path / "run.npz")
    assert so_far.state.t == so_far.best_step < so_far.setup.steps == 8  # evaluated every 3 steps
    assert f", best step {so_far.best_step} of 8, " in repr(so_far)
    run = trained(checkpoint=tmp_path / "run.npz", checkpoint_every=4, early_stopping=stop)
    assert_same_bits(run, trained(early_stopping=stop))
    assert run.history["step"].iloc[-1] == STEPS


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    how = {"checkpoint": tmp_path / "run.npz", "early_stopping": lnb.EarlyStopping(patience=1, min_delta=1e9)}
    expected = trained(**how)
    monkeypatch.setattr(running, "train_in_place", None)
    run = trained(**how)
    assert_same_bits(run, expected)
    assert (run.scaling, run.setup.data) == (expected.scaling, expected.setup.data)


@pytest.mark.jit  # plain Python warns on the way to inf
@pytest.mark.parametrize("rules", [{}, STOP_ON_LANDSCAPE], ids=["plain", "stopping"])
def test_a_run_that_diverges_between_checkpoints_is_that_without(rules, tmp_path, monkeypatch):
    opt = lnb.SGD(lnb.schedules.from_function(lambda t: 0.5 if t < 9 else 1e30, 100))
    how = {"opt": opt, "on": (lnb.landscapes.Quadratic([1.0]), None), **rules}
    expected = trained(**how)
    assert expected.diverged_at
    interrupted(monkeypatch, tmp_path / "run.npz", 1, **how, checkpoint_every=4)
    run = trained(**how, checkpoint=tmp_path / "run.npz", checkpoint_every=4)
    assert run.history.equals(expected.history)
    assert picture(run.params, run.state) == picture(expected.params, expected.state)
    again = trained(**how, checkpoint=tmp_path / "run.npz")
    assert (again.diverged_at, again.best_step) == (expected.diverged_at, expected.best_step)


def test_data_with_weights_of_rows_continues(tmp_path, monkeypatch):
    model, data = problem()
    n = sum(len(getattr(data, f"y_{part}")) for part in ("train", "validation", "test"))
    how = {"on": (model, data.with_sample_weight(np.arange(1, n + 1)))}
    interrupted(monkeypatch, tmp_path / "run.npz", 2, **how, checkpoint_every=3)
    assert_same_bits(trained(**how, checkpoint=tmp_path / "run.npz"), trained(**how))


def test_a_write_that_fails_leaves_the_older_file_and_what_a_killed_one_left_is_removed(tmp_path, monkeypatch):
    file = tmp_path / "run.npz"
    interrupted(monkeypatch, file, 2, checkpoint_every=3)
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr("lookahead_nb.training.files.discard", lambda _: None)  # as after a kill
        with pytest.raises(KeyboardInterrupt):
            trained(checkpoint=file, checkpoint_every=3)
    assert file.read_bytes() == before
    unfinished = [path for path in tmp_path.iterdir() if path != file]
    (tmp_path / "run.npz.notes.tmp").write_text("mine")
    assert len(unfinished) == 1
    assert_same_bits(trained(checkpoint=file), trained())
    assert {path.name for path in tmp_path.iterdir()} == {"run.npz", "run.npz.notes.tmp"}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"steps": STEPS + 1}, "steps, eval_at"),
        ({"seed": 1}, "seed"),
        ({"opt": lnb.Lookahead(OPTIMIZERS["adamw"], sync_period=3, retention=0.6)}, "opt"),
        ({"on": (lnb.MLP((4, 2)), problem()[1])}, "model"),
        ({"on": (problem()[0], problem()[1].with_flipped_labels(0.5, 0))}, "data"),
        ({"batch_size": 3}, "batch_size"),
        ({"order": "repeated"}, "order"),
        ({"dtype": "float64"}, "dtype"),
        ({"eval_every": 2}, "eval_at"),
        ({"early_stopping": lnb.EarlyStopping()}, "early_stopping"),
        ({"reduce_on_plateau": lnb.ReduceOnPlateau()}, "reduce_on_plateau"),
    ],
)
def test_a_file_of_other_settings_is_refused(change, names, tmp_path, monkeypatch):
    file = tmp_path / "run.npz"
    interrupted(monkeypatch, file, 1, checkpoint_every=3)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint must be a file of the same run, got one with another {names}: "):
        trained(**change, checkpoint=file)
    assert file.read_bytes() == before


def test_settings_that_only_the_file_names_are_compared_too(tmp_path, monkeypatch):
    interrupted(monkeypatch, tmp_path / "run.npz", 1, checkpoint_every=3, order="repeated")
    with pytest.raises(ValueError, match="got one with another order: pass another path"):
        trained(checkpoint=tmp_path / "run.npz")


def test_other_files_and_arguments_are_refused(tmp_path, monkeypatch):
    class Own:
        size, init, loss_and_grad = problem()[0].size, problem()[0].init, problem()[0].loss_and_grad

    file = tmp_path / "run.npz"
    trained().save(file)
    with pytest.raises(ValueError, match=r"checkpoint must be a file of train, got a run that run\.save wrote"):
        trained(checkpoint=file)
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ValueError, match=r"run\.npz is damaged"):
        trained(checkpoint=file)
    with pytest.raises(ValueError, match=r"checkpoint must end in \.npz, got 'run\.zip'"):
        trained(checkpoint=tmp_path / "run.zip")
    with pytest.raises(TypeError, match="checkpoint must be a path, got 7"):
        trained(checkpoint=7)
    with pytest.raises(FileNotFoundError, match="checkpoint must lie in a folder that exists, got "):
        trained(checkpoint=tmp_path / "nowhere" / "run.npz")
    with pytest.raises(ValueError, match="checkpoint_every must be a whole number of at least 1, got 0"):
        trained(checkpoint=tmp_path / "other.npz", checkpoint_every=0)
    with pytest.raises(TypeError, match=r"model must be one of .* to be saved, got"):
        trained(on=(Own(), problem()[1]), checkpoint=tmp_path / "other.npz")
    monkeypatch.setattr("lookahead_nb.kernels.gpu.require", lambda: None)
    with pytest.raises(ValueError, match="checkpoint must be None with backend='cuda'"):
        trained(backend="cuda", checkpoint=tmp_path / "other.npz")


def long_run(**how):
    """A run of a second or two, which writes some hundred files if it has checkpoints."""
    rule = lnb.ReduceOnPlateau(patience=2, factor=0.7, measure="train_loss")
    return lnb.train(*problem(), LOOKAHEAD, **LONG | how, reduce_on_plateau=rule)


@pytest.mark.jit
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_process_that_is_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    file, chance, reached = tmp_path / "run.npz", random.Random(0), 0
    command = [sys.executable, "-m", "tests.test_checkpoint", str(file)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    for _ in range(KILLS):
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        limit, before = time.monotonic() + PATIENCE, file.stat().st_mtime_ns if file.exists() else 0
        while (file.stat().st_mtime_ns if file.exists() else 0) == before and process.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = lnb.load(file).state.t
        assert reached < now
        reached = now
        if reached == LONG["steps"]:
            break
    assert reached > 0
    assert_same_bits(long_run(checkpoint=file), long_run())
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


if __name__ == "__main__":
    long_run(checkpoint=sys.argv[1])
