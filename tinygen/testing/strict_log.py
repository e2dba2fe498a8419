"""What the strict double was asked to do: transfers, kernels, and whole stretches of work that are captured and launched again.

On a GPU three things cost time that a program does not show: kernels, of which each has to be started; copies to the GPU; and
numbers that the program reads, for which it waits until the GPU has done everything before them.  Here they are counted.

    with counted() as counts:
        loss = step(x)
    assert not counts.to_host and len(counts.kernels) < 40
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Counts:
    """Names of what was called, in order."""

    to_host: list[str] = field(default_factory=list)
    """What read numbers: item, tolist, bool(x), to_numpy, an index by truth values."""
    to_device: list[str] = field(default_factory=list)
    """What copied numbers to the device: asarray of a list, from_numpy."""
    kernels: list[str] = field(default_factory=list)
    """What computed, moved or filled arrays.  Views and fresh memory cost no kernel."""


class Graph:
    """Work that was captured: `launch` does it again, on the same memory."""

    def __init__(self) -> None:
        self._work: list[tuple[Callable, tuple, dict, list[np.ndarray]]] = []

    def add(self, function: Callable, args: tuple, kwargs: dict, made: list[np.ndarray]) -> None:
        """function(*args, **kwargs) ran, on NumPy's arrays, and its results were written to the arrays in `made`."""
        self._work.append((function, args, kwargs, made))

    def launch(self) -> None:
        """None of the program's own Python runs: what it computed on the host at capture is computed no more."""
        for function, args, kwargs, made in self._work:
            out = function(*args, **kwargs)
            for target, result in zip(made, out if isinstance(out, tuple | list) else [out]):
                np.copyto(target, result)


IN_PLACE = {f"i{name}" for name in "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()}

_counts: list[Counts] = []
_graph: Graph | None = None


@contextmanager
def counted() -> Iterator[Counts]:
    """Inside `with counted() as counts:` everything that the double does is noted in `counts`."""
    _counts.append(Counts())
    try:
        yield _counts[-1]
    finally:
        _counts.pop()


@contextmanager
def captured() -> Iterator[Graph]:
    """Inside `with captured() as graph:` kernels are written down in `graph`, too."""
    global _graph
    assert _graph is None, "a capture inside a capture"
    _graph = Graph()
    try:
        yield _graph
    finally:
        _graph = None


def transfer(name: str, to_host: bool) -> None:
    """Note a transfer; while work is captured there can be none, as on a GPU."""
    if _graph is not None:
        raise RuntimeError(
            f"{name}: operation not permitted while work is captured: it copies to or from the host, and a launch would not"
        )
    for counts in _counts:
        (counts.to_host if to_host else counts.to_device).append(name)


def kernel(name: str, function: Callable, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
    """Note that function(*args, **kwargs), on NumPy's arrays, returned `out`: as a kernel, unless that is a view."""
    given = [x for x in _flat((args, kwargs)) if isinstance(x, np.ndarray)]
    results = [np.asarray(x) for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, np.ndarray)]
    in_place = out is None or kwargs.get("out") is not None or name in IN_PLACE
    if name.startswith("empty") or not (in_place or results):
        return
    if not in_place and any(np.may_share_memory(results[0], x) for x in given):
        return
    for counts in _counts:
        counts.kernels.append(name)
    if _graph is not None:
        _graph.add(function, args, kwargs, [] if in_place else results)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    else:
        yield value
