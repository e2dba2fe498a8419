"""Scans, order statistics, counts, distances."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from scipy.spatial import distance

from tests.ops.domains.table import Example, call, domain
from tinygen import ops
from tinygen.engine import OPERATORS
from tinygen.testing import strategies as ts


@st.composite
def lines(draw: st.DrawFn, zeros: bool = False, full: bool = False, keepdim: bool = False, **values) -> Example:
    """An array and a dim.  zeros: some elements are 0.  full: none of the sizes is."""
    shape = draw(ts.shapes(min_dims=1, min_side=int(full), max_side=5))
    x = draw(ts.values(shape, **values))
    if zeros:
        x = x * (np.random.default_rng(draw(ts.seeds())).random(shape) > 0.2)
    options = {"dim": draw(ts.axes(len(shape)))}
    return Example((np.asarray(x),), {**options, "keepdim": draw(st.booleans())} if keepdim else options)


def _both(values, order):
    def oracle(x, dim):
        best = np.asarray(values(x, axis=dim))
        n = x.shape[dim]
        places = np.arange(n).reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
        hits = np.where(best == x, places, 0)
        return best, np.maximum.accumulate(hits, axis=dim).astype(np.int64)

    return oracle


domain("cumprod", lines(zeros=True), lambda x, dim: np.cumprod(x, dim))
domain("logcumsumexp", lines(), lambda x, dim: np.logaddexp.accumulate(x, dim))
domain("cummax last_max", lines(distinct=True), _both(np.maximum.accumulate, 1))
domain("cummin last_min", lines(distinct=True), _both(np.minimum.accumulate, -1))


def _recurrence(b, a, axis):
    y = np.moveaxis(b.copy(), axis, 0)
    for i in range(1, len(y)):
        y[i] += np.moveaxis(a, axis, 0)[i] * y[i - 1]
    return np.moveaxis(y, 0, axis)


domain(
    "recurrence",
    ts.shapes(min_dims=1, max_side=5).flatmap(
        lambda s: call(ts.values(s), ts.values(s), axis=st.integers(0, len(s) - 1))
    ),
    _recurrence,
    lambda b, a, axis: OPERATORS["recurrence"](b, a, axis=axis),
)


@st.composite
def differences(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    dim = draw(ts.axes(len(shape)))
    ends = [draw(ts.values((*shape[: dim % len(shape)], 1, *shape[dim % len(shape) + 1 :]))) for _ in range(2)]
    options = {"n": draw(st.integers(0, 3)), "dim": dim}
    return Example((draw(ts.values(shape)), *(ends if draw(st.booleans()) else [])), options)


def _diff(x, first=None, last=None, *, n, dim):
    x = x if first is None else np.concatenate([first, x, last], dim)
    return np.diff(x, min(n, x.shape[dim]), dim)


domain(
    "diff",
    differences(),
    _diff,
    lambda x, first=None, last=None, *, n, dim: ops.diff(x, n, dim, first, last),
    composed=True,
)

# Order statistics: of distinct elements, whose order a small step does not change


@st.composite
def dims_or_all(draw: st.DrawFn, min_side: int = 1, **extra: st.SearchStrategy) -> Example:
    shape = draw(ts.shapes(min_side=min_side, max_side=5))
    dim = draw(st.none() | ts.axes(len(shape))) if shape else None
    options = {"dim": dim} if dim is None else {"dim": dim, "keepdim": draw(st.booleans())}
    return Example((draw(ts.values(shape, distinct=True)),), {**options, **{k: draw(s) for k, s in extra.items()}})


def _kth(x, k, dim, keepdim):
    order = np.take(np.argsort(x, axis=dim, kind="stable"), [k], axis=dim)
    values = np.take_along_axis(x, order, dim)
    return (values, order) if keepdim else (values.squeeze(dim), order.squeeze(dim))


def _median(x, dim=None, keepdim=False):
    if dim is None:
        return np.sort(x.reshape(-1))[(x.size - 1) // 2]
    return _kth(x, (x.shape[dim] - 1) // 2, dim, keepdim)


domain("median", dims_or_all(), _median)
domain("nanmedian", dims_or_all(), _median, composed=True)
domain(
    "middle_rank",
    lines(full=True),
    lambda x, dim: np.full(np.take(x, [0], dim).shape, (x.shape[dim] - 1) // 2),
    lambda x, dim: OPERATORS["middle_rank"](x, axis=dim % x.ndim, skip_nan=False),
    smooth=False,
)
domain(
    "kthvalue",
    lines(full=True, keepdim=True, distinct=True).flatmap(
        lambda e: st.integers(1, e.arrays[0].shape[e.options["dim"]]).map(
            lambda k: Example(e.arrays, {**e.options, "k": k})
        )
    ),
    lambda x, k, dim, keepdim: _kth(x, k - 1, dim, keepdim),
    composed=True,
)
domain(
    "quantile",
    dims_or_all(
        q=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        interpolation=st.sampled_from(["linear", "lower", "higher", "midpoint"]),
    ),
    lambda x, q, dim=None, keepdim=False, interpolation="linear": np.quantile(
        x, q, axis=dim, keepdims=keepdim, method=interpolation
    ),
    composed=True,
)


def _mode(x, dim, keepdim):
    def of_line(line):
        values, counts = np.unique(line, return_counts=True)
        best = values[counts.argmax()]
        return np.array([best, np.flatnonzero(line == best)[-1]])

    both = np.apply_along_axis(of_line, dim, x)
    values, places = (np.take(both, [i], dim) for i in range(2))
    out = values, places.astype(np.int64)
    return out if keepdim else tuple(v.squeeze(dim) for v in out)


domain("mode", lines(full=True, keepdim=True, dtype=np.int64, low=0, high=2), _mode, smooth=False)
domain("aminmax", dims_or_all(), lambda x, dim=None, keepdim=False: (
    x.min(dim, keepdims=keepdim), x.max(dim, keepdims=keepdim)
), composed=True)  # fmt: skip


def _moments(root):
    def oracle(x, dim, correction, keepdim):
        variance = x.var(axis=dim, ddof=correction, keepdims=keepdim)
        return np.sqrt(variance) if root else variance, x.mean(axis=dim, keepdims=keepdim)

    return oracle


MANY = ts.shapes(min_dims=1, min_side=3).flatmap(
    lambda s: call(
        ts.values(s, distinct=True), dim=ts.axes(len(s)), correction=st.integers(0, 1), keepdim=st.booleans()
    )
)
domain("var_mean", MANY, _moments(False), composed=True)
domain("std_mean", MANY, _moments(True), composed=True)

# Counts

domain(
    "bincount",
    call(ts.values((6,), np.int64, low=0, high=5), minlength=st.integers(0, 8))
    | call(ts.values((6,), np.int64, low=0, high=5), ts.values((6,)), minlength=st.just(0)),
    lambda x, w=None, minlength=0: np.bincount(x, w, minlength),
    lambda x, w=None, minlength=0: ops.bincount(x, w, minlength),
    smooth=False,
)
domain(
    "histc",
    ts.shapes(min_side=1).flatmap(
        lambda s: call(
            ts.values(s, distinct=True), bins=st.integers(1, 4), min=st.just(-1.0), max=st.sampled_from([1.0, 2.0])
        )
    ),
    lambda x, bins, min, max: np.histogram(x, bins, (min, max))[0].astype(float),
    smooth=False,
)

# Distances


@st.composite
def points(draw) -> Example:
    leading = draw(ts.broadcastable_shapes(2, max_dims=1, max_side=2))
    p, r, m = (draw(st.integers(1, 3)) for _ in range(3))
    x, y = draw(ts.values((*leading[0], p, m), low=0.0)), draw(ts.values((*leading[1], r, m), high=-0.5))
    return Example((x, y), {"p": draw(st.sampled_from([2.0, 2.0, 1.0, 3.0]))})


def _cdist(x, y, p):
    leading = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (np.broadcast_to(v, leading + v.shape[-2:]) for v in (x, y))
    out = np.empty((*leading, x.shape[-2], y.shape[-2]))
    for i in np.ndindex(*leading):
        out[i] = distance.cdist(x[i], y[i], "minkowski", p=p)
    return out


domain("cdist distances", points(), _cdist)
domain(
    "dist",
    ts.shapes(min_side=1).flatmap(
        lambda s: call(ts.values(s, low=0.0), ts.values(s, high=-0.5), p=st.sampled_from([1, 2, math.inf, 0.5]))
    ).filter(lambda e: e.arrays[0].size < 9),
    lambda x, y, p: np.linalg.norm((x - y).reshape(-1), p),
    composed=True,
)  # fmt: skip
