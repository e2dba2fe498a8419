"""The three sums as loops over the taps of the kernel.

A tap k of the kernel is one matrix w[k], (out, in).  It connects the output pixel i to the input pixel i stride + k dilation,
whatever i is: so it takes a shifted (and strided) picture of the input to the output, one matrix product at every pixel.
"""

from __future__ import annotations

from typing import Any

from tinygen.ops.conv.geometry import (
    Geometry,
    channels_first,
    grouped,
    kernel_first,
    kernel_matrices,
    padded,
    pixel_major,
)


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """y[i] = Σ_k w[k] x[i stride + k dilation]."""
    pixels, taps = grouped(padded(xp, x, geo), geo), kernel_matrices(xp, w, geo)
    y = xp.zeros((*geo.out, x.shape[0], w.shape[0]), xp.result_type(x, w))
    out = grouped(y, geo)
    for k, met in geo.taps:
        out += xp.matmul(pixels[met], taps[k].swapaxes(-1, -2))
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """x[i stride + k dilation] = Σ_k w[k]ᵀ y[i]: the same loop, both sides exchanged.  What falls on the padding is dropped."""
    pixels, taps = grouped(pixel_major(xp, y), geo), kernel_matrices(xp, w, geo)
    x = xp.zeros((*geo.padded, y.shape[0], w.shape[1] * geo.groups), xp.result_type(y, w))
    out = grouped(x, geo)
    for k, met in geo.taps:
        out[met] += xp.matmul(pixels, taps[k])
    return channels_first(x[geo.inside])


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """w[k] = Σ_i y[i] x[i stride + k dilation]ᵀ: the sum over the pixels and over the batch is one matrix product."""
    left, right = grouped(pixel_major(xp, y), geo), grouped(padded(xp, x, geo), geo)
    taps = xp.empty((*geo.kernel, geo.groups, left.shape[-1], right.shape[-1]), xp.result_type(x, y))
    left = _one_matrix(left).swapaxes(-1, -2)
    for k, met in geo.taps:
        taps[k] = xp.matmul(left, _one_matrix(right[met]))
    return kernel_first(taps)


def _one_matrix(x: Any) -> Any:
    """(*size, groups, batch, channels) -> (groups, pixels and batch, channels)."""
    x = x.transpose(x.ndim - 3, *range(x.ndim - 3), x.ndim - 2, x.ndim - 1)
    groups, channels = x.shape[0], x.shape[-1]
    return x.reshape(groups, x.size // max(groups * channels, 1), channels)
