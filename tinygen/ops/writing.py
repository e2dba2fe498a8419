"""Copies of a tensor with something written into them, or added, along one dimension or under a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.engine import Node, expand
from tinygen.errors import ShapeError
from tinygen.ops.index import add_at, raw_index, take, write_at
from tinygen.ops.search import _whose_number_counts
from tinygen.ops.shape import axis_of, flatten, reshape

if TYPE_CHECKING:
    from tinygen.tensor import Tensor


def _at(name: str, x: Any, dim: int, index: Any) -> tuple[Tensor, ...]:
    """The slices along `dim` that a one-dimensional integer tensor lists."""
    axis = axis_of(name, dim, x.ndim)
    index = raw_index(x, index)
    if index.ndim > 1 or index.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: the index must be a one-dimensional tensor of integers, got {index.dtype} {tuple(index.shape)}"
        )
    return (slice(None),) * axis + (index.reshape(-1),)


def _fits(name: str, x: Any, dim: int, at: tuple[Any, ...], source: Any) -> Any:
    axis = axis_of(name, dim, x.ndim)
    wanted = (*x.shape[:axis], len(at[-1]), *x.shape[axis + 1 :])
    if tuple(source.shape) != wanted and not (source.ndim == 0 and x.ndim == 1 and len(at[-1]) == 1):
        raise ShapeError(
            f"{name}: a source of shape {wanted} is expected, one slice per index, got {tuple(source.shape)}"
        )
    return reshape(source, wanted)


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """A copy of input with alpha times source's slices along `dim` added at the places that index lists; equal ones add up."""
    at = _at("index_add", input, dim, index)
    source = _fits("index_add", input, dim, at, source)
    return input + add_at(source if alpha == 1 else source * alpha, at=at, shape=tuple(input.shape))


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Tensor:
    """A copy of input with source's slices along `dim` written at the places that index lists, each place once."""
    at = _at("index_copy", input, dim, index)
    return write_at(input, _fits("index_copy", input, dim, at, source), at=at)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Tensor:
    """A copy of input with a number (or a tensor of one) written into the slices along `dim` that index lists.

    value: that number.  index: one-dimensional, integers.
    """
    if getattr(value, "ndim", 0):
        raise ShapeError(f"index_fill: a single value is expected, got shape {tuple(value.shape)}")
    return write_at(input, value, at=_at("index_fill", input, dim, index))


def masked_scatter(input: Any, mask: Any, source: Any) -> Tensor:
    """A copy of input whose elements where mask is true are those of source, one after the other.

    mask broadcasts with the input; source has at least as many elements as mask has true ones.
    """
    if mask.dtype.kind != "b":
        raise TypeError(f"masked_scatter: the mask must hold truth values, got {mask.dtype}")
    array = _whose_number_counts(mask).array if isinstance(mask, Node) else mask
    shape = tuple((array & True).shape)
    if tuple(input.shape) != shape:
        shape = np.broadcast_shapes(tuple(input.shape), shape)
        input, array = expand(input, shape=shape), expand(array, shape=shape)
    count, have = int(array.sum()), source.size if not isinstance(source, Node) else source.array.size
    if have < count:
        raise ShapeError(f"masked_scatter: the mask has {count} true elements, and the source only {have}")
    return write_at(input, take(flatten(source), at=slice(count)), at=array.copy())


def fill_diagonal(input: Any, fill_value: Any, wrap: bool = False) -> Tensor:
    """A copy with a number on the main diagonal (Tensor.fill_diagonal_ is its form in place, and PyTorch's only one).

    wrap: in a tall matrix the diagonal begins again after each square, one row further down.
    """
    if input.ndim < 2 or input.ndim > 2 and len(set(input.shape)) > 1:
        raise ShapeError(
            f"fill_diagonal_: a matrix, or more dimensions of one size, are expected, got shape {tuple(input.shape)}"
        )
    columns = input.shape[1]
    if input.ndim == 2:  # one row down and one to the right, in the order of memory
        places = np.arange(0, input.shape[0] * columns if wrap else min(input.shape) * columns, columns + 1)
        at: tuple[Any, ...] = (places // max(columns, 1), places % max(columns, 1))
    else:
        at = (np.arange(columns),) * input.ndim
    return write_at(input, fill_value, at=raw_index(input, at))


__all__ = ["fill_diagonal", "index_add", "index_copy", "index_fill", "masked_scatter"]
