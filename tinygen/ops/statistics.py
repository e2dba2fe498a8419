"""Order statistics and counts: medians, quantiles, modes, histograms; and distances between points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygen.backend import device_of, to_device
from tinygen.engine import Node, Op, name_operators
from tinygen.errors import ShapeError, expect_tensor
from tinygen.ops.elementwise import isnan, where
from tinygen.ops.index import ValuesAndIndices, argsort, gather, sort, take
from tinygen.ops.linalg import matmul
from tinygen.ops.norms import vector_norm
from tinygen.ops.reduce import Dim, _to_ties, amax, amin, in_single, mean, std, sum, var
from tinygen.ops.scans import _doubling
from tinygen.ops.shape import _slice, axis_of, flatten, movedim, mT, reshape, select, unsqueeze
from tinygen.ops.special import lerp

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

# The element in the middle of the sorted ones; equal ones share the gradient, as those of amax do
_median = Op(lambda xp, x, skip_nan: _middle(xp, x, skip_nan),
             lambda g, out, x, skip_nan: _to_ties(g, x, out, (0,)))
_middle_rank = Op(lambda xp, x, axis, skip_nan: _rank_of_middle(xp, x, axis, skip_nan))
_mode     = Op(lambda xp, x, axis: _most_frequent(xp, x, axis))
_bincount = Op(lambda xp, x, weights, minlength: _counts(xp, x, weights, minlength), any_dtype=True)
_histc    = Op(lambda xp, x, bins, low, high: xp.histogram(x, bins, (low, high))[0].astype(x.dtype))
# The distance d of every row of x to every row of y.  d/dx = (x - y) / d, and 0 where d is 0
_distances = Op(lambda xp, x, y: _differences(xp, x, y),
                lambda g, out, x, y: _pulled(_per(out, g), x, y),
                lambda g, out, x, y: _pulled(mT(_per(out, g)), y, x))

# fmt: on

_AT_ONCE = 1 << 24
"""Numbers that the differences of points may take at a time."""


def _rank_of_middle(xp: Any, x: Any, axis: int, skip_nan: bool) -> Any:
    """Where the median stands among the sorted elements, in which nan comes last; with the axis kept at size 1."""
    n = x.shape[axis]
    if x.dtype.kind != "f":
        return xp.full(tuple(1 if i == axis else s for i, s in enumerate(x.shape)), (n - 1) // 2)
    nans = xp.isnan(x).sum(axis, keepdims=True)
    return xp.maximum((n - nans - 1) // 2, 0) if skip_nan else xp.where(nans > 0, n - 1, (n - 1) // 2)


def _middle(xp: Any, x: Any, skip_nan: bool) -> Any:
    return xp.sort(x)[_rank_of_middle(xp, x, 0, skip_nan)].reshape(())


def _most_frequent(xp: Any, x: Any, axis: int) -> Any:
    """The index of the last of those elements that come most often; of several values the smallest one."""
    order = xp.argsort(x, axis=axis, kind="stable")
    s = xp.take_along_axis(x, order, axis)
    places = xp.zeros(x.shape, np.int64) + xp.arange(x.shape[axis]).reshape(
        [-1 if i == axis else 1 for i in range(x.ndim)]
    )
    every = (slice(None),) * axis
    starts = xp.zeros(x.shape, np.int64)
    later, earlier = (*every, slice(1, None)), (*every, slice(None, -1))
    starts[later] = xp.where(s[later] != s[earlier], places[later], starts[later])
    length = places - _doubling(xp.maximum, starts, axis)
    best = xp.expand_dims(length.argmax(axis), axis)
    return xp.take_along_axis(order, best, axis)


def _counts(xp: Any, x: Any, weights: Any, minlength: int) -> Any:
    out = xp.bincount(x, weights, minlength)
    return out.astype(weights.dtype if weights is not None and weights.dtype == np.float32 else out.dtype)


@in_single
def _differences(xp: Any, x: Any, y: Any) -> Any:
    count, step = x.shape[-2], max(1, _AT_ONCE // max(1, math.prod(y.shape[-2:])))
    parts = []
    for start in range(0, max(count, 1), step):
        d = x[..., start : start + step, None, :] - y[..., None, :, :]
        parts.append(xp.sqrt((d * d).sum(-1)))
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, -2)


def _per(distance: Any, g: Any) -> Any:
    return where(distance == 0, 0.0, g / where(distance == 0, 1.0, distance))


def _pulled(w: Any, x: Any, y: Any) -> Any:
    """Σ_j w_ij (x_i - y_j), where both are taken from the first y: far from the origin digits would be lost."""
    if y.shape[-2]:
        origin = _slice(y, at=(..., slice(1), slice(None)))
        x, y = x - origin, y - origin
    return unsqueeze(sum(w, -1), -1) * x - matmul(w, y)


name_operators(globals())


class MinAndMax(NamedTuple):
    """What aminmax returns."""

    min: Tensor
    max: Tensor


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """(min, max): amin and amax of all elements, or along `dim`."""
    dims: Dim = () if dim is None else dim
    return MinAndMax(amin(input, dims, keepdim), amax(input, dims, keepdim))


def var_mean(
    input: Any, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> tuple[Tensor, Tensor]:
    """(variance, mean) of all elements, or along `dim`: `var` and `mean`.  unbiased, correction: as for `var`."""
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


def std_mean(
    input: Any, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) of all elements, or along `dim`: `std` and `mean`.

    unbiased, correction: as for `var`.
    """
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


