"""Where the units of a sweep run beside this process: worker processes that may die, and Dask clusters.

Both are executors of ``concurrent.futures``, for the argument ``executor`` of a sweep. A unit has to be a pure function
of its argument, since one whose worker dies is run again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import threading
import traceback
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import numba

from lookahead_nb.checks import real_number, whole_number

_spawn = multiprocessing.get_context("spawn")  # a forked child would inherit the threads of Numba half-way


class LostWorkerError(BrokenExecutor):
    """A unit whose worker process died every time it was run, or workers that cannot start."""


class WorkerPool(Executor):
    """An executor on worker processes that goes on when one of them is killed.

    Each worker has one unit at a time, so that a death has one suspect: that unit is run again on a new worker, at most
    ``retries`` times, and then its future alone fails, with a LostWorkerError that names its argument.
    An exception of a unit passes through to its future. Workers compute with one thread each, do not hear Ctrl-C, and
    end when this process ends, however it ends.

    n : int, at least 1, number of processes; retries : int, at least 0. A script that makes one needs
    ``if __name__ == "__main__":``. errors : TypeError, ValueError; what is submitted has to be picklable.
    """

    def __init__(self, n, *, retries=3):
        self._n, self._retries = whole_number("n", n, 1), whole_number("retries", retries, 0)
        self._calls: deque[tuple] = deque()
        self._lanes: list[_Lane] = []
        self._idle, self._closed, self._stopped = 0, False, False
        self._broken: str | None = None
        self._change = threading.Condition()

    def submit(self, fn, /, *args, **kwargs):
        """Schedule ``fn(*args, **kwargs)`` on a worker and return its future.

        fn, args, kwargs : picklable, fn a pure function of the others. errors : RuntimeError after shutdown;
        LostWorkerError where workers cannot start.
        """
        future: Future = Future()
        with self._change:
            if self._broken:
                raise LostWorkerError(self._broken)
            if self._closed:
                raise RuntimeError("a WorkerPool takes no unit after its shutdown")
            self._calls.append((future, fn, args, kwargs))
            if len(self._calls) > self._idle and len(self._lanes) < self._n:
                self._lanes.append(_Lane(self))
                self._lanes[-1].start()
            self._change.notify()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Take no more units, and end the workers once all is done.

        cancel_futures : True ends them at once: units that wait or run are cancelled. wait : until all have ended.
        """
        with self._change:
            self._closed = True
            dropped = deque[tuple]()
            if cancel_futures:
                self._stopped = True
                dropped, self._calls = self._calls, dropped
                for lane in self._lanes:
                    lane.kill()
            self._change.notify_all()
        for future, *_ in dropped:
            future.cancel()
            future.set_running_or_notify_cancel()  # wakes up who waits for it
        for lane in self._lanes if wait else ():
            lane.join()

    def __exit__(self, exception, *_):
        self.shutdown(cancel_futures=exception is not None)

    def _next(self):
        """Return the next call, or None when there will be no more."""
        with self._change:
            self._idle += 1
            self._change.wait_for(lambda: self._calls or self._closed)
            self._idle -= 1
            return self._calls.popleft() if self._calls else None

    def _check(self):
        if self._broken:
            raise LostWorkerError(self._broken)
        if self._stopped:
            raise CancelledError

    def _break(self, cause):
        """Fail all that waits, since no worker can start."""
        advice = 'its own message is above; a script that starts workers needs `if __name__ == "__main__":`'
        with self._change:
            self._broken = f"worker processes cannot start: one ended with {cause} before it was ready ({advice})"
            failed, self._calls = self._calls, deque()
        for future, *_ in failed:
            if future.set_running_or_notify_cancel():
                future.set_exception(LostWorkerError(self._broken))


class _Lane(threading.Thread):
    """Hands the units of a pool to one worker process, and to the next one where that dies."""

    def __init__(self, pool):
        super().__init__(daemon=True)
        self.pool = pool
        self.process: Any = None
        self.connection: Any = None

    def run(self):
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # starting it would unblock the signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a worker inherits this: deaf from birth
        while call := self.pool._next():
            self.serve(*call)
            del call  # a lane that waits holds on to nothing
        self.end()

    def serve(self, future, fn, args, kwargs):
        """Run one call, unless it was cancelled, and settle its future."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            message = pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)
            done, value = pickle.loads(self.answer(message, fn, args))
        except Exception as error:
            done, value = False, error
        (future.set_result if done else future.set_exception)(value)

    def answer(self, message, fn, args):
        """Return what the first worker says that lives through the unit."""
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
        what = str(args[0])[:80] if args else fn.__qualname__
        times = f"{retries + 1} times" if retries else "once"
        raise LostWorkerError(f"{what} is given up: its worker process died {times}, the last time by {cause}")

    def begin(self):
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
                if not cause.startswith("signal"):  # being killed is bad luck, but what fails by itself fails again
                    break
        self.pool._break(cause)
        self.pool._check()

    def end(self):
        """End the worker, whether it is dead, idle or not there, and return in words how it ended."""
        if self.process is None:
            return None
        self.connection.close()
        self.process.join(1)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process = None
        return f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"

    def kill(self):
        if process := self.process:
            process.kill()


def _work(connection):
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


def _failure(error):
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)  # some exceptions go into a pickle, but not out of it
        return answer
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent():
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def dask_executor(address, *, timeout=5):
    """Give an executor on the Dask cluster at an address, inside a ``with`` block.

    Dask itself runs a unit again whose worker died. Its workers need this package in the same version, and one thread:
    ``dask scheduler --port 8786`` and, wherever there are cores, ``dask worker ADDRESS --nworkers auto --nthreads 1``.

    address : str, of the scheduler, as "tcp://host:8786"; timeout : float, seconds to wait for it. errors :
    ModuleNotFoundError without the extra ``cluster``; ValueError for what is no address; OSError where none answers.
    """
    real_number("timeout", timeout, 0, open_low=True)
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ModuleNotFoundError as error:
        advice = 'install the extra cluster, as in: pip install "lookahead-nb[cluster]"'
        raise ModuleNotFoundError(f"a Dask cluster needs distributed: {advice}", name=error.name) from error
    try:
        place = get_address_host_port(address if "://" in address else f"tcp://{address}", strict=True)
    except (TypeError, ValueError):
        raise ValueError(f'address must be that of a Dask scheduler, as "tcp://host:8786", not {address!r}') from None
    try:
        socket.create_connection(place, timeout).close()  # Client would try on for all of its time
        client = Client(address, timeout=timeout)
    except Exception as error:  # what answers there may be anything, and be misunderstood in any way
        raise OSError(f"no Dask scheduler answers at {address}: {error}") from error
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()
