"""Files that somebody else named: opened only if they are files.

A path may lead to a pipe, on which one waits for ever, to a device that never ends, or to a folder.  `open` of such a name waits
before anything can be asked; so it is opened without waiting, and looked at before it is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFile(OSError, ValueError):
    """What is at a path is there, but it is a folder, a pipe or a device."""


@contextmanager
def open_regular(path: str | Path, where: str = "open") -> Iterator[tuple[BinaryIO, int]]:
    """A file that is open for reading bytes, and its size in bytes, which is what the file system says of this very file.

    path: its name; where: the beginning of the error's message, which names the function.

    Raises FileNotFoundError if there is none, PermissionError if it may not be read, NotAFile (an OSError and a ValueError) for a
    folder, a pipe, a socket or a device, at once.
    """
    # A socket, or a pipe in a folder of somebody else's, cannot even be opened; what it is can be told all the same.
    if (kind := _other(os.stat(path).st_mode)) is not None:
        raise NotAFile(f"{where}: {path}: {kind}, not a file with data; name a file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
    with os.fdopen(os.open(path, flags), "rb") as stream:
        found = os.fstat(stream.fileno())  # of what was opened: the name may lead elsewhere by now
        if (kind := _other(found.st_mode)) is not None:
            raise NotAFile(f"{where}: {path}: {kind}, not a file with data; name a file")
        yield stream, found.st_size


def _other(mode: int) -> str | None:
    """What it is if it is not a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((kind for test, kind in _KINDS if test(mode)), "something else")
