"""NumPy's names of arguments, which PyTorch's functions take beside their own: axis for dim, keepdims for keepdim.

    x.sum(axis=0, keepdims=True)        tinygen.cat([x, y], axis=1)        numpy.mean(x)

They are looked at only when a call uses a keyword.  Within the library functions are imported from their own files, as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

_ALSO = {
    "axis": ("dim", "dims"),
    "keepdims": ("keepdim",),
    "x": ("input",),
    "a": ("input",),
    "x1": ("input",),
    "x2": ("other",),
    "ddof": ("correction",),
}
"""Another name -> what it stands for.  Operators know x, a, x1 and x2 themselves (op_help.by_name)."""
_ELSEWHERE = {("max", "other"): "dim", ("min", "other"): "dim"}
_OPTIONS = ("out", "dtype")
"""What NumPy's functions hand on as None."""


def take_numpys_names(namespace: dict[str, Any], names: Sequence[str]) -> None:
    """Replace the functions of a module by ones that understand the other names, where they have arguments with such."""
    made: dict[int, Any] = {}  # a function with two names stays one function
    for name in names:
        f = namespace[name]
        if inspect.isfunction(f) and id(f) not in made:
            parameters = inspect.signature(f).parameters
            wanted = {"dim", "dims", "keepdim", "other"} & parameters.keys()
            made[id(f)] = _with_names(f, frozenset(parameters), namespace["__name__"]) if wanted else f
        if inspect.isfunction(f):
            namespace[name] = made[id(f)]


def _with_names(f: Callable[..., Any], own: frozenset[str], module: str) -> Callable[..., Any]:
    @wraps(f)
    def function(*args: Any, **options: Any) -> Any:
        if not options:
            return f(*args)
        return f(*args, **(options if options.keys() <= own else _renamed(f.__name__, own, options)))

    function.__module__ = module  # where it is found: for pickle
    return function


def _renamed(function: str, own: frozenset[str], options: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in options.items():
        if name not in own:
            if name in _OPTIONS and value is None:
                continue
            meant = (_ELSEWHERE.get((function, name)), *_ALSO.get(name, ()))
            real = next((m for m in meant if m in own), name)
            if real != name and real in options:
                raise TypeError(f"{function}: {real} and {name}, another name for it, were both given")
            name = real
        result[name] = value
    return result
