"""The form of an entry, and the strategies that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import tinygen as tg
from tinygen import nn
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_bijection, check_module, check_op


@dataclass(frozen=True)
class Entry:
    """One way to use one public thing, and the property factory that proves it.

    subject: the function, or what makes a new module.  inputs: a strategy for each argument.  options: the factory's.
    empty: whether it takes a batch of no elements, and the sum over it is 0 (a mean is not).
    """

    check: Callable[..., Callable[[], None]]
    subject: Callable[..., Any]
    inputs: tuple[SearchStrategy[Any], ...]
    options: dict[str, Any]
    empty: bool = True

    def run(self, max_examples: int) -> None:
        self.check(self.subject, *self.inputs, max_examples=max_examples, **self.options)()


ENTRIES: dict[str, Entry] = {}
"""By the public name, and after a blank which of several uses it is: "functional.relu", "Linear no bias"."""


def enter(name: str, entry: Entry) -> None:
    assert name not in ENTRIES, f"{name} has two entries"
    ENTRIES[name] = entry


def function(name: str, *inputs: SearchStrategy[Any], **options: Any) -> None:
    """functional.name(*inputs, **options), checked by check_op."""
    enter(f"functional.{name}", Entry(check_op, getattr(F, name.split()[0]), inputs, options))


def module(
    name: str, make: Callable[[], nn.Module], *inputs: SearchStrategy[Any], empty: bool = True, **options: Any
) -> None:
    """The module that `make` returns, checked by check_module."""
    enter(name, Entry(check_module, make, inputs, options, empty))


def bijection(name: str, make: Callable[[], nn.Module], x: SearchStrategy[Any], **options: Any) -> None:
    """The invertible module that `make` returns, checked by check_bijection."""
    enter(name, Entry(check_bijection, make, (x,), options))


class Method(nn.Module):
    """model.method(...) as a module: its parameters are the model's."""

    def __init__(self, model: nn.Module, method: str):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *args: Any) -> Any:
        return getattr(self.model, self.method)(*args)


def trained(layer: nn.Module) -> nn.Module:
    """The layer as if after some training: no parameter or running moment is exactly 0 or 1, and none is negative."""
    for x in (*layer.parameters(), *layer.buffers()):
        if x.dtype.kind == "f":
            with tg.no_grad():
                x.copy_(0.5 + tg.rand(x.shape))
    return layer


# Strategies.  Those with the same shared shape are drawn with one and the same in an example.  Layouts are drawn too.

SHAPE: SearchStrategy[ts.Shape] = st.shared(ts.shapes(), key="shape")  # empty and zero-dimensional ones too
FULL: SearchStrategy[ts.Shape] = st.shared(ts.shapes(min_side=1), key="full")  # for means, which are nan over nothing
BATCH: SearchStrategy[int] = st.shared(st.sampled_from([3, 2, 1, 4]), key="batch")


def rows(*sizes: int, **values: Any) -> SearchStrategy[tg.Tensor]:
    """(batch, *sizes)."""
    return ts.tensors(BATCH.map(lambda n: (n, *sizes)), **values)


def several_rows(*sizes: int, **values: Any) -> SearchStrategy[tg.Tensor]:
    """(batch, *sizes) for moments over the batch: two values normalised by their own are +1 and -1 whatever they were."""
    return st.integers(3, 5).flatmap(lambda n: ts.tensors((n, *sizes), distinct=True, **values))


def labels(classes: int, *sizes: int) -> SearchStrategy[tg.Tensor]:
    """Class numbers, (batch, *sizes)."""
    return rows(*sizes, dtype="int64", low=0, high=classes - 1)


def tensor(*shape: int, **values: Any) -> SearchStrategy[tg.Tensor]:
    return ts.tensors(shape, **values)
