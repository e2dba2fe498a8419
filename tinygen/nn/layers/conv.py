"""Convolution layers and their transposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygen.creation import empty
from tinygen.nn import functional as F
from tinygen.nn import init
from tinygen.nn.functional.conv import Sizes, sizes, zeros_around
from tinygen.nn.layers.linear import positive
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


class _Conv(Module):
    """What the six layers share: the sizes, the parameters and how they start."""

    _ndim: int
    _function: Callable[..., Any]
    padding: Any
    _is_transposed = False
    in_channels: int
    out_channels: int
    groups: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ):
        super().__init__()
        name, n = type(self).__name__, self._ndim
        positive(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        modes = ("zeros",) if self._is_transposed else ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(modes)}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size: tuple[int, ...] = sizes(name, "kernel_size", kernel_size, n, 1)
        self.stride: tuple[int, ...] = sizes(name, "stride", stride, n, 1)
        self.dilation: tuple[int, ...] = sizes(name, "dilation", dilation, n, 1)
        zeros_around(name, padding, n, self.stride, self.kernel_size, self.dilation)  # a wrong one is noticed here
        self.padding = padding if isinstance(padding, str) else sizes(name, "padding", padding, n, 0)
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels) if self._is_transposed else (out_channels, in_channels)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.weight: Parameter = Parameter(empty(shape, device=device, dtype=dtype))
        self.bias: Parameter | None = Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new starting values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        n = self._ndim
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        usual = {
            "padding": (0,) * n,
            "dilation": (1,) * n,
            "output_padding": (0,) * n,
            "groups": 1,
            "bias": True,
            "padding_mode": "zeros",
        }
        values = {**vars(self), "bias": self.bias is not None}
        return ", ".join(parts + [f"{k}={values[k]}" for k, v in usual.items() if values.get(k, v) != v])


class _Forward(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )

    def forward(self, input: Any) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around(), self.padding_mode), 0
        return type(self)._function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _around(self) -> list[int]:
        """The padding as F.pad takes it: (before, after) of the last dimension first."""
        pairs: list[tuple[int, int]] = [(0, 0)] * self._ndim
        if self.padding == "same":
            total = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            pairs = [(t // 2, t - t // 2) for t in total]
        elif not isinstance(self.padding, str):
            pairs = [(p, p) for p in self.padding]
        return [p for pair in reversed(pairs) for p in pair]


class _Transposed(_Conv):
    _is_transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if isinstance(padding, str):
            raise ValueError(f"{type(self).__name__}: padding must be whole numbers, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding: tuple[int, ...] = sizes(
            type(self).__name__, "output_padding", output_padding, self._ndim, 0
        )

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """output_size: the spatial size wanted (or the whole shape), instead of `output_padding`."""
        more = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return type(self)._function(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )

    def _output_padding(self, input: Any, output_size: Sequence[int]) -> tuple[int, ...]:
        n = self._ndim
        wanted = tuple(output_size)
        if len(wanted) == input.ndim and len(wanted) > n:
            wanted = wanted[-n:]
        smallest = tuple(
            (m - 1) * s - 2 * p + d * (k - 1) + 1
            for m, s, p, d, k in zip(
                input.shape[-n:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        )
        largest = tuple(m + max(s, d) - 1 for m, s, d in zip(smallest, self.stride, self.dilation, strict=True))
        if len(wanted) != n or any(not a <= w <= b for a, w, b in zip(smallest, wanted, largest, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: for an input of shape {tuple(input.shape)} output_size must lie between "
                f"{list(smallest)} and {list(largest)}, got {list(output_size)}"
            )
        return tuple(w - a for w, a in zip(wanted, smallest, strict=True))


_FORWARD = """y[o] = b[o] + Σ_c w[o, c] ⋆ x[c]: every output channel is a sum of input channels, each slid over by a small kernel.

    x: (N, in_channels, {form}) or without N.  Returns (N, out_channels, {out}), sizes as `functional.conv{n}d` says.
    weight: (out_channels, in_channels / groups, *kernel_size), bias: (out_channels,); both start uniform in
    ±1/√(in_channels / groups · Π kernel_size), as in PyTorch.
    padding: whole numbers, "same" or "valid"; padding_mode: "zeros", "reflect", "replicate", "circular".
    device, dtype: of the parameters.
    Raises ValueError for sizes that make no sense, ShapeError for an input that does not fit.
    """

_TRANSPOSED = """The transpose of Conv{n}d with the same weight, as a matrix: every input value adds a scaled copy of the kernel to the output.

    x: (N, in_channels, {form}) or without N.  Returns (N, out_channels, {out}), sizes as `functional.conv_transpose{n}d` says.
    weight: (in_channels, out_channels / groups, *kernel_size), bias: (out_channels,); both start uniform in
    ±1/√(out_channels / groups · Π kernel_size), as in PyTorch.  padding_mode: "zeros", nothing else.
    device, dtype: of the parameters.
    Raises ValueError for sizes that make no sense, ShapeError for an input that does not fit.
    Source: deck D4; Dumoulin, Visin 2016, chapter 4.
    """


class Conv1d(_Forward):
    __doc__ = _FORWARD.format(n=1, form="L", out="L'")
    _ndim, _function = 1, F.conv1d


class Conv2d(_Forward):
    __doc__ = _FORWARD.format(n=2, form="H, W", out="H', W'")
    _ndim, _function = 2, F.conv2d


class Conv3d(_Forward):
    __doc__ = _FORWARD.format(n=3, form="D, H, W", out="D', H', W'")
    _ndim, _function = 3, F.conv3d


class ConvTranspose1d(_Transposed):
    __doc__ = _TRANSPOSED.format(n=1, form="L", out="L'")
    _ndim, _function = 1, F.conv_transpose1d


class ConvTranspose2d(_Transposed):
    __doc__ = _TRANSPOSED.format(n=2, form="H, W", out="H', W'")
    _ndim, _function = 2, F.conv_transpose2d


class ConvTranspose3d(_Transposed):
    __doc__ = _TRANSPOSED.format(n=3, form="D, H, W", out="D', H', W'")
    _ndim, _function = 3, F.conv_transpose3d
