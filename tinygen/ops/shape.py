"""Operators that move elements: each rule moves the gradient back.

Most are views: the output shares memory with the input, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.engine import Op, expand, name_operators
from tinygen.errors import ShapeError

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

# fmt: off

_reshape   = Op(lambda xp, x, shape: x.reshape(shape),        lambda g, _, _x, shape: _reshape(g, shape=_x.shape),                  view=True)
_transpose = Op(lambda xp, x, axes: x.transpose(axes),        lambda g, _, _x, axes: _transpose(g, axes=_inverse(axes)),            view=True)
mT         = Op(lambda xp, x: x.swapaxes(-1, -2),             lambda g, *_: mT(g),                                                  view=True,
                doc="The last two dimensions swapped: the transpose of every matrix.  x: (*, n, m).  Returns (*, m, n), a view.")
_flip      = Op(lambda xp, x, axis: xp.flip(x, axis),         lambda g, _, _x, axis: _flip(g, axis=axis),                           view=True)
_roll      = Op(lambda xp, x, shifts, axis: xp.roll(x, shifts, axis),
                                                              lambda g, _, _x, shifts, axis: _roll(g, shifts=tuple(-s for s in shifts), axis=axis))
_concatenate = Op(lambda xp, *xs, axis: xp.concatenate(xs, axis),  each=lambda i: lambda g, _, *_xs, axis: _part(g, _xs, i, axis))
_stack     = Op(lambda xp, *xs, axis: xp.stack(xs, axis),     each=lambda i: lambda g, _, *_xs, axis: _slice(g, at=(slice(None),) * axis + (i,)))
_slice     = Op(lambda xp, x, at: _view_at(x, at),             lambda g, _, _x, at: _unslice(g, at=at, shape=_x.shape),              view=True)
_unslice   = Op(lambda xp, y, at, shape: _fill_slice(xp, y, at, shape),
                                                              lambda g, _, _y, at, shape: _slice(g, at=at))
_diagonal  = Op(lambda xp, x, offset, axis1, axis2: xp.diagonal(x, offset, axis1, axis2),
                lambda g, _, _x, offset, axis1, axis2: _undiagonal(g, shape=_x.shape, offset=offset, axis1=axis1, axis2=axis2),     view=True)
_undiagonal = Op(lambda xp, y, shape, offset, axis1, axis2: _fill_diagonal(xp, y, shape, offset, axis1, axis2),
                lambda g, _, _y, shape, offset, axis1, axis2: _diagonal(g, offset=offset, axis1=axis1, axis2=axis2))
_tril      = Op(lambda xp, x, k: xp.tril(x, k),               lambda g, _, _x, k: _tril(g, k=k))
_triu      = Op(lambda xp, x, k: xp.triu(x, k),               lambda g, _, _x, k: _triu(g, k=k))
clone      = Op(lambda xp, x: x.copy(),                       lambda g, *_: g,
                doc="The same values in memory of their own; gradients flow through it.  x: any shape.  Returns the same shape and dtype.")
_contiguous = Op(lambda xp, x: xp.ascontiguousarray(x).reshape(x.shape),  lambda g, *_: g,                                          view=True)

# fmt: on


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(axes))


def _part(g: Any, xs: Sequence[Any], i: int, axis: int) -> Any:
    """The part of the concatenation that came from xs[i]."""
    start = sum(x.shape[axis] for x in xs[:i])
    return _slice(g, at=(slice(None),) * axis + (slice(start, start + xs[i].shape[axis]),))


def _view_at(x: Any, at: Any) -> Any:
    """x[at], also for a single element a view (NumPy would return a number)."""
    out = x[at]
    return out if isinstance(out, type(x)) else x[(*at, ...) if isinstance(at, tuple) else (at, ...)]


def _fill_slice(xp: Any, y: Any, at: Any, shape: tuple[int, ...]) -> Any:
    x = xp.zeros_like(y, shape=shape)  # with the order of memory of y
    x[at] = y
    return x


def _fill_diagonal(xp: Any, y: Any, shape: tuple[int, ...], offset: int, axis1: int, axis2: int) -> Any:
    x = xp.zeros(shape, y.dtype)
    rest = [i for i in range(len(shape)) if i not in (axis1, axis2)]
    n = y.shape[-1]
    rows = xp.arange(n) + (-offset if offset < 0 else 0)
    columns = xp.arange(n) + (offset if offset > 0 else 0)
    x.transpose(*rest, axis1, axis2)[..., rows, columns] = y
    return x


name_operators(globals())


def axis_of(name: str, dim: int, ndim: int, of: str = "a tensor") -> int:
    """A non-negative axis from PyTorch's `dim`.  Raises IndexError when it is out of range, TypeError for no integer."""
    if dim is True or dim is False:
        raise TypeError(f"{name}: dim must be an integer, got {dim}; an option such as keepdim={dim} goes by its name")
    try:
        axis = index(dim)
    except TypeError as error:
        raise TypeError(f"{name}: dim must be an integer, got {dim!r}") from error
    if not -ndim <= axis < ndim:
        there_are = f"; it must be from {-ndim} to {ndim - 1}" if ndim else ""
        raise IndexError(f"{name}: dim {dim} is out of range for {of} with {ndim} dimensions{there_are}")
    return axis % ndim


def sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence: f(2, 3) and f((2, 3))."""
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = shape[0]
    if bool in map(type, shape):
        raise TypeError(f"sizes must be integers, got {tuple(shape)}")
    try:
        return tuple(index(n) for n in shape)
    except TypeError as error:
        raise TypeError(f"sizes must be integers, got {tuple(shape)}") from error


def whole(name: str, **number: Any) -> int:
    """The one number that is given by its name.  Raises TypeError if it is no integer, or a truth value."""
    ((what, n),) = number.items()
    try:
        if isinstance(n, bool):
            raise TypeError
        return index(n)
    except TypeError:
        raise TypeError(f"{name}: {what} must be an integer, got {n!r}") from None


def reshape(input: Any, *shape: Any) -> Tensor:
    """The same elements in the same order in another shape; one size may be -1.  A view where the memory allows it."""
    new = sizes(shape)
    if len(new) == input.ndim and new == input.shape:
        return _reshape(input, shape=new)
    size, known = math.prod(input.shape), math.prod(n for n in new if n != -1)
    unknown = new.count(-1)
    if unknown > 1 or any(n < -1 for n in new) or (size % known if unknown and known else size != known):
        raise ShapeError(
            f"reshape: {size} elements of shape {tuple(input.shape)} do not fit into shape {new}; "
            "the product of the sizes must stay the same (one size may be -1: it is computed)"
        )
    return _reshape(input, shape=new)


def view(input: Any, *shape: Any) -> Tensor:
    """Like reshape.  PyTorch's view refuses memory that is not contiguous; here it is copied, as reshape does."""
    return reshape(input, *shape)


