"""More ways to join, split and turn tensors, all made of those in `shape`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.engine import Op, expand, name_operators
from tinygen.errors import ShapeError, expect_tensor
from tinygen.ops.shape import (
    _flip,
    _same_rank,
    _slice,
    _undiagonal,
    _unslice,
    axis_of,
    cat,
    clone,
    flatten,
    flip,
    movedim,
    reshape,
    transpose,
)  # fmt: skip

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

# Windows of `size` elements along an axis, one every `step`, in a new last dimension; and their transpose, which adds them up
_windows  = Op(lambda xp, x, axis, size, step: _seen_through(xp, x, axis, size, step),
               lambda g, _, _x, axis, size, step: _overlaps(g, shape=_x.shape, axis=axis, size=size, step=step),   view=True)
_overlaps = Op(lambda xp, y, shape, axis, size, step: _added_up(xp, y, shape, axis, size, step),
               lambda g, _, _y, shape, axis, size, step: _windows(g, axis=axis, size=size, step=step))

# fmt: on


def _seen_through(xp: Any, x: Any, axis: int, size: int, step: int) -> Any:
    count = (x.shape[axis] - size) // step + 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    strides = (*x.strides[:axis], x.strides[axis] * step, *x.strides[axis + 1 :], x.strides[axis])
    return xp.lib.stride_tricks.as_strided(x, shape, strides)


def _added_up(xp: Any, y: Any, shape: tuple[int, ...], axis: int, size: int, step: int) -> Any:
    x = xp.zeros(shape, y.dtype)
    for i in range(size):
        x[(slice(None),) * axis + (slice(i, i + step * (y.shape[axis] - 1) + 1, step),)] += y[..., i]
    return x


name_operators(globals())


def unfold(input: Any, dimension: int, size: int, step: int) -> Tensor:
    """Tensor.unfold: windows of `size` neighbours along a dimension, one every `step`, as a view; they are the last dimension.

    The dimension's size becomes (n - size) / step + 1, rounded down.
    """
    x = input if input.ndim else reshape(input, 1)
    axis = axis_of("unfold", dimension, x.ndim)
    if not 0 < size <= x.shape[axis] or step <= 0:
        raise ValueError(
            f"unfold: windows need 0 < size <= {x.shape[axis]}, the size of dim {dimension}, and a step > 0; got {size} and {step}"
        )
    return _windows(x, axis=axis, size=size, step=step)


def _at_least(x: Any, ndim: int) -> Any:
    """With dimensions of size 1 as NumPy adds them: one in front first, then one behind."""
    if x.ndim >= ndim:
        return x
    return reshape(x, {0: (1,) * ndim, 1: (1, *x.shape, 1)[:ndim], 2: (*x.shape, 1)}[x.ndim])


def hstack(tensors: Sequence[Any]) -> Tensor:
    """The tensors side by side: along the second dimension, or the only one of vectors."""
    tensors = [x if x.ndim else reshape(x, 1) for x in _same_rank("hstack", tensors)]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Tensor:
    """The tensors one below the other: along the first dimension; vectors are rows."""
    return cat([_at_least(x, 2) for x in _same_rank("vstack", tensors)], 0)


def dstack(tensors: Sequence[Any]) -> Tensor:
    """The tensors one behind the other: along the third dimension; vectors are rows."""
    return cat([_at_least(x, 3) for x in _same_rank("dstack", tensors)], 2)


def column_stack(tensors: Sequence[Any]) -> Tensor:
    """The tensors side by side, where numbers and vectors are columns."""
    tensors = [reshape(x, (-1, 1)) if x.ndim < 2 else x for x in _same_rank("column_stack", tensors)]
    return cat(tensors, 1)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along `dim`: that many, whose sizes differ by one at most, the larger first; or cut before each index.

    indices_or_sections: the number of parts, or the indices.
    """
    axis = axis_of("tensor_split", dim, input.ndim)
    n = input.shape[axis]
    if hasattr(indices_or_sections, "tolist"):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise ValueError(f"tensor_split: the number of parts must be positive, got {count}")
        cuts = [i * (n // count) + min(i, n % count) for i in range(1, count)]
    else:
        cuts = list(indices_or_sections)
    at = lambda a, b: (slice(None),) * axis + (slice(a, b),)
    return tuple(_slice(input, at=at(a, b)) for a, b in zip([None, *cuts], [*cuts, None], strict=True))


swapaxes = swapdims = transpose
moveaxis = movedim


def ravel(input: Any) -> Tensor:
    """All elements in one dimension: a view where the memory allows it."""
    expect_tensor("ravel", input)
    return flatten(input)


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by a quarter in the plane of two dimensions, from the first towards the second.

    dims: these two dimensions.
    """
    if len(dims) != 2:
        raise ValueError(f"rot90: two dimensions are expected, got {dims}")
    first, second = (axis_of("rot90", d, input.ndim) for d in dims)
    if first == second:
        raise ValueError(f"rot90: two different dimensions are expected, got {dims}")
    if k % 4 == 2:
        return flip(input, (first, second))
    if k % 2:
        return (
            transpose(flip(input, second), first, second)
            if k % 4 == 1
            else flip(transpose(input, first, second), second)
        )
    return clone(input)


def fliplr(input: Any) -> Tensor:
    """Left and right exchanged: the second dimension in reverse order."""
    axis_of("fliplr", 1, input.ndim)
    return _flip(input, axis=(1,))


def flipud(input: Any) -> Tensor:
    """Up and down exchanged: the first dimension in reverse order."""
    axis_of("flipud", 0, input.ndim)
    return _flip(input, axis=(0,))


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape, without copying."""
    try:
        shape = np.broadcast_shapes(*(tuple(x.shape) for x in tensors))
    except ValueError as error:
        raise ShapeError(f"broadcast_tensors: shapes {[tuple(x.shape) for x in tensors]} have no common one") from error
    return tuple(expand(x, shape=shape) for x in tensors)


def block_diag(*tensors: Any) -> Tensor:
    """The matrices along the diagonal of one, zeros elsewhere; numbers and vectors are rows."""
    matrices = [_at_least(x, 2) for x in tensors]
    if not matrices or any(x.ndim > 2 for x in matrices):
        raise ShapeError(f"block_diag: one matrix or more is expected, got shapes {[tuple(x.shape) for x in tensors]}")
    columns = [x.shape[1] for x in matrices]
    rows, start = [], 0
    for x in matrices:
        at = (slice(None), slice(start, start + x.shape[1]))
        rows.append(_unslice(x, at=at, shape=(x.shape[0], sum(columns))))
        start += x.shape[1]
    return cat(rows, 0)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension on their diagonal (the one `offset` above it), zeros elsewhere.

    dim1, dim2: which dimensions of the result are those of the matrices.
    """
    if not input.ndim:
        raise ShapeError("diag_embed: a tensor of at least one dimension is expected, got a single number")
    n, ndim = input.shape[-1] + abs(offset), input.ndim + 1
    axis1, axis2 = (axis_of("diag_embed", d, ndim, "a result") for d in (dim1, dim2))
    if axis1 == axis2:
        raise ShapeError(f"diag_embed: two different dimensions are expected, got {dim1} and {dim2}")
    rest = iter(input.shape[:-1])
    shape = tuple(n if i in (axis1, axis2) else next(rest) for i in range(ndim))
    return _undiagonal(input, shape=shape, offset=offset, axis1=axis1, axis2=axis2)


__all__ = [
    "block_diag",
    "broadcast_tensors",
    "column_stack",
    "diag_embed",
    "dstack",
    "fliplr",
    "flipud",
    "hstack",
    "moveaxis",
    "ravel",
    "rot90",
    "swapaxes",
    "swapdims",
    "tensor_split",
    "unfold",
    "vstack",
]
