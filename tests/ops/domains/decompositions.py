"""Determinants, systems, decompositions, norms of matrices.

Eigenvectors and singular vectors are unique up to their sign only: they are compared where their largest element is positive.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import strategies as st

import tinygen as tg
from tests.ops.domains.table import Example, call, domain
from tinygen import ops
from tinygen.engine import OPERATORS
from tinygen.ops.shape import mT
from tinygen.testing import strategies as ts


@st.composite
def regular(draw, sizes=(1, 2, 3), leading=None) -> np.ndarray:
    """A stack of matrices whose diagonal outweighs the rest of the row: none is near a singular one."""
    leading = draw(ts.shapes(max_dims=1, max_side=2)) if leading is None else leading
    n = draw(st.sampled_from(sizes))
    signs = np.random.default_rng(draw(ts.seeds())).choice([-1.0, 1.0], n)
    return draw(ts.values((*leading, n, n), low=-0.5, high=0.5)) + np.diag(signs * (1 + n / 2))


def alone(**options) -> st.SearchStrategy[Example]:
    return regular().flatmap(lambda a: call(st.just(a), **options))


def _cofactors_of_singular() -> st.SearchStrategy[Example]:
    """Matrices with a row of zeros, whose determinant is 0 and its gradient is not."""

    def flat(a: np.ndarray) -> Example:
        a = a.copy()
        a[..., 0, :] = 0
        return Example((a,), {})

    return regular((1, 2, 3), ()).map(flat)


domain("det", alone() | _cofactors_of_singular(), np.linalg.det)
domain("slogdet logabsdet detsign", alone(), lambda a: tuple(np.linalg.slogdet(a)), lambda a: tuple(ops.slogdet(a)))
domain(
    "logdet",
    alone(),
    lambda a: np.log(np.linalg.det(a @ a.swapaxes(-1, -2))),
    lambda a: ops.logdet(a @ mT(a)),
    composed=True,
)
domain("linalg.inv", alone(), np.linalg.inv, tg.linalg.inv, composed=True)
domain(
    "matrix_power",
    alone(n=st.integers(-2, 5)),
    lambda a, n: np.linalg.matrix_power(a, n),
    lambda a, n: ops.matrix_power(a, n),
    composed=True,
)


@st.composite
def systems(draw) -> Example:
    a = draw(regular())
    n, k = a.shape[-1], draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["matrix", "shared", "vector", "right"]))
    shape = {"matrix": (*a.shape[:-2], n, k), "shared": (n, k), "vector": (n,), "right": (*a.shape[:-2], k, n)}[kind]
    if shape == a.shape[:-1] and kind != "vector":  # it would be taken for one vector per matrix
        shape = (1, *shape)
    return Example((a, draw(ts.values(shape))), {"left": kind != "right"})


def _solve(a, b, left):
    if not left:
        return b @ np.linalg.inv(a)
    return np.linalg.inv(a) @ b


domain("solve linalg.solve", systems(), _solve, lambda a, b, left: tg.linalg.solve(a, b, left=left))


def _triangle(a, upper, unit):
    t = np.triu(a, int(unit)) if upper else np.tril(a, -int(unit))
    return t + np.eye(a.shape[-1]) if unit else t


domain(
    "linalg.solve_triangular",
    st.builds(
        lambda e, upper, unit: Example(e.arrays, {**e.options, "upper": upper, "unitriangular": unit}),
        systems().filter(lambda e: e.arrays[1].ndim > 1),
        st.booleans(),
        st.booleans(),
    ),
    lambda a, b, left, upper, unitriangular: _solve(_triangle(a, upper, unitriangular), b, left),
    lambda a, b, **how: tg.linalg.solve_triangular(a, b, **how),
    composed=True,
)
RECTANGLES = st.tuples(ts.shapes(max_dims=1, max_side=2), st.sampled_from([(2, 2), (3, 2), (2, 3), (1, 3), (3, 1)]))


def full_rank(a: np.ndarray) -> np.ndarray:
    """With singular values from 1 on, that differ by 1 and more."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return (u * (s / 10 + 1.5 * np.arange(s.shape[-1], 0, -1))[..., None, :]) @ vh


@st.composite
def rectangles(draw) -> np.ndarray:
    leading, (m, n) = draw(RECTANGLES)
    return full_rank(draw(ts.values((*leading, m, n))))


rectangle = rectangles().map(lambda a: Example((a,), {}))
domain("pinverse", rectangle, np.linalg.pinv)


@st.composite
def chains(draw) -> Example:
    sizes = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(3, 5)))]
    shapes = [*itertools.pairwise(sizes)]
    if draw(st.booleans()):
        shapes[0] = shapes[0][1:]
    if draw(st.booleans()):
        shapes[-1] = shapes[-1][:1]
    return Example(tuple(draw(ts.values(s)) for s in shapes), {})


domain(
    "linalg.multi_dot",
    chains(),
    lambda *xs: np.linalg.multi_dot(xs),
    lambda *xs: tg.linalg.multi_dot(xs),
    composed=True,
)


