"""PyTorch's signatures, where they offer more than the operator in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.engine import Node
from tinygen.ops import elementwise as e

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

_FLOAT = np.dtype(np.float64)


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other."""
    return e.add(input, other if alpha == 1 else other * alpha)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other."""
    return e.sub(input, other if alpha == 1 else other * alpha)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, also for integers; rounding_mode "floor" rounds down, "trunc" towards zero."""
    if rounding_mode is None:
        return e.div(input, other)
    whole = all(isinstance(x, int) or getattr(x, "dtype", _FLOAT).kind in "biu" for x in (input, other))
    if rounding_mode == "floor":
        return e.floor_divide(input, other) if whole else e.floor(e.div(input, other))
    if rounding_mode == "trunc":
        if whole:
            return e.sign(input) * e.sign(other) * e.floor_divide(e.abs(input), e.abs(other))
        quotient = e.div(input, other)
        return e.where(quotient < 0, e.ceil(quotient), e.floor(quotient))
    raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """Values below `min` become min, values above `max` become max; numbers or tensors, None for no bound.

    The gradient is 1 from min to max, bounds included, and 0 outside (for bounds that are numbers).
    """
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max must be given")
    if isinstance(min, Node) or isinstance(max, Node):
        input = input if min is None else e.maximum(input, min)
        return input if max is None else e.minimum(input, max)
    return e.clip(input, low=min, high=max)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return add(input, e.mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return add(input, e.div(tensor1, tensor2), alpha=value)


def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and the same values."""
    if not (hasattr(input, "shape") and hasattr(other, "shape")):
        raise TypeError(f"equal: two tensors are expected, got {type(input).__name__} and {type(other).__name__}")
    return input.shape == other.shape and bool((input == other).all())