def _lines(name: str, x: Any, dim: int) -> tuple[Any, int]:
    """The tensor, with one dimension if it had none, and the axis; there must be something to choose from."""
    axis = axis_of(name, dim, x.ndim or 1)
    x = x if x.ndim else reshape(x, 1)
    if not x.shape[axis]:
        raise IndexError(f"{name}: a tensor of shape {tuple(x.shape)} has no elements along dim {dim} to choose from")
    return x, axis


def _chosen(like: Any, x: Any, axis: int, indices: Any, keepdim: bool) -> ValuesAndIndices:
    """The elements at the indices, whose axis has size 1."""
    shape = tuple(x.shape)
    shape = (*shape[:axis], 1, *shape[axis + 1 :]) if keepdim and like.ndim else (*shape[:axis], *shape[axis + 1 :])
    return ValuesAndIndices(reshape(gather(x, axis, indices), shape), reshape(indices, shape))


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle of the sorted ones, of two the smaller; with `dim` (values, indices) along it.

    nan if there is one.  Without `dim` equal elements share the gradient; with it, it goes to the one of that index.
    """
    return _middle_of("median", input, dim, keepdim, False)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of the elements that are not nan."""
    return _middle_of("nanmedian", input, dim, keepdim, True)


def _middle_of(name: str, input: Any, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    expect_tensor(name, input)
    if dim is None:
        if not math.prod(input.shape):
            return sum(input) * math.nan
        return _median(flatten(input), skip_nan=skip_nan)
    x, axis = _lines(name, input, dim)
    rank = _middle_rank(x, axis=axis, skip_nan=skip_nan)
    return _chosen(input, x, axis, gather(argsort(x, axis), axis, rank), keepdim)


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """(values, indices) of the k-th smallest element along `dim`, counted from 1."""
    x, axis = _lines("kthvalue", input, dim)
    if not 1 <= k <= x.shape[axis]:
        raise IndexError(f"kthvalue: k must be from 1 to {x.shape[axis]}, the size of dim {dim}, got {k}")
    indices = take(argsort(x, axis), at=(slice(None),) * axis + (slice(k - 1, k),))
    return _chosen(input, x, axis, indices, keepdim)


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """(values, indices) of what comes most often along `dim`, of several the smallest; the index is its last place."""
    x, axis = _lines("mode", input, dim)
    return _chosen(input, x, axis, _mode(x, axis=axis), keepdim)


INTERPOLATIONS = ("linear", "lower", "higher", "nearest", "midpoint")


def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The value below which the share q of the elements lies, along `dim` or of all; nan if there is a nan.

    q: a number from 0 to 1, or a one-dimensional tensor of several: they become the first dimension of the result.
    interpolation: what to take between two elements: "linear", "lower", "higher", "nearest" or "midpoint".
    No gradient flows to q.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"quantile: interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}")
    if input.dtype.kind != "f":
        raise TypeError(f"quantile: a floating-point tensor is expected, got {input.dtype}; use input.float()")
    share = np.asarray(q.tolist() if hasattr(q, "tolist") else q, np.float64)
    if share.ndim > 1 or not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"quantile: q must be a number from 0 to 1, or a one-dimensional tensor of them, got {q}")
    x, axis = _lines("quantile", flatten(input) if dim is None else input, 0 if dim is None else dim)
    place = share * (x.shape[axis] - 1)
    low, high = np.floor(place), np.ceil(place)
    weight = {"linear": place - low, "lower": 0.0 * low, "higher": low * 0.0 + 1, "midpoint": low * 0.0 + 0.5}
    weight["nearest"] = np.round(place) - low
    s = movedim(sort(x, axis).values, axis, -1)
    there = lambda a, dtype: to_device(np.asarray(a, dtype), device_of(s.array if isinstance(s, Node) else s))
    at = [take(s, at=(..., there(i, np.int64))) for i in (low, high)]
    out = lerp(at[0], at[1], there(weight[interpolation], s.dtype))
    last = select(s, -1, -1)
    out = where(isnan(last if not share.ndim else unsqueeze(last, -1)), math.nan, out)
    if keepdim and input.ndim:
        shape = (1,) * input.ndim if dim is None else tuple(1 if i == axis else n for i, n in enumerate(x.shape))
        out = reshape(out, (*shape, *share.shape))
    return movedim(out, -1, 0) if share.ndim else out


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, ... occurs in a one-dimensional tensor of integers >= 0, or the sum of its weights.

    The result has max(largest + 1, minlength) elements: int64, or with weights float32 if they are, else float64.
    No gradient.
    """
    if input.ndim != 1 or input.dtype.kind not in "biu":
        raise TypeError(
            f"bincount: a one-dimensional tensor of integers is expected, got {input.dtype} {tuple(input.shape)}"
        )
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise ShapeError(
            f"bincount: weights of shape {tuple(weights.shape)} for an input of shape {tuple(input.shape)}"
        )
    if math.prod(input.shape) and bool(input.min() < 0):
        raise ValueError(f"bincount: integers >= 0 are expected, got {int(input.min())}")
    return _bincount(input, weights, minlength=minlength)


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from min to max, the last one closed; in the input's dtype.

    With min = max the smallest and the largest element bound them.  What lies outside does not count.  No gradient.
    """
    if bins <= 0 or max < min:
        raise ValueError(f"histc: bins > 0 and min <= max are needed, got bins={bins}, min={min}, max={max}")
    low, high = float(min), float(max)
    if low == high and math.prod(input.shape):
        low, high = float(input.min()), float(input.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"histc: the interval from {low} to {high} is not finite; give min and max")
    if low == high:
        low, high = low - 1, high + 1
    return _histc(flatten(input), bins=bins, low=low, high=high)


def dist(input: Any, other: Any, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    return vector_norm(input - other, p)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The p-norm distances of all rows of x1 (*, P, M) to all rows of x2 (*, R, M): (*, P, R); leading sizes broadcast.

    The gradient is 0 where two rows are equal.  Any p but 2 takes memory for P·R·M numbers.  compute_mode is not used: for
    p = 2 the differences are always taken, which is exact.
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(
            f"cdist: rows of one length are expected, (*, P, M) and (*, R, M), got {tuple(x1.shape)} and {tuple(x2.shape)}"
        )
    if p == 2:
        return _distances(x1, x2)
    return vector_norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), p, -1)


__all__ = [
    "aminmax",
    "bincount",
    "cdist",
    "dist",
    "histc",
    "kthvalue",
    "median",
    "mode",
    "nanmedian",
    "quantile",
    "std_mean",
    "var_mean",
]
