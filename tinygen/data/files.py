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
from typing import IO, Any, Literal

import numpy as np

from tinygen.regular import open_regular

MAX_BYTES = 2**31
"""An array of more, or a data set that takes more as float32, is refused unless `max_bytes` says that it may."""
SMALL = 2**26
"""Bytes of which nobody runs out, whatever the file's own size."""
EXPANSION = 100
"""How many times its own size a compressed file may unpack to when that is not SMALL; real pictures take a tenth of it."""

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
    (b"RIFF", "a WEBP image, or another RIFF file"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"\x80", "a Python pickle"),
)


class DataError(ValueError):
    """Data that cannot be used: a damaged file, one of another kind, numbers that are no pixels or no labels."""


def check_size(needed: int, where: str, what: str, max_bytes: int | None, file_size: int | None = None) -> None:
    """Raise DataError if `needed` bytes are more than may be taken.

    where, what: how the message begins, and what it is that takes the bytes.  max_bytes: the limit; None is MAX_BYTES, and of a
    compressed file of file_size bytes what EXPANSION allows: one that is all the same number everywhere packs to a thousandth.
    """
    if max_bytes is None:
        limit = MAX_BYTES if file_size is None else min(MAX_BYTES, max(SMALL, EXPANSION * file_size))
        if needed > limit:
            of = "" if limit == MAX_BYTES else f" for a file of {file_size} bytes"
            raise DataError(
                f"{where}: {what}, {needed} bytes; refused above {limit}{of}; if that is right, and there is so much memory, "
                f"say so: max_bytes={needed}"
            )
    elif needed > max_bytes:
        raise DataError(f"{where}: {what}, {needed} bytes; refused above max_bytes={max_bytes}")


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


def read_npy(path: str | Path, max_bytes: int | None = None, mmap: bool = False) -> np.ndarray:
    """The array of numbers in an .npy file: any shape, in the file's type, native byte order.

    path: the file.  max_bytes: the most that its numbers may take (default: files.MAX_BYTES, 2 GiB).
    mmap: the array stays in the file, of any size, and only what is asked for is read (an np.memmap that cannot be written).

    Raises DataError, naming the file and the problem, for a file that is truncated, corrupt, longer than max_bytes or not
    .npy at all, and for Python objects, which are never unpickled; FileNotFoundError when there is none, NotAFile (an
    OSError) for a pipe or a device.
    """
    path = Path(path)
    where = f"read_npy: {path}"
    with open_regular(path, "read_npy") as (stream, size):
        if not mmap:
            return _npy(stream, size, where, max_bytes)
        _, begin, shape, dtype, order = _npy_header(stream, size, where)
        if math.prod(shape) == 0:  # of which there is no map
            return np.zeros(shape, dtype.newbyteorder("="), order)
        try:
            return np.memmap(stream, dtype, "r", begin, shape, order)  # of truth values, any byte may stand there
        except (OSError, ValueError) as error:
            raise DataError(f"{where}: it cannot be mapped ({error})") from None


def npz_sizes(path: str | Path) -> dict[str, int]:
    """The arrays in an .npz file: name -> the bytes that it declares.  Raises what `read_npz` does."""
    with _archive(Path(path)) as (_, members, _):
        return {name: member.file_size for name, member in members.items()}


def read_npz(path: str | Path, name: str, max_bytes: int | None = None) -> np.ndarray:
    """One array of numbers in an .npz file, as `read_npy` reads it, its checksum verified; the others are not touched.

    path: the file.  name: of the array.  max_bytes: the most that the array may take (default: files.MAX_BYTES, 2 GiB, and no
    more than a hundred times the size of the file, if that is more than 64 MiB).

    Raises DataError, naming the file, for what read_npy refuses, for an archive that is damaged or encrypted, or compressed in
    a way that NumPy does not, for names that lead out of a folder, and if there is no such array; FileNotFoundError when
    there is no such file, NotAFile (an OSError) for a pipe or a device.
    """
    path = Path(path)
    with _archive(path) as (archive, members, size):
        if name not in members:
            raise DataError(f"read_npz: {path}: there is no array {name!r} in it, only {_listed(members)}")
        member = members[name]
        where = f"read_npz: {path}: {name}"
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where} is encrypted, or compressed otherwise than NumPy does; write it with np.savez")
        with archive.open(member) as stream:
            return _npy(stream, member.file_size, where, max_bytes, size)


def _listed(names: Any) -> str:
    names = [repr(name[:40]) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "none"


@contextmanager
def _archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo], int]]:
    """The open archive, its arrays by name, and the file's size; whatever is wrong with it becomes a DataError."""
    with open_regular(path, "read_npz") as (raw, size):
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
                yield archive, members, size
        except DataError:
            raise
        # The last ones are what zipfile raises for fields out of range.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, struct.error, ValueError) as error:
            raise DataError(f"read_npz: {path}: the archive is damaged or cut off ({error}); get it anew") from None


def _npy(
    stream: IO[bytes], size: int, where: str, max_bytes: int | None, archive_size: int | None = None
) -> np.ndarray:
    """The array of an .npy file of `size` bytes, which is what the file system or the archive says."""
    head, begin, shape, dtype, order = _npy_header(stream, size, where)
    expected = size - begin
    check_size(expected, where, f"the header declares shape {shape}", max_bytes, archive_size)
    body = head[begin:] + read_pieces(stream, expected - len(head[begin:]))
    try:
        array = np.frombuffer(body, dtype).reshape(shape, order=order)
    except ValueError as error:  # fewer bytes than the archive said, or more dimensions than NumPy has
        raise DataError(f"{where}: {error}; it is damaged or cut off") from None
    if dtype == np.bool_:
        return array.view(np.uint8) != 0  # any byte may stand there
    return array.astype(dtype.newbyteorder("="), copy=False)


def _npy_header(
    stream: IO[bytes], size: int, where: str
) -> tuple[bytearray, int, tuple[int, ...], np.dtype, Literal["C", "F"]]:
    """(what was read, where the numbers begin, shape, dtype, order); the shape is that of the bytes that follow."""
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
    if end + expected != size:
        raise DataError(
            f"{where}: the header declares shape {shape}, {expected} bytes, but {size - end} follow; it is damaged or cut off"
        )
    return head, end, shape, dtype, "F" if fields[b"fortran_order"] == b"True" else "C"


def _dtype(text: str, where: str) -> np.dtype:
    if "O" in text:
        raise DataError(
            f"{where} holds Python objects, which would be unpickled and could run anything: save plain numbers"
        )
    if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", text):
        raise DataError(f"{where} is of dtype {text!r}: integers, floats or booleans are expected")
    return np.dtype(text)
