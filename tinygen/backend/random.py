"""Random numbers: every draw in tinygen comes from a Generator, and a Generator from a seed.

The same seed gives the same numbers on one library; NumPy and CuPy draw different streams.  Where a stream has got to is
its state: put back, it goes on with the same numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygen.backend import registry
from tinygen.backend.base import Array, Device
from tinygen.backend.registry import array_module


class Generator:
    """A stream of random numbers on one device (torch.Generator).

    >>> g = Generator().manual_seed(0)
    """

    def __init__(self, device: str | Device = "cpu"):
        self.device: Device = registry.device(device)
        self._library: Any = None
        self.manual_seed(secrets.randbits(63))

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to `seed`, an integer >= 0.  Returns the generator itself."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"manual_seed: an integer is expected, got {seed!r}")
        if int(seed) < 0:
            raise ValueError(f"manual_seed: the seed must be >= 0, got {seed}")
        self._seed = int(seed)
        library = registry.backend_for(self.device).random(self._seed, self.device)
        if self._library is None:
            self._library = library
        else:  # the same object: a captured graph knows where its state lies
            self._library.bit_generator.state = library.bit_generator.state
        return self

    def initial_seed(self) -> int:
        """The seed that the stream began from."""
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """Where the stream is now: numbers, texts and (on a GPU) an array, a copy that later draws leave alone."""
        return {"type": self.device.type, "seed": self._seed, "stream": self._library.bit_generator.state}

    def set_state(self, state: Mapping[str, Any]) -> Generator:
        """Go on from where `state` was taken, here or in another process.  Returns the generator itself.

        Raises TypeError for what `get_state` does not return, ValueError for the state of another kind of device.
        """
        if not isinstance(state, Mapping) or not {"type", "seed", "stream"} <= state.keys():
            raise TypeError(f"set_state: what get_state() returned is expected, got {_shown(state)}")
        if state["type"] != self.device.type:
            raise ValueError(
                f"set_state: this generator draws on {self.device}, and the state is of one on {state['type']}, "
                "whose stream is another one; make the generator for the same device, or seed this one anew"
            )
        self._library.bit_generator.state = state["stream"]
        self._seed = int(state["seed"])
        return self

    @property
    def library(self) -> Any:
        """The generator of the array library itself (numpy.random.Generator on the CPU): it shares the stream."""
        return self._library

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Draws from N(0, 1) of a floating dtype."""
        dtype = np.dtype(dtype)
        return self._library.standard_normal(shape, dtype=_drawn(dtype)).astype(dtype, copy=False)

    def uniform(self, shape: tuple[int, ...], dtype: Any, low: float = 0.0, high: float = 1.0) -> Array:
        """Draws from [low, high) of a floating dtype, in which `high` is never drawn, unless there is no number below it."""
        dtype = np.dtype(dtype)
        u = self._library.random(shape, dtype=_drawn(dtype))
        if (low, high) == (0, 1) and u.dtype == dtype:
            return u
        x = (u * (high - low) + low).astype(dtype, copy=False)  # which may have been rounded up to `high`
        return array_module(x).minimum(x, np.nextafter(dtype.type(high), dtype.type(low)))

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Array:
        """int64 draws from low, ..., high - 1."""
        return self._library.integers(low, high, shape)

    def permutation(self, n: int) -> Array:
        """The numbers 0, ..., n - 1 in random order."""
        return self._library.permutation(n)


class _Defaults:
    """The generators that are used when none is given: one per device, each made when it is first asked for."""

    def __init__(self, seed: int):
        self.seed = seed
        self.generators: dict[Device, Generator] = {}


_shared = _Defaults(secrets.randbits(63))
_own: ContextVar[_Defaults | None] = ContextVar("tinygen_own_generators", default=None)


@contextmanager
def own_generators(seed: int) -> Iterator[None]:
    """Inside, this thread has default generators of its own, of that seed; what it draws does not depend on other threads.

    `manual_seed`, `get_rng_state` and `set_rng_state` are then about these, too.
    """
    token = _own.set(_Defaults(seed))
    try:
        yield
    finally:
        _own.reset(token)


def default_generator(device: Device) -> Generator:
    """The generator that a device uses when none is given."""
    defaults = _own.get() or _shared
    if device not in defaults.generators:
        defaults.generators[device] = Generator(device).manual_seed(defaults.seed)
    return defaults.generators[device]


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices, those not yet in use too (torch.manual_seed).

    Returns the generator of the CPU.
    """
    defaults = _own.get() or _shared
    cpu = default_generator(registry.CPU).manual_seed(seed)
    for generator in defaults.generators.values():
        generator.manual_seed(seed)
    defaults.seed = int(seed)
    return cpu


def initial_seed() -> int:
    """The seed that the CPU's default generator started from (torch.initial_seed)."""
    return default_generator(registry.CPU).initial_seed()


def get_rng_state() -> dict[str, Any]:
    """Where the default generators are now (torch.get_rng_state, but of all devices in use at once).

    {"seed": the seed of those not yet in use, "devices": {"cpu": its Generator.get_state(), ...}}: copies.
    """
    defaults = _own.get() or _shared
    devices = {str(device): generator.get_state() for device, generator in defaults.generators.items()}
    return {"seed": defaults.seed, "devices": devices}


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Let the default generators go on from where `get_rng_state` was called (torch.set_rng_state).

    One that was not in use then starts from the seed again, so what was drawn after `get_rng_state` is drawn again.
    Raises TypeError for what `get_rng_state` does not return, RuntimeError for the state of a GPU that is not here.
    """
    if not isinstance(state, Mapping) or not {"seed", "devices"} <= state.keys():
        raise TypeError(f"set_rng_state: what get_rng_state() returned is expected, got {_shown(state)}")
    states = {registry.device(name): its_state for name, its_state in state["devices"].items()}
    defaults = _own.get() or _shared
    defaults.seed = int(state["seed"])
    for device in {**states, **defaults.generators}:
        generator = default_generator(device)
        generator.set_state(states[device]) if device in states else generator.manual_seed(defaults.seed)


def _shown(state: Any) -> str:
    return f"a dict with the keys {sorted(map(str, state))}" if isinstance(state, Mapping) else type(state).__name__


def _drawn(dtype: np.dtype) -> np.dtype:
    """The dtype in which the libraries draw: they know float32 and float64."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype
