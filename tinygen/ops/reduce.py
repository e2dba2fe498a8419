"""Reductions: what sums, selects or normalises along dimensions.

The operators take `axis` as a tuple of non-negative integers; the public functions below them take PyTorch's `dim` and
`keepdim`.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, Op, cast, expand, name_operators
from tinygen.errors import ShapeError
from tinygen.layout import accumulator, dot_along, sum_along
from tinygen.ops.elementwise import abs, exp, log, only, pow, sqrt, square, where
from tinygen.ops.index import ValuesAndIndices, gather
from tinygen.ops.shape import axis_of, flip, permute, reshape, unsqueeze

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

Dim = int | Sequence[int] | None
F = TypeVar("F", bound=Callable[..., Any])


def in_single(function: F) -> F:
    """The function, computed in float32 where it is handed float16, and rounded to float16 at the end.

    What it adds up on the way may be larger than float16's 65,504, though its result is an ordinary number; and constants such
    as 1e-12 are 0 in float16.  Its arguments are arrays or tensors, and what else it takes.
    """

    @wraps(function)
    def in_float32(*args: Any, **how: Any) -> Any:
        if not builtins.any(_is_half(x) for x in args):
            return function(*args, **how)
        single = np.dtype(np.float32)
        out = function(*(cast(x, dtype=single) if _is_half(x) else x for x in args), **how)
        return cast(out, dtype=np.dtype(np.float16)) if out.dtype == single else out

    return in_float32  # type: ignore[return-value]


def _is_half(x: Any) -> bool:
    return getattr(getattr(x, "dtype", None), "char", "") == "e"


# fmt: off

_sum    = Op(lambda xp, x, axis: sum_along(xp, x, axis),                    lambda g, _, _x, axis: _spread_out(g, _x, axis))
# y, the sum of an array like `like`, repeated over the axes that were summed: the sum's transpose
_spread = Op(lambda xp, y, like, axis: _repeated(xp, y, like, axis),       lambda g, _, _y, _like, axis: _sum(g, axis=axis))
# Σ x y, for two arrays of one shape
_inner  = Op(lambda xp, x, y, axis: dot_along(xp, x, y, axis),             lambda g, _, _x, y, axis: _spread(g, y, axis=axis) * y,
                                                                           lambda g, _, x, _y, axis: _spread(g, x, axis=axis) * x)
_mean   = Op(lambda xp, x, axis: _average(xp, x, axis),
                                                                           lambda g, _, _x, axis: _spread(g * (1 / _size(_x, axis)), _x, axis=axis))
_prod   = Op(lambda xp, x, axis: _product(x, axis),                           lambda g, out, x, axis: _spread(g, x, axis=axis) * _product_of_others(x, out, axis))
_amax   = Op(lambda xp, x, axis: x.max(axis),                              lambda g, out, x, axis: _to_ties(g, x, out, axis))
_amin   = Op(lambda xp, x, axis: x.min(axis),                              lambda g, out, x, axis: _to_ties(g, x, out, axis))
_cumsum = Op(lambda xp, x, axis: _running_sum(xp, x, axis),                   lambda g, _, _x, axis: flip(_cumsum(flip(g, (axis,)), axis=axis), (axis,)))
_argmax = Op(lambda xp, x, axis: x.argmax(axis))
_argmin = Op(lambda xp, x, axis: x.argmin(axis))
_any    = Op(lambda xp, x, axis: x.any(axis))
_all    = Op(lambda xp, x, axis: x.all(axis))

_logsumexp   = Op(lambda xp, x, axis: _stable_logsumexp(xp, x, axis),      lambda g, out, x, axis: _to_likely(g, x, out, axis))
_softmax     = Op(lambda xp, x, axis: _stable_softmax(xp, x, axis),        lambda g, out, _x, axis: out * (g - _spread(_sum(g * out, axis=axis), _x, axis=axis)))
_log_softmax = Op(lambda xp, x, axis: _stable_log_softmax(xp, x, axis),    lambda g, out, _x, axis: g - exp(out) * _spread(_sum(g, axis=axis), _x, axis=axis))
_norm2       = Op(lambda xp, x, axis: _length(xp, x, axis),            lambda g, out, x, axis: _along(g, x, out, axis))

# fmt: on


def _kept(shape: tuple[int, ...], axis: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with every reduced axis kept at size 1."""
    return tuple(1 if i in axis else n for i, n in enumerate(shape))


