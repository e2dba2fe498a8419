"""Where something is, and what there is: no gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen import memory
from tinygen.backend import device_of, to_device
from tinygen.engine import Node, Op, cast, name_operators
from tinygen.errors import ShapeError, expect_tensor
from tinygen.ops.elementwise import abs, isfinite, isnan
from tinygen.ops.elementwise import where as _where
from tinygen.ops.shape import axis_of, reshape, unbind

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

_places = Op(lambda xp, x: xp.stack(xp.nonzero(x if x.ndim else x.reshape(1)), -1)[:, : x.ndim].astype(np.int64))
_insertion = Op(lambda xp, a, x, right: _insertion_points(xp, a, x, "right" if right else "left"))
_distinct  = Op(lambda xp, x, axis: xp.unique(x, axis=axis, equal_nan=False),  any_dtype=True)
_number    = Op(lambda xp, x, axis: _numbers(xp, x, axis))
_frequency = Op(lambda xp, x, axis: xp.unique(x, return_counts=True, axis=axis, equal_nan=False)[1].astype(np.int64))

# fmt: on

_FEW = 1 << 20
"""Comparisons."""


def _numbers(xp: Any, x: Any, axis: int | None) -> Any:
    """For every element its place among the distinct ones."""
    numbers = xp.unique(x, return_inverse=True, axis=axis, equal_nan=False)[1].astype(np.int64)
    return numbers.reshape(x.shape if axis is None else -1)


def _insertion_points(xp: Any, a: Any, x: Any, side: str) -> Any:
    if a.ndim == 1:
        return xp.searchsorted(a, x.reshape(-1), side).reshape(x.shape).astype(np.int64)
    if a.size * x.shape[-1] <= _FEW:  # counted: quicker than many searches, also in CuPy
        beyond = (a[..., None, :] > x[..., :, None]) if side == "right" else (a[..., None, :] >= x[..., :, None])
        return (a.shape[-1] - beyond.sum(-1)).astype(np.int64)  # nan is not below anything: it belongs at the end
    count = math.prod(a.shape[:-1])
    rows, values = a.reshape(count, a.shape[-1]), x.reshape(count, x.shape[-1])
    found = [xp.searchsorted(rows[i], values[i], side) for i in range(len(rows))]
    return (xp.stack(found) if found else xp.zeros(x.shape)).reshape(x.shape).astype(np.int64)


name_operators(globals())


def _whose_number_counts(x: Any) -> Any:
    """x, of which a step that is being recorded must know how many elements are true: it looks at its numbers."""
    if isinstance(x, Node) and memory.here.recorder is not None:
        memory.here.recorder.looked_at(x.array)
    return x


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero: (number, ndim), int64; as_tuple: one tensor per dimension.

    x[nonzero(x, as_tuple=True)] are these elements.
    """
    expect_tensor("nonzero", input)
    _whose_number_counts(input)
    if not as_tuple:
        return _places(input)
    return tuple(unbind(_places(input if input.ndim else reshape(input, 1)), 1))


def argwhere(input: Any) -> Tensor:
    """The indices of the elements that are not zero: (number, ndim), int64."""
    return nonzero(input)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where condition is true, other elsewhere: tensors that broadcast, or numbers, promoted as in arithmetic.

    where(condition) alone is nonzero(condition, as_tuple=True).
    """
    if (input is None) != (other is None):
        raise TypeError("where: either condition alone is expected, or condition, input and other")
    return nonzero(condition, as_tuple=True) if input is None else _where(condition, input, other)


def searchsorted(
    sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None
) -> Tensor:
    """Where each value is to be inserted into an ascending sequence so that it stays ascending: int64.

    sorted_sequence: (n,), or (*, n) and then input is (*, m).  input: a tensor or a number.
    Between equal ones it is the first place, or with right=True, side="right", the last.
    out_int32: int32 instead of int64.
    """
    if side not in (None, "left", "right") or side == "left" and right:
        raise ValueError(
            f"searchsorted: side must be 'left' or 'right', and not against right, got {side!r}, right={right}"
        )
    if not hasattr(input, "shape"):
        sequence = sorted_sequence.array if isinstance(sorted_sequence, Node) else sorted_sequence
        input = to_device(np.asarray(input), device_of(sequence))
    if (
        sorted_sequence.ndim == 0
        or sorted_sequence.ndim > 1
        and tuple(sorted_sequence.shape[:-1]) != tuple(input.shape[:-1])
    ):
        raise ShapeError(
            f"searchsorted: a sequence (n,), or (*, n) for values (*, m), is expected, got {tuple(sorted_sequence.shape)} and "
            f"{tuple(input.shape)}"
        )
    out = _insertion(sorted_sequence, input, right=right or side == "right")
    return cast(out, dtype=np.dtype(np.int32)) if out_int32 else out


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the interval between ascending boundaries that each value lies in, int64: searchsorted(boundaries, input).

    An interval holds its upper end; with right=True its lower one.
    out_int32: int32 instead of int64.
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"bucketize: boundaries of one dimension are expected, got shape {tuple(boundaries.shape)}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The distinct elements in ascending order, or with `dim` the distinct slices along it.

    return_inverse: also for every element its number among them.  return_counts: also how often each comes.
    Two nan are distinct.  sorted=False changes nothing: the result is sorted anyway.
    """
    expect_tensor("unique", input)
    axis = None if dim is None else axis_of("unique", dim, input.ndim)
    distinct = _distinct(_whose_number_counts(input), axis=axis)
    more = ([_number(input, axis=axis)] if return_inverse else []) + (
        [_frequency(input, axis=axis)] if return_counts else []
    )
    return (distinct, *more) if more else distinct


def isclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol |other|, elementwise; infinities are close to themselves only.

    equal_nan: whether nan is close to nan.
    """
    if input.dtype.kind == "b" and other.dtype.kind == "b":
        return input == other
    near = abs(input - other) <= atol + rtol * abs(other)
    close = (isfinite(input) & isfinite(other) & near) | (input == other)
    return close | (isnan(input) & isnan(other)) if equal_nan else close


def allclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close: see isclose."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


__all__ = ["allclose", "argwhere", "bucketize", "isclose", "nonzero", "searchsorted", "unique", "where"]
