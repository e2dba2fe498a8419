"""Batch and layer normalisation; vectors of length one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import array_module
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.memory import note_change
from tinygen.ops.normalization import moments, scale_shift, standardize

__all__ = ["batch_norm", "layer_norm", "normalize"]


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Node) else x


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x - μ) / √(σ² + eps) · weight + bias, for every channel with the moments of the batch.

    input: (N, C) or (N, C, d1, ...); all others (C,).  Returns the input's shape.
    training: μ and σ² (divided by the number n of values) are those of the batch, and the running statistics, unless None, move
        by `momentum` towards them, where the variance is divided by n - 1, as in PyTorch.  Otherwise they are the running ones.
    Source: Ioffe, Szegedy 2015, algorithm 1.
    Raises ShapeError when the sizes do not fit; ValueError in training with a single value per channel, or without running
    statistics otherwise.
    """
    if input.ndim < 2:
        raise ShapeError(
            f"batch_norm: an input of shape (N, C) or (N, C, d1, ...) is expected, got {tuple(input.shape)}"
        )
    channels = input.shape[1]
    names = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, x in names.items():
        if x is not None and x.shape != (channels,):
            raise ShapeError(
                f"batch_norm: {name} must have one value for each of the {channels} channels\n"
                f"    input  {tuple(input.shape)}\n    {name}  {tuple(x.shape)}"
            )
    shape = (1, channels) + (1,) * (input.ndim - 2)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
        scale = ops.rsqrt(running_var + eps)
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale
        shift = shift if bias is None else shift + bias
        return scale_shift(input, ops.reshape(scale, shape), ops.reshape(shift, shape))
    n = math.prod(input.shape) // max(channels, 1)
    if n <= 1 and channels:
        raise ValueError(
            f"batch_norm: more than one value per channel is needed in training, got input shape {tuple(input.shape)}; "
            "use a larger batch, or eval()"
        )
    axis = (0, *range(2, input.ndim))
    x = _array(input)
    mu, var = moments(array_module(x), x, axis)
    for running, new in ((running_mean, mu), (running_var, var * (n / (n - 1)) if n > 1 else var)):
        if running is not None:
            array = _array(running)
            array += momentum * (new.reshape(-1) - array)
            if isinstance(running, Node):
                note_change(running)
    return _affine(standardize(input, mu, var, axis, eps), weight, bias, shape)


def _affine(z: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    if weight is None and bias is None:
        return z
    if bias is None:
        return z * ops.reshape(weight, shape)
    if weight is None:
        return z + ops.reshape(bias, shape)
    return scale_shift(z, ops.reshape(weight, shape), ops.reshape(bias, shape))


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - μ) / √(σ² + eps) · weight + bias, with the moments over the last dimensions of every element of the batch.

    input: (*, *normalized_shape); weight and bias: normalized_shape.  Returns the input's shape.
    Source: Ba, Kiros, Hinton 2016, eq. 4.  Raises ShapeError when the sizes do not fit.
    """
    last = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not last or tuple(input.shape[-len(last) :]) != last:
        raise ShapeError(
            f"layer_norm: the input's last sizes must be {last}, got an input of shape {tuple(input.shape)}"
        )
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and tuple(p.shape) != last:
            raise ShapeError(f"layer_norm: a {name} of shape {last} is expected, got {tuple(p.shape)}")
    axis = tuple(range(input.ndim - len(last), input.ndim))
    x = _array(input)
    mu, var = moments(array_module(x), x, axis)
    return _affine(standardize(input, mu, var, axis, eps), weight, bias, last)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """x / max(|x|_p, eps) along `dim`: vectors of length one."""
    return input / ops.clamp(ops.norm(input, p, dim, keepdim=True), min=eps)
