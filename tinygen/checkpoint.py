"""Checkpoints: the state of a run in one file, which is whole or not there.

    save("run.safetensors", {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})
    model.load_state_dict(load("run.safetensors")["model"])

The file is a safetensors file: the arrays, under names such as "model/encoder.0.weight" that every program for that format
can read, and in its metadata all that is not an array, as JSON, with a checksum over everything.  Nothing in it is executed
when it is read, as a pickle would be.

A process can be killed, and a disk fill up, at any moment.  So a new checkpoint is written beside the old one, forced to the
disk, and only then given its name; the old one stays as "run.safetensors.previous", and is read when the newest turns out
to be damaged.  There is no moment without a "run.safetensors".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import atomic, backend
from tinygen.harmless import text
from tinygen.tensor import Tensor

FORMAT = "1"
DTYPES = {
    **{"BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64"},
    **{"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"},
    **{"F16": "float16", "F32": "float32", "F64": "float64"},
}
"""safetensors' names of the dtypes that a checkpoint may hold."""


MAX_DEPTH = 100
"""How deep dicts and lists may be nested: JSON is read by recursion, and a file must not exhaust the stack."""
MAX_STATE = 400_000_000
"""How many bytes the lists and dicts of a state may take in memory (`_weight`), when nothing but their text is in the file."""


class CheckpointError(ValueError):
    """A file that is no whole checkpoint: damaged, cut off, empty, or of another kind."""


class OtherFile(CheckpointError):
    """A safetensors file, but not a checkpoint: `tinygen.interchange.load_file` reads it."""


def save(path: str | Path, state: Mapping[str, Any]) -> Path:
    """Write `state` to the file `path`, whose folder is made.  What stood there before stays as <path>.previous.

    state: a dict of numbers, texts, None, arrays, Tensors (of any device) and lists, tuples and dicts of those: every
    state_dict and every state of a generator.

    Raises TypeError for anything else, for nests deeper than MAX_DEPTH and for texts that are no Unicode, as names of files can
    be, naming where it stands; ValueError for lists and dicts that take more than MAX_STATE; OSError when the file cannot be
    written (a full disk, a folder without permission, a folder of that name): then the last checkpoint is still there.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"checkpoint.save: the path comes first, got {type(path).__name__}: checkpoint.save(path, state); "
            "tinygen.save(state, path) has PyTorch's order"
        )
    if not isinstance(state, Mapping):
        raise TypeError(f"checkpoint.save: a dict is expected, got {type(state).__name__}{hint(state)}")
    path, previous = _files(path)
    content = to_bytes(dict(state))
    before = None
    try:
        with atomic.replacing(path, durable=True) as partial:
            partial.write_bytes(content)
            before = _second_name(path)
        if before is not None:
            os.replace(before, previous)
            atomic.sync_folder(path.parent)
    except OSError as error:
        kept = next((p for p in (path, previous) if p.is_file()), None)
        raise type(error)(
            error.errno,
            f"checkpoint.save: {error.strerror or error}; {len(content) / 1e6:.3g} MB were to be written; "
            + (f"the last checkpoint is still in {kept.name}" if kept else "there is no earlier checkpoint"),
            str(path),
        ) from error
    finally:
        if before is not None:
            before.unlink(missing_ok=True)
    return path


def _second_name(path: Path) -> Path | None:
    """A new name for the checkpoint at `path`, under which it stays when another one takes its place; None if there is none.

    A hard link, of a link the link itself; where the file system has no hard links (FAT, some network drives) a copy.
    """
    if not os.path.lexists(path):
        return None
    second = atomic.fresh(path)
    try:
        os.link(path, second, follow_symlinks=os.link not in os.supports_follow_symlinks)
    except (OSError, NotImplementedError):
        try:
            shutil.copyfile(path, second, follow_symlinks=False)
        except OSError:
            second.unlink(missing_ok=True)
            raise
    return second


def to_bytes(state: Any, caller: str = "checkpoint.save", tensor: str = "$array") -> bytes:
    """The content of a file.  tensor: how Tensors are marked; "$tensor" makes `from_file` tell them from arrays.

    caller: the function to be named in errors.
    """
    from safetensors.numpy import save as to_safetensors

    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_pack(state, "", arrays, caller, tensor), ensure_ascii=False)
    if (weight := _weight(text)) > MAX_STATE:
        raise ValueError(
            f"{caller}: the lists and dicts of the state take {weight / 1e6:.0f} MB, and {MAX_STATE / 1e6:.0f} can be read back; "
            "turn long lists of numbers into arrays"
        )
    header = {"format": FORMAT, "library": f"tinygen {_version()}", "state": text}
    return to_safetensors(arrays, header | {"sha256": _digest(header, arrays)})


def hint(value: Any) -> str:
    """What to save instead of an object that has a state.  value: that object."""
    return "; save its state_dict()" if hasattr(value, "state_dict") and not isinstance(value, type) else ""


def load(path: str | Path) -> dict[str, Any]:
    """What `save` was given.  Arrays and Tensors come back as NumPy arrays, which every load_state_dict understands.

    If the newest file is damaged or missing, it is the one before it, with a warning that says so.
    Raises FileNotFoundError if there is none, CheckpointError if none is whole, saying what is wrong with each.
    """
    path, previous = _files(path)
    problems = []
    for file in (path, previous):
        try:
            state = from_file(file)
            if not isinstance(state, dict):
                raise CheckpointError(
                    f"{file.name} is not a checkpoint: its state is a {type(state).__name__}, not a dict; tinygen.load reads it"
                )
        except FileNotFoundError:
            problems += [f"{file.name} is missing"] if file == path else []
            continue
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(f"checkpoint.load: {'; '.join(problems)}; going on from {file.name}", stacklevel=2)
        return state
    if not exists(path):
        raise FileNotFoundError(f"checkpoint.load: there is no checkpoint {path}")
    raise CheckpointError(f"checkpoint.load: nothing can be read in {path.parent}: {'; '.join(problems)}")


def exists(path: str | Path) -> bool:
    """Whether there is something to `load`, the newest or the one before it."""
    return any(file.exists() for file in _files(path))


def looks_like_one(file: Path) -> bool:
    """Whether the file is a checkpoint, or may be a damaged one; not so weights alone, as other programs write them."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        return False
    try:
        with safe_open(file, "numpy") as content:
            return "state" in (content.metadata() or {})
    except (SafetensorError, OSError):
        return True


