"""The loops of `taps` for groups of one input channel each: no matrix is left, a tap multiplies every channel by a number.

With m output channels per group, an image has channels (groups, m), and the m of a group see the same input channel.
"""

from __future__ import annotations

from typing import Any

from tinygen.ops.conv.geometry import Geometry, channels_first, kernel_first, padded, pixel_major


def takes(geo: Geometry, channels: int) -> bool:
    """Whether there is one input channel per group."""
    return geo.groups == channels


def conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    """y[i] = Σ_k w[k] x[i stride + k dilation], for every channel."""
    pixels, taps = padded(xp, x, geo)[..., None], _taps(xp, w, geo)
    y = xp.zeros((*geo.out, x.shape[0], *taps.shape[-2:]), xp.result_type(x, w))
    for k, met in geo.taps:
        y += pixels[met] * taps[k]
    return channels_first(y.reshape(*y.shape[:-2], -1))


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    """x[i stride + k dilation] = Σ_k w[k]ᵀ y[i]."""
    pixels, taps = _split(pixel_major(xp, y), geo), _taps(xp, w, geo)
    x = xp.zeros((*geo.padded, y.shape[0], geo.groups), xp.result_type(y, w))
    for k, met in geo.taps:
        for m in range(taps.shape[-1]):
            x[met] += pixels[..., m] * taps[k][:, m]
    return channels_first(x[geo.inside])


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """w[k] = Σ_i y[i] x[i stride + k dilation]ᵀ, where the sum is over the batch too."""
    pixels, left = padded(xp, x, geo)[..., None], _split(pixel_major(xp, y), geo)
    taps = xp.empty((*geo.kernel, *left.shape[-2:]), xp.result_type(x, y))
    ones = xp.ones(left[..., 0, 0].size, taps.dtype)
    for k, met in geo.taps:
        product = left * pixels[met]
        taps[k] = (ones @ product.reshape(ones.size, -1)).reshape(left.shape[-2:])  # faster than a sum over rows
    return kernel_first(taps[..., None])


def _taps(xp: Any, w: Any, geo: Geometry) -> Any:
    """(groups · m, 1, *kernel) -> (*kernel, groups, m)."""
    return _split(xp.ascontiguousarray(w[:, 0].transpose(*range(1, w.ndim - 1), 0)), geo)


def _split(x: Any, geo: Geometry) -> Any:
    """(..., groups · m) -> (..., groups, m)."""
    return x.reshape(*x.shape[:-1], geo.groups, x.shape[-1] // geo.groups)
