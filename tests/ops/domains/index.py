"""Indexing, gather and scatter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, call, domain
from tinygen import ops
from tinygen.engine import OPERATORS
from tinygen.ops.index import raw_index
from tinygen.testing import strategies as ts

A = np.array
# Keys for a tensor of shape (3, 4, 2)
BASIC = [
    0, -1, (1, 2), (1, 2, 1), ..., None, slice(None), slice(1, 3), slice(0, 3, 2), slice(5, 9), slice(2, 0),
    (slice(1, 3), 0), (..., 1), (None, 1), (slice(None), None, slice(1, 4, 2)), (0, ..., slice(1)), (Ellipsis, None), (),
]  # fmt: skip
FANCY = [
    [0, 2], [2, 2, 0], [], A([[0, 1], [2, -1]]), A(1), ([0, 1], [3, 3]), (A([[0], [2]]), A([1, 3])), (slice(None), [0, 0, 3]),
    (..., [1, 0, 1]), ([0, 2], slice(1, 3), 1), (None, [1, 1]), (1, slice(None), [0, 1]), (A([True, False, True]),),
    A([True, False, True]), A([False] * 3), (slice(None), A([True, False, False, True])), ([0, 2], None, [1, 3]),
    np.arange(24).reshape(3, 4, 2) % 3 == 0, (np.arange(12).reshape(3, 4) % 2 == 0, 1), (slice(0, 2), slice(None), A([1])),
]  # fmt: skip


def keyed(keys: list) -> st.SearchStrategy[Example]:
    return call(ts.values((3, 4, 2)), key=st.sampled_from(keys))


domain("index", keyed(BASIC + FANCY), lambda x, key: x[key])
domain("slice", keyed(BASIC), lambda x, key: x[key], lambda x, key: OPERATORS["slice"](x, at=key))
domain("take", keyed(FANCY), lambda x, key: x[key], lambda x, key: OPERATORS["take"](x, at=raw_index(x, key)))


@st.composite
def at_keys(draw, keys: list) -> Example:
    """What is to be written or added at a key into a tensor of shape (3, 4, 2)."""
    key = draw(st.sampled_from(keys))
    return Example((draw(ts.values(np.zeros((3, 4, 2))[key].shape)),), {"key": key})


def _added(y, key):
    x = np.zeros((3, 4, 2))
    np.add.at(x, key, y)
    return x


domain("unslice", at_keys(BASIC), _added, lambda y, key: OPERATORS["unslice"](y, at=key, shape=(3, 4, 2)))
domain(
    "add_at",
    at_keys(BASIC + FANCY),
    _added,
    lambda y, key: OPERATORS["add_at"](y, at=raw_index(y, key), shape=(3, 4, 2)),
)


@st.composite
def writing(draw) -> Example:
    """Item assignment x[key] = y, where y may broadcast.  No element is written twice: which one stays is undefined."""
    once = [k for k in BASIC + FANCY if np.max(_added(1.0, k), initial=0) <= 1]
    key = draw(st.sampled_from(once))
    shape = np.zeros((3, 4, 2))[key].shape
    if shape and draw(st.booleans()):
        shape = shape[1:] if draw(st.booleans()) else (1, *shape[1:])
    return Example((draw(ts.values((3, 4, 2))), draw(ts.values(shape))), {"key": key})


def _written(x, y, key):
    x = x.copy()
    x[key] = y
    return x


domain("put", writing(), _written, lambda x, y, key: OPERATORS["put"](x, y, at=raw_index(x, key)))


@st.composite
def masking(draw, whole: bool = False) -> Example:
    shape, mask = draw(ts.broadcastable_shapes(2))
    x = draw(ts.values(shape))
    if whole:
        return Example((x, draw(ts.values(shape, np.bool_))), {})
    mask = draw(ts.values(mask, np.bool_))
    return Example((x, mask), {"value": draw(st.sampled_from([0, -1.5]))})


domain("masked_fill", masking(), lambda x, mask, value: np.where(mask, value, x))
domain("masked_select", masking(True), lambda x, mask: x[mask])


@st.composite
def gathering(draw, *, source: bool = False, once: bool = False, number: bool = False) -> Example:
    """A tensor, an index of the same rank (not larger, except along dim), and for scatter a source."""
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    dim = draw(ts.axes(len(shape)))
    axis = dim % len(shape)
    sizes = tuple(draw(st.integers(0, n)) for n in shape)
    if not once:
        sizes = (*sizes[:axis], draw(st.integers(0, 4)), *sizes[axis + 1 :])
    rng = np.random.default_rng(draw(ts.seeds()))
    if once:  # every place at most once
        index = np.argsort(rng.random((*sizes[:axis], shape[axis], *sizes[axis + 1 :])), axis=axis)
        index = np.take(index, np.arange(sizes[axis]), axis)
    else:
        index = rng.integers(0, shape[axis], sizes)
    arrays = (draw(ts.values(shape)), index)
    if source:
        bigger = tuple(n + draw(st.integers(0, 1)) for n in sizes)
        arrays = (*arrays, draw(ts.values(bigger)))
    return Example(arrays, {"dim": dim, "src": 1.5} if number else {"dim": dim})


def places(index: np.ndarray, dim: int) -> Any:
    """(position in the index, position in the tensor): the definition of gather, element by element."""
    for i in np.ndindex(index.shape):
        j = list(i)
        j[dim] = int(index[i])
        yield i, tuple(j)


def _gather(x, index, dim):
    out = np.zeros(index.shape)
    for i, j in places(index, dim):
        out[i] = x[j]
    return out


def _scatter(x, index, src, dim):
    out = x.copy()
    for i, j in places(index, dim):
        out[j] = src if np.ndim(src) == 0 else src[i]
    return out


def _scatter_add(x, index, src, dim):
    out = x.copy()
    for i, j in places(index, dim):
        out[j] += src[i]
    return out


domain("gather", gathering(), _gather, lambda x, index, dim: ops.gather(x, dim, index))
domain(
    "scatter",
    gathering(source=True, once=True) | gathering(number=True),
    _scatter,
    lambda x, index, src, dim: ops.scatter(x, dim, index, src),
)
domain(
    "scatter_add", gathering(source=True), _scatter_add, lambda x, index, src, dim: ops.scatter_add(x, dim, index, src)
)


@st.composite
def choosing(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    dim = draw(ts.axes(len(shape)))
    index = np.array(draw(st.lists(st.integers(0, shape[dim] - 1), max_size=4)), dtype=np.int64)
    return Example((draw(ts.values(shape)), index), {"dim": dim})


domain(
    "index_select",
    choosing(),
    lambda x, index, dim: np.take(x, index, dim),
    lambda x, index, dim: ops.index_select(x, dim, index),
)


@st.composite
def along(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    rng = np.random.default_rng(draw(ts.seeds()))
    if draw(st.booleans()):
        size = int(np.prod(shape))
        return Example((draw(ts.values(shape)), rng.integers(0, size, 3)), {"dim": None})
    dim = draw(ts.axes(len(shape)))
    sizes = [draw(st.sampled_from([1, n])) for n in shape]
    sizes[dim] = draw(st.integers(0, 4))
    return Example((draw(ts.values(shape)), rng.integers(0, shape[dim], sizes)), {"dim": dim})


def _along(x, index, dim):
    if dim is None:
        return np.take_along_axis(x.ravel(), index, 0)
    return np.take_along_axis(x, index, dim)


domain("take_along_dim", along(), _along, lambda x, index, dim: ops.take_along_dim(x, index, dim))


@st.composite
def classes(draw) -> Example:
    index = draw(ts.values(draw(ts.shapes()), np.int64, low=0, high=3))
    return Example((index,), {"num_classes": draw(st.sampled_from([-1, 4, 6]) if index.size else st.just(4))})


def _one_hot(x, num_classes):
    return np.eye(int(x.max()) + 1 if num_classes == -1 else num_classes, dtype=np.int64)[x]


domain("one_hot", classes(), _one_hot, smooth=False)
