"""What the functions of a step can reach by their names: closures, globals, attributes, and what lies in lists and dicts there.

While a step is recorded it is looked at twice: what the step changed there, a replay would not change.  And of a program it
belongs to the guard: the numbers and objects that the step read there must still be the same.
"""

from __future__ import annotations

import operator
import random
import site
import sys
import sysconfig
import weakref
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node
from tinygen.errors import is_library
from tinygen.nn.module import Module
from tinygen.replay.values import Same, plain

MOST_PLACES = 3000
"""So many places are looked at: beyond them nothing is seen."""
MOST_PARTS = 100
"""Of a longer list or dict only the first ones."""
SMALL = 1000
"""The numbers in NumPy arrays of so many elements are compared, too."""
_PATHS = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
_INSTALLED = tuple(path for path in _PATHS if path)


class Place(NamedTuple):
    """Where a name leads.  key: what tells it from all others; now: what gives the value that is there."""

    key: Any
    now: Callable[[], Any] | None
    value: Any
    name: str


Snapshot = dict[Any, tuple[Any, Place]]


def snapshot(roots: Iterable[Any]) -> Snapshot:
    """What is in every place that can be reached from the roots: the step, the objects among its arguments."""
    return {p.key: (_token(p.value), p) for p in _walk(roots, None)}


def changed(before: Snapshot, after: Snapshot, but: Container[Any] = ()) -> str:
    """The name of a place, other than `but`, that has changed; "" if there is none."""
    for key, (token, place) in before.items():
        if key not in but and (key not in after or after[key][0] != token):
            return place.name
    return ""


class Reads:
    """What the functions that were called (`codes`) read outside of themselves, but for attributes of modules.

    tensors, modules: those that are found there.
    """

    def __init__(self, roots: Iterable[Any], codes: set[CodeType]):
        self._values: list[tuple[Callable[[], Any], Any]] = []
        self._places: list[Callable[[], Any]] = []  # where objects are,
        self._objects: list[Callable[[], Any]] = []  # and those that should be there
        self.tensors: list[Node] = []
        self.modules: dict[int, Module] = {}
        for place in _walk(roots, codes):
            if isinstance(place.value, Module):
                self.modules[id(place.value)] = place.value
            if place.now is None:
                continue
            value = plain(place.value)
            if isinstance(place.value, Node):
                self.tensors.append(place.value)
            if value is not None:
                self._values.append((place.now, value))
            else:
                self._places.append(place.now)
                self._objects.append(weakly(place.value))

    def hold(self) -> bool:
        """Whether all of it is as it was."""
        if not all(map(operator.is_, map(operator.call, self._places), map(operator.call, self._objects))):
            return False
        return all([plain(now()) == value for now, value in self._values])


def weakly(value: Any) -> Callable[[], Any]:
    """What gives the value, and keeps no array alive."""
    try:
        return weakref.ref(value)
    except TypeError:
        return partial(_same, value)


def _same(value: Any) -> Any:
    return value


def _walk(roots: Iterable[Any], codes: set[CodeType] | None) -> Iterator[Place]:
    """All places from the roots on; with codes, those that these read by name."""
    names = None if codes is None else {name for code in codes for name in code.co_names}
    seen: dict[int, Any] = {}
    stack = [(x, getattr(x, "__name__", type(x).__name__)) for x in roots]
    number = 0
    while stack and number < MOST_PLACES:
        value, name = stack.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        for place in _parts(value, name, codes, names):
            number += 1
            yield place
            if plain(place.value) is None:
                stack.append((place.value, place.name))


