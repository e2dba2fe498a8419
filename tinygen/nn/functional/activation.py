"""Elementwise nonlinearities, and softmax."""

from __future__ import annotations

import math
from typing import Any

from tinygen import ops
from tinygen.ops import activation as a
from tinygen.tensor import Tensor


def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0), with slope 0 at 0."""
    return ops.relu(input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, negative_slope · x elsewhere."""
    return a.leaky_relu(input, slope=negative_slope)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, alpha (exp x - 1) elsewhere.  Source: Clevert, Unterthiner, Hochreiter 2015, eq. 15."""
    return a.elu(input, alpha=alpha)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """x · sigmoid(x), also called swish."""
    return input * ops.sigmoid(input)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x · Φ(x), where Φ is the distribution function of N(0, 1).  Source: Hendrycks, Gimpel 2016.

    approximate: "none", or "tanh" for 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    """
    if approximate == "none":
        return input * a.normal_cdf(input)
    if approximate == "tanh":
        inner = input * (1 + 0.044715 * input * input) * math.sqrt(2 / math.pi)
        return input * (0.5 + 0.5 * ops.tanh(inner))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(input)


def softplus(input: Any, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta x)) / beta.

    PyTorch returns x itself where beta x > threshold.  The formula used here cannot overflow, so `threshold` is accepted but
    not needed: where PyTorch switches, the two differ by less than exp(-threshold) / beta.
    """
    return ops.softplus(input) if beta == 1 else ops.softplus(input * beta) / beta


def logsigmoid(input: Any) -> Tensor:
    """log(1 / (1 + exp(-x))), computed without overflow."""
    return a.logsigmoid(input)


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp x / Σ exp x along `dim`.

    dim=None takes 0 for tensors of 0, 1 or 3 dimensions and 1 for others, as PyTorch does: better say which is meant.
    """
    return ops.softmax(input, _implied(input) if dim is None else dim, dtype)


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """x - log Σ exp x along `dim`; for dim=None see softmax."""
    return ops.log_softmax(input, _implied(input) if dim is None else dim, dtype)


def _implied(input: Any) -> int:
    return 0 if input.ndim in (0, 1, 3) else 1
