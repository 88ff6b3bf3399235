"""What one sees of a long sweep: nothing at first, then a line or a bar, and the truth about the rest."""

import io
import threading

import pytest

from lookahead_nb.training.progress import Progress, duration, text


class Stream(io.StringIO):
    """A stream that tells when something was written."""

    def __init__(self, terminal=False):
        super().__init__()
        self.terminal, self.written = terminal, threading.Event()

    def isatty(self):
        return self.terminal

    def write(self, words):
        done = super().write(words)
        self.written.set()
        return done


@pytest.mark.parametrize(
    ("done", "total", "trained", "seconds", "line"),
    [
        (0, 0, 0, 3.0, "loading"),
        (0, 300, 0, 3.0, "0 of 300 runs"),
        (100, 300, 100, 5.0, "100 of 300 runs, 20 runs/s, 10 s left"),
        (4800, 6768, 4800, 1.486, "4,800 of 6,768 runs, 3,230 runs/s, under 1 s left"),
        (250, 300, 50, 5.0, "250 of 300 runs, 10 runs/s, 5 s left"),  # 200 were there before
        (300, 300, 100, 5.0, "300 of 300 runs"),
        (1000, 1_000_000, 1000, 10.0, "1,000 of 1,000,000 runs, 100 runs/s, 2.8 h left"),
    ],
)
def test_the_line_says_how_far_it_is(done, total, trained, seconds, line):
    assert text(done, total, trained, seconds) == line


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "under 1 s"), (1, "1 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_a_duration_has_its_unit(seconds, words):
    assert duration(seconds) == words


def test_nothing_is_shown_of_what_is_short():
    stream = Stream()
    with Progress(stream, patience=3600) as progress:
        progress(0, 10)
        progress(10, 10)
    assert stream.getvalue() == ""
    assert (progress.done, progress.total) == (10, 10)


def test_lines_are_written_where_there_is_no_terminal():
    stream = Stream()
    with Progress(stream, patience=0, between_lines=0.001) as progress:
        progress(4, 10)
        assert stream.written.wait(60)
        progress(10, 10)
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "10 of 10 runs"
    assert set(lines[:-1]) <= {"loading", "4 of 10 runs", "10 of 10 runs"}
    assert "\x1b" not in stream.getvalue()


def test_a_bar_is_drawn_on_a_terminal():
    pytest.importorskip("rich")
    stream = Stream(terminal=True)
    with Progress(stream, patience=0) as progress:
        progress(4, 10)
        assert stream.written.wait(60)
        progress(10, 10)
    assert "10 of 10 runs" in stream.getvalue()
    assert stream.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is back


def test_a_closed_stream_ends_only_the_showing():
    stream = Stream()
    with Progress(stream, patience=0, between_lines=0.001) as progress:
        progress(1, 10)
        assert stream.written.wait(60)
        stream.close()
        progress(10, 10)
    assert progress.done == 10
