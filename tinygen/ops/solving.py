"""Determinants and linear systems (torch.linalg)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygen.backend import device_of, to_device
from tinygen.engine import Node, Op, name_operators
from tinygen.errors import ShapeError
from tinygen.ops.decompositions import _matrices
from tinygen.ops.elementwise import where
from tinygen.ops.linalg import inverse, matmul
from tinygen.ops.shape import _slice, cat, mT, reshape, squeeze, stack, tril, triu, unsqueeze

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

# d det A = <cofactors of A, dA>
_det       = Op(lambda xp, a: xp.linalg.det(a),           lambda g, out, a: _as_matrices(g) * _cofactors(a, out))
_logabsdet = Op(lambda xp, a: xp.linalg.slogdet(a)[1],    lambda g, _, a: _as_matrices(g) * mT(inverse(a)))
_detsign   = Op(lambda xp, a: xp.linalg.slogdet(a)[0])
# A X = B: dA X + A dX = dB
_solve = Op(lambda xp, a, b: _solved(xp, a, b),       lambda g, x, a, _b: -matmul(_solve(mT(a), g), mT(x)),   lambda g, _, a, _b: _solve(mT(a), g))
# A⁺, where the rank of A does not change
_pinverse = Op(lambda xp, a, rtol: xp.linalg.pinv(a, rtol),   lambda g, y, a, rtol: _pinverse_rule(mT(g), y, a))

# fmt: on


def _as_matrices(x: Any) -> Any:
    return unsqueeze(unsqueeze(x, -1), -1)


def _solved(xp: Any, a: Any, b: Any) -> Any:
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # CuPy does not broadcast here
    a, b = (xp.broadcast_to(x, leading + x.shape[-2:]) for x in (a, b))
    return xp.linalg.solve(a, b)


def _cofactors(a: Any, det: Any) -> Any:
    """det(A) A⁻ᵀ; for a singular matrix ± the determinants of what remains without row i and column j."""
    if (det != 0).all():
        return _as_matrices(det) * mT(inverse(a))
    n = a.shape[-1]
    if n == 1:
        return a * 0 + 1

    def without(x: Any, i: int, axis: int) -> Any:
        after = (slice(None),) * (-1 - axis)
        return cat([_slice(x, at=(..., slice(i), *after)), _slice(x, at=(..., slice(i + 1, None), *after))], axis)

    minors = [[_det(without(without(a, i, -2), j, -1)) * (-1) ** (i + j) for j in range(n)] for i in range(n)]
    return stack([stack(row, -1) for row in minors], -2)


def _pinverse_rule(g: Any, y: Any, a: Any) -> Any:
    """g is transposed: Aᵀ's shape is that of A⁺."""
    kernel = lambda x, left: x - (matmul(a, matmul(y, x)) if left else matmul(matmul(x, y), a))
    yt = mT(y)
    return (
        matmul(kernel(g, True), matmul(y, yt)) + matmul(matmul(yt, y), kernel(g, False)) - matmul(yt, matmul(mT(g), yt))
    )


name_operators(globals())


def det(A: Any) -> Tensor:
    """The determinants of square matrices: (*, n, n) gives (*).  Differentiable at singular matrices too."""
    return _det(_matrices("det", A, square=True))


