"""Weights to and from PyTorch, in safetensors files.

    tinygen                                                  PyTorch

    from tinygen.interchange import load_file, save_file     from safetensors.torch import load_file, save_file
    save_file(model.state_dict(), "model.safetensors")       model.load_state_dict(load_file("model.safetensors"))
    model.load_state_dict(load_file("model.safetensors"))    save_file(model.state_dict(), "model.safetensors")

The two functions are called as those of the safetensors library are for PyTorch.  A model written by the same program in
both libraries has the same names of parameters and buffers, and the same layouts: nothing has to be renamed or transposed
(`examples/from_pytorch.py`).

Such a file holds tensors and nothing else: to stop a run and to go on with it, use `tinygen.checkpoint`.  Nothing in it is
executed when it is read, as a pickle would be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import atomic, backend
from tinygen.checkpoint import DTYPES
from tinygen.regular import open_regular
from tinygen.tensor import Tensor


def save_file(tensors: Mapping[str, Any], filename: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file.

    tensors: name -> Tensor or array, of any device and memory layout: a module's `state_dict()`.  One that has two names
    is written twice, so that tied weights load wherever they are tied.
    metadata: texts for the file's header.  By default {"format": "pt"}: "laid out as PyTorch's", which some programs ask for.

    Raises TypeError for what is no dict of tensors, or for a dtype that the format does not know; OSError when the file
    cannot be written.
    filename: where to.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file as write

    if isinstance(tensors, str | os.PathLike):
        raise TypeError(f"save_file: the tensors come first, got {tensors!r}: save_file(model.state_dict(), filename)")
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f"save_file: a dict of tensors is expected, got {type(tensors).__name__}; pass model.state_dict()"
        )
    arrays = {name: _as_the_file_has_it(name, value) for name, value in tensors.items()}
    if not (folder := Path(filename).absolute().parent).is_dir():
        raise FileNotFoundError(f"save_file: {filename} cannot be written: there is no folder {folder}")
    try:
        with atomic.replacing(
            filename
        ) as partial:  # a link is replaced, not followed; what stood there is whole until then
            write(arrays, partial, {"format": "pt"} if metadata is None else dict(metadata))
    except SafetensorError as error:
        raise OSError(f"save_file: {filename} cannot be written ({error})") from error


def load_file(filename: str | Path, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name, in the dtypes that they have there.

    filename: the file.  device: where the tensors are to be.  They are read one by one, each to where it stays.

    bfloat16, which NumPy does not have, becomes float32: its values are float32's with shorter mantissas, so none changes.
    `load_state_dict` then converts to the dtype of the model.

    Raises FileNotFoundError; NotAFile (an OSError and a ValueError) for a folder, a pipe or a device; ValueError for a file that
    is damaged, cut off or of another kind (such as PyTorch's own, a pickle), and for dtypes that tinygen does not have, such
    as the floats of 8 bits.
    """
    from safetensors import SafetensorError, safe_open

    with open_regular(filename, "load_file") as (stream, _):
        start = stream.read(8)
        try:
            with safe_open(filename, framework="numpy"):  # which holds the header against the file, and reads no more
                pass
        except (SafetensorError, OSError) as error:
            if start.startswith((b"PK\x03\x04", b"\x80")):
                raise ValueError(
                    f"load_file: {filename} is a pickle, PyTorch's own kind of file, which runs code when it is read; convert "
                    f"it in PyTorch: safetensors.torch.save_file(torch.load({str(filename)!r}, weights_only=True), "
                    '"model.safetensors")'
                ) from error
            raise ValueError(f"load_file: {filename} is no whole safetensors file ({error})") from error
        where = backend.resolve(device)
        try:
            length = int.from_bytes(start, "little")
            parts = json.loads(stream.read(length))
            parts.pop("__metadata__", None)
            return {
                name: Tensor(backend.to_device(_as_numpy_has_it(filename, name, part, stream, 8 + length), where))
                for name, part in parts.items()
            }
        except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError, UnicodeDecodeError) as error:
            # It was another file a moment ago, or the library has let something through.
            raise ValueError(f"load_file: {filename} is no whole safetensors file ({error!r})") from error


def _as_the_file_has_it(name: Any, value: Any) -> np.ndarray:
    array = value.array if isinstance(value, Tensor) else value
    if not isinstance(name, str) or name == "__metadata__" or not backend.is_array(array):
        raise TypeError(
            f"save_file: names with tensors are expected, got {name!r}: {type(value).__name__}; pass model.state_dict(), "
            "or save nested states and numbers with tinygen.checkpoint.save"
        )
    array = backend.to_numpy(array)
    if array.dtype.name not in DTYPES.values():
        raise TypeError(f"save_file: {name} has dtype {array.dtype}; expected one of {', '.join(DTYPES.values())}")
    # The library writes memory as it lies there, and would mix up the values of a transposed tensor without a word.
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _as_numpy_has_it(filename: str | Path, name: str, part: Mapping[str, Any], stream: Any, offset: int) -> np.ndarray:
    """One tensor of the file, read to where it stays.  offset: where in the file the numbers begin."""
    kind, shape, (begin, end) = part["dtype"], part["shape"], part["data_offsets"]
    if kind not in DTYPES and kind != "BF16":
        raise ValueError(
            f"load_file: {name} in {filename} has dtype {kind}, which tinygen does not have; convert it in PyTorch "
            "before saving: tensor.float()"
        )
    dtype = np.dtype({"BF16": "uint16", "BOOL": "uint8"}.get(kind) or DTYPES[kind]).newbyteorder("<")
    try:
        array = np.empty(shape, dtype)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"load_file: {name} in {filename} has shape {tuple(shape)}, which no array has") from error
    stream.seek(offset + begin)
    content = array.reshape(-1).view(np.uint8).data
    if end - begin != len(content) or stream.readinto(content) != len(content):
        raise ValueError(f"load_file: {filename} is no whole safetensors file: {name} is cut off")
    if kind == "BF16":  # the upper half of a float32
        wide = array.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if kind == "BOOL":
        return array != 0  # any byte may stand there
    return array.astype(array.dtype.newbyteorder("="), copy=False)
