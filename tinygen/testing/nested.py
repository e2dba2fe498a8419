"""Tensors inside lists, tuples and dicts: what functions take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tinygen.engine import Node


def mapped(f: Callable[[Any], Any], x: Any) -> Any:
    """The same structure with f(tensor) in the place of every tensor."""
    if isinstance(x, Node):
        return f(x)
    if isinstance(x, dict):
        return {key: mapped(f, part) for key, part in x.items()}
    if isinstance(x, tuple | list):
        parts = [mapped(f, part) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)  # the first is a named tuple
    return x


def tensors_in(x: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(where it lies, tensor), in the order in which `mapped` meets them: "argument 1[0]", "argument 2['mask']"."""
    if isinstance(x, Node):
        yield name, x
    elif isinstance(x, dict):
        for key, part in x.items():
            yield from tensors_in(part, f"{name}[{key!r}]")
    elif isinstance(x, tuple | list):
        for i, part in enumerate(x):
            yield from tensors_in(part, f"{name}[{i}]")


def several(y: Any) -> list[Any]:
    """What a function returned, as a flat list: VAEs return (the parameters of p(x|z), themselves two, μ, log σ²)."""
    if isinstance(y, dict):
        return several(list(y.values()))
    return [t for part in y for t in several(part)] if isinstance(y, tuple | list) else [y]
