"""Losses of real-valued and binary targets.

All take `reduction`: "mean" over all elements, "sum", or "none" for one value per element.  All work in nats.
Input and target must have one shape: PyTorch only warns when they broadcast, which is nearly always a bug; here it raises.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.ops import loss as fused
from tinygen.ops.reduce import in_single
from tinygen.tensor import Tensor


def same_shape(name: str, input: Any, target: Any) -> None:
    if input.shape != target.shape:
        raise ShapeError(
            f"{name}: input and target must have the same shape\n    input  {tuple(input.shape)}\n"
            f"    target {tuple(target.shape)}\n    use reshape or unsqueeze, or expand what is meant to be repeated"
        )


def reduce(name: str, values: Any, reduction: str) -> Tensor:
    """The mean or the sum of the values, or the values themselves."""
    if reduction == "mean":
        return ops.mean(values)
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "none":
        return values
    raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


@in_single
def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(x - y)²."""
    same_shape("mse_loss", input, target)
    if reduction == "none":
        return fused.squared_error(input, target)
    total = fused.squared_distance(input, target)
    if reduction == "sum":
        return total
    return reduce("mse_loss", total / math.prod(input.shape) if math.prod(input.shape) else total * math.nan, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """|x - y|."""
    same_shape("l1_loss", input, target)
    return reduce("l1_loss", ops.abs(input - target), reduction)


def huber_loss(input: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d²/2 where |d| <= delta, delta (|d| - delta/2) elsewhere, with d = x - y.  Source: Huber 1964."""
    same_shape("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return reduce("huber_loss", fused.huber(input, target, delta=delta), reduction)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d²/(2 beta) where |d| < beta, |d| - beta/2 elsewhere: the Huber loss divided by beta; l1_loss for beta = 0."""
    same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    return reduce("smooth_l1_loss", fused.huber(input, target, delta=beta) / beta, reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """-y log p - (1 - y) log(1 - p), for probabilities p = input and targets y in [0, 1].

    The logarithms are at least -100, as in PyTorch, so that the loss of a certain and wrong prediction is finite, and so is its
    gradient.  Better train on logits: binary_cross_entropy_with_logits.
    weight: multiplies the elements, broadcast.  Raises ValueError when an input is outside [0, 1] (not checked on a GPU).
    """
    same_shape("binary_cross_entropy", input, target)
    p = input.array if isinstance(input, Node) else input
    if isinstance(p, np.ndarray) and p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f"binary_cross_entropy: the input must hold probabilities between 0 and 1, got values from {p.min():.4g} to "
            f"{p.max():.4g}; apply sigmoid, or pass logits to binary_cross_entropy_with_logits"
        )
    return _weighted("binary_cross_entropy", fused.bernoulli_nll(input, target), weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """binary_cross_entropy(sigmoid(x), y), computed as log(1 + exp x) - x y without overflow.

    weight: multiplies the elements, broadcast.  pos_weight: multiplies the term of y = 1, broadcast.
    """
    same_shape("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        values = fused.bernoulli_nll_of_logits(input, target)
    else:  # -w y log p - (1 - y) log(1 - p), with log(1 - p) = log p - x
        values = (1 - target) * input + (1 + (pos_weight - 1) * target) * ops.softplus(-input)
    return _weighted("binary_cross_entropy_with_logits", values, weight, reduction)


def _weighted(name: str, values: Any, weight: Any, reduction: str) -> Any:
    if weight is not None:
        weighted = values * weight
        if weighted.shape != values.shape:
            raise ShapeError(
                f"{name}: a weight of shape {tuple(weight.shape)} does not fit an input of shape {tuple(values.shape)}"
            )
        values = weighted
    return reduce(name, values, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, *, reduction: str = "mean"
) -> Tensor:
    """½ (log var + (x - y)² / var), where input is the mean and var the variance of the target's distribution.

    var: of the input's shape, or with its last size 1 or left out (one variance for all of the last dimension).
    full: add ½ log 2π, which makes it the negative log-density in nats.
    eps: the smallest variance.  A smaller one is raised to eps in the value, but its gradient passes, as in PyTorch.
    Raises ShapeError when the shapes do not fit, ValueError for a negative variance.  On a GPU, where the host would have to
    wait for the answer, the loss of a negative variance is nan instead.
    """
    same_shape("gaussian_nll_loss", input, target)
    if isinstance(var, int | float):
        var = input.new_full(input.shape, var)
    if var.shape == input.shape[:-1] != input.shape:
        var = ops.unsqueeze(var, -1)
    elif var.shape not in (input.shape, (*input.shape[:-1], 1)):
        raise ShapeError(
            f"gaussian_nll_loss: a variance of shape {tuple(var.shape)} does not fit an input of shape {tuple(input.shape)}; "
            f"use {tuple(input.shape)}, {(*input.shape[:-1], 1)} or {tuple(input.shape[:-1])}"
        )
    values = var.detach()
    raised = ops.relu(eps - values)
    if isinstance(values.array, np.ndarray):
        _check_variance(values)
    else:
        raised = ops.where(values < 0, math.nan, raised)
    var = var + raised
    loss = 0.5 * (ops.log(var) + ops.square(input - target) / var)
    return reduce("gaussian_nll_loss", loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@as_a_whole
def _check_variance(var: Any) -> None:
    if bool((var < 0).any()):
        raise ValueError(f"gaussian_nll_loss: the variance must not be negative, got {var.min().item():.4g}")


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - x): with x = log q the terms of KL(t ‖ q); 0 where t = 0.

    input: log-probabilities.  target: probabilities, or their logarithms with log_target.
    reduction: also "batchmean", the sum divided by the first size: the mean divergence of a batch of distributions, which
    "mean" (over all elements) is not.
    """
    same_shape("kl_div", input, target)
    values = ops.exp(target) * (target - input) if log_target else fused.negentropy(target) - target * input
    if reduction == "batchmean":
        return ops.sum(values) / input.shape[0] if input.ndim else values
    return reduce("kl_div", values, reduction)
