"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.creation import ones, zeros
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole, note_change, on_device
from tinygen.nn import functional as F
from tinygen.nn import init
from tinygen.nn.layers.linear import positive
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


class _ChannelNorm(Module):
    """What batch and instance normalisation share: a scale and a shift per channel, and running statistics."""

    _ranks: Sequence[int] = ()
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ):
        super().__init__()
        positive(self, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight: Parameter | None = Parameter(ones(num_features, device=device, dtype=dtype)) if affine else None
        self.bias: Parameter | None = (
            Parameter(zeros(num_features, device=device, dtype=dtype)) if affine and bias else None
        )
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), device=device, dtype=np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batch."""
        for name, value in (("running_mean", 0.0), ("running_var", 1.0), ("num_batches_tracked", 0)):
            if getattr(self, name) is not None:
                init.constant_(getattr(self, name), value)

    def reset_parameters(self) -> None:
        """Forget the running statistics too; the weight becomes ones and the bias zeros."""
        self.reset_running_stats()
        _ones_and_zeros(self)

    def _check(self, input: Any) -> None:
        if self._ranks and input.ndim not in self._ranks or input.ndim < 2 or input.shape[1] != self.num_features:
            shapes = [f"(N, {self.num_features}{', d' * (rank - 2)})" for rank in self._ranks]
            expected = " or ".join(shapes or [f"(N, {self.num_features}, ...)"])
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {expected} is expected, got {tuple(input.shape)}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


def _ones_and_zeros(layer: Any) -> None:
    if layer.weight is not None:
        init.ones_(layer.weight)
    if layer.bias is not None:
        init.zeros_(layer.bias)


class BatchNorm(_ChannelNorm):
    """(x - μ) / √(σ² + eps) · weight + bias for every channel; the base class, for any number of dimensions.

    In training μ and σ² are the moments of the batch; in evaluation the running ones, if they are tracked.
    weight and bias (affine; bias=False leaves out the second): (num_features,), start as ones and zeros.
    eps: is added to σ², so that a constant channel is not divided by 0.
    running_mean, running_var, num_batches_tracked (track_running_stats): buffers; the first two move by `momentum` towards those
    of every batch (σ² with n - 1), or are the means over all batches with momentum=None.
    device, dtype: of the parameters and buffers.
    Source: Ioffe, Szegedy 2015.  Raises ShapeError for other numbers of channels or dimensions, and ValueError in training for a
    single value per channel.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Any) -> Tensor:
        self._check(input)
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None and self.running_mean is not None:
            _count(self.num_batches_tracked)
            if momentum is None:  # a tensor, since on a GPU the host would have to wait for the number
                momentum = 1 / self.num_batches_tracked.to(self.running_mean.dtype)
        use_batch = self.training or not self.track_running_stats
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum, self.eps
        )


@as_a_whole
@on_device
def _count(number: Tensor) -> None:
    number.array += 1
    note_change(number)


class BatchNorm1d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C) or (N, C, L)."
    )

    _ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, H, W), images."
    )

    _ranks = (4,)


class BatchNorm3d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, D, H, W), volumes."
    )

    _ranks = (5,)


class InstanceNorm(_ChannelNorm):
    """(x - μ) / √(σ² + eps) · weight + bias for every channel of every element; the base class, for any number of dimensions.

    μ and σ² are the moments of that one channel of that one element; in evaluation the running ones, if they are tracked (by default not).
    weight and bias (affine; by default neither; bias=False: only the first): (num_features,), start as ones and zeros.
    eps: is added to σ², so that a constant channel is not divided by 0.
    running_mean, running_var (track_running_stats): buffers, which move by `momentum` towards the means over each batch
    (momentum=None: not at all).  device, dtype: of the parameters and buffers.
    An element without the batch's dimension is taken as a batch of one.
    Source: Ulyanov, Vedaldi, Lempitsky 2016.  Raises ShapeError for other numbers of channels or dimensions (PyTorch only warns
    of the first if affine=False).
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Any) -> Tensor:
        if input.ndim + 1 in self._ranks:
            return self.forward(input[None])[0]
        self._check(input)
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(InstanceNorm):
    __doc__ = (InstanceNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, L) or (C, L)."
    )

    _ranks = (3,)


class InstanceNorm2d(InstanceNorm):
    __doc__ = (InstanceNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, H, W) or (C, H, W), images."
    )

    _ranks = (4,)


class InstanceNorm3d(InstanceNorm):
    __doc__ = (InstanceNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, D, H, W) or (C, D, H, W), volumes."
    )

    _ranks = (5,)


class GroupNorm(Module):
    """(x - μ) / √(σ² + eps) · weight + bias, with the moments of each of num_groups groups of channels of every element.

    x: (N, num_channels, d1, ...).
    weight and bias (affine; bias=False leaves out the second): (num_channels,), start as ones and zeros.
    eps: is added to σ², so that a constant group is not divided by 0.  device, dtype: of the parameters.
    Source: Wu, He 2018.  Raises ValueError when num_groups does not divide num_channels, ShapeError for other inputs.
    """

    num_groups: int
    num_channels: int
    eps: float
    affine: bool

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        positive(self, num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: {num_channels} channels cannot be divided into {num_groups} groups of one size"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight: Parameter | None = Parameter(ones(num_channels, device=device, dtype=dtype)) if affine else None
        self.bias: Parameter | None = (
            Parameter(zeros(num_channels, device=device, dtype=dtype)) if affine and bias else None
        )

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        _ones_and_zeros(self)

    def forward(self, input: Any) -> Tensor:
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise ShapeError(
                f"GroupNorm: an input of shape (N, {self.num_channels}, ...) is expected, got {tuple(input.shape)}"
            )
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LayerNorm(Module):
    """(x - μ) / √(σ² + eps) · weight + bias, with the moments over the last dimensions.

    x: (*, *normalized_shape).
    weight and bias (elementwise_affine; bias=False leaves out the second): normalized_shape, start as ones and zeros.
    eps: is added to σ², so that a constant is not divided by 0.  device, dtype: of the parameters.
    Source: Ba, Kiros, Hinton 2016.  Raises ShapeError when the last sizes are others.
    """

    eps: float
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape: tuple[int, ...] = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        for n in self.normalized_shape:
            positive(self, normalized_shape=n)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.weight: Parameter | None = (
            Parameter(ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        )
        self.bias: Parameter | None = (
            Parameter(zeros(shape, device=device, dtype=dtype)) if elementwise_affine and bias else None
        )

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        _ones_and_zeros(self)

    def forward(self, input: Any) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / √(mean x² + eps) · weight, with the mean over the last dimensions.

    x: (*, *normalized_shape).  weight (elementwise_affine): normalized_shape, starts as ones.
    eps: None for the distance from 1 to the next number of x's dtype.  device, dtype: of the weight.
    Source: Zhang, Sennrich 2019, eq. 4.  Raises ShapeError when the last sizes are others.
    """

    eps: float | None
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape: tuple[int, ...] = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        for n in self.normalized_shape:
            positive(self, normalized_shape=n)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.weight: Parameter | None = (
            Parameter(ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        )

    def reset_parameters(self) -> None:
        """Set the weight to ones."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """x / (k + alpha · mean x²)^beta, with the mean over `size` neighbouring channels; x: (N, C, d1, ...).

    Source: Krizhevsky, Sutskever, Hinton 2012, section 3.3.  Raises ShapeError for fewer than 3 dimensions.
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        positive(self, size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