# Decompositions.  What is decomposed is symmetric where it must be, whatever the step of the differences.


def _spread(a: np.ndarray) -> np.ndarray:
    """A symmetric matrix whose eigenvalues differ by 1 and more."""
    values, v = np.linalg.eigh(a + a.swapaxes(-1, -2))
    return (v * (np.arange(1.0, a.shape[-1] + 1) * 1.5 + values / 10)[..., None, :]) @ v.swapaxes(-1, -2)


spread = regular().map(lambda a: Example((_spread(a),), {}))
symmetric = lambda a: (a + mT(a)) * 0.5
domain(
    "cholesky linalg.cholesky",
    st.builds(lambda e, upper: Example(e.arrays, {"upper": upper}), spread, st.booleans()),
    lambda a, upper: np.linalg.cholesky(a).swapaxes(-1, -2) if upper else np.linalg.cholesky(a),
    lambda a, upper: tg.linalg.cholesky(symmetric(a), upper=upper),
)


def _signs(v):
    """Of every column, times its largest element: positive."""
    at = np.abs(v).argmax(-2)[..., None, :]
    return np.sign(np.take_along_axis(v, at, -2))


def signs(v):
    """The same signs for a tensor, as constants of its device."""
    array = v.array if isinstance(v, tg.Tensor) else v
    host = tg.backend.to_numpy(array)
    return tg.backend.to_device(_signs(host), tg.backend.device_of(array))


def _eigh(a):
    values, v = np.linalg.eigh(a)
    return values, v * _signs(v)


def eigh(a):
    values, v = tg.linalg.eigh(symmetric(a))
    return values, v * signs(v)


domain("eigen linalg.eigh", spread, _eigh, eigh)
domain("linalg.eigvalsh", spread, np.linalg.eigvalsh, lambda a: tg.linalg.eigvalsh(symmetric(a), "U"), composed=True)


def _svd(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    turn = _signs(u)
    return u * turn, s, vh * turn.swapaxes(-1, -2)


def svd(a):
    u, s, vh = tg.linalg.svd(a, full_matrices=False)
    turn = signs(u)
    return u * turn, s, vh * turn.swapaxes(-1, -2)


domain("singular linalg.svd", rectangle, _svd, svd)
domain("linalg.svdvals", rectangle, lambda a: np.linalg.svd(a, compute_uv=False), tg.linalg.svdvals, composed=True)


def _qr(a):
    q, r = np.linalg.qr(a)
    turn = _signs(q)
    return q * turn, r * turn.swapaxes(-1, -2)


def qr(a):
    q, r = tg.linalg.qr(a)
    turn = signs(q)
    return q * turn, r * turn.swapaxes(-1, -2)


domain("orthonormal linalg.qr", rectangle, _qr, qr)


def _complement(q):
    """The projection onto what is orthogonal to the columns of q."""
    q = np.linalg.qr(q)[0]
    return np.eye(q.shape[-2]) - q @ q.swapaxes(-1, -2)


def complement(q):
    others = OPERATORS["others"](tg.linalg.qr(q).Q)
    return others @ mT(others)


tall = rectangle.filter(lambda e: e.arrays[0].shape[-2] >= e.arrays[0].shape[-1])
domain("others", tall, _complement, complement, smooth=False)

# Norms

ORDERS = ["fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf]


def norms(*orders) -> st.SearchStrategy[Example]:
    return rectangles().flatmap(lambda a: call(st.just(a), ord=st.sampled_from(orders), keepdim=st.booleans()))


domain(
    "linalg.matrix_norm",
    norms(*ORDERS),
    lambda a, ord, keepdim: np.linalg.norm(a, ord, (-2, -1), keepdim),
    lambda a, ord, keepdim: tg.linalg.matrix_norm(a, ord, keepdim=keepdim),
    composed=True,
)
AWAY = {"low": 0.3, "high": 2.0, "distinct": True}
# two dimensions: NumPy's powers of a single number and of an array differ in the last digit
vectors = ts.shapes(min_dims=2, min_side=1).flatmap(
    lambda s: call(
        ts.values(s, **AWAY),
        ord=st.sampled_from([1, 2, 3, 0.5, -1, -2.5, math.inf, -math.inf]),
        dim=ts.axes(len(s)),
        keepdim=st.booleans(),
    )
)
domain(
    "linalg.vector_norm",
    vectors,
    lambda x, ord, dim, keepdim: np.linalg.norm(x, ord, dim, keepdim),
    lambda x, ord, dim, keepdim: tg.linalg.vector_norm(x, ord, dim, keepdim),
    composed=True,
)
domain(
    "linalg.norm",
    vectors
    | norms(*[o for o in ORDERS if isinstance(o, str)]).map(
        lambda e: Example(e.arrays, {**e.options, "dim": (-2, -1)})
    ),
    lambda x, ord, dim, keepdim: np.linalg.norm(x, ord, dim, keepdim),
    lambda x, ord, dim, keepdim: tg.linalg.norm(x, ord, dim, keepdim),
    composed=True,
)
