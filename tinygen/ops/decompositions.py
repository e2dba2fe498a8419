"""Matrices taken apart: Cholesky, QR, eigenvalues, singular values (torch.linalg).

Each rule is the differential of the equation that defines the factors, solved for them.  A matrix of eigenvectors U moves
within the orthogonal matrices: Uᵀ dU is antisymmetric, and what it is off the diagonal follows from the equation.
Where two eigenvalues are equal their vectors are not unique and have no derivative: its part between them is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tinygen.engine import Op, name_operators
from tinygen.errors import ShapeError
from tinygen.ops.arrange import diag_embed
from tinygen.ops.elementwise import where
from tinygen.ops.linalg import inverse, matmul
from tinygen.ops.shape import _slice, cat, diagonal, mT, tril, triu

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

# A = L Lᵀ
_cholesky = Op(lambda xp, a: xp.linalg.cholesky(a),    lambda g, lower, _a: _cholesky_rule(g, lower))
# A = Q R: the orthonormal factor alone, since R = Qᵀ A
_orthonormal = Op(lambda xp, a: xp.linalg.qr(a)[0],    lambda g, q, a: _qr_rule(g, q, a))
# A V = V diag(λ), for a symmetric A: λ as the first row of the result, V as the other rows
_eigen    = Op(lambda xp, a: _stacked(xp, *xp.linalg.eigh(a)),  lambda g, out, _a: _eigen_rule(g, out))
# A = U diag(s) Vᵀ: U as the first rows of the result, then s, then V
_singular = Op(lambda xp, a: _stacked_svd(xp, a),      lambda g, out, _a: _singular_rule(g, out, _a.shape[-2]))
# Orthonormal columns that are orthogonal to all columns of q
_others   = Op(lambda xp, q: xp.linalg.qr(q, mode="complete")[0][..., q.shape[-1]:],   None)

# fmt: on


def _stacked(xp: Any, values: Any, vectors: Any) -> Any:
    return xp.concatenate([values[..., None, :], vectors], -2)


def _stacked_svd(xp: Any, a: Any) -> Any:
    u, s, vh = xp.linalg.svd(a, full_matrices=False)
    return xp.concatenate([u, s[..., None, :], vh.swapaxes(-1, -2)], -2)


def _rows(x: Any, start: int | None, stop: int | None) -> Any:
    return _slice(x, at=(..., slice(start, stop), slice(None)))


def _symmetric(x: Any) -> Any:
    return (x + mT(x)) * 0.5


def _cholesky_rule(g: Any, lower: Any) -> Any:
    """L⁻¹ dA L⁻ᵀ = L⁻¹ dL + (L⁻¹ dL)ᵀ, and L⁻¹ dL is a lower triangle: that of the left side, with half its diagonal."""
    back = inverse(lower)
    inner = tril(matmul(mT(lower), g))
    inner = inner - diag_embed(diagonal(inner, 0, -2, -1)) * 0.5
    return _symmetric(matmul(matmul(mT(back), inner), back))


def _qr_rule(g: Any, q: Any, a: Any) -> Any:
    """dQ = (1 - QQᵀ) dA R⁻¹ + Q W, where W is antisymmetric, and its lower triangle is that of Qᵀ dA R⁻¹."""
    back = mT(inverse(triu(matmul(mT(q), a))))
    inner = matmul(mT(q), g)
    turn = tril(inner - mT(inner), -1)
    return matmul(g - matmul(q, inner) + matmul(q, turn), back)


def _eigen_rule(g: Any, out: Any) -> Any:
    """dλ is the diagonal of Vᵀ dA V, and dV = V W with W_ij = (Vᵀ dA V)_ij / (λ_j - λ_i) off the diagonal."""
    values, v = _rows(out, 0, 1), _rows(out, 1, None)
    inner = _over(matmul(mT(v), _rows(g, 1, None)), values - mT(values))
    return _symmetric(matmul(matmul(v, inner + diag_embed(_slice(g, at=(..., 0, slice(None))))), mT(v)))


def _singular_rule(g: Any, out: Any, m: int) -> Any:
    """The same with two sides: A Aᵀ has the eigenvectors U, AᵀA has V, and both the eigenvalues s²."""
    u, s, v = _rows(out, 0, m), _rows(out, m, m + 1), _rows(out, m + 1, None)
    gu, gs, gv = _rows(g, 0, m), _slice(g, at=(..., m, slice(None))), _rows(g, m + 1, None)
    utgu, vtgv = matmul(mT(u), gu), matmul(mT(v), gv)
    gaps = (s - mT(s)) * (s + mT(s))  # s_j² - s_i²
    inner = _over(utgu - mT(utgu), gaps) * s + mT(s) * _over(vtgv - mT(vtgv), gaps) + diag_embed(gs)
    ga = matmul(u, matmul(inner, mT(v)))
    if u.shape[-2] > u.shape[-1]:
        ga = ga + matmul(_over(gu - matmul(u, utgu), s), mT(v))
    if v.shape[-2] > v.shape[-1]:
        ga = ga + matmul(u, mT(_over(gv - matmul(v, vtgv), s)))
    return ga


def _over(x: Any, y: Any) -> Any:
    """x / y, and 0 where y is 0."""
    return where(y == 0, 0.0, x / where(y == 0, 1.0, y))


name_operators(globals())


def _matrices(name: str, x: Any, square: bool = False) -> Any:
    if x.ndim < 2 or square and x.shape[-1] != x.shape[-2]:
        kind = "square matrices (*, n, n)" if square else "matrices (*, m, n)"
        raise ShapeError(f"{name}: {kind} are expected, got shape {tuple(x.shape)}")
    if x.dtype.kind == "f" and x.dtype.itemsize < 4 or x.dtype.kind in "biu":
        raise TypeError(f"{name}: float32 or float64 is expected, got {x.dtype}; use x.float()")
    return x


def cholesky(A: Any, *, upper: bool = False) -> Tensor:
    """The lower triangle L, with a positive diagonal, of A = L Lᵀ, or with `upper` the upper one, Lᵀ.

    A: (*, n, n), symmetric and positive definite; its lower triangle is read.  The gradient is that of a symmetric matrix.
    Raises numpy.linalg.LinAlgError where it is not positive definite (on a GPU CuPy gives nan instead).
    """
    lower = _cholesky(_matrices("cholesky", A, square=True))
    return mT(lower) if upper else lower


class QR(NamedTuple):
    """What qr returns: A = Q R."""

    Q: Tensor
    R: Tensor


def qr(A: Any, mode: str = "reduced") -> QR:
    """(Q, R) with A = Q R: Q (*, m, k) has orthonormal columns, R (*, k, n) is an upper triangle; k = min(m, n).

    mode: "reduced"; "r" for R alone, with an empty Q; "complete" for Q (*, m, m), R (*, m, n), where no gradient flows
    through the columns of Q past the k-th.  The first k columns of A must be linearly independent for a gradient.
    """
    if mode not in ("reduced", "r", "complete"):
        raise ValueError(f"qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    k = min(_matrices("qr", A).shape[-2:])
    q = _orthonormal(_slice(A, at=(..., slice(k))))
    r = triu(matmul(mT(q), A))
    if mode == "r":
        return QR(_empty(q), r)
    if mode == "complete" and A.shape[-2] > k:
        q = cat([q, _others(q)], -1)
        r = triu(matmul(mT(q), A))
    return QR(q, r)


def _empty(x: Any) -> Any:
    return _slice(x, at=(0,) * (x.ndim - 1) + (slice(0),))


class Eigen(NamedTuple):
    """What eigh returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(A: Any, UPLO: str = "L") -> Eigen:
    """(eigenvalues, eigenvectors) of symmetric matrices: A = V diag(λ) Vᵀ, with λ (*, n) ascending and V (*, n, n).

    A: (*, n, n), of which the lower triangle is read, or with UPLO="U" the upper one; the gradient is symmetric.  The signs
    of the vectors are arbitrary.
    """
    if UPLO not in ("L", "U"):
        raise ValueError(f"eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    out = _eigen(mT(_matrices("eigh", A, square=True)) if UPLO == "U" else _matrices("eigh", A, square=True))
    return Eigen(_slice(out, at=(..., 0, slice(None))), _rows(out, 1, None))


def eigvalsh(A: Any, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending: those of eigh.  UPLO: "L" or "U", the triangle that is read."""
    return eigh(A, UPLO).eigenvalues


class SVD(NamedTuple):
    """What svd returns: A = U diag(S) Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(A: Any, full_matrices: bool = True) -> SVD:
    """(U, S, Vh) with A = U diag(S) Vh: orthonormal columns, singular values S (*, k) descending, orthonormal rows.

    A: (*, m, n).  full_matrices: U (*, m, m) and Vh (*, n, n), else U (*, m, k) and Vh (*, k, n), k = min(m, n).  No gradient
    flows through the columns and rows past the k-th.  The signs of a column and its row are arbitrary.
    """
    m, n = _matrices("svd", A).shape[-2:]
    out = _singular(A)
    u, s, v = _rows(out, 0, m), _slice(out, at=(..., m, slice(None))), _rows(out, m + 1, None)
    if full_matrices and m > n:
        u = cat([u, _others(u)], -1)
    if full_matrices and n > m:
        v = cat([v, _others(v)], -1)
    return SVD(u, s, mT(v))


def svdvals(A: Any) -> Tensor:
    """The singular values, descending: (*, min(m, n))."""
    return svd(A, full_matrices=False).S


__all__ = ["cholesky", "eigh", "eigvalsh", "qr", "svd", "svdvals"]
