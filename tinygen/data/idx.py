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

from tinygen.data.files import MAX_BYTES, DataError, looks_like, read_pieces

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an idx file, plain or gzip-compressed: any shape, in the file's type, native byte order.

    Memory follows what the file really holds, never what its header declares.

    Raises DataError (a ValueError), naming the file and the problem, for a file that is truncated, corrupt, too long (more
    than `files.MAX_BYTES`) or not idx at all; FileNotFoundError when there is none.
    """
    path = Path(path)
    with path.open("rb") as raw:
        start = raw.read(64)
        raw.seek(0)
        try:
            return _parse(gzip.GzipFile(fileobj=raw) if start.startswith(_GZIP_MAGIC) else raw, path)
        except EOFError:
            raise DataError(f"read_idx: {path}: the compressed stream ends early; the file is truncated") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"read_idx: {path}: the compressed stream is corrupt ({error})") from None


def _parse(stream: BinaryIO | gzip.GzipFile, path: Path) -> np.ndarray:
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
    if expected > MAX_BYTES:
        raise DataError(
            f"read_idx: {path}: the header declares shape {shape}, {expected} bytes; refused above {MAX_BYTES}"
        )
    body = read_pieces(stream, expected)
    if len(body) < expected or stream.read(1):
        found = f"only {len(body)}" if len(body) < expected else "more"
        raise DataError(f"read_idx: {path}: the header declares shape {shape}, {expected} bytes, but {found} follow")
    try:
        array = np.frombuffer(body, dtype).reshape(shape)
    except ValueError as error:  # NumPy's own limit on dimensions
        raise DataError(f"read_idx: {path}: the header declares {ndim} dimensions ({error})") from None
    return array.astype(dtype.newbyteorder("="), copy=False)
