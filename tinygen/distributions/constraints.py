"""What arguments and values must be: names for error messages, and the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygen.backend import array_module


class Constraint(NamedTuple):
    """A set of numbers.

    name: how it is called in errors, as in "scale must be positive".
    contains: function of an array that says of every element (or of every event) whether it is in the set.
    event_dim: how many of the last dimensions are one event: 1 for a vector, 2 for a matrix.
    fix: what to do when a value is outside of it.
    """

    name: str
    contains: Callable[[Any], Any]
    event_dim: int = 0
    fix: str = ""

    def check(self, value: Any) -> Any:
        """A bool array: whether every element (event) of a tensor is in the set."""
        return self.contains(value.array)


def _is_simplex(x: Any) -> Any:
    return (x >= 0).all(-1) & (abs(x.sum(-1) - 1) < 1e-6 + 8 * x.shape[-1] * float(_eps(x)))


def _eps(x: Any) -> Any:
    return array_module(x).finfo(x.dtype).eps if x.dtype.kind == "f" else 0.0


def _is_lower_cholesky(x: Any) -> Any:
    xp = array_module(x)
    lower = (xp.tril(x) == x).reshape(*x.shape[:-2], -1).all(-1)
    return lower & (xp.diagonal(x, 0, -2, -1) > 0).all(-1)


def _is_positive_definite(x: Any) -> Any:
    xp = array_module(x)
    symmetric = (abs(x - x.swapaxes(-1, -2)) <= 1e-5 * (1 + abs(x))).reshape(*x.shape[:-2], -1).all(-1)
    return symmetric & (xp.linalg.eigvalsh(x) > 0).all(-1)


def _is_one_hot(x: Any) -> Any:
    return ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)


_POSITIVE = "softplus or exp makes what a network returns positive"

real: Constraint = Constraint("a number, not nan", lambda x: x == x)
real_vector: Constraint = Constraint("a vector of numbers, without nan", lambda x: (x == x).all(-1), 1)
positive: Constraint = Constraint("positive", lambda x: x > 0, fix=_POSITIVE)
nonnegative: Constraint = Constraint("at least 0", lambda x: x >= 0, fix=_POSITIVE)
unit_interval: Constraint = Constraint(
    "from 0 to 1", lambda x: (x >= 0) & (x <= 1), fix="pass unnormalised values as logits="
)
boolean: Constraint = Constraint(
    "0 or 1", lambda x: (x == 0) | (x == 1), fix="pass validate_args=False to allow grey values"
)
nonnegative_integer: Constraint = Constraint("an integer from 0", lambda x: (x >= 0) & (x == x.round()))
simplex: Constraint = Constraint("probabilities that sum to 1 along the last dimension", _is_simplex, 1)
nonnegative_vector: Constraint = Constraint(
    "at least 0 and not all 0 along the last dimension",
    lambda x: (x >= 0).all(-1) & (x.sum(-1) > 0),
    1,
    "pass unnormalised logarithms as logits=",
)
one_hot: Constraint = Constraint("one 1 and otherwise 0 along the last dimension", _is_one_hot, 1)
lower_cholesky: Constraint = Constraint(
    "a lower triangular matrix with a positive diagonal",
    _is_lower_cholesky,
    2,
    "tril() and exp of the diagonal make one",
)
positive_definite: Constraint = Constraint("a symmetric positive definite matrix", _is_positive_definite, 2)


def interval(low: Any, high: Any) -> Constraint:
    """From low to high, both included: numbers or tensors."""
    a, b = (getattr(x, "array", x) for x in (low, high))
    return Constraint(f"from {_shown(a)} to {_shown(b)}", lambda x: (x >= a) & (x <= b))


def integer_interval(low: int, high: int) -> Constraint:
    """The integers from low to high, both included."""
    return Constraint(f"an integer from {low} to {high}", lambda x: (x >= low) & (x <= high) & (x == x.round()))


def independent(base: Constraint, dims: int) -> Constraint:
    """`dims` more of the last dimensions are one event: all of it must be in the set.

    base: the set of one of its parts.
    """
    return Constraint(
        base.name, lambda x: base.contains(x).all(tuple(range(-dims, 0))), base.event_dim + dims, base.fix
    )


def _shown(x: Any) -> str:
    size = getattr(x, "size", 1)
    return f"{float(x):g}" if size == 1 else f"{float(x.min()):g}..{float(x.max()):g}"
