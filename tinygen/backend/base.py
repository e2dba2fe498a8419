"""The interface that an array library fills in, and the name of a place where arrays live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

Array = Any
"""An array of any registered library: numpy.ndarray, cupy.ndarray."""

_ANYWHERE = nullcontext()


@dataclass(frozen=True)
class Device:
    """Where an array lives: `cpu`, or `cuda` with the index of the GPU.

    type: "cpu" or "cuda".  index: the number of the GPU, from 0; None for the CPU.
    """

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"


class Limits(NamedTuple):
    """What a device can do: where there are several ways to compute something, it decides between them."""

    launch: float
    """Nanoseconds from one kernel to the next, if they have little to do."""
    operations: float
    """Per nanosecond: additions and multiplications in a large float32 matrix product."""
    bytes: float
    """Per nanosecond: read from its memory or written there."""
    memory: int
    """Bytes that one operator may take for what it computes on the way."""


GPU = Limits(launch=5000.0, operations=50_000.0, bytes=3000.0, memory=1 << 30)
"""Estimates, which nobody has measured yet: 5 µs for CuPy to start a kernel; an H100's data sheet (SXM) promises 67 TFLOP/s in
float32 without TF32, of which products reach three quarters, and 3.35 TB/s."""


class Graph(ABC):
    """Work for a device that is written down once, and then handed to it as a whole (a CUDA graph)."""

    @abstractmethod
    def run(self, function: Callable[[], Any]) -> Any:
        """function(), as it is, but where `capture` will be: what is made ready at a first call is ready afterwards."""

    @abstractmethod
    def capture(self, function: Callable[[], Any]) -> Any:
        """Write down what function() hands to the device, which does nothing yet.  Returns what the function returns: arrays
        that `launch` fills.  Raises what stands against it, as a number that the function reads."""

    @abstractmethod
    def launch(self) -> None:
        """Do what was written down, on the same memory."""


class Backend(ABC):
    """What differs between array libraries; everything else is written against the module `xp`."""

    type: str
    """The device type it serves: "cpu", "cuda"."""
    xp: ModuleType
    """The library, with NumPy's function names."""
    array_type: Any
    """The class of its arrays."""
    tracing_types: tuple[type, ...] = ()
    """Classes that stand for its arrays while it traces a function that is to be fused."""
    fuses: bool = False
    """Whether `fuse` makes kernels."""
    limits: Limits | None = None
    """None for the CPU, whose limits depend on its caches."""

    @abstractmethod
    def default_device(self) -> Device:
        """The device meant by the bare device type."""

    @abstractmethod
    def device_of(self, array: Array) -> Device:
        """Where the array lives."""

    def using(self, device: Device) -> AbstractContextManager[Any]:
        """Inside of it the library makes its arrays on `device`."""
        return _ANYWHERE

    @abstractmethod
    def from_numpy(self, array: np.ndarray, device: Device) -> Array:
        """A copy of a NumPy array on `device` (NumPy's own backend returns the array itself)."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """The array as one of NumPy: a copy, unless it is one."""

    @abstractmethod
    def move(self, array: Array, device: Device) -> Array:
        """The array on another device of the same library (`cuda:0` to `cuda:1`)."""

    @abstractmethod
    def address(self, array: Array) -> int:
        """Where its first element is in memory."""

    def owner(self, array: Array) -> tuple[Array, int]:
        """The array whose memory `array` is a view of (it may be itself), and where in it, in bytes, its first element is."""
        owner = array
        while isinstance(owner.base, self.array_type):
            owner = owner.base
        return owner, self.address(array) - self.address(owner)

    @abstractmethod
    def view(self, line: Array, offset: int, like: Array) -> Array:
        """A part of an array of one dimension without gaps: from that byte on, in the shape and the strides of `like`.

        line: that array.  offset: that byte.
        """

    @abstractmethod
    def add_at(self, target: Array, index: Any, values: Array) -> None:
        """target[index] += values, in place, where repeated indices add up."""

    @abstractmethod
    def erf(self, x: Array) -> Array:
        """The error function of every element of x."""

    @property
    @abstractmethod
    def special(self) -> Any:
        """The library's counterpart of `scipy.special`: gammaln, erfinv ...  Imported at first use."""

    def fuse(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """A function of arrays, numbers and None, made of elementwise steps only, as one kernel (see fuse.py)."""
        return function

    def graph(self) -> Graph | None:
        """A new graph; None where there is no such thing."""
        return None

    def allow_tf32(self, allowed: bool) -> None:  # noqa: B027
        """Whether float32 matrix products may round their factors to TF32; nothing where there is no such thing.

        allowed: True if they may.
        """

    @abstractmethod
    def random(self, seed: int, device: Device) -> Any:
        """A generator with NumPy's methods standard_normal, random and integers, `permutation(n)`, and its property
        `bit_generator.state`: a dict or an array; read, a copy; set, the stream goes on from there."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work that was handed to the device is done (for timing)."""
