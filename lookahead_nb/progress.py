"""How far a sweep is: a bar on a terminal where rich is installed, and else a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress

PATIENCE = 2.0  # seconds before anything is shown
BETWEEN_LINES = 5.0
BETWEEN_FRAMES = 0.2


class Progress:
    """Shows, from two seconds after its ``with`` block began, how far a sweep is; called with (runs done, runs in all).

    done, total : int, what it was last called with, 0 before. Rate and time left are those of the runs trained inside
    the block, not of those that were stored before. stream : what to write to, default stderr; patience,
    between_lines : float, seconds. Closing the stream ends the showing, and nothing else.
    """

    def __init__(self, stream=None, *, patience=PATIENCE, between_lines=BETWEEN_LINES):
        self._stream = stream or sys.stderr
        self._patience, self._between_lines = patience, between_lines
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.done, self.total = 0, 0
        self._found: int | None = None

    def __call__(self, done, total):
        """Take down how far it is. done, total : int, runs."""
        if self._found is None:
            self._found, self._start = done, time.monotonic()
        self.done, self.total = done, total

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        if self._ended.wait(self._patience):
            return
        with suppress(OSError, ValueError), _display(self._stream) as (show, between):
            while True:
                ended = self._ended.wait(0)
                seconds = time.monotonic() - self._start if self._found is not None else 0.0
                show(self.done, self.total, text(self.done, self.total, self.done - (self._found or 0), seconds))
                if ended:
                    return
                self._ended.wait(between or self._between_lines)


def text(done, total, trained, seconds):
    """Return the line that says how far a sweep is.

    done, total : int, runs; trained : int, those of the last so many seconds; seconds : float.
    """
    if not total:
        return "loading"
    line = f"{done:,} of {total:,} runs"
    if trained and done < total:
        rate = trained / seconds
        line += f", {rate:.3g} runs/s, {duration((total - done) / rate)} left"
    return line


def duration(seconds):
    """Return a time in words, to the precision that one cares about. seconds : float, at least 0."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _display(stream):
    """Return a context manager that gives a function of (done, total, text), and how often to call it."""
    if stream.isatty():
        with suppress(ModuleNotFoundError):
            return _bar(stream)
    return nullcontext((lambda _done, _total, line: (stream.write(line + "\n"), stream.flush()), None))


def _bar(stream):
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bars

    @contextmanager
    def showing():
        columns = BarColumn(), TaskProgressColumn(), TextColumn("{task.description}")
        bars = Bars(
            *columns, console=Console(file=stream), auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        with bars:
            bar = bars.add_task("", total=None)
            yield (
                lambda done, total, line: bars.update(
                    bar, completed=done, total=total or None, description=line, refresh=True
                ),
                BETWEEN_FRAMES,
            )

    return showing()
