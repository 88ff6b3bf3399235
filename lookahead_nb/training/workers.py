"""Executors that run the units of a sweep outside this process: worker processes that may die, and Dask clusters.

Both are executors of ``concurrent.futures``, for the argument ``executor`` of a sweep. A unit must be a pure function
of its argument, since a unit whose worker dies runs again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import numba

from lookahead_nb.checks import real_number, whole_number
from lookahead_nb.provenance import versions

WORKER_SECONDS = 10  # without a worker on a cluster, after which a warning says what is missing
SAME_BITS = ("lookahead-nb", "numba", "llvmlite", "numpy", "scipy")  # packages that must not differ among workers

_spawn = multiprocessing.get_context("spawn")  # a forked child would inherit the threads of Numba half-way


class LostWorkerError(BrokenExecutor):
    """The worker process of a unit died every time the unit ran, or workers cannot start."""


class WorkerPool(Executor):
    """An executor on worker processes that continues when one of them is killed.

    Each worker runs one unit at a time, so a death identifies its unit. That unit runs again on a new worker, at most
    ``retries`` times. After that its future alone fails, with a LostWorkerError that names its argument. An exception
    of a unit becomes that of its future. Workers compute with one thread each, ignore Ctrl-C, and end when this process
    ends for any reason.

    Parameters
    ----------
    n : int
        The number of processes, at least 1.
    retries : int
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.

    Notes
    -----
    Submitted functions and arguments must be picklable. A script that makes a pool needs
    ``if __name__ == "__main__":``.
    """

    def __init__(self, n: int, *, retries: int = 3) -> None:
        self._n, self._retries = whole_number("n", n, 1), whole_number("retries", retries, 0)
        self._calls: deque[tuple] = deque()
        self._workers: list[_Worker] = []
        self._idle, self._closed, self._stopped = 0, False, False
        self._broken: str | None = None
        self._change = threading.Condition()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Schedule ``fn(*args, **kwargs)`` on a worker and return its future.

        Parameters
        ----------
        fn : function
            A pure function of its arguments, picklable.
        *args, **kwargs
            Its arguments, picklable.

        Returns
        -------
        concurrent.futures.Future

        Raises
        ------
        RuntimeError
            After :meth:`shutdown`.
        LostWorkerError
            If workers cannot start.
        """
        future: Future = Future()
        with self._change:
            if self._broken:
                raise LostWorkerError(self._broken)
            if self._closed:
                raise RuntimeError("a WorkerPool accepts no unit after its shutdown; make a new pool")
            self._calls.append((future, fn, args, kwargs))
            if len(self._calls) > self._idle and len(self._workers) < self._n:
                self._workers.append(_Worker(self))
                self._workers[-1].start()
            self._change.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more units, and end the workers once all units are finished.

        Parameters
        ----------
        wait : bool
            True returns only after all workers have ended.
        cancel_futures : bool
            True ends the workers at once: waiting and running units are cancelled.
        """
        with self._change:
            self._closed = True
            dropped = deque[tuple]()
            if cancel_futures:
                self._stopped = True
                dropped, self._calls = self._calls, dropped
                for worker in self._workers:
                    worker.kill()
            self._change.notify_all()
        for future, *_ in dropped:
            future.cancel()
            future.set_running_or_notify_cancel()  # wakes up the threads that wait for it
        for worker in self._workers if wait else ():
            worker.join()

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        self.shutdown(cancel_futures=exception is not None)

    def _next(self) -> tuple | None:
        """Return the next call, or None when there will be no more."""
        with self._change:
            self._idle += 1
            self._change.wait_for(lambda: self._calls or self._closed)
            self._idle -= 1
            return self._calls.popleft() if self._calls else None

    def _check(self) -> None:
        if self._broken:
            raise LostWorkerError(self._broken)
        if self._stopped:
            raise CancelledError

    def _break(self, cause: str) -> None:
        """Fail all waiting calls, since no worker can start."""
        advice = 'its own message is above; a script that starts workers needs `if __name__ == "__main__":`'
        with self._change:
            self._broken = f"worker processes cannot start: one ended with {cause} before it was ready ({advice})"
            failed, self._calls = self._calls, deque[tuple]()
        for future, *_ in failed:
            if future.set_running_or_notify_cancel():
                future.set_exception(LostWorkerError(self._broken))


class _Worker(threading.Thread):
    """Sends the units of a pool to one worker process, and to a new one when that dies."""

    def __init__(self, pool: WorkerPool) -> None:
        super().__init__(daemon=True)
        self.pool = pool
        self.process: Any = None
        self.connection: Any = None

    def run(self) -> None:
        """Serve calls until the pool has no more."""
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # starting it would unblock the signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits this
        while call := self.pool._next():
            self.serve(*call)
            del call  # so that a waiting thread keeps no arguments in memory
        self.end()

    def serve(self, future: Future, fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
        """Run one call, unless it was cancelled, and set the outcome of its future."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            message = pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)
            done, value = pickle.loads(self.answer(message, fn, args))
        except Exception as error:
            done, value = False, error
        (future.set_result if done else future.set_exception)(value)

    def answer(self, message: bytes, fn: Callable[..., Any], args: tuple) -> bytes:
        """Return the answer of the first worker that survives the unit."""
        retries = self.pool._retries
        for _ in range(retries + 1):
            if self.process is None:
                self.begin()
            try:
                self.connection.send_bytes(message)
                return self.connection.recv_bytes()
            except (EOFError, OSError):
                cause = self.end()
                self.pool._check()
        unit = str(args[0])[:80] if args else fn.__qualname__
        times = f"{retries + 1} times" if retries else "once"
        raise LostWorkerError(f"{unit} is given up: its worker process died {times}, the last time by {cause}")

    def begin(self) -> None:
        """Start a worker and wait until it is ready."""
        for _ in range(self.pool._retries + 1):
            with self.pool._change:  # so that a shutdown finds either no process or one to kill
                self.pool._check()
                self.connection, theirs = _spawn.Pipe()
                process = _spawn.Process(target=_work, args=(theirs,), name="lookahead_nb worker", daemon=True)
                process.start()
                self.process = process
            theirs.close()  # so that the end of the process is the end of the pipe
            try:
                self.connection.recv_bytes()
                return
            except (EOFError, OSError):
                cause = self.end()
                self.pool._check()
                if not cause.startswith("signal"):  # a killed process may start the next time, a failed one will not
                    break
        self.pool._break(cause)
        self.pool._check()

    def end(self) -> str:
        """End the process, if there is one, and return in words how it ended."""
        if self.process is None:
            return "no process"
        self.connection.close()
        self.process.join(1)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process = None
        return f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if process := self.process:
            process.kill()


