"""Running results along a dimension: products, extremes, logarithms of sums; and differences, which undo running sums.

Most of them are scans.  Array libraries have them for sums and products only; the others are computed by doubling: after k
steps every element has seen the 2^k before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.engine import Op, name_operators
from tinygen.layout import accumulator
from tinygen.ops.elementwise import exp, logical_xor, where
from tinygen.ops.index import ValuesAndIndices, gather, put
from tinygen.ops.reduce import _to_dtype, in_single
from tinygen.ops.shape import _flip, _roll, _slice, axis_of, cat, reshape

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

# y_i = b_i + a_i y_(i-1), from y_0 = b_0 on: every scan's derivative is one, run backwards
_recurrence = Op(lambda xp, b, a, axis: _linear_recurrence(xp, b, a, axis),
                 lambda g, _y, _b, a, axis: _backwards(g, a, axis),
                 lambda g, y, _b, a, axis: _backwards(g, a, axis) * _before(y, 0.0, axis))
# the derivative of a product is the product of the others: those before x_i, times those from i + 1 to every j after it
_cumprod = Op(lambda xp, x, axis: _running_product(xp, x, axis),
              lambda g, out, x, axis: _before(out, 1.0, axis) * _backwards(g, x, axis))
# dy_j/dx_i = exp(x_i - y_j) = exp(x_i - y_i) exp(y_i - y_(i+1)) ... exp(y_(j-1) - y_j), where no factor is above 1
_logcumsumexp = Op(lambda xp, x, axis: _doubling(xp.logaddexp, x, axis),
                   lambda g, out, x, axis: exp(x - _finite(out)) * _backwards(g, exp(_before(out, 0.0, axis) - _finite(out)), axis))
_last_max = Op(lambda xp, x, axis: _extreme_so_far(xp, x, axis, xp.greater_equal))
_last_min = Op(lambda xp, x, axis: _extreme_so_far(xp, x, axis, xp.less_equal))

# fmt: on


def _parts(axis: int, k: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices of all but the first k elements along `axis`, and of all but the last k."""
    every = (slice(None),) * axis
    return (*every, slice(k, None)), (*every, slice(None, -k))


def _running_product(xp: Any, x: Any, axis: int) -> Any:
    out = xp.cumprod(x, axis, dtype=accumulator(x.dtype))
    return out.astype(x.dtype) if x.dtype.kind == "f" else out


@in_single
def _doubling(combine: Callable[..., Any], x: Any, axis: int) -> Any:
    out, k = x.copy(), 1
    while k < x.shape[axis]:
        later, earlier = _parts(axis, k)
        out[later] = combine(out[later], out[earlier])
        k *= 2
    return out


@in_single
def _linear_recurrence(xp: Any, b: Any, a: Any, axis: int) -> Any:
    """Two steps of it are one of the same kind: a'_i = a_i a_(i-1), b'_i = b_i + a_i b_(i-1)."""
    b, a, k = b.copy(), a.copy(), 1
    while k < b.shape[axis]:
        later, earlier = _parts(axis, k)
        b[later] = b[later] + a[later] * b[earlier]
        a[later] = a[later] * a[earlier]
        k *= 2
    return b


def _extreme_so_far(xp: Any, x: Any, axis: int, beats: Callable[..., Any]) -> Any:
    """The index of the extreme element so far, of equal ones the last; nan counts as the most extreme."""
    shape = tuple(-1 if i == axis else 1 for i in range(x.ndim))
    values, indices, k = x.copy(), xp.zeros(x.shape, np.int64) + xp.arange(x.shape[axis]).reshape(shape), 1
    while k < x.shape[axis]:
        later, earlier = _parts(axis, k)
        keep = beats(values[later], values[earlier])
        if x.dtype.kind == "f":
            keep = keep | xp.isnan(values[later])
        values[later] = xp.where(keep, values[later], values[earlier])
        indices[later] = xp.where(keep, indices[later], indices[earlier])
        k *= 2
    return indices


def _before(y: Any, first: float, axis: int) -> Any:
    """y_(i-1) in the place of y_i, and `first` in the place of y_0."""
    return put(_roll(y, shifts=(1,), axis=(axis,)), first, at=(slice(None),) * axis + (slice(0, 1),))


def _finite(y: Any) -> Any:
    """0 in the place of -inf, the logarithm of a sum of nothing but zeros: what is subtracted must be a number."""
    return where(y == -math.inf, 0.0, y)


def _backwards(g: Any, a: Any, axis: int) -> Any:
    """The recurrence from the other end: y_i = g_i + a_(i+1) y_(i+1)."""
    turned = lambda x: _flip(x, axis=(axis,))
    return turned(_recurrence(turned(g), _roll(turned(a), shifts=(1,), axis=(axis,)), axis=axis))


name_operators(globals())


def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Tensor:
    """Running products along `dim`; differentiable where factors are zero too."""
    input = _to_dtype(input, dtype)
    return _along(_cumprod, "cumprod", input, dim)


def logcumsumexp(input: Any, dim: int) -> Tensor:
    """Running log Σ exp x along `dim`, computed without overflow.  Floating-point tensors only."""
    if input.dtype.kind != "f":
        raise TypeError(f"logcumsumexp: a floating-point tensor is expected, got {input.dtype}; use input.float()")
    return _along(_logcumsumexp, "logcumsumexp", input, dim)


def _along(op: Op, name: str, x: Any, dim: int) -> Any:
    axis = axis_of(name, dim, x.ndim or 1)
    return op(x, axis=axis) if x.ndim else reshape(op(reshape(x, 1), axis=0), ())


def cummax(input: Any, dim: int) -> ValuesAndIndices:
    """(values, indices) of the largest element so far along `dim`; of equal ones the last."""
    return _extremes(_last_max, "cummax", input, dim)


def cummin(input: Any, dim: int) -> ValuesAndIndices:
    """(values, indices) of the smallest element so far along `dim`; of equal ones the last."""
    return _extremes(_last_min, "cummin", input, dim)


def _extremes(op: Op, name: str, x: Any, dim: int) -> Any:
    indices = _along(op, name, x, dim)
    return ValuesAndIndices(gather(x, dim, indices) if x.ndim else x * 1, indices)


def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along `dim`, n times over: the size of that dimension falls by n (to 0 at least).

    prepend, append: tensors that are put before and after the input first.
    """
    if not input.ndim:
        raise ValueError("diff: a tensor of at least one dimension is expected, got a single number")
    if n < 0:
        raise ValueError(f"diff: the order n must not be negative, got {n}")
    axis = axis_of("diff", dim, input.ndim)
    ends = [x for x in (prepend, input, append) if x is not None]
    out = cat(ends, axis) if len(ends) > 1 else input
    for _ in range(min(n, out.shape[axis])):
        later, earlier = (slice(1, None), slice(None, -1)) if out.shape[axis] else (slice(0), slice(0))
        at = (slice(None),) * axis
        x, y = _slice(out, at=(*at, later)), _slice(out, at=(*at, earlier))
        out = logical_xor(x, y) if out.dtype.kind == "b" else x - y
    return out


__all__ = ["cummax", "cummin", "cumprod", "diff", "logcumsumexp"]
