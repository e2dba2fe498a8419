"""Pooling layers: no parameters, one call each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygen.nn import functional as F
from tinygen.nn.functional.conv import Sizes
from tinygen.nn.module import Module
from tinygen.tensor import Tensor


class _Pool(Module):
    _function: Callable[..., Any]
    kernel_size: Sizes
    stride: Sizes

    def extra_repr(self) -> str:
        usual = {
            "padding": 0,
            "dilation": 1,
            "return_indices": False,
            "ceil_mode": False,
            "count_include_pad": True,
            "divisor_override": None,
        }
        parts = [f"kernel_size={self.kernel_size}, stride={self.stride}"]
        return ", ".join(parts + [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k, v) != v])


class _MaxPool(_Pool):
    kernel_size: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    return_indices: bool
    ceil_mode: bool

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Tensor:
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_MaxPool):
    """The largest value of every window: (N, C, L) -> (N, C, L').  See `functional.max_pool1d`."""

    _function = F.max_pool1d


class MaxPool2d(_MaxPool):
    """The largest value of every window: (N, C, H, W) -> (N, C, H', W').  See `functional.max_pool1d`.

    return_indices: return (values, indices); `MaxUnpool2d` takes both.
    """

    _function = F.max_pool2d


class MaxPool3d(_MaxPool):
    """The largest value of every window: (N, C, D, H, W) -> (N, C, D', H', W').  See `functional.max_pool1d`."""

    _function = F.max_pool3d


class _MaxUnpool(_Pool):
    kernel_size: Sizes
    stride: Sizes
    padding: Sizes

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Tensor:
        return type(self)._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Values back where MaxPool1d found them, 0 elsewhere: (N, C, L) -> (N, C, L').  See `functional.max_unpool1d`."""

    _function = F.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """Values back where MaxPool2d found them, 0 elsewhere: (N, C, H, W) -> (N, C, H', W').  See `functional.max_unpool1d`."""

    _function = F.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """Values back where MaxPool3d found them, 0 elsewhere: (N, C, D, H, W) -> (N, C, D', H', W').  See `functional.max_unpool1d`."""

    _function = F.max_unpool3d


class AvgPool1d(_Pool):
    """The mean of every window: (N, C, L) -> (N, C, L').  See `functional.avg_pool1d`."""

    kernel_size: Sizes
    stride: Sizes
    padding: Sizes
    ceil_mode: bool
    count_include_pad: bool

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Any) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class _AvgPool(_Pool):
    kernel_size: Sizes
    stride: Sizes
    padding: Sizes
    ceil_mode: bool
    count_include_pad: bool
    divisor_override: int | None

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Any) -> Tensor:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPool):
    """The mean of every window: (N, C, H, W) -> (N, C, H', W').  See `functional.avg_pool1d`.

    divisor_override: divide the sum of a window by this instead of the number of its elements.
    """

    _function = F.avg_pool2d


class AvgPool3d(_AvgPool):
    """The mean of every window: (N, C, D, H, W) -> (N, C, D', H', W').  See `functional.avg_pool1d`.

    divisor_override: see AvgPool2d.
    """

    _function = F.avg_pool3d


class _LPPool(_Pool):
    norm_type: float
    kernel_size: Sizes
    ceil_mode: bool

    def __init__(self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type, self.kernel_size, self.ceil_mode = norm_type, kernel_size, ceil_mode
        self.stride: Sizes = kernel_size if stride is None else stride

    def forward(self, input: Any) -> Tensor:
        return type(self)._function(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, {super().extra_repr()}"


class LPPool1d(_LPPool):
    """(Σ xᵖ)^(1/p) of every window, p = norm_type: (N, C, L) -> (N, C, L').  See `functional.lp_pool1d`."""

    _function = F.lp_pool1d


class LPPool2d(_LPPool):
    """(Σ xᵖ)^(1/p) of every window, p = norm_type: (N, C, H, W) -> (N, C, H', W').  See `functional.lp_pool1d`."""

    _function = F.lp_pool2d


class LPPool3d(_LPPool):
    """(Σ xᵖ)^(1/p) of every window, p = norm_type: (N, C, D, H, W) -> (N, C, D', H', W').  See `functional.lp_pool1d`."""

    _function = F.lp_pool3d


class _AdaptiveAvgPool(Module):
    _function: Callable[..., Any]

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Tensor:
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means over output_size even parts, whatever the input's size: (N, C, L) -> (N, C, output_size)."""

    _function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means over even parts, whatever the input's size: (N, C, H, W) -> (N, C, *output_size); 1 is the mean of the image."""

    _function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means over even parts, whatever the input's size: (N, C, D, H, W) -> (N, C, *output_size)."""

    _function = F.adaptive_avg_pool3d


class _AdaptiveMaxPool(Module):
    _function: Callable[..., Any]
    output_size: Any
    return_indices: bool

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Any) -> Any:
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}" + ", return_indices=True" * self.return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest values of output_size even parts: (N, C, L) -> (N, C, output_size).

    return_indices: return (values, indices).  See `functional.adaptive_max_pool1d`.
    """

    _function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest values of even parts: (N, C, H, W) -> (N, C, *output_size).  See AdaptiveMaxPool1d."""

    _function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest values of even parts: (N, C, D, H, W) -> (N, C, *output_size).  See AdaptiveMaxPool1d."""

    _function = F.adaptive_max_pool3d
