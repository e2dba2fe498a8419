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
Sources: Mathieu, Henaff, LeCun 2013, "Fast training of convolutional networks through FFTs"; Gauss's trick.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinygen.ops.conv.geometry import Geometry, channels_first, pixel_major

_BLOCK_BYTES = 3 * 1024 * 1024
"""The batch is taken in parts whose frequencies fill about so much: then they stay in the cache between the products."""


class Matrices(NamedTuple):
    """B = rows · columns, A = back_columns · back_rows (the two dimensions one after the other), and G."""

    columns: Any
    """(2 R, width): along the last dimension, real parts, then imaginary ones."""
    rows: Any
    """(3 n, 2 height): along the other one, on (row, real or imaginary)."""
    kernel: Any
    """(3 n R, taps)."""
    back_rows: Any
    """(2 out height, 3 n)."""
    back_columns: Any
    """(out width, 2 R)."""


def takes(geo: Geometry) -> bool:
    """Whether this way of computing knows the geometry."""
    return len(geo.size) == 2 and geo.stride == (1, 1) and geo.groups == 1


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """A [(B x) · (G w)]"""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w))
    x, kernel = pixel_major(xp, x), way.kernel(w)
    y = way.empty(*geo.out, x.shape[2], w.shape[0])
    for part in way.parts:
        way.back(xp.matmul(way.ahead(x[:, :, part]), kernel, out=way.of_y(part)), y[:, :, part])
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """Bᵀ [(Aᵀ y) · (G w)]"""
    way = _Way(xp, geo, y.shape[0], w.shape[1], w.shape[0], xp.result_type(y, w))
    y, kernel = pixel_major(xp, y), xp.ascontiguousarray(way.kernel(w).swapaxes(1, 2))
    x = way.empty(*geo.size, y.shape[2], w.shape[1])
    for part in way.parts:
        way.ahead_transposed(xp.matmul(way.back_transposed(y[:, :, part]), kernel, out=way.of_x(part)), x[:, :, part])
    return channels_first(x)


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """Gᵀ [(B x) · (Aᵀ y)]"""
    way = _Way(xp, geo, x.shape[0], x.shape[1], y.shape[1], xp.result_type(x, y))
    x, y = pixel_major(xp, x), pixel_major(xp, y)
    kernel, product = way.kernel_sum()
    for part in way.parts:
        in_x, in_y = way.ahead(x[:, :, part]), way.back_transposed(y[:, :, part])
        kernel += xp.matmul(in_x.swapaxes(1, 2), in_y, out=product)
    return way.kernel_transposed(kernel)


def transpose_and_weight(xp: Any, x: Any, w: Any, y: Any, geo: Geometry) -> tuple[Any, Any]:
    """conv_transpose(y, w) and conv_weight(x, y), the gradients of conv, with one transform of y for both."""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w, y))
    x, y = pixel_major(xp, x), pixel_major(xp, y)
    taps = xp.ascontiguousarray(way.kernel(w).swapaxes(1, 2))
    dx, (kernel, product) = way.empty(*x.shape), way.kernel_sum()
    for part in way.parts:
        in_x, in_y = way.ahead(x[:, :, part]), way.back_transposed(y[:, :, part])
        kernel += xp.matmul(in_x.swapaxes(1, 2), in_y, out=product)
        way.ahead_transposed(xp.matmul(in_y, taps, out=in_x), dx[:, :, part])
    return channels_first(dx), way.kernel_transposed(kernel)


def conv_and_weight(xp: Any, x: Any, w: Any, y: Any, geo: Geometry) -> tuple[Any, Any]:
    """conv(x, w) and conv_weight(x, y), the gradients of conv_transpose, with one transform of x for both."""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w, y))
    x, y = pixel_major(xp, x), pixel_major(xp, y)
    taps = way.kernel(w)
    dy, (kernel, product) = way.empty(*y.shape), way.kernel_sum()
    for part in way.parts:
        in_x, in_y = way.ahead(x[:, :, part]), way.back_transposed(y[:, :, part])
        kernel += xp.matmul(in_x.swapaxes(1, 2), in_y, out=product)
        way.back(xp.matmul(in_x, taps, out=in_y), dy[:, :, part])
    return channels_first(dy), way.kernel_transposed(kernel)


