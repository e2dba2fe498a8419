"""Elementwise nonlinearities, and those along one dimension: softmax, softmin, gumbel_softmax, glu.

All return a new tensor of the input's shape and dtype (glu: half of one dimension).  Those that take `inplace` write the
result over the input if it is True, and return the input: what `relu_` and its like do, with their rules.  It saves no memory.
At kinks the slopes are PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Generator, default_generator, device_of
from tinygen.creation import arange
from tinygen.engine import Op, cast
from tinygen.errors import ShapeError, warn
from tinygen.inplace import become
from tinygen.memory import drawn
from tinygen.ops import activation as a
from tinygen.ops.shape import axis_of
from tinygen.tensor import Tensor

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


def _apply(f: Callable[..., Any], input: Tensor, inplace: bool, *args: Any, **params: Any) -> Tensor:
    return become(input, f, *args, **params) if inplace else f(input, *args, **params)


# Straight lines


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with slope 0 at 0.

    input: x.  inplace: write the result over the input.
    """
    return _apply(ops.relu, input, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, negative_slope · x elsewhere.  Source: Maas, Hannun, Ng 2013.

    input: x.  inplace: write the result over the input.
    """
    return _apply(a.leaky_relu, input, inplace, slope=negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, weight · x elsewhere: a leaky ReLU whose slope is learned.

    input: x, (N, C, d1, ...), or of any shape for a single slope.  weight: (C,), a slope for each channel, or (1,) or ().
    Raises ShapeError for another number of slopes.  Source: He et al. 2015, "Delving deep into rectifiers", eq. 1.
    """
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or math.prod(weight.shape) not in (1, channels):
        raise ShapeError(
            f"prelu: a weight with one slope, or one for each of the {channels} channels (dim 1), is expected\n"
            f"    input  {tuple(input.shape)}\n    weight {tuple(weight.shape)}"
        )
    slopes = (-1,) + (1,) * (input.ndim - 2) if math.prod(weight.shape) > 1 else ()
    return ops.where(input > 0, input, input * ops.reshape(weight, slopes))


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x between min_val and max_val, which it becomes where it is less or more: a tanh of straight lines.

    The slope is 1 between the two and 0 from each of them on; clamp's is 1 at the bounds too.
    input: x.  inplace: write the result over the input.  Raises ValueError unless min_val < max_val.
    """
    if not min_val < max_val:
        raise ValueError(f"hardtanh: min_val < max_val is needed, got {min_val} and {max_val}")
    return _apply(a.hardtanh, input, inplace, low=min_val, high=max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6): hardtanh from 0 to 6.  Source: Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".

    input: x.  inplace: write the result over the input.
    """
    return _apply(a.hardtanh, input, inplace, low=0.0, high=6.0)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x/6 + 1/2, at least 0 and at most 1: a sigmoid of straight lines.

    input: x.  inplace: write the result over the input.
    """
    return _apply(_hardsigmoid, input, inplace)


def _hardsigmoid(x: Any) -> Any:
    return a.hardtanh(x, low=-3.0, high=3.0) / 6 + 0.5


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · hardsigmoid(x).  Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.

    input: x.  inplace: write the result over the input.
    """
    return _apply(_hardswish, input, inplace)


def _hardswish(x: Any) -> Any:
    return ops.where(x <= -3, 0.0, x * _hardsigmoid(x))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, `value` elsewhere.

    input: x.  inplace: write the result over the input.
    """
    return _apply(_threshold, input, inplace, threshold, value)


def _threshold(x: Any, threshold: float, value: float) -> Any:
    return ops.where(x <= threshold, value, x)  # nan stays nan


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, 0 elsewhere.

    input: x.
    """
    return ops.where(ops.abs(input) <= lambd, 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x - lambd where x > lambd, x + lambd where x < -lambd, 0 between: the minimum in y of ½ (y - x)² + lambd |y|.

    input: x.  Raises ValueError for a negative lambd.
    """
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd}")
    return ops.where(ops.abs(input) <= lambd, 0.0, input - ops.clamp(input, -lambd, lambd))


# Curves


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, alpha (exp x - 1) elsewhere.  Source: Clevert, Unterthiner, Hochreiter 2015, eq. 15.

    input: x.  inplace: write the result over the input.
    """
    return _apply(a.elu, input, inplace, alpha=alpha)


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 · elu(x, alpha=1.6733).

    With these two numbers a layer whose inputs have mean 0 and variance 1, and whose weights are drawn with variance 1/fan_in,
    has outputs of mean 0 and variance 1 again.  input: x.  inplace: write the result over the input.
    Source: Klambauer et al. 2017, "Self-normalizing neural networks", eq. 2 and 14.
    """
    return _apply(_selu, input, inplace)


def _selu(x: Any) -> Any:
    return a.elu(x, alpha=_SELU_ALPHA) * _SELU_SCALE


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, alpha (exp(x / alpha) - 1) elsewhere: an elu with slope 1 at 0, whatever alpha is.

    input: x.  inplace: write the result over the input.  Raises ValueError unless alpha > 0.  Source: Barron 2017.
    """
    if not alpha > 0:
        raise ValueError(f"celu: alpha must be positive, got {alpha}")
    return _apply(_celu, input, inplace, alpha)


def _celu(x: Any, alpha: float) -> Any:
    return a.elu(x, alpha=1.0) if alpha == 1 else a.elu(x / alpha, alpha=1.0) * alpha


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · sigmoid(x), also called swish.  Source: Elfwing, Uchibe, Doya 2017.

    input: x.  inplace: write the result over the input.
    """
    return _apply(_silu, input, inplace)


def _silu(x: Any) -> Any:
    return x * ops.sigmoid(x)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x)).  Source: Misra 2019.

    input: x.  inplace: write the result over the input.
    """
    return _apply(_mish, input, inplace)


def _mish(x: Any) -> Any:
    return x * ops.tanh(ops.softplus(x))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x · Φ(x), where Φ is the distribution function of N(0, 1).  Source: Hendrycks, Gimpel 2016.

    input: x.
    approximate: "none", or "tanh" for 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).  Raises ValueError for another word.
    """
    if approximate == "none":
        return input * a.normal_cdf(input)
    if approximate == "tanh":
        inner = input * (1 + 0.044715 * input * input) * math.sqrt(2 / math.pi)
        return input * (0.5 + 0.5 * ops.tanh(inner))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent of the input."""
    return ops.tanh(input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x), for x the input."""
    return input - ops.tanh(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), for x the input."""
    return ops.sigmoid(input)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))), computed without overflow, for x the input."""
    return a.logsigmoid(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta where beta x <= threshold, and x itself beyond: a smooth relu.

    The formula used here cannot overflow, so the threshold is not needed for that: where PyTorch switches to x, so does this.
    `tinygen.softplus` is the smooth function everywhere.  input: x.
    """
    scaled = input if beta == 1 else input * beta
    smooth = ops.softplus(scaled) if beta == 1 else ops.softplus(scaled) / beta
    return ops.where(scaled > threshold, input, smooth)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|), for x the input.  Source: Bergstra et al. 2009."""
    return input / (1 + ops.abs(input))


# Along a dimension


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b), where a and b are the two halves of the input along `dim`.  Source: Dauphin et al. 2016, eq. 1.

    input: its size along `dim` must be even; the result has half of it.  Raises ShapeError otherwise, IndexError for a
        dimension that there is not.
    """
    if not input.ndim or input.shape[axis_of("glu", dim, input.ndim)] % 2:
        raise ShapeError(f"glu: an even size along dim {dim} is expected, got an input of shape {tuple(input.shape)}")
    first, second = ops.chunk(input, 2, dim)
    return first * ops.sigmoid(second)


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp x / Σ exp x along `dim`, which sums to 1.

    input: x.  dtype: x is converted to it first.
    dim=None takes 0 for tensors of 0, 1 or 3 dimensions and 1 for others, and warns, as PyTorch does: say which is meant.
    Raises IndexError for a dim that the input has not.
    """
    return ops.softmax(input, _implied("softmax", input) if dim is None else dim, dtype)


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(-x) / Σ exp(-x) along `dim`: softmax(-x).

    input: x.  dtype: x is converted to it first.  For dim=None see softmax.
    """
    return ops.softmax(-input, _implied("softmin", input) if dim is None else dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """x - log Σ exp x along `dim`.

    input: x.  dtype: x is converted to it first.  For dim=None see softmax.
    """
    return ops.log_softmax(input, _implied("log_softmax", input) if dim is None else dim, dtype)


def _implied(name: str, input: Any) -> int:
    dim = 0 if input.ndim in (0, 1, 3) else 1
    warn(f"{name}: no dim was given, so dim={dim} is taken for an input of shape {tuple(input.shape)}; write dim={dim}")
    return dim


def gumbel_softmax(
    logits: Tensor,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """softmax((logits + g) / tau), where every g is a draw from the Gumbel distribution: nearly a one-hot draw of a class.

    logits: log-probabilities of the classes along `dim`, up to a constant.  The largest entry is that of class c with
        probability softmax(logits)[c], for every tau.
    tau: the temperature; the smaller, the nearer to one-hot vectors, and the larger the variance of the gradient.
    hard: return the one-hot vector of the largest entry, with the gradient of the soft one (straight through).
    eps: without effect, as in PyTorch.
    generator: where the draws come from; by default the default generator of the device (`manual_seed`).
    Raises ValueError unless tau > 0.  Source: Jang, Gu, Poole 2016, eq. 2; Maddison, Mnih, Teh 2016.
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau must be positive, got {tau}")
    source = generator or default_generator(device_of(logits.array))
    u = drawn(partial(source.uniform, tuple(logits.shape), np.float64))
    y = ops.softmax((logits + _gumbel(u, logits)) / tau, dim)
    if not hard:
        return y
    top = ops.argmax(y, dim, keepdim=True)
    classes = arange(y.shape[dim], device=y.device).reshape(*(-1 if i == dim % y.ndim else 1 for i in range(y.ndim)))
    return cast(classes == top, dtype=y.dtype) - y.detach() + y


def _as_gumbel(xp: Any, u: Any, like: Any) -> Any:
    """-log(-log(1 - u)), in the dtype of `like`; u is a draw from [0, 1), and 0 counts as the smallest number."""
    return (-xp.log(-xp.log1p(-xp.maximum(u, np.finfo(np.float64).tiny)))).astype(like.dtype)


_gumbel = Op(_as_gumbel, name="gumbel")
