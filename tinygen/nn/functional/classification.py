"""Losses of class predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import device_of
from tinygen.creation import arange
from tinygen.engine import Node, cast
from tinygen.errors import ShapeError
from tinygen.nn.functional.loss import reduce
from tinygen.ops.loss import weighted
from tinygen.tensor import Tensor

__all__ = ["cross_entropy", "multi_margin_loss", "nll_loss"]


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-log p[y]: the log-probability of the class y that occurred, with the sign changed.

    input: log-probabilities, (C,), (N, C) or (N, C, d1, ...).  target: class numbers 0 to C - 1, (), (N,) or (N, d1, ...).
    weight: (C,), one factor per class; "mean" then divides by the sum of the factors that took part.
    ignore_index: the class number that marks elements to leave out.  reduction: "mean", "sum" or "none".
    Raises ShapeError, TypeError (the target does not hold integers) or IndexError (no such class).  On a GPU, where the host
    would have to wait for the answer, the loss of a class that does not exist is nan instead.
    """
    return _nll("nll_loss", input, target, weight, ignore_index, reduction, smoothing=0.0)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-Σ_c t_c log softmax(x)_c, for logits x: nll_loss(log_softmax(x), y) when the target is a class number.

    input: logits, (C,), (N, C) or (N, C, d1, ...).  target: class numbers, (), (N,) or (N, d1, ...), or floating-point
    probabilities of the input's shape.  weight and ignore_index (class numbers only): see nll_loss.
    label_smoothing: the share of the target that is spread evenly over all classes.  reduction: "mean", "sum" or "none".
    Raises as nll_loss does, and ValueError for a label_smoothing outside [0, 1].
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    axis = _class_axis("cross_entropy", input)
    log_p = ops.log_softmax(input, axis)
    if target.dtype.kind != "f":
        return _nll("cross_entropy", log_p, target, weight, ignore_index, reduction, label_smoothing)
    if target.shape != input.shape:
        raise ShapeError(
            f"cross_entropy: target probabilities must have the input's shape {tuple(input.shape)}, got {tuple(target.shape)}; "
            "class numbers must be integers: use target.long()"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    if weight is not None:
        target = target * _per_class("cross_entropy", weight, input, axis)
    terms = weighted(target, log_p)
    values = -ops.sum(terms, axis)
    return reduce("cross_entropy", values, reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
) -> Tensor:
    """Σ_c max(0, margin - x[y] + x[c])^p / C over the classes c other than y: x[y] is to be the largest, by the margin.

    input: scores, (N, C) or (C,).  target: class numbers 0 to C - 1, (N,) or ().  p: 1 or 2.
    weight: (C,), multiplies the terms of the elements of each class y.  reduction: "mean", "sum" or "none".
    Raises as nll_loss does, and ValueError for another p.  Source: Crammer, Singer 2001, for the idea.
    """
    name = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p}")
    if input.ndim > 2:
        raise ShapeError(f"{name}: an input of shape (N, C) or (C,) is expected, got {tuple(input.shape)}")
    if target.dtype.kind in "iu":
        target = cast(target, dtype=np.int64)
    right = -_nll(name, input, target, None, _NO_CLASS, "none", smoothing=0.0)  # x[y]
    classes = arange(input.shape[-1], device=input.device)
    terms = ops.relu(margin - ops.unsqueeze(right, -1) + input)
    is_right = ops.unsqueeze(target, -1) == classes
    values = ops.mean(ops.where(is_right, 0.0, terms if p == 1 else ops.square(terms)), -1)
    if weight is not None:
        weights = _per_class(name, weight, input, input.ndim - 1)
        values = values * ops.sum(ops.where(is_right, weights, 0.0), -1)
    return reduce(name, values, reduction)


_NO_CLASS = -(2**63)


def _class_axis(name: str, x: Any) -> int:
    if not x.ndim:
        raise ShapeError(f"{name}: an input of shape (C,), (N, C) or (N, C, d1, ...) is expected, got a single number")
    return 0 if x.ndim == 1 else 1


def _per_class(name: str, weight: Any, x: Any, axis: int) -> Any:
    """The weights, shaped to multiply x."""
    if weight.shape != (x.shape[axis],):
        raise ShapeError(
            f"{name}: one weight for each of the {x.shape[axis]} classes is expected, got shape {tuple(weight.shape)}"
        )
    return ops.reshape(weight, tuple(-1 if i == axis else 1 for i in range(x.ndim)))


def _nll(name: str, log_p: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float) -> Any:
    axis = _class_axis(name, log_p)
    classes = log_p.shape[axis]
    y = target.array if isinstance(target, Node) else target
    if y.dtype.kind not in "iu":
        raise TypeError(f"{name}: the target must hold class numbers, integers, got {y.dtype}; use target.long()")
    expected = log_p.shape[:axis] + log_p.shape[axis + 1 :]
    if y.shape != expected:
        raise ShapeError(
            f"{name}: a target of shape {tuple(expected)} is expected\n    input  {tuple(log_p.shape)}\n"
            f"    target {tuple(y.shape)}"
        )
    on_cpu = isinstance(y, np.ndarray)
    if on_cpu:
        kept, y = _checked(name, y, ignore_index, log_p)
        values = -_at(log_p, y, axis)
    else:
        kept, y = target != ignore_index, cast(target, dtype=np.int64)
        values = ops.where((y >= 0) & (y < classes), -_where_equal(log_p, y, axis), math.nan)
    factor = None
    if weight is not None:
        shaped = _per_class(name, weight, log_p, axis)
        factor = ops.index(weight, y) if on_cpu else _where_equal(shaped, y, axis)
        values = weighted(factor, values)
    if smoothing:
        even = ops.sum(log_p if weight is None else log_p * shaped, axis)
        values = values * (1 - smoothing) - even * (smoothing / classes)
    if kept is not None:
        counts = cast(kept, dtype=np.dtype(log_p.dtype))
        values = ops.where(kept, values, 0.0)
        factor = counts if factor is None else factor * counts
    if reduction == "mean" and factor is not None:
        return ops.sum(values) / ops.sum(factor)
    return reduce(name, values, reduction)


def _checked(name: str, y: Any, ignore_index: int, log_p: Any) -> tuple[Any, Any]:
    """Which elements count, None for all of them, and y with some class that exists where it does not count."""
    classes = log_p.shape[_class_axis(name, log_p)]
    kept = y != ignore_index
    if kept.all():
        kept = None
    else:
        y = y * kept
    if y.size and not (0 <= int(y.min()) and int(y.max()) < classes):
        raise IndexError(
            f"{name}: class numbers from {int(y.min())} to {int(y.max())} in the target, and the input of shape "
            f"{tuple(log_p.shape)} has classes 0 to {classes - 1}"
        )
    return kept, y


def _at(x: Any, y: Any, axis: int) -> Any:
    """x[i, y[i, j], j] for all i and j."""
    return ops.reshape(ops.gather(x, axis, ops.unsqueeze(y, axis)), y.shape)


def _where_equal(x: Any, y: Any, axis: int) -> Any:
    """The same, Σ_c x[i, c, j] [c = y[i, j]]: all of x is read, but no index has to be checked.  0 if there is no such c."""
    numbers = arange(x.shape[axis], device=device_of(y.array if isinstance(y, Node) else y))
    numbers = numbers.reshape(*(-1 if i == axis else 1 for i in range(x.ndim)))
    return ops.sum(ops.where(ops.unsqueeze(y, axis) == numbers, x, 0.0), axis)
