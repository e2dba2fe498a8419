"""Operators that move elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, call, domain, unary
from tinygen import ops
from tinygen.engine import OPERATORS
from tinygen.testing import strategies as ts

LIKE = np.int64  # a tensor whose shape alone is used has integers, so that it is not differentiated


@st.composite
def reshaping(draw) -> Example:
    shape = draw(ts.shapes())
    size = math.prod(shape)
    choices: list[Any] = [shape, shape[::-1], (size,), (-1,) if size else (size,), (*shape, 1), (1, *shape)]
    if len(shape) > 1:
        choices += [(shape[0] * shape[1], *shape[2:])]
    if size and shape:
        choices += [(-1, *shape[1:])]
    return Example((draw(ts.values(shape)),), {"shape": draw(st.sampled_from(choices))})


domain("reshape", reshaping(), lambda x, shape: x.reshape(shape), lambda x, shape: ops.reshape(x, shape))
domain("view", reshaping(), lambda x, shape: x.reshape(shape), lambda x, shape: ops.view(x, shape))


@st.composite
def with_shape(draw, growing: bool) -> Example:
    """An array and another whose shape it is to take."""
    if growing:
        shape, other = draw(ts.broadcastable_shapes(2))
        target = np.broadcast_shapes(shape, other)
    else:
        shape = draw(ts.shapes())
        target = shape[::-1]
    return Example((draw(ts.values(shape)), np.zeros(target, LIKE)), {})


domain("view_as", with_shape(False), lambda x, y: x.reshape(y.shape))
domain("expand_as", with_shape(True), lambda x, y: np.broadcast_to(x, y.shape))


@st.composite
def growing(draw) -> Example:
    shape, other = draw(ts.broadcastable_shapes(2))
    target = np.broadcast_shapes(shape, other)
    keep = draw(st.booleans())
    first_old = len(target) - len(shape)
    size = tuple(-1 if keep and i >= first_old and n == shape[i - first_old] else n for i, n in enumerate(target))
    return Example((draw(ts.values(shape)),), {"size": size, "target": target})


domain(
    "broadcast_to",
    growing(),
    lambda x, size, target: np.broadcast_to(x, target),
    lambda x, size, target: ops.broadcast_to(x, size),
)
domain(
    "expand_dims",
    growing(),
    lambda x, size, target: np.broadcast_to(x, target),
    lambda x, size, target: ops.expand_dims(x, *size),
)
domain(
    "expand",
    growing(),
    lambda x, size, target: np.broadcast_to(x, target),
    lambda x, size, target: OPERATORS["expand"](x, shape=target),
)
domain(
    "sum_to",
    growing().map(
        lambda e: Example((np.random.default_rng(0).normal(size=e.options["target"]),), {"shape": e.arrays[0].shape})
    ),
    lambda x, shape: (
        x.sum(tuple(range(x.ndim - len(shape))))
        .sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
        .reshape(shape)
    ),
)


@st.composite
def with_axes(draw, count: int, *, min_dims: int | None = None, **options: Any) -> Example:
    """An array and `count` of its dimensions."""
    shape = draw(ts.shapes(min_dims=count if min_dims is None else min_dims))
    values = {key: draw(ts.axes(len(shape))) for key in ("a", "b")[:count]}
    return Example((draw(ts.values(shape)),), {**values, **{key: draw(s) for key, s in options.items()}})


def _flat(x, a, b):
    a, b = sorted((a % x.ndim, b % x.ndim))
    return x.reshape((*x.shape[:a], math.prod(x.shape[a : b + 1]), *x.shape[b + 1 :]))


def _flatten(x, a, b):
    a, b = sorted((a % x.ndim, b % x.ndim))
    return ops.flatten(x, a, b)


domain("flatten", with_axes(2), _flat, _flatten)
domain(
    "transpose swapaxes swapdims",
    with_axes(2),
    lambda x, a, b: np.swapaxes(x, a, b),
    lambda x, a, b: ops.transpose(x, a, b),
)

domain("t", unary(ts.shapes(max_dims=2)), np.transpose)
domain("mT", unary(ts.shapes(min_dims=2)), lambda x: np.swapaxes(x, -1, -2))


@st.composite
def unflattening(draw) -> Example:
    sizes = draw(ts.shapes(min_dims=1, min_side=1))
    shape = draw(ts.shapes(max_dims=2))
    dim = draw(st.integers(0, len(shape)))
    x = draw(ts.values((*shape[:dim], math.prod(sizes), *shape[dim:])))
    hidden = (-1, *sizes[1:]) if draw(st.booleans()) else sizes
    return Example(
        (x,),
        {
            "dim": dim - x.ndim if draw(st.booleans()) else dim,
            "sizes": hidden,
            "target": (*shape[:dim], *sizes, *shape[dim:]),
        },
    )


domain(
    "unflatten",
    unflattening(),
    lambda x, dim, sizes, target: x.reshape(target),
    lambda x, dim, sizes, target: ops.unflatten(x, dim, sizes),
)


@st.composite
def permuting(draw) -> Example:
    shape = draw(ts.shapes())
    return Example((draw(ts.values(shape)),), {"dims": tuple(draw(st.permutations(range(len(shape)))))})


domain("permute", permuting(), lambda x, dims: x.transpose(dims), lambda x, dims: ops.permute(x, dims))


@st.composite
def squeezing(draw) -> Example:
    shape = draw(st.lists(st.sampled_from([1, 1, 2, 0]), max_size=4).map(tuple))
    dim = (
        draw(
            st.none()
            | ts.axes(len(shape))
            | st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1).map(tuple)
        )
        if shape
        else None
    )
    return Example((draw(ts.values(shape)),), {"dim": dim})


def _squeeze(x, dim):
    drop = range(x.ndim) if dim is None else {d % x.ndim for d in ([dim] if isinstance(dim, int) else dim)}
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in drop))


domain("squeeze", squeezing(), _squeeze)
domain(
    "unsqueeze",
    ts.shapes().flatmap(lambda s: call(ts.values(s), dim=st.integers(-len(s) - 1, len(s)))),
    lambda x, dim: np.expand_dims(x, dim),
)


def repeating(at_least: bool) -> st.SearchStrategy[Example]:
    """An array and how often to repeat along each dimension (at least as many numbers as dimensions, for repeat)."""
    return ts.shapes(max_dims=2).flatmap(
        lambda s: call(ts.values(s), dims=ts.shapes(min_dims=len(s) if at_least else 0, max_side=3))
    )


domain("tile", repeating(False), lambda x, dims: np.tile(x, dims), lambda x, dims: ops.tile(x, dims))
domain("repeat", repeating(True), lambda x, dims: np.tile(x, dims), lambda x, dims: ops.repeat(x, *dims))


@st.composite
def interleaving(draw) -> Example:
    shape = draw(ts.shapes())
    dim = draw(st.none() | ts.axes(len(shape))) if shape else None
    return Example((draw(ts.values(shape)),), {"repeats": draw(st.integers(0, 3)), "dim": dim})


domain("repeat_interleave", interleaving(), lambda x, repeats, dim: np.repeat(x, repeats, dim))


@st.composite
def parts(draw, same: bool) -> Example:
    """Arrays to join: of one shape, or different along one dimension."""
    shape = draw(ts.shapes(min_dims=0 if same else 1, max_dims=2))
    count = draw(st.integers(1, 3))
    dim = draw(st.integers(-len(shape) - 1, len(shape))) if same else draw(ts.axes(len(shape)))
    all_shapes = [shape] * count
    if not same:
        i = dim % len(shape)
        all_shapes = [(*shape[:i], draw(st.integers(0, 3)), *shape[i + 1 :]) for _ in range(count)]
    return Example(tuple(draw(ts.values(s)) for s in all_shapes), {"dim": dim})


domain(
    "cat concat concatenate", parts(False), lambda *xs, dim: np.concatenate(xs, dim), lambda *xs, dim: ops.cat(xs, dim)
)
domain("stack", parts(True), lambda *xs, dim: np.stack(xs, dim), lambda *xs, dim: ops.stack(xs, dim))


@st.composite
def cutting(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    dim = draw(ts.axes(len(shape)))
    start = draw(st.integers(0, shape[dim]))
    length = draw(st.integers(0, shape[dim] - start))
    return Example((draw(ts.values(shape)),), {"dim": dim, "start": start, "length": length})


domain("narrow", cutting(), lambda x, dim, start, length: np.take(x, np.arange(start, start + length), dim))


@st.composite
def selecting(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    dim = draw(ts.axes(len(shape)))
    return Example((draw(ts.values(shape)),), {"dim": dim, "index": draw(ts.axes(shape[dim]))})


domain("select", selecting(), lambda x, dim, index: np.take(x, index, dim))
domain(
    "unbind",
    with_axes(1).filter(lambda e: e.arrays[0].shape[e.options["a"]] > 0),  # of nothing there is no gradient
    lambda x, a: tuple(np.moveaxis(x, a, 0)),
    lambda x, a: ops.unbind(x, a),
)


@st.composite
def splitting(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    dim = draw(ts.axes(len(shape)))
    n = shape[dim]
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=2)))
    sections = [b - a for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    size = draw(st.sampled_from([1, 2, 3, sections]))
    return Example((draw(ts.values(shape)),), {"sizes": size, "dim": dim})


def _split(x, sizes, dim):
    n = x.shape[dim]
    at = np.cumsum(sizes)[:-1] if isinstance(sizes, list) else range(sizes, n, sizes)
    return tuple(np.split(x, list(at), dim))


domain("split", splitting(), _split, lambda x, sizes, dim: ops.split(x, sizes, dim))


def _chunk(x, chunks, dim):
    n = x.shape[dim]
    return _split(x, math.ceil(n / chunks), dim) if n else (x,) * chunks


@st.composite
def chunking(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    return Example((draw(ts.values(shape)),), {"chunks": draw(st.integers(1, 4)), "dim": draw(ts.axes(len(shape)))})


domain("chunk", chunking(), _chunk)


@st.composite
def flipping(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    return Example(
        (draw(ts.values(shape)),), {"dims": tuple(draw(st.lists(st.integers(0, len(shape) - 1), unique=True)))}
    )


domain("flip", flipping(), lambda x, dims: np.flip(x, dims))


@st.composite
def rolling(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    shift = st.integers(-5, 5)
    dims = draw(
        st.none() | ts.axes(len(shape)) | st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1).map(tuple)
    )
    shifts = tuple(draw(shift) for _ in dims) if isinstance(dims, tuple) else draw(shift)
    return Example((draw(ts.values(shape)),), {"shifts": shifts, "dims": dims})


domain("roll", rolling(), lambda x, shifts, dims: np.roll(x, shifts, dims))

matrices = ts.shapes(min_dims=2).flatmap(lambda s: call(ts.values(s), diagonal=st.integers(-3, 3)))
domain("tril", matrices, lambda x, diagonal: np.tril(x, diagonal))
domain("triu", matrices, lambda x, diagonal: np.triu(x, diagonal))


@st.composite
def diagonals(draw) -> Example:
    shape = draw(ts.shapes(min_dims=2))
    i, j = draw(st.permutations(range(len(shape))))[:2]
    return Example((draw(ts.values(shape)),), {"offset": draw(st.integers(-2, 2)), "dim1": i, "dim2": j - len(shape)})


domain("diagonal", diagonals(), lambda x, offset, dim1, dim2: np.diagonal(x, offset, dim1, dim2))
domain(
    "diag",
    ts.shapes(min_dims=1, max_dims=2).flatmap(lambda s: call(ts.values(s), diagonal=st.integers(-2, 2))),
    lambda x, diagonal: np.diag(x, diagonal),
)
domain(
    "undiagonal",
    call(ts.values((2, 3)), offset=st.sampled_from([-1, 0, 1])).map(
        lambda e: Example(
            e.arrays,
            {
                "shape": (3 + abs(e.options["offset"]), 2, 3 + abs(e.options["offset"])),
                "offset": e.options["offset"],
                "axis1": 0,
                "axis2": 2,
            },
        )
    ),
    lambda x, shape, offset, axis1, axis2: np.stack([np.diag(row, offset) for row in x], 1),
)
domain("clone", unary(), np.copy)
domain("contiguous", unary(), np.copy)


def _double(x):
    """The same value, by way of float64."""
    wide = OPERATORS["cast"](x, dtype=np.dtype(np.float64))
    return (
        wide if x.dtype == np.float64 else OPERATORS["cast"](wide, dtype=x.dtype)
    )  # one alone: two signs would cancel


domain("cast", unary(), np.copy, _double)
