"""Files that are written whole or not at all, and never through a link.

A file is written beside its place, under a name that nobody else has, and moved there when it is complete.  So a reader never
sees half of it; whatever stops the process, what stood there before still does; and if a link stands there, as one may in a
folder that somebody else has made, the link is replaced and the file that it leads to is left alone.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{16}\.partial(\..*)?")
"""Names of files that are being written: ".run.0123456789abcdef.partial", ".layers.0123456789abcdef.partial.gif"."""


@contextmanager
def replacing(path: str | Path, durable: bool = False, ending: bool = False) -> Iterator[Path]:
    """A new, empty file, to be written in the block; after it the file has the name `path`, whose folder is made.

        with atomic.replacing("runs/vae/loss.png", ending=True) as partial:
            figure.savefig(partial)

    After an exception it is removed, and nothing else has changed.
    durable: force it to the disk before it is moved, so that it survives a power failure, too.
    ending: its name ends as that of `path` does, for programs that choose the format by it.

    Raises OSError when it cannot be written, or when something stands at `path` that is neither a file nor a link.
    """
    path = Path(path)
    check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = fresh(path, path.suffix if ending else "")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # O_EXCL: not through a link, either
    try:
        yield partial
        if durable:
            sync(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write(path: str | Path, content: bytes | str, durable: bool = False) -> Path:
    """Write a whole file, a text as UTF-8; see `replacing`."""
    with replacing(path, durable) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(path)


def check(path: Path) -> None:
    """Raises OSError for what must not be replaced by a file: a folder, a device, a pipe."""
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder stands there; name a file in it", str(path))
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.EINVAL, "a device or a pipe stands there, not a file", str(path))


def fresh(path: Path, ending: str = "") -> Path:
    """A name that nobody has guessed, beside `path`.  (Names have at most 255 bytes.)"""
    return path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}.partial{ending if len(ending) < 16 else ''}")


def sweep(folder: Path, older_than: float = 60.0) -> None:
    """Remove what processes that were killed have left half written, so many seconds ago or earlier."""
    for file in folder.iterdir():
        if _PARTIAL.fullmatch(file.name):
            with suppress(OSError):  # a folder of such a name is not ours
                if time.time() - file.lstat().st_mtime >= older_than:
                    file.unlink()


def sync(path: Path) -> None:
    """Force a file's content to the disk."""
    with open(path, "rb+", buffering=0) as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force the names of the files in it to the disk.  (Windows does so by itself, and cannot open a folder.)"""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
