"""Worker processes: results arrive, once each, whatever happens to a worker; nothing hangs, nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import types
from concurrent.futures import CancelledError, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from functools import partial
from pathlib import Path

import numba
import pytest

import lookahead_nb as lnb
from lookahead_nb.provenance import versions
from lookahead_nb.training.store import Store, maker
from lookahead_nb.training.workers import (
    LostWorkerError,
    WorkerPool,
    check_sendable,
    check_versions,
    dask_executor,
)

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60  # seconds after which a test counts as hanging; nothing here comes near


SMALL = lnb.landscapes.Quadratic([1.0]), None, [lnb.SGD(0.5)]


class Unit:
    """A unit that kills its worker as long as there are marks left in a folder."""

    def __init__(self, name, folder=None):
        self.name, self.folder = name, folder

    def __str__(self):
        return f"unit {self.name}"


def square(x):
    return x * x


def run_unit(unit):
    for mark in unit.folder.iterdir() if unit.folder else ():
        mark.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return unit.name


def die(unit):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(x):
    raise FloatingPointError(f"no {x}")


class Awkward(Exception):  # noqa: N818
    """Goes into a pickle and not out of it."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def refuse_awkwardly():
    raise Awkward("one", "two")


def surroundings():
    return os.getpid(), numba.get_num_threads()


def sleep(seconds):
    time.sleep(seconds)


