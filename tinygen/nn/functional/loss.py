"""Losses of real-valued and binary targets.

All take `reduction`: "mean" over all elements, "sum", or "none" for one value per element, and raise ValueError for another
word.  All work in nats.  x is the input, y the target.
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
    """(x - y)².

    input, target: x and y, of one shape (ShapeError otherwise).  reduction: "mean", "sum" or "none".
    """
    same_shape("mse_loss", input, target)
    if reduction == "none":
        return fused.squared_error(input, target)
    total = fused.squared_distance(input, target)
    if reduction == "sum":
        return total
    return reduce("mse_loss", total / math.prod(input.shape) if math.prod(input.shape) else total * math.nan, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """|x - y|, with slope 0 where they are equal.

    input, target: x and y, of one shape (ShapeError otherwise).  reduction: "mean", "sum" or "none".
    """
    same_shape("l1_loss", input, target)
    return reduce("l1_loss", ops.abs(input - target), reduction)


def huber_loss(input: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d²/2 where |d| <= delta, delta (|d| - delta/2) elsewhere, with d = x - y.  Source: Huber 1964.

    input, target: x and y, of one shape (ShapeError otherwise).  reduction: "mean", "sum" or "none".
    Raises ValueError unless delta > 0.
    """
    same_shape("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return reduce("huber_loss", fused.huber(input, target, delta=delta), reduction)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d²/(2 beta) where |d| < beta, |d| - beta/2 elsewhere: the Huber loss divided by beta; l1_loss for beta = 0.

    input, target: x and y, of one shape (ShapeError otherwise).  reduction: "mean", "sum" or "none".
    Raises ValueError for a negative beta.  Source: Girshick 2015, "Fast R-CNN", eq. 3.
    """
    same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    return reduce("smooth_l1_loss", fused.huber(input, target, delta=beta) / beta, reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """-y log p - (1 - y) log(1 - p), for probabilities p = input and y = target, in [0, 1].

    The logarithms are at least -100, as in PyTorch, so that the loss of a certain and wrong prediction is finite, and so is its
    gradient.  Better train on logits: binary_cross_entropy_with_logits.
    weight: multiplies the elements, broadcast.  reduction: "mean", "sum" or "none".
    Raises ShapeError for different shapes, ValueError when an input is outside [0, 1] (not checked on a GPU).
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

    input, target: x and y, of one shape (ShapeError otherwise).  reduction: "mean", "sum" or "none".
    weight: multiplies the elements, broadcast.  pos_weight: multiplies the term of y = 1, broadcast.
    """
    same_shape("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        values = fused.bernoulli_nll_of_logits(input, target)
    else:  # -w y log p - (1 - y) log(1 - p)
        values = fused.weighted(pos_weight * target, ops.softplus(-input)) + fused.weighted(
            1 - target, ops.softplus(input)
        )
    return _weighted("binary_cross_entropy_with_logits", values, weight, reduction)


def _weighted(name: str, values: Any, weight: Any, reduction: str) -> Any:
    if weight is not None:
        weighted = fused.weighted(weight, values)
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

    target: of the input's shape, or with sizes of 1, which broadcast.
    var: the same, or the input's shape without its last size (one variance for all of it), or a number.
    full: add ½ log 2π, which makes it the negative log-density in nats.
    eps: the smallest variance.  A smaller one is raised to eps in the value, but its gradient passes, as in PyTorch.
    reduction: "mean", "sum" or "none".
    Raises ShapeError when the shapes do not fit, ValueError for a negative variance or an eps <= 0.  On a GPU, where the host
    would have to wait for the answer, the loss of a negative variance is nan instead.
    Source: Nix, Weigend 1994, eq. 6.
    """
    if not eps > 0:
        raise ValueError(f"gaussian_nll_loss: eps must be positive, got {eps}")
    if isinstance(var, int | float):
        var = input.new_full(input.shape, var)
    if not _stretches(target.shape, input.shape):
        same_shape("gaussian_nll_loss", input, target)
    if var.shape == input.shape[:-1] != input.shape:
        var = ops.unsqueeze(var, -1)
    elif not _stretches(var.shape, input.shape):
        raise ShapeError(
            f"gaussian_nll_loss: a variance of shape {tuple(var.shape)} does not fit an input of shape {tuple(input.shape)}; "
            f"use {tuple(input.shape)}, {tuple(input.shape[:-1])}, or sizes of 1 where it is shared"
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


def _stretches(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether a shape is another one, but for sizes of 1."""
    return len(shape) == len(to) and all(n in (1, m) for n, m in zip(shape, to, strict=True))


@as_a_whole
def _check_variance(var: Any) -> None:
    if bool((var < 0).any()):
        raise ValueError(f"gaussian_nll_loss: the variance must not be negative, got {var.min().item():.4g}")


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - x): with x = log q the terms of KL(t ‖ q); 0 where t = 0.

    input: log-probabilities.  target: probabilities, or their logarithms with log_target; of one shape (ShapeError otherwise).
    reduction: "mean", "sum", "none", and also "batchmean", the sum divided by the first size: the mean divergence of a batch of distributions, which
    "mean" (over all elements) is not.
    """
    same_shape("kl_div", input, target)
    if log_target:
        p = ops.exp(target)
        values = fused.weighted(p, target) - fused.weighted(p, input)
    else:
        values = fused.negentropy(target) - fused.weighted(target, input)
    if reduction == "batchmean":
        return ops.sum(values) / input.shape[0] if input.ndim else values
    return reduce("kl_div", values, reduction)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8, *, reduction: str = "mean"
) -> Tensor:
    """λ - y log λ: the negative log-probability of y under a Poisson distribution with mean λ, without log y!.

    input: log λ, or λ itself without log_input.  target: y, counts; of one shape (ShapeError otherwise).
    full: add Stirling's y log y - y + ½ log 2πy for log y!, where y > 1.
    eps: is added to λ in its logarithm, without log_input.  reduction: "mean", "sum" or "none".
    """
    same_shape("poisson_nll_loss", input, target)
    values = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        y = ops.where(target > 1, target, 2.0)  # some number with a logarithm, where it is not used
        stirling = y * ops.log(y) - y + 0.5 * ops.log(2 * math.pi * y)
        values = values + ops.where(target > 1, stirling, 0.0)
    return reduce("poisson_nll_loss", values, reduction)


def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-y x)), for targets y of 1 and -1: binary_cross_entropy_with_logits with other names for the classes.

    input, target: x and y, of one shape (ShapeError otherwise).  reduction: "mean", "sum" or "none".
    """
    same_shape("soft_margin_loss", input, target)
    return reduce("soft_margin_loss", ops.softplus(-target * input), reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """The mean over the classes, the last dimension, of binary_cross_entropy_with_logits: any of them may apply.

    input: logits, (N, C) or (C,).  target: 0 or 1 for each class, of the same shape (ShapeError otherwise).
    weight: (C,), multiplies the classes.  reduction: of the (N,) means: "mean", "sum" or "none".
    """
    name = "multilabel_soft_margin_loss"
    same_shape(name, input, target)
    if not input.ndim:
        raise ShapeError(f"{name}: an input of shape (N, C) or (C,) is expected, got a single number")
    values = _weighted(name, fused.bernoulli_nll_of_logits(input, target), weight, "none")
    return reduce(name, ops.mean(values, -1), reduction)
