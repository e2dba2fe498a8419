"""From a list of samples to a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.dataset import is_array, plain
from tinygen.errors import ShapeError


def default_collate(batch: Sequence[Any]) -> Any:
    """What samples make together, as Tensors (torch.utils.data.default_collate).

        Tensors, arrays    stacked along a new first dimension; all of one shape; of any library that has `__dlpack__`
        numbers, bools     one Tensor of shape (N,): bool, int64, or float64 as in PyTorch; NumPy's numbers keep their dtype
        texts              a list of them
        tuples, lists      a list, each place collated; named tuples one of their kind
        dicts              a dict, each key collated

    all of them nested as you like.  Arrays and numbers go to the default device, Tensors stay where they are.  Python's
    floats are float64 to lose nothing: return np.float32(y) from the data set for float32.

    Raises ShapeError (a ValueError) when the shapes differ, ValueError for tuples or dicts of different lengths or keys,
    TypeError for anything else (None, an image of PIL's), each saying which part of the sample it is.
    batch: the samples, a list.
    """
    return collate(batch)


def default_convert(data: Any) -> Any:
    """A sample as it is, but arrays in it as Tensors (torch.utils.data.default_convert): what batch_size=None does."""
    return convert(data)


def collate(batch: Sequence[Any], device: Any = None) -> Any:
    """default_collate, with the device for arrays and numbers."""
    if len(batch) == 0:
        raise ValueError("default_collate: at least one sample is expected, got none")
    return _collate(list(batch), "sample", device)


def _collate(batch: list[Any], path: str, device: Any) -> Any:
    first = batch[0]
    if all(is_array(x) for x in batch):
        return _stack(batch, path, device)
    if all(hasattr(x, "__dlpack__") for x in batch):  # arrays of other libraries, such as PyTorch's tensors
        return _stack([x if is_array(x) else tinygen.from_dlpack(x) for x in batch], path, device)
    if all(isinstance(x, bool | int | float | np.number | np.bool_) for x in batch):
        array = np.array(batch)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"default_collate: {path} has numbers that no dtype holds: {array.dtype}")
        return _tensor(array, device)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping) and all(isinstance(x, Mapping) for x in batch):
        if differing := next((x for x in batch if x.keys() != first.keys()), None):
            raise ValueError(
                f"default_collate: {path} is a dict with the keys {list(first)} once and {list(differing)} once; give all "
                "samples the same keys, or pass collate_fn="
            )
        return {key: _collate([x[key] for x in batch], f"{path}[{key!r}]", device) for key in first}
    if isinstance(first, tuple | list) and all(isinstance(x, tuple | list) for x in batch):
        if lengths := sorted({len(x) for x in batch})[1:]:
            raise ValueError(
                f"default_collate: {path} is a {type(first).__name__} of length {len(first)} once and of {lengths[-1]} once; "
                "give all samples one length, make arrays of them, or pass collate_fn="
            )
        parts = [_collate([x[i] for x in batch], f"{path}[{i}]", device) for i in range(len(first))]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    kinds = list(dict.fromkeys(f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.") for x in batch))
    raise TypeError(
        f"default_collate: {path} is {' once and '.join(kinds)}{' once' * (len(kinds) > 1)}; Tensors, arrays, numbers, texts, "
        "and tuples, lists and dicts of them make batches; return such a thing from the data set, or pass collate_fn="
    )


def _stack(batch: list[Any], path: str, device: Any) -> Any:
    shapes = list(dict.fromkeys(tuple(x.shape) for x in batch))
    if len(shapes) > 1:
        raise ShapeError(
            f"default_collate: {path} has the shape {shapes[0]} in one sample and {shapes[1]} in another, which cannot be "
            "stacked\n    bring them to one shape in the data set (crop, resize or pad), or pass collate_fn=, a function of the "
            "list of samples"
        )
    if any(isinstance(x, tinygen.Tensor) for x in batch):
        tensors = [x if isinstance(x, tinygen.Tensor) else _tensor(plain(x), device) for x in batch]
        if any(x.requires_grad for x in tensors):
            return tinygen.stack(tensors)
        arrays = [x.array for x in tensors]
        return tinygen.Tensor(backend.array_module(arrays[0]).stack(arrays))
    arrays = [plain(x) for x in batch]
    out = backend.array_module(arrays[0]).stack(arrays)
    if out.dtype.kind not in "biuf":
        raise TypeError(f"default_collate: {path} is an array of {out.dtype}; arrays of numbers make batches")
    return _tensor(out, device)


def convert(data: Any, device: Any = None) -> Any:
    """The arrays in it as Tensors, tuples as lists; everything else as it is."""
    if isinstance(data, tinygen.Tensor):
        return data
    if is_array(data):
        data = plain(data)
        return _tensor(data, device) if data.dtype.kind in "biuf" else data
    if hasattr(data, "__dlpack__"):
        return moved(tinygen.from_dlpack(data), device) if device is not None else tinygen.from_dlpack(data)
    if isinstance(data, np.number | np.bool_):
        return _tensor(np.asarray(data), device)
    return _map(data, lambda x: convert(x, device))


def moved(data: Any, device: Any) -> Any:
    """The Tensors in it on the device; everything else as it is."""
    return data.to(device=device) if isinstance(data, tinygen.Tensor) else _map(data, lambda x: moved(x, device))


def split(data: Any, n: int) -> list[Any]:
    """The n samples that a batch was made of, as a data set's `__getitems__` returned it."""
    if is_array(data):
        return [data[i] for i in range(n)]
    if isinstance(data, Mapping):
        parts = {key: split(x, n) for key, x in data.items()}
        return [{key: part[i] for key, part in parts.items()} for i in range(n)]
    return list(zip(*(split(x, n) for x in data)))


def lengths(data: Any) -> set[int]:
    """The first sizes of all arrays in it."""
    if is_array(data):
        return {int(data.shape[0])} if data.shape else {1}
    if isinstance(data, Mapping | tuple | list):
        return set().union(*(lengths(x) for x in (data.values() if isinstance(data, Mapping) else data)))
    return set()


def _tensor(array: Any, device: Any) -> Any:
    """A Tensor of it: arrays of NumPy's go to the device, or else the default one; others stay."""
    if device is None and isinstance(array, np.ndarray):
        device = backend.get_default_device()
    return tinygen.Tensor(array if device is None else backend.to_device(array, device))


def _map(data: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(function, data))
    if isinstance(data, tuple | list):
        return [function(x) for x in data]
    if isinstance(data, Mapping):
        return {key: function(x) for key, x in data.items()}
    return data