def lives(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(2, retries=2) as pool:
        yield pool


def outcomes(futures):
    return [future.result(PATIENCE) for future in futures]


def test_results_arrive(pool):
    futures = {pool.submit(square, x): x for x in range(40)}
    assert {futures[future]: future.result() for future in as_completed(futures, PATIENCE)} == {
        x: x * x for x in range(40)
    }


def test_an_exception_of_a_unit_passes_through(pool):
    good, bad = pool.submit(square, 3), pool.submit(refuse, "way")
    with pytest.raises(FloatingPointError) as caught:
        bad.result(PATIENCE)
    assert str(caught.value) == "no way"
    assert "in refuse" in caught.value.__notes__[0]
    assert good.result(PATIENCE) == 9


def test_an_exception_that_cannot_be_pickled_is_reported(pool):
    with pytest.raises(RuntimeError, match="Awkward: one two"):
        pool.submit(refuse_awkwardly).result(PATIENCE)


def test_what_cannot_be_pickled_fails_alone(pool):
    bad, good = pool.submit(lambda: 1), pool.submit(square, 4)
    with pytest.raises(Exception, match="lambda"):
        bad.result(PATIENCE)
    assert good.result(PATIENCE) == 16


def test_workers_have_one_thread(pool):
    pids, threads = zip(*outcomes([pool.submit(surroundings) for _ in range(8)]), strict=True)
    assert os.getpid() not in pids
    assert set(threads) == {1}


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_workers_do_not_hear_ctrl_c(pool):
    for pid in {found[0] for found in outcomes([pool.submit(surroundings) for _ in range(8)])}:
        os.kill(pid, signal.SIGINT)
    assert outcomes([pool.submit(square, x) for x in range(8)]) == [x * x for x in range(8)]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_unit_whose_worker_is_killed_arrives_once(pool, tmp_path):
    (tmp_path / "mark").touch()
    futures = [pool.submit(run_unit, Unit(f"u{i}", tmp_path if i == 3 else None)) for i in range(12)]
    assert sorted(future.result() for future in as_completed(futures, PATIENCE)) == sorted(f"u{i}" for i in range(12))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_unit_that_keeps_dying_is_named_and_alone(pool):
    futures = [pool.submit(die if i == 3 else run_unit, Unit(f"u{i}")) for i in range(12)]
    with pytest.raises(LostWorkerError, match=r"^unit u3 is given up: .* 3 times, the last time by signal SIGKILL$"):
        futures.pop(3).result(PATIENCE)
    assert outcomes(futures) == [f"u{i}" for i in range(12) if i != 3]


def test_a_cancelled_unit_is_never_run(pool, tmp_path):
    busy = [pool.submit(sleep, 0.3) for _ in range(2)]
    late = pool.submit(run_unit, Unit("late"))
    assert late.cancel()
    outcomes(busy)
    with pytest.raises(CancelledError):
        late.result(PATIENCE)


def test_it_takes_units_from_many_threads(pool):
    found = []

    def ask(start):
        found.extend(outcomes([pool.submit(square, x) for x in range(start, start + 10)]))

    threads = [threading.Thread(target=ask, args=(10 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(found) == [x * x for x in range(40)]


def test_shutdown_ends_units_in_the_middle():
    pool = WorkerPool(1)
    pid = pool.submit(surroundings).result(PATIENCE)[0]
    futures = [pool.submit(sleep, 10 * PATIENCE), pool.submit(square, 2)]
    while not futures[0].running():
        time.sleep(0.01)
    pool.shutdown(cancel_futures=True)
    assert wait(futures, PATIENCE).not_done == set()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(0)
    assert not lives(pid)
    with pytest.raises(RuntimeError, match="no unit after its shutdown"):
        pool.submit(square, 2)


def script(tmp_path, text):
    path = tmp_path / "own_script.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a list of processes")
def test_workers_end_with_their_parent(tmp_path):
    parent = script(
        tmp_path,
        """
        import os, time
        from lookahead_nb.training.workers import WorkerPool

        def pid_then_sleep(path):
            path.write_text(str(os.getpid()))
            path.rename(path.with_suffix(".pid"))
            time.sleep(1000)

        if __name__ == "__main__":
            from pathlib import Path
            WorkerPool(1).submit(pid_then_sleep, Path(__file__).parent / "worker").result()
        """,
    )
    told = tmp_path / "worker.pid"
    end = time.monotonic() + PATIENCE
    while not told.exists() and time.monotonic() < end:
        time.sleep(0.05)
    pid = int(told.read_text())
    assert lives(pid)
    parent.kill()
    parent.communicate()
    while lives(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not lives(pid)


def test_workers_that_cannot_start_are_told_once(tmp_path):
    parent = script(
        tmp_path,
        """
        import sys
        from lookahead_nb.training.workers import LostWorkerError, WorkerPool

        if __name__ != "__main__":
            sys.exit("no import of me")
        with WorkerPool(2) as pool:
            for future in [pool.submit(abs, -1) for _ in range(5)]:
                print(future.exception(60))
            try:
                pool.submit(abs, 1)
            except LostWorkerError as error:
                print(error)
        """,
    )
    said, errors = parent.communicate(timeout=PATIENCE)
    lines = said.splitlines()
    assert len(lines) == 6
    assert len(set(lines)) == 1
    assert lines[0].startswith("worker processes cannot start: one ended with exit code 1 before it was ready")
    assert errors.replace("no import of me", "").strip() == ""  # both may speak at once


@pytest.mark.parametrize(("argument", "error"), [({"n": 0}, ValueError), ({"n": 2.0}, TypeError)])
def test_bad_numbers_of_workers_are_refused(argument, error):
    with pytest.raises(error, match="n must be a whole number of at least 1"):
        WorkerPool(**argument)


LAMBDA = lambda seed: lnb.datasets.load("digits", split_seed=seed)  # noqa: E731 (as users write it)


@pytest.mark.parametrize("kind", [WorkerPool, ProcessPoolExecutor])
@pytest.mark.parametrize("data", [LAMBDA, partial(LAMBDA)], ids=["lambda", "partial"])
def test_data_that_cannot_be_sent_is_refused_before_anything_is_made(kind, data, tmp_path):
    said = r"^data must be a function that worker processes can import, got .*lambda.*: write functools\.partial\(lnb"
    with kind(1) as executor, pytest.raises(TypeError, match=said):
        lnb.sweep(lnb.MLP((64, 10)), data, [lnb.SGD()], seeds=2, store=tmp_path / "store", executor=executor)
    assert not (tmp_path / "store").exists()


def test_data_of_a_task_that_cannot_be_sent_names_the_task():
    tasks = [lnb.Task("small", lnb.MLP((64, 10)), LAMBDA, steps=2)]
    with WorkerPool(1) as pool, pytest.raises(TypeError, match=r"^data of task 'small' must be a function that worker"):
        lnb.sweep(tasks, None, [lnb.SGD()], seeds=1, executor=pool)


def test_a_function_of_a_notebook_cannot_be_sent(monkeypatch):
    def load(seed):
        return seed

    check_sendable("data", partial(lnb.datasets.load, "digits"))
    monkeypatch.setattr(load, "__module__", "__main__")
    monkeypatch.setattr(load, "__qualname__", "load")
    notebook = types.ModuleType("__main__")
    notebook.load = load
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    with pytest.raises(TypeError, match="worker processes can import"):
        check_sendable("data", load)
    notebook.__file__ = "script.py"
    check_sendable("data", load)


@pytest.mark.parametrize("package", ["numba", "lookahead-nb"])
def test_a_worker_with_other_versions_is_refused_with_both(package):
    check_versions("the worker", versions())
    for found, there in ((versions() | {package: "0.1"}, "0.1"), ({**versions(), package: None}, "not installed")):
        with pytest.raises(
            ValueError, match=f"^the worker has {package} {there}, but here it is {versions()[package]}: "
        ):
            check_versions("the worker", found)


class Elsewhere(ThreadPoolExecutor):
    """Trains as another machine would."""

    def __init__(self, **changes):
        super().__init__(1)
        self.changes = changes

    def submit(self, fn, *args):
        def there():
            result, machine = fn(*args)
            return result, machine | self.changes

        return super().submit(there)


def test_a_part_records_the_machine_that_trained_it(tmp_path):
    with Elsewhere(cpu="another") as executor:
        lnb.sweep(*SMALL, seeds=1, steps=2, store=tmp_path, executor=executor)
    shown = Store.open(tmp_path).show()
    assert shown["written by.1.cpu"] == "another"
    assert shown["made by.cpu"] == maker()["cpu"]


def test_a_worker_that_joins_with_other_versions_adds_no_row(tmp_path):
    with (
        Elsewhere(versions=versions() | {"numba": "0.1"}) as executor,
        pytest.raises(ValueError, match=r"numba 0\.1, but"),
    ):
        lnb.sweep(*SMALL, seeds=1, steps=2, store=tmp_path, executor=executor)
    assert Store.open(tmp_path).done() == set()


@pytest.mark.parametrize("address", ["nowhere", "", "http://127.0.0.1:1", "tcp://127.0.0.1", None, 8786])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="address must be that of a Dask scheduler"), dask_executor(address):
        pass


def test_an_address_without_a_scheduler_is_reported():
    pytest.importorskip("distributed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"no Dask scheduler answers at {address}"), dask_executor(address):
            pass


def test_something_else_at_an_address_is_reported():
    pytest.importorskip("distributed")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for _ in range(2):
                caller, _ = server.accept()
                caller.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                caller.close()

        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match=f"no Dask scheduler answers at {address}"), dask_executor(address, timeout=2):
            pass


def test_without_the_extra_dask_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"pip install \"\.\[cluster\]\" in a checkout"),
        dask_executor("tcp://127.0.0.1:1"),
    ):
        pass
