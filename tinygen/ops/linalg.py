"""Products of matrices.  The derivative of a linear map is its transpose: y = W x hands Wᵀ g back to x."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.backend import ARRAY_MODULES, threads
from tinygen.engine import Node, Op, name_operators
from tinygen.errors import ShapeError
from tinygen.layout import sum_along
from tinygen.ops.reduce import sum
from tinygen.ops.shape import diagonal, mT, reshape, squeeze, unsqueeze

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

_matmul = Op(lambda xp, x, y: _product(xp, x, y),        lambda g, _, _x, y: _times(g, _t(y)),    lambda g, _, x, _y: _times(_t(x), g))
# y = x Wᵀ + b on the last dimension: one matrix product, whatever the leading dimensions
_linear = Op(lambda xp, x, w, b: _affine(xp, x, w, b),   lambda g, _, _x, w, _b: _through(g, w),  lambda g, _, x, _w, _b: _outer_sum(g, x),
                                                         lambda g, _, _x, _w, _b: _column_sums(g))
# A⁻¹A = 1, so dA⁻¹ = -A⁻¹ dA A⁻¹
_inverse = Op(lambda xp, x: xp.linalg.inv(x),           lambda g, y, _x: -_matmul(_matmul(_t(y), g), _t(y)))

# fmt: on


def _product(xp: Any, x: Any, y: Any) -> Any:
    return _dot(x, y) if x.ndim == 2 == y.ndim else xp.matmul(x, y)


def _dot(x: Any, y: Any) -> Any:
    """x y of two matrices.  NumPy's product has threads of its own, unless the cores are ours (backend/threads.py)."""
    multiplications = x.size * y.shape[1]
    if multiplications < threads.ENOUGH or not threads.is_shared() or type(x) is not np.ndarray or x.dtype != y.dtype:
        return x.dot(y)
    out = np.empty((x.shape[0], y.shape[1]), x.dtype)
    by_columns = out.shape[1] > out.shape[0]
    n = threads.threads_for(multiplications)

    def some(parts: Sequence[int]) -> None:
        a, b = (i * max(out.shape) // n for i in (parts[0], parts[-1] + 1))
        if by_columns:
            np.matmul(x, y[:, a:b], out=out[:, a:b])
        else:
            np.matmul(x[a:b], y, out=out[a:b])

    threads.share(some, range(n), multiplications)
    return out


def _affine(xp: Any, x: Any, w: Any, b: Any) -> Any:
    if w.ndim != 2 or x.shape[-1:] != w.shape[1:] or b is not None and b.shape != w.shape[:1]:
        _refuse(x, w, b)
    if x.ndim != 2:
        return _affine(xp, x.reshape(_row_shape(x)), w, b).reshape(*x.shape[:-1], w.shape[0])
    out = _dot(x, w.T)
    if b is None:
        return out
    if b.dtype != out.dtype:
        return out + b
    out += b
    return out


def _refuse(x: Any, w: Any, b: Any) -> None:
    if w.ndim != 2 or x.shape[-1:] != w.shape[1:]:
        raise ShapeError(
            f"linear: the input's last size must be the weight's second\n    input  {tuple(x.shape)}\n"
            f"    weight {tuple(w.shape)}"
        )
    raise ShapeError(f"linear: a bias of shape {tuple(w.shape[:1])} is expected, got {tuple(b.shape)}")


def _row_shape(x: Any) -> tuple[int, int]:
    return math.prod(x.shape[:-1]), x.shape[-1]


def _rows(x: Any) -> Any:
    """All leading dimensions as one."""
    return x if x.ndim == 2 else reshape(x, _row_shape(x))


# In the rules matrices that are plain arrays are multiplied and transposed directly: calling the operator takes longer than
# the product itself when the matrices are small.  If g is an array, so is all that it meets.


def _times(x: Any, y: Any) -> Any:
    if isinstance(x, Node) or isinstance(y, Node) or x.ndim != 2 or y.ndim != 2:
        return _matmul(x, y)
    return _dot(x, y)


def _t(x: Any) -> Any:
    return mT(x) if isinstance(x, Node) or x.ndim != 2 else x.T


def _through(g: Any, w: Any) -> Any:
    """g W on the last dimension."""
    if g.ndim != 2:
        return reshape(_times(_rows(g), w), (*g.shape[:-1], w.shape[1]))
    return _matmul(g, w) if isinstance(g, Node) else _dot(g, w)


def _outer_sum(g: Any, x: Any) -> Any:
    """gᵀ x: the sum of the outer products of all rows."""
    if isinstance(g, Node) or g.ndim != 2:
        return _times(_t(_rows(g)), _rows(x))
    return _dot(g.T, x)


def _column_sums(g: Any) -> Any:
    """The gradient of a bias: every row had it added."""
    return sum(_rows(g), 0) if isinstance(g, Node) or g.ndim != 2 else sum_along(ARRAY_MODULES[type(g)], g, (0,))


name_operators(globals())


def matmul(input: Any, other: Any) -> Tensor:
    """Matrix product; leading dimensions broadcast; a vector counts as a row on the left and a column on the right."""
    x, y = input, other
    if not (hasattr(x, "ndim") and hasattr(y, "ndim")):
        raise TypeError(f"matmul: two tensors are expected, got {type(x).__name__} and {type(y).__name__}")
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError(
            f"matmul: both arguments need at least one dimension, got {x.shape} and {y.shape}; use * for numbers"
        )
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ShapeError(
            f"matmul: shapes {tuple(x.shape)} and {tuple(y.shape)} do not fit: the last size of the first, {x.shape[-1]}, must "
            f"equal the {'second to last' if y.ndim > 1 else 'only'} size of the second, {y.shape[-2 if y.ndim > 1 else 0]}"
        )
    if x.ndim > 1 and y.ndim > 1:
        return _matmul(x, y)
    row, column = x.ndim == 1, y.ndim == 1
    out = _matmul(unsqueeze(x, 0) if row else x, unsqueeze(y, 1) if column else y)
    out = squeeze(out, -1) if column else out
    return squeeze(out, -1 if column else -2) if row else out


def _of_rank(name: str, x: Any, y: Any, ranks: tuple[int, int]) -> None:
    if (x.ndim, y.ndim) != ranks:
        raise ShapeError(
            f"{name}: tensors of {ranks[0]} and {ranks[1]} dimensions are expected, got {tuple(x.shape)} and {tuple(y.shape)}; "
            "matmul takes any number"
        )


def mm(input: Any, mat2: Any) -> Tensor:
    """Product of two matrices.  mat2: the second matrix, (m, p) for input (n, m)."""
    _of_rank("mm", input, mat2, (2, 2))
    return matmul(input, mat2)


def bmm(input: Any, mat2: Any) -> Tensor:
    """Products of two batches of matrices, (B, N, M) and (B, M, P).  mat2: the second batch."""
    _of_rank("bmm", input, mat2, (3, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ShapeError(f"bmm: batches of {input.shape[0]} and {mat2.shape[0]} matrices; they must be equal")
    return matmul(input, mat2)


def mv(input: Any, vec: Any) -> Tensor:
    """Product of a matrix and a vector.  vec: (m,), for a matrix (n, m)."""
    _of_rank("mv", input, vec, (2, 1))
    return matmul(input, vec)


def dot(input: Any, tensor: Any) -> Tensor:
    """Inner product of two vectors."""
    _of_rank("dot", input, tensor, (1, 1))
    return matmul(input, tensor)


def outer(input: Any, vec2: Any) -> Tensor:
    """Outer product of two vectors.  input: (n,).  vec2: (m,)."""
    _of_rank("outer", input, vec2, (1, 1))
    return unsqueeze(input, 1) * unsqueeze(vec2, 0)


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x Wᵀ + b.  input: (*, in), weight: (out, in), bias: (out,) or None.  Returns (*, out)."""
    return _linear(input, weight, bias)


def trace(input: Any) -> Tensor:
    """Sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise ShapeError(
            f"trace: a matrix is expected, got shape {tuple(input.shape)}; take diagonal(...).sum(-1) of several"
        )
    return sum(diagonal(input))


def inverse(input: Any) -> Tensor:
    """The inverse of a matrix, or of each of a stack: (*, n, n).  Raises numpy.linalg.LinAlgError for a singular one."""
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise ShapeError(f"inverse: square matrices (*, n, n) are expected, got shape {tuple(input.shape)}")
    return _inverse(input)


__all__ = ["bmm", "dot", "inverse", "linear", "matmul", "mm", "mv", "outer", "trace"]
