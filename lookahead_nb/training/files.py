"""Files that appear complete or not at all, and errors of the system in one sentence."""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import BinaryIO

_UNSUPPORTED = {getattr(errno, name, 0) for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF", "EISDIR")}
_UNSUPPORTED |= {errno.EACCES, errno.EPERM}  # a folder may also be closed to reading, and on Windows each one is


@contextmanager
def appearing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name when the block ends, complete and on the disk.

    Parameters
    ----------
    path : pathlib.Path
        Another file of that name is replaced as a whole.

    Yields
    ------
    binary file
    """
    unfinished = temporary(path)
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync(path.parent)
    finally:
        discard(unfinished)


def temporary(path: pathlib.Path, token: str | None = None) -> pathlib.Path:
    """Return a name for an unfinished file.

    Parameters
    ----------
    path : pathlib.Path
        The name of the finished one.
    token : str, optional
        Default: one that no other process has.

    Returns
    -------
    pathlib.Path
    """
    return path.with_name(f"{path.name}.{token or token_hex(8)}.tmp")


def discard(unfinished: pathlib.Path) -> None:
    """Remove an unfinished file or folder, if it exists and the disk allows it.

    Parameters
    ----------
    unfinished : pathlib.Path
    """
    with suppress(OSError):
        shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()


def sync(folder: pathlib.Path) -> None:
    """Write the names in a folder to the disk, where the system has a way to do so.

    Parameters
    ----------
    folder : pathlib.Path
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


@contextmanager
def explained(problem: str, advice: str = "") -> Iterator[None]:
    """Turn an error of the system inside the block into one sentence.

    Parameters
    ----------
    problem, advice : str
        Its beginning and end.
    """
    try:
        yield
    except OSError as error:
        raise type(error)(f"{problem} ({reason(error)})" + (f": {advice}" if advice else "")) from error


def reason(error: OSError) -> str:
    """Return why the system failed.

    Parameters
    ----------
    error : OSError

    Returns
    -------
    str
    """
    return error.strerror or str(error)
