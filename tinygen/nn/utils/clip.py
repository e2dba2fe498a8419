"""Taming gradients between `backward()` and `optimizer.step()`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from math import inf
from typing import Any

import numpy as np

from tinygen.backend import Array, array_module, device_of, fuse, to_device
from tinygen.engine import Node
from tinygen.layout import inner
from tinygen.memory import as_a_whole, note_change
from tinygen.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _gradients(parameters: Node | Iterable[Node]) -> list[Node]:
    parameters = [parameters] if isinstance(parameters, Node) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def _joined(gradients: list[Node]) -> list[Array]:
    """Arrays with all elements of the gradients, to be changed in place.

    Not on the CPU: there the gradients of one device and dtype move into one array, and become views of it.  So what is to be
    done takes a few kernels, and not a few for each of them.
    """
    kinds: dict[Any, list[Node]] = {}
    for i, g in enumerate(gradients):
        kinds.setdefault(i if isinstance(g.array, np.ndarray) else (device_of(g.array), g.dtype), []).append(g)
    return [_end_to_end(kind) if len(kind) > 1 else kind[0].array for kind in kinds.values()]


def _end_to_end(gradients: list[Node]) -> Array:
    arrays = [g.array for g in gradients]
    flat = array_module(arrays[0]).concatenate(arrays, axis=None)
    ends = accumulate(a.size for a in arrays)
    for g, a, end in zip(gradients, arrays, ends, strict=True):
        g.array = flat[end - a.size : end].reshape(a.shape)
    return flat


def _norm(xp: Any, x: Array, order: float) -> Array:
    """(Σ |xᵢ|^order)^(1/order), of all elements of x."""
    x = x.reshape(-1)
    if order == 2:
        return xp.sqrt(inner(x, x))  # a BLAS call, where norm() would make an array of squares
    if order == inf:
        return xp.abs(x).max() if x.size else xp.zeros((), x.dtype)
    x = x.astype(np.float32) if x.dtype == np.float16 else x  # whose squares overflow
    return (xp.abs(x) ** order).sum() ** (1 / order)


@fuse
def _factor(xp: Any, total: Any, max_norm: Any) -> Any:
    return xp.minimum(max_norm / (total + 1e-6), 1.0)


@as_a_whole
def get_total_norm(tensors: Node | Iterable[Node], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of the vector of all elements of the tensors, a tensor without dimensions.

    tensors: one or several, of any shapes and dtypes, such as gradients; they are not changed.
    norm_type: p of the p-norm, inf for the largest absolute value.
    error_if_nonfinite: raise RuntimeError when it is infinite or nan.  Raises ValueError for a norm_type <= 0.
    """
    norm_type = _positive("get_total_norm", norm_type)
    arrays = [x.array for x in ([tensors] if isinstance(tensors, Node) else tensors)]
    return Tensor(_total("get_total_norm", arrays, norm_type, error_if_nonfinite)) if arrays else Tensor(0.0)


def _positive(name: str, norm_type: float) -> float:
    if not float(norm_type) > 0:
        raise ValueError(f"{name}: norm_type must be positive, got {norm_type}")
    return float(norm_type)


def _total(name: str, pieces: list[Array], norm_type: float, error_if_nonfinite: bool) -> Array:
    """The norm of all elements, on the device of the first array."""
    home, xp = device_of(pieces[0]), array_module(pieces[0])
    norms = [to_device(xp.asarray(_norm(array_module(x), x, norm_type)), home) for x in pieces]
    total = norms[0] if len(norms) == 1 else xp.asarray(_norm(xp, xp.stack(norms), norm_type))
    if error_if_nonfinite and not bool(xp.isfinite(total)):
        raise RuntimeError(
            f"{name}: the norm of the gradients is {float(total)}, so they cannot be scaled; look for the operator "
            "that overflows, or pass error_if_nonfinite=False"
        )
    return total


def _scale(pieces: list[Array], gradients: list[Node], total: Array, max_norm: float) -> None:
    factor = _factor(array_module(total), total, max_norm)  # on a GPU it stays there: no waiting for its value
    for x in pieces:
        x *= to_device(array_module(total).asarray(factor, dtype=x.dtype), device_of(x))
    for g in gradients:
        note_change(g)


@as_a_whole
def clip_grads_with_norm_(parameters: Node | Iterable[Node], max_norm: float, total_norm: Node) -> None:
    """Scale all gradients by min(1, max_norm / total_norm), in place: the second half of clip_grad_norm_.

    parameters: what has the gradients.  total_norm: what get_total_norm returned for them, or for more than them.
    """
    gradients = _gradients(parameters)
    if gradients:
        _scale(_joined(gradients), gradients, total_norm.array, float(max_norm))


@as_a_whole
def clip_grad_norm_(
    parameters: Node | Iterable[Node], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor, in place, so that the norm of the vector of all their elements is at most max_norm.

    parameters: what has the gradients: tensors, or one; those without a gradient are left out.
    norm_type: p of the p-norm, inf for the largest absolute value.
    error_if_nonfinite: raise RuntimeError when the norm is infinite or nan; else all gradients become 0 or nan.

    Returns the norm as it was, a tensor without dimensions: worth plotting.  Raises ValueError for a norm_type <= 0
    and for a max_norm that is negative or nan.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    max_norm, norm_type = float(max_norm), _positive("clip_grad_norm_", norm_type)
    if not max_norm >= 0:
        raise ValueError(
            f"clip_grad_norm_: max_norm must be >= 0, got {max_norm}; a negative one would turn the gradients"
        )
    gradients = _gradients(parameters)
    if not gradients:
        return Tensor(0.0)
    pieces = _joined(gradients)
    total = _total("clip_grad_norm_", pieces, norm_type, error_if_nonfinite)
    _scale(pieces, gradients, total, max_norm)
    return Tensor(total)


@as_a_whole
def clip_grad_value_(parameters: Node | Iterable[Node], clip_value: float) -> None:
    """Clamp every element of every gradient to [-clip_value, clip_value], in place.  This changes the gradient's direction.

    parameters: what has the gradients: tensors, or one; those without a gradient are left out.
    Raises ValueError for a clip_value that is negative or nan.
    """
    clip_value = float(clip_value)
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be >= 0, got {clip_value}")
    gradients = _gradients(parameters)
    for x in _joined(gradients):
        array_module(x).clip(x, -clip_value, clip_value, out=x)
    for g in gradients:
        note_change(g)
