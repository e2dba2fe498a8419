"""Standardisation, the common part of batch and layer normalisation."""

from __future__ import annotations

from typing import Any

from tinygen.engine import Node, Op, name_operators
from tinygen.layout import dot_along, sum_along
from tinygen.ops.elementwise import rsqrt, square
from tinygen.ops.reduce import _inner, _kept, _size, mean
from tinygen.ops.shape import reshape

# fmt: off

# z = (x - μ) r, where r = 1/√(σ² + eps) and μ, σ² are the moments of x along `axis`.  Source: Ioffe, Szegedy 2015, section 3.
_standardize = Op(lambda xp, x, mu, r, axis, eps: _in_place(x - mu, r),
                  lambda g, z, x, _mu, _r, axis, eps: _project(g, z, axis=axis) * _scale(x, _r, axis, eps))
# g - mean(g) - z mean(g z): the gradient loses what shifting or scaling x would change, since z does not feel it.
# Symmetric: <h, project(g, z)> = <project(h, z), g>
_project     = Op(lambda xp, g, z, axis: _without_shift_and_scale(xp, g, z, axis),
                  lambda h, _, _g, z, axis: _project(h, z, axis=axis),
                  lambda h, _, g, z, axis: -(h * _mean_of_product(g, z, axis) + g * _mean_of_product(h, z, axis)))
# x a + b in one pass over x, for a and b that broadcast to the shape of x
scale_shift  = Op(lambda xp, x, a, b: _scale_shift(x, a, b),
                  lambda g, _, _x, a, _b: g * a,  lambda g, _, x, _a, _b: _product_to(g, x, _a.shape),  lambda g, *_: g)

# fmt: on


def moments(xp: Any, x: Any, axis: tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and variance (divided by N) of an array along `axis`, whose sizes become 1."""
    share = 1 / max(_size(x, axis), 1)
    kept = _kept(x.shape, axis)
    mu = (sum_along(xp, x, axis) * share).reshape(kept)
    centred = x - mu
    return mu, (dot_along(xp, centred, centred, axis) * share).reshape(kept)


def standardize(x: Any, mu: Any, var: Any, axis: tuple[int, ...], eps: float) -> Any:
    """(x - μ) / √(σ² + eps), given the moments of x: arrays, as `moments` returns them."""
    return _standardize(x, mu, (var + eps) ** -0.5, axis=axis, eps=eps)


def _scale(x: Any, r: Any, axis: tuple[int, ...], eps: float) -> Any:
    """1/√(σ² + eps): known, unless the rule itself is to be differentiated; then as a function of x."""
    if not isinstance(x, Node):
        return r
    return rsqrt(mean(square(x - mean(x, axis, True)), axis, True) + eps)


def _without_shift_and_scale(xp: Any, g: Any, z: Any, axis: tuple[int, ...]) -> Any:
    share, kept = 1 / max(_size(z, axis), 1), _kept(z.shape, axis)
    out = z * (dot_along(xp, g, z, axis) * -share).reshape(kept)
    out += g
    out -= (sum_along(xp, g, axis) * share).reshape(kept)
    return out


def _mean_of_product(x: Any, y: Any, axis: tuple[int, ...]) -> Any:
    """mean(x y) along `axis`, whose sizes become 1."""
    return reshape(_inner(x, y, axis=axis) * (1 / max(_size(x, axis), 1)), _kept(x.shape, axis))


def _product_to(g: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """g x, summed over the axes along which an array of `shape` is repeated when it meets x."""
    new = x.ndim - len(shape)
    axis = (*range(new), *(i + new for i, n in enumerate(shape) if n == 1))
    return reshape(_inner(g, x, axis=axis), shape) if axis else g * x


def _scale_shift(x: Any, a: Any, b: Any) -> Any:
    out = x * a
    if out.dtype == b.dtype:
        out += b
        return out
    return out + b


def _in_place(x: Any, r: Any) -> Any:
    x *= r
    return x


name_operators(globals())
