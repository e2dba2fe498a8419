"""Convolutions and their transposes, in one, two and three dimensions, from one source (torch.nn.functional's names)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from tinygen import ops
from tinygen.backend import is_array
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.ops import conv as family
from tinygen.ops.conv import Geometry
from tinygen.ops.shape import _unslice
from tinygen.tensor import Tensor

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

Sizes = int | Sequence[int]
"""One number for all spatial dimensions, or one for each."""


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """y[o, i] = b[o] + Σ_c,k w[o, c, k] x[c, i stride + k dilation - padding], where x is 0 outside.

    input: (N, C, L) or (C, L), weight: (out channels, C / groups, kernel), bias: (out channels,) or None.
    padding: zeros on both sides, "same" (as many as keep the size; stride 1 only; an odd one goes to the end) or "valid" (0).
    Returns (N, out channels, (L + 2 padding - dilation (kernel - 1) - 1) ÷ stride + 1), rounded down: where the stride does not
    divide, the end of the input is ignored.
    The kernel is not turned around: mathematicians call this the cross-correlation.  Source: deck D4, "⊛".
    Raises ShapeError when the sizes do not fit, ValueError for a stride, padding, dilation or groups that make no sense.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """As conv1d, for images.  input: (N, C, H, W) or (C, H, W), weight: (out channels, C / groups, kernel H, kernel W).

    Some ways to compute it (Winograd's; by frequencies, for large kernels) round relative to the largest values of an image, not to
    those under the kernel.  They are used only where no pixel is more than 1024 times larger than the middle one of its image, and
    all are finite (ops/conv/evenness.py): so a large value, a NaN or an infinity is felt by the results that use it, and by
    no others.  That holds for all convolutions and transposes; not on a GPU, where looking would mean waiting, and not in
    gradients of weights, which are sums over all pixels.
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """As conv1d, for volumes.  input: (N, C, D, H, W) or (C, D, H, W), weight: (out channels, C / groups, *kernel)."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transposed matrix of conv1d with the same weight, applied to the input: what conv1d's backward pass computes.

    Every value of the input puts a copy of the kernel, times that value, into the output, `stride` apart; `padding` is
    cut off from both sides of the output, `output_padding` more is kept at the end (conv1d maps several sizes to one; it says
    which was meant).
    input: (N, C, L) or (C, L), weight: (C, out channels / groups, kernel), bias: (out channels,) or None.
    Returns (N, out channels, (L - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding).
    Source: deck D4, "transposed convolution"; Dumoulin, Visin 2016, relation 14.
    Raises ShapeError when the sizes do not fit, ValueError for a stride, padding, dilation or groups that make no sense.
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """As conv_transpose1d, for images.  input: (N, C, H, W) or (C, H, W), weight: (C, out channels / groups, *kernel).

    About rounding errors and a NaN: see conv2d.
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """As conv_transpose1d, for volumes.  input: (N, C, D, H, W) or (C, D, H, W), weight: (C, out channels / groups, *kernel)."""
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _conv(name: str, n: int, x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    x, is_single = _with_batch(name, n, x, w)
    geo = geometry(name, tuple(x.shape), tuple(w.shape), stride, padding, dilation, groups, is_single)
    _check_bias(name, b, w.shape[0])
    y = family.conv(x, w, geo=geo) if b is None else family.conv_bias(x, w, b, geo=geo)
    return ops.squeeze(y, 0) if is_single else y


def _conv_transpose(
    name: str, n: int, y: Any, w: Any, b: Any, stride: Any, padding: Any, more: Any, groups: int, dilation: Any
) -> Any:
    y, is_single = _with_batch(name, n, y, w)
    stride, dilation = sizes(name, "stride", stride, n, 1), sizes(name, "dilation", dilation, n, 1)
    padding, more = sizes(name, "padding", padding, n, 0), sizes(name, "output_padding", more, n, 0)
    has, takes = y.shape[1], w.shape[0]
    _check_groups(name, groups, takes, "in channels")
    if has != takes:
        fixes = [f"a weight (in, out / groups, *kernel) of shape {(has, *w.shape[1:])}"]
        _wrong_channels(name, y.shape, w.shape, takes, groups, is_single, fixes)
    if any(a >= max(s, d) for a, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(
            f"{name}: output_padding {list(more)} must be smaller than stride {list(stride)} or dilation {list(dilation)}: "
            "it says which of the sizes was meant that a convolution with this stride takes to the same size"
        )
    kernel = tuple(w.shape[2:])
    size = tuple(
        (m - 1) * s - 2 * p + d * (k - 1) + 1 + a
        for m, s, p, d, k, a in zip(y.shape[2:], stride, padding, dilation, kernel, more, strict=True)
    )
    if any(m < 1 for m in (*y.shape[2:], *size)):
        raise ShapeError(
            f"{name}: the output would have the size {list(size)}\n    input  {tuple(y.shape)}\n    weight {tuple(w.shape)}\n"
            f"    padding {list(padding)} is cut off from both sides of the output: use less, or a larger input"
        )
    _check_bias(name, b, w.shape[1] * groups)
    # The convolution that this is the transpose of takes the output as its input.
    geo = Geometry(size, kernel, stride, tuple((p, p) for p in padding), dilation, groups)
    if tuple(y.shape[2:]) != geo.out:
        # output_padding has made room for more positions of the kernel than the input has values: those put nothing there
        given = (slice(None), slice(None), *(slice(0, m) for m in y.shape[2:]))
        y = _unslice(y, at=given, shape=(*y.shape[:2], *geo.out))
    x = family.conv_transpose(y, w, geo=geo) if b is None else family.conv_transpose_bias(y, w, b, geo=geo)
    return ops.squeeze(x, 0) if is_single else x


def geometry(
    name: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
    is_single: bool = False,
) -> Geometry:
    """The geometry of a convolution of an input of shape x, (N, C, *size), with a weight of shape w, checked for `name`."""
    n, kernel = len(x) - 2, w[2:]
    stride, dilation = sizes(name, "stride", stride, n, 1), sizes(name, "dilation", dilation, n, 1)
    _check_groups(name, groups, w[0], "out channels")
    if x[1] != w[1] * groups:
        fixes = []
        if x[1] % groups == 0:
            fixes.append(f"a weight (out, in / groups, *kernel) of shape {(w[0], x[1] // groups, *kernel)}")
        if x[1] % w[1] == 0 and x[1] > 0 and w[0] % (x[1] // w[1]) == 0:
            fixes.append(f"groups={x[1] // w[1]}")
        _wrong_channels(
            name, x, w, w[1] * groups, groups, is_single, fixes or [f"an input of {w[1] * groups} channels"]
        )
    if min(x[2:]) < 1:
        raise ShapeError(f"{name}: an input with pixels is expected, got\n    input  {x}\n    weight {w}")
    geo = Geometry(x[2:], kernel, stride, zeros_around(name, padding, n, stride, kernel, dilation), dilation, groups)
    if any(m < r for m, r in zip(geo.padded, geo.reach, strict=True)):
        raise ShapeError(
            f"{name}: the kernel reaches over {list(geo.reach)} pixels, and the input with its padding has {list(geo.padded)}\n"
            f"    input  {x}\n    weight {w}\n    use a smaller kernel or dilation, or more padding"
        )
    return geo


def sizes(function: str, name: str, value: Any, n: int, at_least: int) -> tuple[int, ...]:
    """One whole number per spatial dimension.  Raises ValueError for others."""
    is_one = not hasattr(value, "__iter__") or isinstance(value, str) or getattr(value, "ndim", None) == 0
    values = (value,) if is_one else tuple(value)
    values = values * n if len(values) == 1 else values
    if len(values) != n or not all(hasattr(v, "__index__") and int(v) >= at_least for v in values):
        several = f" or {n}" if n > 1 else ""
        raise ValueError(f"{function}: {name} must be one whole number{several}, at least {at_least}, got {value!r}")
    return tuple(int(v) for v in values)


def zeros_around(
    name: str, padding: Sizes | str, n: int, stride: tuple[int, ...], kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Zeros (before, after), for every dimension.  Raises ValueError for a padding that makes no sense."""
    if not isinstance(padding, str):
        return tuple((p, p) for p in sizes(name, "padding", padding, n, 0))
    if padding == "valid":
        return ((0, 0),) * n
    if padding != "same":
        raise ValueError(f"{name}: padding must be whole numbers, 'same' or 'valid', got {padding!r}")
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(s != 1 for s in stride):
        raise ValueError(
            f"{name}: padding='same' keeps the size, which a stride of {list(stride)} cannot; "
            f"use whole numbers, such as padding={[t // 2 for t in total]}, for a size divided by the stride"
        )
    return tuple((t // 2, t - t // 2) for t in total)


def _with_batch(name: str, n: int, x: Any, w: Any) -> tuple[Any, bool]:
    """x with a batch dimension, and whether it came without one."""
    for what, a in (("input", x), ("weight", w)):
        if not isinstance(a, Node) and not is_array(a):
            raise TypeError(
                f"{name}: the {what} must be a tensor, got {type(a).__name__}; make one with tinygen.tensor"
            )
    if w.ndim != n + 2 or x.ndim not in (n + 1, n + 2):
        form = ("L", "H, W", "D, H, W")[n - 1]
        raise ShapeError(
            f"{name}: an input of shape (N, C, {form}) or (C, {form}) and a weight with {n + 2} dimensions are expected, got\n"
            f"    input  {tuple(x.shape)}\n    weight {tuple(w.shape)}"
            + (f"\n    use x.unsqueeze(0) for the one channel of ({form})" if x.ndim == n else "")
        )
    if math.prod(w.shape) == 0:
        raise ShapeError(f"{name}: the weight of shape {tuple(w.shape)} is empty; every size must be at least 1")
    return (ops.unsqueeze(x, 0), True) if x.ndim == n + 1 else (x, False)


def _check_groups(name: str, groups: Any, channels: int, what: str) -> None:
    if not hasattr(groups, "__index__") or groups < 1 or channels % groups:
        raise ValueError(f"{name}: groups must be a whole number that divides the {channels} {what}, got {groups!r}")


def _wrong_channels(name: str, x: Any, w: Any, takes: int, groups: int, is_single: bool, fixes: list[str]) -> NoReturn:
    if is_single:
        fixes = [*fixes, f"x.unsqueeze(1) if these are {x[1]} images of one channel, not one image of {x[1]} channels"]
    of = f" (= {takes // groups} × {groups} groups)" if groups > 1 else ""
    raise ShapeError(
        f"{name}: the input has {x[1]} channels, but the weight takes {takes}{of}\n"
        f"    input  {tuple(x[is_single:])}\n    weight {tuple(w)}\n    use {', or '.join(fixes)}"
    )


def _check_bias(name: str, b: Any, channels: int) -> None:
    if b is None:
        return
    if not isinstance(b, Node) and not is_array(b):
        raise TypeError(
            f"{name}: the bias must be a tensor of shape ({channels},) or None, got {type(b).__name__}; "
            "make one with tinygen.tensor"
        )
    if tuple(b.shape) != (channels,):
        raise ShapeError(
            f"{name}: a bias of shape ({channels},) is expected, one number per output channel, got {tuple(b.shape)}"
        )
