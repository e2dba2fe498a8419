"""Products of matrices, and the transfer between devices."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, domain, unary
from tinygen import backend, ops
from tinygen.engine import OPERATORS, Node
from tinygen.testing import strategies as ts

SIDE = st.integers(0, 3)


@st.composite
def product(draw, left: str, right: str, batch: bool = False) -> Example:
    """Two arrays whose dimensions are named by letters: equal letters, equal sizes.  batch: leading ones that broadcast."""
    size = {c: draw(SIDE) for c in dict.fromkeys(left + right)}
    shapes = [tuple(size[c] for c in term) for term in (left, right)]
    if batch:
        leading = draw(ts.broadcastable_shapes(2, max_dims=2, max_side=3))
        shapes = [(*b, *s) for b, s in zip(leading, shapes, strict=True)]
    return Example(tuple(draw(ts.values(s)) for s in shapes), {})


domain("mm", product("nm", "mp"), np.matmul)
domain("bmm", product("bnm", "bmp"), np.matmul)
domain("mv", product("nm", "m"), np.matmul)
domain("dot", product("n", "n"), np.dot)
domain("outer ger", product("n", "m"), np.outer)


@st.composite
def any_product(draw) -> Example:
    left, right, batch = draw(
        st.sampled_from([("n", "n", False), ("nm", "m", False), ("m", "mp", False), ("nm", "mp", True)])
        | st.sampled_from([("bnm", "m", False), ("m", "bmp", False)])
    )
    return draw(product(left, right, batch))


domain("matmul", any_product(), np.matmul)


@st.composite
def regular(draw) -> Example:
    """A stack of matrices whose diagonal outweighs the rest of the row: none is near a singular one."""
    leading, n = draw(ts.shapes(max_dims=1, max_side=2)), draw(st.integers(1, 3))
    return Example((draw(ts.values((*leading, n, n))) + 8 * n * np.eye(n),), {})


domain("inverse", regular(), np.linalg.inv)
domain("trace", unary(ts.shapes(min_dims=2, max_dims=2)), np.trace)


@st.composite
def affine(draw) -> Example:
    leading, n_in, n_out = draw(ts.shapes(max_dims=2, max_side=3)), draw(SIDE), draw(SIDE)
    shapes = [(*leading, n_in), (n_out, n_in)] + ([(n_out,)] if draw(st.booleans()) else [])
    return Example(tuple(draw(ts.values(s)) for s in shapes), {})


domain("linear", affine(), lambda x, w, b=0.0: x @ w.T + b)

EQUATIONS = [
    "ij,jk->ik", "bij,bjk->bik", "i,i->", "i,j->ij", "ij->ji", "ij->", "ij->j", "ii->i", "ii->", "iij->j", "ij,ij->i", "ij,kj,i->k",
    "bi,io,bo->b", "...i,ij->...j", "...ij,...jk->...ik", "ij,jk", "ba,a", " i j , j -> i ", "i,i,i->i", "ijk->kij",
]  # fmt: skip


@st.composite
def summation(draw) -> Example:
    equation = draw(st.sampled_from(EQUATIONS))
    size = {c: draw(SIDE) for c in "abijko"}
    terms = equation.replace(" ", "").split("->")[0].split(",")
    leading = (
        draw(ts.broadcastable_shapes(len(terms), max_dims=1, max_side=2)) if "..." in equation else [()] * len(terms)
    )
    shapes = [
        (*(b if "..." in t else ()), *(size[c] for c in t.replace("...", "")))
        for t, b in zip(terms, leading, strict=True)
    ]
    return Example(tuple(draw(ts.values(s)) for s in shapes), {"equation": equation})


domain(
    "einsum",
    summation(),
    lambda *xs, equation: np.einsum(equation, *xs),
    lambda *xs, equation: ops.einsum(equation, *xs),
)


def _there(x):
    """To the CPU and back."""
    home = backend.device_of(x.array if isinstance(x, Node) else x)
    return OPERATORS["to"](OPERATORS["to"](x, device=backend.device("cpu")), device=home)


domain("to", unary(), np.copy, _there)