class _Way:
    """The matrices and the memory for one convolution; x and y are parts of the batch, (height, width, batch, channels)."""

    def __init__(self, xp: Any, geo: Geometry, batch: int, n_in: int, n_out: int, dtype: Any):
        self.xp, self.geo, self.n_in, self.n_out, self.dtype = xp, geo, n_in, n_out, dtype
        self.m = _matrices(xp, geo, dtype)
        frequencies = len(self.m.kernel)
        widest = frequencies * max(n_in, n_out) * dtype.itemsize
        count = -(-batch * widest // _BLOCK_BYTES) if xp is np else 1
        step = max(1, -(-batch // count))
        self.parts = [slice(a, min(a + step, batch)) for a in range(0, batch, step)]
        between = max(geo.size[0] * n_in, geo.out[0] * n_out) * len(self.m.columns)
        self._between, self._x, self._y = (
            self.empty(step * n) for n in (between, frequencies * n_in, frequencies * n_out)
        )

    def empty(self, *shape: int) -> Any:
        return self.xp.empty(shape, self.dtype)

    def of_x(self, part: slice) -> Any:
        """Memory for the frequencies of a part of x: (3 n R, batch, channels in)."""
        return _view(self._x, len(self.m.kernel), part.stop - part.start, self.n_in)

    def of_y(self, part: slice) -> Any:
        return _view(self._y, len(self.m.kernel), part.stop - part.start, self.n_out)

    def ahead(self, x: Any) -> Any:
        """B x."""
        return self._two(x, self.m.columns, self.m.rows, self._x)

    def back_transposed(self, y: Any) -> Any:
        """Aᵀ y."""
        return self._two(y, self.m.back_columns.T, self.m.back_rows.T, self._y)

    def back(self, p: Any, y: Any) -> None:
        """A p, into y."""
        self._two_back(p, self.m.back_rows, self.m.back_columns, y)

    def ahead_transposed(self, p: Any, x: Any) -> None:
        """Bᵀ p, into x."""
        self._two_back(p, self.m.rows.T, self.m.columns.T, x)

    def _two(self, x: Any, columns: Any, rows: Any, memory: Any) -> Any:
        height, _, batch, channels = x.shape
        u = _view(self._between, height, len(columns), batch * channels)
        self.xp.matmul(columns, _flat(x), out=u)
        out = _view(memory, len(rows), len(columns) // 2 * batch * channels)
        self.xp.matmul(rows, u.reshape(rows.shape[1], -1), out=out)
        return out.reshape(-1, batch, channels)

    def _two_back(self, p: Any, rows: Any, columns: Any, y: Any) -> None:
        u = _view(self._between, len(rows), p.size // rows.shape[1])
        self.xp.matmul(rows, p.reshape(rows.shape[1], -1), out=u)
        self.xp.matmul(columns, u.reshape(len(y), columns.shape[1], -1), out=_flat(y))

    def kernel(self, w: Any) -> Any:
        """G w: (out, in, *kernel) -> (3 n R, in, out)."""
        taps = self.xp.ascontiguousarray(w.transpose(2, 3, 1, 0))
        product = self.xp.matmul(self.m.kernel, taps.reshape(self.m.kernel.shape[1], -1))
        return product.reshape(-1, self.n_in, self.n_out)

    def kernel_transposed(self, kernel: Any) -> Any:
        """Gᵀ of a sum over the batch: (3 n R, in, out) -> (out, in, *kernel)."""
        taps = self.xp.matmul(self.m.kernel.T, kernel.reshape(len(kernel), -1))
        return channels_first(taps.reshape(*self.geo.kernel, self.n_in, self.n_out)).swapaxes(0, 1)

    def kernel_sum(self) -> tuple[Any, Any]:
        """Memory for that sum, which starts at 0, and for what is added."""
        shape = (len(self.m.kernel), self.n_in, self.n_out)
        return self.xp.zeros(shape, self.dtype), self.empty(*shape)


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

    # The kernel is not turned, so its transform is the conjugate one.
    a = (
        angle(n, np.arange(n), geo.dilation[0] * np.arange(kh))[:, None, :, None]
        + angle(last, frequencies, geo.dilation[1] * np.arange(kw))[None, :, None, :]
    )
    c, d = np.cos(a), np.sin(a)
    kernel = np.stack([d - c, c + d, c]).reshape(-1, kh * kw)

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
    return Matrices(
        *(xp.asarray(np.ascontiguousarray(z, dtype)) for z in (columns, rows, kernel, back_rows, back_columns))
    )


def lengths(geo: Geometry) -> tuple[int, ...]:
    """The shortest periods in which no pixel that counts meets another one: pixels outside the image are zeros, and may."""
    return tuple(
        max(size + before, out + reach - 1 - before)
        for size, (before, _), out, reach in zip(geo.size, geo.padding, geo.out, geo.reach, strict=True)
    )
