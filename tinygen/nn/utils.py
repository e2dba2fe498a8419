"""Taming gradients between `backward()` and `optimizer.step()` (torch.nn.utils)."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from tinygen.backend import Array, array_module, device_of, to_device
from tinygen.engine import Node
from tinygen.memory import note_change
from tinygen.tensor import Tensor


def _gradients(parameters: Node | Iterable[Node]) -> list[Node]:
    parameters = [parameters] if isinstance(parameters, Node) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def _norm(xp: Any, x: Array, order: float) -> Array:
    """(Σ |xᵢ|^order)^(1/order), of all elements of x."""
    x = x.reshape(-1)
    if order == 2:
        return xp.sqrt(x.dot(x))  # a BLAS call, where norm() would make an array of squares
    if order == inf:
        return xp.abs(x).max() if x.size else xp.zeros((), x.dtype)
    return (xp.abs(x) ** order).sum() ** (1 / order)


def clip_grad_norm_(
    parameters: Node | Iterable[Node], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor, in place, so that the norm of the vector of all their elements is at most max_norm.

    norm_type: p of the p-norm, inf for the largest absolute value.
    error_if_nonfinite: raise RuntimeError when the norm is infinite or nan; else all gradients become 0 or nan.

    Returns the norm as it was, a tensor without dimensions: worth plotting.  Raises ValueError for a norm_type <= 0.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    max_norm, norm_type = float(max_norm), float(norm_type)
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    gradients = _gradients(parameters)
    if not gradients:
        return Tensor(0.0)
    home = device_of(gradients[0].array)
    xp = array_module(gradients[0].array)
    norms = xp.stack([to_device(xp.asarray(_norm(array_module(g.array), g.array, norm_type)), home) for g in gradients])
    total = xp.asarray(_norm(xp, norms, norm_type))
    if error_if_nonfinite and not bool(xp.isfinite(total)):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of the gradients is {float(total)}, so they cannot be scaled; look for the operator "
            "that overflows, or pass error_if_nonfinite=False"
        )
    factor = xp.minimum(max_norm / (total + 1e-6), 1.0)  # on a GPU it stays there: no waiting for its value
    for g in gradients:
        g.array *= to_device(xp.asarray(factor, dtype=g.dtype), device_of(g.array))
        note_change(g)
    return Tensor(total)


def clip_grad_value_(parameters: Node | Iterable[Node], clip_value: float) -> None:
    """Clamp every element of every gradient to [-clip_value, clip_value], in place.  This changes the gradient's direction."""
    clip_value = float(clip_value)
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be >= 0, got {clip_value}")
    for g in _gradients(parameters):
        array_module(g.array).clip(g.array, -clip_value, clip_value, out=g.array)
        note_change(g)
