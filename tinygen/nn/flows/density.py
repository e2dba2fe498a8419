"""Base densities: the noise that a flow ends in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Generator
from tinygen.creation import rand, randn
from tinygen.errors import ShapeError
from tinygen.tensor import Tensor


class Density:
    """A density over z, (batch, *shape), of independent coordinates.

    log_prob raises ShapeError for z of another shape.
    """

    def __init__(self, shape: int | Sequence[int]):
        self.shape: tuple[int, ...] = (shape,) if isinstance(shape, int) else tuple(shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z): (batch, *shape) -> (batch,), in nats."""
        raise NotImplementedError

    def sample(self, n: int, *, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
        """n draws: (n, *shape)."""
        raise NotImplementedError

    def _checked(self, z: Tensor) -> Tensor:
        if z.ndim == 0 or z.shape[1:] != self.shape:
            raise ShapeError(
                f"{type(self).__name__}: z of shape {('batch', *self.shape)} is expected, got {tuple(z.shape)}"
            )
        return z

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.shape}"


class StandardNormal(Density):
    """N(0, I):  log p(z) = −½ Σ [z_i² + log 2π]"""

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (self._checked(z).square() + math.log(2 * math.pi)).flatten(1).sum(1)

    def sample(self, n: int, *, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
        return randn(n, *self.shape, dtype=dtype, device=device, generator=generator)


class StandardLogistic(Density):
    """Independent standard logistic variables:  log p(z) = −Σ [softplus(z_i) + softplus(−z_i)]

    Heavier tails than the normal density; NICE's prior.  Source: Dinh, Krueger, Bengio 2014, section 3.4.
    """

    def log_prob(self, z: Tensor) -> Tensor:
        z = self._checked(z)
        return -(ops.softplus(z) + ops.softplus(-z)).flatten(1).sum(1)

    def sample(self, n: int, *, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
        """By inverting the distribution function: z = log u − log(1 − u)."""
        u = rand(n, *self.shape, dtype=dtype, device=device, generator=generator)
        tiny = float(np.finfo(u.dtype).eps) / 2  # u may be 0, whose logarithm is no number
        u = u.clamp(tiny, 1 - tiny)
        return u.log() - (-u).log1p()
