"""Coupling layers: invertible maps whose Jacobian is triangular, whatever networks stand inside.

The part of x where the mask b is 1 passes through unchanged and decides how the rest is moved:

    forward   x (data) -> y (towards the latent)     and log|det dy/dx|
    inverse   y -> x, exactly, at the same cost      and log|det dx/dy| = -log|det dy/dx|

x and y: (batch, *shape); b: shape, of 0 and 1; log-determinants: (batch,), in nats.  The networks map (batch, *shape) to the
same shape; what they return where b is 1 is ignored.  Layers with b and 1 - b in turn move every coordinate.

Sources: NICE, Dinh, Krueger, Bengio 2014, section 3.2; RealNVP, Dinh, Sohl-Dickstein, Bengio 2016, eq. 4-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Generator
from tinygen.creation import as_tensor, randperm, tensor
from tinygen.errors import ShapeError
from tinygen.nn.module import Module
from tinygen.promotion import get_default_dtype
from tinygen.tensor import Tensor


class _Coupling(Module):
    """The mask, and the checks."""

    def __init__(self, mask: Any):
        super().__init__()
        mask = as_tensor(mask).to(dtype=get_default_dtype())
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(f"{type(self).__name__}: the mask must consist of 0 and 1, got {mask.tolist()}")
        self.register_buffer("mask", mask)

    def _check(self, x: Any) -> None:
        if x.shape[1:] != self.mask.shape:
            raise ShapeError(
                f"{type(self).__name__}: an input of shape (batch, *{tuple(self.mask.shape)}) is expected, after the mask; "
                f"got {tuple(x.shape)}"
            )

    def _moving(self, name: str, value: Any, x: Any) -> Any:
        """A network's output on the part that moves, 0 on the part that passes."""
        if value.shape != x.shape:
            raise ShapeError(
                f"{type(self).__name__}: {name} must return the shape of its input, {tuple(x.shape)}, got {tuple(value.shape)}"
            )
        return value * (1 - self.mask)

    def extra_repr(self) -> str:
        shape = tuple(self.mask.shape)
        return f"mask={self.mask.long().tolist()}" if self.mask.numel() <= 8 else f"mask of shape {shape}"


class AffineCoupling(_Coupling):
    """y = b⊙x + (1-b)⊙(x⊙exp s(b⊙x) + t(b⊙x)),   log|det dy/dx| = Σ (1-b)⊙s(b⊙x)

    scale_net, translate_net: any modules, s and t.  s often ends in a tanh, which bounds the scale to (1/e, e).
    """

    def __init__(self, mask: Any, scale_net: Module, translate_net: Module):
        super().__init__(mask)
        self.scale_net, self.translate_net = scale_net, translate_net

    def scale_and_shift(self, x: Any) -> tuple[Any, Any]:
        """s and t from the part of x that passes: 0 there."""
        self._check(x)
        passing = x * self.mask
        s = self._moving("scale_net", self.scale_net(passing), x)
        return s, self._moving("translate_net", self.translate_net(passing), x)

    def forward(self, x: Any) -> tuple[Any, Any]:
        """x -> y and log|det dy/dx|."""
        s, t = self.scale_and_shift(x)  # where b is 1, s and t are 0, and x exp(0) + 0 is x
        return x * ops.exp(s) + t, _sum_to_batch(s)

    def inverse(self, y: Any) -> tuple[Any, Any]:
        """y -> x and log|det dx/dy|."""
        s, t = self.scale_and_shift(y)  # the part that passes is the same in x and y, and so are s and t
        return (y - t) * ops.exp(-s), -_sum_to_batch(s)


class AdditiveCoupling(_Coupling):
    """y = b⊙x + (1-b)⊙(x + t(b⊙x)),   log|det dy/dx| = 0: the volume stays.

    translate_net: any module, t.
    """

    def __init__(self, mask: Any, translate_net: Module):
        super().__init__(mask)
        self.translate_net = translate_net

    def shift(self, x: Any) -> Any:
        """t from the part of x that passes: 0 there."""
        self._check(x)
        return self._moving("translate_net", self.translate_net(x * self.mask), x)

    def forward(self, x: Any) -> tuple[Any, Any]:
        """x -> y and log|det dy/dx| = 0."""
        return x + self.shift(x), x.new_zeros(x.shape[0])

    def inverse(self, y: Any) -> tuple[Any, Any]:
        """y -> x and log|det dx/dy| = 0."""
        return y - self.shift(y), y.new_zeros(y.shape[0])


def _sum_to_batch(x: Any) -> Any:
    return ops.sum(x, tuple(range(1, x.ndim))) if x.ndim > 1 else x


def alternating_mask(shape: int | Sequence[int], parity: int = 0) -> Tensor:
    """1 where the sum of the indices has the parity, else 0: 1 0 1 0 ... for parity 0, a checkerboard in two dimensions."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return tensor((np.indices(shape).sum(0) % 2 == parity % 2).astype(get_default_dtype()))


def half_mask(n: int, parity: int = 0) -> Tensor:
    """1 in the first half of n coordinates (n // 2 of them) and 0 in the second; the other way round for parity 1."""
    return tensor(((np.arange(n) < n // 2) ^ bool(parity % 2)).astype(get_default_dtype()))


def random_half_mask(n: int, *, generator: Generator | None = None) -> Tensor:
    """1 at n // 2 coordinates drawn at random, 0 at the others."""
    return (randperm(n, generator=generator) < n // 2).to(dtype=get_default_dtype())
