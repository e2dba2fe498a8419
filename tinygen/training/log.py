"""The numbers of a run over its steps, as lines of JSON; what goes on after a stop is the same file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinygen import atomic
from tinygen.training.results import plain


class Log:
    """A text file with one JSON object per line, which is cut back to where a run goes on.

    file: None writes nothing.

    A line goes to the operating system at once, so that it survives the process; `sync` forces all of them to the disk.
    While the disk is full the lines wait in memory: only `sync` raises OSError.
    """

    def __init__(self, file: Path | None):
        self.file = file
        self._position = 0  # where the next byte belongs
        self._waiting = b""
        self._is_cut = False  # whether what an earlier process wrote beyond the position is gone

    def go_on(self, position: int) -> None:
        """The next line belongs at this position, in bytes; what stands there is forgotten."""
        self._position, self._waiting, self._is_cut = position, b"", False

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line.  NaN and inf, for which JSON has no number, become texts."""
        if self.file is not None:
            self._waiting += json.dumps(plain(line), ensure_ascii=False, allow_nan=False).encode() + b"\n"
            with suppress(OSError):  # then with the next line
                self._flush()

    def sync(self) -> int:
        """Force all lines to the disk; their length in bytes.  Raises OSError when that fails."""
        if self.file is not None:
            self._flush(to_disk=True)
        return self._position

    def _flush(self, to_disk: bool = False) -> None:
        assert self.file is not None
        if not self._is_cut:
            self._cut(self.file)
        if not self._position and not self._waiting:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "ab", buffering=0, opener=_not_through_a_link) as file:
            while self._waiting:  # a disk that fills up takes a part
                written = file.write(self._waiting)
                self._waiting, self._position = self._waiting[written:], self._position + written
            if to_disk:
                os.fsync(file.fileno())

    def _cut(self, file: Path) -> None:
        """What remains is copied to a file of its own: whatever else has the old one, by a link or a hard link, keeps it."""
        kept = _head(file, self._position)
        if kept or os.path.lexists(file):
            atomic.write(file, kept)
        if len(kept) < self._position:
            warnings.warn(f"{file} has lost lines: {len(kept)} bytes, and {self._position} were written", stacklevel=2)
            self._position = len(kept)
        self._is_cut = True


def _head(file: Path, length: int) -> bytes:
    """The first bytes of a file; nothing if there is none, or a link or a pipe in its place."""
    if length == 0 or file.is_symlink() or not file.is_file():
        return b""
    with open(file, "rb") as whole:
        return whole.read(length)


def _not_through_a_link(file: str, flags: int) -> int:
    return os.open(file, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)  # Windows has links, but no such flag
