"""The idx format of the MNIST files: a short header, then the numbers.

    byte 0, 1   zero
    byte 2      type of the numbers
    byte 3      number of dimensions n
    4·n bytes   the sizes, big-endian
    the rest    the numbers, big-endian, last dimension fastest

Source: LeCun, Cortes, Burges, "The MNIST database", http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinygen.data.files import DataError, check_size, looks_like, read_pieces
from tinygen.regular import open_regular

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | Path, max_bytes: int | None = None) -> np.ndarray:
    """The array in an idx file, plain or gzip-compressed: any shape, in the file's type, native byte order.

    path: the file.  max_bytes: the most that its numbers may take (default: files.MAX_BYTES, 2 GiB, and, compressed, no more than
    a hundred times the size of the file, if that is more than 64 MiB).  Memory follows what the file really holds, never what
    its header declares.

    Raises DataError (a ValueError), naming the file and the problem, for a file that is truncated, corrupt, longer than
    max_bytes or not idx at all; FileNotFoundError when there is none, NotAFile (an OSError) for a pipe or a device.
    """
    path = Path(path)
    with open_regular(path, "read_idx") as (raw, size):
        packed = raw.read(64).startswith(_GZIP_MAGIC)
        raw.seek(0)
        try:
            return _parse(gzip.GzipFile(fileobj=raw) if packed else raw, path, max_bytes, size if packed else None)
        except EOFError:
            raise DataError(f"read_idx: {path}: the compressed stream ends early; the file is truncated") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"read_idx: {path}: the compressed stream is corrupt ({error})") from None


def _parse(stream: BinaryIO | gzip.GzipFile, path: Path, max_bytes: int | None, packed: int | None) -> np.ndarray:
    magic = read_pieces(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        found = looks_like(magic + read_pieces(stream, 60))
        raise DataError(
            f"read_idx: {path}: not an idx file: it is {found}; "
            f"[00 00 type dimensions] is expected, with a type among {', '.join(f'{t:02x}' for t in DTYPES)}"
        )
    dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]
    sizes = read_pieces(stream, 4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"read_idx: {path}: the file ends within its header of {ndim} dimensions; it is truncated")
    shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(ndim))
    expected = math.prod(shape) * dtype.itemsize  # in Python's integers, which do not overflow
    check_size(expected, f"read_idx: {path}", f"the header declares shape {shape}", max_bytes, packed)
    body = read_pieces(stream, expected)
    if len(body) < expected or stream.read(1):
        found = f"only {len(body)}" if len(body) < expected else "more"
        raise DataError(f"read_idx: {path}: the header declares shape {shape}, {expected} bytes, but {found} follow")
    try:
        array = np.frombuffer(body, dtype).reshape(shape)
    except ValueError as error:  # NumPy's own limit on dimensions
        raise DataError(f"read_idx: {path}: the header declares {ndim} dimensions ({error})") from None
    return array.astype(dtype.newbyteorder("="), copy=False)
