"""Batch, layer, instance and group normalisation; vectors of length one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import array_module
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.layout import sum_along
from tinygen.memory import as_a_whole, note_change, on_device
from tinygen.nn.functional.padding import pad
from tinygen.ops.normalization import moments, scale_shift, standardize
from tinygen.ops.normalization import normalize as normalize_and_scale
from tinygen.ops.reduce import in_single
from tinygen.tensor import Tensor

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Node) else x


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias, for every channel with the moments of the batch.

    input: (N, C) or (N, C, d1, ...); running_mean, running_var, weight and bias: (C,), or None.  Returns the input's shape.
    training: μ and σ² (divided by the number n of values) are those of the batch, and the running statistics, unless None, move
        by `momentum`, a number or a tensor of one, towards them, where the variance is divided by n - 1, as in PyTorch.
        Otherwise they are the running ones.
    Source: Ioffe, Szegedy 2015, algorithm 1.
    Raises ShapeError when the sizes do not fit; ValueError in training with a single value per channel, or without running
    statistics otherwise.
    """
    shape = _channel_shape("batch_norm", input, running_mean, running_var, weight, bias)
    if not training:
        return _with_running("batch_norm", input, running_mean, running_var, weight, bias, eps)
    channels = input.shape[1]
    n = math.prod(input.shape) // max(channels, 1)
    if n <= 1 and channels:
        raise ValueError(
            f"batch_norm: more than one value per channel is needed in training, got input shape {tuple(input.shape)}; "
            "use a larger batch, or eval()"
        )
    axis = (0, *range(2, input.ndim))
    mu, r = _of_batch(input, axis, eps, running_mean, running_var, momentum, n)
    return _normalize(input, mu, r, weight, bias, shape, axis, eps)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias, for every channel of every element of the batch with its own moments.

    input: (N, C, d1, ...), with more than one position; running_mean, running_var, weight and bias: (C,), or None.  Returns the
        input's shape.
    use_input_stats: if False, the running statistics are used, as batch_norm does in evaluation.  Otherwise they move, unless
        None, by `momentum` towards the mean over the batch of μ and of σ² (divided by n - 1, as in PyTorch).
    Source: Ulyanov, Vedaldi, Lempitsky 2016, "Instance normalization".
    Raises ShapeError when the sizes do not fit; ValueError for a single value per channel, or for running statistics that are
    needed and not there.
    """
    shape = _channel_shape("instance_norm", input, running_mean, running_var, weight, bias)
    if not use_input_stats:
        return _with_running("instance_norm", input, running_mean, running_var, weight, bias, eps)
    axis = tuple(range(2, input.ndim))
    n = math.prod(input.shape[2:]) if axis else 1
    if n <= 1 and math.prod(input.shape):
        raise ValueError(
            "instance_norm: more than one position is needed: a single value normalised by its own moments is 0, "
            f"got input shape {tuple(input.shape)}"
        )
    mu, r = _of_each(input, axis, eps, running_mean, running_var, momentum, n)
    return _normalize(input, mu, r, weight, bias, shape, axis, eps)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias, with the moments of a group of channels of every element of the batch.

    input: (N, C, d1, ...), where num_groups divides C; weight and bias: (C,).  Returns the input's shape.
    With one group this is layer_norm over all but the batch, with C groups instance_norm.
    Source: Wu, He 2018, eq. 7.  Raises ShapeError when the sizes do not fit, ValueError when num_groups does not divide C.
    """
    shape = _channel_shape("group_norm", input, None, None, weight, bias)
    n, channels, *sizes = input.shape
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: {channels} channels cannot be divided into {num_groups} groups of one size; "
            f"got input shape {tuple(input.shape)}"
        )
    grouped = ops.reshape(input, (n, num_groups, channels // num_groups, *sizes))
    axis = tuple(range(2, grouped.ndim))
    mu, r = _of_each(grouped, axis, eps)
    z = ops.reshape(standardize(grouped, mu, r, axis, eps), input.shape)
    return _affine(z, weight, bias, shape)


def _channel_shape(
    function: str, input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any
) -> tuple[int, ...]:
    """The shape in which a number per channel meets the input: (1, C, 1, ...)."""
    if input.ndim < 2:
        raise ShapeError(
            f"{function}: an input of shape (N, C) or (N, C, d1, ...) is expected, got {tuple(input.shape)}"
        )
    channels = input.shape[1]
    names = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, x in names.items():
        if x is not None and x.shape != (channels,):
            raise ShapeError(
                f"{function}: {name} must have one value for each of the {channels} channels\n"
                f"    input  {tuple(input.shape)}\n    {name}  {tuple(x.shape)}"
            )
    return (1, channels) + (1,) * (input.ndim - 2)


def _with_running(name: str, input: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The input normalised by the running statistics: a scale and a shift per channel."""
    if mean is None or var is None:
        raise ValueError(
            f"{name}: running_mean and running_var are needed when the moments of the input are not to be used"
        )
    shape = (1, -1) + (1,) * (input.ndim - 2)
    scale = ops.rsqrt(var + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    shift = shift if bias is None else shift + bias
    return scale_shift(input, ops.reshape(scale, shape), ops.reshape(shift, shape))


# The moments are no part of the graph (the rules of `standardize` know what they depend on), and running statistics move behind
# the operators' backs: so a recorded step calls these two as they are.


@as_a_whole
@on_device
def _of_batch(
    x: Any, axis: tuple[int, ...], eps: float, running_mean: Any, running_var: Any, momentum: Any, n: int
) -> tuple[Any, Any]:
    """Arrays: μ and 1/√(σ² + eps) of x along `axis`.  The running statistics move towards the moments."""
    x = _array(x)
    mu, var = moments(array_module(x), x, axis)
    _move(running_mean, mu, momentum)
    _move(running_var, var * (n / (n - 1)) if n > 1 else var, momentum)
    return mu, (var + eps) ** -0.5


@as_a_whole
@on_device
def _of_each(
    x: Any,
    axis: tuple[int, ...],
    eps: float,
    running_mean: Any = None,
    running_var: Any = None,
    momentum: float = 0.0,
    n: int = 0,
) -> tuple[Any, Any]:
    """The same for every element of the batch; the running statistics move towards the means over the batch."""
    x = _array(x)
    xp = array_module(x)
    mu, var = moments(xp, x, axis)
    if x.size and n:
        _move(running_mean, sum_along(xp, mu, (0,)) / len(mu), momentum)
        _move(running_var, sum_along(xp, var, (0,)) / len(var) * (n / (n - 1)), momentum)
    return mu, (var + eps) ** -0.5


def _move(running: Any, new: Any, momentum: Any) -> None:
    """Move a running statistic towards a new value; outside of any graph."""
    if running is not None:
        array = _array(running)
        array += _array(momentum) * (new.reshape(-1) - array)
        if isinstance(running, Node):
            note_change(running)


def _normalize(
    x: Any, mu: Any, r: Any, weight: Any, bias: Any, shape: tuple[int, ...], axis: tuple[int, ...], eps: float
) -> Any:
    """With moments over pixels, along which weight and bias do not vary: then one operator does it all."""
    if weight is None or bias is None or not weight.dtype == bias.dtype == x.dtype:
        return _affine(standardize(x, mu, r, axis, eps), weight, bias, shape)
    return normalize_and_scale(x, ops.reshape(weight, shape), ops.reshape(bias, shape), mu, r, axis, eps)


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
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias, with the moments over the last dimensions of every element of the batch.

    input: (*, *normalized_shape); weight and bias: normalized_shape.  Returns the input's shape.
    Source: Ba, Kiros, Hinton 2016, eq. 4.  Raises ShapeError when the sizes do not fit.
    """
    last = _last_sizes("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    axis = tuple(range(input.ndim - len(last), input.ndim))
    mu, r = _of_each(input, axis, eps)
    return _affine(standardize(input, mu, r, axis, eps), weight, bias, last)


def _last_sizes(name: str, x: Any, normalized_shape: int | Sequence[int], **parameters: Any) -> tuple[int, ...]:
    last = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not last or tuple(x.shape[-len(last) :]) != last:
        raise ShapeError(f"{name}: the input's last sizes must be {last}, got an input of shape {tuple(x.shape)}")
    for what, p in parameters.items():
        if p is not None and tuple(p.shape) != last:
            raise ShapeError(f"{name}: a {what} of shape {last} is expected, got {tuple(p.shape)}")
    return last


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """x / √(mean x² + eps) · weight, with the mean over the last dimensions: layer_norm without the mean.

    input: (*, *normalized_shape); weight: normalized_shape.  Returns the input's shape.
    eps: None for the distance from 1 to the next number of the input's dtype.  float16 is squared in float32.
    Source: Zhang, Sennrich 2019, eq. 4.  Raises ShapeError when the sizes do not fit.
    """
    last = _last_sizes("rms_norm", input, normalized_shape, weight=weight)
    axis = tuple(range(input.ndim - len(last), input.ndim))
    x = _of_mean_square_one(input, axis, float(np.finfo(input.dtype).eps) if eps is None else eps)
    return x if weight is None else x * weight


@in_single
def _of_mean_square_one(x: Any, axis: tuple[int, ...], eps: float) -> Any:
    return x * ops.rsqrt(ops.mean(ops.square(x), axis, keepdim=True) + eps)


@in_single
def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha · mean x²)^beta, with the mean over `size` neighbouring channels, zeros beyond the first and the last.

    input: (N, C, d1, ...).  Returns the same shape.  Of an even size one more channel is before than after.
    Source: Krizhevsky, Sutskever, Hinton 2012, section 3.3 (where alpha multiplies the sum).
    Raises ShapeError for an input of fewer than 3 dimensions, ValueError for a size that is not a positive integer.
    """
    if input.ndim < 3:
        raise ShapeError(
            f"local_response_norm: an input of shape (N, C, d1, ...) is expected, got {tuple(input.shape)}"
        )
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"local_response_norm: size must be a positive integer, got {size!r}")
    return input / (k + alpha / size * _of_neighbours(ops.square(input), size)) ** beta


def _of_neighbours(x: Any, size: int) -> Any:
    """The sum of `size` neighbouring channels, around every channel."""
    channels, before = x.shape[1], size // 2
    padded = pad(x, (0, 0) * (x.ndim - 2) + (before, size - 1 - before))
    return sum(padded[:, i : i + channels] for i in range(size))


@in_single
def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|_p, eps) along `dim`: vectors of length one.

    input: x, of any shape with that dim (IndexError otherwise).  Returns the same shape.
    p: of the norm.  eps: the smallest length to divide by: shorter vectors stay shorter than one, and zeros stay zeros.
    """
    return input / ops.clamp(ops.norm(input, p, dim, keepdim=True), min=eps)
