"""Where the random draws of this room come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import backend

AnyGenerator = backend.Generator | np.random.Generator | int | None
"""A tinygen.Generator, NumPy's own, a seed, or None for the default generator that tinygen.manual_seed seeds."""


def library_generator(generator: AnyGenerator, device: backend.Device | str = "cpu") -> Any:
    """The array library's generator (`standard_normal`, `random`, `integers`, `permutation`) that draws on `device`.

    A Generator is advanced, not copied: two calls with the same one draw different numbers, two calls with the same
    seed draw the same.

    Raises TypeError for anything else, ValueError for a generator of another device.
    """
    device = backend.device(device)
    if isinstance(generator, np.random.Generator):
        if device.type != "cpu":
            raise ValueError(f"generator: a numpy Generator draws on the cpu, but the data are on {device}")
        return generator
    if generator is None:
        return backend.default_generator(device).library
    if isinstance(generator, backend.Generator):
        if generator.device != device:
            raise ValueError(
                f"generator: this one draws on {generator.device}, but the draws are needed on {device}; "
                f"use Generator({str(device)!r})"
            )
        return generator.library
    if isinstance(generator, (int, np.integer)) and not isinstance(generator, bool):
        return backend.Generator(device).manual_seed(int(generator)).library
    raise TypeError(f"generator: a tinygen.Generator, numpy Generator, seed or None is expected, got {generator!r}")
