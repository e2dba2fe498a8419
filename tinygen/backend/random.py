"""Random numbers: every draw in tinygen comes from a Generator, and a Generator from a seed.

The same seed gives the same numbers on one library; NumPy and CuPy draw different streams.
"""

from __future__ import annotations

import secrets
from typing import Any

from tinygen.backend import registry
from tinygen.backend.base import Array, Device


class Generator:
    """A stream of random numbers on one device (torch.Generator).

    >>> g = Generator().manual_seed(0)
    """

    def __init__(self, device: str | Device = "cpu"):
        self.device = registry.device(device)
        self.manual_seed(secrets.randbits(63))

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to `seed`, an integer >= 0.  Returns the generator itself."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"manual_seed: an integer is expected, got {seed!r}")
        if int(seed) < 0:
            raise ValueError(f"manual_seed: the seed must be >= 0, got {seed}")
        self._seed = int(seed)
        self._library = registry.backend_for(self.device).random(self._seed, self.device)
        return self

    def initial_seed(self) -> int:
        return self._seed

    @property
    def library(self) -> Any:
        """The generator of the array library itself (numpy.random.Generator on the CPU): it shares the stream."""
        return self._library

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Draws from N(0, 1), float32 or float64."""
        return self._library.standard_normal(shape, dtype=dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Draws from [0, 1), float32 or float64."""
        return self._library.random(shape, dtype=dtype)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Array:
        """int64 draws from low, ..., high - 1."""
        return self._library.integers(low, high, shape)

    def permutation(self, n: int) -> Array:
        """The numbers 0, ..., n - 1 in random order."""
        return self._library.permutation(n)


_defaults: dict[Device, Generator] = {}
_seed: int | None = None


def default_generator(device: Device) -> Generator:
    """The generator that a device uses when none is given."""
    if device not in _defaults:
        _defaults[device] = Generator(device)
        if _seed is not None:
            _defaults[device].manual_seed(_seed)
    return _defaults[device]


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices, those not yet in use too (torch.manual_seed).

    Returns the generator of the CPU.
    """
    global _seed
    cpu = default_generator(registry.CPU).manual_seed(seed)
    for generator in _defaults.values():
        generator.manual_seed(seed)
    _seed = int(seed)
    return cpu
