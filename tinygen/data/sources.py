"""Where the files of a data set are: the folder TINYGEN_DATA, then the cache, then the public source."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tinygen.data.files import DataError


@dataclass(frozen=True)
class Source:
    """One public file: its place below TINYGEN_DATA and below the cache, its checksum, and where to download it."""

    path: str
    """Such as "mnist/train-images-idx3-ubyte.gz"."""
    checksum: str
    """Such as "sha256:ad69...": what the file's bytes must hash to, wherever it was found."""
    url: str
    """By https."""


def cache_folder() -> Path:
    """Where downloads are kept: ~/.cache/tinygen, or tinygen below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygen"


def local(path: str) -> Path | None:
    """The file at `path` below the folder TINYGEN_DATA, or None when there is no such folder or file."""
    root = os.environ.get("TINYGEN_DATA")
    file = Path(root, path) if root else None
    return file if file is not None and file.is_file() else None


def find(source: Source) -> Path:
    """The file on this machine, downloaded into the cache if need be, its checksum verified.

    Raises DataError when the file in TINYGEN_DATA is not the published one, FileNotFoundError (naming all that was
    tried, and what to do) when there is none and it cannot be downloaded.
    """
    if file := local(source.path):
        if (found := _checksum(file, source.checksum)) != source.checksum:
            raise DataError(
                f"{file}: this is not the published file: expected {source.checksum}, found {found}\n"
                f"    replace it by {source.url}, or unset TINYGEN_DATA to let tinygen download it"
            )
        return file
    cached = cache_folder() / source.path
    if cached.is_file() and _checksum(cached, source.checksum) == source.checksum:
        return cached
    try:
        return _download(source, cached)
    except (OSError, ValueError, ImportError) as error:  # no network, another file behind the address, no pooch
        root = os.environ.get("TINYGEN_DATA")
        raise FileNotFoundError(
            f"{source.path}: not on this machine, and the download failed\n"
            f"    TINYGEN_DATA  {'is not set' if not root else f'{root}: no such file in it'}\n"
            f"    cache         {cached}: {'another checksum' if cached.is_file() else 'no such file'}\n"
            f"    download      {source.url}: {error}\n"
            f"    connect to the network once, or set TINYGEN_DATA to a folder that has {source.path};\n"
            f"    data.digits() has real handwritten digits and needs neither"
        ) from error


def _download(source: Source, target: Path) -> Path:
    try:
        import pooch
    except ImportError:
        raise ImportError("downloading needs pooch: pip install pooch") from None
    # pooch writes to a temporary file, checks it, and only then moves it: the cache never holds half a file.
    pooch.retrieve(source.url, known_hash=source.checksum, fname=target.name, path=target.parent)
    return target


def _checksum(file: Path, like: str) -> str:
    """The file's checksum in the form of `like`: "md5:..." or "sha256:..."."""
    algorithm = like.partition(":")[0]
    with file.open("rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"
