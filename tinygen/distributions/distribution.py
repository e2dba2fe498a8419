"""What all distributions share: shapes, the checks of arguments and values, and the methods that a family fills in."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from tinygen import ops
from tinygen.creation import full, rand, tensor
from tinygen.distributions.constraints import Constraint, unit_interval
from tinygen.engine import no_grad
from tinygen.promotion import get_default_dtype
from tinygen.tensor import Tensor

Size = Sequence[int]

Constraints = Mapping[str, Constraint]
"""What the values of each argument may be, by its name."""


class Distribution:
    """Base class: one distribution for every element of batch_shape, over events of event_shape.

        p = Normal(tensor([0.0, 1.0]), 1.0)         # batch_shape (2,), event_shape ()
        p.sample((5,))                              # shape (5, 2)
        p.log_prob(tensor(0.3))                     # shape (2,), in nats

    A family says what its arguments are in `arg_constraints`, where its values lie in `support`, and defines some of the
    methods below; the others raise NotImplementedError.

    batch_shape, event_shape: sizes.
    validate_args: check the arguments now and every value later; the default is True and is set by
        `Distribution.set_default_validate_args`.  On a GPU nothing is checked: the host would have to wait for the numbers.

    Raises ValueError for an argument out of range, naming it, its values and what to do.
    """

    arg_constraints: ClassVar[Constraints] = {}
    has_rsample: ClassVar[bool] = False
    """Whether samples have gradients in the arguments: then `rsample` draws such."""
    has_enumerate_support: ClassVar[bool] = False
    """Whether there are finitely many values: then `enumerate_support` lists them."""
    _parts: ClassVar[Mapping[str, int]] = {}
    """The attributes that are tensors of the batch, and how many more dimensions they have: what `expand` expands."""
    _validate_args = True

    def __init__(self, batch_shape: Size = (), event_shape: Size = (), validate_args: bool | None = None):
        self._batch_shape, self._event_shape = tuple(batch_shape), tuple(event_shape)
        if validate_args is not None:
            self._validate_args = bool(validate_args)
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if isinstance(value := vars(self).get(name), Tensor):
                    self._require(constraint, value, f"{self._name}: {name}")

    @property
    def _name(self) -> str:
        return type(self).__name__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions that are made from now on check their arguments and values, unless told otherwise."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: True or False is expected, got {value!r}")
        Distribution._validate_args = value

    @staticmethod
    def _require(constraint: Constraint, value: Any, what: str) -> None:
        if not isinstance(value.array, np.ndarray):
            return
        fits = np.asarray(constraint.check(value))
        if not fits.all():
            x = value.array
            first = x[np.unravel_index(int(np.argmin(fits)), fits.shape)] if fits.ndim else x
            shown = f"{first!s}" if np.ndim(first) == 0 else np.array2string(first, precision=4, threshold=8)
            fix = f"; {constraint.fix}" if constraint.fix else ""
            raise ValueError(
                f"{what} must be {constraint.name}, got {shown} among {fits.size} in a tensor of shape {tuple(x.shape)}{fix}"
            )

    # Shapes

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the arguments: so many distributions, independent of each other."""
        return self._batch_shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one value: () for a number, (n,) for a vector of n numbers that belong together."""
        return self._event_shape

    def expand(self, batch_shape: Size) -> Self:
        """The same distribution with its arguments expanded to a larger batch_shape."""
        other = copy.copy(self)
        batch_shape = tuple(batch_shape)
        for name, dims in self._parts.items():
            part = getattr(self, name)
            setattr(other, name, ops.broadcast_to(part, batch_shape + tuple(part.shape[part.ndim - dims :])))
        other._batch_shape = batch_shape
        return other

    def _extended_shape(self, sample_shape: Size = ()) -> tuple[int, ...]:
        """The shape of `sample_shape` samples."""
        return (*_size(sample_shape), *self._batch_shape, *self._event_shape)

    # Moments

    @property
    def support(self) -> Constraint:
        """Where the values lie."""
        raise NotImplementedError(f"{self._name} has no support")

    @property
    def mean(self) -> Tensor:
        """E[x], of shape batch_shape + event_shape."""
        raise NotImplementedError(f"{self._name} has no mean in closed form")

    @property
    def mode(self) -> Tensor:
        """The most likely value, of shape batch_shape + event_shape."""
        raise NotImplementedError(f"{self._name} has no mode in closed form")

    @property
    def variance(self) -> Tensor:
        """E[(x - E[x])²] of every element, of shape batch_shape + event_shape."""
        raise NotImplementedError(f"{self._name} has no variance in closed form")

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return self.variance.sqrt()

    # Samples

    @no_grad()
    def sample(self, sample_shape: Size = (), *, generator: Any = None) -> Tensor:
        """Draws, of shape sample_shape + batch_shape + event_shape, without gradients.

        generator: a tinygen.Generator to draw with; the default one of the device unless given.
        """
        return self.rsample(sample_shape, generator=generator)

    def rsample(self, sample_shape: Size = (), *, generator: Any = None) -> Tensor:
        """Draws written as a function of noise and the arguments, so that gradients flow into the arguments.

        sample_shape, generator and the result's shape: as in `sample`.  Raises NotImplementedError where there is no such function.
        """
        raise NotImplementedError(
            f"{self._name} has no rsample: its draws have no gradient in the arguments; use sample(), and log_prob for a score "
            "function gradient"
        )

    # Densities

    def log_prob(self, value: Any) -> Tensor:
        """log p(value) in nats: the density, or the probability of a discrete value.

        value: shape sample_shape + batch_shape + event_shape, or one that broadcasts.  Returns sample_shape + batch_shape.
        Raises ValueError for a value outside of the support, unless validate_args=False: then it is -inf, or where a
        formula goes on outside, the formula's value.
        """
        raise NotImplementedError(f"{self._name} has no density in closed form")

    def cdf(self, value: Any) -> Tensor:
        """P(x ≤ value), of the shape of log_prob."""
        raise NotImplementedError(f"{self._name} has no distribution function in closed form")

    def icdf(self, value: Any) -> Tensor:
        """The inverse of cdf: the x with P(X ≤ x) = value, value from 0 to 1."""
        raise NotImplementedError(f"{self._name} has no inverse distribution function in closed form")

    def entropy(self) -> Tensor:
        """-E[log p(x)] in nats, of shape batch_shape."""
        raise NotImplementedError(f"{self._name} has no entropy in closed form")

    def perplexity(self) -> Tensor:
        """exp(entropy): the number of equally likely values that are as uncertain."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first dimension.

        expand: repeat them for every element of batch_shape; else these dimensions have size 1.
        """
        raise NotImplementedError(f"{self._name} has no finite support")

    def _value(self, value: Any, method: str = "log_prob") -> Tensor:
        """A value as a tensor of the distribution's dtype, checked."""
        like = self._like()
        x = value if isinstance(value, Tensor) else tensor(value, dtype=like.dtype, device=like.device)
        if self._validate_args:
            self._check_value(x, method)
        return x.to(like.dtype) if x.dtype.kind != "f" else x

    def _check_value(self, x: Any, method: str) -> None:
        shape, n = tuple(x.shape), len(self._event_shape)
        if len(shape) < n or shape[len(shape) - n :] != self._event_shape:
            raise ValueError(
                f"{self._name}.{method}: the last dimensions of a value must be the event_shape {self._event_shape}, got "
                f"a value of shape {shape}"
            )
        try:
            np.broadcast_shapes(shape, self._batch_shape + self._event_shape)
        except ValueError:
            raise ValueError(
                f"{self._name}.{method}: a value of shape {shape} does not broadcast with batch_shape {self._batch_shape} and "
                f"event_shape {self._event_shape}"
            ) from None
        self._require(self.support, x, f"{self._name}.{method}: a value")

    def _probability(self, value: Any) -> Tensor:
        """The argument of icdf as a tensor, checked."""
        like = self._like()
        p = value if isinstance(value, Tensor) else tensor(value, dtype=like.dtype, device=like.device)
        if self._validate_args:
            self._require(unit_interval._replace(fix=""), p, f"{self._name}.icdf: a probability")
        return p

    def _like(self) -> Any:
        """One of the arguments: what has the dtype and the device of the distribution."""
        return getattr(self, next(iter(self._parts)))

    def __repr__(self) -> str:
        shown = []
        for name in self.arg_constraints:
            x = vars(self).get(name)
            if isinstance(x, Tensor):
                shown.append(f"{name}: {x.array.item():g}" if x.array.size == 1 else f"{name}: {tuple(x.shape)}")
        return f"{self._name}({', '.join(shown)})"


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Numbers and tensors as tensors of one shape; numbers get the dtype and the device of the tensors among them."""
    given = [x for x in values if isinstance(x, Tensor)]
    floating = [x for x in given if x.dtype.kind == "f"]
    dtype = np.result_type(*(x.dtype for x in floating)) if floating else get_default_dtype()
    device = given[0].device if given else None  # type: ignore[attr-defined]
    tensors = [
        (x if x.dtype.kind == "f" else x.to(dtype)) if isinstance(x, Tensor) else tensor(x, dtype=dtype, device=device)
        for x in values
    ]
    shape = np.broadcast_shapes(*(tuple(x.shape) for x in tensors))
    return tuple(x if tuple(x.shape) == shape else ops.broadcast_to(x, shape) for x in tensors)


def open_uniform(shape: Size, like: Any, generator: Any = None) -> Tensor:
    """Draws strictly between 0 and 1, so that log(u) and log(1 - u) are finite; with the dtype and device of `like`."""
    info = np.finfo(like.dtype)
    u = rand(*shape, dtype=like.dtype, device=like.device, generator=generator)
    return u.clamp(float(info.tiny), 1 - float(info.epsneg))


def constant_like(like: Any, value: float) -> Tensor:
    """One number in the shape, dtype and device of a tensor."""
    return full(tuple(like.shape), value, dtype=like.dtype, device=like.device)


def sum_last(x: Any, dims: int) -> Any:
    """The sum over the last `dims` dimensions."""
    return x if dims == 0 else ops.sum(x, tuple(range(-dims, 0)))


def _size(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, int):
        raise TypeError(f"sample: a shape is expected, got the number {shape}; write sample(({shape},))")
    return tuple(int(n) for n in shape)
