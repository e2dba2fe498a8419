"""Which data a number was measured on: a checksum of the numbers themselves, wherever they came from and whatever they are called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygen import backend
from tinygen.data.pixels import StoredPixels
from tinygen.tensor import Tensor

PIECE = 2**24
"""Bytes that are copied at a time, of an array that does not lie in memory in one piece, or lies on disk."""


def checksum(*data: Any) -> str:
    """The SHA-256 of data sets, as 64 hexadecimal digits: equal exactly if shapes, dtypes, pixels and labels are.

    data: ImageDatasets, TensorDatasets, other data sets whose arrays are their attributes, arrays or Tensors, or lists, tuples
    and dicts of those; of any device, memory layout and byte order.  Names do not count, the order of the samples does.
    `checksum(train, test)` is that of both together; it is not the one of either.  Of an array in a file (np.memmap) a piece
    is read at a time.  60,000 images of MNIST take a fraction of a second.

    Raises TypeError for what holds no arrays that can be compared, such as a stream.
    """
    digest = hashlib.sha256()
    for one in data:
        _add(digest, one)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.array
    if isinstance(value, np.ndarray | np.generic | StoredPixels):
        _add_array(digest, value)
    elif backend.is_array(value):
        _add_array(digest, backend.to_numpy(value))
    elif value is None or isinstance(value, bool | int | float | str):
        digest.update(json.dumps(value).encode() + b"\n")
    elif isinstance(value, list | tuple):
        digest.update(b"[%d\n" % len(value))
        for one in value:
            _add(digest, one)
    elif isinstance(value, Mapping):
        _add(digest, [(str(key), one) for key, one in value.items()])
    elif hasattr(value, "tensors"):  # a TensorDataset, and what follows it
        _add(digest, value.tensors)
    elif hasattr(value, "images"):
        _add(digest, (value.images, getattr(value, "labels", None)))
    else:
        raise TypeError(
            f"data.checksum: an ImageDataset, a TensorDataset or arrays are expected, got {type(value).__name__}; "
            "collect its samples in arrays first"
        )


def _add_array(digest: Any, array: Any) -> None:
    if array.dtype.kind not in "biufc" or isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"data.checksum: an array of numbers is expected, got a {type(array).__name__} of {array.dtype}"
        )
    little = array.dtype.newbyteorder("<")
    digest.update(json.dumps([array.dtype.name, array.shape]).encode() + b"\n")
    if array.ndim == 0:
        array = np.asarray(array)[None]
    rows = max(1, PIECE * len(array) // max(1, array.nbytes))
    for i in range(0, len(array), rows):
        piece = np.ascontiguousarray(array[i : i + rows], little)
        digest.update(piece.reshape(-1).view(np.uint8).data)
