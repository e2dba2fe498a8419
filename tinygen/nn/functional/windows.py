"""Windows over images, and all of them at once: unfold and its transpose, fold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import ShapeError
from tinygen.nn.functional.conv import Sizes, sizes
from tinygen.ops import pool
from tinygen.ops.pool import Windows
from tinygen.tensor import Tensor

__all__ = ["fold", "unfold"]


def unfold(input: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Tensor:
    """All windows of an image, each as a column: a linear map, whose transpose is `fold`.

    input: (N, C, H, W) or (C, H, W).  Returns (N, C · kernel H · kernel W, number of windows): the windows in rows, and in every
    column the channels one after the other, each with the taps of the window in rows.  Zeros around the input.
    kernel_size, stride, padding, dilation: one number, or one for each of H and W, as for max_pool2d.
    A convolution is one matrix product with it: conv2d(x, w) = w.reshape(len(w), -1) @ unfold(x, ...).
    Raises ShapeError when no window fits, ValueError for sizes that make no sense.
    """
    windows = windows_of("unfold", 2, input, kernel_size, stride, padding, dilation)
    *lead, channels, _, _ = input.shape
    return ops.reshape(
        pool.unfold(input, windows=windows), (*lead, channels * math.prod(windows.kernel), math.prod(windows.out))
    )


def fold(
    input: Any, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """Windows put back where `unfold` took them from, and added up where they overlap: the transpose of `unfold`.

    input: (N, C · kernel H · kernel W, number of windows), or without N.  Returns (N, C, *output_size).
    output_size: (H, W) of the result, or one number for both.  kernel_size, stride, padding, dilation: as unfold had them.
    fold(unfold(x)) is x times the number of windows that see the pixel: fold(unfold(ones)).
    Raises ShapeError when the number of windows or the channels do not fit, ValueError for sizes that make no sense.
    """
    size = sizes("fold", "output_size", output_size, 2, 1)
    if input.ndim not in (2, 3):
        raise ShapeError(f"fold: an input of shape (N, C · kernel, windows) is expected, got {tuple(input.shape)}")
    windows = windows_of("fold", 2, np.empty((1, *size)), kernel_size, stride, padding, dilation)
    *lead, columns, count = input.shape
    taps = math.prod(windows.kernel)
    if columns % taps or count != math.prod(windows.out):
        raise ShapeError(
            f"fold: an output of size {list(size)} has {math.prod(windows.out)} windows {list(windows.out)} of {taps} taps; an "
            f"input of shape (N, C · {taps}, {math.prod(windows.out)}) is expected, got {tuple(input.shape)}"
        )
    x = ops.reshape(input, (*lead, columns // taps, *windows.kernel, *windows.out))
    return pool.fold(x, windows=windows)


def windows_of(
    name: str, n: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> Windows:
    """The windows over the last n dimensions of x, (N, C, *size) or (C, *size); errors are raised as `name`'s."""
    check_rank(name, n, x)
    kernel = sizes(name, "kernel_size", kernel, n, 1)
    stride = kernel if stride is None else sizes(name, "stride", stride, n, 1)
    padding, dilation = sizes(name, "padding", padding, n, 0), sizes(name, "dilation", dilation, n, 1)
    size = tuple(x.shape[-n:])
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    out = []
    for m, r, s, p in zip(size, reach, stride, padding, strict=True):
        room = m + 2 * p - r
        count = (-(-room // s) if ceil_mode else room // s) + 1
        out.append(count - 1 if ceil_mode and (count - 1) * s >= m + p else count)
    if min(size) < 1 or min(out) < 1:
        raise ShapeError(
            f"{name}: the window reaches over {list(reach)} pixels, and does not fit into the input with its padding\n"
            f"    input   {tuple(x.shape)}\n    padding {list(padding)}\n    use a smaller kernel_size or dilation"
        )
    return Windows(size, kernel, stride, padding, dilation, tuple(out))


def check_rank(name: str, n: int, x: Any) -> None:
    """Raise ShapeError unless x is (N, C, *size) or (C, *size) with n sizes."""
    if not hasattr(x, "ndim"):
        raise TypeError(f"{name}: a tensor is expected, got {type(x).__name__}")
    if x.ndim not in (n + 1, n + 2):
        form = ("L", "H, W", "D, H, W")[n - 1]
        raise ShapeError(f"{name}: an input of shape (N, C, {form}) or (C, {form}) is expected, got {tuple(x.shape)}")
