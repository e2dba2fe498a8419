"""Invertible functions with the logarithm of their derivative: a density changes by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.distributions import constraints
from tinygen.distributions.constraints import Constraint
from tinygen.distributions.distribution import sum_last


class Transform:
    """y = f(x), invertible; the base class.

    A call computes y, `inv` is the inverse transform, `log_abs_det_jacobian(x, y)` is log |dy/dx|, in nats.
    event_dim: how many of the last dimensions are one event, over which the log-determinant is summed.
    sign: of the derivative, +1 or -1, where it has one.
    """

    event_dim = 0
    codomain: Constraint = constraints.real
    """Where the elements of y lie."""

    @property
    def sign(self) -> Any:
        """+1 if f grows, -1 if it falls: a number or a tensor."""
        return 1

    @property
    def inv(self) -> Transform:
        """The inverse transform."""
        return _Inverse(self)

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError

    def _inverse(self, y: Any) -> Any:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log |dy/dx| at x, where y = f(x); of shape x without its event dimensions."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    """The inverse of a transform, as a transform."""

    def __init__(self, transform: Transform):
        self._transform, self.event_dim = transform, transform.event_dim

    @property
    def sign(self) -> Any:
        return self._transform.sign

    @property
    def inv(self) -> Transform:
        return self._transform

    def __call__(self, x: Any) -> Any:
        return self._transform._inverse(x)

    def _inverse(self, y: Any) -> Any:
        return self._transform(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._transform.log_abs_det_jacobian(y, x)

    def __repr__(self) -> str:
        return f"{self._transform!r}.inv"


class AffineTransform(Transform):
    """y = loc + scale · x.

    loc, scale: numbers or tensors; the scale is not 0.  event_dim: see Transform.
    """

    loc: Any
    scale: Any
    event_dim: int

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0):
        self.loc, self.scale, self.event_dim = loc, scale, event_dim

    @property
    def sign(self) -> Any:
        scale = self.scale
        return ops.sign(scale) if hasattr(scale, "array") else math.copysign(1, scale)

    def __call__(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        scale = self.scale
        logs = ops.abs(scale).log() if hasattr(scale, "array") else math.log(abs(scale))
        return sum_last(logs + 0 * x, self.event_dim)

    def __repr__(self) -> str:
        return f"AffineTransform({self.loc!r}, {self.scale!r})"


class ExpTransform(Transform):
    """y = exp(x)."""

    codomain: Constraint = constraints.positive._replace(fix="")

    def __call__(self, x: Any) -> Any:
        return ops.exp(x)

    def _inverse(self, y: Any) -> Any:
        return ops.log(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class SigmoidTransform(Transform):
    """y = 1/(1 + e^(-x)).  The inverse of values of 0 or 1 is that of the next number between them."""

    codomain: Constraint = constraints.unit_interval._replace(fix="")

    def __call__(self, x: Any) -> Any:
        return ops.sigmoid(x)

    def _inverse(self, y: Any) -> Any:
        y = _inside(y, 0)
        return y.log() - ops.log1p(-y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -ops.softplus(-x) - ops.softplus(x)


class TanhTransform(Transform):
    """y = tanh(x).  The inverse of values of -1 or 1 is that of the next number between them."""

    codomain: Constraint = constraints.interval(-1.0, 1.0)

    def __call__(self, x: Any) -> Any:
        return ops.tanh(x)

    def _inverse(self, y: Any) -> Any:
        y = _inside(y, -1)
        return (ops.log1p(y) - ops.log1p(-y)) / 2

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log(1 - tanh² x) = 2 (log 2 - x - softplus(-2x)), which no large x makes log 0."""
        return 2 * (math.log(2) - x - ops.softplus(-2 * x))


class SoftplusTransform(Transform):
    """y = log(1 + e^x)."""

    codomain: Constraint = constraints.positive._replace(fix="")

    def __call__(self, x: Any) -> Any:
        return ops.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return y + ops.log(-ops.expm1(-y))

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -ops.softplus(-x)


class ComposeTransform(Transform):
    """One transform after another: parts[0] first.

    parts: transforms, a list.
    """

    def __init__(self, parts: Sequence[Transform]):
        self.parts: list[Transform] = list(parts)
        self.event_dim: int = max((t.event_dim for t in self.parts), default=0)

    @property
    def sign(self) -> Any:
        return math.prod(t.sign for t in self.parts) if self.parts else 1

    def __call__(self, x: Any) -> Any:
        for t in self.parts:
            x = t(x)
        return x

    def _inverse(self, y: Any) -> Any:
        for t in reversed(self.parts):
            y = t._inverse(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        total: Any = sum_last(0 * x, self.event_dim)
        for t in self.parts:
            out = t(x)
            total = total + sum_last(t.log_abs_det_jacobian(x, out), self.event_dim - t.event_dim)
            x = out
        return total

    def __repr__(self) -> str:
        return f"ComposeTransform({self.parts!r})"


def _inside(y: Any, low: float) -> Any:
    info = np.finfo(y.dtype)
    return ops.clamp(y, low + float(info.tiny if low == 0 else info.epsneg), 1 - float(info.epsneg))