def _work(connection: Any) -> None:
    """Answer calls until the pipe is closed; the first message says that the worker is ready."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    numba.set_num_threads(1)
    connection.send_bytes(b"")
    while True:
        try:
            call = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            fn, args, kwargs = pickle.loads(call)
            answer = pickle.dumps((True, fn(*args, **kwargs)), pickle.HIGHEST_PROTOCOL)
        except BaseException as error:
            error.add_note("in a worker process:\n" + "".join(traceback.format_tb(error.__traceback__)))
            answer = _failure(error)
        connection.send_bytes(answer)


def _failure(error: BaseException) -> bytes:
    """Return an error as an answer, or its text where the error cannot be pickled."""
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)  # some exceptions can be pickled but not restored
        return answer
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def dask_executor(address: str, *, timeout: float = 5) -> Iterator[Executor]:
    """Yield an executor on the Dask cluster at an address, inside a ``with`` block.

    Parameters
    ----------
    address : str
        The address of the scheduler, such as "tcp://host:8786".
    timeout : float
        Seconds to wait for the scheduler, above 0.

    Yields
    ------
    concurrent.futures.Executor

    Raises
    ------
    TypeError
        If timeout is not a number.
    ValueError
        If address is not an address, timeout is out of range, or a worker has other versions of the packages.
    ModuleNotFoundError
        Without the extra ``cluster``.
    OSError
        If no scheduler answers.

    Notes
    -----
    Dask itself repeats a unit whose worker died. Without a worker this waits for one, and a warning says so after ten
    seconds. The workers need the same versions of the packages in ``SAME_BITS``, and one thread each. Start
    ``dask scheduler --port 8786``, and on every machine ``dask worker ADDRESS --nworkers auto --nthreads 1``.
    """
    real_number("timeout", timeout, 0, open_low=True)
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ModuleNotFoundError as error:
        advice = 'install the extra cluster, as in: pip install ".[cluster]" in a checkout'
        raise ModuleNotFoundError(f"a Dask cluster needs distributed: {advice}", name=error.name) from error
    try:
        place = get_address_host_port(address if "://" in address else f"tcp://{address}", strict=True)
    except (TypeError, ValueError):
        raise ValueError(
            f'address must be that of a Dask scheduler, such as "tcp://host:8786", got {address!r}'
        ) from None
    try:
        socket.create_connection(place, timeout).close()  # Client would retry until its timeout
        client = Client(address, timeout=timeout)
    except Exception as error:  # another program may listen there and answer anything
        raise OSError(f"no Dask scheduler answers at {address}: {error}") from error
    try:
        _wait_for_worker(client, address)
        answers: Any = client.get_versions(packages=SAME_BITS)
        for worker, answer in answers["workers"].items():
            check_versions(f"the Dask worker {worker}", answer["packages"])
        yield client.get_executor(pure=False)
    finally:
        client.close()


def _wait_for_worker(client: Any, address: str) -> None:
    """Wait until a cluster has a worker; warn after WORKER_SECONDS."""
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        command = f"dask worker {address} --nworkers auto --nthreads 1"
        message = f"the Dask scheduler at {address} has no workers; the sweep waits for one: start it with {command!r}"
        warnings.warn(message, stacklevel=5)
        client.wait_for_workers(1)


def check_versions(worker: str, found: dict[str, Any]) -> None:
    """Refuse the results of a worker whose packages could give other bits.

    Parameters
    ----------
    worker : str
        Its name, for the message.
    found : dict
        The versions of its packages by name.

    Raises
    ------
    ValueError
        If a package of ``SAME_BITS`` has another version than here.
    """
    here = versions()
    for package in SAME_BITS:
        there = found.get(package) or "not installed"
        if there != here[package]:
            both = f"{package} {there}, but here it is {here[package]}"
            raise ValueError(f"{worker} has {both}: install the same version on both, or the rows could differ")


def check_sendable(name: str, function: Any) -> None:
    """Refuse a function that worker processes cannot import.

    Parameters
    ----------
    name : str
        The name of the argument, for the message.
    function : function

    Raises
    ------
    TypeError
        If it cannot be pickled, or was defined in a notebook or at a prompt.
    """
    try:
        pickle.dumps(function)
        module = getattr(function, "func", function).__module__  # that of a partial's function
        is_lost = module == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    except Exception:  # whatever it holds may refuse
        is_lost = True
    if is_lost:
        advice = 'write functools.partial(lnb.datasets.load, "digits"), or a function at the top of a module'
        raise TypeError(f"{name} must be a function that worker processes can import, got {function!r}: {advice}")
