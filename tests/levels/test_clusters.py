"""Sweeps on processes and on a Dask cluster: a killed worker, parent or scheduler costs time and never a bit."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import lookahead_nb as lnb
from lookahead_nb.provenance import versions
from lookahead_nb.training import workers
from lookahead_nb.training.store import Store
from lookahead_nb.training.workers import WorkerPool, dask_executor

distributed = pytest.importorskip("distributed")
pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 120  # seconds after which a test counts as hanging
GRID = lnb.grid(lnb.Lookahead(lnb.AdamW()), retention=[0.0, 0.5, 0.8, 0.9], sync_period=[2, 5, 20], lr=[1e-3, 1e-2])
TEXT = """
store = "kept"
[model]
kind = "MLP"
widths = [64, 32, 10]
[data]
name = "digits"
split_seed = "per seed"
[training]
seeds = 24
steps = 600
[[grid]]
optimizer = "Lookahead"
inner = "AdamW"
retention = [0.0, 0.5, 0.8, 0.9]
sync_period = [2, 5, 20]
lr = [1e-3, 1e-2]
"""


def sweep(**how):
    data = partial(lnb.datasets.load, "digits")
    return lnb.sweep(lnb.MLP((64, 32, 10)), data, GRID, seeds=24, steps=600, **how)


@pytest.fixture(scope="module")
def undisturbed():
    return sweep(progress=False)


class Killer:
    """A progress function that kills once, when the first unit has arrived, and keeps the counts."""

    def __init__(self, kill):
        self.kill, self.counts = kill, []

    def __call__(self, done, _total):
        self.counts.append(done)
        if len(self.counts) == 2:
            self.kill()


def check_counts(counts):
    """Every unit arrived once: the counts rise by the runs of a unit until all are there."""
    assert counts[0] == 0
    assert counts[-1] == len(GRID) * 24
    assert counts == sorted(set(counts))


def test_a_killed_worker_process_changes_nothing(undisturbed):
    def kill():
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = Killer(kill)
    with WorkerPool(2) as pool:
        found = sweep(executor=pool, progress=killer)
    check_counts(killer.counts)
    assert found.equals(undisturbed)


@pytest.fixture(scope="module")
def cluster():
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster:
        yield cluster


def test_a_killed_dask_worker_changes_nothing(cluster, undisturbed):
    def kill():
        with distributed.Client(cluster, set_as_default=False) as client:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    killer = Killer(kill)
    with dask_executor(cluster.scheduler_address) as executor:
        found = sweep(executor=executor, progress=killer)
    check_counts(killer.counts)
    assert found.equals(undisturbed)


@pytest.fixture
def quiet_cluster():
    """A scheduler without workers."""
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


def test_a_scheduler_without_workers_says_what_is_missing_and_waits(quiet_cluster, monkeypatch):
    monkeypatch.setattr(workers, "WORKER_SECONDS", 0.1)

    def join(message, *_, **__):
        told.append(str(message))
        quiet_cluster.scale(1)

    told = []
    monkeypatch.setattr(workers.warnings, "warn", join)
    with dask_executor(quiet_cluster.scheduler_address) as executor:
        assert executor.submit(abs, -9).result(PATIENCE) == 9
    address = quiet_cluster.scheduler_address
    assert told == [
        f"the Dask scheduler at {address} has no workers; the sweep waits for one: "
        f"start it with 'dask worker {address} --nworkers auto --nthreads 1'"
    ]


def test_a_dask_worker_with_another_numba_is_refused_before_the_first_unit(quiet_cluster, monkeypatch):
    quiet_cluster.scale(1)
    monkeypatch.setattr(workers, "versions", lambda: versions() | {"numba": "0.1"})
    said = r"^the Dask worker .* has numba .*, but here it is 0\.1: install the same version on both"
    with pytest.raises(ValueError, match=said), dask_executor(quiet_cluster.scheduler_address):
        pass


# --------------------------------------------------------------------------------------------------- the command line


def start(folder, *arguments):
    (folder / "sweep.toml").write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "lookahead_nb", "sweep", folder / "sweep.toml", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def parts(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def wait_for_parts(folder, count, process):
    end = time.monotonic() + PATIENCE
    while len(parts(folder)) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    assert len(parts(folder)) >= count


def finish(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The parts of a sweep that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(start(folder))[0] == 0
    return parts(folder / "kept")


def check_resumed(folder, whole, *arguments):
    code, out, _ = finish(start(folder, *arguments))
    assert (code, out) == (0, f"{len(GRID) * 24} runs are stored in {folder / 'kept'}\n")
    assert parts(folder / "kept") == whole
    assert Store.open(folder / "kept").verify() == []


def offspring(pid):
    """Return the processes whose parent is pid."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    return [int(child) for child, parent in map(str.split, listed.splitlines()) if int(parent) == pid]


def lives(pid):
    found = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True).stdout
    return bool(found) and not found.startswith("Z")


@pytest.fixture(params=["threads", "workers", "dask"])
def where(request):
    """The arguments of a sweep in this process, on processes, on a cluster."""
    if request.param == "dask":
        return ["--dask", request.getfixturevalue("cluster").scheduler_address]
    return {"threads": [], "workers": ["--workers", "2"]}[request.param]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_loses_nothing(tmp_path, whole, where, number):
    process = start(tmp_path, *where)
    wait_for_parts(tmp_path / "kept", 2, process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    stored = parts(tmp_path / "kept")
    assert stored.items() < whole.items()
    told = re.search(r"^lookahead-nb: stopped: (\d+) of (\d+) units are stored in ", err.splitlines()[-1])
    assert [int(count) for count in told.groups()] == [len(stored), len(whole)]
    check_resumed(tmp_path, whole, *where)


def test_a_killed_parent_leaves_no_worker_and_a_good_store(tmp_path, whole):
    process = start(tmp_path, "--workers", "2")
    wait_for_parts(tmp_path / "kept", 2, process)
    children = offspring(process.pid)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    end = time.monotonic() + PATIENCE
    while any(map(lives, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(lives, children))
    assert parts(tmp_path / "kept").items() < whole.items()
    check_resumed(tmp_path, whole, "--workers", "2")


def listens(port):
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_the_commands_of_the_help_start_a_cluster(tmp_path, whole):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--port", str(port), "--no-dashboard"]
    worker = [*dask, "worker", address, "--nworkers", "auto", "--nthreads", "1", "--no-dashboard"]
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(command, **quiet) for command in (scheduler, worker)]
    try:
        end = time.monotonic() + PATIENCE
        while not listens(port) and time.monotonic() < end:
            time.sleep(0.1)
        check_resumed(tmp_path, whole, "--dask", address)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(PATIENCE)
