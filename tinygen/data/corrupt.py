"""Corruptions for denoising: an autoencoder sees the corrupted image and is asked for the clean one.

They take a NumPy array, a CuPy array or a Tensor of any shape and return a new one of the same kind, dtype and device.
The result is data: no gradient flows through a corruption.

Source: Vincent, Larochelle, Lajoie, Bengio, Manzagol, "Stacked Denoising Autoencoders", JMLR 2010, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygen
from tinygen import backend
from tinygen.data.generators import AnyGenerator, library_generator


def masking_noise(x: Any, fraction: float = 0.5, generator: AnyGenerator = None) -> Any:
    """x with every element set to 0 with probability `fraction`, independently.

    Raises ValueError unless 0 <= fraction <= 1, TypeError for x that is not of a floating-point type.
    """
    _check_fraction("masking_noise", fraction)
    return corrupted("masking_noise", x, generator, lambda xp, a, rng: a * (uniform(rng, a) >= fraction))


def gaussian_noise(x: Any, std: float = 0.5, generator: AnyGenerator = None) -> Any:
    """x + N(0, std²), independently per element; the result may leave [0, 1], and is not clipped.

    Raises ValueError for std < 0, TypeError for x that is not of a floating-point type.
    """
    if not 0 <= std < float("inf"):
        raise ValueError(f"gaussian_noise: a finite std >= 0 is expected, got {std}")
    return corrupted("gaussian_noise", x, generator, lambda xp, a, rng: a + std * _normal(rng, a))


def salt_and_pepper(x: Any, fraction: float = 0.5, generator: AnyGenerator = None) -> Any:
    """x with every element replaced, with probability `fraction`, by 0 or by 1 as a fair coin falls.

    Raises ValueError unless 0 <= fraction <= 1, TypeError for x that is not of a floating-point type.
    """
    _check_fraction("salt_and_pepper", fraction)

    def corrupt(xp: Any, a: Any, rng: Any) -> Any:
        u = uniform(rng, a)  # one draw decides both: pepper below fraction/2, salt below fraction
        return xp.where(u < fraction / 2, 0, xp.where(u < fraction, 1, a))

    return corrupted("salt_and_pepper", x, generator, corrupt)


def corrupted(name: str, x: Any, generator: AnyGenerator, corrupt: Callable[[Any, Any, Any], Any]) -> Any:
    """corrupt(array module, array, random generator) on an array or Tensor of floats, in its kind, dtype and device."""
    is_tensor = isinstance(x, tinygen.Tensor)
    array = x.array if is_tensor else x
    if not backend.is_array(array) or array.dtype.kind != "f":
        raise TypeError(
            f"{name}: an array or Tensor of floats is expected, got {getattr(x, 'dtype', type(x).__name__)}"
        )
    xp, device = backend.array_module(array), backend.device_of(array)
    result = corrupt(xp, array, library_generator(generator, device)).astype(array.dtype, copy=False)
    return tinygen.as_tensor(result) if is_tensor else result


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"{name}: 0 <= fraction <= 1 is expected, got {fraction}")


def uniform(rng: Any, like: Any) -> Any:
    """U[0, 1), one draw for each element."""
    return rng.random(like.shape, dtype=_drawn(like))


def _normal(rng: Any, like: Any) -> Any:
    return rng.standard_normal(like.shape, dtype=_drawn(like))


def _drawn(like: Any) -> Any:
    """The generators know float32 and float64; half precision is drawn as float32."""
    return np.float64 if like.dtype == np.float64 else np.float32
