"""Norms of vectors and matrices (torch.linalg.norm, vector_norm, matrix_norm)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tinygen.errors import ShapeError
from tinygen.ops.decompositions import svdvals
from tinygen.ops.elementwise import abs, pow, where
from tinygen.ops.reduce import Dim, _to_dtype, amax, amin, axes, sum
from tinygen.ops.reduce import norm as _norm
from tinygen.ops.shape import permute, reshape

if TYPE_CHECKING:
    from tinygen.tensor import Tensor


def vector_norm(x: Any, ord: float = 2, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """(Σ|x|^ord)^(1/ord) of all elements, or along `dim`, as if they were one vector.

    ord: any number: inf is the largest |x|, -inf the smallest, 0 counts those that are not 0.
    The gradient is 0 where the norm of a positive order is.
    """
    x = _to_dtype(x, dtype)
    if x.dtype.kind != "f":
        raise TypeError(f"vector_norm: a floating-point tensor is expected, got {x.dtype}; use x.float()")
    if isinstance(ord, str):
        raise TypeError(f"vector_norm: ord must be a number, got {ord!r}; matrix_norm has 'fro' and 'nuc'")
    if ord == 0:
        return sum(where(x == 0, 0.0, x * 0 + 1), dim, keepdim)
    if ord > 0:
        return _norm(x, ord, dim, keepdim)
    if ord == -math.inf:
        return amin(abs(x), axes("vector_norm", dim, x.ndim), keepdim)
    nothing = sum(where(x == 0, 1.0, 0.0), dim, keepdim) > 0  # an element 0 has an infinite power, and the norm is 0
    total = sum(pow(where(x == 0, 1.0, abs(x)), ord), dim, keepdim)
    return where(nothing, 0.0, pow(total, 1 / ord))


def matrix_norm(
    A: Any, ord: float | str = "fro", dim: tuple[int, int] = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of the matrices in the two dimensions `dim`.

    ord: "fro" is the root of the sum of squares, "nuc" the sum of the singular values, 2 and -2 the largest and the smallest
    of them, inf and -inf the largest and smallest sum of a row's |a|, 1 and -1 that of a column.
    """
    A = _to_dtype(A, dtype)
    if len(tuple(dim)) != 2 or A.ndim < 2:
        raise ShapeError(f"matrix_norm: two dimensions are expected, got dim={dim} for shape {tuple(A.shape)}")
    rows, columns = axes("matrix_norm", tuple(dim), A.ndim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    extreme = amax if ord in ("nuc", 2, 1, math.inf) else amin
    if ord in (1, -1, math.inf, -math.inf):
        first, second = (rows, columns) if ord in (1, -1) else (columns, rows)
        return _kept(extreme(sum(abs(A), first, True), second, True), A, rows, columns, keepdim)
    if ord in ("nuc", 2, -2):
        others = [i for i in range(A.ndim) if i not in (rows, columns)]
        values = svdvals(permute(A, *others, rows, columns))
        out = sum(values, -1) if ord == "nuc" else extreme(values, -1)
        return _kept(out, A, rows, columns, keepdim)
    raise ValueError(f"matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")


def _kept(out: Any, A: Any, rows: int, columns: int, keepdim: bool) -> Any:
    shape = [1 if i in (rows, columns) else n for i, n in enumerate(A.shape)]
    return reshape(out, shape if keepdim else [n for i, n in enumerate(shape) if i not in (rows, columns)])


def norm(
    A: Any,
    ord: float | str | None = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """torch.linalg.norm: vector_norm for one `dim` or a vector, matrix_norm for two or a matrix.

    Without ord the 2-norm of all elements along `dim`.
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim > 2:
        raise ShapeError(f"norm: with ord a vector or a matrix is expected, got shape {tuple(A.shape)}; give dim")
    if (A.ndim if dim is None else 1 if isinstance(dim, int) else len(dim)) == 2:
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)  # type: ignore[arg-type]


__all__ = ["matrix_norm", "norm", "vector_norm"]
