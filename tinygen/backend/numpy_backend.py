"""NumPy on the CPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tinygen.backend.base import Array, Backend, Device

CPU = Device("cpu")


class NumpyBackend(Backend):
    type = "cpu"
    xp: ModuleType = np
    array_type = np.ndarray

    def default_device(self) -> Device:
        return CPU

    def device_of(self, array: Array) -> Device:
        return CPU

    def from_numpy(self, array: np.ndarray, device: Device) -> Array:
        return array

    def to_numpy(self, array: Array) -> np.ndarray:
        return array

    def move(self, array: Array, device: Device) -> Array:
        return array

    def address(self, array: Array) -> int:
        return array.__array_interface__["data"][0]

    def view(self, line: Array, offset: int, like: Array) -> Array:
        return np.ndarray(like.shape, like.dtype, line, offset, like.strides)

    def add_at(self, target: Array, index: Any, values: Array) -> None:
        np.add.at(target, index, values)

    def erf(self, x: Array) -> Array:
        from scipy.special import erf  # imported at first use: it would double the time of `import tinygen`

        return erf(x)

    @property
    def special(self) -> Any:
        from scipy import special

        return special

    def random(self, seed: int, device: Device) -> np.random.Generator:
        return np.random.default_rng(seed)

    def synchronize(self) -> None:
        pass
