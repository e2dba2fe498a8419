"""Standardisation, the common part of batch and layer normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend import fuse
from tinygen.engine import Node, Op, name_operators
from tinygen.layout import beside, dot_along, sum_along
from tinygen.ops.elementwise import rsqrt, square
from tinygen.ops.reduce import _inner, _kept, _size, in_single, mean
from tinygen.ops.shape import reshape

# fmt: off

# z = (x - μ) r, where r = 1/√(σ² + eps) and μ, σ² are the moments of x along `axis`.  Source: Ioffe, Szegedy 2015, section 3.
_standardize = Op(lambda xp, x, mu, r, axis, eps: _standardized(xp, x, mu, r).astype(x.dtype, copy=False),
                  lambda g, z, x, _mu, _r, axis, eps: _project(g, z, axis=axis) * _scale(x, _r, axis, eps))
# g - mean(g) - z mean(g z): the gradient loses what shifting or scaling x would change, since z does not feel it.
# Symmetric: <h, project(g, z)> = <project(h, z), g>
_project     = Op(lambda xp, g, z, axis: _without_shift_and_scale(xp, g, z, axis),
                  lambda h, _, _g, z, axis: _project(h, z, axis=axis),
                  lambda h, _, g, z, axis: -(h * _mean_of_product(g, z, axis) + g * _mean_of_product(h, z, axis)))
# z w + b, for w and b that do not vary along `axis`, without keeping z
_normalize   = Op(lambda xp, x, w, b, mu, r, axis, eps: _normalized(xp, x, w, b, mu, r).astype(x.dtype, copy=False),
                  lambda g, _, x, w, _b, mu, r, axis, eps: _project(g, _standardize(x, mu, r, axis=axis, eps=eps), axis=axis) * (_scale(x, r, axis, eps) * w),
                  lambda g, _, x, _w, _b, mu, r, axis, eps: _product_to(g, _standardize(x, mu, r, axis=axis, eps=eps), _w.shape),
                  lambda g, *_, axis, eps: g,
                  together=lambda *a, axis, eps: _gradients_of_normalize(*a, axis=axis))
# x a + b in one pass over x, for a and b that broadcast to the shape of x
scale_shift  = Op(lambda xp, x, a, b: _scale_shift(xp, x, a, b),
                  lambda g, _, _x, a, _b: g * a,  lambda g, _, x, _a, _b: _product_to(g, x, _a.shape),  lambda g, *_: g)

# fmt: on


def moments(xp: Any, x: Any, axis: tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and variance (divided by N) of an array along `axis`, whose sizes become 1: float32 for half precision."""
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    share = 1 / max(_size(x, axis), 1)
    kept = _kept(x.shape, axis)
    mu = (sum_along(xp, x, axis) * share).reshape(kept)
    centred = x - beside(xp, mu, x)
    return mu, (dot_along(xp, centred, centred, axis) * share).reshape(kept)


def standardize(x: Any, mu: Any, r: Any, axis: tuple[int, ...], eps: float) -> Any:
    """(x - μ) r, given arrays: the mean μ of x along `axis` and r = 1/√(σ² + eps)."""
    return _standardize(x, mu, r, axis=axis, eps=eps)


def normalize(x: Any, w: Any, b: Any, mu: Any, r: Any, axis: tuple[int, ...], eps: float) -> Any:
    """standardize(x, ...) w + b, where w and b, of one dtype with x, have size 1 along `axis`."""
    return _normalize(x, w, b, mu, r, axis=axis, eps=eps)


def _scale(x: Any, r: Any, axis: tuple[int, ...], eps: float) -> Any:
    """1/√(σ² + eps): known, unless the rule itself is to be differentiated; then as a function of x."""
    if not isinstance(x, Node):
        return r
    return rsqrt(mean(square(x - mean(x, axis, True)), axis, True) + eps)


@fuse
def _standardized(xp: Any, x: Any, mu: Any, r: Any) -> Any:
    out = x - beside(xp, mu, x)
    out *= beside(xp, r, x)
    return out


@fuse
def _normalized(xp: Any, x: Any, w: Any, b: Any, mu: Any, r: Any) -> Any:
    out = _standardized(xp, x, mu, r * w)
    out += beside(xp, b, x)
    return out


def _gradients_of_normalize(
    xp: Any, g: Any, _y: Any, x: Any, w: Any, _b: Any, mu: Any, r: Any, *, axis: tuple[int, ...]
) -> tuple[Any, Any, Any]:
    """What the three rules return, in a few passes: they share Σ g and Σ g z, and one array is enough."""
    share = 1 / max(_size(x, axis), 1)
    centred = x - beside(xp, mu, x)
    g = g.astype(centred.dtype, copy=False)  # half precision meets moments of float32
    gw = dot_along(xp, g, centred, axis).reshape(r.shape) * r
    gb = sum_along(xp, g, axis).reshape(r.shape)
    return _projected(xp, centred, g, gw, gb, r, w, share, -share), gw, gb


@fuse
def _projected(xp: Any, gx: Any, g: Any, gw: Any, gb: Any, r: Any, w: Any, share: float, minus_share: float) -> Any:
    """_project(g, z) r w, where z = r gx and the two sums are known.  It is written to gx."""
    gx *= beside(xp, gw * r * minus_share, gx)
    gx += g
    gx -= beside(xp, gb * share, gx)
    gx *= beside(xp, r * w, gx)
    return gx


@in_single
def _without_shift_and_scale(xp: Any, g: Any, z: Any, axis: tuple[int, ...]) -> Any:
    share, kept = 1 / max(_size(z, axis), 1), _kept(z.shape, axis)
    gz, sum_g = dot_along(xp, g, z, axis).reshape(kept), sum_along(xp, g, axis).reshape(kept)
    return _less(xp, g, z, gz, sum_g, share, -share)


@fuse
def _less(xp: Any, g: Any, z: Any, gz: Any, sum_g: Any, share: float, minus_share: float) -> Any:
    """g - mean(g) - z mean(g z), from the sums."""
    out = z * beside(xp, gz * minus_share, z)
    out += g
    out -= beside(xp, sum_g * share, z)
    return out


def _mean_of_product(x: Any, y: Any, axis: tuple[int, ...]) -> Any:
    """mean(x y) along `axis`, whose sizes become 1."""
    return reshape(_inner(x, y, axis=axis) * (1 / max(_size(x, axis), 1)), _kept(x.shape, axis))


def _product_to(g: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """g x, summed over the axes along which an array of `shape` is repeated when it meets x."""
    new = x.ndim - len(shape)
    axis = (*range(new), *(i + new for i, n in enumerate(shape) if n == 1))
    return reshape(_inner(g, x, axis=axis), shape) if axis else g * x


@fuse
def _scale_shift(xp: Any, x: Any, a: Any, b: Any) -> Any:
    out = x * beside(xp, a, x)
    b = beside(xp, b, out)
    if out.dtype == b.dtype:
        out += b
        return out
    return out + b


name_operators(globals())
