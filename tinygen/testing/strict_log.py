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
from functools import partial
from typing import Any

import numpy as np

from tinygen.backend.base import Graph


@dataclass
class Counts:
    """Names of what was called, in order."""

    to_host: list[str] = field(default_factory=list)
    """What read numbers: item, tolist, bool(x), to_numpy, an index by truth values."""
    to_device: list[str] = field(default_factory=list)
    """What copied numbers to the device: asarray of a list, from_numpy."""
    kernels: list[str] = field(default_factory=list)
    """What computed, moved or filled arrays.  Views and fresh memory cost no kernel."""
    launched: list[str] = field(default_factory=list)
    """Those that ran as part of a captured graph: they cost the host nothing."""


class StrictGraph(Graph):
    """As strict as CUDA's: a launch runs the same library calls on the same memory, and none of the program's own Python.

    So what the program computed on the host at the time of the capture is computed no more, and an array that has moved since
    then is not found where it is now.  While work is captured none is done: what it has changed is changed back, and what it
    has made holds nothing of use until the launch.
    """

    def __init__(self) -> None:
        self._work: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any], list[np.ndarray]]] = []
        self._before: list[Callable[[], None]] = []

    def run(self, function: Callable[[], Any]) -> Any:
        return function()

    def capture(self, function: Callable[[], Any]) -> Any:
        global _graph
        assert _graph is None, "a capture inside a capture"
        _graph = self
        try:
            return function()
        finally:
            _graph = None
            for undo in reversed(self._before):
                undo()
            self._before.clear()
            for *_, made in self._work:
                for array in made:
                    array.fill(np.nan if array.dtype.kind == "f" else 1)

    def launch(self) -> None:
        for name, function, args, kwargs, made in self._work:
            out = function(*args, **kwargs)
            for counts in _counts:
                counts.launched.append(name)
            for target, result in zip(made, out if isinstance(out, tuple | list) else [out]):
                np.copyto(target, result)

    def remember(self, function: Callable[..., Any], given: list[np.ndarray]) -> None:
        """What a call may change: its arrays, and the state of a random generator."""
        for array in given:
            if array.flags.writeable:
                self._before.append(partial(np.copyto, array, array.copy()))
        generator = getattr(function, "__self__", None)
        if isinstance(generator, np.random.Generator):
            self._before.append(partial(setattr, generator.bit_generator, "state", generator.bit_generator.state))

    def add(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        made: list[np.ndarray],
    ) -> None:
        """function(*args, **kwargs) ran, on NumPy's arrays, and its results were written to the arrays in `made`."""
        self._work.append((name, function, args, kwargs, made))


IN_PLACE = {f"i{name}" for name in "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()}

_MOST_JOINED = 8
"""More arrays are joined by a kernel that is told where they lie by a list, which CuPy copies to the device."""

_counts: list[Counts] = []
_graph: StrictGraph | None = None


@contextmanager
def counted() -> Iterator[Counts]:
    """Inside `with counted() as counts:` everything that the double does is noted in `counts`."""
    _counts.append(Counts())
    try:
        yield _counts[-1]
    finally:
        _counts.pop()


def transfer(name: str, to_host: bool) -> None:
    """Note a transfer; while work is captured there can be none, as on a GPU."""
    if _graph is not None:
        raise RuntimeError(
            f"{name}: operation not permitted while work is captured: it copies to or from the host, and a launch would not"
        )
    for counts in _counts:
        (counts.to_host if to_host else counts.to_device).append(name)


def kernel(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """function(*args, **kwargs), on NumPy's arrays; noted as a kernel, unless what it returns is a view."""
    given = [x for x in _flat((args, kwargs)) if isinstance(x, np.ndarray)]
    if _graph is not None:
        if name in ("concatenate", "stack") and len(given) > _MOST_JOINED:
            transfer(f"{name} of more than {_MOST_JOINED} arrays", to_host=False)
        _graph.remember(function, given)
    out = function(*args, **kwargs)
    if isinstance(out, np.generic):
        out = np.asarray(out)
    if out is not NotImplemented:
        _note(name, function, args, kwargs, given, out)
    return out


def _note(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: list[np.ndarray],
    out: Any,
) -> None:
    results = [np.asarray(x) for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, np.ndarray)]
    in_place = out is None or kwargs.get("out") is not None or name in IN_PLACE
    if name.startswith("empty") or not (in_place or results):
        return
    if not in_place and any(np.may_share_memory(results[0], x) for x in given):
        return
    for counts in _counts:
        counts.kernels.append(name)
    if _graph is not None:
        _graph.add(name, function, args, kwargs, [] if in_place else results)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    else:
        yield value