def view_as(input: Any, other: Any) -> Tensor:
    """The same elements in the shape of another tensor: input.reshape(other.shape)."""
    return reshape(input, tuple(other.shape))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim become one."""
    if not input.ndim:
        return reshape(input, 1)
    start, end = axis_of("flatten", start_dim, input.ndim), axis_of("flatten", end_dim, input.ndim)
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = tuple(input.shape)
    return reshape(input, shape[:start] + (math.prod(shape[start : end + 1]),) + shape[end + 1 :])


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension `dim` becomes several, of the given sizes; one may be -1."""
    axis = axis_of("unflatten", dim, input.ndim)
    shape = tuple(input.shape)
    sizes = tuple(whole("unflatten", sizes=n) for n in sizes)
    if -1 in sizes and sizes.count(-1) == 1 and (known := math.prod(n for n in sizes if n != -1)):
        sizes = tuple(shape[axis] // known if n == -1 else n for n in sizes)
    if math.prod(sizes) != shape[axis]:
        raise ShapeError(f"unflatten: sizes {sizes} do not multiply to {shape[axis]}, the size of dim {dim} of {shape}")
    return reshape(input, shape[:axis] + sizes + shape[axis + 1 :])


def permute(input: Any, *dims: Any) -> Tensor:
    """Dimension i of the result is dimension dims[i] of the input."""
    order = tuple(axis_of("permute", d, input.ndim) for d in sizes(dims))
    if sorted(order) != list(range(input.ndim)):
        raise ShapeError(f"permute: {sizes(dims)} is not a permutation of the {input.ndim} dimensions of {input.shape}")
    return _transpose(input, axes=order)


def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped.  dim0, dim1: the two."""
    order = list(range(input.ndim))
    if input.ndim:
        i, j = axis_of("transpose", dim0, input.ndim), axis_of("transpose", dim1, input.ndim)
        order[i], order[j] = j, i
    return _transpose(input, axes=tuple(order))


def t(input: Any) -> Tensor:
    """The transpose of a matrix; vectors and numbers stay what they are."""
    if input.ndim > 2:
        raise ShapeError(
            f"t: a tensor of at most 2 dimensions is expected, got shape {tuple(input.shape)}; use mT or permute"
        )
    return mT(input) if input.ndim == 2 else input


def movedim(input: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dimension `source` (or several) moved to `destination`, the others in their order."""
    both = (source, destination)
    sources, targets = (
        [axis_of("movedim", d, input.ndim) for d in (x if isinstance(x, tuple | list) else (x,))] for x in both
    )
    if len(sources) != len(targets) or len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise ShapeError(
            f"movedim: different dimensions, and as many places, are expected, got {source} and {destination}"
        )
    order = [i for i in range(input.ndim) if i not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return _transpose(input, axes=tuple(order))


def squeeze(input: Any, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dimensions of size 1, or without those of `dim` that have size 1."""
    dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    drop = {axis_of("squeeze", d, input.ndim) for d in dims} if input.ndim else set()
    return _reshape(input, shape=tuple(n for i, n in enumerate(input.shape) if i not in drop or n != 1))


def unsqueeze(input: Any, dim: int) -> Tensor:
    """With a new dimension of size 1 at `dim`."""
    axis = axis_of("unsqueeze", dim, input.ndim + 1, "a result")
    return _reshape(input, shape=(*input.shape[:axis], 1, *input.shape[axis:]))


def broadcast_to(input: Any, size: Sequence[int]) -> Tensor:
    """Dimensions of size 1 (and new leading ones) repeated to `size`, without copying; -1 keeps a size."""
    new = sizes((size,) if isinstance(size, tuple | list) else size)
    old = (None,) * (len(new) - input.ndim) + tuple(input.shape)
    new = tuple(
        o if n == -1 and o is not None else n for n, o in zip(new, old[-len(new) :] if new else (), strict=False)
    )
    if len(new) < input.ndim or any(o not in (None, 1, n) or n < 0 for n, o in zip(new, old, strict=True)):
        raise ShapeError(
            f"expand: shape {tuple(input.shape)} cannot be expanded to {tuple(size)}; only dimensions of size 1 can grow, "
            "and new ones only in front"
        )
    return expand(input, shape=new)


def expand_dims(input: Any, *size: Any) -> Tensor:
    """Tensor.expand: `broadcast_to` with the sizes one by one."""
    return broadcast_to(input, sizes(size))


def expand_as(input: Any, other: Any) -> Tensor:
    """Repeated, without copying, to the shape of another tensor: input.expand(other.shape)."""
    return broadcast_to(input, tuple(other.shape))


def tile(input: Any, *dims: Any) -> Tensor:
    """The tensor repeated dims[i] times along dimension i; dims shorter than the shape count from the last dimension."""
    counts = sizes(dims)
    if any(n < 0 for n in counts):
        raise ShapeError(f"tile: the number of repetitions must not be negative, got {counts}")
    shape = (1,) * (len(counts) - input.ndim) + tuple(input.shape)
    counts = (1,) * (len(shape) - len(counts)) + counts
    pairs = tuple(k for n, s in zip(counts, shape, strict=True) for k in (n, s))
    x = reshape(input, tuple(k for s in shape for k in (1, s)))
    # As in PyTorch the result owns its memory: where reshape needs no copy it would be a read-only view of the input.
    return clone(reshape(expand(x, shape=pairs), tuple(n * s for n, s in zip(counts, shape, strict=True))))


def repeat(input: Any, *sizes_: Any) -> Tensor:
    """Like tile, but one number for every dimension is required (torch.Tensor.repeat).

    sizes_: how often, for every dimension; more of them than dimensions make new ones in front.
    """
    if len(sizes(sizes_)) < input.ndim:
        raise ShapeError(
            f"repeat: {sizes(sizes_)} gives fewer numbers than the {input.ndim} dimensions of {input.shape}"
        )
    return tile(input, *sizes_)


def repeat_interleave(input: Any, repeats: int, dim: int | None = None) -> Tensor:
    """Every element (or slice along `dim`) repeated `repeats` times in place: [a, b] -> [a, a, b, b]."""
    if dim is None:
        input, dim = flatten(input), 0
    axis = axis_of("repeat_interleave", dim, input.ndim)
    repeats = whole("repeat_interleave", repeats=repeats)
    if repeats < 0:
        raise ValueError(f"repeat_interleave: the number of repetitions must not be negative, got {repeats}")
    shape = tuple(input.shape)
    x = expand(unsqueeze(input, axis + 1), shape=(*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return clone(reshape(x, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :])))


def _same_rank(name: str, tensors: Sequence[Any]) -> list[Any]:
    if hasattr(tensors, "ndim") or not all(hasattr(x, "ndim") for x in tensors):
        kinds = type(tensors).__name__ if hasattr(tensors, "ndim") else [type(x).__name__ for x in tensors]
        raise TypeError(f"{name}: a sequence of tensors is expected, as in {name}([x, y]), got {kinds}")
    tensors = list(tensors)
    if not tensors:
        raise ValueError(f"{name}: a non-empty sequence of tensors is expected")
    return tensors


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors one after the other along an existing dimension; all other sizes must be equal."""
    tensors = _same_rank("cat", tensors)
    first = tensors[0]
    axis = axis_of("cat", dim, first.ndim)
    for i, x in enumerate(tensors):
        if x.ndim != first.ndim or any(x.shape[k] != first.shape[k] for k in range(x.ndim) if k != axis):
            raise ShapeError(
                f"cat: tensor {i} has shape {tuple(x.shape)}, the first one {tuple(first.shape)}; "
                f"all sizes but that of dim {dim} must be equal"
            )
    return _concatenate(*tensors, axis=axis)


concat = concatenate = cat


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, one after the other along a new dimension."""
    tensors = _same_rank("stack", tensors)
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise ShapeError(f"stack: tensor {i} has shape {tuple(x.shape)}, the first one {tuple(tensors[0].shape)}")
    return _stack(*tensors, axis=axis_of("stack", dim, tensors[0].ndim + 1, "a result"))


def narrow(input: Any, dim: int, start: int, length: int) -> Tensor:
    """`length` slices along `dim`, from number `start` on."""
    axis = axis_of("narrow", dim, input.ndim)
    n = input.shape[axis]
    start, length = whole("narrow", start=start), whole("narrow", length=length)
    begin = start + n if start < 0 else start
    if length < 0 or begin < 0 or begin + length > n:
        raise IndexError(
            f"narrow: slices {start} to {start + length} do not exist along dim {dim} of shape {input.shape}"
        )
    return _slice(input, at=(slice(None),) * axis + (slice(begin, begin + length),))


def select(input: Any, dim: int, index: int) -> Tensor:
    """Slice number `index` along `dim`, without that dimension."""
    axis = axis_of("select", dim, input.ndim)
    index = whole("select", index=index)
    if not -input.shape[axis] <= index < input.shape[axis]:
        raise IndexError(f"select: index {index} is out of range for dim {dim} of shape {tuple(input.shape)}")
    return _slice(input, at=(slice(None),) * axis + (int(index),))


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along `dim`, without that dimension."""
    axis = axis_of("unbind", dim, input.ndim)
    return tuple(select(input, axis, i) for i in range(input.shape[axis]))


def split(input: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Consecutive parts along `dim`: of one size (the last may be shorter), or of the sizes listed.

    split_size_or_sections: that size, or those sizes.
    """
    axis = axis_of("split", dim, input.ndim)
    n = input.shape[axis]
    if isinstance(split_size_or_sections, int):
        size = whole("split", split_size_or_sections=split_size_or_sections)
        if size <= 0:
            raise ValueError(f"split: the size of a part must be positive, got {size}")
        lengths = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        lengths = [whole("split", split_size_or_sections=k) for k in split_size_or_sections]
        if sum(lengths) != n or min(lengths, default=0) < 0:
            raise ShapeError(
                f"split: sizes {lengths} do not add up to {n}, the size of dim {dim} of {tuple(input.shape)}"
            )
    starts = np.cumsum([0, *lengths])
    return tuple(narrow(input, axis, int(s), k) for s, k in zip(starts, lengths, strict=False))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts along `dim`, all of one size but the last, which may be smaller."""
    chunks = whole("chunk", chunks=chunks)
    if chunks <= 0:
        raise ValueError(f"chunk: the number of parts must be positive, got {chunks}")
    n = input.shape[axis_of("chunk", dim, input.ndim)]
    return split(input, -(-n // chunks) if n else [0] * chunks, dim)


def flip(input: Any, dims: int | Sequence[int], *more: int) -> Tensor:
    """The order of the elements reversed along the given dimensions.

    dims: one dimension, several as a sequence, or one by one (more).
    """
    dims = (dims, *more) if isinstance(dims, int) else tuple(dims)
    return _flip(input, axis=tuple(axis_of("flip", d, input.ndim) for d in dims))


def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved on by `shifts` along `dims` (or in the flattened tensor); what leaves comes in on the other side."""
    if dims is None:
        return reshape(roll(flatten(input), shifts, 0), tuple(input.shape))
    shifts = sizes((shifts,))
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(dims)} dims; give one shift for each dimension")
    return _roll(input, shifts=shifts, axis=tuple(axis_of("roll", d, input.ndim) for d in dims))


def _matrices(name: str, x: Any) -> Any:
    if x.ndim < 2:
        raise ShapeError(f"{name}: a matrix (or several) is expected, got shape {tuple(x.shape)}")
    return x


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """Zero above the diagonal of that number (0: the main one)."""
    return _tril(_matrices("tril", input), k=whole("tril", diagonal=diagonal))


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """Zero below the diagonal of that number (0: the main one)."""
    return _triu(_matrices("triu", input), k=whole("triu", diagonal=diagonal))


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices in dimensions dim1 and dim2, as a new last dimension.

    offset: how far above the main diagonal; below it if negative.
    """
    i, j = axis_of("diagonal", dim1, input.ndim), axis_of("diagonal", dim2, input.ndim)
    if i == j:
        raise ShapeError(f"diagonal: dim1 and dim2 name the same dimension {dim1}")
    return _diagonal(input, offset=whole("diagonal", offset=offset), axis1=i, axis2=j)


def diag(input: Any, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the square matrix with the given diagonal."""
    diagonal = whole("diag", diagonal=diagonal)
    if input.ndim == 1:
        n = input.shape[0] + abs(diagonal)
        return _undiagonal(input, shape=(n, n), offset=diagonal, axis1=0, axis2=1)
    if input.ndim != 2:
        raise ShapeError(f"diag: a vector or a matrix is expected, got shape {tuple(input.shape)}")
    return _diagonal(input, offset=diagonal, axis1=0, axis2=1)


def contiguous(input: Any) -> Tensor:
    """The same values in C order of memory; the tensor itself if it is so already."""
    return _contiguous(input)
