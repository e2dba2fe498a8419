"""Products of tensors that are made of matrix products and elementwise ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinygen.errors import ShapeError, expect_tensor
from tinygen.ops.linalg import _of_rank, matmul, outer
from tinygen.ops.reduce import sum
from tinygen.ops.shape import _roll, axis_of, permute, reshape

if TYPE_CHECKING:
    from tinygen.tensor import Tensor


def _plus(input: Any, product: Any, beta: float, alpha: float) -> Any:
    """beta input + alpha product, where beta = 0 ignores the input, even nan."""
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else (input if beta == 1 else input * beta) + product


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat1 @ mat2, for matrices; the input may broadcast.  With beta = 0 it is ignored."""
    _of_rank("addmm", mat1, mat2, (2, 2))
    return _plus(input, matmul(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat @ vec, for a matrix and a vector."""
    _of_rank("addmv", mat, vec, (2, 1))
    return _plus(input, matmul(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha times the outer product of two vectors.  vec1, vec2: (n,) and (m,), for a result of (n, m)."""
    return _plus(input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha batch1 @ batch2, for batches of matrices (B, N, M) and (B, M, P)."""
    _of_rank("baddbmm", batch1, batch2, (3, 3))
    return _plus(input, matmul(batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha times the sum of all products batch1[i] @ batch2[i]."""
    _of_rank("addbmm", batch1, batch2, (3, 3))
    return _plus(input, sum(matmul(batch1, batch2), 0), beta, alpha)


ger = outer


def tensordot(a: Any, b: Any, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Sums over pairs of dimensions: the last `dims` of a with the first of b, or the lists dims[0] of a and dims[1] of b.

    The result has the other dimensions of a, then those of b.
    """
    if hasattr(dims, "tolist"):
        dims = dims.tolist()  # type: ignore[union-attr]
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: dims={dims} for tensors of {a.ndim} and {b.ndim} dimensions")
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    left, right = ([axis_of("tensordot", d, x.ndim) for d in ds] for x, ds in zip((a, b), dims, strict=True))
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: the sizes to sum over must be equal, got {[a.shape[i] for i in left]} and {[b.shape[i] for i in right]}"
        )
    rest_a = [i for i in range(a.ndim) if i not in left]
    rest_b = [i for i in range(b.ndim) if i not in right]
    rows, columns = [a.shape[i] for i in rest_a], [b.shape[i] for i in rest_b]
    inner = math.prod(a.shape[i] for i in left)
    x = reshape(permute(a, *rest_a, *left), (math.prod(rows), inner))
    y = reshape(permute(b, *right, *rest_b), (inner, math.prod(columns)))
    return reshape(matmul(x, y), (*rows, *columns))


def kron(input: Any, other: Any) -> Tensor:
    """The Kronecker product: every element of the input times all of other, as blocks."""
    expect_tensor("kron", input)
    expect_tensor("kron", other)
    ndim = max(input.ndim, other.ndim)
    a, b = ((1,) * (ndim - x.ndim) + tuple(x.shape) for x in (input, other))
    product = reshape(input, [k for n in a for k in (n, 1)]) * reshape(other, [k for n in b for k in (1, n)])
    return reshape(product, [n * m for n, m in zip(a, b, strict=True)])


def cross(input: Any, other: Any, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three elements along `dim`, by default the first dimension of size 3.

    Other sizes broadcast.  torch.linalg.cross takes the last dimension by default.
    """
    if dim is None:
        dim = next((i for i, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise ShapeError(f"cross: a dimension of size 3 is needed, got shape {tuple(input.shape)}")
        dim -= input.ndim
    axis = axis_of("cross", dim, input.ndim)
    behind = input.ndim - axis
    if behind > other.ndim or input.shape[axis] != 3 or other.shape[-behind] != 3:
        raise ShapeError(
            f"cross: dim {dim} must have size 3 in both, got {tuple(input.shape)} and {tuple(other.shape)}"
        )
    turned = lambda x, k: _roll(x, shifts=(-k,), axis=(x.ndim - behind,))
    return turned(input, 1) * turned(other, 2) - turned(input, 2) * turned(other, 1)


def cross_of_last(input: Any, other: Any, *, dim: int = -1) -> Tensor:
    """torch.linalg.cross: the cross product of vectors of three elements along `dim`, by default the last dimension."""
    return cross(input, other, dim)


__all__ = ["addbmm", "addmm", "addmv", "addr", "baddbmm", "cross", "ger", "kron", "tensordot"]
