"""Convolution, its transpose and its weight gradient: one trilinear form, seen from three sides.

    T(x, w, y) = Σ  w[o, c, k] x[n, c, i stride + k dilation] y[n, o, i]        (over n, o, c, taps k, positions i)

is linear in each of its three arguments, and its three partial derivatives are the three operators

    conv(x, w)            = ∂T/∂y        the convolution (as everywhere in deep learning: without turning the kernel)
    conv_transpose(y, w)  = ∂T/∂x        the transposed matrix of conv(·, w)
    conv_weight(x, y)     = ∂T/∂w

So the derivative rules of each are the other two, and derivatives of any order close in this family.

x: (batch, channels in, *size), w: (channels out, channels in / groups, *kernel), y: (batch, channels out, *geo.out); any number
of spatial dimensions; one `Geometry`, given as geo=, says the sizes.  Which of several ways computes the sums is decided in
choose.py.  These operators trust their arguments: shapes are checked where users call, in nn/functional/conv.py.
Source: deck D4 (the convolution and its transpose as matrices).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.engine import Op, name_operators
from tinygen.layout import beside
from tinygen.ops.conv.choose import Way, way
from tinygen.ops.conv.evenness import Watch, is_even
from tinygen.ops.conv.geometry import Geometry
from tinygen.ops.reduce import sum

# fmt: off

conv           = Op(lambda xp, x, w, geo: _conv(xp, x, w, geo),            lambda g, _y, _x, w, geo: conv_transpose(g, w, geo=geo),
                                                                           lambda g, _y, x, _w, geo: conv_weight(x, g, geo=geo),
                    together=lambda *a, geo: _gradients(*a, geo=geo))
conv_transpose = Op(lambda xp, y, w, geo: _conv_transpose(xp, y, w, geo),  lambda g, _x, _y, w, geo: conv(g, w, geo=geo),
                                                                           lambda g, _x, y, _w, geo: conv_weight(g, y, geo=geo),
                    together=lambda *a, geo: _transpose_gradients(*a, geo=geo))
conv_weight    = Op(lambda xp, x, y, geo: _conv_weight(xp, x, y, geo),     lambda g, _w, _x, y, geo: conv_transpose(y, g, geo=geo),
                                                                           lambda g, _w, x, _y, geo: conv(x, g, geo=geo))

# The same with a bias per channel, added where the sum lies: that takes a pass less than + would.
conv_bias           = Op(lambda xp, x, w, b, geo: _shift(xp, _conv(xp, x, w, geo), b),
                         lambda g, _y, _x, w, _b, geo: conv_transpose(g, w, geo=geo),
                         lambda g, _y, x, _w, _b, geo: conv_weight(x, g, geo=geo),
                         lambda g, *_, geo: _per_channel(g),
                         together=lambda *a, geo: _gradients(*a, geo=geo))
conv_transpose_bias = Op(lambda xp, y, w, b, geo: _shift(xp, _conv_transpose(xp, y, w, geo), b),
                         lambda g, _x, _y, w, _b, geo: conv(g, w, geo=geo),
                         lambda g, _x, y, _w, _b, geo: conv_weight(g, y, geo=geo),
                         lambda g, *_, geo: _per_channel(g),
                         together=lambda *a, geo: _transpose_gradients(*a, geo=geo))

# fmt: on


def _conv(xp: Any, x: Any, w: Any, geo: Geometry) -> Any:
    return _watched("conv", xp, x, w, geo)


def _conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry) -> Any:
    return _watched("conv_transpose", xp, y, w, geo)


def _conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    return way(xp, geo, x.shape[0], x.shape[1], y.shape[1], xp.result_type(x, y)).conv_weight(xp, x, y, geo)


def _way(xp: Any, image: Any, w: Any, geo: Geometry, spreading: bool = True) -> Way:
    dtype = xp.result_type(image, w)
    return way(xp, geo, image.shape[0], w.shape[1] * geo.groups, w.shape[0], dtype, spreading)


def _watched(name: str, xp: Any, image: Any, w: Any, geo: Geometry) -> Any:
    """By the fastest way; by another one if the image is not even enough: a value must not be felt where it is not used.

    A weight's gradient needs no such care: each of its elements sums over all pixels, so it uses (almost) every value.  On
    a GPU nobody looks: the program would have to wait for it.
    """
    chosen = _way(xp, image, w, geo)
    if not chosen.spreads or xp is not np:
        return getattr(chosen, name)(xp, image, w, geo)
    watch = Watch()
    result = getattr(chosen, name)(xp, image, w, geo, watch)
    if watch.saw_even() or is_even(image):
        return result
    return getattr(_way(xp, image, w, geo, spreading=False), name)(xp, image, w, geo)


# Both gradients in one go, where that shares work.


def _gradients(xp: Any, g: Any, _y: Any, x: Any, w: Any, *_b: Any, geo: Geometry) -> tuple[Any, Any] | None:
    return _both(_way(xp, x, w, geo).transpose_and_weight, xp, x, w, g, geo, g)


def _transpose_gradients(xp: Any, g: Any, _x: Any, y: Any, w: Any, *_b: Any, geo: Geometry) -> tuple[Any, Any] | None:
    return _both(_way(xp, g, w, geo).conv_and_weight, xp, g, w, y, geo, g)


def _both(both: Any, xp: Any, x: Any, w: Any, y: Any, geo: Geometry, g: Any) -> tuple[Any, Any] | None:
    if not both or xp is not np:
        return both and both(xp, x, w, y, geo)
    watch = Watch()
    result = both(xp, x, w, y, geo, watch)
    return result if watch.saw_even() or is_even(g) else None


def _shift(xp: Any, out: Any, b: Any) -> Any:
    """out + b for every channel: in place if that loses nothing, since `out` was just made."""
    b = b.reshape(1, -1, *(1,) * (out.ndim - 2))
    if b.dtype != out.dtype:
        return out + b
    out += beside(xp, b, out)
    return out


def _per_channel(g: Any) -> Any:
    """The gradient of a bias: everything it was added to."""
    return sum(g, (0, *range(2, g.ndim)))


__all__ = ["Geometry", "conv", "conv_bias", "conv_transpose", "conv_transpose_bias", "conv_weight"]

name_operators(globals())
