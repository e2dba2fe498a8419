"""The loops of `taps` again, ordered for the caches of a CPU: all taps of a few rows of pixels, then the next rows.

A row of the output, the pixels along the last dimension and the whole batch, is one matrix, (pixels · batch, channels).  So
is what a tap meets of a row of the input, and without a copy: in pixel-major memory it is that row, some pixels further on.
A stride would skip pixels; so rows of the input are first split into `stride` phases, and within a phase the pixels that
follow each other are neighbours.  A few rows and the products on them stay in the cache until they are done.

Dimensions are named as for volumes: planes of rows of pixels.  An image is one plane, a sequence is made an image of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.threads import get_num_threads, share
from tinygen.ops.conv.geometry import Geometry, channels_first, kernel_first, kernel_matrices, phases, pixel_major

_BLOCK_BYTES = 2 * 1024 * 1024
"""Of the output.  Smaller blocks would stay in a nearer cache, but threads wait for each other between short calls."""
_LARGE = 2_000_000
"""Multiplications in a product that may be cut in two without becoming slow."""

Index = tuple[int, ...]


class Block(NamedTuple):
    """Some rows of a plane of the output, and of the matrix of each row some lines (pixel and batch)."""

    plane: Index
    rows: range
    first: int
    last: int
    """The first line, and the one after the last."""

    @property
    def where(self) -> tuple[Any, ...]:
        return (*self.plane, slice(self.rows.start, self.rows.stop), slice(self.first, self.last))


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """y[i] = Σ_k w[k] x[i stride + k dilation]."""
    if len(geo.size) == 1:
        return _as_image(conv, xp, x, w, geo)
    batch = x.shape[0]
    split = _split_into_phases(xp, x, geo)
    taps = xp.ascontiguousarray(kernel_matrices(xp, w, geo).swapaxes(-1, -2))
    y = xp.empty((*geo.out, batch, w.shape[0]), xp.result_type(x, w))
    matrices = y.reshape(*geo.out[:-1], -1, w.shape[0])
    groups = _groups(x.shape[1], w.shape[0], geo)

    def some(blocks: Sequence[Block]) -> None:
        for block, (g, ins, outs) in product(blocks, groups):
            out = matrices[(*block.where, outs)]
            buffer = xp.empty(out.shape, out.dtype)
            for n, (k, met) in enumerate(_met(block, geo, batch)):
                if n == 0:
                    xp.matmul(split[met][..., ins], taps[k][g], out=out)
                else:
                    out += xp.matmul(split[met][..., ins], taps[k][g], out=buffer)

    share(some, _blocks(geo, batch, x.shape[1], w.shape[0]), y.size // geo.groups * x.shape[1])
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """x[i stride + k dilation] = Σ_k w[k]ᵀ y[i]: every row of x collects what reaches it."""
    if len(geo.size) == 1:
        return _as_image(conv_transpose, xp, y, w, geo)
    batch, channels = y.shape[0], w.shape[1] * geo.groups
    taps = kernel_matrices(xp, w, geo)
    matrices = pixel_major(xp, y).reshape(*geo.out[:-1], -1, y.shape[1])
    x = xp.empty((*geo.size, batch, channels), xp.result_type(y, w))
    groups = _groups(channels, y.shape[1], geo)
    cuts = _cut(matrices.shape[-2], -(-4 * matrices.shape[-2] * max(channels, y.shape[1]) // _BLOCK_BYTES))
    s, length = geo.stride[-1], -(-geo.padded[-1] // geo.stride[-1]) * batch

    def some(blocks: Sequence[tuple[Index, range]]) -> None:
        for plane, rows in blocks:
            collected = xp.zeros((len(rows), s, length, channels), x.dtype)
            for (g, ins, outs), lines in product(groups, cuts):
                buffer = xp.empty((len(rows), lines.stop - lines.start, ins.stop - ins.start), x.dtype)
                for k, source, sent, phase, start in _reaching(plane, rows, geo, batch):
                    out = collected[sent, phase, start + lines.start : start + lines.stop, ins]
                    values = matrices[source][:, lines, outs]
                    out += xp.matmul(values, taps[k][g], out=buffer[: len(values)])
            _join_phases(collected, x[plane][rows.start : rows.stop : rows.step], geo)

    share(some, _classes(geo, batch, channels), y.size // geo.groups * channels)
    return channels_first(x)


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """w[k] = Σ_i y[i] x[i stride + k dilation]ᵀ, a few rows at a time."""
    if len(geo.size) == 1:
        return _as_image(conv_weight, xp, x, y, geo)
    batch = x.shape[0]
    split = _split_into_phases(xp, x, geo)
    matrices = pixel_major(xp, y).reshape(*geo.out[:-1], -1, y.shape[1])
    n_out, n_in = y.shape[1] // geo.groups, x.shape[1] // geo.groups
    groups = _groups(x.shape[1], y.shape[1], geo)

    def some(blocks: Sequence[Block]) -> Any:
        taps = xp.zeros((*geo.kernel, geo.groups, n_out, n_in), xp.result_type(x, y))
        for block, (g, ins, outs) in product(blocks, groups):
            left = matrices[(*block.where, outs)].swapaxes(-1, -2)
            of_rows = xp.empty((len(left), n_out, n_in), taps.dtype)
            for k, met in _met(block, geo, batch):
                xp.matmul(left, split[met][..., ins], out=of_rows)
                taps[k][g] += of_rows[0] if len(left) == 1 else of_rows.sum(0)
        return taps

    taps, *others = share(some, _blocks(geo, batch, x.shape[1], y.shape[1]), y.size * n_in)
    for other in others:
        taps += other
    return kernel_first(taps)


def _as_image(function: Callable[..., Any], xp: Any, a: Any, b: Any, geo: Geometry) -> Any:
    """A sequence as an image of one row."""
    padding, dilation = ((0, 0), *geo.padding), (1, *geo.dilation)
    image = Geometry((1, *geo.size), (1, *geo.kernel), (1, *geo.stride), padding, dilation, geo.groups)
    return function(xp, a[:, :, None], b[:, :, None], image)[:, :, 0]


def _groups(n_in: int, n_out: int, geo: Geometry) -> list[tuple[int, slice, slice]]:
    """(group, its input channels, its output channels)."""
    a, b = n_in // geo.groups, n_out // geo.groups
    return [(g, slice(g * a, (g + 1) * a), slice(g * b, (g + 1) * b)) for g in range(geo.groups)]


def _cut(length: int, parts: int) -> list[slice]:
    """0, ..., length - 1 in so many parts, of almost the same length."""
    ends = [round(i * length / max(parts, 1)) for i in range(max(parts, 1) + 1)]
    return [slice(a, b) for a, b in pairwise(ends) if a < b]


def _parts(rows: int, length: int, channels: int) -> int:
    """In how many parts to take the rows: they stay in the cache, and every thread gets as many."""
    fitting = max(1, _BLOCK_BYTES // max(4 * length * channels, 1))
    threads = get_num_threads()
    return min(rows, threads * -(-rows // (threads * fitting)))


def _blocks(geo: Geometry, batch: int, n_in: int, n_out: int) -> list[Block]:
    *planes, rows, pixels = geo.out
    length = pixels * batch
    in_rows = _parts(rows, length, n_out)
    in_lines = -(-4 * length * n_out // _BLOCK_BYTES) if in_rows == rows else 1
    if in_rows * in_lines % get_num_threads() and length * n_in * n_out // geo.groups > _LARGE:
        in_lines *= get_num_threads()
    cuts = _cut(length, in_lines)
    several = [range(r.start, r.stop) for r in _cut(rows, in_rows)]
    return [Block(i, r, c.start, c.stop) for i in np.ndindex(*planes) for r in several for c in cuts]


def _classes(geo: Geometry, batch: int, channels: int) -> list[tuple[Index, range]]:
    """(plane, rows) of the input, with rows `stride` apart: the same taps reach all of them."""
    *planes, rows, _ = geo.size
    s = geo.stride[-2]
    classes = [range(first, rows, s) for first in range(min(s, rows))]
    several = [c[r] for c in classes for r in _cut(len(c), _parts(len(c), geo.padded[-1] * batch, channels))]
    return [(i, r) for i in np.ndindex(*planes) for r in several]


# What meets what is the same in every step of a training: it is worked out once, and not while another core waits.


@lru_cache(2048)
def _met(block: Block, geo: Geometry, batch: int) -> list[tuple[Index, tuple[Any, ...]]]:
    """(tap, what it meets of the phases from this block of the output)."""
    s, d, (plane, rows, first_line, last_line) = geo.stride[-2:], geo.dilation[-2:], block
    met = []
    for k in np.ndindex(*geo.kernel):
        at = tuple(a * t + b * e for a, t, b, e in zip(plane, geo.stride, k, geo.dilation, strict=False))
        first = rows.start * s[0] + k[-2] * d[0]
        start = k[-1] * d[1] // s[1] * batch
        among = slice(first, first + (len(rows) - 1) * s[0] + 1, s[0])
        met.append((k, (*at, among, k[-1] * d[1] % s[1], slice(start + first_line, start + last_line))))
    return met


@lru_cache(2048)
def _reaching(plane: Index, rows: range, geo: Geometry, batch: int) -> list[tuple[Index, Any, slice, int, int]]:
    """(tap, rows of the output, which of these rows of the input they reach, phase, first line) of all that reaches them."""
    s, d = geo.stride[-2:], geo.dilation[-2:]
    reaching = []
    for k in np.ndindex(*geo.kernel):
        planes = [
            divmod(a + before - b * e, t)
            for a, (before, _), b, e, t in zip(plane, geo.padding, k, geo.dilation, geo.stride, strict=False)
        ]
        first, rest = divmod(rows.start + geo.padding[-2][0] - k[-2] * d[0], s[0])
        low, high = max(0, -first), min(len(rows), geo.out[-2] - first)
        if rest or low >= high or any(r or not 0 <= a < n for (a, r), n in zip(planes, geo.out, strict=False)):
            continue
        source = (*(a for a, _ in planes), slice(first + low, first + high))
        reaching.append((k, source, slice(low, high), k[-1] * d[1] % s[1], k[-1] * d[1] // s[1] * batch))
    return reaching


def _split_into_phases(xp: Any, x: Any, geo: Geometry) -> Any:
    """(batch, channels, *size) -> (*planes, rows, stride, pixels · batch, channels), padded: a view if there is neither."""
    batch, channels = x.shape[:2]
    s = geo.stride[-1]
    if s == 1 and geo.padded == geo.size:
        return pixel_major(xp, x).reshape(*geo.size[:-1], 1, -1, channels)
    pixels = x.transpose(*range(2, x.ndim), 0, 1)
    lines = xp.zeros((*geo.padded[:-1], s, -(-geo.padded[-1] // s), batch, channels), x.dtype)
    for phase, into, of in phases(geo):
        lines[(*geo.inside[:-1], phase, into)] = pixels[..., of, :, :]
    return lines.reshape(*lines.shape[:-3], -1, channels)


def _join_phases(lines: Any, rows: Any, geo: Geometry) -> None:
    """The way back, for some rows, and the padding dropped."""
    lines = lines.reshape(*lines.shape[:2], -1, *rows.shape[-2:])
    for phase, into, of in phases(geo):
        rows[:, of] = lines[:, phase, into]
