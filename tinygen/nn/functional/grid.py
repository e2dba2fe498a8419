"""Pictures read at places of one's own: grid_sample, and the grids of affine maps (spatial transformers)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import array_module, device_of, to_device
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.nn.functional.conv import sizes
from tinygen.ops.index import take
from tinygen.tensor import Tensor

__all__ = ["affine_grid", "grid_sample"]

_A = -0.75
"""The constant of the cubic convolution, as in `interpolate`."""


def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """y[n, :, i] = input[n, :, place grid[n, i]]: the picture at places between its pixels.

    input: (N, C, H, W) or (N, C, D, H, W), floating.  grid: (N, *out, 2) or (N, *out, 3), with as many sizes in `out` as the picture
        has.  Its last dimension is a place (x, y) or (x, y, z): x along the last dimension of the picture; -1 is one border and 1
        the other.
    mode: "bilinear": weighted by the distance to the nearest pixels in each dimension (of volumes, trilinear); "nearest";
        "bicubic" (images): the 4 × 4 nearest, by the cubic convolution with a = -¾.
    padding_mode: what stands outside: "zeros", "border" (the last pixel) or "reflection" (the picture in a mirror).
    align_corners: whether -1 and 1 are the middles of the first and the last pixel (True), or the borders of the picture (False;
        None too).
    Returns (N, C, *out).  Differentiable in the input, and in the grid where the mode is not "nearest": to any order, but where a
    place is on a pixel (or half-way, in a mirror) there is a kink, and the derivative from one side is returned.
    Source: Jaderberg et al. 2015, "Spatial transformer networks", equations 3 and 5.
    Raises ShapeError when shapes do not fit, ValueError for an unknown mode, TypeError for integers.
    """
    n = input.ndim - 2
    modes = ("bilinear", "nearest", "bicubic")
    if mode not in modes:
        raise ValueError(f"grid_sample: mode must be one of {', '.join(map(repr, modes))}, got {mode!r}")
    if padding_mode not in _FOLD:
        raise ValueError(
            f"grid_sample: padding_mode must be one of {', '.join(map(repr, _FOLD))}, got {padding_mode!r}"
        )
    if n not in (2, 3) or grid.ndim != n + 2 or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise ShapeError(
            "grid_sample: an input (N, C, H, W) with a grid (N, H', W', 2), or an input (N, C, D, H, W) with a grid (N, D', H', W', 3), "
            f"of one batch size N, is expected, got\n    input {tuple(input.shape)}\n    grid  {tuple(grid.shape)}"
        )
    if mode == "bicubic" and n != 2:
        raise ValueError(f"grid_sample: mode='bicubic' is for images, got an input of shape {tuple(input.shape)}")
    if input.dtype.kind != "f" or grid.dtype.kind != "f":
        raise TypeError(
            f"grid_sample: floating-point tensors are expected, got {input.dtype} and {grid.dtype}; use float()"
        )
    size, align = tuple(input.shape[2:]), bool(align_corners)
    if min(size) < 1:
        raise ShapeError(f"grid_sample: an input with pixels is expected, got {tuple(input.shape)}")
    fold: Callable[[Any, int, bool], Any] = _FOLD[padding_mode]
    taps = []
    for axis, m in enumerate(size):
        place = ops.select(grid, -1, n - 1 - axis)
        place = (place + 1) * ((m - 1) / 2) if align else ((place + 1) * m - 1) / 2
        if mode == "bicubic":
            taps.append([(fold(j, m, align), w) for j, w in _four(place)])
        else:
            taps.append(_two(fold(place, m, align)) if mode == "bilinear" else [(_round(fold(place, m, align)), None)])
    return _sum_of_taps(input, taps)


def _sum_of_taps(x: Any, taps: list[list[tuple[Any, Any]]]) -> Any:
    """Σ weight · x[place] over all combinations of the taps of each dimension.  Places outside count as zeros."""
    batch, channels, *size = x.shape
    out = tuple(taps[0][0][0].shape[1:])
    rows = ops.reshape(ops.movedim(x, 1, -1), (batch * math.prod(size), channels))
    lengths = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
    xp, device = array_module(taps[0][0][0]), device_of(taps[0][0][0])
    first = to_device(np.arange(batch).reshape(-1, *(1,) * len(out)) * math.prod(size), device)
    y: Any = 0.0
    inside: Any
    for several in product(*taps):
        at, inside, weight = first, True, None
        for (place, w), m, length in zip(several, size, lengths, strict=True):
            is_in = (place >= 0) & (place < m)
            at = at + xp.where(is_in, place, 0).astype(np.int64) * length  # a NaN is outside
            inside = is_in & inside
            weight = w if weight is None or w is None else weight * w
        # selections, not products with 0: what stands outside may be no number
        part = ops.where(inside[..., None], take(rows, at=at), 0.0)
        if weight is not None:
            part = part * ops.unsqueeze(ops.where(inside, weight, 0.0), -1)
        y = part + y
    return ops.movedim(y, -1, 1)


# The taps along one dimension: (places, whole numbers in an array; weights, a tensor).


def _two(place: Any) -> list[tuple[Any, Any]]:
    before = _floor(place)
    after = place - before
    return [(before, 1 - after), (before + 1, after)]


def _four(place: Any) -> list[tuple[Any, Any]]:
    before = _floor(place)
    t = place - before
    s = 1 - t
    far = lambda d: ((_A * d - 5 * _A) * d + 8 * _A) * d - 4 * _A
    near = lambda d: ((_A + 2) * d - (_A + 3)) * d * d + 1
    return [(before - 1, far(t + 1)), (before, near(t)), (before + 1, near(s)), (before + 2, far(s + 1))]


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Node) else x


def _floor(x: Any) -> Any:
    return array_module(_array(x)).floor(_array(x))


def _round(x: Any) -> Any:
    return array_module(_array(x)).rint(_array(x))


# Where a place outside is read, for n pixels along a dimension.


def _as_it_is(place: Any, n: int, align: bool) -> Any:
    return place


def _border(place: Any, n: int, align: bool) -> Any:
    if not isinstance(place, Node):
        return array_module(place).clip(place, 0, n - 1)
    return ops.clamp(place, 0, n - 1)


def _reflection(place: Any, n: int, align: bool) -> Any:
    """As often as it takes between the middles of the outer pixels (align), or between the borders of the picture."""
    low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
    if span == 0:
        return place * 0
    array = _array(place)
    xp = array_module(array)
    flips = xp.floor((array - low) / span)
    odd = flips % 2 == 1
    # place - flips · span, or from the other end: slope and offset are constants
    slope, offset = (
        xp.where(odd, -1.0, 1.0).astype(array.dtype),
        xp.where(odd, (flips + 1) * span + 2 * low, -flips * span),
    )
    return _border(place * slope + offset.astype(array.dtype), n, align)


_FOLD = {"zeros": _as_it_is, "border": _border, "reflection": _reflection}


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` that reads at θ (x, y, 1): every place of the result is taken to another by one affine map.

    theta: (N, 2, 3) for images, (N, 3, 4) for volumes, floating.  size: of the result, (N, C, H, W) or (N, C, D, H, W).
    align_corners: as for grid_sample.
    Returns (N, H, W, 2) or (N, D, H, W, 3).  The identity [[1, 0, 0], [0, 1, 0]] reads every pixel where it is.
    Source: Jaderberg et al. 2015, equation 1.  Raises ShapeError when theta and size do not fit, TypeError for integers.
    """
    size = sizes("affine_grid", "size", size, len(tuple(size)), 1)
    n = len(size) - 2
    if n not in (2, 3) or tuple(theta.shape) != (size[0], n, n + 1):
        raise ShapeError(
            "affine_grid: theta (N, 2, 3) with size (N, C, H, W), or theta (N, 3, 4) with size (N, C, D, H, W), is expected, got\n"
            f"    theta {tuple(theta.shape)}\n    size  {size}"
        )
    if theta.dtype.kind != "f":
        raise TypeError(f"affine_grid: a floating-point theta is expected, got {theta.dtype}; use float()")
    lines = [np.linspace(-1, 1, m) if align_corners and m > 1 else (2 * np.arange(m) + 1) / m - 1 for m in size[2:]]
    places = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(size[2:])], -1)
    base = to_device(places.reshape(-1, n + 1).astype(theta.dtype), device_of(_array(theta)))
    return ops.reshape(ops.matmul(base, ops.transpose(theta, 1, 2)), (size[0], *size[2:], n))
