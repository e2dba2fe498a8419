"""From an array or a device's name to the library that serves it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from tinygen.backend.base import Array, Backend, Device, Limits
from tinygen.backend.numpy_backend import CPU, NumpyBackend

_BY_TYPE: dict[str, Backend] = {}
_BY_ARRAY: dict[type, Backend] = {}
ARRAY_MODULES: dict[type, ModuleType] = {}
"""From the class of an array to its library: {numpy.ndarray: numpy, ...}.  The engine reads it once per operator."""
FUSING: dict[ModuleType, Backend] = {}
"""The libraries that make one kernel of several elementwise steps, by their module."""
LIMITS: dict[ModuleType, Limits | None] = {}
"""What the libraries' devices can do, by their module; None for the CPU."""
on_fusing: list[Callable[[], None]] = []
"""What is to be called when the first of them is registered."""

_default = CPU
_tf32: bool | None = None  # nobody said


def register(backend: Backend) -> None:
    """Make a library known: arrays of its class and devices of its type are served by it from now on.

    backend: it is asked from then on.
    """
    _BY_TYPE[backend.type] = backend
    for array_type in (backend.array_type, *backend.tracing_types):
        _BY_ARRAY[array_type] = backend
        ARRAY_MODULES[array_type] = backend.xp
    LIMITS[backend.xp] = backend.limits
    if _tf32 is not None:
        backend.allow_tf32(_tf32)
    if backend.fuses:
        FUSING[backend.xp] = backend
        while on_fusing:
            on_fusing.pop()()


register(NumpyBackend())


def is_array(x: object) -> bool:
    """Whether x is an array of a registered library (a NumPy scalar is not)."""
    return type(x) in ARRAY_MODULES


def array_module(x: Array) -> ModuleType:
    """The library of an array: `numpy`, `cupy`."""
    return ARRAY_MODULES[type(x)]


def backend_of(x: Array) -> Backend:
    """The backend that serves an array x."""
    return _BY_ARRAY[type(x)]


def device_of(x: Array) -> Device:
    """Where an array x lives."""
    return _BY_ARRAY[type(x)].device_of(x)


def to_numpy(x: Array) -> np.ndarray:
    """The values as a NumPy array: the array itself on the CPU, a copy from anywhere else."""
    return _BY_ARRAY[type(x)].to_numpy(x)


def to_device(x: Array, device: Device) -> Array:
    """The array on `device`: itself when it is there already."""
    here, there = _BY_ARRAY[type(x)], backend_for(device)
    return here.move(x, device) if here is there else there.from_numpy(here.to_numpy(x), device)


def backend_for(device: Device) -> Backend:
    """The library that serves a device.

    Raises RuntimeError for "cuda" when CuPy is absent or finds no usable GPU, saying which, and what to install.
    """
    if device.type == "cuda" and "cuda" not in _BY_TYPE:
        _load_cuda()
    try:
        return _BY_TYPE[device.type]
    except KeyError:
        raise ValueError(f"device: no such device {str(device)!r}; use 'cpu', 'cuda' or 'cuda:1'") from None


def _load_cuda() -> None:
    try:
        from tinygen.backend.cupy_backend import CupyBackend
    except ImportError as error:
        raise RuntimeError(
            "device 'cuda' needs CuPy, which is not installed: pip install cupy-cuda13x for CUDA 13 "
            "(cupy-cuda12x for CUDA 12); or use device='cpu'"
        ) from error
    try:
        register(CupyBackend())
    except Exception as error:  # CuPy's own exception classes differ with the missing piece: driver, runtime, GPU
        raise RuntimeError(
            f"device 'cuda': CuPy is installed but finds no usable GPU ({error}); check the driver with nvidia-smi, "
            "or use device='cpu'"
        ) from error


def cuda_available() -> bool:
    """Whether device='cuda' would work."""
    try:
        return backend_for(Device("cuda")).type == "cuda"
    except RuntimeError:
        return False


def device(name: str | Device, index: int | None = None) -> Device:
    """A device from its name: device("cpu"), device("cuda"), device("cuda:1"), device("cuda", 1).

    Raises ValueError for a name that is no device, RuntimeError when there is no such GPU.
    name: such a name, or a device, which is returned.  index: the number of the GPU, unless the name has it.
    """
    if isinstance(name, Device):
        return name
    if not isinstance(name, str):
        raise TypeError(f"device: a name such as 'cpu' or 'cuda:1' is expected, got {type(name).__name__}")
    kind, colon, number = name.partition(":")
    if colon and not number.isdecimal():
        raise ValueError(f"device: {name!r} is not a device; use 'cpu', 'cuda' or 'cuda:1'")
    index = int(number) if colon else index
    backend = backend_for(Device(kind))
    default = backend.default_device()
    if index is None or default.index is None:
        return default
    count = getattr(backend, "count", 1)
    if index >= count:
        raise RuntimeError(f"device: {name!r} asks for GPU number {index}, but there are {count}, numbered from 0")
    return Device(kind, index)


def set_default_device(name: str | Device) -> None:
    """Where new tensors are made when no device is given (torch.set_default_device)."""
    global _default
    _default = device(name)


def get_default_device() -> Device:
    """Where new tensors are made when no device is given (torch.get_default_device)."""
    return _default


def resolve(name: str | Device | None) -> Device:
    """The device of that name, or the default one for None."""
    return _default if name is None else device(name)


def synchronize() -> None:
    """Wait for all devices in use: call it before reading a clock."""
    for backend in _BY_TYPE.values():
        backend.synchronize()


def allow_tf32(allowed: bool = True) -> None:
    """Let float32 matrix products, and with them convolutions, round their factors to TF32 (torch.backends.cuda.matmul.allow_tf32).

    TF32 is float32 with 10 binary digits after the point instead of 23: a relative error of up to 5e-4 in each factor, for
    several times the speed, on NVIDIA GPUs from compute capability 8.0 on.  Off unless CuPy's environment variable CUPY_TF32
    is 1.  On the CPU, and for other dtypes, it changes nothing.
    allowed: False takes it back.
    """
    global _tf32
    _tf32 = bool(allowed)
    for backend in _BY_TYPE.values():
        backend.allow_tf32(_tf32)
