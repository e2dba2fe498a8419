"""PyTorch's questions about GPUs, answered by CuPy: `tinygen.cuda.is_available()`.

Without a GPU every question has its answer (False, 0), and what would do something on one does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygen import backend, missing
from tinygen.backend import Device

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "memory_allocated",
    "memory_reserved",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether device="cuda" would work: CuPy is installed and finds a GPU that it can use."""
    return backend.cuda_available()


def device_count() -> int:
    """How many GPUs there are, 0 without CuPy."""
    return int(_library().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The number of the GPU that device="cuda" means.  Raises RuntimeError if there is none."""
    return _index(None)


def set_device(device: Any) -> None:
    """Make a GPU, by number or name, the one that device="cuda" means in this thread.  Raises RuntimeError if it is not there."""
    i = _index(device)
    _library().cuda.Device(i).use()


def get_device_name(device: Any = None) -> str:
    """The name of a GPU, such as "NVIDIA A100-SXM4-40GB".  Raises RuntimeError if there is none."""
    return _properties(device)["name"].decode()


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU, such as (8, 0).  Raises RuntimeError if there is none."""
    properties = _properties(device)
    return int(properties["major"]), int(properties["minor"])


def synchronize(device: Any = None) -> None:
    """Wait until all work on the GPU (by default on all that are in use) is done."""
    if device is None:
        backend.synchronize()
    else:
        _library().cuda.Device(_index(device)).synchronize()


def manual_seed(seed: int) -> None:
    """Seed the default generator of the current GPU; without a GPU nothing happens.  (`tinygen.manual_seed` seeds all.)"""
    if is_available():
        backend.default_generator(Device("cuda", current_device())).manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the default generators of all GPUs; without a GPU nothing happens.  (`tinygen.manual_seed` seeds the CPU's, too.)"""
    for i in range(device_count()):
        backend.default_generator(Device("cuda", i)).manual_seed(seed)


def empty_cache() -> None:
    """Give memory back that CuPy keeps for the next array; arrays in use stay."""
    if is_available():
        _library().get_default_memory_pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes of a GPU's memory that arrays use; 0 without a GPU."""
    return _in_pool("used_bytes", device)


def memory_reserved(device: Any = None) -> int:
    """Bytes of a GPU's memory that CuPy has taken, for arrays and for the next ones; 0 without a GPU."""
    return _in_pool("total_bytes", device)


def _in_pool(what: str, device: Any) -> int:
    if not is_available():
        return 0
    with _library().cuda.Device(_index(device)):
        return int(getattr(_library().get_default_memory_pool(), what)())


def _properties(device: Any) -> Any:
    i = _index(device)
    return _library().cuda.runtime.getDeviceProperties(i)


def _library() -> Any:
    """CuPy.  Raises RuntimeError that says what is missing."""
    return backend.backend_for(Device("cuda")).xp


def _index(device: Any) -> int:
    name = device if isinstance(device, str | Device) else "cuda" if device is None else f"cuda:{int(device)}"
    found = backend.device(name)
    if found.type != "cuda":
        raise ValueError(f"cuda: a GPU is expected, by its number or as 'cuda:1', got {device!r}")
    return found.index or 0


if not TYPE_CHECKING:
    __getattr__ = missing.attribute_of(__name__)
