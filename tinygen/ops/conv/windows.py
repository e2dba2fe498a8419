"""One product for all taps, pixels and images at once, in as few calls as there can be: for devices where a call is what costs.

What the kernel sees of the input as it moves is a view of it, (*positions, *kernel), that reads most pixels several times over.
Written out, the windows are one matrix per group, (pixels · batch, taps · in), and

    conv(x, w)           = windows(x) wᵀ
    conv_weight(x, y)    = yᵀ windows(x)
    conv_transpose(y, w) = the windows y w, added up where they came from, tap by tap;
                           with stride 1 a convolution again, whose kernel is turned around

`columns` does the same for the caches of a CPU, in blocks and with a copy per tap.
"""

from __future__ import annotations

import math
from typing import Any

from tinygen.ops.conv.geometry import Geometry, channels_first, padded, pixel_major


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """windows(x) wᵀ"""
    y = xp.matmul(_windows(xp, x, geo), _matrix(w, geo).swapaxes(1, 2))
    return channels_first(y.swapaxes(0, 1).reshape(*geo.out, x.shape[0], w.shape[0]))


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """The windows y w, added up where they came from."""
    if is_mirrored(geo):
        return conv(xp, y, _turned(w, geo), _mirror(geo))
    batch, channels = y.shape[0], w.shape[1] * geo.groups
    windows = xp.matmul(_grouped(xp, y, geo).swapaxes(0, 1), _matrix(w, geo))
    windows = windows.reshape(geo.groups, *geo.out, batch, *geo.kernel, w.shape[1])
    x = xp.zeros((*geo.padded, batch, geo.groups, w.shape[1]), windows.dtype)
    for k, met in geo.taps:
        part = x[met]  # x[met] += would write it a second time, to where it is
        part += windows[(..., *k, slice(None))].transpose(*range(1, part.ndim - 1), 0, part.ndim - 1)
    return channels_first(x.reshape(*x.shape[:-2], channels)[geo.inside])


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """yᵀ windows(x)"""
    w = xp.matmul(_grouped(xp, y, geo).transpose(1, 2, 0), _windows(xp, x, geo))
    w = w.reshape(y.shape[1], *geo.kernel, x.shape[1] // geo.groups)
    return w.transpose(0, w.ndim - 1, *range(1, w.ndim - 1))


def is_mirrored(geo: Geometry) -> bool:
    """Whether the transpose is a convolution itself: stride 1, and less padding than the kernel reaches."""
    lacking = (r - 1 - p for r, pair in zip(geo.reach, geo.padding, strict=True) for p in pair)
    return all(s == 1 for s in geo.stride) and min(lacking) >= 0


def _windows(xp: Any, x: Any, geo: Geometry) -> Any:
    """(batch, channels, *size) -> (groups, pixels · batch, taps · channels / groups)."""
    pixels = padded(xp, x, geo)
    *steps, of_batch, of_channel = pixels.strides
    batch, channels = x.shape[0], x.shape[1] // geo.groups
    windows = xp.lib.stride_tricks.as_strided(  # CuPy's sliding_window_view waits for the GPU
        pixels,
        (geo.groups, *geo.out, batch, *geo.kernel, channels),
        (
            channels * of_channel,
            *(n * s for n, s in zip(steps, geo.stride, strict=True)),
            of_batch,
            *(n * d for n, d in zip(steps, geo.dilation, strict=True)),
            of_channel,
        ),
    )
    return windows.reshape(geo.groups, math.prod(geo.out) * batch, math.prod(geo.kernel) * channels)


def _matrix(w: Any, geo: Geometry) -> Any:
    """(out, in / groups, *kernel) -> (groups, out / groups, taps · in / groups)."""
    return w.transpose(0, *range(2, w.ndim), 1).reshape(geo.groups, w.shape[0] // geo.groups, -1)


def _grouped(xp: Any, y: Any, geo: Geometry) -> Any:
    """(batch, channels, *size) -> (pixels · batch, groups, channels / groups)."""
    return pixel_major(xp, y).reshape(-1, geo.groups, y.shape[1] // geo.groups)


def _mirror(geo: Geometry) -> Geometry:
    padding = tuple((r - 1 - a, r - 1 - b) for r, (a, b) in zip(geo.reach, geo.padding, strict=True))
    return Geometry(geo.out, geo.kernel, geo.stride, padding, geo.dilation, geo.groups)


def _turned(w: Any, geo: Geometry) -> Any:
    """Input and output of every group exchanged, and the kernel turned around: (in, out / groups, *kernel)."""
    w = w.reshape(geo.groups, w.shape[0] // geo.groups, *w.shape[1:]).swapaxes(1, 2)
    w = w.reshape(-1, *w.shape[2:])
    return w[(..., *(slice(None, None, -1),) * (w.ndim - 2))]