def remove(path: str | Path) -> None:
    """Delete the checkpoint and the one before it, if they are there."""
    for file in _files(path):
        file.unlink(missing_ok=True)


def _files(path: str | Path) -> tuple[Path, Path]:
    """(the file, the one before), in the order in which they are tried."""
    path = Path(path)
    return path, path.with_name(path.name + ".previous")


def _version() -> str:
    from tinygen import __version__  # the package is complete by now, and was not when this file was imported

    return __version__


def from_file(file: Path, tensor: Callable[[np.ndarray], Any] = lambda array: array) -> Any:
    """The state in one file, if the file is whole.  What the header declares is checked before memory is asked for.

    tensor: what is made of an array that was a Tensor.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise FileNotFoundError(file)
    if file.stat().st_size == 0:
        raise CheckpointError(f"{file.name} is empty")
    try:
        with safe_open(file, "numpy") as content:
            header = content.metadata() or {}
            if "sha256" not in header or "state" not in header:
                raise OtherFile(
                    f"{file.name} is a safetensors file, but no checkpoint of tinygen's; tinygen.interchange.load_file reads it"
                )
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{file.name} was written by {text(header.get('library'))} in format {text(header.get('format'))}, and this "
                    f"version reads format {FORMAT}; use the version that wrote it"
                )
            if (weight := _weight(header["state"])) > MAX_STATE:
                raise CheckpointError(
                    f"{file.name} would take {weight / 1e6:.0f} MB besides its arrays, more than any checkpoint does"
                )
            shapes = {name: _shape(file, name, content.get_slice(name)) for name in content.keys()}
            arrays = {name: content.get_tensor(name).reshape(shape) for name, shape in shapes.items()}
        digest = header.pop("sha256")
        if _digest(header, arrays) != digest:
            raise CheckpointError(f"{file.name} is damaged: its checksum is wrong")
        return _unpack(json.loads(header["state"]), arrays, tensor)
    except SafetensorError as error:
        raise CheckpointError(f"{file.name} is damaged or cut off ({error})") from error
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file.name} is no checkpoint ({type(error).__name__}: {error})") from error


def _shape(file: Path, name: str, part: Any) -> tuple[int, ...]:
    """The shape of an array, of which safetensors has made sure that as many bytes are in the file."""
    shape, dtype = tuple(part.get_shape()), part.get_dtype()
    if dtype not in DTYPES or len(shape) > 32 or any(n >= 2**48 for n in shape):
        raise CheckpointError(f"{file.name}: {name} is {dtype} of shape {shape}, which no checkpoint holds")
    return shape


def _weight(text: str) -> int:
    """About how many bytes the lists, dicts and numbers of a JSON text take; "[]," has three characters, and an empty list 64."""
    return 72 * text.count("[") + 240 * text.count("{") + 32 * text.count(",") + 2 * len(text)


def _digest(header: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over the header's texts and every array's name, dtype, shape and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(header.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


# JSON has neither arrays nor tuples, and only texts as keys: these become dicts with one key that begins with "$".


def _pack(
    value: Any,
    path: str,
    arrays: dict[str, np.ndarray],
    caller: str = "checkpoint.save",
    tensor: str = "$array",
    depth: int = 0,
) -> Any:
    """The value as JSON has it; its arrays go to `arrays`, under the path that leads to them."""

    def inner(x: Any, step: Any = None) -> Any:
        return _pack(x, path if step is None else f"{path}/{step}", arrays, caller, tensor, depth + 1)

    if depth > MAX_DEPTH:
        raise TypeError(f"{caller}: {path[:60].strip('/')}/... is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and (wrong := re.search("[\ud800-\udfff]", value)):
        raise TypeError(
            f"{caller}: {path.strip('/') or 'the state'} is a text that is not Unicode: {value!a} has a lone surrogate at "
            f"position {wrong.start()}, as the names of files have that are not UTF-8; encode it first"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [inner(v, i) for i, v in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": inner(list(value))}
    if isinstance(value, Mapping):
        pairs = [(inner(key), inner(v, key)) for key, v in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(pairs)
        return {"$dict": [[key, v] for key, v in pairs]}
    array = value.array if isinstance(value, Tensor) else value
    if not backend.is_array(array):
        raise TypeError(
            f"{caller}: {path.strip('/') or 'the state'} is a {type(value).__name__}; "
            f"numbers, texts, arrays, Tensors and lists and dicts of them can be saved{hint(value)}"
        )
    array = backend.to_numpy(array)
    if array.dtype.name not in DTYPES.values():
        raise TypeError(f"{caller}: {path.strip('/')} has dtype {array.dtype}, which the format does not know")
    name = path.strip("/")
    while name in arrays or name in ("", "__metadata__"):  # taken, or reserved
        name += "_"
    arrays[name] = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    return {tensor if isinstance(value, Tensor) else "$array": name}


def _unpack(value: Any, arrays: Mapping[str, np.ndarray], tensor: Callable[[np.ndarray], Any], depth: int = 0) -> Any:
    """The inverse of `_pack`.  What could not be saved is not read either: ValueError."""

    def inner(x: Any) -> Any:
        return _unpack(x, arrays, tensor, depth + 1)

    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise ValueError(f"a text that is not Unicode: {value[:40]!a}")
    if isinstance(value, list):
        return [inner(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensor(arrays[value["$tensor"]])
    if "$array" in value:
        return arrays[value["$array"]]
    if "$tuple" in value:
        return tuple(inner(value["$tuple"]))
    if "$dict" in value:
        return {inner(key): inner(v) for key, v in value["$dict"]}
    return {inner(key): inner(v) for key, v in value.items()}
