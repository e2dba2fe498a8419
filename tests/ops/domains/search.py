"""Where something is, what there is, and what is written where."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, domain, unary
from tinygen import ops
from tinygen.testing import strategies as ts

INTEGERS = {"dtype": np.int64, "low": -2, "high": 2}


def _nonzero(x, as_tuple=False):
    places = np.nonzero(np.atleast_1d(x))
    return places if as_tuple else np.stack(places, -1)[:, : x.ndim]


domain(
    "nonzero places",
    st.builds(lambda e, t: Example(e.arrays, {"as_tuple": t}), unary(**INTEGERS), st.booleans()),
    _nonzero,
    smooth=False,
)
domain("argwhere", unary(**INTEGERS), _nonzero, smooth=False)


@st.composite
def repeated(draw, full: bool = False) -> Example:
    """Integers of which some are equal, and perhaps a dim."""
    shape = draw(ts.shapes(min_dims=1, min_side=int(full)))
    return Example((draw(ts.values(shape, **INTEGERS)),), {"dim": draw(st.none() | ts.axes(len(shape)))})


def _unique(x, dim):
    distinct, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    return distinct, inverse.reshape(x.shape if dim is None else -1), counts


domain(
    "unique distinct number frequency",
    repeated(full=True),
    _unique,
    lambda x, dim: ops.unique(x, return_inverse=True, return_counts=True, dim=dim),
    smooth=False,
)


@st.composite
def sequences(draw, rows: bool) -> Example:
    leading = draw(ts.shapes(max_dims=2, max_side=2)) if rows else ()
    a = np.sort(draw(ts.values((*leading, draw(st.integers(0, 4))), **INTEGERS)), -1)
    shape = (*leading, draw(st.integers(0, 3))) if leading else draw(ts.shapes())
    return Example((a, draw(ts.values(shape, **INTEGERS))), {"right": draw(st.booleans())})


def _searchsorted(a, x, right):
    """How many elements are smaller (or not larger)."""
    a, x = (a[..., None, :], x[..., :, None]) if a.ndim > 1 else (a, x[..., None])
    return np.asarray(((a <= x) if right else (a < x)).sum(-1))


domain("searchsorted insertion", sequences(True), _searchsorted, smooth=False)
domain(
    "bucketize",
    sequences(False),
    _searchsorted,
    lambda a, x, right: ops.bucketize(x, a, right=right),
    smooth=False,
)


# Writing


@st.composite
def slices(draw, once: bool) -> Example:
    """A tensor, a source with as many slices along dim as there are indices, and these.  once: no index comes twice."""
    shape = draw(ts.shapes(min_dims=1, min_side=1))
    dim = draw(ts.axes(len(shape)))
    n = shape[dim]
    index = draw(st.lists(st.integers(0, n - 1), max_size=n, unique=once))
    source = draw(ts.values((*shape[: dim % len(shape)], len(index), *shape[dim % len(shape) + 1 :])))
    return Example((draw(ts.values(shape)), source), {"dim": dim, "index": np.array(index, np.int64)})


def _written(add):
    def oracle(x, source, dim, index, value=None):
        out = np.moveaxis(x.copy(), dim, 0)
        for i, part in zip(index, np.moveaxis(source, dim, 0), strict=True):
            out[i] = out[i] + 2 * part if add else part
        return np.moveaxis(out, 0, dim)

    return oracle


domain(
    "index_add",
    slices(False),
    _written(True),
    lambda x, source, dim, index: ops.index_add(x, dim, list(index), source, alpha=2),
    composed=True,
)
domain(
    "index_copy",
    slices(True),
    _written(False),
    lambda x, source, dim, index: ops.index_copy(x, dim, list(index), source),
    composed=True,
)
domain(
    "index_fill",
    slices(False).map(lambda e: Example(e.arrays[:1], e.options)),
    lambda x, dim, index: _written(False)(x, np.full(np.take(x, index, dim).shape, 1.5), dim, index),
    lambda x, dim, index: ops.index_fill(x, dim, list(index), 1.5),
    composed=True,
)


@st.composite
def under_a_mask(draw) -> Example:
    mask, x = draw(ts.broadcastable_shapes(2).flatmap(lambda s: st.tuples(ts.values(s[0], np.bool_), ts.values(s[1]))))
    need = int(np.broadcast_to(mask, np.broadcast_shapes(mask.shape, x.shape)).sum())
    return Example((x, mask, draw(ts.values((need + draw(st.integers(0, 2)),)))), {})


def _masked_scatter(x, mask, source):
    x, mask = (np.array(v) for v in np.broadcast_arrays(x, mask))
    x[mask] = source[: mask.sum()]
    return x


domain("masked_scatter", under_a_mask(), _masked_scatter, composed=True)
