"""Images with more or fewer pixels.  All of it is linear."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import device_of, to_device
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.layout import axes_in_memory
from tinygen.nn.functional.conv import sizes
from tinygen.ops import pool
from tinygen.ops.pool import Windows
from tinygen.tensor import Tensor

__all__ = ["interpolate", "pixel_shuffle", "pixel_unshuffle"]


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Another number of pixels for the same picture: a linear map, the same small matrix for every row, and one for every column.

    input: (N, C, *size) with 1, 2 or 3 spatial dimensions.  Either size (one number, or one for each dimension) or
        scale_factor (likewise; the new size is rounded down).
    mode: "nearest": pixel i of the result is pixel ⌊i / scale⌋ of the input.  "linear" (of signals), "bilinear" (images),
        "trilinear" (volumes): weighted by the distance to the two nearest in each dimension.
    align_corners: False: a pixel is a square, and the borders of the pictures coincide: i stands at (i + ½) / scale - ½.
        True: a pixel is a point, and the first and the last ones coincide: i stands at i (n - 1) / (m - 1).
    Returns (N, C, *new size).  Nearest, by a whole factor, is the transpose of the sum over windows as large as the factor.
    Raises ShapeError when sizes do not fit, ValueError for a mode, a size or a factor that make no sense, TypeError for integers.
    """
    if input.ndim not in (3, 4, 5):
        raise ShapeError(
            f"interpolate: an input of shape (N, C, L), (N, C, H, W) or (N, C, D, H, W) is expected, got {tuple(input.shape)}"
        )
    n = input.ndim - 2
    linear = ("linear", "bilinear", "trilinear")
    if mode != "nearest" and mode != linear[n - 1]:
        raise ValueError(
            f"interpolate: mode must be 'nearest' or {linear[n - 1]!r} for an input of shape {tuple(input.shape)}, got {mode!r}"
        )
    if mode == "nearest" and align_corners is not None:
        raise ValueError("interpolate: align_corners is only meant for the linear modes; leave it None for 'nearest'")
    old = tuple(input.shape[2:])
    new, factors = _new_size(old, size, scale_factor)
    if min(old) < 1 or min(new) < 1:
        raise ShapeError(f"interpolate: sizes must be positive, got {list(old)} -> {list(new)}")
    if mode == "nearest" and all(m % o == 0 and f == m // o for m, o, f in zip(new, old, factors, strict=True)):
        blocks = tuple(m // o for m, o in zip(new, old, strict=True))
        return pool.window_spread(input, windows=Windows(new, blocks, blocks, (0,) * n, (1,) * n, old))
    matrix: Callable[..., np.ndarray] = _nearest if mode == "nearest" else _corners if align_corners else _linear
    return along(input, [matrix(o, m, f) for o, m, f in zip(old, new, factors, strict=True)])


def _new_size(old: tuple[int, ...], size: Any, scale_factor: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The new size, and how many new pixels there are for an old one, per dimension."""
    n = len(old)
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if scale_factor is None:
        new = sizes("interpolate", "size", size, n, 1)
        return new, tuple(m / max(o, 1) for m, o in zip(new, old, strict=True))
    factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * n
    if len(factors) != n or not all(f > 0 for f in factors):
        raise ValueError(f"interpolate: scale_factor must be one positive number or {n}, got {scale_factor!r}")
    return tuple(math.floor(o * f) for o, f in zip(old, factors, strict=True)), tuple(map(float, factors))


# Matrices (new, old): row i says of which old pixels the new pixel i is made.


def _nearest(old: int, new: int, factor: float) -> np.ndarray:
    i = np.arange(new)
    nearest = i * old // new if factor == new / old else np.floor(i / factor).astype(np.int64)
    return np.eye(old)[np.minimum(nearest, old - 1)]


def _linear(old: int, new: int, factor: float) -> np.ndarray:
    return _between(np.maximum((np.arange(new) + 0.5) / factor - 0.5, 0), old)


def _corners(old: int, new: int, factor: float) -> np.ndarray:
    return _between(np.arange(new) * ((old - 1) / max(new - 1, 1)), old)


def _between(places: np.ndarray, old: int) -> np.ndarray:
    """The value at a place that is no whole number: of the two pixels around it, the nearer one counts more."""
    before = np.minimum(places.astype(np.int64), old - 1)
    weight = np.minimum(places - before, 1)[:, None]
    return (1 - weight) * np.eye(old)[before] + weight * np.eye(old)[np.minimum(before + 1, old - 1)]


def along(x: Any, matrices: Sequence[np.ndarray | None]) -> Tensor:
    """A matrix (new size, old size) applied along each of the last dimensions; None leaves it as it is.

    The products are taken in the order in which the dimensions lie in memory, so that no copy is needed for them.
    """
    if x.dtype.kind != "f":
        raise TypeError(
            f"interpolate, adaptive pooling: a floating-point input is expected, got {x.dtype}; use float()"
        )
    order = _order(x)
    y = ops.permute(x, order)
    for axis, matrix in enumerate(matrices, x.ndim - len(matrices)):
        if matrix is not None:
            at = order.index(axis)
            m = to_device(matrix.astype(x.dtype), device_of(x.array if isinstance(x, Node) else x))
            y = ops.linear(y, m) if at == y.ndim - 1 else _times(m, y, at)
    return ops.permute(y, _inverse(order))


def _times(m: Any, y: Any, axis: int) -> Any:
    """One matrix product for everything before the axis, with all that comes after it as columns."""
    before, after = y.shape[:axis], y.shape[axis + 1 :]
    columns = ops.reshape(y, (math.prod(before), y.shape[axis], math.prod(after)))
    return ops.reshape(ops.matmul(m, columns), (*before, m.shape[0], *after))


def _order(x: Any) -> list[int]:
    return axes_in_memory(x.array if isinstance(x, Node) else x)


def _inverse(order: list[int]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """The r² channels of a pixel become r × r pixels of one channel: y[c, h r + i, w r + j] = x[c r² + i r + j, h, w].

    input: (*, C r², H, W).  Returns (*, C, H r, W r), r = upscale_factor.  Every element keeps its value: a permutation.
    Source: Shi et al. 2016, eq. 4.  Raises ShapeError when r² does not divide the channels.
    """
    r = _factor("pixel_shuffle", "upscale_factor", upscale_factor, input)
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise ShapeError(
            f"pixel_shuffle: the {channels} channels of an input of shape {tuple(input.shape)} are not a multiple of "
            f"{r}² = {r * r}; use {channels // (r * r) * r * r or r * r} channels"
        )
    x = ops.reshape(input, (*lead, channels // (r * r), r, r, height, width))
    n = len(lead)
    return _merged(x, [*([i] for i in range(n + 1)), [n + 3, n + 1], [n + 4, n + 2]], _order(input))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """r × r pixels of a channel become the r² channels of one pixel: undoes `pixel_shuffle`, and is its transpose.

    input: (*, C, H r, W r).  Returns (*, C r², H, W), r = downscale_factor.
    Raises ShapeError when r does not divide height and width.
    """
    r = _factor("pixel_unshuffle", "downscale_factor", downscale_factor, input)
    *lead, channels, height, width = input.shape
    if height % r or width % r:
        raise ShapeError(
            f"pixel_unshuffle: height and width of an input of shape {tuple(input.shape)} are no multiples of {r}"
        )
    x = ops.reshape(input, (*lead, channels, height // r, r, width // r, r))
    n = len(lead)
    return _merged(x, [*([i] for i in range(n)), [n, n + 2, n + 4], [n + 1], [n + 3]], _order(input))


def _merged(x: Any, groups: list[list[int]], order: list[int]) -> Any:
    """Each group of dimensions of x becomes one; they lie in memory in the given order."""
    y = ops.permute(x, [axis for i in order for axis in groups[i]])
    y = ops.reshape(y, tuple(math.prod(x.shape[axis] for axis in groups[i]) for i in order))
    return ops.permute(y, _inverse(order))


def _factor(name: str, what: str, factor: Any, x: Any) -> int:
    if not hasattr(factor, "__index__") or factor < 1:
        raise ValueError(f"{name}: {what} must be a positive whole number, got {factor!r}")
    if x.ndim < 3:
        raise ShapeError(f"{name}: an input of shape (*, C, H, W) is expected, got {tuple(x.shape)}")
    return int(factor)
