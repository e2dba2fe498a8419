"""Images with more or fewer pixels.  All of it is linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.layout import axes_in_memory
from tinygen.nn.functional import tables
from tinygen.nn.functional.conv import sizes
from tinygen.ops import pool
from tinygen.ops.mix import Table, mix
from tinygen.ops.pool import Windows
from tinygen.tensor import Tensor

__all__ = ["channel_shuffle", "interpolate", "pixel_shuffle", "pixel_unshuffle"]

_MODES = ("nearest", "nearest-exact", "area")
_LINEAR = ("linear", "bilinear", "trilinear")
_DENSE = 1 << 14
"""Numbers in a matrix that is small whatever is in it: one product with it is faster than a few elements at a time."""


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Another number of pixels for the same picture: a linear map, the same few weights for every row, and for every column.

    input: (N, C, *size) with 1, 2 or 3 spatial dimensions, floating.  Either size (one number, or one for each dimension) or
        scale_factor (likewise; the new size is rounded down).
    mode: "nearest": pixel i of the result is pixel ⌊i / scale⌋ of the input; "nearest-exact": ⌊(i + ½) / scale⌋, the one that the
        middle of pixel i lies in.  "linear" (of signals), "bilinear" (images), "trilinear" (volumes): weighted by the distance to
        the two nearest in each dimension.  "bicubic" (images): the four nearest, by the cubic convolution with a = -¾ (Keys
        1981), which may overshoot.  "area": the mean of the pixels that the new one covers, as adaptive_avg_pool2d.
    align_corners: False: a pixel is a square, and the borders of the pictures coincide: i stands at (i + ½) / scale - ½.
        True: a pixel is a point, and the first and the last ones coincide: i stands at i (n - 1) / (m - 1).  Of the linear and the
        cubic modes only.
    recompute_scale_factor: use new size / old size as the scale, not scale_factor, which differs where it was rounded.
    antialias: "bilinear" and "bicubic" only: to fewer pixels, weigh all that a new one covers (and a = -½), as image
        libraries do; without, most old pixels would be skipped.
    Returns (N, C, *new size).  Nearest, by a whole factor, is the transpose of the sum over windows as large as the factor.
    Raises ShapeError when sizes do not fit, ValueError for a mode, a size or a factor that make no sense, TypeError for integers.
    """
    if input.ndim not in (3, 4, 5):
        raise ShapeError(
            f"interpolate: an input of shape (N, C, L), (N, C, H, W) or (N, C, D, H, W) is expected, got {tuple(input.shape)}"
        )
    n = input.ndim - 2
    modes = (*_MODES, _LINEAR[n - 1], *(["bicubic"] if n == 2 else []))
    if mode not in modes:
        raise ValueError(
            f"interpolate: mode must be one of {', '.join(map(repr, modes))} for an input of shape {tuple(input.shape)}, "
            f"got {mode!r}"
        )
    if mode in _MODES and align_corners is not None:
        raise ValueError(
            f"interpolate: align_corners is not meant for {mode!r}, but for the linear and cubic modes; leave it None"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is meant for 'bilinear' and 'bicubic' only, got mode={mode!r}")
    old = tuple(input.shape[2:])
    new, factors = _new_size(old, size, scale_factor, recompute_scale_factor)
    if min(old) < 1 or min(new) < 1:
        raise ShapeError(f"interpolate: sizes must be positive, got {list(old)} -> {list(new)}")
    if mode == "nearest" and all(m % o == 0 and f == m // o for m, o, f in zip(new, old, factors, strict=True)):
        blocks = tuple(m // o for m, o in zip(new, old, strict=True))
        return pool.window_spread(input, windows=Windows(new, blocks, blocks, (0,) * n, (1,) * n, old))
    kind = "linear" if mode in _LINEAR else mode
    made = (
        tables.interpolating(kind, o, m, f, bool(align_corners), antialias)
        for o, m, f in zip(old, new, factors, strict=True)
    )
    return along(input, list(made))


def _new_size(
    old: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The new size, and how many new pixels there are for an old one, per dimension."""
    n = len(old)
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if scale_factor is None:
        if recompute:
            raise ValueError(
                "interpolate: recompute_scale_factor is meant for a scale_factor, not for a size; leave it out"
            )
        new = sizes("interpolate", "size", size, n, 1)
        return new, tuple(m / max(o, 1) for m, o in zip(new, old, strict=True))
    factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * n
    if len(factors) != n or not all(f > 0 for f in factors):
        raise ValueError(f"interpolate: scale_factor must be one positive number or {n}, got {scale_factor!r}")
    new = tuple(math.floor(o * f) for o, f in zip(old, factors, strict=True))
    if recompute:
        return new, tuple(m / max(o, 1) for m, o in zip(new, old, strict=True))
    return new, tuple(map(float, factors))


def along(x: Any, tables: Sequence[Table | None]) -> Tensor:
    """The sums that a table says along each of the last dimensions; None leaves it as it is.

    Where the table is small, or says much the same as a full matrix, it is a matrix product.  They are taken in the order in
    which the dimensions lie in memory, so that no copy is needed for them.
    """
    if x.dtype.kind != "f":
        raise TypeError(
            f"interpolate, adaptive pooling: a floating-point input is expected, got {x.dtype}; use float()"
        )
    order = _order(x)
    y = ops.permute(x, order)
    for axis, table in enumerate(tables, x.ndim - len(tables)):
        if table is None:
            continue
        at = order.index(axis)
        if table.new * table.old > max(_DENSE, 4 * table.weight.size):
            y = mix(y, axis=at, table=table)
        else:
            m = table.matrix_for(x.array if isinstance(x, Node) else x)
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


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Channels dealt out anew: the first of every group, then the second of every group, and so on.  A permutation.

    input: (N, C, *).  Returns the same shape: channel j g + i is what was channel i C / g + j, g = groups.
    Source: Zhang et al. 2018, "ShuffleNet".  Raises ShapeError when groups does not divide the channels.
    """
    if not hasattr(groups, "__index__") or groups < 1:
        raise ValueError(f"channel_shuffle: groups must be a positive whole number, got {groups!r}")
    if input.ndim < 3 or input.shape[1] % groups:
        raise ShapeError(
            f"channel_shuffle: an input of shape (N, C, *) with channels that groups={groups} divides is expected, "
            f"got {tuple(input.shape)}"
        )
    n, channels, *rest = input.shape
    x = ops.reshape(input, (n, groups, channels // groups, *rest))
    return ops.reshape(ops.transpose(x, 1, 2), (n, channels, *rest))


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
