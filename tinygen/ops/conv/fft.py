"""Convolution by fast Fourier transforms: for kernels of hundreds of taps and more, as large as the image if need be.

The transform of a sum over shifts is a product at every frequency; with ^ for the transform and * for the conjugate,

    conv(x, w)           ^y[f] = Σ ^x[f] ^w*[f]        the kernel is not turned, hence the conjugate
    conv_transpose(y, w) ^x[f] = Σ ^y[f] ^w[f]
    conv_weight(x, y)    ^w[f] = Σ ^x[f] ^y*[f]

with the sum over channels (or the batch), which is a product of matrices per frequency.  A stride reads, or writes, every s-th value
of y, with zeros between; a dilation does so with w.  The period is the padded input: no value that is read has met the other end.
n log n multiplications per channel and memory for n numbers, whatever the kernel: no matrices.

The price is that of fourier.py: rounding errors are relative to the largest values of the image.
SciPy's transforms, so on the CPU only.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import count
from typing import Any

from tinygen.ops.conv.evenness import Watch
from tinygen.ops.conv.geometry import Geometry, Sizes, channels_first, grouped, kernel_first, padded, pixel_major


def lengths(geo: Geometry) -> Sizes:
    """The periods: the padded input, and a little more where that transforms faster."""
    return tuple(map(_fast_length, geo.padded))


@lru_cache(4096)
def _fast_length(n: int) -> int:
    """The next number without large prime factors.  (SciPy has it too, but importing scipy.fft takes longer than most layers.)"""

    def rest(m: int) -> int:
        for p in (2, 3, 5, 7, 11):
            while m % p == 0:
                m //= p
        return m

    return next(m for m in count(n) if rest(m) == 1)


def memory(geo: Geometry, batch: int, n_in: int, n_out: int) -> int:
    """Numbers on the way: the three transforms, and one array in the place of pixels."""
    n = math.prod(lengths(geo))
    three = (batch * n_in, batch * n_out, n_in * n_out // geo.groups)
    return n * (sum(three) + max(three))


def conv(xp: Any, x: Any, w: Any, geo: Geometry, watch: Watch | None = None) -> Any:
    """^y = Σ ^x ^w*"""
    x, w = _alike(xp, x, w)
    if watch:
        watch.see(x)
    y = xp.matmul(_of_x(xp, x, geo), _of_w(xp, w, geo).conj().swapaxes(-1, -2))
    y = _pixels(y, geo)[tuple(slice(0, (m - 1) * s + 1, s) for m, s in zip(geo.out, geo.stride, strict=True))]
    return channels_first(_joined(xp, y))


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry, watch: Watch | None = None) -> Any:
    """^x = Σ ^y ^w"""
    y, w = _alike(xp, y, w)
    if watch:
        watch.see(y)
    x = xp.matmul(_of_y(xp, y, geo), _of_w(xp, w, geo))
    return channels_first(_joined(xp, _pixels(x, geo)[geo.inside]))


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """^w = Σ ^x ^y*"""
    x, y = _alike(xp, x, y)
    w = xp.matmul(_of_y(xp, y, geo).conj().swapaxes(-1, -2), _of_x(xp, x, geo))
    w = _pixels(w, geo)[tuple(slice(0, r, d) for r, d in zip(geo.reach, geo.dilation, strict=True))]
    return kernel_first(xp.ascontiguousarray(w))


def _alike(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Both in the more precise of their dtypes."""
    dtype = xp.result_type(a, b)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


# The transforms: (*frequencies, groups, batch, channels), and of the kernel (*frequencies, groups, out, in).


def _of_x(xp: Any, x: Any, geo: Geometry) -> Any:
    return grouped(_frequencies(padded(xp, x, geo), geo), geo)


def _of_y(xp: Any, y: Any, geo: Geometry) -> Any:
    return grouped(_frequencies(_apart(xp, pixel_major(xp, y), geo.stride), geo), geo)


def _of_w(xp: Any, w: Any, geo: Geometry) -> Any:
    taps = _frequencies(_apart(xp, pixel_major(xp, w), geo.dilation), geo)
    return taps.reshape(*taps.shape[:-2], geo.groups, w.shape[0] // geo.groups, w.shape[1])


def _frequencies(pixels: Any, geo: Geometry) -> Any:
    from scipy import fft

    return fft.rfftn(pixels, lengths(geo), range(len(geo.size)))


def _pixels(frequencies: Any, geo: Geometry) -> Any:
    from scipy import fft

    return fft.irfftn(frequencies, lengths(geo), range(len(geo.size)), overwrite_x=True)


def _apart(xp: Any, pixels: Any, steps: Sizes) -> Any:
    """Zeros between the pixels."""
    if max(steps) == 1:
        return pixels
    sizes = tuple((n - 1) * s + 1 for n, s in zip(pixels.shape, steps, strict=False))
    out = xp.zeros((*sizes, *pixels.shape[len(sizes) :]), pixels.dtype)
    out[tuple(slice(None, None, s) for s in steps)] = pixels
    return out


def _joined(xp: Any, pixels: Any) -> Any:
    """(*size, groups, batch, channels / groups) -> (*size, batch, channels), contiguous."""
    pixels = xp.ascontiguousarray(pixels.swapaxes(-2, -3))
    return pixels.reshape(*pixels.shape[:-2], -1)
