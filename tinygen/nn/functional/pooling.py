"""Pooling: every window of an image becomes one number (torch.nn.functional's names)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import array_module, device_of, to_device
from tinygen.engine import Node, constant
from tinygen.errors import ShapeError
from tinygen.nn.functional.conv import Sizes, sizes
from tinygen.nn.functional.resample import along
from tinygen.nn.functional.tables import evenly, window_ends
from tinygen.nn.functional.windows import check_rank, windows_of
from tinygen.ops import pool
from tinygen.ops.index import _along, write_at
from tinygen.ops.pool import Windows
from tinygen.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def max_pool1d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """y[i] = max_k x[i stride + k dilation - padding]; nothing outside the input is larger.

    input: (N, C, L) or (C, L).  stride: kernel_size by default.  padding: at most half of the window.
    Returns (N, C, (L + 2 padding - dilation (kernel - 1) - 1) ÷ stride + 1), rounded down; with ceil_mode rounded up, as long
    as the last window begins inside.  With return_indices also where each maximum was found, for `max_unpool1d`: int64.
    The gradient goes to the maximum, to the first one if there are several; a second derivative is 0.
    Raises ShapeError when no window fits, ValueError for a kernel_size, stride, padding or dilation that make no sense.
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """As max_pool1d, for images.  input: (N, C, H, W) or (C, H, W); the indices count the pixels of an image in rows."""
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """As max_pool1d, for volumes.  input: (N, C, D, H, W) or (C, D, H, W); the indices count the elements of a volume in rows."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Every value back where `max_pool1d(..., return_indices=True)` found it, and 0 elsewhere: linear in the values.

    input and indices: (N, C, L) or (C, L).  kernel_size, stride, padding: those of that call.  output_size: of the result, (L',) or its whole shape; by default
    (L - 1) stride - 2 padding + kernel: max_pool1d maps several sizes to one.
    Where windows overlapped and an index comes twice, one of its values is written.
    Source: Zeiler, Fergus 2014, section 2.1; deck D3, "unpooling".
    Raises ShapeError when the shapes differ, IndexError when an index is not inside the result.
    """
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """As max_unpool1d, for images.  input and indices: (N, C, H, W) or (C, H, W)."""
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """As max_unpool1d, for volumes.  input and indices: (N, C, D, H, W) or (C, D, H, W)."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


def avg_pool1d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window: a linear map.

    input: (N, C, L) or (C, L); sizes and the result's shape as for max_pool1d.
    count_include_pad: divide by the number of elements with the padding, which are 0; False: of those inside the input.
    Raises ShapeError when no window fits, ValueError for a kernel_size, stride or padding that make no sense.
    """
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """As avg_pool1d, for images.  input: (N, C, H, W) or (C, H, W).  divisor_override: divide the sums by this instead."""
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """As avg_pool2d, for volumes.  input: (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """y[i] = (Σ_k x[i stride + k]^p)^(1/p), p = norm_type: for p = 1 the sum of every window, for large p its maximum.

    input: (N, C, L) or (C, L), not negative unless p is an even number: as in PyTorch there is no absolute value in it, and
    where a sum is negative the result is 0.  p: not 0.
    Returns (N, C, L') as max_pool1d.  With ceil_mode the last window may be smaller, and is a sum of fewer terms (PyTorch takes
    their mean times the kernel's size).  Where a window is all zeros and p is not 1 there is no derivative; it is 0 here.
    Raises ShapeError when no window fits, ValueError for a norm_type, kernel_size or stride that make no sense.
    """
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """As lp_pool1d, for images.  input: (N, C, H, W) or (C, H, W)."""
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """As lp_pool1d, for volumes.  input: (N, C, D, H, W) or (C, D, H, W)."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def adaptive_avg_pool1d(input: Any, output_size: int | Sequence[int]) -> Tensor:
    """The means of output_size windows that cover the input evenly: number i of m from i L ÷ m to (i + 1) L ÷ m, rounded outward.

    input: (N, C, L) or (C, L), floating.  Returns (N, C, output_size).  A linear map: the same few weights for every row.
    Raises ShapeError when sizes are not positive, TypeError for an input of integers.
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """As adaptive_avg_pool1d, for images.  output_size: one number or (H', W'); None keeps a size."""
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Tensor:
    """As adaptive_avg_pool1d, for volumes.  output_size: one number or (D', H', W'); None keeps a size."""
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of output_size windows that cover the input evenly: those of adaptive_avg_pool1d.

    input: (N, C, L) or (C, L).  Returns (N, C, output_size); with return_indices also where each maximum was found: int64.
    The gradient goes to the maximum, to the first one if there are several; a second derivative is 0.
    Raises ShapeError when sizes are not positive.
    """
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As adaptive_max_pool1d, for images.  output_size: one number or (H', W'); None keeps a size."""
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As adaptive_max_pool1d, for volumes.  output_size: one number or (D', H', W'); None keeps a size."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


def _device(x: Any) -> Any:
    return device_of(x.array if isinstance(x, Node) else x)


def _pooling(name: str, n: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Windows:
    windows = windows_of(name, n, x, kernel, stride, padding, dilation, ceil)
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(windows.padding, windows.kernel, windows.dilation, strict=True)):
        raise ValueError(
            f"{name}: padding {list(windows.padding)} is more than half of the window, kernel_size {list(windows.kernel)} "
            f"with dilation {list(windows.dilation)}; pad the input with functional.pad instead"
        )
    if not all(windows.sees(axis) for axis in range(n)):
        raise ValueError(
            f"{name}: some windows would see nothing of the input\n    input    {tuple(x.shape)}\n"
            f"    padding  {list(windows.padding)}\n    dilation {list(windows.dilation)}\n    use less of one of the two"
        )
    return windows


def _max_pool(
    name: str, n: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, indices: bool
) -> Any:
    windows = _pooling(name, n, x, kernel, stride, padding, dilation, ceil)
    y = pool.max_pool(x, windows=windows)
    if not indices:
        return y
    if not isinstance(y, Node):
        return y, pool.places_of_maxima(x, y, windows)
    return y, constant(pool.places_of_maxima(x.array, y.array, windows))


def _max_unpool(
    name: str, n: int, x: Any, indices: Any, kernel: Any, stride: Any, padding: Any, output_size: Any
) -> Any:
    check_rank(name, n, x)
    if x.shape != indices.shape:
        raise ShapeError(
            f"{name}: the values and their indices must have one shape\n    input   {tuple(x.shape)}\n"
            f"    indices {tuple(indices.shape)}\n    both come from max_pool{n}d(..., return_indices=True)"
        )
    kernel = sizes(name, "kernel_size", kernel, n, 1)
    stride = kernel if stride is None else sizes(name, "stride", stride, n, 1)
    padding = sizes(name, "padding", padding, n, 0)
    if output_size is None:
        size = tuple((m - 1) * s - 2 * p + k for m, s, p, k in zip(x.shape[-n:], stride, padding, kernel, strict=True))
    else:
        size = tuple(int(m) for m in output_size)[-n:]
    if len(size) != n or min(size) < 1:
        raise ShapeError(f"{name}: the result would have size {list(size)}; give output_size, {n} positive numbers")
    lead = tuple(x.shape[:-n])
    nothing = to_device(np.zeros((*lead, math.prod(size)), x.dtype), _device(x))
    values, places = (ops.reshape(t, (*lead, math.prod(x.shape[-n:]))) for t in (x, indices))
    return ops.reshape(write_at(nothing, values, _along(name, nothing.shape, len(lead), places)), (*lead, *size))


def _avg_pool(
    name: str, n: int, x: Any, kernel: Any, stride: Any, padding: Any, ceil: bool, with_padding: bool, divisor: Any
) -> Any:
    windows = _pooling(name, n, x, kernel, stride, padding, 1, ceil)
    sums = pool.window_sum(x, windows=windows)
    if divisor is not None:
        if not divisor:
            raise ValueError(f"{name}: divisor_override must not be 0")
        return sums / divisor
    counts = np.ones((), np.int64)
    for axis in range(n):
        counts = np.multiply.outer(counts, _counts(windows, axis, with_padding))
    if counts.min() == counts.max():
        return sums / int(counts.flat[0])
    return sums / to_device(counts.astype(sums.dtype), _device(sums))


def _counts(windows: Windows, axis: int, with_padding: bool) -> np.ndarray:
    """How many elements every window has along an axis.  What ceil_mode lets it reach over the padding never counts."""
    n, p, k = windows.size[axis], windows.padding[axis], windows.kernel[axis]
    starts = np.arange(windows.out[axis]) * windows.stride[axis] - p
    low, high = (-p, n + p) if with_padding else (0, n)
    return np.minimum(starts + k, high) - np.maximum(starts, low)


def _lp_pool(name: str, n: int, x: Any, p: float, kernel: Any, stride: Any, ceil: bool) -> Any:
    if isinstance(p, bool) or not isinstance(p, int | float) or p == 0:
        raise ValueError(f"{name}: norm_type must be a number other than 0, got {p!r}")
    windows = _pooling(name, n, x, kernel, stride, 0, 1, ceil)
    sums = pool.window_sum(x if p == 1 else x**p, windows=windows)
    if p == 1:
        return ops.relu(sums)
    positive = ops.logical_not(sums <= 0)  # a NaN too
    return ops.where(positive, ops.where(positive, sums, 1.0) ** (1 / p), 0.0)


def _adaptive_sizes(name: str, n: int, x: Any, output_size: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The size of the input, and that of the result."""
    check_rank(name, n, x)
    wanted = (output_size,) * n if output_size is None or hasattr(output_size, "__index__") else tuple(output_size)
    wanted = wanted * n if len(wanted) == 1 else wanted
    size = tuple(x.shape[-n:])
    out = tuple(m if o is None else o for m, o in zip(size, wanted, strict=False))
    if len(wanted) != n or not all(hasattr(o, "__index__") and o > 0 for o in out) or min(size) < 1:
        raise ShapeError(
            f"{name}: {n} positive output sizes (None keeps one) and an input with pixels are expected, got "
            f"{output_size!r} and an input of shape {tuple(x.shape)}"
        )
    return size, tuple(int(o) for o in out)


def _adaptive_avg_pool(name: str, n: int, x: Any, output_size: Any) -> Any:
    size, out = _adaptive_sizes(name, n, x, output_size)
    return along(x, [None if o == m else evenly(m, o) for m, o in zip(size, out, strict=True)])


def _adaptive_max_pool(name: str, n: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    size, out = _adaptive_sizes(name, n, x, output_size)
    if all(m % o == 0 for m, o in zip(size, out, strict=True)):
        blocks = tuple(m // o for m, o in zip(size, out, strict=True))
        return _max_pool(name, n, x, blocks, blocks, 0, 1, False, return_indices)
    lead = tuple(x.shape[:-n])
    flat = ops.reshape(x, (*lead, math.prod(size)))
    at = _places_of_largest(flat.array if isinstance(flat, Node) else flat, size, out)
    values = ops.gather(flat, len(lead), at)
    y, indices = ops.reshape(values, (*lead, *out)), at.reshape(*lead, *out)
    if not return_indices:
        return y
    return (y, constant(indices)) if isinstance(y, Node) else (y, indices)


def _places_of_largest(x: Any, size: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """The place of the first maximum in every window: (*, Π size) -> (*, Π out).  A NaN is larger than all others."""
    xp, device = array_module(x), device_of(x)
    ends = [window_ends(m, o) for m, o in zip(size, out, strict=True)]
    longest = [int((last - first).max()) for first, last in ends]
    best: Any = None
    for k in np.ndindex(*longest):  # of windows that are shorter, the last element again
        inside = (np.minimum(first + i, last - 1) for i, (first, last) in zip(k, ends, strict=True))
        place = to_device(np.ravel_multi_index(np.ix_(*inside), size).ravel(), device)
        value = xp.take(x, place, -1)
        if best is None:
            best, where = value, xp.zeros(value.shape, np.int64) + place
            continue
        larger = value > best
        if x.dtype.kind == "f":
            larger |= xp.isnan(value) & ~xp.isnan(best)
        best, where = xp.where(larger, value, best), xp.where(larger, place, where)
    return where
