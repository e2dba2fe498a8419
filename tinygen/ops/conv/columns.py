"""One matrix product for all taps at once: for convolutions with few channels on one side.

A tap with one input channel is a thin matrix, and a product with it is slow.  So what all taps meet is first written below each
other as one matrix of columns, (taps · channels in, pixels · batch); then

    conv(x, w)           = wᵀ columns(x)                                                    "im2col"
    conv_weight(x, y)    = columns(x) yᵀ
    conv_transpose(y, w) = the columns w y, added up where they came from                   "col2im"

For few *output* channels there is a mirror: a convolution with stride 1 is the transpose of another one, whose kernel is turned
around and whose padding is what the first one's lacks to the kernel's reach.
Source: Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from tinygen.backend.threads import get_num_threads, share
from tinygen.ops.conv.geometry import Geometry, channels_first, phases, pixel_major

BLOCK_BYTES = 4 * 1024 * 1024
"""Columns are made for so many rows of the output at a time: that they stay in the cache, but calls are not too short."""

Block = tuple[tuple[int, int], ...]
"""Positions of the output: (first, the one after the last) along every dimension."""


def takes(geo: Geometry) -> bool:
    """Whether this way of computing knows the geometry."""
    return geo.groups == 1


def takes_mirrored(geo: Geometry) -> bool:
    """Whether the mirrored way knows it: less padding than the kernel reaches, and stride 1."""
    lacking = (r - 1 - p for r, pair in zip(geo.reach, geo.padding, strict=True) for p in pair)
    return takes(geo) and all(s == 1 for s in geo.stride) and min(lacking) >= 0


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """wᵀ columns(x)"""
    batch, kernel = x.shape[0], _matrix(w)
    lines = _lines(xp, x, geo)
    y = xp.empty((*geo.out, batch, w.shape[0]), xp.result_type(x, w))

    def some(blocks: Sequence[Block]) -> None:
        memory = None
        for block in blocks:
            memory, columns = _columns(xp, memory, geo, block, len(kernel), batch, y.dtype)
            _fill(columns, lines, block, geo, batch)
            xp.matmul(columns.reshape(len(kernel), -1).T, kernel, out=y[_at(block)].reshape(-1, y.shape[-1]))

    share(some, _blocks(xp, geo, len(kernel), batch, y.dtype), y.size * len(kernel))
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """The columns w y, added up where they came from."""
    batch, kernel = y.shape[0], _matrix(w)
    y, dtype = pixel_major(xp, y), xp.result_type(y, w)

    def some(blocks: Sequence[Block]) -> Any:
        lines, memory = xp.zeros(_shape_of_lines(geo, batch, w.shape[1]), dtype), None
        for block in blocks:
            memory, columns = _columns(xp, memory, geo, block, len(kernel), batch, dtype)
            xp.matmul(kernel, y[_at(block)].reshape(-1, y.shape[-1]).T, out=columns.reshape(len(kernel), -1))
            for tap, met in zip(columns, _met(block, geo, batch), strict=True):
                lines[met] += _pixels_first(tap)
        return lines

    lines, *others = share(some, _blocks(xp, geo, len(kernel), batch, dtype), y.size * len(kernel))
    for other in others:
        lines += other
    return channels_first(_from_lines(xp, lines, geo, batch))


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """columns(x) yᵀ"""
    batch, channels = x.shape[:2]
    lines, y, dtype = _lines(xp, x, geo), pixel_major(xp, y), xp.result_type(x, y)
    height = math.prod(geo.kernel) * channels

    def some(blocks: Sequence[Block]) -> Any:
        kernel, memory = xp.zeros((height, y.shape[-1]), dtype), None
        for block in blocks:
            memory, columns = _columns(xp, memory, geo, block, height, batch, dtype)
            _fill(columns, lines, block, geo, batch)
            kernel += xp.matmul(columns.reshape(height, -1), y[_at(block)].reshape(-1, y.shape[-1]))
        return kernel

    kernel, *others = share(some, _blocks(xp, geo, height, batch, dtype), y.size * height)
    for other in others:
        kernel += other
    return channels_first(kernel.reshape(*geo.kernel, channels, -1)).swapaxes(0, 1)


def mirrored_conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """The same as conv, as the transpose of the mirrored convolution."""
    return conv_transpose(xp, x, _turned(w), _mirror(geo))


def mirrored_conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """The same as conv_transpose."""
    return conv(xp, y, _turned(w), _mirror(geo))


def mirrored_conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """The same as conv_weight."""
    return _turned(conv_weight(xp, y, x, _mirror(geo)))


def _mirror(geo: Geometry) -> Geometry:
    padding = tuple((r - 1 - a, r - 1 - b) for r, (a, b) in zip(geo.reach, geo.padding, strict=True))
    return Geometry(geo.out, geo.kernel, geo.stride, padding, geo.dilation)


def _turned(w: Any) -> Any:
    """Input and output exchanged, and the kernel turned around."""
    return w.swapaxes(0, 1)[(..., *(slice(None, None, -1),) * (w.ndim - 2))]


def _matrix(w: Any) -> Any:
    """(out, in, *kernel) -> (taps · in, out)."""
    return w.transpose(*range(2, w.ndim), 1, 0).reshape(-1, w.shape[0])


# Lines: the padded input as (*rows, stride, channels, pixels · batch).  The last dimension is split into `stride` phases (every
# stride-th pixel), so that what a tap meets of a row is a contiguous piece of one phase, for every channel.


def _shape_of_lines(geo: Geometry, batch: int, channels: int) -> tuple[int, ...]:
    s = geo.stride[-1]
    return (*geo.padded[:-1], s, channels, -(-geo.padded[-1] // s) * batch)


def _lines(xp: Any, x: Any, geo: Geometry) -> Any:
    batch, channels = x.shape[:2]
    if channels == 1 and geo.stride[-1] == 1 and geo.padded == geo.size:
        return pixel_major(xp, x).reshape(*geo.size[:-1], 1, 1, -1)
    lines = xp.zeros(_shape_of_lines(geo, batch, channels), x.dtype)
    pixels = x.transpose(*range(2, x.ndim - 1), 1, x.ndim - 1, 0)  # (*rows, channels, pixels, batch)
    apart = lines.reshape(*lines.shape[:-1], -1, batch)
    for phase, into, of in phases(geo):
        apart[(*geo.inside[:-1], phase, slice(None), into)] = pixels[..., of, :]
    return lines


def _from_lines(xp: Any, lines: Any, geo: Geometry, batch: int) -> Any:
    """The way back, without the padding: (*size, batch, channels)."""
    apart = lines.reshape(*lines.shape[:-1], -1, batch)
    x = xp.empty((*geo.size, batch, lines.shape[-2]), lines.dtype)
    for phase, into, of in phases(geo):
        part = apart[(*geo.inside[:-1], phase, slice(None), into)]
        x[(..., of, slice(None), slice(None))] = part.transpose(*range(x.ndim - 3), x.ndim - 2, x.ndim - 1, x.ndim - 3)
    return x


def _blocks(xp: Any, geo: Geometry, height: int, batch: int, dtype: Any) -> list[Block]:
    """The output positions, a few at a time: neighbours in memory, for one place along the first dimensions if it must be."""
    n, size = geo.out[0], height * math.prod(geo.out) * batch * dtype.itemsize
    if xp is not np or len(geo.out) == 1 and size <= 4 * BLOCK_BYTES:
        return [tuple((0, m) for m in geo.out)]
    axis, one = 0, size // n  # bytes for one place along the axis
    while axis < len(geo.out) - 1 and one > 4 * BLOCK_BYTES:
        axis += 1
        one //= geo.out[axis]
    n, rest = geo.out[axis], tuple((0, m) for m in geo.out[axis + 1 :])
    step = max(1, min(-(-n // get_num_threads()) if axis == 0 else n, BLOCK_BYTES // max(one, 1)))
    ahead = product(*(range(m) for m in geo.out[:axis]))
    return [(*((i, i + 1) for i in at), (a, min(a + step, n)), *rest) for at in ahead for a in range(0, n, step)]


def _at(block: Block) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in block)


def _columns(xp: Any, memory: Any, geo: Geometry, block: Block, height: int, batch: int, dtype: Any) -> tuple[Any, Any]:
    """Memory for columns, and an array in it for those of a block: (taps, channels, *rows, pixels · batch)."""
    taps, rows = math.prod(geo.kernel), [b - a for a, b in block]
    size = height * math.prod(rows) * batch
    if memory is None or memory.size < size:
        memory = xp.empty(size, dtype)
    return memory, memory[:size].reshape(taps, height // taps, *rows[:-1], rows[-1] * batch)


def _fill(columns: Any, lines: Any, block: Block, geo: Geometry, batch: int) -> None:
    for tap, met in zip(columns, _met(block, geo, batch), strict=True):
        _pixels_first(tap)[...] = lines[met]


def _pixels_first(tap: Any) -> Any:
    """(channels, *rows, pixels · batch) -> (*rows, channels, pixels · batch), a view."""
    return tap.transpose(*range(1, tap.ndim - 1), 0, tap.ndim - 1)


@lru_cache(1024)
def _met(block: Block, geo: Geometry, batch: int) -> list[tuple[Any, ...]]:
    """For every tap: which part of the lines it meets as the kernel moves over these output positions."""
    s, d, (first, last) = geo.stride[-1], geo.dilation[-1], block[-1]
    parts = []
    for k in np.ndindex(*geo.kernel):
        moves = zip(k, block[:-1], geo.stride, geo.dilation, strict=False)
        at = (slice(j * e + a * t, j * e + (b - 1) * t + 1, t) for j, (a, b), t, e in moves)
        start = k[-1] * d // s
        parts.append((*at, k[-1] * d % s, slice(None), slice((start + first) * batch, (start + last) * batch)))
    return parts
