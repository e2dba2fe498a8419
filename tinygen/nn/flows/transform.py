"""An algebra of invertible maps that know their log-determinant.

    forward   x (data) -> y (towards the noise)     and log|det ∂y/∂x|
    inverse   y -> x, exactly                        and log|det ∂x/∂y|

Composition adds log-determinants, inversion changes their sign; so a flow of any depth is written down as one expression.
Log-determinants are (batch,), in nats.

Sources: Rezende, Mohamed, "Variational inference with normalizing flows", 2015; deck D4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.creation import zeros
from tinygen.engine import no_grad
from tinygen.errors import ShapeError
from tinygen.memory import as_a_whole
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


class Transform(Module):
    """Base class: an invertible map of every element of a batch on its own.

        forward(x) -> (y, log|det ∂y/∂x|)        x: (batch, *shape), y: (batch, *another shape), as many numbers
        inverse(y) -> (x, log|det ∂x/∂y|)        the log-determinants: (batch,), in nats

    forward goes from the data towards the noise, inverse from the noise towards the data.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} defines no forward(x) -> (y, logdet)")

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(x, log|det dx/dy|) for y: the inverse of `forward`."""
        raise NotImplementedError(f"{type(self).__name__} defines no inverse(y) -> (x, logdet)")


def no_change(x: Any) -> Tensor:
    """The log-determinant of a map that keeps volumes: 0 for each element of the batch x, (batch,)."""
    return zeros(x.shape[:1], dtype=x.dtype, device=x.device)


def same_for_all(x: Any, logdet: Tensor) -> Tensor:
    """The log-determinant of a map that is the same everywhere: (batch,) times the number `logdet`."""
    return logdet.expand(x.shape[0])


class Composition(Transform):
    """y = f_n(... f_2(f_1(x))),   log|det ∂y/∂x| = the sum of the transforms' own.

        flow = Composition(Squeeze(), AffineCoupling(...), AffineCoupling(...))

    forward (data towards noise) applies them from first to last, inverse (noise towards data) from last to first.
    A composition of compositions is a composition; without any transforms it is the identity.
    """

    def __init__(self, *transforms: Module):
        super().__init__()
        for i, transform in enumerate(transforms):
            self.add_module(str(i), transform)

    def __iter__(self) -> Iterator[Any]:
        return iter([m for m in self.__dict__.values() if isinstance(m, Module)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, index: Any) -> Any:
        """The transform of that number; for a slice, the composition of these transforms."""
        return Composition(*list(self)[index]) if isinstance(index, slice) else list(self)[index]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data) -> y (noise) and log|det ∂y/∂x|."""
        logdet = None
        for transform in self:
            x, change = transform(x)
            logdet = change if logdet is None else logdet + change
        return x, no_change(x) if logdet is None else logdet

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (noise) -> x (data) and log|det ∂x/∂y|."""
        logdet = None
        for transform in reversed(list(self)):
            y, change = transform.inverse(y)
            logdet = change if logdet is None else logdet + change
        return y, no_change(y) if logdet is None else logdet


class Inverse(Transform):
    """The transform backwards: its inverse is what goes from data towards noise here."""

    def __init__(self, transform: Any):
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data) -> the transform's inverse of it, and log|det| of that."""
        return self.transform.inverse(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (noise) -> the transform of it, and log|det| of that."""
        return self.transform(y)


class Reshape(Transform):
    """(batch, *start) -> (batch, *end), the same numbers in the same order; the log-determinant is 0.

    Raises ShapeError for shapes with different numbers of elements, and for other inputs.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]

    def __init__(self, start: Sequence[int], end: Sequence[int]):
        super().__init__()
        self.start, self.end = tuple(start), tuple(end)
        if math.prod(self.start) != math.prod(self.end):
            raise ShapeError(
                f"Reshape: {self.start} has {math.prod(self.start)} elements, {self.end} has {math.prod(self.end)}"
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data), (batch, *start) -> y, (batch, *end), and 0."""
        return expect(self, x, self.start).reshape(x.shape[0], *self.end), no_change(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y, (batch, *end) -> x (data), (batch, *start), and 0."""
        return expect(self, y, self.end).reshape(y.shape[0], *self.start), no_change(y)

    def extra_repr(self) -> str:
        return f"{self.start} -> {self.end}"


