"""CuPy on NVIDIA GPUs.  This module imports CuPy: the registry imports it only when a GPU is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import ModuleType
from typing import Any

import cupy
import numpy as np
from cupy._core._routines_linalg import COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_TF32
from cupy._core.fusion import _FusionVarArray, _FusionVarScalar

from tinygen.backend.base import GPU, Array, Backend, Device, Graph, Limits


class _Random:
    """CuPy's generator, with the method and the property that NumPy's has and it lacks."""

    def __init__(self, seed: int):
        self._generator = cupy.random.default_rng(seed)
        self.standard_normal = self._generator.standard_normal
        self.random = self._generator.random
        self.integers = self._generator.integers
        self.bit_generator = _BitGenerator(self._generator.bit_generator)

    def permutation(self, n: int) -> Array:
        return cupy.argsort(self._generator.random(n))


class _BitGenerator:
    """The state of CuPy's generator, which it keeps in an array of bytes on the GPU and has no name for."""

    def __init__(self, bit_generator: Any):
        self._bytes = bit_generator._state

    @property
    def state(self) -> Array:
        return self._bytes.copy()

    @state.setter
    def state(self, state: Array) -> None:
        if state.shape != self._bytes.shape:
            raise ValueError(
                f"set_state: the state has {state.size} bytes, and this version of CuPy keeps {self._bytes.size}; "
                "use the version that the state was made with, or seed the generator anew"
            )
        self._bytes[...] = cupy.asarray(state)


class _Graph(Graph):
    """A CUDA graph, which reads and writes memory of its own: nobody else gets from its pool."""

    def __init__(self) -> None:
        self._pool = cupy.cuda.MemoryPool()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._graph: Any = None

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """The graph's own stream and memory; work on other streams is waited for, there and back."""
        cupy.cuda.get_current_stream().synchronize()
        with cupy.cuda.using_allocator(self._pool.malloc), self._stream:
            yield
            self._stream.synchronize()

    def run(self, function: Callable[[], Any]) -> Any:
        with self._aside():
            return function()

    def capture(self, function: Callable[[], Any]) -> Any:
        with self._aside():
            self._stream.begin_capture()
            try:
                results = function()
            except BaseException:
                with suppress(Exception):
                    self._stream.end_capture()
                raise
            self._graph = self._stream.end_capture()
            return results

    def launch(self) -> None:
        self._graph.launch()  # on the current stream: in its place among the other work


def _all_axes(x: Array, ndim: int) -> Array:
    return x.reshape((1,) * (ndim - x.ndim) + x.shape) if 0 < x.ndim < ndim else x


class CupyBackend(Backend):
    type = "cuda"
    xp: ModuleType = cupy
    array_type = cupy.ndarray
    tracing_types: tuple[Any, Any] = (_FusionVarArray, _FusionVarScalar)
    fuses = True
    limits: Limits | None = GPU

    def __init__(self) -> None:
        self.count: Any = cupy.cuda.runtime.getDeviceCount()  # raises when there is no usable driver or GPU

    def default_device(self) -> Device:
        return Device("cuda", cupy.cuda.runtime.getDevice())

    def device_of(self, array: Array) -> Device:
        return Device("cuda", array.device.id)

    def using(self, device: Device) -> AbstractContextManager[Any]:
        return cupy.cuda.Device(device.index)

    def from_numpy(self, array: np.ndarray, device: Device) -> Array:
        with self.using(device):
            return cupy.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray:
        return cupy.asnumpy(array)

    def move(self, array: Array, device: Device) -> Array:
        if array.device.id == device.index:
            return array
        with self.using(device):
            return cupy.array(array)

    def address(self, array: Array) -> int:
        return array.data.ptr

    def view(self, line: Array, offset: int, like: Array) -> Array:
        return cupy.ndarray(like.shape, like.dtype, line.data + offset, like.strides)

    def add_at(self, target: Array, index: Any, values: Array) -> None:
        cupy.add.at(target, index, values)

    def erf(self, x: Array) -> Array:
        from cupyx.scipy.special import erf

        return erf(x)

    @property
    def special(self) -> Any:
        from cupyx.scipy import special

        return special

    def fuse(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        kernel = cupy.fuse(kernel_name=name)(function)

        def along_memory(*args: Any) -> Any:
            """The kernel goes through memory in the order of the first array that has all axes.

            By itself it would go through rows, and write its results so; then an array that lies in memory in another order,
            as images do after a convolution, would be read with leaps, which is several times slower.
            """
            arrays = [x for x in args if isinstance(x, cupy.ndarray)]
            ndim = max((x.ndim for x in arrays), default=0)
            first = next((x for x in arrays if x.ndim == ndim and x.size > 1), None)
            if ndim < 3 or first is None or first.flags.c_contiguous:
                return kernel(*args)
            order = sorted(range(ndim), key=lambda i: -abs(first.strides[i]))
            out = kernel(*(_all_axes(x, ndim).transpose(order) if isinstance(x, cupy.ndarray) else x for x in args))
            back = sorted(range(ndim), key=order.__getitem__)
            return out.transpose(back) if isinstance(out, cupy.ndarray) else out

        return along_memory

    def graph(self) -> Graph:
        return _Graph()

    def allow_tf32(self, allowed: bool) -> None:
        cupy._core.set_compute_type(np.float32, COMPUTE_TYPE_TF32 if allowed else COMPUTE_TYPE_DEFAULT)

    def random(self, seed: int, device: Device) -> Any:
        with self.using(device):
            return _Random(seed)

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()