class SignAndLog(NamedTuple):
    """What slogdet returns."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(A: Any) -> SignAndLog:
    """(sign, log |det|) of square matrices, without overflow; 0 and -inf for a singular one."""
    A = _matrices("slogdet", A, square=True)
    return SignAndLog(_detsign(A), _logabsdet(A))


def logdet(A: Any) -> Tensor:
    """log det of square matrices: nan where the determinant is negative, -inf where it is 0."""
    s, logarithm = slogdet(A)
    return where(s < 0, math.nan, logarithm)


def solve(A: Any, B: Any, *, left: bool = True) -> Tensor:
    """X with A X = B, or with left=False X A = B.

    A: (*, n, n).  B: (*, n, k), or (n,), or one vector per matrix, (*, n); leading sizes broadcast.
    Raises numpy.linalg.LinAlgError for a singular matrix (on a GPU CuPy gives nan or inf instead).
    """
    A = _matrices("solve", A, square=True)
    vectors = B.ndim == 1 or A.ndim > 2 and tuple(B.shape) == tuple(A.shape[:-1])
    if vectors:
        B = unsqueeze(B, -1)
    if vectors and not left:
        raise ShapeError("solve: with left=False B must hold matrices, got vectors")
    if B.shape[-2 if left else -1] != A.shape[-1]:
        raise ShapeError(f"solve: A of shape {tuple(A.shape)} and B of shape {tuple(B.shape)} do not fit")
    if not left:
        return mT(_solve(mT(A), mT(B)))
    return squeeze(_solve(A, B), -1) if vectors else _solve(A, B)


def solve_triangular(A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (or X A = B), where only the upper, or lower, triangle of A is read: the rest counts as 0.

    unitriangular: the diagonal counts as ones.
    left: True for A X = B.
    """
    A = _matrices("solve_triangular", A, square=True)
    triangle = triu(A, int(unitriangular)) if upper else tril(A, -int(unitriangular))
    if unitriangular:
        one = np.eye(A.shape[-1], dtype=A.dtype)
        triangle = triangle + to_device(one, device_of(A.array if isinstance(A, Node) else A))
    if B.ndim < 2:
        raise ShapeError(f"solve_triangular: B must hold matrices (*, n, k), got shape {tuple(B.shape)}")
    return solve(triangle, B, left=left)


def inv(A: Any) -> Tensor:
    """The inverses of square matrices: `inverse`."""
    return inverse(A)


def pinv(A: Any, rtol: float | None = None) -> Tensor:
    """The pseudo-inverse: (*, m, n) gives (*, n, m).

    rtol: singular values up to rtol times the largest one count as 0; by default max(m, n) times the dtype's precision.
    """
    m, n = _matrices("pinv", A).shape[-2:]
    return _pinverse(A, rtol=max(m, n) * float(np.finfo(A.dtype).eps) if rtol is None else rtol)


def matrix_power(A: Any, n: int) -> Tensor:
    """The product of n copies of a square matrix; for n < 0 of its inverse."""
    A = _matrices("matrix_power", A, square=True)
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"matrix_power: n must be an integer, got {n!r}")
    if n < 0:
        A, n = inverse(A), -n
    if n == 0:
        one = to_device(np.eye(A.shape[-1], dtype=A.dtype), device_of(A.array if isinstance(A, Node) else A))
        return A * 0 + one
    half = None
    while n > 1 or half is None:
        if n % 2:
            half = A if half is None else matmul(half, A)
        if n > 1:
            A = matmul(A, A)
        n //= 2
    return half if not n else A if half is None else matmul(half, A)


def multi_dot(tensors: Sequence[Any]) -> Tensor:
    """The product of several matrices, in the order that takes the fewest multiplications; the ends may be vectors."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise ValueError(f"multi_dot: at least two tensors are expected, got {len(tensors)}")
    row, column = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if row:
        tensors[0] = unsqueeze(tensors[0], 0)
    if column:
        tensors[-1] = unsqueeze(tensors[-1], 1)
    sizes = [tensors[0].shape[0], *(x.shape[-1] for x in tensors)]
    out = _cheapest(tensors, sizes, {})[1]()
    return reshape(out, [n for n, one in zip(out.shape, (row, column), strict=True) if not one])


def _cheapest(
    xs: list[Any], sizes: list[int], known: dict[tuple[int, int], Any], i: int = 0, j: int | None = None
) -> Any:
    """(multiplications, what computes it) for the product of xs[i:j]."""
    j = len(xs) if j is None else j
    if j - i == 1:
        return 0, lambda: xs[i]
    if (i, j) not in known:
        ways = []
        for k in range(i + 1, j):
            (a, left), (b, right) = _cheapest(xs, sizes, known, i, k), _cheapest(xs, sizes, known, k, j)
            ways.append((a + b + sizes[i] * sizes[k] * sizes[j], lambda x=left, y=right: matmul(x(), y())))
        known[i, j] = min(ways, key=lambda way: way[0])
    return known[i, j]


__all__ = ["det", "inv", "logdet", "matrix_power", "multi_dot", "pinv", "slogdet", "solve", "solve_triangular"]
