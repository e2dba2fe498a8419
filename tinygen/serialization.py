"""save and load with PyTorch's order of arguments: for weights, and whatever else tensors and numbers are nested in.

    tg.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, "run.pt")
    state = tg.load("run.pt")
    model.load_state_dict(state["model"])

The file is a safetensors file, as those of `tinygen.checkpoint`, whatever its name ends in.  Nothing in it is executed when it
is read, as a pickle would be, which is what PyTorch's files are.  To keep a whole run, use `training.Keeper`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinygen import atomic, backend, checkpoint, interchange
from tinygen.tensor import Tensor

__all__ = ["load", "save"]


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write an object to a file (torch.save).

    obj: a Tensor, or numbers, texts, None, arrays and Tensors in lists, tuples and dicts: every state_dict.  Values, dtypes and
        the nesting come back; devices, gradients and shared memory do not (a tensor that is there twice is written twice).
    f: a path, whose folder is made, or a file that is open for writing bytes.  A file that stands there is replaced at once or
        not at all.

    Raises TypeError for what cannot be saved, such as a module (save its state_dict()), naming where it stands, and for arguments
    in the wrong order; OSError when the file cannot be written.
    """
    if isinstance(obj, str | os.PathLike) and not isinstance(f, str | os.PathLike) and not hasattr(f, "write"):
        raise TypeError(f"save: the object comes first, got {obj!r}: tinygen.save(state, {os.fspath(obj)!r})")
    content = checkpoint.to_bytes(obj, "save", "$tensor")
    if hasattr(f, "write"):
        f.write(content)
        return
    if not isinstance(f, str | os.PathLike):
        raise TypeError(f"save: a path, or a file that is open for writing, is expected, got {type(f).__name__}")
    path = Path(f)
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder; name a file in it")
    atomic.write(path, content)


def load(f: str | os.PathLike[str] | IO[bytes], map_location: Any = None, *, weights_only: bool | None = None) -> Any:
    """What `save` was given (torch.load); of another safetensors file, such as PyTorch's, a dict of its tensors.

    f: a path, or a file that is open for reading bytes.
    map_location: where the Tensors are to be: a device or its name.  None is the CPU (PyTorch: where they were), and so is a
        function, PyTorch's older way to say it.  A module's load_state_dict moves them to where the module is.
    weights_only: accepted; a file never holds more than that.

    Raises FileNotFoundError; ValueError for a file that is damaged, cut off or of another kind (as PyTorch's own, a pickle), which
    says how to convert it; TypeError for a map_location that is no device.
    """
    if not isinstance(f, str | os.PathLike) and not hasattr(f, "read"):
        raise TypeError(f"load: a path, or a file that is open for reading, is expected, got {type(f).__name__}")
    if isinstance(map_location, Mapping):
        raise TypeError("load: map_location as a dict is not supported; name the device, as in map_location='cpu'")
    device = backend.device("cpu" if map_location is None or callable(map_location) else map_location)

    def tensor(array: np.ndarray) -> Tensor:
        return Tensor(backend.to_device(array, device))

    if not hasattr(f, "read"):
        return _read(Path(f), tensor, device)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.write_bytes(f.read())
        return _read(file, tensor, device)


def _read(file: Path, tensor: Callable[[np.ndarray], Tensor], device: backend.Device) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"load: there is no file {file}")
    with file.open("rb") as stream:
        is_pickle = stream.read(4).startswith((b"PK\x03\x04", b"\x80"))
    try:
        if not is_pickle:
            return checkpoint.from_file(file, tensor)
    except checkpoint.OtherFile:
        pass
    return interchange.load_file(file, device)  # weights alone, or an error that says how a pickle is converted
