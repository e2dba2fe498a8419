"""Standardisation, the common part of batch and layer normalisation."""

from __future__ import annotations

import math
from typing import Any

from tinygen.engine import Node, Op, name_operators
from tinygen.ops.elementwise import rsqrt, square
from tinygen.ops.reduce import _fast_sum, mean

# fmt: off

# z = (x - μ) r, where r = 1/√(σ² + eps) and μ, σ² are the moments of x along `axis`.  Source: Ioffe, Szegedy 2015, section 3.
# dL/dx = r (g - mean(g) - z mean(g z)): the gradient loses what shifting or scaling x would change, since z does not feel it
_standardize = Op(lambda xp, x, mu, r, axis, eps: (x - mu) * r,
                  lambda g, z, x, _mu, _r, axis, eps: (g - mean(g, axis, True) - z * mean(g * z, axis, True)) * _scale(x, _r, axis, eps))
# x a + b in one pass over x, for a and b that broadcast to the shape of x
scale_shift  = Op(lambda xp, x, a, b: _scale_shift(x, a, b),
                  lambda g, _, _x, a, _b: g * a,  lambda g, _, x, _a, _b: g * x,  lambda g, *_: g)

# fmt: on


def moments(xp: Any, x: Any, axis: tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and variance (divided by N) of an array along `axis`, whose sizes become 1."""
    share = 1 / max(math.prod(x.shape[i] for i in axis), 1)
    kept = tuple(1 if i in axis else n for i, n in enumerate(x.shape))
    mu = (_fast_sum(xp, x, axis) * share).reshape(kept)
    centred = x - mu
    centred *= centred
    return mu, (_fast_sum(xp, centred, axis) * share).reshape(kept)


def standardize(x: Any, mu: Any, var: Any, axis: tuple[int, ...], eps: float) -> Any:
    """(x - μ) / √(σ² + eps), given the moments of x: arrays, as `moments` returns them."""
    return _standardize(x, mu, (var + eps) ** -0.5, axis=axis, eps=eps)


def _scale(x: Any, r: Any, axis: tuple[int, ...], eps: float) -> Any:
    """1/√(σ² + eps): known, unless the rule itself is to be differentiated; then as a function of x."""
    if not isinstance(x, Node):
        return r
    return rsqrt(mean(square(x - mean(x, axis, True)), axis, True) + eps)


def _scale_shift(x: Any, a: Any, b: Any) -> Any:
    out = x * a
    if out.dtype == b.dtype:
        out += b
        return out
    return out + b


name_operators(globals())
