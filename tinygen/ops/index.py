"""Choosing elements: indexing, gather and scatter.  Reading at an index is a linear map; its transpose adds at the index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygen.backend import array_module, backend_of, device_of, is_array, to_device
from tinygen.engine import Node, Op, cast, expand, name_operators
from tinygen.errors import ShapeError
from tinygen.layout import accumulator
from tinygen.ops.elementwise import where
from tinygen.ops.shape import _slice, axis_of, flatten, reshape, whole

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

_FEW = 512  # values of float32 that may be added up one after another

# fmt: off

# `at` is an index as NumPy understands it: slices, integers, None, ..., boolean masks, integer arrays
take      = Op(lambda xp, x, at: x[at],                           lambda g, _, _x, at: add_at(g, at=at, shape=_x.shape))
add_at    = Op(lambda xp, y, at, shape: _add_at(xp, y, at, shape),  lambda g, _, _y, at, shape: take(g, at=at))
# x with x[at] = y.  last: None, or for every element of y the number of the one that stays at its place (see write_at)
put       = Op(lambda xp, x, y, at, last=None: _put(xp, x, y, at, last),  lambda g, _, _x, _y, at, last=None: put(g, 0.0, at=at),
                                                                  lambda g, _, _x, _y, at, last=None: _of_written(take(g, at=at), _y, last))

# fmt: on


def _add_at(xp: Any, y: Any, at: Any, shape: tuple[int, ...]) -> Any:
    """Zeros with y added at the index.  The same place may come up again and again: added up in a more exact dtype."""
    wide = accumulator(y.dtype) if y.dtype.kind == "f" and (y.size > _FEW or y.dtype.char == "e") else None
    x = xp.zeros(shape, wide or y.dtype)
    backend_of(x).add_at(x, at, y if wide is None else y.astype(wide))
    return x if wide is None else x.astype(y.dtype)


def _put(xp: Any, x: Any, y: Any, at: Any, last: Any) -> Any:
    x = x.copy()
    assign(x, at, y if last is None else _spread_to(xp, y, last.shape).reshape(-1)[last])
    return x


def assign(x: Any, at: Any, y: Any) -> None:
    """x[at] = y on arrays, where a place of one element takes an array of one element, of any number of dimensions."""
    parts = at if isinstance(at, tuple) else (at,)
    is_element = len(parts) == x.ndim and all(isinstance(p, int | np.integer) for p in parts)
    x[(*parts, ...) if is_element else at] = y


def _spread_to(xp: Any, y: Any, shape: tuple[int, ...]) -> Any:
    """y broadcast to a shape, where an assignment allows leading 1s that the shape does not have."""
    return xp.broadcast_to(y.reshape(y.shape[max(y.ndim - len(shape), 0) :]), shape)


def _of_written(g: Any, y: Any, last: Any) -> Any:
    """What an element of y gets of the gradient at its place: nothing if another one was written over it."""
    if last is not None:
        numbers = array_module(last).arange(last.size).reshape(last.shape)
        g = where(last == numbers, g, 0.0)
    return reshape(g, (1,) * (y.ndim - g.ndim) + tuple(g.shape)) if y.ndim > g.ndim else g


name_operators(globals())


def _is_basic(key: Any) -> bool:
    """Whether indexing with the key gives a view and reads no element twice."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) and not isinstance(p, bool) for p in parts
    )


def raw_index(x: Any, key: Any) -> Any:
    """The index that a user wrote, with tensors and lists as arrays on the device of x."""
    _refuse_nested(key)
    _check_slices(key)
    if isinstance(key, tuple):
        return tuple(_raw_part(x, k) for k in key)
    return _raw_part(x, key)


def _refuse_nested(key: Any) -> None:
    """A list that holds more than numbers: PyTorch takes it for a tuple, NumPy for one array; so it is neither."""
    if isinstance(key, list) and any(
        part is None or part is Ellipsis or isinstance(part, slice | list | tuple | range | Node) or is_array(part)
        for part in key
    ):
        raise IndexError(
            f"index: a list of {type(key[0]).__name__} may mean one index per dimension, or one array of indices; for the first "
            "write a tuple, x[a, b], for the second a tensor, x[tinygen.tensor(...)] or x[tinygen.stack([...])]"
        )


def _raw_part(x: Any, part: Any) -> Any:
    if part is None or part is Ellipsis or isinstance(part, slice | int | np.integer | np.bool_):
        return part
    if isinstance(part, Node):
        if part.dtype == np.uint8:
            raise IndexError("index: a tensor of uint8 could be a mask or integers; use .bool() or .long()")
        part = part.array.copy()  # it may change before the derivative is computed
    elif isinstance(part, list | tuple | range):
        part = np.asarray(list(part), dtype=None if len(part) else np.int64)
    if not is_array(part):
        kind = IndexError if isinstance(part, float) else TypeError
        raise kind(f"index: slices, integers, tensors, lists, None and ... are understood, got {type(part).__name__}")
    if part.dtype.kind not in "biu":
        raise IndexError(f"index: a tensor used as an index must hold integers or booleans, got {part.dtype}")
    array = x.array if isinstance(x, Node) else x
    if device_of(part) != device_of(array):
        if not isinstance(part, np.ndarray):
            raise RuntimeError(
                f"index: the index is on {device_of(part)}, the tensor on {device_of(array)}; move one of them"
            )
        part = to_device(part, device_of(array))
    return part