def _parts(value: Any, name: str, codes: set[CodeType] | None, names: set[str] | None) -> Iterator[Place]:
    """The places right below a value."""
    if isinstance(value, Node) or type(value) in ARRAY_MODULES:
        return
    if isinstance(value, FunctionType):
        if _is_users(value.__code__.co_filename) and (codes is None or value.__code__ in codes):
            yield from _of_function(value, codes is None)
    elif isinstance(value, MethodType):
        yield from _fixed((value.__self__, value.__func__), name)
    elif isinstance(value, partial):
        yield from _fixed((value.func, *value.args, *value.keywords.values()), name)
    elif isinstance(value, dict):
        yield Place((id(value), len), value.__len__, len(value), name)
        for (k, x), _ in zip(value.items(), range(MOST_PARTS)):
            yield Place((id(value), plain(k) or Same(k)), partial(value.get, k), x, f"{name}[{k!r:.20}]")
    elif isinstance(value, list | deque):
        yield Place((id(value), len), value.__len__, len(value), name)
        for i, x in zip(range(MOST_PARTS), value):
            yield Place((id(value), i), partial(_item, value, i), x, f"{name}[{i}]")
    elif isinstance(value, tuple | set | frozenset):
        yield Place((id(value), len), value.__len__, len(value), name)
        yield from _fixed([x for x, _ in zip(value, range(MOST_PARTS))], name)
    elif isinstance(value, Module):
        yield from _of_module(value, name, names)
    elif isinstance(value, type):
        if _is_users_class(value):
            yield from _of_attributes(value, name, names)
    elif _is_users_class(type(value)):
        yield from _of_attributes(value, name, names)
        yield from _fixed((type(value),), type(value).__name__)
    elif names is None and isinstance(getattr(value, "param_groups", None), list):
        yield from _fixed((value.param_groups,), f"{name}.param_groups")


def _fixed(values: Any, name: str) -> Iterator[Place]:
    """What cannot be exchanged, but has places below it."""
    return (Place(id(x), None, x, name) for x in values)


def _of_attributes(value: Any, name: str, names: set[str] | None) -> Iterator[Place]:
    own = getattr(value, "__dict__", {})
    if names is None:
        yield Place((id(value), len), own.__len__, len(own), name)
    for key, x in list(own.items()):
        if (names is None or key in names) and not key.startswith(("__", "compiled ")):
            yield Place((id(value), key), partial(own.get, key), x, f"{name}.{key}")


def _of_module(value: Module, name: str, names: set[str] | None) -> Iterator[Place]:
    """Not the attributes themselves: it is known when they are set.  But they may lead to what a user's module has besides."""
    theirs = _is_users_class(type(value))
    if theirs:
        yield from _fixed((type(value),), type(value).__name__)
    for key, x in vars(value).items():
        if names is not None and key not in names:
            continue
        if isinstance(x, Module) or theirs and not isinstance(x, Node) and plain(x) is None:
            yield Place(id(x), None, x, f"{name}.{key}")


def _of_function(function: FunctionType, everything: bool) -> Iterator[Place]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        value = _contents(cell)
        yield Place((id(cell), ""), partial(_contents, cell), value, name)
    if everything:
        yield from _of_attributes(function, function.__name__, None)
    yield from _fixed((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()), function.__name__)
    names, around = set(_names(function.__code__)), function.__globals__
    for name in sorted(names & around.keys()):
        value = around[name]
        yield Place((id(around), name), partial(around.get, name), value, name)
        if isinstance(value, ModuleType) and _is_users(getattr(value, "__file__", None) or "<>"):
            for key in sorted(names & vars(value).keys()):
                x = vars(value)[key]
                yield Place((id(value), key), partial(vars(value).get, key), x, f"{name}.{key}")


def _names(code: CodeType) -> Iterator[str]:
    """All names in a function's code, and in that of the functions inside of it."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned yet
        return None


def _item(values: Any, i: int) -> Any:
    return values[i] if i < len(values) else None


def _is_users(file: str) -> bool:
    return not is_library[file] and not file.startswith(_INSTALLED)


def _is_users_class(kind: type) -> bool:
    """Whether the attributes of such objects are the user's own affair."""
    module = kind.__module__
    if kind in (Namespace, SimpleNamespace):
        return True
    if module in sys.builtin_module_names or module.partition(".")[0] in ("tinygen", "numpy", "cupy"):
        return False
    return _is_users(getattr(sys.modules.get(module), "__file__", None) or "<>")


def _token(value: Any) -> Any:
    """Equal as long as nothing has changed in the place itself."""
    known = plain(value)
    if known is not None:
        return known
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if type(value) is np.ndarray and value.size <= SMALL and value.dtype.kind in "biufc":
        return value.shape, value.tobytes()
    return Same(value)