def _repeated(xp: Any, y: Any, like: Any, axis: tuple[int, ...]) -> Any:
    """A full array, not a view with strides of 0: quicker to make when it is small, and to compute with when it is large."""
    if len(axis) == 1 and axis[0] == like.ndim - 1 <= 1 and like.flags.c_contiguous:
        return y.repeat(like.shape[-1]).reshape(like.shape)
    out = xp.empty_like(like, dtype=y.dtype)
    out[...] = y.reshape(_kept(like.shape, axis))
    return out


def _spread_out(g: Any, like: Any, axis: tuple[int, ...]) -> Any:
    """_spread, without calling an operator for arrays: what it takes is longer than the work when there is little."""
    if isinstance(g, Node):
        return _spread(g, like, axis=axis)
    return _repeated(ARRAY_MODULES[type(like)], g, like, axis)


def _size(x: Any, axis: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axis)


def _average(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    if x.dtype.char == "e":
        return _average(xp, x.astype(np.float32), axis).astype(x.dtype)
    return sum_along(xp, x, axis) * (1 / _size(x, axis))


@in_single
def _length(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    return xp.sqrt(dot_along(xp, x, x, axis))


def _product(x: Any, axis: tuple[int, ...]) -> Any:
    """The product, which is rounded once: kept in float64, as the running sum."""
    out = x.prod(axis, dtype=accumulator(x.dtype))
    return out.astype(x.dtype) if x.dtype.kind == "f" else out


def _running_sum(xp: Any, x: Any, axis: int) -> Any:
    out = xp.cumsum(x, axis, dtype=accumulator(x.dtype))
    return out.astype(x.dtype) if x.dtype.kind == "f" else out


def _product_of_others(x: Any, out: Any, axis: tuple[int, ...]) -> Any:
    """For every element the product of the others along `axis`: out / x, unless there are zeros.

    With zeros: repeat the n reduced elements n times, put ones on the diagonal, and multiply each row.
    """
    if (x != 0).all():
        return _spread(out, x, axis=axis) / x
    others = tuple(i for i in range(x.ndim) if i not in axis)
    n = _size(x, axis)
    lines = reshape(permute(x, others + axis), (*(x.shape[i] for i in others), 1, n))
    lines = expand(lines, shape=(*lines.shape[:-2], n, n))
    diagonal = np.eye(n, dtype=bool)
    array = x.array if hasattr(x, "array") else x
    if not isinstance(array, np.ndarray):
        from tinygen.backend import device_of, to_device

        diagonal = to_device(diagonal, device_of(array))
    products = _prod(where(diagonal, 1.0, lines), axis=(lines.ndim - 1,))
    products = reshape(products, tuple(x.shape[i] for i in others + axis))
    return permute(products, tuple(int(i) for i in np.argsort(others + axis)))


def _to_ties(g: Any, x: Any, out: Any, axis: tuple[int, ...]) -> Any:
    """g / (number of ties) at the extreme elements, 0 elsewhere."""
    ties = x == _spread(out, x, axis=axis)
    count = _sum(cast(ties, dtype=x.dtype), axis=axis)
    return only(_spread(g / count, x, axis=axis), ties)


def _to_likely(g: Any, x: Any, out: Any, axis: tuple[int, ...]) -> Any:
    """g exp(x - log Σ exp x), and 0 where x = -inf, even in a row of nothing else, where x - out is no number."""
    out = _spread(out, x, axis=axis)
    return only(_spread(g, x, axis=axis), x != -math.inf) * exp(where(x == out, 0.0, x - out))


def _along(g: Any, x: Any, norm: Any, axis: tuple[int, ...]) -> Any:
    """g x / |x|, and 0 where |x| = 0: the subgradient that PyTorch takes."""
    norm = _spread(norm, x, axis=axis)
    return only(_spread(g, x, axis=axis), norm != 0) * (x / where(norm == 0, 1.0, norm))


@in_single
def _stable_logsumexp(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    top = x.max(axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, x.dtype.type(0))
    with np.errstate(divide="ignore"):  # log 0 = -inf is the right value for a row of -inf
        return xp.log(sum_along(xp, xp.exp(x - top), axis)) + top.reshape(
            tuple(n for i, n in enumerate(x.shape) if i not in axis)
        )


@in_single
def _stable_softmax(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    e = xp.exp(x - x.max(axis, keepdims=True))
    return e / sum_along(xp, e, axis).reshape(_kept(x.shape, axis))


@in_single
def _stable_log_softmax(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """x - max - log Σ exp(x - max): x - logsumexp(x) would lose digits where x is large."""
    x = x - x.max(axis, keepdims=True)
    return x - xp.log(sum_along(xp, xp.exp(x), axis).reshape(_kept(x.shape, axis)))


name_operators(globals())


# The public functions


def axes(name: str, dim: Dim, ndim: int) -> tuple[int, ...]:
    """PyTorch's `dim` (None, an integer, several; negative ones count from the end) as a tuple of axes."""
    if dim is None or (isinstance(dim, tuple | list) and not dim):
        return tuple(range(ndim))
    dims = tuple(dim) if isinstance(dim, tuple | list) else (dim,)
    result = tuple(axis_of(name, d, ndim or 1) for d in dims)  # a number has the dims 0 and -1, as in PyTorch
    if len(set(result)) != len(result):
        raise ShapeError(f"{name}: dim {dims} names a dimension twice")
    return result if ndim else ()


def _reduce(op: Op, name: str, x: Any, dim: Dim, keepdim: bool) -> Any:
    axis = axes(name, dim, x.ndim)
    out = op(x, axis=axis)
    return reshape(out, _kept(x.shape, axis)) if keepdim else out


def _to_dtype(x: Any, dtype: Any) -> Any:
    return x if dtype is None or x.dtype == dtype else cast(x, dtype=np.dtype(dtype))


def sum(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum of all elements, or along `dim` (an integer or several)."""
    return _reduce(_sum, "sum", _to_dtype(input, dtype), dim, keepdim)


def mean(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean of all elements, or along `dim`; nan for no elements, as in PyTorch."""
    input = _to_dtype(input, dtype)
    if 0 in input.shape and not _size(input, axes("mean", dim, input.ndim)):
        return sum(input, dim, keepdim) * math.nan
    return _reduce(_mean, "mean", input, dim, keepdim)


@in_single
def var(
    input: Any, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> Tensor:
    """Variance: Σ(x - mean)² / (N - correction), with correction 1 by default (0 for unbiased=False).

    var(x, False) is var(x, unbiased=False), as in PyTorch.
    """
    if isinstance(dim, bool):
        unbiased = dim
        dim = None
    correction = int(unbiased) if correction is None else correction
    n = _size(input, axes("var", dim, input.ndim))
    total = sum(square(input - mean(input, dim, keepdim=True)), dim, keepdim)
    return total / (n - correction) if n > correction else total * math.nan


@in_single
def std(
    input: Any, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> Tensor:
    """Standard deviation: the square root of `var`.  Where all values are equal its gradient is 0, as in PyTorch.

    unbiased, correction: as for `var`.
    """
    if isinstance(dim, bool):  # std(x, unbiased), as for var
        unbiased = dim
        dim = None
    axes("std", dim, input.ndim)
    variance = var(input, dim, unbiased, keepdim, correction=correction)
    return only(sqrt(where(variance == 0, 1.0, variance)), variance != 0)


def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product of all elements, or along `dim`; differentiable where factors are zero too."""
    return _reduce(_prod, "prod", _to_dtype(input, dtype), dim, keepdim)


def _not_empty(name: str, x: Any, axis: tuple[int, ...]) -> None:
    if not _size(x, axis):
        raise IndexError(f"{name}: a tensor of shape {tuple(x.shape)} has no elements along dim {axis} to choose from")


def amax(input: Any, dim: Dim = (), keepdim: bool = False) -> Tensor:
    """The largest element, along `dim`; ties share the gradient equally."""
    _not_empty("amax", input, axes("amax", dim, input.ndim))
    return _reduce(_amax, "amax", input, dim, keepdim)


def amin(input: Any, dim: Dim = (), keepdim: bool = False) -> Tensor:
    """The smallest element, along `dim`; ties share the gradient equally."""
    _not_empty("amin", input, axes("amin", dim, input.ndim))
    return _reduce(_amin, "amin", input, dim, keepdim)


@overload
def max(input: Any, dim: int, keepdim: bool = False) -> ValuesAndIndices: ...
@overload
def max(input: Any, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """max(x): the largest element. max(x, dim): (values, indices). max(x, y): elementwise `maximum`.

    With `dim` the gradient goes to the one element whose index is returned.
    """
    return _extreme(input, dim, keepdim, "max", amax, argmax)


@overload
def min(input: Any, dim: int, keepdim: bool = False) -> ValuesAndIndices: ...
@overload
def min(input: Any, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """min(x): the smallest element. min(x, dim): (values, indices). min(x, y): elementwise `minimum`."""
    return _extreme(input, dim, keepdim, "min", amin, argmin)


def _extreme(x: Any, dim: Any, keepdim: bool, name: str, whole: Any, arg: Any) -> Any:
    if dim is None:
        return whole(x)
    if not isinstance(dim, int):
        from tinygen.ops.elementwise import maximum, minimum

        return (maximum if name == "max" else minimum)(x, dim)
    axes(name, dim, x.ndim)
    indices = arg(x, dim, keepdim=True)
    values = gather(x, dim, indices) if x.ndim else x
    if not keepdim and x.ndim:
        (axis,) = axes(name, dim, x.ndim)
        shape = tuple(n for i, n in enumerate(x.shape) if i != axis)
        values, indices = reshape(values, shape), reshape(indices, shape)
    return ValuesAndIndices(values, indices)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element (the first of several), along `dim` or in the flattened tensor.  No gradient."""
    return _arg(_argmax, "argmax", input, dim, keepdim)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element (the first of several), along `dim` or in the flattened tensor.  No gradient."""
    return _arg(_argmin, "argmin", input, dim, keepdim)


def _arg(op: Op, name: str, x: Any, dim: int | None, keepdim: bool) -> Any:
    if dim is None or not x.ndim:
        _not_empty(name, x, tuple(range(x.ndim)))
        out = op(x, axis=None)
        return reshape(out, (1,) * x.ndim) if keepdim else out
    (axis,) = axes(name, dim, x.ndim)
    _not_empty(name, x, (axis,))
    out = op(x, axis=axis)
    return unsqueeze(out, axis) if keepdim else out


def any(input: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether some element is true (not zero)."""
    return _reduce(_any, "any", input, dim, keepdim)


def all(input: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are true (not zero)."""
    return _reduce(_all, "all", input, dim, keepdim)


def cumsum(input: Any, dim: int) -> Tensor:
    """Running sums along `dim`."""
    if not input.ndim:
        return input * 1
    (axis,) = axes("cumsum", dim, input.ndim)
    return _cumsum(input, axis=axis)


def logsumexp(input: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """log Σ exp x along `dim`, computed without overflow.  Where all are -inf the gradient is 0 (PyTorch: nan)."""
    if not _size(input, axes("logsumexp", dim, input.ndim)):
        return log(sum(exp(input), dim, keepdim))
    return _reduce(_logsumexp, "logsumexp", input, dim, keepdim)


def softmax(input: Any, dim: int, dtype: Any = None) -> Tensor:
    """exp x / Σ exp x along `dim`, computed without overflow."""
    input = _to_dtype(input, dtype)
    return _softmax(input, axis=axes("softmax", dim, input.ndim)) if math.prod(input.shape) else input * 1


def log_softmax(input: Any, dim: int, dtype: Any = None) -> Tensor:
    """x - log Σ exp x along `dim`, computed without overflow."""
    input = _to_dtype(input, dtype)
    return _log_softmax(input, axis=axes("log_softmax", dim, input.ndim)) if math.prod(input.shape) else input * 1


@in_single
def norm(input: Any, p: float | str = "fro", dim: Dim = None, keepdim: bool = False) -> Tensor:
    """(Σ|x|^p)^(1/p) along `dim`, for p > 0, p = inf (the largest |x|) or "fro" (p = 2); its gradient at 0 is 0."""
    if p in ("fro", 2):
        return _reduce(_norm2, "norm", input, dim, keepdim)
    if isinstance(p, str) or p <= 0:
        raise ValueError(f"norm: p must be 'fro', a positive number or inf, got {p!r}")
    if p == 1:
        return sum(abs(input), dim, keepdim)
    if p == math.inf:
        return amax(abs(input), dim, keepdim)
    return _flat_at_zero(sum(_flat_at_zero(abs(input), p), dim, keepdim), 1 / p)


def _flat_at_zero(x: Any, p: float) -> Any:
    """x^p for x >= 0, with slope 0 at x = 0, where that of a root is infinite: PyTorch's choice for norms."""
    return where(x == 0, 0.0, pow(where(x == 0, 1.0, x), p))


def count_nonzero(input: Any, dim: Dim = None) -> Tensor:
    """The number of elements that are not zero.  No gradient."""
    axes("count_nonzero", dim, input.ndim)
    return sum(cast(input != 0, dtype=np.dtype(np.int64)), dim)


__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "axes",
    "count_nonzero",
    "cumsum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "softmax",
    "std",
    "sum",
    "var",
]
