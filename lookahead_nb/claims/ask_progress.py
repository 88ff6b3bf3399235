"""How ask shows that it works: a bar with the time left, which the time of compiling does not distort."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from numba.core import event

from lookahead_nb.training.progress import PATIENCE, Progress


def silent(done: int, total: int) -> None:
    """Show no progress.

    Parameters
    ----------
    done, total : int
        Runs.
    """


class Display(Progress):
    """Estimates the time left by what was trained since a unit of the arms ended, and since kernels were compiled.

    Parameters
    ----------
    screening_runs : int
        How many runs come before the arms.
    stream, patience
        As of :class:`.Progress`.
    """

    def __init__(self, screening_runs: int, stream: TextIO | None = None, *, patience: float = PATIENCE) -> None:
        super().__init__(stream, patience=patience)
        self._screening_runs, self._timed = screening_runs, False

    def __enter__(self) -> Display:
        super().__enter__()
        self._listening = event.install_listener("numba:compile", _Listener(self))
        self._listening.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.__exit__(None, None, None)
        super().__exit__()

    def __call__(self, done: int, total: int) -> None:
        """Record the progress.

        Parameters
        ----------
        done, total : int
            Runs.
        """
        super().__call__(done, total)
        if not self._timed:
            self._done_at_start, self._start = done, time.monotonic()
            self._timed = done > self._screening_runs

    def compiling(self) -> None:
        """Forget the rate so far: the time of compiling says nothing about it."""
        self._timed = False
        if self._done_at_start is not None:
            self._done_at_start = self.done


class _Listener(event.Listener):  # type: ignore[misc] # Numba ships no annotations
    """Hears of everything that Numba compiles, which does not come from its cache."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._said = sys.stderr.isatty()  # there the compiler says it

    def on_start(self, _: event.Event) -> None:
        if not self._said:
            self._said = True
            sys.stderr.write("compiling (once)\n")
        self._display.compiling()

    def on_end(self, _: event.Event) -> None:
        self._display.compiling()


class Stages:
    """Reports the runs of several sweeps as one.

    Parameters
    ----------
    report : function
        Takes the runs done and the runs in all.
    expected : int
        Runs of all sweeps together, as far as known.
    """

    def __init__(self, report: Callable[[int, int], None], expected: int) -> None:
        self._report, self._expected, self._before, self._done = report, expected, 0, 0

    def next(self) -> Stages:
        """Begin the next sweep.

        Returns
        -------
        Stages
            This one.
        """
        self._before += self._done
        self._done = 0
        return self

    def __call__(self, done: int, total: int) -> None:
        """Record the progress of this sweep.

        Parameters
        ----------
        done, total : int
            Runs.
        """
        self._done = done
        self._report(self._before + done, max(self._expected, self._before + total))