class Scale(Transform):
    """y = x⊙exp(s),   log|det ∂y/∂x| = Σ s, with one learned s per coordinate.  NICE's last layer.

    shape: that of one element of the batch.  s starts at 0: the identity.
    Source: Dinh, Krueger, Bengio 2014, section 3.3.
    """

    def __init__(self, shape: int | Sequence[int]):
        super().__init__()
        self.log_scale: Parameter = Parameter(zeros(shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data) -> y and log|det ∂y/∂x| = Σ s."""
        x = expect(self, x, self.log_scale.shape)
        return x * self.log_scale.exp(), same_for_all(x, self.log_scale.sum())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y -> x (data) and log|det ∂x/∂y| = −Σ s."""
        y = expect(self, y, self.log_scale.shape)
        return y * (-self.log_scale).exp(), same_for_all(y, -self.log_scale.sum())


class Logit(Transform):
    """Opens an interval: y = log(p / (1 − p)) with p = a + (1 − 2a) x: [0, 1] -> the real numbers.

        log|det ∂y/∂x| = Σ [log(1 − 2a) − log p − log(1 − p)]

    A flow that ends in this on the side of the data never puts density outside of what pixels can be; a keeps the logits of
    black and white finite.  margin: a, in (0, 0.5) for data that reach 0 or 1.

    inverse returns x in (−a/(1−2a), 1 + a/(1−2a)): it is exact for every y, and a sample may lie a little outside [0, 1].
    Raises ValueError for a margin outside [0, 0.5), and in forward for values of p outside (0, 1).  On a GPU, where the host
    would have to wait for the answer, such values become infinite or nan instead, and so does the loss.
    Source: Dinh et al. 2016, section 4.1 (a = 0.05); Papamakarios et al. 2017 (a = 1e-6).
    """

    def __init__(self, margin: float = 0.05):
        super().__init__()
        if not 0 <= margin < 0.5:
            raise ValueError(f"Logit: 0 <= margin < 0.5 is expected, got {margin}")
        self.margin = margin

    def _inside(self, x: Any) -> Any:
        return self.margin + (1 - 2 * self.margin) * x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data) in [0, 1] -> y (logits) and log|det ∂y/∂x|."""
        p = self._inside(x)
        if x.device.type == "cpu":
            self._check(x, p)
        log_p, log_q = p.log(), (1 - p).log()
        return log_p - log_q, self._logdet(log_p, log_q)

    @as_a_whole
    def _check(self, x: Tensor, p: Tensor) -> None:
        if x.numel() and not bool(((p > 0) & (p < 1)).all()):
            raise ValueError(
                f"Logit: data in [0, 1] are expected, got values from {x.min().item():.4g} to {x.max().item():.4g} with "
                f"margin {self.margin}; scale them (pixels / 256 after dequantisation), and use a margin > 0 for exact 0 and 1"
            )

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (logits) -> x (data) and log|det ∂x/∂y|."""
        log_p, log_q = -ops.softplus(-y), -ops.softplus(y)
        return (y.sigmoid() - self.margin) / (1 - 2 * self.margin), -self._logdet(log_p, log_q)

    def _logdet(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (math.log(1 - 2 * self.margin) - log_p - log_q).flatten(1).sum(1)

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


class ActNorm(Transform):
    """y = exp(s)⊙(x + b) with one s and b per channel (dimension 1),   log|det ∂y/∂x| = pixels · Σ s

    The first batch that comes in training mode sets b and s so that its channels have mean 0 and standard deviation 1 (one
    that does not vary keeps its scale); from then on they are parameters like any others.  Unlike batch normalisation, an
    element of the batch never depends on the others, so the density is one.

    channels: C of x, (batch, C, *).  Raises ShapeError for another number of channels.
    Source: Kingma, Dhariwal, "Glow", 2018, section 3.1.
    """

    initialized: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.bias: Parameter = Parameter(zeros(channels))
        self.log_scale: Parameter = Parameter(zeros(channels))
        self.register_buffer("initialized", zeros((), dtype=bool))
        self._seen: Any = None  # the state of `initialized` in which it was seen to be true

    def _check(self, x: Any) -> None:
        if x.ndim < 2 or x.shape[1] != self.channels:
            raise ShapeError(
                f"ActNorm: an input of shape (batch, {self.channels}, *) is expected, got {tuple(x.shape)}"
            )

    def _spread(self, x: Any) -> tuple[Any, Any, int]:
        """b and s in the shape that meets x, and the number of pixels."""
        shape = (self.channels, *(1,) * (x.ndim - 2))
        return self.bias.reshape(shape), self.log_scale.reshape(shape), math.prod(x.shape[2:])

    def _mark(self) -> tuple[Any, Any]:
        """Of the buffer `initialized`: another one after it was written to."""
        memory = self.initialized.memory
        return self.initialized.array, memory and memory.count

    @as_a_whole
    def _see(self, x: Tensor) -> None:
        """The first batch sets b and s.  Whether one came is asked only where it may be news: on a GPU the host waits for it."""
        array, count = self._mark()
        if not x.numel() or self._seen is not None and array is self._seen[0] and count == self._seen[1]:
            return
        if not bool(self.initialized):
            self._initialize(x)
        self._seen = self._mark()

    def _initialize(self, x: Tensor) -> None:
        x = x.detach()
        axes = [d for d in range(x.ndim) if d != 1]
        mean = x.mean(axes)
        std = x.var(axes, unbiased=False).sqrt()
        # a channel that does not vary, as in a batch of one vector, has no scale yet; what is left of its variance is rounding
        varies = std > 1e3 * float(np.finfo(x.dtype).eps) * mean.abs()
        with no_grad():
            self.bias.copy_(-mean)
            self.log_scale.copy_(-ops.where(varies, std, 1.0).log())
            self.initialized.fill_(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (data) -> y and log|det ∂y/∂x|."""
        self._check(x)
        if self.training:
            self._see(x)
        b, s, pixels = self._spread(x)
        return (x + b) * s.exp(), same_for_all(x, pixels * self.log_scale.sum())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y -> x (data) and log|det ∂x/∂y|."""
        self._check(y)
        b, s, pixels = self._spread(y)
        return y * (-s).exp() - b, same_for_all(y, -pixels * self.log_scale.sum())


def expect(transform: Module, x: Any, shape: Sequence[int]) -> Any:
    """x, if it is a batch of that shape; otherwise a ShapeError that names the transform."""
    if x.ndim == 0 or tuple(x.shape[1:]) != tuple(shape):
        raise ShapeError(
            f"{type(transform).__name__}: an input of shape {('batch', *shape)} is expected, got {tuple(x.shape)}"
        )
    return x
