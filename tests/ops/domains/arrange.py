"""Joining, splitting and turning; products of tensors."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from hypothesis import strategies as st

import tinygen as tg
from tests.ops.domains.table import Example, broadcast, call, domain
from tinygen import ops
from tinygen.engine import OPERATORS
from tinygen.ops.arrange import unfold
from tinygen.testing import strategies as ts

ANY = {"low": -2.0, "high": 2.0}


def same_shapes(*shapes: tuple[int, ...]) -> st.SearchStrategy[Example]:
    """One to three arrays of one of these shapes."""
    return st.tuples(st.sampled_from(shapes), st.integers(1, 3)).flatmap(lambda s: call(*[ts.values(s[0])] * s[1]))


SHAPES = [(), (2,), (2, 3), (2, 0), (2, 3, 1)]
for name, numpy in {"hstack": np.hstack, "vstack": np.vstack, "dstack": np.dstack}.items():
    domain(
        name,
        same_shapes(*SHAPES),
        lambda *xs, numpy=numpy: numpy(xs),
        lambda *xs, name=name: getattr(ops, name)(xs),
        composed=True,
    )
domain("column_stack", same_shapes((2,), (2, 3), (3, 0)), lambda *xs: np.column_stack(xs), lambda *xs: ops.column_stack(xs), composed=True)  # fmt: skip


@st.composite
def cut(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1))
    where = draw(st.integers(1, 5) | st.lists(st.integers(0, 5), max_size=3))
    return Example((draw(ts.values(shape)),), {"indices_or_sections": where, "dim": draw(ts.axes(len(shape)))})


domain(
    "tensor_split",
    cut(),
    lambda x, indices_or_sections, dim: tuple(np.array_split(x, indices_or_sections, dim)),
    composed=True,
)


@st.composite
def moving(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1, max_dims=4))
    count = draw(st.integers(1, len(shape)))
    source, target = (tuple(draw(st.permutations(range(len(shape))))[:count]) for _ in range(2))
    source = tuple(d - len(shape) if draw(st.booleans()) else d for d in source)
    one = count == 1 and draw(st.booleans())
    return Example(
        (draw(ts.values(shape)),),
        {"source": source[0] if one else source, "destination": target[0] if one else target},
    )


domain("movedim moveaxis", moving(), lambda x, source, destination: np.moveaxis(x, source, destination))
domain("ravel", ts.shapes().flatmap(lambda s: call(ts.values(s))), np.ravel, composed=True)
planes = ts.shapes(min_dims=2).flatmap(
    lambda s: call(ts.values(s), k=st.integers(-2, 5), dims=st.permutations(range(len(s))).map(lambda d: tuple(d[:2])))
)
domain(
    "rot90", planes, lambda x, k, dims: np.rot90(x, k, dims), lambda x, k, dims: ops.rot90(x, k, dims), composed=True
)
MATRICES = ts.shapes(min_dims=2).flatmap(lambda s: call(ts.values(s)))
domain("fliplr", MATRICES, np.fliplr, composed=True)
domain("flipud", MATRICES, np.flipud, composed=True)
domain("broadcast_tensors", broadcast(ANY, ANY, ANY), np.broadcast_arrays, composed=True)
domain(
    "block_diag",
    st.lists(st.sampled_from([(), (2,), (1, 2), (3, 1)]), min_size=1, max_size=3).flatmap(
        lambda shapes: call(*[ts.values(s) for s in shapes])
    ),
    scipy.linalg.block_diag,
    composed=True,
)


@st.composite
def diagonals(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1, max_side=3))
    dims = tuple(draw(st.permutations(range(len(shape) + 1)))[:2])
    return Example((draw(ts.values(shape)),), {"offset": draw(st.integers(-2, 2)), "dim1": dims[0], "dim2": dims[1]})


def _diag_embed(x, offset, dim1, dim2):
    n = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], n, n))
    for i in np.ndindex(*x.shape[:-1]):
        out[i] = np.diag(x[i], offset)
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


domain("diag_embed", diagonals(), _diag_embed, composed=True)


@st.composite
def sliding(draw) -> Example:
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    dim = draw(st.integers(0, len(shape) - 1))
    return Example(
        (draw(ts.values(shape)),),
        {"dimension": dim, "size": draw(st.integers(1, shape[dim])), "step": draw(st.integers(1, 3))},
    )


def _windows(x, dimension, size, step):
    count = (x.shape[dimension] - size) // step + 1
    parts = [np.take(x, range(i * step, i * step + size), dimension) for i in range(count)]
    return np.stack([np.moveaxis(p, dimension, -1) for p in parts], dimension)


domain("windows", sliding(), _windows, unfold)


@st.composite
def overlapping(draw) -> Example:
    e = draw(sliding())
    return Example(
        (draw(ts.values(_windows(e.arrays[0], **e.options).shape)),), {**e.options, "shape": e.arrays[0].shape}
    )


def _overlaps(y, dimension, size, step, shape):
    x = np.zeros(shape)
    for i, window in enumerate(np.moveaxis(y, dimension, 0)):
        for k in range(size):
            np.moveaxis(x, dimension, -1)[..., i * step + k] += window[..., k]
    return x


domain(
    "overlaps",
    overlapping(),
    _overlaps,
    lambda y, dimension, size, step, shape: OPERATORS["overlaps"](y, shape=shape, axis=dimension, size=size, step=step),
)

# Products

SIDE = st.integers(0, 3)
SCALES = {"beta": st.sampled_from([0, 1, 0.5]), "alpha": st.sampled_from([1, 2])}


@st.composite
def sums_of_products(draw, inputs: list[str], left: str, right: str) -> Example:
    """The input has one of the shapes, named by letters; 1 is a size of 1."""
    size = {c: draw(SIDE) for c in "bnmp"} | {"1": 1}
    shapes = [tuple(size[c] for c in term) for term in (draw(st.sampled_from(inputs)), left, right)]
    return Example(tuple(draw(ts.values(s)) for s in shapes), {k: draw(v) for k, v in SCALES.items()})


def _added(product):
    return lambda x, a, b, beta, alpha: beta * x + alpha * product(a, b)


for name, inputs, left, right, product in [
    ("addmm", ["np", "p", "", "n1"], "nm", "mp", np.matmul),
    ("addmv", ["n", ""], "nm", "m", np.matmul),
    ("addr", ["nm", "m"], "n", "m", np.outer),
    ("addbmm", ["np", "p"], "bnm", "bmp", lambda a, b: np.matmul(a, b).sum(0)),
    ("baddbmm", ["bnp", "np", ""], "bnm", "bmp", np.matmul),
]:
    domain(name, sums_of_products(inputs, left, right), _added(product), composed=True)


@st.composite
def contractions(draw) -> Example:
    a, b, dims = draw(
        st.sampled_from(
            [
                ((2, 3), (3, 2), 1),
                ((2, 3), (2, 3), 2),
                ((2,), (3, 1), 0),
                ((2, 3, 4), (4, 2), ([2, 0], [0, 1])),
                ((2, 0), (0, 3), 1),
                ((3, 2), (3, 2), ([0], [0])),
            ]
        )
    )
    return Example((draw(ts.values(a)), draw(ts.values(b))), {"dims": dims})


domain("tensordot", contractions(), lambda a, b, dims: np.tensordot(a, b, dims), composed=True)
domain(
    "kron",
    st.tuples(ts.shapes(max_side=3), ts.shapes(max_dims=2, max_side=2)).flatmap(
        lambda s: call(ts.values(s[0]), ts.values(s[1]))
    ),
    np.kron,
    composed=True,
)


@st.composite
def threes(draw) -> Example:
    """Two arrays with an axis of size 3, whose other sizes broadcast; dim counts from the end."""
    shapes = draw(ts.broadcastable_shapes(2, min_dims=2, max_dims=2, max_side=2))
    dim = draw(st.integers(-3, -1))
    at = 3 + dim
    return Example(tuple(draw(ts.values((*s[:at], 3, *s[at:]))) for s in shapes), {"dim": dim})


domain("cross", threes(), lambda x, y, dim: np.cross(x, y, axis=dim), composed=True)
domain(
    "linalg.cross",
    threes(),
    lambda x, y, dim: np.cross(x, y, axis=dim),
    lambda x, y, dim: tg.linalg.cross(x, y, dim=dim),
    composed=True,
)
