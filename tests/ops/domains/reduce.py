"""Reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from scipy import special

from tests.ops.domains.table import Example, call, domain
from tinygen.engine import OPERATORS
from tinygen.testing import strategies as ts


@st.composite
def dims(draw: st.DrawFn, ndim: int, *, whole: bool = True, several: bool = True) -> Any:
    """PyTorch's `dim` for a tensor of that many dimensions: None (if whole), one, or several of them."""
    kinds = (["none"] if whole else []) + (["one"] if ndim else []) + (["several"] if several else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "none":
        return None
    if kind == "one":
        return draw(ts.axes(ndim))
    return tuple(draw(st.lists(st.integers(0, ndim - 1), unique=True, min_size=1))) if ndim else ()


@st.composite
def reduction(
    draw: st.DrawFn,
    *,
    whole: bool = True,
    several: bool = True,
    keepdim: bool = True,
    full: bool = False,
    extra: dict[str, SearchStrategy] | None = None,
    dtype: Any = np.float64,
    min_side: int = 0,
    zeros: float = 0.0,
    **values: Any,
) -> Example:
    """An array, dim and keepdim.  full: nothing is reduced over zero elements.  zeros: the fraction of elements that are 0."""
    shape = draw(ts.shapes(min_dims=0 if whole else 1, min_side=min_side))
    dim = draw(dims(len(shape), whole=whole, several=several))
    if full:
        reduced = range(len(shape)) if dim is None or dim == () else [dim] if isinstance(dim, int) else dim
        reduced = {d % len(shape) for d in reduced} if shape else set()
        shape = tuple(max(n, 1) if i in reduced else n for i, n in enumerate(shape))
    x = draw(ts.values(shape, dtype, **values))
    if zeros and draw(st.booleans()):
        mask = np.random.default_rng(draw(ts.seeds())).random(shape) < zeros
        x = np.where(mask, np.zeros((), x.dtype), x)
    options = {"dim": dim, "keepdim": draw(st.booleans())} if keepdim else {"dim": dim}
    return Example((x,), {**options, **{key: draw(s) for key, s in (extra or {}).items()}})


def axis(dim: Any) -> Any:
    """NumPy's axis: in PyTorch no dimensions at all means all of them."""
    return None if dim == () else dim


def over(function: Any) -> Any:
    """NumPy's reduction in PyTorch's words."""
    return lambda x, dim=None, keepdim=False, **options: function(x, axis=axis(dim), keepdims=keepdim, **options)


domain("sum", reduction(), over(np.sum))
domain("mean", reduction(full=True), over(np.mean))


@st.composite
def spreads(draw: st.DrawFn) -> Example:
    """The sum of an array over some axes, and an array of the shape that it had (of integers: it has no gradient)."""
    shape = draw(ts.shapes())
    axis = tuple(draw(st.lists(st.integers(0, len(shape) - 1), unique=True))) if shape else ()
    y = draw(ts.values(tuple(n for i, n in enumerate(shape) if i not in axis)))
    return Example((y, np.zeros(shape, np.int64)), {"axis": axis})


domain(
    "spread",
    spreads(),
    lambda y, like, axis: np.broadcast_to(np.expand_dims(y, axis), like.shape),
    lambda y, like, axis: OPERATORS["spread"](y, like, axis=axis),
)


@st.composite
def pairs(draw: st.DrawFn) -> Example:
    """Two arrays of one shape, and some of their axes."""
    shape = draw(ts.shapes())
    axis = tuple(draw(st.lists(st.integers(0, len(shape) - 1), unique=True))) if shape else ()
    return Example((draw(ts.values(shape)), draw(ts.values(shape))), {"axis": axis})


domain(
    "inner",
    pairs(),
    lambda x, y, axis: (x * y).sum(axis),
    lambda x, y, axis: OPERATORS["inner"](x, y, axis=axis),
)
domain("prod", reduction(several=False, zeros=0.4), over(np.prod))
domain("amax", reduction(full=True, distinct=True), over(np.max))
domain("amin", reduction(full=True, distinct=True), over(np.min))
domain("logsumexp", reduction(full=True), over(special.logsumexp))
domain("cumsum", reduction(whole=False, several=False, keepdim=False), lambda x, dim: np.cumsum(x, dim))
domain(
    "softmax",
    reduction(whole=False, several=False, keepdim=False),
    lambda x, dim: special.softmax(x, axis=dim) if x.size else x,
)
domain(
    "log_softmax",
    reduction(whole=False, several=False, keepdim=False),
    lambda x, dim: special.log_softmax(x, axis=dim) if x.size else x,
)


def _correction(unbiased=True, correction=None, **options):
    return {**options, "ddof": int(unbiased) if correction is None else correction}


spread = reduction(min_side=3, extra={"unbiased": st.booleans()}) | reduction(
    min_side=3, extra={"correction": st.sampled_from([0, 1, 2])}
)
# at least three elements: with two, the standard deviation is |x - y| / 2, which has a kink
spread = spread.filter(lambda e: e.arrays[0].ndim and e.options["dim"] != ())
domain(
    "var",
    spread,
    lambda x, dim=None, keepdim=False, **o: np.var(x, axis=axis(dim), keepdims=keepdim, **_correction(**o)),
)
domain(
    "std",
    spread,
    lambda x, dim=None, keepdim=False, **o: np.std(x, axis=axis(dim), keepdims=keepdim, **_correction(**o)),
)


def _norm(x, p="fro", dim=None, keepdim=False):
    p = 2.0 if p == "fro" else p
    x = np.abs(x)
    if p == math.inf:
        return x.max(axis(dim), keepdims=keepdim)
    return (x**p).sum(axis(dim), keepdims=keepdim) ** (1 / p)


domain(
    "norm",
    reduction(full=True, extra={"p": st.sampled_from(["fro", 2, 1, 3, 0.5])}, low=0.2, high=2.0)
    | reduction(full=True, extra={"p": st.sampled_from(["fro", 2, 1, 3])}, avoid=(0.0,), gap=0.2)
    | reduction(full=True, extra={"p": st.just(math.inf)}, low=0.2, high=2.0, distinct=True),
    _norm,
)
domain(
    "norm2",
    st.sampled_from([(3, 4), (2, 1), (1, 3)]).flatmap(
        lambda s: call(ts.values(s, avoid=(0.0,)), axis=st.sampled_from([(0,), (1,), (0, 1), ()]))
    ),
    lambda x, axis: np.sqrt((x * x).sum(axis)),
    OPERATORS["norm2"],
)

# Values and indices: the values carry the gradient.


def _extreme(value: Any, index: Any) -> Any:
    def oracle(x, dim=None, keepdim=False):
        if dim is None:
            return value(x)
        return value(x, axis=dim, keepdims=keepdim), index(x, axis=dim, keepdims=keepdim)

    return oracle


def _chosen(keepdim: bool) -> SearchStrategy[Example]:
    return (
        reduction(whole=False, several=False, full=True, distinct=True)
        if keepdim
        else (
            reduction(whole=True, several=False, full=True, distinct=True, keepdim=False).filter(
                lambda e: e.options["dim"] is None
            )
        )
    )


domain("max", _chosen(True) | _chosen(False), _extreme(np.max, np.argmax))
domain("min", _chosen(True) | _chosen(False), _extreme(np.min, np.argmin))


def _by(order: np.ndarray, x: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    return np.take_along_axis(x, order, dim), order


def _order(x, dim, descending=False):
    return np.argsort(-x if descending else x, axis=dim, kind="stable")


sorting = reduction(whole=False, several=False, keepdim=False, distinct=True, extra={"descending": st.booleans()})
domain("sort", sorting, lambda x, dim, descending: _by(_order(x, dim, descending), x, dim))
domain("argsort", sorting, _order, smooth=False)


@st.composite
def largest(draw) -> Example:
    e = draw(reduction(whole=False, several=False, keepdim=False, distinct=True))
    dim = e.options["dim"]
    return Example(
        e.arrays, {"k": draw(st.integers(0, e.arrays[0].shape[dim])), "dim": dim, "largest": draw(st.booleans())}
    )


domain("topk", largest(), lambda x, k, dim, largest: _by(np.take(_order(x, dim, largest), np.arange(k), dim), x, dim))

# Without gradients
for name, function in {"argmax": np.argmax, "argmin": np.argmin}.items():
    domain(name, reduction(several=False, full=True, dtype=np.int64, low=-2, high=2), over(function), smooth=False)
for name, function in {"any": np.any, "all": np.all}.items():
    domain(name, reduction(dtype=np.bool_), over(function), smooth=False)
domain(
    "count_nonzero",
    reduction(keepdim=False, zeros=0.5),
    lambda x, dim: np.count_nonzero(x, axis=axis(dim)),
    smooth=False,
)
