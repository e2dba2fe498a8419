"""Convolution by the convolution theorem, with matrix products only.

In the Fourier basis a convolution is a product at every frequency.  So there are matrices A, B, G, that depend on the sizes
only, with

    conv(x, w)           = A  [(B x) · (G w)]         the theorem; A returns from frequencies to pixels
    conv_transpose(y, w) = Bᵀ [(Aᵀ y) · (G w)]        its transposes, by transposing the matrices
    conv_weight(x, y)    = Gᵀ [(B x) · (Aᵀ y)]

where · multiplies channel matrices, one per frequency.  For a 5×5 kernel on 24×24 pixels that is less than half of the
multiplications.  A fast Fourier transform would need still fewer, but here they are all done at the speed of matrix products.

Everything is real.  Pixels along the last dimension give R = n ÷ 2 + 1 frequencies, each a real and an imaginary part;
those along the other dimension n complex ones.  A complex product (a + ib)(c + id) takes three real ones,

    a (d - c),   b (c + d),   (a + b) c:        real part = third - second,  imaginary part = third + first

so B makes a, b, a + b; G makes d - c, c + d, c; and A adds the three up: 3 n R real channel matrices in all.

A wave in two dimensions is a wave along one times a wave along the other.  So none of the three matrices is ever made: each is
applied as two small ones, one dimension after the other, of n² numbers or so.  For many pixels even those are large, and
there fft.py needs fewer multiplications.

The price: every frequency is a sum over the whole image, and every pixel of the result a sum over all frequencies.  So the
rounding error of a pixel is relative to the largest values of its image, not to those that the kernel meets there: one value of
1e30 buries the rest of its image, and a NaN or an infinity fills all of it.  Other images of the batch are not touched.
See evenness.py.
Sources: Mathieu, Henaff, LeCun 2013, "Fast training of convolutional networks through FFTs"; Gauss's trick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.threads import share, threads_for
from tinygen.ops.conv.evenness import Watch
from tinygen.ops.conv.geometry import Geometry, channels_first, pixel_major

_BLOCK_BYTES = 3 * 1024 * 1024
"""The batch is taken in parts whose frequencies fill about so much: then they stay in the cache between the products."""


_MOST = 1 << 19
"""Numbers in the matrices: for more pixels than about 220 × 220 a fast transform is faster, and takes less memory."""


class Matrices(NamedTuple):
    """B = rows · columns, A = back_columns · back_rows, G = kernel_rows · kernel_columns: the two dimensions in turn."""

    columns: Any
    """(2 R, width): along the last dimension, real parts, then imaginary ones."""
    rows: Any
    """(3 n, 2 height): along the other one, on (row, real or imaginary)."""
    kernel_columns: Any
    """(2 R, taps in a row)."""
    kernel_rows: Any
    """(3 n, 2 rows of taps)."""
    back_rows: Any
    """(2 out height, 3 n)."""
    back_columns: Any
    """(out width, 2 R)."""

    @property
    def frequencies(self) -> int:
        """3 n R: how many channel matrices there are."""
        return len(self.rows) * len(self.columns) // 2


def takes(geo: Geometry) -> bool:
    """Whether this way of computing knows the geometry, and its matrices are small."""
    return len(geo.size) == 2 and geo.stride == (1, 1) and geo.groups == 1 and numbers(geo) <= _MOST


def numbers(geo: Geometry) -> int:
    """How many numbers the matrices are."""
    n, last = lengths(geo)
    of_rows, of_columns = (geo.size[i] + geo.kernel[i] + geo.out[i] for i in (0, 1))
    return 6 * n * of_rows + 2 * (last // 2 + 1) * of_columns


def conv(xp: Any, x: Any, w: Any, geo: Geometry, watch: Watch | None = None) -> Any:
    """A [(B x) · (G w)]"""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w))
    x, kernel, way.watch_x = pixel_major(xp, x), way.kernel(w), watch
    y = way.empty(*geo.out, x.shape[2], w.shape[0])

    def some(parts: Sequence[slice]) -> None:
        memory = _Memory(way)
        for part in parts:
            in_x = way.ahead(x[:, :, part], memory)
            way.back(xp.matmul(in_x, kernel, out=memory.y(part)), y[:, :, part], memory)

    way.share(some)
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry, watch: Watch | None = None) -> Any:
    """Bᵀ [(Aᵀ y) · (G w)]"""
    way = _Way(xp, geo, y.shape[0], w.shape[1], w.shape[0], xp.result_type(y, w))
    y, kernel, way.watch_y = pixel_major(xp, y), way.kernel(w, "out in"), watch
    x = way.empty(*geo.size, y.shape[2], w.shape[1])

    def some(parts: Sequence[slice]) -> None:
        memory = _Memory(way)
        for part in parts:
            in_y = way.back_transposed(y[:, :, part], memory)
            way.ahead_transposed(xp.matmul(in_y, kernel, out=memory.x(part)), x[:, :, part], memory)

    way.share(some)
    return channels_first(x)


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """Gᵀ [(B x) · (Aᵀ y)]"""
    way = _Way(xp, geo, x.shape[0], x.shape[1], y.shape[1], xp.result_type(x, y))
    return _weight(way, pixel_major(xp, x), pixel_major(xp, y))


def transpose_and_weight(xp: Any, x: Any, w: Any, y: Any, geo: Geometry, watch: Watch | None = None) -> tuple[Any, Any]:
    """conv_transpose(y, w) and conv_weight(x, y), the gradients of conv, with one transform of y for both."""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w, y))
    x, y = pixel_major(xp, x), pixel_major(xp, y)
    taps, dx, way.watch_y = way.kernel(w, "out in"), way.empty(*x.shape), watch

    def gradient(part: slice, in_x: Any, in_y: Any, memory: _Memory) -> None:
        way.ahead_transposed(xp.matmul(in_y, taps, out=in_x), dx[:, :, part], memory)

    return channels_first(dx), _weight(way, x, y, gradient)


def conv_and_weight(xp: Any, x: Any, w: Any, y: Any, geo: Geometry, watch: Watch | None = None) -> tuple[Any, Any]:
    """conv(x, w) and conv_weight(x, y), the gradients of conv_transpose, with one transform of x for both."""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w, y))
    x, y = pixel_major(xp, x), pixel_major(xp, y)
    taps, dy, way.watch_x = way.kernel(w), way.empty(*y.shape), watch

    def gradient(part: slice, in_x: Any, in_y: Any, memory: _Memory) -> None:
        way.back(xp.matmul(in_x, taps, out=in_y), dy[:, :, part], memory)

    return channels_first(dy), _weight(way, x, y, gradient)


def _weight(way: _Way, x: Any, y: Any, also: Callable[[slice, Any, Any, _Memory], None] | None = None) -> Any:
    """Gᵀ [(B x) · (Aᵀ y)], and what else is to be done with B x and Aᵀ y, which it may overwrite."""

    def some(parts: Sequence[slice]) -> Any:
        memory, kernel = _Memory(way), None
        product = way.empty(way.m.frequencies, way.n_in, way.n_out)
        for part in parts:
            in_x, in_y = way.ahead(x[:, :, part], memory), way.back_transposed(y[:, :, part], memory)
            way.xp.matmul(in_x.swapaxes(1, 2), in_y, out=product)
            if kernel is None:
                kernel, product = product, way.xp.empty_like(product)
            else:
                kernel += product
            if also:
                also(part, in_x, in_y, memory)
        return kernel

    kernel, *others = way.share(some)
    for other in others:
        kernel += other
    return channels_first(way.kernel_transposed(kernel)).swapaxes(0, 1)


class _Way:
    """The matrices for one convolution; x and y are parts of the batch, (height, width, batch, channels)."""

    watch_x: Watch | None = None
    watch_y: Watch | None = None

    def __init__(self, xp: Any, geo: Geometry, batch: int, n_in: int, n_out: int, dtype: Any):
        self.xp, self.geo, self.n_in, self.n_out, self.dtype = xp, geo, n_in, n_out, dtype
        self.m = _matrices(xp, geo, dtype)
        largest = batch * self.m.frequencies * max(n_in, n_out)
        self.multiplications = largest * min(n_in, n_out)
        threads = threads_for(self.multiplications) if xp is np else 1
        count = -(-largest * dtype.itemsize // _BLOCK_BYTES) if xp is np else 1
        count = -(-count // threads) * threads
        self.step = max(1, -(-batch // max(count, 1)))
        self.parts = [slice(a, min(a + self.step, batch)) for a in range(0, batch, self.step)]

    def empty(self, *shape: int) -> Any:
        return self.xp.empty(shape, self.dtype)

    def share(self, work: Callable[[Sequence[slice]], Any]) -> list[Any]:
        return share(work, self.parts, self.multiplications)

    def kernel(self, w: Any, order: str = "in out") -> Any:
        """G w: (out, in, *kernel) -> (3 n R, in, out), or (3 n R, out, in)."""
        ends = (1, 0) if order == "in out" else (0, 1)
        taps = self.xp.ascontiguousarray(w.transpose(2, 3, *ends))
        between = self.empty(self.geo.kernel[0] * len(self.m.kernel_columns) * self.n_in * self.n_out)
        into = self.empty(self.m.frequencies * self.n_in * self.n_out)
        return self._two(taps, self.m.kernel_columns, self.m.kernel_rows, between, into)

    def kernel_transposed(self, p: Any) -> Any:
        """Gᵀ p: (3 n R, in, out) -> (*kernel, in, out)."""
        taps = self.empty(*self.geo.kernel, self.n_in, self.n_out)
        between = self.empty(self.geo.kernel[0] * len(self.m.kernel_columns) * self.n_in * self.n_out)
        self._two_back(p, self.m.kernel_rows.T, self.m.kernel_columns.T, between, taps)
        return taps

    def ahead(self, x: Any, memory: _Memory) -> Any:
        """B x."""
        if self.watch_x:
            self.watch_x.see(_flat(x))
        return self._two(x, self.m.columns, self.m.rows, memory.between, memory.of_x)

    def back_transposed(self, y: Any, memory: _Memory) -> Any:
        """Aᵀ y."""
        if self.watch_y:
            self.watch_y.see(_flat(y))
        return self._two(y, self.m.back_columns.T, self.m.back_rows.T, memory.between, memory.of_y)

    def back(self, p: Any, y: Any, memory: _Memory) -> None:
        """A p, into y."""
        self._two_back(p, self.m.back_rows, self.m.back_columns, memory.between, y)

    def ahead_transposed(self, p: Any, x: Any, memory: _Memory) -> None:
        """Bᵀ p, into x."""
        self._two_back(p, self.m.rows.T, self.m.columns.T, memory.between, x)

    def _two(self, x: Any, columns: Any, rows: Any, between: Any, into: Any) -> Any:
        height, _, batch, channels = x.shape
        u = _view(between, height, len(columns), batch * channels)
        self.xp.matmul(columns, _flat(x), out=u)
        out = _view(into, len(rows), len(columns) // 2 * batch * channels)
        self.xp.matmul(rows, u.reshape(rows.shape[1], -1), out=out)
        return out.reshape(-1, batch, channels)

    def _two_back(self, p: Any, rows: Any, columns: Any, between: Any, y: Any) -> None:
        u = _view(between, len(rows), p.size // rows.shape[1])
        self.xp.matmul(rows, p.reshape(rows.shape[1], -1), out=u)
        self.xp.matmul(columns, u.reshape(len(y), columns.shape[1], -1), out=_flat(y))


class _Memory:
    """What one thread works on: the frequencies of a part of x and of y, and what lies between the two dimensions."""

    def __init__(self, way: _Way):
        self._way, m, geo = way, way.m, way.geo
        between = max(geo.size[0] * way.n_in, geo.out[0] * way.n_out) * len(m.columns)
        sizes = (between, m.frequencies * way.n_in, m.frequencies * way.n_out)
        self.between, self.of_x, self.of_y = (way.empty(way.step * n) for n in sizes)

    def x(self, part: slice) -> Any:
        """For the frequencies of a part of x: (3 n R, batch, channels in)."""
        return _view(self.of_x, self._way.m.frequencies, part.stop - part.start, self._way.n_in)

    def y(self, part: slice) -> Any:
        return _view(self.of_y, self._way.m.frequencies, part.stop - part.start, self._way.n_out)


def _view(memory: Any, *shape: int) -> Any:
    return memory[: math.prod(shape)].reshape(shape)


def _flat(x: Any) -> Any:
    """Batch and channels as one dimension: a view, also of a part of the batch."""
    return x.reshape(*x.shape[:2], -1)


@lru_cache(64)
def _matrices(xp: Any, geo: Geometry, dtype: Any) -> Matrices:
    """A, B and G, computed in float64."""
    (height, width), (n, last) = geo.size, lengths(geo)
    (kh, kw), r = geo.kernel, last // 2 + 1
    frequencies = np.arange(r)

    def angle(length: int, frequency: Any, position: Any) -> Any:
        return 2 * np.pi / length * np.outer(frequency, position)

    (top, _), (left, _) = geo.padding
    a = angle(last, frequencies, left + np.arange(width))
    columns = np.concatenate([np.cos(a), -np.sin(a)])

    a = angle(n, np.arange(n), top + np.arange(height))
    real = np.stack([np.cos(a), np.sin(a)], 2)  # of e^(-ia) (u + iv) = (u cos a + v sin a) + i (v cos a - u sin a)
    imaginary = np.stack([-np.sin(a), np.cos(a)], 2)
    rows = np.concatenate([z.reshape(n, -1) for z in (real, imaginary, real + imaginary)])

    # The kernel is not turned, so its transform is the conjugate one: e^(ia) (u + iv) = (u cos a - v sin a) + i (v cos a + u sin a)
    a = angle(last, frequencies, geo.dilation[1] * np.arange(kw))
    kernel_columns = np.concatenate([np.cos(a), np.sin(a)])
    a = angle(n, np.arange(n), geo.dilation[0] * np.arange(kh))
    real, imaginary = np.stack([np.cos(a), -np.sin(a)], 2), np.stack([np.sin(a), np.cos(a)], 2)
    kernel_rows = np.concatenate([z.reshape(n, -1) for z in (imaginary - real, real + imaginary, real)])

    a = angle(n, np.arange(geo.out[0]), np.arange(n))
    c, d = np.cos(a) / n, np.sin(a) / n
    # of e^(ia) (p + iq) with p = third - second, q = third + first
    real, imaginary = np.concatenate([-d, -c, c - d], 1), np.concatenate([c, -d, c + d], 1)
    back_rows = np.stack([real, imaginary], 1).reshape(2 * geo.out[0], -1)

    twice = (
        np.where((frequencies == 0) | (2 * frequencies == last), 1, 2) / last
    )  # the others stand for their conjugates too
    a = angle(last, np.arange(geo.out[1]), frequencies)
    back_columns = np.concatenate([twice * np.cos(a), -twice * np.sin(a)], 1)
    all_of_them = (columns, rows, kernel_columns, kernel_rows, back_rows, back_columns)
    return Matrices(*(xp.asarray(np.ascontiguousarray(z, dtype)) for z in all_of_them))


def lengths(geo: Geometry) -> tuple[int, ...]:
    """The shortest periods in which no pixel that counts meets another one: pixels outside the image are zeros, and may."""
    return tuple(
        max(size + before, out + reach - 1 - before)
        for size, (before, _), out, reach in zip(geo.size, geo.padding, geo.out, geo.reach, strict=True)
    )
