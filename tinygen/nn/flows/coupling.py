"""Coupling layers: invertible maps whose Jacobian is triangular, whatever networks stand inside.

The part of x where the mask b is 1 passes through unchanged and decides how the rest is moved:

    forward   x (data) -> y (towards the latent)     and log|det dy/dx|
    inverse   y -> x, exactly, at the same cost      and log|det dx/dy| = -log|det dy/dx|

x and y: (batch, *shape); b: shape, of truth values; log-determinants: (batch,), in nats.  The networks map (batch, *shape) to the
same shape; what they return where b is 1 is ignored.  Layers with b and 1 - b in turn move every coordinate.

Sources: NICE, Dinh, Krueger, Bengio 2014, section 3.2; RealNVP, Dinh, Sohl-Dickstein, Bengio 2016, eq. 4-8.
"""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.creation import as_tensor, ones
from tinygen.engine import Op, name_operators
from tinygen.errors import ShapeError
from tinygen.layout import sum_along
from tinygen.nn.flows.transform import Transform, no_change
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.ops.elementwise import _unless, exp, only, unless, unselected
from tinygen.ops.fused import Fused
from tinygen.ops.reduce import _spread_out
from tinygen.tensor import Tensor

# fmt: off

# y = x exp(s) + (1 - b) t for an s that is 0 where b is 1: there the formula is x exp(0) + 0 = x.  t may be infinite there
_couple = Fused(lambda xp, x, s, t, b: x * xp.exp(s) + _unless(xp, t, b),  lambda g, _, _x, s, _t, _b: g * exp(s),
                                                                           lambda g, y, _x, _s, t, b: g * (y - unselected(t, b)),
                                                                           lambda g, _, _x, _s, _t, b: unselected(g, b))
# Σ s of every element of the batch
_total  = Op(lambda xp, s: sum_along(xp, s, tuple(range(1, s.ndim))),      lambda g, _, _s: _spread_out(g, _s, tuple(range(1, _s.ndim))))

# fmt: on

name_operators(globals())


class _Coupling(Transform):
    """The mask, and the checks."""

    mask: Tensor

    def __init__(self, mask: Any):
        super().__init__()
        mask = as_tensor(mask)
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError(f"{type(self).__name__}: the mask must consist of 0 and 1, got {mask.tolist()}")
        self.register_buffer("mask", mask.bool())

    def _passing(self, x: Any) -> Any:
        """b⊙x: what the networks see."""
        if x.array.shape[1:] != self.mask.array.shape or not x.ndim:
            raise ShapeError(
                f"{type(self).__name__}: after the mask, an input of shape {('batch', *self.mask.shape)} is expected, got {x.shape}"
            )
        return only(x, self.mask)

    def _run(self, name: str, passing: Any, times: int = 1) -> Any:
        """What the network says; it must have the shape of its input, or that with `times` as many channels."""
        out = getattr(self, name)(passing)
        expected = passing.array.shape  # not yet a Size: it is read at every call
        if times != 1:
            expected = (expected[0], times * expected[1], *expected[2:])
        if out.array.shape != expected:
            raise ShapeError(
                f"{type(self).__name__}: for an input of shape {passing.shape}, {name} must return {expected}, got {out.shape}"
            )
        return out

    def extra_repr(self) -> str:
        return f"mask={self.mask.long().tolist()}" if self.mask.numel() <= 8 else f"mask of shape {self.mask.shape}"


class AffineCoupling(_Coupling):
    """y = b⊙x + (1-b)⊙(x⊙exp s(b⊙x) + t(b⊙x)),   log|det dy/dx| = Σ (1-b)⊙s(b⊙x)

    mask: b, of 0 and 1, of the shape of x without the batch.
    scale_net, translate_net: any modules, s and t.  Without a translate_net, scale_net gives both, as twice the channels
        (dimension 1): first s, then t.
    bound: a module that s goes through, so that no layer can scale without limit: `SoftClamp(limit)`, or `TanhScale(shape)`.
        With two networks, s often ends in a tanh instead, which bounds the factor to (1/e, e).
    """

    scale_net: Module
    translate_net: Module | None
    bound: Module | None

    def __init__(self, mask: Any, scale_net: Module, translate_net: Module | None = None, bound: Module | None = None):
        super().__init__(mask)
        self.scale_net, self.translate_net, self.bound = scale_net, translate_net, bound

    def scale_and_shift(self, x: Any) -> tuple[Any, Any]:
        """s(b⊙x) and t(b⊙x).  The part that passes is the same in x and y: so are s and t, and that makes it invertible."""
        passing = self._passing(x)
        if self.translate_net is None:
            s, t = ops.chunk(self._run("scale_net", passing, 2), 2, 1)
        else:
            s, t = self._run("scale_net", passing), self._run("translate_net", passing)
        return (s if self.bound is None else self.bound(s)), t

    def _moves(self, x: Any) -> tuple[Any, Any]:
        """(1-b)⊙s(b⊙x) and t(b⊙x): s is selected once for all that it is for, as it may be infinite where b is 1."""
        s, t = self.scale_and_shift(x)
        return unless(s, self.mask), t

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """x -> y and log|det dy/dx|."""
        s, t = self._moves(x)
        return _couple(x, s, t, self.mask), _total(s)

    def inverse(self, y: Any) -> tuple[Any, Any]:
        """y -> x and log|det dx/dy|."""
        s, t = self._moves(y)
        return (y - unless(t, self.mask)) * exp(-s), -_total(s)


class AdditiveCoupling(_Coupling):
    """y = b⊙x + (1-b)⊙(x + t(b⊙x)),   log|det dy/dx| = 0: the volume stays.

    mask: b, of 0 and 1, of the shape of x without the batch.  translate_net: any module, t.
    """

    def __init__(self, mask: Any, translate_net: Module):
        super().__init__(mask)
        self.translate_net = translate_net

    def shift(self, x: Any) -> Any:
        """(1-b)⊙t(b⊙x)."""
        return unless(self._run("translate_net", self._passing(x)), self.mask)

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """x -> y and log|det dy/dx| = 0."""
        return x + self.shift(x), no_change(x)

    def inverse(self, y: Any) -> tuple[Any, Any]:
        """y -> x and log|det dx/dy| = 0."""
        return y - self.shift(y), no_change(y)


class SoftClamp(Module):
    """limit · tanh(s / limit): s where it is small, never beyond ±limit, so a coupling scales by e^limit at most.

    Raises ValueError unless limit > 0.
    """

    def __init__(self, limit: float = 2.0):
        super().__init__()
        if not limit > 0:
            raise ValueError(f"SoftClamp: limit > 0 is expected, got {limit}")
        self.limit = limit

    def forward(self, s: Any) -> Tensor:
        return self.limit * (s / self.limit).tanh()

    def extra_repr(self) -> str:
        return f"limit={self.limit}"


class TanhScale(Module):
    """c⊙tanh(s), with one learned factor c per channel (dimension 1), which starts at 1.

    channels: C of s, (batch, C, *).  Source: Dinh et al. 2016, section 4.1.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.factor: Parameter = Parameter(ones(channels))

    def forward(self, s: Any) -> Tensor:
        return self.factor.reshape(-1, *(1,) * (s.ndim - 2)) * s.tanh()

    def extra_repr(self) -> str:
        return f"channels={self.factor.numel()}"
