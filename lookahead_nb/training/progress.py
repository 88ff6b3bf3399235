"""The progress of a sweep: a bar on a terminal if rich is installed, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TextIO

PATIENCE = 2.0  # seconds before anything is shown
BETWEEN_LINES = 5.0
BETWEEN_FRAMES = 0.2


class Progress:
    """A display of the progress of a sweep, from two seconds after its ``with`` block began.

    Call it with (runs done, runs in all). Rate and time left count the runs trained inside the block, not those that
    were stored earlier. Closing the stream ends the display and nothing else.

    Parameters
    ----------
    stream : text stream, optional
        Default stderr.
    patience : float
        Seconds until anything is shown.
    between_lines : float
        Seconds between two lines.

    Attributes
    ----------
    done, total : int
        The arguments of the last call, 0 before it.

    Examples
    --------
    >>> from lookahead_nb.training.progress import Progress
    >>> with Progress() as progress:
    ...     progress(10, 10)
    >>> progress.done, progress.total
    (10, 10)
    """

    def __init__(
        self, stream: TextIO | None = None, *, patience: float = PATIENCE, between_lines: float = BETWEEN_LINES
    ) -> None:
        self._stream = stream or sys.stderr
        self._patience, self._between_lines = patience, between_lines
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.done, self.total = 0, 0
        self._done_at_start: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Record the progress.

        Parameters
        ----------
        done, total : int
            Runs finished, and runs in all.
        """
        if self._done_at_start is None:
            self._done_at_start, self._start = done, time.monotonic()
        self.done, self.total = done, total

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        if self._ended.wait(self._patience):
            return
        with suppress(OSError, ValueError), _display(self._stream) as (show, between):
            while True:
                ended = self._ended.wait(0)
                seconds = time.monotonic() - self._start if self._done_at_start is not None else 0.0
                trained = self.done - (self._done_at_start or 0)
                show(self.done, self.total, text(self.done, self.total, trained, seconds))
                if ended:
                    return
                self._ended.wait(between or self._between_lines)


def text(done: int, total: int, trained: int, seconds: float) -> str:
    """Return the line that shows the progress of a sweep.

    Parameters
    ----------
    done, total : int
        Runs finished, and runs in all.
    trained : int
        Runs trained in the last ``seconds`` seconds.
    seconds : float

    Returns
    -------
    str

    Examples
    --------
    >>> from lookahead_nb.training.progress import text
    >>> text(40, 100, 30, 15.0)
    '40 of 100 runs, 2 runs/s, 30 s left'
    """
    if not total:
        return "loading"
    line = f"{done:,} of {total:,} runs"
    if trained and done < total:
        rate = trained / seconds
        rate_text = f"{float(f'{rate:.3g}'):,g}"
        line += f", {rate_text} runs/s, {duration((total - done) / rate)} left"
    return line


def duration(seconds: float) -> str:
    """Return a time in words, in seconds, minutes or hours.

    Parameters
    ----------
    seconds : float
        At least 0.

    Returns
    -------
    str

    Examples
    --------
    >>> from lookahead_nb.training.progress import duration
    >>> duration(300.0)
    '5 min'
    """
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _display(stream: TextIO) -> AbstractContextManager[tuple[Callable[[int, int, str], Any], float | None]]:
    """Return a context of a function of (done, total, text) and the seconds between two calls of it, or None."""
    if stream.isatty():
        with suppress(ModuleNotFoundError):
            return _bar(stream)
    return nullcontext((lambda _done, _total, line: (stream.write(line + "\n"), stream.flush()), None))


def _bar(stream: TextIO) -> AbstractContextManager[tuple[Callable[[int, int, str], Any], float | None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bars

    @contextmanager
    def showing() -> Iterator[tuple[Callable[[int, int, str], Any], float]]:
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
