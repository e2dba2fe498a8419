"""Layers that change the number of pixels: upsampling, shuffling, padding, windows as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.nn import functional as F
from tinygen.nn.functional.conv import Sizes, sizes
from tinygen.nn.module import Module
from tinygen.tensor import Tensor


class Upsample(Module):
    """More (or fewer) pixels for the same picture: (N, C, *size) -> (N, C, *new size).  See `functional.interpolate`.

    Followed by a convolution it is the "resize-convolution" that leaves no checkerboard (Odena et al. 2016).
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
    ):
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ValueError("Upsample: give either size or scale_factor")
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, input: Any) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        corners = "" if self.align_corners is None else f", align_corners={self.align_corners}"
        return f"{size}, mode={self.mode!r}{corners}"


class PixelShuffle(Module):
    """Channels become pixels: (*, C r², H, W) -> (*, C, H r, W r), r = upscale_factor.  See `functional.pixel_shuffle`."""

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels become channels: (*, C, H r, W r) -> (*, C r², H, W), r = downscale_factor.  The inverse of PixelShuffle."""

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class _Pad2d(Module):
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]):
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise ValueError(
                f"{type(self).__name__}: padding must be one number or (left, right, top, bottom), got {padding!r}"
            )

    def forward(self, input: Any) -> Tensor:
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class ConstantPad2d(_Pad2d):
    """`value` around an image: (*, H, W) -> (*, top + H + bottom, left + W + right), padding = (left, right, top, bottom)."""

    def __init__(self, padding: int | Sequence[int], value: float):
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(_Pad2d):
    """Zeros around an image: (*, H, W) -> (*, top + H + bottom, left + W + right), padding = (left, right, top, bottom)."""


class ReflectionPad2d(_Pad2d):
    """The image goes on as a mirror would show it, the border not repeated; padding = (left, right, top, bottom)."""

    _mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """The image goes on as its border; padding = (left, right, top, bottom)."""

    _mode = "replicate"


class Unfold(Module):
    """All windows of an image as columns: (N, C, H, W) -> (N, C · kernel, windows).  See `functional.unfold`."""

    def __init__(self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1):
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Any) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns added up where their windows were: (N, C · kernel, windows) -> (N, C, *output_size); the transpose of Unfold."""

    def __init__(
        self, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ):
        super().__init__()
        self.output_size = sizes("Fold", "output_size", output_size, 2, 1)
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Any) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
