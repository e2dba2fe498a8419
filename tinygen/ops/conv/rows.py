"""The loops of `taps` again, ordered for the caches of a CPU: all taps of one row of pixels, then the next row.

A row of the output, the pixels along the last dimension and the whole batch, is one matrix, (pixels · batch, channels).  So
is what a tap meets of a row of the input, and without a copy: in pixel-major memory it is that row, some pixels further on.
A stride would skip pixels; so rows of the input are first split into `stride` phases, and within a phase the pixels that
follow each other are neighbours.  A row and the products on it stay in the cache until the row is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygen.backend.threads import share
from tinygen.ops.conv.geometry import Geometry, channels_first, kernel_first, kernel_matrices, pixel_major

_PART_BYTES = 512 * 1024
"""A row of more bytes is taken in parts."""


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """y[i] = Σ_k w[k] x[i stride + k dilation]."""
    batch = x.shape[0]
    lines = _split_into_phases(xp, x, geo)
    taps = xp.ascontiguousarray(kernel_matrices(xp, w, geo).swapaxes(-1, -2))
    y = xp.empty((*geo.out, batch, w.shape[0]), xp.result_type(x, w))

    def some(parts: Sequence[Part]) -> None:
        for g, ins, outs in _groups(x.shape[1], w.shape[0], geo):
            buffer = None
            for i, a, b in parts:
                out = y[i].reshape(-1, y.shape[-1])[a:b, outs]
                buffer = _of_shape(xp, buffer, out)
                for n, (k, line, start) in enumerate(_met(i, geo, batch)):
                    source = lines[line][start + a : start + b, ins]
                    if n == 0:
                        xp.matmul(source, taps[k][g], out=out)
                    else:
                        out += xp.matmul(source, taps[k][g], out=buffer)

    share(some, _parts(geo.out, batch, max(w.shape[0], x.shape[1])), y.size // max(geo.groups, 1) * x.shape[1])
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """x[i stride + k dilation] = Σ_k w[k]ᵀ y[i]: every row of x collects what reaches it."""
    batch, channels = y.shape[0], w.shape[1] * geo.groups
    y, taps = pixel_major(xp, y), kernel_matrices(xp, w, geo)
    dtype = xp.result_type(y, w)
    x = xp.empty((*geo.size, batch, channels), dtype)
    length = geo.out[-1] * batch
    cuts = _cut(length, max(channels, y.shape[-1]))

    def some(rows: Sequence[Index]) -> None:
        line = xp.empty((geo.stride[-1], _phase_length(geo) * batch, channels), dtype)
        buffer = None
        for r in rows:
            line[...] = 0
            reaching = list(_reaching(r, geo, batch))
            for g, ins, outs in _groups(channels, w.shape[0], geo):
                for a, b in cuts:
                    for k, i, phase, start in reaching:
                        target = line[phase, start + a : start + b, ins]
                        buffer = _of_shape(xp, buffer, target)
                        target += xp.matmul(y[i].reshape(length, -1)[a:b, outs], taps[k][g], out=buffer)
            _join_phases(line, x[r], geo)

    share(some, list(np.ndindex(*geo.size[:-1])), y.size // max(geo.groups, 1) * channels)
    return channels_first(x)


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """w[k] = Σ_i y[i] x[i stride + k dilation]ᵀ, a row at a time."""
    batch = x.shape[0]
    lines, y = _split_into_phases(xp, x, geo), pixel_major(xp, y)
    n_out, n_in = y.shape[-1] // geo.groups, x.shape[1] // geo.groups
    dtype = xp.result_type(x, y)

    def some(parts: Sequence[Part]) -> Any:
        taps, product = xp.zeros((*geo.kernel, geo.groups, n_out, n_in), dtype), xp.empty((n_out, n_in), dtype)
        for g, ins, outs in _groups(x.shape[1], y.shape[-1], geo):
            for i, a, b in parts:
                left = y[i].reshape(-1, y.shape[-1])[a:b, outs].T
                for k, line, start in _met(i, geo, batch):
                    taps[k][g] += xp.matmul(left, lines[line][start + a : start + b, ins], out=product)
        return taps

    taps, *others = share(some, _parts(geo.out, batch, max(y.shape[-1], x.shape[1])), y.size * n_in)
    for other in others:
        taps += other
    return kernel_first(taps)


Index = tuple[int, ...]
Part = tuple[Index, int, int]
"""(output row, first line, last line of its matrix)."""


def _of_shape(xp: Any, buffer: Any, like: Any) -> Any:
    """The buffer if it has the shape, else a new one."""
    fits = buffer is not None and buffer.shape == like.shape
    return buffer if fits else xp.empty(like.shape, like.dtype)


def _groups(n_in: int, n_out: int, geo: Geometry) -> Iterator[tuple[int, slice, slice]]:
    """(group, its input channels, its output channels)."""
    a, b = n_in // geo.groups, n_out // geo.groups
    return ((g, slice(g * a, (g + 1) * a), slice(g * b, (g + 1) * b)) for g in range(geo.groups))


def _cut(length: int, channels: int) -> list[tuple[int, int]]:
    """A row in parts that stay in the cache."""
    step = max(_PART_BYTES // max(4 * channels, 1), 1)
    return [(a, min(a + step, length)) for a in range(0, length, step)]


def _parts(out: Index, batch: int, channels: int) -> list[Part]:
    cuts = _cut(out[-1] * batch, channels)
    return [(i, a, b) for i in np.ndindex(*out[:-1]) for a, b in cuts]


def _met(i: Index, geo: Geometry, batch: int) -> Iterator[tuple[Index, Index, int]]:
    """(tap, the line of phases it meets from output row i, the first row of that line's matrix)."""
    for k, phase, start in _along(geo, batch):
        yield k, (*(a * s + b * d for a, s, b, d in zip(i, geo.stride, k, geo.dilation, strict=False)), phase), start


def _along(geo: Geometry, batch: int) -> list[tuple[Index, int, int]]:
    """(tap, the phase of the last dimension that it meets, its first line there)."""
    s, d = geo.stride[-1], geo.dilation[-1]
    return [(k, k[-1] * d % s, k[-1] * d // s * batch) for k in np.ndindex(*geo.kernel)]


def _reaching(r: Index, geo: Geometry, batch: int) -> Iterator[tuple[Index, Index, int, int]]:
    """(tap, output row, phase, first line) of all that reaches the input row r."""
    for k, phase, start in _along(geo, batch):
        i = []
        for a, (before, _), b, d, s, n in zip(r, geo.padding, k, geo.dilation, geo.stride, geo.out, strict=False):
            steps, rest = divmod(a + before - b * d, s)
            if rest or not 0 <= steps < n:
                break
            i.append(steps)
        else:
            yield k, tuple(i), phase, start


def _phase_length(geo: Geometry) -> int:
    return -(-geo.padded[-1] // geo.stride[-1])


def _split_into_phases(xp: Any, x: Any, geo: Geometry) -> Any:
    """(batch, channels, *size) -> (*rows, stride, pixels · batch, channels) with the padding: a view if there is neither."""
    batch, channels = x.shape[:2]
    s = geo.stride[-1]
    if s == 1 and geo.padded == geo.size:
        return pixel_major(xp, x).reshape(*geo.size[:-1], 1, -1, channels)
    pixels = x.transpose(*range(2, x.ndim), 0, 1)
    lines = xp.zeros((*geo.padded[:-1], s, _phase_length(geo), batch, channels), x.dtype)
    for phase, into, of in _phases(geo):
        lines[(*geo.inside[:-1], phase, into)] = pixels[..., of, :, :]
    return lines.reshape(*lines.shape[:-3], -1, channels)


def _join_phases(line: Any, row: Any, geo: Geometry) -> None:
    """The way back, for one row, and the padding dropped."""
    line = line.reshape(line.shape[0], -1, *row.shape[1:])
    for phase, into, of in _phases(geo):
        row[of] = line[phase, into]


def _phases(geo: Geometry) -> Iterator[tuple[int, slice, slice]]:
    """(phase, where in it, which pixels of the last dimension)."""
    s, n, (before, _) = geo.stride[-1], geo.size[-1], geo.padding[-1]
    for phase in range(s):
        first = (phase - before) % s  # pixels are counted without the padding, phases with it
        count = len(range(first, n, s))
        start = (before + first) // s
        yield phase, slice(start, start + count), slice(first, n, s)
