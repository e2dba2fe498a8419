"""The sizes of a convolution, in any number of spatial dimensions, consistent by construction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.tensor import Tensor

Sizes = tuple[int, ...]
"""One number per spatial dimension."""


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution's input, kernel and output sizes; the transposed convolution goes from `output` back to `input`.

        output = floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
        input  = (output - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding

    The first is many to one where stride > 1; output_padding, in 0, ..., stride - 1, says which input size was meant.
    Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016, relations 12-14.
    """

    batch: int
    groups: int
    channels_per_group: tuple[int, int]
    """(of the input, of the output)."""
    input: Sizes
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    output_padding: Sizes

    @property
    def ndim(self) -> int:
        """The number of spatial dimensions."""
        return len(self.input)

    @property
    def output(self) -> Sizes:
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(self.input, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        )

    @property
    def in_channels(self) -> int:
        return self.groups * self.channels_per_group[0]

    @property
    def out_channels(self) -> int:
        return self.groups * self.channels_per_group[1]

    @property
    def input_shape(self) -> Sizes:
        return (self.batch, self.in_channels, *self.input)

    @property
    def weight_shape(self) -> Sizes:
        """Of the convolution, and of the transposed convolution that takes its output back."""
        return (self.out_channels, self.channels_per_group[0], *self.kernel)

    @property
    def output_shape(self) -> Sizes:
        return (self.batch, self.out_channels, *self.output)

    @property
    def options(self) -> dict[str, Sizes | int]:
        """The keyword arguments of conv1d, conv2d, conv3d; the transposed ones also take `output_padding`."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def draw(self, seed: int, dtype: type = np.float64) -> tuple[Tensor, Tensor, Tensor]:
        """x like the input, w like the weight, y like the output, from N(0, 1)."""
        rng = np.random.default_rng(seed)
        x, w, y = (
            Tensor(rng.standard_normal(shape).astype(dtype))
            for shape in (self.input_shape, self.weight_shape, self.output_shape)
        )
        return x, w, y
