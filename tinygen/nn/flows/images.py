"""Transforms of images, (batch, channels, height, width): squeezing, factoring out, mixing channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Generator
from tinygen.creation import eye, rand, randn, tensor
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.nn import functional as F
from tinygen.nn.flows.transform import Transform, expect, no_change, same_for_all
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.promotion import get_default_dtype
from tinygen.tensor import Tensor


class Squeeze(Transform):
    """The r × r pixels of a square become r² channels of one pixel; the log-determinant is 0.  (C, H, W) -> (C r², H/r, W/r)

    A checkerboard on the image becomes a choice of channels, and a convolution sees r times as far.
    Raises ShapeError when r does not divide height and width, or r² (in inverse) the channels; ValueError unless r >= 1.
    Source: Dinh et al. 2016, section 3.6 and figure 3; deck D4 (4×4×1 -> 2×2×4).
    factor: r.
    """

    def __init__(self, factor: int = 2):
        super().__init__()
        if factor < 1:
            raise ValueError(f"Squeeze: factor >= 1 is expected, got {factor}")
        self.factor = factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data), large and with few channels -> y, small and with many, and 0."""
        if x.ndim != 4 or x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ShapeError(
                f"Squeeze: images (batch, channels, height, width) with sides that {self.factor} divides are expected, got "
                f"{tuple(x.shape)}; pad or crop them"
            )
        return F.pixel_unshuffle(x, self.factor), no_change(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y, small and with many channels -> x (data), large and with few, and 0."""
        if y.ndim != 4 or y.shape[1] % self.factor**2:
            raise ShapeError(
                f"Squeeze: (batch, channels, height, width) with channels that {self.factor**2} divides are expected to be "
                f"unsqueezed, got {tuple(y.shape)}"
            )
        return F.pixel_shuffle(y, self.factor), no_change(y)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


class FactorOut(Transform):
    """(a, b) -> (rest(a), b): half of the channels is finished, and only the other half is transformed further.

        z = (f(a), b),   log|det ∂z/∂x| = log|det ∂f/∂a|

    Details leave early and coarse structure is worked on longer; the cost of depth falls with every scale.
    z is a batch of vectors, (batch, C H W): first rest(a), flattened, then b.

    rest: the transform f of a, (batch, C/2, H, W) -> (batch, C/2 H W): its last step is a FactorOut or a Reshape.
    image: (C, H, W) of x.
    Raises ValueError for an odd number of channels, ShapeError for other images.
    Source: Dinh et al. 2016, section 3.6, eq. 14-16.
    """

    def __init__(self, image: Sequence[int], rest: Any):
        super().__init__()
        self.image: tuple[int, ...] = tuple(image)
        channels, height, width = self.image
        if channels % 2:
            raise ValueError(f"FactorOut: an even number of channels is expected, got {channels}; Squeeze() first")
        self.kept: tuple[int, int, int] = (channels // 2, height, width)
        self.rest = rest

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data), (batch, C, H, W) -> z (noise), (batch, C H W), and log|det ∂z/∂x|."""
        a, b = ops.chunk(expect(self, x, self.image), 2, 1)
        a, logdet = self.rest(a)
        return ops.cat([expect(self, a, (math.prod(self.kept),)), b.flatten(1)], 1), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (noise), (batch, C H W) -> x (data), (batch, C, H, W), and log|det ∂x/∂z|."""
        a, b = ops.chunk(expect(self, z, (math.prod(self.image),)), 2, 1)
        a, logdet = self.rest.inverse(a)
        return ops.cat([a, b.unflatten(1, self.kept)], 1), logdet


class InvertibleConv1x1(Transform):
    """y = W x at every pixel, W a matrix over the channels,   log|det ∂y/∂x| = pixels · Σ log|s|

        W = P L (U + diag s)       P a fixed permutation, L unit lower and U strictly upper triangular

    A learned generalisation of permuting the channels between couplings.  In this form the determinant costs nothing and no
    step of training makes W singular.  The sign of s is fixed; log|s|, L and U are learned.  W starts as a random rotation.

    channels: C of x, (batch, C, *).  Raises ShapeError for another number of channels.
    Source: Kingma, Dhariwal, "Glow", 2018, section 3.2.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, *, generator: Generator | None = None):
        super().__init__()
        from scipy.linalg import lu

        if channels < 1:
            raise ValueError(f"InvertibleConv1x1: channels >= 1 is expected, got {channels}")
        self.channels = channels
        gaussian = randn(channels, channels, dtype=np.float64, device="cpu", generator=generator).array
        rotation = np.linalg.qr(gaussian)[0]
        p, lower, upper = lu(rotation)
        s = np.diag(upper)
        dtype = get_default_dtype()
        self.lower: Parameter = Parameter(tensor(np.tril(lower, -1), dtype=dtype))
        self.upper: Parameter = Parameter(tensor(np.triu(upper, 1), dtype=dtype))
        self.log_s: Parameter = Parameter(tensor(np.log(np.abs(s)), dtype=dtype))
        self.register_buffer("permutation", tensor(p, dtype=dtype))
        self.register_buffer("sign", tensor(np.sign(s), dtype=dtype))

    def matrix(self) -> Tensor:
        """W: (C, C)."""
        lower = ops.tril(self.lower, -1) + eye(self.channels, dtype=self.lower.dtype, device=self.lower.device)
        upper = ops.triu(self.upper, 1) + ops.diag(self.sign * self.log_s.exp())
        return self.permutation @ lower @ upper

    def _mixed(self, x: Any, w: Any) -> Any:
        if x.ndim < 2 or x.shape[1] != self.channels:
            raise ShapeError(
                f"InvertibleConv1x1: an input of shape (batch, {self.channels}, *) is expected, got {tuple(x.shape)}"
            )
        if x.ndim == 4:
            return F.conv2d(x, w.reshape(self.channels, self.channels, 1, 1))
        return ops.movedim(ops.movedim(x, 1, -1) @ w.T, -1, 1)

    def _logdet(self, x: Any) -> Any:
        return same_for_all(x, math.prod(x.shape[2:]) * self.log_s.sum())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data) -> y and log|det ∂y/∂x|."""
        return self._mixed(x, self.matrix()), self._logdet(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y -> x (data) and log|det ∂x/∂y|."""
        return self._mixed(y, ops.inverse(self.matrix())), -self._logdet(y)


