"""Sweeps that are killed, interrupted, crowded and starved of disk, and go on to the store of an undisturbed one.

Called as a script, this file trains the example into a store: ``test_faults.py FOLDER``.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.training import plan
from lookahead_nb.training.store import MANIFEST, Store

SEEDS = 550  # as many units, each of some milliseconds, so that a kill falls into any part of one
KILLS, IN_MID_SWEEP = 60, 50
PATIENCE = 60  # seconds after which a process counts as hung

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["lookahead_nb", "pandas", "pyarrow.parquet"])  # so that each starts at once


def trained(folder, told=lambda *_: None, seeds=SEEDS, **changes):
    """Train the example into a store; told is called with the runs done and the runs in all."""
    rng = np.random.default_rng(0)
    data = lnb.datasets.from_arrays(rng.normal(0, 1, (60, 4)), np.arange(60) % 2)
    opt = lnb.Lookahead(lnb.AdamW(0.01), sync_period=5)
    steps = [0.1 * step for step in range(1, 8)]
    configs = lnb.grid(opt, slow_step_size=steps, sync_period=[5, 10]) + lnb.grid(lnb.AdamW(), lr=[0.01, 1e6])
    how = {"steps": 200, "batch_size": 8, "eval_every": 20, "progress": told, "frame": False} | changes
    with mock.patch.object(plan, "UNIT_RUNS", len(configs)):
        return lnb.sweep(lnb.MLP((4, 2)), data, configs, seeds=seeds, store=folder, **how)


def train_and_tell(folder, pipe):
    try:
        trained(folder, lambda done, _: pipe.send(done))
    except KeyboardInterrupt:
        sys.exit(130)


class Sweeping:
    """A process that trains the example into a store and says how far it is."""

    def __init__(self, folder):
        self.progress, pipe = processes.Pipe(duplex=False)
        self.process = processes.Process(target=train_and_tell, args=(folder, pipe))
        self.process.start()
        pipe.close()

    def wait_for(self, times):
        """Wait until it has told this often how far it is, first before it trains, or has ended."""
        try:
            for _ in range(times):
                assert self.progress.poll(PATIENCE), "the sweep hangs"
                self.progress.recv()
        except EOFError:
            pass

    def ended(self):
        """Return the exit status, minus the number of the signal that killed it."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "the sweep hangs"
        self.progress.close()
        return self.process.exitcode

    def stop(self, how):
        os.kill(self.process.pid, how)
        return self.ended()


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def half_written(folder):
    return [path for path in folder.iterdir() if path.suffix == ".tmp"] if folder.exists() else []


def assert_sound(folder):
    """Whatever happened, the parts that are there are whole ones."""
    if (folder / MANIFEST).exists():
        problems = Store.open(folder).verify()
        assert [problem for problem in problems if "half-written" not in problem and "missing" not in problem] == []