def write_at(input: Any, value: Any, at: Any) -> Tensor:
    """input with input[at] = value, for an index as `raw_index` makes it.

    A place that occurs several times keeps the last value that is written there, and only that one gets a gradient.
    """
    return put(input, value, at=at, last=_last_at_each_place(input, at) if isinstance(value, Node) else None)


def _last_at_each_place(x: Any, at: Any) -> Any:
    """For every element that is written to x[at] the number of the one that stays at its place; None if no place can occur twice."""
    parts = at if isinstance(at, tuple) else (at,)
    if not any(is_array(p) and p.dtype.kind in "iu" and p.size > 1 for p in parts):
        return None
    xp = array_module(x.array if isinstance(x, Node) else x)
    written = xp.zeros(x.shape, np.int64)
    shape = written[at].shape
    written[at] = xp.arange(math.prod(shape)).reshape(shape)
    return written[at]


def _check_slices(key: Any) -> None:
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, slice) and part.step is not None and part.step < 0:
            raise ValueError("index: the step of a slice must be positive; use flip to reverse a dimension")


def index(input: Any, key: Any) -> Tensor:
    """input[key] with slices (a view), integers, boolean masks, integer tensors or lists, None and `...`.

    Refused, since PyTorch and NumPy understand different things: lists of lists, slices or tensors, and tensors of uint8.
    Slices with a negative step raise ValueError, as in PyTorch: use flip.  Raises IndexError when an index is out of range.
    """
    if _is_basic(key):
        _check_slices(key)
        return _slice(input, at=key)
    return take(input, at=raw_index(input, key))


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """`value` (a number, or a tensor of one) where mask is true, input elsewhere; in the input's dtype.

    mask: truth values; its shape broadcasts with the input's.  Raises TypeError for a number that the dtype cannot hold, such
    as 1.5 among integers, which PyTorch cuts off.
    """
    if isinstance(value, Node):
        return where(mask, value if value.dtype == input.dtype else cast(value, dtype=input.dtype), input)
    if input.dtype.kind != "f":
        low, high = (0, 1) if input.dtype.kind == "b" else (np.iinfo(input.dtype).min, np.iinfo(input.dtype).max)
        if not low <= value <= high or int(value) != value:
            raise TypeError(
                f"masked_fill: a tensor of {input.dtype} cannot hold {value}; use input.float() or an integer"
            )
        value = bool(value) if input.dtype.kind == "b" else int(value)
    return where(mask, value, input)


def masked_select(input: Any, mask: Any) -> Tensor:
    """The elements where mask is true, in one dimension.  mask: truth values; its shape broadcasts with the input's."""
    if mask.dtype.kind != "b":
        raise TypeError(f"masked_select: the mask must hold truth values, got {mask.dtype}; use mask.bool()")
    if tuple(mask.shape) != tuple(input.shape):
        shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
        input, mask = expand(input, shape=shape), expand(mask, shape=shape)
    return index(input, mask)


def gather(input: Any, dim: int, index: Any) -> Tensor:
    """out[i, j, ...] = input[index[i, j, ...], j, ...] for dim = 0, and so on for other dims."""
    axis = axis_of("gather", dim, input.ndim)
    return take(input, at=_along("gather", input.shape, axis, index))


def _along(name: str, shape: Sequence[int], axis: int, index: Any) -> tuple[Any, ...]:
    index = index.array.copy() if isinstance(index, Node) else index  # it may change before the derivative is computed
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: the index must hold integers, got {index.dtype}")
    if index.ndim != len(shape) or any(index.shape[i] > n for i, n in enumerate(shape) if i != axis):
        raise ShapeError(
            f"{name}: an index of shape {tuple(index.shape)} does not fit a tensor of shape {tuple(shape)}: the same number of "
            f"dimensions is needed, and no size larger than the tensor's except along dim {axis}"
        )
    if index.size and not (0 <= int(index.min()) and int(index.max()) < shape[axis]):
        raise IndexError(
            f"{name}: indices from {int(index.min())} to {int(index.max())} are out of range for dim {axis} of size {shape[axis]}"
        )
    grids = []
    for i in range(len(shape)):
        line = np.arange(index.shape[i]).reshape(tuple(-1 if k == i else 1 for k in range(len(shape))))
        grids.append(index if i == axis else to_device(line, device_of(index)))
    return tuple(grids)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """A copy of input with src added at the places that gather(dim, index) reads: the transpose of gather."""
    axis = axis_of("scatter_add", dim, input.ndim)
    at = _along("scatter_add", input.shape, axis, index)
    return input + add_at(_part_for("scatter_add", src, index), at=at, shape=tuple(input.shape))