class Dequantize(Module):
    """Grey levels as real numbers: v = (255 x + u) / 256, u uniform in [0, 1); a draw, so not a `Transform`.

    An 8-bit pixel takes one of 256 values, and a density could grow without bound on them.  Spread evenly over the cell
    [k/256, (k+1)/256) of each value k, the mean log-density bounds the probability of the grey levels from below:

        E_u log p(v) <= log ∫_cell p(v) dv · 256^D = log P(k) + D log 256

    forward: x, pixels k/255 in [0, 1] -> v in [0, 1).  inverse: v, a sample -> x, the pixels of its cell, clamped to [0, 1]:
    inverse(forward(x)) == x exactly, since u keeps from the walls of its cell by what rounding can move it (6e-5 in float32).
    levels: 256, number of grey levels.  generator: of the draws; None is the default one of x's device.
    Raises ValueError for less than 2 levels, and in forward for pixels that are no multiples of 1 / (levels - 1).  On a GPU,
    where the host would have to wait for the answer, such pixels become nan instead, and so does the loss.
    Source: Uria, Murray, Larochelle 2013; Theis, van den Oord, Bethge 2016, section 3.1.
    """

    levels: int
    generator: Generator | None

    def __init__(self, levels: int = 256, generator: Generator | None = None):
        super().__init__()
        if levels < 2:
            raise ValueError(f"Dequantize: levels >= 2 are expected, got {levels}")
        self.levels, self.generator = levels, generator

    def forward(self, x: Tensor) -> Tensor:
        """x (pixels k/255) -> v, uniform in the cells of their grey levels."""
        on_cpu = x.device.type == "cpu"
        if on_cpu:
            self._check(x)
        whole, rounding = (x.detach() * (self.levels - 1)).round(), self._rounding(x)
        u = rand(x.shape, dtype=x.dtype, device=x.device, generator=self.generator)
        # 200 + 0.999999 is 201 in float32, which lies in the next cell
        v = (whole + rounding + (1 - 2 * rounding) * u) / self.levels
        return v if on_cpu else ops.where(self._are_levels(x), v, math.nan)

    def _are_levels(self, x: Tensor) -> Tensor:
        k = x.detach() * (self.levels - 1)
        whole = k.round()
        near = (k - whole).abs() <= max(1e-3, self._rounding(x))
        return near & (whole >= 0) & (whole < self.levels)

    @as_a_whole
    def _check(self, x: Tensor) -> None:
        if x.numel() and not bool(self._are_levels(x).all()):
            raise ValueError(
                f"Dequantize: pixels that are multiples of 1/{self.levels - 1} in [0, 1] are expected, got values from "
                f"{x.min().item():.4g} to {x.max().item():.4g}; they are dequantised once, by the model's loss"
            )

    def _rounding(self, x: Any) -> float:
        """More than k + u, its quotient by the levels and the product with them can be off by, in x's dtype."""
        return min(0.5, 2 * self.levels * float(np.finfo(x.dtype).eps))

    def inverse(self, v: Tensor) -> Tensor:
        """v (a sample) -> x, the pixels k/255 of the cells that it lies in; what lies outside [0, 1) becomes black or white."""
        return (v * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"
