"""Convolution, its transpose and its weight gradient: one trilinear form, seen from three sides.

    T(x, w, y) = Σ  w[o, c, k] x[n, c, i stride + k dilation] y[n, o, i]        (over n, o, c, taps k, positions i)

is linear in each of its three arguments, and its three partial derivatives are the three operators

    conv(x, w)            = ∂T/∂y        the convolution (as everywhere in deep learning: without turning the kernel)
    conv_transpose(y, w)  = ∂T/∂x        the transposed matrix of conv(·, w)
    conv_weight(x, y)     = ∂T/∂w

So the derivative rules of each are the other two, and derivatives of any order close in this family.

x: (batch, channels in, *size), w: (channels out, channels in / groups, *kernel), y: (batch, channels out, *geo.out); one
`Geometry` says the sizes; any number of spatial dimensions.  Which of several ways computes the sums is chosen in `choose`.
"""

from __future__ import annotations

from typing import Any

from tinygen.engine import Op, name_operators
from tinygen.ops.conv import taps
from tinygen.ops.conv.geometry import Geometry
from tinygen.ops.reduce import sum

# fmt: off

conv           = Op(lambda xp, x, w, geo: taps.conv(xp, x, w, geo),            lambda g, _y, _x, w, geo: conv_transpose(g, w, geo=geo),
                                                                               lambda g, _y, x, _w, geo: conv_weight(x, g, geo=geo))
conv_transpose = Op(lambda xp, y, w, geo: taps.conv_transpose(xp, y, w, geo),  lambda g, _x, _y, w, geo: conv(g, w, geo=geo),
                                                                               lambda g, _x, y, _w, geo: conv_weight(g, y, geo=geo))
conv_weight    = Op(lambda xp, x, y, geo: taps.conv_weight(xp, x, y, geo),     lambda g, _w, _x, y, geo: conv_transpose(y, g, geo=geo),
                                                                               lambda g, _w, x, _y, geo: conv(x, g, geo=geo))

# The same with a bias per channel, added where the sum lies: a pass over the output less than + would take.
conv_bias           = Op(lambda xp, x, w, b, geo: _shift(taps.conv(xp, x, w, geo), b),
                         lambda g, _y, _x, w, _b, geo: conv_transpose(g, w, geo=geo),
                         lambda g, _y, x, _w, _b, geo: conv_weight(x, g, geo=geo),
                         lambda g, *_, geo: _per_channel(g))
conv_transpose_bias = Op(lambda xp, y, w, b, geo: _shift(taps.conv_transpose(xp, y, w, geo), b),
                         lambda g, _x, _y, w, _b, geo: conv(g, w, geo=geo),
                         lambda g, _x, y, _w, _b, geo: conv_weight(g, y, geo=geo),
                         lambda g, *_, geo: _per_channel(g))

# fmt: on


def _shift(out: Any, b: Any) -> Any:
    """out + b for every channel: in place if that loses nothing, since `out` was just made."""
    b = b.reshape(-1, *(1,) * (out.ndim - 2))
    if b.dtype != out.dtype:
        return out + b
    out += b
    return out


def _per_channel(g: Any) -> Any:
    """The gradient of a bias: everything it was added to."""
    return sum(g, (0, *range(2, g.ndim)))


__all__ = ["Geometry", "conv", "conv_bias", "conv_transpose", "conv_transpose_bias", "conv_weight"]

name_operators(globals())
