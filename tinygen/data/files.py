"""Files from anywhere, read without trust: nothing is unpickled or executed, and memory follows what the file really holds.

A header may declare whatever it likes.  So it is held against the size of the file before a byte of the numbers is read.

Source of the formats: NumPy's "numpy.lib.format" (an .npy file is a short text that says dtype, order and shape, then the
numbers; an .npz file is a zip archive of those).
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

MAX_BYTES = 2**30
"""An array of more is refused: as float32 pixels, bytes take four times the room."""

CHUNK = 2**20
_HEADER = 4096
"""NumPy's own header of an array of numbers has 128 bytes, or few more."""
_ITEM = rb"'(descr|fortran_order|shape)': ?('[^'\\]{0,32}'|True|False|\([\d, ]*\))"
_FIELDS = re.compile(rb"\{(?:" + _ITEM + rb",? ?){3}\} *\n?")

_STARTS = (
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"PK", "a zip archive, as an .npz file is"),
    (b"\x93NUMPY", "an .npy file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF", "a PDF document"),
    (b"\x80", "a Python pickle"),
)


class DataError(ValueError):
    """Data that cannot be used: a damaged file, one of another kind, numbers that are no pixels or no labels."""


def looks_like(start: bytes | bytearray) -> str:
    """What a file seems to be that begins with these bytes: "a PNG image", "a web page ..."."""
    start = bytes(start)
    text = start.lstrip().lower()
    if not start:
        return "an empty file"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, as a failed download leaves it"
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return "text"
    return f"an unknown file that starts with the bytes [{start[:4].hex(' ')}]"


def read_pieces(stream: IO[bytes] | Any, size: int) -> bytearray:
    """Up to `size` bytes.  In pieces: one read of a declared size would allocate it before a byte has been seen."""
    buffer = bytearray()
    while len(buffer) < size and (piece := stream.read(min(CHUNK, size - len(buffer)))):
        buffer += piece
    return buffer


def read_npy(path: str | Path) -> np.ndarray:
    """The array of numbers in an .npy file: any shape, in the file's type, native byte order.

    Raises DataError, naming the file and the problem, for a file that is truncated, corrupt, too long (more than MAX_BYTES)
    or not .npy at all, and for Python objects, which are never unpickled; FileNotFoundError when there is none.
    """
    path = Path(path)
    with path.open("rb") as stream:
        return _npy(stream, path.stat().st_size, f"read_npy: {path}")


def npz_names(path: str | Path) -> list[str]:
    """The names of the arrays in an .npz file.  Raises what `read_npz` does."""
    with _archive(Path(path)) as (_, members):
        return list(members)


def read_npz(path: str | Path, name: str) -> np.ndarray:
    """One array of numbers in an .npz file, as `read_npy` reads it, its checksum verified; the others are not touched.

    Raises DataError, naming the file, for what read_npy refuses, for an archive that is damaged or encrypted, or compressed in
    a way that NumPy does not, for names that lead out of a folder, and if there is no such array; FileNotFoundError when
    there is no such file.
    """
    path = Path(path)
    with _archive(path) as (archive, members):
        if name not in members:
            raise DataError(f"read_npz: {path}: there is no array {name!r} in it, only {_listed(members)}")
        member = members[name]
        where = f"read_npz: {path}: {name}"
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where} is encrypted, or compressed otherwise than NumPy does; write it with np.savez")
        with archive.open(member) as stream:
            return _npy(stream, member.file_size, where)


def _listed(names: Any) -> str:
    names = [repr(name[:40]) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "none"


@contextmanager
def _archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """The open archive and its arrays by name; whatever is wrong with it becomes a DataError."""
    with path.open("rb") as raw:
        start = raw.read(64)
        if not start.startswith(b"PK"):
            raise DataError(f"read_npz: {path}: not an .npz file: it is {looks_like(start)}")
        try:
            with zipfile.ZipFile(raw) as archive:
                members: dict[str, zipfile.ZipInfo] = {}
                for member in archive.infolist():
                    name = member.filename
                    if ".." in (place := PurePosixPath(name)).parts or place.is_absolute() or {"\\", ":"} & {*name}:
                        raise DataError(f"read_npz: {path}: {name[:60]!r} leads out of a folder, and names no array")
                    if (name := name.removesuffix(".npy")) in members:
                        raise DataError(f"read_npz: {path}: there are two arrays of the name {name[:60]!r}")
                    members[name] = member
                yield archive, members
        except DataError:
            raise
        # The last ones are what zipfile raises for fields out of range.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, struct.error, ValueError) as error:
            raise DataError(f"read_npz: {path}: the archive is damaged or cut off ({error}); get it anew") from None


def _npy(stream: IO[bytes], size: int, where: str) -> np.ndarray:
    """The array of an .npy file of `size` bytes, which is what the file system or the archive says."""
    head = read_pieces(stream, _HEADER)
    if head[:6] != b"\x93NUMPY":
        raise DataError(f"{where}: not an .npy file: it is {looks_like(head[:64])}")
    begin = 10 if head[6:7] == b"\1" else 12  # version 1.0 has a length of 2 bytes, later ones of 4
    end = begin + int.from_bytes(head[8:begin], "little")
    if end > len(head) or not _FIELDS.fullmatch(text := bytes(head[begin:end])):
        raise DataError(
            f"{where}: its header is not that of an array of numbers; it is damaged, or holds records: save plain numbers"
        )
    fields = dict(re.findall(_ITEM, text))
    if len(fields) < 3:
        raise DataError(f"{where}: its header says the same thing twice; it is damaged")
    shape = tuple(int(n) for n in re.findall(rb"\d+", fields[b"shape"]))
    dtype = _dtype(fields[b"descr"][1:-1].decode("latin-1"), where)
    expected = math.prod(shape) * dtype.itemsize  # in Python's integers, which do not overflow
    if expected > MAX_BYTES:
        raise DataError(f"{where}: the header declares shape {shape}, {expected} bytes; refused above {MAX_BYTES}")
    if end + expected != size:
        raise DataError(
            f"{where}: the header declares shape {shape}, {expected} bytes, but {size - end} follow; it is damaged or cut off"
        )
    body = head[end:] + read_pieces(stream, expected - len(head[end:]))
    try:
        array = np.frombuffer(body, dtype).reshape(shape, order="F" if fields[b"fortran_order"] == b"True" else "C")
    except ValueError as error:  # fewer bytes than the archive said, or more dimensions than NumPy has
        raise DataError(f"{where}: {error}; it is damaged or cut off") from None
    if dtype == np.bool_:
        return array.view(np.uint8) != 0  # any byte may stand there
    return array.astype(dtype.newbyteorder("="), copy=False)


def _dtype(text: str, where: str) -> np.dtype:
    if "O" in text:
        raise DataError(
            f"{where} holds Python objects, which would be unpickled and could run anything: save plain numbers"
        )
    if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", text):
        raise DataError(f"{where} is of dtype {text!r}: integers, floats or booleans are expected")
    return np.dtype(text)
