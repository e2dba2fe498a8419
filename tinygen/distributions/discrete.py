"""Numbers that are counted: coins, dice, events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinygen import memory, ops
from tinygen.backend import default_generator, device_of, to_device
from tinygen.creation import arange, eye, rand, tensor
from tinygen.distributions import constraints
from tinygen.distributions.constraints import Constraint
from tinygen.distributions.distribution import Constraints, Distribution, broadcast_all, constant_like
from tinygen.engine import no_grad
from tinygen.tensor import Tensor


def one_of(name: str, **given: Any) -> tuple[str, Any]:
    """(name, value) of the only argument that is not None; raises ValueError unless there is exactly one."""
    present = [(key, value) for key, value in given.items() if value is not None]
    if len(present) != 1:
        got = " and ".join(key for key, _ in present) or "none"
        raise ValueError(f"{name}: pass exactly one of {', '.join(given)}; got {got}")
    return present[0]


def _clamped(probs: Any) -> Any:
    """Away from 0 and 1 by the smallest step, so that their logarithms are finite."""
    eps = float(np.finfo(probs.dtype).eps)
    return ops.clamp(probs, eps, 1 - eps)


class _OfProbabilities(Distribution):
    """The base of all that are given either probs or logits.  The one that was given is an attribute, the other follows."""

    _given: str

    @property
    def _parts(self) -> dict[str, int]:  # type: ignore[override]
        return {f"_{self._given}": self._param_dims}

    _param_dims: ClassVar[int] = 0

    @property
    def _param(self) -> Any:
        return getattr(self, f"_{self._given}")


class Bernoulli(_OfProbabilities):
    """P(1) = p, P(0) = 1 - p: log p(x) = x·l - softplus(l) with l = log p/(1-p).

    probs: p, from 0 to 1; or logits: l, any numbers; exactly one of them, a number or a tensor.
    validate_args: see Distribution; without it values between 0 and 1 are allowed, and their formula is the cross-entropy.
    As in PyTorch, probs of exactly 0 or 1 count as one rounding away from it in log_prob.
    """

    arg_constraints: ClassVar[Constraints] = {"probs": constraints.unit_interval, "logits": constraints.real}
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self._given, value = one_of(self._name, probs=probs, logits=logits)
        (value,) = broadcast_all(value)
        setattr(self, f"_{self._given}", value)
        super().__init__(value.shape, validate_args=validate_args)
        if self._validate_args:
            self._require(self.arg_constraints[self._given], value, f"{self._name}: {self._given}")

    @property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return self._param if self._given == "probs" else ops.sigmoid(self._param)

    @property
    def logits(self) -> Tensor:
        """log p/(1-p)."""
        if self._given == "logits":
            return self._param
        p = _clamped(self._param)
        return p.log() - ops.log1p(-p)

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of probs and logits."""
        return tuple(self._param.shape)

    @property
    def support(self) -> Constraint:
        return constraints.boolean

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        """1 for p > ½, 0 for p < ½, nan where both are as likely."""
        p = self.probs
        return ops.where(p == 0.5, math.nan, (p > 0.5).to(p.dtype))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        p = self.probs
        u = rand(*self._extended_shape(sample_shape), dtype=p.dtype, device=p.device, generator=generator)
        return (u < p).to(p.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x, logits = self._value(value), self.logits
        return x * logits - ops.softplus(logits)

    def entropy(self) -> Tensor:
        logits = self.logits
        return ops.softplus(logits) - self.probs * logits

    def enumerate_support(self, expand: bool = True) -> Tensor:
        p = self._param
        values = arange(2, dtype=p.dtype, device=p.device).reshape(2, *[1] * len(self._batch_shape))
        return ops.broadcast_to(values, (2, *self._batch_shape)) if expand else values

    def __repr__(self) -> str:
        x = self._param
        return f"{self._name}({self._given}: {f'{x.item():g}' if x.numel() == 1 else tuple(x.shape)})"


class _OfClasses(_OfProbabilities):
    """The base of Categorical and OneHotCategorical: probabilities of K classes along the last dimension."""

    arg_constraints: ClassVar[Constraints] = {
        "probs": constraints.nonnegative_vector,
        "logits": constraints.real_vector,
    }
    has_enumerate_support = True
    _param_dims = 1

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self._given, value = one_of(self._name, probs=probs, logits=logits)
        (value,) = broadcast_all(value)
        if value.ndim < 1:
            raise ValueError(f"{self._name}: {self._given} must have a last dimension of classes, got a number")
        if (validate_args if validate_args is not None else self._validate_args) is True:
            self._require(self.arg_constraints[self._given], value, f"{self._name}: {self._given}")
        value = value / value.sum(-1, keepdim=True) if self._given == "probs" else ops.log_softmax(value, -1)
        setattr(self, f"_{self._given}", value)
        n = value.shape[-1]
        super().__init__(value.shape[:-1], self._event(n), validate_args)

    @staticmethod
    def _event(classes: int) -> tuple[int, ...]:
        return ()

    @property
    def probs(self) -> Tensor:
        """The probabilities, which sum to 1."""
        return self._param if self._given == "probs" else ops.exp(self._param)

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._param if self._given == "logits" else _clamped(self._param).log()

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of probs and logits."""
        return tuple(self._param.shape)

    @property
    def _classes(self) -> int:
        return int(self._param.shape[-1])

    def entropy(self) -> Tensor:
        logits = ops.maximum(self.logits, float(np.finfo(self._param.dtype).min))  # 0 · log 0 = 0
        return -(self.probs * logits).sum(-1)

    def _draw(self, sample_shape: Sequence[int], generator: Any) -> Tensor:
        """Class numbers: how many edges of the stacked probabilities lie below a uniform number."""
        p = self.probs.detach()
        edges = p.to(np.float64).cumsum(-1)
        shape = (*sample_shape, *self._batch_shape)
        u = rand(*shape, dtype=np.float64, device=p.device, generator=generator) * edges[..., -1]
        return (u.unsqueeze(-1) >= edges).sum(-1)

    def __repr__(self) -> str:
        return f"{self._name}({self._given}: {tuple(self._param.shape)})"


class Categorical(_OfClasses):
    """P(k) = p_k for the classes 0, ..., K-1.

    probs: (..., K), at least 0; they are divided by their sum.  logits: (..., K), logarithms up to a constant.  Exactly one.
    validate_args: see Distribution.  batch_shape is what comes before K; values are int64 class numbers.
    """

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._classes - 1)

    @property
    def mean(self) -> Tensor:
        """nan: class numbers have no mean."""
        return constant_like(self._param[..., 0], math.nan)

    @property
    def variance(self) -> Tensor:
        """nan: class numbers have no variance."""
        return constant_like(self._param[..., 0], math.nan)

    @property
    def mode(self) -> Tensor:
        return ops.argmax(self._param.detach(), -1)

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return self._draw(tuple(sample_shape), generator)

    def log_prob(self, value: Any) -> Tensor:
        k = value if isinstance(value, Tensor) else tensor(value, device=self._param.device)
        if self._validate_args:
            self._check_value(k, "log_prob")
        logits = self.logits
        shape = np.broadcast_shapes(tuple(k.shape), self._batch_shape)
        index = ops.broadcast_to(k.to(np.int64), shape).unsqueeze(-1)
        return ops.gather(ops.broadcast_to(logits, (*shape, self._classes)), -1, index).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(self._classes, device=self._param.device).reshape(-1, *[1] * len(self._batch_shape))
        return ops.broadcast_to(values, (self._classes, *self._batch_shape)) if expand else values


class OneHotCategorical(_OfClasses):
    """As Categorical, but a value is a vector of K numbers: 1 at the class, 0 elsewhere.

    probs, logits, validate_args: as in Categorical.  event_shape is (K,).
    """

    @staticmethod
    def _event(classes: int) -> tuple[int, ...]:
        return (classes,)

    @property
    def support(self) -> Constraint:
        return constraints.one_hot

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    @property
    def mode(self) -> Tensor:
        return ops.one_hot(ops.argmax(self._param.detach(), -1), self._classes).to(self._param.dtype)

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return ops.one_hot(self._draw(tuple(sample_shape), generator), self._classes).to(self._param.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        logits = self.logits
        shape = np.broadcast_shapes(tuple(x.shape), tuple(logits.shape))
        index = ops.argmax(ops.broadcast_to(x.detach(), shape), -1).unsqueeze(-1)
        return ops.gather(ops.broadcast_to(logits, shape), -1, index).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._classes
        values = eye(n, dtype=self._param.dtype, device=self._param.device)
        values = values.reshape(n, *[1] * len(self._batch_shape), n)
        return ops.broadcast_to(values, (n, *self._batch_shape, n)) if expand else values


class Poisson(Distribution):
    """log p(k) = k log λ - λ - log k!  for k = 0, 1, 2, ...

    rate: λ, at least 0, a number or a tensor; mean and variance are λ.  validate_args: see Distribution.
    """

    arg_constraints: ClassVar[Constraints] = {"rate": constraints.nonnegative}
    _parts: ClassVar = {"rate": 0}
    rate: Any

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return ops.floor(self.rate.detach())

    @property
    def variance(self) -> Tensor:
        return self.rate

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        rate = self.rate.array
        home = device_of(rate)
        source = default_generator(home) if generator is None else generator
        shape = self._extended_shape(sample_shape)
        if memory.here.recorder is not None:  # what is drawn from is not seen, and may be computed in the step
            memory.here.recorder.refuse("Poisson.sample draws with rates that it computes")
        draw = partial(_poisson, source, to_device(rate, source.device), shape, rate.dtype, home)
        return Tensor(memory.drawn(draw))

    def log_prob(self, value: Any) -> Tensor:
        k, rate = self._value(value), self.rate
        some = ops.logical_or(k != 0, rate != 0)  # 0 · log 0 = 0
        return ops.where(some, k * ops.where(some, rate, 1.0).log(), 0.0) - rate - ops.lgamma(k + 1)


def _poisson(source: Any, rate: Any, shape: tuple[int, ...], dtype: Any, home: Any) -> Any:
    return to_device(source.library.poisson(rate, shape).astype(dtype), home)