def _part_for(name: str, src: Any, index: Any) -> Any:
    """The elements of src that the index, which may be smaller, asks for."""
    if src.ndim != index.ndim or any(n < k for n, k in zip(src.shape, index.shape, strict=True)):
        raise ShapeError(
            f"{name}: src has shape {tuple(src.shape)}, the index {tuple(index.shape)}; src must be at least as large everywhere"
        )
    return _slice(src, at=tuple(slice(n) for n in index.shape))


def scatter(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """A copy of input with src (a tensor or a number) written at the places that gather(dim, index) reads."""
    axis = axis_of("scatter", dim, input.ndim)
    at = _along("scatter", input.shape, axis, index)
    if not isinstance(src, int | float):
        src = _part_for("scatter", src, index)
    return write_at(input, src, at)


def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """The slices along `dim` that the one-dimensional integer tensor lists.  index: that tensor."""
    axis = axis_of("index_select", dim, input.ndim)
    at = (slice(None),) * axis + (raw_index(input, index),)
    return take(input, at=at)


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Tensor:
    """gather, where sizes other than that of `dim` broadcast; with dim=None in the flattened tensor.

    indices: integers, with as many dimensions as input.
    """
    if dim is None:
        return gather(flatten(input), 0, flatten(indices))
    axis = axis_of("take_along_dim", dim, input.ndim)
    if indices.ndim != input.ndim:
        raise ShapeError(
            f"take_along_dim: indices of shape {tuple(indices.shape)} for a tensor of shape {tuple(input.shape)}; both need the "
            "same number of dimensions"
        )
    others = [(a, b) for i, (a, b) in enumerate(zip(input.shape, indices.shape, strict=True)) if i != axis]
    common = tuple(max(a, b) for a, b in others)

    def with_axis(n: int) -> tuple[int, ...]:
        return (*common[:axis], n, *common[axis:])

    return gather(
        expand(input, shape=with_axis(input.shape[axis])), axis, expand(indices, shape=with_axis(indices.shape[axis]))
    )


class ValuesAndIndices(NamedTuple):
    """What max(dim), min(dim), sort and topk return."""

    values: Tensor
    indices: Tensor


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesAndIndices:
    """(values, indices) in ascending order along `dim`.  Equal elements keep their order, also with stable=False.

    descending: the largest first.
    """
    axis_of("sort", dim, input.ndim or 1)
    indices = argsort(input, dim, descending)
    return ValuesAndIndices(gather(input, dim, indices) if input.ndim else input * 1, indices)


_argsort = Op(lambda xp, x, axis, descending: _stable_argsort(xp, x, axis, descending))


def _stable_argsort(xp: Any, x: Any, axis: int, descending: bool) -> Any:
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    n = x.shape[axis]
    return xp.flip(n - 1 - xp.argsort(xp.flip(x, axis), axis=axis, kind="stable"), axis)


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort the tensor along `dim`.  Equal elements keep their order, also with stable=False.  No gradient.

    descending: the largest first.
    """
    axis = axis_of("argsort", dim, input.ndim or 1)
    if not input.ndim:
        return reshape(_argsort(reshape(input, 1), axis=0, descending=descending), ())
    return _argsort(input, axis=axis, descending=descending)


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """(values, indices) of the k largest (or smallest) elements along `dim`, the most extreme first, also with sorted=False."""
    axis = axis_of("topk", dim, input.ndim or 1)
    k = whole("topk", k=k)
    if not input.ndim:
        if k != 1:
            raise IndexError(f"topk: k must be 1 for a single number, got {k}")
        return sort(input)
    if not 0 <= k <= input.shape[axis]:
        raise IndexError(f"topk: k must be between 0 and {input.shape[axis]}, the size of dim {dim}, got {k}")
    values, indices = sort(input, axis, descending=largest)
    at = (slice(None),) * axis + (slice(k),)
    return ValuesAndIndices(_slice(values, at=at), _slice(indices, at=at))


def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """int64 tensor of shape (*input.shape, num_classes) with a 1 at each class number."""
    if num_classes == -1:
        num_classes = int(input.max().item()) + 1 if math.prod(input.shape) else 0
    array = input.array if isinstance(input, Node) else input
    if array.dtype.kind not in "iu":
        raise TypeError(f"one_hot: class numbers must be integers, got {array.dtype}; use input.long()")
    classes = to_device(np.arange(num_classes), device_of(array))
    if array.size and not (0 <= int(array.min()) and int(array.max()) < num_classes):
        raise ValueError(
            f"one_hot: class numbers must be between 0 and {num_classes - 1}, got {int(array.min())} to {int(array.max())}"
        )
    return cast(reshape(input, (*input.shape, 1)) == classes, dtype=np.dtype(np.int64))


name_operators(globals())
