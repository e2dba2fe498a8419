"""The form of a domain: examples of arguments, and the value in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tinygen import ops
from tinygen.engine import OPERATORS
from tinygen.testing import strategies as ts


@dataclass(frozen=True)
class Example:
    """One call: f(*arrays, **options).  The arrays become tensors; the floating ones are differentiated."""

    arrays: tuple[np.ndarray, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """What a function is tested on.

    examples: draws calls that stay away from kinks and poles.
    oracle: the value, by NumPy or SciPy in float64, called like the function.
    function: takes arrays and options as the oracle does (by default the function of that name in tinygen.ops).
    smooth: whether it has gradients.
    composed: whether it is made of operators that have domains of their own: then values and gradients say enough.
    together: calls whose operator gives several gradients at once (`Op.together`), by default the examples; and a context in
        which it does so, should it be worth it for larger arrays only.
    """

    name: str
    examples: SearchStrategy[Example]
    oracle: Callable[..., Any]
    function: Callable[..., Any]
    smooth: bool = True
    alias_of: str | None = None
    together: tuple[SearchStrategy[Example], Callable[[], AbstractContextManager[Any]]] | None = None
    composed: bool = False

    def calls_together(self) -> tuple[SearchStrategy[Example], AbstractContextManager[Any]]:
        examples, context = self.together or (self.examples, nullcontext)
        return examples, context()


DOMAINS: dict[str, Domain] = {}


def domain(
    names: str,
    examples: SearchStrategy[Example],
    oracle: Callable[..., Any],
    function: Callable[..., Any] | None = None,
    smooth: bool = True,
    together: tuple[SearchStrategy[Example], Callable[[], AbstractContextManager[Any]]] | None = None,
    composed: bool = False,
) -> None:
    """Enter a domain in the table.  Several names: an alias and what it stands for.  The first is what is called."""
    first, *others = names.split()
    function = function or (getattr(ops, first) if hasattr(ops, first) else OPERATORS[first])
    for name in (first, *others):
        if hasattr(ops, name) and name != first:
            assert getattr(ops, name) is getattr(ops, first), f"{name} is no alias of {first}"
        assert name not in DOMAINS, f"{name} has two domains"
        DOMAINS[name] = Domain(
            name, examples, oracle, function, smooth, None if name == first else first, together, composed
        )


def call(*arrays: SearchStrategy[np.ndarray], **options: SearchStrategy[Any]) -> SearchStrategy[Example]:
    """Examples whose arrays and options are drawn independently."""
    return st.builds(lambda xs, o: Example(xs, o), st.tuples(*arrays), st.fixed_dictionaries(options))


def unary(shape: Any = None, dtype: Any = np.float64, **values: Any) -> SearchStrategy[Example]:
    """One array of any shape; `values` as in tinygen.testing.strategies.values."""
    shapes = ts.shapes() if shape is None else shape
    return call(shapes.flatmap(lambda s: ts.values(s, dtype, **values)))


def broadcast(*values: dict[str, Any]) -> SearchStrategy[Example]:
    """Several arrays whose shapes broadcast together."""
    return ts.broadcastable_shapes(len(values)).flatmap(
        lambda shapes: call(*(ts.values(s, **v) for s, v in zip(shapes, values, strict=True)))
    )


def array(shape: ts.Shape, **values: Any) -> SearchStrategy[np.ndarray]:
    return ts.values(shape, **values)