@pytest.fixture(scope="module", autouse=True)
def _quiet_about_semaphores():
    """Those of Numba's threads, which a killed process leaves and multiprocessing cleans up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = trained(tmp_path_factory.mktemp("undisturbed") / "store")
    assert len(store.done()) == SEEDS
    assert set(store.frame(["status"])["status"]) == {"ok", "diverged"}
    return store


def assert_same_in_the_end(folder, undisturbed):
    store = trained(folder)
    store.verify(remove=True)
    assert store.verify() == []
    assert contents(folder) == contents(undisturbed.path)
    pd.testing.assert_frame_equal(store.frame(), undisturbed.frame(), check_exact=True)


def wait_for_a_write(folder, strays):
    """Wait until a part is being written, for a second at most."""
    end = time.monotonic() + 1
    while len(half_written(folder)) <= strays and time.monotonic() < end:
        time.sleep(0.0005)


def test_a_sweep_killed_at_any_moment_goes_on_to_the_same_store(tmp_path, undisturbed):
    rng = np.random.default_rng(20190719)
    folder = tmp_path / "store"
    in_mid_sweep, torn, growth = 0, 0, [0]
    for kill in range(KILLS):
        strays = len(half_written(folder))
        sweeping = Sweeping(folder)
        sweeping.wait_for(int(rng.integers(2, 12)) if kill % 12 else 0)  # 0: while it starts
        if kill % 4 == 1:
            wait_for_a_write(folder, strays)
        else:
            time.sleep(rng.uniform(0, 0.04))  # about the time of two units: in any part of one
        status = sweeping.stop(signal.SIGKILL)
        assert_sound(folder)
        done = len(Store.open(folder).done()) if (folder / MANIFEST).exists() else 0
        in_mid_sweep += status == -signal.SIGKILL and growth[-1] < done < SEEDS
        torn += len(half_written(folder)) > strays
        growth.append(done)
    assert growth == sorted(growth)
    assert growth[-1] < SEEDS, "the sweep was over before the last kill"
    assert in_mid_sweep >= IN_MID_SWEEP
    assert torn >= 3, "no kill fell into the writing of a part"
    assert_same_in_the_end(folder, undisturbed)


@pytest.mark.parametrize(
    ("seed", "begun"),
    [
        (20190720, {"seeds": range(SEEDS - 50, 49, -1)}),  # in another order, and without 50 at either end
        (20190721, {"steps": 100, "keep_states": True}),
    ],
    ids=["extension", "continuation"],
)
def test_a_larger_sweep_killed_at_any_moment_goes_on_to_the_same_rows(seed, begun, tmp_path, undisturbed):
    rng = np.random.default_rng(seed)
    folder = tmp_path / "store"
    trained(folder, **begun)
    before, in_mid_sweep, done = contents(folder), 0, 0
    for kill in range(6):
        sweeping = Sweeping(folder)
        sweeping.wait_for(int(rng.integers(2, 8)) if kill % 3 else 0)  # 0: while it searches the store
        time.sleep(rng.uniform(0, 0.1 if kill % 3 else 1))
        status = sweeping.stop(signal.SIGKILL)
        assert_sound(folder)
        in_mid_sweep += status == -signal.SIGKILL and len(contents(folder)) > done
        done = len(contents(folder))
    assert in_mid_sweep >= 3
    assert len([path for path in folder.iterdir() if path.suffix == ".json"]) == 2
    store = trained(folder)
    pd.testing.assert_frame_equal(store.frame(), undisturbed.frame(), check_exact=True)
    store.verify(remove=True)
    assert Store.open(folder).verify() == []
    assert before.items() <= contents(folder).items()


def test_an_interrupted_sweep_leaves_nothing_half_written(tmp_path, undisturbed):
    rng = np.random.default_rng(1)
    folder = tmp_path / "store"
    for _ in range(10):
        sweeping = Sweeping(folder)
        sweeping.wait_for(int(rng.integers(2, 12)))
        time.sleep(rng.uniform(0, 0.02))
        assert sweeping.stop(signal.SIGINT) == 130
        assert_sound(folder)
        assert half_written(folder) == []
    assert 20 < len(Store.open(folder).done()) < SEEDS
    assert_same_in_the_end(folder, undisturbed)


def test_sweeps_that_share_a_store_and_are_killed_lose_and_double_nothing(tmp_path, undisturbed):
    rng = np.random.default_rng(2)
    folder = tmp_path / "store"
    for _ in range(5):
        crowd = [Sweeping(folder) for _ in range(3)]
        for sweeping in crowd:
            sweeping.wait_for(int(rng.integers(2, 12)))
            assert sweeping.stop(signal.SIGKILL) == -signal.SIGKILL
        assert_sound(folder)
    assert len(Store.open(folder).done()) < SEEDS
    crowd = [Sweeping(folder) for _ in range(2)]
    for sweeping in crowd:
        sweeping.wait_for(SEEDS + 2)
        assert sweeping.ended() == 0
    assert len(Store.open(folder).done()) == SEEDS
    assert_same_in_the_end(folder, undisturbed)


FULL_DISK = """
mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
"$0" "$3" "$1/store" && exit 1
ls "$1/store" | grep -c tmp
mount -o remount,size=99m "$1" && "$0" "$3" "$1/store" && cp -r "$1/store" "$2"
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs Linux, to mount a small disk of one's own")
def test_a_full_disk_is_told_in_one_sentence_and_the_sweep_goes_on_when_there_is_room(tmp_path, undisturbed):
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, sys.executable, disk, copy, __file__]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=10 * PATIENCE)
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip(f"mounts are not allowed here: {ended.stderr}")
    assert (ended.returncode, ended.stdout) == (0, "0\n")
    assert ended.stderr.startswith(f"the store {disk / 'store'} could not keep unit ")
    assert ended.stderr.endswith(
        " (No space left on device): nothing else is lost; run the sweep again to continue from here\n"
    )
    assert ended.stderr.count("\n") == 1
    assert contents(copy) == contents(undisturbed.path)


if __name__ == "__main__":
    try:
        trained(sys.argv[1])
    except OSError as problem:
        sys.exit(str(problem))


MANY_RUNS = """
import resource, sys
import lookahead_nb as lnb

rates = [1e-4 * 1.002**i for i in range(1000)]
store = lnb.sweep(
    lnb.MLP((64, 32, 10)), lnb.datasets.load("digits"), lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=rates),
    seeds=100, steps=1, eval_at=[], store=sys.argv[1], progress=False, frame=False,
)
print(len(store.done()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_hundred_thousand_runs_into_a_store_stay_below_a_gigabyte(tmp_path):
    pytest.importorskip("sklearn", reason="needs scikit-learn for the digits")
    command = [sys.executable, "-c", MANY_RUNS, str(tmp_path / "store")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20 * PATIENCE)
    done, megabytes = map(int, ended.stdout.split())
    store = Store.open(tmp_path / "store")
    assert done == len(store.units)
    assert store.show()["rows"] == 100_000 * 2 * 2  # fast and slow, at the start and at the end
    assert megabytes < 1000
